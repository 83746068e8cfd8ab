//! How often calls may be transferred: per call, per caller and day, per day.

use std::collections::HashMap;

use crate::id::CallId;
use crate::time::WallTime;

/// Callers that are counted apart in a day; those beyond share one count, so that nobody can make it grow.
const MOST_CALLERS: usize = 100_000;

/// How often calls may be transferred; 0 is without a limit. Attempts count, whether they are answered or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In one call.
    pub transfers_per_call: u32,
    /// For one caller's number in a day.
    pub transfers_per_caller_and_day: u32,
    /// For all calls in a day.
    pub transfers_per_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { transfers_per_call: 3, transfers_per_caller_and_day: 20, transfers_per_day: 0 }
    }
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such destination.
    #[error("there is no destination of that name, only: {known}")]
    Unknown {
        /// The names, separated by commas.
        known: String,
    },
    /// This call has been transferred as often as it may be.
    #[error("this call has been transferred as often as `transfers_per_call` under [policy] allows")]
    Call,
    /// So has this caller today.
    #[error(
        "this caller has been transferred as often today as `transfers_per_caller_and_day` under [policy] allows"
    )]
    Caller,
    /// So have all callers together.
    #[error("callers have been transferred as often today as `transfers_per_day` under [policy] allows")]
    Day,
    /// The caller may not be called back.
    #[error("the caller's number is not among the `numbers` under [call_back], or there is no `trunk`")]
    NoCallBack,
    /// The destination takes no text messages.
    #[error("the destination has no `message` address in the configuration")]
    NoMessages,
}

/// What has been counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    day: i64,
    today: u32,
    by_caller: HashMap<String, u32>,
    by_call: HashMap<CallId, u32>,
}

impl Counts {
    /// Counts one more transfer, if it may be.
    pub(super) fn admit(
        &mut self,
        limits: &Limits,
        call: CallId,
        caller: &str,
        now: WallTime,
    ) -> Result<(), Refusal> {
        let day = now.local_day();
        if day != self.day {
            self.day = day;
            self.today = 0;
            self.by_caller.clear();
        }
        let below = |count: u32, limit: u32| limit == 0 || count < limit;
        let of_call = self.by_call.get(&call).copied().unwrap_or(0);
        let caller = if self.by_caller.len() < MOST_CALLERS || self.by_caller.contains_key(caller) {
            caller
        } else {
            ""
        };
        let of_caller = self.by_caller.get(caller).copied().unwrap_or(0);
        if !below(of_call, limits.transfers_per_call) {
            return Err(Refusal::Call);
        }
        if !below(of_caller, limits.transfers_per_caller_and_day) {
            return Err(Refusal::Caller);
        }
        if !below(self.today, limits.transfers_per_day) {
            return Err(Refusal::Day);
        }
        self.today = self.today.saturating_add(1);
        self.by_call.insert(call, of_call + 1);
        self.by_caller.insert(caller.to_owned(), of_caller + 1);
        Ok(())
    }

    pub(super) fn forget(&mut self, call: CallId) {
        self.by_call.remove(&call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    const NOON: WallTime = WallTime(1_795_262_400_000);

    #[test]
    fn each_limit_holds_by_itself_and_the_day_begins_anew() {
        let limits = Limits { transfers_per_call: 2, transfers_per_caller_and_day: 3, transfers_per_day: 5 };
        let mut counts = Counts::default();
        let calls: Vec<CallId> = (0..6).map(|n| CallId::new(WallTime(NOON.0 + n))).collect();
        let mut admit = |call: usize, caller: &str, now| counts.admit(&limits, calls[call], caller, now);
        assert_eq!(admit(0, "1", NOON), Ok(()));
        assert_eq!(admit(0, "1", NOON), Ok(()));
        assert_eq!(admit(0, "1", NOON), Err(Refusal::Call));
        assert_eq!(admit(1, "1", NOON), Ok(()));
        assert_eq!(admit(2, "1", NOON), Err(Refusal::Caller), "a refusal is not counted");
        assert_eq!(admit(2, "2", NOON), Ok(()));
        assert_eq!(admit(3, "3", NOON), Ok(()));
        assert_eq!(admit(4, "4", NOON), Err(Refusal::Day));
        let tomorrow = WallTime(NOON.0 + DAY_MS);
        assert_eq!(admit(2, "1", tomorrow), Ok(()));
        assert_eq!(admit(0, "5", tomorrow), Err(Refusal::Call), "a call over midnight is one call");
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = Limits { transfers_per_call: 0, transfers_per_caller_and_day: 0, transfers_per_day: 0 };
        let mut counts = Counts::default();
        let call = CallId::new(NOON);
        assert!((0..1_000).all(|_| counts.admit(&limits, call, "", NOON).is_ok()));
        counts.forget(call);
        assert!(counts.by_call.is_empty());
    }
}
