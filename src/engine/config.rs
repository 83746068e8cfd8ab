//! The configuration: one TOML file, every key overridable by the environment.
//!
//! `[asterisk] url` is overridden by `OFFHOOK_ASTERISK_URL`, `[bots.frontdesk] flow` by `OFFHOOK_BOTS_FRONTDESK_FLOW`. Paths
//! in the file are relative to the file. A secret is best kept out of it: in the environment, or in a file of its own
//! that a `…_file` key names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::doors::sections::{AgiSection, AmiSection};
use super::route::Rule;
use super::ways::Way;
use crate::asterisk::number::Plain;
use crate::asterisk::tls::Identity;
use crate::audio::codec::Format;
use crate::bot::remote::RemoteConfig;
use crate::guard::Allow;
use crate::media::TransportKind;
use crate::policy::redact::Redactor;
use crate::policy::{CallBackSection, DestinationSection, Policy, PolicySection};
use crate::turn::answer::AnswerSettings;
use crate::turn::vad::Kind as Vad;

mod asterisk;
mod engine;
mod service;

pub use asterisk::{AsteriskSection, EventsBy};
pub use engine::{EngineSection, HealthSection};
pub use service::{Kind, Names, ServiceSection, WhenSilent};

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
    /// Whether the engine is well, over HTTP; off unless it has an address.
    pub health: HealthSection,
    /// AMI, for what ARI lacks; off unless it has an address.
    pub ami: AmiSection,
    /// AGI, by which the dialplan asks where calls go; off unless it has an address.
    pub agi: AgiSection,
    /// Where calls go that the dialplan asks for; the first rule that fits decides.
    pub route: Vec<Rule>,
    /// Recognisers, synthesisers and language models that are not in the engine, by name.
    pub service: BTreeMap<String, ServiceSection>,
    /// Where calls may be transferred to, by name.
    pub destination: BTreeMap<String, DestinationSection>,
    /// How often, and to which numbers.
    pub policy: PolicySection,
    /// Which callers may be called back.
    pub call_back: CallBackSection,
    /// How it is found out who answered a call of a campaign.
    pub answering: AnswerSettings,
    /// Calling for campaigns.
    pub campaigns: CampaignsSection,
    /// What is never written down.
    pub privacy: Redactor,
    /// The bots by name. `Stasis(bot,NAME)` in the dialplan chooses one.
    pub bots: BTreeMap<String, BotSection>,
    /// The file that this was read from, if any.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

/// `[campaigns]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignsSection {
    /// Whether this engine calls for the campaigns of its book.
    pub dial: bool,
    /// How Asterisk is asked to make a call.
    pub by: Way,
    /// Asterisk's spool folder, for `by = "call_files"`.
    pub spool: PathBuf,
    /// The context of the dialplan in which Asterisk's `AMD()` finds out who answered, in place of our detector.
    pub amd: Option<Plain>,
}

