//! phone

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
mod stamp;
mod voice;
mod wire;

pub use call::*;
pub use ear::*;
pub use line::*;
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
