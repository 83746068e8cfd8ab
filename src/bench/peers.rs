//! The callers of a benchmark: a process of their own that plays a track to the engine over real sockets and measures what
//! comes back where it arrives.
//!
//! The bench starts its own program with the hidden command `bench-peers` and talks to it in lines of JSON: a [`Plan`]
//! in, the callers' [`Ports`] out, a [`Start`] in, a [`Heard`] out. Arrivals are stamped by the kernel, so a caller who reads
//! late measures rightly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::distribution::{Distribution, Spans, Unit};
use super::fixture;
use super::machine::{allow_many_files, thread_cpu};
use super::player::Player;
use super::track::{self, Timetable, Track};
use super::wire::{Messages, Wire};
use crate::audio::PTIME;
use crate::audio::codec::Format;
use crate::audio::g711::Law;
use crate::media::TransportKind;
use crate::rtp::packet::Packet;
use crate::rtp::{PayloadType, Seq, Timestamp};
use crate::stamp::{self, ClockPair};
use crate::time::Moment;

/// A sample of the bot's that is louder than this is part of what it says: its sentence in a benchmark is a tone.
const LOUD: u16 = 1_000;

/// After the last packet was sent, what is on its way may take this long.
const SETTLE: Duration = Duration::from_millis(100);

/// What the callers shall do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The capture that they play.
    pub fixture: PathBuf,
    /// Its format, where it does not tell.
    pub format: Option<String>,
    /// How many there are.
    pub calls: usize,
    /// How they reach the engine.
    pub transport: TransportKind,
}

/// Where the callers are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ports {
    /// One address for each who sends datagrams or awaits a connection; who opens one has none yet.
    pub callers: Vec<SocketAddr>,
}

/// When they begin, and whom they talk to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The beginning of the measurement, to come.
    pub at: Moment,
    /// How long they play.
    pub length: Duration,
    /// For each caller whom he talks to.
    pub targets: Vec<Target>,
}

/// Whom one caller talks to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The engine's port for him.
    pub address: SocketAddr,
    /// What he says to be known: the UUID of AudioSocket, or the parameter of a WebSocket's URI.
    pub secret: Option<String>,
}

/// What the callers did and heard.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Packets that they sent.
    pub sent: u64,
    /// Packets that they received.
    pub received: u64,
    /// Packets that are missing in the order of what they received.
    pub lost: u64,
    /// Their own lateness in sending: what they did not do evenly cannot be held against the engine.
    pub send_late_us: Option<Distribution>,
    /// How far what came was from even: each packet's distance from its caller's own grid of 20 ms.
    pub pacing_error_us: Option<Distribution>,
    /// From the first packet with speech in it to the last packet of what it interrupted.
    pub barge_in_to_last_frame_ms: Option<Distribution>,
    /// Processor time that they took, in microseconds.
    pub cpu_us: u64,
}

/// Runs the callers: the whole of `offhook bench-peers`. Blocks until they are done.
///
/// # Errors
/// When a line is not what it should be, the capture cannot be read, or the system has no sockets left.
pub fn run(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
    allow_many_files();
    let plan: Plan = read_line(input)?;
    let track = fixture::load(&plan.fixture, plan.format.and_then(|name| name.parse().ok()))
        .map_err(io::Error::other)?;
    let open = Open::new(plan.transport, plan.calls)?;
    write_line(output, &Ports { callers: open.addresses(plan.calls)? })?;
    let start: Start = read_line(input)?;
    let wires = open.wires(plan.transport, &start, track.format)?;
    // For the accuracy of waits; without it they are later by 50 µs.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    write_line(output, &play(&track, wires, &start)?)
}

