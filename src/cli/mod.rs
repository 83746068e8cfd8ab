//! The command line: `run`, `agi`, `demo`, `doctor`, `call`, `calls`, `bench`,
//! `replay`, `servers`, `trunk`, `campaign`, `never-call`.
//!
//! Each command is a file; what they share is here. What goes wrong ends in one sentence on standard error and exit
//! code 1 (2 when the command line itself is at fault).

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::engine::Config;

mod agi;
mod answers;
mod bench;
mod bots;
mod call;
pub mod calls;
mod campaign;
mod demo;
pub mod doctor;
mod never_call;
mod replay;
mod run;
mod servers;
mod trunk;
mod turns;

/// The voice-bot engine for Asterisk.
#[derive(Debug, Parser)]
#[command(name = "offhook", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: error, warn, info, debug, trace, or more finely as `offhook::media=debug`. Goes to standard error.
    #[arg(long, global = true, env = "OFFHOOK_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take calls until told to stop (SIGTERM or Ctrl-C; once more to stop at once).
    Run(run::Options),
    /// Let a scripted caller talk to the front desk, and show what happens.
    Demo(demo::Options),
    /// Check an Asterisk from outside, and say what to change where.
    Doctor(doctor::Options),
    /// Be an AGI program: Asterisk starts it, `AGI(offhook,agi,NAME)` or EAGI in the dialplan.
    Agi(agi::Options),
    /// Call somebody and let a bot talk to him.
    Call(call::Options),
    /// Measure what a call costs and how long its stages take, on this machine.
    Bench(Box<bench::Options>),
    /// Show what a bot would have heard of a captured call.
    Replay(replay::Options),
    /// The callers of `bench`, in a process of their own.
    #[command(hide = true)]
    BenchPeers,
    /// The attacker of `bench --attack`, in a process of his own.
    #[command(hide = true)]
    BenchAttacker,
    /// Make, show and remove SIP trunks while Asterisk runs.
    Trunk(trunk::Options),
    /// Show how the Asterisk servers of the engine that runs are, and drain one of them.
    Servers(servers::Options),
    /// Show the latest calls, or one call with its turns.
    Calls(calls::CallsArgs),
    /// Make, feed, start, watch and report on campaigns: lists of numbers to call.
    Campaign(campaign::Options),
    /// Keep the lists of numbers that no campaign calls.
    NeverCall(never_call::Options),
}

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
struct ConfigArg {
    /// The configuration file; every key can be overridden by OFFHOOK_SECTION_KEY.
    #[arg(long, short, global = true, env = "OFFHOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// Where a configuration is looked for when none is named.
    const PLACES: [&'static str; 2] = ["offhook.toml", "/etc/offhook/offhook.toml"];

    fn load(&self) -> anyhow::Result<Config> {
        let there = || Self::PLACES.map(Path::new).into_iter().find(|path| path.exists());
        Ok(match self.config.as_deref().or_else(there) {
            Some(path) => Config::load(path, std::env::vars())?,
            None => Config::from_env(std::env::vars())?,
        })
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = if matches!(cli.command, Command::Run(_)) { "info" } else { "error" };
    let filter = match EnvFilter::try_new(cli.log.as_deref().unwrap_or(quiet)) {
        // At its finest this one would show the header by which we sign in.
        Ok(filter) => filter.add_directive("tungstenite=info".parse().expect("a directive")),
        Err(error) => {
            eprintln!("offhook: --log: {error}");
            return ExitCode::from(2);
        }
    };
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("offhook: the system gives us no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(options) => run::run(options).await,
            Command::Agi(options) => agi::run(options).await,
            Command::Demo(options) => demo::run(options).await,
            Command::Doctor(options) => doctor::run(options).await,
            Command::Bench(options) => bench::run(*options).await,
            Command::Replay(options) => tokio::task::block_in_place(|| replay::run(&options)),
            Command::BenchPeers => tokio::task::block_in_place(bench::run_peers),
            Command::BenchAttacker => tokio::task::block_in_place(bench::run_attacker),
            Command::Call(options) => call::run(options).await,
            Command::Trunk(options) => trunk::run(options).await,
            Command::Servers(options) => servers::run(options).await,
            Command::Calls(options) => calls::run(options).await,
            Command::Campaign(options) => campaign::run(options).await,
            Command::NeverCall(options) => never_call::run(options).await,
        }
    });
    // Threads that read files for calls that are over need not be waited for.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("offhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}
