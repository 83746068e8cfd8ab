//! What can be wrong with a network. Times are written in milliseconds where this is stored (`delay_ms`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All that is wrong with a network. The default is one that is perfect.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Impairment {
    /// What every packet takes at least.
    #[serde(rename = "delay_ms", with = "ms", skip_serializing_if = "Duration::is_zero")]
    pub delay: Duration,
    /// What becomes of packets that do not arrive.
    #[serde(skip_serializing_if = "Loss::is_none")]
    pub loss: Loss,
    /// What some packets take more than others. Without it all keep their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// Moments at which nothing goes on for a while, and then all at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spikes: Option<Spikes>,
    /// Packets that others overtake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reordering: Option<Reordering>,
    /// Packets that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplication: Option<Duplication>,
    /// A bottleneck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// Times without a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blackouts: Option<Blackouts>,
    /// By how many millionths the sender's clock is slow; negative where it is fast.
    #[serde(skip_serializing_if = "is_zero")]
    pub drift_ppm: f64,
}

/// How packets are lost. Shares are of 1.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each by itself.
    Random {
        /// This share of them.
        share: f64,
    },
    /// The channel of Gilbert and Elliott: a good state and a bad one; before each packet it may change.
    GilbertElliott {
        /// From good to bad, per packet.
        to_bad: f64,
        /// From bad to good, per packet; the mean length of a bad time is one divided by it.
        to_good: f64,
        /// Lost in the good state.
        in_good: f64,
        /// Lost in the bad state.
        in_bad: f64,
    },
}

impl Loss {
    /// Bursts in which everything is lost: `share` of all packets, in bursts of `mean_length` on average (Gilbert's
    /// channel). A share of 1 or more loses all.
    #[must_use]
    pub fn bursts(share: f64, mean_length: f64) -> Self {
        let to_good = 1.0 / mean_length.max(1.0);
        let to_bad = if share < 1.0 { to_good * share / (1.0 - share) } else { 1.0 };
        Self::GilbertElliott {
            to_bad,
            to_good: if share < 1.0 { to_good } else { 0.0 },
            in_good: 0.0,
            in_bad: 1.0,
        }
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Delay that differs from packet to packet.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Jitter {
    /// How it is spread.
    #[serde(flatten)]
    pub shape: Shape,
    /// A packet does not arrive before one that was sent earlier, as behind a queue. Otherwise jitter of more than
    /// the packets' distance reorders.
    pub keep_order: bool,
}

/// A spread of times.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// All equally likely.
    Uniform {
        /// From zero to this.
        #[serde(rename = "up_to_ms", with = "ms")]
        up_to: Duration,
    },
    /// A bell, cut off at zero.
    Normal {
        /// Its middle.
        #[serde(rename = "mean_ms", with = "ms")]
        mean: Duration,
        /// Its standard deviation.
        #[serde(rename = "deviation_ms", with = "ms")]
        deviation: Duration,
    },
    /// Mostly short, sometimes long.
    Exponential {
        /// Its mean.
        #[serde(rename = "mean_ms", with = "ms")]
        mean: Duration,
    },
}

/// A spike: what comes while it lasts arrives together at its end.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spikes {
    /// Mean time from the end of one to the beginning of the next, which is random.
    #[serde(rename = "every_ms", with = "ms")]
    pub every: Duration,
    /// How long one lasts, and so the most that a packet waits.
    #[serde(rename = "height_ms", with = "ms")]
    pub height: Duration,
}

/// Packets held back so that others overtake them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reordering {
    /// This share of them, of 1.
    pub share: f64,
    /// By at least this.
    #[serde(rename = "at_least_ms", with = "ms")]
    pub at_least: Duration,
    /// By at most this; all equally likely.
    #[serde(rename = "at_most_ms", with = "ms")]
    pub at_most: Duration,
}

/// Packets that arrive twice.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Duplication {
    /// This share of them, of 1.
    pub share: f64,
    /// The second is sent so much later.
    #[serde(rename = "after_ms", with = "ms")]
    pub after: Duration,
}

/// A bottleneck with a queue before it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RateLimit {
    /// What it lets through.
    pub bits_per_second: u64,
    /// What would wait longer than this is dropped.
    #[serde(rename = "queue_ms", with = "ms")]
    pub queue: Duration,
}

/// Times without a network.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Blackouts {
    /// When the first begins, after the first packet.
    #[serde(rename = "first_ms", with = "ms")]
    pub first: Duration,
    /// From the beginning of one to the beginning of the next; [`None`]: there is only one.
    #[serde(rename = "every_ms", with = "ms::optional", default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// How long each lasts.
    #[serde(rename = "length_ms", with = "ms")]
    pub length: Duration,
    /// What is sent meanwhile arrives together at its end; otherwise it is lost.
    pub held: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Durations as milliseconds.
mod ms {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        (span.as_secs_f64() * 1e3).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let ms = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(ms / 1e3).map_err(|_| {
            de::Error::custom(format!("{ms} is no number of milliseconds: zero or more is accepted"))
        })
    }

    pub(super) mod optional {
        use std::time::Duration;

        use serde::{Deserializer, Serialize as _, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            span: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            span.map(|span| span.as_secs_f64() * 1e3).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}
