//! Predictive pacing: how many calls may ring so that people are not idle and callers do not meet nobody.

use std::time::Duration;

/// The people who take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct People {
    /// Those who are free.
    pub free: u32,
    /// Those who talk.
    pub busy: u32,
}

/// What has been measured of a campaign. Older calls count less and less: the last hundred or so make the figures.
#[derive(Debug, Clone)]
pub struct Measured {
    answer_rate: f64,
    ring_seconds: f64,
    handling_seconds: f64,
    rang: u32,
    handled: u32,
    /// Answered calls and those of them that met nobody, since the beginning.
    answered: u64,
    abandoned: u64,
    /// The same, of the last calls.
    lately: f64,
    lately_abandoned: f64,
}

/// The weight of the newest call, once enough have been seen.
const WEIGHT: f64 = 0.01;

/// Before so many calls have rung nothing is predicted.
const LEAST_RANG: u32 = 50;

/// Before so many have been handled nothing is predicted.
const LEAST_HANDLED: u32 = 10;

/// The share of the limit that is aimed at: what is left is for what nobody can foresee.
const AIM: f64 = 0.5;

/// At this share of the limit, over all calls or the last ones, prediction rests.
const REST: f64 = 0.8;

/// The most calls that are looked at at once.
const MOST: u32 = 2_000;

impl Default for Measured {
    fn default() -> Self {
        Self {
            answer_rate: 1.0,
            ring_seconds: 15.0,
            handling_seconds: 120.0,
            rang: 0,
            handled: 0,
            answered: 0,
            abandoned: 0,
            lately: 0.0,
            lately_abandoned: 0.0,
        }
    }
}

impl Measured {
    /// The share of calls that people answer.
    #[must_use]
    pub const fn answer_rate(&self) -> f64 {
        self.answer_rate
    }

    /// The share of answered calls that met nobody, over all of them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    pub fn abandoned(&self) -> f64 {
        if self.answered == 0 { 0.0 } else { self.abandoned as f64 / self.answered as f64 }
    }

    pub(super) fn rang(&mut self, rang: Duration, by_person: bool) {
        self.rang = self.rang.saturating_add(1);
        let weight = WEIGHT.max(1.0 / f64::from(self.rang));
        self.answer_rate += weight * (f64::from(u8::from(by_person)) - self.answer_rate);
        self.ring_seconds += weight * (rang.as_secs_f64() - self.ring_seconds);
    }

    pub(super) fn handled(&mut self, talked: Option<Duration>) {
        self.lately *= 1.0 - WEIGHT;
        self.lately_abandoned *= 1.0 - WEIGHT;
        self.lately += 1.0;
        self.answered += 1;
        match talked {
            Some(talked) => {
                self.handled = self.handled.saturating_add(1);
                let weight = WEIGHT.max(1.0 / f64::from(self.handled));
                self.handling_seconds += weight * (talked.as_secs_f64() - self.handling_seconds);
            }
            None => {
                self.abandoned += 1;
                self.lately_abandoned += 1.0;
            }
        }
    }

    /// How many calls may begin, beside `ringing` ones, that at most `limit` of those answered meet nobody.
    pub(super) fn to_dial(&self, people: &People, ringing: u32, limit: f64) -> u32 {
        let one_for_one = people.free.saturating_sub(ringing);
        if self.rang < LEAST_RANG || self.handled < LEAST_HANDLED || self.is_near(limit) {
            return one_for_one;
        }
        let (p, places) = (self.cautious_rate(), self.places(people));
        if places == 0 {
            return one_for_one;
        }
        // The more ring, the larger the share that meets nobody: the last number below the aim.
        let (mut low, mut high) = (ringing.max(places), MOST.max(ringing));
        if share_lost(low, p, places) > limit * AIM {
            return one_for_one;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if share_lost(middle, p, places) <= limit * AIM { low = middle } else { high = middle - 1 }
        }
        low.saturating_sub(ringing).max(one_for_one)
    }

    /// Whether so many have met nobody that it is time to be careful.
    fn is_near(&self, limit: f64) -> bool {
        // One that is lost among the first few is no share yet, and is one too many all the same.
        let lately = if self.lately < 20.0 {
            self.lately_abandoned / 20.0
        } else {
            self.lately_abandoned / self.lately
        };
        self.abandoned() > limit * REST && self.answered >= 20 || lately > limit
    }

    /// The answer rate, a little above what was measured: it is an estimate from some hundred calls.
    fn cautious_rate(&self) -> f64 {
        let seen = f64::from(self.rang.min(100));
        let p = self.answer_rate.clamp(0.01, 1.0);
        (p + (p * (1.0 - p) / seen).sqrt()).min(1.0)
    }

    /// How many people will be there when what rings now is answered: those who are free, and of those who talk the share
    /// that will have ended by then, without its luck.
    fn places(&self, people: &People) -> u32 {
        let busy = f64::from(people.busy);
        let share = 1.0 - (-(self.ring_seconds * 0.5) / self.handling_seconds.max(1.0)).exp();
        let mean = busy * share;
        let lucky = (mean * (1.0 - share)).sqrt();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to the number of people"
        )]
        let freed = (mean - lucky).max(0.0).floor() as u32;
        people.free + freed
    }
}

