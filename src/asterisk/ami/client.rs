//! The client: one connection as long as it lives, read by a task that waits for nobody.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::action::{Action, Reply};
use super::actions::Command;
use super::config::AmiConfig;
use super::connection::{Connection, DEAD_AFTER, PING_EVERY, Stream, broken};
use super::correlate::{Fault, Pending, Routed};
use super::error::AmiError;
use super::events::Event;
use super::message::Message;
use super::queue::{Events, Signal, Subscriber};
use super::wire::Parser;
use crate::asterisk::ari::backoff::Backoff;
use crate::time::Moment;

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// None was made yet.
    Starting,
    /// No connection can be made.
    Unreachable(String),
    /// Something else than AMI listens there.
    NoAmi,
    /// TLS could not be agreed on.
    Tls(String),
    /// The user or the secret is wrong, or not from here.
    Unauthorized,
    /// Asterisk refused what belongs to signing in.
    Refused(String),
    /// Asterisk closed the connection.
    Closed,
    /// The connection broke.
    Broken(String),
    /// Nothing came for 12 s, not even an answer to a ping.
    Silent,
}

impl Why {
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("not connected yet"),
            Self::Unreachable(reason) => write!(
                f,
                "cannot reach it: {reason}; check that Asterisk runs and manager.conf says enabled = yes"
            ),
            Self::NoAmi => f.write_str("what listens there is no AMI: check the port"),
            Self::Tls(reason) => write!(f, "no TLS: {reason}"),
            Self::Unauthorized => f.write_str(
                "Asterisk refuses the user, the secret or our address: compare manager.conf and its permit lines",
            ),
            Self::Refused(reason) => write!(f, "Asterisk refuses to sign us in: {reason}"),
            Self::Closed => f.write_str("Asterisk closed the connection"),
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
            Self::Silent => write!(f, "Asterisk was silent for {} s", DEAD_AFTER.as_secs()),
        }
    }
}

/// The client of one Asterisk's manager interface: signed in as long as it lives, and again after each outage. Cheap to
/// clone; the connection ends with the last clone.
#[derive(Clone)]
pub struct Ami {
    inner: Arc<Inner>,
    _connection: Arc<AbortOnDropHandle<()>>,
}

struct Inner {
    config: AmiConfig,
    peer: String,
    pending: Mutex<Pending<oneshot::Sender<Result<Reply, Fault>>>>,
    /// To the writer of the connection that is up.
    outbox: mpsc::Sender<(String, Vec<u8>)>,
    subscribers: Mutex<Vec<std::sync::Weak<Subscriber>>>,
    state: watch::Sender<Result<String, Why>>,
    next_id: AtomicU64,
    /// Tells our ids from those of other clients whose answers a shared server might send.
    nonce: u32,
    counts: Counters,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    events: AtomicU64,
    cut: AtomicU64,
}

/// What a client has seen since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AmiCounts {
    /// Connections that were made and signed in.
    pub connections: u64,
    /// Events that came, those of lists not counted.
    pub events: u64,
    /// Messages that were longer than is taken, and so are not whole.
    pub cut: u64,
}

/// Actions that wait for the writer.
const OUTBOX: usize = 256;
/// A connection that lasted so long was a good one: the next outage starts with short waits again.
const GOOD_AFTER: Duration = Duration::from_secs(10);

impl Ami {
    /// A client that connects by itself, at once and after each outage. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`AmiError::Config`] when the address cannot be used.
    pub fn new(config: AmiConfig) -> Result<Self, AmiError> {
        let (host, port) = config.peer()?;
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let inner = Arc::new(Inner {
            peer: format!("{host}:{port}"),
            pending: Mutex::new(Pending::new(config.most_pending, config.most_items)),
            outbox,
            subscribers: Mutex::default(),
            state: watch::Sender::new(Err(Why::Starting)),
            next_id: AtomicU64::new(1),
            nonce: fastrand::u32(..),
            counts: Counters::default(),
            config,
        });
        let task = tokio::spawn(keep_up(inner.clone(), inbox));
        Ok(Self { inner, _connection: Arc::new(AbortOnDropHandle::new(task)) })
    }

