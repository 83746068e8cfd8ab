//! What the state machine asks of its driver, and what the driver tells it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Deed;
use crate::turn::Listening;

/// What is to be done now. Only [`Action::HangUp`] and [`Action::Continue`] end the flow; every other action is
/// answered with an [`Input`].
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say it, then report [`Input::Said`].
    Say {
        /// What to say, in order; never empty.
        parts: Vec<Part>,
        /// What may cut it short.
        barge_in: BargeInSpec,
    },
    /// Put a question and wait for words or for one key: [`Input::Heard`], [`Input::Keys`] with one key,
    /// [`Input::NoInput`] or [`Input::NoMatch`].
    Ask {
        /// The question, in order; on a later attempt the sentence about the failure comes first.
        parts: Vec<Part>,
        /// What may cut the question short.
        barge_in: BargeInSpec,
        /// What to listen for.
        listen: ListenSpec,
        /// How often the question has been put in this visit of the step, from 1.
        attempt: u8,
    },
    /// Put a question and wait for digits, by key ([`Input::Keys`] with all of them, without the terminator) or by
    /// voice ([`Input::Heard`] with the digits as meaning).
    Collect {
        /// The question, in order.
        parts: Vec<Part>,
        /// What may cut the question short.
        barge_in: BargeInSpec,
        /// What to listen for; [`ListenSpec::grammar`] is [`None`] when only keys count.
        listen: ListenSpec,
        /// How to gather keys; [`None`] when only the voice counts.
        keys: Option<CollectSpec>,
        /// How often the question has been put in this visit of the step, from 1.
        attempt: u8,
    },
    /// Say the parts, which nothing may cut short, then do it: [`Input::Done`] or [`Input::NotDone`]. A transfer that
    /// somebody takes ends the flow.
    Do {
        /// What to say before; may be empty.
        parts: Vec<Part>,
        /// What to do.
        deed: Deed,
    },
    /// Say the parts, which nothing may cut short, then hang up. The flow is over.
    HangUp {
        /// What to say before; may be empty.
        parts: Vec<Part>,
        /// Why, as Asterisk shall tell the caller's network.
        cause: HangUpCause,
    },
    /// Say the parts, set the channel variables, then give the caller back to the dialplan. The flow is over.
    Continue {
        /// What to say before; may be empty.
        parts: Vec<Part>,
        /// Where to go on.
        place: DialplanPlace,
        /// Channel variables to set first: name and value.
        variables: Vec<(String, String)>,
    },
}

impl Action {
    /// True when the flow is over after this action.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::HangUp { .. } | Self::Continue { .. })
    }

    /// What is said in this action, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Say { parts, .. }
            | Self::Ask { parts, .. }
            | Self::Collect { parts, .. }
            | Self::Do { parts, .. }
            | Self::HangUp { parts, .. }
            | Self::Continue { parts, .. } => parts,
        }
    }
}

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// A text to synthesise: its variables are filled in, numbers are written in words.
    Text(String),
    /// A WAV file to play; it existed when the flow was loaded.
    File(PathBuf),
}

/// What may cut a prompt short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BargeInSpec {
    /// The caller's voice may.
    pub by_voice: bool,
    /// A key may.
    pub by_key: bool,
    /// Neither may in the first so many milliseconds.
    pub protected_ms: u32,
    /// Whether the bot's voice goes down when the caller may be speaking, before that is sure.
    pub duck: bool,
    /// After so many milliseconds of likely speech; [`None`] for what [`BargeIn`](crate::turn::BargeIn) says, here and below.
    pub duck_after_ms: Option<u16>,
    /// By how many decibels.
    pub duck_db: Option<u8>,
    /// After so many milliseconds it is as good as silent.
    pub hush_after_ms: Option<u16>,
    /// By how many decibels it is down then.
    pub hush_db: Option<u8>,
    /// How often the prompt goes on from the sentence that was cut by what was no interruption.
    pub resume: Option<u8>,
}

impl BargeInSpec {
    /// Nothing may cut the prompt short.
    pub const NEVER: Self = Self {
        by_voice: false,
        by_key: false,
        protected_ms: 0,
        duck: true,
        duck_after_ms: None,
        duck_db: None,
        hush_after_ms: None,
        hush_db: None,
        resume: None,
    };
}

/// What to listen for.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenSpec {
    /// The name of a grammar of [`Flow::grammars`](super::Flow::grammars); [`None`]: the voice does not count.
    pub grammar: Option<String>,
    /// The keys that answer the question, each one by itself. Empty when no key counts, and in a collection.
    pub keys: String,
    /// When the caller is taken to be done.
    pub endpointing: Endpointing,
    /// Single silences in place of those.
    pub silences: Silences,
    /// [`Input::NoInput`] after so many milliseconds without a sound or a key, from the end of the prompt.
    pub no_input_ms: u32,
    /// An utterance that goes on for so many milliseconds is ended: [`Input::NoMatch`] unless it fits by then.
    pub max_speech_ms: u32,
}

