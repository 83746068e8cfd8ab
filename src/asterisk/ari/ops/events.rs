//! Events of our own. The events socket itself is [`Ari::events`](crate::asterisk::ari::Ari::events).

use std::collections::BTreeMap;

use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::operation::{operations, parameters};

parameters! {
    /// An event for an application.
    UserEvent {
        /// Which one.
        application: String = "application",
        /// What it is about: `channel:ID`, `bridge:ID`, `endpoint:TECH/RESOURCE`, `deviceState:NAME`.
        source: Vec<String> = "source",
        /// What it carries.
        variables: BTreeMap<String, String> = "variables",
    }
}

operations! {
    /// Events of our own, and claiming offered calls.
    Events;

    /// Sends an event.
    POST "/events/user/{eventName}" => send(name: &str | event: &UserEvent) -> ();

    /// Claims a call that `StasisBroadcast()` offers (20.17, 22.7, 23.1 and later); 409 when another engine was faster.
    POST "/events/claim" => claim(; channel: &ChannelId = "channelId", app: &str = "application") -> ();
}
