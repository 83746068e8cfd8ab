//! From frames to what the judge wants to know of 20 ms.

use super::whistle::{Pure, Whistle};
use crate::audio::level::rms_dbfs;
use crate::audio::resample::Down2;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::turn::contour::Contour;
use crate::turn::echo::EchoGate;
use crate::turn::evidence::Ending;
use crate::turn::tones::Tones;
use crate::turn::vad::{self, Kind, Vad};

/// Frames without voice after which it is told how the voice ended: a stop consonant is shorter.
const ENDED: u8 = 5;

/// The same after which the next voice is another sentence.
const FORGOTTEN: u8 = 20;

/// Half a tone's last frame is no tone any more, and no voice either.
const TAIL: u8 = 1;

/// What is fainter is no tone that anybody is to hear, in dBFS.
const FAINTEST_TONE: f32 = -50.0;

/// A first frame that is louder than this is a voice, in dBFS: a callee who speaks as he answers, or whose first word is cut off,
/// would be taken for the noise of the line. No line is so noisy.
const SPEAKS_AT_ONCE: f32 = -32.0;

/// So many frames of silence are then supposed before it.
const BEFORE: usize = 16;

/// What was heard in 20 ms. Plain data: a benchmark keeps a call's and judges it again and again.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Heard {
    /// There is voice in it.
    pub(crate) voice: bool,
    /// The tone that it is.
    pub(crate) tone: Pure,
    /// How loud it is, in dBFS.
    pub(crate) level: f32,
    /// The voice ended some time ago, and its pitch had risen.
    pub(crate) rose: bool,
}

/// Hears frames, at 8 or 16 kHz. Allocates when it is made, and never after.
pub(crate) struct Ears {
    vad: Box<dyn Vad>,
    /// What listens from the answer on; after it, what listened before. It has learned nothing of early media, which may be
    /// digital silence, and is kept since nothing is released on a media thread.
    next: Box<dyn Vad>,
    /// The detector has heard nothing yet.
    fresh: bool,
    whistle: Whistle,
    tones: Tones,
    contour: Contour,
    echo: EchoGate,
    /// Something was sent: there may be an echo.
    sends: bool,
    /// What was heard last was one.
    echoes: bool,
    rate: Rate,
    down: Down2,
    /// At 16 kHz the first half of 20 ms, brought to 8.
    half: [i16; FRAME_SAMPLES],
    filled: usize,
    tail: u8,
    /// Frames without voice, up to [`FORGOTTEN`].
    quiet: u8,
    rose: bool,
}

impl Ears {
    pub(crate) fn new(detector: Kind, rate: Rate) -> Self {
        Self {
            vad: vad::make(detector, Rate::Hz8000),
            next: vad::make(detector, Rate::Hz8000),
            fresh: true,
            whistle: Whistle::new(),
            tones: Tones::new(Rate::Hz8000),
            contour: Contour::default(),
            echo: EchoGate::default(),
            sends: false,
            echoes: false,
            rate,
            down: Down2::new(),
            half: [0; FRAME_SAMPLES],
            filled: 0,
            tail: 0,
            quiet: FORGOTTEN,
            rose: false,
        }
    }

    /// Somebody answered: the line has another noise from now on.
    pub(crate) fn answered(&mut self) {
        std::mem::swap(&mut self.vad, &mut self.next);
        self.fresh = true;
    }

    /// What was sent in 20 ms, at 8 kHz: an echo of it is no voice of the other side.
    pub(crate) fn sent(&mut self, frame: &Frame) {
        self.sends = true;
        self.echo.sent(frame);
    }

    /// Whether the last frame was an echo of what was sent.
    pub(crate) const fn echoes(&self) -> bool {
        self.echoes
    }

    /// The rate that they were made for.
    pub(crate) const fn rate(&self) -> Rate {
        self.rate
    }

    /// A frame was lost.
    pub(crate) fn missed(&mut self) {
        if self.sends {
            self.echo.missed();
        }
    }

    /// A frame of the rate that they were made for; what was heard, where 20 ms are whole.
    pub(crate) fn hear(&mut self, frame: &Frame) -> Option<Heard> {
        debug_assert_eq!(frame.rate, self.rate, "a call's frames keep their rate");
        if frame.rate == Rate::Hz8000 {
            return Some(self.whole(frame));
        }
        self.filled += self.down.process(&frame.samples, &mut self.half[self.filled..]);
        if self.filled < FRAME_SAMPLES {
            return None;
        }
        self.filled = 0;
        Some(self.whole(&Frame { rate: Rate::Hz8000, samples: self.half }))
    }

    fn whole(&mut self, frame: &Frame) -> Heard {
        let level = rms_dbfs(&frame.samples);
        let echo = self.sends && self.echo.heard(frame);
        self.echoes = echo;
        if std::mem::take(&mut self.fresh) && level > SPEAKS_AT_ONCE {
            for _ in 0..BEFORE {
                self.vad.is_speech(&Frame::silence(Rate::Hz8000));
            }
        }
        let speech = self.vad.is_speech(frame);
        let mut tone = Pure::No;
        if level > FAINTEST_TONE {
            tone = self.whistle.hear(&frame.samples);
            if tone == Pure::No {
                if self.tones.is_tone(frame) {
                    tone = Pure::Line;
                }
            } else {
                self.tones.pass();
            }
        } else {
            self.tones.pass();
        }
        if echo {
            tone = Pure::No;
        }
        let voice = speech && !echo && tone == Pure::No && self.tail == 0;
        self.tail = if tone == Pure::No { self.tail.saturating_sub(1) } else { TAIL };
        self.follow(frame, level, voice);
        Heard { voice, tone, level, rose: self.rose }
    }

    /// Follows the voice's pitch.
    fn follow(&mut self, frame: &Frame, level: f32, voice: bool) {
        if voice {
            if self.quiet >= FORGOTTEN {
                self.contour.begin();
            }
            self.quiet = 0;
            self.rose = false;
        } else {
            self.quiet = (self.quiet + 1).min(FORGOTTEN);
            if self.quiet == ENDED {
                self.rose = self.contour.ending() == Ending::Rises;
            }
        }
        if self.quiet < ENDED {
            self.contour.hear(frame, level);
        }
    }
}
