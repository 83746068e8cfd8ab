//! What is taken out of records, time lines and logs: numbers of cards and accounts, whether they were written, keyed or said.

use serde::Deserialize;

/// What stands in place of what was taken out.
pub const REDACTED: &str = "[redacted]";

/// `[privacy]`: what is never written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redactor {
    /// Numbers of payment cards: 13 to 19 digits whose last one is right (ISO/IEC 7812-1).
    pub cards: bool,
    /// Numbers of bank accounts whose check digits are right (IBAN, ISO 13616).
    pub accounts: bool,
    /// Every row of so many digits or more, whatever it is; 0 for none.
    pub digits: usize,
}

impl Default for Redactor {
    fn default() -> Self {
        Self { cards: true, accounts: true, digits: 0 }
    }
}

/// The words by which people say digits, in English, German, French, Spanish and Italian.
const DIGITS: &[(&str, char)] = &[
    ("zero", '0'),
    ("oh", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
    ("null", '0'),
    ("eins", '1'),
    ("zwei", '2'),
    ("zwo", '2'),
    ("drei", '3'),
    ("vier", '4'),
    ("fünf", '5'),
    ("sechs", '6'),
    ("sieben", '7'),
    ("acht", '8'),
    ("neun", '9'),
    ("zéro", '0'),
    ("un", '1'),
    ("deux", '2'),
    ("trois", '3'),
    ("quatre", '4'),
    ("cinq", '5'),
    ("sept", '7'),
    ("huit", '8'),
    ("neuf", '9'),
    ("cero", '0'),
    ("uno", '1'),
    ("dos", '2'),
    ("tres", '3'),
    ("cuatro", '4'),
    ("cinco", '5'),
    ("seis", '6'),
    ("siete", '7'),
    ("ocho", '8'),
    ("nueve", '9'),
    ("due", '2'),
    ("tre", '3'),
    ("quattro", '4'),
    ("cinque", '5'),
    ("sei", '6'),
    ("sette", '7'),
    ("otto", '8'),
    ("nove", '9'),
];

/// A row of digits, or of letters and digits that may be an account, and where it stands in the text.
struct Row {
    from: usize,
    to: usize,
    digits: String,
}

impl Redactor {
    /// Takes nothing out.
    pub const NOTHING: Self = Self { cards: false, accounts: false, digits: 0 };

    /// The text without what is not to be written down; [`None`] where nothing had to be taken out.
    #[must_use]
    pub fn redact(&self, text: &str) -> Option<String> {
        if *self == Self::NOTHING || text.is_empty() {
            return None;
        }
        let mut taken: Vec<(usize, usize)> = Vec::new();
        if self.accounts {
            taken.extend(accounts(text));
        }
        for row in rows(text) {
            let long = self.digits > 0 && row.digits.len() >= self.digits;
            if long || self.cards && has_card(&row.digits) {
                taken.push((row.from, row.to));
            }
        }
        if taken.is_empty() {
            return None;
        }
        taken.sort_unstable();
        let mut left = String::with_capacity(text.len());
        let mut at = 0;
        for (from, to) in taken {
            if from >= at {
                left.push_str(&text[at..from]);
                left.push_str(REDACTED);
            }
            at = at.max(to);
        }
        left.push_str(&text[at..]);
        Some(left)
    }

    /// The same in place.
    pub fn clean(&self, text: &mut String) {
        if let Some(cleaned) = self.redact(text) {
            *text = cleaned;
        }
    }
}

/// Words of a text with their places; what separates digits of one number (spaces, hyphens, points) separates words.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let between = |c: char| !c.is_alphanumeric();
    text.split(between)
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// The digits that a word is or says.
fn said(word: &str) -> Option<String> {
    if word.chars().all(|c| c.is_ascii_digit()) {
        return Some(word.to_owned());
    }
    let lower = word.to_lowercase();
    DIGITS.iter().find(|(name, _)| *name == lower).map(|(_, digit)| digit.to_string())
}

/// Rows of digits that nothing but separators stands between.
fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut open: Option<Row> = None;
    let mut repeat = 1;
    for (at, word) in tokens(text) {
        let to = at + word.len();
        let times = match word.to_lowercase().as_str() {
            "double" => 2,
            "triple" => 3,
            _ => 1,
        };
        if times > 1 && open.is_some() {
            repeat = times;
            continue;
        }
        match (said(word), &mut open) {
            (Some(digits), Some(row)) => {
                row.digits.push_str(&digits.repeat(repeat));
                row.to = to;
            }
            (Some(digits), None) => open = Some(Row { from: at, to, digits }),
            (None, _) => rows.extend(open.take()),
        }
        repeat = 1;
    }
    rows.extend(open);
    rows
}

