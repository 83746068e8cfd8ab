//! How well, how fast and at what price the embedded recogniser hears what no grammar has: `cargo bench --bench dictation`.
//!
//! Voices that had no part in training the bandwidth extension say sentences of everyday life through a telephone (8 kHz,
//! µ-law), which are heard frame by frame with the language model of Debian's pocketsphinx-en-us. Prints word errors, the
//! time that a second of speech takes of a core, what is computed at a pause and at the end, and the memory of a decoder. With
//! OFFHOOK_BENCH_VOICES=1 also what was heard. The peer is the same with the voice's original at 16 kHz.

use std::time::Duration;

use anyhow::{Context as _, Result};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::pocketsphinx::{Acquaintance, Examiner, PocketSphinxConfig, PocketSphinxRecognizer};

#[path = "../models/bandwidth/telephone.rs"]
#[allow(dead_code)]
mod telephone;

const ESPEAK: [&str; 3] = ["en-us", "en-us+f5", "en-us+m2"];
const FLITE: [&str; 1] = ["slt"];

/// What callers of a help desk say.
const SENTENCES: [&str; 16] = [
    "i would like to speak to somebody about my bill",
    "my internet connection does not work since this morning",
    "can you tell me when your office opens tomorrow",
    "i want to change the address on my account",
    "what does it cost to send a letter to france",
    "please call me back in the afternoon",
    "i have lost my credit card",
    "the delivery was supposed to arrive last week",
    "no i have never received the new contract",
    "how much money is left on my account",
    "yes that is right",
    "i am calling because of the letter you sent me",
    "could you repeat the last number please",
    "my name is peter miller and i live in london",
    "there is a mistake in the invoice for october",
    "thank you very much for your help",
];

fn main() {
    if let Err(e) = run() {
        eprintln!("the bench could not run: {e:#}");
        std::process::exit(1);
    }
}

/// What was measured of one kind of sound.
#[derive(Default)]
struct Sum {
    words: usize,
    errors: usize,
    right: usize,
    sentences: usize,
    spoken: Duration,
    computed: Duration,
    /// At the first pause of an utterance, and at its end.
    pauses: Vec<Duration>,
    ends: Vec<Duration>,
}

fn run() -> Result<()> {
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    let espeak = telephone::say_espeak(ESPEAK[0], "hello").is_ok();
    let recognizer = PocketSphinxRecognizer::new(PocketSphinxConfig::default())?;
    let before = resident()?;
    let began = computed();
    let mut ear = recognizer.dictation()?;
    let made = computed() - began;
    let memory = resident()?.saturating_sub(before);
    println!("a decoder: {} MB, made in {} ms", memory >> 20, made.as_millis());
    println!(
        "\n{:<12} {:<22} {:>9} {:>8} {:>12} {:>10} {:>22} {:>22}",
        "voice",
        "sound",
        "sentences",
        "exact",
        "word errors",
        "of a core",
        "at a pause p50, max",
        "at the end p50, max"
    );
    let voices =
        FLITE.iter().map(|v| (*v, true)).chain(ESPEAK.iter().filter(|_| espeak).map(|v| (*v, false)));
    let mut all = [Sum::default(), Sum::default()];
    for (voice, is_flite) in voices {
        let mut sums = [Sum::default(), Sum::default()];
        let mut known: [Option<Acquaintance>; 2] = [None, None];
        for (index, text) in SENTENCES.iter().enumerate() {
            let wide = if is_flite {
                telephone::say_flite(&flite, voice, text)?
            } else {
                telephone::say_espeak(voice, text)?
            };
            let peak = wide.iter().fold(1e-3_f32, |peak, s| peak.max(s.abs()));
            let level = telephone::LEVELS[index % telephone::LEVELS.len()] / peak;
            let original: Vec<f32> = wide.iter().map(|s| s * level).collect();
            let sounds =
                [frames(&telephone::telephone(&wide, index), Rate::Hz8000), frames(&original, Rate::Hz16000)];
            for ((frames, sum), known) in sounds.iter().zip(&mut sums).zip(&mut known) {
                let heard = hear(&mut ear, frames, known, sum)?;
                if std::env::var_os("OFFHOOK_BENCH_VOICES").is_some() {
                    println!("    {text}\n    {heard}");
                }
                sum.add(text, &heard);
            }
        }
        for ((name, sum), all) in ["telephone", "16 kHz original"].into_iter().zip(sums).zip(&mut all) {
            sum.print(voice, name);
            all.take(sum);
        }
    }
    for (name, sum) in ["telephone", "16 kHz original"].into_iter().zip(&all) {
        sum.print("all", name);
    }
    Ok(())
}

