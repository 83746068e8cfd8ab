//! What calls that are up feel of an attack on the ports that their media comes to.
//!
//! The same run three times: undisturbed; with RTP packets from a source that no call has, sent to the port that all calls
//! share; and with AudioSocket connections that say a UUID which nobody has asked for, while a call is awaited, so that each
//! is read before it is sent away. The attacker is a process of its own, at the lowest priority: one on another machine would
//! take none of our processor time.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::live::{self, LivePlan};
use super::peers::{read_line, write_line};
use super::report::Run;
use super::{BenchError, Plan, Progress, fixture, machine};
use crate::audio::codec::Format;
use crate::media::{Media, MediaError, TransportKind};
use crate::time::Moment;

/// How the ports are attacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// RTP from a wrong source.
    Packets,
    /// AudioSocket connections with wrong UUIDs.
    Connections,
}

/// An attack: what and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attack {
    /// What.
    pub kind: Kind,
    /// How many a second.
    pub per_second: u32,
}

/// What the attacker's process is told, as one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Orders {
    kind: Kind,
    per_second: u32,
    targets: Vec<SocketAddr>,
    length: Duration,
}

/// What it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Done {
    sent: u64,
    /// Of connections, those that were not closed as a stranger's are.
    let_in: u64,
}

/// What came of an attack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Repelled {
    /// Packets or connections a second that the attacker got out.
    pub per_second: f64,
    /// How many were known as none of a call's.
    pub sent_away: u64,
    /// Packets that a call took for its caller's, and connections that were taken for Asterisk's.
    pub heard: u64,
}

/// One run and what came of the attack on it.
#[derive(Clone, Debug)]
pub struct Attacked {
    /// The attack; none on the run that the others are compared with.
    pub attack: Option<(Attack, Repelled)>,
    /// What the calls felt.
    pub run: Run,
}

/// The runs of one capture, number of calls and transport: the first one was not attacked.
#[derive(Clone, Debug)]
pub struct Siege(pub Vec<Attacked>);

/// Runs all of a plan, each undisturbed and under both attacks.
///
/// # Errors
/// As [`super::measure`].
pub async fn measure(plan: &Plan, per_second: u32, progress: &Progress) -> Result<Vec<Siege>, BenchError> {
    machine::allow_many_files();
    let mut sieges = Vec::new();
    for fixture in &plan.fixtures {
        let track = fixture::load(fixture, plan.format)?;
        for (calls, transport) in
            plan.calls.iter().flat_map(|calls| plan.transports.iter().map(|kind| (*calls, *kind)))
        {
            let live = LivePlan::of(plan, fixture, &track, calls, transport);
            let mut runs = Vec::new();
            for kind in [None, Some(Kind::Packets), Some(Kind::Connections)] {
                let attack = kind.map(|kind| Attack { kind, per_second });
                let (run, mut repelled) = live::run_under(&live, attack, progress).await?;
                if let (Some(Kind::Packets), Some(repelled)) = (kind, &mut repelled) {
                    // What calls have received and no caller has sent.
                    repelled.heard = run.caller_packets_received.saturating_sub(run.caller_packets_sent);
                }
                runs.push(Attacked { attack: attack.zip(repelled), run });
            }
            sieges.push(Siege(runs));
        }
    }
    Ok(sieges)
}

/// An attacker at work; killed when it is dropped before its end.
pub(super) struct Attacker {
    attack: Attack,
    child: Child,
    began: Moment,
}

impl Attacker {
    /// Sets one on the listeners of `media`, for `length`.
    pub(super) fn begin(
        program: &Path,
        attack: Attack,
        media: &Media,
        length: Duration,
    ) -> Result<Self, BenchError> {
        let targets = match attack.kind {
            Kind::Packets => media.ports(),
            Kind::Connections => media.listens_for(TransportKind::Audiosocket).into_iter().collect(),
        };
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(program)
            .arg("bench-attacker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(input) = &mut child.stdin {
            let Attack { kind, per_second } = attack;
            write_line(input, &Orders { kind, per_second, targets, length })?;
        }
        Ok(Self { attack, child, began: Moment::now() })
    }

    /// Waits until it has done, and says what came of it; blocks.
    pub(super) fn finish(mut self, media: &Media, before: u64) -> io::Result<Repelled> {
        let output = self.child.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
        let done: Done = read_line(&mut BufReader::new(output))?;
        let seconds = Moment::now().since(self.began).as_secs_f64();
        self.child.wait()?;
        Ok(Repelled {
            #[expect(clippy::cast_precision_loss, reason = "packets of a few minutes")]
            per_second: done.sent as f64 / seconds.max(1e-3),
            sent_away: known(media, self.attack.kind) - before,
            heard: done.let_in,
        })
    }

