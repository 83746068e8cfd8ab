//! How a call that is being set up comes by its audio.
//!
//! A [`Seat`] is a place on a media thread and what Asterisk has to be told ([`Invitation`]) before it makes the media
//! channel. When it has answered, [`Seat::link`] or [`Seat::connected`] gives the [`Link`] that the call is attached with.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::door::Awaited;
pub use super::handshake::Dial;
use super::seated::Wire;
use super::thread;
use super::transport::audiosocket::AudioSocket;
use super::transport::nat::Latch;
use super::transport::rtp::Rtp;
use super::transport::websocket::WebSocket;
use super::transport::{Transport, TransportKind};
use super::{MediaError, door};
use crate::audio::codec::Format;
use crate::rtp::PayloadType;
use crate::time::Moment;

/// A place on a media thread, kept for a call that is being set up.
pub struct Seat {
    thread: Arc<thread::Shared>,
    way: Way,
    /// Our address as the call's server knows it, where that is another one than for the rest.
    known_as: Option<IpAddr>,
}

/// What Asterisk has to be told about a call's audio.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invitation {
    /// Send RTP there; the answer tells where from.
    Rtp {
        /// `external_host`.
        address: SocketAddr,
    },
    /// Connect there, and say this UUID first.
    AudioSocket {
        /// `external_host`.
        address: SocketAddr,
        /// `data`.
        uuid: String,
    },
    /// Await a connection of ours; the answer tells what for.
    WebSocket,
    /// Connect to our WebSocket listener, by a section of websocket_client.conf that leads to `address`, with this secret
    /// in the URI.
    WebSocketServer {
        /// Where our listener is.
        address: SocketAddr,
        /// The value of the parameter [`SECRET`].
        secret: String,
    },
}

/// The parameter of the URI by which a WebSocket of Asterisk's says which call it is for.
pub const SECRET: &str = "offhook";

/// How a seat's call will come by its audio.
pub(super) enum Way {
    /// By the thread's own UDP port.
    Shared,
    /// By a port of its own, known to Asterisk by this address.
    Port(UdpSocket, SocketAddr),
    /// By a connection to a listener of ours.
    Door(Awaited),
    /// By a connection that we make.
    Dial,
    /// It has been taken.
    Taken,
}

impl Seat {
    pub(super) fn new(thread: Arc<thread::Shared>, way: Way) -> Self {
        thread.load.fetch_add(1, Ordering::Relaxed);
        Self { thread, way, known_as: None }
    }

    pub(super) const fn thread(&self) -> &Arc<thread::Shared> {
        &self.thread
    }

    /// The address that Asterisk shall send this call's audio to, or connect to: for RTP what ARI's `external_host` gets.
    #[must_use]
    pub fn advertised(&self) -> SocketAddr {
        let address = match &self.way {
            Way::Port(_, address) => *address,
            Way::Door(awaited) => awaited.address(),
            Way::Shared | Way::Dial | Way::Taken => self.thread.advertised,
        };
        SocketAddr::new(self.known_as.unwrap_or(address.ip()), address.port())
    }

    /// Has the call's server send to this address of ours, where it is another one than for the rest ([`MediaConfig::advertise`](super::MediaConfig::advertise)).
    #[must_use]
    pub fn known_as(self, address: Option<IpAddr>) -> Self {
        let mut seat = self;
        seat.known_as = address;
        seat
    }

    /// What Asterisk has to be told.
    #[must_use]
    pub fn invitation(&self) -> Invitation {
        let address = self.advertised();
        match &self.way {
            Way::Shared | Way::Port(..) | Way::Taken => Invitation::Rtp { address },
            Way::Door(awaited) => match awaited.kind() {
                TransportKind::Audiosocket => Invitation::AudioSocket { address, uuid: awaited.uuid() },
                _ => Invitation::WebSocketServer { address, secret: awaited.secret() },
            },
            Way::Dial => Invitation::WebSocket,
        }
    }

    /// The link of a call over RTP, whose packets come from `named` according to Asterisk.
    #[must_use]
    pub fn link(&mut self, named: SocketAddr) -> Link {
        match std::mem::replace(&mut self.way, Way::Taken) {
            Way::Port(socket, _) => Link(Inner::Port(socket, canonical(named))),
            _ => Link::from(named),
        }
    }

    /// Waits until Asterisk has connected and said which call it is for.
    ///
    /// # Errors
    /// [`MediaError::NotConnected`].
    pub async fn connected(&mut self, patience: Duration) -> Result<Link, MediaError> {
        let address = self.advertised();
        match std::mem::replace(&mut self.way, Way::Taken) {
            Way::Door(awaited) => {
                let link = tokio::time::timeout(patience, awaited.arrives()).await;
                link.ok().flatten().ok_or(MediaError::NotConnected { address, patience })
            }
            _ => Err(MediaError::NotConnected { address, patience: Duration::ZERO }),
        }
    }
}

