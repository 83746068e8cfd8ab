//! The configuration: one TOML file, every key overridable by the environment.
//!
//! `[asterisk] url` is overridden by `OFFHOOK_ASTERISK_URL`, `[bots.frontdesk] flow` by `OFFHOOK_BOTS_FRONTDESK_FLOW`. Paths
//! in the file are relative to the file. A secret is best kept out of it: in the environment, or in a file of its own
//! that a `…_file` key names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::doors::sections::{AgiSection, AmiSection};
use super::route::Rule;
use crate::audio::codec::Format;
use crate::media::TransportKind;

mod asterisk;

pub use asterisk::{AsteriskSection, EventsBy};

/// A configuration that cannot be used. The sentence says where, what, and what is accepted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// Where Asterisk is.
    pub asterisk: AsteriskSection,
    /// Sockets and threads for audio.
    pub media: MediaSection,
    /// Recogniser and synthesiser.
    pub speech: SpeechSection,
    /// Limits and shutting down.
    pub engine: EngineSection,
    /// Where calls are kept.
    pub store: StoreSection,
    /// Recording; off unless there is a folder.
    pub recording: RecordingSection,
    /// AMI, for what ARI lacks; off unless it has an address.
    pub ami: AmiSection,
    /// AGI, by which the dialplan asks where calls go; off unless it has an address.
    pub agi: AgiSection,
    /// Where calls go that the dialplan asks for; the first rule that fits decides.
    pub route: Vec<Rule>,
    /// The bots by name. `Stasis(bot,NAME)` in the dialplan chooses one.
    pub bots: BTreeMap<String, BotSection>,
    /// The file that this was read from, if any.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

/// `[media]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaSection {
    /// By what calls' audio comes, where a bot says nothing else.
    pub transport: Choice<TransportKind>,
    /// How it is coded, where a bot says nothing else.
    pub format: Choice<Format>,
    /// The address that our sockets bind.
    pub bind: IpAddr,
    /// The address that Asterisk is told to send to, where it is another one (NAT, containers).
    pub advertise: Option<IpAddr>,
    /// UDP port of the first media thread; the next ones follow. 0 takes any.
    pub port: u16,
    /// Whether RTP calls share the threads' ports or have one each.
    pub rtp: RtpPorts,
    /// The UDP ports for `rtp = "ports"`.
    pub ports: PortRange,
    /// TCP port of the AudioSocket listener. 0 takes any.
    pub audiosocket_port: u16,
    /// TCP port of the WebSocket listener. 0 takes any.
    pub websocket_port: u16,
    /// The section of websocket_client.conf by which Asterisk connects to that listener.
    pub websocket_client: String,
    /// Media threads; 0 is one per core.
    pub threads: usize,
    /// Folder for captures of RTP calls. Without it none are made.
    pub capture: Option<PathBuf>,
    /// The most that one call's capture may have, in megabytes.
    pub capture_call_mb: u64,
    /// The most that all captures of the folder may have, in megabytes.
    pub capture_folder_mb: u64,
}

impl Default for MediaSection {
    fn default() -> Self {
        Self {
            transport: Choice::Auto,
            format: Choice::Auto,
            bind: IpAddr::from([127, 0, 0, 1]),
            advertise: None,
            port: 40_000,
            rtp: RtpPorts::Shared,
            ports: PortRange { first: 41_000, last: 41_999 },
            audiosocket_port: 9_092,
            websocket_port: 9_093,
            websocket_client: "offhook".into(),
            threads: 0,
            capture: None,
            capture_call_mb: 20,
            capture_folder_mb: 1_000,
        }
    }
}

/// Something named, or what suits best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice<T> {
    /// What suits best.
    #[default]
    Auto,
    /// This.
    Named(T),
}

/// Where the packets of RTP calls come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtpPorts {
    /// One port per media thread: the source address tells the calls apart.
    Shared,
    /// One port per call, for a NAT between Asterisk and us that rewrites source addresses.
    Ports,
}

/// Ports in a row, as `41000-41999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
            (range.first > 0 && range.first <= range.last).then_some(range)
        };
        parse().ok_or_else(|| {
            format!("`{text}` is no range of ports: write the first and the last one, as \"41000-41999\"")
        })
    }
}

