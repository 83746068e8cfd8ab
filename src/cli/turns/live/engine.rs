//! The engine of a live measurement: a process of its own, what it and others take of the processor, and what it noted of
//! its turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::sleep;

use super::Plan;
use crate::media::TransportKind;
use crate::store::{BotLatencies, Disposition, Store, TurnRecord};

/// More turns than a measurement has.
const LAST_TURNS: u32 = 10_000;

/// So many turns are shown of a call that the engine ended.
const LAST_SHOWN: usize = 5;

/// What the engine wrote down.
pub(super) struct Noted {
    /// How long its turns took by its own clock.
    pub(super) latencies: Option<BotLatencies>,
    /// The calls that their callers did not end, each in a line. Its callers are ours, so what they said may be shown.
    pub(super) ended: Vec<String>,
    /// Silence within sentences of the bot's, for want of audio.
    pub(super) holes_ms: u64,
}

/// A turn in a few words.
fn told(turn: &TurnRecord) -> String {
    let step = turn.step.as_deref().unwrap_or("-");
    let heard = turn.heard.text.as_ref().map_or(String::new(), |text| format!(" \"{text}\""));
    let sure = turn.heard.confidence.map_or(String::new(), |sure| format!(" {sure:.2}"));
    format!("{step}: {}{heard}{sure}", turn.kind)
}

/// The engine as a process of its own, killed when this is dropped.
pub(super) struct Engine {
    child: Child,
    pub(super) child_id: u32,
    // Its store and its log are in it.
    dir: PathBuf,
}

impl Engine {
    pub(super) async fn start(plan: &Plan, transport: TransportKind) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("offhook-turns-{}-{transport}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = std::fs::File::create(dir.join("log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(&plan.config)
            .env("OFFHOOK_LOG", "info")
            .env("OFFHOOK_MEDIA_PORT", "0")
            .env("OFFHOOK_MEDIA_TRANSPORT", transport.name())
            .env("OFFHOOK_STORE_PATH", dir.join("calls.sqlite"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the engine does not start")?;
        let mut engine = Self { child_id: child.id(), child, dir };
        for _ in 0..600 {
            if engine.log().contains("ready for calls") {
                return Ok(engine);
            }
            if let Some(status) = engine.child.try_wait()? {
                bail!("the engine ended at once ({status}):\n{}", engine.log());
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("the engine was not ready within a minute:\n{}", engine.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Stops it, first the polite way, so that it leaves nothing in Asterisk.
    pub(super) async fn stop(mut self) -> anyhow::Result<Noted> {
        self.end().await;
        let store = Store::open_to_read(self.dir.join("calls.sqlite")).await?;
        let latencies = store.latencies(LAST_TURNS).await?.into_iter().next();
        let (mut ended, mut holes) = (Vec::new(), 0);
        for call in store.latest_calls(LAST_TURNS).await?.into_iter().map(|call| call.call) {
            // Ticks of 20 ms.
            holes += call.media.as_ref().and_then(|media| media["underruns"].as_u64()).unwrap_or(0);
            let Some(how) = call.disposition.filter(|how| *how != Disposition::CallerHungUp) else {
                continue;
            };
            let turns = store.turns(call.id).await?;
            let last =
                turns.iter().skip(turns.len().saturating_sub(LAST_SHOWN)).map(told).collect::<Vec<_>>();
            let note = call.note.map_or(String::new(), |note| format!(" ({note})"));
            ended.push(format!("{how}{note} after {} turns; the last: {}", turns.len(), last.join(", ")));
        }
        Ok(Noted { latencies, ended, holes_ms: 20 * holes })
    }

    async fn end(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child_id.cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..150 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Processor time so far, in ticks of a hundredth of a second (USER_HZ).
pub(super) struct Ticks {
    /// By process, and of the engine by the name of its threads.
    by: BTreeMap<String, u64>,
    /// All cores: idle, and all.
    machine: Option<(u64, u64)>,
}

impl Ticks {
    pub(super) fn read(watched: &[(&str, Option<u32>)]) -> Self {
        let mut by = BTreeMap::new();
        for (name, pid) in watched {
            let Some(pid) = pid else { continue };
            let process = PathBuf::from(format!("/proc/{pid}"));
            by.extend(ticks(&process.join("stat")).map(|(_, ticks)| ((*name).to_owned(), ticks)));
            if *name == "engine" {
                let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
                for (thread, ticks) in tasks.filter_map(|task| ticks(&task.path().join("stat"))) {
                    *by.entry(format!("engine, threads {thread}")).or_default() += ticks;
                }
            }
        }
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let machine = fields.get(3..5).map(|idle| (idle.iter().sum(), fields.iter().take(8).sum()));
        Self { by, machine }
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of some minutes")]
    pub(super) fn since(&self, before: &Self, seconds: f64) -> (BTreeMap<String, f64>, Option<f64>) {
        let shares = self.by.iter().map(|(name, ticks)| {
            let spent = ticks.saturating_sub(before.by.get(name).copied().unwrap_or(0));
            (name.clone(), spent as f64 / seconds)
        });
        let idle = self.machine.zip(before.machine).map(|(after, before)| {
            100.0 * (after.0.saturating_sub(before.0)) as f64
                / (after.1.saturating_sub(before.1)).max(1) as f64
        });
        (shares.filter(|(_, share)| *share >= 0.5).collect(), idle)
    }
}

/// The name of a process or thread, and its time.
fn ticks(stat: &Path) -> Option<(String, u64)> {
    let stat = std::fs::read_to_string(stat).ok()?;
    // The name in brackets may hold anything; behind it utime and stime are the 12th and 13th.
    let (name, rest) = stat.rsplit_once(')')?;
    let name = name.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((name, fields.next()?.ok()? + fields.next()?.ok()?))
}
