//! How long a silence the end of an utterance asks for: the sum of what the witnesses say.
//!
//! | witness | says |
//! |---|---|
//! | completeness | the base: one of the silences of [`Listening`] |
//! | question | digits that may be followed by more come in groups: half the base more |
//! | doubt | of words that are not sure: toward the silence for words unknown; of words that changed within this silence: 80 ms |
//! | ending | how the voice ended: a share of the base, see [`ENDINGS`] |
//! | habit | half of what this caller's usual pause is longer than the base; a tenth less for one who never pauses |
//!
//! The sum is at least the silence for whole answers, and at most the limit.

use std::time::Duration;

use super::contour::Close;
use super::evidence::{Completeness, Ending, Question, Reasons, Witness, Words};
use super::habits::Habits;
use super::settings::Listening;

/// What is known about a silence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Case {
    /// What was said, if it was recognised up to this silence.
    pub words: Option<Words>,
    /// The words have changed within this silence.
    pub changed: bool,
    /// How the voice ended.
    pub close: Close,
    /// What the caller has said so far, from its first sound to its last, in milliseconds.
    pub spoken_ms: u16,
    /// The same of what he said since his last pause.
    pub stretch_ms: u16,
    /// How far his voice lies above the noise, in dB.
    pub clear_db: i8,
    /// He has paused so often within this utterance.
    pub pauses: u8,
}

/// What an ending adds to the base, in percent, by what the words are.
struct Share {
    falls: i32,
    level: i32,
    rises: i32,
    held: i32,
}

/// [`Share`] for words unknown, incomplete, complete, foreign and whole.
const ENDINGS: [Share; 5] = [
    Share { falls: -10, level: 50, rises: 60, held: 70 },
    Share { falls: 0, level: 0, rises: 10, held: 20 },
    Share { falls: -15, level: 20, rises: 40, held: 60 },
    Share { falls: -30, level: 0, rises: 20, held: 30 },
    Share { falls: 0, level: 30, rises: 40, held: 60 },
];

/// What words add that have changed since the caller fell silent, in milliseconds.
const CHANGED: i32 = 80;

/// The most that habits add, in milliseconds.
const MOST_HABIT: i32 = 400;

impl Case {
    /// The silence that is asked for, and who decides if it comes to that.
    pub(super) fn judge(&self, how: &Listening, habits: &Habits) -> (Reasons, Witness) {
        let words = self.words.unwrap_or_default();
        let said = if words.ends_open && words.completeness != Completeness::Foreign {
            Completeness::Incomplete
        } else {
            words.completeness
        };
        let unknown = millis(how.silence);
        let base = self.base(how, said);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let confidence = (words.confidence * 100.0).clamp(0.0, 100.0) as u8;
        let mut doubt = 0;
        if said.answers() {
            let sure = i32::from(how.sure_percent.max(1));
            let lacking = (sure - i32::from(confidence)).max(0);
            doubt = (unknown - base).max(0) * lacking / sure;
            doubt += if self.changed { CHANGED } else { 0 };
        }
        let ending = if how.contour { base * self.share(said) / 100 } else { 0 };
        let habit = if how.habits && said != Completeness::Whole { habit(base, habits) } else { 0 };
        let sum = base + doubt + ending + habit;
        let (least, most) = (millis(how.silence_whole), millis(how.limit));
        let needed = sum.max(least).min(most);
        let witness = match said {
            // The fixed silence of a listening without witnesses is nobody's limit.
            _ if sum > most && most > unknown => Witness::Limit,
            Completeness::Whole => Witness::Whole,
            Completeness::Complete => Witness::Complete,
            Completeness::Incomplete => Witness::Incomplete,
            Completeness::Foreign => Witness::Foreign,
            Completeness::Unknown if ending < 0 => Witness::Prosody,
            Completeness::Unknown => Witness::Silence,
        };
        let reasons = Reasons {
            completeness: words.completeness,
            confidence_percent: confidence,
            ends_open: words.ends_open,
            ending: self.close.ending,
            needed_ms: u16::try_from(needed).unwrap_or(u16::MAX),
            base_ms: u16::try_from(base).unwrap_or(u16::MAX),
            ending_ms: short(ending),
            habit_ms: short(habit),
            doubt_ms: short(doubt),
        };
        (reasons, witness)
    }

    fn base(&self, how: &Listening, said: Completeness) -> i32 {
        let count = self.words.map_or(0, |words| words.count);
        let base = millis(match said {
            Completeness::Unknown => how.silence,
            Completeness::Incomplete => how.silence_incomplete,
            Completeness::Complete => how.silence_complete,
            Completeness::Whole => how.silence_whole,
            Completeness::Foreign => how.silence_foreign,
        });
        match (said, how.question) {
            (Completeness::Complete, Question::Digits { most, .. }) if count < u16::from(most) => {
                base * 3 / 2
            }
            _ => base,
        }
    }

    fn share(&self, said: Completeness) -> i32 {
        let share = match said {
            Completeness::Unknown => &ENDINGS[0],
            Completeness::Incomplete => &ENDINGS[1],
            Completeness::Complete => &ENDINGS[2],
            Completeness::Foreign => &ENDINGS[3],
            Completeness::Whole => &ENDINGS[4],
        };
        match self.close.ending {
            Ending::Unclear => 0,
            Ending::Falls => share.falls,
            Ending::Level => share.level,
            Ending::Rises => share.rises,
            Ending::Held => share.held,
        }
    }
}

