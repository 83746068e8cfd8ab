//! Runs calls and scenes of the corpus through the turn taker, in virtual time.

use std::time::Duration;

use super::TurnsError;
use super::cases::Watch;
use super::corpus::{Asked, Call, Heard, Scene};
use super::ears::{Asking, Ear, Ears, Memory, end_of};
use super::sound;
use crate::audio::g711::Law;
use crate::audio::{FRAME_SAMPLES, Frame, PTIME, Rate};
use crate::bench::machine::thread_cpu;
use crate::time::Moment;
use crate::turn::vad::Effort;
use crate::turn::{BargeIn, By, Listening, TurnSignal, TurnTaker, Vad, Witness};

/// When the virtual time of every call begins: before it lies what an onset looks back to.
pub(super) const BEGIN: Moment = Moment::from_millis(10_000);

/// Makes a detector.
pub(super) type MakeVad = fn() -> Box<dyn Vad>;

/// What became of an utterance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Outcome {
    /// Its end was found, so many milliseconds after it.
    Answered { delay_ms: f64, witness: Witness },
    /// It was taken to be over before it was; so many milliseconds before its end.
    CutOff { early_ms: f64, witness: Witness },
    /// Nothing was decided before the next one: so long nobody answered.
    Never { waited_ms: f64 },
}

/// What came of a call.
pub(super) struct Answers {
    /// One for each turn.
    pub(super) outcomes: Vec<Outcome>,
    /// Endpoints before anything was said.
    pub(super) false_turns: usize,
}

pub(super) fn millis(at: Moment) -> f64 {
    at.millis_from(BEGIN)
}

/// Listens to a call as `how` says; with an ear where there is a grammar and somebody recognises.
pub(super) fn listen(
    call: &Call,
    vad: MakeVad,
    how: Listening,
    mut ears: Option<(&mut super::ears::Decoder, &mut Memory)>,
    mut watch: Option<&mut Watch>,
) -> Result<Answers, TurnsError> {
    let mut taker = TurnTaker::new(vad());
    let mut answers = Answers { outcomes: Vec::with_capacity(call.turns.len()), false_turns: 0 };
    let silence = Frame::silence(Rate::Hz8000);
    let mut frame = 0;
    for (number, turn) in call.turns.iter().enumerate() {
        let mut ear = Ear::default();
        let how = Listening {
            question: turn.asked.question,
            words: turn.asked.grammar.is_some() && ears.is_some(),
            ..how
        };
        taker.listen(BEGIN + Duration::from_millis(turn.listen), how);
        let mut outcome = None;
        let mut raised = Vec::with_capacity(8);
        while frame < call.frames.len() && end_of(frame) <= BEGIN + Duration::from_millis(turn.over) {
            let now = end_of(frame);
            let mut asking = match (&mut ears, &turn.asked.grammar) {
                (Some((decoder, memory)), Some(grammar)) if outcome.is_none() => {
                    Some(Asking { decoder, memory, grammar, turn: number })
                }
                _ => None,
            };
            while let Some((ready, words)) = ear.due(now) {
                taker.words(ready, words, &mut |signal| raised.push(signal));
            }
            if let Some(asking) = &mut asking {
                ear.frame(asking, &call.frames, frame)?;
            }
            let heard = &call.frames[frame];
            taker.frame(now, (!heard.lost).then_some(&heard.frame), &mut |signal| raised.push(signal));
            taker.sent(now, &silence);
            taker.tick(now, &mut |signal| raised.push(signal));
            if let Some(watch) = &mut watch {
                watch.see(call, number, now, taker.silence(now));
            }
            for signal in raised.drain(..) {
                if let Some(asking) = &mut asking {
                    ear.signal(asking, &call.frames, frame, &signal)?;
                }
                let (decided, witness) = match signal {
                    TurnSignal::Endpoint { decided, witness, .. } => (millis(decided), witness),
                    TurnSignal::TooLong { at } => (millis(at), Witness::Limit),
                    _ => continue,
                };
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of a call")]
                let (onset, end) = (turn.onset as f64, turn.end as f64);
                if decided < onset {
                    // It was nothing, and he is listened to again.
                    answers.false_turns += 1;
                    taker.listen(now, how);
                } else if decided < end {
                    outcome = Some(Outcome::CutOff { early_ms: end - decided, witness });
                } else {
                    outcome = Some(Outcome::Answered { delay_ms: decided - end, witness });
                }
            }
            frame += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a call")]
        let never = Outcome::Never { waited_ms: (turn.over - turn.end) as f64 };
        answers.outcomes.push(outcome.unwrap_or(never));
        taker.deaf();
    }
    Ok(answers)
}

/// The processor time that the turn taker takes for all frames of a call, how many they are, and on how many a neural detector ran.
pub(super) fn cost(call: &Call, vad: MakeVad) -> (Duration, u64, Effort) {
    let mut taker = TurnTaker::new(vad());
    let silence = Frame::silence(Rate::Hz8000);
    let mut turns = call.turns.iter().peekable();
    let mut signals = 0_u64;
    let before = thread_cpu();
    for (number, heard) in call.frames.iter().enumerate() {
        let now = end_of(number);
        if turns.next_if(|turn| BEGIN + Duration::from_millis(turn.listen) <= now).is_some() {
            taker.listen(now, Listening::BALANCED);
        }
        taker.frame(now, Some(&heard.frame), &mut |_| signals += 1);
        taker.sent(now, &silence);
        taker.tick(now, &mut |_| signals += 1);
    }
    (thread_cpu().saturating_sub(before), call.frames.len() as u64, taker.effort())
}

/// So far below its full level the bot is as good as silent, in decibels; and from there on down it is no more at full level.
const SILENT_DB: f32 = 40.0;
const FULL_FROM: f32 = 0.7;

/// What the bot did when something was heard. Milliseconds since it began to speak.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Reaction {
    /// The onset as the detector has it, of what the bot went down or stopped for first.
    pub(super) noticed: Option<f64>,
    /// When it was decided to go down first.
    pub(super) ducked: Option<f64>,
    /// The end of the last frame at full level since the sound began; 0 if there was none.
    pub(super) full_until: f64,
    /// The same of the last frame that was less than [`SILENT_DB`] below it.
    pub(super) loud_until: f64,
    /// When it was decided to stop.
    pub(super) stopped: Option<f64>,
    /// The end of the last frame that was sent.
    pub(super) silent_from: Option<f64>,
    pub(super) by: Option<By>,
    /// It stopped or went down before anything was there.
    pub(super) early: bool,
    /// How often it went down and came back.
    pub(super) restored: usize,
}

