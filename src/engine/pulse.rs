//! Once a second: how much there is to do (the ticks of audio that came too late, the utterances that wait for a decoder), and
//! which calls a server has lost that is away itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use super::admission::Load;
use super::server::Server;
use crate::call::{Gone, LegEvent};
use crate::id::CallId;
use crate::media::{Control, MediaStats};
use crate::time::Moment;

/// How often it is felt.
const EVERY: Duration = Duration::from_secs(1);

/// A call whose server is away and from which nothing has come for so long is over. While just the events are cut, audio comes.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// The calls whose ticks are counted.
#[derive(Default)]
pub(super) struct Pulse(Mutex<HashMap<CallId, Beat>>);

/// One call, and its numbers when they were last looked at.
struct Beat {
    control: Control,
    before: MediaStats,
    /// When something came from the caller last, as far as one look a second tells.
    heard: Moment,
}

impl Pulse {
    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Beat>> {
        self.0.lock().expect("nothing panics while it holds the pulse")
    }

    /// Counts the ticks of a call, until it is [forgotten](Self::forget).
    pub fn feel(&self, call: CallId, control: Control) {
        let before = control.stats();
        self.calls().insert(call, Beat { control, before, heard: Moment::now() });
    }

    pub fn forget(&self, call: CallId) {
        self.calls().remove(&call);
    }

    /// The share of ticks since the last look that were missed, in percent.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a second are few")]
    fn late_percent(&self, at: Moment) -> f64 {
        let (mut sent, mut late) = (0, 0);
        for beat in self.calls().values_mut() {
            let now = beat.control.stats();
            sent += now.sent.saturating_sub(beat.before.sent);
            late += now.skipped_ticks.saturating_sub(beat.before.skipped_ticks);
            if now.stream.received != beat.before.stream.received {
                beat.heard = at;
            }
            beat.before = now;
        }
        if late == 0 { 0.0 } else { late as f64 * 100.0 / (sent + late) as f64 }
    }

    /// Ends the calls of a server that is away and took its calls with it.
    fn bury(&self, server: &Server, at: Moment) {
        if *server.connected.borrow() {
            return;
        }
        let silent =
            |id: &CallId| self.calls().get(id).is_some_and(|beat| at.since(beat.heard) >= LOST_AFTER);
        let apart = |id: &CallId| server.switchboard.is_with_person(*id);
        for (id, _) in server.switchboard.all().into_iter().filter(|(id, _)| silent(id) && !apart(id)) {
            tracing::warn!(call = %id, server = server.name, "a call is lost: its server is away, and its audio has ended");
            server.switchboard.tell(id, LegEvent::Gone(Gone::ServerLost));
        }
    }

    /// Feels it, as long as the engine lives.
    pub fn start(shared: &Arc<Shared>, servers: &[Arc<Server>]) -> AbortOnDropHandle<()> {
        let shared = Arc::downgrade(shared);
        let servers: Vec<_> = servers.iter().map(Arc::downgrade).collect();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut every = tokio::time::interval(EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                let waiting = shared.services.waiting();
                let now = Moment::now();
                let load = Load { late_percent: shared.pulse.late_percent(now), waiting };
                servers.iter().filter_map(Weak::upgrade).for_each(|server| shared.pulse.bury(&server, now));
                let mut admission = shared.admission();
                if admission.measured(load) {
                    let (Load { late_percent, waiting }, over) = admission.load();
                    if over {
                        tracing::warn!(late_percent, waiting, "too much to do: no more calls are taken");
                    } else {
                        tracing::info!(late_percent, waiting, "calls are taken again");
                    }
                }
            }
        }))
    }
}
