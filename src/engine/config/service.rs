//! `[service.NAME]`: recognisers, synthesisers and language models that are not in the engine; and the ordered names of those
//! that are used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::secret::{Secret, SecretError};
use crate::service::{Deadlines, Key};

/// `[service.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSection {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is, where that is not where everybody finds it.
    pub url: Option<String>,
    /// Its key. Better kept in `key_file`, or in the environment.
    pub key: Option<Secret>,
    /// A file with its key on the first line.
    pub key_file: Option<PathBuf>,
    /// Which of its models.
    pub model: Option<String>,
    /// Its voice, where nobody names one.
    pub voice: Option<String>,
    /// Its voices by the names that bots and flows know them by.
    #[serde(default)]
    pub voices: BTreeMap<String, String>,
    /// The language that is spoken and heard, as `en` or `de-AT`.
    pub language: Option<String>,
    /// The program and its arguments, for the kind `command`.
    #[serde(default)]
    pub command: Vec<String>,
    /// The rate of what it sends or takes, in Hz, where it does not say so itself.
    pub sample_rate: Option<u32>,
    /// Requests at once.
    pub at_once: Option<usize>,
    /// Until there is a connection, in milliseconds.
    pub connect_ms: Option<u64>,
    /// To the first audio or the final, in milliseconds, before another one is asked.
    pub first_ms: Option<u64>,
    /// Between two pieces, in milliseconds.
    pub stall_ms: Option<u64>,
    /// Whatever else is sent with a request, as the service's documentation names it.
    #[serde(default)]
    pub options: toml::Table,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A program that speaks.
    Command,
    /// The Wyoming protocol: piper, faster-whisper and others of the house.
    Wyoming,
    /// `OpenAI`'s HTTP, as many servers speak it.
    Openai,
    /// `ElevenLabs`.
    Elevenlabs,
    /// Cartesia.
    Cartesia,
    /// Deepgram.
    Deepgram,
    /// vosk-server.
    Vosk,
    /// The streaming server of sherpa-onnx.
    Sherpa,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Command,
        Self::Wyoming,
        Self::Openai,
        Self::Elevenlabs,
        Self::Cartesia,
        Self::Deepgram,
        Self::Vosk,
        Self::Sherpa,
        Self::Anthropic,
        Self::Gemini,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Wyoming => "wyoming",
            Self::Openai => "openai",
            Self::Elevenlabs => "elevenlabs",
            Self::Cartesia => "cartesia",
            Self::Deepgram => "deepgram",
            Self::Vosk => "vosk",
            Self::Sherpa => "sherpa",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Whether it recognises speech.
    #[must_use]
    pub const fn hears(self) -> bool {
        matches!(self, Self::Wyoming | Self::Openai | Self::Deepgram | Self::Vosk | Self::Sherpa)
    }

    /// Whether it makes speech.
    #[must_use]
    pub const fn speaks(self) -> bool {
        matches!(
            self,
            Self::Command | Self::Wyoming | Self::Openai | Self::Elevenlabs | Self::Cartesia | Self::Deepgram
        )
    }

    /// Where it is when nobody says otherwise; [`None`] for what stands in the house.
    #[must_use]
    pub const fn usual_url(self) -> Option<&'static str> {
        match self {
            Self::Openai => Some("https://api.openai.com/v1"),
            Self::Elevenlabs => Some("https://api.elevenlabs.io"),
            Self::Cartesia => Some("https://api.cartesia.ai"),
            Self::Deepgram => Some("https://api.deepgram.com"),
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com"),
            Self::Command | Self::Wyoming | Self::Vosk | Self::Sherpa => None,
        }
    }

    /// The environment's variables that its own programs read their key from.
    #[must_use]
    pub const fn key_variables(self) -> &'static [&'static str] {
        match self {
            Self::Openai => &["OPENAI_API_KEY"],
            Self::Elevenlabs => &["ELEVENLABS_API_KEY"],
            Self::Cartesia => &["CARTESIA_API_KEY"],
            Self::Deepgram => &["DEEPGRAM_API_KEY"],
            Self::Anthropic => &["ANTHROPIC_API_KEY"],
            Self::Gemini => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            Self::Command | Self::Wyoming | Self::Vosk | Self::Sherpa => &[],
        }
    }
}

