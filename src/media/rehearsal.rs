//! One call without a thread, a socket or a clock: the same code as on a media thread, at the pace of whoever drives it.
//!
//! A benchmark plays captures to it in virtual time, `offhook replay` shows what a bot would have heard of one, tests play
//! an hour of a bad network in a blink.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use super::hearing::Hearing;
use super::line::{LONGEST_PACKET, Line, LineParts};
use super::playout::Playout;
use super::tape::Tape;
use super::transport::Transport;
use super::transport::rtp::Rtp;
use super::{CallShared, Command, EVENTS, MediaError, MediaEvent, MediaStats, TAPE};
use crate::audio::codec::{ByteOrder, Decoder, Encoder, Format};
use crate::audio::ring::{self, EarReader, PlayId, TapeItem, TapeReader, VoiceItem, VoiceWriter};
use crate::id::CallId;
use crate::rtp::PayloadType;
use crate::time::{Moment, WallTime};
use crate::turn::vad::Vad;
use crate::turn::{BargeIn, Listening, TurnTaker};

/// A call over RTP in virtual time. One thread; allocates when it is made, never after.
pub struct Rehearsal {
    line: Line,
    events: mpsc::Receiver<MediaEvent>,
    ear: EarReader,
    voice: VoiceWriter,
    tape: TapeReader,
    packet: [u8; LONGEST_PACKET],
}

impl Rehearsal {
    /// A call that begins at `now`, whose packets are of `format` and whose telephone events have the payload type
    /// `key_events`.
    ///
    /// # Errors
    /// When this build does not have the format.
    pub fn new(
        now: Moment,
        format: Format,
        key_events: PayloadType,
        vad: Box<dyn Vad>,
    ) -> Result<Self, MediaError> {
        let (decoder, encoder) =
            (Decoder::new(format, ByteOrder::Big)?, Encoder::new(format, ByteOrder::Big)?);
        let (ear_writer, ear) = ring::ear(128);
        let (voice, voice_reader) = ring::voice(25);
        let (tape_writer, tape) = ring::tape(TAPE);
        let (events_out, events) = mpsc::channel(EVENTS);
        let parts = LineParts {
            call: CallId::new(WallTime(0)),
            key: 0,
            peer: ([127, 0, 0, 1], 0).into(),
            transport: Transport::Rtp(Rtp::new(format, key_events)),
            encoder,
            hearing: Hearing::new(TurnTaker::new(vad), ear_writer, decoder, format.rate()),
            playout: Playout::new(voice_reader, format.rate(), false),
            tape: Some(Tape::new(tape_writer)),
            events: events_out,
            shared: Arc::new(CallShared::default()),
        };
        Ok(Self { line: Line::new(now, parts), events, ear, voice, tape, packet: [0; LONGEST_PACKET] })
    }

    /// A datagram of the caller's comes.
    pub fn packet(&mut self, now: Moment, datagram: &[u8]) {
        self.line.packet(now, datagram);
    }

    /// When [`wait_over`](Self::wait_over) should be called; [`None`] while no packet is waited for.
    #[must_use]
    pub fn due(&self, now: Moment) -> Option<Moment> {
        self.line.due(now)
    }

    /// A packet may have been waited for long enough.
    pub fn wait_over(&mut self, now: Moment) {
        self.line.wait_over(now);
    }

    /// To be called every 20 ms: the packet that the bot sends.
    pub fn tick(&mut self, now: Moment) -> &[u8] {
        let length = self.line.tick(now, 0, &mut self.packet);
        self.line.ticked(now, Some(true));
        &self.packet[..length]
    }

    /// What has happened, in order; [`None`] when all of it was told. Read it after every packet and tick: it is
    /// bounded.
    pub fn event(&mut self) -> Option<MediaEvent> {
        self.events.try_recv().ok()
    }

    /// The ear: what a recogniser would get.
    #[must_use]
    pub fn ear(&self) -> &EarReader {
        &self.ear
    }

    /// Both sides of the next 20 ms that have gone by.
    pub fn heard(&mut self) -> Option<TapeItem> {
        self.tape.try_pop()
    }

    /// As [`Control::listen`](super::Control::listen).
    pub fn listen(&mut self, now: Moment, how: Listening) {
        self.line.command(now, Command::Listen(how));
    }

    /// As [`Control::begin_play`](super::Control::begin_play).
    pub fn begin_play(&mut self, now: Moment, play: PlayId, how: BargeIn) {
        self.line.command(now, Command::Announce(play, how));
    }

    /// As [`Control::flush`](super::Control::flush).
    pub fn flush(&mut self, now: Moment, play: PlayId) {
        self.line.command(now, Command::Flush(play));
    }

    /// Writes to the voice; whether there was room.
    pub fn say(&mut self, item: VoiceItem) -> bool {
        matches!(self.voice.push(item).now_or_never(), Some(Ok(())))
    }

    /// The call's numbers.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        self.line.stats()
    }
}

#[cfg(all(test, feature = "opus"))]
mod tests {
    use super::*;
    use crate::audio::tone::Tone;
    use crate::audio::{PTIME, Rate};
    use crate::rtp::sender::Sender;
    use crate::turn::vad::WebRtcVad;

    #[test]
    fn a_lost_packet_of_opus_is_made_up_from_the_copy_in_its_successor() {
        let format = Format::Opus;
        let mut now = Moment::from_millis(1_000);
        let vad = Box::new(WebRtcVad::new(Rate::Hz8000));
        let mut call = Rehearsal::new(now, format, PayloadType::EVENTS, vad).expect("it is built in");
        let mut encoder = Encoder::new(format, ByteOrder::Big).expect("it is built in");
        let payload_type = PayloadType::new(format.payload_type()).expect("below 128");
        let mut sender = Sender::new(payload_type);
        let mut tone = Tone::sine(Rate::Hz16000, 400.0, -12.0);
        let mut loudest = Vec::new();
        for i in 0..50 {
            let samples = [tone.frame().samples, tone.frame().samples].concat();
            let mut datagram = [0; 512];
            datagram[..12].copy_from_slice(&sender.next(960).to_bytes());
            let len = encoder.encode(&samples, &mut datagram[12..]).expect("room for it");
            if i != 30 {
                call.packet(now, &datagram[..12 + len]);
            }
            call.tick(now + PTIME / 2);
            while let Some(both) = call.heard() {
                loudest.push(both.caller.samples.iter().map(|sample| sample.unsigned_abs()).max());
            }
            now = now + PTIME;
        }
        assert_eq!((call.stats().stream.lost, call.stats().concealed_ms), (1, 20));
        let quiet = loudest[20..45].iter().filter(|level| **level < Some(3_000)).count();
        assert!(quiet <= 1, "but for the tick in which nothing came the tone goes on: {loudest:?}");
    }
}
