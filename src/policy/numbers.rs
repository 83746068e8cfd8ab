//! Which telephone numbers may stand in the configuration: none that cost the one who calls, and none abroad, unless allowed.

use phonenumber::{PhoneNumber, country};

use super::PolicySection;

/// What may be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberRules {
    country: Option<country::Id>,
    international: Vec<country::Id>,
    premium: bool,
}

impl NumberRules {
    /// Reads the countries.
    ///
    /// # Errors
    /// A sentence that names what is no country.
    pub(super) fn new(section: &PolicySection) -> Result<Self, String> {
        let read = |code: &String| {
            code.parse::<country::Id>().map_err(|_| {
                format!("`{code}` under [policy] is no country: write two capital letters, as DE, US or GB")
            })
        };
        Ok(Self {
            country: section.country.as_ref().map(read).transpose()?,
            international: section.international.iter().map(read).collect::<Result<_, _>>()?,
            premium: section.premium,
        })
    }

    /// Whether this number may be dialled; gives it in international form, as `+493012345`.
    ///
    /// # Errors
    /// A sentence that says why not, without the number.
    pub(super) fn check(&self, number: &str) -> Result<String, String> {
        let number: PhoneNumber = phonenumber::parse(self.country, number).map_err(|_| {
            "it is no telephone number: write it with + and the country's code, or set `country` under [policy]"
                .to_owned()
        })?;
        if !phonenumber::is_valid(&number) {
            return Err("no such number is given out in its country: check its digits".into());
        }
        let there = number.country().id();
        let home = self.country.ok_or_else(|| {
            "set `country` under [policy], so that it is known which numbers are international".to_owned()
        })?;
        // Countries that share a code are told apart by the number; what cannot be told counts as home when the code does.
        let near = there.map_or_else(|| home_code(home) == number.country().code(), |there| there == home);
        if !near && !there.is_some_and(|there| self.international.contains(&there)) {
            return Err(format!(
                "it is international ({}): add its country to `international` under [policy] if it may be dialled",
                there.map_or_else(|| format!("+{}", number.country().code()), |id| format!("{id:?}"))
            ));
        }
        let kind = number.number_type(&phonenumber::metadata::DATABASE);
        if costs_extra(kind) && !self.premium {
            return Err(
                "it costs more than a call: set `premium = true` under [policy] if it may be dialled".into(),
            );
        }
        Ok(number.format().mode(phonenumber::Mode::E164).to_string())
    }
}

fn home_code(home: country::Id) -> u16 {
    phonenumber::metadata::DATABASE.by_id(home.as_ref()).map_or(0, phonenumber::Metadata::country_code)
}

fn costs_extra(kind: phonenumber::Type) -> bool {
    matches!(kind, phonenumber::Type::PremiumRate | phonenumber::Type::SharedCost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(section: &PolicySection) -> NumberRules {
        NumberRules::new(section).expect("these are countries")
    }

    fn at_home() -> PolicySection {
        PolicySection { country: Some("DE".into()), ..PolicySection::default() }
    }

    #[test]
    fn a_number_of_the_country_is_written_in_full() {
        let rules = rules(&at_home());
        assert_eq!(rules.check("030 23125 000").as_deref(), Ok("+493023125000"));
        assert_eq!(rules.check("+49 30 23125 000").as_deref(), Ok("+493023125000"));
    }

    #[test]
    fn what_costs_extra_or_is_abroad_is_refused_unless_it_is_allowed() {
        let strict = rules(&at_home());
        assert!(strict.check("+49 900 1234567").unwrap_err().contains("premium"));
        assert!(strict.check("+44 20 7946 0018").unwrap_err().contains("international"));
        let open = rules(&PolicySection { international: vec!["GB".into()], premium: true, ..at_home() });
        assert!(open.check("+49 900 1234567").is_ok());
        assert!(open.check("+44 20 7946 0018").is_ok());
        assert!(open.check("+1 202 456 1111").is_err());
    }

    #[test]
    fn without_a_country_nothing_is_known_to_be_at_home() {
        let rules = rules(&PolicySection::default());
        assert!(rules.check("+493023125000").unwrap_err().contains("country"));
        assert!(rules.check("030 23125 000").is_err());
        assert!(
            NumberRules::new(&PolicySection { country: Some("Germany".into()), ..PolicySection::default() })
                .is_err()
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let rules = rules(&at_home());
        for text in ["", "sales", "12", "1&PJSIP/2", "+49", "${EXTEN}", "0000000000000000000"] {
            assert!(rules.check(text).is_err(), "{text}");
        }
    }
}
