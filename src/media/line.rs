//! One call on a media thread: packets and ticks in, packets and events out. No socket, no clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::hearing::{Hearing, Signals};
use super::kept::Kept;
use super::playout::{Block, FULL, Notice, Outgoing, Playout};
use super::stats::MediaStats;
use super::tape::Tape;
use super::transport::Transport;
use super::transport::audiosocket;
use super::transport::websocket::{self, WebSocket};
use super::{CallShared, Command, MediaEvent};
use crate::audio::codec::{Encoder, Format};
use crate::audio::g711::Law;
use crate::audio::resample::Down2;
use crate::audio::ring::PlayId;
use crate::audio::{Frame, Rate};
use crate::id::CallId;
use crate::prefetch::{Reach, prefetch};
use crate::rtp::PayloadType;
use crate::rtp::event::{Key, KeyReader};
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::stream::Piece;
use crate::time::Moment;
use crate::turn::{TurnSignal, Words};

/// The longest payload of 20 ms: linear audio at 16 kHz.
const LONGEST_PAYLOAD: usize = 640;

/// The longest datagram that we send.
pub(super) const LONGEST_PACKET: usize = HEADER_LEN + LONGEST_PAYLOAD;

/// A call from which nothing came for this long is told to be quiet.
const QUIET: Duration = Duration::from_secs(3);

/// How long a key that came in the stream lasted, where the transport does not tell.
const UNTOLD_KEY: Duration = Duration::from_millis(100);

/// One call.
pub(super) struct Line {
    pub(super) call: CallId,
    pub(super) key: u64,
    /// Where its datagrams go; of no meaning for streams.
    pub(super) peer: SocketAddr,
    pub(super) shared: Arc<CallShared>,
    transport: Transport,
    talk: Talk,
    ticks: u32,
}

/// Every so many ticks the call's numbers are told: they lie in many places.
const PUBLISH_EVERY: u32 = 8;

/// All of a call but its transport, so that the transport can hand its pieces over.
struct Talk {
    encoder: Encoder,
    /// The number of the frame that was taken last.
    newest: u32,
    keys: KeyReader,
    hearing: Hearing,
    playout: Playout,
    tape: Option<Tape>,
    /// What the far end has not played, where it queues.
    kept: Option<Kept>,
    /// Brings what goes out to the turn taker's rate.
    down: Down2,
    events: Outlet,
    heard_at: Moment,
    quiet: bool,
    stats: MediaStats,
}

struct Outlet {
    events: mpsc::Sender<MediaEvent>,
    dropped: u64,
}

/// What a line is made of.
pub(super) struct LineParts {
    pub(super) call: CallId,
    pub(super) key: u64,
    pub(super) peer: SocketAddr,
    pub(super) transport: Transport,
    pub(super) encoder: Encoder,
    pub(super) hearing: Hearing,
    pub(super) playout: Playout,
    pub(super) tape: Option<Tape>,
    pub(super) events: mpsc::Sender<MediaEvent>,
    pub(super) shared: Arc<CallShared>,
}

impl Line {
    pub(super) fn new(now: Moment, parts: LineParts) -> Self {
        let rate = parts.encoder.format().rate();
        let kept = parts.transport.is_deferred().then(|| Kept::new(rate));
        Self {
            call: parts.call,
            key: parts.key,
            peer: parts.peer,
            shared: parts.shared,
            transport: parts.transport,
            talk: Talk {
                encoder: parts.encoder,
                newest: 0,
                keys: KeyReader::default(),
                hearing: parts.hearing,
                playout: parts.playout,
                tape: parts.tape,
                kept,
                down: Down2::new(),
                events: Outlet { events: parts.events, dropped: 0 },
                heard_at: now,
                quiet: false,
                stats: MediaStats::default(),
            },
            ticks: 0,
        }
    }

    /// Asks for the memory that the next packet needs, of this and then, when that has come, of what it points to.
    pub(super) fn prefetch_packet(&self, reached: Reach) {
        let Self { transport, talk, .. } = self;
        if let (Transport::Rtp(rtp), Reach::Near) = (transport, reached) {
            rtp.stream.prefetch();
        }
        talk.hearing.prefetch(reached);
    }

