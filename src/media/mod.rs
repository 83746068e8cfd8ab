//! Media threads: the only place that touches media sockets.
//!
//! A media thread is a plain thread that owns one UDP socket, the streams and ports of its calls, and the calls. It wakes
//! when something comes, when a bot wants something, and every 2.5 ms by an absolute clock where calls are due; each is
//! served once per 20 ms, in one of eight phases, so that the work is spread. All calls over RTP share its port: every call's
//! packets come from Asterisk's own port for that call, so the source address names the call, and what comes from
//! elsewhere is dropped and counted. Behind a NAT that rewrites addresses each call has a port of its own instead; over
//! AudioSocket and WebSocket each has a TCP connection.
//!
//! # Parts
//!
//! - `config`: what [`Media::start`] is told, and what can go wrong.
//! - this file: [`Media`] starts the threads; [`Media::reserve`] picks one and a [`TransportKind`], [`Media::attach`] puts
//!   a call on it and gives the bot's side a [`MediaSession`].
//! - `thread`: the loop; `seated`: a call in its place there; `inbox`: what it has read; `priority`: what goes before what. Sockets and clocks of calls that are up are here and nowhere
//!   else.
//! - `door`: the listeners, where connections say which call they are for before they get to a thread; `handshake`: the
//!   beginning of a WebSocket.
//! - [`link`]: how a call that is being set up comes by its audio.
//! - `line`: one call as a pure state: packets and ticks in, packets and events out. Runs in virtual time.
//! - `transport`: RTP, AudioSocket and WebSocket as bytes in and bytes out.
//! - `hearing`: payload to frames to turn taking to the ear.
//! - `playout`: the voice ring to one frame per tick; flushing. `flight`: what was heard of it.
//! - `kept`: what waits at the far end, so that it can be sent again with less gain.
//! - `tape`: both sides for a recording; `stats`: the numbers of a call.
//!
//! # What it never does
//!
//! It waits for nobody: a bot that does not read its ear loses the oldest audio, one that writes too little is heard
//! as silence, a peer that does not read its stream is sent no more until it does. It allocates nothing per frame. It
//! never makes up for lost time: a tick that was missed is skipped, and the RTP timestamp goes on without it. It
//! interrupts a play by itself, in the wake in which the caller is found to speak, without asking the bot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;

use crate::audio::Rate;
use crate::audio::codec::{ByteOrder, Decoder, Encoder, Format};
use crate::audio::g711::Law;
use crate::audio::ring::{self, EarReader, PlayId, TapeReader, VoiceWriter};
use crate::guard::Exposure;
use crate::id::CallId;
use crate::pcap::recorder::Tap;
use crate::rtp::PayloadType;
use crate::time::Moment;
use crate::turn::answer::{AnswerSignal, Answerer};
use crate::turn::echo::Canceller;
use crate::turn::vad::Vad;
use crate::turn::{BargeIn, Listening, TurnSignal, TurnTaker, Words};

pub use config::{MediaConfig, MediaError};
pub use inherit::{Inherited, Inventory};
pub use link::{Invitation, Link, Seat};
pub use playout::PlayEnd;
pub use probe::Probe;
pub use stats::MediaStats;
pub use transport::TransportKind;

mod config;
mod door;
mod flight;
mod handshake;
mod hearing;
mod inbox;
mod inherit;
mod kept;
mod line;
pub mod link;
mod playout;
mod priority;
pub mod probe;
pub mod rehearsal;
mod seated;
mod stats;
mod tape;
mod thread;
mod transport;

#[cfg(test)]
mod tests;

/// The media threads. Dropping it ends all media and joins the threads.
pub struct Media {
    threads: Vec<thread::Thread>,
    next_key: AtomicU64,
    ports: Option<link::Ports>,
    audiosocket: Option<door::Door>,
    websocket: Option<door::Door>,
}

