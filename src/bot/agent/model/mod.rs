//! Language models, streamed: what is asked of them, and what they say piece by piece.
//!
//! - [`sse`]: events out of bytes, bounded whatever comes;
//! - [`openai`]: the chat completions of OpenAI, which llama.cpp, vLLM, Ollama and many others speak too;
//! - [`anthropic`]: the messages of Anthropic;
//! - [`http`]: both over HTTP, with a deadline for everything;
//! - [`chain`]: several of them, one after the other.
//!
//! A protocol is deciding code without I/O: a request becomes a body, an event becomes [`Piece`]s. Dropping a stream closes
//! its connection, and with that the model stops. What was asked never comes into an error.

use std::pin::Pin;

use futures_util::Stream;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::bot::tools::{ToolCall, ToolSpec};
use crate::service::{Key, ServiceError};

pub mod anthropic;
pub mod chain;
pub mod http;
pub mod openai;
pub mod sse;

/// Who says something in a dialog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "who", rename_all = "snake_case")]
pub enum Message {
    /// The caller, or what happens on the call.
    Caller {
        /// What.
        text: String,
    },
    /// The bot: what was heard of what it said, and the tools that it asked for.
    Bot {
        /// What it said; may be empty.
        text: String,
        /// Each has its [`Message::Result`] behind this one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<ToolCall>,
    },
    /// What a tool has to say.
    Result {
        /// [`ToolCall::id`].
        call: String,
        /// Its answer.
        text: String,
        /// Whether it failed.
        #[serde(default)]
        failed: bool,
    },
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// Who it is, and what it shall do.
    pub system: String,
    /// The dialog so far.
    pub messages: Vec<Message>,
    /// What it can use.
    pub tools: Vec<ToolSpec>,
}

/// What a model says, as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that follows what came before.
    Text(String),
    /// A tool that it wants to be used, complete.
    Call(ToolCall),
    /// What it cost: as told so far, the last one counts.
    Usage(Usage),
    /// It stopped at the length that it was allowed.
    Cut,
}

/// What a reply cost, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub input: u64,
    /// Tokens of the reply.
    pub output: u64,
}

/// Pieces as they come. An error is the last item; dropping it stops the model.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Piece, ServiceError>> + Send>>;

/// A language model. Any thread, many calls at once.
pub trait Model: Send + Sync {
    /// Its name, as in the configuration.
    fn name(&self) -> &'static str;

    /// Asks it. Nothing happens until the stream is polled.
    fn ask(&self, request: &Request) -> Pieces;

    /// What a million tokens of requests and of replies cost.
    fn price(&self) -> (f64, f64) {
        (0.0, 0.0)
    }
}

/// The most tools that a model may want at once.
const MOST_CALLS: usize = 16;

/// The most that all their arguments may have together, in bytes.
const MOST_ARGUMENTS: usize = 64 * 1_024;

/// The most text of one reply, in bytes: some minutes of speech.
const MOST_TEXT: usize = 32 * 1_024;

/// Tool calls that come in fragments, put together.
#[derive(Debug, Default)]
struct Fragments {
    calls: Vec<(u64, ToolCall)>,
    bytes: usize,
}

impl Fragments {
    /// Adds to the call of this index; the name and id may come with any fragment. What is wrong, if something is.
    fn add(
        &mut self,
        index: u64,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
    ) -> Result<(), String> {
        self.bytes += arguments.len() + name.map_or(0, str::len) + id.map_or(0, str::len);
        if self.bytes > MOST_ARGUMENTS {
            return Err(format!("arguments of more than {MOST_ARGUMENTS} bytes"));
        }
        if !self.calls.iter().any(|(known, _)| *known == index) {
            if self.calls.len() == MOST_CALLS {
                return Err(format!("more than {MOST_CALLS} tools at once"));
            }
            let call = ToolCall { id: String::new(), name: String::new(), arguments: String::new() };
            self.calls.push((index, call));
        }
        let Some((_, call)) = self.calls.iter_mut().find(|(known, _)| *known == index) else {
            return Ok(());
        };
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            id.clone_into(&mut call.id);
        }
        // Some servers repeat the name with every fragment, some tell it in parts: the whole one is said first.
        if let Some(name) = name.filter(|name| !name.is_empty() && call.name.is_empty()) {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(arguments);
        Ok(())
    }

    /// The calls in the order of their indices; those without a name are dropped, one without an id is given one.
    fn finish(&mut self) -> Vec<Piece> {
        let mut calls = std::mem::take(&mut self.calls);
        calls.sort_by_key(|(index, _)| *index);
        calls.retain(|(_, call)| !call.name.is_empty());
        let named = calls.into_iter().map(|(index, mut call)| {
            if call.id.is_empty() {
                call.id = format!("call_{index}");
            }
            Piece::Call(call)
        });
        named.collect()
    }
}

/// A text cut to what a log line bears, without line breaks.
fn short(text: &str) -> String {
    text.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One protocol's way of asking and of reading replies.
pub trait Protocol: Send + Sync + 'static {
    /// What comes behind the base URL.
    fn path(&self) -> &'static str;

    /// Headers beside the content type.
    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)>;

    /// The body of a request.
    fn body(&self, request: &Request, how: &How) -> Value;

    /// A reader of one reply.
    fn reader(&self) -> Box<dyn Reader>;
}

/// Reads the events of one reply.
pub trait Reader: Send {
    /// What an event says.
    ///
    /// # Errors
    /// What is wrong with it, in a few words: it cannot be read, or it tells of an error.
    fn event(&mut self, event: &sse::Event) -> Result<Vec<Piece>, Fault>;

    /// Whether the reply is complete: what still comes is of no use.
    fn is_over(&self) -> bool;

    /// The connection has ended.
    ///
    /// # Errors
    /// When the reply was not complete.
    fn end(&mut self) -> Result<Vec<Piece>, Fault>;
}

/// Why a reply cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not what the protocol says.
    Garbled(String),
    /// The model tells of an error.
    Told(String),
    /// The connection ended before the reply did.
    Ended,
}

/// How a model is asked, beside what it is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct How {
    /// The service's name of the model.
    pub model: String,
    /// From 0 (always the same) on; [`None`] for the service's own.
    pub temperature: Option<f64>,
    /// The longest reply, in tokens.
    pub max_tokens: u32,
    /// More keys of the body, as they are.
    pub extra: serde_json::Map<String, Value>,
}
