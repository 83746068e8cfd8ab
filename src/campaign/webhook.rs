//! Telling others of each outcome: a message per attempt that has ended, signed, and sent until it is taken.
//!
//! The message goes into the outbox in the transaction that ends the attempt, so there is one for each outcome, whatever
//! dies when. It may arrive twice (a process that dies between sending and writing that down); its `id` is the attempt's
//! and stays the same.
//!
//! # The signature
//!
//! `Offhook-Signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 under the secret of `SECONDS.BODY`. A receiver
//! computes it over the bytes that came, and refuses what is older than some minutes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::Sha256;
use sqlx::{Any, Row as _, Transaction};
use tokio_util::sync::CancellationToken;

use super::CampaignError;
use super::book::{Book, CampaignId, Closing};
use super::plan::{Plan, WebhookPlan};
use crate::id::CallId;
use crate::secret::Secret;
use crate::service::Web;
use crate::time::WallTime;

/// How long the receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the first try is waited for before the second; it doubles up to [`LONGEST_MS`].
const FIRST_MS: i64 = 5_000;

/// See [`FIRST_MS`].
const LONGEST_MS: i64 = 3_600_000;

/// After so many tries, which is about half a day, a message is given up; it stays in the outbox with what was said.
const MOST_TRIES: u32 = 20;

/// Messages that are sent at once.
const AT_ONCE: i64 = 8;

/// While a message is being sent it is this process's.
const SENDING_MS: i64 = 60_000;

/// How often the outbox is looked at when it was empty.
const LOOK: Duration = Duration::from_secs(1);

/// What a message tells.
pub(super) struct Told<'a> {
    pub(super) campaign: &'a str,
    pub(super) attempt: CallId,
    pub(super) nth: i64,
    pub(super) number: &'a str,
    pub(super) closing: &'a Closing,
    pub(super) trunk: Option<&'a str>,
    pub(super) dialled: Option<WallTime>,
    pub(super) answered: Option<WallTime>,
    pub(super) ended: WallTime,
    pub(super) converted: bool,
    pub(super) next: Option<WallTime>,
}

impl Told<'_> {
    fn body(&self) -> String {
        let text = |at: Option<WallTime>| at.map(|at| at.to_string());
        json!({
            "id": self.attempt.as_str(),
            "campaign": self.campaign,
            "number": self.number,
            "attempt": self.nth,
            "disposition": self.closing.disposition.as_str(),
            "cause": self.closing.cause,
            "note": self.closing.note,
            "trunk": self.trunk,
            "dialled": text(self.dialled),
            "answered": text(self.answered),
            "ended": self.ended.to_string(),
            "talk_seconds": self.answered.map(|at| (self.ended.0 - at.0).max(0) / 1_000),
            "converted": self.converted,
            "opted_out": self.closing.opted_out,
            "next_attempt_after": text(self.next),
            "result": self.closing.result,
        })
        .to_string()
    }
}

/// The value of `Offhook-Signature` for a body that is sent at `now`.
#[must_use]
pub fn signature(secret: &Secret, body: &str, now: WallTime) -> String {
    let seconds = now.0.div_euclid(1_000);
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("a key of any length");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("t={seconds},v1={hex}")
}

/// How long a message waits after so many tries.
#[must_use]
pub const fn pause_ms(tries: u32) -> i64 {
    let shift = if tries > 20 { 20 } else { tries.saturating_sub(1) };
    let pause = FIRST_MS << shift;
    if pause > LONGEST_MS { LONGEST_MS } else { pause }
}

/// Puts a message into the outbox.
pub(super) async fn put(
    tx: &mut Transaction<'static, Any>,
    campaign: CampaignId,
    told: &Told<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO campaign_outbox (campaign, attempt, body, due_ms, tries) VALUES ($1, $2, $3, $4, 0)",
    )
    .bind(campaign.0)
    .bind(told.attempt.as_str())
    .bind(told.body())
    .bind(told.ended.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A message that is to be sent now.
#[derive(Debug)]
struct Message {
    id: i64,
    campaign: i64,
    body: String,
    tries: u32,
}

/// How the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Outbox {
    /// Messages that wait to be sent, for the first time or again.
    pub waiting: u64,
    /// Messages that were given up.
    pub given_up: u64,
}

impl Book {
    /// How many messages of a campaign have not been taken.
    ///
    /// # Errors
    /// [`CampaignError::Database`].
    pub async fn outbox(&self, campaign: CampaignId) -> Result<Outbox, CampaignError> {
        let row = sqlx::query("SELECT COUNT(due_ms), COUNT(*) FROM campaign_outbox WHERE campaign = $1")
            .bind(campaign.0)
            .fetch_one(self.db.reader())
            .await
            .map_err(|why| self.db.sort(why))?;
        let read = |index: usize| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
        let (waiting, all) =
            (read(0).map_err(|why| self.db.sort(why))?, read(1).map_err(|why| self.db.sort(why))?);
        Ok(Outbox { waiting, given_up: all - waiting })
    }

