//! Sentences with variables: `Your number is {caller|phone}.`

use std::collections::BTreeMap;

use crate::speech::spoken;

/// A text with places for variables. A brace itself is written twice: `{{`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { name: String, format: Format },
}

/// How the value of a variable is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Digits,
    Phone,
    Number,
}

impl Format {
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("digits", Self::Digits), ("phone", Self::Phone), ("number", Self::Number)];
}

/// Why a text is no template. `offset` is in bytes from the start of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TemplateError {
    Unclosed,
    Unopened,
    BadName(String),
    UnknownFormat(String),
}

impl Template {
    /// Reads a text; all faults at once.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<TemplateError>> {
        let (mut pieces, mut plain, mut errors) = (Vec::new(), String::new(), Vec::new());
        let mut rest = text;
        while let Some(n) = rest.find(['{', '}']) {
            plain.push_str(&rest[..n]);
            let brace = &rest[n..=n];
            rest = &rest[n + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "}" {
                errors.push(TemplateError::Unopened);
            } else if let Some((inside, after)) = rest.split_once('}') {
                match placeholder(inside) {
                    Ok(piece) => {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(piece);
                    }
                    Err(error) => errors.push(error),
                }
                rest = after;
            } else {
                errors.push(TemplateError::Unclosed);
                rest = "";
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if errors.is_empty() { Ok(Self { pieces }) } else { Err(errors) }
    }

    /// The text with its variables filled in. A variable that is not set is nothing.
    pub(super) fn fill(&self, variables: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Variable { name, format } => {
                    let value = variables.get(name).map_or("", String::as_str);
                    match format {
                        Format::Plain => text.push_str(value),
                        Format::Digits => text.push_str(&spoken::digits(value)),
                        Format::Phone => text.push_str(&spoken::phone_number(value)),
                        Format::Number => match value.parse() {
                            Ok(number) => text.push_str(&spoken::number(number)),
                            Err(_) => text.push_str(value),
                        },
                    }
                }
            }
        }
        text
    }

    /// The text itself when it has no variables.
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable { name, .. } => Some(name.as_str()),
        })
    }
}

/// True for what may be the name of a variable, a step or a grammar: a lower-case letter, then lower-case letters,
/// digits and underscores.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn placeholder(inside: &str) -> Result<Piece, TemplateError> {
    let (name, format) = match inside.split_once('|') {
        None => (inside.trim(), Format::Plain),
        Some((name, word)) => {
            let word = word.trim();
            let found = Format::WORDS.iter().find(|(w, _)| *w == word);
            (name.trim(), found.ok_or_else(|| TemplateError::UnknownFormat(word.to_owned()))?.1)
        }
    };
    if is_name(name) {
        Ok(Piece::Variable { name: name.to_owned(), format })
    } else {
        Err(TemplateError::BadName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        let variables = BTreeMap::from([("account".to_owned(), "1204".to_owned())]);
        Template::parse(text).unwrap().fill(&variables)
    }

    #[test]
    fn variables_are_filled_in_and_spoken() {
        assert_eq!(fill("Account {account}."), "Account 1204.");
        assert_eq!(fill("Account { account | digits }!"), "Account one two zero four!");
        assert_eq!(fill("{account|number} euros"), "one thousand two hundred four euros");
        assert_eq!(fill("no {nobody}thing"), "no thing");
        assert_eq!(fill("{{account}} }}"), "{account} }");
    }

    #[test]
    fn every_fault_of_a_text_is_told() {
        use TemplateError::*;
        assert_eq!(
            Template::parse("{a|digit} {A} }").unwrap_err(),
            [UnknownFormat("digit".into()), BadName("A".into()), Unopened]
        );
        assert_eq!(Template::parse("hello {name").unwrap_err(), [Unclosed]);
    }

    #[test]
    fn a_text_without_variables_is_fixed() {
        assert_eq!(Template::parse("Hi {{you}}.").unwrap().fixed(), Some("Hi {you}."));
        assert_eq!(Template::parse("Hi {you}.").unwrap().fixed(), None);
    }
}
