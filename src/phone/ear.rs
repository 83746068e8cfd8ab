//! What the phone hears: segments of speech by level, gaps between packets, losses, and the recording.
//!
//! Without I/O and without a clock: packets come in with the moment of their arrival.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::wire::{is_voiced, rms_of_dbfs};
use crate::audio::g711::Law;
use crate::rtp::packet::{Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::Moment;

/// Segments that are remembered; the oldest go first.
const MAX_SEGMENTS: usize = 1_024;

/// Packets that stay away for so long have stopped; less is a network or a busy machine.
const FLOW_STOPPED: Duration = Duration::from_millis(400);

/// A step of the sequence number by more than this is a new stream, not a loss (RFC 3550 appendix A.1).
const MAX_DROPOUT: i16 = 3_000;

/// A timestamp may be so many samples (10 s) away from the clock before it counts as a jump.
const MAX_DRIFT: usize = 80_000;

/// What counts as speech, and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarSettings {
    /// A packet is voiced when 10 ms of it are louder than this, in dB below full scale.
    pub threshold_dbfs: f32,
    /// A segment of speech is over when nothing voiced came for so long.
    pub hangover: Duration,
    /// How much is recorded. Zero in load runs.
    pub record: Duration,
}

impl Default for EarSettings {
    fn default() -> Self {
        Self {
            threshold_dbfs: -45.0,
            hangover: Duration::from_millis(300),
            record: Duration::from_secs(10 * 60),
        }
    }
}

impl EarSettings {
    /// For load runs: no recording.
    #[must_use]
    pub fn lean() -> Self {
        Self { record: Duration::ZERO, ..Self::default() }
    }
}

/// A stretch of speech that was heard. Its moments are arrivals of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first voiced packet.
    pub onset: Moment,
    /// The last voiced packet so far.
    pub last_voiced: Moment,
    /// Whether the hangover has passed: it does not grow any more.
    pub over: bool,
}

/// A packet as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardPacket {
    /// When it came.
    pub at: Moment,
    /// Its RTP timestamp.
    pub timestamp: Timestamp,
    /// Its sequence number.
    pub seq: Seq,
    /// Its source.
    pub ssrc: Ssrc,
    /// Its PCMU bytes.
    pub payload: Vec<u8>,
}

/// Counts and histograms of one call's incoming audio.
#[derive(Debug, Clone)]
pub struct EarStats {
    /// Audio packets that came, duplicates left out.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// New sources or jumps of the sequence number.
    pub restarts: u64,
    /// Datagrams that were no PCMU: other payload types, RTCP, rubbish.
    pub other: u64,
    /// Time between two RTP packets in microseconds, talkspurt starts (marker bit) left out.
    pub gaps: Histogram<u32>,
    /// Gaps that a marker bit ended.
    pub pauses: u64,
    /// The first audio packet.
    pub first_packet: Option<Moment>,
    /// The last audio packet.
    pub last_packet: Option<Moment>,
}

impl Default for EarStats {
    fn default() -> Self {
        Self {
            packets: 0,
            lost: 0,
            reordered: 0,
            duplicates: 0,
            restarts: 0,
            other: 0,
            gaps: gap_histogram(),
            pauses: 0,
            first_packet: None,
            last_packet: None,
        }
    }
}

/// A histogram for gaps: microseconds up to ten seconds, to one per cent.
#[must_use]
pub fn gap_histogram() -> Histogram<u32> {
    let mut histogram =
        Histogram::new_with_bounds(1, 10_000_000, 2).expect("these bounds are valid, whatever the values");
    histogram.auto(false);
    histogram
}

/// Where the sequence numbers of the current source are.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: Ssrc,
    highest: Seq,
    /// Bit n: the packet n before the highest one came.
    seen: u64,
}

/// The receiving side of a call.
#[derive(Debug, Clone)]
pub struct Ear {
    settings: EarSettings,
    threshold: f32,
    source: Option<Source>,
    segments: VecDeque<Segment>,
    stats: EarStats,
    recording: Vec<HeardPacket>,
    record_until: Option<Moment>,
    last_rtp: Option<Moment>,
}

