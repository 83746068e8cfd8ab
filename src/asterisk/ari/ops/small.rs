//! The resources with a handful of operations: playbacks, device states, mailboxes, sounds.

use crate::asterisk::ari::model::{DeviceState, Mailbox, Playback, Sound};
use crate::asterisk::ari::operation::operations;
use crate::asterisk::ari::words::words;
use crate::asterisk::ari::{AriError, PlaybackId};

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
    /// Mailboxes. They take `res_ari_mailboxes`, which Debian builds no Asterisk with: 404 there.
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

impl Playbacks<'_> {
    /// Holds a playback where it is.
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn pause(self, playback: &PlaybackId) -> Result<(), AriError> {
        self.control(playback, PlaybackControl::Pause).await
    }

    /// Goes on with one that is held.
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn unpause(self, playback: &PlaybackId) -> Result<(), AriError> {
        self.control(playback, PlaybackControl::Unpause).await
    }

    /// Goes back by the `skip_ms` that it was started with (3 s by default).
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn reverse(self, playback: &PlaybackId) -> Result<(), AriError> {
        self.control(playback, PlaybackControl::Reverse).await
    }

    /// Goes forward by the `skip_ms` that it was started with; past its end it is finished.
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn forward(self, playback: &PlaybackId) -> Result<(), AriError> {
        self.control(playback, PlaybackControl::Forward).await
    }

    /// Begins again.
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn restart(self, playback: &PlaybackId) -> Result<(), AriError> {
        self.control(playback, PlaybackControl::Restart).await
    }
}
