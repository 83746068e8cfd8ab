//! Voice activity: is there speech in this frame.
//!
//! | kind | hears speech by | costs for 20 ms | for |
//! |---|---|---|---|
//! | [`Kind::Webrtc`] | a Gaussian mixture over six bands, and the level above the call's noise | 2 µs | nearly everybody |
//! | [`Kind::Level`] | the level above the call's noise, with hysteresis | 0.2 µs | quiet lines; nothing to be fooled by but loudness |
//! | [`Kind::Neural`] | a small network (`earshot`), asked where the first one hears speech and may be wrong | 2 to 9 µs | noisy lines |
//!
//! The first two hear the call without what lies below the telephone's band (`band`): hum is no speech, and hides none.
//!
//! A detector of tones goes before all of them ([`Tones`](super::tones::Tones)): key tones and ringback are loud and
//! no speech.

use crate::audio::{Frame, Rate};

mod band;
pub mod level;
pub mod neural;
pub mod webrtc;

pub use level::LevelVad;
pub use neural::NeuralVad;
pub use webrtc::WebRtcVad;

/// Tells speech from other sound, frame by frame. One per call, on the call's media thread; allocates nothing.
pub trait Vad: Send {
    /// Whether there is speech in the frame that follows the ones before it.
    fn is_speech(&mut self, frame: &Frame) -> bool;

    /// How much was heard so far, and of how much of it a dear detector was asked.
    fn effort(&self) -> Effort {
        Effort::default()
    }
}

/// Frames that a detector has heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// All of them; 0 from detectors that do not count.
    pub frames: u64,
    /// Those that the neural network was asked about.
    pub neural: u64,
}

/// The detectors that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// [`WebRtcVad`].
    #[default]
    Webrtc,
    /// [`LevelVad`].
    Level,
    /// [`NeuralVad`].
    Neural,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Webrtc, Self::Level, Self::Neural];

    /// Its name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webrtc => "webrtc",
            Self::Level => "level",
            Self::Neural => "neural",
        }
    }

    /// The detector of that [`name`](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A detector for audio at `rate`. Allocates; not for the media thread.
#[must_use]
pub fn make(kind: Kind, rate: Rate) -> Box<dyn Vad> {
    match kind {
        Kind::Webrtc => Box::new(WebRtcVad::new(rate)),
        Kind::Level => Box::new(LevelVad::new(rate)),
        Kind::Neural => Box::new(NeuralVad::new(rate)),
    }
}

/// What lies below this is never speech, in dBFS: a caller whose voice is fainter than that could not be understood
/// either, and every detector takes the faint hiss of a digitally silent line for speech now and then.
const FAINTEST_SPEECH: f32 = -47.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::Tone;
    use crate::turn::sounds::Sounds;

    fn count(vad: &mut dyn Vad, frames: &[Frame]) -> usize {
        frames.iter().filter(|frame| vad.is_speech(frame)).count()
    }

    #[test]
    fn every_detector_hears_vowels_and_no_silence_at_both_rates() {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            for kind in Kind::ALL {
                let mut vad = make(kind, rate);
                let mut sounds = Sounds::new(rate, 7);
                assert_eq!(count(&mut *vad, &sounds.silence(2_000)), 0, "{kind} at {rate:?}: silence");
                let speech = sounds.sentence(1_500);
                let heard = count(&mut *vad, &speech);
                assert!(heard * 10 > speech.len() * 7, "{kind} at {rate:?}: {heard} of {}", speech.len());
                let after = sounds.silence(1_000);
                let heard = count(&mut *vad, &after);
                let frames_of_100_ms = after.len() / 10;
                assert!(heard <= frames_of_100_ms, "{kind} at {rate:?}: {heard} frames of silence after");
            }
        }
    }

    #[test]
    fn what_is_too_faint_is_never_speech() {
        for kind in Kind::ALL {
            let mut vad = make(kind, Rate::Hz8000);
            let mut faint = Sounds::new(Rate::Hz8000, 3).sentence(1_000);
            faint.iter_mut().for_each(|frame| frame.samples.iter_mut().for_each(|s| *s /= 100));
            assert_eq!(count(&mut *vad, &faint), 0, "{kind}");
        }
    }

    #[test]
    fn steady_noise_is_learned() {
        for kind in Kind::ALL {
            let mut vad = make(kind, Rate::Hz8000);
            let mut sounds = Sounds::new(Rate::Hz8000, 5);
            let noise = sounds.noise(6_000, 6_000);
            count(&mut *vad, &noise[..150]);
            let heard = count(&mut *vad, &noise[150..]);
            assert!(heard <= 3, "{kind}: {heard} of 150 frames of noise");
        }
    }

    #[test]
    fn the_network_is_asked_only_where_there_may_be_speech() {
        let mut vad = make(Kind::Neural, Rate::Hz8000);
        let mut sounds = Sounds::new(Rate::Hz8000, 5);
        count(&mut *vad, &sounds.silence(3_000));
        assert_eq!(vad.effort(), Effort { frames: 150, neural: 0 });
        count(&mut *vad, &sounds.sentence(2_000));
        let effort = vad.effort();
        assert_eq!(effort.frames, 250);
        assert!((5..80).contains(&effort.neural), "{effort:?}");
    }

    #[test]
    fn a_tone_fools_them_all() {
        // Why there is a detector of tones.
        let mut vad = make(Kind::Level, Rate::Hz8000);
        count(&mut *vad, &Sounds::new(Rate::Hz8000, 1).silence(400));
        let mut tone = Tone::key(Rate::Hz8000, '5').expect("a key");
        assert!((0..20).filter(|_| vad.is_speech(&tone.frame())).count() > 15);
    }
}
