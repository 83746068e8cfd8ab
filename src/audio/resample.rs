//! From one sample rate to another: 8 ↔ 16 kHz and 24 → 8 kHz as it streams, anything else as a whole.
//!
//! On the live path [`Up2`] and [`Down2`], one half-band filter of 63 taps in its polyphase form, and [`Down3`], 96 taps
//! of which every third result is computed: flat to 3.4 kHz within 1 dB; images and aliases of what is there and in what
//! is below 3.4 kHz more than 60 dB down; 1.94 and 1.98 ms of delay; no allocation. What comes to lie between 3.4 and
//! 4 kHz is damped less, as with every filter of that delay: there is nothing on a telephone. [`Converter`] takes streams of any
//! rate, as synthesisers make them. For files and prompts [`to_rate`], by rubato.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::Rate;

mod stream;

pub use stream::Converter;

/// Doubles the sample rate: 8 to 16 kHz. A small state, one per stream.
#[derive(Clone, Debug)]
pub struct Up2(History<TAPS>);

/// Halves the sample rate: 16 to 8 kHz. A small state, one per stream.
#[derive(Clone, Debug)]
pub struct Down2 {
    even: History<TAPS>,
    odd: History<TAPS>,
}

/// A third of the sample rate: 24 to 8 kHz. A small state, one per stream.
#[derive(Clone, Debug)]
pub struct Down3 {
    history: History<DOWN_3>,
    /// Samples since the last one that was written.
    phase: u8,
}

/// A rate that nothing can be converted from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} Hz cannot be converted: sample rates from 4000 to 192000 Hz are accepted")]
pub struct BadRate(pub u32);

/// Delay of [`Up2`] and [`Down2`] in samples at 16 kHz.
pub const DELAY_AT_16_KHZ: usize = SIDE;

/// Delay of [`Down3`] in half samples at 24 kHz.
pub const DELAY_IN_HALVES_AT_24_KHZ: usize = DOWN_3 - 1;

/// Taps of [`Down3`].
const DOWN_3: usize = 96;

/// Where [`Down3`] is 6 dB down: 1 dB some 200 Hz below, 60 dB some 500 Hz above.
const DOWN_3_EDGE_HZ: f64 = 3_850.0;

/// Taps on either side of the middle one. Of a half-band filter only every second one is not zero.
const SIDE: usize = 31;

/// The taps that are not zero, but for the middle one, which is one half.
const TAPS: usize = SIDE + 1;

/// `SIDE + 1` taps of the odd phase, symmetric.
static ODD_TAPS: [f32; TAPS] = odd_taps();

/// All taps of [`Down3`], symmetric.
static DOWN_3_TAPS: [f32; DOWN_3] = low_pass(DOWN_3_EDGE_HZ / 24_000.0);

/// Of the Kaiser window: about 65 dB.
const BETA: f64 = 6.2;

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
            pair[0] = to_sample(2.0 * self.0.convolve(&ODD_TAPS));
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
            *sample = to_sample(self.even.convolve(&ODD_TAPS) + 0.5 * self.odd.back(TAPS / 2 - 1));
            self.odd.push(pair[1]);
            written += 1;
        }
        written
    }
}

impl Down3 {
    /// A stream that was silent so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { history: History::new(), phase: 0 }
    }

    /// Converts samples, as many as `output` has room for the thirds of; returns how many it wrote. Takes any number
    /// at a time, and remembers what is left of three.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let mut written = 0;
        for sample in input {
            if self.phase == 2 && written == output.len() {
                break;
            }
            self.history.push(*sample);
            self.phase = (self.phase + 1) % 3;
            if self.phase == 0 {
                output[written] = to_sample(self.history.convolve(&DOWN_3_TAPS));
                written += 1;
            }
        }
        written
    }
}

