//! WebSocket media (Asterisk's chan_websocket.c): binary messages of audio, text messages of control, in two dialects.
//!
//! Asterisk queues what it gets and plays a frame every 20 ms by its own clock. So that nothing said late waits behind what
//! was said early, its queue is kept at [`TARGET`] frames: a mark goes before every frame of speech and before some of
//! silence, and comes back when playout reaches it. Between two marks the clock tells. What a flush threw away and what was
//! heard before it is known when the mark behind it has come back.
//!
//! A server that knows no marks (before 20.18, 22.8, 23.2), or passes packets through unread (Opus), is believed to play a
//! frame every 20 ms, and asked for the length of its queue now and then.

use std::io::Write as _;
use std::time::Duration;

use serde::Deserialize;

use super::frames::{self, Message, Opcode, Reader};
use super::outbox::Outbox;
use crate::audio::PTIME;
use crate::time::Moment;

/// Frames that wait at the far end, the one that is played next among them.
const TARGET: usize = 3;

/// Frames that are sent at one tick at most, to fill an empty queue.
const BURST: usize = 3;

/// Frames of silence from one mark to the next.
const MARK_EVERY: u32 = 5;

/// Frames that may have been played since the last mark was: one more than lie between two.
const UNMARKED: u32 = MARK_EVERY + 1;

/// A far end that has played nothing for this long has stalled: what is said goes on without it.
const STALLED: Duration = Duration::from_millis(500);

/// How long a server may take to answer the first mark.
const FIRST_MARK: Duration = Duration::from_millis(500);

/// How long to wait for MEDIA_START before audio is sent without it.
const START: Duration = Duration::from_secs(1);

/// How often a server without marks is asked for the length of its queue.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Frames that may be on their way; more is a stall long before.
const ROOM: usize = 32;

/// The longest payload of 20 ms: linear audio at 16 kHz.
const LONGEST_PAYLOAD: usize = 640;

/// A third of a second of the widest format.
const OUTBOX: usize = 8_192;

/// What audio leaves free in the outbox for commands and pongs.
const SPARE: usize = 1_024;

/// The number of the mark that asks whether there are marks: no frame has it.
const PROBE: u32 = 0;

/// What a stream says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::media) enum Said<'a> {
    /// Audio in the format that was asked for.
    Audio(&'a [u8]),
    /// A key was pressed and let go.
    Key(char),
    /// Playout reached the frame or fence of this number.
    Reached(u32),
    /// What is no WebSocket, or no message that anybody sends.
    Broken,
}

/// How control messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dialect {
    Plain,
    Json,
}

/// Whether the far end reports marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Marks {
    /// Asked at this moment.
    Asked(Moment),
    Work,
    None,
}

/// A control message of Asterisk's, as far as we want it.
#[derive(Deserialize)]
struct Control<'a> {
    event: &'a str,
    correlation_id: Option<&'a str>,
    digit: Option<&'a str>,
    optimal_frame_size: Option<u32>,
    queue_length: Option<u32>,
}

/// One call's WebSocket, without its socket.
pub(in crate::media) struct WebSocket {
    reader: Reader,
    pub(in crate::media) outbox: Outbox,
    far: Far,
    /// We opened the connection, and must mask what we send.
    client: bool,
    made: Moment,
    dialect: Option<Dialect>,
}

/// What is known of the far end's playout.
#[derive(Debug)]
struct Far {
    marks: Marks,
    /// Frames that have not been reported to be played, oldest first.
    queue: [u32; ROOM],
    queued: usize,
    /// When the oldest of the queue would have been the next to be played.
    since: Moment,
    /// When the far end last showed that it plays.
    moved: Moment,
    unmarked: u32,
    was_speech: bool,
    /// MEDIA_XOFF.
    stopped: bool,
    /// It plays packets without reading them: no marks, no flush.
    passes_through: bool,
    asked: Moment,
}

impl WebSocket {
    pub(in crate::media) fn new(now: Moment, client: bool) -> Self {
        Self {
            reader: Reader::new(),
            outbox: Outbox::new(OUTBOX),
            far: Far::new(now),
            client,
            made: now,
            dialect: None,
        }
    }

