//! Embedded synthesis with Flite (feature `flite`; Debian: flite1-dev).
//!
//! A text is split into sentences, and a sentence gives its first audio while the rest of it is being made.
//!
//! # Parts
//!
//! - `ffi`, `voice`: the binding, written by hand, and a voice that speaks one sentence into a callback;
//! - `text`: sentences out of a text;
//! - `shape`: what comes out of a voice brought to the rate asked for, without the silence around it;
//! - `synthesizer`: texts, and how each is spoken;
//! - `queue`: the threads, and whose turn it is.
//!
//! # Threads
//!
//! Some of its own, of which a few work at a time. Whoever is half a second ahead of his listener gives way to texts that are
//! new and to those whose listeners run dry sooner, so that everybody's first audio comes early.
//!
//! # What it never does
//!
//! It keeps nothing: sentences said again and again are the [`PromptCache`](super::prompts::PromptCache)'s.

#[cfg(feature = "flite")]
mod ffi;
#[cfg(feature = "flite")]
mod queue;
#[cfg(feature = "flite")]
mod shape;
#[cfg(not(feature = "flite"))]
mod stub;
#[cfg(feature = "flite")]
mod synthesizer;
#[cfg(feature = "flite")]
mod text;
#[cfg(feature = "flite")]
mod voice;

#[cfg(not(feature = "flite"))]
pub use stub::FliteSynthesizer;
#[cfg(feature = "flite")]
pub use synthesizer::FliteSynthesizer;

/// The backend's name in configuration and errors.
pub const NAME: &str = "flite";

/// The voices: three that are easily understood (`slt` a woman, `rms` and `awb` men) and two small robots (`kal16`,
/// `kal`) that cost next to nothing; `kal` has 8 kHz, the others 16 kHz.
pub const VOICES: [&str; 5] = ["slt", "rms", "awb", "kal16", "kal"];

/// How to synthesise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FliteConfig {
    /// The voice that speaks when the utterance names none; one of [`VOICES`].
    pub voice: String,
    /// Threads that work at a time. One makes about 40 s of speech a second with the better voices.
    pub threads: usize,
    /// At most this many texts wait.
    pub queue: usize,
}

impl Default for FliteConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { voice: "slt".to_owned(), threads, queue: 256 }
    }
}
