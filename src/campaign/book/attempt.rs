//! Attempts: dialled, answered, ended, given back; and those that an engine left open.

use sqlx::{Any, Row as _, Transaction};

use super::claim::put_off_one;
use super::{Book, Campaign, CampaignId, ContactId, Engine, LEASE_MS, State, disposition};
use crate::campaign::CampaignError;
use crate::campaign::disposition::Disposition;
use crate::campaign::pace::limit;
use crate::campaign::permit::{Facts, Verdict, decide};
use crate::campaign::webhook;
use crate::id::CallId;
use crate::time::WallTime;

/// How long a claimed contact waits at most to be dialled, in milliseconds, to be counted among those that began.
const WAITS_MS: i64 = 60_000;

type Moments<'q> = sqlx::query::QueryScalar<'q, Any, i64, <Any as sqlx::Database>::Arguments>;

/// The end of a span that began with the moment that is found.
async fn nth_newest(
    query: Moments<'_>,
    tx: &mut Transaction<'static, Any>,
    span: std::time::Duration,
) -> Result<Option<WallTime>, sqlx::Error> {
    let found = query.fetch_optional(&mut **tx).await?;
    Ok(found.map(|at| WallTime(at + i64::try_from(span.as_millis()).unwrap_or(i64::MAX))))
}

/// What the last look before dialling says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// Dial, now.
    Dial,
    /// So many calls began in the last second, at all engines, that this one has to wait: ask again then.
    NotBefore(WallTime),
    /// Do not dial; the attempt is no more, and the contact waits or is settled.
    Withdrawn(Withdrawn),
    /// The other trunk has no room either.
    Full,
}

/// Why an attempt was withdrawn before it was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// The number came onto a do-not-call list meanwhile.
    OptedOut,
    /// The window closed, or the campaign's last day passed.
    Closed,
    /// The campaign was paused or stopped.
    NotRunning,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// In a word.
    pub disposition: Disposition,
    /// The hang-up cause, where there was one.
    pub cause: Option<u32>,
    /// A sentence for whoever reads it later. No number, nothing that was said.
    pub note: Option<String>,
    /// What the bot found out, for reports and the webhook.
    pub result: serde_json::Map<String, serde_json::Value>,
    /// Whether the called party asked not to be called again: his number goes onto the list of all campaigns.
    pub opted_out: bool,
}

impl Closing {
    /// An end without anything more to say.
    #[must_use]
    pub fn new(disposition: Disposition) -> Self {
        Self {
            disposition,
            cause: None,
            note: None,
            result: serde_json::Map::new(),
            opted_out: disposition == Disposition::OptedOut,
        }
    }
}

/// An attempt that has no end yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAttempt {
    /// Its id, and the call's.
    pub attempt: CallId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// The campaign's name.
    pub campaign_name: String,
    /// The contact.
    pub contact: ContactId,
    /// The number.
    pub number: String,
    /// Who claimed it.
    pub engine: Engine,
    /// Over which trunk it was dialled, or is to be.
    pub trunk: Option<String>,
    /// When it was claimed.
    pub claimed: WallTime,
    /// When it was dialled; [`None`] when it was not, for sure.
    pub dialled: Option<WallTime>,
    /// When it was answered.
    pub answered: Option<WallTime>,
    /// Until when it is its engine's.
    pub lease: WallTime,
}

/// A call that the server has taken within so long is taken to have begun when the book says; the second in which calls are
/// counted is longer by more than that.
pub const AT_ONCE_MS: i64 = 30;

/// Tells the time.
pub type Clock<'a> = &'a (dyn Fn() -> WallTime + Sync);

impl Book {
    /// The last look before dialling: asks once more whether this attempt may be dialled, and writes down that it
    /// is. Only when this says [`Cleared::Dial`] a channel is made. What is not marked in the book was never dialled.
    ///
    /// `clock` is read once nobody else can begin a call of this campaign or trunk: who waits for that, or for the database,
    /// dials when it is over, and is counted then.
    ///
    /// # Errors
    /// [`CampaignError::NotOpen`] when the attempt is not this engine's any more; [`CampaignError::Database`].
    pub async fn dialled(
        &self,
        campaign: &Campaign,
        engine: &Engine,
        attempt: CallId,
        trunk: &str,
        clock: Clock<'_>,
    ) -> Result<Cleared, CampaignError> {
        self.last_look(campaign, engine, (attempt, false), trunk, clock).await
    }

