//! EAGI: what the caller says, out of descriptor 3 of a process that Asterisk started, to the recogniser.
//!
//! The same turn taker and the same recogniser as on a call; the time is that of the audio itself, so that a recording
//! that is read faster gives the same answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::audio::ring::{EarItem, EarWriter, ear};
use crate::audio::{FRAME_SAMPLES, Frame, PTIME, Rate};
use crate::id::CallId;
use crate::speech::grammar::Grammar;
use crate::speech::{Answer, Ask, AskId, Expected, Hypothesis, Recognizer, SpeechError};
use crate::time::{Moment, WallTime};
use crate::turn::vad::WebRtcVad;
use crate::turn::{Listening, TurnSignal, TurnTaker};

/// EAGI's audio as frames: 8 kHz, 16 bits, little-endian, whatever the call's codec is.
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    at: Moment,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The audio that `reader` gives.
    pub fn new(reader: R) -> Self {
        Self { reader, at: Moment::ZERO }
    }

    /// The next frame, and when on the audio's own time it ends; [`None`] at the end of the audio.
    pub async fn next(&mut self) -> Option<(Moment, Frame)> {
        let mut bytes = [0; FRAME_SAMPLES * 2];
        self.reader.read_exact(&mut bytes).await.ok()?;
        let mut frame = Frame::silence(Rate::Hz8000);
        for (sample, pair) in frame.samples.iter_mut().zip(bytes.chunks_exact(2)) {
            *sample = i16::from_le_bytes([pair[0], pair[1]]);
        }
        self.at = self.at + PTIME;
        Some((self.at, frame))
    }
}

/// What came of listening.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Something of the grammar.
    Understood(Hypothesis),
    /// Something else.
    NoMatch,
    /// Nothing.
    NoInput,
    /// The audio ended first.
    Gone,
}

/// Audio from before the onset that belongs to the utterance, in frames: speech begins softly.
const PRE_ROLL: usize = 15;

/// Listens for one answer.
///
/// # Errors
/// When the recogniser cannot do its work.
pub async fn listen<R: AsyncRead + Unpin>(
    mut frames: Frames<R>,
    recognizer: &dyn Recognizer,
    grammar: Arc<Grammar>,
    how: Listening,
) -> Result<Heard, SpeechError> {
    // The whole of the longest utterance: what is read from a file comes at once.
    let capacity =
        usize::try_from(how.max_speech.as_millis() / PTIME.as_millis()).unwrap_or(0) + 2 * PRE_ROLL;
    let (writer, reader) = ear(capacity);
    let mut session = recognizer.open(CallId::new(WallTime::now()), reader, Rate::Hz8000)?;
    let gone = || SpeechError::Failed { backend: "recogniser", what: "it ended".into() };
    session
        .asks
        .send(Some(Ask { id: AskId(1), expected: Expected::Grammar(grammar) }))
        .await
        .map_err(|_| gone())?;
    // The question goes its own way to the recogniser: an utterance that is there before it would be thrown away.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut feeder = Feeder::new(writer, how);
    let over = loop {
        let Some((now, frame)) = frames.next().await else { break Over::Gone };
        if let Some(over) = feeder.frame(now, frame) {
            break over;
        }
    };
    match over {
        Over::NoInput => return Ok(Heard::NoInput),
        Over::Gone if !feeder.finish() => return Ok(Heard::Gone),
        Over::Gone | Over::Utterance => {}
    }
    loop {
        match session.answers.recv().await {
            Some((AskId(1), Answer::Final(Some(heard)))) => return Ok(Heard::Understood(heard)),
            Some((AskId(1), Answer::Final(None))) => return Ok(Heard::NoMatch),
            Some((AskId(1), Answer::Failed(error))) => return Err(error),
            Some(_) => {}
            None => return Err(gone()),
        }
    }
}

enum Over {
    Utterance,
    NoInput,
    Gone,
}

/// Hands frames to the turn taker, and what belongs to the utterance to the ear.
struct Feeder {
    taker: TurnTaker,
    writer: EarWriter,
    before: VecDeque<Frame>,
    speaking: bool,
    last: Moment,
}

impl Feeder {
    fn new(writer: EarWriter, how: Listening) -> Self {
        let mut taker = TurnTaker::new(Box::new(WebRtcVad::new(Rate::Hz8000)));
        taker.listen(Moment::ZERO, how);
        Self { taker, writer, before: VecDeque::new(), speaking: false, last: Moment::ZERO }
    }

