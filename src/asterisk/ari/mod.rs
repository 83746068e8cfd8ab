//! The Asterisk REST Interface.
//!
//! # Parts
//!
//! - [`Ari`]: the client; one per Asterisk, cheap to clone, shared by all calls. Its groups ([`Ari::channels`],
//!   [`Ari::bridges`], …) hold the operations, each a method.
//! - [`ops`]: the operations, one file per resource, each one line long in the form of Asterisk's own description.
//! - [`model`]: what Asterisk answers and reports, as typed data that tolerates what newer and older servers add and leave
//!   out (16 to 23).
//! - [`EventStream`]: the events of an application over a WebSocket that reconnects by itself and says when it did.
//! - [`AriError`]: what can go wrong.
//!
//! ```no_run
//! # async fn answer() -> Result<(), offhook::asterisk::ari::AriError> {
//! use offhook::asterisk::ari::{Ari, AriConfig, Signal, model::EventKind, ops::HangupReason};
//! use offhook::asterisk::secret::Secret;
//!
//! let ari = Ari::new(AriConfig::new("http://127.0.0.1:8088", "offhook", Secret::new("secret")))?;
//! let mut events = ari.events("bot");
//! loop {
//!     if let Signal::Event(event) = events.next().await
//!         && let EventKind::StasisStart { channel, .. } = &event.kind
//!     {
//!         ari.channels().answer(&channel.id).await?;
//!         ari.channels().hangup(&channel.id, HangupReason::Normal).await?;
//!     }
//! }
//! # }
//! ```
//!
//! # What it never does
//!
//! It repeats no request that Asterisk may have seen: whoever made the call knows whether that is safe. (With ids of our
//! own choice it mostly is: the second attempt says [`AriError::Conflict`].) It holds no state of calls. It puts no
//! credentials into URLs, and parameters go into JSON bodies, so that no proxy on the way writes phone numbers into its log.

pub mod model;
pub mod ops;

pub(super) mod backoff;
mod config;
mod error;
mod ids;
mod operation;
mod queue;
mod stream;
mod words;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;

use error::Context;
use operation::{Answer, Request};

pub use config::AriConfig;
pub use error::AriError;
pub use ids::{BridgeId, ChannelId, PlaybackId, RecordingName};
pub use operation::Operation;
pub use queue::Signal;
pub use stream::{EventCounts, EventStream, Why};

/// A client of one Asterisk. Cloning shares the connections. Any task; needs a tokio runtime.
#[derive(Clone)]
pub struct Ari {
    inner: Arc<Inner>,
}

struct Inner {
    config: AriConfig,
    address: config::Address,
    http: reqwest::Client,
    authorization: HeaderValue,
}

impl Ari {
    /// A client for the Asterisk that `config` names. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`AriError::Config`] when the URL or the user cannot be used.
    pub fn new(config: AriConfig) -> Result<Self, AriError> {
        super::tls::install();
        let address = config::Address::parse(&config.url)?;
        if config.user.is_empty() || config.user.contains(':') {
            return Err(AriError::Config {
                key: "user",
                value: config.user,
                wants: "name a section of ari.conf with type = user".to_owned(),
            });
        }
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            // Asterisk closes idle connections after 15 s (http.conf, session_keep_alive): being earlier avoids
            // sending into a connection that is about to close.
            .pool_idle_timeout(std::time::Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| AriError::Config {
                key: "url",
                value: config.url.clone(),
                wants: format!("an HTTP client that can be made here ({error})"),
            })?;
        let authorization = basic_authorization(&http, &config);
        Ok(Self { inner: Arc::new(Inner { config, address, http, authorization }) })
    }

    /// The events of application `app`, which registers it: Asterisk's `Stasis(app)` works from the first
    /// [`Signal::Connected`] on. Must be called inside a tokio runtime; the connection lives as long as the stream.
    ///
    /// The application is taken from whoever holds it now (that one gets `ApplicationReplaced`).
    #[must_use]
    pub fn events(&self, app: &str) -> EventStream {
        EventStream::open(self.clone(), app, false)
    }

    /// As [`Ari::events`], with the events of everything on the server, not of the application's own channels alone.
    #[must_use]
    pub fn all_events(&self, app: &str) -> EventStream {
        EventStream::open(self.clone(), app, true)
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.inner.address.peer
    }

    /// Host and port, to be connected to.
    #[must_use]
    pub fn dial_address(&self) -> (String, u16) {
        self.inner.address.dial()
    }

    /// Where to connect for the media of a WebSocket channel, whose connection the reply to externalMedia names
    /// ([`Channel::websocket_connection`](model::Channel::websocket_connection)).
    #[must_use]
    pub fn media_socket(&self, connection: &str) -> MediaSocket {
        let (host, port) = self.inner.address.dial();
        let (tls, path) = self.inner.address.media(connection);
        let authorization = self.inner.authorization.to_str().unwrap_or_default().to_owned();
        MediaSocket { host, port, tls, path, authorization }
    }

