//! What media is told at the start, and what can go wrong with it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::TransportKind;
use crate::audio::codec::CodecError;
use crate::guard::Allow;
use crate::id::CallId;

/// What [`Media::start`](super::Media::start) needs to know.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// How many media threads; at least one is started.
    pub threads: usize,
    /// The address that the sockets are bound to.
    pub bind: IpAddr,
    /// The first thread's port; thread i has `port + i`. 0: any free port for each.
    pub port: u16,
    /// Ports that an earlier process had and its calls still send to: where `port` is 0, thread i tries the i-th of them first.
    pub again: Vec<u16>,
    /// The address that Asterisk shall send to, where it is not the one bound to (behind NAT, or bound to all).
    pub advertise: Option<IpAddr>,
    /// A UDP port of its own for every RTP call, out of this range, instead of the thread's.
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// The TCP port that AudioSocket connections come to, if any shall; 0: any free one.
    pub audiosocket: Option<u16>,
    /// The TCP port that WebSocket connections come to, if any shall; 0: any free one.
    pub websocket: Option<u16>,
    /// Who may connect to the listeners; this machine where they are on loopback and nothing is said, else whoever gets there.
    pub allow: Allow,
    /// Who we are to Asterisk, where it connects to the WebSocket listener by `wss`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether to measure how long packets on the threads' own ports take: see [`Media::finish`](super::Media::finish).
    pub probe: bool,
}

impl MediaConfig {
    /// One thread on any free port of `bind`, for RTP alone.
    #[must_use]
    pub const fn new(bind: IpAddr) -> Self {
        Self {
            threads: 1,
            bind,
            port: 0,
            again: Vec::new(),
            advertise: None,
            rtp_ports: None,
            audiosocket: None,
            websocket: None,
            allow: Allow::UNSAID,
            tls: None,
            probe: false,
        }
    }
}

/// Why media could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A socket could not be bound.
    #[error(
        "cannot bind the media port {address}/udp: {source}; choose another `media.port` or end the program that has it"
    )]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listener could not be bound.
    #[error(
        "cannot listen on {address}/tcp for {what}: {source}; choose another port under [media] or end the program that has it"
    )]
    Listen {
        /// What for.
        what: TransportKind,
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Every port of the range is taken.
    #[error(
        "no UDP port from {first} to {last} is free: make `ports` under [media] wider, or lower `max_calls`"
    )]
    NoPort {
        /// The first of the range.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// The transport was not switched on at the start.
    #[error("there is no listener for {0}: set `transport` under [media], or of the bot, and start again")]
    NoListener(TransportKind),
    /// Asterisk did not connect.
    #[error(
        "Asterisk did not connect to {address} within {patience:?}: let it through there, or set `advertise` under [media]"
    )]
    NotConnected {
        /// Where it was told to.
        address: SocketAddr,
        /// How long was waited.
        patience: Duration,
    },
    /// Asterisk's web server could not be connected to for media.
    #[error("no media connection to {peer}: {reason}")]
    NotDialled {
        /// Who was dialled.
        peer: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The format cannot be had.
    #[error("the call's format: {0}")]
    Format(#[from] CodecError),
    /// Bound to every address, and not told which one is ours.
    #[error(
        "media is bound to all addresses ({0}): set `media.advertise` to the one that Asterisk can reach"
    )]
    NothingToAdvertise(IpAddr),
    /// The ports after the first one run past 65,535.
    #[error("{threads} media threads from port {port} run past 65535: choose a lower `media.port`")]
    TooManyPorts {
        /// The first port.
        port: u16,
        /// How many follow.
        threads: usize,
    },
    /// The system refused a thread, a timer or an event descriptor.
    #[error(
        "cannot start a media thread: {0}; the limit of processes or open files may be too low (ulimit -u, -n)"
    )]
    Start(std::io::Error),
    /// The call's media has ended, or the thread has been shut down.
    #[error("call {0}: its media has ended")]
    Ended(CallId),
    /// The media thread does not keep up with the commands.
    #[error("call {0}: the media thread is overloaded; lower `max_calls` under [engine]")]
    Overloaded(CallId),
}
