//! Days, hours and the zone that they are meant in.

use serde::Deserialize;

use crate::time::WallTime;

/// A day of the week, 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(u8);

impl Day {
    /// The day before.
    #[must_use]
    pub fn yesterday(self) -> Self {
        Self((self.0 + 6) % 7)
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days of the week: `mon-fri`, `sat,sun`, `fri-mon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Days([bool; 7]);

impl Days {
    /// Whether `day` is one of them.
    #[must_use]
    pub fn contains(&self, day: Day) -> bool {
        self.0[usize::from(day.0) % 7]
    }
}

impl TryFrom<String> for Days {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let day = |name: &str| DAYS.iter().position(|day| name.trim().eq_ignore_ascii_case(day));
        let mut days = [false; 7];
        let parse = |days: &mut [bool; 7]| {
            for part in text.split(',') {
                let (first, last) = match part.split_once('-') {
                    Some((first, last)) => (day(first)?, day(last)?),
                    None => (day(part)?, day(part)?),
                };
                // A range may go over the weekend.
                let length = (last + 7 - first) % 7;
                (0..=length).for_each(|step| days[(first + step) % 7] = true);
            }
            Some(())
        };
        match parse(&mut days) {
            Some(()) => Ok(Self(days)),
            None => Err(format!("`{text}` are no days: write \"mon-fri\" or \"sat,sun\"")),
        }
    }
}

/// A time of day, from one minute to before another: `08:00-18:00`, `22:00-06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hours {
    from: u16,
    until: u16,
}

impl Hours {
    /// Whether a minute of the day is in it.
    #[must_use]
    pub fn contains(&self, minute: u16) -> bool {
        if self.is_overnight() {
            minute >= self.from || minute < self.until
        } else {
            (self.from..self.until).contains(&minute)
        }
    }

    /// Whether it goes over midnight.
    #[must_use]
    pub fn is_overnight(&self) -> bool {
        self.from > self.until
    }

    /// The minute of the day at which it is over.
    #[must_use]
    pub fn until(&self) -> u16 {
        self.until
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let minute = |clock: &str| {
            let (hour, minute) = clock.trim().split_once(':')?;
            let fine = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            if !fine(hour) || !fine(minute) {
                return None;
            }
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            let all = hour * 60 + minute;
            (minute < 60 && all <= 24 * 60).then_some(all)
        };
        let parse = || {
            let (from, until) = text.split_once('-')?;
            let hours = Self { from: minute(from)?, until: minute(until)? };
            (hours.from != hours.until && hours.from < 24 * 60).then_some(hours)
        };
        parse().ok_or_else(|| {
            format!("`{text}` is no time of day: write \"08:00-18:00\", or \"22:00-06:00\" for a night")
        })
    }
}

/// A time zone by its name; the machine's own where none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(Option<jiff::tz::TimeZone>);

impl Zone {
    /// The day of the week and the minute of the day there.
    #[must_use]
    pub fn at(&self, now: WallTime) -> (Day, u16) {
        let zone = self.0.clone().unwrap_or_else(jiff::tz::TimeZone::system);
        let there = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default().to_zoned(zone);
        let day = there.weekday().to_monday_zero_offset().unsigned_abs();
        let minute = u16::from(there.hour().unsigned_abs()) * 60 + u16::from(there.minute().unsigned_abs());
        (Day(day), minute)
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        jiff::tz::TimeZone::get(&text).map(|zone| Self(Some(zone))).map_err(|_| {
            format!("`{text}` is no time zone that this machine knows: write one as \"Europe/Berlin\", and install tzdata if it has none")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_read_as_people_write_them() {
        let days = |text: &str| {
            Days::try_from(text.to_owned()).map(|days| days.0.iter().filter(|day| **day).count())
        };
        assert_eq!(days("mon-fri"), Ok(5));
        assert_eq!(days("Sat, Sun"), Ok(2));
        assert_eq!(days("fri-mon"), Ok(4));
        assert!(days("").is_err() && days("mon-").is_err());
        let hours = |text: &str| Hours::try_from(text.to_owned());
        assert!(hours("00:00-24:00").unwrap().contains(1_439));
        assert!(!hours("08:00-18:00").unwrap().contains(18 * 60));
        for wrong in ["8-18", "08:00-08:00", "08:00-24:01", "08:60-09:00", "24:00-01:00", "+8:00-09:00"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
