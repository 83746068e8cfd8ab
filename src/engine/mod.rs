//! The engine: starts and stops everything, takes calls in, and lets none go silently.
//!
//! - [`config`]: what it is told;
//! - `dispatch`: events of Asterisk to the calls that they are for (`switchboard`); what is left over is cleared;
//! - [`transports`]: by what each bot's calls get their audio;
//! - [`route`]: where a call goes before any bot has it; `doors`: who asks that, over AGI;
//! - `serve`: one call from the first event to the last record;
//! - `records`: what is kept of it; `voices`: what can be said.
//!
//! One task reads events and never waits for a call; each call is a task of its own; audio is on the media threads.
//! The engine ends in three steps: it takes no more calls, lets those that are up end by themselves, and says goodbye to
//! who is still there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::asterisk::ari::ops::Originate;
use crate::asterisk::ari::{Ari, AriConfig, AriError, ChannelId};
use crate::bot::AnyBot;
use crate::call::{Facts, Gone, Journal, LegEvent};
use crate::id::{CallId, OurId, Part};
use crate::media::{Media, MediaConfig, MediaError, TransportKind};
use crate::pcap::recorder::{Recorder, RecorderConfig, RecorderError};
use crate::speech::{Recognizer, SpeechError};
use crate::store::recording::Recordings;
use crate::store::{Disposition, Store, StoreError};
use crate::time::WallTime;

mod assemble;
pub mod config;
mod dispatch;
mod doors;
pub mod eagi;
mod records;
pub mod route;
mod serve;
mod switchboard;
pub mod transports;
mod voices;

pub use assemble::{models_folders, recognizer};
pub use config::{Config, ConfigError};
pub use doors::Doors;
pub use voices::EngineVoices;

use config::RtpPorts;
use switchboard::{Line, Switchboard};
use transports::{Abilities, Transports};

/// How long Asterisk may take to be there at the start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long callers may take to hear the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(20);

/// Why the engine could not start or do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Asterisk refused or did not answer.
    #[error(transparent)]
    Asterisk(#[from] AriError),
    /// The media sockets or threads could not be had.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Packets cannot be kept.
    #[error(transparent)]
    Capture(#[from] RecorderError),
    /// The recogniser or synthesiser could not be had.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A flow cannot be used. The text has a line for each fault, with file and line.
    #[error("{0}")]
    Flow(String),
    /// There is no such bot.
    #[error("there is no bot '{wanted}': the configuration has {known}")]
    NoBot {
        /// Its name.
        wanted: String,
        /// The names there are.
        known: String,
    },
    /// Asterisk has no way to whom we want to call.
    #[error(
        "Asterisk cannot call that ({0}): endpoints are written PJSIP/NAME, or PJSIP/NUMBER@TRUNK, and `pjsip show endpoints` on its console lists their names"
    )]
    CannotCall(AriError),
    /// A call that we made was not answered.
    #[error("nobody answered ({0})")]
    NotAnswered(String),
}

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes calls.
    Running,
    /// Takes no more; those that are up go on.
    Draining,
    /// Says goodbye to who is still there.
    Goodbye,
}

/// What a call is made of besides its channels; see [`Engine::start`].
pub struct Services {
    /// The bots by name.
    pub bots: BTreeMap<String, AnyBot>,
    /// The recogniser, if there is one.
    pub recognizer: Option<Arc<dyn Recognizer>>,
    /// What can be said.
    pub voices: Arc<EngineVoices>,
    /// Somebody who wants every note of every call.
    pub watcher: Option<Arc<dyn Journal>>,
}

impl Services {
    /// The bot for a call that asks for `wanted`, where `default` is the configured one: the only bot needs no name.
    #[must_use]
    pub fn bot_for(&self, wanted: Option<&str>, default: Option<&str>) -> Option<&str> {
        let named = wanted.filter(|name| !name.is_empty()).or(default);
        let only = || self.bots.keys().next().filter(|_| self.bots.len() == 1);
        named
            .map_or_else(only, |name| self.bots.get_key_value(name).map(|(name, _)| name))
            .map(String::as_str)
    }
}

/// A running engine.
pub struct Engine {
    shared: Arc<Shared>,
    dispatcher: JoinHandle<()>,
}

/// What all tasks of an engine share.
struct Shared {
    config: Config,
    ari: Ari,
    app: String,
    media: Media,
    transports: Transports,
    services: Services,
    store: Store,
    recordings: Option<Recordings>,
    captures: Option<Arc<Recorder>>,
    switchboard: Switchboard,
    phase: watch::Sender<Phase>,
    tasks: TaskTracker,
    connected: watch::Sender<bool>,
}

/// Events that may wait for one call; keys are pressed by people.
const LEG_EVENTS: usize = 64;

