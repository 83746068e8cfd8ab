//! Campaigns: whom to call, when, how often, and what came of it.
//!
//! This room decides and keeps the book; it does not dial. A list of numbers goes into the book, the dialler asks it whom
//! to call next, writes down what happens, and reports come out.
//!
//! # Parts
//!
//! - [`plan`]: the campaign file, read and checked;
//! - [`hours`]: may somebody there be called now, and if not, when next; pure;
//! - [`zones`]: where a number is, by the contact's own word or its country;
//! - [`number`]: numbers in international form, and which may be called;
//! - [`permit`]: the one place that decides whether a contact may be dialled; pure;
//! - [`disposition`]: how a call ended, from causes, dial status and SIP, in words;
//! - [`book`]: contacts and attempts in SQLite or PostgreSQL, claimed with leases;
//! - [`import`]: contacts out of CSV, all of a list or nothing;
//! - [`mod@never`]: do-not-call lists, effective with the next statement;
//! - [`pace`]: how many calls to begin now, progressive or predictive; pure;
//! - [`report`]: figures, and exports as CSV and JSON lines;
//! - [`webhook`]: a signed message for each outcome, sent until it is taken.
//!
//! # How a dialler uses it
//!
//! ```no_run
//! # use offhook::campaign::*; use offhook::time::WallTime;
//! # async fn dial(book: Book, engine: Engine) -> Result<(), CampaignError> {
//! let campaign = book.campaign("renewals").await?;
//! for contact in book.claim(&campaign, &engine, "carrier", WallTime::now(), 5).await? {
//!     match book.dialled(&campaign, &engine, contact.attempt, "carrier", &WallTime::now).await? {
//!         Cleared::Dial => { /* originate, with the channel id `offhook-APP-ATTEMPT-leg` */ }
//!         // Not yet: ask again then, or give it back.
//!         Cleared::NotBefore(_) => book.give_back(contact.attempt, WallTime::now()).await?,
//!         Cleared::Withdrawn(_) | Cleared::Full => continue,
//!     }
//!     let end = Closing::new(Disposition::NoAnswer);
//!     book.finish(&campaign, contact.attempt, &end, WallTime::now()).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! Every few seconds it [renews](Book::renew) its lease. At its start it resolves with the server what it
//! [left open](Book::open_attempts), and now and then what others [abandoned](Book::abandoned), each after
//! [taking it over](Book::take_over). What has no `dialled` in the book was never dialled and is
//! [given back](Book::give_back).
//!
//! # What is promised
//!
//! - **Nobody is called twice by mistake.** An attempt is in the book before its channel is made; a contact has one open
//!   attempt at most, and none before his pause is over.
//! - **Nobody is called who must not be.** Window, lists, the day's cap, consent and expiry are asked in the transaction
//!   that claims, and window, lists and consent again right before dialling.
//! - **The counts are exact.** Every contact is in one state; every change is one transaction.
//!
//! # What it never does
//!
//! It makes no channel, plays no audio, and writes neither numbers nor what was said into a log.

pub mod book;
pub mod disposition;
pub mod hours;
pub mod import;
pub mod never;
pub mod number;
pub mod pace;
pub mod permit;
pub mod plan;
pub mod report;
pub mod webhook;
pub mod zones;

mod error;

pub use book::{
    AT_ONCE_MS, Book, Campaign, CampaignId, Claimed, Cleared, Clock, Closing, ContactId, Counts, Engine,
    LEASE_MS, OpenAttempt, State, Withdrawn,
};
pub use disposition::Disposition;
pub use error::CampaignError;
pub use import::{ImportOptions, Imported};
pub use pace::Pace;
pub use plan::{Plan, PlanError};
pub use webhook::Courier;
pub use zones::Zones;
