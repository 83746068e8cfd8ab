//! Comfort noise (RFC 3389): the sound of the line while the far end sends no audio.
//!
//! A far end that suppresses silence sends, instead of audio, a packet of payload type 13 with the level of its noise and,
//! if it likes, the noise's spectrum as reflection coefficients. [`ComfortNoise`] makes that noise until the next such
//! packet, or until audio comes again. Pure state, no allocation, no clock.

/// Makes the noise of one stream.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    /// What the noise's root mean square is and will be, in samples.
    loudness: f32,
    wanted: f32,
    reflections: [f32; MOST],
    /// The backward errors of the lattice's stages.
    lattice: [f32; MOST + 1],
    seed: u32,
}

/// The payload type of comfort noise at 8 kHz (RFC 3551, table 4).
pub const PAYLOAD_TYPE: u8 = 13;

/// Reflection coefficients that are heeded; what a packet has more is left out (RFC 3389 recommends 8 to 12).
pub const MOST: usize = 12;

/// Of the way to a new level, this part is gone with each sample: half of it in 11 ms at 8 kHz.
const PACE: f32 = 1.0 / 128.0;

impl ComfortNoise {
    /// Silence, until a packet says otherwise.
    #[must_use]
    pub const fn new() -> Self {
        Self { loudness: 0.0, wanted: 0.0, reflections: [0.0; MOST], lattice: [0.0; MOST + 1], seed: 1 }
    }

    /// Takes a packet's payload: a byte of level, 0 to 127 decibels below overload, and a byte for each reflection
    /// coefficient. An empty one changes nothing. Returns the level in dBov, which is 0 or less.
    pub fn update(&mut self, payload: &[u8]) -> Option<i8> {
        let (level, coefficients) = payload.split_first()?;
        // The upper bit is reserved.
        let level = -((level & 0x7f).cast_signed());
        // 0 dBov is a square wave at full scale.
        self.wanted = 32_767.0 * 10_f32.powf(f32::from(level) / 20.0);
        self.reflections = [0.0; MOST];
        for (reflection, code) in self.reflections.iter_mut().zip(coefficients) {
            // 255 is reserved; taken for the nearest one. The sign is the one of a predictor of the inverse filter
            // 1 + Σ aᵢ z⁻ⁱ (RFC 3389, 3.2).
            *reflection = 258.0 * (f32::from((*code).min(254)) - 127.0) / 32_768.0;
        }
        Some(level)
    }

    /// Makes the next samples, any number. A new level is gone over to within some 50 ms, so that it does not click.
    pub fn fill(&mut self, samples: &mut [i16]) {
        // What the resonances gain is taken off the excitation.
        let gain: f32 =
            self.reflections.iter().map(|reflection| 1.0 - reflection * reflection).product::<f32>().sqrt();
        for sample in samples {
            self.loudness += (self.wanted - self.loudness) * PACE;
            let mut forward = self.white() * self.loudness * gain;
            // All-pole lattice: from the last stage to the first.
            for stage in (0..MOST).rev() {
                let reflection = self.reflections[stage];
                forward -= reflection * self.lattice[stage];
                self.lattice[stage + 1] = self.lattice[stage] + reflection * forward;
            }
            self.lattice[0] = forward;
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates at full scale, as it should")]
            {
                *sample = forward.round() as i16;
            }
        }
    }

    /// Evenly distributed, with a root mean square of 1.
    fn white(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let even = (self.seed >> 8) as f32 / 8_388_608.0 - 1.0;
        even * 1.732
    }
}

impl Default for ComfortNoise {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::super::level::rms_dbfs;
    use super::super::tone::peak_dbfs_at;
    use super::*;

    fn noise(payload: &[u8]) -> Vec<i16> {
        let mut comfort = ComfortNoise::new();
        comfort.update(payload);
        let mut samples = vec![0; 18_000];
        comfort.fill(&mut samples);
        samples.split_off(2_000)
    }

    #[test]
    fn the_noise_has_the_level_that_the_packet_says() {
        for level in [20_u8, 40, 60, 70] {
            for coefficients in [&[][..], &[60], &[20, 160, 100, 127, 140]] {
                let payload = [&[level], coefficients].concat();
                let loud = rms_dbfs(&noise(&payload));
                assert!((loud + f32::from(level)).abs() < 1.5, "{loud} dBFS, wanted -{level}");
            }
        }
    }

    #[test]
    fn the_spectrum_follows_the_reflection_coefficients() {
        let band = |samples: &[i16], from: u32| {
            let bins = (0..40)
                .map(|i| 10_f64.powf(peak_dbfs_at(samples, Rate::Hz8000, f64::from(from + 20 * i)) / 10.0));
            10.0 * (bins.sum::<f64>() / 40.0).log10()
        };
        let tilt = |payload: &[u8]| {
            let samples = noise(payload);
            band(&samples, 100) - band(&samples, 3_000)
        };
        let (flat, dark, bright) = (tilt(&[30]), tilt(&[30, 40]), tilt(&[30, 214]));
        assert!(flat.abs() < 2.0 && dark > 6.0 && bright < -6.0, "{flat}, {dark}, {bright} dB");
    }

    #[test]
    fn a_new_level_comes_without_a_step() {
        let mut comfort = ComfortNoise::new();
        comfort.update(&[20]);
        let mut samples = [0; 800];
        comfort.fill(&mut samples);
        let levels = [rms_dbfs(&samples[..40]), rms_dbfs(&samples[40..160]), rms_dbfs(&samples[640..])];
        assert!(levels[0] < levels[1] - 6.0 && levels[1] < levels[2], "{levels:?}");
        assert!((levels[2] + 20.0).abs() < 2.0, "{levels:?}");
    }

    #[test]
    fn what_a_packet_leaves_out_or_has_too_much_does_no_harm() {
        let mut comfort = ComfortNoise::new();
        assert_eq!(comfort.update(&[]), None);
        assert_eq!(comfort.update(&[0xff]), Some(-127));
        assert_eq!(comfort.update(&[[20].as_slice(), &[255; 40]].concat()), Some(-20));
        let mut samples = [0; 8_000];
        comfort.fill(&mut samples);
        assert!(rms_dbfs(&samples) < 0.0);
        comfort.update(&[127]);
        comfort.fill(&mut samples);
        assert!(rms_dbfs(&samples[7_000..]) < -60.0);
    }
}
