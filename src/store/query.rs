//! Reading: rows become records again.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::StoreError;
use super::record::{CallRecord, CallSummary, Heard, Latencies, Reply, Snapshot, Stage, Taking, TurnRecord};
use super::{BotLatencies, HISTOGRAM_STEP_MS, Percentiles, Store};
use crate::id::CallId;
use crate::time::WallTime;

/// The columns of a call in a list; closed by a `WHERE` or an `ORDER BY`.
macro_rules! summaries {
    ($rest:literal) => {
        concat!(
            "SELECT c.*, (SELECT COUNT(*) FROM turns t WHERE t.call_id = c.id) AS turns, s.billed_seconds
             FROM calls c LEFT JOIN server_records s ON s.call_id = c.id ",
            $rest
        )
    };
}

impl Store {
    /// The latest `limit` calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn latest_calls(&self, limit: u32) -> Result<Vec<CallSummary>, StoreError> {
        let mut db = self.reader().await;
        let rows = sqlx::query(summaries!("ORDER BY c.started_ms DESC, c.id DESC LIMIT $1"))
            .bind(i64::from(limit))
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        rows.iter().map(summary).collect()
    }

    /// The call whose id begins with `prefix`; [`None`] when there is none.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] when there are several, [`StoreError::BadPrefix`] when no id can begin so.
    pub async fn find_call(&self, prefix: &str) -> Result<Option<CallSummary>, StoreError> {
        let fits = prefix.len() <= CallId::LEN && prefix.bytes().all(|b| b.is_ascii_alphanumeric());
        if prefix.is_empty() || !fits {
            return Err(StoreError::BadPrefix(prefix.chars().take(40).collect()));
        }
        let prefix = prefix.to_ascii_lowercase();
        let mut db = self.reader().await;
        // A range and no LIKE: it uses the index in both databases. '~' sorts behind every character of an
        // id.
        let rows = sqlx::query(summaries!("WHERE c.id >= $1 AND c.id < $2 ORDER BY c.id LIMIT 2"))
            .bind(&prefix)
            .bind(format!("{prefix}~"))
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(summary(row)?)),
            _ => {
                let examples = rows.iter().filter_map(|row| row.try_get("id").ok()).collect();
                Err(StoreError::Ambiguous { prefix, examples })
            }
        }
    }

    /// The calls that have no end, the oldest first. Right after a start these are the calls of the engine before:
    /// those that are still up are to be adopted, the others to be put again as
    /// [`Disposition::Lost`](super::Disposition::Lost).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unfinished_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        let mut db = self.reader().await;
        let rows = sqlx::query(summaries!("WHERE c.ended_ms IS NULL ORDER BY c.started_ms, c.id"))
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        rows.iter().map(|row| Ok(summary(row)?.call)).collect()
    }

    /// The turns of a call, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn turns(&self, call: CallId) -> Result<Vec<TurnRecord>, StoreError> {
        let mut db = self.reader().await;
        let rows = sqlx::query("SELECT * FROM turns WHERE call_id = $1 ORDER BY turn_index")
            .bind(call.as_str())
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        rows.iter().map(turn).collect()
    }

    /// The snapshots of all calls that were up when the last engine wrote, the oldest first. A snapshot that
    /// cannot be read is left out and told in the log: the others shall be adopted all the same.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let mut db = self.reader().await;
        let rows = sqlx::query("SELECT call_id, at_ms, state FROM snapshots ORDER BY at_ms, call_id")
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        let readable = rows.iter().filter_map(|row| match snapshot(row) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::warn!(%error, "a snapshot is left out");
                None
            }
        });
        Ok(readable.collect())
    }

    /// How long the last `turns` turns of each bot took that have a latency at all, bots in order of their
    /// names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn latencies(&self, turns: u32) -> Result<Vec<BotLatencies>, StoreError> {
        let mut db = self.reader().await;
        let bots: Vec<String> = sqlx::query_scalar("SELECT DISTINCT bot FROM calls ORDER BY bot")
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
        let mut result = Vec::with_capacity(bots.len());
        for bot in bots {
            let rows = sqlx::query(
                // In this order both indexes are walked backwards, and no bot is too rare to be found at once.
                "SELECT t.call_id, t.endpoint_ms, t.final_ms, t.reply_ms, t.audio_ms, t.sent_ms, t.taking
                 FROM calls c JOIN turns t ON t.call_id = c.id
                 WHERE c.bot = $1 AND COALESCE(t.endpoint_ms, t.final_ms, t.reply_ms, t.audio_ms, t.sent_ms)
                     IS NOT NULL
                 ORDER BY c.started_ms DESC, c.id DESC, t.turn_index DESC LIMIT $2",
            )
            .bind(&bot)
            .bind(i64::from(turns))
            .fetch_all(&mut *db)
            .await
            .map_err(|why| self.sort(why))?;
            let took = rows.iter().map(latencies).collect::<Result<Vec<_>, _>>()?;
            let stages = Stage::ALL
                .iter()
                .filter_map(|stage| {
                    let values = took.iter().filter_map(|turn| turn.get(*stage)).collect();
                    Percentiles::of(values).map(|percentiles| (*stage, percentiles))
                })
                .collect();
            let taken = rows.iter().map(taking).collect::<Result<Vec<_>, _>>()?;
            result.push(BotLatencies { turns: took.len(), stages, ..manners(bot, &took, &taken) });
        }
        Ok(result)
    }
}

