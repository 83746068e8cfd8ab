//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Doubles from 250 ms to 10 s, each wait shortened by up to half at random, so that many engines that lost the same
/// Asterisk do not come back in step.
#[derive(Debug, Default)]
pub(in crate::asterisk) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    /// No wait is longer, whatever happened.
    pub(in crate::asterisk) const LONGEST: Duration = Duration::from_secs(10);

    /// The next wait, at most `longest`; `random` is in 0..1.
    pub(in crate::asterisk) fn next(&mut self, longest: Duration, random: f64) -> Duration {
        let whole = Self::FIRST.saturating_mul(1 << self.attempts.min(6)).min(longest).min(Self::LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        whole.mul_f64(1.0 - 0.5 * random.clamp(0.0, 1.0))
    }

    /// Starts over.
    pub(in crate::asterisk) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_are_shortened_at_random() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(Backoff::LONGEST, 0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(backoff.next(Backoff::LONGEST, 1.0).as_millis(), 5_000);
        backoff.reset();
        assert_eq!(backoff.next(Backoff::LONGEST, 1.0).as_millis(), 125);
    }
}
