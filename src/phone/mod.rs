//! A small real SIP phone: the scripted caller of the demo, of the tests and of the load run.
//!
//! It calls Asterisk, or is called by it, over UDP; speaks PCMU, presses keys as telephone events, and listens: when
//! the bot began to speak and when it stopped, how evenly its packets came, what was lost. What it says about time is
//! what a caller would hear, measured outside the engine.
//!
//! ```no_run
//! # async fn example(question: Vec<i16>) -> Result<(), offhook::phone::PhoneError> {
//! use std::time::Duration;
//! use offhook::phone::{Phone, PhoneConfig};
//!
//! let patience = Duration::from_secs(5);
//! let phone = Phone::start(PhoneConfig::loopback("caller")).await?;
//! let call = phone.call("sip:100@127.0.0.1:5060").await?;
//! call.wait_answered(patience).await?;
//! call.wait_bot_speaks(patience).await?;
//! call.wait_bot_silent(Duration::from_millis(500), patience).await?;
//! let spoken = call.say(question).await?;
//! println!("replied after {:?}", call.wait_reply(&spoken, patience).await?);
//! call.hang_up().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Parts
//!
//! - [`Phone`] (`line`) owns the SIP socket and the task that serves it; [`PhoneCall`] (`call`) is one call;
//! - [`sip`] is the protocol, without I/O and clock;
//! - `media` holds the audio threads: an absolute clock of 5 ms, some hundred calls each; the kernel stamps
//!   arrivals, so that a busy machine blurs no measurement; `voice` makes what is sent, [`Ear`] (`ear`) keeps
//!   what is heard;
//! - [`script`] plays a conversation that is written down as data; [`fleet`] plays it on many calls at once;
//!   `sound` makes callers without words.
//!
//! # What its moments mean
//!
//! All are moments of packets. What the caller says counts from the packet that carries the sample, when it is handed
//! to the kernel; what the bot says, from the packet that carries the sample, when the kernel received it. A human's
//! ear is 20 ms of packet and a jitter buffer further away on either side; these are the phone's, not the bot's.
//!
//! - *reply latency*: from the last voiced packet of the caller's speech (not the silence behind it) to the first
//!   voiced packet of the bot ([`PhoneCall::wait_reply`]);
//! - *barge-in latency*: from the first voiced packet of the caller to the last voiced packet of what the bot was
//!   saying ([`PhoneCall::barge_in_latency`]);
//! - a packet is voiced when 10 ms of it are louder than [`EarSettings::threshold_dbfs`]; a segment of speech is over
//!   when nothing voiced came for [`EarSettings::hangover`]. A bot that stops and speaks again within the hangover was
//!   never silent.
//!
//! # What it never does
//!
//! Register, transfer, encrypt, resample, recognise speech. Memory is bounded: ten minutes of recording per call, none
//! with [`EarSettings::lean`]. Log lines carry neither addresses nor numbers.

use std::net::SocketAddr;
use std::time::Duration;

mod call;
mod ear;
pub mod fleet;
mod line;
mod media;
pub mod script;
pub mod sip;
mod sound;
mod voice;
mod wire;

pub use call::{EarlyCall, IncomingCall, OnTheWire, PhoneCall};
pub use ear::{Ear, EarSettings, EarStats, Heard, HeardPacket, Segment};
pub use line::{Phone, PhoneConfig};
pub use sip::{agent, sdp};
pub use sound::syllables;
pub use voice::{KeyTiming, Pressed, Spoken};

/// What can go wrong with a phone or one of its calls.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// A port or thread that the phone needs cannot be had.
    #[error("the phone cannot have {what} on {at} ({source}): give it another port or address")]
    Bind {
        /// What for.
        what: &'static str,
        /// Where.
        at: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not a URI that the phone can call.
    #[error("'{uri}' cannot be called: write it as sip:100@127.0.0.1:5060, with an IP address")]
    Target {
        /// As it was given.
        uri: String,
    },
    /// The call ended, or was never answered.
    #[error("the call is over: {} {}", .0.code, .0.reason)]
    Ended(agent::Ending),
    /// Nobody has answered yet.
    #[error("the call is not up yet: wait for the answer")]
    NotUp,
    /// What was waited for did not happen in time.
    #[error("{what} did not come within {after:?}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// Not a key of a telephone.
    #[error("'{0}' is no key of a telephone: 0 to 9, *, #, A to D are")]
    NoKey(char),
    /// Too much is waiting to be said.
    #[error("too much waits to be said on this call: wait for it before saying more")]
    Busy,
    /// The phone was stopped.
    #[error("the phone has been stopped")]
    Gone,
}
