//! The database behind the book: SQLite in the engine's store file, or PostgreSQL. One SQL for both; where they differ
//! stands a [`Kind`].

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Transaction};

use crate::campaign::CampaignError;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::campaign) enum Kind {
    /// SQLite: one writer at a time.
    Sqlite,
    /// PostgreSQL: many.
    Postgres,
}

/// Connections to the one or the other. Cheap to clone.
#[derive(Clone)]
pub(in crate::campaign) struct Db {
    pub(in crate::campaign) kind: Kind,
    writer: AnyPool,
    reader: AnyPool,
    options: AnyConnectOptions,
    place: String,
}

/// What every connection to SQLite is told. A list of a million numbers that is taken over holds the writer for some
/// seconds, and nothing fails meanwhile.
const PRAGMAS: &str = "PRAGMA busy_timeout = 60000; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
    PRAGMA cache_size = -32000";

/// A connection to PostgreSQL that was idle for so long is asked whether it is still there before it is used.
const ASKED_AFTER: Duration = Duration::from_secs(1);

impl Db {
    /// Opens the file; it is there.
    pub(super) async fn sqlite(path: &Path) -> Result<Self, CampaignError> {
        let text = path.to_str().ok_or(CampaignError::Address)?;
        let mut url = reqwest::Url::parse("sqlite:///").map_err(|_| CampaignError::Address)?;
        // An absolute path, whatever the folder is called: the URL escapes what it must.
        let whole =
            std::path::absolute(text).map_err(|why| CampaignError::File { path: path.to_owned(), why })?;
        url.set_path(whole.to_str().ok_or(CampaignError::Address)?);
        let place = path.display().to_string();
        Self::open(Kind::Sqlite, url.as_str(), place).await
    }

    /// Connects to a database of PostgreSQL.
    pub(super) async fn postgres(url: &str) -> Result<Self, CampaignError> {
        let parsed = reqwest::Url::parse(url).map_err(|_| CampaignError::Address)?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(CampaignError::Address);
        }
        // Without user and password: this goes into sentences.
        let place = format!("postgres://{}{}", parsed.host_str().unwrap_or("localhost"), parsed.path());
        Self::open(Kind::Postgres, url, place).await
    }

    async fn open(kind: Kind, url: &str, place: String) -> Result<Self, CampaignError> {
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = url.parse().map_err(|_| CampaignError::Address)?;
        let options = options.disable_statement_logging();
        let pool = |most: u32| {
            AnyPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(Duration::from_secs(30))
                .test_before_acquire(false)
                .before_acquire(move |db, meta| {
                    Box::pin(async move {
                        // A connection that was used just now is there: asking costs as much as a statement.
                        let ask = kind == Kind::Postgres && meta.idle_for >= ASKED_AFTER;
                        Ok(!ask || db.ping().await.is_ok())
                    })
                })
                .after_connect(move |db, _| Box::pin(async move { prepare(kind, db).await }))
                .connect_with(options.clone())
        };
        let failed = |why| CampaignError::Database { place: place.clone(), why };
        let (writer, reader) = match kind {
            // One writer, so that our own tasks queue here and not in the file's lock.
            Kind::Sqlite => (pool(1).await.map_err(failed)?, pool(2).await.map_err(failed)?),
            Kind::Postgres => {
                let both = pool(8).await.map_err(failed)?;
                (both.clone(), both)
            }
        };
        Ok(Self { kind, writer, reader, options, place })
    }

    /// A transaction that writes.
    pub(in crate::campaign) async fn begin(&self) -> Result<Transaction<'static, Any>, CampaignError> {
        let begin = match self.kind {
            // IMMEDIATE: it has the lock at once, or waits for it, and never loses it half-way.
            Kind::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => self.writer.begin().await,
        };
        begin.map_err(|why| self.sort(why))
    }

    /// A transaction that writes, and does not wait for the disk where the database can do without: when the server falls down
    /// within the next moment, it may be as if this one had never been. It is on the disk as soon as any later one of
    /// [`begin`](Self::begin) is.
    pub(in crate::campaign) async fn begin_losable(
        &self,
    ) -> Result<Transaction<'static, Any>, CampaignError> {
        match self.kind {
            Kind::Sqlite => self.begin().await,
            Kind::Postgres => {
                let begin = self.writer.begin_with("BEGIN; SET LOCAL synchronous_commit = off").await;
                begin.map_err(|why| self.sort(why))
            }
        }
    }

    /// Where to read.
    pub(in crate::campaign) const fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// A connection of its own, for what keeps it long.
    pub(in crate::campaign) async fn connect(&self) -> Result<AnyConnection, CampaignError> {
        let mut db = self.options.connect().await.map_err(|why| self.sort(why))?;
        prepare(self.kind, &mut db).await.map_err(|why| self.sort(why))?;
        Ok(db)
    }

    /// What the database said, with where it is.
    pub(in crate::campaign) fn sort(&self, why: sqlx::Error) -> CampaignError {
        CampaignError::Database { place: self.place.clone(), why }
    }

    /// The file, or the host and database.
    pub(in crate::campaign) fn place(&self) -> &str {
        &self.place
    }

    /// The text for this database, of the two.
    pub(in crate::campaign) const fn sql(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> &'static str {
        match self.kind {
            Kind::Sqlite => sqlite,
            Kind::Postgres => postgres,
        }
    }

    pub(super) async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

impl fmt::Debug for Db {
    /// Without the options: they have a password in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("kind", &self.kind).field("place", &self.place).finish_non_exhaustive()
    }
}

async fn prepare(kind: Kind, db: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let said = match kind {
        Kind::Sqlite => PRAGMAS,
        // What an engine that dies left open ends soon, and a lock is not waited for without end.
        Kind::Postgres => "SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'",
    };
    db.execute(sqlx::raw_sql(said)).await.map(drop)
}
