//! What recognisers over a network share: one driver for each call, and what a service has to bring.
//!
//! A service is a small file: how its connection is made, what is written for audio, for a pause and for the end, and what
//! its messages say. Everything else is here, so that no service can do it otherwise: which audio belongs to a question,
//! what is sent again after a connection broke, how long anybody waits, and that each question is answered once.
//!
//! # Parts
//!
//! - [`NetworkRecognizer`]: the [`Recognizer`] of any service;
//! - `session`: what serves one call, one task;
//! - `utterance`: the audio of the utterance under way and what was heard in it so far;
//! - `link`, `messages`: connections (WebSocket, TCP, HTTP) that are written and read without anybody waiting;
//! - [`wording`]: from the text that a service writes to the words of a grammar.
//!
//! # Times
//!
//! A connection is made when a question is put, so that it is there when the caller speaks. One that breaks is made again
//! at once, then after longer and longer waits, and the utterance under way is sent again from its beginning. When the
//! caller is done the answer has [`Patience::last`] to come: 1.2 s, so that nobody sits in silence for longer than 1.5 s.
//! What is late is [`Answer::Failed`](super::Answer), unless what was heard last holds.
//!
//! # What it never does
//!
//! It decides nothing about turns: onset, pause and end come through the ear. It keeps no audio of an utterance that is
//! over, and writes no word of a caller into the log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::grammar::Grammar;
use super::{Expected, Recognizer, RecognizerSession, SpeechError};
use crate::audio::Rate;
use crate::audio::ring::EarReader;
use crate::id::CallId;
use crate::service::ServiceError;

pub(super) mod link;
pub(super) mod messages;
mod session;
#[cfg(test)]
mod tests;
mod utterance;
pub mod wording;

use link::{Link, Wire};

/// Questions and answers that a call may have under way.
const QUESTIONS: usize = 4;
const ANSWERS: usize = 32;

/// How long a recogniser is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection to stand.
    pub connect: Duration,
    /// For the last word, once the caller is done.
    pub last: Duration,
    /// A connection that nobody asked anything for so long is closed.
    pub idle: Duration,
}

impl Patience {
    /// With these, as the configuration has them.
    pub(super) fn of_ms(connect: u64, last: u64) -> Self {
        Self { connect: Duration::from_millis(connect), last: Duration::from_millis(last), ..Self::default() }
    }
}

/// Milliseconds that a connection may take, unless the configuration says otherwise.
pub(super) const CONNECT_MS: u64 = 1_500;
/// The same for the last word.
pub(super) const FINAL_MS: u64 = 1_200;

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(CONNECT_MS),
            last: Duration::from_millis(FINAL_MS),
            idle: Duration::from_secs(60),
        }
    }
}

/// A recogniser behind a network. One for the whole engine; each call has a connection of its own.
pub struct NetworkRecognizer {
    service: Arc<dyn Service>,
    patience: Patience,
    runtime: Option<Handle>,
}

impl NetworkRecognizer {
    pub(super) fn new(service: impl Service, patience: Patience) -> Self {
        Self { service: Arc::new(service), patience, runtime: Handle::try_current().ok() }
    }
}

impl std::fmt::Debug for NetworkRecognizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkRecognizer").field("service", &self.service.name()).finish_non_exhaustive()
    }
}

impl Recognizer for NetworkRecognizer {
    fn name(&self) -> &'static str {
        self.service.name()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn open(&self, _call: CallId, ear: EarReader, rate: Rate) -> Result<RecognizerSession, SpeechError> {
        let runtime = self.runtime.clone().or_else(|| Handle::try_current().ok());
        let runtime = runtime.ok_or_else(|| SpeechError::Failed {
            backend: self.service.name(),
            what: "it was opened outside the engine's runtime".to_owned(),
        })?;
        let (asks, asked) = mpsc::channel(QUESTIONS);
        let (answers, answered) = mpsc::channel(ANSWERS);
        let session =
            session::Session::new(Arc::clone(&self.service), self.patience, ear, rate, asked, answers);
        runtime.spawn(session.run());
        Ok(RecognizerSession { asks, answers: answered, is_local: false })
    }