/// The share of the answered ones of `calls` that find more answered than there are `places`, when each is answered with
/// probability `p`: E[(X − places)⁺] / E[X] for a binomial X.
fn share_lost(calls: u32, p: f64, places: u32) -> f64 {
    if calls <= places {
        return 0.0;
    }
    let n = f64::from(calls);
    if p >= 1.0 {
        return (n - f64::from(places)) / n;
    }
    // From P(X = 0) on in logarithms, so that nothing underflows; E[(X − a)⁺] = E[X] − a + Σ_{k<a} (a − k) P(X = k).
    let (log_p, log_q) = (p.ln(), (1.0 - p).ln());
    let (mut log_term, mut below) = (n * log_q, 0.0);
    for k in 0..places {
        below += f64::from(places - k) * log_term.exp();
        let k = f64::from(k);
        log_term += ((n - k) / (k + 1.0)).ln() + log_p - log_q;
    }
    ((n * p - f64::from(places) + below) / (n * p)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_meets_nobody_is_that_of_the_binomial() {
        assert!(share_lost(5, 0.5, 5).abs() < 1e-12);
        // Two calls, one place: both answered in a quarter of all cases, of one answered on average.
        assert!((share_lost(2, 0.5, 1) - 0.25).abs() < 1e-12);
        assert!((share_lost(10, 1.0, 4) - 0.6).abs() < 1e-12);
        let shares: Vec<f64> = (10..200).map(|calls| share_lost(calls, 0.3, 10)).collect();
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
    }

    #[test]
    fn nothing_is_predicted_from_nothing() {
        let measured = Measured::default();
        assert_eq!(measured.to_dial(&People { free: 5, busy: 3 }, 2, 0.03), 3);
        assert_eq!(measured.to_dial(&People { free: 0, busy: 3 }, 0, 0.03), 0);
    }

    #[test]
    fn more_ring_than_people_are_free_where_few_answer_and_fewer_once_calls_are_lost() {
        let mut measured = Measured::default();
        for call in 0..1_000 {
            measured.rang(Duration::from_secs(12), call % 4 == 0);
        }
        for _ in 0..200 {
            measured.handled(Some(Duration::from_secs(90)));
        }
        let people = People { free: 10, busy: 20 };
        let many = measured.to_dial(&people, 0, 0.03);
        assert!((20..60).contains(&many), "{many}");
        for _ in 0..20 {
            measured.handled(None);
        }
        assert_eq!(measured.to_dial(&people, 0, 0.03), 10, "one for one, until it is below the limit again");
    }
}
