//! What we receive: one call's packets put in order.
//!
//! A jitter buffer exists to play audio out evenly; nobody hears this side, so this is none. A packet that is next goes on
//! at once, however early or late it is: on a clean path this adds no delay at all. Only a missing packet is waited for,
//! and only where this call has shown that missing packets come after all: `patience` weighs what waiting costs
//! against what it saves, between nothing and [`ReceiveStream::MAX_WAIT`].
//!
//! # After a blackout
//!
//! When the network is away for a while, what was sent meanwhile is lost or comes all at once. What is lost is told as
//! [`Piece::Lost`] when the next packet comes, without a wait. What comes at once goes on at once: hearing is faster than
//! speech, so the bot has caught up as soon as the backlog is through, and no latency stays. Each packet tells its
//! [`age`](Piece::Audio::age), so that a turn is timed by when the caller spoke. What is older than
//! [`ReceiveStream::STALE`] is no longer news: of a backlog that long only the end is heard, and the rest is told as lost.
//! A packet that comes after it was given up is never heard.
//!
//! # Parts
//!
//! - this file: [`ReceiveStream`], the order of packets and what the gaps between them mean;
//! - `source`: the packet awaited, and what the gaps between timestamps mean;
//! - `held`: packets that wait for one that is missing;
//! - `patience`: how long that is worth;
//! - `timing`: jitter, age, and timestamps that leap;
//! - `stats`: the numbers.

use std::time::Duration;

use super::carriage::Carriage;
use super::packet::{Header, Packet};
use super::{PayloadType, Seq, Ssrc, Timestamp};
use crate::prefetch::prefetch;
use crate::time::Moment;
use held::{HeldPackets, Refused};
use patience::Patience;
use source::Source;
use timing::{Timeline, Timing};

pub use stats::StreamStats;

mod held;
mod patience;
mod source;
mod stats;
#[cfg(test)]
mod tests;
mod timing;

/// What comes out, in the order of the caller's time. Lengths are in units of the timestamp's clock: samples, but for
/// G.722 (8,000 a second) and Opus (48,000).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// The next packet of audio.
    Audio {
        /// One of those that the stream was made for.
        payload_type: PayloadType,
        /// As it came.
        payload: &'a [u8],
        /// How much longer it was on its way than the quickest packets of the last seconds: some milliseconds of
        /// jitter, or what it waited in a backlog. The caller spoke that much before now.
        age: Duration,
    },
    /// Comfort noise (RFC 3389): the far end sends no audio until further notice, and this is how it sounds.
    Noise {
        /// Its level: so many dB below the loudest.
        level: u8,
        /// Reflection coefficients of its spectrum, perhaps none.
        spectrum: &'a [u8],
    },
    /// The next packet of a telephone event.
    Event {
        /// The RTP marker.
        marker: bool,
        /// Names the event: all its packets carry the moment of its beginning.
        timestamp: Timestamp,
        /// Four bytes or more, unchecked.
        payload: &'a [u8],
    },
    /// Packets were lost here.
    Lost {
        /// How much audio was in them, by the timestamps around the hole.
        samples: u32,
    },
    /// Nothing was lost, yet the timestamp jumped: the far end sent no audio for this long (a key was pressed, the
    /// call was on hold, there was nothing to say).
    Silence {
        /// How long.
        samples: u32,
    },
}

/// A hole in the sequence and the report of a key belong together when they are no further apart.
const KEY_SLACK: Duration = Duration::from_millis(400);

/// Puts one call's packets in order. Allocates when it is made, never after; reads no clock.
pub struct ReceiveStream {
    audio: [Option<Carriage>; KINDS],
    events: PayloadType,
    /// The largest payload taken.
    largest: usize,
    source: Option<Source>,
    /// The streams before this one, latest first: what each would have sent next, and when it was left, for their
    /// stragglers.
    left: [Option<(Ssrc, Seq, Moment)>; LEFT],
    /// The first packet of what may be another stream, the length of its payload, and when it came.
    newcomer: Option<(Header, usize, Moment)>,
    newcomer_payload: Box<[u8]>,
    held: HeldPackets,
    patience: Patience,
    timeline: Timeline,
    given_up: [Option<(Seq, Moment)>; GIVEN_UP],
    next_given_up: usize,
    stats: StreamStats,
    /// The last hole: when it was noticed and how many packets it had.
    hole: Option<(Moment, u64)>,
    /// When a key was reported whose hole has not been seen yet.
    key_at: Option<Moment>,
}

