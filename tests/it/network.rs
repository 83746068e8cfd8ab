//! What the receive stream makes of bad networks, in virtual time: against fixed jitter buffers on the same packets, and
//! half an hour of everything at once.
//!
//!     cargo test --test it network -- --nocapture        (prints the table)

use std::time::Duration;

use offhook::pcap::netem::{
    Arrival, Blackouts, Duplication, Impairment, Jitter, Loss, RateLimit, Reordering, Shape, Spikes, pass,
};
use offhook::rtp::carriage::{Carriage, Length};
use offhook::rtp::packet::Header;
use offhook::rtp::stream::{Piece, ReceiveStream, StreamStats};
use offhook::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use offhook::time::Moment;

const PTIME: Duration = Duration::from_millis(20);

/// How often the media thread looks whether a wait is over.
const LOOK: Duration = Duration::from_millis(5);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn datagram(kind: u8, ssrc: u32, seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type: PayloadType::new(kind).expect("a payload type below 128"),
        seq: Seq(seq),
        timestamp: Timestamp(timestamp),
        ssrc: Ssrc(ssrc),
    };
    [&header.to_bytes()[..], payload].concat()
}

/// Ten minutes of µ-law through a network: packet n carries n.
fn call(impairment: Impairment, seed: u64) -> (u32, Vec<Arrival<Vec<u8>>>) {
    let count = 30_000_u32;
    let packets = (0..count).map(|n| {
        let payload = [&n.to_be_bytes()[..], &[0xff; 156]].concat();
        (Moment::ZERO + PTIME * n, 200, datagram(0, 1, n as u16, n.wrapping_mul(160), &payload))
    });
    (count, pass(impairment, seed, packets).0)
}

/// What a way of receiving does to a call.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// The mean delay that it adds to packets that are heard, in milliseconds.
    mean_ms: f64,
    p99_ms: f64,
    /// Packets that came and were not heard, as a share of those that came.
    late: f64,
}

fn outcome(mut delays: Vec<f64>, came: usize) -> Outcome {
    delays.sort_by(f64::total_cmp);
    let heard = delays.len();
    Outcome {
        mean_ms: delays.iter().sum::<f64>() / heard.max(1) as f64,
        p99_ms: delays.get(heard * 99 / 100).copied().unwrap_or(0.0),
        late: 1.0 - heard as f64 / came.max(1) as f64,
    }
}

/// When each packet came first.
fn firsts(count: u32, arrived: &[Arrival<Vec<u8>>]) -> Vec<Option<Moment>> {
    let mut firsts = vec![None; count as usize];
    for arrival in arrived {
        firsts[arrival.number as usize].get_or_insert(arrival.at);
    }
    firsts
}

/// The receive stream, looked at every 5 ms as the media thread does.
fn ours(count: u32, arrived: &[Arrival<Vec<u8>>]) -> (Outcome, StreamStats) {
    let firsts = firsts(count, arrived);
    let mut stream = ReceiveStream::new(PayloadType::EVENTS);
    let mut delays = Vec::new();
    let mut look = Moment::ZERO;
    let mut hear = |now: Moment, piece: Piece<'_>| {
        if let Piece::Audio { payload, .. } = piece {
            let n = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
            delays.push(now.millis_from(firsts[n as usize].expect("it came")));
        }
    };
    for arrival in arrived {
        while look < arrival.at {
            stream.poll(look, &mut |piece| hear(look, piece));
            look = look + LOOK;
        }
        stream.receive(arrival.at, &arrival.packet, &mut |piece| hear(arrival.at, piece));
    }
    let end = look + ms(1_000);
    stream.poll(end, &mut |piece| hear(end, piece));
    (outcome(delays, firsts.iter().flatten().count()), stream.stats())
}

/// A jitter buffer that plays packet n at a fixed time after it was spoken; what comes later is not heard.
fn fixed(count: u32, arrived: &[Arrival<Vec<u8>>], buffer: Duration) -> Outcome {
    let firsts = firsts(count, arrived);
    let waits = firsts.iter().enumerate().filter_map(|(n, came)| {
        let played = Moment::ZERO + PTIME * n as u32 + buffer;
        came.map(|came| played.millis_from(came)).filter(|wait| *wait >= 0.0)
    });
    outcome(waits.collect(), firsts.iter().flatten().count())
}

