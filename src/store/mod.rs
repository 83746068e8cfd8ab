//! What the engine keeps of calls: calls, turns and snapshots in SQLite, recordings and their timelines in
//! files.
//!
//! # Parts
//!
//! - [`Store`]: the database. Writing is putting a record into a bounded queue and going on: one task of
//!   its own takes what waits and writes it in one transaction. Reading has a connection of its own and sees
//!   what is written; the file is in WAL mode, so another process (`offhook calls`) reads while the engine
//!   writes.
//! - [`CallRecord`], [`TurnRecord`], [`Snapshot`]: what is stored, as plain data. This room knows nothing
//!   of the rooms that fill it in, nor they of SQL.
//! - [`ServerRecord`], [`Outage`]: what Asterisk itself says of a call, and when it could not be asked.
//! - [`Latencies`], [`Percentiles`]: how long turns took, stage by stage.
//! - [`recording`]: a stereo WAV file per call that can be played however the process ended, and a JSON
//!   timeline.
//!
//! # What is promised
//!
//! - **No call ever waits for the disk.** Every `put_…` returns at once. A call and a snapshot replace the
//!   one of the same call that still waits; turns wait in order. When the disk does not keep up until the
//!   queue is full, what is new is refused, counted in [`Store::dropped`] and logged; nothing goes silently.
//! - **What is written survives.** A killed process loses at most the last 10 ms while the disk is well,
//!   and each commit is synced (`synchronous = FULL`), so a power failure loses no more than that either. A
//!   batch is all there or not at all.
//! - **What is deleted is gone.** The store holds personal data: its folder and files are for their owner
//!   only, deleted rows are overwritten (`secure_delete`), numbers can be masked before they are queued
//!   ([`Numbers`]), and neither numbers nor words appear in a log line.
//!
//! # Later
//!
//! PostgreSQL behind the same API: the SQL keeps to what both know, and what is SQLite's own is in
//! [`Store::open`] and [`Store::purge`].

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use self::queue::Queue;
use crate::id::CallId;
use crate::time::WallTime;

pub use call_back::CallBack;
pub use error::StoreError;
pub use queue::Dropped;
pub use record::{
    AnsweredBy, CallOutcome, CallRecord, CallSummary, Direction, Disposition, Heard, Interruption, Latencies,
    MAX_SNAPSHOT_BYTES, MAX_TEXT_CHARS, Machines, Numbers, Reply, Snapshot, Stage, Taking, TurnKind,
    TurnRecord, UnknownWord,
};
pub use server::{Detail, Outage, ServerRecord, ServerStep};

pub mod recording;

mod call_back;
mod error;
mod query;
mod queue;
mod record;
mod schema;
mod server;
mod writer;

#[cfg(test)]
mod tests;

/// The calls, turns and snapshots of one engine. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    numbers: Numbers,
    queue: Arc<Queue>,
    /// For queries; in memory the same connection as the writer's.
    reader: Arc<Mutex<SqliteConnection>>,
    /// The writer's connection; [`None`] in a store that was opened to be read.
    writer: Option<Arc<Mutex<SqliteConnection>>>,
    /// The writer, until [`Store::close`] has waited for it.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer holds the queue itself, so it still writes what waits if the runtime lets it.
        self.queue.close();
    }
}

/// How many rows [`Store::purge`] deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// The calls. Their recordings, if any, are to be removed by whoever has the folder.
    pub calls: Vec<CallId>,
    /// How many turns they had.
    pub turns: u64,
}

/// The latencies of one bot's last turns.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BotLatencies {
    /// The bot.
    pub bot: String,
    /// How many turns were looked at.
    pub turns: usize,
    /// The stages that at least one of them passed, in milliseconds from the end of the caller's speech.
    pub stages: Vec<(Stage, Percentiles)>,
    /// How many callers waited for the bot's first frame for how long: so many less than [`HISTOGRAM_STEP_MS`], so many for
    /// that long and less than twice that, and so on.
    pub histogram: Vec<usize>,
    /// From the voice that interrupted until the bot's voice went down.
    pub ducked: Option<Percentiles>,
    /// From the voice or key that interrupted until the bot was stopped.
    pub stopped: Option<Percentiles>,
    /// What preparing replies ahead has saved, where it has.
    pub saved: Option<Percentiles>,
    /// Replies that were prepared for nothing.
    pub wasted: usize,
    /// How often the bot's voice went down for what was nothing.
    pub restored: usize,
    /// How often the bot went on with what it had been interrupted in.
    pub resumed: usize,
    /// Who decided that the caller was done, and how often.
    pub witnesses: Vec<(String, usize)>,
}