/// Who shall be attached, and how.
pub struct Attach {
    /// The call, for messages.
    pub call: CallId,
    /// What its audio comes by: for RTP the address that Asterisk tells as `UNICASTRTP_LOCAL_ADDRESS` and `_PORT`.
    pub link: Link,
    /// The format that Asterisk was asked for.
    pub format: Format,
    /// The rate that the ear wants, where the format has that much.
    pub ear_rate: Rate,
    /// Whether the ear gets everything that is heard, and not utterances alone.
    pub ear_always: bool,
    /// The payload type of telephone events.
    pub key_events: PayloadType,
    /// Tells speech from the rest.
    pub vad: Box<dyn Vad>,
    /// Takes the bot's echo out of what is heard, for lines that need it; made for 8 kHz.
    pub canceller: Option<Box<dyn Canceller>>,
    /// Finds out who answered a call that we made, at 8 kHz; told by [`MediaEvent::Answer`].
    pub answerer: Option<Box<Answerer>>,
    /// Whether both sides are wanted for a recording.
    pub tape: bool,
    /// Keeps the call's datagrams; a stream has none.
    pub capture: Option<Tap>,
    /// How many items the ear holds. A frame is one item.
    pub ear_capacity: usize,
    /// How many items the voice holds.
    pub voice_capacity: usize,
}

impl Attach {
    /// The usual: µ-law, an ear of 8 kHz, events on 101, no tape, more than two seconds of ear and half a second of
    /// voice.
    #[must_use]
    pub fn new(call: CallId, link: impl Into<Link>, vad: Box<dyn Vad>) -> Self {
        Self {
            call,
            link: link.into(),
            format: Format::Ulaw,
            ear_rate: Rate::Hz8000,
            ear_always: false,
            key_events: PayloadType::EVENTS,
            vad,
            canceller: None,
            answerer: None,
            tape: false,
            capture: None,
            ear_capacity: 112,
            voice_capacity: 25,
        }
    }
}

/// The bot's side of one call's media. Dropping it, or its [`Lease`], takes the call off its thread.
pub struct MediaSession {
    /// What happens on the call. Bounded: who does not read it loses the newest events, counted.
    pub events: mpsc::Receiver<MediaEvent>,
    /// What the caller says, utterance by utterance, at 8 kHz unless [`Attach::ear_rate`] says otherwise.
    pub ear: EarReader,
    /// What the bot says: frames of 8 kHz, or of 16 kHz two per tick.
    pub voice: VoiceWriter,
    /// Tells the media thread what to do.
    pub control: Control,
    /// Both sides of the call, if they were wanted.
    pub tape: Option<TapeReader>,
    /// Keeps the call on its thread.
    pub lease: Lease,
}

/// Keeps a call on its media thread.
pub struct Lease {
    control: Control,
    seat: Seat,
}

/// What happens on a call's media.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MediaEvent {
    /// The turn changes.
    Turn(TurnSignal),
    /// Something is known of who answered a call that we made.
    Answer(AnswerSignal),
    /// The first frame of a play has been sent.
    PlayStarted {
        /// Which.
        play: PlayId,
        /// Just after it was sent.
        at: Moment,
    },
    /// A play is over; comes once for each that was announced or of which anything was written.
    PlayEnded {
        /// Which.
        play: PlayId,
        /// When its last frame had been played, or when it was stopped.
        at: Moment,
        /// How much of it was sent: whole frames.
        heard: Duration,
        /// How it ended.
        end: PlayEnd,
    },
    /// A key was pressed and let go, as told by a telephone event in the stream. Barge-in by it happened when it
    /// went down.
    Digit {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
        /// How long it was held.
        duration: Duration,
        /// When it was let go.
        at: Moment,
    },
    /// No packet has come for three seconds.
    Quiet {
        /// When the last one came, or the call was attached.
        since: Moment,
    },
    /// Packets come again.
    Back {
        /// When the first one came.
        at: Moment,
    },
}

