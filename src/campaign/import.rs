//! Contacts out of a CSV file, a million of them too.
//!
//! One thread reads and parses, the other side writes what is good into a temporary table of its own connection, which no
//! other process sees and which holds no lock. Only when the whole file has been read, one transaction takes it over: the
//! list is in the book, or nothing of it is. Memory is bounded: a few batches of lines, whatever the file's size.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::sync::mpsc;

use super::CampaignError;
use super::book::db::Kind;
use super::book::{Book, Campaign, State};
use super::plan::Plan;
use super::zones::Zones;
use crate::time::WallTime;

/// Lines that go together.
const BATCH: usize = 2_000;

/// Batches that wait for the database.
const WAITING: usize = 2;

/// The longest that one line may be, in bytes: beyond that a quotation mark has been left open.
const LONGEST_LINE: u64 = 1 << 20;

/// The names that the column of numbers may have, where nobody says which it is.
const NUMBER: &[&str] = &["number", "phone", "telephone", "phone_number", "msisdn", "tel"];

/// The names that the column of time zones may have.
const ZONE: &[&str] = &["zone", "time_zone", "timezone", "tz"];

/// What is read, and how.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The CSV file; its first line names the columns.
    pub file: PathBuf,
    /// Where the lines are written that were not taken, with the reason for each.
    pub faults: PathBuf,
    /// The column with the numbers, where it is none of the usual names.
    pub number_column: Option<String>,
    /// What stands between columns: `,`, `;` or a tab; what the first line has where nobody says.
    pub delimiter: Option<u8>,
}

/// What became of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Imported {
    /// Lines, without the heading.
    pub lines: u64,
    /// Contacts that are in the book now.
    pub taken: u64,
    /// Lines whose number was there already: further up in the file, or in the campaign.
    pub duplicates: u64,
    /// Lines that cannot be called.
    pub bad: u64,
    /// Contacts among those taken that are not called, since nobody knows their time zone.
    pub nowhere: u64,
}

/// How far it is: bytes and lines read.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes of the file that have been read.
    pub bytes: u64,
    /// Lines that have been read.
    pub lines: u64,
}

struct Line {
    line: u64,
    number: String,
    place: Option<String>,
    consent: Option<String>,
    variables: Option<String>,
}

#[derive(Default)]
struct Batch {
    good: Vec<Line>,
    bad: Vec<(u64, String)>,
    lines: u64,
    bytes: u64,
}

impl Book {
    /// Reads a list of contacts into a campaign: all of it that can be called, or nothing. Lines that were not taken stand in
    /// the file of faults, with their numbers and reasons. May be called while the campaign runs.
    ///
    /// # Errors
    /// [`CampaignError::File`], [`CampaignError::List`], [`CampaignError::NothingToCall`], [`CampaignError::State`] when the
    /// campaign has been stopped, [`CampaignError::Database`]. Nothing has been taken then.
    pub async fn import(
        &self,
        campaign: &Campaign,
        options: &ImportOptions,
        now: WallTime,
        mut progress: impl FnMut(Progress),
    ) -> Result<Imported, CampaignError> {
        let of_file = |why| CampaignError::File { path: options.file.clone(), why };
        let file = File::open(&options.file).map_err(of_file)?;
        let mut faults = Faults::create(&options.faults)?;
        let mut db = self.db.connect().await?;
        self.stage(&mut db).await.map_err(|why| self.db.sort(why))?;
        let (give, mut take) = mpsc::channel(WAITING);
        let (plan, zones, of_reader) = (Arc::clone(&campaign.plan), Arc::clone(&self.zones), options.clone());
        let reading = tokio::task::spawn_blocking(move || read_all(file, &of_reader, &plan, &zones, &give));
        let mut imported = Imported::default();
        while let Some(batch) = take.recv().await {
            imported.lines += batch.lines;
            imported.bad += batch.bad.len() as u64;
            let mut told = batch.bad;
            for line in self.put(&mut db, &batch.good).await.map_err(|why| self.db.sort(why))? {
                imported.duplicates += 1;
                told.push((line, "its number stands further up in the file".into()));
            }
            told.sort_unstable();
            faults.tell(told)?;
            progress(Progress { bytes: batch.bytes, lines: imported.lines });
        }
        reading.await.map_err(|why| of_file(io::Error::other(why)))??;
        let taken = self.take_over_list(&mut db, campaign, options, now, &mut imported, &mut faults).await;
        if self.db.kind == Kind::Postgres && taken.is_ok() {
            // What it knows of the table is from before the list; it would learn it by itself a minute later.
            let _ = sqlx::raw_sql("ANALYZE campaign_contacts").execute(&mut db).await;
        }
        // A connection that is not closed is closed by its drop; what it had for itself is gone either way.
        let _ = db.close().await;
        taken?;
        faults.finish()?;
        Ok(imported)
    }

