//! From the text that a service writes ("Sales, please." or "555-1234") to the words that grammars and the turn taker know.
//!
//! A service hears anything; the grammar says what of it is an answer. So the text is tried in several wordings, the
//! plainest first: as it is, with numerals spoken digit by digit, with numerals as words, with compounds apart, with words
//! for numbers as their digits, and each of these without what people say around an answer ("um", "please").

use crate::speech::Expected;
use crate::speech::grammar::{DIGIT_WORDS, Expects, Grammar, Progress};

/// At most so many phrases of a grammar are sent to a service as a hint.
const MOST_HINTS: usize = 100;

/// At most so many words are fitted to a grammar: no sentence of one is so long, and a service that writes more has gone
/// astray.
const MOST_WORDS: usize = 200;

/// What may stand before an answer without being part of it, longest first.
const BEFORE: [&str; 30] = [
    "i would like to have",
    "i would like to",
    "could i have",
    "i would like",
    "i'd like to",
    "can i have",
    "my number is",
    "i want to",
    "yes please",
    "i'd like",
    "i think",
    "give me",
    "i want",
    "that is",
    "it is",
    "that's",
    "it's",
    "okay",
    "the",
    "yeah",
    "well",
    "so",
    "ok",
    "oh",
    "ah",
    "uh",
    "um",
    "uhm",
    "er",
    "hmm",
];

/// The same behind it.
const BEHIND: [&str; 9] = ["thank you", "please", "thanks", "okay", "ok", "uh", "um", "er", "hmm"];

/// The words of a text: lower case, without punctuation, separated by one space.
#[must_use]
pub fn plain(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for (at, c) in chars.iter().copied().enumerate() {
        let before = at.checked_sub(1).and_then(|before| chars.get(before)).copied().unwrap_or(' ');
        let behind = chars.get(at + 1).copied().unwrap_or(' ');
        match c {
            '’' | '\'' if before.is_alphanumeric() && (behind.is_alphanumeric() || before == 's') => {
                out.push('\'')
            }
            '-' if before.is_alphabetic() && behind.is_alphabetic() => out.push('-'),
            // Of "1,234" and "3.5".
            ',' if before.is_ascii_digit() && behind.is_ascii_digit() => {}
            '.' if before.is_ascii_digit() && behind.is_ascii_digit() => out.push('.'),
            '%' => out.push_str(" percent "),
            '&' => out.push_str(" and "),
            c if c.is_whitespace() || c.is_control() || is_mark(c) => out.push(' '),
            c => out.extend(c.to_lowercase()),
        }
    }
    let words: Vec<&str> = out.split_whitespace().map(|word| word.trim_end_matches('\'')).collect();
    words.join(" ")
}

/// The words of a text as an answer to what is expected, and what they mean. Of a grammar: those in which it is a sentence;
/// where it is none in any wording, those that come nearest to one. Where anything may be said, the words mean the text as
/// the service wrote it.
#[must_use]
pub fn fit(text: &str, expected: &Expected) -> (String, Option<String>) {
    let words = plain(text);
    let Some(grammar) = expected.grammar() else {
        let meaning =
            Some(text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|_| !words.is_empty());
        return (words, meaning);
    };
    if words.is_empty() || words.split(' ').count() > MOST_WORDS {
        return (words, None);
    }
    let wordings = wordings(&words, grammar);
    for words in &wordings {
        if let Some(meaning) = grammar.interpret(words) {
            return (words.clone(), Some(meaning));
        }
    }
    for words in &wordings {
        if let Some((words, meaning)) = within(words, grammar) {
            return (words, Some(meaning));
        }
    }
    let nearest = wordings.iter().find(|words| grammar.progress(words) != Progress::Foreign);
    (nearest.unwrap_or(&words).clone(), None)
}

/// What a service may be told to listen for: the sentences of a grammar, or its words where it has too many.
#[must_use]
pub fn hints(expected: &Expected) -> Vec<String> {
    let Some(grammar) = expected.grammar() else { return Vec::new() };
    let mut hints: Vec<String> =
        grammar.sentences(MOST_HINTS + 1).into_iter().map(|(words, _)| words).collect();
    if hints.len() > MOST_HINTS {
        hints = grammar.vocabulary().iter().take(MOST_HINTS).cloned().collect();
    }
    hints.dedup();
    hints
}