    /// What it is there for.
    pub(super) const fn kind(&self) -> Kind {
        self.attack.kind
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many packets or connections were known as a stranger's so far.
pub(super) fn known(media: &Media, kind: Kind) -> u64 {
    let totals = media.totals();
    match kind {
        Kind::Packets => totals.unknown_source,
        Kind::Connections => totals.refused,
    }
}

/// Awaits a call that does not come, for as long as it is polled: the door reads what is said at it.
pub(super) async fn await_nobody(media: &Media) -> Result<(), MediaError> {
    loop {
        let seat = media.reserve_for(TransportKind::Audiosocket, Format::Slin)?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(seat);
    }
}

/// The attacker's process: reads its orders, does them, and writes what it did.
///
/// # Errors
/// When the orders cannot be read or the system refuses a socket.
pub fn run(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
    let orders: Orders = read_line(input)?;
    let done = match orders.kind {
        Kind::Packets => packets(&orders)?,
        Kind::Connections => connections(&orders),
    };
    write_line(output, &done)
}

/// A packet of µ-law that is right in all but where it comes from.
const PACKET: usize = 172;

fn packets(orders: &Orders) -> io::Result<Done> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let mut packet = [0x2a; PACKET];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0xba, 0xdb, 0xad, 0x01]);
    let begin = Moment::now();
    let mut done = Done::default();
    while let Some(due) = due(orders, begin) {
        while done.sent < due {
            let [.., high, low] = done.sent.to_be_bytes();
            packet[2..4].copy_from_slice(&[high, low]);
            let [target, ..] = orders.targets.as_slice() else { return Ok(done) };
            let index = usize::try_from(done.sent).unwrap_or(0) % orders.targets.len();
            // A full queue of the system is a packet that the network has lost.
            let _ = socket.send_to(&packet, orders.targets.get(index).unwrap_or(target));
            done.sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(done)
}

/// How many are due by now; [`None`] when it is over.
fn due(orders: &Orders, begin: Moment) -> Option<u64> {
    let gone = Moment::now().since(begin);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few millions at most")]
    (gone < orders.length).then(|| (gone.as_secs_f64() * f64::from(orders.per_second)) as u64)
}

/// Connections at the same moment.
const THREADS: usize = 16;

fn connections(orders: &Orders) -> Done {
    let begin = Moment::now();
    let (sent, let_in) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(due) = due(orders, begin) {
                    if sent.load(Ordering::Relaxed) >= due {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    let_in.fetch_add(u64::from(knock(orders)), Ordering::Relaxed);
                }
            });
        }
    });
    Done { sent: sent.into_inner(), let_in: let_in.into_inner() }
}

/// Whether anything at all is answered to a UUID that nobody has asked for.
fn knock(orders: &Orders) -> bool {
    let Some(target) = orders.targets.first() else { return false };
    let Ok(mut stream) = TcpStream::connect_timeout(target, Duration::from_secs(1)) else { return false };
    let mut hello = [0x66; 19];
    hello[..3].copy_from_slice(&[1, 0, 16]);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.write_all(&hello);
    matches!(stream.read(&mut [0; 64]), Ok(1..))
}

impl fmt::Display for Siege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Attacked { run: quiet, .. }) = self.0.first() else { return Ok(()) };
        writeln!(
            f,
            "{} calls of {} over {} for {:.0} s, under attack\n",
            quiet.calls, quiet.fixture, quiet.transport, quiet.seconds
        )?;
        write!(f, "{:<38}", "")?;
        for attacked in &self.0 {
            let name = match attacked.attack {
                None => "undisturbed",
                Some((Attack { kind: Kind::Packets, .. }, _)) => "packets",
                Some((Attack { kind: Kind::Connections, .. }, _)) => "connections",
            };
            write!(f, "{name:>20}")?;
        }
        writeln!(f)?;
        for (name, figure) in FIGURES {
            let base = figure(quiet);
            write!(f, "{name:<38}")?;
            for (index, attacked) in self.0.iter().enumerate() {
                let value = figure(&attacked.run);
                let text = match (value, base) {
                    (None, _) => "–".to_owned(),
                    (Some(value), Some(base)) if index > 0 && base > 0.0 => {
                        format!("{value:.1} (×{:.2})", value / base)
                    }
                    (Some(value), _) => format!("{value:.1}"),
                };
                write!(f, "{text:>20}")?;
            }
            writeln!(f)?;
        }
        let rows: [Row; 3] = [
            ("attacker: a second", |repelled| format!("{:.0}", repelled.per_second)),
            ("sent away", |repelled| repelled.sent_away.to_string()),
            ("heard or let in", |repelled| repelled.heard.to_string()),
        ];
        for (name, row) in rows {
            write!(f, "{name:<38}")?;
            for attacked in &self.0 {
                let text = attacked.attack.as_ref().map_or_else(|| "–".to_owned(), |(_, r)| row(r));
                write!(f, "{text:>20}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What is said of an attack, and its name.
type Row = (&'static str, fn(&Repelled) -> String);

/// A figure of a run and its name.
type Figure = (&'static str, fn(&Run) -> Option<f64>);

/// What a call is judged by.
const FIGURES: &[Figure] = &[
    ("arrival to frame, median µs", |run| run.arrival_to_frame_us.as_ref().map(median)),
    ("arrival to frame, p99 µs", |run| run.arrival_to_frame_us.as_ref().map(p99)),
    ("reply to first frame, p99 µs", |run| run.reply_to_first_frame_us.as_ref().map(p99)),
    ("end of speech to endpoint, median ms", |run| run.speech_end_to_endpoint_ms.as_ref().map(median)),
    ("barge-in to last frame, p99 ms", |run| run.barge_in_to_last_frame_ms.as_ref().map(p99)),
    ("pacing error at the caller, p99 µs", |run| run.pacing_error_us.as_ref().map(p99)),
    ("processor per call and second, µs", |run| run.cpu_us_per_call_second),
    #[expect(clippy::cast_precision_loss, reason = "packets of a few minutes")]
    ("callers' packets lost", |run| Some(run.caller_packets_lost as f64)),
    #[expect(clippy::cast_precision_loss, reason = "packets of a few minutes")]
    ("bots' packets lost", |run| Some(run.bot_packets_lost as f64)),
];

const fn median(of: &Distribution) -> f64 {
    of.p50
}

const fn p99(of: &Distribution) -> f64 {
    of.p99
}
