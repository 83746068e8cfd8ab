//! How this caller pauses: some speak in one breath, some think between words.

use std::time::Duration;

/// Pauses that are remembered.
const KEPT: usize = 8;

/// What is shorter belongs to a word: the closure of a "t" or a "k".
const SHORTEST: Duration = Duration::from_millis(150);

/// Numbers of which it is known how long their digits took.
const NUMBERS: u8 = 8;

/// No caller is taken to say a digit in less, in milliseconds.
const QUICKEST: u16 = 150;

/// The pauses that this caller made within what he said, what he said without one, and how long his digits are. 22 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// In milliseconds; the oldest is overwritten.
    pauses: [u16; KEPT],
    seen: u8,
    /// Utterances in a row without a pause.
    fluent: u8,
    /// There was one in the utterance under way.
    paused: bool,
    /// What a digit took him on average, in milliseconds, and in how many numbers, up to [`NUMBERS`].
    digit_ms: u16,
    numbers: u8,
}

impl Habits {
    /// He went on after a pause.
    pub fn paused(&mut self, pause: Duration) {
        if pause < SHORTEST {
            return;
        }
        self.pauses[usize::from(self.seen) % KEPT] = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
        // Beyond two rounds only the place in the round matters.
        self.seen = if usize::from(self.seen) == 2 * KEPT - 1 { KEPT as u8 } else { self.seen + 1 };
        self.paused = true;
        self.fluent = 0;
    }

    /// He said a number of so many digits, and took so long without his pauses.
    pub fn number(&mut self, digits: u8, spoken_ms: u16) {
        let each = (spoken_ms / u16::from(digits.max(1))).max(QUICKEST);
        self.numbers = (self.numbers + 1).min(NUMBERS);
        let by = (i32::from(each) - i32::from(self.digit_ms)) / i32::from(self.numbers);
        self.digit_ms = u16::try_from(i32::from(self.digit_ms) + by).unwrap_or(self.digit_ms);
    }

    /// What a digit takes him. [`None`] before he said a number.
    #[must_use]
    pub fn digit(&self) -> Option<Duration> {
        (self.numbers > 0).then(|| Duration::from_millis(u64::from(self.digit_ms)))
    }

    /// An utterance is over.
    pub fn utterance(&mut self) {
        if !std::mem::take(&mut self.paused) {
            self.fluent = self.fluent.saturating_add(1);
        }
    }

    /// A silence that few of his pauses reach: the longest but one of the last eight, and a tenth more. [`None`] before he
    /// paused twice.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        let known = usize::from(self.seen).min(KEPT);
        if known < 2 {
            return None;
        }
        let (mut first, mut second) = (0, 0);
        for pause in &self.pauses[..known] {
            if *pause > first {
                (first, second) = (*pause, first);
            } else {
                second = second.max(*pause);
            }
        }
        Some(Duration::from_millis(u64::from(second) * 11 / 10))
    }

    /// He said the last three things without a pause.
    #[must_use]
    pub const fn is_fluent(&self) -> bool {
        self.fluent >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn his_longest_pause_but_one_is_expected_again() {
        let mut habits = Habits::default();
        habits.paused(ms(100));
        habits.paused(ms(400));
        assert_eq!(habits.pause(), None);
        for pause in [300, 700, 350] {
            habits.paused(ms(pause));
        }
        assert_eq!(habits.pause(), Some(ms(440)));
        for _ in 0..30 {
            habits.paused(ms(200));
        }
        assert_eq!(habits.pause(), Some(ms(220)), "what was long ago is forgotten");
    }

    #[test]
    fn his_digits_take_what_they_took_on_average() {
        let mut habits = Habits::default();
        assert_eq!(habits.digit(), None);
        habits.number(4, 2_000);
        assert_eq!(habits.digit(), Some(ms(500)));
        habits.number(1, 300);
        assert_eq!(habits.digit(), Some(ms(400)));
        habits.number(0, 0);
        assert!(habits.digit().is_some_and(|digit| digit < ms(400)));
    }

    #[test]
    fn three_answers_in_one_breath_are_a_habit_too() {
        let mut habits = Habits::default();
        habits.utterance();
        habits.utterance();
        assert!(!habits.is_fluent());
        habits.utterance();
        assert!(habits.is_fluent());
        habits.paused(ms(300));
        habits.utterance();
        assert!(!habits.is_fluent());
    }
}
