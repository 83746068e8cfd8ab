//! The beginning of a WebSocket (RFC 6455, section 4), from either side.
//!
//! Done here and not by a library, for what comes right behind the handshake in the same packet (Asterisk says
//! MEDIA_START at once) must reach the media thread. Where TLS is in between, a library does all of it, and a task carries
//! the messages through a pair of local sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::AbortOnDropHandle;

use super::transport::frames::{self, LARGEST, Opcode};
use super::transport::outbox::Outbox;

/// The subprotocol of Asterisk's media.
const PROTOCOL: &str = "media";

/// The longest head of a request or an answer.
const LONGEST_HEAD: usize = 8_192;

/// Where a WebSocket for media is, and who we are there.
#[derive(Clone)]
pub struct Dial {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whom we trust, where it speaks TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The path, with everything before the connection's name.
    pub path: String,
    /// The value of the header `Authorization`.
    pub authorization: String,
}

/// A head and what came behind it.
struct Head {
    text: String,
    rest: Vec<u8>,
}

impl Head {
    /// Reads until the empty line.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(1_024);
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                let text = String::from_utf8(bytes).map_err(io::Error::other)?;
                return Ok(Self { text, rest });
            }
            if bytes.len() >= LONGEST_HEAD {
                return Err(io::Error::other("its head does not end"));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Asks for a WebSocket on a connection that has been made; gives what came behind the answer.
///
/// # Errors
/// When the far end does not agree, in words.
pub(super) async fn ask(stream: &mut TcpStream, dial: &Dial) -> io::Result<Vec<u8>> {
    let key = generate_key();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\nAuthorization: {}\r\n\r\n",
        dial.path, dial.host, dial.port, dial.authorization
    );
    stream.write_all(request.as_bytes()).await?;
    let head = Head::read(stream).await?;
    let status = head.first_line().split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "101" {
        return Err(io::Error::other(refusal(status)));
    }
    if head.field("Sec-WebSocket-Accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(io::Error::other("what answers there is no WebSocket server"));
    }
    Ok(head.rest)
}

fn refusal(status: &str) -> String {
    match status {
        "404" => {
            "Asterisk's web server knows no /media there: load chan_websocket.so (modules.conf)".to_owned()
        }
        "401" | "403" => "Asterisk's web server refuses our user or password".to_owned(),
        other => format!("Asterisk's web server answered with HTTP status {other}"),
    }
}

/// A request for a WebSocket that has come, and has not been answered.
pub(super) struct Asked {
    key: String,
    protocol: bool,
    query: String,
    /// What came behind it.
    pub(super) early: Vec<u8>,
}

impl Asked {
    /// Reads a request; [`None`] when it is none for a WebSocket.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let head = Head::read(stream).await.ok()?;
        let path = head.first_line().strip_prefix("GET ")?.split(' ').next()?;
        let is_upgrade = head.field("Upgrade")?.eq_ignore_ascii_case("websocket");
        let protocols = head.field("Sec-WebSocket-Protocol").unwrap_or_default();
        let asked = Self {
            key: head.field("Sec-WebSocket-Key")?.to_owned(),
            protocol: protocols.split(',').any(|name| name.trim() == PROTOCOL),
            query: path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
            early: Vec::new(),
        };
        is_upgrade.then_some(Self { early: head.rest, ..asked })
    }

    /// The value of a parameter of the URI.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name))
            .map(|(_, v)| v)
    }

    /// Agrees.
    pub(super) async fn agree(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let accept = derive_accept_key(self.key.as_bytes());
        let protocol = if self.protocol { "Sec-WebSocket-Protocol: media\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        );
        stream.write_all(answer.as_bytes()).await
    }

    /// Refuses.
    pub(super) async fn refuse(stream: &mut (impl AsyncWrite + Unpin)) {
        let _ = stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    }
}

/// A WebSocket over TLS: our end of a pair of local sockets that speaks the plain one, and the task that carries messages
/// between both.
pub(super) async fn through_tls(
    stream: TcpStream,
    dial: &Dial,
) -> io::Result<(OwnedFd, AbortOnDropHandle<()>)> {
    let refused = |error: tungstenite::Error| match error {
        tungstenite::Error::Http(answer) => io::Error::other(refusal(answer.status().as_str())),
        other => io::Error::other(other),
    };
    let url = format!("wss://{}:{}{}", dial.host, dial.port, dial.path);
    let mut request = url.into_client_request().map_err(refused)?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
    headers.insert("Authorization", HeaderValue::from_str(&dial.authorization).map_err(io::Error::other)?);
    let limits = limits();
    let trust = dial.tls.clone().map(tokio_tungstenite::Connector::Rustls);
    let connecting = tokio_tungstenite::client_async_tls_with_config(request, stream, Some(limits), trust);
    let (socket, _) = connecting.await.map_err(refused)?;
    bridge(socket)
}

/// The same for one that came to us and has been agreed to; `early` came behind its request.
pub(super) async fn out_of_tls<S>(stream: S, early: Vec<u8>) -> io::Result<(OwnedFd, AbortOnDropHandle<()>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    bridge(WebSocketStream::from_partially_read(stream, early, Role::Server, Some(limits())).await)
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST))
}

fn bridge<S>(socket: WebSocketStream<S>) -> io::Result<(OwnedFd, AbortOnDropHandle<()>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let carrier = tokio::spawn(carry(socket, UnixStream::from_std(theirs)?));
    Ok((ours.into(), AbortOnDropHandle::new(carrier)))
}

/// Carries messages between a WebSocket and the plain one on a local socket, until either ends.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, mut local: UnixStream) {
    let mut reader = frames::Reader::new();
    let mut chunk = vec![0; LARGEST];
    let mut outbox = Outbox::new(LARGEST + 16);
    loop {
        tokio::select! {
            message = socket.next() => {
                let (opcode, payload) = match message {
                    Some(Ok(Message::Binary(audio))) => (Opcode::Binary, audio),
                    Some(Ok(Message::Text(text))) => (Opcode::Text, text.into()),
                    // The library answers pings.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                frames::push(&mut outbox, opcode, [&payload, &[], &[]], None, 0);
                let written = local.write_all(outbox.pending()).await;
                outbox.written(usize::MAX);
                if written.is_err() {
                    return;
                }
            }
            read = local.read(&mut chunk) => {
                let Ok(len @ 1..) = read else { break };
                let mut messages = Vec::new();
                let goes_on = reader.read(&chunk[..len], &mut |message| match message {
                    frames::Message::Text(text) => {
                        messages.push(Message::text(String::from_utf8_lossy(text).into_owned()));
                    }
                    frames::Message::Binary(audio) => messages.push(Message::binary(audio.to_vec())),
                    _ => {}
                });
                for message in messages {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                if !goes_on {
                    break;
                }
            }
        }
    }
    let _ = socket.close(None).await;
}