    /// The user that requests are made as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.inner.config.user
    }

    /// Sends `request` and returns the body of the answer, at most `largest_answer` bytes of it.
    async fn send(&self, request: &Request) -> Result<Bytes, AriError> {
        let started = crate::time::Moment::now();
        let answer = self.exchange(request).await;
        let took = crate::time::Moment::now().millis_from(started);
        match &answer {
            Ok(body) => {
                tracing::debug!(
                    operation = request.operation(),
                    subject = request.subject,
                    took_ms = took,
                    bytes = body.len(),
                    "ari"
                );
            }
            Err(error) => {
                tracing::debug!(operation = request.operation(), subject = request.subject, took_ms = took, %error, "ari");
            }
        }
        answer
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes, AriError> {
        let inner = &*self.inner;
        let failed = |error: reqwest::Error| self.failed(request, error);
        let mut sent = self.prepare(request).send().await;
        // Asterisk closes connections that were idle for some seconds, perhaps just as the request is on its way. What
        // may be done twice is sent again on a new one: a bridge that is not removed stays.
        if [reqwest::Method::GET, reqwest::Method::DELETE].contains(&request.method)
            && sent.as_ref().is_err_and(|e| e.is_request() && !e.is_timeout() && !e.is_connect())
        {
            sent = self.prepare(request).send().await;
        }
        let mut answer = sent.map_err(failed)?;
        let status = answer.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > inner.config.largest_answer {
                return Err(AriError::TooLarge {
                    operation: request.operation(),
                    limit: inner.config.largest_answer,
                });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body.freeze())
        } else {
            Err(self.context(request).refusal(status.as_u16(), &body))
        }
    }

    /// Parameters go into the query of a GET and into the JSON body of everything else.
    fn prepare(&self, request: &Request) -> reqwest::RequestBuilder {
        let inner = &*self.inner;
        let mut url = inner.address.join(request.filled());
        let body = request.body.as_ref().map(Value::to_string);
        let is_get = request.method == reqwest::Method::GET;
        if (is_get || body.is_some()) && !request.parameters.is_empty() {
            let mut query = url.query_pairs_mut();
            for (name, value) in &request.parameters {
                query.append_pair(name, &as_query(value));
            }
        }
        let body = body.or_else(|| {
            (!is_get && !request.parameters.is_empty())
                .then(|| serde_json::to_string(&request.parameters).expect("a map of JSON values is JSON"))
        });
        let builder = inner
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, inner.authorization.clone());
        match body {
            Some(body) => builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(body),
            None => builder,
        }
    }

    fn failed(&self, request: &Request, error: reqwest::Error) -> AriError {
        let (peer, operation) = (self.inner.address.peer.clone(), request.operation());
        if error.is_connect() || !error.is_timeout() {
            return AriError::Unreachable { peer, operation, reason: innermost(&error.without_url()) };
        }
        AriError::Timeout {
            peer,
            operation,
            subject: request.subject.clone(),
            after: self.inner.config.timeout,
        }
    }

    fn context(&self, request: &Request) -> Context<'_> {
        Context {
            peer: &self.inner.address.peer,
            user: &self.inner.config.user,
            operation: request.operation(),
            subject: request.subject.clone(),
        }
    }
}

impl std::fmt::Debug for Ari {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ari")
            .field("peer", &self.inner.address.peer)
            .field("user", &self.inner.config.user)
            .finish()
    }
}

/// Everything that can be read from JSON is an answer; see [`model::read`].
impl<T: DeserializeOwned + model::Model> Answer for T {
    async fn read(ari: &Ari, request: Request) -> Result<Self, AriError> {
        let body = ari.send(&request).await?;
        model::read(&body).map_err(|reason| AriError::Malformed {
            operation: request.operation(),
            subject: request.subject,
            reason,
        })
    }
}

/// Where a WebSocket channel's media is.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaSocket {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The path.
    pub path: String,
    /// The value of the header `Authorization`.
    pub authorization: String,
}

/// The value of the basic authorization header, marked so that nothing prints it.
fn basic_authorization(http: &reqwest::Client, config: &AriConfig) -> HeaderValue {
    let request = http
        .get("http://localhost/")
        .basic_auth(&config.user, Some(config.password.reveal()))
        .build()
        .expect("a constant URL and a header of base 64 make a request");
    let mut value = request.headers().get(AUTHORIZATION).expect("basic_auth sets the header").clone();
    value.set_sensitive(true);
    value
}

/// A value in a query: several of one name are separated by commas.
fn as_query(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(as_query).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The last cause of an error: the part that a user understands (`connection refused`).
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