impl Ear {
    /// An ear that has heard nothing.
    #[must_use]
    pub fn new(settings: EarSettings) -> Self {
        Self {
            settings,
            threshold: rms_of_dbfs(settings.threshold_dbfs),
            source: None,
            segments: VecDeque::new(),
            stats: EarStats::default(),
            recording: Vec::new(),
            record_until: None,
            last_rtp: None,
        }
    }

    /// What counts as speech here.
    #[must_use]
    pub fn settings(&self) -> EarSettings {
        self.settings
    }

    /// Takes a datagram that came at `at`. True when a segment of speech began with it.
    pub fn datagram(&mut self, at: Moment, bytes: &[u8]) -> bool {
        let Ok(Packet { header, payload }) = Packet::parse(bytes) else {
            self.stats.other += 1;
            return false;
        };
        // Telephone events share the numbers and the rhythm of the audio that they stand for.
        if !self.count(&header) {
            return false;
        }
        match self.last_rtp.replace(at) {
            Some(_) if header.marker => self.stats.pauses += 1,
            Some(last) => {
                let micros = u64::try_from(at.since(last).as_micros()).unwrap_or(u64::MAX);
                self.stats.gaps.saturating_record(micros.max(1));
            }
            None => {}
        }
        if header.payload_type != PayloadType::PCMU || payload.is_empty() {
            self.stats.other += 1;
            return false;
        }
        self.stats.packets += 1;
        self.stats.first_packet.get_or_insert(at);
        self.stats.last_packet = Some(at);
        self.record(at, header, payload);
        let began = self.listen(at, payload);
        self.tick(at);
        began
    }

    /// Lets time pass: closes a segment whose hangover is over. True when it did.
    pub fn tick(&mut self, now: Moment) -> bool {
        match self.segments.back_mut() {
            Some(open) if !open.over && now.since(open.last_voiced) >= self.settings.hangover => {
                open.over = true;
                true
            }
            _ => false,
        }
    }

    /// The segments of speech so far, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Segment> + '_ {
        self.segments.iter().copied()
    }

    /// The segment that goes on, if somebody speaks.
    #[must_use]
    pub fn speaking(&self) -> Option<Segment> {
        self.segments.back().copied().filter(|s| !s.over)
    }

    /// The first onset at or after `since`.
    #[must_use]
    pub fn onset_since(&self, since: Moment) -> Option<Moment> {
        self.segments.iter().map(|s| s.onset).find(|onset| *onset >= since)
    }

    /// The last voiced packet so far.
    #[must_use]
    pub fn last_voiced(&self) -> Option<Moment> {
        self.segments.back().map(|s| s.last_voiced)
    }

    /// Until when it is known whether the bot spoke: its newest packet while packets flow, `now` when they have stopped.
    ///
    /// A phone whose process had to wait for a processor has packets that it did not read yet; counted against the
    /// clock those would be silence.
    #[must_use]
    pub fn known_until(&self, now: Moment) -> Moment {
        self.stats
            .last_packet
            .filter(|last| now.since(*last) < FLOW_STOPPED)
            .map_or(now, |last| last.min(now))
    }

    /// Counts and histograms.
    #[must_use]
    pub fn stats(&self) -> &EarStats {
        &self.stats
    }

    /// What was heard and when; as long as the settings say.
    #[must_use]
    pub fn recording(&self) -> &[HeardPacket] {
        &self.recording
    }

    /// Finds the packet's place; false for one that came before already.
    fn count(&mut self, header: &Header) -> bool {
        let fresh = Source { ssrc: header.ssrc, highest: header.seq, seen: 1 };
        let Some(source) = self.source.as_mut().filter(|s| s.ssrc == header.ssrc) else {
            self.stats.restarts += u64::from(self.source.is_some());
            self.source = Some(fresh);
            return true;
        };
        let step = header.seq.after(source.highest);
        match step {
            1..=MAX_DROPOUT => {
                self.stats.lost += u64::from(step.unsigned_abs()) - 1;
                source.highest = header.seq;
                source.seen = if step < 64 { source.seen << step | 1 } else { 1 };
            }
            -63..=0 => {
                let bit = 1_u64 << -step;
                if source.seen & bit != 0 {
                    self.stats.duplicates += 1;
                    return false;
                }
                source.seen |= bit;
                self.stats.reordered += 1;
                self.stats.lost = self.stats.lost.saturating_sub(1);
            }
            _ => {
                self.stats.restarts += 1;
                *source = fresh;
            }
        }
        true
    }

    fn record(&mut self, at: Moment, header: Header, payload: &[u8]) {
        let until = *self.record_until.get_or_insert(at + self.settings.record);
        if at < until {
            let Header { timestamp, seq, ssrc, .. } = header;
            self.recording.push(HeardPacket { at, timestamp, seq, ssrc, payload: payload.to_vec() });
        }
    }

    fn listen(&mut self, at: Moment, payload: &[u8]) -> bool {
        let mut samples = [0; 320];
        let length = Law::Mu.decode_into(payload, &mut samples);
        if !is_voiced(&samples[..length], self.threshold) {
            return false;
        }
        match self.segments.back_mut().filter(|s| !s.over) {
            Some(open) if at.since(open.last_voiced) < self.settings.hangover => {
                open.last_voiced = open.last_voiced.max(at);
                false
            }
            open => {
                if let Some(open) = open {
                    open.over = true;
                }
                if self.segments.len() == MAX_SEGMENTS {
                    self.segments.pop_front();
                }
                self.segments.push_back(Segment { onset: at, last_voiced: at, over: false });
                true
            }
        }
    }
}

