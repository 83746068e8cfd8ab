//! What a flow does besides talking: it transfers, looks up, sets variables, presses keys, plays Asterisk's sounds, records.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Part;
use crate::call::{Call, CallError, Prompt, Transfer, Transferred};
use crate::service::{ServiceError, Web};

/// The most that is read of what a service answers, in bytes.
const LARGEST_ANSWER: usize = 64 * 1_024;

/// Something to be done, with its variables filled in.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Transfers the caller to a destination of the configuration.
    Transfer {
        /// Its name.
        to: String,
        /// What who answers is told, when he is to take the call by a key; [`None`]: he has it when he answers.
        announce: Option<Vec<Part>>,
    },
    /// Asks a service over HTTP.
    LookUp {
        /// Where.
        url: reqwest::Url,
        /// What is added to the address as a query.
        query: Vec<(String, String)>,
        /// Variables of the flow, and where in the answer their values are (JSON pointers, RFC 6901).
        into: Vec<(String, String)>,
        /// How long it may take.
        timeout: Duration,
    },
    /// Sets variables of the caller's channel.
    SetVariables(Vec<(String, String)>),
    /// Presses keys at the far end.
    SendKeys(String),
    /// Plays a sound that Asterisk has.
    PlaySound(String),
    /// Begins to record, under this name, for at most so many seconds (0: without a limit).
    Record {
        /// The recording's name.
        name: String,
        /// The longest.
        max_seconds: u32,
    },
    /// Ends what was begun with [`Record`](Self::Record).
    StopRecording,
    /// Promises to call the caller back after so long.
    CallBack(Duration),
    /// Nobody calls the other side again.
    OptOut,
    /// Sends a text message to a destination of the configuration.
    Message {
        /// Its name.
        to: String,
        /// The text.
        text: String,
    },
}

/// What came of it.
pub(super) enum Came {
    /// It is done; these variables of the flow are set.
    Done(BTreeMap<String, String>),
    /// It could not be done, and the caller is here.
    NotDone,
    /// The caller is with somebody else: the flow is over.
    Left,
}

/// Does it.
pub(super) async fn perform(
    call: &mut Call,
    deed: &Deed,
    voice: Option<&String>,
    web: Option<&Web>,
) -> Result<Came, CallError> {
    let done = match deed {
        Deed::Transfer { to, announce } => return transfer(call, to, announce.as_deref(), voice).await,
        Deed::LookUp { url, query, into, timeout } => {
            let Some(web) = web else {
                tracing::error!(call = %call.id(), "the flow looks something up, and its bot was given no way to services");
                return Ok(Came::NotDone);
            };
            return Ok(look_up(call, web, url, query, into, *timeout).await);
        }
        Deed::SetVariables(variables) => {
            let mut set = Ok(());
            for (name, value) in variables {
                set = call.set_variable(name, value).await;
                if set.is_err() {
                    break;
                }
            }
            set
        }
        Deed::SendKeys(keys) => call.send_keys(keys).await,
        Deed::PlaySound(sound) => call.play_sound(sound).await,
        Deed::Record { name, max_seconds } => call.start_recording(name, *max_seconds).await,
        Deed::StopRecording => call.stop_recording().await,
        Deed::CallBack(after) => call.call_back(*after),
        Deed::OptOut => {
            call.opt_out();
            Ok(())
        }
        Deed::Message { to, text } => call.message(to, text).await,
    };
    match done {
        Ok(()) => Ok(Came::Done(BTreeMap::new())),
        Err(error) if error.is_end() => Err(error),
        Err(error) => {
            tracing::warn!(call = %call.id(), %error, "a step could not do its work");
            Ok(Came::NotDone)
        }
    }
}

async fn transfer(
    call: &mut Call,
    to: &str,
    announce: Option<&[Part]>,
    voice: Option<&String>,
) -> Result<Came, CallError> {
    let how = match announce {
        None => Transfer::Blind,
        Some(parts) => Transfer::Attended {
            announce: Prompt {
                parts: super::driver::call_parts(parts),
                voice: voice.cloned(),
                ..Prompt::default()
            },
        },
    };
    match call.transfer(to, how).await {
        Ok(Transferred::Done) => Ok(Came::Left),
        Ok(Transferred::NotTaken(_)) => Ok(Came::NotDone),
        Err(error) if error.is_end() => Err(error),
        Err(error) => {
            tracing::warn!(call = %call.id(), to, %error, "a transfer could not be made");
            Ok(Came::NotDone)
        }
    }
}

async fn look_up(
    call: &Call,
    web: &Web,
    url: &reqwest::Url,
    query: &[(String, String)],
    into: &[(String, String)],
    timeout: Duration,
) -> Came {
    const SERVICE: &str = "look_up";
    let asking = async {
        let answer = web.send(SERVICE, web.http().get(url.clone()).query(query), timeout).await?;
        let body = web.read(SERVICE, answer, LARGEST_ANSWER).await?;
        serde_json::from_slice::<serde_json::Value>(&body)
            .map_err(|error| ServiceError::Protocol { service: SERVICE, what: error.to_string() })
    };
    let late = ServiceError::Timeout { service: SERVICE, what: "answer", after: timeout };
    match tokio::time::timeout(timeout, asking).await.unwrap_or(Err(late)) {
        Ok(answer) => {
            let value = |pointer: &str| match answer.pointer(pointer) {
                None | Some(serde_json::Value::Null) => String::new(),
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            Came::Done(into.iter().map(|(name, pointer)| (name.clone(), value(pointer))).collect())
        }
        Err(error) => {
            let host = url.host_str().unwrap_or_default();
            tracing::warn!(call = %call.id(), host, %error, "a look-up failed");
            Came::NotDone
        }
    }
}