impl Engine {
    /// Starts: opens the store, the media sockets and Asterisk's events, clears what an earlier process left behind, and
    /// takes calls from then on.
    ///
    /// # Errors
    /// Whatever is missing, in a sentence that says what to do.
    pub async fn start(config: Config, services: Services) -> Result<Self, EngineError> {
        let section = &config.asterisk;
        let ari = Ari::new(AriConfig::new(&section.url, &section.user, section.password()?))?;
        // Asked before anything else is opened: most of what can be wrong shows here, with a reason.
        ari.asterisk().ping().await?;
        let transports = Transports::choose(&config, &Abilities::of(&ari).await?)?;
        let media = Media::start(&media_config(&config, &transports))?;
        let store = Store::open(&config.store.path, config.store.numbers).await?;
        let recordings = config.recording.folder.as_ref().map(Recordings::open).transpose()?;
        let captures = captures(&config)?;
        let app = config.asterisk.app.clone();
        let events = ari.events(&app);
        let shared = Arc::new(Shared {
            ari,
            app,
            media,
            transports,
            services,
            store,
            recordings,
            captures,
            switchboard: Switchboard::default(),
            phase: watch::Sender::new(Phase::Running),
            tasks: TaskTracker::new(),
            connected: watch::Sender::new(false),
            config,
        });
        shared.forget_old_calls().await;
        let dispatcher = tokio::spawn(dispatch::run(Arc::clone(&shared), events));
        let engine = Self { shared, dispatcher };
        let mut connected = engine.shared.connected.subscribe();
        if tokio::time::timeout(START_PATIENCE, connected.wait_for(|up| *up)).await.is_err() {
            engine.dispatcher.abort();
            return Err(EngineError::Asterisk(AriError::Timeout {
                peer: engine.shared.ari.peer().to_owned(),
                operation: "the events socket".into(),
                subject: engine.shared.app.clone(),
                after: START_PATIENCE,
            }));
        }
        Ok(engine)
    }

    /// Tells how many calls are up, also after the engine was given away; when it takes no more, the largest number.
    pub fn load(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || match shared.upgrade() {
            Some(shared) if *shared.phase.borrow() == Phase::Running => shared.switchboard.len(),
            _ => usize::MAX,
        }
    }

    /// How many calls are up.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.switchboard.len()
    }

    /// Whether the events socket is connected and calls are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.shared.connected.borrow() && *self.shared.phase.borrow() == Phase::Running
    }

    /// The store, to look calls up.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Calls `endpoint` (as `PJSIP/alice`) and lets `bot` talk to who answers. Comes back with the id when it is
    /// answered.
    ///
    /// # Errors
    /// When there is no such bot, Asterisk refuses, or nobody answers within `patience`.
    pub async fn call_out(
        &self,
        endpoint: &str,
        bot: &str,
        caller_id: Option<&str>,
        patience: Duration,
    ) -> Result<CallId, EngineError> {
        let shared = &self.shared;
        shared.bot(bot)?;
        let id = CallId::new(WallTime::now());
        let channel = ChannelId::from(&OurId { app: shared.app.clone(), call: id, part: Part::Leg });
        let facts = Facts {
            id,
            outbound: true,
            caller: endpoint.to_owned(),
            called: endpoint.to_owned(),
            args: Vec::new(),
            bot: bot.to_owned(),
        };
        let (answered, told) = oneshot::channel();
        shared.expect(facts, channel.clone(), Some(answered));
        let wanted = Originate {
            endpoint: endpoint.to_owned(),
            app: Some(shared.app.clone()),
            channel_id: Some(channel),
            timeout: i32::try_from(patience.as_secs()).ok(),
            caller_id: caller_id.map(str::to_owned),
            ..Originate::default()
        };
        let refused = |why: String| {
            shared.switchboard.remove(id);
            EngineError::NotAnswered(why)
        };
        if let Err(error) = shared.ari.channels().originate(&wanted).await {
            shared.switchboard.tell(id, LegEvent::Gone(Gone::HungUp { cause: 0 }));
            shared.switchboard.remove(id);
            return Err(EngineError::CannotCall(error));
        }
        match tokio::time::timeout(patience + Duration::from_secs(5), told).await {
            Ok(Ok(Ok(()))) => Ok(id),
            Ok(Ok(Err(why))) => Err(refused(why)),
            Ok(Err(_)) => Err(refused("the engine is ending".into())),
            Err(_) => Err(refused(format!("not within {} seconds", patience.as_secs()))),
        }
    }

    /// Waits until no call is up.
    pub async fn idle(&self) {
        while self.calls() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes no more calls, gives those that are up the configured time, says goodbye to who is still there, and leaves
    /// Asterisk clean. `hurry` shortens the wait.
    pub async fn drain(self, hurry: impl Future<Output = ()>) {
        let shared = &self.shared;
        shared.phase.send_replace(Phase::Draining);
        let patience = shared.config.engine.drain();
        tracing::info!(
            calls = self.calls(),
            patience_seconds = patience.as_secs(),
            "draining: no more calls are taken"
        );
        tokio::select! {
            () = self.idle() => {}
            () = tokio::time::sleep(patience) => {}
            () = hurry => {}
        }
        if self.calls() > 0 {
            tracing::info!(calls = self.calls(), "saying goodbye");
        }
        shared.phase.send_replace(Phase::Goodbye);
        shared.tasks.close();
        if tokio::time::timeout(GOODBYE_PATIENCE, shared.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.calls(), "some calls did not end; the next start clears them");
        }
        self.dispatcher.abort();
        if let Some(recordings) = &shared.recordings {
            recordings.close().await;
        }
        if let Err(error) = shared.store.close().await {
            tracing::error!(%error, "the last records could not be written");
        }
    }
}

