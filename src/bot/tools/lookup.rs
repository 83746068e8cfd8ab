//! Look-ups over HTTP. The host is fixed by the file: what a model writes goes into places behind it, percent-encoded and
//! checked against the type that was declared.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::{ToolError, ToolSpec};
use crate::service::{ServiceError, Web};

/// What an argument is.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bot) struct Argument {
    pub kind: ArgumentKind,
    pub description: String,
    pub required: bool,
    /// The only values that it may have, if there is a list.
    pub one_of: Vec<String>,
    /// The most characters of a text.
    pub max_chars: usize,
}

/// The type of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::bot) enum ArgumentKind {
    Text,
    /// Digits alone, kept as they are.
    Digits,
    Integer,
    Number,
    Boolean,
}

/// A look-up that an agent may make.
pub(in crate::bot) struct Lookup {
    name: &'static str,
    description: String,
    method: Method,
    url: Place,
    headers: Vec<(HeaderName, HeaderValue)>,
    arguments: BTreeMap<String, Argument>,
    timeout: Duration,
    most_bytes: usize,
    pointer: Option<String>,
    web: Web,
}

/// What a [`Lookup`] is made of.
pub(in crate::bot) struct LookupConfig {
    pub name: &'static str,
    pub description: String,
    pub method: Method,
    pub url: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub arguments: BTreeMap<String, Argument>,
    pub timeout: Duration,
    pub most_bytes: usize,
    pub pointer: Option<String>,
}

/// An address with places for arguments, all of them behind its host.
struct Place {
    /// Scheme, host and port.
    origin: Url,
    /// Texts, and the names of arguments between them.
    parts: Vec<(String, Option<String>)>,
}

