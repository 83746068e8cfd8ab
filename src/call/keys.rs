//! Keys into answers. Deciding code: the time is an argument.

use super::listen::KeyPlan;
use crate::time::Moment;

/// No answer has more keys than this; what is typed beyond is dropped.
pub const MOST: usize = 64;

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
    use std::time::Duration;

    use super::*;

    fn number(max: usize) -> Collector {
        let inter_digit = Duration::from_secs(3);
        Collector::new(KeyPlan::Digits { max, terminator: Some('#'), inter_digit })
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_number_of_fixed_length_is_complete_with_its_last_key() {
        let mut keys = number(4);
        assert_eq!("407".chars().find_map(|k| keys.push(at(1), k)), None);
        assert_eq!(keys.push(at(2), '2'), Some("4072".into()));
    }

    #[test]
    fn the_terminator_ends_a_number_and_is_no_part_of_it() {
        let mut keys = number(8);
        keys.push(at(1), '4');
        assert_eq!(keys.push(at(2), '#'), Some("4".into()));
    }

    #[test]
    fn a_number_ends_when_no_key_follows() {
        let mut keys = number(8);
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
        let mut keys = number(usize::MAX);
        let complete = (0..1_000).find_map(|_| keys.push(at(1), '1')).expect("complete at the limit");
        assert_eq!(complete.len(), MOST);
    }
}
