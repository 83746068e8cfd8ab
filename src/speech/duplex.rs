//! Synthesisers over WebSockets: what is common to them, so that each file has its service's messages and no more.
//!
//! A socket that a text was said over waits for the next one for a while, where the service lets it: a reply begins a handshake
//! earlier then. One that turns out to be closed is replaced once, as long as nothing was heard of the service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::pour::{Pour, pour};
use super::{SpeechError, SpeechStream, Utterance};
use crate::service::{Deadlines, ServiceError, Socket, Web};

/// How long a socket waits for the next text. Shorter than what the services allow.
const WAITS: Duration = Duration::from_secs(25);

/// Sockets that wait.
const WAITING: usize = 32;

/// Texts over one socket: Deepgram takes no more than 20 flushes a minute.
const USES: u8 = 15;

/// How long a service may take to take a message, or to confirm that it has stopped.
const POLITE: Duration = Duration::from_secs(1);

/// What a service's messages are. One per text.
pub(super) trait Tongue: Send + 'static {
    /// What is sent, at once, for the text to be said.
    fn open(&mut self) -> Vec<Message>;

    /// What a message means.
    fn hear(&mut self, message: &Message) -> Result<Vec<Piece>, ServiceError>;

    /// What is sent when nobody listens any more. Without it the socket is closed.
    fn stop(&mut self) -> Option<Message>;

    /// After [`stop`](Self::stop): whether this message confirms it, and the socket is free. Before any message it is asked
    /// with none.
    fn is_stopped(&mut self, message: Option<&Message>) -> bool;

    /// Whether another text may follow over the socket.
    fn is_reusable(&self) -> bool;
}

/// What comes of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Linear samples of 16 bits, low byte first.
    Linear(Vec<u8>, u32),
    /// µ-law of 8 kHz.
    Ulaw(Vec<u8>),
    /// When the next words end, from the first sample of the text.
    Ends(Vec<Duration>),
    /// When the next words end, from the first sample of the audio that comes with them.
    EndsHere(Vec<Duration>),
    /// All is there.
    Done,
}

/// Where a text is said.
pub(super) struct Place {
    pub url: String,
    pub headers: Vec<(&'static str, HeaderValue)>,
}

/// The way to one service.
#[derive(Clone)]
pub(super) struct Duplex(Arc<Shared>);

struct Shared {
    service: &'static str,
    web: Web,
    deadlines: Deadlines,
    places: Semaphore,
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    url: String,
    socket: Socket,
    uses: u8,
    since: Instant,
}

impl Duplex {
    pub fn new(service: &'static str, web: Web, deadlines: Deadlines, at_once: usize) -> Self {
        let places = Semaphore::new(at_once.clamp(1, 10_000));
        Self(Arc::new(Shared { service, web, deadlines, places, waiting: Mutex::default() }))
    }

    /// Says a text in the tongue that `make` makes.
    pub fn speak<T: Tongue>(
        &self,
        utterance: &Utterance,
        place: Place,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> SpeechStream {
        let this = self.clone();
        pour(self.0.service, utterance, async move |pour| this.run(place, make, pour).await)
    }

    async fn run<T: Tongue>(
        &self,
        place: Place,
        make: impl Fn() -> T + Send + Sync,
        mut pour: Pour,
    ) -> Result<(), SpeechError> {
        let shared = &self.0;
        let (service, first) = (shared.service, shared.deadlines.first);
        let Ok(Ok(_place)) = timeout(first, shared.places.acquire()).await else {
            let what = "place among the requests at once";
            return Err(ServiceError::Timeout { service, what, after: first }.into());
        };
        let mut kept = self.take(&place.url);
        loop {
            let again = kept.is_some();
            let (socket, uses) = match kept.take() {
                Some(kept) => kept,
                None => {
                    let connect = shared.deadlines.connect;
                    (shared.web.websocket(service, &place.url, &place.headers, connect).await?, 0)
                }
            };
            let mut line = Line {
                duplex: self.clone(),
                socket: Some(socket),
                url: place.url.clone(),
                uses: uses + 1,
                tongue: Some(make()),
            };
            match line.say(&mut pour).await {
                // It was closed while it waited: nobody has heard the text.
                Err(SpeechError::Service(ServiceError::Closed { .. })) if again && !pour.has_begun() => {}
                other => return other,
            }
        }
    }

    fn take(&self, url: &str) -> Option<(Socket, u8)> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|kept| kept.since.elapsed() < WAITS);
        let at = waiting.iter().rposition(|kept| kept.url == url)?;
        let kept = waiting.swap_remove(at);
        Some((kept.socket, kept.uses))
    }

    fn put(&self, url: String, socket: Socket, uses: u8) {
        if uses >= USES {
            return;
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            waiting.remove(0);
        }
        waiting.push(Waiting { url, socket, uses, since: Instant::now() });
    }
}

/// A text on its way over a socket. Dropped in the middle of it, the service is told to stop.
struct Line<T: Tongue> {
    duplex: Duplex,
    /// Both are there while the text is being said.
    socket: Option<Socket>,
    tongue: Option<T>,
    url: String,
    uses: u8,
}

impl<T: Tongue> Line<T> {
    /// Sends the text and takes what comes.
    async fn say(&mut self, pour: &mut Pour) -> Result<(), SpeechError> {
        let said = self.exchange(pour).await;
        let (Some(socket), Some(tongue)) = (self.socket.take(), self.tongue.take()) else { return said };
        match &said {
            Ok(()) if tongue.is_reusable() => {
                self.duplex.put(std::mem::take(&mut self.url), socket, self.uses)
            }
            _ => close(socket),
        }
        said
    }

