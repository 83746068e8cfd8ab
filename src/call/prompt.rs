//! What can be said.

use std::path::PathBuf;

use crate::turn::BargeIn;

/// A piece of a [`Prompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text for the synthesiser.
    Text(String),
    /// A WAV file.
    File(PathBuf),
}

/// Something to say: texts and recordings, one after the other as one play.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The pieces in order.
    pub parts: Vec<Part>,
    /// Name of the synthesiser's voice; [`None`] for the configured one.
    pub voice: Option<String>,
    /// How it may be interrupted. [`None`]: not at all when it is only said, by voice and key when it asks.
    pub barge_in: Option<BargeIn>,
}

impl Prompt {
    /// A prompt that is interrupted as `barge_in` says.
    #[must_use]
    pub fn interruptible(mut self, barge_in: BargeIn) -> Self {
        self.barge_in = Some(barge_in);
        self
    }

    /// What the records say was said: the texts, and the file names of recordings.
    #[must_use]
    pub fn text(&self) -> String {
        let names = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::File(path) => format!("[{}]", path.file_name().unwrap_or_default().to_string_lossy()),
        });
        names.collect::<Vec<_>>().join(" ")
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self { parts: vec![Part::Text(text)], ..Self::default() }
    }
}

impl From<PathBuf> for Prompt {
    fn from(file: PathBuf) -> Self {
        Self { parts: vec![Part::File(file)], ..Self::default() }
    }
}
