//! The events socket: connected as long as the stream lives, read by a task that waits for nobody.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::Ari;
use super::backoff::Backoff;
use super::model::{Event, EventKind};
use super::queue::{Queue, Signal};
use crate::time::Moment;

/// How often the far end is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which it is not.
const DEAD_AFTER: Duration = Duration::from_secs(12);
/// A connection that lasted so long was a good one: the next outage starts with short waits again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// How often a closed port is tried while a longer wait goes on, and the longest wait for an Asterisk that is starting, so
/// that one that is back is found soon.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
/// The largest message that is taken, in bytes.
const LARGEST_MESSAGE: usize = 4 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there are no events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// No connection can be made.
    Unreachable(String),
    /// The user or the password is wrong.
    Unauthorized,
    /// There is an HTTP server, and no ARI behind it.
    NoAri,
    /// Asterisk answered with this HTTP status instead; 503 while it starts.
    Refused(u16),
    /// Asterisk closed the connection (code and reason of the WebSocket, or 1006 without).
    Closed(u16, String),
    /// The connection broke.
    Broken(String),
    /// Nothing came for 12 s, not even an answer to a ping.
    Silent,
    /// Somebody else registered the application. The stream stays away until [`EventStream::reclaim`].
    Replaced,
}

impl Why {
    /// The longest wait before the next attempt after it. An Asterisk that starts opens its port first, then answers
    /// 404 and 503 for as long as its modules load.
    const fn patience(&self) -> Duration {
        match self {
            Self::NoAri | Self::Refused(_) => KNOCK_EVERY,
            _ => Backoff::LONGEST,
        }
    }

    /// Whether both are of one kind, whatever the words.
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "cannot reach Asterisk: {reason}"),
            Self::Unauthorized => f.write_str("Asterisk refuses the user or the password: compare ari.conf"),
            Self::NoAri => f.write_str("there is no ARI at this address: set enabled = yes in ari.conf"),
            Self::Refused(503) => f.write_str("Asterisk is starting"),
            Self::Refused(status) => write!(f, "Asterisk answered with HTTP status {status}"),
            Self::Closed(code, reason) => write!(f, "Asterisk closed the connection ({code} {reason})"),
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
            Self::Silent => write!(f, "Asterisk was silent for {} s", DEAD_AFTER.as_secs()),
            Self::Replaced => f.write_str("another engine registered the application"),
        }
    }
}

/// The events of one application. Made by [`Ari::events`]; dropping it closes the connection.
pub struct EventStream {
    queue: Queue,
    shared: Arc<Shared>,
    /// Reads the socket, and ends with the stream.
    _reader: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    reclaim: Notify,
    events: AtomicU64,
    malformed: AtomicU64,
    connections: AtomicU64,
}

/// What a stream has seen since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventCounts {
    /// Events that came.
    pub events: u64,
    /// Messages that were no event, or not of its form.
    pub malformed: u64,
    /// Connections that were made.
    pub connections: u64,
}

impl EventStream {
    pub(super) fn open(ari: Ari, app: &str, subscribe_all: bool) -> Self {
        let queue = Queue::new(ari.inner.config.event_capacity);
        let shared = Arc::new(Shared::default());
        let reader = Reader {
            ari,
            app: app.to_owned(),
            subscribe_all,
            queue: queue.clone(),
            shared: shared.clone(),
            connected_before: false,
            said: None,
        };
        Self { queue, shared, _reader: AbortOnDropHandle::new(tokio::spawn(reader.run())) }
    }

