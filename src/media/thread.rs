//! The loop of a media thread: sockets and clocks are here and nowhere else in the room.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::line::{Line, PACKET_LEN};
use super::{Command, MediaError};
use crate::id::CallId;
use crate::time::Moment;

/// What others want of the thread.
pub(super) enum Order {
    /// Serve a new call.
    Attach(Box<Line>),
    /// A command for the call with this key.
    Call(u64, Command),
}

/// What a thread shares with everybody else.
pub(super) struct Shared {
    pub(super) advertised: SocketAddr,
    /// Calls and kept seats.
    pub(super) load: AtomicUsize,
    pub(super) unknown_source: AtomicU64,
    pub(super) receive_errors: AtomicU64,
    /// In nanoseconds.
    pub(super) worst_wake: AtomicU64,
    orders: ArrayQueue<Order>,
    bell: OwnedFd,
    stop: AtomicBool,
}

/// A running media thread; dropping it stops and joins it.
pub(super) struct Thread {
    pub(super) shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// The nice value of media threads, where the system allows it.
const NICE: i32 = -15;

/// The clock's step. A call is served every [`PHASES`] steps.
const STEP: Duration = Duration::from_millis(5);
const STEP_NANOS: u64 = STEP.as_nanos() as u64;
const PHASES: u64 = 4;

/// Packets read before the clock is looked at again.
const BATCH: usize = 64;

/// Orders that can wait. The thread takes them all in every wake.
const ORDERS: usize = 4_096;

/// Calls that a thread has room for without allocating.
const ROOM: usize = 1_024;

/// What the kernel may hold for us: a second of 400 calls.
const RECEIVE_BUFFER: usize = 4 << 20;

/// DSCP 46, expedited forwarding (RFC 4594): what voice is marked with.
const EXPEDITED: u8 = 46 << 2;

impl Shared {
    /// Hands an order over and wakes the thread.
    pub(super) fn send(&self, call: CallId, order: Order) -> Result<(), MediaError> {
        if self.stop.load(Ordering::Acquire) {
            return Err(MediaError::Ended(call));
        }
        self.orders.push(order).map_err(|_| MediaError::Overloaded(call))?;
        self.ring();
        if self.stop.load(Ordering::Acquire) {
            // The thread may have gone since we asked: what it left is let go here.
            self.discard_orders();
        }
        Ok(())
    }

    /// Lets go of orders that nobody will take: their calls see that their media has ended.
    fn discard_orders(&self) {
        while self.orders.pop().is_some() {}
    }

