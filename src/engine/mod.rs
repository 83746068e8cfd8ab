//! The engine: starts and stops everything, takes calls in, and lets none go silently.
//!
//! - [`config`]: what it is told;
//! - `start`: which servers answer, before the first call;
//! - `server`: one Asterisk: its calls and its state; what one does changes nothing for the others;
//! - [`admission`]: who is let in; `claims`: calls that several engines are offered; [`share`]: the same where Asterisk is too
//!   old to offer them;
//! - `adopt`: calls of an earlier process that are still up; `ringing`: those that we make, until somebody answers;
//! - `handover`: calls to another process that takes over; [`control`]: what else can be asked of an engine that runs;
//! - `dispatch`: events of Asterisk to the calls that they are for (`switchboard`); what is left over is cleared;
//! - [`transports`]: by what each bot's calls get their audio;
//! - [`route`]: where a call goes before any bot has it; `doors`: who asks that, over AGI;
//! - `serve`: one call from the first event to the last record; [`outbound`]: calls that we make, [`ways`]: by ARI, AMI or a
//!   file, `machines`: and what became of those that machines answered; `campaigns`: whom to call and when;
//! - `outages`: when Asterisk was away;
//! - `device_states`: bots on telephones' lamps; [`health`]: how the engine is, over HTTP;
//! - `records`: what is kept of it; `voices`: what can be said.
//!
//! For each server one task reads events and never waits for a call; each call is a task of its own; audio is on the media
//! threads. The engine ends in three steps: it takes no more calls, lets those that are up end by themselves, and says
//! goodbye to who is still there.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::asterisk::ari::AriError;
use crate::guard::Exposure;
use crate::media::{Inherited, Lease, Media};
use crate::pcap::recorder::Recorder;
use crate::store::recording::Recordings;
use crate::store::{CallRecord, Store, StoreError};
use crate::time::WallTime;

pub mod admission;
mod adopt;
mod assemble;
mod backends;
mod call_backs;
mod campaigns;
mod claims;
pub mod config;
pub mod control;
mod device_states;
mod dispatch;
mod doors;
pub mod eagi;
mod error;
mod handover;
pub mod health;
mod machines;
pub mod outages;
pub mod outbound;
mod privacy;
mod pulse;
mod records;
mod ringing;
pub mod route;
mod serve;
mod server;
pub mod share;
mod start;
mod switchboard;
pub mod transports;
mod voices;
pub mod ways;

pub use assemble::{OwnSpeech, Services, models_folders, recognizer};
pub use config::{Config, ConfigError};
pub use doors::Doors;
pub use error::EngineError;
pub use outbound::CallOut;
pub use server::{ServerState, ServerStatus};
pub use voices::{EngineVoices, KeptSounds};

use admission::Admission;
use adopt::Heartbeat;
use campaigns::{Dialler, OptOuts};
use claims::Claims;
use device_states::DeviceStates;
use handover::{Handed, Takeover};
use pulse::Pulse;
use server::Server;

/// How long Asterisk may take to be there at the start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long captures may take to be written after a takeover.
const CAPTURES_PATIENCE: Duration = Duration::from_secs(2);

/// How long callers may take to hear the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(20);

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
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

/// A running engine.
pub struct Engine {
    shared: Arc<Shared>,
    servers: Vec<Arc<Server>>,
    heartbeat: Heartbeat,
    /// What runs for each server as long as we do: its events, its lamps, its claims.
    tasks: Vec<AbortOnDropHandle<()>>,
    _pulse: AbortOnDropHandle<()>,
    _call_backs: AbortOnDropHandle<()>,
    _dialler: Dialler,
}

/// What the process has, for all servers.
struct Shared {
    config: Config,
    media: Media,
    /// The address by which servers know our sockets that have none of their own for it.
    advertised: IpAddr,
    services: Services,
    store: Store,
    recordings: Option<Recordings>,
    captures: Option<Arc<Recorder>>,
    admission: Mutex<Admission>,
    pulse: Pulse,
    lamps: DeviceStates,
    opt_outs: OptOuts,
    phase: watch::Sender<Phase>,
    tasks: TaskTracker,
    /// Whether the calls of an engine that hands them over are ours, or there was none.
    inherited: watch::Sender<bool>,
    /// The calls that are handed over.
    handed: Mutex<Vec<Handed>>,
    /// Another process has all of them.
    handed_over: watch::Sender<bool>,
}

