//! By what each bot's calls get their audio: what the configuration wants, out of what the server can.

use std::collections::BTreeMap;

use super::EngineError;
use super::config::{Choice, Config, ConfigError};
use crate::asterisk::ari::model::Module;
use crate::asterisk::ari::{Ari, AriError};
use crate::audio::codec::Format;
use crate::call::MediaPlan;
use crate::media::TransportKind;

/// A transport for every bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transports {
    default: MediaPlan,
    bots: BTreeMap<String, MediaPlan>,
}

/// What a server can do.
#[derive(Debug, Clone)]
pub enum Abilities {
    /// It has these modules.
    Modules(Vec<Module>),
    /// It does not tell.
    Unknown,
}

impl Abilities {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer. One that may not tell is taken to be able to do everything.
    pub async fn of(ari: &Ari) -> Result<Self, AriError> {
        match ari.asterisk().modules().await {
            Ok(modules) => Ok(Self::Modules(modules)),
            Err(AriError::Forbidden { .. } | AriError::NotFound { .. } | AriError::Unsupported { .. }) => {
                Ok(Self::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// The modules that a transport lacks here.
    #[must_use]
    pub fn missing(&self, kind: TransportKind) -> Vec<&'static str> {
        let Self::Modules(modules) = self else { return Vec::new() };
        let runs = |name: &str| modules.iter().any(|m| m.name == name && m.status != "Not Running");
        needed(kind).iter().copied().filter(|name| !runs(name)).collect()
    }

    /// Whether a transport can be had here.
    #[must_use]
    pub fn can(&self, kind: TransportKind) -> bool {
        self.missing(kind).is_empty()
    }
}

/// The modules that a transport takes.
const fn needed(kind: TransportKind) -> &'static [&'static str] {
    match kind {
        TransportKind::Rtp => &["chan_rtp.so", "res_rtp_asterisk.so"],
        TransportKind::Audiosocket => &["res_audiosocket.so", "chan_audiosocket.so"],
        TransportKind::Websocket => &["res_http_websocket.so", "chan_websocket.so"],
        TransportKind::WebsocketServer => {
            &["res_http_websocket.so", "res_websocket_client.so", "chan_websocket.so"]
        }
    }
}

/// Since when Asterisk has a transport, for people.
const fn since(kind: TransportKind) -> &'static str {
    match kind {
        TransportKind::Rtp => "16.6",
        TransportKind::Audiosocket => "18",
        TransportKind::Websocket | TransportKind::WebsocketServer => "20.16, 21.11 and 22.6",
    }
}

/// Why a transport cannot be had, in a sentence that says what to do.
#[must_use]
pub fn lacks(kind: TransportKind, missing: &[&str]) -> String {
    format!(
        "{kind} media needs {} in Asterisk, which has it since {}: load it (modules.conf), or set `transport = \"auto\"` under [media]",
        missing.join(" and "),
        since(kind)
    )
}

impl Transports {
    /// Chooses for every bot of the configuration.
    ///
    /// # Errors
    /// When the server lacks what the configuration names, or a format does not go over the transport.
    pub fn choose(config: &Config, abilities: &Abilities) -> Result<Self, EngineError> {
        let plan = |bot: Option<&str>, transport, format| {
            choose(config, abilities, bot, transport, format).map_err(EngineError::Config)
        };
        let media = &config.media;
        let bots = config.bots.iter().map(|(name, bot)| {
            let transport = bot.transport.unwrap_or(media.transport);
            let format = bot.format.unwrap_or(media.format);
            Ok((name.clone(), plan(Some(name), transport, format)?))
        });
        let bots = bots.collect::<Result<BTreeMap<_, _>, EngineError>>()?;
        // Bots that are made in code have no section of their own.
        let default = plan(None, media.transport, media.format)?;
        Ok(Self { default, bots })
    }

    /// How the calls of a bot get their audio.
    #[must_use]
    pub fn plan_of(&self, bot: &str) -> &MediaPlan {
        self.bots.get(bot).unwrap_or(&self.default)
    }

    /// The plans that differ, one for each transport in use, in the order of [`TransportKind::ALL`].
    #[must_use]
    pub fn in_use(&self) -> Vec<&MediaPlan> {
        let plans = || self.bots.values().chain(self.bots.is_empty().then_some(&self.default));
        TransportKind::ALL.iter().filter_map(|kind| plans().find(|plan| plan.transport == *kind)).collect()
    }