    async fn stage(&self, db: &mut AnyConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(
            "CREATE TEMPORARY TABLE campaign_staged (
                number TEXT NOT NULL PRIMARY KEY, line BIGINT NOT NULL, place TEXT, consent TEXT, variables TEXT
            )",
        )
        .execute(&mut *db)
        .await?;
        if self.db.kind == Kind::Postgres {
            // This session works on a list for as long as that takes.
            sqlx::raw_sql("SET idle_in_transaction_session_timeout = 0").execute(&mut *db).await?;
        }
        Ok(())
    }

    /// Stages a batch; gives the lines whose numbers were there.
    async fn put(&self, db: &mut AnyConnection, lines: &[Line]) -> Result<Vec<u64>, sqlx::Error> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let rows =
            lines.iter().map(|one| json!([one.number, one.line, one.place, one.consent, one.variables]));
        let rows = json!(rows.collect::<Vec<_>>()).to_string();
        let put = sqlx::query(self.db.sql(
            "INSERT INTO campaign_staged (number, line, place, consent, variables)
             SELECT json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'), json_extract(j.value, '$[2]'),
                 json_extract(j.value, '$[3]'), json_extract(j.value, '$[4]')
             FROM json_each($1) j WHERE true ON CONFLICT (number) DO NOTHING",
            "INSERT INTO campaign_staged (number, line, place, consent, variables)
             SELECT j.value ->> 0, CAST(j.value ->> 1 AS BIGINT), j.value ->> 2, j.value ->> 3, j.value ->> 4
             FROM json_array_elements(CAST($1 AS json)) AS j(value) ON CONFLICT (number) DO NOTHING",
        ))
        .bind(&rows)
        .execute(&mut *db)
        .await?
        .rows_affected();
        if put == lines.len() as u64 {
            return Ok(Vec::new());
        }
        let twice: Vec<i64> = sqlx::query_scalar(self.db.sql(
            "SELECT CAST(json_extract(j.value, '$[1]') AS BIGINT) FROM json_each($1) j
             JOIN campaign_staged s ON s.number = json_extract(j.value, '$[0]')
             WHERE s.line <> json_extract(j.value, '$[1]')",
            "SELECT CAST(j.value ->> 1 AS BIGINT) FROM json_array_elements(CAST($1 AS json)) AS j(value)
             JOIN campaign_staged s ON s.number = j.value ->> 0
             WHERE s.line <> CAST(j.value ->> 1 AS BIGINT)",
        ))
        .bind(&rows)
        .fetch_all(&mut *db)
        .await?;
        Ok(twice.into_iter().map(i64::unsigned_abs).collect())
    }

    /// Takes what is staged into the book, in one transaction.
    async fn take_over_list(
        &self,
        db: &mut AnyConnection,
        campaign: &Campaign,
        options: &ImportOptions,
        now: WallTime,
        imported: &mut Imported,
        faults: &mut Faults,
    ) -> Result<(), CampaignError> {
        let sort = |why| self.db.sort(why);
        let begin = self.db.sql("BEGIN IMMEDIATE", "BEGIN");
        let mut tx = db.begin_with(begin).await.map_err(sort)?;
        let state: String = sqlx::query_scalar("SELECT state FROM campaigns WHERE id = $1")
            .bind(campaign.id.0)
            .fetch_one(&mut *tx)
            .await
            .map_err(sort)?;
        if state == State::Stopped.as_str() {
            let hint = "nothing can be added to it; make another one";
            return Err(CampaignError::State { name: campaign.name.clone(), is: "stopped", hint });
        }
        loop {
            // In bites, so that the memory is bounded; what has been told goes out of the list.
            let rows = sqlx::query(
                "DELETE FROM campaign_staged WHERE number IN (
                     SELECT s.number FROM campaign_staged s
                     JOIN campaign_contacts c ON c.campaign = $1 AND c.number = s.number LIMIT 5000)
                 RETURNING line",
            )
            .bind(campaign.id.0)
            .fetch_all(&mut *tx)
            .await
            .map_err(sort)?;
            if rows.is_empty() {
                break;
            }
            imported.duplicates += rows.len() as u64;
            let lines = rows.iter().map(|row| row.try_get::<i64, _>(0));
            let mut lines = lines.collect::<Result<Vec<_>, _>>().map_err(sort)?;
            lines.sort_unstable();
            let told = lines
                .into_iter()
                .map(|line| (line.unsigned_abs(), "its number is in the campaign already".to_owned()));
            faults.tell(told.collect())?;
        }
        let taken = sqlx::query(
            "INSERT INTO campaign_contacts (campaign, number, place, consent, variables, state, attempts, due_ms)
             SELECT $1, number, place, consent, variables,
                 CASE WHEN place IS NULL THEN 'nowhere' ELSE 'waiting' END, 0,
                 CASE WHEN place IS NULL THEN NULL ELSE 0 END
             FROM campaign_staged WHERE true ORDER BY line ON CONFLICT DO NOTHING",
        )
        .bind(campaign.id.0)
        .execute(&mut *tx)
        .await
        .map_err(sort)?;
        imported.taken = taken.rows_affected();
        if imported.taken == 0 && imported.duplicates == 0 {
            faults.flush()?;
            let (path, report) = (options.file.clone(), options.faults.clone());
            return Err(CampaignError::NothingToCall { path, lines: imported.lines, report });
        }
        sqlx::query(
            "INSERT INTO campaign_places (campaign, place)
             SELECT DISTINCT $1, place FROM campaign_staged WHERE place IS NOT NULL ON CONFLICT DO NOTHING",
        )
        .bind(campaign.id.0)
        .execute(&mut *tx)
        .await
        .map_err(sort)?;
        let nowhere: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM campaign_staged WHERE place IS NULL")
            .fetch_one(&mut *tx)
            .await
            .map_err(sort)?;
        imported.nowhere = nowhere.unsigned_abs();
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO campaign_imports (campaign, file, at_ms, lines, taken, duplicates, bad)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(campaign.id.0)
        .bind(options.file.display().to_string())
        .bind(now.0)
        .bind(count(imported.lines))
        .bind(count(imported.taken))
        .bind(count(imported.duplicates))
        .bind(count(imported.bad))
        .execute(&mut *tx)
        .await
        .map_err(sort)?;
        tx.commit().await.map_err(sort)
    }
}

