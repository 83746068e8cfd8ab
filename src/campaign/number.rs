//! Numbers in international form, and the country that they are of.

use phonenumber::country::Id;
use phonenumber::{Mode, Type};

/// A number that a campaign may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// In international form, `+493023125000`.
    pub e164: String,
    /// Its country in two capital letters, where it tells one.
    pub country: Option<String>,
}

/// Which numbers a campaign may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbering {
    home: Option<Id>,
    countries: Vec<Id>,
}

/// Why a number is not one that may be called. No sentence has the number in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNumber {
    /// There is nothing.
    #[error("there is no number: fill the column in, or take the line out")]
    Empty,
    /// It cannot be read.
    #[error(
        "it is no telephone number: write it with + and the country's code, or set `country` in the campaign"
    )]
    Unreadable,
    /// No such number is given out.
    #[error("no such number is given out in its country: check its digits")]
    NotGivenOut,
    /// It is of a country that the campaign does not call.
    #[error(
        "it is in {0}, where the campaign does not call: add it to `countries` in the campaign if it may"
    )]
    Abroad(String),
    /// It costs more than a call.
    #[error("it costs more than a call, or is an emergency number: no campaign calls it")]
    CostsExtra,
}

impl Numbering {
    /// Reads the countries: that of numbers without a code, and those that may be called beside it.
    ///
    /// # Errors
    /// A sentence that names what is no country.
    pub fn new(home: Option<&str>, countries: &[String]) -> Result<Self, String> {
        let read = |code: &str| {
            code.parse::<Id>().map_err(|_| {
                format!("`{code}` is no country: write two capital letters, as \"DE\" or \"US\"")
            })
        };
        let home = home.map(read).transpose()?;
        let mut countries = countries.iter().map(|code| read(code)).collect::<Result<Vec<_>, _>>()?;
        countries.extend(home);
        if countries.is_empty() {
            return Err(
                "nothing says which numbers may be called: set `country = \"DE\"`, or `countries` for several"
                    .into(),
            );
        }
        Ok(Self { home, countries })
    }

    /// The number that `text` means, if the campaign may call it.
    ///
    /// # Errors
    /// Why it may not.
    pub fn read(&self, text: &str) -> Result<Number, BadNumber> {
        let (number, id) = parse(self.home, text)?;
        match id {
            Some(id) if self.countries.contains(&id) => {}
            Some(id) => return Err(BadNumber::Abroad(id.as_ref().to_owned())),
            // Countries share codes, and some numbers of those are in none of them.
            None => return Err(BadNumber::NotGivenOut),
        }
        let kind = number.number_type(&phonenumber::metadata::DATABASE);
        if matches!(kind, Type::PremiumRate | Type::SharedCost | Type::Emergency) {
            return Err(BadNumber::CostsExtra);
        }
        Ok(Number {
            e164: number.format().mode(Mode::E164).to_string(),
            country: id.map(|id| id.as_ref().to_owned()),
        })
    }

    /// The number that `text` means for a list of those that are never called, wherever it is: such a list may have more in
    /// it than a campaign may call.
    ///
    /// # Errors
    /// [`BadNumber::Empty`] and [`BadNumber::Unreadable`].
    pub fn read_any(home: Option<&str>, text: &str) -> Result<String, BadNumber> {
        let home = home.and_then(|code| code.parse::<Id>().ok());
        let text = text.trim();
        if text.is_empty() {
            return Err(BadNumber::Empty);
        }
        let number = phonenumber::parse(home, text).map_err(|_| BadNumber::Unreadable)?;
        Ok(number.format().mode(Mode::E164).to_string())
    }
}

fn parse(home: Option<Id>, text: &str) -> Result<(phonenumber::PhoneNumber, Option<Id>), BadNumber> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadNumber::Empty);
    }
    // The longest that people write is far below that; the parser need not see more.
    if text.len() > 40 {
        return Err(BadNumber::Unreadable);
    }
    let number = phonenumber::parse(home, text).map_err(|_| BadNumber::Unreadable)?;
    if number.extension().is_some() {
        return Err(BadNumber::Unreadable);
    }
    if !phonenumber::is_valid(&number) {
        return Err(BadNumber::NotGivenOut);
    }
    let id = number.country().id();
    Ok((number, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german() -> Numbering {
        Numbering::new(Some("DE"), &["AT".into()]).unwrap()
    }

    #[test]
    fn numbers_are_written_in_full_whatever_they_looked_like() {
        for text in ["030 23125 000", "+49 30 23125000", "0049 (30) 23125-000", " 03023125000 "] {
            let number = german().read(text).unwrap();
            assert_eq!((number.e164.as_str(), number.country.as_deref()), ("+493023125000", Some("DE")));
        }
        assert_eq!(german().read("+43 1 5125022").unwrap().country.as_deref(), Some("AT"));
    }

    #[test]
    fn what_may_not_be_called_is_refused_without_the_number() {
        let why = |text| german().read(text).unwrap_err();
        assert_eq!(why(""), BadNumber::Empty);
        assert_eq!(why("tomorrow"), BadNumber::Unreadable);
        assert_eq!(why("+49 900 1234567"), BadNumber::CostsExtra);
        assert_eq!(why("+44 20 7946 0018"), BadNumber::Abroad("GB".into()));
        assert!(matches!(why("110"), BadNumber::NotGivenOut | BadNumber::Unreadable | BadNumber::CostsExtra));
        assert!(matches!(why("${EXTEN}&PJSIP/1"), BadNumber::NotGivenOut | BadNumber::Unreadable));
        assert!(!why("+44 20 7946 0018").to_string().contains("7946"));
    }

    #[test]
    fn the_two_sides_of_a_shared_code_are_told_apart() {
        let us = Numbering::new(Some("US"), &[]).unwrap();
        assert_eq!(us.read("(202) 456-1111").unwrap().country.as_deref(), Some("US"));
        assert_eq!(us.read("+1 416 967 1111").unwrap_err(), BadNumber::Abroad("CA".into()));
    }

    #[test]
    fn a_campaign_without_a_country_calls_nobody() {
        assert!(Numbering::new(None, &[]).unwrap_err().contains("country"));
        assert!(Numbering::new(Some("Germany"), &[]).unwrap_err().contains("two capital letters"));
        assert_eq!(Numbering::read_any(None, "+44 20 7946 0018").as_deref(), Ok("+442079460018"));
    }
}
