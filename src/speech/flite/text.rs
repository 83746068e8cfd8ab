//! Sentences out of a text.

/// A sentence longer than this is cut at a comma, or between words: the voices work on whole sentences.
const LONGEST: usize = 240;

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: [&str; 14] = [
    "mr.", "mrs.", "ms.", "dr.", "st.", "no.", "e.g.", "i.e.", "etc.", "vs.", "prof.", "jr.", "sr.",
    "approx.",
];

/// Splits `text` into sentences that are plain ASCII, without empty ones.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let text = plain(text);
    let mut found = Vec::new();
    let mut sentence = String::new();
    for word in text.split_whitespace() {
        if !sentence.is_empty() && sentence.len() + 1 + word.len() > LONGEST {
            found.push(std::mem::take(&mut sentence));
        }
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let closed = word.trim_end_matches(['"', '\'', ')']);
        let long = sentence.len() > LONGEST / 2;
        let ends = closed.ends_with(['.', '!', '?', ';']) || (long && closed.ends_with([',', ':']));
        if ends && !ABBREVIATIONS.contains(&closed.to_ascii_lowercase().as_str()) {
            found.push(std::mem::take(&mut sentence));
        }
    }
    found.push(sentence);
    found.retain(|sentence| sentence.bytes().any(|b| b.is_ascii_alphanumeric()));
    found
}

/// The text in ASCII: typographic marks replaced, letters without their accents, the rest as a space.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => out.push(c),
            '‘' | '’' | '‚' => out.push('\''),
            '“' | '”' | '„' | '«' | '»' => out.push('"'),
            '–' | '—' | '−' => out.push_str(" - "),
            '…' => out.push_str("..."),
            '€' => out.push_str(" euros "),
            '£' => out.push_str(" pounds "),
            'à'..='å' => out.push('a'),
            'ç' => out.push('c'),
            'è'..='ë' => out.push('e'),
            'ì'..='ï' => out.push('i'),
            'ñ' => out.push('n'),
            'ò'..='ö' | 'ø' => out.push('o'),
            'ù'..='ü' => out.push('u'),
            'ß' => out.push_str("ss"),
            'À'..='Å' => out.push('A'),
            'È'..='Ë' => out.push('E'),
            'Ò'..='Ö' | 'Ø' => out.push('O'),
            'Ù'..='Ü' => out.push('U'),
            _ => out.push(' '),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_where_its_sentences_end_and_not_in_numbers_or_titles() {
        assert_eq!(
            sentences("Hello! Dr. Who owes 3.50 pounds.  \"Really?\" Yes"),
            ["Hello!", "Dr. Who owes 3.50 pounds.", "\"Really?\"", "Yes"]
        );
        assert_eq!(sentences(" … ?! "), Vec::<String>::new());
        assert_eq!(sentences("It’s a café — naïve"), ["It's a cafe - naive"]);
    }

    #[test]
    fn no_piece_is_long_and_no_word_is_lost() {
        let text = "word, ".repeat(160);
        let pieces = sentences(&text);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
        assert_eq!(pieces.join(" ").matches("word").count(), 160);
    }
}
