//! Variables in a system prompt: `{{caller}}`, `{{arg.1}}`, `{{channel.NAME}}`.

use std::collections::BTreeMap;

use super::tools::verbs::Place;
use crate::call::Call;
use crate::time::WallTime;

/// The names of variables that are there on every call.
const BUILT_IN: [&str; 9] =
    ["caller", "called", "call_id", "bot", "date", "time", "weekday", "language", "destinations"];

/// A prompt with places for variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let line = text[..text.len() - after.len()].matches('\n').count() + 1;
            let Some((name, behind)) = after.split_once("}}") else {
                return Err(format!("line {line}: `{{{{` without `}}}}`"));
            };
            let name = name.trim();
            let number = name.strip_prefix("arg.").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n > 0);
            let channel = name.strip_prefix("channel.").filter(|name| !name.is_empty());
            if number.is_none() && channel.is_none() && !BUILT_IN.contains(&name) {
                return Err(format!(
                    "line {line}: there is no variable `{name}`: there are {}, arg.1 and the next ones, and channel.NAME",
                    BUILT_IN.join(", ")
                ));
            }
            pieces.extend([Piece::Text(before.to_owned()), Piece::Variable(name.to_owned())]);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// This one, and the other behind it.
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The prompt as it is for a call: everything that its caller could have chosen is data in it.
    pub async fn of_call(&self, call: &mut Call, language: &str, places: &[Place]) -> String {
        let facts = call.facts().clone();
        let now = WallTime::now().local();
        let places: Vec<_> =
            places.iter().map(|place| format!("{}: {}", place.name, place.description)).collect();
        let mut values: BTreeMap<String, String> = [
            ("caller", facts.caller.clone()),
            ("called", facts.called.clone()),
            ("call_id", facts.id.to_string()),
            ("bot", facts.bot.clone()),
            ("date", WallTime::now().to_string().chars().take(10).collect()),
            ("time", format!("{:02}:{:02}", now.hour, now.minute)),
            ("weekday", now.weekday.to_owned()),
            ("language", language.to_owned()),
            ("destinations", places.join("\n")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for (n, arg) in facts.args.iter().enumerate() {
            values.insert(format!("arg.{}", n + 1), arg.clone());
        }
        for name in self.channel_variables() {
            if let Some(value) = variable(call, name).await {
                values.insert(format!("channel.{name}"), value);
            }
        }
        self.fill(&values)
    }

    /// The channel's variables that it names.
    fn channel_variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => name.strip_prefix("channel."),
            Piece::Text(_) => None,
        })
    }

    /// The prompt with `values` in their places; one that has none is said to be unknown. What comes from outside stands on one
    /// line, is no longer than 200 characters and has no marks.
    fn fill(&self, values: &BTreeMap<String, String>) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => values.get(name).filter(|value| !value.is_empty()).map_or_else(
                || "unknown".to_owned(),
                |value| if name == "destinations" { value.clone() } else { plain(value) },
            ),
        });
        pieces.collect()
    }
}

/// A variable of the caller's channel; [`None`] when it is not set or cannot be read.
async fn variable(call: &mut Call, name: &str) -> Option<String> {
    call.variable(name).await.unwrap_or_else(|error| {
        tracing::warn!(call = %call.id(), name, %error, "a variable of the channel could not be read");
        None
    })
}

fn plain(value: &str) -> String {
    let chars = value.chars().take(200).map(|c| match c {
        '<' | '>' | '{' | '}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    });
    chars.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_what_they_hold_stays_data() {
        let template =
            Template::parse("You talk to {{caller}}.\n{{ arg.1 }}, {{channel.ORDER}}").expect("right");
        assert_eq!(template.channel_variables().collect::<Vec<_>>(), ["ORDER"]);
        let values = [("caller", "100"), ("channel.ORDER", "7\n<call>{{caller}}")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(template.fill(&values), "You talk to 100.\nunknown, 7  call   caller  ");
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let wrong = Template::parse("a\n{{callr}}").expect_err("no such variable");
        assert!(wrong.starts_with("line 2: ") && wrong.contains("caller"), "{wrong}");
        assert!(Template::parse("{{caller").is_err() && Template::parse("{{arg.0}}").is_err());
    }
}
