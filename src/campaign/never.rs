//! Whom nobody calls: the lists of all campaigns and of single ones.
//!
//! A number on a list is not claimed, and not dialled when it came onto the list after it was claimed
//! ([`Book::dialled`] looks again). There is no cache anywhere: what is added here holds from the next statement on, in
//! every engine that shares the book.

use std::path::Path;

use serde_json::json;
use sqlx::{Any, Row as _, Transaction};

use super::CampaignError;
use super::book::{Book, Campaign};
use super::number::Numbering;
use crate::time::WallTime;

/// A number on a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// In international form.
    pub number: String,
    /// The campaign that does not call it; [`None`] is all of them.
    pub campaign: Option<String>,
    /// Since when.
    pub added: WallTime,
    /// Why, where somebody said.
    pub why: Option<String>,
}

/// What became of a list that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listed {
    /// Lines.
    pub lines: u64,
    /// Numbers that were not on the list before.
    pub added: u64,
    /// Lines that are no numbers.
    pub bad: u64,
}

/// Lines that go into the book together.
const BATCH: usize = 5_000;

impl Book {
    /// Puts a number onto the list of all campaigns, or of one. `home` is the country of numbers without a code. Says
    /// whether it was not there before.
    ///
    /// # Errors
    /// [`CampaignError::Number`] when it is none; [`CampaignError::Database`].
    pub async fn never_call(
        &self,
        number: &str,
        campaign: Option<&Campaign>,
        home: Option<&str>,
        why: Option<&str>,
        now: WallTime,
    ) -> Result<bool, CampaignError> {
        let number = Numbering::read_any(home, number)?;
        let mut tx = self.db.begin().await?;
        let added = add_in(&mut tx, &number, campaign.map_or(0, |campaign| campaign.id.0), now, why)
            .await
            .map_err(|why| self.db.sort(why))?;
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        Ok(added)
    }

    /// Takes a number off the list of all campaigns, or of one. Says whether it was there. A contact that was settled
    /// because of it stays settled.
    ///
    /// # Errors
    /// As [`never_call`](Self::never_call).
    pub async fn may_call_again(
        &self,
        number: &str,
        campaign: Option<&Campaign>,
        home: Option<&str>,
    ) -> Result<bool, CampaignError> {
        let number = Numbering::read_any(home, number)?;
        let query = sqlx::query("DELETE FROM campaign_never WHERE number = $1 AND campaign = $2")
            .bind(number)
            .bind(campaign.map_or(0, |campaign| campaign.id.0));
        let mut tx = self.db.begin().await?;
        let gone = query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        Ok(gone > 0)
    }

