//! How long a silence the end of an utterance asks for: the sum of what the witnesses say.
//!
//! | part | witnesses |
//! |---|---|
//! | base | how far the words are a sentence: one of the silences of [`Listening`]; what was asked, and whether one word is all of it |
//! | doubt | how sure the recogniser is and whether it has judged, digits said faster than people say them, the noise of the line |
//! | ending | how pitch and level went at the end, how long the last stretch of speech was |
//! | habit | how this caller has paused so far, and how much he has said |
//!
//! How much each weighs was found on the tuning half of the benchmark's corpus by `scripts/fit-turns`, and stands in
//! `weights`. The settings are the silences of an average ending: what the witnesses say there is taken off, so that they
//! make it shorter as often as longer.

use std::time::Duration;

use super::contour::Close;
use super::evidence::{Completeness, Ending, Question, Reasons, Witness, Words};
use super::habits::Habits;
use super::settings::Listening;
use super::weights::{AVERAGE, NO_WORDS, WORDS};

/// No silence is judged before this, in milliseconds: the closure of a consonant is that long.
const LEAST: f32 = 100.0;

/// What is known about a silence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Case {
    /// What was said, if it was recognised up to this silence.
    pub words: Option<Words>,
    /// The words have changed within this silence.
    pub changed: bool,
    /// How the voice ended.
    pub close: Close,
    /// What the caller has said so far, without his pauses, in milliseconds.
    pub spoken_ms: u16,
    /// The same of what he said since his last pause.
    pub stretch_ms: u16,
    /// How far his voice lies above the noise, in dB.
    pub clear_db: i8,
    /// He has paused so often within this utterance.
    pub pauses: u8,
}

/// Where the groups of witnesses begin in [`Case::witnesses`].
const COURSE: usize = 13;
const DOUBT: usize = 18;
const QUESTION: usize = 28;

/// What all witnesses say of a silence, from 0 to about 1 each.
pub(super) const WITNESSES: usize = 33;

/// The most that is added after a yes or a no because it was a yes or a no that was asked for, in milliseconds. The corpus says
/// 350: "please" often follows. But it changes nothing, and who answers in one word waits for nothing else.
const AFTER_YES_OR_NO: f32 = 60.0;

