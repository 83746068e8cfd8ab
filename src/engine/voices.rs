//! What can be said: the synthesiser behind a cache of sentences, and WAV files read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::audio::{Rate, resample, wav};
use crate::call::speaker::{Source, broken};
use crate::call::{Part, Voices};
use crate::speech::prompts::PromptCache;
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};

/// Files are kept in memory up to this many samples in all: half an hour.
const MOST_SAMPLES: usize = 30 * 60 * 8_000;

/// The voices of an engine. Shared by all calls.
pub struct EngineVoices {
    synthesizer: Option<Arc<dyn Synthesizer>>,
    voice: Option<String>,
    cache: PromptCache,
    files: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    by_path: HashMap<(PathBuf, Rate), Arc<[i16]>>,
    samples: usize,
}

impl Files {
    /// Keeps a file for the next call that plays it, while there is room.
    fn keep(&mut self, key: (PathBuf, Rate), samples: &[i16]) {
        if self.samples + samples.len() <= MOST_SAMPLES && !self.by_path.contains_key(&key) {
            self.samples += samples.len();
            self.by_path.insert(key, samples.into());
        }
    }
}

impl EngineVoices {
    /// Voices of `synthesizer`, `voice` where a prompt names none, with `cache_bytes` for sentences said before.
    #[must_use]
    pub fn new(synthesizer: Option<Arc<dyn Synthesizer>>, voice: Option<String>, cache_bytes: usize) -> Self {
        Self { synthesizer, voice, cache: PromptCache::new(cache_bytes), files: Arc::default() }
    }

    /// Makes ready what will be said again and again, so that the first caller waits no longer than the second.
    ///
    /// # Errors
    /// When a sentence cannot be said or a file cannot be read: what calls would run into is told at the start.
    pub async fn warm(&self, parts: &[Part], voice: Option<&str>, rate: Rate) -> Result<(), SpeechError> {
        for part in parts {
            match part {
                Part::Text(text) => {
                    let synthesizer = self.synthesizer()?;
                    self.cache.fetch(&**synthesizer, &self.utterance(text, voice, rate)).await?;
                }
                Part::File(file) => {
                    if let Source::Stream(mut stream) = self.play(file, rate) {
                        while let Some(chunk) = stream.chunks.recv().await {
                            chunk?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn synthesizer(&self) -> Result<&Arc<dyn Synthesizer>, SpeechError> {
        self.synthesizer.as_ref().ok_or_else(|| {
            SpeechError::Unavailable(
                "there is no synthesiser: set `synthesizer` under [speech], or let the bot play recordings alone".into(),
            )
        })
    }

    fn utterance(&self, text: &str, voice: Option<&str>, rate: Rate) -> Utterance {
        let voice = voice.or(self.voice.as_deref()).map(str::to_owned);
        Utterance { text: text.to_owned(), voice, rate }
    }
}

impl Voices for EngineVoices {
    fn speak(&self, text: &str, voice: Option<&str>, rate: Rate) -> Source {
        let synthesizer = match self.synthesizer() {
            Ok(synthesizer) => synthesizer,
            Err(error) => return broken(error),
        };
        let utterance = self.utterance(text, voice, rate);
        match self.cache.get_timed(&**synthesizer, &utterance) {
            Some((samples, times)) => Source::Ready(samples, times),
            None => Source::Stream(synthesizer.synthesize(&utterance)),
        }
    }

    fn play(&self, file: &Path, rate: Rate) -> Source {
        let key = (file.to_path_buf(), rate);
        let files = Arc::clone(&self.files);
        if let Some(samples) = lock(&files).by_path.get(&key) {
            return Source::Ready(Arc::clone(samples), WordTimes::default());
        }
        let (sender, chunks) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let read = read(&key.0, rate);
            if let Ok(samples) = &read {
                lock(&files).keep(key, samples);
            }
            // The call may be over by now.
            let _ = sender.blocking_send(read);
        });
        Source::Stream(SpeechStream { chunks, times: WordTimes::default() })
    }
}

fn lock(files: &Mutex<Files>) -> std::sync::MutexGuard<'_, Files> {
    files.lock().expect("nothing panics while it holds the files")
}

fn read(file: &Path, rate: Rate) -> Result<Vec<i16>, SpeechError> {
    let sound = wav::read(file).map_err(|error| SpeechError::Rejected(error.to_string()))?;
    resample::to_rate(&sound.samples, sound.rate_hz, rate)
        .map_err(|error| SpeechError::Rejected(error.to_string()))
}
