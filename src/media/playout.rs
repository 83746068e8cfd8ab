//! What the caller hears: frames from the voice ring, one per tick, counted, and stopped within a frame.

use std::time::Duration;

use super::flight::Flight;
use crate::audio::resample::{Down2, Up2};
use crate::audio::ring::{PlayId, VoiceItem, VoiceReader};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::prefetch::{Reach, prefetch};
use crate::time::Moment;
use crate::turn::{BargeIn, PackedBargeIn};

/// How a play ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PlayEnd {
    /// All of it went out.
    Finished,
    /// It was stopped by [`flush`](super::Control::flush).
    Flushed,
    /// The caller interrupted it.
    BargedIn,
}

/// What became of a play.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Notice {
    /// Its first frame is the one of this tick.
    Began(BargeIn),
    /// Its first frame begins to be heard.
    Started { play: PlayId },
    /// It is over; told once per play.
    Ended { play: PlayId, heard: Duration, end: PlayEnd },
}

/// 20 ms that go out, at the rate of the call's format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    rate: Rate,
    samples: [i16; 2 * FRAME_SAMPLES],
}

impl Block {
    pub(super) const fn silence(rate: Rate) -> Self {
        Self { rate, samples: [0; 2 * FRAME_SAMPLES] }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// 160 samples at 8 kHz, 320 at 16.
    pub(super) fn samples(&self) -> &[i16] {
        &self.samples[..samples_per_tick(self.rate)]
    }

    fn samples_mut(&mut self) -> &mut [i16] {
        &mut self.samples[..samples_per_tick(self.rate)]
    }
}

/// What goes out at a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) block: Block,
    /// What it is acknowledged by.
    pub(super) number: u32,
    /// It is part of a play.
    pub(super) speech: bool,
    /// It is, and all that was on its way before it is silence.
    pub(super) fresh: bool,
}

/// Samples in 20 ms.
pub(super) const fn samples_per_tick(rate: Rate) -> usize {
    match rate {
        Rate::Hz8000 => FRAME_SAMPLES,
        Rate::Hz16000 => 2 * FRAME_SAMPLES,
    }
}

/// Turns the voice ring into one frame per tick.
pub(super) struct Playout {
    /// The rate of what goes out.
    rate: Rate,
    /// What left and has not been heard yet.
    flight: Flight,
    deferred: bool,
    /// What is queued at the far end is to be thrown away there, and that is acknowledged by this number.
    fence: Option<u32>,
    voice: VoiceReader,
    /// Taken from the ring, but of a time to come.
    put_back: Option<VoiceItem>,
    announced: [Option<(PlayId, PackedBargeIn)>; ANNOUNCED],
    current: Option<Play>,
    /// Plays up to this one are thrown away.
    flushed: Option<PlayId>,
    /// The last play that was told to have ended.
    ended: Option<PlayId>,
    /// A play whose announcement was given a tick to come.
    awaited: Option<PlayId>,
    /// For plays of 16 kHz on a format of 8.
    down: Down2,
    /// For plays of 8 kHz on a format of 16.
    up: Up2,
    /// The last sample that went out, so that a stop does not click.
    last_sample: i16,
    /// How loud what is played goes out now, and how loud it shall: in 1/4096.
    gain: (i32, i32),
    /// What is queued at the far end is to be made as loud.
    requeue: bool,
    underruns: u64,
}

struct Play {
    id: PlayId,
    interruptible: bool,
    /// How loud it is while the caller may be speaking, and while he is likely to be.
    ducked: i32,
    hushed: i32,
}

/// A gain of one.
pub(super) const FULL: i32 = 4_096;

/// The gain of so many decibels less.
fn gain_of(db: u8) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 4096")]
    let gain = (f64::from(FULL) * 10_f64.powf(-f64::from(db) / 20.0)).round() as i32;
    gain
}

/// Plays that may be announced before they begin.
const ANNOUNCED: usize = 16;

/// A stop fades from the last sample to nothing in 5 ms at 8 kHz.
const RAMP: usize = 40;

