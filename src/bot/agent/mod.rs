//! An agent: a language model that talks with callers, declared in one TOML file.
//!
//! The format is in `docs/agents.md`; `prompts/reception.toml` is a whole agent. What the caller says goes to a model as it was
//! recognised, what the model writes goes to the synthesiser clause by clause, while the rest is still coming.
//!
//! # Parts
//!
//! - `file` is the TOML as it is written, `build` makes an [`Agent`] of it and tells what is wrong;
//! - [`model`]: language models, their protocols, and several of them as a chain;
//! - `text`: markdown into clauses that can be said;
//! - `history`: the dialog as a model is told of it: of the bot's words those that were heard;
//! - `reply`: one reply with its tools and fillers, made by a task of its own;
//! - `limits`: turns, tokens, money and time of a call;
//! - `driver`: the bot that puts all of it on a call;
//! - [`standin`]: a model in this process that needs no key, for demonstrations and tests.
//!
//! # What it never does
//!
//! It dials nothing that is not a named destination of the configuration, whoever asks for it: a model's words are names out
//! of a list or they are refused. It takes what callers and tools say as data. It keeps nothing without a bound, and leaves no
//! caller in silence while something is slow.

use std::path::Path;
use std::sync::Arc;

mod build;
mod driver;
mod ending;
mod file;
mod history;
mod limits;
pub mod model;
mod reply;
pub mod standin;
#[cfg(test)]
mod tests;
mod text;

use crate::speech::grammar::Grammar;

pub use build::{Agent, OtherModel, Overrides};
pub use driver::AgentBot;

/// An agent that cannot be used. The sentence says where, what, and what is accepted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(String);

impl AgentError {
    fn at(path: &Path, what: impl std::fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
    }
}

impl Agent {
    /// The grammar that it listens with, to be prepared before the first call; [`None`] where it takes anything.
    #[must_use]
    pub fn grammar(&self) -> Option<&Arc<Grammar>> {
        self.grammar.as_ref()
    }
}
