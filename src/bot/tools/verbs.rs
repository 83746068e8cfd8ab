//! Verbs of the call as tools. Deciding code: what a model wrote is checked against what the file allows, and becomes a
//! [`Doing`] that cannot mean anything else.

use serde_json::{Map, Value, json};

use super::{ToolError, ToolSpec};

/// The most keys that are sent at once.
const MOST_KEYS: usize = 32;

/// The most characters of a variable's value.
const MOST_VALUE: usize = 200;

/// Where an agent may transfer to: a destination's name, and what a model is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) struct Place {
    pub name: String,
    pub description: String,
}

/// A verb that an agent may use, with what the file allows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) enum Verb {
    HangUp,
    Transfer(Vec<Place>),
    SendKeys,
    SetVariable(Vec<String>),
    Leave,
    Record,
    OptOut,
}

/// A verb with its arguments, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) enum Doing {
    HangUp,
    /// To the destination of this name.
    Transfer {
        to: String,
        /// What the person is told, in a few words.
        reason: Option<String>,
    },
    SendKeys {
        keys: String,
    },
    SetVariable {
        name: String,
        value: String,
    },
    Leave,
    Record {
        on: bool,
    },
    OptOut,
}

impl Doing {
    /// What a person is told who gets the caller, where the file has a sentence for it; `{reason}` in it is the model's.
    pub fn announcement(&self, sentence: Option<&str>) -> Option<String> {
        let Self::Transfer { reason, .. } = self else { return None };
        Some(sentence?.replace("{reason}", reason.as_deref().unwrap_or("a caller")))
    }
}

impl Verb {
    /// What a model is told.
    pub fn spec(&self) -> ToolSpec {
        let (name, description, parameters) = match self {
            Self::HangUp => (
                "hang_up",
                "Ends the call. Say goodbye before; use it when the caller wants nothing more.".to_owned(),
                object(json!({}), &[]),
            ),
            Self::Transfer(places) => {
                let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
                let lines = places.iter().map(|place| format!("\n- {}: {}", place.name, place.description));
                (
                    "transfer",
                    format!(
                        "Connects the caller with one of these destinations, and with nothing else. Say before that you connect him.{}",
                        lines.collect::<String>()
                    ),
                    object(
                        json!({
                            "destination": { "type": "string", "enum": names },
                            "reason": { "type": "string", "description": "what it is about, in a few words, for the person" },
                        }),
                        &["destination"],
                    ),
                )
            }
            Self::SendKeys => (
                "send_keys",
                "Presses telephone keys on the line, as a caller does in somebody else's menu.".to_owned(),
                object(
                    json!({ "keys": { "type": "string", "description": "digits, * and #" } }),
                    &["keys"],
                ),
            ),
            Self::SetVariable(names) => (
                "set_variable",
                "Notes something for those who get the call next.".to_owned(),
                object(
                    json!({ "name": { "type": "string", "enum": names }, "value": { "type": "string" } }),
                    &["name", "value"],
                ),
            ),
            Self::Leave => (
                "leave",
                "Gives the call back to the telephone system, which knows what comes next. Say before that you do."
                    .to_owned(),
                object(json!({}), &[]),
            ),
            Self::Record => (
                "record",
                "Begins or ends the recording of the call. Only after the caller has agreed.".to_owned(),
                object(json!({ "on": { "type": "boolean" } }), &["on"]),
            ),
            Self::OptOut => (
                "opt_out",
                "Notes that the other side does not want to be called again; nobody calls the number from then on. Use it when somebody asks for that, and confirm it."
                    .to_owned(),
                object(json!({}), &[]),
            ),
        };
        ToolSpec { name: name.to_owned(), description, parameters }
    }

