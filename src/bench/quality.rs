//! How a stream would sound to a person, estimated from what was lost: the E-model (ITU-T G.107).
//!
//! Everything that a capture does not tell (echo, noise of the rooms, loudness) has the recommendation's default, and the
//! delay is left out, since one end's capture does not know it: with them the rating is 93.2 less what packet loss takes,
//! by the codec's figures in ITU-T G.113, appendix I. An estimate for G.711 alone; for other formats there is none here.

/// The rating without any loss and delay: R0 − Is with the defaults of G.107.
const BEST: f64 = 93.2;
/// Equipment impairment of G.711 without loss.
const G711_IE: f64 = 0.0;
/// Robustness of G.711 to random loss, with concealment (G.113, appendix I: 25.1 for that of G.711, appendix I).
const G711_BPL: f64 = 25.1;

/// Loss on a stream, as the E-model wants it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Loss {
    /// Share of packets lost, 0 to 1.
    pub share: f64,
    /// How much longer bursts of lost packets are than those of random loss; 1 for random loss.
    pub burst_ratio: f64,
}

impl Loss {
    /// Of `sent` packets `lost` did not come, in `bursts` stretches.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
    pub fn of(sent: u64, lost: u64, bursts: u64) -> Self {
        if sent == 0 || lost == 0 {
            return Self { share: 0.0, burst_ratio: 1.0 };
        }
        let share = (lost as f64 / sent as f64).min(1.0);
        let mean_burst = lost as f64 / bursts.max(1) as f64;
        // Random loss of this share has bursts of 1 / (1 − share) packets.
        Self { share, burst_ratio: (mean_burst * (1.0 - share)).max(1.0) }
    }
}

/// The transmission rating R of G.711 with this loss, 0 to 93.2.
#[must_use]
pub fn rating(loss: Loss) -> f64 {
    let percent = 100.0 * loss.share;
    let impairment = G711_IE + (95.0 - G711_IE) * percent / (percent / loss.burst_ratio.max(1.0) + G711_BPL);
    (BEST - impairment).max(0.0)
}

/// The mean opinion score that people would give at this rating, 1 (bad) to 4.5 (G.107, annex B).
#[must_use]
pub fn mean_opinion(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_become_the_opinions_of_the_recommendation() {
        for (rating, opinion) in
            [(93.2, 4.41), (90.0, 4.34), (80.0, 4.02), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)]
        {
            assert!((mean_opinion(rating) - opinion).abs() < 0.01, "{rating}: {}", mean_opinion(rating));
        }
        assert!((mean_opinion(-5.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn loss_takes_from_the_rating_and_bursts_take_more() {
        let random = |percent: u64| rating(Loss::of(1_000, 10 * percent, 10 * percent));
        assert!((random(0) - 93.2).abs() < 1e-9);
        // 93.2 − 95 × 5 / (5 + 25.1), the burst ratio of so little being 1.
        assert!((random(5) - 77.42).abs() < 0.05, "{}", random(5));
        let bursty = rating(Loss::of(1_000, 50, 10));
        assert!(bursty < random(5) - 1.0, "{bursty}");
    }

    #[test]
    fn a_stream_without_packets_has_lost_none() {
        assert_eq!(Loss::of(0, 0, 0), Loss { share: 0.0, burst_ratio: 1.0 });
        assert!(Loss::of(1, 5, 0).share <= 1.0);
    }
}
