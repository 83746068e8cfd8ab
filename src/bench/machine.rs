//! The machine that a benchmark ran on, and what its system counts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a benchmark ran.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Installed memory.
    pub memory_bytes: u64,
    /// Processes that wanted to run in the last minute before the benchmark: far above 0, its figures are of a busy machine.
    pub load_before: f64,
}

impl Machine {
    /// Reads it from the system; what is not told is empty.
    #[must_use]
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kilobytes = field(&file("/proc/meminfo"), "MemTotal").unwrap_or_default();
        Self {
            cpu: field(&file("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: leading_number(&kilobytes).unwrap_or(0) * 1_024,
            load_before: first_word(&file("/proc/loadavg")).parse().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)?;
        write!(f, ", {} GiB", self.memory_bytes >> 30)?;
        write!(f, ", load {:.1} before the start", self.load_before)
    }
}

/// The processor time of this process so far, all of its threads, in user and system mode.
#[must_use]
pub fn process_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec.cast_unsigned(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// The processor time of the calling thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.cast_unsigned(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// Gives the system back what the allocator keeps of memory that was freed, so that what a run needs is not hidden in what
/// the run before it left. Does nothing where the C library knows no such thing.
#[expect(unsafe_code, reason = "the C library's own call")]
pub fn give_back_memory() {
    // SAFETY: it takes a number and touches only the allocator's own lists, under its own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Anonymous memory of this process that is in use, in bytes: heap and stacks, without the program and its files.
#[must_use]
pub fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(leading_number).unwrap_or(0) * 1_024
}

/// Lets this process have as many open files as the system allows it: a thousand calls may need a thousand sockets.
pub fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised is met later, as an error of the socket that is one too many.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn leading_number(text: &str) -> Option<u64> {
    first_word(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_about_itself() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert!(anonymous_bytes() > 0);
        assert!(process_cpu() >= thread_cpu());
    }
}
