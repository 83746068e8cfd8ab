//! How loud this call is: its noise and its caller, learned as it goes.

use crate::audio::Frame;
use crate::audio::level::rms_dbfs;

/// Stretches of the past whose least level is remembered; the noise is never taken to be fainter than the least of them.
const STRETCHES: usize = 5;

/// Length of a stretch in milliseconds: with all of them, no sentence lasts so long without a gap between words.
const STRETCH_MS: u16 = 320;

/// What a line is taken to be before it was heard for long enough, in dBFS.
const AT_FIRST: f32 = -62.0;

/// No noise is taken to be fainter than this: a digitally silent line says nothing about when its caller speaks.
const FAINTEST: f32 = -68.0;

/// What lies so little above the noise may be noise: the mean follows it. In dB.
const NEAR: f32 = 8.0;

/// The mean follows noise by this share of the difference in 20 ms, and rises by so many dB under speech.
const FOLLOWS: f32 = 0.05;
const CREEPS: f32 = 0.03;

/// Speech begins so far above the noise, in dB; and goes on down to there.
const BEGINS: f32 = 8.0;
const GOES_ON: f32 = 5.0;

/// Speech that goes on lies above this share of the way from the noise to the voice: in babble, gaps are not silent.
const SHARE: f32 = 0.3;

/// But never further above the noise than this, in dB: words end softly.
const SOFT_ENDS: f32 = 12.0;

/// Learns the level of the noise and of the voice, both in dBFS, frame by frame. 48 bytes.
///
/// The noise is a mean of what is not far above it, and at least the least level of the last 1.6 s (minimum statistics),
/// so that it needs nobody to say what is speech. The voice is the peak of what lies above it, forgotten by 2 dB a
/// second.
#[derive(Clone, Debug)]
pub struct Loudness {
    least: [f32; STRETCHES],
    /// The least of the stretch under way, and how much of it is over.
    now_least: f32,
    passed_ms: u16,
    /// Nothing was heard yet.
    fresh: bool,
    noise: f32,
    voice: f32,
    level: f32,
}

impl Default for Loudness {
    fn default() -> Self {
        Self {
            least: [AT_FIRST; STRETCHES],
            now_least: 0.0,
            passed_ms: 0,
            fresh: true,
            noise: AT_FIRST,
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
        let share = f32::from(length_ms) / 20.0;
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
        if std::mem::take(&mut self.fresh) {
            // Calls begin with a moment in which nobody speaks.
            self.noise = level.min(-30.0);
        }
        let away = level.max(FAINTEST) - self.noise;
        self.noise += share * if away < NEAR { FOLLOWS * away } else { CREEPS };
        self.noise = self.noise.max(least).max(FAINTEST);
        let forgotten = self.voice - 0.04 * share;
        self.voice = if level > forgotten { forgotten + 0.5 * (level - forgotten) } else { forgotten };
        self.voice = self.voice.max(self.noise);
        level
    }

    /// The level of the noise, in dBFS.
    #[must_use]
    pub const fn noise(&self) -> f32 {
        self.noise
    }

    /// The level of the loudest vowels of late, in dBFS; that of the noise before there were any.
    #[must_use]
    pub const fn voice(&self) -> f32 {
        self.voice
    }

    /// Whether the last frame is loud enough for speech; if `speaks`, for speech to go on.
    #[must_use]
    pub fn is_loud(&self, speaks: bool) -> bool {
        let above =
            if speaks { (SHARE * (self.voice - self.noise)).clamp(GOES_ON, SOFT_ENDS) } else { BEGINS };
        self.level - self.noise > above
    }

    /// Whether the last frame is as loud and clear as a caller who talks to the bot: 18 dB above the noise, and not far
    /// below his vowels.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.above_noise() >= 18.0 && self.voice - self.level <= 12.0 && self.level > -36.0
    }

    /// By how many dB the last frame lies above the noise.
    #[must_use]
    pub fn above_noise(&self) -> f32 {
        self.level - self.noise
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
    fn a_noise_that_begins_is_learned_within_three_seconds() {
        fastrand::seed(1);
        let mut loudness = Loudness::default();
        for _ in 0..50 {
            loudness.hear(&noise(8));
        }
        assert!(loudness.noise() < -60.0);
        let level = (0..150).map(|_| loudness.hear(&noise(800))).last().expect("150 frames");
        assert!((loudness.noise() - level).abs() < 3.0, "{} of {level}", loudness.noise());
    }

    #[test]
    fn words_with_gaps_are_no_noise() {
        fastrand::seed(2);
        let mut loudness = Loudness::default();
        for i in 0..500 {
            loudness.hear(&noise(if i % 40 < 34 { 6_000 } else { 20 }));
        }
        assert!(loudness.noise() < -50.0, "{}", loudness.noise());
        assert!(loudness.voice() > -25.0);
    }
}
