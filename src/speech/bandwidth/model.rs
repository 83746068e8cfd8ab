//! Bands, features and weights of the bandwidth extension. Used by the extender and by its trainer.
//!
//! Frames are 25 ms long and 10 ms apart. Powers are those of a line that would show the same in the spectrum, full scale
//! being 1; bands are their natural logarithm. Features and predictions are relative to the mean of the frame's own low
//! bands, so that a loud and a quiet caller are the same.

use std::sync::{Arc, OnceLock};

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Mel bands heard, from 200 to 3,500 Hz.
pub const LOW_BANDS: usize = 18;
/// Mel bands guessed, from 3,500 to 7,000 Hz.
pub const HIGH_BANDS: usize = 8;
/// Frames that features are taken from, relative to the one in the middle.
pub const CONTEXT: [isize; 7] = [-4, -3, -2, -1, 0, 1, 2];
/// How far [`CONTEXT`] reaches back.
pub const LOOK_BACK: usize = 4;
/// How far [`CONTEXT`] reaches ahead.
pub const LOOK_AHEAD: usize = 2;
/// The bands of every frame of the context, the squares of those of the middle one, and 1.
pub const FEATURES: usize = CONTEXT.len() * LOW_BANDS + LOW_BANDS + 1;
/// Samples from frame to frame at 8 kHz.
pub const HOP: usize = 80;
/// Samples from frame to frame at 16 kHz.
pub const HOP_WIDE: usize = 2 * HOP;
/// Samples of a frame at 8 kHz.
pub const WINDOW: usize = 200;

/// Power below which there is nothing: −100 dB.
pub const FLOOR: f32 = 1e-10;
/// Its logarithm.
pub const FLOOR_LOG: f32 = -23.025_85;

/// Width of a line of the spectrum, the same at both rates.
const BIN_HZ: f32 = 31.25;
const SHIPPED: &str = include_str!("../../../models/bandwidth/weights.txt");

/// Spectra of overlapping frames.
pub struct Analyser {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    hop: usize,
    /// The last samples, as many as the window has.
    samples: Vec<f32>,
    filled: usize,
    input: Vec<f32>,
    output: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    low: Vec<Band>,
    high: Vec<Band>,
}

impl Analyser {
    /// For samples at 8 kHz.
    #[must_use]
    pub fn narrow() -> Self {
        Self::new(WINDOW, HOP, 256)
    }

    /// For samples at 16 kHz.
    #[must_use]
    pub fn wide() -> Self {
        Self::new(2 * WINDOW, HOP_WIDE, 512)
    }

    fn new(length: usize, hop: usize, transform: usize) -> Self {
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(transform);
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let hann = |n: usize| 0.5 - 0.5 * (std::f32::consts::TAU * (n as f32 + 0.5) / length as f32).cos();
        let sum: f32 = (0..length).map(hann).sum();
        Self {
            window: (0..length).map(|n| hann(n) / sum).collect(),
            hop,
            samples: vec![0.0; length],
            filled: 0,
            input: transform.make_input_vec(),
            low: low(transform.len() / 2 + 1),
            high: high(transform.len() / 2 + 1),
            output: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
        }
    }

    /// Back to the beginning.
    pub fn reset(&mut self) {
        self.filled = 0;
    }

    /// Takes a sample (full scale ±1); true when it completes a frame, whose bands can then be read.
    pub fn push(&mut self, sample: f32) -> bool {
        self.samples[self.filled] = sample;
        self.filled += 1;
        if self.filled < self.samples.len() {
            return false;
        }
        self.input.fill(0.0);
        for ((input, sample), weight) in self.input.iter_mut().zip(&self.samples).zip(&self.window) {
            *input = sample * weight;
        }
        let done = self.transform.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch);
        debug_assert!(done.is_ok(), "the buffers are of the transform's own making");
        self.samples.copy_within(self.hop.., 0);
        self.filled -= self.hop;
        true
    }

    /// The low bands of the frame that was just completed.
    pub fn low_bands(&self, bands: &mut [f32; LOW_BANDS]) {
        self.low.iter().zip(bands).for_each(|(band, log)| *log = band.log_power(&self.output));
    }

    /// The high bands of the frame that was just completed; only at 16 kHz.
    pub fn high_bands(&self, bands: &mut [f32; HIGH_BANDS]) {
        self.high.iter().zip(bands).for_each(|(band, log)| *log = band.log_power(&self.output));
    }
}

