//! What a bot's file says of its tools.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::lookup::ArgumentKind;
use crate::secret::Secret;

/// `[tools]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::bot) struct ToolsSection {
    /// The verbs of the call that it may use.
    pub verbs: Vec<VerbName>,
    /// Where it may transfer to: names of destinations.
    pub destinations: Vec<String>,
    /// What a person is told before he gets a caller, with `{reason}`: the transfer is attended then.
    pub announce: Option<String>,
    /// The channel variables that it may set.
    pub variables: Vec<String>,
    pub timeout_ms: u64,
    pub rounds: usize,
    pub most_bytes: usize,
}

impl Default for ToolsSection {
    fn default() -> Self {
        Self {
            verbs: vec![VerbName::HangUp],
            destinations: Vec::new(),
            announce: None,
            variables: Vec::new(),
            timeout_ms: 8_000,
            rounds: 5,
            most_bytes: 3_000,
        }
    }
}

/// A verb of the call, by its name as a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bot) enum VerbName {
    HangUp,
    Transfer,
    SendKeys,
    SetVariable,
    Leave,
    Record,
    OptOut,
}

/// `[lookup.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bot) struct LookupSection {
    pub description: String,
    #[serde(default = "get")]
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    #[serde(default)]
    pub key: Option<Secret>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub key_env: Option<String>,
    #[serde(default = "bearer")]
    pub key_scheme: String,
    #[serde(default)]
    pub arguments: BTreeMap<String, ArgumentSection>,
    #[serde(default = "ms::<5000>")]
    pub timeout_ms: u64,
    #[serde(default = "answer_bytes")]
    pub most_bytes: usize,
    #[serde(default)]
    pub pointer: Option<String>,
}

/// `[lookup.NAME.arguments.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bot) struct ArgumentSection {
    #[serde(rename = "type")]
    pub kind: ArgumentKind,
    #[serde(default)]
    pub description: String,
    #[serde(default = "yes")]
    pub required: bool,
    #[serde(default)]
    pub one_of: Vec<String>,
    #[serde(default = "argument_chars")]
    pub max_chars: usize,
}

/// `[mcp.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bot) struct McpSection {
    /// A program and its arguments, which speaks MCP over its standard input and output.
    #[serde(default)]
    pub command: Vec<String>,
    /// Or an address that speaks it over streamable HTTP.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub key: Option<Secret>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub key_env: Option<String>,
    /// Variables of the program's environment, beside PATH and HOME.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The tools that may be used.
    pub allow: Vec<String>,
    #[serde(default = "ms::<10000>")]
    pub start_ms: u64,
    #[serde(default = "ms::<5000>")]
    pub timeout_ms: u64,
}

const fn yes() -> bool {
    true
}

const fn ms<const MS: u64>() -> u64 {
    MS
}

const fn answer_bytes() -> usize {
    64 * 1_024
}

const fn argument_chars() -> usize {
    100
}

fn get() -> String {
    "GET".into()
}

fn bearer() -> String {
    "Bearer".into()
}
