//! Words that speech outside the grammar falls into.
//!
//! A recogniser that knows only the grammar hears it in everything. Beside each grammar stand common words of every
//! kind of sound; when they fit better than the grammar, nothing was said that was asked for. They are few, because every
//! sound that could come next costs time: two dozen likely ones refuse about as much as eighty unlikely ones.

use std::collections::BTreeSet;

use super::hearing::DECOY_MARK;
use super::lexicon::Lexicon;
use crate::speech::SpeechError;

/// How likely each decoy is beside a word of the grammar.
pub(super) const PROBABILITY: f32 = 1e-7;

const WORDS: &str = "because brother church computer elephant flower garden green happy hello house information juice \
    measure mother orange people picture school thing voice wait water what";

/// The decoys and how they are pronounced.
pub(super) fn pronounced(lexicon: &mut Lexicon) -> Result<Vec<(String, Vec<String>)>, SpeechError> {
    let words: BTreeSet<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    let found = lexicon.look_up(&words, "of decoys")?;
    Ok(found
        .into_iter()
        .map(|(word, phones)| (format!("{DECOY_MARK}{word}"), phones[..1].to_vec()))
        .collect())
}

/// The decoys that may stand beside a grammar of these words: none that is one of them or sounds like one.
pub(super) fn beside(
    decoys: &[(String, Vec<String>)],
    words: &[(String, Vec<String>)],
) -> Vec<(String, Vec<String>)> {
    let taken: BTreeSet<&str> = words.iter().flat_map(|(_, phones)| phones).map(String::as_str).collect();
    decoys.iter().filter(|(_, phones)| !phones.iter().any(|p| taken.contains(p.as_str()))).cloned().collect()
}
