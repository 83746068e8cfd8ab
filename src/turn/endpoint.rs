//! How long a silence the end of an utterance asks for: the sum of what the witnesses say.
//!
//! | part | witnesses |
//! |---|---|
//! | base | how far the words are a sentence: one of the silences of [`Listening`]; what was asked, and how much of it is still missing, by the words, by how long he has spoken, and by how long his digits were before |
//! | doubt | how sure the recogniser is and whether it has judged, digits said faster than people say them, the noise of the line; whether the recogniser has an ear for turns and heard that this one is over |
//! | ending | how pitch and level went at the end, against the utterance and against the bottom of this caller's voice; how long the last stretch of speech was, and its last syllable against his others |
//! | habit | how this caller has paused so far, how much he has said, in how many syllables and how fast |
//!
//! How much each weighs depends on how far the words are a sentence; it was found on the tuning half of the benchmark's corpus by `scripts/fit-turns`, and stands in
//! `weights`. The settings are the silences of an average ending: what the witnesses say there is taken off, so that they
//! make it shorter as often as longer.

use std::time::Duration;

use super::contour::Close;
use super::evidence::{Completeness, Ending, Question, Reasons, Witness, Words};
use super::habits::Habits;
use super::settings::Listening;
use super::weights::{AVERAGE, WEIGHTS};

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
    /// He has paused so often within this utterance, and for so long in all.
    pub pauses: u8,
    pub pauses_ms: u16,
}

/// Where the groups of witnesses begin in [`Case::witnesses`].
const COURSE: usize = 13;
const DOUBT: usize = 21;
const QUESTION: usize = 26;

/// What all witnesses say of a silence, from 0 to about 1 each.
const WITNESSES: usize = 34;

/// The place of each kind of words in `weights`.
const fn place(said: Completeness) -> usize {
    match said {
        Completeness::Unknown => 0,
        Completeness::Incomplete => 1,
        Completeness::Complete => 2,
        Completeness::Settled => 3,
        Completeness::Whole => 4,
        Completeness::Foreign => 5,
    }
}

