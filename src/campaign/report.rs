//! What came of a campaign: figures by disposition, hour, attempt and trunk, and every attempt or contact as CSV or JSON
//! lines.
//!
//! Attempts that are open are in no figure. Exports are read and written row by row: a million of them take no memory.

use std::collections::BTreeMap;
use std::io::Write;

use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::CampaignError;
use super::book::{Book, CampaignId};
use crate::time::WallTime;

/// The figures of a campaign.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Report {
    /// All attempts.
    pub all: Figures,
    /// By how they ended.
    pub by_disposition: BTreeMap<String, Figures>,
    /// By the hour at the called party's, `0` to `23`, at which they were dialled.
    pub by_hour: BTreeMap<u32, Figures>,
    /// By which attempt it was for the contact.
    pub by_attempt: BTreeMap<u32, Figures>,
    /// By trunk.
    pub by_trunk: BTreeMap<String, Figures>,
}

/// The figures of some attempts.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Figures {
    /// How many were dialled and have ended.
    pub attempts: u64,
    /// How many were answered, by whom or what ever.
    pub answered: u64,
    /// How many of them people answered.
    pub people: u64,
    /// How many were a success, by the campaign's `conversion`.
    pub converted: u64,
    /// From dialling to the answer, in milliseconds, all together.
    pub connect_ms: u64,
    /// From the answer to the end, in milliseconds, all together.
    pub talk_ms: u64,
}

impl Figures {
    /// The share of attempts that were answered, from 0 to 1.
    #[must_use]
    pub fn answer_rate(&self) -> f64 {
        ratio(self.answered, self.attempts)
    }

    /// The share of people who were a success, from 0 to 1.
    #[must_use]
    pub fn conversion(&self) -> f64 {
        ratio(self.converted, self.people)
    }

    /// From dialling to the answer on average, in seconds.
    #[must_use]
    pub fn connect_seconds(&self) -> f64 {
        ratio(self.connect_ms, self.answered) / 1_000.0
    }

    /// From the answer to the end on average, in seconds.
    #[must_use]
    pub fn talk_seconds(&self) -> f64 {
        ratio(self.talk_ms, self.answered) / 1_000.0
    }

    fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.answered += other.answered;
        self.people += other.people;
        self.converted += other.converted;
        self.connect_ms += other.connect_ms;
        self.talk_ms += other.talk_ms;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// One row for each attempt that has ended.
    Attempts,
    /// One row for each contact, called or not.
    Contacts,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma separated, with a first line that names the columns; what the bot found out is one column of JSON.
    Csv,
    /// One JSON object a line.
    Json,
}

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

impl Book {
    /// The figures of a campaign.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn report(&self, campaign: CampaignId) -> Result<Report, CampaignError> {
        let sort = |why| self.db.sort(why);
        // One pass over the attempts; few groups come out of it, whatever their number.
        let mut rows = sqlx::query(
            "SELECT place, dialled_ms / 3600000, disposition, attempt, COALESCE(trunk, ''),
                 COUNT(*), COUNT(answered_ms), CAST(SUM(converted) AS BIGINT),
                 CAST(COALESCE(SUM(answered_ms - dialled_ms), 0) AS BIGINT),
                 CAST(COALESCE(SUM(ended_ms - answered_ms), 0) AS BIGINT)
             FROM campaign_attempts
             WHERE campaign = $1 AND ended_ms IS NOT NULL AND dialled_ms IS NOT NULL
             GROUP BY place, dialled_ms / 3600000, disposition, attempt, COALESCE(trunk, '')",
        )
        .bind(campaign.0)
        .fetch(self.db.reader());
        let mut report = Report::default();
        while let Some(row) = rows.try_next().await.map_err(sort)? {
            self.add_row(&mut report, &row).map_err(sort)?;
        }
        Ok(report)
    }

    fn add_row(&self, report: &mut Report, row: &AnyRow) -> Result<(), sqlx::Error> {
        let (place, hour): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (disposition, attempt): (String, i64) = (row.try_get(2)?, row.try_get(3)?);
        let trunk: String = row.try_get(4)?;
        let count = |index: usize| row.try_get::<i64, _>(index).map(|value| value.max(0).unsigned_abs());
        let is_person = super::book::disposition(&disposition).is_person();
        let figures = Figures {
            attempts: count(5)?,
            answered: count(6)?,
            people: if is_person { count(5)? } else { 0 },
            converted: count(7)?,
            connect_ms: count(8)?,
            talk_ms: count(9)?,
        };
        let there = self.zones.zone(&place).map(|zone| zone.hour(WallTime(hour * HOUR_MS)));
        report.all.add(&figures);
        report.by_disposition.entry(disposition).or_default().add(&figures);
        report.by_hour.entry(there.unwrap_or(0)).or_default().add(&figures);
        report.by_attempt.entry(u32::try_from(attempt).unwrap_or(0)).or_default().add(&figures);
        report.by_trunk.entry(trunk).or_default().add(&figures);
        Ok(())
    }

    /// Writes every ended attempt, or every contact, of a campaign; gives how many rows.
    ///
    /// # Errors
    /// [`CampaignError::Output`], [`CampaignError::Database`].
    pub async fn export(
        &self,
        campaign: CampaignId,
        what: What,
        format: Format,
        into: impl Write + Send,
    ) -> Result<u64, CampaignError> {
        let (columns, sql) = match what {
            What::Attempts => (ATTEMPTS, ATTEMPTS_SQL),
            What::Contacts => (CONTACTS, CONTACTS_SQL),
        };
        let mut writer = Writer::new(format, columns, into)?;
        let mut rows = sqlx::query(sql).bind(campaign.0).fetch(self.db.reader());
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(|why| self.db.sort(why))? {
            let values = read(columns, &row).map_err(|why| self.db.sort(why))?;
            writer.row(columns, values)?;
            count += 1;
        }
        writer.finish()?;
        Ok(count)
    }
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Number,
    /// Milliseconds since 1970, written as ISO 8601.
    Time,
    /// 0 or 1.
    Truth,
    /// An object.
    Json,
}

