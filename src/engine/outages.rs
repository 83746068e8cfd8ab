//! When the engine had no events from its Asterisk, for the doctor and whoever asks the store.

use super::server::Server;
use crate::asterisk::ari::Why;
use crate::store::Outage;
use crate::time::WallTime;

/// What the reader of the events remembers of them.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Since when, and why.
    lost: Option<(WallTime, String)>,
    /// When the Asterisk that we last spoke to was started.
    started: Option<WallTime>,
}

impl Outages {
    /// The connection was lost; of several reasons for one outage the first counts.
    pub fn lost(&mut self, now: WallTime, why: &Why) {
        self.lost.get_or_insert_with(|| (now, why.to_string()));
    }

    /// It is there again, and we know when this Asterisk was started.
    pub fn over(&mut self, of: &Server, now: WallTime) {
        let (server, app) = (of.ari.peer(), &of.app);
        if let Some(outage) = self.back(server, app, now, of.started().and_then(|started| started.0)) {
            if let Some(restarted) = outage.restarted {
                let after_ms = outage.to.0 - restarted.0;
                tracing::warn!(server, %restarted, after_ms, "Asterisk was restarted; the engine is back");
            }
            of.shared.store.put_outage(outage);
        }
    }

    fn back(&mut self, server: &str, app: &str, to: WallTime, started: Option<WallTime>) -> Option<Outage> {
        let before = std::mem::replace(&mut self.started, started);
        let (from, why) = self.lost.take()?;
        // Of one that we had not spoken to before nobody knows whether it is another.
        let restarted = started.filter(|started| before.is_some_and(|before| before != *started));
        Some(Outage { server: server.to_owned(), app: app.to_owned(), from, to, restarted, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_from_a_connection_that_was_cut() {
        let mut outages = Outages::default();
        let at = |seconds: i64| WallTime(seconds * 1_000);
        assert_eq!(outages.back("pbx", "bot", at(10), Some(at(1))), None, "the first connection");
        outages.lost(at(20), &Why::Silent);
        outages.lost(at(21), &Why::Unauthorized);
        let cut = outages.back("pbx", "bot", at(25), Some(at(1))).unwrap();
        assert_eq!((cut.from, cut.to, cut.restarted), (at(20), at(25), None));
        assert!(cut.why.contains("silent"), "{}", cut.why);
        outages.lost(at(30), &Why::Silent);
        let restart = outages.back("pbx", "bot", at(33), Some(at(31))).unwrap();
        assert_eq!((restart.restarted, restart.to), (Some(at(31)), at(33)));
        outages.lost(at(40), &Why::Silent);
        assert_eq!(outages.back("pbx", "bot", at(41), None).unwrap().restarted, None, "it did not tell");
    }
}
