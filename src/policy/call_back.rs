//! Which callers may be called back.

use std::time::Duration;

use serde::Deserialize;

use crate::asterisk::number::{Pattern, Plain};
use crate::asterisk::trunk;

/// `[call_back]`: callers whom bots may promise a call, at the number that they called from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallBackSection {
    /// The trunk over which they are called. Without it nobody is called back.
    pub trunk: Option<String>,
    /// Their numbers, as patterns of the dialplan: `_+4930.`, `_1XXX`. None but these are called.
    pub numbers: Vec<Pattern>,
    /// The bot that talks to them; the one that promised it where there is none.
    pub bot: Option<String>,
}

/// The longest that a promise may wait: 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

impl CallBackSection {
    /// Whether the trunk can be one.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(trunk) = &self.trunk else { return Ok(()) };
        trunk.parse::<trunk::Name>().map(drop).map_err(|why| format!("[call_back]: {why}"))
    }

    /// How `caller` is called.
    pub(super) fn dial(&self, caller: &str, after: Duration) -> Option<String> {
        let trunk = self.trunk.as_ref()?;
        let number = caller.parse::<Plain>().ok()?;
        let known = self.numbers.iter().any(|pattern| pattern.matches(number.as_str()));
        (known && after <= LONGEST).then(|| format!("PJSIP/{number}@{trunk}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_on_the_list_is_not_called() {
        let section: CallBackSection =
            toml::from_str("trunk = 'carrier'\nnumbers = ['_+4930X.', '1001']").unwrap();
        let dial = |caller: &str| section.dial(caller, Duration::from_secs(60));
        assert_eq!(dial("+493012345").as_deref(), Some("PJSIP/+493012345@carrier"));
        assert_eq!(dial("1001").as_deref(), Some("PJSIP/1001@carrier"));
        for caller in ["", "1002", "+449001", "+4930", "+493012@evil", "1001&PJSIP/2"] {
            assert_eq!(dial(caller), None, "{caller}");
        }
        assert_eq!(section.dial("1001", Duration::from_secs(31 * 86_400)), None);
        assert_eq!(CallBackSection::default().dial("1001", Duration::ZERO), None);
        assert!(CallBackSection { trunk: Some("a/b".into()), ..CallBackSection::default() }.check().is_err());
    }
}
