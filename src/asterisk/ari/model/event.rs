//! The events of an application.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Bridge, Channel, ContactInfo, DeviceState, Endpoint, LiveRecording, Peer, Playback, ReferTo, ReferredBy,
    RestHeader, TextMessage, Timestamp, drop_nulls,
};
use crate::asterisk::ari::ChannelId;
use crate::time::{Moment, WallTime};

/// An event as it came.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When the reader took it off the socket.
    pub at: Moment,
    /// When Asterisk sent it, by Asterisk's clock.
    pub timestamp: Option<WallTime>,
    /// The application that it was sent to.
    pub application: String,
    /// The server that it came from (`entity_id` of its [`SystemInfo`](super::SystemInfo)).
    pub asterisk_id: String,
    /// What happened.
    pub kind: EventKind,
}

/// What all events have.
#[derive(Deserialize, Default)]
struct Head {
    #[serde(default)]
    timestamp: Timestamp,
    #[serde(default)]
    application: String,
    #[serde(default)]
    asterisk_id: String,
}

impl Event {
    /// Reads the text of a message of the events socket that came at `at`. The flag says whether it was well-formed:
    /// something that is not becomes [`EventKind::Other`] as far as it is JSON with a `type`, so that nothing is lost.
    ///
    /// # Errors
    ///
    /// What is wrong with it, when it is no JSON object with a `type`.
    pub(in crate::asterisk::ari) fn read(text: &[u8], at: Moment) -> Result<(Self, bool), String> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        drop_nulls(&mut value);
        let Some(name) = value.get("type").and_then(Value::as_str).map(str::to_owned) else {
            return Err("a message without a type".to_owned());
        };
        let head = Head::deserialize(&value).unwrap_or_default();
        let known = EventKind::TYPES.contains(&name.as_str());
        let (kind, whole) = match known.then(|| EventKind::deserialize(&value)) {
            Some(Ok(kind)) => (kind, true),
            Some(Err(_)) => (EventKind::Other { name, value }, false),
            None => (EventKind::Other { name, value }, true),
        };
        let event = Self {
            at,
            timestamp: head.timestamp.0,
            application: head.application,
            asterisk_id: head.asterisk_id,
            kind,
        };
        Ok((event, whole))
    }

    /// The id of the channel that this event is about, to find the call that it belongs to. Read from unknown events too.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        if let EventKind::Other { value, .. } = &self.kind {
            return Some(value.get("channel")?.get("id")?.as_str()?.into());
        }
        if let Some(channel) = self.kind.channel() {
            return Some(channel.id.clone());
        }
        let target = match &self.kind {
            EventKind::PlaybackStarted { playback }
            | EventKind::PlaybackContinuing { playback }
            | EventKind::PlaybackFinished { playback } => &playback.target_uri,
            EventKind::RecordingStarted { recording }
            | EventKind::RecordingFinished { recording }
            | EventKind::RecordingFailed { recording } => &recording.target_uri,
            _ => return None,
        };
        target.strip_prefix("channel:").map(ChannelId::from)
    }
}

/// Declares the events: `needs` cannot be left out (without it the event means nothing), `has` can.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident {
        $(needs { $($(#[$need_doc:meta])* $need:ident: $need_type:ty,)+ })?
        $(has { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })?
    })+) => {
        /// What happened. Large, therefore always behind a box.
        #[derive(Clone, PartialEq, Debug, Deserialize)]
        #[serde(tag = "type")]
        #[expect(clippy::large_enum_variant, reason = "an event is boxed as a whole")]
        pub enum EventKind {
            $($(#[$doc])* $name {
                $($($(#[$need_doc])* $need: $need_type,)+)?
                $($($(#[$field_doc])* #[serde(default)] $field: $type,)+)?
            },)+
            /// An event that is not known here, or not of the form that it should have.
            #[serde(skip)]
            Other {
                /// Its type.
                name: String,
                /// All of it.
                value: Value,
            },
        }

        impl EventKind {
            /// The types that are known here.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// The type of the event.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$name { .. } => stringify!($name),)+
                    Self::Other { name, .. } => name,
                }
            }
        }

        pub(super) const EVENTS: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$($(stringify!($need),)+)? $($(stringify!($field),)+)?]),)+];
    };
}

