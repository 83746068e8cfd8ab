//! Stand-ins for services that recognise, over real sockets. Each speaks the protocol of its service as the page says that
//! its file names, and hears a language of tones that a test can speak: a level is a word. What it is sent goes through
//! every codec on the way, so what it hears is what would have been heard.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_util::task::AbortOnDropHandle;

pub mod deepgram;
pub mod openai;
pub mod sherpa;
pub mod vosk;
pub mod wyoming;

/// The words of the language: the n-th is spoken at n times [`STEP`].
pub const WORDS: [&str; 9] = ["", "sales", "support", "one", "two", "three", "four", "yes", "no"];

/// Between two levels. µ-law is exact to a sixteenth of this even at the top.
const STEP: i16 = 3_000;

/// How long a word lasts, and the silence behind it, in samples at 8 kHz.
const WORD: usize = 1_600;
const GAP: usize = 800;

/// Words as samples at 8 kHz.
pub fn speak(words: &str) -> Vec<i16> {
    let mut samples = vec![0; GAP];
    for word in words.split_whitespace() {
        let level = WORDS.iter().position(|known| *known == word).expect("a word of the language");
        samples.extend(std::iter::repeat_n(STEP * i16::try_from(level).unwrap(), WORD));
        samples.extend(std::iter::repeat_n(0, GAP));
    }
    samples
}

/// The words in samples at `rate`.
pub fn understand(samples: &[i16], rate: u32) -> Vec<&'static str> {
    let mut listener = Listener::new(rate);
    listener.hear(samples);
    listener.words
}

/// Understands as it hears.
pub struct Listener {
    window: usize,
    /// Samples of the window under way, and all that were heard.
    rest: Vec<i16>,
    pub heard: usize,
    level: usize,
    run: usize,
    pub words: Vec<&'static str>,
}

impl Listener {
    pub fn new(rate: u32) -> Self {
        Self { window: rate as usize / 50, rest: Vec::new(), heard: 0, level: 0, run: 0, words: Vec::new() }
    }

    pub fn hear(&mut self, samples: &[i16]) {
        self.heard += samples.len();
        self.rest.extend_from_slice(samples);
        let whole = self.rest.len() - self.rest.len() % self.window;
        for window in self.rest[..whole].chunks(self.window) {
            let mean = window.iter().map(|s| i64::from(*s)).sum::<i64>() / window.len() as i64;
            let level = usize::try_from((mean + i64::from(STEP) / 2) / i64::from(STEP)).unwrap_or(0);
            let level = level.min(WORDS.len() - 1);
            self.run = if level == self.level { self.run + 1 } else { 1 };
            self.level = level;
            // Shorter is the edge of one.
            if level > 0 && self.run == 3 {
                self.words.push(WORDS[level]);
            }
        }
        self.rest.drain(..whole);
    }

    /// For how many samples there has been silence.
    pub fn silent(&self) -> usize {
        if self.level == 0 { self.run * self.window } else { 0 }
    }

    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// What a connection is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Good,
    /// Accepts, reads, and says nothing.
    Hangs,
    /// Closes after so many messages, without a word.
    Closes(usize),
    /// Closes its own direction only, and reads on.
    HalfCloses(usize),
    /// Says what is none of the protocol.
    Garbage,
    /// Refuses with this HTTP status.
    Status(u16),
    /// Takes so long for each first word.
    Slow(Duration),
    /// Writes a few bytes at a time.
    Fragments,
}

/// A message of a service's language in, what it says to it out.
pub trait Protocol: Send {
    /// What it says when somebody has connected.
    fn greet(&mut self) -> Vec<Message> {
        Vec::new()
    }

    /// What it says to a message, and whether it closes then.
    fn hear(&mut self, message: Message) -> (Vec<Message>, bool);
}

/// A service that listens.
pub struct StandIn {
    /// `127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
    _listening: AbortOnDropHandle<()>,
}