impl Playout {
    /// Asks for the memory that the next tick needs.
    pub(super) fn prefetch(&self, reached: Reach) {
        match reached {
            Reach::Near => {
                prefetch(&self.flight);
                prefetch(&self.voice);
                prefetch(&self.current);
                prefetch(&self.gain);
                prefetch(&self.flushed);
            }
            Reach::Far => self.voice.prefetch(),
        }
    }

    /// `deferred` where what leaves is heard only when the far end says so.
    pub(super) fn new(voice: VoiceReader, rate: Rate, deferred: bool) -> Self {
        Self {
            rate,
            flight: Flight::new(deferred),
            deferred,
            fence: None,
            voice,
            put_back: None,
            announced: [None; ANNOUNCED],
            current: None,
            flushed: None,
            ended: None,
            awaited: None,
            down: Down2::new(),
            up: Up2::new(),
            last_sample: 0,
            gain: (FULL, FULL),
            requeue: false,
            underruns: 0,
        }
    }

    /// Frames of silence in the middle of a play so far.
    pub(super) const fn underruns(&self) -> u64 {
        self.underruns
    }

    /// Whether the play that is under way may be interrupted by somebody.
    pub(super) fn interruptible(&self) -> bool {
        self.current.as_ref().is_some_and(|play| play.interruptible)
    }

    /// The caller may be speaking: what is played goes down within 5 ms, if it may be interrupted at all.
    pub(super) fn duck(&mut self) {
        if let Some(play) = self.current.as_ref().filter(|play| play.interruptible && play.ducked < FULL) {
            self.gain.1 = play.ducked;
            self.requeue = self.deferred;
        }
    }

    /// The caller is likely to be speaking: what is played, which is down, goes down until it is as good as silent.
    pub(super) fn hush(&mut self) {
        if let Some(play) = self.current.as_ref().filter(|play| play.interruptible && self.gain.1 < FULL) {
            self.gain.1 = play.hushed.min(self.gain.1);
            self.flight.hush(Some(play.id));
            self.requeue = self.deferred;
        }
    }

    /// It was nothing: what is played comes back to level.
    pub(super) const fn restore(&mut self) {
        self.gain.1 = FULL;
        self.flight.hush(None);
    }

    /// The gain that what is queued at the far end is to be given, if it is. What follows has it at once.
    pub(super) fn take_requeue(&mut self) -> Option<i32> {
        std::mem::take(&mut self.requeue).then(|| {
            self.gain.0 = self.gain.1;
            self.gain.1
        })
    }