/// Tells a call's media thread what to do. Any thread; nothing here waits. Commands are done in the order given,
/// within a few hundred microseconds on an idle machine, and before any audio that was written to the voice later.
#[derive(Clone)]
pub struct Control {
    call: CallId,
    key: u64,
    shared: Arc<CallShared>,
    thread: Arc<thread::Shared>,
}

impl Control {
    /// Begins to listen for an utterance; one that is under way ends in the ear.
    ///
    /// # Errors
    /// [`MediaError::Ended`], [`MediaError::Overloaded`]; the same for every method here.
    pub fn listen(&self, how: Listening) -> Result<(), MediaError> {
        self.send(Command::Listen(how))
    }

    /// Stops listening.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn deaf(&self) -> Result<(), MediaError> {
        self.send(Command::Deaf)
    }

    /// Says how `play` may be interrupted; to be called before its first frame is written. A play that was never
    /// announced cannot be interrupted. Up to sixteen can be announced ahead.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn begin_play(&self, play: PlayId, how: BargeIn) -> Result<(), MediaError> {
        self.send(Command::Announce(play, how))
    }

    /// Stops every play up to `play`, now and for good: what is written of them later is thrown away.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn flush(&self, play: PlayId) -> Result<(), MediaError> {
        self.send(Command::Flush(play))
    }

    /// A key went down at `at`, as told by another way than the stream (ARI): it may interrupt.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn key(&self, at: Moment) -> Result<(), MediaError> {
        self.send(Command::Key(at))
    }

    /// A call that was heard before its answer was answered at that moment. Whether it is still to be found out who did;
    /// otherwise nobody listens for that any more.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn answered(&self, at: Moment, judged: bool) -> Result<(), MediaError> {
        self.send(Command::Answered { at, judged })
    }

    /// What the recogniser believes of the utterance under way: a witness of the turn taker's.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn words(&self, words: Words) -> Result<(), MediaError> {
        self.send(Command::Words(words))
    }

    /// The call's numbers, at most 160 ms old; its final ones after its end.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        self.shared.stats.read()
    }

    fn send(&self, command: Command) -> Result<(), MediaError> {
        if self.shared.ended.load(Ordering::Acquire) {
            return Err(MediaError::Ended(self.call));
        }
        self.thread.send(self.call, thread::Order::Call(self.key, command))
    }
}

