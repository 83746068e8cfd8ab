//! Whether a new call is taken: how many there are, how fast they come, and how much the engine has to do.
//!
//! Deciding code: the time, the calls and the load are arguments. Who is refused goes on in the dialplan before anything was
//! made for him, with the reason in `OFFHOOK_REFUSED`; calls that are up are not touched.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::config::EngineSection;
use crate::time::Moment;

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refused {
    /// As many calls are up as the engine, or the server that it came from, may have.
    Capacity,
    /// Calls come faster than they are allowed to.
    Rate,
    /// The calls that are up take all that the machine has.
    Load,
    /// The engine, or the server, is to have no more calls.
    Draining,
    /// No bot of the configuration is meant.
    Bot,
    /// The server lacks what the bots' audio takes.
    Media,
}

impl Refused {
    /// Every reason, in the order of what counts them.
    pub const ALL: [Self; 6] =
        [Self::Capacity, Self::Rate, Self::Load, Self::Draining, Self::Bot, Self::Media];

    /// What the dialplan reads in `OFFHOOK_REFUSED`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Rate => "rate",
            Self::Load => "load",
            Self::Draining => "draining",
            Self::Bot => "bot",
            Self::Media => "media",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Capacity => {
                "as many calls are up as `max_calls` under [engine], or `capacity` under [asterisk], allows"
            }
            Self::Rate => "calls come faster than `max_calls_per_second` under [engine] allows",
            Self::Load => {
                "the engine has too much to do (`max_late_percent` and `max_waiting` under [engine])"
            }
            Self::Draining => "no more calls are taken",
            Self::Bot => {
                "its Stasis() names no bot of the configuration, and there is no default under [engine]"
            }
            Self::Media => "its server lacks what the bots' audio takes; the log says what",
        })
    }
}

/// What the engine had to do in the last second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Load {
    /// The share of audio ticks that were missed since a media thread woke too late, in percent.
    pub late_percent: f64,
    /// Utterances that wait for a decoder.
    pub waiting: usize,
}

/// What there is, and what there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Calls up on the server that a call comes from.
    pub calls: usize,
    /// As many as it may have.
    pub capacity: usize,
}

/// Decides who is let in. One per engine.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    calls: usize,
    rate: Option<Bucket>,
    gauge: Gauge,
    refused: [u64; Refused::ALL.len()],
}

impl Admission {
    /// With the limits of a configuration.
    #[must_use]
    pub fn new(limits: &EngineSection) -> Self {
        let rate = (limits.max_calls_per_second > 0.0).then(|| {
            let burst = match limits.burst {
                0 => (limits.max_calls_per_second * 2.0).max(1.0),
                some => f64::from(some),
            };
            Bucket { per_second: limits.max_calls_per_second, most: burst, left: burst, at: None }
        });
        let gauge = Gauge {
            late_percent: limits.max_late_percent,
            waiting: limits.max_waiting,
            load: Load::default(),
            over: false,
            looks: 0,
        };
        Self { most: limits.max_calls, calls: 0, rate, gauge, refused: [0; Refused::ALL.len()] }
    }

    /// Asks for one more call, and counts it.
    ///
    /// # Errors
    /// Why it is not taken; that is counted, too.
    pub fn ask(&mut self, now: Moment, room: Room) -> Result<(), Refused> {
        let answer = self.look(room).and_then(|()| if self.pace(now) { Ok(()) } else { Err(Refused::Rate) });
        match answer {
            Ok(()) => self.enter(),
            Err(why) => self.refuse(why),
        }
        answer
    }

    /// Whether one more call would be taken, but for the rate; nothing is counted.
    ///
    /// # Errors
    /// Why not.
    pub fn look(&self, room: Room) -> Result<(), Refused> {
        if self.calls >= self.most || room.calls >= room.capacity {
            return Err(Refused::Capacity);
        }
        if self.gauge.over { Err(Refused::Load) } else { Ok(()) }
    }

    /// Whether calls do not come too fast for one more, which is counted as one that came.
    pub fn pace(&mut self, now: Moment) -> bool {
        self.rate.as_mut().is_none_or(|bucket| bucket.take(now))
    }

    /// Counts a call that nobody asks about: one that we make, or that another process had.
    pub fn enter(&mut self) {
        self.calls += 1;
    }

