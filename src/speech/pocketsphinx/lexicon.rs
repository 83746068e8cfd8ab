//! How words are pronounced: our own list first, then the CMU dictionary of the model package.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::speech::SpeechError;

/// Pronunciations that are shipped with Offhook.
const OURS: &str = include_str!("../../../models/pronunciations.dict");

/// Finds pronunciations. What was found once is kept.
pub(super) struct Lexicon {
    dictionary: PathBuf,
    extra: Option<PathBuf>,
    known: HashMap<String, Vec<String>>,
}

impl Lexicon {
    /// A lexicon over a dictionary in the CMU format and, if given, a file of the user's that goes before it.
    pub(super) fn new(dictionary: PathBuf, extra: Option<PathBuf>) -> Result<Self, SpeechError> {
        let mut lexicon = Self { dictionary, extra, known: HashMap::new() };
        lexicon.read(OURS.as_bytes(), "models/pronunciations.dict", None)?;
        if let Some(path) = lexicon.extra.clone() {
            let file = std::fs::File::open(&path).map_err(|e| {
                SpeechError::Unavailable(format!(
                    "the pronunciations {} cannot be read ({e}): correct the path or take it out of the configuration",
                    path.display()
                ))
            })?;
            lexicon.read(BufReader::new(file), &path.display().to_string(), None)?;
        }
        Ok(lexicon)
    }

    /// The pronunciations of each of `words`: the word and its phones, several times for a word of several.
    ///
    /// A word with a hyphen or an underscore that is in no list is pronounced as its parts after each other.
    pub(super) fn look_up(
        &mut self,
        words: &BTreeSet<String>,
        grammar: &str,
    ) -> Result<Vec<(String, Vec<String>)>, SpeechError> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for word in words.iter().filter(|word| !self.known.contains_key(*word)) {
            wanted.insert(word);
            wanted.extend(parts(word).filter(|part| !self.known.contains_key(*part)));
        }
        if !wanted.is_empty() {
            let dictionary = self.dictionary.clone();
            let file = std::fs::File::open(&dictionary).map_err(|e| missing(&dictionary, &e))?;
            self.read(BufReader::new(file), &dictionary.display().to_string(), Some(&wanted))?;
        }
        words.iter().map(|word| Ok((word.clone(), self.pronounce(word, grammar)?))).collect()
    }

    fn pronounce(&self, word: &str, grammar: &str) -> Result<Vec<String>, SpeechError> {
        if let Some(found) = self.known.get(word) {
            return Ok(found.clone());
        }
        let joined: Option<Vec<&str>> =
            parts(word).map(|part| self.known.get(part).map(|found| found[0].as_str())).collect();
        match joined {
            Some(phones) if phones.len() > 1 => Ok(vec![phones.join(" ")]),
            _ => Err(SpeechError::Rejected(format!(
                "nobody knows how '{word}' in the grammar {grammar} is pronounced: {}",
                match &self.extra {
                    Some(path) => format!("add a line such as '{word} AH B AW T' to {}", path.display()),
                    None => format!(
                        "write it in other words, or add a line such as '{word} AH B AW T' to a file of pronunciations \
                         like models/pronunciations.dict and name it in `speech.pronunciations`"
                    ),
                }
            ))),
        }
    }

    /// Reads lines of `word PHONE PHONE…`; only the `wanted` words when given. Words known already keep what they have.
    fn read(
        &mut self,
        lines: impl BufRead,
        file: &str,
        wanted: Option<&BTreeSet<&str>>,
    ) -> Result<(), SpeechError> {
        let mut fresh: HashMap<String, Vec<String>> = HashMap::new();
        for (index, line) in lines.lines().enumerate() {
            let line = line.map_err(|e| SpeechError::Unavailable(format!("{file} cannot be read: {e}")))?;
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let Some((word, phones)) = line.split_once(char::is_whitespace) else {
                let what = format!(
                    "{file}:{}: expected a word and its phones, such as 'about AH B AW T'",
                    index + 1
                );
                return Err(SpeechError::Rejected(what));
            };
            // The second pronunciation of "the" is written "the(2)".
            let word = word.split_once('(').map_or(word, |(base, _)| base);
            if wanted.is_some_and(|wanted| !wanted.contains(word)) {
                continue;
            }
            let phones = phones.split_whitespace().collect::<Vec<_>>().join(" ");
            fresh.entry(word.to_lowercase()).or_default().push(phones);
        }
        for (word, phones) in fresh {
            self.known.entry(word).or_insert(phones);
        }
        Ok(())
    }
}

/// The parts of a compound.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(['-', '_']).filter(|part| !part.is_empty())
}

/// The error for a file of the model package that is not there.
pub(super) fn missing(path: &Path, error: &std::io::Error) -> SpeechError {
    SpeechError::Unavailable(format!(
        "the speech model {} cannot be read ({error}): install the Debian package pocketsphinx-en-us, or name another \
         model's folder in `speech.model_dir`",
        path.display()
    ))
}
