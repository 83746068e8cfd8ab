//! Text and files into a call's voice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::track::Track;
use super::{CallError, Part, Prompt};
use crate::audio::ring::{PlayId, VoiceItem, VoiceWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream};
use crate::time::Moment;

/// Samples that are taken at once from audio that is all there.
const PIECE: usize = 10 * FRAME_SAMPLES;

/// Makes audio of prompts, for every call of the engine.
pub trait Voices: Send + Sync {
    /// Begins to say `text`; returns at once.
    fn speak(&self, text: &str, voice: Option<&str>, rate: Rate) -> Source;

    /// Begins to play a WAV file; returns at once.
    fn play(&self, file: &std::path::Path, rate: Rate) -> Source;
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
        Maker { voices: Arc::clone(&self.voices), rate: self.rate }
    }

    /// Begins to say a prompt: all of its pieces are being made from now on, in order.
    pub(super) fn begin(&mut self, prompt: &Prompt) -> Pump<'_> {
        let prepared = self.maker().prepare(Moment::now(), prompt.clone());
        self.begin_prepared(prepared)
    }

    /// Says what was prepared.
    pub(super) fn begin_prepared(&mut self, prepared: Prepared) -> Pump<'_> {
        self.last.0 += 1;
        let Prepared { prompt, sources, head, ready, .. } = prepared;
        let times = sources.iter().map(|source| match source {
            Source::Ready(_, times) => times.clone(),
            Source::Stream(stream) => stream.times.clone(),
        });
        let mut track = Track::new(self.rate, prompt.parts.into_iter().zip(times));
        track.add(0, head.len());
        Pump {
            voice: &self.voice,
            play: self.last,
            rate: self.rate,
            sources,
            piece: 0,
            track,
            taken: 0,
            samples: head.len() as u64,
            skip: 0,
            buffer: head.into(),
            item: None,
            first_audio: ready,
        }
    }
}

/// Makes prompts ready ahead of their time.
#[derive(Clone)]
pub(super) struct Maker {
    voices: Arc<dyn Voices>,
    rate: Rate,
}

impl Maker {
    /// Begins to make all pieces of a prompt.
    pub fn prepare(&self, now: Moment, prompt: Prompt) -> Prepared {
        let sources = prompt.parts.iter().map(|part| match part {
            Part::Text(text) => self.voices.speak(text, prompt.voice.as_deref(), self.rate),
            Part::File(file) => self.voices.play(file, self.rate),
        });
        let sources: VecDeque<Source> = sources.collect();
        let ready = matches!(sources.front(), None | Some(Source::Ready(..))).then_some(now);
        Prepared { prompt, began: now, sources, head: Vec::new(), ready }
    }

    /// Makes a prompt without saying it: where its pieces and words would be.
    pub async fn measure(&self, prompt: &Prompt) -> Track {
        let sources = self.prepare(Moment::ZERO, prompt.clone()).sources;
        let mut samples = Vec::with_capacity(sources.len());
        let mut times = Vec::with_capacity(sources.len());
        for source in sources {
            let (count, ends) = match source {
                Source::Ready(samples, ends) => (samples.len(), ends),
                Source::Stream(mut stream) => {
                    let mut count = 0;
                    // What cannot be made is told when it is to be said.
                    while let Some(Ok(chunk)) = stream.chunks.recv().await {
                        count += chunk.len();
                    }
                    (count, stream.times)
                }
            };
            samples.push(count);
            times.push(ends);
        }
        let mut track = Track::new(self.rate, prompt.parts.iter().cloned().zip(times));
        for (index, samples) in samples.into_iter().enumerate() {
            track.add(index, samples);
            track.finish(index);
        }
        track
    }
}

/// A prompt that is being made before it is known whether it will be said. Dropping it stops the synthesiser.
pub(super) struct Prepared {
    pub prompt: Prompt,
    /// When that began.
    pub began: Moment,
    /// Of its pieces, in order.
    sources: VecDeque<Source>,
    /// The first samples, taken out of the first source.
    head: Vec<i16>,
    /// When they were there.
    pub ready: Option<Moment>,
}

impl Prepared {
    /// Waits for the first audio, unless it is there. Cancel-safe.
    pub async fn prime(&mut self) {
        if self.ready.is_some() {
            return std::future::pending().await;
        }
        let Some(Source::Stream(stream)) = self.sources.front_mut() else {
            return std::future::pending().await;
        };
        match stream.chunks.recv().await {
            Some(Ok(chunk)) => {
                self.head = chunk;
                self.ready = Some(Moment::now());
            }
            failed => {
                // It is told when it is to be said.
                let error = failed.and_then(Result::err);
                self.sources[0] =
                    error.map_or_else(|| Source::Ready(Vec::new().into(), WordTimes::default()), broken);
                self.ready = Some(Moment::now());
            }
        }
    }
}

/// One play on its way into the ring. Dropping it stops the synthesiser.
pub(super) struct Pump<'a> {
    voice: &'a VoiceWriter,
    play: PlayId,
    rate: Rate,
    sources: VecDeque<Source>,
    /// Which piece of the prompt the first of them is.
    piece: usize,
    track: Track,
    /// How much of a ready source has been taken.
    taken: usize,
    /// Samples that do not yet fill a frame; bounded by the size of one chunk.
    buffer: VecDeque<i16>,
    /// What waits for room in the ring.
    item: Option<VoiceItem>,
    samples: u64,
    /// Samples of the beginning that are left out.
    skip: usize,
    first_audio: Option<Moment>,
}

