//! One WebSocket with calls on it, whoever made the connection, and a call's [`Line`] on it.
//!
//! What comes is read at a bounded rate and handed on through bounded channels: a program that sends faster than its call can
//! take it waits. What is sent goes through a bounded outbox; a program that does not read is given up.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::audio;
use super::error::RemoteError;
use super::message::{Event, LARGEST_TEXT, Misread, Request};
use super::workers::Place;
use crate::id::CallId;
use crate::time::Moment;

/// Messages on their way to one call.
pub(super) const INBOX: usize = 64;
/// Messages on their way to the program of one call. Caller's audio is 50 or 100 of them a second.
pub(super) const OUTBOX: usize = 256;
/// How often the program is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Silence after which it is not.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// How long it may take to read what was sent.
const READS_WITHIN: Duration = Duration::from_secs(5);
/// Messages a second and call that are read without waiting, in the long run: audio in pieces of 10 ms, and twice as many besides.
const RATE: f64 = 300.0;
/// So many may come at once.
const BURST: f64 = 600.0;

/// Something that a program sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Request(Request),
    Misread(Misread),
    /// Audio for the stream of that number.
    Audio(u16, Bytes),
}

/// Who takes what comes. False when it is not wanted any more.
pub(super) trait Takes: Send {
    fn take(&mut self, incoming: Incoming) -> impl Future<Output = bool> + Send;

    /// How many calls it is for.
    fn calls(&self) -> u32 {
        1
    }
}

/// What may come.
pub(super) fn limits() -> WebSocketConfig {
    let most = audio::LARGEST.max(LARGEST_TEXT);
    WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most))
}

/// Carries messages both ways until the connection ends, or nobody sends any more; says why.
pub(super) async fn carry<S>(
    socket: WebSocketStream<S>,
    outbox: mpsc::Receiver<Message>,
    takes: &mut impl Takes,
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sink, messages) = socket.split();
    tokio::select! {
        why = read(messages, takes) => why,
        why = write(sink, outbox) => why,
    }
}

async fn read<S>(mut messages: SplitStream<WebSocketStream<S>>, takes: &mut impl Takes) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pace = Pace::new(Moment::now());
    loop {
        let message = match timeout(DEAD_AFTER, messages.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(None) => return "it was closed".into(),
            Err(_) => return format!("it was silent for {DEAD_AFTER:?}, and did not answer pings"),
        };
        let incoming = match message {
            Message::Text(text) => match Request::read(text.as_str()) {
                Ok(request) => Incoming::Request(request),
                Err(misread) => Incoming::Misread(misread),
            },
            Message::Binary(bytes) => match audio::read_bot(&bytes) {
                Ok((stream, payload)) => Incoming::Audio(stream, payload),
                Err(error) => Incoming::Misread(Misread { id: None, call: None, error: error.to_owned() }),
            },
            Message::Close(Some(frame)) => {
                return format!("it was closed with {}", u16::from(frame.code));
            }
            Message::Close(None) => return "it was closed".into(),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if !takes.take(incoming).await {
            return "it is not wanted any more".into();
        }
        // Who sends too much waits, and so does the network behind him.
        let wait = pace.take(Moment::now(), f64::from(takes.calls().max(1)));
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut outbox: mpsc::Receiver<Message>,
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let message = tokio::select! {
            message = outbox.recv() => message,
            _ = ping.tick() => Some(Message::Ping(Bytes::new())),
        };
        let Some(message) = message else {
            let bye = CloseFrame { code: CloseCode::Normal, reason: "the call is over".into() };
            // It may be gone already.
            let _ = timeout(READS_WITHIN, sink.send(Message::Close(Some(bye)))).await;
            return "the call is over".into();
        };
        match timeout(READS_WITHIN, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("it did not read for {READS_WITHIN:?}"),
        }
    }
}

/// How fast messages are taken. Deciding code: the time is an argument.
#[derive(Debug)]
struct Pace {
    left: f64,
    at: Moment,
}

impl Pace {
    fn new(now: Moment) -> Self {
        Self { left: BURST, at: now }
    }

    /// One more message of `calls` calls: how long to wait before the next.
    fn take(&mut self, now: Moment, calls: f64) -> Duration {
        let since = now.since(std::mem::replace(&mut self.at, now));
        self.left = (self.left + since.as_secs_f64() * RATE * calls).min(BURST * calls) - 1.0;
        if self.left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.left / (RATE * calls)) }
    }
}

/// One call's share of a connection. Dropped, it tells the program that the call is over.
pub(super) struct Line {
    call: String,
    /// Its number in binary messages.
    pub stream: u16,
    out: mpsc::Sender<Message>,
    incoming: mpsc::Receiver<Incoming>,
    ended: bool,
    /// At the worker that serves it.
    _place: Option<Place>,
}

impl Line {
    pub fn new(
        call: CallId,
        stream: u16,
        out: mpsc::Sender<Message>,
        incoming: mpsc::Receiver<Incoming>,
        place: Option<Place>,
    ) -> Self {
        Self { call: call.to_string(), stream, out, incoming, ended: false, _place: place }
    }

    /// Tells the program.
    ///
    /// # Errors
    /// When it does not read.
    pub fn tell(&mut self, event: &Event) -> Result<(), RemoteError> {
        if matches!(event, Event::CallEnded { .. }) {
            self.ended = true;
        }
        let message = Message::text(event.write(Some(&self.call)));
        self.out.try_send(message).map_err(|error| {
            RemoteError::Lost(match error {
                mpsc::error::TrySendError::Full(_) => "it reads too slowly".into(),
                mpsc::error::TrySendError::Closed(_) => "it was closed".into(),
            })
        })
    }

    /// Sends audio, unless the program is behind: words go before sound. False when it was left out.
    pub fn sound(&mut self, message: Bytes) -> bool {
        self.out.capacity() > self.out.max_capacity() / 2
            && self.out.try_send(Message::Binary(message)).is_ok()
    }

    /// The next message; [`None`] when the connection has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever dropped us has no time to wait.
            let _ = self.tell(&Event::CallEnded { reason: "engine_ended".into(), cause: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_too_much_waits_and_is_served_at_the_rate() {
        let mut pace = Pace::new(Moment::ZERO);
        let mut now = Moment::ZERO;
        let at_once = (0..).take_while(|_| pace.take(now, 1.0).is_zero()).count();
        assert_eq!(at_once, BURST as usize);
        let began = now;
        for _ in 0..3_000 {
            now = now + pace.take(now, 1.0);
        }
        let took = now.since(began).as_secs_f64();
        assert!((took - 3_000.0 / RATE).abs() < 0.1, "{took}");
        assert!(pace.take(now + Duration::from_secs(60), 1.0).is_zero(), "later he may again");
    }
}
