//! From one sample rate to another: 8 ↔ 16 kHz as it streams, anything else as a whole.
//!
//! On the live path [`Up2`] and [`Down2`]: one half-band filter of 63 taps in its polyphase form, flat to 3.4 kHz,
//! images and aliases more than 60 dB down, 1.94 ms of delay, no allocation. For files and prompts [`to_rate`], by rubato.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::Rate;

/// Doubles the sample rate: 8 to 16 kHz. A small state, one per stream.
#[derive(Clone, Debug)]
pub struct Up2(History);

/// Halves the sample rate: 16 to 8 kHz. A small state, one per stream.
#[derive(Clone, Debug)]
pub struct Down2 {
    even: History,
    odd: History,
}

/// A rate that nothing can be converted from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} Hz cannot be converted: sample rates from 4000 to 192000 Hz are accepted")]
pub struct BadRate(pub u32);

/// Delay of [`Up2`] and [`Down2`] in samples at 16 kHz.
pub const DELAY_AT_16_KHZ: usize = SIDE;

/// Taps on either side of the middle one. Of a half-band filter only every second one is not zero.
const SIDE: usize = 31;

/// The taps that are not zero, but for the middle one, which is one half.
const TAPS: usize = SIDE + 1;

/// `SIDE + 1` taps of the odd phase, symmetric.
static ODD_TAPS: [f32; TAPS] = odd_taps();

impl Up2 {
    /// A stream that was silent so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(History::new())
    }

    /// Converts as many samples as `output` has room for twice; returns how many it wrote.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let mut written = 0;
        for (sample, pair) in input.iter().zip(output.chunks_exact_mut(2)) {
            self.0.push(*sample);
            // Twice the taps, since every second sample of the stuffed input is zero.
            pair[0] = to_sample(2.0 * self.0.convolve());
            pair[1] = to_sample(self.0.back(TAPS / 2 - 1));
            written += 2;
        }
        written
    }
}

impl Down2 {
    /// A stream that was silent so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { even: History::new(), odd: History::new() }
    }

    /// Converts pairs of samples, as many as `output` has room for; returns how many samples it wrote. An odd sample
    /// at the end of `input` is not taken.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let mut written = 0;
        for (pair, sample) in input.chunks_exact(2).zip(output) {
            // The middle tap meets the second sample of a pair, as it does in `Up2`, so that there and back again
            // is a whole number of samples.
            self.even.push(pair[0]);
            *sample = to_sample(self.even.convolve() + 0.5 * self.odd.back(TAPS / 2 - 1));
            self.odd.push(pair[1]);
            written += 1;
        }
        written
    }
}

impl Default for Up2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Down2 {
    fn default() -> Self {
        Self::new()
    }
}

/// Converts a whole recording from any rate; the result is as long as the original and not delayed. Allocates; not for
/// media threads.
///
/// # Errors
/// [`BadRate`] below 4,000 or above 192,000 Hz.
pub fn to_rate(samples: &[i16], from_hz: u32, to: Rate) -> Result<Vec<i16>, BadRate> {
    if !(4_000..=192_000).contains(&from_hz) {
        return Err(BadRate(from_hz));
    }
    if from_hz == to.hz() || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let bad = BadRate(from_hz);
    let input: Vec<f32> = samples.iter().copied().map(f32::from).collect();
    let mut resampler = Fft::<f32>::new(from_hz as usize, to.hz() as usize, CHUNK, 1, FixedSync::Input)
        .map_err(|_| bad.clone())?;
    let clip = InterleavedSlice::new(&input, 1, input.len()).map_err(|_| bad.clone())?;
    let output = resampler.process_all(&clip, input.len(), None).map_err(|_| bad)?;
    Ok(output.take_data().into_iter().map(to_sample).collect())
}

/// Samples that rubato takes at a time: its filter is as long as that.
const CHUNK: usize = 1_024;