impl Case {
    /// The silence that is asked for, and who decides if it comes to that.
    pub(super) fn judge(&self, how: &Listening, habits: &Habits) -> (Reasons, Witness) {
        let words = self.words.unwrap_or_default();
        let said = self.said();
        let setting = millis(match said {
            Completeness::Unknown => how.silence,
            Completeness::Incomplete => how.silence_incomplete,
            Completeness::Complete => how.silence_complete,
            Completeness::Settled => how.silence_settled,
            Completeness::Whole => how.silence_whole,
            Completeness::Foreign => how.silence_foreign,
        });
        let weights = &WEIGHTS[place(said)];
        let numbers = self.witnesses(how.question, habits);
        let sum = |from: usize, to: usize| -> f32 {
            numbers[from..to].iter().zip(&weights[from..to]).map(|(number, weight)| number * weight).sum()
        };
        let average = &AVERAGE[place(said)];
        let when = |heard: bool, sum: f32, average: f32| if heard { sum - average } else { 0.0 };
        let ending = when(how.contour, sum(0, COURSE), average[0]);
        let habit = when(how.habits, sum(COURSE, DOUBT), average[1]);
        let doubt = when(how.doubts, sum(DOUBT, QUESTION), average[2]);
        let asked = when(how.doubts, sum(QUESTION, WITNESSES), average[3]);
        let base = setting + asked;
        let sum = base + doubt + ending + habit;
        let hurried = (sum - millis(how.silence_whole)).max(0.0) * if how.doubts { self.over() } else { 0.0 };
        let (doubt, sum) = (doubt - hurried, sum - hurried);
        let (unknown, most) = (millis(how.silence), millis(how.limit));
        let needed = sum.clamp(LEAST.min(most), most);
        let witness = match said {
            // The fixed silence of a listening without witnesses is nobody's limit.
            _ if sum > most && most > unknown => Witness::Limit,
            _ if hurried >= 1.0 => Witness::Turn,
            Completeness::Whole => Witness::Whole,
            Completeness::Complete => Witness::Complete,
            Completeness::Settled => Witness::Settled,
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

    /// How far a recogniser with an ear for turns makes the silence that of a whole sentence, 0 to 1. Words that are only
    /// begun, or none of the grammar, are not over because a voice sounds so.
    fn over(&self) -> f32 {
        let open = matches!(self.said(), Completeness::Incomplete | Completeness::Foreign);
        let sure = f32::from(self.words.unwrap_or_default().over_percent.min(100)) / 100.0;
        if open { 0.0 } else { (2.0 * sure - 1.0).max(0.0) }
    }

    /// What each witness says, in the order of `scripts/fit-turns`, which computes the same.
    fn witnesses(&self, question: Question, habits: &Habits) -> [f32; WITNESSES] {
        let yes = |is: bool| f32::from(u8::from(is));
        let within = |value: i16, most: i16| f32::from(value.clamp(-most, most)) / f32::from(most);
        let words = self.words.unwrap_or_default();
        let Close { ending, glide, away, fade, above, softer, last_ms, rough, .. } = self.close;
        let pace_ms = f32::from(self.close.pace_ms.max(60));
        let (mut rate, mut missing, mut lacking) = (0.0, 0.0, 0.0);
        let (mut known, mut unspoken) = (false, 0.0);
        if let Question::Digits { most, .. } = question {
            if words.count > 0 {
                // Digits take 300 ms each; what is much faster has some in it that nobody said.
                let each = f32::from(self.spoken_ms.max(60)) / f32::from(words.count) / 300.0;
                rate = each.ln().clamp(-1.2, 1.2);
            }
            let most = f32::from(most.max(1));
            missing = (most - f32::from(words.count)).max(0.0) / most;
            // However many were recognised: no digit is longer than this, and each stretch has one.
            let said = (f32::from(self.spoken_ms) / 350.0).max(f32::from(self.pauses) + 1.0);
            lacking = (most - said).max(0.0) / most;
            // The same by how long the digits of his earlier numbers were: some say them slowly, all their life.
            if let Some(digit) = habits.digit() {
                known = true;
                unspoken = (most - f32::from(self.spoken_ms) / millis(digit)).max(0.0) / most;
            }
        }
        let digits = |exact: bool| {
            yes(matches!(question, Question::Digits { least, most } if (least == most) == exact))
        };
        [
            yes(ending == Ending::Falls),
            yes(ending == Ending::Rises),
            yes(ending == Ending::Held),
            yes(ending == Ending::Unclear),
            within(away, 600),
            within(fade, 15),
            within(glide, 600),
            f32::from(self.stretch_ms.min(1_500)) / 1_000.0,
            f32::from(above.clamp(-900, 900)) / 600.0,
            within(softer, 15),
            f32::from(last_ms.min(600)) / 1_000.0,
            f32::from(rough) / 100.0,
            (f32::from(last_ms.max(20)) / pace_ms).ln().clamp(-1.2, 1.2),
            // The course of what he said.
            f32::from(self.spoken_ms.min(4_000)) / 1_000.0,
            f32::from(self.pauses.min(6)) / 6.0,
            f32::from(self.pauses_ms / u16::from(self.pauses.max(1))).min(1_200.0) / 1_000.0,
            habits.pause().map_or(0.0, |pause| pause.as_secs_f32().min(1.2)),
            yes(habits.is_fluent()),
            (pace_ms / 220.0).ln().clamp(-1.0, 1.0),
            f32::from(self.close.syllables.min(20)) / 20.0,
            f32::from(self.close.stretch_syllables.min(8)) / 8.0,
            // Doubt.
            f32::from(self.clear_db.clamp(0, 35)) / 35.0,
            words.confidence,
            yes(!words.settled),
            yes(self.changed),
            rate,
            // The question.
            yes(words.count == 1),
            yes(question == Question::YesNo),
            digits(true),
            digits(false),
            missing,
            lacking,
            yes(known),
            unspoken,
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
        let by = [Completeness::Whole, Completeness::Settled, Completeness::Incomplete]
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
            Completeness::Settled,
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
    fn who_is_eager_waits_for_no_please() {
        let yes = with(said(Completeness::Settled), |words| words.count = 1);
        let close = Close { ending: Ending::Falls, ..Close::default() };
        let yes = Case { close, spoken_ms: 300, stretch_ms: 300, ..yes };
        let how = |how| Listening { question: Question::YesNo, ..how };
        assert!(needed(yes, how(Listening::EAGER)) <= 300, "{}", needed(yes, how(Listening::EAGER)));
        let (reasons, witness) = yes.judge(&how(Listening::BALANCED), &Habits::default());
        assert_eq!((reasons.completeness, witness), (Completeness::Settled, Witness::Settled));
    }

    #[test]
    fn an_ear_for_turns_makes_a_silence_shorter_but_not_that_of_half_a_sentence() {
        let turn = |completeness, percent| with(said(completeness), |words| words.over_percent = percent);
        let how = Listening::BALANCED;
        let of = |percent| needed(turn(Completeness::Unknown, percent), how);
        assert!(of(100) < of(80) && of(80) < of(50) && of(50) == of(0), "{} {} {}", of(100), of(80), of(0));
        let (reasons, witness) = turn(Completeness::Unknown, 90).judge(&how, &Habits::default());
        assert_eq!(witness, Witness::Turn);
        assert!(reasons.doubt_ms < 0);
        for open in [Completeness::Incomplete, Completeness::Foreign] {
            assert_eq!(needed(turn(open, 100), how), needed(turn(open, 0), how));
        }
        let fixed = Listening::fixed(Duration::from_millis(640));
        assert_eq!(needed(turn(Completeness::Unknown, 100), fixed), 640);
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
