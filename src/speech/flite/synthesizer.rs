//! The threads that speak, and the queue before them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::shape::Shaper;
use super::voice::Voice;
use super::{FliteConfig, text};
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};

/// Chunks that a stream holds. A text of [`Utterance::MAX_CHARS`] gives fewer at the pace of the voices' callbacks,
/// so that a listener in real time does not hold up a thread.
const CHUNKS: usize = 8_192;

/// Speaks with Flite. One for the whole engine; dropping it ends its threads after the sentence at hand.
pub struct FliteSynthesizer {
    shared: Arc<Shared>,
    default_voice: String,
    queue: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    fresh: VecDeque<Job>,
    begun: VecDeque<Job>,
    closed: bool,
}

struct Job {
    voice: Voice,
    sentences: VecDeque<String>,
    shaper: Shaper,
    chunks: mpsc::Sender<Result<Vec<i16>, SpeechError>>,
    times: WordTimes,
}

impl FliteSynthesizer {
    /// Registers the voices and starts the threads.
    ///
    /// # Errors
    /// [`SpeechError::Rejected`] when the configured voice is none of [`VOICES`](super::VOICES), and
    /// [`SpeechError::Failed`] when a thread does not start.
    pub fn new(config: FliteConfig) -> Result<Self, SpeechError> {
        Voice::find(&config.voice)?;
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new() });
        let this = Self {
            shared: Arc::clone(&shared),
            default_voice: config.voice,
            queue: config.queue.clamp(1, 65_536),
        };
        for _ in 0..config.threads.clamp(1, 64) {
            let shared = Arc::clone(&shared);
            let spawned =
                std::thread::Builder::new().name("offhook-flite".to_owned()).spawn(move || shared.serve());
            spawned.map_err(|e| failed(&format!("its thread does not start: {e}")))?;
        }
        Ok(this)
    }

    fn accept(
        &self,
        utterance: &Utterance,
        chunks: mpsc::Sender<Result<Vec<i16>, SpeechError>>,
        times: WordTimes,
    ) -> Result<(), SpeechError> {
        let length = utterance.text.chars().count();
        if length > Utterance::MAX_CHARS {
            return Err(SpeechError::Rejected(format!(
                "the text to be said has {length} characters: say at most {} at a time",
                Utterance::MAX_CHARS
            )));
        }
        let voice = Voice::find(utterance.voice.as_deref().unwrap_or(&self.default_voice))?;
        let sentences: VecDeque<String> = text::sentences(&utterance.text).into();
        if sentences.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.lock();
        if state.fresh.len() + state.begun.len() >= self.queue {
            return Err(failed(
                "its queue is full: raise the number of its threads, or lower `limits.calls`",
            ));
        }
        state.fresh.push_back(Job { voice, sentences, shaper: Shaper::new(utterance.rate), chunks, times });
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Synthesizer for FliteSynthesizer {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let times = WordTimes::default();
        if let Err(e) = self.accept(utterance, sender.clone(), times.clone()) {
            // The channel is new and empty, and its receiver is here.
            let _ = sender.try_send(Err(e));
        }
        SpeechStream { chunks, times }
    }

    fn is_embedded(&self) -> bool {
        true
    }
}