/// The smallest fixed buffer that loses no more to lateness than `late`.
fn smallest_fixed(count: u32, arrived: &[Arrival<Vec<u8>>], late: f64) -> (Duration, Outcome) {
    let took =
        |(n, came): (usize, Option<Moment>)| came.map(|came| came.since(Moment::ZERO + PTIME * n as u32));
    let mut took: Vec<Duration> = firsts(count, arrived).into_iter().enumerate().filter_map(took).collect();
    took.sort_unstable();
    let in_time = (took.len() as f64 * (1.0 - late)).ceil() as usize;
    let length = took[in_time.clamp(1, took.len()) - 1];
    (length, fixed(count, arrived, length))
}

fn jitter(up_to: u64, keep_order: bool) -> Option<Jitter> {
    Some(Jitter { shape: Shape::Uniform { up_to: ms(up_to) }, keep_order })
}

fn reordering(share: f64) -> Option<Reordering> {
    Some(Reordering { share, at_least: ms(20), at_most: ms(60) })
}

#[test]
fn a_clean_path_costs_nothing_and_a_bad_one_a_quarter_of_a_fixed_buffer() {
    let bad = Impairment {
        jitter: jitter(60, true),
        reordering: reordering(0.01),
        loss: Loss::Random { share: 0.02 },
        ..Impairment::default()
    };
    let bell = Shape::Normal { mean: ms(60), deviation: ms(20) };
    let networks = [
        ("clean", Impairment::default()),
        ("loss 5 %", Impairment { loss: Loss::Random { share: 0.05 }, ..Impairment::default() }),
        ("jitter 60 ms", Impairment { jitter: jitter(60, true), ..Impairment::default() }),
        ("jitter 60 ms, reordering 1 %, loss 2 %", bad),
        ("the same, jitter reorders as well", Impairment { jitter: jitter(60, false), ..bad }),
        ("the same, jitter a bell of 20 ms", {
            Impairment { jitter: Some(Jitter { shape: bell, keep_order: false }), ..bad }
        }),
        ("the same, spikes of 200 ms", {
            Impairment { spikes: Some(Spikes { every: Duration::from_secs(5), height: ms(200) }), ..bad }
        }),
    ];
    println!("{:<38} | receive stream       | fixed buffer, no more late | fixed buffer, 0.5 % late", "");
    println!(
        "{:<38} | late    mean     p99 | length  mean        ratio  | length  mean      ratio",
        "ten minutes"
    );
    for (name, impairment) in networks {
        let (count, arrived) = call(impairment, 42);
        let (ours, stats) = ours(count, &arrived);
        let (length, fixed) = smallest_fixed(count, &arrived, ours.late);
        let (lax_length, lax) = smallest_fixed(count, &arrived, 0.005);
        let [ratio, lax_ratio] = [fixed, lax].map(|other| {
            if other.mean_ms > 0.0 { format!("{:.3}", ours.mean_ms / other.mean_ms) } else { "-".to_owned() }
        });
        println!(
            "{name:<38} | {:.3} % {:5.2} ms {:4.1} | {:>4} ms {:6.2} ms {ratio:>9}   | {:>4} ms {:6.2} ms {lax_ratio:>7}",
            ours.late * 100.0,
            ours.mean_ms,
            ours.p99_ms,
            length.as_millis(),
            fixed.mean_ms,
            lax_length.as_millis(),
            lax.mean_ms,
        );
        assert_eq!(stats.received, arrived.len() as u64, "{name}");
        if impairment.reordering.is_none() {
            assert_eq!((ours.late, ours.mean_ms, ours.p99_ms), (0.0, 0.0, 0.0), "{name}");
        } else {
            assert!(ours.late <= 0.005, "{name}: {ours:?}");
            for other in [fixed, lax] {
                assert!(other.late <= ours.late.max(0.005), "{name}: {other:?}");
                assert!(ours.mean_ms <= other.mean_ms / 4.0, "{name}: {ours:?} against {other:?}");
            }
        }
    }
}

/// A far end that does all that far ends do, from a seed.
struct FarEnd {
    dice: fastrand::Rng,
    carriage: Carriage,
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    /// Counts sources, and starts of a sequence within them.
    epoch: u32,
    /// Units since the epoch began.
    position: u32,
}

/// What every payload of audio carries from its third byte on.
const MARK: usize = 10;

impl FarEnd {
    fn new(carriage: Carriage, seed: u64) -> Self {
        let mut far_end = Self {
            dice: fastrand::Rng::with_seed(seed),
            carriage,
            ssrc: 0,
            seq: 0,
            timestamp: 0,
            epoch: 0,
            position: 0,
        };
        far_end.start_anew(true);
        far_end
    }

