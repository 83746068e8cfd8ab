//! `offhook bench answers`: person or machine, on a corpus that is made on the spot.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::bench::{progress, tell};
use crate::bench::answers::{self, Plan};
use crate::turn::answer::AnswerSettings;
use crate::turn::vad::Kind;

/// Options of `offhook bench answers`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What the corpus is made from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// A sixth of the corpus.
    #[arg(long)]
    quick: bool,
    /// Settings of the detector in TOML, instead of the defaults; keys that are left out keep theirs.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Another detector of speech.
    #[arg(long, value_parser = ["webrtc", "level", "neural"])]
    detector: Option<String>,
    /// The tuning half alone.
    #[arg(long)]
    tuning: bool,
    /// Let the English recogniser hear calls in other languages too, as if a bot called abroad.
    #[arg(long)]
    abroad: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing; look for better thresholds on the tuning half, and print them.
    #[arg(long, conflicts_with = "json")]
    fit: bool,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = options.settings.as_deref().map(read).transpose()?.unwrap_or_default();
    if let Some(kind) = options.detector.as_deref().and_then(Kind::named) {
        settings.detector = kind;
    }
    let plan = Plan {
        seed: options.seed,
        quick: options.quick,
        tuning: options.tuning,
        abroad: options.abroad,
        settings,
    };
    let (bar, progress) = progress();
    if options.fit {
        let fitted = tokio::task::spawn_blocking(move || answers::fit(&plan, &progress)).await?;
        bar.finish_and_clear();
        let (best, told) = fitted?;
        told.iter().for_each(|line| println!("{line}"));
        println!("{}", serde_json::to_string_pretty(&best)?);
        return Ok(ExitCode::SUCCESS);
    }
    let report = tokio::task::spawn_blocking(move || answers::measure(&plan, &progress)).await?;
    bar.finish_and_clear();
    tell(&report?, options.json.as_deref(), None, |_| String::new())?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &std::path::Path) -> anyhow::Result<AnswerSettings> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| {
        format!("{} has settings that are not known: docs/answering.md lists them", file.display())
    })
}
