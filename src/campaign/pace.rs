//! How many calls to begin now, of which campaign, over which trunk. Deciding code: the time is an argument.
//!
//! - **Progressive**: a call for each free place, since each call that is answered has a bot.
//! - **Predictive**: calls that are answered go to people. As many ring as will be answered by the time that people are
//!   free: from the measured answer rate, ring time and handling time. What is wrongly guessed is an abandoned call, so the
//!   guess is made such that their expected share stays under the campaign's limit, and what has really been abandoned is
//!   measured: near the limit it dials one call for one free person.
//!
//! The limits of a campaign over all engines are kept by [`Book::claim`](super::Book::claim); those of trunks and of this
//! engine are kept here.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::book::CampaignId;
use super::plan::{Pacing, Plan};
use crate::time::Moment;

mod predict;

pub use predict::{Measured, People};

/// What a campaign is like right now.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// Which.
    pub campaign: CampaignId,
    /// What it is.
    pub plan: &'a Plan,
    /// How long ago it was started or resumed.
    pub since_start: Duration,
    /// Its calls of this engine that are being dialled or ring.
    pub ringing: u32,
    /// Its calls of this engine that have been answered.
    pub talking: u32,
    /// The people who take its calls, where they do.
    pub people: Option<People>,
}

/// Calls to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Over which trunk.
    pub trunk: String,
    /// How many.
    pub calls: u32,
}

/// Paces the campaigns of one engine. Told of each call: [`began`](Self::began), [`ended_ringing`](Self::ended_ringing),
/// [`handled`](Self::handled).
#[derive(Debug, Default)]
pub struct Pace {
    /// When calls began in the last second, oldest first.
    trunks: HashMap<String, VecDeque<Moment>>,
    campaigns: HashMap<CampaignId, OfCampaign>,
    /// Whose turn it is among campaigns of one priority.
    turn: usize,
}

#[derive(Debug, Default)]
struct OfCampaign {
    began: VecDeque<Moment>,
    measured: Measured,
}

/// The span in which calls are counted: what is said of a second holds in any second.
const SECOND: Duration = Duration::from_secs(1);

/// The same where calls have to be counted that are under way: what lies between us and the far end is not always as long.
const LONG_SECOND: Duration = Duration::from_millis(1_050);

/// How many calls may begin in how long, at so many a second (0.001 to 1,000): below one a second, one in so much longer.
#[must_use]
pub fn limit(rate: f64) -> (usize, Duration) {
    if rate >= 1.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1,000")]
        let most = rate.floor() as usize;
        (most, LONG_SECOND)
    } else {
        (1, LONG_SECOND.div_f64(rate.max(1e-3)))
    }
}

