//! What can go wrong with campaigns, each with a sentence that says what to do.

use std::path::PathBuf;

use super::plan::PlanError;
use crate::store::StoreError;

/// Why the book did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The engine's store, in whose file the book is, cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The campaign file cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The database refuses.
    #[error("{place}: {why}; check that it is there, has room and lets us in")]
    Database {
        /// The file, or the host and database.
        place: String,
        /// What it said.
        why: sqlx::Error,
    },
    /// The database's address is none.
    #[error("`store.url` is no address of a database: write \"postgres://USER@HOST/DATABASE\"")]
    Address,
    /// The user of the database may make no tables in it.
    #[error(
        "the user of {place} may make no tables there: GRANT CREATE ON SCHEMA public TO him, as the database's owner"
    )]
    NotAllowed {
        /// The host and database.
        place: String,
    },
    /// A later version of Offhook has been there.
    #[error(
        "{place} has version {found} of the campaign tables, and this Offhook knows up to {known}: use the newer Offhook"
    )]
    Newer {
        /// The file, or the host and database.
        place: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is no such campaign.
    #[error("there is no campaign `{name}`: {}", names(.known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// There is one of this name.
    #[error("there is a campaign `{0}` already: give this one another name")]
    Exists(String),
    /// A name that cannot be one.
    #[error("`{0}` is no name of a campaign: letters, digits, - and _ alone, 60 at most")]
    Name(String),
    /// The campaign is not in a state from which it could do that.
    #[error("the campaign `{name}` is {is}: {hint}")]
    State {
        /// Its name.
        name: String,
        /// Its state.
        is: &'static str,
        /// What can be done.
        hint: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {why}; check the path and its permissions", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The list has no column with numbers, or is no CSV.
    #[error("{}: {what}", .path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Nothing of a list can be called.
    #[error("{}: none of its {lines} lines can be called; {} says why for each", .path.display(), .report.display())]
    NothingToCall {
        /// The file.
        path: PathBuf,
        /// How many lines it has.
        lines: u64,
        /// Where the faults are.
        report: PathBuf,
    },
    /// What the book says cannot be written out.
    #[error("the output cannot be written: {0}; check its disk and permissions")]
    Output(#[source] std::io::Error),
    /// A number that cannot be read, for a list of those that are never called.
    #[error("{0}")]
    Number(#[from] super::number::BadNumber),
    /// An attempt that is not in the book, or is closed.
    #[error("the attempt {0} is not open: it was closed before, or another engine has taken it over")]
    NotOpen(crate::id::CallId),
}

fn names(known: &[String]) -> String {
    if known.is_empty() {
        return "there is none yet, `offhook campaign create FILE` makes one".into();
    }
    format!("there are {}", known.join(", "))
}