    /// Wakes the thread.
    pub(super) fn ring(&self) {
        // Fails only when the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Thread {
    pub(super) fn start(index: usize, bind: SocketAddr, advertise: IpAddr) -> Result<Self, MediaError> {
        let bind_error = |source| MediaError::Bind { address: bind, source };
        let socket = UdpSocket::bind(bind).map_err(bind_error)?;
        socket.set_nonblocking(true).map_err(bind_error)?;
        let port = socket.local_addr().map_err(bind_error)?.port();
        // Both make things better and neither is needed: containers may refuse them.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        if bind.is_ipv4() {
            let _ = rustix::net::sockopt::set_ip_tos(&socket, EXPEDITED);
        }
        let start = |error: rustix::io::Errno| MediaError::Start(error.into());
        let shared = Arc::new(Shared {
            advertised: SocketAddr::new(advertise, port),
            load: AtomicUsize::new(0),
            unknown_source: AtomicU64::new(0),
            receive_errors: AtomicU64::new(0),
            worst_wake: AtomicU64::new(0),
            orders: ArrayQueue::new(ORDERS),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(start)?,
            stop: AtomicBool::new(false),
        });
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(start)?;
        let worker = Worker {
            socket,
            timer,
            ticking: false,
            shared: Arc::clone(&shared),
            seated: Vec::with_capacity(ROOM),
            by_peer: HashMap::with_capacity(ROOM),
            by_key: HashMap::with_capacity(ROOM),
            phases: std::array::from_fn(|_| Vec::with_capacity(ROOM)),
            waiting: Vec::with_capacity(ROOM),
            next_slot: 0,
        };
        let handle = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || worker.run())
            .map_err(MediaError::Start)?;
        Ok(Self { shared, handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("a media thread panicked: its calls had no audio since");
        }
    }
}

struct Worker {
    socket: UdpSocket,
    timer: OwnedFd,
    /// The timer runs: there are calls.
    ticking: bool,
    shared: Arc<Shared>,
    /// A call keeps its place for as long as it lasts.
    seated: Vec<Option<Seated>>,
    by_peer: HashMap<SocketAddr, usize>,
    by_key: HashMap<u64, usize>,
    /// Places of the calls of each phase.
    phases: [Vec<usize>; PHASES as usize],
    /// Places of calls that wait for a packet.
    waiting: Vec<usize>,
    /// The first slot of the clock that has not been served.
    next_slot: u64,
}

struct Seated {
    line: Box<Line>,
    phase: usize,
    /// The slot in which it will be served next.
    due: u64,
    /// It is in `waiting`.
    waits: bool,
}

impl Worker {
    fn run(mut self) {
        // So that the kernel does not put our wake-ups off by 50 µs to join them with others. Needed for accuracy
        // only.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        // Before what else computes on this machine, where we may (root, or CAP_SYS_NICE): recognition and synthesis can
        // wait a moment, a packet that is due cannot.
        if let Err(refused) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::debug!(%refused, "a media thread runs at the usual priority");
        }
        while !self.shared.stop.load(Ordering::Acquire) {
            self.sleep();
            self.take_orders();
            self.serve(Moment::now());
            self.read();
        }
        self.shared.discard_orders();
    }

