//! How long a missing packet is worth waiting for.
//!
//! Waiting has a price: what came after the gap is held meanwhile. Not waiting has one too: a packet that was merely
//! overtaken is lost. Which is larger depends on what this call's packets do, so they are watched: for each gap, by
//! how much the missing packet was late after the first that overtook it, or that it never came within any time that might
//! be waited. The wait is the one that would have cost least over the gaps of the last half minute, older ones counting
//! less and less. On a call whose gaps are never filled, and on one without gaps, that is no wait at all.

use std::time::Duration;

use crate::time::Moment;

/// Lateness is told apart by this much.
const STEP: Duration = Duration::from_millis(5);

/// Steps of lateness that are told apart.
const STEPS: usize = 20;

/// What losing a packet costs, in packets held for a millisecond: as much as holding twenty-five packets for 80 ms. High, for a
/// bot loses little by hearing some words a moment later, except at the very end of a turn.
const PRICE_OF_LOSS: f32 = 2_000.0;

/// What happened counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(20);

/// What counts less than a fifth of one packet is forgotten: a single reordered packet after 46 s.
const FORGOTTEN: f32 = 0.2;

/// What a call's gaps were like. No allocation, no clock.
pub(super) struct Patience {
    /// Packets overtaken, by how late they were, in steps.
    filled: [f32; STEPS],
    /// Gaps that were not filled.
    never: f32,
    /// When all these were last aged.
    aged: Moment,
    wait: Duration,
    /// When the packets that justify the wait are forgotten, if no other comes.
    until: Moment,
}

impl Patience {
    /// The longest wait.
    pub(super) const MOST: Duration = Duration::from_millis(STEP.as_millis() as u64 * STEPS as u64);

    pub(super) const fn new() -> Self {
        Self {
            filled: [0.0; STEPS],
            never: 0.0,
            aged: Moment::ZERO,
            wait: Duration::ZERO,
            until: Moment::ZERO,
        }
    }

    /// How long a gap is waited for now.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        if now < self.until { self.wait } else { Duration::ZERO }
    }

    /// An overtaken packet came `lateness` after the first that overtook it. `given_up`: its gap had been counted as one that
    /// is not filled.
    pub(super) fn filled(&mut self, now: Moment, lateness: Duration, given_up: bool, ptime: Duration) {
        // What no permitted wait would have caught is no reason to wait.
        let Some(slot) =
            usize::try_from(lateness.as_micros() / STEP.as_micros()).ok().filter(|it| *it < STEPS)
        else {
            return;
        };
        self.age(now);
        if given_up {
            self.never = (self.never - 1.0).max(0.0);
        }
        self.filled[slot] += 1.0;
        self.choose(now, ptime);
    }

    /// A gap was given up.
    pub(super) fn given_up(&mut self, now: Moment, ptime: Duration) {
        self.age(now);
        self.never += 1.0;
        if !self.wait.is_zero() {
            self.choose(now, ptime);
        }
    }

    fn age(&mut self, now: Moment) {
        let halves = now.since(self.aged).as_secs_f32() / HALF_LIFE.as_secs_f32();
        self.aged = self.aged.max(now);
        // Between packets of one burst nothing changes.
        if halves > 0.001 {
            let share = (-halves).exp2();
            self.filled.iter_mut().for_each(|weight| *weight *= share);
            self.never *= share;
        }
    }

    /// The wait that would have cost least.
    fn choose(&mut self, now: Moment, ptime: Duration) {
        let weight: f32 = self.filled.iter().sum();
        self.wait = Duration::ZERO;
        if weight < FORGOTTEN {
            return;
        }
        let ptime = (ptime.as_secs_f32() * 1e3).max(5.0);
        // Not waiting loses all of them.
        let mut cheapest = weight * PRICE_OF_LOSS;
        // What the gaps cost that were filled within the wait, and the packets that were not.
        let (mut waited, mut late) = (0.0, weight);
        for (step, weight) in self.filled.iter().enumerate() {
            let wait = STEP * (step as u32 + 1);
            waited += weight * held(wait - STEP / 2, ptime);
            late = (late - weight).max(0.0);
            let cost = waited + (late + self.never) * held(wait, ptime) + late * PRICE_OF_LOSS;
            if cost < cheapest {
                cheapest = cost;
                // One step more, for what is a little later than what was seen.
                self.wait = (wait + STEP).min(Self::MOST);
            }
        }
        self.until = now + HALF_LIFE.mul_f32((weight / FORGOTTEN).log2().max(0.0));
    }
}

/// Packets times milliseconds that are held when a gap is waited for, a packet coming every `ptime` milliseconds.
fn held(wait: Duration, ptime: f32) -> f32 {
    let wait = wait.as_secs_f32() * 1e3;
    wait * (wait / ptime + 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTIME: Duration = Duration::from_millis(20);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn without_reordering_there_is_no_wait_however_much_is_lost() {
        let mut patience = Patience::new();
        for second in 0..100 {
            patience.given_up(at(second), PTIME);
            assert_eq!(patience.wait(at(second)), Duration::ZERO);
        }
    }

    #[test]
    fn one_reordered_packet_is_waited_for_until_it_is_forgotten() {
        let mut patience = Patience::new();
        patience.given_up(at(1), PTIME);
        patience.filled(at(1), ms(12), true, PTIME);
        assert_eq!(patience.wait(at(2)), ms(20));
        assert_eq!(patience.wait(at(46)), ms(20));
        assert_eq!(patience.wait(at(48)), Duration::ZERO);
    }

    #[test]
    fn rare_latecomers_are_not_waited_for() {
        let mut patience = Patience::new();
        for n in 0..1_000 {
            let late = if n % 100 == 0 { 92 } else { 7 };
            patience.filled(Moment::from_millis(n * 500), ms(late), false, PTIME);
        }
        // Of a hundred gaps ninety-nine are filled within ten: waiting for the last one as well costs nothing there.
        assert_eq!(patience.wait(at(500)), ms(100));
        // Where most gaps are loss, it costs all of them a wait.
        for n in 0..1_000 {
            patience.given_up(at(500) + ms(n * 20), PTIME);
        }
        assert_eq!(patience.wait(at(520)), ms(15));
    }

    #[test]
    fn where_nearly_everything_is_lost_nothing_is_waited_for() {
        let mut patience = Patience::new();
        patience.filled(at(0), ms(60), false, PTIME);
        assert_eq!(patience.wait(at(0)), ms(70));
        for _ in 0..40 {
            patience.given_up(at(1), PTIME);
        }
        assert_eq!(patience.wait(at(1)), Duration::ZERO);
    }

    #[test]
    fn what_comes_too_late_for_any_wait_changes_nothing() {
        let mut patience = Patience::new();
        patience.filled(at(0), Patience::MOST, true, PTIME);
        assert_eq!(patience.wait(at(0)), Duration::ZERO);
    }
}
