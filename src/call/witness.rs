//! What a recogniser believes, as a witness of the turn taker's.

use super::Heard;
use crate::speech::Hypothesis;
use crate::speech::grammar::{Expects, Grammar, Progress};
use crate::speech::manners::Manners;
use crate::time::Moment;
use crate::turn::{Completeness, Question, Words};

/// What is asked with a grammar.
pub(super) fn question(grammar: &Grammar) -> Question {
    match grammar.expects() {
        Expects::YesNo => Question::YesNo,
        Expects::Digits { least, most } => Question::Digits { least, most },
        Expects::Menu => Question::Menu,
    }
}

/// The witness's statement; `heard` is [`None`] where nothing of the grammar was found in what was heard until `at`.
pub(super) fn words(at: Moment, heard: Option<&Hypothesis>, grammar: &Grammar, manners: &Manners) -> Words {
    let Some(heard) = heard else {
        return Words { at, completeness: Completeness::Foreign, ..Words::default() };
    };
    let completeness = match grammar.progress(&heard.text) {
        Progress::Begun => Completeness::Incomplete,
        Progress::Complete => Completeness::Complete,
        Progress::Whole => Completeness::Whole,
        Progress::Foreign => Completeness::Foreign,
    };
    Words {
        at,
        completeness,
        confidence: heard.confidence,
        count: u16::try_from(heard.text.split_whitespace().count()).unwrap_or(u16::MAX),
        text: hash(&heard.text),
        ends_open: manners.ends_open(&heard.text),
        backchannel: manners.is_backchannel(&heard.text),
    }
}

/// The answer that a hypothesis is; [`None`] while it is no sentence.
pub(super) fn answer(heard: &Hypothesis) -> Option<Heard> {
    Some(Heard::Words {
        text: heard.text.clone(),
        meaning: heard.meaning.clone()?,
        confidence: heard.confidence,
    })
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::manners::ENGLISH;

    #[test]
    fn a_hypothesis_becomes_what_the_turn_taker_understands() {
        let phrases = [("sales [department]", "sales"), ("yes", "yes"), ("the end", "end")];
        let grammar = Grammar::from_phrases("desk", phrases).expect("right");
        let of = |text: &str| {
            let heard = Hypothesis {
                text: text.into(),
                meaning: grammar.interpret(text),
                confidence: 0.8,
                at: Moment::ZERO,
            };
            words(Moment::from_millis(5), Some(&heard), &grammar, ENGLISH)
        };
        assert_eq!(of("sales").completeness, Completeness::Complete);
        assert_eq!(of("sales department").completeness, Completeness::Whole);
        assert_eq!((of("sales department").count, of("sales").at), (2, Moment::from_millis(5)));
        assert_ne!(of("sales").text, of("sales department").text);
        assert!(of("the").ends_open && of("the").completeness == Completeness::Incomplete);
        assert!(of("yes").backchannel && !of("sales").backchannel);
        assert_eq!(words(Moment::ZERO, None, &grammar, ENGLISH).completeness, Completeness::Foreign);
        assert_eq!(question(&grammar), Question::Menu);
    }
}
