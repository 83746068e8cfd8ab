//! May this number be called now, and if not, when next. Pure: the time is an argument.
//!
//! The window of a campaign is in the called party's own time. Where several zones are possible (a country with several,
//! and a number that does not say in which) it has to be open in all of them; where none is known nobody is called.
//!
//! A zone's clock is a straight line between two changes of its offset. So the question is asked within such a stretch,
//! where local time is without gaps and without repetition, and then in the next one: changes to summer time, and zones
//! that leap over a day, need no rule of their own.

use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::time::WallTime;

/// How far ahead a next opening is looked for: a campaign that is closed for longer is closed.
const HORIZON_DAYS: i64 = 400;

/// When people may be called, on the clock where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours {
    /// From Monday; the spans of a day in order, apart from each other.
    days: [Vec<Span>; 7],
    holidays: Vec<Holiday>,
}

/// A part of a day, in minutes from midnight; the last one is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    from: u16,
    to: u16,
}

/// A day on which nobody is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holiday {
    /// This one.
    Once(Date),
    /// Each year: month and day.
    Yearly(i8, i8),
}

/// Where somebody may be: one zone, or each that is possible.
#[derive(Debug, Clone)]
pub struct Zone(Arc<[TimeZone]>);

impl Span {
    /// Reads `09:00-12:30`; the end may be `24:00`.
    ///
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn read(text: &str) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            if minute.len() != 2 || hour.is_empty() || hour.len() > 2 {
                return None;
            }
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            let all = hour * 60 + minute;
            (minute < 60 && all <= 24 * 60).then_some(all)
        };
        let span = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        match span {
            Some((from, to)) if from < to => Ok(Self { from, to }),
            Some(_) => Err(format!(
                "`{text}` ends before it begins: write what goes over midnight as two spans, \"22:00-24:00\" on the one day and \"00:00-02:00\" on the next"
            )),
            None => Err(format!("`{text}` is no span of hours: write it as \"09:00-18:00\"")),
        }
    }
}

impl Holiday {
    /// Reads `2026-12-25`, or `12-25` for each year.
    ///
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn read(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no date: write \"2026-12-25\", or \"12-25\" for every year");
        if let Ok(date) = text.parse::<Date>() {
            return Ok(Self::Once(date));
        }
        let (month, day) = text.split_once('-').ok_or_else(bad)?;
        let (month, day) = (month.parse().map_err(|_| bad())?, day.parse().map_err(|_| bad())?);
        // In a leap year, so that 29 February is a date.
        Date::new(2028, month, day).map_err(|_| bad())?;
        Ok(Self::Yearly(month, day))
    }

    fn is(self, date: Date) -> bool {
        match self {
            Self::Once(day) => day == date,
            Self::Yearly(month, day) => date.month() == month && date.day() == day,
        }
    }
}

impl Zone {
    /// The zone of this name in the system's time zone database, as `Europe/Berlin`; [`None`] when it has none. Reads its
    /// file the first time.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // Names like `UTC+3` or offsets are no places.
        let zone = TimeZone::get(name).ok()?;
        Some(Self(Arc::from([zone])))
    }

    /// All of these; [`None`] when there are none, or the database lacks one of them.
    #[must_use]
    pub fn all<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let zones: Option<Vec<_>> = names.into_iter().map(|name| TimeZone::get(name).ok()).collect();
        zones.filter(|zones| !zones.is_empty()).map(|zones| Self(zones.into()))
    }

    /// The hour of the day there, 0 to 23; in the first of the zones that are possible.
    #[must_use]
    pub fn hour(&self, at: WallTime) -> u32 {
        let there = self.0.first().map(|zone| zone.to_datetime(timestamp(at)).hour());
        u32::from(there.unwrap_or(0).unsigned_abs())
    }

    /// When the day that it is there began: where several zones are possible, the earliest of them.
    #[must_use]
    pub fn midnight(&self, now: WallTime) -> WallTime {
        let starts = self.0.iter().filter_map(|zone| {
            let day = timestamp(now).to_zoned(zone.clone()).start_of_day().ok()?;
            Some(day.timestamp().as_millisecond())
        });
        WallTime(starts.min().unwrap_or(now.0))
    }

    /// When the next day begins there: where several zones are possible, the last of them.
    #[must_use]
    pub fn next_midnight(&self, now: WallTime) -> WallTime {
        let starts = self.0.iter().filter_map(|zone| {
            let here = timestamp(now).to_zoned(zone.clone());
            let day = here.tomorrow().ok()?.start_of_day().ok()?;
            Some(day.timestamp().as_millisecond())
        });
        // Whoever has no tomorrow waits a day.
        WallTime(starts.max().unwrap_or(now.0 + 86_400_000))
    }
}

