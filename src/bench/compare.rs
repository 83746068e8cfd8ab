//! Two reports side by side: what became slower, dearer or larger.

use std::fmt;

use super::report::{Report, Run};

/// Differences below this are of the clock and not of the code, whatever their ratio: microseconds of a figure that is
/// told in microseconds.
const NOISE_US: f64 = 20.0;
/// The same for figures that are told in milliseconds.
const NOISE_MS: f64 = 1.0;

/// The comparison of a report with an older one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparison {
    /// Runs that both have, each with its figures.
    pub runs: Vec<(String, Vec<Change>)>,
    /// Runs of the new report that the old one does not have.
    pub new: Vec<String>,
    /// The ratio past which a figure has become worse.
    pub threshold: f64,
}

/// One figure in both reports; a larger one is worse.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Its name, and the quantile where it has any.
    pub figure: String,
    /// Its old value.
    pub old: f64,
    /// Its new value.
    pub new: f64,
    /// Differences up to this count for nothing.
    noise: f64,
}

impl Change {
    /// The new one by the old one; 1 for two zeros.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.old == self.new { 1.0 } else { self.new / self.old }
    }

    /// Whether it is worse by more than `threshold` and by more than noise.
    #[must_use]
    pub fn is_worse(&self, threshold: f64) -> bool {
        self.ratio() > threshold && self.new - self.old > self.noise
    }
}

impl Comparison {
    /// Compares the runs that have the same title. Processor time is compared as a ratio to the floor, which takes the
    /// speed of the machine out of it.
    #[must_use]
    pub fn of(old: &Report, new: &Report, threshold: f64) -> Self {
        let mut this = Self { threshold, ..Self::default() };
        for run in &new.runs {
            match old.runs.iter().find(|other| other.title() == run.title()) {
                Some(before) => this.runs.push((run.title(), changes(before, run))),
                None => this.new.push(run.title()),
            }
        }
        this
    }

    /// The figures that are worse, each with its run.
    pub fn worse(&self) -> impl Iterator<Item = (&str, &Change)> {
        let all = self.runs.iter().flat_map(|(run, changes)| changes.iter().map(move |c| (run.as_str(), c)));
        all.filter(|(_, change)| change.is_worse(self.threshold))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (run, changes) in &self.runs {
            writeln!(f, "\n{run}: old, new, ratio")?;
            for change in changes {
                let mark = if change.is_worse(self.threshold) { "  WORSE" } else { "" };
                let Change { figure, old, new, .. } = change;
                writeln!(f, "  {figure:<32}{old:>12.2}{new:>12.2}{:>8.2}{mark}", change.ratio())?;
            }
        }
        for run in &self.new {
            writeln!(f, "\n{run}: not in the old report")?;
        }
        Ok(())
    }
}

fn changes(old: &Run, new: &Run) -> Vec<Change> {
    let mut changes = Vec::new();
    for ((name, before), (_, after)) in old.distributions().into_iter().zip(new.distributions()) {
        let (Some(before), Some(after)) = (before, after) else { continue };
        let noise = if name.ends_with("_us") { NOISE_US } else { NOISE_MS };
        for (quantile, old, new) in [("p50", before.p50, after.p50), ("p99", before.p99, after.p99)] {
            changes.push(Change { figure: format!("{name} {quantile}"), old, new, noise });
        }
    }
    let mut number = |figure: &str, old: Option<f64>, new: Option<f64>, noise: f64| {
        if let (Some(old), Some(new)) = (old, new) {
            changes.push(Change { figure: figure.to_owned(), old, new, noise });
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of packets and bytes")]
    let count = |value: u64| Some(value as f64);
    number("cpu_ratio_to_floor", old.cpu_ratio_to_floor, new.cpu_ratio_to_floor, 0.1);
    let bytes = |run: &Run| run.bytes_per_call.and_then(count);
    number("bytes_per_call", bytes(old), bytes(new), 1_024.0);
    number("caller_packets_lost", count(old.caller_packets_lost), count(new.caller_packets_lost), 0.0);
    number("lost_in_engine", count(old.lost_in_engine()), count(new.lost_in_engine()), 0.0);
    number("cut_offs", count(old.cut_offs), count(new.cut_offs), 0.0);
    number("skipped_ticks", count(old.skipped_ticks), count(new.skipped_ticks), 0.0);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::distribution::Distribution;
    use crate::bench::machine::Machine;
    use crate::bench::report::SCHEMA;

    fn report(p99: f64, ratio: f64, skipped_ticks: u64) -> Report {
        let pacing = Distribution {
            count: 9,
            mean: 50.0,
            p50: 50.0,
            p90: p99,
            p99,
            p999: p99,
            max: p99,
            curve: vec![],
        };
        let run = Run {
            fixture: "clean-ulaw".into(),
            calls: 100,
            pacing_error_us: Some(pacing),
            cpu_ratio_to_floor: Some(ratio),
            skipped_ticks,
            ..Run::default()
        };
        let machine = Machine::default();
        Report { schema: SCHEMA, offhook: "0".into(), machine, floor: vec![], runs: vec![run] }
    }

    fn worse(old: &Report, new: &Report) -> Vec<String> {
        Comparison::of(old, new, 1.25).worse().map(|(_, change)| change.figure.clone()).collect()
    }

    #[test]
    fn what_is_worse_past_the_threshold_is_told_and_nothing_else() {
        let old = report(100.0, 2.0, 0);
        assert!(worse(&old, &old).is_empty());
        assert!(worse(&old, &report(124.0, 2.4, 0)).is_empty(), "within the threshold");
        assert!(worse(&old, &report(10.0, 1.0, 0)).is_empty(), "better is not worse");
        assert_eq!(worse(&old, &report(200.0, 3.0, 0)), ["pacing_error_us p99", "cpu_ratio_to_floor"]);
        assert_eq!(worse(&old, &report(100.0, 2.0, 5)), ["skipped_ticks"], "from nothing to something");
    }

    #[test]
    fn a_ratio_of_tiny_times_is_noise() {
        assert!(worse(&report(5.0, 2.0, 0), &report(15.0, 2.0, 0)).is_empty());
    }

    #[test]
    fn a_run_that_is_new_is_named_as_such() {
        let mut new = report(1.0, 1.0, 0);
        new.runs[0].calls = 500;
        let comparison = Comparison::of(&report(1.0, 1.0, 0), &new, 1.25);
        assert!(comparison.runs.is_empty());
        assert_eq!(comparison.new, [new.runs[0].title()]);
    }
}
