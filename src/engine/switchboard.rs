//! Which call an event of Asterisk is for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
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
    /// Whether it is answered.
    pub up: bool,
    /// For a call that we make: told when it is answered, or why not.
    pub answered: Option<oneshot::Sender<Result<(), String>>>,
    /// Where the channel of a call that we make is before somebody answers.
    pub stage: Stage,
}

/// Where the channel of a call is that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// It comes into the application, or is there.
    #[default]
    Here,
    /// It comes into the application before anybody has answered.
    Early,
    /// Asterisk makes it under an id of its own.
    Nameless,
    /// It has left for the dialplan and comes back.
    Away,
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
        let line =
            Self { channel, events, beside, person_up: false, up: false, answered, stage: Stage::Here };
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

    /// Where the channel of a call is; [`None`] when the call is not on the switchboard.
    pub fn stage(&self, id: CallId) -> Option<Stage> {
        self.lines().by_call.get(&id).map(|line| line.stage)
    }

    /// The channel of a call is there from now on.
    pub fn set_stage(&self, id: CallId, stage: Stage) {
        if let Some(line) = self.lines().by_call.get_mut(&id) {
            line.stage = stage;
        }
    }

    /// The channel that Asterisk has made for a call that we make.
    pub fn name(&self, id: CallId, channel: ChannelId) {
        let mut lines = self.lines();
        let Some(line) = lines.by_call.get_mut(&id) else { return };
        line.stage = Stage::Here;
        let before = std::mem::replace(&mut line.channel, channel.clone());
        lines.by_channel.remove(&before);
        lines.by_channel.insert(channel, id);
    }

    /// The channel of a call.
    pub fn channel(&self, id: CallId) -> Option<ChannelId> {
        self.lines().by_call.get(&id).map(|line| line.channel.clone())
    }

    /// Who we called has answered.
    pub fn picked_up(&self, id: CallId) {
        self.answered(id, Ok(()));
        self.tell(id, LegEvent::Up);
    }

    /// Tells who made a call that it is answered, or why not.
    pub fn answered(&self, id: CallId, how: Result<(), String>) {
        let waiting = self.lines().by_call.get_mut(&id).and_then(|line| {
            line.up |= how.is_ok();
            line.answered.take()
        });
        if let Some(waiting) = waiting {
            // Who made the call may have given up.
            let _ = waiting.send(how);
        }
    }

    /// Tells when a call that another process has made is answered, or why it is not; [`None`] when it is not here.
    pub fn on_answer(&self, id: CallId) -> Option<oneshot::Receiver<Result<(), String>>> {
        let mut lines = self.lines();
        let line = lines.by_call.get_mut(&id)?;
        let (answered, told) = oneshot::channel();
        if line.up {
            // Its other end is there below.
            let _ = answered.send(Ok(()));
        } else {
            line.answered = Some(answered);
        }
        Some(told)
    }

    /// All calls with the channels of their callers, but those whose channel nobody knows yet.
    pub fn all(&self) -> Vec<(CallId, ChannelId)> {
        let lines = self.lines();
        let named = lines.by_call.iter().filter(|(_, line)| line.stage != Stage::Nameless);
        named.map(|(id, line)| (*id, line.channel.clone())).collect()
    }
}