impl Place {
    fn parse(url: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{url}` is no address: write https://HOST/PATH, with {{ARGUMENT}} only behind the host")
        };
        let behind = url.split_once("://").ok_or_else(wrong)?.1;
        let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains(['{', '}', '@', '\\']) {
            return Err(wrong());
        }
        let at = url.len() - behind.len() + authority.len();
        let origin = Url::parse(&url[..at]).map_err(|_| wrong())?;
        if !matches!(origin.scheme(), "http" | "https") || origin.host_str().is_none() {
            return Err(wrong());
        }
        let (mut parts, mut rest) = (Vec::new(), &url[at..]);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or_else(wrong)?;
            parts.push((before.to_owned(), Some(name.to_owned())));
            rest = behind;
        }
        parts.push((rest.to_owned(), None));
        Ok(Self { origin, parts })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|(_, name)| name.as_deref())
    }

    /// The address with these arguments; they change neither the host nor the path around them.
    fn fill(&self, arguments: &Map<String, Value>) -> Result<Url, ToolError> {
        let mut path = String::new();
        for (text, name) in &self.parts {
            path.push_str(text);
            let Some(name) = name else { continue };
            let value = arguments.get(name).map(as_text).unwrap_or_default();
            if !value.is_empty() && value.chars().all(|c| c == '.') {
                return Err(ToolError::new(format!("The argument `{name}` cannot be that.")));
            }
            encode(&value, &mut path);
        }
        let mut url = self.origin.clone();
        let (path, query) =
            path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        Ok(url)
    }
}

/// Everything but letters, digits, `-`, `_`, `~` and `.` as `%XX` (RFC 3986, section 2.3).
fn encode(value: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Lookup {
    /// A look-up as the file declares it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(config: LookupConfig, web: Web) -> Result<Self, String> {
        let url = Place::parse(&config.url)?;
        if let Some(unknown) = url.names().find(|name| !config.arguments.contains_key(*name)) {
            return Err(format!("`{{{unknown}}}` in its `url` is no argument: declare it under `arguments`"));
        }
        if let Some(pointer) = config.pointer.as_deref().filter(|p| !p.is_empty() && !p.starts_with('/')) {
            return Err(format!("`{pointer}` is no JSON pointer: it begins with `/`, as /customer/name"));
        }
        let LookupConfig {
            name, description, method, headers, arguments, timeout, most_bytes, pointer, ..
        } = config;
        Ok(Self { name, description, method, url, headers, arguments, timeout, most_bytes, pointer, web })
    }

    /// What a model is told of it.
    pub fn spec(&self) -> ToolSpec {
        let mut properties = Map::new();
        for (name, argument) in &self.arguments {
            let kind = match argument.kind {
                ArgumentKind::Text | ArgumentKind::Digits => "string",
                ArgumentKind::Integer => "integer",
                ArgumentKind::Number => "number",
                ArgumentKind::Boolean => "boolean",
            };
            let mut property = json!({ "type": kind, "description": argument.description });
            if !argument.one_of.is_empty() {
                property["enum"] = json!(argument.one_of);
            }
            if argument.kind == ArgumentKind::Digits {
                property["pattern"] = json!("^[0-9]+$");
            }
            properties.insert(name.clone(), property);
        }
        let required: Vec<_> =
            self.arguments.iter().filter(|(_, argument)| argument.required).map(|(name, _)| name).collect();
        ToolSpec {
            name: self.name.to_owned(),
            description: self.description.clone(),
            parameters: json!({ "type": "object", "properties": properties, "required": required,
                "additionalProperties": false }),
        }
    }

    /// Whether the arguments are what was declared.
    ///
    /// # Errors
    /// One sentence for the model.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<(), ToolError> {
        if let Some(unknown) = arguments.keys().find(|name| !self.arguments.contains_key(*name)) {
            let known: Vec<_> = self.arguments.keys().map(String::as_str).collect();
            let unknown: String = unknown.chars().take(40).collect();
            return Err(ToolError::new(format!(
                "There is no argument `{unknown}`. There are: {}.",
                known.join(", ")
            )));
        }
        for (name, argument) in &self.arguments {
            match arguments.get(name) {
                None | Some(Value::Null) if argument.required => {
                    return Err(ToolError::new(format!("The argument `{name}` is missing.")));
                }
                None | Some(Value::Null) => {}
                Some(value) => argument.check(name, value)?,
            }
        }
        Ok(())
    }

    /// Makes it.
    ///
    /// # Errors
    /// One sentence for the model; it has nothing of what the service said.
    pub async fn run(&self, arguments: &Map<String, Value>) -> Result<String, ToolError> {
        let url = self.url.fill(arguments)?;
        let mut request = self.web.http().request(self.method.clone(), url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !matches!(self.method, Method::GET | Method::HEAD | Method::DELETE) {
            let in_url: Vec<_> = self.url.names().collect();
            let body: Map<String, Value> = arguments
                .iter()
                .filter(|(name, _)| !in_url.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            request = request.json(&body);
        }
        let all = async {
            let answer = self.web.send(self.name, request, self.timeout).await?;
            self.web.read(self.name, answer, self.most_bytes).await
        };
        let late = ServiceError::Timeout { service: self.name, what: "answer", after: self.timeout };
        let body = tokio::time::timeout(self.timeout, all).await.unwrap_or(Err(late)).map_err(|error| {
            tracing::warn!(%error, "a look-up failed");
            ToolError::new(match error {
                ServiceError::Timeout { .. } => "The look-up took too long.",
                ServiceError::Rejected { .. } => "Nothing was found, or the request was wrong.",
                _ => "The look-up failed; it may work later.",
            })
        })?;
        self.answer(&body)
    }

    /// What the body says, as a text.
    fn answer(&self, body: &[u8]) -> Result<String, ToolError> {
        let Some(pointer) = &self.pointer else { return Ok(String::from_utf8_lossy(body).into_owned()) };
        let said: Value = serde_json::from_slice(body)
            .map_err(|_| ToolError::new("The look-up gave an answer that cannot be read."))?;
        let found = said.pointer(pointer).filter(|found| !found.is_null());
        found.map(as_text).ok_or_else(|| ToolError::new("Nothing was found."))
    }
}

impl Argument {
    fn check(&self, name: &str, value: &Value) -> Result<(), ToolError> {
        let wants = |what: &str| Err(ToolError::new(format!("The argument `{name}` has to be {what}.")));
        let text = value.as_str();
        match self.kind {
            ArgumentKind::Text if text.is_none_or(|text| text.chars().count() > self.max_chars) => {
                return wants(&format!("a text of at most {} characters", self.max_chars));
            }
            ArgumentKind::Digits
                if !text.is_some_and(|text| {
                    (1..=self.max_chars).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
                }) =>
            {
                return wants(&format!("a text of 1 to {} digits", self.max_chars));
            }
            ArgumentKind::Integer if !value.is_i64() && !value.is_u64() => return wants("a whole number"),
            ArgumentKind::Number if !value.is_number() => return wants("a number"),
            ArgumentKind::Boolean if !value.is_boolean() => return wants("true or false"),
            _ => {}
        }
        if !self.one_of.is_empty() && !self.one_of.contains(&as_text(value)) {
            return wants(&format!("one of {}", self.one_of.join(", ")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(kind: ArgumentKind) -> Argument {
        Argument { kind, description: String::new(), required: true, one_of: Vec::new(), max_chars: 12 }
    }

    fn lookup(url: &str) -> Result<Lookup, String> {
        let arguments = [("account", ArgumentKind::Digits), ("name", ArgumentKind::Text)];
        let config = LookupConfig {
            name: "balance",
            description: "d".into(),
            method: Method::GET,
            url: url.into(),
            headers: Vec::new(),
            arguments: arguments.map(|(name, kind)| (name.to_owned(), argument(kind))).into(),
            timeout: Duration::from_secs(1),
            most_bytes: 1_000,
            pointer: Some("/a/0".into()),
        };
        Lookup::new(config, Web::new(None).expect("there is somebody to trust"))
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn arguments_stay_in_their_places_whatever_they_are() {
        let lookup = lookup("https://bank.example:8443/v1/{name}/x?id={account}&y=1").expect("right");
        let fill = |name: &str| lookup.url.fill(&map(json!({ "name": name, "account": "12" })));
        assert_eq!(fill("anna").unwrap().as_str(), "https://bank.example:8443/v1/anna/x?id=12&y=1");
        for (name, place) in [
            ("../../admin", "..%2F..%2Fadmin"),
            ("a/b?c=d#e", "a%2Fb%3Fc%3Dd%23e"),
            ("@evil.example", "%40evil.example"),
            ("ä %2e", "%C3%A4%20%252e"),
        ] {
            assert_eq!(
                fill(name).unwrap().as_str(),
                format!("https://bank.example:8443/v1/{place}/x?id=12&y=1")
            );
        }
        assert!(fill("..").is_err() && fill(".").is_err());
    }

    #[test]
    fn the_host_is_not_for_models_to_choose() {
        for wrong in [
            "https://{name}/x",
            "https://bank.example{name}/",
            "ftp://x/",
            "https://a@b/{name}",
            "bank/{name}",
        ] {
            assert!(lookup(wrong).is_err(), "{wrong}");
        }
        assert!(lookup("https://bank.example/{other}").is_err(), "it was not declared");
    }

    #[test]
    fn arguments_have_the_declared_types() {
        let lookup = lookup("https://bank.example/{account}").expect("right");
        let check = |arguments: Value| lookup.check(&map(arguments));
        assert_eq!(check(json!({ "account": "0012", "name": "x" })), Ok(()));
        for wrong in [
            json!({ "account": "12a", "name": "x" }),
            json!({ "account": 12, "name": "x" }),
            json!({ "account": "1", "name": "x".repeat(13) }),
            json!({ "name": "x" }),
            json!({ "account": "1", "name": "x", "url": "http://evil" }),
        ] {
            assert!(check(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(lookup.answer(br#"{"a":[{"b":1}]}"#).as_deref(), Ok(r#"{"b":1}"#));
        assert!(lookup.answer(b"{}").is_err() && lookup.answer(b"<html>").is_err());
    }
}
