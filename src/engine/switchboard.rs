//! Which call an event of Asterisk is for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::asterisk::ari::ChannelId;
use crate::call::LegEvent;
use crate::id::CallId;

/// The calls that are up, by id and by the channel of their caller. Locked for a look-up, never across a wait.
#[derive(Default)]
pub(super) struct Switchboard(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    by_call: HashMap<CallId, Line>,
    by_channel: HashMap<ChannelId, CallId>,
}

/// One call on the switchboard.
pub(super) struct Line {
    /// The caller's channel.
    pub channel: ChannelId,
    /// Where the call's task hears of it.
    pub events: mpsc::Sender<LegEvent>,
    /// For a call that we make: told when it is answered, or why not.
    pub answered: Option<oneshot::Sender<Result<(), String>>>,
}

impl Switchboard {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().expect("nothing panics while it holds the switchboard")
    }

    pub fn len(&self) -> usize {
        self.lines().by_call.len()
    }

    pub fn add(&self, id: CallId, line: Line) {
        let mut lines = self.lines();
        lines.by_channel.insert(line.channel.clone(), id);
        lines.by_call.insert(id, line);
    }

    pub fn remove(&self, id: CallId) {
        let mut lines = self.lines();
        if let Some(line) = lines.by_call.remove(&id) {
            lines.by_channel.remove(&line.channel);
        }
    }

    pub fn has(&self, id: CallId) -> bool {
        self.lines().by_call.contains_key(&id)
    }

    /// The call whose caller is on `channel`.
    pub fn call_on(&self, channel: &ChannelId) -> Option<CallId> {
        self.lines().by_channel.get(channel).copied()
    }

    /// Hands an event to a call. One that does not keep up loses keys, never its end.
    pub fn tell(&self, id: CallId, event: LegEvent) {
        let Some(events) = self.lines().by_call.get(&id).map(|line| line.events.clone()) else { return };
        if events.try_send(event).is_err() && matches!(event, LegEvent::Gone(_)) {
            tokio::spawn(async move { events.send(event).await });
        }
    }

    /// Tells who made a call that it is answered, or why not.
    pub fn answered(&self, id: CallId, how: Result<(), String>) {
        let waiting = self.lines().by_call.get_mut(&id).and_then(|line| line.answered.take());
        if let Some(waiting) = waiting {
            // Who made the call may have given up.
            let _ = waiting.send(how);
        }
    }

    /// All calls with the channels of their callers.
    pub fn all(&self) -> Vec<(CallId, ChannelId)> {
        self.lines().by_channel.iter().map(|(channel, id)| (*id, channel.clone())).collect()
    }
}
