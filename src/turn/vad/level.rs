//! Speech by its level alone.

use super::{Effort, FAINTEST_SPEECH, SOFTEST_BELOW_VOICE, Vad};
use crate::audio::Frame;
use crate::turn::loudness::Loudness;

/// Speech begins this far above the noise of the call, in dB.
const BEGINS: f32 = 9.0;

/// Speech that has begun goes on down to here, in dB above the noise.
const GOES_ON: f32 = 6.0;

/// Takes for speech what is louder than the call's noise: by 9 dB to begin, by 6 dB to go on. The noise is learned from
/// the call. Whatever is loud is speech to it.
#[derive(Clone, Debug, Default)]
pub struct LevelVad {
    loudness: Loudness,
    speaks: bool,
    frames: u64,
}

impl LevelVad {
    /// A detector that knows nothing of the call yet; for either rate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Vad for LevelVad {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        self.frames += 1;
        let level = self.loudness.hear(frame);
        let above = if self.speaks { GOES_ON } else { BEGINS };
        self.speaks = level > FAINTEST_SPEECH
            && self.loudness.above_floor() > above
            && self.loudness.below_voice() < SOFTEST_BELOW_VOICE;
        self.speaks
    }

    fn effort(&self) -> Effort {
        Effort { frames: self.frames, neural: 0 }
    }
}
