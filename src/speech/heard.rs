//! The words that were heard of a sentence that was cut.
//!
//! A synthesiser that tells when it says each word is believed. Where none does, a text's time is shared out by what takes
//! time to say: letters, and the pauses at commas and full stops.

use std::time::Duration;

/// A word that a synthesiser says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WordTime {
    /// Where its last letter ends in the text, in bytes.
    pub end: usize,
    /// When it has been said, from the beginning of the audio.
    pub said: Duration,
}

/// How much of a word must have been played to count as heard.
const MOST_OF_IT: f64 = 0.6;

/// What a pause costs beside a letter.
const AT_COMMA: f64 = 4.0;
const AT_END: f64 = 7.0;

/// The beginning of `text` that was heard when `played` of it was, out of `total`: whole words. `words` are the synthesiser's
/// own times; empty where it has none.
#[must_use]
pub fn heard_of<'a>(text: &'a str, words: &[WordTime], played: Duration, total: Duration) -> &'a str {
    if played >= total {
        return text;
    }
    let end = if words.is_empty() { by_share(text, played, total) } else { by_times(words, played) };
    // A synthesiser that counts otherwise than we do is no reason to panic.
    text.get(..end).unwrap_or(text).trim_end()
}

/// Where the sentence begins in which `text` was cut, when `heard` of it was heard: where to go on from. The whole text, when
/// nothing of it was heard.
#[must_use]
pub fn sentence_cut<'a>(text: &'a str, heard: &str) -> &'a str {
    let mut begin = 0;
    for (at, next) in sentence_ends(text) {
        if at > heard.len() {
            break;
        }
        begin = next;
    }
    &text[begin..]
}

/// Ends of sentences in bytes, each with the beginning of the next one; the last sentence has none.
fn sentence_ends(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.char_indices().filter_map(|(at, c)| {
        let end = at + c.len_utf8();
        let rest = &text[end..];
        let next = rest.trim_start();
        // "3.5" and "www.example.com" go on; so does "Dr. Who", which costs no more than a repeated title.
        let ends = matches!(c, '.' | '!' | '?' | '…' | '。') && rest.starts_with(char::is_whitespace);
        (ends && !next.is_empty()).then(|| (end, text.len() - next.len()))
    })
}

fn by_times(words: &[WordTime], played: Duration) -> usize {
    let mut began = Duration::ZERO;
    let mut end = 0;
    for word in words {
        let counts = began + word.said.saturating_sub(began).mul_f64(MOST_OF_IT);
        if played < counts {
            break;
        }
        (end, began) = (word.end, word.said);
    }
    end
}

fn by_share(text: &str, played: Duration, total: Duration) -> usize {
    let all: f64 = text.chars().map(cost).sum();
    let share = played.as_secs_f64() / total.as_secs_f64().max(1e-9);
    let reached = share * all;
    let (mut spent, mut end, mut word_began) = (0.0, 0, 0.0);
    for word in text.split_inclusive(char::is_whitespace) {
        let letters: f64 = word.chars().filter(|c| c.is_alphanumeric()).map(cost).sum();
        if reached < word_began + letters * MOST_OF_IT {
            return end;
        }
        spent += word.chars().map(cost).sum::<f64>();
        word_began = spent;
        end += word.len();
    }
    end
}

/// How long a character takes to say, a letter being 1.
fn cost(c: char) -> f64 {
    match c {
        ',' | ';' | ':' => AT_COMMA,
        '.' | '!' | '?' => AT_END,
        // "1" is said as "one", "7" as "seven".
        '0'..='9' => 4.0,
        c if c.is_alphanumeric() => 1.0,
        c if c.is_whitespace() => 0.5,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Welcome to the bank. You can say balance, or transfer. What shall it be?";

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn with_times_a_word_counts_when_most_of_it_was_played() {
        let words = [(7, 400), (10, 520), (14, 600), (20, 1_000)];
        let words = words.map(|(end, said)| WordTime { end, said: ms(said) });
        let heard = |played| heard_of(TEXT, &words, ms(played), ms(4_000));
        assert_eq!(heard(200), "");
        assert_eq!(heard(300), "Welcome");
        assert_eq!(heard(570), "Welcome to the");
        assert_eq!(heard(3_999), "Welcome to the bank.", "what has no time was not heard");
        assert_eq!(heard(4_000), TEXT, "all of it");
    }

    #[test]
    fn without_times_the_text_is_shared_out() {
        let heard = |played| heard_of(TEXT, &[], ms(played), ms(4_000));
        assert_eq!(heard(0), "");
        assert_eq!(heard(4_000), TEXT);
        assert_eq!(heard(1_150), "Welcome to the bank.");
        let mut last = 0;
        for played in (0..4_000).step_by(10) {
            let now = heard(played).len();
            assert!(now >= last && TEXT.starts_with(heard(played)), "more is never less");
            last = now;
        }
    }

    #[test]
    fn it_goes_on_from_the_sentence_that_was_cut() {
        assert_eq!(sentence_cut(TEXT, ""), TEXT);
        assert_eq!(sentence_cut(TEXT, "Welcome to the"), TEXT);
        assert_eq!(
            sentence_cut(TEXT, "Welcome to the bank. You can"),
            "You can say balance, or transfer. What shall it be?"
        );
        assert_eq!(sentence_cut(TEXT, TEXT), "What shall it be?");
        assert_eq!(sentence_cut("It costs 3.5 euros.", "It costs 3.5"), "It costs 3.5 euros.");
    }

    #[test]
    fn odd_texts_and_times_do_no_harm() {
        assert_eq!(heard_of("", &[], ms(0), ms(0)), "");
        assert_eq!(
            heard_of("ü", &[WordTime { end: 1, said: ms(0) }], ms(1), ms(2)),
            "ü",
            "no such place in the text"
        );
        assert_eq!(heard_of("...", &[], ms(1), ms(2)), "...");
        assert_eq!(sentence_cut("", ""), "");
    }
}
