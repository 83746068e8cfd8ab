//! Between the reader of the connection and whoever handles events: bounded, and never silent about a loss.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Why;
use super::events::Event;

/// What an [`Events`] yields.
#[derive(Clone, PartialEq, Debug)]
pub enum Signal {
    /// We are signed in; events come from now on. After each of these ask Asterisk what there is: what happened before
    /// it was not reported.
    Connected {
        /// Whether it is the first connection of this client.
        first: bool,
    },
    /// No events come any more. Said once per outage, and again when the reason becomes another one.
    Disconnected {
        /// Why.
        why: Why,
    },
    /// So many events were dropped at this place, because they were not taken fast enough.
    Lost {
        /// How many.
        count: u64,
    },
    /// An event.
    Event(Arc<Event>),
}

/// The events of the names that were asked for, in their order. Made by [`Ami::events`](super::Ami::events); dropping it
/// ends the subscription.
pub struct Events(pub(super) Arc<Subscriber>);

impl Events {
    /// The next signal. Never ends: a client that has no connection makes one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(signal) = self.0.lock().pop_front() {
                return signal;
            }
            arrived.await;
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("names", &self.0.names).finish_non_exhaustive()
    }
}

/// One subscription: a queue with one producer, which never waits, and one consumer.
pub(super) struct Subscriber {
    /// The names of the events that are wanted; empty for all.
    names: Vec<String>,
    signals: Mutex<VecDeque<Signal>>,
    arrived: Notify,
    capacity: usize,
}

/// Room beyond the capacity for what is said about the connection.
const HEADROOM: usize = 8;

impl Subscriber {
    pub fn new(names: &[&str], capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            signals: Mutex::default(),
            arrived: Notify::new(),
            capacity: capacity.max(1),
        })
    }

    /// Whether this one wants events of that name.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    }

    /// Adds a signal. When there is no room an event becomes part of a [`Signal::Lost`] at its place in the order.
    pub fn push(&self, signal: Signal) {
        {
            let mut signals = self.lock();
            let full = signals.len() >= self.capacity;
            match signal {
                Signal::Event(_) if full => lose(&mut signals),
                Signal::Event(_) | Signal::Lost { .. } => signals.push_back(signal),
                state => {
                    if signals.len() >= self.capacity + HEADROOM {
                        forget_all(&mut signals);
                    }
                    signals.push_back(state);
                }
            }
        }
        self.arrived.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Signal>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more lost event at the end of the queue.
fn lose(signals: &mut VecDeque<Signal>) {
    if let Some(Signal::Lost { count }) = signals.back_mut() {
        *count += 1;
    } else {
        signals.push_back(Signal::Lost { count: 1 });
    }
}

/// Makes one [`Signal::Lost`] of everything: nobody took anything for many reconnects.
fn forget_all(signals: &mut VecDeque<Signal>) {
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
    use super::super::message::Message;
    use super::*;
    use crate::time::Moment;

    fn event(index: u64) -> Signal {
        let message = Message::from_headers([("Event", "X".to_owned())]);
        Signal::Event(Arc::new(Event { at: Moment::from_millis(index), message }))
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_at_which_place_how_many_events_are_missing() {
        let subscriber = Subscriber::new(&[], 2);
        for index in 0..5 {
            subscriber.push(event(index));
        }
        subscriber.push(Signal::Disconnected { why: Why::Silent });
        let mut events = Events(subscriber);
        assert_eq!(events.next().await, event(0));
        assert_eq!(events.next().await, event(1));
        assert_eq!(events.next().await, Signal::Lost { count: 3 });
        assert_eq!(events.next().await, Signal::Disconnected { why: Why::Silent });
    }

    #[test]
    fn a_reader_that_sleeps_through_many_outages_costs_no_memory() {
        let subscriber = Subscriber::new(&["X"], 4);
        for index in 0..1_000 {
            subscriber.push(Signal::Connected { first: false });
            subscriber.push(event(index));
        }
        assert!(subscriber.lock().len() <= 4 + HEADROOM + 1);
        assert!(subscriber.wants("x") && !subscriber.wants("Y"));
    }
}