/// Kinds of audio that one stream may carry.
const KINDS: usize = 6;

/// Packets given up that are remembered, to learn by how much they were late.
const GIVEN_UP: usize = 32;

/// Packets ahead of the awaited one that can be held.
const AHEAD: i16 = held::SLOTS.cast_signed() - 1;

/// Jumps ahead up to this many packets are loss, larger ones a restart (RFC 3550, appendix A.1).
const MAX_DROPOUT: i16 = 3_000;

/// Packets up to this far back are late or double, those before them part of another sequence unless their timestamps
/// say otherwise.
const MAX_MISORDER: i16 = 64;

/// Even by their timestamps, packets are not taken for late that are further back.
const MAX_OLD: i16 = 1_000;

/// By their timestamps, packets up to this old are late.
const OLD: Duration = Duration::from_secs(60);

/// Streams that were left and are remembered.
const LEFT: usize = 3;

/// For this long stragglers of the source before this one are taken for just that.
const STRAGGLE: Duration = Duration::from_secs(1);

/// A packet that comes so soon after one that is out of place proves that it was no accident.
const NEAR: i16 = 3;

/// Held packets have room for this much audio and one packet more.
const ROOM: Duration = Duration::from_millis(200);

impl ReceiveStream {
    /// No packet is ever waited for longer than this.
    pub const MAX_WAIT: Duration = Patience::MOST;

    /// Audio of a backlog that is older than this when it comes is not heard.
    pub const STALE: Duration = Timeline::STALE;

    /// A stream of G.711 in either law that expects telephone events with payload type `events`.
    #[must_use]
    pub fn new(events: PayloadType) -> Self {
        Self::carrying(&[Carriage::PCMU, Carriage::PCMA], events)
    }

    /// A stream of the given kinds of audio, of which the first six count, and of telephone events with payload type
    /// `events`. Comfort noise is always understood. Far ends do not always send what was agreed (Asterisk 16 sends
    /// µ-law where it was asked for `slin`), so name all that can be decoded. Memory is taken once, as much as the
    /// largest of them needs: with all of the stream 5 KiB for G.711, 13 KiB for `slin16`.
    #[must_use]
    pub fn carrying(audio: &[Carriage], events: PayloadType) -> Self {
        let largest = audio.iter().take(KINDS).map(|it| usize::from(it.largest)).max().unwrap_or(0);
        let per_second = audio.iter().take(KINDS).map(|it| it.bytes_per_second).max().unwrap_or(0);
        let room = per_second as usize * ROOM.as_millis() as usize / 1_000 + largest;
        Self {
            audio: std::array::from_fn(|kind| audio.get(kind).copied()),
            events,
            largest,
            source: None,
            left: [None; LEFT],
            newcomer: None,
            newcomer_payload: vec![0; largest].into(),
            held: HeldPackets::new(room),
            patience: Patience::new(),
            timeline: Timeline::new(),
            given_up: [None; GIVEN_UP],
            next_given_up: 0,
            stats: StreamStats::default(),
            hole: None,
            key_at: None,
        }
    }