/// A play that is all in the ring.
pub(super) struct Pumped {
    pub play: PlayId,
    /// How long it is.
    pub total: Duration,
    /// When its first audio was there.
    pub first_audio: Option<Moment>,
    /// Where its pieces are in it.
    pub track: Track,
}

impl Pump<'_> {
    pub fn play(&self) -> PlayId {
        self.play
    }

    /// Leaves its beginning out: another process has played it.
    pub fn skip(&mut self, heard: Duration) {
        self.skip =
            usize::try_from(heard.as_micros() * u128::from(self.rate.hz()) / 1_000_000).unwrap_or(usize::MAX);
        self.track.heard_before(heard);
    }

    /// How long all of it is; [`None`] while some of it is still to be made.
    pub fn length(&self) -> Option<Duration> {
        let ready = self.sources.iter().map(|source| match source {
            Source::Ready(samples, _) => Some(samples.len() as u64),
            Source::Stream(_) => None,
        });
        let left = ready.sum::<Option<u64>>()?;
        Some(self.rate.duration(self.samples + left - self.taken as u64))
    }

    /// Where its pieces stand in what was handed over so far.
    pub fn track(&self) -> Track {
        let mut track = self.track.clone();
        // What is ready is known to its end before it is handed over.
        for (index, source) in self.sources.iter().enumerate() {
            if let Source::Ready(samples, _) = source {
                let taken = if index == 0 { self.taken } else { 0 };
                track.add(self.piece + index, samples.len() - taken);
                track.finish(self.piece + index);
            }
        }
        track
    }

    /// Moves audio until all is in the ring. Cancel-safe: call it again to go on.
    pub async fn run(&mut self) -> Result<Pumped, CallError> {
        loop {
            if let Some(item) = self.item {
                self.voice.push(item).await.map_err(|_| CallError::MediaEnded)?;
                self.item = None;
                if matches!(item, VoiceItem::End(_)) {
                    let total = self.rate.duration(self.samples);
                    let (first_audio, track) = (self.first_audio, self.track.clone());
                    return Ok(Pumped { play: self.play, total, first_audio, track });
                }
            }
            let left_out = self.skip.min(self.buffer.len());
            self.buffer.drain(..left_out);
            self.skip -= left_out;
            self.item = if self.buffer.len() >= FRAME_SAMPLES {
                Some(VoiceItem::Audio(self.play, self.take_frame()))
            } else if self.refill().await? {
                None
            } else if !self.buffer.is_empty() {
                Some(VoiceItem::Audio(self.play, self.take_frame()))
            } else {
                Some(VoiceItem::End(self.play))
            };
        }
    }

    /// Gets more audio; `false` when there is none left.
    async fn refill(&mut self) -> Result<bool, CallError> {
        let mut over = false;
        let samples = match self.sources.front_mut() {
            None => return Ok(false),
            Some(Source::Ready(samples, _)) => {
                // In pieces, so that a long recording is not copied for each of a hundred calls.
                let piece = &samples[self.taken..samples.len().min(self.taken + PIECE)];
                self.buffer.extend(piece);
                let count = piece.len();
                self.taken += count;
                over = self.taken == samples.len();
                count
            }
            Some(Source::Stream(stream)) => match stream.chunks.recv().await {
                Some(Ok(chunk)) => {
                    self.buffer.extend(&chunk);
                    chunk.len()
                }
                Some(Err(error)) => {
                    self.sources.pop_front();
                    return Err(error.into());
                }
                None => {
                    over = true;
                    0
                }
            },
        };
        self.track.add(self.piece, samples);
        if over {
            self.track.finish(self.piece);
            (self.piece, self.taken) = (self.piece + 1, 0);
            self.sources.pop_front();
        }
        self.samples += samples as u64;
        if samples > 0 {
            self.first_audio.get_or_insert_with(Moment::now);
        }
        Ok(true)
    }

    /// The next frame; its end is silence when there is too little left.
    fn take_frame(&mut self) -> Frame {
        let mut frame = Frame::silence(self.rate);
        let count = self.buffer.len().min(FRAME_SAMPLES);
        for (slot, sample) in frame.samples.iter_mut().zip(self.buffer.drain(..count)) {
            *slot = sample;
        }
        frame
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
    use super::*;
    use crate::audio::ring;

    struct Fixed;

    impl Voices for Fixed {
        fn speak(&self, text: &str, _: Option<&str>, _: Rate) -> Source {
            match text {
                "broken" => broken(SpeechError::Busy),
                _ => Source::Ready(vec![7; text.len() * 100].into(), WordTimes::default()),
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
        let pumped = pump.run().await.expect("it can be said");
        assert_eq!(pump.length(), Some(pumped.total));
        assert_eq!(pumped.total, Duration::from_micros(37_500));
        let mut samples = Vec::new();
        while let Some(VoiceItem::Audio(play, frame)) = reader.pop() {
            assert_eq!(play, pumped.play);
            samples.extend(frame.samples);
        }
        assert_eq!(samples.len(), 320);
        assert!(samples[..300].iter().all(|&s| s == 7) && samples[300..].iter().all(|&s| s == 0));
    }

    #[tokio::test]
    async fn a_synthesiser_that_fails_is_told_of() {
        let (mut speaker, _reader) = speaker();
        let mut pump = speaker.begin(&"broken".into());
        assert_eq!(pump.length(), None);
        let failed = pump.run().await;
        assert!(matches!(failed, Err(CallError::Speech(SpeechError::Busy))));
    }
}
