//! What is true of a test capture: the sidecar beside each of `tests/fixtures/*.pcap`.
//!
//! A capture shows what arrived; its sidecar tells what was sent: where there is speech, which packets the network lost,
//! held back or doubled, which keys were pressed. Times are in milliseconds of *media time*: of the audio that was sent,
//! counted from its first sample, whatever the network did to it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::netem::Impairment;

/// What is true of a capture.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// One line about it.
    pub about: String,
    /// The command that makes it, or how it was taken.
    pub made_by: String,
    /// Asterisk's name of the codec: `ulaw`, `alaw`, `slin`, `slin16`, `g722`, `opus`.
    pub format: String,
    /// The payload type of the audio.
    pub payload_type: u8,
    /// The clock of its timestamps.
    pub clock_hz: u32,
    /// Milliseconds in each packet; several where it changes, in that order.
    pub ptime_ms: Vec<u32>,
    /// The payload type of telephone events, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_type: Option<u8>,
    /// How much audio was sent.
    pub length_ms: u32,
    /// The voice that speaks.
    pub voice: String,
    /// Where there is speech, to within a few milliseconds.
    pub speech: Vec<Speech>,
    /// Where nothing was sent because there was nothing to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<Span>,
    /// The keys pressed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Press>,
    /// How loud the noise behind the speech is, in dB of full scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_dbfs: Option<f64>,
    /// The network in between.
    #[serde(default)]
    pub network: Impairment,
    /// The seed of its dice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The synchronisation sources, in the order in which they spoke.
    pub sources: Vec<Source>,
}

/// A stretch of media time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Its first millisecond.
    pub begin_ms: u32,
    /// The first millisecond after it.
    pub end_ms: u32,
}

/// A stretch of speech.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Speech {
    /// Where it is first to be heard.
    pub begin_ms: u32,
    /// Where it is last to be heard.
    pub end_ms: u32,
    /// What is said.
    pub text: String,
}

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Press {
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub digit: char,
    /// When it went down.
    pub at_ms: u32,
    /// How long it was held.
    pub duration_ms: u32,
}

/// What one synchronisation source sent, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Source {
    /// Its number.
    pub ssrc: u32,
    /// Its first sequence number.
    pub first_seq: u16,
    /// Packets that it sent.
    pub sent: u32,
    /// When its first sample was taken.
    pub begin_ms: u32,
    /// Sequence numbers that are not in the capture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u16>,
    /// Sequence numbers that come after a higher one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overtaken: Vec<u16>,
    /// Sequence numbers that come twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubled: Vec<u16>,
}

/// Why a sidecar could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// It is not there.
    #[error("{}: {source}; every fixture has a sidecar of its name, `make fixtures` makes both", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It says something else than a sidecar says.
    #[error("{}: {source}; `make fixtures` makes it anew", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Truth {
    /// The sidecar of a capture: the file of the same name that ends in `.json`. Blocking.
    ///
    /// # Errors
    /// When there is none, or it is none.
    pub fn of(capture: &Path) -> Result<Self, TruthError> {
        let path = capture.with_extension("json");
        match std::fs::read_to_string(&path) {
            Err(source) => Err(TruthError::Io { path, source }),
            Ok(text) => serde_json::from_str(&text).map_err(|source| TruthError::Damaged { path, source }),
        }
    }
}
