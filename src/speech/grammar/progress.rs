//! How far words are a sentence, fast enough to be asked at every partial, and what kind of answer a grammar expects.

use std::collections::BTreeSet;

use super::machine::Compact;
use super::{DIGIT_WORDS, Grammar};

/// How far words are a sentence of a grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a sentence; no words are the beginning of every one.
    Begun,
    /// A sentence, and more may follow that makes it mean something else: "one two" of two to four digits.
    Complete,
    /// A sentence, and whatever may follow, it means the same: "sales" of `(sales [department]) {sales}`.
    Settled,
    /// A sentence, and nothing can follow.
    Whole,
    /// No sentence begins so.
    Foreign,
}

/// What kind of answer a grammar expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// Yes or no, whatever the words for them are.
    YesNo,
    /// Digits one by one.
    Digits {
        /// The fewest.
        least: u8,
        /// The most.
        most: u8,
    },
    /// One of some phrases.
    Menu,
}

/// Pairs of meanings that are a yes and a no.
const YES_NO: [(&str, &str); 9] = [
    ("yes", "no"),
    ("ja", "nein"),
    ("oui", "non"),
    ("si", "no"),
    ("sí", "no"),
    ("sì", "no"),
    ("ja", "nee"),
    ("да", "нет"),
    ("true", "false"),
];

/// Sentences that are looked at for the kind of answer.
const LOOKED_AT: usize = 512;

/// The grammar's automaton with its words as numbers, for walking along as words come.
#[derive(Debug)]
pub(super) struct Walker {
    /// Sorted; a word's number is its place.
    words: Vec<String>,
    start: u32,
    states: Vec<Stop>,
}

#[derive(Debug)]
struct Stop {
    accepts: bool,
    /// Word and the state that it leads to, sorted by word.
    next: Vec<(u32, u32)>,
}

impl Walker {
    pub(super) fn new(compact: &Compact, vocabulary: &BTreeSet<String>) -> Self {
        let words: Vec<String> = vocabulary.iter().cloned().collect();
        let number = |n: usize| u32::try_from(n).expect("a grammar has a few thousand states and words");
        let stop = |state: &super::machine::CompactState| {
            let known = |word: &String| words.binary_search(word).expect("the vocabulary has every word");
            let mut next: Vec<(u32, u32)> =
                state.words.iter().map(|(word, to, _)| (number(known(word)), number(*to))).collect();
            next.sort_unstable();
            next.dedup();
            Stop { accepts: state.accepts, next }
        };
        let states = compact.states.iter().map(stop).collect();
        Self { start: number(compact.start), states, words }
    }

    fn progress<'w>(&self, words: impl Iterator<Item = &'w str>) -> Progress {
        let (mut here, mut there) = (vec![self.start], Vec::new());
        for word in words {
            let Ok(word) = self.words.binary_search_by(|known| known.as_str().cmp(word)) else {
                return Progress::Foreign;
            };
            let word = u32::try_from(word).unwrap_or(u32::MAX);
            there.clear();
            for state in &here {
                let next = &self.states[*state as usize].next;
                let from = next.partition_point(|(w, _)| *w < word);
                for (_, to) in next[from..].iter().take_while(|(w, _)| *w == word) {
                    if !there.contains(to) {
                        there.push(*to);
                    }
                }
            }
            std::mem::swap(&mut here, &mut there);
            if here.is_empty() {
                return Progress::Foreign;
            }
        }
        // Every state leads to the end of a sentence, so words that may follow are no dead end.
        let stops = || here.iter().map(|state| &self.states[*state as usize]);
        match (stops().any(|stop| stop.accepts), stops().all(|stop| stop.next.is_empty())) {
            (true, true) => Progress::Whole,
            (true, false) => Progress::Complete,
            (false, _) => Progress::Begun,
        }
    }

    /// The lengths of the shortest and the longest sentence.
    fn lengths(&self) -> (usize, usize) {
        // Every word leads to an earlier state, so one pass is enough.
        let mut known: Vec<(usize, usize)> = Vec::with_capacity(self.states.len());
        for stop in &self.states {
            let onwards = stop.next.iter().map(|(_, to)| known[*to as usize]);
            let here = stop.accepts.then_some((0, 0)).into_iter();
            let all = here.chain(onwards.map(|(least, most)| (least + 1, most + 1)));
            let (least, most) =
                all.fold((usize::MAX - 1, 0), |sum, one| (sum.0.min(one.0), sum.1.max(one.1)));
            known.push((least, most));
        }
        known[self.start as usize]
    }
}

impl Grammar {
    /// How far `words` (lower case, separated by spaces) are a sentence. Exact also where parts are optional or
    /// repeated; takes some microseconds.
    #[must_use]
    pub fn progress(&self, words: &str) -> Progress {
        let progress = self.walker.progress(words.split_whitespace());
        let settled = progress == Progress::Complete && self.machine.is_settled(words.split_whitespace());
        if settled { Progress::Settled } else { progress }
    }

    /// What kind of answer this grammar expects.
    #[must_use]
    pub fn expects(&self) -> Expects {
        *self.expects.get_or_init(|| self.look_what_is_expected())
    }

    fn look_what_is_expected(&self) -> Expects {
        let sentences = self.sentences(LOOKED_AT);
        let digits = |(words, meaning): &(String, String)| {
            meaning.len() == words.split(' ').count() && meaning.bytes().all(|b| b.is_ascii_digit())
        };
        let few_words = self.vocabulary().len() <= DIGIT_WORDS.len() + 2;
        if few_words && sentences.iter().all(digits) {
            let (least, most) = self.walker.lengths();
            let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
            return Expects::Digits { least: small(least), most: small(most) };
        }
        let meanings: BTreeSet<String> =
            sentences.iter().map(|(_, meaning)| meaning.trim().to_lowercase()).collect();
        let pair = |(yes, no): &(&str, &str)| {
            meanings.len() == 2 && meanings.contains(*yes) && meanings.contains(*no)
        };
        if sentences.len() < LOOKED_AT && YES_NO.iter().any(pair) { Expects::YesNo } else { Expects::Menu }
    }
}
