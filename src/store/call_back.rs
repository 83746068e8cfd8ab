//! Callers who are to be called back.

use std::fmt;

use sqlx::Row;

use super::Store;
use super::error::StoreError;
use crate::id::CallId;
use crate::time::WallTime;

/// A caller who was promised a call.
#[derive(Clone, PartialEq, Eq)]
pub struct CallBack {
    /// The call in which that was.
    pub call: CallId,
    /// The engine's application.
    pub app: String,
    /// When.
    pub due: WallTime,
    /// As Asterisk dials it.
    pub dial: String,
    /// The bot that talks to him.
    pub bot: String,
}

impl fmt::Debug for CallBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBack").field("call", &self.call).field("due", &self.due).finish_non_exhaustive()
    }
}

impl Store {
    /// Stores a promise, in place of an earlier one of the same call. On the disk when it comes back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn promise_call_back(&self, promised: &CallBack) -> Result<(), StoreError> {
        let writer = self.inner.writer.as_ref().ok_or(StoreError::Closed)?;
        sqlx::query(
            "INSERT INTO call_backs (call_id, app, due_ms, dial, bot) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (call_id) DO UPDATE SET due_ms = excluded.due_ms, dial = excluded.dial, bot = excluded.bot",
        )
        .bind(promised.call.as_str())
        .bind(&promised.app)
        .bind(promised.due.0)
        .bind(&promised.dial)
        .bind(&promised.bot)
        .execute(&mut *writer.lock().await)
        .await
        .map_err(|why| self.sort(why))?;
        Ok(())
    }

    /// The next promises of an application that are due, the oldest first, at most `most`. They are no promises any more when
    /// this comes back: whoever has them calls, and after a crash nobody is called twice.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn take_call_backs(
        &self,
        app: &str,
        now: WallTime,
        most: u32,
    ) -> Result<Vec<CallBack>, StoreError> {
        let writer = self.inner.writer.as_ref().ok_or(StoreError::Closed)?;
        let rows = sqlx::query(
            "DELETE FROM call_backs WHERE call_id IN
             (SELECT call_id FROM call_backs WHERE app = $1 AND due_ms <= $2 ORDER BY due_ms LIMIT $3)
             RETURNING call_id, app, due_ms, dial, bot",
        )
        .bind(app)
        .bind(now.0)
        .bind(i64::from(most))
        .fetch_all(&mut *writer.lock().await)
        .await
        .map_err(|why| self.sort(why))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Some(CallBack {
                call: row.try_get::<String, _>(0).ok()?.parse().ok()?,
                app: row.try_get(1).ok()?,
                due: WallTime(row.try_get(2).ok()?),
                dial: row.try_get(3).ok()?,
                bot: row.try_get(4).ok()?,
            })
        };
        let mut taken: Vec<CallBack> = rows.iter().filter_map(read).collect();
        taken.sort_by_key(|promised| promised.due);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Numbers;
    use super::*;

    #[tokio::test]
    async fn a_promise_is_kept_once_and_by_its_own_engine() {
        let store = Store::memory(Numbers::None).await.unwrap();
        let promise = |n: i64, due: i64| CallBack {
            call: CallId::new(WallTime(n)),
            app: "bot".into(),
            due: WallTime(due),
            dial: "PJSIP/1@carrier".into(),
            bot: "desk".into(),
        };
        let (late, soon) = (promise(1, 2_000), promise(2, 1_000));
        store.promise_call_back(&late).await.unwrap();
        store.promise_call_back(&soon).await.unwrap();
        let taken = async |app: &str, now: i64| store.take_call_backs(app, WallTime(now), 10).await.unwrap();
        assert_eq!(taken("bot", 999).await, []);
        assert_eq!(taken("other", 5_000).await, []);
        assert_eq!(taken("bot", 5_000).await, [soon, late]);
        assert_eq!(taken("bot", 5_000).await, []);
    }
}
