//! Packet loss concealment: audio in place of what was lost, so that the timeline stays whole and speech stays speech.
//!
//! What was lost is continued from what was heard before it, and where the audio after the hole is known already, also
//! from there backwards, and the two meet in the middle. That second half is what makes the difference
//! (`docs/audio.md` has the figures), and a bot gets it for nothing: it plays nothing out, so a packet is known to be
//! lost only when one after it is there.
//!
//! # How
//!
//! - `model` learns from the audio at the edge of the hole what it sounds like: its pitch by the normalised
//!   cross-correlation, the resonances of the mouth by linear prediction, and what the resonances were excited with. A
//!   voice goes on with the last period of that excitation, what is no voice with noise, and what lies between with
//!   both; sent through the resonances from where they were, it joins without a click.
//! - `join` bends the two continuations, within what a pitch can glide in that time, until their periods meet, and
//!   passes from the one to the other.
//!
//! With nothing after the hole the continuation fades to silence within 60 ms, and the first samples after it are
//! passed into over 3 ms. A hole of more than 60 ms is filled from each side for 60 ms.
//!
//! Sources: ITU-T G.711 Appendix I (repetition of pitch periods, the fade over 60 ms); ITU-T G.722 Appendix IV
//! (repetition of the excitation instead of the waveform, through linear prediction); D. J. Goodman et al., Waveform
//! substitution techniques for recovering missing speech segments in packet voice communications, IEEE Trans. ASSP 34
//! (1986); W. Verhelst and M. Roelands, WSOLA, ICASSP 1993 (joining where waveforms are most alike); W. Etter,
//! Restoration of a discrete-time signal segment by interpolation based on the left-sided and right-sided autoregressive
//! parameters, IEEE Trans. Signal Processing 44 (1996).
//!
//! # Cost
//!
//! 50 ms of history per stream, 0.8 KiB at 8 kHz; while nothing is lost, a copy of each frame; no allocation after it
//! was made; some 20 KiB of stack while a hole is filled. No clock, no randomness from outside: the same input gives
//! the same output.

use super::Rate;
use crate::prefetch::prefetch;
use model::{HISTORY, Model};

mod join;
mod model;

#[cfg(test)]
mod tests;

/// Fills the holes of one stream.
#[derive(Debug)]
pub struct Concealer {
    rate: Rate,
    history: Box<[i16]>,
    /// Where the next sample goes; the oldest one is there now.
    next: usize,
    /// Samples made up since the last that was heard.
    lost: usize,
    /// What was made up ends in what is heard next.
    joined: bool,
    noise: Noise,
}

/// From each edge of a hole audio is made up for this long, in samples of 8 kHz.
const REACH: usize = 480;

/// For this long, one-sided, nothing fades yet.
const HOLD: usize = 80;

/// What is heard after a hole is passed into over this long.
const PASSAGE: usize = 24;

/// The least that [`Concealer::between`] can learn from.
const LEAST: usize = 80;

/// The most that is made up at once, at 16 kHz.
const MADE: usize = 2 * REACH;

impl Concealer {
    /// Asks for the memory that the next [`heard`](Self::heard) of 20 ms needs.
    pub(crate) fn prefetch(&self) {
        let per_frame = self.rate.hz() as usize / 50;
        prefetch(&self.history[self.next..(self.next + per_frame).min(self.history.len())]);
    }

