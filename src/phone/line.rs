//! The phone itself: its SIP socket, the task that serves it, and calls in and out.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;

use super::PhoneError;
use super::agent::{Agent, CallKey, Ending, Event, Output, Side};
use super::call::{IncomingCall, PhoneCall, Progress};
use super::ear::EarSettings;
use super::media::{Listening, MediaThreads, Order};
use super::sdp::{Local, Remote};
use super::sip::digest::Account;
use super::sip::message;
use crate::stamp::{self, ClockPair};
use crate::time::Moment;

/// Calls that may wait for somebody to take them; more are refused as busy.
const MAX_WAITING: usize = 64;

/// Orders that may wait for the SIP task.
const MAX_ORDERS: usize = 1_024;

/// How a phone is set up.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// The address of SIP and RTP. Not 0.0.0.0: it is written into messages.
    pub bind: IpAddr,
    /// The SIP port; 0 takes a free one.
    pub sip_port: u16,
    /// The ports of RTP, one per call; [`None`] takes free ones.
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// The user in From and Contact.
    pub user: String,
    /// What to answer when the server asks for a password.
    pub account: Option<Account>,
    /// What counts as speech, and how much is recorded.
    pub ear: EarSettings,
    /// Threads for audio. One serves some hundred calls.
    pub media_threads: usize,
}

impl PhoneConfig {
    /// A phone on 127.0.0.1 with free ports and no account.
    #[must_use]
    pub fn loopback(user: &str) -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            sip_port: 0,
            rtp_ports: None,
            user: user.to_owned(),
            account: None,
            ear: EarSettings::default(),
            media_threads: 1,
        }
    }
}

/// What the SIP task is told.
pub(super) enum Command {
    Dial {
        key: CallKey,
        call: Dial,
        uri: String,
        peer: SocketAddr,
        headers: Vec<(String, String)>,
    },
    Ring(CallKey),
    Accept {
        key: CallKey,
        call: Dial,
    },
    /// 183 with audio, and later the 200 to it.
    Progress {
        key: CallKey,
        call: Dial,
    },
    AcceptEarly(CallKey),
    Refuse {
        key: CallKey,
        code: u16,
        reason: String,
    },
    HangUp(CallKey),
}

/// What a call needs before it can go out or be taken.
pub(super) struct Dial {
    pub socket: UdpSocket,
    pub local: Local,
    pub listening: Arc<Listening>,
    pub progress: watch::Sender<Progress>,
}

/// What the phone and its calls share.
pub(super) struct Shared {
    pub commands: mpsc::Sender<Command>,
    pub media: MediaThreads,
    config: PhoneConfig,
    next_port: AtomicU16,
    next_key: AtomicU64,
}

/// A SIP phone. Clones are the same phone; it ends, and hangs up, when the last one and the last call are dropped.
#[derive(Clone)]
pub struct Phone {
    shared: Arc<Shared>,
    incoming: Arc<Mutex<mpsc::Receiver<Offer>>>,
    address: SocketAddr,
}

/// A call to us, before it is taken.
pub(super) struct Offer {
    pub key: CallKey,
    pub from: String,
    pub to_user: String,
    /// When its INVITE came.
    pub came: Moment,
}

impl Phone {
    /// Binds the SIP port and starts the phone. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`PhoneError::Bind`] when the address or port cannot be had.
    pub async fn start(config: PhoneConfig) -> Result<Self, PhoneError> {
        let at = SocketAddr::new(config.bind, config.sip_port);
        if config.bind.is_unspecified() {
            let source = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
            return Err(PhoneError::Bind { what: "SIP", at, source });
        }
        let bound = tokio::net::UdpSocket::bind(at).await.and_then(|s| s.local_addr().map(|a| (s, a)));
        let (socket, address) = bound.map_err(|source| PhoneError::Bind { what: "SIP", at, source })?;
        // Without stamps the moments are those of reading.
        let _ = stamp::enable(socket.as_fd());
        let media = MediaThreads::start(config.media_threads).map_err(|source| PhoneError::Bind {
            what: "the media thread",
            at,
            source,
        })?;
        let agent = Agent::new(address, &config.user, config.account.clone(), fastrand::u64(..));
        let (commands, receive) = mpsc::channel(MAX_ORDERS);
        let (offers, incoming) = mpsc::channel(MAX_WAITING);
        let next_port = AtomicU16::new(config.rtp_ports.as_ref().map_or(0, |ports| *ports.start()));
        let shared = Arc::new(Shared { commands, media, config, next_port, next_key: AtomicU64::new(1) });
        let task = SipTask {
            socket,
            agent,
            shared: Arc::downgrade(&shared),
            offers,
            calls: HashMap::new(),
            waiting: HashSet::new(),
            came: Moment::ZERO,
        };
        tokio::spawn(task.run(receive));
        Ok(Self { shared, incoming: Arc::new(Mutex::new(incoming)), address })
    }