    /// Takes messages that are due, for [`SENDING_MS`].
    async fn due_messages(&self, now: WallTime) -> Result<Vec<Message>, CampaignError> {
        let sort = |why| self.db.sort(why);
        let mut tx = self.db.begin().await?;
        let rows = sqlx::query(self.db.sql(
            "UPDATE campaign_outbox SET due_ms = $2 WHERE id IN (
                 SELECT id FROM campaign_outbox WHERE due_ms <= $1 ORDER BY due_ms, id LIMIT $3)
             RETURNING id, campaign, body, tries",
            "UPDATE campaign_outbox SET due_ms = $2 WHERE id IN (
                 SELECT id FROM campaign_outbox WHERE due_ms <= $1 ORDER BY due_ms, id LIMIT $3
                 FOR UPDATE SKIP LOCKED)
             RETURNING id, campaign, body, tries",
        ))
        .bind(now.0)
        .bind(now.0 + SENDING_MS)
        .bind(AT_ONCE)
        .fetch_all(&mut *tx)
        .await
        .map_err(sort)?;
        tx.commit().await.map_err(sort)?;
        let read = |row: &sqlx::any::AnyRow| -> Result<Message, sqlx::Error> {
            Ok(Message {
                id: row.try_get(0)?,
                campaign: row.try_get(1)?,
                body: row.try_get(2)?,
                tries: u32::try_from(row.try_get::<i64, _>(3)?).unwrap_or(u32::MAX),
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sort)
    }

    /// A message was taken: it goes; or it was not, and waits, or is given up.
    async fn settle_message(
        &self,
        message: &Message,
        sent: Result<(), String>,
        now: WallTime,
    ) -> Result<(), CampaignError> {
        let query = match sent {
            Ok(()) => sqlx::query("DELETE FROM campaign_outbox WHERE id = $1").bind(message.id),
            Err(said) => {
                let tries = message.tries + 1;
                let due = (tries < MOST_TRIES).then(|| now.0 + pause_ms(tries));
                sqlx::query("UPDATE campaign_outbox SET tries = $2, due_ms = $3, said = $4 WHERE id = $1")
                    .bind(message.id)
                    .bind(i64::from(tries))
                    .bind(due)
                    .bind(said)
            }
        };
        let mut tx = self.db.begin().await?;
        query.execute(&mut *tx).await.map_err(|why| self.db.sort(why))?;
        tx.commit().await.map_err(|why| self.db.sort(why))
    }

    async fn webhook_of(&self, campaign: i64) -> Result<Option<WebhookPlan>, CampaignError> {
        let row: Option<(String, String)> = sqlx::query_as("SELECT name, plan FROM campaigns WHERE id = $1")
            .bind(campaign)
            .fetch_optional(self.db.reader())
            .await
            .map_err(|why| self.db.sort(why))?;
        let plan = row.map(|(name, plan)| Plan::parse(&plan, &name)).transpose()?;
        Ok(plan.and_then(|plan| plan.webhook))
    }
}

/// Sends what is in the outbox. One task per engine; several engines share the work.
#[derive(Clone)]
pub struct Courier {
    book: Book,
    web: Web,
}

impl Courier {
    /// Makes one; it sends when it [`run`](Self::run)s.
    #[must_use]
    pub const fn new(book: Book, web: Web) -> Self {
        Self { book, web }
    }

    /// Sends until it is told to stop. What is being sent then is sent to its end, at most ten seconds.
    pub async fn run(&self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let sent = self.round(WallTime::now()).await;
            if let (Err(error), false) = (&sent, failing) {
                tracing::error!(%error, "the outbox cannot be read; trying again");
            }
            failing = sent.is_err();
            if !matches!(sent, Ok(1..)) {
                let _ = tokio::time::timeout(LOOK, stop.cancelled()).await;
            }
        }
    }

    /// Sends the messages that are due at `now`, some at once; gives how many it took.
    ///
    /// # Errors
    /// [`CampaignError::Database`]. That a message was not taken is no error: it waits.
    pub async fn round(&self, now: WallTime) -> Result<usize, CampaignError> {
        let messages = self.book.due_messages(now).await?;
        let mut hooks: HashMap<i64, Result<(WebhookPlan, Secret), String>> = HashMap::new();
        for message in &messages {
            if let Entry::Vacant(slot) = hooks.entry(message.campaign) {
                slot.insert(match self.book.webhook_of(message.campaign).await? {
                    Some(hook) => read_secret(hook).await,
                    None => Err("the campaign has no webhook".into()),
                });
            }
        }
        let sending = messages.iter().map(|message| {
            let hook = hooks.get(&message.campaign);
            async move {
                let sent = match hook {
                    Some(Ok((hook, secret))) => self.send(hook, secret, &message.body, now).await,
                    Some(Err(what)) => Err(what.clone()),
                    None => Err("the campaign is gone".into()),
                };
                self.book.settle_message(message, sent, now).await
            }
        });
        futures_util::future::try_join_all(sending).await?;
        Ok(messages.len())
    }

    async fn send(
        &self,
        hook: &WebhookPlan,
        secret: &Secret,
        body: &str,
        now: WallTime,
    ) -> Result<(), String> {
        let request = self
            .web
            .http()
            .post(&hook.url)
            .header("content-type", "application/json")
            .header("offhook-signature", signature(secret, body, now))
            .body(body.to_owned());
        self.web.send("webhook", request, PATIENCE).await.map(drop).map_err(|error| error.to_string())
    }
}

