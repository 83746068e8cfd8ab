//! What the telephone cut off above 3.5 kHz, estimated from what it left.
//!
//! The acoustic model of the recogniser expects 16 kHz. Telephone speech brought to that rate is empty above 4 kHz, and
//! whatever lives there ("six", "s", "f") is lost. Here a linear regression guesses the envelope between 3.5 and 7 kHz
//! from the bands below, and noise of that shape is added. It is no good for listening; it is what a recogniser needs.
//!
//! # Parts
//!
//! - [`Extender`]: 8 kHz in, 16 kHz out, frame by frame;
//! - [`model`]: bands, features and weights: what the trainer (`models/bandwidth/train.rs`) and the extender share;
//! - half-band filters, which double and halve a rate.
//!
//! # What it never does
//!
//! It allocates nothing per frame and reads no file: the weights are compiled in.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner};

mod halfband;
pub mod model;

#[cfg(feature = "flite")]
pub(crate) use halfband::Halve;
pub(crate) use halfband::Twice;
use model::{Analyser, HOP, HOP_WIDE, LOOK_AHEAD, LOOK_BACK, LOW_BANDS, WINDOW, Weights};

/// Frames whose bands are kept: those behind and before the one in the middle.
const KEPT: usize = LOOK_BACK + 1 + LOOK_AHEAD;
/// Length of a transform at 16 kHz.
const TRANSFORM: usize = 512;
/// Length of a stretch of noise: two hops, each with the rising and the falling half of a sine.
const STRETCH: usize = 2 * HOP_WIDE;
/// Samples at 16 kHz that the low band waits for the noise.
const ALIGN: usize = 2 * (Extender::DELAY - Twice::DELAY);
/// Power that a spectrum of equal lines shows through the analysis window, over that of one line.
const LEAK: f32 = 1.92;

/// Makes 16 kHz of telephone speech at 8 kHz.
pub struct Extender {
    twice: Twice,
    noise: Option<Box<Noise>>,
    /// The low band at 16 kHz, waiting for the noise that goes with it.
    waiting: [f32; ALIGN],
    at: usize,
}

impl Extender {
    /// How long after a sample went in it comes out, in samples of 8 kHz: 260, or 32.5 ms.
    pub const DELAY: usize = LOOK_AHEAD * HOP + WINDOW / 2;

    /// An extender at the beginning of an utterance; with `extend` false a plain doubling of the rate with the same
    /// delay, for comparison.
    #[must_use]
    pub fn new(extend: bool) -> Self {
        let noise = extend.then(|| Box::new(Noise::new()));
        Self { twice: Twice::new(), noise, waiting: [0.0; ALIGN], at: 0 }
    }

    /// Back to the beginning of an utterance. The same input then gives the same output.
    pub fn reset(&mut self) {
        self.twice = Twice::new();
        self.waiting = [0.0; ALIGN];
        self.at = 0;
        if let Some(noise) = &mut self.noise {
            noise.reset();
        }
    }

    /// Takes samples at 8 kHz and appends twice as many at 16 kHz to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for &sample in samples {
            let sample = f32::from(sample) / 32_768.0;
            let high = self.noise.as_mut().map_or([0.0; 2], |noise| noise.push(sample));
            for (low, high) in self.twice.push(sample).into_iter().zip(high) {
                let low = std::mem::replace(&mut self.waiting[self.at], low);
                self.at = (self.at + 1) % ALIGN;
                out.push(to_sample(low + high));
            }
        }
    }

    /// Appends what is still under way: the last [`DELAY`](Self::DELAY) samples of the utterance.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        self.push(&[0; Self::DELAY], out);
    }
}

/// The upper band.
struct Noise {
    analyser: Analyser,
    weights: &'static Weights,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Bands of the last frames, the newest at `newest`.
    bands: [[f32; LOW_BANDS]; KEPT],
    newest: usize,
    /// Frames analysed since the beginning, up to [`KEPT`].
    seen: usize,
    /// The noise of the hop that is going out, and the first half of the next.
    out: [f32; 2 * HOP_WIDE],
    gone: usize,
    random: u32,
    spectrum: Vec<Complex<f32>>,
    time: Vec<f32>,
    scratch: Vec<Complex<f32>>,
    rise: [f32; STRETCH],
    lines: Vec<model::Line>,
}

impl Noise {
    fn new() -> Self {
        let inverse = RealFftPlanner::<f32>::new().plan_fft_inverse(TRANSFORM);
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let rise = std::array::from_fn(|n| (std::f32::consts::PI * (n as f32 + 0.5) / STRETCH as f32).sin());
        Self {
            analyser: Analyser::narrow(),
            weights: Weights::shipped(),
            spectrum: inverse.make_input_vec(),
            time: inverse.make_output_vec(),
            scratch: inverse.make_scratch_vec(),
            inverse,
            bands: [[model::FLOOR_LOG; LOW_BANDS]; KEPT],
            newest: 0,
            seen: 0,
            out: [0.0; 2 * HOP_WIDE],
            gone: 0,
            random: SEED,
            rise,
            lines: model::lines(),
        }
    }

