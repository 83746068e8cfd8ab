//! What is said to a service, and what it says. Deciding code: messages in, messages out.

use std::time::Duration;

use serde_json::Value;

use super::config::RealtimeSection;
use crate::bot::tools::{ToolCall, ToolSpec};

/// What a session is to be.
pub(super) struct Setup<'a> {
    pub section: &'a RealtimeSection,
    /// What the model is told to be.
    pub instructions: &'a str,
    pub tools: &'a [ToolSpec],
    /// What was said before, where a connection was lost: by the bot, and what.
    pub history: &'a [(bool, String)],
}

/// What a service says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// The session is as it was asked for.
    Ready,
    /// An answer has begun.
    Began,
    /// Audio of it: of which item, and as the service codes it.
    Audio { item: String, bytes: Vec<u8> },
    /// Words of it.
    BotText(String),
    /// What the caller said.
    CallerText(String),
    /// Something is to be done.
    Tool(ToolCall),
    /// These are not wanted any more.
    ToolsCancelled(Vec<String>),
    /// The answer is over.
    Done { failed: Option<String> },
    /// So many tokens were used.
    Used(u64),
    /// The connection will end soon.
    GoAway,
    /// By what the session can be gone on with.
    Resume(String),
    /// Something is wrong. Lasting: asking again does not help.
    Error { lasting: bool, what: String },
}

/// How a service codes audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// µ-law, 8 kHz.
    Ulaw,
    /// Linear, the low byte first, at so many samples a second.
    Linear(u32),
}

/// The language of a service.
pub(super) trait Dialect: Send {
    /// What the service hears.
    fn hears(&self) -> Coding;

    /// What it speaks.
    fn speaks(&self) -> Coding;

    /// The first messages of a connection.
    fn setup(&mut self, setup: &Setup<'_>) -> Vec<Value>;

    /// The caller began to speak.
    fn speech_began(&mut self) -> Vec<Value>;

    /// He is saying this.
    fn speech(&mut self, bytes: &[u8]) -> Vec<Value>;

    /// He may be done.
    fn speech_paused(&mut self);

    /// It was nothing.
    fn speech_taken_back(&mut self) -> Vec<Value>;

    /// He is done. What comes next is [`answer`](Self::answer).
    fn speech_ended(&mut self) -> Vec<Value>;

    /// An answer is wanted to what was said.
    fn answer(&mut self) -> Vec<Value>;

    /// The answer under way is not wanted any more.
    fn cancel(&mut self) -> Vec<Value>;

    /// Of that item only so much was heard.
    fn cut(&mut self, item: &str, heard: Duration) -> Vec<Value>;

    /// Something that is told to the model in words, and answered.
    fn text(&mut self, text: &str) -> Vec<Value>;

    /// What came of a tool. All of an answer's are followed by [`answer`](Self::answer).
    fn result(&mut self, call: &ToolCall, output: &str) -> Vec<Value>;

    /// The caller is told that what the model waits for takes long; nothing where the service cannot while it waits.
    fn filler(&mut self) -> Vec<Value>;

    /// What a message says. One that is not understood says nothing.
    fn read(&mut self, text: &str) -> Vec<Told>;
}

/// Text of a message.
pub(super) fn text_of<'a>(message: &'a Value, path: &str) -> &'a str {
    message.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
