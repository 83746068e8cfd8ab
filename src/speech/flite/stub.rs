//! Stands in for the synthesiser in a build without it.

use super::FliteConfig;
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};

/// The synthesiser of a build without the feature `flite`: there is none.
#[derive(Debug)]
pub enum FliteSynthesizer {}

impl FliteSynthesizer {
    /// Says that this build has no Flite.
    ///
    /// # Errors
    /// Always [`SpeechError::Unavailable`], with what to install.
    pub fn new(_config: FliteConfig) -> Result<Self, SpeechError> {
        Err(SpeechError::Unavailable(
            "this build has no Flite: install flite1-dev and build with the feature `flite`".to_owned(),
        ))
    }
}

impl Synthesizer for FliteSynthesizer {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn synthesize(&self, _utterance: &Utterance) -> SpeechStream {
        match *self {}
    }
}