impl ServiceSection {
    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_deref().or(self.kind.usual_url()).unwrap_or_default().trim_end_matches('/')
    }

    /// Its key, from wherever it is; [`None`] where it has none. A key of the environment goes to the service's usual place
    /// alone: whoever stands elsewhere was not meant. Blocks on the disk.
    ///
    /// # Errors
    /// When the file that is named cannot be read.
    pub fn key(&self) -> Result<Option<Key>, SecretError> {
        let usual = self.url.is_none() || Some(self.url()) == self.kind.usual_url();
        let variables = if usual { self.kind.key_variables() } else { &[] };
        Key::find(self.key.as_ref(), self.key_file.as_deref(), variables)
    }

    /// How long it may take.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        let or = |own: Option<u64>, usual| own.map_or(usual, Duration::from_millis);
        Deadlines {
            connect: or(self.connect_ms, Deadlines::USUAL.connect),
            first: or(self.first_ms, Deadlines::USUAL.first),
            stall: or(self.stall_ms, Deadlines::USUAL.stall),
            whole: Deadlines::USUAL.whole,
        }
    }

    /// Until when another one is asked, where that is said.
    #[must_use]
    pub fn first(&self) -> Option<Duration> {
        self.first_ms.map(Duration::from_millis)
    }

    /// [`options`](Self::options) as JSON.
    #[must_use]
    pub fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(&self.options) {
            Ok(serde_json::Value::Object(options)) => options,
            _ => serde_json::Map::new(),
        }
    }

    /// What the types alone do not say.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        if BUILT_IN.contains(&name) {
            return Err(format!(
                "`{name}` is built in: give the service another name, as [service.my-{name}]"
            ));
        }
        let kind = self.kind.name();
        if self.kind == Kind::Command && self.command.is_empty() {
            return Err(
                "a service of the kind command needs `command`, as [\"espeak-ng\", \"--stdin\", \"--stdout\"]".into(),
            );
        }
        if self.kind != Kind::Command && !self.command.is_empty() {
            return Err(format!("`command` means nothing to a service of the kind {kind}"));
        }
        if self.kind != Kind::Command && self.url().is_empty() {
            return Err(format!("a service of the kind {kind} needs its `url`, as {}", self.example()));
        }
        if self.key.is_some() && self.key_file.is_some() {
            return Err("`key` and `key_file` are two keys: keep one of them".into());
        }
        if let Some(rate) = self.sample_rate.filter(|rate| !(4_000..=192_000).contains(rate)) {
            return Err(format!("`sample_rate` = {rate}: accepted are 4000 to 192000"));
        }
        Ok(())
    }

    fn example(&self) -> &'static str {
        match self.kind {
            Kind::Wyoming => "tcp://127.0.0.1:10200",
            Kind::Vosk => "ws://127.0.0.1:2700",
            _ => "ws://127.0.0.1:6006",
        }
    }
}

/// What needs no section.
pub(super) const BUILT_IN: [&str; 3] = ["pocketsphinx", "flite", "none"];

/// Names in their order: the first is used, the next when it fails. In the file a name or a list of names; by the environment
/// names with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Just this one.
    #[must_use]
    pub fn one(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// The names, without `none`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|name| *name != "none")
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let wrong = |what: &str| serde::de::Error::custom(what);
        let names = match Written::deserialize(from).map_err(|_| {
            wrong("a name or a list of names is wanted, as \"flite\" or [\"deepgram\", \"flite\"]")
        })? {
            Written::One(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
            Written::Several(names) => names,
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(wrong("a list without names: write \"none\" where nobody shall"));
        }
        let twice = (1..names.len()).find(|at| names[..*at].contains(&names[*at]));
        if let Some(at) = twice {
            return Err(wrong(&format!("`{}` stands there twice", names[at])));
        }
        Ok(Self(names))
    }
}