    /// Host and port.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.inner.peer
    }

    /// The version of the protocol that the server greeted with, while there is a connection.
    ///
    /// # Errors
    /// Why there is none.
    pub fn state(&self) -> Result<String, Why> {
        self.inner.state.borrow().clone()
    }

    /// Waits until we are signed in, for at most `patience`; the version of the protocol.
    ///
    /// # Errors
    /// [`AmiError::Disconnected`] with the reason of the last attempt; at once when the user or the secret is refused.
    pub async fn ready(&self, patience: Duration) -> Result<String, AmiError> {
        let mut state = self.inner.state.subscribe();
        let decided = |state: &Result<String, Why>| {
            matches!(state, Ok(_) | Err(Why::Unauthorized | Why::NoAmi | Why::Tls(_)))
        };
        // When the patience is over the state says what is wrong.
        let _ = timeout(patience, state.wait_for(decided)).await;
        let state = state.borrow().clone();
        state.map_err(|why| self.inner.disconnected("Login", why))
    }

    /// What was seen so far.
    #[must_use]
    pub fn counts(&self) -> AmiCounts {
        let counts = &self.inner.counts;
        AmiCounts {
            connections: counts.connections.load(Ordering::Relaxed),
            events: counts.events.load(Ordering::Relaxed),
            cut: counts.cut.load(Ordering::Relaxed),
        }
    }

    /// Events of these names (all, when there are none) from now on, and what becomes of the connection.
    #[must_use]
    pub fn events(&self, names: &[&str]) -> Events {
        let subscriber = Subscriber::new(names, self.inner.config.event_capacity);
        self.inner.lock_subscribers().push(Arc::downgrade(&subscriber));
        Events(subscriber)
    }

    /// Does what `command` says, and reads its answer.
    ///
    /// # Errors
    /// As [`Ami::send`].
    pub async fn run<C: Command>(&self, command: &C) -> Result<C::Answer, AmiError> {
        let reply = self.send(&command.action()).await?;
        command.read(reply)
    }

    /// Sends any action and waits for its answer, a list included. Dropping the future loses the answer and nothing else.
    ///
    /// # Errors
    /// Whatever went wrong; see [`AmiError`].
    pub async fn send(&self, action: &Action) -> Result<Reply, AmiError> {
        let inner = &*self.inner;
        if let Err(why) = &*inner.state.borrow() {
            return Err(inner.disconnected(action.name(), why.clone()));
        }
        let id = format!("offhook-{:x}-{}", inner.nonce, inner.next_id.fetch_add(1, Ordering::Relaxed));
        let bytes = action.encode(&id)?;
        let (answer, answered) = oneshot::channel();
        inner.lock_pending().add(id.clone(), action.ends_with, answer).map_err(|_| AmiError::Busy {
            action: action.name().to_owned(),
            limit: inner.config.most_pending,
        })?;
        let mut waiting = Abandon { inner, id: &id, armed: true };
        let lost = || AmiError::Lost { peer: inner.peer.clone(), action: action.name().to_owned() };
        if inner.outbox.send((id.clone(), bytes)).await.is_err() {
            return Err(lost());
        }
        let answer = inner.await_answer(&id, answered, action).await?;
        waiting.armed = false;
        answer.map_err(|fault| inner.fault(action, fault))
    }
}

impl fmt::Debug for Ami {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ami").field("peer", &self.inner.peer).field("state", &self.state()).finish()
    }
}

/// Takes an action out of those that wait when nobody waits for it any more.
struct Abandon<'a> {
    inner: &'a Inner,
    id: &'a str,
    armed: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inner.lock_pending().abandon(self.id);
        }
    }
}

impl Inner {
    fn lock_pending(&self) -> MutexGuard<'_, Pending<oneshot::Sender<Result<Reply, Fault>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_subscribers(&self) -> MutexGuard<'_, Vec<std::sync::Weak<Subscriber>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as parts of the answer come.
    async fn await_answer(
        &self,
        id: &str,
        mut answered: oneshot::Receiver<Result<Reply, Fault>>,
        action: &Action,
    ) -> Result<Result<Reply, Fault>, AmiError> {
        let mut seen = 0;
        loop {
            match timeout(self.patience(action), &mut answered).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => {
                    return Err(AmiError::Lost { peer: self.peer.clone(), action: action.name().to_owned() });
                }
                Err(_) => {
                    let progress = self.lock_pending().progress(id).unwrap_or(seen);
                    if progress == seen {
                        return Err(AmiError::Timeout {
                            peer: self.peer.clone(),
                            action: action.name().to_owned(),
                            after: self.patience(action),
                        });
                    }
                    seen = progress;
                }
            }
        }
    }

    /// An Originate is answered when the telephone is.
    fn patience(&self, action: &Action) -> Duration {
        let rings = action
            .headers()
            .find(|(key, _)| action.name() == "Originate" && *key == "Timeout")
            .and_then(|(_, millis)| millis.parse().ok())
            .map_or(Duration::ZERO, Duration::from_millis);
        let rings =
            if action.name() == "Originate" && rings.is_zero() { Duration::from_secs(30) } else { rings };
        self.config.timeout + rings
    }

    fn disconnected(&self, action: &str, why: Why) -> AmiError {
        AmiError::Disconnected { peer: self.peer.clone(), action: action.to_owned(), why }
    }

    fn fault(&self, action: &Action, fault: Fault) -> AmiError {
        match fault {
            Fault::Refused(message) => AmiError::refusal(action.name(), &self.config.user, &message),
            Fault::TooLarge => AmiError::Malformed {
                action: action.name().to_owned(),
                what: "the list is longer than is kept",
            },
        }
    }

    /// Tells every subscriber.
    fn tell(&self, signal: &Signal) {
        self.lock_subscribers().retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let wanted = match signal {
                Signal::Event(event) => subscriber.wants(event.name()),
                _ => true,
            };
            if wanted {
                subscriber.push(signal.clone());
            }
            true
        });
    }

    fn take(&self, message: Message, at: Moment) {
        if !message.is_whole() {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
        let routed = self.lock_pending().route(message);
        match routed {
            // Who asked may be gone.
            Routed::Answer(who, answer) => drop(who.send(answer)),
            Routed::Kept => {}
            Routed::Event(message) => {
                self.counts.events.fetch_add(1, Ordering::Relaxed);
                self.tell(&Signal::Event(Arc::new(Event { at, message })));
            }
        }
    }

    /// Reads until the connection ends, and says how it did.
    async fn read(
        &self,
        mut stream: ReadHalf<Box<dyn Stream>>,
        mut parser: Parser,
        heard: &watch::Sender<Instant>,
    ) -> Why {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let at = Moment::now();
            while let Some(message) = parser.take() {
                self.take(message, at);
            }
            match stream.read(&mut buffer).await {
                Ok(0) => return Why::Closed,
                Ok(length) => {
                    heard.send_replace(Instant::now());
                    parser.feed(&buffer[..length]);
                }
                Err(error) => return broken(error),
            }
        }
    }
}

