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
//! - Three ways to talk, chosen by [`AriConfig`], behind the same functions: requests over HTTP beside the events socket;
//!   requests over that socket ([`Requests::WebSocket`], `lines`); or both over connections that Asterisk makes to us
//!   ([`Listen`], `door`). What a socket needs, whoever made it, is in `socket`: one task reads and waits for nobody, one writes.
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
mod door;
mod error;
mod ids;
mod lines;
mod operation;
mod queue;
mod socket;
mod stream;
mod words;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use door::Door;
use error::Context;
use lines::Lines;
use operation::{Answer, Request};

pub use config::{AriConfig, Listen, Requests};
pub use error::AriError;
pub use ids::{BridgeId, ChannelId, PlaybackId, RecordingName};
pub use operation::Operation;
pub use queue::Signal;
pub use stream::{EventCounts, EventStream, Why};

/// Requests on their way at once. Asterisk takes `sessionlimit` connections (http.conf; 100 where nothing is said), closes
/// those beyond at once, and media by WebSocket counts too: a hundred calls that came in one second had some refused.
const AT_ONCE: usize = 24;

/// A client of one Asterisk. Cloning shares the connections. Any task; needs a tokio runtime.
#[derive(Clone)]
pub struct Ari {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    http: reqwest::Client,
    /// As many requests are on their way by HTTP as it has permits.
    at_once: Semaphore,
    /// A connection for requests alone, where they go over WebSockets and nobody listens to events.
    spare: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Accepts Asterisk's connections, where it makes them.
    _accepts: Option<AbortOnDropHandle<()>>,
}

/// What requests, streams and the door share.
struct Core {
    config: AriConfig,
    address: config::Address,
    authorization: HeaderValue,
    tls: Option<Arc<rustls::ClientConfig>>,
    lines: Lines,
    door: Option<Door>,
    /// Streams of events that there are.
    streams: AtomicUsize,
}

impl Core {
    /// Host and port, for messages.
    fn peer(&self) -> &str {
        &self.address.peer
    }
}

impl Ari {
    /// A client for the Asterisk that `config` names. Connects to nothing yet. Where Asterisk is to connect to us
    /// ([`AriConfig::listen`]) it opens that port, and must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AriError::Config`] when the URL, the user, the file with certificates or the port cannot be used.
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
        let tls = trusted(&config, &address)?;
        let http = client(&config, tls.as_deref())?;
        let authorization = basic_authorization(&http, &config.user, &config.password);
        let door = config.listen.as_ref().map(Door::open).transpose()?;
        let from_asterisk =
            config.listen.as_ref().map(|listen| basic_authorization(&http, &listen.user, &listen.password));
        let core = Arc::new(Core {
            config,
            address,
            authorization,
            tls,
            lines: Lines::new(),
            door,
            streams: AtomicUsize::new(0),
        });
        let accepts = from_asterisk.and_then(|authorization| Door::serve(&core, authorization));
        let at_once = Semaphore::new(AT_ONCE);
        let inner = Inner { core, http, at_once, spare: Mutex::new(None), _accepts: accepts };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The events of application `app`, which registers it: Asterisk's `Stasis(app)` works from the first
    /// [`Signal::Connected`] on. Must be called inside a tokio runtime; the connection lives as long as the stream.
    ///
    /// The application is taken from whoever holds it now (that one gets `ApplicationReplaced`).
    #[must_use]
    pub fn events(&self, app: &str) -> EventStream {
        EventStream::open(&self.inner.core, app, false)
    }

    /// As [`Ari::events`], with the events of everything on the server, not of the application's own channels alone. Where
    /// Asterisk connects to us, `subscribe_all` in ari.conf says whether it sends them.
    #[must_use]
    pub fn all_events(&self, app: &str) -> EventStream {
        EventStream::open(&self.inner.core, app, true)
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.inner.core.address.peer
    }

    /// Where we listen for Asterisk's connections, if we do.
    #[must_use]
    pub fn listens_at(&self) -> Option<SocketAddr> {
        self.inner.core.door.as_ref().map(Door::address)
    }

    /// Host and port, to be connected to.
    #[must_use]
    pub fn dial_address(&self) -> (String, u16) {
        self.inner.core.address.dial()
    }

    /// Where to connect for the media of a WebSocket channel, whose connection the reply to externalMedia names
    /// ([`Channel::websocket_connection`](model::Channel::websocket_connection)).
    #[must_use]
    pub fn media_socket(&self, connection: &str) -> MediaSocket {
        let core = &self.inner.core;
        let (host, port) = core.address.dial();
        let authorization = core.authorization.to_str().unwrap_or_default().to_owned();
        MediaSocket { host, port, tls: core.tls.clone(), path: core.address.media(connection), authorization }
    }

