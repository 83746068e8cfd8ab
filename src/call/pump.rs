//! A prompt on its way into a call's voice: its pieces made ahead, its audio handed over frame by frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::clauses::{Clause, Reader};
use super::journal::Made;
use super::speaker::{Source, Voices, broken};
use super::track::Track;
use super::{CallError, Part, Prompt};
use crate::audio::ring::{PlayId, VoiceItem, VoiceWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::speech::SpeechStream;
use crate::speech::words::WordTimes;
use crate::time::Moment;

/// Samples that are taken at once from audio that is all there.
const PIECE: usize = 10 * FRAME_SAMPLES;

/// Pieces that are being made at the same time, where they come while the prompt is said.
const AHEAD: usize = 3;

/// A breath between two sentences, and between two clauses of one; synthesisers trim the silence around what they say.
const BETWEEN_SENTENCES: Duration = Duration::from_millis(250);
const BETWEEN_CLAUSES: Duration = Duration::from_millis(90);

/// Quieter samples are silence.
const QUIET: u16 = 64;

/// Makes prompts ready ahead of their time.
#[derive(Clone)]
pub(super) struct Maker {
    voices: Arc<dyn Voices>,
    rate: Rate,
}

impl Maker {
    pub fn new(voices: Arc<dyn Voices>, rate: Rate) -> Self {
        Self { voices, rate }
    }

    /// Begins to make all pieces of a prompt.
    pub fn prepare(&self, now: Moment, prompt: Prompt) -> Prepared {
        let (mut sources, mut pieces, mut clauses) = (VecDeque::new(), Vec::new(), None);
        for part in &prompt.parts {
            let source = match part {
                Part::Text(text) => self.voices.speak(text, prompt.voice.as_deref(), self.rate),
                Part::File(file) => self.voices.play(file, self.rate),
                Part::Stream(stream) => {
                    clauses = stream.take();
                    break;
                }
            };
            pieces.push((part.clone(), times(&source)));
            sources.push_back(source);
        }
        let nothing = sources.is_empty() && clauses.is_none();
        let ready = (nothing || matches!(sources.front(), Some(Source::Ready(..)))).then_some(now);
        Prepared {
            prompt,
            began: now,
            maker: self.clone(),
            sources,
            pieces,
            clauses,
            hands_back: false,
            untold: VecDeque::new(),
            head: Vec::new(),
            ready,
        }
    }

    /// Whether it pays to make a prompt that may be said soon: it does not begin with something that is there at once.
    pub fn pays_ahead(&self, prompt: &Prompt) -> bool {
        let begins = prompt.parts.first();
        matches!(begins, Some(Part::Text(text)) if self.voices.pays_ahead(text, prompt.voice.as_deref(), self.rate))
            && !prompt.is_streamed()
    }

    /// A prompt whose audio somebody else makes; its parts are names for it.
    pub fn given(&self, now: Moment, prompt: Prompt, sound: SpeechStream) -> Prepared {
        let pieces = prompt.parts.iter().map(|part| (part.clone(), sound.times.clone())).collect();
        Prepared {
            prompt,
            began: now,
            maker: self.clone(),
            sources: VecDeque::from([Source::Stream(sound)]),
            pieces,
            clauses: None,
            hands_back: false,
            untold: VecDeque::new(),
            head: Vec::new(),
            ready: None,
        }
    }

    /// Makes a prompt without saying it: where its pieces and words would be. What is still being written is left alone.
    pub async fn measure(&self, prompt: &Prompt) -> Track {
        let mut known = prompt.clone();
        known.parts.retain(|part| !matches!(part, Part::Stream(_)));
        let sources = self.prepare(Moment::ZERO, known.clone()).sources;
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
        let mut track = Track::new(self.rate, known.parts.into_iter().zip(times));
        for (index, samples) in samples.into_iter().enumerate() {
            track.add(index, samples);
            track.finish(index);
        }
        track
    }
}

fn times(source: &Source) -> WordTimes {
    match source {
        Source::Ready(_, times) => times.clone(),
        Source::Stream(stream) => stream.times.clone(),
    }
}

/// A prompt that is being made before it is known whether it will be said. Dropping it stops the synthesiser, and whoever
/// writes it.
pub(super) struct Prepared {
    pub prompt: Prompt,
    /// When that began.
    pub began: Moment,
    maker: Maker,
    /// Of its pieces, in order.
    sources: VecDeque<Source>,
    /// What they say.
    pieces: Vec<(Part, WordTimes)>,
    /// What is still being written.
    clauses: Option<Reader>,
    hands_back: bool,
    /// Clauses that nobody was told of.
    untold: VecDeque<String>,
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
        if self.sources.is_empty() {
            self.prime_clause().await;
        }
        let Some(Source::Stream(stream)) = self.sources.front_mut() else {
            self.ready = Some(Moment::now());
            return;
        };
        match stream.chunks.recv().await {
            Some(Ok(chunk)) => self.head = chunk,
            failed => {
                // It is told when it is to be said.
                let error = failed.and_then(Result::err);
                self.sources[0] =
                    error.map_or_else(|| Source::Ready(Vec::new().into(), WordTimes::default()), broken);
            }
        }
        self.ready = Some(Moment::now());
    }

    /// Waits for the first clause of what is being written, and begins to make it.
    async fn prime_clause(&mut self) {
        let Some(clauses) = &mut self.clauses else { return };
        match clauses.recv().await {
            Some(Clause::Text(text)) => {
                let source = self.maker.voices.speak(&text, self.prompt.voice.as_deref(), self.maker.rate);
                self.pieces.push((Part::Text(text.clone()), times(&source)));
                self.sources.push_back(source);
                self.untold.push_back(text);
            }
            end => {
                self.hands_back = end.is_some();
                self.clauses = None;
            }
        }
    }

    /// Begins to say it.
    pub fn begin(self, voice: &VoiceWriter, play: PlayId) -> Pump<'_> {
        let rate = self.maker.rate;
        let mut track = Track::new(rate, self.pieces);
        track.add(0, self.head.len());
        let breathes = self.prompt.is_streamed();
        Pump {
            began: self.began,
            writer: Writer {
                maker: self.maker,
                voice: self.prompt.voice,
                clauses: self.clauses,
                hands_back: self.hands_back,
                untold: self.untold,
            },
            spout: Spout {
                voice,
                play,
                rate,
                sources: self.sources,
                piece: 0,
                track,
                taken: 0,
                samples: self.head.len() as u64,
                skip: 0,
                quiet: 0,
                breathes,
                buffer: self.head.into(),
                item: None,
                first_audio: self.ready,
            },
        }
    }
}

