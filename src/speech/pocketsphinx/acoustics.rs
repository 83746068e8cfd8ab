//! The acoustic model as numbers: Gaussians, mixture weights, phones and transitions, read once for all decoders.
//!
//! The files are those of Sphinx: `means`, `variances`, `sendump`, `mdef` and `transition_matrices` of a model whose
//! Gaussians are tied by phone (PTM). Costs are negative logarithms in the library's small unit: 1024 steps of the base
//! 1.0001, about 0.1024 nat.

use std::path::{Path, PathBuf};

use super::lexicon::missing;
use crate::speech::SpeechError;

/// One of the library's small units, in nats.
const UNIT: f64 = 1_024.0 * 0.000_099_995_000_333_308_35;
/// Streams of features: cepstra, their first and their second differences.
pub(super) const STREAMS: usize = 3;
/// Values of a stream.
pub(super) const WIDTH: usize = 13;
/// Gaussians of a codebook in each stream.
pub(super) const DENSITIES: usize = 128;
/// Gaussians that are computed side by side.
pub(super) const LANES: usize = 16;
/// States of a phone.
pub(super) const STATES: usize = 3;
/// Smallest variance: that of the library's `-varfloor`.
const FLOOR: f32 = 0.000_1;
/// The library keeps the weight of a Gaussian in a mixture below this.
const MOST: i32 = 255;

/// Gaussians side by side: constant, then mean and half the inverse variance of each value.
///
/// All of them are read for every frame, and reading them is what takes the time: halved numbers keep the model (0.9 MB)
/// in a core's own cache.
pub(super) struct Lanes {
    pub constant: [f32; LANES],
    pub shape: [[Shape; LANES]; WIDTH],
}

/// A mean and half an inverse variance, each the upper half of an `f32`: exact to 0.4 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Shape(u32);

impl Shape {
    /// The bits of the mean.
    pub(super) const MEAN: u32 = 0xffff_0000;
    /// How far up those of the other number go.
    pub(super) const UP: u32 = 16;

    pub(super) fn new(mean: f32, precision: f32) -> Self {
        // Rounded, not cut. The model's numbers are far from where that would overflow.
        let rounded = |number: f32| number.to_bits().saturating_add(0x8000) & Self::MEAN;
        Self(rounded(mean) | rounded(precision) >> Self::UP)
    }

    #[inline(always)]
    pub(super) fn mean(self) -> f32 {
        f32::from_bits(self.0 & Self::MEAN)
    }

    #[inline(always)]
    pub(super) fn precision(self) -> f32 {
        f32::from_bits(self.0 << Self::UP)
    }
}

/// A phone of the model without its neighbours.
#[derive(Debug, Clone)]
pub(super) struct Phone {
    /// Costs of staying in each state.
    pub stay: [i32; STATES],
    /// Costs of going on from each state.
    pub go: [i32; STATES],
    /// Its states' senones.
    pub senones: [usize; STATES],
}

/// The model.
pub(super) struct Acoustics {
    /// By codebook and stream, `DENSITIES / LANES` each.
    pub lanes: Vec<Lanes>,
    /// By senone, stream and Gaussian.
    weights: Vec<u8>,
    /// The codebook of each senone.
    pub codebook: Vec<u8>,
    pub phones: Vec<Phone>,
}

impl Acoustics {
    /// Reads the model in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self, SpeechError> {
        let model = Definition::read(&dir.join("mdef"))?;
        let lanes = gaussians(&dir.join("means"), &dir.join("variances"), model.phones.len())?;
        let weights = mixtures(&dir.join("sendump"), model.codebook.len())?;
        let transitions = transitions(&dir.join("transition_matrices"))?;
        let phone = |(senones, matrix): &([usize; STATES], usize)| {
            let rows = transitions.get(*matrix)?;
            let stay = std::array::from_fn(|state| rows[state][state]);
            let go = std::array::from_fn(|state| rows[state][state + 1]);
            Some(Phone { stay, go, senones: *senones })
        };
        let phones: Option<Vec<Phone>> = model.phones.iter().map(phone).collect();
        let phones = phones.ok_or_else(|| damaged(&dir.join("transition_matrices")))?;
        Ok(Self { lanes, weights, codebook: model.codebook, phones })
    }

    /// How many codebooks there are.
    pub(super) fn codebooks(&self) -> usize {
        self.phones.len()
    }

    /// The Gaussians of a codebook in a stream.
    pub(super) fn of(&self, codebook: usize, stream: usize) -> &[Lanes] {
        let each = DENSITIES / LANES;
        let from = (codebook * STREAMS + stream) * each;
        &self.lanes[from..from + each]
    }

    /// The weights of a senone in a stream, by Gaussian.
    pub(super) fn weights(&self, senone: usize, stream: usize) -> &[u8; DENSITIES] {
        let from = (senone * STREAMS + stream) * DENSITIES;
        self.weights[from..from + DENSITIES].try_into().expect("as many as there are Gaussians")
    }
}