    /// Takes a datagram that arrived at `now`; calls `out` with what is in order, at once.
    pub fn receive(&mut self, now: Moment, datagram: &[u8], out: &mut dyn FnMut(Piece<'_>)) {
        let packet = match Packet::parse(datagram) {
            Ok(packet) if packet.payload.len() <= self.largest => packet,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        self.stats.received += 1;
        match &self.source {
            None => self.begin(now, &packet.header),
            Some(source) if source.ssrc != packet.header.ssrc => {
                self.newcomer(now, &packet, out);
                return;
            }
            Some(_) => {}
        }
        self.take(now, &packet, out);
    }

    /// Gives up what has been waited for long enough. To be called at [`due`](Self::due), or whenever convenient.
    pub fn poll(&mut self, now: Moment, out: &mut dyn FnMut(Piece<'_>)) {
        while self.due(now).is_some_and(|due| due <= now) {
            self.release_first_held(out);
        }
    }

    /// The caller pressed a key, as Asterisk reports by another way than the stream: a hole around `now` is where his
    /// telephone events were, and nothing was lost. (Measured on Asterisk 22: sequence and timestamp both jump, exactly as
    /// if the packets had been lost; the report comes within some milliseconds of the hole's end.)
    pub fn key_reported(&mut self, now: Moment) {
        match self.hole.take_if(|(noticed, _)| now.since(*noticed) <= KEY_SLACK) {
            Some((_, count)) => {
                self.stats.lost = self.stats.lost.saturating_sub(count);
                self.stats.keys += count;
            }
            None => self.key_at = Some(now),
        }
    }

    /// Asks for the memory that the next packet needs if it is the one awaited.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.audio);
        prefetch(&self.source);
        prefetch(&self.timeline);
        prefetch(&self.patience);
        prefetch(&self.stats);
        prefetch(&self.hole);
        self.held.prefetch();
    }

    /// When the packet that is waited for will be given up; [`None`] when none is.
    #[must_use]
    pub fn due(&self, now: Moment) -> Option<Moment> {
        Some(self.held.oldest()? + self.wait_at(now))
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        StreamStats { jitter: self.timeline.jitter(), ..self.stats }
    }

    /// How long a missing packet is waited for at the moment.
    #[must_use]
    pub fn wait_at(&self, now: Moment) -> Duration {
        self.patience.wait(now)
    }

    /// Bytes that a stream takes, with all that it keeps.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.held.bytes() + self.largest
    }

    fn carriage(&self, payload_type: PayloadType) -> Option<Carriage> {
        self.audio.iter().flatten().find(|it| it.payload_type == payload_type).copied()
    }

    /// A packet of the current source.
    fn take(&mut self, now: Moment, packet: &Packet<'_>, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(next) = self.source.as_ref().map(|source| source.next) else { return };
        match packet.header.seq.after(next) {
            0 => {
                let timing = self.measure(now, packet);
                self.note_reordering(now, packet.header.seq);
                self.release(now, packet.header, packet.payload, timing, out);
                self.release_successors(out);
            }
            1..=AHEAD => {
                if self.held.has(packet.header.seq) {
                    self.stats.duplicate += 1;
                    return;
                }
                let timing = self.measure(now, packet);
                self.note_reordering(now, packet.header.seq);
                self.hold(now, packet, timing, out);
                self.poll(now, out);
            }
            ahead if ahead > 0 && ahead <= MAX_DROPOUT && !self.is_elsewhere(packet, ahead) => {
                let timing = self.measure(now, packet);
                self.release_all(out);
                self.give_up(packet.header.seq, now);
                self.release(now, packet.header, packet.payload, timing, out);
            }
            back if back < 0 && (back >= -MAX_MISORDER || self.is_old(packet, back)) => {
                self.note_late(now, packet.header.seq, back);
            }
            _ => self.newcomer(now, packet, out),
        }
    }

    fn begin(&mut self, now: Moment, header: &Header) {
        self.given_up = [None; GIVEN_UP];
        self.timeline.restart();
        self.source = Some(Source {
            ssrc: header.ssrc,
            next: header.seq,
            seen: 0,
            audio_end: None,
            audio_at: now,
            packet_units: 0,
            ptime: Duration::from_millis(20),
            missing: 0,
        });
    }

    fn measure(&mut self, now: Moment, packet: &Packet<'_>) -> Timing {
        let Some(carriage) = self.carriage(packet.header.payload_type) else { return Timing::default() };
        let length = carriage.duration(carriage.units(packet.payload).into());
        self.timeline.arrived(now, packet.header.timestamp, carriage.clock_hz, length)
    }

    fn hold(&mut self, now: Moment, packet: &Packet<'_>, timing: Timing, out: &mut dyn FnMut(Piece<'_>)) {
        let seq = packet.header.seq;
        // Each round lets at least one packet go, and there is room for any packet once all have gone.
        while matches!(self.held.hold(now, packet, timing), Err(Refused::NoRoom)) {
            if !self.release_first_held(out) {
                return;
            }
            match self.source.as_ref().map_or(0, |source| seq.after(source.next)) {
                1.. => {}
                0 => {
                    self.release(now, packet.header, packet.payload, timing, out);
                    self.release_successors(out);
                    return;
                }
                // It was among those that had to be given up.
                back => return self.note_late(now, seq, back),
            }
        }
    }

