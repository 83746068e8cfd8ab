//! Decoder threads, leased to a call for one utterance.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::acoustics::Acoustics;
use super::decoder::CepstralMean;
use super::hearing::{Hearing, LanguageModel, Options, Prepared};
use crate::audio::PTIME;
use crate::audio::ring::{EarItem, EarReader};
use crate::speech::{Answer, AskId, Hypothesis, SpeechError};
use crate::time::Moment;

/// An utterance is over after this many frames, whatever the turn detector says: half a minute of 20 ms.
const MAX_FRAMES: u32 = 1_500;
/// Partials leave this much room in the channel of answers for what must not be lost.
const ROOM_KEPT: usize = 4;

/// What a decoder shall do.
pub(super) struct Job {
    pub prepared: Arc<Prepared>,
    pub ask: AskId,
    pub ear: EarReader,
    pub answers: mpsc::Sender<(AskId, Answer)>,
    /// The cepstral mean of the caller, when something was heard of him before.
    pub mean: Option<CepstralMean>,
}

/// How an utterance went.
pub(super) enum Outcome {
    /// It was heard to its end.
    Done(Option<Hypothesis>, CepstralMean),
    /// The question was taken back. With the caller's cepstral mean where what he had said by then was understood: his
    /// provisional was taken for the final.
    Cancelled(Option<CepstralMean>),
    /// It was no utterance: the question stands.
    TakenBack,
    /// The call ended in the middle.
    Closed,
    /// The decoder could not.
    Failed(SpeechError),
}

/// The threads, made as they are needed.
pub(super) struct Pool {
    acoustic_model: PathBuf,
    acoustics: Arc<Acoustics>,
    /// Of decoders for anything that people say.
    dictation: Option<LanguageModel>,
    options: Options,
    warm: AtomicBool,
    /// One permit for each decoder that may be.
    free: Arc<Semaphore>,
    /// Utterances that wait for a permit.
    waiting: AtomicUsize,
    /// How many threads wait for an order. Whoever holds a permit and finds none waiting starts one.
    idle: Arc<AtomicUsize>,
    orders: std_mpsc::SyncSender<Order>,
    inbox: Arc<Mutex<std_mpsc::Receiver<Order>>>,
}

struct Order {
    job: Job,
    recall: Arc<Recall>,
    done: oneshot::Sender<Outcome>,
    permit: OwnedSemaphorePermit,
}

/// How an utterance is taken back from the thread that works on it.
#[derive(Default)]
struct Recall {
    state: Mutex<RecallState>,
}

#[derive(Default)]
struct RecallState {
    cancelled: bool,
    thread: Option<Thread>,
}

/// An utterance in the hands of a decoder thread. Dropping it cancels the work.
pub(super) struct Lease {
    recall: Arc<Recall>,
    done: oneshot::Receiver<Outcome>,
}

impl Pool {
    /// A pool for grammars, or with a language model for anything; the decoders come later.
    pub(super) fn new(
        acoustic_model: PathBuf,
        acoustics: Arc<Acoustics>,
        dictation: Option<LanguageModel>,
        options: Options,
        decoders: usize,
    ) -> Self {
        let decoders = decoders.clamp(1, 1_024);
        let (orders, inbox) = std_mpsc::sync_channel(decoders);
        Self {
            acoustic_model,
            acoustics,
            dictation,
            options,
            warm: AtomicBool::new(false),
            free: Arc::new(Semaphore::new(decoders)),
            waiting: AtomicUsize::new(0),
            idle: Arc::new(AtomicUsize::new(0)),
            orders,
            inbox: Arc::new(Mutex::new(inbox)),
        }
    }

    /// Another decoder, beside the pool's.
    pub(super) fn hearing(&self) -> Result<Hearing, SpeechError> {
        Hearing::new(&self.acoustic_model, &self.acoustics, self.dictation.as_ref(), self.options)
    }

    /// Makes the first decoder, so that the first caller need not wait for it and errors show at the start.
    pub(super) fn warm_up(&self) -> Result<(), SpeechError> {
        let hearing = self.hearing()?;
        self.idle.fetch_add(1, Ordering::SeqCst);
        self.start(Some(hearing), false)
    }

    /// Begins to make the first decoder, if there is none yet, and does not wait for it: somebody is about to speak.
    pub(super) fn warm_up_soon(&self) {
        if !self.warm.swap(true, Ordering::SeqCst) {
            self.idle.fetch_add(1, Ordering::SeqCst);
            if let Err(error) = self.start(None, true) {
                self.idle.fetch_sub(1, Ordering::SeqCst);
                tracing::warn!("a decoder's thread does not start: {error}");
            }
        }
    }

