//! The loop of a media thread: sockets and clocks are here and nowhere else in the room.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::inbox::{AT_ONCE, Inbox, Letter};
use super::line::LONGEST_PACKET;
use super::probe::Probe;
use super::seated::{Arrival, Seated, Wire};
use super::{Command, MediaError, priority};
use crate::id::CallId;
use crate::prefetch::Reach;
use crate::stamp::{self, ClockPair};
use crate::time::Moment;

/// What others want of the thread.
pub(super) enum Order {
    /// Serve a new call.
    Attach(Box<Arrival>),
    /// A command for the call with this key.
    Call(u64, Command),
    /// Let go of the call with this key.
    Leave(u64),
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
    /// The loop has ended: nothing is sent or read any more.
    over: AtomicBool,
    /// What comes to the thread's own port is left there.
    pub(super) deaf: AtomicBool,
    /// Nothing is said either: another process does.
    held: AtomicBool,
    /// Whether that port is read now.
    hears: AtomicBool,
}

/// A running media thread; dropping it stops and joins it.
pub(super) struct Thread {
    pub(super) shared: Arc<Shared>,
    /// Its own port once more, for another process.
    socket: UdpSocket,
    handle: Option<JoinHandle<Option<Box<Probe>>>>,
}

/// The clock's step, in nanoseconds: 2.5 ms. A call is served every [`PHASES`] steps.
const STEP_NANOS: u64 = 2_500_000;
const PHASES: u64 = 8;

/// Packets read before the clock is looked at again.
const BATCH: usize = 16;

/// From so many calls on, and until there are half as many, a thread is not woken by each packet, which would cost more than
/// what is done with it, but looks for packets this often: they come every 200 µs anyway.
const CROWD: usize = 100;
const LOOK_EVERY_NANOS: u64 = 400_000;

/// Packets read in one such look; what is more comes with the next one, at once.
const CROWD_BATCH: usize = 64;

/// Calls served before packets are looked for again: with hundreds of calls in a slot what has come does not wait for all
/// of them.
const SERVED: usize = 8;

/// Sockets with news that one wake looks at; the others wait for the next one, which comes at once.
const NEWS: usize = 256;

/// Every so many ticks it is looked whether a call was let go without an order that says so.
const GONE_EVERY: u64 = 16;

/// Bytes read of a stream at a time: more than half a second of the widest format.
const CHUNK: usize = 16_384;

/// What an event says who it is about, where it is not a call's key.
const SOCKET: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const BELL: u64 = u64::MAX - 2;

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
    pub(super) fn start(
        index: usize,
        bind: SocketAddr,
        advertise: IpAddr,
        probed: bool,
    ) -> Result<Self, MediaError> {
        let socket = UdpSocket::bind(bind).map_err(|source| MediaError::Bind { address: bind, source })?;
        Self::on(index, socket, advertise, probed, false)
    }

    /// On a socket that is bound. A `deaf` one neither reads of it nor speaks until it is told to.
    pub(super) fn on(
        index: usize,
        socket: UdpSocket,
        advertise: IpAddr,
        probed: bool,
        deaf: bool,
    ) -> Result<Self, MediaError> {
        let bind = socket.local_addr().map_err(MediaError::Start)?;
        let bind_error = |source| MediaError::Bind { address: bind, source };
        socket.set_nonblocking(true).map_err(bind_error)?;
        let port = socket.local_addr().map_err(bind_error)?.port();
        // Both make things better and neither is needed: containers may refuse them.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        mark_as_voice(&socket);
        if probed {
            stamp::enable(socket.as_fd()).map_err(bind_error)?;
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
            over: AtomicBool::new(false),
            deaf: AtomicBool::new(deaf),
            held: AtomicBool::new(deaf),
            hears: AtomicBool::new(false),
        });
        let again = socket.try_clone().map_err(MediaError::Start)?;
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(start)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(start)?;
        for (fd, name) in [(timer.as_fd(), TIMER), (shared.bell.as_fd(), BELL)] {
            epoll::add(&poll, fd, epoll::EventData::new_u64(name), epoll::EventFlags::IN).map_err(start)?;
        }
        let worker = Worker {
            socket,
            inbox: Inbox::new(),
            timer,
            poll,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            ticking: false,
            hears: false,
            crowded: false,
            shared: Arc::clone(&shared),
            seated: Vec::with_capacity(ROOM),
            by_peer: HashMap::with_capacity(ROOM),
            by_key: HashMap::with_capacity(ROOM),
            phases: std::array::from_fn(|_| Vec::with_capacity(ROOM)),
            waiting: Vec::with_capacity(ROOM),
            next_slot: 0,
            wound: 0,
            probe: probed.then(|| Box::new(Probe::new())),
        };
        let handle = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || worker.run())
            .map_err(MediaError::Start)?;
        Ok(Self { shared, socket: again, handle: Some(handle) })
    }
}

