//! The listeners: a connection says here which call it is for, before it gets to a media thread.
//!
//! The secret that it says was made by us for one call before Asterisk was asked to connect. It is good once and for a
//! short time; who says none in time, or one that is unknown, used or too old, is sent away and counted. Few connections
//! of one address, and not many of all, may be undecided at the same moment, so that nobody can fill the room in front of
//! the door. While no call is awaited nobody can be right: an AudioSocket that comes then is closed unread, which costs next
//! to nothing.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::handshake::{self, Asked, Dial};
use super::link::{Inner, Link, SECRET, Speaks, Stream};
use super::transport::TransportKind;
use super::transport::audiosocket::{self, HEADER, kind};
use super::{MediaError, playout};
use crate::audio::codec::{ByteOrder, Encoder, Format};
use crate::guard::{Allow, Exposure, Guard, Key};
use crate::time::Moment;

/// How long a connection may take to say which call it is for. Asterisk says it at once.
const INTRODUCTION: Duration = Duration::from_secs(2);

/// How long a call that has been announced is awaited.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Undecided connections of one address.
const UNDECIDED: u32 = 64;

/// And of all addresses: whoever has a network of IPv6 has more of them than we have memory.
const UNDECIDED_IN_ALL: usize = 1_024;

/// Connections that the system keeps until they are accepted; the standard library's 128 are gone in a blink of a flood.
const BACKLOG: i32 = 1_024;

/// After an error of the listener itself: the limit of open files, usually.
const BREATH: Duration = Duration::from_millis(50);

/// So many connections in a row that nobody awaits are a flood.
const IN_VAIN: u32 = 32;

/// How long no more of it is taken. A call that begins to be awaited ends the rest: what waits in the kernel is then sent away
/// within some milliseconds, before Asterisk has been asked to connect.
const REST: Duration = Duration::from_millis(25);

/// How often silence is sent to who waits.
const FRAME: Duration = Duration::from_millis(20);

/// What the kernel may hold of what we send: it is old when it is heard.
const SEND_BUFFER: usize = 8_192;

/// A listener. Dropping it closes it.
pub(super) struct Door {
    hall: Arc<Hall>,
    /// Its socket once more, for another process.
    socket: TcpListener,
    listening: AbortOnDropHandle<()>,
}

/// What the listener, its connections and the awaited calls share.
struct Hall {
    kind: TransportKind,
    advertised: SocketAddr,
    awaited: Mutex<HashMap<Secret, Expected>>,
    undecided: Mutex<Undecided>,
    /// Told when a call begins to be awaited.
    wanted: Notify,
    exposure: Exposure,
    guard: Guard,
    tls: Option<TlsAcceptor>,
}

/// Who stands in front of the door.
#[derive(Default)]
struct Undecided {
    by_address: HashMap<IpAddr, u32>,
    all: usize,
}

/// Where a listener is, and who may come to it.
pub(super) struct Frontage {
    pub(super) kind: TransportKind,
    /// Our address as Asterisk sees it.
    pub(super) advertise: IpAddr,
    pub(super) allow: Allow,
    /// Who we are, where Asterisk connects by `wss`; WebSockets alone know it.
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Sixteen bytes that nobody can guess.
type Secret = [u8; 16];

struct Expected {
    until: Moment,
    /// What is sent to it at once, and on and on until a media thread has it.
    greeting: Vec<u8>,
    arrives: oneshot::Sender<Link>,
}

/// A call whose connection has not come. Dropping it withdraws the secret.
pub(super) struct Awaited {
    hall: Arc<Hall>,
    secret: Secret,
    arrives: oneshot::Receiver<Link>,
}

/// Why a connection was sent away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum Refusal {
    #[error("there are too many undecided connections")]
    Crowd,
    #[error("no call is awaited")]
    Uncalled,
    #[error("it did not say in time which call it is for")]
    Silent,
    #[error("it speaks another protocol")]
    Stranger,
    #[error("its call is unknown, has been served, or is not awaited any more")]
    Unknown,
}

impl Door {
    /// Listens on `bind`.
    pub(super) fn open(bind: SocketAddr, frontage: Frontage) -> Result<Self, MediaError> {
        let listener = TcpListener::bind(bind).map_err(|source| MediaError::Listen {
            what: frontage.kind,
            address: bind,
            source,
        })?;
        Self::on(listener, frontage)
    }

