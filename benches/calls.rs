//! Many calls at once against the engine, on a real Asterisk of its own.
//!
//!     cargo bench --bench calls -- --calls 100 --seconds 60
//!
//! Starts a private Asterisk, runs the fleet against its Echo() for a floor, starts the engine as a process of its own,
//! runs the same number of calls against its front desk (greeting heard, then the key for the opening hours again and
//! again), and prints side by side what the callers heard and what it cost. Ends with an error when a promise is not
//! kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use offhook::phone::fleet::{self, FleetPlan, FleetReport};
use offhook::phone::script::{Line, Script, Step};
use offhook::phone::{EarSettings, KeyTiming, Phone, PhoneConfig, syllables};
use offhook::store::Store;
use offhook::time::Moment;

/// The 99th percentile of the time between two packets at a caller.
const GAP_P99: Duration = Duration::from_millis(25);

/// The 99th percentile of the time from the answer to the greeting.
const GREETING_P99: Duration = Duration::from_millis(300);

/// How many calls are made to the engine before it is measured, and how long each lasts.
const WARM_UP_CALLS: usize = 4;
const WARM_UP: Duration = Duration::from_secs(6);

/// The application that the shipped dialplan hands its calls to.
const APP: &str = "bot";

/// Ticks of /proc/PID/stat in a second: USER_HZ, 100 on every Linux that runs Rust.
const TICKS: f64 = 100.0;

