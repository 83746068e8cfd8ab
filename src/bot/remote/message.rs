//! What is said between the engine and a program: JSON messages, and nothing that was not asked for.
//!
//! The engine sends [`Event`]s, the program [`Verb`]s. Around each is the call that it belongs to (`call`) and, for verbs, an
//! `id` that the verb's result carries. `docs/remote-protocol.schema.json` is made from these types; a test holds it to them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bot::Endpointing;

/// The version of the protocol that is spoken here. It changes when a program that was right becomes wrong.
pub const VERSION: u32 = 1;

/// The largest text message that is taken, in bytes.
pub const LARGEST_TEXT: usize = 64 * 1_024;

/// What the program calls one of its verbs by: a number, or a text of at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum RequestId {
    /// A number.
    Number(i64),
    /// A text.
    Text(#[cfg_attr(test, schemars(length(max = 64)))] String),
}

impl RequestId {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Self::Number),
            Value::String(text) if text.chars().count() <= 64 => Some(Self::Text(text.clone())),
            _ => None,
        }
    }
}

/// What the engine tells the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A call is there, or, with `resumed`, goes on. The first message about a call; the program says what to do within the
    /// configured time.
    CallStarted(Box<CallStarted>),
    /// To a worker: it is known and gets calls.
    Registered {
        /// The version that the engine speaks.
        version: u32,
        /// The worker's name.
        name: String,
        /// Calls at once that it may get.
        capacity: u32,
    },
    /// The caller began to speak. Audio of what was said just before follows, if the program gets audio.
    SpeechStarted {
        /// When, in milliseconds since `call_started`.
        at_ms: u64,
    },
    /// The caller may be done: the moment to make the reply ready.
    SpeechPaused {
        /// When speech ended, in milliseconds since `call_started`.
        at_ms: u64,
    },
    /// He went on after a pause.
    SpeechResumed {
        /// When, in milliseconds since `call_started`.
        at_ms: u64,
    },
    /// What began was no utterance after all: a cough, an "uh-huh".
    SpeechTakenBack {
        /// When that was decided, in milliseconds since `call_started`.
        at_ms: u64,
    },
    /// The caller is done.
    SpeechEnded {
        /// When speech ended, in milliseconds since `call_started`.
        at_ms: u64,
        /// What decided it: `whole`, `complete`, `settled`, `prosody`, `silence`, `foreign`, `incomplete` or `limit`.
        decided_by: String,
    },
    /// The caller interrupted what was being said.
    Interrupted {
        /// What confirmed it: `key`, `duration`, `level` or `words`.
        by: String,
    },
    /// What the recogniser believes so far.
    Partial {
        /// The words.
        text: String,
    },
    /// The caller pressed a key of an answer.
    Key {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        key: char,
    },
    /// The first audio of what is said has gone out.
    SpeakingStarted {
        /// The verb that says it; none for the engine's own sentences.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// No audio has come from the caller for three seconds.
    AudioLost {},
    /// It comes again.
    AudioBack {},
    /// What came of a verb. Comes once for every verb that has an `id`.
    Result(Box<Outcome>),
    /// A message could not be used. The sentence says what would be accepted.
    Error {
        /// The sentence.
        error: String,
        /// The `id` of the message, if it had one that could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    /// The call is over for the program. The last message about it.
    CallEnded {
        /// `hung_up` (the program asked for it), `left`, `transferred`, `caller_hung_up`, `moved` (somebody took the caller out of the
        /// application), `engine_ended`, `fallback` (the program was too slow or not understood) or `failed`.
        reason: String,
        /// The cause by Q.850, where the caller's side told one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<u16>,
    },
}

/// The facts of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CallStarted {
    /// The version of the protocol that the engine speaks.
    pub version: u32,
    /// Whether the program, or another one of the same bot, had this call before: it goes on from `state`.
    pub resumed: bool,
    /// What the program saved last by `checkpoint`; null at the beginning.
    pub state: Value,
    /// The bot's name in the configuration.
    pub bot: String,
    /// Whether we called.
    pub outbound: bool,
    /// Whether the call has been answered.
    pub answered: bool,
    /// The caller's number as Asterisk shows it; empty when withheld. For an outbound call, the number called.
    pub caller: String,
    /// The number he dialled.
    pub called: String,
    /// The arguments of `Stasis()` after the bot's name.
    pub args: Vec<String>,
    /// What is known beforehand of who is called: columns of a campaign's list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Where the program may transfer to.
    pub destinations: Vec<Destination>,
    /// Audio in binary messages, both ways.
    pub audio: Audio,
}

