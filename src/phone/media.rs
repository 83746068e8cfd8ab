//! The phone's media threads: an absolute clock, many calls each.
//!
//! A thread wakes every [`TICK`], reads what has come on the sockets of its calls and sends what is due. Arrivals
//! are stamped by the kernel, so a late wake-up blurs no measurement and need not be paid for with more of them.
//! Unlike the engine's media threads these share a short mutex per call with those who watch what is heard.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::epoll;
use tokio::sync::{Notify, oneshot};

use super::agent::CallKey;
use super::ear::{Ear, EarSettings};
use super::sdp::Remote;
use super::voice::{KeyTiming, Pressed, Spoken, Voice};
use super::wire::{MAX_PACKET, Pace};
use crate::audio::PTIME;
use crate::stamp;
use crate::time::Moment;

/// How often a media thread wakes.
const TICK: Duration = Duration::from_millis(5);

/// Wake-ups in a packet time: calls are spread over them.
const PHASES: u64 = 4;

/// What a call's media thread and its watchers share.
pub(super) struct Listening {
    ear: Mutex<Ear>,
    /// A segment of speech began or ended, or the call's media did.
    pub changed: Notify,
}

impl Listening {
    pub fn new(settings: EarSettings) -> Arc<Self> {
        Arc::new(Self { ear: Mutex::new(Ear::new(settings)), changed: Notify::new() })
    }

    /// The ear. Hold it briefly: the media thread waits.
    pub fn ear(&self) -> MutexGuard<'_, Ear> {
        // An ear is consistent between any two of its statements that can panic: it has none.
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Orders that may wait for a media thread. It takes them all every [`TICK`], and a call gives a few per step of its
/// script, so that a thousand calls that all do something in the same tick fit.
const MAX_ORDERS: usize = 4_096;

/// What a media thread is told.
pub(super) enum Order {
    Start { key: CallKey, socket: UdpSocket, remote: Remote, listening: Arc<Listening> },
    Redirect { key: CallKey, remote: Remote },
    Say { key: CallKey, samples: Vec<i16>, told: oneshot::Sender<Spoken> },
    Press { key: CallKey, keys: Vec<u8>, timing: KeyTiming, told: oneshot::Sender<Pressed> },
    Hush { key: CallKey },
    Stop { key: CallKey },
}

/// The media threads of one phone. They end when it is dropped.
pub(super) struct MediaThreads {
    threads: Vec<SyncSender<Order>>,
}

impl MediaThreads {
    /// Starts `count` threads.
    pub fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count.max(1))
            .map(|index| {
                let (orders, receive) = sync_channel(MAX_ORDERS);
                let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
                std::thread::Builder::new().name(format!("phone-media-{index}")).spawn(move || {
                    MediaThread { epoll, calls: HashMap::new(), next_phase: 0 }.run(&receive);
                })?;
                Ok(orders)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Tells the thread of a call. When a full channel of orders waits, what a script wants is dropped, and whoever
    /// waits for it hears of it; what begins or ends a call waits for room, a tick at most.
    pub fn tell(&self, order: Order) {
        let (Order::Start { key, .. }
        | Order::Redirect { key, .. }
        | Order::Say { key, .. }
        | Order::Press { key, .. }
        | Order::Hush { key }
        | Order::Stop { key }) = &order;
        let index = usize::try_from(key.0).unwrap_or(0) % self.threads.len();
        let thread = &self.threads[index];
        // The thread lives as long as this sender does.
        let _ = match order {
            Order::Say { .. } | Order::Press { .. } | Order::Hush { .. } => {
                thread.try_send(order).map_err(|_| ())
            }
            Order::Start { .. } | Order::Redirect { .. } | Order::Stop { .. } => {
                thread.send(order).map_err(|_| ())
            }
        };
    }
}

struct MediaCall {
    socket: UdpSocket,
    remote: Remote,
    voice: Voice,
    pace: Pace,
    listening: Arc<Listening>,
}

struct MediaThread {
    epoll: OwnedFd,
    calls: HashMap<CallKey, MediaCall>,
    next_phase: u64,
}

impl MediaThread {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut wake = Moment::now();
        loop {
            if self.calls.is_empty() {
                let Ok(order) = orders.recv() else { return };
                self.obey(order);
                wake = Moment::now();
            }
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.receive();
            self.send();
            self.tick();
            wake = next_tick(wake, Moment::now());
            sleep_until(wake);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { key, socket, remote, listening } => self.start(key, socket, remote, listening),
            Order::Redirect { key, remote } => {
                if let Some(call) = self.calls.get_mut(&key) {
                    call.remote = remote;
                    aim(&call.socket, &remote);
                }
            }
            Order::Say { key, samples, told } => {
                if let Some(call) = self.calls.get_mut(&key) {
                    // A full queue drops `told`: the waiting side hears of it.
                    call.voice.say(samples, told);
                }
            }
            Order::Press { key, keys, timing, told } => {
                if let Some(call) = self.calls.get_mut(&key) {
                    call.voice.press(keys, timing, told);
                }
            }
            Order::Hush { key } => {
                if let Some(call) = self.calls.get_mut(&key) {
                    call.voice.hush();
                }
            }
            Order::Stop { key } => {
                // Closing the socket takes it out of the epoll set.
                if let Some(call) = self.calls.remove(&key) {
                    call.listening.changed.notify_waiters();
                }
            }
        }
    }

    fn start(&mut self, key: CallKey, socket: UdpSocket, remote: Remote, listening: Arc<Listening>) {
        aim(&socket, &remote);
        if let Err(error) = stamp::enable(socket.as_fd()) {
            tracing::warn!(%error, "the kernel stamps no packets: arrivals are as late as the thread");
        }
        let data = epoll::EventData::new_u64(key.0);
        if let Err(error) = epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN) {
            return tracing::warn!(%error, "a call of the phone stays deaf");
        }
        self.next_phase = (self.next_phase + 1) % PHASES;
        let offset = TICK * u32::try_from(self.next_phase).unwrap_or(0);
        let now = Moment::now();
        let grid = u64::try_from(PTIME.as_nanos()).unwrap_or(20_000_000);
        let mut next = Moment::from_nanos(now.as_nanos() / grid * grid) + offset;
        if next < now {
            next = next + PTIME;
        }
        let voice = Voice::new(&mut fastrand::Rng::new());
        self.calls.insert(key, MediaCall { socket, remote, voice, pace: Pace { next }, listening });
    }

