//! A WAV file that grows and can be played at any time.
//!
//! Written by hand, 44 bytes of header: hound keeps its own idea of the length and writes it when it is told
//! to, or on drop; we go on with the file of a process that was killed, whose header is behind its audio, and
//! we write header and audio to their places with no seek and no buffer that a crash would lose.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::FRAME;

/// Bytes before the audio.
const HEADER: u64 = 44;

const RATE: u32 = 8_000;
const CHANNELS: u16 = 2;

/// One sample of both sides.
const BLOCK: u64 = 4;

/// Bytes of one second.
const SECOND: u64 = RATE as u64 * BLOCK;

/// The lengths in the header have 32 bits: 37 hours.
const MAX_AUDIO: u64 = u32::MAX as u64 - HEADER;

/// Opens a file to read and write, and makes it, for its owner only, when it is not there.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Two sides of 16-bit samples at 8 kHz.
pub(super) struct WavFile {
    file: File,
    /// Bytes of audio in the file.
    written: u64,
    /// Bytes of audio that the header knows of; [`None`] before there is one.
    in_header: Option<u64>,
    /// Bytes of audio that have not been written yet.
    waiting: Vec<u8>,
}

impl WavFile {
    /// Opens the file and writes a header that is right; goes on behind the audio that is there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_private(path)?;
        let audio = file.metadata()?.len().saturating_sub(HEADER);
        let written = audio - audio % BLOCK;
        let mut wav = Self { file, written, in_header: None, waiting: Vec::new() };
        wav.write_header()?;
        Ok(wav)
    }

    /// How long the audio in the file is.
    #[expect(clippy::cast_precision_loss, reason = "37 hours of bytes stay exact in an f64")]
    pub(super) fn milliseconds(&self) -> f64 {
        self.written as f64 * 1_000.0 / SECOND as f64
    }

    /// Adds 20 ms of both sides, to be written by [`write`](Self::write).
    pub(super) fn push(&mut self, caller: &[i16; FRAME], bot: &[i16; FRAME]) {
        for (left, right) in caller.iter().zip(bot) {
            self.waiting.extend_from_slice(&left.to_le_bytes());
            self.waiting.extend_from_slice(&right.to_le_bytes());
        }
    }

    /// Leaves out `frames` frames that were lost. The hole costs neither memory nor disk and reads as
    /// silence; the frame that is pushed next gives it an end.
    pub(super) fn skip(&mut self, frames: u32) -> io::Result<()> {
        if frames > 0 {
            self.write(false)?;
            self.written += u64::from(frames) * FRAME as u64 * BLOCK;
        }
        Ok(())
    }

    /// Writes what was added, and the header after every second and at the `last` time.
    pub(super) fn write(&mut self, last: bool) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let after = self.written + self.waiting.len() as u64;
            if after > MAX_AUDIO {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file holds 37 hours at most"));
            }
            self.file.write_all_at(&self.waiting, HEADER + self.written)?;
            self.waiting.clear();
            self.written = after;
        }
        let behind = self.written - self.in_header.unwrap_or(0);
        if behind >= SECOND || (last && behind > 0) { self.write_header() } else { Ok(()) }
    }

    fn write_header(&mut self) -> io::Result<()> {
        // Never longer than u32: `write` and a file made by it see to that; a longer one that somebody put
        // there is cut short.
        let audio = u32::try_from(self.written.min(MAX_AUDIO)).unwrap_or(u32::MAX);
        self.file.write_all_at(&header(audio), 0)?;
        self.in_header = Some(self.written);
        Ok(())
    }
}

/// The header of a file with `audio` bytes of audio: RIFF, one `fmt ` chunk (PCM), one `data` chunk.
fn header(audio: u32) -> [u8; HEADER as usize] {
    let block = CHANNELS * 2;
    let mut bytes = [0; HEADER as usize];
    let fields: [(usize, &[u8]); 13] = [
        (0, b"RIFF"),
        (4, &audio.saturating_add(36).to_le_bytes()),
        (8, b"WAVE"),
        (12, b"fmt "),
        (16, &16_u32.to_le_bytes()),
        (20, &1_u16.to_le_bytes()),
        (22, &CHANNELS.to_le_bytes()),
        (24, &RATE.to_le_bytes()),
        (28, &(RATE * u32::from(block)).to_le_bytes()),
        (32, &block.to_le_bytes()),
        (34, &16_u16.to_le_bytes()),
        (36, b"data"),
        (40, &audio.to_le_bytes()),
    ];
    for (at, field) in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
    }
    bytes
}