    /// A packet came that was awaited; when successors of it are held, it was overtaken.
    fn note_reordering(&mut self, now: Moment, seq: Seq) {
        if let Some(first) = self.held.overtaken_at(seq) {
            self.stats.reordered += 1;
            self.patience.filled(now, now.since(first), false, self.ptime());
        }
    }

    /// A packet from before the awaited one: its time has passed, or it came already.
    fn note_late(&mut self, now: Moment, seq: Seq, back: i16) {
        let Some(source) = &mut self.source else { return };
        // What is further back than can be remembered is late in any case.
        let bit = 1_u64.checked_shl(u32::from(back.unsigned_abs()) - 1).unwrap_or(0);
        if source.seen & bit != 0 {
            self.stats.duplicate += 1;
            return;
        }
        source.seen |= bit;
        self.stats.late += 1;
        let missed = self.given_up.iter_mut().find(|it| it.is_some_and(|(lost, _)| lost == seq));
        if let Some((_, noticed)) = missed.and_then(Option::take) {
            self.patience.filled(now, now.since(noticed), true, self.ptime());
        }
    }

    fn ptime(&self) -> Duration {
        self.source.as_ref().map_or(Duration::from_millis(20), |source| source.ptime)
    }

    /// Far ahead in number, and further in time than numbers alone could bring it: the start of another sequence
    /// rather than the end of a hole.
    fn is_elsewhere(&self, packet: &Packet<'_>, ahead: i16) -> bool {
        let Some(Source { audio_end: Some((end, clock_hz)), packet_units, .. }) = self.source else {
            return false;
        };
        let forward = i64::from(packet.header.timestamp.after(end));
        let most = i64::from(ahead) * i64::from(packet_units.max(1));
        let slack = OLD.as_secs().cast_signed() * i64::from(clock_hz);
        self.carriage(packet.header.payload_type).is_some() && !(0..=most + slack).contains(&forward)
    }

    /// Far behind, but with a timestamp of that time: an old packet and no new sequence.
    fn is_old(&self, packet: &Packet<'_>, back: i16) -> bool {
        let Some(Source { audio_end: Some((end, clock_hz)), .. }) = self.source else { return false };
        let behind = -i64::from(packet.header.timestamp.after(end));
        // The shortest packets in use have 2.5 ms. Where nothing is sent timestamps go faster than numbers, never slower.
        let least = i64::from(back.unsigned_abs()) * i64::from(clock_hz) / 400;
        back >= -MAX_OLD && (least..OLD.as_secs().cast_signed() * i64::from(clock_hz)).contains(&behind)
    }