/// A place that callers may be transferred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// What `transfer` calls it.
    pub name: String,
    /// Who is there.
    pub description: String,
}

/// How audio is sent, both ways, in binary messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// The number that the binary messages of this call have in their header.
    pub stream: u16,
    /// How it is coded.
    pub encoding: Encoding,
    /// Samples per second.
    pub rate: u32,
    /// What of the caller's is sent.
    pub sends: Sends,
}

/// How audio is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// G.711 µ-law, one byte per sample.
    #[default]
    Ulaw,
    /// Two bytes per sample, signed, the low one first.
    Slin,
}

/// What of the caller's audio a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sends {
    /// Nothing.
    #[default]
    Nothing,
    /// What he says while he is listened to.
    Utterances,
    /// Everything, silence too.
    Everything,
}

/// What came of a verb.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The verb's `id`.
    pub id: RequestId,
    /// The verb.
    pub verb: String,
    /// Whether it was done.
    pub ok: bool,
    /// Why not, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The verb was ended by `stop`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// What was heard of what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// What came of listening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Heard>,
    /// The value that was asked for; null where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// How much the caller heard of what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The words that went out, up to the last that was heard nearly whole.
    pub words: String,
    /// Audio that went out, in milliseconds.
    pub heard_ms: u64,
    /// Whether the caller cut it short.
    pub interrupted: bool,
}

/// What came of listening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Heard {
    /// What was asked for.
    Words {
        /// The words.
        text: String,
        /// What they mean, by the grammar; the words themselves where anything could be said.
        meaning: String,
        /// From 0 to 1.
        confidence: f32,
    },
    /// Keys.
    Keys {
        /// Without the one that ends a number.
        keys: String,
    },
    /// Speech, for a program that recognises itself.
    Voice {},
    /// Speech, but nothing that was asked for.
    NoMatch {},
    /// Nothing.
    NoInput {},
    /// The recogniser failed; the caller is not to blame.
    Failed {
        /// Why, in a sentence.
        error: String,
    },
}

/// What the program wants. Verbs are done one after the other, in the order in which they come, but for `stop` and `audio_end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verb {
    /// Answer the call. Verbs that speak or listen do so by themselves.
    Answer {},
    /// Say something; done when it was heard, or interrupted.
    Say(Say),
    /// Say something and listen for the answer, which may interrupt it.
    Ask(Box<Ask>),
    /// Listen without saying anything first.
    Listen(Listening),
    /// Ask for a number.
    Collect(Box<Collect>),
    /// Play a WAV file of the bot's folder, or a sound of the server's.
    Play(Play),
    /// The audio of the `say` or `ask` with `"audio": true` that was begun last is complete.
    AudioEnd {},
    /// Stop what is being done, and forget what was to be done.
    Stop {},
    /// Transfer the caller to a destination of the configuration, by its name.
    Transfer {
        /// The destination's name.
        to: String,
        /// What is said to whoever answers there, who then accepts by key. Without it the transfer is blind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        announce: Option<Speech>,
    },
    /// Set a variable of the caller's channel.
    SetVariable {
        /// Letters, digits and underscores.
        name: String,
        /// What it shall be.
        value: String,
    },
    /// Read a variable of the caller's channel.
    GetVariable {
        /// Letters, digits and underscores.
        name: String,
    },
    /// Send keys to the caller.
    SendKeys {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        keys: String,
    },
    /// The other side does not want to be called again: no campaign calls the number from now on.
    OptOut {},
    /// Begin or end to record, on the server. What comes of beginning has the recording's name as its `value`.
    Record {
        /// Which.
        action: RecordAction,
    },
    /// Hang up. The last verb of a call.
    HangUp {
        /// What the caller's network is told.
        #[serde(default)]
        cause: HangUpCause,
    },
    /// Leave the caller to the dialplan: at the place given, or behind the `Stasis()` that he came from. The last verb of a call.
    Leave {
        /// Context; none: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
        /// Extension; none: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extension: Option<String>,
        /// Priority, from 1; none: the next, or 1 with another place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<u32>,
        /// Variables to set first.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        variables: BTreeMap<String, String>,
    },
    /// Save what the program needs to go on with the call, should it, or the engine, be started anew.
    Checkpoint {
        /// Anything; at most 16 KiB as JSON.
        state: Value,
        /// The step of the dialog, for records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    /// From a worker: its first message, and again when its capacity changes.
    Register {
        /// The version of the protocol that it speaks.
        version: u32,
        /// Its name, for logs.
        name: String,
        /// Calls at once that it takes; 0 takes no more.
        capacity: u32,
        /// The secret, where it did not come in a header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
}

/// What is said: a text, or several pieces in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Speech {
    /// A text.
    Text(String),
    /// Pieces.
    Pieces(Vec<Piece>),
}

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Piece {
    /// A text.
    Text(String),
    /// A WAV file.
    File {
        /// Its path in the bot's folder.
        file: String,
    },
}