    /// What a model wants of it, if that is allowed.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<Doing, ToolError> {
        let text = |name: &str| {
            let value = arguments.get(name).and_then(Value::as_str);
            value.ok_or_else(|| ToolError::new(format!("The argument `{name}` is missing.")))
        };
        Ok(match self {
            Self::HangUp => Doing::HangUp,
            Self::Leave => Doing::Leave,
            Self::OptOut => Doing::OptOut,
            Self::Transfer(places) => {
                let wanted = text("destination")?;
                let place = places.iter().find(|place| place.name == wanted).ok_or_else(|| {
                    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
                    ToolError::new(format!(
                        "That is no destination, and nothing else can be called. There are: {}.",
                        names.join(", ")
                    ))
                })?;
                let reason = arguments.get("reason").and_then(Value::as_str);
                Doing::Transfer { to: place.name.clone(), reason: reason.map(spoken) }
            }
            Self::SendKeys => {
                let keys = text("keys")?;
                let right = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D');
                if keys.is_empty() || keys.len() > MOST_KEYS || !keys.chars().all(right) {
                    return Err(ToolError::new(format!("Keys are 1 to {MOST_KEYS} of 0 to 9, * and #.")));
                }
                Doing::SendKeys { keys: keys.to_owned() }
            }
            Self::SetVariable(names) => {
                let wanted = text("name")?;
                let name = names.iter().find(|name| *name == wanted).ok_or_else(|| {
                    ToolError::new(format!("There are only these variables: {}.", names.join(", ")))
                })?;
                let value = match arguments.get("value") {
                    Some(Value::String(value)) => value.clone(),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                    _ => return Err(ToolError::new("The argument `value` is missing.")),
                };
                Doing::SetVariable { name: name.clone(), value: plain(&value)? }
            }
            Self::Record => {
                let on = arguments.get("on").and_then(Value::as_bool);
                Doing::Record { on: on.ok_or_else(|| ToolError::new("The argument `on` is missing."))? }
            }
        })
    }
}

/// A value for a variable of the dialplan: what it could evaluate there is refused.
fn plain(value: &str) -> Result<String, ToolError> {
    let bad = |c: char| c.is_control() || matches!(c, '$' | '{' | '}' | '[' | ']' | '\\' | '"');
    if value.chars().count() > MOST_VALUE || value.chars().any(bad) {
        return Err(ToolError::new(format!(
            "A value has at most {MOST_VALUE} characters, and none of $ {{ }} [ ] \" \\."
        )));
    }
    Ok(value.to_owned())
}

/// Words of a model as a person hears them: a line of letters and digits.
fn spoken(text: &str) -> String {
    let plain = text
        .chars()
        .take(MOST_VALUE)
        .map(|c| if c.is_alphanumeric() || " .,'-".contains(c) { c } else { ' ' });
    plain.collect()
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verb: &Verb, arguments: Value) -> Result<Doing, ToolError> {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        verb.check(&arguments)
    }

    #[test]
    fn a_transfer_goes_to_a_name_of_the_list_and_to_nothing_else() {
        let places = ["sales", "support"].map(|name| Place { name: name.into(), description: String::new() });
        let verb = Verb::Transfer(places.to_vec());
        assert_eq!(
            check(&verb, json!({ "destination": "sales" })),
            Ok(Doing::Transfer { to: "sales".into(), reason: None })
        );
        for wrong in [
            json!({ "destination": "0900123456" }),
            json!({ "destination": "PJSIP/sales" }),
            json!({ "destination": "Sales" }),
            json!({ "destination": "sales\n" }),
            json!({ "destination": "sales&Local/1" }),
            json!({ "destination": ["sales"] }),
            json!({ "number": "112" }),
            json!({}),
        ] {
            assert!(check(&verb, wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(verb.spec().parameters["properties"]["destination"]["enum"], json!(["sales", "support"]));
    }

    #[test]
    fn keys_variables_and_recordings_are_what_the_file_allows() {
        assert!(check(&Verb::SendKeys, json!({ "keys": "12#*" })).is_ok());
        for wrong in ["", "12a", "1&2", &"1".repeat(33)] {
            assert!(check(&Verb::SendKeys, json!({ "keys": wrong })).is_err(), "{wrong}");
        }
        let verb = Verb::SetVariable(vec!["ORDER".into()]);
        assert!(check(&verb, json!({ "name": "ORDER", "value": 17 })).is_ok());
        assert!(check(&verb, json!({ "name": "SHELL", "value": "x" })).is_err());
        assert!(check(&verb, json!({ "name": "ORDER", "value": "${SHELL(rm -rf /)}" })).is_err());
        assert_eq!(check(&Verb::Record, json!({ "on": true })), Ok(Doing::Record { on: true }));
        assert!(check(&Verb::Record, json!({ "on": "yes" })).is_err());
    }
}
