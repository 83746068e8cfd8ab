//! What waits to be written: bounded, and never waited for.
//!
//! Calls and snapshots are kept by call, so a newer one replaces the one that still waits and a call that
//! changes ten times while the disk is slow costs one place. Turns wait in order. What does not fit is
//! refused, counted and told: nothing that is already in the queue is thrown away for it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::error::StoreError;
use super::record::{CallRecord, TurnRecord};
use super::server::{Outage, ServerRecord};
use crate::id::CallId;
use crate::time::WallTime;

/// This many calls, as many snapshots and twice as many turns wait at most: at 100 calls with a turn every
/// five seconds, more than a quarter of an hour of a disk that does not write; with every text at its limit
/// some 60 MB, in life a tenth of it.
pub(super) const CAPACITY: usize = 10_000;

/// Which table a record that did not fit was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Calls whose newest state was not taken.
    pub calls: u64,
    /// Turns that were not taken.
    pub turns: u64,
    /// Snapshots that were not taken, or were too large.
    pub snapshots: u64,
    /// What Asterisk said and was not taken.
    pub said: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.calls + self.turns + self.snapshots + self.said
    }
}

/// What is to become of the snapshot of a call: [`None`] removes it.
pub(super) type SnapshotChange = Option<(WallTime, String)>;

/// Told when the batch that it waited with is on the disk, or why it is not.
pub(super) type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// What goes to the disk in one transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) calls: HashMap<CallId, CallRecord>,
    pub(super) turns: VecDeque<TurnRecord>,
    pub(super) snapshots: HashMap<CallId, SnapshotChange>,
    pub(super) records: HashMap<CallId, ServerRecord>,
    pub(super) outages: VecDeque<Outage>,
    pub(super) waiters: Vec<Waiter>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.rows() == 0 && self.waiters.is_empty()
    }

    /// How many rows it changes.
    pub(super) fn rows(&self) -> usize {
        self.calls.len() + self.turns.len() + self.snapshots.len() + self.records.len() + self.outages.len()
    }
}

struct State {
    batch: Batch,
    dropped: Dropped,
    /// The writer is on its way to its end: nothing more is taken.
    closing: bool,
}

/// The queue between everybody and the writer. Its lock is held for a few map operations, never over I/O.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Rings when there is something to do, or the end has come.
    bell: Notify,
    /// Rings when somebody waits for the disk, so that the writer does not linger.
    hurry: Notify,
    capacity: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State { batch: Batch::default(), dropped: Dropped::default(), closing: false }),
            bell: Notify::new(),
            hurry: Notify::new(),
            capacity,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put_call(&self, call: CallRecord) {
        let id = call.id;
        self.put(
            &id,
            "call",
            |dropped| &mut dropped.calls,
            |batch, most| insert(&mut batch.calls, most, id, call),
        );
    }

    pub(super) fn put_turn(&self, turn: TurnRecord) {
        let id = turn.call;
        self.put(
            &id,
            "turn",
            |dropped| &mut dropped.turns,
            |batch, most| push(&mut batch.turns, most * 2, turn),
        );
    }

    pub(super) fn put_snapshot(&self, call: CallId, change: SnapshotChange) {
        self.put(
            &call,
            "snapshot",
            |dropped| &mut dropped.snapshots,
            |batch, most| insert(&mut batch.snapshots, most, call, change),
        );
    }

    pub(super) fn put_server_record(&self, record: ServerRecord) {
        let id = record.call;
        self.put(
            &id,
            "record of Asterisk's",
            |dropped| &mut dropped.said,
            |batch, most| insert(&mut batch.records, most, id, record),
        );
    }

    pub(super) fn put_outage(&self, outage: Outage) {
        self.put(
            &"none",
            "outage",
            |dropped| &mut dropped.said,
            |batch, most| push(&mut batch.outages, most, outage),
        );
    }

    /// Counts a snapshot that is not taken.
    pub(super) fn refuse_snapshot(&self, call: CallId) {
        self.put(&call, "snapshot", |dropped| &mut dropped.snapshots, |_, _| false);
    }

    /// Gives something to the batch with `take`, which says whether there was room for it with so many at most. What is not taken
    /// is counted, and told of as `what` of `whom`.
    fn put(
        &self,
        whom: &dyn fmt::Display,
        what: &'static str,
        counter: fn(&mut Dropped) -> &mut u64,
        take: impl FnOnce(&mut Batch, usize) -> bool,
    ) {
        let mut state = self.state();
        if !state.closing && take(&mut state.batch, self.capacity) {
            drop(state);
            return self.bell.notify_one();
        }
        let counter = counter(&mut state.dropped);
        *counter += 1;
        let lost = *counter;
        drop(state);
        tell(lost, whom, what);
    }

    /// Asks to be told when everything that is in the queue now is on the disk.
    pub(super) fn wait(&self) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (told, tells) = oneshot::channel();
        let mut state = self.state();
        if state.closing {
            return Err(StoreError::Closed);
        }
        state.batch.waiters.push(told);
        drop(state);
        self.hurry.notify_one();
        self.bell.notify_one();
        Ok(tells)
    }

    /// Takes nothing more; the writer writes what is there and ends.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.hurry.notify_one();
        self.bell.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Waits until there is something to write or the end has come.
    pub(super) async fn ready(&self) {
        while {
            let state = self.state();
            state.batch.is_empty() && !state.closing
        } {
            self.bell.notified().await;
        }
    }

    /// Waits until somebody waits for the disk.
    pub(super) async fn hurried(&self) {
        while {
            let state = self.state();
            state.batch.waiters.is_empty() && !state.closing
        } {
            self.hurry.notified().await;
        }
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Batch {
        std::mem::take(&mut self.state().batch)
    }

    /// Puts back a batch that could not be written; what has come meanwhile is newer and wins.
    pub(super) fn put_back(&self, batch: Batch) {
        let mut state = self.state();
        for (id, call) in batch.calls {
            state.batch.calls.entry(id).or_insert(call);
        }
        for (id, change) in batch.snapshots {
            state.batch.snapshots.entry(id).or_insert(change);
        }
        for (id, record) in batch.records {
            state.batch.records.entry(id).or_insert(record);
        }
        for outage in batch.outages.into_iter().rev() {
            state.batch.outages.push_front(outage);
        }
        for turn in batch.turns.into_iter().rev() {
            state.batch.turns.push_front(turn);
        }
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.state().dropped
    }

    /// How many rows wait.
    pub(super) fn len(&self) -> usize {
        self.state().batch.rows()
    }
}

/// Whether there was room for it, or it takes the place of an older one.
fn insert<T>(map: &mut HashMap<CallId, T>, most: usize, call: CallId, value: T) -> bool {
    let fits = map.len() < most || map.contains_key(&call);
    if fits {
        map.insert(call, value);
    }
    fits
}

/// Whether there was room for it.
fn push<T>(queue: &mut VecDeque<T>, most: usize, value: T) -> bool {
    let fits = queue.len() < most;
    if fits {
        queue.push_back(value);
    }
    fits
}

/// Says so at the first loss and then at every thousandth, so that a full disk does not fill the log as well.
fn tell(lost: u64, call: &dyn fmt::Display, what: &'static str) {
    if lost % 1_000 == 1 {
        tracing::error!(%call, lost, "the store cannot keep up or is closed: a {what} is not stored");
    }
}
