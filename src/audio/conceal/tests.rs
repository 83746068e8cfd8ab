use proptest::prelude::*;

use super::*;
use crate::audio::level::rms_dbfs;

const RATES: [Rate; 2] = [Rate::Hz8000, Rate::Hz16000];

/// A voice-like sound: eight harmonics of a pitch that glides from `from` to `to` hertz in a second.
fn voice(rate: Rate, from: f64, to: f64) -> Vec<i16> {
    let hz = f64::from(rate.hz());
    let mut phase = 0.0;
    (0..rate.hz())
        .map(|i| {
            phase += (from + (to - from) * f64::from(i) / hz) / hz;
            let harmonics =
                (1..=8).map(|n| (std::f64::consts::TAU * phase * f64::from(n)).sin() / f64::from(n));
            (6_000.0 * harmonics.sum::<f64>()) as i16
        })
        .collect()
}

fn hiss(rate: Rate) -> Vec<i16> {
    let mut noise = Noise(7);
    (0..rate.hz()).map(|_| (noise.sample() * 2_000.0) as i16).collect()
}

/// Samples of `ms` milliseconds.
fn ms(rate: Rate, ms: usize) -> usize {
    rate.hz() as usize / 1_000 * ms
}

/// What is heard of `sent` when the samples of `hole` are lost: one-sided, or knowing the 20 ms after it.
fn heard(rate: Rate, sent: &[i16], hole: std::ops::Range<usize>, both_sides: bool) -> Vec<i16> {
    let mut concealer = Concealer::new(rate);
    let mut heard = sent.to_vec();
    let (before, rest) = heard.split_at_mut(hole.start);
    let (lost, after) = rest.split_at_mut(hole.len());
    for frame in before.chunks_mut(ms(rate, 20)) {
        concealer.heard(frame);
    }
    lost.fill(0);
    if both_sides {
        concealer.between(lost, &after[..ms(rate, 20)]);
    } else {
        concealer.missing(lost);
    }
    for frame in after.chunks_mut(ms(rate, 20)) {
        concealer.heard(frame);
    }
    heard
}

