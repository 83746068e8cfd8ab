//! Calls from one process to the next, while both live: `offhook run --takeover`.
//!
//! The old engine listens on a Unix socket beside its store. The new one, ready to serve, asks there for the media sockets
//! and connects its events: Asterisk then tells the old one that it is replaced, and from that moment on every event goes to
//! the new one only. The old one lets go of its bots, writes its records, stops reading and hands over the state of each
//! call; it touches nothing in Asterisk and ends. The new one goes on with the same sockets, so that no address changes and
//! what came meanwhile is read late instead of lost. Until the new one has every call on its threads, the old one goes on
//! saying what was being said; then it falls silent, and the new one speaks in the same breath.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};

use super::adopt::State;
use super::server::Server;
use super::{Phase, Shared, adopt, control};
use crate::media::{Inherited, Inventory, Lease};
use crate::store::CallRecord;
use crate::time::WallTime;

/// What the new engine says first; the number is that of the layout of all this.
const REQUEST: &str = "takeover 3";

/// How long each side waits for a word of the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the new engine may take from its request until its events are connected.
const FENCE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the bots may take to let go, and the store to write, while the callers still hear what was being said.
const LET_GO: Duration = Duration::from_millis(300);

/// How long the new engine may take until it speaks to the calls, and the old one until it is silent.
const RELIEVED: Duration = Duration::from_millis(500);

/// The most that is read of a will: some kilobytes for each of many thousand calls.
const LONGEST_WILL: u64 = 256 << 20;

/// A call that its task has let go.
pub(super) struct Handed {
    pub state: State,
    pub row: CallRecord,
    /// Keeps it on its media thread until all are handed over; [`None`] where it is on none yet.
    pub lease: Option<Lease>,
}

/// All that the old engine leaves.
#[derive(Serialize, Deserialize)]
pub(super) struct Will {
    /// When it fell silent.
    pub alive: WallTime,
    pub calls: Vec<(State, CallRecord)>,
}

/// Where the engine of an application with this store can be asked.
pub(super) fn socket(store: &Path, app: &str) -> PathBuf {
    adopt::beside(store, app, "sock")
}

/// An engine that can be asked for its calls.
pub(super) struct Takeover {
    stream: UnixStream,
}

impl Takeover {
    /// Finds the engine that runs with this store and application.
    pub async fn find(path: &Path) -> Option<Self> {
        Some(Self { stream: UnixStream::connect(path).await.ok()? })
    }

    /// Asks it for its sockets. It serves its calls on until our events are connected.
    pub async fn sockets(&mut self) -> io::Result<Inherited> {
        let asked = async {
            self.stream.write_all(format!("{REQUEST}\n").as_bytes()).await?;
            receive(&self.stream).await
        };
        tokio::time::timeout(PATIENCE, asked).await?
    }

    /// Waits for its calls.
    pub async fn will(&mut self) -> io::Result<Will> {
        let read = async {
            let length = self.stream.read_u64().await?;
            let length = usize::try_from(length).ok().filter(|_| length <= LONGEST_WILL);
            let mut text = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
            self.stream.read_exact(&mut text).await?;
            Ok::<_, io::Error>(text)
        };
        let text = tokio::time::timeout(PATIENCE, read).await??;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Tells it that its calls are here; comes back when it has fallen silent, or does not say so.
    pub async fn relieve(mut self) {
        let silent = async {
            self.stream.write_all(b"\n").await?;
            self.stream.read(&mut [0; 1]).await
        };
        if !matches!(tokio::time::timeout(RELIEVED, silent).await, Ok(Ok(0))) {
            tracing::warn!("the other engine does not say that it has fallen silent");
        }
    }
}

/// Listens for a successor until there is one.
pub(super) fn offer(shared: &Arc<Shared>, servers: &[Arc<Server>], path: &Path) {
    // What an engine left there that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).and_then(|listener| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            return tracing::warn!(socket = %path.display(), %error, "no other engine can take over from this one");
        }
    };
    let (shared, servers) = (Arc::clone(shared), servers.to_vec());
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let asked = tokio::time::timeout(PATIENCE, control::line(&mut stream)).await;
            let request = match asked {
                Ok(Ok(request)) => request,
                _ => continue,
            };
            if request != REQUEST {
                tokio::spawn(control::answer(servers.clone(), request, stream));
                continue;
            }
            match hand_over(&shared, &servers, stream).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "another engine asked for the calls and did not take them");
                    for server in servers.iter().filter(|server| *server.replaced.borrow()) {
                        server.reclaim.notify_one();
                    }
                }
            }
        }
    });
}

