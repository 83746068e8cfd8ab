//! What all targets share: seeds, chance, and what it does to them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// The longest input, in bytes.
const LONGEST: usize = 8_192;

/// Chance that is the same every time (xorshift64*).
pub struct Chance(u64);

impl Chance {
    /// Begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    /// One of them.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Changes `input` at one place; `others` are there to be cut from.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let to = (at + chance.below(64)).min(input.len());
    match chance.below(9) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next() as u8,
        2 => drop(input.drain(at..to)),
        3 => {
            let part = input[at..to].to_vec();
            input.splice(at..at, part);
        }
        4 => {
            let other = &others[chance.below(others.len())];
            let from = chance.below(other.len());
            let end = (from + chance.below(256)).min(other.len());
            input.splice(at..to, other[from..end].iter().copied());
        }
        5 => drop(input.splice(at..to, chance.pick(words).iter().copied())),
        6 => drop(input.splice(at..at, chance.pick(words).iter().copied())),
        7 if chance.below(16) == 0 => input.truncate(at),
        _ => {
            // A number in it becomes another one.
            let digits = |byte: &u8| byte.is_ascii_digit();
            if let Some(start) = input[at..].iter().position(digits).map(|offset| at + offset) {
                let end = input[start..].iter().position(|b| !digits(b)).map_or(input.len(), |n| start + n);
                let numbers: [&[u8]; 6] = [b"0", b"-1", b"1e309", b"18446744073709551616", b"2147483648", b"0.5"];
                input.splice(start..end, chance.pick(&numbers).iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
}

/// Runs `target` on the seeds of `folder` and on as many changes of them as the command line says.
pub fn main(folder: &str, words: &[&[u8]], target: impl Fn(&[u8]) -> bool) -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("numbers"));
    let (count, seed) = (arguments.next().unwrap_or(1_000_000), arguments.next().unwrap_or(1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(root.join("seeds").join(folder))
        .expect("there are seeds")
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a seed")).collect();
    let mut chance = Chance::new(seed);
    let (started, mut understood) = (Instant::now(), 0_u64);
    let mut input = Vec::new();
    for number in 0..count {
        match seeds.get(number as usize) {
            Some(seed) => input.clone_from(seed),
            None => {
                // A few changes pile up before it begins anew.
                if input.is_empty() || chance.below(6) == 0 {
                    input.clone_from(&seeds[chance.below(seeds.len())]);
                }
                for _ in 0..=chance.below(3) {
                    change(&mut input, &seeds, words, &mut chance);
                }
            }
        }
        match catch_unwind(AssertUnwindSafe(|| target(&input))) {
            Ok(fine) => understood += u64::from(fine),
            Err(_) => {
                let crashes = root.join("crashes");
                std::fs::create_dir_all(&crashes).expect("a folder");
                let file = crashes.join(format!("{folder}-{seed}-{number}"));
                std::fs::write(&file, &input).expect("a file");
                eprintln!("input {number} panics: {}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{folder}: {count} inputs from {} seeds, {understood} understood, no panic, {:.0} a second",
        seeds.len(),
        count as f64 / seconds.max(f64::EPSILON)
    );
    ExitCode::SUCCESS
}