/// When a caller who has fallen silent is taken to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpointing {
    /// Soon: for single words.
    Eager,
    /// Neither.
    Balanced,
    /// Late: for numbers and names, where people pause to think.
    Patient,
    /// After so many milliseconds of silence, whatever was said.
    SilenceMs(u32),
}

/// Silences in milliseconds in place of those of a preset; the names are those of
/// [`Listening`](crate::turn::Listening).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Silences {
    /// After words to which nothing can be added.
    pub whole_ms: Option<u16>,
    /// After words that nothing that may follow can change.
    pub settled_ms: Option<u16>,
    /// After an answer that more may follow.
    pub complete_ms: Option<u16>,
    /// Where no words are known.
    pub unknown_ms: Option<u16>,
    /// After words that are no answer.
    pub foreign_ms: Option<u16>,
    /// After the beginning of an answer.
    pub incomplete_ms: Option<u16>,
    /// The longest that is ever waited.
    pub limit_ms: Option<u16>,
    /// After which the reply is prepared.
    pub early_ms: Option<u16>,
}

impl Silences {
    /// What it says, in place of what `how` says.
    pub(super) fn lay_over(&self, how: Listening) -> Listening {
        let or = |own: Option<u16>, preset: Duration| {
            own.map_or(preset, |millis| Duration::from_millis(u64::from(millis)))
        };
        Listening {
            silence_whole: or(self.whole_ms, how.silence_whole),
            silence_settled: or(self.settled_ms, how.silence_settled),
            silence_complete: or(self.complete_ms, how.silence_complete),
            silence: or(self.unknown_ms, how.silence),
            silence_foreign: or(self.foreign_ms, how.silence_foreign),
            silence_incomplete: or(self.incomplete_ms, how.silence_incomplete),
            limit: or(self.limit_ms, how.limit),
            early: or(self.early_ms, how.early),
            ..how
        }
    }
}

/// How to gather keys into digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectSpec {
    /// Done as soon as there are so many.
    pub max: u8,
    /// The key that ends the number early; it is no part of it.
    pub terminator: Option<char>,
    /// Done when no key followed the last for so many milliseconds.
    pub inter_digit_ms: u32,
}

/// Why the call is hung up, in the words of ARI's `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangUpCause {
    /// The conversation is over.
    Normal,
    /// Nobody has time.
    Busy,
    /// There is no room.
    Congestion,
    /// Nobody answers.
    NoAnswer,
    /// The call is not wanted.
    Rejected,
    /// Something broke on our side.
    Failure,
}

impl HangUpCause {
    /// The words of the file format, and of ARI.
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("normal", Self::Normal),
        ("busy", Self::Busy),
        ("congestion", Self::Congestion),
        ("no_answer", Self::NoAnswer),
        ("rejected", Self::Rejected),
        ("failure", Self::Failure),
    ];

    /// The word for it in ARI's `DELETE /channels/{id}?reason=`.
    #[must_use]
    pub fn ari_reason(self) -> &'static str {
        Self::WORDS.iter().find(|(_, cause)| *cause == self).map_or("normal", |(word, _)| word)
    }
}

/// A place in the dialplan; what is [`None`] is left to Asterisk: the same context and extension, the next priority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialplanPlace {
    /// Context.
    pub context: Option<String>,
    /// Extension.
    pub exten: Option<String>,
    /// Priority, from 1.
    pub priority: Option<u32>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A prompt that asked nothing has ended.
    Said {
        /// True when the caller cut it short.
        interrupted: bool,
        /// How much of it was heard, in milliseconds of playout.
        heard_ms: u32,
    },
    /// The caller said something that is in the grammar.
    Heard {
        /// What the grammar makes of it.
        meaning: String,
        /// The words.
        text: String,
        /// From 0 (a guess) to 1 (sure).
        confidence: f32,
    },
    /// The caller pressed keys: one in an ask, all of the number in a collection.
    Keys(String),
    /// The caller said and pressed nothing in time.
    NoInput,
    /// The caller said something that is not in the grammar.
    NoMatch,
    /// What was to be done is done.
    Done {
        /// Variables that it sets.
        set: BTreeMap<String, String>,
    },
    /// It could not be done, and the caller is still here: nobody took the call, the service did not answer.
    NotDone,
    /// The action could not be done: no decoder, no synthesiser, a prompt that cannot be read.
    Failed,
}
