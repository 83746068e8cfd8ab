//! Contacts, attempts and lists, in SQLite or PostgreSQL.
//!
//! [`Book`] is what the dialler, the command line and the reports share. Every change is one transaction: an attempt is in
//! the book before it is dialled, and what a process that dies has claimed is found again by its lease.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use self::db::Db;
use super::CampaignError;
use super::disposition::Disposition;
use super::plan::Plan;
use super::zones::Zones;
use crate::store::{Numbers, Store};
use crate::time::WallTime;

pub use attempt::{AT_ONCE_MS, Cleared, Clock, Closing, OpenAttempt, Withdrawn};
pub use claim::Claimed;

pub(super) mod db;

mod attempt;
mod claim;
mod schema;

#[cfg(test)]
pub(super) mod tests;

/// How long what an engine has claimed is its own, without [`Book::renew`].
pub const LEASE_MS: i64 = 60_000;

/// The book. Cheap to clone; all clones are one book. Any thread of tokio's.
#[derive(Debug, Clone)]
pub struct Book {
    pub(super) db: Db,
    pub(super) zones: Arc<Zones>,
}

/// Who claims: one engine. The same after a restart, so that it finds its own attempts; another one for each engine that
/// shares the book.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Engine(pub String);

/// A campaign's key in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CampaignId(pub(super) i64);

/// A contact's key in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactId(pub(super) i64);

#[cfg(test)]
impl CampaignId {
    pub(crate) const fn of_test(id: i64) -> Self {
        Self(id)
    }
}

impl ContactId {
    /// The one of `pool` whose turn it is at this attempt of the contact; [`None`] of an empty pool.
    #[must_use]
    pub fn in_turn<T>(self, nth: u32, pool: &[T]) -> Option<&T> {
        let turn = self.0.unsigned_abs().wrapping_add(nth.into());
        let count = u64::try_from(pool.len()).ok().filter(|count| *count > 0)?;
        pool.get(usize::try_from(turn % count).ok()?)
    }
}

/// Whether a campaign dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has been made, and not started.
    Created,
    /// It dials.
    Running,
    /// It dials nobody until it is resumed; calls that are up go on.
    Paused,
    /// It dials nobody any more.
    Stopped,
}

impl State {
    /// The word in the book.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    fn read(word: &str) -> Self {
        // What an unknown hand has written dials nobody.
        [Self::Created, Self::Running, Self::Paused]
            .into_iter()
            .find(|state| state.as_str() == word)
            .unwrap_or(Self::Stopped)
    }
}

/// A campaign as the book has it.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Its key.
    pub id: CampaignId,
    /// Its name.
    pub name: String,
    /// Whether it dials.
    pub state: State,
    /// What it is.
    pub plan: Arc<Plan>,
    /// When it was made.
    pub created: WallTime,
    /// When it was started or resumed the last time.
    pub started: Option<WallTime>,
    /// When it was stopped.
    pub ended: Option<WallTime>,
}

/// How far a campaign is.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// All contacts.
    pub contacts: u64,
    /// Those that wait to be called, for the first time or again.
    pub waiting: u64,
    /// Those that are being called.
    pub calling: u64,
    /// Those that are settled.
    pub done: u64,
    /// Those that are not called because nobody knows where they are.
    pub nowhere: u64,
    /// The settled ones by how they ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Attempts, those under way included.
    pub attempts: u64,
}

impl Book {
    /// Opens the book where the configuration has it: in the database at `url`, or without one in the engine's store file.
    ///
    /// # Errors
    /// What [`open_postgres`](Self::open_postgres) and [`open_sqlite`](Self::open_sqlite) can meet.
    pub async fn open(url: Option<&str>, path: &Path, zones: Arc<Zones>) -> Result<Self, CampaignError> {
        match url {
            Some(url) => Self::open_postgres(url, zones).await,
            None => Self::open_sqlite(path, zones).await,
        }
    }

    /// Opens the book in the engine's store file, and makes the file when it is not there.
    ///
    /// # Errors
    /// What [`Store::open`] can meet; [`CampaignError::Database`], [`CampaignError::Newer`].
    pub async fn open_sqlite(path: &Path, zones: Arc<Zones>) -> Result<Self, CampaignError> {
        // The file with its folder, mode and own tables is the store's matter; it is closed again at once.
        Store::open(path, Numbers::Full).await?.close().await?;
        let db = Db::sqlite(path).await?;
        schema::migrate(&db).await?;
        Ok(Self { db, zones })
    }

    /// Opens the book in a database of PostgreSQL, which several engines may share.
    ///
    /// # Errors
    /// [`CampaignError::Address`], [`CampaignError::Database`], [`CampaignError::Newer`].
    pub async fn open_postgres(url: &str, zones: Arc<Zones>) -> Result<Self, CampaignError> {
        let db = Db::postgres(url).await?;
        schema::migrate(&db).await?;
        Ok(Self { db, zones })
    }