    /// The same for the next tick.
    pub(super) fn prefetch_tick(&self, reached: Reach) {
        self.talk.playout.prefetch(reached);
        if reached == Reach::Near {
            self.talk.hearing.turn.prefetch_tick();
            prefetch(&self.talk.stats);
            prefetch(&self.talk.heard_at);
        }
    }

    /// A datagram came from this call's peer.
    pub(super) fn packet(&mut self, now: Moment, datagram: &[u8]) {
        let Self { transport, talk, .. } = self;
        if let Transport::Rtp(rtp) = transport {
            talk.alive(now);
            rtp.stream.receive(now, datagram, &mut |piece| talk.piece(now, piece));
        }
    }

    /// Bytes came on this call's stream; whether it may go on.
    pub(super) fn bytes(&mut self, now: Moment, bytes: &[u8]) -> bool {
        let Self { transport, talk, .. } = self;
        talk.alive(now);
        let goes_on = match transport {
            Transport::Rtp(_) => false,
            Transport::AudioSocket(socket) => socket.reader.read(bytes, &mut |said| match said {
                audiosocket::Said::Audio(payload) => talk.audio(now, payload),
                audiosocket::Said::Key(key) => talk.key(now, key),
                audiosocket::Said::Broken => talk.stats.stream.malformed += 1,
                audiosocket::Said::Uuid(_) | audiosocket::Said::HangUp => {}
            }),
            Transport::WebSocket(socket) => socket.read(now, bytes, &mut |said| match said {
                websocket::Said::Audio(payload) => talk.audio(now, payload),
                websocket::Said::Key(key) => talk.key(now, key),
                websocket::Said::Reached(number) => talk.reached(now, number),
                websocket::Said::Broken => talk.stats.stream.malformed += 1,
            }),
        };
        self.flush_over_there(now);
        goes_on
    }

    /// What is to be written to this call's stream, in one go.
    pub(super) fn pending(&mut self) -> &[u8] {
        self.transport.outbox().map_or(&[], |outbox| outbox.pending())
    }

    /// So many of the pending bytes have been written.
    pub(super) fn written(&mut self, count: usize) {
        if let Some(outbox) = self.transport.outbox() {
            outbox.written(count);
        }
    }

    /// Puts the last words to the far end into [`pending`](Self::pending).
    pub(super) fn farewell(&mut self) {
        match &mut self.transport {
            Transport::Rtp(_) => {}
            Transport::AudioSocket(socket) => socket.farewell(),
            Transport::WebSocket(socket) => socket.farewell(),
        }
    }

    /// Something may have stopped a play, or turned it down: what the far end has of it is thrown away there, or replaced.
    fn flush_over_there(&mut self, now: Moment) {
        if let Some(gain) = self.talk.playout.take_requeue()
            && let Transport::WebSocket(socket) = &mut self.transport
        {
            self.talk.requeue(now, gain, socket);
        }
        if let Some(fence) = self.talk.playout.take_flush() {
            let told_later = match &mut self.transport {
                Transport::WebSocket(socket) => socket.flush(fence),
                Transport::Rtp(_) | Transport::AudioSocket(_) => false,
            };
            if !told_later {
                self.talk.reached(now, fence);
            }
        }
    }