    /// Says how a play may be interrupted, before its first frame.
    pub(super) fn announce(&mut self, play: PlayId, how: BargeIn) {
        if Some(play) <= self.flushed || Some(play) <= self.ended {
            return;
        }
        if self.announced.iter().all(Option::is_some) {
            // Nobody announces so far ahead; the oldest one loses its rules, not its audio.
            self.announced.rotate_left(1);
            self.announced[ANNOUNCED - 1] = None;
        }
        if let Some(slot) = self.announced.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some((play, how.into()));
        }
        self.sort_announced();
    }

    /// The next 20 ms, and the number that they are acknowledged by ([`reached`](Self::reached), or
    /// [`refused`](Self::refused) at once).
    pub(super) fn next(&mut self, now: Moment, notice: &mut dyn FnMut(Notice)) -> Outgoing {
        let (block, play) = self.take(now, notice);
        let fresh = play.is_some() && self.flight.is_silent();
        Outgoing { block, number: self.flight.frame(play, notice), speech: play.is_some(), fresh }
    }

    fn take(&mut self, now: Moment, notice: &mut dyn FnMut(Notice)) -> (Block, Option<PlayId>) {
        self.flight.settle(now, notice);
        // Asked before the ring is emptied: what is written before the end is played before the end.
        let closed = self.voice.is_closed();
        loop {
            match self.next_item() {
                Some(VoiceItem::Audio(play, frame)) => {
                    if self.awaits_rules(play) {
                        self.put_back = Some(VoiceItem::Audio(play, frame));
                        return (self.silence(), None);
                    }
                    self.become_current(now, play, notice);
                    let mut block = self.block(play, &frame);
                    self.turn_down(&mut block);
                    self.last_sample = block.samples().last().copied().unwrap_or(0);
                    return (block, Some(play));
                }
                Some(VoiceItem::End(play)) => {
                    if self.current.as_ref().is_some_and(|current| current.id == play) {
                        self.end_current(now, PlayEnd::Finished, notice);
                    } else {
                        self.take_rules(play);
                        self.tell_end(now, play, PlayEnd::Finished, notice);
                    }
                }
                None if self.current.is_some() && !closed => {
                    self.underruns += 1;
                    return (self.silence(), None);
                }
                None => {
                    // The writer is gone: what it left unfinished is as finished as it will ever be.
                    self.end_current(now, PlayEnd::Finished, notice);
                    return (self.silence(), None);
                }
            }
        }
    }

    /// The frame or fence of this number begins to be heard.
    pub(super) fn reached(&mut self, now: Moment, number: u32, notice: &mut dyn FnMut(Notice)) {
        self.flight.reached(now, number, notice);
    }

    /// Tells the ends of plays that have been reached.
    pub(super) fn settle(&mut self, now: Moment, notice: &mut dyn FnMut(Notice)) {
        self.flight.settle(now, notice);
    }

    /// The last frame did not leave after all.
    pub(super) fn refused(&mut self) {
        self.flight.refused();
    }

    /// What left will not be acknowledged any more.
    pub(super) fn give_up(&mut self, notice: &mut dyn FnMut(Notice)) {
        self.flight.give_up(notice);
    }

    /// Whether what is queued at the far end is to be thrown away, and the number that it is acknowledged by. Asked after
    /// whatever may have stopped a play.
    pub(super) const fn take_flush(&mut self) -> Option<u32> {
        self.fence.take()
    }

    /// Whether something to say is there.
    pub(super) fn is_ready(&mut self) -> bool {
        self.put_back = self.next_item();
        self.put_back.is_some()
    }

    /// Whether a play is under way.
    pub(super) const fn is_playing(&self) -> bool {
        self.current.is_some()
    }

    /// Throws away every play up to `play`: from the next tick on nothing of them goes out.
    pub(super) fn flush(&mut self, now: Moment, play: PlayId, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        self.flushed = self.flushed.max(Some(play));
        if self.current.as_ref().is_some_and(|current| current.id <= play) {
            if self.deferred && self.flight.holds_only(play) {
                self.fence = Some(self.flight.fence(notice));
            }
            self.end_current(now, end, notice);
        }
        for i in 0..ANNOUNCED {
            if let Some((id, _)) = self.announced[i].filter(|(id, _)| *id <= play) {
                self.announced[i] = None;
                self.tell_end(now, id, end, notice);
            }
        }
        self.sort_announced();
        self.put_back = self.next_item();
    }

    /// The caller interrupts: ends the play under way and those announced after it, up to the first one that must
    /// not be interrupted.
    pub(super) fn barge_in(&mut self, now: Moment, notice: &mut dyn FnMut(Notice)) {
        let Some(current) = &self.current else { return };
        let open = |how: &BargeIn| (how.voice || how.keys) && how.protect.is_zero();
        let behind =
            self.announced.iter().flatten().take_while(|(_, how)| open(&(*how).into())).map(|(id, _)| *id);
        let last = behind.fold(current.id, PlayId::max);
        self.flush(now, last, PlayEnd::BargedIn, notice);
    }

    /// The next item that is not of a flushed play.
    fn next_item(&mut self) -> Option<VoiceItem> {
        loop {
            let item = self.put_back.take().or_else(|| self.voice.pop())?;
            let (VoiceItem::Audio(play, _) | VoiceItem::End(play)) = item;
            if Some(play) > self.flushed {
                return Some(item);
            }
        }
    }

    /// Whether a play that begins has not been announced yet. Its announcement was sent before its audio was written,
    /// but both cross to this thread by different ways: it is given one tick.
    fn awaits_rules(&mut self, play: PlayId) -> bool {
        let known = self.current.as_ref().is_some_and(|current| current.id == play)
            || self.announced.iter().flatten().any(|(id, _)| *id == play);
        !known && self.awaited.replace(play) != Some(play)
    }

    fn become_current(&mut self, now: Moment, play: PlayId, notice: &mut dyn FnMut(Notice)) {
        if self.current.as_ref().is_some_and(|current| current.id == play) {
            return;
        }
        self.end_current(now, PlayEnd::Finished, notice);
        let how = self.take_rules(play).unwrap_or(BargeIn::FORBIDDEN);
        let interruptible = how.voice || how.keys;
        self.current = Some(Play {
            id: play,
            interruptible,
            ducked: gain_of(how.duck_db),
            hushed: gain_of(how.hush_db.max(how.duck_db)),
        });
        notice(Notice::Began(how));
    }

    fn end_current(&mut self, now: Moment, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        // Who is spoken over is this play; the next one begins at level.
        self.gain = (FULL, FULL);
        self.requeue = false;
        if let Some(play) = self.current.take() {
            self.tell_end(now, play.id, end, notice);
        }
    }

    fn tell_end(&mut self, now: Moment, play: PlayId, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        if Some(play) > self.ended {
            self.ended = Some(play);
            self.flight.end(now, play, end, notice);
        }
    }

    /// 20 ms that begin with `first`, at the rate of the call. Frames of 16 kHz go in by twos; a play that ends in the
    /// middle of a block ends in silence.
    fn block(&mut self, play: PlayId, first: &Frame) -> Block {
        let mut block = Block::silence(self.rate);
        if first.rate == Rate::Hz8000 {
            match self.rate {
                Rate::Hz8000 => block.samples_mut().copy_from_slice(&first.samples),
                Rate::Hz16000 => {
                    self.up.process(&first.samples, block.samples_mut());
                }
            }
            return block;
        }
        let mut wide = [0; 2 * FRAME_SAMPLES];
        wide[..FRAME_SAMPLES].copy_from_slice(&first.samples);
        match self.next_item() {
            Some(VoiceItem::Audio(id, second)) if id == play && second.rate == Rate::Hz16000 => {
                wide[FRAME_SAMPLES..].copy_from_slice(&second.samples);
            }
            other => self.put_back = other,
        }
        match self.rate {
            Rate::Hz8000 => {
                self.down.process(&wide, block.samples_mut());
            }
            Rate::Hz16000 => block.samples_mut().copy_from_slice(&wide),
        }
        block
    }

    /// Gives the block the gain that is wanted, from the one before in 5 ms.
    fn turn_down(&mut self, block: &mut Block) {
        if self.gain == (FULL, FULL) {
            return;
        }
        ramp(block.samples_mut(), self.gain);
        self.gain.0 = self.gain.1;
    }

    /// In the order of their numbers, empty places last.
    fn sort_announced(&mut self) {
        self.announced.sort_unstable_by_key(|slot| slot.map_or((true, PlayId(0)), |(play, _)| (false, play)));
    }

    fn take_rules(&mut self, play: PlayId) -> Option<BargeIn> {
        let at = self.announced.iter().position(|slot| slot.is_some_and(|(id, _)| id == play))?;
        let rules = self.announced[at].take().map(|(_, how)| how.into());
        self.announced[at..].rotate_left(1);
        rules
    }

    /// 20 ms of silence that begin where the last sample was.
    fn silence(&mut self) -> Block {
        let mut block = Block::silence(self.rate);
        let from = i32::from(std::mem::take(&mut self.last_sample));
        let ramp = RAMP * samples_per_tick(self.rate) / FRAME_SAMPLES;
        for (i, sample) in block.samples.iter_mut().take(ramp).enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "no more than `from`"
            )]
            {
                *sample = (from * (ramp - 1 - i) as i32 / ramp as i32) as i16;
            }
        }
        block
    }
}

/// Gives 20 ms a gain (of at most [`FULL`]) that goes from one to the other in 5 ms.
#[expect(clippy::cast_possible_truncation, reason = "no larger than the sample")]
pub(super) fn ramp(samples: &mut [i16], (from, to): (i32, i32)) {
    let ramp = i32::try_from(samples.len() * RAMP / FRAME_SAMPLES).unwrap_or(1);
    for (i, sample) in (0_i32..).zip(samples) {
        let gain = if i < ramp { from + (to - from) * (i + 1) / ramp } else { to };
        *sample = (i32::from(*sample) * gain / FULL) as i16;
    }
}
