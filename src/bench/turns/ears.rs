//! The recogniser in virtual time: the decoder of a real call, frame by frame, whose answers come as late as its work takes.
//!
//! The same utterance is listened to under many settings of the turn taker. What the decoder says depends on where the
//! utterance began and where it was asked at pauses, so what it once said under the same circumstances is remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::TurnsError;
use super::corpus::{Heard, Turn};
use super::sound::HZ;
use crate::audio::FRAME_SAMPLES;
use crate::bench::machine::thread_cpu;
use crate::speech::grammar::Grammar;
use crate::speech::manners::ENGLISH;
#[cfg(feature = "pocketsphinx")]
use crate::speech::pocketsphinx::{Acquaintance, Examiner};
use crate::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
use crate::speech::witness;
use crate::speech::{Expected, Hypothesis};
use crate::time::Moment;
use crate::turn::{TurnSignal, Words};

/// From the decoder to the turn taker: two channels between threads.
const HOP: Duration = Duration::from_millis(2);

/// Audio from before the onset goes into the ear with it, as on a media thread.
const PRE_ROLL: Duration = Duration::from_millis(300);

/// Milliseconds of a frame.
const FRAME_MS: u64 = (FRAME_SAMPLES * 1_000 / HZ) as u64;

/// The recogniser that all calls share.
pub(super) struct Ears {
    #[cfg_attr(not(feature = "pocketsphinx"), expect(dead_code, reason = "there is none"))]
    recognizer: PocketSphinxRecognizer,
    idle: Mutex<Vec<Decoder>>,
}

/// One decoder.
pub(super) struct Decoder {
    #[cfg(feature = "pocketsphinx")]
    examiner: Examiner,
    /// Where it is, of this run of a call or scene: the circumstances, and the next frame.
    at: Option<(Circumstances, usize)>,
}

/// What an answer depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Circumstances {
    turn: usize,
    /// The first frame.
    start: usize,
    /// It was asked for a provisional final behind these frames.
    pauses: Vec<usize>,
}

/// What came of one step of the decoder.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Without their moment.
    words: Option<Words>,
    work: Duration,
}

/// What the decoder said of a call so far.
#[derive(Default)]
pub(super) struct Memory {
    fed: HashMap<(Circumstances, usize), Step>,
    asked: HashMap<Circumstances, Step>,
    /// The turn that taught what the caller sounds like, and what it taught.
    #[cfg(feature = "pocketsphinx")]
    known: Option<(usize, Acquaintance)>,
}

impl Ears {
    /// Loads the recogniser.
    pub(super) fn new() -> Result<Self, TurnsError> {
        let recognizer = PocketSphinxRecognizer::new(PocketSphinxConfig::default())?;
        Ok(Self { recognizer, idle: Mutex::default() })
    }

    /// A decoder that nobody uses; give it back.
    pub(super) fn take(&self) -> Result<Decoder, TurnsError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(decoder) => Ok(decoder),
            #[cfg(feature = "pocketsphinx")]
            None => Ok(Decoder { examiner: self.recognizer.examiner()?, at: None }),
            #[cfg(not(feature = "pocketsphinx"))]
            None => Ok(Decoder { at: None }),
        }
    }

    /// Gives one back.
    pub(super) fn give(&self, mut decoder: Decoder) {
        decoder.at = None;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
    }
}

impl Memory {
    /// What the call's first answer that is understood teaches about its caller.
    #[cfg(feature = "pocketsphinx")]
    pub(super) fn meet(
        &mut self,
        decoder: &mut Decoder,
        frames: &[Heard],
        turns: &[Turn],
    ) -> Result<(), TurnsError> {
        decoder.at = None;
        for (number, turn) in turns.iter().enumerate() {
            let Some(grammar) = &turn.asked.grammar else { continue };
            decoder.examiner.begin(grammar, None)?;
            let frame = |millis: u64| (millis / FRAME_MS) as usize;
            let (from, to) = (frame(turn.onset.saturating_sub(240)), frame(turn.end + 200));
            for heard in &frames[from..to.min(frames.len())] {
                decoder.examiner.feed(&heard.frame)?;
            }
            if let (Some(_), learnt) = decoder.examiner.end()? {
                self.known = Some((number, learnt));
                break;
            }
        }
        Ok(())
    }

