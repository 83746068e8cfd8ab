//! FastAGI: Asterisk connects to us.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
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

/// Where the server listens, and to whom.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address; loopback unless told otherwise, port 4573. Port 0 takes any.
    pub bind: SocketAddr,
    /// Who may connect. Off loopback there must be some: FastAGI has no password.
    pub allow: Vec<Network>,
    /// Sessions at once; one more is closed at once, and the dialplan goes on with `AGISTATUS=FAILURE`.
    pub most_sessions: usize,
    /// How long things may take.
    pub patience: Patience,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 4_573)),
            allow: Network::loopback(),
            most_sessions: 1_000,
            patience: Patience::default(),
        }
    }
}

/// Addresses that begin alike: `10.0.0.0/8`, `::1`, `192.0.2.7`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    /// How many bits of it count.
    bits: u8,
}

impl Network {
    /// This machine.
    #[must_use]
    pub fn loopback() -> Vec<Self> {
        vec![
            Self { address: [127, 0, 0, 0].into(), bits: 8 },
            Self { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), bits: 128 },
        ]
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let head = |address: u128, width: u8| {
            let rest = u32::from(width - self.bits.min(width));
            address.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                head(u32::from(ours).into(), 32) == head(u32::from(theirs).into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => head(ours.into(), 128) == head(theirs.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no address or network: write \"192.0.2.7\" or \"10.0.0.0/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| refuse())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits <= width { Ok(Self { address, bits }) } else { Err(refuse()) }
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
        if config.allow.is_empty() {
            return Err(AgiError::Config(
                "FastAGI lets nobody in: list the addresses of your Asterisk servers in `allow`".into(),
            ));
        }
        let everybody = config.allow.iter().any(|network| network.bits == 0);
        if everybody && !config.bind.ip().is_loopback() {
            return Err(AgiError::Config(
                "FastAGI has no password: list the addresses of your Asterisk servers in `allow` instead of everybody"
                    .into(),
            ));
        }
        let listener = TcpListener::bind(config.bind).await.map_err(|why| {
            AgiError::Config(format!(
                "cannot listen for FastAGI on {}: {why}; choose another `bind`",
                config.bind
            ))
        })?;
        let address = listener.local_addr().unwrap_or(config.bind);
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "FastAGI listens off loopback: the allowed addresses are its only guard");
        }
        let this = Self {
            address,
            counters: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
        };
        let door = Door {
            room: Arc::new(Semaphore::new(config.most_sessions)),
            config: Arc::new(config),
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
    config: Arc<ServerConfig>,
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
            let allowed = self.config.allow.iter().any(|network| network.contains(from.ip()));
            let room = self.room.clone().try_acquire_owned();
            let (true, Ok(room)) = (allowed, room) else {
                self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(allowed, "turned away a FastAGI session");
                continue;
            };
            let (router, counters) = (self.router.clone(), self.counters.clone());
            let (patience, gone) = (self.config.patience, self.ending.child_token());
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

    #[test]
    fn a_network_is_told_by_its_first_bits() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains([10, 1, 255, 1].into()));
        assert!(!network.contains([10, 2, 0, 1].into()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!("192.0.2.7".parse::<Network>().unwrap().contains([192, 0, 2, 7].into()));
        assert!(!"192.0.2.7".parse::<Network>().unwrap().contains([192, 0, 2, 8].into()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains([8, 8, 8, 8].into()));
        assert!("2001:db8::/32".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(Network::loopback().iter().any(|network| network.contains("::1".parse().unwrap())));
        for wrong in ["", "10.0.0.0/33", "pbx", "10.0.0.0/x", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn off_loopback_everybody_is_too_many() {
        let config = ServerConfig {
            bind: ([0, 0, 0, 0], 0).into(),
            allow: vec!["0.0.0.0/0".parse().unwrap()],
            ..ServerConfig::default()
        };
        let error = Server::start(config, Router::new()).await.unwrap_err();
        assert!(error.to_string().contains("allow"), "{error}");
        let nobody = ServerConfig { allow: Vec::new(), ..ServerConfig::default() };
        assert!(Server::start(nobody, Router::new()).await.is_err());
    }
}
