//! Keys into answers. Deciding code: the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use super::listen::KeyPlan;
use crate::time::Moment;

/// No answer has more keys than this; what is typed beyond is dropped.
pub const MOST: usize = 64;

/// Tells a key that two ways report from a key that was pressed twice: over AudioSocket and WebSocket Asterisk tells of a
/// key in the stream and by an event of ARI, in either order, and over RTP by the event alone.
#[derive(Debug, Default)]
pub struct KeyMatcher {
    /// Keys that one way has reported and the other has not.
    alone: VecDeque<(char, bool, Moment)>,
}

/// Both reports of a key come within this.
const SAME_KEY: Duration = Duration::from_secs(1);

impl KeyMatcher {
    /// Whether a key, reported at `at` by the stream or by ARI, is not one that the other way has reported already.
    pub fn is_new(&mut self, key: char, by_stream: bool, at: Moment) -> bool {
        self.alone.retain(|(_, _, reported)| at.since(*reported) < SAME_KEY);
        let known = self.alone.iter().position(|(k, stream, _)| *k == key && *stream != by_stream);
        match known {
            Some(known) => {
                self.alone.remove(known);
            }
            None => {
                self.alone.truncate(MOST - 1);
                self.alone.push_back((key, by_stream, at));
            }
        }
        known.is_none()
    }
}

/// Collects the keys of one answer.
#[derive(Debug)]
pub struct Collector {
    plan: KeyPlan,
    keys: String,
    last: Option<Moment>,
}

impl Collector {
    /// A collector for `plan` with nothing in it.
    #[must_use]
    pub fn new(plan: KeyPlan) -> Self {
        Self { plan, keys: String::new(), last: None }
    }

    /// Whether a key is an answer here.
    #[must_use]
    pub fn wants_keys(&self) -> bool {
        self.plan != KeyPlan::Ignore
    }

    /// Whether no key has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Takes a key that came at `now`; gives the answer when it is complete.
    pub fn push(&mut self, now: Moment, key: char) -> Option<String> {
        match self.plan {
            KeyPlan::Ignore => None,
            KeyPlan::One => Some(key.to_string()),
            KeyPlan::Digits { max, terminator, .. } => {
                self.last = Some(now);
                if terminator == Some(key) {
                    return Some(std::mem::take(&mut self.keys));
                }
                self.keys.push(key);
                (self.keys.len() >= max.min(MOST)).then(|| std::mem::take(&mut self.keys))
            }
        }
    }

    /// When the answer is complete if no other key comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.plan {
            KeyPlan::Digits { inter_digit, .. } => Some(self.last? + inter_digit),
            _ => None,
        }
    }

    /// Gives what was collected when its [`deadline`](Self::deadline) has passed.
    pub fn expire(&mut self, now: Moment) -> Option<String> {
        (now >= self.deadline()?).then(|| {
            self.last = None;
            std::mem::take(&mut self.keys)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_told_by_two_ways_counts_once_and_one_pressed_twice_twice() {
        let at = |ms: u64| Moment::from_millis(5_000 + ms);
        let mut matcher = KeyMatcher::default();
        let mut new = |key, by_stream, ms| matcher.is_new(key, by_stream, at(ms));
        assert!(new('5', true, 0) && !new('5', false, 2), "the stream first");
        assert!(new('5', false, 100) && !new('5', true, 101), "ARI first");
        assert!(new('7', true, 200) && new('7', true, 300), "pressed twice");
        assert!(!new('7', false, 310) && !new('7', false, 311));
        assert!(new('9', false, 400) && new('9', false, 2_000), "told by one way alone");
        assert!(new('9', true, 4_000), "what was long ago is another key");
    }

    fn number(min: usize, max: usize) -> Collector {
        let inter_digit = Duration::from_secs(3);
        Collector::new(KeyPlan::Digits { min, max, terminator: Some('#'), inter_digit })
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_number_of_fixed_length_is_complete_with_its_last_key() {
        let mut keys = number(4, 4);
        assert_eq!("407".chars().find_map(|k| keys.push(at(1), k)), None);
        assert_eq!(keys.push(at(2), '2'), Some("4072".into()));
    }

    #[test]
    fn the_terminator_ends_a_number_and_is_no_part_of_it() {
        let mut keys = number(1, 8);
        keys.push(at(1), '4');
        assert_eq!(keys.push(at(2), '#'), Some("4".into()));
    }

    #[test]
    fn a_number_ends_when_no_key_follows() {
        let mut keys = number(1, 8);
        assert_eq!(keys.deadline(), None, "the first key is waited for by the no-input clock");
        keys.push(at(1), '4');
        keys.push(at(3), '2');
        assert_eq!(keys.deadline(), Some(at(6)));
        assert_eq!(keys.expire(at(5)), None);
        assert_eq!(keys.expire(at(6)), Some("42".into()));
    }

    #[test]
    fn one_key_is_an_answer_where_one_is_asked_for() {
        assert_eq!(Collector::new(KeyPlan::One).push(at(1), '7'), Some("7".into()));
        assert_eq!(Collector::new(KeyPlan::Ignore).push(at(1), '7'), None);
    }

    #[test]
    fn nobody_can_type_without_end() {
        let mut keys = number(1, usize::MAX);
        let complete = (0..1_000).find_map(|_| keys.push(at(1), '1')).expect("complete at the limit");
        assert_eq!(complete.len(), MOST);
    }
}
