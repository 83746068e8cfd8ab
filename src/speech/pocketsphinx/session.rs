//! What serves one call: throws away what nobody asked for, and leases a decoder from onset to end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::decoder::CepstralMean;
use super::pool::{Job, Lease, Outcome};
use super::recognizer::Inner;
use crate::audio::ring::{EarItem, EarReader};
use crate::speech::{Answer, Ask, AskId, Expected, SpeechError};

/// How long an utterance waits for a decoder. The ear holds about 3 s; after that its beginning is lost.
const PATIENCE: Duration = Duration::from_millis(2_000);

/// One call.
pub(super) struct Session {
    pub inner: Arc<Inner>,
    pub ear: EarReader,
    pub asks: mpsc::Receiver<Option<Ask>>,
    pub answers: mpsc::Sender<(AskId, Answer)>,
}

/// What the session does after an utterance.
enum Next {
    /// Waits for this question to be answered, or for none.
    Ask(Option<Ask>),
    /// The call is over.
    Over,
}

impl Session {
    /// Serves the call until it ends or nobody wants to know.
    pub(super) async fn run(mut self) {
        let mut asked: Option<Ask> = None;
        let mut mean = None;
        loop {
            let onset = tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => {
                        // A language model takes a while to read: before the caller speaks, please.
                        if let (Some(Ask { expected: Expected::Open, .. }), Some(pool)) = (&ask, &self.inner.dictation) {
                            pool.warm_up_soon();
                        }
                        asked = ask;
                        false
                    }
                    None => return,
                },
                item = self.ear.pop() => match item {
                    Some(item) => matches!(item, EarItem::Onset { .. }),
                    None => return,
                },
            };
            if !onset {
                continue;
            }
            // A question that was put before the onset counts, also when it came in between two looks.
            while let Ok(ask) = self.asks.try_recv() {
                asked = ask;
            }
            if let Some(ask) = asked.take() {
                match self.utterance(ask, &mut mean).await {
                    Next::Ask(next) => asked = next,
                    Next::Over => return,
                }
            }
        }
    }

    /// Serves one utterance, whose onset was just read.
    async fn utterance(&mut self, ask: Ask, mean: &mut Option<CepstralMean>) -> Next {
        let (id, again) = (ask.id, ask.clone());
        let leasing = lease(Arc::clone(&self.inner), ask, self.ear.clone(), self.answers.clone(), *mean);
        let answer = tokio::select! {
            biased;
            next = self.asks.recv() => return next.map_or(Next::Over, Next::Ask),
            lease = leasing => match lease {
                Ok(mut lease) => {
                    let outcome = tokio::select! {
                        biased;
                        next = self.asks.recv() => {
                            lease.cancel();
                            // Two never read one ear: wait until the thread has let go of it.
                            if let Outcome::Cancelled(Some(adapted)) | Outcome::Done(Some(_), adapted) = lease.outcome().await {
                                *mean = Some(adapted);
                            }
                            return next.map_or(Next::Over, Next::Ask);
                        }
                        outcome = lease.outcome() => outcome,
                    };
                    match outcome {
                        Outcome::Done(heard, adapted) => {
                            if heard.is_some() {
                                *mean = Some(adapted);
                            }
                            Answer::Final(heard)
                        }
                        Outcome::Failed(e) => Answer::Failed(e),
                        Outcome::TakenBack => return Next::Ask(Some(again)),
                        Outcome::Cancelled(_) => return Next::Ask(None),
                        Outcome::Closed => return Next::Over,
                    }
                }
                Err(e) => Answer::Failed(e),
            },
        };
        tokio::select! {
            biased;
            sent = self.answers.send((id, answer)) => if sent.is_ok() { Next::Ask(None) } else { Next::Over },
            next = self.asks.recv() => next.map_or(Next::Over, Next::Ask),
        }
    }
}

/// Waits for a decoder and hands it the utterance.
async fn lease(
    inner: Arc<Inner>,
    ask: Ask,
    ear: EarReader,
    answers: mpsc::Sender<(AskId, Answer)>,
    mean: Option<CepstralMean>,
) -> Result<Lease, SpeechError> {
    let (pool, prepared) = inner.ready_for(&ask.expected)?;
    let permit = tokio::time::timeout(PATIENCE, pool.permit()).await;
    let permit = permit.ok().flatten().ok_or(SpeechError::Busy)?;
    pool.lease(permit, Job { prepared, ask: ask.id, ear, answers, mean })
}
