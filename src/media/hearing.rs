//! What the bot hears: packets become frames, frames become turns, and an utterance goes into the ear with what was
//! said just before it was recognised as one.

use std::time::Duration;

use super::playout::samples_per_tick;
use crate::audio::codec::{Decoder, Format};
use crate::audio::conceal::Concealer;
use crate::audio::g711::Law;
use crate::audio::resample::Down2;
use crate::audio::ring::{EarItem, EarWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::prefetch::{Reach, prefetch};
use crate::time::Moment;
use crate::turn::answer::{AnswerSignal, Answerer};
use crate::turn::echo::Canceller;
use crate::turn::{Calm, TurnSignal, TurnTaker};

/// Audio from before the onset that goes into the ear with an utterance, since an onset is always noticed late and
/// speech begins softly.
pub(super) const PRE_ROLL: Duration = Duration::from_millis(300);

/// Frames remembered: the pre-roll and the longest time that an onset may take to be noticed.
const REMEMBERED: usize = 64;

/// Samples in 20 ms at the highest rate.
const MOST_SAMPLES: usize = 2 * FRAME_SAMPLES;

/// The longest packet of Opus: 120 ms.
const LONGEST_PACKET: usize = 1_920;

/// Bytes that are decoded at a time where a payload may be cut anywhere between samples.
const PIECE: usize = 640;

/// Lost audio is concealed for this many frames; what is longer is a hole.
const CONCEALED: usize = 5;

/// What follows a hole helps to fill it, up to this many samples.
const FOLLOWING: usize = 800;

/// Silence that was not sent is made up for this many frames.
const MADE_UP: usize = 10;

/// The most signals that one frame can raise.
const SIGNALS: usize = 8;

/// The most that one frame can tell of who answered.
const ANSWERS: usize = 4;

/// Signals of one frame or tick, in order.
#[derive(Default)]
pub(super) struct Signals {
    raised: [Option<TurnSignal>; SIGNALS],
    count: usize,
    /// What is known of who answered.
    answers: [Option<AnswerSignal>; ANSWERS],
}

impl Signals {
    pub(super) fn push(&mut self, signal: TurnSignal) {
        if let Some(slot) = self.raised.get_mut(self.count) {
            *slot = Some(signal);
            self.count += 1;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TurnSignal> + '_ {
        self.raised.iter().flatten().copied()
    }

    fn answer(&mut self, signal: AnswerSignal) {
        if let Some(slot) = self.answers.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(signal);
        }
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = AnswerSignal> + '_ {
        self.answers.iter().flatten().copied()
    }
}

/// One call's way from payload to turn and ear. Works in pieces of 20 ms: the turn is taken at 8 kHz, the ear gets 8 kHz or
/// what came.
pub(super) struct Hearing {
    pub(super) turn: TurnTaker,
    /// Takes the bot's echo out of what is heard; at 8 kHz.
    canceller: Option<Box<dyn Canceller>>,
    /// Finds out who answered a call that we made. Kept to the call's end: nothing is released here.
    answerer: Option<Box<Answerer>>,
    ear: EarWriter,
    in_utterance: bool,
    /// The ear gets everything, not utterances alone.
    always: bool,
    decoder: Decoder,
    /// The rate of what is decoded.
    rate: Rate,
    /// The rate that the ear wants; never above `rate`.
    ear_rate: Rate,
    down: Down2,
    past: Past,
    /// Frames of `past` that are not in the ear.
    fresh: usize,
    partial: [i16; MOST_SAMPLES],
    filled: usize,
    /// Any of `partial` is made up.
    partly_lost: bool,
    concealer: Concealer,
    /// Samples that were lost and are not made up yet.
    owed: usize,
    /// Ticks in a row without a frame.
    dry_ticks: u32,
    /// Frames that the turn was told are missing, not yet made good by lost ones.
    told_missing: usize,
    /// Samples that were made up.
    concealed: u64,
    /// Payloads that could not be decoded.
    undecodable: u64,
}

/// What was heard last, companded: half the size, and of G.711 nothing is lost.
struct Past {
    law: Law,
    /// Samples in a piece.
    piece: usize,
    at: Box<[Moment; REMEMBERED]>,
    codes: Box<[u8]>,
    /// Pieces ever remembered; the place of the next one, modulo [`REMEMBERED`].
    next: usize,
}

impl Past {
    fn new(law: Law, rate: Rate) -> Self {
        let piece = samples_per_tick(rate);
        let codes = vec![0; piece * REMEMBERED].into_boxed_slice();
        Self { law, piece, at: Box::new([Moment::ZERO; REMEMBERED]), codes, next: 0 }
    }

    /// Asks for the memory of the next piece.
    fn prefetch(&self) {
        let place = self.next % REMEMBERED;
        prefetch(&self.at[place]);
        prefetch(&self.codes[place * self.piece..(place + 1) * self.piece]);
    }

    fn remember(&mut self, now: Moment, samples: &[i16]) {
        let place = self.next % REMEMBERED;
        self.at[place] = now;
        self.law.encode_into(samples, &mut self.codes[place * self.piece..(place + 1) * self.piece]);
        self.next = self.next.wrapping_add(1);
    }

    /// When the piece `back` pieces ago came (1 is the last one), and its samples.
    fn recall(&self, back: usize, out: &mut [i16; MOST_SAMPLES]) -> Moment {
        let place = self.next.wrapping_sub(back) % REMEMBERED;
        self.law
            .decode_into(&self.codes[place * self.piece..(place + 1) * self.piece], &mut out[..self.piece]);
        self.at[place]
    }
}

impl Hearing {
    /// `ear_rate` is what the ear gets where the call has that much.
    pub(super) fn new(turn: TurnTaker, ear: EarWriter, decoder: Decoder, ear_rate: Rate) -> Self {
        let format = decoder.format();
        let ear_rate = ear_rate.min(format.rate());
        let law = if format == Format::Alaw { Law::A } else { Law::Mu };
        Self {
            turn,
            canceller: None,
            answerer: None,
            ear,
            in_utterance: false,
            always: false,
            decoder,
            rate: format.rate(),
            ear_rate,
            down: Down2::new(),
            past: Past::new(law, ear_rate),
            fresh: 0,
            partial: [0; MOST_SAMPLES],
            filled: 0,
            partly_lost: false,
            concealer: Concealer::new(format.rate()),
            owed: 0,
            dry_ticks: 0,
            told_missing: 0,
            concealed: 0,
            undecodable: 0,
        }
    }

    /// With the bot's echo taken out before turns are taken and, where the ear has 8 kHz, before it hears.
    pub(super) fn cancelling(self, canceller: Option<Box<dyn Canceller>>) -> Self {
        Self { canceller, ..self }
    }

    /// With somebody who finds out who answered.
    pub(super) fn answering(self, answerer: Option<Box<Answerer>>) -> Self {
        Self { answerer, ..self }
    }

    /// With everything in the ear that is heard, instead of utterances with what was said just before them.
    pub(super) fn always(self, always: bool) -> Self {
        Self { always, ..self }
    }

    /// What was sent in the 20 ms that end `now`, at 8 kHz.
    pub(super) fn sent(&mut self, now: Moment, frame: &Frame) {
        if let Some(canceller) = &mut self.canceller {
            canceller.sent(frame);
        } else if let Some(answerer) = &mut self.answerer {
            answerer.sent(frame);
        }
        self.turn.sent(now, frame);
    }

    /// Audio that was made up in place of what was lost, in milliseconds.
    pub(super) fn concealed_ms(&self) -> u64 {
        self.concealed * 1_000 / u64::from(self.rate.hz())
    }

    pub(super) fn ear_dropped(&self) -> u64 {
        self.ear.dropped()
    }

    pub(super) const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Asks for the memory that the next 20 ms need.
    pub(super) fn prefetch(&self, reached: Reach) {
        self.turn.prefetch_frame(reached);
        match reached {
            Reach::Near => {
                prefetch(&self.concealer);
                prefetch(&self.decoder);
                prefetch(&self.past);
                prefetch(&self.partial[..FRAME_SAMPLES]);
            }
            Reach::Far => {
                self.concealer.prefetch();
                if self.in_utterance || self.always {
                    self.ear.prefetch();
                } else {
                    self.past.prefetch();
                }
            }
        }
    }

    /// A payload in the call's format. Calls `heard` with every 20 ms that it completes, at 8 kHz.
    pub(super) fn audio(
        &mut self,
        now: Moment,
        payload: &[u8],
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        let mut samples = [0; LONGEST_PACKET];
        // Opus has packets; everything else can be cut where one likes.
        let piece = if self.decoder.format() == Format::Opus { payload.len().max(1) } else { PIECE };
        for piece in payload.chunks(piece) {
            if self.owed > 0 && self.decoder.conceals() {
                // Before the packet is decoded: it carries a copy of what went before.
                self.make_up(now, &[], Some(piece), signals, heard);
            }
            match self.decoder.decode(piece, &mut samples) {
                Ok(count) => self.samples(now, &mut samples[..count], signals, heard),
                Err(_) => self.undecodable += 1,
            }
        }
    }

    /// A payload in a law that is not the call's format: a packet says what it is, whatever was agreed.
    pub(super) fn other_law(
        &mut self,
        now: Moment,
        law: Law,
        payload: &[u8],
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        let (mut narrow, mut wide) = ([0; PIECE], [0; 2 * PIECE]);
        for piece in payload.chunks(PIECE) {
            let count = law.decode_into(piece, &mut narrow);
            if self.rate == Rate::Hz8000 {
                self.samples(now, &mut narrow[..count], signals, heard);
            } else {
                // Rare enough to be done without a filter: what is asked for comes, but from an old Asterisk.
                for (pair, sample) in wide.as_chunks_mut::<2>().0.iter_mut().zip(&narrow[..count]) {
                    *pair = [*sample; 2];
                }
                self.samples(now, &mut wide[..2 * count], signals, heard);
            }
        }
    }

    fn samples(
        &mut self,
        now: Moment,
        mut samples: &mut [i16],
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        if self.owed > 0 {
            self.make_up(now, &samples[..samples.len().min(FOLLOWING)], None, signals, heard);
        }
        self.told_missing = 0;
        while !samples.is_empty() {
            let taken = samples.len().min(samples_per_tick(self.rate) - self.filled);
            let (now_heard, rest) = samples.split_at_mut(taken);
            self.concealer.heard(now_heard);
            self.add(now, now_heard, signals, heard);
            samples = rest;
        }
    }

    /// Adds samples that fit into the piece under way.
    fn add(&mut self, now: Moment, samples: &[i16], signals: &mut Signals, heard: &mut dyn FnMut(&Frame)) {
        self.partial[self.filled..self.filled + samples.len()].copy_from_slice(samples);
        self.filled += samples.len();
        self.complete(now, signals, heard);
    }

    /// Audio that is missing, in samples of 8 kHz: what was lost is made up as soon as what follows it is known, which is
    /// nearly always at once; what was never sent is silence.
    pub(super) fn missing(
        &mut self,
        now: Moment,
        samples: u32,
        lost: bool,
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        let per_tick = samples_per_tick(self.rate);
        let samples = samples as usize * per_tick / FRAME_SAMPLES;
        if lost {
            self.owed = self.owed.saturating_add(samples);
            return;
        }
        self.make_up(now, &[], None, signals, heard);
        let mut left = samples.min(MADE_UP.saturating_sub(self.told_missing) * per_tick);
        while left > 0 {
            let mut silence = [0; MOST_SAMPLES];
            let silence = &mut silence[..left.min(per_tick - self.filled)];
            self.concealer.heard(silence);
            left -= silence.len();
            self.add(now, silence, signals, heard);
        }
    }

    /// Makes up what is owed, less what the turn was told is missing, to end in the audio `next`; of a codec that does so
    /// itself, with the help of the `packet` that follows.
    fn make_up(
        &mut self,
        now: Moment,
        next: &[i16],
        packet: Option<&[u8]>,
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        let per_tick = samples_per_tick(self.rate);
        let most = CONCEALED.saturating_sub(self.told_missing) * per_tick;
        let mut hole = [0; CONCEALED * MOST_SAMPLES];
        let mut hole = &mut hole[..std::mem::take(&mut self.owed).min(most)];
        if hole.is_empty() {
            return;
        }
        let by_codec = self.decoder.lost(packet, hole).is_ok_and(|made_up| made_up == hole.len());
        if !by_codec {
            self.concealer.between(hole, next);
        }
        self.concealed += hole.len() as u64;
        while !hole.is_empty() {
            let (made_up, rest) = hole.split_at_mut(hole.len().min(per_tick - self.filled));
            self.partly_lost = true;
            self.add(now, made_up, signals, heard);
            hole = rest;
        }
    }

    /// The call was answered; unless that is `judged`, nobody looks any more for who did.
    pub(super) fn picked_up(&mut self, at: Moment, judged: bool) {
        if let Some(answerer) = &mut self.answerer {
            if judged { answerer.answered(at) } else { answerer.end() }
        }
    }

    /// Once per 20 ms, whether or not anything came.
    pub(super) fn tick(&mut self, now: Moment, signals: &mut Signals) {
        self.dry_ticks = self.dry_ticks.saturating_add(1);
        // Packets and ticks are not in step, so two ticks without a frame may be jitter; a third is not.
        if self.dry_ticks > 2 {
            self.told_missing = self.told_missing.saturating_add(1);
            if let Some(answerer) = &mut self.answerer {
                answerer.frame(now, None, &mut |signal| signals.answer(signal));
            }
            self.turn.frame(now, None, &mut |signal| signals.push(signal));
        }
        self.turn.tick(now, &mut |signal| signals.push(signal));
    }

    /// What a signal means for the ear.
    pub(super) fn mark(&mut self, signal: TurnSignal) {
        match signal {
            TurnSignal::Onset { at } => self.begin_utterance(at),
            TurnSignal::Pause { speech_end } if self.in_utterance => {
                self.ear.push(EarItem::Pause { speech_end })
            }
            // When the prompt was over first he may well be speaking.
            TurnSignal::Restore { why, .. } if why != Calm::PlayOver => self.take_back(),
            TurnSignal::Endpoint { speech_end, .. } => self.end_utterance(speech_end),
            TurnSignal::TooLong { at } => self.end_utterance(at),
            _ => {}
        }
    }

    /// Ends the utterance in the ear, if there is one.
    pub(super) fn end_utterance(&mut self, speech_end: Moment) {
        if std::mem::take(&mut self.in_utterance) {
            self.ear.push(EarItem::End { speech_end });
        }
    }

    /// Forgets the utterance in the ear, if there is one.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.in_utterance) {
            self.ear.push(EarItem::TakenBack);
        }
    }

    fn begin_utterance(&mut self, onset: Moment) {
        self.end_utterance(onset);
        self.in_utterance = true;
        self.ear.push(EarItem::Onset { at: onset });
        let from = onset - PRE_ROLL;
        let mut samples = [0; MOST_SAMPLES];
        for back in (1..=self.fresh).rev() {
            if self.past.recall(back, &mut samples) > from {
                self.fill_ear(&samples);
            }
        }
        self.fresh = 0;
    }

    /// 20 ms at the ear's rate: one frame of 8 kHz or two of 16.
    fn fill_ear(&self, samples: &[i16; MOST_SAMPLES]) {
        let (rate, per_tick) = (self.ear_rate, samples_per_tick(self.ear_rate));
        for samples in samples[..per_tick].as_chunks::<FRAME_SAMPLES>().0 {
            self.ear.push(EarItem::Audio(Frame { rate, samples: *samples }));
        }
    }

    /// Lets `partial` go when it is full.
    fn complete(&mut self, now: Moment, signals: &mut Signals, heard: &mut dyn FnMut(&Frame)) {
        let per_tick = samples_per_tick(self.rate);
        if self.filled < per_tick {
            return;
        }
        self.filled = 0;
        self.dry_ticks = 0;
        let mut frame = Frame::silence(Rate::Hz8000);
        match self.rate {
            Rate::Hz8000 => frame.samples.copy_from_slice(&self.partial[..FRAME_SAMPLES]),
            Rate::Hz16000 => {
                self.down.process(&self.partial, &mut frame.samples);
            }
        }
        // A recording holds what came.
        heard(&frame);
        if let Some(canceller) = &mut self.canceller {
            canceller.heard(&mut frame);
        }
        let mut for_ear = self.partial;
        if self.ear_rate == Rate::Hz8000 {
            for_ear[..FRAME_SAMPLES].copy_from_slice(&frame.samples);
        }
        if self.in_utterance || self.always {
            self.fill_ear(&for_ear);
        } else {
            self.past.remember(now, &for_ear[..samples_per_tick(self.ear_rate)]);
            self.fresh = (self.fresh + 1).min(REMEMBERED);
        }
        let lost = std::mem::take(&mut self.partly_lost);
        if let Some(answerer) = &mut self.answerer {
            answerer.frame(now, (!lost).then_some(&frame), &mut |signal| signals.answer(signal));
        }
        self.turn.frame(now, (!lost).then_some(&frame), &mut |signal| signals.push(signal));
    }
}