    /// The right to use a decoder, as soon as one is free.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        /// Who waits; counted as long as it lives, also when he gives up.
        struct Waits<'a>(&'a AtomicUsize);

        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// How many utterances wait for a decoder.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many more utterances could have a decoder now.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Hands an utterance to an idle decoder, or to a new one. Does not block.
    pub(super) fn lease(&self, permit: OwnedSemaphorePermit, job: Job) -> Result<Lease, SpeechError> {
        let taken = self.idle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |idle| idle.checked_sub(1));
        if taken.is_err() {
            self.start(None, false)?;
        }
        let recall = Arc::new(Recall::default());
        let (done, outcome) = oneshot::channel();
        let order = Order { job, recall: Arc::clone(&recall), done, permit };
        // There is a place for each permit.
        self.orders.try_send(order).map_err(|_| failed("its threads are gone"))?;
        Ok(Lease { recall, done: outcome })
    }

    /// Starts a thread with a decoder, or one that makes its own: at once, or for its first utterance.
    fn start(&self, hearing: Option<Hearing>, at_once: bool) -> Result<(), SpeechError> {
        let (inbox, idle) = (Arc::clone(&self.inbox), Arc::clone(&self.idle));
        let (model, acoustics, options) =
            (self.acoustic_model.clone(), Arc::clone(&self.acoustics), self.options);
        let dictation = self.dictation.clone();
        self.warm.store(true, Ordering::SeqCst);
        let run = move || {
            let make = || Hearing::new(&model, &acoustics, dictation.as_ref(), options);
            // An error comes again with the first utterance, and is told there.
            let mut hearing = hearing.or_else(|| at_once.then(|| make().ok()).flatten());
            loop {
                // Held while it waits: the threads queue for the lock, and the next one takes the next order.
                let order = lock(&inbox).recv();
                let Ok(Order { job, recall, done, permit }) = order else { return };
                let outcome = match hearing.take().map_or_else(make, Ok) {
                    Ok(mut ready) => {
                        let outcome = listen(&mut ready, &job, &recall);
                        hearing = Some(ready);
                        outcome
                    }
                    Err(e) => Outcome::Failed(e),
                };
                drop(job);
                // Idle before the permit is free: whoever gets the permit counts on this thread.
                idle.fetch_add(1, Ordering::SeqCst);
                drop(permit);
                // The session may be gone.
                let _ = done.send(outcome);
            }
        };
        let spawned = std::thread::Builder::new().name("offhook-ears".to_owned()).spawn(run);
        spawned.map(|_| ()).map_err(|e| failed(&format!("its thread does not start: {e}")))
    }
}

impl Lease {
    /// How it went.
    pub(super) async fn outcome(&mut self) -> Outcome {
        (&mut self.done).await.unwrap_or_else(|_| Outcome::Failed(failed("its thread ended")))
    }

    /// Takes the utterance back; [`outcome`](Self::outcome) then comes within a frame's work.
    pub(super) fn cancel(&self) {
        let mut state = lock(&self.recall.state);
        state.cancelled = true;
        if let Some(thread) = state.thread.take() {
            thread.unpark();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Hears one utterance, from behind its onset to its end.
fn listen(hearing: &mut Hearing, job: &Job, recall: &Recall) -> Outcome {
    lock(&recall.state).thread = Some(std::thread::current());
    let outcome = hearing
        .begin(&job.prepared, job.mean.as_ref())
        .and_then(|()| follow(hearing, job, recall))
        .unwrap_or_else(Outcome::Failed);
    if !matches!(outcome, Outcome::Done(..)) {
        hearing.abandon();
    }
    lock(&recall.state).thread = None;
    outcome
}

fn follow(hearing: &mut Hearing, job: &Job, recall: &Recall) -> Result<Outcome, SpeechError> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut frames = 0;
    let mut understood = false;
    loop {
        if lock(&recall.state).cancelled {
            let mean = understood.then(|| hearing.end()).transpose()?.map(|(_, mean)| mean);
            return Ok(Outcome::Cancelled(mean));
        }
        let item = match job.ear.poll_pop(&mut context) {
            Poll::Ready(Some(item)) => item,
            Poll::Ready(None) => return Ok(Outcome::Closed),
            Poll::Pending => {
                std::thread::park();
                continue;
            }
        };
        match item {
            EarItem::Onset { .. } => {}
            EarItem::Audio(frame) => {
                hearing.feed(&frame)?;
                frames += 1;
                // Nobody may be reading; a partial is worth no wait.
                if let Some(mut news) = hearing.news()
                    && job.answers.capacity() > ROOM_KEPT
                {
                    let behind = PTIME * u32::try_from(job.ear.waiting()).unwrap_or(0);
                    news.at = Moment::now() - behind;
                    let _ = job.answers.try_send((job.ask, Answer::Partial(news)));
                }
            }
            EarItem::Pause { speech_end } => {
                // If the channel is full, the final comes all the same.
                let mut provisional = hearing.pause()?;
                understood = provisional.as_ref().is_some_and(|heard| heard.meaning.is_some());
                if let Some(heard) = &mut provisional {
                    heard.at = speech_end;
                }
                let _ = job.answers.try_send((job.ask, Answer::Provisional(provisional)));
            }
            EarItem::TakenBack => return Ok(Outcome::TakenBack),
            EarItem::End { speech_end } => return finish(hearing, speech_end),
        }
        if frames == MAX_FRAMES {
            return finish(hearing, Moment::now());
        }
    }
}

fn finish(hearing: &mut Hearing, speech_end: Moment) -> Result<Outcome, SpeechError> {
    let (heard, mean) = hearing.end()?;
    Ok(Outcome::Done(heard.map(|heard| Hypothesis { at: speech_end, ..heard }), mean))
}

fn failed(what: &str) -> SpeechError {
    SpeechError::Failed { backend: super::NAME, what: what.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment, also when a thread panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