/// Hears one utterance as a call would: with a pause at its end, then the end.
fn hear(
    ear: &mut Examiner,
    frames: &[Frame],
    known: &mut Option<Acquaintance>,
    sum: &mut Sum,
) -> Result<String> {
    // What others do on the machine does not count.
    let began = computed();
    ear.begin_open(known.as_ref())?;
    for frame in frames {
        ear.feed(frame)?;
        sum.spoken += frame.duration();
    }
    let paused = computed();
    ear.pause()?;
    let ended = computed();
    let (heard, learnt) = ear.end()?;
    let done = computed();
    *known = Some(learnt);
    sum.computed += done - began;
    sum.pauses.push(ended - paused);
    sum.ends.push(done - ended);
    Ok(heard.map(|heard| heard.text).unwrap_or_default())
}

impl Sum {
    fn add(&mut self, said: &str, heard: &str) {
        self.sentences += 1;
        self.right += usize::from(said == heard);
        self.words += said.split(' ').count();
        self.errors += distance(said, heard);
    }

    fn take(&mut self, other: Self) {
        self.words += other.words;
        self.errors += other.errors;
        self.right += other.right;
        self.sentences += other.sentences;
        self.spoken += other.spoken;
        self.computed += other.computed;
        self.pauses.extend(other.pauses);
        self.ends.extend(other.ends);
    }

    fn print(&self, voice: &str, sound: &str) {
        #[expect(clippy::cast_precision_loss, reason = "counts of words")]
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let spread = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            let of = |at: usize| times.get(at).map_or(0, Duration::as_millis);
            format!("{} ms, {} ms", of(times.len() / 2), of(times.len().saturating_sub(1)))
        };
        println!(
            "{voice:<12} {sound:<22} {:>9} {:>6.1} % {:>10.1} % {:>8.1} % {:>22} {:>22}",
            self.sentences,
            share(self.right, self.sentences),
            share(self.errors, self.words),
            100.0 * self.computed.as_secs_f64() / self.spoken.as_secs_f64().max(1e-9),
            spread(&self.pauses),
            spread(&self.ends),
        );
    }
}

/// Words put in, left out and changed.
fn distance(said: &str, heard: &str) -> usize {
    let (said, heard): (Vec<_>, Vec<_>) = (said.split(' ').collect(), heard.split_whitespace().collect());
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let changed = corner + usize::from(word != other);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[heard.len()]
}

fn frames(samples: &[f32], rate: Rate) -> Vec<Frame> {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let whole: Vec<i16> = samples.iter().map(|s| (s * 32_767.0) as i16).collect();
    // A breath before and behind, as the ear has it.
    let silence = vec![0; usize::try_from(rate.hz()).unwrap_or(0) / 5];
    let all = [silence.clone(), whole, silence].concat();
    let frame = |chunk: &[i16]| {
        let mut frame = Frame::silence(rate);
        frame.samples.copy_from_slice(chunk);
        frame
    };
    all.chunks_exact(FRAME_SAMPLES).map(frame).collect()
}

/// The time that this thread has had of a core.
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory of this process, in bytes.
fn resident() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").context("Linux tells")?;
    let pages =
        text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).context("a number of pages")?;
    Ok(pages * 4_096)
}
