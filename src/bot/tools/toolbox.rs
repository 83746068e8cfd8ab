//! The tools of a bot out of its file: everything that calls could run into is told at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::lookup::{Argument, Lookup, LookupConfig};
use super::mcp::{McpServer, Reach};
use super::sections::{LookupSection, McpSection, ToolsSection, VerbName};
use super::verbs::{Place, Verb};
use super::{Tools, is_name};
use crate::policy::Destination;
use crate::secret::Secret;
use crate::service::{Key, Web, named};

/// What tools are made with.
pub(in crate::bot) struct Toolbox<'a> {
    /// The folder of the bot's file, which paths in it are relative to.
    pub folder: &'a Path,
    /// Those of the configuration.
    pub destinations: &'a [Destination],
    /// The way to services.
    pub web: &'a Web,
    /// What `http://stand-in` is in the addresses of look-ups.
    pub stand_in: Option<String>,
}

impl Toolbox<'_> {
    /// The tools that a file declares, MCP servers started, and the places that it may transfer to.
    ///
    /// # Errors
    /// What is wrong, in one sentence that names the section.
    pub async fn fill(
        &self,
        section: &ToolsSection,
        lookups: &BTreeMap<String, LookupSection>,
        servers: &BTreeMap<String, McpSection>,
    ) -> Result<(Tools, Vec<Place>), String> {
        let mut tools = Tools::new(section.most_bytes.clamp(100, 16_000));
        let mut places = Vec::new();
        for verb in &section.verbs {
            let verb = match verb {
                VerbName::HangUp => Verb::HangUp,
                VerbName::SendKeys => Verb::SendKeys,
                VerbName::Leave => Verb::Leave,
                VerbName::Record => Verb::Record,
                VerbName::OptOut => Verb::OptOut,
                VerbName::SetVariable => {
                    if section.variables.is_empty() {
                        return Err(
                            "[tools]: `set_variable` needs `variables`, the names that may be set".into()
                        );
                    }
                    Verb::SetVariable(section.variables.clone())
                }
                VerbName::Transfer => {
                    places = self.places(&section.destinations)?;
                    Verb::Transfer(places.clone())
                }
            };
            tools.add_verb(verb)?;
        }
        for (name, section) in lookups {
            let lookup = self.lookup(name, section)?;
            tools.add_lookup(Arc::new(lookup))?;
        }
        for (name, section) in servers {
            let server = self.mcp(name, section)?;
            let timeout = Duration::from_millis(section.timeout_ms);
            for spec in server.tools(&section.allow).await? {
                let tool = spec.name.clone();
                tools.add_mcp(spec, &server, &tool, timeout)?;
            }
        }
        Ok((tools, places))
    }

    /// The destinations that the file names; each has to be one of the configuration's.
    fn places(&self, names: &[String]) -> Result<Vec<Place>, String> {
        if names.is_empty() {
            return Err(
                "[tools]: `transfer` needs `destinations`, names of those in the configuration ([destination.NAME])"
                    .into(),
            );
        }
        let place = |name: &String| {
            let found = self.destinations.iter().find(|known| known.name == *name).ok_or_else(|| {
                let known: Vec<_> = self.destinations.iter().map(|known| known.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("[tools]: there is no [destination.{name}] in the configuration: there are {known}")
            })?;
            Ok(Place { name: name.clone(), description: found.description.clone() })
        };
        names.iter().map(place).collect()
    }

    fn lookup(&self, name: &str, section: &LookupSection) -> Result<Lookup, String> {
        let here = |what: String| format!("[lookup.{name}]: {what}");
        if !is_name(name) {
            return Err(here("its name has letters, digits, _ and -, at most 64".into()));
        }
        let method = Method::from_bytes(section.method.as_bytes()).ok();
        let method =
            method.filter(|method| ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()));
        let method = method.ok_or_else(|| here("`method` is GET, POST, PUT, PATCH or DELETE".into()))?;
        let mut headers = Vec::new();
        for (name, value) in &section.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_str(value.reveal()).ok();
            let (Some(header), Some(mut value)) = (header, value) else {
                return Err(here(format!(
                    "`{name}` is no header, or its value has characters that none may have"
                )));
            };
            value.set_sensitive(true);
            headers.push((header, value));
        }
        let key = self
            .key(
                section.key.as_ref(),
                section.key_file.as_ref(),
                section.key_env.as_deref().unwrap_or_default(),
            )
            .map_err(here)?;
        if section.key_env.is_some() && key.is_none() {
            return Err(here("the variable that `key_env` names is not set".into()));
        }
        if let Some(value) = key.as_ref().and_then(|key| key.header(&section.key_scheme)) {
            headers.push((reqwest::header::AUTHORIZATION, value));
        }
        let arguments = section.arguments.iter().map(|(name, argument)| {
            let argument = Argument {
                kind: argument.kind,
                description: argument.description.clone(),
                required: argument.required,
                one_of: argument.one_of.clone(),
                max_chars: argument.max_chars.clamp(1, 2_000),
            };
            (name.clone(), argument)
        });
        let url = match (section.url.strip_prefix("http://stand-in"), &self.stand_in) {
            (Some(path), Some(base)) => format!("{base}{path}"),
            _ => section.url.clone(),
        };
        let config = LookupConfig {
            name: named(name),
            description: section.description.clone(),
            method,
            url,
            headers,
            arguments: arguments.collect(),
            timeout: Duration::from_millis(section.timeout_ms),
            most_bytes: section.most_bytes.clamp(1, 1 << 20),
            pointer: section.pointer.clone(),
        };
        Lookup::new(config, self.web.clone()).map_err(here)
    }

    fn mcp(&self, name: &str, section: &McpSection) -> Result<Arc<McpServer>, String> {
        let here = |what: String| format!("[mcp.{name}]: {what}");
        let reach = match (&section.url, section.command.is_empty()) {
            (None, false) => Reach::Program { command: section.command.clone(), env: section.env.clone() },
            (Some(url), true) => {
                let key = self.key(
                    section.key.as_ref(),
                    section.key_file.as_ref(),
                    section.key_env.as_deref().unwrap_or_default(),
                );
                Reach::Address { url: url.clone(), key: key.map_err(here)? }
            }
            _ => {
                return Err(here(
                    "set `command` to a program and its arguments, or `url` to an address".into(),
                ));
            }
        };
        if section.allow.is_empty() {
            return Err(here("`allow` names no tool: name those that may be used, or write [\"*\"]".into()));
        }
        Ok(McpServer::new(named(name), reach, Duration::from_millis(section.start_ms), self.web.clone()))
    }

    /// The key that a section has, or its file, or a variable of the environment.
    fn key(
        &self,
        key: Option<&Secret>,
        file: Option<&PathBuf>,
        variable: &str,
    ) -> Result<Option<Key>, String> {
        let file = file.map(|path| self.folder.join(path));
        let variables: &[&str] = if variable.is_empty() { &[] } else { &[variable] };
        Key::find(key, file.as_deref(), variables).map_err(|error| error.to_string())
    }
}
