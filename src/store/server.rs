//! What Asterisk itself says: of our calls (its own call records), and of the times in which it could not be asked.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::{Row, Sqlite, Transaction};

use super::Store;
use super::error::StoreError;
use crate::id::CallId;
use crate::time::WallTime;

/// What Asterisk's own records (CDR and CEL) say of one of our calls. Written whole each time that something of it is new.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The call.
    pub call: CallId,
    /// Asterisk's id of the call: that of its first channel.
    pub linkedid: String,
    /// Seconds from the answer to the end: the longest of its details.
    pub billed_seconds: Option<u32>,
    /// Its detail records (CDR), one for each pair of channels.
    pub details: Vec<Detail>,
    /// The steps of its channels (CEL), in order; empty where cel.conf asks for none.
    pub steps: Vec<ServerStep>,
    /// Whether nothing is known to be missing.
    pub whole: bool,
}

/// One call detail record.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Detail {
    /// The caller's channel.
    pub channel: String,
    /// The channel that it was connected with, if it was.
    pub peer: String,
    /// The caller's number, as far as [`Numbers`](super::Numbers) lets it be kept.
    pub source: Option<String>,
    /// The called number, as far as [`Numbers`](super::Numbers) lets it be kept.
    pub destination: Option<String>,
    /// The last application of the dialplan.
    pub application: String,
    /// The account code; the name of a trunk for calls over one that Offhook made.
    pub account: String,
    /// When it began, in the server's own words and time zone.
    pub start: String,
    /// When it was answered; empty if it was not.
    pub answer: String,
    /// When it ended.
    pub end: String,
    /// Seconds from start to end.
    pub duration_seconds: u32,
    /// Seconds from answer to end.
    pub billed_seconds: u32,
    /// `ANSWERED`, `NO ANSWER`, `BUSY`, `FAILED`, `CONGESTION`.
    pub disposition: String,
}

/// One step of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServerStep {
    /// When, in the server's own words.
    pub at: String,
    /// `CHAN_START`, `ANSWER`, `BRIDGE_ENTER`…
    pub event: String,
    /// The channel.
    pub channel: String,
    /// The application that ran.
    pub application: String,
}

impl fmt::Debug for ServerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRecord").field("call", &self.call).finish_non_exhaustive()
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail").field("disposition", &self.disposition).finish_non_exhaustive()
    }
}

/// A time in which an engine had no events from its Asterisk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// Host and port of the Asterisk.
    pub server: String,
    /// The engine's application.
    pub app: String,
    /// When the connection was lost.
    pub from: WallTime,
    /// When it was there again.
    pub to: WallTime,
    /// When the Asterisk that was there then had been started, if it was another one than before.
    pub restarted: Option<WallTime>,
    /// Why the connection was lost.
    pub why: String,
}

/// Outages are kept for so long.
const OUTAGES_KEPT_MS: i64 = 90 * 86_400_000;

impl Store {
    /// Stores what Asterisk says of a call, in place of what it said before. Any thread but the media threads; returns at once.
    pub fn put_server_record(&self, mut record: ServerRecord) {
        let numbers = self.inner.numbers;
        for detail in &mut record.details {
            detail.source = numbers.keep(detail.source.take());
            detail.destination = numbers.keep(detail.destination.take());
        }
        self.inner.queue.put_server_record(record);
    }

    /// Stores an outage that is over. Any thread but the media threads; returns at once.
    pub fn put_outage(&self, outage: Outage) {
        self.inner.queue.put_outage(outage);
    }

    /// The calls on which one of these channels was the caller's, of the last day, as they were written.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn calls_on(&self, channels: &[&str], now: WallTime) -> Result<Vec<CallId>, StoreError> {
        let mut db = self.reader().await;
        let mut calls: Vec<CallId> = Vec::new();
        for channel in channels {
            let ids: Vec<String> = sqlx::query_scalar(
                "SELECT id FROM calls WHERE leg = $1 AND started_ms > $2 ORDER BY started_ms",
            )
            .bind(channel)
            .bind(now.0 - 86_400_000)
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
            calls.extend(ids.iter().filter_map(|id| id.parse::<CallId>().ok()));
        }
        Ok(calls)
    }

    /// What Asterisk says of a call; [`None`] where AMI was not configured, or has not said anything yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn server_record(&self, call: CallId) -> Result<Option<ServerRecord>, StoreError> {
        let mut db = self.reader().await;
        let text: Option<String> = sqlx::query_scalar("SELECT record FROM server_records WHERE call_id = $1")
            .bind(call.as_str())
            .fetch_optional(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        let bad = |why: serde_json::Error| StoreError::Row {
            what: "record",
            call: call.as_str().to_owned(),
            why: why.to_string(),
        };
        text.map(|text| serde_json::from_str(&text).map_err(bad)).transpose()
    }

    /// The latest outages of an engine, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outages(&self, app: &str, limit: u32) -> Result<Vec<Outage>, StoreError> {
        let mut db = self.reader().await;
        let rows = sqlx::query("SELECT * FROM outages WHERE app = $1 ORDER BY from_ms DESC LIMIT $2")
            .bind(app)
            .bind(i64::from(limit))
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        let outage = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Outage {
                server: row.try_get("server")?,
                app: row.try_get("app")?,
                from: WallTime(row.try_get("from_ms")?),
                to: WallTime(row.try_get("to_ms")?),
                restarted: row.try_get::<Option<i64>, _>("restarted_ms")?.map(WallTime),
                why: row.try_get("why")?,
            })
        };
        rows.iter().map(outage).collect::<Result<_, _>>().map_err(|why| self.sort(why))
    }
}

pub(super) async fn put_record(
    tx: &mut Transaction<'_, Sqlite>,
    record: &ServerRecord,
) -> Result<(), sqlx::Error> {
    // Texts and numbers: that is always JSON.
    let text = serde_json::to_string(record).unwrap_or_default();
    sqlx::query(
        "INSERT INTO server_records (call_id, linkedid, billed_seconds, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (call_id) DO UPDATE SET linkedid = excluded.linkedid,
             billed_seconds = excluded.billed_seconds, record = excluded.record",
    )
    .bind(record.call.as_str())
    .bind(&record.linkedid)
    .bind(record.billed_seconds.map(i64::from))
    .bind(text)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn put_outage(tx: &mut Transaction<'_, Sqlite>, outage: &Outage) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM outages WHERE from_ms < $1")
        .bind(outage.from.0 - OUTAGES_KEPT_MS)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO outages (server, app, from_ms, to_ms, restarted_ms, why) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&outage.server)
    .bind(&outage.app)
    .bind(outage.from.0)
    .bind(outage.to.0)
    .bind(outage.restarted.map(|at| at.0))
    .bind(&outage.why)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
