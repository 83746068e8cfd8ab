//! How full an engine is, for dialplans that choose between several: `AGI(agi://engine:4573/load)`.
//!
//! For Asterisk before `StasisBroadcast()` (20.17, 22.7, 23.1). The dialplan asks each engine, which takes some milliseconds;
//! one that is not there does not answer (`AGISTATUS` is `FAILURE`), and the call goes to the one with the lowest
//! `OFFHOOK_LOAD`: that is to be had by `Stasis(${OFFHOOK_APP},BOT)`. `asterisk/extensions.conf` has it.

use std::sync::{Arc, Weak};

use super::admission::Refused;
use super::server::Server;
use super::{Engine, Shared};
use crate::asterisk::agi::{AgiError, Router, Session};
use crate::time::Moment;

/// `OFFHOOK_LOAD` of an engine that takes no more calls.
pub const FULL: u32 = 1_001;

/// How full an engine is. Cheap to clone; does not keep the engine.
#[derive(Clone)]
pub struct Share {
    shared: Weak<Shared>,
    servers: Vec<Weak<Server>>,
}

impl Engine {
    /// Tells how full the engine is, also after it was given away.
    #[must_use]
    pub fn share(&self) -> Share {
        let servers = self.servers.iter().map(Arc::downgrade).collect();
        Share { shared: Arc::downgrade(&self.shared), servers }
    }
}

impl Share {
    /// The application at the server of that name ([`None`]: at the first one), and how many thousandths of the room are filled, with
    /// half of one more call.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn of(&self, server: Option<&str>) -> Result<(String, u32), Refused> {
        let servers = self.servers.iter().filter_map(Weak::upgrade);
        let found = servers.into_iter().find(|known| server.is_none_or(|name| known.name == name));
        let (Some(shared), Some(server)) = (self.shared.upgrade(), found) else {
            return Err(Refused::Draining);
        };
        server.open()?;
        let room = server.room(Moment::now());
        let admission = shared.admission();
        admission.look(room)?;
        // With half of the one more, as offers are claimed: then no capacity is preferred.
        let part = |calls: usize, most: usize| ((2 * calls + 1) * 1_000).div_ceil(2 * most.max(1));
        let fuller = part(room.calls, room.capacity).max(part(admission.calls(), admission.most()));
        Ok((server.app.clone(), u32::try_from(fuller).unwrap_or(FULL).min(FULL - 1)))
    }

    /// Adds the handler `load`: it sets `OFFHOOK_LOAD`, from 1 to 1000, and `OFFHOOK_APP`; where no call is taken they are 1001 and
    /// empty, and `OFFHOOK_REFUSED` says why. `agi://engine/load?server=NAME` names the server, where the engine has several.
    #[must_use]
    pub fn handler(self, router: Router) -> Router {
        router.on("load", move |session: Session| {
            let share = self.clone();
            async move { share.answer(&session).await }
        })
    }

    async fn answer(&self, session: &Session) -> Result<(), AgiError> {
        let query = session.environment().query();
        let server = query.iter().find(|(name, _)| name == "server").map(|(_, value)| value.as_str());
        let (app, load, refused) = match self.of(server) {
            Ok((app, load)) => (app, load, ""),
            Err(why) => (String::new(), FULL, why.word()),
        };
        session.set_variable("OFFHOOK_APP", &app).await?;
        session.set_variable("OFFHOOK_LOAD", &load.to_string()).await?;
        session.set_variable("OFFHOOK_REFUSED", refused).await
    }
}
