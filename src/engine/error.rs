//! What can go wrong with the engine as a whole.

use super::ConfigError;
use crate::asterisk::ami::AmiError;
use crate::asterisk::ari::AriError;
use crate::asterisk::callfile::CallFileError;
use crate::media::MediaError;
use crate::pcap::recorder::RecorderError;
use crate::speech::SpeechError;
use crate::store::StoreError;

/// Why the engine could not start or do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Asterisk refused or did not answer.
    #[error(transparent)]
    Asterisk(#[from] AriError),
    /// The media sockets or threads could not be had.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Packets cannot be kept.
    #[error(transparent)]
    Capture(#[from] RecorderError),
    /// The recogniser or synthesiser could not be had.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A flow cannot be used. The text has a line for each fault, with file and line.
    #[error("{0}")]
    Flow(String),
    /// A bot cannot be used.
    #[error("the bot `{name}`: {what}")]
    Bot {
        /// Its name.
        name: String,
        /// Why not.
        what: String,
    },
    /// Another engine has the store and the application.
    #[error(
        "an engine with the application '{app}' and this store is running: take its calls over with `offhook run --takeover`, or give this one an `app` under [asterisk] and a store of its own"
    )]
    Running {
        /// The application.
        app: String,
    },
    /// The engine that was to be replaced did not give its sockets.
    #[error(
        "the running engine does not hand its sockets over ({0}): look into its log, or end it and start this one"
    )]
    Takeover(std::io::Error),
    /// There is no such bot.
    #[error("there is no bot '{wanted}': the configuration has {known}")]
    NoBot {
        /// Its name.
        wanted: String,
        /// The names there are.
        known: String,
    },
    /// Asterisk has no way to whom we want to call.
    #[error(
        "Asterisk cannot call that ({0}): endpoints are written PJSIP/NAME, or PJSIP/NUMBER@TRUNK, and `pjsip show endpoints` on its console lists their names"
    )]
    CannotCall(AriError),
    /// No server can have a call that we want to make.
    #[error("no server can make a call now: {0}")]
    NoServer(String),
    /// The health page cannot be shown.
    #[error(
        "cannot listen on {address} for the health page: {source}; choose another `listen` under [health]"
    )]
    Health {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// AMI cannot be used.
    #[error("AMI: {0}")]
    Ami(AmiError),
    /// A call file cannot be written.
    #[error(transparent)]
    CallFile(CallFileError),
    /// A call that we made was not answered.
    #[error("nobody answered ({0})")]
    NotAnswered(String),
}
