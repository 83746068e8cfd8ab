//! Sounds by formula: what lies behind a voice on a telephone, and what interrupts a bot without meaning to.
//!
//! Everything is mono at 8 kHz, full scale 1, and made from a seed: the same seed gives the same samples on every machine
//! with IEEE arithmetic (the last bit of a sine may differ between C libraries).

use std::f32::consts::TAU;

use fastrand::Rng;

use crate::audio::g711::Law;

/// Samples in a second.
pub(in crate::bench) const HZ: usize = 8_000;

/// Samples in the steps in which truth is told: 10 ms.
pub(in crate::bench) const STEP: usize = HZ / 100;

/// A voice is there while it is within so many decibels of its loudest 10 ms.
const AUDIBLE_DB: f32 = 32.0;

/// What is no longer than this inside speech is part of a consonant, in steps.
const CONSONANT: usize = 9;

/// Where speech is in a clean recording: stretches from a first sample to one behind the last, to 10 ms.
pub(in crate::bench) fn spoken(samples: &[f32]) -> Vec<(usize, usize)> {
    let powers: Vec<f32> = samples.chunks(STEP).map(power).collect();
    let loudest = powers.iter().copied().fold(1e-9, f32::max);
    let least = (loudest * 10_f32.powf(-AUDIBLE_DB / 10.0)).max(1e-6);
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for (step, _) in powers.iter().enumerate().filter(|(_, power)| **power >= least) {
        match stretches.last_mut() {
            Some(last) if step <= last.1 + CONSONANT => last.1 = step + 1,
            _ => stretches.push((step, step + 1)),
        }
    }
    // A tick of 10 ms far from everything else is no speech.
    stretches.retain(|(from, to)| to - from > 1);
    stretches.into_iter().map(|(from, to)| (from * STEP, (to * STEP).min(samples.len()))).collect()
}

/// Mean square.
pub(in crate::bench) fn power(samples: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a few million samples")]
    let count = samples.len().max(1) as f32;
    samples.iter().map(|s| s * s).sum::<f32>() / count
}

/// Mean square of what is speech in it.
pub(in crate::bench) fn speech_power(samples: &[f32]) -> f32 {
    let stretches = spoken(samples);
    let said: Vec<f32> =
        stretches.iter().flat_map(|(from, to)| samples[*from..*to].iter().copied()).collect();
    if said.is_empty() { power(samples) } else { power(&said) }
}

/// Scales to a level of its speech, in dB below full scale.
pub(in crate::bench) fn at_level(mut samples: Vec<f32>, dbfs: f32) -> Vec<f32> {
    let wanted = 10_f32.powf(dbfs / 10.0);
    let by = (wanted / speech_power(&samples).max(1e-9)).sqrt();
    samples.iter_mut().for_each(|s| *s *= by);
    samples
}

/// The same said slower or faster, at the same pitch: it takes so many percent of its time. Overlapping pieces are laid
/// where they are most like what they follow (WSOLA, Verhelst and Roelands 1993).
pub(in crate::bench) fn at_pace(samples: Vec<f32>, percent: u16) -> Vec<f32> {
    /// Half a piece, and how far one may be moved: 16 ms and 8 ms.
    const HALF: usize = HZ * 16 / 1_000;
    const REACH: usize = HZ * 8 / 1_000;
    if percent == 100 || samples.len() < 4 * HALF {
        return samples;
    }
    let whole = samples.len() * usize::from(percent) / 100;
    let mut padded = vec![0.0; REACH];
    padded.extend_from_slice(&samples);
    padded.resize(padded.len() + 3 * HALF + REACH, 0.0);
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let window: Vec<f32> =
        (0..2 * HALF).map(|i| 0.5 - 0.5 * (TAU * (i as f32 + 0.5) / (2 * HALF) as f32).cos()).collect();
    let mut out = vec![0.0; whole + 2 * HALF];
    let mut follows: Option<usize> = None;
    for at in (0..whole).step_by(HALF) {
        let near = REACH + at * 100 / usize::from(percent);
        let from = follows.map_or(near, |follows| {
            let like = |from: usize| {
                padded[from..from + HALF].iter().zip(&padded[follows..]).map(|(a, b)| a * b).sum::<f32>()
            };
            let last = (near + REACH).min(padded.len() - 3 * HALF);
            (near - REACH..=last).max_by(|a, b| like(*a).total_cmp(&like(*b))).unwrap_or(near)
        });
        for (i, by) in window.iter().enumerate() {
            // The first half of the first piece has nothing before it.
            let by = if follows.is_none() && i < HALF { 1.0 } else { *by };
            out[at + i] += by * padded[from + i];
        }
        follows = Some(from + HALF);
    }
    out.truncate(whole);
    out
}

