//! What the phone sends: a packet every 20 ms, from a queue of speech and digits, silence in between.
//!
//! Without I/O and without a clock: [`Voice::packet`] gives the packet for the time it is told.

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::time::Duration;

use tokio::sync::oneshot;

use super::wire::{MAX_PACKET, PACKET, is_voiced, rms_of_dbfs};
use crate::audio::g711::Law;
use crate::rtp::packet::Header;
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::Moment;

/// Things that may wait in a voice; more are refused.
pub(super) const MAX_QUEUE: usize = 256;

/// Packets of a tone after which its end is told: 3 ends (RFC 4733 section 2.5.1.4).
const ENDS: u16 = 3;

/// When something that was said went on the wire.
///
/// The moments are those of packets: the packet that carries the sample, at the call of `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// The first packet.
    pub started: Moment,
    /// The first packet with voice in it; [`None`] when all of it was quiet.
    pub onset: Option<Moment>,
    /// The last packet with voice in it: the end of speech, without the silence behind it.
    pub last_voiced: Option<Moment>,
    /// The last packet.
    pub finished: Moment,
}

/// When digits went on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressed {
    /// For each digit, the first packet of its tone.
    pub started: Vec<Moment>,
    /// For each digit, the first packet that told its end.
    pub ended: Vec<Moment>,
}

/// How long keys are held and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTiming {
    /// How long each key is held. Rounded to 20 ms.
    pub hold: Duration,
    /// The pause behind each key; at least 60 ms.
    pub pause: Duration,
}

impl Default for KeyTiming {
    fn default() -> Self {
        Self { hold: Duration::from_millis(100), pause: Duration::from_millis(100) }
    }
}

/// The event code of a key (RFC 4733 section 3.2).
#[must_use]
pub(super) fn event_of(key: char) -> Option<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "a place in a list of 16")]
    "0123456789*#ABCD".find(key.to_ascii_uppercase()).map(|place| place as u8)
}

enum Item {
    Say {
        samples: Vec<i16>,
        at: usize,
        spoken: Option<Spoken>,
        told: oneshot::Sender<Spoken>,
    },
    Press {
        keys: Vec<u8>,
        at: usize,
        tick: u16,
        timing: KeyTiming,
        pressed: Pressed,
        told: oneshot::Sender<Pressed>,
    },
}

/// The sending side of a call.
pub(super) struct Voice {
    ssrc: Ssrc,
    seq: Seq,
    timestamp: Timestamp,
    /// Timestamp of the event in progress.
    event_start: Timestamp,
    first: bool,
    queue: VecDeque<Item>,
    threshold: f32,
}

impl Voice {
    /// A silent voice; `rng` chooses where its numbers start.
    pub fn new(rng: &mut fastrand::Rng) -> Self {
        Self {
            ssrc: Ssrc(rng.u32(..)),
            seq: Seq(rng.u16(..)),
            timestamp: Timestamp(rng.u32(..)),
            event_start: Timestamp::default(),
            first: true,
            queue: VecDeque::new(),
            threshold: rms_of_dbfs(-45.0),
        }
    }

    /// Queues speech, 8 kHz. False when the queue is full.
    pub fn say(&mut self, samples: Vec<i16>, told: oneshot::Sender<Spoken>) -> bool {
        self.push(Item::Say { samples, at: 0, spoken: None, told })
    }

    /// Queues keys, as event codes. False when the queue is full.
    pub fn press(&mut self, keys: Vec<u8>, timing: KeyTiming, told: oneshot::Sender<Pressed>) -> bool {
        let pressed = Pressed { started: Vec::new(), ended: Vec::new() };
        self.push(Item::Press { keys, at: 0, tick: 0, timing, pressed, told })
    }

    /// Falls silent at once.
    pub fn hush(&mut self) {
        self.queue.clear();
    }

    fn push(&mut self, item: Item) -> bool {
        let room = self.queue.len() < MAX_QUEUE;
        if room {
            self.queue.push_back(item);
        }
        room
    }

    /// Time passed without a packet: the timestamps jump, as RFC 3550 wants.
    pub fn skip(&mut self, packets: u32) {
        self.timestamp = self.timestamp.plus(packets.wrapping_mul(PACKET as u32));
    }

