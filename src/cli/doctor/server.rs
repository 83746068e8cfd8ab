//! From the TCP port to the modules.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Doctor;
use super::report::{Check, Fix, OURS, Step};
use crate::asterisk::ari::model::{AsteriskInfo, Module};
use crate::asterisk::ari::ops::HangupReason;
use crate::asterisk::ari::{Ari, AriError, ChannelId};
use crate::engine::transports::{Abilities, Transports};
use crate::media::TransportKind;

/// The versions that Offhook is tested with or against whose source it was checked.
const SUPPORTED: std::ops::RangeInclusive<u32> = 16..=23;

/// What no call works without, and what for.
const NEEDED: &[(&str, &str)] = &[
    ("res_stasis.so", "calls under ARI's control"),
    ("app_stasis.so", "the way from the dialplan to the application"),
    ("res_ari_applications.so", "ARI's applications"),
    ("res_ari_asterisk.so", "ARI's view of the server"),
    ("res_ari_bridges.so", "ARI's bridges"),
    ("res_ari_channels.so", "ARI's channels"),
    ("res_ari_events.so", "ARI's events"),
    ("res_http_websocket.so", "the events socket"),
    ("res_rtp_asterisk.so", "RTP"),
    ("codec_ulaw.so", "the codec of telephones"),
];

/// Every step, in order.
const ALL: &[Step] = &[
    Step::Reachable,
    Step::Ari,
    Step::Password,
    Step::Write,
    Step::Version,
    Step::Modules,
    Step::Transports,
    Step::Application,
    Step::Events,
    Step::Dialplan,
    Step::AudioFrom,
    Step::AudioTo,
    Step::CleanUp,
];

