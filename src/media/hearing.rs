//! What the bot hears: packets become frames, frames become turns, and an utterance goes into the ear with what was
//! said just before it was recognised as one.

use std::time::Duration;

use crate::audio::conceal::Concealer;
use crate::audio::g711::Law;
use crate::audio::ring::{EarItem, EarWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::rtp::PayloadType;
use crate::time::Moment;
use crate::turn::{TurnSignal, TurnTaker};

/// Audio from before the onset that goes into the ear with an utterance, since an onset is always noticed late and
/// speech begins softly.
pub(super) const PRE_ROLL: Duration = Duration::from_millis(300);

/// Frames remembered: the pre-roll and the longest time that an onset may take to be noticed.
const REMEMBERED: usize = 64;

/// A frame as it came, in the law of the call: half the size, and nothing is lost.
type Companded = [u8; FRAME_SAMPLES];

/// Lost audio is concealed for this many frames; what is longer is a hole.
const CONCEALED: usize = 5;

/// What follows a hole helps to fill it, up to this many samples.
const FOLLOWING: usize = 400;

/// Silence that was not sent is made up for this many frames.
const MADE_UP: usize = 10;

/// The most signals that one frame can raise.
const SIGNALS: usize = 8;

/// Signals of one frame or tick, in order.
#[derive(Default)]
pub(super) struct Signals {
    raised: [Option<TurnSignal>; SIGNALS],
    count: usize,
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
}

/// One call's way from payload to turn and ear.
pub(super) struct Hearing {
    pub(super) turn: TurnTaker,
    ear: EarWriter,
    in_utterance: bool,
    /// What frames are remembered in.
    law: Law,
    remembered: Box<[(Moment, Companded); REMEMBERED]>,
    /// Frames ever remembered; the place of the next one, modulo [`REMEMBERED`].
    next: usize,
    /// Frames of `remembered` that are not in the ear.
    fresh: usize,
    partial: Frame,
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
}

impl Hearing {
    pub(super) fn new(turn: TurnTaker, ear: EarWriter, law: Law) -> Self {
        let silence = Frame::silence(Rate::Hz8000);
        Self {
            turn,
            ear,
            in_utterance: false,
            law,
            remembered: Box::new([(Moment::ZERO, [0; FRAME_SAMPLES]); REMEMBERED]),
            next: 0,
            fresh: 0,
            partial: silence,
            filled: 0,
            partly_lost: false,
            concealer: Concealer::new(Rate::Hz8000),
            owed: 0,
            dry_ticks: 0,
            told_missing: 0,
        }
    }

    pub(super) fn ear_dropped(&self) -> u64 {
        self.ear.dropped()
    }

    /// A packet's audio. Calls `heard` with every frame that it completes.
    pub(super) fn audio(
        &mut self,
        now: Moment,
        payload_type: PayloadType,
        mut payload: &[u8],
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        let law = if payload_type == PayloadType::PCMA { Law::A } else { Law::Mu };
        if self.owed > 0 {
            let mut next = [0; FOLLOWING];
            let known = law.decode_into(payload, &mut next);
            self.make_up(now, &next[..known], signals, heard);
        }
        self.told_missing = 0;
        while !payload.is_empty() {
            let free = &mut self.partial.samples[self.filled..];
            let taken = law.decode_into(payload, free);
            self.concealer.heard(&mut free[..taken]);
            payload = &payload[taken..];
            self.filled += taken;
            self.complete(now, signals, heard);
        }
    }

    /// Audio that is missing: what was lost is made up as soon as what follows it is known, which is nearly always at
    /// once; what was never sent is silence.
    pub(super) fn missing(
        &mut self,
        now: Moment,
        samples: u32,
        lost: bool,
        signals: &mut Signals,
        heard: &mut dyn FnMut(&Frame),
    ) {
        if lost {
            self.owed = self.owed.saturating_add(samples as usize);
            return;
        }
        self.make_up(now, &[], signals, heard);
        let most = MADE_UP.saturating_sub(self.told_missing);
        let mut left = (samples as usize).min(most * FRAME_SAMPLES);
        while left > 0 {
            let taken = left.min(FRAME_SAMPLES - self.filled);
            let silence = &mut self.partial.samples[self.filled..self.filled + taken];
            silence.fill(0);
            self.concealer.heard(silence);
            self.filled += taken;
            left -= taken;
            self.complete(now, signals, heard);
        }
    }

    /// Makes up what is owed, less what the turn was told is missing.
    fn make_up(&mut self, now: Moment, next: &[i16], signals: &mut Signals, heard: &mut dyn FnMut(&Frame)) {
        let most = CONCEALED.saturating_sub(self.told_missing) * FRAME_SAMPLES;
        let mut hole = [0; CONCEALED * FRAME_SAMPLES];
        let mut hole = &mut hole[..std::mem::take(&mut self.owed).min(most)];
        self.concealer.between(hole, next);
        while !hole.is_empty() {
            let (now_made, rest) = hole.split_at_mut(hole.len().min(FRAME_SAMPLES - self.filled));
            self.partial.samples[self.filled..self.filled + now_made.len()].copy_from_slice(now_made);
            self.partly_lost = true;
            self.filled += now_made.len();
            hole = rest;
            self.complete(now, signals, heard);
        }
    }

    /// Once per 20 ms, whether or not anything came.
    pub(super) fn tick(&mut self, now: Moment, signals: &mut Signals) {
        self.dry_ticks = self.dry_ticks.saturating_add(1);
        // Packets and ticks are not in step, so two ticks without a frame may be jitter; a third is not.
        if self.dry_ticks > 2 {
            self.told_missing = self.told_missing.saturating_add(1);
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

    fn begin_utterance(&mut self, onset: Moment) {
        self.end_utterance(onset);
        self.in_utterance = true;
        self.ear.push(EarItem::Onset { at: onset });
        let from = onset - PRE_ROLL;
        for back in (1..=self.fresh).rev() {
            let (at, frame) = &self.remembered[self.next.wrapping_sub(back) % REMEMBERED];
            if *at > from {
                let mut audio = Frame::silence(Rate::Hz8000);
                self.law.decode_into(frame, &mut audio.samples);
                self.ear.push(EarItem::Audio(audio));
            }
        }
        self.fresh = 0;
    }

    /// Lets `partial` go when it is full.
    fn complete(&mut self, now: Moment, signals: &mut Signals, heard: &mut dyn FnMut(&Frame)) {
        if self.filled < FRAME_SAMPLES {
            return;
        }
        self.filled = 0;
        self.dry_ticks = 0;
        let frame = self.partial;
        if self.in_utterance {
            self.ear.push(EarItem::Audio(frame));
        } else {
            let (at, place) = &mut self.remembered[self.next % REMEMBERED];
            *at = now;
            self.law.encode_into(&frame.samples, place);
            self.next = self.next.wrapping_add(1);
            self.fresh = (self.fresh + 1).min(REMEMBERED);
        }
        heard(&frame);
        let lost = std::mem::take(&mut self.partly_lost);
        self.turn.frame(now, (!lost).then_some(&frame), &mut |signal| signals.push(signal));
    }
}