impl Lease {
    /// Takes the call off its thread and gives back its final numbers, at most 20 ms later.
    pub async fn detach(self) -> MediaStats {
        let shared = Arc::clone(&self.control.shared);
        drop(self);
        std::future::poll_fn(|cx| {
            shared.waiter.register(cx.waker());
            if shared.ended.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        shared.stats.read()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.control.shared.gone.store(true, Ordering::Release);
        // Where there is no room for the order, the thread finds the mark.
        let _ = self.seat.thread().send(self.control.call, thread::Order::Leave(self.control.key));
    }
}

impl MediaSession {
    /// Takes the call off its thread and gives back its final numbers, at most 20 ms later.
    pub async fn detach(self) -> MediaStats {
        self.lease.detach().await
    }
}

impl Media {
    /// Binds the sockets and starts the threads.
    ///
    /// # Errors
    /// When a port is taken, nothing can be advertised, or the system refuses a thread.
    pub fn start(config: &MediaConfig) -> Result<Self, MediaError> {
        Self::start_on(config, Inherited::default())
    }

    /// Keeps a place on the thread with the fewest calls, for a call over RTP on the thread's own port. Any thread.
    #[must_use]
    pub fn reserve(&self) -> Seat {
        Seat::new(self.least_busy(), link::Way::Shared)
    }

    /// Keeps a place for a call over RTP whose packets already come to `address`, on the thread that has this port, or by that
    /// port alone; [`None`] where it is not ours, or not free. Any thread.
    #[must_use]
    pub fn reserve_at(&self, address: SocketAddr) -> Option<Seat> {
        if let Some(thread) = self.threads.iter().find(|thread| thread.shared.advertised == address) {
            return Some(Seat::new(Arc::clone(&thread.shared), link::Way::Shared));
        }
        let way = self.ports.as_ref()?.again(address)?;
        Some(Seat::new(self.least_busy(), way))
    }

    /// Keeps a place for a call over `kind` in `format`, and what Asterisk is to be told: a port, or a secret by which its
    /// connection will be known. Any thread.
    ///
    /// # Errors
    /// [`MediaError::NoPort`], [`MediaError::NoListener`].
    pub fn reserve_for(&self, kind: TransportKind, format: Format) -> Result<Seat, MediaError> {
        let door = |door: &Option<door::Door>| {
            let door = door.as_ref().ok_or(MediaError::NoListener(kind))?;
            Ok::<_, MediaError>(link::Way::Door(door.expect(format)))
        };
        let way = match kind {
            TransportKind::Rtp => match &self.ports {
                Some(ports) => ports.next()?,
                None => link::Way::Shared,
            },
            TransportKind::Audiosocket => door(&self.audiosocket)?,
            TransportKind::Websocket => link::Way::Dial,
            TransportKind::WebsocketServer => door(&self.websocket)?,
        };
        Ok(Seat::new(self.least_busy(), way))
    }

    /// Where Asterisk finds the listener of a transport, if there is one.
    #[must_use]
    pub fn listens_for(&self, kind: TransportKind) -> Option<SocketAddr> {
        match kind {
            TransportKind::Audiosocket => self.audiosocket.as_ref().map(door::Door::advertised),
            TransportKind::WebsocketServer => self.websocket.as_ref().map(door::Door::advertised),
            TransportKind::Rtp | TransportKind::Websocket => None,
        }
    }

    fn least_busy(&self) -> Arc<thread::Shared> {
        let least = self.threads.iter().min_by_key(|thread| thread.shared.load.load(Ordering::Relaxed));
        Arc::clone(&least.expect("at least one thread was started").shared)
    }

    /// Puts a call on its thread: from the next tick on silence is sent, and what comes from its peer is heard. A
    /// call on a shared port that still has the same peer is put off: Asterisk gave its port to this one. Any thread;
    /// does not wait.
    ///
    /// # Errors
    /// [`MediaError::Ended`] after a shut-down, [`MediaError::Overloaded`], [`MediaError::Format`].
    pub fn attach(&self, seat: Seat, attach: Attach) -> Result<MediaSession, MediaError> {
        let Attach { call, format, .. } = attach;
        let parts = attach.link.open(format, attach.key_events);
        let order = if parts.is_rtp() { ByteOrder::Big } else { ByteOrder::Little };
        let (decoder, encoder) = (Decoder::new(format, order)?, Encoder::new(format, order)?);
        // Wideband comes in frames of 10 ms.
        let frames = if attach.ear_rate.min(format.rate()) == Rate::Hz16000 { 2 } else { 1 };
        let capacity = attach.ear_capacity.max(1) * frames;
        let (ear_writer, ear) = match format {
            Format::Ulaw => ring::companded_ear(Law::Mu, capacity),
            Format::Alaw => ring::companded_ear(Law::A, capacity),
            _ => ring::ear(capacity),
        };
        let (voice, voice_reader) = ring::voice(attach.voice_capacity.max(1));
        let (tape_writer, tape) = attach.tape.then(|| ring::tape(TAPE)).unzip();
        let (events_out, events) = mpsc::channel(EVENTS);
        let shared = Arc::new(CallShared::default());
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let thread = Arc::clone(seat.thread());
        let control = Control { call, key, shared: Arc::clone(&shared), thread: Arc::clone(&thread) };
        let playout = playout::Playout::new(voice_reader, format.rate(), parts.transport.is_deferred());
        let line = line::LineParts {
            call,
            key,
            peer: parts.peer,
            transport: parts.transport,
            encoder,
            hearing: hearing::Hearing::new(TurnTaker::new(attach.vad), ear_writer, decoder, attach.ear_rate)
                .cancelling(attach.canceller)
                .answering(attach.answerer)
                .always(attach.ear_always),
            playout,
            tape: tape_writer.map(tape::Tape::new),
            events: events_out,
            shared,
        };
        // Made here, on the caller's thread, so that the media thread only takes a pointer.
        let arrival = Box::new(seated::Arrival {
            line: line::Line::new(Moment::now(), line),
            wire: parts.wire,
            early: parts.early,
            tap: attach.capture,
        });
        thread.send(call, thread::Order::Attach(arrival))?;
        let lease = Lease { control: control.clone(), seat };
        Ok(MediaSession { events, ear, voice, control, tape, lease })
    }

    /// What is true of all calls together.
    #[must_use]
    pub fn totals(&self) -> MediaTotals {
        let doors = self.audiosocket.iter().chain(&self.websocket);
        let refused = doors.map(door::Door::refused).sum();
        self.threads.iter().fold(MediaTotals { refused, ..MediaTotals::default() }, |sum, thread| {
            let shared = &thread.shared;
            MediaTotals {
                refused: sum.refused,
                calls: sum.calls + shared.load.load(Ordering::Relaxed),
                unknown_source: sum.unknown_source + shared.unknown_source.load(Ordering::Relaxed),
                receive_errors: sum.receive_errors + shared.receive_errors.load(Ordering::Relaxed),
                worst_wake: sum
                    .worst_wake
                    .max(Duration::from_nanos(shared.worst_wake.load(Ordering::Relaxed))),
            }
        })
    }

    /// The UDP ports of its threads, where packets of calls over RTP come to.
    #[must_use]
    pub fn ports(&self) -> Vec<SocketAddr> {
        self.threads.iter().map(|thread| thread.shared.advertised).collect()
    }

    /// What protects its listeners.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        let doors = self.audiosocket.iter().chain(&self.websocket);
        doors.map(|door| door.exposure().clone()).collect()
    }

    /// Ends all media and joins the threads; what each measured, if [`MediaConfig::probe`] said so.
    #[must_use]
    pub fn finish(self) -> Vec<Probe> {
        self.threads.into_iter().filter_map(|thread| Some(*thread.finish()?)).collect()
    }

    /// Ends all media and joins the threads; the same as dropping it. Waits for a few milliseconds.
    pub fn shut_down(self) {
        drop(self);
    }
}

/// What is true of all calls together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MediaTotals {
    /// Calls attached and seats kept.
    pub calls: usize,
    /// Datagrams from an address that no call has.
    pub unknown_source: u64,
    /// Connections to the listeners that named no call, or one that was not awaited any more.
    pub refused: u64,
    /// Errors of the sockets while receiving.
    pub receive_errors: u64,
    /// The longest that a tick was late.
    pub worst_wake: Duration,
}

/// Tape of a call: five seconds.
const TAPE: usize = 250;

/// Events of a call that wait to be read.
const EVENTS: usize = 128;

/// What a [`Control`] asks for.
enum Command {
    Listen(Listening),
    Deaf,
    Announce(PlayId, BargeIn),
    Flush(PlayId),
    Key(Moment),
    Words(Words),
    Answered { at: Moment, judged: bool },
}

/// What a call's two sides share.
#[derive(Default)]
struct CallShared {
    /// The bot's side let go.
    gone: AtomicBool,
    /// The media thread let go; `stats` are final.
    ended: AtomicBool,
    /// Waits for `ended`.
    waiter: AtomicWaker,
    stats: stats::SharedStats,
}

impl CallShared {
    fn finish(&self, last: &MediaStats) {
        self.stats.publish(last);
        self.ended.store(true, Ordering::Release);
        self.waiter.wake();
    }
}
