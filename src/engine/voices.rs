//! What can be said: synthesisers behind a cache of sentences, and WAV files read once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::audio::{Rate, resample, wav};
use crate::call::speaker::{Source, broken};
use crate::call::{Part, Voices};
use crate::speech::fallback::SpeakingList;
use crate::speech::prompts::{PromptCache, Sentence};
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream, Synthesizer as _, Utterance};
use crate::time::Moment;

/// Files are kept in memory up to this many samples in all: half an hour.
const MOST_SAMPLES: usize = 30 * 60 * 8_000;

/// Sentences that are made at the same time when the engine starts.
const WARM_AT_ONCE: usize = 4;

/// As many chunks as a synthesiser's stream holds.
const CHUNKS: usize = 8_192;

/// The voices of a bot. Shared by all its calls.
pub struct EngineVoices {
    list: Option<SpeakingList>,
    voice: Option<String>,
    kept: Arc<KeptSounds>,
    /// What is said in the same words on every call: it is kept whoever makes it, and whenever.
    fixed: Mutex<HashSet<Utterance>>,
}

/// What is kept of sounds, for the voices of all bots.
pub struct KeptSounds {
    cache: PromptCache,
    /// Whether everything that is said is kept.
    all: bool,
    files: Mutex<Files>,
}

impl KeptSounds {
    /// Sentences in `cache`; `all` of them, or those that are the same on every call.
    #[must_use]
    pub fn new(cache: PromptCache, all: bool) -> Arc<Self> {
        Arc::new(Self { cache, all, files: Mutex::default() })
    }
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
    /// Voices of the synthesisers of `list`, `voice` where a prompt names none.
    #[must_use]
    pub fn new(list: Option<SpeakingList>, voice: Option<String>, kept: Arc<KeptSounds>) -> Self {
        Self { list, voice, kept, fixed: Mutex::default() }
    }

