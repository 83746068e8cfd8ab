//! Tones of the telephone: what is loud and no speech.

use std::ops::Range;
use std::sync::LazyLock;

use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// The tones that are known, in Hz: keys (ITU-T Q.23); dial, ringing and busy tones of Europe, America, Japan and Britain
/// (ITU-T E.180); the three of "not in service"; calling and answering tones of fax (ITU-T T.30).
const KNOWN: [f32; 24] = [
    697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0, // keys
    350.0, 400.0, 425.0, 440.0, 450.0, 480.0, 600.0, 620.0, // the line
    950.0, 1_400.0, 1_800.0, 1_100.0, 2_100.0, 1_000.0, 1_004.0, 1_300.0, // announcements, fax, tests
];

/// Keys are the first eight: four rows and four columns.
const KEYS: usize = 8;

/// Pairs of them that sound together: North America's ringing, dial and busy tones, and those of Britain and Japan.
const PAIRS: [(usize, usize); 4] = [(11, 13), (8, 11), (13, 15), (9, 12)];

/// A frame is a tone when so much of its energy lies in at most two of them. A vowel's harmonics share theirs out.
const SHARE_OF_TWO: f32 = 0.86;

/// The same of a single tone, which a held "oo" comes nearer to.
const SHARE_OF_ONE: f32 = 0.93;

/// Each of two has at least this share.
const LEAST_SHARE: f32 = 0.08;

/// Frames after a tone that are taken for its end, unless they are louder than it.
const TAIL: u8 = 1;

/// Tells the tones of keys, lines and fax machines from voices. 16 bytes; 2 µs a frame, and to be asked only about frames
/// that a detector takes for speech.
#[derive(Clone, Debug)]
pub struct Tones {
    table: &'static Table,
    /// Frames in a row that were a tone.
    held: u8,
    /// Frames left that may be the end of one.
    tail: u8,
}

/// What all detectors of a rate share.
#[derive(Debug)]
struct Table {
    cosine: [f32; KNOWN.len()],
    sine: [f32; KNOWN.len()],
    /// For each of [`PAIRS`] the inverse of the products of its two cosines and sines with each other over a frame: near
    /// tones leak into each other, and this takes it back.
    apart: [[[f32; 4]; 4]; PAIRS.len()],
}

static NARROW: LazyLock<Table> = LazyLock::new(|| Table::new(Rate::Hz8000));
static WIDE: LazyLock<Table> = LazyLock::new(|| Table::new(Rate::Hz16000));

impl Table {
    fn new(rate: Rate) -> Self {
        let turn = |tone: f32| std::f64::consts::TAU * f64::from(tone) / f64::from(rate.hz());
        let apart = PAIRS.map(|(a, b)| {
            let (a, b) = (turn(KNOWN[a]), turn(KNOWN[b]));
            let mut products = [[0.0; 4]; 4];
            for back in 0..FRAME_SAMPLES {
                #[expect(clippy::cast_precision_loss, reason = "at most 160")]
                let at = -(back as f64);
                let waves = [(a * at).cos(), (a * at).sin(), (b * at).cos(), (b * at).sin()];
                for (row, one) in products.iter_mut().zip(waves) {
                    row.iter_mut().zip(waves).for_each(|(cell, other)| *cell += one * other);
                }
            }
            inverse(products)
        });
        #[expect(clippy::cast_possible_truncation, reason = "an f32 is enough between −1 and 1")]
        Self {
            cosine: KNOWN.map(|tone| turn(tone).cos() as f32),
            sine: KNOWN.map(|tone| turn(tone).sin() as f32),
            apart,
        }
    }
}

