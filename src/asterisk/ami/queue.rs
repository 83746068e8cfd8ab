//! The queues between the reader of the connection and whoever handles events.

use std::sync::Arc;

use super::Why;
use super::events::Event;
use crate::asterisk::queue::{self, Queue};

/// What an [`Events`] yields. Several readers share an event.
pub type Signal = queue::Signal<Arc<Event>, Why>;

/// The events of the names that were asked for, in their order. Made by [`Ami::events`](super::Ami::events); dropping it
/// ends the subscription.
pub struct Events(pub(super) Arc<Subscriber>);

impl Events {
    /// The next signal. Never ends: a client that has no connection makes one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        self.0.queue.next().await
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("names", &self.0.names).finish_non_exhaustive()
    }
}

/// One subscription.
pub(super) struct Subscriber {
    /// The names of the events that are wanted; empty for all.
    names: Vec<String>,
    queue: Queue<Arc<Event>, Why>,
}

impl Subscriber {
    pub fn new(names: &[&str], capacity: usize) -> Arc<Self> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Self { names, queue: Queue::new(capacity) })
    }

    /// Whether this one wants events of that name.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    }

    /// Adds a signal; see [`Queue::push`].
    pub fn push(&self, signal: Signal) {
        self.queue.push(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case() {
        assert!(Subscriber::new(&[], 1).wants("anything"));
        let some = Subscriber::new(&["X"], 1);
        assert!(some.wants("x") && !some.wants("Y"));
    }
}