/// Decibels as a factor of amplitude.
pub(in crate::bench) fn gain(db: f32) -> f32 {
    10_f32.powf(db / 20.0)
}

/// Adds `what` to `onto` from sample `at` on; what has no place is left out.
pub(in crate::bench) fn add(onto: &mut [f32], at: usize, what: &[f32]) {
    for (sample, more) in onto.iter_mut().skip(at).zip(what) {
        *sample += more;
    }
}

/// Through µ-law, as the network carries it.
pub(in crate::bench) fn companded(samples: &[f32]) -> Vec<i16> {
    let mut out: Vec<i16> = samples.iter().map(|s| to_i16(*s)).collect();
    let mut codes = vec![0; out.len()];
    Law::Mu.encode_into(&out, &mut codes);
    Law::Mu.decode_into(&codes, &mut out);
    out
}

/// To 16 bits, clipped at full scale.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, as it should")]
pub(in crate::bench) fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0).round() as i16
}

/// A resonance: two poles.
pub(in crate::bench) struct Resonance {
    a: [f32; 2],
    gain: f32,
    past: [f32; 2],
}

impl Resonance {
    /// At `hz`, so many hertz wide.
    pub(in crate::bench) fn new(hz: f32, width: f32) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "8,000")]
        let rate = HZ as f32;
        let radius = (-TAU * width / 2.0 / rate).exp();
        let a = [2.0 * radius * (TAU * hz / rate).cos(), -radius * radius];
        Self { a, gain: 1.0 - radius, past: [0.0; 2] }
    }

    pub(in crate::bench) fn next(&mut self, sample: f32) -> f32 {
        let out = self.gain * sample + self.a[0] * self.past[0] + self.a[1] * self.past[1];
        self.past = [out, self.past[0]];
        out
    }
}

/// Takes away what lies below `hz`, as telephones do: two poles (Butterworth).
pub(in crate::bench) fn high_pass(samples: &mut [f32], hz: f32) {
    #[expect(clippy::cast_precision_loss, reason = "8,000")]
    let w = TAU * hz / HZ as f32;
    let alpha = w.sin() / std::f32::consts::SQRT_2;
    let a0 = 1.0 + alpha;
    let b = [(1.0 + w.cos()) / 2.0 / a0, -(1.0 + w.cos()) / a0];
    let a = [-2.0 * w.cos() / a0, (1.0 - alpha) / a0];
    let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
    for sample in samples {
        let out = b[0] * *sample + b[1] * x[0] + b[0] * x[1] - a[0] * y[0] - a[1] * y[1];
        x = [*sample, x[0]];
        y = [out, y[0]];
        *sample = out;
    }
}

/// What lies behind a voice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) enum Noise {
    /// A quiet room and a good line: faint hiss.
    Quiet,
    /// The mains in a bad set.
    Hum,
    /// Other people who talk.
    Babble,
    /// A street: a rumble that swells and falls.
    Street,
    /// Music on hold at somebody else's ear.
    Music,
}

impl Noise {
    pub(in crate::bench) const ALL: [Self; 5] =
        [Self::Quiet, Self::Hum, Self::Babble, Self::Street, Self::Music];

    pub(in crate::bench) const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Hum => "hum",
            Self::Babble => "babble",
            Self::Street => "street",
            Self::Music => "music",
        }
    }

    /// `length` samples of it, of mean square 1; `crowd` are the voices that babble.
    pub(in crate::bench) fn make(self, length: usize, crowd: &[Vec<f32>], random: &mut Rng) -> Vec<f32> {
        let mut noise = match self {
            Self::Quiet => (0..length).map(|_| random.f32() - 0.5).collect(),
            Self::Hum => hum(length, random),
            Self::Babble => babble(length, crowd, random),
            Self::Street => street(length, random),
            Self::Music => music(length, random),
        };
        let by = 1.0 / power(&noise).max(1e-9).sqrt();
        noise.iter_mut().for_each(|s| *s *= by);
        noise
    }
}

