//! Texts, and how each is spoken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::queue::{Queue, Text};
use super::shape::Shaper;
use super::voice::Voice;
use super::{FliteConfig, text};
use crate::audio::Rate;
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};
use crate::time::Moment;

/// Chunks that a stream holds. A text of [`Utterance::MAX_CHARS`] gives fewer at the pace of the voices' callbacks,
/// so that a listener in real time does not hold up a thread.
const CHUNKS: usize = 8_192;

/// Speaks with Flite. One for the whole engine; dropping it ends its threads.
pub struct FliteSynthesizer {
    queue: Arc<Queue<Job>>,
    default_voice: String,
    most: usize,
}

/// A text that is spoken, or is to be.
struct Job {
    voice: Voice,
    sentences: VecDeque<String>,
    shaper: Shaper,
    rate: Rate,
    chunks: mpsc::Sender<Result<Vec<i16>, SpeechError>>,
    times: WordTimes,
    /// When its listener has heard all of it that was made, if he hears it from its beginning on.
    due: Moment,
    /// Whether it has given way to others.
    rested: bool,
}

impl FliteSynthesizer {
    /// Registers the voices. Threads start with the first texts.
    ///
    /// # Errors
    /// [`SpeechError::Rejected`] when the configured voice is none of [`VOICES`](super::VOICES).
    pub fn new(config: FliteConfig) -> Result<Self, SpeechError> {
        Voice::find(&config.voice)?;
        Ok(Self {
            queue: Arc::new(Queue::new(config.threads)),
            default_voice: config.voice,
            most: config.queue.clamp(1, 65_536),
        })
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
        let (rate, due) = (utterance.rate, Moment::now());
        let job =
            Job { voice, sentences, shaper: Shaper::new(rate), rate, chunks, times, due, rested: false };
        match self.queue.add(job, self.most) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(failed("its queue is full: raise the number of its threads, or lower `limits.calls`"))
            }
            Err(error) => Err(failed(&format!("its thread does not start: {error}"))),
        }
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
        self.queue.close();
    }
}

impl Text for Job {
    fn speak(mut self, queue: &Arc<Queue<Self>>) {
        while let Some(sentence) = self.sentences.pop_front() {
            if !self.speak_a_sentence(&sentence, queue) {
                return;
            }
        }
        let mut out = Vec::new();
        self.shaper.finish(&mut out);
        if !out.is_empty() {
            send(&self.chunks, Ok(out));
        }
    }
}

impl Job {
    /// Tells whether somebody wants to hear more.
    fn speak_a_sentence(&mut self, sentence: &str, queue: &Arc<Queue<Self>>) -> bool {
        let Self { shaper, chunks, rate, due, rested, .. } = self;
        let from = shaper.position();
        let spoken = self.voice.speak(sentence, &mut |samples, hz| {
            let mut out = Vec::with_capacity(samples.len());
            shaper.push(samples, hz, &mut out);
            if out.is_empty() {
                return !chunks.is_closed();
            }
            *due = Moment::now().max(*due) + rate.duration(out.len() as u64);
            send(chunks, Ok(out)) && queue.go_on(*due, rested)
        });
        match spoken {
            Ok(ends) => self.times.extend(word_ends(sentence, &ends, |end| shaper.heard_at(from, end))),
            Err(e) => {
                send(chunks, Err(e));
                return false;
            }
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
    fn the_last_of_many_texts_begins_before_the_first_has_ended() {
        let flite = synthesizer(1);
        let long = say(&"this goes on and on ".repeat(40), "slt");
        let mut first = flite.synthesize(&long);
        let others: Vec<_> = (0..10).map(|_| flite.synthesize(&long)).collect();
        for mut other in others {
            assert!(other.chunks.blocking_recv().expect("audio").is_ok());
        }
        while let Ok(chunk) = first.chunks.try_recv() {
            chunk.expect("it can be said");
        }
        assert!(!first.chunks.is_closed(), "it is still being made");
        assert!(!all(first).is_empty(), "and goes on");
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
