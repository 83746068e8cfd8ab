//! Programs that come to us: each connection is a worker that registers with a capacity and serves many calls, told apart by the
//! call's id in every message, and by its `stream` in binary ones.
//!
//! Who comes is let in by his address and by the token, in a header or in his first message, compared in constant time, within
//! five seconds and while there are not too many. A call goes to the worker that is least full.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::config::RemoteSection;
use super::error::RemoteError;
use super::message::{self, Event, Verb};
use super::wire::{self, INBOX, Incoming, Line, Takes};
use crate::guard::Guard;
use crate::id::CallId;
use crate::secret::Secret;
use crate::time::Moment;
use crate::tls;

/// How long a connection may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Connections that may be saying who they are at the same moment.
const STRANGERS: usize = 32;
/// Workers at once.
const MOST_WORKERS: usize = 256;
/// Messages on their way to a worker.
const OUTBOX: usize = 4_096;
/// The port may still be that of the engine that we take over from.
const BIND_AGAIN: Duration = Duration::from_millis(250);
/// After an error of the listener itself: the limit of open files, usually.
const BREATH: Duration = Duration::from_millis(100);

/// The port, and who came in by it. Dropping it closes both.
pub(super) struct Workers {
    house: Arc<House>,
    _listens: AbortOnDropHandle<()>,
}

/// The workers that are there.
#[derive(Default)]
pub(super) struct House {
    inside: Mutex<Vec<Arc<Worker>>>,
    /// Somebody came, or has room again.
    room: Notify,
    /// Where it listens, once it does.
    address: Mutex<Option<SocketAddr>>,
}

struct Worker {
    name: String,
    capacity: AtomicU32,
    out: mpsc::Sender<Message>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    by_id: HashMap<CallId, (u16, mpsc::Sender<Incoming>)>,
    by_stream: HashMap<u16, CallId>,
    last: u16,
    /// It is gone: nobody is added any more.
    gone: bool,
}

/// A call's place at a worker, given up when it is dropped.
pub(super) struct Place {
    house: Arc<House>,
    worker: Arc<Worker>,
    call: CallId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.worker.calls();
        if let Some((stream, _)) = calls.by_id.remove(&self.call) {
            calls.by_stream.remove(&stream);
        }
        drop(calls);
        self.house.room.notify_waiters();
    }
}

impl Worker {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full it is; [`None`] when it takes no more.
    fn fullness(&self) -> Option<f64> {
        let (calls, capacity) = (self.calls(), self.capacity.load(Ordering::Relaxed));
        let there = u32::try_from(calls.by_id.len()).unwrap_or(u32::MAX);
        (there < capacity && !calls.gone).then(|| f64::from(there) / f64::from(capacity))
    }

    /// A place for a call, unless somebody else was faster.
    fn seat(self: &Arc<Self>, house: &Arc<House>, call: CallId) -> Option<Line> {
        let mut calls = self.calls();
        let there = calls.by_id.len();
        if calls.gone || there >= self.capacity.load(Ordering::Relaxed) as usize || there >= 60_000 {
            return None;
        }
        let stream = loop {
            calls.last = calls.last.wrapping_add(1);
            if !calls.by_stream.contains_key(&calls.last) {
                break calls.last;
            }
        };
        let (inbox, incoming) = mpsc::channel(INBOX);
        calls.by_id.insert(call, (stream, inbox));
        calls.by_stream.insert(stream, call);
        drop(calls);
        let place = Place { house: Arc::clone(house), worker: Arc::clone(self), call };
        Some(Line::new(call, stream, self.out.clone(), incoming, Some(place)))
    }
}

impl House {
    fn inside(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn least_full(&self) -> Option<Arc<Worker>> {
        let inside = self.inside();
        let free = inside.iter().filter_map(|worker| Some((worker.fullness()?, worker)));
        free.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, worker)| Arc::clone(worker))
    }

    /// A line at the worker that is least full; waits so long for one.
    pub async fn line(self: &Arc<Self>, call: CallId, patience: Duration) -> Result<Line, RemoteError> {
        let found = async {
            loop {
                // Asked for before it is looked: what happens in between is not missed.
                let room = self.room.notified();
                if let Some(line) = self.least_full().and_then(|worker| worker.seat(self, call)) {
                    return line;
                }
                room.await;
            }
        };
        timeout(patience, found).await.map_err(|_| RemoteError::NoWorker)
    }

    /// Where it listens, once it does.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The port, as it is told.
