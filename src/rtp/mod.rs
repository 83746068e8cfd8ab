//! RTP (RFC 3550) as far as a voice engine beside Asterisk needs it, without sockets and without a clock.
//!
//! # Parts
//!
//! - [`packet`]: reads a datagram without copying it; writes a header into the caller's buffer.
//! - [`stream`]: [`stream::ReceiveStream`] puts what arrives in order, says what was lost, what was silence and what
//!   came twice, and keeps the statistics of RFC 3550.
//! - [`carriage`]: what a payload type carries: its clock, and how long a payload lasts.
//! - [`event`]: telephone events (RFC 4733), each digit once.
//! - [`sender`]: sequence numbers, timestamps and the marker of what we send.
//!
//! Everything takes the time as an argument, allocates nothing after it was made, and never panics on what comes
//! from the network.
//!
//! # What it never does
//!
//! It plays nothing and mixes nothing: nobody hears this side, so a packet that is next in order goes on at once,
//! and only a missing one is waited for, briefly. It sends no RTCP: Asterisk's externalMedia neither sends nor
//! wants it.

use std::fmt;

pub mod carriage;
pub mod event;
pub mod packet;
pub mod sender;
pub mod stream;

/// A sequence number: counts packets, wraps at 65,536.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Seq(pub u16);

impl Seq {
    /// The number `count` packets later.
    #[must_use]
    pub const fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How many packets this one is after `earlier`, by the shorter way round: −32,768 to 32,767.
    #[must_use]
    pub const fn after(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// An RTP timestamp: counts units of the payload's clock ([`carriage::Carriage::clock_hz`]), wraps at 2³².
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamp(pub u32);

impl Timestamp {
    /// The timestamp `samples` units later.
    #[must_use]
    pub const fn plus(self, samples: u32) -> Self {
        Self(self.0.wrapping_add(samples))
    }

    /// How many units this one is after `earlier`, by the shorter way round.
    #[must_use]
    pub const fn after(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A synchronisation source: names one stream; a new one means that the far end started anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A payload type, 0 to 127.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PayloadType(u8);

impl PayloadType {
    /// µ-law (RFC 3551).
    pub const PCMU: Self = Self(0);
    /// A-law (RFC 3551).
    pub const PCMA: Self = Self(8);
    /// Comfort noise (RFC 3389).
    pub const COMFORT_NOISE: Self = Self(13);
    /// Telephone events (RFC 4733) where Asterisk puts them unless told otherwise.
    pub const EVENTS: Self = Self(101);

    /// A payload type; [`None`] above 127.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 128 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}