/// Writes what is to be sent, and asks whether the far end is there when nothing was heard for a while.
async fn write(
    mut stream: WriteHalf<Box<dyn Stream>>,
    inbox: &mut mpsc::Receiver<(String, Vec<u8>)>,
    heard: watch::Receiver<Instant>,
) -> Why {
    loop {
        let bytes = tokio::select! {
            next = inbox.recv() => match next {
                Some((_, bytes)) => bytes,
                None => std::future::pending().await,
            },
            () = sleep(PING_EVERY) => {
                if heard.borrow().elapsed() < PING_EVERY {
                    continue;
                }
                b"Action: Ping\r\nActionID: offhook-ping\r\n\r\n".to_vec()
            }
        };
        match timeout(DEAD_AFTER, stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return broken(error),
            Err(_) => return Why::Silent,
        }
    }
}

async fn silence(mut heard: watch::Receiver<Instant>) -> Why {
    loop {
        let last = *heard.borrow_and_update();
        if timeout(DEAD_AFTER.saturating_sub(last.elapsed()), heard.changed()).await.is_err()
            && heard.borrow().elapsed() >= DEAD_AFTER
        {
            return Why::Silent;
        }
    }
}

/// Connects, serves and connects again.
async fn keep_up(inner: Arc<Inner>, mut inbox: mpsc::Receiver<(String, Vec<u8>)>) {
    let mut backoff = Backoff::default();
    let mut said: Option<Why> = None;
    loop {
        let why = match Connection::open(&inner.config).await {
            Ok(connection) => {
                let since = Instant::now();
                let why = serve(&inner, connection, &mut inbox).await;
                said = None;
                if since.elapsed() >= GOOD_AFTER {
                    backoff.reset();
                }
                why
            }
            Err(why) => why,
        };
        let _ = inner.state.send_replace(Err(why.clone()));
        // Whoever waits for an answer will not get it: dropping the sender tells them.
        inner.lock_pending().give_up().for_each(drop);
        while inbox.try_recv().is_ok() {}
        if !said.as_ref().is_some_and(|said| said.is_like(&why)) {
            tracing::warn!(peer = inner.peer, %why, "no AMI");
            inner.tell(&Signal::Disconnected { why: why.clone() });
            said = Some(why);
        }
        sleep(backoff.next(Backoff::LONGEST, fastrand::f64())).await;
    }
}

async fn serve(inner: &Inner, connection: Connection, inbox: &mut mpsc::Receiver<(String, Vec<u8>)>) -> Why {
    let Connection { stream, parser, early, version } = connection;
    let first = inner.counts.connections.fetch_add(1, Ordering::Relaxed) == 0;
    tracing::info!(peer = inner.peer, version, "signed in to AMI");
    // Before anybody can send: what is in the outbox now was for the connection before.
    while inbox.try_recv().is_ok() {}
    let _ = inner.state.send_replace(Ok(version));
    inner.tell(&Signal::Connected { first });
    let at = Moment::now();
    early.into_iter().for_each(|message| inner.take(message, at));
    let (read_half, write_half) = tokio::io::split(stream);
    let heard = watch::Sender::new(Instant::now());
    tokio::select! {
        why = inner.read(read_half, parser, &heard) => why,
        why = write(write_half, inbox, heard.subscribe()) => why,
        why = silence(heard.subscribe()) => why,
    }
}
