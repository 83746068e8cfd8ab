//! The ways to services: one HTTP client with its pool, WebSockets and plain TCP, with one trust for all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::ServiceError;
use crate::tls::{self, TlsError};

/// The largest message or frame that is taken from a service, in bytes: half a minute of 24 kHz in base64 is 2 MB.
const LARGEST_MESSAGE: usize = 8 << 20;

/// At most so many bytes of what a service says of an error are read.
const MOST_SAID: usize = 16 << 10;

/// A WebSocket to a service.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The ways to services. One per engine; cheap to clone, any thread of tokio's.
#[derive(Clone)]
pub struct Web {
    http: reqwest::Client,
    trust: Arc<rustls::ClientConfig>,
}

impl Web {
    /// Makes the client. Trusts the authorities of the system and those in `ca_file` (PEM). Blocks on the disk.
    ///
    /// # Errors
    /// When the file holds no certificate, or there is nobody to trust at all.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let trust = tls::client(ca_file)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured((*trust).clone())
            // A key goes where the configuration says, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            // A request that begins a reply finds its connection open; idle ones are closed before most servers do it.
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(64)
            .connect_timeout(Duration::from_secs(5))
            .tcp_keepalive(Duration::from_secs(20))
            .tcp_nodelay(true)
            .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| TlsError::Nobody)?;
        Ok(Self { http, trust })
    }

    /// The HTTP client. It keeps connections, follows no redirect and has no deadline but that of connecting: who asks sets
    /// one on the request.
    #[must_use]
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request, and comes back when the answer begins: with the answer if it is a success, with the kind of error
    /// that its status and body are otherwise.
    ///
    /// # Errors
    /// [`ServiceError`], also when the answer has not begun after `deadline`.
    pub async fn send(
        &self,
        service: &'static str,
        request: reqwest::RequestBuilder,
        deadline: Duration,
    ) -> Result<reqwest::Response, ServiceError> {
        let late = ServiceError::Timeout { service, what: "answer", after: deadline };
        let answering = async {
            let mut answer = request.send().await.map_err(|error| ServiceError::of_http(service, error))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let mut body = Vec::new();
            while let Ok(Some(piece)) = answer.chunk().await {
                body.extend_from_slice(&piece);
                if body.len() >= MOST_SAID {
                    break;
                }
            }
            Err(ServiceError::of_status(service, answer.status(), answer.headers(), &body))
        };
        timeout(deadline, answering).await.unwrap_or(Err(late))
    }

    /// Reads an answer that has begun to its end, if it has at most `most` bytes.
    ///
    /// # Errors
    /// [`ServiceError::Protocol`] when it is longer; when the connection breaks. It has no deadline of its own.
    pub async fn read(
        &self,
        service: &'static str,
        mut answer: reqwest::Response,
        most: usize,
    ) -> Result<Vec<u8>, ServiceError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| ServiceError::of_http(service, error))? {
            if body.len() + piece.len() > most {
                let what = format!("an answer of more than {most} bytes");
                return Err(ServiceError::Protocol { service, what });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Opens a WebSocket, `ws://` or `wss://` (`http` and `https` mean the same).
    ///
    /// # Errors
    /// [`ServiceError`], also when it is not open after `deadline`.
    pub async fn websocket(
        &self,
        service: &'static str,
        url: &str,
        headers: &[(&'static str, HeaderValue)],
        deadline: Duration,
    ) -> Result<Socket, ServiceError> {
        let wrong = |what: String| ServiceError::Rejected { service, what };
        let url = websocket_url(url).ok_or_else(|| wrong("its `url` is no address of a WebSocket".into()))?;
        let mut request = url.as_str().into_client_request().map_err(|error| wrong(error.to_string()))?;
        add(request.headers_mut(), headers);
        let connecting = async {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = url.port_or_known_default().unwrap_or(443);
            let stream = TcpStream::connect((host, port))
                .await
                .map_err(|error| ServiceError::Unreachable { service, what: error.to_string() })?;
            // Small messages should not wait for anything; without this they still arrive.
            let _ = stream.set_nodelay(true);
            let limits = WebSocketConfig::default()
                .max_message_size(Some(LARGEST_MESSAGE))
                .max_frame_size(Some(LARGEST_MESSAGE));
            let connector = Connector::Rustls(Arc::clone(&self.trust));
            client_async_tls_with_config(request, stream, Some(limits), Some(connector))
                .await
                .map(|(socket, _)| socket)
                .map_err(|error| ServiceError::of_websocket(service, &error))
        };
        let late = ServiceError::Timeout { service, what: "connection", after: deadline };
        timeout(deadline, connecting).await.unwrap_or(Err(late))
    }

    /// Opens a TCP connection to `address`, `HOST:PORT`.
    ///
    /// # Errors
    /// [`ServiceError`], also when there is none after `deadline`.
    pub async fn tcp(
        &self,
        service: &'static str,
        address: &str,
        deadline: Duration,
    ) -> Result<TcpStream, ServiceError> {
        match timeout(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // As with a WebSocket.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(ServiceError::Unreachable { service, what: error.to_string() }),
            Err(_) => Err(ServiceError::Timeout { service, what: "connection", after: deadline }),
        }
    }
}

/// The address of a WebSocket, whichever of the two ways it is written in.
fn websocket_url(url: &str) -> Option<reqwest::Url> {
    let url = match url.split_once("://")? {
        ("http", rest) => format!("ws://{rest}"),
        ("https", rest) => format!("wss://{rest}"),
        ("ws" | "wss", _) => url.to_owned(),
        _ => return None,
    };
    reqwest::Url::parse(&url).ok().filter(|url| url.host_str().is_some())
}

fn add(into: &mut HeaderMap, headers: &[(&'static str, HeaderValue)]) {
    for (name, value) in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            into.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A server that says the same to everybody, and where it is.
    async fn saying(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut heard = [0; 4_096];
                    let _ = stream.read(&mut heard).await;
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_refusal_on_the_way_to_a_websocket_is_told_by_kind_and_without_the_key() {
        let web = Web::new(None).unwrap();
        let refusal =
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 27\r\n\r\n{\"err_msg\":\"Invalid creds\"}";
        let url = format!("ws://{}/v1?key=hunter2", saying(refusal).await);
        let error = web.websocket("cloud", &url, &[], SOON).await.unwrap_err();
        assert!(matches!(error, ServiceError::Refused { .. }), "{error:?}");
        assert!(
            error.to_string().contains("check `key` under [service.cloud]")
                && !error.to_string().contains("hunter2")
        );
    }

    #[tokio::test]
    async fn an_answer_that_does_not_begin_in_time_is_late_and_nobody_there_is_unreachable() {
        let web = Web::new(None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let late = web.send("cloud", web.http().get(&url), Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(late, ServiceError::Timeout { what: "answer", .. }), "{late:?}");
        drop(listener);
        let gone = web.send("cloud", web.http().get(&url), SOON).await.unwrap_err();
        assert!(matches!(gone, ServiceError::Unreachable { .. }), "{gone:?}");
        let gone = web.websocket("cloud", &url, &[], SOON).await.unwrap_err();
        assert!(matches!(gone, ServiceError::Unreachable { .. }), "{gone:?}");
    }

    #[tokio::test]
    async fn what_a_service_says_of_an_error_is_passed_on() {
        let web = Web::new(None).unwrap();
        let url = format!(
            "http://{}/",
            saying("HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\ncontent-length: 4\r\n\r\nslow").await
        );
        let error = web.send("cloud", web.http().get(&url), SOON).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert!(error.to_string().contains("Too Many Requests: slow)"), "{error}");
        let no_websocket =
            format!("http://{}/", saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
        let error = web.websocket("cloud", &no_websocket, &[], SOON).await.unwrap_err();
        assert!(matches!(error, ServiceError::Protocol { .. }), "{error:?}");
    }
}