    fn frame(&mut self, now: Moment, frame: Frame) -> Option<Over> {
        self.last = now;
        let mut signals = Vec::new();
        self.taker.frame(now, Some(&frame), &mut |signal| signals.push(signal));
        self.taker.tick(now, &mut |signal| signals.push(signal));
        if self.speaking {
            self.writer.push(EarItem::Audio(frame));
        } else {
            if self.before.len() == PRE_ROLL {
                self.before.pop_front();
            }
            self.before.push_back(frame);
        }
        signals.into_iter().find_map(|signal| self.signal(signal))
    }

    fn signal(&mut self, signal: TurnSignal) -> Option<Over> {
        match signal {
            TurnSignal::Onset { at } => {
                self.speaking = true;
                self.writer.push(EarItem::Onset { at });
                for frame in self.before.drain(..) {
                    self.writer.push(EarItem::Audio(frame));
                }
            }
            TurnSignal::Pause { speech_end } => self.writer.push(EarItem::Pause { speech_end }),
            TurnSignal::Endpoint { speech_end, .. } | TurnSignal::TooLong { at: speech_end } => {
                self.writer.push(EarItem::End { speech_end });
                self.speaking = false;
                return Some(Over::Utterance);
            }
            TurnSignal::NoInput { .. } => return Some(Over::NoInput),
            _ => {}
        }
        None
    }

    /// The audio is over; whether an utterance was.
    fn finish(&mut self) -> bool {
        if self.speaking {
            self.writer.push(EarItem::End { speech_end: self.last });
        }
        self.speaking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::ring::EarReader;
    use crate::speech::RecognizerSession;
    use tokio::sync::mpsc;

    /// Counts the frames of an utterance in place of recognising it.
    struct Counting;

    impl Recognizer for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn open(&self, _call: CallId, ear: EarReader, _rate: Rate) -> Result<RecognizerSession, SpeechError> {
            let (asks, mut asked) = mpsc::channel(1);
            let (answer, answers) = mpsc::channel(4);
            tokio::spawn(async move {
                let Some(Some::<Ask>(ask)) = asked.recv().await else { return };
                let mut frames = 0;
                loop {
                    match std::future::poll_fn(|cx| ear.poll_pop(cx)).await {
                        Some(EarItem::Audio(_)) => frames += 1,
                        Some(EarItem::End { .. }) => break,
                        Some(_) => {}
                        None => return,
                    }
                }
                let heard =
                    Hypothesis { text: frames.to_string(), meaning: None, confidence: 1.0, at: Moment::ZERO };
                let _ = answer.send((ask.id, Answer::Final(Some(heard)))).await;
            });
            Ok(RecognizerSession { asks, answers, is_local: false })
        }

        fn prepare(&self, _grammar: &Arc<Grammar>) -> Result<(), SpeechError> {
            Ok(())
        }
    }

    /// Silence, then a buzz like a voice, then silence; in milliseconds.
    fn audio(silence: usize, voice: usize, after: usize) -> Vec<u8> {
        let mut phase = 0.0_f64;
        let sample = |index: usize| {
            let millis = index / 8;
            if millis < silence || millis >= silence + voice {
                return 0;
            }
            phase += 140.0 / 8_000.0 * (1.0 + 0.1 * (index as f64 / 900.0).sin());
            let buzz: f64 =
                (1..20).map(|n| (phase * f64::from(n) * std::f64::consts::TAU).sin() / f64::from(n)).sum();
            let loud = (index as f64 / 700.0).sin().abs();
            (buzz * loud * 6_000.0) as i16
        };
        (0..(silence + voice + after) * 8).map(sample).flat_map(i16::to_le_bytes).collect()
    }

    async fn heard(audio: &[u8]) -> Heard {
        let grammar = Arc::new(Grammar::digits(1));
        listen(Frames::new(audio), &Counting, grammar, Listening::fixed(Duration::from_millis(500)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn an_utterance_goes_to_the_recogniser_with_what_lies_before_it() {
        let Heard::Understood(heard) = heard(&audio(1_000, 1_000, 2_000)).await else {
            panic!("an utterance")
        };
        let frames: usize = heard.text.parse().unwrap();
        assert!((50..=100).contains(&frames), "{frames} frames of 20 ms");
    }

    #[tokio::test]
    async fn silence_and_the_end_of_the_audio_are_told_apart() {
        assert_eq!(heard(&audio(9_000, 0, 0)).await, Heard::NoInput);
        assert_eq!(heard(&audio(900, 0, 0)).await, Heard::Gone);
        assert!(matches!(heard(&audio(500, 800, 0)).await, Heard::Understood(_)), "cut off in mid-word");
    }
}
