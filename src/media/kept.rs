//! The last frames of speech that were sent to a far end that queues, so that they can be sent again with less gain.

use super::playout::{ramp, samples_per_tick};
use crate::audio::g711::Law;
use crate::audio::{FRAME_SAMPLES, Rate};

/// Frames that are kept: as many as wait over there, and one that it is about to play.
const KEPT: usize = 4;

/// The frames, companded: what is sent again is faint, and half the memory is enough for it.
pub(super) struct Kept {
    /// Samples of a frame.
    piece: usize,
    numbers: [Option<u32>; KEPT],
    codes: Box<[u8]>,
    /// The place of the next one.
    next: usize,
    samples: [i16; 2 * FRAME_SAMPLES],
}

impl Kept {
    pub(super) fn new(rate: Rate) -> Self {
        let piece = samples_per_tick(rate);
        let codes = vec![0; piece * KEPT].into_boxed_slice();
        Self { piece, numbers: [None; KEPT], codes, next: 0, samples: [0; 2 * FRAME_SAMPLES] }
    }

    pub(super) fn keep(&mut self, number: u32, samples: &[i16]) {
        let place = self.next % KEPT;
        self.numbers[place] = Some(number);
        Law::Mu.encode_into(samples, &mut self.codes[place * self.piece..][..self.piece]);
        self.next = self.next.wrapping_add(1);
    }

    /// The frame of that number, its gain going from one to the other.
    pub(super) fn recall(&mut self, number: u32, gains: (i32, i32)) -> Option<&[i16]> {
        let place = self.numbers.iter().position(|kept| *kept == Some(number))?;
        let samples = &mut self.samples[..self.piece];
        Law::Mu.decode_into(&self.codes[place * self.piece..][..self.piece], samples);
        ramp(samples, gains);
        Some(samples)
    }
}