/// What is taken of `mdef`.
struct Definition {
    /// Senones and number of the transition matrix of each phone without neighbours.
    phones: Vec<([usize; STATES], usize)>,
    codebook: Vec<u8>,
}

impl Definition {
    fn read(path: &Path) -> Result<Self, SpeechError> {
        let mut file = Bytes::open(path)?;
        if file.take(4)? != b"BMDF" {
            return Err(damaged(path));
        }
        file.number()?;
        let head = file.number()?;
        file.take(head)?;
        let [phones, all, states, _, senones, _, sequences, _, trees, _] = {
            let mut numbers = [0; 10];
            for number in &mut numbers {
                *number = file.number()?;
            }
            numbers
        };
        let fits = states == STATES && phones <= 256 && all <= 1 << 24 && senones <= 1 << 16;
        if !fits || trees > 1 << 24 || sequences > 1 << 24 {
            return Err(damaged(path));
        }
        let names = file.at;
        for _ in 0..phones {
            while file.take(1)? != [0] {}
        }
        file.take((file.at - names).next_multiple_of(4) - (file.at - names))?;
        file.take(8 * trees)?;
        let entries: Vec<(usize, usize, [u8; 4])> = (0..all)
            .map(|_| {
                let (sequence, matrix) = (file.number()?, file.number()?);
                let rest = file.take(4)?;
                Ok((sequence, matrix, [rest[0], rest[1], rest[2], rest[3]]))
            })
            .collect::<Result<_, SpeechError>>()?;
        file.number()?;
        let table: Vec<[usize; STATES]> = (0..sequences)
            .map(|_| {
                let six = file.take(2 * STATES)?;
                Ok(std::array::from_fn(|s| usize::from(u16::from_le_bytes([six[2 * s], six[2 * s + 1]]))))
            })
            .collect::<Result<_, SpeechError>>()?;
        let mut codebook = vec![u8::MAX; senones];
        for (index, (sequence, _, info)) in entries.iter().enumerate() {
            let base = if index < phones { u8::try_from(index).unwrap_or(u8::MAX) } else { info[1] };
            for senone in table.get(*sequence).ok_or_else(|| damaged(path))? {
                let slot = codebook.get_mut(*senone).ok_or_else(|| damaged(path))?;
                *slot = (*slot).min(base);
            }
        }
        if codebook.iter().any(|c| usize::from(*c) >= phones) {
            return Err(damaged(path));
        }
        let phones = entries[..phones].iter().map(|(sequence, matrix, _)| (table[*sequence], *matrix));
        Ok(Self { phones: phones.collect(), codebook })
    }
}

/// Reads means and variances and lays them side by side, in small units.
fn gaussians(means: &Path, variances: &Path, codebooks: usize) -> Result<Vec<Lanes>, SpeechError> {
    let read = |path: &Path| -> Result<Vec<f32>, SpeechError> {
        let mut file = Bytes::open(path)?;
        file.head()?;
        let shape = [file.number()?, file.number()?, file.number()?];
        let widths = [file.number()?, file.number()?, file.number()?];
        if shape != [codebooks, STREAMS, DENSITIES] || widths != [WIDTH; STREAMS] {
            return Err(damaged(path));
        }
        let count = file.number()?;
        if count != codebooks * STREAMS * DENSITIES * WIDTH {
            return Err(damaged(path));
        }
        file.floats(count)
    };
    let (mean, variance) = (read(means)?, read(variances)?);
    let chunk = LANES * WIDTH;
    let lay = |(mean, variance): (&[f32], &[f32])| {
        let mut lanes = Lanes { constant: [0.0; LANES], shape: [[Shape::default(); LANES]; WIDTH] };
        for lane in 0..LANES {
            let mut constant = 0.0;
            for value in 0..WIDTH {
                let variance = f64::from(variance[lane * WIDTH + value].max(FLOOR));
                constant += 0.5 * (std::f64::consts::TAU * variance).ln();
                lanes.shape[value][lane] = Shape::new(mean[lane * WIDTH + value], small(0.5 / variance));
            }
            lanes.constant[lane] = small(constant);
        }
        lanes
    };
    Ok(mean.chunks_exact(chunk).zip(variance.chunks_exact(chunk)).map(lay).collect())
}

