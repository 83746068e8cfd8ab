//! Keeps what bots promised: calls callers back when it is time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::outbound::{CallOut, call_out};
use super::server::Server;
use super::{Phase, Shared};
use crate::store::CallBack;
use crate::time::WallTime;

/// How often it is looked who is to be called.
const EVERY: Duration = Duration::from_secs(1);

/// So many are called at the same time.
const AT_ONCE: u32 = 4;

/// How long it may ring.
const RING: Duration = Duration::from_secs(30);

/// Keeps promises, as long as the engine takes calls.
pub(super) fn start(shared: &Arc<Shared>, servers: &[Arc<Server>]) -> AbortOnDropHandle<()> {
    let (weak, servers) = (Arc::downgrade(shared), servers.to_vec());
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let Some(shared) = weak.upgrade() else { return };
            let inherited = *shared.inherited.borrow();
            let up = servers.iter().any(|server| *server.connected.borrow());
            if *shared.phase.borrow() != Phase::Running || !inherited || !up {
                continue;
            }
            match shared.store.take_call_backs(&shared.config.asterisk.app, WallTime::now(), AT_ONCE).await {
                Ok(due) => {
                    let calls = due.iter().map(|promised| keep(&shared, &servers, promised));
                    futures_util::future::join_all(calls).await;
                }
                Err(error) => tracing::warn!(%error, "it is not known who is to be called back"),
            }
        }
    }))
}

async fn keep(shared: &Arc<Shared>, servers: &[Arc<Server>], promised: &CallBack) {
    let CallBack { call, dial, bot, .. } = promised;
    let wanted = CallOut { endpoint: dial, bot, caller_id: None, patience: RING, server: None };
    match call_out(shared, servers, &wanted).await {
        Ok(id) => tracing::info!(%call, back = %id, "a caller is called back"),
        Err(error) => tracing::warn!(%call, %error, "a caller could not be called back"),
    }
}
