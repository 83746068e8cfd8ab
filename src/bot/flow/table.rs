//! Typed reading of one table of a flow file: every fault is noted with its place and reading goes on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Faults;
use super::model::At;

/// A table of the file, and the words for it in a fault: "step 'menu'".
#[derive(Clone)]
pub(super) struct Table<'t> {
    pub(super) what: String,
    pub(super) at: usize,
    table: &'t DeTable<'t>,
}

pub(super) type Value<'t> = &'t Spanned<DeValue<'t>>;

impl<'t> Table<'t> {
    pub(super) fn new(what: impl Into<String>, at: usize, table: &'t DeTable<'t>) -> Self {
        Self { what: what.into(), at, table }
    }

    /// The table in `value`; a fault when it is something else.
    pub(super) fn of(what: impl Into<String>, value: Value<'t>, faults: &mut Faults) -> Option<Self> {
        let what = what.into();
        match value.get_ref().as_table() {
            Some(table) => Some(Self::new(what, value.span().start, table)),
            None => {
                wrong_type(&what, "", "a table", value, faults);
                None
            }
        }
    }

    /// Its entries in the order of the file.
    pub(super) fn entries(&self) -> Vec<(At<String>, Value<'t>)> {
        let mut all: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| {
                (At { at: key.span().start, value: key.get_ref().clone().into_owned() }, value)
            })
            .collect();
        all.sort_by_key(|(key, _)| key.at);
        all
    }

    /// A fault for every key that is not in `known`.
    pub(super) fn only(&self, known: &[&str], faults: &mut Faults) {
        for (key, _) in self.entries() {
            if !known.contains(&key.value.as_str()) {
                let problem = format!("{} has no key '{}'", self.what, key.value);
                faults.push_unknown(key.at, problem, &key.value, known.iter().copied());
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where `key` stands; the table when it is not there.
    pub(super) fn at(&self, key: &str) -> usize {
        self.table.get_key_value(key).map_or(self.at, |(key, _)| key.span().start)
    }

    /// A fault that the key is missing; `what_for` says what it would hold.
    pub(super) fn missing(&self, key: &str, what_for: &str, faults: &mut Faults) {
        faults.push(self.at, format!("{} needs '{key}', {what_for}", self.what));
    }

    pub(super) fn string(&self, key: &str, faults: &mut Faults) -> Option<At<String>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            wrong_type(&self.what, key, "a text", value, faults);
            return None;
        };
        Some(At { at: value.span().start, value: text.to_owned() })
    }

    pub(super) fn boolean(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        let value = self.get(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            wrong_type(&self.what, key, "true or false", value, faults);
        }
        found
    }

    /// A whole number in `range`; `unit` completes "a whole number of …", or is empty.
    pub(super) fn integer(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
        faults: &mut Faults,
    ) -> Option<u32> {
        let value = self.get(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(&self.what, key, &wanted, value, faults);
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()).map(u32::try_from) {
            Ok(Ok(n)) if range.contains(&n) => Some(n),
            _ => {
                let problem = format!("{}: '{key}' is {integer}; expected {wanted}", self.what);
                faults.push(value.span().start, problem);
                None
            }
        }
    }

    /// A number, whole or not.
    pub(super) fn number(&self, key: &str, faults: &mut Faults) -> Option<At<f64>> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok().filter(|n| n.is_finite()),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse::<f64>().ok(),
            _ => None,
        };
        if number.is_none() {
            wrong_type(&self.what, key, "a number", value, faults);
        }
        Some(At { at: value.span().start, value: number? })
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let text = self.string(key, faults)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let problem = format!("{}: '{key}' cannot be '{}'", self.what, text.value);
            faults.push_unknown(text.at, problem, &text.value, words.iter().map(|(word, _)| *word));
        }
        Some(found?.1)
    }

    /// A text, a number or true and false, as text: the value that a variable is compared with.
    pub(super) fn scalar(&self, key: &str, faults: &mut Faults) -> Option<At<String>> {
        let value = self.get(key)?;
        let text = scalar_text(value);
        if text.is_none() {
            wrong_type(&self.what, key, "a text or a number", value, faults);
        }
        Some(At { at: value.span().start, value: text? })
    }

    /// The table at `key`.
    pub(super) fn table(&self, key: &str, faults: &mut Faults) -> Option<Table<'t>> {
        Table::of(format!("'{key}' of {}", self.what), self.get(key)?, faults)
    }

    /// The list at `key`; one value that is no list stands for a list of one.
    pub(super) fn list(&self, key: &str) -> Option<Vec<Value<'t>>> {
        let value = self.get(key)?;
        Some(value.get_ref().as_array().map_or_else(|| vec![value], |array| array.iter().collect()))
    }

    /// The texts at `key`, a list or one.
    pub(super) fn strings(&self, key: &str, faults: &mut Faults) -> Option<Vec<At<String>>> {
        let values = self.list(key)?;
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            match value.get_ref().as_str() {
                Some(text) => texts.push(At { at: value.span().start, value: text.to_owned() }),
                None => wrong_type(&self.what, key, "a text, or a list of texts", value, faults),
            }
        }
        Some(texts)
    }
}

/// A fault that `value` is of the wrong type.
pub(super) fn wrong_type(what: &str, key: &str, expected: &str, value: Value<'_>, faults: &mut Faults) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let subject = if key.is_empty() { what.to_owned() } else { format!("{what}: '{key}'") };
    faults.push(value.span().start, format!("{subject} is {found}; expected {expected}"));
}

/// A text, a number or true and false, as text.
pub(super) fn scalar_text(value: Value<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => Some(integer.to_string()),
        DeValue::Float(float) => Some(float.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