/// The bot's side of a line: what it sends, and how that comes back.
struct Mouth<'a> {
    what: &'a [i16],
    at: usize,
    gain: f32,
    saying: bool,
    /// All that was sent, for the echo.
    sent: Vec<f32>,
    echo: Option<super::corpus::Echo>,
    /// The room that the echo goes through: two more ways, and a dull wall.
    dull: f32,
}

impl<'a> Mouth<'a> {
    fn new(what: &'a [i16], echo: Option<super::corpus::Echo>) -> Self {
        Self { what, at: 0, gain: 1.0, saying: true, sent: Vec::new(), echo, dull: 0.0 }
    }

    /// The next 20 ms as they are sent.
    fn frame(&mut self) -> Frame {
        let mut frame = Frame::silence(Rate::Hz8000);
        if self.saying && !self.what.is_empty() {
            for sample in &mut frame.samples {
                let value = f32::from(self.what[self.at % self.what.len()]) / 32_768.0;
                *sample = sound::to_i16(value * self.gain);
                self.at += 1;
            }
        }
        self.sent.extend(frame.samples.iter().map(|s| f32::from(*s) / 32_768.0));
        frame
    }

    /// What comes back of it in these samples, added to `near`, through the network's µ-law.
    fn come_back(&mut self, from: usize, near: &[i16]) -> Frame {
        let mut frame = Frame::silence(Rate::Hz8000);
        let by = self.echo.map_or(0.0, |echo| sound::gain(echo.db));
        let delay = self.echo.map_or(0, |echo| echo.delay_ms * sound::HZ / 1_000);
        for (i, sample) in frame.samples.iter_mut().enumerate() {
            let back = |later: usize| {
                (from + i).checked_sub(delay + later).and_then(|at| self.sent.get(at)).copied().unwrap_or(0.0)
            };
            let rooms = 0.8 * back(0) + 0.4 * back(23) - 0.25 * back(71);
            self.dull += 0.6 * (rooms - self.dull);
            let near = near.get(from + i).map_or(0.0, |s| f32::from(*s) / 32_768.0);
            *sample = sound::to_i16(near + by * self.dull);
        }
        let mut codes = [0; FRAME_SAMPLES];
        Law::Mu.encode_into(&frame.samples, &mut codes);
        Law::Mu.decode_into(&codes, &mut frame.samples);
        frame
    }
}

