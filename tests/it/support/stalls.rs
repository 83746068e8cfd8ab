//! Whether the machine itself stood still: a virtual machine gets no processor while its host serves others, and then callers,
//! Asterisk and engine all miss their times. On each processor a thread of the highest real-time priority sleeps for 5 ms at
//! a time; when it comes back much later, it was nobody of this machine who held it up.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use offhook::time::Moment;
use rustix::thread::{CpuSet, sched_setaffinity};

const NAP: Duration = Duration::from_millis(5);
/// A thread that comes back later by this found its processor gone.
const STALL: Duration = Duration::from_millis(40);
/// A test in real time says nothing when the processors were gone for longer than this while it ran: five packets.
const TOLERATED: Duration = Duration::from_millis(100);
/// Stalls that are remembered; more than a run has.
const KEPT: usize = 100_000;

static SEEN: Mutex<Vec<(Moment, Duration)>> = Mutex::new(Vec::new());

/// Starts the watch. Without the right to a real-time priority it sees nothing: then every failure counts.
pub fn watch() {
    for processor in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        std::thread::Builder::new()
            .name(format!("stalls-{processor}"))
            .spawn(move || look(processor))
            .unwrap();
    }
}

fn look(processor: usize) {
    let mut here = CpuSet::new();
    here.set(processor);
    if sched_setaffinity(None, &here).is_err() || !before_all_others() {
        return;
    }
    loop {
        let before = Moment::now();
        std::thread::sleep(NAP);
        let now = Moment::now();
        let late = now.since(before).saturating_sub(NAP);
        if late >= STALL {
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < KEPT {
                seen.push((now, late));
            }
        }
    }
}

#[expect(unsafe_code, reason = "rustix knows no sched_setscheduler")]
fn before_all_others() -> bool {
    let wanted = libc::sched_param { sched_priority: 99 };
    // SAFETY: the parameter is a live value of the type that the call reads; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const wanted) == 0 }
}

/// How often, and for how long altogether, processors were gone.
#[derive(Default)]
pub struct Stalls {
    count: usize,
    lost: Duration,
}

impl Stalls {
    /// Whether what a test found says nothing about Offhook.
    pub fn void_a_test(&self) -> bool {
        self.lost > TOLERATED
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the machine stood still {} times, {} ms", self.count, self.lost.as_millis())
    }
}

/// Those since the calling thread, which is a test's, began.
pub fn of_this_thread() -> Stalls {
    let Some(age) = age() else { return Stalls::default() };
    let now = Moment::now();
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter()
        .filter(|(at, _)| now.since(*at) <= age)
        .fold(Stalls::default(), |sum, (_, late)| Stalls { count: sum.count + 1, lost: sum.lost + *late })
}

/// How long ago the calling thread was started, by the kernel's book (proc(5): field 22 of `stat`, in ticks since boot).
fn age() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    let began: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64(uptime - began / per_second).ok()
}

/// Adds a test to those that `scripts/test` runs again.
pub fn write_down(test: &str) {
    let Some(file) = std::env::var_os("VOID_TESTS_FILE") else { return };
    let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(file) else { return };
    let _ = std::io::Write::write_all(&mut file, format!("{test}\n").as_bytes());
}
