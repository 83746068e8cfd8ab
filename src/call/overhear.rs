//! What a bot that decides elsewhere needs besides the verbs: the call's notes as they come, a way to stop a verb that runs,
//! and a verb that does nothing but wait.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::exchange::Exchange;
use super::{Call, CallError, Journal, Note};
use crate::id::CallId;
use crate::turn::answer::Party;

/// Notes that wait to be read; of a reader who is slower the newest are lost.
const NOTES: usize = 256;

/// The notes of a call, for its bot: what the journal gets, but for turns and checkpoints.
pub struct Overheard(mpsc::Receiver<Note>);

impl Overheard {
    /// The next note; [`None`] when the call is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Note> {
        self.0.recv().await
    }

    /// A note that is there.
    pub fn try_next(&mut self) -> Option<Note> {
        self.0.try_recv().ok()
    }
}

struct Tee {
    first: Arc<dyn Journal>,
    notes: mpsc::Sender<Note>,
}

impl Journal for Tee {
    fn note(&self, call: CallId, note: Note) {
        if !matches!(note, Note::Turn(_) | Note::Checkpoint(_)) {
            // Who does not read loses the newest.
            let _ = self.notes.try_send(note.clone());
        }
        self.first.note(call, note);
    }
}

/// Stops the verb that a call is at. Any task; clones stop the same call.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<u64>>);

impl Stopper {
    /// What is being said stops within a frame, what is listened for is forgotten, and the verb ends with
    /// [`CallError::Stopped`]. When none runs, the next one does; who does not want that takes a new [`Stopper`].
    pub fn stop(&self) {
        self.0.send_modify(|stops| *stops += 1);
    }
}

/// Waits to be stopped.
pub(super) async fn stopped(by: &mut Option<watch::Receiver<u64>>) {
    let waited = match by {
        Some(stops) => stops.changed().await.is_ok(),
        None => false,
    };
    if !waited {
        std::future::pending().await
    }
}

impl Call {
    /// The notes of this call from now on. Who asks again gets all of them too.
    pub fn overhear(&mut self) -> Overheard {
        let (sender, notes) = mpsc::channel(NOTES);
        self.book.tee(|first| Arc::new(Tee { first, notes: sender }));
        Overheard(notes)
    }

    /// What stops the verbs of this call from now on; one that was taken before does nothing any more.
    pub fn stopper(&mut self) -> Stopper {
        let (sender, stops) = watch::channel(0);
        self.ears.stop = Some(stops);
        Stopper(Arc::new(sender))
    }

    /// Who answered a call that we made, as far as that is known: a person, until a beep tells otherwise. [`None`] before the
    /// verdict, and where nobody finds it out ([`Attach::answerer`](crate::media::Attach::answerer)). It comes while a verb runs, so a
    /// bot greets at once and looks here after; who wants to know at once, or where a message begins, reads
    /// [`Note::Answerer`] of [`overhear`](Self::overhear) and stops the verb.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        self.ears.party
    }

    /// Does nothing until the call ends or is stopped, and says which. Keys that are pressed meanwhile are kept for the next
    /// question. May be dropped at any time.
    pub async fn wait(&mut self) -> CallError {
        if let Some(play) = self.open_play.take()
            && let Err(error) = self.ears.control.flush(play)
        {
            return error.into();
        }
        let Self { ears, speaker, book, .. } = self;
        let mut exchange = Exchange::new(ears, book, speaker.maker(), None);
        loop {
            let taken = match exchange.ears.next().await {
                Ok(happening) => exchange.take(happening, None).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                return error;
            }
        }
    }
}
