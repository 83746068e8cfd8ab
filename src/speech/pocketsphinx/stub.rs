//! Stands in for the recogniser in a build without it.

use std::sync::Arc;

use super::PocketSphinxConfig;
use crate::audio::Rate;
use crate::audio::ring::EarReader;
use crate::id::CallId;
use crate::speech::grammar::Grammar;
use crate::speech::{Recognizer, RecognizerSession, SpeechError};

/// The recogniser of a build without the feature `pocketsphinx`: there is none.
#[derive(Debug)]
pub enum PocketSphinxRecognizer {}

impl PocketSphinxRecognizer {
    /// Says that this build has no PocketSphinx.
    ///
    /// # Errors
    /// Always [`SpeechError::Unavailable`], with what to install.
    pub fn new(_config: PocketSphinxConfig) -> Result<Self, SpeechError> {
        Err(SpeechError::Unavailable(
            "this build has no PocketSphinx: install libpocketsphinx-dev and pocketsphinx-en-us and build with the \
             feature `pocketsphinx`"
                .to_owned(),
        ))
    }

    /// Says the same.
    ///
    /// # Errors
    /// Always, as [`new`](Self::new).
    pub fn of_answers(config: PocketSphinxConfig) -> Result<Self, SpeechError> {
        Self::new(config)
    }
}

impl Recognizer for PocketSphinxRecognizer {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn open(&self, _call: CallId, _ear: EarReader, _rate: Rate) -> Result<RecognizerSession, SpeechError> {
        match *self {}
    }

    fn prepare(&self, _grammar: &Arc<Grammar>) -> Result<(), SpeechError> {
        match *self {}
    }
}