impl Hours {
    /// Makes hours of the spans of each day, from Monday on.
    ///
    /// # Errors
    /// A sentence, when spans of a day overlap or no day has any.
    pub fn new(mut days: [Vec<Span>; 7], holidays: Vec<Holiday>) -> Result<Self, String> {
        const NAMES: [&str; 7] =
            ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        for (day, name) in days.iter_mut().zip(NAMES) {
            day.sort_unstable();
            if day.windows(2).any(|pair| pair[0].to > pair[1].from) {
                return Err(format!("the spans of {name} under [hours] overlap: write them as one"));
            }
        }
        if days.iter().all(Vec::is_empty) {
            return Err(
                "[hours] has no span on any day: write for example `weekdays = [\"09:00-18:00\"]`".into()
            );
        }
        Ok(Self { days, holidays })
    }

    /// Whether somebody there may be called at this time.
    #[must_use]
    pub fn is_open(&self, zone: &Zone, now: WallTime) -> bool {
        let now = timestamp(now);
        zone.0.iter().all(|zone| self.is_open_at(zone.to_datetime(now)))
    }

    /// The first moment from `now` on at which somebody there may be called: `now` itself when he may be. [`None`] when
    /// there is none in the next 400 days.
    #[must_use]
    pub fn next_open(&self, zone: &Zone, now: WallTime) -> Option<WallTime> {
        let start = timestamp(now);
        let last = start.checked_add(SignedDuration::from_hours(24 * HORIZON_DAYS)).ok()?;
        let mut at = start;
        // Each zone moves it on to where it is open itself; when none does any more, all are.
        loop {
            let before = at;
            for zone in zone.0.iter() {
                at = self.next_in(zone, at, last)?;
            }
            if at == before {
                return Some(WallTime(at.as_millisecond()));
            }
        }
    }

    /// When the window closes that is open there now; [`None`] when it is not open. Never later than 400 days.
    #[must_use]
    pub fn closes(&self, zone: &Zone, now: WallTime) -> Option<WallTime> {
        if !self.is_open(zone, now) {
            return None;
        }
        let now = timestamp(now);
        let ends = zone.0.iter().filter_map(|zone| self.end_in(zone, now));
        ends.min().map(|at| WallTime(at.as_millisecond()))
    }

    fn is_open_at(&self, local: DateTime) -> bool {
        let minute = minute_of(local.time());
        self.spans(local.date()).iter().any(|span| (span.from..span.to).contains(&minute))
    }

    fn spans(&self, date: Date) -> &[Span] {
        if self.holidays.iter().any(|holiday| holiday.is(date)) {
            return &[];
        }
        &self.days[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
    }

    fn next_in(&self, zone: &TimeZone, from: Timestamp, last: Timestamp) -> Option<Timestamp> {
        let mut at = from;
        while at <= last {
            let offset = zone.to_offset(at);
            let change = zone.following(at).next().map(|change| change.timestamp());
            let until = change.unwrap_or(last).min(last);
            let (local, end) = (offset.to_datetime(at), offset.to_datetime(until));
            let found = self.next_local(local, end).and_then(|local| offset.to_timestamp(local).ok());
            match found {
                Some(found) if found < until || (found == until && change.is_none()) => return Some(found),
                _ if until >= last => return None,
                _ => at = until,
            }
        }
        None
    }

    /// The next open local time from `local` to `end`, where the clock runs straight.
    fn next_local(&self, local: DateTime, end: DateTime) -> Option<DateTime> {
        if self.is_open_at(local) {
            return Some(local);
        }
        let mut date = local.date();
        let minute = minute_of(local.time());
        while date <= end.date() {
            let from = if date == local.date() { Some(minute) } else { None };
            let span = self.spans(date).iter().find(|span| from.is_none_or(|minute| span.from > minute));
            if let Some(span) = span {
                return Some(date.to_datetime(time_of(span.from)));
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn end_in(&self, zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
        let mut at = from;
        // A window goes on over midnight where the next day begins open: at most so many days on end.
        for _ in 0..HORIZON_DAYS {
            let offset = zone.to_offset(at);
            let local = offset.to_datetime(at);
            let minute = minute_of(local.time());
            let span = self.spans(local.date()).iter().find(|span| (span.from..span.to).contains(&minute));
            let Some(span) = span else { return Some(at) };
            let end = if span.to == 24 * 60 {
                local.date().tomorrow().ok()?.to_datetime(Time::midnight())
            } else {
                local.date().to_datetime(time_of(span.to))
            };
            let end = offset.to_timestamp(end).ok()?;
            let change = zone.following(at).next().map(|change| change.timestamp());
            at = change.map_or(end, |change| change.min(end));
        }
        Some(at)
    }
}

/// The minute of the day.
fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

/// The time of a day at which its minute begins; `minute` is below 1,440.
fn time_of(minute: u16) -> Time {
    let part = |value: u16| i8::try_from(value).unwrap_or(0);
    Time::new(part(minute / 60), part(minute % 60), 0, 0).unwrap_or(Time::midnight())
}

fn timestamp(at: WallTime) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or_default()
}

#[cfg(test)]
mod tests;