    /// Makes ready what will be said again and again, so that the first caller waits no longer than the second. What is on
    /// the disk is read, the rest is made, a few at a time.
    ///
    /// # Errors
    /// When a sentence cannot be said whoever is asked and whenever, or a file cannot be read: what calls would run into is
    /// told at the start. A service that does not answer now is no reason not to start.
    pub async fn warm(&self, parts: &[Part], voice: Option<&str>, rate: Rate) -> Result<(), SpeechError> {
        let texts =
            parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
        let fixed: Vec<Utterance> = texts.map(|text| self.utterance(text, voice, rate)).collect();
        if !fixed.is_empty() {
            let list = self.list()?;
            lock(&self.fixed).extend(fixed.iter().cloned());
            for some in fixed.chunks(WARM_AT_ONCE) {
                let made = join_all(some.iter().map(|utterance| self.make_ready(list, utterance))).await;
                match made.into_iter().find_map(Result::err) {
                    None => {}
                    Some(error) if error.is_lasting() => return Err(error),
                    Some(error) => {
                        tracing::warn!(%error, "the fixed sentences are not all ready: they are made when they are said");
                        break;
                    }
                }
            }
        }
        for part in parts {
            if let Part::File(file) = part
                && let Source::Stream(mut stream) = self.play(file, rate)
            {
                while let Some(chunk) = stream.chunks.recv().await {
                    chunk?;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that a sentence is kept.
    async fn make_ready(&self, list: &SpeakingList, utterance: &Utterance) -> Result<(), SpeechError> {
        if let Some(first) = list.backends().first()
            && self.kept.cache.load(first.kept_as(), &list.asked_of(0, utterance)).await.is_some()
        {
            return Ok(());
        }
        let mut stream = begin(list, utterance);
        let mut samples = Vec::new();
        while let Some(chunk) = stream.chunks.recv().await {
            samples.extend(chunk?);
        }
        keep(&self.kept, list, utterance, samples, &stream.times).await;
        Ok(())
    }

    fn list(&self) -> Result<&SpeakingList, SpeechError> {
        self.list.as_ref().ok_or_else(|| {
            SpeechError::Unavailable(
                "there is no synthesiser: set `synthesizer` under [speech], or let the bot play recordings alone".into(),
            )
        })
    }

    fn utterance(&self, text: &str, voice: Option<&str>, rate: Rate) -> Utterance {
        let voice = voice.or(self.voice.as_deref()).map(str::to_owned);
        Utterance { text: text.to_owned(), voice, rate }
    }

    /// What is kept of it by the first that is well; the flag tells whether it is to be had from the disk.
    fn kept(&self, list: &SpeakingList, utterance: &Utterance) -> Option<(usize, Option<Sentence>)> {
        for (index, backend) in list.backends().iter().enumerate() {
            let asked = list.asked_of(index, utterance);
            if let Some((samples, times)) = self.kept.cache.get(backend.kept_as(), &asked) {
                times.made_by(backend.name());
                return Some((index, Some((samples, times))));
            }
            if self.kept.cache.is_on_disk(backend.kept_as(), &asked) {
                return Some((index, None));
            }
            if !backend.is_open(Moment::now()) {
                break;
            }
        }
        None
    }
}

/// Begins to say it. One alone has nobody behind it, and needs nobody to watch over it.
fn begin(list: &SpeakingList, utterance: &Utterance) -> SpeechStream {
    match list.backends() {
        [only] => {
            let stream = only.inner().synthesize(&list.asked_of(0, utterance));
            stream.times.made_by(only.name());
            stream
        }
        _ => list.synthesize(utterance),
    }
}

/// Keeps a sentence as what the one makes of it who made it.
async fn keep(
    kept: &KeptSounds,
    list: &SpeakingList,
    utterance: &Utterance,
    samples: Vec<i16>,
    times: &WordTimes,
) {
    let Some(made_by) = times.maker() else { return };
    let Some(index) = list.backends().iter().position(|backend| backend.name() == made_by) else { return };
    let asked = list.asked_of(index, utterance);
    kept.cache.keep(list.backends()[index].kept_as(), &asked, &samples.into(), times).await;
}

/// Passes a stream on, from the disk if it is there, and keeps it when it is whole.
fn through(
    kept: Arc<KeptSounds>,
    list: SpeakingList,
    utterance: Utterance,
    on_disk: Option<usize>,
) -> SpeechStream {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let times = WordTimes::default();
    let told = times.clone();
    let work = async move {
        if let Some(index) = on_disk {
            let backend = &list.backends()[index];
            let asked = list.asked_of(index, &utterance);
            if let Some((samples, ends)) = kept.cache.load(backend.kept_as(), &asked).await {
                told.made_by(backend.name());
                told.extend(ends.known());
                let _ = sender.send(Ok(samples.to_vec())).await;
                return;
            }
        }
        let mut stream = begin(&list, &utterance);
        let mut whole = Vec::new();
        loop {
            let item = tokio::select! {
                biased;
                () = sender.closed() => return,
                item = stream.chunks.recv() => item,
            };
            if let Some(maker) = stream.times.maker() {
                told.made_by(maker);
            }
            told.keep_up_with(&stream.times);
            match item {
                None => break,
                Some(item) => {
                    let failed = item.is_err();
                    if let Ok(chunk) = &item {
                        whole.extend_from_slice(chunk);
                    }
                    if sender.send(item).await.is_err() || failed {
                        return;
                    }
                }
            }
        }
        drop(sender);
        keep(&kept, &list, &utterance, whole, &stream.times).await;
    };
    tokio::spawn(work);
    SpeechStream { chunks, times }
}

impl Voices for EngineVoices {
    fn speak(&self, text: &str, voice: Option<&str>, rate: Rate) -> Source {
        let list = match self.list() {
            Ok(list) => list,
            Err(error) => return broken(error),
        };
        let utterance = self.utterance(text, voice, rate);
        let on_disk = match self.kept(list, &utterance) {
            Some((_, Some((samples, times)))) => return Source::Ready(samples, times),
            Some((index, None)) => Some(index),
            None => None,
        };
        let keeps = self.kept.all || lock(&self.fixed).contains(&utterance);
        Source::Stream(match on_disk {
            None if !keeps => begin(list, &utterance),
            on_disk => through(Arc::clone(&self.kept), list.clone(), utterance, on_disk),
        })
    }

    fn pays_ahead(&self, text: &str, voice: Option<&str>, rate: Rate) -> bool {
        let Some(list) = self.list.as_ref().filter(|list| list.is_embedded()) else { return false };
        let utterance = self.utterance(text, voice, rate);
        !lock(&self.fixed).contains(&utterance) && self.kept(list, &utterance).is_none()
    }

    fn play(&self, file: &Path, rate: Rate) -> Source {
        let key = (file.to_path_buf(), rate);
        let kept = Arc::clone(&self.kept);
        if let Some(samples) = lock(&kept.files).by_path.get(&key) {
            return Source::Ready(Arc::clone(samples), WordTimes::default());
        }
        let (sender, chunks) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let read = read(&key.0, rate);
            if let Ok(samples) = &read {
                lock(&kept.files).keep(key, samples);
            }
            // The call may be over by now.
            let _ = sender.blocking_send(read);
        });
        Source::Stream(SpeechStream { chunks, times: WordTimes::default() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds what is kept")
}

fn read(file: &Path, rate: Rate) -> Result<Vec<i16>, SpeechError> {
    let sound = wav::read(file).map_err(|error| SpeechError::Rejected(error.to_string()))?;
    resample::to_rate(&sound.samples, sound.rate_hz, rate)
        .map_err(|error| SpeechError::Rejected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::speech::Synthesizer;
    use crate::speech::fallback::{Backend, Patience};
    use crate::speech::prompts::disk::Disk;

    /// Says a sample for each character, when it is well.
    #[derive(Default)]
    struct Counter {
        said: AtomicUsize,
        ill: AtomicBool,
    }

    impl Synthesizer for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }

        fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
            let (sender, chunks) = mpsc::channel(2);
            let times = WordTimes::default();
            if self.ill.load(Ordering::Relaxed) {
                let failed = SpeechError::Failed { backend: "counter", what: "ill".into() };
                sender.try_send(Err(failed)).expect("room for one");
            } else {
                self.said.fetch_add(1, Ordering::Relaxed);
                times.extend([Duration::from_millis(1)]);
                sender.try_send(Ok(vec![1; utterance.text.len()])).expect("room for one");
            }
            SpeechStream { chunks, times }
        }
    }

    fn voices(counter: &Arc<Counter>, cache: PromptCache) -> EngineVoices {
        let backend = Backend::synthesizer(Arc::clone(counter) as Arc<dyn Synthesizer>);
        let list = SpeakingList::new(vec![Arc::new(backend)], Patience::USUAL);
        EngineVoices::new(Some(list), None, KeptSounds::new(cache, false))
    }

    /// How many samples are said, and whether they were there at once; waits until they are kept, if they will be.
    async fn said(voices: &EngineVoices, text: &str) -> (usize, bool) {
        match voices.speak(text, None, Rate::Hz8000) {
            Source::Ready(samples, times) => {
                assert_eq!((times.maker(), times.known().len()), (Some("counter"), 1));
                (samples.len(), true)
            }
            Source::Stream(mut stream) => {
                let mut count = 0;
                while let Some(Ok(chunk)) = stream.chunks.recv().await {
                    count += chunk.len();
                }
                assert_eq!(stream.times.maker(), Some("counter"));
                tokio::time::sleep(Duration::from_millis(50)).await;
                (count, false)
            }
        }
    }

    fn fixed(texts: &[&str]) -> Vec<Part> {
        texts.iter().map(|&text| Part::Text(text.to_owned())).collect()
    }

    #[tokio::test]
    async fn a_fixed_sentence_is_made_at_the_start_and_what_changes_is_not_kept() {
        let counter = Arc::new(Counter::default());
        let voices = voices(&counter, PromptCache::new(1_000));
        voices.warm(&fixed(&["Hello.", "Bye.", "A", "B", "C"]), None, Rate::Hz8000).await.expect("it speaks");
        assert_eq!(said(&voices, "Hello.").await, (6, true));
        assert_eq!(counter.said.load(Ordering::Relaxed), 5);
        for _ in 0..2 {
            assert_eq!(said(&voices, "You are number 7.").await, (17, false));
        }
    }

    #[tokio::test]
    async fn a_service_that_is_ill_at_the_start_is_asked_when_the_sentence_is_said_and_then_it_is_kept() {
        let counter = Arc::new(Counter { ill: true.into(), ..Counter::default() });
        let voices = voices(&counter, PromptCache::new(1_000));
        voices.warm(&fixed(&["Hello."]), None, Rate::Hz8000).await.expect("that is no reason not to start");
        counter.ill.store(false, Ordering::Relaxed);
        assert_eq!(said(&voices, "Hello.").await, (6, false));
        assert_eq!(said(&voices, "Hello.").await, (6, true));
    }

    #[tokio::test]
    async fn what_has_no_room_in_memory_comes_from_the_disk_and_what_is_damaged_there_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || PromptCache::new(0).with_disk(Disk::open(folder.path(), 1 << 20).unwrap());
        let counter = Arc::new(Counter::default());
        let before = voices(&counter, cache());
        before.warm(&fixed(&["Hello."]), None, Rate::Hz8000).await.expect("it speaks");
        let after = voices(&counter, cache());
        after.warm(&fixed(&["Hello."]), None, Rate::Hz8000).await.expect("it is there");
        assert_eq!((said(&after, "Hello.").await, counter.said.load(Ordering::Relaxed)), ((6, false), 1));
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            std::fs::write(file.path(), b"nonsense").unwrap();
        }
        assert_eq!((said(&after, "Hello.").await, counter.said.load(Ordering::Relaxed)), ((6, false), 2));
        assert_eq!(
            (said(&after, "Hello.").await, counter.said.load(Ordering::Relaxed)),
            ((6, false), 2),
            "kept anew"
        );
    }
}
