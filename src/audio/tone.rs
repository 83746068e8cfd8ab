//! Tones: the two of a key, and any others for tests and tones of the line.

use std::f64::consts::TAU;

use super::{FRAME_SAMPLES, Frame, Rate};

/// A sum of up to two sines, without a seam from one frame to the next.
#[derive(Clone, Debug)]
pub struct Tone {
    rate: Rate,
    sines: [Sine; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Sine {
    amplitude: f64,
    /// Radians per sample.
    step: f64,
    phase: f64,
}

impl Tone {
    /// A sine of `hz` at `peak_dbfs` (its peak; 0 is full scale).
    #[must_use]
    pub fn sine(rate: Rate, hz: f64, peak_dbfs: f64) -> Self {
        Self { rate, sines: [Sine::new(rate, hz, peak_dbfs), Sine::default()] }
    }

    /// Two sines, each at `peak_dbfs`.
    #[must_use]
    pub fn dual(rate: Rate, hz: [f64; 2], peak_dbfs: f64) -> Self {
        Self { rate, sines: hz.map(|hz| Sine::new(rate, hz, peak_dbfs)) }
    }

    /// The tones of a key (ITU-T Q.23), `0` to `9`, `*`, `#`, `A` to `D`; [`None`] for any other character.
    #[must_use]
    pub fn key(rate: Rate, key: char) -> Option<Self> {
        const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
        const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
        let at = "123A456B789C*0#D".chars().position(|known| known == key)?;
        Some(Self::dual(rate, [ROWS[at / 4], COLUMNS[at % 4]], -9.0))
    }

    /// The next samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let sum: f64 = self.sines.iter_mut().map(Sine::next).sum();
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates at full scale, as it should")]
            {
                *sample = (sum * 32_767.0).round() as i16;
            }
        }
    }

    /// The next frame.
    pub fn frame(&mut self) -> Frame {
        let mut samples = [0; FRAME_SAMPLES];
        self.fill(&mut samples);
        Frame { rate: self.rate, samples }
    }
}

impl Sine {
    fn new(rate: Rate, hz: f64, peak_dbfs: f64) -> Self {
        Self { amplitude: 10_f64.powf(peak_dbfs / 20.0), step: TAU * hz / f64::from(rate.hz()), phase: 0.0 }
    }

    fn next(&mut self) -> f64 {
        let value = self.amplitude * self.phase.sin();
        self.phase = (self.phase + self.step) % TAU;
        value
    }
}

/// The power of the frequency `hz` in `samples` as the peak in dBFS of the sine that would make it (Goertzel).
#[cfg(test)]
pub(super) fn peak_dbfs_at(samples: &[i16], rate: Rate, hz: f64) -> f64 {
    let step = TAU * hz / f64::from(rate.hz());
    #[expect(clippy::cast_precision_loss, reason = "a test's buffer is short")]
    let length = samples.len() as f64;
    // A Hann window keeps what is elsewhere from leaking here.
    let (mut re, mut im) = (0.0, 0.0);
    for (i, sample) in (0_u32..).zip(samples) {
        let window = 1.0 - (TAU * (f64::from(i) + 0.5) / length).cos();
        let value = f64::from(*sample) * window;
        re += value * (step * f64::from(i)).cos();
        im += value * (step * f64::from(i)).sin();
    }
    20.0 * (re.hypot(im) * 2.0 / length / 32_767.0).max(1e-9).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_has_its_frequency_its_level_and_no_seam() {
        let mut tone = Tone::sine(Rate::Hz8000, 1_000.0, -6.0);
        let samples: Vec<i16> = (0..10).flat_map(|_| tone.frame().samples).collect();
        assert!((peak_dbfs_at(&samples, Rate::Hz8000, 1_000.0) + 6.0).abs() < 0.05);
        for elsewhere in [300.0, 900.0, 1_100.0, 2_000.0, 3_000.0] {
            assert!(peak_dbfs_at(&samples, Rate::Hz8000, elsewhere) < -75.0, "{elsewhere} Hz");
        }
    }

    #[test]
    fn a_key_has_its_two_tones_and_no_third() {
        let mut tone = Tone::key(Rate::Hz8000, '8').expect("8 is a key");
        let samples: Vec<i16> = (0..20).flat_map(|_| tone.frame().samples).collect();
        for (hz, there) in
            [(852.0, true), (1_336.0, true), (770.0, false), (1_209.0, false), (1_477.0, false)]
        {
            let level = peak_dbfs_at(&samples, Rate::Hz8000, hz);
            assert!(if there { (level + 9.0).abs() < 0.1 } else { level < -60.0 }, "{hz} Hz at {level}");
        }
        assert!(Tone::key(Rate::Hz8000, 'x').is_none());
    }

    #[test]
    fn too_loud_is_clipped_and_does_not_wrap() {
        let mut tone = Tone::dual(Rate::Hz8000, [500.0, 500.0], 0.0);
        assert!(tone.frame().samples[..8].iter().all(|sample| *sample >= 0));
    }
}