/// Connects to Asterisk's web server for the media of one call.
///
/// # Errors
/// [`MediaError::NotDialled`], within three seconds.
pub async fn dial(dial: &Dial) -> Result<Link, MediaError> {
    door::dial(dial).await
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.thread.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call's audio comes by.
pub struct Link(pub(super) Inner);

pub(super) enum Inner {
    /// RTP from and to this address, by the thread's own port.
    Shared(SocketAddr),
    /// RTP by a port of its own; the address is what Asterisk named.
    Port(UdpSocket, SocketAddr),
    /// A connection.
    Stream(Stream),
}

/// A connection that has said which call it is for.
pub(super) struct Stream {
    pub(super) speaks: Speaks,
    pub(super) fd: OwnedFd,
    /// What came on it already.
    pub(super) early: Vec<u8>,
    /// What keeps it in talk until a media thread has it, where that is needed.
    pub(super) waits: Option<AbortOnDropHandle<()>>,
    /// What stands between it and the network, if something does.
    pub(super) bridge: Option<AbortOnDropHandle<()>>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    AudioSocket,
    /// We made it: what we send is masked.
    WebSocketClient,
    WebSocketServer,
}

impl From<SocketAddr> for Link {
    /// RTP by the media thread's own port.
    fn from(peer: SocketAddr) -> Self {
        Self(Inner::Shared(canonical(peer)))
    }
}

/// What a line is made of that depends on its link.
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) wire: Wire,
    pub(super) peer: SocketAddr,
    pub(super) early: Vec<u8>,
}

impl Opened {
    pub(super) const fn is_rtp(&self) -> bool {
        matches!(self.transport, Transport::Rtp(_))
    }
}

impl Link {
    pub(super) fn open(self, format: Format, key_events: PayloadType) -> Opened {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let rtp = || Transport::Rtp(Rtp::new(format, key_events));
        match self.0 {
            Inner::Shared(peer) => Opened { transport: rtp(), wire: Wire::Shared, peer, early: Vec::new() },
            Inner::Port(socket, named) => {
                let wire = Wire::Port(socket, Latch::new(named));
                Opened { transport: rtp(), wire, peer: named, early: Vec::new() }
            }
            Inner::Stream(Stream { speaks, fd, early, waits, bridge }) => {
                drop(waits);
                let websocket = |client| Transport::WebSocket(WebSocket::new(Moment::now(), client));
                let transport = match speaks {
                    Speaks::AudioSocket => Transport::AudioSocket(AudioSocket::new(format.rate())),
                    Speaks::WebSocketClient => websocket(true),
                    Speaks::WebSocketServer => websocket(false),
                };
                Opened { transport, wire: Wire::Stream(fd, bridge), peer: nowhere, early }
            }
        }
    }
}

/// The UDP ports that RTP calls have for themselves.
pub(super) struct Ports {
    bind: IpAddr,
    advertise: IpAddr,
    range: RangeInclusive<u16>,
    /// Where to look next: a port rests as long as possible, so that no packet of its last call comes to the next one.
    next: AtomicU16,
}

impl Ports {
    pub(super) fn new(bind: IpAddr, advertise: IpAddr, range: RangeInclusive<u16>) -> Self {
        Self { bind, advertise, next: AtomicU16::new(0), range }
    }

    pub(super) fn next(&self) -> Result<Way, MediaError> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let count = u32::from(last.saturating_sub(first)) + 1;
        for _ in 0..count {
            let step = u32::from(self.next.fetch_add(1, Ordering::Relaxed)) % count;
            #[expect(clippy::cast_possible_truncation, reason = "within the range, whose ends are ports")]
            let port = (u32::from(first) + step) as u16;
            if let Some(way) = self.open(port) {
                return Ok(way);
            }
        }
        Err(MediaError::NoPort { first, last })
    }

    /// The port of a call that another process had.
    pub(super) fn again(&self, address: SocketAddr) -> Option<Way> {
        let ours = address.ip() == self.advertise && self.range.contains(&address.port());
        ours.then(|| self.open(address.port())).flatten()
    }

    fn open(&self, port: u16) -> Option<Way> {
        let socket = UdpSocket::bind((self.bind, port)).ok()?;
        socket.set_nonblocking(true).ok()?;
        thread::mark_as_voice(&socket);
        Some(Way::Port(socket, SocketAddr::new(self.advertise, port)))
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
