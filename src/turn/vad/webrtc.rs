//! The WebRTC project's detector.

use webrtc_vad::{SampleRate, Vad as Gmm, VadMode};

use super::band::Band;
use super::{Effort, FAINTEST_SPEECH, Vad};
use crate::audio::{Frame, Rate};
use crate::turn::loudness::Loudness;

/// The WebRTC project's detector: a Gaussian mixture over six bands, 1.2 µs a frame, and a look at the level.
///
/// The mixture adapts its noise model to the call, but holds on to speech for some frames after its end, fires in loud
/// noise, and takes faint hiss on a digitally silent line for speech. So what lies below −47 dBFS, or hardly above the
/// noise of the call, or nearer to that noise than to its caller's vowels is never speech.
pub struct WebRtcVad {
    gmm: Gmm,
    /// What it hears; [`None`] for everything.
    band: Option<Band>,
    rate: Rate,
    loudness: Loudness,
    speaks: bool,
    frames: u64,
}

// SAFETY: the detector is a heap block that only this struct points to; the crate keeps no thread-local or shared
// state, and `&mut self` is needed to touch it.
#[expect(
    unsafe_code,
    reason = "webrtc-vad holds a raw pointer and so does not say that it may move to another thread"
)]
unsafe impl Send for WebRtcVad {}

impl WebRtcVad {
    /// A detector for audio at `rate`, in its mode 3, which trades the softest word endings for fewest false alarms.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let hz = match rate {
            Rate::Hz8000 => SampleRate::Rate8kHz,
            Rate::Hz16000 => SampleRate::Rate16kHz,
        };
        Self {
            gmm: Gmm::new_with_rate_and_mode(hz, VadMode::VeryAggressive),
            band: Some(Band::new(rate)),
            rate,
            loudness: Loudness::default(),
            speaks: false,
            frames: 0,
        }
    }
}

impl WebRtcVad {
    /// One that hears what lies below the telephone's band too: for a network that judges what it lets through.
    pub(super) fn of_everything(rate: Rate) -> Self {
        Self { band: None, ..Self::new(rate) }
    }
}

impl Vad for WebRtcVad {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        debug_assert_eq!(frame.rate, self.rate, "a call's frames keep their rate");
        self.frames += 1;
        let frame = self.band.as_mut().map_or(*frame, |band| band.pass(frame));
        let level = self.loudness.hear(&frame);
        // Asked even when the frame is too faint, so that its noise model keeps up. 160 samples are 20 ms at 8 kHz
        // and 10 ms at 16 kHz, both lengths that it knows; any other would be an error and counts as no speech.
        let voiced = self.gmm.is_voice_segment(&frame.samples).unwrap_or(false);
        self.speaks = voiced && level > FAINTEST_SPEECH && self.loudness.is_loud(self.speaks);
        self.speaks
    }

    fn effort(&self) -> Effort {
        Effort { frames: self.frames, neural: 0 }
    }
}

impl WebRtcVad {
    /// How loud the call is, as learned on the way.
    #[must_use]
    pub const fn loudness(&self) -> &Loudness {
        &self.loudness
    }
}