impl Engine {
    /// Starts: opens the store, the media sockets and the events of every server, clears what an earlier process left behind,
    /// and takes calls from then on. One server that answers is enough; those that do not are tried on and on.
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
        // Asked before anything is opened: most of what can be wrong shows here, with a reason.
        let servers = start::ask(&config).await?;
        let store = Store::open(&config.store.path, config.store.numbers).await?;
        let app = config.asterisk.app.clone();
        let control = handover::socket(store.path(), &app);
        let mut other = Takeover::find(&control).await;
        if other.is_some() && !takeover {
            return Err(EngineError::Running { app });
        }
        let candidates = start::candidates(&config, &store, servers, other.is_some()).await?;
        let inherited = match &mut other {
            Some(other) => other.sockets().await.map_err(EngineError::Takeover)?,
            None => Inherited::default(),
        };
        let media = Media::start_on(&start::media(&config, &candidates)?, inherited)?;
        let (opt_outs, told) = OptOuts::new();
        let answered: Vec<bool> = candidates.iter().map(|server| server.transports.is_some()).collect();
        let shared = Arc::new(Shared {
            media,
            advertised: start::advertised(&config),
            services,
            store,
            recordings: config.recording.folder.as_ref().map(Recordings::open).transpose()?,
            captures: start::captures(&config)?,
            admission: Mutex::new(Admission::new(&config.engine)),
            pulse: Pulse::default(),
            lamps: DeviceStates::new(config.lamps()),
            opt_outs,
            phase: watch::Sender::new(Phase::Running),
            tasks: TaskTracker::new(),
            inherited: watch::Sender::new(other.is_none()),
            handed: Mutex::default(),
            handed_over: watch::Sender::new(false),
            config,
        });
        let servers: Vec<_> = candidates.into_iter().map(|server| Server::new(&shared, server)).collect();
        let mut engine = Self {
            heartbeat: Heartbeat::start(shared.store.path(), &app),
            tasks: Vec::new(),
            _pulse: Pulse::start(&shared, &servers),
            _call_backs: call_backs::start(&shared, &servers),
            _dialler: campaigns::start(&shared, &servers, told),
            servers,
            shared,
        };
        engine.purge_old_calls().await;
        engine.listen();
        let awaited = || engine.servers.iter().zip(&answered).filter(|(_, answered)| **answered);
        let awaited: Vec<_> = awaited().map(|(server, _)| Arc::clone(server)).collect();
        if let Some(other) = other {
            tokio::spawn(adopt::inherit(engine.servers.clone(), awaited.clone(), other));
        }
        engine.connected(&awaited).await?;
        handover::offer(&engine.shared, &engine.servers, &control);
        Ok(engine)
    }

    /// Begins to read every server's events.
    fn listen(&mut self) {
        for server in &self.servers {
            let events = server.ari.events(&server.app);
            let lamps = self.shared.lamps.show(
                server.ari.clone(),
                server.connected.subscribe(),
                self.shared.phase.subscribe(),
            );
            let claims = Claims::start(server);
            let dispatcher = AbortOnDropHandle::new(tokio::spawn(dispatch::run(Arc::clone(server), events)));
            self.tasks.extend([Some(dispatcher), lamps, claims].into_iter().flatten());
        }
    }

    /// Waits until the servers that have answered send events; for one of them it is patient, for the others no longer.
    async fn connected(&self, awaited: &[Arc<Server>]) -> Result<(), EngineError> {
        let each = awaited.iter().map(|server| async {
            let mut connected = server.connected.subscribe();
            tokio::time::timeout(START_PATIENCE, connected.wait_for(|up| *up)).await.is_ok()
        });
        if join_all(each).await.into_iter().any(|connected| connected) {
            return Ok(());
        }
        let first = awaited.first().expect("a server has answered, or we were not here");
        Err(EngineError::Asterisk(AriError::Timeout {
            peer: first.ari.peer().to_owned(),
            operation: "the events socket".into(),
            subject: first.app.clone(),
            after: START_PATIENCE,
        }))
    }

    /// Waits until another process has all calls. What is left is to [`leave`](Self::leave).
    pub async fn handed_over(&self) {
        let mut handed_over = self.shared.handed_over.subscribe();
        // It lives as long as we do.
        let _ = handed_over.wait_for(|over| *over).await;
    }

    /// Ends after a takeover: Asterisk and the calls are the other process's.
    pub async fn leave(self) {
        drop(self.tasks);
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
        self.shared.close().await;
    }

    /// Tells how many calls are up, also after the engine was given away; when it takes no more, the largest number.
    pub fn load(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || match shared.upgrade() {
            Some(shared) if *shared.phase.borrow() == Phase::Running => shared.admission().calls(),
            _ => usize::MAX,
        }
    }

    /// How many calls are up.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.servers.iter().map(|server| server.switchboard.len()).sum()
    }

    /// Whether calls are taken, from one server at least.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.watch().now().is_ready()
    }

    /// Every server, in the order of the configuration.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(|server| server.status()).collect()
    }

    /// Lets one server have no more calls, while those that are up go on and other servers are served as before; or lets it have
    /// calls again.
    ///
    /// # Errors
    /// [`EngineError::NoServer`].
    pub fn drain_server(&self, name: &str, draining: bool) -> Result<(), EngineError> {
        self.named(name)?.drain(draining);
        Ok(())
    }

    /// What protects each port that it listens on, but for those of media over RTP.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        let mut doors = self.shared.config.exposures();
        doors.extend(self.shared.media.exposures());
        doors
    }

    /// The store, to look calls up.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
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
        let up = self.servers.iter().filter(|server| *server.connected.borrow());
        join_all(up.map(|server| shared.lamps.leave(&server.ari))).await;
        // Not before: requests may go over the socket that the events come by.
        drop(self.tasks);
        self.heartbeat.end();
        let _ = std::fs::remove_file(handover::socket(shared.store.path(), &shared.config.asterisk.app));
        shared.close().await;
    }

    /// Calls that are too old to be kept go, with their recordings.
    async fn purge_old_calls(&self) {
        let purged = async {
            let days = i64::from(self.shared.config.store.retention_days);
            if days > 0 {
                let purged = self.shared.store.purge(WallTime(WallTime::now().0 - days * 86_400_000)).await?;
                let recordings = self
                    .shared
                    .recordings
                    .iter()
                    .flat_map(|folder| purged.calls.iter().map(move |id| (folder, id)));
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
}

impl Shared {
    /// Leaves a call to the process that takes over.
    fn hand(&self, state: adopt::State, row: CallRecord, lease: Option<Lease>) {
        let handed = Handed { state, row, lease };
        self.handed.lock().expect("nothing panics while it holds the calls").push(handed);
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().expect("nothing panics while it holds the admission")
    }

    /// Ends the records and the store.
    async fn close(&self) {
        if let Some(recordings) = &self.recordings {
            recordings.close().await;
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the last records could not be written");
        }
    }
}
