//! How loud this call is: its noise and its caller, learned as it goes.

use crate::audio::Frame;
use crate::audio::level::rms_dbfs;

/// Stretches of the past whose least level is remembered; the noise floor is the least of them.
const STRETCHES: usize = 6;

/// Length of a stretch in milliseconds: with all of them, no sentence lasts so long without a gap between words.
const STRETCH_MS: u16 = 400;

/// What a line is taken to be before it was heard for long enough, in dBFS.
const AT_FIRST: f32 = -62.0;

/// No noise is taken to be fainter than this: a digitally silent line says nothing about when its caller speaks.
const FAINTEST: f32 = -68.0;

/// The least of some levels lies below their mean by about this much, in dB.
const BIAS: f32 = 1.5;

/// Learns the level of the noise and of the voice, both in dBFS, frame by frame. 48 bytes.
///
/// The noise is the least level of the last 2.4 s (minimum statistics): it needs nobody to say what is speech, and
/// follows a truck that comes by within that time. The voice is the peak of what lies above it, forgotten by 2 dB a
/// second.
#[derive(Clone, Debug)]
pub struct Loudness {
    least: [f32; STRETCHES],
    /// The least of the stretch under way, and how much of it is over.
    now_least: f32,
    passed_ms: u16,
    floor: f32,
    voice: f32,
    level: f32,
}

impl Default for Loudness {
    fn default() -> Self {
        Self {
            least: [AT_FIRST; STRETCHES],
            now_least: 0.0,
            passed_ms: 0,
            floor: AT_FIRST,
            voice: AT_FIRST,
            level: AT_FIRST,
        }
    }
}

impl Loudness {
    /// Hears a frame and gives its level in dBFS.
    pub fn hear(&mut self, frame: &Frame) -> f32 {
        let level = rms_dbfs(&frame.samples);
        let length_ms = if frame.rate.hz() == 8_000 { 20 } else { 10 };
        self.level = level;
        self.now_least = self.now_least.min(level);
        self.passed_ms += length_ms;
        if self.passed_ms >= STRETCH_MS {
            self.least.rotate_left(1);
            self.least[STRETCHES - 1] = self.now_least;
            self.now_least = 0.0;
            self.passed_ms = 0;
        }
        let least = self.least.iter().fold(self.now_least, |least, level| least.min(*level));
        self.floor = (least + BIAS).max(FAINTEST);
        let forgotten = self.voice - 0.002 * f32::from(length_ms);
        self.voice = if level > forgotten { forgotten + 0.5 * (level - forgotten) } else { forgotten };
        self.voice = self.voice.max(self.floor);
        level
    }

    /// The level of the noise, in dBFS.
    #[must_use]
    pub const fn floor(&self) -> f32 {
        self.floor
    }

    /// The level of the loudest vowels of late, in dBFS; the floor before there were any.
    #[must_use]
    pub const fn voice(&self) -> f32 {
        self.voice
    }

    /// By how many dB the last frame lies above the noise.
    #[must_use]
    pub fn above_floor(&self) -> f32 {
        self.level - self.floor
    }

    /// Whether the last frame is as loud and clear as a caller who talks to the bot: 18 dB above the noise, and not far
    /// below his vowels.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.above_floor() >= 18.0 && self.below_voice() <= 12.0 && self.level > -36.0
    }

    /// By how many dB the last frame lies below the loudest vowels.
    #[must_use]
    pub fn below_voice(&self) -> f32 {
        self.voice - self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    fn noise(amplitude: i16) -> Frame {
        let mut frame = Frame::silence(Rate::Hz8000);
        frame.samples.fill_with(|| fastrand::i16(-amplitude..=amplitude));
        frame
    }

    #[test]
    fn a_noise_that_begins_is_the_floor_within_three_seconds() {
        fastrand::seed(1);
        let mut loudness = Loudness::default();
        for _ in 0..50 {
            loudness.hear(&noise(8));
        }
        assert!(loudness.floor() < -60.0);
        let level = (0..150).map(|_| loudness.hear(&noise(800))).last().expect("150 frames");
        assert!((loudness.floor() - level).abs() < 3.0, "{} of {level}", loudness.floor());
    }

    #[test]
    fn words_with_gaps_do_not_raise_the_floor() {
        fastrand::seed(2);
        let mut loudness = Loudness::default();
        for i in 0..500 {
            loudness.hear(&noise(if i % 40 < 34 { 6_000 } else { 20 }));
        }
        assert!(loudness.floor() < -55.0);
        assert!(loudness.voice() > -25.0);
    }
}
