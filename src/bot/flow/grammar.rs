//! The grammars of a flow: read and compiled when the flow is loaded, prepared by the recogniser before the first call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::speech::grammar::{Grammar, GrammarError};

/// More sentences than this are not looked through for meanings.
const MAX_SENTENCES: usize = 20_000;

/// The grammars of a flow by name.
pub(super) type Grammars = BTreeMap<String, Arc<Grammar>>;

/// The name of the grammar of `min` to `max` digits.
pub(super) fn digits_name(min: u8, max: u8) -> String {
    if min == max { format!("digits-{min}") } else { format!("digits-{min}-to-{max}") }
}

/// The grammar of `min` to `max` digits; both from 1 to [`MAX_SPOKEN_DIGITS`].
pub(super) fn digits(min: u8, max: u8) -> Arc<Grammar> {
    Arc::new(Grammar::any_length_of_digits(usize::from(min)..=usize::from(max)))
}

/// A longer number has to be entered by key.
pub(super) const MAX_SPOKEN_DIGITS: u8 = 16;

/// A grammar of phrases and their meanings. Every phrase that is wrong comes back with its index.
pub(super) fn of_phrases(
    name: &str,
    phrases: &[(String, String)],
) -> Result<Arc<Grammar>, Vec<(usize, GrammarError)>> {
    let wrong: Vec<_> = phrases
        .iter()
        .enumerate()
        .filter_map(|(n, phrase)| {
            let alone = std::iter::once((&phrase.0, &phrase.1));
            Grammar::from_phrases(name, alone).err().map(|error| (n, error))
        })
        .collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let all = phrases.iter().map(|(phrase, meaning)| (phrase, meaning));
    Grammar::from_phrases(name, all).map(Arc::new).map_err(|error| vec![(0, error)])
}

/// Every meaning that the grammar can give; [`None`] when there are too many sentences to tell.
pub(super) fn meanings(grammar: &Grammar) -> Option<BTreeSet<String>> {
    let sentences = grammar.sentences(MAX_SENTENCES);
    (sentences.len() < MAX_SENTENCES).then(|| sentences.into_iter().map(|(_, meaning)| meaning).collect())
}
