//! Both sides of a call of the same moment, at 8 kHz, for whoever records it.

use super::playout::samples_per_tick;
use crate::audio::resample::Down2;
use crate::audio::ring::{TapeItem, TapeWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// A skipped time longer than this is cut on the tape.
const MAX_GAP: u64 = 500;

/// Frames of a side that can wait for their tick.
const WAITING: usize = 3;

/// The frames of both sides wait here for the tick that takes them on tape.
pub(super) struct Tape {
    writer: TapeWriter,
    caller: Waiting,
    bot: Waiting,
    down: Down2,
}

/// What one side said and is not on tape yet.
struct Waiting {
    frames: [Frame; WAITING],
    count: usize,
}

impl Tape {
    pub(super) fn new(writer: TapeWriter) -> Self {
        Self { writer, caller: Waiting::new(), bot: Waiting::new(), down: Down2::new() }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// The caller said this, at 8 kHz.
    pub(super) fn caller(&mut self, frame: &Frame) {
        self.caller.push(*frame);
    }

    /// The bot said this: 20 ms at 8 or 16 kHz.
    pub(super) fn bot(&mut self, samples: &[i16]) {
        let mut frame = Frame::silence(Rate::Hz8000);
        if samples.len() == samples_per_tick(Rate::Hz16000) {
            self.down.process(samples, &mut frame.samples);
        } else {
            frame.samples.copy_from_slice(&samples[..FRAME_SAMPLES]);
        }
        self.bot.push(frame);
    }

    /// 20 ms are over.
    pub(super) fn tick(&mut self) {
        self.writer.push(TapeItem { caller: self.caller.pop(), bot: self.bot.pop() });
    }

    /// So many ticks went by unnoticed.
    pub(super) fn skip(&mut self, ticks: u64) {
        for _ in 0..ticks.min(MAX_GAP) {
            self.tick();
        }
    }
}

impl Waiting {
    const fn new() -> Self {
        Self { frames: [Frame::silence(Rate::Hz8000); WAITING], count: 0 }
    }

    fn push(&mut self, frame: Frame) {
        if self.count == WAITING {
            self.frames.rotate_left(1);
            self.count -= 1;
        }
        self.frames[self.count] = frame;
        self.count += 1;
    }

    fn pop(&mut self) -> Frame {
        if self.count == 0 {
            return Frame::silence(Rate::Hz8000);
        }
        let first = self.frames[0];
        self.frames.rotate_left(1);
        self.count -= 1;
        first
    }
}