    /// When [`wait_over`](Self::wait_over) should be called; [`None`] while no packet is waited for.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        if let Transport::Rtp(rtp) = &self.transport { rtp.stream.due(now) } else { None }
    }

    /// A packet may have been waited for long enough.
    pub(super) fn wait_over(&mut self, now: Moment) {
        let Self { transport, talk, .. } = self;
        if let Transport::Rtp(rtp) = transport {
            rtp.stream.poll(now, &mut |piece| talk.piece(now, piece));
        }
    }

    /// The bot wants something.
    pub(super) fn command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Listen(how) => {
                self.talk.hearing.end_utterance(now);
                self.talk.hearing.turn.listen(now, how);
            }
            Command::Deaf => {
                self.talk.hearing.end_utterance(now);
                self.talk.hearing.turn.deaf();
            }
            Command::Announce(play, how) => self.talk.playout.announce(play, how),
            Command::Flush(play) => self.talk.flush(now, play),
            Command::Key(at) => {
                if let Transport::Rtp(rtp) = &mut self.transport {
                    rtp.stream.key_reported(at);
                }
                self.talk.key_down(now, at);
            }
            Command::Words(words) => self.talk.words(now, words),
            Command::Answered { at, judged } => self.talk.hearing.picked_up(at, judged),
        }
        self.flush_over_there(now);
    }

    /// Every 20 ms. `skipped` ticks before this one were missed; they are gone. Gives the length of the datagram that it
    /// wrote into `packet`, 0 where [`pending`](Self::pending) is to be written instead.
    pub(super) fn tick(&mut self, now: Moment, skipped: u64, packet: &mut [u8; LONGEST_PACKET]) -> usize {
        self.talk.skip(skipped);
        self.wait_over(now);
        self.talk.tick(now);
        self.flush_over_there(now);
        let Self { transport, talk, .. } = self;
        match transport {
            Transport::Rtp(rtp) => {
                let out = talk.next(now);
                let header = rtp.header(skipped);
                packet[..HEADER_LEN].copy_from_slice(&header);
                HEADER_LEN + talk.encode(&out.block, &mut packet[HEADER_LEN..])
            }
            Transport::AudioSocket(socket) => {
                let out = talk.next(now);
                let mut payload = [0; LONGEST_PAYLOAD];
                let len = talk.encode(&out.block, &mut payload);
                let left = socket.audio(&payload[..len]);
                talk.left(now, left);
                0
            }
            Transport::WebSocket(socket) => {
                talk.tick_queued(now, socket);
                0
            }
        }
    }

    /// The tick is over; its datagram, if there was one, left at `now` or the system refused it.
    pub(super) fn ticked(&mut self, now: Moment, datagram_left: Option<bool>) {
        if let Some(left) = datagram_left {
            self.talk.left(now, left);
        }
        if let Some(tape) = &mut self.talk.tape {
            tape.tick();
        }
        if self.ticks.is_multiple_of(PUBLISH_EVERY) {
            self.shared.stats.publish(&self.stats());
        }
        self.ticks = self.ticks.wrapping_add(1);
    }

    /// Does what the turn taker would have it do.
    #[cfg(test)]
    pub(super) fn decided(&mut self, now: Moment, signal: TurnSignal) {
        let mut signals = Signals::default();
        signals.push(signal);
        self.talk.act(now, &signals);
        self.flush_over_there(now);
    }

    pub(super) fn stats(&self) -> MediaStats {
        let talk = &self.talk;
        let stream = match &self.transport {
            Transport::Rtp(rtp) => rtp.stream.stats(),
            Transport::AudioSocket(_) | Transport::WebSocket(_) => talk.stats.stream,
        };
        MediaStats {
            stream,
            undecodable: talk.hearing.undecodable(),
            concealed_ms: talk.hearing.concealed_ms(),
            underruns: talk.playout.underruns(),
            ear_dropped: talk.hearing.ear_dropped(),
            tape_dropped: talk.tape.as_ref().map_or(0, Tape::dropped),
            events_dropped: talk.events.dropped,
            ..talk.stats
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.finish(&self.stats());
    }
}

impl Talk {
    fn alive(&mut self, now: Moment) {
        self.heard_at = now;
        if std::mem::take(&mut self.quiet) {
            self.events.tell(MediaEvent::Back { at: now });
        }
    }