/// The width of a histogram's step.
pub const HISTOGRAM_STEP_MS: u32 = 100;

/// What a list of latencies comes to, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: usize,
    /// Half of them are at most this.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Store {
    /// Opens the store at `path` to write and read, makes it with its folder when it is not there, brings it
    /// up to date when an older version made it. Must be called in a tokio runtime, which then runs the
    /// writer.
    ///
    /// # Errors
    /// Every [`StoreError`] that opening can meet, each with what to do about it.
    pub async fn open(path: impl AsRef<Path>, numbers: Numbers) -> Result<Self, StoreError> {
        let path = path.as_ref();
        make_file(path)?;
        let options =
            options().filename(path).synchronous(SqliteSynchronous::Full).pragma("secure_delete", "ON");
        let mut writer = connect(&options, path).await?;
        schema::migrate(&mut writer, path).await?;
        // Only now: a file that is not ours has been left as it was.
        sqlx::raw_sql("PRAGMA journal_mode = WAL")
            .execute(&mut writer)
            .await
            .map_err(|why| StoreError::from_sqlx(path, why))?;
        let reader = connect(&options.read_only(true), path).await?;
        Ok(Self::start(path, numbers, Arc::new(Mutex::new(reader)), Arc::new(Mutex::new(writer))))
    }

    /// Opens the store at `path` only to be read, beside an engine that may be writing. What is put into it
    /// is refused.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::Older`] and [`StoreError::Newer`] when it is
    /// another version's.
    pub async fn open_to_read(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if matches!(path.try_exists(), Ok(false)) {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        fs::File::open(path).map_err(|why| StoreError::File { path: path.to_owned(), why })?;
        let mut reader = connect(&options().filename(path).read_only(true), path).await?;
        schema::check(&mut reader, path).await?;
        let queue = Arc::new(Queue::new(0));
        queue.close();
        let inner = Inner {
            path: path.to_owned(),
            numbers: Numbers::Full,
            queue,
            reader: Arc::new(Mutex::new(reader)),
            writer: None,
            task: Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A store that lives in memory, for tests and for an engine that shall keep nothing.
    ///
    /// # Errors
    /// When memory is short.
    pub async fn memory(numbers: Numbers) -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let mut db = connect(&options().in_memory(true), path).await?;
        schema::migrate(&mut db, path).await?;
        let db = Arc::new(Mutex::new(db));
        Ok(Self::start(path, numbers, Arc::clone(&db), db))
    }

    fn start(
        path: &Path,
        numbers: Numbers,
        reader: Arc<Mutex<SqliteConnection>>,
        writer: Arc<Mutex<SqliteConnection>>,
    ) -> Self {
        let queue = Arc::new(Queue::new(queue::CAPACITY));
        let task = tokio::spawn(writer::run(Arc::clone(&writer), path.to_owned(), Arc::clone(&queue)));
        let (path, writer, task) = (path.to_owned(), Some(writer), Mutex::new(Some(task)));
        Self { inner: Arc::new(Inner { path, numbers, queue, reader, writer, task }) }
    }

    /// Stores a call, or its new state. Any thread but the media threads; returns at once.
    pub fn put_call(&self, mut call: CallRecord) {
        call.caller = self.inner.numbers.keep(call.caller);
        call.called = self.inner.numbers.keep(call.called);
        call.note = record::cut(call.note);
        self.inner.queue.put_call(call);
    }

    /// Stores a turn, or its new state. Any thread but the media threads; returns at once.
    pub fn put_turn(&self, mut turn: TurnRecord) {
        turn.heard.text = record::cut(turn.heard.text);
        turn.heard.meaning = record::cut(turn.heard.meaning);
        turn.heard.keys = record::cut(turn.heard.keys);
        turn.reply.text = record::cut(turn.reply.text);
        self.inner.queue.put_turn(turn);
    }

    /// Stores the state of a call that is up in place of the one before. One of more than
    /// [`MAX_SNAPSHOT_BYTES`] is refused and counted. Any thread but the media threads; returns at once.
    pub fn put_snapshot(&self, snapshot: &Snapshot) {
        let state = snapshot.state.to_string();
        if state.len() > MAX_SNAPSHOT_BYTES {
            tracing::error!(call = %snapshot.call, bytes = state.len(), "a snapshot is too large to be stored");
            return self.inner.queue.refuse_snapshot(snapshot.call);
        }
        self.inner.queue.put_snapshot(snapshot.call, Some((snapshot.at, state)));
    }

    /// Removes the snapshot of a call that has ended. Any thread but the media threads; returns at once.
    pub fn remove_snapshot(&self, call: CallId) {
        self.inner.queue.put_snapshot(call, None);
    }

    /// Waits until everything that was put before is on the disk.
    ///
    /// # Errors
    /// Why it is not. It is tried again all the same.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.inner.queue.wait()?.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes what waits and ends the writer; what is put afterwards is refused and counted. Queries still
    /// work. A disk that does not write is tried three times.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before; why not everything is on the disk otherwise.
    pub async fn close(&self) -> Result<(), StoreError> {
        if self.inner.writer.is_none() {
            return Ok(());
        }
        let task = self.inner.task.lock().await.take().ok_or(StoreError::Closed)?;
        let written = self.inner.queue.wait();
        self.inner.queue.close();
        let ended = task.await;
        match written?.await {
            // The first try failed, a later one did not.
            Ok(Err(error)) if self.inner.queue.len() > 0 => Err(error),
            Err(_) if ended.is_err() => Err(StoreError::Closed),
            _ => Ok(()),
        }
    }

    /// Deletes the calls that began before `before`, with their turns, but not those that are up (that have a
    /// snapshot). Takes small bites, so that the writer never waits long.
    ///
    /// # Errors
    /// When the store cannot be written. What was deleted until then stays deleted.
    pub async fn purge(&self, before: WallTime) -> Result<Purged, StoreError> {
        /// Calls per bite: a few milliseconds of work.
        const BITE: i64 = 200;
        let writer = self.inner.writer.as_ref().ok_or(StoreError::Closed)?;
        let mut purged = Purged::default();
        loop {
            let mut db = writer.lock().await;
            let (ids, turns) = purge_some(&mut db, before, BITE).await.map_err(|why| self.sort(why))?;
            if ids.is_empty() {
                // The log still holds the old pages: write it back and empty it, if no reader is in the way.
                let emptied = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *db).await;
                emptied.map_err(|why| self.sort(why))?;
                return Ok(purged);
            }
            purged.turns += turns;
            purged.calls.extend(ids.iter().filter_map(|id| id.parse::<CallId>().ok()));
        }
    }

    /// What was refused since the store was opened.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.inner.queue.dropped()
    }

    /// How many rows wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.queue.len()
    }

    /// The file, or `:memory:`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    async fn reader(&self) -> MutexGuard<'_, SqliteConnection> {
        self.inner.reader.lock().await
    }

    fn sort(&self, why: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.inner.path, why)
    }
}

