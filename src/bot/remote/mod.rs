//! The bot that is somebody's program: it hears of a call as JSON messages over a WebSocket, and says what to do as such.
//!
//! Either we connect to the program, once for each call, or it connects to us, once, and serves many calls (a *worker*). The
//! messages are the same. What is said is `docs/remote.md` and, word for word, `docs/remote-protocol.schema.json`.
//!
//! # Parts
//!
//! - [`config`]: `remote` of a bot in the configuration;
//! - [`message`]: events, verbs, results; [`audio`]: the binary messages;
//! - `wire`: one WebSocket, bounded in size, rate and patience; `dial`: the way to a program that listens; `workers`: the
//!   port for those that come;
//! - `driver`: one call: verbs one after the other, events as they come; `perform`: a verb as a method of the `Call`;
//! - `fallback`: what becomes of a caller whose program fails;
//! - [`error`]: how a program fails.
//!
//! # What it never does
//!
//! It leaves nobody in silence: a program that is away, does not say what to do, or cannot be understood is given up after the
//! configured time, and its caller goes the configured way. Nothing that a program sends is without a bound, and it can
//! neither read files outside its folder nor dial anything that is no destination of the configuration.

use std::sync::Arc;
use std::time::Duration;

use super::{AnyBot, Bot, Outcome};
use crate::call::{Call, CallError, OwnEars};
use crate::id::CallId;
use crate::secret::Secret;

pub mod audio;
pub mod config;
mod dial;
mod driver;
pub mod error;
pub(in crate::bot) mod fallback;
pub mod message;
pub(in crate::bot) mod perform;
#[cfg(test)]
mod schema;
mod wire;
mod workers;

pub use config::{RemoteConfig, RemoteSection};
pub use error::RemoteError;

use dial::Dial;
use fallback::Fallback;
use perform::Grammars;
use wire::Line;
use workers::Workers;

/// A bot that is a program. See the [module](self).
pub struct RemoteBot {
    name: String,
    section: RemoteSection,
    way: Way,
    fallback: Fallback,
    voice: Option<String>,
    grammars: Arc<Grammars>,
}

/// How the program is reached.
enum Way {
    Dial(Box<Dial>),
    Workers(Workers),
}

impl RemoteBot {
    /// The bot `name` of the configuration, which speaks with `voice`. `flow` is the bot of the fallback's flow, where it has one.
    /// Opens the port of the workers, if there is one; inside a tokio runtime. Blocks on the disk for secrets and certificates.
    ///
    /// # Errors
    /// [`RemoteError::Setup`] says what cannot be used.
    pub fn new(
        name: &str,
        section: RemoteSection,
        voice: Option<String>,
        flow: Option<AnyBot>,
    ) -> Result<Self, RemoteError> {
        let token = match &section.token_file {
            Some(file) => Some(
                Secret::from_file(file)
                    .map_err(|error| RemoteError::Setup(format!("`token_file` of `remote`: {error}")))?,
            ),
            None => section.token.clone(),
        };
        let way = match &section.url {
            Some(url) => Way::Dial(Box::new(Dial::new(url, token.as_ref(), &section)?)),
            None => Way::Workers(Workers::open(name, &section, token)?),
        };
        let fallback = Fallback::new(&section.fallback, voice.clone(), flow);
        Ok(Self { name: name.to_owned(), section, way, fallback, voice, grammars: Arc::default() })
    }

    /// Where programs register, once they can; [`None`] where we connect to them.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match &self.way {
            Way::Dial(_) => None,
            Way::Workers(workers) => workers.house().address(),
        }
    }

    async fn line(&self, call: CallId, patience: Duration) -> Result<Line, RemoteError> {
        match &self.way {
            Way::Dial(dial) => dial.line(call, patience).await,
            Way::Workers(workers) => workers.house().line(call, patience).await,
        }
    }
}

impl Bot for RemoteBot {
    async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        driver::run(self, call).await
    }

    fn own_ears(&self) -> OwnEars {
        self.section.own_ears()
    }
}
