//! What a call costs a media thread, against the floor: a bare thread that receives and sends the same packets over
//! the same loopback at the same times and does nothing with them.
//!
//!     cargo bench --bench media -- [CALLS] [SECONDS]
//!
//! Prints CPU per call of both and their ratio. Linux: reads the time on CPU of each thread from /proc.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
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

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let calls = numbers.next().unwrap_or(200);
    let seconds = numbers.next().unwrap_or(5);
    let length = Duration::from_secs(seconds as u64);

    let floor = measure_floor(calls, length);
    let (engine, totals) = measure_media(calls, length);
    let per_call = |cpu: Duration| 100.0 * cpu.as_secs_f64() / length.as_secs_f64() / calls as f64;
    println!("{calls} calls for {seconds} s on one thread");
    println!("floor (receive and send only)   {:.4} % of a core per call", per_call(floor));
    println!("media (rtp, G.711, VAD, turns)  {:.4} % of a core per call", per_call(engine));
    println!("ratio                           {:.2}", engine.as_secs_f64() / floor.as_secs_f64());
    println!("{totals}");
}

/// The media thread with a call for every peer, all of them listening.
fn measure_media(calls: usize, length: Duration) -> (Duration, String) {
    let bind = Ipv4Addr::LOCALHOST.into();
    let media =
        Media::start(&MediaConfig { threads: 1, bind, port: 0, advertise: None }).expect("a free port");
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
    let before = cpu_of("media-0");
    generate(&peers, to.expect("at least one call"), length);
    let cpu = cpu_of("media-0").saturating_sub(before);
    let mut sent = 0;
    let mut received = 0;
    let mut lost = 0;
    let mut skipped = 0;
    for session in &sessions {
        let stats = session.control.stats();
        sent += stats.sent;
        received += stats.stream.received;
        lost += stats.stream.lost;
        skipped += stats.skipped_ticks;
    }
    let worst = media.totals().worst_wake;
    (
        cpu,
        format!(
            "sent {sent}, received {received}, lost {lost}, ticks skipped {skipped}, latest tick by {worst:?}"
        ),
    )
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

/// Every peer sends a packet of a tone every 20 ms, a quarter of them every 5 ms, and throws away what it hears.
fn generate(peers: &[UdpSocket], to: SocketAddr, length: Duration) {
    let mut senders: Vec<Sender> = peers.iter().map(|_| Sender::new(PayloadType::PCMU)).collect();
    let mut tone = Tone::sine(Rate::Hz8000, 300.0, -12.0);
    let mut datagram = [0; 2_048];
    let begin = Moment::now();
    let mut next = begin;
    let mut phase = 0;
    while next.since(begin) < length {
        let mut packet = [0; PACKET];
        Law::Mu.encode_into(&tone.frame().samples, &mut packet[12..]);
        for (sender, peer) in senders.iter_mut().zip(peers).skip(phase).step_by(4) {
            packet[..12].copy_from_slice(&sender.next(160).to_bytes());
            let _ = peer.send_to(&packet, to);
            while peer.recv_from(&mut datagram).is_ok() {}
        }
        phase = (phase + 1) % 4;
        next = next + STEP;
        std::thread::sleep(next.since(Moment::now()));
    }
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
