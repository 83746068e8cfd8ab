//! May this contact be dialled now? The one place that decides it, for the claim and for the last look before dialling.
//!
//! Pure: what the book knows of the number comes in as [`Facts`].

use super::disposition::Disposition;
use super::hours::Zone;
use super::plan::Plan;
use crate::time::WallTime;

/// What is known of a contact whose time has come.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where he is; [`None`] when that is not known.
    pub zone: Option<&'a Zone>,
    /// Whether his number is on a do-not-call list, of all campaigns or of this one.
    pub is_on_list: bool,
    /// Calls to the number since midnight where he is, over all campaigns, without this one.
    pub calls_today: u32,
    /// Calls to the number that are up or being dialled, over all campaigns, without this one.
    pub calls_now: u32,
    /// Attempts of this campaign that are over.
    pub attempts: u32,
    /// Until when the pause after the last attempt lasts.
    pub not_before: WallTime,
    /// Whether there is a reference to his consent.
    pub has_consent: bool,
}

/// What becomes of the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// He may be dialled now.
    Dial,
    /// Not before this.
    NotBefore(WallTime),
    /// Never; why.
    Never(Disposition),
    /// Nobody knows where he is.
    Nowhere,
}

/// How long a number is left alone that is being called by another campaign.
const WHILE_CALLED_MS: i64 = 60_000;

/// Decides about a contact at `now`.
#[must_use]
pub fn decide(plan: &Plan, facts: &Facts<'_>, now: WallTime) -> Verdict {
    if facts.is_on_list || (plan.consent_required && !facts.has_consent) {
        return Verdict::Never(Disposition::OptedOut);
    }
    if plan.is_expired(now) {
        return Verdict::Never(Disposition::Expired);
    }
    let Some(zone) = facts.zone else { return Verdict::Nowhere };
    if facts.attempts >= plan.max_attempts {
        return Verdict::Never(Disposition::NoAnswer);
    }
    // Whatever holds him back, the last one counts: then it is asked again.
    let mut wait = facts.not_before.0;
    if facts.calls_now > 0 {
        wait = wait.max(now.0 + WHILE_CALLED_MS);
    }
    if facts.calls_today >= plan.calls_per_number_and_day {
        wait = wait.max(zone.next_midnight(now).0);
    }
    let earliest = WallTime(wait.max(now.0));
    match plan.hours.next_open(zone, earliest) {
        Some(at) if at.0 <= now.0 => Verdict::Dial,
        Some(at) => Verdict::NotBefore(at),
        None => Verdict::Never(Disposition::Expired),
    }
}

#[cfg(test)]
mod tests;