    /// Listens on a socket that is bound.
    pub(super) fn on(listener: TcpListener, frontage: Frontage) -> Result<Self, MediaError> {
        let Frontage { kind, advertise, allow, tls } = frontage;
        let bind = listener.local_addr().map_err(MediaError::Start)?;
        let failed = |source| MediaError::Listen { what: kind, address: bind, source };
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|error| failed(std::io::Error::other(error)))?;
        listener.set_nonblocking(true).map_err(failed)?;
        rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
        let again = listener.try_clone().map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let websocket = kind == TransportKind::WebsocketServer;
        let exposure = Exposure {
            door: if websocket { "WebSocket media" } else { "AudioSocket" },
            section: "[media]",
            bind,
            allow: allow.or_by(bind),
            key: Key::PerCall,
            tls: websocket.then_some(tls.is_some()),
        };
        let hall = Arc::new(Hall {
            kind,
            advertised: SocketAddr::new(advertise, port),
            awaited: Mutex::default(),
            undecided: Mutex::default(),
            wanted: Notify::new(),
            guard: Guard::new(&exposure),
            exposure,
            tls: tls.filter(|_| websocket).map(TlsAcceptor::from),
        });
        let task = runtime.spawn(listen(listener, Arc::clone(&hall)));
        Ok(Self { hall, socket: again, listening: AbortOnDropHandle::new(task) })
    }

    /// Its socket, for another process.
    pub(super) fn socket(&self) -> std::io::Result<TcpListener> {
        self.socket.try_clone()
    }

    /// Takes no more connections: another process does.
    pub(super) fn close(&self) {
        self.listening.abort();
    }

    pub(super) fn advertised(&self) -> SocketAddr {
        self.hall.advertised
    }

    pub(super) fn refused(&self) -> u64 {
        self.hall.guard.refused()
    }

    /// What protects it.
    pub(super) fn exposure(&self) -> &Exposure {
        &self.hall.exposure
    }

    /// Makes a secret for a call, and awaits who says it.
    pub(super) fn expect(&self, format: Format) -> Awaited {
        let (arrives, arrival) = oneshot::channel();
        let now = Moment::now();
        let secret = secret();
        let greeting =
            if self.hall.kind == TransportKind::Audiosocket { silence(format) } else { Vec::new() };
        let mut awaited = self.hall.awaited();
        awaited.retain(|_, expected| expected.until > now);
        awaited.insert(secret, Expected { until: now + GOOD_FOR, greeting, arrives });
        drop(awaited);
        self.hall.wanted.notify_one();
        Awaited { hall: Arc::clone(&self.hall), secret, arrives: arrival }
    }
}

impl Hall {
    fn awaited(&self) -> MutexGuard<'_, HashMap<Secret, Expected>> {
        self.awaited.lock().expect("nothing panics while it holds the list of awaited calls")
    }

    const fn speaks(&self) -> Speaks {
        match self.kind {
            TransportKind::WebsocketServer => Speaks::WebSocketServer,
            _ => Speaks::AudioSocket,
        }
    }

    fn undecided(&self) -> MutexGuard<'_, Undecided> {
        self.undecided.lock().expect("nothing panics while it counts")
    }

    /// The call that a secret is for; it is good once.
    fn take(&self, secret: &Secret) -> Option<Expected> {
        let expected = self.awaited().remove(secret)?;
        (expected.until > Moment::now()).then_some(expected)
    }

    /// Whether any call is awaited still.
    fn awaits_nobody(&self, now: Moment) -> bool {
        let mut awaited = self.awaited();
        if awaited.values().all(|expected| expected.until <= now) {
            awaited.clear();
        }
        awaited.is_empty()
    }

    /// A place for a connection that is to say which call it is for.
    fn receive(self: &Arc<Self>, from: IpAddr, now: Moment) -> Option<Place> {
        if !self.guard.admits(from, now) {
            return None;
        }
        // A WebSocket gets an answer first: who has set it up wrongly shall see why.
        let uncalled = self.kind == TransportKind::Audiosocket && self.awaits_nobody(now);
        let place = match uncalled {
            true => Err(Refusal::Uncalled),
            false => Place::take(self, from).ok_or(Refusal::Crowd),
        };
        place.map_err(|why| self.guard.refuse(now, from, &why)).ok()
    }
}

impl Awaited {
    pub(super) fn kind(&self) -> TransportKind {
        self.hall.kind
    }

