//! Many calls at once, each with the same script: the load run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::PhoneError;
use super::call::PhoneCall;
use super::ear::EarStats;
use super::line::Phone;
use super::script::{Script, ScriptError};
use crate::time::Moment;

/// What the fleet does.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Whom every call calls.
    pub target: String,
    /// How many calls.
    pub calls: usize,
    /// How many of them begin in a second.
    pub per_second: f64,
    /// What each does once it is answered.
    pub script: Script,
    /// How long an answer may take.
    pub answer_within: Duration,
}

/// What came of it. Histograms hold microseconds.
#[derive(Debug, Clone)]
pub struct FleetReport {
    /// Calls that were begun.
    pub calls: usize,
    /// Calls that were answered.
    pub answered: usize,
    /// Calls whose script ended well.
    pub completed: usize,
    /// The others, by what went wrong.
    pub failed: BTreeMap<String, usize>,
    /// From INVITE to 200.
    pub to_answer: Histogram<u64>,
    /// From the 200 to the first voiced packet of the bot.
    pub to_first_audio: Histogram<u64>,
    /// From the caller's last words or keys to the bot's voice, as the script's `BotReplies` measured it.
    pub to_reply: Histogram<u64>,
    /// Between two packets of the bot, all calls together.
    pub gaps: Histogram<u64>,
    /// Audio packets that came.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came late.
    pub reordered: u64,
    /// Talkspurts begun by a marker bit: gaps before them are not in the histogram.
    pub pauses: u64,
    /// New sources and jumps of sequence numbers.
    pub restarts: u64,
}

impl Default for FleetReport {
    fn default() -> Self {
        let micros = || {
            Histogram::new_with_bounds(1, 600_000_000, 3)
                .expect("these bounds are valid, whatever the values")
        };
        Self {
            calls: 0,
            answered: 0,
            completed: 0,
            failed: BTreeMap::new(),
            to_answer: micros(),
            to_first_audio: micros(),
            to_reply: micros(),
            gaps: micros(),
            packets: 0,
            lost: 0,
            reordered: 0,
            pauses: 0,
            restarts: 0,
        }
    }
}

impl FleetReport {
    /// Calls that were not answered or whose script failed.
    #[must_use]
    pub fn calls_lost(&self) -> usize {
        self.calls - self.completed
    }

    fn add(&mut self, flown: Flown) {
        self.calls += 1;
        let record = |histogram: &mut Histogram<u64>, span: Duration| {
            histogram.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        };
        if let Some(span) = flown.to_answer {
            self.answered += 1;
            record(&mut self.to_answer, span);
        }
        if let Some(span) = flown.to_first_audio {
            record(&mut self.to_first_audio, span);
        }
        for span in flown.replies {
            record(&mut self.to_reply, span);
        }
        match flown.failed {
            None => self.completed += 1,
            Some(cause) => *self.failed.entry(cause).or_default() += 1,
        }
        // Both hold microseconds within the same bounds.
        for gap in flown.stats.gaps.iter_recorded() {
            self.gaps.saturating_record_n(gap.value_iterated_to(), u64::from(gap.count_at_value()));
        }
        self.packets += flown.stats.packets;
        self.lost += flown.stats.lost;
        self.reordered += flown.stats.reordered;
        self.pauses += flown.stats.pauses;
        self.restarts += flown.stats.restarts;
    }
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "calls            {} begun, {} answered, {} lost",
            self.calls,
            self.answered,
            self.calls_lost()
        )?;
        for (cause, count) in &self.failed {
            writeln!(f, "                 {count} times: {cause}")?;
        }
        for (name, histogram) in [
            ("call to answer", &self.to_answer),
            ("answer to audio", &self.to_first_audio),
            ("caller to reply", &self.to_reply),
            ("packet gap", &self.gaps),
        ] {
            if !histogram.is_empty() {
                let at = |quantile| Millis(histogram.value_at_quantile(quantile));
                let max = Millis(histogram.max());
                writeln!(f, "{name:<16} p50 {} p99 {} p99.9 {} max {max} ms", at(0.5), at(0.99), at(0.999))?;
            }
        }
        let share = |part: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a share for people")]
            let share = part as f64 * 100.0 / self.packets.max(1) as f64;
            share
        };
        write!(
            f,
            "packets          {} heard, {} lost ({:.4} %), {} reordered, {} talkspurts, {} restarts",
            self.packets,
            self.lost,
            share(self.lost),
            self.reordered,
            self.pauses,
            self.restarts
        )
    }
}

