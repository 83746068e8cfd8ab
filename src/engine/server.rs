//! One Asterisk server of the engine's: how it is reached, which calls it has, and how it is.
//!
//! What one server does, or does not do, changes nothing for the calls of the others. Its state is logged when it changes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use tokio::sync::{Notify, oneshot, watch};

use super::admission::{Refused, Room};
use super::adopt::{Estate, Predecessor};
use super::claims::Claims;
use super::config::AsteriskSection;
use super::switchboard::{Line, Stage, Switchboard};
use super::transports::{Abilities, Transports};
use super::{EngineError, Phase, Shared, serve};
use crate::asterisk::ari::model::Timestamp;
use crate::asterisk::ari::{Ari, ChannelId};
use crate::call::{Facts, MediaPlan, Snapshot};
use crate::id::CallId;
use crate::store::{CallRecord, Machines};
use crate::time::{Moment, WallTime};

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ServerState {
    /// Nothing is known of it yet.
    Connecting,
    /// Calls come from it.
    Up,
    /// It is to have no more calls; those that are up go on.
    Draining,
    /// Its events do not come; the engine goes on trying.
    Down {
        /// Why, in a sentence.
        why: String,
    },
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Up => f.write_str("up"),
            Self::Draining => f.write_str("draining"),
            Self::Down { why } => write!(f, "down: {why}"),
        }
    }
}

/// What is known of a server; see [`Engine::servers`](super::Engine::servers).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Host and port of its ARI.
    pub peer: String,
    /// Our application there.
    pub app: String,
    /// How it is.
    #[serde(flatten)]
    pub state: ServerState,
    /// Its calls that are up.
    pub calls: usize,
    /// As many as it may have.
    pub capacity: usize,
    /// What it says that it is, `22.10.1`; [`None`] before it has said so.
    pub version: Option<String>,
}

/// What is special about a call that we make.
pub(super) struct Outgoing {
    /// Told when it is answered, or why not.
    pub answered: Option<oneshot::Sender<Result<(), String>>>,
    pub made: Made,
}

/// How a call that we make is served.
pub(super) struct Made {
    /// What becomes of it when a machine answers.
    pub machines: Machines,
    /// Where its channel is before somebody answers.
    pub stage: Stage,
    /// Until when it may ring.
    pub until: WallTime,
    /// Its record, where an earlier process has begun it.
    pub row: Option<Box<CallRecord>>,
}

/// One server. See the [module](self).
pub(super) struct Server {
    pub shared: Arc<Shared>,
    pub name: String,
    pub ari: Ari,
    pub app: String,
    pub section: AsteriskSection,
    pub switchboard: Switchboard,
    /// Calls that are offered to several engines.
    pub claims: Claims,
    /// Whether its events come, and what it has was compared with what we know.
    pub connected: watch::Sender<bool>,
    /// Whether it has registered our application for us.
    pub registered: watch::Sender<bool>,
    /// The calls of an earlier process, until Asterisk has said which are up.
    pub estate: Mutex<Option<Estate>>,
    /// Another process has our application.
    pub replaced: watch::Sender<bool>,
    /// Asks for the application back.
    pub reclaim: Notify,
    transports: Mutex<Option<Arc<Transports>>>,
    standing: Mutex<Standing>,
}

/// How it stands with a server.
struct Standing {
    link: ServerState,
    draining: bool,
    version: Option<String>,
    /// When the Asterisk that we last compared with was started.
    started: Option<Timestamp>,
}

/// A server that has been asked, before it is taken into service.
pub(super) struct Candidate {
    pub section: AsteriskSection,
    pub ari: Ari,
    pub estate: Estate,
    pub transports: Option<Transports>,
}