/// Energy of `sent` over that of what `heard` differs by, in decibels.
fn signal_to_noise(sent: &[i16], heard: &[i16]) -> f64 {
    let energy =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().max(1.0);
    let signal = energy(&mut sent.iter().map(|sample| f64::from(*sample)));
    let noise = energy(&mut sent.iter().zip(heard).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    10.0 * (signal / noise).log10()
}

/// The largest change of slope: a click has a large one.
fn sharpest(samples: &[i16]) -> i32 {
    let bends = samples.windows(3).map(|three| {
        let [a, b, c] = [three[0], three[1], three[2]].map(i32::from);
        (a - 2 * b + c).abs()
    });
    bends.max().unwrap_or(0)
}

#[test]
fn a_stream_without_holes_stays_as_it_is() {
    for rate in RATES {
        let sent = voice(rate, 120.0, 180.0);
        let mut concealer = Concealer::new(rate);
        let mut heard = sent.clone();
        for frame in heard.chunks_mut(70) {
            concealer.heard(frame);
        }
        assert_eq!(heard, sent);
    }
}

#[test]
fn a_steady_voice_goes_on_through_a_hole_of_20_ms() {
    for rate in RATES {
        for pitch in [75.0, 110.0, 200.0, 330.0] {
            let sent = voice(rate, pitch, pitch);
            let hole = ms(rate, 500)..ms(rate, 520);
            for (both_sides, least) in [(false, 6.0), (true, 10.0)] {
                let heard = heard(rate, &sent, hole.clone(), both_sides);
                let ratio = signal_to_noise(&sent[hole.clone()], &heard[hole.clone()]);
                assert!(ratio > least, "{rate:?}, {pitch} Hz, both sides {both_sides}: {ratio:.1} dB");
            }
        }
    }
}

#[test]
fn a_pitch_that_glides_is_met_on_the_other_side() {
    for rate in RATES {
        let sent = voice(rate, 100.0, 240.0);
        let hole = ms(rate, 500)..ms(rate, 540);
        let [alone, between] = [false, true].map(|both_sides| {
            let heard = heard(rate, &sent, hole.clone(), both_sides);
            signal_to_noise(&sent[hole.clone()], &heard[hole.clone()])
        });
        assert!(
            between > 6.0 && between > alone + 6.0,
            "{rate:?}: {alone:.1} dB alone, {between:.1} dB between"
        );
    }
}

#[test]
fn no_edge_of_a_hole_clicks() {
    for rate in RATES {
        let sent = voice(rate, 100.0, 140.0);
        let sharp = sharpest(&sent);
        for length in [5, 10, 20, 30, 60, 120, 200] {
            for both_sides in [false, true] {
                let hole = ms(rate, 400)..ms(rate, 400 + length);
                let heard = heard(rate, &sent, hole.clone(), both_sides);
                let edge = ms(rate, 2);
                for (edge, at) in [(edge, hole.start), (edge, hole.end)] {
                    let sharpness = sharpest(&heard[at - edge..at + edge]);
                    assert!(
                        sharpness <= sharp * 5 / 4,
                        "{rate:?}, {length} ms, both sides {both_sides}: {sharpness} at {at}, {sharp} in speech"
                    );
                }
            }
        }
    }
}

#[test]
fn a_hole_that_does_not_end_fades_to_silence_within_60_ms() {
    for rate in RATES {
        for sent in [voice(rate, 150.0, 150.0), hiss(rate)] {
            let whole = heard(rate, &sent, ms(rate, 500)..ms(rate, 700), false);
            let loud = rms_dbfs(&sent[ms(rate, 500)..ms(rate, 510)]);
            let levels = [500, 530, 550].map(|from| rms_dbfs(&whole[ms(rate, from)..ms(rate, from + 10)]));
            assert!((levels[0] - loud).abs() < 4.0, "{rate:?}: {levels:?} after {loud} dBFS");
            assert!(
                levels[1] < loud - 2.0 && levels[2] < loud - 12.0,
                "{rate:?}: {levels:?} after {loud} dBFS"
            );
            assert!(whole[ms(rate, 560)..ms(rate, 700)].iter().all(|sample| *sample == 0));
        }
    }
}

#[test]
fn a_hole_told_in_pieces_fades_all_the_same() {
    for rate in RATES {
        let sent = voice(rate, 150.0, 150.0);
        for piece in [10, 20, 30] {
            let mut concealer = Concealer::new(rate);
            concealer.heard(&mut sent[..ms(rate, 500)].to_vec());
            let mut hole = vec![1; ms(rate, 120)];
            for piece in hole.chunks_mut(ms(rate, piece)) {
                concealer.missing(piece);
            }
            let loud = rms_dbfs(&sent[ms(rate, 490)..ms(rate, 500)]);
            let levels = [0, 30, 50].map(|from| rms_dbfs(&hole[ms(rate, from)..ms(rate, from + 10)]));
            assert!((levels[0] - loud).abs() < 4.0 && levels[1] < loud - 2.0, "{rate:?}: {levels:?}, {loud}");
            assert!(levels[2] < loud - 10.0, "{rate:?}: {levels:?} after {loud} dBFS");
            assert!(hole[ms(rate, 60)..].iter().all(|sample| *sample == 0));
        }
    }
}

#[test]
fn a_long_hole_is_silent_in_the_middle_and_whole_at_both_ends() {
    for rate in RATES {
        let sent = voice(rate, 150.0, 150.0);
        let heard = heard(rate, &sent, ms(rate, 300)..ms(rate, 800), true);
        let level = |from: usize| rms_dbfs(&heard[ms(rate, from)..ms(rate, from + 10)]);
        let loud = rms_dbfs(&sent[..ms(rate, 300)]);
        assert!(heard[ms(rate, 361)..ms(rate, 739)].iter().all(|sample| *sample == 0));
        assert!((level(300) - loud).abs() < 4.0 && (level(790) - loud).abs() < 4.0, "{rate:?}");
    }
}

#[test]
fn hiss_goes_on_as_hiss_and_not_as_a_buzz() {
    for rate in RATES {
        let sent = hiss(rate);
        let hole = ms(rate, 500)..ms(rate, 560);
        let heard = heard(rate, &sent, hole.clone(), true);
        let level = rms_dbfs(&heard[hole.clone()]);
        assert!((level - rms_dbfs(&sent)).abs() < 3.0, "{rate:?}: {level} dBFS");
        // A buzz is the same again one period later.
        let made_up: Vec<f32> = heard[hole].iter().copied().map(f32::from).collect();
        let energy: f32 = made_up.iter().map(|value| value * value).sum();
        let worst = (ms(rate, 2)..ms(rate, 20))
            .map(|lag| made_up.iter().zip(&made_up[lag..]).map(|(a, b)| a * b).sum::<f32>() / energy);
        let worst = worst.fold(0.0, f32::max);
        assert!(worst < 0.35, "{rate:?}: {worst}");
    }
}

#[test]
fn silence_goes_on_as_silence() {
    for rate in RATES {
        for both_sides in [false, true] {
            let heard = heard(rate, &vec![0; ms(rate, 200)], ms(rate, 60)..ms(rate, 100), both_sides);
            assert!(heard.iter().all(|sample| *sample == 0));
        }
    }
}

#[test]
fn speech_that_begins_in_a_hole_is_led_into() {
    let rate = Rate::Hz8000;
    let mut sent = voice(rate, 120.0, 120.0);
    sent[..ms(rate, 500)].fill(0);
    let hole = ms(rate, 500)..ms(rate, 520);
    let [alone, between] = [false, true].map(|both_sides| {
        let heard = heard(rate, &sent, hole.clone(), both_sides);
        rms_dbfs(&heard[hole.end - ms(rate, 5)..hole.end])
    });
    assert!(alone < -90.0 && between > rms_dbfs(&sent[hole]) - 6.0, "{alone} and {between} dBFS");
}

#[test]
fn the_same_losses_give_the_same_bytes() {
    let sent = voice(Rate::Hz8000, 90.0, 200.0);
    let once = || heard(Rate::Hz8000, &sent, 3_000..3_333, true);
    assert_eq!(once(), once());
}

proptest! {
    /// Any sequence of pieces, losses and lengths, at full scale, too.
    #[test]
    fn nothing_panics_and_nothing_explodes(
        pieces in proptest::collection::vec((0..3_u8, 0..1_500_usize, any::<u32>(), 0..16_u8), 1..20),
        wide in any::<bool>(),
    ) {
        let rate = RATES[usize::from(wide)];
        let mut concealer = Concealer::new(rate);
        for (what, length, seed, shift) in pieces {
            let mut noise = Noise(seed);
            let mut samples: Vec<i16> =
                (0..length).map(|_| (noise.sample() * 30_000.0) as i16 >> shift).collect();
            match what {
                0 => concealer.heard(&mut samples),
                1 => concealer.missing(&mut samples),
                _ => {
                    let mut hole = vec![0; (seed % 1_300) as usize];
                    concealer.between(&mut hole, &samples);
                    concealer.heard(&mut samples);
                }
            }
        }
    }
}