/// What was heard as one stretch of samples at 8 kHz.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// When the first sample came.
    pub start: Moment,
    /// As it was sent: every packet at its RTP timestamp; lost ones are silence.
    pub by_timestamp: Vec<i16>,
    /// As it came: packets one behind the other, with silence where nothing came for more than 60 ms.
    pub by_arrival: Vec<i16>,
}

impl Heard {
    /// Lays out the packets of a recording.
    #[must_use]
    pub fn of(recording: &[HeardPacket]) -> Self {
        let Some(first) = recording.first() else { return Self::default() };
        let mut heard = Self { start: first.at, ..Self::default() };
        // Which timestamp lies at which place of the timeline.
        let (mut ssrc, mut anchor) = (first.ssrc, (first.timestamp, 0));
        for packet in recording {
            let came = usize::try_from(packet.at.since(first.at).as_micros() / 125).unwrap_or(0);
            if packet.ssrc != ssrc {
                // A new source counts from elsewhere: it continues where it came.
                (ssrc, anchor) = (packet.ssrc, (packet.timestamp, came));
            }
            let distance = isize::try_from(packet.timestamp.after(anchor.0)).unwrap_or(0);
            let mut place = anchor.1.saturating_add_signed(distance);
            if place.abs_diff(came) > MAX_DRIFT {
                // A jump, not a pause; the clock wins.
                place = came;
                anchor = (packet.timestamp, came);
            }
            lay(&mut heard.by_timestamp, place, &packet.payload);
            let end = heard.by_arrival.len();
            let place = if came > end + 480 { came } else { end };
            lay(&mut heard.by_arrival, place, &packet.payload);
        }
        heard
    }
}