    /// Where it shall connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.hall.advertised
    }

    /// The secret as Asterisk wants UUIDs.
    pub(super) fn uuid(&self) -> String {
        let hex = self.secret();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// The secret in 32 hexadecimal digits.
    pub(super) fn secret(&self) -> String {
        self.secret.iter().fold(String::with_capacity(32), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}"));
            hex
        })
    }

    /// Its connection, once it has come; [`None`] when that is hopeless.
    pub(super) async fn arrives(mut self) -> Option<Link> {
        (&mut self.arrives).await.ok()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.hall.awaited().remove(&self.secret);
    }
}

/// A version 4 UUID (RFC 9562) from the system's own source of randomness; of a lesser one where that cannot be read.
fn secret() -> Secret {
    let mut secret = [0; 16];
    let system = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret));
    if system.is_err() {
        fastrand::fill(&mut secret);
    }
    secret[6] = secret[6] & 0x0f | 0x40;
    secret[8] = secret[8] & 0x3f | 0x80;
    secret
}

/// 20 ms of silence as a message: some versions of Asterisk wait for us to begin (asterisk#2089).
fn silence(format: Format) -> Vec<u8> {
    let block = playout::Block::silence(format.rate());
    let mut payload = [0; 640];
    let encoded =
        Encoder::new(format, ByteOrder::Little).and_then(|mut e| e.encode(block.samples(), &mut payload));
    let len = encoded.unwrap_or_default();
    let header = audiosocket::header(audiosocket::audio_kind(format.rate()), len);
    [&header[..], &payload[..len]].concat()
}

