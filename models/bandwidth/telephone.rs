//! Speech made by machines, and what a telephone makes of it: for the trainer and for `benches/recognition.rs`.

use std::process::Command;

use anyhow::Result;
use offhook::audio::Rate;
use offhook::speech::flite::FliteSynthesizer;
use offhook::speech::{Synthesizer as _, Utterance};

/// Voices that train the extension and calibrate refusal. `benches/recognition.rs` speaks with others.
pub const FLITE: [&str; 3] = ["rms", "awb", "kal16"];
/// The same, of espeak-ng.
pub const ESPEAK: [&str; 8] = [
    "en-us+f2",
    "en-us+m3",
    "en-gb+f4",
    "en-gb+m1",
    "en-us+m6",
    "en-gb-scotland+f1",
    "en-us+f3",
    "en-gb-x-rp+m4",
];

/// Peaks that calls have, of full scale.
pub const LEVELS: [f32; 5] = [0.5, 0.25, 0.12, 0.8, 0.06];

/// `text` at 16 kHz by a voice of Flite.
pub fn say_flite(flite: &FliteSynthesizer, voice: &str, text: &str) -> Result<Vec<f32>> {
    let utterance = Utterance { text: text.to_owned(), voice: Some(voice.to_owned()), rate: Rate::Hz16000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = Vec::new();
    while let Some(chunk) = stream.chunks.blocking_recv() {
        samples.extend(chunk?.into_iter().map(|s| f32::from(s) / 32_768.0));
    }
    Ok(samples)
}

/// `text` at 16 kHz by a voice of espeak-ng, run as a process.
pub fn say_espeak(voice: &str, text: &str) -> Result<Vec<f32>> {
    let output = Command::new("espeak-ng").args(["--stdout", "-v", voice, text]).output()?;
    anyhow::ensure!(output.status.success(), "espeak-ng does not speak as {voice}");
    let mut reader = hound::WavReader::new(std::io::Cursor::new(output.stdout))?;
    let rate = reader.spec().sample_rate as usize;
    let samples: Vec<f32> =
        reader.samples::<i16>().map_while(Result::ok).map(|s| f32::from(s) / 32_768.0).collect();
    Ok(resample(&samples, rate, 16_000))
}

/// Windowed sinc at the ratio of two whole rates, each phase computed once.
pub fn resample(samples: &[f32], from: usize, to: usize) -> Vec<f32> {
    const SIDE: usize = 32;
    let divisor =
        (1..=from.min(to)).rev().find(|d| from.is_multiple_of(*d) && to.is_multiple_of(*d)).unwrap_or(1);
    let (from, to) = (from / divisor, to / divisor);
    let cut = (to as f64 / from as f64).min(1.0) * 0.97;
    let phase = |phase: usize| -> Vec<f32> {
        let tap = |index: usize| {
            let t = phase as f64 / to as f64 + SIDE as f64 - index as f64;
            let x = std::f64::consts::PI * t * cut;
            let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
            let window = 0.5 + 0.5 * (std::f64::consts::PI * t / (SIDE as f64 + 1.0)).cos();
            (sinc * window * cut) as f32
        };
        (0..=2 * SIDE).map(tap).collect()
    };
    let phases: Vec<Vec<f32>> = (0..to).map(phase).collect();
    let mut padded = vec![0.0; SIDE];
    padded.extend_from_slice(samples);
    padded.extend([0.0; SIDE + 1]);
    (0..samples.len() * to / from)
        .map(|n| {
            let (whole, part) = (n * from / to, n * from % to);
            phases[part].iter().zip(&padded[whole..]).map(|(tap, sample)| tap * sample).sum()
        })
        .collect()
}

/// What a telephone makes of it: 300 to 3,400 Hz in one of several shapes and levels, 8 kHz, µ-law.
pub fn telephone(wide: &[f32], variant: usize) -> Vec<f32> {
    let low = [1.0_f64, 300.0, 200.0, 250.0][variant % 4];
    let high = [3_900.0_f64, 3_400.0, 3_600.0][variant % 3];
    let level = LEVELS[variant % LEVELS.len()];
    let peak = wide.iter().fold(1e-3_f32, |peak, s| peak.max(s.abs()));
    const SIDE: i64 = 100;
    let taps: Vec<f32> = (-SIDE..=SIDE)
        .map(|n| {
            let sinc = |hz: f64| {
                let cut = hz / 8_000.0;
                let x = std::f64::consts::PI * n as f64;
                if n == 0 { cut } else { (x * cut).sin() / x }
            };
            let window = 0.54 + 0.46 * (std::f64::consts::PI * n as f64 / SIDE as f64).cos();
            ((sinc(high) - sinc(low)) * window) as f32
        })
        .collect();
    let side = SIDE as usize;
    let mut padded = vec![0.0; side];
    padded.extend_from_slice(wide);
    padded.extend(std::iter::repeat_n(0.0, side + 1));
    let filtered =
        |n: usize| taps.iter().zip(&padded[2 * n..]).map(|(tap, sample)| tap * sample).sum::<f32>();
    (0..wide.len() / 2).map(|n| mu_law_and_back(filtered(n) * level / peak)).collect()
}

/// Quantises as G.711 µ-law does.
pub fn mu_law_and_back(sample: f32) -> f32 {
    let magnitude = (sample.abs() * 32_768.0).min(32_635.0) + 132.0;
    let segment = (magnitude / 132.0).log2().floor().clamp(0.0, 7.0);
    let step = 8.0 * segment.exp2();
    let base = 132.0 * segment.exp2();
    let value = base + (((magnitude - base) / step).floor() + 0.5) * step - 132.0;
    (if sample < 0.0 { -value } else { value }) / 32_768.0
}
