//! `offhook run`: take calls until told to stop.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ConfigArg;
use crate::engine::{Config, Doors, Engine, Services};
use crate::time::Moment;

/// How long after a takeover the doors may take to open, and how often that is tried.
const DOORS_PATIENCE: Duration = Duration::from_secs(5);
const DOORS_AGAIN: Duration = Duration::from_millis(50);

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
    let doors = open(&doors, &engine, options.takeover).await?;
    tracing::info!(bots, version = env!("CARGO_PKG_VERSION"), "ready for calls");
    tokio::select! {
        () = stop.asked() => engine.drain(stop.asked()).await,
        () = engine.handed_over() => {
            // At once: the other engine waits for their ports.
            drop(doors);
            engine.leave().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the doors beside Stasis. After a takeover the engine before us may still have their ports for a moment, and a door
/// that does not open is no reason to leave the callers whom we took over.
async fn open(config: &Config, engine: &Engine, takeover: bool) -> anyhow::Result<Option<Doors>> {
    let patience = Moment::now() + if takeover { DOORS_PATIENCE } else { Duration::ZERO };
    loop {
        match Doors::open(config, engine.load()).await {
            Ok(doors) => return Ok(Some(doors)),
            Err(_) if Moment::now() < patience => tokio::time::sleep(DOORS_AGAIN).await,
            Err(error) if takeover => {
                tracing::error!(%error, "the engine goes on without AGI and AMI");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
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
