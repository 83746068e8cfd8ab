//! Whose turn it is to be spoken.
//!
//! A sentence is made some forty times faster than it is heard, so that whoever has made half a second of it can let others
//! begin: under a burst of texts the last one begins after the beginnings of the others, not after their ends. First comes
//! who would soon run dry in the midst of a sentence, then who has said nothing yet, then the others: where there is more to
//! be said than can be made, somebody begins later, and nobody stutters.
//!
//! Few threads work at a time; whoever gives way keeps his thread, since the library cannot stop in the middle of a sentence.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use super::synthesizer::Job;
use crate::time::Moment;

/// Texts that are begun at most, each with a thread.
const BEGUN: usize = 128;

/// Who is so far ahead of his listener gives way for the first time.
const AHEAD: Duration = Duration::from_millis(500);

/// The same for who has given way before: on a busy machine it takes a while until a thread goes on, and not for little.
const FAR_AHEAD: Duration = Duration::from_millis(1_500);

/// Who is no further ahead goes before those who have not begun.
const SOON_DRY: Duration = Duration::from_millis(400);

/// He gives way to others who were begun when they are due so much earlier.
const EARLIER: Duration = Duration::from_millis(200);

/// Texts, and the threads that speak them.
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    /// How many texts wait: new ones, and those that gave way.
    waiting: AtomicUsize,
    /// How many threads work at once.
    at_once: usize,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Not begun, in the order in which they came.
    fresh: VecDeque<Job>,
    /// Given to a thread that is to take it.
    given: VecDeque<Job>,
    gave_way: Vec<GaveWay>,
    /// Threads that work, or are about to.
    working: usize,
    /// Threads without a text.
    idle: usize,
    threads: usize,
}

/// A thread in the middle of a text.
struct GaveWay {
    due: Moment,
    thread: Thread,
    may_go_on: Arc<AtomicBool>,
}

impl Queue {
    /// One that `at_once` threads work at; they start when there is work.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            waiting: AtomicUsize::new(0),
            at_once: at_once.clamp(1, BEGUN),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds a text, unless `most` wait. Tells whether it did.
    ///
    /// # Errors
    /// When there is no thread and none starts.
    pub(super) fn add(self: &Arc<Self>, job: Job, most: usize) -> std::io::Result<bool> {
        let mut state = self.lock();
        if state.fresh.len() >= most {
            return Ok(false);
        }
        state.fresh.push_back(job);
        match self.hand_on(&mut state) {
            Err(error) if state.threads == 0 => {
                state.fresh.pop_back();
                Err(error)
            }
            _ => Ok(true),
        }
    }

    /// Ends the threads, in the middle of a word.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        state.fresh.clear();
        state.given.clear();
        state.gave_way.drain(..).for_each(|other| other.thread.unpark());
        drop(state);
        self.work.notify_all();
    }

    /// In the middle of a text, the listener of which runs dry when it is `due`: waits while others need the processor more.
    /// `rested` tells whether it has waited before. False when all is over.
    pub(super) fn go_on(self: &Arc<Self>, due: Moment, rested: &mut bool) -> bool {
        let is_over = || self.closed.load(Ordering::Relaxed);
        let ahead = if *rested { FAR_AHEAD } else { AHEAD };
        if is_over() || self.waiting.load(Ordering::Relaxed) == 0 || due.since(Moment::now()) < ahead {
            return !is_over();
        }
        let mut state = self.lock();
        let is_needed = state.can_begin() || state.gave_way.iter().any(|other| other.due + EARLIER < due);
        if is_over() || !is_needed {
            return !is_over();
        }
        let may_go_on = Arc::new(AtomicBool::new(false));
        let (thread, granted) = (std::thread::current(), Arc::clone(&may_go_on));
        state.gave_way.push(GaveWay { due, thread, may_go_on });
        state.working -= 1;
        *rested = true;
        // Who needs it more is there; and were there no thread for him, this one would go on.
        let _ = self.hand_on(&mut state);
        drop(state);
        while !granted.load(Ordering::Acquire) && !is_over() {
            std::thread::park();
        }
        !is_over()
    }

    /// Lets as many work as may. See the [module](self) for who is first.
    fn hand_on(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let mut started = Ok(());
        while state.working < self.at_once && !self.closed.load(Ordering::Relaxed) {
            let begun = state.gave_way.iter().enumerate().min_by_key(|(_, other)| other.due);
            let begun = begun.map(|(index, other)| (index, other.due));
            let may_begin = state.can_begin() && started.is_ok();
            let soon = Moment::now() + SOON_DRY;
            match begun {
                Some((index, due)) if due < soon || !may_begin => {
                    let other = state.gave_way.swap_remove(index);
                    other.may_go_on.store(true, Ordering::Release);
                    other.thread.unpark();
                }
                _ if may_begin => {
                    if state.idle > 0 {
                        state.idle -= 1;
                    } else {
                        started = self.start(state);
                        if started.is_err() {
                            continue;
                        }
                    }
                    state.given.extend(state.fresh.pop_front());
                    self.work.notify_one();
                }
                _ => break,
            }
            state.working += 1;
        }
        self.waiting.store(state.fresh.len() + state.gave_way.len(), Ordering::Relaxed);
        started
    }

    fn start(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let this = Arc::clone(self);
        let named = std::thread::Builder::new().name("offhook-flite".to_owned());
        named.spawn(move || this.work())?;
        state.threads += 1;
        Ok(())
    }

    /// A thread's life.
    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        while !self.closed.load(Ordering::Relaxed) {
            let Some(mut job) = state.given.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            job.speak(self);
            drop(job);
            state = self.lock();
            state.working -= 1;
            state.idle += 1;
            let _ = self.hand_on(&mut state);
            if state.idle > self.at_once {
                state.idle -= 1;
                break;
            }
        }
        state.threads -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queues are whole at every moment, also when a thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a text waits to be begun, and there may be a thread for it.
    fn can_begin(&self) -> bool {
        !self.fresh.is_empty() && (self.idle > 0 || self.threads < BEGUN)
    }
}
