//! The Asterisk Gateway Interface: a call in the dialplan asks us what to do, over three ways.
//!
//! # Parts
//!
//! - [`Session`]: what a handler holds: the call's [`Environment`], and every command of `agi show commands` as a method.
//! - [`Handler`], [`Router`]: async functions by the name of their script.
//! - [`Server`]: FastAGI: Asterisk connects to us, `AGI(agi://host/NAME)`.
//! - [`AsyncAgi`]: the same handlers over AMI, `AGI(agi:async,NAME)`.
//! - [`process`]: the same handlers as a program that Asterisk starts, `AGI(program)`.
//! - [`wire`]: bytes to environment, replies and hang-ups, without I/O; one parser for all three.
//! - [`Command`], [`COMMANDS`]: quoting, and the table that is held against the running server.
//!
//! ```no_run
//! # async fn demo() -> Result<(), offhook::asterisk::agi::AgiError> {
//! use offhook::asterisk::agi::{Router, Server, ServerConfig, Session};
//!
//! let router = Router::new().on("hello", async |session: Session| {
//!     session.answer().await?;
//!     let played = session.stream_file("hello-world", "#", None).await?;
//!     session.set_variable("STOPPED", if played.digit.is_some() { "yes" } else { "no" }).await
//! });
//! # let router = Router::new();
//! let server = Server::start(ServerConfig::default(), router).await?;
//! println!("agi://{}/hello", server.address());
//! # Ok(())
//! # }
//! ```
//!
//! # Hang-ups
//!
//! A hang-up is seen at once, in the middle of a command, too: the command ends in [`AgiError::HungUp`], and so does every
//! later one. [`Session::last_words`] gives the commands that Asterisk still does. [`Session::while_there`] drops other work. A
//! handler that goes on regardless is dropped after [`Patience::after_hang_up`].
//!
//! # What it never does
//!
//! It lets nobody in from another machine unless the configuration lists its address, sends no argument that could become
//! a command of its own, and logs no arguments, variables or numbers.

mod command;
mod environment;
mod error;
mod handler;
mod over_ami;
pub mod process;
mod results;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod verbs;
pub mod wire;

pub use command::{COMMANDS, Command, Known, LONGEST_COMMAND};
pub use environment::{Environment, percent_decoded};
pub use error::AgiError;
pub use handler::{Handler, Router};
pub use over_ami::AsyncAgi;
pub use results::{ChannelState, Heard, Keys, Played, Recorded, Recording, Tdd};
pub use server::{Server, ServerConfig, ServerCounts};
pub use session::{Patience, Session};
pub use wire::Reply;
