//! What we receive: one call's packets put in order.
//!
//! A jitter buffer exists to play audio out evenly; nobody hears this side, so this is none. A packet that is next
//! goes on at once. Only a missing packet is waited for, and only on calls that have shown that packets can come in
//! the wrong order: as long as the latest of them took, at most [`ReceiveStream::MAX_WAIT`]. On a call where nothing was ever
//! reordered a missing packet is lost the moment its successor arrives.

use std::time::Duration;

use super::packet::{Header, Packet};
use super::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::Moment;

#[cfg(test)]
mod tests;

/// What comes out, in the order of the caller's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// The next packet of audio.
    Audio {
        /// [`PayloadType::PCMU`] or [`PayloadType::PCMA`].
        payload_type: PayloadType,
        /// One byte per sample.
        payload: &'a [u8],
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
    /// call was on hold).
    Silence {
        /// How long.
        samples: u32,
    },
}

/// What happened on a stream so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct StreamStats {
    /// Well-formed packets, whatever became of them.
    pub received: u64,
    /// Packets given up. One that comes after all is counted as late too.
    pub lost: u64,
    /// Packets that were never meant for us: Asterisk keeps the caller's telephone events to itself and leaves a hole
    /// in the sequence where they were. Told from loss by [`ReceiveStream::key_reported`].
    pub keys: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that came a second time.
    pub duplicate: u64,
    /// Packets that came after a successor, yet in time.
    pub reordered: u64,
    /// Times that a new synchronisation source took over.
    pub ssrc_changes: u64,
    /// Times that the sequence numbers jumped to somewhere else and stayed there.
    pub restarts: u64,
    /// Packets far from where the sequence was, dropped.
    pub strays: u64,
    /// Packets of a payload type that we have no use for.
    pub other_payload: u64,
    /// Datagrams that were no RTP, or carried more than [`ReceiveStream::MAX_PAYLOAD`].
    pub malformed: u64,
    /// Interarrival jitter (RFC 3550, section 6.4.1).
    pub jitter: Duration,
}

/// A hole in the sequence and the report of a key belong together when they are no further apart.
const KEY_SLACK: Duration = Duration::from_millis(400);

/// Puts one call's packets in order. Allocates when it is made, never after; reads no clock.
pub struct ReceiveStream {
    events: PayloadType,
    source: Option<Source>,
    /// The source before this one and when it was left, for its stragglers.
    left: Option<(Ssrc, Moment)>,
    held: Box<[Held; HELD]>,
    /// How many of `held` are taken; nearly always none, and then the slots are not looked at.
    holding: usize,
    given_up: [Option<(Seq, Moment)>; GIVEN_UP],
    next_given_up: usize,
    wait: Duration,
    reordered_at: Moment,
    stats: StreamStats,
    /// The last hole: when it was noticed and how many packets it had.
    hole: Option<(Moment, u64)>,
    /// When a key was reported whose hole has not been seen yet.
    key_at: Option<Moment>,
    /// Sixteen times the jitter in samples, as RFC 3550, appendix A.8, keeps it.
    jitter_x16: u32,
    transit: Option<u32>,
}

struct Source {
    ssrc: Ssrc,
    /// The packet that is awaited.
    next: Seq,
    /// Bit i: packet `next - 1 - i` came.
    seen: u64,
    /// Where the audio so far ends.
    audio_end: Option<Timestamp>,
    /// Samples in the last packet of audio.
    packet_samples: u32,
    /// Packets given up since the last audio.
    missing: u32,
    /// After a jump: the packet that would prove that it was no accident.
    restart_if: Option<Seq>,
}

/// Packets that can be held back at once.
const HELD: usize = 8;

/// Packets given up that are remembered, to learn by how much they were late.
const GIVEN_UP: usize = 16;

/// Jumps ahead up to this many packets are loss, larger ones a restart (RFC 3550, appendix A.1).
const MAX_DROPOUT: i16 = 3_000;

/// Packets up to this far back are late or double, those before them part of another sequence.
const MAX_MISORDER: i16 = 64;

/// For this long stragglers of the source before this one are taken for just that.
const STRAGGLE: Duration = Duration::from_secs(1);

/// For this long after the last reordered packet the next ones are expected to behave alike.
const REORDER_MEMORY: Duration = Duration::from_secs(30);

/// Added to the lateness seen, so that the same lateness is waited out next time.
const WAIT_MARGIN: Duration = Duration::from_millis(5);

#[derive(Clone, Copy)]
struct Held {
    header: Option<Header>,
    arrived: Moment,
    len: usize,
    payload: [u8; ReceiveStream::MAX_PAYLOAD],
}

impl ReceiveStream {
    /// No packet is ever waited for longer than this.
    pub const MAX_WAIT: Duration = Duration::from_millis(40);

