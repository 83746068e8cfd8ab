//! An agent's TOML file, as it is written. What is checked beyond its form is in [`build`](super::build).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::AgentError;
use crate::bot::Endpointing;
use crate::bot::tools::sections::{LookupSection, McpSection, ToolsSection};
use crate::secret::Secret;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub agent: AgentSection,
    #[serde(default)]
    pub listen: ListenSection,
    /// The models by name.
    pub service: BTreeMap<String, ServiceSection>,
    #[serde(default)]
    pub limits: LimitsSection,
    #[serde(default)]
    pub tools: ToolsSection,
    #[serde(default)]
    pub lookup: BTreeMap<String, LookupSection>,
    #[serde(default)]
    pub mcp: BTreeMap<String, McpSection>,
}

/// `[agent]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentSection {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default = "english")]
    pub language: String,
    #[serde(default)]
    pub voice: Option<String>,
    /// A file with the system prompt, or the prompt itself.
    #[serde(default)]
    pub prompt: Option<PathBuf>,
    #[serde(default)]
    pub instructions: Option<String>,
    /// The first sentence; without it the model greets.
    #[serde(default)]
    pub greeting: Option<String>,
    /// Names under `[service]`, in the order in which they are asked.
    pub models: OneOrMore,
    #[serde(default = "fillers")]
    pub fillers: Vec<String>,
    #[serde(default = "ms::<700>")]
    pub filler_after_ms: u64,
    #[serde(default = "ms::<1100>")]
    pub filler_again_ms: u64,
    /// Said when no model answers, before the call ends as `failure` says.
    #[serde(default = "apology")]
    pub apology: String,
    #[serde(default)]
    pub failure: Ending,
    /// So many replies in a row may fail.
    #[serde(default = "two")]
    pub failures: u32,
    #[serde(default = "goodbye")]
    pub goodbye: String,
    /// Whether the model is asked at the caller's pause, before it is sure that he is done.
    #[serde(default = "yes")]
    pub speculate: bool,
    #[serde(default)]
    pub barge_in: Interrupt,
    #[serde(default)]
    pub protected_ms: u64,
}

/// What may interrupt an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Interrupt {
    #[default]
    VoiceAndKeys,
    Voice,
    Keys,
    Never,
}

/// One name, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::More(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// How a call ends: something said, and then a transfer, the dialplan, or the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ending {
    pub say: Option<String>,
    /// A destination by name.
    pub transfer: Option<String>,
    /// To the dialplan, behind `Stasis()`.
    pub leave: bool,
}

/// `[listen]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenSection {
    /// A grammar, for recognisers that take no open questions.
    pub understands: Option<PathBuf>,
    pub endpointing: Endpointing,
    pub no_input_ms: u64,
    pub max_speech_ms: u64,
    pub no_input: Vec<String>,
    pub no_match: Vec<String>,
    /// Silences and misunderstandings in a row before the call is given up.
    pub tries: u32,
    pub give_up: Ending,
    pub keys: Keys,
    pub inter_digit_ms: u64,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self {
            understands: None,
            endpointing: Endpointing::Balanced,
            no_input_ms: 7_000,
            max_speech_ms: 30_000,
            no_input: vec!["Are you still there?".into(), "I cannot hear you.".into()],
            no_match: vec!["Sorry, I did not get that.".into(), "Sorry, could you say that again?".into()],
            tries: 3,
            give_up: Ending {
                say: Some("I cannot hear you, so I will hang up now. Goodbye.".into()),
                ..Ending::default()
            },
            keys: Keys::Number,
            inter_digit_ms: 2_500,
        }
    }
}

/// What keys mean to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Keys {
    Ignore,
    One,
    Number,
}

/// `[service.NAME]`: a language model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceSection {
    pub kind: Kind,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub key: Option<Secret>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub key_env: Option<String>,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default = "tokens")]
    pub max_tokens: u32,
    #[serde(default = "ms::<4000>")]
    pub first_ms: u64,
    #[serde(default = "ms::<3000>")]
    pub stall_ms: u64,
    #[serde(default = "ms::<60000>")]
    pub whole_ms: u64,
    /// What a million tokens of requests and of replies cost.
    #[serde(default)]
    pub price_in: f64,
    #[serde(default)]
    pub price_out: f64,
    /// More keys of the request's body.
    #[serde(default)]
    pub extra: toml::Table,
}

/// What a model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    #[serde(rename = "openai")]
    OpenAi,
    Anthropic,
    /// The one in this process, which needs no key and knows little.
    StandIn,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    pub turns: u32,
    pub tokens: u64,
    pub cost: Option<f64>,
    pub seconds: u64,
    /// For each limit that has no ending of its own.
    pub ending: Ending,
    pub turns_ending: Option<Ending>,
    pub tokens_ending: Option<Ending>,
    pub cost_ending: Option<Ending>,
    pub seconds_ending: Option<Ending>,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            turns: 60,
            tokens: 200_000,
            cost: None,
            seconds: 900,
            ending: Ending {
                say: Some("I am sorry, I have to end this call now. Goodbye.".into()),
                ..Ending::default()
            },
            turns_ending: None,
            tokens_ending: None,
            cost_ending: None,
            seconds_ending: None,
        }
    }
}

fn english() -> String {
    "en".into()
}

const fn yes() -> bool {
    true
}

const fn two() -> u32 {
    2
}

const fn ms<const MS: u64>() -> u64 {
    MS
}

const fn tokens() -> u32 {
    400
}

fn fillers() -> Vec<String> {
    ["One moment, please.", "I am still looking.", "It takes a little longer."].map(String::from).to_vec()
}

fn apology() -> String {
    "I am sorry, something went wrong. Could you say that again?".into()
}

fn goodbye() -> String {
    "I am sorry, I have to go now. Please call again in a minute. Goodbye.".into()
}

impl File {
    /// The most bytes of an agent's file.
    const MOST: u64 = 256 * 1_024;

    /// Reads a file. Blocking: for the start.
    pub fn load(path: &Path) -> Result<Self, AgentError> {
        let unreadable =
            |why: String| AgentError(format!("{}: the agent cannot be read: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > Self::MOST {
            return Err(unreadable(format!("it has {size} bytes; expected at most {}", Self::MOST)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file that errors call `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, AgentError> {
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            AgentError(format!("{}:{line}: {}", path.display(), error.message().trim()))
        })
    }
}
