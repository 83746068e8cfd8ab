//! What can go wrong with ARI, and what to do about it.

use std::time::Duration;

use crate::asterisk::Advice;

/// A failed request or connection. `operation` is the method and the path with its placeholders, `subject` the id of the
/// channel, bridge, playback or recording that it was about (empty where there is none, or where it could name a person).
#[derive(Debug, thiserror::Error)]
pub enum AriError {
    /// The configuration cannot work; nothing was sent.
    #[error("ARI {key} = '{value}' cannot be used: {wants}")]
    Config {
        /// Which setting.
        key: &'static str,
        /// What it was set to (without credentials).
        value: String,
        /// What would be accepted.
        wants: String,
    },
    /// 401: the user or the password is wrong.
    #[error(
        "Asterisk at {peer} refuses user '{user}' or its password ({operation}): compare [{user}] in ari.conf with Offhook's configuration"
    )]
    Unauthorized {
        /// Host and port.
        peer: String,
        /// The user that was refused.
        user: String,
        /// What was asked for.
        operation: String,
    },
    /// 403: the user may not write, or not from here.
    #[error(
        "Asterisk at {peer} forbids {operation} to user '{user}' ({message}): set read_only = no for it in ari.conf, and check its permit lines"
    )]
    Forbidden {
        /// Host and port.
        peer: String,
        /// The user.
        user: String,
        /// What was asked for.
        operation: String,
        /// What Asterisk said.
        message: String,
    },
    /// 404 from Asterisk's HTTP server itself: there is no ARI behind this address.
    #[error(
        "the HTTP server at {peer} has no ARI ({operation}): load res_ari.so, set enabled = yes in ari.conf, and check the prefix in http.conf"
    )]
    NoAri {
        /// Host and port.
        peer: String,
        /// What was asked for.
        operation: String,
    },
    /// ARI is there, and does not know the operation (or its module is not loaded).
    #[error("this Asterisk does not offer {operation}: it is too old, or the module for it is not loaded")]
    Unsupported {
        /// What was asked for.
        operation: String,
    },
    /// 404: the channel, bridge, playback… is gone, or never was.
    #[error("{operation} {subject}: not found ({message})")]
    NotFound {
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// What Asterisk said.
        message: String,
    },
    /// 409 and 412: the thing is in a state that does not allow it, for instance a channel that left Stasis, or an id
    /// that is taken.
    #[error("{operation} {subject}: not in this state ({message})")]
    Conflict {
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// What Asterisk said.
        message: String,
    },
    /// 400, 422 and other refusals of the request itself.
    #[error("{operation} {subject}: refused with {status} ({message})")]
    Refused {
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// The HTTP status.
        status: u16,
        /// What Asterisk said.
        message: String,
    },
    /// 5xx: Asterisk could not do it.
    #[error("{operation} {subject}: Asterisk answered {status} ({message})")]
    Server {
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// The HTTP status; 503 while Asterisk starts or stops.
        status: u16,
        /// What Asterisk said.
        message: String,
    },
    /// No answer in time. The request may still be carried out.
    #[error(
        "{operation} {subject}: no answer from Asterisk at {peer} within {after:?}: is it overloaded or unreachable?"
    )]
    Timeout {
        /// Host and port.
        peer: String,
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// How long was waited.
        after: Duration,
    },
    /// No connection, or it broke.
    #[error(
        "cannot reach Asterisk at {peer} ({operation}): {reason}; check that it runs, that http.conf says enabled = yes, and its bindaddr and bindport"
    )]
    Unreachable {
        /// Host and port.
        peer: String,
        /// What was asked for.
        operation: String,
        /// What the system said.
        reason: String,
    },
    /// The WebSocket that the request went over broke before the answer came. It may have been carried out.
    #[error(
        "{operation} {subject}: the connection to Asterisk at {peer} broke before it answered: ask what there is, and try again"
    )]
    Broken {
        /// Host and port.
        peer: String,
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
    },
    /// The answer is not what ARI answers.
    #[error("{operation} {subject}: cannot understand the answer ({reason})")]
    Malformed {
        /// What was asked for.
        operation: String,
        /// About which thing.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is larger than is taken, or the request larger than Asterisk takes over a WebSocket.
    #[error("{operation}: more than {limit} bytes, which is more than is taken")]
    TooLarge {
        /// What was asked for.
        operation: String,
        /// The limit in bytes.
        limit: usize,
    },
}

impl AriError {
    /// Whether to try again, end the call or go on.
    ///
    /// A thing that is gone is nothing to mind when it was to be deleted, and the end of the call otherwise.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Timeout { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Server { status: 503, .. } => Advice::Retry,
            Self::NotFound { operation, .. } if operation.starts_with("DELETE ") => Advice::Ignore,
            _ => Advice::HangUp,
        }
    }

    /// Whether the thing that the request was about does not exist (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// What the mapping of an HTTP status to an error needs to know of the request.