    /// Takes what came; false when the connection is over.
    pub(in crate::media) fn read(
        &mut self,
        now: Moment,
        bytes: &[u8],
        out: &mut dyn FnMut(Said<'_>),
    ) -> bool {
        let Self { reader, outbox, far, client, dialect, .. } = self;
        let mut out_box = Out { outbox, client: *client };
        reader.read(bytes, &mut |message| match message {
            Message::Binary(audio) => out(Said::Audio(audio)),
            Message::Text(text) => control(now, text, far, dialect, &mut out_box, out),
            Message::Ping(payload) => {
                out_box.send(Opcode::Pong, payload, &[]);
            }
            Message::Close => {
                out_box.send(Opcode::Close, &NORMAL, &[]);
            }
            Message::Violation => {
                out_box.send(Opcode::Close, &PROTOCOL_ERROR, &[]);
                out(Said::Broken);
            }
        })
    }

    /// What is due every 20 ms, before frames are asked for. Calls `reached` with the frames that a far end without marks
    /// must have played.
    pub(in crate::media) fn tick(&mut self, now: Moment, reached: &mut dyn FnMut(u32)) {
        let Self { far, dialect, outbox, client, made, .. } = self;
        if dialect.is_none() && now.since(*made) >= START {
            // An older one may begin without a word.
            *dialect = Some(Dialect::Plain);
            far.marks = Marks::None;
        }
        let Some(dialect) = *dialect else { return };
        if let Marks::Asked(at) = far.marks
            && now.since(at) >= FIRST_MARK
        {
            tracing::debug!("this Asterisk reports no marks: what was heard is told by the clock");
            far.marks = Marks::None;
        }
        if far.marks != Marks::Work {
            while far.queued > 0 && far.elapsed(now) > 0 {
                reached(far.queue[0]);
                far.since = far.since + PTIME;
                far.moved = now;
                far.drop_front(1);
            }
            if now.since(far.asked) >= ASK_EVERY {
                far.asked = now;
                Out { outbox, client: *client }.command(dialect, "GET_STATUS", None);
            }
        }
    }

    /// Whether a frame is wanted now, `sent` having gone out at this tick.
    pub(in crate::media) fn wants(&self, now: Moment, sent: usize) -> bool {
        self.dialect.is_some() && !self.far.stopped && sent < BURST && self.far.waiting(now) < TARGET
    }

    /// Whether the far end has nothing left to play.
    pub(in crate::media) fn is_dry(&self, now: Moment) -> bool {
        self.far.waiting(now) == 0
    }

    /// Whether the far end plays nothing, so that what is said goes on without it.
    pub(in crate::media) fn is_stalled(&self, now: Moment) -> bool {
        (self.far.stopped || self.far.waiting(now) >= TARGET) && now.since(self.far.moved) >= STALLED
    }

    /// Sends 20 ms under a number; false when there is no room. `fresh` speech goes before the silence that waits.
    pub(in crate::media) fn audio(
        &mut self,
        now: Moment,
        payload: &[u8],
        number: u32,
        speech: bool,
        fresh: bool,
    ) -> bool {
        let Some(dialect) = self.dialect else { return false };
        let Self { far, outbox, client, .. } = self;
        let mut out = Out { outbox, client: *client };
        if fresh && far.queued > 0 && far.marks == Marks::Work && out.command(dialect, "FLUSH_MEDIA", None) {
            far.queued = 0;
        }
        if far.queued == ROOM {
            return false;
        }
        let marked = far.marks == Marks::Work
            && (speech || std::mem::take(&mut far.was_speech) || far.unmarked + 1 >= MARK_EVERY);
        // Both or neither: a mark without its frame would be another one's.
        if out.room() < payload.len() + SPARE || marked && !out.command(dialect, "MARK_MEDIA", Some(number)) {
            return false;
        }
        out.send(Opcode::Binary, payload, &[]);
        far.unmarked = if marked { 0 } else { far.unmarked + 1 };
        far.was_speech = speech;
        if far.queued == 0 {
            far.since = now;
            if now.since(far.moved) > PTIME * 2 {
                // It had nothing to play: that was no stall.
                far.moved = now;
            }
        }
        far.queue[far.queued] = number;
        far.queued += 1;
        true
    }

    /// Replaces what the far end has not played: `again` puts the frame of a number into the payload and tells its length,
    /// or [`None`] for a frame that is left out. The numbers stay, so what is told of them later is as true as before.
    pub(in crate::media) fn replace(
        &mut self,
        now: Moment,
        again: &mut dyn FnMut(u32, &mut [u8]) -> Option<usize>,
    ) {
        let Some(dialect) = self.dialect else { return };
        let (queue, queued, since) = (self.far.queue, self.far.queued, self.far.since);
        if queued == 0 || self.far.passes_through {
            return;
        }
        let mut out = Out { outbox: &mut self.outbox, client: self.client };
        // All of it or nothing: what was thrown away and not sent again would be a hole.
        let mut payload = [0; LONGEST_PAYLOAD];
        if out.room() < (queued + 1) * (payload.len() + SPARE / 4) + SPARE
            || !out.command(dialect, "FLUSH_MEDIA", None)
        {
            return;
        }
        self.far.queued = 0;
        for number in &queue[..queued] {
            if let Some(len) = again(*number, &mut payload) {
                self.audio(now, &payload[..len], *number, true, false);
            }
        }
        if self.far.queued > 0 {
            // The first of them is played when it would have been.
            self.far.since = since;
        }
    }

    /// Throws away what the far end has not played; true when it will tell that it reached `fence`, and false when nothing
    /// will be told any more of what is on its way.
    pub(in crate::media) fn flush(&mut self, fence: u32) -> bool {
        let Some(dialect) = self.dialect else { return false };
        let Self { far, outbox, client, .. } = self;
        let mut out = Out { outbox, client: *client };
        if far.passes_through {
            return false;
        }
        out.command(dialect, "FLUSH_MEDIA", None);
        far.queued = 0;
        far.unmarked = 0;
        far.marks == Marks::Work && out.command(dialect, "MARK_MEDIA", Some(fence))
    }

    /// The last message.
    pub(in crate::media) fn farewell(&mut self) {
        Out { outbox: &mut self.outbox, client: self.client }.send(Opcode::Close, &NORMAL, &[]);
    }
}

/// Closing codes (RFC 6455, section 7.4.1).
const NORMAL: [u8; 2] = 1_000_u16.to_be_bytes();
const PROTOCOL_ERROR: [u8; 2] = 1_002_u16.to_be_bytes();

/// Writes messages.
struct Out<'a> {
    outbox: &'a mut Outbox,
    client: bool,
}