/// The inverse of a matrix that is positive definite, by Gauss and Jordan.
fn inverse(mut matrix: [[f64; 4]; 4]) -> [[f32; 4]; 4] {
    let mut inverse = [[0.0; 4]; 4];
    for (i, row) in inverse.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for pivot in 0..4 {
        let scale = 1.0 / matrix[pivot][pivot];
        for column in 0..4 {
            matrix[pivot][column] *= scale;
            inverse[pivot][column] *= scale;
        }
        for row in (0..4).filter(|row| *row != pivot) {
            let factor = matrix[row][pivot];
            for column in 0..4 {
                matrix[row][column] -= factor * matrix[pivot][column];
                inverse[row][column] -= factor * inverse[pivot][column];
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "an f32 is enough")]
    inverse.map(|row| row.map(|cell| cell as f32))
}

impl Default for Tones {
    fn default() -> Self {
        Self::new(Rate::Hz8000)
    }
}

impl Tones {
    /// A detector for audio at `rate`. The first one of a rate computes a table; not for the media thread.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let table = if rate == Rate::Hz8000 { &NARROW } else { &WIDE };
        Self { table: LazyLock::force(table), held: 0, tail: 0 }
    }

    /// Whether the frame, of the rate that it was made for, is a tone or the end of one. A lone frame of a single tone
    /// is not believed; two tones are at once.
    pub fn is_tone(&mut self, frame: &Frame) -> bool {
        let sounds = self.sounds_like_one(&frame.samples);
        if sounds.is_some() {
            self.held = self.held.saturating_add(1);
        } else {
            self.held = 0;
        }
        let tone = match sounds {
            Some(Tone::Two) => true,
            Some(Tone::One) => self.held >= 2,
            None => false,
        };
        if tone {
            self.tail = TAIL;
            return true;
        }
        let tail = self.tail > 0;
        self.tail = self.tail.saturating_sub(1);
        tail
    }

    /// There was a frame that nobody asked about: whatever tone there was is over.
    pub const fn pass(&mut self) {
        self.held = 0;
        self.tail = 0;
    }

    fn sounds_like_one(&self, samples: &[i16; FRAME_SAMPLES]) -> Option<Tone> {
        let (mut one, mut two) = ([0.0_f32; KNOWN.len()], [0.0_f32; KNOWN.len()]);
        let twice = self.table.cosine.map(|cosine| 2.0 * cosine);
        let mut energy = 0.0;
        for sample in samples {
            let sample = f32::from(*sample);
            energy += sample * sample;
            // Goertzel, all tones side by side, so that the compiler takes several at a time.
            for ((one, two), twice) in one.iter_mut().zip(&mut two).zip(&twice) {
                let next = sample + twice * *one - *two;
                *two = *one;
                *one = next;
            }
        }
        if energy <= 0.0 {
            return None;
        }
        // The products of the frame with cosine and sine, counted from its last sample.
        let wave = |k: usize| (one[k] - two[k] * self.table.cosine[k], -two[k] * self.table.sine[k]);
        #[expect(clippy::cast_precision_loss, reason = "160")]
        let whole = energy * FRAME_SAMPLES as f32 / 2.0;
        let share = |k: usize| {
            let (cosine, sine) = wave(k);
            (cosine * cosine + sine * sine) / whole
        };
        let most = |range: Range<usize>| range.map(share).fold(0.0_f32, f32::max);
        let (row, column) = (most(0..KEYS / 2), most(KEYS / 2..KEYS));
        if row > LEAST_SHARE && column > LEAST_SHARE && row + column > SHARE_OF_TWO {
            return Some(Tone::Two);
        }
        if most(KEYS..KNOWN.len()) > SHARE_OF_ONE {
            return Some(Tone::One);
        }
        let pair = |((a, b), apart): (&(usize, usize), &[[f32; 4]; 4])| {
            let (a, b) = (wave(*a), wave(*b));
            let waves = [a.0, a.1, b.0, b.1];
            let explained: f32 = waves
                .iter()
                .zip(apart)
                .map(|(wave, row)| wave * row.iter().zip(&waves).map(|(cell, wave)| cell * wave).sum::<f32>())
                .sum();
            explained > SHARE_OF_ONE * energy
        };
        PAIRS.iter().zip(&self.table.apart).any(pair).then_some(Tone::One)
    }
}

enum Tone {
    One,
    Two,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::Tone as Sine;
    use crate::turn::sounds::Sounds;

    fn taken(tones: &mut Tones, frames: &[Frame]) -> usize {
        frames.iter().filter(|frame| tones.is_tone(frame)).count()
    }

    #[test]
    fn keys_are_tones_from_their_first_whole_frame_on() {
        for key in "0123456789*#ABCD".chars() {
            let mut tone = Sine::key(Rate::Hz8000, key).expect("a key");
            let frames: Vec<Frame> = (0..5).map(|_| tone.frame()).collect();
            assert_eq!(taken(&mut Tones::default(), &frames), 5, "{key}");
        }
    }

    #[test]
    fn ringback_busy_and_fax_are_tones_from_their_second_frame_on() {
        for hz in [[350.0, 440.0], [440.0, 480.0], [480.0, 620.0], [400.0, 450.0]] {
            let mut tone = Sine::dual(Rate::Hz8000, hz, -15.0);
            let frames: Vec<Frame> = (0..20).map(|_| tone.frame()).collect();
            assert!(taken(&mut Tones::default(), &frames) >= 17, "{hz:?}");
        }
        for hz in [425.0, 440.0, 950.0, 1_400.0, 1_100.0, 2_100.0] {
            for rate in [Rate::Hz8000, Rate::Hz16000] {
                let mut tone = Sine::sine(rate, hz, -15.0);
                let frames: Vec<Frame> = (0..20).map(|_| tone.frame()).collect();
                assert!(taken(&mut Tones::new(rate), &frames) >= 17, "{hz} at {rate:?}");
            }
        }
    }

    #[test]
    fn voices_and_noise_are_none() {
        let mut sounds = Sounds::new(Rate::Hz8000, 11);
        let mut tones = Tones::default();
        for pitch in [90.0, 120.0, 200.0, 240.0] {
            let voice = sounds.babble(4_000, pitch, 9_000.0);
            let voice: Vec<Frame> = voice
                .as_chunks()
                .0
                .iter()
                .map(|samples| Frame { rate: Rate::Hz8000, samples: *samples })
                .collect();
            let taken = taken(&mut tones, &voice);
            assert!(taken <= 2, "{taken} of 200 frames at {pitch} Hz");
        }
        assert_eq!(taken(&mut tones, &sounds.noise(5_000, 2_000)), 0);
    }
}
