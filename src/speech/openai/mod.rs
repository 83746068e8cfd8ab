//! OpenAI (<https://developers.openai.com>), and the many servers that speak like it.

mod realtime;
pub mod recognizer;
pub mod synthesizer;
mod transcription;
