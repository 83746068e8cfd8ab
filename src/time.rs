//! Time as data.
//!
//! Deciding code takes a [`Moment`] as an argument and reads no clock; whoever owns a clock (a media thread, the
//! engine, the command line) calls [`Moment::now`] once and passes it down. The same code then runs live, in a
//! benchmark and in a simulation.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the monotonic clock, in nanoseconds since the machine booted (`CLOCK_MONOTONIC`).
///
/// Moments of two processes on one machine are on the same axis, so a load generator and the engine can be
/// compared. They mean nothing on another machine or after a reboot: what is stored uses [`WallTime`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// The origin of the axis; the natural start of a simulation.
    pub const ZERO: Self = Self(0);

    /// Reads the clock. Only rooms that own a clock call this. Any thread; no allocation.
    #[must_use]
    pub fn now() -> Self {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self(t.tv_sec.cast_unsigned() * 1_000_000_000 + t.tv_nsec.cast_unsigned())
    }

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Signed milliseconds from `other` to this moment.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "differences of days stay exact in an f64")]
    pub fn millis_from(self, other: Self) -> f64 {
        if self >= other { (self.0 - other.0) as f64 / 1e6 } else { -((other.0 - self.0) as f64 / 1e6) }
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// A point in civil time: milliseconds since 1970-01-01 UTC, as stored and shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Reads the wall clock. Any thread.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl WallTime {
    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default()
    }

    /// The same point on the clock of the wall here: the machine's time zone, or UTC where it has none. May read the
    /// zone's file; not for media threads.
    #[must_use]
    pub fn local(self) -> LocalTime {
        let there = self.timestamp().to_zoned(jiff::tz::TimeZone::system());
        let weekday = match there.weekday() {
            jiff::civil::Weekday::Monday => "monday",
            jiff::civil::Weekday::Tuesday => "tuesday",
            jiff::civil::Weekday::Wednesday => "wednesday",
            jiff::civil::Weekday::Thursday => "thursday",
            jiff::civil::Weekday::Friday => "friday",
            jiff::civil::Weekday::Saturday => "saturday",
            jiff::civil::Weekday::Sunday => "sunday",
        };
        LocalTime { hour: there.hour().unsigned_abs(), minute: there.minute().unsigned_abs(), weekday }
    }

    /// The day that it is here, counted from 1 January 1970. As [`local`](Self::local).
    #[must_use]
    pub fn local_day(self) -> i64 {
        let date = self.timestamp().to_zoned(jiff::tz::TimeZone::system()).date();
        i64::from((date - jiff::civil::date(1970, 1, 1)).get_days())
    }
}

impl fmt::Display for WallTime {
    /// ISO 8601 in UTC to the millisecond: `2026-11-20T22:57:03.120Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.timestamp().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    }
}

/// What the clock of the wall says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// `monday` to `sunday`.
    pub weekday: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_never_goes_below_the_origin() {
        assert_eq!(Moment::from_millis(5) - Duration::from_millis(9), Moment::ZERO);
        assert_eq!(Moment::ZERO.since(Moment::from_millis(3)), Duration::ZERO);
        assert!((Moment::ZERO.millis_from(Moment::from_millis(3)) + 3.0).abs() < 1e-9);
    }

    #[test]
    fn wall_time_prints_as_iso_8601() {
        assert_eq!(WallTime(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(WallTime(1_795_215_423_000).to_string(), "2026-11-20T22:57:03.000Z");
    }
}
