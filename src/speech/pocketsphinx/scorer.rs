//! How well each sound of the model fits a frame: what the library asks before every step of its search.
//!
//! The library's own answer (`ptm_mgau_frame_eval`) took two thirds of its time: one Gaussian after the other and, because
//! it names the senones that it wants by differences that fit a byte, of nearly every codebook whatever the grammar. Here
//! they are computed eight at a time, out of a model of half the size; and since all codebooks are there, a free loop
//! over all phones goes along with the search, frame by frame. How much better than the grammar anything at all could
//! explain the sound is what refusal and confidence rest on (see `evidence`).
//!
//! Eight Gaussians of each codebook count in a mixture. On the voices that train, that hears 166 of 240 four-digit numbers,
//! four 164, two 151.

use std::sync::Arc;

use super::acoustics::{Acoustics, DENSITIES, LANES, Lanes, STREAMS, Shape, WIDTH, sums};

/// Gaussians of a codebook that count in a mixture.
const TOP: usize = 8;
/// A Gaussian costs at most this much more than the best of all: outliers weigh no more.
const MOST: i32 = 96;
/// What it costs the free loop to go on to another phone.
const CHANGE: i32 = 36;
/// The cost of what cannot be.
const NEVER: i32 = i32::MAX / 4;

/// The values of a frame: cepstra and their differences.
pub(super) type Features = [[f32; WIDTH]; STREAMS];

/// Scores the frames of one utterance after the other.
pub(super) struct Scorer {
    acoustics: Arc<Acoustics>,
    sums: [u8; 256],
    /// By codebook and stream the best Gaussians, the best first: their costs, then, relative to the best of all.
    best: Vec<[(f32, u8); TOP]>,
    /// Whether the grammar asks for a codebook in this frame.
    asked: Vec<bool>,
    /// Eight at a time.
    wide: bool,
    /// Costs of the free loop's ways so far, by phone and state.
    ways: Vec<[i32; 3]>,
    /// For each frame so far.
    trail: Vec<Mark>,
}

/// What is known of an utterance up to a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// Cost of the free loop.
    free: i64,
    /// The sum of what the scores given to the library are relative to.
    floor: i64,
}

impl Scorer {
    pub(super) fn new(acoustics: Arc<Acoustics>) -> Self {
        let books = acoustics.codebooks();
        Self {
            sums: sums(),
            best: vec![[(0.0, 0); TOP]; books * STREAMS],
            asked: vec![false; books],
            wide: has_wide(),
            ways: vec![[NEVER; 3]; books],
            // Half a minute, which is the longest utterance.
            trail: Vec::with_capacity(3_200),
            acoustics,
        }
    }

    /// How many senones the model has.
    pub(super) fn senones(&self) -> usize {
        self.acoustics.codebook.len()
    }

    /// Scores a frame: the costs of the `active` senones (each as the difference to the one before), relative to the
    /// cheapest of them, go to `scores`, by senone. Frame 0 begins an utterance.
    pub(super) fn frame(&mut self, features: &Features, frame: usize, active: &[u8], scores: &mut [i16]) {
        self.look(features, frame, active);
        if frame == 0 {
            self.trail.clear();
            self.ways.fill([NEVER; 3]);
        }
        let least: [f32; STREAMS] = std::array::from_fn(|stream| {
            self.best.iter().skip(stream).step_by(STREAMS).map(|best| best[0].0).fold(f32::INFINITY, f32::min)
        });
        let mut cheapest = i32::MAX;
        let mut senone = 0;
        for step in active {
            senone += usize::from(*step);
            let Some(score) = scores.get_mut(senone) else { break };
            let cost = self.cost(senone, &least);
            cheapest = cheapest.min(cost);
            *score = i16::try_from(cost).unwrap_or(i16::MAX);
        }
        let mut senone = 0;
        for (index, step) in active.iter().enumerate() {
            senone += usize::from(*step);
            // A difference of nothing can only be the first: each senone is made relative once.
            if let Some(score) = scores.get_mut(senone)
                && (index == 0 || *step > 0)
            {
                *score -= i16::try_from(cheapest).unwrap_or(0);
            }
        }
        let free = self.go_on(&least, frame == 0);
        let before = self.trail.last().copied().unwrap_or_default();
        let floor = before.floor + if active.is_empty() { 0 } else { i64::from(cheapest) };
        self.trail.push(Mark { free: i64::from(free), floor });
    }