async fn listen(listener: tokio::net::TcpListener, hall: Arc<Hall>) {
    let mut in_vain = 0;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(place) = hall.receive(from.ip(), Moment::now()) else {
                    in_vain += 1;
                    if in_vain >= IN_VAIN && hall.kind == TransportKind::Audiosocket {
                        in_vain = 0;
                        // A flood costs what is taken of it: the rest waits in the kernel, until somebody is awaited.
                        if hall.awaits_nobody(Moment::now()) {
                            let _ = timeout(REST, hall.wanted.notified()).await;
                        }
                    }
                    continue;
                };
                in_vain = 0;
                let hall = Arc::clone(&hall);
                tokio::spawn(async move {
                    let met =
                        timeout(INTRODUCTION, meet(&hall, stream)).await.unwrap_or(Err(Refusal::Silent));
                    drop(place);
                    if let Err(why) = met {
                        hall.guard.refuse(Moment::now(), from.ip(), &why);
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the media listener cannot take a connection; the limit of open files may be too low");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// A place in front of the door.
struct Place {
    hall: Arc<Hall>,
    from: IpAddr,
}

impl Place {
    fn take(hall: &Arc<Hall>, from: IpAddr) -> Option<Self> {
        let mut undecided = hall.undecided();
        if undecided.all >= UNDECIDED_IN_ALL
            || undecided.by_address.get(&from).is_some_and(|count| *count >= UNDECIDED)
        {
            return None;
        }
        *undecided.by_address.entry(from).or_default() += 1;
        undecided.all += 1;
        drop(undecided);
        Some(Self { hall: Arc::clone(hall), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut undecided = self.hall.undecided();
        undecided.all -= 1;
        if let Some(count) = undecided.by_address.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                undecided.by_address.remove(&self.from);
            }
        }
    }
}

/// Finds out which call a connection is for, and hands it over.
async fn meet(hall: &Hall, mut stream: TcpStream) -> Result<(), Refusal> {
    // One message, one write, one packet.
    let _ = stream.set_nodelay(true);
    let (expected, fd, early, bridge) = match (hall.kind, &hall.tls) {
        (TransportKind::WebsocketServer, Some(tls)) => {
            let mut encrypted = tls.accept(stream).await.map_err(|_| Refusal::Stranger)?;
            let (expected, early) = by_parameter(hall, &mut encrypted).await?;
            let (fd, bridge) =
                handshake::out_of_tls(encrypted, early).await.map_err(|_| Refusal::Stranger)?;
            (expected, fd, Vec::new(), Some(bridge))
        }
        (TransportKind::WebsocketServer, None) => {
            let (expected, early) = by_parameter(hall, &mut stream).await?;
            (expected, ready(stream).map_err(|_| Refusal::Stranger)?, early, None)
        }
        _ => {
            let expected = by_uuid(hall, &mut stream).await?;
            (expected, ready(stream).map_err(|_| Refusal::Stranger)?, Vec::new(), None)
        }
    };
    let waits = (!expected.greeting.is_empty()).then(|| hold(&fd, expected.greeting));
    let waits = waits.transpose().map_err(|_| Refusal::Stranger)?;
    let link = Stream { speaks: hall.speaks(), fd, early, waits, bridge };
    expected.arrives.send(Link(Inner::Stream(link))).map_err(|_| Refusal::Unknown)
}

/// AudioSocket: the first message says it. Answered by silence at once.
async fn by_uuid(hall: &Hall, stream: &mut TcpStream) -> Result<Expected, Refusal> {
    let mut hello = [0; HEADER + 16];
    stream.read_exact(&mut hello).await.map_err(|_| Refusal::Stranger)?;
    let Some((header, secret)) = hello.split_first_chunk::<HEADER>() else { return Err(Refusal::Stranger) };
    if *header != audiosocket::header(kind::UUID, 16) {
        return Err(Refusal::Stranger);
    }
    let secret = secret.try_into().map_err(|_| Refusal::Stranger)?;
    let expected = hall.take(&secret).ok_or(Refusal::Unknown)?;
    stream.write_all(&expected.greeting).await.map_err(|_| Refusal::Stranger)?;
    Ok(expected)
}

/// Repeats a message every 20 ms until what is returned is dropped.
///
/// Asterisk reads an AudioSocket with the channel locked, and having begun to read it does not let go before something
/// comes (22.10; asterisk#2089). Whoever lists the channels waits for that lock: a connection that says nothing while its
/// call is put together stops new calls, ARI and the events of the whole server.
fn hold(fd: &OwnedFd, message: Vec<u8>) -> std::io::Result<AbortOnDropHandle<()>> {
    let mut stream = std::net::TcpStream::from(fd.try_clone()?);
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(FRAME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            match stream.write(&message) {
                Ok(written) if written == message.len() => {}
                // It has enough to read.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Broken off in the middle of a message, or gone: the media thread finds it closed.
                _ => {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
            }
        }
    })))
}

/// WebSocket: a parameter of the URI says it.
async fn by_parameter<S: AsyncRead + AsyncWrite + Unpin>(
    hall: &Hall,
    stream: &mut S,
) -> Result<(Expected, Vec<u8>), Refusal> {
    let mut asked = Asked::read(stream).await.ok_or(Refusal::Stranger)?;
    let expected = asked.parameter(SECRET).and_then(from_hex).and_then(|secret| hall.take(&secret));
    let Some(expected) = expected else {
        Asked::refuse(stream).await;
        return Err(Refusal::Unknown);
    };
    asked.agree(stream).await.map_err(|_| Refusal::Stranger)?;
    Ok((expected, std::mem::take(&mut asked.early)))
}

fn from_hex(text: &str) -> Option<Secret> {
    let mut secret = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

/// How long a connection to Asterisk may take.
const DIALLING: Duration = Duration::from_secs(3);

/// Connects to Asterisk's web server for media.
pub(super) async fn dial(dial: &Dial) -> Result<Link, MediaError> {
    let peer = format!("{}:{}", dial.host, dial.port);
    let failed = |reason: String| MediaError::NotDialled { peer: peer.clone(), reason };
    let connected = timeout(DIALLING, connect(dial)).await;
    let stream = connected.map_err(|_| failed(format!("no answer within {DIALLING:?}")))?;
    stream.map(|stream| Link(Inner::Stream(stream))).map_err(|error| failed(error.to_string()))
}

async fn connect(dial: &Dial) -> std::io::Result<Stream> {
    let mut stream = TcpStream::connect((dial.host.as_str(), dial.port)).await?;
    let _ = stream.set_nodelay(true);
    let speaks = Speaks::WebSocketClient;
    if dial.tls.is_some() {
        let (fd, bridge) = handshake::through_tls(stream, dial).await?;
        return Ok(Stream { speaks, fd, early: Vec::new(), waits: None, bridge: Some(bridge) });
    }
    let early = handshake::ask(&mut stream, dial).await?;
    Ok(Stream { speaks, fd: ready(stream)?, early, waits: None, bridge: None })
}

/// A connection as a media thread wants it.
fn ready(stream: TcpStream) -> std::io::Result<OwnedFd> {
    let fd = OwnedFd::from(stream.into_std()?);
    // Both make things better and neither is needed.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER);
    super::thread::mark_as_voice(&fd);
    Ok(fd)
}