    /// Writes the packet that goes out at `now` and gives its length. `events` is the payload type under which the
    /// other side takes digits; without it they go as tones.
    pub fn packet(&mut self, now: Moment, events: Option<u8>, buffer: &mut [u8; MAX_PACKET]) -> usize {
        let mut payload = [Law::Mu.silence(); PACKET];
        let mut event = None;
        match self.queue.front_mut() {
            Some(Item::Say { samples, at, spoken, .. }) => {
                let end = (*at + PACKET).min(samples.len());
                let part = &samples[*at..end];
                *at = end;
                speak(part, now, self.threshold, spoken, &mut payload);
            }
            Some(Item::Press { keys, at, tick, timing, pressed, .. }) => {
                let key = keys.get(*at).copied();
                event = key.and_then(|key| press(key, at, tick, *timing, pressed, now, &mut payload));
            }
            None => {}
        }
        self.drop_finished();
        let length = match (event, events.and_then(PayloadType::new)) {
            (Some(step), Some(events)) => {
                if step.first {
                    self.event_start = self.timestamp;
                }
                self.write(step.first, events, self.event_start, &step.body(), buffer)
            }
            _ => self.write(self.first, PayloadType::PCMU, self.timestamp, &payload, buffer),
        };
        self.first = false;
        self.seq = self.seq.plus(1);
        self.timestamp = self.timestamp.plus(PACKET as u32);
        length
    }

    fn write(
        &self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: Timestamp,
        payload: &[u8],
        buffer: &mut [u8; MAX_PACKET],
    ) -> usize {
        let header = Header { marker, payload_type, seq: self.seq, timestamp, ssrc: self.ssrc };
        let room = header.write(buffer).unwrap_or_default();
        let length = payload.len().min(room.len());
        room[..length].copy_from_slice(&payload[..length]);
        MAX_PACKET - room.len() + length
    }

    fn drop_finished(&mut self) {
        let finished = match self.queue.front() {
            Some(Item::Say { samples, at, .. }) => *at >= samples.len(),
            Some(Item::Press { keys, at, .. }) => *at >= keys.len(),
            None => false,
        };
        if finished {
            // Whoever waited may have stopped waiting; that is no error.
            match self.queue.pop_front() {
                Some(Item::Say { spoken: Some(spoken), told, .. }) => drop(told.send(spoken)),
                Some(Item::Press { pressed, told, .. }) => drop(told.send(pressed)),
                _ => {}
            }
        }
    }
}

fn speak(part: &[i16], now: Moment, threshold: f32, spoken: &mut Option<Spoken>, payload: &mut [u8; PACKET]) {
    Law::Mu.encode_into(part, payload);
    let spoken = spoken.get_or_insert(Spoken { started: now, onset: None, last_voiced: None, finished: now });
    spoken.finished = now;
    if !part.is_empty() && is_voiced(part, threshold) {
        spoken.onset.get_or_insert(now);
        spoken.last_voiced = Some(now);
    }
}

/// One packet of a telephone event.
#[derive(Clone, Copy)]
struct EventStep {
    key: u8,
    first: bool,
    end: bool,
    duration: u16,
}

impl EventStep {
    /// Event, end bit and volume of −10 dBm0, duration (RFC 4733 section 2.3).
    fn body(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.key, if self.end { 0x8a } else { 10 }, high, low]
    }
}

/// One tick of a key: its tone goes into `payload` for those who take no events; nothing in the pause behind it.
fn press(
    key: u8,
    at: &mut usize,
    tick: &mut u16,
    timing: KeyTiming,
    pressed: &mut Pressed,
    now: Moment,
    payload: &mut [u8; PACKET],
) -> Option<EventStep> {
    let ticks =
        |span: Duration, least: u16| u16::try_from(span.as_millis() / 20).unwrap_or(400).clamp(least, 400);
    let (hold, pause) = (ticks(timing.hold, 2), ticks(timing.pause, ENDS));
    let this = *tick;
    *tick += 1;
    if this == 0 {
        pressed.started.push(now);
    }
    if this < hold {
        tone(key, this, payload);
    } else if this == hold {
        pressed.ended.push(now);
    }
    if *tick == hold + pause {
        (*at, *tick) = (*at + 1, 0);
    }
    let end = this >= hold;
    let duration = if end { hold * 160 } else { (this + 1) * 160 };
    (this < hold + ENDS).then_some(EventStep { key, first: this == 0, end, duration })
}

