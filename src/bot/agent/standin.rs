//! A stand-in for a language model: a server in this process that speaks OpenAI's chat completions (as of
//! platform.openai.com/docs/api-reference/chat, November 2026) and answers by simple rules, so that an agent can be tried
//! without a key, and measured without a network.
//!
//! It is a front desk's: opening hours, an account's balance by a tool, transfers, goodbyes. It thinks for as long as it is told
//! to, and says so many tokens a second, a word each. It also has the accounts that such an agent looks up:
//! `GET /accounts/NUMBER`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::time::Moment;

/// The largest request, in bytes.
const MOST: usize = 1 << 20;

/// Replies that are remembered.
const REMEMBERED: usize = 256;

/// How fast it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From the request to the first token.
    pub first_token: Duration,
    /// Tokens a second; each is a word.
    pub tokens_per_second: f64,
}

impl Default for Pace {
    /// 200 ms, and 30 a second: a hosted model of middle size.
    fn default() -> Self {
        Self { first_token: Duration::from_millis(200), tokens_per_second: 30.0 }
    }
}

/// A reply that it gave, or was giving.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What it was asked: the request's body.
    pub asked: Value,
    /// When.
    pub at: Moment,
    /// When its first clause was out: at a comma after three words or more, or at the end of a sentence.
    pub first_clause: Option<Moment>,
    /// When it was done, or whoever asked had gone.
    pub ended: Option<Moment>,
    /// Whether whoever asked had gone before it was done.
    pub cut: bool,
}

/// The server. It ends when this is dropped.
pub struct StandIn {
    address: SocketAddr,
    given: Remembered,
    _server: AbortOnDropHandle<()>,
}

type Remembered = Arc<Mutex<Vec<Given>>>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

impl StandIn {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(pace: Pace) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let given = Remembered::default();
        let server = AbortOnDropHandle::new(tokio::spawn(serve(listener, pace, Arc::clone(&given))));
        Ok(Self { address, given, _server: server })
    }

    /// Its base URL as a model's.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/v1", self.base())
    }

    /// Where its accounts are.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The latest replies, oldest first.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        lock(&self.given).clone()
    }
}

fn lock(given: &Remembered) -> std::sync::MutexGuard<'_, Vec<Given>> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, pace: Pace, given: Remembered) {
    // A connection ends with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Small pieces are to leave at once.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let given = Arc::clone(&given);
        connections.spawn(async move {
            let answering = service_fn(move |request| answer(request, pace, Arc::clone(&given)));
            let http = hyper::server::conn::http1::Builder::new();
            // Whoever asked has gone: there is nobody to tell.
            let _ = http.serve_connection(TokioIo::new(stream), answering).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    pace: Pace,
    given: Remembered,
) -> Result<Response<Body>, Infallible> {
    if let Some(account) = request.uri().path().strip_prefix("/accounts/") {
        return Ok(balance(account));
    }
    if !request.uri().path().ends_with("/chat/completions") {
        return Ok(whole(StatusCode::NOT_FOUND, &json!({ "error": { "message": "there is nothing here" } })));
    }
    let body = Limited::new(request.into_body(), MOST).collect().await;
    let asked = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let Some(asked) = asked else {
        return Ok(whole(StatusCode::BAD_REQUEST, &json!({ "error": { "message": "this is no request" } })));
    };
    let reply = reply(&asked);
    let watch = Watch::begin(given, asked);
    let telling = Telling { pieces: pieces(&reply).into(), pace, watch, said: String::new(), begun: false };
    let events = stream::unfold(telling, |mut telling| async move {
        let event = telling.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(event))), telling))
    });
    let response =
        Response::builder().header("content-type", "text/event-stream").header("cache-control", "no-cache");
    Ok(response.body(StreamBody::new(events).boxed_unsync()).unwrap_or_default())
}

fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string())).boxed_unsync()).unwrap_or_default()
}

/// Accounts and balances are made up: there is no bank behind this.
fn balance(account: &str) -> Response<Body> {
    let (euros, cents) = match account {
        "1234" => (256, 40),
        "4711" => (1_204, 15),
        _ if account.len() == 4 && account.bytes().all(|b| b.is_ascii_digit()) && account != "0000" => {
            (87, 60)
        }
        _ => return whole(StatusCode::NOT_FOUND, &json!({ "error": "no such account" })),
    };
    whole(
        StatusCode::OK,
        &json!({ "account": account, "balance": format!("{euros} euros and {cents} cents") }),
    )
}

