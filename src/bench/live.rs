//! One run in real time: the media threads of this process against callers in another one, over real sockets.
//!
//! On every call sits the simplest [`Bot`]. There is no recogniser and no synthesiser: what is measured is the audio
//! path.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::attack::{self, Attack, Attacker, Repelled};
use super::bot::{BARGE_IN, Bot, LISTENING};
use super::floor::Bare;
use super::machine::{anonymous_bytes, give_back_memory, process_cpu};
use super::peers::{Heard, Plan, Ports, Start, Target, read_line, write_line};
use super::report::{Floor, Run};
use super::track::{self, Timetable, Track};
use super::{BenchError, Progress, Spans, Unit};
use crate::audio::Rate;
use crate::audio::codec::Format;
use crate::audio::ring::VoiceItem;
use crate::id::CallId;
use crate::media::link::{Dial, dial};
use crate::media::{
    Attach, Invitation, Media, MediaConfig, MediaError, MediaSession, MediaStats, TransportKind,
};
use crate::time::{Moment, WallTime};
use crate::turn::vad::WebRtcVad;

/// Between the moment that everything is ready and the first packet.
const LEAD: Duration = Duration::from_millis(300);

/// How long a caller may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// Not measured: everybody finds his place.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is on its way at the end may take this long.
const SETTLE: Duration = Duration::from_millis(300);

/// The callers' process; killed when it is dropped before its end.
struct Callers {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Callers {
    /// Starts it; the addresses that its callers speak from.
    fn start(plan: &LivePlan<'_>) -> io::Result<(Self, Ports)> {
        let mut child = Command::new(plan.program)
            .arg("bench-peers")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(io::Error::other("the callers have no standard input or output"));
        };
        let mut this = Self { child, input, output: BufReader::new(output) };
        let format = plan.format.map(|format| format.name().to_owned());
        write_line(
            &mut this.input,
            &Plan { fixture: plan.fixture.to_owned(), format, calls: plan.calls, transport: plan.transport },
        )?;
        let ports = read_line(&mut this.output)?;
        Ok((this, ports))
    }

    fn begin(&mut self, start: &Start) -> io::Result<()> {
        write_line(&mut self.input, start)
    }

