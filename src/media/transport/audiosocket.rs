//! AudioSocket: a kind, a length of two bytes, a payload, in both directions (Asterisk's res_audiosocket.c).
//!
//! Asterisk opens the connection and says its UUID first. An audio payload that comes more than 5 ms after its header
//! makes Asterisk give the stream up, so a message goes out in one write, and two seconds without any do the same.

use super::outbox::Outbox;
use super::pieces::{Extent, Pieces};
use crate::audio::Rate;

/// A kind, and a length in network order.
pub(in crate::media) const HEADER: usize = 3;

/// The kind of a message.
pub(in crate::media) mod kind {
    /// The far end ends the call.
    pub(in crate::media) const HANGUP: u8 = 0x00;
    /// Sixteen bytes that say which call it is.
    pub(in crate::media) const UUID: u8 = 0x01;
    /// A key, as one ASCII character.
    pub(in crate::media) const KEY: u8 = 0x03;
    /// Audio in the 8 kHz format that was asked for, whatever its encoding; slin12 and up follow it to 0x18.
    pub(in crate::media) const AUDIO: u8 = 0x10;
    /// The same at 16 kHz, linear.
    pub(in crate::media) const AUDIO_16K: u8 = 0x12;
    /// The last of the audio kinds.
    pub(in crate::media) const LAST_AUDIO: u8 = 0x18;
    /// Something went wrong over there.
    pub(in crate::media) const ERROR: u8 = 0xff;
}

/// The largest message that is taken. A frame of slin192 would be 7,680 bytes; nobody asks for that.
const LARGEST: usize = 4_096;

/// Two messages of 20 ms at 16 kHz: one that is being written, one that waits for it.
const OUTBOX: usize = 2 * (HEADER + 640);

/// What a stream says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::media) enum Said<'a> {
    /// Audio, in the format that was asked for.
    Audio(&'a [u8]),
    /// A key was pressed and let go.
    Key(char),
    /// It introduces itself.
    Uuid([u8; 16]),
    /// The far end ends the call.
    HangUp,
    /// Nothing that we know: the stream cannot be trusted any more.
    Broken,
}

/// Reads messages out of a stream of bytes, however they are cut.
#[derive(Debug, Default)]
pub(in crate::media) struct Reader {
    pieces: Pieces,
}

impl Reader {
    pub(in crate::media) fn new() -> Self {
        Self { pieces: Pieces::with_room(HEADER + LARGEST) }
    }

    /// Takes what came. After [`Said::Broken`] or [`Said::HangUp`] nothing more is read.
    pub(in crate::media) fn read(&mut self, bytes: &[u8], out: &mut dyn FnMut(Said<'_>)) -> bool {
        let read = self.pieces.read(bytes, extent, |message| tell(message, out));
        read.unwrap_or_else(|Unknown| broken(out))
    }
}

/// A message that is longer than any of Asterisk's.
struct Unknown;

/// The length of the message that begins here, with its header.
fn extent(bytes: &[u8]) -> Result<Extent, Unknown> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else { return Ok(Extent::Takes(HEADER)) };
    let len = usize::from(u16::from_be_bytes([header[1], header[2]]));
    if len > LARGEST { Err(Unknown) } else { Ok(Extent::Message(HEADER + len)) }
}