    /// Finds the best Gaussians of each codebook for this frame: all over again in those that the grammar asks for; in the
    /// others, which only the free loop asks for, every second time, and between among the last frame's best.
    fn look(&mut self, features: &Features, frame: usize, active: &[u8]) {
        self.asked.fill(false);
        let mut senone = 0;
        for step in active {
            senone += usize::from(*step);
            if let Some(book) = self.acoustics.codebook.get(senone) {
                self.asked[usize::from(*book)] = true;
            }
        }
        for book in 0..self.acoustics.codebooks() {
            let anew = self.asked[book] || (frame + book).is_multiple_of(2) || frame == 0;
            for (stream, values) in features.iter().enumerate() {
                let (lanes, best) =
                    (self.acoustics.of(book, stream), &mut self.best[book * STREAMS + stream]);
                *best = if anew { nearest(lanes, values, self.wide) } else { again(lanes, values, best) };
            }
        }
    }

    /// By how much the free loop is cheaper over the frames `first` to `last` than a way through the grammar that cost
    /// `cost` there.
    pub(super) fn behind(&self, first: usize, last: usize, cost: i64) -> i64 {
        let Some(end) = self.trail.get(last).or(self.trail.last()) else { return 0 };
        let start =
            first.checked_sub(1).and_then(|before| self.trail.get(before)).copied().unwrap_or_default();
        cost + (end.floor - start.floor) - (end.free - start.free)
    }

    /// What the free loop cost over the frames `first` to `last`: how far the sound is from anything that the model knows.
    pub(super) fn free(&self, first: usize, last: usize) -> i64 {
        let Some(end) = self.trail.get(last).or(self.trail.last()) else { return 0 };
        let start =
            first.checked_sub(1).and_then(|before| self.trail.get(before)).copied().unwrap_or_default();
        end.free - start.free
    }

    /// What a senone costs in this frame; `least` is what the best Gaussian of each stream costs.
    fn cost(&self, senone: usize, least: &[f32; STREAMS]) -> i32 {
        let book = usize::from(self.acoustics.codebook[senone]);
        let mut cost = 0;
        for (stream, least) in least.iter().enumerate() {
            let weights = self.acoustics.weights(senone, stream);
            let mut mixture = i32::MAX;
            for (density_cost, density) in &self.best[book * STREAMS + stream] {
                #[expect(clippy::cast_possible_truncation, reason = "at most MOST")]
                let one = ((density_cost - least) as i32).min(MOST)
                    + i32::from(weights[usize::from(*density) % DENSITIES]);
                mixture = if mixture == i32::MAX {
                    one
                } else {
                    let apart = (mixture - one).unsigned_abs().min(255);
                    mixture.min(one) - i32::from(self.sums[apart as usize])
                };
            }
            cost += mixture;
        }
        cost
    }

    /// Takes the free loop a frame on; gives the cost of its best way.
    fn go_on(&mut self, least: &[f32; STREAMS], first: bool) -> i32 {
        let acoustics = Arc::clone(&self.acoustics);
        let out = acoustics.phones.iter().zip(&self.ways).map(|(phone, way)| way[2] + phone.go[2]).min();
        let enter = if first { 0 } else { out.unwrap_or(NEVER).saturating_add(CHANGE) };
        let mut best = NEVER;
        for (index, phone) in acoustics.phones.iter().enumerate() {
            let costs = phone.senones.map(|senone| self.cost(senone, least));
            let [a, b, c] = self.ways[index];
            let way = [
                (a + phone.stay[0]).min(enter) + costs[0],
                (b + phone.stay[1]).min(a + phone.go[0]) + costs[1],
                (c + phone.stay[2]).min(b + phone.go[1]) + costs[2],
            ];
            self.ways[index] = way.map(|cost| cost.min(NEVER));
            best = best.min(way[0]).min(way[1]).min(way[2]);
        }
        best
    }
}

/// The Gaussians that fit best, the best first; `wide`: eight at a time.
fn nearest(book: &[Lanes], values: &[f32; WIDTH], wide: bool) -> [(f32, u8); TOP] {
    let mut best = [(f32::INFINITY, 0_u8); TOP];
    for (block, lanes) in book.iter().enumerate() {
        let costs = costs(lanes, values, wide);
        // Most blocks have nothing among the best: one look at all sixteen.
        let worst = best[TOP - 1].0;
        if !costs.iter().fold(false, |any, cost| any | (*cost < worst)) {
            continue;
        }
        for (lane, cost) in costs.into_iter().enumerate() {
            if cost < best[TOP - 1].0 {
                #[expect(clippy::cast_possible_truncation, reason = "there are 128")]
                insert(&mut best, (cost, (block * LANES + lane) as u8));
            }
        }
    }
    best
}

