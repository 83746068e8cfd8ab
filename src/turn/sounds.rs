//! Sounds for the tests of this room: voices with a pitch, coughs, clicks, noise. Seeded.

use std::f64::consts::TAU;

use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Makes sounds; the same ones for the same seed.
pub(crate) struct Sounds {
    rate: Rate,
    random: fastrand::Rng,
    phase: f64,
}

/// First and second formants of some vowels, in Hz.
const VOWELS: [(f64, f64); 5] =
    [(700.0, 1_150.0), (500.0, 1_800.0), (320.0, 2_200.0), (480.0, 900.0), (350.0, 800.0)];

impl Sounds {
    pub(crate) fn new(rate: Rate, seed: u64) -> Self {
        Self { rate, random: fastrand::Rng::with_seed(seed), phase: 0.0 }
    }

    fn frames(samples: &[i16], rate: Rate) -> Vec<Frame> {
        samples
            .as_chunks::<FRAME_SAMPLES>()
            .0
            .iter()
            .map(|samples| Frame { rate, samples: *samples })
            .collect()
    }

    fn count(&self, millis: u64) -> usize {
        self.rate.hz() as usize * millis as usize / 1_000
    }

    /// A room at night: ±3.
    pub(crate) fn silence(&mut self, millis: u64) -> Vec<Frame> {
        self.noise(3, millis)
    }

    /// White noise between ±`amplitude`.
    pub(crate) fn noise(&mut self, amplitude: i16, millis: u64) -> Vec<Frame> {
        let samples: Vec<i16> =
            (0..self.count(millis)).map(|_| self.random.i16(-amplitude..=amplitude)).collect();
        Self::frames(&samples, self.rate)
    }

    /// A vowel whose pitch goes from `from` to `to` Hz and whose amplitude from `loud` to `soft`.
    pub(crate) fn vowel_samples(
        &mut self,
        vowel: usize,
        millis: u64,
        pitch: (f64, f64),
        level: (f64, f64),
    ) -> Vec<i16> {
        let (count, hz) = (self.count(millis), f64::from(self.rate.hz()));
        let (f1, f2) = VOWELS[vowel % VOWELS.len()];
        let gain = |f: f64| {
            let peak = |at: f64, width: f64, gain: f64| gain / (1.0 + ((f - at) / width).powi(2));
            let telephone = if f < 250.0 { f / 250.0 } else { 1.0 };
            telephone * (peak(f1, 80.0, 1.0) + peak(f2, 120.0, 0.5) + peak(2_700.0, 200.0, 0.2) + 0.03)
        };
        (0..count)
            .map(|i| {
                let part = i as f64 / count as f64;
                let f0 = pitch.0 + (pitch.1 - pitch.0) * part;
                self.phase = (self.phase + TAU * f0 / hz) % TAU;
                let edge = (i.min(count - 1 - i) as f64 / (0.01 * hz)).min(1.0);
                let amplitude = edge * (level.0 + (level.1 - level.0) * part);
                let sum: f64 = (1..=(3_400.0 / f0) as usize)
                    .map(|n| gain(n as f64 * f0) * (n as f64 * self.phase).sin())
                    .sum();
                (amplitude * sum * 0.5) as i16 + self.random.i16(-3..=3)
            })
            .collect()
    }

    /// A vowel as frames.
    pub(crate) fn vowel(&mut self, millis: u64, pitch: (f64, f64), level: (f64, f64)) -> Vec<Frame> {
        let samples = self.vowel_samples(0, millis, pitch, level);
        Self::frames(&samples, self.rate)
    }

    /// Syllables of 140 ms and 40 ms of soft consonant, pitch wandering about 120 Hz.
    pub(crate) fn sentence(&mut self, millis: u64) -> Vec<Frame> {
        let samples = self.babble(millis, 120.0, 8_000.0);
        Self::frames(&samples, self.rate)
    }

    /// The same of a voice with another pitch and level.
    pub(crate) fn babble(&mut self, millis: u64, hz: f64, level: f64) -> Vec<i16> {
        let mut samples = Vec::new();
        let whole = self.count(millis);
        let mut from = hz;
        while samples.len() < whole {
            let vowel = self.random.usize(..VOWELS.len());
            let to = hz * (0.85 + 0.3 * self.random.f64());
            let length = self.random.u64(110..180);
            let loud = level * (0.6 + 0.4 * self.random.f64());
            samples.extend(self.vowel_samples(vowel, length, (from, to), (loud, loud)));
            let soft = (level * 0.08) as i16 + 1;
            let consonant = self.count(30);
            samples.extend((0..consonant).map(|_| self.random.i16(-soft..=soft)));
            from = to;
        }
        samples.truncate(whole);
        samples
    }

    /// A cough: a bang of noise that decays, and a softer second part, without pitch.
    pub(crate) fn cough(&mut self, millis: u64) -> Vec<Frame> {
        let count = self.count(millis);
        let samples: Vec<i16> = (0..count)
            .map(|i| {
                let part = i as f64 / count as f64;
                let envelope =
                    if part < 0.6 { (-4.0 * part).exp() } else { 0.3 * (-4.0 * (part - 0.6)).exp() };
                (self.random.f64() * 2.0 - 1.0) * 14_000.0 * envelope
            })
            .map(|sample| sample as i16)
            .collect();
        Self::frames(&samples, self.rate)
    }
}
