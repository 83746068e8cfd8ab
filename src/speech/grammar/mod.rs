//! Grammars: a subset of JSGF, its vocabulary, and what a sentence of it means.
//!
//! A grammar says which sentences a question expects, and with its tags what each of them means:
//!
//! ```text
//! #JSGF V1.0;
//! grammar frontdesk;
//! public <answer> = [<please>] (sales | the sales department) {sales} [please] | support {support};
//! <please> = I would like | I need;
//! ```
//!
//! "the sales department please" then means `sales`. A sentence without tags means its own words; several tags are
//! joined without anything between them, so that "one two three four" means `1234`.
//!
//! # Parts
//!
//! - [`parse`](self) reads the subset of JSGF: rules, alternatives with weights, sequences, groups, optionals,
//!   references, tags and comments. `<x>+` and `<x>*` are refused: a recogniser inserts words into them, so lengths
//!   are given as alternatives (see [`Grammar::digits`]).
//! - `progress`: how far words are a sentence ([`Grammar::progress`]), and what kind of answer is expected
//!   ([`Grammar::expects`]);
//! - the machine, a finite automaton over words, answers whether words are a sentence, or may become one, and what
//!   they mean.
//!
//! # What it never does
//!
//! It knows no backend and no dictionary: whether a word can be recognised is said by
//! [`Recognizer::prepare`](super::Recognizer::prepare).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

mod machine;
mod parse;
mod progress;

use machine::Machine;
use progress::Walker;

pub use progress::{Expects, Progress};

/// A grammar that was read and checked. Immutable; share it in an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Grammar {
    name: String,
    vocabulary: BTreeSet<String>,
    machine: Machine,
    walker: Walker,
    expects: OnceLock<Expects>,
}

/// What a grammar is made of, with every rule reference replaced by what it stands for.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Word(String),
    Sequence(Vec<Node>),
    /// Weight and alternative. A weight of 1 is what JSGF takes when none is written.
    Alternatives(Vec<(f32, Node)>),
    Optional(Box<Node>),
    Tagged(Box<Node>, String),
}

/// Why a grammar cannot be used: where, and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct GrammarError {
    /// The file, or the name of the grammar when it was declared inline.
    pub file: String,
    /// The line in it, counted from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// What was found and what was expected.
    pub what: String,
}

/// The ten digits in English, each one word: near-synonyms ("oh") cost more right answers than they bring.
pub const DIGIT_WORDS: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

impl Grammar {
    /// The longest text that is read, in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Reads a grammar file. Blocking; not for a media thread.
    ///
    /// # Errors
    /// When the file cannot be read or is not a grammar; the error names file and line.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, GrammarError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| GrammarError {
            file: path.display().to_string(),
            line: 0,
            what: format!("the grammar cannot be read ({e}): give the path of a JSGF file in UTF-8"),
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a grammar from `text`. `file` is what errors call it.
    ///
    /// The grammar's name is the one in its `grammar NAME;` line. Its public rules are alternatives of each other.
    ///
    /// # Errors
    /// When the text is not in the subset; the error says the line and what was expected there.
    pub fn parse(file: &str, text: &str) -> Result<Self, GrammarError> {
        let (name, root) = parse::grammar(file, text)?;
        Self::build(file, name, &root)
    }

    /// A grammar out of phrases and what each means, as a flow declares them inline. An empty meaning stands for the
    /// phrase's own words. A phrase may use JSGF inside a rule: `[the] sales (department | team)`.
    ///
    /// # Errors
    /// When there is no phrase, or one is not a JSGF expansion; the line in the error is the phrase's number.
    pub fn from_phrases<P, M>(
        name: &str,
        phrases: impl IntoIterator<Item = (P, M)>,
    ) -> Result<Self, GrammarError>
    where
        P: AsRef<str>,
        M: AsRef<str>,
    {
        let mut alternatives = Vec::new();
        for (index, (phrase, meaning)) in phrases.into_iter().enumerate() {
            let node = parse::phrase(name, index + 1, phrase.as_ref())?;
            let meaning = meaning.as_ref().trim();
            let node =
                if meaning.is_empty() { node } else { Node::Tagged(Box::new(node), meaning.to_owned()) };
            alternatives.push((1.0, node));
        }
        if alternatives.is_empty() {
            let what = "a grammar of no phrase: give at least one phrase that the caller may say".to_owned();
            return Err(GrammarError { file: name.to_owned(), line: 1, what });
        }
        Self::build(name, name.to_owned(), &Node::Alternatives(alternatives))
    }

    /// Exactly `count` digits, 1 to 16, spoken one by one. Means the digits: `"1234"`.
    ///
    /// # Panics
    /// When `count` is not in 1 to 16.
    #[must_use]
    pub fn digits(count: usize) -> Self {
        assert!((1..=16).contains(&count), "a grammar of digits has 1 to 16 of them");
        Self::any_length_of_digits(count..=count)
    }

