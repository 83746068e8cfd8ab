//! Asterisk's way to write a time.

use serde::{Deserialize, Deserializer};

use crate::time::WallTime;

/// A time as Asterisk writes it (`2026-11-20T22:57:03.120+0100`), on our axis. `None` inside when it could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamp(pub Option<WallTime>);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // A time that cannot be read is no reason to lose the event that it came with.
        Ok(Self(serde_json::Value::deserialize(from)?.as_str().and_then(parse)))
    }
}

/// Reads ISO 8601 with an optional fraction and an offset (`Z`, `+0100`, `+01:00`).
fn parse(text: &str) -> Option<WallTime> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(at);
    let [year, month, day] = numbers::<3>(date.splitn(3, '-'))?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers::<3>(clock.splitn(3, ':'))?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset(zone)?;
    Some(WallTime(seconds * 1_000 + millis))
}

/// The offset from UTC in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let [hours, minutes] = numbers::<2>([digits.get(..2)?, digits.get(2..4)?].into_iter())?;
    Some(sign * (hours * 60 + minutes) * 60)
}

/// Exactly `N` numbers of digits alone.
fn numbers<'a, const N: usize>(mut parts: impl Iterator<Item = &'a str>) -> Option<[i64; N]> {
    let mut found = [0; N];
    for slot in &mut found {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 4 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    Some(found)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: whole years, then a year that begins in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_zone_land_on_one_axis() {
        for text in [
            "2026-11-20T22:57:03.120+0000",
            "2026-11-20T23:57:03.12+01:00",
            "2026-11-20T17:27:03.1209-0530",
            "2026-11-20T22:57:03.120Z",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), "2026-11-20T22:57:03.120Z", "{text}");
        }
        assert_eq!(parse("2000-02-29T00:00:00.123Z"), Some(WallTime(951_782_400_123)));
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(WallTime(0)));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "T",
            "now",
            "2026-11-20",
            "2026-13-01T00:00:00Z",
            "2026-11-20T22:57Z",
            "2026-11-20T22:57:03.é+0000",
            "2026-11-20T22:57:03+0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
