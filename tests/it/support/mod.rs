//! What the tests stand on.

pub mod asterisk;
pub mod caller;
pub mod certificates;
pub mod desk;
pub mod ears;
pub mod engine;
pub mod farm;
pub mod llm;
pub mod mouths;
pub mod postgres;
pub mod proxy;
pub mod python;
pub mod realtime;
pub mod remote;
pub mod stalls;

pub use asterisk::{AsteriskUnderTest, Wanted, asterisk};
pub use certificates::certificates;
pub use engine::EngineUnderTest;

/// A runtime for servers that several tests share: it lives as long as this process.
pub fn lasting() -> &'static tokio::runtime::Handle {
    static LASTING: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    LASTING.get_or_init(|| tokio::runtime::Runtime::new().expect("threads can be had")).handle()
}

/// Has a test that fails say so at once, in one line with its reason, how busy the machine is and how long it stood still: the
/// whole output comes at the end, and not at all where a run is cut short.
pub fn say_failures_at_once() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        stalls::watch();
        let (usual, began) = (std::panic::take_hook(), offhook::time::Moment::now());
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a thread").to_owned();
            let what = panic.payload_as_str().unwrap_or("no text").replace('\n', " ");
            let what: String = what.chars().take(400).collect();
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
            let after = offhook::time::Moment::now().since(began).as_secs();
            let stalls = stalls::of_this_thread();
            // Not through `eprintln!`, which the test harness keeps to itself.
            let line = format!(
                "test {name} failed at {place}: {what} (after {after} s, load {}; {stalls})\n",
                load.trim()
            );
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            if stalls.void_a_test() {
                stalls::write_down(&name);
            }
        }));
    });
}
