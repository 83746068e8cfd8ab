//! One place where calls may be sent.

use std::time::Duration;

use serde::Deserialize;

use super::numbers::NumberRules;
use crate::asterisk::number::Plain;
use crate::asterisk::trunk;

/// `[destination.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationSection {
    /// What it is, in words: language models choose by it.
    pub description: String,
    /// A SIP endpoint of Asterisk by its name.
    pub endpoint: Option<String>,
    /// A telephone number, called over `trunk`.
    pub number: Option<String>,
    /// The trunk for `number`, or for `endpoint` where that is a name at the far end.
    pub trunk: Option<String>,
    /// An extension of the dialplan.
    pub extension: Option<String>,
    /// Its context.
    pub context: Option<String>,
    /// How long it may ring, in seconds.
    pub ring_seconds: u64,
    /// The number that is shown to who is called; the caller's own where there is none.
    pub caller_id: Option<String>,
    /// What the caller hears meanwhile: `ring`, `music`, `music:CLASS`, or `sound:NAME`.
    pub hold: Hold,
    /// With this key who is called takes the call, in an attended transfer.
    pub accept_key: char,
    /// How long he may think about it, in seconds.
    pub accept_seconds: u64,
    /// Where text messages go, as Asterisk writes it: `pjsip:NAME`.
    pub message: Option<String>,
}

impl Default for DestinationSection {
    fn default() -> Self {
        Self {
            description: String::new(),
            endpoint: None,
            number: None,
            trunk: None,
            extension: None,
            context: None,
            ring_seconds: 25,
            caller_id: None,
            hold: Hold::Ring,
            accept_key: '1',
            accept_seconds: 15,
            message: None,
        }
    }
}

/// What a caller hears while somebody is called for him.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Hold {
    /// The ringing tone of the country.
    #[default]
    Ring,
    /// Music on hold, of a class.
    Music(Option<String>),
    /// A sound of Asterisk's, again and again.
    Sound(String),
}

impl TryFrom<String> for Hold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "ring" => Ok(Self::Ring),
            None if text == "music" => Ok(Self::Music(None)),
            Some(("music", class)) if is_sound(class) => Ok(Self::Music(Some(class.to_owned()))),
            Some(("sound", name)) if is_sound(name) => Ok(Self::Sound(name.to_owned())),
            _ => Err(format!(
                "`{text}` cannot be played to who waits: accepted are ring, music, music:CLASS and sound:NAME"
            )),
        }
    }
}

/// Whether it may name a sound or a class of music.
pub(crate) fn is_sound(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    !name.is_empty() && name.len() <= 200 && name.chars().all(fine) && !name.contains("..")
}

/// How a destination is reached. Made of checked parts alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// An endpoint, as Asterisk dials it.
    Dial(String),
    /// A place of the dialplan.
    Extension {
        /// The context; the one that the caller came from where there is none.
        context: Option<String>,
        /// The extension.
        extension: String,
    },
}

/// A place where calls may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How it is reached.
    pub way: Way,
    /// How long it may ring.
    pub ring: Duration,
    /// The number that is shown.
    pub caller_id: Option<String>,
    /// What the caller hears meanwhile.
    pub hold: Hold,
    /// With this key the call is taken.
    pub accept_key: char,
    /// How long that may take.
    pub accept: Duration,
    /// Where text messages go.
    pub message: Option<String>,
}