impl<'de> Deserialize<'de> for Choice<TransportKind> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let named = TransportKind::ALL.into_iter().find(|kind| kind.name() == name);
        match named {
            Some(kind) => Ok(Self::Named(kind)),
            None if name == "auto" => Ok(Self::Auto),
            None => Err(serde::de::Error::custom(format!(
                "`{name}` is no transport: accepted are auto, rtp, audiosocket, websocket and websocket-server"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Choice<Format> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name == "auto" {
            return Ok(Self::Auto);
        }
        name.parse().map(Self::Named).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{name}` is no audio format: accepted are auto, ulaw, alaw, slin, slin16, g722 and opus"
            ))
        })
    }
}

/// `[speech]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpeechSection {
    /// `pocketsphinx`, or `none` for bots that listen to keys alone.
    pub recognizer: RecognizerKind,
    /// How many utterances can be recognised at the same moment; 0 is two per core.
    pub decoders: usize,
    /// `flite`, or `none` for bots that play recordings alone.
    pub synthesizer: SynthesizerKind,
    /// The voice, where a bot names none.
    pub voice: Option<String>,
    /// Memory for sentences that are said again and again, in megabytes.
    pub prompt_cache_mb: usize,
    /// Folder with `grammars/` and `pronunciations.dict`.
    pub models: Option<PathBuf>,
}

impl Default for SpeechSection {
    fn default() -> Self {
        Self {
            recognizer: RecognizerKind::Pocketsphinx,
            decoders: 0,
            synthesizer: SynthesizerKind::Flite,
            voice: None,
            prompt_cache_mb: 64,
            models: None,
        }
    }
}

/// Which recogniser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecognizerKind {
    /// The embedded one.
    Pocketsphinx,
    /// None.
    None,
}

/// Which synthesiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SynthesizerKind {
    /// The embedded one.
    Flite,
    /// None.
    None,
}

/// `[engine]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// The bot for a call that names none; needed only where there are several.
    pub bot: Option<String>,
    /// Calls at once; one more is left to the dialplan.
    pub max_calls: usize,
    /// At the end, calls may go on for this long before the bot says goodbye.
    pub drain_seconds: u64,
    /// Said to callers who are still there then, where their bot has no goodbye of its own.
    pub goodbye: String,
}

impl Default for EngineSection {
    fn default() -> Self {
        Self {
            bot: None,
            max_calls: 500,
            drain_seconds: 30,
            goodbye: "I am sorry, I have to end this call now. Please call again. Goodbye.".into(),
        }
    }
}

impl EngineSection {
    /// [`drain_seconds`](Self::drain_seconds) as a span.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// The SQLite file; made at the first start.
    pub path: PathBuf,
    /// How numbers of callers are kept: `full`, `masked` or `none`.
    pub numbers: crate::store::Numbers,
    /// Calls older than this are deleted at start; 0 keeps them.
    pub retention_days: u32,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { path: "offhook.sqlite".into(), numbers: crate::store::Numbers::Full, retention_days: 0 }
    }
}

/// `[recording]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingSection {
    /// Folder for stereo WAV files and time lines. Without it nothing is recorded.
    pub folder: Option<PathBuf>,
}

/// `[bots.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BotSection {
    /// The flow that it runs.
    pub flow: PathBuf,
    /// Its voice.
    #[serde(default)]
    pub voice: Option<String>,
    /// By what its calls' audio comes, where that is not what `[media]` says.
    #[serde(default)]
    pub transport: Option<Choice<TransportKind>>,
    /// How it is coded, where that is not what `[media]` says.
    #[serde(default)]
    pub format: Option<Choice<Format>>,
    /// Whether its calls are captured, where `[media] capture` names a folder.
    #[serde(default)]
    pub capture: Option<bool>,
    /// Whether `Stasis:NAME` shows on telephones' lamps what it does.
    #[serde(default)]
    pub device_state: bool,
}

/// Environment variables that begin with `OFFHOOK_` and are no configuration keys.
const NOT_KEYS: &[&str] =
    &["OFFHOOK_CONFIG", "OFFHOOK_LOG", "OFFHOOK_CACHE", "OFFHOOK_SOUNDS", "OFFHOOK_ASTERISK_SIP"];

