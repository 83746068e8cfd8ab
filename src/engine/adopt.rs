//! Calls that an earlier process served and that are still up.
//!
//! Asterisk keeps a caller in its application, and the media channel in its bridge, when the engine goes; whom we call it goes
//! on ringing. What the earlier process stored at each step of a call is enough to go on: the call keeps its id and its
//! records, audio over RTP comes to the same port again, and the bot says on from the sentence that was cut.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::START_PATIENCE;
use super::handover::{Takeover, Will};
use super::ringing::Ringing;
use super::server::Server;
use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::model::{Bridge, Channel};
use crate::call::{Left, Snapshot};
use crate::id::{CallId, OurId, Part};
use crate::media::TransportKind;
use crate::store::{CallRecord, Disposition, Store, StoreError};
use crate::time::WallTime;

/// How often a running engine says that it is there. What a caller heard after the last time is said again.
const BEAT: Duration = Duration::from_millis(200);

/// What another process needs to go on with a call.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum State {
    /// It was answered, or came in.
    Up(Box<Snapshot>),
    /// We made it, and nobody has answered.
    Rings(Ringing),
}

/// What an earlier process left: its calls.
#[derive(Default)]
pub(super) struct Estate {
    calls: Vec<(Snapshot, CallRecord)>,
    /// Those that we made and that nobody had answered.
    ringing: Vec<(Ringing, CallRecord)>,
    /// When that process was heard of last.
    alive: WallTime,
}

impl Estate {
    /// Reads what the engine called `engine` left of the calls of `app` on `server`. Calls of which no state was kept are over: nobody knows how they went on.
    pub async fn read(store: &Store, engine: &str, app: &str, server: &str) -> Result<Self, StoreError> {
        let mut rows: HashMap<CallId, CallRecord> = HashMap::new();
        let ours = |call: &CallRecord| call.app == app && call.server == server;
        for call in store.unfinished_calls().await?.into_iter().filter(ours) {
            rows.insert(call.id, call);
        }
        let (mut calls, mut ringing) = (Vec::new(), Vec::new());
        let mut newest = WallTime::default();
        for stored in store.snapshots().await? {
            let Some(row) = rows.remove(&stored.call) else { continue };
            newest = newest.max(stored.at);
            match read(stored.state) {
                Ok(State::Up(snapshot)) => calls.push((*snapshot, row)),
                Ok(State::Rings(rings)) => ringing.push((rings, row)),
                Err(why) => {
                    tracing::warn!(call = %stored.call, %why, "a call of an earlier process cannot be taken up");
                    close(store, row, Disposition::Lost, &why);
                }
            }
        }
        for row in rows.into_values() {
            close(store, row, Disposition::Lost, "the engine ended without it");
        }
        Ok(Self {
            calls,
            ringing,
            alive: Heartbeat::last(store.path(), engine).unwrap_or(newest).max(newest),
        })
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.ringing.is_empty()
    }

