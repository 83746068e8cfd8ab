//! The smallest bot in Rust: `cargo run --example greeter -- examples/frontdesk.toml`, then call extension 101 with
//! `OFFHOOK_ENGINE_BOT=greeter`, or any extension that says `Stasis(bot,greeter)`.

use std::path::PathBuf;

use offhook::bot::{AnyBot, Bot, Outcome};
use offhook::call::{Call, CallError, Heard, KeyPlan, Listen};
use offhook::engine::{Config, Engine, Services};

struct Greeter;

impl Bot for Greeter {
    async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        call.answer().await?;
        match call.ask("Hello. Press any key.", Listen::keys(KeyPlan::One)).await? {
            Heard::Keys(key) => call.say(format!("You pressed {key}. Goodbye.")).await?,
            _ => call.say("Then not. Goodbye.").await?,
        };
        Ok(Outcome::HangUp)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let path = std::env::args_os().nth(1).map_or_else(|| "examples/frontdesk.toml".into(), PathBuf::from);
    let config = Config::load(&path, std::env::vars())?;
    let mut services = Services::assemble(&config, None).await?;
    services.bots.insert("greeter".into(), AnyBot::new(Greeter));
    let engine = Engine::start(config, services).await?;
    tokio::signal::ctrl_c().await?;
    engine.drain(std::future::ready(())).await;
    Ok(())
}
