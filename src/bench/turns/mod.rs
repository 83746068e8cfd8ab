//! Turn taking, measured: how long a caller waits for an answer and how often he is cut off, how fast the bot falls silent and
//! what makes it do so without reason. `offhook bench turns`.
//!
//! A corpus is made with the truth about it (see `corpus`): calls whose utterances have ends and pauses known to 10 ms, and
//! scenes in which something is heard while the bot speaks. It runs in virtual time through the [`TurnTaker`] of a call;
//! where a grammar is active, the real recogniser listens, and its words come as late as its work takes. Beside it, on the
//! same calls and with the same detector of speech, stand endpointers that know nothing but a fixed silence.
//!
//! # Parts
//!
//! - this file: [`measure`] runs a [`Plan`] and gives a [`Report`];
//! - `corpus`, `voices`, `sound`: what is heard, and the truth about it;
//! - `stage`: calls and scenes through the turn taker; `ears`: the recogniser in virtual time;
//! - `tally`: figures out of outcomes; [`report`]: what was found; [`page`]: the same as a page.
//!
//! # What it never does
//!
//! It tunes nothing. The corpus has two parts with other voices and other sentences: one to tune on, and one that is only
//! reported.
//!
//! [`TurnTaker`]: crate::turn::TurnTaker

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use self::corpus::{Call, Corpus, Echo, each};
use self::ears::{Ears, Memory};
use self::report::{Cost, Endpointing, Made, Point, Report, TurnLine};
use self::stage::{MakeVad, Outcome};
use self::tally::Tally;
use self::voices::Voices;
use super::Progress;
use super::machine::Machine;
use crate::audio::Rate;
use crate::speech::SpeechError;
use crate::turn::vad::{self, Effort, Kind};
use crate::turn::{BargeIn, Listening};

pub mod cases;
pub(super) mod corpus;
mod ears;
pub mod page;
pub mod report;
pub(super) mod sound;
mod stage;
mod tables;
mod tally;
pub(super) mod voices;

/// Why turn taking could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum TurnsError {
    /// Nobody speaks.
    #[error("there is no voice for the corpus: {0}")]
    NoVoices(String),
    /// The recogniser.
    #[error("the recogniser of the benchmark: {0}")]
    Speech(#[from] SpeechError),
}

/// A part of the corpus: they have voices and sentences of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// To tune on.
    Tuning,
    /// Only to be reported.
    Reported,
}

impl Part {
    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tuning => "tuning",
            Self::Reported => "reported",
        }
    }
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// On which part.
    pub part: Part,
    /// What the corpus is made from.
    pub seed: u64,
    /// A sixth of it, with fewer settings.
    pub quick: bool,
    /// Which half of the work; both where it is [`None`].
    pub only: Option<Only>,
}

/// Half of the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Only {
    /// How the ends of turns are found.
    Ends,
    /// How interruptions are taken.
    Interruptions,
}

impl Plan {
    const fn share(&self) -> f64 {
        if self.quick { 1.0 / 6.0 } else { 1.0 }
    }
}

/// By how much all silences of the preset `balanced` are longer, for the frontier, in milliseconds.
const LONGER: [i32; 18] =
    [-400, -300, -240, -180, -120, -80, -40, 0, 40, 80, 120, 180, 240, 320, 420, 540, 700, 900];

/// Of a quick run, and of the detectors that are not the default.
const FEW_LONGER: [i32; 7] = [-300, -150, -60, 60, 160, 350, 600];

/// The fixed silences. Those that cut off next to nobody are longer than a second.
const FIXED_MS: std::ops::RangeInclusive<u64> = 200..=1_400;

/// Levels of the bot's echo, in dB.
const ECHOES: [f32; 4] = [-10.0, -20.0, -30.0, -40.0];

/// The bot speaks to its echo so many times, for so long each, per level.
const ECHO_CALLS: usize = 30;
const ECHO_CALL: Duration = Duration::from_secs(60);

/// The detectors that are not the default hear every so many-th call.
const SOME_CALLS: usize = 3;

