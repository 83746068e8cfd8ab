//! What a bot would have heard of a captured call.

use std::path::Path;
use std::time::Duration;

use super::quality::{self, Loss};
use super::{BenchError, fixture};
use crate::audio::codec::Format;
use crate::audio::{PTIME, Rate};
use crate::media::rehearsal::Rehearsal;
use crate::media::{MediaEvent, MediaStats};
use crate::pcap::StreamSummary;
use crate::rtp::PayloadType;
use crate::rtp::packet::Packet;
use crate::time::Moment;
use crate::turn::vad::WebRtcVad;
use crate::turn::{Listening, TurnSignal};

/// When the virtual time begins: before it lies what an onset looks back to.
const BEGIN: Moment = Moment::from_millis(10_000);

/// After the last packet, for the last sentence to be noticed as ended.
const AFTER: Duration = Duration::from_secs(2);

/// A stream, replayed.
#[derive(Clone, PartialEq, Debug)]
pub struct Replay {
    /// The format of its payloads.
    pub format: Format,
    /// What became of its packets.
    pub stats: MediaStats,
    /// What happened, in order; times since its first packet.
    pub happened: Vec<(Duration, Happening)>,
    /// The transmission rating and the mean opinion score by the E-model; for G.711 alone.
    pub quality: Option<(f64, f64)>,
    /// What the bot heard, 8 kHz.
    pub heard: Vec<i16>,
}

/// Something that a bot would have been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// The caller spoke from then to the time that goes with this, and was found to be done at `decided`.
    Utterance {
        /// When he began.
        onset: Duration,
        /// When that was decided, since the first packet.
        decided: Duration,
    },
    /// He pressed a key and let it go.
    Key {
        /// Which.
        digit: char,
        /// How long it was held.
        held: Duration,
    },
    /// Nothing came any more.
    Quiet,
    /// Something came again.
    Back,
}

/// Plays a stream of a capture to a bot that listens all the time and says nothing. `format` is for a stream that does not
/// tell its own.
///
/// # Errors
/// When the capture cannot be read, or nobody knows its format.
pub fn replay(
    path: &Path,
    stream: &StreamSummary,
    format: Option<Format>,
    events: PayloadType,
    how: Listening,
) -> Result<Replay, BenchError> {
    let format = fixture::known_format(path, stream, format)?;
    let packets = fixture::read(path, stream)?;
    let mut call = Rehearsal::new(BEGIN, format, events, Box::new(WebRtcVad::new(Rate::Hz8000)))?;
    let mut log = Log { happened: Vec::new(), onset: None, heard: Vec::new(), how };
    call.listen(BEGIN, how);
    let end = BEGIN + packets.last().map_or(Duration::ZERO, |(at, _)| *at) + AFTER;
    let mut tick = BEGIN + PTIME / 2;
    let bursts = gaps(&packets);
    let mut packets = packets.into_iter().peekable();
    // Packets, ticks and the ends of waits, each at its own time.
    loop {
        let packet = packets.peek().map(|(at, _)| BEGIN + *at);
        let now = packet.unwrap_or(end).min(tick);
        if let Some(due) = call.due(now).filter(|due| *due < now) {
            call.wait_over(due);
            log.read(due, &mut call);
            continue;
        }
        if now >= end {
            break;
        }
        if packet == Some(now) {
            if let Some((_, datagram)) = packets.next() {
                call.packet(now, &datagram);
            }
        } else {
            call.tick(now);
            tick = tick + PTIME;
        }
        log.read(now, &mut call);
    }
    let stats = call.stats();
    let companded = matches!(format, Format::Ulaw | Format::Alaw);
    let loss = Loss::of(stats.stream.received + stats.stream.lost, stats.stream.lost, bursts);
    let rating = quality::rating(loss);
    log.happened.sort_by_key(|(at, _)| *at);
    Ok(Replay {
        format,
        stats,
        happened: log.happened,
        quality: companded.then(|| (rating, quality::mean_opinion(rating))),
        heard: log.heard,
    })
}

struct Log {
    happened: Vec<(Duration, Happening)>,
    /// The onset of the utterance under way.
    onset: Option<Moment>,
    heard: Vec<i16>,
    how: Listening,
}

impl Log {
    fn read(&mut self, now: Moment, call: &mut Rehearsal) {
        while let Some(event) = call.event() {
            match event {
                MediaEvent::Turn(TurnSignal::Onset { at }) => self.onset = Some(at),
                MediaEvent::Turn(TurnSignal::Endpoint { speech_end, decided, .. }) => {
                    self.utterance(speech_end, decided);
                    call.listen(now, self.how);
                }
                MediaEvent::Turn(TurnSignal::TooLong { at }) => {
                    self.utterance(at, at);
                    call.listen(now, self.how);
                }
                MediaEvent::Turn(TurnSignal::NoInput { .. }) => call.listen(now, self.how),
                MediaEvent::Digit { digit, duration, at } => {
                    self.happened.push((at.since(BEGIN), Happening::Key { digit, held: duration }));
                }
                MediaEvent::Quiet { since } => self.happened.push((since.since(BEGIN), Happening::Quiet)),
                MediaEvent::Back { at } => self.happened.push((at.since(BEGIN), Happening::Back)),
                MediaEvent::Turn(_)
                | MediaEvent::Answer(_)
                | MediaEvent::PlayStarted { .. }
                | MediaEvent::PlayEnded { .. } => {}
            }
        }
        call.ear().clear();
        while let Some(both) = call.heard() {
            self.heard.extend_from_slice(&both.caller.samples);
        }
    }

    fn utterance(&mut self, end: Moment, decided: Moment) {
        if let Some(onset) = self.onset.take() {
            let (onset, decided) = (onset.since(BEGIN), decided.since(BEGIN));
            self.happened.push((end.since(BEGIN), Happening::Utterance { onset, decided }));
        }
    }
}

/// Stretches of packets that never came.
fn gaps(packets: &[(Duration, Vec<u8>)]) -> u64 {
    let mut places = std::collections::BTreeSet::new();
    let mut last = None;
    let mut place = 0_i64;
    for (_, datagram) in packets {
        let Ok(Packet { header, .. }) = Packet::parse(datagram) else { continue };
        place = match last.replace((header.ssrc, header.seq)) {
            Some((ssrc, seq)) if ssrc == header.ssrc => place + i64::from(header.seq.after(seq)),
            // Another source begins; nothing is missing between the two.
            _ => places.last().map_or(0, |last| last + 1),
        };
        places.insert(place);
    }
    let gaps = places.iter().zip(places.iter().skip(1)).filter(|(a, b)| *b - *a > 1);
    gaps.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::Header;
    use crate::rtp::{Seq, Ssrc, Timestamp};

    fn packets(numbers: &[u16]) -> Vec<(Duration, Vec<u8>)> {
        let header = |seq| Header {
            marker: false,
            payload_type: PayloadType::PCMU,
            seq: Seq(seq),
            timestamp: Timestamp(u32::from(seq) * 160),
            ssrc: Ssrc(1),
        };
        numbers.iter().map(|seq| (Duration::ZERO, header(*seq).to_bytes().to_vec())).collect()
    }

    #[test]
    fn stretches_of_missing_packets_are_counted_whatever_their_order() {
        assert_eq!(gaps(&packets(&[1, 2, 3])), 0);
        assert_eq!(gaps(&packets(&[65_534, 0, 65_535, 1])), 0);
        assert_eq!(gaps(&packets(&[1, 5, 4, 9, 9])), 2);
        assert_eq!(gaps(&[]), 0);
    }
}
