//! What the audio at the edge of a hole sounds like, and how it goes on.

use super::Noise;

/// Samples of 8 kHz that are learnt from at most: 50 ms.
pub(super) const HISTORY: usize = 400;

/// Of the linear prediction: the resonances of a mouth, at 8 kHz with something left for the nose.
pub(super) const ORDER: usize = 16;

/// Pitch periods that are looked for, in samples of 8 kHz: 400 down to 60 Hz.
const PERIODS: std::ops::RangeInclusive<usize> = 20..=133;

/// The least stretch that two periods are compared over, in samples of 8 kHz; and what will do when there is not more.
const COMPARED: usize = 80;
const COMPARED_AT_LEAST: usize = 40;

/// The longest period is preferred by this much less than the shortest, since twice a period is a period too.
const BIAS: f32 = 0.05;

/// Correlations up to here are noise, and from there on a clear voice.
const NOISE: f32 = 0.3;
const VOICE: f32 = 0.7;

/// The window of the linear prediction, in samples of 8 kHz, and the part of it that rises: what is nearest to the hole
/// counts most.
const WINDOW: usize = 240;
const RISING: f32 = 0.85;

/// Nothing gets louder than the loudest that was heard, by more than this.
const HEADROOM: f32 = 1.2;

/// What was learnt.
#[derive(Debug)]
pub(super) struct Model {
    /// Samples.
    pub(super) period: usize,
    /// 0 noise to 1 voice.
    pub(super) voiced: f32,
    /// A sample is minus the sum of these times those before it, oldest first, plus what excites.
    prediction: [f32; ORDER],
}

impl Model {
    /// Learns from `past`, which ends at the hole and has 10 ms at least.
    pub(super) fn of(past: &[f32], scale: usize) -> Self {
        let (period, alike) = period(past, scale);
        let voiced = ((alike - NOISE) / (VOICE - NOISE)).clamp(0.0, 1.0);
        let mut prediction = prediction(past, scale);
        prediction.reverse();
        Self { period, voiced, prediction }
    }

    /// Fills `out` with what may come after `past`.
    pub(super) fn continues(&self, past: &[f32], out: &mut [f32], noise: &mut Noise) {
        let most = HEADROOM * past.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let mut excitation = [0.0; 2 * HISTORY];
        let excitation = &mut excitation[..self.period.max(past.len() / 5).min(past.len() - ORDER)];
        let begin = past.len() - excitation.len();
        for (i, value) in excitation.iter_mut().enumerate() {
            *value = past[begin + i] + dot(&past[begin + i - ORDER..begin + i], &self.prediction);
        }
        let energy = dot(excitation, excitation);
        let loudness = (energy / excitation.len() as f32).sqrt() * (1.0 - self.voiced * self.voiced).sqrt();
        let cycle = &excitation[excitation.len() - self.period..];
        let mut before = [0.0; ORDER];
        before.copy_from_slice(&past[past.len() - ORDER..]);
        for (value, again) in out.iter_mut().zip(cycle.iter().cycle()) {
            let excited = self.voiced * again + loudness * noise.sample();
            *value = (excited - dot(&before, &self.prediction)).clamp(-most, most);
            before.copy_within(1.., 0);
            before[ORDER - 1] = *value;
        }
    }
}

/// The sum of the products, up to the shorter one's end.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // In eight lanes, so that the additions do not wait for each other.
    let length = a.len().min(b.len());
    let (a, b) = (a[..length].chunks_exact(8), b[..length].chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0.0; 8];
    for (a, b) in a.zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// The period at which the end of `past` is most like what was before it, and how alike they are, up to 1.
fn period(past: &[f32], scale: usize) -> (usize, f32) {
    // At 16 kHz every second sample will do to find the place.
    let mut thinned = [0.0; HISTORY];
    let length = past.len() / scale;
    for (value, heard) in thinned[..length].iter_mut().rev().zip(past.iter().rev().step_by(scale)) {
        *value = *heard;
    }
    let most = (*PERIODS.end()).min(length - COMPARED_AT_LEAST);
    let least = (*PERIODS.start()).min(most);
    let bias = |period: f32| 1.0 - BIAS * (period - least as f32) / (most - least).max(1) as f32;
    let rough =
        best(least..=most, |period| bias(period as f32) * likeness(&thinned[..length], period, COMPARED));
    if scale == 1 {
        return rough;
    }
    let around = (rough.0 - 1).max(least) * scale..=(rough.0 * scale + scale).min(most * scale);
    best(around, |period| bias(period as f32 / scale as f32) * likeness(past, period, COMPARED * scale))
}

fn best(periods: std::ops::RangeInclusive<usize>, measure: impl Fn(usize) -> f32) -> (usize, f32) {
    let measured = periods.map(|period| (period, measure(period)));
    measured.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there is at least one period")
}

/// Normalised cross-correlation of the last samples, `compared` or a period of them, with those one period before.
fn likeness(past: &[f32], period: usize, compared: usize) -> f32 {
    let length = period.max(compared).min(past.len() - period);
    let last = &past[past.len() - length..];
    let before = &past[past.len() - length - period..past.len() - period];
    // A silence is like nothing.
    dot(last, before) / f32::sqrt((1.0 + dot(last, last)) * (1.0 + dot(before, before)))
}

/// Linear prediction by the method of autocorrelation (J. Makhoul, Proc. IEEE 63, 1975): always stable.
fn prediction(past: &[f32], scale: usize) -> [f32; ORDER] {
    let mut windowed = [0.0; 2 * WINDOW];
    let length = past.len().min(WINDOW * scale);
    let windowed = &mut windowed[..length];
    for (i, (value, heard)) in windowed.iter_mut().zip(&past[past.len() - length..]).enumerate() {
        let at = i as f32 / length as f32;
        let part = if at < RISING { at / RISING } else { (1.0 - at) / (1.0 - RISING) };
        *value = heard * (std::f32::consts::FRAC_PI_2 * part).sin();
    }
    let mut correlation = [0.0; ORDER + 1];
    for (lag, value) in correlation.iter_mut().enumerate() {
        // Each resonance is made 40 Hz wider, so that none of them rings on for long.
        let angle = std::f32::consts::TAU * 40.0 / 8_000.0 / scale as f32 * lag as f32;
        *value = dot(&windowed[lag..], windowed) * (-0.5 * angle * angle).exp();
    }
    // A floor of noise 40 dB below, for what has no energy in a part of the band.
    correlation[0] = correlation[0] * 1.000_1 + 1.0;
    levinson_durbin(&correlation)
}

fn levinson_durbin(correlation: &[f32; ORDER + 1]) -> [f32; ORDER] {
    let mut weights = [0.0; ORDER];
    let mut error = correlation[0];
    for i in 0..ORDER {
        let predicted = dot(&weights[..i], &reversed(&correlation[1..=i]));
        let reflection = -(correlation[i + 1] + predicted) / error;
        let before = weights;
        for j in 0..i {
            weights[j] += reflection * before[i - 1 - j];
        }
        weights[i] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    weights
}

fn reversed(values: &[f32]) -> [f32; ORDER] {
    let mut result = [0.0; ORDER];
    for (value, from) in result.iter_mut().zip(values.iter().rev()) {
        *value = *from;
    }
    result
}