    /// Whether any bot's calls come by this transport.
    #[must_use]
    pub fn uses(&self, kind: TransportKind) -> bool {
        self.in_use().iter().any(|plan| plan.transport == kind)
    }
}

fn choose(
    config: &Config,
    abilities: &Abilities,
    bot: Option<&str>,
    transport: Choice<TransportKind>,
    format: Choice<Format>,
) -> Result<MediaPlan, ConfigError> {
    let section = bot.map_or_else(|| "[media]".to_owned(), |name| format!("[media] or [bots.{name}]"));
    let wanted = match format {
        Choice::Named(format) => Some(format),
        Choice::Auto => None,
    };
    let carries = |kind: TransportKind| wanted.is_none_or(|format| goes_over(format, kind));
    let transport = match transport {
        Choice::Named(kind) => {
            let missing = abilities.missing(kind);
            if !missing.is_empty() {
                return Err(ConfigError::new(lacks(kind, &missing)));
            }
            kind
        }
        // The last one needs a section in websocket_client.conf, which nobody can know of.
        Choice::Auto => *TransportKind::ALL[..3]
            .iter()
            .find(|kind| abilities.can(**kind) && carries(**kind))
            .ok_or_else(|| {
                ConfigError::new(format!(
                    "Asterisk has no transport for the format that {section} names: load chan_rtp.so, chan_audiosocket.so or chan_websocket.so (modules.conf), or set `format = \"auto\"`"
                ))
            })?,
    };
    if let Some(format) = wanted.filter(|format| !goes_over(*format, transport)) {
        let others: Vec<_> =
            Format::ALL.iter().filter(|f| goes_over(**f, transport)).map(|f| f.name()).collect();
        return Err(ConfigError::new(format!(
            "Asterisk does not carry {format} both ways over {transport}: set `format` under {section} to one of {}, or another `transport`",
            others.join(", ")
        )));
    }
    // What the telephone network has, where it can be: then Asterisk converts nothing.
    let format = wanted.unwrap_or(match transport {
        TransportKind::Audiosocket => Format::Slin,
        _ => Format::Ulaw,
    });
    Ok(MediaPlan { transport, format, websocket_client: config.media.websocket_client.clone() })
}

/// Whether a format goes both ways over a transport.
#[must_use]
pub const fn goes_over(format: Format, kind: TransportKind) -> bool {
    match kind {
        TransportKind::Rtp => format.both_ways_over_rtp(),
        TransportKind::Audiosocket => format.both_ways_over_audiosocket(),
        TransportKind::Websocket | TransportKind::WebsocketServer => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abilities(names: &[&str]) -> Abilities {
        let module = |name: &&str| Module {
            name: (*name).into(),
            description: String::new(),
            use_count: 0,
            status: "Running".into(),
            support_level: String::new(),
        };
        Abilities::Modules(names.iter().map(module).collect())
    }

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("a configuration")
    }

    const RTP: [&str; 2] = ["chan_rtp.so", "res_rtp_asterisk.so"];
    const AUDIOSOCKET: [&str; 2] = ["res_audiosocket.so", "chan_audiosocket.so"];

    #[test]
    fn auto_prefers_rtp_and_takes_what_is_there() {
        let all = abilities(&[RTP, AUDIOSOCKET].concat());
        let chosen = |abilities: &Abilities, text: &str| {
            Transports::choose(&config(text), abilities).map(|t| t.plan_of("desk").clone())
        };
        let plan = chosen(&all, "").expect("RTP");
        assert_eq!((plan.transport, plan.format), (TransportKind::Rtp, Format::Ulaw));
        assert_eq!(
            chosen(&abilities(&AUDIOSOCKET), "").expect("it has one").transport,
            TransportKind::Audiosocket
        );
        let wide = chosen(&all, "[media]\nformat = 'slin16'").expect("a transport that carries it");
        assert_eq!((wide.transport, wide.format), (TransportKind::Audiosocket, Format::Slin16));
        let none = chosen(&abilities(&[]), "").expect_err("there is nothing").to_string();
        assert!(none.contains("load chan_rtp.so"), "{none}");
    }

    #[test]
    fn a_bot_may_have_another_than_the_rest() {
        let text =
            "[media]\ntransport = 'rtp'\n[bots.desk]\nflow = 'f'\ntransport = 'audiosocket'\nformat = 'slin'";
        let chosen = Transports::choose(&config(text), &Abilities::Unknown).expect("all can be had");
        assert_eq!(chosen.plan_of("desk").transport, TransportKind::Audiosocket);
        assert_eq!(chosen.plan_of("another").transport, TransportKind::Rtp);
        assert!(chosen.uses(TransportKind::Audiosocket) && !chosen.uses(TransportKind::Rtp));
    }

    #[test]
    fn what_cannot_be_is_told_with_what_can() {
        let told = |text: &str, abilities: &Abilities| {
            Transports::choose(&config(text), abilities).expect_err("it cannot be").to_string()
        };
        let text = told("[media]\ntransport = 'websocket'", &abilities(&RTP));
        assert!(
            text.contains("chan_websocket.so") && text.contains("22.6") && text.contains("modules.conf"),
            "{text}"
        );
        let text = told("[media]\ntransport = 'rtp'\nformat = 'slin16'", &Abilities::Unknown);
        assert!(text.contains("one of ulaw, alaw, slin, g722"), "{text}");
        let text = told("[media]\ntransport = 'audiosocket'\nformat = 'opus'", &Abilities::Unknown);
        assert!(text.contains("one of slin, slin16"), "{text}");
    }
}
