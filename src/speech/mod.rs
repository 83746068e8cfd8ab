//! Hearing and speaking: the traits [`Recognizer`] and [`Synthesizer`], and one file per backend.
//!
//! Both stream. A recogniser reads a call's ear for as long as the call lasts and is told what to expect, question
//! by question; hypotheses come out while the caller still speaks. A synthesiser takes text and gives audio before
//! the sentence is whole. Neither ever runs on a media thread, and what computes runs on threads of its own.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::audio::Rate;
use crate::audio::ring::EarReader;
use crate::id::CallId;
use crate::service::ServiceError;
use crate::time::Moment;

/// Why speech could not be recognised or made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpeechError {
    /// The backend is not in this build or its data is not on this machine. The sentence says what to install.
    #[error("{0}")]
    Unavailable(String),
    /// The request itself is at fault: an unknown voice, a word that no dictionary has, a text too long.
    #[error("{0}")]
    Rejected(String),
    /// The backend failed at its work; another try may succeed.
    #[error("{backend} failed: {what}")]
    Failed {
        /// Name of the backend.
        backend: &'static str,
        /// What it said.
        what: String,
    },
    /// Every decoder is busy and none came free in time.
    #[error(
        "no decoder came free in time: raise `decoders` under [speech] or lower `max_calls` under [engine]"
    )]
    Busy,
    /// A service over the network did not do it.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl SpeechError {
    /// Whether the same request would fail in the same way at the same backend.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Rejected(_) => true,
            Self::Service(error) => error.is_lasting(),
            Self::Failed { .. } | Self::Busy => false,
        }
    }

    /// Whether it says something about the backend's health, as opposed to this one request.
    #[must_use]
    pub const fn counts(&self) -> bool {
        match self {
            Self::Rejected(_) => false,
            Self::Service(error) => error.counts(),
            Self::Unavailable(_) | Self::Failed { .. } | Self::Busy => true,
        }
    }
}

/// Numbers the questions that one call puts to its recogniser.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AskId(pub u32);

/// What a recogniser shall listen for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which question this is; comes back with every answer to it.
    pub id: AskId,
    /// What the answer is expected in.
    pub expected: Expected,
}

/// What an answer is expected in.
#[derive(Debug, Clone)]
pub enum Expected {
    /// The sentences of a grammar.
    Grammar(Arc<grammar::Grammar>),
    /// Anything that people say.
    Open,
}

impl Expected {
    /// The grammar, where there is one.
    #[must_use]
    pub fn grammar(&self) -> Option<&Arc<grammar::Grammar>> {
        match self {
            Self::Grammar(grammar) => Some(grammar),
            Self::Open => None,
        }
    }

    /// What words mean here: what a grammar's tags make of them, the words themselves where anything may be said, and
    /// [`None`] where they are no whole sentence of the grammar.
    #[must_use]
    pub fn interpret(&self, words: &str) -> Option<String> {
        match self {
            Self::Grammar(grammar) => grammar.interpret(words),
            Self::Open => Some(words.to_owned()).filter(|words| !words.trim().is_empty()),
        }
    }
}

/// What a recogniser believes it heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The words, lower case, separated by one space.
    pub text: String,
    /// What the grammar's tags make of them: `"sales"` for "the sales department", `"1234"` for four digits.
    /// [`None`] while the words are not yet a whole sentence of the grammar.
    pub meaning: Option<String>,
    /// From 0 (a guess) to 1 (sure). PocketSphinx: the share of sentences heard with this confidence that were right, of
    /// the voices that calibrated it, when half of what is said is outside the grammar (`models/refusal/README.md`); what
    /// has not become a sentence yet is not calibrated.
    pub confidence: f32,
    /// Up to when the caller was heard for it.
    pub at: Moment,
}