impl Case {
    /// The silence that is asked for, and who decides if it comes to that.
    pub(super) fn judge(&self, how: &Listening, habits: &Habits) -> (Reasons, Witness) {
        let words = self.words.unwrap_or_default();
        let said = self.said();
        let setting = millis(match said {
            Completeness::Unknown => how.silence,
            Completeness::Incomplete => how.silence_incomplete,
            Completeness::Complete => how.silence_complete,
            Completeness::Whole => how.silence_whole,
            Completeness::Foreign => how.silence_foreign,
        });
        let weights = if said == Completeness::Unknown { &NO_WORDS } else { &WORDS };
        let numbers = self.witnesses(said, how.question, habits);
        let sum = |from: usize, to: usize| -> f32 {
            numbers[from..to].iter().zip(&weights[from..to]).map(|(number, weight)| number * weight).sum()
        };
        let average = &AVERAGE[said as usize];
        let when = |heard: bool, sum: f32, average: f32| if heard { sum - average } else { 0.0 };
        let ending = when(how.contour, sum(0, COURSE), average[0]);
        let habit = when(how.habits, sum(COURSE, DOUBT), average[1]);
        let doubt = when(how.doubts, sum(DOUBT, QUESTION), average[2]);
        let asked = when(how.doubts, sum(QUESTION, WITNESSES), average[3]);
        let asked = if said == Completeness::Complete && how.question == Question::YesNo {
            asked.min(AFTER_YES_OR_NO)
        } else {
            asked
        };
        let base = setting + asked;
        let sum = base + doubt + ending + habit;
        let (unknown, most) = (millis(how.silence), millis(how.limit));
        let needed = sum.clamp(LEAST.min(most), most);
        let witness = match said {
            // The fixed silence of a listening without witnesses is nobody's limit.
            _ if sum > most && most > unknown => Witness::Limit,
            Completeness::Whole => Witness::Whole,
            Completeness::Complete => Witness::Complete,
            Completeness::Incomplete => Witness::Incomplete,
            Completeness::Foreign => Witness::Foreign,
            Completeness::Unknown if ending < 0.0 => Witness::Prosody,
            Completeness::Unknown => Witness::Silence,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, as it should"
        )]
        let reasons = Reasons {
            completeness: words.completeness,
            confidence_percent: (words.confidence * 100.0) as u8,
            ends_open: words.ends_open,
            ending: self.close.ending,
            needed_ms: needed.round() as u16,
            base_ms: base.round() as i16,
            ending_ms: ending.round() as i16,
            habit_ms: habit.round() as i16,
            doubt_ms: doubt.round() as i16,
        };
        (reasons, witness)
    }

    /// How far the words are a sentence; one that ends in "and" is not.
    fn said(&self) -> Completeness {
        let words = self.words.unwrap_or_default();
        if words.ends_open && words.completeness != Completeness::Foreign {
            Completeness::Incomplete
        } else {
            words.completeness
        }
    }

    /// What each witness says, in the order of `scripts/fit-turns`, which computes the same.
    fn witnesses(&self, said: Completeness, question: Question, habits: &Habits) -> [f32; WITNESSES] {
        let yes = |is: bool| f32::from(u8::from(is));
        let within = |value: i16, most: i16| f32::from(value.clamp(-most, most)) / f32::from(most);
        let words = self.words.unwrap_or_default();
        let (complete, whole) = (yes(said == Completeness::Complete), yes(said == Completeness::Whole));
        let answer = complete + whole;
        let begun = yes(said == Completeness::Incomplete);
        let other = begun + yes(said == Completeness::Foreign);
        let Close { ending, glide, away, fade } = self.close;
        let (falls, away) = (yes(ending == Ending::Falls), within(away, 600));
        let stretch = f32::from(self.stretch_ms.min(1_500)) / 1_000.0;
        let spoken = f32::from(self.spoken_ms.min(4_000)) / 1_000.0;
        let habit = habits.pause().map_or(0.0, |pause| pause.as_secs_f32().min(1.2));
        let clear = f32::from(self.clear_db.clamp(0, 35)) / 35.0;
        let (sure, settled) = (words.confidence, yes(words.settled));
        let one = answer * yes(words.count == 1);
        let (exact, some) = match question {
            Question::Digits { least, most } => (yes(least == most), yes(least != most)),
            _ => (0.0, 0.0),
        };
        // Digits take 300 ms each; what is much faster has some in it that nobody said.
        let each = f32::from(self.spoken_ms.max(60)) / f32::from(words.count.max(1)) / 300.0;
        let rate = each.ln().clamp(-1.2, 1.2) * (exact + some);
        let yes_no = yes(question == Question::YesNo);
        [
            falls,
            yes(ending == Ending::Rises),
            yes(ending == Ending::Held),
            yes(ending == Ending::Unclear),
            away,
            within(fade, 15),
            within(glide, 600),
            stretch,
            falls * complete,
            falls * other,
            away * complete,
            away * whole,
            stretch * complete,
            // The course of what he said.
            spoken,
            spoken * whole,
            f32::from(self.pauses.min(6)) / 6.0,
            habit,
            yes(habits.is_fluent()),
            // Doubt.
            clear,
            clear * whole,
            sure * begun,
            sure * complete,
            sure * whole,
            sure * one,
            answer * (1.0 - settled),
            other * (1.0 - settled),
            yes(self.changed),
            rate * answer,
            // The question.
            one,
            yes_no,
            exact,
            some,
            complete * yes_no,
        ]
    }
}