pub(super) struct Context<'a> {
    pub(super) peer: &'a str,
    pub(super) user: &'a str,
    pub(super) operation: String,
    pub(super) subject: String,
}

impl Context<'_> {
    /// The error that an answer of `status` with `body` means; `status` is not a success.
    pub(super) fn refusal(self, status: u16, body: &[u8]) -> AriError {
        let said = message_of(body);
        let (operation, subject) = (self.operation, self.subject);
        let (peer, user) = (self.peer.to_owned(), self.user.to_owned());
        match (status, said) {
            (401, _) => AriError::Unauthorized { peer, user, operation },
            (404, None) => AriError::NoAri { peer, operation },
            (404, Some(message)) if message == "Resource not found" => AriError::Unsupported { operation },
            (405 | 501, Some(_)) => AriError::Unsupported { operation },
            (status, said) => {
                let message = said.unwrap_or_else(|| "no reason given".to_owned());
                match status {
                    403 => AriError::Forbidden { peer, user, operation, message },
                    404 => AriError::NotFound { operation, subject, message },
                    409 | 412 => AriError::Conflict { operation, subject, message },
                    500.. => AriError::Server { operation, subject, status, message },
                    _ => AriError::Refused { operation, subject, status, message },
                }
            }
        }
    }
}

/// The reason in an ARI error body; `None` when it is not one (Asterisk's own HTTP pages are HTML).
fn message_of(body: &[u8]) -> Option<String> {
    const LONGEST: usize = 200;
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = value.get("message").or_else(|| value.get("error"))?.as_str()?;
    Some(text.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(operation: &str, status: u16, body: &str) -> AriError {
        let context = Context {
            peer: "127.0.0.1:8088",
            user: "offhook",
            operation: operation.into(),
            subject: "offhook-bot-1".into(),
        };
        context.refusal(status, body.as_bytes())
    }

    /// What an Asterisk 22 sends when no handler is linked at the address.
    const HTML_404: &str = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\r\n<html><head>\r\n<title>404 Not Found</title>\r\n\
        </head><body>\r\n<h1>Not Found</h1>\r\n<p>The requested URL was not found on this server.</p>\r\n<hr />\r\n\
        <address>Asterisk</address>\r\n</body></html>\r\n";

    #[test]
    fn each_status_becomes_the_error_that_tells_what_to_do() {
        let hangup = "DELETE /channels/{channelId}";
        let gone = refusal(hangup, 404, r#"{"message":"Channel not found"}"#);
        assert!(gone.is_gone());
        assert_eq!(gone.advice(), Advice::Ignore);
        let gone = refusal("POST /channels/{channelId}/answer", 404, r#"{"message":"Channel not found"}"#);
        assert_eq!(gone.advice(), Advice::HangUp);
        let conflict = refusal(hangup, 409, r#"{"message":"Channel not in Stasis application"}"#);
        assert!(conflict.to_string().contains("Channel not in Stasis"), "{conflict}");
        assert!(matches!(refusal(hangup, 412, "{}"), AriError::Conflict { .. }));
        assert!(matches!(refusal(hangup, 422, "{}"), AriError::Refused { status: 422, .. }));
        let booting = refusal(hangup, 503, r#"{"message":"Asterisk not booted"}"#);
        assert_eq!(booting.advice(), Advice::Retry);
        assert_eq!(refusal(hangup, 500, r#"{"error":"Allocation failed"}"#).advice(), Advice::HangUp);
    }

    #[test]
    fn an_error_of_the_operator_names_the_line_to_change() {
        let missing = refusal("GET /asterisk/ping", 404, HTML_404);
        assert!(matches!(missing, AriError::NoAri { .. }));
        assert!(missing.to_string().contains("enabled = yes in ari.conf"), "{missing}");
        let wrong = refusal("GET /asterisk/ping", 401, r#"{"message":"Authentication required"}"#);
        assert!(wrong.to_string().contains("[offhook] in ari.conf"), "{wrong}");
        let reader = refusal("POST /channels", 403, r#"{"message":"Write access denied"}"#);
        assert!(reader.to_string().contains("read_only = no"), "{reader}");
        let old = refusal("POST /events/claim", 404, r#"{"message":"Resource not found"}"#);
        assert!(matches!(old, AriError::Unsupported { .. }));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let body = serde_json::json!({ "message": "x".repeat(100_000) }).to_string();
        assert!(refusal("GET /channels", 400, &body).to_string().len() < 400);
    }
}
