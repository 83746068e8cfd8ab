//! What can be said.

use std::path::PathBuf;

use super::clauses::Stream;
use crate::turn::BargeIn;

/// A piece of a [`Prompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text for the synthesiser.
    Text(String),
    /// A WAV file.
    File(PathBuf),
    /// Text that is written while it is said: the last part of a prompt. What stands behind it is not said.
    Stream(Stream),
}

impl Part {
    /// What records call a recording.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => format!("[{}]", path.file_name().unwrap_or_default().to_string_lossy()),
            // Told clause by clause.
            Self::Stream(_) => String::new(),
        }
    }
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
    /// How often it goes on from the sentence that was cut, when what cut it was an "uh-huh" or a cough after all. [`None`]:
    /// once when it asks, and not when it is only said.
    pub resume: Option<u8>,
}

impl Prompt {
    /// A prompt that is interrupted as `barge_in` says.
    #[must_use]
    pub fn interruptible(mut self, barge_in: BargeIn) -> Self {
        self.barge_in = Some(barge_in);
        self
    }

    /// A prompt that goes on so often after an interruption that was none.
    #[must_use]
    pub fn resumed(mut self, times: u8) -> Self {
        self.resume = Some(times);
        self
    }

    /// Whether both sound the same.
    #[must_use]
    pub(super) fn sounds_like(&self, other: &Self) -> bool {
        self.parts == other.parts && self.voice == other.voice
    }

    /// Whether some of it is still being written.
    pub(super) fn is_streamed(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Stream(_)))
    }

    /// What the records say was said: the texts, and the file names of recordings. What is still being written is told as it
    /// comes.
    #[must_use]
    pub fn text(&self) -> String {
        let names = self.parts.iter().map(Part::name).filter(|name| !name.is_empty());
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

impl From<Stream> for Prompt {
    fn from(stream: Stream) -> Self {
        Self { parts: vec![Part::Stream(stream)], ..Self::default() }
    }
}

impl From<PathBuf> for Prompt {
    fn from(file: PathBuf) -> Self {
        Self { parts: vec![Part::File(file)], ..Self::default() }
    }
}