/// The detectors of speech that are measured, the default first.
const DETECTORS: [(&str, MakeVad); 3] = [
    (Kind::Webrtc.name(), || vad::make(Kind::Webrtc, Rate::Hz8000)),
    (Kind::Level.name(), || vad::make(Kind::Level, Rate::Hz8000)),
    (Kind::Neural.name(), || vad::make(Kind::Neural, Rate::Hz8000)),
];

/// Makes the corpus and measures on it. Blocks for minutes; not inside a task.
///
/// # Errors
/// When nobody speaks, or the recogniser is missing or fails.
pub fn measure(plan: &Plan, progress: &Progress) -> Result<Report, TurnsError> {
    let machine = Machine::read();
    (progress.tell)("making the corpus", 0.0);
    let voices = Voices::find();
    let corpus = Corpus::make(plan.part, plan.seed, plan.share(), &voices)?;
    (progress.tell)("endpoints", 0.2);
    let ears = Ears::new()?;
    let detectors = if plan.quick || plan.only.is_some() { &DETECTORS[..1] } else { &DETECTORS };
    let settings: Vec<Vec<Setting>> =
        (0..detectors.len()).map(|detector| settings(plan.quick || detector > 0)).collect();
    let ends = plan.only != Some(Only::Interruptions);
    let runs = if ends { endpoints(&corpus, detectors, &settings, &ears, progress)? } else { Vec::new() };
    let mut endpointing = Vec::new();
    for (detector, (name, _)) in detectors.iter().enumerate().filter(|_| ends) {
        for (speech, grammar) in [("grammar", true), ("open", false)] {
            let chosen: Vec<&CallRun> = runs.iter().filter(|run| run.grammar == grammar).collect();
            endpointing.push(frontier(name, speech, detector, &chosen, &settings[detector]));
        }
    }
    (progress.tell)("interruptions", 0.7);
    let mut barge_in = Vec::new();
    for (name, vad) in detectors.iter().copied().filter(|_| plan.only != Some(Only::Ends)) {
        barge_in.push(interruptions(name, vad, &corpus, plan, &ears)?);
    }
    (progress.tell)("cost", 0.95);
    let cost = detectors.iter().map(|(name, vad)| cost(name, *vad, &corpus)).collect();
    let turns = lines(&corpus, &runs, &settings[0]);
    let mut report = Report {
        schema: report::SCHEMA,
        offhook: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        part: plan.part.name().to_owned(),
        seed: plan.seed,
        quick: plan.quick,
        left_out: voices.missing.clone(),
        corpus: made(&corpus),
        endpointing,
        barge_in,
        cost,
        shown: Vec::new(),
        slices: report::Slice::all(&turns),
        turns,
    };
    report.shown = report.judged();
    Ok(report)
}

/// Every silence of the corpus, and what the witnesses say of it: what settings are tuned with. Blocks for minutes.
///
/// # Errors
/// As [`measure`].
pub fn cases(plan: &Plan, progress: &Progress) -> Result<Vec<cases::Row>, TurnsError> {
    (progress.tell)("making the corpus", 0.0);
    let corpus = Corpus::make(plan.part, plan.seed, plan.share(), &Voices::find())?;
    (progress.tell)("silences", 0.5);
    cases::all(&corpus, DETECTORS[0].1, &Ears::new()?)
}

/// One way to listen.
struct Setting {
    name: String,
    value: f64,
    sort: Sort,
    how: Listening,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Longer,
    Preset,
    Fixed,
}

/// All silences of `how` longer by so many milliseconds.
fn longer(how: Listening, by: i32) -> Listening {
    let moved = |silence: Duration| {
        let by_ms = Duration::from_millis(u64::from(by.unsigned_abs()));
        if by < 0 { silence.saturating_sub(by_ms) } else { silence + by_ms }
    };
    Listening {
        silence: moved(how.silence),
        silence_whole: moved(how.silence_whole),
        silence_settled: moved(how.silence_settled),
        silence_complete: moved(how.silence_complete),
        silence_incomplete: moved(how.silence_incomplete),
        silence_foreign: moved(how.silence_foreign),
        limit: how.limit + Duration::from_millis(u64::try_from(by).unwrap_or(0)),
        ..how
    }
}

