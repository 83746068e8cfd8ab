//! What a caller plays: the packets of a fixture and what is said in them, over and over.

use std::time::Duration;

use crate::audio::codec::Format;
use crate::rtp::packet::Packet;
use crate::rtp::{PayloadType, Seq, Timestamp};
use crate::time::Moment;

/// One RTP stream of a capture, and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// The capture's name.
    pub name: String,
    /// The format of its payloads.
    pub format: Format,
    /// The payload type of its telephone events.
    pub events: PayloadType,
    /// Datagrams in the order of their times, each with its time since the first.
    pub packets: Vec<(Duration, Vec<u8>)>,
    /// How long it lasts: when it begins again.
    pub length: Duration,
    /// Stretches of speech: when the first and when the last packet of each with speech in it was sent. Empty when nobody
    /// says.
    pub speech: Vec<(Duration, Duration)>,
    /// How much the sequence numbers go on by from one lap to the next.
    seq_span: u16,
    /// The same for timestamps.
    timestamp_span: u32,
}

impl Track {
    /// A track of the stream's `packets`, with `pause` between two laps.
    #[must_use]
    pub fn new(
        name: &str,
        format: Format,
        events: PayloadType,
        packets: Vec<(Duration, Vec<u8>)>,
        speech: Vec<(Duration, Duration)>,
        pause: Duration,
    ) -> Self {
        let length = packets.last().map_or(Duration::ZERO, |(at, _)| *at) + pause;
        let headers: Vec<_> =
            packets.iter().filter_map(|(_, datagram)| Some(Packet::parse(datagram).ok()?.header)).collect();
        // Measured from the first packet on, so that neither reordering nor a wrap leads astray.
        let seq_span = headers.first().map_or(0, |first| {
            let furthest = headers.iter().map(|header| header.seq.after(first.seq)).max().unwrap_or(0);
            furthest.unsigned_abs() + 1
        });
        #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
        let timestamp_span = (length.as_nanos() * u128::from(format.rtp_clock()) / 1_000_000_000) as u32;
        Self { name: name.to_owned(), format, events, packets, length, speech, seq_span, timestamp_span }
    }

    /// Packet `index` of lap `lap` as it is to be sent: sequence numbers and timestamps go on from lap to lap.
    pub fn packet_of_lap(&self, index: usize, lap: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.packets[index].1);
        let Ok(header) = Packet::parse(out).map(|packet| packet.header) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "both wrap")]
        let (Seq(seq), Timestamp(timestamp)) = (
            header.seq.plus(self.seq_span.wrapping_mul(lap as u16)),
            header.timestamp.plus(self.timestamp_span.wrapping_mul(lap as u32)),
        );
        out[2..4].copy_from_slice(&seq.to_be_bytes());
        out[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }
}

/// When one caller plays what: a track from somewhere in its middle on, again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timetable {
    /// When the beginning of the track's first lap would have been, had it been played.
    origin: Moment,
    /// When this caller begins to play.
    start: Moment,
    /// Length of a lap.
    length: Duration,
}

impl Timetable {
    /// Caller `number` of `calls`: they begin within 20 ms of each other, evenly, and each at another place of the track,
    /// so that neither their packets nor their sentences fall together.
    #[must_use]
    pub fn new(track: &Track, start: Moment, number: usize, calls: usize) -> Self {
        let share = |span: Duration| span.mul_f64(number as f64 / calls.max(1) as f64);
        let start = start + share(Duration::from_millis(20));
        // Whole packets, so that the phase stays what it is.
        let into = share(track.length).as_millis() / 20 * 20;
        let into = Duration::from_millis(u64::try_from(into).unwrap_or(0));
        Self { origin: start - into, start, length: track.length }
    }

    /// Packets from this one on, each with its time, lap and index; endless for a track that has any.
    pub fn packets(self, track: &Track) -> impl Iterator<Item = (Moment, u64, usize)> + '_ {
        let laps = if track.packets.is_empty() { 0..0 } else { 0..u64::MAX };
        let all = laps.flat_map(move |lap| {
            let begin = self.lap(lap);
            track.packets.iter().enumerate().map(move |(index, (at, _))| (begin + *at, lap, index))
        });
        all.skip_while(move |(at, _, _)| *at < self.start)
    }

    /// Stretches of speech that begin after the start and end before `end`.
    #[must_use]
    pub fn speech(self, track: &Track, end: Moment) -> Vec<(Moment, Moment)> {
        let mut all = Vec::new();
        let mut lap = 0;
        while !track.speech.is_empty() && self.lap(lap) < end {
            let begin = self.lap(lap);
            all.extend(track.speech.iter().map(|(from, to)| (begin + *from, begin + *to)));
            lap += 1;
        }
        all.retain(|(from, to)| *from >= self.start && *to < end);
        all
    }

    fn lap(self, lap: u64) -> Moment {
        let nanos = u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX);
        self.origin + Duration::from_nanos(nanos.saturating_mul(lap))
    }
}