struct Door {
    bot: String,
    house: Arc<House>,
    guard: Guard,
    token: Option<Secret>,
    tls: Option<TlsAcceptor>,
}

impl Workers {
    /// Listens as soon as the port is free. Inside a tokio runtime.
    pub fn open(bot: &str, section: &RemoteSection, token: Option<Secret>) -> Result<Self, RemoteError> {
        let setup = |what: String| RemoteError::Setup(what);
        let exposure = section.exposure().ok_or_else(|| setup("`remote` has no `listen`".into()))?;
        exposure.check().map_err(setup)?;
        let tls = section.identity().map(|identity| tls::server(&identity)).transpose();
        let tls = tls.map_err(|error| setup(error.to_string()))?.map(TlsAcceptor::from);
        let house = Arc::new(House::default());
        let door = Arc::new(Door {
            bot: bot.to_owned(),
            house: Arc::clone(&house),
            guard: Guard::new(&exposure),
            token,
            tls,
        });
        let listens = AbortOnDropHandle::new(tokio::spawn(listen(door, exposure.bind)));
        Ok(Self { house, _listens: listens })
    }

    pub fn house(&self) -> &Arc<House> {
        &self.house
    }
}

async fn listen(door: Arc<Door>, bind: SocketAddr) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(bind).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(bot = door.bot, %bind, %error, "programs cannot register yet; trying again");
                }
                sleep(BIND_AGAIN).await;
            }
        }
    };
    let address = listener.local_addr().ok();
    *door.house.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    tracing::info!(bot = door.bot, address = %address.unwrap_or(bind), "programs may register");
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    // Ended with this task: dropping the set aborts what is in it.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(BREATH).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        if !door.guard.admits(from.ip(), Moment::now()) {
            continue;
        }
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
            door.guard.refuse(Moment::now(), from.ip(), &"there are too many connections");
            continue;
        };
        if tasks.len() >= MOST_WORKERS + STRANGERS {
            door.guard.refuse(Moment::now(), from.ip(), &"there are too many workers");
            continue;
        }
        let door = Arc::clone(&door);
        tasks.spawn(async move {
            // Small messages should not wait for anything; without this they still work.
            let _ = stream.set_nodelay(true);
            let from = from.ip();
            let introduced = timeout(INTRODUCTION, introduce(&door, stream)).await;
            drop(stranger);
            match introduced {
                Ok(Ok(Introduced::Plain(guest))) => serve(&door, *guest, from).await,
                Ok(Ok(Introduced::Tls(guest))) => serve(&door, *guest, from).await,
                Ok(Err(why)) => door.guard.refuse(Moment::now(), from, &why),
                Err(_) => door.guard.refuse(Moment::now(), from, &"it did not register in time"),
            }
        });
    }
}

enum Introduced {
    Plain(Box<Guest<TcpStream>>),
    Tls(Box<Guest<tokio_rustls::server::TlsStream<TcpStream>>>),
}

/// A program that has said who it is.
struct Guest<S> {
    socket: WebSocketStream<S>,
    name: String,
    capacity: u32,
}

async fn introduce(door: &Door, stream: TcpStream) -> Result<Introduced, String> {
    match &door.tls {
        Some(tls) => {
            let encrypted = tls.accept(stream).await.map_err(|error| error.to_string())?;
            Ok(Introduced::Tls(Box::new(register(door, encrypted).await?)))
        }
        None => Ok(Introduced::Plain(Box::new(register(door, stream).await?))),
    }
}