    /// A piece of RTP.
    fn piece(&mut self, now: Moment, piece: Piece<'_>) {
        let Self { hearing, tape, keys, events, stats, encoder, .. } = self;
        let mut signals = Signals::default();
        // From the timestamps' clock to samples of 8 kHz; both laws, which may come instead, have that clock.
        let clock_hz = u64::from(encoder.format().rtp_clock());
        let narrow = |units: u32| u32::try_from(u64::from(units) * 8_000 / clock_hz).unwrap_or(u32::MAX);
        let mut on_tape = |frame: &Frame| {
            if let Some(tape) = tape {
                tape.caller(frame);
            }
        };
        match piece {
            Piece::Audio { payload_type, payload, .. } => {
                let other = match payload_type {
                    PayloadType::PCMU if encoder.format() != Format::Ulaw => Some(Law::Mu),
                    PayloadType::PCMA if encoder.format() != Format::Alaw => Some(Law::A),
                    _ => None,
                };
                match other {
                    None => hearing.audio(now, payload, &mut signals, &mut on_tape),
                    Some(law) => {
                        stats.other_law += 1;
                        hearing.other_law(now, law, payload, &mut signals, &mut on_tape);
                    }
                }
            }
            Piece::Lost { samples } => {
                hearing.missing(now, narrow(samples), true, &mut signals, &mut on_tape);
            }
            Piece::Silence { samples } => {
                hearing.missing(now, narrow(samples), false, &mut signals, &mut |_| ());
            }
            // Until audio comes again there is silence, whatever colour it has.
            Piece::Noise { .. } => {}
            Piece::Event { timestamp, payload, .. } => {
                let turn = &mut hearing.turn;
                keys.packet(now, timestamp, payload, &mut |key| match key {
                    Key::Down { .. } => turn.key(now, &mut |signal| signals.push(signal)),
                    Key::Up { digit, duration } => {
                        events.tell(MediaEvent::Digit { digit, duration, at: now })
                    }
                });
            }
        }
        self.act(now, &signals);
    }

    /// Audio of a stream, which is in order and whole.
    fn audio(&mut self, now: Moment, payload: &[u8]) {
        let Self { hearing, tape, stats, .. } = self;
        let mut signals = Signals::default();
        stats.stream.received += 1;
        hearing.audio(now, payload, &mut signals, &mut |frame| {
            if let Some(tape) = tape {
                tape.caller(frame);
            }
        });
        self.act(now, &signals);
    }

