//! What a recogniser believes, as the witness of a [`TurnTaker`](crate::turn::TurnTaker): the one place where a hypothesis
//! becomes [`Words`], for calls and for the benchmark alike.

use super::grammar::{Expects, Progress};
use super::manners::Manners;
use super::{Expected, Hypothesis};
use crate::time::Moment;
use crate::turn::{Completeness, Question, Words};

/// What is asked.
#[must_use]
pub fn question(expected: &Expected) -> Question {
    match expected.grammar().map(|grammar| grammar.expects()) {
        Some(Expects::YesNo) => Question::YesNo,
        Some(Expects::Digits { least, most }) => Question::Digits { least, most },
        Some(Expects::Menu) => Question::Menu,
        None => Question::Open,
    }
}

/// What the recogniser said as it listened on: it has judged nothing yet, and a grammar finds itself in everything.
#[must_use]
pub fn partial(at: Moment, heard: &Hypothesis, expected: &Expected, manners: &Manners) -> Words {
    Words { settled: false, ..settled(at, Some(heard), expected, manners) }
}

/// What it said at a pause, as if the caller were done; `heard` is [`None`] where nothing of what is expected was found in what
/// was heard until `at`.
#[must_use]
pub fn settled(at: Moment, heard: Option<&Hypothesis>, expected: &Expected, manners: &Manners) -> Words {
    let Some(heard) = heard else {
        return Words { at, completeness: Completeness::Foreign, settled: true, ..Words::default() };
    };
    let completeness = match expected.grammar().map(|grammar| grammar.progress(&heard.text)) {
        Some(Progress::Begun) => Completeness::Incomplete,
        Some(Progress::Complete) => Completeness::Complete,
        Some(Progress::Settled) => Completeness::Settled,
        Some(Progress::Whole) => Completeness::Whole,
        Some(Progress::Foreign) => Completeness::Foreign,
        // Where anything may be said, words alone do not tell whether more is to come.
        None => Completeness::Unknown,
    };
    #[expect(clippy::cast_possible_truncation, reason = "it tells words apart")]
    Words {
        at,
        completeness,
        confidence: heard.confidence,
        count: u16::try_from(heard.text.split_whitespace().count()).unwrap_or(u16::MAX),
        text: fingerprint(&heard.text) as u32,
        ends_open: manners.ends_open(&heard.text),
        backchannel: manners.is_backchannel(&heard.text),
        settled: true,
        over_percent: 0,
    }
}

/// A number for a text, the same on every machine and in every version (FNV-1a).
#[must_use]
pub fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::grammar::Grammar;
    use crate::speech::manners::ENGLISH;

    #[test]
    fn a_hypothesis_becomes_what_the_turn_taker_understands() {
        let phrases = [("sales [department]", "sales"), ("yes", "yes"), ("the end", "end")];
        let grammar = Expected::Grammar(Grammar::from_phrases("desk", phrases).expect("right").into());
        let heard = |text: &str| Hypothesis {
            text: text.into(),
            meaning: grammar.interpret(text),
            confidence: 0.8,
            at: Moment::ZERO,
        };
        let of = |text: &str| settled(Moment::from_millis(5), Some(&heard(text)), &grammar, ENGLISH);
        assert_eq!(of("sales").completeness, Completeness::Settled);
        assert_eq!(of("sales department").completeness, Completeness::Whole);
        assert_eq!((of("sales department").count, of("sales").at), (2, Moment::from_millis(5)));
        assert_ne!(of("sales").text, of("sales department").text);
        assert!(of("the").ends_open && of("the").completeness == Completeness::Incomplete);
        assert!(of("yes").backchannel && !of("sales").backchannel);
        assert!(of("sales").settled);
        assert!(!partial(Moment::ZERO, &heard("sales"), &grammar, ENGLISH).settled);
        assert_eq!(settled(Moment::ZERO, None, &grammar, ENGLISH).completeness, Completeness::Foreign);
        assert_eq!(question(&grammar), Question::Menu);
    }

    #[test]
    fn where_anything_may_be_said_words_say_only_how_they_end() {
        let heard = |text: &str| Hypothesis {
            text: text.into(),
            meaning: Expected::Open.interpret(text),
            confidence: 0.8,
            at: Moment::ZERO,
        };
        let of = |text: &str| settled(Moment::ZERO, Some(&heard(text)), &Expected::Open, ENGLISH);
        assert_eq!(of("i would like to").completeness, Completeness::Unknown);
        assert!(of("i would like to").ends_open && !of("my card is lost").ends_open);
        assert_eq!(question(&Expected::Open), Question::Open);
        assert_eq!(heard("my card").meaning.as_deref(), Some("my card"));
        assert_eq!(heard(" ").meaning, None);
    }
}
