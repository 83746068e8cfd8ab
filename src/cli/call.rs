//! `offhook call ENDPOINT`: call somebody and let a bot talk to him.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::ConfigArg;
use super::run::Stop;
use crate::engine::{CallOut, Engine, Services};

/// Options of `offhook call`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Whom to call, as Asterisk writes it: PJSIP/alice, PJSIP/0301234567@trunk.
    endpoint: String,
    /// The bot that talks; needed where the configuration has several.
    #[arg(long)]
    bot: Option<String>,
    /// The number that is shown to who is called.
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// How long it may ring.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    ring: u64,
    /// The server that makes the call; the least loaded one where none is named.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut config = options.config.load()?;
    // An application and a port of its own: an engine that takes calls beside it is not disturbed.
    config.asterisk.rename_apps(&format!("call-{}", std::process::id()));
    config.media.port = 0;
    config.media.threads = 1;
    let mut stop = Stop::listen()?;
    let services = Services::assemble(&config, None).await?;
    let wanted = services.bot_for(options.bot.as_deref(), config.engine.bot.as_deref()).map(str::to_owned);
    let bot = wanted.with_context(|| {
        let names = services.bots.keys().cloned().collect::<Vec<_>>().join(", ");
        format!("say with --bot which bot is to talk: the configuration has {names}")
    })?;
    let engine = Engine::start(config, services).await?;
    let wanted = CallOut {
        endpoint: &options.endpoint,
        bot: &bot,
        caller_id: options.caller_id.as_deref(),
        patience: Duration::from_secs(options.ring),
        server: options.server.as_deref(),
    };
    let called = tokio::select! {
        called = engine.call_out(&wanted) => called,
        () = stop.asked() => Err(crate::engine::EngineError::NotAnswered("you stopped it".into())),
    };
    let id = match called {
        Ok(id) => id,
        Err(error) => {
            engine.drain(std::future::ready(())).await;
            return Err(error.into());
        }
    };
    let store = engine.store().clone();
    tokio::select! {
        () = engine.idle() => {}
        () = stop.asked() => {}
    }
    engine.drain(stop.asked()).await;
    print!("{}", super::calls::one(&store, id).await?);
    Ok(ExitCode::SUCCESS)
}