/// What the bot's turns come to besides their stages.
fn manners(bot: String, took: &[Latencies], taken: &[Taking]) -> BotLatencies {
    let of = |pick: fn(&Taking) -> Option<f64>| Percentiles::of(taken.iter().filter_map(pick).collect());
    let mut witnesses = BTreeMap::<String, usize>::new();
    for witness in taken.iter().filter_map(|taking| taking.witness.clone()) {
        *witnesses.entry(witness).or_default() += 1;
    }
    let mut histogram = Vec::new();
    for ms in took.iter().filter_map(|took| took.sent_ms).filter(|ms| ms.is_finite()) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
        let step = (ms.clamp(0.0, 60_000.0) / f64::from(HISTOGRAM_STEP_MS)) as usize;
        if histogram.len() <= step {
            histogram.resize(step + 1, 0);
        }
        histogram[step] += 1;
    }
    BotLatencies {
        bot,
        turns: 0,
        stages: Vec::new(),
        histogram,
        ducked: of(|taking| taking.ducked_ms),
        stopped: of(|taking| taking.stopped_ms),
        saved: of(|taking| taking.saved_ms),
        wasted: taken.iter().map(|taking| usize::from(taking.wasted)).sum(),
        restored: taken.iter().map(|taking| usize::from(taking.restored)).sum(),
        resumed: taken.iter().filter(|taking| taking.resumed).count(),
        witnesses: witnesses.into_iter().collect(),
    }
}

impl Percentiles {
    /// The percentiles of a list, by the nearest rank; [`None`] of an empty one.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        let count = values.len();
        let rank = |percent: usize| values[(count * percent).div_ceil(100).max(1) - 1];
        Some(Self { count, p50: rank(50), p90: rank(90), p95: rank(95), p99: rank(99), max })
    }
}

/// Reads one column, and knows what to say when it cannot be read.
struct Cells<'r> {
    row: &'r SqliteRow,
    /// The column that names the call.
    key: &'static str,
}

