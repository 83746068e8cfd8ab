//! What can go wrong with AGI, and what to do about it.

use crate::asterisk::Advice;

/// A failed command, session or server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgiError {
    /// The caller hung up.
    #[error("the caller hung up")]
    HungUp,
    /// The session is over: Asterisk closed it, or the connection broke.
    #[error("the AGI session is over ({0})")]
    Closed(String),
    /// The command would not be one line; nothing was sent.
    #[error("{command} was not sent: {what}")]
    Unsendable {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// 510: this Asterisk does not have the command.
    #[error("this Asterisk has no AGI command {command}: it is too old, or the module for it is not loaded")]
    Unknown {
        /// The command.
        command: &'static str,
    },
    /// 511: not for a channel that is hung up.
    #[error("{command} is not for a channel that is hung up")]
    Dead {
        /// The command.
        command: &'static str,
    },
    /// 520: it was used wrongly.
    #[error("{command} was used wrongly: {usage}")]
    Usage {
        /// The command.
        command: &'static str,
        /// How it is used.
        usage: String,
    },
    /// Asterisk could not do it: a file that is not there, an application that does not exist.
    #[error("Asterisk could not do {command}: the file, application or channel may not exist; its log tells")]
    Failed {
        /// The command.
        command: &'static str,
    },
    /// The answer is not what the command is answered with.
    #[error("{command}: cannot understand the answer")]
    Malformed {
        /// The command.
        command: &'static str,
    },
    /// What came is no AGI session, or too large for one.
    #[error("refused an AGI session: {0}")]
    Refused(&'static str),
    /// There is no handler of that name.
    #[error("no AGI handler '{wanted}': there are {known}")]
    NoHandler {
        /// The script that the dialplan asks for.
        wanted: String,
        /// The names that there are.
        known: String,
    },
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// The handler has a reason of its own to end.
    #[error("{0}")]
    Handler(String),
}

impl AgiError {
    /// Whether to try again, end the call or go on.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::HungUp | Self::Dead { .. } => Advice::Ignore,
            Self::Closed(_) => Advice::Retry,
            _ => Advice::HangUp,
        }
    }

    /// Whether it only says that the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::HungUp | Self::Closed(_) | Self::Dead { .. })
    }
}