impl<Say: FnMut(&Check)> Doctor<'_, Say> {
    /// Everything that needs no call. A client when calls can be made.
    pub(super) async fn server(&mut self) -> Option<Ari> {
        let ari = match Ari::new(self.what.ari.clone()) {
            Ok(ari) => ari,
            Err(error) => {
                let line = "url = \"http://127.0.0.1:8088\"";
                return self.stop(
                    Step::Reachable,
                    error.to_string(),
                    vec![Fix::new(format!("{OURS} [asterisk]"), line)],
                );
            }
        };
        if let Err(reason) = self.reach(&ari).await {
            return self.unreachable(&ari, &reason);
        }
        self.fine(Step::Reachable, format!("something listens at {}", ari.peer()));
        let info = match ari.asterisk().info(&[]).await {
            Ok(info) => info,
            Err(error) => return self.no_info(&error),
        };
        self.fine(Step::Ari, format!("ARI answers at {}", ari.peer()));
        self.fine(Step::Password, format!("user '{}' is let in", ari.user()));
        let may_write = self.write(&ari).await;
        self.version(&info);
        match self.modules(&ari).await {
            Some(modules) => self.transports(&Abilities::Modules(modules)),
            None => self.transports(&Abilities::Unknown),
        }
        self.application(&ari).await;
        if !may_write {
            self.skip(&ALL[8..], "the user may not make calls");
            return None;
        }
        Some(ari)
    }

    /// A failure that leaves nothing else to look at.
    fn stop<T>(&mut self, step: Step, what: impl Into<String>, fixes: Vec<Fix>) -> Option<T> {
        self.failed(step, what, fixes);
        let rest = ALL.iter().skip_while(|other| **other != step).skip(1).copied().collect::<Vec<_>>();
        self.skip(&rest, &format!("{step} failed"));
        None
    }

    async fn reach(&self, ari: &Ari) -> Result<SocketAddr, String> {
        let limit = self.what.ari.connect_timeout.max(Duration::from_secs(1));
        match timeout(limit, TcpStream::connect(ari.dial_address())).await {
            Ok(Ok(stream)) => stream.peer_addr().map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        }
    }

    fn unreachable<T>(&mut self, ari: &Ari, reason: &str) -> Option<T> {
        let (host, port) = ari.dial_address();
        self.stop(
            Step::Reachable,
            format!("nothing answers at {}: {reason}. Is Asterisk running there?", ari.peer()),
            vec![
                Fix::new("http.conf [general]", "enabled = yes"),
                Fix::new("http.conf [general]", format!("bindaddr = {host}")),
                Fix::new("http.conf [general]", format!("bindport = {port}")),
                Fix::new(format!("{OURS} [asterisk]"), "url = the address that http.conf says"),
            ],
        )
    }

    fn no_info<T>(&mut self, error: &AriError) -> Option<T> {
        match error {
            AriError::NoAri { peer, .. } => self.stop(
                Step::Ari,
                format!("the HTTP server at {peer} runs, and ARI is off"),
                vec![
                    Fix::new("ari.conf [general]", "enabled = yes"),
                    Fix::new("modules.conf [modules]", "load = res_ari.so"),
                    Fix::new(
                        format!("{OURS} [asterisk]"),
                        "url = with the prefix of http.conf, if it has one",
                    ),
                ],
            ),
            AriError::Unauthorized { user, .. } => {
                self.fine(Step::Ari, "ARI answers");
                self.stop(
                    Step::Password,
                    format!("Asterisk refuses user '{user}' or its password"),
                    vec![
                        Fix::new(format!("ari.conf [{user}]"), "type = user"),
                        Fix::new(format!("ari.conf [{user}]"), "password = the one that Offhook has"),
                        Fix::new(format!("{OURS} [asterisk]"), "password = the one that ari.conf has"),
                    ],
                )
            }
            AriError::Forbidden { user, .. } => {
                self.fine(Step::Ari, "ARI answers");
                let line = "permit = the address of this machine";
                self.stop(
                    Step::Password,
                    format!("Asterisk does not let user '{user}' in from here"),
                    vec![Fix::new(format!("ari.conf [{user}]"), line)],
                )
            }
            AriError::Server { status: 503, .. } => {
                self.stop(Step::Ari, "Asterisk is starting or stopping: try again in a moment", Vec::new())
            }
            AriError::Unsupported { .. } => {
                let fix = Fix::new("modules.conf [modules]", "load = res_ari_asterisk.so");
                self.stop(Step::Ari, "ARI answers, and knows nothing of the server itself", vec![fix])
            }
            other => self.stop(Step::Ari, other.to_string(), Vec::new()),
        }
    }

    /// Hangs up a channel that is not there: 404 for who may, 403 for who may not.
    async fn write(&mut self, ari: &Ari) -> bool {
        let nobody = ChannelId::from(format!("{}nobody", crate::asterisk::PROBE));
        match ari.channels().hangup(&nobody, HangupReason::Normal).await {
            Ok(()) | Err(AriError::NotFound { .. } | AriError::Unsupported { .. }) => {
                self.fine(Step::Write, format!("user '{}' may make and end calls", ari.user()));
                true
            }
            Err(AriError::Forbidden { user, .. }) => {
                self.failed(
                    Step::Write,
                    format!("user '{user}' may look and not touch"),
                    vec![Fix::new(format!("ari.conf [{user}]"), "read_only = no")],
                );
                false
            }
            Err(error) => {
                self.failed(Step::Write, error.to_string(), Vec::new());
                false
            }
        }
    }

    fn version(&mut self, info: &AsteriskInfo) {
        let text = &info.system.version;
        match info.version() {
            None => self.fine(Step::Version, format!("Asterisk {text}: a development build")),
            Some((major, _)) if major < *SUPPORTED.start() => {
                let what =
                    format!("Asterisk {text} is too old: Offhook needs {} or later", SUPPORTED.start());
                self.failed(Step::Version, what, Vec::new());
            }
            Some((major, _)) if major > *SUPPORTED.end() => {
                let newest = SUPPORTED.end();
                self.fine(
                    Step::Version,
                    format!("Asterisk {text}: newer than {newest}, the newest that was tried"),
                );
            }
            Some(version) => {
                let lacks = lacks(version);
                let lacks =
                    if lacks.is_empty() { String::new() } else { format!("; it lacks {}", lacks.join(", ")) };
                self.fine(Step::Version, format!("Asterisk {text}{lacks}"));
            }
        }
    }

    async fn modules(&mut self, ari: &Ari) -> Option<Vec<Module>> {
        let modules = match ari.asterisk().modules().await {
            Ok(modules) => modules,
            Err(error) => {
                self.failed(Step::Modules, error.to_string(), Vec::new());
                return None;
            }
        };
        let missing = missing(&modules);
        if missing.is_empty() {
            let sip =
                if is_running(&modules, "chan_pjsip.so") { "" } else { "; chan_pjsip is not: no SIP calls" };
            self.fine(Step::Modules, format!("all {} that Offhook needs are loaded{sip}", NEEDED.len()));
            return Some(modules);
        }
        let what = missing.iter().map(|(name, what_for)| format!("{name} ({what_for})")).collect::<Vec<_>>();
        let fixes = missing
            .iter()
            .map(|(name, _)| Fix::new("modules.conf [modules]", format!("load = {name}")))
            .collect();
        self.failed(Step::Modules, format!("not loaded: {}", what.join(", ")), fixes);
        Some(modules)
    }

    /// Which transports the server can do, and what the engine will choose of them.
    fn transports(&mut self, abilities: &Abilities) {
        let (can, cannot): (Vec<_>, Vec<_>) =
            TransportKind::ALL.iter().partition(|kind| abilities.can(**kind));
        let names =
            |kinds: &[&TransportKind]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let cannot = if cannot.is_empty() { String::new() } else { format!("; not {}", names(&cannot)) };
        let can = format!("it can do {}{cannot}", names(&can));
        match Transports::choose(&self.what.config, abilities) {
            Ok(chosen) => {
                let used: Vec<_> = TransportKind::ALL.iter().filter(|kind| chosen.uses(**kind)).collect();
                self.fine(Step::Transports, format!("{can}; the engine uses {}", names(&used)));
                self.transports = Some(chosen);
            }
            Err(error) => {
                self.failed(
                    Step::Transports,
                    format!("{can}: {error}"),
                    vec![
                        Fix::new("modules.conf [modules]", "load = the modules named above"),
                        Fix::new(format!("{OURS} [media]"), "transport = \"auto\""),
                    ],
                );
            }
        }
    }

    async fn application(&mut self, ari: &Ari) {
        let app = &self.what.app;
        match ari.applications().get(app).await {
            Ok(found) => {
                let calls = found.channel_ids.len();
                self.fine(
                    Step::Application,
                    format!("an engine has registered '{app}' ({calls} channels are in it)"),
                );
            }
            Err(AriError::NotFound { .. }) => self.fine(
                Step::Application,
                format!(
                    "no engine has registered '{app}' now: calls take the dialplan's fallback until one does"
                ),
            ),
            Err(error) => self.failed(Step::Application, error.to_string(), Vec::new()),
        }
    }
}

