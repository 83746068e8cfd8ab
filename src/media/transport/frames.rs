//! The frames of a WebSocket (RFC 6455), read and written without a socket.
//!
//! Both roles are read: frames with a mask and without. Fragments are put together, control frames may come between
//! them. A frame or message above [`LARGEST`] ends the connection, and so does whatever the RFC forbids.

use super::outbox::Outbox;
use super::pieces::{Extent, Pieces};

/// The largest frame and message that is taken. Asterisk's largest is MEDIA_START with the variables of a channel.
pub(in crate::media) const LARGEST: usize = 16_384;

/// The longest header: two bytes, eight of length, four of mask.
const LONGEST_HEADER: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::media) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// What came: whole messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::media) enum Message<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// The far end closes; to be answered by the same.
    Close,
    /// What no WebSocket may send. Nothing more is read.
    Violation,
}

/// Reads messages out of a stream of bytes, however they are cut.
#[derive(Debug)]
pub(in crate::media) struct Reader {
    pieces: Pieces,
    /// The fragments of a message so far, and what it is.
    message: Vec<u8>,
    kind: Option<Opcode>,
    /// A payload without its mask.
    unmasked: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    /// Of the header.
    len: usize,
    last: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    payload: usize,
}

struct Forbidden;

impl Reader {
    pub(in crate::media) fn new() -> Self {
        // What Asterisk sends while a call goes on fits into this; what does not makes it grow once.
        let room = || Vec::with_capacity(2_048);
        Self { pieces: Pieces::with_room(2_048), message: room(), kind: None, unmasked: room() }
    }

