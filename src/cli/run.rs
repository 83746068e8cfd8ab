//! `offhook run`: take calls until told to stop.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ConfigArg;
use crate::engine::{Doors, Engine, Services};

/// Options of `offhook run`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Take over from the engine that runs with the same store and application: its calls go on here, and it ends.
    #[arg(long)]
    takeover: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let mut stop = Stop::listen()?;
    let services = Services::assemble(&config, None).await?;
    let bots = services.bots.keys().cloned().collect::<Vec<_>>().join(", ");
    let doors = config.clone();
    let engine = tokio::select! {
        engine = Engine::start_after(config, services, options.takeover) => engine?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    // Open until the last call is over: the dialplan asks where calls go as long as there is somebody to answer.
    let _doors = Doors::open(&doors, engine.load()).await?;
    tracing::info!(bots, version = env!("CARGO_PKG_VERSION"), "ready for calls");
    tokio::select! {
        () = stop.asked() => engine.drain(stop.asked()).await,
        () = engine.handed_over() => engine.leave().await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The wish that we end: SIGTERM or Ctrl-C.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
