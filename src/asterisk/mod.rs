//! Typed clients of Asterisk that know nothing of bots.
//!
//! # Parts
//!
//! - [`agi`]: the Asterisk Gateway Interface: handlers of calls in the dialplan, over FastAGI, AMI and as a process.
//! - [`ami`]: the Asterisk Manager Interface: actions, lists and events for what ARI lacks.
//! - [`ari`]: the Asterisk REST Interface: every operation of it, and its events over a WebSocket that comes back by
//!   itself and says what happened meanwhile.
//! - [`callfile`]: calls out through the spool, for servers with neither ARI nor AMI.
//! - [`cdr`]: call detail records and channel events, joined to calls.
//! - [`number`]: numbers and names from outside, which mean nothing but themselves, and patterns for them.
//! - [`queue`]: what stands between a connection's reader and whoever handles its events.
//! - [`trunk`]: SIP trunks that are made while Asterisk runs.
//!
//! # What it never does
//!
//! It decides nothing about calls: it carries requests to Asterisk and events from it, and says of each failure
//! what kind it is ([`Advice`]). It logs no credentials, no phone numbers and no dialled endpoints: an error or a log
//! line names the operation (`DELETE /channels/{channelId}`) and the id of the thing, never a whole URL.
//!
//! # Errors
//!
//! One enum per part; each error says through `advice()` whether to try again, hang up or go on.

pub mod agi;
pub mod ami;
pub mod ari;
pub mod callfile;
pub mod cdr;
pub mod number;
pub mod queue;
pub mod trunk;

pub use crate::secret;
pub use crate::tls;

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Advice {
    /// Asterisk is away, busy or starting: the same request may work in a moment.
    Retry,
    /// The request will not work for this call: end it, after clearing what it left behind.
    HangUp,
    /// What the request asked for is so already, for instance the channel to hang up is gone.
    Ignore,
}

/// What the ids of channels and bridges begin with that the doctor makes to examine an Asterisk. An engine that sees one of
/// them enter its application leaves it alone: the doctor hangs up itself.
pub const PROBE: &str = "offhook-doctor-";
