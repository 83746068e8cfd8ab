//! `offhook bench turns --live`: spoken turns through a real Asterisk, as a caller hears them.
//!
//! The engine runs as a process of its own with the front desk, the embedded recogniser and the embedded synthesiser; the
//! callers are our own SIP phone. First every transport in its turn, with a few callers at once, who also interrupt; then
//! many callers at once on one of them. `scripts/turns-live` brings a private Asterisk along.
//!
//! `engine` is the process that is measured, `report` what was found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::audio::Rate;
use crate::audio::g711::Law;
use crate::audio::level::rms_dbfs;
use crate::bench::machine::{Machine, allow_many_files};
use crate::bench::turns::report::Spread;
use crate::media::TransportKind;
use crate::phone::{EarSettings, HeardPacket, Phone, PhoneCall, PhoneConfig, PhoneError};
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::{Synthesizer as _, Utterance};
use crate::time::Moment;

mod engine;
mod report;

use engine::{Engine, Ticks};
use report::{Report, Run, judged};

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
        let mut run =
            callers(plan, &engine, &lines, *transport, plan.callers, Task::Turns(plan.turns)).await?;
        run.noted(engine.stop().await?);
        print!("{run}");
        transports.push(run);
    }
    let mut conversations = None;
    if plan.conversations > 0 {
        let transport = plan.transports.first().copied().unwrap_or(TransportKind::Rtp);
        println!("{} conversations at once on {transport}", plan.conversations);
        let engine = Engine::start(plan, transport).await?;
        let task = Task::Until(Duration::from_secs(plan.seconds));
        let mut run = callers(plan, &engine, &lines, transport, plan.conversations, task).await?;
        run.noted(engine.stop().await?);
        print!("{run}");
        conversations = Some(run);
    }
    let shown = judged(&transports, conversations.as_ref());
    Ok(Report {
        schema: 2,
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
