//! What a bot may do with a telephone, whoever the bot is: a flow, a program of the user's, or a language model.
//!
//! A [`Call`](crate::call::Call) is transferred to a [`Destination`] of the configuration, by its name, or not at all. No bot
//! ever hands digits to the part that dials, so what a caller says, what a tool returns and what a model makes of both cannot
//! become a number. [`Policy`] knows the destinations and counts against the [`Limits`]; [`redact`] takes numbers of cards
//! and accounts out of what is written down.
//!
//! - `destination`: where calls may go, read from `[destination.NAME]`;
//! - `numbers`: which telephone numbers may stand there (`[policy]`);
//! - `call_back`: which callers may be called back (`[call_back]`);
//! - `caps`: how often, by call, by caller and by day;
//! - `redact`: what is taken out of records and logs.
//!
//! It never dials and never reads a clock: the time comes as an argument.

mod call_back;
mod caps;
mod destination;
mod numbers;
pub mod redact;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

pub use call_back::CallBackSection;
pub use caps::{Limits, Refusal};
pub(crate) use destination::is_sound;
pub use destination::{Destination, DestinationSection, Hold, Way};

use caps::Counts;
use numbers::NumberRules;

use crate::id::CallId;
use crate::time::WallTime;

/// `[policy]`: what holds for all destinations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySection {
    /// How often one call may be transferred; 0 is without a limit, here and below.
    pub transfers_per_call: u32,
    /// How often the calls of one caller's number may be in a day.
    pub transfers_per_caller_and_day: u32,
    /// How often all calls may be in a day.
    pub transfers_per_day: u32,
    /// The country whose numbers are not international, as `DE`.
    pub country: Option<String>,
    /// Other countries whose numbers may be dialled.
    pub international: Vec<String>,
    /// Whether numbers may be dialled that cost the one who calls more than a call: premium and shared cost.
    pub premium: bool,
}

impl Default for PolicySection {
    fn default() -> Self {
        let Limits { transfers_per_call, transfers_per_caller_and_day, transfers_per_day } =
            Limits::default();
        Self {
            transfers_per_call,
            transfers_per_caller_and_day,
            transfers_per_day,
            country: None,
            international: Vec::new(),
            premium: false,
        }
    }
}

impl PolicySection {
    fn limits(&self) -> Limits {
        let &Self { transfers_per_call, transfers_per_caller_and_day, transfers_per_day, .. } = self;
        Limits { transfers_per_call, transfers_per_caller_and_day, transfers_per_day }
    }
}

/// Where calls may be sent, and how often. One for the engine; any thread.
#[derive(Debug, Default)]
pub struct Policy {
    destinations: Vec<Destination>,
    limits: Limits,
    call_back: CallBackSection,
    counts: Mutex<Counts>,
}

impl Policy {
    /// Reads the destinations.
    ///
    /// # Errors
    /// A sentence that names the destination and says what is wrong with it.
    pub fn new(
        section: &PolicySection,
        destinations: &BTreeMap<String, DestinationSection>,
        call_back: &CallBackSection,
    ) -> Result<Self, String> {
        let rules = NumberRules::new(section)?;
        let destinations = destinations
            .iter()
            .map(|(name, destination)| Destination::read(name, destination, &rules))
            .collect::<Result<_, _>>()?;
        call_back.check()?;
        let (limits, call_back) = (section.limits(), call_back.clone());
        Ok(Self { destinations, limits, call_back, counts: Mutex::default() })
    }

    /// All destinations, by name.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// The destination of that name.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] names those that there are.
    pub fn find(&self, name: &str) -> Result<&Destination, Refusal> {
        self.destinations.iter().find(|destination| destination.name == name).ok_or_else(|| {
            let known: Vec<_> = self.destinations.iter().map(|known| known.name.as_str()).collect();
            Refusal::Unknown { known: known.join(", ") }
        })
    }

    /// Asks whether `call`, from `caller` (empty when withheld), may be transferred once more at `now`, and counts it.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(&self, call: CallId, caller: &str, now: WallTime) -> Result<(), Refusal> {
        self.counts().admit(&self.limits, call, caller, now)
    }

    /// How a caller of this number is called back `after` so long, as Asterisk dials it.
    ///
    /// # Errors
    /// [`Refusal::NoCallBack`] when his number is not among those that may be called.
    pub fn call_back(&self, caller: &str, after: Duration) -> Result<String, Refusal> {
        self.call_back.dial(caller, after).ok_or(Refusal::NoCallBack)
    }

    /// The bot that calls back; the one that promised it where there is none.
    #[must_use]
    pub fn call_back_bot(&self) -> Option<&str> {
        self.call_back.bot.as_deref()
    }

    /// The call is over: nothing more is counted for it.
    pub fn forget(&self, call: CallId) {
        self.counts().forget(call);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