/// Every wording of `words`, the plainest first, each once.
fn wordings(words: &str, grammar: &Grammar) -> Vec<String> {
    let mut all: Vec<String> = vec![words.to_owned()];
    let mut add = |wording: String| {
        if !wording.is_empty() && !all.contains(&wording) {
            all.push(wording);
        }
    };
    let apart = words.replace('-', " ");
    if words.contains(|c: char| c.is_ascii_digit()) {
        add(each(words, digits_of));
        add(each(&apart, digits_of));
        add(each(&apart, number_of));
    }
    add(apart.clone());
    if matches!(grammar.expects(), Expects::Digits { .. }) {
        add(each(&numerals(&apart), digits_of));
    }
    all
}

/// The sentence within words that stand around it and say nothing.
fn within(words: &str, grammar: &Grammar) -> Option<(String, String)> {
    let (mut rest, mut tries) = (words, 0);
    while tries < 8 {
        tries += 1;
        let before = BEFORE.iter().find_map(|lead| rest.strip_prefix(lead)?.strip_prefix(' '));
        let behind = BEHIND.iter().find_map(|tail| rest.strip_suffix(tail)?.strip_suffix(' '));
        rest = behind.or(before)?;
        if let Some(meaning) = grammar.interpret(rest) {
            return Some((rest.to_owned(), meaning));
        }
    }
    None
}

/// The words, those that `into` knows as what it makes of them.
fn each(words: &str, into: impl Fn(&str) -> Option<String>) -> String {
    let each: Vec<String> =
        words.split(' ').map(|word| into(word).unwrap_or_else(|| word.to_owned())).collect();
    each.join(" ")
}

/// A numeral, digit by digit: `120` as "one two zero".
fn digits_of(word: &str) -> Option<String> {
    if word.is_empty() || word.len() > 32 || !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: Vec<&str> = word.bytes().map(|b| DIGIT_WORDS[usize::from(b - b'0')]).collect();
    Some(digits.join(" "))
}

const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// Numbers that are said in a way of their own when they count places: `1st` as "first".
const ORDINALS: [&str; 13] = [
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
];

/// A numeral below a million as it is said in English: `42` as "forty two", `3rd` as "third".
fn number_of(word: &str) -> Option<String> {
    let ordinal = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end));
    let number: usize = ordinal.unwrap_or(word).parse().ok().filter(|number| *number < 1_000_000)?;
    let words = cardinal(number);
    if ordinal.is_none() {
        return Some(words);
    }
    let (lead, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(lead, last)| (lead, last));
    let place = DIGIT_WORDS.iter().chain(TEENS[..3].iter()).position(|known| *known == last);
    let last = match (place, last.strip_suffix('y')) {
        (Some(place), _) => ORDINALS[place].to_owned(),
        (None, Some(stem)) => format!("{stem}ieth"),
        (None, None) => format!("{last}th"),
    };
    Some(if lead.is_empty() { last } else { format!("{lead} {last}") })
}

fn cardinal(number: usize) -> String {
    let below_hundred = |n: usize| match n {
        0..10 => DIGIT_WORDS[n].to_owned(),
        10..20 => TEENS[n - 10].to_owned(),
        _ if n.is_multiple_of(10) => TENS[n / 10].to_owned(),
        _ => format!("{} {}", TENS[n / 10], DIGIT_WORDS[n % 10]),
    };
    let below_thousand = |n: usize| match n {
        0..100 => below_hundred(n),
        _ if n.is_multiple_of(100) => format!("{} hundred", DIGIT_WORDS[n / 100]),
        _ => format!("{} hundred {}", DIGIT_WORDS[n / 100], below_hundred(n % 100)),
    };
    match number {
        0..1_000 => below_thousand(number),
        _ if number.is_multiple_of(1_000) => format!("{} thousand", below_thousand(number / 1_000)),
        _ => format!("{} thousand {}", below_thousand(number / 1_000), below_thousand(number % 1_000)),
    }
}

/// Words for numbers as numerals, for who says a row of digits in pairs: "twelve thirty four" as `12 34`.
fn numerals(words: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut words = words.split(' ').peekable();
    while let Some(word) = words.next() {
        let digit = |word: &str| DIGIT_WORDS.iter().position(|known| *known == word);
        if let Some(teen) = TEENS.iter().position(|known| *known == word) {
            out.push((10 + teen).to_string());
        } else if let Some(tens) = TENS.iter().position(|known| *known == word).filter(|tens| *tens > 0) {
            let unit = words.peek().and_then(|next| digit(next)).filter(|unit| *unit > 0);
            if unit.is_some() {
                words.next();
            }
            out.push((10 * tens + unit.unwrap_or(0)).to_string());
        } else if let (multiple @ ("double" | "triple"), Some(next)) =
            (word, words.peek().and_then(|next| digit(next)))
        {
            words.next();
            out.push(next.to_string().repeat(if multiple == "double" { 2 } else { 3 }));
        } else if word == "oh" || word == "o" {
            out.push("0".to_owned());
        } else {
            out.push(word.to_owned());
        }
    }
    out.join(" ")
}