/// What a recogniser says about one question.
#[derive(Debug, Clone)]
pub enum Answer {
    /// What it would say now; may change. Sent when it changes.
    Partial(Hypothesis),
    /// At a pause: what the final would be if the caller were done.
    Provisional(Option<Hypothesis>),
    /// The end of the utterance. [`None`]: speech, but nothing in the grammar (refused).
    Final(Option<Hypothesis>),
    /// It believes that the caller is done, or is no longer: a recogniser with an ear for turns. One more witness of a
    /// [`TurnTaker`](crate::turn::TurnTaker).
    EndOfTurn {
        /// Up to when the caller was heard for it.
        at: Moment,
        /// From 0 (he goes on) to 1 (sure that he is done).
        confidence: f32,
    },
    /// The recogniser could not do its work on this utterance.
    Failed(SpeechError),
    /// Which backend the answers that follow are of, where several could have given them.
    By(&'static str),
}

/// A recogniser: opened once per call.
pub trait Recognizer: Send + Sync {
    /// The backend's name, as in the configuration.
    fn name(&self) -> &'static str;

    /// Whether it takes questions that are [open](Expected::Open). One that does not answers them with
    /// [`SpeechError::Unavailable`].
    fn is_open(&self) -> bool {
        false
    }

    /// Whether it hears on this machine, and so may hear along with another without a bill.
    fn is_local(&self) -> bool {
        false
    }

    /// Starts to read the ear of `call`. What is in the ear outside a question is thrown away.
    ///
    /// # Errors
    /// When the backend cannot take another call.
    fn open(&self, call: CallId, ear: EarReader, rate: Rate) -> Result<RecognizerSession, SpeechError>;

    /// Makes ready for a grammar that calls will ask for: compiles it and checks every word.
    ///
    /// # Errors
    /// [`SpeechError::Rejected`] names the word that is not in the dictionary, and the file.
    fn prepare(&self, grammar: &Arc<grammar::Grammar>) -> Result<(), SpeechError>;

    /// Utterances that wait for a decoder now: how much there is to do. None where a backend takes all that come.
    fn waiting(&self) -> usize {
        0
    }
}

/// One call's recogniser. Dropping it ends the work and frees what it held.
pub struct RecognizerSession {
    /// Puts a question: what is heard from the next onset on is matched with its grammar. A new question ends the
    /// one before it; [`None`] ends it without another.
    pub asks: mpsc::Sender<Option<Ask>>,
    /// The answers. At most one [`Answer::Final`] or [`Answer::Failed`] per question.
    pub answers: mpsc::Receiver<(AskId, Answer)>,
    /// Whether who has the last word hears on this machine: where he is late he is busy, and will answer.
    pub is_local: bool,
}

/// What to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Utterance {
    /// Plain text, at most [`Utterance::MAX_CHARS`] characters.
    pub text: String,
    /// The backend's name of a voice; [`None`] for its default.
    pub voice: Option<String>,
    /// The sample rate that is wanted.
    pub rate: Rate,
}

impl Utterance {
    /// A text may have this many characters: about a minute of speech.
    pub const MAX_CHARS: usize = 1_000;
}

/// A synthesiser.
pub trait Synthesizer: Send + Sync {
    /// The backend's name, as in the configuration.
    fn name(&self) -> &'static str;

    /// Begins to speak; returns at once. Dropping the stream stops the work in the middle of a word.
    fn synthesize(&self, utterance: &Utterance) -> SpeechStream;

    /// Whether speaking costs nothing but some of this machine's time. What may be said next is then made before it is known
    /// whether it will be.
    fn is_embedded(&self) -> bool {
        false
    }
}

/// Audio of an utterance as it is made: chunks of samples at the rate asked for, of any length, each once.
pub struct SpeechStream {
    /// Ends after the last chunk. An error is the last item.
    pub chunks: mpsc::Receiver<Result<Vec<i16>, SpeechError>>,
    /// When each word is over, as far as the synthesiser tells.
    pub times: WordTimes,
}

pub mod bandwidth;
pub mod cartesia;
pub mod command;
pub mod deepgram;
mod duplex;
pub mod elevenlabs;
pub mod fallback;
pub mod flite;
pub mod grammar;
pub mod manners;
pub mod network;
pub mod openai;
pub mod pocketsphinx;
mod pour;
pub mod prompts;
pub mod sherpa;
pub mod spoken;
mod unwrap;
pub mod vosk;
pub mod witness;
pub mod words;
pub mod wyoming;

use words::WordTimes;