    fn reset(&mut self) {
        self.analyser.reset();
        self.bands = [[model::FLOOR_LOG; LOW_BANDS]; KEPT];
        self.seen = 0;
        self.out = [0.0; 2 * HOP_WIDE];
        self.gone = 0;
        self.random = SEED;
    }

    /// The two samples of noise that leave when `sample` comes in.
    fn push(&mut self, sample: f32) -> [f32; 2] {
        if self.analyser.push(sample) {
            self.newest = (self.newest + 1) % KEPT;
            self.analyser.low_bands(&mut self.bands[self.newest]);
            self.seen = (self.seen + 1).min(KEPT);
            self.out.copy_within(HOP_WIDE.., 0);
            self.out[HOP_WIDE..].fill(0.0);
            self.gone = 0;
            if self.seen > LOOK_AHEAD {
                self.add_stretch();
            }
        }
        let pair = [self.out[self.gone], self.out[self.gone + 1]];
        self.gone = (self.gone + 2).min(HOP_WIDE - 2);
        pair
    }

    /// Adds the noise of the frame that now has all its context.
    fn add_stretch(&mut self) {
        let middle = self.newest + KEPT - LOOK_AHEAD;
        let bands = &self.bands;
        let at = |offset: isize| &bands[(middle + KEPT).wrapping_add_signed(offset) % KEPT];
        let powers = self.weights.predict(&model::features(at));
        self.spectrum.fill(Complex::new(0.0, 0.0));
        for line in &self.lines {
            let power = line.power(&powers);
            // A line of random phase: its power is certain, unlike that of Gaussian noise.
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            #[expect(clippy::cast_precision_loss, reason = "a phase")]
            let phase = (self.random >> 8) as f32 * (std::f32::consts::TAU / 16_777_216.0);
            self.spectrum[line.bin] =
                Complex::from_polar(((power - model::FLOOR).max(0.0) / LEAK).sqrt(), phase);
        }
        let done = self.inverse.process_with_scratch(&mut self.spectrum, &mut self.time, &mut self.scratch);
        debug_assert!(done.is_ok(), "the buffers are of the transform's own making");
        for ((out, time), rise) in self.out.iter_mut().zip(&self.time).zip(&self.rise) {
            *out += time * rise;
        }
    }
}

const SEED: u32 = 0x0ff_400c;

#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn to_sample(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_possible_truncation, reason = "a tone")]
    fn tone(hz: f64, n: u32) -> Vec<i16> {
        (0..n)
            .map(|i| (8_000.0 * (std::f64::consts::TAU * hz * f64::from(i) / 8_000.0).sin()) as i16)
            .collect()
    }

    fn extended(extend: bool, input: &[i16]) -> Vec<i16> {
        let mut extender = Extender::new(extend);
        let mut out = Vec::new();
        input.chunks(160).for_each(|chunk| extender.push(chunk, &mut out));
        extender.finish(&mut out);
        out
    }

    #[test]
    fn the_delay_is_at_most_40_ms_and_the_low_band_comes_through_in_its_place() {
        const { assert!(Extender::DELAY * 1_000 / 8_000 <= 40) };
        let input = tone(1_000.0, 4_000);
        for extend in [false, true] {
            let out = extended(extend, &input);
            assert_eq!(out.len(), 2 * (input.len() + Extender::DELAY));
            let error = (1_000..3_000).map(|i| (out[2 * (i + Extender::DELAY)] - input[i]).abs()).max();
            assert!(error < Some(1_500), "{error:?}");
        }
    }

    #[test]
    fn silence_stays_silent_and_the_same_twice_is_the_same() {
        assert!(extended(true, &[0; 4_000]).iter().all(|s| s.abs() < 4));
        let input = tone(2_500.0, 3_000);
        assert_eq!(extended(true, &input), extended(true, &input));
        let mut extender = Extender::new(true);
        let (mut once, mut again) = (Vec::new(), Vec::new());
        extender.push(&input, &mut once);
        extender.reset();
        extender.push(&input, &mut again);
        assert_eq!(once, again);
    }

    #[test]
    fn the_noise_has_the_power_that_was_asked_for() {
        let mut noise = Noise::new();
        let mut wide = Analyser::wide();
        // Weights that ask for the level of the low bands in every band.
        noise.weights = Box::leak(Box::new(Weights::new([[0.0; model::FEATURES]; model::HIGH_BANDS])));
        let mut narrow = Analyser::narrow();
        let (mut asked, mut found) = (Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(1);
        for i in 0..16_000 {
            let sample = 0.1 * (random.f32() - 0.5);
            if narrow.push(sample) {
                let mut bands = [0.0; LOW_BANDS];
                narrow.low_bands(&mut bands);
                asked.extend(bands);
            }
            for sample in noise.push(sample) {
                if wide.push(sample) && i > 2_000 {
                    let mut bands = [0.0; model::HIGH_BANDS];
                    wide.high_bands(&mut bands);
                    found.extend(bands);
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let mean = |logs: &[f32]| logs.iter().sum::<f32>() / logs.len() as f32;
        let off = (mean(&found) - mean(&asked)) * 4.34;
        assert!(off.abs() < 1.5, "{off} dB off");
    }
}