    /// Until something happens.
    fn sleep(&self) {
        let mut awaited = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.shared.bell, PollFlags::IN),
        ];
        // An interrupted call is as good as one that returned: everything is looked at anyway.
        let _ = poll(&mut awaited, None);
        let [_, timer, bell] = awaited.map(|fd| !fd.revents().is_empty());
        let mut count = [0_u8; 8];
        if timer {
            let _ = rustix::io::read(&self.timer, &mut count);
        }
        if bell {
            let _ = rustix::io::read(&self.shared.bell, &mut count);
        }
    }

    fn take_orders(&mut self) {
        // No more than the queue holds, lest somebody who sends all the time keep us here.
        for _ in 0..ORDERS {
            match self.shared.orders.pop() {
                Some(Order::Attach(line)) => self.attach(line),
                Some(Order::Call(key, command)) => {
                    if let Some(seated) = self.by_key.get(&key).and_then(|at| self.seated[*at].as_mut()) {
                        seated.line.command(Moment::now(), command);
                    }
                }
                None => return,
            }
        }
    }

    /// Serves the calls of every slot that has come. A call whose slot came twice is served once.
    fn serve(&mut self, now: Moment) {
        let current = slot_of(now);
        if !self.ticking || current < self.next_slot {
            return;
        }
        self.shared.worst_wake.fetch_max(now.as_nanos() - self.next_slot * STEP_NANOS, Ordering::Relaxed);
        for slot in self.next_slot.max(current.saturating_sub(PHASES - 1))..=current {
            self.serve_slot(slot);
        }
        self.next_slot = current + 1;
        self.end_waits(now);
    }

    fn serve_slot(&mut self, slot: u64) {
        let phase = (slot % PHASES) as usize;
        let mut packet = [0; PACKET_LEN];
        let mut i = 0;
        while let Some(at) = self.phases[phase].get(i).copied() {
            let Some(seated) =
                self.seated[at].as_mut().filter(|s| !s.line.shared.gone.load(Ordering::Acquire))
            else {
                // Its place in this phase is taken by the next one.
                self.unseat(at, phase);
                continue;
            };
            i += 1;
            let skipped = slot.saturating_sub(seated.due) / PHASES;
            seated.due = slot + PHASES;
            seated.line.tick(Moment::now(), skipped, &mut packet);
            let left = send(&self.socket, &packet, seated.line.peer);
            seated.line.sent(Moment::now(), left);
        }
    }

    fn read(&mut self) {
        let mut datagram = [0; 2_048];
        let now = Moment::now();
        for _ in 0..BATCH {
            let (len, from) = match self.socket.recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // An ICMP error of what some call sent; the next datagram is unharmed.
                    if error.kind() != io::ErrorKind::Interrupted {
                        self.shared.receive_errors.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let Some((at, seated)) =
                self.by_peer.get(&from).and_then(|at| Some((*at, self.seated[*at].as_mut()?)))
            else {
                self.shared.unknown_source.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            seated.line.packet(now, &datagram[..len]);
            if !seated.waits && seated.line.due(now).is_some() {
                seated.waits = true;
                self.waiting.push(at);
            }
        }
    }

    fn end_waits(&mut self, now: Moment) {
        let seated = &mut self.seated;
        self.waiting.retain(|at| {
            let Some(seated) = seated[*at].as_mut() else { return false };
            seated.line.wait_over(now);
            seated.waits = seated.line.due(now).is_some();
            seated.waits
        });
    }

    fn attach(&mut self, line: Box<Line>) {
        if let Some(old) = self.by_peer.get(&line.peer).copied() {
            if let Some(old) = &self.seated[old] {
                tracing::warn!(old = %old.line.call, new = %line.call, "a new call has the old one's media port");
            }
            if let Some(phase) = self.seated[old].as_ref().map(|seated| seated.phase) {
                self.unseat(old, phase);
            }
        }
        let phase = (0..self.phases.len()).min_by_key(|phase| self.phases[*phase].len()).unwrap_or(0);
        let at = self.seated.iter().position(Option::is_none).unwrap_or_else(|| {
            self.seated.push(None);
            self.seated.len() - 1
        });
        if !self.ticking {
            self.start_clock();
        }
        let ahead = (phase as u64 + PHASES - self.next_slot % PHASES) % PHASES;
        self.by_peer.insert(line.peer, at);
        self.by_key.insert(line.key, at);
        self.phases[phase].push(at);
        self.seated[at] = Some(Seated { line, phase, due: self.next_slot + ahead, waits: false });
    }

    fn unseat(&mut self, at: usize, phase: usize) {
        self.phases[phase].retain(|other| *other != at);
        self.waiting.retain(|other| *other != at);
        if let Some(seated) = self.seated[at].take() {
            self.by_key.remove(&seated.line.key);
            self.by_peer.remove(&seated.line.peer);
        }
        if self.by_key.is_empty() {
            self.stop_clock();
        }
    }

    fn start_clock(&mut self) {
        self.next_slot = slot_of(Moment::now()) + 1;
        self.ticking = true;
        self.set_timer(Duration::from_nanos(self.next_slot * STEP_NANOS), STEP);
    }

    fn stop_clock(&mut self) {
        self.ticking = false;
        self.set_timer(Duration::ZERO, Duration::ZERO);
    }

    /// First at `first` on the monotonic clock, then every `every`; never, when both are zero.
    fn set_timer(&self, first: Duration, every: Duration) {
        let spec = |span: Duration| Timespec {
            tv_sec: span.as_secs().cast_signed(),
            tv_nsec: span.subsec_nanos().into(),
        };
        let times = Itimerspec { it_interval: spec(every), it_value: spec(first) };
        if let Err(error) = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &times) {
            tracing::error!(%error, "the media clock cannot be set: no call will hear anything");
        }
    }
}

/// Sends once, and once more when the first try reports what became of an earlier packet, perhaps another call's.
fn send(socket: &UdpSocket, packet: &[u8], peer: SocketAddr) -> bool {
    match socket.send_to(packet, peer) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted) =>
        {
            socket.send_to(packet, peer).is_ok()
        }
        result => result.is_ok(),
    }
}

const fn slot_of(now: Moment) -> u64 {
    now.as_nanos() / STEP_NANOS
}