impl Default for Down3 {
    fn default() -> Self {
        Self::new()
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

/// The last `N` samples, twice, so that they always lie in one piece.
#[derive(Clone, Debug)]
struct History<const N: usize> {
    samples: [[f32; N]; 2],
    /// Where the next sample goes; the oldest one is there now.
    next: usize,
}

impl<const N: usize> History<N> {
    const fn new() -> Self {
        Self { samples: [[0.0; N]; 2], next: 0 }
    }

    fn push(&mut self, sample: i16) {
        let sample = f32::from(sample);
        self.samples[0][self.next] = sample;
        self.samples[1][self.next] = sample;
        self.next = (self.next + 1) % N;
    }

    fn last(&self) -> &[f32] {
        &self.samples.as_flattened()[self.next..self.next + N]
    }

    /// The sample `count` before the newest one.
    fn back(&self, count: usize) -> f32 {
        self.last()[N - 1 - count]
    }

    fn convolve(&self, taps: &[f32; N]) -> f32 {
        // In four lanes, so that the additions do not wait for each other.
        let mut lanes = [0.0_f32; 4];
        for (samples, taps) in self.last().chunks_exact(4).zip(taps.chunks_exact(4)) {
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

/// A low pass with its edge at `edge` of the sample rate, under a Kaiser window, scaled so that the taps sum to one.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers, f32 taps")]
const fn low_pass<const N: usize>(edge: f64) -> [f32; N] {
    let middle = (N as f64 - 1.0) / 2.0;
    let (mut taps, mut sum, mut i) = ([0.0; N], 0.0, 0);
    while i < N {
        // Never zero, since N is even.
        let n = i as f64 - middle;
        let x = n / (middle + 1.0);
        let sinc = sine(2.0 * std::f64::consts::PI * edge * n) / (std::f64::consts::PI * n);
        taps[i] = sinc * bessel_i0_of_root(BETA * BETA * (1.0 - x * x));
        sum += taps[i];
        i += 1;
    }
    let mut scaled = [0.0; N];
    i = 0;
    while i < N {
        scaled[i] = (taps[i] / sum) as f32;
        i += 1;
    }
    scaled
}

/// The sine of an angle of a few turns, by its power series.
const fn sine(angle: f64) -> f64 {
    let x = angle % (2.0 * std::f64::consts::PI);
    let (mut sum, mut term, mut k) = (0.0, x, 1);
    while k < 60 {
        sum += term;
        term *= -x * x / ((k + 1) * (k + 2)) as f64;
        k += 2;
    }
    sum
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

    fn down_3(hz: f64) -> Vec<i16> {
        let mut samples = vec![0; 4_800];
        // A tone of 24 kHz is one of 8 kHz with a third of its frequency, as far as its samples go.
        Tone::sine(Rate::Hz8000, hz / 3.0, -1.0).fill(&mut samples);
        let mut output = vec![0; 1_600];
        assert_eq!(Down3::new().process(&samples, &mut output), output.len());
        output.split_off(100)
    }

    /// The worst of a sweep, and where.
    fn worst(hz: impl Iterator<Item = u32>, measure: impl Fn(f64) -> f64) -> (f64, u32) {
        let measured = hz.map(|hz| (measure(f64::from(hz)), hz));
        measured.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a sweep has steps")
    }

    #[test]
    fn the_telephone_band_passes_within_a_decibel() {
        let sweep = || (40..=3_400).step_by(40);
        for (name, level) in [
            (
                "8 to 16",
                (&|hz| peak_dbfs_at(&up(&tone(Rate::Hz8000, hz)), Rate::Hz16000, hz)) as &dyn Fn(f64) -> f64,
            ),
            ("16 to 8", &|hz| peak_dbfs_at(&down(&tone(Rate::Hz16000, hz)), Rate::Hz8000, hz)),
            ("24 to 8", &|hz| peak_dbfs_at(&down_3(hz), Rate::Hz8000, hz)),
        ] {
            let (off, hz) = worst(sweep(), |hz| (level(hz) + 1.0).abs());
            println!("{name} kHz: off by {off:.2} dB at most, at {hz} Hz");
            assert!(off < 1.0, "{name}: {hz} Hz is off by {off} dB");
        }
    }

    #[test]
    fn images_and_aliases_are_60_db_down() {
        let image = |hz: f64| peak_dbfs_at(&up(&tone(Rate::Hz8000, hz)), Rate::Hz16000, 8_000.0 - hz);
        // What is folded to below 3.4 kHz, from wherever it was.
        let alias = |hz: f64| peak_dbfs_at(&down(&tone(Rate::Hz16000, hz)), Rate::Hz8000, 8_000.0 - hz);
        let folded = |hz: f64| (hz - 8_000.0 * (hz / 8_000.0).round()).abs();
        let alias_3 = |hz: f64| peak_dbfs_at(&down_3(hz), Rate::Hz8000, folded(hz));
        let far = (4_600..11_960).step_by(40).filter(|hz| (40.0..=3_400.0).contains(&folded(f64::from(*hz))));
        for (name, (level, hz)) in [
            ("image, 8 to 16", worst((40..=3_400).step_by(40), image)),
            ("alias, 16 to 8", worst((4_600..7_960).step_by(40), alias)),
            ("alias, 24 to 8", worst(far, alias_3)),
        ] {
            println!("{name} kHz: {level:.1} dBFS at most, of {hz} Hz at -1 dBFS");
            assert!(level < -61.0, "{name}: {hz} Hz leaves {level} dBFS");
        }
    }

    #[test]
    fn the_delay_is_at_most_two_milliseconds() {
        let mut click = vec![0; 200];
        click[0] = 20_000;
        let loudest = |samples: &[i16]| {
            (0..samples.len()).max_by_key(|i| samples[*i].unsigned_abs()).expect("there are samples")
        };
        let mut output = vec![0; 400];
        Up2::new().process(&click, &mut output);
        assert_eq!(loudest(&output), DELAY_AT_16_KHZ);
        const { assert!(DELAY_AT_16_KHZ <= 32 && DELAY_IN_HALVES_AT_24_KHZ <= 2 * 48) };
        let mut output = vec![0; 100];
        click.rotate_right(1);
        Down2::new().process(&click, &mut output);
        assert_eq!(loudest(&output), DELAY_AT_16_KHZ.div_ceil(2));
        // The middle lies between two taps: a click here comes by the one, there by the other, equally loud.
        let click_at = |at: usize| {
            let (mut samples, mut output) = ([0; 300], [0; 100]);
            samples[at] = 20_000;
            Down3::new().process(&samples, &mut output);
            (loudest(&output), output[loudest(&output)])
        };
        let result_of = |sample: usize| (sample - 2) / 3;
        let (early, late) = (click_at(62 - DOWN_3 / 2), click_at(62 - DOWN_3 / 2 + 1));
        assert_eq!((early.0, late.0), (result_of(62), result_of(62)));
        assert_eq!(early.1, late.1);
    }

    #[test]
    fn thirds_are_kept_from_one_piece_to_the_next() {
        let samples = tone(Rate::Hz16000, 440.0);
        let mut whole = vec![0; samples.len() / 3 + 1];
        let count = Down3::new().process(&samples, &mut whole);
        let (mut down, mut pieces) = (Down3::new(), Vec::new());
        for piece in samples.chunks(100) {
            let mut output = [0; 34];
            let written = down.process(piece, &mut output);
            pieces.extend_from_slice(&output[..written]);
        }
        assert_eq!(whole[..count], pieces);
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