    /// Every word may be said to a service: there is nothing to compile.
    fn prepare(&self, _grammar: &Arc<Grammar>) -> Result<(), SpeechError> {
        Ok(())
    }
}

/// A connection that is being made, with what speaks the service's language on it.
pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ServiceError>> + Send>>;

/// A connection that stands.
pub(super) struct Connection {
    pub link: Box<dyn Link>,
    pub dialect: Box<dyn Dialect>,
}

/// What a service has to bring.
pub(super) trait Service: Send + Sync + 'static {
    /// The backend's name, as in the configuration.
    fn name(&self) -> &'static str;

    /// How it wants to be used, for a call whose ear has `rate`.
    fn plan(&self, rate: Rate) -> Plan;

    /// Begins to connect; `expected` is what is asked, for services that are told when the connection is made. `rate` is the
    /// one of the [`Plan`].
    fn connect(&self, expected: &Expected, rate: Rate) -> Connecting;

    /// A number for all that [`connect`](Self::connect) takes from the question: a connection serves the next question too
    /// when it is the same.
    fn fitted(&self, _expected: &Expected) -> u64 {
        0
    }
}

/// How a service is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// At which rate it gets samples.
    pub rate: Rate,
    /// How much audio goes out at a time.
    pub chunk: Duration,
    /// Whether a connection serves one utterance after the other.
    pub lasts: bool,
    /// What is done at a pause.
    pub at_pause: AtPause,
    /// How often it wants to hear of us while nobody speaks.
    pub keep_alive: Option<Duration>,
}

/// What is done at a pause, when the caller may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtPause {
    /// The service is asked for all that it has, and hears on.
    Flush,
    /// It works on whole utterances: this one is ended for a try, and sent again as a whole if the caller goes on.
    End,
    /// Nothing: its partial hypotheses run so far behind the sound.
    Follow(Duration),
}

/// Speaks a service's language on one connection: bytes in, news out, no I/O. What comes from the network never panics, and
/// nothing in it grows with what comes.
pub(super) trait Dialect: Send {
    /// An utterance begins: its audio follows.
    fn begin(&mut self, expected: &Expected, out: &mut Vec<Wire>);

    /// Audio of the utterance, in order.
    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>);

    /// The caller may be done: of a service with [`AtPause::Flush`]. Whether the service has said all already.
    fn flush(&mut self, _out: &mut Vec<Wire>) -> bool {
        false
    }

    /// The utterance is over. Whether the service has said all already.
    fn end(&mut self, out: &mut Vec<Wire>) -> bool;

    /// The utterance is of no interest any more: of a service whose connection lasts.
    fn abandon(&mut self, _out: &mut Vec<Wire>) {}

    /// Nobody speaks, and the connection shall stay.
    fn keep_alive(&mut self, _out: &mut Vec<Wire>) {}

    /// The connection is left.
    fn leave(&mut self, _out: &mut Vec<Wire>) {}

    /// The service closed the connection, or it broke. Whether that is how the service says that it has said all.
    fn closed(&mut self, _how: &ServiceError, _news: &mut Vec<News>) -> bool {
        false
    }

    /// Something came.
    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError>;
}

/// What a service says of the utterance under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// What it believes behind what is settled; takes the place of what it believed before.
    Tail(Said),
    /// What it will not change any more; comes behind what was settled before.
    Settled(Said),
    /// What it believed will not change any more.
    Keep,
    /// It has heard so much of the utterance.
    Heard(Duration),
    /// All that was sent before the last [`flush`](Dialect::flush) or [`end`](Dialect::end) is in what it said.
    Caught,
    /// It believes, as it has heard so much of the utterance, that the caller is done; from 0 to 1.
    Turn { heard: Duration, confidence: f32 },
}

/// Words as a service writes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Said {
    /// With the service's case, punctuation and numerals.
    pub text: String,
    /// From 0 to 1, where it says so.
    pub confidence: Option<f32>,
}

impl Said {
    pub(super) fn new(text: impl Into<String>, confidence: Option<f32>) -> Self {
        Self { text: text.into(), confidence }
    }
}