    /// The largest payload taken: 60 ms of G.711.
    pub const MAX_PAYLOAD: usize = 480;

    /// A stream that expects telephone events with payload type `events`.
    #[must_use]
    pub fn new(events: PayloadType) -> Self {
        const EMPTY: Held =
            Held { header: None, arrived: Moment::ZERO, len: 0, payload: [0; ReceiveStream::MAX_PAYLOAD] };
        Self {
            events,
            source: None,
            left: None,
            held: Box::new([EMPTY; HELD]),
            holding: 0,
            given_up: [None; GIVEN_UP],
            next_given_up: 0,
            wait: Duration::ZERO,
            reordered_at: Moment::ZERO,
            stats: StreamStats::default(),
            hole: None,
            key_at: None,
            jitter_x16: 0,
            transit: None,
        }
    }

    /// Takes a datagram that arrived at `now`; calls `out` with what is in order, at once.
    pub fn receive(&mut self, now: Moment, datagram: &[u8], out: &mut dyn FnMut(Piece<'_>)) {
        let packet = match Packet::parse(datagram) {
            Ok(packet) if packet.payload.len() <= Self::MAX_PAYLOAD => packet,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        self.stats.received += 1;
        let Some(next) = self.follow_source(now, &packet.header, out) else { return };
        self.measure_jitter(now, &packet.header);
        match packet.header.seq.after(next) {
            0 => {
                self.note_reordering(now);
                self.release(packet.header, packet.payload, out);
                self.release_successors(out);
            }
            1..=AHEAD => {
                self.hold(now, &packet);
                self.poll(now, out);
            }
            ..=MAX_DROPOUT if packet.header.seq.after(next) > 0 => {
                self.release_all(out);
                self.give_up(packet.header.seq, now);
                self.release(packet.header, packet.payload, out);
            }
            back if (-MAX_MISORDER..0).contains(&back) => self.note_late(now, packet.header.seq, back),
            _ => self.maybe_restart(&packet, out),
        }
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

    /// When the packet that is waited for will be given up; [`None`] when none is.
    #[must_use]
    pub fn due(&self, now: Moment) -> Option<Moment> {
        Some(self.oldest_held()? + self.wait_at(now))
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let jitter_nanos = u64::from(self.jitter_x16) * 125_000 / 16;
        StreamStats { jitter: Duration::from_nanos(jitter_nanos), ..self.stats }
    }

    /// How long a missing packet is waited for at the moment.
    #[must_use]
    pub fn wait_at(&self, now: Moment) -> Duration {
        if now.since(self.reordered_at) > REORDER_MEMORY { Duration::ZERO } else { self.wait }
    }

    fn oldest_held(&self) -> Option<Moment> {
        if self.holding == 0 {
            return None;
        }
        self.held.iter().filter(|held| held.header.is_some()).map(|held| held.arrived).min()
    }

    /// Makes the packet's source the current one; the packet that it awaits, or [`None`] when this packet is of a
    /// source that was left.
    fn follow_source(&mut self, now: Moment, header: &Header, out: &mut dyn FnMut(Piece<'_>)) -> Option<Seq> {
        match &self.source {
            Some(source) if source.ssrc == header.ssrc => return Some(source.next),
            Some(source) => {
                if self.left.is_some_and(|(ssrc, at)| ssrc == header.ssrc && now.since(at) < STRAGGLE) {
                    self.stats.late += 1;
                    return None;
                }
                self.left = Some((source.ssrc, now));
                self.stats.ssrc_changes += 1;
                self.release_all(out);
            }
            None => {}
        }
        self.begin(header);
        Some(header.seq)
    }

    fn begin(&mut self, header: &Header) {
        self.given_up = [None; GIVEN_UP];
        self.transit = None;
        self.source = Some(Source {
            ssrc: header.ssrc,
            next: header.seq,
            seen: 0,
            audio_end: None,
            packet_samples: 0,
            missing: 0,
            restart_if: None,
        });
    }

    fn hold(&mut self, now: Moment, packet: &Packet<'_>) {
        let slot = &mut self.held[usize::from(packet.header.seq.0) % HELD];
        if slot.header.is_some() {
            self.stats.duplicate += 1;
            return;
        }
        self.holding += 1;
        slot.header = Some(packet.header);
        slot.arrived = now;
        slot.len = packet.payload.len();
        slot.payload[..packet.payload.len()].copy_from_slice(packet.payload);
    }

    /// The awaited packet came; when successors of it are held, it was overtaken.
    fn note_reordering(&mut self, now: Moment) {
        if let Some(first) = self.oldest_held() {
            self.stats.reordered += 1;
            self.learn_wait(now, now.since(first));
        }
    }

    /// A packet from before the awaited one: its time has passed, or it came already.
    fn note_late(&mut self, now: Moment, seq: Seq, back: i16) {
        let Some(source) = &mut self.source else { return };
        let bit = 1_u64 << (back.unsigned_abs() - 1);
        if source.seen & bit != 0 {
            self.stats.duplicate += 1;
            return;
        }
        source.seen |= bit;
        self.stats.late += 1;
        let missed = self.given_up.iter().flatten().find(|(lost, _)| *lost == seq);
        if let Some((_, noticed)) = missed {
            let lateness = now.since(*noticed);
            self.learn_wait(now, lateness);
        }
    }

    fn learn_wait(&mut self, now: Moment, lateness: Duration) {
        // What no permitted wait would have caught is no reason to wait.
        if lateness <= Self::MAX_WAIT {
            self.wait = self.wait_at(now).max(lateness + WAIT_MARGIN).min(Self::MAX_WAIT);
            self.reordered_at = now;
        }
    }

    fn maybe_restart(&mut self, packet: &Packet<'_>, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(source) = &mut self.source else { return };
        if source.restart_if == Some(packet.header.seq) {
            self.stats.restarts += 1;
            self.release_all(out);
            self.begin(&packet.header);
            self.release(packet.header, packet.payload, out);
        } else {
            source.restart_if = Some(packet.header.seq.plus(1));
            self.stats.strays += 1;
        }
    }

    fn release_all(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while self.release_first_held(out) {}
    }

    /// Gives up what is missing before the first held packet and lets it and its successors go.
    fn release_first_held(&mut self, out: &mut dyn FnMut(Piece<'_>)) -> bool {
        let Some(next) = self.source.as_ref().map(|source| source.next) else { return false };
        let waiting = self.held.iter().filter_map(|held| held.header);
        let Some(first) = waiting.map(|header| header.seq).min_by_key(|seq| seq.after(next)) else {
            return false;
        };
        let noticed = self.oldest_held().unwrap_or_default();
        self.give_up(first, noticed);
        self.release_successors(out);
        true
    }

    /// Remembers the packets from the awaited one up to `until` as given up; they are counted when `until` goes.
    fn give_up(&mut self, until: Seq, noticed: Moment) {
        let Some(source) = &mut self.source else { return };
        let missing = until.after(source.next).max(0).unsigned_abs();
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
        source.missing += u32::from(missing);
    }

    fn release_successors(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while self.holding > 0
            && let Some(next) = self.source.as_ref().map(|source| source.next)
        {
            let slot = &mut self.held[usize::from(next.0) % HELD];
            match slot.header {
                Some(header) if header.seq == next => {
                    slot.header = None;
                    self.holding -= 1;
                    let held = *slot;
                    self.release(header, &held.payload[..held.len], out);
                }
                _ => return,
            }
        }
    }

    /// Lets the awaited packet go, after what its timestamp tells about the time before it.
    fn release(&mut self, header: Header, payload: &[u8], out: &mut dyn FnMut(Piece<'_>)) {
        let Some(source) = &mut self.source else { return };
        source.next = header.seq.plus(1);
        source.seen = source.seen << 1 | 1;
        source.restart_if = None;
        if header.payload_type == self.events {
            out(Piece::Event { marker: header.marker, timestamp: header.timestamp, payload });
            return;
        }
        if header.payload_type != PayloadType::PCMU && header.payload_type != PayloadType::PCMA {
            self.stats.other_payload += 1;
            return;
        }
        let jump = source.audio_end.map_or(0, |end| header.timestamp.after(end)).max(0).unsigned_abs();
        let lost = jump.min(source.missing.saturating_mul(source.packet_samples));
        #[expect(clippy::cast_possible_truncation, reason = "a payload has at most MAX_PAYLOAD samples")]
        let samples = payload.len() as u32;
        source.missing = 0;
        source.packet_samples = samples;
        source.audio_end = Some(header.timestamp.plus(samples));
        if lost > 0 {
            out(Piece::Lost { samples: lost });
        }
        if jump > lost {
            out(Piece::Silence { samples: jump - lost });
        }
        out(Piece::Audio { payload_type: header.payload_type, payload });
    }

    fn measure_jitter(&mut self, now: Moment, header: &Header) {
        if header.payload_type == self.events {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "RFC 3550, A.8: arithmetic modulo 2^32 is meant")]
        let arrival = (now.as_nanos() / 125_000) as u32;
        let transit = arrival.wrapping_sub(header.timestamp.0);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A jump of a second is a restart of the far end's clock and no jitter.
            if difference < 8_000 {
                self.jitter_x16 = self.jitter_x16 + difference - ((self.jitter_x16 + 8) >> 4);
            }
        }
    }
}

/// Packets ahead of the awaited one that can be held.
#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "a small constant")]
const AHEAD: i16 = HELD as i16 - 1;