    /// Whether a database of PostgreSQL lets us in and lets us make our tables; makes none. Gives its address without user
    /// and password.
    ///
    /// # Errors
    /// [`CampaignError::Address`], [`CampaignError::Database`], [`CampaignError::NotAllowed`].
    pub async fn reach(url: &str) -> Result<String, CampaignError> {
        let db = Db::postgres(url).await?;
        let may = sqlx::query_scalar("SELECT has_schema_privilege(current_schema(), 'CREATE')");
        let may: Option<bool> = may.fetch_one(db.reader()).await.map_err(|why| db.sort(why))?;
        db.close().await;
        let place = db.place().to_owned();
        if may == Some(true) { Ok(place) } else { Err(CampaignError::NotAllowed { place }) }
    }

    /// Ends the connections. What is under way is written first.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// The zones that the book goes by.
    #[must_use]
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Makes a campaign of the text of its file. It dials nobody before [`start`](Self::start).
    ///
    /// # Errors
    /// [`CampaignError::Name`], [`CampaignError::Exists`]; the plan's own faults.
    pub async fn create(&self, name: &str, plan: &str, now: WallTime) -> Result<CampaignId, CampaignError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 60 || !name.chars().all(plain) {
            return Err(CampaignError::Name(name.chars().take(80).collect()));
        }
        Plan::parse(plan, name)?;
        let made = sqlx::query_scalar::<_, i64>(
            "INSERT INTO campaigns (name, state, plan, created_ms) VALUES ($1, 'created', $2, $3)
             ON CONFLICT (name) DO NOTHING RETURNING id",
        )
        .bind(name)
        .bind(plan)
        .bind(now.0);
        let mut tx = self.db.begin().await?;
        let id = made.fetch_optional(&mut *tx).await.map_err(|why| self.db.sort(why))?;
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        id.map(CampaignId).ok_or_else(|| CampaignError::Exists(name.to_owned()))
    }

    /// The campaign of this name.
    ///
    /// # Errors
    /// [`CampaignError::Unknown`] names those that there are.
    pub async fn campaign(&self, name: &str) -> Result<Campaign, CampaignError> {
        let row = sqlx::query(
            "SELECT id, name, state, plan, created_ms, started_ms, ended_ms FROM campaigns WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(self.db.reader())
        .await
        .map_err(|why| self.db.sort(why))?;
        match row {
            Some(row) => self.read_campaign(&row),
            None => {
                let known = sqlx::query_scalar("SELECT name FROM campaigns ORDER BY name LIMIT 20")
                    .fetch_all(self.db.reader())
                    .await
                    .map_err(|why| self.db.sort(why))?;
                Err(CampaignError::Unknown { name: name.to_owned(), known })
            }
        }
    }

    /// All campaigns, the oldest first.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn campaigns(&self) -> Result<Vec<Campaign>, CampaignError> {
        let rows = sqlx::query(
            "SELECT id, name, state, plan, created_ms, started_ms, ended_ms FROM campaigns ORDER BY id",
        )
        .fetch_all(self.db.reader())
        .await
        .map_err(|why| self.db.sort(why))?;
        rows.iter().map(|row| self.read_campaign(row)).collect()
    }

    fn read_campaign(&self, row: &AnyRow) -> Result<Campaign, CampaignError> {
        let read = || -> Result<_, sqlx::Error> {
            let name: String = row.try_get(1)?;
            let (state, plan): (String, String) = (row.try_get(2)?, row.try_get(3)?);
            let (created, started, ended): (i64, Option<i64>, Option<i64>) =
                (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
            Ok((row.try_get::<i64, _>(0)?, name, state, plan, created, started, ended))
        };
        let (id, name, state, plan, created, started, ended) = read().map_err(|why| self.db.sort(why))?;
        Ok(Campaign {
            id: CampaignId(id),
            plan: Arc::new(Plan::parse(&plan, &name)?),
            name,
            state: State::read(&state),
            created: WallTime(created),
            started: started.map(WallTime),
            ended: ended.map(WallTime),
        })
    }

    /// Starts a campaign that has been made.
    ///
    /// # Errors
    /// [`CampaignError::Unknown`], [`CampaignError::State`].
    pub async fn start(&self, name: &str, now: WallTime) -> Result<(), CampaignError> {
        self.change(name, &[State::Created], State::Running, now).await
    }

    /// Dials nobody until it is resumed. Holds from the next claim on, and for what is claimed and not dialled yet.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn pause(&self, name: &str, now: WallTime) -> Result<(), CampaignError> {
        self.change(name, &[State::Running], State::Paused, now).await
    }

    /// Goes on, and ramps up anew.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn resume(&self, name: &str, now: WallTime) -> Result<(), CampaignError> {
        self.change(name, &[State::Paused], State::Running, now).await
    }

    /// Ends a campaign for good. Calls that are up go on.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn stop(&self, name: &str, now: WallTime) -> Result<(), CampaignError> {
        self.change(name, &[State::Created, State::Running, State::Paused], State::Stopped, now).await
    }

    async fn change(
        &self,
        name: &str,
        from: &[State],
        to: State,
        now: WallTime,
    ) -> Result<(), CampaignError> {
        let campaign = self.campaign(name).await?;
        for state in from {
            let changed = sqlx::query(
                "UPDATE campaigns SET state = $1,
                     started_ms = CASE WHEN $1 = 'running' THEN $2 ELSE started_ms END,
                     ended_ms = CASE WHEN $1 = 'stopped' THEN $2 ELSE ended_ms END
                 WHERE id = $3 AND state = $4",
            )
            .bind(to.as_str())
            .bind(now.0)
            .bind(campaign.id.0)
            .bind(state.as_str());
            let mut tx = self.db.begin().await?;
            let changed = changed.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
            tx.commit().await.map_err(|why| self.db.sort(why))?;
            if changed > 0 {
                return Ok(());
            }
        }
        let is = self.campaign(name).await?.state;
        let hint = match is {
            State::Created => "`offhook campaign start` starts it",
            State::Running => "it dials already; `pause` and `stop` end that",
            State::Paused => "`offhook campaign resume` lets it go on",
            State::Stopped => "that is for good; make another one for what is left",
        };
        Err(CampaignError::State { name: name.to_owned(), is: is.as_str(), hint })
    }

    /// How far a campaign is. Exact, counted in one moment; looks at every contact, so not for each second.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn counts(&self, campaign: CampaignId) -> Result<Counts, CampaignError> {
        let sort = |why| self.db.sort(why);
        let rows = sqlx::query(
            "SELECT state, COALESCE(outcome, ''), COUNT(*), CAST(COALESCE(SUM(attempts), 0) AS BIGINT)
             FROM campaign_contacts WHERE campaign = $1 GROUP BY state, COALESCE(outcome, '')",
        )
        .bind(campaign.0)
        .fetch_all(self.db.reader())
        .await
        .map_err(sort)?;
        let mut counts = Counts::default();
        for row in &rows {
            let (state, outcome): (String, String) =
                (row.try_get(0).map_err(sort)?, row.try_get(1).map_err(sort)?);
            let count = row.try_get::<i64, _>(2).map_err(sort)?.unsigned_abs();
            counts.contacts += count;
            counts.attempts += row.try_get::<i64, _>(3).map_err(sort)?.unsigned_abs();
            match state.as_str() {
                "waiting" => counts.waiting += count,
                "calling" => counts.calling += count,
                "nowhere" => counts.nowhere += count,
                _ => {
                    counts.done += count;
                    *counts.outcomes.entry(outcome).or_default() += count;
                }
            }
        }
        Ok(counts)
    }

    /// When the next contact of a campaign may be called, from `now` on: `now` itself when one may be. [`None`] when none
    /// waits, or none will ever be in the window.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn next_due(
        &self,
        campaign: &Campaign,
        now: WallTime,
    ) -> Result<Option<WallTime>, CampaignError> {
        let mut soonest: Option<WallTime> = None;
        for place in self.places(campaign.id).await? {
            let Some(zone) = self.zones.zone(&place) else { continue };
            let due: Option<i64> = sqlx::query_scalar(
                "SELECT MIN(due_ms) FROM campaign_contacts
                 WHERE campaign = $1 AND place = $2 AND due_ms IS NOT NULL",
            )
            .bind(campaign.id.0)
            .bind(place.as_str())
            .fetch_one(self.db.reader())
            .await
            .map_err(|why| self.db.sort(why))?;
            let at = due.and_then(|due| campaign.plan.hours.next_open(&zone, WallTime(due.max(now.0))));
            soonest = [soonest, at].into_iter().flatten().min();
        }
        Ok(soonest)
    }

    async fn places(&self, campaign: CampaignId) -> Result<Vec<String>, CampaignError> {
        sqlx::query_scalar("SELECT place FROM campaign_places WHERE campaign = $1 ORDER BY place")
            .bind(campaign.0)
            .fetch_all(self.db.reader())
            .await
            .map_err(|why| self.db.sort(why))
    }
}

/// The disposition that a row has; what a later version may have written counts as failed.
pub(super) fn disposition(word: &str) -> Disposition {
    word.parse().unwrap_or(Disposition::Failed)
}