/// What becomes of a caller whom nobody can talk to, once the apology has been played.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum WhenSilent {
    /// The bot is told that it failed, and decides.
    #[default]
    Bot,
    /// The dialplan goes on with him, with `OFFHOOK_STATUS=FAILED`.
    Dialplan,
    /// He is hung up on.
    HangUp,
    /// He is put through to a destination of the configuration.
    Transfer(String),
}

impl TryFrom<String> for WhenSilent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("transfer:")) {
            ("bot", _) => Ok(Self::Bot),
            ("dialplan", _) => Ok(Self::Dialplan),
            ("hangup", _) => Ok(Self::HangUp),
            (_, Some(to)) if !to.trim().is_empty() => Ok(Self::Transfer(to.trim().to_owned())),
            _ => Err(format!(
                "`{text}` is nothing that can be done: accepted are bot, dialplan, hangup and transfer:DESTINATION"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<ServiceSection, String> {
        let section: ServiceSection = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        section.check("cloud").map(|()| section)
    }

    #[test]
    fn a_service_is_checked_before_anybody_asks_it() {
        let wyoming = section("kind = 'wyoming'\nurl = 'tcp://10.0.0.2:10200'").unwrap();
        assert_eq!(wyoming.url(), "tcp://10.0.0.2:10200");
        assert_eq!(section("kind = 'deepgram'").unwrap().url(), "https://api.deepgram.com");
        for (wrong, told) in [
            ("kind = 'wyoming'", "needs its `url`, as tcp://"),
            ("kind = 'command'", "needs `command`"),
            ("kind = 'openai'\ncommand = ['x']", "means nothing"),
            ("kind = 'openai'\nkey = 'a'\nkey_file = 'b'", "two keys"),
            ("kind = 'openai'\nsample_rate = 1", "4000 to 192000"),
            ("kind = 'alexa'", "unknown variant `alexa`"),
            ("kind = 'openai'\nvoise = 'x'", "`voise`"),
        ] {
            let error = section(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
        assert!(section("kind = 'openai'").unwrap().check("flite").unwrap_err().contains("built in"));
    }

    #[test]
    fn a_key_is_not_printed_and_that_of_the_environment_goes_to_its_usual_place_alone() {
        let own = section("kind = 'openai'\nkey = 'sk-hunter2'\noptions = { speed = 1.1 }").unwrap();
        assert!(!format!("{own:?}").contains("hunter2"));
        assert_eq!(own.key().unwrap().unwrap().reveal(), "sk-hunter2");
        assert_eq!(own.options()["speed"], 1.1);
        let elsewhere = section("kind = 'openai'\nurl = 'http://10.0.0.2:8000/v1/'").unwrap();
        assert_eq!((elsewhere.url(), elsewhere.key().unwrap()), ("http://10.0.0.2:8000/v1", None));
    }

    #[test]
    fn names_are_one_or_several() {
        #[derive(Deserialize)]
        struct Holder {
            names: Names,
        }
        let names = |text: &str| {
            let holder = toml::from_str::<Holder>(&format!("names = {text}"));
            holder.map(|holder| holder.names.iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(names("'flite'").unwrap(), ["flite"]);
        assert_eq!(names("['deepgram', 'flite']").unwrap(), ["deepgram", "flite"]);
        assert_eq!(names("'deepgram, flite'").unwrap(), ["deepgram", "flite"]);
        assert_eq!(names("'none'").unwrap(), Vec::<String>::new());
        for wrong in ["[]", "''", "['a', 'a']", "7"] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_done_with_a_caller_whom_nobody_can_talk_to() {
        assert_eq!("transfer: desk".to_owned().try_into(), Ok(WhenSilent::Transfer("desk".into())));
        assert_eq!("hangup".to_owned().try_into(), Ok(WhenSilent::HangUp));
        assert!(WhenSilent::try_from("sing".to_owned()).unwrap_err().contains("transfer:DESTINATION"));
    }
}