/// Whether a character is one of punctuation.
const fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(
            c,
            '…' | '“'
                | '”'
                | '„'
                | '‘'
                | '’'
                | '«'
                | '»'
                | '¿'
                | '¡'
                | '–'
                | '—'
                | '、'
                | '。'
                | '，'
                | '！'
                | '？'
                | '；'
                | '：'
                | '（'
                | '）'
                | '।'
                | '؟'
                | '،'
                | '\u{feff}'
                | '\u{200b}'
        )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn phrases(phrases: &[(&str, &str)]) -> Expected {
        Expected::Grammar(Arc::new(Grammar::from_phrases("desk", phrases.iter().copied()).expect("right")))
    }

    fn digits(count: usize) -> Expected {
        Expected::Grammar(Arc::new(Grammar::digits(count)))
    }

    fn meaning(text: &str, expected: &Expected) -> Option<String> {
        fit(text, expected).1
    }

    #[test]
    fn text_becomes_words() {
        assert_eq!(plain("  Hello, World!  It’s 1,250.50 — “fine”. "), "hello world it's 1250.50 fine");
        assert_eq!(plain("Uh-huh... 555-1234 (50%)"), "uh-huh 555 1234 50 percent");
        assert_eq!(plain("'quoted' Привет, МИР? ¿Qué?"), "quoted привет мир qué");
        assert_eq!(plain("...\u{0}\n"), "");
    }

    #[test]
    fn a_sentence_is_found_in_whatever_a_service_writes() {
        let desk =
            phrases(&[("sales", "sales"), ("check-in", "in"), ("room twenty two", "22"), ("the first", "1")]);
        for (text, meant) in [
            ("Sales.", "sales"),
            ("Um, sales, please!", "sales"),
            ("I'd like sales, thank you.", "sales"),
            ("Check-in", "in"),
            ("Room 22.", "22"),
            ("The 1st!", "1"),
        ] {
            assert_eq!(meaning(text, &desk).as_deref(), Some(meant), "{text}");
        }
        for text in ["No, not sales", "", "salesperson", "room 23"] {
            assert_eq!(meaning(text, &desk), None, "{text}");
        }
        assert_eq!(fit("Um, Sales please", &desk).0, "sales");
        assert_eq!(fit("the", &desk), ("the".to_owned(), None));
    }

    #[test]
    fn a_number_is_read_however_it_is_written() {
        for text in ["1234", "1 2 3 4", "12-34", "One two three four.", "twelve thirty-four", "it's 1,234"] {
            assert_eq!(meaning(text, &digits(4)).as_deref(), Some("1234"), "{text}");
        }
        assert_eq!(meaning("double five oh seven", &digits(4)).as_deref(), Some("5507"));
        assert_eq!(meaning("12345", &digits(4)), None);
        assert_eq!(fit("1 2", &digits(4)), ("one two".to_owned(), None), "begun, as the grammar has it");
    }

    #[test]
    fn where_anything_may_be_said_the_text_stays_as_it_was_written() {
        let (words, meaning) = fit(" My card, number 5,  is  LOST. ", &Expected::Open);
        assert_eq!(words, "my card number 5 is lost");
        assert_eq!(meaning.as_deref(), Some("My card, number 5, is LOST."));
        assert_eq!(fit(" . ", &Expected::Open), (String::new(), None));
    }

    #[test]
    fn numbers_are_said_in_english() {
        for (numeral, said) in [
            ("0", "zero"),
            ("21", "twenty one"),
            ("30", "thirty"),
            ("115", "one hundred fifteen"),
            ("2000", "two thousand"),
            ("12th", "twelfth"),
            ("20th", "twentieth"),
            ("23rd", "twenty third"),
            ("14th", "fourteenth"),
        ] {
            assert_eq!(number_of(numeral).as_deref(), Some(said));
        }
        assert_eq!(number_of("99999999999999999999999"), None);
    }

    #[test]
    fn a_grammar_of_too_many_sentences_gives_its_words_as_hints() {
        assert_eq!(hints(&digits(4)).len(), 10);
        assert_eq!(hints(&phrases(&[("sales [please]", "sales")])), ["sales please", "sales"]);
        assert!(hints(&Expected::Open).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let (words, _) = fit(&text, &digits(4));
            proptest::prop_assert!(!words.contains("  ") && words.trim() == words);
            let _ = fit(&text, &Expected::Open);
        }
    }
}