/// The last [`TAPS`] samples, twice, so that they always lie in one piece.
#[derive(Clone, Debug)]
struct History {
    samples: [f32; 2 * TAPS],
    /// Where the next sample goes; the oldest one is there now.
    next: usize,
}

impl History {
    const fn new() -> Self {
        Self { samples: [0.0; 2 * TAPS], next: 0 }
    }

    fn push(&mut self, sample: i16) {
        let sample = f32::from(sample);
        self.samples[self.next] = sample;
        self.samples[self.next + TAPS] = sample;
        self.next = (self.next + 1) % TAPS;
    }

    fn last(&self) -> &[f32] {
        &self.samples[self.next..self.next + TAPS]
    }

    /// The sample `count` before the newest one.
    fn back(&self, count: usize) -> f32 {
        self.last()[TAPS - 1 - count]
    }

    fn convolve(&self) -> f32 {
        // In four lanes, so that the additions do not wait for each other.
        let mut lanes = [0.0_f32; 4];
        for (samples, taps) in self.last().chunks_exact(4).zip(ODD_TAPS.chunks_exact(4)) {
            for i in 0..4 {
                lanes[i] += samples[i] * taps[i];
            }
        }
        lanes.iter().sum()
    }
}

fn to_sample(value: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates at full scale, as it should")]
    let sample = value.round() as i16;
    sample
}

/// sinc(n/2)/2 at the odd n, under a Kaiser window, scaled so that they sum to one half.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers, f32 taps")]
const fn odd_taps() -> [f32; TAPS] {
    /// Of the Kaiser window: about 65 dB.
    const BETA: f64 = 6.2;
    let mut taps = [0.0; TAPS];
    let mut sum = 0.0;
    let mut i = 0;
    while i < TAPS {
        let n = 2.0 * i as f64 - SIDE as f64;
        // sin(πn/2) is 1, −1, 1, … at 1, 3, 5, … and odd like n.
        let turns = (i + TAPS - (SIDE / 2 + 1)) % 2;
        let sine = if turns == 0 { 1.0 } else { -1.0 };
        let x = n / (SIDE as f64 + 1.0);
        taps[i] = sine / (std::f64::consts::PI * n) * bessel_i0_of_root(BETA * BETA * (1.0 - x * x));
        sum += taps[i];
        i += 1;
    }
    let mut scaled = [0.0; TAPS];
    i = 0;
    while i < TAPS {
        scaled[i] = (taps[i] * 0.5 / sum) as f32;
        i += 1;
    }
    scaled
}

