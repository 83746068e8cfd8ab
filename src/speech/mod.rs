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
}

/// Numbers the questions that one call puts to its recogniser.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AskId(pub u32);

/// What a recogniser shall listen for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which question this is; comes back with every answer to it.
    pub id: AskId,
    /// The grammar that the answer is expected in.
    pub grammar: Arc<grammar::Grammar>,
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
    /// The recogniser could not do its work on this utterance.
    Failed(SpeechError),
}

/// A recogniser: opened once per call.
pub trait Recognizer: Send + Sync {
    /// The backend's name, as in the configuration.
    fn name(&self) -> &'static str;

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
}

/// One call's recogniser. Dropping it ends the work and frees what it held.
pub struct RecognizerSession {
    /// Puts a question: what is heard from the next onset on is matched with its grammar. A new question ends the
    /// one before it; [`None`] ends it without another.
    pub asks: mpsc::Sender<Option<Ask>>,
    /// The answers. At most one [`Answer::Final`] or [`Answer::Failed`] per question.
    pub answers: mpsc::Receiver<(AskId, Answer)>,
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
}

/// Audio of an utterance as it is made: chunks of samples at the rate asked for, of any length, each once.
pub struct SpeechStream {
    /// Ends after the last chunk. An error is the last item.
    pub chunks: mpsc::Receiver<Result<Vec<i16>, SpeechError>>,
    /// When each word is over, as far as the synthesiser tells.
    pub times: WordTimes,
}

pub mod bandwidth;
pub mod flite;
pub mod grammar;
pub mod manners;
pub mod pocketsphinx;
pub mod prompts;
pub mod spoken;
pub mod witness;
pub mod words;

use words::WordTimes;
