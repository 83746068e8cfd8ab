//! Claiming the next contacts: the one way to an attempt.
//!
//! A contact's `due_ms` holds pauses alone. The window is asked once for each place of the campaign (there are a handful),
//! and only the places where it is open are looked at, the one first whose window closes first. So a claim costs the same
//! among a million contacts as among ten, and at night it costs nothing.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{Any, Row as _, Transaction};

use super::db::Kind;
use super::{Book, Campaign, ContactId, Engine, LEASE_MS, State};
use crate::campaign::CampaignError;
use crate::campaign::disposition::Disposition;
use crate::campaign::hours::Zone;
use crate::campaign::pace::limit;
use crate::campaign::permit::{Facts, Verdict, decide};
use crate::id::CallId;
use crate::time::WallTime;

/// Rows that one look at a place reads at least: some of them may have to be put off.
const LEAST_ROWS: usize = 16;

/// Looks at one place in one claim: what has to be put off beyond that is put off in the next ones.
const MOST_LOOKS: usize = 4;

/// Most contacts of one claim.
const MOST: usize = 500;

/// A contact that is ours to dial, and the attempt that is in the book for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The contact.
    pub contact: ContactId,
    /// The attempt; the call has the same id, and so its channel does.
    pub attempt: CallId,
    /// The number, in international form.
    pub number: String,
    /// Which attempt it is for this contact: 1 is the first.
    pub nth: u32,
    /// What the list says of him, by column.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The reference to his consent.
    pub consent: Option<String>,
}

struct Candidate {
    id: i64,
    number: String,
    consent: Option<String>,
    variables: Option<String>,
    attempts: u32,
}

/// What a campaign's row says while nobody else can change it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    state: State,
    started: Option<WallTime>,
}

#[derive(Default, Clone, Copy)]
struct Known {
    is_on_list: bool,
    today: u32,
    now: u32,
}

