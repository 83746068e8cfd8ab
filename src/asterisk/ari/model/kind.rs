//! What can happen: the events of an application, each with what it carries.

use serde::Deserialize;
use serde_json::Value;

use super::events::events;
use super::{
    Bridge, Channel, ContactInfo, DeviceState, Endpoint, LiveRecording, Peer, Playback, ReferTo, ReferredBy,
    RestHeader, TextMessage,
};

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
            /// The cause in the protocol, for instance a SIP status (20.17, 22.7 and later).
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
            /// The cause in the protocol (20.17, 22.7 and later).
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
    /// `TONE_DETECT` heard its tone (22 and later).
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
    /// The phone asks for a transfer that the application has to carry out (20.13, 21.8, 22.3 and later).
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
    /// An application was registered (20.17, 22.6 and later).
    ApplicationRegistered {}
    /// An application was unregistered (20.17, 22.6 and later).
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
