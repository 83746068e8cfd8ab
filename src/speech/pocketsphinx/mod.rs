//! Embedded recognition with PocketSphinx (feature `pocketsphinx`; Debian: libpocketsphinx-dev, pocketsphinx-en-us).
//!
//! A call's audio is matched with the grammar of the question at hand while the caller speaks; an open question has
//! decoders of its own, with a language model of English. Beside it goes a free loop
//! over all phones; where that explains the sound much better than the grammar does, something else was said, and the
//! answer is refused.
//!
//! # Parts
//!
//! - `ffi`, `decoder`: the binding, written by hand, and a decoder that frees itself;
//! - `acoustics`, `scorer`, `hook`: the acoustic model, how well its sounds fit a frame and what the free loop makes of it,
//!   and how both come to stand in the place of the library's own scorer, which was the slowest part of it;
//! - `evidence`: what speaks for an answer and against it, how sure that makes, and when it is refused
//!   (`models/refusal/README.md`);
//! - `lexicon`: pronunciations; a decoder's dictionary holds only what the grammars prepared so far need;
//! - `language`: a small language model out of sentences, for what is said when a call is answered;
//! - `hearing`: one decoder with the bandwidth extension before it and the judgement behind it;
//! - `pool`: decoder threads, leased to a call from the onset of an utterance to its end;
//! - `session`: what a call is served by: it throws away what nobody asked for and leases.
//!
//! # Threads
//!
//! One small thread attends to the ears of all calls that wait (a task each), and at most
//! [`decoders`](PocketSphinxConfig::decoders) threads decode, each with a decoder of its own, made when it is first
//! needed. A thread without an utterance sleeps; a thread with one sleeps between frames.
//!
//! # What it never does
//!
//! It decides nothing about turns: onset, pause and end come through the ear.

use std::path::PathBuf;

#[cfg(feature = "pocketsphinx")]
mod acoustics;
#[cfg(feature = "pocketsphinx")]
mod decoder;
#[cfg(feature = "pocketsphinx")]
mod evidence;
#[cfg(feature = "pocketsphinx")]
mod ffi;
#[cfg(feature = "pocketsphinx")]
mod hearing;
#[cfg(feature = "pocketsphinx")]
mod hook;
#[cfg(feature = "pocketsphinx")]
mod language;
#[cfg(feature = "pocketsphinx")]
mod lexicon;
#[cfg(feature = "pocketsphinx")]
mod pool;
#[cfg(feature = "pocketsphinx")]
mod recognizer;
#[cfg(feature = "pocketsphinx")]
mod scorer;
#[cfg(feature = "pocketsphinx")]
mod session;
#[cfg(not(feature = "pocketsphinx"))]
mod stub;

#[cfg(feature = "pocketsphinx")]
pub use evidence::{EVIDENCE, Evidence};
#[cfg(feature = "pocketsphinx")]
pub use recognizer::{Acquaintance, Examiner, PocketSphinxRecognizer};
#[cfg(not(feature = "pocketsphinx"))]
pub use stub::PocketSphinxRecognizer;

/// The backend's name in configuration and errors.
pub const NAME: &str = "pocketsphinx";

/// How to recognise.
#[derive(Debug, Clone, PartialEq)]
pub struct PocketSphinxConfig {
    /// The folder of the model package: the acoustic model `en-us/` and the dictionary `cmudict-en-us.dict`.
    pub model_dir: PathBuf,
    /// More pronunciations, in the format of `models/pronunciations.dict`; they go before the dictionary's.
    pub pronunciations: Option<PathBuf>,
    /// At most this many callers are decoded at once; each decoder is a thread and takes about 7 MB. Those that are
    /// never needed are never made.
    pub decoders: usize,
    /// At most this many are decoded at once who are asked an open question, with the language model `en-us.lm.bin` in the
    /// model's folder; each takes some 100 MB, made when it is first needed. 0: open questions are not taken.
    pub dictation_decoders: usize,
    /// Whether what the telephone cut off above 3.5 kHz is estimated. Only a comparison has a reason to turn it off.
    pub extend_bandwidth: bool,
    /// Whether answers that are likelier to have been outside the grammar are refused. Only a comparison has a reason to
    /// turn it off.
    pub refuse: bool,
}

impl Default for PocketSphinxConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            model_dir: PathBuf::from("/usr/share/pocketsphinx/model/en-us"),
            pronunciations: None,
            decoders: 2 * cores,
            dictation_decoders: cores,
            extend_bandwidth: true,
            refuse: true,
        }
    }
}

#[cfg(all(test, feature = "pocketsphinx", feature = "flite"))]
mod tests;