    /// For a stream that was silent so far. Allocates its history.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let history = vec![0; HISTORY * scale(rate)].into_boxed_slice();
        Self { rate, history, next: 0, lost: 0, joined: false, noise: Noise(1) }
    }

    /// Audio that was heard, any length. After a hole its first 3 ms are passed into from what was made up, in place;
    /// otherwise it stays as it is.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.lost > 0 {
            let length = samples.len().min(PASSAGE * scale(self.rate));
            if !self.joined {
                self.pass_into(&mut samples[..length]);
            }
            self.lost = 0;
            self.joined = false;
        }
        self.keep(samples);
    }

    /// Fills `out`, audio that was lost, of any length, knowing only what was heard before: it fades to silence within
    /// 60 ms, whether they are filled at once or in pieces.
    pub fn missing(&mut self, out: &mut [i16]) {
        let scale = scale(self.rate);
        let made_up = out.len().min((REACH * scale).saturating_sub(self.lost));
        let (sounding, silent) = out.split_at_mut(made_up);
        if !sounding.is_empty() {
            let (mut past, mut made) = ([0.0; 2 * HISTORY], [0.0; MADE]);
            let (past, made) = (self.past(&mut past), &mut made[..made_up]);
            Model::of(past, scale).continues(past, made, &mut self.noise);
            // What was made up before is in the past, as faded as it was.
            let faded = fade(self.lost, scale);
            for (i, (sample, value)) in sounding.iter_mut().zip(made).enumerate() {
                *sample = to_sample(*value * fade(self.lost + i, scale) / faded);
            }
        }
        silent.fill(0);
        self.made_up(out);
        self.joined &= out.is_empty();
    }

    /// Fills `out`, audio that was lost, of any length, knowing also `next`, which is what was heard after it and is
    /// given to [`Concealer::heard`] next: 10 ms or more, and 50 ms at most are looked at. With less than that it is
    /// [`Concealer::missing`].
    pub fn between(&mut self, out: &mut [i16], next: &[i16]) {
        let scale = scale(self.rate);
        if out.is_empty() || next.len() < LEAST * scale {
            return self.missing(out);
        }
        let (mut past, mut after) = ([0.0; 2 * HISTORY], [0.0; 2 * HISTORY]);
        let past = self.past(&mut past);
        // Backwards, so that the hole is what comes after it.
        let next = &next[..next.len().min(HISTORY * scale)];
        let after = &mut after[..next.len()];
        for (value, sample) in after.iter_mut().rev().zip(next) {
            *value = f32::from(*sample);
        }
        join::fill(out, past, after, scale, &mut self.noise);
        self.made_up(out);
        self.joined = true;
    }

    fn pass_into(&mut self, samples: &mut [i16]) {
        let mut made = [0.0; 2 * PASSAGE];
        let made = &mut made[..samples.len()];
        if self.lost < REACH * scale(self.rate) {
            let mut past = [0.0; 2 * HISTORY];
            let past = self.past(&mut past);
            Model::of(past, scale(self.rate)).continues(past, made, &mut self.noise);
        }
        let length = samples.len();
        for (i, (sample, made)) in samples.iter_mut().zip(made).enumerate() {
            let share = rise(i, length);
            *sample = to_sample(f32::from(*sample) * share + *made * (1.0 - share));
        }
    }

    fn made_up(&mut self, samples: &[i16]) {
        self.lost = self.lost.saturating_add(samples.len());
        self.keep(samples);
    }

    fn keep(&mut self, samples: &[i16]) {
        let latest = &samples[samples.len().saturating_sub(self.history.len())..];
        let (first, second) = latest.split_at(latest.len().min(self.history.len() - self.next));
        self.history[self.next..self.next + first.len()].copy_from_slice(first);
        self.history[..second.len()].copy_from_slice(second);
        self.next = (self.next + latest.len()) % self.history.len();
    }

    /// What was heard and made up last, oldest first.
    fn past<'a>(&self, room: &'a mut [f32; 2 * HISTORY]) -> &'a [f32] {
        let (newer, older) = self.history.split_at(self.next);
        for (value, sample) in room.iter_mut().zip(older.iter().chain(newer)) {
            *value = f32::from(*sample);
        }
        &room[..self.history.len()]
    }
}

/// Samples per sample of 8 kHz.
const fn scale(rate: Rate) -> usize {
    match rate {
        Rate::Hz8000 => 1,
        Rate::Hz16000 => 2,
    }
}

/// How loud one-sided audio is, `lost` samples into the hole.
fn fade(lost: usize, scale: usize) -> f32 {
    let left = (REACH * scale).saturating_sub(lost) as f32;
    (left / ((REACH - HOLD) * scale) as f32).min(1.0)
}

/// From 0 to 1 over `length` samples, without a corner.
fn rise(at: usize, length: usize) -> f32 {
    let part = (at as f32 + 0.5) / length as f32;
    0.5 - 0.5 * (std::f32::consts::PI * part).cos()
}

fn to_sample(value: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates at full scale, as it should")]
    let sample = value.round() as i16;
    sample
}

/// White noise, the same every time (D. E. Knuth's linear congruence).
#[derive(Debug)]
struct Noise(u32);

impl Noise {
    /// Evenly distributed, with a root mean square of 1.
    fn sample(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let even = (self.0 >> 8) as f32 / 8_388_608.0 - 1.0;
        even * 1.732
    }
}
