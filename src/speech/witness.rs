//! What a recogniser believes, as the witness of a [`TurnTaker`](crate::turn::TurnTaker): the one place where a hypothesis
//! becomes [`Words`], for calls and for the benchmark alike.

use super::Hypothesis;
use super::grammar::{Expects, Grammar, Progress};
use super::manners::Manners;
use crate::time::Moment;
use crate::turn::{Completeness, Question, Words};

/// What is asked with a grammar.
#[must_use]
pub fn question(grammar: &Grammar) -> Question {
    match grammar.expects() {
        Expects::YesNo => Question::YesNo,
        Expects::Digits { least, most } => Question::Digits { least, most },
        Expects::Menu => Question::Menu,
    }
}

/// What the recogniser said as it listened on: it has judged nothing yet, and a grammar finds itself in everything.
#[must_use]
pub fn partial(at: Moment, heard: &Hypothesis, grammar: &Grammar, manners: &Manners) -> Words {
    Words { settled: false, ..settled(at, Some(heard), grammar, manners) }
}

/// What it said at a pause, as if the caller were done; `heard` is [`None`] where nothing of the grammar was found in what
/// was heard until `at`.
#[must_use]
pub fn settled(at: Moment, heard: Option<&Hypothesis>, grammar: &Grammar, manners: &Manners) -> Words {
    let Some(heard) = heard else {
        return Words { at, completeness: Completeness::Foreign, settled: true, ..Words::default() };
    };
    let completeness = match grammar.progress(&heard.text) {
        Progress::Begun => Completeness::Incomplete,
        Progress::Complete => Completeness::Complete,
        Progress::Whole => Completeness::Whole,
        Progress::Foreign => Completeness::Foreign,
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
    use crate::speech::manners::ENGLISH;

    #[test]
    fn a_hypothesis_becomes_what_the_turn_taker_understands() {
        let phrases = [("sales [department]", "sales"), ("yes", "yes"), ("the end", "end")];
        let grammar = Grammar::from_phrases("desk", phrases).expect("right");
        let heard = |text: &str| Hypothesis {
            text: text.into(),
            meaning: grammar.interpret(text),
            confidence: 0.8,
            at: Moment::ZERO,
        };
        let of = |text: &str| settled(Moment::from_millis(5), Some(&heard(text)), &grammar, ENGLISH);
        assert_eq!(of("sales").completeness, Completeness::Complete);
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
}
