//! Bots: who talks on a call.
//!
//! A [`Bot`] is given a [`Call`] and runs until the conversation is over. [`flow`] is the bot that is declared in a
//! TOML file, [`remote`] a program of anybody's over a WebSocket, [`realtime`] a model that hears and speaks itself; a Rust program writes its own:
//!
//! ```
//! use offhook::bot::{Bot, Outcome};
//! use offhook::call::{Call, CallError, KeyPlan, Listen};
//!
//! struct Greeter;
//!
//! impl Bot for Greeter {
//!     async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
//!         call.answer().await?;
//!         call.ask("Hello. Press any key.", Listen::keys(KeyPlan::One)).await?;
//!         call.say("Thank you. Goodbye.").await?;
//!         Ok(Outcome::HangUp)
//!     }
//! }
//! ```
//!
//! One value serves all calls at once, so a bot keeps what belongs to a call on the stack of its `run`. It never
//! touches Asterisk or audio but through the `Call`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::asterisk::ari::ops::HangupReason;
use crate::call::{Call, CallError, OwnEars, Prompt};

pub mod agent;
mod attend;
mod endpointing;
pub mod flow;
pub mod realtime;
pub mod remote;
mod sink;
mod template;
mod tools;

pub use endpointing::Endpointing;

/// How a bot leaves its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The conversation is over: hang up.
    HangUp,
    /// Hang up, and tell the caller's network why.
    HangUpBecause(HangupReason),
    /// The bot has left the caller to the dialplan.
    Left,
}

/// Who talks on a call.
pub trait Bot: Send + Sync + 'static {
    /// Talks with one caller. Dropped in mid-sentence when the engine ends; the caller then hears
    /// [`goodbye`](Self::goodbye).
    ///
    /// # Errors
    /// Passing on what a `Call`'s methods return is right: the engine tells a caller who left from a failure.
    fn run(&self, call: &mut Call) -> impl Future<Output = Result<Outcome, CallError>> + Send;

    /// What to say when the engine has to end the call; [`None`] for the configured sentence.
    fn goodbye(&self) -> Option<Prompt> {
        None
    }

    /// What it hears itself, where no recogniser of the engine's shall listen.
    fn own_ears(&self) -> OwnEars {
        OwnEars::None
    }
}

/// Any [`Bot`], shared.
#[derive(Clone)]
pub struct AnyBot(Arc<dyn Erased>);

type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome, CallError>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn run<'a>(&'a self, call: &'a mut Call) -> Running<'a>;
    fn goodbye(&self) -> Option<Prompt>;
    fn own_ears(&self) -> OwnEars;
}

impl<B: Bot> Erased for B {
    fn run<'a>(&'a self, call: &'a mut Call) -> Running<'a> {
        Box::pin(Bot::run(self, call))
    }

    fn goodbye(&self) -> Option<Prompt> {
        Bot::goodbye(self)
    }

    fn own_ears(&self) -> OwnEars {
        Bot::own_ears(self)
    }
}

impl AnyBot {
    /// Wraps a bot.
    #[must_use]
    pub fn new(bot: impl Bot) -> Self {
        Self(Arc::new(bot))
    }

    /// As [`Bot::run`].
    pub(crate) async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        self.0.run(call).await
    }

    /// As [`Bot::goodbye`].
    pub(crate) fn goodbye(&self) -> Option<Prompt> {
        self.0.goodbye()
    }

    /// As [`Bot::own_ears`].
    pub(crate) fn own_ears(&self) -> OwnEars {
        self.0.own_ears()
    }
}
