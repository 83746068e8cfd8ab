//! What we send: one stream of packets with numbers that go up.

use super::packet::Header;
use super::{PayloadType, Seq, Ssrc, Timestamp};

/// Numbers the packets of one stream. Allocates nothing, reads no clock.
#[derive(Debug, Clone)]
pub struct Sender {
    ssrc: Ssrc,
    payload_type: PayloadType,
    seq: Seq,
    timestamp: Timestamp,
    marker: bool,
}

impl Sender {
    /// A stream that begins anywhere, as RFC 3550 asks (section 5.1), so that it cannot be mistaken for an older
    /// one from the same port.
    #[must_use]
    pub fn new(payload_type: PayloadType) -> Self {
        Self::starting_at(
            payload_type,
            Ssrc(fastrand::u32(..)),
            Seq(fastrand::u16(..)),
            Timestamp(fastrand::u32(..)),
        )
    }

    /// A stream that begins at given numbers.
    #[must_use]
    pub const fn starting_at(payload_type: PayloadType, ssrc: Ssrc, seq: Seq, timestamp: Timestamp) -> Self {
        Self { ssrc, payload_type, seq, timestamp, marker: true }
    }

    /// The header of the next packet, which carries `samples` samples.
    pub fn next(&mut self, samples: u32) -> Header {
        let header = Header {
            marker: std::mem::take(&mut self.marker),
            payload_type: self.payload_type,
            seq: self.seq,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        self.seq = self.seq.plus(1);
        self.timestamp = self.timestamp.plus(samples);
        header
    }

    /// Nothing was sent for `ticks` times `samples` samples: the timestamp goes on, the sequence number does not, and
    /// the next packet carries the marker.
    pub fn skip(&mut self, ticks: u64, samples: u32) {
        if ticks > 0 {
            #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
            let jump = ticks.wrapping_mul(u64::from(samples)) as u32;
            self.timestamp = self.timestamp.plus(jump);
            self.marker = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_and_timestamp_go_up_and_wrap() {
        let mut sender =
            Sender::starting_at(PayloadType::PCMU, Ssrc(7), Seq(u16::MAX), Timestamp(u32::MAX - 159));
        let first = sender.next(160);
        let second = sender.next(160);
        assert_eq!(
            (first.marker, first.seq, first.timestamp),
            (true, Seq(u16::MAX), Timestamp(u32::MAX - 159))
        );
        assert_eq!((second.marker, second.seq, second.timestamp), (false, Seq(0), Timestamp(0)));
        assert_eq!(second.ssrc, Ssrc(7));
    }

    #[test]
    fn after_a_silence_the_timestamp_has_gone_on_and_the_marker_is_set() {
        let mut sender = Sender::starting_at(PayloadType::PCMU, Ssrc(7), Seq(1), Timestamp(0));
        sender.next(160);
        sender.skip(2, 160);
        let after = sender.next(160);
        assert_eq!((after.marker, after.seq, after.timestamp), (true, Seq(2), Timestamp(480)));
    }
}
