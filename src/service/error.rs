//! What goes wrong with a service, by kind, so that it is known what to do about it.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio_tungstenite::tungstenite;

/// At most so many characters of what a service said go into an error.
const MOST_SAID: usize = 200;

/// No service is waited for longer than this, whatever its `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Why a service did not do what was asked. `service` is its name in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It does not accept our key (401), or not for this (403): asking again does not help before somebody does something.
    #[error("{service} does not accept the key ({what}): check `key` under [service.{service}]")]
    Refused {
        /// Which service.
        service: &'static str,
        /// What it said.
        what: String,
    },
    /// Too many requests, or nothing left to spend (429).
    #[error(
        "{service} takes no more requests for now ({what}): raise the account's limit, or lower `max_calls` under [engine]"
    )]
    TooMany {
        /// Which service.
        service: &'static str,
        /// What it said.
        what: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The request itself is at fault (another 4xx): a voice or a model that it does not have, a text that it does not take.
    #[error("{service} does not take the request: {what}")]
    Rejected {
        /// Which service.
        service: &'static str,
        /// What it said.
        what: String,
    },
    /// It is broken (5xx), or says that it failed.
    #[error("{service} failed: {what}")]
    Broken {
        /// Which service.
        service: &'static str,
        /// What it said.
        what: String,
    },
    /// There is no connection to it.
    #[error("{service} cannot be reached ({what}): start it, or correct `url` under [service.{service}]")]
    Unreachable {
        /// Which service.
        service: &'static str,
        /// What the system said.
        what: String,
    },
    /// It does not speak the protocol.
    #[error("{service} answered with something else than expected: {what}")]
    Protocol {
        /// Which service.
        service: &'static str,
        /// What came.
        what: String,
    },
    /// It took too long.
    #[error("{service}: no {what} within {} ms", after.as_millis())]
    Timeout {
        /// Which service.
        service: &'static str,
        /// What was waited for: `connection`, `first audio`.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// It closed the connection before it was done.
    #[error("{service} closed the connection before it was done ({what})")]
    Closed {
        /// Which service.
        service: &'static str,
        /// What it said, if anything.
        what: String,
    },
}

impl ServiceError {
    /// The kind of error that an HTTP status other than success is, with what the service said in its `body`.
    #[must_use]
    pub fn of_status(service: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let what = said(status, body);
        match status.as_u16() {
            401 | 403 => Self::Refused { service, what },
            // 402: nothing left to spend; 408 and 425: not now.
            402 | 429 => Self::TooMany { service, what, retry_after: retry_after(headers) },
            408 | 425 | 500.. => Self::Broken { service, what },
            400..500 => Self::Rejected { service, what },
            // A redirect is followed by nobody: keys go where the configuration says.
            _ => Self::Protocol { service, what },
        }
    }

    /// The kind of error that reqwest reports. The address is left out: it may have a key in it.
    #[must_use]
    pub fn of_http(service: &'static str, error: reqwest::Error) -> Self {
        let (connect, timeout, body) =
            (error.is_connect(), error.is_timeout(), error.is_body() || error.is_decode());
        let error = error.without_url();
        let what = innermost(&error);
        match (connect, timeout, body) {
            (true, ..) => Self::Unreachable { service, what },
            (_, true, _) => Self::Broken { service, what },
            (_, _, true) => Self::Closed { service, what },
            _ => Self::Closed { service, what },
        }
    }

    /// The kind of error that a WebSocket reports.
    #[must_use]
    pub fn of_websocket(service: &'static str, error: &tungstenite::Error) -> Self {
        use tungstenite::Error as E;
        match error {
            E::Http(answer) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Self::of_status(service, answer.status(), answer.headers(), body)
            }
            E::ConnectionClosed | E::AlreadyClosed => {
                Self::Closed { service, what: "no reason given".into() }
            }
            E::Io(error) => Self::Closed { service, what: error.to_string() },
            E::Tls(error) => Self::Unreachable { service, what: error.to_string() },
            E::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Closed { service, what: "without a word".into() }
            }
            other => Self::Protocol { service, what: short(&other.to_string()) },
        }
    }

    /// The kind of error that a WebSocket's close frame is.
    #[must_use]
    pub fn of_close(service: &'static str, code: u16, reason: &str) -> Self {
        let what = if reason.is_empty() { format!("{code}") } else { format!("{code}, {}", short(reason)) };
        match code {
            // Policy: how services say over a WebSocket that the key is not accepted or the request at fault.
            1008 => Self::Rejected { service, what },
            1011..=1013 => Self::Broken { service, what },
            _ => Self::Closed { service, what },
        }
    }

    /// Which service.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        match self {
            Self::Refused { service, .. }
            | Self::TooMany { service, .. }
            | Self::Rejected { service, .. }
            | Self::Broken { service, .. }
            | Self::Unreachable { service, .. }
            | Self::Protocol { service, .. }
            | Self::Timeout { service, .. }
            | Self::Closed { service, .. } => service,
        }
    }

    /// Whether the same request will fail in the same way again: it is not asked again.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Rejected { .. })
    }

    /// Whether it says something about the service's health, as opposed to this one request.
    #[must_use]
    pub const fn counts(&self) -> bool {
        !matches!(self, Self::Rejected { .. })
    }

    /// When the service wants to be asked again, where it said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The status and the beginning of what came with it; of the usual JSON the sentence in it.