/// What it says, and the tool that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    text: String,
    call: Option<(String, String)>,
}

impl Reply {
    fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), call: None }
    }

    fn calling(text: &str, tool: &str, arguments: &Value) -> Self {
        Self { text: text.into(), call: Some((tool.into(), arguments.to_string())) }
    }
}

/// The rules.
fn reply(asked: &Value) -> Reply {
    let messages = asked["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = messages.last().cloned().unwrap_or_default();
    let words = last["content"].as_str().unwrap_or_default().to_lowercase();
    if last["role"] == "tool" {
        let told = words.trim_start_matches("<data>").trim_end_matches("</data>").to_owned();
        return match told.contains("euro") {
            true => Reply::say(format!(
                "Thank you for waiting. Your balance is {told}. Can I do anything else for you?"
            )),
            false => Reply::say("I am sorry, that did not work. Can I do anything else for you?"),
        };
    }
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let tool = |name: &str| {
        let tools = asked["tools"].as_array()?;
        tools.iter().map(|tool| &tool["function"]).find(|tool| tool["name"] == name)
    };
    if words.starts_with("<call>") {
        return Reply::say("Hello, this is the front desk. What can I do for you?");
    }
    let digits: String = numbers(&words);
    if has(&["balance", "account", "money"]) || digits.len() == 4 {
        return match (tool("account_balance"), digits.len()) {
            (Some(_), 4) => Reply::calling(
                "Let me look that up for you.",
                "account_balance",
                &json!({ "account": digits }),
            ),
            (Some(_), _) => Reply::say(
                "Certainly, I can look that up. What is your account number, please? It has 4 digits.",
            ),
            (None, _) => Reply::say("I am sorry, I cannot see accounts from here."),
        };
    }
    if let Some(place) = tool("transfer").and_then(|tool| {
        let names = tool["parameters"]["properties"]["destination"]["enum"].as_array()?;
        names.iter().filter_map(Value::as_str).find(|name| words.contains(&name.to_lowercase()))
    }) {
        let text = format!("Of course, I connect you with {place} now. One moment, please.");
        return Reply::calling(&text, "transfer", &json!({ "destination": place }));
    }
    if has(&["goodbye", "bye", "that is all", "nothing else"]) {
        let text = "Thank you for calling. Goodbye.";
        return if tool("hang_up").is_some() {
            Reply::calling(text, "hang_up", &json!({}))
        } else {
            Reply::say(text)
        };
    }
    if has(&["hours", "open"]) {
        return Reply::say(
            "We are open from Monday to Friday, 9 to 5. On Saturdays and Sundays we are closed. Anything else?",
        );
    }
    if has(&["story", "tell me", "about"]) {
        return Reply::say(STORY);
    }
    Reply::say(
        "Well, let me see what I can do. I know our opening hours, and I can look up the balance of your account. What would you like?",
    )
}

const STORY: &str = "With pleasure, there is a lot to tell. This house was built in 1890 by a family of clock makers. \
    They lived on the first floor, and their workshop was below. Every morning they wound forty clocks, one after the other. \
    In the garden there was a walnut tree, and under it they sold what they had made. Later the house became a school, and \
    then an office, and today it is where we answer the telephone. What else would you like to know?";

/// The digits of a text, written or spoken.
fn numbers(words: &str) -> String {
    const NAMES: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let digits = words.split(|c: char| !c.is_alphanumeric()).flat_map(|word| {
        let named = NAMES.iter().position(|name| *name == word).map(|digit| digit.to_string());
        let written = word.bytes().all(|b| b.is_ascii_digit()).then(|| word.to_owned());
        named.or(written)
    });
    digits.collect()
}

/// A reply as the events of its stream.
fn pieces(reply: &Reply) -> Vec<(String, Value)> {
    let choice = |delta: Value, why: Option<&str>| {
        json!({ "object": "chat.completion.chunk", "model": "stand-in",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": why }] })
    };
    let mut pieces = vec![(String::new(), choice(json!({ "role": "assistant", "content": "" }), None))];
    for (n, word) in reply.text.split_whitespace().enumerate() {
        let token = if n == 0 { word.to_owned() } else { format!(" {word}") };
        pieces.push((token.clone(), choice(json!({ "content": token }), None)));
    }
    if let Some((name, arguments)) = &reply.call {
        let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
            let function = json!({ "name": name, "arguments": arguments });
            choice(
                json!({ "tool_calls": [{ "index": 0, "id": id, "type": "function", "function": function }] }),
                None,
            )
        };
        pieces.push((String::new(), call(Some("call_1"), Some(name), "")));
        let half = arguments.len() / 2;
        for part in [&arguments[..half], &arguments[half..]] {
            pieces.push((String::new(), call(None, None, part)));
        }
    }
    let why = if reply.call.is_some() { "tool_calls" } else { "stop" };
    pieces.push((String::new(), choice(json!({}), Some(why))));
    let tokens = reply.text.split_whitespace().count();
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens });
    pieces.push((String::new(), json!({ "object": "chat.completion.chunk", "choices": [], "usage": usage })));
    pieces
}

