//! What can be listened for, and what was heard.

use std::sync::Arc;
use std::time::Duration;

use crate::speech::SpeechError;
use crate::speech::grammar::Grammar;
use crate::turn::Listening;

/// What keys mean while listening.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyPlan {
    /// Keys are not an answer; they are ignored.
    #[default]
    Ignore,
    /// The first key is the answer.
    One,
    /// Keys make a number; one that is too short is for the bot to judge.
    Digits {
        /// It is complete with this many.
        max: usize,
        /// A key that ends it; is not part of it.
        terminator: Option<char>,
        /// It ends when no key follows for this long.
        inter_digit: Duration,
    },
}

/// What to listen for.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The sentences that are understood; [`None`]: a voice is heard, but not understood.
    pub grammar: Option<Arc<Grammar>>,
    /// What keys mean.
    pub keys: KeyPlan,
    /// How long to wait, and when the caller is done.
    pub how: Listening,
}

impl Listen {
    /// For a sentence of `grammar`.
    #[must_use]
    pub fn grammar(grammar: Arc<Grammar>) -> Self {
        Self { grammar: Some(grammar), keys: KeyPlan::Ignore, how: Listening::BALANCED }
    }

    /// For keys alone.
    #[must_use]
    pub fn keys(keys: KeyPlan) -> Self {
        Self { grammar: None, keys, how: Listening::BALANCED }
    }

    /// And for keys.
    #[must_use]
    pub fn or_keys(mut self, keys: KeyPlan) -> Self {
        self.keys = keys;
        self
    }

    /// With other times.
    #[must_use]
    pub fn timed(mut self, how: Listening) -> Self {
        self.how = how;
        self
    }
}

/// What came of listening.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A sentence of the grammar.
    Words {
        /// The words.
        text: String,
        /// What the grammar makes of them.
        meaning: String,
        /// From 0 to 1.
        confidence: f32,
    },
    /// Keys: one, or a number without its terminator. A number that timed out may be shorter than asked for.
    Keys(String),
    /// Speech, but nothing that was asked for.
    NoMatch,
    /// Nothing.
    NoInput,
    /// The recogniser failed; the caller is not to blame.
    Failed(SpeechError),
}
