//! What a call costs and how long its stages take: the benchmark behind `offhook bench`.
//!
//! Callers play a capture to the engine's media threads, from a process of their own, over real sockets and in real time;
//! what the engine decided and when is held against what the capture's sidecar says. First the same callers play to a loop
//! that does nothing but receive and send: the machine's floor. Every cost is told as a ratio to it.
//!
//! # Parts
//!
//! - this file: [`measure`] runs a [`Plan`] and gives a [`Report`];
//! - [`fixture`]: reads captures and their sidecars; [`track`]: what a caller plays, over and over;
//! - [`peers`]: the callers' process, `wire` and `player`: how they reach the engine; `floor`: the bare loop; `live`: runs in real time; `rehearse`: in virtual time; `bot`: who
//!   is called in both;
//! - [`attack`]: what calls feel of packets and connections that are none of theirs;
//! - [`replay`]: what a bot would have heard of a captured call; [`quality`]: how that would sound to a person;
//! - [`distribution`], [`machine`], [`report`]: figures; [`compare`]: two reports side by side; [`html`]: a page of one;
//! - [`turns`]: turn taking, on a corpus of its own.
//!
//! # What it never does
//!
//! It judges nothing: a report has no opinion on whether a figure is good. It touches no Asterisk, and but for [`turns`] no
//! recogniser and no synthesiser: `benches/calls.rs` measures whole calls through a real server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::audio::codec::Format;
use crate::media::{MediaError, TransportKind};
use crate::time::Moment;

pub use distribution::{Distribution, Spans, Unit};
pub use report::{Floor, Report, Run};

pub mod answers;
pub mod attack;
mod bot;
pub mod compare;
pub mod distribution;
pub mod fixture;
mod floor;
pub mod html;
mod live;
pub mod machine;
pub mod peers;
mod player;
pub mod quality;
mod rehearse;
pub mod replay;
pub mod report;
pub mod track;
pub mod turns;
mod wire;

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A capture cannot be used.
    #[error(transparent)]
    Fixture(#[from] fixture::FixtureError),
    /// The engine's side could not be set up.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The callers' side could not.
    #[error("the callers of the benchmark failed: {0}; is `ulimit -n` above the number of calls?")]
    Callers(#[from] io::Error),
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// This program, which is started again for the callers.
    pub program: PathBuf,
    /// Captures to play, one run for each and each number of calls.
    pub fixtures: Vec<PathBuf>,
    /// The format of captures that do not tell their own.
    pub format: Option<Format>,
    /// Numbers of calls at once.
    pub calls: Vec<usize>,
    /// How the audio comes and goes.
    pub transports: Vec<TransportKind>,
    /// How long each run is measured.
    pub length: Duration,
    /// Media threads.
    pub threads: usize,
}

/// What is going on, and which share of it is done.
type Tell = dyn Fn(&str, f64) + Send + Sync;

/// Told how far a benchmark is, ten times a second.
pub struct Progress {
    tell: Box<Tell>,
}

impl Progress {
    /// Calls `tell` with what is going on and which share of it is done, 0 to 1.
    #[must_use]
    pub fn new(tell: impl Fn(&str, f64) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell) }
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_, _| ())
    }

    /// Returns `length` after `begin`.
    async fn follow(&self, what: &str, begin: Moment, length: Duration) {
        loop {
            let share = Moment::now().since(begin).as_secs_f64() / length.as_secs_f64().max(1e-3);
            (self.tell)(what, share.min(1.0));
            if share >= 1.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs all of a plan, one run after the other.
///
/// # Errors
/// When a capture cannot be read, or the system has no room for so many calls.
pub async fn measure(plan: &Plan, progress: &Progress) -> Result<Report, BenchError> {
    let machine = machine::Machine::read();
    machine::allow_many_files();
    let (mut floors, mut runs) = (Vec::<Floor>::new(), Vec::new());
    for fixture in &plan.fixtures {
        let track = fixture::load(fixture, plan.format)?;
        for calls in plan.calls.iter().copied() {
            let live = |transport| live::LivePlan::of(plan, fixture, &track, calls, transport);
            if !floors.iter().any(|floor| floor.calls == calls) {
                floors.push(live::floor(&live(TransportKind::Rtp), progress).await?);
            }
            let floor = floors.iter().find(|floor| floor.calls == calls);
            let floor = floor.map(|floor| floor.cpu_us_per_call_second);
            for transport in plan.transports.iter().copied() {
                let run = live::run(&live(transport), progress).await?;
                let ratio = run.cpu_us_per_call_second.zip(floor).map(|(cpu, floor)| cpu / floor.max(1e-3));
                runs.push(Run { floor_cpu_us_per_call_second: floor, cpu_ratio_to_floor: ratio, ..run });
            }
        }
    }
    Ok(report(machine, floors, runs))
}

/// Runs every capture of a plan once, as one call in virtual time.
///
/// # Errors
/// When a capture cannot be read, or this build does not have its format.
pub fn rehearse(plan: &Plan, progress: &Progress) -> Result<Report, BenchError> {
    let mut runs = Vec::with_capacity(plan.fixtures.len());
    for (done, fixture) in plan.fixtures.iter().enumerate() {
        (progress.tell)(&fixture.display().to_string(), done as f64 / plan.fixtures.len() as f64);
        runs.push(rehearse::run(&fixture::load(fixture, plan.format)?)?);
    }
    Ok(report(machine::Machine::read(), Vec::new(), runs))
}

fn report(machine: machine::Machine, floor: Vec<Floor>, runs: Vec<Run>) -> Report {
    Report { schema: report::SCHEMA, offhook: env!("CARGO_PKG_VERSION").to_owned(), machine, floor, runs }
}