impl Book {
    /// Claims up to `most` contacts that may be dialled at `now` over `trunk`, and writes an attempt for each. Never more than the
    /// campaign's `concurrency` and the trunk's `capacity` leave room for, over all engines and campaigns, nor more in any second
    /// than its `calls_per_second` (as ramped up). None when it does not run.
    ///
    /// Each is then dialled with [`dialled`](Self::dialled) and ended with [`finish`](Self::finish), or given back with
    /// [`give_back`](Self::give_back).
    ///
    /// # Errors
    /// [`CampaignError::Database`]; then nothing is claimed.
    pub async fn claim(
        &self,
        campaign: &Campaign,
        engine: &Engine,
        trunk: &str,
        now: WallTime,
        most: usize,
    ) -> Result<Vec<Claimed>, CampaignError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        // Which places are open is no matter of the transaction: the calendar does not change under it.
        let mut open: Vec<(WallTime, String, Zone)> = Vec::new();
        for place in self.places(campaign.id).await? {
            if let Some(zone) = self.zones.zone(&place)
                && let Some(closes) = campaign.plan.hours.closes(&zone, now)
            {
                open.push((closes, place, zone));
            }
        }
        if open.is_empty() && !campaign.plan.is_expired(now) {
            return Ok(Vec::new());
        }
        open.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        self.claim_in(campaign, (engine, trunk), now, most, &open).await.map_err(|why| self.db.sort(why))
    }

    async fn claim_in(
        &self,
        campaign: &Campaign,
        (engine, trunk): (&Engine, &str),
        now: WallTime,
        most: usize,
        open: &[(WallTime, String, Zone)],
    ) -> Result<Vec<Claimed>, sqlx::Error> {
        // A claim that the database loses when it falls down is a claim that never was: before a number is dialled, the mark for
        // that is on the disk, and with it all that was written before it.
        let mut tx = match self.db.begin_losable().await {
            Ok(tx) => tx,
            Err(CampaignError::Database { why, .. }) => return Err(why),
            Err(_) => return Err(sqlx::Error::PoolClosed),
        };
        let held = self.hold(&mut tx, campaign, trunk).await?;
        if campaign.plan.is_expired(now) {
            expire_some(&mut tx, campaign.id.0).await?;
            tx.commit().await?;
            return Ok(Vec::new());
        }
        let most = most.min(MOST).min(self.room(&mut tx, campaign, trunk, held, now).await?);
        let mut claimed = Vec::new();
        for (_, place, zone) in open {
            for _ in 0..MOST_LOOKS {
                if claimed.len() >= most {
                    break;
                }
                let wanted = most - claimed.len();
                let rows = wanted.max(LEAST_ROWS);
                let (candidates, may_be_more) = self.candidates(&mut tx, campaign, place, now, rows).await?;
                self.sift(
                    &mut tx,
                    campaign,
                    (engine, trunk),
                    now,
                    (place, zone),
                    candidates,
                    wanted,
                    &mut claimed,
                )
                .await?;
                if !may_be_more {
                    break;
                }
            }
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Nobody else begins a call of this campaign or over this trunk, nor counts theirs, until the transaction ends. The campaign's
    /// row is taken before the trunk, everywhere.
    pub(super) async fn hold(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        trunk: &str,
    ) -> Result<Held, sqlx::Error> {
        let mut query = sqlx::query(self.db.sql(
            "SELECT state, started_ms FROM campaigns WHERE id = $1",
            "WITH held AS MATERIALIZED (SELECT state, started_ms FROM campaigns WHERE id = $1 FOR UPDATE)
             SELECT state, started_ms, CAST(pg_advisory_xact_lock(hashtextextended($2, 7021974)) AS TEXT) FROM held",
        ))
        .bind(campaign.id.0);
        if self.db.kind == Kind::Postgres {
            query = query.bind(trunk);
        }
        let row = query.fetch_one(&mut **tx).await?;
        Ok(Held {
            state: State::read(row.try_get::<&str, _>(0)?),
            started: row.try_get::<Option<i64>, _>(1)?.map(WallTime),
        })
    }

    /// How many more calls the campaign may begin at `now` over a trunk, by what all engines and campaigns have in the book.
    async fn room(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        trunk: &str,
        held: Held,
        now: WallTime,
    ) -> Result<usize, sqlx::Error> {
        let plan = &campaign.plan;
        if held.state != State::Running {
            return Ok(0);
        }
        let started = held.started.unwrap_or(now);
        let since = std::time::Duration::from_millis(now.0.saturating_sub(started.0).max(0).unsigned_abs());
        let (in_span, span) = limit(plan.rate(since));
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM campaign_attempts WHERE campaign = $1 AND ended_ms IS NULL),
                    (SELECT COUNT(*) FROM campaign_attempts WHERE campaign = $1 AND claimed_ms > $2),
                    (SELECT COUNT(*) FROM campaign_attempts WHERE ended_ms IS NULL AND trunk = $3)",
        )
        .bind(campaign.id.0)
        .bind(now.0 - span_ms)
        .bind(trunk)
        .fetch_one(&mut **tx)
        .await?;
        let count = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
        let (up, lately, over_trunk) =
            (count(row.try_get(0)?), count(row.try_get(1)?), count(row.try_get(2)?));
        let concurrency = usize::try_from(plan.concurrency).unwrap_or(usize::MAX);
        let of_campaign = concurrency.saturating_sub(up).min(in_span.saturating_sub(lately));
        Ok(of_campaign.min(capacity(campaign, trunk).saturating_sub(over_trunk)))
    }

    /// Whether a trunk has room for one more call, by what all engines and campaigns have open over it.
    pub(super) async fn has_room_at(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        trunk: &str,
    ) -> Result<bool, sqlx::Error> {
        let up: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM campaign_attempts WHERE ended_ms IS NULL AND trunk = $1",
        )
        .bind(trunk)
        .fetch_one(&mut **tx)
        .await?;
        Ok(usize::try_from(up).unwrap_or(usize::MAX) < capacity(campaign, trunk))
    }

    /// The contacts at a place whose time has come, the first ones first, and whether there may be more. Of two campaigns that come
    /// upon one number at the same moment, one takes it, and the other sees it taken the next time: what either counts of the
    /// number holds until it is done.
    async fn candidates(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        place: &str,
        now: WallTime,
        rows: usize,
    ) -> Result<(Vec<Candidate>, bool), sqlx::Error> {
        let found = sqlx::query(self.db.sql(
            "SELECT id, number, consent, variables, attempts, 1 FROM campaign_contacts
             WHERE campaign = $1 AND place = $2 AND due_ms <= $3 ORDER BY due_ms, id LIMIT $4",
            "WITH due AS MATERIALIZED (SELECT id, number, consent, variables, attempts FROM campaign_contacts
                 WHERE campaign = $1 AND place = $2 AND due_ms <= $3 ORDER BY due_ms, id LIMIT $4
                 FOR UPDATE SKIP LOCKED)
             SELECT id, number, consent, variables, attempts,
                 CASE WHEN pg_try_advisory_xact_lock(hashtextextended(number, 7021973)) THEN 1 ELSE 0 END
             FROM due",
        ))
        .bind(campaign.id.0)
        .bind(place)
        .bind(now.0)
        .bind(i64::try_from(rows).unwrap_or(i64::MAX))
        .fetch_all(&mut **tx)
        .await?;
        let mut candidates = Vec::with_capacity(found.len());
        for row in &found {
            if row.try_get::<i32, _>(5)? == 0 {
                continue;
            }
            candidates.push(Candidate {
                id: row.try_get(0)?,
                number: row.try_get(1)?,
                consent: row.try_get(2)?,
                variables: row.try_get(3)?,
                attempts: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(u32::MAX),
            });
        }
        Ok((candidates, found.len() >= rows))
    }

    /// Takes those that may be dialled, and puts the others off.
    #[expect(clippy::too_many_arguments, reason = "a step of `claim_in`, which has them all")]
    async fn sift(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        by: (&Engine, &str),
        now: WallTime,
        (place, zone): (&str, &Zone),
        candidates: Vec<Candidate>,
        wanted: usize,
        claimed: &mut Vec<Claimed>,
    ) -> Result<(), sqlx::Error> {
        let numbers: Vec<&str> = candidates.iter().map(|one| one.number.as_str()).collect();
        let known = self.known(tx, campaign, &numbers, zone.midnight(now)).await?;
        let (mut taken, mut put_off) = (Vec::new(), Vec::new());
        for one in candidates {
            let of_number = known.get(&one.number).copied().unwrap_or_default();
            let facts = Facts {
                zone: Some(zone),
                is_on_list: of_number.is_on_list,
                calls_today: of_number.today,
                calls_now: of_number.now,
                attempts: one.attempts,
                not_before: WallTime(0),
                has_consent: one.consent.is_some(),
            };
            match decide(&campaign.plan, &facts, now) {
                Verdict::Dial if taken.len() < wanted => taken.push(one),
                Verdict::Dial => {}
                verdict => put_off.push((one.id, verdict)),
            }
        }
        for (contact, verdict) in put_off {
            put_off_one(tx, contact, verdict).await?;
        }
        if !taken.is_empty() {
            self.take(tx, campaign, by, now, place, taken, claimed).await?;
        }
        Ok(())
    }

    /// What the book knows of these numbers beside their contacts.
    async fn known(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        numbers: &[&str],
        midnight: WallTime,
    ) -> Result<HashMap<String, Known>, sqlx::Error> {
        let rows = sqlx::query(self.db.sql(
            "SELECT j.value,
                 (SELECT COUNT(*) FROM campaign_never n WHERE n.number = j.value AND n.campaign IN (0, $2)),
                 (SELECT COUNT(*) FROM campaign_attempts a WHERE a.number = j.value AND a.claimed_ms >= $3),
                 (SELECT COUNT(*) FROM campaign_attempts a WHERE a.number = j.value AND a.ended_ms IS NULL)
             FROM json_each($1) j",
            "SELECT j.value,
                 (SELECT COUNT(*) FROM campaign_never n WHERE n.number = j.value AND n.campaign IN (0, $2)),
                 (SELECT COUNT(*) FROM campaign_attempts a WHERE a.number = j.value AND a.claimed_ms >= $3),
                 (SELECT COUNT(*) FROM campaign_attempts a WHERE a.number = j.value AND a.ended_ms IS NULL)
             FROM json_array_elements_text(CAST($1 AS json)) AS j(value)",
        ))
        .bind(json!(numbers).to_string())
        .bind(campaign.id.0)
        .bind(midnight.0)
        .fetch_all(&mut **tx)
        .await?;
        let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        let mut known = HashMap::with_capacity(rows.len());
        for row in &rows {
            let of_number = Known {
                is_on_list: row.try_get::<i64, _>(1)? > 0,
                today: count(row.try_get(2)?),
                now: count(row.try_get(3)?),
            };
            known.insert(row.try_get(0)?, of_number);
        }
        Ok(known)
    }

    /// Writes the attempts, and takes the contacts off the list of those that wait.
    #[expect(clippy::too_many_arguments, reason = "a step of `sift`, which has them all")]
    async fn take(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        (engine, trunk): (&Engine, &str),
        now: WallTime,
        place: &str,
        taken: Vec<Candidate>,
        claimed: &mut Vec<Claimed>,
    ) -> Result<(), sqlx::Error> {
        let mut rows = Vec::with_capacity(taken.len());
        for one in taken {
            let (attempt, nth) = (CallId::new(now), one.attempts + 1);
            rows.push(json!([attempt.as_str(), one.id, one.number, nth]));
            let variables = one.variables.and_then(|text| serde_json::from_str(&text).ok());
            claimed.push(Claimed {
                contact: ContactId(one.id),
                attempt,
                number: one.number,
                nth,
                variables: variables.unwrap_or_default(),
                consent: one.consent,
            });
        }
        let rows = json!(rows).to_string();
        let attempts = sqlx::query(self.db.sql(
            "INSERT INTO campaign_attempts
                 (id, campaign, contact, number, place, attempt, engine, lease_ms, claimed_ms, trunk, converted)
             SELECT json_extract(j.value, '$[0]'), $2, json_extract(j.value, '$[1]'),
                 json_extract(j.value, '$[2]'), $3, json_extract(j.value, '$[3]'), $4, $5, $6, $7, 0
             FROM json_each($1) j",
            "WITH taken AS (INSERT INTO campaign_attempts
                 (id, campaign, contact, number, place, attempt, engine, lease_ms, claimed_ms, trunk, converted)
                 SELECT j.value ->> 0, $2, CAST(j.value ->> 1 AS BIGINT), j.value ->> 2, $3,
                     CAST(j.value ->> 3 AS BIGINT), $4, $5, $6, $7, 0
                 FROM json_array_elements(CAST($1 AS json)) AS j(value)
                 RETURNING contact)
             UPDATE campaign_contacts SET state = 'calling', due_ms = NULL, attempts = attempts + 1
             FROM taken WHERE id = taken.contact",
        ));
        let bound = attempts.bind(&rows).bind(campaign.id.0).bind(place).bind(&engine.0);
        bound.bind(now.0 + LEASE_MS).bind(now.0).bind(trunk).execute(&mut **tx).await?;
        if self.db.kind == Kind::Sqlite {
            sqlx::query(
                "UPDATE campaign_contacts SET state = 'calling', due_ms = NULL, attempts = attempts + 1
                 WHERE id IN (SELECT json_extract(j.value, '$[1]') FROM json_each($1) j)",
            )
            .bind(&rows)
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    }
}

