//! A prompt that is still being written while it is said.
//!
//! [`clauses`] gives two ends: [`Clauses`] is written to, clause by clause, and [`Stream`] is said, as the last
//! [`Part`](super::Part) of a prompt. The first clause goes to the synthesiser at once, the next ones are made ahead while
//! it is heard. As soon as nobody will hear what is written (the caller interrupts, goes on speaking, hangs up),
//! [`Clauses::unheard`] tells, so that whoever writes stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Clauses that may wait between a writer and the caller's ear. A writer who is further ahead waits.
const WAITING: usize = 32;

/// A clause, or the end of a stream that says more than "that was all".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clause {
    /// To be said.
    Text(String),
    /// Nothing more is said, and the answer is not waited for.
    HandBack,
}

/// Nobody will hear what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody hears it any more")]
pub struct Unheard;

/// The writer's end of a prompt that is being written. Dropping it ends the prompt.
#[derive(Debug)]
pub struct Clauses(mpsc::Sender<Clause>);

/// The speaker's end: a part of a prompt. Clones are one; it is said once.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Mutex<Option<Reader>>,
    /// Somebody began to say it and stopped.
    lost: Arc<AtomicBool>,
}

/// Who says it.
#[derive(Debug)]
pub(super) struct Reader {
    clauses: mpsc::Receiver<Clause>,
    lost: Arc<AtomicBool>,
}

impl Reader {
    /// The next clause; [`None`] when all was written. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Clause> {
        self.clauses.recv().await
    }

    /// The next clause, if it is there.
    pub fn try_recv(&mut self) -> Result<Clause, mpsc::error::TryRecvError> {
        self.clauses.try_recv()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.lost.store(true, Ordering::Release);
    }
}

/// A prompt that is written while it is said. At most 32 clauses wait to be said; each of them should be no longer than
/// [`Utterance::MAX_CHARS`](crate::speech::Utterance::MAX_CHARS).
#[must_use]
pub fn clauses() -> (Clauses, Stream) {
    let (writer, reader) = mpsc::channel(WAITING);
    let lost = Arc::<AtomicBool>::default();
    let reader = Reader { clauses: reader, lost: Arc::clone(&lost) };
    (Clauses(writer), Stream(Arc::new(Shared { reader: Mutex::new(Some(reader)), lost })))
}

impl Clauses {
    /// Adds a clause: words that are said in one breath, with the mark that ends them.
    ///
    /// # Errors
    /// When nobody will hear it.
    pub async fn say(&self, text: impl Into<String>) -> Result<(), Unheard> {
        self.0.send(Clause::Text(text.into())).await.map_err(|_| Unheard)
    }

    /// Ends the prompt, and gives the call back to the bot as soon as it was heard: an answer is not waited for.
    ///
    /// # Errors
    /// When nobody heard the rest of it.
    pub async fn hand_back(self) -> Result<(), Unheard> {
        self.0.send(Clause::HandBack).await.map_err(|_| Unheard)
    }

    /// Waits until nobody will hear what is written. Cancel-safe.
    pub async fn unheard(&self) {
        self.0.closed().await;
    }

    /// Whether nobody will hear what is written.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.0.is_closed()
    }
}

impl Stream {
    /// Its clauses, for the one who says them; [`None`] when somebody has taken them.
    pub(super) fn take(&self) -> Option<Reader> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether somebody was given it to say, or made it ready to be said, and has dropped it: it cannot be said any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Stream {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_learns_at_once_that_nobody_hears_him() {
        let (writer, stream) = clauses();
        writer.say("Hello,").await.expect("somebody may hear it");
        assert_eq!(stream, stream.clone());
        let reader = stream.take().expect("nobody took it");
        assert!(stream.take().is_none(), "it is said once");
        assert!(!writer.is_unheard());
        assert!(!stream.is_lost());
        drop(reader);
        assert!(stream.is_lost());
        writer.unheard().await;
        assert_eq!(writer.say("world.").await, Err(Unheard));
    }
}
