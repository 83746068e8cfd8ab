//! Every silence of the corpus with what the witnesses say of it, for whoever tunes how they are weighed:
//! `offhook bench turns --cases FILE`, and `scripts/fit-turns`, which reads that file.

use std::time::Duration;

use serde::Serialize;

use super::TurnsError;
use super::corpus::{Call, Corpus, each};
use super::ears::{Ears, Memory};
use super::stage::{self, MakeVad};
use crate::time::Moment;
use crate::turn::endpoint::Case;
use crate::turn::habits::Habits;
use crate::turn::{Listening, Question};

/// What was known of a silence from one moment on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    call: usize,
    turn: usize,
    voice: String,
    noise: &'static str,
    kind: &'static str,
    grammar: bool,
    /// Since the end of what was said, in milliseconds; negative before it.
    at: i64,
    /// How far before that its first sound was.
    onset: i64,
    /// Since the caller fell silent.
    silence: u64,
    question: &'static str,
    /// Digits that were asked for at most.
    most: u8,
    completeness: &'static str,
    settled: bool,
    confidence: f32,
    count: u16,
    ends_open: bool,
    changed: bool,
    ending: &'static str,
    glide: i16,
    away: i16,
    fade: i16,
    above: i16,
    softer: i16,
    last: u16,
    rough: u8,
    syllables: u8,
    pace: u16,
    syllables_stretch: u8,
    /// What a digit took him in earlier numbers, in milliseconds; 0 where it is not known.
    digit: u64,
    spoken: u16,
    stretch: u16,
    clear: i8,
    pauses: u8,
    /// His usual pause so far; 0 where it is not known.
    habit: u64,
    fluent: bool,
}

/// Listens for ever, and keeps what changes.
pub(super) struct Watch {
    number: usize,
    last: Option<(Case, Moment)>,
    pub(super) rows: Vec<Row>,
}

/// A listening that no silence ends.
fn endless() -> Listening {
    let ever = Duration::from_secs(60);
    Listening {
        silence: ever,
        silence_whole: ever,
        silence_settled: ever,
        silence_complete: ever,
        silence_incomplete: ever,
        silence_foreign: ever,
        limit: ever,
        max_speech: ever,
        ..Listening::BALANCED
    }
}

impl Watch {
    /// The taker was asked at `now`.
    pub(super) fn see(
        &mut self,
        call: &Call,
        turn: usize,
        now: Moment,
        found: Option<(Duration, Case, &Habits)>,
    ) {
        let Some((silence, case, habits)) = found else {
            self.last = None;
            return;
        };
        let speech_end = now - silence;
        let now_ms = stage::millis(now) as i64;
        let known = |other: &(Case, Moment)| {
            let bare = |case: &Case| {
                case.words.map(|w| (w.completeness, w.settled, w.count, w.text, w.confidence.to_bits()))
            };
            bare(&other.0) == bare(&case) && other.0.changed == case.changed && other.1 == speech_end
        };
        if self.last.as_ref().is_some_and(known) {
            return;
        }
        self.last = Some((case, speech_end));
        let said = &call.turns[turn];
        let words = case.words.unwrap_or_default();
        let (question, most) = match said.asked.question {
            Question::YesNo => ("yes_no", 0),
            Question::Digits { least, most } if least == most => ("digits", most),
            Question::Digits { most, .. } => ("some_digits", most),
            Question::Menu => ("menu", 0),
            Question::Open => ("open", 0),
        };
        self.rows.push(Row {
            call: self.number,
            turn,
            voice: call.voice.clone(),
            noise: call.noise,
            kind: said.kind,
            grammar: call.grammar,
            at: now_ms - said.end.cast_signed(),
            onset: said.end.cast_signed() - said.onset.cast_signed(),
            silence: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
            question,
            most,
            completeness: words.completeness.name(),
            settled: words.settled,
            confidence: words.confidence,
            count: words.count,
            ends_open: words.ends_open,
            changed: case.changed,
            ending: case.close.ending.name(),
            glide: case.close.glide,
            away: case.close.away,
            fade: case.close.fade,
            above: case.close.above,
            softer: case.close.softer,
            last: case.close.last_ms,
            rough: case.close.rough,
            syllables: case.close.syllables,
            pace: case.close.pace_ms,
            syllables_stretch: case.close.stretch_syllables,
            digit: habits.digit().map_or(0, |digit| u64::try_from(digit.as_millis()).unwrap_or(u64::MAX)),
            spoken: case.spoken_ms,
            stretch: case.stretch_ms,
            clear: case.clear_db,
            pauses: case.pauses,
            habit: habits.pause().map_or(0, |pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            fluent: habits.is_fluent(),
        });
    }
}

/// All of the corpus.
pub(super) fn all(corpus: &Corpus, vad: MakeVad, ears: &Ears) -> Result<Vec<Row>, TurnsError> {
    let of_call = |number: usize| -> Result<Vec<Row>, TurnsError> {
        let call = &corpus.calls[number];
        let mut watch = Watch { number, last: None, rows: Vec::new() };
        let mut memory = Memory::default();
        let mut decoder = if call.grammar { Some(ears.take()?) } else { None };
        if let Some(decoder) = &mut decoder {
            memory.meet(decoder, &call.frames, &call.turns)?;
        }
        let listened = decoder.as_mut().map(|decoder| (decoder, &mut memory));
        stage::listen(call, vad, endless(), listened, Some(&mut watch))?;
        if let Some(decoder) = decoder {
            ears.give(decoder);
        }
        Ok(watch.rows)
    };
    let all = each(corpus.calls.len(), of_call).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().collect())
}