/// Reads one value from one line.
///
/// # Errors
/// When the line is missing or is no such value.
pub fn read_line<T: serde::de::DeserializeOwned>(input: &mut dyn BufRead) -> io::Result<T> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// Writes one value as one line.
///
/// # Errors
/// When the other side is gone.
pub fn write_line<T: Serialize>(output: &mut dyn Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// What callers have before they know whom they talk to.
enum Open {
    /// A port each.
    Ports(Vec<UdpSocket>),
    /// A web server, as Asterisk's. Connections come in the callers' order.
    Server(TcpListener),
    Nothing,
}

impl Open {
    fn new(transport: TransportKind, calls: usize) -> io::Result<Self> {
        Ok(match transport {
            TransportKind::Rtp => Self::Ports((0..calls).map(|_| port()).collect::<io::Result<_>>()?),
            TransportKind::Websocket => Self::Server(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
            TransportKind::Audiosocket | TransportKind::WebsocketServer => Self::Nothing,
        })
    }

    fn addresses(&self, calls: usize) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Ports(sockets) => sockets.iter().map(UdpSocket::local_addr).collect(),
            Self::Server(listener) => Ok(vec![listener.local_addr()?; calls]),
            Self::Nothing => Ok(Vec::new()),
        }
    }

    fn wires(self, transport: TransportKind, start: &Start, format: Format) -> io::Result<Vec<Wire>> {
        let targets = start.targets.iter();
        match self {
            Self::Ports(sockets) => {
                let pairs = sockets.into_iter().zip(targets);
                pairs.map(|(socket, to)| socket.connect(to.address).map(|()| Wire::Rtp(socket))).collect()
            }
            Self::Server(listener) => targets
                .map(|_| Player::accept(&listener, format).map(Box::new).map(Wire::WebSocket))
                .collect(),
            Self::Nothing if transport == TransportKind::Audiosocket => {
                targets.map(|target| Messages::dial(target, format).map(Wire::AudioSocket)).collect()
            }
            Self::Nothing => targets
                .map(|target| Player::dial(target, format).map(Box::new).map(Wire::WebSocket))
                .collect(),
        }
    }
}

fn port() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    stamp::enable(socket.as_fd())?;
    Ok(socket)
}

fn play(track: &Track, wires: Vec<Wire>, start: &Start) -> io::Result<Heard> {
    let calls = wires.len();
    let end = start.at + start.length;
    let mut heard = Heard::default();
    let (mut late, mut barge_in) = (Spans::default(), Spans::default());
    let mut callers = Vec::with_capacity(calls);
    let mut schedules = Vec::with_capacity(calls);
    let mut queue = BinaryHeap::with_capacity(calls);
    for (number, wire) in wires.into_iter().enumerate() {
        let table = Timetable::new(track, start.at, number, calls);
        callers.push(Caller::new(wire, track, table.speech(track, end), start.length));
        let mut packets = table.packets(track);
        if let Some((at, lap, index)) = packets.next() {
            queue.push(Reverse((at, number, lap, index)));
        }
        schedules.push(packets);
    }
    std::thread::sleep(start.at.since(Moment::now()));
    let cpu = thread_cpu();
    let mut datagram = Vec::with_capacity(2_048);
    while let Some(Reverse((at, number, lap, index))) = queue.pop() {
        if at >= end {
            break;
        }
        let now = Moment::now();
        if now < at {
            std::thread::sleep(at.since(now));
        }
        track.packet_of_lap(index, lap, &mut datagram);
        late.add(Moment::now().since(at));
        let caller = &mut callers[number];
        if !std::mem::replace(&mut caller.speaks, true) {
            // The kernel stamps what waits in a stream as one: what came while nobody read has no time of its own.
            caller.forget();
        }
        // A closed port of the engine is told here; its packets are counted as not received there.
        heard.sent += u64::from(caller.wire.send(&datagram));
        heard.received += caller.listen();
        if let Some((at, lap, index)) = schedules[number].next() {
            queue.push(Reverse((at, number, lap, index)));
        }
    }
    heard.cpu_us = u64::try_from(thread_cpu().saturating_sub(cpu).as_micros()).unwrap_or(u64::MAX);
    let settled = Moment::now() + SETTLE;
    while Moment::now() < settled {
        callers.iter_mut().for_each(|caller| heard.received += caller.listen());
        std::thread::sleep(PTIME / 4);
    }
    let mut pacing = Spans::default();
    for mut caller in callers {
        heard.received += caller.listen();
        heard.lost += caller.lost();
        if !matches!(caller.wire, Wire::WebSocket(_)) {
            caller.pacing(&mut pacing);
        }
        caller.interruptions(&mut barge_in);
    }
    heard.send_late_us = late.distribution(Unit::Micros);
    // One who plays what he has by his own clock says nothing of ours.
    heard.pacing_error_us = pacing.distribution(Unit::Micros);
    heard.barge_in_to_last_frame_ms = barge_in.distribution(Unit::Millis);
    Ok(heard)
}

