//! FastAGI: Asterisk connects to us.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::AgiError;
use super::handler::{Only, Router, session_of, tell};
use super::session::{Patience, carry, environment, parser};
use crate::guard::{Allow, Exposure, Guard, Key};
use crate::time::Moment;

/// Where the server listens, and to whom.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address; loopback unless told otherwise, port 4573. Port 0 takes any.
    pub bind: SocketAddr,
    /// Who may connect; this machine where nothing is said. Off loopback there must be a list: FastAGI has no password.
    pub allow: Allow,
    /// Sessions at once; one more is closed at once, and the dialplan goes on with `AGISTATUS=FAILURE`.
    pub most_sessions: usize,
    /// How long things may take.
    pub patience: Patience,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 4_573)),
            allow: Allow::UNSAID,
            most_sessions: 1_000,
            patience: Patience::default(),
        }
    }
}

impl ServerConfig {
    /// What protects it.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        Exposure {
            door: "FastAGI",
            section: "[agi]",
            bind: self.bind,
            allow: self.allow.clone().or_by(self.bind),
            key: Key::None,
            tls: None,
        }
    }
}

/// What a server has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerCounts {
    /// Sessions that began.
    pub sessions: u64,
    /// The most at once.
    pub most_at_once: u64,
    /// Connections that were closed at once: too many, or from an address that is not allowed.
    pub turned_away: u64,
    /// Sessions that were none, or whose handler failed.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    sessions: AtomicU64,
    now: AtomicU64,
    most: AtomicU64,
    turned_away: AtomicU64,
    failed: AtomicU64,
}

/// A FastAGI server that listens. Dropping it stops listening and ends the sessions that are up.
pub struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    /// No new sessions.
    closing: CancellationToken,
    /// Those that are up end, too.
    ending: CancellationToken,
}

impl Server {
    /// Listens, and gives every session to the handler that it asks for.
    ///
    /// # Errors
    /// [`AgiError::Config`] when the address cannot be had, or is not loopback and everybody could connect.
    pub async fn start(config: ServerConfig, router: Router) -> Result<Self, AgiError> {
        let exposure = config.exposure();
        exposure.check().map_err(AgiError::Config)?;
        let listener = TcpListener::bind(config.bind).await.map_err(|why| {
            AgiError::Config(format!(
                "cannot listen for FastAGI on {}: {why}; choose another `bind`",
                config.bind
            ))
        })?;
        let address = listener.local_addr().unwrap_or(config.bind);
        let this = Self {
            address,
            counters: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
        };
        let door = Door {
            room: Arc::new(Semaphore::new(config.most_sessions)),
            guard: Guard::new(&exposure),
            patience: config.patience,
            router,
            counters: this.counters.clone(),
            tasks: this.tasks.clone(),
            ending: this.ending.clone(),
        };
        let closing = this.closing.clone();
        this.tasks.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = door.accept(listener) => {}
            }
        });
        this.tasks.close();
        Ok(this)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen.
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerCounts {
            sessions: load(&self.counters.sessions),
            most_at_once: load(&self.counters.most),
            turned_away: load(&self.counters.turned_away),
            failed: load(&self.counters.failed),
        }
    }

    /// Takes no more sessions, lets those that are up go on for `patience`, and ends the rest.
    pub async fn close(self, patience: Duration) {
        self.closing.cancel();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.cancel();
        self.ending.cancel();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("counts", &self.counts()).finish()
    }
}

/// What lets connections in.
struct Door {
    guard: Guard,
    patience: Patience,
    router: Router,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    ending: CancellationToken,
    room: Arc<Semaphore>,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors are left: some come back when sessions end.
                    tracing::warn!(%error, "cannot accept a FastAGI session");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let now = Moment::now();
            if !self.guard.admits(from.ip(), now) {
                self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let Ok(room) = self.room.clone().try_acquire_owned() else {
                self.guard.refuse(now, from.ip(), &"as many sessions are up as `max_sessions` allows");
                self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let (router, counters) = (self.router.clone(), self.counters.clone());
            let (patience, gone) = (self.patience, self.ending.child_token());
            let ending = self.ending.clone();
            self.tasks.spawn(async move {
                counters.sessions.fetch_add(1, Ordering::Relaxed);
                let now = counters.now.fetch_add(1, Ordering::Relaxed) + 1;
                counters.most.fetch_max(now, Ordering::Relaxed);
                let serve = serve(stream, &router, &gone, patience);
                let failed = tokio::select! {
                    ended = serve => ended.is_err_and(|error| !error.is_over()),
                    () = late(&ending, patience) => true,
                };
                if failed {
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                }
                counters.now.fetch_sub(1, Ordering::Relaxed);
                drop(room);
            });
        }
    }
}

async fn late(ending: &CancellationToken, patience: Patience) {
    ending.cancelled().await;
    tokio::time::sleep(patience.after_hang_up).await;
}

async fn serve(
    mut stream: TcpStream,
    router: &Router,
    gone: &CancellationToken,
    patience: Patience,
) -> Result<(), AgiError> {
    // Commands are small and wait for their answers; without this they still work.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.split();
    attend(reader, writer, |script| router.only(script), gone, patience).await
}

/// Serves one session over any pair of streams.
pub(super) async fn attend<R, W>(
    mut reader: R,
    writer: W,
    choose: impl Fn(&str) -> Result<Only, AgiError>,
    gone: &CancellationToken,
    patience: Patience,
) -> Result<(), AgiError>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut parser = parser();
    let environment = environment(&mut reader, &mut parser, patience.environment).await?;
    let (session, requests) = session_of(environment.clone(), gone);
    let handler =
        choose(environment.script()).inspect_err(|error| tell(&environment, &Err(error.clone())))?;
    let carried = carry(reader, writer, parser, requests, gone, patience.write);
    let attended = handler.attend(session, gone, patience.after_hang_up);
    let ((), ended) = tokio::join!(carried, attended);
    tell(&environment, &ended);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn off_loopback_everybody_is_too_many() {
        for allow in ["", "0.0.0.0/0"] {
            let allow = allow.parse().unwrap();
            let config = ServerConfig { bind: ([0, 0, 0, 0], 0).into(), allow, ..ServerConfig::default() };
            let error = Server::start(config, Router::new()).await.unwrap_err();
            assert!(error.to_string().contains("allow"), "{error}");
        }
    }

    #[tokio::test]
    async fn who_is_not_on_the_list_is_closed_at_once_and_counted() {
        use tokio::io::AsyncReadExt as _;
        let (bind, allow) = (([127, 0, 0, 1], 0).into(), "192.0.2.7".parse().unwrap());
        let config = ServerConfig { bind, allow, ..ServerConfig::default() };
        let server = Server::start(config, Router::new()).await.unwrap();
        for _ in 0..20 {
            let mut knocking = TcpStream::connect(server.address()).await.unwrap();
            assert_eq!(knocking.read(&mut [0; 16]).await.unwrap_or(0), 0);
        }
        assert_eq!((server.counts().turned_away, server.counts().sessions), (20, 0));
    }
}
