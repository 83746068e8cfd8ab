//! One call on a media thread: packets and ticks in, packets and events out. No socket, no clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::hearing::{Hearing, Signals};
use super::playout::{Notice, Playout};
use super::stats::MediaStats;
use super::{CallShared, Command, MediaEvent};
use crate::audio::g711::Law;
use crate::audio::ring::{PlayId, TapeItem, TapeWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::rtp::PayloadType;
use crate::rtp::event::{Key, KeyReader};
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::sender::Sender;
use crate::rtp::stream::{Piece, ReceiveStream};
use crate::time::Moment;
use crate::turn::TurnSignal;

/// Length of every packet that we send.
pub(super) const PACKET_LEN: usize = HEADER_LEN + FRAME_SAMPLES;

/// A call from which nothing came for this long is told to be quiet.
const QUIET: Duration = Duration::from_secs(3);

/// A skipped time longer than this is cut on the tape.
const MAX_TAPE_GAP: u64 = 500;

/// One call.
pub(super) struct Line {
    pub(super) call: CallId,
    pub(super) key: u64,
    pub(super) peer: SocketAddr,
    pub(super) shared: Arc<CallShared>,
    law: Law,
    stream: ReceiveStream,
    sender: Sender,
    talk: Talk,
}

/// All of a call but its stream, so that the stream can hand its pieces over.
struct Talk {
    law: Law,
    keys: KeyReader,
    hearing: Hearing,
    playout: Playout,
    tape: Option<Tape>,
    events: Outlet,
    heard_at: Moment,
    quiet: bool,
    stats: MediaStats,
}

struct Outlet {
    events: mpsc::Sender<MediaEvent>,
    dropped: u64,
}

/// The caller's frames wait here for the tick that takes them on tape.
struct Tape {
    writer: TapeWriter,
    waiting: [Frame; WAITING],
    count: usize,
}

const WAITING: usize = 3;

/// What a line is made of.
pub(super) struct LineParts {
    pub(super) call: CallId,
    pub(super) key: u64,
    pub(super) peer: SocketAddr,
    pub(super) law: Law,
    pub(super) key_events: PayloadType,
    pub(super) hearing: Hearing,
    pub(super) playout: Playout,
    pub(super) tape: Option<TapeWriter>,
    pub(super) events: mpsc::Sender<MediaEvent>,
    pub(super) shared: Arc<CallShared>,
}

impl Line {
    pub(super) fn new(now: Moment, parts: LineParts) -> Self {
        let payload_type = match parts.law {
            Law::Mu => PayloadType::PCMU,
            Law::A => PayloadType::PCMA,
        };
        let silence = Frame::silence(Rate::Hz8000);
        let tape = parts.tape.map(|writer| Tape { writer, waiting: [silence; WAITING], count: 0 });
        Self {
            call: parts.call,
            key: parts.key,
            peer: parts.peer,
            shared: parts.shared,
            law: parts.law,
            stream: ReceiveStream::new(parts.key_events),
            sender: Sender::new(payload_type),
            talk: Talk {
                law: parts.law,
                keys: KeyReader::default(),
                hearing: parts.hearing,
                playout: parts.playout,
                tape,
                events: Outlet { events: parts.events, dropped: 0 },
                heard_at: now,
                quiet: false,
                stats: MediaStats::default(),
            },
        }
    }

    /// A datagram came from this call's peer.
    pub(super) fn packet(&mut self, now: Moment, datagram: &[u8]) {
        self.talk.alive(now);
        self.stream.receive(now, datagram, &mut |piece| self.talk.piece(now, piece));
    }

    /// When [`wait_over`](Self::wait_over) should be called; [`None`] while no packet is waited for.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        self.stream.due(now)
    }

    /// A packet may have been waited for long enough.
    pub(super) fn wait_over(&mut self, now: Moment) {
        self.stream.poll(now, &mut |piece| self.talk.piece(now, piece));
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
                self.stream.key_reported(at);
                let mut signals = Signals::default();
                self.talk.hearing.turn.key(at, &mut |signal| signals.push(signal));
                self.talk.act(now, &signals);
            }
        }
    }

    /// Every 20 ms: the packet to send. `skipped` ticks before this one were missed; they are gone.
    pub(super) fn tick(&mut self, now: Moment, skipped: u64, packet: &mut [u8; PACKET_LEN]) {
        self.talk.skip(skipped);
        self.sender.skip(skipped, FRAME_SAMPLES as u32);
        self.wait_over(now);
        let frame = self.talk.tick(now);
        let header = self.sender.next(FRAME_SAMPLES as u32);
        packet[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        self.law.encode_into(&frame.samples, &mut packet[HEADER_LEN..]);
    }

    /// The packet of this tick left at `now`, or the system refused it.
    pub(super) fn sent(&mut self, now: Moment, left: bool) {
        self.talk.sent(now, left);
        self.shared.stats.publish(&self.stats());
    }

    pub(super) fn stats(&self) -> MediaStats {
        let talk = &self.talk;
        MediaStats {
            stream: self.stream.stats(),
            underruns: talk.playout.underruns(),
            ear_dropped: talk.hearing.ear_dropped(),
            tape_dropped: talk.tape.as_ref().map_or(0, |tape| tape.writer.dropped()),
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

    fn piece(&mut self, now: Moment, piece: Piece<'_>) {
        let Self { hearing, tape, keys, events, stats, .. } = self;
        let mut signals = Signals::default();
        let mut on_tape = |frame: &Frame| {
            if let Some(tape) = tape {
                tape.caller(frame);
            }
        };
        match piece {
            Piece::Audio { payload_type, payload, .. } => {
                stats.other_law += u64::from((payload_type == PayloadType::PCMA) != (self.law == Law::A));
                hearing.audio(now, payload_type, payload, &mut signals, &mut on_tape);
            }
            Piece::Lost { samples } => hearing.missing(now, samples, true, &mut signals, &mut on_tape),
            Piece::Silence { samples } => hearing.missing(now, samples, false, &mut signals, &mut |_| ()),
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

    fn act(&mut self, now: Moment, signals: &Signals) {
        for signal in signals.iter() {
            self.hearing.mark(signal);
            self.events.tell(MediaEvent::Turn(signal));
            if matches!(signal, TurnSignal::BargeIn { .. }) && self.playout.interruptible() {
                let Self { playout, events, .. } = self;
                playout.barge_in(&mut |notice| events.notice(now, notice));
                self.hearing.turn.playing(now, None);
            }
        }
    }

    fn flush(&mut self, now: Moment, play: PlayId) {
        let was_playing = self.playout.is_playing();
        let Self { playout, events, .. } = self;
        playout.flush(play, super::PlayEnd::Flushed, &mut |notice| events.notice(now, notice));
        if was_playing && !self.playout.is_playing() {
            self.hearing.turn.playing(now, None);
        }
    }

    fn skip(&mut self, ticks: u64) {
        self.stats.skipped_ticks += ticks;
        if let Some(tape) = &mut self.tape {
            for _ in 0..ticks.min(MAX_TAPE_GAP) {
                tape.tick(&Frame::silence(Rate::Hz8000));
            }
        }
    }

    fn tick(&mut self, now: Moment) -> Frame {
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
        let Self { playout, events, hearing, .. } = self;
        let was_playing = playout.is_playing();
        let frame = playout.tick(&mut |notice| match notice {
            Notice::Began(how) => hearing.turn.playing(now, Some(how)),
            Notice::Ended { .. } => events.notice(now, notice),
        });
        if was_playing && !playout.is_playing() {
            hearing.turn.playing(now, None);
        }
        if let Some(tape) = &mut self.tape {
            tape.tick(&frame);
        }
        frame
    }

    fn sent(&mut self, now: Moment, left: bool) {
        if !left {
            self.stats.send_errors += 1;
            return;
        }
        self.stats.sent += 1;
        if let Some(play) = self.playout.sent() {
            self.events.tell(MediaEvent::PlayStarted { play, at: now });
        }
    }
}

impl Outlet {
    fn tell(&mut self, event: MediaEvent) {
        // A bot that has gone misses nothing.
        self.dropped += u64::from(matches!(self.events.try_send(event), Err(TrySendError::Full(_))));
    }

    fn notice(&mut self, now: Moment, notice: Notice) {
        if let Notice::Ended { play, heard, end } = notice {
            self.tell(MediaEvent::PlayEnded { play, at: now, heard, end });
        }
    }
}

impl Tape {
    fn caller(&mut self, frame: &Frame) {
        if self.count == WAITING {
            self.waiting.rotate_left(1);
            self.count -= 1;
        }
        self.waiting[self.count] = *frame;
        self.count += 1;
    }

    fn tick(&mut self, bot: &Frame) {
        let caller = if self.count == 0 {
            Frame::silence(Rate::Hz8000)
        } else {
            let first = self.waiting[0];
            self.waiting.rotate_left(1);
            self.count -= 1;
            first
        };
        self.writer.push(TapeItem { caller, bot: *bot });
    }
}
