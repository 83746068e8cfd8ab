//! Text and files into a call's voice.

use std::sync::Arc;

use super::Prompt;
use super::pump::{Maker, Prepared, Pump};
use crate::audio::Rate;
use crate::audio::ring::{PlayId, VoiceWriter};
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream};
use crate::time::Moment;

/// Makes audio of prompts, for every call of the engine.
pub trait Voices: Send + Sync {
    /// Begins to say `text`; returns at once.
    fn speak(&self, text: &str, voice: Option<&str>, rate: Rate) -> Source;

    /// Begins to play a WAV file; returns at once.
    fn play(&self, file: &std::path::Path, rate: Rate) -> Source;

    /// Whether it pays to make a text that may be said soon: it is not kept, and to make it for nothing costs no more than some of
    /// this machine's time.
    fn pays_ahead(&self, _text: &str, _voice: Option<&str>, _rate: Rate) -> bool {
        false
    }
}

/// Audio that is there, or is coming.
pub enum Source {
    /// All of it, and when its words end.
    Ready(Arc<[i16]>, WordTimes),
    /// As it is made.
    Stream(SpeechStream),
}

/// A call's mouth: one thing is said at a time.
pub struct Speaker {
    voice: VoiceWriter,
    voices: Arc<dyn Voices>,
    rate: Rate,
    last: PlayId,
}

impl Speaker {
    /// A mouth that speaks into `voice` at `rate`.
    #[must_use]
    pub fn new(voice: VoiceWriter, voices: Arc<dyn Voices>, rate: Rate) -> Self {
        Self { voice, voices, rate, last: PlayId::default() }
    }

    /// What makes prompts ready ahead.
    pub(super) fn maker(&self) -> Maker {
        Maker::new(Arc::clone(&self.voices), self.rate)
    }

    /// Begins to say a prompt: all of its pieces are being made from now on, in order.
    pub(super) fn begin(&mut self, prompt: &Prompt) -> Pump<'_> {
        let prepared = self.maker().prepare(Moment::now(), prompt.clone());
        self.begin_prepared(prepared)
    }

    /// The sample rate of what is said.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Begins to say audio that somebody else makes; `prompt` is its one piece, by name.
    pub(super) fn begin_given(&mut self, prompt: &Prompt, sound: SpeechStream) -> Pump<'_> {
        let given = self.maker().given(Moment::now(), prompt.clone(), sound);
        self.begin_prepared(given)
    }

    /// Says what was prepared.
    pub(super) fn begin_prepared(&mut self, prepared: Prepared) -> Pump<'_> {
        self.last.0 += 1;
        prepared.begin(&self.voice, self.last)
    }
}

