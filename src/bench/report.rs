//! What a benchmark found: one plain value, written as JSON, printed as a table.
//!
//! The names of its fields are the keys of `offhook bench --json`; docs/benchmark.md explains them. They do not change
//! without a line in the change log and a new [`SCHEMA`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::machine::Machine;

/// The number of this form of report.
pub const SCHEMA: u32 = 1;

/// Everything that one benchmark found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// The version of Offhook.
    pub offhook: String,
    /// Where it ran.
    pub machine: Machine,
    /// What this machine takes to receive and send the same packets and do nothing else, for each number of calls.
    pub floor: Vec<Floor>,
    /// What Offhook takes, run by run.
    pub runs: Vec<Run>,
}

/// A bare loop that receives and sends.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Peers that it served.
    pub calls: usize,
    /// For how long it was measured.
    pub seconds: f64,
    /// Its processor time, per call and second, in microseconds.
    pub cpu_us_per_call_second: f64,
    /// From a packet's arrival at the kernel to its having been read.
    pub arrival_to_read_us: Option<Distribution>,
    /// How far its packets were from even, at the peers.
    pub pacing_error_us: Option<Distribution>,
}

/// One fixture on one transport with some calls.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The capture that the callers played.
    pub fixture: String,
    /// How the audio came and went.
    pub transport: String,
    /// Its format, by Asterisk's name for it.
    pub format: String,
    /// Calls at once.
    pub calls: usize,
    /// For how long it was measured; in virtual time, how long the calls lasted.
    pub seconds: f64,
    /// In virtual time: then nothing here is of this machine.
    #[serde(rename = "virtual")]
    pub in_virtual_time: bool,
    /// From a packet's arrival at the kernel to the start of its handling on the media thread.
    pub arrival_to_frame_us: Option<Distribution>,
    /// From a packet's arrival at the kernel to the decision whether there is speech in it.
    pub arrival_to_vad_us: Option<Distribution>,
    /// From the last packet with speech in it, as the fixture's sidecar has it, to the decision that the caller is done.
    pub speech_end_to_endpoint_ms: Option<Distribution>,
    /// From the bot's having an answer to its first frame on the wire.
    pub reply_to_first_frame_us: Option<Distribution>,
    /// From the beginning of the caller's speech, as the sidecar has it, to the last packet of the bot's interrupted
    /// sentence at the peer.
    pub barge_in_to_last_frame_ms: Option<Distribution>,
    /// How far the bot's packets were from even, at the peers.
    pub pacing_error_us: Option<Distribution>,
    /// Packets that the peers sent.
    pub caller_packets_sent: u64,
    /// Packets of theirs that the engine received.
    pub caller_packets_received: u64,
    /// Packets that never came, or came too late.
    pub caller_packets_lost: u64,
    /// Of these, packets that came after they had been given up.
    pub caller_packets_late: u64,
    /// Audio that was made up in place of what was lost.
    pub concealed_ms: u64,
    /// Packets of the engine that the peers received.
    pub bot_packets_received: u64,
    /// Packets of the engine that are missing in their order at the peers.
    pub bot_packets_lost: u64,
    /// Ticks of 20 ms in which the engine sent nothing because it woke too late.
    pub skipped_ticks: u64,
    /// Utterances of the callers.
    pub utterances: u64,
    /// Of these, utterances whose end the engine found before the next one began.
    pub endpoints: u64,
    /// Times that the engine took a caller in mid-utterance to be done.
    pub cut_offs: u64,
    /// The engine's processor time, all of its threads, per call and second, in microseconds.
    pub cpu_us_per_call_second: Option<f64>,
    /// The floor's with as many calls, in the same benchmark.
    pub floor_cpu_us_per_call_second: Option<f64>,
    /// The one by the other.
    pub cpu_ratio_to_floor: Option<f64>,
    /// Anonymous memory that a call adds to the engine, in bytes.
    pub bytes_per_call: Option<u64>,
}

