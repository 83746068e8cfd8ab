//! `offhook bench`: what a call costs and how long its stages take, on this machine and on your captures.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{answers, bots, turns};
use crate::audio::codec::Format;
use crate::bench::compare::Comparison;
use crate::bench::report::{Report, SCHEMA};
use crate::bench::{self, Plan, Progress, html, peers};
use crate::media::TransportKind;

/// The capture that is played when none is named.
const DEFAULT: &str = "clean-ulaw";

/// Where captures are that are named without a path.
const FIXTURES: &str = "tests/fixtures";

/// Steps of the progress bar.
const STEPS: f64 = 1_000.0;

/// Options of `offhook bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    /// Something else than captures.
    #[command(subcommand)]
    what: Option<What>,
    /// Captures to play (pcap or pcapng), or names of those in tests/fixtures; clean-ulaw when none is given.
    #[arg(value_name = "CAPTURE")]
    fixtures: Vec<PathBuf>,
    /// Calls at once; several numbers are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    calls: Vec<u32>,
    /// How the audio comes and goes; several are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "rtp",
          value_parser = ["rtp", "audiosocket", "websocket", "websocket-server"])]
    transport: Vec<String>,
    /// How long each run is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// The format of captures whose payload type does not say it: slin, slin16, opus.
    #[arg(long)]
    format: Option<Format>,
    /// In virtual time, one call from each capture's beginning to its end: the same figures on every machine. Plays all of
    /// tests/fixtures when none is given.
    #[arg(long = "virtual", conflicts_with_all = ["calls", "seconds", "threads"])]
    in_virtual_time: bool,
    /// Media threads; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Measure what the calls feel of an attack on the ports of their media: RTP from wrong sources, then AudioSocket connections
    /// with wrong UUIDs, so many a second each.
    #[arg(long, value_name = "PER SECOND", num_args = 0..=1, default_missing_value = "10000",
          conflicts_with_all = ["in_virtual_time", "json", "html", "compare"],
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    attack: Option<u32>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with an older report; exit code 1 when something is worse.
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// By how much a figure must be larger to be worse.
    #[arg(long, default_value_t = 1.5, value_name = "RATIO", requires = "compare")]
    threshold: f64,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
enum What {
    /// Turn taking: how soon the end of a turn is found, how often callers are cut off, how interruptions are taken.
    Turns(Box<turns::Options>),
    /// Person or machine: how often and how soon it is told who answered a call, and how soon after a beep a message begins.
    Answers(answers::Options),
    /// A program as a bot: from a caller's key to the first audio of the answer, for one call and for many at once.
    Remote(bots::Options),
    /// An agent with a language model that answers at once: the same.
    Agent(bots::Options),
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.what {
        Some(What::Turns(options)) => return turns::run(*options).await,
        Some(What::Answers(options)) => return answers::run(options).await,
        Some(What::Remote(options)) => return bots::remote(options).await,
        Some(What::Agent(options)) => return bots::agent(options).await,
        None => {}
    }
    // Read first: who mistypes the name need not wait for the benchmark.
    let old = options.compare.as_deref().map(read_report).transpose()?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let named = match (options.fixtures.is_empty(), options.in_virtual_time) {
        (false, _) => options.fixtures.clone(),
        (true, false) => vec![DEFAULT.into()],
        (true, true) => bundled()?,
    };
    let plan = Plan {
        program: std::env::current_exe().context("this program cannot be found")?,
        fixtures: named.into_iter().map(find).collect::<anyhow::Result<_>>()?,
        format: options.format,
        calls: options.calls.iter().map(|calls| *calls as usize).collect(),
        transports: TransportKind::ALL
            .into_iter()
            .filter(|kind| options.transport.iter().any(|name| name == kind.name()))
            .collect(),
        length: Duration::from_secs(options.seconds),
        threads,
    };
    let (bar, progress) = progress();
    if let Some(per_second) = options.attack {
        let sieges = bench::attack::measure(&plan, per_second, &progress).await;
        bar.finish_and_clear();
        sieges?.iter().for_each(|siege| println!("{siege}"));
        return Ok(ExitCode::SUCCESS);
    }
    let report = match options.in_virtual_time {
        true => bench::rehearse(&plan, &progress),
        false => bench::measure(&plan, &progress).await,
    };
    bar.finish_and_clear();
    let report = report?;
    tell(&report, options.json.as_deref(), options.html.as_deref(), html::page)?;
    let Some(old) = old else { return Ok(ExitCode::SUCCESS) };
    let comparison = Comparison::of(&old, &report, options.threshold);
    print!("{comparison}");
    let worse = comparison.worse().count();
    if worse > 0 {
        bail!("{worse} figures are worse by more than {} times", options.threshold);
    }
    Ok(ExitCode::SUCCESS)
}

/// The callers' process of a benchmark: `offhook bench-peers`.
pub(super) fn run_peers() -> anyhow::Result<ExitCode> {
    peers::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// The attacker's process of `offhook bench --attack`: `offhook bench-attacker`.
pub(super) fn run_attacker() -> anyhow::Result<ExitCode> {
    bench::attack::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// A path as it stands, or the capture of that name.
fn find(name: PathBuf) -> anyhow::Result<PathBuf> {
    let bundled = Path::new(FIXTURES).join(&name).with_extension("pcap");
    if name.exists() {
        Ok(name)
    } else if bundled.exists() {
        Ok(bundled)
    } else {
        bail!("no capture {}: give a pcap or pcapng file, or a name out of {FIXTURES}", name.display())
    }
}

/// All captures of the repository.
fn bundled() -> anyhow::Result<Vec<PathBuf>> {
    let folder = std::fs::read_dir(FIXTURES)
        .with_context(|| format!("no {FIXTURES} here: name captures, or run this in the repository"))?;
    let mut all: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    all.sort();
    Ok(all)
}

fn read_report(file: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let report: Report = serde_json::from_str(&text).with_context(|| {
        format!("{} is no report: give what `offhook bench --json` wrote", file.display())
    })?;
    if report.schema != SCHEMA {
        bail!(
            "{} is a report of form {}, this program writes form {SCHEMA}: make it anew",
            file.display(),
            report.schema
        );
    }
    Ok(report)
}

/// Prints what was found, and writes it as JSON and as a page where that is wanted.
pub(super) fn tell<R: serde::Serialize + std::fmt::Display>(
    report: &R,
    json: Option<&Path>,
    html: Option<&Path>,
    page: impl FnOnce(&R) -> String,
) -> anyhow::Result<()> {
    print!("{report}");
    if let Some(file) = json {
        write(file, &format!("{}\n", serde_json::to_string_pretty(report)?))?;
    }
    html.map_or(Ok(()), |file| write(file, &page(report)))
}

pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A bar on standard error, where that is a terminal.
pub(super) fn progress() -> (ProgressBar, Progress) {
    let bar = ProgressBar::with_draw_target(Some(STEPS as u64), ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{msg:40} {bar:40} {elapsed}").expect("the template is of constants"),
    );
    let shown = bar.clone();
    let progress = Progress::new(move |what, share| {
        shown.set_message(what.to_owned());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000")]
        shown.set_position((share * STEPS) as u64);
    });
    (bar, progress)
}