impl Pace {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls to begin at `now`: at most `room` in all (what the engine admits), for campaigns that run. `load` is
    /// how many calls are up at each trunk, over all campaigns and engines ([`Book::trunk_load`](super::Book::trunk_load)).
    ///
    /// Campaigns of a higher priority are served first, those of the same in turn, call by call. What is ordered counts as
    /// begun.
    pub fn next(
        &mut self,
        now: Moment,
        wishes: &[Wish<'_>],
        load: &[(String, u32)],
        room: u32,
    ) -> Vec<Order> {
        let mut load: HashMap<String, u32> = load.iter().cloned().collect();
        let mut wanted: Vec<u32> = wishes.iter().map(|wish| self.wanted(now, wish)).collect();
        let mut orders: Vec<Order> = Vec::new();
        let (mut room, count) = (room, wishes.len());
        self.turn = self.turn.wrapping_add(1);
        while room > 0 {
            // The highest priority that still gets something; among those the next in turn.
            let open = (0..count).filter(|index| wanted[*index] > 0);
            let Some(best) = open.map(|index| wishes[index].plan.priority).max() else { break };
            let is_next = |index: &usize| wanted[*index] > 0 && wishes[*index].plan.priority == best;
            let Some(index) = (0..count).map(|offset| (self.turn + offset) % count).find(is_next) else {
                break;
            };
            self.turn = index + 1;
            let wish = &wishes[index];
            let trunk = wish.plan.trunks.iter().find(|trunk| {
                let up = load.get(&trunk.name).copied().unwrap_or(0);
                up < trunk.capacity && self.trunk_may(&trunk.name, trunk.calls_per_second, now)
            });
            let Some(trunk) = trunk else {
                wanted[index] = 0;
                continue;
            };
            *load.entry(trunk.name.clone()).or_default() += 1;
            self.began(now, wish.campaign, &trunk.name);
            (wanted[index], room) = (wanted[index] - 1, room - 1);
            let known =
                orders.iter_mut().find(|order| order.campaign == wish.campaign && order.trunk == trunk.name);
            match known {
                Some(order) => order.calls += 1,
                None => {
                    orders.push(Order { campaign: wish.campaign, trunk: trunk.name.clone(), calls: 1 });
                }
            }
        }
        orders
    }

    /// A call began that was not ordered here: at another trunk, for one that had no room.
    pub fn began(&mut self, now: Moment, campaign: CampaignId, trunk: &str) {
        self.trunks.entry(trunk.to_owned()).or_default().push_back(now);
        self.campaigns.entry(campaign).or_default().began.push_back(now);
    }

    /// A call rang for so long, and a person answered it, or not.
    pub fn ended_ringing(&mut self, campaign: CampaignId, rang: Duration, by_person: bool) {
        self.campaigns.entry(campaign).or_default().measured.rang(rang, by_person);
    }

    /// A person of ours talked for so long and is free again; [`None`] when nobody was free for a call that was answered.
    pub fn handled(&mut self, campaign: CampaignId, talked: Option<Duration>) {
        self.campaigns.entry(campaign).or_default().measured.handled(talked);
    }

    /// The campaign is over: nothing more is counted for it.
    pub fn forget(&mut self, campaign: CampaignId) {
        self.campaigns.remove(&campaign);
    }

    /// What has been measured of a campaign.
    #[must_use]
    pub fn measured(&self, campaign: CampaignId) -> Option<&Measured> {
        self.campaigns.get(&campaign).map(|known| &known.measured)
    }

    /// How many calls a campaign would begin now if it were alone.
    fn wanted(&mut self, now: Moment, wish: &Wish<'_>) -> u32 {
        let plan = wish.plan;
        let known = self.campaigns.entry(wish.campaign).or_default();
        let places = plan.concurrency.saturating_sub(wish.ringing + wish.talking);
        let by_rate = may_begin(&mut known.began, plan.rate(wish.since_start), now);
        let by_people = match (plan.pacing, &wish.people) {
            (Pacing::Progressive, _) => u32::MAX,
            // Nobody is there to take a call.
            (Pacing::Predictive { .. }, None) => 0,
            (Pacing::Predictive { abandoned, .. }, Some(people)) => {
                known.measured.to_dial(people, wish.ringing, abandoned)
            }
        };
        places.min(by_rate).min(by_people)
    }

    fn trunk_may(&mut self, trunk: &str, rate: f64, now: Moment) -> bool {
        match self.trunks.get_mut(trunk) {
            Some(began) => may_begin(began, rate, now) > 0,
            None => true,
        }
    }
}

/// How many calls may begin now, of `rate` a second, when these have begun: never more than that in any second. Below one a
/// second it is one in so much longer a time.
fn may_begin(began: &mut VecDeque<Moment>, rate: f64, now: Moment) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are 0.001 to 1,000")]
    let (most, span) = if rate >= 1.0 {
        (rate.floor() as usize, SECOND)
    } else {
        (1, Duration::from_secs_f64(1.0 / rate.max(1e-4)))
    };
    // What a slower rate needs is kept: the longest span is that of the slowest rate there is.
    while began.front().is_some_and(|at| now.since(*at) >= Duration::from_secs(10_000)) {
        began.pop_front();
    }
    while began.len() > most.max(2_000) {
        began.pop_front();
    }
    let lately = began.iter().rev().take_while(|at| now.since(**at) < span).count();
    u32::try_from(most.saturating_sub(lately)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
