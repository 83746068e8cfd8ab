//! `remote` of a bot in the configuration: where the program is, or where it comes to, and what happens when it fails.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::message::{Encoding, Sends};
use crate::audio::Rate;
use crate::call::OwnEars;
use crate::guard::{Allow, Exposure, Key};
use crate::policy::Destination;
use crate::secret::Secret;
use crate::tls::Identity;

/// What the bot of a program is told. In the configuration an address alone, `remote = "ws://127.0.0.1:9000"`, or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig(pub RemoteSection);

impl<'de> Deserialize<'de> for RemoteConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RemoteSection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address as \"ws://127.0.0.1:9000\", or a table with `url` or `listen`")
            }

            fn visit_str<E: serde::de::Error>(self, url: &str) -> Result<RemoteSection, E> {
                Ok(RemoteSection { url: Some(url.to_owned()), ..RemoteSection::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RemoteSection, A::Error> {
                RemoteSection::deserialize(MapAccessDeserializer::new(map))
            }
        }

        let section = from.deserialize_any(Either)?;
        section.check().map_err(serde::de::Error::custom)?;
        Ok(Self(section))
    }
}

/// The keys of `remote`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteSection {
    /// Where the program is: we connect to it, once for each call. `ws://` or `wss://`.
    pub url: Option<String>,
    /// Where we listen: the program connects to us, once, as a worker for many calls.
    pub listen: Option<SocketAddr>,
    /// The secret that we, or the program, say.
    pub token: Option<Secret>,
    /// A file whose first line is the secret.
    pub token_file: Option<PathBuf>,
    /// A PEM file of certificates to trust for `wss`, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Who may connect to `listen`.
    pub allow: Allow,
    /// Our certificate for `listen`.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// How long the program may take to be there for a new call, in milliseconds.
    pub connect_ms: u64,
    /// How long it may take to come back during a call.
    pub reconnect_ms: u64,
    /// How long it may take to say what to do next.
    pub reply_ms: u64,
    /// What is said when it takes long.
    pub filler: Option<String>,
    /// After how long.
    pub filler_ms: u64,
    /// What of the caller's audio it gets.
    pub audio: AudioChoice,
    /// How audio is coded, both ways.
    pub encoding: Encoding,
    /// Samples per second, 8000 or 16000.
    pub rate: u32,
    /// A folder with WAV files that it may play.
    pub files: Option<PathBuf>,
    /// What happens to callers when it fails.
    pub fallback: FallbackSection,
}

/// What of the caller's audio a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioChoice {
    /// None: our recogniser listens.
    #[default]
    None,
    /// What he says while he is listened to.
    Utterances,
    /// Everything.
    Everything,
}

/// What happens to callers when the program is away, too slow or not understood: something is said, and then they are
/// transferred, served by a flow, left to the dialplan, or hung up on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackSection {
    /// What is said first.
    pub say: Option<String>,
    /// The flow that goes on.
    pub flow: Option<PathBuf>,
    /// The destination that they are transferred to.
    pub transfer: Option<String>,
    /// Whether they are left to the dialplan behind `Stasis()`.
    pub dialplan: bool,
}

impl FallbackSection {
    /// Whether its transfer leads to one of these.
    ///
    /// # Errors
    /// One sentence that says what there is.
    pub fn check(&self, destinations: &[Destination]) -> Result<(), String> {
        let Some(to) = &self.transfer else { return Ok(()) };
        if destinations.iter().any(|known| known.name == *to) {
            return Ok(());
        }
        let known: Vec<_> = destinations.iter().map(|known| known.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(format!(
            "callers are transferred to `{to}`, but there is no [destination.{to}]: there are {known}"
        ))
    }
}

impl Default for RemoteSection {
    fn default() -> Self {
        Self {
            url: None,
            listen: None,
            token: None,
            token_file: None,
            ca_file: None,
            allow: Allow::UNSAID,
            tls_cert: None,
            tls_key: None,
            connect_ms: 2_000,
            reconnect_ms: 4_000,
            reply_ms: 8_000,
            filler: None,
            filler_ms: 2_500,
            audio: AudioChoice::None,
            encoding: Encoding::Ulaw,
            rate: 8_000,
            files: None,
            fallback: FallbackSection::default(),
        }
    }
}

impl RemoteSection {
    /// What is said where nothing else is configured and nobody goes on with the caller.
    pub const APOLOGY: &str = "I am sorry, something is not working here. Please call again later.";

    /// What one key alone does not show.
    fn check(&self) -> Result<(), String> {
        let accepted = "write `url = \"ws://127.0.0.1:9000\"`, or `listen = \"127.0.0.1:8092\"`";
        match (&self.url, self.listen) {
            (None, None) => {
                return Err(format!(
                    "`remote` says neither where the program is nor where it comes to: {accepted}"
                ));
            }
            (Some(_), Some(_)) => return Err(format!("`remote` has both `url` and `listen`: {accepted}")),
            (Some(url), None) if !url.starts_with("ws://") && !url.starts_with("wss://") => {
                return Err("`remote` is an address that begins with ws:// or wss://".into());
            }
            _ => {}
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("`tls_cert` and `tls_key` of `remote` go together: name both files".into());
        }
        if ![8_000, 16_000].contains(&self.rate) || (self.rate == 16_000 && self.encoding == Encoding::Ulaw) {
            return Err("`rate` of `remote` is 8000, or 16000 with `encoding = \"slin\"`".into());
        }
        let FallbackSection { flow, transfer, dialplan, .. } = &self.fallback;
        if usize::from(flow.is_some()) + usize::from(transfer.is_some()) + usize::from(*dialplan) > 1 {
            return Err("`fallback` of `remote` has one of `flow`, `transfer` and `dialplan = true`".into());
        }
        let Some(listen) = self.listen.filter(|listen| !listen.ip().is_loopback()) else { return Ok(()) };
        if self.token.is_none() && self.token_file.is_none() {
            return Err(format!(
                "`remote` on {listen} is open to other machines and has no secret: set `token_file`, or `token`"
            ));
        }
        if self.allow.is_unsaid() || self.allow.is_everybody() {
            return Err(format!(
                "`remote` on {listen} is open to other machines: list those that may connect, `allow = [\"192.0.2.7\"]`"
            ));
        }
        Ok(())
    }