    /// Where the phone is called: `sip:USER@` this.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls `target`, such as `sip:100@127.0.0.1:5060`. Gives the call at once; it rings and is answered later, see
    /// [`PhoneCall::wait_answered`].
    ///
    /// # Errors
    /// [`PhoneError::Target`] when the URI's host is no IP address; [`PhoneError::Bind`] when no RTP port is free.
    pub async fn call(&self, target: &str) -> Result<PhoneCall, PhoneError> {
        self.call_with(target, Vec::new()).await
    }

    /// [`call`](Self::call) with headers of your own in the INVITE.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        target: &str,
        headers: Vec<(String, String)>,
    ) -> Result<PhoneCall, PhoneError> {
        let clean = !target.contains(['\r', '\n', ' ', '<', '>']);
        let peer = message::address_of(target).filter(|_| clean);
        let peer = peer.ok_or_else(|| PhoneError::Target { uri: target.to_owned() })?;
        let (dial, parts) = self.shared.prepare()?;
        let key = CallKey(self.shared.next_key.fetch_add(1, Ordering::Relaxed));
        let command = Command::Dial { key, call: dial, uri: target.to_owned(), peer, headers };
        self.shared.commands.send(command).await.map_err(|_| PhoneError::Gone)?;
        Ok(PhoneCall::new(Arc::clone(&self.shared), key, parts))
    }

    /// Waits for a call to this phone. Up to 64 calls wait in order; until somebody takes them they are neither
    /// ringing nor refused. More are refused as busy.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`] when none came.
    pub async fn expect_call(&self, within: Duration) -> Result<IncomingCall, PhoneError> {
        let mut incoming = self.incoming.lock().await;
        match tokio::time::timeout(within, incoming.recv()).await {
            Ok(Some(offer)) => Ok(IncomingCall::new(Arc::clone(&self.shared), offer)),
            Ok(None) => Err(PhoneError::Gone),
            Err(_) => Err(PhoneError::TimedOut { what: "a call to the phone".into(), after: within }),
        }
    }
}

/// What [`PhoneCall`] keeps of a call that was prepared.
pub(super) struct Parts {
    pub listening: Arc<Listening>,
    pub progress: watch::Receiver<Progress>,
}

impl Shared {
    /// A socket and the shared state of a new call.
    pub fn prepare(&self) -> Result<(Dial, Parts), PhoneError> {
        let socket = self.rtp_socket()?;
        let at = SocketAddr::new(self.config.bind, 0);
        let address = socket.local_addr().map_err(|source| PhoneError::Bind { what: "RTP", at, source })?;
        let listening = Listening::new(self.config.ear);
        let (tell, progress) = watch::channel(Progress::default());
        let local = Local { address, session: u64::from(fastrand::u32(1..)) };
        let dial = Dial { socket, local, listening: Arc::clone(&listening), progress: tell };
        Ok((dial, Parts { listening, progress }))
    }

    fn rtp_socket(&self) -> Result<UdpSocket, PhoneError> {
        let any = 0..=0;
        let ports = self.config.rtp_ports.as_ref().unwrap_or(&any);
        let mut failed = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in ports.clone() {
            let turn = self.next_port.fetch_add(1, Ordering::Relaxed);
            let port = ports.start()
                + turn.wrapping_sub(*ports.start()) % (ports.end() - ports.start()).saturating_add(1);
            match UdpSocket::bind((self.config.bind, port)) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        let at = SocketAddr::new(self.config.bind, *ports.start());
        Err(PhoneError::Bind { what: "RTP", at, source: failed })
    }
}

/// Waits for a datagram; its length, when the kernel received it, and who sent it. Cancel-safe.
async fn receive(
    socket: &tokio::net::UdpSocket,
    buffer: &mut [u8],
) -> std::io::Result<(usize, Moment, SocketAddr)> {
    let read = || stamp::receive_from(socket.as_fd(), buffer, ClockPair::now());
    socket.async_io(tokio::io::Interest::READABLE, read).await
}

/// A call as the SIP task knows it.
struct Line {
    socket: Option<UdpSocket>,
    listening: Arc<Listening>,
    progress: watch::Sender<Progress>,
    remote: Option<Remote>,
}

/// Serves the SIP socket. Ends when the phone and all its calls are dropped and the last BYE is answered or given
/// up.
struct SipTask {
    socket: tokio::net::UdpSocket,
    agent: Agent,
    shared: std::sync::Weak<Shared>,
    offers: mpsc::Sender<Offer>,
    calls: HashMap<CallKey, Line>,
    /// Calls to us that nobody has taken yet.
    waiting: HashSet<CallKey>,
    /// When the kernel received the last datagram.
    came: Moment,
}

impl SipTask {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut buffer = vec![0; 65_536];
        let mut open = true;
        while open || !self.agent.is_idle() {
            let wait = self.agent.due().map_or(Duration::from_secs(3_600), |due| due.since(Moment::now()));
            tokio::select! {
                command = commands.recv(), if open => match command {
                    Some(command) => self.obey(Moment::now(), command),
                    None => {
                        open = false;
                        for key in self.calls.keys().chain(&self.waiting).copied().collect::<Vec<_>>() {
                            self.agent.hang_up(Moment::now(), key);
                        }
                    }
                },
                // Errors are those of earlier sends (a closed port); the timers deal with them.
                came = receive(&self.socket, &mut buffer) => if let Ok((length, at, from)) = came {
                    self.came = at;
                    self.agent.datagram(Moment::now(), from, &buffer[..length]);
                },
                () = sleep(wait) => {}
            }
            self.agent.timeout(Moment::now());
            self.drain().await;
        }
    }