impl Config {
    /// Reads `path` and lays the environment over it.
    ///
    /// # Errors
    /// When the file cannot be read, or a key or value is not accepted: with file, line, and what would be.
    pub fn load(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|why| {
            ConfigError::new(format!("cannot read the configuration {}: {why}", path.display()))
        })?;
        Self::parse(&text, Some(path), env)
    }

    /// The defaults with the environment laid over them.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_env(env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::parse("", None, env)
    }

    pub(super) fn parse(
        text: &str,
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let at = |error: &toml::de::Error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let file = path.map_or("configuration".into(), |p| p.display().to_string());
            ConfigError::new(format!("{file}:{line}: {}", error.message().trim()))
        };
        // Read once as it stands, so that a mistake in the file is told with its line.
        toml::from_str::<Self>(text).map_err(|error| at(&error))?;
        let mut table: toml::Table = toml::from_str(text).map_err(|error| at(&error))?;
        let mut names = Vec::new();
        for (name, value) in env {
            if name.starts_with("OFFHOOK_") && !NOT_KEYS.contains(&name.as_str()) {
                lay_over(&mut table, &name, &value)?;
                names.push(name);
            }
        }
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            ConfigError::new(format!("{} (check {})", error.message().trim(), names.join(", ")))
        })?;
        config.path = path.map(Path::to_path_buf);
        config.resolve_paths();
        config.check_doors(text)?;
        Ok(config)
    }

    /// The bots that are shown on lamps.
    pub(super) fn lamps(&self) -> impl Iterator<Item = &str> {
        self.bots.iter().filter(|(_, bot)| bot.device_state).map(|(name, _)| name.as_str())
    }

    /// Makes paths of the file relative to the file.
    fn resolve_paths(&mut self) {
        let Some(folder) = self.path.as_deref().and_then(Path::parent).map(Path::to_path_buf) else { return };
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        resolve(&mut self.store.path);
        self.bots.values_mut().for_each(|bot| resolve(&mut bot.flow));
        let optional = [
            &mut self.asterisk.password_file,
            &mut self.asterisk.ca_file,
            &mut self.ami.secret_file,
            &mut self.ami.tls_ca,
            &mut self.speech.models,
            &mut self.recording.folder,
            &mut self.media.capture,
        ];
        optional.into_iter().flatten().for_each(resolve);
    }
}

/// Sets the key that an environment variable names.
fn lay_over(table: &mut toml::Table, name: &str, value: &str) -> Result<(), ConfigError> {
    let unknown = || {
        ConfigError::new(format!(
            "the environment variable {name} names no key: they are OFFHOOK_SECTION_KEY, as OFFHOOK_ASTERISK_URL for `url` under [asterisk]"
        ))
    };
    let lower = name["OFFHOOK_".len()..].to_lowercase();
    let (section, key) = lower.split_once('_').ok_or_else(unknown)?;
    let sections = ["asterisk", "ami", "agi", "media", "speech", "engine", "store", "recording", "bots"];
    if !sections.contains(&section) {
        return Err(unknown());
    }
    let mut target = sub_table(table, section).ok_or_else(unknown)?;
    let mut key = key;
    if section == "bots" {
        // The one key with an underscore of its own.
        let split = key.strip_suffix("_device_state").map(|bot| (bot, "device_state"));
        let (bot, of_bot) = split.or_else(|| key.rsplit_once('_')).ok_or_else(unknown)?;
        target = sub_table(target, bot).ok_or_else(unknown)?;
        key = of_bot;
    }
    target.insert(key.to_owned(), as_toml(key, value));
    Ok(())
}

fn sub_table<'a>(table: &'a mut toml::Table, name: &str) -> Option<&'a mut toml::Table> {
    table.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new())).as_table_mut()
}