async fn read_secret(hook: WebhookPlan) -> Result<(WebhookPlan, Secret), String> {
    let file: PathBuf = hook.secret_file.clone();
    let read = tokio::task::spawn_blocking(move || Secret::from_file(&file)).await;
    match read {
        Ok(Ok(secret)) => Ok((hook, secret)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::campaign::book::tests::{Desk, PLAN, TEN, berlin};
    use crate::campaign::{Disposition, Engine};

    #[test]
    fn the_signature_is_the_hmac_of_time_and_body() {
        // As computed by `printf '1794992400.{}' | openssl dgst -sha256 -hmac secret`.
        let signed = signature(&Secret::new("secret"), "{}", TEN);
        let (time, hex) = signed.split_once(",v1=").unwrap();
        assert_eq!(time, "t=1794992400");
        assert_eq!(hex, "32976aeead938a85a93b50e7fbdbaea068847cfeb0d0881de3be9b88876c4f85");
        assert_ne!(signed, signature(&Secret::new("other"), "{}", TEN));
        assert_ne!(signed, signature(&Secret::new("secret"), "{ }", TEN));
    }

    #[test]
    fn tries_come_slower_and_slower_and_end_after_about_half_a_day() {
        assert_eq!((pause_ms(1), pause_ms(2), pause_ms(3)), (5_000, 10_000, 20_000));
        assert_eq!(pause_ms(15), LONGEST_MS);
        let all: i64 = (1..MOST_TRIES).map(pause_ms).sum();
        assert!((8..14).contains(&(all / 3_600_000)), "{} hours", all / 3_600_000);
    }

    /// Answers with these statuses, one after the other, and keeps what was asked.
    async fn receiver(statuses: &'static [u16]) -> (String, tokio::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (give, take) = tokio::sync::mpsc::channel(10);
        tokio::spawn(async move {
            for status in statuses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !String::from_utf8_lossy(&asked).trim_end().ends_with('}') {
                    let mut some = [0; 4_096];
                    let read = stream.read(&mut some).await.unwrap();
                    asked.extend_from_slice(&some[..read]);
                }
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                give.send(String::from_utf8(asked).unwrap()).await.unwrap();
            }
        });
        (url, take)
    }

    #[tokio::test]
    async fn each_outcome_is_told_until_it_is_taken() {
        let desk = Desk::new().await;
        let (url, mut asked) = receiver(&[500, 200]).await;
        let secret = desk.dir.path().join("secret");
        std::fs::write(&secret, "hunter2\n").unwrap();
        let plan = format!("{PLAN}\n[webhook]\nurl = '{url}'\nsecret_file = '{}'\n", secret.display());
        let campaign = desk.running("c", &plan, &berlin(1)).await;
        let (book, engine) = (&desk.book, Engine("e".into()));
        let claimed = book.claim(&campaign, &engine, "one", TEN, 1).await.unwrap().remove(0);
        book.dialled(&campaign, &engine, claimed.attempt, "one", &|| TEN).await.unwrap();
        book.finish(&campaign, claimed.attempt, &Closing::new(Disposition::Busy), TEN).await.unwrap();
        let courier = Courier::new(book.clone(), Web::new(None).unwrap());
        assert_eq!(courier.round(TEN).await.unwrap(), 1);
        assert_eq!(book.outbox(campaign.id).await.unwrap(), Outbox { waiting: 1, given_up: 0 });
        assert_eq!(courier.round(TEN).await.unwrap(), 0, "not before its time");
        let then = WallTime(TEN.0 + 5_000);
        assert_eq!(courier.round(then).await.unwrap(), 1);
        assert_eq!(book.outbox(campaign.id).await.unwrap(), Outbox::default());
        let first = asked.recv().await.unwrap();
        let second = asked.recv().await.unwrap();
        let body = second.split("\r\n\r\n").nth(1).unwrap();
        assert!(first.ends_with(body), "the same message");
        assert!(second.contains(&signature(&Secret::new("hunter2"), body, then)), "{second}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["disposition"], &body["attempt"]), (&"busy".into(), &1.into()));
        assert_eq!(body["next_attempt_after"], "2026-11-18T09:10:00.000Z");
    }
}
