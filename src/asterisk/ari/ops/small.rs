//! The resources with a handful of operations: playbacks, device states, mailboxes, sounds.

use crate::asterisk::ari::PlaybackId;
use crate::asterisk::ari::model::{DeviceState, Mailbox, Playback, Sound};
use crate::asterisk::ari::operation::operations;
use crate::asterisk::ari::words::words;

words! {
    /// What to do with a playback.
    PlaybackControl {
        /// From the start.
        Restart = "restart",
        /// Hold it.
        Pause = "pause",
        /// Go on.
        Unpause = "unpause",
        /// Go back.
        Reverse = "reverse",
        /// Go forward.
        Forward = "forward",
    }
}

operations! {
    /// Playbacks: what Asterisk plays to channels and bridges.
    Playbacks;

    /// One of them.
    GET "/playbacks/{playbackId}" => get(playback: &PlaybackId) -> Playback;

    /// Stops it.
    DELETE "/playbacks/{playbackId}" => stop(playback: &PlaybackId) -> ();

    /// Holds it, goes on, back, forward.
    POST "/playbacks/{playbackId}/control" =>
        control(playback: &PlaybackId; operation: PlaybackControl = "operation") -> ();
}

operations! {
    /// Device states. Only those named `Stasis:…` can be set.
    DeviceStates;

    /// Lists those that ARI controls.
    GET "/deviceStates" => list() -> Vec<DeviceState>;

    /// The state of any device.
    GET "/deviceStates/{deviceName}" => get(device: &str) -> DeviceState;

    /// Sets one: `NOT_INUSE`, `INUSE`, `BUSY`, `INVALID`, `UNAVAILABLE`, `RINGING`, `RINGINUSE`, `ONHOLD`.
    PUT "/deviceStates/{deviceName}" => update(device: &str; state: &str = "deviceState") -> ();

    /// Deletes one.
    DELETE "/deviceStates/{deviceName}" => delete(device: &str) -> ();
}

operations! {
    /// Mailboxes.
    Mailboxes;

    /// Lists them.
    GET "/mailboxes" => list() -> Vec<Mailbox>;

    /// One of them.
    GET "/mailboxes/{mailboxName}" => get(mailbox: &str) -> Mailbox;

    /// Says how many messages are in it.
    PUT "/mailboxes/{mailboxName}" => update(mailbox: &str; old: u32 = "oldMessages", new: u32 = "newMessages") -> ();

    /// Deletes one.
    DELETE "/mailboxes/{mailboxName}" => delete(mailbox: &str) -> ();
}

operations! {
    /// Recorded prompts of Asterisk's.
    Sounds;

    /// Lists them, of a language and a format.
    GET "/sounds" => list(; lang: Option<&str> = "lang", format: Option<&str> = "format") -> Vec<Sound>;

    /// One of them.
    GET "/sounds/{soundId}" => get(sound: &str) -> Sound;
}
