//! RTP and µ-law as far as the phone needs them on the wire.

use crate::time::Moment;

/// Samples in a packet of 20 ms.
pub(super) const PACKET: usize = 160;

/// The longest packet that the phone sends: 12 bytes of header, 20 ms of PCMU.
pub(super) const MAX_PACKET: usize = 12 + PACKET;

/// A received RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rtp<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// Reads a datagram; [`None`] when it is no RTP of version 2 (RFC 3550 section 5.1).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        // RTCP on the same port has packet types 192 to 223 where RTP has its marker and payload type.
        if head[0] >> 6 != 2 || (192..=223).contains(&head[1]) {
            return None;
        }
        let mut payload = rest.get(usize::from(head[0] & 15) * 4..)?;
        if head[0] & 0x10 != 0 {
            let (extension, _) = payload.split_first_chunk::<4>()?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            payload = payload.get(4 + usize::from(words) * 4..)?;
        }
        if head[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Self {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            seq: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload,
        })
    }

    /// Writes the packet into `buffer` and gives its length. The payload has at most [`PACKET`] bytes.
    pub fn write(&self, buffer: &mut [u8; MAX_PACKET]) -> usize {
        let length = 12 + self.payload.len().min(PACKET);
        buffer[0] = 0x80;
        buffer[1] = self.payload_type & 0x7f | if self.marker { 0x80 } else { 0 };
        buffer[2..4].copy_from_slice(&self.seq.to_be_bytes());
        buffer[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        buffer[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        buffer[12..length].copy_from_slice(&self.payload[..length - 12]);
        length
    }
}

/// One µ-law byte to a sample (G.711).
pub(super) fn from_ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 15) << 3) + 0x84) << ((byte >> 4) & 7);
    if byte & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude }
}

/// A sample to one µ-law byte (G.711).
pub(super) fn to_ulaw(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs().min(32_635) + 0x84;
    // 0x84 has its highest bit in place 7: segment 0.
    let segment = (15 - magnitude.leading_zeros()).saturating_sub(7);
    let mantissa = (magnitude >> (segment + 3)) & 15;
    #[expect(clippy::cast_possible_truncation, reason = "segment has 3 bits, mantissa 4")]
    let byte = (segment << 4) as u8 | mantissa as u8;
    !(byte | if sample < 0 { 0x80 } else { 0 })
}

/// Whether any 10 ms of a packet are louder than `threshold`, a root mean square of samples.
pub(super) fn is_voiced(samples: &[i16], threshold: f32) -> bool {
    samples.chunks(80).any(|part| {
        let energy: f32 = part.iter().map(|s| f32::from(*s) * f32::from(*s)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 80")]
        let mean = energy / part.len() as f32;
        mean > threshold * threshold
    })
}

/// A level in dB below full scale as the root mean square of samples.
pub(super) fn rms_of_dbfs(dbfs: f32) -> f32 {
    32_768.0 * 10_f32.powf(dbfs / 20.0)
}

/// The absolute clock of the packets of one call: every 20 ms, and no burst after a pause of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub next: Moment,
}

impl Pace {
    /// How many packets are due at `now`; the clock moves on by as many. All but one of them are late and skipped.
    pub fn due(&mut self, now: Moment) -> u32 {
        let mut due = 0;
        while self.next <= now {
            self.next = self.next + crate::audio::PTIME;
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ulaw_hits_its_known_points() {
        assert_eq!((to_ulaw(0), from_ulaw(0xff)), (0xff, 0));
        assert_eq!((to_ulaw(32_767), from_ulaw(0x80)), (0x80, 32_124));
        assert_eq!((to_ulaw(-32_768), from_ulaw(0x00)), (0x00, -32_124));
        for byte in 0..=255 {
            // 0x7f is the negative zero.
            let back = to_ulaw(from_ulaw(byte));
            assert!(back == byte || byte == 0x7f, "{byte:02x} came back as {back:02x}");
        }
    }

    #[test]
    fn a_packet_reads_back() {
        let payload = [7; PACKET];
        let packet = Rtp {
            marker: true,
            payload_type: 101,
            seq: 65_535,
            timestamp: 1 << 31,
            ssrc: 9,
            payload: &payload,
        };
        let mut buffer = [0; MAX_PACKET];
        let length = packet.write(&mut buffer);
        assert_eq!(Rtp::parse(&buffer[..length]), Some(packet));
    }

    #[test]
    fn a_process_that_slept_does_not_burst() {
        let mut pace = Pace { next: Moment::from_millis(20) };
        assert_eq!(pace.due(Moment::from_millis(19)), 0);
        assert_eq!(pace.due(Moment::from_millis(20)), 1);
        assert_eq!(pace.due(Moment::from_millis(105)), 4);
        assert_eq!(pace.next, Moment::from_millis(120));
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Rtp::parse(&bytes);
        }
    }
}