/// For each pair of a mark and the mark after which it is too late: the first of `moments` in between, as a distance from
/// the mark.
pub fn first_after<'a>(
    moments: &'a [Moment],
    marks: impl Iterator<Item = (Moment, Moment)> + 'a,
) -> impl Iterator<Item = Duration> + 'a {
    marks.filter_map(|(mark, limit)| {
        let moment = moments.iter().find(|at| **at > mark && **at < limit)?;
        Some(moment.since(mark))
    })
}

/// Each beginning of speech, with the next one.
pub fn onsets(speech: &[(Moment, Moment)]) -> impl Iterator<Item = (Moment, Moment)> + '_ {
    (0..speech.len()).map(|i| (speech[i].0, next_onset(speech, i)))
}

/// Each end of speech, with the beginning of the next.
pub fn ends(speech: &[(Moment, Moment)]) -> impl Iterator<Item = (Moment, Moment)> + '_ {
    (0..speech.len()).map(|i| (speech[i].1, next_onset(speech, i)))
}

/// How many of `moments` lie in the middle of speech.
#[must_use]
pub fn count_within(moments: &[Moment], speech: &[(Moment, Moment)]) -> u64 {
    let within = moments.iter().filter(|at| speech.iter().any(|(onset, end)| **at > *onset && **at < *end));
    within.count() as u64
}

fn next_onset(speech: &[(Moment, Moment)], i: usize) -> Moment {
    speech.get(i + 1).map_or(Moment::from_nanos(u64::MAX), |(onset, _)| *onset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Ssrc;
    use crate::rtp::sender::Sender;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn track() -> Track {
        let mut sender =
            Sender::starting_at(PayloadType::PCMU, Ssrc(1), Seq(65_534), Timestamp(u32::MAX - 159));
        let packet = |i: u64| {
            let mut bytes = sender.next(160).to_bytes().to_vec();
            bytes.resize(172, 0xff);
            (millis(20 * i), bytes)
        };
        let speech = vec![(millis(200), millis(600))];
        let packets = (0..50).map(packet).collect();
        Track::new("t", Format::Ulaw, PayloadType::EVENTS, packets, speech, millis(20))
    }

    #[test]
    fn numbers_go_on_from_lap_to_lap() {
        let track = track();
        let mut stream = Vec::new();
        let mut bytes = Vec::new();
        for (_, lap, index) in
            Timetable::new(&track, Moment::from_millis(10_000), 0, 1).packets(&track).take(120)
        {
            track.packet_of_lap(index, lap, &mut bytes);
            stream.push(Packet::parse(&bytes).expect("whole").header);
        }
        for pair in stream.windows(2) {
            assert_eq!(pair[1].seq.after(pair[0].seq), 1);
            assert_eq!(pair[1].timestamp.after(pair[0].timestamp), 160);
        }
    }

    #[test]
    fn callers_begin_at_different_places_of_the_track() {
        let track = track();
        let start = Moment::from_millis(10_000);
        let first =
            |number| Timetable::new(&track, start, number, 4).packets(&track).next().expect("endless");
        assert_eq!(first(0), (start, 0, 0));
        let (at, lap, index) = first(2);
        assert_eq!((at.since(start), lap, index), (millis(10), 0, 25));
        let third: Vec<_> = Timetable::new(&track, start, 2, 4).packets(&track).take(26).collect();
        assert_eq!(third[25].1, 1, "the next lap follows");
        assert!(third.windows(2).all(|pair| pair[1].0.since(pair[0].0) == millis(20)));
    }

    #[test]
    fn speech_is_told_in_the_times_of_the_caller() {
        let track = track();
        let start = Moment::from_millis(10_000);
        let table = Timetable::new(&track, start, 0, 1);
        let end = start + millis(2_500);
        let speech = table.speech(&track, end);
        assert_eq!(speech.len(), 2, "the third one has not ended");
        assert_eq!((speech[1].0.since(start), speech[1].1.since(start)), (millis(1_200), millis(1_600)));
        let half = Timetable::new(&track, start, 1, 2).speech(&track, end);
        assert_eq!(half[0].0.since(start), millis(710), "the one that was under way is left out");
    }
}
