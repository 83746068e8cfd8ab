//! Ids that are ours, and what they tell.
//!
//! We choose the ids of every channel and bridge that we make in Asterisk (ARI accepts `channelId` and
//! `bridgeId`), so that what a call left behind can be found, told apart from other engines' and adopted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::WallTime;

/// Names one call: 16 characters of lower-case Crockford base 32; ten of the wall clock in milliseconds, six at
/// random. Sorts by time, has no character that a dial string, a file name or a URL would mind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallId([u8; CallId::LEN]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl CallId {
    /// Length in characters.
    pub const LEN: usize = 16;

    /// A fresh id for a call that starts at `at`. Any thread.
    #[must_use]
    pub fn new(at: WallTime) -> Self {
        let clock = u128::from(at.0.cast_unsigned()) & ((1 << 50) - 1);
        let mut bits = (clock << 30) | u128::from(fastrand::u32(..1 << 30));
        let mut text = [0; Self::LEN];
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

/// Text that is no [`CallId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no call id: a call id has 16 letters and digits, as `offhook calls` prints them")]
pub struct BadCallId(String);

impl FromStr for CallId {
    type Err = BadCallId;

    fn from_str(text: &str) -> Result<Self, BadCallId> {
        match <[u8; Self::LEN]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(|b| ALPHABET.contains(b)) => Ok(Self(bytes)),
            _ => Err(BadCallId(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for CallId {
    type Error = BadCallId;

    fn try_from(text: String) -> Result<Self, BadCallId> {
        text.parse()
    }
}

impl From<CallId> for String {
    fn from(id: CallId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a channel or bridge that we made is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// The leg that we called out on.
    Leg,
    /// The externalMedia channel.
    Media,
    /// The mixing bridge that joins them.
    Bridge,
    /// The channel of somebody whom the caller is transferred to.
    Person,
    /// The bridge in which the bot asks him whether he takes the call.
    Consult,
    /// Something that Asterisk plays.
    Sound,
    /// What the caller hears while he waits.
    Hold,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Leg, Self::Media, Self::Bridge, Self::Person, Self::Consult, Self::Sound, Self::Hold];

    fn word(self) -> &'static str {
        match self {
            Self::Leg => "leg",
            Self::Media => "media",
            Self::Bridge => "bridge",
            Self::Person => "person",
            Self::Consult => "consult",
            Self::Sound => "sound",
            Self::Hold => "hold",
        }
    }
}

/// The id of something of ours in Asterisk: `offhook-APP-CALL-PART`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OurId {
    /// The Stasis application, so that two engines on one server leave each other's things alone.
    pub app: String,
    /// The call that it belongs to.
    pub call: CallId,
    /// What it is.
    pub part: Part,
}

impl OurId {
    /// Reads an id back; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, word) = text.strip_prefix("offhook-")?.rsplit_once('-')?;
        let (app, call) = rest.rsplit_once('-')?;
        let part = Part::ALL.into_iter().find(|part| part.word() == word)?;
        Some(Self { app: app.to_owned(), call: call.parse().ok()?, part })
    }
}

impl fmt::Display for OurId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offhook-{}-{}-{}", self.app, self.call, self.part.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = CallId::new(WallTime(1_795_215_423_000));
        let late = CallId::new(WallTime(1_795_215_423_001));
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!("not an id".parse::<CallId>().is_err());
        assert!("0123456789abcdeU".parse::<CallId>().is_err());
    }

    #[test]
    fn an_id_of_ours_tells_its_call_even_when_the_app_has_dashes() {
        let id = OurId { app: "my-bot".into(), call: CallId::new(WallTime(7)), part: Part::Media };
        assert_eq!(OurId::parse(&id.to_string()), Some(id));
        assert_eq!(OurId::parse("1700000000.12"), None);
        assert_eq!(OurId::parse("offhook-bot-short-media"), None);
    }
}