    #[cfg(not(feature = "pocketsphinx"))]
    pub(super) fn meet(&mut self, _: &mut Decoder, _: &[Heard], _: &[Turn]) -> Result<(), TurnsError> {
        Ok(())
    }
}

/// An utterance under way, and what was said about it and is still on its way to the turn taker.
#[derive(Default)]
pub(super) struct Ear {
    open: Option<Circumstances>,
    pending: VecDeque<(Moment, Words)>,
    busy: Moment,
}

/// Whom an ear asks.
pub(super) struct Asking<'a> {
    pub(super) decoder: &'a mut Decoder,
    pub(super) memory: &'a mut Memory,
    pub(super) grammar: &'a Arc<Grammar>,
    pub(super) turn: usize,
}

impl Ear {
    /// The next words that have come by `now`.
    pub(super) fn due(&mut self, now: Moment) -> Option<(Moment, Words)> {
        let (ready, _) = self.pending.front()?;
        if *ready <= now { self.pending.pop_front() } else { None }
    }

    /// Forgets the utterance.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.pending.clear();
    }

    /// Frame `at` has come, the last of `frames`.
    pub(super) fn frame(
        &mut self,
        asking: &mut Asking<'_>,
        frames: &[Heard],
        at: usize,
    ) -> Result<(), TurnsError> {
        if let Some(open) = self.open.take() {
            self.feed(asking, frames, &open, at)?;
            self.open = Some(open);
        }
        Ok(())
    }

    /// What a signal means for the ear, raised while frame `at` was the last.
    pub(super) fn signal(
        &mut self,
        asking: &mut Asking<'_>,
        frames: &[Heard],
        at: usize,
        signal: &TurnSignal,
    ) -> Result<(), TurnsError> {
        match signal {
            TurnSignal::Onset { at: onset } => {
                self.close();
                let from = *onset - PRE_ROLL;
                let start = (0..=at).rev().take_while(|frame| end_of(*frame) > from).last().unwrap_or(at);
                let open = Circumstances { turn: asking.turn, start, pauses: Vec::new() };
                // What was heard before the onset was known comes all at once.
                self.busy = end_of(at);
                for frame in start..=at {
                    self.feed(asking, frames, &open, frame)?;
                }
                self.open = Some(open);
            }
            TurnSignal::Pause { .. } => {
                if let Some(mut open) = self.open.take() {
                    open.pauses.push(at);
                    let step = asking.pause(frames, &open)?;
                    self.answered(at, step);
                    self.open = Some(open);
                }
            }
            TurnSignal::Endpoint { .. }
            | TurnSignal::TooLong { .. }
            | TurnSignal::NoInput { .. }
            | TurnSignal::Restore { .. } => self.close(),
            _ => {}
        }
        Ok(())
    }

    fn feed(
        &mut self,
        asking: &mut Asking<'_>,
        frames: &[Heard],
        open: &Circumstances,
        frame: usize,
    ) -> Result<(), TurnsError> {
        let step = asking.feed(frames, open, frame)?;
        self.answered(frame, step);
        Ok(())
    }

    fn answered(&mut self, frame: usize, step: Step) {
        self.busy = self.busy.max(end_of(frame)) + step.work;
        if let Some(words) = step.words {
            self.pending.push_back((self.busy + HOP, Words { at: end_of(frame), ..words }));
        }
    }
}

/// When a frame has come.
pub(super) fn end_of(frame: usize) -> Moment {
    super::stage::BEGIN + Duration::from_millis((frame as u64 + 1) * FRAME_MS)
}

