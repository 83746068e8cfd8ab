//! `offhook bench turns`: turn taking on a corpus that is made on the spot.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::bench::{progress, write};
use crate::bench::turns::{self, Part, Plan, page};

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
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let part = if options.part == "tuning" { Part::Tuning } else { Part::Reported };
    let plan = Plan { part, seed: options.seed, quick: options.quick };
    let (bar, progress) = progress();
    let report = tokio::task::spawn_blocking(move || turns::measure(&plan, &progress)).await?;
    bar.finish_and_clear();
    let report = report?;
    print!("{report}");
    if let Some(file) = &options.json {
        write(file, &format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    if let Some(file) = &options.html {
        write(file, &page::page(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}
