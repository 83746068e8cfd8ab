//! What a live measurement found, as JSON and as tables.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::engine::Noted;
use crate::bench::machine::Machine;
use crate::bench::turns::report::{Shown, Spread};
use crate::store::Stage;

/// What was found.
#[derive(Debug, Serialize)]
pub(in crate::cli::turns) struct Report {
    pub(super) schema: u32,
    pub(super) offhook: String,
    pub(super) machine: Machine,
    pub(super) transports: Vec<Run>,
    pub(super) conversations: Option<Run>,
    pub(super) shown: Vec<Shown>,
}

/// Some callers on one transport.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli::turns) struct Run {
    pub(super) transport: String,
    pub(super) callers: usize,
    pub(super) calls: usize,
    pub(super) calls_lost: usize,
    /// From the end of the caller's speech on the wire to the bot's first audio at his ear.
    pub(super) reply_ms: Spread,
    /// The same, by what he said.
    pub(super) reply_by_line_ms: BTreeMap<String, Spread>,
    /// From the onset of his voice on the wire to the last packet at his ear that is as loud as the bot was.
    pub(super) interruption_to_quieter_ms: Spread,
    /// The same to the last packet with any voice in it.
    pub(super) interruption_to_silence_ms: Spread,
    /// Interruptions in which the bot had a pause of its own just then: nothing is measured of them.
    pub(super) interruptions_unmeasured: usize,
    /// Interruptions after which it spoke on.
    pub(super) interruptions_missed: usize,
    /// Why calls were lost.
    pub(super) lost: BTreeMap<String, usize>,
    /// Silence in the midst of what the bot said to all callers, because the synthesiser was late, in milliseconds.
    pub(super) holes_ms: u64,
    /// The calls that the engine ended, as it wrote them down.
    pub(super) ended_by_engine: Vec<String>,
    /// Shares of one core, in percent, while all callers spoke.
    pub(super) processor: BTreeMap<String, f64>,
    /// Share of all cores that was idle, in percent.
    pub(super) idle_percent: Option<f64>,
    /// The stages of the engine's turns by its own clock, from the end of the caller's speech: p50 and p95, in milliseconds.
    pub(super) stages_ms: BTreeMap<String, [f64; 2]>,
    /// The stage that adds most to the one before it at p95, and how much, in milliseconds: waiting for a decoder shows as
    /// `final`, for the synthesiser as `audio`.
    pub(super) slowest_stage: Option<(String, f64)>,
    /// What is nearest to its limit.
    pub(super) saturates_first: String,
}

impl Run {
    /// Takes in what the engine wrote down, and says what is nearest to its limit.
    pub(super) fn noted(&mut self, noted: Noted) {
        self.ended_by_engine = noted.ended;
        self.holes_ms = noted.holes_ms;
        let stages = noted.latencies.map(|took| took.stages).unwrap_or_default();
        self.stages_ms =
            stages.iter().map(|(stage, took)| (stage.label().to_owned(), [took.p50, took.p95])).collect();
        let added =
            stages.windows(2).map(|pair| (pair[1].0.label().to_owned(), pair[1].1.p95 - pair[0].1.p95));
        self.slowest_stage = added.max_by(|a, b| a.1.total_cmp(&b.1));
        self.saturates_first = self.nearest_to_its_limit();
    }

    /// All cores together where they are nearly all taken, a single thread where it has nearly a core; each with whoever
    /// takes most.
    pub(super) fn nearest_to_its_limit(&self) -> String {
        let busiest = |threads: bool| {
            let of = self.processor.iter().filter(|(name, _)| name.contains("threads") == threads);
            of.max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(name, share)| format!("{name}, {share:.0} % of a core"))
        };
        let (process, thread) = (busiest(false).unwrap_or_default(), busiest(true).unwrap_or_default());
        match self.idle_percent {
            Some(idle) if idle < 15.0 => {
                format!(
                    "all cores ({:.0} % taken); of ours most by {process}, there by {thread}",
                    100.0 - idle
                )
            }
            _ => format!("nothing yet; most is taken by {process}, there by {thread}"),
        }
    }
}

