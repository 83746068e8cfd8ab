//! Telephone events: RFC 4733.
//!
//! A key press is a train of packets that all carry the timestamp of its beginning and a duration that grows; the
//! last one, sent three times, has the end bit. Any of them may be lost. Each press is told once when it begins
//! and once when it ends, whatever of the train arrives and whether or not its first packet carries the marker.

use std::time::Duration;

use super::Timestamp;
use crate::time::Moment;

/// What became known about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// It is held down. Always followed by one [`Key::Up`].
    Down {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
    },
    /// It was let go.
    Up {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
        /// How long it was held, as far as is known.
        duration: Duration,
    },
}

/// Reads one call's events. No allocation, no clock.
#[derive(Debug)]
pub struct KeyReader {
    clock_hz: u32,
    current: Option<Press>,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    /// The event number.
    event: u8,
    /// The timestamp that its packets carry now.
    timestamp: Timestamp,
    /// Samples before `timestamp`, when the press is longer than one event can say.
    before: u32,
    /// Samples since `timestamp`.
    duration: u16,
    /// When its last packet came.
    heard: Moment,
    /// Its end was told.
    over: bool,
}

impl Default for KeyReader {
    /// Of a stream with a clock of 8 kHz.
    fn default() -> Self {
        Self::new(8_000)
    }
}

impl KeyReader {
    /// Reads the events of a stream whose timestamps count `clock_hz` a second: events have their audio's clock (RFC
    /// 4733, section 2.1).
    #[must_use]
    pub const fn new(clock_hz: u32) -> Self {
        Self { clock_hz, current: None }
    }

    /// A press of which nothing came for this long has ended: its end packets were lost. (Senders repeat every
    /// 20 or 50 ms; RFC 4733, section 2.5.1.2.)
    pub const SILENCE: Duration = Duration::from_millis(200);

    /// Takes an event's payload. `false`: it was too short to be one.
    pub fn packet(
        &mut self,
        now: Moment,
        timestamp: Timestamp,
        payload: &[u8],
        out: &mut dyn FnMut(Key),
    ) -> bool {
        let Some(&[event, flags, high, low]) = payload.first_chunk::<4>() else { return false };
        let (end, duration) = (flags & 0x80 != 0, u16::from_be_bytes([high, low]));
        match &mut self.current {
            Some(press) if press.timestamp == timestamp => {
                if !press.over {
                    press.heard = now;
                    press.duration = press.duration.max(duration);
                }
            }
            Some(press) if timestamp.after(press.timestamp) < 0 => return true,
            Some(press) if press.continues(event, timestamp) => {
                press.before += u32::from(press.duration);
                press.timestamp = timestamp;
                press.duration = duration;
                press.heard = now;
            }
            _ => {
                self.let_go(out);
                self.current = Some(Press { event, timestamp, before: 0, duration, heard: now, over: false });
                if let Some(digit) = digit(event) {
                    out(Key::Down { digit });
                }
            }
        }
        if end {
            self.let_go(out);
        }
        true
    }

    /// Ends a press whose end packets were lost. To be called every 20 ms or so.
    pub fn poll(&mut self, now: Moment, out: &mut dyn FnMut(Key)) {
        if self.current.is_some_and(|press| !press.over && now.since(press.heard) >= Self::SILENCE) {
            self.let_go(out);
        }
    }

    fn let_go(&mut self, out: &mut dyn FnMut(Key)) {
        let Some(press) = self.current.as_mut().filter(|press| !press.over) else { return };
        press.over = true;
        if let Some(digit) = digit(press.event) {
            let samples = u64::from(press.before) + u64::from(press.duration);
            let nanos = samples * 1_000_000_000 / u64::from(self.clock_hz.max(1));
            out(Key::Up { digit, duration: Duration::from_nanos(nanos) });
        }
    }
}

impl Press {
    /// A press longer than 65,535 samples goes on as a new event that begins where this one stopped (RFC 4733,
    /// section 2.5.1.3).
    fn continues(&self, event: u8, timestamp: Timestamp) -> bool {
        !self.over
            && self.event == event
            && self.duration > 0x8000
            && timestamp == self.timestamp.plus(u32::from(self.duration))
    }
}