#[expect(clippy::cast_precision_loss, reason = "sample numbers")]
fn seconds(sample: usize) -> f32 {
    sample as f32 / HZ as f32
}

fn hum(length: usize, random: &mut Rng) -> Vec<f32> {
    let mains = if random.bool() { 50.0 } else { 60.0 };
    let parts: Vec<(f32, f32, f32)> = (1_u8..=12)
        .map(|k| (mains * f32::from(k), random.f32() / f32::from(k), TAU * random.f32()))
        .collect();
    let sine = |t: f32| parts.iter().map(|(hz, by, phase)| by * (TAU * hz * t + phase).sin()).sum::<f32>();
    (0..length).map(|i| sine(seconds(i)) + 0.02 * (random.f32() - 0.5)).collect()
}

fn babble(length: usize, crowd: &[Vec<f32>], random: &mut Rng) -> Vec<f32> {
    let mut all = vec![0.0; length];
    for _ in 0..5 {
        let mut at = 0;
        while at < length && !crowd.is_empty() {
            let said = &crowd[random.usize(..crowd.len())];
            let skip = if at == 0 { random.usize(..said.len().max(1)) } else { 0 };
            let by = (0.6 + 0.4 * random.f32()) / speech_power(said).max(1e-9).sqrt();
            let said: Vec<f32> = said[skip..].iter().map(|s| s * by).collect();
            add(&mut all, at, &said);
            at += said.len() + random.usize(..HZ / 4);
        }
    }
    all
}

fn street(length: usize, random: &mut Rng) -> Vec<f32> {
    let (mut low, mut mid) = (0.0_f32, Resonance::new(420.0, 500.0));
    // Two or three cars in ten seconds, each some seconds long.
    let cars: Vec<(f32, f32, f32)> = (0..=length / (4 * HZ))
        .map(|_| (random.f32() * seconds(length), 0.6 + 1.4 * random.f32(), 0.5 + 1.5 * random.f32()))
        .collect();
    (0..length)
        .map(|i| {
            let white = random.f32() - 0.5;
            low = 0.985 * low + white;
            let t = seconds(i);
            let passing: f32 =
                cars.iter().map(|(at, width, by)| by * (-((t - at) / width).powi(2)).exp()).sum();
            (0.25 * low + 3.0 * mid.next(white)) * (0.5 + passing)
        })
        .collect()
}

fn music(length: usize, random: &mut Rng) -> Vec<f32> {
    /// Semitones of four chords over A.
    const CHORDS: [[f32; 3]; 4] = [[0.0, 4.0, 7.0], [5.0, 9.0, 12.0], [7.0, 11.0, 14.0], [-3.0, 0.0, 4.0]];
    let key = 220.0 * (random.f32() * 0.5).exp2();
    let beat = HZ * 30 / (80 + random.usize(..50));
    let mut all = vec![0.0; length];
    for (number, at) in (0..length).step_by(beat).enumerate() {
        let chord = CHORDS[number / 8 % 4];
        let melody = 12.0 + chord[random.usize(..3)];
        for (semitone, by) in [(chord[number % 3], 1.0), (melody, 0.6), (chord[0] - 12.0, 0.8)] {
            let hz = key * (semitone / 12.0).exp2();
            let note = (0..beat * 2).map(|i| {
                let t = seconds(i);
                let sound: f32 =
                    (1_u8..=4).map(|k| (TAU * hz * f32::from(k) * t).sin() / f32::from(k * k)).sum();
                by * sound * (-3.5 * t).exp() * (t * 200.0).min(1.0)
            });
            add(&mut all, at, &note.collect::<Vec<_>>());
        }
    }
    all
}

