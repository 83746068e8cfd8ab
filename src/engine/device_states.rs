//! Bots as lamps: `Stasis:BOT` is in use while a bot talks, not in use while none does, unavailable while the engine is
//! not there to take calls. For bots with `device_state = true`.
//!
//! One task sets them, at most four times a second for each, and never twice the same: how many calls come does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::Phase;
use crate::asterisk::ari::Ari;

/// The shortest time between two looks.
const EVERY: Duration = Duration::from_millis(250);

/// What lamps show. Cheap to clone; any task.
#[derive(Clone)]
pub(super) struct DeviceStates {
    /// How many calls each bot has, of those that have a lamp.
    calls: Arc<watch::Sender<BTreeMap<String, usize>>>,
}

/// A call that a bot has for as long as this lives.
pub(super) struct Busy {
    lamps: DeviceStates,
    bot: String,
}

impl DeviceStates {
    /// For these bots.
    pub(super) fn new<'a>(bots: impl Iterator<Item = &'a str>) -> Self {
        Self { calls: Arc::new(watch::Sender::new(bots.map(|bot| (bot.to_owned(), 0)).collect())) }
    }

    /// A call of `bot`; nothing for one without a lamp.
    pub(super) fn busy(&self, bot: &str) -> Option<Busy> {
        let known = self.calls.borrow().contains_key(bot);
        known.then(|| {
            self.change(bot, |calls| calls + 1);
            Busy { lamps: self.clone(), bot: bot.to_owned() }
        })
    }

    fn change(&self, bot: &str, how: impl FnOnce(usize) -> usize) {
        self.calls.send_modify(|calls| {
            if let Some(calls) = calls.get_mut(bot) {
                *calls = how(*calls);
            }
        });
    }

    /// Keeps the lamps as they should be for as long as the handle lives.
    pub(super) fn show(
        &self,
        ari: Ari,
        connected: watch::Receiver<bool>,
        phase: watch::Receiver<Phase>,
    ) -> Option<AbortOnDropHandle<()>> {
        let calls = self.calls.subscribe();
        let any = !calls.borrow().is_empty();
        any.then(|| AbortOnDropHandle::new(tokio::spawn(show(ari, calls, connected, phase))))
    }

    /// The last word of an engine that ends.
    pub(super) async fn leave(&self, ari: &Ari) {
        let bots: Vec<String> = self.calls.borrow().keys().cloned().collect();
        for bot in bots {
            set(ari, &bot, "UNAVAILABLE").await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.lamps.change(&self.bot, |calls| calls.saturating_sub(1));
    }
}

/// What a lamp should show.
const fn wanted(calls: usize, phase: Phase) -> &'static str {
    match (phase, calls) {
        (Phase::Running, 0) => "NOT_INUSE",
        (_, 0) => "UNAVAILABLE",
        (_, _) => "INUSE",
    }
}

async fn show(
    ari: Ari,
    mut calls: watch::Receiver<BTreeMap<String, usize>>,
    mut connected: watch::Receiver<bool>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut shown: BTreeMap<String, &'static str> = BTreeMap::new();
    loop {
        if *connected.borrow_and_update() {
            let phase = *phase.borrow_and_update();
            if phase == Phase::HandingOver {
                // The other process keeps them.
                return;
            }
            let now = calls.borrow_and_update().clone();
            for (bot, calls) in now {
                let wanted = wanted(calls, phase);
                if shown.get(&bot) != Some(&wanted) && set(&ari, &bot, wanted).await {
                    shown.insert(bot, wanted);
                }
            }
        } else {
            // An Asterisk that was restarted has forgotten.
            shown.clear();
        }
        tokio::time::sleep(EVERY).await;
        let changed = tokio::select! {
            changed = calls.changed() => changed,
            changed = connected.changed() => changed,
            changed = phase.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Sets a lamp; whether it is set.
async fn set(ari: &Ari, bot: &str, state: &str) -> bool {
    let set = ari.device_states().update(&format!("Stasis:{bot}"), state).await;
    set.inspect_err(|error| tracing::warn!(bot, %error, "the state of a bot cannot be shown")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lamp_shows_calls_before_anything_else() {
        assert_eq!(wanted(0, Phase::Running), "NOT_INUSE");
        assert_eq!(wanted(2, Phase::Running), "INUSE");
        assert_eq!(wanted(1, Phase::Draining), "INUSE");
        assert_eq!(wanted(0, Phase::Goodbye), "UNAVAILABLE");
    }

    #[test]
    fn only_bots_with_a_lamp_are_counted() {
        let lamps = DeviceStates::new(["desk"].into_iter());
        assert!(lamps.busy("other").is_none());
        let (first, second) = (lamps.busy("desk"), lamps.busy("desk"));
        assert_eq!(lamps.calls.borrow()["desk"], 2);
        drop((first, second));
        assert_eq!(lamps.calls.borrow()["desk"], 0);
    }
}
