//! Requests over WebSockets (`RESTRequest` and `RESTResponse`; Asterisk 20.14, 21.9, 22.4 and later).
//!
//! Every socket that carries events is a line, too. A request takes the newest one, is known by a number of ours, and fails
//! with [`AriError::Broken`] when the line ends before the answer. Asterisk carries out the requests of one line one
//! after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::operation::Request;
use super::{AriError, Core, Why};

/// Requests that may be on their way at once, on all lines of a client; more wait for their turn.
const IN_FLIGHT: usize = 64;
/// The largest message that Asterisk takes is 65,535 bytes: it drops the connection over a larger one.
const LARGEST_REQUEST: usize = 65_000;
/// Messages that wait to be written.
const OUTBOX: usize = IN_FLIGHT + 8;

/// The id of the request by which a server that starts is asked whether it is done.
pub(super) const KNOCK: &str = "0";

/// A request as it is written.
#[derive(Serialize)]
struct RestRequest<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    transaction_id: &'a str,
    request_id: &'a str,
    method: &'a str,
    uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    query_strings: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_body: Option<String>,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

/// Its fields, to be compared with a server's own description.
pub(super) const DESCRIBED: &[(&str, &[&str])] = &[(
    "RestRequest",
    &[
        "kind",
        "transaction_id",
        "request_id",
        "method",
        "uri",
        "content_type",
        "query_strings",
        "message_body",
    ],
)];

/// An answer: HTTP status and body.
pub(super) type Answered = (u16, Bytes);

/// The lines that are up.
pub(super) struct Lines {
    state: Mutex<State>,
    changed: Notify,
    in_flight: Semaphore,
    numbers: AtomicU64,
}

#[derive(Default)]
struct State {
    lines: Vec<Arc<Line>>,
    /// Why there is none.
    why: Option<Why>,
    /// Whether there has ever been one.
    ever: bool,
}

/// One socket that can be written to.
pub(super) struct Line {
    /// Whether it will end before long: it is taken where there is no other one.
    passing: AtomicBool,
    outbox: mpsc::Sender<Message>,
    /// Who waits for an answer; none once the socket has ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answered>>>>,
}

/// A line for as long as this lives.
pub(super) struct Open<'a> {
    lines: &'a Lines,
    pub(super) line: Arc<Line>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            in_flight: Semaphore::new(IN_FLIGHT),
            numbers: AtomicU64::new(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line, and what is to be written to its socket.
    pub(super) fn open(&self) -> (Open<'_>, mpsc::Receiver<Message>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let line = Arc::new(Line {
            passing: AtomicBool::new(false),
            outbox,
            waiting: Mutex::new(Some(HashMap::new())),
        });
        (Open { lines: self, line }, messages)
    }

    /// Says why there is no line.
    pub(super) fn fails(&self, why: &Why) {
        self.state().why = Some(why.clone());
        self.changed.notify_waiters();
    }

    /// Whether there is one that stays.
    pub(super) fn has_lasting(&self) -> bool {
        self.state().lines.iter().any(|line| !line.is_passing())
    }

    /// The newest line that stays, or else one that passes.
    fn best(&self) -> Result<Arc<Line>, Option<Why>> {
        let state = self.state();
        let best = state.lines.iter().rev().find(|line| !line.is_passing()).or_else(|| state.lines.last());
        best.cloned().ok_or_else(|| state.why.clone())
    }

    /// Waits for a line; at once why not, where waiting does not help.
    async fn wait(&self, patience: Duration) -> Result<Arc<Line>, Why> {
        let found = async {
            loop {
                let changed = self.changed.notified();
                match self.best() {
                    Ok(line) => return Ok(line),
                    Err(Some(why @ (Why::Unauthorized | Why::NoAri))) => return Err(why),
                    Err(_) => changed.await,
                }
            }
        };
        match timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => Err(self.best().err().flatten().unwrap_or(Why::Silent)),
        }
    }

    /// Hands an answer to who waits for it; nobody does any more after a time-out.
    pub(super) fn answer(&self, line: &Line, id: &str, answered: Answered) {
        let waiting = id.parse().ok().and_then(|id: u64| line.waiting().as_mut()?.remove(&id));
        match waiting {
            Some(waiting) => drop(waiting.send(answered)),
            None => tracing::debug!("an answer that nobody waits for"),
        }
    }

    /// Sends `request` and waits for its answer.
    pub(super) async fn ask(&self, core: &Core, request: &Request) -> Result<Answered, AriError> {
        let peer = || core.peer().to_owned();
        let whole = async {
            let Ok(_permit) = self.in_flight.acquire().await else { return Err(None) };
            loop {
                let patience = if core.config.listen.is_some() && !self.state().ever {
                    core.config.timeout
                } else {
                    core.config.connect_timeout
                };
                let line = self.wait(patience).await.map_err(Some)?;
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let (answer, answered) = oneshot::channel();
                if !line.expect(number, answer) {
                    continue;
                }
                // However this ends, nobody waits for it afterwards.
                let _waiter = Waiter { line: &line, number };
                let text = written(core, request, number);
                if text.len() > LARGEST_REQUEST {
                    return Ok(Err(AriError::TooLarge {
                        operation: request.operation(),
                        limit: LARGEST_REQUEST,
                    }));
                }
                let sent = line.outbox.send(Message::text(text)).await.is_ok();
                return Ok(match answered.await {
                    Ok(answered) if sent => Ok(answered),
                    _ => Err(AriError::Broken {
                        peer: peer(),
                        operation: request.operation(),
                        subject: request.subject.clone(),
                    }),
                });
            }
        };
        match timeout(core.config.timeout, whole).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(why)) => Err(no_line(core, request, why)),
            Err(_) => Err(AriError::Timeout {
                peer: peer(),
                operation: request.operation(),
                subject: request.subject.clone(),
                after: core.config.timeout,
            }),
        }
    }
}