impl Run {
    /// Packets of the callers that the engine did not receive, and of the engine that its callers did not.
    #[must_use]
    pub const fn lost_in_engine(&self) -> u64 {
        self.caller_packets_sent.saturating_sub(self.caller_packets_received) + self.bot_packets_lost
    }

    /// The figures that have a distribution, each with its name.
    #[must_use]
    pub fn distributions(&self) -> [(&'static str, Option<&Distribution>); 6] {
        [
            ("arrival_to_frame_us", self.arrival_to_frame_us.as_ref()),
            ("arrival_to_vad_us", self.arrival_to_vad_us.as_ref()),
            ("speech_end_to_endpoint_ms", self.speech_end_to_endpoint_ms.as_ref()),
            ("reply_to_first_frame_us", self.reply_to_first_frame_us.as_ref()),
            ("barge_in_to_last_frame_ms", self.barge_in_to_last_frame_ms.as_ref()),
            ("pacing_error_us", self.pacing_error_us.as_ref()),
        ]
    }

    /// Fixture, transport, format and calls in a line: what makes two runs comparable.
    #[must_use]
    pub fn title(&self) -> String {
        let virtually = if self.in_virtual_time { ", virtual" } else { "" };
        let calls = if self.calls == 1 { "call" } else { "calls" };
        format!("{} on {} ({}), {} {calls}{virtually}", self.fixture, self.transport, self.format, self.calls)
    }
}

/// The table for a terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for floor in &self.floor {
            writeln!(
                f,
                "\nfloor, {} peers: {:.0} µs of CPU per call and second",
                floor.calls, floor.cpu_us_per_call_second
            )?;
            let rows = [
                ("arrival_to_read_us", floor.arrival_to_read_us.as_ref()),
                ("pacing_error_us", floor.pacing_error_us.as_ref()),
            ];
            write_rows(f, &rows)?;
        }
        for run in &self.runs {
            writeln!(f, "\n{}, {:.1} s", run.title(), run.seconds)?;
            write_rows(f, &run.distributions())?;
            write!(f, "  caller: {} packets sent", run.caller_packets_sent)?;
            write!(f, ", {} received", run.caller_packets_received)?;
            write!(f, ", {} lost ({} late)", run.caller_packets_lost, run.caller_packets_late)?;
            writeln!(f, ", {} ms concealed", run.concealed_ms)?;
            write!(f, "  bot: {} packets received, {} lost", run.bot_packets_received, run.bot_packets_lost)?;
            writeln!(f, ", {} ticks skipped", run.skipped_ticks)?;
            write!(f, "  utterances: {}, ends found: {}", run.utterances, run.endpoints)?;
            writeln!(f, ", cut off: {}", run.cut_offs)?;
            if let Some(cpu) = run.cpu_us_per_call_second {
                write!(f, "  CPU: {cpu:.0} µs per call and second")?;
                if let Some(ratio) = run.cpu_ratio_to_floor {
                    write!(f, ", {ratio:.2} times the floor")?;
                }
                writeln!(f)?;
            }
            if let Some(bytes) = run.bytes_per_call {
                writeln!(f, "  memory: {:.1} KiB per call", bytes as f64 / 1_024.0)?;
            }
        }
        Ok(())
    }
}

fn write_rows(f: &mut fmt::Formatter<'_>, rows: &[(&str, Option<&Distribution>)]) -> fmt::Result {
    let rows = rows.iter().filter_map(|(name, values)| Some((name, (*values)?)));
    for (i, (name, values)) in rows.enumerate() {
        if i == 0 {
            let [p50, p90, p99, p999, max] = ["p50", "p90", "p99", "p99.9", "max"];
            writeln!(f, "  {:<26}{p50:>10}{p90:>10}{p99:>10}{p999:>10}{max:>10}{:>10}", "", "count")?;
        }
        let Distribution { p50, p90, p99, p999, max, count, .. } = values;
        writeln!(f, "  {name:<26}{p50:>10.1}{p90:>10.1}{p99:>10.1}{p999:>10.1}{max:>10.1}{count:>10}")?;
    }
    Ok(())
}
