//! The simplest bot that takes turns: it says one endless sentence (a tone), lets itself be interrupted, and begins anew
//! when the caller is done.

use std::time::Duration;

use crate::audio::ring::PlayId;
use crate::audio::tone::Tone;
use crate::audio::{Frame, Rate};
use crate::media::MediaEvent;
use crate::time::Moment;
use crate::turn::{BargeIn, Listening, TurnSignal};

/// How it listens: nobody recognises, and what is measured is the audio path, so half a second of silence is an end.
pub(super) const LISTENING: Listening = Listening::fixed(Duration::from_millis(500));

/// How it is interrupted: by 120 ms of any voice, for the same reason.
pub(super) const BARGE_IN: BargeIn = BargeIn {
    min_speech: Duration::from_millis(120),
    min_speech_without_words: Duration::from_millis(120),
    min_clear_speech: Duration::from_millis(120),
    pitched_percent: 0,
    duck_db: 0,
    hush_db: 0,
    ..BargeIn::ALLOWED
};

/// What it does and what it noted.
pub(super) struct Bot {
    pub(super) play: PlayId,
    pub(super) saying: bool,
    asked: Moment,
    /// From having an answer to its first frame.
    pub(super) replies: Vec<Duration>,
    /// When it was decided that the caller is done.
    pub(super) endpoints: Vec<Moment>,
    /// When its sentences ended.
    pub(super) stops: Vec<Moment>,
}

impl Bot {
    pub(super) fn new() -> Self {
        let room = 64;
        Self {
            play: PlayId(0),
            saying: false,
            asked: Moment::ZERO,
            replies: Vec::with_capacity(room),
            endpoints: Vec::with_capacity(room),
            stops: Vec::with_capacity(room),
        }
    }

    /// 20 ms of its sentence.
    pub(super) fn sentence() -> Frame {
        Tone::sine(Rate::Hz8000, 300.0, -12.0).frame()
    }

    /// Takes what happened; whether it listens and speaks anew.
    pub(super) fn takes(&mut self, event: &MediaEvent) -> bool {
        match event {
            MediaEvent::PlayStarted { play, at } if *play == self.play => {
                self.replies.push(at.since(self.asked));
                false
            }
            MediaEvent::PlayEnded { play, at, .. } if *play == self.play => {
                self.saying = false;
                self.stops.push(*at);
                false
            }
            MediaEvent::Turn(TurnSignal::Endpoint { decided, .. }) => {
                self.endpoints.push(*decided);
                true
            }
            MediaEvent::Turn(TurnSignal::TooLong { .. } | TurnSignal::NoInput { .. }) => true,
            _ => false,
        }
    }

    /// The play to begin, unless its sentence is being said.
    pub(super) fn begins(&mut self, now: Moment) -> Option<PlayId> {
        if std::mem::replace(&mut self.saying, true) {
            return None;
        }
        self.play = PlayId(self.play.0 + 1);
        self.asked = now;
        Some(self.play)
    }
}
