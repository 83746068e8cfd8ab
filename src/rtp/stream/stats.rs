//! The numbers of a stream.

use std::time::Duration;

/// What happened on a stream so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct StreamStats {
    /// Well-formed packets, whatever became of them.
    pub received: u64,
    /// Packets given up. One that comes after all is counted as late too.
    pub lost: u64,
    /// Packets that were never meant for us: Asterisk keeps the caller's telephone events to itself and leaves a hole
    /// in the sequence where they were. Told from loss by
    /// [`ReceiveStream::key_reported`](super::ReceiveStream::key_reported).
    pub keys: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that came a second time.
    pub duplicate: u64,
    /// Packets that came after a successor, yet in time.
    pub reordered: u64,
    /// Packets of a backlog that was too old to be heard.
    pub stale: u64,
    /// Packets of comfort noise.
    pub noise: u64,
    /// Times that a new synchronisation source took over.
    pub ssrc_changes: u64,
    /// Times that the sequence numbers jumped to somewhere else and stayed there.
    pub restarts: u64,
    /// Times that timestamps jumped to somewhere else while the sequence went on.
    pub leaps: u64,
    /// Packets of another source or far from where the sequence was that nothing followed. They are not heard.
    pub strays: u64,
    /// Packets of a payload type that we have no use for.
    pub other_payload: u64,
    /// Datagrams that were no RTP, or carried more than a packet of this format can.
    pub malformed: u64,
    /// Interarrival jitter (RFC 3550, section 6.4.1).
    pub jitter: Duration,
}