    /// The files that it names.
    pub fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let all = [
            &mut self.token_file,
            &mut self.ca_file,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.files,
            &mut self.fallback.flow,
        ];
        all.into_iter().flatten()
    }

    /// The port that it opens, if it does.
    #[must_use]
    pub fn exposure(&self) -> Option<Exposure> {
        let bind = self.listen?;
        let key = if self.token.is_some() || self.token_file.is_some() { Key::Password } else { Key::None };
        Some(Exposure {
            door: "remote bots",
            section: "[bots]",
            bind,
            allow: self.allow.clone().or_by(bind),
            key,
            tls: Some(self.tls_cert.is_some()),
        })
    }

    /// The certificate of the port.
    pub(super) fn identity(&self) -> Option<Identity> {
        Some(Identity { certificate: self.tls_cert.clone()?, key: self.tls_key.clone()? })
    }

    /// The rate of audio messages.
    pub(super) fn audio_rate(&self) -> Rate {
        if self.rate == 16_000 { Rate::Hz16000 } else { Rate::Hz8000 }
    }

    /// What the program hears itself.
    pub(super) fn own_ears(&self) -> OwnEars {
        match self.audio {
            AudioChoice::None => OwnEars::None,
            AudioChoice::Utterances => OwnEars::Utterances(self.audio_rate()),
            AudioChoice::Everything => OwnEars::Everything(self.audio_rate()),
        }
    }

    pub(super) fn sends(&self) -> Sends {
        match self.audio {
            AudioChoice::None => Sends::Nothing,
            AudioChoice::Utterances => Sends::Utterances,
            AudioChoice::Everything => Sends::Everything,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CallBackSection, DestinationSection, Policy, PolicySection};

    #[derive(Deserialize)]
    struct Bot {
        remote: RemoteConfig,
    }

    fn read(text: &str) -> Result<RemoteSection, String> {
        toml::from_str::<Bot>(text).map(|bot| bot.remote.0).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn an_address_alone_is_enough() {
        let section = read("remote = 'ws://127.0.0.1:9000/calls'").expect("right");
        assert_eq!(section.url.as_deref(), Some("ws://127.0.0.1:9000/calls"));
        assert_eq!((section.exposure(), section.own_ears()), (None, OwnEars::None));
        let section =
            read("remote = { url = 'wss://bots', audio = 'utterances', encoding = 'slin', rate = 16000 }");
        assert_eq!(section.expect("right").own_ears(), OwnEars::Utterances(Rate::Hz16000));
    }

    #[test]
    fn a_mistake_is_told_with_what_is_accepted() {
        for (wrong, told) in [
            ("remote = 7", "ws://127.0.0.1:9000"),
            ("remote = 'http://x'", "ws://"),
            ("remote = {}", "`listen ="),
            ("remote = { url = 'ws://x', listen = '127.0.0.1:1' }", "both"),
            ("remote = { url = 'ws://x', tokn = 'x' }", "`token`"),
            ("remote = { url = 'ws://x', rate = 16000 }", "slin"),
            ("remote = { url = 'ws://x', fallback = { flow = 'a', dialplan = true } }", "one of"),
            ("remote = { listen = '0.0.0.0:1' }", "no secret"),
            ("remote = { listen = '0.0.0.0:1', token = 'x' }", "allow"),
            ("remote = { listen = '0.0.0.0:1', token = 'x', allow = ['0.0.0.0/0'] }", "allow"),
            ("remote = { listen = '127.0.0.1:1', tls_key = 'x' }", "tls_cert"),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_port_for_programs_shows_what_protects_it() {
        let section =
            read("remote = { listen = '0.0.0.0:8092', token = 'x', allow = ['192.0.2.7'] }").expect("right");
        let door = section.exposure().expect("a port");
        assert!(door.check().is_ok());
        assert_eq!(door.to_string(), "remote bots on 0.0.0.0:8092 (for 192.0.2.7, a password)");
        assert!(!format!("{section:?}").contains('x'));
    }

    #[test]
    fn a_fallback_leads_to_a_destination_that_there_is() {
        let fallback = |to: &str| FallbackSection { transfer: Some(to.into()), ..FallbackSection::default() };
        let hall = DestinationSection { endpoint: Some("hall".into()), ..DestinationSection::default() };
        let destinations = [("hall".to_owned(), hall)].into();
        let policy = Policy::new(&PolicySection::default(), &destinations, &CallBackSection::default());
        let policy = policy.expect("right");
        assert_eq!(fallback("hall").check(policy.destinations()), Ok(()));
        assert!(
            fallback("sales")
                .check(policy.destinations())
                .unwrap_err()
                .contains("[destination.sales]: there are hall")
        );
        assert_eq!(FallbackSection::default().check(&[]), Ok(()));
    }
}