/// A source that says only why there is no audio.
#[must_use]
pub fn broken(error: SpeechError) -> Source {
    let (sender, chunks) = tokio::sync::mpsc::channel(1);
    // The channel is new and has room for one.
    let _ = sender.try_send(Err(error));
    Source::Stream(SpeechStream { chunks, times: WordTimes::default() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::pump::Progress;
    use super::super::{CallError, Part, clauses};
    use super::*;
    use crate::audio::ring::{self, VoiceItem};

    struct Fixed;

    impl Voices for Fixed {
        fn speak(&self, text: &str, _: Option<&str>, _: Rate) -> Source {
            match text {
                "broken" => broken(SpeechError::Busy),
                _ => Source::Ready(vec![700; text.len() * 100].into(), WordTimes::default()),
            }
        }

        fn play(&self, _: &std::path::Path, _: Rate) -> Source {
            Source::Ready(Vec::new().into(), WordTimes::default())
        }
    }

    fn speaker() -> (Speaker, ring::VoiceReader) {
        let (writer, reader) = ring::voice(64);
        (Speaker::new(writer, Arc::new(Fixed), Rate::Hz8000), reader)
    }

    #[tokio::test]
    async fn pieces_follow_each_other_without_a_gap_and_the_last_frame_is_filled_with_silence() {
        let (mut speaker, reader) = speaker();
        let prompt = Prompt {
            parts: vec![Part::Text("ab".into()), Part::File("x.wav".into()), Part::Text("c".into())],
            ..Prompt::default()
        };
        let mut pump = speaker.begin(&prompt);
        assert_eq!(pump.length(), Some(Duration::from_micros(37_500)), "known before it is played");
        let Progress::Over(pumped) = pump.run().await.expect("it can be said") else { panic!("no stream") };
        assert_eq!(pump.length(), Some(pumped.total));
        assert_eq!(pumped.total, Duration::from_micros(37_500));
        let mut samples = Vec::new();
        while let Some(VoiceItem::Audio(play, frame)) = reader.pop() {
            assert_eq!(play, pumped.play);
            samples.extend(frame.samples);
        }
        assert_eq!(samples.len(), 320);
        assert!(samples[..300].iter().all(|&s| s == 700) && samples[300..].iter().all(|&s| s == 0));
    }

    #[tokio::test]
    async fn a_synthesiser_that_fails_is_told_of() {
        let (mut speaker, _reader) = speaker();
        let mut pump = speaker.begin(&"broken".into());
        assert_eq!(pump.length(), None);
        let failed = pump.run().await;
        assert!(matches!(failed, Err(CallError::Speech(SpeechError::Busy))));
    }

    #[tokio::test(start_paused = true)]
    async fn clauses_are_said_as_they_are_written_and_the_next_one_is_made_meanwhile() {
        let (mut speaker, reader) = speaker();
        let (writer, stream) = clauses::clauses();
        let mut pump = speaker.begin(&stream.into());
        assert_eq!(pump.length(), None, "nobody knows how long it will be");
        writer.say("ab,").await.expect("heard");
        assert!(matches!(pump.run().await, Ok(Progress::Clause(text)) if text == "ab,"));
        assert!(tokio::time::timeout(Duration::from_secs(1), pump.run()).await.is_err(), "there may be more");
        let mut frames = 0;
        while let Some(VoiceItem::Audio(..)) = reader.pop() {
            frames += 1;
        }
        assert_eq!(frames, 2, "all of the clause went out, its end in a frame of its own");
        writer.say("cd.").await.expect("heard");
        assert!(matches!(pump.run().await, Ok(Progress::Clause(text)) if text == "cd."));
        writer.hand_back().await.expect("heard");
        let Ok(Progress::Over(pumped)) = pump.run().await else { panic!("it is over") };
        assert!(pumped.hands_back);
        assert_eq!(pumped.track.words(Duration::MAX), "ab, cd.");
        assert_eq!(pumped.total, Duration::from_millis(40) + Duration::from_micros(37_500));
    }

    #[tokio::test(start_paused = true)]
    async fn sentences_that_are_there_have_a_pause_between_them_that_belongs_to_none() {
        let (mut speaker, reader) = speaker();
        let (writer, stream) = clauses::clauses();
        for clause in ["abcd.", "ef"] {
            writer.say(clause).await.expect("heard");
        }
        drop(writer);
        let mut pump = speaker.begin(&stream.into());
        let pumped = loop {
            match pump.run().await.expect("it can be said") {
                Progress::Clause(_) => {}
                Progress::Over(pumped) => break pumped,
            }
        };
        assert!(!pumped.hands_back);
        let mut samples = Vec::new();
        while let Some(VoiceItem::Audio(_, frame)) = reader.pop() {
            samples.extend(frame.samples);
        }
        let quiet = samples.iter().skip(500).take_while(|sample| **sample == 0).count();
        assert_eq!(quiet, 2_000, "250 ms");
        assert_eq!(pumped.track.words(Duration::from_millis(300)), "abcd.");
        assert_eq!(pumped.track.words(Duration::MAX), "abcd. ef");
    }

    #[tokio::test]
    async fn who_drops_the_play_stops_the_writer_and_is_told_what_was_not_said() {
        let (mut speaker, _reader) = speaker();
        let (writer, stream) = clauses::clauses();
        for clause in ["One.", "Two.", "Three.", "Four.", "Five."] {
            writer.say(clause).await.expect("heard");
        }
        let mut pump = speaker.begin(&stream.into());
        assert!(matches!(pump.run().await, Ok(Progress::Clause(_))));
        let track = pump.cut();
        assert!(track.is_unfinished(), "the writer had not ended");
        assert!(writer.is_unheard());
        assert_eq!(track.words(Duration::MAX), "One.");
    }
}