/// Whether a number of a card stands in it: people say other digits before and behind it.
fn has_card(digits: &str) -> bool {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(10)).collect();
    (13..=19).any(|length| digits.windows(length).any(is_card))
}

/// Luhn's check (ISO/IEC 7812-1, annex B).
fn is_card(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    digits.iter().any(|digit| *digit != 0) && sum.is_multiple_of(10)
}

/// Where accounts stand: two letters, two digits, 11 to 30 letters and digits, in groups or not.
fn accounts(text: &str) -> Vec<(usize, usize)> {
    let words: Vec<(usize, &str)> = tokens(text).collect();
    let mut found = Vec::new();
    let mut next = 0;
    while next < words.len() {
        let (from, first) = words[next];
        let bytes = first.as_bytes();
        let begins = bytes.len() >= 4
            && bytes[..2].iter().all(u8::is_ascii_alphabetic)
            && bytes[2..4].iter().all(u8::is_ascii_digit);
        let mut account = String::new();
        let mut end = None;
        for (count, (at, word)) in words[next..].iter().enumerate().take_while(|_| begins) {
            if !word.is_ascii() || account.len() + word.len() > 34 {
                break;
            }
            account.push_str(word);
            if account.len() >= 15 && is_account(&account) {
                end = Some((at + word.len(), count));
            }
        }
        match end {
            Some((to, count)) => {
                found.push((from, to));
                next += count + 1;
            }
            None => next += 1,
        }
    }
    found
}

/// ISO 7064 MOD 97-10 of the number with its first four characters at the end.
fn is_account(account: &str) -> bool {
    let (head, tail) = account.split_at(4);
    let mut rest = 0_u32;
    for c in tail.chars().chain(head.chars()) {
        let Some(value) = c.to_digit(36) else { return false };
        rest = if value > 9 { (rest * 100 + value) % 97 } else { (rest * 10 + value) % 97 };
    }
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Redactor = Redactor { cards: true, accounts: true, digits: 0 };

    #[test]
    fn a_card_is_taken_out_however_it_is_written_or_said() {
        for text in [
            "my card is 4111 1111 1111 1111 thanks",
            "my card is 4111-1111-1111-1111 thanks",
            "my card is 4111111111111111 thanks",
            "my card is four one one one one one one one one one one one one one one one thanks",
            "my card is Four triple one one one one one one one one one one one one one thanks",
            "my card is vier eins eins eins eins eins eins eins eins eins eins eins eins eins eins eins thanks",
        ] {
            assert_eq!(ALL.redact(text).as_deref(), Some("my card is [redacted] thanks"), "{text}");
        }
        assert!(ALL.redact("4111 1111 1112").is_none(), "it is too short for a card");
        assert!(ALL.redact("0000 0000 0000 0000").is_none());
    }

    #[test]
    fn digits_around_a_card_do_not_hide_it() {
        assert_eq!(ALL.redact("it is 12 4111111111111111 07 29").as_deref(), Some("it is [redacted]"));
    }

    #[test]
    fn an_account_is_taken_out() {
        for text in ["to DE89370400440532013000 please", "to DE89 3704 0044 0532 0130 00 please"] {
            assert_eq!(ALL.redact(text).as_deref(), Some("to [redacted] please"), "{text}");
        }
        assert!(ALL.redact("to DE88370400440532013000 please").is_none());
    }

    #[test]
    fn other_numbers_stay_unless_rows_of_their_length_are_taken_out() {
        let text = "press one, or call 030 23125000 after 17 30";
        assert_eq!(ALL.redact(text), None);
        let digits = Redactor { digits: 6, ..Redactor::NOTHING };
        assert_eq!(digits.redact(text).as_deref(), Some("press one, or call [redacted] after 17 30"));
        assert_eq!(Redactor::NOTHING.redact("4111111111111111"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_redacted_or_left(text in "\\PC{0,80}") {
            let all = Redactor { digits: 4, ..ALL };
            let _ = all.redact(&text);
        }

        #[test]
        fn what_was_taken_out_once_is_gone(digits in "[0-9 ]{0,60}") {
            let all = Redactor { digits: 4, ..ALL };
            if let Some(cleaned) = all.redact(&digits) {
                proptest::prop_assert!(all.redact(&cleaned).is_none(), "{cleaned}");
            }
        }
    }
}
