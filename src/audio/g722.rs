//! G.722 at 64 kbit/s: 7 kHz of speech at 16 kHz, two samples to a byte.
//!
//! A pair of quadrature mirror filters of 24 taps splits the band at 4 kHz; each half is coded by adaptive differential
//! PCM, the lower one with 6 bits per sample, the upper one with 2. A small state for each direction, integers only, no
//! allocation, any thread. Source: ITU-T G.722 (09/2012), whose names of blocks and variables stand in the comments.
//!
//! Modes 2 and 3 of the recommendation, which give one or two bits of the lower band to data, are not used in telephony
//! over RTP (RFC 3551, 4.5.2) and not here. RTP counts its time at 8 kHz, although there are 16,000 samples a second.

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    filter: Mirror,
    low: Band,
    high: Band,
}

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    filter: Mirror,
    low: Band,
    high: Band,
}

impl Encoder {
    /// A stream that was silent so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { filter: Mirror::new(), low: Band::low(), high: Band::high() }
    }

    /// Encodes pairs of samples of 16 kHz, as many as `codes` has room for; returns how many bytes it wrote. An odd
    /// sample at the end of `samples` is not taken.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) -> usize {
        let mut written = 0;
        for (pair, code) in samples.chunks_exact(2).zip(codes) {
            self.filter.push(i32::from(pair[0]), i32::from(pair[1]));
            let (even, odd) = self.filter.convolve();
            let low = self.low.quantise_low((even + odd) >> 14);
            let high = self.high.quantise_high((even - odd) >> 14);
            self.low.next_low(low);
            self.high.next_high(high);
            *code = high << 6 | low;
            written += 1;
        }
        written
    }
}

impl Decoder {
    /// A stream that was silent so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { filter: Mirror::new(), low: Band::low(), high: Band::high() }
    }

    /// Decodes bytes, each to two samples of 16 kHz, as many as `samples` has room for; returns how many samples it
    /// wrote.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) -> usize {
        let mut written = 0;
        for (code, pair) in codes.iter().zip(samples.chunks_exact_mut(2)) {
            let (low, high) = (code & 63, code >> 6);
            // The lower band is heard with all of its 6 bits, and predicted from the upper 4 (INVQBL beside INVQAL).
            let heard_low = clamp_15(self.low.predicted + ((self.low.step * QM6[usize::from(low)]) >> 15));
            let heard_high =
                clamp_15(self.high.predicted + ((self.high.step * QM2[usize::from(high)]) >> 15));
            self.low.next_low(low);
            self.high.next_high(high);
            self.filter.push(heard_low + heard_high, heard_low - heard_high);
            let (even, odd) = self.filter.convolve();
            pair[0] = clamp(even >> 11) as i16;
            pair[1] = clamp(odd >> 11) as i16;
            written += 2;
        }
        written
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Half of the taps of the mirror filters; the other half is these backwards.
static MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];

/// The last 12 pairs that went into a mirror filter, each half twice, so that they always lie in one piece.
#[derive(Clone, Debug)]
struct Mirror {
    first: [i32; 24],
    second: [i32; 24],
    next: usize,
}

impl Mirror {
    const fn new() -> Self {
        Self { first: [0; 24], second: [0; 24], next: 0 }
    }

    fn push(&mut self, first: i32, second: i32) {
        for at in [self.next, self.next + 12] {
            self.first[at] = first;
            self.second[at] = second;
        }
        self.next = (self.next + 1) % 12;
    }

    /// The sums over the second samples of the pairs and over the first ones.
    fn convolve(&self) -> (i32, i32) {
        let (first, second) =
            (&self.first[self.next..self.next + 12], &self.second[self.next..self.next + 12]);
        let odd = first.iter().zip(&MIRROR).map(|(sample, tap)| sample * tap).sum();
        let even = second.iter().zip(MIRROR.iter().rev()).map(|(sample, tap)| sample * tap).sum();
        (even, odd)
    }
}

/// Predictor and quantiser of one band. Encoder and decoder hold the same, as long as no byte is lost.
#[derive(Clone, Debug)]
struct Band {
    /// Width of the quantiser's step (DETL, DETH).
    step: i32,
    /// Its logarithm (NBL, NBH).
    log_step: i32,
    /// What the next sample is taken to be (SL, SH).
    predicted: i32,
    /// The share of it that comes from the zeros (SZL, SZH).
    from_zeros: i32,
    /// The two poles (AL, AH), and what they were applied to: the last two samples as they were coded (RLT, RH).
    poles: [i32; 2],
    coded: [i32; 2],
    /// The last two sums of difference and zeros (PLT, PH).
    partial: [i32; 2],
    /// The six zeros (BL, BH), and what they are applied to: the last six differences (DLT, DH).
    zeros: [i32; 6],
    differences: [i32; 6],
}