/// A cough or another noise of throat and nose, of peak 1: one of six kinds.
pub(in crate::bench) fn cough(kind: usize, random: &mut Rng) -> Vec<f32> {
    let mut sound = match kind % 6 {
        // One cough; two of them; one without a voice in it.
        0 => one_cough(0.6, random),
        1 => {
            let mut both = one_cough(0.5, random);
            both.extend(vec![0.0; HZ / 8 + random.usize(..HZ / 8)]);
            both.extend(one_cough(0.4, random));
            both
        }
        2 => one_cough(0.0, random),
        // A throat that is cleared: voiced and rough.
        3 => throat(random),
        // A sneeze: long hiss, sharp start.
        4 => burst(0.02, 0.12 + 0.08 * random.f32(), [2_200.0, 1_400.0], random),
        // A sniff: hiss that swells and falls.
        _ => breath(0.18 + 0.15 * random.f32(), random),
    };
    let peak = sound.iter().fold(1e-6_f32, |peak, s| peak.max(s.abs()));
    sound.iter_mut().for_each(|s| *s /= peak);
    sound
}

/// The opening burst, the noise behind it, and the voice that closes it, as coughs have them.
fn one_cough(voiced: f32, random: &mut Rng) -> Vec<f32> {
    let mut sound =
        burst(0.004, 0.045 + 0.03 * random.f32(), [1_100.0 + 500.0 * random.f32(), 600.0], random);
    let rest = burst(0.03, 0.07 + 0.05 * random.f32(), [700.0, 1_500.0], random);
    let at = HZ / 25;
    sound.resize((at + rest.len()).max(sound.len()), 0.0);
    add(&mut sound, at, &rest.iter().map(|s| 0.5 * s).collect::<Vec<_>>());
    if voiced > 0.0 {
        let from = sound.len() / 3;
        let pitch = 140.0 + 120.0 * random.f32();
        let length = HZ * 12 / 100;
        let voice: Vec<f32> = (0..length)
            .map(|i| {
                let t = seconds(i);
                let hz = pitch * (1.0 - t);
                let shape = (t * 60.0).min(1.0) * (-14.0 * t).exp();
                voiced
                    * shape
                    * (1_u8..=10).map(|k| (TAU * hz * f32::from(k) * t).sin() / f32::from(k)).sum::<f32>()
            })
            .collect();
        sound.resize(sound.len().max(from + length), 0.0);
        add(&mut sound, from, &voice);
    }
    sound
}