impl Asking<'_> {
    fn feed(&mut self, frames: &[Heard], open: &Circumstances, frame: usize) -> Result<Step, TurnsError> {
        let key = (open.clone(), frame);
        if let Some(step) = self.memory.fed.get(&key) {
            return Ok(*step);
        }
        self.go_to(frames, open, frame)?;
        let step = self.step(|decoder| decoder.feed(&frames[frame]))?;
        let expected = Expected::Grammar(Arc::clone(self.grammar));
        let words = |heard| witness::partial(Moment::ZERO, heard, &expected, ENGLISH);
        let step = Step { words: step.0.as_ref().map(words), work: step.1 };
        self.decoder.at = Some((open.clone(), frame + 1));
        self.memory.fed.insert(key, step);
        Ok(step)
    }

    /// The provisional final behind the last of the pauses.
    fn pause(&mut self, frames: &[Heard], open: &Circumstances) -> Result<Step, TurnsError> {
        if let Some(step) = self.memory.asked.get(open) {
            return Ok(*step);
        }
        let mut before = open.clone();
        let at = before.pauses.pop().unwrap_or(open.start);
        self.go_to(frames, &before, at + 1)?;
        let step = self.step(Decoder::pause)?;
        let expected = Expected::Grammar(Arc::clone(self.grammar));
        let words = witness::settled(Moment::ZERO, step.0.as_ref(), &expected, ENGLISH);
        let step = Step { words: Some(words), work: step.1 };
        self.decoder.at = Some((open.clone(), at + 1));
        self.memory.asked.insert(open.clone(), step);
        Ok(step)
    }

    fn step(
        &mut self,
        work: impl FnOnce(&mut Decoder) -> Result<Option<Hypothesis>, TurnsError>,
    ) -> Result<(Option<Hypothesis>, Duration), TurnsError> {
        let before = thread_cpu();
        let heard = work(self.decoder)?;
        Ok((heard, thread_cpu().saturating_sub(before)))
    }

    /// Brings the decoder to where it has heard all up to `frame` in these circumstances.
    fn go_to(&mut self, frames: &[Heard], open: &Circumstances, frame: usize) -> Result<(), TurnsError> {
        if self.decoder.at.as_ref().is_some_and(|(there, next)| there == open && *next == frame) {
            return Ok(());
        }
        self.decoder.at = None;
        self.decoder.begin(self.grammar, self.memory, open.turn)?;
        let mut pauses = open.pauses.iter().peekable();
        for (number, heard) in frames.iter().enumerate().take(frame).skip(open.start) {
            self.decoder.feed(heard)?;
            while pauses.next_if(|pause| **pause == number).is_some() {
                self.decoder.pause()?;
            }
        }
        self.decoder.at = Some((open.clone(), frame));
        Ok(())
    }
}

impl Decoder {
    /// What it heard is of another scene than what comes.
    pub(super) fn forget(&mut self) {
        self.at = None;
    }
}

#[cfg(feature = "pocketsphinx")]
impl Decoder {
    fn begin(&mut self, grammar: &Arc<Grammar>, memory: &Memory, turn: usize) -> Result<(), TurnsError> {
        let known = memory.known.as_ref().filter(|(taught, _)| *taught < turn).map(|(_, known)| known);
        Ok(self.examiner.begin(grammar, known)?)
    }

    fn feed(&mut self, heard: &Heard) -> Result<Option<Hypothesis>, TurnsError> {
        Ok(self.examiner.feed(&heard.frame)?)
    }

    fn pause(&mut self) -> Result<Option<Hypothesis>, TurnsError> {
        Ok(self.examiner.pause()?)
    }
}

/// Never called: there is no recogniser to make one from.
#[cfg(not(feature = "pocketsphinx"))]
impl Decoder {
    fn begin(&mut self, _: &Arc<Grammar>, _: &Memory, _: usize) -> Result<(), TurnsError> {
        Ok(())
    }

    fn feed(&mut self, _: &Heard) -> Result<Option<Hypothesis>, TurnsError> {
        Ok(None)
    }

    fn pause(&mut self) -> Result<Option<Hypothesis>, TurnsError> {
        Ok(None)
    }
}
