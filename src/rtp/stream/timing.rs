//! When packets come against when they should: jitter, age, and timestamps that leap.

use std::time::Duration;

use crate::rtp::Timestamp;
use crate::time::Moment;

/// What its arrival tells about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Timing {
    /// How much longer it was on its way than the quickest packets of late.
    pub(super) age: Duration,
    /// It is from a backlog that is too old to be heard.
    pub(super) stale: bool,
}

/// Follows one source's timestamps. No allocation, no clock.
pub(super) struct Timeline {
    clock_hz: u32,
    /// The latest timestamp seen, and the units since the first one.
    latest: Option<(Timestamp, i64)>,
    /// The last packet of audio: when it came and how long it was on its way, in nanoseconds by a clock of its own.
    last: Option<(Moment, i64)>,
    /// The quickest of this window and of the one before it.
    quickest: [i64; 2],
    window_ends: Moment,
    /// The last packet was too old to be heard.
    stale: bool,
    /// Sixteen times the jitter in nanoseconds, as RFC 3550, appendix A.8, keeps it.
    jitter_x16: u64,
}

/// The quickest packet of one to two of these is what others are measured by: short enough that drift is nothing.
const WINDOW: Duration = Duration::from_secs(5);

/// Timestamps that run ahead of time by more, or go back by more, are another clock's. Less may be a source that begins at
/// the end of a blackout, and packets in the wrong order.
pub(super) const LEAP: Duration = Duration::from_secs(3);

/// A difference of more is a restart and no jitter.
const NO_JITTER: u64 = 1_000_000_000;

impl Timeline {
    /// Audio from a backlog that is older than this is not heard.
    pub(super) const STALE: Duration = Duration::from_millis(1_500);

    pub(super) const fn new() -> Self {
        Self {
            clock_hz: 8_000,
            latest: None,
            last: None,
            quickest: [i64::MAX; 2],
            window_ends: Moment::ZERO,
            stale: false,
            jitter_x16: 0,
        }
    }

    /// A new source: its clock has nothing to do with the old one's. Jitter is the path's, and stays.
    pub(super) const fn restart(&mut self) {
        let jitter_x16 = self.jitter_x16;
        *self = Self { jitter_x16, ..Self::new() };
    }

    pub(super) const fn jitter(&self) -> Duration {
        Duration::from_nanos(self.jitter_x16 / 16)
    }

    /// A packet of audio arrived that is not older than what is awaited, with `length` of audio.
    pub(super) fn arrived(
        &mut self,
        now: Moment,
        timestamp: Timestamp,
        clock_hz: u32,
        length: Duration,
    ) -> Timing {
        if clock_hz != self.clock_hz {
            self.restart();
            self.clock_hz = clock_hz;
        }
        let went_back = self.went_back(timestamp);
        let transit = self.transit(now, timestamp);
        let Some((before, last_transit)) = self.last.replace((now, transit)) else {
            self.quickest = [transit; 2];
            self.window_ends = now + WINDOW;
            return Timing::default();
        };
        let difference = transit.abs_diff(last_transit);
        if difference < NO_JITTER {
            self.jitter_x16 = self.jitter_x16 + difference - ((self.jitter_x16 + 8) >> 4);
        }
        let quickest = self.quickest[0].min(self.quickest[1]);
        if went_back || transit < quickest.saturating_sub(LEAP.as_nanos() as i64) {
            self.rebase(now, transit, timestamp);
            return Timing::default();
        }
        let age = Duration::from_nanos(u64::try_from(transit.saturating_sub(quickest)).unwrap_or(0));
        if age > Self::STALE {
            // A backlog comes faster than it was spoken. What comes at the pace of speech is no backlog: the far end's
            // clock stood still, or the path is longer now.
            let backlog = !self.stale || now.since(before) < length / 2;
            self.stale = backlog;
            if backlog {
                return Timing { age, stale: true };
            }
            self.rebase(now, transit, timestamp);
            return Timing::default();
        }
        self.stale = false;
        if now >= self.window_ends {
            self.quickest = [transit, self.quickest[0]];
            self.window_ends = now + WINDOW;
        }
        self.quickest[0] = self.quickest[0].min(transit);
        Timing { age, stale: false }
    }

    /// From now on this packet is the quickest.
    fn rebase(&mut self, now: Moment, transit: i64, timestamp: Timestamp) {
        if let Some((latest, units)) = &mut self.latest {
            *units += i64::from(timestamp.after(*latest));
            *latest = timestamp;
        }
        self.quickest = [transit; 2];
        self.window_ends = now + WINDOW;
        self.stale = false;
    }

    /// The timestamp is further back than packets come in the wrong order: a new count has begun.
    fn went_back(&self, timestamp: Timestamp) -> bool {
        self.latest.is_some_and(|(latest, _)| i64::from(timestamp.after(latest)) < -leap(self.clock_hz))
    }

    /// How long a packet was on its way, but for a constant.
    fn transit(&mut self, now: Moment, timestamp: Timestamp) -> i64 {
        let units = match self.latest {
            None => 0,
            Some((latest, units)) => units + i64::from(timestamp.after(latest)),
        };
        if self.latest.is_none_or(|(latest, _)| timestamp.after(latest) > 0) {
            self.latest = Some((timestamp, units));
        }
        let spoken = i128::from(units) * 1_000_000_000 / i128::from(self.clock_hz.max(1));
        i64::try_from(i128::from(now.as_nanos()) - spoken).unwrap_or(i64::MAX)
    }
}

/// [`LEAP`] in units of a clock.
pub(super) fn leap(clock_hz: u32) -> i64 {
    i64::from(clock_hz) * LEAP.as_secs().cast_signed()
}