/// Reads mixture weights, one byte each by stream, Gaussian and senone, and sorts them by senone.
fn mixtures(path: &Path, senones: usize) -> Result<Vec<u8>, SpeechError> {
    let mut file = Bytes::open(path)?;
    loop {
        let length = file.number()?;
        if length == 0 {
            break;
        }
        let line = file.take(length)?;
        if line.starts_with(b"cluster_count ") && !line.starts_with(b"cluster_count 0") {
            return Err(damaged(path));
        }
    }
    let (rows, columns) = (file.number()?, file.number()?);
    if rows != DENSITIES || columns < senones || columns > senones + 8 {
        return Err(damaged(path));
    }
    let mut weights = vec![0; senones * STREAMS * DENSITIES];
    for stream in 0..STREAMS {
        for density in 0..DENSITIES {
            for (senone, weight) in file.take(columns)?.iter().take(senones).enumerate() {
                weights[(senone * STREAMS + stream) * DENSITIES + density] = *weight;
            }
        }
    }
    Ok(weights)
}

/// Reads the costs of going from state to state, by matrix.
fn transitions(path: &Path) -> Result<Vec<[[i32; STATES + 1]; STATES]>, SpeechError> {
    let mut file = Bytes::open(path)?;
    file.head()?;
    let (matrices, from, to, count) = (file.number()?, file.number()?, file.number()?, file.number()?);
    if (from, to) != (STATES, STATES + 1) || count != matrices * from * to {
        return Err(damaged(path));
    }
    let cost = |row: &[f32]| -> [i32; STATES + 1] {
        let sum: f32 = row.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        std::array::from_fn(|to| small(-f64::from(row[to] / sum).max(1e-30).ln()).min(MOST as f32) as i32)
    };
    let numbers = file.floats(count)?;
    let matrix = |m: &[f32]| std::array::from_fn(|state| cost(&m[state * to..][..to]));
    Ok(numbers.chunks_exact(from * to).map(matrix).collect())
}

/// Small units out of nats.
#[expect(clippy::cast_possible_truncation, reason = "a cost needs no more")]
fn small(nats: f64) -> f32 {
    (nats / UNIT) as f32
}

/// How much less than the smaller of two costs their sum costs, by their difference.
pub(super) fn sums() -> [u8; 256] {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most seven"
    )]
    std::array::from_fn(|d| ((-(d as f64) * UNIT).exp().ln_1p() / UNIT).round() as u8)
}

/// A file that is read from its beginning.
struct Bytes {
    path: PathBuf,
    bytes: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn open(path: &Path) -> Result<Self, SpeechError> {
        let bytes = std::fs::read(path).map_err(|e| missing(path, &e))?;
        Ok(Self { path: path.to_owned(), bytes, at: 0 })
    }

    fn take(&mut self, count: usize) -> Result<&[u8], SpeechError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| damaged(&self.path))?;
        let from = std::mem::replace(&mut self.at, end);
        Ok(&self.bytes[from..end])
    }

    /// A number of four bytes that is not negative.
    fn number(&mut self) -> Result<usize, SpeechError> {
        let four = self.take(4)?.try_into().expect("four were taken");
        usize::try_from(i32::from_le_bytes(four)).map_err(|_| damaged(&self.path))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, SpeechError> {
        let bytes = self.take(4 * count)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect())
    }

    /// The header of Sphinx's files of parameters: lines of text up to `endhdr`, and a mark of the byte order.
    fn head(&mut self) -> Result<(), SpeechError> {
        const END: &[u8] = b"endhdr\n";
        let end = self.bytes.windows(END.len()).position(|window| window == END);
        self.at = end.ok_or_else(|| damaged(&self.path))? + END.len();
        if self.take(4)? != 0x1122_3344_u32.to_le_bytes() {
            return Err(damaged(&self.path));
        }
        Ok(())
    }
}

fn damaged(path: &Path) -> SpeechError {
    SpeechError::Unavailable(format!(
        "the speech model {} is damaged or of another kind than expected (Gaussians tied by phone, 16 kHz, as in the \
         Debian package pocketsphinx-en-us): install that package, or name its folder in `speech.model_dir`",
        path.display()
    ))
}
