//! Where Asterisk connects to us, for servers that cannot be reached (`type = outbound_websocket` in ari.conf; Asterisk
//! 20.15, 22.5 and later).
//!
//! A connection is let in by its address, by user and password, compared in constant time, and by the subprotocol `ari`,
//! within five seconds and while there are not too many; by TLS where we have a certificate. It says for which applications it is there; a persistent one for those of
//! its configuration, one that was made for a call for `APP:CHANNEL`. Their events go to the streams of these applications
//! ([`Ari::events`](super::Ari::events)), wherever they came in.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::config::Listen;
use super::model::{Event, EventKind};
use super::queue::{Queue, Signal};
use super::socket::{self, Hears, Kind};
use super::stream::{Shared, Why};
use super::{AriError, Core};
use crate::asterisk::tls;
use crate::guard::Guard;
use crate::time::Moment;

/// How long a connection may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Connections that may be saying who they are at the same moment; more are closed unheard.
const STRANGERS: usize = 32;
/// The subprotocol that Asterisk asks for.
const PROTOCOL: &str = "ari";

/// The listener, and who waits for what comes in by it.
pub(super) struct Door {
    listen: Listen,
    address: SocketAddr,
    guard: Guard,
    tls: Option<TlsAcceptor>,
    /// Taken by the task that accepts, once it is started.
    listener: Mutex<Option<StdListener>>,
    house: Arc<House>,
}

#[derive(Default)]
struct House {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    seats: Vec<Sitting>,
    /// Applications that a persistent connection is there for.
    apps: Vec<String>,
    numbers: u64,
}

/// A stream of events that waits for an application.
struct Sitting {
    number: u64,
    app: String,
    queue: Queue,
    shared: Arc<Shared>,
    connected_before: bool,
}

/// A place for a stream, given up when it is dropped.
pub(super) struct Seat {
    house: Weak<House>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(house) = self.house.upgrade() {
            house.inside().seats.retain(|seat| seat.number != self.number);
        }
    }
}

impl House {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sitting {
    fn connected(&mut self) {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.queue.push(Signal::Connected { first: !self.connected_before });
        self.connected_before = true;
    }

