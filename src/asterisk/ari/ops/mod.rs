//! The operations, one file per resource of Asterisk's own description (`GET /ari/api-docs/resources.json`).
//!
//! All that Asterisk 22 and 23 have are written down (but the events socket, which is a stream); which of them a server knows depends on its version
//! ([`AriError::Unsupported`](super::AriError::Unsupported) otherwise). A test compares them with a running Asterisk.

mod applications;
mod asterisk;
mod bridges;
mod channels;
mod endpoints;
mod events;
mod reason;
mod recordings;
mod small;

pub use applications::Applications;
pub use asterisk::Server;
pub use bridges::{AddChannel, BridgePlay, BridgeRecord, Bridges, CreateBridge};
pub use channels::{
    Channels, Continue, CreateChannel, Direction, Dtmf, ExternalMedia, IfExists, Originate, Play, Record,
    Snoop,
};
pub use endpoints::{Endpoints, Message, Refer};
pub use events::{Events, UserEvent};
pub use reason::HangupReason;
pub use recordings::Recordings;
pub use small::{DeviceStates, Mailboxes, PlaybackControl, Playbacks, Sounds};

use super::{Ari, Operation};

macro_rules! groups {
    ($($(#[$doc:meta])* $method:ident: $group:ident,)+) => {
        impl Ari {
            $($(#[$doc])*
            #[must_use]
            pub fn $method(&self) -> $group<'_> {
                $group(self)
            }
            )+

            /// Every operation that is known here.
            pub fn operations() -> impl Iterator<Item = &'static Operation> {
                [$($group::OPERATIONS),+].into_iter().flatten()
            }
        }
    };
}

groups! {
    /// Applications and what they get events of.
    applications: Applications,
    /// The server: version, modules, logs, global variables, dynamic configuration.
    asterisk: Server,
    /// Bridges.
    bridges: Bridges,
    /// Channels.
    channels: Channels,
    /// Device states.
    device_states: DeviceStates,
    /// Endpoints.
    endpoints: Endpoints,
    /// Events of our own, and claiming offered calls.
    user_events: Events,
    /// Mailboxes.
    mailboxes: Mailboxes,
    /// Playbacks.
    playbacks: Playbacks,
    /// Recordings.
    recordings: Recordings,
    /// Recorded prompts.
    sounds: Sounds,
}
