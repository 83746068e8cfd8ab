//! The events socket: connected as long as the stream lives, read by a task that waits for nobody.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::Core;
use super::backoff::Backoff;
use super::door::Seat;
use super::model::{Event, EventKind};
use super::queue::{Queue, Signal};
use super::socket::{self, DEAD_AFTER, Hears, Kind};

/// A connection that lasted so long was a good one: the next outage starts with short waits again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// How often a closed port is tried while a longer wait goes on, and the longest wait for an Asterisk that is starting or
/// stands behind something that is open, so that one that is back is found soon.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
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
    /// 404 and 503 for as long as its modules load; a proxy before one that is away takes connections and lets them go.
    const fn patience(&self) -> Duration {
        match self {
            // A closed port is knocked at meanwhile.
            Self::Unauthorized | Self::Unreachable(_) | Self::Replaced => Backoff::LONGEST,
            Self::NoAri | Self::Refused(_) | Self::Closed(..) | Self::Broken(_) | Self::Silent => KNOCK_EVERY,
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

/// The events of one application. Made by [`Ari::events`](super::Ari::events); dropping it closes the connection.
pub struct EventStream {
    queue: Queue,
    shared: Arc<Shared>,
    core: Arc<Core>,
    /// Where events come from; ends with the stream.
    _source: Source,
}

enum Source {
    /// A task that connects and reads.
    Reader { _task: AbortOnDropHandle<()> },
    /// A place at the door that Asterisk connects to.
    Seat { _seat: Seat },
}

/// What a stream and whoever fills it share.
#[derive(Default)]
pub(super) struct Shared {
    reclaim: Notify,
    pub(super) events: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) connections: AtomicU64,
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
    pub(super) fn open(core: &Arc<Core>, app: &str, subscribe_all: bool) -> Self {
        let queue = Queue::new(core.config.event_capacity);
        let shared = Arc::new(Shared::default());
        let source = match &core.door {
            Some(door) => Source::Seat { _seat: door.seat(app, queue.clone(), Arc::clone(&shared)) },
            None => {
                let reader = Reader::new(core, app.to_owned(), queue.clone(), Arc::clone(&shared));
                let task = tokio::spawn(Reader { subscribe_all, ..reader }.run());
                Source::Reader { _task: AbortOnDropHandle::new(task) }
            }
        };
        core.streams.fetch_add(1, Ordering::Relaxed);
        Self { queue, shared, core: Arc::clone(core), _source: source }
    }

    /// A connection for requests alone, for as long as there is no other one.
    pub(super) fn spare(core: &Arc<Core>) -> AbortOnDropHandle<()> {
        // An application of nobody else's: an events socket has to name one.
        let app = format!("offhook-requests-{:08x}", fastrand::u32(..));
        let reader = Reader::new(core, app, Queue::new(1), Arc::default());
        AbortOnDropHandle::new(tokio::spawn(Reader { spare: true, ..reader }.run()))
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

impl Drop for EventStream {
    fn drop(&mut self) {
        self.core.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

struct Reader {
    core: Arc<Core>,
    app: String,
    subscribe_all: bool,
    /// Whether it is there for requests alone.
    spare: bool,
    queue: Queue,
    shared: Arc<Shared>,
    connected_before: bool,
    /// The reason that was signalled last in this outage.
    said: Option<Why>,
}

impl Reader {
    fn new(core: &Arc<Core>, app: String, queue: Queue, shared: Arc<Shared>) -> Self {
        let core = Arc::clone(core);
        let (subscribe_all, spare, connected_before) = (false, false, false);
        Self { core, app, subscribe_all, spare, queue, shared, connected_before, said: None }
    }

    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let why = match self.connect().await {
                Ok(socket) => {
                    let since = Instant::now();
                    let core = Arc::clone(&self.core);
                    let kind = if self.spare { Kind::Spare } else { Kind::Events };
                    let why = socket::carry(socket, &core.lines, kind, &mut self).await;
                    if since.elapsed() >= GOOD_AFTER {
                        backoff.reset();
                    }
                    why
                }
                Err(why) => why,
            };
            self.disconnected(&why);
            if why == Why::Replaced && self.spare {
                return;
            }
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

    fn disconnected(&mut self, why: &Why) {
        self.core.lines.fails(why);
        if self.said.as_ref().is_some_and(|said| said.is_like(why)) {
            return;
        }
        if !(self.spare && *why == Why::Replaced) {
            tracing::warn!(peer = self.core.peer(), app = self.app, %why, "no events");
        }
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
        let config = &self.core.config;
        match timeout(config.connect_timeout, TcpStream::connect(self.core.address.dial())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Why::Unreachable(error.to_string())),
            Err(_) => Err(Why::Unreachable(format!("no answer within {:?}", config.connect_timeout))),
        }
    }

    async fn connect(&self) -> Result<Socket, Why> {
        let inner = &self.core;
        let stream = self.dial().await?;
        // Pings are small and should not wait for anything; without this they still work.
        let _ = stream.set_nodelay(true);
        let url = inner.address.events(&self.app, self.subscribe_all);
        let mut request =
            url.as_str().into_client_request().map_err(|error| Why::Broken(error.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, inner.authorization.clone());
        let connector = inner.tls.clone().map(Connector::Rustls);
        let handshake = client_async_tls_with_config(request, stream, Some(socket::limits()), connector);
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
}

impl Hears for Reader {
    fn ready(&mut self) {
        self.said = None;
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if !self.spare {
            tracing::info!(peer = self.core.peer(), app = self.app, "receiving events");
        }
        self.queue.push(Signal::Connected { first: !self.connected_before });
        self.connected_before = true;
    }

    fn event(&mut self, event: Event) -> bool {
        if self.spare {
            return false;
        }
        self.shared.events.fetch_add(1, Ordering::Relaxed);
        let replaced =
            matches!(event.kind, EventKind::ApplicationReplaced {}) && event.application == self.app;
        self.queue.push(Signal::Event(Box::new(event)));
        replaced
    }

    fn malformed(&mut self, what: &str, bytes: usize) {
        self.shared.malformed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(peer = self.core.peer(), what, bytes, "not an event, or not of its form");
    }
}

#[cfg(test)]
mod tests {
    //! Against a far end that misbehaves in ways that a real Asterisk cannot be made to; all else is in tests/it/ari/.

    use futures_util::SinkExt;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;
    use tokio_tungstenite::tungstenite::Message;

    use super::socket::PING_EVERY;
    use super::*;
    use crate::asterisk::ari::{Ari, AriConfig};
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
        let broken = Why::Broken("reset".into());
        for why in [Why::Refused(503), Why::NoAri, broken, Why::Closed(1006, String::new()), Why::Silent] {
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
