//! One WebSocket with ARI on it, whoever made the connection: read by a task that waits for nobody, written by another.

use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::AbortOnDropHandle;

use super::lines::{KNOCK, Lines, Open};
use super::model::{Event, EventKind};
use super::stream::Why;
use crate::time::Moment;

/// How often the far end is asked whether it is there.
pub(super) const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which it is not.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(12);
/// How often one that starts is asked whether it is done.
const KNOCK_EVERY: Duration = Duration::from_millis(250);
/// The largest message that is taken, in bytes.
const LARGEST_MESSAGE: usize = 16 << 20;

/// Who hears what comes. Every function comes back at once.
pub(super) trait Hears {
    /// Requests are taken from now on.
    fn ready(&mut self);

    /// Whether the connection will end before long, by what was heard so far.
    fn passes(&self) -> bool {
        false
    }

    /// An event; true when the socket is of no use after it.
    fn event(&mut self, event: Event) -> bool;

    /// Something that is no event, or not of its form.
    fn malformed(&mut self, what: &str, bytes: usize);
}

/// What may come.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE)).max_frame_size(Some(LARGEST_MESSAGE))
}

/// What a connection is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Events, and requests where the configuration says so.
    Events,
    /// Requests alone, until another one is there.
    Spare,
    /// Made by Asterisk, perhaps while it starts: it takes no requests before it is done.
    FromAsterisk,
}

/// What follows from a message.
enum Next {
    GoOn,
    /// The socket is of no use any more.
    End,
    /// Asterisk has started.
    Started,
}

/// Reads until the connection ends, and says how it did.
pub(super) async fn carry<S>(
    socket: WebSocketStream<S>,
    lines: &Lines,
    kind: Kind,
    hears: &mut (impl Hears + Send),
) -> Why
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, mut messages) = socket.split();
    let (open, outbox) = lines.open();
    let mut writer = AbortOnDropHandle::new(tokio::spawn(write(sink, outbox)));
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let mut heard = Instant::now();
    let mut knock = interval(KNOCK_EVERY);
    let mut started = kind != Kind::FromAsterisk;
    if started {
        open.publish(kind == Kind::Spare);
        hears.ready();
    }
    loop {
        tokio::select! {
            _ = knock.tick(), if !started => open.line.knock(),
            message = messages.next() => {
                let message = match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return ended(&error),
                    None => return Why::Closed(1006, String::new()),
                };
                heard = Instant::now();
                match message {
                    Message::Text(text) => {
                        match dispatch(text.as_bytes(), lines, &open, hears) {
                            Next::GoOn => {}
                            Next::End => return Why::Replaced,
                            Next::Started => {
                                started = true;
                                open.publish(hears.passes());
                                hears.ready();
                            }
                        }
                    }
                    Message::Close(Some(frame)) => {
                        return Why::Closed(frame.code.into(), frame.reason.to_string());
                    }
                    Message::Close(None) => return Why::Closed(1005, String::new()),
                    Message::Binary(bytes) => hears.malformed("a binary message", bytes.len()),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() >= DEAD_AFTER {
                    return Why::Silent;
                }
                if kind == Kind::Spare && open.line.is_idle() && lines.has_lasting() {
                    return Why::Replaced;
                }
                open.line.ping();
            }
            written = &mut writer => return written.unwrap_or(Why::Silent),
        }
    }
}

/// Writes what is to be written. A far end that does not read for so long is not there.
async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut outbox: mpsc::Receiver<Message>,
) -> Why
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = outbox.recv().await {
        match timeout(PING_EVERY, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return ended(&error),
            Err(_) => return Why::Silent,
        }
    }
    std::future::pending().await
}

/// Hands a message on.
fn dispatch(text: &[u8], lines: &Lines, open: &Open<'_>, hears: &mut impl Hears) -> Next {
    let event = match Event::read(text, Moment::now()) {
        Ok((event, whole)) => {
            if !whole {
                hears.malformed(event.kind.name(), text.len());
            }
            event
        }
        Err(reason) => {
            hears.malformed(&reason.to_string(), text.len());
            return Next::GoOn;
        }
    };
    if let EventKind::RESTResponse { request_id, status_code, message_body, .. } = event.kind {
        let status = u16::try_from(status_code).unwrap_or_default();
        if request_id == KNOCK {
            return if status == 503 { Next::GoOn } else { Next::Started };
        }
        lines.answer(&open.line, &request_id, (status, message_body.into()));
        return Next::GoOn;
    }
    if hears.event(event) { Next::End } else { Next::GoOn }
}

pub(super) fn ended(error: &tungstenite::Error) -> Why {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            Why::Closed(1006, String::new())
        }
        other => Why::Broken(other.to_string()),
    }
}
