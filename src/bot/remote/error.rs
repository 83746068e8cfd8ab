//! Why a program could not, or can no longer, serve a call.

use std::time::Duration;

/// Why a program could not, or can no longer, serve a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It cannot be reached.
    #[error("the program cannot be reached ({0}): is it running, and is `remote` its address?")]
    Unreachable(String),
    /// It does not want us.
    #[error(
        "the program refused the connection with HTTP status {0}: check the path and the token of `remote`"
    )]
    Refused(u16),
    /// The configuration of the connection cannot be used.
    #[error("the connection to the program cannot be made: {0}")]
    Setup(String),
    /// No worker has room.
    #[error(
        "no program has registered for this bot, or those that have are full: start one, or more of them, with a larger `capacity`"
    )]
    NoWorker,
    /// The connection ended in the middle of a call.
    #[error("the connection to the program ended ({0})")]
    Lost(String),
    /// It said nothing for too long.
    #[error("the program did not say within {0:?} what to do (`reply_ms` of `remote`)")]
    Silent(Duration),
    /// What it says cannot be understood.
    #[error("the program sent {0} messages in a row that cannot be understood, the last one because {1}")]
    Garbage(u32, String),
}

impl RemoteError {
    /// Whether the same would come of another try.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Refused(status) => !matches!(status, 408 | 429 | 500..),
            Self::Setup(_) => true,
            _ => false,
        }
    }
}