impl Default for CampaignsSection {
    fn default() -> Self {
        Self { dial: true, by: Way::Ari, spool: "/var/spool/asterisk".into(), amd: None }
    }
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
    /// Who may connect to the listeners of AudioSocket and WebSocket.
    pub allow: Allow,
    /// Our certificate for the WebSocket listener, where Asterisk connects by `wss`.
    pub tls_cert: Option<PathBuf>,
    /// The key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// TCP port of the AudioSocket listener. 0 takes any.
    pub audiosocket_port: u16,
    /// TCP port of the WebSocket listener. 0 takes any.
    pub websocket_port: u16,
    /// The section of websocket_client.conf by which Asterisk connects to that listener.
    pub websocket_client: String,
    /// What tells speech from the rest, where a bot says nothing else: `webrtc`, `level` or `neural`.
    pub vad: Vad,
    /// Whether the bot's echo is taken out of what is heard, where a bot says nothing else.
    pub echo_canceller: bool,
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
            allow: Allow::UNSAID,
            tls_cert: None,
            tls_key: None,
            audiosocket_port: 9_092,
            websocket_port: 9_093,
            websocket_client: "offhook".into(),
            vad: Vad::Webrtc,
            echo_canceller: false,
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

impl<'de> Deserialize<'de> for Vad {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Self::named(&name).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{name}` is no detector of speech: accepted are webrtc, level and neural"
            ))
        })
    }
}

/// `[speech]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpeechSection {
    /// Who recognises, in this order: `pocketsphinx`, the name of a service, or `none` for bots that listen to keys alone.
    pub recognizer: Names,
    /// How many utterances can be recognised at the same moment; 0 is two per core.
    pub decoders: usize,
    /// Who speaks, in this order: `flite`, the name of a service, or `none` for bots that play recordings alone.
    pub synthesizer: Names,
    /// The voice, where a bot names none.
    pub voice: Option<String>,
    /// Until when a synthesiser that has others behind it may give its first audio, in milliseconds.
    pub first_audio_ms: u64,
    /// Until when a recogniser that has others behind it may give its final, in milliseconds.
    pub final_ms: u64,
    /// After how long the next one is asked beside one that is late, in milliseconds; 0 is never.
    pub hedge_ms: u64,
    /// A recording that is played when nobody can speak.
    pub apology: Option<PathBuf>,
    /// What becomes of the caller then: `bot`, `dialplan`, `hangup` or `transfer:DESTINATION`.
    pub when_silent: WhenSilent,
    /// Memory for sentences that are said again and again, in megabytes.
    pub prompt_cache_mb: usize,
    /// Folder for sentences that are said again and again, so that they are not made anew after a restart. Without it none
    /// are kept.
    pub prompt_cache: Option<PathBuf>,
    /// The most that this folder may have, in megabytes.
    pub prompt_cache_disk_mb: u64,
    /// Whether everything that is said is kept, and not only what is said in the same words on every call.
    pub prompt_cache_all: bool,
    /// Folder with `grammars/` and `pronunciations.dict`.
    pub models: Option<PathBuf>,
}

impl Default for SpeechSection {
    fn default() -> Self {
        Self {
            recognizer: Names::one("pocketsphinx"),
            decoders: 0,
            synthesizer: Names::one("flite"),
            voice: None,
            first_audio_ms: 700,
            final_ms: 400,
            hedge_ms: 0,
            apology: None,
            when_silent: WhenSilent::Bot,
            prompt_cache_mb: 64,
            prompt_cache: None,
            prompt_cache_disk_mb: 500,
            prompt_cache_all: false,
            models: None,
        }
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
    /// Where campaigns are kept when several engines share them: `postgres://USER:PASSWORD@HOST/DATABASE`. In the SQLite file
    /// otherwise.
    pub url: Option<crate::secret::Secret>,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            path: "offhook.sqlite".into(),
            numbers: crate::store::Numbers::Full,
            retention_days: 0,
            url: None,
        }
    }
}

/// `[recording]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingSection {
    /// Folder for stereo WAV files and time lines. Without it nothing is recorded.
    pub folder: Option<PathBuf>,
    /// What every caller is told first, where calls are recorded.
    pub announce: Option<String>,
}