async fn register<S: AsyncRead + AsyncWrite + Unpin>(door: &Door, stream: S) -> Result<Guest<S>, String> {
    let mut known = door.token.is_none();
    let mut wrong = false;
    #[expect(clippy::result_large_err, reason = "the library's form of an answer")]
    let check = |request: &Request, response: Response| {
        if let (Some(token), Some(given)) = (&door.token, request.headers().get(AUTHORIZATION)) {
            let given = given.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
            known = same(given, token.reveal().as_bytes());
            wrong = !known;
        }
        if wrong {
            let mut answer = ErrorResponse::new(Some("the token is wrong".to_owned()));
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            return Err(answer);
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async_with_config(stream, check, Some(wire::limits()))
        .await
        .map_err(|error| error.to_string())?;
    let refuse = async |socket: &mut WebSocketStream<S>, error: String| {
        let event = Event::Error { error: error.clone(), id: None };
        // He may be gone.
        let _ = futures_util::SinkExt::send(socket, Message::text(event.write(None))).await;
        let _ = socket.close(None).await;
        error
    };
    let text = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(refuse(&mut socket, "the first message is `register`".into()).await),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("it was closed".into()),
        }
    };
    match message::Request::read(text.as_str()) {
        Ok(message::Request { verb: Verb::Register { version, name, capacity, token }, .. }) => {
            if let (Some(wanted), Some(given)) = (&door.token, &token) {
                known |= same(given.as_bytes(), wanted.reveal().as_bytes());
            }
            if !known {
                let error = "the token is missing or wrong: say it in the header `Authorization: Bearer TOKEN`, or as `token` of `register`";
                return Err(refuse(&mut socket, error.into()).await);
            }
            if version != message::VERSION {
                let error = format!("version {version} is not spoken here: write \"version\": {}", message::VERSION);
                return Err(refuse(&mut socket, error).await);
            }
            let name = name.chars().filter(|c| !c.is_control()).take(64).collect();
            Ok(Guest { socket, name, capacity })
        }
        Ok(_) => Err(refuse(
            &mut socket,
            "the first message is {\"verb\": \"register\", \"version\": 1, \"name\": \"my bot\", \"capacity\": 10}".into(),
        )
        .await),
        Err(misread) => Err(refuse(&mut socket, misread.error).await),
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differ = given.iter().zip(wanted).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    given.len() == wanted.len() && differ == 0
}

/// Serves a worker to its end.
async fn serve<S>(door: &Door, guest: Guest<S>, from: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Guest { socket, name, capacity } = guest;
    let (out, outbox) = mpsc::channel(OUTBOX);
    let worker = Arc::new(Worker {
        name,
        capacity: AtomicU32::new(capacity),
        out: out.clone(),
        calls: Mutex::default(),
    });
    let registered = Event::Registered { version: message::VERSION, name: worker.name.clone(), capacity };
    // The channel is new.
    let _ = out.try_send(Message::text(registered.write(None)));
    drop(out);
    tracing::info!(bot = door.bot, worker = worker.name, %from, capacity, "a program has registered");
    door.house.inside().push(Arc::clone(&worker));
    door.house.room.notify_waiters();
    // However it ends: when the port is closed, its task goes without a word.
    let gone = Gone { house: &door.house, worker: &worker };
    let why = wire::carry(socket, outbox, &mut Many { house: &door.house, worker: &worker }).await;
    drop(gone);
    tracing::warn!(bot = door.bot, worker = worker.name, why, "a program is gone");
}

struct Gone<'a> {
    house: &'a House,
    worker: &'a Arc<Worker>,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.house.inside().retain(|worker| !Arc::ptr_eq(worker, self.worker));
        let mut calls = self.worker.calls();
        calls.gone = true;
        // Each call sees that its line has ended.
        calls.by_id.clear();
    }
}

/// A connection for many calls.
struct Many<'a> {
    house: &'a House,
    worker: &'a Arc<Worker>,
}

impl Many<'_> {
    fn complain(&self, call: Option<&str>, id: Option<message::RequestId>, error: String) {
        let event = Event::Error { error, id };
        // One that does not read is given up elsewhere.
        let _ = self.worker.out.try_send(Message::text(event.write(call)));
    }

    fn hand_on(&self, call: CallId, incoming: Incoming) -> Result<(), String> {
        let mut calls = self.worker.calls();
        let Some((stream, inbox)) = calls.by_id.get(&call) else {
            return Err("there is no such call, or it is over".into());
        };
        let stream = *stream;
        inbox.try_send(incoming).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                // It would hold up the other calls: this one ends in its fallback.
                calls.by_id.remove(&call);
                calls.by_stream.remove(&stream);
                format!("more than {INBOX} messages wait for this call, which is given up: send less at once")
            }
            mpsc::error::TrySendError::Closed(_) => "the call is over".into(),
        })
    }
}

