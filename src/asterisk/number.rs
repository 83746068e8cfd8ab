//! Numbers and names that come from outside, and patterns for them: what is one of these can stand in a dial string, an
//! argument or a variable without meaning more than itself.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Why a text is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// It is empty.
    #[error("it is empty: write at least one letter or digit")]
    Empty,
    /// It is longer than 80 characters, which is what Asterisk keeps of an extension.
    #[error("it has more than 80 characters")]
    TooLong,
    /// It has a character that Asterisk might take for more than itself.
    #[error("`{0}` may not stand in it: accepted are letters, digits and + * # . _ -")]
    Character(char),
    /// A pattern that is none.
    #[error("it is no pattern: after `_` come digits, X, Z, N, sets as [1-5], and `.` or `!` at the end")]
    Pattern,
}

/// The most characters of a number or name (AST_MAX_EXTENSION).
pub const LONGEST: usize = 80;

/// A telephone number, or the name of an extension, a queue, a context, a bot: letters, digits and `+ * # . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Plain(String);

impl Plain {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Plain {
    type Err = NotPlain;

    fn from_str(text: &str) -> Result<Self, NotPlain> {
        let fine = |c: &char| c.is_ascii_alphanumeric() || "+*#._-".contains(*c);
        match text.chars().find(|c| !fine(c)) {
            Some(c) => Err(NotPlain::Character(c)),
            None if text.is_empty() => Err(NotPlain::Empty),
            None if text.len() > LONGEST => Err(NotPlain::TooLong),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Plain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|why| format!("`{text}` cannot be used: {why}"))
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Plain {
    /// How long it is: it may be the number of a caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain({})", self.0.len())
    }
}

/// A number, or as Asterisk writes it with `_` in front, many: `_49891234X.`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<Place>);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// One of these characters.
    One(Vec<char>),
    /// One or more of any.
    More,
    /// Any number of any.
    Any,
}

impl Pattern {
    /// Whether `number` is one of those that are meant.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        let mut letters = number.chars();
        for place in &self.0 {
            match place {
                Place::Any => return true,
                Place::More => return letters.next().is_some(),
                Place::One(these) => {
                    if !letters.next().is_some_and(|letter| these.contains(&letter)) {
                        return false;
                    }
                }
            }
        }
        letters.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = NotPlain;

    fn from_str(text: &str) -> Result<Self, NotPlain> {
        let Some(pattern) = text.strip_prefix('_') else {
            let plain: Plain = text.parse()?;
            return Ok(Self(plain.0.chars().map(|c| Place::One(vec![c])).collect()));
        };
        if pattern.is_empty() {
            return Err(NotPlain::Empty);
        }
        if pattern.len() > LONGEST {
            return Err(NotPlain::TooLong);
        }
        let mut places = Vec::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            if matches!(places.last(), Some(Place::More | Place::Any)) {
                return Err(NotPlain::Pattern);
            }
            places.push(match letter {
                'X' | 'x' => Place::One(('0'..='9').collect()),
                'Z' | 'z' => Place::One(('1'..='9').collect()),
                'N' | 'n' => Place::One(('2'..='9').collect()),
                '.' => Place::More,
                '!' => Place::Any,
                '[' => Place::One(set(&mut letters)?),
                other => {
                    other.to_string().parse::<Plain>()?;
                    Place::One(vec![other])
                }
            });
        }
        Ok(Self(places))
    }
}

/// The characters of a set up to its `]`.
fn set(letters: &mut std::str::Chars<'_>) -> Result<Vec<char>, NotPlain> {
    let mut these = Vec::new();
    loop {
        match letters.next() {
            Some(']') if !these.is_empty() => return Ok(these),
            Some('-') => {
                let (Some(first), Some(last)) = (these.last().copied(), letters.next()) else {
                    return Err(NotPlain::Pattern);
                };
                if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() || first > last {
                    return Err(NotPlain::Pattern);
                }
                these.extend(first..=last);
            }
            Some(letter) if letter.is_ascii_alphanumeric() || "+*#".contains(letter) => these.push(letter),
            _ => return Err(NotPlain::Pattern),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|why| format!("`{text}` is no number or pattern: {why}"))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_more_than_itself_is_refused() {
        for fine in ["100", "+4989123456", "*21#", "sales_2", "a.b-c"] {
            assert_eq!(fine.parse::<Plain>().unwrap().as_str(), fine);
        }
        for evil in [
            "1&PJSIP/2",
            "PJSIP/1",
            "${EXTEN}",
            "1,2",
            "a b",
            "x\ny",
            "1@trunk",
            "",
            "é",
            "a|b",
            "a;b",
            "$[1]",
        ] {
            assert!(evil.parse::<Plain>().is_err(), "{evil:?}");
        }
        assert!("1".repeat(LONGEST).parse::<Plain>().is_ok());
        assert_eq!("1".repeat(LONGEST + 1).parse::<Plain>(), Err(NotPlain::TooLong));
    }

    #[test]
    fn patterns_mean_what_they_mean_to_asterisk() {
        let matches = |pattern: &str, number: &str| pattern.parse::<Pattern>().unwrap().matches(number);
        for (pattern, number, is) in [
            ("100", "100", true),
            ("100", "1000", false),
            ("_1XX", "199", true),
            ("_1XX", "1a9", false),
            ("_ZN[1-35]", "125", true),
            ("_ZN[1-35]", "124", false),
            ("_ZN[1-35]", "025", false),
            ("_49.", "491", true),
            ("_49.", "49", false),
            ("_49!", "49", true),
            ("_+49X.", "+4989", true),
            ("_.", "anything", true),
            ("X", "X", true),
            ("X", "1", false),
        ] {
            assert_eq!(matches(pattern, number), is, "{pattern} {number}");
        }
        for wrong in ["", "_", "_[", "_[]", "_[5-1]", "_1.2", "_${X}", "1/2", "_1&2"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
    }
}