impl Out<'_> {
    fn send(&mut self, opcode: Opcode, payload: &[u8], rest: &[u8]) -> bool {
        let mask = self.client.then(|| fastrand::u32(..).to_ne_bytes());
        frames::push(self.outbox, opcode, [payload, rest, &[]], mask, 0)
    }

    fn room(&self) -> usize {
        OUTBOX - self.outbox.pending().len()
    }

    fn command(&mut self, dialect: Dialect, name: &str, number: Option<u32>) -> bool {
        let mut text = [0_u8; 96];
        let mut rest = &mut text[..];
        // Ninety-six bytes hold the longest of them.
        let _ = match (dialect, number) {
            (Dialect::Plain, None) => write!(rest, "{name}"),
            (Dialect::Plain, Some(number)) => write!(rest, "{name} {number}"),
            (Dialect::Json, None) => write!(rest, r#"{{"command":"{name}"}}"#),
            (Dialect::Json, Some(number)) => {
                write!(rest, r#"{{"command":"{name}","correlation_id":"{number}"}}"#)
            }
        };
        let len = 96 - rest.len();
        self.send(Opcode::Text, &text[..len], &[])
    }
}

/// A control message came.
fn control(
    now: Moment,
    text: &[u8],
    far: &mut Far,
    dialect: &mut Option<Dialect>,
    outbox: &mut Out<'_>,
    out: &mut dyn FnMut(Said<'_>),
) {
    let Ok(text) = std::str::from_utf8(text) else { return out(Said::Broken) };
    let json = text.starts_with('{');
    let parsed = if json { serde_json::from_str(text).ok() } else { plain(text) };
    // What a later version adds is no fault.
    let Some(control) = parsed else { return };
    match control.event {
        "MEDIA_START" if dialect.is_none() => {
            let spoken = if json { Dialect::Json } else { Dialect::Plain };
            *dialect = Some(spoken);
            far.passes_through = control.optimal_frame_size == Some(0);
            let asked = !far.passes_through && outbox.command(spoken, "MARK_MEDIA", Some(PROBE));
            far.marks = if asked { Marks::Asked(now) } else { Marks::None };
            far.moved = now;
        }
        "MEDIA_MARK_PROCESSED" => {
            let Some(number) = control.correlation_id.and_then(|id| id.trim().parse().ok()) else { return };
            far.marks = Marks::Work;
            far.played(now, number);
            if number != PROBE {
                out(Said::Reached(number));
            }
        }
        "DTMF_END" => {
            if let Some(key) = control.digit.and_then(|digit| digit.chars().next()) {
                out(Said::Key(key));
            }
        }
        "MEDIA_XOFF" => far.stopped = true,
        "MEDIA_XON" => {
            far.stopped = false;
            far.moved = now;
        }
        "QUEUE_DRAINED" => far.queued = 0,
        "STATUS" => {
            if let Some(length) = control.queue_length {
                far.length_is(now, length as usize);
            }
        }
        _ => {}
    }
}

/// `NAME value` or `NAME key:value key:value …`.
fn plain(text: &str) -> Option<Control<'_>> {
    let mut words = text.split_ascii_whitespace();
    let event = words.next()?;
    let mut control =
        Control { event, correlation_id: None, digit: None, optimal_frame_size: None, queue_length: None };
    for word in words {
        match word.split_once(':') {
            Some(("digit", digit)) => control.digit = Some(digit),
            Some(("optimal_frame_size", size)) => control.optimal_frame_size = size.parse().ok(),
            Some(("queue_length", length)) => control.queue_length = length.parse().ok(),
            Some(_) => {}
            None => control.correlation_id = Some(word),
        }
    }
    Some(control)
}

impl Far {
    const fn new(now: Moment) -> Self {
        Self {
            marks: Marks::None,
            queue: [0; ROOM],
            queued: 0,
            since: now,
            moved: now,
            unmarked: 0,
            was_speech: false,
            stopped: false,
            passes_through: false,
            asked: now,
        }
    }

    /// Frames that it must have begun since the last one that it told of.
    fn elapsed(&self, now: Moment) -> usize {
        usize::try_from(now.since(self.since).as_millis() / PTIME.as_millis()).unwrap_or(usize::MAX)
    }

    /// Frames that wait there.
    fn waiting(&self, now: Moment) -> usize {
        let most = if self.marks == Marks::Work { UNMARKED as usize } else { usize::MAX };
        self.queued.saturating_sub(self.elapsed(now).min(most))
    }

    fn drop_front(&mut self, count: usize) {
        self.queue.copy_within(count..self.queued, 0);
        self.queued -= count;
    }

    /// It plays the frame of this number.
    fn played(&mut self, now: Moment, number: u32) {
        self.moved = now;
        if let Some(at) = self.queue[..self.queued].iter().position(|queued| *queued == number) {
            self.drop_front(at + 1);
            self.since = now;
        }
    }

    /// It told the length of its queue.
    fn length_is(&mut self, now: Moment, length: usize) {
        if self.marks != Marks::Work && length > self.queued {
            // It is behind the clock: it is given the time.
            let behind = u32::try_from(length - self.queued).unwrap_or(0).min(50);
            self.since = now + PTIME * behind;
        }
    }
}