impl Cells<'_> {
    fn get<'r, T>(&'r self, column: &'static str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.row.try_get(column).map_err(|why| self.bad(column, &why))
    }

    fn bad(&self, what: &'static str, why: &dyn std::fmt::Display) -> StoreError {
        let call = self.row.try_get(self.key).unwrap_or_else(|_| "?".to_owned());
        StoreError::Row { what, call, why: why.to_string() }
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|why| self.bad(column, &why))
    }

    fn parse_some<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text = self.get::<Option<&str>>(column)?;
        text.map(|text| text.parse().map_err(|why| self.bad(column, &why))).transpose()
    }

    /// A column of JSON.
    fn read_some<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text = self.get::<Option<&str>>(column)?;
        text.map(|text| serde_json::from_str(text).map_err(|why| self.bad(column, &why))).transpose()
    }

    fn number<T: TryFrom<i64, Error: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        T::try_from(self.get::<i64>(column)?).map_err(|why| self.bad(column, &why))
    }

    fn number_some<T: TryFrom<i64, Error: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let number = self.get::<Option<i64>>(column)?;
        number.map(|number| T::try_from(number).map_err(|why| self.bad(column, &why))).transpose()
    }
}

fn summary(row: &SqliteRow) -> Result<CallSummary, StoreError> {
    let cells = Cells { row, key: "id" };
    Ok(CallSummary {
        call: CallRecord {
            id: cells.parse("id")?,
            started: WallTime(cells.get("started_ms")?),
            answered: cells.get::<Option<i64>>("answered_ms")?.map(WallTime),
            ended: cells.get::<Option<i64>>("ended_ms")?.map(WallTime),
            server: cells.get("server")?,
            app: cells.get("app")?,
            bot: cells.get("bot")?,
            direction: cells.parse("direction")?,
            caller: cells.get("caller")?,
            called: cells.get("called")?,
            leg: cells.get("leg")?,
            disposition: cells.parse_some("disposition")?,
            cause: cells.number_some("cause")?,
            note: cells.get("note")?,
            recording: cells.get("recording")?,
            media: cells.parse_some("media")?,
            outcome: cells.read_some("outcome")?,
        },
        turns: cells.number("turns")?,
        billed_seconds: cells.number_some("billed_seconds")?,
    })
}

fn turn(row: &SqliteRow) -> Result<TurnRecord, StoreError> {
    let cells = Cells { row, key: "call_id" };
    Ok(TurnRecord {
        call: cells.parse("call_id")?,
        index: cells.number("turn_index")?,
        at: WallTime(cells.get("at_ms")?),
        step: cells.get("step")?,
        kind: cells.parse("kind")?,
        heard: Heard {
            text: cells.get("heard_text")?,
            meaning: cells.get("heard_meaning")?,
            #[expect(clippy::cast_possible_truncation, reason = "it was an f32 when it was stored")]
            confidence: cells.get::<Option<f64>>("heard_confidence")?.map(|c| c as f32),
            keys: cells.get("heard_keys")?,
        },
        reply: Reply {
            text: cells.get("reply_text")?,
            total_ms: cells.number_some("reply_total_ms")?,
            heard_ms: cells.number_some("reply_heard_ms")?,
            interrupted: cells.parse_some("interrupted")?,
        },
        latencies: latencies(row)?,
        taking: taking(row)?,
    })
}

/// Empty for a turn of a version that did not keep it.
fn taking(row: &SqliteRow) -> Result<Taking, StoreError> {
    let cells = Cells { row, key: "call_id" };
    let text = cells.get::<Option<&str>>("taking")?.unwrap_or("{}");
    serde_json::from_str(text).map_err(|why| cells.bad("taking", &why))
}

fn latencies(row: &SqliteRow) -> Result<Latencies, StoreError> {
    let cells = Cells { row, key: "call_id" };
    Ok(Latencies {
        endpoint_ms: cells.get("endpoint_ms")?,
        final_ms: cells.get("final_ms")?,
        reply_ms: cells.get("reply_ms")?,
        audio_ms: cells.get("audio_ms")?,
        sent_ms: cells.get("sent_ms")?,
    })
}

fn snapshot(row: &SqliteRow) -> Result<Snapshot, StoreError> {
    let cells = Cells { row, key: "call_id" };
    Ok(Snapshot {
        call: cells.parse("call_id")?,
        at: WallTime(cells.get("at_ms")?),
        state: cells.parse("state")?,
    })
}
