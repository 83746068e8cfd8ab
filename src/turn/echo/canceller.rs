//! Taking the echo out of what is heard.

use sonora::config::EchoCanceller;
use sonora::{AudioProcessing, Config, StreamConfig};

use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Takes the bot's voice out of what is heard, in place. One per call, on its media thread.
pub trait Canceller: Send {
    /// What was sent: every 20 ms, silence too, before what is heard in the same 20 ms.
    fn sent(&mut self, frame: &Frame);

    /// What is heard: the echo goes, the caller stays. Frames of another rate than that of what is sent are left as they
    /// are.
    fn heard(&mut self, frame: &mut Frame);
}

/// The echo canceller of the WebRTC project (AEC3), as ported to Rust in the crate `sonora`: some 150 µs a frame and some
/// hundred kilobytes a call, and it may allocate as it begins. For lines that have an echo and callers who must be
/// understood over it. 8 kHz or 16 kHz; not to be made on the media thread.
#[must_use]
pub fn canceller(rate: Rate) -> Box<dyn Canceller> {
    let stream = StreamConfig::new(rate.hz(), 1);
    let config = Config { echo_canceller: Some(EchoCanceller::default()), ..Config::default() };
    let processing =
        AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
    Box::new(Aec3 { processing, rate })
}

struct Aec3 {
    processing: AudioProcessing,
    rate: Rate,
}

/// It works in pieces of 10 ms.
fn piece(rate: Rate) -> usize {
    if rate == Rate::Hz8000 { FRAME_SAMPLES / 2 } else { FRAME_SAMPLES }
}

impl Canceller for Aec3 {
    fn sent(&mut self, frame: &Frame) {
        if frame.rate != self.rate {
            return;
        }
        let mut nowhere = [0; FRAME_SAMPLES];
        for piece in frame.samples.chunks_exact(piece(self.rate)) {
            // An error would be a length that it does not take; 10 ms are always taken.
            let _ = self.processing.process_render_i16(piece, &mut nowhere[..piece.len()]);
        }
    }

    fn heard(&mut self, frame: &mut Frame) {
        if frame.rate != self.rate {
            return;
        }
        let heard = frame.samples;
        let piece = piece(self.rate);
        for (from, to) in heard.chunks_exact(piece).zip(frame.samples.chunks_exact_mut(piece)) {
            if self.processing.process_capture_i16(from, to).is_err() {
                to.copy_from_slice(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::rms_dbfs;
    use crate::turn::sounds::Sounds;

    #[test]
    fn the_bot_is_taken_out_and_the_caller_stays() {
        let bot = Sounds::new(Rate::Hz8000, 1).babble(6_000, 190.0, 12_000.0);
        let caller = Sounds::new(Rate::Hz8000, 2).babble(6_000, 115.0, 8_000.0);
        let mut aec = canceller(Rate::Hz8000);
        let delay = 480;
        let (mut before, mut after, mut both) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..300 {
            let at = i * FRAME_SAMPLES;
            let mut sent = Frame::silence(Rate::Hz8000);
            sent.samples.copy_from_slice(&bot[at..at + FRAME_SAMPLES]);
            let mut heard = Frame::silence(Rate::Hz8000);
            for (k, sample) in heard.samples.iter_mut().enumerate() {
                let echo = (at + k).checked_sub(delay).map_or(0, |from| bot[from] / 8);
                *sample = echo + if i >= 250 { caller[at + k] } else { 0 };
            }
            let own = heard.samples;
            aec.sent(&sent);
            aec.heard(&mut heard);
            if (150..250).contains(&i) {
                before.extend(own);
                after.extend(heard.samples);
            } else if i >= 260 {
                both.extend(heard.samples);
            }
        }
        let (echo, left, caller) = (rms_dbfs(&before), rms_dbfs(&after), rms_dbfs(&both));
        assert!(left < echo - 20.0, "{echo} dBFS of echo, {left} left");
        assert!(caller > -35.0, "the caller at {caller} dBFS");
    }
}
