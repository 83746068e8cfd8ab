//! From what a voice makes to what was asked for: another rate, no silence around it.

use std::time::Duration;

use crate::audio::Rate;
use crate::speech::bandwidth::{Halve, Twice};

/// A mean amplitude below this is silence: −54 dB of full scale for noise. The recorded voices carry noise of −62 dB;
/// an s begins above it.
const SILENCE: f32 = 52.0;
/// What the mean amplitude is taken over, before the first sound and from then on. The noise of a vocoder peaks above the
/// limit now and then over 5 ms, and so the same sentence began up to 170 ms later or earlier.
const SMOOTH_MS: [f32; 2] = [20.0, 10.0];
/// How much silence stays before the first sound and behind the last one.
const KEPT_MS: usize = 30;
/// A pause inside is never longer than this.
const PAUSE_MS: usize = 400;

/// Changes the rate and trims the silence, chunk by chunk.
pub(super) struct Shaper {
    rate: Rate,
    convert: Convert,
    /// Silence held back until it is known whether sound follows.
    held: Vec<i16>,
    /// Mean amplitude of the last milliseconds.
    amplitude: f32,
    begun: bool,
    /// Samples at the rate asked for that went in, and those that went out.
    seen: usize,
    /// Where silence was left out: after so many samples, so many.
    left_out: Vec<(usize, usize)>,
}

enum Convert {
    Unknown,
    Keep,
    Halve(Box<Halve>, Option<f32>),
    Twice(Box<Twice>),
}

impl Shaper {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            convert: Convert::Unknown,
            held: Vec::new(),
            amplitude: 0.0,
            begun: false,
            seen: 0,
            left_out: Vec::new(),
        }
    }

    /// Adds samples of a voice at its rate (8 or 16 kHz); what is ready goes to `out`.
    pub(super) fn push(&mut self, samples: &[i16], hz: u32, out: &mut Vec<i16>) {
        if matches!(self.convert, Convert::Unknown) {
            self.convert = match (hz, self.rate) {
                (16_000, Rate::Hz8000) => Convert::Halve(Box::new(Halve::new()), None),
                (8_000, Rate::Hz16000) => Convert::Twice(Box::new(Twice::new())),
                _ => Convert::Keep,
            };
        }
        for &sample in samples {
            let sample = f32::from(sample);
            let made: [Option<f32>; 2] = match &mut self.convert {
                Convert::Unknown | Convert::Keep => [Some(sample), None],
                Convert::Halve(halve, waiting) => match waiting.take() {
                    None => {
                        *waiting = Some(sample);
                        [None, None]
                    }
                    Some(first) => [Some(halve.push([first, sample])), None],
                },
                Convert::Twice(twice) => twice.push(sample).map(Some),
            };
            for sample in made.into_iter().flatten() {
                self.emit(round(sample), out);
            }
        }
    }

    /// Gives what the filter still holds, and the last bit of silence.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) {
        let (zeros, hz) = match self.convert {
            Convert::Halve(..) => (2 * Halve::DELAY, 16_000),
            Convert::Twice(..) => (Twice::DELAY, 8_000),
            Convert::Unknown | Convert::Keep => (0, self.rate.hz()),
        };
        self.push(&[0; 2 * Halve::DELAY][..zeros], hz, out);
        if self.begun {
            self.held.truncate(self.samples(KEPT_MS));
            out.append(&mut self.held);
        }
    }

    fn emit(&mut self, sample: i16, out: &mut Vec<i16>) {
        self.seen += 1;
        let smooth = SMOOTH_MS[usize::from(self.begun)] * self.rate.hz() as f32 / 1_000.0;
        self.amplitude += (f32::from(sample.unsigned_abs()) - self.amplitude) / smooth;
        if self.amplitude < SILENCE {
            self.held.push(sample);
            return;
        }
        let most = self.samples(if self.begun { PAUSE_MS } else { KEPT_MS });
        let skip = self.held.len().saturating_sub(most);
        if skip > 0 {
            self.left_out.push((self.seen - self.held.len(), skip));
        }
        out.extend(self.held.drain(..).skip(skip));
        out.push(sample);
        self.begun = true;
    }

    /// How much went in so far: where the next sentence begins.
    pub(super) const fn position(&self) -> usize {
        self.seen
    }

    /// When what stood `seconds` behind a `position` of what went in is heard in what came out.
    pub(super) fn heard_at(&self, position: usize, seconds: f32) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in a sentence")]
        let at = position + (seconds.max(0.0) * self.rate.hz() as f32) as usize;
        let before = |(from, count): &(usize, usize)| at.saturating_sub(*from).min(*count);
        let left_out: usize = self.left_out.iter().map(before).sum();
        self.rate.duration((at - left_out) as u64)
    }

    const fn samples(&self, ms: usize) -> usize {
        self.rate.hz() as usize / 1_000 * ms
    }
}

/// To the nearest sample value.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn round(sample: f32) -> i16 {
    sample.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_around_is_trimmed_and_a_pause_inside_is_kept_short() {
        let mut shaper = Shaper::new(Rate::Hz8000);
        let mut out = Vec::new();
        for part in [[0; 8_000], [1_000; 8_000], [0; 8_000], [1_000; 8_000], [0; 8_000]] {
            for chunk in part.chunks(313) {
                shaper.push(chunk, 8_000, &mut out);
            }
        }
        shaper.finish(&mut out);
        // Sound of 1,000 is noticed within ten samples and forgotten within 30 ms.
        let kept = 8 * KEPT_MS + 8_000 + 8 * PAUSE_MS + 8_000 + 8 * KEPT_MS;
        assert!((kept..kept + 2 * 8 * 30 + 10).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn half_and_twice_the_rate_come_out_as_long_as_they_should() {
        for (hz, rate, wanted) in [(16_000, Rate::Hz8000, 4_000), (8_000, Rate::Hz16000, 16_000)] {
            let mut shaper = Shaper::new(rate);
            let mut out = Vec::new();
            shaper.push(&[2_000; 8_000], hz, &mut out);
            shaper.finish(&mut out);
            assert!(out.len().abs_diff(wanted) < 400, "{} for {wanted}", out.len());
        }
    }
}