fn habit(base: i32, habits: &Habits) -> i32 {
    match habits.pause() {
        Some(pause) if millis(pause) > base => ((millis(pause) - base) / 2).min(MOST_HABIT),
        _ if habits.is_fluent() => -base / 10,
        _ => 0,
    }
}

fn millis(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX / 4)
}

fn short(value: i32) -> i16 {
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(completeness: Completeness) -> Case {
        let words = Words { completeness, confidence: 0.9, count: 1, ..Words::default() };
        Case { words: Some(words), ..Case::default() }
    }

    fn needed(case: Case, how: Listening) -> u16 {
        case.judge(&how, &Habits::default()).0.needed_ms
    }

    #[test]
    fn the_more_an_answer_is_one_the_less_silence_it_needs() {
        let order = [
            Completeness::Whole,
            Completeness::Complete,
            Completeness::Unknown,
            Completeness::Foreign,
            Completeness::Incomplete,
        ];
        for how in [Listening::EAGER, Listening::BALANCED, Listening::PATIENT] {
            let silences = order.map(|completeness| needed(said(completeness), how));
            assert!(silences.is_sorted(), "{silences:?}");
            assert!(silences.iter().all(|silence| u128::from(*silence) <= how.limit.as_millis()));
        }
    }

    #[test]
    fn the_presets_scale_it() {
        for completeness in [Completeness::Whole, Completeness::Complete, Completeness::Incomplete] {
            let by = [Listening::EAGER, Listening::BALANCED, Listening::PATIENT]
                .map(|how| needed(said(completeness), how));
            assert!(by[0] < by[1] && by[1] < by[2], "{completeness:?}: {by:?}");
        }
    }

    #[test]
    fn a_fixed_silence_hears_no_witness() {
        let how = Listening {
            question: Question::Digits { least: 2, most: 4 },
            ..Listening::fixed(Duration::from_millis(640))
        };
        for completeness in [Completeness::Unknown, Completeness::Whole, Completeness::Complete] {
            for ending in [Ending::Falls, Ending::Held] {
                let case = Case { ending, changed: true, ..said(completeness) };
                assert_eq!(needed(case, how), 640);
            }
        }
        assert_eq!(said(Completeness::Unknown).judge(&how, &Habits::default()).1, Witness::Silence);
    }

    #[test]
    fn a_hypothesis_that_is_not_sure_is_believed_less() {
        let how = Listening::BALANCED;
        let unsure = |confidence| {
            let mut case = said(Completeness::Whole);
            case.words.as_mut().expect("it has words").confidence = confidence;
            needed(case, how)
        };
        assert_eq!(unsure(0.7), 140);
        assert!(unsure(0.3) > 300 && unsure(0.3) < 350, "{}", unsure(0.3));
        assert_eq!(unsure(0.0), 500);
        assert_eq!(needed(Case { changed: true, ..said(Completeness::Whole) }, how), 220);
    }

    #[test]
    fn a_voice_that_falls_ends_sooner_and_one_that_is_held_later() {
        let how = Listening::BALANCED;
        let of = |ending| Case { ending, ..Case::default() }.judge(&how, &Habits::default());
        assert_eq!(of(Ending::Unclear).0.needed_ms, 500);
        assert_eq!(of(Ending::Falls).0.needed_ms, 450);
        assert_eq!(of(Ending::Falls).1, Witness::Prosody);
        assert_eq!(of(Ending::Held).0.needed_ms, 850);
        assert_eq!(of(Ending::Held).1, Witness::Silence);
        assert_eq!(needed(Case { ending: Ending::Held, ..said(Completeness::Whole) }, how), 224);
    }

    #[test]
    fn a_caller_who_pauses_long_is_waited_for() {
        let mut habits = Habits::default();
        for _ in 0..3 {
            habits.paused(Duration::from_millis(700));
        }
        let (reasons, _) = Case::default().judge(&Listening::BALANCED, &habits);
        assert_eq!((reasons.base_ms, reasons.habit_ms, reasons.needed_ms), (500, 135, 635));
    }

    #[test]
    fn digits_that_may_go_on_are_waited_for_and_a_full_number_is_not() {
        let how = Listening { question: Question::Digits { least: 2, most: 4 }, ..Listening::BALANCED };
        let mut case = said(Completeness::Complete);
        assert_eq!(needed(case, how), 390);
        case.words.as_mut().expect("it has words").count = 4;
        assert_eq!(needed(case, how), 260);
    }

    #[test]
    fn a_sentence_that_ends_in_and_is_not_over() {
        let mut case = said(Completeness::Complete);
        case.words.as_mut().expect("it has words").ends_open = true;
        let (reasons, witness) = case.judge(&Listening::BALANCED, &Habits::default());
        assert_eq!((reasons.needed_ms, witness), (900, Witness::Incomplete));
        let how = Listening { silence_incomplete: Duration::from_secs(9), ..Listening::BALANCED };
        let (reasons, witness) = case.judge(&how, &Habits::default());
        assert_eq!((reasons.needed_ms, witness), (1_500, Witness::Limit));
    }
}
