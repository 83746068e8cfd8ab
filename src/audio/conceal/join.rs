//! Fills a hole from both its sides, so that they meet.

use super::model::Model;
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
    let mut forward = Side::new(&before, past, length, noise);
    let mut backward = Side::new(&behind, after, length, noise);
    if out.len() == length && before.voiced > VOICED && behind.voiced > VOICED {
        let period = before.period.min(behind.period);
        bend(&mut forward, &mut backward, after, period, scale);
    }
    // Sides that are alike add up by their amplitudes, others by their powers.
    let alike = if out.len() == length { forward.likeness(&backward, 1).max(0.0) } else { 1.0 };
    out.fill(0);
    let behind = out.len() - length;
    for i in 0..length {
        let share = rise(i, length);
        let gain =
            ((1.0 - share).powi(2) + share * share + 2.0 * alike * share * (1.0 - share)).sqrt().recip();
        let (first, last) =
            (forward.at(i) * (1.0 - share) * gain, backward.at(length - 1 - i) * share * gain);
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
    let next = &after[after.len() - compared..];
    let (made, length) = (&forward.made, forward.length);
    let shift = best((-most..=most).step_by(1), |shift| {
        let from = length.saturating_add_signed(shift as isize);
        let (mut both, mut energy) = (0.0, 1.0);
        for (a, b) in made[from..].iter().zip(next.iter().rev()) {
            both += a * b;
            energy += a * a;
        }
        both / energy.sqrt()
    });
    forward.shift = shift as f32;
    let coarse = COARSE * scale;
    let mut measure = |shift: i32, stride: usize| {
        backward.shift = shift as f32;
        forward.likeness(backward, stride)
    };
    let rough = best((-most..=most).step_by(coarse), |shift| measure(shift, coarse / 2));
    let near = rough - coarse as i32 + 1..rough + coarse as i32;
    let shift = best(near.filter(|shift| shift.abs() <= most), |shift| measure(shift, scale));
    backward.shift = shift as f32;
}

fn best(shifts: impl Iterator<Item = i32>, mut measure: impl FnMut(i32) -> f32) -> i32 {
    let measured = shifts.map(|shift| (measure(shift), shift));
    measured.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, shift)| shift)
}

impl Side {
    fn new(model: &Model, heard: &[f32], length: usize, noise: &mut Noise) -> Self {
        let mut made = [0.0; MADE + BEYOND];
        model.continues(heard, &mut made[..length + BEYOND], noise);
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

    /// Normalised cross-correlation with the other side, as both lie in the hole.
    fn likeness(&self, other: &Self, stride: usize) -> f32 {
        let (mut both, mut of_self, mut of_other) = (0.0, 1.0, 1.0);
        for i in (0..self.length).step_by(stride) {
            let (a, b) = (self.at(i), other.at(self.length - 1 - i));
            both += a * b;
            of_self += a * a;
            of_other += b * b;
        }
        both / f32::sqrt(of_self * of_other)
    }
}
