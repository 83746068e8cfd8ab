//! What the caller hears: frames from the voice ring, one per tick, counted, and stopped within a frame.

use std::time::Duration;

use crate::audio::ring::{PlayId, VoiceItem, VoiceReader};
use crate::audio::{FRAME_SAMPLES, Frame, PTIME, Rate};
use crate::turn::BargeIn;

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
    /// It is over; told once per play.
    Ended { play: PlayId, heard: Duration, end: PlayEnd },
}

/// Turns the voice ring into one frame per tick.
pub(super) struct Playout {
    voice: VoiceReader,
    /// Taken from the ring, but of a time to come.
    put_back: Option<VoiceItem>,
    announced: [Option<(PlayId, BargeIn)>; ANNOUNCED],
    current: Option<Play>,
    /// Plays up to this one are thrown away.
    flushed: Option<PlayId>,
    /// The last play that was told to have ended.
    ended: Option<PlayId>,
    /// The last sample that went out, so that a stop does not click.
    last_sample: i16,
    /// The frame of the last tick was part of the current play.
    saying: bool,
    underruns: u64,
}

struct Play {
    id: PlayId,
    heard: Duration,
    started: bool,
    interruptible: bool,
}

/// Plays that may be announced before they begin.
const ANNOUNCED: usize = 16;

/// A stop fades from the last sample to nothing in 5 ms.
const RAMP: usize = 40;

/// The rules of a play that nobody announced: it cannot be interrupted.
const UNINTERRUPTIBLE: BargeIn =
    BargeIn { voice: false, keys: false, protect: Duration::ZERO, min_speech: Duration::ZERO };

impl Playout {
    pub(super) fn new(voice: VoiceReader) -> Self {
        Self {
            voice,
            put_back: None,
            announced: [None; ANNOUNCED],
            current: None,
            flushed: None,
            ended: None,
            last_sample: 0,
            saying: false,
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
            *slot = Some((play, how));
        }
        self.sort_announced();
    }

    /// The frame of this tick. It counts as heard when [`sent`](Self::sent) says that it left.
    pub(super) fn tick(&mut self, notice: &mut dyn FnMut(Notice)) -> Frame {
        self.saying = false;
        // Asked before the ring is emptied: what is written before the end is played before the end.
        let closed = self.voice.is_closed();
        loop {
            match self.next_item() {
                Some(VoiceItem::Audio(play, frame)) => {
                    self.become_current(play, notice);
                    self.saying = true;
                    self.last_sample = frame.samples[FRAME_SAMPLES - 1];
                    return frame;
                }
                Some(VoiceItem::End(play)) => {
                    if self.current.as_ref().is_some_and(|current| current.id == play) {
                        self.end_current(PlayEnd::Finished, notice);
                    } else {
                        self.take_rules(play);
                        self.tell_end(play, Duration::ZERO, PlayEnd::Finished, notice);
                    }
                }
                None if self.current.is_some() && !closed => {
                    self.underruns += 1;
                    return self.silence();
                }
                None => {
                    // The writer is gone: what it left unfinished is as finished as it will ever be.
                    self.end_current(PlayEnd::Finished, notice);
                    return self.silence();
                }
            }
        }
    }

    /// The frame of the last [`tick`](Self::tick) left. Tells which play it was the first frame of, if it was one.
    pub(super) fn sent(&mut self) -> Option<PlayId> {
        if !std::mem::take(&mut self.saying) {
            return None;
        }
        let current = self.current.as_mut()?;
        current.heard += PTIME;
        (!std::mem::replace(&mut current.started, true)).then_some(current.id)
    }

    /// Whether a play is under way.
    pub(super) const fn is_playing(&self) -> bool {
        self.current.is_some()
    }

    /// Throws away every play up to `play`: from the next tick on nothing of them goes out.
    pub(super) fn flush(&mut self, play: PlayId, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        self.flushed = self.flushed.max(Some(play));
        if self.current.as_ref().is_some_and(|current| current.id <= play) {
            self.end_current(end, notice);
        }
        for i in 0..ANNOUNCED {
            if let Some((id, _)) = self.announced[i].filter(|(id, _)| *id <= play) {
                self.announced[i] = None;
                self.tell_end(id, Duration::ZERO, end, notice);
            }
        }
        self.sort_announced();
        self.put_back = self.next_item();
    }

    /// The caller interrupts: ends the play under way and those announced after it, up to the first one that must
    /// not be interrupted.
    pub(super) fn barge_in(&mut self, notice: &mut dyn FnMut(Notice)) {
        let Some(current) = &self.current else { return };
        let open = |how: &BargeIn| (how.voice || how.keys) && how.protect.is_zero();
        let behind = self.announced.iter().flatten().take_while(|(_, how)| open(how)).map(|(id, _)| *id);
        let last = behind.fold(current.id, PlayId::max);
        self.flush(last, PlayEnd::BargedIn, notice);
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

    fn become_current(&mut self, play: PlayId, notice: &mut dyn FnMut(Notice)) {
        if self.current.as_ref().is_some_and(|current| current.id == play) {
            return;
        }
        self.end_current(PlayEnd::Finished, notice);
        let how = self.take_rules(play).unwrap_or(UNINTERRUPTIBLE);
        let interruptible = how.voice || how.keys;
        self.current = Some(Play { id: play, heard: Duration::ZERO, started: false, interruptible });
        notice(Notice::Began(how));
    }

    fn end_current(&mut self, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        if let Some(play) = self.current.take() {
            self.tell_end(play.id, play.heard, end, notice);
        }
    }

    fn tell_end(&mut self, play: PlayId, heard: Duration, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        if Some(play) > self.ended {
            self.ended = Some(play);
            notice(Notice::Ended { play, heard, end });
        }
    }

    /// In the order of their numbers, empty places last.
    fn sort_announced(&mut self) {
        self.announced.sort_unstable_by_key(|slot| slot.map_or((true, PlayId(0)), |(play, _)| (false, play)));
    }

    fn take_rules(&mut self, play: PlayId) -> Option<BargeIn> {
        let at = self.announced.iter().position(|slot| slot.is_some_and(|(id, _)| id == play))?;
        let rules = self.announced[at].take().map(|(_, how)| how);
        self.announced[at..].rotate_left(1);
        rules
    }

    /// A frame of silence that begins where the last sample was.
    fn silence(&mut self) -> Frame {
        let mut frame = Frame::silence(Rate::Hz8000);
        let from = i32::from(std::mem::take(&mut self.last_sample));
        for (i, sample) in frame.samples.iter_mut().take(RAMP).enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "no more than `from`"
            )]
            {
                *sample = (from * (RAMP - 1 - i) as i32 / RAMP as i32) as i16;
            }
        }
        frame
    }
}
