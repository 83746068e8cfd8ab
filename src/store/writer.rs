//! The one task that writes.
//!
//! It takes everything that waits, writes it in one transaction and commits once (group commit): while the
//! disk works, the next batch gathers. A batch that fails goes back into the queue and is tried again, later
//! and later.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};
use tokio::sync::Mutex;

use super::error::StoreError;
use super::queue::{Batch, Queue, SnapshotChange};
use super::record::{CallRecord, TurnRecord};
use super::server;
use crate::id::CallId;

/// The writer lets this much time pass after the first row of a batch, so that calls that step at the same
/// moment share a commit. It is also how old a snapshot may be at most that a crash loses while the disk is
/// well.
const LINGER: Duration = Duration::from_millis(10);

/// How long the writer waits after a failure: this, then twice as long each time, at most [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// See [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often the writer tries to write the last batch when the store is closed.
const LAST_TRIES: u32 = 3;

/// Writes until the queue is closed and empty.
pub(super) async fn run(db: Arc<Mutex<SqliteConnection>>, path: PathBuf, queue: Arc<Queue>) {
    let mut failures = 0;
    loop {
        queue.ready().await;
        let closing = queue.is_closing();
        if !closing {
            // A timer that is up or somebody in a hurry, whichever comes first.
            let _ = tokio::time::timeout(LINGER, queue.hurried()).await;
        }
        let mut batch = queue.take();
        if batch.is_empty() {
            if closing {
                return;
            }
            continue;
        }
        let written = write(&mut *db.lock().await, &path, &batch).await;
        let waiters = std::mem::take(&mut batch.waiters);
        match written {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(failures, rows = batch.rows(), "the store writes again");
                }
                failures = 0;
                for waiter in waiters {
                    let _ = waiter.send(Ok(()));
                }
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::error!(%error, rows = batch.rows(), "the store cannot be written; trying again");
                }
                let lost = batch.rows();
                queue.put_back(batch);
                answer(waiters, error, &path);
                if closing && failures >= LAST_TRIES {
                    tracing::error!(lost, "the store was closed before everything could be written");
                    return;
                }
                let wait = FIRST_WAIT * 2_u32.saturating_pow(failures.min(10) - 1);
                tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
            }
        }
    }
}

/// Tells everybody who waited why the batch is not on the disk: the first in full, since errors do not clone.
fn answer(waiters: Vec<super::queue::Waiter>, error: StoreError, path: &Path) {
    let sentence = error.to_string();
    let mut first = Some(error);
    for waiter in waiters {
        let error = first.take().unwrap_or_else(|| StoreError::Database {
            path: path.to_owned(),
            why: sqlx::Error::Io(std::io::Error::other(sentence.clone())),
        });
        let _ = waiter.send(Err(error));
    }
}

/// Writes a batch in one transaction.
async fn write(db: &mut SqliteConnection, path: &Path, batch: &Batch) -> Result<(), StoreError> {
    if batch.rows() == 0 {
        return Ok(());
    }
    write_rows(db, batch).await.map_err(|why| StoreError::from_sqlx(path, why))
}

async fn write_rows(db: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    for call in batch.calls.values() {
        put_call(&mut tx, call).await?;
    }
    for turn in &batch.turns {
        put_turn(&mut tx, turn).await?;
    }
    for (call, change) in &batch.snapshots {
        put_snapshot(&mut tx, *call, change).await?;
    }
    for record in batch.records.values() {
        server::put_record(&mut tx, record).await?;
    }
    for outage in &batch.outages {
        server::put_outage(&mut tx, outage).await?;
    }
    tx.commit().await
}

