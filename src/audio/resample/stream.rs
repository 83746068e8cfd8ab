//! From any rate to one of ours as the audio comes: for synthesisers, whose rates are their own.

use std::sync::{Arc, Mutex, PoisonError};

use super::{BETA, BadRate, DELAY_AT_16_KHZ, DOWN_3, Down2, Down3, Up2, bessel_i0_of_root, to_sample};
use crate::audio::Rate;

/// Changes the rate of a stream. Allocates; not for media threads.
///
/// 8 ↔ 16 and 24 → 8 kHz go through the filters of the live path. Any other pair is a polyphase filter of `CROSSINGS` zero
/// crossings on either side, whose delay is taken out: what comes out is where it was, and as long.
pub struct Converter(Kind);

enum Kind {
    Keep,
    Up2(Box<Up2>),
    /// And a sample that waits for its pair.
    Down2(Box<Down2>, Option<i16>),
    Down3(Box<Down3>),
    Any(Box<Polyphase>),
}

/// Zero crossings of the low pass on either side of its middle.
const CROSSINGS: f64 = 20.0;

/// The low pass is 6 dB down at this share of the lower rate's half.
const EDGE: f64 = 0.95;

/// Tables that are kept for the next stream of the same rates.
const TABLES: usize = 16;

impl Converter {
    /// From `from_hz` to `to`.
    ///
    /// # Errors
    /// [`BadRate`] below 4,000 or above 192,000 Hz.
    pub fn new(from_hz: u32, to: Rate) -> Result<Self, BadRate> {
        if !(4_000..=192_000).contains(&from_hz) {
            return Err(BadRate(from_hz));
        }
        Ok(Self(match (from_hz, to) {
            (hz, to) if hz == to.hz() => Kind::Keep,
            (8_000, Rate::Hz16000) => Kind::Up2(Box::default()),
            (16_000, Rate::Hz8000) => Kind::Down2(Box::default(), None),
            (24_000, Rate::Hz8000) => Kind::Down3(Box::default()),
            (hz, to) => Kind::Any(Box::new(Polyphase::new(hz, to.hz()))),
        }))
    }

    /// Adds samples; what is ready goes behind what is in `out`.
    pub fn push(&mut self, input: &[i16], out: &mut Vec<i16>) {
        let from = out.len();
        match &mut self.0 {
            Kind::Keep => out.extend_from_slice(input),
            Kind::Up2(up) => {
                out.resize(from + 2 * input.len(), 0);
                up.process(input, &mut out[from..]);
            }
            Kind::Down2(down, odd) => {
                let mut input = input;
                out.resize(from + input.len() / 2 + 1, 0);
                let mut written = 0;
                if let (Some(first), [second, rest @ ..]) = (*odd, input) {
                    written += down.process(&[first, *second], &mut out[from..]);
                    (*odd, input) = (None, rest);
                }
                written += down.process(input, &mut out[from + written..]);
                if let [.., last] = input
                    && input.len() % 2 == 1
                {
                    *odd = Some(*last);
                }
                out.truncate(from + written);
            }
            Kind::Down3(down) => {
                out.resize(from + input.len() / 3 + 1, 0);
                let written = down.process(input, &mut out[from..]);
                out.truncate(from + written);
            }
            Kind::Any(any) => any.push(input, out),
        }
    }

    /// Gives what the filter still holds. Nothing is pushed after it.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        match &mut self.0 {
            Kind::Keep => {}
            Kind::Up2(_) => self.push(&[0; DELAY_AT_16_KHZ.div_ceil(2)], out),
            Kind::Down2(..) => self.push(&[0; DELAY_AT_16_KHZ + 1], out),
            Kind::Down3(_) => self.push(&[0; DOWN_3 / 2], out),
            Kind::Any(any) => any.finish(out),
        }
    }
}

/// A low pass at every one of the places that results lie at between two samples.
struct Table {
    /// Results for every [`step`](Self::step) samples: as many as there are places.
    places: usize,
    step: usize,
    /// Samples on either side that a result takes in.
    side: usize,
    /// `places` times `2 * side` of them.
    taps: Vec<f32>,
}

struct Polyphase {
    table: Arc<Table>,
    /// Samples from `first` on, counted from the beginning with `side` zeros before it.
    held: Vec<i16>,
    first: usize,
    /// Samples that came in, and results that went out.
    seen: usize,
    made: usize,
}

impl Polyphase {
    fn new(from: u32, to: u32) -> Self {
        let table = table(from, to);
        let held = vec![0; table.side];
        Self { table, held, first: 0, seen: 0, made: 0 }
    }

    fn push(&mut self, input: &[i16], out: &mut Vec<i16>) {
        self.held.extend_from_slice(input);
        self.seen += input.len();
        self.make(out, usize::MAX);
    }

    fn finish(&mut self, out: &mut Vec<i16>) {
        let whole = self.seen * self.table.places / self.table.step;
        self.held.resize(self.held.len() + self.table.side, 0);
        self.make(out, whole);
    }

