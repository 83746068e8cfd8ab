//! One attempt: the last look into the book, the call over one trunk or the next, and its end in the book.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::super::Phase;
use super::super::outbound::{Wanted, begin, server_for};
use super::super::server::Server;
use super::gate::Ticket;
use super::{Counted, Work, lock, patiently, since_start};
use crate::call::is_variable;
use crate::campaign::{AT_ONCE_MS, Campaign, CampaignError, Claimed, Cleared, Disposition, Withdrawn};
use crate::id::CallId;
use crate::time::{Moment, WallTime};

impl Work {
    /// One attempt, from the last look into the book to its end there.
    pub(super) async fn call(
        &self,
        campaign: &Campaign,
        contact: &Claimed,
        trunk: String,
        mut counted: Counted,
    ) -> Result<(), CampaignError> {
        let id = contact.attempt;
        let mut ticket = self.pass(campaign, &trunk).await;
        let Ok(server) = server_for(&self.servers, None) else {
            return self.book.give_back(id, WallTime::now()).await;
        };
        if self.cleared(campaign, id, &trunk, false).await? != Cleared::Dial {
            return Ok(());
        }
        let mut tried = vec![trunk];
        let closing = loop {
            let trunk = tried.last().expect("one was taken");
            let (begun, why) = (Instant::now(), self.dial(campaign, contact, trunk, server, ticket).await);
            let rang = begun.elapsed();
            let talked = match &why {
                Ok(()) => Some(self.answered(id, &mut counted).await?),
                Err(_) => None,
            };
            let Some(mut closing) = self.ending(campaign, id).await else {
                // Another process sees to it.
                return Ok(());
            };
            {
                let mut pace = lock(&self.pace);
                pace.ended_ringing(campaign.id, rang, closing.disposition.is_person());
                if closing.disposition.is_person() {
                    pace.handled(
                        campaign.id,
                        talked.filter(|_| closing.disposition != Disposition::Abandoned),
                    );
                }
            }
            if talked.is_none()
                && closing.disposition.may_take_another_trunk()
                && let Some(passed) = self.another(campaign, id, &mut tried).await?
            {
                ticket = passed;
                continue;
            }
            closing.note = closing.note.or(why.err());
            break closing;
        };
        patiently(|| self.book.finish(campaign, id, &closing, WallTime::now()).boxed()).await
    }

    /// The next trunk that has room, as the last of those that were tried; [`None`] when there is none.
    async fn another(
        &self,
        campaign: &Campaign,
        id: CallId,
        tried: &mut Vec<String>,
    ) -> Result<Option<Ticket>, CampaignError> {
        while self.may_dial()
            && let Some(other) = campaign.plan.trunks.iter().find(|other| !tried.contains(&other.name))
        {
            let ticket = self.pass(campaign, &other.name).await;
            tried.push(other.name.clone());
            match self.cleared(campaign, id, &other.name, true).await? {
                Cleared::Dial => return Ok(Some(ticket)),
                Cleared::Full => {}
                Cleared::NotBefore(_) | Cleared::Withdrawn(_) => break,
            }
        }
        Ok(None)
    }

    /// Looks until the book says whether a call is made, over its first trunk or `again`: as long as other engines take all of
    /// the rate, it waits. An engine that drains makes none, and gives the contact back that it has not called yet.
    async fn cleared(
        &self,
        campaign: &Campaign,
        id: CallId,
        trunk: &str,
        again: bool,
    ) -> Result<Cleared, CampaignError> {
        loop {
            if !self.may_dial() {
                if !again {
                    self.book.give_back(id, WallTime::now()).await?;
                }
                return Ok(Cleared::Withdrawn(Withdrawn::NotRunning));
            }
            let cleared = if again {
                patiently(|| self.book.dialled_again(campaign, &self.me, id, trunk, &WallTime::now).boxed())
                    .await?
            } else {
                self.book.dialled(campaign, &self.me, id, trunk, &WallTime::now).await?
            };
            match cleared {
                cleared @ (Cleared::Dial | Cleared::Full | Cleared::Withdrawn(_)) => return Ok(cleared),
                Cleared::NotBefore(at) => {
                    let wait = u64::try_from(at.0 - WallTime::now().0).unwrap_or(0).clamp(1, 1_000);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
    }

    /// Whether new calls are begun here.
    fn may_dial(&self) -> bool {
        *self.shared.phase.borrow() == Phase::Running
    }

    /// Waits for the moment when a call may begin.
    async fn pass(&self, campaign: &Campaign, trunk: &str) -> Ticket {
        let of_trunk = campaign.plan.trunks.iter().find(|known| known.name == trunk);
        let of_trunk = of_trunk.map(|trunk| (trunk.name.as_str(), trunk.calls_per_second));
        loop {
            let rate = campaign.plan.rate(since_start(campaign));
            let now = Moment::now();
            let passed = lock(&self.gate).pass(now, (campaign.id, rate), of_trunk);
            match passed {
                Ok(ticket) => return ticket,
                Err(later) => tokio::time::sleep(later.since(now)).await,
            }
        }
    }

    /// Calls the contact and waits until somebody answers; an error says in a sentence why nobody did.
    async fn dial(
        &self,
        campaign: &Campaign,
        contact: &Claimed,
        trunk: &str,
        server: &Arc<Server>,
        ticket: Ticket,
    ) -> Result<(), String> {
        let plan = &campaign.plan;
        let shown = contact.contact.in_turn(contact.nth, &plan.callers);
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let known: BTreeMap<String, String> =
            contact.variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let mut variables: BTreeMap<String, String> =
            known.clone().into_iter().filter(|(name, _)| is_variable(name)).collect();
        variables.insert("OFFHOOK_CAMPAIGN".into(), campaign.name.clone());
        variables.insert("OFFHOOK_ATTEMPT".into(), contact.nth.to_string());
        let wanted = Wanted {
            id: contact.attempt,
            endpoint: &format!("PJSIP/{}@{trunk}", contact.number),
            number: &contact.number,
            bot: &plan.bot,
            caller_id: shown.map(String::as_str),
            patience: plan.ring,
            known,
            variables,
            machines: plan.machines.clone(),
            early: plan.early_media,
        };
        let begun = begin(&self.shared, server, &self.ways, wanted).await;
        let late = lock(&self.gate).went(ticket, Moment::now());
        if late.as_millis() > AT_ONCE_MS.unsigned_abs().into() {
            // The other engines count it when it went out; nobody waits for that.
            let (book, id, at) = (self.book.clone(), contact.attempt, WallTime::now());
            tokio::spawn(async move {
                if let Err(error) = book.went_out(id, at).await {
                    tracing::debug!(call = %id, %error, "the book does not know when the call went out");
                }
            });
        }
        match begun {
            Ok(begun) => begun.answered().await,
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes down that somebody answered, waits until the call is over here, and says how long it was.
    pub(super) async fn answered(
        &self,
        id: CallId,
        counted: &mut Counted,
    ) -> Result<Duration, CampaignError> {
        let (at, talked) = (WallTime::now(), Instant::now());
        counted.talks(true);
        let noting = patiently(|| self.book.answered(id, at).boxed());
        let (noted, ()) = tokio::join!(noting, self.over(id));
        counted.talks(false);
        noted.map(|()| talked.elapsed())
    }
}