impl Thread {
    /// Its own port, for another process.
    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Ends the loop without waiting for it.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
    }

    /// Whether the loop has ended.
    pub(super) fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire)
    }

    /// Reads what comes to its own port from now on, and speaks.
    pub(super) fn listen(&self) {
        self.shared.deaf.store(false, Ordering::Release);
        self.shared.held.store(false, Ordering::Release);
        self.shared.ring();
    }

    /// Reads nothing more of its own port, and speaks on.
    pub(super) fn deafen(&self) {
        self.shared.deaf.store(true, Ordering::Release);
        self.shared.ring();
    }

    /// Whether it reads its own port.
    pub(super) fn hears(&self) -> bool {
        self.shared.hears.load(Ordering::Acquire)
    }

    /// Ends it; what it measured, if it was told to.
    pub(super) fn finish(mut self) -> Option<Box<Probe>> {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        self.handle.take()?.join().ok().flatten()
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
    inbox: Box<Inbox>,
    timer: OwnedFd,
    /// Waits for all of them, and for the calls' own sockets.
    poll: OwnedFd,
    /// What is read of streams.
    chunk: Box<[u8]>,
    /// The timer runs: there are calls.
    ticking: bool,
    /// What comes to the thread's own port is read.
    hears: bool,
    /// There are so many calls that packets are not waited for one by one.
    crowded: bool,
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
    /// The slot that the timer is set to.
    wound: u64,
    /// What is measured, in a benchmark.
    probe: Option<Box<Probe>>,
}

impl Worker {
    fn run(mut self) -> Option<Box<Probe>> {
        // So that the kernel does not put our wake-ups off by 50 µs to join them with others. Needed for accuracy
        // only.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        // Before what else computes on this machine, where we may (root, or CAP_SYS_NICE): recognition and synthesis can
        // wait a moment, a packet that is due cannot.
        let priority = priority::raise();
        tracing::debug!(?priority, "a media thread runs");
        let mut news = Vec::with_capacity(NEWS);
        while !self.shared.stop.load(Ordering::Acquire) {
            self.hear();
            self.sleep(&mut news);
            self.take_orders();
            self.serve(Moment::now());
            if self.crowded {
                self.read(CROWD_BATCH);
            }
            for event in &news {
                self.look(*event);
            }
            self.wind_clock();
        }
        self.shared.discard_orders();
        self.shared.over.store(true, Ordering::Release);
        self.probe
    }

    /// Begins to read the thread's own port, unless another process still does; with many calls it is looked at by the clock.
    fn hear(&mut self) {
        let deaf = self.shared.deaf.load(Ordering::Acquire);
        if self.hears == deaf {
            self.hears = !deaf && self.watch().is_ok();
            if deaf && std::mem::take(&mut self.crowded) {
                self.set_timer(self.wound.max(1) * STEP_NANOS);
            } else if deaf {
                // Cannot fail for a socket that was added.
                let _ = epoll::delete(&self.poll, self.socket.as_fd());
            }
            self.shared.hears.store(self.hears, Ordering::Release);
        }
        let crowded = self.hears && self.by_key.len() >= if self.crowded { CROWD / 2 } else { CROWD };
        if crowded != self.crowded {
            let done = if crowded { epoll::delete(&self.poll, self.socket.as_fd()) } else { self.watch() };
            // Cannot fail for a socket that was added; if it does, the other way goes on.
            self.crowded = crowded == done.is_ok();
            if self.ticking {
                // It may be set to the next look, or to a later one than that.
                self.set_timer(self.wound.max(1) * STEP_NANOS);
            }
        }
    }

    /// Is woken by each packet that comes to the thread's own port.
    fn watch(&self) -> rustix::io::Result<()> {
        let news = epoll::EventData::new_u64(SOCKET);
        epoll::add(&self.poll, self.socket.as_fd(), news, epoll::EventFlags::IN)
    }

