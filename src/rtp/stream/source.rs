//! One source: which packet it owes us next, and what the gaps between its timestamps mean.

use std::time::Duration;

use super::Piece;
use super::timing::leap;
use crate::rtp::{Seq, Ssrc, Timestamp};
use crate::time::Moment;

/// The stream at hand, from its first packet to the next source or restart.
pub(super) struct Source {
    pub(super) ssrc: Ssrc,
    /// The packet that is awaited.
    pub(super) next: Seq,
    /// Bit i: packet `next - 1 - i` came.
    pub(super) seen: u64,
    /// Where the audio so far ends, and of which clock that is.
    pub(super) audio_end: Option<(Timestamp, u32)>,
    /// When that audio arrived.
    pub(super) audio_at: Moment,
    /// Units in the last packet of audio.
    pub(super) packet_units: u32,
    /// How long it is.
    pub(super) ptime: Duration,
    /// Packets given up since the last audio.
    pub(super) missing: u32,
}

impl Source {
    /// What lies between the audio so far and `timestamp`, where a packet of `units` begins. Tells whether timestamps
    /// leapt there.
    pub(super) fn tell_gap(
        &mut self,
        arrived: Moment,
        timestamp: Timestamp,
        units: u32,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> bool {
        let missing = std::mem::take(&mut self.missing);
        let Some((end, clock_hz)) = self.audio_end else { return false };
        let forward = i64::from(timestamp.after(end));
        let passed = arrived.since(self.audio_at).as_millis() * u128::from(clock_hz) / 1_000;
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let leapt = forward < -leap(clock_hz) || forward > i64::from(passed) + leap(clock_hz);
        let gap = if leapt {
            // The timestamps tell nothing: what passed by our own clock does, less the audio that ended it.
            passed.saturating_sub(units)
        } else {
            u32::try_from(forward.max(0)).unwrap_or(0)
        };
        // The lost packets were as long as the one before them or the one after: they may have changed their length there.
        let lost = gap.min(missing.saturating_mul(self.packet_units.max(units)));
        if lost > 0 {
            out(Piece::Lost { samples: lost });
        }
        if gap > lost {
            out(Piece::Silence { samples: gap - lost });
        }
        self.audio_end = Some((if leapt { timestamp } else { end.plus(gap) }, clock_hz));
        self.audio_at = arrived;
        leapt
    }
}
