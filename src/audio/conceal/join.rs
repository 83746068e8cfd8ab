//! Fills a hole from both its sides, so that they meet.

use super::model::{Model, dot};
use super::{MADE, Noise, REACH, rise, to_sample};

/// By how much of the hole's length a continuation may be stretched or shortened at its far end, for its periods to fall
/// where the other side's are: a pitch that glides by a fifth from one end to the other.
const BEND: f32 = 0.1;

/// Two sides that are voices to this degree are bent.
const VOICED: f32 = 0.5;

/// What of the other side is compared with, in samples of 8 kHz.
const COMPARED: usize = 80;

/// Shifts are tried in steps of this many samples of 8 kHz before the best one's neighbours are.
const COARSE: usize = 4;

/// Room for what is beyond the hole: what is compared, and what a bent continuation reaches into.
const BEYOND: usize = 2 * (COMPARED + (BEND * REACH as f32) as usize + 2);

/// The continuation of one side, reading away from it.
struct Side {
    made: [f32; MADE + BEYOND],
    /// The hole's length, and how many samples further the continuation is read at its end.
    length: usize,
    shift: f32,
}

/// Fills `out` from `past`, which ends where it begins, and from `after`, which is what follows it, backwards.
pub(super) fn fill(out: &mut [i16], past: &[f32], after: &[f32], scale: usize, noise: &mut Noise) {
    let length = out.len().min(REACH * scale);
    let (before, behind) = (Model::of(past, scale), Model::of(after, scale));
    let mut forward = Side::new(&before, past, length, scale, noise);
    let mut backward = Side::new(&behind, after, length, scale, noise);
    if out.len() == length && before.voiced > VOICED && behind.voiced > VOICED {
        let period = before.period.min(behind.period);
        bend(&mut forward, &mut backward, after, period, scale);
    }
    // Sides that are alike add up by their amplitudes, others by their powers.
    let (mut firsts, mut lasts) = ([0.0; MADE], [0.0; MADE]);
    for i in 0..length {
        firsts[i] = forward.at(i);
        lasts[i] = backward.at(length - 1 - i);
    }
    let whole = out.len() == length;
    let alike = if whole { likeness(&firsts[..length], &lasts[..length]).max(0.0) } else { 1.0 };
    out.fill(0);
    let behind = out.len() - length;
    for i in 0..length {
        let share = rise(i, length);
        let power = (1.0 - share).powi(2) + share * share + 2.0 * alike * share * (1.0 - share);
        let gain = power.sqrt().recip();
        let (first, last) = (firsts[i] * (1.0 - share) * gain, lasts[i] * share * gain);
        if behind == 0 {
            out[i] = to_sample(first + last);
        } else {
            out[i] = to_sample(f32::from(out[i]) + first);
            out[behind + i] = to_sample(f32::from(out[behind + i]) + last);
        }
    }
}

/// Finds the shifts at which the sides meet: the forward one by what is heard after the hole, the backward one then by
/// the forward one, all along.
fn bend(forward: &mut Side, backward: &mut Side, after: &[f32], period: usize, scale: usize) {
    let most = ((BEND * forward.length as f32) as i32).min(period as i32 / 2);
    let compared = (COMPARED * scale).min(after.len());
    let mut next = [0.0; 2 * COMPARED];
    for (value, heard) in next.iter_mut().zip(after[after.len() - compared..].iter().rev()) {
        *value = *heard;
    }
    let shift = best((-most..=most).step_by(1), |shift| {
        let from = forward.length.saturating_add_signed(shift as isize);
        let made = &forward.made[from..from + compared];
        dot(made, &next[..compared]) / (1.0 + dot(made, made)).sqrt()
    });
    forward.shift = shift as f32;
    let mut firsts = [0.0; MADE];
    for (i, value) in firsts[..forward.length].iter_mut().enumerate() {
        *value = forward.at(i);
    }
    let firsts = &firsts[..forward.length];
    let coarse = COARSE * scale;
    let rough = best((-most..=most).step_by(coarse), |shift| backward.alongside(firsts, shift, coarse / 2));
    let near = rough - coarse as i32 + 1..rough + coarse as i32;
    let shift =
        best(near.filter(|shift| shift.abs() <= most), |shift| backward.alongside(firsts, shift, scale));
    backward.shift = shift as f32;
}

fn best(shifts: impl Iterator<Item = i32>, mut measure: impl FnMut(i32) -> f32) -> i32 {
    let measured = shifts.map(|shift| (measure(shift), shift));
    measured.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, shift)| shift)
}

impl Side {
    fn new(model: &Model, heard: &[f32], length: usize, scale: usize, noise: &mut Noise) -> Self {
        let mut made = [0.0; MADE + BEYOND];
        let beyond = 2 + (BEND * length as f32) as usize + COMPARED * scale;
        model.continues(heard, &mut made[..length + beyond], noise);
        Self { made, length, shift: 0.0 }
    }

    /// The value `i` samples into the hole. The pitch glides: the shift grows with the square of the distance.
    fn at(&self, i: usize) -> f32 {
        if self.shift == 0.0 {
            return self.made[i];
        }
        let part = i as f32 / self.length as f32;
        let place = (i as f32 + self.shift * part * part).max(0.0);
        let whole = place as usize;
        let t = place - whole as f32;
        // A cubic through the four samples around (E. Catmull and R. Rom, 1974).
        let p0 = self.made[whole.saturating_sub(1)];
        let (p1, p2, p3) = (self.made[whole], self.made[whole + 1], self.made[whole + 2]);
        let cubic = 3.0 * (p1 - p2) + p3 - p0;
        p1 + 0.5 * t * (p2 - p0 + t * (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3 + t * cubic))
    }

    /// How well this side, shifted by `shift` at its far end, goes along with the other one, which is given from its own
    /// edge on. To the next sample: it is only for finding the shift.
    fn alongside(&self, other: &[f32], shift: i32, stride: usize) -> f32 {
        let bend = shift as f32 / (self.length * self.length) as f32;
        let (mut both, mut energy) = (0.0, 1.0);
        for i in (0..self.length).step_by(stride) {
            let place = i as f32 + bend * (i * i) as f32 + 0.5;
            let value = self.made[place.max(0.0) as usize];
            both += value * other[self.length - 1 - i];
            energy += value * value;
        }
        both / f32::sqrt(energy)
    }
}

/// Normalised cross-correlation.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b) / f32::sqrt((1.0 + dot(a, a)) * (1.0 + dot(b, b)))
}
