//! Bridges.

use std::collections::BTreeMap;

use crate::asterisk::ari::model::{Bridge, LiveRecording, Playback, Variable, Variables};
use crate::asterisk::ari::operation::{operations, parameters};
use crate::asterisk::ari::{AriError, BridgeId, ChannelId, PlaybackId};

use super::channels::IfExists;

parameters! {
    /// A bridge to be made.
    CreateBridge {
        /// What it does: `mixing` (the default), `holding`, `dtmf_events`, `proxy_media`, `video_sfu`, separated by commas.
        kind: Option<String> = "type",
        /// A name for people.
        name: Option<String> = "name",
        /// Its variables (20.20, 22.10 and later).
        variables: BTreeMap<String, String> = "variables",
    }
}

parameters! {
    /// How a channel takes part in a bridge.
    AddChannel {
        /// `announcer` or `participant`, in a holding bridge.
        role: Option<String> = "role",
        /// Keeps the channel's keys from the others.
        absorb_dtmf: Option<bool> = "absorbDTMF",
        /// The others do not hear it.
        mute: Option<bool> = "mute",
        /// The others' phones do not show its name (18 and later).
        inhibit_connected_line_updates: Option<bool> = "inhibitConnectedLineUpdates",
    }
}

parameters! {
    /// How something is played to a bridge.
    BridgePlay {
        /// What, one after the other: `sound:hello`, `recording:name`, `number:42`, `digits:42`, `characters:ab`, `tone:ring`.
        media: Vec<String> = "media",
        /// The format of the channel that plays (20.17, 22.7 and later).
        announcer_format: Option<String> = "announcer_format",
        /// The language.
        lang: Option<String> = "lang",
        /// How many milliseconds of it to leave out at the start.
        offset_ms: Option<u32> = "offsetms",
        /// How far forward and reverse go, in milliseconds.
        skip_ms: Option<u32> = "skipms",
    }
}

parameters! {
    /// How a bridge is recorded.
    BridgeRecord {
        /// The recording's name.
        name: String = "name",
        /// Its format: `wav`, `ulaw`, …
        format: String = "format",
        /// The format of the channel that records (20.17, 22.7 and later).
        recorder_format: Option<String> = "recorder_format",
        /// The longest, in seconds; 0 for no limit.
        max_duration_seconds: Option<u32> = "maxDurationSeconds",
        /// Silence that ends it, in seconds; 0 for never.
        max_silence_seconds: Option<u32> = "maxSilenceSeconds",
        /// What to do when the name is taken.
        if_exists: Option<IfExists> = "ifExists",
        /// Whether a beep comes first.
        beep: Option<bool> = "beep",
        /// Keys that end it: `none`, `any`, `*` or `#`.
        terminate_on: Option<String> = "terminateOn",
    }
}

operations! {
    /// Bridges, which join channels.
    Bridges;

    /// Lists them, those of other applications too.
    GET "/bridges" => list() -> Vec<Bridge>;

    /// Makes one with an id of Asterisk's choice.
    POST "/bridges" => create_unnamed(| parameters: &CreateBridge) -> Bridge;

    /// Makes one with an id of ours. When it exists and is of Stasis, Asterisk answers with that one.
    POST "/bridges/{bridgeId}" => create(bridge: &BridgeId | parameters: &CreateBridge) -> Bridge;

    /// One of them.
    GET "/bridges/{bridgeId}" => get(bridge: &BridgeId) -> Bridge;

    /// Takes a bridge down; the channels in it stay in the application.
    DELETE "/bridges/{bridgeId}" => destroy(bridge: &BridgeId) -> ();

    /// A variable of a bridge (20.20, 22.10 and later).
    GET "/bridges/{bridgeId}/variable" => var(bridge: &BridgeId; variable: &str = "variable") -> Variable;

    /// Sets a variable of a bridge, and says whether events show it with the bridge from then on (20.20, 22.10 and later).
    POST "/bridges/{bridgeId}/variable" => set_var_as(
        bridge: &BridgeId; variable: &str = "variable", value: &str = "value", report: Option<bool> = "report_events"
    ) -> ();

    /// Several variables of a bridge (20.20, 22.10 and later).
    GET "/bridges/{bridgeId}/variables" => vars(bridge: &BridgeId; variables: &[&str] = "variables") -> Variables;

    /// Sets several variables of a bridge (20.20, 22.10 and later).
    POST "/bridges/{bridgeId}/variables" =>
        set_vars(bridge: &BridgeId; variables: &BTreeMap<String, String> = "variables") -> ();

    /// Puts a channel into a bridge with a role, muted, … It must be in a Stasis application already: wait for its `StasisStart`.
    POST "/bridges/{bridgeId}/addChannel" =>
        add_channel_as(bridge: &BridgeId; channel: &ChannelId = "channel" | role: &AddChannel) -> ();

    /// Takes a channel out of a bridge.
    POST "/bridges/{bridgeId}/removeChannel" =>
        remove_channel(bridge: &BridgeId; channel: &ChannelId = "channel") -> ();

    /// Chooses whose picture is seen.
    POST "/bridges/{bridgeId}/videoSource/{channelId}" => set_video_source(bridge: &BridgeId, channel: &ChannelId) -> ();

    /// Leaves that to Asterisk again.
    DELETE "/bridges/{bridgeId}/videoSource" => clear_video_source(bridge: &BridgeId) -> ();

    /// Plays music on hold.
    POST "/bridges/{bridgeId}/moh" => start_moh(bridge: &BridgeId; class: Option<&str> = "mohClass") -> ();

    /// Stops it.
    DELETE "/bridges/{bridgeId}/moh" => stop_moh(bridge: &BridgeId) -> ();

    /// Plays something to everybody in the bridge.
    POST "/bridges/{bridgeId}/play" => play_unnamed(bridge: &BridgeId | parameters: &BridgePlay) -> Playback;

    /// The same with an id of ours.
    POST "/bridges/{bridgeId}/play/{playbackId}" =>
        play(bridge: &BridgeId, playback: &PlaybackId | parameters: &BridgePlay) -> Playback;

    /// Records the bridge.
    POST "/bridges/{bridgeId}/record" => record(bridge: &BridgeId | parameters: &BridgeRecord) -> LiveRecording;
}

impl Bridges<'_> {
    /// Puts a channel into a bridge. It must be in a Stasis application already: wait for its `StasisStart`.
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn add_channel(self, bridge: &BridgeId, channel: &ChannelId) -> Result<(), AriError> {
        self.add_channel_as(bridge, channel, &AddChannel::default()).await
    }

    /// Sets a variable of a bridge; see [`set_var_as`](Self::set_var_as).
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn set_var(self, bridge: &BridgeId, variable: &str, value: &str) -> Result<(), AriError> {
        self.set_var_as(bridge, variable, value, None).await
    }
}