fn settings(quick: bool) -> Vec<Setting> {
    let steps: &[i32] = if quick { &FEW_LONGER } else { &LONGER };
    let mut all: Vec<Setting> = steps
        .iter()
        .map(|by| Setting {
            name: format!("balanced {by:+} ms"),
            value: f64::from(*by),
            sort: Sort::Longer,
            how: longer(Listening::BALANCED, *by),
        })
        .collect();
    let presets =
        [("eager", Listening::EAGER), ("balanced", Listening::BALANCED), ("patient", Listening::PATIENT)];
    all.extend(presets.map(|(name, how)| Setting {
        name: name.to_owned(),
        value: 0.0,
        sort: Sort::Preset,
        how,
    }));
    let step = if quick { 100 } else { 40 };
    #[expect(clippy::cast_precision_loss, reason = "a second of milliseconds")]
    all.extend(FIXED_MS.step_by(step).map(|millis| Setting {
        name: format!("{millis} ms of silence"),
        value: millis as f64,
        sort: Sort::Fixed,
        how: Listening::fixed(Duration::from_millis(millis)),
    }));
    all
}

/// What came of one call: by detector, then by setting.
struct CallRun {
    grammar: bool,
    answers: Vec<Vec<stage::Answers>>,
}

fn endpoints(
    corpus: &Corpus,
    detectors: &[(&str, MakeVad)],
    settings: &[Vec<Setting>],
    ears: &Ears,
    progress: &Progress,
) -> Result<Vec<CallRun>, TurnsError> {
    let run = |number: usize, call: &Call| -> Result<CallRun, TurnsError> {
        let mut decoder = if call.grammar { Some(ears.take()?) } else { None };
        let mut memory = Memory::default();
        if let Some(decoder) = &mut decoder {
            memory.meet(decoder, &call.frames, &call.turns)?;
        }
        let mut answers = Vec::with_capacity(detectors.len());
        for ((_, vad), settings) in detectors.iter().zip(settings) {
            if !answers.is_empty() && !number.is_multiple_of(SOME_CALLS) {
                break;
            }
            // The most patient first: what the decoder says to the others is then known already.
            let mut order: Vec<usize> = (0..settings.len()).collect();
            order.sort_by_key(|place| std::cmp::Reverse(settings[*place].how.silence_incomplete));
            let mut of_detector: Vec<Option<stage::Answers>> = settings.iter().map(|_| None).collect();
            for place in order {
                let setting = &settings[place];
                let listened = decoder.as_mut().filter(|_| setting.sort != Sort::Fixed);
                let ears = listened.map(|decoder| (decoder, &mut memory));
                of_detector[place] = Some(stage::listen(call, *vad, setting.how, ears, None)?);
            }
            answers.push(of_detector.into_iter().flatten().collect());
        }
        if let Some(decoder) = decoder {
            ears.give(decoder);
        }
        Ok(CallRun { grammar: call.grammar, answers })
    };
    let done = AtomicUsize::new(0);
    let runs = each(corpus.calls.len(), |n| {
        let run = run(n, &corpus.calls[n]);
        #[expect(clippy::cast_precision_loss, reason = "hundreds of calls")]
        let share = done.fetch_add(1, Ordering::Relaxed) as f64 / corpus.calls.len() as f64;
        (progress.tell)("ends of turns", 0.2 + 0.5 * share);
        run
    });
    runs.into_iter().collect()
}

fn frontier(
    name: &str,
    speech: &str,
    detector: usize,
    runs: &[&CallRun],
    settings: &[Setting],
) -> Endpointing {
    let mut points: [Vec<Point>; 3] = Default::default();
    for (number, setting) in settings.iter().enumerate() {
        let mut tally = Tally::default();
        let of_detector = runs.iter().filter_map(|run| run.answers.get(detector));
        of_detector.for_each(|answers| tally.add(&answers[number]));
        let place = match setting.sort {
            Sort::Longer => 0,
            Sort::Preset => 1,
            Sort::Fixed => 2,
        };
        points[place].push(tally.point(&setting.name, setting.value));
    }
    let [ours, presets, fixed] = points;
    Endpointing::new(name, speech, ours, presets, fixed)
}