/// `[bots.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BotSection {
    /// The flow that it runs; this, or one of the next three.
    #[serde(default)]
    pub flow: Option<PathBuf>,
    /// The file of the agent that it is.
    #[serde(default)]
    pub agent: Option<PathBuf>,
    /// The program that it is.
    #[serde(default)]
    pub remote: Option<RemoteConfig>,
    /// The file of the speech to speech model that it is.
    #[serde(default)]
    pub realtime: Option<PathBuf>,
    /// Its voice.
    #[serde(default)]
    pub voice: Option<String>,
    /// Who recognises on its calls, where that is not what `[speech]` says.
    #[serde(default)]
    pub recognizer: Option<Names>,
    /// Who speaks on its calls, where that is not what `[speech]` says.
    #[serde(default)]
    pub synthesizer: Option<Names>,
    /// What is played on its calls when nobody can speak, where that is not what `[speech]` says.
    #[serde(default)]
    pub apology: Option<PathBuf>,
    /// What becomes of its callers then, where that is not what `[speech]` says.
    #[serde(default)]
    pub when_silent: Option<WhenSilent>,
    /// By what its calls' audio comes, where that is not what `[media]` says.
    #[serde(default)]
    pub transport: Option<Choice<TransportKind>>,
    /// How it is coded, where that is not what `[media]` says.
    #[serde(default)]
    pub format: Option<Choice<Format>>,
    /// What tells speech from the rest on its calls, where that is not what `[media]` says.
    #[serde(default)]
    pub vad: Option<Vad>,
    /// Whether the echo is taken out of what is heard on its calls, where that is not what `[media]` says.
    #[serde(default)]
    pub echo_canceller: Option<bool>,
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
        AsteriskSection::inherit(&mut table);
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            ConfigError::new(format!("{} (check {})", error.message().trim(), names.join(", ")))
        })?;
        config.path = path.map(Path::to_path_buf);
        config.resolve_paths();
        config.check_bots(text)?;
        config.check_doors(text)?;
        let lines = |header: &str, index| line_of(text, header, index);
        config.asterisk.check(lines).map_err(|(line, what)| config.fault(line, &what))?;
        config.check_services(text)?;
        config.engine.check().map_err(|what| config.fault(line_of(text, "[engine]", 0), &what))?;
        config
            .answering
            .check()
            .map_err(|what| config.fault(line_of(text, "[answering]", 0), &what.to_string()))?;
        config.policy().map_err(|what| {
            let header =
                what.split(':').next().filter(|header| header.starts_with('[')).unwrap_or("[policy]");
            config.fault(line_of(text, header, 0), &what)
        })?;
        Ok(config)
    }

    /// Each bot is one thing, and no two listen for programs at the same place.
    fn check_bots(&self, text: &str) -> Result<(), ConfigError> {
        let mut doors = BTreeMap::new();
        for (name, bot) in &self.bots {
            let fault = |what: &str| Err(self.fault(line_of(text, &format!("[bots.{name}]"), 0), what));
            let kinds = [
                ("flow", bot.flow.is_some()),
                ("agent", bot.agent.is_some()),
                ("remote", bot.remote.is_some()),
                ("realtime", bot.realtime.is_some()),
            ];
            let named: Vec<_> = kinds.iter().filter(|(_, is)| *is).map(|(kind, _)| *kind).collect();
            if named.len() != 1 {
                let all = kinds.map(|(kind, _)| format!("`{kind}`")).join(", ");
                let has = if named.is_empty() { "none".to_owned() } else { named.join(" and ") };
                return fault(&format!("[bots.{name}] takes one of {all}, and has {has}"));
            }
            let listen = bot.remote.as_ref().and_then(|remote| remote.0.listen).filter(|at| at.port() != 0);
            if let Some(other) = listen.and_then(|listen| doors.insert(listen, name)) {
                return fault(&format!(
                    "the bots `{other}` and `{name}` listen at the same place: give one another port"
                ));
            }
        }
        Ok(())
    }

    /// Where calls may be transferred to.
    ///
    /// # Errors
    /// A sentence that says which destination cannot be used, and why.
    pub fn policy(&self) -> Result<Policy, String> {
        Policy::new(&self.policy, &self.destination, &self.call_back)
    }

    /// An error with its place.
    pub(in crate::engine) fn fault(&self, line: usize, what: &str) -> ConfigError {
        let file = self.path.as_ref().map_or("configuration".into(), |path| path.display().to_string());
        ConfigError::new(format!("{file}:{line}: {what}"))
    }

    /// Whether services are as they should be, and those that are named are there.
    fn check_services(&self, text: &str) -> Result<(), ConfigError> {
        for (name, service) in &self.service {
            let line = line_of(text, &format!("[service.{name}]"), 0);
            service.check(name).map_err(|what| self.fault(line, &what))?;
        }
        let known = |name: &str, built_in: &str, able: fn(Kind) -> bool| {
            name == built_in || self.service.get(name).is_some_and(|service| able(service.kind))
        };
        let check = |header: &str, key: &str, names: &Names| {
            let (built_in, able): (_, fn(Kind) -> bool) =
                if key == "recognizer" { ("pocketsphinx", Kind::hears) } else { ("flite", Kind::speaks) };
            let Some(wrong) = names.iter().find(|name| !known(name, built_in, able)) else { return Ok(()) };
            let services =
                self.service.iter().filter(|(_, service)| able(service.kind)).map(|(name, _)| name.as_str());
            let accepted = [built_in, "none"].into_iter().chain(services).collect::<Vec<_>>().join(", ");
            let what = match self.service.get(wrong) {
                Some(service) => format!(
                    "`{key}`: a service of the kind {} cannot do that; accepted are {accepted}",
                    service.kind.name()
                ),
                None => format!(
                    "`{key}` = `{wrong}`: accepted are {accepted}, and the names of [service.NAME] sections"
                ),
            };
            Err(self.fault(line_of(text, header, 0), &what))
        };
        check("[speech]", "recognizer", &self.speech.recognizer)?;
        check("[speech]", "synthesizer", &self.speech.synthesizer)?;
        let to_whom = |header: &str, then: &WhenSilent| match then {
            WhenSilent::Transfer(to) if !self.destination.contains_key(to) => {
                let what = format!("`when_silent` = `transfer:{to}`: there is no [destination.{to}]");
                Err(self.fault(line_of(text, header, 0), &what))
            }
            _ => Ok(()),
        };
        to_whom("[speech]", &self.speech.when_silent)?;
        for (name, bot) in &self.bots {
            let header = format!("[bots.{name}]");
            bot.when_silent.iter().try_for_each(|then| to_whom(&header, then))?;
            bot.recognizer.iter().try_for_each(|names| check(&header, "recognizer", names))?;
            bot.synthesizer.iter().try_for_each(|names| check(&header, "synthesizer", names))?;
        }
        Ok(())
    }

    /// Who recognises on a bot's calls.
    #[must_use]
    pub fn recognizers(&self, bot: &str) -> &Names {
        self.bots.get(bot).and_then(|bot| bot.recognizer.as_ref()).unwrap_or(&self.speech.recognizer)
    }

    /// Who speaks on a bot's calls.
    #[must_use]
    pub fn synthesizers(&self, bot: &str) -> &Names {
        self.bots.get(bot).and_then(|bot| bot.synthesizer.as_ref()).unwrap_or(&self.speech.synthesizer)
    }

    /// What is played when nobody can speak, and what becomes of a bot's caller then.
    #[must_use]
    pub fn when_silent(&self, bot: &str) -> (Option<&Path>, &WhenSilent) {
        let bot = self.bots.get(bot);
        let apology = bot.and_then(|bot| bot.apology.as_deref()).or(self.speech.apology.as_deref());
        let then = bot.and_then(|bot| bot.when_silent.as_ref()).unwrap_or(&self.speech.when_silent);
        (apology, then)
    }

    /// Who the WebSocket listener for media is, where Asterisk connects to it by `wss`.
    #[must_use]
    pub fn media_identity(&self) -> Option<Identity> {
        identity(&self.media.tls_cert, &self.media.tls_key)
    }

    /// What tells speech from the rest on a bot's calls.
    pub(super) fn vad(&self, bot: &str) -> Vad {
        self.bots.get(bot).and_then(|bot| bot.vad).unwrap_or(self.media.vad)
    }

    /// Whether the echo is taken out of what is heard on a bot's calls.
    pub(super) fn cancels_echo(&self, bot: &str) -> bool {
        self.bots.get(bot).and_then(|bot| bot.echo_canceller).unwrap_or(self.media.echo_canceller)
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
        for bot in self.bots.values_mut() {
            [&mut bot.flow, &mut bot.agent, &mut bot.realtime].into_iter().flatten().for_each(resolve);
            bot.remote.iter_mut().flat_map(|remote| remote.0.files()).for_each(resolve);
        }
        let optional = [
            &mut self.media.tls_cert,
            &mut self.media.tls_key,
            &mut self.ami.secret_file,
            &mut self.ami.tls_ca,
            &mut self.speech.models,
            &mut self.speech.apology,
            &mut self.speech.prompt_cache,
            &mut self.recording.folder,
            &mut self.media.capture,
        ];
        optional.into_iter().flatten().for_each(resolve);
        self.bots.values_mut().filter_map(|bot| bot.apology.as_mut()).for_each(resolve);
        self.service.values_mut().filter_map(|service| service.key_file.as_mut()).for_each(resolve);
        self.asterisk.files().into_iter().flatten().for_each(resolve);
        self.asterisk.server.iter_mut().flat_map(AsteriskSection::files).flatten().for_each(resolve);
    }
}

