//! What was found about answered calls: one plain value, written as JSON, printed as tables.
//!
//! The names of its fields are the keys of `offhook bench answers --json`; docs/answering.md explains them. They do not change
//! without a line in the change log and a new [`SCHEMA`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bench::machine::Machine;
use crate::bench::turns::report::Spread;
use crate::turn::answer::AnswerSettings;

/// The number of this form of report.
pub const SCHEMA: u32 = 1;

/// Everything that one benchmark of answered calls found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// The version of Offhook.
    pub offhook: String,
    /// Where it ran.
    pub machine: Machine,
    /// What the corpus was made from.
    pub seed: u64,
    /// Whether only a sixth of it was run.
    pub quick: bool,
    /// What the corpus lacks on this machine, and what to install.
    pub left_out: Vec<String>,
    /// The settings that were measured.
    pub settings: AnswerSettings,
    /// Each half: the one that settings are fitted on, and the one that is only reported.
    pub halves: Vec<Half>,
}

/// What was found on one half of the corpus.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Half {
    /// `tuning` or `reported`.
    pub part: String,
    /// Calls in it, and how long they last in seconds.
    pub calls: usize,
    /// All of them together.
    pub seconds: f64,
    /// Offhook first, then its peers.
    pub contestants: Vec<Contestant>,
    /// The places of messages.
    pub places: Places,
    /// The recogniser that heard along; nothing where none did.
    #[serde(default)]
    pub hearing: Hearing,
    /// Whatever else answers.
    pub others: Vec<Other>,
    /// What was promised, and whether it holds.
    pub shown: Vec<Shown>,
    /// Every call that was taken for what it is not, by Offhook.
    pub wrong: Vec<Wrong>,
}

/// How one of them judged.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Contestant {
    /// Its name.
    pub name: String,
    /// Calls that persons answered.
    pub persons: usize,
    /// Share of them that was taken for machines first.
    pub persons_taken_for_machines_percent: f64,
    /// Share of them that it was not sure of; they count as persons.
    pub persons_unsure_percent: f64,
    /// From a person's first sound to the verdict, in milliseconds; of persons who were taken for persons.
    pub person_decided_ms: Spread,
    /// The same from the answer.
    pub person_decided_after_answer_ms: Spread,
    /// Share of them that was decided on within 2 s of the first sound.
    pub persons_within_2s_percent: f64,
    /// Calls that machines answered.
    pub machines: usize,
    /// Share of them that was taken for persons first, or not sure of.
    pub machines_taken_for_persons_percent: f64,
    /// The same at the call's end: a beep tells it after all.
    pub machines_taken_for_persons_at_the_end_percent: f64,
    /// From a machine's first sound to the verdict, in milliseconds; of machines that were taken for machines.
    pub machine_decided_ms: Spread,
    /// The same by sort of greeting, by noise and by ringback.
    pub slices: Vec<Slice>,
}

/// Calls that have something in common.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// `person` or `machine`.
    pub truth: String,
    /// What they have in common: `sort`, `noise`, `rang`, `voice`.
    pub by: String,
    /// Its value.
    pub name: String,
    /// How many they are.
    pub calls: usize,
    /// Share of them that was taken for what it is not.
    pub wrong_percent: f64,
    /// Median from the first sound to a right verdict, in milliseconds.
    pub decided_p50_ms: f64,
}

/// What it cost that a recogniser heard along.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Hearing {
    /// Calls that it heard.
    pub calls: usize,
    /// How long it heard each, in seconds: the mean.
    pub seconds: f64,
    /// The share of a core's time that it took meanwhile.
    pub core_percent: f64,
}

/// Where messages would begin.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Places {
    /// Calls with a beep.
    pub beeps: usize,
    /// Share of them whose beep was found: its end told to 150 ms, whatever the verdict was.
    pub found_percent: f64,
    /// From the beep's end to where the message begins, in milliseconds; of those that were found.
    pub after_beep_ms: Spread,
    /// The longest of these.
    pub after_beep_most_ms: f64,
    /// Share of the calls with a beep where silence was taken for the place of the message before the beep was over.
    pub too_early_percent: f64,
    /// Machines without a beep that were known as machines.
    pub without_beep: usize,
    /// Share of them where the silence after the greeting was found.
    pub silence_found_percent: f64,
    /// From the greeting's end to where the message begins, in milliseconds.
    pub after_greeting_ms: Spread,
    /// Beeps that were told and were none, in all calls of persons and machines.
    pub false_beeps: usize,
    /// In calls of persons alone.
    pub false_beeps_of_persons: usize,
    /// Beeps that were not found: pitch in Hz, length in ms, sort of greeting, noise.
    pub missed: Vec<String>,
}

