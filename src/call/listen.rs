//! What can be listened for, and what was heard.

use std::sync::Arc;
use std::time::Duration;

use super::{Prompt, Said};
use crate::speech::grammar::Grammar;
use crate::speech::manners::{ENGLISH, Manners};
use crate::speech::{Expected, SpeechError};
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
    /// What is understood; [`None`]: a voice is heard, but not understood.
    pub expected: Option<Expected>,
    /// What keys mean.
    pub keys: KeyPlan,
    /// How long to wait, and when the caller is done. What is asked and whether somebody recognises is filled in by the
    /// call; a question other than [`Open`](crate::turn::Question::Open) that is set here stays.
    pub how: Listening,
    /// The manners of the language that the caller answers in: which words say nothing, and which end no sentence.
    pub manners: &'static Manners,
    /// Tells what would be said to an answer, so that it can be prepared while the caller may still go on.
    pub anticipate: Option<Anticipate>,
    /// What may be said next, one prompt for each answer that is known beforehand. Where just one of them is not kept, and making
    /// it costs nothing, it is made while the caller thinks.
    pub foreseen: Vec<Prompt>,
}

/// Tells what a bot would say next if this were the answer; [`None`] where that is not known yet. It may be asked several
/// times for one answer, and what it tells may never be said: it must change nothing.
#[derive(Clone)]
pub struct Anticipate(Arc<Reply>);

type Reply = dyn Fn(&Heard, Option<&Said>) -> Option<Prompt> + Send + Sync;

impl Anticipate {
    /// What would be said, if this were the answer to what was `said`, where that is over.
    #[must_use]
    pub fn reply(&self, heard: &Heard, said: Option<&Said>) -> Option<Prompt> {
        (self.0)(heard, said)
    }
}

impl std::fmt::Debug for Anticipate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Anticipate")
    }
}

impl Listen {
    /// For a sentence of `grammar`.
    #[must_use]
    pub fn grammar(grammar: Arc<Grammar>) -> Self {
        Self { expected: Some(Expected::Grammar(grammar)), ..Self::keys(KeyPlan::Ignore) }
    }

    /// For anything that people say. The call's recogniser has to be one that takes
    /// [open questions](crate::speech::Recognizer::is_open).
    #[must_use]
    pub fn open() -> Self {
        Self { expected: Some(Expected::Open), ..Self::keys(KeyPlan::Ignore) }
    }

    /// For keys alone.
    #[must_use]
    pub fn keys(keys: KeyPlan) -> Self {
        Self {
            expected: None,
            keys,
            how: Listening::BALANCED,
            manners: ENGLISH,
            anticipate: None,
            foreseen: Vec::new(),
        }
    }

    /// And for keys.
    #[must_use]
    pub fn or_keys(mut self, keys: KeyPlan) -> Self {
        self.keys = keys;
        self
    }

    /// In this language, a tag as `de` or `fr-CA`.
    #[must_use]
    pub fn language(mut self, language: &str) -> Self {
        self.manners = Manners::of(language);
        self
    }

    /// With the reply prepared as soon as the caller pauses: `reply` tells what would be said if this were the answer. The
    /// next thing that is said takes what was prepared when it is that prompt; when the caller goes on it is thrown away.
    #[must_use]
    pub fn anticipate(mut self, reply: impl Fn(&Heard) -> Option<Prompt> + Send + Sync + 'static) -> Self {
        self.anticipate = Some(Anticipate(Arc::new(move |heard, _| reply(heard))));
        self
    }

    /// With what may be said next made ready while the caller thinks.
    #[must_use]
    pub fn foresee(mut self, replies: Vec<Prompt>) -> Self {
        self.foreseen = replies;
        self
    }

    /// The same for a bot whose reply depends on how much was heard of what it said before.
    #[must_use]
    pub fn anticipate_said(
        mut self,
        reply: impl Fn(&Heard, &Said) -> Option<Prompt> + Send + Sync + 'static,
    ) -> Self {
        self.anticipate = Some(Anticipate(Arc::new(move |heard, said| reply(heard, said?))));
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
    /// What was asked for: a sentence of the grammar, or anything.
    Words {
        /// The words.
        text: String,
        /// What the grammar makes of them; the words themselves where anything could be said.
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