pub(super) fn judged(transports: &[Run], conversations: Option<&Run>) -> Vec<Shown> {
    let mut all = Vec::new();
    let mut promise = |what: String, value: Option<f64>, limit: f64, unit: &str| {
        let held = value.is_some_and(|value| value <= limit);
        all.push(Shown { what, value, limit, unit: unit.to_owned(), held });
    };
    for run in transports {
        let reply = Some(run.reply_ms).filter(|reply| reply.count > 0);
        promise(format!("{}: reply p50", run.transport), reply.map(|reply| reply.p50), 350.0, "ms");
        promise(format!("{}: reply p95", run.transport), reply.map(|reply| reply.p95), 600.0, "ms");
        let fallen = Some(run.interruption_to_quieter_ms).filter(|fallen| fallen.count > 0);
        promise(
            format!("{}: interruption to quieter p95", run.transport),
            fallen.map(|f| f.p95),
            220.0,
            "ms",
        );
        let silent = Some(run.interruption_to_silence_ms).filter(|silent| silent.count > 0);
        promise(
            format!("{}: interruption to silence p95", run.transport),
            silent.map(|silent| silent.p95),
            220.0,
            "ms",
        );
    }
    let spread = |pick: fn(&Run) -> f64| {
        let values: Vec<f64> = transports.iter().map(pick).collect();
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
        (values.len() > 1).then_some(most - least)
    };
    if transports.len() > 1 {
        promise("between transports: reply p50".into(), spread(|run| run.reply_ms.p50), 40.0, "ms");
        promise(
            "between transports: interruption to silence p50".into(),
            spread(|run| run.interruption_to_silence_ms.p50),
            40.0,
            "ms",
        );
    }
    if let Some(run) = conversations {
        promise(format!("{} at once: reply p95", run.callers), Some(run.reply_ms.p95), 800.0, "ms");
        #[expect(clippy::cast_precision_loss, reason = "some calls")]
        promise(format!("{} at once: calls lost", run.callers), Some(run.calls_lost as f64), 0.0, "");
    }
    all
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread| {
            writeln!(
                f,
                "  {name:<44} p50 {:>5.0} ms, p95 {:>5.0} ms, of {}",
                spread.p50, spread.p95, spread.count
            )
        };
        row(f, "end of the caller's speech → reply", &self.reply_ms)?;
        for (line, spread) in self.reply_by_line_ms.iter().filter(|(_, spread)| spread.count > 0) {
            row(f, &format!("    \"{line}\""), spread)?;
        }
        row(f, "interruption → no more at full level", &self.interruption_to_quieter_ms)?;
        row(f, "interruption → silence", &self.interruption_to_silence_ms)?;
        writeln!(
            f,
            "  interruptions missed {}, in a pause of the bot's {}; calls lost {} of {}",
            self.interruptions_missed, self.interruptions_unmeasured, self.calls_lost, self.calls
        )?;
        writeln!(f, "  holes in the bot's speech: {} ms in all", self.holes_ms)?;
        for (why, count) in &self.lost {
            writeln!(f, "    {count} times: {why}")?;
        }
        for call in &self.ended_by_engine {
            writeln!(f, "    by the engine: {call}")?;
        }
        let busy = self.processor.iter().map(|(name, share)| format!("{name} {share:.0} %"));
        write!(f, "  of a core: {}", busy.collect::<Vec<_>>().join(", "))?;
        writeln!(
            f,
            "{}\n  saturates first: {}",
            self.idle_percent.map_or(String::new(), |idle| format!("; {idle:.0} % of all cores idle")),
            self.saturates_first
        )?;
        let stages = Stage::ALL.iter().filter_map(|stage| {
            let [p50, p95] = self.stages_ms.get(stage.label())?;
            Some(format!("{} {p50:.0}, {p95:.0}", stage.label()))
        });
        write!(f, "  by the engine's clock, p50 and p95 in ms: {}", stages.collect::<Vec<_>>().join("; "))?;
        match &self.slowest_stage {
            Some((stage, ms)) => writeln!(f, "; '{stage}' adds most ({ms:.0} ms at p95)"),
            None => writeln!(f),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n\nmust show", self.machine)?;
        for shown in &self.shown {
            let unit = &shown.unit;
            let value = shown.value.map_or("–".to_owned(), |value| format!("{value:.0} {unit}"));
            let verdict = if shown.held { "held" } else { "MISSED" };
            writeln!(
                f,
                "  {:<52}{value:>10}   ≤ {:<10}{verdict}",
                shown.what,
                format!("{} {unit}", shown.limit)
            )?;
        }
        Ok(())
    }
}
