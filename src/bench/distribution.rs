//! Many values of one figure, told by a few of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Values are counted in nanoseconds, to three significant digits, up to this many: a minute.
const LARGEST_NANOS: u64 = 60_000_000_000;

/// Points of [`Distribution::curve`].
const CURVE: [f64; 21] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999,
    0.9995, 0.9999, 1.0,
];

/// What a distribution is told in; part of the name of every figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Microseconds: names end in `_us`.
    Micros,
    /// Milliseconds: names end in `_ms`.
    Millis,
}

impl Unit {
    const fn nanos(self) -> f64 {
        match self {
            Self::Micros => 1e3,
            Self::Millis => 1e6,
        }
    }
}

/// Gathers spans of time. One thread; does not allocate after it was made.
#[derive(Clone, Debug)]
pub struct Spans(Histogram<u64>);

impl Default for Spans {
    fn default() -> Self {
        Self(Histogram::new_with_max(LARGEST_NANOS, 3).expect("three digits of a minute are a valid range"))
    }
}

impl Spans {
    /// Adds one; more than a minute counts as a minute.
    pub fn add(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_nanos()).unwrap_or(LARGEST_NANOS));
    }

    /// The value below which that share of them lies, from 0 to 1.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same range");
    }

    /// Adds all of a histogram of nanoseconds.
    pub fn merge_nanos(&mut self, nanos: &Histogram<u64>) {
        for value in nanos.iter_recorded() {
            self.0.saturating_record_n(value.value_iterated_to(), value.count_at_value());
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What they come to; [`None`] when there are none.
    #[must_use]
    pub fn distribution(&self, unit: Unit) -> Option<Distribution> {
        if self.0.is_empty() {
            return None;
        }
        let in_unit = |nanos: f64| (nanos / unit.nanos() * 1e3).round() / 1e3;
        #[expect(clippy::cast_precision_loss, reason = "a minute of nanoseconds is exact in an f64")]
        let at = |quantile: f64| in_unit(self.0.value_at_quantile(quantile) as f64);
        Some(Distribution {
            count: self.0.len(),
            mean: in_unit(self.0.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            max: in_unit(self.0.max() as f64),
            curve: CURVE.map(|quantile| (quantile, at(quantile))).to_vec(),
        })
    }
}

/// A figure's values, in the unit that its name ends in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are no larger.
    pub p50: f64,
    /// Nine tenths are no larger.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// 999 in 1,000.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// Pairs of a quantile (0 to 1) and its value, rising.
    pub curve: Vec<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_tells_its_quantiles_in_the_unit_of_its_name() {
        let mut spans = Spans::default();
        assert_eq!(spans.distribution(Unit::Millis), None);
        (1..=1_000).for_each(|millis| spans.add(Duration::from_millis(millis)));
        let told = spans.distribution(Unit::Millis).expect("there are some");
        assert_eq!(told.count, 1_000);
        for (value, wanted) in [(told.p50, 500.0), (told.p90, 900.0), (told.p99, 990.0), (told.max, 1_000.0)]
        {
            assert!((value / wanted - 1.0).abs() < 2e-3, "{value} for {wanted}");
        }
        assert!(told.curve.is_sorted_by(|a, b| a.1 <= b.1));
        let micros = spans.distribution(Unit::Micros).expect("there are some");
        assert!((micros.p50 / told.p50 - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn what_is_longer_than_a_minute_counts_as_a_minute() {
        let mut spans = Spans::default();
        spans.add(Duration::from_secs(3_600));
        let told = spans.distribution(Unit::Millis).expect("there is one");
        assert!((told.max / 60_000.0 - 1.0).abs() < 2e-3, "{}", told.max);
    }
}
