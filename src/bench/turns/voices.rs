//! Who speaks in the corpus: Flite, espeak-ng where it is installed, and the people who recorded Asterisk's prompts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::sound;
use crate::audio::{Rate, resample, wav};
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::witness::fingerprint;
use crate::speech::{Synthesizer as _, Utterance};

/// Where Debian's packages asterisk-core-sounds-* put their recordings.
const SOUNDS: &str = "/usr/share/asterisk/sounds";

/// Who makes a voice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::bench) enum Maker {
    /// The synthesiser that is built in.
    Flite,
    /// A process of its own for each sentence.
    Espeak,
    /// A person.
    Recorded,
}

/// A voice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::bench) struct Voice {
    pub(in crate::bench) maker: Maker,
    /// As its maker calls it; of recordings the beginning of the folder's name.
    pub(in crate::bench) name: &'static str,
    /// Two letters.
    pub(in crate::bench) language: &'static str,
    /// How long everything takes, in percent of what it takes the voice: more than 100 is slower.
    pub(in crate::bench) pace: u16,
}

pub(in crate::bench) const fn flite(name: &'static str) -> Voice {
    Voice { maker: Maker::Flite, name, language: "en", pace: 100 }
}

pub(in crate::bench) const fn espeak(name: &'static str, language: &'static str) -> Voice {
    Voice { maker: Maker::Espeak, name, language, pace: 100 }
}

pub(in crate::bench) const fn recorded(language: &'static str) -> Voice {
    Voice { maker: Maker::Recorded, name: language, language, pace: 100 }
}

impl Voice {
    /// The same voice, for whom everything takes so many percent of its time.
    pub(in crate::bench) const fn at(self, pace: u16) -> Self {
        Self { pace, ..self }
    }

    /// Its maker and name, and its pace where that is not its own.
    pub(in crate::bench) fn title(self) -> String {
        let maker = match self.maker {
            Maker::Flite => "flite",
            Maker::Espeak => "espeak-ng",
            Maker::Recorded => "recorded",
        };
        match self.pace {
            100 => format!("{maker}:{}", self.name),
            pace => format!("{maker}:{} at {pace} %", self.name),
        }
    }

    /// What its maker says at its maker's pace.
    fn usual(self) -> Self {
        self.at(100)
    }
}

/// Makes them speak.
pub(in crate::bench) struct Voices {
    flite: Option<FliteSynthesizer>,
    espeak: bool,
    /// By language: the folder and its recordings, in order.
    recorded: BTreeMap<&'static str, (PathBuf, Vec<String>)>,
    /// What was said once is kept here: not all voices are sample-exact from run to run, and none is for nothing.
    cache: Option<PathBuf>,
    /// What is left out of the corpus, and what to install.
    pub(in crate::bench) missing: Vec<String>,
}

