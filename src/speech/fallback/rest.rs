//! What is left of a text that broke off.

/// Where the clause begins that was cut after `count` whole words of `text`, as a number of words; all of them when nothing is
/// left to say.
pub(super) fn cut_clause(text: &str, count: usize) -> usize {
    let mut from = 0;
    for (n, word) in text.split_whitespace().enumerate() {
        if n == count {
            return from;
        }
        let word = word.trim_end_matches(['"', '\'', ')', '»', '”']);
        if word.ends_with(['.', '!', '?', ';', ':', '…', ',', '–', '—', '、', '。']) {
            from = n + 1;
        }
    }
    text.split_whitespace().count()
}

/// The text from that word on.
pub(super) fn from_word(text: &str, count: usize) -> &str {
    match text.split_whitespace().nth(count) {
        // The words are slices of the text.
        Some(word) => &text[word.as_ptr() as usize - text.as_ptr() as usize..],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_on_from_the_clause_that_broke() {
        let text = "Your order, number  four, is ready. Please come by.";
        let rest = |count| from_word(text, cut_clause(text, count));
        assert_eq!(rest(0), text);
        assert_eq!(rest(1), text);
        assert_eq!(rest(2), "number  four, is ready. Please come by.");
        assert_eq!(rest(5), "is ready. Please come by.");
        assert_eq!(rest(6), "Please come by.");
        assert_eq!(rest(9), "");
    }
}
