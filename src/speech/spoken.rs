//! Numbers as they are spoken, for prompts: a synthesiser left to itself says "one thousand two hundred thirty-four"
//! where a caller wants to hear "one two three four".

use super::grammar::DIGIT_WORDS;

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
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 7] =
    ["", " thousand", " million", " billion", " trillion", " quadrillion", " quintillion"];

/// The digits of `text` one by one: `"1234"` becomes `"one two three four"`. `*` is "star", `#` is "pound", `+` is
/// "plus"; everything else is left out.
#[must_use]
pub fn digits(text: &str) -> String {
    let word = |c: char| match c {
        '0'..='9' => Some(DIGIT_WORDS[c as usize - '0' as usize]),
        '*' => Some("star"),
        '#' => Some("pound"),
        '+' => Some("plus"),
        _ => None,
    };
    text.chars().filter_map(word).collect::<Vec<_>>().join(" ")
}

/// A number in words: `-1_042` becomes `"minus one thousand forty two"`.
#[must_use]
pub fn number(value: i64) -> String {
    if value == 0 {
        return DIGIT_WORDS[0].to_owned();
    }
    let mut groups = Vec::new();
    let mut rest = value.unsigned_abs();
    for scale in SCALES {
        if !rest.is_multiple_of(1_000) {
            groups.push(below_a_thousand(rest % 1_000) + scale);
        }
        rest /= 1_000;
    }
    if value < 0 {
        groups.push("minus".to_owned());
    }
    groups.reverse();
    groups.join(" ")
}

/// A telephone number, digit by digit, in groups with a pause between them. The groups are those of the text where it
/// has some ("+49 89 1234567", "(555) 276-90"); where it has none, the last four digits stand alone and threes before.
#[must_use]
pub fn phone_number(text: &str) -> String {
    let separators = [' ', '-', '/', '.', '(', ')'];
    let mut groups: Vec<String> =
        text.split(separators).map(digits).filter(|group| !group.is_empty()).collect();
    if let [all] = groups.as_slice() {
        let words: Vec<&str> = all.split(' ').collect();
        let head = words.len().saturating_sub(4);
        let tail = words[head..].join(" ");
        groups = words[..head].chunks(3).map(|group| group.join(" ")).collect();
        groups.push(tail);
    }
    groups.join(", ")
}

fn below_a_thousand(value: u64) -> String {
    // Every index is below ten.
    let at = |value: u64| usize::try_from(value).unwrap_or(0);
    let mut words = Vec::new();
    if value >= 100 {
        words.push(DIGIT_WORDS[at(value / 100)]);
        words.push("hundred");
    }
    match value % 100 {
        0 => {}
        rest @ 1..10 => words.push(DIGIT_WORDS[at(rest)]),
        rest @ 10..20 => words.push(TEENS[at(rest - 10)]),
        rest => {
            words.push(TENS[at(rest / 10 - 2)]);
            if !rest.is_multiple_of(10) {
                words.push(DIGIT_WORDS[at(rest % 10)]);
            }
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_said_one_by_one() {
        assert_eq!(digits("12-34"), "one two three four");
        assert_eq!(digits("*0#"), "star zero pound");
        assert_eq!(digits("none"), "");
    }

    #[test]
    fn numbers_are_said_whole() {
        for (value, words) in [
            (0, "zero"),
            (7, "seven"),
            (13, "thirteen"),
            (40, "forty"),
            (342, "three hundred forty two"),
            (-1_042, "minus one thousand forty two"),
            (2_000_000, "two million"),
            (1_000_010, "one million ten"),
        ] {
            assert_eq!(number(value), words);
        }
        assert!(number(i64::MIN).starts_with("minus nine quintillion two hundred twenty three quadrillion"));
    }

    #[test]
    fn telephone_numbers_are_said_in_groups() {
        assert_eq!(phone_number("+49 89 12"), "plus four nine, eight nine, one two");
        assert_eq!(phone_number("5552769012"), "five five five, two seven six, nine zero one two");
        assert_eq!(phone_number("112"), "one one two");
    }
}
