//! A small neural network, asked where a cheap detector may be wrong.

use earshot::Detector;

use super::{Effort, Vad, WebRtcVad};
use crate::audio::resample::Up2;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Samples at 16 kHz that the network judges at a time: 16 ms.
const HOP: usize = 256;

/// Hops in what the network looks at, and one more.
const WINDOW: u32 = 4;

/// The most samples at 16 kHz that wait: less than a hop, and the last frame and this one.
const ROOM: usize = HOP + 4 * FRAME_SAMPLES;

/// Scores from which speech begins, and down to which it goes on.
const BEGINS: f32 = 0.5;
const GOES_ON: f32 = 0.35;

/// Speech of which the network was sure for so long needs no more asking while it stands clear of the noise.
const SURE_MS: u32 = 120;

/// How far above the noise speech is clear of it, in dB.
const CLEAR: f32 = 15.0;

/// The network was trained on audio at another level than the telephone's: at −10 dB it takes noise for speech far more
/// seldom. In 1/1024.
const GAIN: i32 = 324;

/// The crate `earshot`, gated by [`WebRtcVad`]: what that one takes for silence is silence. The network judges whether
/// speech has really begun, and again where speech sinks into the noise; in the midst of a loud, clear word it is
/// not asked. 8 and 16 kHz; 9 KiB.
pub struct NeuralVad {
    gate: WebRtcVad,
    network: Box<Detector>,
    rate: Rate,
    up: Up2,
    waiting: [i16; ROOM],
    filled: usize,
    last: Frame,
    /// The network has heard the frame before this one.
    in_touch: bool,
    score: f32,
    /// Judgements since the network began to hear.
    hops: u32,
    speaks: bool,
    sure_ms: u32,
    effort: Effort,
}

impl NeuralVad {
    /// A detector for audio at `rate`. Allocates.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            gate: WebRtcVad::of_everything(rate),
            network: Detector::default_boxed(),
            rate,
            up: Up2::new(),
            waiting: [0; ROOM],
            filled: 0,
            last: Frame::silence(rate),
            in_touch: false,
            score: 0.0,
            hops: 0,
            speaks: false,
            sure_ms: 0,
            effort: Effort::default(),
        }
    }

    fn ask(&mut self, frame: &Frame) {
        if !self.in_touch {
            // What it remembers is long ago; the frame before this one is what it needs to see a beginning.
            self.network.reset();
            self.up = Up2::new();
            self.filled = 0;
            self.score = 0.0;
            self.hops = 0;
            let last = self.last;
            self.feed(&last);
        }
        self.feed(frame);
        self.effort.neural += 1;
    }

    fn feed(&mut self, frame: &Frame) {
        let mut wide = [0; 2 * FRAME_SAMPLES];
        let count = match self.rate {
            Rate::Hz8000 => self.up.process(&frame.samples, &mut wide),
            Rate::Hz16000 => {
                wide[..FRAME_SAMPLES].copy_from_slice(&frame.samples);
                FRAME_SAMPLES
            }
        };
        for (to, sample) in self.waiting[self.filled..].iter_mut().zip(&wide[..count]) {
            #[expect(clippy::cast_possible_truncation, reason = "a third of an i16")]
            {
                *to = (i32::from(*sample) * GAIN / 1_024) as i16;
            }
        }
        self.filled += count;
        while self.filled >= HOP {
            self.score = self.network.predict_i16(&self.waiting[..HOP]);
            self.hops += 1;
            self.waiting.copy_within(HOP..self.filled, 0);
            self.filled -= HOP;
        }
    }
}

impl Vad for NeuralVad {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        self.effort.frames += 1;
        let length_ms = if frame.rate == Rate::Hz8000 { 20 } else { 10 };
        if self.gate.is_speech(frame) {
            if self.sure_ms < SURE_MS || self.gate.loudness().above_noise() < CLEAR {
                self.ask(frame);
                self.in_touch = true;
                // Of a word that goes on it must have seen a whole window before it can say that it is over.
                self.speaks = if self.speaks {
                    self.score > GOES_ON || self.hops < WINDOW
                } else {
                    self.score > BEGINS
                };
                self.sure_ms = if self.speaks { self.sure_ms + length_ms } else { 0 };
            } else {
                self.in_touch = false;
            }
        } else {
            self.in_touch = false;
            self.speaks = false;
            self.sure_ms = 0;
        }
        self.last = *frame;
        self.speaks
    }

    fn effort(&self) -> Effort {
        self.effort
    }
}