/// Hands everything to who asks. An error means that nothing has happened yet.
async fn hand_over(shared: &Arc<Shared>, servers: &[Arc<Server>], mut stream: UnixStream) -> io::Result<()> {
    // The fence is at every server that talks to us; one that is away talks to nobody.
    let fence: Vec<_> = servers.iter().filter(|server| *server.connected.borrow()).collect();
    send(&stream, &shared.media.inherit()?).await?;
    tracing::info!("another engine is about to take over");
    let replaced = join_all(fence.iter().map(|server| async {
        let mut replaced = server.replaced.subscribe();
        // It lives as long as we do.
        let _ = replaced.wait_for(|replaced| *replaced).await;
    }));
    let mut nothing = [0; 1];
    tokio::select! {
        _ = replaced => {}
        _ = stream.read(&mut nothing) => return Err(io::Error::other("it went away")),
        () = tokio::time::sleep(FENCE_PATIENCE) => return Err(io::Error::other("its events did not connect")),
    }
    // From here on there is no way back: Asterisk talks to the other one.
    shared.phase.send_replace(Phase::HandingOver);
    let let_go = async {
        while up(servers) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(LET_GO, let_go).await.is_err() {
        tracing::warn!(calls = up(servers), "some calls are not handed over");
    }
    if !matches!(tokio::time::timeout(LET_GO, shared.store.flush()).await, Ok(Ok(()))) {
        tracing::error!("the last records could not be written before the calls were handed over");
    }
    if let Some(recordings) = &shared.recordings
        && tokio::time::timeout(LET_GO, recordings.close()).await.is_err()
    {
        tracing::warn!("recordings could not be ended before the calls were handed over");
    }
    shared.media.deafen().await;
    let handed = std::mem::take(&mut *shared.handed.lock().expect("nothing panics while it holds the calls"));
    let (calls, leases): (Vec<_>, Vec<_>) =
        handed.into_iter().map(|Handed { state, row, lease }| ((state, row), lease)).unzip();
    let count = calls.len();
    let will = serde_json::to_vec(&Will { alive: WallTime::now(), calls })?;
    let sent = async {
        stream.write_u64(will.len() as u64).await?;
        stream.write_all(&will).await
    };
    if matches!(tokio::time::timeout(PATIENCE, sent).await, Ok(Ok(()))) {
        // It speaks to them now, or it will not any more.
        let _ = tokio::time::timeout(RELIEVED, stream.read(&mut nothing)).await;
    } else {
        tracing::error!("the other engine did not take the calls; it finds them in the store");
    }
    shared.media.hush().await;
    drop((stream, leases));
    tracing::info!(calls = count, "the calls are handed over");
    shared.handed_over.send_replace(true);
    Ok(())
}

fn up(servers: &[Arc<Server>]) -> usize {
    servers.iter().map(|server| server.switchboard.len()).sum()
}

/// Sends sockets, with what they are.
async fn send(stream: &UnixStream, sockets: &Inherited) -> io::Result<()> {
    let inventory = serde_json::to_vec(&sockets.inventory())?;
    let descriptors = sockets.descriptors();
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Inherited::MOST + 2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("there are too many sockets to hand over"));
        }
        Ok(sendmsg(stream, &[IoSlice::new(&inventory)], &mut ancillary, SendFlags::NOSIGNAL)?)
    });
    match sent.await? {
        whole if whole == inventory.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// What [`send`] sent.
async fn receive(stream: &UnixStream) -> io::Result<Inherited> {
    let mut text = [0; 512];
    let (len, descriptors) = stream
        .async_io(Interest::READABLE, || {
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Inherited::MOST + 2))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let read =
                recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let rights = ancillary.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            });
            Ok((read.bytes, rights.flatten().collect::<Vec<OwnedFd>>()))
        })
        .await?;
    let inventory: Inventory = serde_json::from_slice(&text[..len])?;
    Inherited::from_descriptors(inventory, descriptors)
        .ok_or_else(|| io::Error::other("the other engine sent other sockets than it named"))
}
