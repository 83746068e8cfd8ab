//! `offhook bench turns --live`: spoken turns through a real Asterisk, as a caller hears them.
//!
//! The engine runs as a process of its own with the front desk, the embedded recogniser and the embedded synthesiser; the
//! callers are our own SIP phone. First every transport in its turn, with a few callers at once, who also interrupt; then
//! many callers at once on one of them. `scripts/turns-live` brings a private Asterisk along.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::audio::Rate;
use crate::audio::g711::Law;
use crate::audio::level::rms_dbfs;
use crate::bench::machine::{Machine, allow_many_files};
use crate::bench::turns::report::{Shown, Spread};
use crate::media::TransportKind;
use crate::phone::{EarSettings, HeardPacket, Phone, PhoneCall, PhoneConfig, PhoneError};
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::{Synthesizer as _, Utterance};
use crate::time::Moment;

/// The caller's voice; the bot has Flite's default.
const VOICE: &str = "rms";

/// What a caller says, and again from the beginning: the front desk understands all of it.
const LINES: [&str; 7] = [
    "opening hours please",
    "my account balance",
    "one two three four",
    "yes",
    "support please",
    "no",
    "opening hours",
];

/// What he interrupts the greeting with.
const INTERRUPTION: &str = "what are your opening hours";

/// The bot has spoken for so long when it is interrupted: in the middle of its second sentence.
const INTERRUPTED_AFTER: [u64; 5] = [1_300, 2_600, 3_300, 4_000, 4_600];

/// The bot is taken to have finished when it was silent for so long.
const QUIET: Duration = Duration::from_millis(800);

/// It must answer within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A packet is as loud as the bot was when it is within so many decibels of the loud ones before.
const FALLEN_DB: f32 = 10.0;

/// What the phone takes for a voice.
const VOICED_DBFS: f32 = -45.0;

/// What is measured live.
pub(super) struct Plan {
    /// Where Asterisk takes SIP calls.
    pub(super) sip: SocketAddr,
    /// The extension of the front desk.
    pub(super) extension: String,
    /// The engine's configuration.
    pub(super) config: PathBuf,
    /// Spoken turns on each transport.
    pub(super) turns: usize,
    /// Callers at once on each transport.
    pub(super) callers: usize,
    /// The transports.
    pub(super) transports: Vec<TransportKind>,
    /// Then so many conversations at once; 0 for none.
    pub(super) conversations: usize,
    /// How long each of them lasts.
    pub(super) seconds: u64,
    /// Asterisk's process, for its share of the processor.
    pub(super) asterisk: Option<u32>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    offhook: String,
    machine: Machine,
    transports: Vec<Run>,
    conversations: Option<Run>,
    shown: Vec<Shown>,
}

/// Some callers on one transport.
#[derive(Debug, Default, Serialize)]
struct Run {
    transport: String,
    callers: usize,
    calls: usize,
    calls_lost: usize,
    /// From the end of the caller's speech on the wire to the bot's first audio at his ear.
    reply_ms: Spread,
    /// The same, by what he said.
    reply_by_line_ms: BTreeMap<String, Spread>,
    /// From the onset of his voice on the wire to the last packet at his ear that is as loud as the bot was.
    interruption_to_quieter_ms: Spread,
    /// The same to the last packet with any voice in it.
    interruption_to_silence_ms: Spread,
    /// Interruptions in which the bot had a pause of its own just then: nothing is measured of them.
    interruptions_unmeasured: usize,
    /// Interruptions after which it spoke on.
    interruptions_missed: usize,
    /// Why calls were lost.
    lost: BTreeMap<String, usize>,
    /// Shares of one core, in percent, while all callers spoke.
    processor: BTreeMap<String, f64>,
    /// Share of all cores that was idle, in percent.
    idle_percent: Option<f64>,
    /// What is nearest to its limit.
    saturates_first: String,
}