events! {
    /// A channel came into the application.
    StasisStart {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// The arguments of `Stasis(app,…)`, or `appArgs`.
            args: Vec<String>,
            /// The channel that it takes the place of.
            replace_channel: Option<Channel>,
        }
    }
    /// A channel left the application: it was hung up, sent on into the dialplan, or moved.
    StasisEnd {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// A digit was pressed; sent when it ends.
    ChannelDtmfReceived {
        needs {
            /// `0` to `9`, `A` to `D`, `*` or `#`.
            digit: String,
            /// The channel.
            channel: Channel,
        }
        has {
            /// How long it was pressed, in milliseconds.
            duration_ms: i64,
        }
    }
    /// A channel was made.
    ChannelCreated {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// A channel is gone.
    ChannelDestroyed {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// Why: a Q.850 cause.
            cause: i64,
            /// The cause in words.
            cause_txt: String,
            /// The cause in the protocol, for instance a SIP status (22 and later).
            tech_cause: Option<i64>,
        }
    }
    /// Somebody wants a channel to hang up.
    ChannelHangupRequest {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// Why: a Q.850 cause.
            cause: Option<i64>,
            /// The cause in the protocol (22 and later).
            tech_cause: Option<i64>,
            /// Whether it was asked for rather than done.
            soft: bool,
        }
    }
    /// A channel's state changed: it rings, it was answered.
    ChannelStateChange {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// A variable was set.
    ChannelVarset {
        needs {
            /// Its name.
            variable: String,
        }
        has {
            /// Its value.
            value: String,
            /// The channel; none for a global variable.
            channel: Option<Channel>,
        }
    }
    /// A channel went to another place of the dialplan.
    ChannelDialplan {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// The application that runs there.
            dialplan_app: String,
            /// Its arguments.
            dialplan_app_data: String,
        }
    }
    /// The caller's name or number changed.
    ChannelCallerId {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// Whether it may be shown, as a number.
            caller_presentation: i64,
            /// The same in words.
            caller_presentation_txt: String,
        }
    }
    /// The name or number that the channel sees changed.
    ChannelConnectedLine {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// An event that `UserEvent` or `POST /events/user` made.
    ChannelUserevent {
        needs {
            /// Its name.
            eventname: String,
        }
        has {
            /// The channel.
            channel: Option<Channel>,
            /// The bridge.
            bridge: Option<Bridge>,
            /// The endpoint.
            endpoint: Option<Endpoint>,
            /// What came with it.
            userevent: Value,
        }
    }
    /// A channel was put on hold.
    ChannelHold {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// The music that it asks for.
            musicclass: String,
        }
    }
    /// A channel was taken off hold.
    ChannelUnhold {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// `TONE_DETECT` heard its tone (20 and later).
    ChannelToneDetected {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// `TALK_DETECT` hears talking.
    ChannelTalkingStarted {
        needs {
            /// The channel.
            channel: Channel,
        }
    }
    /// `TALK_DETECT` hears no talking any more.
    ChannelTalkingFinished {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// How long there was talking, in milliseconds.
            duration: i64,
        }
    }
    /// A channel joined a bridge.
    ChannelEnteredBridge {
        needs {
            /// The bridge.
            bridge: Bridge,
        }
        has {
            /// The channel.
            channel: Option<Channel>,
        }
    }
    /// A channel left a bridge.
    ChannelLeftBridge {
        needs {
            /// The bridge.
            bridge: Bridge,
            /// The channel.
            channel: Channel,
        }
    }
    /// The phone asks for a transfer that the application has to carry out (22 and later).
    ChannelTransfer {
        needs {
            /// Where to.
            refer_to: ReferTo,
            /// From where.
            referred_by: ReferredBy,
        }
        has {
            /// How far it is.
            state: String,
        }
    }
    /// A bridge was made.
    BridgeCreated {
        needs {
            /// The bridge.
            bridge: Bridge,
        }
    }
    /// A bridge is gone.
    BridgeDestroyed {
        needs {
            /// The bridge.
            bridge: Bridge,
        }
    }
    /// A bridge was merged into another.
    BridgeMerged {
        needs {
            /// The one that stays.
            bridge: Bridge,
            /// The one that went into it.
            bridge_from: Bridge,
        }
    }
    /// Another picture is seen.
    BridgeVideoSourceChanged {
        needs {
            /// The bridge.
            bridge: Bridge,
        }
        has {
            /// Whose picture was seen.
            old_video_source_id: String,
        }
    }
    /// Somebody transferred without asking first.
    BridgeBlindTransfer {
        needs {
            /// Who transfers.
            channel: Channel,
        }
        has {
            /// The channel that takes its place.
            replace_channel: Option<Channel>,
            /// Who is transferred.
            transferee: Option<Channel>,
            /// To which extension.
            exten: String,
            /// In which context.
            context: String,
            /// How it went.
            result: String,
            /// Whether somebody outside asked for it.
            is_external: bool,
            /// The bridge.
            bridge: Option<Bridge>,
        }
    }
    /// Somebody transferred after asking.
    BridgeAttendedTransfer {
        needs {
            /// The first leg of who transfers.
            transferer_first_leg: Channel,
            /// The second leg.
            transferer_second_leg: Channel,
        }
        has {
            /// The channel that takes its place.
            replace_channel: Option<Channel>,
            /// Who is transferred.
            transferee: Option<Channel>,
            /// To whom.
            transfer_target: Option<Channel>,
            /// How it went.
            result: String,
            /// Whether somebody outside asked for it.
            is_external: bool,
            /// The bridge of the first leg.
            transferer_first_leg_bridge: Option<Bridge>,
            /// The bridge of the second leg.
            transferer_second_leg_bridge: Option<Bridge>,
            /// What the destination is.
            destination_type: String,
            /// The bridge that it led to.
            destination_bridge: String,
            /// The application that it led to.
            destination_application: String,
            /// The first leg of a link.
            destination_link_first_leg: Option<Channel>,
            /// The second leg of a link.
            destination_link_second_leg: Option<Channel>,
            /// The channel of a three-way call.
            destination_threeway_channel: Option<Channel>,
            /// The bridge of a three-way call.
            destination_threeway_bridge: Option<Bridge>,
        }
    }
    /// Something is played now.
    PlaybackStarted {
        needs {
            /// The playback.
            playback: Playback,
        }
    }
    /// The next of a list is played.
    PlaybackContinuing {
        needs {
            /// The playback.
            playback: Playback,
        }
    }
    /// A playback ended, was stopped or failed.
    PlaybackFinished {
        needs {
            /// The playback.
            playback: Playback,
        }
    }
    /// A recording began.
    RecordingStarted {
        needs {
            /// The recording.
            recording: LiveRecording,
        }
    }
    /// A recording is stored.
    RecordingFinished {
        needs {
            /// The recording.
            recording: LiveRecording,
        }
    }
    /// A recording failed.
    RecordingFailed {
        needs {
            /// The recording.
            recording: LiveRecording,
        }
    }
    /// A dialling went on.
    Dial {
        needs {
            /// Who is called.
            peer: Channel,
        }
        has {
            /// Who calls.
            caller: Option<Channel>,
            /// Where the call is forwarded to.
            forward: String,
            /// The channel of that.
            forwarded: Option<Channel>,
            /// What was dialled.
            dialstring: String,
            /// How far it is: empty, `RINGING`, `PROGRESS`, `ANSWER`, `BUSY`, `NOANSWER`, `CANCEL`, `CONGESTION`, `CHANUNAVAIL`.
            dialstatus: String,
        }
    }
    /// Another connection took the application: nothing more comes for it on this one.
    ApplicationReplaced {}
    /// An application was registered (22 and later).
    ApplicationRegistered {}
    /// An application was unregistered (22 and later).
    ApplicationUnregistered {}
    /// A channel could not be moved to another application.
    ApplicationMoveFailed {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// The application.
            destination: String,
            /// The arguments for it.
            args: Vec<String>,
        }
    }
    /// A call is offered to every application: the first one to claim it gets it (20.17, 22.7, 23.1 and later).
    CallBroadcast {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// Who calls.
            caller: String,
            /// Whom.
            called: String,
        }
    }
    /// An offered call was claimed.
    CallClaimed {
        needs {
            /// The channel.
            channel: Channel,
        }
        has {
            /// By which application.
            winner_app: String,
        }
    }
    /// A device's state changed.
    DeviceStateChanged {
        needs {
            /// The device.
            device_state: DeviceState,
        }
    }
    /// A SIP contact came, went, or stopped answering.
    ContactStatusChange {
        needs {
            /// The endpoint.
            endpoint: Endpoint,
            /// The contact.
            contact_info: ContactInfo,
        }
    }
    /// A peer of the older technologies came or went.
    PeerStatusChange {
        needs {
            /// The endpoint.
            endpoint: Endpoint,
            /// The peer.
            peer: Peer,
        }
    }
    /// An endpoint's state changed.
    EndpointStateChange {
        needs {
            /// The endpoint.
            endpoint: Endpoint,
        }
    }
    /// A text message came.
    TextMessageReceived {
        needs {
            /// The message.
            message: TextMessage,
        }
        has {
            /// The endpoint that it came from.
            endpoint: Option<Endpoint>,
        }
    }
    /// The connection was made without a parameter that it needs.
    MissingParams {
        has {
            /// The parameters.
            params: Vec<String>,
        }
    }
    /// The answer to a request over the events socket (20.14, 21.9, 22.4 and later).
    RESTResponse {
        has {
            /// Ours.
            transaction_id: String,
            /// Ours.
            request_id: String,
            /// The HTTP status.
            status_code: i64,
            /// The status in words.
            reason_phrase: String,
            /// What was asked for.
            uri: String,
            /// The type of the body.
            content_type: String,
            /// The body.
            message_body: String,
            /// Headers.
            headers: Vec<RestHeader>,
        }
    }
}