/// Noise through two resonances, rising in `rise` and falling by e in `fall` seconds.
fn burst(rise: f32, fall: f32, formants: [f32; 2], random: &mut Rng) -> Vec<f32> {
    let mut resonances = formants.map(|hz| Resonance::new(hz, 500.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
    let length = ((rise + 4.0 * fall) * 8_000.0) as usize;
    (0..length)
        .map(|i| {
            let (t, white) = (seconds(i), random.f32() - 0.5);
            let shape = (t / rise).min(1.0) * (-(t - rise).max(0.0) / fall).exp();
            shape * (0.3 * white + resonances.iter_mut().map(|r| 3.0 * r.next(white)).sum::<f32>())
        })
        .collect()
}

fn throat(random: &mut Rng) -> Vec<f32> {
    let (pitch, length) = (85.0 + 40.0 * random.f32(), HZ / 5 + random.usize(..HZ / 6));
    let mut formants = [Resonance::new(500.0, 200.0), Resonance::new(1_300.0, 300.0)];
    (0..length)
        .map(|i| {
            let (t, whole) = (seconds(i), seconds(length));
            let rough = 0.6 + 0.4 * (TAU * 28.0 * t).sin();
            let buzz: f32 = (1_u8..=20).map(|k| (TAU * pitch * f32::from(k) * t).sin()).sum::<f32>() / 20.0;
            let sound = buzz + 0.4 * (random.f32() - 0.5);
            let shape = (t * 25.0).min(1.0) * ((whole - t) * 15.0).clamp(0.0, 1.0) * rough;
            shape * formants.iter_mut().map(|r| r.next(sound)).sum::<f32>()
        })
        .collect()
}

fn breath(length: f32, random: &mut Rng) -> Vec<f32> {
    let mut colour = Resonance::new(1_600.0, 1_800.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
    let samples = (length * 8_000.0) as usize;
    (0..samples)
        .map(|i| {
            let share = seconds(i) / length;
            (std::f32::consts::PI * share).sin() * colour.next(random.f32() - 0.5)
        })
        .collect()
}

/// A click or a knock, of peak 1: one of five kinds.
pub(in crate::bench) fn click(kind: usize, random: &mut Rng) -> Vec<f32> {
    let mut sound = match kind % 5 {
        // A tick of some samples, as a bad contact makes.
        0 => (0..8).map(|i| if i % 2 == 0 { 1.0 } else { -0.7 }).collect(),
        // A knock on the handset: low, dying away.
        1 => knock(180.0 + 150.0 * random.f32(), 0.02 + 0.03 * random.f32(), random),
        // A hard tap.
        2 => knock(900.0 + 800.0 * random.f32(), 0.006, random),
        // Three taps: fingers on a table, keys of a computer.
        3 => {
            let mut taps = vec![0.0; HZ * 45 / 100];
            for number in 0..3 {
                let tap = knock(700.0 + 600.0 * random.f32(), 0.008, random);
                add(&mut taps, number * HZ / 7 + random.usize(..HZ / 50), &tap);
            }
            taps
        }
        // The handset is put on a table: a knock, a bounce, a scrape.
        _ => {
            let mut all = vec![0.0; HZ * 3 / 10];
            add(&mut all, 0, &knock(220.0, 0.03, random));
            add(&mut all, HZ / 9, &knock(300.0, 0.015, random).iter().map(|s| 0.5 * s).collect::<Vec<_>>());
            add(&mut all, HZ / 8, &breath(0.12, random).iter().map(|s| 0.3 * s).collect::<Vec<_>>());
            all
        }
    };
    let peak = sound.iter().fold(1e-6_f32, |peak, s| peak.max(s.abs()));
    sound.iter_mut().for_each(|s| *s /= peak);
    sound
}

fn knock(hz: f32, fall: f32, random: &mut Rng) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
    let length = (6.0 * fall * 8_000.0) as usize;
    (0..length)
        .map(|i| {
            let t = seconds(i);
            ((TAU * hz * t).sin() + 0.5 * (random.f32() - 0.5)) * (-t / fall).exp()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_is_found_to_ten_milliseconds() {
        let mut sound = vec![0.0; HZ];
        let tone =
            |length: usize| (0..length).map(|i| 0.3 * (TAU * 300.0 * seconds(i)).sin()).collect::<Vec<_>>();
        add(&mut sound, HZ / 10, &tone(HZ / 5));
        add(&mut sound, HZ / 2, &tone(HZ / 5));
        assert_eq!(spoken(&sound), [(HZ / 10, HZ * 3 / 10), (HZ / 2, HZ * 7 / 10)]);
    }

    #[test]
    fn who_speaks_slower_speaks_at_the_same_pitch() {
        let tone: Vec<f32> = (0..HZ).map(|i| 0.3 * (TAU * 200.0 * seconds(i)).sin()).collect();
        let rises = |sound: &[f32]| sound.windows(2).filter(|pair| pair[0] <= 0.0 && pair[1] > 0.0).count();
        for percent in [75, 130, 160] {
            let sound = at_pace(tone.clone(), percent);
            assert_eq!(sound.len(), HZ * usize::from(percent) / 100);
            let wanted = 2 * usize::from(percent);
            assert!(rises(&sound).abs_diff(wanted) <= 4, "{percent} %: {} for {wanted}", rises(&sound));
            assert!((power(&sound) / power(&tone) - 1.0).abs() < 0.2, "{percent} %");
        }
        assert_eq!(at_pace(tone.clone(), 100), tone);
    }

    #[test]
    fn every_sound_is_made_alike_from_the_same_seed_and_is_never_silent() {
        let crowd = [(0..HZ).map(|i| (seconds(i) * 900.0).sin()).collect::<Vec<_>>()];
        for noise in Noise::ALL {
            let made = || noise.make(HZ, &crowd, &mut Rng::with_seed(7));
            assert_eq!(made(), made(), "{}", noise.name());
            assert!((power(&made()) - 1.0).abs() < 1e-3, "{}", noise.name());
        }
        for kind in 0..6 {
            for sound in [cough(kind, &mut Rng::with_seed(7)), click(kind, &mut Rng::with_seed(7))] {
                assert!(power(&sound) > 1e-5 && sound.len() < HZ, "{kind}");
                assert!(sound.iter().all(|s| s.abs() <= 1.0), "{kind}");
            }
        }
    }
}
