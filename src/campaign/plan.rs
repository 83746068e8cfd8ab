//! What a campaign is: the file that it is made from, read and checked.
//!
//! A [`Plan`] that exists is right. Every mistake is one sentence with the file, the line where it is known, and what to
//! write instead.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use self::file::{File, line_of};
use super::disposition::{Disposition, Retry};
use super::hours::Hours;
use super::number::Numbering;
use super::zones::SeveralZones;
pub use crate::store::Machines;
use crate::time::WallTime;

mod file;

/// A campaign file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// What a campaign is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bot that talks.
    pub bot: String,
    /// Over which trunks, the first one first.
    pub trunks: Vec<TrunkPlan>,
    /// Which number the called party sees; one of them, taken in turn. Empty: what the trunk sends by itself.
    pub callers: Vec<String>,
    /// Calls at once.
    pub concurrency: u32,
    /// New calls a second, once ramped up.
    pub calls_per_second: f64,
    /// How long it takes from a call every few seconds to [`calls_per_second`](Self::calls_per_second).
    pub ramp_up: Duration,
    /// Campaigns with a higher one dial first; those with the same share.
    pub priority: i32,
    /// When people may be called.
    pub hours: Hours,
    /// Calls to one contact.
    pub max_attempts: u32,
    /// The pause after each kind of outcome; [`None`] settles the contact.
    pub pauses: Pauses,
    /// Nobody is called after this.
    pub expires: Option<WallTime>,
    /// How long it may ring.
    pub ring: Duration,
    /// Whether what the network plays before the answer is heard: ringing and announcements.
    pub early_media: bool,
    /// Calls to one number in one day there, over all campaigns.
    pub calls_per_number_and_day: u32,
    /// What becomes of a call that a machine answered.
    pub machines: Machines,
    /// Which numbers are called.
    pub numbering: Numbering,
    /// What is done about countries with several zones.
    pub several_zones: SeveralZones,
    /// Whether contacts need a reference to their consent.
    pub consent_required: bool,
    /// How the number of calls is chosen.
    pub pacing: Pacing,
    /// Which variable of the bot says that the call was a success.
    pub conversion: Option<String>,
    /// Who is told of each outcome.
    pub webhook: Option<WebhookPlan>,
}

/// A trunk of a campaign.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkPlan {
    /// Its name at the server: `PJSIP/NUMBER@NAME` calls over it.
    pub name: String,
    /// Calls at once, over all campaigns.
    pub capacity: u32,
    /// New calls a second, over all campaigns.
    #[serde(default = "file::ten")]
    pub calls_per_second: f64,
}

/// The pause after each kind of outcome; [`None`] settles the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// After a busy line.
    pub busy: Option<Duration>,
    /// After nobody answered.
    pub no_answer: Option<Duration>,
    /// After the call was refused.
    pub rejected: Option<Duration>,
    /// After a network without room.
    pub congestion: Option<Duration>,
    /// After a machine.
    pub machine: Option<Duration>,
    /// After anything else that failed.
    pub failed: Option<Duration>,
}

/// How the number of calls is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// One bot for each call that is answered.
    Progressive,
    /// As many as people of ours will be free to talk to.
    Predictive {
        /// How many people there are.
        people: u32,
        /// The share of answered calls that may meet nobody, from 0 to 1.
        abandoned: f64,
    },
}

/// Who is told of each outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPlan {
    /// Where it is posted.
    pub url: String,
    /// The file with the key of its signature.
    pub secret_file: PathBuf,
}

impl Plan {
    /// Reads a campaign file. `name` is that of the file, for sentences.
    ///
    /// # Errors
    /// [`PlanError`], with what to write instead.
    pub fn parse(text: &str, name: &str) -> Result<Self, PlanError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            PlanError(format!("{name}:{line}: {}", error.message().trim()))
        })?;
        file.check().map_err(|(key, what)| {
            let line = line_of(text, key);
            PlanError(format!("{name}:{line}: {what}"))
        })
    }

    /// The pause after an outcome; [`None`] when the contact is settled by it.
    #[must_use]
    pub const fn pause(&self, after: Disposition) -> Option<Duration> {
        let pauses = &self.pauses;
        match after.retry() {
            Retry::Settled => None,
            Retry::Busy => pauses.busy,
            Retry::NoAnswer => pauses.no_answer,
            Retry::Rejected => pauses.rejected,
            Retry::Congestion => pauses.congestion,
            Retry::Machine => pauses.machine,
            Retry::Failed => pauses.failed,
        }
    }

    /// Whether its last day has passed.
    #[must_use]
    pub fn is_expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|last| now >= last)
    }

    /// How many calls may begin in a second, `since` so long after the campaign was started or resumed: from a tenth of
    /// [`calls_per_second`](Self::calls_per_second) in a straight line.
    #[must_use]
    pub fn rate(&self, since: Duration) -> f64 {
        if since >= self.ramp_up {
            return self.calls_per_second;
        }
        let share = since.as_secs_f64() / self.ramp_up.as_secs_f64();
        self.calls_per_second * (0.1 + 0.9 * share)
    }
}

#[cfg(test)]
mod tests;