impl Band {
    const fn low() -> Self {
        Self::with_step(32)
    }

    const fn high() -> Self {
        Self::with_step(8)
    }

    const fn with_step(step: i32) -> Self {
        Self {
            step,
            log_step: 0,
            predicted: 0,
            from_zeros: 0,
            poles: [0; 2],
            coded: [0; 2],
            partial: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
        }
    }

    /// Six bits for a sample of the lower band (SUBTRA, QUANTL).
    fn quantise_low(&self, sample: i32) -> u8 {
        let error = clamp(sample - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let level = Q6.partition_point(|decision| magnitude >= (decision * self.step) >> 12);
        // Thirty levels a side; of the negative ones the two smallest are apart from the rest.
        let level = level as u8;
        match (error < 0, level) {
            (false, _) => 61 - level,
            (true, 0 | 1) => 63 - level,
            (true, _) => 33 - level,
        }
    }

    /// Two bits for a sample of the upper band (SUBTRA, QUANTH).
    fn quantise_high(&self, sample: i32) -> u8 {
        let error = clamp(sample - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let large = magnitude >= (564 * self.step) >> 12;
        match (error < 0, large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        }
    }

    /// On to the next sample of the lower band (INVQAL, LOGSCL, SCALEL, and the predictor).
    fn next_low(&mut self, code: u8) {
        let coarse = usize::from(code >> 2);
        let difference = (self.step * QM4[coarse]) >> 15;
        self.scale(WL[coarse], 18_432, 8);
        self.predict(difference);
    }

    /// On to the next sample of the upper band (INVQAH, LOGSCH, SCALEH, and the predictor).
    fn next_high(&mut self, code: u8) {
        let code = usize::from(code);
        let difference = (self.step * QM2[code]) >> 15;
        self.scale(WH[code], 22_528, 10);
        self.predict(difference);
    }

    fn scale(&mut self, change: i32, most: i32, shift: i32) {
        self.log_step = (((self.log_step * 127) >> 7) + change).clamp(0, most);
        let mantissa = ILB[(self.log_step >> 6 & 31) as usize];
        let down = shift - (self.log_step >> 11);
        self.step = if down < 0 { mantissa << -down } else { mantissa >> down } << 2;
    }

    /// Adapts two poles and six zeros, and predicts.
    fn predict(&mut self, difference: i32) {
        let coded = clamp(self.predicted + difference);
        let partial = clamp(self.from_zeros + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        // DELAYA
        self.coded = [coded, self.coded[0]];
        self.partial = [partial, self.partial[0]];
        self.differences.copy_within(0..5, 1);
        self.differences[0] = difference;
        // FILTEP, FILTEZ, PREDIC
        let applied = |weight: i32, value: i32| (weight * clamp(2 * value)) >> 15;
        let from_poles = clamp(applied(self.poles[0], self.coded[0]) + applied(self.poles[1], self.coded[1]));
        let zeros = self.zeros.iter().zip(&self.differences);
        self.from_zeros = clamp(zeros.map(|(zero, difference)| applied(*zero, *difference)).sum());
        self.predicted = clamp(from_poles + self.from_zeros);
    }

    /// UPPOL2, UPPOL1
    fn adapt_poles(&mut self, partial: i32) {
        let same = self.partial.map(|before| (before < 0) == (partial < 0));
        let four = clamp(4 * self.poles[0]);
        let step = (if same[0] { -four } else { four }.min(32_767) >> 7) + if same[1] { 128 } else { -128 };
        let second = (step + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let most = clamp(15_360 - second);
        let step = if same[0] { 192 } else { -192 };
        let first = clamp(step + ((self.poles[0] * 32_640) >> 15)).clamp(-most, most);
        self.poles = [first, second];
    }

    /// UPZERO
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(&self.differences) {
            let step = if (*before < 0) == (difference < 0) { step } else { -step };
            *zero = clamp(step + ((*zero * 32_640) >> 15));
        }
    }
}

const fn clamp(value: i32) -> i32 {
    if value > 32_767 {
        32_767
    } else if value < -32_768 {
        -32_768
    } else {
        value
    }
}

/// LIMIT: what is handed to the mirror filter has 15 bits.
const fn clamp_15(value: i32) -> i32 {
    if value > 16_383 {
        16_383
    } else if value < -16_384 {
        -16_384
    } else {
        value
    }
}

/// Decision levels of the lower band, in 4,096ths of the step.
static Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121,
    1_219, 1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];

/// What a code of the lower band stands for, in 32,768ths of the step: with all its bits, and with the upper four.
static QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232,
    -9_360, -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776,
    -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280,
    11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168,
    2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432, 136, -432, -136,
];
static QM4: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584,
    1_200, 0,
];