impl Server {
    pub fn new(shared: &Arc<Shared>, candidate: Candidate) -> Arc<Self> {
        let Candidate { section, ari, estate, transports } = candidate;
        Arc::new(Self {
            shared: Arc::clone(shared),
            name: section.name().to_owned(),
            app: section.app.clone(),
            ari,
            switchboard: Switchboard::default(),
            claims: Claims::default(),
            connected: watch::Sender::new(false),
            registered: watch::Sender::new(false),
            estate: Mutex::new(Some(estate)),
            replaced: watch::Sender::new(false),
            reclaim: Notify::new(),
            transports: Mutex::new(transports.map(Arc::new)),
            standing: Mutex::new(Standing {
                link: ServerState::Connecting,
                draining: false,
                version: None,
                started: None,
            }),
            section,
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("nothing panics while it holds how a server stands")
    }

    /// How it is.
    pub fn state(&self) -> ServerState {
        let standing = self.standing();
        match &standing.link {
            ServerState::Up if standing.draining => ServerState::Draining,
            link => link.clone(),
        }
    }

    /// Says how it is from now on.
    pub fn is_now(&self, link: ServerState) {
        self.change(|standing| standing.link = link);
    }

    /// Lets it have no more calls, or calls again.
    pub fn drain(&self, draining: bool) {
        self.change(|standing| standing.draining = draining);
    }

    fn change(&self, how: impl FnOnce(&mut Standing)) {
        let before = self.state();
        how(&mut self.standing());
        let after = self.state();
        let (server, asterisk) = (&self.name, self.ari.peer());
        match &after {
            same if *same == before => {}
            ServerState::Down { .. } => {
                tracing::warn!(server, asterisk, state = %after, calls = self.switchboard.len(), "a server changed its state");
            }
            _ => {
                tracing::info!(server, asterisk, state = %after, calls = self.switchboard.len(), "a server changed its state");
            }
        }
    }

    /// All that is known of it.
    pub fn status(&self) -> ServerStatus {
        ServerStatus {
            name: self.name.clone(),
            peer: self.ari.peer().to_owned(),
            app: self.app.clone(),
            state: self.state(),
            calls: self.switchboard.len(),
            capacity: self.capacity(),
            version: self.standing().version.clone(),
        }
    }

    /// As many calls as it may have.
    pub fn capacity(&self) -> usize {
        let most = self.shared.config.engine.max_calls;
        self.section.capacity.map_or(most, |capacity| capacity.min(most))
    }

    /// What there is of its calls, with those that were claimed and have not come.
    pub fn room(&self, now: Moment) -> Room {
        Room { calls: self.switchboard.len() + self.claims.pending(now), capacity: self.capacity() }
    }

    /// Whether it may have calls at all.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&self) -> Result<(), Refused> {
        if self.standing().draining || *self.shared.phase.borrow() != Phase::Running {
            return Err(Refused::Draining);
        }
        let ready = self.transports.lock().expect("nothing panics while it holds the transports").is_some();
        if ready { Ok(()) } else { Err(Refused::Media) }
    }

    /// How the calls of a bot get their audio; [`None`] as long as the server was not found able to.
    pub fn plan_of(&self, bot: &str) -> Option<MediaPlan> {
        let transports = self.transports.lock().expect("nothing panics while it holds the transports");
        transports.as_ref().map(|transports| transports.plan_of(bot).clone())
    }

    /// Finds out what it is and can do, where that is not known, or it may have changed since.
    pub async fn examine(&self, started: Timestamp, version: &str) -> Result<(), EngineError> {
        let again = {
            let mut standing = self.standing();
            standing.version = Some(version.to_owned()).filter(|version| !version.is_empty());
            standing.started.is_some_and(|before| before != started)
        };
        let known = self.transports.lock().expect("nothing panics while it holds the transports").is_some();
        if known && !again {
            return Ok(());
        }
        let chosen = Transports::choose(&self.shared.config, &Abilities::of(&self.ari).await?)?;
        *self.transports.lock().expect("nothing panics while it holds the transports") =
            Some(Arc::new(chosen));
        Ok(())
    }

    /// When the Asterisk was started that was last compared with.
    pub fn started(&self) -> Option<Timestamp> {
        self.standing().started
    }

    /// When the Asterisk was started that was last compared with; it is `started` from now on.
    pub fn started_before(&self, started: Timestamp) -> Option<Timestamp> {
        self.standing().started.replace(started)
    }

    /// Our address for audio, as a call of an earlier process has it, in the words of our own sockets.
    pub fn our_socket(&self, advertised: SocketAddr) -> SocketAddr {
        let own = self.shared.advertised;
        match self.section.advertise {
            Some(here) if here == advertised.ip() => SocketAddr::new(own, advertised.port()),
            _ => advertised,
        }
    }

    /// Makes room on the switchboard for a call that admission has counted, and starts its task.
    pub fn expect(self: &Arc<Self>, facts: Facts, channel: ChannelId, outgoing: Option<Outgoing>) {
        let (answered, made) = match outgoing {
            Some(Outgoing { answered, made }) => (answered, Some(made)),
            None => (None, None),
        };
        let (mut line, mail) = Line::new(channel.clone(), answered);
        line.stage = made.as_ref().map_or(Stage::Here, |made| made.stage);
        let place = self.place(facts.id, line);
        let server = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            serve::serve(&server, facts, channel, mail, made).await;
            drop(place);
        });
    }

    /// The same for a call that another process has served.
    pub fn take_up(self: &Arc<Self>, snapshot: Snapshot, row: CallRecord, from: Predecessor) {
        let (mut line, mail) = Line::new(ChannelId::from(snapshot.channel.as_str()), None);
        line.person_up = snapshot.with.is_some();
        line.up = true;
        self.shared.admission().enter();
        let place = self.place(snapshot.call, line);
        let server = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            serve::take_up(&server, snapshot, row, from, mail).await;
            drop(place);
        });
    }

    fn place(self: &Arc<Self>, id: CallId, line: Line) -> OnSwitchboard {
        self.switchboard.add(id, line);
        OnSwitchboard { server: Arc::clone(self), id }
    }
}

/// A call's place on the switchboard; given up when the call's task ends, however it ends.
struct OnSwitchboard {
    server: Arc<Server>,
    id: CallId,
}

impl Drop for OnSwitchboard {
    fn drop(&mut self) {
        self.server.switchboard.remove(self.id);
        self.server.shared.pulse.forget(self.id);
        self.server.shared.admission().leave();
    }
}
