//! The priority of media threads: a packet that is due cannot wait for what else computes on the machine.

use std::io;

use rustix::thread::gettid;

/// The nice value of a media thread that may not have a real-time policy.
const NICE: i32 = -15;

/// The lowest real-time priority: before everything that is not real-time, and before nothing that is.
const LOWEST: libc::c_int = 1;

/// What a media thread got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Priority {
    /// `SCHED_RR`, as Asterisk's own `-p`. The kernel keeps a twentieth of each second for all others
    /// (`kernel.sched_rt_runtime_us`), so that no overload locks anybody out.
    RealTime,
    /// A larger share than others, but in turns with them.
    Nice,
    /// What every thread has: needs root, `CAP_SYS_NICE` or a limit (`ulimit -r`, `LimitRTPRIO=` of systemd) to be more.
    Usual,
}

/// Gives the calling thread the highest of these that the system allows.
pub(super) fn raise() -> Priority {
    if real_time().is_ok() {
        Priority::RealTime
    } else if rustix::process::setpriority_process(Some(gettid()), NICE).is_ok() {
        Priority::Nice
    } else {
        Priority::Usual
    }
}

#[expect(unsafe_code, reason = "rustix knows no sched_setscheduler")]
fn real_time() -> io::Result<()> {
    let wanted = libc::sched_param { sched_priority: LOWEST };
    // SAFETY: the parameter is a live value of the type that the call reads; 0 is the calling thread.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const wanted) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_the_highest_priority_that_is_allowed() {
        let got = std::thread::spawn(|| (raise(), raise())).join().expect("no panic");
        assert_eq!(got.0, got.1, "the same whenever it is asked for");
    }
}