    /// The next signal. Never ends: a stream that has no connection makes one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        self.queue.next().await
    }

    /// Registers the application again after [`Why::Replaced`]: whoever holds it now is replaced.
    pub fn reclaim(&self) {
        self.shared.reclaim.notify_one();
    }

    /// What was seen so far.
    #[must_use]
    pub fn counts(&self) -> EventCounts {
        EventCounts {
            events: self.shared.events.load(Ordering::Relaxed),
            malformed: self.shared.malformed.load(Ordering::Relaxed),
            connections: self.shared.connections.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

struct Reader {
    ari: Ari,
    app: String,
    subscribe_all: bool,
    queue: Queue,
    shared: Arc<Shared>,
    connected_before: bool,
    /// The reason that was signalled last in this outage.
    said: Option<Why>,
}

impl Reader {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let why = match self.connect().await {
                Ok(socket) => {
                    let since = Instant::now();
                    self.connected();
                    let why = self.read(socket).await;
                    if since.elapsed() >= GOOD_AFTER {
                        backoff.reset();
                    }
                    why
                }
                Err(why) => why,
            };
            self.disconnected(&why);
            if why == Why::Replaced {
                self.shared.reclaim.notified().await;
                backoff.reset();
                continue;
            }
            let wait = backoff.next(why.patience(), fastrand::f64());
            if self.wait(wait, &why).await {
                backoff.reset();
            }
        }
    }

    fn connected(&mut self) {
        self.said = None;
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        tracing::info!(peer = self.ari.peer(), app = self.app, "receiving events");
        self.queue.push(Signal::Connected { first: !self.connected_before });
        self.connected_before = true;
    }

    fn disconnected(&mut self, why: &Why) {
        if self.said.as_ref().is_some_and(|said| said.is_like(why)) {
            return;
        }
        tracing::warn!(peer = self.ari.peer(), app = self.app, %why, "no events");
        self.said = Some(why.clone());
        self.queue.push(Signal::Disconnected { why: why.clone() });
    }

    /// Waits before the next attempt; true when a port that was closed is open now.
    async fn wait(&self, whole: Duration, why: &Why) -> bool {
        let Why::Unreachable(_) = why else {
            sleep(whole).await;
            return false;
        };
        let mut left = whole;
        while left > KNOCK_EVERY {
            sleep(KNOCK_EVERY).await;
            left -= KNOCK_EVERY;
            if self.dial().await.is_ok() {
                return true;
            }
        }
        sleep(left).await;
        false
    }

    async fn dial(&self) -> Result<TcpStream, Why> {
        let config = &self.ari.inner.config;
        match timeout(config.connect_timeout, TcpStream::connect(self.ari.inner.address.dial())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Why::Unreachable(error.to_string())),
            Err(_) => Err(Why::Unreachable(format!("no answer within {:?}", config.connect_timeout))),
        }
    }

    async fn connect(&self) -> Result<Socket, Why> {
        let inner = &self.ari.inner;
        let stream = self.dial().await?;
        // Pings are small and should not wait for anything; without this they still work.
        let _ = stream.set_nodelay(true);
        let url = inner.address.events(&self.app, self.subscribe_all);
        let mut request =
            url.as_str().into_client_request().map_err(|error| Why::Broken(error.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, inner.authorization.clone());
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LARGEST_MESSAGE))
            .max_frame_size(Some(LARGEST_MESSAGE));
        let handshake = client_async_tls_with_config(request, stream, Some(limits), None);
        match timeout(inner.config.timeout, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(answer))) => Err(match answer.status().as_u16() {
                401 => Why::Unauthorized,
                404 => Why::NoAri,
                status => Why::Refused(status),
            }),
            Ok(Err(error)) => Err(Why::Broken(error.to_string())),
            Err(_) => Err(Why::Broken(format!("no WebSocket within {:?}", inner.config.timeout))),
        }
    }

    /// Reads until the connection ends, and says how it did.
    async fn read(&self, mut socket: Socket) -> Why {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = socket.next() => {
                    let message = match message {
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return ended(&error),
                        None => return Why::Closed(1006, String::new()),
                    };
                    let at = Moment::now();
                    heard = Instant::now();
                    match message {
                        Message::Text(text) => {
                            if self.dispatch(text.as_bytes(), at) {
                                return Why::Replaced;
                            }
                        }
                        Message::Close(Some(frame)) => {
                            return Why::Closed(frame.code.into(), frame.reason.to_string());
                        }
                        Message::Close(None) => return Why::Closed(1005, String::new()),
                        Message::Binary(_) => {
                            self.shared.malformed.fetch_add(1, Ordering::Relaxed);
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() >= DEAD_AFTER {
                        return Why::Silent;
                    }
                    match timeout(PING_EVERY, socket.send(Message::Ping(Vec::new().into()))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return ended(&error),
                        Err(_) => return Why::Silent,
                    }
                }
            }
        }
    }

    /// Hands a message on; true when it says that the application is somebody else's now.
    fn dispatch(&self, text: &[u8], at: Moment) -> bool {
        let event = match Event::read(text, at) {
            Ok((event, whole)) => {
                if !whole {
                    self.shared.malformed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        peer = self.ari.peer(),
                        event = event.kind.name(),
                        "an event of an unknown form"
                    );
                }
                event
            }
            Err(reason) => {
                self.shared.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(peer = self.ari.peer(), bytes = text.len(), reason, "no event");
                return false;
            }
        };
        self.shared.events.fetch_add(1, Ordering::Relaxed);
        let replaced =
            matches!(event.kind, EventKind::ApplicationReplaced {}) && event.application == self.app;
        self.queue.push(Signal::Event(Box::new(event)));
        replaced
    }
}

