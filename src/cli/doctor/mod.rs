//! `offhook doctor`: examines an Asterisk from outside, step by step, and says of each fault which line to write into
//! which file.
//!
//! # Parts
//!
//! - this file: [`examine`] and the order of the steps.
//! - `report`: [`Check`], [`Outcome`], and how they look.
//! - `server`: from the TCP port to the modules.
//! - `calls`: events, and the way from an extension to the application.
//! - `ways`: what the engine has noted, its open doors, and the ways to ARI besides HTTP.
//! - `ami`: AMI, where the configuration has it; `services`: recognisers, synthesisers and models over the network;
//!   `book`: the database of campaigns.
//! - `audio`: real RTP packets, both ways; `streams`: the same for AudioSocket and WebSocket.
//!
//! # How it finds out where the dialplan leads
//!
//! ARI cannot read the dialplan, and the doctor must not register the application: a running engine would lose it. So the
//! doctor registers an application of its own, calls the extension through a `Local` channel, and watches the far half of
//! that channel walk through the dialplan (`ChannelDialplan` events) until it runs `Stasis(app)`. That works whether an
//! engine is there or not. Where one is, the call does reach it: it knows it by the channel's id, which begins with
//! [`PROBE`](crate::asterisk::PROBE), and leaves it alone.
//!
//! # What it never does
//!
//! It takes no application from an engine, changes no configuration, and leaves nothing in Asterisk: whatever it made has an
//! id that begins with [`PROBE`](crate::asterisk::PROBE) and is removed at the end, and so is what an interrupted run left.

mod ami;
mod audio;
mod book;
mod calls;
mod report;
mod server;
mod services;
mod spool;
mod streams;
mod ways;

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::ConfigArg;
use crate::asterisk::ari::{Ari, AriConfig, EventStream};
use crate::engine::Config;
use crate::engine::transports::Transports;

pub use report::{Check, Fix, Outcome, Step};

/// Options of `offhook doctor`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The extension that callers reach the engine by.
    #[arg(long, default_value = "100")]
    extension: String,
    /// The context of that extension.
    #[arg(long, default_value = "offhook")]
    context: String,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let colour = std::io::stdout().is_terminal();
    let servers = config.asterisk.servers();
    let several = servers.len() > 1;
    let mut healthy = true;
    for (index, server) in servers.iter().enumerate() {
        if several {
            println!("{}{}, {}", if index == 0 { "" } else { "\n" }, server.name(), server.url);
        }
        let mut config = config.clone();
        config.asterisk = server.clone();
        if index > 0 {
            // It is one for all servers, and was looked at.
            config.ami.address = None;
        }
        let what = Examination {
            ari: server.ari_by_http()?,
            app: server.app.clone(),
            extension: options.extension.clone(),
            context: options.context.clone(),
            bind: SocketAddr::new(config.media.bind, config.media.port),
            advertise: server.advertise.or(config.media.advertise),
            config,
        };
        healthy &= examine(&what, |check| print!("{}", check.render(colour))).await;
    }
    healthy &= services::examine(&config, |check| print!("{}", check.render(colour))).await;
    healthy &= book::examine(&config, |check| print!("{}", check.render(colour))).await;
    healthy &= spool::examine(&config, |check| print!("{}", check.render(colour)));
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What to examine: the engine's own settings.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Where ARI is.
    pub ari: AriConfig,
    /// The engine's application.
    pub app: String,
    /// The extension that callers reach it by.
    pub extension: String,
    /// The context of that extension.
    pub context: String,
    /// Where the engine's media socket is bound.
    pub bind: SocketAddr,
    /// The address that Asterisk is told to send to, where it is another one.
    pub advertise: Option<IpAddr>,
    /// The rest of the configuration: the transports of the bots.
    pub config: Config,
}

/// Runs all checks; each goes to `say` as soon as it is done. True when none failed. Takes a second when all is well, at most
/// about half a minute otherwise.
pub async fn examine(what: &Examination, say: impl FnMut(&Check)) -> bool {
    let mut doctor = Doctor { what, say, healthy: true, transports: None };
    let ari = doctor.server().await;
    doctor.outages().await;
    doctor.doors();
    let Some(ari) = ari else {
        doctor.ami().await;
        return doctor.healthy;
    };
    doctor.ways().await;
    let name = format!("{}{:08x}", crate::asterisk::PROBE, fastrand::u32(..));
    let probe = Probe { ari, events: None, name };
    doctor.calls(probe).await;
    doctor.ami().await;
    doctor.healthy
}

/// The examination as it goes on.
struct Doctor<'a, Say> {
    what: &'a Examination,
    say: Say,
    healthy: bool,
    /// What the engine would use, once that is known.
    transports: Option<Transports>,
}

/// What the doctor is in Asterisk.
struct Probe {
    ari: Ari,
    /// The events of the doctor's own application, once they come.
    events: Option<EventStream>,
    /// The name of that application, and what the ids of all channels and bridges begin with.
    name: String,
}

impl<Say: FnMut(&Check)> Doctor<'_, Say> {
    fn report(&mut self, step: Step, outcome: Outcome) {
        let check = Check { step, outcome };
        self.healthy &= !check.failed();
        (self.say)(&check);
    }

    fn fine(&mut self, step: Step, found: impl Into<String>) {
        self.report(step, Outcome::Fine(found.into()));
    }

    fn failed(&mut self, step: Step, what: impl Into<String>, fixes: Vec<Fix>) {
        self.report(step, Outcome::Failed { what: what.into(), fixes });
    }

    fn skip(&mut self, steps: &[Step], why: &str) {
        for step in steps {
            self.report(*step, Outcome::Skipped(why.to_owned()));
        }
    }
}