/// Most calls over a trunk; one that the plan does not have is limited by nothing.
fn capacity(campaign: &Campaign, trunk: &str) -> usize {
    let of_trunk = campaign.plan.trunks.iter().find(|known| known.name == trunk);
    of_trunk.map_or(usize::MAX, |known| usize::try_from(known.capacity).unwrap_or(usize::MAX))
}

/// Writes down what a contact waits for instead of being called.
pub(super) async fn put_off_one(
    tx: &mut Transaction<'static, Any>,
    contact: i64,
    verdict: Verdict,
) -> Result<(), sqlx::Error> {
    let (state, outcome, due) = match verdict {
        Verdict::Dial => return Ok(()),
        Verdict::NotBefore(at) => ("waiting", None, Some(at.0)),
        Verdict::Nowhere => ("nowhere", None, None),
        Verdict::Never(why) => ("done", Some(why.as_str()), None),
    };
    sqlx::query(
        "UPDATE campaign_contacts SET state = $2, due_ms = $3,
             outcome = CASE WHEN $4 = '' THEN outcome WHEN $4 = 'no_answer' THEN COALESCE(outcome, $4) ELSE $4 END
         WHERE id = $1",
    )
    .bind(contact)
    .bind(state)
    .bind(due)
    .bind(outcome.unwrap_or_default())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Settles some of those that wait for a campaign whose time is over; a bite at a time.
async fn expire_some(tx: &mut Transaction<'static, Any>, campaign: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE campaign_contacts SET state = 'done', outcome = $2, due_ms = NULL
         WHERE id IN (SELECT id FROM campaign_contacts
             WHERE campaign = $1 AND due_ms IS NOT NULL ORDER BY id LIMIT 2000)",
    )
    .bind(campaign)
    .bind(Disposition::Expired.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