fn ended(error: &tungstenite::Error) -> Why {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            Why::Closed(1006, String::new())
        }
        other => Why::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    //! Against a far end that misbehaves in ways that a real Asterisk cannot be made to; all else is in tests/it/ari.rs.

    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;
    use crate::asterisk::ari::AriConfig;
    use crate::asterisk::secret::Secret;

    async fn connect() -> (EventStream, WebSocketStream<TcpStream>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ari = Ari::new(AriConfig::new(url, "offhook", Secret::new("x"))).unwrap();
        let mut events = ari.events("bot");
        let far = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        assert_eq!(events.next().await, Signal::Connected { first: true });
        (events, far, listener)
    }

    #[tokio::test]
    async fn malformed_messages_are_counted_and_end_nothing() {
        let (mut events, mut far, _listener) = connect().await;
        for text in [
            "no json",
            "[]",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"StasisEnd"}"#,
            r#"{"type":"ApplicationReplaced","application":"other"}"#,
        ] {
            far.send(Message::text(text)).await.unwrap();
        }
        far.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        far.send(Message::text(r#"{"type":"StasisEnd","channel":{"id":"1.1"}}"#)).await.unwrap();
        let mut names = Vec::new();
        while names.len() < 3 {
            let Signal::Event(event) = events.next().await else { panic!("only events") };
            names.push(event.kind.name().to_owned());
        }
        assert_eq!(names, ["StasisEnd", "ApplicationReplaced", "StasisEnd"]);
        assert_eq!(events.counts(), EventCounts { events: 3, malformed: 6, connections: 1 });
    }

    #[tokio::test]
    async fn a_far_end_that_says_nothing_at_all_is_given_up_and_dialled_again() {
        let (mut events, _silent, listener) = connect().await;
        tokio::time::pause();
        let started = Instant::now();
        assert_eq!(events.next().await, Signal::Disconnected { why: Why::Silent });
        let waited = started.elapsed();
        assert!((DEAD_AFTER..DEAD_AFTER + PING_EVERY).contains(&waited), "{waited:?}");
        tokio::time::resume();
        let _far = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        assert_eq!(events.next().await, Signal::Connected { first: false });
    }

    #[test]
    fn an_asterisk_that_takes_long_to_start_is_found_within_a_second_of_being_ready() {
        let mut backoff = Backoff::default();
        for why in [Why::Refused(503), Why::NoAri] {
            let waits: Vec<_> = (0..8).map(|_| backoff.next(why.patience(), 0.0)).collect();
            assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)), "{why}: {waits:?}");
        }
        assert_eq!(backoff.next(Why::Unauthorized.patience(), 0.0), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn the_reason_of_the_far_end_for_closing_is_handed_on() {
        let (mut events, mut far, _listener) = connect().await;
        let frame = tungstenite::protocol::CloseFrame { code: 1011.into(), reason: "too slow".into() };
        far.close(Some(frame)).await.unwrap();
        assert_eq!(events.next().await, Signal::Disconnected { why: Why::Closed(1011, "too slow".into()) });
    }
}
