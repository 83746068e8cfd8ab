//! Which RTP streams a capture holds, without being told.
//!
//! Nothing in a UDP datagram says that it is RTP. What looks like it is followed, one candidate for each pair of addresses
//! and synchronisation source, and is a stream when its numbers go on as those of a stream do: sequence numbers near
//! one another, timestamps that go forward with them. Telephone events and comfort noise belong to the stream whose
//! source they share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Capture, CaptureError, Datagram, Skipped};
use crate::rtp::packet::Packet;
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};

#[cfg(test)]
mod tests;

/// What was found in a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Survey {
    /// The RTP streams, in the order of their first packets.
    pub streams: Vec<StreamSummary>,
    /// UDP datagrams of the file, RTP or not.
    pub datagrams: u64,
    /// From the first packet to the last datagram.
    pub length: Duration,
    /// What was passed over.
    pub skipped: Skipped,
}

/// One RTP stream of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamSummary {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its synchronisation source.
    pub ssrc: Ssrc,
    /// The payload types seen and how often, most frequent first; at most [`StreamSummary::PAYLOAD_TYPES`].
    pub payload_types: Vec<(PayloadType, u64)>,
    /// Packets in the file, duplicates too.
    pub packets: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Its first packet, since the first packet of the file.
    pub first: Duration,
    /// Its last packet.
    pub last: Duration,
    /// The first sequence number.
    pub first_seq: Seq,
    /// Sequence numbers between the first and the last that never came.
    pub lost: u64,
    /// Packets that came after a successor.
    pub reordered: u64,
    /// Packets that came before.
    pub duplicate: u64,
    /// The clock of its timestamps, from the payload type where that says it, else by how fast they go: the nearest
    /// rate that is in use. [`None`] when the stream is too short to tell.
    pub clock_hz: Option<u32>,
    /// How much most of its packets hold.
    pub ptime: Option<Duration>,
    /// By how many millionths its timestamps go slower than the clock of the machine that captured; from streams of
    /// [`StreamSummary::DRIFT_AFTER`] and more, and as good as jitter lets it be.
    pub drift_ppm: Option<f64>,
}

impl StreamSummary {
    /// Payload types that are told apart.
    pub const PAYLOAD_TYPES: usize = 8;

    /// From this length on drift is estimated.
    pub const DRIFT_AFTER: Duration = Duration::from_secs(10);

    /// What most of its packets carry.
    #[must_use]
    pub fn payload_type(&self) -> Option<PayloadType> {
        self.payload_types.first().map(|(payload_type, _)| *payload_type)
    }

    /// The datagram is one of its packets.
    #[must_use]
    pub fn has(&self, datagram: &Datagram) -> bool {
        (datagram.from, datagram.to) == (self.from, self.to)
            && Packet::parse(&datagram.payload).is_ok_and(|packet| packet.header.ssrc == self.ssrc)
    }

    /// The other direction of the same call.
    #[must_use]
    pub fn is_answered_by(&self, other: &Self) -> bool {
        (self.from, self.to) == (other.to, other.from)
    }
}

/// The RTP streams of a file.
///
/// # Errors
/// When it cannot be opened, or is damaged before the first stream.
pub fn streams(path: impl AsRef<Path>) -> Result<Vec<StreamSummary>, CaptureError> {
    Ok(survey(path)?.streams)
}

/// Reads a whole file and tells what is in it. Memory is bounded, however large the file.
///
/// # Errors
/// When it cannot be opened. A file that is damaged later on gives what came before.
pub fn survey(path: impl AsRef<Path>) -> Result<Survey, CaptureError> {
    let mut capture = Capture::open(path)?;
    let mut finder = Finder::default();
    for datagram in &mut capture {
        match datagram {
            Ok(datagram) => finder.datagram(&datagram),
            Err(error) if finder.datagrams == 0 => return Err(error),
            Err(_) => break,
        }
    }
    let mut survey = finder.finish();
    survey.skipped = capture.skipped();
    Ok(survey)
}

/// Finds streams in datagrams that are shown to it one after another.
#[derive(Default)]
pub struct Finder {
    candidates: HashMap<(SocketAddr, SocketAddr, Ssrc), Candidate>,
    datagrams: u64,
    last: Duration,
    /// When candidates were last forgotten.
    swept: Duration,
}

/// Candidates followed at once. Where there are more, those that do not look like streams are forgotten.
const CANDIDATES: usize = 8_192;

