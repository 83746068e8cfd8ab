//! The sums of the gate, in whole numbers: narrower than any float, and as good.

use super::{FRESH, STEP, WINDOW};
use crate::audio::Frame;

/// A fifth of the samples, each the mean of five, differenced: voices are loudest in their lowest harmonics, which are all
/// alike.
pub(super) fn decimate(frame: &Frame, before: &mut i16, to: &mut [i16; FRESH]) {
    for (to, five) in to.iter_mut().zip(frame.samples.chunks_exact(STEP)) {
        let mean = (five.iter().map(|sample| i32::from(*sample)).sum::<i32>() / STEP as i32) as i16;
        *to = (i32::from(mean) - i32::from(*before) * 3 / 4).clamp(-32_767, 32_767) as i16;
        *before = mean;
    }
}

/// Keeps the samples in steps of `STEP`, rounded.
pub(super) fn keep<const STEP: i32>(to: &mut [i8], samples: &[i16; FRESH]) {
    for (to, sample) in to.iter_mut().zip(samples) {
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        {
            *to = (i32::from(*sample) + STEP / 2).div_euclid(STEP).clamp(-127, 127) as i8;
        }
    }
}

pub(super) fn energy(samples: &[i16]) -> f32 {
    samples.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum()
}

pub(super) fn squares(samples: &[i8]) -> i32 {
    samples.iter().map(|sample| i32::from(*sample).pow(2)).sum()
}

pub(super) fn square(sample: i16) -> i32 {
    i32::from(sample).pow(2)
}

pub(super) fn product(a: &[i16; WINDOW], b: &[i16; WINDOW]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}