impl Voices {
    /// Looks for everybody.
    pub(in crate::bench) fn find() -> Self {
        let mut missing = Vec::new();
        let flite = FliteSynthesizer::new(FliteConfig::default());
        let flite = flite.map_err(|error| missing.push(format!("Flite's voices ({error})"))).ok();
        let espeak = run_espeak("en-us", "a").is_some();
        if !espeak {
            missing.push("espeak-ng's voices: install espeak-ng".to_owned());
        }
        let mut all = BTreeMap::new();
        for language in ["en", "es", "fr", "it", "ru"] {
            match recordings(language) {
                Some(found) => {
                    all.insert(language, found);
                }
                None => missing.push(format!(
                    "people who speak {language}: install asterisk-core-sounds-{language}-wav"
                )),
            }
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/offhook"));
        let cache = std::env::var_os("OFFHOOK_CACHE").map(PathBuf::from).or_else(home);
        let cache = cache.map(|cache| cache.join("turns"));
        let cache = cache.filter(|cache| std::fs::create_dir_all(cache).is_ok());
        Self { flite, espeak, recorded: all, cache, missing }
    }

    /// Whether the voice is on this machine.
    pub(in crate::bench) fn has(&self, voice: Voice) -> bool {
        match voice.maker {
            Maker::Flite => self.flite.is_some(),
            Maker::Espeak => self.espeak,
            Maker::Recorded => self.recorded.contains_key(voice.name),
        }
    }

    /// `text` as the voice says it, 8 kHz, from its first sound to its last; [`None`] when it cannot. Blocks; not inside
    /// a task.
    pub(in crate::bench) fn say(&self, voice: Voice, text: &str) -> Option<Vec<f32>> {
        if voice.pace != 100 {
            return Some(sound::at_pace(self.say(voice.usual(), text)?, voice.pace));
        }
        let name = format!("{:016x}.wav", fingerprint(&format!("{}|{text}", voice.title())));
        let kept = self.cache.as_ref().map(|cache| cache.join(name));
        if let Some(wav) = kept.as_ref().and_then(|kept| wav::read(kept).ok()) {
            return Some(wav.samples.into_iter().map(from_i16).collect());
        }
        let said = match voice.maker {
            Maker::Flite => self.say_flite(voice.name, text)?,
            Maker::Espeak => run_espeak(voice.name, text)?,
            Maker::Recorded => return None,
        };
        let said = trimmed(&said.into_iter().map(from_i16).collect::<Vec<_>>());
        if let Some(kept) = kept {
            // Written beside and moved, so that nobody reads half of it. Without it the next run is slower.
            let half = kept.with_extension(format!("{}.part", std::process::id()));
            let samples: Vec<i16> = said.iter().map(|s| sound::to_i16(*s)).collect();
            if wav::write_mono(&half, Rate::Hz8000, &samples).is_ok() {
                let _ = std::fs::rename(&half, &kept);
            }
        }
        (!said.is_empty()).then_some(said)
    }

    /// The names of a language's recordings, in order.
    pub(in crate::bench) fn recordings(&self, language: &str) -> &[String] {
        self.recorded.get(language).map_or(&[], |(_, names)| names)
    }

    /// A recording, from its first sound to its last.
    pub(in crate::bench) fn play(&self, language: &str, name: &str) -> Option<Vec<f32>> {
        let (folder, _) = self.recorded.get(language)?;
        let wav = wav::read(&folder.join(format!("{name}.wav"))).ok()?;
        let samples = resample::to_rate(&wav.samples, wav.rate_hz, Rate::Hz8000).ok()?;
        Some(trimmed(&samples.into_iter().map(from_i16).collect::<Vec<_>>()))
    }

    /// The same at the pace of a voice that is recorded.
    pub(in crate::bench) fn play_as(&self, voice: Voice, name: &str) -> Option<Vec<f32>> {
        Some(sound::at_pace(self.play(voice.language, name)?, voice.pace))
    }

    fn say_flite(&self, voice: &str, text: &str) -> Option<Vec<i16>> {
        let utterance =
            Utterance { text: text.to_owned(), voice: Some(voice.to_owned()), rate: Rate::Hz8000 };
        let mut stream = self.flite.as_ref()?.synthesize(&utterance);
        let mut samples = Vec::new();
        while let Some(chunk) = stream.chunks.blocking_recv() {
            samples.extend(chunk.ok()?);
        }
        Some(samples)
    }
}

fn run_espeak(voice: &str, text: &str) -> Option<Vec<i16>> {
    let mut run = Command::new("espeak-ng");
    run.args(["--stdout", "-v", voice, text]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = run.output().ok().filter(|output| output.status.success())?;
    // The length in its header is that of an endless stream: what came counts.
    let data = output.stdout.get(44..)?;
    let rate = u32::from_le_bytes(output.stdout.get(24..28)?.try_into().ok()?);
    let samples: Vec<i16> = data.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    resample::to_rate(&samples, rate, Rate::Hz8000).ok()
}

/// The folder of a language's recordings, and the names of those that may be sentences.
fn recordings(language: &str) -> Option<(PathBuf, Vec<String>)> {
    let mut places = vec![PathBuf::from(SOUNDS)];
    places.extend(std::env::var_os("OFFHOOK_SOUNDS").map(PathBuf::from));
    let folders = places.iter().flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten());
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    let folder = folders.into_iter().find(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.split('_').next() == Some(language) && folder.join("digits/1.wav").exists()
    })?;
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .ok()?
        .flatten()
        .filter_map(|entry| Some(Path::new(&entry.file_name()).file_stem()?.to_str()?.to_owned()))
        .filter(|name| folder.join(format!("{name}.wav")).is_file())
        .filter(|name| !["tone", "beep", "monkeys"].iter().any(|sound| name.contains(sound)))
        .collect();
    names.sort();
    Some((folder, names))
}

/// From its first sound to its last.
fn trimmed(samples: &[f32]) -> Vec<f32> {
    let stretches = sound::spoken(samples);
    match (stretches.first(), stretches.last()) {
        (Some((from, _)), Some((_, to))) => {
            // Softer beginnings and endings stay, truth is told without them.
            let (from, to) =
                (from.saturating_sub(2 * sound::STEP), (to + 4 * sound::STEP).min(samples.len()));
            samples[from..to].to_vec()
        }
        _ => Vec::new(),
    }
}

fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}