/// One caller: his wire, and what he has heard.
struct Caller {
    wire: Wire,
    /// His first packet has been sent.
    speaks: bool,
    /// When he speaks.
    speech: Vec<(Moment, Moment)>,
    /// Ticks of the RTP clock in a second.
    clock_hz: i64,
    /// The first packet: its numbers, and when it came.
    first: Option<(Seq, Timestamp, Moment)>,
    /// How many packets there would be if none were missing.
    expected: u64,
    received: u64,
    /// How much later than the first each packet came than its number says, in nanoseconds.
    offsets: Vec<i64>,
    /// The last packet of what is being said, when it came.
    loud: Option<Moment>,
    /// When each sentence of the bot's fell silent.
    stops: Vec<Moment>,
}

impl Caller {
    fn new(wire: Wire, track: &Track, speech: Vec<(Moment, Moment)>, length: Duration) -> Self {
        let packets = usize::try_from(length.as_millis() / PTIME.as_millis()).unwrap_or(0) + 16;
        let stops = Vec::with_capacity(2 * speech.len() + 4);
        let clock_hz = i64::from(track.format.rtp_clock());
        Self {
            wire,
            speaks: false,
            speech,
            clock_hz,
            first: None,
            expected: 0,
            received: 0,
            offsets: Vec::with_capacity(packets),
            loud: None,
            stops,
        }
    }

    /// What came before the caller spoke is no part of the measurement.
    fn forget(&mut self) {
        self.listen();
        (self.first, self.expected, self.received) = (None, 0, 0);
        self.offsets.clear();
    }

    /// Takes all that has come; how many packets.
    fn listen(&mut self) -> u64 {
        let before = self.received;
        // Taken out for as long as its words are heard.
        let mut wire = std::mem::replace(&mut self.wire, Wire::None);
        wire.read(ClockPair::now(), &mut |at, packet| self.packet(at, packet));
        self.wire = wire;
        self.received - before
    }

    fn packet(&mut self, at: Moment, packet: &Packet<'_>) {
        let header = packet.header;
        let (seq, timestamp, begin) = *self.first.get_or_insert((header.seq, header.timestamp, at));
        // Counted on from the highest so far, which a run of more than 65,536 packets wraps.
        let highest = seq.plus(u16::try_from(self.expected.saturating_sub(1) % 65_536).unwrap_or(0));
        let ahead = if self.received == 0 { 1 } else { header.seq.after(highest).max(0).unsigned_abs() };
        self.expected += u64::from(ahead);
        self.received += 1;
        let place = i64::from(header.timestamp.after(timestamp)) * 1_000_000_000 / self.clock_hz;
        let signed = |moment: Moment| i64::try_from(moment.as_nanos()).unwrap_or(i64::MAX);
        self.offsets.push(signed(at) - signed(begin) - place);
        if is_loud(packet) {
            self.loud = Some(at);
        } else if let Some(last) = self.loud.take() {
            self.stops.push(last);
        }
    }

    fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// Each packet's distance from this caller's grid, which is where half of the packets are early and half late.
    fn pacing(&mut self, out: &mut Spans) {
        if self.offsets.is_empty() {
            return;
        }
        let middle = self.offsets.len() / 2;
        let (_, median, _) = self.offsets.select_nth_unstable(middle);
        let median = *median;
        self.offsets.iter().for_each(|offset| out.add(Duration::from_nanos(offset.abs_diff(median))));
    }

    /// How long the bot went on each time he began to speak while it did.
    fn interruptions(&self, out: &mut Spans) {
        track::first_after(&self.stops, track::onsets(&self.speech)).for_each(|span| out.add(span));
    }
}

/// Whether the bot says something in this packet.
fn is_loud(packet: &Packet<'_>) -> bool {
    let law = if packet.header.payload_type == PayloadType::PCMA { Law::A } else { Law::Mu };
    packet.payload.iter().any(|code| law.decode(*code).unsigned_abs() > LOUD)
}