/// A reply being told.
struct Telling {
    pieces: std::collections::VecDeque<(String, Value)>,
    pace: Pace,
    watch: Watch,
    said: String,
    begun: bool,
}

impl Telling {
    async fn next(&mut self) -> Option<String> {
        let Some((token, event)) = self.pieces.pop_front() else {
            if self.watch.done {
                return None;
            }
            self.watch.done = true;
            return Some("data: [DONE]\n\n".to_owned());
        };
        if !std::mem::replace(&mut self.begun, true) {
            tokio::time::sleep(self.pace.first_token).await;
        } else if !token.is_empty() {
            tokio::time::sleep(Duration::from_secs_f64(1.0 / self.pace.tokens_per_second.max(0.1))).await;
        }
        self.said.push_str(&token);
        let ends = self.said.ends_with(['.', '!', '?'])
            || self.said.ends_with(',') && self.said.split(' ').count() >= 3;
        if ends && !token.is_empty() {
            self.watch.first_clause();
        }
        Some(format!("data: {event}\n\n"))
    }
}

/// Notes what becomes of a reply.
struct Watch {
    given: Remembered,
    at: Moment,
    done: bool,
}

impl Watch {
    fn begin(given: Remembered, asked: Value) -> Self {
        let at = Moment::now();
        let mut all = lock(&given);
        if all.len() == REMEMBERED {
            all.remove(0);
        }
        all.push(Given { asked, at, first_clause: None, ended: None, cut: false });
        drop(all);
        Self { given, at, done: false }
    }

    fn with(&self, change: impl FnOnce(&mut Given)) {
        if let Some(given) = lock(&self.given).iter_mut().rev().find(|given| given.at == self.at) {
            change(given);
        }
    }

    fn first_clause(&self) {
        self.with(|given| {
            given.first_clause.get_or_insert_with(Moment::now);
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let cut = !self.done;
        self.with(|given| (given.ended, given.cut) = (Some(Moment::now()), cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Value {
        json!({ "messages": [{ "role": "user", "content": format!("<caller>{words}</caller>") }],
            "tools": [
                { "function": { "name": "account_balance" } },
                { "function": { "name": "hang_up" } },
                { "function": { "name": "transfer", "parameters": { "properties": { "destination": { "enum": ["sales"] } } } } },
            ] })
    }

    #[test]
    fn a_front_desk_knows_hours_balances_and_whom_to_connect() {
        assert!(reply(&asked("when are you open")).text.contains("9 to 5"));
        assert!(reply(&asked("my account balance please")).text.contains("account number"));
        let looked = reply(&asked("one two three four"));
        assert_eq!(looked.call, Some(("account_balance".into(), r#"{"account":"1234"}"#.into())));
        assert_eq!(reply(&asked("sales please")).call.map(|(tool, _)| tool).as_deref(), Some("transfer"));
        assert_eq!(reply(&asked("goodbye")).call.map(|(tool, _)| tool).as_deref(), Some("hang_up"));
        assert!(reply(&asked("connect me to 0900 1")).call.is_none(), "it knows no numbers");
    }
}
