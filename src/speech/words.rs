//! When each word of a text is over in the audio that was made of it, so that it is known which of them were heard; and who
//! made that audio.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The ends of the words of one text, in order, counted from its first sample: a word is what stands between blanks.
/// Filled in as the text is made; all clones are one. Empty from a synthesiser that does not tell.
#[derive(Debug, Clone, Default)]
pub struct WordTimes(Arc<Mutex<Vec<Duration>>>, Arc<Mutex<Option<&'static str>>>);

impl WordTimes {
    /// Adds words behind those that are there.
    pub fn extend(&self, ends: impl IntoIterator<Item = Duration>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }

    /// Takes over what another one has learnt since.
    pub fn keep_up_with(&self, other: &Self) {
        let theirs = other.known();
        let mut ours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *ours != theirs {
            *ours = theirs;
        }
    }

    /// Notes which synthesiser made the audio.
    pub fn made_by(&self, name: &'static str) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Which synthesiser made the audio, where several could have; the last of them where it changed.
    #[must_use]
    pub fn maker(&self) -> Option<&'static str> {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all but the first `count`.
    pub(super) fn keep(&self, count: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).truncate(count);
    }

    /// What is known so far.
    #[must_use]
    pub fn known(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A speaking rate to reckon with where nothing better is known, in characters a second.
const CHARS_PER_SECOND: f64 = 15.0;

/// A word counts as heard when no more than this is missing of it.
const NEARLY: Duration = Duration::from_millis(60);

/// How many words of `text` were heard in the first `heard` of its audio, which is `total` long if that is known. By the
/// synthesiser's `times` where they fit, by the share of characters otherwise.
#[must_use]
pub fn heard_words(text: &str, times: &[Duration], heard: Duration, total: Option<Duration>) -> usize {
    let words = text.split_whitespace().count();
    if heard.is_zero() || words == 0 {
        return 0;
    }
    if total.is_some_and(|total| heard + NEARLY >= total) {
        return words;
    }
    if times.len() == words {
        return times.iter().take_while(|end| **end <= heard + NEARLY).count();
    }
    let chars: usize = text.split_whitespace().map(|word| word.chars().count() + 1).sum();
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let whole = total.map_or(chars as f64 / CHARS_PER_SECOND, |total| total.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let reached = heard.as_secs_f64() / whole * chars as f64;
    let mut so_far = 0_usize;
    let ends = text.split_whitespace().map(|word| {
        so_far += word.chars().count() + 1;
        so_far
    });
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    ends.take_while(|end| *end as f64 <= reached + 1.0).count()
}

/// The first `count` words of `text`, as they stand there.
#[must_use]
pub fn first_words(text: &str, count: usize) -> &str {
    let mut end = 0;
    for word in text.split_whitespace().take(count) {
        // The words are slices of the text.
        end = word.as_ptr() as usize - text.as_ptr() as usize + word.len();
    }
    text[..end].trim_start()
}

/// What follows in `text` from the beginning of the sentence that was cut after `count` words; [`None`] when all of it was
/// said.
#[must_use]
pub fn from_cut_sentence(text: &str, count: usize) -> Option<&str> {
    let mut from = 0;
    for (n, word) in text.split_whitespace().enumerate() {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        if n == count {
            return Some(text[from.min(start)..].trim_start());
        }
        if word.trim_end_matches(['"', '\'', ')', '»', '”']).ends_with(['.', '!', '?', ';', ':', '…']) {
            from = start + word.len();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Hello there. Would you like  sales or support?";

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_synthesisers_times_say_what_was_heard() {
        let times = [300, 600, 900, 1_000, 1_300, 1_800, 2_000, 2_600].map(ms);
        let heard = |at| heard_words(TEXT, &times, ms(at), Some(ms(2_650)));
        assert_eq!([heard(0), heard(100), heard(300), heard(1_310), heard(2_640)], [0, 0, 1, 5, 8]);
    }

    #[test]
    fn without_times_the_share_of_characters_tells() {
        let heard = |at| heard_words(TEXT, &[], ms(at), Some(ms(4_600)));
        assert_eq!([heard(100), heard(1_300), heard(4_600)], [0, 2, 8]);
        assert_eq!(heard_words(TEXT, &[], ms(900), None), 2, "by the usual rate");
    }

    #[test]
    fn a_cut_text_goes_on_from_the_sentence_that_was_cut() {
        assert_eq!(first_words(TEXT, 4), "Hello there. Would you");
        assert_eq!(from_cut_sentence(TEXT, 1), Some(TEXT));
        assert_eq!(from_cut_sentence(TEXT, 2), Some("Would you like  sales or support?"));
        assert_eq!(from_cut_sentence(TEXT, 5), Some("Would you like  sales or support?"));
        assert_eq!(from_cut_sentence(TEXT, 8), None);
    }
}
