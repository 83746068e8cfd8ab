//! The sockets of one process in another: an engine takes another's place without a packet that is lost.
//!
//! Both have the same sockets for a moment. The new one opens them deaf ([`Media::start_on`]), the old one falls silent
//! ([`Media::hush`]), and when the new one has all calls it listens ([`Media::listen`]): what came meanwhile waits in the
//! kernel.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::{Media, MediaConfig, MediaError, TransportKind, door, link, thread};

/// The sockets that another process had.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The threads' own ports, in order.
    pub rtp: Vec<UdpSocket>,
    /// The listener for AudioSocket.
    pub audiosocket: Option<TcpListener>,
    /// The listener for WebSocket media.
    pub websocket: Option<TcpListener>,
}

/// Which sockets a row of descriptors is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Inventory {
    rtp: usize,
    audiosocket: bool,
    websocket: bool,
}

impl Inherited {
    /// No process has more media threads.
    pub const MOST: usize = 64;

    /// What there is.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        Inventory {
            rtp: self.rtp.len(),
            audiosocket: self.audiosocket.is_some(),
            websocket: self.websocket.is_some(),
        }
    }

    /// All descriptors in the order of [`from_descriptors`](Self::from_descriptors).
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let listeners = self.audiosocket.iter().chain(&self.websocket).map(AsFd::as_fd);
        self.rtp.iter().map(AsFd::as_fd).chain(listeners).collect()
    }

    /// The sockets of another process; [`None`] when they are not as many as the inventory says.
    #[must_use]
    pub fn from_descriptors(inventory: Inventory, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let expected = inventory.rtp + usize::from(inventory.audiosocket) + usize::from(inventory.websocket);
        if descriptors.len() != expected {
            return None;
        }
        let mut left = descriptors.into_iter();
        let rtp = left.by_ref().take(inventory.rtp).map(UdpSocket::from).collect();
        let audiosocket = if inventory.audiosocket { left.next().map(TcpListener::from) } else { None };
        let websocket = if inventory.websocket { left.next().map(TcpListener::from) } else { None };
        Some(Self { rtp, audiosocket, websocket })
    }
}

/// How often it is looked whether the threads have ended.
const LOOK: Duration = Duration::from_millis(1);

/// How long they may take.
const PATIENCE: Duration = Duration::from_millis(200);

impl Media {
    /// As [`start`](Self::start), on the sockets of another process as far as there are any. On their UDP ports nothing is read
    /// or sent before [`listen`](Self::listen).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(config: &MediaConfig, inherited: Inherited) -> Result<Self, MediaError> {
        let advertise = config.advertise.unwrap_or(config.bind);
        if advertise.is_unspecified() {
            return Err(MediaError::NothingToAdvertise(config.bind));
        }
        let Inherited { rtp, audiosocket, websocket } = inherited;
        let count = config.threads.max(1).max(rtp.len());
        let mut rtp = rtp.into_iter();
        let mut threads = Vec::with_capacity(count);
        for i in 0..count {
            threads.push(match rtp.next() {
                Some(socket) => thread::Thread::on(i, socket, advertise, config.probe, true)?,
                None => start(config, i, count, advertise)?,
            });
        }
        let listen = |kind, port: Option<u16>, inherited: Option<TcpListener>| {
            let (allow, tls) = (config.allow.clone(), config.tls.clone());
            let frontage = door::Frontage { kind, advertise, allow, tls };
            match (port, inherited) {
                (None, _) => Ok(None),
                (Some(_), Some(listener)) => door::Door::on(listener, frontage).map(Some),
                (Some(port), None) => {
                    door::Door::open(SocketAddr::new(config.bind, port), frontage).map(Some)
                }
            }
        };
        Ok(Self {
            threads,
            next_key: std::sync::atomic::AtomicU64::new(1),
            ports: config.rtp_ports.clone().map(|range| link::Ports::new(config.bind, advertise, range)),
            audiosocket: listen(TransportKind::Audiosocket, config.audiosocket, audiosocket)?,
            websocket: listen(TransportKind::WebsocketServer, config.websocket, websocket)?,
        })
    }

    /// Its sockets, for another process.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn inherit(&self) -> std::io::Result<Inherited> {
        Ok(Inherited {
            rtp: self.threads.iter().map(thread::Thread::socket).collect::<Result<_, _>>()?,
            audiosocket: self.audiosocket.as_ref().map(door::Door::socket).transpose()?,
            websocket: self.websocket.as_ref().map(door::Door::socket).transpose()?,
        })
    }

    /// Reads nothing more of what another process has too: it stays in the sockets, for that one. The calls that are up are
    /// spoken to until [`hush`](Self::hush).
    pub async fn deafen(&self) {
        self.threads.iter().for_each(thread::Thread::deafen);
        self.audiosocket.iter().chain(&self.websocket).for_each(door::Door::close);
        let deaf = async {
            while self.threads.iter().any(thread::Thread::hears) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, deaf).await.is_err() {
            tracing::error!("a media thread goes on reading");
        }
    }

    /// Sends and reads nothing any more, for good; what comes stays in the sockets. Every call's media has ended.
    pub async fn hush(&self) {
        self.threads.iter().for_each(thread::Thread::stop);
        self.audiosocket.iter().chain(&self.websocket).for_each(door::Door::close);
        let ended = async {
            while !self.threads.iter().all(thread::Thread::is_over) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            tracing::error!("a media thread does not end");
        }
    }

    /// Reads what comes to the ports of another process from now on, and what has come meanwhile, and speaks to its calls.
    pub fn listen(&self) {
        self.threads.iter().for_each(thread::Thread::listen);
    }
}

/// The `i`-th thread of `count`, on a port of its own.
fn start(
    config: &MediaConfig,
    i: usize,
    count: usize,
    advertise: std::net::IpAddr,
) -> Result<thread::Thread, MediaError> {
    let on = |port| thread::Thread::start(i, SocketAddr::new(config.bind, port), advertise, config.probe);
    let too_many = MediaError::TooManyPorts { port: config.port, threads: count };
    match config.port {
        0 => config.again.get(i).and_then(|port| on(*port).ok()).map_or_else(|| on(0), Ok),
        first => on(u16::try_from(i).ok().and_then(|i| first.checked_add(i)).ok_or(too_many)?),
    }
}