/// Lines that were not taken, in a file: made when there is the first one.
struct Faults {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Faults {
    /// One of an earlier try is out of date.
    fn create(path: &Path) -> Result<Self, CampaignError> {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(CampaignError::File { path: path.to_owned(), why })
            }
            _ => Ok(Self { path: path.to_owned(), file: None }),
        }
    }

    fn tell(&mut self, lines: Vec<(u64, String)>) -> Result<(), CampaignError> {
        let path = self.path.clone();
        let of_file = |why| CampaignError::File { path: path.clone(), why };
        for (line, what) in lines {
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    let mut file = BufWriter::new(File::create(&self.path).map_err(of_file)?);
                    writeln!(file, "line,problem").map_err(of_file)?;
                    self.file.insert(file)
                }
            };
            writeln!(file, "{line},\"{}\"", what.replace('"', "\"\"")).map_err(of_file)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CampaignError> {
        let flushed = self.file.as_mut().map_or(Ok(()), io::Write::flush);
        flushed.map_err(|why| CampaignError::File { path: self.path.clone(), why })
    }

    fn finish(mut self) -> Result<(), CampaignError> {
        self.flush()
    }
}

/// A file of which no line is longer than [`LONGEST_LINE`]: the reader of CSV would keep it all.
pub(super) struct Bounded {
    file: File,
    since: Cell<u64>,
}

impl Bounded {
    pub(super) const fn new(file: File) -> Self {
        Self { file, since: Cell::new(0) }
    }

    /// A line has ended.
    pub(super) fn next_record(&self) {
        self.since.set(0);
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let since = self.since.get();
        if since > LONGEST_LINE {
            let what = "a line of more than a megabyte: is a quotation mark left open?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let read = self.file.read(into)?;
        self.since.set(since + read as u64);
        Ok(read)
    }
}

/// A reader of CSV as lists are written by anything: lines of any length, with or without quotation marks.
pub(super) fn reader(file: Bounded, delimiter: u8, has_headers: bool) -> csv::Reader<Bounded> {
    csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .delimiter(delimiter)
        .has_headers(has_headers)
        .buffer_capacity(1 << 16)
        .from_reader(file)
}

/// What the columns are.
struct Columns {
    number: usize,
    zone: Option<usize>,
    consent: Option<usize>,
    variables: Vec<(usize, String)>,
}

impl Columns {
    fn read(header: &csv::StringRecord, options: &ImportOptions) -> Result<Self, String> {
        let names: Vec<String> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_lowercase().replace([' ', '-'], "_"))
            .collect();
        let find = |accepted: &[&str]| names.iter().position(|name| accepted.contains(&name.as_str()));
        let number = match &options.number_column {
            Some(wanted) => find(&[wanted.to_lowercase().replace([' ', '-'], "_").as_str()]),
            None => find(NUMBER),
        };
        let number = number.ok_or_else(|| {
            let wanted = options.number_column.as_deref().unwrap_or("number");
            format!(
                "its first line names no column `{wanted}`, only {}: name the one with the numbers with --number-column",
                names.join(", ")
            )
        })?;
        let (zone, consent) = (find(ZONE), find(&["consent"]));
        let is_taken = |index| index == number || Some(index) == zone || Some(index) == consent;
        let variables =
            names.iter().enumerate().filter(|(index, name)| !is_taken(*index) && !name.is_empty());
        let variables = variables.map(|(index, name)| (index, name.clone())).collect();
        Ok(Self { number, zone, consent, variables })
    }

