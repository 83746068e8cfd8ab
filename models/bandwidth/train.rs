//! Trains the bandwidth extension: `cargo run --release --example train-bandwidth`.
//!
//! Flite and, where it is installed, espeak-ng say sentences at 16 kHz; a telephone takes the upper band away; a ridge
//! regression learns to guess it back. Writes `models/bandwidth/weights.txt`. Nothing here is random; Flite's own voices
//! may vary a little from run to run.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use offhook::speech::bandwidth::model::{
    Analyser, FEATURES, Features, HIGH_BANDS, LOOK_AHEAD, LOOK_BACK, LOW_BANDS, Weights, features,
};
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};

#[path = "telephone.rs"]
mod telephone;

use telephone::{LEVELS, say_espeak, say_flite, telephone};

/// How strongly weights are drawn to nothing, in frames.
const RIDGE: f64 = 200.0;

/// Voices that only measure.
const LEFT_OUT_FLITE: [&str; 1] = ["slt"];
const LEFT_OUT_ESPEAK: [&str; 2] = ["en-us+f5", "en-gb+m7"];

const SENTENCES: &str = include_str!("sentences.txt");

fn main() -> Result<()> {
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    let mut sums = Sums::new();
    for voice in telephone::FLITE {
        let mut frames = 0;
        for (index, sentence) in SENTENCES.lines().enumerate() {
            frames += sums.add_speech(&say_flite(&flite, voice, sentence)?, index);
        }
        println!("trained on Flite {voice}: {frames} frames");
    }
    for voice in telephone::ESPEAK {
        let mut frames = 0;
        for (index, sentence) in SENTENCES.lines().enumerate().filter(|(index, _)| index % 2 == 0) {
            match say_espeak(voice, sentence) {
                Ok(speech) => frames += sums.add_speech(&speech, index),
                Err(e) => bail!(
                    "espeak-ng: {e:#}; install it, or take its voices out of the list in models/bandwidth/train.rs"
                ),
            }
        }
        println!("trained on espeak-ng {voice}: {frames} frames");
    }
    let weights = sums.solve();
    for voice in LEFT_OUT_FLITE {
        report(voice, &weights, SENTENCES.lines().map(|sentence| say_flite(&flite, voice, sentence)))?;
    }
    for voice in LEFT_OUT_ESPEAK {
        report(voice, &weights, SENTENCES.lines().take(30).map(|sentence| say_espeak(voice, sentence)))?;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bandwidth/weights.txt");
    let head = "# Bandwidth extension: one line for each high band, one number for each feature; see README.md beside it.\n\
                # Made by `cargo run --release --example train-bandwidth`.\n";
    std::fs::write(&path, head.to_owned() + &weights.to_text()).context("writing the weights")?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Features and the high bands that go with them, frame by frame.
fn frames(wide: &[f32], variant: usize, mut each: impl FnMut(&Features, &[f32; HIGH_BANDS])) {
    let narrow = telephone(wide, variant);
    let level = LEVELS[variant % LEVELS.len()] / wide.iter().fold(1e-3_f32, |p, s| p.max(s.abs()));
    let (mut low, mut high) = (Vec::new(), Vec::new());
    let mut analyser = Analyser::narrow();
    for sample in narrow {
        if analyser.push(sample) {
            let mut bands = [0.0; LOW_BANDS];
            analyser.low_bands(&mut bands);
            low.push(bands);
        }
    }
    let mut analyser = Analyser::wide();
    for sample in wide {
        if analyser.push(sample * level) {
            let mut bands = [0.0; HIGH_BANDS];
            analyser.high_bands(&mut bands);
            high.push(bands);
        }
    }
    for middle in LOOK_BACK..low.len().min(high.len()).saturating_sub(LOOK_AHEAD) {
        each(&features(|offset| &low[middle.wrapping_add_signed(offset)]), &high[middle]);
    }
}

/// The sums of a linear regression.
struct Sums {
    xx: Vec<f64>,
    xy: Vec<f64>,
}

impl Sums {
    fn new() -> Self {
        Self { xx: vec![0.0; FEATURES * FEATURES], xy: vec![0.0; FEATURES * HIGH_BANDS] }
    }

    fn add_speech(&mut self, wide: &[f32], variant: usize) -> usize {
        let mut count = 0;
        frames(wide, variant, |features, high| {
            count += 1;
            for (row, x) in features.values.iter().enumerate() {
                for (column, other) in features.values.iter().enumerate().skip(row) {
                    self.xx[row * FEATURES + column] += f64::from(*x) * f64::from(*other);
                }
                for (band, y) in high.iter().enumerate() {
                    self.xy[row * HIGH_BANDS + band] += f64::from(*x) * f64::from(*y - features.level);
                }
            }
        });
        count
    }

    /// Ridge regression by Cholesky's decomposition.
    fn solve(&self) -> Weights {
        let n = FEATURES;
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let mut sum = self.xx[j * n + i];
                if i == j && i + 1 < n {
                    sum += RIDGE;
                }
                sum -= (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum::<f64>();
                lower[i * n + j] = if i == j { sum.max(1e-9).sqrt() } else { sum / lower[j * n + j] };
            }
        }
        let mut rows = [[0.0_f32; FEATURES]; HIGH_BANDS];
        for (band, row) in rows.iter_mut().enumerate() {
            let mut z = vec![0.0; n];
            for i in 0..n {
                let sum = (0..i).map(|k| lower[i * n + k] * z[k]).sum::<f64>();
                z[i] = (self.xy[i * HIGH_BANDS + band] - sum) / lower[i * n + i];
            }
            for i in (0..n).rev() {
                let sum = (i + 1..n).map(|k| lower[k * n + i] * f64::from(row[k])).sum::<f64>();
                row[i] = ((z[i] - sum) / lower[i * n + i]) as f32;
            }
        }
        Weights::new(rows)
    }
}

/// Prints how far the guesses for a voice that was left out are off, beside guessing the mean.
fn report(voice: &str, weights: &Weights, speech: impl Iterator<Item = Result<Vec<f32>>>) -> Result<()> {
    const DB: f64 = 4.342_944_8;
    let (mut squares, mut plain, mut sum, mut count) = (0.0, 0.0, 0.0, 0.0);
    for (variant, wide) in speech.enumerate() {
        frames(&wide?, variant, |features, high| {
            for (guess, truth) in weights.predict(features).iter().zip(high) {
                let relative = f64::from(truth - features.level) * DB;
                squares += (f64::from(guess - truth) * DB).powi(2);
                plain += relative * relative;
                sum += relative;
                count += 1.0;
            }
        });
    }
    let spread = (plain / count - (sum / count).powi(2)).sqrt();
    println!(
        "left out, {voice}: off by {:.1} dB where the mean is off by {spread:.1} dB",
        (squares / count).sqrt()
    );
    Ok(())
}
