//! What can go wrong with AMI, and what to do about it.

use std::time::Duration;

use crate::asterisk::Advice;

/// A failed action or connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmiError {
    /// The configuration cannot work; nothing was sent.
    #[error("AMI {key} = '{value}' cannot be used: {wants}")]
    Config {
        /// Which setting.
        key: &'static str,
        /// What it was set to (no secret).
        value: String,
        /// What would be accepted.
        wants: String,
    },
    /// The action would not be one message; nothing was sent.
    #[error("{action} was not sent: {key}: {what}")]
    Unsendable {
        /// The action.
        action: String,
        /// The key of the line at fault.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no connection.
    #[error("no AMI at {peer} ({why}); {action} was not sent")]
    Disconnected {
        /// Host and port.
        peer: String,
        /// What was to be done.
        action: String,
        /// Why there is none.
        why: super::Why,
    },
    /// The connection ended before the answer came. The action may be carried out.
    #[error("{action}: the connection to {peer} ended before the answer came")]
    Lost {
        /// Host and port.
        peer: String,
        /// What was asked for.
        action: String,
    },
    /// No answer in time. The action may still be carried out.
    #[error("{action}: no answer from AMI at {peer} within {after:?}: is Asterisk overloaded?")]
    Timeout {
        /// Host and port.
        peer: String,
        /// What was asked for.
        action: String,
        /// How long nothing came.
        after: Duration,
    },
    /// More actions wait for their answers than are kept.
    #[error("{action} was not sent: {limit} other actions wait for their answers")]
    Busy {
        /// What was to be done.
        action: String,
        /// How many may wait.
        limit: usize,
    },
    /// Asterisk says that the user may not do this.
    #[error(
        "AMI forbids {action} to user '{user}' ({message}): add the class to write = of [{user}] in manager.conf"
    )]
    Forbidden {
        /// What was asked for.
        action: String,
        /// The user.
        user: String,
        /// What Asterisk said.
        message: String,
    },
    /// Asterisk does not know the action.
    #[error(
        "this Asterisk does not offer {action} over AMI: it is too old, or the module for it is not loaded"
    )]
    Unsupported {
        /// What was asked for.
        action: String,
    },
    /// Asterisk refused.
    #[error("{action}: refused ({message})")]
    Refused {
        /// What was asked for.
        action: String,
        /// What Asterisk said.
        message: String,
    },
    /// The answer is larger than is taken, or not of the form that the action has.
    #[error("{action}: cannot use the answer ({what})")]
    Malformed {
        /// What was asked for.
        action: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl AmiError {
    /// Whether to try again, end the call or go on.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Disconnected { .. } | Self::Lost { .. } | Self::Timeout { .. } | Self::Busy { .. } => {
                Advice::Retry
            }
            Self::Refused { message, .. } if is_gone(message) => Advice::Ignore,
            _ => Advice::HangUp,
        }
    }

    /// Whether what the action was about does not exist (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if is_gone(message))
    }

    /// The error that a response `Error` with this message means.
    pub(super) fn refusal(action: &str, user: &str, message: &str) -> Self {
        let action = action.to_owned();
        let message: String = message.chars().take(200).collect();
        if message.starts_with("Invalid/unknown command") {
            Self::Unsupported { action }
        } else if message == "Permission denied" {
            Self::Forbidden { action, user: user.to_owned(), message }
        } else {
            Self::Refused { action, message }
        }
    }
}

fn is_gone(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no such channel")
        || message.contains("channel not found")
        || message.contains("does not exist")
        || message.contains("not found")
        || message.contains("not exist")
}