/// The key of the file in the configuration, for sentences.
const SETTING: &str = "store.path";

/// What all connections share. Statements are not logged at any level.
fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new().busy_timeout(Duration::from_secs(5)).disable_statement_logging()
}

async fn connect(options: &SqliteConnectOptions, path: &Path) -> Result<SqliteConnection, StoreError> {
    SqliteConnection::connect_with(options).await.map_err(|why| StoreError::from_sqlx(path, why))
}

/// Makes the folder (0700) and the file (0600) when they are not there; the files that SQLite puts beside it
/// get the same mode.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let file = |why: io::Error| StoreError::File { path: path.to_owned(), why };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder, SETTING)?;
    let made =
        fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(why) if path.exists() => Err(file(why)),
        Err(why) => Err(StoreError::Folder { folder: folder.to_owned(), setting: SETTING, why }),
    }
}

/// Makes a folder that only its owner may enter; one that is there keeps its mode.
fn make_folder(folder: &Path, setting: &'static str) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|why| StoreError::Folder { folder: folder.to_owned(), setting, why })
}

/// The oldest calls that may go; the statements that delete share it, so they agree within a transaction.
macro_rules! purgeable {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " (SELECT c.id FROM calls c WHERE c.started_ms < $1
                AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.call_id = c.id)
              ORDER BY c.started_ms, c.id LIMIT $2) ",
            $after
        )
    };
}

async fn purge_some(
    db: &mut SqliteConnection,
    before: WallTime,
    bite: i64,
) -> Result<(Vec<String>, u64), sqlx::Error> {
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    let turns = sqlx::query(purgeable!("DELETE FROM turns WHERE call_id IN", ""))
        .bind(before.0)
        .bind(bite)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    sqlx::query(purgeable!("DELETE FROM server_records WHERE call_id IN", ""))
        .bind(before.0)
        .bind(bite)
        .execute(&mut *tx)
        .await?;
    let ids = sqlx::query_scalar(purgeable!("DELETE FROM calls WHERE id IN", "RETURNING id"))
        .bind(before.0)
        .bind(bite)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok((ids, turns))
}