/// Microseconds, shown as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000 / 10);
        write!(f, "{whole}.{part:02}")
    }
}

/// What one call brought back.
struct Flown {
    to_answer: Option<Duration>,
    to_first_audio: Option<Duration>,
    replies: Vec<Duration>,
    failed: Option<String>,
    stats: EarStats,
}

/// Runs all calls to their ends. `phone` should be set up with [`EarSettings::lean`](super::EarSettings::lean).
///
/// Calls begin on an absolute clock: a slow answer does not slow the ramp down.
pub async fn run(phone: &Phone, plan: &FleetPlan) -> FleetReport {
    let plan = Arc::new(plan.clone());
    let began = Moment::now();
    let mut flying = JoinSet::new();
    let mut report = FleetReport::default();
    for index in 0..plan.calls {
        #[expect(clippy::cast_precision_loss, reason = "some thousands at most")]
        let offset = Duration::try_from_secs_f64(index as f64 / plan.per_second).unwrap_or_default();
        sleep((began + offset).since(Moment::now())).await;
        flying.spawn(fly(phone.clone(), Arc::clone(&plan)));
        while let Some(flown) = flying.try_join_next() {
            landed(&mut report, flown);
        }
    }
    while let Some(flown) = flying.join_next().await {
        landed(&mut report, flown);
    }
    report
}

fn landed(report: &mut FleetReport, flown: Result<Flown, tokio::task::JoinError>) {
    match flown {
        Ok(flown) => report.add(flown),
        Err(error) => {
            report.calls += 1;
            *report.failed.entry(format!("the caller itself failed: {error}")).or_default() += 1;
        }
    }
}

async fn fly(phone: Phone, plan: Arc<FleetPlan>) -> Flown {
    let dialled = Moment::now();
    let mut flown = Flown {
        to_answer: None,
        to_first_audio: None,
        replies: Vec::new(),
        failed: None,
        stats: EarStats::default(),
    };
    let call = match phone.call(&plan.target).await {
        Ok(call) => call,
        Err(error) => return Flown { failed: Some(error.to_string()), ..flown },
    };
    let answered = match call.wait_answered(plan.answer_within).await {
        Ok(answered) => answered,
        Err(error) => return Flown { failed: Some(cause(&error)), ..flown },
    };
    flown.to_answer = Some(answered.since(dialled));
    let steps = match plan.script.run(&call, &mut |_| {}).await {
        Ok(report) => report,
        Err(ScriptError { what, source, report, .. }) => {
            flown.failed = Some(format!("\"{what}\": {}", cause(&source)));
            report
        }
    };
    flown.replies = steps.reply_latencies().collect();
    end(&call).await;
    flown.to_first_audio = call.with_ear(|ear| ear.onset_since(answered)).map(|onset| onset.since(answered));
    flown.stats = call.stats();
    flown
}

/// A cause without what differs from call to call.
fn cause(error: &PhoneError) -> String {
    match error {
        PhoneError::Ended(ending) => format!("ended by {:?}: {} {}", ending.by, ending.code, ending.reason),
        other => other.to_string(),
    }
}

async fn end(call: &PhoneCall) {
    if call.ending().is_none() {
        // Dropping the call would do; this way its last packets are counted.
        let _ = call.hang_up().await;
        let _ = call.wait_hangup(Duration::from_secs(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_adds_up() {
        let mut stats = EarStats { packets: 100, lost: 1, ..EarStats::default() };
        stats.gaps.saturating_record(20_000);
        stats.gaps.saturating_record(40_000);
        let flown = |failed: Option<&str>| Flown {
            to_answer: Some(Duration::from_millis(5)),
            to_first_audio: Some(Duration::from_millis(120)),
            replies: vec![Duration::from_millis(80)],
            failed: failed.map(str::to_owned),
            stats: stats.clone(),
        };
        let mut report = FleetReport::default();
        report.add(flown(None));
        report.add(flown(Some("ended by Peer: 503 Busy")));
        assert_eq!((report.calls, report.answered, report.calls_lost()), (2, 2, 1));
        assert_eq!((report.packets, report.lost, report.gaps.len()), (200, 2, 4));
        let text = report.to_string();
        assert!(text.contains("1 times: ended by Peer: 503 Busy"), "{text}");
        assert!(text.contains("answer to audio  p50 120."), "{text}");
    }
}
