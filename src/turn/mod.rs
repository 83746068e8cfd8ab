//! Turn taking: who speaks, when the caller is done, when the bot is interrupted.
//!
//! Deciding code only: it is fed frames and moments, answers with [`TurnSignal`]s, reads no clock, does no I/O and
//! allocates nothing per frame. A media thread runs one [`TurnTaker`] per call; a test runs an hour of it in a
//! blink.
//!
//! - [`vad`]: is there speech in this frame;
//! - [`taker`]: onset, pause, endpoint, no input and barge-in out of a row of such answers;
//! - [`ledger`]: what one turn took, stage by stage.
//!
//! It never touches audio that goes out, and knows nothing of words: recognisers sit behind the rings.

use std::time::Duration;

use crate::time::Moment;

pub mod ledger;
pub mod taker;
pub mod vad;

pub use taker::TurnTaker;
pub use vad::Vad;

/// How to listen for one utterance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// Give up when nothing was said for this long after the bot fell silent.
    pub no_input: Duration,
    /// A silence of this length inside an utterance is worth preparing the reply for.
    pub early: Duration,
    /// A silence of this length ends the utterance.
    pub silence: Duration,
    /// Voiced audio that makes a sound the beginning of an utterance.
    pub min_speech: Duration,
    /// An utterance that is longer than this is ended.
    pub max_speech: Duration,
}

impl Listening {
    /// For answers of a word or two that are wanted fast: a pause in mid-answer may cut the caller off.
    pub const EAGER: Self = Self { silence: Duration::from_millis(300), ..Self::BALANCED };
    /// For menus and short numbers.
    pub const BALANCED: Self = Self {
        no_input: Duration::from_secs(5),
        early: Duration::from_millis(100),
        silence: Duration::from_millis(500),
        min_speech: Duration::from_millis(60),
        max_speech: Duration::from_secs(15),
    };
    /// For callers who think, or who read a long number aloud.
    pub const PATIENT: Self = Self {
        silence: Duration::from_millis(900),
        no_input: Duration::from_secs(8),
        max_speech: Duration::from_secs(30),
        ..Self::BALANCED
    };
}

/// How what is being played may be interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BargeIn {
    /// The caller's voice interrupts.
    pub voice: bool,
    /// A key interrupts.
    pub keys: bool,
    /// This much from the beginning is played whatever the caller does.
    pub protect: Duration,
    /// Voiced audio that counts as an interruption; more than an onset needs, since a cough must not do it.
    pub min_speech: Duration,
}

impl BargeIn {
    /// By voice and by key, after 120 ms of voice.
    pub const ALLOWED: Self =
        Self { voice: true, keys: true, protect: Duration::ZERO, min_speech: Duration::from_millis(120) };
    /// Heard to its end.
    pub const FORBIDDEN: Self = Self { voice: false, keys: false, ..Self::ALLOWED };
}

/// What a [`TurnTaker`] has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnSignal {
    /// The caller began to speak.
    Onset {
        /// When the first voiced frame began.
        at: Moment,
    },
    /// The caller may be done.
    Pause {
        /// When the last voiced frame ended.
        speech_end: Moment,
    },
    /// He went on after a [`TurnSignal::Pause`].
    Resumed {
        /// When.
        at: Moment,
    },
    /// The caller is done. The taker is deaf until it is told to listen again.
    Endpoint {
        /// When the last voiced frame ended.
        speech_end: Moment,
        /// When that was decided.
        decided: Moment,
    },
    /// He spoke for longer than is listened to; deaf as after [`TurnSignal::Endpoint`].
    TooLong {
        /// When the limit was reached.
        at: Moment,
    },
    /// Nothing was said; deaf as after [`TurnSignal::Endpoint`].
    NoInput {
        /// When the limit was reached.
        at: Moment,
    },
    /// What is being played is to stop.
    BargeIn {
        /// When the voice, or the key, began.
        onset: Moment,
        /// When that was decided.
        decided: Moment,
        /// Whether a key did it.
        by_key: bool,
    },
}
