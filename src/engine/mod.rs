//! The engine: starts and stops everything, takes calls in, and lets none go silently.
//!
//! - [`config`]: what it is told;
//! - `adopt`: calls of an earlier process that are still up;
//! - `handover`: calls to another process that takes over;
//! - `dispatch`: events of Asterisk to the calls that they are for (`switchboard`); what is left over is cleared;
//! - [`transports`]: by what each bot's calls get their audio;
//! - [`route`]: where a call goes before any bot has it; `doors`: who asks that, over AGI;
//! - `serve`: one call from the first event to the last record;
//! - `device_states`: bots on telephones' lamps;
//! - `records`: what is kept of it; `voices`: what can be said.
//!
//! One task reads events and never waits for a call; each call is a task of its own; audio is on the media threads.
//! The engine ends in three steps: it takes no more calls, lets those that are up end by themselves, and says goodbye to
//! who is still there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::asterisk::Advice;
use crate::asterisk::ari::model::Timestamp;
use crate::asterisk::ari::ops::Originate;
use crate::asterisk::ari::{Ari, AriError, ChannelId};
use crate::bot::AnyBot;
use crate::call::{Facts, Gone, Journal, LegEvent, Snapshot};
use crate::id::{CallId, OurId, Part};
use crate::media::{Inherited, Media, MediaConfig, MediaError, TransportKind};
use crate::pcap::recorder::{Recorder, RecorderConfig, RecorderError};
use crate::speech::{Recognizer, SpeechError};
use crate::store::recording::Recordings;
use crate::store::{CallRecord, Store, StoreError};
use crate::time::{Moment, WallTime};

mod adopt;
mod assemble;
pub mod config;
mod device_states;
mod dispatch;
mod doors;
pub mod eagi;
mod handover;
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

use adopt::{Estate, Heartbeat, Predecessor};
use config::RtpPorts;
use device_states::DeviceStates;
use handover::{Handed, Takeover};
use switchboard::{Line, Switchboard};
use transports::{Abilities, Transports};

/// How long Asterisk may take to be there at the start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How soon an Asterisk that does not answer at the start is asked again.
const PING_AGAIN: Duration = Duration::from_millis(100);

