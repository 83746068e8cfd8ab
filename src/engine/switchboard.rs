//! Which call an event of Asterisk is for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::asterisk::ari::ChannelId;
use crate::call::LegEvent;
use crate::call::beside::{self, Beside};
use crate::id::CallId;

/// Events that may wait for one call; keys are pressed by people.
const LEG_EVENTS: usize = 64;

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
    /// Where it hears of what happens beside that channel.
    pub beside: mpsc::Sender<Beside>,
    /// Whether who was called for the caller has answered.
    pub person_up: bool,
    /// For a call that we make: told when it is answered, or why not.
    pub answered: Option<oneshot::Sender<Result<(), String>>>,
}

/// Where one call's task hears of what happens.
pub(super) struct Mail {
    /// On its channels.
    pub events: mpsc::Receiver<LegEvent>,
    /// Beside them.
    pub beside: beside::Mailbox,
}

impl Line {
    /// A line for the caller on `channel`, and where its call hears of it.
    pub fn new(channel: ChannelId, answered: Option<oneshot::Sender<Result<(), String>>>) -> (Self, Mail) {
        let (events, leg_events) = mpsc::channel(LEG_EVENTS);
        let (beside, mail) = mpsc::channel(beside::EVENTS);
        let line = Self { channel, events, beside, person_up: false, answered };
        (line, Mail { events: leg_events, beside: mail })
    }
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

    /// Tells a call what happened beside its caller's channel. One that is not waiting for it loses it.
    pub fn tell_beside(&self, id: CallId, event: Beside) {
        let mut lines = self.lines();
        let Some(line) = lines.by_call.get_mut(&id) else { return };
        match event {
            Beside::PersonUp => line.person_up = true,
            Beside::PersonGone { .. } => line.person_up = false,
            Beside::Played | Beside::HoldEnded => {}
        }
        let _ = line.beside.try_send(event);
    }

    /// Whether the caller may be talking with a person, so that no audio comes to us.
    pub fn is_with_person(&self, id: CallId) -> bool {
        self.lines().by_call.get(&id).is_some_and(|line| line.person_up)
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