/// The same of the upper band.
static QM2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];

/// By how much a code changes the logarithm of the step: lower band by its upper four bits, upper band.
static WL: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];
static WH: [i32; 4] = [798, -214, 798, -214];

/// 2,048 times two to the power of i/32.
static ILB: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774,
    2_834, 2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838,
    3_922, 4_008,
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tone::{Tone, peak_dbfs_at};
    use super::super::{Rate, wav};
    use super::*;

    /// What the reference decodes the golden vectors to, as `tests/fixtures/g722/make` prints it.
    const GOLDEN: u64 = 0x33a3_44e6_fcd0_4395;

    /// The input of the golden vectors and what libspandsp made of it; `tests/fixtures/g722/make` makes them.
    fn golden() -> (Vec<i16>, &'static [u8]) {
        let input = wav::read(Path::new("tests/fixtures/g722/input.wav")).expect("a fixture");
        assert_eq!(input.rate_hz, 16_000);
        (input.samples, include_bytes!("../../tests/fixtures/g722/spandsp.g722"))
    }

    fn fnv_1a(samples: &[i16]) -> u64 {
        let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    #[test]
    fn every_code_is_the_reference_encoders() {
        let (samples, expected) = golden();
        let mut codes = vec![0; samples.len() / 2];
        assert_eq!(Encoder::new().encode(&samples, &mut codes), expected.len());
        let wrong = codes.iter().zip(expected).position(|(ours, theirs)| ours != theirs);
        assert_eq!(wrong, None, "the first byte that differs");
    }

    #[test]
    fn every_sample_is_the_reference_decoders() {
        let (_, codes) = golden();
        let mut samples = vec![0; codes.len() * 2];
        assert_eq!(Decoder::new().decode(codes, &mut samples), samples.len());
        assert_eq!(fnv_1a(&samples), GOLDEN);
    }

    #[test]
    fn a_stream_in_pieces_is_the_stream_in_one() {
        let (samples, expected) = golden();
        let (mut encoder, mut codes) = (Encoder::new(), Vec::new());
        for piece in samples.chunks(34) {
            let mut room = [0; 17];
            let count = encoder.encode(piece, &mut room);
            codes.extend_from_slice(&room[..count]);
        }
        assert_eq!(codes, expected);
    }

    #[test]
    fn both_halves_of_the_band_come_through() {
        for hz in [100.0, 1_000.0, 3_400.0, 4_500.0, 6_800.0] {
            let mut samples = vec![0; 16_000];
            Tone::sine(Rate::Hz16000, hz, -12.0).fill(&mut samples);
            let (mut codes, mut heard) = (vec![0; 8_000], vec![0; 16_000]);
            Encoder::new().encode(&samples, &mut codes);
            Decoder::new().decode(&codes, &mut heard);
            let level = peak_dbfs_at(&heard[1_600..], Rate::Hz16000, hz);
            assert!((level + 12.0).abs() < 1.0, "{hz} Hz at {level} dBFS");
        }
    }

    #[test]
    fn a_lost_packet_is_forgotten_within_a_second() {
        let (samples, codes) = golden();
        let (mut whole, mut torn) = (vec![0; samples.len()], vec![0; samples.len()]);
        Decoder::new().decode(codes, &mut whole);
        let mut decoder = Decoder::new();
        decoder.decode(&codes[..1_600], &mut torn[..3_200]);
        decoder.decode(&codes[1_760..], &mut torn[3_520..]);
        let tail = samples.len() - 8_000..;
        let difference = whole[tail.clone()].iter().zip(&torn[tail]).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(difference < Some(100), "{difference:?}");
    }
}
