//! What a bot that hears and speaks itself waits for beside its call; where there is nothing to wait for, it waits for ever.

use crate::audio::ring::{EarItem, EarReader};
use crate::call::{Note, Overheard};
use crate::time::Moment;

/// What the ear hears next; never anything without an ear, or from one that is closed.
pub(super) async fn hear(ear: Option<&EarReader>) -> EarItem {
    if let Some(ear) = ear
        && let Some(item) = ear.pop().await
    {
        return item;
    }
    std::future::pending().await
}

/// The next note of the call; never one of a call that tells no more.
pub(super) async fn overhear(notes: &mut Overheard) -> Note {
    match notes.next().await {
        Some(note) => note,
        None => std::future::pending().await,
    }
}

/// Until then; for ever without such a time.
pub(super) async fn sleep_until(deadline: Option<Moment>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(Moment::now())).await,
        None => std::future::pending().await,
    }
}
