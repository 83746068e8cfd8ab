//! What a call costs a media thread, against the floor: a bare thread that receives and sends the same packets over
//! the same loopback at the same times and does nothing with them.
//!
//!     cargo bench --bench media -- [CALLS] [SECONDS]
//!
//! Prints CPU per call of both, their ratio, and what became of every packet: all that were sent must have come. Without
//! numbers it runs 50, 200 and 500 calls. Linux: reads the time on CPU of each thread from /proc.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offhook::audio::Rate;
use offhook::audio::g711::Law;
use offhook::audio::tone::Tone;
use offhook::id::CallId;
use offhook::media::{Attach, Media, MediaConfig};
use offhook::rtp::PayloadType;
use offhook::rtp::sender::Sender;
use offhook::time::{Moment, WallTime};
use offhook::turn::Listening;
use offhook::turn::vad::WebRtcVad;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const STEP: Duration = Duration::from_millis(5);
const PACKET: usize = 172;

/// Until all that was sent has been heard, and every call's numbers have been told.
const SETTLE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let calls = numbers.next().map_or_else(|| vec![50, 200, 500], |calls| vec![calls]);
    let seconds = numbers.next().unwrap_or(5);
    let complete = calls.into_iter().map(|calls| compare(calls, Duration::from_secs(seconds as u64)));
    // All of them, even when one was not complete.
    if complete.fold(true, |all, complete| all & complete) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what `calls` calls cost, and whether every packet came both ways.
fn compare(calls: usize, length: Duration) -> bool {
    let floor = measure_floor(calls, length);
    let media = measure_media(calls, length);
    let per_call = |cpu: Duration| 100.0 * cpu.as_secs_f64() / length.as_secs_f64() / calls as f64;
    let ratio = media.cpu.as_secs_f64() / floor.as_secs_f64();
    println!("{calls} calls for {} s on one thread", length.as_secs());
    println!("  floor (receive and send only)   {:.4} % of a core per call", per_call(floor));
    println!(
        "  media (rtp, G.711, VAD, turns)  {:.4} % of a core per call, {ratio:.2} times the floor",
        per_call(media.cpu)
    );
    println!(
        "  peers sent {}, media received {} (lost {}, from strangers {}); media sent {}, peers received {}",
        media.said.sent, media.received, media.lost, media.strangers, media.sent, media.said.received
    );
    println!("  ticks skipped {}, latest tick by {:?}", media.skipped_ticks, media.worst_wake);
    media.said.sent == media.received && media.sent == media.said.received
}

/// What a run of the media thread came to.
struct Measured {
    cpu: Duration,
    /// By the peers.
    said: Said,
    received: u64,
    lost: u64,
    strangers: u64,
    sent: u64,
    skipped_ticks: u64,
    worst_wake: Duration,
}

/// The media thread with a call for every peer, all of them listening.
fn measure_media(calls: usize, length: Duration) -> Measured {
    let bind = Ipv4Addr::LOCALHOST.into();
    let media = Media::start(&MediaConfig::new(bind)).expect("a free port");
    let peers = peers(calls);
    let mut to = None;
    let sessions: Vec<_> = peers
        .iter()
        .map(|peer| {
            let seat = media.reserve();
            to = Some(seat.advertised());
            let address = peer.local_addr().expect("it is bound");
            let vad = Box::new(WebRtcVad::new(Rate::Hz8000));
            let attach = Attach::new(CallId::new(WallTime::now()), address, vad);
            let session = media.attach(seat, attach).expect("the thread runs");
            session.control.listen(Listening::BALANCED).expect("the call is up");
            session
        })
        .collect();
    std::thread::sleep(SETTLE);
    let before = cpu_of("media-0");
    let mut said = generate(&peers, to.expect("at least one call"), length);
    let cpu = cpu_of("media-0").saturating_sub(before);
    std::thread::sleep(SETTLE);
    // A call's numbers are final when it has ended.
    let controls: Vec<_> = sessions.iter().map(|session| session.control.clone()).collect();
    drop(sessions);
    std::thread::sleep(SETTLE);
    said.received += peers.iter().map(drain).sum::<u64>();
    let stats: Vec<_> = controls.iter().map(|control| control.stats()).collect();
    let totals = media.totals();
    Measured {
        cpu,
        said,
        received: stats.iter().map(|stats| stats.stream.received).sum(),
        lost: stats.iter().map(|stats| stats.stream.lost).sum(),
        strangers: totals.unknown_source,
        sent: stats.iter().map(|stats| stats.sent).sum(),
        skipped_ticks: stats.iter().map(|stats| stats.skipped_ticks).sum(),
        worst_wake: totals.worst_wake,
    }
}