/// Lets the bot speak while the scene happens.
pub(super) fn play(
    scene: &Scene,
    vad: MakeVad,
    how: Listening,
    barge_in: BargeIn,
    ears: Option<&Ears>,
) -> Result<Reaction, TurnsError> {
    let Asked { question, grammar } = &scene.asked;
    let ears = ears.filter(|_| grammar.is_some());
    let mut decoder = ears.map(Ears::take).transpose()?;
    if let Some(decoder) = &mut decoder {
        decoder.forget();
    }
    let mut memory = Memory::default();
    let (mut taker, mut mouth, mut ear) =
        (TurnTaker::new(vad()), Mouth::new(&scene.bot, scene.echo), Ear::default());
    taker.listen(BEGIN, Listening { question: *question, words: decoder.is_some(), ..how });
    taker.playing(BEGIN, Some(barge_in));
    let (mut frames, mut raised) = (Vec::<Heard>::new(), Vec::with_capacity(8));
    let mut reaction = Reaction::default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a scene")]
    let onset = scene.onset as f64;
    for number in 0..scene.near.len() / FRAME_SAMPLES {
        let now = end_of(number);
        let mut asking = match (&mut decoder, grammar) {
            (Some(decoder), Some(grammar)) => Some(Asking { decoder, memory: &mut memory, grammar, turn: 0 }),
            _ => None,
        };
        // The bot's frame leaves, and what is heard in the same 20 ms comes.
        let sent = mouth.frame();
        taker.sent(now, &sent);
        if millis(now) > onset {
            // What is still on its way when it is decided has the level of before.
            reaction.full_until = if mouth.gain > FULL_FROM { millis(now) } else { reaction.full_until };
            reaction.loud_until =
                if mouth.gain > sound::gain(-SILENT_DB) { millis(now) } else { reaction.loud_until };
        }
        let frame = mouth.come_back(number * FRAME_SAMPLES, &scene.near);
        frames.push(Heard { frame, lost: false });
        while let Some((ready, words)) = ear.due(now) {
            taker.words(ready, words, &mut |signal| raised.push(signal));
        }
        if let Some(asking) = &mut asking {
            ear.frame(asking, &frames, number)?;
        }
        taker.frame(now, Some(&frame), &mut |signal| raised.push(signal));
        taker.tick(now, &mut |signal| raised.push(signal));
        for signal in raised.drain(..) {
            if let Some(asking) = &mut asking {
                ear.signal(asking, &frames, number, &signal)?;
            }
            match signal {
                TurnSignal::Duck { onset: noticed, at } => {
                    mouth.gain = sound::gain(-f32::from(barge_in.duck_db));
                    reaction.early |= millis(at) <= onset;
                    if millis(at) > onset {
                        reaction.noticed.get_or_insert(millis(noticed));
                        reaction.ducked.get_or_insert(millis(at));
                    }
                }
                TurnSignal::Hush { .. } => mouth.gain = sound::gain(-f32::from(barge_in.hush_db)),
                TurnSignal::Restore { .. } => {
                    mouth.gain = 1.0;
                    reaction.restored += 1;
                }
                TurnSignal::BargeIn { onset: noticed, decided, by, .. } => {
                    mouth.saying = false;
                    taker.playing(now, None);
                    reaction.early |= millis(decided) <= onset;
                    reaction.noticed.get_or_insert(millis(noticed));
                    reaction.stopped = Some(millis(decided));
                    reaction.silent_from = Some(millis(now));
                    reaction.by = Some(by);
                }
                _ => {}
            }
        }
        if reaction.stopped.is_some() {
            break;
        }
    }
    if let (Some(ears), Some(decoder)) = (ears, decoder) {
        ears.give(decoder);
    }
    Ok(reaction)
}

/// How often the bot interrupts itself when nobody is there but its echo: false stops, and how often its voice went down.
pub(super) fn echo(
    bot: &[i16],
    echo: super::corpus::Echo,
    length: Duration,
    vad: MakeVad,
    how: Listening,
    barge_in: BargeIn,
    random: &mut fastrand::Rng,
) -> (usize, usize) {
    let (mut taker, mut mouth) = (TurnTaker::new(vad()), Mouth::new(bot, Some(echo)));
    taker.listen(BEGIN, how);
    taker.playing(BEGIN, Some(barge_in));
    let (mut stops, mut ducks, mut again) = (0, 0, None);
    let mut raised = Vec::with_capacity(8);
    let mut near = Vec::new();
    for number in 0..(length.as_millis() / PTIME.as_millis()) as usize {
        let now = end_of(number);
        if again == Some(number) {
            // It goes on: an hour of its speech is an hour of its speech.
            mouth.saying = true;
            taker.listen(now, how);
            taker.playing(now, Some(barge_in));
        }
        let sent = mouth.frame();
        taker.sent(now, &sent);
        // A quiet line: hiss at −66 dBFS.
        near.extend((0..FRAME_SAMPLES).map(|_| sound::to_i16(0.001_7 * (random.f32() - 0.5))));
        let frame = mouth.come_back(number * FRAME_SAMPLES, &near);
        taker.frame(now, Some(&frame), &mut |signal| raised.push(signal));
        taker.tick(now, &mut |signal| raised.push(signal));
        for signal in raised.drain(..) {
            match signal {
                TurnSignal::Duck { .. } => {
                    ducks += 1;
                    mouth.gain = sound::gain(-f32::from(barge_in.duck_db));
                }
                TurnSignal::Hush { .. } => mouth.gain = sound::gain(-f32::from(barge_in.hush_db)),
                TurnSignal::Restore { .. } => mouth.gain = 1.0,
                TurnSignal::BargeIn { .. } => {
                    stops += 1;
                    (mouth.saying, mouth.gain) = (false, 1.0);
                    taker.playing(now, None);
                    again = Some(number + 25);
                }
                _ => {}
            }
        }
    }
    (stops, ducks)
}
