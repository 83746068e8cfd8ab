//! The bot's own voice coming back: a gate that knows it, and a canceller that takes it out.
//!
//! A phone's loudspeaker, a hybrid or a conference gives back what was sent, 20 to 400 ms later and 10 to 40 dB fainter.
//! [`EchoGate`] tells such frames from the caller's, for nearly nothing, so that they neither duck nor interrupt the
//! bot; what the recogniser hears is not changed. A [`Canceller`] changes the audio itself, for 150 times the cost, and
//! is there only where it is asked for.
//!
//! - `gate`: the gate;
//! - `canceller`: the echo canceller of WebRTC (the crate `sonora`) behind a small trait.

mod canceller;
mod gate;

pub use canceller::{Canceller, canceller};
pub use gate::{EchoGate, Path};
