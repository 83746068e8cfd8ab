//! Sentences that are said again and again, kept as audio.
//!
//! A greeting that is in memory starts at once and costs nothing; one that is on the disk starts at once after a restart too,
//! and is paid for once. What is kept is found by who made it (with model and options), the voice, the text and the rate.
//!
//! # Parts
//!
//! - this file: what is in memory, a bounded number of bytes; what was used longest ago goes first;
//! - [`disk`]: what is in a folder, in the same way.
//!
//! # What it never does
//!
//! It synthesises nothing, waits for no disk on the thread of a call or of media, and writes no text anywhere: a file is named
//! by a hash, and has audio in it and the times of words.

pub mod disk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Utterance;
use super::words::WordTimes;
use disk::Disk;

/// Keeps synthesised sentences. Share it in an [`Arc`]; any thread.
pub struct PromptCache {
    state: Mutex<State>,
    most: usize,
    disk: Option<Arc<Disk>>,
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    backend: String,
    utterance: Utterance,
}

#[derive(Default)]
struct State {
    kept: HashMap<Key, Kept>,
    bytes: usize,
    /// Counts uses, so that the one used longest ago is known.
    uses: u64,
}

struct Kept {
    samples: Arc<[i16]>,
    times: WordTimes,
    used: u64,
}

/// A sentence, and when its words end.
pub type Sentence = (Arc<[i16]>, WordTimes);

impl PromptCache {
    /// A cache of at most `bytes` bytes of audio. A minute at 8 kHz takes a megabyte.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { state: Mutex::default(), most: bytes, disk: None }
    }

    /// And what is on the disk.
    #[must_use]
    pub fn with_disk(mut self, disk: Disk) -> Self {
        self.disk = Some(Arc::new(disk));
        self
    }

    /// The audio of `utterance` as `backend` says it, if it is in memory. Does not block.
    #[must_use]
    pub fn get(&self, backend: &str, utterance: &Utterance) -> Option<Sentence> {
        let key = Key { backend: backend.to_owned(), utterance: utterance.clone() };
        let mut state = self.lock();
        state.uses += 1;
        let now = state.uses;
        let kept = state.kept.get_mut(&key)?;
        kept.used = now;
        Some((Arc::clone(&kept.samples), kept.times.clone()))
    }

    /// Whether it is in memory or on the disk. Does not block.
    #[must_use]
    pub fn has(&self, backend: &str, utterance: &Utterance) -> bool {
        self.get(backend, utterance).is_some() || self.is_on_disk(backend, utterance)
    }

    /// Whether it is on the disk, as far as is known. Does not block.
    #[must_use]
    pub fn is_on_disk(&self, backend: &str, utterance: &Utterance) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.has(backend, utterance))
    }

    /// The audio from memory, or else from the disk, whence it comes into memory. Reads the disk on a thread of its own.
    pub async fn load(&self, backend: &str, utterance: &Utterance) -> Option<Sentence> {
        if let Some(kept) = self.get(backend, utterance) {
            return Some(kept);
        }
        let disk = Arc::clone(self.disk.as_ref().filter(|disk| disk.has(backend, utterance))?);
        let (name, wanted) = (backend.to_owned(), utterance.clone());
        let (samples, ends) = tokio::task::spawn_blocking(move || disk.read(&name, &wanted)).await.ok()??;
        let times = WordTimes::default();
        times.extend(ends);
        let samples: Arc<[i16]> = samples.into();
        self.keep_in_memory(backend, utterance, &samples, times.clone());
        Some((samples, times))
    }

    /// Keeps what `backend` made of `utterance`, in memory and on the disk, where there is one. Writes on a thread of its own.
    pub async fn keep(&self, backend: &str, utterance: &Utterance, samples: &Arc<[i16]>, times: &WordTimes) {
        // A copy: the times are those of this sentence from now on, whoever made them.
        let ends = times.known();
        let kept = WordTimes::default();
        kept.extend(ends.iter().copied());
        self.keep_in_memory(backend, utterance, samples, kept);
        if let Some(disk) = &self.disk {
            let (disk, name, said, samples) =
                (Arc::clone(disk), backend.to_owned(), utterance.clone(), Arc::clone(samples));
            // The disk says of its own troubles.
            let _ = tokio::task::spawn_blocking(move || disk.write(&name, &said, &samples, &ends)).await;
        }
    }

    /// Bytes of audio that are in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn keep_in_memory(&self, backend: &str, utterance: &Utterance, samples: &Arc<[i16]>, times: WordTimes) {
        let size = size_of_val::<[i16]>(samples);
        if size > self.most {
            return;
        }
        let key = Key { backend: backend.to_owned(), utterance: utterance.clone() };
        let mut state = self.lock();
        state.uses += 1;
        let kept = Kept { samples: Arc::clone(samples), times, used: state.uses };
        state.bytes += size;
        if let Some(before) = state.kept.insert(key, kept) {
            state.bytes -= size_of_val::<[i16]>(&before.samples);
        }
        while state.bytes > self.most {
            let oldest = state.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| state.kept.remove(&key)) else { break };
            state.bytes -= size_of_val::<[i16]>(&gone.samples);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The map and its count change together, without a panic in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audio::Rate;

    fn text(text: &str) -> Utterance {
        Utterance { text: text.to_owned(), voice: None, rate: Rate::Hz8000 }
    }

    async fn keep(cache: &PromptCache, said: &str) {
        let times = WordTimes::default();
        times.extend([Duration::from_millis(30)]);
        cache.keep("counter", &text(said), &vec![1; said.len()].into(), &times).await;
    }

    #[tokio::test]
    async fn the_one_used_longest_ago_goes() {
        let cache = PromptCache::new(20);
        keep(&cache, "aaaa").await;
        keep(&cache, "bbbb").await;
        assert_eq!(cache.bytes(), 16);
        assert_eq!(cache.get("counter", &text("aaaa")).expect("kept").0.len(), 4);
        keep(&cache, "cccc").await;
        assert!(!cache.has("counter", &text("bbbb")) && cache.has("counter", &text("aaaa")));
        assert!(!cache.has("another", &text("aaaa")), "somebody else's voice");
        assert_eq!(cache.bytes(), 16);
        keep(&cache, "longer than twenty bytes").await;
        assert_eq!(cache.bytes(), 16, "what is too large is not kept");
    }

    #[tokio::test]
    async fn what_is_on_the_disk_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || PromptCache::new(1_000).with_disk(Disk::open(folder.path(), 1 << 20).unwrap());
        keep(&cache(), "hello").await;
        let again = cache();
        assert!(again.get("counter", &text("hello")).is_none() && again.has("counter", &text("hello")));
        let (samples, times) = again.load("counter", &text("hello")).await.expect("on the disk");
        assert_eq!((&samples[..], times.known()), (&[1; 5][..], vec![Duration::from_millis(30)]));
        assert!(again.get("counter", &text("hello")).is_some(), "in memory from now on");
        assert!(again.load("counter", &text("other")).await.is_none());
    }
}