/// How long captures may take to be written after a takeover.
const CAPTURES_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Another engine has the store and the application.
    #[error(
        "an engine with the application '{app}' and this store is running: take its calls over with `offhook run --takeover`, or give this one an `app` under [asterisk] and a store of its own"
    )]
    Running {
        /// The application.
        app: String,
    },
    /// The engine that was to be replaced did not give its sockets.
    #[error(
        "the running engine does not hand its sockets over ({0}): look into its log, or end it and start this one"
    )]
    Takeover(std::io::Error),
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
    /// Hands its calls over to another process.
    HandingOver,
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
    heartbeat: Heartbeat,
    /// Keeps the lamps.
    lamps: Option<AbortOnDropHandle<()>>,
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
    lamps: DeviceStates,
    phase: watch::Sender<Phase>,
    tasks: TaskTracker,
    connected: watch::Sender<bool>,
    /// The calls of an earlier process, until Asterisk has said which are up.
    estate: Mutex<Option<Estate>>,
    /// The engine that hands its calls over to us, until it has.
    takeover: Mutex<Option<Takeover>>,
    /// Another process has our application.
    replaced: watch::Sender<bool>,
    /// Asks for the application back.
    reclaim: Notify,
    /// The calls that are handed over.
    handed: Mutex<Vec<Handed>>,
    /// Another process has all of them.
    handed_over: watch::Sender<bool>,
    /// When the Asterisk that we last compared with was started.
    asterisk_started: Mutex<Option<Timestamp>>,
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
        Self::start_after(config, services, false).await
    }

    /// As [`start`](Self::start); with `takeover` the calls of an engine that runs with the same store and application come to
    /// this one, and that one ends. Where none runs it is a start like any other.
    ///
    /// # Errors
    /// As [`start`](Self::start); [`EngineError::Running`] when one runs and is not to be replaced.
    pub async fn start_after(
        config: Config,
        services: Services,
        takeover: bool,
    ) -> Result<Self, EngineError> {
        let ari = Ari::new(config.asterisk.ari(config.engine.max_calls)?)?;
        // Asked before anything is opened: most of what can be wrong shows here, with a reason.
        if let Err(error) = ari.asterisk().ping().await
            && (error.advice() != Advice::Retry || !config.store.path.exists())
        {
            return Err(error.into());
        }
        let store = Store::open(&config.store.path, config.store.numbers).await?;
        let app = config.asterisk.app.clone();
        let control = handover::socket(store.path(), &app);
        let mut other = Takeover::find(&control).await;
        if other.is_some() && !takeover {
            return Err(EngineError::Running { app });
        }
        let estate = match other {
            Some(_) => Estate::default(),
            None => Estate::read(&store, &app, ari.peer()).await?,
        };
        patient_ping(&ari, &estate).await?;
        let transports = Transports::choose(&config, &Abilities::of(&ari).await?)?;
        let inherited = match &mut other {
            Some(other) => other.sockets().await.map_err(EngineError::Takeover)?,
            None => Inherited::default(),
        };
        let media = Media::start_on(&media_config(&config, &transports, estate.ports()), inherited)?;
        let recordings = config.recording.folder.as_ref().map(Recordings::open).transpose()?;
        let captures = captures(&config)?;
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
            lamps: DeviceStates::new(config.lamps()),
            phase: watch::Sender::new(Phase::Running),
            tasks: TaskTracker::new(),
            connected: watch::Sender::new(false),
            estate: Mutex::new(Some(estate)),
            asterisk_started: Mutex::new(None),
            takeover: Mutex::new(other),
            replaced: watch::Sender::new(false),
            reclaim: Notify::new(),
            handed: Mutex::default(),
            handed_over: watch::Sender::new(false),
            config,
        });
        let heartbeat = Heartbeat::start(shared.store.path(), &shared.app);
        shared.purge_old_calls().await;
        let dispatcher = tokio::spawn(dispatch::run(Arc::clone(&shared), events));
        let lamps =
            shared.lamps.show(shared.ari.clone(), shared.connected.subscribe(), shared.phase.subscribe());
        let engine = Self { shared, dispatcher, heartbeat, lamps };
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
        handover::offer(&engine.shared, &control);
        Ok(engine)
    }

    /// Waits until another process has all calls. What is left is to [`leave`](Self::leave).
    pub async fn handed_over(&self) {
        let mut handed_over = self.shared.handed_over.subscribe();
        // It lives as long as we do.
        let _ = handed_over.wait_for(|over| *over).await;
    }

    /// Ends after a takeover: Asterisk and the calls are the other process's.
    pub async fn leave(self) {
        self.dispatcher.abort();
        if let Some(captures) = &self.shared.captures {
            let written = async {
                while !captures.is_idle() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            if tokio::time::timeout(CAPTURES_PATIENCE, written).await.is_err() {
                tracing::warn!("the captures of the calls that were handed over are not whole");
            }
        }
        if let Some(recordings) = &self.shared.recordings {
            recordings.close().await;
        }
        if let Err(error) = self.shared.store.close().await {
            tracing::error!(%error, "the last records could not be written");
        }
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
        drop(self.lamps);
        shared.lamps.leave(&shared.ari).await;
        self.dispatcher.abort();
        self.heartbeat.end();
        let _ = std::fs::remove_file(handover::socket(shared.store.path(), &shared.app));
        if let Some(recordings) = &shared.recordings {
            recordings.close().await;
        }
        if let Err(error) = shared.store.close().await {
            tracing::error!(%error, "the last records could not be written");
        }
    }
}

/// Asks Asterisk whether it is there. Where callers of an earlier process wait, an Asterisk that does not answer is asked again.
async fn patient_ping(ari: &Ari, estate: &Estate) -> Result<(), AriError> {
    let patience = Moment::now() + if estate.is_empty() { Duration::ZERO } else { START_PATIENCE };
    loop {
        match ari.asterisk().ping().await {
            Err(error) if error.advice() == Advice::Retry && Moment::now() < patience => {
                tracing::warn!(%error, "callers of an earlier process wait; asking Asterisk again");
                tokio::time::sleep(PING_AGAIN).await;
            }
            other => return other.map(drop),
        }
    }
}

/// The sockets and threads that the transports take.
fn media_config(config: &Config, transports: &Transports, again: Vec<u16>) -> MediaConfig {
    let media = &config.media;
    let listener = |kind, port| transports.uses(kind).then_some(port);
    MediaConfig {
        threads: match media.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        },
        bind: media.bind,
        port: media.port,
        again,
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

    /// Calls that are too old to be kept go, with their recordings.
    async fn purge_old_calls(&self) {
        let purged = async {
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
        if let Err(error) = purged.await {
            tracing::error!(%error, "calls that are too old could not be deleted");
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

    /// The same for a call that another process has served.
    fn take_up(self: &Arc<Self>, snapshot: Snapshot, row: CallRecord, from: Predecessor) {
        let (events, leg_events) = mpsc::channel(LEG_EVENTS);
        let id = snapshot.call;
        let channel = ChannelId::from(snapshot.channel.as_str());
        self.switchboard.add(id, Line { channel, events, answered: None });
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let place = OnSwitchboard { shared: &shared, id };
            serve::take_up(&shared, snapshot, row, from, leg_events).await;
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
