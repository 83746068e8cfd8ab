//! The Asterisk Manager Interface: what ARI lacks.
//!
//! # Parts
//!
//! - [`Ami`]: the client; one per Asterisk, cheap to clone. It connects by itself, signs in, and does so again after
//!   every outage. Actions may run at the same time: answers find theirs by ActionID.
//! - [`actions`]: actions with types of their own; every other one is an [`Action`].
//! - [`events`]: the same for events; [`Ami::events`] is a bounded stream of those that one asks for.
//! - [`wire`]: bytes to messages, without I/O. `correlate`: messages to the actions that they answer, likewise.
//! - [`AmiError`]: what can go wrong.
//!
//! ```no_run
//! # async fn demo() -> Result<(), offhook::asterisk::ami::AmiError> {
//! use std::time::Duration;
//! use offhook::asterisk::ami::{Ami, AmiConfig, Signal, actions::CoreShowChannels, events::EventKind};
//! use offhook::asterisk::secret::Secret;
//!
//! let ami = Ami::new(AmiConfig::new("127.0.0.1:5038", "offhook", Secret::new("secret")))?;
//! ami.ready(Duration::from_secs(5)).await?;
//! let mut hangups = ami.events(&["Hangup"]);
//! println!("{} channels", ami.run(&CoreShowChannels::default()).await?.len());
//! if let Signal::Event(event) = hangups.next().await
//!     && let EventKind::Hangup(hangup) = event.kind()
//! {
//!     println!("cause {}", hangup.cause);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it never does
//!
//! It repeats no action: whoever sent it knows whether that is safe. It sends no value that could become a line of its own. It
//! logs and prints neither secrets nor numbers: `Debug` of actions, messages and records shows names alone.

pub mod action;
pub mod actions;
mod client;
mod config;
mod connection;
mod correlate;
mod error;
pub mod events;
pub mod message;
mod queue;
pub mod records;
pub mod wire;

#[cfg(test)]
mod tests;

pub use action::{Action, Reply};
pub use client::{Ami, AmiCounts, Why};
pub use config::{AmiConfig, Login, Tls};
pub use error::AmiError;
pub use message::Message;
pub use queue::{Events, Signal};
