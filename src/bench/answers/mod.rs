//! Person or machine, measured: how often and how soon the detector of [`crate::turn::answer`] is right about who answered, and
//! how soon after a beep a message begins. `offhook bench answers`.
//!
//! A corpus of answered calls is made on the spot (see `corpus`): greetings of persons and of machines in the voices of the
//! benchmark of turn taking, with pauses, noise, ringback, beeps of several pitches, both laws of G.711 and lost packets; and
//! fax machines, calls that failed, silence. Its two halves have other voices, other greetings and other beeps. Both run in
//! virtual time; beside Offhook, on the same calls, stands what the documentation of Asterisk's AMD() describes.
//!
//! # Parts
//!
//! - this file: [`measure`] runs a [`Plan`] and gives a [`Report`]; [`fit`] finds thresholds on the tuning half;
//! - `corpus`: what is heard, and the truth about it; `listeners`: the recogniser that hears along; `peer`: AMD() by its documentation;
//! - `tally`: figures out of verdicts; [`report`]: what was found.
//!
//! # What it never does
//!
//! [`measure`] tunes nothing, and [`fit`] never hears the reported half.

use self::corpus::{Along, Call, Corpus};
use self::listeners::Listeners;
use self::report::{Half, Report};
use super::Progress;
use super::machine::Machine;
use super::turns::Part;
use crate::speech::SpeechError;
use crate::time::Moment;
use crate::turn::answer::judge::Judge;
use crate::turn::answer::settings::Limits;
use crate::turn::answer::{AnswerSettings, AnswerSignal, BadSetting, Book, Told};

mod corpus;
mod fit;
mod listeners;
mod peer;
pub mod report;
mod tally;

pub use fit::fit;

/// Why answered calls could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// Nobody speaks.
    #[error("there is no voice for the corpus: {0}")]
    NoVoices(String),
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] BadSetting),
    /// There is no recogniser to hear along.
    #[error(transparent)]
    Speech(#[from] SpeechError),
}

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What the corpus is made from.
    pub seed: u64,
    /// A sixth of it.
    pub quick: bool,
    /// The tuning half alone.
    pub tuning: bool,
    /// The English recogniser hears calls in other languages too, as if a bot called abroad.
    pub abroad: bool,
    /// The settings of the detector.
    pub settings: AnswerSettings,
}

impl Plan {
    const fn share(&self) -> f64 {
        if self.quick { 1.0 / 6.0 } else { 1.0 }
    }
}

/// Makes both halves of the corpus and measures on them. Blocks for a minute or so; not inside a task.
///
/// # Errors
/// When nobody speaks, or the settings contradict each other.
pub fn measure(plan: &Plan, progress: &Progress) -> Result<Report, AnswersError> {
    plan.settings.check()?;
    let machine = Machine::read();
    let listeners = listeners(plan)?;
    let mut halves = Vec::new();
    let mut left_out = Vec::new();
    for (part, at) in [(Part::Tuning, 0.0), (Part::Reported, 0.5)] {
        if part == Part::Reported && plan.tuning {
            continue;
        }
        (progress.tell)(&format!("the {} half", part.name()), at);
        let corpus = Corpus::make(
            part,
            plan.seed,
            plan.share(),
            &plan.settings,
            listeners.as_ref(),
            Along::AsInCalls,
        )?;
        halves.push(half(part, &corpus.calls, &plan.settings));
        left_out = corpus.missing;
    }
    (progress.tell)("done", 1.0);
    Ok(Report {
        schema: report::SCHEMA,
        offhook: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        seed: plan.seed,
        quick: plan.quick,
        left_out,
        settings: plan.settings.clone(),
        halves,
    })
}

/// The recogniser that hears along, where the settings want one and this build has one.
fn listeners(plan: &Plan) -> Result<Option<Listeners>, AnswersError> {
    if plan.settings.words { Listeners::find(plan.abroad) } else { Ok(None) }
}

fn half(part: Part, calls: &[Call], settings: &AnswerSettings) -> Half {
    let limits = Limits::from(settings);
    let book = Book::new(&settings.phrases);
    let runs: Vec<Vec<AnswerSignal>> =
        calls.iter().map(|call| run(call, limits, &told(call, &book))).collect();
    tally::half(part, calls, &runs)
}

/// What the words of a call tell, and when.
fn told(call: &Call, book: &Book) -> Vec<(Moment, Told)> {
    call.words.iter().map(|words| (words.at, book.tell(&words.text))).collect()
}

/// All that the detector tells of a call.
fn run(call: &Call, limits: Limits, words: &[(Moment, Told)]) -> Vec<AnswerSignal> {
    let mut judge = Judge::new(limits);
    let mut told = Vec::new();
    let answered = Moment::from_millis(call.answered);
    let mut words = words.iter().peekable();
    for (number, tick) in call.ticks.iter().enumerate() {
        let now = Moment::from_millis((number as u64 + 1) * 20);
        if now > answered {
            judge.answered(answered);
        }
        while let Some((_, says)) = words.next_if(|(at, _)| *at <= now) {
            judge.hear_words(now, *says);
        }
        judge.hear(now, tick.heard.as_ref(), &mut |signal| told.push(signal));
    }
    told
}
