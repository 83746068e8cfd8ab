//! The WebSocket to a service: read and written beside the call, with bounded channels between.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::config::Service;
use super::{RealtimeBot, gemini, openai};
use crate::service::web::Socket;
use crate::service::{ServiceError, web};

/// Messages on their way to a service: audio of the caller's, mostly, fifty a second.
const OUTBOX: usize = 512;
/// Messages on their way to a call. A service sends audio faster than it is heard; it then waits.
const INBOX: usize = 64;
/// How often a service is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which it is not.
const DEAD_AFTER: Duration = Duration::from_secs(15);
/// How long it may take to read what was sent.
const READS_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a service. Dropping it closes it.
pub(super) struct Link {
    out: mpsc::Sender<Message>,
    incoming: mpsc::Receiver<Result<String, String>>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// By kind.
    pub async fn connect(bot: &RealtimeBot, patience: Duration) -> Result<Self, ServiceError> {
        let section = &bot.file.realtime;
        let service = section.service.name();
        let key = bot.key.as_ref();
        let bad_key = || ServiceError::Rejected {
            service,
            what: "the key has characters that no header may have".into(),
        };
        let (url, headers) = match section.service {
            Service::Openai => {
                let url = section.url.as_deref().unwrap_or(openai::URL);
                let model = section.model.as_deref().unwrap_or(openai::MODEL);
                let joint = if url.contains('?') { '&' } else { '?' };
                let headers = key.map(|key| {
                    key.header("Bearer").map(|value| ("Authorization", value)).ok_or_else(bad_key)
                });
                (format!("{url}{joint}model={model}"), headers)
            }
            Service::Gemini => {
                let headers =
                    key.map(|key| key.header("").map(|value| ("x-goog-api-key", value)).ok_or_else(bad_key));
                (section.url.as_deref().unwrap_or(gemini::URL).to_owned(), headers)
            }
        };
        let headers: Vec<_> = headers.transpose()?.into_iter().collect();
        let socket = web_socket(&bot.web, service, &url, &headers, patience).await?;
        let (out, outbox) = mpsc::channel(OUTBOX);
        let (inbox, incoming) = mpsc::channel(INBOX);
        let task = tokio::spawn(async move {
            let why = carry(socket, outbox, &inbox).await;
            // The call may be over.
            let _ = inbox.send(Err(why)).await;
        });
        Ok(Self { out, incoming, _task: AbortOnDropHandle::new(task) })
    }

    /// Sends; false when the service does not read.
    pub fn send(&self, message: &serde_json::Value) -> bool {
        self.out.try_send(Message::text(message.to_string())).is_ok()
    }

    /// The next message, or why there is none any more. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, String> {
        self.incoming.recv().await.unwrap_or_else(|| Err("it was closed".into()))
    }
}

async fn web_socket(
    web: &web::Web,
    service: &'static str,
    url: &str,
    headers: &[(&'static str, reqwest::header::HeaderValue)],
    patience: Duration,
) -> Result<Socket, ServiceError> {
    web.websocket(service, url, headers, patience).await
}

async fn carry(
    socket: Socket,
    mut outbox: mpsc::Receiver<Message>,
    inbox: &mpsc::Sender<Result<String, String>>,
) -> String {
    let (mut sink, mut messages) = socket.split();
    let read = async {
        loop {
            let text = match timeout(DEAD_AFTER, messages.next()).await {
                Err(_) => return format!("it was silent for {DEAD_AFTER:?}, and answered no pings"),
                Ok(None) => return "it was closed".to_owned(),
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(Some(Ok(message))) => match message {
                    Message::Text(text) => text.to_string(),
                    // Gemini's JSON comes as binary messages.
                    Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Message::Close(Some(frame)) => {
                        let code = u16::from(frame.code);
                        return format!(
                            "it was closed with {code} {}",
                            frame.reason.chars().take(200).collect::<String>()
                        );
                    }
                    Message::Close(None) => return "it was closed".to_owned(),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                },
            };
            if inbox.send(Ok(text)).await.is_err() {
                return "the call is over".to_owned();
            }
        }
    };
    let write = async {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = outbox.recv() => message,
                _ = ping.tick() => Some(Message::Ping(Bytes::new())),
            };
            let Some(message) = message else { return "the call is over".to_owned() };
            match timeout(READS_WITHIN, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("it did not read for {READS_WITHIN:?}"),
            }
        }
    };
    tokio::select! {
        why = read => why,
        why = write => why,
    }
}