#[derive(Parser)]
#[command(about = "Many calls at once: what callers hear, what it costs")]
struct Options {
    /// Calls at once.
    #[arg(long, default_value_t = 100)]
    calls: usize,
    /// How long each call lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Calls that begin in a second.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// The engine's program; the one built with this benchmark if not given.
    #[arg(long)]
    engine: Option<PathBuf>,
    /// Its configuration.
    #[arg(long, default_value = "examples/frontdesk.toml")]
    config: PathBuf,
    /// The number that reaches the bot.
    #[arg(long, default_value = "100")]
    number: String,
    /// The key that the callers press.
    #[arg(long, default_value = "3")]
    key: String,
    /// Threads for the callers' audio.
    #[arg(long, default_value_t = 1)]
    media_threads: usize,
    /// The floor alone, without an engine.
    #[arg(long)]
    floor_only: bool,
    /// Ports of the private Asterisk: SIP on this one, 999 more behind it.
    #[arg(long, default_value = "auto")]
    port_base: String,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(&options)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("calls: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<bool> {
    offhook::bench::machine::allow_many_files();
    let asterisk = Asterisk::start(&options.port_base)?;
    let seconds = Duration::from_secs(options.seconds);
    println!(
        "{} calls at once for {} s, {} begun in a second, through {}",
        options.calls, options.seconds, options.rate, asterisk.version
    );
    let floor = measure(options, &asterisk, None, "600", echo_script(seconds)).await?;
    if options.floor_only {
        println!("{}", Table { floor: &floor, desk: None });
        return Ok(floor.report.calls_lost() == 0 && asterisk.leftovers()?.is_empty());
    }

    let engine = Engine::start(options, &asterisk)?;
    // What all calls share is there before what each of them costs is measured.
    let warm_up =
        plan(options, &asterisk, &options.number, desk_script(&options.key, WARM_UP), WARM_UP_CALLS);
    let warm = fleet::run(&phone(options).await?, &warm_up).await;
    ensure!(warm.calls_lost() == 0, "the first calls were lost:\n{warm}\n{}", asterisk.engine_log());
    let desk =
        measure(options, &asterisk, Some(&engine), &options.number, desk_script(&options.key, seconds))
            .await?;
    println!("{}", Table { floor: &floor, desk: Some(&desk) });
    let leftovers = asterisk.leftovers()?;
    drop(engine);
    println!("{}", asterisk.engine_counts(options.calls).await?);
    let kept = judge(&floor.report, &desk.report, &leftovers);
    if !kept {
        eprintln!("The engine said:\n{}", asterisk.engine_log());
    }
    Ok(kept)
}

/// Prints the promises and whether they are kept.
fn judge(floor: &FleetReport, desk: &FleetReport, leftovers: &str) -> bool {
    let mut kept = true;
    let mut promise = |what: &str, value: String, holds: bool| {
        println!("{}  {what}: {value}", if holds { "kept  " } else { "BROKEN" });
        kept &= holds;
    };
    let gap = desk.gaps.value_at_quantile(0.99);
    let floor_gap = floor.gaps.value_at_quantile(0.99).max(1);
    let greeting = desk.to_first_audio.value_at_quantile(0.99);
    let within = |micros: u64, limit: Duration| u128::from(micros) <= limit.as_micros();
    promise("no call is lost", format!("{} of {}", desk.calls_lost(), desk.calls), desk.calls_lost() == 0);
    let text = format!(
        "{:.1} ms, {:.2} times the floor's {:.1} ms",
        ms(gap),
        gap as f64 / floor_gap as f64,
        ms(floor_gap)
    );
    promise("packet gap p99 at most 25 ms", text, within(gap, GAP_P99));
    let text = format!("{:.0} ms", ms(greeting));
    promise("answer to greeting p99 at most 300 ms", text, within(greeting, GREETING_P99));
    let left = if leftovers.is_empty() { "nothing" } else { leftovers };
    promise("nothing is left in Asterisk", left.to_owned(), leftovers.is_empty());
    kept
}

/// Microseconds as milliseconds.
fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// One run of the fleet.
struct Measured {
    report: FleetReport,
    costs: Vec<(&'static str, Cost)>,
}

/// What a process costs while all calls are up.
struct Cost {
    cores: f64,
    rss: u64,
    grown: i64,
}

/// The floor and the front desk, side by side.
struct Table<'a> {
    floor: &'a Measured,
    desk: Option<&'a Measured>,
}

impl Table<'_> {
    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        cell: impl Fn(&Measured) -> Option<String>,
    ) -> fmt::Result {
        let floor = cell(self.floor).unwrap_or_else(|| "-".to_owned());
        let desk = self.desk.and_then(cell).unwrap_or_else(|| "-".to_owned());
        writeln!(f, "{name:<38} {floor:>22} {desk:>22}")
    }

    fn quantiles(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        of: fn(&FleetReport) -> &Histogram<u64>,
        at: &[f64],
    ) -> fmt::Result {
        self.row(f, name, |run| {
            let histogram = of(&run.report);
            let value = |at: &f64| format!("{:.1}", ms(histogram.value_at_quantile(*at)));
            (!histogram.is_empty()).then(|| at.iter().map(value).collect::<Vec<_>>().join(" / "))
        })
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<38} {:>22} {:>22}", "", "floor: Echo()", "the front desk")?;
        self.row(f, "calls lost", |run| {
            Some(format!("{} of {}", run.report.calls_lost(), run.report.calls))
        })?;
        self.quantiles(f, "gap between packets p50/p99/max, ms", |r| &r.gaps, &[0.5, 0.99, 1.0])?;
        self.quantiles(f, "call to answer p50/p99/max, ms", |r| &r.to_answer, &[0.5, 0.99, 1.0])?;
        self.quantiles(f, "answer to voice p50/p99/max, ms", |r| &r.to_first_audio, &[0.5, 0.99, 1.0])?;
        self.quantiles(f, "key to reply p50/p95/max, ms", |r| &r.to_reply, &[0.5, 0.95, 1.0])?;
        self.row(f, "replies", |run| Some(run.report.to_reply.len().to_string()))?;
        self.row(f, "packets heard, lost", |run| {
            Some(format!("{}, {}", run.report.packets, run.report.lost))
        })?;
        for name in ["the engine", "Asterisk", "the callers"] {
            let cost = |run: &Measured, show: &dyn Fn(&Cost, f64) -> String| {
                let cost = run.costs.iter().find(|(of, _)| *of == name)?;
                Some(show(&cost.1, run.report.calls.max(1) as f64))
            };
            self.row(f, &format!("CPU of {name}, % of a core, a call"), |run| {
                cost(run, &|cost, calls| {
                    format!("{:.1}, {:.3}", cost.cores * 100.0, cost.cores * 100.0 / calls)
                })
            })?;
            self.row(f, &format!("memory of {name}, MB, kB a call"), |run| {
                cost(run, &|cost, calls| {
                    format!("{:.1}, {:.1}", cost.rss as f64 / 1e6, cost.grown as f64 / 1e3 / calls)
                })
            })?;
        }
        for run in [Some(self.floor), self.desk].into_iter().flatten() {
            for (cause, count) in &run.report.failed {
                writeln!(f, "lost {count} times: {cause}")?;
            }
        }
        Ok(())
    }
}

async fn phone(options: &Options) -> anyhow::Result<Phone> {
    let config = PhoneConfig {
        ear: EarSettings::lean(),
        media_threads: options.media_threads,
        ..PhoneConfig::loopback("fleet")
    };
    Ok(Phone::start(config).await?)
}