/// What the lack of a line means for a request.
fn no_line(core: &Core, request: &Request, why: Option<Why>) -> AriError {
    let (peer, operation) = (core.peer().to_owned(), request.operation());
    match why {
        Some(Why::Unauthorized) => AriError::Unauthorized { peer, user: core.config.user.clone(), operation },
        Some(Why::NoAri) => AriError::NoAri { peer, operation },
        Some(Why::Silent) | None => {
            let reason = "no WebSocket is connected".to_owned();
            AriError::Unreachable { peer, operation, reason }
        }
        Some(why) => AriError::Unreachable { peer, operation, reason: why.to_string() },
    }
}

/// A request as text.
fn written(core: &Core, request: &Request, number: u64) -> String {
    let number = number.to_string();
    let (query, body) = request.carried();
    let query_strings = query.into_iter().map(|(name, value)| Pair { name, value }).collect();
    let message = RestRequest {
        kind: "RESTRequest",
        transaction_id: &number,
        request_id: &number,
        method: request.method.as_str(),
        uri: &core.address.relative(request.filled()),
        content_type: body.is_some().then_some("application/json"),
        query_strings,
        message_body: body,
    };
    serde_json::to_string(&message).expect("texts are JSON")
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answered>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to a request; false when the socket has ended.
    fn expect(&self, number: u64, answer: oneshot::Sender<Answered>) -> bool {
        self.waiting().as_mut().is_some_and(|waiting| {
            waiting.insert(number, answer);
            true
        })
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().as_ref().is_none_or(HashMap::is_empty)
    }

    fn is_passing(&self) -> bool {
        self.passing.load(Ordering::Relaxed)
    }

    /// Asks whether Asterisk has started.
    pub(super) fn knock(&self) {
        let text = r#"{"type":"RESTRequest","transaction_id":"0","request_id":"0","method":"GET","uri":"asterisk/ping"}"#;
        let _ = self.outbox.try_send(Message::text(text));
    }

    /// Writes a ping, unless so much waits to be written that it would say nothing.
    pub(super) fn ping(&self) {
        let _ = self.outbox.try_send(Message::Ping(Bytes::new()));
    }
}

impl Open<'_> {
    /// Lets requests take it; one that passes only where there is no other one.
    pub(super) fn publish(&self, passing: bool) {
        self.line.passing.store(passing, Ordering::Relaxed);
        {
            let mut state = self.lines.state();
            state.lines.push(Arc::clone(&self.line));
            state.why = None;
            state.ever = true;
        }
        self.lines.changed.notify_waiters();
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.lines.state().lines.retain(|line| !Arc::ptr_eq(line, &self.line));
        // Who waits is told by the end of his channel.
        drop(self.line.waiting().take());
    }
}

struct Waiter<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.line.waiting().as_mut() {
            waiting.remove(&self.number);
        }
    }
}