    /// Counts one that is over.
    pub fn leave(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    /// Counts one that is refused for a reason that is none of ours.
    pub fn refuse(&mut self, why: Refused) {
        let index = Refused::ALL.iter().position(|other| *other == why).unwrap_or(0);
        self.refused[index] += 1;
    }

    /// What the engine had to do in the last second; true when that changes who is let in.
    pub fn measured(&mut self, load: Load) -> bool {
        self.gauge.look(load)
    }

    /// Calls that are up.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Calls that may be up.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// The last look at the load, and whether it is too much.
    #[must_use]
    pub const fn load(&self) -> (Load, bool) {
        (self.gauge.load, self.gauge.over)
    }

    /// How many calls were refused for each reason.
    pub fn refused(&self) -> impl Iterator<Item = (Refused, u64)> {
        Refused::ALL.into_iter().zip(self.refused)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    most: f64,
    left: f64,
    at: Option<Moment>,
}

impl Bucket {
    fn take(&mut self, now: Moment) -> bool {
        let since = self.at.map_or(Duration::ZERO, |at| now.since(at));
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.left = (self.left + since.as_secs_f64() * self.per_second).min(self.most);
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

/// Too much in two looks in a row closes the door; five in a row with less than half of that open it again, so that it does
/// not swing with every call that ends.
#[derive(Debug)]
struct Gauge {
    late_percent: f64,
    waiting: usize,
    load: Load,
    over: bool,
    looks: u32,
}

impl Gauge {
    const TO_CLOSE: u32 = 2;
    const TO_OPEN: u32 = 5;

    fn look(&mut self, load: Load) -> bool {
        self.load = load;
        let (late, waiting) = (self.late_percent, self.waiting);
        let too_much = (late > 0.0 && load.late_percent > late) || (waiting > 0 && load.waiting > waiting);
        let calm =
            (late <= 0.0 || load.late_percent <= late / 2.0) && (waiting == 0 || load.waiting <= waiting / 2);
        let (turns, needed) = if self.over { (calm, Self::TO_OPEN) } else { (too_much, Self::TO_CLOSE) };
        self.looks = if turns { self.looks + 1 } else { 0 };
        let turn = self.looks >= needed;
        if turn {
            self.over = !self.over;
            self.looks = 0;
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { calls: 0, capacity: 1_000 };

    fn admission(change: impl FnOnce(&mut EngineSection)) -> Admission {
        let mut limits = EngineSection::default();
        change(&mut limits);
        Admission::new(&limits)
    }

    #[test]
    fn as_many_calls_as_allowed_are_taken_and_not_one_more() {
        let mut admission = admission(|limits| limits.max_calls = 3);
        let now = Moment::ZERO;
        assert!((0..3).all(|_| admission.ask(now, ROOM).is_ok()));
        assert_eq!(admission.ask(now, ROOM), Err(Refused::Capacity));
        admission.leave();
        assert_eq!(admission.ask(now, Room { calls: 7, capacity: 7 }), Err(Refused::Capacity));
        assert_eq!(admission.ask(now, Room { calls: 6, capacity: 7 }), Ok(()));
        assert_eq!(admission.refused().next(), Some((Refused::Capacity, 2)));
    }

    #[test]
    fn calls_that_come_too_fast_are_refused_and_a_burst_is_not() {
        let mut admission = admission(|limits| (limits.max_calls_per_second, limits.burst) = (10.0, 5));
        let at = Moment::from_millis;
        assert!((0..5).all(|_| admission.ask(at(1_000), ROOM).is_ok()), "a burst");
        assert_eq!(admission.ask(at(1_000), ROOM), Err(Refused::Rate));
        assert_eq!(admission.ask(at(1_099), ROOM), Err(Refused::Rate));
        assert_eq!(admission.ask(at(1_100), ROOM), Ok(()), "a tenth of a second is a call");
        assert_eq!(admission.ask(at(500), ROOM), Err(Refused::Rate), "time does not go back");
        // Over a minute it is the rate, whatever comes.
        let mut taken = 0;
        for ms in 0..60_000 {
            if admission.ask(at(10_000 + ms), ROOM).is_ok() {
                admission.leave();
                taken += 1;
            }
        }
        assert!((600..=605).contains(&taken), "{taken}");
    }

    #[test]
    fn load_closes_the_door_after_two_looks_and_five_calm_ones_open_it() {
        let mut admission = admission(|limits| (limits.max_late_percent, limits.max_waiting) = (4.0, 10));
        let late = |late_percent| Load { late_percent, waiting: 0 };
        assert!(!admission.measured(late(50.0)), "one bad second is none");
        assert!(!admission.measured(late(0.0)));
        assert!(!admission.measured(late(4.1)));
        assert!(admission.measured(Load { late_percent: 0.0, waiting: 11 }));
        assert_eq!(admission.ask(Moment::ZERO, ROOM), Err(Refused::Load));
        for _ in 0..20 {
            assert!(!admission.measured(late(3.0)), "less than the limit is not calm yet");
        }
        assert!((0..4).all(|_| !admission.measured(late(2.0))));
        assert!(admission.measured(late(0.0)));
        assert_eq!(admission.ask(Moment::ZERO, ROOM), Ok(()));
    }

    #[test]
    fn without_limits_no_load_is_too_much() {
        let mut admission = admission(|_| {});
        assert!((0..10).all(|_| !admission.measured(Load { late_percent: 100.0, waiting: 1_000 })));
    }
}