/// A number or a truth value where it looks like one; text otherwise, and always for what is text by nature.
fn as_toml(key: &str, value: &str) -> toml::Value {
    let is_text = [
        "password",
        "user",
        "app",
        "bot",
        "voice",
        "goodbye",
        "ports",
        "websocket_client",
        "listen",
        "secret",
    ]
    .contains(&key);
    match (is_text, value.parse::<i64>(), value.parse::<bool>()) {
        (false, Ok(number), _) => toml::Value::Integer(number),
        (false, _, Ok(truth)) => toml::Value::Boolean(truth),
        _ => toml::Value::String(value.to_owned()),
    }
}

impl fmt::Display for RecognizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pocketsphinx => "pocketsphinx",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(text, Some(Path::new("/etc/offhook/desk.toml")), env)
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("", &[]).expect("everything has a default");
        assert_eq!(config.asterisk.url, "http://127.0.0.1:8088");
        assert!(config.asterisk.password().unwrap_err().to_string().contains("OFFHOOK_ASTERISK_PASSWORD"));
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let text = "[asterisk]\nurl = 'http://a:1'\n[bots.desk]\nflow = 'desk.toml'\n";
        let env = [
            ("OFFHOOK_ASTERISK_URL", "http://b:2"),
            ("OFFHOOK_ASTERISK_PASSWORD", "12345"),
            ("OFFHOOK_MEDIA_PORT", "0"),
            ("OFFHOOK_ENGINE_DRAIN_SECONDS", "3"),
            ("OFFHOOK_BOTS_DESK_VOICE", "rms"),
            ("OFFHOOK_LOG", "debug"),
            ("HOME", "/root"),
        ];
        let config = parse(text, &env).expect("all keys are known");
        assert_eq!(config.asterisk.url, "http://b:2");
        assert_eq!(config.asterisk.password().expect("set").reveal(), "12345");
        assert_eq!((config.media.port, config.engine.drain_seconds), (0, 3));
        assert_eq!(config.bots["desk"].voice.as_deref(), Some("rms"));
        assert_eq!(config.bots["desk"].flow, Path::new("/etc/offhook/desk.toml"));
    }

    #[test]
    fn a_mistake_is_told_with_file_line_and_what_is_accepted() {
        let error = parse("[asterisk]\nurl = 'x'\n\n[media]\nprot = 1\n", &[]).expect_err("no such key");
        let text = error.to_string();
        assert!(text.starts_with("/etc/offhook/desk.toml:5: "), "{text}");
        assert!(text.contains("`prot`") && text.contains("`port`"), "{text}");
        let error = parse("", &[("OFFHOOK_MEDAI_PORT", "1")]).expect_err("no such section");
        assert!(error.to_string().contains("OFFHOOK_MEDAI_PORT"));
        let error = parse("", &[("OFFHOOK_MEDIA_PORT", "many")]).expect_err("no number");
        assert!(error.to_string().contains("OFFHOOK_MEDIA_PORT"), "{error}");
    }

    #[test]
    fn transports_and_formats_are_named_as_asterisk_names_them() {
        let text = "[media]\ntransport = 'websocket-server'\nformat = 'slin16'\nports = '5000-5009'\n\
                    [bots.desk]\nflow = 'desk.toml'\ntransport = 'auto'\n";
        let config = parse(text, &[("OFFHOOK_BOTS_DESK_FORMAT", "g722")]).expect("valid");
        assert_eq!(config.media.transport, Choice::Named(TransportKind::WebsocketServer));
        assert_eq!(config.media.format, Choice::Named(Format::Slin16));
        assert_eq!(config.media.ports, PortRange { first: 5_000, last: 5_009 });
        assert_eq!(config.bots["desk"].transport, Some(Choice::Auto));
        assert_eq!(config.bots["desk"].format, Some(Choice::Named(Format::G722)));
        for (wrong, accepted) in [
            ("transport = 'tcp'", "audiosocket, websocket and websocket-server"),
            ("format = 'mp3'", "slin16, g722 and opus"),
            ("ports = '5000'", "41000-41999"),
            ("ports = '6000-5000'", "41000-41999"),
            ("rtp = 'many'", "`shared`"),
        ] {
            let error = parse(&format!("[media]\n{wrong}\n"), &[]).expect_err(wrong).to_string();
            assert!(error.contains(":2: ") && error.contains(accepted), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let config = parse("[asterisk]\npassword = 'hunter2'", &[]).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