/// Something that is neither person nor mailbox.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Other {
    /// What.
    pub what: String,
    /// How many calls.
    pub calls: usize,
    /// What was expected of them.
    pub expected: String,
    /// Share of them where that came.
    pub found_percent: f64,
}

/// A promise.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Shown {
    /// What.
    pub what: String,
    /// What was measured.
    pub value: f64,
    /// `≤` or `≥`.
    pub bound: String,
    /// The limit.
    pub limit: f64,
    /// Of both.
    pub unit: String,
    /// Whether it holds.
    pub held: bool,
}

/// A call that was taken for what it is not.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Wrong {
    /// `person` or `machine`.
    pub truth: String,
    /// Sort of greeting.
    pub sort: String,
    /// Who said it.
    pub voice: String,
    /// What was said.
    pub text: String,
    /// What was heard behind it.
    pub noise: String,
    /// The verdict with its reasons.
    pub verdict: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "seed {}{}", self.seed, if self.quick { ", a sixth of the corpus" } else { "" })?;
        self.left_out.iter().try_for_each(|missing| writeln!(f, "left out: {missing}"))?;
        self.halves.iter().try_for_each(|half| write!(f, "{half}"))
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nthe {} half: {} calls of {:.0} min", self.part, self.calls, self.seconds / 60.0)?;
        writeln!(
            f,
            "  {:<28}{:>13}{:>9}{:>22}{:>9}{:>8}{:>11}{:>9}{:>9}",
            "",
            "persons taken",
            "unsure",
            "decided after first",
            "answer",
            "within",
            "machines",
            "at the",
            "decided"
        )?;
        writeln!(
            f,
            "  {:<28}{:>13}{:>9}{:>22}{:>9}{:>8}{:>11}{:>9}{:>9}",
            "", "for machines", "", "sound, p50 and p95", "p50", "2 s", "for persons", "end", "p50"
        )?;
        for one in &self.contestants {
            let sound = format!("{:.0} and {:.0} ms", one.person_decided_ms.p50, one.person_decided_ms.p95);
            writeln!(
                f,
                "  {:<28}{:>11.1} %{:>7.1} %{:>22}{:>6.0} ms{:>6.0} %{:>9.1} %{:>7.1} %{:>6.0} ms",
                one.name,
                one.persons_taken_for_machines_percent,
                one.persons_unsure_percent,
                sound,
                one.person_decided_after_answer_ms.p50,
                one.persons_within_2s_percent,
                one.machines_taken_for_persons_percent,
                one.machines_taken_for_persons_at_the_end_percent,
                one.machine_decided_ms.p50,
            )?;
        }
        if let Some(ours) = self.contestants.first() {
            for slice in &ours.slices {
                writeln!(
                    f,
                    "  {:<9}{:<7}{:<24}{:>5} calls{:>8.1} % wrong{:>8.0} ms",
                    slice.truth, slice.by, slice.name, slice.calls, slice.wrong_percent, slice.decided_p50_ms
                )?;
            }
        }
        write!(f, "{}", self.places)?;
        let Hearing { calls, seconds, core_percent } = self.hearing;
        if calls > 0 {
            writeln!(
                f,
                "  a recogniser heard along in {calls} calls, {seconds:.1} s of each, for {core_percent:.1} % of a core meanwhile"
            )?;
        }
        for other in &self.others {
            writeln!(
                f,
                "  {:<20}{:>4} calls: {} in {:.1} %",
                other.what, other.calls, other.expected, other.found_percent
            )?;
        }
        for shown in &self.shown {
            let limit = format!("{} {} {}", shown.bound, shown.limit, shown.unit);
            let value = format!("{:.1} {}", shown.value, shown.unit);
            let verdict = if shown.held { "held" } else { "MISSED" };
            writeln!(f, "  {:<58}{value:>12}{limit:>14}  {verdict}", shown.what)?;
        }
        Ok(())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} beeps: {:.1} % found; a message begins {:.0} ms (p50), {:.0} (p95), {:.0} (most) after the beep; in {:.1} % a \
             silence before it was taken for the place; {} beeps told that were none, {} of them in calls of persons",
            self.beeps,
            self.found_percent,
            self.after_beep_ms.p50,
            self.after_beep_ms.p95,
            self.after_beep_most_ms,
            self.too_early_percent,
            self.false_beeps,
            self.false_beeps_of_persons,
        )?;
        writeln!(
            f,
            "  {} machines without a beep: place found in {:.1} %, {:.0} ms (p50) after the greeting",
            self.without_beep, self.silence_found_percent, self.after_greeting_ms.p50
        )
    }
}