#[derive(Default)]
pub struct Shared {
    manners: Mutex<VecDeque<Manner>>,
    /// How often somebody has connected, and how many connections there are now.
    connections: AtomicUsize,
    open: AtomicUsize,
    /// First lines and headers, and what was said first.
    requests: Mutex<Vec<String>>,
}

impl Shared {
    pub fn note(&self, text: impl Into<String>) {
        self.requests.lock().unwrap().push(text.into());
    }
}

/// Counts a connection as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl StandIn {
    /// A service behind a WebSocket.
    pub async fn socket(protocol: impl Fn() -> Box<dyn Protocol> + Send + Sync + 'static) -> Self {
        let protocol = Arc::new(protocol);
        Self::start(move |stream, manner, shared| {
            let protocol = Arc::clone(&protocol);
            async move { serve_socket(stream, manner, shared, protocol()).await }
        })
        .await
    }

    /// A service that does with its connections what it likes.
    pub async fn start<F>(serve: impl Fn(Stream, Manner, Arc<Shared>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared::default());
        let to_all = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&to_all);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let manner = {
                    let mut manners = shared.manners.lock().unwrap();
                    if manners.len() > 1 { manners.pop_front() } else { manners.front().copied() }
                };
                let manner = manner.unwrap_or(Manner::Good);
                let open = Open(Arc::clone(&shared));
                let stream = Stream { stream, crumbs: manner == Manner::Fragments };
                let serving = serve(stream, manner, shared);
                connections.spawn(async move {
                    serving.await;
                    drop(open);
                });
            }
        });
        Self { address, shared, _listening: AbortOnDropHandle::new(listening) }
    }

    /// What the connections to come are like, one after the other; the last one stays.
    pub fn behave(&self, manners: &[Manner]) {
        *self.shared.manners.lock().unwrap() = manners.iter().copied().collect();
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> String {
        self.shared.requests.lock().unwrap().join("\n")
    }
}

#[allow(clippy::result_large_err, reason = "as the library wants it")]
async fn serve_socket(stream: Stream, manner: Manner, shared: Arc<Shared>, mut protocol: Box<dyn Protocol>) {
    if let Manner::Slow(time) = manner {
        tokio::time::sleep(time).await;
    }
    let accepting = accept_hdr_async(stream, |request: &Request, response: Response| {
        let headers: Vec<String> = request.headers().iter().map(|(k, v)| format!("{k}: {v:?}")).collect();
        shared.note(format!("{} {}", request.uri(), headers.join(" ")));
        match manner {
            Manner::Status(status) => {
                let mut refusal = ErrorResponse::new(Some("{\"err_msg\":\"no\"}".to_owned()));
                *refusal.status_mut() = status.try_into().unwrap();
                Err(refusal)
            }
            _ => Ok(response),
        }
    });
    let Ok(mut socket) = accepting.await else { return };
    let mut said = 0;
    if manner != Manner::Hangs {
        for message in protocol.greet() {
            let _ = socket.send(message).await;
        }
    }
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            // The answer to it goes out with the next read, which ends the loop.
            continue;
        }
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        said += 1;
        match manner {
            Manner::Hangs => continue,
            Manner::Closes(after) if said >= after => return,
            Manner::HalfCloses(after) if said >= after => {
                let _ = socket.get_mut().shutdown().await;
                continue;
            }
            Manner::Garbage => {
                let _ = socket.send(Message::text("{\"type\": garbage")).await;
                let _ = socket.send(Message::binary(vec![0xFF; 300])).await;
                continue;
            }
            _ => {}
        }
        if said <= 2
            && let Message::Text(text) = &message
        {
            shared.note(text.as_str());
        }
        let (answers, closes) = protocol.hear(message);
        for answer in answers {
            if socket.send(answer).await.is_err() {
                return;
            }
        }
        if closes {
            let _ = socket.close(None).await;
        }
    }
}

/// A TCP stream that may write in crumbs.
pub struct Stream {
    stream: TcpStream,
    crumbs: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let most = if self.crumbs { 7 } else { buf.len() };
        let most = most.min(buf.len());
        Pin::new(&mut self.stream).poll_write(cx, &buf[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
