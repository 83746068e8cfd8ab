//! Feeds a parser with mutations of seeds: no panic, limits that hold, and no difference whether bytes come at once or in
//! pieces. Every input follows from the seed number and its index, so that what was found can be run again alone.
//!
//!     cargo run --release --manifest-path fuzz/Cargo.toml -- ami --inputs 10000000
//!     cargo run --release --manifest-path fuzz/Cargo.toml -- ami --first 4711 --inputs 1

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

mod agi;
mod ami;
mod dice;
mod targets;

use dice::Dice;

/// The heap of this process, counted.
struct Counted;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The most that inputs of [`dice::LONGEST`] bytes may make a parser hold, in bytes.
const MOST_MEMORY: usize = 32 << 20;

struct Options {
    target: String,
    inputs: u64,
    first: u64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut words = std::env::args().skip(1);
    let names = targets::ALL.map(|(name, _)| name).join(", ");
    let target = words.next().ok_or(format!("say what to fuzz: {names}"))?;
    let mut options = Options { target, inputs: 1_000_000, first: 0, seed: 1 };
    while let Some(word) = words.next() {
        let value = words.next().and_then(|text| text.replace('_', "").parse().ok());
        let value: u64 = value.ok_or(format!("{word} takes a number"))?;
        match word.as_str() {
            "--inputs" => options.inputs = value,
            "--first" => options.first = value,
            "--seed" => options.seed = value,
            _ => return Err(format!("unknown option {word}: there are --inputs, --first, --seed")),
        }
    }
    Ok(options)
}

fn seeds(target: &str) -> Result<Vec<Vec<u8>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).map_err(told)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let seeds = files.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>().map_err(told)?;
    if seeds.is_empty() { Err(format!("{}: no seeds", folder.display())) } else { Ok(seeds) }
}

fn run() -> Result<(), String> {
    let options = options()?;
    let target = targets::ALL.iter().find(|(name, _)| *name == options.target);
    let (name, target) = target.ok_or(format!("there is no target {}", options.target))?;
    let seeds = seeds(name)?;
    let (began, before) = (Instant::now(), LIVE.load(Ordering::Relaxed));
    PEAK.store(before, Ordering::Relaxed);
    let mut bytes = 0_u64;
    let mut input = Vec::new();
    for index in options.first..options.first + options.inputs {
        let mut dice = Dice::new(options.seed, index);
        dice.mutate(&seeds, &mut input);
        bytes += input.len() as u64;
        let done = catch_unwind(AssertUnwindSafe(|| target(&input, &mut dice)));
        let memory = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        let wrong = match done {
            Ok(()) if memory <= MOST_MEMORY => continue,
            Ok(()) => format!("{memory} bytes of memory"),
            Err(_) => "a panic".to_owned(),
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("found-{name}-{index}"));
        std::fs::write(&file, &input).map_err(|error| error.to_string())?;
        return Err(format!(
            "input {index} of seed {}: {wrong}; it is kept in {}, and `-- {name} --seed {} --first {index} --inputs 1` runs it again",
            options.seed,
            file.display(),
            options.seed
        ));
    }
    println!(
        "{name}: {} inputs of {} seeds, {bytes} bytes, {:.0} s: no panic; at most {} KiB of memory",
        options.inputs,
        seeds.len(),
        began.elapsed().as_secs_f64(),
        PEAK.load(Ordering::Relaxed).saturating_sub(before) / 1_024
    );
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offhook-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}