fn broken(out: &mut dyn FnMut(Said<'_>)) -> bool {
    out(Said::Broken);
    false
}

/// Hands a whole message on; whether there may be more.
fn tell(message: &[u8], out: &mut dyn FnMut(Said<'_>)) -> bool {
    let payload = &message[HEADER..];
    match (message[0], payload) {
        (kind::AUDIO..=kind::LAST_AUDIO, audio) => out(Said::Audio(audio)),
        (kind::KEY, [key, ..]) => out(Said::Key(char::from(*key))),
        (kind::UUID, uuid) => match uuid.try_into() {
            Ok(uuid) => out(Said::Uuid(uuid)),
            Err(_) => return broken(out),
        },
        (kind::HANGUP, _) => {
            out(Said::HangUp);
            return false;
        }
        // A message of a kind that comes with a later version is stepped over; an error ends the stream.
        (kind::ERROR, _) => return broken(out),
        _ => {}
    }
    true
}

/// One call's AudioSocket, without its socket.
pub(in crate::media) struct AudioSocket {
    pub(in crate::media) reader: Reader,
    pub(in crate::media) outbox: Outbox,
    audio: u8,
}

impl AudioSocket {
    pub(in crate::media) fn new(rate: Rate) -> Self {
        Self { reader: Reader::new(), outbox: Outbox::new(OUTBOX), audio: audio_kind(rate) }
    }

    /// Puts 20 ms into the outbox; false while an earlier message has not been written, for then the far end does not
    /// read, and a queue would only make what it hears later older.
    pub(in crate::media) fn audio(&mut self, payload: &[u8]) -> bool {
        self.outbox.is_empty() && self.outbox.push(&header(self.audio, payload.len()), payload, 0)
    }

    /// The last message of a call.
    pub(in crate::media) fn farewell(&mut self) {
        self.outbox.push(&header(kind::HANGUP, 0), &[], 0);
    }
}

/// The kind of audio at this rate.
pub(in crate::media) const fn audio_kind(rate: Rate) -> u8 {
    match rate {
        Rate::Hz8000 => kind::AUDIO,
        Rate::Hz16000 => kind::AUDIO_16K,
    }
}

/// The header of a message; `len` fits in two bytes.
pub(in crate::media) const fn header(kind: u8, len: usize) -> [u8; HEADER] {
    [kind, (len >> 8) as u8, len as u8]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&header(kind, payload.len())[..], payload].concat()
    }

    /// What a reader says of bytes that come in pieces of these lengths, as text.
    fn said(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut reader = Reader::new();
        let mut said = Vec::new();
        let mut rest = bytes;
        let mut cuts = cuts.iter().copied().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            rest = later;
            if !reader.read(now, &mut |what| said.push(format!("{what:?}"))) {
                break;
            }
        }
        said
    }

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let stream = [
            message(kind::UUID, &[7; 16]),
            message(kind::AUDIO, &[1, 2, 3]),
            message(kind::AUDIO, &[]),
            message(kind::KEY, b"5"),
            message(0x42, b"of a later version"),
            message(kind::AUDIO_16K, &[4; 640]),
            message(kind::HANGUP, &[]),
        ]
        .concat();
        let whole = said(&stream, &[stream.len()]);
        assert_eq!(whole.len(), 6, "{whole:?}");
        for cuts in [&[1][..], &[2], &[3], &[5, 1, 7], &[19], &[640]] {
            assert_eq!(said(&stream, cuts), whole, "{cuts:?}");
        }
    }

    #[test]
    fn a_length_that_nobody_sends_breaks_the_stream_and_one_at_the_limit_does_not() {
        let largest = message(kind::AUDIO, &[0; LARGEST]);
        assert_eq!(said(&largest, &[1_000]).len(), 1);
        let larger = message(kind::AUDIO, &[0; LARGEST + 1]);
        assert_eq!(said(&larger, &[1_000]), ["Broken"]);
        assert_eq!(said(&message(kind::ERROR, &[1]), &[2]), ["Broken"]);
        assert_eq!(said(&message(kind::UUID, &[1; 15]), &[2]), ["Broken"]);
    }

    #[test]
    fn a_message_waits_for_the_one_before_it_and_no_longer_queue_forms() {
        let mut socket = AudioSocket::new(Rate::Hz8000);
        assert!(socket.audio(&[0xff; 160]));
        socket.outbox.written(100);
        assert!(!socket.audio(&[0xff; 160]), "the first is not out");
        socket.outbox.written(63);
        assert!(socket.audio(&[0xff; 160]));
        assert_eq!(socket.outbox.pending()[..3], [0x10, 0, 160]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_the_same_in_any_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
            cuts in proptest::collection::vec(1_usize..400, 1..8),
        ) {
            prop_assert_eq!(said(&bytes, &cuts), said(&bytes, &[bytes.len().max(1)]));
        }
    }
}
