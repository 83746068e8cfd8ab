//! The way to a program that listens: one connection for each call.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use super::config::RemoteSection;
use super::error::RemoteError;
use super::message::VERSION;
use super::wire::{self, INBOX, Incoming, Line, OUTBOX, Takes};
use crate::id::CallId;
use crate::secret::Secret;
use crate::time::Moment;
use crate::tls;

/// The first pause between two tries, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A program that listens.
pub(super) struct Dial {
    request: Request<()>,
    tls: Option<Arc<ClientConfig>>,
}

impl Dial {
    /// The program at `url`. Blocks on the disk for the certificates that are trusted.
    pub fn new(url: &str, token: Option<&Secret>, section: &RemoteSection) -> Result<Self, RemoteError> {
        let setup = |error: &dyn std::fmt::Display| RemoteError::Setup(error.to_string());
        let mut request =
            url.into_client_request().map_err(|error| setup(&format_args!("`remote`: {error}")))?;
        let headers = request.headers_mut();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .map_err(|_| setup(&"the token of `remote` has characters that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert("Offhook-Version", HeaderValue::from(VERSION));
        let tls = url
            .starts_with("wss://")
            .then(|| tls::client(section.ca_file.as_deref()))
            .transpose()
            .map_err(|error| setup(&error))?;
        Ok(Self { request, tls })
    }

    /// Connects for `call`; tries again for so long.
    pub async fn line(&self, call: CallId, patience: Duration) -> Result<Line, RemoteError> {
        let until = Moment::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = until.since(Moment::now());
            let error = match timeout(left, self.connect(call)).await {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => error,
                Err(_) => RemoteError::Unreachable(format!("no answer within {patience:?}")),
            };
            // Half of it at random, so that many calls do not come back in step.
            let wait = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
            pause = (pause * 2).min(LONGEST_PAUSE);
            if error.is_final() || Moment::now() + wait >= until {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn connect(&self, call: CallId) -> Result<Line, RemoteError> {
        let mut request = self.request.clone();
        if let Ok(id) = HeaderValue::from_str(call.as_str()) {
            request.headers_mut().insert("Offhook-Call", id);
        }
        let connector = self.tls.clone().map_or(Connector::Plain, Connector::Rustls);
        let connected =
            connect_async_tls_with_config(request, Some(wire::limits()), true, Some(connector)).await;
        let (socket, _) = connected.map_err(|error| reason(&error))?;
        let (out, outbox) = mpsc::channel(OUTBOX);
        let (inbox, incoming) = mpsc::channel(INBOX);
        // It ends with the line: then nobody sends any more.
        tokio::spawn(async move {
            let why = wire::carry(socket, outbox, &mut One(inbox)).await;
            tracing::debug!(%call, why, "the connection to a call's program has ended");
        });
        Ok(Line::new(call, 0, out, incoming, None))
    }
}

fn reason(error: &tungstenite::Error) -> RemoteError {
    match error {
        Error::Http(response) => RemoteError::Refused(response.status().as_u16()),
        Error::Url(_) | Error::HttpFormat(_) => RemoteError::Setup(error.to_string()),
        other => RemoteError::Unreachable(other.to_string()),
    }
}

/// A connection for one call.
struct One(mpsc::Sender<Incoming>);

impl Takes for One {
    async fn take(&mut self, incoming: Incoming) -> bool {
        self.0.send(incoming).await.is_ok()
    }
}