    /// A packet that belongs to another stream than the one at hand: of another source, or far away in the sequence. It is
    /// kept, and when a successor of it comes it was no accident: both are heard then, and those that follow.
    fn newcomer(&mut self, now: Moment, packet: &Packet<'_>, out: &mut dyn FnMut(Piece<'_>)) {
        let header = packet.header;
        if self.is_straggler(now, &header) {
            self.stats.late += 1;
            return;
        }
        let first = self.newcomer.take();
        let proven = first.filter(|(first, _, at)| {
            first.ssrc == header.ssrc
                && (1..=NEAR).contains(&header.seq.after(first.seq))
                && now.since(*at) < STRAGGLE
        });
        let Some((first, len, at)) = proven else {
            self.stats.strays += u64::from(first.is_some());
            self.newcomer = Some((header, packet.payload.len(), now));
            self.newcomer_payload[..packet.payload.len()].copy_from_slice(packet.payload);
            return;
        };
        self.release_all(out);
        if let Some(source) = &self.source {
            self.left.rotate_right(1);
            self.left[0] = Some((source.ssrc, source.next, now));
            let same = source.ssrc == header.ssrc;
            *(if same { &mut self.stats.restarts } else { &mut self.stats.ssrc_changes }) += 1;
        }
        self.begin(at, &first);
        let payload = std::mem::take(&mut self.newcomer_payload);
        self.take(at, &Packet { header: first, payload: &payload[..len] }, out);
        self.newcomer_payload = payload;
        self.take(now, packet, out);
    }

    /// A packet of a stream before this one.
    fn is_straggler(&self, now: Moment, header: &Header) -> bool {
        self.left.iter().flatten().any(|(ssrc, next, at)| {
            let restarted = self.source.as_ref().is_some_and(|source| source.ssrc == *ssrc);
            *ssrc == header.ssrc
                && now.since(*at) < STRAGGLE
                && (!restarted || (-MAX_OLD..=MAX_OLD).contains(&header.seq.after(*next)))
        })
    }

    fn release_all(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while self.release_first_held(out) {}
    }

    /// Gives up what is missing before the first held packet and lets it and its successors go.
    fn release_first_held(&mut self, out: &mut dyn FnMut(Piece<'_>)) -> bool {
        let Some(next) = self.source.as_ref().map(|source| source.next) else { return false };
        let Some(first) = self.held.first(next) else { return false };
        let noticed = self.held.oldest().unwrap_or_default();
        self.give_up(first, noticed);
        self.release_successors(out);
        true
    }

    /// Remembers the packets from the awaited one up to `until` as given up; they are counted when `until` goes.
    fn give_up(&mut self, until: Seq, noticed: Moment) {
        let ptime = self.ptime();
        let Some(source) = &mut self.source else { return };
        let missing = until.after(source.next).max(0).unsigned_abs();
        if missing == 0 {
            return;
        }
        for back in (1..=missing.min(GIVEN_UP as u16)).rev() {
            self.given_up[self.next_given_up] = Some((Seq(until.0.wrapping_sub(back)), noticed));
            self.next_given_up = (self.next_given_up + 1) % GIVEN_UP;
        }
        let count = u64::from(missing);
        if self.key_at.take_if(|at| noticed.since(*at) <= KEY_SLACK).is_some() {
            self.stats.keys += count;
        } else {
            self.stats.lost += count;
            self.hole = Some((noticed, count));
        }
        source.seen = source.seen.checked_shl(u32::from(missing)).unwrap_or(0);
        source.next = until;
        source.missing = source.missing.saturating_add(u32::from(missing));
        self.patience.given_up(noticed, ptime);
    }

    fn release_successors(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while !self.held.is_empty()
            && let Some(next) = self.source.as_ref().map(|source| source.next)
            && let Some(held) = self.held.take(next)
        {
            let arena = self.held.lend();
            self.release(held.arrived, held.header, held.payload(&arena), held.timing, out);
            self.held.give_back(arena);
        }
    }

    /// Lets the awaited packet go, after what its timestamp tells about the time before it.
    fn release(
        &mut self,
        arrived: Moment,
        header: Header,
        payload: &[u8],
        timing: Timing,
        out: &mut dyn FnMut(Piece<'_>),
    ) {
        let carriage = self.carriage(header.payload_type);
        let Some(source) = &mut self.source else { return };
        source.next = header.seq.plus(1);
        source.seen = source.seen << 1 | 1;
        let in_vain = self.newcomer.take_if(|(first, ..)| first.ssrc == source.ssrc);
        self.stats.strays += u64::from(in_vain.is_some());
        if header.payload_type == self.events {
            out(Piece::Event { marker: header.marker, timestamp: header.timestamp, payload });
            return;
        }
        if header.payload_type == PayloadType::COMFORT_NOISE {
            self.stats.noise += 1;
            if let Some((level, spectrum)) = payload.split_first() {
                self.stats.leaps += u64::from(source.tell_gap(arrived, header.timestamp, 0, out));
                out(Piece::Noise { level: level & 0x7f, spectrum });
            }
            return;
        }
        let Some(carriage) = carriage else {
            self.stats.other_payload += 1;
            return;
        };
        if timing.stale {
            self.stats.stale += 1;
            source.missing = source.missing.saturating_add(1);
            return;
        }
        let units = carriage.units(payload);
        if source.audio_end.is_some_and(|(_, clock_hz)| clock_hz != carriage.clock_hz) {
            // Another clock counts from somewhere else.
            source.audio_end = None;
        }
        self.stats.leaps += u64::from(source.tell_gap(arrived, header.timestamp, units, out));
        source.packet_units = units;
        source.ptime = carriage.duration(units.into());
        source.audio_end = Some((header.timestamp.plus(units), carriage.clock_hz));
        source.audio_at = arrived;
        out(Piece::Audio { payload_type: header.payload_type, payload, age: timing.age });
    }
}