fn is_running(modules: &[Module], name: &str) -> bool {
    modules.iter().any(|module| module.name == name && module.status != "Not Running")
}

fn missing(modules: &[Module]) -> Vec<(&'static str, &'static str)> {
    NEEDED.iter().copied().filter(|(name, _)| !is_running(modules, name)).collect()
}

/// What a version does not have of what Offhook can use.
fn lacks((major, minor): (u32, u32)) -> Vec<&'static str> {
    let since = |releases: &[(u32, u32)]| {
        releases.iter().any(|(m, n)| *m == major && minor >= *n) || releases.iter().all(|(m, _)| major > *m)
    };
    let mut lacks = Vec::new();
    if !since(&[(18, 0)]) {
        lacks.push("AudioSocket media");
    }
    if !since(WEBSOCKET_MEDIA) {
        lacks.push("WebSocket media");
    }
    if !since(STASIS_BROADCAST) {
        lacks.push("StasisBroadcast (several engines on one Asterisk)");
    }
    lacks
}

/// chan_websocket came with these.
const WEBSOCKET_MEDIA: &[(u32, u32)] = &[(20, 16), (21, 11), (22, 6)];
/// app_stasis_broadcast came with these.
const STASIS_BROADCAST: &[(u32, u32)] = &[(20, 20), (22, 10), (23, 4)];

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, status: &str) -> Module {
        Module {
            name: name.into(),
            description: String::new(),
            use_count: 0,
            status: status.into(),
            support_level: String::new(),
        }
    }

    #[test]
    fn each_version_says_what_it_lacks() {
        assert_eq!(lacks((22, 10)), Vec::<&str>::new());
        assert_eq!(lacks((22, 9)), ["StasisBroadcast (several engines on one Asterisk)"]);
        assert_eq!(lacks((22, 4)).len(), 2);
        assert_eq!(lacks((18, 20)).len(), 2);
        assert_eq!(lacks((16, 28)).len(), 3);
        assert_eq!(lacks((24, 0)), Vec::<&str>::new());
    }

    #[test]
    fn a_module_that_is_loaded_and_does_not_run_is_missing() {
        let mut modules: Vec<Module> = NEEDED.iter().map(|(name, _)| module(name, "Running")).collect();
        assert!(missing(&modules).is_empty());
        modules[8].status = "Not Running".into();
        modules.remove(0);
        let names: Vec<&str> = missing(&modules).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["res_stasis.so", "res_rtp_asterisk.so"]);
    }
}
