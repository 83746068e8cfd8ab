//! What was taken off a media thread's own port and is not with its calls yet.

use std::net::SocketAddr;

use crate::time::Moment;

/// Packets that are taken before the first of them is looked at, so that the memory of the later ones' calls comes
/// meanwhile.
pub(super) const AT_ONCE: usize = 4;

/// Datagrams that are looked at together.
pub(super) struct Inbox {
    pub(super) letters: [Letter; AT_ONCE],
    pub(super) count: usize,
}

/// A datagram for the call at a place.
pub(super) struct Letter {
    pub(super) at: usize,
    pub(super) from: SocketAddr,
    pub(super) arrived: Moment,
    pub(super) len: usize,
    pub(super) datagram: [u8; 2_048],
}

impl Inbox {
    pub(super) fn new() -> Box<Self> {
        let letter = || Letter {
            at: 0,
            from: SocketAddr::from(([0, 0, 0, 0], 0)),
            arrived: Moment::ZERO,
            len: 0,
            datagram: [0; 2_048],
        };
        Box::new(Self { letters: std::array::from_fn(|_| letter()), count: 0 })
    }
}
