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

/// A text that is to be spoken.
pub(super) trait Text: Send + Sized + 'static {
    /// Speaks it on the thread of the caller, and asks after every piece whether to [go on](Queue::go_on).
    fn speak(self, queue: &Arc<Queue<Self>>);
}

/// Texts, and the threads that speak them.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    /// How many texts wait: new ones, and those that gave way.
    waiting: AtomicUsize,
    /// How many threads work at once.
    at_once: usize,
    closed: AtomicBool,
    clock: fn() -> Moment,
}

struct State<T> {
    /// Not begun, in the order in which they came.
    fresh: VecDeque<T>,
    /// Given to a thread that is to take it.
    given: VecDeque<T>,
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

impl<T: Text> Queue<T> {
    /// One that `at_once` threads work at; they start when there is work.
    pub(super) fn new(at_once: usize) -> Self {
        Self::by(Moment::now, at_once)
    }

    fn by(clock: fn() -> Moment, at_once: usize) -> Self {
        let (fresh, given, gave_way) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self {
            state: Mutex::new(State { fresh, given, gave_way, working: 0, idle: 0, threads: 0 }),
            work: Condvar::new(),
            waiting: AtomicUsize::new(0),
            at_once: at_once.clamp(1, BEGUN),
            closed: AtomicBool::new(false),
            clock,
        }
    }

    /// Adds a text, unless `most` wait. Tells whether it did.
    ///
    /// # Errors
    /// When there is no thread and none starts.
    pub(super) fn add(self: &Arc<Self>, text: T, most: usize) -> std::io::Result<bool> {
        let mut state = self.lock();
        if state.fresh.len() + state.gave_way.len() >= most {
            return Ok(false);
        }
        state.fresh.push_back(text);
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
        if is_over() || self.waiting.load(Ordering::Relaxed) == 0 || due.since((self.clock)()) < ahead {
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
    fn hand_on(self: &Arc<Self>, state: &mut State<T>) -> std::io::Result<()> {
        let mut started = Ok(());
        while state.working < self.at_once && !self.closed.load(Ordering::Relaxed) {
            let begun = state.gave_way.iter().enumerate().min_by_key(|(_, other)| other.due);
            let begun = begun.map(|(index, other)| (index, other.due));
            let may_begin = state.can_begin() && started.is_ok();
            let soon = (self.clock)() + SOON_DRY;
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

    fn start(self: &Arc<Self>, state: &mut State<T>) -> std::io::Result<()> {
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
            let Some(text) = state.given.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            text.speak(self);
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

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The queues are whole at every moment, also when a thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Whether a text waits to be begun, and there may be a thread for it.
    fn can_begin(&self) -> bool {
        !self.fresh.is_empty() && (self.idle > 0 || self.threads < BEGUN)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(0);

    fn now() -> Moment {
        Moment::from_millis(NOW.load(Ordering::Relaxed))
    }

    /// Tells its name at each piece; after a piece it has so many milliseconds of audio ahead of its listener, and after some
    /// of them the time has gone on by so many.
    struct Fake {
        name: char,
        pieces: Vec<(u64, u64)>,
        told: mpsc::Sender<char>,
        /// The first one tells that it is there, and waits until all are.
        start: Option<mpsc::Receiver<()>>,
    }

    impl Text for Fake {
        fn speak(self, queue: &Arc<Queue<Self>>) {
            if let Some(start) = &self.start {
                self.told.send('.').expect("the test listens");
                start.recv().expect("the test goes on");
            }
            let mut rested = false;
            for (ahead, passes) in self.pieces {
                self.told.send(self.name).expect("the test listens");
                let due = now() + Duration::from_millis(ahead);
                NOW.fetch_add(passes, Ordering::Relaxed);
                if !queue.go_on(due, &mut rested) {
                    return;
                }
            }
        }
    }

    /// The order in which pieces are made by one thread at a time of texts that wait together.
    fn order(texts: &[&[(u64, u64)]]) -> String {
        let queue = Arc::new(Queue::by(now, 1));
        let (told, tells) = mpsc::channel();
        let (start, starts) = mpsc::channel();
        let mut starts = Some(starts);
        for (name, pieces) in ('a'..).zip(texts) {
            let text = Fake { name, pieces: pieces.to_vec(), told: told.clone(), start: starts.take() };
            assert!(queue.add(text, 10).expect("a thread starts"));
        }
        drop(told);
        assert_eq!(tells.recv(), Ok('.'));
        start.send(()).expect("the first waits");
        tells.iter().collect()
    }

    #[test]
    fn all_begin_before_one_ends_and_who_would_run_dry_goes_before_who_has_not_begun() {
        let long: &[_] = &[(300, 0), (600, 0), (900, 0), (1_200, 0)];
        assert_eq!(order(&[long, long, long]), "aabbcccaabbc", "half a second of each, and then to the end");
        let slow: &[_] = &[(600, 450), (900, 0)];
        let texts = [&[(800, 0), (1_600, 0)], slow, long];
        assert_eq!(order(&texts), "abbacccc", "the second took its time, so that the first would run dry");
        let alone: &[_] = &[(5_000, 0), (9_000, 0)];
        assert_eq!(order(&[alone]), "aa");
    }

    #[test]
    fn what_waits_ends_with_the_queue() {
        let queue = Arc::new(Queue::by(now, 1));
        let (told, tells) = mpsc::channel();
        let (start, starts) = mpsc::channel();
        let mut starts = Some(starts);
        for name in ['a', 'b', 'c'] {
            let text = Fake { name, pieces: vec![(300, 0)], told: told.clone(), start: starts.take() };
            assert!(queue.add(text, 2).expect("a thread starts"));
        }
        let late = Fake { name: 'd', pieces: Vec::new(), told, start: None };
        assert!(!queue.add(late, 2).expect("no thread is needed"), "two wait already");
        assert_eq!(tells.recv(), Ok('.'));
        queue.close();
        start.send(()).expect("the first waits");
        assert_eq!(tells.iter().collect::<String>(), "a");
    }
}