    /// Until something happens.
    fn sleep(&self, news: &mut Vec<epoll::Event>) {
        news.clear();
        // An interrupted call is as good as one that returned: orders and the clock are looked at anyway.
        let _ = epoll::wait(&self.poll, spare_capacity(news), None);
        let mut count = [0_u8; 8];
        for event in news {
            match event.data.u64() {
                TIMER => {
                    let _ = rustix::io::read(&self.timer, &mut count);
                }
                BELL => {
                    let _ = rustix::io::read(&self.shared.bell, &mut count);
                }
                _ => {}
            }
        }
    }

    /// Reads what came.
    fn look(&mut self, event: epoll::Event) {
        match event.data.u64() {
            SOCKET => self.read(BATCH),
            TIMER | BELL => {}
            key => {
                let Some(at) = self.by_key.get(&key).copied() else { return };
                let Some(seated) = &mut self.seated[at] else { return };
                match seated.line.wire {
                    Wire::Port(..) => self.read_port(at, Moment::now()),
                    Wire::Stream(..) => {
                        // Room for what we send is no news of what we get.
                        let flags = event.flags;
                        if flags != epoll::EventFlags::OUT {
                            seated.read(Moment::now(), &mut self.chunk);
                        }
                        seated.flush(&self.poll);
                    }
                    Wire::Shared | Wire::Closed => {}
                }
            }
        }
    }

    fn take_orders(&mut self) {
        // No more than the queue holds, lest somebody who sends all the time keep us here.
        for _ in 0..ORDERS {
            match self.shared.orders.pop() {
                Some(Order::Attach(arrival)) => self.attach(arrival),
                Some(Order::Call(key, command)) => {
                    if let Some(seated) = self.by_key.get(&key).and_then(|at| self.seated[*at].as_mut()) {
                        seated.line.line.command(Moment::now(), command);
                        seated.flush(&self.poll);
                    }
                }
                Some(Order::Leave(key)) => {
                    let seat = self.by_key.get(&key).copied();
                    let seat = seat.and_then(|at| Some((at, self.seated[at].as_ref()?.phase)));
                    if let Some((at, phase)) = seat {
                        self.unseat(at, phase);
                    }
                }
                None => return,
            }
        }
    }

    /// Serves the calls of every slot that has come. A call whose slot came twice is served once.
    fn serve(&mut self, now: Moment) {
        let current = slot_of(now);
        if !self.ticking || current < self.next_slot || self.shared.held.load(Ordering::Acquire) {
            return;
        }
        if let Some(late) = now.as_nanos().checked_sub(self.wound * STEP_NANOS) {
            self.shared.worst_wake.fetch_max(late, Ordering::Relaxed);
        }
        for slot in self.next_slot.max(current.saturating_sub(PHASES - 1))..=current {
            self.serve_slot(slot);
        }
        self.next_slot = current + 1;
        self.end_waits(now);
    }

    fn serve_slot(&mut self, slot: u64) {
        let phase = (slot % PHASES) as usize;
        let mut packet = [0; LONGEST_PACKET];
        let mut i = 0;
        while let Some(at) = self.phases[phase].get(i).copied() {
            // Told by an order, too, unless there was no room for it: looked for seldom, since it lies far from all else.
            let gone = |seated: &Seated| {
                (slot / PHASES).is_multiple_of(GONE_EVERY)
                    && seated.line.line.shared.gone.load(Ordering::Acquire)
            };
            if self.seated[at].as_ref().is_none_or(gone) {
                // Its place in this phase is taken by the next one.
                self.unseat(at, phase);
                continue;
            }
            i += 1;
            self.prefetch_tick(phase, i);
            if self.hears && i % SERVED == 0 {
                // One for each that was sent since, and some that came before; a call that waits is seen to at the slot's
                // end.
                self.read(2 * SERVED);
            }
            let Some(seated) = self.seated[at].as_mut() else { continue };
            let skipped = slot.saturating_sub(seated.due) / PHASES;
            seated.due = slot + PHASES;
            let Arrival { line, wire, tap, .. } = &mut *seated.line;
            let len = line.tick(Moment::now(), skipped, &mut packet);
            let to = match wire {
                Wire::Shared => Some((&self.socket, line.peer)),
                Wire::Port(socket, latch) => Some((&*socket, latch.peer())),
                Wire::Stream(..) | Wire::Closed => None,
            };
            let left = to.map(|(socket, peer)| {
                if let Some(tap) = tap {
                    tap.packet(Moment::now(), self.shared.advertised, peer, &packet[..len]);
                }
                send(socket, &packet[..len], peer)
            });
            seated.line.line.ticked(Moment::now(), left);
            seated.flush(&self.poll);
        }
    }