    /// The user that requests are made as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.inner.core.config.user
    }

    /// Sends `request` and returns the body of the answer, at most `largest_answer` bytes of it.
    async fn send(&self, request: &Request) -> Result<Bytes, AriError> {
        match self.inner.core.config.requests {
            Requests::Http => self.send_by_http(request).await,
            Requests::WebSocket => timed(request, self.ask(request)).await,
        }
    }

    async fn send_by_http(&self, request: &Request) -> Result<Bytes, AriError> {
        timed(request, self.exchange(request)).await
    }

    /// Sends `request` over a WebSocket.
    async fn ask(&self, request: &Request) -> Result<Bytes, AriError> {
        let core = &self.inner.core;
        if core.door.is_none() && core.streams.load(Ordering::Relaxed) == 0 {
            let mut spare = self.inner.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.as_ref().is_none_or(|task| task.is_finished()) {
                *spare = Some(EventStream::spare(core));
            }
        }
        let (status, body) = core.lines.ask(core, request).await?;
        if body.len() > core.config.largest_answer {
            let limit = core.config.largest_answer;
            return Err(AriError::TooLarge { operation: request.operation(), limit });
        }
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(self.context(request).refusal(status, &body))
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes, AriError> {
        // Never closed.
        let _turn = self.inner.at_once.acquire().await;
        let largest = self.inner.core.config.largest_answer;
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
            if body.len() + chunk.len() > largest {
                return Err(AriError::TooLarge { operation: request.operation(), limit: largest });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body.freeze())
        } else {
            Err(self.context(request).refusal(status.as_u16(), &body))
        }
    }

    fn prepare(&self, request: &Request) -> reqwest::RequestBuilder {
        let core = &self.inner.core;
        let mut url = core.address.join(request.filled());
        let (query, body) = request.carried();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let builder = self
            .inner
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, core.authorization.clone());
        match body {
            Some(body) => builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(body),
            None => builder,
        }
    }

    fn failed(&self, request: &Request, error: reqwest::Error) -> AriError {
        let (peer, operation) = (self.inner.core.address.peer.clone(), request.operation());
        if error.is_connect() || !error.is_timeout() {
            return AriError::Unreachable { peer, operation, reason: innermost(&error.without_url()) };
        }
        AriError::Timeout {
            peer,
            operation,
            subject: request.subject.clone(),
            after: self.inner.core.config.timeout,
        }
    }

    fn context(&self, request: &Request) -> Context<'_> {
        Context {
            peer: &self.inner.core.address.peer,
            user: &self.inner.core.config.user,
            operation: request.operation(),
            subject: request.subject.clone(),
        }
    }
}

impl std::fmt::Debug for Ari {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ari")
            .field("peer", &self.inner.core.address.peer)
            .field("user", &self.inner.core.config.user)
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
#[derive(Clone)]
pub struct MediaSocket {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whom we trust, where it speaks TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The path.
    pub path: String,
    /// The value of the header `Authorization`.
    pub authorization: String,
}

/// Carries out a request and says in the log how it went.
async fn timed(
    request: &Request,
    carried_out: impl Future<Output = Result<Bytes, AriError>>,
) -> Result<Bytes, AriError> {
    let started = crate::time::Moment::now();
    let answer = carried_out.await;
    let (took_ms, operation) = (crate::time::Moment::now().millis_from(started), request.operation());
    match &answer {
        Ok(body) => {
            tracing::debug!(operation, subject = request.subject, took_ms, bytes = body.len(), "ari");
        }
        Err(error) => tracing::debug!(operation, subject = request.subject, took_ms, %error, "ari"),
    }
    answer
}

/// Whom we trust; nobody has to be trusted without TLS.
fn trusted(
    config: &AriConfig,
    address: &config::Address,
) -> Result<Option<Arc<rustls::ClientConfig>>, AriError> {
    if !address.is_tls() {
        return Ok(None);
    }
    super::tls::client(config.ca_file.as_deref()).map(Some).map_err(|error| AriError::Config {
        key: "ca_file",
        value: config.ca_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        wants: error.to_string(),
    })
}

/// The client for HTTP.
fn client(config: &AriConfig, tls: Option<&rustls::ClientConfig>) -> Result<reqwest::Client, AriError> {
    let builder = reqwest::Client::builder()
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        // Asterisk closes idle connections after 15 s (http.conf, session_keep_alive): being earlier avoids
        // sending into a connection that is about to close.
        .pool_idle_timeout(std::time::Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let builder = match tls {
        Some(tls) => builder.tls_backend_preconfigured(tls.clone()),
        None => builder,
    };
    builder.build().map_err(|error| AriError::Config {
        key: "url",
        value: config.url.clone(),
        wants: format!("an HTTP client that can be made here ({error})"),
    })
}

/// The value of the basic authorization header, marked so that nothing prints it.
fn basic_authorization(http: &reqwest::Client, user: &str, password: &super::secret::Secret) -> HeaderValue {
    let request = http
        .get("http://localhost/")
        .basic_auth(user, Some(password.reveal()))
        .build()
        .expect("a constant URL and a header of base 64 make a request");
    let mut value = request.headers().get(AUTHORIZATION).expect("basic_auth sets the header").clone();
    value.set_sensitive(true);
    value
}

/// The last cause of an error: the part that a user understands (`connection refused`).
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