    /// Digits spoken one by one, as many as one of `lengths` (each from 1 to 16) says: exact lengths as alternatives.
    ///
    /// # Panics
    /// When the range is empty or leaves 1 to 16.
    #[must_use]
    pub fn any_length_of_digits(lengths: std::ops::RangeInclusive<usize>) -> Self {
        let (low, high) = (*lengths.start(), *lengths.end());
        assert!(1 <= low && low <= high && high <= 16, "lengths of digits lie in 1 to 16");
        let name = if low == high { format!("digits_{low}") } else { format!("digits_{low}_to_{high}") };
        let digit = Node::Alternatives(
            (0..10)
                .map(|d: usize| {
                    (1.0, Node::Tagged(Box::new(Node::Word(DIGIT_WORDS[d].to_owned())), d.to_string()))
                })
                .collect(),
        );
        let of_length = |n: usize| (1.0, Node::Sequence(vec![digit.clone(); n]));
        let root = Node::Alternatives(lengths.map(of_length).collect());
        Self::build(&name.clone(), name, &root)
            .expect("a grammar of digits always has a sentence and is small")
    }

    fn build(file: &str, name: String, root: &Node) -> Result<Self, GrammarError> {
        let machine =
            Machine::new(root).map_err(|what| GrammarError { file: file.to_owned(), line: 1, what })?;
        if machine.accepts_nothing_said() {
            let what = "the grammar accepts silence, because all of it is optional: make at least one word of each \
                        sentence required";
            return Err(GrammarError { file: file.to_owned(), line: 1, what: what.to_owned() });
        }
        let mut vocabulary = BTreeSet::new();
        root.collect_words(&mut vocabulary);
        let walker = Walker::new(&machine.compact(), &vocabulary);
        Ok(Self { name, vocabulary, machine, walker, expects: OnceLock::new() })
    }

    /// The grammar's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every word of it, lower case, in order.
    #[must_use]
    pub const fn vocabulary(&self) -> &BTreeSet<String> {
        &self.vocabulary
    }

    /// What `words` (separated by spaces, any case) mean; [`None`] when they are no sentence of this grammar.
    ///
    /// Where a sentence can be read in two ways, the way that is written first counts.
    #[must_use]
    pub fn interpret(&self, words: &str) -> Option<String> {
        let words = words.to_lowercase();
        self.machine.interpret(words.split_whitespace())
    }

    /// Whether `words` are a whole sentence of this grammar.
    #[must_use]
    pub fn is_complete(&self, words: &str) -> bool {
        self.interpret(words).is_some()
    }

    /// Whether `words` are the beginning of a sentence, or a whole one. No words are the beginning of every sentence.
    #[must_use]
    pub fn is_prefix(&self, words: &str) -> bool {
        self.machine.is_prefix(words.to_lowercase().split_whitespace())
    }

    /// Whether `words` are a sentence to which nothing can be added: the caller must be done.
    #[must_use]
    pub fn is_final(&self, words: &str) -> bool {
        self.machine.is_final(words.to_lowercase().split_whitespace())
    }

    /// Sentences of the grammar and what they mean, at most `limit`, in the order in which they are written.
    #[must_use]
    pub fn sentences(&self, limit: usize) -> Vec<(String, String)> {
        self.machine.sentences(limit)
    }

    /// The grammar as a finite state grammar in the text format of Sphinx, without tags: what PocketSphinx reads.
    ///
    /// Weights count against the heaviest alternative of their group, so a grammar without weights has none here either.
    #[must_use]
    pub fn to_fsg(&self, name: &str) -> String {
        let compact = self.machine.compact();
        // Behind the states of the grammar: the end of it all.
        let end = compact.states.len();
        let mut out = format!(
            "FSG_BEGIN {name}\nNUM_STATES {}\nSTART_STATE {}\nFINAL_STATE {end}\n",
            end + 1,
            compact.start
        );
        for (from, state) in compact.states.iter().enumerate() {
            for (word, to, weight) in &state.words {
                let _ = writeln!(out, "TRANSITION {from} {to} {weight:e} {word}");
            }
            if state.accepts {
                let _ = writeln!(out, "TRANSITION {from} {end} 1.0");
            }
        }
        out.push_str("FSG_END\n");
        out
    }
}

impl Node {
    fn collect_words(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Word(word) => {
                into.insert(word.clone());
            }
            Self::Sequence(nodes) => nodes.iter().for_each(|node| node.collect_words(into)),
            Self::Alternatives(nodes) => nodes.iter().for_each(|(_, node)| node.collect_words(into)),
            Self::Optional(node) | Self::Tagged(node, _) => node.collect_words(into),
        }
    }
}

#[cfg(test)]
mod tests;