/// By what something that is said may be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InterruptBy {
    /// By nothing.
    Nothing,
    /// By the caller's voice.
    Voice,
    /// By keys.
    Keys,
    /// By both.
    Both,
}

/// How to say something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Say {
    /// What.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Speech>,
    /// In place of `text`: audio that follows in binary messages, to its `audio_end`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audio: bool,
    /// The synthesiser's name of a voice; none: the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// By what it may be interrupted; none: by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<InterruptBy>,
    /// Not in its first milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protect_ms: Option<u32>,
}

/// What to say, and what to listen for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// What to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Speech>,
    /// In place of `text`: audio that follows in binary messages, to its `audio_end`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audio: bool,
    /// The synthesiser's name of a voice; none: the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// By what it may be interrupted; none: by both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<InterruptBy>,
    /// Not in its first milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protect_ms: Option<u32>,
    /// What to listen for.
    pub listen: Listening,
}

/// What to listen for: one of `phrases`, `grammar`, `digits` and `open`, or none of them for a voice that is not understood.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Listening {
    /// What may be said, phrase by phrase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<Phrase>,
    /// The text of a grammar in JSGF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<String>,
    /// So many digits, spoken one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digits: Option<Digits>,
    /// Anything may be said. Takes a recogniser that can do that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Whether a key is an answer, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub key: bool,
    /// How soon the caller is believed to be done; none: `balanced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpointing: Option<Endpointing>,
    /// How long to wait for the caller to begin, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_input_ms: Option<u32>,
    /// How long he may speak, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_speech_ms: Option<u32>,
    /// The language that he answers in, a tag as `de` or `fr-CA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Something that may be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Phrase {
    /// It means its own words.
    Plain(String),
    /// It means something.
    Meaning {
        /// The phrase; JSGF may be used in it: `[the] sales (department | team)`.
        say: String,
        /// What it means.
        means: String,
    },
}

/// How many digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Digits {
    /// So many, 1 to 16.
    Exactly(u8),
    /// Some, 1 to 16.
    Between {
        /// The fewest.
        least: u8,
        /// The most.
        most: u8,
    },
}

/// A number to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// What to say first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Speech>,
    /// The synthesiser's name of a voice; none: the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The fewest and the most digits, 1 to 64 by keys and 1 to 16 by voice.
    pub digits: Digits,
    /// The key that ends a number before it has all its digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminator: Option<char>,
    /// A number ends when no key follows for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inter_digit_ms: Option<u32>,
    /// Whether it may be spoken, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub voice_too: bool,
    /// How long to wait for the caller to begin, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_input_ms: Option<u32>,
}

