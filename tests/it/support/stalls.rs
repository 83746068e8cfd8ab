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
/// A test in real time says nothing when more than this share of the processors' time was the host's while it ran, though
/// never so long at a time.
const TOLERATED: f64 = 0.05;
/// How often it is read how much the host took.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Stalls that are remembered; more than a run has.
const KEPT: usize = 100_000;

static SEEN: Mutex<Vec<(Moment, Duration)>> = Mutex::new(Vec::new());
/// What the host had taken by then, of all processors together.
static STOLEN: Mutex<Vec<(Moment, Duration)>> = Mutex::new(Vec::new());

/// Starts the watch. Without the right to a real-time priority it sees no stalls.
pub fn watch() {
    std::thread::Builder::new().name("stolen".to_owned()).spawn(count_what_is_stolen).unwrap();
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

fn count_what_is_stolen() {
    while let Some(stolen) = stolen() {
        let mut book = STOLEN.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() < KEPT {
            book.push((Moment::now(), stolen));
        }
        drop(book);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What the host has taken since this machine was started, by proc(5): `steal`, the eighth of the first line of `stat`.
fn stolen() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: f64 = stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Duration::try_from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64).ok()
}

#[expect(unsafe_code, reason = "rustix knows no sched_setscheduler")]
fn before_all_others() -> bool {
    let wanted = libc::sched_param { sched_priority: 99 };
    // SAFETY: the parameter is a live value of the type that the call reads; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const wanted) == 0 }
}

/// How often, and for how long altogether, processors were gone; and what share of all their time was the host's.
#[derive(Default)]
pub struct Stalls {
    count: usize,
    lost: Duration,
    stolen: f64,
}

impl Stalls {
    /// Whether what a test found says nothing about Offhook: two packets were held up, or everything went slowly.
    pub fn void_a_test(&self) -> bool {
        self.count > 0 || self.stolen > TOLERATED
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, stolen) = (self.lost.as_millis(), self.stolen * 100.0);
        write!(f, "the machine stood still {} times, {lost} ms, and {stolen:.0} % was its host's", self.count)
    }
}

/// Those since the calling thread, which is a test's, began.
pub fn of_this_thread() -> Stalls {
    let Some(age) = age() else { return Stalls::default() };
    let now = Moment::now();
    let book = STOLEN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = book.iter().rev().find(|(at, _)| now.since(*at) >= age).or_else(|| book.first());
    let stolen = before.zip(stolen()).map_or(0.0, |((at, before), by_now)| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = now.since(*at).as_secs_f64() * processors;
        by_now.saturating_sub(*before).as_secs_f64() / all.max(f64::EPSILON)
    });
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let in_it = seen.iter().filter(|(at, _)| now.since(*at) <= age);
    in_it.fold(Stalls { stolen, ..Stalls::default() }, |sum, (_, late)| Stalls {
        count: sum.count + 1,
        lost: sum.lost + *late,
        ..sum
    })
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