fn millis(span: Duration) -> f32 {
    span.as_secs_f32() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(completeness: Completeness) -> Case {
        let words = Words { completeness, confidence: 0.9, count: 4, settled: true, ..Words::default() };
        Case { words: Some(words), spoken_ms: 1_200, stretch_ms: 600, clear_db: 35, ..Case::default() }
    }

    fn needed(case: Case, how: Listening) -> u16 {
        case.judge(&how, &Habits::default()).0.needed_ms
    }

    fn with(case: Case, change: impl FnOnce(&mut Words)) -> Case {
        let mut words = case.words.expect("it has words");
        change(&mut words);
        Case { words: Some(words), ..case }
    }

    #[test]
    fn the_more_of_a_sentence_the_words_are_the_less_silence_is_needed() {
        let how = Listening { question: Question::Menu, ..Listening::BALANCED };
        let by = [Completeness::Whole, Completeness::Complete, Completeness::Incomplete]
            .map(|completeness| needed(said(completeness), how));
        assert!(by[0] < 450 && by[0] < by[1] && by[1] < by[2], "{by:?}");
        let unknown = Case { words: None, ..said(Completeness::Unknown) };
        assert!(needed(unknown, how) > 400);
    }

    #[test]
    fn who_is_patient_waits_longer_whatever_was_said() {
        for completeness in [
            Completeness::Unknown,
            Completeness::Whole,
            Completeness::Complete,
            Completeness::Incomplete,
            Completeness::Foreign,
        ] {
            let by = [Listening::EAGER, Listening::BALANCED, Listening::PATIENT]
                .map(|how| needed(said(completeness), how));
            assert!(by[0] <= by[1] && by[1] < by[2], "{completeness:?}: {by:?}");
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
                let close = Close { ending, away: 300, ..Close::default() };
                assert_eq!(needed(Case { close, changed: true, ..said(completeness) }, how), 640);
            }
        }
        assert_eq!(said(Completeness::Unknown).judge(&how, &Habits::default()).1, Witness::Silence);
    }

    #[test]
    fn a_number_that_nobody_could_say_so_fast_is_not_believed() {
        let how = Listening { question: Question::Digits { least: 4, most: 4 }, ..Listening::BALANCED };
        let whole = said(Completeness::Whole);
        let hasty = Case { spoken_ms: 600, stretch_ms: 300, ..whole };
        assert!(needed(hasty, how) > needed(whole, how) + 150, "{}", needed(hasty, how));
        let partial = with(whole, |words| words.settled = false);
        assert!(needed(partial, how) > needed(whole, how), "what was not judged is believed less");
    }

    #[test]
    fn a_voice_that_falls_ends_sooner_than_one_that_rises() {
        let of = |ending, away, fade| {
            let close = Close { ending, away, fade, ..Close::default() };
            let case = Case { close, spoken_ms: 1_500, stretch_ms: 900, clear_db: 35, ..Case::default() };
            case.judge(&Listening::BALANCED, &Habits::default())
        };
        let (falls, by) = of(Ending::Falls, -300, 8);
        let (rises, _) = of(Ending::Rises, 300, 0);
        assert!(falls.needed_ms < rises.needed_ms, "{falls:?} {rises:?}");
        assert!(falls.ending_ms < rises.ending_ms);
        assert_eq!(by == Witness::Prosody, falls.ending_ms < 0);
    }

    #[test]
    fn yes_may_be_followed_by_please_and_a_menu_entry_seldom_is() {
        let yes = with(said(Completeness::Complete), |words| words.count = 1);
        let how = |question| Listening { question, ..Listening::BALANCED };
        assert!(needed(yes, how(Question::YesNo)) > needed(yes, how(Question::Menu)));
    }

    #[test]
    fn the_parts_are_the_sum() {
        let case = said(Completeness::Complete);
        let (reasons, _) = case.judge(&Listening::BALANCED, &Habits::default());
        let sum = i32::from(reasons.base_ms)
            + i32::from(reasons.ending_ms)
            + i32::from(reasons.habit_ms)
            + i32::from(reasons.doubt_ms);
        assert!((sum - i32::from(reasons.needed_ms)).abs() <= 2, "{reasons:?}");
    }

    #[test]
    fn a_sentence_that_ends_in_and_is_not_over() {
        let case = with(said(Completeness::Complete), |words| words.ends_open = true);
        let how = Listening { limit: Duration::from_secs(5), ..Listening::BALANCED };
        let (reasons, witness) = case.judge(&how, &Habits::default());
        assert_eq!(witness, Witness::Incomplete);
        assert!(reasons.needed_ms > needed(said(Completeness::Complete), how), "{reasons:?}");
        let how = Listening { silence_incomplete: Duration::from_secs(9), ..Listening::BALANCED };
        let (reasons, witness) = case.judge(&how, &Habits::default());
        assert_eq!((reasons.needed_ms, witness), (1_500, Witness::Limit));
    }
}
