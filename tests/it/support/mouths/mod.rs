//! Stand-ins for services that speak, over real sockets: they make a tone of a length that the text tells, and misbehave on
//! demand. Each file is written from the service's public documentation, which it names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

pub mod cartesia;
pub mod deepgram;
pub mod elevenlabs;
pub mod openai;
pub mod wyoming;

/// How a stand-in behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// All at once.
    Well,
    /// As fast as it is spoken.
    Paced,
    /// Well, but the first of it comes late.
    Slow(Duration),
    /// It takes the text and says nothing.
    Hangs,
    /// It closes the connection in the middle of a text.
    Breaks,
    /// It sends something else.
    Garbage,
    /// It answers with an HTTP status.
    Status(u16),
    /// Well, in pieces as small as the protocol has them.
    Pieces,
}

/// How it behaves now.
#[derive(Clone)]
pub struct Ways(Arc<Mutex<Way>>);

impl Ways {
    pub fn now(&self) -> Way {
        *self.0.lock().unwrap()
    }
}

/// What a stand-in saw.
#[derive(Default)]
pub struct Seen {
    pub texts: Mutex<Vec<String>>,
    /// Texts that were given up by who asked for them.
    pub stopped: AtomicUsize,
    pub connections: AtomicUsize,
    pub key: Mutex<String>,
}

impl Seen {
    pub fn text(&self, text: &str) {
        self.texts.lock().unwrap().push(text.to_owned());
    }

    pub fn stopped(&self) -> usize {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A stand-in; ends with the runtime.
pub struct StandIn {
    /// `127.0.0.1:PORT`
    pub address: String,
    pub seen: Arc<Seen>,
    way: Arc<Mutex<Way>>,
}

impl StandIn {
    /// One whose connections are served by `serve`.
    pub async fn start<F, Serving>(serve: F) -> Self
    where
        F: Fn(TcpStream, Ways, Arc<Seen>) -> Serving + Send + 'static,
        Serving: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (seen, way) = (Arc::new(Seen::default()), Arc::new(Mutex::new(Way::Well)));
        let (told, asked) = (Arc::clone(&seen), Arc::clone(&way));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                told.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, Ways(Arc::clone(&asked)), Arc::clone(&told)));
            }
        });
        Self { address, seen, way }
    }

    /// How it behaves from the next text on.
    pub fn behaves(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }
}

/// How long a text is spoken.
pub fn length(text: &str) -> Duration {
    Duration::from_millis(60) * u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A text as sound, in pieces of 100 ms.
pub fn sound(text: &str, hz: u32) -> Vec<Vec<i16>> {
    let samples = length(text).as_millis() as usize * hz as usize / 1_000;
    let tone = |n: usize| ((n as f64 * 440.0 / f64::from(hz) * std::f64::consts::TAU).sin() * 8_000.0) as i16;
    let all: Vec<i16> = (0..samples).map(tone).collect();
    all.chunks(hz as usize / 10).map(<[i16]>::to_vec).collect()
}

/// Samples as bytes, low byte first.
pub fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

pub type Ws = WebSocketStream<TcpStream>;

/// Takes a WebSocket, or refuses it as the way says; the second is the path that was asked for.
pub async fn accept(stream: TcpStream, way: Way, seen: &Seen, key: &'static str) -> Option<(Ws, String)> {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().to_string();
        let header = request.headers().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        *seen.key.lock().unwrap() = header.to_owned();
        let Way::Status(status) = way else { return Ok(response) };
        let mut refusal = ErrorResponse::new(Some("{\"message\":\"not you\"}".to_owned()));
        *refusal.status_mut() = StatusCode::from_u16(status).expect("a status");
        refusal.headers_mut().insert("retry-after", "7".parse().expect("a header"));
        Err(refusal)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, look).await.ok()?;
    Some((socket, path))
}

/// What came of a text.
#[derive(PartialEq, Eq)]
pub enum Poured {
    All,
    Stopped,
    Gone,
}

/// Sends the messages of a text as the way says, unless it is stopped.
pub async fn pour(
    sink: &mut SplitSink<Ws, Message>,
    stream: &mut SplitStream<Ws>,
    messages: Vec<Message>,
    way: Way,
    is_stop: impl Fn(&Message) -> bool,
) -> Poured {
    if let Way::Slow(after) = way {
        tokio::time::sleep(after).await;
    }
    if way == Way::Garbage {
        let _ = sink.send(Message::text("}{ nonsense")).await;
        return Poured::Gone;
    }
    let pause = if way == Way::Paced { Duration::from_millis(100) } else { Duration::ZERO };
    for (index, message) in messages.into_iter().enumerate() {
        if way == Way::Breaks && index == 3 {
            return Poured::Gone;
        }
        let idle = async {
            match way {
                Way::Hangs => std::future::pending().await,
                _ => tokio::time::sleep(pause).await,
            }
        };
        tokio::select! {
            biased;
            heard = stream.next() => match heard {
                Some(Ok(heard)) if is_stop(&heard) => return Poured::Stopped,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Poured::Stopped,
                Some(Ok(_)) => {}
            },
            () = idle => {}
        }
        let parts = if way == Way::Pieces { fragments(message) } else { vec![message] };
        for part in parts {
            if sink.send(part).await.is_err() {
                return Poured::Stopped;
            }
        }
    }
    Poured::All
}

/// A message as three frames.
fn fragments(message: Message) -> Vec<Message> {
    let (kind, payload) = match message {
        Message::Text(text) => (Data::Text, text.as_bytes().to_vec()),
        Message::Binary(bytes) => (Data::Binary, bytes.to_vec()),
        other => return vec![other],
    };
    let third = payload.len().div_ceil(3).max(1);
    let parts: Vec<Vec<u8>> = payload.chunks(third).map(<[u8]>::to_vec).collect();
    let last = parts.len().saturating_sub(1);
    let frame = |(index, part): (usize, Vec<u8>)| {
        let code = if index == 0 { kind } else { Data::Continue };
        Message::Frame(Frame::message(part, OpCode::Data(code), index == last))
    };
    parts.into_iter().enumerate().map(frame).collect()
}

/// The value of a name in a query.
pub fn query(path: &str, name: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    query.split('&').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// Bytes as base64.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