/// Something to play: one of both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// A WAV file of the bot's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A sound that the server has, by its name: `hello-world`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// By what a file may be interrupted; none: by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<InterruptBy>,
}

/// What to do with the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordAction {
    /// Begin.
    Start,
    /// End.
    Stop,
}

/// What the caller's network is told when we hang up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HangUpCause {
    /// The call is over.
    #[default]
    Normal,
    /// Busy.
    Busy,
    /// No capacity.
    Congestion,
    /// Nobody answered.
    NoAnswer,
    /// Not wanted.
    Rejected,
    /// Something failed.
    Failure,
}

impl Verb {
    /// What it is called in messages.
    pub const NAMES: [&'static str; 18] = [
        "answer",
        "say",
        "ask",
        "listen",
        "collect",
        "play",
        "audio_end",
        "stop",
        "transfer",
        "set_variable",
        "get_variable",
        "send_keys",
        "opt_out",
        "record",
        "hang_up",
        "leave",
        "checkpoint",
        "register",
    ];

    /// The name of this one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Answer {} => "answer",
            Self::Say(_) => "say",
            Self::Ask(_) => "ask",
            Self::Listen(_) => "listen",
            Self::Collect(_) => "collect",
            Self::Play(_) => "play",
            Self::AudioEnd {} => "audio_end",
            Self::Stop {} => "stop",
            Self::Transfer { .. } => "transfer",
            Self::SetVariable { .. } => "set_variable",
            Self::GetVariable { .. } => "get_variable",
            Self::SendKeys { .. } => "send_keys",
            Self::OptOut {} => "opt_out",
            Self::Record { .. } => "record",
            Self::HangUp { .. } => "hang_up",
            Self::Leave { .. } => "leave",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Register { .. } => "register",
        }
    }
}

/// A verb with what is around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What its result carries; without it there is none.
    pub id: Option<RequestId>,
    /// The call, where several share a connection.
    pub call: Option<String>,
    /// What is wanted.
    pub verb: Verb,
}

/// A message that is no request.
#[derive(Debug, Clone, PartialEq)]
pub struct Misread {
    /// Its `id`, as far as it could be read.
    pub id: Option<RequestId>,
    /// Its call.
    pub call: Option<String>,
    /// What is wrong with it, and what would be accepted.
    pub error: String,
}

impl Request {
    /// Reads a text message.
    ///
    /// # Errors
    /// With a sentence for whoever wrote the program.
    pub fn read(text: &str) -> Result<Self, Misread> {
        let misread = |id, call, error: String| Misread { id, call, error };
        let unreadable = |what: &dyn fmt::Display| {
            misread(
                None,
                None,
                format!(
                    "this is no message ({what}): send one JSON object like {{\"verb\": \"say\", \"id\": 1, \"text\": \"Hello\"}}"
                ),
            )
        };
        if text.len() > LARGEST_TEXT {
            return Err(unreadable(&format_args!("it is longer than {LARGEST_TEXT} bytes")));
        }
        let mut message: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let call = message.remove("call").and_then(|call| call.as_str().map(str::to_owned));
        let id = match message.remove("id") {
            None => None,
            Some(id) => match RequestId::read(&id) {
                Some(id) => Some(id),
                None => {
                    let error = "`id` is a number or a text of at most 64 characters".to_owned();
                    return Err(misread(None, call, error));
                }
            },
        };
        let named = message.get("verb").and_then(Value::as_str);
        let names = || Verb::NAMES.join(", ");
        let error = match named {
            None => format!("a message has a `verb`: {}", names()),
            Some(name) if !Verb::NAMES.contains(&name) => {
                let name: String = name.chars().take(40).collect();
                format!("there is no verb `{name}`: there are {}", names())
            }
            Some(name) => {
                let name = name.to_owned();
                match serde_json::from_value(Value::Object(message)) {
                    Ok(verb) => return Ok(Self { id, call, verb }),
                    Err(error) => format!("`{name}` is not like that: {error}"),
                }
            }
        };
        Err(misread(id, call, error))
    }

