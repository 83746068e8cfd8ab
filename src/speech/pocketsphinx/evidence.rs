//! What speaks for a hypothesis and what against it, in a few numbers, and how sure they make of it.
//!
//! A grammar finds itself in everything. What gives it away is how much better a free loop over all phones explains the
//! same sound ([`Scorer::behind`](super::scorer::Scorer::behind)): over the words, in the word that fits worst, and in
//! what the grammar had to call silence; and words that are spoken faster or slower than anybody speaks.

use std::sync::OnceLock;

use super::decoder::Segment;
use super::scorer::Scorer;

/// How many numbers there are.
pub const EVIDENCE: usize = 14;

/// The evidence on one hypothesis; see the card in `models/refusal/README.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence(pub [f32; EVIDENCE]);

impl Evidence {
    /// Looks at the stretches of a hypothesis. `phones` gives how many phones a word of the hypothesis has.
    pub(super) fn of(segments: &[Segment], scorer: &Scorer, phones: impl Fn(&str) -> usize) -> Self {
        let mut spoken = 0.0_f32;
        let (mut behind, mut worst, mut words) = (0.0_f32, f32::NEG_INFINITY, 0.0_f32);
        let (mut unheard, mut strange) = (0.0_f32, 0.0_f32);
        let (mut fastest, mut slowest) = (f32::INFINITY, 0.0_f32);
        for segment in segments.iter().filter(|s| !s.word.starts_with('(')) {
            let (first, last) = segment.frames;
            let (first, last) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let frames = (last + 1).saturating_sub(first).max(1) as f32;
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let lost = scorer.behind(first, last, -i64::from(segment.acoustic)) as f32;
            if segment.word.starts_with(['<', '[', '+']) {
                unheard += lost.max(0.0);
            } else {
                words += 1.0;
                spoken += frames;
                #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
                let free = scorer.free(first, last) as f32;
                strange += free;
                behind += lost;
                worst = worst.max(lost / frames);
                #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
                let each = frames / phones(&segment.word).max(1) as f32;
                fastest = fastest.min(each);
                slowest = slowest.max(each);
            }
        }
        let spoken = spoken.max(1.0);
        let behind = behind / spoken / 10.0;
        let unheard = (unheard / 1_000.0).min(2.0);
        let length = (spoken / 100.0).ln();
        let words = words.max(1.0).ln();
        let strange = strange / spoken / 100.0;
        Self([
            behind,
            worst.max(-100.0) / 10.0,
            unheard,
            unheard.sqrt(),
            fastest.clamp(1.0, 100.0).ln(),
            slowest.clamp(1.0, 100.0).ln(),
            length,
            words,
            behind * length,
            behind * words,
            unheard * length,
            length * length,
            strange,
            behind * strange,
        ])
    }

    /// How sure it makes of the hypothesis: the share of those with this evidence that were right, of the voices that
    /// `models/refusal/train.rs` speaks with, when half of what is said is outside the grammar.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        let weights = &Weights::shipped().values;
        let sum = weights[0] + self.0.iter().zip(&weights[1..]).map(|(x, w)| x * w).sum::<f32>();
        1.0 / (1.0 + (-sum).exp())
    }
}

const SHIPPED: &str = include_str!("../../../models/refusal/weights.txt");

/// What the calibration found.
pub(super) struct Weights {
    /// A hypothesis less sure than this is refused: of one word, of more. A word alone is found in more of what was never
    /// asked for.
    refused_below: [f32; 2],
    /// A constant, then one for each number of the evidence.
    values: [f32; EVIDENCE + 1],
}

impl Weights {
    /// Those in `models/refusal/weights.txt`, which are compiled in.
    pub(super) fn shipped() -> &'static Self {
        static WEIGHTS: OnceLock<Weights> = OnceLock::new();
        WEIGHTS.get_or_init(|| Self::parse(SHIPPED).expect("a test reads the shipped weights"))
    }

    /// Whether a hypothesis of these words is too doubtful.
    pub(super) fn refuse(&self, words: &str, confidence: f32) -> bool {
        confidence < self.refused_below[usize::from(words.contains(' '))]
    }

    /// Reads the thresholds and the weights, a number a line, `#` before comments.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let numbers: Option<Vec<f32>> = lines.map(|line| line.trim().parse().ok()).collect();
        let (refused_below, values) = numbers.as_ref()?.split_at_checked(2)?;
        Some(Self { refused_below: refused_below.try_into().ok()?, values: values.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_weights_have_the_right_shape() {
        let weights = Weights::parse(SHIPPED).expect("they read");
        assert!(weights.refused_below.iter().all(|below| (0.0..1.0).contains(below)));
        assert!(weights.refuse("one", 0.0) && !weights.refuse("one two", 1.0));
        assert!(Weights::parse("0.5\n1\n2").is_none());
    }
}
