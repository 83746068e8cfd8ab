//! What lies below the telephone's band is no speech: the hum of the mains, a lorry, somebody at the cable.

use std::f32::consts::{SQRT_2, TAU};

use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Half of the power is left at this frequency, in Hz; an octave below it a sixteenth. Telephones begin at 300 Hz.
const EDGE: f32 = 280.0;

/// What is fainter than this, in steps of 16 bits, is nothing. Decaying on and on it would become numbers that processors
/// compute a hundred times more slowly with.
const NOTHING: f32 = 1e-3;

/// A Butterworth high-pass of the second order, for what a detector hears. Allocates nothing; 0.5 µs a frame.
#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Of the input: 1, −2 and 1 times this.
    input: f32,
    /// Of what went out before.
    output: [f32; 2],
    /// The last two samples that came, the newer one first, and the last two that went.
    came: [i16; 2],
    went: [f32; 2],
}

impl Band {
    pub(super) fn new(rate: Rate) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "8,000 or 16,000")]
        let (sine, cosine) = (TAU * EDGE / rate.hz() as f32).sin_cos();
        let slope = sine / SQRT_2;
        let whole = 1.0 + slope;
        Self {
            input: f32::midpoint(1.0, cosine) / whole,
            output: [-2.0 * cosine / whole, (1.0 - slope) / whole],
            came: [0; 2],
            went: [0.0; 2],
        }
    }

    /// The frame without what lies below the band.
    pub(super) fn pass(&mut self, frame: &Frame) -> Frame {
        let mut passed = Frame { rate: frame.rate, samples: [0; FRAME_SAMPLES] };
        // What depends on the input alone goes first: only the rest must be done one sample after the other.
        let mut came = [0_i16; FRAME_SAMPLES + 2];
        came[..2].copy_from_slice(&[self.came[1], self.came[0]]);
        came[2..].copy_from_slice(&frame.samples);
        let mut curved = [0.0; FRAME_SAMPLES];
        for (curved, three) in curved.iter_mut().zip(came.windows(3)) {
            let [before, middle, after] = [three[0], three[1], three[2]].map(i32::from);
            #[expect(clippy::cast_precision_loss, reason = "of 18 bits")]
            let curve = (before - 2 * middle + after) as f32;
            *curved = self.input * curve;
        }
        let [mut last, mut before] = self.went;
        for (curved, out) in curved.iter().zip(&mut passed.samples) {
            let value = (curved - self.output[1] * before) - self.output[0] * last;
            (before, last) = (last, value);
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, as it should")]
            let sample = value as i16;
            *out = sample;
        }
        self.came = [frame.samples[FRAME_SAMPLES - 1], frame.samples[FRAME_SAMPLES - 2]];
        self.went = [last, before].map(|value| if value.abs() < NOTHING { 0.0 } else { value });
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::rms_dbfs;
    use crate::audio::tone::Tone;

    #[test]
    fn hum_goes_and_voices_stay() {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            let loses = |hz: f64| {
                let (mut band, mut tone) = (Band::new(rate), Tone::dual(rate, [hz, hz], -15.0));
                let frames: Vec<Frame> = (0..30).map(|_| tone.frame()).collect();
                let passed: Vec<i16> =
                    frames.iter().flat_map(|frame| band.pass(frame).samples).skip(1_600).collect();
                let before: Vec<i16> = frames.iter().flat_map(|frame| frame.samples).skip(1_600).collect();
                rms_dbfs(&before) - rms_dbfs(&passed)
            };
            assert!(loses(50.0) > 28.0 && loses(100.0) > 16.0, "{rate:?}: {} {}", loses(50.0), loses(100.0));
            assert!((loses(280.0) - 3.0).abs() < 0.3, "{rate:?}: {}", loses(280.0));
            assert!(loses(600.0) < 0.3 && loses(3_000.0) < 0.1, "{rate:?}");
        }
    }
}