    /// As a message.
    #[must_use]
    pub fn write(&self) -> String {
        let mut message = serde_json::to_value(&self.verb).unwrap_or_default();
        if let Some(fields) = message.as_object_mut() {
            if let Some(id) = &self.id {
                fields.insert("id".into(), serde_json::to_value(id).unwrap_or_default());
            }
            if let Some(call) = &self.call {
                fields.insert("call".into(), call.clone().into());
            }
        }
        message.to_string()
    }
}

impl Event {
    /// As a message about `call`.
    #[must_use]
    pub fn write(&self, call: Option<&str>) -> String {
        let mut message = serde_json::to_value(self).unwrap_or_default();
        if let (Some(fields), Some(call)) = (message.as_object_mut(), call) {
            fields.insert("call".into(), call.into());
        }
        message.to_string()
    }

    /// Reads a message, as a program does.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<(Option<String>, Self), serde_json::Error> {
        let mut message: Map<String, Value> = serde_json::from_str(text)?;
        let call = message.remove("call").and_then(|call| call.as_str().map(str::to_owned));
        Ok((call, serde_json::from_value(Value::Object(message))?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_verb_is_read_with_what_is_around_it() {
        let request = Request::read(r#"{"verb":"ask","id":"q1","call":"abc","text":["Sales or",{"file":"x.wav"}],"listen":{"phrases":["sales",{"say":"support","means":"2"}],"key":true}}"#)
            .expect("a message");
        assert_eq!(
            (request.id.clone(), request.call.as_deref()),
            (Some(RequestId::Text("q1".into())), Some("abc"))
        );
        let Verb::Ask(ask) = &request.verb else { panic!("{request:?}") };
        assert_eq!((ask.listen.phrases.len(), ask.listen.key), (2, true));
        assert_eq!(Request::read(&request.write()).expect("what was written is read"), request);
    }

    #[test]
    fn what_is_no_message_is_told_what_would_be() {
        let error = |text: &str| Request::read(text).expect_err(text).error;
        assert!(error("hello").contains("\"verb\""));
        assert!(error("[1]").contains("JSON object"));
        assert!(error(r#"{"id":1}"#).contains("hang_up"));
        assert!(error(r#"{"verb":"shout"}"#).contains("no verb `shout`: there are answer, say"));
        let typo = Request::read(r#"{"verb":"say","id":7,"txt":"Hello"}"#).expect_err("a typo");
        assert!(typo.error.contains("txt") && typo.error.contains("text"), "{}", typo.error);
        assert_eq!(typo.id, Some(RequestId::Number(7)), "so that the program knows which");
        assert!(error(r#"{"verb":"say","id":[1]}"#).contains("`id`"));
        assert!(error(r#"{"verb":"collect"}"#).contains("digits"));
        assert!(
            error(&format!("{{\"verb\":\"say\",\"text\":\"{}\"}}", "x".repeat(LARGEST_TEXT)))
                .contains("longer")
        );
    }

    #[test]
    fn an_event_says_which_call_it_is_about() {
        let ended = Event::CallEnded { reason: "caller_hung_up".into(), cause: Some(16) };
        let text = ended.write(Some("abc"));
        assert_eq!(Event::read(&text).expect("a message"), (Some("abc".into()), ended));
    }

    #[test]
    fn every_name_is_that_of_a_verb() {
        for name in Verb::NAMES {
            let told = Request::read(&format!("{{\"verb\":\"{name}\"}}"));
            assert!(
                told.is_ok_and(|request| request.verb.name() == name) || {
                    let error =
                        Request::read(&format!("{{\"verb\":\"{name}\"}}")).expect_err("incomplete").error;
                    error.starts_with(&format!("`{name}` is not like that: missing field"))
                }
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Request::read(&text);
        }

        #[test]
        fn no_object_makes_it_panic(verb in "[a-z_]{1,12}", key in "[a-z_]{1,8}", value in ".{0,40}") {
            let text = serde_json::json!({ "verb": verb, (key): value }).to_string();
            let _ = Request::read(&text);
        }
    }
}