impl Destination {
    /// Reads one.
    pub(super) fn read(
        name: &str,
        section: &DestinationSection,
        rules: &NumberRules,
    ) -> Result<Self, String> {
        let wrong = |what: String| format!("[destination.{name}]: {what}");
        name.parse::<Plain>().map_err(|why| wrong(why.to_string()))?;
        let plain = |key: &str, value: &Option<String>| -> Result<Option<String>, String> {
            let Some(value) = value else { return Ok(None) };
            value.parse::<Plain>().map_err(|why| wrong(format!("`{key}` cannot be used: {why}")))?;
            Ok(Some(value.clone()))
        };
        let trunk = section
            .trunk
            .as_ref()
            .map(|text| text.parse::<trunk::Name>().map_err(|why| wrong(why.to_string())))
            .transpose()?;
        let context = plain("context", &section.context)?;
        let way = match (&section.endpoint, &section.number, &section.extension) {
            (Some(_), None, None) => {
                let endpoint = plain("endpoint", &section.endpoint)?.unwrap_or_default();
                Way::Dial(
                    trunk.map_or_else(
                        || format!("PJSIP/{endpoint}"),
                        |trunk| format!("PJSIP/{endpoint}@{trunk}"),
                    ),
                )
            }
            (None, Some(number), None) => {
                let number =
                    rules.check(number).map_err(|why| wrong(format!("`number` cannot be used: {why}")))?;
                let trunk =
                    trunk.ok_or_else(|| wrong("a `number` needs a `trunk` to be called over".into()))?;
                let number: trunk::Number = number.parse().map_err(|why| wrong(format!("{why}")))?;
                Way::Dial(trunk.dial(&number))
            }
            (None, None, Some(_)) => Way::Extension {
                context,
                extension: plain("extension", &section.extension)?.unwrap_or_default(),
            },
            _ => return Err(wrong("it needs one of `endpoint`, `number` and `extension`".into())),
        };
        if !section.accept_key.is_ascii_digit() && !"*#".contains(section.accept_key) {
            return Err(wrong("`accept_key` is a digit, * or #".into()));
        }
        if let Some(message) = &section.message {
            let end = message.strip_prefix("pjsip:").unwrap_or_default();
            end.parse::<Plain>()
                .map_err(|why| wrong(format!("`message` is written pjsip:NAME, and {why}")))?;
        }
        Ok(Self {
            name: name.to_owned(),
            description: section.description.clone(),
            way,
            ring: Duration::from_secs(section.ring_seconds.clamp(1, 600)),
            caller_id: plain("caller_id", &section.caller_id)?,
            hold: section.hold.clone(),
            accept_key: section.accept_key,
            accept: Duration::from_secs(section.accept_seconds.clamp(1, 120)),
            message: section.message.clone(),
        })
    }

    /// As Asterisk dials it; `context` is where an extension is that has none of its own.
    #[must_use]
    pub fn dial(&self, context: &str) -> String {
        match &self.way {
            Way::Dial(dial) => dial.clone(),
            // /n: Asterisk is not to put another channel in its place.
            Way::Extension { context: own, extension } => {
                format!("Local/{extension}@{}/n", own.as_deref().unwrap_or(context))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PolicySection;
    use super::*;

    fn read(toml: &str) -> Result<Destination, String> {
        let section = toml::from_str(toml).map_err(|error| error.message().to_owned())?;
        let policy = PolicySection { country: Some("DE".into()), ..PolicySection::default() };
        Destination::read("sales", &section, &NumberRules::new(&policy)?)
    }

    #[test]
    fn a_destination_is_an_endpoint_a_number_or_an_extension() {
        let dial = |toml: &str| read(toml).map(|destination| destination.dial("from-caller"));
        assert_eq!(dial("endpoint = 'alice'").as_deref(), Ok("PJSIP/alice"));
        assert_eq!(dial("endpoint = '100'\ntrunk = 'office'").as_deref(), Ok("PJSIP/100@office"));
        assert_eq!(
            dial("number = '030 23125000'\ntrunk = 'carrier'").as_deref(),
            Ok("PJSIP/+493023125000@carrier")
        );
        assert_eq!(dial("extension = '700'").as_deref(), Ok("Local/700@from-caller/n"));
        assert_eq!(dial("extension = '700'\ncontext = 'desk'").as_deref(), Ok("Local/700@desk/n"));
    }

    #[test]
    fn what_would_dial_more_than_it_says_is_refused() {
        for toml in [
            "",
            "endpoint = 'alice'\nextension = '1'",
            "endpoint = 'alice&PJSIP/bob'",
            "endpoint = 'alice/x'",
            "extension = '${EXTEN}'",
            "extension = '1'\ncontext = 'a@b'",
            "number = '030 23125000'",
            "number = '+44 20 7946 0018'\ntrunk = 'carrier'",
            "number = '0900 1234567'\ntrunk = 'carrier'",
            "endpoint = 'alice'\nhold = 'sound:../../etc/passwd'",
            "endpoint = 'alice'\nhold = 'tone'",
            "endpoint = 'alice'\naccept_key = 'x'",
            "endpoint = 'alice'\nmessage = 'http://evil'",
            "endpoint = 'alice'\nunknown = 1",
        ] {
            assert!(read(toml).is_err(), "{toml}");
        }
    }
}