/// A stretch of the spectrum with a weight for each line; the weights sum to 1.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl Band {
    /// The lines of a spectrum of `lines` between two places in it, weighted by their place.
    fn new(left: f32, right: f32, lines: usize, weight: impl Fn(f32) -> f32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the spectrum")]
        let (first, last) = (left.floor() as usize, (right.ceil() as usize).min(lines - 1));
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let mut weights: Vec<f32> = (first..=last).map(|bin| weight(bin as f32)).collect();
        let sum: f32 = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Self { first, weights }
    }

    /// Logarithm of its mean power.
    fn log_power(&self, spectrum: &[Complex<f32>]) -> f32 {
        let lines = spectrum[self.first..].iter().zip(&self.weights);
        (lines.map(|(line, weight)| weight * line.norm_sqr()).sum::<f32>() + FLOOR).ln()
    }
}

/// Triangles that overlap by half.
fn low(lines: usize) -> Vec<Band> {
    let edge = |at: usize| mel_edge(200.0, 3_500.0, at, LOW_BANDS + 1) / BIN_HZ;
    let triangle = |band: usize| {
        let (left, middle, right) = (edge(band), edge(band + 1), edge(band + 2));
        let weight =
            |bin: f32| ((bin - left) / (middle - left)).min((right - bin) / (right - middle)).max(0.0);
        Band::new(left, right, lines, weight)
    };
    (0..LOW_BANDS).map(triangle).collect()
}

/// Bands side by side; none where the spectrum ends below them.
fn high(lines: usize) -> Vec<Band> {
    let side_by_side = |band: usize| {
        let (left, right) = (high_edge(band) / BIN_HZ, high_edge(band + 1) / BIN_HZ);
        Band::new(left, right, lines, |bin| if bin >= left && bin < right { 1.0 } else { 0.0 })
    };
    if lines > 224 { (0..HIGH_BANDS).map(side_by_side).collect() } else { Vec::new() }
}

/// Edge `at` of `count` steps of equal width in mel from `from` to `to` Hz.
fn mel_edge(from: f32, to: f32, at: usize, count: usize) -> f32 {
    let mel = |hz: f32| 2_595.0 * (1.0 + hz / 700.0).log10();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let mel = mel(from) + (mel(to) - mel(from)) * at as f32 / count as f32;
    700.0 * (10.0_f32.powf(mel / 2_595.0) - 1.0)
}

fn high_edge(at: usize) -> f32 {
    mel_edge(3_500.0, 7_000.0, at, HIGH_BANDS)
}

/// The level that features and predictions are relative to, and the features; `at` gives the low bands of the frame at
/// an offset of [`CONTEXT`].
#[derive(Debug, Clone)]
pub struct Features {
    /// Mean of the low bands of the frame in the middle.
    pub level: f32,
    /// The features.
    pub values: [f32; FEATURES],
}

/// See [`Features`].
pub fn features<'a>(at: impl Fn(isize) -> &'a [f32; LOW_BANDS]) -> Features {
    #[expect(clippy::cast_precision_loss, reason = "18")]
    let level = at(0).iter().sum::<f32>() / LOW_BANDS as f32;
    let mut values = [1.0; FEATURES];
    let (context, squares) = values.split_at_mut(CONTEXT.len() * LOW_BANDS);
    for (chunk, offset) in context.chunks_exact_mut(LOW_BANDS).zip(CONTEXT) {
        for (value, band) in chunk.iter_mut().zip(at(offset)) {
            *value = (band - level) / 4.0;
        }
    }
    for (value, band) in squares.iter_mut().zip(at(0)) {
        let band = (band - level) / 4.0;
        *value = band * band;
    }
    Features { level, values }
}