impl Run {
    /// All cores together where they are nearly all taken, a single thread where it has nearly a core; each with whoever
    /// takes most.
    fn nearest_to_its_limit(&self) -> String {
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

/// What one caller has to tell.
#[derive(Default)]
struct Told {
    replies: Vec<(&'static str, f64)>,
    quieter: Vec<f64>,
    silent: Vec<f64>,
    unmeasured: usize,
    missed: usize,
}

type Lines = BTreeMap<&'static str, Arc<[i16]>>;

/// Runs all of it.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<Report> {
    allow_many_files();
    let machine = Machine::read();
    let lines = Arc::new(lines().await?);
    let mut transports = Vec::new();
    for transport in &plan.transports {
        println!("{transport}: {} spoken turns, {} callers at once", plan.turns, plan.callers);
        let engine = Engine::start(plan, *transport).await?;
        let run = callers(plan, &engine, &lines, *transport, plan.callers, Task::Turns(plan.turns)).await?;
        print!("{run}");
        transports.push(run);
        engine.stop().await;
    }
    let mut conversations = None;
    if plan.conversations > 0 {
        let transport = plan.transports.first().copied().unwrap_or(TransportKind::Rtp);
        println!("{} conversations at once on {transport}", plan.conversations);
        let engine = Engine::start(plan, transport).await?;
        let task = Task::Until(Duration::from_secs(plan.seconds));
        let run = callers(plan, &engine, &lines, transport, plan.conversations, task).await?;
        print!("{run}");
        conversations = Some(run);
        engine.stop().await;
    }
    let shown = judged(&transports, conversations.as_ref());
    Ok(Report {
        schema: 1,
        offhook: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        transports,
        conversations,
        shown,
    })
}

/// When a run is over.
#[derive(Clone, Copy)]
enum Task {
    /// After so many turns of all callers together.
    Turns(usize),
    /// After so long; whoever is in a round finishes it.
    Until(Duration),
}

async fn callers(
    plan: &Plan,
    engine: &Engine,
    lines: &Arc<Lines>,
    transport: TransportKind,
    count: usize,
    task: Task,
) -> anyhow::Result<Run> {
    let ear = EarSettings {
        record: Duration::from_secs(60),
        hangover: Duration::from_millis(160),
        ..EarSettings::default()
    };
    let phone = Arc::new(Phone::start(PhoneConfig { ear, ..PhoneConfig::loopback("5550123") }).await?);
    let target = format!("sip:{}@{}", plan.extension, plan.sip);
    // What is paid once is not measured.
    let mut warm = Told::default();
    converse(&phone, &target, lines, Task::Turns(2), 0, &mut warm)
        .await
        .context("the first call, to warm up")?;
    let mut running = JoinSet::new();
    let share = |number: usize| match task {
        Task::Turns(turns) => Task::Turns(turns / count + usize::from(number < turns % count)),
        until @ Task::Until(_) => until,
    };
    for number in 0..count {
        let (phone, target, lines, task) =
            (Arc::clone(&phone), target.clone(), Arc::clone(lines), share(number));
        running.spawn(async move {
            // Not all at the same time: ten a second.
            sleep(Duration::from_millis(100 * number as u64)).await;
            let mut told = Told::default();
            let ended = converse(&phone, &target, &lines, task, number, &mut told).await;
            (told, ended)
        });
    }
    // All callers are up after the ramp.
    let ramp = Duration::from_millis(100 * count as u64 + 2_000);
    sleep(ramp).await;
    let watched = [
        ("engine", Some(engine.child_id)),
        ("callers", Some(std::process::id())),
        ("asterisk", plan.asterisk),
    ];
    let before = (Moment::now(), Ticks::read(&watched));
    let span = match task {
        Task::Turns(_) => Duration::from_secs(10),
        Task::Until(until) => until.saturating_sub(ramp + Duration::from_secs(2)).max(Duration::from_secs(3)),
    };
    sleep(span).await;
    let (seconds, after) = (Moment::now().since(before.0).as_secs_f64(), Ticks::read(&watched));
    let mut run =
        Run { transport: transport.name().to_owned(), callers: count, calls: count, ..Run::default() };
    (run.processor, run.idle_percent) = after.since(&before.1, seconds);
    run.saturates_first = run.nearest_to_its_limit();
    let mut all = Told::default();
    for (told, ended) in running.join_all().await {
        all.replies.extend(told.replies);
        all.quieter.extend(told.quieter);
        all.silent.extend(told.silent);
        all.unmeasured += told.unmeasured;
        all.missed += told.missed;
        if let Err(error) = ended {
            run.calls_lost += 1;
            *run.lost.entry(error.to_string()).or_default() += 1;
        }
    }
    run.reply_ms = Spread::of(all.replies.iter().map(|(_, millis)| *millis).collect());
    for line in LINES {
        let of = all.replies.iter().filter(|(said, _)| *said == line).map(|(_, millis)| *millis);
        run.reply_by_line_ms.insert(line.to_owned(), Spread::of(of.collect()));
    }
    run.interruption_to_quieter_ms = Spread::of(all.quieter);
    run.interruption_to_silence_ms = Spread::of(all.silent);
    run.interruptions_unmeasured = all.unmeasured;
    run.interruptions_missed = all.missed;
    Ok(run)
}

/// One call after the other until the task is done: an interruption of the greeting in each, then turn by turn.
async fn converse(
    phone: &Phone,
    target: &str,
    lines: &Lines,
    task: Task,
    number: usize,
    told: &mut Told,
) -> Result<(), PhoneError> {
    let began = Moment::now();
    let mut calls = 0;
    loop {
        let done = match task {
            Task::Turns(turns) => told.replies.len() >= turns,
            Task::Until(until) => Moment::now().since(began) >= until,
        };
        if done {
            return Ok(());
        }
        let call = phone.call(target).await?;
        call.wait_answered(PATIENCE).await?;
        let after = INTERRUPTED_AFTER[(number + calls) % INTERRUPTED_AFTER.len()];
        interrupt(&call, lines, Duration::from_millis(after), told).await?;
        // Six turns a call, so that there are interruptions enough; a call for a time is one.
        for round in 0.. {
            let over = match task {
                Task::Turns(turns) => round >= 7 || told.replies.len() >= turns,
                Task::Until(until) => Moment::now().since(began) >= until,
            };
            if over {
                break;
            }
            let line = LINES[round % LINES.len()];
            call.wait_bot_silent(QUIET, Duration::from_secs(30)).await?;
            let spoken = call.say(lines[line].to_vec()).await?;
            let reply = call.wait_reply(&spoken, PATIENCE).await?;
            told.replies.push((line, reply.as_secs_f64() * 1e3));
        }
        call.hang_up().await?;
        call.wait_hangup(PATIENCE).await?;
        calls += 1;
    }
}

/// Interrupts the greeting, and finds in what was heard when the bot went down and fell silent.
async fn interrupt(
    call: &PhoneCall,
    lines: &Lines,
    after: Duration,
    told: &mut Told,
) -> Result<(), PhoneError> {
    let onset = call.wait_bot_speaks(PATIENCE).await?;
    sleep((onset + after).since(Moment::now())).await;
    let spoken = call.say(lines[INTERRUPTION].to_vec()).await?;
    let began = spoken.onset.unwrap_or(spoken.started);
    let end = spoken.last_voiced.unwrap_or(spoken.finished);
    let reply = call.wait_reply(&spoken, PATIENCE).await?;
    let from = began - Duration::from_secs(1);
    let levels: Vec<(Moment, f32)> = call.with_ear(|ear| {
        let heard = ear.recording().iter().filter(|packet| packet.at >= from && packet.at < end + reply);
        heard.map(|packet| (packet.at, level(packet))).collect()
    });
    match Fall::of(&levels, began, end) {
        Fall::Measured { quieter, silent } => {
            told.quieter.push(quieter);
            told.silent.push(silent);
        }
        Fall::Pause => told.unmeasured += 1,
        Fall::Never => told.missed += 1,
    }
    Ok(())
}

fn level(packet: &HeardPacket) -> f32 {
    let mut samples = vec![0; packet.payload.len()];
    Law::Mu.decode_into(&packet.payload, &mut samples);
    rms_dbfs(&samples)
}

/// How the bot's voice went down.
#[derive(Debug, PartialEq)]
enum Fall {
    /// Milliseconds from the onset of the caller's voice.
    Measured { quieter: f64, silent: f64 },
    /// It had a pause of its own.
    Pause,
    /// It spoke on while he spoke.
    Never,
}

impl Fall {
    /// From the levels at the caller's ear, the onset of his voice and its end.
    fn of(levels: &[(Moment, f32)], onset: Moment, end: Moment) -> Self {
        let mut before: Vec<f32> =
            levels.iter().filter(|(at, _)| *at < onset).map(|(_, level)| *level).collect();
        before.sort_by(f32::total_cmp);
        let loud = before.get(before.len() * 8 / 10).copied().unwrap_or(-90.0);
        let spoke = levels.iter().any(|(at, level)| {
            *at < onset && *at >= onset - Duration::from_millis(100) && *level > VOICED_DBFS
        });
        if loud <= VOICED_DBFS || !spoke {
            return Self::Pause;
        }
        let last = |above: f32| {
            let found = levels.iter().rev().find(|(at, level)| *at >= onset && *level > above);
            found.map_or(0.0, |(at, _)| at.millis_from(onset))
        };
        let (quieter, silent) = (last(loud - FALLEN_DB), last(VOICED_DBFS));
        if silent >= end.millis_from(onset) { Self::Never } else { Self::Measured { quieter, silent } }
    }
}

async fn lines() -> anyhow::Result<Lines> {
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    let mut all = Lines::new();
    for words in LINES.into_iter().chain([INTERRUPTION]) {
        let utterance =
            Utterance { text: words.to_owned(), voice: Some(VOICE.to_owned()), rate: Rate::Hz8000 };
        let mut stream = flite.synthesize(&utterance);
        let mut samples = Vec::new();
        while let Some(chunk) = stream.chunks.recv().await {
            samples.extend(chunk?);
        }
        all.insert(words, samples.into());
    }
    Ok(all)
}

/// The engine as a process of its own, killed when this is dropped.
struct Engine {
    child: Child,
    child_id: u32,
    // Its store and its log are in it.
    dir: PathBuf,
}

impl Engine {
    async fn start(plan: &Plan, transport: TransportKind) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("offhook-turns-{}-{transport}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = std::fs::File::create(dir.join("log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(&plan.config)
            .env("OFFHOOK_LOG", "info")
            .env("OFFHOOK_MEDIA_PORT", "0")
            .env("OFFHOOK_MEDIA_TRANSPORT", transport.name())
            .env("OFFHOOK_STORE_PATH", dir.join("calls.sqlite"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the engine does not start")?;
        let mut engine = Self { child_id: child.id(), child, dir };
        for _ in 0..600 {
            if engine.log().contains("ready for calls") {
                return Ok(engine);
            }
            if let Some(status) = engine.child.try_wait()? {
                bail!("the engine ended at once ({status}):\n{}", engine.log());
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("the engine was not ready within a minute:\n{}", engine.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// First the polite way, so that it leaves nothing in Asterisk.
    async fn stop(mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child_id.cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..150 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Processor time so far, in ticks of a hundredth of a second (USER_HZ).
struct Ticks {
    /// By process, and of the engine by the name of its threads.
    by: BTreeMap<String, u64>,
    /// All cores: idle, and all.
    machine: Option<(u64, u64)>,
}

impl Ticks {
    fn read(watched: &[(&str, Option<u32>)]) -> Self {
        let mut by = BTreeMap::new();
        for (name, pid) in watched {
            let Some(pid) = pid else { continue };
            let process = PathBuf::from(format!("/proc/{pid}"));
            by.extend(ticks(&process.join("stat")).map(|(_, ticks)| ((*name).to_owned(), ticks)));
            if *name == "engine" {
                let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
                for (thread, ticks) in tasks.filter_map(|task| ticks(&task.path().join("stat"))) {
                    *by.entry(format!("engine, threads {thread}")).or_default() += ticks;
                }
            }
        }
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let machine = fields.get(3..5).map(|idle| (idle.iter().sum(), fields.iter().take(8).sum()));
        Self { by, machine }
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of some minutes")]
    fn since(&self, before: &Self, seconds: f64) -> (BTreeMap<String, f64>, Option<f64>) {
        let shares = self.by.iter().map(|(name, ticks)| {
            let spent = ticks.saturating_sub(before.by.get(name).copied().unwrap_or(0));
            (name.clone(), spent as f64 / seconds)
        });
        let idle = self.machine.zip(before.machine).map(|(after, before)| {
            100.0 * (after.0.saturating_sub(before.0)) as f64
                / (after.1.saturating_sub(before.1)).max(1) as f64
        });
        (shares.filter(|(_, share)| *share >= 0.5).collect(), idle)
    }
}

/// The name of a process or thread, and its time.
fn ticks(stat: &Path) -> Option<(String, u64)> {
    let stat = std::fs::read_to_string(stat).ok()?;
    // The name in brackets may hold anything; behind it utime and stime are the 12th and 13th.
    let (name, rest) = stat.rsplit_once(')')?;
    let name = name.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((name, fields.next()?.ok()? + fields.next()?.ok()?))
}

fn judged(transports: &[Run], conversations: Option<&Run>) -> Vec<Shown> {
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
        for (why, count) in &self.lost {
            writeln!(f, "    {count} times: {why}")?;
        }
        let busy = self.processor.iter().map(|(name, share)| format!("{name} {share:.0} %"));
        write!(f, "  of a core: {}", busy.collect::<Vec<_>>().join(", "))?;
        writeln!(
            f,
            "{}\n  saturates first: {}",
            self.idle_percent.map_or(String::new(), |idle| format!("; {idle:.0} % of all cores idle")),
            self.saturates_first
        )
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

/// Refuses what could not be measured.
pub(super) fn check(plan: &Plan) -> anyhow::Result<()> {
    ensure!(
        plan.config.exists(),
        "no configuration {}: run this in the repository, or name one with --config",
        plan.config.display()
    );
    ensure!(
        plan.callers > 0 && plan.turns > 0,
        "at least one caller and one turn: raise --callers or --spoken"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms a packet from 0 on; the caller begins at 1,000 ms and ends at 2,000.
    fn levels(of: impl Fn(u64) -> f32) -> Fall {
        let at = |millis| Moment::from_millis(5_000 + millis);
        let levels: Vec<_> = (0..120).map(|n| (at(n * 20), of(n * 20))).collect();
        Fall::of(&levels, at(1_000), at(2_000))
    }

    #[test]
    fn a_voice_that_goes_down_and_then_stops_is_told_in_two_figures() {
        let fall = levels(|at| match at {
            0..=1_080 => -20.0,
            1_081..=1_220 => -38.0,
            _ => -90.0,
        });
        assert_eq!(fall, Fall::Measured { quieter: 80.0, silent: 220.0 });
    }

    #[test]
    fn a_pause_of_its_own_and_a_bot_that_speaks_on_are_no_figures() {
        assert_eq!(levels(|at| if at < 850 { -20.0 } else { -90.0 }), Fall::Pause);
        assert_eq!(levels(|_| -20.0), Fall::Never);
    }
}
