//! Audio in binary messages: a header of eight bytes, and samples.
//!
//! | byte | what it is |
//! |---|---|
//! | 0 | 1, the version of this header |
//! | 1 | 1 for the caller's audio, 2 for the bot's |
//! | 2, 3 | the call's `stream` of `call_started`, the high byte first |
//! | 4 to 7 | of the caller's audio: when it was heard, in milliseconds since `call_started`, the high byte first; of the bot's: 0 |
//!
//! What follows is µ-law or linear samples, as `call_started` says; of the caller's 10 or 20 ms, of the bot's as many as one likes.

use bytes::{BufMut, Bytes, BytesMut};

use super::message::Encoding;
use crate::audio::Rate;
use crate::audio::g711::Law;
use crate::audio::resample::{Down2, Up2};

/// Bytes of the header.
pub const HEADER: usize = 8;

/// The largest binary message that is taken, in bytes.
pub const LARGEST: usize = 64 * 1_024 + HEADER;

const VERSION: u8 = 1;
const OF_CALLER: u8 = 1;
const OF_BOT: u8 = 2;

/// A message with audio of the caller's.
#[must_use]
pub fn of_caller(stream: u16, at_ms: u64, encoding: Encoding, samples: &[i16]) -> Bytes {
    let mut message = BytesMut::with_capacity(HEADER + 2 * samples.len());
    message.put_u8(VERSION);
    message.put_u8(OF_CALLER);
    message.put_u16(stream);
    #[expect(clippy::cast_possible_truncation, reason = "it wraps after 49 days")]
    message.put_u32(at_ms as u32);
    match encoding {
        Encoding::Ulaw => message.extend(samples.iter().map(|sample| Law::Mu.encode(*sample))),
        Encoding::Slin => samples.iter().for_each(|sample| message.put_i16_le(*sample)),
    }
    message.freeze()
}

/// A message with audio of the bot's, as a program writes it.
#[must_use]
pub fn of_bot(stream: u16, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(HEADER + payload.len());
    message.put_u8(VERSION);
    message.put_u8(OF_BOT);
    message.put_u16(stream);
    message.put_u32(0);
    message.put_slice(payload);
    message.freeze()
}

/// What a binary message from a program holds: its stream, and the payload.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read_bot(message: &Bytes) -> Result<(u16, Bytes), &'static str> {
    match message.get(..HEADER) {
        None => Err("a binary message begins with a header of 8 bytes"),
        Some([VERSION, OF_BOT, high, low, ..]) => {
            Ok((u16::from_be_bytes([*high, *low]), message.slice(HEADER..)))
        }
        Some([VERSION, ..]) => Err("the second byte of a binary message from a program is 2"),
        Some(_) => Err("the first byte of a binary message is 1, the version of its header"),
    }
}

/// Turns a program's payload into samples at the call's rate.
#[derive(Debug)]
pub struct Unpacker {
    encoding: Encoding,
    /// What is sent, and what is wanted.
    from: Rate,
    to: Rate,
    up: Up2,
    down: Down2,
    /// Half a sample, or half a pair of samples, of the message before.
    half: Option<u8>,
    odd: Option<i16>,
}

impl Unpacker {
    /// For audio of `encoding` at `from`, wanted at `to`.
    #[must_use]
    pub fn new(encoding: Encoding, from: Rate, to: Rate) -> Self {
        Self { encoding, from, to, up: Up2::new(), down: Down2::new(), half: None, odd: None }
    }

    /// The samples of a payload, behind those before.
    pub fn unpack(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let mut samples = Vec::with_capacity(payload.len());
        match self.encoding {
            Encoding::Ulaw => samples.extend(payload.iter().map(|code| Law::Mu.decode(*code))),
            Encoding::Slin => {
                let mut rest = payload;
                if let (Some(low), Some((high, after))) = (self.half, payload.split_first()) {
                    samples.push(i16::from_le_bytes([low, *high]));
                    (self.half, rest) = (None, after);
                }
                let (pairs, left) = rest.as_chunks::<2>();
                samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
                self.half = left.first().copied().or(self.half);
            }
        }
        match (self.from, self.to) {
            (Rate::Hz8000, Rate::Hz16000) => {
                let from = out.len();
                out.resize(from + 2 * samples.len(), 0);
                self.up.process(&samples, &mut out[from..]);
            }
            (Rate::Hz16000, Rate::Hz8000) => {
                if let Some(odd) = self.odd.take() {
                    samples.insert(0, odd);
                }
                if samples.len() % 2 == 1 {
                    self.odd = samples.pop();
                }
                let from = out.len();
                out.resize(from + samples.len() / 2, 0);
                self.down.process(&samples, &mut out[from..]);
            }
            _ => out.extend_from_slice(&samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_whose_audio_it_is_and_when_it_was_heard() {
        let message = of_caller(7, 258, Encoding::Slin, &[1, -2]);
        assert_eq!(message[..], [1, 1, 0, 7, 0, 0, 1, 2, 1, 0, 0xfe, 0xff]);
        let (stream, payload) = read_bot(&of_bot(513, &[0xff, 0x7f])).expect("a message");
        assert_eq!((stream, &payload[..]), (513, &[0xff, 0x7f][..]));
        for wrong in [&b""[..], b"1234567", b"\x01\x01345678", b"\x02\x02345678"] {
            assert!(read_bot(&Bytes::copy_from_slice(wrong)).is_err());
        }
    }

    #[test]
    fn samples_that_are_cut_between_messages_are_put_together() {
        for (from, to, expected) in [
            (Rate::Hz8000, Rate::Hz8000, 480),
            (Rate::Hz8000, Rate::Hz16000, 960),
            (Rate::Hz16000, Rate::Hz8000, 240),
        ] {
            let sound: Vec<u8> = (0..480_i16).flat_map(|n| (n * 20).to_le_bytes()).collect();
            let (mut whole, mut cut) = (Vec::new(), Vec::new());
            Unpacker::new(Encoding::Slin, from, to).unpack(&sound, &mut whole);
            let mut unpacker = Unpacker::new(Encoding::Slin, from, to);
            sound.chunks(7).for_each(|piece| unpacker.unpack(piece, &mut cut));
            assert_eq!((whole.len(), &whole), (expected, &cut));
        }
    }
}