    fn obey(&mut self, now: Moment, command: Command) {
        match command {
            Command::Dial { key, call, uri, peer, headers } => {
                self.agent.dial(now, key, &uri, peer, call.local, &headers);
                self.adopt(key, call);
            }
            Command::Ring(key) => self.agent.ring(key),
            Command::Accept { key, call } => {
                if let Some(local) = self.taken(now, key, call) {
                    self.agent.accept(now, key, Some(local));
                }
            }
            Command::Progress { key, call } => {
                if let Some(local) = self.taken(now, key, call) {
                    self.agent.progress(now, key, local);
                }
            }
            Command::AcceptEarly(key) => self.agent.accept(now, key, None),
            Command::Refuse { key, code, reason } => {
                self.waiting.remove(&key);
                self.agent.refuse(now, key, code, &reason);
            }
            Command::HangUp(key) => self.agent.hang_up(now, key),
        }
    }

    /// Somebody takes a call to us, if its caller has not given up.
    fn taken(&mut self, now: Moment, key: CallKey, call: Dial) -> Option<Local> {
        if self.waiting.remove(&key) {
            let local = call.local;
            self.adopt(key, call);
            return Some(local);
        }
        let reason = "the caller gave up before".to_owned();
        let ending = Ending { by: Side::Peer, code: 487, reason, q850: None, at: now };
        call.progress.send_modify(|p| p.ending = Some(ending));
        None
    }

    fn adopt(&mut self, key: CallKey, call: Dial) {
        let Dial { socket, listening, progress, .. } = call;
        self.calls.insert(key, Line { socket: Some(socket), listening, progress, remote: None });
    }

    async fn drain(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                // What the network refuses is lost, and the timers send it again.
                Output::Datagram(datagram) => drop(self.socket.send_to(&datagram.bytes, datagram.to).await),
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Incoming { key, from, to_user, .. } => {
                if self.offers.try_send(Offer { key, from, to_user, came: self.came }).is_ok() {
                    self.waiting.insert(key);
                } else {
                    self.agent.refuse(Moment::now(), key, 486, "Busy Here");
                }
            }
            Event::Progress { key, code, remote } => {
                self.media(key, remote);
                self.progress(key, |p| p.ringing = p.ringing.or(Some((code, Moment::now()))));
            }
            Event::Answered { key, remote, at } => {
                self.media(key, Some(remote));
                self.progress(key, |p| p.answered_at = Some(at));
            }
            Event::Remote { key, remote } => self.media(key, Some(remote)),
            Event::Ended { key, ending } => {
                self.waiting.remove(&key);
                if let Some(line) = self.calls.remove(&key) {
                    // First the reason: who waits for something on the wire looks for it when the media stops.
                    line.progress.send_modify(|p| p.ending = Some(ending));
                    self.tell(Order::Stop { key });
                    line.listening.changed.notify_waiters();
                }
            }
        }
    }

    fn progress(&mut self, key: CallKey, change: impl FnOnce(&mut Progress)) {
        if let Some(line) = self.calls.get(&key) {
            line.progress.send_modify(change);
        }
    }

    /// Starts a call's audio, or sends it somewhere else.
    fn media(&mut self, key: CallKey, remote: Option<Remote>) {
        let (Some(line), Some(remote)) = (self.calls.get_mut(&key), remote) else { return };
        if line.remote == Some(remote) {
            return;
        }
        line.remote = Some(remote);
        let order = match line.socket.take() {
            Some(socket) => Order::Start { key, socket, remote, listening: Arc::clone(&line.listening) },
            None => Order::Redirect { key, remote },
        };
        self.tell(order);
    }

    fn tell(&self, order: Order) {
        if let Some(shared) = self.shared.upgrade() {
            shared.media.tell(order);
        }
    }
}