    /// The UDP ports that its calls send to.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self
            .calls
            .iter()
            .filter(|(snapshot, _)| snapshot.transport == TransportKind::Rtp)
            .map(|(snapshot, _)| snapshot.our_address.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Takes up the calls whose callers are in the application still, and ends the records of the others.
    pub fn settle(self, server: &Arc<Server>, channels: &[Channel], bridges: &[Bridge], ours: &[ChannelId]) {
        if self.is_empty() {
            return;
        }
        let there: HashSet<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
        let (mut adopted, mut over, ringing) = (0, 0, self.ringing.len());
        for (rings, row) in self.ringing {
            rings.go_on(server, row);
        }
        for (snapshot, row) in self.calls {
            if !ours.iter().any(|id| id.as_str() == snapshot.channel) {
                let (how, why) = if there.contains(snapshot.channel.as_str()) {
                    (Disposition::Transferred, "the caller left the application while no engine was there")
                } else {
                    (Disposition::CallerHungUp, "the caller hung up while no engine was there")
                };
                close(&server.shared.store, row, how, why);
                over += 1;
                continue;
            }
            let bridge = bridges.iter().find(|bridge| bridge.id.as_str() == snapshot.bridge);
            let joined =
                |id: &str| bridge.is_some_and(|bridge| bridge.channels.iter().any(|c| c.as_str() == id));
            let person =
                OurId { app: server.app.clone(), call: snapshot.call, part: Part::Person }.to_string();
            let left = match joined(&snapshot.channel) {
                true if joined(&person) && !joined(&snapshot.media) => Left::Talking,
                true if joined(&snapshot.media) => Left::Whole,
                _ => Left::Broken,
            };
            server.take_up(snapshot, row, Predecessor { left, alive: self.alive, attached: None });
            adopted += 1;
        }
        let away_ms = WallTime::now().0 - self.alive.0;
        tracing::info!(
            server = server.name,
            adopted,
            over,
            ringing,
            away_ms,
            "calls of an earlier process are taken up"
        );
    }
}

/// What is known of the process that served a call before.
pub(super) struct Predecessor {
    pub left: Left,
    /// When it was heard of last.
    pub alive: WallTime,
    /// It has handed the call over, and the call's audio is waited for.
    pub attached: Option<oneshot::Sender<()>>,
}

/// How long the calls may take to have their audio again before what came meanwhile is read.
const ATTACHED: Duration = Duration::from_millis(300);

/// Takes the calls of an engine that hands them over, or else what it left in the store. `awaited` are the servers that have
/// answered: it hands nothing over before each of them has told it that it is replaced.
pub(super) async fn inherit(servers: Vec<Arc<Server>>, awaited: Vec<Arc<Server>>, mut takeover: Takeover) {
    let Some(shared) = servers.first().map(|server| Arc::clone(&server.shared)) else { return };
    let registered = join_all(awaited.iter().map(|server| async {
        let mut registered = server.registered.subscribe();
        // It lives as long as we do.
        let _ = registered.wait_for(|registered| *registered).await;
    }));
    if tokio::time::timeout(START_PATIENCE, registered).await.is_err() {
        tracing::warn!("not every server has registered our application; asking for the calls none the less");
    }
    match takeover.will().await {
        Ok(will) => {
            take_all(&servers, will).await;
            takeover.relieve().await;
        }
        Err(error) => {
            tracing::error!(%error, "the other engine did not hand its calls over; looking into the store");
            let engine = &shared.config.asterisk.app;
            for server in &servers {
                let estate = Estate::read(&shared.store, engine, &server.app, server.ari.peer()).await.ok();
                *server.estate.lock().expect("nothing panics while it holds the estate") = estate;
            }
        }
    }
    shared.media.listen();
    shared.inherited.send_replace(true);
}

async fn take_all(servers: &[Arc<Server>], will: Will) {
    let Will { alive: before, calls } = will;
    let count = calls.len();
    // It speaks on until it is relieved.
    let alive = WallTime::now();
    let mut attached = Vec::new();
    for (state, row) in calls {
        let his = |server: &&Arc<Server>| server.ari.peer() == row.server && server.app == row.app;
        let Some(server) = servers.iter().find(his) else {
            tracing::error!(call = %row.id, asterisk = row.server, "a call is lost: its server is not in the configuration any more");
            if let Some(any) = servers.first() {
                close(
                    &any.shared.store,
                    row,
                    Disposition::Lost,
                    "its server was taken out of the configuration",
                );
            }
            continue;
        };
        let snapshot = match state {
            State::Up(snapshot) => *snapshot,
            State::Rings(rings) => {
                rings.go_on(server, row);
                continue;
            }
        };
        // Over RTP nothing changes; a connection ends with its process.
        let rtp = snapshot.transport == TransportKind::Rtp;
        let left = match (&snapshot.with, rtp) {
            (Some(_), _) => Left::Talking,
            (None, true) => Left::Whole,
            (None, false) => Left::Broken,
        };
        let (told, waits) = oneshot::channel();
        // The others have to be connected by Asterisk first.
        attached.extend(rtp.then_some(waits));
        server.take_up(snapshot, row, Predecessor { left, alive, attached: Some(told) });
    }
    let _ = tokio::time::timeout(ATTACHED, join_all(attached)).await;
    tracing::info!(calls = count, away_ms = WallTime::now().0 - before.0, "took over from another engine");
}

fn read(state: serde_json::Value) -> Result<State, String> {
    let version = |of: &str| state.get(of).and_then(serde_json::Value::as_u64);
    let is_known = version("version") == Some(u64::from(Snapshot::VERSION))
        || version("ringing") == Some(u64::from(Ringing::VERSION));
    if !is_known {
        return Err("its state was written by another version".into());
    }
    serde_json::from_value(state).map_err(|error| format!("its state cannot be read: {error}"))
}

/// Ends the record of a call that this process never had.
fn close(store: &Store, mut row: CallRecord, how: Disposition, why: &str) {
    row.ended = Some(WallTime::now());
    row.disposition = Some(how);
    row.note = Some(why.into());
    store.remove_snapshot(row.id);
    store.put_call(row);
}

/// A file beside the store whose time tells when its engine was last there.
pub(super) struct Heartbeat {
    _task: AbortOnDropHandle<()>,
    path: PathBuf,
}

impl Heartbeat {
    /// Begins to beat. A file that cannot be written is told once: calls are then taken up with what they heard at their last
    /// step.
    pub fn start(store: &Path, app: &str) -> Self {
        let path = Self::path(store, app);
        let file = path.clone();
        let task = tokio::spawn(async move {
            let mut told = false;
            let mut beat = tokio::time::interval(BEAT);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                if let Err(error) = tokio::fs::write(&file, b"").await
                    && !std::mem::replace(&mut told, true)
                {
                    tracing::warn!(file = %file.display(), %error, "the heartbeat cannot be written");
                }
            }
        });
        Self { _task: AbortOnDropHandle::new(task), path }
    }

    /// Ends it, and says that nothing is left behind.
    pub fn end(self) {
        // Without it, the next start looks at the calls' own times.
        let _ = std::fs::remove_file(&self.path);
    }

    fn last(store: &Path, app: &str) -> Option<WallTime> {
        let modified = std::fs::metadata(Self::path(store, app)).ok()?.modified().ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(WallTime(i64::try_from(since.as_millis()).ok()?))
    }

    fn path(store: &Path, app: &str) -> PathBuf {
        beside(store, app, "alive")
    }
}

/// The file of an engine beside its store: `STORE.APP.KIND`.
pub(super) fn beside(store: &Path, app: &str, kind: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{app}.{kind}"));
    store.with_file_name(name)
}
