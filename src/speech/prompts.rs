//! Sentences that are said again and again, kept as audio.
//!
//! A greeting that is in memory starts at once and costs nothing. The cache holds a bounded number of bytes; what was
//! used longest ago goes first. It never synthesises on the caller's thread and never on a media thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::words::WordTimes;
use super::{SpeechError, Synthesizer, Utterance};

/// Keeps synthesised sentences. Share it in an [`Arc`]; any thread.
pub struct PromptCache {
    state: Mutex<State>,
    most: usize,
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    backend: &'static str,
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

impl PromptCache {
    /// A cache of at most `bytes` bytes of audio. A minute at 8 kHz takes a megabyte.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { state: Mutex::default(), most: bytes }
    }

    /// The audio of `utterance` as `synthesizer` says it, if it is kept. Does not block.
    #[must_use]
    pub fn get(&self, synthesizer: &dyn Synthesizer, utterance: &Utterance) -> Option<Arc<[i16]>> {
        self.get_timed(synthesizer, utterance).map(|(samples, _)| samples)
    }

    /// The same, with the times of its words.
    #[must_use]
    pub fn get_timed(
        &self,
        synthesizer: &dyn Synthesizer,
        utterance: &Utterance,
    ) -> Option<(Arc<[i16]>, WordTimes)> {
        let key = Key { backend: synthesizer.name(), utterance: utterance.clone() };
        let mut state = self.lock();
        state.uses += 1;
        let now = state.uses;
        let kept = state.kept.get_mut(&key)?;
        kept.used = now;
        Some((Arc::clone(&kept.samples), kept.times.clone()))
    }

    /// The audio of `utterance`: kept, or made now and kept. Two who ask for the same at once may both make it.
    ///
    /// # Errors
    /// What the synthesiser says.
    pub async fn fetch(
        &self,
        synthesizer: &dyn Synthesizer,
        utterance: &Utterance,
    ) -> Result<Arc<[i16]>, SpeechError> {
        if let Some(kept) = self.get(synthesizer, utterance) {
            return Ok(kept);
        }
        let mut stream = synthesizer.synthesize(utterance);
        let mut samples = Vec::new();
        while let Some(chunk) = stream.chunks.recv().await {
            samples.extend(chunk?);
        }
        let samples: Arc<[i16]> = samples.into();
        self.keep(Key { backend: synthesizer.name(), utterance: utterance.clone() }, &samples, stream.times);
        Ok(samples)
    }

    /// Makes and keeps all of `utterances`, as at the start of the engine.
    ///
    /// # Errors
    /// The first that cannot be said ends it; those before it are kept.
    pub async fn warm(
        &self,
        synthesizer: &dyn Synthesizer,
        utterances: impl IntoIterator<Item = Utterance>,
    ) -> Result<(), SpeechError> {
        for utterance in utterances {
            self.fetch(synthesizer, &utterance).await?;
        }
        Ok(())
    }

    /// Bytes of audio that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn keep(&self, key: Key, samples: &Arc<[i16]>, times: WordTimes) {
        let size = size_of_val::<[i16]>(samples);
        if size > self.most {
            return;
        }
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::audio::Rate;
    use crate::speech::SpeechStream;
    use crate::speech::words::WordTimes;

    /// Says as many samples as the text has characters, and counts how often it speaks.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Synthesizer for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }

        fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
            self.0.fetch_add(1, Ordering::Relaxed);
            let (sender, chunks) = mpsc::channel(2);
            let said = match utterance.text.as_str() {
                "bad" => Err(SpeechError::Rejected("bad".to_owned())),
                text => Ok(vec![1; text.len()]),
            };
            sender.try_send(said).expect("room for one");
            SpeechStream { chunks, times: WordTimes::default() }
        }
    }

    fn text(text: &str) -> Utterance {
        Utterance { text: text.to_owned(), voice: None, rate: Rate::Hz8000 }
    }

    #[tokio::test]
    async fn a_sentence_is_made_once_and_the_one_used_longest_ago_goes() {
        let (cache, voice) = (PromptCache::new(20), Counter::default());
        cache.warm(&voice, [text("aaaa"), text("bbbb")]).await.expect("said");
        assert_eq!(cache.bytes(), 16);
        assert_eq!(cache.fetch(&voice, &text("aaaa")).await.expect("kept").len(), 4);
        assert_eq!(voice.0.load(Ordering::Relaxed), 2);
        cache.fetch(&voice, &text("cccc")).await.expect("said");
        assert!(cache.get(&voice, &text("bbbb")).is_none() && cache.get(&voice, &text("aaaa")).is_some());
        assert_eq!(cache.bytes(), 16);
    }

    #[tokio::test]
    async fn what_is_too_large_or_cannot_be_said_is_not_kept() {
        let (cache, voice) = (PromptCache::new(10), Counter::default());
        assert_eq!(cache.fetch(&voice, &text("longer than that")).await.expect("said").len(), 16);
        assert!(cache.fetch(&voice, &text("bad")).await.is_err());
        assert_eq!(cache.bytes(), 0);
    }
}