/// One play on its way into the ring. Dropping it stops the synthesiser, and whoever writes it.
pub(super) struct Pump<'a> {
    writer: Writer,
    spout: Spout<'a>,
    /// When its making began.
    began: Moment,
}

/// What is still being written.
struct Writer {
    maker: Maker,
    voice: Option<String>,
    clauses: Option<Reader>,
    hands_back: bool,
    untold: VecDeque<String>,
}

/// What has been made, and where it goes.
struct Spout<'a> {
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
    /// Samples of silence at the end of what was taken so far.
    quiet: usize,
    /// There is a breath between two texts: they come from a stream, whose texts are clauses.
    breathes: bool,
    first_audio: Option<Moment>,
}

/// How far a play has got.
pub(super) enum Progress {
    /// A clause is being made: it will be said next.
    Clause(String),
    /// All of it is in the ring.
    Over(Pumped),
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
    /// Whoever wrote it waits for no answer.
    pub hands_back: bool,
    /// Who made its first audio.
    pub made: Option<Made>,
}

impl Pump<'_> {
    pub fn play(&self) -> PlayId {
        self.spout.play
    }

    /// Leaves its beginning out: another process has played it.
    pub fn skip(&mut self, heard: Duration) {
        let rate = u128::from(self.spout.rate.hz());
        self.spout.skip = usize::try_from(heard.as_micros() * rate / 1_000_000).unwrap_or(usize::MAX);
        self.spout.track.heard_before(heard);
    }

    /// How long all of it is; [`None`] while some of it is still to be made.
    pub fn length(&self) -> Option<Duration> {
        if self.writer.clauses.is_some() {
            return None;
        }
        let spout = &self.spout;
        let ready = spout.sources.iter().map(|source| match source {
            Source::Ready(samples, _) => Some(samples.len() as u64),
            Source::Stream(_) => None,
        });
        let left = ready.sum::<Option<u64>>()?;
        Some(spout.rate.duration(spout.samples + left - spout.taken as u64))
    }

    /// Who made its first audio, once there is some.
    pub fn made(&self) -> Option<Made> {
        made(&self.spout, self.began)
    }

    /// Where its pieces stand in what was handed over so far.
    pub fn track(&self) -> Track {
        let spout = &self.spout;
        let mut track = spout.track.clone();
        // What is ready is known to its end before it is handed over.
        for (index, source) in spout.sources.iter().enumerate() {
            if let Source::Ready(samples, _) = source {
                let taken = if index == 0 { spout.taken } else { 0 };
                track.add(spout.piece + index, samples.len() - taken);
                track.finish(spout.piece + index);
            }
        }
        track
    }

    /// The same, of a play that was cut: with what was written and not said, and whether that is all. Whoever writes it stops.
    pub fn cut(&mut self) -> Track {
        let mut track = self.track();
        let Some(mut clauses) = self.writer.clauses.take() else { return track };
        loop {
            match clauses.try_recv() {
                Ok(Clause::Text(text)) => track.push_unsaid(text),
                Ok(Clause::HandBack) => {
                    self.writer.hands_back = true;
                    break;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) => {
                    track.leave_unfinished();
                    break;
                }
            }
        }
        track
    }

    /// Whether whoever wrote it waits for no answer, as far as is known.
    pub fn hands_back(&self) -> bool {
        self.writer.hands_back
    }

    /// Moves audio until all is in the ring, or there is a clause to tell of. Cancel-safe: call it again to go on.
    pub async fn run(&mut self) -> Result<Progress, CallError> {
        let Self { writer, spout, began } = self;
        loop {
            if let Some(text) = writer.untold.pop_front() {
                return Ok(Progress::Clause(text));
            }
            let open = writer.clauses.is_some();
            tokio::select! {
                biased;
                clause = writer.next(), if spout.sources.len() < AHEAD => writer.take(clause, spout),
                over = spout.step(open) => {
                    if over? {
                        return Ok(Progress::Over(Pumped {
                            play: spout.play,
                            total: spout.rate.duration(spout.samples),
                            first_audio: spout.first_audio,
                            track: spout.track.clone(),
                            hands_back: writer.hands_back,
                            made: made(spout, *began),
                        }));
                    }
                }
            }
        }
    }
}