impl Takes for Many<'_> {
    async fn take(&mut self, incoming: Incoming) -> bool {
        let (named, id) = match &incoming {
            Incoming::Request(message::Request { verb: Verb::Register { capacity, .. }, .. }) => {
                self.worker.capacity.store(*capacity, Ordering::Relaxed);
                self.house.room.notify_waiters();
                return true;
            }
            Incoming::Request(request) => (request.call.clone(), request.id.clone()),
            Incoming::Misread(misread) => (misread.call.clone(), misread.id.clone()),
            Incoming::Audio(stream, _) => {
                let call = self.worker.calls().by_stream.get(stream).copied();
                // Audio for a call that has just ended is no mistake.
                if let Some(call) = call {
                    let _ = self.hand_on(call, incoming);
                }
                return true;
            }
        };
        let call = named.as_deref().and_then(|call| call.parse::<CallId>().ok());
        let result = match (call, incoming) {
            (Some(call), incoming) => self.hand_on(call, incoming),
            (None, Incoming::Misread(misread)) => Err(misread.error),
            (None, _) => Err("a message of a worker says in `call` which call it is about".into()),
        };
        if let Err(error) = result {
            self.complain(named.as_deref(), id, error);
        }
        true
    }

    fn calls(&self) -> u32 {
        u32::try_from(self.worker.calls().by_id.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    fn worker(name: &str, capacity: u32) -> (Arc<Worker>, mpsc::Receiver<Message>) {
        let (out, outbox) = mpsc::channel(16);
        let calls = Mutex::default();
        (Arc::new(Worker { name: name.into(), capacity: AtomicU32::new(capacity), out, calls }), outbox)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_to_the_worker_that_is_least_full_and_waits_for_room() {
        let house = Arc::new(House::default());
        let ((small, _a), (large, _b)) = (worker("small", 1), worker("large", 2));
        house.inside().extend([Arc::clone(&small), Arc::clone(&large)]);
        let call = || CallId::new(WallTime(1));
        let patience = Duration::from_secs(1);
        let mut lines = Vec::new();
        for _ in 0..3 {
            lines.push(house.line(call(), patience).await.expect("there is room for three"));
        }
        assert_eq!((small.fullness(), large.fullness()), (None, None));
        assert!(matches!(house.line(call(), patience).await, Err(RemoteError::NoWorker)));
        let (waits, ()) = tokio::join!(house.line(call(), patience), async {
            sleep(Duration::from_millis(500)).await;
            lines.pop();
        });
        assert!(waits.is_ok(), "a place that was given up is taken");
    }

    #[tokio::test]
    async fn a_call_that_is_sent_too_much_is_given_up_and_the_others_go_on() {
        let house = Arc::new(House::default());
        let (worker, mut outbox) = worker("busy", 2);
        house.inside().push(Arc::clone(&worker));
        let (flooded, other) = (CallId::new(WallTime(1)), CallId::new(WallTime(2)));
        let patience = Duration::from_secs(1);
        let mut first = house.line(flooded, patience).await.expect("room");
        let mut second = house.line(other, patience).await.expect("room");
        let mut many = Many { house: &house, worker: &worker };
        let stop = |call: CallId| {
            Incoming::Request(message::Request {
                id: None,
                call: Some(call.to_string()),
                verb: Verb::Stop {},
            })
        };
        for _ in 0..=INBOX {
            assert!(many.take(stop(flooded)).await);
        }
        let told = outbox.try_recv().expect("it is told");
        assert!(told.to_text().is_ok_and(|text| text.contains("given up")), "{told}");
        for _ in 0..INBOX {
            assert!(first.next().await.is_some());
        }
        assert!(first.next().await.is_none(), "then its line has ended");
        assert!(many.take(stop(other)).await);
        assert!(second.next().await.is_some());
    }

    #[test]
    fn texts_are_compared_to_their_ends() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secre", b"secret") && !same(b"", b"x") && !same(b"secres", b"secret"));
    }
}