    /// Whether events of `app` are for it: its own, and those of calls with a connection each.
    fn wants(&self, app: &str) -> bool {
        app.strip_prefix(self.app.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

impl Door {
    /// Opens the port; nothing is accepted before [`Door::serve`].
    pub(super) fn open(listen: &Listen) -> Result<Self, AriError> {
        let cannot =
            |wants: String| AriError::Config { key: "listen", value: listen.bind.to_string(), wants };
        if listen.user.is_empty() || listen.password.reveal().is_empty() {
            return Err(cannot("name the user and the password that Asterisk introduces itself with".into()));
        }
        let exposure = listen.exposure();
        exposure.check().map_err(&cannot)?;
        let tls =
            listen.tls.as_ref().map(tls::server).transpose().map_err(|error| cannot(error.to_string()))?;
        let opened = StdListener::bind(listen.bind).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = opened.map_err(|error| {
            cannot(format!("the system says: {error}; name an address of this machine and a free port"))
        })?;
        Ok(Self {
            listen: listen.clone(),
            address,
            guard: Guard::new(&exposure),
            tls: tls.map(TlsAcceptor::from),
            listener: Mutex::new(Some(listener)),
            house: Arc::default(),
        })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts for as long as the handle lives; none when somebody does already.
    pub(super) fn serve(core: &Arc<Core>, authorization: HeaderValue) -> Option<AbortOnDropHandle<()>> {
        let door = core.door.as_ref()?;
        let listener = door.listener.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let task = accept(Arc::clone(core), listener, authorization);
        Some(AbortOnDropHandle::new(tokio::spawn(task)))
    }

    /// A place for a stream of `app`.
    pub(super) fn seat(&self, app: &str, queue: Queue, shared: Arc<Shared>) -> Seat {
        let mut inside = self.house.inside();
        inside.numbers += 1;
        let number = inside.numbers;
        let mut sitting = Sitting { number, app: app.to_owned(), queue, shared, connected_before: false };
        // With a connection for each call there is nothing to wait for.
        if self.listen.per_call || inside.apps.iter().any(|there| there == app) {
            sitting.connected();
        }
        inside.seats.push(sitting);
        Seat { house: Arc::downgrade(&self.house), number }
    }
}

async fn accept(core: Arc<Core>, listener: StdListener, authorization: HeaderValue) {
    let door = core.door.as_ref().expect("it is served because it is there");
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "Asterisk's connections cannot be accepted"),
    };
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let guests = Arc::new(Semaphore::new(door.listen.connections.max(1)));
    // Ended with this task: dropping the set aborts what is in it.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: waiting may help, spinning does not.
                tracing::warn!(%error, "a connection of Asterisk's cannot be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        if !door.guard.admits(from.ip(), Moment::now()) {
            continue;
        }
        let (Ok(stranger), Ok(guest)) =
            (Arc::clone(&strangers).try_acquire_owned(), Arc::clone(&guests).try_acquire_owned())
        else {
            door.guard.refuse(Moment::now(), from.ip(), &"there are too many connections");
            continue;
        };
        let (core, authorization) = (Arc::clone(&core), authorization.clone());
        tasks.spawn(async move {
            // Small messages should not wait for anything; without this they still work.
            let _ = stream.set_nodelay(true);
            let door = core.door.as_ref().expect("it came in by it");
            match &door.tls {
                Some(tls) => {
                    let encrypted = async { tls.accept(stream).await.map_err(|error| error.to_string()) };
                    welcome(&core, encrypted, from, &authorization, stranger).await;
                }
                None => welcome(&core, async { Ok(stream) }, from, &authorization, stranger).await,
            }
            drop(guest);
        });
    }
}

/// Lets a connection in that introduces itself in time, and serves it to its end.
async fn welcome<S>(
    core: &Core,
    stream: impl Future<Output = Result<S, String>>,
    from: SocketAddr,
    authorization: &HeaderValue,
    stranger: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let introduced = timeout(INTRODUCTION, async { introduce(stream.await?, authorization).await }).await;
    drop(stranger);
    let why = match introduced {
        Ok(Ok(socket)) => return receive(core, socket, from).await,
        Ok(Err(why)) => why,
        Err(_) => "it did not say who it is".to_owned(),
    };
    let door = core.door.as_ref().expect("it came in by it");
    door.guard.refuse(Moment::now(), from.ip(), &why);
}

/// Lets a connection in that knows the password.
async fn introduce<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    authorization: &HeaderValue,
) -> Result<WebSocketStream<S>, String> {
    #[expect(clippy::result_large_err, reason = "the library's form of an answer")]
    let check = |request: &Request, mut response: Response| {
        let refuse = |status, why: &str| {
            let mut answer = ErrorResponse::new(Some(why.to_owned()));
            *answer.status_mut() = status;
            answer
        };
        let known = request
            .headers()
            .get(AUTHORIZATION)
            .is_some_and(|given| same(given.as_bytes(), authorization.as_bytes()));
        if !known {
            return Err(refuse(StatusCode::UNAUTHORIZED, "user or password"));
        }
        let protocols = request.headers().get_all("Sec-WebSocket-Protocol").iter();
        let mut names = protocols.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        if !names.any(|name| name.trim() == PROTOCOL) {
            return Err(refuse(StatusCode::BAD_REQUEST, "the subprotocol must be ari"));
        }
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    accept_hdr_async_with_config(stream, check, Some(socket::limits()))
        .await
        .map_err(|error| error.to_string())
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differ = given.iter().zip(wanted).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    given.len() == wanted.len() && differ == 0
}

async fn receive<S>(core: &Core, socket: WebSocketStream<S>, from: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let door = core.door.as_ref().expect("it came in by it");
    let mut guest = Guest { door, house: &door.house, apps: Vec::new(), ready: false, why: None };
    let why = socket::carry(socket, &core.lines, Kind::FromAsterisk, &mut guest).await;
    guest.why = Some(why.clone());
    drop(guest);
    if door.listen.per_call {
        tracing::debug!(%from, %why, "a call's connection has ended");
    } else {
        tracing::warn!(%from, %why, "no events");
        core.lines.fails(&why);
    }
}

/// One connection.
struct Guest<'a> {
    door: &'a Door,
    house: &'a House,
    /// What it is there for.
    apps: Vec<String>,
    ready: bool,
    /// How it ended.
    why: Option<Why>,
}

/// However it ends: when the door is closed, its task goes without a word.
impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let why = self.why.take().unwrap_or_else(|| Why::Broken("we listen no more".to_owned()));
        self.leaves(&why);
    }
}

