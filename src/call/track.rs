//! Where each piece of a prompt stands in what is played, so that it is known which words were heard.

use std::time::Duration;

use super::Part;
use crate::audio::Rate;
use crate::speech::words::{WordTimes, first_words, from_cut_sentence, heard_words};

/// A step back from the end, to find the last sentence: no word is shorter.
const LAST_WORD: Duration = Duration::from_millis(80);

/// The pieces of one play.
#[derive(Debug, Clone)]
pub(super) struct Track {
    rate: Rate,
    pieces: Vec<Piece>,
    /// Length of its beginning that was played before, elsewhere.
    before: Duration,
    /// More of it was to be written when it was cut.
    unfinished: bool,
}

#[derive(Debug, Clone)]
struct Piece {
    part: Part,
    times: WordTimes,
    /// Its samples as far as they were handed over; whether that is all.
    samples: u64,
    whole: bool,
    /// Samples of silence behind it.
    gap: u64,
}

impl Track {
    pub fn new(rate: Rate, parts: impl IntoIterator<Item = (Part, WordTimes)>) -> Self {
        let pieces = parts.into_iter().map(|(part, times)| Piece::new(part, times)).collect();
        Self { rate, pieces, before: Duration::ZERO, unfinished: false }
    }

    /// One piece more.
    pub fn push(&mut self, part: Part, times: WordTimes) {
        self.pieces.push(Piece::new(part, times));
    }

    /// Who made its first piece, where there is one; a recording is made by nobody.
    pub fn maker(&self) -> Option<Option<&'static str>> {
        self.pieces.first().map(|piece| piece.times.maker())
    }

    /// A text more, of which nothing will be said.
    pub fn push_unsaid(&mut self, text: String) {
        self.push(Part::Text(text), WordTimes::default());
        self.finish(self.pieces.len() - 1);
    }

    /// It was cut before all of it was written: what is left is not known.
    pub fn leave_unfinished(&mut self) {
        self.unfinished = true;
    }

    /// Whether it was cut before all of it was written.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// So many samples of silence behind piece `index`.
    pub fn gap(&mut self, index: usize, samples: usize) {
        if let Some(piece) = self.pieces.get_mut(index) {
            piece.gap += samples as u64;
        }
    }

    /// What piece `index` is, where it is a text.
    pub fn text(&self, index: usize) -> Option<&str> {
        match &self.pieces.get(index)?.part {
            Part::Text(text) => Some(text),
            _ => None,
        }
    }

    /// So much of its beginning was played before, elsewhere.
    pub fn heard_before(&mut self, before: Duration) {
        self.before = before;
    }

    /// So many samples of piece `index` more.
    pub fn add(&mut self, index: usize, samples: usize) {
        if let Some(piece) = self.pieces.get_mut(index) {
            piece.samples += samples as u64;
        }
    }

    /// Piece `index` is all there.
    pub fn finish(&mut self, index: usize) {
        if let Some(piece) = self.pieces.get_mut(index) {
            piece.whole = true;
        }
    }

    /// The words that were heard in the first `heard` of the play, and the recordings that were heard to their ends.
    pub fn words(&self, heard: Duration) -> String {
        let told = self.heard(heard).filter_map(|(piece, count, heard)| match &piece.part {
            Part::Text(text) => Some(first_words(text, count).to_owned()),
            Part::File(_) => self.is_over(piece, heard).then(|| piece.part.name()),
            Part::Stream(_) => None,
        });
        told.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// What is left to say after the first `heard`, from the beginning of the sentence or recording that was cut.
    pub fn rest(&self, heard: Duration) -> Vec<Part> {
        let left = self.heard(heard).filter_map(|(piece, count, heard)| match &piece.part {
            Part::Text(text) => from_cut_sentence(text, count).map(|rest| Part::Text(rest.to_owned())),
            Part::File(file) => (!self.is_over(piece, heard)).then(|| Part::File(file.clone())),
            Part::Stream(_) => None,
        });
        left.collect()
    }

    /// The last sentence of it, or its last recording.
    pub fn last(&self) -> Vec<Part> {
        let whole: Duration =
            self.pieces.iter().map(|piece| self.rate.duration(piece.samples + piece.gap)).sum();
        // Of the last word nothing.
        (1..=40)
            .map(|back| self.rest(whole.saturating_sub(back * LAST_WORD)))
            .find(|rest| !rest.is_empty())
            .unwrap_or_default()
    }

    /// Each piece with the words and the length that were heard of it.
    fn heard(&self, heard: Duration) -> impl Iterator<Item = (&Piece, usize, Duration)> {
        let mut left = heard.saturating_add(self.before);
        self.pieces.iter().map(move |piece| {
            let length = self.rate.duration(piece.samples);
            let here = if piece.whole { left.min(length) } else { left };
            left = left.saturating_sub(length + self.rate.duration(piece.gap));
            let count = match &piece.part {
                Part::Text(text) => {
                    heard_words(text, &piece.times.known(), here, piece.whole.then_some(length))
                }
                Part::File(_) | Part::Stream(_) => 0,
            };
            (piece, count, here)
        })
    }

    fn is_over(&self, piece: &Piece, heard: Duration) -> bool {
        piece.whole && heard + Duration::from_millis(60) >= self.rate.duration(piece.samples)
    }
}

impl Piece {
    fn new(part: Part, times: WordTimes) -> Self {
        Self { part, times, samples: 0, whole: false, gap: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_prompt_of_several_pieces_tells_its_words_and_goes_on_from_the_cut_sentence() {
        let times = WordTimes::default();
        times.extend([300, 700, 1_000, 1_400].map(Duration::from_millis));
        let parts = [
            (Part::Text("Hello there.".into()), WordTimes::default()),
            (Part::File("/x/jingle.wav".into()), WordTimes::default()),
            (Part::Text("Two words. Two more.".into()), times),
        ];
        let mut track = Track::new(Rate::Hz8000, parts);
        for (index, samples) in [(0, 8_000), (1, 8_000), (2, 12_000)] {
            track.add(index, samples);
            track.finish(index);
        }
        let words = |ms: u64| track.words(Duration::from_millis(ms));
        assert_eq!(words(0), "");
        assert_eq!(words(1_000), "Hello there.");
        assert_eq!(words(1_900), "Hello there.");
        assert_eq!(words(3_050), "Hello there. [jingle.wav] Two words. Two");
        let rest = |ms: u64| track.rest(Duration::from_millis(ms));
        assert_eq!(rest(3_050), [Part::Text("Two more.".into())]);
        assert_eq!(rest(1_500).len(), 2, "from the recording on");
        assert_eq!(track.last(), [Part::Text("Two more.".into())]);
        assert!(rest(3_500).is_empty());
    }
}