/// A thread that does no more than it must.
fn measure_floor(calls: usize, length: Duration) -> Duration {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_nonblocking(true).expect("a socket can be nonblocking");
    let to = socket.local_addr().expect("it is bound");
    let peers = peers(calls);
    let addresses: Vec<SocketAddr> = peers.iter().filter_map(|peer| peer.local_addr().ok()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("floor".to_owned())
        .spawn(move || {
            let mut datagram = [0; 2_048];
            let mut next = Moment::now() + STEP;
            let mut phase = 0;
            while !stopped.load(Ordering::Relaxed) {
                let left = next.since(Moment::now());
                let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left));
                if Moment::now() >= next {
                    for address in addresses.iter().skip(phase).step_by(4) {
                        let _ = socket.send_to(&datagram[..PACKET], address);
                    }
                    phase = (phase + 1) % 4;
                    next = next + STEP;
                }
                for _ in 0..64 {
                    if socket.recv_from(&mut datagram).is_err() {
                        break;
                    }
                }
            }
        })
        .expect("a thread");
    let before = cpu_of("floor");
    generate(&peers, to, length);
    let cpu = cpu_of("floor").saturating_sub(before);
    stop.store(true, Ordering::Relaxed);
    let _ = thread.join();
    cpu
}

fn peers(calls: usize) -> Vec<UdpSocket> {
    let peer = |_| {
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port; ulimit -n may be too low");
        socket.set_nonblocking(true).expect("a socket can be nonblocking");
        socket
    };
    (0..calls).map(peer).collect()
}

/// What the peers did.
#[derive(Default)]
struct Said {
    sent: u64,
    received: u64,
}

/// Every peer sends a packet of a tone every 20 ms, a quarter of them every 5 ms, and throws away what it hears.
fn generate(peers: &[UdpSocket], to: SocketAddr, length: Duration) -> Said {
    let mut senders: Vec<Sender> = peers.iter().map(|_| Sender::new(PayloadType::PCMU)).collect();
    let mut tone = Tone::sine(Rate::Hz8000, 300.0, -12.0);
    let mut said = Said::default();
    let begin = Moment::now();
    let mut next = begin;
    let mut phase = 0;
    while next.since(begin) < length {
        let mut packet = [0; PACKET];
        Law::Mu.encode_into(&tone.frame().samples, &mut packet[12..]);
        for (sender, peer) in senders.iter_mut().zip(peers).skip(phase).step_by(4) {
            packet[..12].copy_from_slice(&sender.next(160).to_bytes());
            said.sent += u64::from(peer.send_to(&packet, to).is_ok());
            said.received += drain(peer);
        }
        phase = (phase + 1) % 4;
        next = next + STEP;
        std::thread::sleep(next.since(Moment::now()));
    }
    said
}

/// Throws away what a peer has heard, and counts it.
fn drain(peer: &UdpSocket) -> u64 {
    let mut datagram = [0; 2_048];
    std::iter::from_fn(|| peer.recv_from(&mut datagram).ok()).count() as u64
}

/// The time that the thread of this name has been on a CPU.
fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_that_name = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let on_cpu = of_that_name.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(on_cpu.sum())
}