fn interruptions(
    name: &str,
    vad: MakeVad,
    corpus: &Corpus,
    plan: &Plan,
    ears: &Ears,
) -> Result<report::Interruptions, TurnsError> {
    let (how, barge_in) = (Listening::BALANCED, BargeIn::ALLOWED);
    let reactions =
        each(corpus.scenes.len(), |n| stage::play(&corpus.scenes[n], vad, how, barge_in, Some(ears)));
    let reactions: Vec<_> = reactions.into_iter().collect::<Result<_, _>>()?;
    let calls = if plan.quick { ECHO_CALLS / 6 } else { ECHO_CALLS };
    let echoes = ECHOES.map(|db| {
        let counts = each(calls, |n| {
            let mut random = Rng::with_seed(plan.seed ^ n as u64);
            let echo = Echo { db, delay_ms: 20 + random.usize(..=380) };
            let speech =
                corpus.speech.get(n % corpus.speech.len().max(1)).map_or(&[] as &[i16], |speech| speech);
            stage::echo(speech, echo, ECHO_CALL, vad, how, barge_in, &mut random)
        });
        let (stops, ducks) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        #[expect(clippy::cast_precision_loss, reason = "some calls")]
        let hours = calls as f64 * ECHO_CALL.as_secs_f64() / 3_600.0;
        report::Echoed::new(db, hours, stops, ducks)
    });
    Ok(tally::interruptions(name, &corpus.scenes, &reactions, echoes.to_vec()))
}

fn cost(name: &str, vad: MakeVad, corpus: &Corpus) -> Cost {
    let (mut time, mut frames, mut effort) = (Duration::ZERO, 0, Effort::default());
    for call in &corpus.calls {
        let (of_call, count, of_detector) = stage::cost(call, vad);
        time += of_call;
        frames += count;
        effort.frames += of_detector.frames;
        effort.neural += of_detector.neural;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few million frames")]
    let ratio = |part: f64, whole: u64| part / whole.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a few million frames")]
    let neural = (effort.neural > 0).then(|| ratio(effort.neural as f64, effort.frames));
    Cost {
        detector: name.to_owned(),
        us_per_frame: ratio(time.as_secs_f64() * 1e6, frames),
        neural_share: neural,
        debug_build: cfg!(debug_assertions),
    }
}

fn made(corpus: &Corpus) -> Made {
    let turns = |grammar: bool| {
        corpus.calls.iter().filter(|call| call.grammar == grammar).map(|call| call.turns.len()).sum()
    };
    let all = || corpus.calls.iter().flat_map(|call| &call.turns);
    let long = |turn: &&corpus::Turn| turn.pauses.iter().any(|(from, to)| to - from >= 200);
    Made {
        calls: corpus.calls.len(),
        turns_grammar: turns(true),
        turns_open: turns(false),
        turns_with_pauses: all().filter(long).count(),
        seconds: Duration::from_millis(corpus.millis()).as_secs_f64(),
        scenes: corpus.scenes.len(),
    }
}

/// Every turn under the default settings and the default detector, for whoever wants to know which were cut off.
fn lines(corpus: &Corpus, runs: &[CallRun], settings: &[Setting]) -> Vec<TurnLine> {
    let balanced = settings.iter().position(|setting| setting.name == "balanced").unwrap_or(0);
    let mut all = Vec::new();
    for (call, run) in corpus.calls.iter().zip(runs) {
        for (turn, outcome) in call.turns.iter().zip(&run.answers[0][balanced].outcomes) {
            let (outcome, millis, witness) = match outcome {
                Outcome::Answered { delay_ms, witness } => ("answered", *delay_ms, Some(witness)),
                Outcome::CutOff { early_ms, witness } => ("cut_off", *early_ms, Some(witness)),
                Outcome::Never { waited_ms } => ("never", *waited_ms, None),
            };
            all.push(TurnLine {
                voice: call.voice.clone(),
                noise: call.noise.to_owned(),
                kind: turn.kind.to_owned(),
                text: turn.text.clone(),
                length_ms: turn.end - turn.onset,
                pauses_ms: turn.pauses.iter().map(|(from, to)| to - from).collect(),
                outcome: outcome.to_owned(),
                ms: millis,
                witness: witness.map(|witness| witness.name().to_owned()),
            });
        }
    }
    all
}