/// How often they are looked through then, in the time of the capture, and how long one may be quiet.
const SWEEP: Duration = Duration::from_secs(2);

/// Fewer packets are no stream.
const LEAST_PACKETS: u64 = 5;

/// Rates that RTP audio has.
const CLOCKS: [u32; 7] = [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000];

impl Finder {
    /// Looks at the next datagram.
    pub fn datagram(&mut self, datagram: &Datagram) {
        self.datagrams += 1;
        self.last = self.last.max(datagram.at);
        let Ok(packet) = Packet::parse(&datagram.payload) else { return };
        if packet.payload.is_empty() {
            return;
        }
        let key = (datagram.from, datagram.to, packet.header.ssrc);
        if let Some(candidate) = self.candidates.get_mut(&key) {
            candidate.packet(datagram.at, &packet);
            return;
        }
        if self.candidates.len() >= CANDIDATES && datagram.at.saturating_sub(self.swept) >= SWEEP {
            self.swept = datagram.at;
            let at = datagram.at;
            // What has not become a stream within seconds will not.
            self.candidates.retain(|_, it| it.is_stream() || at.saturating_sub(it.last) < SWEEP);
        }
        if self.candidates.len() < CANDIDATES {
            self.candidates.insert(key, Candidate::new(datagram.at, &packet));
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Survey {
        let found = self.candidates.into_iter().filter(|(_, candidate)| candidate.is_stream());
        let mut streams: Vec<StreamSummary> =
            found.map(|((from, to, ssrc), candidate)| candidate.summary(from, to, ssrc)).collect();
        streams.sort_by_key(|stream| (stream.first, stream.from, stream.ssrc.0));
        Survey { streams, datagrams: self.datagrams, length: self.last, skipped: Skipped::default() }
    }
}

/// What may be a stream.
struct Candidate {
    first: Duration,
    last: Duration,
    first_seq: Seq,
    /// The highest number so far, counted on past the wraps from zero for the first.
    highest: i64,
    /// Bit i: number `highest - i` came.
    seen: u128,
    packets: u64,
    payload_bytes: u64,
    distinct: u64,
    reordered: u64,
    duplicate: u64,
    /// Steps to a number near by, with a timestamp that goes the same way.
    plausible: u64,
    payload_types: Vec<(PayloadType, u64)>,
    /// The last packet in order.
    previous: (PayloadType, Timestamp),
    /// Timestamps counted on past the wraps, in order packets alone.
    elapsed: i64,
    /// How far timestamps go from a packet to its successor, and how often.
    steps: Vec<(u32, u64)>,
    slope: Slope,
}

impl Candidate {
    fn new(at: Duration, packet: &Packet<'_>) -> Self {
        let header = packet.header;
        Self {
            first: at,
            last: at,
            first_seq: header.seq,
            highest: 0,
            seen: 1,
            packets: 1,
            payload_bytes: packet.payload.len() as u64,
            distinct: 1,
            reordered: 0,
            duplicate: 0,
            plausible: 0,
            payload_types: vec![(header.payload_type, 1)],
            previous: (header.payload_type, header.timestamp),
            elapsed: 0,
            steps: Vec::new(),
            slope: Slope::default(),
        }
    }

    fn packet(&mut self, at: Duration, packet: &Packet<'_>) {
        let header = packet.header;
        self.last = self.last.max(at);
        self.packets += 1;
        self.payload_bytes += packet.payload.len() as u64;
        self.count_type(header.payload_type);
        let highest_seq = Seq(self.first_seq.0.wrapping_add((self.highest & 0xffff) as u16));
        let step = i64::from(header.seq.after(highest_seq));
        let forward = i64::from(header.timestamp.after(self.previous.1));
        match step {
            1..=1_000 => {
                self.plausible += u64::from(forward >= 0);
                self.highest += step;
                self.seen =
                    u32::try_from(step).ok().and_then(|by| self.seen.checked_shl(by)).unwrap_or(0) | 1;
                self.distinct += 1;
                self.advance(at, step, forward, packet);
            }
            -127..=0 => {
                let bit = 1_u128 << step.unsigned_abs();
                if self.seen & bit != 0 {
                    self.duplicate += 1;
                } else {
                    self.seen |= bit;
                    self.distinct += 1;
                    self.reordered += 1;
                }
                self.plausible += u64::from(forward <= 0);
            }
            _ => {
                // A restart, or no stream at all.
                self.first_seq = Seq(header.seq.0.wrapping_sub((self.highest & 0xffff) as u16));
                self.seen = 1;
                self.distinct += 1;
                self.previous = (header.payload_type, header.timestamp);
            }
        }
    }

    /// The next packet in order: what its timestamp tells.
    fn advance(&mut self, at: Duration, step: i64, forward: i64, packet: &Packet<'_>) {
        let header = packet.header;
        let same_type = self.previous.0 == header.payload_type;
        self.previous = (header.payload_type, header.timestamp);
        if !(0..1 << 24).contains(&forward) {
            return;
        }
        self.elapsed += forward;
        self.slope.add(self.elapsed as f64, at.saturating_sub(self.first).as_secs_f64());
        if step == 1 && same_type && forward > 0 {
            let units = forward.unsigned_abs() as u32;
            tally(&mut self.steps, units, 8);
        }
    }

    fn count_type(&mut self, payload_type: PayloadType) {
        tally(&mut self.payload_types, payload_type, StreamSummary::PAYLOAD_TYPES);
    }

    fn is_stream(&self) -> bool {
        self.distinct >= LEAST_PACKETS && self.plausible * 5 >= (self.packets - 1) * 4
    }

    fn summary(mut self, from: SocketAddr, to: SocketAddr, ssrc: Ssrc) -> StreamSummary {
        self.payload_types.sort_by_key(|(payload_type, count)| (u64::MAX - count, payload_type.number()));
        let clock_hz = self.clock_hz();
        let step = self.steps.iter().max_by_key(|(_, count)| *count).map(|(units, _)| *units);
        let ptime = clock_hz
            .zip(step)
            .map(|(clock, units)| Duration::from_nanos(u64::from(units) * 1_000_000_000 / u64::from(clock)));
        let long = self.last.saturating_sub(self.first) >= StreamSummary::DRIFT_AFTER;
        let drift_ppm = clock_hz
            .zip(self.slope.seconds_per_unit().filter(|_| long))
            .map(|(clock, slope)| (slope * f64::from(clock) - 1.0) * 1e6);
        let expected = self.highest.unsigned_abs() + 1;
        StreamSummary {
            from,
            to,
            ssrc,
            packets: self.packets,
            payload_bytes: self.payload_bytes,
            first: self.first,
            last: self.last,
            first_seq: self.first_seq,
            lost: expected.saturating_sub(self.distinct),
            reordered: self.reordered,
            duplicate: self.duplicate,
            payload_types: self.payload_types,
            clock_hz,
            ptime,
            drift_ppm,
        }
    }

    fn clock_hz(&self) -> Option<u32> {
        // The static types that carry voice; G.722 says 8,000 though it has 16,000 (RFC 3551, 4.5.2).
        match self.payload_types.first()?.0.number() {
            0 | 3 | 4 | 7 | 8 | 9 | 13 | 15 | 18 => return Some(8_000),
            10 | 11 => {
                // 44,100 says RFC 3551; Asterisk uses both for 8,000: let the timestamps decide.
            }
            _ => {}
        }
        let long_enough = self.last.saturating_sub(self.first) >= Duration::from_millis(200);
        let per_second = 1.0 / self.slope.seconds_per_unit().filter(|slope| long_enough && *slope > 0.0)?;
        let off = |clock: &u32| (f64::from(*clock) / per_second).ln().abs();
        CLOCKS.into_iter().min_by(|a, b| off(a).total_cmp(&off(b))).filter(|clock| off(clock) < 0.14)
    }
}

/// Counts one more of `what`, among the first `most` kinds.
fn tally<T: PartialEq>(counts: &mut Vec<(T, u64)>, what: T, most: usize) {
    if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == what) {
        *count += 1;
    } else if counts.len() < most {
        counts.push((what, 1));
    }
}

/// A straight line through arrival times over timestamps, in constant memory.
#[derive(Default)]
struct Slope {
    count: f64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    xy: f64,
}

impl Slope {
    fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let dx = x - self.mean_x;
        self.mean_x += dx / self.count;
        self.mean_y += (y - self.mean_y) / self.count;
        self.xx += dx * (x - self.mean_x);
        self.xy += dx * (y - self.mean_y);
    }

    fn seconds_per_unit(&self) -> Option<f64> {
        (self.xx > 0.0).then(|| self.xy / self.xx)
    }
}