/// The line of the n-th header of that form; 1 when it is not in the file (it came by the environment).
pub(in crate::engine) fn line_of(text: &str, header: &str, index: usize) -> usize {
    let headers = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(header));
    headers.map(|(line, _)| line + 1).nth(index).unwrap_or(1)
}

/// The two files of a server's TLS; [`Config::check_doors`](Config) sees to it that both are there or none.
fn identity(certificate: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<Identity> {
    Some(Identity { certificate: certificate.clone()?, key: key.clone()? })
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
    let sections = [
        "asterisk",
        "ami",
        "agi",
        "media",
        "speech",
        "service",
        "engine",
        "health",
        "store",
        "recording",
        "policy",
        "answering",
        "campaigns",
        "bots",
    ];
    if !sections.contains(&section) {
        return Err(unknown());
    }
    let mut target = sub_table(table, section).ok_or_else(unknown)?;
    let mut key = key;
    if section == "asterisk" && AsteriskSection::named_server(target, key).is_some() {
        // Asked twice: the borrow of the one that is found lasts as long as the table's.
        (target, key) = AsteriskSection::named_server(target, key).ok_or_else(unknown)?;
    }
    if section == "bots" {
        // The keys with an underscore of their own.
        let split = ["device_state", "echo_canceller", "when_silent", "remote_token"]
            .into_iter()
            .find_map(|of_bot| Some((key.strip_suffix(of_bot)?.strip_suffix('_')?, of_bot)));
        let (bot, of_bot) = split.or_else(|| key.rsplit_once('_')).ok_or_else(unknown)?;
        target = sub_table(target, bot).ok_or_else(unknown)?;
        key = of_bot;
        if of_bot == "remote_token" {
            let remote = target.entry("remote").or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(url) = remote.as_str().map(str::to_owned) {
                *remote = toml::Value::Table(toml::Table::from_iter([("url".to_owned(), url.into())]));
            }
            (target, key) = (remote.as_table_mut().ok_or_else(unknown)?, "token");
        }
    }
    if section == "service" {
        let split = ["key_file", "sample_rate", "at_once", "connect_ms", "first_ms", "stall_ms"]
            .into_iter()
            .find_map(|of_service| Some((key.strip_suffix(of_service)?.strip_suffix('_')?, of_service)));
        let (service, of_service) = split.or_else(|| key.rsplit_once('_')).ok_or_else(unknown)?;
        // A name may have dashes, which no variable of the environment may.
        let known: Vec<String> = target.keys().cloned().collect();
        let service = known
            .iter()
            .find(|name| name.to_lowercase().replace('-', "_") == service)
            .map_or(service, String::as_str);
        target = sub_table(target, service).ok_or_else(unknown)?;
        key = of_service;
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
        "token",
        "user",
        "app",
        "bot",
        "voice",
        "goodbye",
        "ports",
        "websocket_client",
        "listen",
        "secret",
        "name",
        "allow",
        "key",
        "model",
        "url",
        "language",
    ]
    .contains(&key);
    if is_text {
        return toml::Value::String(value.to_owned());
    }
    let whole = value.parse().map(toml::Value::Integer).ok();
    let truth = || value.parse().map(toml::Value::Boolean).ok();
    // A share, as 2.5; neither `inf` nor `nan` is one.
    let share = || value.parse().ok().filter(|number: &f64| number.is_finite()).map(toml::Value::Float);
    whole.or_else(truth).or_else(share).unwrap_or_else(|| toml::Value::String(value.to_owned()))
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
            ("OFFHOOK_CAMPAIGNS_BY", "call_files"),
            ("OFFHOOK_ANSWERING_MACHINE_GREETING_MS", "4000"),
            ("OFFHOOK_POLICY_COUNTRY", "DE"),
            ("OFFHOOK_LOG", "debug"),
            ("HOME", "/root"),
        ];
        let config = parse(text, &env).expect("all keys are known");
        assert_eq!((config.campaigns.by, config.answering.machine_greeting_ms), (Way::CallFiles, 4_000));
        assert_eq!(config.policy.country.as_deref(), Some("DE"));
        assert_eq!(config.asterisk.url, "http://b:2");
        assert_eq!(config.asterisk.password().expect("set").reveal(), "12345");
        assert_eq!((config.media.port, config.engine.drain_seconds), (0, 3));
        assert_eq!(config.bots["desk"].voice.as_deref(), Some("rms"));
        assert_eq!(config.bots["desk"].flow.as_deref(), Some(Path::new("/etc/offhook/desk.toml")));
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
        let text = "[media]\nvad = 'neural'\necho_canceller = true\n[bots.front_desk]\nflow = 'desk.toml'\nvad = 'level'\n";
        let env = [("OFFHOOK_BOTS_FRONT_DESK_ECHO_CANCELLER", "false")];
        let config = parse(text, &env).expect("valid");
        assert_eq!((config.media.vad, config.media.echo_canceller), (Vad::Neural, true));
        assert_eq!(config.bots["front_desk"].vad, Some(Vad::Level));
        assert_eq!(config.bots["front_desk"].echo_canceller, Some(false));
        for (wrong, accepted) in [
            ("transport = 'tcp'", "audiosocket, websocket and websocket-server"),
            ("format = 'mp3'", "slin16, g722 and opus"),
            ("vad = 'silero'", "webrtc, level and neural"),
            ("echo_canceller = 'yes'", "boolean"),
            ("ports = '5000'", "41000-41999"),
            ("ports = '6000-5000'", "41000-41999"),
            ("rtp = 'many'", "`shared`"),
        ] {
            let error = parse(&format!("[media]\n{wrong}\n"), &[]).expect_err(wrong).to_string();
            assert!(error.contains(":2: ") && error.contains(accepted), "{error}");
        }
    }

    #[test]
    fn a_bot_is_one_thing() {
        let text = "[bots.desk]\nremote = 'ws://127.0.0.1:9000'\n[bots.other]\nremote = { listen = '127.0.0.1:8092', fallback = { flow = 'x.toml' } }\n";
        let config = parse(text, &[("OFFHOOK_BOTS_DESK_REMOTE_TOKEN", "12345")]).expect("valid");
        let remote = |name: &str| config.bots[name].remote.clone().expect("a program").0;
        assert_eq!(remote("desk").token.map(|token| token.reveal().to_owned()), Some("12345".into()));
        assert_eq!(remote("desk").url.as_deref(), Some("ws://127.0.0.1:9000"));
        assert_eq!(remote("other").fallback.flow.as_deref(), Some(Path::new("/etc/offhook/x.toml")));
        assert!(!format!("{config:?}").contains("12345"));
        for (wrong, told) in [
            ("[bots.desk]\nvoice = 'slt'\n", "has none"),
            ("\n[bots.desk]\nflow = 'a'\nremote = 'ws://x'\n", ":2: "),
            ("[bots.a]\nremote = 'x'\n", ":2: "),
            (
                "[bots.a]\nremote = { listen = '127.0.0.1:1' }\n[bots.b]\nremote = { listen = '127.0.0.1:1' }\n",
                "same place",
            ),
        ] {
            let error = parse(wrong, &[]).expect_err(wrong).to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_bot_is_a_flow_or_an_agent() {
        let config = parse("[bots.a]\nagent = 'a.toml'\n", &[]).expect("valid");
        assert_eq!(config.bots["a"].agent.as_deref(), Some(Path::new("/etc/offhook/a.toml")));
        for wrong in ["[media]\n[bots.a]\nflow = 'x'\nagent = 'y'\n", "[media]\n[bots.a]\nvoice = 'slt'\n"] {
            let error = parse(wrong, &[]).expect_err("not one thing").to_string();
            assert!(error.starts_with("/etc/offhook/desk.toml:2: [bots.a]"), "{error}");
        }
    }

    #[test]
    fn services_are_named_in_their_order_for_all_bots_or_for_one() {
        let text = "[speech]\nsynthesizer = ['cloud', 'flite']\napology = 'sorry.wav'\n\
                    [service.cloud]\nkind = 'openai'\nkey_file = 'key'\n[service.my-ears]\nkind = 'vosk'\nurl = 'ws://a:1'\n\
                    [bots.desk]\nflow = 'desk.toml'\nrecognizer = 'my-ears'\nwhen_silent = 'hangup'\n";
        let env = [("OFFHOOK_SERVICE_CLOUD_MODEL", "tts-1"), ("OFFHOOK_SERVICE_MY_EARS_FIRST_MS", "900")];
        let config = parse(text, &env).expect("valid");
        assert_eq!(config.synthesizers("desk").iter().collect::<Vec<_>>(), ["cloud", "flite"]);
        assert_eq!(config.recognizers("desk").iter().collect::<Vec<_>>(), ["my-ears"]);
        assert_eq!(config.recognizers("other").iter().collect::<Vec<_>>(), ["pocketsphinx"]);
        assert_eq!(config.service["cloud"].model.as_deref(), Some("tts-1"));
        assert_eq!(config.service["cloud"].key_file.as_deref(), Some(Path::new("/etc/offhook/key")));
        assert_eq!(config.service["my-ears"].first_ms, Some(900));
        let (apology, then) = config.when_silent("desk");
        assert_eq!((apology, then), (Some(Path::new("/etc/offhook/sorry.wav")), &WhenSilent::HangUp));
        for (wrong, line, told) in [
            ("[media]\n[speech]\nsynthesizer = 'cloud'\n", 2, "accepted are flite, none, and"),
            (
                "[service.a]\nkind = 'vosk'\nurl = 'ws://a'\n[bots.b]\nflow = 'b'\nsynthesizer = 'a'\n",
                4,
                "of the kind vosk cannot do that",
            ),
            ("\n[service.flite]\nkind = 'openai'\n", 2, "built in"),
        ] {
            let error = parse(wrong, &[]).expect_err(wrong).to_string();
            assert!(error.contains(&format!("toml:{line}: ")) && error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let config = parse("[asterisk]\npassword = 'hunter2'", &[]).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