/// The sockets and threads that the transports take.
fn media_config(config: &Config, transports: &Transports) -> MediaConfig {
    let media = &config.media;
    let listener = |kind, port| transports.uses(kind).then_some(port);
    MediaConfig {
        threads: match media.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        },
        bind: media.bind,
        port: media.port,
        advertise: media.advertise,
        rtp_ports: (media.rtp == RtpPorts::Ports).then_some(media.ports.first..=media.ports.last),
        audiosocket: listener(TransportKind::Audiosocket, media.audiosocket_port),
        websocket: listener(TransportKind::WebsocketServer, media.websocket_port),
        probe: false,
    }
}

/// The recorder of packets, where a folder is named for it.
fn captures(config: &Config) -> Result<Option<Arc<Recorder>>, RecorderError> {
    const MB: u64 = 1_000_000;
    let media = &config.media;
    let Some(folder) = media.capture.clone() else { return Ok(None) };
    let recorder = Recorder::start(RecorderConfig {
        folder,
        call_limit_bytes: media.capture_call_mb.saturating_mul(MB),
        folder_limit_bytes: media.capture_folder_mb.saturating_mul(MB),
    });
    recorder.map(|recorder| Some(Arc::new(recorder)))
}

impl Shared {
    fn bot(&self, name: &str) -> Result<&AnyBot, EngineError> {
        self.services.bots.get(name).ok_or_else(|| EngineError::NoBot {
            wanted: name.to_owned(),
            known: self.services.bots.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Calls of this application that an earlier process did not end are over: nobody knows how they went on. Calls that
    /// are too old to be kept go, with their recordings.
    async fn forget_old_calls(&self) {
        let forgotten = async {
            for mut call in
                self.store.unfinished_calls().await?.into_iter().filter(|call| call.app == self.app)
            {
                call.ended = Some(WallTime::now());
                call.disposition = Some(Disposition::Lost);
                call.note = Some("the engine ended without it".into());
                self.store.remove_snapshot(call.id);
                self.store.put_call(call);
            }
            let days = i64::from(self.config.store.retention_days);
            if days > 0 {
                let purged = self.store.purge(WallTime(WallTime::now().0 - days * 86_400_000)).await?;
                let recordings =
                    self.recordings.iter().flat_map(|folder| purged.calls.iter().map(move |id| (folder, id)));
                for (folder, id) in recordings {
                    if let Err(error) = folder.remove(*id) {
                        tracing::warn!(call = %id, %error, "an old recording could not be deleted");
                    }
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = forgotten.await {
            tracing::error!(%error, "what an earlier process left behind could not be put in order");
        }
    }

    /// Makes room on the switchboard for a call and starts its task.
    fn expect(
        self: &Arc<Self>,
        facts: Facts,
        channel: ChannelId,
        answered: Option<oneshot::Sender<Result<(), String>>>,
    ) {
        let (events, leg_events) = mpsc::channel(LEG_EVENTS);
        let id = facts.id;
        self.switchboard.add(id, Line { channel: channel.clone(), events, answered });
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let place = OnSwitchboard { shared: &shared, id };
            serve::serve(&shared, facts, channel, leg_events).await;
            drop(place);
        });
    }
}

/// A call's place on the switchboard; given up when the call's task ends, however it ends.
struct OnSwitchboard<'a> {
    shared: &'a Shared,
    id: CallId,
}

impl Drop for OnSwitchboard<'_> {
    fn drop(&mut self) {
        self.shared.switchboard.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::{Bot, Outcome};
    use crate::call::{Call, CallError};

    struct Mute;

    impl Bot for Mute {
        async fn run(&self, _: &mut Call) -> Result<Outcome, CallError> {
            Ok(Outcome::HangUp)
        }
    }

    fn services(names: &[&str]) -> Services {
        let bots = names.iter().map(|name| ((*name).to_owned(), AnyBot::new(Mute))).collect();
        Services { bots, recognizer: None, voices: Arc::new(EngineVoices::new(None, None, 0)), watcher: None }
    }

    #[test]
    fn the_only_bot_needs_no_name_and_one_of_several_does() {
        let one = services(&["desk"]);
        assert_eq!(one.bot_for(None, None), Some("desk"));
        assert_eq!(one.bot_for(Some("desk"), None), Some("desk"));
        assert_eq!(
            one.bot_for(Some("other"), None),
            None,
            "a name that is wrong is not served by another bot"
        );
        let two = services(&["a", "b"]);
        assert_eq!(two.bot_for(None, None), None);
        assert_eq!(two.bot_for(Some(""), Some("b")), Some("b"));
    }
}