    fn start_anew(&mut self, source: bool) {
        if source {
            self.ssrc = self.dice.u32(..);
        }
        self.seq = self.dice.u16(..);
        self.timestamp = self.dice.u32(..);
        self.epoch += 1;
        self.position = 0;
    }

    fn packet(&mut self, kind: u8, units: u32, payload: &[u8]) -> Vec<u8> {
        let datagram = datagram(kind, self.ssrc, self.seq, self.timestamp, payload);
        self.seq = self.seq.wrapping_add(1);
        self.pass(units);
        datagram
    }

    fn pass(&mut self, units: u32) {
        self.timestamp = self.timestamp.wrapping_add(units);
        self.position += units;
    }

    fn audio(&mut self, ptime: u32) -> Vec<u8> {
        let units = self.carriage.clock_hz / 1_000 * ptime;
        let mark = [self.epoch.to_be_bytes(), self.position.to_be_bytes()].concat();
        let (head, bytes) = match self.carriage.length {
            Length::Bytes(per_unit) => ([0, 0], units as usize * usize::from(per_unit)),
            // Code 3: so many frames of 10 ms of hybrid speech.
            Length::Opus => ([12 << 3 | 3, (ptime / 10) as u8], 40 + self.dice.usize(..40)),
        };
        let mut payload = [&head[..], &mark].concat();
        payload.resize(bytes.max(MARK), self.dice.u8(..));
        self.packet(self.carriage.payload_type.number(), units, &payload)
    }

    /// `minutes` of it: when, how large, what.
    fn speak(mut self, minutes: u64) -> Vec<(Moment, usize, Vec<u8>)> {
        let mut packets = Vec::new();
        let (mut now, mut ptime) = (Moment::ZERO, 20);
        let end = Moment::ZERO + Duration::from_secs(minutes * 60);
        let per_ms = self.carriage.clock_hz / 1_000;
        while now < end {
            let mut send = |now: Moment, packet: Vec<u8>| packets.push((now, packet.len() + 28, packet));
            match self.dice.u32(..10_000) {
                // Silence, told as comfort noise every 200 ms.
                0..20 => {
                    for _ in 0..self.dice.u32(1..15) {
                        let noise = [self.dice.u8(40..80), 1, 2];
                        send(now, self.packet(13, 0, &noise));
                        self.pass(200 * per_ms);
                        now = now + ms(200);
                    }
                }
                // A key: its packets carry the time of its beginning.
                20..50 => {
                    let (event, steps) = (self.dice.u8(..16), self.dice.u32(2..12));
                    for step in 1..=steps + 2 {
                        let end = if step >= steps { 0x80 } else { 0 };
                        let [_, _, high, low] = (step.min(steps) * 20 * per_ms).to_be_bytes();
                        send(now, self.packet(101, 0, &[event, end | 10, high, low]));
                        now = now + if step < steps { PTIME } else { Duration::ZERO };
                    }
                    self.pass(steps * 20 * per_ms);
                }
                50..70 => ptime = [10, 20, 30, 40, 60][self.dice.usize(..5)],
                70..72 => self.start_anew(true),
                72..74 => self.start_anew(false),
                // What is no packet of this call, or none at all.
                74..90 => {
                    let mut odd: Vec<u8> = (0..self.dice.usize(..60)).map(|_| self.dice.u8(..)).collect();
                    if let Some(first) = odd.first_mut().filter(|_| self.dice.bool()) {
                        *first = 0x40;
                    }
                    send(now, odd);
                }
                _ => {
                    let mut packet = self.audio(ptime);
                    if self.dice.u8(..) == 0 {
                        packet = dressed_up(&packet);
                    }
                    send(now, packet);
                    now = now + ms(ptime.into());
                }
            }
        }
        packets
    }
}

/// The same packet with two contributing sources, an extension and padding.
fn dressed_up(packet: &[u8]) -> Vec<u8> {
    let (head, payload) = packet.split_at(12);
    let mut dressed = head.to_vec();
    dressed[0] |= 0x32;
    dressed.extend([1; 8]);
    dressed.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    dressed.extend(payload);
    dressed.extend([0, 0, 0, 4]);
    dressed
}