impl Drop for FliteSynthesizer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.fresh.clear();
        state.begun.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The queues are whole at every moment, also when a thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life: a sentence at a time, new texts first.
    fn serve(&self) {
        while let Some(mut job) = self.next() {
            if job.speak_a_sentence() {
                let mut state = self.lock();
                if !state.closed {
                    state.begun.push_back(job);
                }
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let job = state.fresh.pop_front();
            if let Some(job) = job.or_else(|| state.begun.pop_front()) {
                return Some(job);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Job {
    /// Speaks the next sentence; tells whether there are more.
    fn speak_a_sentence(&mut self) -> bool {
        let Some(sentence) = self.sentences.pop_front() else { return false };
        let Self { shaper, chunks, .. } = self;
        let from = shaper.position();
        let spoken = self.voice.speak(&sentence, &mut |samples, hz| {
            let mut out = Vec::with_capacity(samples.len());
            shaper.push(samples, hz, &mut out);
            if out.is_empty() { !chunks.is_closed() } else { send(chunks, Ok(out)) }
        });
        match spoken {
            Ok(ends) => self.times.extend(word_ends(&sentence, &ends, |end| shaper.heard_at(from, end))),
            Err(e) => {
                send(chunks, Err(e));
                return false;
            }
        }
        if self.sentences.is_empty() {
            let mut out = Vec::new();
            shaper.finish(&mut out);
            if !out.is_empty() {
                send(chunks, Ok(out));
            }
            return false;
        }
        !chunks.is_closed()
    }
}

/// The end of each word of a sentence, out of those of its tokens, which are nearly always the same.
fn word_ends<'a>(
    sentence: &str,
    ends: &'a [f32],
    heard_at: impl Fn(f32) -> Duration + 'a,
) -> impl Iterator<Item = Duration> + 'a {
    let words = sentence.split_whitespace().count();
    let token = move |word: usize| ((word + 1) * ends.len()).div_ceil(words) - 1;
    (0..words).filter_map(move |word| Some(heard_at(*ends.get(token(word))?)))
}

/// Sends a chunk; false when nobody wants it. Waits only for a listener that is behind by a whole stream.
fn send(chunks: &mpsc::Sender<Result<Vec<i16>, SpeechError>>, chunk: Result<Vec<i16>, SpeechError>) -> bool {
    match chunks.try_send(chunk) {
        Ok(()) => true,
        Err(mpsc::error::TrySendError::Closed(_)) => false,
        Err(mpsc::error::TrySendError::Full(chunk)) => chunks.blocking_send(chunk).is_ok(),
    }
}

fn failed(what: &str) -> SpeechError {
    SpeechError::Failed { backend: super::NAME, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    fn synthesizer(threads: usize) -> FliteSynthesizer {
        FliteSynthesizer::new(FliteConfig { threads, ..FliteConfig::default() }).expect("Flite is there")
    }

    fn say(text: &str, voice: &str) -> Utterance {
        Utterance { text: text.to_owned(), voice: Some(voice.to_owned()), rate: Rate::Hz8000 }
    }

    fn all(mut stream: SpeechStream) -> Vec<i16> {
        let mut samples = Vec::new();
        while let Some(chunk) = stream.chunks.blocking_recv() {
            samples.extend(chunk.expect("it can be said"));
        }
        samples
    }

    /// FNV-1a over the samples.
    fn digest(samples: &[i16]) -> u64 {
        samples
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn every_voice_speaks_at_both_rates() {
        let flite = synthesizer(2);
        for voice in crate::speech::flite::VOICES {
            let short = all(flite.synthesize(&say("Hello, who is calling?", voice)));
            let wide =
                all(flite
                    .synthesize(&Utterance { rate: Rate::Hz16000, ..say("Hello, who is calling?", voice) }));
            assert!((6_000..20_000).contains(&short.len()), "{voice}: {}", short.len());
            assert!(
                wide.len().abs_diff(2 * short.len()) < 3_000,
                "{voice}: {} and {}",
                wide.len(),
                short.len()
            );
        }
    }

    #[test]
    fn the_noise_of_a_vocoder_does_not_move_the_first_word() {
        let flite = synthesizer(2);
        let greeting = Utterance { rate: Rate::Hz16000, ..say("Hello, who is calling?", "awb") };
        let lengths: Vec<_> = (0..10).map(|_| all(flite.synthesize(&greeting)).len()).collect();
        let spread = lengths.iter().max().unwrap() - lengths.iter().min().unwrap();
        assert!(spread < 1_200, "{lengths:?}");
    }

    #[test]
    fn every_voice_tells_when_its_words_end() {
        let flite = synthesizer(1);
        let text = "Hello, this is the front desk. Would you like sales, or support?";
        for voice in crate::speech::flite::VOICES {
            let mut stream = flite.synthesize(&say(text, voice));
            let mut samples = 0;
            while let Some(chunk) = stream.chunks.blocking_recv() {
                samples += chunk.expect("it can be said").len();
            }
            let (times, whole) = (stream.times.known(), Rate::Hz8000.duration(samples as u64));
            assert_eq!(times.len(), 12, "{voice}: {times:?}");
            assert!(times.is_sorted() && times[0] > Duration::from_millis(150), "{voice}: {times:?}");
            let last = whole.abs_diff(times[11]);
            assert!(last < Duration::from_millis(150), "{voice}: {times:?} of {whole:?}");
        }
    }

    #[test]
    fn the_small_voice_says_the_same_twice() {
        let flite = synthesizer(2);
        let once = all(flite.synthesize(&say("One two three.", "kal16")));
        let again = all(flite.synthesize(&say("One two three.", "kal16")));
        assert_eq!(digest(&once), digest(&again));
    }

    #[test]
    fn the_first_audio_comes_before_the_sentence_is_whole() {
        let flite = synthesizer(1);
        let text =
            "I am a rather long sentence that goes on and on until nobody remembers how it began at all";
        let mut stream = flite.synthesize(&say(text, "slt"));
        let first = stream.chunks.blocking_recv().expect("audio").expect("it can be said");
        let rest = all(stream);
        assert!(first.len() * 10 < rest.len(), "{} of {}", first.len(), rest.len());
    }

    #[test]
    fn dropping_the_stream_frees_the_thread_in_the_middle_of_a_word() {
        let flite = synthesizer(1);
        let long = "antidisestablishmentarianism ".repeat(8);
        for _ in 0..20 {
            let mut stream = flite.synthesize(&say(&long, "rms"));
            assert!(stream.chunks.blocking_recv().is_some());
        }
        // The only thread is soon free for this one.
        assert!(!all(flite.synthesize(&say("Free.", "kal16"))).is_empty());
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_what_can() {
        let flite = synthesizer(1);
        let refusal = |utterance: &Utterance| {
            let mut stream = flite.synthesize(utterance);
            stream.chunks.blocking_recv().expect("an item").expect_err("refused").to_string()
        };
        assert!(refusal(&say("Hello.", "bob")).contains("choose one of slt, rms, awb, kal16, kal"));
        assert!(refusal(&say(&"a".repeat(Utterance::MAX_CHARS + 1), "slt")).contains("at most 1000"));
        assert!(all(flite.synthesize(&say(" ... ", "slt"))).is_empty());
        assert!(!all(flite.synthesize(&say(&"a ".repeat(Utterance::MAX_CHARS / 2), "kal"))).is_empty());
    }
}
