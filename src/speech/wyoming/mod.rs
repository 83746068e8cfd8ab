//! The Wyoming protocol of voice assistants (<https://github.com/OHF-Voice/wyoming>).

mod frames;
pub mod recognizer;
pub mod synthesizer;