    async fn exchange(&mut self, pour: &mut Pour) -> Result<(), SpeechError> {
        let shared = Arc::clone(&self.duplex.0);
        let (service, deadlines) = (shared.service, shared.deadlines);
        let (Some(socket), Some(tongue)) = (&mut self.socket, &mut self.tongue) else { return Ok(()) };
        let broken = |error: &_| SpeechError::from(ServiceError::of_websocket(service, error));
        for message in tongue.open() {
            match timeout(POLITE, socket.feed(message)).await {
                Ok(fed) => fed.map_err(|error| broken(&error))?,
                Err(_) => return Err(late(service, "room for the text", POLITE)),
            }
        }
        timeout(POLITE, socket.flush())
            .await
            .map_err(|_| late(service, "room for the text", POLITE))?
            .map_err(|error| broken(&error))?;
        let by = Instant::now() + deadlines.first;
        let over = Instant::now() + deadlines.whole;
        loop {
            // Messages that are no audio are no sign of progress before the first of it.
            let until = if pour.has_begun() { (Instant::now() + deadlines.stall).min(over) } else { by };
            let message = match tokio::time::timeout_at(until, socket.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => return Err(closed(service)),
                Err(_) if pour.has_begun() => return Err(late(service, "more audio", deadlines.stall)),
                Err(_) => return Err(late(service, "audio", deadlines.first)),
            };
            if let Message::Close(frame) = &message {
                let (code, reason) =
                    frame.as_ref().map_or((1005, ""), |frame| (frame.code.into(), frame.reason.as_str()));
                return Err(ServiceError::of_close(service, code, reason).into());
            }
            for piece in tongue.hear(&message)? {
                if take(piece, pour).await? {
                    if !pour.has_begun() {
                        let what = "it is done, and there was no audio".to_owned();
                        return Err(ServiceError::Broken { service, what }.into());
                    }
                    return pour.finish().await;
                }
            }
        }
    }
}

/// Takes a piece; true when it was the last.
async fn take(piece: Piece, pour: &mut Pour) -> Result<bool, SpeechError> {
    match piece {
        Piece::Linear(bytes, hz) => pour.linear(&bytes, hz).await?,
        Piece::Ulaw(codes) => pour.ulaw(&codes).await?,
        Piece::Ends(ends) => pour.times.extend(ends),
        Piece::EndsHere(ends) => {
            let before = pour.poured();
            pour.times.extend(ends.into_iter().map(|end| before + end));
        }
        Piece::Done => return Ok(true),
    }
    Ok(false)
}

impl<T: Tongue> Drop for Line<T> {
    fn drop(&mut self) {
        let (Some(socket), Some(tongue)) = (self.socket.take(), self.tongue.take()) else { return };
        let (duplex, url, uses) = (self.duplex.clone(), std::mem::take(&mut self.url), self.uses);
        // A runtime that is going down takes the socket with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(socket) = stop(socket, tongue).await {
                    duplex.put(url, socket, uses);
                }
            });
        }
    }
}

/// Tells a service to stop; gives the socket back when another text may follow over it.
async fn stop(mut socket: Socket, mut tongue: impl Tongue) -> Option<Socket> {
    let stopping = async {
        let Some(message) = tongue.stop() else { return false };
        if socket.send(message).await.is_err() {
            return false;
        }
        if tongue.is_stopped(None) {
            return true;
        }
        while let Some(Ok(message)) = socket.next().await {
            if tongue.is_stopped(Some(&message)) {
                return true;
            }
        }
        false
    };
    let stopped = timeout(POLITE, stopping).await.unwrap_or(false);
    if stopped && tongue.is_reusable() {
        return Some(socket);
    }
    close(socket);
    None
}

/// Closes a socket as it should be, and waits no longer than is polite.
fn close(mut socket: Socket) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            let _ = timeout(POLITE, socket.close(None)).await;
        });
    }
}

fn late(service: &'static str, what: &'static str, after: Duration) -> SpeechError {
    ServiceError::Timeout { service, what, after }.into()
}

fn closed(service: &'static str) -> SpeechError {
    ServiceError::Closed { service, what: "without a word".into() }.into()
}

/// The JSON of a text message; [`None`] of any other.
pub(super) fn json(service: &'static str, message: &Message) -> Result<Option<Value>, ServiceError> {
    let Message::Text(text) = message else { return Ok(None) };
    let read = serde_json::from_str(text.as_str());
    read.map(Some).map_err(|error| ServiceError::Protocol { service, what: format!("no JSON: {error}") })
}

/// Bytes out of base64.
pub(super) fn base64(service: &'static str, text: &str) -> Result<Vec<u8>, ServiceError> {
    use base64::Engine as _;
    let read = base64::engine::general_purpose::STANDARD.decode(text);
    read.map_err(|error| ServiceError::Protocol { service, what: format!("no base64: {error}") })
}

/// Seconds or milliseconds of a service as a span; what no clock shows is none.
pub(super) fn span(value: &Value, unit: f64) -> Option<Duration> {
    let seconds = value.as_f64()? * unit;
    (seconds.is_finite() && (0.0..86_400.0).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}

/// The first of the fields that has something to say.
pub(super) fn said(json: &Value, fields: &[&str]) -> String {
    let said = fields.iter().find_map(|field| json[*field].as_str().filter(|text| !text.is_empty()));
    crate::service::error::short(said.unwrap_or("no reason given"))
}

/// An address with a path and a query.
pub(super) fn address(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    format!("{}{path}?{}", base.trim_end_matches('/'), query.join("&"))
}

/// Text that is nothing but itself in an address.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
