//! Random numbers that are the same everywhere and for ever.

use std::time::Duration;

use super::Shape;

/// SplitMix64: enough for a network, and nothing that a new version of a crate could change.
pub(super) struct Dice(u64);

impl Dice {
    /// One of many independent streams of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// 0 to 1, without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// To the microsecond, so that the last bit of a logarithm makes no difference.
    fn micros(span: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts from floats saturate"
        )]
        Duration::from_micros((span * 1e6).round().max(0.0) as u64)
    }

    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let width = most.saturating_sub(least).as_secs_f64();
        least + Self::micros(width * self.unit())
    }

    pub(super) fn span(&mut self, shape: Shape) -> Duration {
        match shape {
            Shape::Uniform { up_to } => self.between(Duration::ZERO, up_to),
            Shape::Normal { mean, deviation } => {
                // The sum of twelve: arithmetic alone, so the same on every machine; its tails end at six deviations.
                let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
                Self::micros(mean.as_secs_f64() + deviation.as_secs_f64() * normal)
            }
            Shape::Exponential { mean } => Self::micros(-mean.as_secs_f64() * (1.0 - self.unit()).ln()),
        }
    }
}