type Columns = &'static [(&'static str, Holds)];

const ATTEMPTS: Columns = &[
    ("id", Holds::Text),
    ("number", Holds::Text),
    ("attempt", Holds::Number),
    ("disposition", Holds::Text),
    ("cause", Holds::Number),
    ("trunk", Holds::Text),
    ("claimed", Holds::Time),
    ("dialled", Holds::Time),
    ("answered", Holds::Time),
    ("ended", Holds::Time),
    ("converted", Holds::Truth),
    ("note", Holds::Text),
    ("consent", Holds::Text),
    ("result", Holds::Json),
    ("variables", Holds::Json),
];

const ATTEMPTS_SQL: &str = "SELECT a.id, a.number, a.attempt, a.disposition, a.cause, a.trunk, a.claimed_ms,
        a.dialled_ms, a.answered_ms, a.ended_ms, a.converted, a.note, c.consent, a.result, c.variables
    FROM campaign_attempts a JOIN campaign_contacts c ON c.id = a.contact
    WHERE a.campaign = $1 AND a.ended_ms IS NOT NULL ORDER BY a.claimed_ms, a.id";

const CONTACTS: Columns = &[
    ("number", Holds::Text),
    ("state", Holds::Text),
    ("outcome", Holds::Text),
    ("attempts", Holds::Number),
    ("not_before", Holds::Time),
    ("zone", Holds::Text),
    ("consent", Holds::Text),
    ("variables", Holds::Json),
];

const CONTACTS_SQL: &str = "SELECT number, state, outcome, attempts, due_ms, place, consent, variables
    FROM campaign_contacts WHERE campaign = $1 ORDER BY id";

fn read(columns: Columns, row: &AnyRow) -> Result<Vec<Value>, sqlx::Error> {
    let mut values = Vec::with_capacity(columns.len());
    for (index, (_, holds)) in columns.iter().enumerate() {
        values.push(match holds {
            Holds::Text => row.try_get::<Option<String>, _>(index)?.map_or(Value::Null, Value::from),
            Holds::Number => row.try_get::<Option<i64>, _>(index)?.map_or(Value::Null, Value::from),
            Holds::Truth => json!(row.try_get::<i64, _>(index)? != 0),
            Holds::Time => {
                // 0 is what a contact has who has not been called yet.
                let at = row.try_get::<Option<i64>, _>(index)?.filter(|at| *at > 0);
                at.map_or(Value::Null, |at| WallTime(at).to_string().into())
            }
            Holds::Json => {
                let text = row.try_get::<Option<String>, _>(index)?;
                text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
            }
        });
    }
    Ok(values)
}

enum Writer<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(std::io::BufWriter<W>),
}

impl<W: Write> Writer<W> {
    fn new(format: Format, columns: Columns, into: W) -> Result<Self, CampaignError> {
        match format {
            Format::Json => Ok(Self::Json(std::io::BufWriter::new(into))),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(into);
                writer.write_record(columns.iter().map(|(name, _)| name)).map_err(of_csv)?;
                Ok(Self::Csv(Box::new(writer)))
            }
        }
    }

    fn row(&mut self, columns: Columns, values: Vec<Value>) -> Result<(), CampaignError> {
        match self {
            Self::Csv(writer) => {
                let fields = values.iter().map(|value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                writer.write_record(fields).map_err(of_csv)
            }
            Self::Json(writer) => {
                let named = columns.iter().zip(values).map(|((name, _), value)| ((*name).to_owned(), value));
                let object: Map<String, Value> = named.collect();
                writeln!(writer, "{}", Value::Object(object)).map_err(CampaignError::Output)
            }
        }
    }

    fn finish(self) -> Result<(), CampaignError> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Json(mut writer) => writer.flush(),
        }
        .map_err(CampaignError::Output)
    }
}

fn of_csv(why: csv::Error) -> CampaignError {
    CampaignError::Output(std::io::Error::other(why))
}
