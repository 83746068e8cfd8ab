//! Whom to believe to be the far end of a call that has a port of its own.
//!
//! Asterisk says where its RTP for a call comes from. A NAT in between may rewrite that, so a call on its own port learns
//! the address from what arrives: at once from the address that Asterisk named, otherwise from three RTP packets of one
//! source in a row, and never again after that. Until then nothing of a stranger is heard, and what we send goes to the
//! address that Asterisk named, which opens the way where the NAT is on our side.

use std::net::SocketAddr;

use crate::rtp::packet::Packet;
use crate::rtp::{Seq, Ssrc};

/// Packets in a row that make a stranger the far end.
const PROOF: u8 = 3;

/// The rule for one call. No I/O, no clock.
#[derive(Debug, Clone)]
pub(in crate::media) struct Latch {
    /// Where to send.
    peer: SocketAddr,
    locked: bool,
    candidate: Option<Candidate>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    from: SocketAddr,
    ssrc: Ssrc,
    last: Seq,
    seen: u8,
}

impl Latch {
    /// `named` is the address that Asterisk gave.
    pub(in crate::media) const fn new(named: SocketAddr) -> Self {
        Self { peer: named, locked: false, candidate: None }
    }

    /// Where to send to.
    pub(in crate::media) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether a datagram is the far end's.
    pub(in crate::media) fn admits(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.locked {
            return from == self.peer;
        }
        let Ok(Packet { header, .. }) = Packet::parse(datagram) else { return false };
        if from == self.peer {
            self.locked = true;
            return true;
        }
        let candidate = match self.candidate {
            Some(known)
                if known.from == from && known.ssrc == header.ssrc && header.seq.after(known.last) == 1 =>
            {
                Candidate { last: header.seq, seen: known.seen + 1, ..known }
            }
            _ => Candidate { from, ssrc: header.ssrc, last: header.seq, seen: 1 },
        };
        self.candidate = Some(candidate);
        if candidate.seen >= PROOF {
            self.peer = from;
            self.locked = true;
        }
        self.locked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::Header;
    use crate::rtp::{PayloadType, Timestamp};

    fn packet(seq: u16, ssrc: u32) -> [u8; 12] {
        let header = Header {
            marker: false,
            payload_type: PayloadType::PCMU,
            seq: Seq(seq),
            timestamp: Timestamp(0),
            ssrc: Ssrc(ssrc),
        };
        header.to_bytes()
    }

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn the_address_that_asterisk_named_is_believed_at_once_and_for_good() {
        let mut latch = Latch::new(address(1));
        assert!(latch.admits(address(1), &packet(1, 7)));
        for seq in 0..10 {
            assert!(!latch.admits(address(2), &packet(seq, 7)));
        }
        assert_eq!(latch.peer(), address(1));
    }

    #[test]
    fn behind_a_nat_three_packets_in_a_row_show_the_address() {
        let mut latch = Latch::new(address(1));
        assert!(!latch.admits(address(2), &packet(u16::MAX, 7)));
        assert!(!latch.admits(address(2), &packet(0, 7)));
        assert_eq!(latch.peer(), address(1), "we send where Asterisk said meanwhile");
        assert!(latch.admits(address(2), &packet(1, 7)));
        assert_eq!(latch.peer(), address(2));
        assert!(!latch.admits(address(1), &packet(2, 7)), "it is locked");
        assert!(latch.admits(address(2), b"anything: the stream tells what it is"));
    }

    #[test]
    fn what_is_no_stream_of_rtp_proves_nothing() {
        let mut latch = Latch::new(address(1));
        for seq in 0..20 {
            assert!(!latch.admits(address(2), b"hello"));
            assert!(!latch.admits(address(2), &packet(seq * 5, 7)), "not in a row");
            assert!(!latch.admits(address(3), &packet(seq, u32::from(seq))), "another source each time");
        }
        assert_eq!(latch.peer(), address(1));
    }
}
