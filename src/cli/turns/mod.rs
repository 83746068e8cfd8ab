//! `offhook bench turns`: turn taking on a corpus that is made on the spot.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::bench::{progress, tell, write};
use crate::bench::turns::{self, Only, Part, Plan, page};
use crate::media::TransportKind;

mod live;

/// Options of `offhook bench turns`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The half of the corpus: `tuning` is for whoever changes settings, `reported` for what is told about them.
    #[arg(long, default_value = "reported", value_parser = ["reported", "tuning"])]
    part: String,
    /// What the corpus is made from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// A sixth of the corpus, with fewer settings.
    #[arg(long)]
    quick: bool,
    /// Measure only how ends of turns are found, or only how interruptions are taken.
    #[arg(long, value_parser = ["ends", "interruptions"])]
    only: Option<String>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Measure nothing; write every silence of the corpus with what the witnesses say of it, a line of JSON each, for
    /// scripts/fit-turns.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["live", "json", "html"])]
    cases: Option<PathBuf>,
    /// Through a real Asterisk instead of in virtual time: `scripts/turns-live` brings one along.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    live_options: LiveOptions,
}

/// Options that go with `--live`.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --live")]
struct LiveOptions {
    /// Where Asterisk takes SIP calls.
    #[arg(long, env = "OFFHOOK_ASTERISK_SIP", value_name = "IP:PORT", default_value = "127.0.0.1:5060")]
    sip: SocketAddr,
    /// The extension of the front desk.
    #[arg(long, default_value = "100")]
    extension: String,
    /// The engine's configuration.
    #[arg(long, default_value = "examples/frontdesk.toml", value_name = "FILE")]
    config: PathBuf,
    /// Spoken turns on each transport.
    #[arg(long, default_value_t = 50, value_name = "N")]
    spoken: usize,
    /// Callers at once on each transport.
    #[arg(long, default_value_t = 5, value_name = "N")]
    callers: usize,
    /// The transports, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "rtp,audiosocket,websocket,websocket-server",
          value_parser = ["rtp", "audiosocket", "websocket", "websocket-server"])]
    transports: Vec<String>,
    /// Then so many conversations at once, on the first of the transports.
    #[arg(long, default_value_t = 0, value_name = "N")]
    conversations: usize,
    /// How long each of them lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Asterisk's process, to tell its share of the processor.
    #[arg(long, value_name = "PID")]
    asterisk_pid: Option<u32>,
}

async fn run_live(options: &Options) -> anyhow::Result<ExitCode> {
    let given = &options.live_options;
    let plan = live::Plan {
        sip: given.sip,
        extension: given.extension.clone(),
        config: given.config.clone(),
        turns: given.spoken,
        callers: given.callers,
        transports: TransportKind::ALL
            .into_iter()
            .filter(|kind| given.transports.iter().any(|name| name == kind.name()))
            .collect(),
        conversations: given.conversations,
        seconds: given.seconds,
        asterisk: given.asterisk_pid,
    };
    live::check(&plan)?;
    let report = live::run(&plan).await?;
    tell(&report, options.json.as_deref(), None, |_| String::new())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.live {
        return run_live(&options).await;
    }
    let part = if options.part == "tuning" { Part::Tuning } else { Part::Reported };
    let only =
        options.only.as_deref().map(|only| if only == "ends" { Only::Ends } else { Only::Interruptions });
    let plan = Plan { part, seed: options.seed, quick: options.quick, only };
    let (bar, progress) = progress();
    if let Some(file) = &options.cases {
        let cases = tokio::task::spawn_blocking(move || turns::cases(&plan, &progress)).await?;
        bar.finish_and_clear();
        let lines = cases?.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        write(file, &format!("{}\n", lines.join("\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = tokio::task::spawn_blocking(move || turns::measure(&plan, &progress)).await?;
    bar.finish_and_clear();
    let report = report?;
    tell(&report, options.json.as_deref(), options.html.as_deref(), page::page)?;
    Ok(ExitCode::SUCCESS)
}