    /// Asks for the memory of the calls that are served after the one at `next` of their phase.
    fn prefetch_tick(&self, phase: usize, next: usize) {
        let seated = |i: usize| self.phases[phase].get(i).and_then(|at| self.seated[*at].as_ref());
        for (ahead, reach) in [(1, Reach::Near), (0, Reach::Far)] {
            if let Some(seated) = seated(next + ahead) {
                seated.line.line.prefetch_tick(reach);
            }
        }
    }

    /// Reads what has come to the thread's own port, so many packets at most.
    fn read(&mut self, most: usize) {
        if !self.hears {
            return;
        }
        let now = Moment::now();
        let clock = self.probe.is_some().then(Probe::clock);
        let mut left = most;
        while left > 0 {
            let taken = self.receive(left.min(AT_ONCE), now, clock);
            left -= taken;
            for i in 0..self.inbox.count {
                if let Some(seated) = self.seated[self.inbox.letters[i].at].as_ref() {
                    seated.line.line.prefetch_packet(Reach::Far);
                }
            }
            for i in 0..self.inbox.count {
                self.hand_over(i, now);
            }
            if taken < AT_ONCE {
                return;
            }
        }
    }

    /// Takes up to `most` datagrams off the thread's own port into the inbox, and asks for the memory of the calls that
    /// they are for. How many it saw; fewer where there are no more.
    fn receive(&mut self, most: usize, now: Moment, clock: Option<ClockPair>) -> usize {
        let Self { socket, inbox, by_peer, seated, shared, .. } = self;
        inbox.count = 0;
        for seen in 0..most {
            let letter = &mut inbox.letters[inbox.count];
            let received = match clock {
                None => socket.recv_from(&mut letter.datagram).map(|(len, from)| (len, now, from)),
                Some(clock) => stamp::receive_from(socket.as_fd(), &mut letter.datagram, clock),
            };
            let from = match received {
                Ok((len, arrived, from)) => {
                    (letter.len, letter.arrived) = (len, arrived);
                    SocketAddr::new(from.ip().to_canonical(), from.port())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return seen,
                Err(error) => {
                    // An ICMP error of what some call sent; the next datagram is unharmed.
                    if error.kind() != io::ErrorKind::Interrupted {
                        shared.receive_errors.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
            };
            let call = by_peer.get(&from).and_then(|at| Some((*at, seated[*at].as_ref()?)));
            let Some((at, seated)) = call else {
                shared.unknown_source.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            seated.line.line.prefetch_packet(Reach::Near);
            (letter.at, letter.from) = (at, from);
            inbox.count += 1;
        }
        most
    }

    /// Gives a datagram of the inbox to its call.
    fn hand_over(&mut self, letter: usize, now: Moment) {
        let Letter { at, from, arrived, len, datagram } = &self.inbox.letters[letter];
        let Some(seated) = self.seated[*at].as_mut() else { return };
        if let Some(probe) = &mut self.probe {
            probe.begins(*arrived);
        }
        if let Some(tap) = &mut seated.line.tap {
            tap.packet(*arrived, *from, self.shared.advertised, &datagram[..*len]);
        }
        seated.line.line.packet(now, &datagram[..*len]);
        if let Some(probe) = &mut self.probe {
            probe.ends();
        }
        if !seated.waits && seated.line.line.due(now).is_some() {
            seated.waits = true;
            self.waiting.push(*at);
        }
    }

    /// Datagrams on a call's own port.
    fn read_port(&mut self, at: usize, now: Moment) {
        let mut datagram = [0; 2_048];
        let Some(seated) = self.seated[at].as_mut() else { return };
        let Arrival { line, wire: Wire::Port(socket, latch), tap, .. } = &mut *seated.line else { return };
        for _ in 0..BATCH {
            let (len, from) = match socket.recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    if error.kind() != io::ErrorKind::Interrupted {
                        self.shared.receive_errors.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            if latch.admits(from, &datagram[..len]) {
                if let Some(tap) = tap {
                    tap.packet(now, from, self.shared.advertised, &datagram[..len]);
                }
                line.packet(now, &datagram[..len]);
            } else {
                self.shared.unknown_source.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !seated.waits && line.due(now).is_some() {
            seated.waits = true;
            self.waiting.push(at);
        }
    }

    fn end_waits(&mut self, now: Moment) {
        let seated = &mut self.seated;
        self.waiting.retain(|at| {
            let Some(seated) = seated[*at].as_mut() else { return false };
            seated.line.line.wait_over(now);
            seated.waits = seated.line.line.due(now).is_some();
            seated.waits
        });
    }

    fn attach(&mut self, arrival: Box<Arrival>) {
        let (key, call) = (arrival.line.key, arrival.line.call);
        if matches!(arrival.wire, Wire::Shared)
            && let Some(old) = self.by_peer.get(&arrival.line.peer).copied()
            && let Some(seated) = &self.seated[old]
        {
            tracing::warn!(old = %seated.line.line.call, new = %call, "a new call has the old one's media port");
            let phase = seated.phase;
            self.unseat(old, phase);
        }
        if let Some(fd) = arrival.wire.own()
            && let Err(error) =
                epoll::add(&self.poll, fd, epoll::EventData::new_u64(key), epoll::EventFlags::IN)
        {
            // Its line is dropped, which tells the call that its media has ended.
            tracing::error!(%call, %error, "a call's socket cannot be waited for: the limit of open files may be too low");
            return;
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
        if matches!(arrival.wire, Wire::Shared) {
            self.by_peer.insert(arrival.line.peer, at);
        }
        self.by_key.insert(key, at);
        self.phases[phase].push(at);
        let due = self.next_slot + ahead;
        let mut seated = Seated { line: arrival, awaits_room: false, phase, due, waits: false };
        seated.early(Moment::now());
        seated.flush(&self.poll);
        self.seated[at] = Some(seated);
    }

    fn unseat(&mut self, at: usize, phase: usize) {
        self.phases[phase].retain(|other| *other != at);
        self.waiting.retain(|other| *other != at);
        if let Some(mut seated) = self.seated[at].take() {
            self.by_key.remove(&seated.line.line.key);
            if matches!(seated.line.wire, Wire::Shared) {
                self.by_peer.remove(&seated.line.line.peer);
            }
            seated.line.line.farewell();
            seated.flush(&self.poll);
        }
        if self.by_key.is_empty() {
            self.stop_clock();
        }
    }

    fn start_clock(&mut self) {
        self.next_slot = slot_of(Moment::now()) + 1;
        self.wound = 0;
        self.ticking = true;
    }

    fn stop_clock(&mut self) {
        self.ticking = false;
        self.set_timer(0);
    }

    /// Sets the timer to the next slot that has calls; to the next one of all while a call waits for a packet.
    fn wind_clock(&mut self) {
        if !self.ticking || self.shared.held.load(Ordering::Acquire) {
            return;
        }
        let has_work =
            |slot: &u64| !self.phases[(slot % PHASES) as usize].is_empty() || !self.waiting.is_empty();
        let Some(next) = (self.next_slot..self.next_slot + PHASES).find(has_work) else { return };
        let rewind = self.wound < self.next_slot || next < self.wound;
        if rewind {
            self.wound = next;
        }
        if self.crowded {
            // A Timespec of epoll would be rounded to milliseconds where the kernel is older than 5.11.
            self.set_timer((self.wound * STEP_NANOS).min(Moment::now().as_nanos() + LOOK_EVERY_NANOS));
        } else if rewind {
            self.set_timer(next * STEP_NANOS);
        }
    }

    /// Once, at `nanos` on the monotonic clock; never at 0.
    fn set_timer(&self, nanos: u64) {
        let first = Duration::from_nanos(nanos);
        let at = Timespec { tv_sec: first.as_secs().cast_signed(), tv_nsec: first.subsec_nanos().into() };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Itimerspec { it_interval: never, it_value: at };
        if let Err(error) = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &times) {
            tracing::error!(%error, "the media clock cannot be set: no call will hear anything");
        }
    }
}

/// Asks the network to treat what this socket sends as voice, where the network listens and the system lets us.
pub(super) fn mark_as_voice(socket: &impl AsFd) {
    // Fails for IPv6, which has an option of its own; needed by nobody.
    let _ = rustix::net::sockopt::set_ip_tos(socket, EXPEDITED);
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
