use super::*;
use crate::turn::sounds::Sounds;

/// What the caller's line gives back of `sent` and what the caller says himself, frame by frame; how many of the
/// frames of either the gate held back.
struct Room {
    gate: EchoGate,
    delay: usize,
    gain: f64,
}

impl Room {
    fn new(delay_ms: usize, loss_db: f64) -> Self {
        Self { gate: EchoGate::default(), delay: delay_ms * 8, gain: 10_f64.powf(-loss_db / 20.0) }
    }

    /// The verdicts on the frames of audible sound, with the index of each.
    fn play(&mut self, sent: &[i16], own: &[i16]) -> Vec<(usize, bool)> {
        let mut random = fastrand::Rng::with_seed(9);
        let echo = |i: usize| {
            // Three paths: a hybrid's dispersion.
            let at = |back: usize| i.checked_sub(self.delay + back).map_or(0.0, |at| f64::from(sent[at]));
            self.gain * (0.75 * at(0) + 0.45 * at(3) - 0.3 * at(11))
        };
        let heard: Vec<i16> = (0..sent.len())
            .map(|i| echo(i) as i16 + own.get(i).copied().unwrap_or(0) + random.i16(-4..=4))
            .collect();
        let mut verdicts = Vec::new();
        let frames = sent.as_chunks::<FRAME_SAMPLES>().0.iter().zip(heard.as_chunks::<FRAME_SAMPLES>().0);
        for (i, (sent, heard)) in frames.enumerate() {
            self.gate.sent(&Frame { rate: Rate::Hz8000, samples: *sent });
            let verdict = self.gate.heard(&Frame { rate: Rate::Hz8000, samples: *heard });
            if crate::audio::level::rms_dbfs(heard) > -47.0 {
                verdicts.push((i, verdict));
            }
        }
        verdicts
    }
}

fn held(verdicts: &[(usize, bool)]) -> usize {
    verdicts.iter().filter(|(_, held)| *held).count() * 100 / verdicts.len().max(1)
}

fn bot(seed: u64, millis: u64) -> Vec<i16> {
    Sounds::new(Rate::Hz8000, seed).babble(millis, 190.0, 12_000.0)
}

#[test]
fn it_is_small() {
    assert!(size_of::<EchoGate>() <= 1_024, "{}", size_of::<EchoGate>());
}

#[test]
fn an_echo_is_known_whatever_its_delay_and_loss() {
    for (delay, loss) in [(20, 10.0), (60, 20.0), (130, 15.0), (250, 20.0), (390, 12.0)] {
        let mut room = Room::new(delay, loss);
        room.play(&bot(1, 3_000), &[]);
        let Path::Echo { delay_ms, loss_db } = room.gate.path() else {
            panic!("{delay} ms, {loss} dB: {:?}", room.gate.path())
        };
        assert!(usize::from(delay_ms).abs_diff(delay) <= 25, "{delay_ms} for {delay} ms");
        assert!((f64::from(loss_db) - loss).abs() < 6.0, "{loss_db} for {loss} dB");
        let held = held(&room.play(&bot(2, 6_000), &[]));
        assert!(held >= 92, "{delay} ms, {loss} dB: {held} % held back");
    }
}

#[test]
fn a_caller_over_an_echo_is_heard() {
    for loss in [12.0, 20.0, 30.0] {
        let mut room = Room::new(110, loss);
        room.play(&bot(1, 5_000), &[]);
        let own = Sounds::new(Rate::Hz8000, 77).babble(4_000, 115.0, 8_000.0);
        let held = held(&room.play(&bot(3, 4_000), &own));
        assert!(held <= 25, "{loss} dB: {held} % held back");
    }
}

#[test]
fn a_caller_on_a_line_without_echo_is_heard_from_the_first_word() {
    for seed in 0..4 {
        let mut room = Room::new(0, 90.0);
        let own = Sounds::new(Rate::Hz8000, 70 + seed).babble(3_000, 125.0, 7_000.0);
        let held = held(&room.play(&bot(seed, 3_000), &own));
        assert!(held <= 12, "{held} % held back");
        assert_ne!(room.gate.path(), Path::Clear);
    }
}

#[test]
fn a_line_that_gives_nothing_back_is_known_to() {
    let mut room = Room::new(0, 90.0);
    room.play(&bot(5, 3_000), &[]);
    assert_eq!(room.gate.path(), Path::Clear);
}

#[test]
fn a_late_echo_of_single_words_is_not_taken_for_a_line_without_one() {
    for delay in [250, 340, 390] {
        let mut room = Room::new(delay, 12.0);
        let words: Vec<i16> = (0..12).flat_map(|n| [bot(n, 160), vec![0; 8 * 400]].concat()).collect();
        for frames in (10..words.len() / FRAME_SAMPLES).step_by(10) {
            room.gate = EchoGate::default();
            room.play(&words[..frames * FRAME_SAMPLES], &[]);
            assert_ne!(room.gate.path(), Path::Clear, "{delay} ms, after {frames} frames");
        }
    }
}
