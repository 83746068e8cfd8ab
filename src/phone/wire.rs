//! Packets of the phone: their size, their level, their pace.

use crate::audio::{FRAME_SAMPLES, PTIME};
use crate::rtp::packet::HEADER_LEN;
use crate::time::Moment;

/// Samples in a packet of 20 ms.
pub(super) const PACKET: usize = FRAME_SAMPLES;

/// The longest packet that the phone sends: 12 bytes of header, 20 ms of PCMU.
pub(super) const MAX_PACKET: usize = HEADER_LEN + PACKET;

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
            self.next = self.next + PTIME;
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_loud_milliseconds_make_a_packet_voiced() {
        let mut samples = [0; PACKET];
        assert!(!is_voiced(&samples, rms_of_dbfs(-45.0)));
        samples[80..].fill(400);
        assert!(is_voiced(&samples, rms_of_dbfs(-45.0)));
        assert!(!is_voiced(&samples, rms_of_dbfs(-36.0)));
    }

    #[test]
    fn a_process_that_slept_does_not_burst() {
        let mut pace = Pace { next: Moment::from_millis(20) };
        assert_eq!(pace.due(Moment::from_millis(19)), 0);
        assert_eq!(pace.due(Moment::from_millis(20)), 1);
        assert_eq!(pace.due(Moment::from_millis(105)), 4);
        assert_eq!(pace.next, Moment::from_millis(120));
    }
}
