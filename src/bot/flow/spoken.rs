//! Values as they are spoken, until `speech::spoken` is there.

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
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

/// `1204` as "one two zero four"; what is no digit is left out.
pub(super) fn digits(value: &str) -> String {
    let words: Vec<&str> = value.chars().filter_map(|c| c.to_digit(10)).map(|d| UNITS[d as usize]).collect();
    words.join(" ")
}

/// A telephone number digit by digit, in groups with a pause between them.
pub(super) fn phone_number(value: &str) -> String {
    let all: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
    let groups: Vec<String> =
        group(all.len()).map(|range| digits(&all[range].iter().collect::<String>())).collect();
    let plus = if value.starts_with('+') { "plus " } else { "" };
    format!("{plus}{}", groups.join(", "))
}

/// `1204` as "one thousand two hundred and four"; what is no whole number below a billion is returned as it is.
pub(super) fn number(value: &str) -> String {
    match value.trim().parse::<i64>() {
        Ok(n) if n < 0 && n > -1_000_000_000 => format!("minus {}", words(n.unsigned_abs())),
        Ok(n) if (0..1_000_000_000).contains(&n) => words(n.unsigned_abs()),
        _ => value.to_owned(),
    }
}

/// Groups of three, the last of two to four: 7 is 3 + 4, 8 is 3 + 3 + 2.
fn group(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = len - at;
        let take = if left <= 4 { left } else { 3 };
        (take > 0).then(|| {
            at += take;
            at - take..at
        })
    })
}

fn words(n: u64) -> String {
    let and = |rest: u64| if rest < 100 { " and " } else { " " };
    let unit = |n: u64| UNITS[usize::try_from(n).unwrap_or(0)];
    match n {
        0..20 => unit(n).to_owned(),
        20..100 => {
            let ten = TENS[usize::try_from(n / 10).unwrap_or(0)];
            if n % 10 == 0 { ten.to_owned() } else { format!("{ten} {}", unit(n % 10)) }
        }
        100..1_000 => above(n, 100, "hundred", " and "),
        1_000..1_000_000 => above(n, 1_000, "thousand", and(n % 1_000)),
        _ => above(n, 1_000_000, "million", and(n % 1_000_000)),
    }
}

fn above(n: u64, size: u64, name: &str, joint: &str) -> String {
    let head = format!("{} {name}", words(n / size));
    if n.is_multiple_of(size) { head } else { format!("{head}{joint}{}", words(n % size)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spoken() {
        assert_eq!(digits("12 a0"), "one two zero");
        assert_eq!(phone_number("+4930123"), "plus four nine three, zero one two three");
        assert_eq!(phone_number(""), "");
        assert_eq!(number("0"), "zero");
        assert_eq!(number("42"), "forty two");
        assert_eq!(number("-1100"), "minus one thousand one hundred");
        assert_eq!(number("1000001"), "one million and one");
        assert_eq!(number("12.5"), "12.5");
    }
}
