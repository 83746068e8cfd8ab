//! Sounds for callers that have no words.

use std::f32::consts::TAU;
use std::time::Duration;

/// Tone with the rhythm and level of speech: four syllables a second, at −20 dB below full scale. For load runs and
/// tests, where it matters that somebody speaks and not what. 8 kHz, deterministic.
#[must_use]
pub fn syllables(span: Duration) -> Vec<i16> {
    let count = crate::audio::Rate::Hz8000.samples(span);
    let sample = |n: u64| {
        #[expect(clippy::cast_precision_loss, reason = "minutes at most")]
        let t = n as f32 / 8_000.0;
        let envelope = (TAU * 2.0 * t).sin().abs();
        // A voice's pitch and two of its formants.
        let voice = (TAU * 140.0 * t).sin() + 0.5 * (TAU * 560.0 * t).sin() + 0.3 * (TAU * 1_540.0 * t).sin();
        #[expect(clippy::cast_possible_truncation, reason = "within ±10,800")]
        let sample = (envelope * voice * 6_000.0) as i16;
        sample
    };
    (0..count).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_are_as_loud_as_speech() {
        let samples = syllables(Duration::from_secs(1));
        assert_eq!(samples.len(), 8_000);
        let energy: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
        let dbfs = 10.0 * (energy / 8_000.0 / 32_768.0_f64.powi(2)).log10();
        assert!((-24.0..-16.0).contains(&dbfs), "{dbfs}");
    }
}