/// A line of the upper spectrum, between the middles of two bands.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Its number in a transform of 512 at 16 kHz.
    pub bin: usize,
    /// The band below, at most the last but one.
    band: usize,
    /// How far it is on the way to the next band, 0 to 1.
    share: f32,
}

impl Line {
    /// Its power, out of the bands' logarithms.
    #[must_use]
    pub fn power(&self, bands: &[f32; HIGH_BANDS]) -> f32 {
        (bands[self.band] + self.share * (bands[self.band + 1] - bands[self.band])).exp()
    }
}

/// The lines between 3.5 and 7 kHz.
#[must_use]
pub fn lines() -> Vec<Line> {
    let middle = |band: usize| 0.5 * (high_edge(band) + high_edge(band + 1)) / BIN_HZ;
    let line = |bin: u16| {
        let place = f32::from(bin);
        let band = (1..HIGH_BANDS - 1).take_while(|band| place > middle(*band)).last().unwrap_or(0);
        let share = ((place - middle(band)) / (middle(band + 1) - middle(band))).clamp(0.0, 1.0);
        Line { bin: usize::from(bin), band, share }
    };
    (112..=224).map(line).collect()
}

/// The regression.
#[derive(Debug, Clone)]
pub struct Weights([[f32; FEATURES]; HIGH_BANDS]);

impl Weights {
    /// The weights in `models/bandwidth/weights.txt`, which are compiled in.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static WEIGHTS: OnceLock<Weights> = OnceLock::new();
        WEIGHTS.get_or_init(|| Self::parse(SHIPPED).expect("a test reads the shipped weights"))
    }

    /// Weights by band and feature.
    #[must_use]
    pub const fn new(rows: [[f32; FEATURES]; HIGH_BANDS]) -> Self {
        Self(rows)
    }

    /// Reads weights: a line for each band, numbers separated by spaces, `#` before comments. [`None`] when the shape
    /// is another.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rows = [[0.0; FEATURES]; HIGH_BANDS];
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        for row in &mut rows {
            let mut numbers = lines.next()?.split_whitespace();
            for weight in row.iter_mut() {
                *weight = numbers.next()?.parse().ok()?;
            }
            numbers.next().is_none().then_some(())?;
        }
        lines.next().is_none().then_some(Self(rows))
    }

    /// The text that [`parse`](Self::parse) reads, without comments.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line =
            |row: &[f32; FEATURES]| row.iter().map(|w| format!("{w:.5}")).collect::<Vec<_>>().join(" ");
        self.0.iter().map(|row| line(row) + "\n").collect()
    }

    /// The logarithms of the powers of the high bands. Kept between the floor and 35 dB above the frame's level: an "s"
    /// is that much louder above the telephone's band than in it.
    #[must_use]
    pub fn predict(&self, features: &Features) -> [f32; HIGH_BANDS] {
        std::array::from_fn(|band| {
            let sum: f32 = self.0[band].iter().zip(&features.values).map(|(w, x)| w * x).sum();
            (features.level + sum).clamp(FLOOR_LOG, (features.level + 8.0).max(FLOOR_LOG))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_weights_have_the_right_shape() {
        assert!(Weights::parse(SHIPPED).is_some());
        assert!(Weights::parse("1 2 3").is_none());
        assert_eq!(FEATURES, 145);
    }

    #[test]
    fn a_loud_and_a_quiet_caller_give_the_same_features() {
        let loud = [[-3.0; LOW_BANDS], [-4.0; LOW_BANDS]];
        let quiet = [[-8.0; LOW_BANDS], [-9.0; LOW_BANDS]];
        let of = |bands: &[[f32; LOW_BANDS]; 2]| features(|offset| &bands[usize::from(offset < 0)]);
        assert_eq!(of(&loud).values, of(&quiet).values);
    }
}
