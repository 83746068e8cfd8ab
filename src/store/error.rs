//! What can go wrong with the store, each with a sentence that says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::schema;

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or written.
    #[error("cannot write in {}: {why}; give the user that runs Offhook the right to write there, or set \
             `store.path` to a folder where it may", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the store {}: {why}; check that it belongs to the user that runs Offhook, or set \
             `store.path` to another file", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// There is something at the path, but no store of ours.
    #[error("{} is no store of Offhook: {why}; set `store.path` to another file, or move this one away",
            .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
    /// Nothing is there to be read.
    #[error("there is no store at {}: start the engine once with `offhook run`, or set `store.path` to the \
             file that the engine uses", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A newer Offhook has been at it.
    #[error("the store {} has schema version {found}, and this Offhook knows up to {}: run the newer Offhook \
             that made it, or set `store.path` to another file", .path.display(), schema::LATEST)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// An older Offhook made it, and we were asked to read only.
    #[error("the store {} has schema version {found}, and this Offhook reads {}: start this version's engine \
             once with `offhook run`, it brings the store up to date", .path.display(), schema::LATEST)]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The beginning of an id fits several calls.
    #[error("'{prefix}' is the beginning of more than one call's id ({}): give more of it", .examples.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Two of the ids that begin so.
        examples: Vec<String>,
    },
    /// What was asked for cannot be the beginning of an id.
    #[error("'{0}' is no call id, nor the beginning of one: give it as `offhook calls` prints it")]
    BadPrefix(String),
    /// A row that this version cannot read.
    #[error(
        "{what} of call {call} cannot be read: {why}; it was written by another version of Offhook or \
             changed by hand, so run the newest version, or delete the row"
    )]
    Row {
        /// Which column.
        what: &'static str,
        /// Which call, as it is stored.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk is full.
    #[error("no room is left on the disk that holds {}: free some, or set `store.path` to another disk",
            .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Another process has held the store for longer than we wait.
    #[error("another process keeps the store {} locked: end it if it hangs (`fuser` names it), then try again",
            .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The store is closed.
    #[error("the store is closed: the engine is stopping")]
    Closed,
    /// Anything else that the database says.
    #[error("the store {} failed: {why}; check the disk, and that nothing else writes to this file",
            .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        why: sqlx::Error,
    },
}

impl StoreError {
    /// Whether the same write may succeed later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. } | Self::Locked { .. } | Self::Database { .. } | Self::File { .. }
        )
    }

    /// Sorts an error of the database on the file at `path`.
    pub(super) fn from_sqlx(path: &Path, why: sqlx::Error) -> Self {
        let path = path.to_owned();
        // Primary result codes of SQLite are the low byte: https://sqlite.org/rescode.html
        let code = why
            .as_database_error()
            .and_then(|e| e.code())
            .and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff);
        match code {
            Some(5 | 6) => Self::Locked { path },
            Some(8) => Self::File { path, why: io::ErrorKind::ReadOnlyFilesystem.into() },
            Some(13) => Self::DiskFull { path },
            Some(14) => Self::File { path, why: io::Error::other("the database cannot be opened") },
            Some(11 | 26) => Self::Foreign { path, why: why.to_string() },
            _ => Self::Database { path, why },
        }
    }
}
