//! Half-band filters: twice the rate, and half of it.
//!
//! A windowed sinc at a quarter of the higher rate: every second tap but the middle one is zero, so one of the two
//! phases is a plain delay. 32 taps a phase: flat to 3.6 kHz, 60 dB down from 4.4 kHz on; 16 samples of 8 kHz delay.

/// Taps on each side of the middle in the phase that filters, counted at the lower rate.
const SIDE: usize = 16;
const TAPS: usize = 2 * SIDE;

/// The taps of the phase that filters, for unity gain at the lower rate.
fn taps() -> [f32; TAPS] {
    let mut taps = [0.0_f64; TAPS];
    for (index, tap) in taps.iter_mut().enumerate() {
        // Position in samples of the lower rate: ±0.5, ±1.5, …
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let t = index as f64 - SIDE as f64 + 0.5;
        let x = std::f64::consts::PI * t;
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let w = t / (SIDE as f64 + 0.5);
        // Kaiser-like by Blackman: 0.42 + 0.5 cos + 0.08 cos.
        let window =
            0.42 + 0.5 * (std::f64::consts::PI * w).cos() + 0.08 * (2.0 * std::f64::consts::PI * w).cos();
        *tap = x.sin() / x * window;
    }
    let sum: f64 = taps.iter().sum();
    #[expect(clippy::cast_possible_truncation, reason = "a filter tap needs no more")]
    taps.map(|tap| (tap / sum) as f32)
}

/// 8 kHz to 16 kHz, sample by sample.
pub(crate) struct Twice {
    taps: [f32; TAPS],
    /// The last inputs, newest at `at - 1`, written twice so that any window is in one piece.
    ring: [f32; 2 * TAPS],
    at: usize,
}

impl Twice {
    /// Delay in samples of the lower rate.
    pub(crate) const DELAY: usize = SIDE;

    pub(crate) fn new() -> Self {
        Self { taps: taps(), ring: [0.0; 2 * TAPS], at: 0 }
    }

    /// The two samples that `sample` pushes out, delayed by [`DELAY`](Self::DELAY).
    pub(crate) fn push(&mut self, sample: f32) -> [f32; 2] {
        self.ring[self.at] = sample;
        self.ring[self.at + TAPS] = sample;
        self.at = (self.at + 1) % TAPS;
        let window = &self.ring[self.at..self.at + TAPS];
        let between: f32 = window.iter().zip(&self.taps).map(|(x, h)| x * h).sum();
        [window[SIDE - 1], between]
    }
}

/// 16 kHz to 8 kHz, two samples at a time.
#[cfg(any(test, feature = "flite"))]
pub(crate) struct Halve {
    taps: [f32; TAPS],
    odd: [f32; 2 * TAPS],
    even: [f32; 2 * TAPS],
    at: usize,
}

#[cfg(any(test, feature = "flite"))]
impl Halve {
    /// Delay in samples of the lower rate.
    pub(crate) const DELAY: usize = SIDE;

    pub(crate) fn new() -> Self {
        Self { taps: taps(), odd: [0.0; 2 * TAPS], even: [0.0; 2 * TAPS], at: 0 }
    }

    /// The sample that two of the higher rate become.
    pub(crate) fn push(&mut self, [even, odd]: [f32; 2]) -> f32 {
        for (ring, sample) in [(&mut self.even, even), (&mut self.odd, odd)] {
            ring[self.at] = sample;
            ring[self.at + TAPS] = sample;
        }
        self.at = (self.at + 1) % TAPS;
        let odd = &self.odd[self.at..self.at + TAPS];
        let between: f32 = odd.iter().zip(&self.taps).map(|(x, h)| x * h).sum();
        // The even sample that lies in the middle of the odd ones.
        0.5 * (self.even[self.at + SIDE] + between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: f64, n: usize) -> Vec<f32> {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a tone")]
        (0..n).map(|i| (2.0 * std::f64::consts::PI * hz * i as f64 / rate).sin() as f32).collect()
    }

    fn power(samples: &[f32]) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "a tone")]
        let n = samples.len() as f32;
        samples.iter().map(|s| s * s).sum::<f32>() / n
    }

    #[test]
    fn a_tone_keeps_its_level_and_its_place_when_the_rate_is_doubled() {
        for hz in [300.0, 1_000.0, 3_300.0] {
            let mut twice = Twice::new();
            let out: Vec<f32> = tone(hz, 8_000.0, 800).iter().flat_map(|s| twice.push(*s)).collect();
            let wanted = tone(hz, 16_000.0, 1_600);
            for (i, out) in out.iter().enumerate().skip(200) {
                let wanted = wanted[i - 2 * Twice::DELAY];
                assert!((out - wanted).abs() < 0.02, "{hz} Hz, sample {i}: {out} for {wanted}");
            }
        }
    }

    #[test]
    fn what_would_fold_back_is_gone_when_the_rate_is_halved() {
        let run = |hz: f64| {
            let mut halve = Halve::new();
            let tone = tone(hz, 16_000.0, 3_200);
            let out: Vec<f32> = tone.chunks_exact(2).map(|pair| halve.push([pair[0], pair[1]])).collect();
            power(&out[200..])
        };
        assert!((run(1_000.0) - 0.5).abs() < 0.01 && (run(3_300.0) - 0.5).abs() < 0.02);
        for hz in [4_700.0, 5_500.0, 7_000.0] {
            assert!(run(hz) < 1e-5, "{hz} Hz leaves {}", run(hz));
        }
    }
}
