//! What a model can do beside talking: verbs of the call, look-ups over HTTP, tools of MCP servers.
//!
//! Everything is declared in the bot's file; a model can ask for nothing else. What it writes as arguments is data until it
//! was checked here, and what a tool answers is data for ever. Verbs of the call ([`verbs`]) are carried out by the driver,
//! who holds the call, with [`acts`]; the others (`lookup`, `mcp`) run beside the conversation, with a time-out each.
//! [`sections`] is what a file says of them, and [`toolbox`] makes them of it. [Agents](super::agent) and
//! [speech to speech](super::realtime) have the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(in crate::bot) mod acts;
mod lookup;
mod mcp;
pub(in crate::bot) mod sections;
pub(in crate::bot) mod toolbox;
pub(in crate::bot) mod verbs;

use lookup::Lookup;
use mcp::McpServer;
use verbs::Verb;

/// The most bytes that are told of anything that somebody else said.
pub(in crate::bot) const MOST_DATA: usize = 4 * 1_024;

/// A tool that a model wants to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The model's name of this use.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its arguments, as JSON; what a model wrote, not yet looked at.
    pub arguments: String,
}

/// A tool, as a model is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What it does, and when to use it.
    pub description: String,
    /// A JSON Schema of an object.
    pub parameters: Value,
}

/// The tools of a bot. Shared by all its calls.
pub(in crate::bot) struct Tools {
    kinds: BTreeMap<String, Kind>,
    specs: Vec<ToolSpec>,
    /// The most of an answer that a model is told, in bytes.
    most: usize,
}

/// How a tool is carried out.
#[derive(Clone)]
enum Kind {
    Verb(Verb),
    Lookup(Arc<Lookup>),
    Mcp { server: Arc<McpServer>, tool: String, timeout: Duration },
}

/// Why a tool did not do what was wanted: a sentence for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::bot) struct ToolError(pub String);

impl ToolError {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a call is about, for those who carry it out.
pub(in crate::bot) enum Wanted {
    /// A verb of the call, checked; the driver does it.
    Verb(verbs::Doing),
    /// Something that runs by itself.
    Elsewhere(Elsewhere),
}

/// A tool that runs beside the conversation, its arguments checked.
pub(in crate::bot) struct Elsewhere {
    kind: Kind,
    arguments: Map<String, Value>,
    most: usize,
}

impl Tools {
    /// No tools yet; `most` bytes of an answer are told to a model.
    pub fn new(most: usize) -> Self {
        Self { kinds: BTreeMap::new(), specs: Vec::new(), most }
    }

    /// What models are told of them.
    pub fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Adds a verb of the call.
    ///
    /// # Errors
    /// When there is a tool of its name.
    pub fn add_verb(&mut self, verb: Verb) -> Result<(), String> {
        self.add(verb.spec(), Kind::Verb(verb))
    }

    /// Adds a look-up.
    ///
    /// # Errors
    /// When there is a tool of its name.
    pub fn add_lookup(&mut self, lookup: Arc<Lookup>) -> Result<(), String> {
        self.add(lookup.spec(), Kind::Lookup(lookup))
    }

    /// Adds a tool of an MCP server, which calls it `tool`.
    ///
    /// # Errors
    /// When there is a tool of its name.
    pub fn add_mcp(
        &mut self,
        spec: ToolSpec,
        server: &Arc<McpServer>,
        tool: &str,
        timeout: Duration,
    ) -> Result<(), String> {
        self.add(spec, Kind::Mcp { server: Arc::clone(server), tool: tool.to_owned(), timeout })
    }

    fn add(&mut self, spec: ToolSpec, kind: Kind) -> Result<(), String> {
        if self.kinds.contains_key(&spec.name) {
            return Err(format!("there are two tools with the name `{}`", spec.name));
        }
        self.kinds.insert(spec.name.clone(), kind);
        self.specs.push(spec);
        Ok(())
    }

    /// What a model wants, if it may want it.
    ///
    /// # Errors
    /// One sentence for the model: there is no such tool, or its arguments are wrong.
    pub fn check(&self, call: &ToolCall) -> Result<Wanted, ToolError> {
        let kind = self.kinds.get(&call.name).ok_or_else(|| {
            let known: Vec<_> = self.kinds.keys().map(String::as_str).collect();
            ToolError::new(format!("There is no such tool. There are: {}.", known.join(", ")))
        })?;
        let arguments = match call.arguments.trim() {
            "" | "null" => Map::new(),
            text => match serde_json::from_str(text) {
                Ok(Value::Object(arguments)) => arguments,
                _ => return Err(ToolError::new("The arguments are no JSON object.")),
            },
        };
        match kind {
            Kind::Verb(verb) => verb.check(&arguments).map(Wanted::Verb),
            kind => {
                if let Kind::Lookup(lookup) = kind {
                    lookup.check(&arguments)?;
                }
                Ok(Wanted::Elsewhere(Elsewhere { kind: kind.clone(), arguments, most: self.most }))
            }
        }
    }
}

impl Elsewhere {
    /// Carries it out, for so long at most: what the model is told of it, and whether it failed.
    pub async fn answer(self, most: Duration) -> (String, bool) {
        match tokio::time::timeout(most, self.run()).await {
            Ok(Ok(answer)) => (result(&answer), false),
            Ok(Err(error)) => (error.to_string(), true),
            Err(_) => ("The tool took too long.".to_owned(), true),
        }
    }

    /// Carries it out.
    ///
    /// # Errors
    /// One sentence for the model.
    async fn run(self) -> Result<String, ToolError> {
        let Self { kind, arguments, most } = self;
        let answer = match kind {
            Kind::Lookup(lookup) => lookup.run(&arguments).await?,
            Kind::Mcp { server, tool, timeout } => server.call(&tool, arguments, timeout).await?,
            Kind::Verb(_) => return Err(ToolError::new("This is done by the call itself.")),
        };
        Ok(cut(answer, most))
    }
}

/// A text of at most so many bytes.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Whether a tool may have that name: what all services take.
pub(in crate::bot) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// A text of somebody else, without what could end or feign a mark, and not too long.
pub(in crate::bot) fn data(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        '<' => '‹',
        '>' => '›',
        c if c.is_control() && c != '\n' => ' ',
        c => c,
    });
    let mut out = String::new();
    for c in plain {
        if out.len() + c.len_utf8() > MOST_DATA {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// A tool's answer as a model is given it.
pub(in crate::bot) fn result(text: &str) -> String {
    format!("<data>{}</data>", data(text))
}