    /// Makes what can be made, at most until there are `most` of them.
    fn make(&mut self, out: &mut Vec<i16>, most: usize) {
        let Table { places, step, side, taps } = &*self.table;
        while self.made < most {
            let at = self.made * step;
            // In `held` there are `side` zeros before the first sample: this is the first one that counts.
            let from = at / places + 1 - self.first;
            let Some(samples) = self.held.get(from..from + 2 * side) else { break };
            let taps = &taps[at % places * 2 * side..][..2 * side];
            let mut lanes = [0.0_f32; 4];
            for (samples, taps) in samples.chunks(4).zip(taps.chunks(4)) {
                for (lane, (sample, tap)) in lanes.iter_mut().zip(samples.iter().zip(taps)) {
                    *lane += f32::from(*sample) * tap;
                }
            }
            out.push(to_sample(lanes.iter().sum()));
            self.made += 1;
        }
        let used = (self.made * step / places + 1 - self.first).min(self.held.len());
        self.held.drain(..used);
        self.first += used;
    }
}

/// Two rates, and the filter between them.
type Made = ((u32, u32), Arc<Table>);

/// The filter between two rates, made once for all streams.
fn table(from: u32, to: u32) -> Arc<Table> {
    static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());
    let known = |made: &[Made]| {
        made.iter().find(|(rates, _)| *rates == (from, to)).map(|(_, table)| Arc::clone(table))
    };
    if let Some(table) = known(&MADE.lock().unwrap_or_else(PoisonError::into_inner)) {
        return table;
    }
    let table = Arc::new(Table::new(from, to));
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.len() >= TABLES {
        made.remove(0);
    }
    made.push(((from, to), Arc::clone(&table)));
    table
}

impl Table {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small whole numbers, f32 taps"
    )]
    fn new(from: u32, to: u32) -> Self {
        let common = gcd(from, to);
        let (places, step) = ((to / common) as usize, (from / common) as usize);
        // The band that is kept, as a share of the rate that comes in.
        let band = EDGE * f64::from(to.min(from)) / f64::from(from);
        let side = (CROSSINGS / band).ceil() as usize;
        let mut taps = Vec::with_capacity(places * 2 * side);
        for place in 0..places {
            let offset = place as f64 / places as f64;
            let tap = |index: usize| {
                let x = index as f64 - (side as f64 - 1.0) - offset;
                let edge = x / (side as f64 + 1.0);
                let sinc = if x.abs() < 1e-9 {
                    band
                } else {
                    (std::f64::consts::PI * band * x).sin() / (std::f64::consts::PI * x)
                };
                sinc * bessel_i0_of_root(BETA * BETA * (1.0 - edge * edge).max(0.0))
            };
            let row: Vec<f64> = (0..2 * side).map(tap).collect();
            let sum: f64 = row.iter().sum();
            taps.extend(row.into_iter().map(|tap| (tap / sum) as f32));
        }
        Self { places, step, side, taps }
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::peak_dbfs_at;

    /// A second of a tone, as the samples of a rate.
    fn tone(hz: f64, rate: u32) -> Vec<i16> {
        let sample = |n: u32| {
            let turns = std::f64::consts::TAU * hz * f64::from(n) / f64::from(rate);
            (turns.sin() * 20_000.0) as i16
        };
        (0..rate).map(sample).collect()
    }

    fn converted(samples: &[i16], from: u32, to: Rate, piece: usize) -> Vec<i16> {
        let mut converter = Converter::new(from, to).unwrap();
        let mut out = Vec::new();
        for piece in samples.chunks(piece) {
            converter.push(piece, &mut out);
        }
        converter.finish(&mut out);
        out
    }

    const PAIRS: [(u32, Rate); 9] = [
        (22_050, Rate::Hz8000),
        (22_050, Rate::Hz16000),
        (24_000, Rate::Hz16000),
        (24_000, Rate::Hz8000),
        (44_100, Rate::Hz8000),
        (48_000, Rate::Hz8000),
        (11_025, Rate::Hz16000),
        (16_000, Rate::Hz8000),
        (8_000, Rate::Hz16000),
    ];

    #[test]
    fn a_tone_comes_out_as_loud_as_long_and_where_it_was() {
        for (from, to) in PAIRS {
            let out = converted(&tone(1_000.0, from), from, to, 997);
            let whole = to.hz() as usize;
            assert!(out.len().abs_diff(whole) < 60, "{from}: {} of {whole}", out.len());
            let middle = &out[whole / 4..whole * 3 / 4];
            let level = peak_dbfs_at(middle, to, 1_000.0);
            let wanted = 20.0 * (20_000.0_f64 / 32_768.0).log10();
            assert!((level - wanted).abs() < 0.5, "{from} to {to:?}: {level} dB for {wanted}");
        }
    }

    #[test]
    fn what_a_telephone_does_not_carry_is_taken_out() {
        for from in [22_050, 44_100, 48_000] {
            // It would come to lie at 2 kHz.
            let out = converted(&tone(6_000.0, from), from, Rate::Hz8000, 500);
            let level = peak_dbfs_at(&out[2_000..6_000], Rate::Hz8000, 2_000.0);
            assert!(level < -55.0, "{from}: {level} dB");
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same() {
        for (from, to) in PAIRS {
            let sound = tone(700.0, from);
            let whole = converted(&sound, from, to, sound.len());
            for piece in [1, 7, 320] {
                assert_eq!(whole, converted(&sound, from, to, piece), "{from} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn nothing_makes_nothing_and_odd_rates_are_refused() {
        let mut out = Vec::new();
        Converter::new(22_050, Rate::Hz8000).unwrap().finish(&mut out);
        assert!(out.is_empty());
        assert!(Converter::new(1, Rate::Hz8000).is_err() && Converter::new(400_000, Rate::Hz8000).is_err());
    }
}