impl Guest<'_> {
    /// Tells the streams of `app` that it is there.
    fn announce(&self, app: &str) {
        // A call's own connection is no news for a stream.
        if app.contains(':') {
            return;
        }
        tracing::info!(app, "receiving events from Asterisk");
        let mut inside = self.house.inside();
        inside.apps.push(app.to_owned());
        inside.seats.iter_mut().filter(|seat| seat.app == app).for_each(Sitting::connected);
    }

    fn leaves(&self, why: &Why) {
        let mut inside = self.house.inside();
        for app in &self.apps {
            // One that never was ready has not been announced, and takes nobody's place away.
            let announced = self.ready && !app.contains(':');
            if let Some(at) = inside.apps.iter().position(|there| announced && there == app) {
                inside.apps.swap_remove(at);
            }
            let gone = !inside.apps.contains(app);
            for seat in inside.seats.iter().filter(|seat| seat.wants(app)) {
                if app.contains(':') {
                    // Its call has ended, as a rule. Where it has not, somebody has to look.
                    if !matches!(why, Why::Closed(1000 | 1005, _)) {
                        seat.queue.push(Signal::Lost { count: 0 });
                    }
                } else if gone && self.ready {
                    seat.queue.push(Signal::Disconnected { why: why.clone() });
                }
            }
        }
    }
}

impl Hears for Guest<'_> {
    fn passes(&self) -> bool {
        self.apps.iter().any(|app| app.contains(':'))
    }

    fn ready(&mut self) {
        self.ready = true;
        self.apps.iter().for_each(|app| self.announce(app));
    }

    fn event(&mut self, event: Event) -> bool {
        if matches!(event.kind, EventKind::ApplicationRegistered {})
            && !self.apps.contains(&event.application)
        {
            let base = event.application.split(':').next().unwrap_or_default();
            let wanted = &self.door.listen.apps;
            if !wanted.is_empty() && !wanted.iter().any(|app| app == base) {
                tracing::warn!(
                    app = base,
                    "Asterisk connects for an application that is not ours: compare `apps` in ari.conf"
                );
                return true;
            }
            self.apps.push(event.application.clone());
            if self.ready {
                self.announce(&event.application);
            }
        }
        let inside = self.house.inside();
        for seat in inside.seats.iter().filter(|seat| seat.wants(&event.application)) {
            seat.shared.events.fetch_add(1, Ordering::Relaxed);
            seat.queue.push(Signal::Event(Box::new(event.clone())));
        }
        false
    }

    fn malformed(&mut self, what: &str, bytes: usize) {
        for seat in &self.house.inside().seats {
            seat.shared.malformed.fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(what, bytes, "not an event, or not of its form");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_or_not() {
        assert!(same(b"Basic abc", b"Basic abc"));
        for other in [&b""[..], b"Basic ab", b"Basic abd", b"Basic abcd"] {
            assert!(!same(other, b"Basic abc"));
        }
    }
}