    fn line(
        &self,
        record: &csv::StringRecord,
        line: u64,
        plan: &Plan,
        zones: &Zones,
    ) -> Result<Line, String> {
        let field = |index: usize| record.get(index).filter(|text| !text.is_empty());
        let number =
            plan.numbering.read(field(self.number).unwrap_or_default()).map_err(|why| why.to_string())?;
        let zone = self.zone.and_then(field);
        let place = zones.place(zone, number.country.as_deref(), plan.several_zones);
        if let (Some(zone), None) = (zone, &place) {
            let zone: String = zone.chars().take(40).collect();
            return Err(format!("`{zone}` is no time zone: write it as \"Europe/Berlin\""));
        }
        let consent = self.consent.and_then(field).map(str::to_owned);
        if plan.consent_required && consent.is_none() {
            return Err("it has no reference in the column `consent`, which the campaign requires".into());
        }
        let variables = self
            .variables
            .iter()
            .filter_map(|(index, name)| Some((name.clone(), serde_json::Value::from(field(*index)?))));
        let variables: serde_json::Map<_, _> = variables.collect();
        let variables = (!variables.is_empty()).then(|| serde_json::Value::Object(variables).to_string());
        Ok(Line {
            line,
            number: number.e164,
            place: place.map(|place| place.to_string()),
            consent,
            variables,
        })
    }
}

/// Reads the file to its end, on a thread of its own.
fn read_all(
    mut file: File,
    options: &ImportOptions,
    plan: &Plan,
    zones: &Zones,
    give: &mpsc::Sender<Batch>,
) -> Result<(), CampaignError> {
    let wrong = |what: String| CampaignError::List { path: options.file.clone(), what };
    let of_file = |why| CampaignError::File { path: options.file.clone(), why };
    let (guessed, behind) = look_at(&mut file).map_err(of_file)?;
    let delimiter = options.delimiter.unwrap_or(guessed);
    let mut reader = reader(Bounded::new(file), delimiter, true);
    let csv = |why: csv::Error| wrong(format!("{why}; write it as CSV in UTF-8"));
    let header = reader.headers().map_err(csv)?.clone();
    if header.is_empty() {
        return Err(wrong("it is empty: its first line has to name the columns".into()));
    }
    let columns = Columns::read(&header, options).map_err(wrong)?;
    let (mut record, mut batch) = (csv::ByteRecord::new(), Batch::default());
    while reader.read_byte_record(&mut record).map_err(csv)? {
        reader.get_ref().next_record();
        let line = record.position().map_or(0, csv::Position::line) + behind;
        batch.lines += 1;
        batch.bytes = record.position().map_or(0, csv::Position::byte);
        // A line that is not UTF-8 is one bad line, and no end of the list.
        let read = csv::StringRecord::from_byte_record(std::mem::take(&mut record));
        let read = read.map_err(|_| "it is not UTF-8: save the file as UTF-8".to_owned());
        match read.and_then(|read| columns.line(&read, line, plan, zones)) {
            Ok(one) => batch.good.push(one),
            Err(what) => batch.bad.push((line, what)),
        }
        if batch.good.len() + batch.bad.len() >= BATCH
            && give.blocking_send(std::mem::take(&mut batch)).is_err()
        {
            // The other side has failed, and says why.
            return Ok(());
        }
    }
    if batch.lines > 0 {
        let _ = give.blocking_send(batch);
    }
    Ok(())
}

/// What stands between columns, of the three the one that the first line has most of; and how far the reader's line numbers
/// are behind: one where lines end in CR and LF, since it sees the LF only with the next line.
fn look_at(file: &mut File) -> io::Result<(u8, u64)> {
    use io::Seek as _;
    let mut start = vec![0; 1 << 16];
    let read = file.read(&mut start)?;
    file.rewind()?;
    let line = start[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    let best = [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter));
    Ok((best.unwrap_or(b','), u64::from(line.ends_with(b"\r"))))
}

#[cfg(test)]
mod tests;
