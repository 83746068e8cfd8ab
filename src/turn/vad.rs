//! Voice activity: is there speech in this frame.

use webrtc_vad::{SampleRate, Vad as Gmm, VadMode};

use crate::audio::{Frame, Rate};

/// Tells speech from other sound, frame by frame. One per call, on the call's media thread; allocates nothing.
pub trait Vad: Send {
    /// Whether there is speech in the frame that follows the ones before it.
    fn is_speech(&mut self, frame: &Frame) -> bool;
}

/// The WebRTC project's detector: a Gaussian mixture over six bands, 1.2 µs a frame.
///
/// It adapts its noise model to the call, but takes faint hiss on a digitally silent line for speech now and then,
/// so what lies below −50 dBFS is never speech.
pub struct WebRtcVad {
    gmm: Gmm,
    rate: Rate,
}

// SAFETY: the detector is a heap block that only this struct points to; the crate keeps no thread-local or shared
// state, and `&mut self` is needed to touch it.
#[expect(
    unsafe_code,
    reason = "webrtc-vad holds a raw pointer and so does not say that it may move to another thread"
)]
unsafe impl Send for WebRtcVad {}

impl WebRtcVad {
    /// Mean square of a sine of −50 dBFS: a caller whose voice is fainter than that could not be understood either.
    const FLOOR: i64 = 5_400;

    /// A detector for audio at `rate`, in its mode 3, which trades the softest word endings for fewest false alarms.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let hz = match rate {
            Rate::Hz8000 => SampleRate::Rate8kHz,
            Rate::Hz16000 => SampleRate::Rate16kHz,
        };
        Self { gmm: Gmm::new_with_rate_and_mode(hz, VadMode::VeryAggressive), rate }
    }
}

impl Vad for WebRtcVad {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        debug_assert_eq!(frame.rate, self.rate, "a call's frames keep their rate");
        let energy: i64 = frame.samples.iter().map(|&s| i64::from(s) * i64::from(s)).sum();
        // Asked even when the frame is too faint, so that its noise model keeps up. 160 samples are 20 ms at 8 kHz
        // and 10 ms at 16 kHz, both lengths that it knows; any other would be an error and counts as no speech.
        let voiced = self.gmm.is_voice_segment(&frame.samples).unwrap_or(false);
        voiced && energy / frame.samples.len() as i64 > Self::FLOOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::FRAME_SAMPLES;

    /// A buzz with the formants of a vowel, `amplitude` at its peak.
    fn vowel(amplitude: f64, start: usize) -> Frame {
        let mut frame = Frame::silence(Rate::Hz8000);
        for (i, sample) in frame.samples.iter_mut().enumerate() {
            let t = (start + i) as f64 / 8_000.0;
            let tone = |hz: f64, gain: f64| gain * (std::f64::consts::TAU * hz * t).sin();
            let mix = tone(130.0, 0.3) + tone(650.0, 0.4) + tone(1_040.0, 0.2) + tone(2_600.0, 0.1);
            *sample = (amplitude * mix) as i16;
        }
        frame
    }

    #[test]
    fn silence_is_no_speech_and_a_vowel_is() {
        let mut vad = WebRtcVad::new(Rate::Hz8000);
        assert!((0..50).all(|_| !vad.is_speech(&Frame::silence(Rate::Hz8000))));
        assert!((0..20).filter(|i| vad.is_speech(&vowel(8_000.0, i * FRAME_SAMPLES))).count() > 10);
    }

    #[test]
    fn what_is_too_faint_is_never_speech() {
        let mut vad = WebRtcVad::new(Rate::Hz8000);
        assert!((0..50).all(|i| !vad.is_speech(&vowel(60.0, i * FRAME_SAMPLES))));
    }
}