fn lay(track: &mut Vec<i16>, place: usize, payload: &[u8]) {
    if track.len() < place + payload.len() {
        track.resize(place + payload.len(), 0);
    }
    Law::Mu.decode_into(payload, &mut track[place..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::wire::PACKET;

    fn packet(seq: u16, timestamp: u32, level: i16, marker: bool) -> Vec<u8> {
        let header = Header {
            marker,
            payload_type: PayloadType::PCMU,
            seq: Seq(seq),
            timestamp: Timestamp(timestamp),
            ssrc: Ssrc(5),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([Law::Mu.encode(level); PACKET]);
        bytes
    }

    struct Bot {
        ear: Ear,
        seq: u16,
    }

    impl Bot {
        fn new() -> Self {
            Self { ear: Ear::new(EarSettings::default()), seq: 65_500 }
        }

        fn send_as(&mut self, seq: u16, millis: u64, level: i16, marker: bool) -> bool {
            let timestamp = u32::from(seq.wrapping_sub(65_500)) * 160;
            self.ear.datagram(Moment::from_millis(millis), &packet(seq, timestamp, level, marker))
        }

        fn send(&mut self, millis: u64, level: i16) -> bool {
            self.seq = self.seq.wrapping_add(1);
            self.send_as(self.seq.wrapping_sub(1), millis, level, false)
        }
    }

    #[test]
    fn speech_begins_with_its_first_voiced_packet_and_ends_with_its_last() {
        let mut bot = Bot::new();
        for n in 0..100 {
            let level = if (10..50).contains(&n) { 4_000 } else { 20 };
            assert_eq!(bot.send(n * 20, level), n == 10);
        }
        let segments: Vec<_> = bot.ear.segments().collect();
        let (onset, last_voiced) = (Moment::from_millis(200), Moment::from_millis(980));
        assert_eq!(segments, [Segment { onset, last_voiced, over: true }]);
        assert_eq!(bot.ear.onset_since(Moment::from_millis(201)), None);
    }

    #[test]
    fn a_breath_between_words_does_not_end_the_speech() {
        let mut bot = Bot::new();
        for n in 0..60 {
            bot.send(n * 20, if n % 15 < 5 { 4_000 } else { 0 });
        }
        assert_eq!(bot.ear.segments().count(), 1);
    }

    #[test]
    fn speech_ends_also_when_packets_stop() {
        let mut bot = Bot::new();
        bot.send(0, 4_000);
        assert!(!bot.ear.tick(Moment::from_millis(299)));
        assert!(bot.ear.tick(Moment::from_millis(300)));
        assert_eq!(bot.ear.speaking(), None);
    }

    #[test]
    fn what_was_not_read_yet_is_no_silence_unless_the_flow_has_stopped() {
        let mut bot = Bot::new();
        bot.send(0, 4_000);
        bot.send(20, 0);
        let known = |millis| bot.ear.known_until(Moment::from_millis(millis));
        assert_eq!(known(200), Moment::from_millis(20));
        assert_eq!(known(2_000), Moment::from_millis(2_000));
    }

    #[test]
    fn losses_reorderings_and_duplicates_are_told_apart_across_the_wrap() {
        let mut bot = Bot::new();
        for seq in [65_533, 65_535, 65_534, 65_535, 2, 3] {
            bot.send_as(seq, 0, 0, false);
        }
        let stats = bot.ear.stats();
        assert_eq!((stats.lost, stats.reordered, stats.duplicates, stats.restarts), (2, 1, 1, 0));
        assert_eq!(stats.packets, 5);
    }

    #[test]
    fn gaps_are_measured_and_a_pause_that_the_sender_marks_is_none() {
        let mut bot = Bot::new();
        bot.send(0, 0);
        bot.send(20, 0);
        bot.send(65, 0);
        bot.send_as(65_503, 5_000, 0, true);
        let stats = bot.ear.stats();
        assert_eq!(stats.gaps.len(), 2);
        assert!((44_500..=45_500).contains(&stats.gaps.max()), "{}", stats.gaps.max());
        assert_eq!(stats.pauses, 1);
    }

    #[test]
    fn the_timeline_has_silence_where_a_packet_was_lost() {
        let mut bot = Bot::new();
        bot.send_as(65_500, 0, 4_000, false);
        bot.send_as(65_502, 40, 4_000, false);
        let heard = Heard::of(bot.ear.recording());
        assert_eq!(heard.by_timestamp.len(), 480);
        assert!(heard.by_timestamp[160..320].iter().all(|s| *s == 0));
        assert_eq!(heard.by_arrival.len(), 320);
    }

    #[test]
    fn a_lean_ear_keeps_no_packets() {
        let mut ear = Ear::new(EarSettings::lean());
        ear.datagram(Moment::ZERO, &packet(1, 1, 0, false));
        assert!(ear.recording().is_empty() && ear.stats().packets == 1);
    }

    proptest::proptest! {
        #[test]
        fn any_datagrams_are_heard_or_dropped(
            packets in proptest::collection::vec((0_u64..100_000, proptest::collection::vec(proptest::num::u8::ANY, 0..40)), 0..40)
        ) {
            let mut ear = Ear::new(EarSettings::default());
            for (at, mut bytes) in packets {
                if let [first, second, ..] = bytes.as_mut_slice() {
                    (*first, *second) = (0x80, *second & 0x80);
                }
                ear.datagram(Moment::from_millis(at), &bytes);
            }
            let _ = Heard::of(ear.recording());
        }
    }
}
