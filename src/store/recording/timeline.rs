//! The JSON timeline of a recording: closed after every write, and gone on with after a crash.
//!
//! The file is one object with a list of events, an event a line. Every write puts the new lines and the
//! closing brackets over the old closing brackets, so the file is whole before and after.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{MAX_TEXT_CHARS, cut};
use super::wav::open_private;
use crate::id::CallId;
use crate::store::{Interruption, TurnKind};

/// What closes the list and the object.
const TAIL: &str = "\n]}\n";

/// A timeline has this many events at most: several hours of a busy dialog.
const MAX_EVENTS: u64 = 20_000;

/// A timeline as it is in its file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimelineFile {
    /// The call.
    pub call: CallId,
    /// Samples per second of the recording.
    pub rate_hz: u32,
    /// What happened, in the order in which it was told.
    pub events: Vec<Entry>,
}

impl TimelineFile {
    /// Reads a timeline. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or is no timeline.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, or from when on: milliseconds from the start of the recording.
    pub at_ms: f64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen in a call.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The caller spoke.
    Speech {
        /// How long, in milliseconds.
        ms: u32,
    },
    /// The caller pressed a key. Leave it out where the keys are a secret.
    Key {
        /// Which.
        key: char,
    },
    /// The caller's part of a turn was understood, or not.
    Turn {
        /// Which turn of the call, from 0.
        index: u32,
        /// The bot's name of the step.
        step: Option<String>,
        /// What it was.
        kind: TurnKind,
        /// The recogniser's words.
        text: Option<String>,
        /// What the grammar made of them.
        meaning: Option<String>,
        /// From 0 to 1.
        confidence: Option<f32>,
    },
    /// The bot spoke. Told when it has ended, `at_ms` is when it began.
    Play {
        /// What.
        text: Option<String>,
        /// How long the whole of it is.
        total_ms: Option<u32>,
        /// How much of it was heard.
        heard_ms: u32,
        /// What cut it short.
        interrupted: Option<Interruption>,
    },
    /// Anything else: answered, transferred, hung up.
    Mark {
        /// One word.
        name: String,
        /// More of it.
        detail: Option<String>,
    },
    /// Another process went on with the recording; how much it missed is not in the file.
    Resumed,
    /// The recording ended.
    Ended {
        /// How much audio was lost because the disk stalled; silence is in its place.
        lost_ms: u64,
        /// How many events were lost.
        lost_events: u64,
    },
}

impl std::fmt::Debug for Event {
    /// Without what was said and pressed: those stay out of log lines.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Speech { .. } => "Speech",
            Self::Key { .. } => "Key",
            Self::Turn { .. } => "Turn",
            Self::Play { .. } => "Play",
            Self::Mark { .. } => "Mark",
            Self::Resumed => "Resumed",
            Self::Ended { .. } => "Ended",
        })
    }
}

/// Appends to a timeline.
pub(super) struct TimelineWriter {
    file: File,
    /// Where the closing brackets begin.
    end: u64,
    events: u64,
    refused: u64,
    /// Lines that have not been written yet.
    waiting: String,
}

impl TimelineWriter {
    /// Opens the timeline of a call and makes it when it is not there; of one that was not closed (a write
    /// that broke off) the whole lines are kept.
    pub(super) fn open(path: &Path, call: CallId) -> io::Result<Self> {
        let file = open_private(path)?;
        let head = format!(r#"{{"call":"{call}","rate_hz":8000,"events":["#);
        let found = if file.metadata()?.is_file() { std::fs::read(path)? } else { Vec::new() };
        let found = String::from_utf8_lossy(&found);
        let mut writer = Self { file, end: head.len() as u64, events: 0, refused: 0, waiting: String::new() };
        let mut lines = found.split('\n');
        if lines.next() == Some(head.as_str()) {
            for line in lines {
                if serde_json::from_str::<Entry>(line.strip_prefix(',').unwrap_or(line)).is_err() {
                    break;
                }
                writer.end += 1 + line.len() as u64;
                writer.events += 1;
            }
            writer.file.write_all_at(TAIL.as_bytes(), writer.end)?;
        } else {
            writer.file.write_all_at(format!("{head}{TAIL}").as_bytes(), 0)?;
        }
        writer.file.set_len(writer.end + TAIL.len() as u64).or_else(ignore_special)?;
        Ok(writer)
    }

    /// Adds an entry, to be written by [`write`](Self::write).
    pub(super) fn push(&mut self, entry: &Entry) {
        if self.events < MAX_EVENTS {
            self.push_last(entry);
        } else {
            self.refused += 1;
        }
    }

    /// Adds an entry even when the timeline is full: the one that says that it is over.
    pub(super) fn push_last(&mut self, entry: &Entry) {
        let cut = Entry { at_ms: (entry.at_ms * 10.0).round() / 10.0, event: cut_texts(entry.event.clone()) };
        // Only a map with keys that are no strings cannot be JSON, and there is none here.
        let Ok(line) = serde_json::to_string(&cut) else { return };
        self.waiting.push('\n');
        if self.events > 0 {
            self.waiting.push(',');
        }
        self.waiting.push_str(&line);
        self.events += 1;
    }

    /// Writes what was added.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let lines = self.waiting.len() as u64;
        self.waiting.push_str(TAIL);
        self.file.write_all_at(self.waiting.as_bytes(), self.end)?;
        self.end += lines;
        self.waiting.clear();
        Ok(())
    }

    /// How many entries did not fit.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }
}

/// Something that is no plain file has no length to set.
fn ignore_special(why: io::Error) -> io::Result<()> {
    if why.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(why) }
}

fn cut_texts(event: Event) -> Event {
    match event {
        Event::Turn { index, step, kind, text, meaning, confidence } => {
            Event::Turn { index, step: cut(step), kind, text: cut(text), meaning: cut(meaning), confidence }
        }
        Event::Play { text, total_ms, heard_ms, interrupted } => {
            Event::Play { text: cut(text), total_ms, heard_ms, interrupted }
        }
        Event::Mark { name, detail } => {
            Event::Mark { name: name.chars().take(MAX_TEXT_CHARS).collect(), detail: cut(detail) }
        }
        other => other,
    }
}
