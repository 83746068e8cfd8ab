//! Speech by its level alone.

use super::band::Band;
use super::{Effort, FAINTEST_SPEECH, Vad};
use crate::audio::{Frame, Rate};
use crate::turn::loudness::Loudness;

/// Takes for speech what is louder than the call's noise: by 8 dB to begin, and less to go on. The noise is learned from
/// the call. Whatever is loud is speech to it.
#[derive(Clone, Debug)]
pub struct LevelVad {
    band: Band,
    loudness: Loudness,
    speaks: bool,
    frames: u64,
}

impl LevelVad {
    /// A detector that knows nothing of the call yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { band: Band::new(rate), loudness: Loudness::default(), speaks: false, frames: 0 }
    }
}

impl Vad for LevelVad {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        self.frames += 1;
        let level = self.loudness.hear(&self.band.pass(frame));
        self.speaks = level > FAINTEST_SPEECH && self.loudness.is_loud(self.speaks);
        self.speaks
    }

    fn effort(&self) -> Effort {
        Effort { frames: self.frames, neural: 0 }
    }
}