fn said(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4_096)]);
    let sentence = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|json| sentence_in(&json));
    let text = short(sentence.as_deref().unwrap_or(text.trim()));
    if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }
}

/// Where services put their sentence: `error.message`, `error`, `detail.message`, `detail`, `message`, `err_msg`, `title`.
fn sentence_in(json: &serde_json::Value) -> Option<String> {
    ["error", "detail", "message", "err_msg", "title"].iter().find_map(|key| match json.get(key)? {
        serde_json::Value::String(text) => Some(text.clone()),
        inner @ serde_json::Value::Object(_) => sentence_in(inner),
        _ => None,
    })
}

/// One line without control characters, and not too long: it goes into logs.
pub(crate) fn short(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = clean.take(MOST_SAID).collect();
    if text.chars().nth(MOST_SAID).is_some() {
        cut.push('…');
    }
    cut
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    short(&error.to_string())
}

/// `Retry-After` in seconds; a date is not understood, and is as good as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0)
        .then(|| Duration::from_secs_f64(seconds.min(1e6)).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> ServiceError {
        let status = StatusCode::from_u16(status).unwrap();
        ServiceError::of_status("cloud", status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_status_says_of_which_kind_it_is() {
        assert!(matches!(of(401, ""), ServiceError::Refused { .. }) && of(401, "").is_lasting());
        assert!(matches!(of(403, ""), ServiceError::Refused { .. }));
        assert!(matches!(of(429, ""), ServiceError::TooMany { .. }) && !of(429, "").is_lasting());
        assert!(matches!(of(404, ""), ServiceError::Rejected { .. }) && !of(404, "").counts());
        assert!(matches!(of(500, ""), ServiceError::Broken { .. }) && of(500, "").counts());
        assert!(matches!(of(503, ""), ServiceError::Broken { .. }));
        assert!(matches!(of(302, ""), ServiceError::Protocol { .. }));
    }

    #[test]
    fn the_sentence_of_the_service_is_passed_on_and_kept_short() {
        let error = of(400, r#"{"error":{"message":"no such voice","type":"invalid"}}"#).to_string();
        assert_eq!(error, "cloud does not take the request: 400 Bad Request: no such voice");
        assert!(
            of(422, r#"{"detail":{"status":"x","message":"too long"}}"#).to_string().ends_with("too long")
        );
        let noisy = of(500, &"\u{1b}[31m boom\n".repeat(100)).to_string();
        assert!(noisy.len() < 400 && !noisy.contains('\u{1b}') && !noisy.contains('\n'), "{noisy}");
    }

    #[test]
    fn when_to_ask_again_is_read_and_bounded() {
        let after = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            ServiceError::of_status("cloud", StatusCode::TOO_MANY_REQUESTS, &headers, b"").retry_after()
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("999999999999"), Some(LONGEST_WAIT));
        assert_eq!((after("-1"), after("NaN"), after("Sat, 21 Nov 2026 15:00:00 GMT")), (None, None, None));
    }
}