    /// The same for an attempt that had no luck at one trunk and would go out by another one. When it is withdrawn, it stays
    /// open: it ends as the first trunk ended it.
    ///
    /// # Errors
    /// [`CampaignError::NotOpen`], [`CampaignError::Database`].
    pub async fn dialled_again(
        &self,
        campaign: &Campaign,
        engine: &Engine,
        attempt: CallId,
        trunk: &str,
        clock: Clock<'_>,
    ) -> Result<Cleared, CampaignError> {
        self.last_look(campaign, engine, (attempt, true), trunk, clock).await
    }

    /// The server took the call only at `at`, later than the book has it: from then on it counts among the calls of a second.
    /// Of a call that went out within [`AT_ONCE_MS`] nothing is changed, nor of one that is over.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn went_out(&self, attempt: CallId, at: WallTime) -> Result<(), CampaignError> {
        let sort = |why| self.db.sort(why);
        let mut tx = self.db.begin_losable().await?;
        sqlx::query(
            "UPDATE campaign_attempts SET dialled_ms = $2 WHERE id = $1 AND ended_ms IS NULL AND dialled_ms < $3",
        )
        .bind(attempt.as_str())
        .bind(at.0)
        .bind(at.0 - AT_ONCE_MS)
        .execute(&mut *tx)
        .await
        .map_err(sort)?;
        tx.commit().await.map_err(sort)
    }

    async fn last_look(
        &self,
        campaign: &Campaign,
        engine: &Engine,
        (attempt, again): (CallId, bool),
        trunk: &str,
        clock: Clock<'_>,
    ) -> Result<Cleared, CampaignError> {
        let sort = |why| self.db.sort(why);
        let mut tx = self.db.begin().await?;
        self.hold(&mut tx, campaign, trunk).await.map_err(sort)?;
        let now = clock();
        let full_until = self.full_until(&mut tx, campaign, trunk, now).await.map_err(sort)?;
        let row = sqlx::query(
            "SELECT a.contact, a.place, c.consent,
                 (SELECT COUNT(*) FROM campaign_never n WHERE n.number = a.number AND n.campaign IN (0, a.campaign)),
                 (SELECT state FROM campaigns WHERE id = a.campaign)
             FROM campaign_attempts a JOIN campaign_contacts c ON c.id = a.contact
             WHERE a.id = $1 AND a.engine = $2 AND a.ended_ms IS NULL
                 AND CASE WHEN a.dialled_ms IS NULL THEN 0 ELSE 1 END = $3",
        )
        .bind(attempt.as_str())
        .bind(&engine.0)
        .bind(i64::from(again))
        .fetch_optional(&mut *tx)
        .await
        .map_err(sort)?;
        let Some(row) = row else { return Err(CampaignError::NotOpen(attempt)) };
        let read = || -> Result<_, sqlx::Error> {
            let (contact, place): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            let consent: Option<String> = row.try_get(2)?;
            Ok((contact, place, consent, row.try_get::<i64, _>(3)? > 0, row.try_get::<String, _>(4)?))
        };
        let (contact, place, consent, is_on_list, state) = read().map_err(sort)?;
        let zone = self.zones.zone(&place);
        let facts = Facts {
            zone: zone.as_ref(),
            is_on_list,
            // The claim counted them, and this attempt is among them since.
            calls_today: 0,
            calls_now: 0,
            attempts: 0,
            not_before: WallTime(0),
            has_consent: consent.is_some(),
        };
        let verdict = decide(&campaign.plan, &facts, now);
        let withdrawn = match verdict {
            Verdict::Never(Disposition::OptedOut) => Some(Withdrawn::OptedOut),
            Verdict::Never(_) | Verdict::NotBefore(_) | Verdict::Nowhere => Some(Withdrawn::Closed),
            Verdict::Dial if State::read(&state) != State::Running => Some(Withdrawn::NotRunning),
            Verdict::Dial => None,
        };
        if let Some(why) = withdrawn {
            if !again {
                if !undo(&mut tx, attempt, contact, now).await.map_err(sort)? {
                    return Err(CampaignError::NotOpen(attempt));
                }
                put_off_one(&mut tx, contact, verdict).await.map_err(sort)?;
                tx.commit().await.map_err(sort)?;
            }
            return Ok(Cleared::Withdrawn(why));
        }
        if let Some(until) = full_until {
            return Ok(Cleared::NotBefore(until));
        }
        // For the first trunk the claim has counted it.
        if again && !self.has_room_at(&mut tx, campaign, trunk).await.map_err(sort)? {
            return Ok(Cleared::Full);
        }
        // Another engine may have taken it over since it was read.
        let marked = sqlx::query(
            "UPDATE campaign_attempts SET dialled_ms = $2, trunk = $3, lease_ms = $4
             WHERE id = $1 AND engine = $5 AND ended_ms IS NULL
                 AND CASE WHEN dialled_ms IS NULL THEN 0 ELSE 1 END = $6",
        )
        .bind(attempt.as_str())
        .bind(now.0)
        .bind(trunk)
        .bind(now.0 + LEASE_MS)
        .bind(&engine.0)
        .bind(i64::from(again))
        .execute(&mut *tx)
        .await
        .map_err(sort)?
        .rows_affected();
        tx.commit().await.map_err(sort)?;
        if marked == 0 {
            return Err(CampaignError::NotOpen(attempt));
        }
        Ok(Cleared::Dial)
    }

    /// Until when the campaign may begin no call over this trunk, by what all engines began lately; [`None`] when it may now.
    async fn full_until(
        &self,
        tx: &mut Transaction<'static, Any>,
        campaign: &Campaign,
        trunk: &str,
        now: WallTime,
    ) -> Result<Option<WallTime>, sqlx::Error> {
        let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let started = campaign.started.unwrap_or(now);
        let since = now.0.saturating_sub(started.0).max(0).unsigned_abs();
        let (most, span) = limit(campaign.plan.rate(std::time::Duration::from_millis(since)));
        // An attempt is dialled soon after it was claimed, and of claims there is an index by time.
        let mut until = nth_newest(
            sqlx::query_scalar(
                "SELECT dialled_ms FROM campaign_attempts
                 WHERE campaign = $1 AND claimed_ms > $2 AND dialled_ms > $3
                 ORDER BY dialled_ms DESC LIMIT 1 OFFSET $4",
            )
            .bind(campaign.id.0)
            .bind(now.0 - ms(span) - WAITS_MS)
            .bind(now.0 - ms(span))
            .bind(i64::try_from(most).unwrap_or(i64::MAX) - 1),
            tx,
            span,
        )
        .await?;
        let of_trunk = campaign.plan.trunks.iter().find(|known| known.name == trunk);
        if let Some(of_trunk) = of_trunk {
            let (most, span) = limit(of_trunk.calls_per_second);
            let of_trunk = nth_newest(
                sqlx::query_scalar(
                    "SELECT dialled_ms FROM campaign_attempts
                     WHERE campaign IN (SELECT id FROM campaigns WHERE state = 'running') AND trunk = $1
                         AND claimed_ms > $2 AND dialled_ms > $3
                     ORDER BY dialled_ms DESC LIMIT 1 OFFSET $4",
                )
                .bind(trunk)
                .bind(now.0 - ms(span) - WAITS_MS)
                .bind(now.0 - ms(span))
                .bind(i64::try_from(most).unwrap_or(i64::MAX) - 1),
                tx,
                span,
            )
            .await?;
            until = until.max(of_trunk);
        }
        Ok(until)
    }

    /// Somebody or something answered.
    ///
    /// # Errors
    /// [`CampaignError::NotOpen`], [`CampaignError::Database`].
    pub async fn answered(&self, attempt: CallId, now: WallTime) -> Result<(), CampaignError> {
        let query =
            sqlx::query("UPDATE campaign_attempts SET answered_ms = COALESCE(answered_ms, $2) WHERE id = $1 AND ended_ms IS NULL")
                .bind(attempt.as_str())
                .bind(now.0);
        let mut tx = self.db.begin().await?;
        let changed = query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        if changed == 0 { Err(CampaignError::NotOpen(attempt)) } else { Ok(()) }
    }

    /// Gives a claimed contact back that was never dialled: there was no such attempt, and he waits as before.
    ///
    /// # Errors
    /// [`CampaignError::NotOpen`] when it was dialled or is over; [`CampaignError::Database`].
    pub async fn give_back(&self, attempt: CallId, now: WallTime) -> Result<(), CampaignError> {
        let sort = |why| self.db.sort(why);
        let mut tx = self.db.begin().await?;
        let contact: Option<i64> = sqlx::query_scalar(
            "SELECT contact FROM campaign_attempts WHERE id = $1 AND ended_ms IS NULL AND dialled_ms IS NULL",
        )
        .bind(attempt.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(sort)?;
        let contact = contact.ok_or(CampaignError::NotOpen(attempt))?;
        if !undo(&mut tx, attempt, contact, now).await.map_err(sort)? {
            return Err(CampaignError::NotOpen(attempt));
        }
        tx.commit().await.map_err(sort)
    }

    /// Ends an attempt: the contact is settled, or waits for its next one after the pause that the campaign has for this
    /// outcome. The webhook's message goes into the outbox in the same transaction.
    ///
    /// # Errors
    /// [`CampaignError::NotOpen`] when it has ended before: whoever came first counts. [`CampaignError::Database`].
    pub async fn finish(
        &self,
        campaign: &Campaign,
        attempt: CallId,
        closing: &Closing,
        now: WallTime,
    ) -> Result<(), CampaignError> {
        let sort = |why| self.db.sort(why);
        let plan = &campaign.plan;
        let result = (!closing.result.is_empty())
            .then(|| serde_json::Value::Object(closing.result.clone()).to_string());
        let converted =
            plan.conversion.as_ref().and_then(|name| closing.result.get(name)).is_some_and(is_true);
        let mut tx = self.db.begin().await?;
        let row = sqlx::query(
            "UPDATE campaign_attempts SET ended_ms = $2, disposition = $3, cause = $4, note = $5, result = $6,
                 converted = $7
             WHERE id = $1 AND ended_ms IS NULL
             RETURNING contact, number, attempt, dialled_ms, answered_ms, trunk, campaign",
        )
        .bind(attempt.as_str())
        .bind(now.0)
        .bind(closing.disposition.as_str())
        .bind(closing.cause.map(i64::from))
        .bind(closing.note.as_deref())
        .bind(result)
        .bind(i64::from(converted))
        .fetch_optional(&mut *tx)
        .await
        .map_err(sort)?;
        let Some(row) = row else { return Err(CampaignError::NotOpen(attempt)) };
        let read = || -> Result<_, sqlx::Error> {
            let (contact, number, nth): (i64, String, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let times: (Option<i64>, Option<i64>) = (row.try_get(3)?, row.try_get(4)?);
            Ok((contact, number, nth, times, row.try_get::<Option<String>, _>(5)?))
        };
        let (contact, number, nth, (dialled, answered), trunk) = read().map_err(sort)?;
        if closing.opted_out {
            super::super::never::add_in(&mut tx, &number, 0, now, Some("asked for during a call"))
                .await
                .map_err(sort)?;
        }
        let again = if closing.opted_out || nth >= i64::from(plan.max_attempts) {
            None
        } else {
            plan.pause(closing.disposition)
        };
        let due =
            again.map(|pause| now.0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)));
        sqlx::query("UPDATE campaign_contacts SET state = $2, outcome = $3, due_ms = $4 WHERE id = $1")
            .bind(contact)
            .bind(if due.is_some() { "waiting" } else { "done" })
            .bind(closing.disposition.as_str())
            .bind(due)
            .execute(&mut *tx)
            .await
            .map_err(sort)?;
        if plan.webhook.is_some() {
            let told = webhook::Told {
                campaign: &campaign.name,
                attempt,
                nth,
                number: &number,
                closing,
                trunk: trunk.as_deref(),
                dialled: dialled.map(WallTime),
                answered: answered.map(WallTime),
                ended: now,
                converted,
                next: due.map(WallTime),
            };
            webhook::put(&mut tx, campaign.id, &told).await.map_err(sort)?;
        }
        tx.commit().await.map_err(sort)
    }

    /// What `engine` has open: after a restart, what it left.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn open_attempts(&self, engine: &Engine) -> Result<Vec<OpenAttempt>, CampaignError> {
        self.open_where(Some(engine), i64::MAX).await
    }

    /// What engines have open that did not renew their lease: they are dead, or cannot reach the book.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn abandoned(&self, now: WallTime) -> Result<Vec<OpenAttempt>, CampaignError> {
        self.open_where(None, now.0).await
    }

    async fn open_where(
        &self,
        engine: Option<&Engine>,
        before: i64,
    ) -> Result<Vec<OpenAttempt>, CampaignError> {
        let sort = |why| self.db.sort(why);
        let rows = sqlx::query(
            "SELECT a.id, a.campaign, c.name, a.contact, a.number, a.engine, a.trunk, a.claimed_ms, a.dialled_ms,
                 a.answered_ms, a.lease_ms
             FROM campaign_attempts a JOIN campaigns c ON c.id = a.campaign
             WHERE a.ended_ms IS NULL AND a.lease_ms < $1 AND ($2 = '' OR a.engine = $2)
             ORDER BY a.claimed_ms, a.id LIMIT 20000",
        )
        .bind(before)
        .bind(engine.map_or("", |engine| engine.0.as_str()))
        .fetch_all(self.db.reader())
        .await
        .map_err(sort)?;
        let read = |row: &sqlx::any::AnyRow| -> Result<Option<OpenAttempt>, sqlx::Error> {
            // What is no call id is not ours.
            let Ok(attempt) = row.try_get::<String, _>(0)?.parse() else { return Ok(None) };
            Ok(Some(OpenAttempt {
                attempt,
                campaign: CampaignId(row.try_get(1)?),
                campaign_name: row.try_get(2)?,
                contact: ContactId(row.try_get(3)?),
                number: row.try_get(4)?,
                engine: Engine(row.try_get(5)?),
                trunk: row.try_get(6)?,
                claimed: WallTime(row.try_get(7)?),
                dialled: row.try_get::<Option<i64>, _>(8)?.map(WallTime),
                answered: row.try_get::<Option<i64>, _>(9)?.map(WallTime),
                lease: WallTime(row.try_get(10)?),
            }))
        };
        let read: Result<Vec<_>, _> = rows.iter().map(read).collect();
        Ok(read.map_err(sort)?.into_iter().flatten().collect())
    }

    /// Keeps what `engine` has open its own for another [`LEASE_MS`]. To be called every few seconds; says how many there
    /// are.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn renew(&self, engine: &Engine, now: WallTime) -> Result<u64, CampaignError> {
        let query =
            sqlx::query("UPDATE campaign_attempts SET lease_ms = $2 WHERE engine = $1 AND ended_ms IS NULL")
                .bind(&engine.0)
                .bind(now.0 + LEASE_MS);
        let mut tx = self.db.begin().await?;
        let renewed = query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        Ok(renewed)
    }

    /// Takes an attempt over whose engine let its lease run out, so that one engine alone resolves it with the server.
    /// `false` when another one was faster, or its own engine is back.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn take_over(
        &self,
        attempt: &OpenAttempt,
        by: &Engine,
        now: WallTime,
    ) -> Result<bool, CampaignError> {
        let query = sqlx::query(
            "UPDATE campaign_attempts SET engine = $2, lease_ms = $3
             WHERE id = $1 AND engine = $4 AND lease_ms < $5 AND ended_ms IS NULL",
        )
        .bind(attempt.attempt.as_str())
        .bind(&by.0)
        .bind(now.0 + LEASE_MS)
        .bind(&attempt.engine.0)
        .bind(now.0);
        let mut tx = self.db.begin().await?;
        let taken = query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        Ok(taken > 0)
    }

    /// How many calls are up or being dialled at each trunk, over all campaigns and engines.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn trunk_load(&self) -> Result<Vec<(String, u32)>, CampaignError> {
        let sort = |why| self.db.sort(why);
        let rows = sqlx::query(
            "SELECT trunk, COUNT(*) FROM campaign_attempts WHERE ended_ms IS NULL AND trunk IS NOT NULL
             GROUP BY trunk ORDER BY trunk",
        )
        .fetch_all(self.db.reader())
        .await
        .map_err(sort)?;
        let read = |row: &sqlx::any::AnyRow| -> Result<_, sqlx::Error> {
            Ok((row.try_get(0)?, u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(u32::MAX)))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sort)
    }

    /// How an attempt ended; [`None`] while it is open, and when there is none.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn outcome(&self, attempt: CallId) -> Result<Option<Disposition>, CampaignError> {
        let word: Option<Option<String>> =
            sqlx::query_scalar("SELECT disposition FROM campaign_attempts WHERE id = $1")
                .bind(attempt.as_str())
                .fetch_optional(self.db.reader())
                .await
                .map_err(|why| self.db.sort(why))?;
        Ok(word.flatten().map(|word| disposition(&word)))
    }
}

/// There was no such attempt: the contact waits as before it. `false`, and nothing is changed, when it was dialled or has
/// ended meanwhile.
async fn undo(
    tx: &mut Transaction<'static, Any>,
    attempt: CallId,
    contact: i64,
    now: WallTime,
) -> Result<bool, sqlx::Error> {
    let gone = sqlx::query(
        "DELETE FROM campaign_attempts WHERE id = $1 AND dialled_ms IS NULL AND ended_ms IS NULL",
    )
    .bind(attempt.as_str())
    .execute(&mut **tx)
    .await?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE campaign_contacts SET state = 'waiting', due_ms = $2, attempts = attempts - 1 WHERE id = $1",
    )
    .bind(contact)
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// Whether a bot's variable says yes.
fn is_true(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Bool(is) => *is,
        serde_json::Value::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
        serde_json::Value::String(text) => {
            matches!(text.to_lowercase().as_str(), "1" | "true" | "yes" | "y" | "on")
        }
        _ => false,
    }
}