/// The modified Bessel function I₀ of the square root of `square`, by its power series.
const fn bessel_i0_of_root(square: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1);
    while k < 30 {
        term *= square / 4.0 / (k * k) as f64;
        sum += term;
        k += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::tone::{Tone, peak_dbfs_at};
    use super::*;

    fn tone(rate: Rate, hz: f64) -> Vec<i16> {
        let mut samples = vec![0; rate.hz() as usize / 5];
        Tone::sine(rate, hz, -1.0).fill(&mut samples);
        samples
    }

    fn up(samples: &[i16]) -> Vec<i16> {
        let mut output = vec![0; samples.len() * 2];
        assert_eq!(Up2::new().process(samples, &mut output), output.len());
        output.split_off(200)
    }

    fn down(samples: &[i16]) -> Vec<i16> {
        let mut output = vec![0; samples.len() / 2];
        assert_eq!(Down2::new().process(samples, &mut output), output.len());
        output.split_off(100)
    }

    #[test]
    fn the_telephone_band_passes_both_ways_within_a_decibel() {
        for hz in (100..=3_400).step_by(100).map(f64::from) {
            let level = peak_dbfs_at(&up(&tone(Rate::Hz8000, hz)), Rate::Hz16000, hz);
            assert!((level + 1.0).abs() < 1.0, "up: {hz} Hz at {level} dBFS");
            let level = peak_dbfs_at(&down(&tone(Rate::Hz16000, hz)), Rate::Hz8000, hz);
            assert!((level + 1.0).abs() < 1.0, "down: {hz} Hz at {level} dBFS");
        }
    }

    #[test]
    fn images_and_aliases_of_the_telephone_band_are_60_db_down() {
        for hz in (100..=3_400).step_by(100).map(f64::from) {
            let image = peak_dbfs_at(&up(&tone(Rate::Hz8000, hz)), Rate::Hz16000, 8_000.0 - hz);
            assert!(image < -61.0, "the image of {hz} Hz at {image} dBFS");
            let alias = peak_dbfs_at(&down(&tone(Rate::Hz16000, 8_000.0 - hz)), Rate::Hz8000, hz);
            assert!(alias < -61.0, "the alias at {hz} Hz at {alias} dBFS");
        }
    }

    #[test]
    fn the_delay_is_below_two_milliseconds() {
        let mut click = vec![0; 200];
        click[0] = 20_000;
        let loudest = |samples: &[i16]| {
            (0..samples.len()).max_by_key(|i| samples[*i].unsigned_abs()).expect("there are samples")
        };
        let mut output = vec![0; 400];
        Up2::new().process(&click, &mut output);
        assert_eq!(loudest(&output), DELAY_AT_16_KHZ);
        const { assert!(DELAY_AT_16_KHZ < 32) };
        let mut output = vec![0; 100];
        click.rotate_right(1);
        Down2::new().process(&click, &mut output);
        assert_eq!(loudest(&output), DELAY_AT_16_KHZ.div_ceil(2));
    }

    #[test]
    fn a_stream_in_pieces_is_the_same_as_in_one() {
        let samples = tone(Rate::Hz8000, 440.0);
        let (mut whole, mut pieces) = (vec![0; samples.len() * 2], vec![0; samples.len() * 2]);
        Up2::new().process(&samples, &mut whole);
        let mut up = Up2::new();
        for (input, output) in samples.chunks(160).zip(pieces.chunks_mut(320)) {
            up.process(input, output);
        }
        assert_eq!(whole, pieces);
    }

    #[test]
    fn there_and_back_again_is_what_it_was() {
        let samples = tone(Rate::Hz8000, 1_000.0);
        let mut wide = vec![0; samples.len() * 2];
        Up2::new().process(&samples, &mut wide);
        let mut back = vec![0; samples.len()];
        Down2::new().process(&wide, &mut back);
        for (then, now) in samples[100..].iter().zip(&back[131..]) {
            assert!(then.abs_diff(*now) < 40, "{then} became {now}");
        }
    }

    #[test]
    fn a_recording_of_any_usual_rate_keeps_its_length_and_its_pitch() {
        for hz in [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000] {
            let samples: Vec<i16> = (0..hz)
                .map(|i| {
                    ((f64::from(i) * 1_000.0 * std::f64::consts::TAU / f64::from(hz)).sin() * 16_000.0) as i16
                })
                .collect();
            for to in [Rate::Hz8000, Rate::Hz16000] {
                let converted = to_rate(&samples, hz, to).expect("a usual rate");
                assert!(
                    converted.len().abs_diff(to.hz() as usize) <= 1,
                    "{hz} to {to:?}: {}",
                    converted.len()
                );
                let level = peak_dbfs_at(&converted, to, 1_000.0);
                assert!((level + 6.2).abs() < 0.3, "{hz} to {to:?}: {level} dBFS");
            }
        }
    }

    #[test]
    fn a_rate_out_of_range_is_refused_with_what_is_accepted() {
        let refused = to_rate(&[1], 1_000, Rate::Hz8000);
        assert_eq!(refused, Err(BadRate(1_000)));
        assert!(refused.is_err_and(|error| error.to_string().contains("from 4000 to 192000")));
        assert_eq!(to_rate(&[], 44_100, Rate::Hz8000), Ok(vec![]));
    }
}