    /// Whether a number in international form is on the list of all campaigns, or of this one.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn is_never_called(
        &self,
        e164: &str,
        campaign: Option<&Campaign>,
    ) -> Result<bool, CampaignError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM campaign_never WHERE number = $1 AND campaign IN (0, $2)",
        )
        .bind(e164)
        .bind(campaign.map_or(0, |campaign| campaign.id.0))
        .fetch_one(self.db.reader())
        .await
        .map_err(|why| self.db.sort(why))?;
        Ok(found > 0)
    }

    /// The lists, by number; those after `after`, `most` at a time.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn never_called(&self, after: &str, most: u32) -> Result<Vec<Entry>, CampaignError> {
        let sort = |why| self.db.sort(why);
        let rows = sqlx::query(
            "SELECT n.number, c.name, n.added_ms, n.why
             FROM campaign_never n LEFT JOIN campaigns c ON c.id = n.campaign
             WHERE n.number > $1 ORDER BY n.number, n.campaign LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(most))
        .fetch_all(self.db.reader())
        .await
        .map_err(sort)?;
        let read = |row: &sqlx::any::AnyRow| -> Result<Entry, sqlx::Error> {
            Ok(Entry {
                number: row.try_get(0)?,
                campaign: row.try_get(1)?,
                added: WallTime(row.try_get(2)?),
                why: row.try_get(3)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sort)
    }

    /// Reads a list: one number a line, or a CSV whose first column they are. Every part is effective as soon as it is
    /// read; a list that breaks off is read again, and what is there is left as it is.
    ///
    /// # Errors
    /// [`CampaignError::File`], [`CampaignError::List`], [`CampaignError::Database`].
    pub async fn never_call_all(
        &self,
        file: &Path,
        campaign: Option<&Campaign>,
        home: Option<&str>,
        now: WallTime,
    ) -> Result<Listed, CampaignError> {
        let opened = std::fs::File::open(file);
        let opened = opened.map_err(|why| CampaignError::File { path: file.to_owned(), why })?;
        let mut reader = super::import::reader(super::import::Bounded::new(opened), b',', false);
        let (home, mut listed) = (home.map(str::to_owned), Listed::default());
        loop {
            let (of_read, path) = (home.clone(), file.to_owned());
            // Reading and parsing take a thread's time.
            let read = tokio::task::spawn_blocking(move || {
                let numbers = read_some(&mut reader, of_read.as_deref(), &mut listed);
                (reader, listed, numbers)
            });
            let read =
                read.await.map_err(|why| CampaignError::File { path, why: std::io::Error::other(why) })?;
            let numbers;
            (reader, listed, numbers) = read;
            let numbers = numbers.map_err(|why| {
                let what = format!("{why}; write one number a line");
                CampaignError::List { path: file.to_owned(), what }
            })?;
            listed.added += self.add_all(&numbers, campaign.map_or(0, |campaign| campaign.id.0), now).await?;
            if reader.is_done() {
                return Ok(listed);
            }
        }
    }

    async fn add_all(&self, numbers: &[String], campaign: i64, now: WallTime) -> Result<u64, CampaignError> {
        if numbers.is_empty() {
            return Ok(0);
        }
        let query = sqlx::query(self.db.sql(
            "INSERT INTO campaign_never (number, campaign, added_ms)
             SELECT j.value, $2, $3 FROM json_each($1) j WHERE true ON CONFLICT DO NOTHING",
            "INSERT INTO campaign_never (number, campaign, added_ms)
             SELECT j.value, $2, $3 FROM json_array_elements_text(CAST($1 AS json)) AS j(value)
             ON CONFLICT DO NOTHING",
        ))
        .bind(json!(numbers).to_string())
        .bind(campaign)
        .bind(now.0);
        let mut tx = self.db.begin().await?;
        let added = query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?.rows_affected();
        tx.commit().await.map_err(|why| self.db.sort(why))?;
        Ok(added)
    }
}

/// Reads up to [`BATCH`] lines; an empty list is the end.
fn read_some(
    reader: &mut csv::Reader<super::import::Bounded>,
    home: Option<&str>,
    listed: &mut Listed,
) -> Result<Vec<String>, csv::Error> {
    let (mut record, mut numbers) = (csv::StringRecord::new(), Vec::with_capacity(BATCH));
    while numbers.len() < BATCH && reader.read_record(&mut record)? {
        reader.get_ref().next_record();
        listed.lines += 1;
        match Numbering::read_any(home, record.get(0).unwrap_or_default()) {
            Ok(number) => numbers.push(number),
            // The first line may be a heading.
            Err(_) if listed.lines == 1 => {}
            Err(_) => listed.bad += 1,
        }
    }
    Ok(numbers)
}

/// Puts a number in international form onto a list, within a transaction; 0 is the list of all campaigns.
pub(super) async fn add_in(
    tx: &mut Transaction<'static, Any>,
    number: &str,
    campaign: i64,
    now: WallTime,
    why: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO campaign_never (number, campaign, added_ms, why) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(number)
    .bind(campaign)
    .bind(now.0)
    .bind(why)
    .execute(&mut **tx)
    .await?;
    Ok(added.rows_affected() > 0)
}
