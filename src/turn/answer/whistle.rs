//! Pure tones of any pitch: beeps, and the tones of lines and fax machines with their frequency.

use std::sync::LazyLock;

use crate::audio::FRAME_SAMPLES;

/// Frequencies that are looked at first, 50 Hz apart: 300 to 2,600 Hz. At 8 kHz a frame is 20 ms, and a sine of such a
/// frequency a whole number of its periods.
const FIRST: usize = 6;
const BINS: usize = 47;

/// A frame is one tone when so much of its energy is one sine. A noise 10 dB below leaves 0.91.
const ONE: f32 = 0.87;

/// It is two when two sines have so much of it, each at least a [`LEAST`] share.
const TWO: f32 = 0.9;
const LEAST: f32 = 0.1;

/// Two tones nearer to each other than this cannot be told apart in 20 ms, in Hz.
const APART: f32 = 90.0;

/// Pairs of lines that can: the dial tone and the busy tone of North America. And what else is below this is no pair, in Hz.
const LINES: [(f32, f32); 2] = [(350.0, 440.0), (480.0, 620.0)];
const LOW: f32 = 700.0;

/// Two are only looked for where the strongest frequencies of a frame hold this share.
const PROMISING: f32 = 0.6;

/// What a frame sounds like.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) enum Pure {
    /// No tone.
    #[default]
    No,
    /// One sine.
    One(f32),
    /// Two sines, the lower one first.
    Two(f32, f32),
    /// Two near ones, as lines have them: ringing, busy and dial tones.
    Line,
}

static COSINES: LazyLock<[f32; BINS]> = LazyLock::new(|| {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    std::array::from_fn(|bin| (std::f32::consts::TAU * (FIRST + bin) as f32 / FRAME_SAMPLES as f32).cos())
});

/// Finds tones in frames of 8 kHz. No state but a shared table; three times the work where two tones are likely.
#[derive(Clone, Debug)]
pub(crate) struct Whistle {
    cosines: &'static [f32; BINS],
}

impl Whistle {
    /// The first one computes a table; not for the media thread.
    pub(crate) fn new() -> Self {
        Self { cosines: LazyLock::force(&COSINES) }
    }

    /// What the frame is made of; of pairs of lines those that can be told apart.
    pub(crate) fn hear(&self, samples: &[i16; FRAME_SAMPLES]) -> Pure {
        let wave: [f32; FRAME_SAMPLES] = std::array::from_fn(|i| f32::from(samples[i]));
        let energy: f32 = wave.iter().map(|s| s * s).sum();
        // Below −60 dBFS or so the steps of the codec are the sound.
        if energy < 160.0 * 25.0 * 25.0 {
            return Pure::No;
        }
        let spectrum = Spectrum::of(&wave, self.cosines);
        let Some(first) = spectrum.peak() else { return Pure::No };
        let one = Sine::fit(&wave, first);
        let share = one.energy / energy;
        if share >= ONE {
            return Pure::One(one.hz);
        }
        if share < LEAST || spectrum.promise() < PROMISING * energy {
            return Pure::No;
        }
        // Each is fitted to what the other one leaves.
        let rest = one.without(&wave);
        let Some(second) = Spectrum::of(&rest, self.cosines).peak() else { return Pure::No };
        let two = Sine::fit(&rest, second);
        let rest = two.without(&wave);
        let one = Sine::fit(&rest, one.hz);
        let two = Sine::fit(&one.without(&wave), two.hz);
        let left: f32 = two.without(&one.without(&wave)).iter().map(|s| s * s).sum();
        let each = one.energy.min(two.energy) / energy;
        if 1.0 - left / energy < TWO || each < LEAST || (one.hz - two.hz).abs() < APART {
            return Pure::No;
        }
        let (low, high) = (one.hz.min(two.hz), one.hz.max(two.hz));
        let near = |a: f32, b: f32| (a - b).abs() <= 12.0;
        if LINES.iter().any(|pair| near(low, pair.0) && near(high, pair.1)) {
            return Pure::Line;
        }
        // Two low harmonics are a vowel.
        if high < LOW { Pure::No } else { Pure::Two(low, high) }
    }
}

/// The frame's products with each of the frequencies.
struct Spectrum {
    re: [f32; BINS],
    im: [f32; BINS],
}

impl Spectrum {
    fn of(wave: &[f32; FRAME_SAMPLES], cosines: &[f32; BINS]) -> Self {
        let (mut one, mut two) = ([0.0_f32; BINS], [0.0_f32; BINS]);
        let twice = cosines.map(|cosine| 2.0 * cosine);
        for sample in wave {
            // Goertzel, all side by side, so that the compiler takes several at a time.
            for ((one, two), twice) in one.iter_mut().zip(&mut two).zip(&twice) {
                let next = sample + twice * *one - *two;
                *two = *one;
                *one = next;
            }
        }
        let (mut re, mut im) = ([0.0; BINS], [0.0; BINS]);
        for bin in 0..BINS {
            let cosine = cosines[bin];
            re[bin] = one[bin] * cosine - two[bin];
            im[bin] = one[bin] * (1.0 - cosine * cosine).max(0.0).sqrt();
        }
        Self { re, im }
    }

    fn power(&self, bin: usize) -> f32 {
        self.re[bin] * self.re[bin] + self.im[bin] * self.im[bin]
    }

