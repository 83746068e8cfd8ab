//! Deepgram (<https://developers.deepgram.com>).

mod flux;
mod nova;
pub mod recognizer;
pub mod synthesizer;