/// What Gaussians cost.
#[inline(always)]
fn costs(lanes: &Lanes, values: &[f32; WIDTH], wide: bool) -> [f32; LANES] {
    #[cfg(target_arch = "x86_64")]
    if wide {
        #[expect(unsafe_code, reason = "instructions that not every processor has")]
        // SAFETY: `wide` says that this processor has them.
        return unsafe { costs_wide(lanes, values) };
    }
    let _ = wide;
    let mut costs = lanes.constant;
    for (value, shapes) in values.iter().zip(&lanes.shape) {
        for (cost, shape) in costs.iter_mut().zip(shapes) {
            let off = value - shape.mean();
            *cost += off * off * shape.precision();
        }
    }
    costs
}

/// The same, eight at a time; written out, so that it is fast enough for a call in a build that is not optimised, too.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "reads by pointer, of arrays whose length is known")]
fn costs_wide(lanes: &Lanes, values: &[f32; WIDTH]) -> [f32; LANES] {
    use std::arch::x86_64::{
        _mm256_and_si256, _mm256_castsi256_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps,
    };
    const EIGHT: usize = 8;
    const { assert!(LANES == 2 * EIGHT && Shape::UP == 16) };
    let of_means = _mm256_set1_epi32(Shape::MEAN.cast_signed());
    let mut costs = [0.0; LANES];
    for from in [0, EIGHT] {
        // SAFETY: eight numbers from `from` on are inside arrays of LANES; a shape is a u32.
        unsafe {
            let mut sum = _mm256_loadu_ps(lanes.constant.as_ptr().add(from));
            let mut at = 0;
            while at < WIDTH {
                let shapes = _mm256_loadu_si256(lanes.shape[at].as_ptr().add(from).cast());
                let mean = _mm256_castsi256_ps(_mm256_and_si256(shapes, of_means));
                let precision = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(shapes));
                let off = _mm256_sub_ps(_mm256_set1_ps(values[at]), mean);
                sum = _mm256_fmadd_ps(_mm256_mul_ps(off, off), precision, sum);
                at += 1;
            }
            _mm256_storeu_ps(costs.as_mut_ptr().add(from), sum);
        }
    }
    costs
}

/// The Gaussians that fitted the last frame best, in their order in this one.
fn again(book: &[Lanes], values: &[f32; WIDTH], last: &[(f32, u8); TOP]) -> [(f32, u8); TOP] {
    let mut best = [(f32::INFINITY, 0_u8); TOP];
    for (_, density) in last {
        let (lanes, lane) = (&book[usize::from(*density) / LANES], usize::from(*density) % LANES);
        let mut cost = lanes.constant[lane];
        for (value, shapes) in values.iter().zip(&lanes.shape) {
            let off = value - shapes[lane].mean();
            cost += off * off * shapes[lane].precision();
        }
        insert(&mut best, (cost, *density));
    }
    best
}

#[inline(always)]
fn insert(best: &mut [(f32, u8); TOP], mut one: (f32, u8)) {
    for slot in best {
        if one.0 < slot.0 {
            std::mem::swap(slot, &mut one);
        }
    }
}

/// Whether this processor does eight at a time.
fn has_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_at_a_time_cost_what_they_cost_one_by_one() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut shape = || Shape::new(40.0 * (random.f32() - 0.5), 0.01 + 2.0 * random.f32());
        let lanes = Lanes {
            constant: std::array::from_fn(|lane| f32::from(lane as u8)),
            shape: std::array::from_fn(|_| std::array::from_fn(|_| shape())),
        };
        let values = std::array::from_fn(|value| f32::from(value as u8) - 6.0);
        let (one_by_one, wide) = (costs(&lanes, &values, false), costs(&lanes, &values, has_wide()));
        for (one, other) in one_by_one.iter().zip(wide) {
            assert!((one - other).abs() < 1e-4 * one.abs(), "{one} and {other}");
        }
    }

    #[test]
    fn what_fits_best_comes_first_and_again_finds_it_among_the_last_best() {
        let mut lanes: Vec<Lanes> = Vec::new();
        for block in 0..DENSITIES / LANES {
            let shape = |lane: usize| Shape::new((block * LANES + lane) as f32, 1.0);
            lanes.push(Lanes {
                constant: [0.0; LANES],
                shape: std::array::from_fn(|_| std::array::from_fn(shape)),
            });
        }
        let best = nearest(&lanes, &[40.2; WIDTH], has_wide());
        assert_eq!(best.map(|(_, density)| density), [40, 41, 39, 42, 38, 43, 37, 44]);
        assert_eq!(
            again(&lanes, &[40.9; WIDTH], &best).map(|(_, density)| density),
            [41, 40, 42, 39, 43, 38, 44, 37]
        );
    }
}