    /// A key that a stream told of when it was let go.
    fn key(&mut self, now: Moment, digit: char) {
        if matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            self.key_down(now, now);
            self.events.tell(MediaEvent::Digit { digit, duration: UNTOLD_KEY, at: now });
        }
    }

    /// A key went down at `at`.
    fn key_down(&mut self, now: Moment, at: Moment) {
        let mut signals = Signals::default();
        self.hearing.turn.key(at, &mut |signal| signals.push(signal));
        self.act(now, &signals);
    }

    /// What the recogniser believes.
    fn words(&mut self, now: Moment, words: Words) {
        let mut signals = Signals::default();
        self.hearing.turn.words(now, words, &mut |signal| signals.push(signal));
        self.act(now, &signals);
    }

    fn act(&mut self, now: Moment, signals: &Signals) {
        for signal in signals.answers() {
            self.events.tell(MediaEvent::Answer(signal));
        }
        for signal in signals.iter() {
            self.hearing.mark(signal);
            self.events.tell(MediaEvent::Turn(signal));
            match signal {
                TurnSignal::Duck { .. } => self.playout.duck(),
                TurnSignal::Hush { .. } => self.playout.hush(),
                TurnSignal::Restore { .. } => self.playout.restore(),
                _ => {}
            }
            if matches!(signal, TurnSignal::BargeIn { .. }) && self.playout.interruptible() {
                let Self { playout, events, .. } = self;
                playout.barge_in(now, &mut |notice| events.notice(now, notice));
                self.hearing.turn.playing(now, None);
            }
        }
    }

    fn flush(&mut self, now: Moment, play: PlayId) {
        let was_playing = self.playout.is_playing();
        let Self { playout, events, .. } = self;
        playout.flush(now, play, super::PlayEnd::Flushed, &mut |notice| events.notice(now, notice));
        if was_playing && !self.playout.is_playing() {
            self.hearing.turn.playing(now, None);
        }
    }

    fn skip(&mut self, ticks: u64) {
        self.stats.skipped_ticks += ticks;
        if let Some(tape) = &mut self.tape {
            tape.skip(ticks);
        }
    }

    /// What is due every 20 ms, before anything goes out.
    fn tick(&mut self, now: Moment) {
        let mut signals = Signals::default();
        let Self { keys, events, .. } = self;
        keys.poll(now, &mut |key| {
            if let Key::Up { digit, duration } = key {
                events.tell(MediaEvent::Digit { digit, duration, at: now });
            }
        });
        self.hearing.tick(now, &mut signals);
        self.act(now, &signals);
        if !self.quiet && now.since(self.heard_at) >= QUIET {
            self.quiet = true;
            self.events.tell(MediaEvent::Quiet { since: self.heard_at });
        }
    }

    /// The next 20 ms of the bot's side.
    fn next(&mut self, now: Moment) -> Outgoing {
        let Self { playout, events, hearing, .. } = self;
        let was_playing = playout.is_playing();
        let out = playout.next(now, &mut |notice| match notice {
            Notice::Began(how) => hearing.turn.playing(now, Some(how)),
            told => events.notice(now, told),
        });
        if was_playing && !playout.is_playing() {
            hearing.turn.playing(now, None);
        }
        if let Some(tape) = &mut self.tape {
            tape.bot(out.block.samples());
        }
        let mut sent = Frame::silence(Rate::Hz8000);
        match out.block.rate() {
            Rate::Hz8000 => sent.samples.copy_from_slice(out.block.samples()),
            Rate::Hz16000 => {
                self.down.process(out.block.samples(), &mut sent.samples);
            }
        }
        self.hearing.sent(now, &sent);
        self.newest = out.number;
        out
    }

    /// Encodes 20 ms; the number of bytes.
    fn encode(&mut self, block: &Block, out: &mut [u8]) -> usize {
        self.encoder.encode(block.samples(), out).unwrap_or_default()
    }

    /// The frame that was taken last left at `now`, as good as heard, or it did not.
    fn left(&mut self, now: Moment, left: bool) {
        if !left {
            self.stats.send_errors += 1;
            self.playout.refused();
            return;
        }
        self.stats.sent += 1;
        self.reached(now, self.newest);
    }

    /// A tick where the far end queues what it gets and plays it by its own clock: as many frames as it lacks.
    fn tick_queued(&mut self, now: Moment, socket: &mut WebSocket) {
        socket.tick(now, &mut |number| self.reached(now, number));
        let Self { playout, events, .. } = self;
        playout.settle(now, &mut |notice| events.notice(now, notice));
        if socket.is_stalled(now) {
            // What is said goes on, and nobody hears it.
            let Self { playout, events, .. } = self;
            playout.give_up(&mut |notice| events.notice(now, notice));
            self.next(now);
            self.left(now, false);
            return;
        }
        let mut payload = [0; LONGEST_PAYLOAD];
        let mut sent = 0;
        while socket.wants(now, sent) {
            if self.playout.is_playing() && !self.playout.is_ready() && !socket.is_dry(now) {
                // What is being said comes no faster: silence behind it would be a hole in it.
                break;
            }
            let out = self.next(now);
            let len = self.encode(&out.block, &mut payload);
            if let Some(kept) = self.kept.as_mut().filter(|_| out.speech) {
                kept.keep(out.number, out.block.samples());
            }
            if !socket.audio(now, &payload[..len], out.number, out.speech, out.fresh) {
                return self.left(now, false);
            }
            self.stats.sent += 1;
            sent += 1;
        }
    }

    /// Sends what waits at the far end again, with another gain.
    fn requeue(&mut self, now: Moment, gain: i32, socket: &mut WebSocket) {
        let Some(kept) = &mut self.kept else { return };
        let encoder = &mut self.encoder;
        let mut from = FULL;
        socket.replace(now, &mut |number, payload| {
            let samples = kept.recall(number, (std::mem::replace(&mut from, gain), gain))?;
            encoder.encode(samples, payload).ok()
        });
    }

    /// The frame or fence of this number begins to be heard.
    fn reached(&mut self, now: Moment, number: u32) {
        let Self { playout, events, .. } = self;
        playout.reached(now, number, &mut |notice| events.notice(now, notice));
    }
}

impl Outlet {
    fn tell(&mut self, event: MediaEvent) {
        // A bot that has gone misses nothing.
        self.dropped += u64::from(matches!(self.events.try_send(event), Err(TrySendError::Full(_))));
    }

    fn notice(&mut self, now: Moment, notice: Notice) {
        match notice {
            Notice::Began(_) => {}
            Notice::Started { play } => self.tell(MediaEvent::PlayStarted { play, at: now }),
            Notice::Ended { play, heard, end } => {
                self.tell(MediaEvent::PlayEnded { play, at: now, heard, end });
            }
        }
    }
}