impl EventKind {
    /// The channel that the event is about.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::StasisStart { channel, .. }
            | Self::StasisEnd { channel }
            | Self::ChannelDtmfReceived { channel, .. }
            | Self::ChannelCreated { channel }
            | Self::ChannelDestroyed { channel, .. }
            | Self::ChannelHangupRequest { channel, .. }
            | Self::ChannelStateChange { channel }
            | Self::ChannelDialplan { channel, .. }
            | Self::ChannelCallerId { channel, .. }
            | Self::ChannelConnectedLine { channel }
            | Self::ChannelHold { channel, .. }
            | Self::ChannelUnhold { channel }
            | Self::ChannelToneDetected { channel }
            | Self::ChannelTalkingStarted { channel }
            | Self::ChannelTalkingFinished { channel, .. }
            | Self::ChannelLeftBridge { channel, .. }
            | Self::BridgeBlindTransfer { channel, .. }
            | Self::ApplicationMoveFailed { channel, .. }
            | Self::CallBroadcast { channel, .. }
            | Self::CallClaimed { channel, .. } => Some(channel),
            Self::ChannelVarset { channel, .. }
            | Self::ChannelUserevent { channel, .. }
            | Self::ChannelEnteredBridge { channel, .. } => channel.as_ref(),
            Self::Dial { peer, .. } => Some(peer),
            Self::BridgeAttendedTransfer { transferer_first_leg, .. } => Some(transferer_first_leg),
            Self::ChannelTransfer { referred_by, .. } => referred_by.source_channel.as_ref(),
            _ => None,
        }
    }

    /// The bridge that the event is about.
    #[must_use]
    pub fn bridge(&self) -> Option<&Bridge> {
        match self {
            Self::ChannelEnteredBridge { bridge, .. }
            | Self::ChannelLeftBridge { bridge, .. }
            | Self::BridgeCreated { bridge }
            | Self::BridgeDestroyed { bridge }
            | Self::BridgeMerged { bridge, .. }
            | Self::BridgeVideoSourceChanged { bridge, .. } => Some(bridge),
            Self::BridgeBlindTransfer { bridge, .. } | Self::ChannelUserevent { bridge, .. } => {
                bridge.as_ref()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Event, bool) {
        Event::read(text.as_bytes(), Moment::from_millis(7)).unwrap()
    }

    /// As an Asterisk 22 sends it.
    const START: &str = r#"{"type":"StasisStart","timestamp":"2026-11-20T22:57:03.120+0000","args":["frontdesk"],
        "channel":{"id":"1795215423.7","name":"PJSIP/alice-00000001","state":"Ring","protocol_id":"abc@127.0.0.1",
        "caller":{"name":"","number":"alice"},"connected":{"name":"","number":""},"accountcode":"",
        "dialplan":{"context":"offhook","exten":"100","priority":1,"app_name":"Stasis","app_data":"bot,frontdesk"},
        "creationtime":"2026-11-20T22:57:03.119+0000","language":"en","caller_rdnis":null},
        "asterisk_id":"52:54:00:12:34:56","application":"bot"}"#;

    #[test]
    fn the_start_of_a_call_tells_who_where_and_when() {
        let (event, whole) = read(START);
        assert!(whole);
        assert_eq!(event.at, Moment::from_millis(7));
        assert_eq!(event.timestamp.unwrap().to_string(), "2026-11-20T22:57:03.120Z");
        assert_eq!(event.application, "bot");
        assert_eq!(event.channel_id().unwrap().as_str(), "1795215423.7");
        let EventKind::StasisStart { channel, args, replace_channel: None } = event.kind else {
            panic!("{event:?}")
        };
        assert_eq!(args, ["frontdesk"]);
        assert_eq!((channel.dialplan.exten.as_str(), channel.caller.number.as_str()), ("100", "alice"));
    }

    #[test]
    fn an_unknown_event_is_handed_on_whole() {
        let (event, whole) =
            read(r#"{"type":"ChannelTeleported","application":"bot","channel":{"id":"1.1"}}"#);
        assert!(whole, "it is new, not wrong");
        assert_eq!(event.kind.name(), "ChannelTeleported");
        assert_eq!(event.channel_id().unwrap().as_str(), "1.1");
    }

    #[test]
    fn a_known_event_of_the_wrong_form_is_handed_on_and_counted() {
        let (event, whole) = read(r#"{"type":"StasisStart","channel":"none"}"#);
        assert!(!whole);
        assert!(matches!(event.kind, EventKind::Other { .. }));
        assert!(Event::read(b"{}", Moment::ZERO).is_err());
        assert!(Event::read(b"[]", Moment::ZERO).is_err());
        assert!(Event::read(b"\xff", Moment::ZERO).is_err());
    }

    #[test]
    fn a_playback_belongs_to_the_channel_that_hears_it() {
        let (event, _) = read(
            r#"{"type":"PlaybackFinished","playback":{"id":"p","target_uri":"channel:1.2","state":"done"}}"#,
        );
        assert_eq!(event.channel_id(), Some("1.2".into()));
        let (event, _) = read(r#"{"type":"PlaybackFinished","playback":{"id":"p","target_uri":"bridge:b"}}"#);
        assert_eq!(event.channel_id(), None);
        let (event, _) = read(r#"{"type":"ApplicationReplaced","application":"bot"}"#);
        assert_eq!(event.kind, EventKind::ApplicationReplaced {});
    }
}
