//! `offhook run`: take calls until told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::ConfigArg;
use crate::engine::health::{HealthPage, Watch};
use crate::engine::{Config, Doors, Engine, Services};
use crate::guard;
use crate::time::Moment;

/// How long after a takeover the doors may take to open, and how often that is tried.
const DOORS_PATIENCE: Duration = Duration::from_secs(5);
const DOORS_AGAIN: Duration = Duration::from_millis(50);

/// How long the engine before us may go on until its calls are ours.
const START_PATIENCE: Duration = Duration::from_secs(30);

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
    // Before the engine: it tells that it starts.
    let health = Health::open(&config, options.takeover).await?;
    let engine = tokio::select! {
        engine = Engine::start_after(config, services, options.takeover) => engine?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    // Open until the last call is over: the dialplan asks where calls go as long as there is somebody to answer.
    let mut doors = open(&doors, &engine, options.takeover).await?;
    if let Some(doors) = &mut doors {
        doors.keep_accounts(engine.store());
    }
    guard::announce(&engine.exposures());
    health.show(engine.watch());
    tracing::info!(bots, version = env!("CARGO_PKG_VERSION"), "ready for calls");
    tokio::select! {
        () = stop.asked() => engine.drain(stop.asked()).await,
        () = engine.handed_over() => {
            // At once: the other engine waits for their ports.
            drop((doors, health));
            engine.leave().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The health page, if one is wanted. After a takeover the engine before us may still have its port for a moment.
struct Health {
    watch: watch::Sender<Option<Watch>>,
    _page: Option<AbortOnDropHandle<()>>,
}

impl Health {
    async fn open(config: &Config, takeover: bool) -> anyhow::Result<Self> {
        let (watch, seen) = watch::channel(None);
        let Some(door) = config.health.exposure() else { return Ok(Self { watch, _page: None }) };
        let first = HealthPage::open(&door, seen.clone()).await;
        let page = match first {
            Err(error) if !takeover => return Err(error.into()),
            first => AbortOnDropHandle::new(tokio::spawn(async move {
                let mut page = first;
                let patience = Moment::now() + DOORS_PATIENCE + START_PATIENCE;
                while page.is_err() && Moment::now() < patience {
                    tokio::time::sleep(DOORS_AGAIN).await;
                    page = HealthPage::open(&door, seen.clone()).await;
                }
                match page {
                    Ok(page) => page.closed().await,
                    Err(error) => tracing::error!(%error, "the engine goes on without its health page"),
                }
            })),
        };
        Ok(Self { watch, _page: Some(page) })
    }

    fn show(&self, watch: Watch) {
        self.watch.send_replace(Some(watch));
    }
}

/// Opens the doors beside Stasis. After a takeover the engine before us may still have their ports for a moment, and a door
/// that does not open is no reason to leave the callers whom we took over.
async fn open(config: &Config, engine: &Engine, takeover: bool) -> anyhow::Result<Option<Doors>> {
    let patience = Moment::now() + if takeover { DOORS_PATIENCE } else { Duration::ZERO };
    let load = Arc::new(engine.load());
    loop {
        let load = Arc::clone(&load);
        match Doors::open_with(config, move || load(), |router| engine.share().handler(router)).await {
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
