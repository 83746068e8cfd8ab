//! The tables, and how one version of them becomes the next.
//!
//! The SQL is the common part of SQLite and PostgreSQL. A migration is never changed once it has been
//! released: a new one is added at the end, and the version is the number of migrations that a store has
//! seen.

use std::path::Path;

use sqlx::{Connection, SqliteConnection};

use super::error::StoreError;

/// The version that this build writes.
pub(super) const LATEST: i64 = MIGRATIONS.len() as i64;

/// The steps from an empty file to [`LATEST`]; each is a list of statements.
const MIGRATIONS: &[&[&str]] =
    &[FIRST, &["ALTER TABLE turns ADD COLUMN taking TEXT"], WHAT_ASTERISK_SAYS, CALL_BACKS, OUTCOMES];

const FIRST: &[&str] = &[
    "CREATE TABLE calls (
        id TEXT NOT NULL PRIMARY KEY,
        started_ms BIGINT NOT NULL,
        answered_ms BIGINT,
        ended_ms BIGINT,
        server TEXT NOT NULL,
        app TEXT NOT NULL,
        bot TEXT NOT NULL,
        direction TEXT NOT NULL,
        caller TEXT,
        called TEXT,
        leg TEXT NOT NULL,
        disposition TEXT,
        cause INTEGER,
        note TEXT,
        recording TEXT,
        media TEXT
    )",
    "CREATE INDEX calls_by_start ON calls (started_ms, id)",
    "CREATE INDEX calls_by_bot ON calls (bot, started_ms, id)",
    "CREATE TABLE turns (
        call_id TEXT NOT NULL,
        turn_index BIGINT NOT NULL,
        at_ms BIGINT NOT NULL,
        step TEXT,
        kind TEXT NOT NULL,
        heard_text TEXT,
        heard_meaning TEXT,
        heard_confidence DOUBLE PRECISION,
        heard_keys TEXT,
        reply_text TEXT,
        reply_total_ms BIGINT,
        reply_heard_ms BIGINT,
        interrupted TEXT,
        endpoint_ms DOUBLE PRECISION,
        final_ms DOUBLE PRECISION,
        reply_ms DOUBLE PRECISION,
        audio_ms DOUBLE PRECISION,
        sent_ms DOUBLE PRECISION,
        PRIMARY KEY (call_id, turn_index)
    )",
    "CREATE TABLE snapshots (
        call_id TEXT NOT NULL PRIMARY KEY,
        at_ms BIGINT NOT NULL,
        state TEXT NOT NULL
    )",
];

const WHAT_ASTERISK_SAYS: &[&str] = &[
    "CREATE TABLE server_records (
        call_id TEXT NOT NULL PRIMARY KEY,
        linkedid TEXT NOT NULL,
        billed_seconds BIGINT,
        record TEXT NOT NULL
    )",
    "CREATE INDEX calls_by_leg ON calls (leg, started_ms)",
    "CREATE TABLE outages (
        server TEXT NOT NULL,
        app TEXT NOT NULL,
        from_ms BIGINT NOT NULL,
        to_ms BIGINT NOT NULL,
        restarted_ms BIGINT,
        why TEXT NOT NULL
    )",
    "CREATE INDEX outages_by_app ON outages (app, from_ms)",
];

const CALL_BACKS: &[&str] = &[
    "CREATE TABLE call_backs (
        call_id TEXT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        due_ms BIGINT NOT NULL,
        dial TEXT NOT NULL,
        bot TEXT NOT NULL
    )",
    "CREATE INDEX call_backs_by_due ON call_backs (app, due_ms)",
];

const OUTCOMES: &[&str] = &["ALTER TABLE calls ADD COLUMN outcome TEXT"];

/// Brings a store that may be empty up to [`LATEST`], in one transaction.
///
/// # Errors
/// [`StoreError::Newer`] when another version has been there, and then nothing is changed.
pub(super) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let sort = |why| StoreError::from_sqlx(path, why);
    // IMMEDIATE: of two engines that start at once, one waits for the other.
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await.map_err(sort)?;
    let found = match version(&mut tx, path).await? {
        Some(found) => found,
        None if is_empty(&mut tx).await.map_err(sort)? => 0,
        None => {
            return Err(StoreError::Foreign { path: path.to_owned(), why: "it has other tables".to_owned() });
        }
    };
    check_known(found, path)?;
    if found == LATEST {
        return Ok(());
    }
    if found == 0 {
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS offhook_schema (version BIGINT NOT NULL)")
            .execute(&mut *tx)
            .await
            .map_err(sort)?;
    }
    for steps in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        for step in *steps {
            sqlx::raw_sql(*step).execute(&mut *tx).await.map_err(sort)?;
        }
    }
    sqlx::raw_sql("DELETE FROM offhook_schema").execute(&mut *tx).await.map_err(sort)?;
    sqlx::query("INSERT INTO offhook_schema (version) VALUES ($1)")
        .bind(LATEST)
        .execute(&mut *tx)
        .await
        .map_err(sort)?;
    tx.commit().await.map_err(sort)?;
    if found > 0 {
        tracing::info!(from = found, to = LATEST, "the store was brought up to date");
    }
    Ok(())
}

/// Checks, without a write, that the store has the version that this build reads.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Older`], [`StoreError::Foreign`].
pub(super) async fn check(db: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    match version(db, path).await? {
        None => {
            Err(StoreError::Foreign { path: path.to_owned(), why: "it has no `offhook_schema`".to_owned() })
        }
        Some(found) if found < LATEST => Err(StoreError::Older { path: path.to_owned(), found }),
        Some(found) => check_known(found, path),
    }
}

fn check_known(found: i64, path: &Path) -> Result<(), StoreError> {
    if found > LATEST { Err(StoreError::Newer { path: path.to_owned(), found }) } else { Ok(()) }
}

/// The version that is stored; [`None`] when there is no table that says it.
async fn version(db: &mut SqliteConnection, path: &Path) -> Result<Option<i64>, StoreError> {
    let sort = |why| StoreError::from_sqlx(path, why);
    if count(db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'offhook_schema'").await.map_err(sort)? == 0
    {
        return Ok(None);
    }
    let found = sqlx::query_scalar::<_, Option<i64>>("SELECT MAX(version) FROM offhook_schema")
        .fetch_one(db)
        .await
        .map_err(sort)?;
    Ok(Some(found.unwrap_or(0)))
}

async fn is_empty(db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    Ok(count(db, "SELECT COUNT(*) FROM sqlite_master").await? == 0)
}

async fn count(db: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(db).await
}