async fn put_call(tx: &mut Transaction<'_, Sqlite>, call: &CallRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO calls (id, started_ms, answered_ms, ended_ms, server, app, bot, direction, caller, called,
             leg, disposition, cause, note, recording, media, outcome)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (id) DO UPDATE SET
             started_ms = excluded.started_ms, answered_ms = excluded.answered_ms, ended_ms = excluded.ended_ms,
             server = excluded.server, app = excluded.app, bot = excluded.bot, direction = excluded.direction,
             caller = excluded.caller, called = excluded.called, leg = excluded.leg,
             disposition = excluded.disposition, cause = excluded.cause, note = excluded.note,
             recording = excluded.recording, media = excluded.media,
             outcome = excluded.outcome",
    )
    .bind(call.id.as_str())
    .bind(call.started.0)
    .bind(call.answered.map(|at| at.0))
    .bind(call.ended.map(|at| at.0))
    .bind(&call.server)
    .bind(&call.app)
    .bind(&call.bot)
    .bind(call.direction.as_str())
    .bind(&call.caller)
    .bind(&call.called)
    .bind(&call.leg)
    .bind(call.disposition.map(|d| d.as_str()))
    .bind(call.cause.map(i64::from))
    .bind(&call.note)
    .bind(&call.recording)
    .bind(call.media.as_ref().map(ToString::to_string))
    // Flags and texts: that is always JSON.
    .bind(call.outcome.as_ref().and_then(|outcome| serde_json::to_string(outcome).ok()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn put_turn(tx: &mut Transaction<'_, Sqlite>, turn: &TurnRecord) -> Result<(), sqlx::Error> {
    let (heard, reply, took) = (&turn.heard, &turn.reply, &turn.latencies);
    // Numbers and names: that is always JSON.
    let taking = serde_json::to_string(&turn.taking).unwrap_or_default();
    sqlx::query(
        "INSERT INTO turns (call_id, turn_index, at_ms, step, kind, heard_text, heard_meaning, heard_confidence,
             heard_keys, reply_text, reply_total_ms, reply_heard_ms, interrupted, endpoint_ms, final_ms, reply_ms,
             audio_ms, sent_ms, taking)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         ON CONFLICT (call_id, turn_index) DO UPDATE SET
             at_ms = excluded.at_ms, step = excluded.step, kind = excluded.kind,
             heard_text = excluded.heard_text, heard_meaning = excluded.heard_meaning,
             heard_confidence = excluded.heard_confidence, heard_keys = excluded.heard_keys,
             reply_text = excluded.reply_text, reply_total_ms = excluded.reply_total_ms,
             reply_heard_ms = excluded.reply_heard_ms, interrupted = excluded.interrupted,
             endpoint_ms = excluded.endpoint_ms, final_ms = excluded.final_ms, reply_ms = excluded.reply_ms,
             audio_ms = excluded.audio_ms, sent_ms = excluded.sent_ms,
             taking = excluded.taking",
    )
    .bind(turn.call.as_str())
    .bind(i64::from(turn.index))
    .bind(turn.at.0)
    .bind(&turn.step)
    .bind(turn.kind.as_str())
    .bind(&heard.text)
    .bind(&heard.meaning)
    .bind(heard.confidence.map(f64::from))
    .bind(&heard.keys)
    .bind(&reply.text)
    .bind(reply.total_ms.map(i64::from))
    .bind(reply.heard_ms.map(i64::from))
    .bind(reply.interrupted.map(|by| by.as_str()))
    .bind(took.endpoint_ms)
    .bind(took.final_ms)
    .bind(took.reply_ms)
    .bind(took.audio_ms)
    .bind(took.sent_ms)
    .bind(taking)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn put_snapshot(
    tx: &mut Transaction<'_, Sqlite>,
    call: CallId,
    change: &SnapshotChange,
) -> Result<(), sqlx::Error> {
    match change {
        Some((at, state)) => {
            sqlx::query(
                "INSERT INTO snapshots (call_id, at_ms, state) VALUES ($1, $2, $3)
                 ON CONFLICT (call_id) DO UPDATE SET at_ms = excluded.at_ms, state = excluded.state",
            )
            .bind(call.as_str())
            .bind(at.0)
            .bind(state)
            .execute(&mut **tx)
            .await?;
        }
        None => {
            sqlx::query("DELETE FROM snapshots WHERE call_id = $1")
                .bind(call.as_str())
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}