    /// Takes what came. False after [`Message::Violation`] or [`Message::Close`]: nothing more is read.
    pub(in crate::media) fn read(&mut self, bytes: &[u8], out: &mut dyn FnMut(Message<'_>)) -> bool {
        let extent = |bytes: &[u8]| {
            // One byte at a time: a header has at most fourteen.
            let takes = Extent::Takes(bytes.len() + 1);
            Ok(head(bytes)?.map_or(takes, |head| Extent::Message(head.len + head.payload)))
        };
        let mut pieces = std::mem::take(&mut self.pieces);
        let read = pieces.read(bytes, extent, |frame| self.frame(frame, out));
        self.pieces = pieces;
        read.unwrap_or_else(|Forbidden| violated(out))
    }

    /// A whole frame.
    fn frame(&mut self, frame: &[u8], out: &mut dyn FnMut(Message<'_>)) -> bool {
        let Ok(Some(head)) = head(frame) else { return violated(out) };
        let mut payload = &frame[head.len..];
        let mut unmasked = std::mem::take(&mut self.unmasked);
        if let Some(mask) = head.mask {
            unmasked.clear();
            unmasked.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
            payload = &unmasked;
        }
        let goes_on = self.payload(head, payload, out);
        self.unmasked = unmasked;
        goes_on
    }

    fn payload(&mut self, head: Head, payload: &[u8], out: &mut dyn FnMut(Message<'_>)) -> bool {
        match (head.opcode, self.kind) {
            (Opcode::Ping, _) => out(Message::Ping(payload)),
            (Opcode::Pong, _) => {}
            (Opcode::Close, _) => {
                out(Message::Close);
                return false;
            }
            (Opcode::Text | Opcode::Binary, None) if head.last => out(whole(head.opcode, payload)),
            (Opcode::Text | Opcode::Binary, None) => {
                self.kind = Some(head.opcode);
                self.message.clear();
                self.message.extend_from_slice(payload);
            }
            (Opcode::Continuation, Some(kind)) if self.message.len() + payload.len() <= LARGEST => {
                self.message.extend_from_slice(payload);
                if head.last {
                    self.kind = None;
                    out(whole(kind, &self.message));
                }
            }
            // A message within a message, a continuation of nothing, or one that does not end.
            (Opcode::Text | Opcode::Binary, Some(_)) | (Opcode::Continuation, _) => return violated(out),
        }
        true
    }
}

fn whole(kind: Opcode, payload: &[u8]) -> Message<'_> {
    if kind == Opcode::Text { Message::Text(payload) } else { Message::Binary(payload) }
}

fn violated(out: &mut dyn FnMut(Message<'_>)) -> bool {
    out(Message::Violation);
    false
}

/// The header of the frame that begins here; [`None`] while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Forbidden> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    // No extension was agreed, so its bits are zero.
    if first & 0x70 != 0 {
        return Err(Forbidden);
    }
    let last = first & 0x80 != 0;
    let opcode = Opcode::of(first & 0x0f).ok_or(Forbidden)?;
    let short = usize::from(second & 0x7f);
    if opcode.is_control() && (!last || short > 125) {
        return Err(Forbidden);
    }
    let (extended, payload) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (2, usize::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (8, usize::try_from(u64::from_be_bytes(*len)).map_err(|_| Forbidden)?),
            None => return Ok(None),
        },
        len => (0, len),
    };
    if payload > LARGEST {
        return Err(Forbidden);
    }
    let mut len = 2 + extended;
    let mut mask = None;
    if second & 0x80 != 0 {
        match rest[extended..].first_chunk::<4>() {
            Some(key) => mask = Some(*key),
            None => return Ok(None),
        }
        len += 4;
    }
    Ok(Some(Head { len, last, opcode, mask, payload }))
}

/// Adds a whole frame to an outbox, masked as a client must; false when there is no room for it and `spare` bytes more.
pub(in crate::media) fn push(
    outbox: &mut Outbox,
    opcode: Opcode,
    parts: [&[u8]; 3],
    mask: Option<[u8; 4]>,
    spare: usize,
) -> bool {
    let payload: usize = parts.iter().map(|part| part.len()).sum();
    let mut header = [0; LONGEST_HEADER];
    let len = write_head(&mut header, opcode, payload, mask);
    let Some(room) = outbox.room(len + payload, spare) else { return false };
    room[..len].copy_from_slice(&header[..len]);
    let mut at = len;
    for part in parts {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    if let Some(mask) = mask {
        for (byte, key) in room[len..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
    true
}

/// Writes a header; its length. Payloads are shorter than 64 KiB.
fn write_head(
    header: &mut [u8; LONGEST_HEADER],
    opcode: Opcode,
    payload: usize,
    mask: Option<[u8; 4]>,
) -> usize {
    header[0] = 0x80 | opcode as u8;
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut len = 2;
    #[expect(clippy::cast_possible_truncation, reason = "a payload is shorter than 64 KiB")]
    if payload < 126 {
        header[1] = masked | payload as u8;
    } else {
        header[1] = masked | 126;
        header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        len = 4;
    }
    if let Some(mask) = mask {
        header[len..len + 4].copy_from_slice(&mask);
        len += 4;
    }
    len
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut outbox = Outbox::new(LARGEST + LONGEST_HEADER);
        assert!(push(&mut outbox, opcode, [payload, &[], &[]], mask, 0));
        outbox.pending().to_vec()
    }

    fn said(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
        let (mut reader, mut said, mut rest) = (Reader::new(), Vec::new(), bytes);
        let mut cuts = cuts.iter().copied().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            rest = later;
            if !reader.read(now, &mut |message| said.push(format!("{message:?}"))) {
                break;
            }
        }
        said
    }

    #[test]
    fn messages_of_every_length_and_role_come_back() {
        for len in [0, 1, 125, 126, 127, 640, 65_535.min(LARGEST)] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            for mask in [None, Some([1, 2, 3, 4])] {
                let bytes = frame(Opcode::Binary, &payload, mask);
                assert_eq!(said(&bytes, &[3]), [format!("{:?}", Message::Binary(&payload))], "{len}");
            }
        }
    }

    #[test]
    fn fragments_are_put_together_and_a_ping_may_come_between_them() {
        let mut first = frame(Opcode::Text, b"MEDIA_", None);
        first[0] &= 0x7f;
        let last = frame(Opcode::Continuation, b"XOFF", Some([9; 4]));
        let ping = frame(Opcode::Ping, b"?", None);
        let whole = format!("{:?}", Message::Text(b"MEDIA_XOFF"));
        let bytes = [first.clone(), ping, last.clone()].concat();
        assert_eq!(said(&bytes, &[1]), [format!("{:?}", Message::Ping(b"?")), whole]);
        assert_eq!(said(&last, &[1]), ["Violation"], "a continuation of nothing");
        assert_eq!(said(&[first.clone(), first].concat(), &[4]), ["Violation"], "a message in a message");
    }

    #[test]
    fn what_is_too_large_or_forbidden_ends_it() {
        let too_large = [0x82, 127, 0, 0, 0, 0, 0, 0, 0x40, 0x01];
        assert_eq!(said(&too_large, &[1]), ["Violation"]);
        let endless = [0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(said(&endless, &[10]), ["Violation"]);
        assert_eq!(said(&[0xc2, 0], &[2]), ["Violation"], "an extension that nobody agreed to");
        assert_eq!(said(&[0x83, 0], &[2]), ["Violation"], "an unknown opcode");
        assert_eq!(said(&[0x09, 0], &[2]), ["Violation"], "a ping in pieces");
        assert_eq!(said(&[0x89, 126, 0, 126], &[4]), ["Violation"], "a long ping");
        let mut parts = frame(Opcode::Binary, &[0; 9_000], None);
        parts[0] &= 0x7f;
        let mut more = frame(Opcode::Continuation, &[0; 9_000], None);
        more[0] &= 0x7f;
        assert_eq!(said(&[parts, more].concat(), &[1_000]), ["Violation"], "a message that grows too large");
    }

    #[test]
    fn nothing_is_read_after_the_end() {
        let bytes = [frame(Opcode::Close, &[3, 232], None), frame(Opcode::Text, b"more", None)].concat();
        assert_eq!(said(&bytes, &[bytes.len()]), ["Close"]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_the_same_in_any_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            cuts in proptest::collection::vec(1_usize..40, 1..8),
        ) {
            prop_assert_eq!(said(&bytes, &cuts), said(&bytes, &[bytes.len().max(1)]));
        }

        #[test]
        fn messages_in_any_pieces_and_masks_come_back_as_they_were_sent(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 1..6),
            mask in proptest::option::of(any::<[u8; 4]>()),
            cuts in proptest::collection::vec(1_usize..400, 1..8),
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|p| frame(Opcode::Binary, p, mask)).collect();
            let expected: Vec<String> = payloads.iter().map(|p| format!("{:?}", Message::Binary(p))).collect();
            prop_assert_eq!(said(&bytes, &cuts), expected);
        }
    }
}
