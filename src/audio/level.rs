//! How loud a stretch of audio is.

/// The root mean square of `samples` in dBFS, where a sine at full scale is −3.01 and a full-scale square 0. Digital
/// silence, and no samples at all, are −100. Any thread.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a level needs no more than an f32's precision")]
pub fn rms_dbfs(samples: &[i16]) -> f32 {
    let energy: u64 = samples.iter().map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
    if energy == 0 {
        return FLOOR;
    }
    let mean = energy as f32 / samples.len() as f32;
    (10.0 * (mean / (32_767.0 * 32_767.0)).log10()).max(FLOOR)
}

/// What silence is said to be.
const FLOOR: f32 = -100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_zero_and_half_of_it_six_decibels_less() {
        assert!(rms_dbfs(&[32_767, -32_767]).abs() < 1e-3);
        assert!((rms_dbfs(&[16_384; 160]) + 6.02).abs() < 0.01);
    }

    #[test]
    fn silence_has_a_level_too() {
        assert!((rms_dbfs(&[]) - FLOOR).abs() < f32::EPSILON);
        assert!((rms_dbfs(&[0; 160]) - FLOOR).abs() < f32::EPSILON);
    }
}