    /// Waits for what they have heard. Blocks.
    fn finish(mut self) -> io::Result<Heard> {
        let heard = read_line(&mut self.output)?;
        self.child.wait()?;
        Ok(heard)
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run in real time is made of.
#[derive(Clone, Debug)]
pub(super) struct LivePlan<'a> {
    /// This program, which is started again for the callers.
    pub(super) program: &'a Path,
    /// The capture, which they read for themselves.
    pub(super) fixture: &'a Path,
    /// Its format, where it does not tell.
    pub(super) format: Option<Format>,
    pub(super) track: &'a Track,
    pub(super) calls: usize,
    pub(super) transport: TransportKind,
    pub(super) length: Duration,
    pub(super) threads: usize,
}

impl<'a> LivePlan<'a> {
    /// One run of a plan.
    pub(super) fn of(
        plan: &'a super::Plan,
        fixture: &'a Path,
        track: &'a Track,
        calls: usize,
        transport: TransportKind,
    ) -> Self {
        let super::Plan { program, format, length, threads, .. } = plan;
        Self {
            program,
            fixture,
            format: *format,
            track,
            calls,
            transport,
            length: *length,
            threads: *threads,
        }
    }
}

/// Measures the floor for as many peers.
pub(super) async fn floor(plan: &LivePlan<'_>, progress: &Progress) -> Result<Floor, BenchError> {
    let name = format!("floor, {} peers", plan.calls);
    let (cpu, _, heard) = bare(plan, false, &format!("{name}: cost"), progress).await?;
    let (_, arrival_to_read, _) = bare(plan, true, &format!("{name}: times"), progress).await?;
    Ok(Floor {
        calls: plan.calls,
        seconds: plan.length.as_secs_f64(),
        cpu_us_per_call_second: per_call_second(cpu, plan),
        arrival_to_read_us: arrival_to_read.distribution(Unit::Micros),
        pacing_error_us: heard.pacing_error_us,
    })
}

async fn bare(
    plan: &LivePlan<'_>,
    timed: bool,
    what: &str,
    progress: &Progress,
) -> Result<(Duration, Spans, Heard), BenchError> {
    let (mut callers, ports) = Callers::start(plan)?;
    let at = Moment::now() + LEAD;
    let measured = (at + WARM_UP, at + WARM_UP + plan.length);
    let bare = Bare::start(ports.callers, measured.0, measured.1, timed)?;
    let length = WARM_UP + plan.length + WARM_UP;
    callers.begin(&Start {
        at,
        length,
        targets: vec![Target { address: bare.address, secret: None }; plan.calls],
    })?;
    progress.follow(what, at, length).await;
    let heard = finish(callers).await?;
    let measured = bare.finish()?;
    Ok((measured.cpu, measured.arrival_to_read, heard))
}

async fn finish(callers: Callers) -> Result<Heard, BenchError> {
    let waited = tokio::task::spawn_blocking(move || callers.finish()).await;
    Ok(waited.map_err(|_| io::Error::other("the callers' reader panicked"))??)
}

/// Measures the engine's media threads.
pub(super) async fn run(plan: &LivePlan<'_>, progress: &Progress) -> Result<Run, BenchError> {
    Ok(run_under(plan, None, progress).await?.0)
}

/// The same under an attack, and what came of it.
pub(super) async fn run_under(
    plan: &LivePlan<'_>,
    attack: Option<Attack>,
    progress: &Progress,
) -> Result<(Run, Option<Repelled>), BenchError> {
    let (mut callers, ports) = Callers::start(plan)?;
    let config = MediaConfig {
        threads: plan.threads,
        audiosocket: (plan.transport == TransportKind::Audiosocket || attack.is_some()).then_some(0),
        websocket: (plan.transport == TransportKind::WebsocketServer).then_some(0),
        probe: true,
        ..MediaConfig::new(std::net::Ipv4Addr::LOCALHOST.into())
    };
    let media = Media::start(&config)?;
    give_back_memory();
    let before = anonymous_bytes();
    let (stop, stopped) = watch::channel(false);
    let mut bots = JoinSet::new();
    let mut targets = Vec::with_capacity(plan.calls);
    let mut seats = Vec::with_capacity(plan.calls);
    for _ in 0..plan.calls {
        let seat = media.reserve_for(plan.transport, plan.track.format)?;
        let secret = match seat.invitation() {
            Invitation::AudioSocket { uuid, .. } => Some(uuid),
            Invitation::WebSocketServer { secret, .. } => Some(secret),
            Invitation::Rtp { .. } | Invitation::WebSocket => None,
        };
        targets.push(Target { address: seat.advertised(), secret });
        seats.push(seat);
    }
    // Connections are made one after the other.
    let connecting = Duration::from_millis(if plan.transport == TransportKind::Rtp { 0 } else { 2 });
    let at = Moment::now() + LEAD + connecting * u32::try_from(plan.calls).unwrap_or(u32::MAX);
    let length = WARM_UP + plan.length + WARM_UP;
    callers.begin(&Start { at, length, targets })?;
    let mut ports = ports.callers.into_iter();
    for (number, mut seat) in seats.into_iter().enumerate() {
        let link = match ports.next() {
            Some(server) if plan.transport == TransportKind::Websocket => dial(&media_of(server)).await?,
            Some(caller) => seat.link(caller),
            None => seat.connected(PATIENCE).await?,
        };
        let vad = Box::new(WebRtcVad::new(Rate::Hz8000));
        let attach =
            Attach { format: plan.track.format, ..Attach::new(CallId::new(WallTime::now()), link, vad) };
        bots.spawn(take_turns(number, media.attach(seat, attach)?, stopped.clone()));
    }
    let cpu = async {
        tokio::time::sleep((at + WARM_UP).since(Moment::now())).await;
        let begin = (Moment::now(), process_cpu());
        tokio::time::sleep(plan.length).await;
        let (span, cpu) = (Moment::now().since(begin.0), process_cpu().saturating_sub(begin.1));
        (cpu.div_f64(span.as_secs_f64() / plan.length.as_secs_f64()), anonymous_bytes())
    };
    let what = format!("{} on {}, {} calls", plan.track.name, plan.transport, plan.calls);
    let attack = attack.map(|attack| (attack, attack::known(&media, attack.kind)));
    let attacker = attack.map(|(attack, before)| {
        let span = (at + length).since(Moment::now());
        Attacker::begin(plan.program, attack, &media, span).map(|attacker| (attacker, before))
    });
    let attacker = attacker.transpose()?;
    let besieged = async {
        match &attacker {
            Some((attacker, _)) if attacker.kind() == attack::Kind::Connections => {
                attack::await_nobody(&media).await
            }
            _ => std::future::pending().await,
        }
    };
    let (cpu, after) = tokio::select! {
        ((cpu, after), ()) = async { tokio::join!(cpu, progress.follow(&what, at, length)) } => (cpu, after),
        failed = besieged => return Err(failed.err().unwrap_or(MediaError::NoListener(plan.transport)).into()),
    };
    let heard = finish(callers).await?;
    let repelled = attacker.map(|(attacker, before)| attacker.finish(&media, before)).transpose()?;
    tokio::time::sleep(SETTLE).await;
    // The bots have gone only when the media thread has told their numbers.
    let _ = stop.send(true);
    let told = bots.join_all().await;
    let (mut to_frame, mut to_vad) = (Spans::default(), Spans::default());
    for probe in media.finish() {
        to_frame.merge_nanos(&probe.arrival_to_frame);
        to_vad.merge_nanos(&probe.arrival_to_vad);
    }
    let cpu = per_call_second(cpu, plan);
    let bytes = after.saturating_sub(before) / plan.calls.max(1) as u64;
    let run = Run {
        arrival_to_frame_us: to_frame.distribution(Unit::Micros),
        arrival_to_vad_us: to_vad.distribution(Unit::Micros),
        cpu_us_per_call_second: Some(cpu),
        bytes_per_call: Some(bytes),
        ..summary(plan, at, length, &told, heard)
    };
    Ok((run, repelled))
}

/// What Asterisk would have to be told.
fn media_of(server: SocketAddr) -> Dial {
    Dial {
        host: server.ip().to_string(),
        port: server.port(),
        tls: None,
        path: "/media/bench".to_owned(),
        authorization: String::new(),
    }
}

fn summary(plan: &LivePlan<'_>, at: Moment, length: Duration, told: &[Told], heard: Heard) -> Run {
    let sum = |pick: fn(&MediaStats) -> u64| told.iter().map(|told| pick(&told.stats)).sum::<u64>();
    let (mut reply, mut endpoint) = (Spans::default(), Spans::default());
    let (mut utterances, mut cut_offs) = (0, 0);
    for told in told {
        told.bot.replies.iter().for_each(|span| reply.add(*span));
        let table = Timetable::new(plan.track, at, told.number, plan.calls);
        let speech = table.speech(plan.track, at + length);
        utterances += speech.len() as u64;
        cut_offs += track::count_within(&told.bot.endpoints, &speech);
        track::first_after(&told.bot.endpoints, track::ends(&speech)).for_each(|span| endpoint.add(span));
    }
    Run {
        fixture: plan.track.name.clone(),
        transport: plan.transport.name().into(),
        format: plan.track.format.name().into(),
        calls: plan.calls,
        seconds: plan.length.as_secs_f64(),
        speech_end_to_endpoint_ms: endpoint.distribution(Unit::Millis),
        reply_to_first_frame_us: reply.distribution(Unit::Micros),
        barge_in_to_last_frame_ms: heard.barge_in_to_last_frame_ms,
        pacing_error_us: heard.pacing_error_us,
        caller_packets_sent: heard.sent,
        caller_packets_received: sum(|stats| stats.stream.received),
        caller_packets_lost: sum(|stats| stats.stream.lost),
        caller_packets_late: sum(|stats| stats.stream.late),
        concealed_ms: sum(|stats| stats.concealed_ms),
        bot_packets_received: heard.received,
        bot_packets_lost: heard.lost,
        skipped_ticks: sum(|stats| stats.skipped_ticks),
        utterances,
        endpoints: endpoint.count(),
        cut_offs,
        ..Run::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of calls")]
fn per_call_second(cpu: Duration, plan: &LivePlan<'_>) -> f64 {
    cpu.as_secs_f64() * 1e6 / plan.length.as_secs_f64() / plan.calls.max(1) as f64
}

/// What one bot has to tell; they end in any order.
struct Told {
    /// Which of the callers was his.
    number: usize,
    stats: MediaStats,
    bot: Bot,
}

/// Until it is stopped: says its sentence, lets itself be interrupted, and answers with the same again.
async fn take_turns(number: usize, mut session: MediaSession, mut stop: watch::Receiver<bool>) -> Told {
    let (sentence, mut bot) = (Bot::sentence(), Bot::new());
    begin(&mut bot, &session);
    loop {
        let speak = async {
            match bot.saying {
                true => session.voice.push(VoiceItem::Audio(bot.play, sentence)).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.changed() => break,
            pushed = speak => if pushed.is_err() { break },
            event = session.events.recv() => match event {
                None => break,
                Some(event) => if bot.takes(&event) { begin(&mut bot, &session) },
            },
        }
        // Nobody recognises what is said.
        session.ear.clear();
    }
    Told { number, stats: session.detach().await, bot }
}

/// Listens, and says the sentence unless it is being said.
fn begin(bot: &mut Bot, session: &MediaSession) {
    // Both fail only when the call is over, which the loop finds out for itself.
    let _ = session.control.listen(LISTENING);
    if let Some(play) = bot.begins(Moment::now()) {
        let _ = session.control.begin_play(play, BARGE_IN);
    }
}