/// Everything that can be wrong, at once.
fn everything() -> Impairment {
    Impairment {
        delay: ms(40),
        loss: Loss::bursts(0.03, 2.5),
        jitter: Some(Jitter { shape: Shape::Exponential { mean: ms(15) }, keep_order: false }),
        spikes: Some(Spikes { every: Duration::from_secs(20), height: ms(200) }),
        reordering: Some(Reordering { share: 0.01, at_least: ms(20), at_most: ms(150) }),
        duplication: Some(Duplication { share: 0.01, after: ms(30) }),
        rate: Some(RateLimit { bits_per_second: 500_000, queue: ms(250) }),
        blackouts: Some(Blackouts {
            first: Duration::from_secs(30),
            every: Some(Duration::from_secs(60)),
            length: ms(1_000),
            held: true,
        }),
        drift_ppm: 200.0,
    }
}

/// What came out of a soak.
struct Soak {
    digest: u64,
    stats: StreamStats,
    heard: u64,
    pieces: u64,
}

/// Plays half an hour into a stream and checks everything that comes out.
fn soak(carriage: Carriage, seed: u64) -> Soak {
    let sent = FarEnd::new(carriage, seed).speak(30);
    let epochs = sent.len();
    let (arrived, network) = pass(everything(), seed, sent);
    assert!(network.lost > 1_000 && network.reordered > 300 && network.duplicated > 300, "{network:?}");
    let mut stream = ReceiveStream::carrying(&[carriage], PayloadType::EVENTS);
    let memory = stream.memory();
    let mut ear = Ear { carriage, epoch: 0, position: 0, digest: 0xcbf2_9ce4_8422_2325, heard: 0, pieces: 0 };
    let mut look = Moment::ZERO;
    for Arrival { at, packet, .. } in &arrived {
        while look < *at {
            stream.poll(look, &mut |piece| ear.piece(piece));
            look = look + LOOK;
            let due = stream.due(look);
            assert!(
                due.is_none_or(|due| due <= look + ReceiveStream::MAX_WAIT),
                "nothing is waited for longer"
            );
        }
        stream.receive(*at, packet, &mut |piece| ear.piece(piece));
    }
    assert_eq!(stream.memory(), memory, "a stream does not grow");
    assert!(ear.pieces < epochs as u64 * 3, "{} pieces of {epochs} packets", ear.pieces);
    Soak { digest: ear.digest, stats: stream.stats(), heard: ear.heard, pieces: ear.pieces }
}

/// Listens to what comes out and knows what was sent.
struct Ear {
    carriage: Carriage,
    epoch: u32,
    /// Where the caller's time stands, counted in pieces.
    position: u32,
    digest: u64,
    heard: u64,
    pieces: u64,
}

impl Ear {
    fn piece(&mut self, piece: Piece<'_>) {
        self.pieces += 1;
        let bytes: &[u8] = match piece {
            Piece::Audio { payload, .. } => {
                let number =
                    |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
                let (epoch, position) = (number(2), number(6));
                assert!(epoch >= self.epoch, "what is over is not heard again");
                if epoch > self.epoch {
                    self.epoch = epoch;
                } else {
                    assert_eq!(position, self.position, "the time line is whole");
                }
                self.position = position + self.carriage.units(payload);
                self.heard += 1;
                payload
            }
            Piece::Lost { samples } | Piece::Silence { samples } => {
                assert!(samples > 0 && samples < self.carriage.clock_hz * 20, "{piece:?}");
                self.position += samples;
                &samples.to_be_bytes()
            }
            Piece::Noise { spectrum, .. } => spectrum,
            Piece::Event { payload, .. } => payload,
        };
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.digest = bytes.iter().fold(self.digest, fnv);
    }
}

#[test]
fn half_an_hour_of_everything_at_once_keeps_the_time_line_whole_and_is_the_same_twice() {
    let kinds = [Carriage::PCMU, Carriage::SLIN16, Carriage::OPUS];
    let other = soak(Carriage::PCMU, 9).digest;
    for (seed, carriage) in (1..).zip(kinds) {
        let once = soak(carriage, seed);
        let Soak { digest, stats, heard, pieces } = &once;
        println!("{carriage:?}: {heard} packets heard, {pieces} pieces, {stats:?}");
        assert_ne!(*digest, other, "another seed is another network");
        assert!(*heard > 40_000, "{heard}");
        assert!(stats.ssrc_changes >= 3 && stats.restarts >= 3 && stats.noise > 500, "{stats:?}");
        assert!(stats.reordered > 500 && stats.duplicate > 300 && stats.malformed > 50, "{stats:?}");
        let again = soak(carriage, seed);
        assert_eq!((*digest, *stats), (again.digest, again.stats));
    }
}
