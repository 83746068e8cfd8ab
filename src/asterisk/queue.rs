//! Between the reader of a connection and whoever handles its events: bounded, and never silent about a loss.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a stream of events yields: `E` an event, `W` why there are none.
#[derive(Clone, PartialEq, Debug)]
pub enum Signal<E, W> {
    /// We are signed in, and events come from now on. After each of these ask Asterisk what there is: what happened before it
    /// was not reported.
    Connected {
        /// Whether it is the first connection of this stream.
        first: bool,
    },
    /// No events come any more. Said once per outage, and again when the reason becomes another one.
    Disconnected {
        /// Why.
        why: W,
    },
    /// So many events were dropped at this place, because they were not taken fast enough. Ask Asterisk what there is.
    Lost {
        /// How many.
        count: u64,
    },
    /// An event.
    Event(E),
}

/// A bounded queue whose producers never wait, and one consumer. Cloning shares it.
pub(super) struct Queue<E, W>(Arc<Shared<E, W>>);

struct Shared<E, W> {
    signals: Mutex<VecDeque<Signal<E, W>>>,
    arrived: Notify,
    capacity: usize,
}

/// Room beyond the capacity for what is said about the connection.
const HEADROOM: usize = 8;

impl<E, W> Clone for Queue<E, W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E, W> Queue<E, W> {
    pub(super) fn new(capacity: usize) -> Self {
        let signals = Mutex::new(VecDeque::new());
        Self(Arc::new(Shared { signals, arrived: Notify::new(), capacity: capacity.max(1) }))
    }

    /// Adds a signal. When there is no room an event becomes part of a [`Signal::Lost`] at its place in the order.
    pub(super) fn push(&self, signal: Signal<E, W>) {
        {
            let mut signals = self.lock();
            let full = signals.len() >= self.0.capacity;
            match signal {
                Signal::Event(_) if full => lose(&mut signals),
                Signal::Event(_) | Signal::Lost { .. } => signals.push_back(signal),
                state => {
                    if signals.len() >= self.0.capacity + HEADROOM {
                        forget_all(&mut signals);
                    }
                    signals.push_back(state);
                }
            }
        }
        self.0.arrived.notify_one();
    }

    /// The next signal. Cancel safe.
    pub(super) async fn next(&self) -> Signal<E, W> {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(signal) = self.lock().pop_front() {
                return signal;
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Signal<E, W>>> {
        self.0.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more lost event at the end of the queue.
fn lose<E, W>(signals: &mut VecDeque<Signal<E, W>>) {
    if let Some(Signal::Lost { count }) = signals.back_mut() {
        *count += 1;
    } else {
        signals.push_back(Signal::Lost { count: 1 });
    }
}

/// Makes one [`Signal::Lost`] of everything: nobody took anything for many reconnects.
fn forget_all<E, W>(signals: &mut VecDeque<Signal<E, W>>) {
    let count = signals
        .drain(..)
        .map(|signal| match signal {
            Signal::Event(_) => 1,
            Signal::Lost { count } => count,
            Signal::Connected { .. } | Signal::Disconnected { .. } => 0,
        })
        .sum();
    signals.push_back(Signal::Lost { count });
}

#[cfg(test)]
mod tests {
    use super::{HEADROOM, Queue};

    /// Events are numbers, and the reason for an outage is a word.
    type Signal = super::Signal<u64, &'static str>;

    fn event(number: u64) -> Signal {
        Signal::Event(number)
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_at_which_place_how_many_events_are_missing() {
        let queue = Queue::new(2);
        for millis in 0..5 {
            queue.push(event(millis));
        }
        assert_eq!(queue.next().await, event(0));
        assert_eq!(queue.next().await, event(1));
        queue.push(event(5));
        assert_eq!(queue.next().await, Signal::Lost { count: 3 });
        assert_eq!(queue.next().await, event(5));
    }

    #[tokio::test]
    async fn the_state_of_the_connection_is_said_even_when_the_queue_is_full() {
        let queue = Queue::new(1);
        queue.push(event(0));
        queue.push(event(1));
        queue.push(Signal::Disconnected { why: "silent" });
        queue.push(Signal::Connected { first: false });
        queue.push(event(2));
        assert_eq!(queue.next().await, event(0));
        assert_eq!(queue.next().await, Signal::Lost { count: 1 });
        assert_eq!(queue.next().await, Signal::Disconnected { why: "silent" });
        assert_eq!(queue.next().await, Signal::Connected { first: false });
        assert_eq!(queue.next().await, Signal::Lost { count: 1 });
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_through_many_outages_costs_no_memory() {
        let queue = Queue::new(4);
        for millis in 0..1_000 {
            queue.push(Signal::Connected { first: false });
            queue.push(event(millis));
            queue.push(Signal::Disconnected { why: "silent" });
        }
        let length = queue.lock().len();
        assert!(length <= 4 + HEADROOM + 1, "{length}");
        let mut lost = 0;
        let mut last = None;
        for _ in 0..length {
            let signal = queue.next().await;
            if let Signal::Lost { count } = signal {
                lost += count;
            }
            last = Some(signal);
        }
        assert!(lost >= 990, "{lost}");
        assert_eq!(last, Some(Signal::Disconnected { why: "silent" }));
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_up() {
        let queue = Queue::new(1);
        let reader = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.push(event(1));
        assert_eq!(reader.await.unwrap(), event(1));
    }
}