/// The key of an event number; [`None`] for a flash and everything that is no key.
fn digit(event: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(event)).map(|byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u8 = 0x80;

    fn run(packets: &[(u64, u32, [u8; 2], u16)]) -> Vec<Key> {
        let (mut reader, mut keys) = (KeyReader::default(), Vec::new());
        for (at, timestamp, [event, flags], duration) in packets {
            let [high, low] = duration.to_be_bytes();
            let payload = [*event, *flags, high, low];
            let now = Moment::from_millis(*at);
            reader.poll(now, &mut |key| keys.push(key));
            assert!(reader.packet(now, Timestamp(*timestamp), &payload, &mut |key| keys.push(key)));
        }
        keys
    }

    fn press(digit: char, ms: u64) -> [Key; 2] {
        [Key::Down { digit }, Key::Up { digit, duration: Duration::from_millis(ms) }]
    }

    #[test]
    fn a_press_is_told_once_though_its_end_comes_three_times() {
        let keys = run(&[
            (0, 800, [5, 10], 160),
            (20, 800, [5, 10], 320),
            (40, 800, [5, END], 480),
            (41, 800, [5, END], 480),
            (42, 800, [5, END], 480),
        ]);
        assert_eq!(keys, press('5', 60));
    }

    #[test]
    fn a_press_of_which_only_the_end_arrives_is_told_all_the_same() {
        assert_eq!(run(&[(0, 800, [11, END], 800), (1, 800, [11, END], 800)]), press('#', 100));
    }

    #[test]
    fn the_same_key_twice_is_two_presses() {
        let keys = run(&[(0, 0, [1, 0], 160), (20, 0, [1, END], 320), (200, 1_600, [1, END], 320)]);
        assert_eq!(keys, [press('1', 40), press('1', 40)].concat());
    }

    #[test]
    fn lost_ends_are_made_up_by_the_next_press_or_by_time() {
        let keys = run(&[(0, 0, [2, 0], 160), (100, 800, [3, 0], 160), (400, 9_000, [4, END], 80)]);
        assert_eq!(keys, [press('2', 20), press('3', 20), press('4', 10)].concat());
        let (mut reader, mut keys) = (KeyReader::default(), Vec::new());
        reader.packet(Moment::ZERO, Timestamp(0), &[10, 0, 0, 160], &mut |key| keys.push(key));
        reader.poll(Moment::from_millis(199), &mut |key| keys.push(key));
        assert_eq!(keys.len(), 1);
        reader.poll(Moment::from_millis(200), &mut |key| keys.push(key));
        assert_eq!(keys, press('*', 20));
    }

    #[test]
    fn an_old_packet_after_the_next_press_began_changes_nothing() {
        let keys = run(&[
            (0, 0, [2, END], 160),
            (100, 800, [3, 0], 160),
            (101, 0, [2, END], 160),
            (120, 800, [3, END], 320),
        ]);
        assert_eq!(keys, [press('2', 20), press('3', 40)].concat());
    }

    #[test]
    fn a_very_long_press_is_one_press() {
        let keys = run(&[(0, 0, [9, 0], 0xffff), (20, 0xffff, [9, 0], 160), (40, 0xffff, [9, END], 321)]);
        assert_eq!(keys, press('9', (65_535 + 321) / 8));
    }

    #[test]
    fn the_length_of_a_press_is_by_the_clock_of_its_stream() {
        let (mut reader, mut keys) = (KeyReader::new(48_000), Vec::new());
        reader.packet(Moment::ZERO, Timestamp(0), &[1, END, 0x12, 0xc0], &mut |key| keys.push(key));
        assert_eq!(keys, press('1', 100));
    }

    #[test]
    fn a_flash_is_no_key_and_three_bytes_are_no_event() {
        assert_eq!(run(&[(0, 0, [16, END], 160)]), []);
        assert!(!KeyReader::default().packet(Moment::ZERO, Timestamp(0), &[1, 2, 3], &mut |_| ()));
    }
}