/// 20 ms of the two tones of a key.
fn tone(key: u8, tick: u16, payload: &mut [u8; PACKET]) {
    const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    // In the order of the event codes: 0 to 9, *, #, A to D.
    const PLACES: [(usize, usize); 16] = [
        (3, 1),
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
        (3, 2),
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 3),
    ];
    let (row, column) = PLACES[usize::from(key) % 16];
    for (index, byte) in payload.iter_mut().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "below 64,000")]
        let t = (usize::from(tick) * PACKET + index) as f32 / 8_000.0;
        let sum = (TAU * ROWS[row] * t).sin() + (TAU * COLUMNS[column] * t).sin();
        #[expect(clippy::cast_possible_truncation, reason = "within ±12,000")]
        let sample = (sum * 6_000.0) as i16;
        *byte = Law::Mu.encode(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::Packet;

    fn run(voice: &mut Voice, packets: u64, events: Option<u8>) -> Vec<(bool, u8, u16, u32, Vec<u8>)> {
        let mut buffer = [0; MAX_PACKET];
        (0..packets)
            .map(|n| {
                let length = voice.packet(Moment::from_millis(n * 20), events, &mut buffer);
                let packet = Packet::parse(&buffer[..length]).expect("RTP");
                let head = packet.header;
                let payload = packet.payload.to_vec();
                (head.marker, head.payload_type.number(), head.seq.0, head.timestamp.0, payload)
            })
            .collect()
    }

    #[test]
    fn the_end_of_speech_is_the_last_voiced_packet_not_the_silence_behind_it() {
        let mut voice = Voice::new(&mut fastrand::Rng::with_seed(1));
        let mut samples = vec![0; 320];
        samples.extend([8_000; 400]);
        samples.extend([0; 800]);
        let (told, said) = oneshot::channel();
        assert!(voice.say(samples, told));
        run(&mut voice, 20, Some(101));
        let spoken = said.blocking_recv().expect("told");
        assert_eq!(spoken.started, Moment::ZERO);
        assert_eq!(spoken.onset, Some(Moment::from_millis(40)));
        assert_eq!(spoken.last_voiced, Some(Moment::from_millis(80)));
        assert_eq!(spoken.finished, Moment::from_millis(180));
    }

    #[test]
    fn a_key_is_one_event_with_one_timestamp_and_three_ends() {
        let mut voice = Voice::new(&mut fastrand::Rng::with_seed(1));
        let (told, pressed) = oneshot::channel();
        assert!(voice.press(vec![event_of('#').expect("a key")], KeyTiming::default(), told));
        let packets = run(&mut voice, 12, Some(96));
        let events: Vec<_> = packets.iter().filter(|p| p.1 == 96).collect();
        assert_eq!(events.len(), 5 + 3);
        assert!(events.iter().all(|p| p.3 == events[0].3 && p.4[0] == 11));
        assert_eq!(events.iter().filter(|p| p.0).count(), 1);
        assert_eq!(events.iter().filter(|p| p.4[1] & 0x80 != 0).count(), 3);
        assert_eq!(events[7].4[2..], 800_u16.to_be_bytes());
        assert!(packets.windows(2).all(|w| w[1].2 == w[0].2.wrapping_add(1)));
        let pressed = pressed.blocking_recv().expect("told");
        assert_eq!((pressed.started, pressed.ended), (vec![Moment::ZERO], vec![Moment::from_millis(100)]));
    }

    #[test]
    fn who_takes_no_events_gets_tones() {
        let mut voice = Voice::new(&mut fastrand::Rng::with_seed(1));
        let (told, _) = oneshot::channel();
        assert!(voice.press(vec![5], KeyTiming::default(), told));
        let packets = run(&mut voice, 8, None);
        assert!(packets.iter().all(|p| p.1 == 0));
        assert!(packets[0].4.iter().any(|b| Law::Mu.decode(*b) > 8_000));
        assert!(packets[6].4.iter().all(|b| *b == 0xff));
    }

    #[test]
    fn every_key_has_a_code() {
        let codes: Vec<u8> = "0123456789*#abcd".chars().filter_map(event_of).collect();
        assert_eq!(codes, (0..16).collect::<Vec<u8>>());
        assert_eq!(event_of('x'), None);
    }
}
