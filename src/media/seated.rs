//! A call in its place on a media thread, with the socket that is its own.

use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use tokio_util::task::AbortOnDropHandle;

use super::line::Line;
use super::transport::nat::Latch;
use crate::pcap::recorder::Tap;
use crate::time::Moment;

/// A new call, and what its audio comes by.
pub(super) struct Arrival {
    pub(super) line: Line,
    pub(super) wire: Wire,
    /// What came on its stream before.
    pub(super) early: Vec<u8>,
    /// Keeps its datagrams, where that was asked for.
    pub(super) tap: Option<Tap>,
}

/// What a call's audio comes by.
pub(super) enum Wire {
    /// The thread's own UDP port, where the source address tells the calls apart.
    Shared,
    /// A UDP port of its own, and the rule that tells whom to believe.
    Port(UdpSocket, Latch),
    /// A stream, and the task between it and the network where there is one, which ends with it.
    Stream(OwnedFd, #[expect(dead_code, reason = "held, not read")] Option<AbortOnDropHandle<()>>),
    /// A stream that has ended.
    Closed,
}

/// A call that is served.
pub(super) struct Seated {
    pub(super) line: Box<Arrival>,
    /// The stream has no room: we are told when it has.
    pub(super) awaits_room: bool,
    pub(super) phase: usize,
    /// The slot in which it will be served next.
    pub(super) due: u64,
    /// It is in `waiting`.
    pub(super) waits: bool,
}

impl Seated {
    /// What came on its stream before the call was here.
    pub(super) fn early(&mut self, now: Moment) {
        let Arrival { line, wire, early, .. } = &mut *self.line;
        if !early.is_empty() && !line.bytes(now, early) {
            *wire = Wire::Closed;
        }
        *early = Vec::new();
    }

    /// Reads a piece of the stream, which ends when the far end says so, breaks, or says what nobody understands.
    pub(super) fn read(&mut self, now: Moment, chunk: &mut [u8]) {
        let Arrival { line, wire, .. } = &mut *self.line;
        let Wire::Stream(stream, _) = wire else { return };
        let goes_on = match rustix::io::read(stream, &mut *chunk) {
            Ok(0) => false,
            Ok(len) => line.bytes(now, &chunk[..len]),
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        };
        if !goes_on {
            *wire = Wire::Closed;
        }
    }

    /// Writes what waits for the stream, as far as there is room.
    pub(super) fn flush(&mut self, poll: &OwnedFd) {
        let Arrival { line, wire, .. } = &mut *self.line;
        let Wire::Stream(stream, _) = wire else { return };
        // Looked at once: what is written is always less than what a stream that flows has room for.
        let pending = line.pending();
        if !pending.is_empty() {
            match rustix::io::write(&*stream, pending) {
                Ok(count) => line.written(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    *wire = Wire::Closed;
                    return;
                }
            }
        }
        let awaits_room = !line.pending().is_empty();
        if std::mem::replace(&mut self.awaits_room, awaits_room) != awaits_room {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, awaits_room);
            // Cannot fail for a socket that was added; without it the next tick writes.
            let _ = epoll::modify(poll, &*stream, epoll::EventData::new_u64(line.key), flags);
        }
    }
}

impl Wire {
    /// The socket that is this call's alone.
    pub(super) fn own(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Port(socket, _) => Some(socket.as_fd()),
            Self::Stream(stream, _) => Some(stream.as_fd()),
            Self::Shared | Self::Closed => None,
        }
    }
}
