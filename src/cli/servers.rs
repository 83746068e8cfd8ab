//! `offhook servers`: how the servers of the engine that runs are, and draining one of them.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::ConfigArg;
use crate::engine::control;

/// Options of `offhook servers`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Let this server have no more calls; those that are up go on.
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    drain: Option<String>,
    /// Let this server have calls again.
    #[arg(long, value_name = "NAME")]
    resume: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let request = match (&options.drain, &options.resume) {
        (Some(name), _) => format!("drain {name}"),
        (None, Some(name)) => format!("resume {name}"),
        (None, None) => "servers".to_owned(),
    };
    let answer = control::ask(&config, &request).await.map_err(anyhow::Error::msg)?;
    if options.json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for server in answer["servers"].as_array().into_iter().flatten() {
        let why = server["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let version = server["version"].as_str().map_or_else(|| "–".to_owned(), |v| format!("Asterisk {v}"));
        println!(
            "{:<16} {:<24} {:>5} of {:<5} calls  {version}  {}{why}",
            text(&server["name"]),
            text(&server["peer"]),
            server["calls"],
            server["capacity"],
            text(&server["state"]),
        );
    }
    Ok(ExitCode::SUCCESS)
}
