//! The least that this machine can do: a loop that receives and sends what a media thread would, and does nothing with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::distribution::Spans;
use super::machine::thread_cpu;
use crate::stamp::{self, ClockPair};
use crate::time::Moment;

/// The clock's step; a quarter of the peers is served in each, as a media thread does.
const STEP: Duration = Duration::from_millis(5);
const PHASES: usize = 4;
/// Packets read before the clock is looked at again.
const BATCH: usize = 64;
/// A packet of 20 ms of G.711.
const PACKET: usize = 172;

/// The bare loop, on a thread of its own.
pub(super) struct Bare {
    /// Where it receives.
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Measured>,
}

/// What it took.
pub(super) struct Measured {
    pub(super) cpu: Duration,
    pub(super) arrival_to_read: Spans,
}

impl Bare {
    /// Starts the loop toward `peers`; its processor time is counted from `from` to `to`.
    pub(super) fn start(peers: Vec<SocketAddr>, from: Moment, to: Moment, timed: bool) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        // As a media thread asks for.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20);
        if timed {
            stamp::enable(socket.as_fd())?;
        }
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("bench-floor".into()).spawn(move || {
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
            run(&socket, &peers, (from, to), timed, &stopped)
        })?;
        Ok(Self { address, stop, thread })
    }

    /// Ends it.
    pub(super) fn finish(self) -> io::Result<Measured> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| io::Error::other("the floor's thread panicked"))
    }
}

fn run(
    socket: &UdpSocket,
    peers: &[SocketAddr],
    (from, to): (Moment, Moment),
    timed: bool,
    stop: &AtomicBool,
) -> Measured {
    let mut packet = [0xff_u8; PACKET];
    let mut datagram = [0; 2_048];
    let mut arrival_to_read = Spans::default();
    let mut next = Moment::now() + STEP;
    let mut tick = 0_usize;
    let (mut begun, mut ended) = (None, None);
    while !stop.load(Ordering::Acquire) {
        let wait = Timespec { tv_sec: 0, tv_nsec: next.since(Moment::now()).subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait));
        let now = Moment::now();
        if begun.is_none() && now >= from {
            begun = Some(thread_cpu());
        }
        if ended.is_none() && now >= to {
            ended = Some(thread_cpu());
        }
        if now >= next {
            // An RTP header with a number that counts, so that the peers can tell how even it is.
            packet[..4].copy_from_slice(&[0x80, 0, 0, 0]);
            let seq = u16::try_from(tick / PHASES % 65_536).expect("below 65,536").to_be_bytes();
            packet[2..4].copy_from_slice(&seq);
            #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
            let timestamp = ((tick / PHASES) as u32).wrapping_mul(160);
            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
            for peer in peers.iter().skip(tick % PHASES).step_by(PHASES) {
                let _ = socket.send_to(&packet, peer);
            }
            tick += 1;
            next = next + STEP;
        }
        let clock = timed.then(ClockPair::now);
        for _ in 0..BATCH {
            let Some(clock) = clock else {
                if socket.recv_from(&mut datagram).is_err() {
                    break;
                }
                continue;
            };
            match stamp::receive(socket.as_fd(), &mut datagram, clock) {
                Ok((_, at)) => arrival_to_read.add(Moment::now().since(at)),
                Err(_) => break,
            }
        }
    }
    let ended = ended.unwrap_or_else(thread_cpu);
    Measured { cpu: ended.saturating_sub(begun.unwrap_or(ended)), arrival_to_read }
}
