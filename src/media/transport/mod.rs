//! How a call's audio travels: each transport is a small state without sockets, bytes in and bytes out.
//!
//! - [`rtp`]: datagrams; told apart by where they come from, or by the port that they come to.
//! - [`audiosocket`]: a TCP stream that Asterisk opens, with messages of three bytes and a payload.
//! - [`websocket`]: a TCP stream that either side opens, with the frames of RFC 6455 (`frames`) around audio and
//!   control messages.
//! - `outbox`: what a stream has still to write, bounded; `pieces`: whole messages out of what came.
//! - `nat`: whom to believe to be the far end where its address is not known beforehand.
//!
//! On RTP and AudioSocket a frame that is sent is as good as heard. On WebSocket Asterisk queues what it gets and plays
//! it by its own clock: there what was heard is what it says that it played.

use serde::{Deserialize, Serialize};

pub(super) mod audiosocket;
pub(super) mod frames;
pub(super) mod nat;
pub(super) mod outbox;
mod pieces;
pub(super) mod rtp;
pub(super) mod websocket;

/// The ways to carry a call's audio between Asterisk and us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportKind {
    /// RTP over UDP (Asterisk 16.6 and later).
    Rtp,
    /// AudioSocket: Asterisk opens a TCP connection to us (18 and later).
    Audiosocket,
    /// WebSocket: we open a connection to Asterisk's web server (20.16, 21.11, 22.6 and later).
    Websocket,
    /// WebSocket: Asterisk opens a connection to us (the same versions).
    WebsocketServer,
}

impl TransportKind {
    /// All of them, in the order in which `auto` prefers them.
    pub const ALL: [Self; 4] = [Self::Rtp, Self::Audiosocket, Self::Websocket, Self::WebsocketServer];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Audiosocket => "audiosocket",
            Self::Websocket => "websocket",
            Self::WebsocketServer => "websocket-server",
        }
    }
}

impl std::fmt::Display for TransportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One call's transport.
#[expect(clippy::large_enum_variant, reason = "a line is boxed, and there is one transport in it")]
pub(super) enum Transport {
    Rtp(rtp::Rtp),
    AudioSocket(audiosocket::AudioSocket),
    WebSocket(websocket::WebSocket),
}

impl Transport {
    /// Whether what is sent is heard only when the far end says so.
    pub(super) const fn is_deferred(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// What waits for the call's stream.
    pub(super) const fn outbox(&mut self) -> Option<&mut outbox::Outbox> {
        match self {
            Self::Rtp(_) => None,
            Self::AudioSocket(socket) => Some(&mut socket.outbox),
            Self::WebSocket(socket) => Some(&mut socket.outbox),
        }
    }
}