fn made(spout: &Spout<'_>, began: Moment) -> Option<Made> {
    Some(Made { by: spout.track.maker()?, after: spout.first_audio?.since(began) })
}

impl Writer {
    async fn next(&mut self) -> Option<Clause> {
        match &mut self.clauses {
            Some(clauses) => clauses.recv().await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, clause: Option<Clause>, spout: &mut Spout<'_>) {
        let Some(Clause::Text(text)) = clause else {
            self.hands_back = clause.is_some();
            self.clauses = None;
            return;
        };
        let source = self.maker.voices.speak(&text, self.voice.as_deref(), self.maker.rate);
        spout.track.push(Part::Text(text.clone()), times(&source));
        spout.sources.push_back(source);
        self.untold.push_back(text);
    }
}

impl Spout<'_> {
    /// Moves a frame, or gets more audio; `true` when all is in the ring. More pieces may come while it is `open`. Cancel-safe.
    async fn step(&mut self, open: bool) -> Result<bool, CallError> {
        if let Some(item) = self.item {
            self.voice.push(item).await.map_err(|_| CallError::MediaEnded)?;
            self.item = None;
            return Ok(matches!(item, VoiceItem::End(_)));
        }
        let left_out = self.skip.min(self.buffer.len());
        self.buffer.drain(..left_out);
        self.skip -= left_out;
        if self.buffer.len() >= FRAME_SAMPLES {
            self.item = Some(VoiceItem::Audio(self.play, self.take_frame()));
        } else if self.refill().await? {
            // Looked at again.
        } else if !self.buffer.is_empty() {
            if open {
                // The end of a clause is not held back until the next one is there.
                let missing = FRAME_SAMPLES - self.buffer.len();
                self.silence(missing);
            }
            self.item = Some(VoiceItem::Audio(self.play, self.take_frame()));
        } else if open {
            return std::future::pending().await;
        } else {
            self.item = Some(VoiceItem::End(self.play));
        }
        Ok(false)
    }

    /// Gets more audio; `false` when there is none now.
    async fn refill(&mut self) -> Result<bool, CallError> {
        let mut over = false;
        let before = self.buffer.len();
        match self.sources.front_mut() {
            None => return Ok(false),
            Some(Source::Ready(samples, _)) => {
                // In pieces, so that a long recording is not copied for each of a hundred calls.
                let piece = &samples[self.taken..samples.len().min(self.taken + PIECE)];
                self.buffer.extend(piece);
                self.taken += piece.len();
                over = self.taken == samples.len();
            }
            Some(Source::Stream(stream)) => match stream.chunks.recv().await {
                Some(Ok(chunk)) => self.buffer.extend(&chunk),
                Some(Err(error)) => {
                    self.sources.pop_front();
                    return Err(error.into());
                }
                None => over = true,
            },
        }
        let samples = self.buffer.len() - before;
        self.track.add(self.piece, samples);
        self.samples += samples as u64;
        if samples > 0 {
            self.first_audio.get_or_insert_with(Moment::now);
            let new = self.buffer.iter().rev().take(samples);
            let quiet = new.take_while(|sample| sample.unsigned_abs() < QUIET).count();
            self.quiet = if quiet == samples { self.quiet + quiet } else { quiet };
        }
        if over {
            self.next_piece();
        }
        Ok(true)
    }

    /// A piece is over: before the next one, if it is there, the voice takes a breath.
    fn next_piece(&mut self) {
        self.track.finish(self.piece);
        (self.piece, self.taken) = (self.piece + 1, 0);
        self.sources.pop_front();
        let between_texts =
            self.breathes && self.track.text(self.piece).is_some() && !self.sources.is_empty();
        let before = self.track.text(self.piece - 1).filter(|_| between_texts);
        let Some(before) = before else { return };
        let end = before.trim_end_matches(['"', '\'', ')', '»', '”', ' ']).chars().next_back();
        let breath = match end {
            Some('.' | '!' | '?' | '…' | ':') => BETWEEN_SENTENCES,
            Some(',' | ';' | '–' | '—') => BETWEEN_CLAUSES,
            _ => return,
        };
        let wanted = usize::try_from(self.rate.samples(breath)).unwrap_or_default();
        self.silence(wanted.saturating_sub(self.quiet));
    }

    /// So much silence behind the piece that has just ended.
    fn silence(&mut self, samples: usize) {
        self.buffer.extend(std::iter::repeat_n(0, samples));
        self.track.gap(self.piece.saturating_sub(1), samples);
        self.samples += samples as u64;
        self.quiet += samples;
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
