//! The utterance under way: its audio, for as long as it may have to be sent again, and what was heard in it so far.

use std::time::Duration;

use super::{News, Said, wording};
use crate::audio::resample::{Down2, Up2};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::speech::{Ask, Hypothesis};
use crate::time::Moment;

/// An utterance is over after so much audio, whatever the turn detector says.
pub(super) const LONGEST: Duration = Duration::from_secs(61);

/// How sure a service counts as that does not say.
const UNTOLD: f32 = 0.8;

/// No service writes so much about an utterance; what follows is dropped.
const MOST_TEXT: usize = 16 * 1024;

/// One utterance, from its onset to its answer.
pub(super) struct Utterance {
    pub ask: Ask,
    /// All of it so far at the service's rate, for a connection that comes later.
    audio: Vec<i16>,
    converter: Converter,
    rate: Rate,
    /// When the last frame of it was read from the ear.
    last: Moment,
    /// When speech ended, of the pause or the end that was told last.
    pub speech_end: Option<Moment>,
    /// It is over: the answer is awaited.
    pub over: bool,
    pub transcript: Transcript,
    /// What was sent as the last partial.
    pub told: String,
    /// How often it was ended, for a try or for good.
    pub tries: u8,
    /// The end of speech that a provisional was given for.
    pub judged: Option<Moment>,
}

impl Utterance {
    pub(super) fn new(ask: Ask, rate: Rate, now: Moment) -> Self {
        Self {
            ask,
            audio: Vec::with_capacity(usize::try_from(rate.hz()).unwrap_or(0)),
            converter: Converter::None,
            rate,
            last: now,
            speech_end: None,
            over: false,
            transcript: Transcript::default(),
            told: String::new(),
            tries: 0,
            judged: None,
        }
    }

    /// Adds a frame that ended at `at`; whether there is room for more.
    pub(super) fn add(&mut self, frame: &Frame, at: Moment) -> bool {
        self.last = at;
        self.converter.convert(frame, self.rate, &mut self.audio);
        self.length() < LONGEST
    }

    /// All audio so far.
    pub(super) fn audio(&self) -> &[i16] {
        &self.audio
    }

    pub(super) fn length(&self) -> Duration {
        self.rate.duration(self.audio.len() as u64)
    }

    /// The moment at which so much of it had been said.
    pub(super) fn moment(&self, heard: Duration) -> Moment {
        self.last - self.length().saturating_sub(heard)
    }

    /// What has been heard so far, up to `at`, as an answer to the question; [`None`] where nothing was heard.
    pub(super) fn hypothesis(&self, at: Moment) -> Option<Hypothesis> {
        let text = self.transcript.text();
        let (words, meaning) = wording::fit(&text, &self.ask.expected);
        if words.is_empty() {
            return None;
        }
        Some(Hypothesis { text: words, meaning, confidence: self.transcript.confidence(), at })
    }

    /// The same as a final: of a grammar, only a whole sentence is one.
    pub(super) fn answer(&self, at: Moment) -> Option<Hypothesis> {
        self.hypothesis(at).filter(|heard| heard.meaning.is_some())
    }
}

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    settled: String,
    tail: String,
    /// Sum and number of what was told of the settled parts.
    sure: (f32, u16),
    tail_sure: Option<f32>,
    /// How much of the utterance the service says it has heard.
    pub heard: Option<Duration>,
    /// Everything that was sent before the last flush or end is in it.
    pub caught: bool,
    /// Any word of it came after the service was last asked for all that it has.
    pub fresh: bool,
}

impl Transcript {
    /// The service is asked for all that it has.
    pub(super) const fn asked(&mut self) {
        self.caught = false;
        self.fresh = false;
    }

    /// Takes news; whether the words may have changed.
    pub(super) fn take(&mut self, news: News) -> bool {
        match news {
            News::Tail(said) => {
                self.tail_sure = said.confidence;
                self.tail = bounded(said, MOST_TEXT);
                self.fresh = true;
                true
            }
            News::Settled(said) => {
                self.tail.clear();
                self.tail_sure = None;
                self.fresh = true;
                if let Some(sure) = said.confidence.filter(|_| !said.text.trim().is_empty()) {
                    self.sure = (self.sure.0 + sure.clamp(0.0, 1.0), self.sure.1.saturating_add(1));
                }
                let said = bounded(said, MOST_TEXT.saturating_sub(self.settled.len()));
                if !said.is_empty() {
                    if !self.settled.is_empty() {
                        self.settled.push(' ');
                    }
                    self.settled.push_str(&said);
                }
                true
            }
            News::Keep => {
                let said = Said::new(std::mem::take(&mut self.tail), self.tail_sure.take());
                let fresh = self.fresh;
                if !said.text.is_empty() {
                    self.take(News::Settled(said));
                    self.fresh = fresh;
                }
                false
            }
            News::Heard(heard) => {
                self.heard = self.heard.max(Some(heard));
                false
            }
            News::Caught => {
                self.caught = true;
                false
            }
            News::Turn { .. } => false,
        }
    }

    fn text(&self) -> String {
        let mut text = self.settled.clone();
        if !text.is_empty() && !self.tail.is_empty() {
            text.push(' ');
        }
        text.push_str(&self.tail);
        text
    }

    fn confidence(&self) -> f32 {
        let (sum, count) = self.sure;
        let tail = self.tail_sure.map_or((0.0, 0), |sure| (sure.clamp(0.0, 1.0), 1));
        let count = count.saturating_add(tail.1);
        if count == 0 { UNTOLD } else { (sum + tail.0) / f32::from(count) }
    }
}

/// The text without blanks around it, cut where it is too long.
fn bounded(said: Said, most: usize) -> String {
    let text = said.text.trim();
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// From the ear's rate to the service's.
enum Converter {
    None,
    Up(Box<Up2>),
    Down(Box<Down2>),
}

impl Converter {
    fn convert(&mut self, frame: &Frame, to: Rate, out: &mut Vec<i16>) {
        match (frame.rate, to) {
            (Rate::Hz8000, Rate::Hz16000) => {
                if !matches!(self, Self::Up(_)) {
                    *self = Self::Up(Box::default());
                }
                if let Self::Up(up) = self {
                    let mut wide = [0; 2 * FRAME_SAMPLES];
                    let count = up.process(&frame.samples, &mut wide);
                    out.extend_from_slice(&wide[..count]);
                }
            }
            (Rate::Hz16000, Rate::Hz8000) => {
                if !matches!(self, Self::Down(_)) {
                    *self = Self::Down(Box::default());
                }
                if let Self::Down(down) = self {
                    let mut narrow = [0; FRAME_SAMPLES];
                    let count = down.process(&frame.samples, &mut narrow);
                    out.extend_from_slice(&narrow[..count]);
                }
            }
            _ => out.extend_from_slice(&frame.samples),
        }
    }
}
