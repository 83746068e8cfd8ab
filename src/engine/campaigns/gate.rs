//! The moment at which a call may begin: so many a second are never more, in whatever second is looked at.
//!
//! What counts is when Asterisk had taken a call, not when it was meant to: a process that stood still for a moment does not
//! send what it held back on top of what is due. What other engines begin, the book counts; when Asterisk took the last calls
//! of an engine that was killed, nobody knows, so a new one begins with a pause.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::campaign::CampaignId;
use crate::campaign::pace::limit;
use crate::time::Moment;

/// Lets calls pass. Deciding code: the time is an argument.
#[derive(Debug)]
pub(super) struct Gate {
    /// Before this none begins.
    opens: Moment,
    began: HashMap<Key, VecDeque<(Ticket, Moment)>>,
    last: u64,
}

/// Whose calls are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Campaign(CampaignId),
    Trunk(String),
}

/// A call that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// An engine that was killed had handed its last calls over within so long.
const HANDED_OVER: Duration = Duration::from_millis(250);

impl Gate {
    /// The gate of an engine that begins to call at `now`.
    pub fn new(now: Moment) -> Self {
        let (_, second) = limit(1.0);
        Self { opens: now + second + HANDED_OVER, began: HashMap::new(), last: 0 }
    }

    /// Lets a call of a campaign pass, over a trunk, each with its calls per second; or says when to ask again.
    pub fn pass(
        &mut self,
        now: Moment,
        (campaign, rate): (CampaignId, f64),
        trunk: Option<(&str, f64)>,
    ) -> Result<Ticket, Moment> {
        if now < self.opens {
            return Err(self.opens);
        }
        let trunk = trunk.map(|(name, rate)| (Key::Trunk(name.to_owned()), rate));
        let keys = [Some((Key::Campaign(campaign), rate)), trunk];
        let waits = keys.iter().flatten().filter_map(|(key, rate)| self.full_until(now, key, *rate));
        if let Some(later) = waits.max() {
            return Err(later);
        }
        self.last += 1;
        let ticket = Ticket(self.last);
        for (key, _) in keys.into_iter().flatten() {
            self.began.entry(key).or_default().push_back((ticket, now));
        }
        Ok(ticket)
    }

    /// Asterisk has the call; how long after it had passed.
    pub fn went(&mut self, ticket: Ticket, now: Moment) -> Duration {
        let mut late = Duration::ZERO;
        for (_, at) in self.began.values_mut().flatten().filter(|(known, _)| *known == ticket) {
            late = now.since(*at);
            *at = now;
        }
        late
    }

    /// Until when no call may begin; [`None`] when one may.
    fn full_until(&self, now: Moment, key: &Key, rate: f64) -> Option<Moment> {
        let (most, span) = limit(rate);
        let began = self.began.get(key)?;
        let mut lately: Vec<Moment> = began.iter().map(|(_, at)| *at).filter(|at| *at + span > now).collect();
        lately.sort_unstable();
        let free = lately.len().checked_sub(most)?;
        lately.get(free).map(|at| *at + span)
    }

    /// Forgets what no rate counts any more.
    pub fn forget(&mut self, now: Moment) {
        for began in self.began.values_mut() {
            began.retain(|(_, at)| now.since(*at) < LONGEST);
        }
        self.began.retain(|_, began| !began.is_empty());
    }
}

/// The span of the slowest rate that there is.
const LONGEST: Duration = Duration::from_secs(1_100);

#[cfg(test)]
mod tests {
    use super::*;

    /// When calls that are asked for at `asked` begin, each of which Asterisk has `late` after it passed.
    fn begun(
        rate: f64,
        trunk: Option<f64>,
        asked: impl Iterator<Item = u64>,
        late: fn(usize) -> u64,
    ) -> Vec<u64> {
        let mut gate = Gate::new(Moment::ZERO);
        let campaign = CampaignId::of_test(1);
        let mut waiting: Vec<u64> = asked.collect();
        waiting.sort_unstable();
        let (mut now, mut begun, mut went) = (0, Vec::new(), Vec::<(u64, Ticket)>::new());
        while begun.len() < waiting.len() {
            for (at, ticket) in went.extract_if(.., |(at, _)| *at <= now) {
                gate.went(ticket, Moment::from_millis(at));
            }
            while begun.len() < waiting.len() && waiting[begun.len()] <= now {
                let trunk = trunk.map(|rate| ("carrier", rate));
                let Ok(ticket) = gate.pass(Moment::from_millis(now), (campaign, rate), trunk) else { break };
                let at = now + late(begun.len());
                begun.push(at);
                went.push((at, ticket));
            }
            now += 1;
        }
        begun
    }

    fn most_in_a_second(moments: &[u64]) -> usize {
        let within = |from: &u64| moments.iter().filter(|at| (*from..from + 1_000).contains(*at)).count();
        moments.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_second_has_more_than_the_rate_however_they_come() {
        for rate in [1.0, 2.0, 7.5, 10.0, 50.0] {
            let burst = begun(rate, None, std::iter::repeat_n(0, 200), |_| 0);
            assert!(most_in_a_second(&burst) <= rate as usize, "{rate}: {burst:?}");
            let uneven = begun(rate, None, (0..300_u64).map(|n| n * n % 5_000 + n * 10), |_| 0);
            assert!(most_in_a_second(&uneven) <= rate as usize, "{rate}");
            // Asterisk stands still now and then.
            let late = begun(rate, None, std::iter::repeat_n(0, 200), |n| if n % 37 < 8 { 400 } else { 5 });
            assert!(most_in_a_second(&late) <= rate as usize, "{rate}: {late:?}");
        }
        assert_eq!(begun(0.5, None, std::iter::repeat_n(0, 3), |_| 0), [1_300, 3_400, 5_500]);
    }

    #[test]
    fn an_engine_that_has_just_started_does_not_add_to_the_second_of_the_one_before() {
        let before = begun(10.0, None, std::iter::repeat_n(0, 100), |_| 200);
        let killed = before[25] + 40;
        let after = begun(10.0, None, std::iter::repeat_n(0, 100), |_| 5).into_iter().map(|at| killed + at);
        // What it had let pass, Asterisk has a little later.
        let all: Vec<u64> = before.iter().copied().filter(|at| *at <= killed + 200).chain(after).collect();
        assert!(most_in_a_second(&all) <= 10, "{all:?}");
    }

    #[test]
    fn a_trunk_that_is_slower_than_the_campaign_decides() {
        let both = begun(20.0, Some(3.0), std::iter::repeat_n(0, 60), |_| 0);
        assert_eq!(most_in_a_second(&both), 3);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut gate = Gate::new(Moment::ZERO);
        let campaign = (CampaignId::of_test(1), 1.0);
        gate.pass(Moment::from_millis(1_300), campaign, Some(("carrier", 1.0))).unwrap();
        gate.forget(Moment::from_millis(2_000_000));
        assert!(gate.began.is_empty());
    }
}