    fn receive(&mut self) {
        let clock = stamp::ClockPair::now();
        let mut buffer = [0; 2_048];
        let mut ready = Vec::with_capacity(256);
        loop {
            ready.clear();
            let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            let spare = rustix::buffer::spare_capacity(&mut ready);
            if epoll::wait(&self.epoll, spare, Some(&zero)).is_err() || ready.is_empty() {
                return;
            }
            for event in &ready {
                let Some(call) = self.calls.get(&CallKey(event.data.u64())) else { continue };
                // One packet per call and round, so that no call starves the others. Errors (a refused port) are
                // taken off the socket by being read.
                if let Ok((length, at)) = stamp::receive(call.socket.as_fd(), &mut buffer, clock)
                    && call.listening.ear().datagram(at, &buffer[..length])
                {
                    call.listening.changed.notify_waiters();
                }
            }
        }
    }

    fn send(&mut self) {
        let mut buffer = [0; MAX_PACKET];
        for call in self.calls.values_mut() {
            let now = Moment::now();
            let due = call.pace.due(now);
            if due == 0 {
                continue;
            }
            call.voice.skip(due - 1);
            let length = call.voice.packet(now, call.remote.events, &mut buffer);
            if call.remote.wants_audio() {
                // What a full socket buffer or a closed port loses, the network loses.
                let _ = call.socket.send(&buffer[..length]);
            }
        }
    }

    fn tick(&mut self) {
        let now = Moment::now();
        for call in self.calls.values() {
            if call.listening.ear().tick(now) {
                call.listening.changed.notify_waiters();
            }
        }
    }
}

/// From now on the socket sends to and takes from one address only.
fn aim(socket: &UdpSocket, remote: &Remote) {
    if remote.wants_audio()
        && let Err(error) = socket.connect(remote.address)
    {
        tracing::warn!(%error, "a call of the phone stays mute");
    }
}

/// The next point of the clock; points that have passed are skipped.
fn next_tick(last: Moment, now: Moment) -> Moment {
    let tick = u64::try_from(TICK.as_nanos()).unwrap_or(5_000_000);
    let next = last.as_nanos() / tick * tick + tick;
    Moment::from_nanos(next.max(now.as_nanos() / tick * tick))
}

fn sleep_until(at: Moment) {
    let nanos = at.as_nanos();
    let until = rustix::time::Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
    };
    // An interrupted sleep only makes this round early.
    let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &until);
}