fn plan(options: &Options, asterisk: &Asterisk, number: &str, script: Script, calls: usize) -> FleetPlan {
    FleetPlan {
        target: format!("sip:{number}@127.0.0.1:{}", asterisk.sip_port),
        calls,
        per_second: options.rate,
        script,
        answer_within: Duration::from_secs(10),
    }
}

async fn measure(
    options: &Options,
    asterisk: &Asterisk,
    engine: Option<&Engine>,
    number: &str,
    script: Script,
) -> anyhow::Result<Measured> {
    let phone = phone(options).await?;
    let plan = plan(options, asterisk, number, script, options.calls);
    let mut watched = vec![("the callers", std::process::id()), ("Asterisk", asterisk.pid)];
    watched.extend(engine.map(|engine| ("the engine", engine.child.id())));
    let idle = watched.iter().map(|(_, pid)| resident(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
    let flying = tokio::spawn(async move { fleet::run(&phone, &plan).await });

    // All calls are up from the end of the ramp until the first one ends.
    let ramp = Duration::from_secs_f64(options.calls as f64 / options.rate);
    let settled = ramp + Duration::from_secs(2);
    let plateau = Duration::from_secs(options.seconds).saturating_sub(settled + Duration::from_secs(1));
    if plateau < Duration::from_secs(3) {
        println!("(too short for figures of cost: --seconds {} would do)", settled.as_secs() + 5);
    }
    tokio::time::sleep(settled).await;
    let (began, before) = (Moment::now(), ticks_of(&watched)?);
    tokio::time::sleep(plateau).await;
    let (ended, after) = (Moment::now(), ticks_of(&watched)?);
    let span = ended.since(began).as_secs_f64().max(0.001);
    let mut costs = Vec::new();
    for (index, (name, pid)) in watched.iter().enumerate() {
        let rss = resident(*pid)?;
        let cores = (after[index] - before[index]) as f64 / TICKS / span;
        costs.push((*name, Cost { cores, rss, grown: rss.cast_signed() - idle[index].cast_signed() }));
    }
    let report = flying.await.context("the fleet failed")?;
    Ok(Measured { report, costs })
}

/// Says something, hears it, and stays.
fn echo_script(seconds: Duration) -> Script {
    let line = Line { words: "(syllables)".into(), samples: syllables(Duration::from_millis(600)).into() };
    Script::new(vec![
        Step::Say(line),
        Step::Pause(seconds.saturating_sub(Duration::from_millis(600))),
        Step::HangUp,
    ])
}

/// The greeting, then a key whenever the bot is silent.
fn desk_script(key: &str, seconds: Duration) -> Script {
    let ask = vec![
        Step::BotSilent { quiet: Duration::from_millis(700), within: Duration::from_secs(30) },
        Step::Press { keys: key.to_owned(), timing: KeyTiming::default() },
        Step::BotReplies { within: Duration::from_secs(5) },
    ];
    Script::new(vec![
        Step::BotSpeaks { within: Duration::from_secs(5) },
        Step::Repeat { until: seconds, steps: ask },
        Step::HangUp,
    ])
}

/// A private Asterisk; ends with this process.
struct Asterisk {
    dir: tempfile::TempDir,
    sip_port: u16,
    ari_port: u16,
    pid: u32,
    version: String,
}

impl Asterisk {
    fn start(port_base: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("offhook-calls-").tempdir()?;
        let owner = std::process::id().to_string();
        script(dir.path(), "start", &["--port-base", port_base, "--owner", &owner])?;
        let instance = std::fs::read_to_string(dir.path().join("instance"))?;
        let port = |name: &str| -> anyhow::Result<u16> {
            let value = instance.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            Ok(value.with_context(|| format!("Asterisk's instance file has no {name}"))?.parse()?)
        };
        let status = script(dir.path(), "status", &[])?;
        let pid = status.split("process ").nth(1).and_then(|s| s.split(',').next()?.parse().ok());
        let pid = pid.with_context(|| format!("no process in: {status}"))?;
        let mut asterisk = Self {
            sip_port: port("SIP_PORT")?,
            ari_port: port("ARI_PORT")?,
            pid,
            dir,
            version: String::new(),
        };
        let version = asterisk.cli("core show version")?;
        asterisk.version = version.split(" built").next().unwrap_or(&version).trim().to_owned();
        Ok(asterisk)
    }

    /// What the engine's media threads counted on its last calls; it must have ended.
    async fn engine_counts(&self, calls: usize) -> anyhow::Result<String> {
        let store = Store::open_to_read(self.store()).await?;
        let calls = store.latest_calls(u32::try_from(calls)?).await?;
        let sum = |pointer: &str| -> u64 {
            let media = calls.iter().filter_map(|summary| summary.call.media.as_ref());
            media.filter_map(|media| media.pointer(pointer)?.as_u64()).sum()
        };
        Ok(format!(
            "in the engine: {} packets sent, {} ticks skipped, {} frames of silence in mid-sentence; \
             {} packets received, {} lost, {} events dropped",
            sum("/sent"),
            sum("/skipped_ticks"),
            sum("/underruns"),
            sum("/stream/received"),
            sum("/stream/lost"),
            sum("/events_dropped"),
        ))
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("calls.sqlite")
    }

    /// The last complaints of the engine.
    fn engine_log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("engine.log")).unwrap_or_default();
        let grave = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        let grave: Vec<_> = grave.collect();
        grave[grave.len().saturating_sub(30)..].join("\n")
    }

    fn cli(&self, line: &str) -> anyhow::Result<String> {
        script(self.dir.path(), "cli", &[line])
    }

    /// Channels and bridges that are still there two seconds after the calls; empty when there are none.
    fn leftovers(&self) -> anyhow::Result<String> {
        for _ in 0..20 {
            let left = self.channels_and_bridges()?;
            if left.is_empty() {
                return Ok(left);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.channels_and_bridges()
    }

    fn channels_and_bridges(&self) -> anyhow::Result<String> {
        let channels = self.cli("core show channels concise")?;
        let bridges = self.cli("bridge show all")?;
        let count = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
        // The list of bridges has a line of headings.
        let (channels, bridges) = (count(&channels), count(&bridges).saturating_sub(1));
        Ok(match (channels, bridges) {
            (0, 0) => String::new(),
            _ => format!("{channels} channels, {bridges} bridges"),
        })
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        if let Err(error) = script(self.dir.path(), "stop", &[]) {
            eprintln!("calls: Asterisk did not stop: {error:#}");
        }
    }
}

fn script(dir: &Path, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/asterisk");
    let mut run = Command::new(program);
    let output = run.args([command, "--dir"]).arg(dir).args(arguments).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "scripts/asterisk {command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// The engine as a process of its own.
struct Engine {
    child: Child,
}

impl Engine {
    fn start(options: &Options, asterisk: &Asterisk) -> anyhow::Result<Self> {
        let program = match &options.engine {
            Some(program) => program.clone(),
            None => PathBuf::from(env!("CARGO_BIN_EXE_offhook")),
        };
        ensure!(program.exists(), "no engine at {}: check --engine", program.display());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let log = std::fs::File::create(asterisk.dir.path().join("engine.log"))?;
        let child = Command::new(&program)
            .arg("run")
            .arg("--config")
            .arg(root.join(&options.config))
            .env("OFFHOOK_ASTERISK_URL", format!("http://127.0.0.1:{}", asterisk.ari_port))
            .env("OFFHOOK_ASTERISK_USER", "offhook")
            .env("OFFHOOK_ASTERISK_PASSWORD", "offhook")
            .env("OFFHOOK_MEDIA_PORT", "0")
            .env("OFFHOOK_STORE_PATH", asterisk.store())
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut engine = Self { child };
        // It is ready when Asterisk knows its application.
        for _ in 0..300 {
            if let Some(status) = engine.child.try_wait()? {
                let log = std::fs::read_to_string(asterisk.dir.path().join("engine.log"))?;
                bail!("the engine ended at once ({status}):\n{log}");
            }
            if asterisk.cli("ari show apps")?.lines().any(|line| line.trim() == APP) {
                return Ok(engine);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the engine did not register with Asterisk within 30 s");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // First the polite way, so that it leaves nothing in Asterisk.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of each process so far, in ticks.
fn ticks_of(watched: &[(&'static str, u32)]) -> anyhow::Result<Vec<u64>> {
    let ticks = |pid: &u32| -> anyhow::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold anything; behind it utime and stime are the 12th and 13th.
        let rest = stat.rsplit_once(')').context("an odd /proc/PID/stat")?.1;
        let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
        match (fields.next(), fields.next()) {
            (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
            _ => bail!("an odd /proc/PID/stat"),
        }
    };
    watched.iter().map(|(_, pid)| ticks(pid)).collect()
}

/// Resident memory in bytes.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}