    /// The frequency of the strongest peak, in Hz, by what its neighbours hold (Jacobsen and Kootsookos, "Fast, accurate
    /// frequency estimators", 2007).
    fn peak(&self) -> Option<f32> {
        let best = (0..BINS).max_by(|a, b| self.power(*a).total_cmp(&self.power(*b)))?;
        if best == 0 || best == BINS - 1 {
            return None;
        }
        let [before, here, after] = [best - 1, best, best + 1].map(|bin| (self.re[bin], self.im[bin]));
        let above = (before.0 - after.0, before.1 - after.1);
        let below = (2.0 * here.0 - before.0 - after.0, 2.0 * here.1 - before.1 - after.1);
        let size = below.0 * below.0 + below.1 * below.1;
        if size <= 0.0 {
            return None;
        }
        let shift = ((above.0 * below.0 + above.1 * below.1) / size).clamp(-0.6, 0.6);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        Some(((FIRST + best) as f32 + shift) * 50.0)
    }

    /// The energy that the strongest bins hold, with the neighbours that share it: at most of two tones.
    fn promise(&self) -> f32 {
        let mut powers: [f32; BINS] = std::array::from_fn(|bin| self.power(bin));
        powers.sort_unstable_by(|a, b| b.total_cmp(a));
        #[expect(clippy::cast_precision_loss, reason = "160")]
        let whole = FRAME_SAMPLES as f32 / 2.0;
        powers[..6].iter().sum::<f32>() / whole
    }
}

/// A sine and how much of a frame it is.
struct Sine {
    hz: f32,
    cosine: f32,
    sine: f32,
    energy: f32,
}

impl Sine {
    /// The sine of that frequency that leaves least of the frame.
    fn fit(wave: &[f32; FRAME_SAMPLES], hz: f32) -> Self {
        let mut turning = Turning::new(hz);
        let (mut wc, mut ws, mut cc, mut cs, mut ss) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for sample in wave {
            let (c, s) = turning.next();
            wc += sample * c;
            ws += sample * s;
            cc += c * c;
            cs += c * s;
            ss += s * s;
        }
        let size: f32 = cc * ss - cs * cs;
        if size.abs() < 1e-3 {
            return Self { hz, cosine: 0.0, sine: 0.0, energy: 0.0 };
        }
        let (cosine, sine) = ((wc * ss - ws * cs) / size, (ws * cc - wc * cs) / size);
        Self { hz, cosine, sine, energy: cosine * wc + sine * ws }
    }

    fn without(&self, wave: &[f32; FRAME_SAMPLES]) -> [f32; FRAME_SAMPLES] {
        let mut turning = Turning::new(self.hz);
        wave.map(|sample| {
            let (c, s) = turning.next();
            sample - self.cosine * c - self.sine * s
        })
    }
}

/// Cosine and sine of a frequency, sample by sample.
struct Turning {
    at: (f32, f32),
    step: (f32, f32),
}

impl Turning {
    fn new(hz: f32) -> Self {
        let (sine, cosine) = (std::f32::consts::TAU * hz / 8_000.0).sin_cos();
        Self { at: (1.0, 0.0), step: (cosine, sine) }
    }

    fn next(&mut self) -> (f32, f32) {
        let ((c, s), (dc, ds)) = (self.at, self.step);
        self.at = (c * dc - s * ds, s * dc + c * ds);
        (c, s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::Tone;
    use crate::audio::{Frame, Rate};
    use crate::turn::sounds::Sounds;

    fn with_noise(tone: &mut Tone, noise: i16) -> Frame {
        let mut frame = tone.frame();
        frame.samples.iter_mut().for_each(|s| *s = s.saturating_add(fastrand::i16(-noise..=noise)));
        frame
    }

    #[test]
    fn a_beep_of_any_pitch_is_one_tone_and_its_pitch_is_told() {
        fastrand::seed(1);
        let whistle = Whistle::new();
        for hz in [400.0, 425.0, 440.0, 623.0, 777.0, 950.0, 1_000.0, 1_100.0, 1_375.0, 2_100.0, 2_499.0] {
            for (level, noise) in [(-6.0, 3), (-20.0, 300), (-35.0, 60)] {
                let mut tone = Tone::sine(Rate::Hz8000, hz, level);
                for _ in 0..10 {
                    match whistle.hear(&with_noise(&mut tone, noise).samples) {
                        Pure::One(found) => assert!((f64::from(found) - hz).abs() < 8.0, "{hz}: {found}"),
                        other => panic!("{hz} Hz at {level} dBFS is {other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn two_tones_are_two() {
        fastrand::seed(2);
        let whistle = Whistle::new();
        for (low, high) in [(850.0, 1_400.0), (440.0, 760.0), (1_000.0, 2_000.0), (697.0, 1_209.0)] {
            let mut tone = Tone::dual(Rate::Hz8000, [low, high], -15.0);
            for _ in 0..10 {
                match whistle.hear(&with_noise(&mut tone, 60).samples) {
                    Pure::Two(a, b) => {
                        assert!((f64::from(a) - low).abs() < 15.0 && (f64::from(b) - high).abs() < 15.0)
                    }
                    other => panic!("{low} and {high} Hz are {other:?}"),
                }
            }
        }
    }

    #[test]
    fn voices_noise_and_silence_are_none_but_for_a_lone_frame() {
        let whistle = Whistle::new();
        let mut sounds = Sounds::new(Rate::Hz8000, 3);
        for pitch in [90.0, 120.0, 200.0, 240.0] {
            let voice = sounds.babble(4_000, pitch, 9_000.0);
            let tones = voice.as_chunks().0.iter().filter(|s| whistle.hear(s) != Pure::No).count();
            assert!(tones <= 6, "{tones} of 200 frames at {pitch} Hz");
        }
        let none = |frames: &[Frame]| frames.iter().all(|frame| whistle.hear(&frame.samples) == Pure::No);
        assert!(none(&sounds.noise(5_000, 2_000)) && none(&sounds.silence(1_000)));
        assert!(none(&[Frame::silence(Rate::Hz8000)]));
    }
}
