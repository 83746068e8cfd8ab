//! Channels.

use std::collections::BTreeMap;

use crate::asterisk::ari::model::{Channel, LiveRecording, Playback, RtpStatistics, Variable, Variables};
use crate::asterisk::ari::operation::{operations, parameters};
use crate::asterisk::ari::words::words;
use crate::asterisk::ari::{AriError, ChannelId, PlaybackId};

use super::reason::HangupReason;

parameters! {
    /// A call to be made: to `endpoint`, and from there into `app` or to a place of the dialplan.
    Originate {
        /// Whom: `PJSIP/alice`, `PJSIP/0301234567@trunk`, `Local/100@offhook`.
        endpoint: String = "endpoint",
        /// The extension that it is connected to, when `app` is not given.
        extension: Option<String> = "extension",
        /// Its context.
        context: Option<String> = "context",
        /// Its priority.
        priority: Option<u32> = "priority",
        /// Its label, in place of the priority.
        label: Option<String> = "label",
        /// The application that it comes into when it is answered.
        app: Option<String> = "app",
        /// The arguments of `StasisStart`, separated by commas.
        app_args: Option<String> = "appArgs",
        /// Who calls: `"Name" <number>`.
        caller_id: Option<String> = "callerId",
        /// How long it may ring, in seconds; 30 by default, -1 for ever.
        timeout: Option<i32> = "timeout",
        /// The id of the channel: ours, to find it again.
        channel_id: Option<ChannelId> = "channelId",
        /// The id of the other half of a `Local` channel.
        other_channel_id: Option<ChannelId> = "otherChannelId",
        /// The channel that asks for it, whose account and language it takes.
        originator: Option<ChannelId> = "originator",
        /// Codecs, separated by commas; not together with `originator`.
        formats: Option<String> = "formats",
        /// Variables, set before it is dialled; `__NAME` to hand them on to the other half of a `Local` channel.
        variables: BTreeMap<String, String> = "variables",
    }
}

parameters! {
    /// A channel to be made and dialled later.
    CreateChannel {
        /// Whom.
        endpoint: String = "endpoint",
        /// The application that it is in at once.
        app: String = "app",
        /// The arguments of `StasisStart`, separated by commas.
        app_args: Option<String> = "appArgs",
        /// The id of the channel: ours, to find it again.
        channel_id: Option<ChannelId> = "channelId",
        /// The id of the other half of a `Local` channel.
        other_channel_id: Option<ChannelId> = "otherChannelId",
        /// The channel that asks for it.
        originator: Option<ChannelId> = "originator",
        /// Codecs, separated by commas.
        formats: Option<String> = "formats",
        /// Variables.
        variables: BTreeMap<String, String> = "variables",
    }
}

parameters! {
    /// A place of the dialplan to go on at; what is left out stays as it is.
    Continue {
        /// The context.
        context: Option<String> = "context",
        /// The extension.
        extension: Option<String> = "extension",
        /// The priority.
        priority: Option<u32> = "priority",
        /// The label, in place of the priority.
        label: Option<String> = "label",
    }
}

parameters! {
    /// Keys to be sent; times in milliseconds.
    Dtmf {
        /// The keys.
        dtmf: String = "dtmf",
        /// The wait before the first one.
        before: Option<u32> = "before",
        /// The wait between two; 100 by default.
        between: Option<u32> = "between",
        /// How long each is held; 100 by default.
        duration: Option<u32> = "duration",
        /// The wait after the last one.
        after: Option<u32> = "after",
    }
}

parameters! {
    /// How something is played to a channel.
    Play {
        /// What, one after the other: `sound:hello`, `recording:name`, `number:42`, `digits:42`, `characters:ab`, `tone:ring`.
        media: Vec<String> = "media",
        /// The language.
        lang: Option<String> = "lang",
        /// How many milliseconds of it to leave out at the start.
        offset_ms: Option<u32> = "offsetms",
        /// How far forward and reverse go, in milliseconds.
        skip_ms: Option<u32> = "skipms",
    }
}

impl Play {
    /// One thing, for instance `sound:hello-world`.
    #[must_use]
    pub fn one(media: impl Into<String>) -> Self {
        Self { media: vec![media.into()], ..Self::default() }
    }
}

parameters! {
    /// How a channel is recorded (what comes from it).
    Record {
        /// The recording's name.
        name: String = "name",
        /// Its format: `wav`, `ulaw`, …
        format: String = "format",
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

parameters! {
    /// A channel that listens to another.
    Snoop {
        /// Which of its directions are heard.
        spy: Option<Direction> = "spy",
        /// Which of its directions hear what is sent to the new channel.
        whisper: Option<Direction> = "whisper",
        /// The application that the new channel is in.
        app: String = "app",
        /// The arguments of its `StasisStart`.
        app_args: Option<String> = "appArgs",
    }
}

parameters! {
    /// A channel whose audio comes to us and from us.
    ExternalMedia {
        /// Its id: ours, to find it again.
        channel_id: Option<ChannelId> = "channelId",
        /// The application that it is in.
        app: String = "app",
        /// Where the audio goes: `IP:PORT`, as Asterisk sees us; `INCOMING` or a section of websocket_client.conf for WebSockets.
        external_host: Option<String> = "external_host",
        /// `rtp` (the default), `audiosocket` or `none`.
        encapsulation: Option<String> = "encapsulation",
        /// `udp` (the default), `tcp` or `websocket`.
        transport: Option<String> = "transport",
        /// Who connects to whom: `client` (the default) or `server`.
        connection_type: Option<String> = "connection_type",
        /// The codec: `ulaw`, `alaw`, `slin16`, … Only codecs with a static payload type work both ways over RTP.
        format: String = "format",
        /// `both`, which is the only one that Asterisk has.
        direction: Option<String> = "direction",
        /// For AudioSocket the UUID that it introduces itself with.
        data: Option<String> = "data",
        /// For WebSockets what is added to the dialled URI, or options such as `f(json)` (22.8, 23.2 and later).
        transport_data: Option<String> = "transport_data",
        /// Variables of the channel.
        variables: BTreeMap<String, String> = "variables",
    }
}

impl ExternalMedia {
    /// RTP over UDP to `host` (an address as Asterisk sees it) in `format`, as channel `id` of `app`.
    #[must_use]
    pub fn rtp(
        id: ChannelId,
        app: impl Into<String>,
        host: std::net::SocketAddr,
        format: impl Into<String>,
    ) -> Self {
        Self {
            channel_id: Some(id),
            app: app.into(),
            external_host: Some(host.to_string()),
            format: format.into(),
            ..Self::default()
        }
    }

    /// AudioSocket: Asterisk connects to `host` and introduces itself with `uuid` (18 and later).
    #[must_use]
    pub fn audiosocket(
        id: ChannelId,
        app: impl Into<String>,
        host: std::net::SocketAddr,
        uuid: impl Into<String>,
        format: impl Into<String>,
    ) -> Self {
        Self {
            encapsulation: Some("audiosocket".into()),
            transport: Some("tcp".into()),
            data: Some(uuid.into()),
            ..Self::rtp(id, app, host, format)
        }
    }

    /// WebSocket with Asterisk as the server: the reply tells the connection's id ([`Channel::websocket_connection`]), and
    /// `/media/ID` beside `/ari` is where to connect (20.16, 21.11, 22.6 and later).
    #[must_use]
    pub fn websocket_served(id: ChannelId, app: impl Into<String>, format: impl Into<String>) -> Self {
        Self {
            external_host: Some("INCOMING".into()),
            connection_type: Some("server".into()),
            ..Self::websocket(id, app, format)
        }
    }

    /// WebSocket with Asterisk as the client: it connects by the section `client` of websocket_client.conf, with
    /// `NAME=VALUE` of `parameter` added to the URI (the same versions).
    #[must_use]
    pub fn websocket_dialled(
        id: ChannelId,
        app: impl Into<String>,
        client: impl Into<String>,
        parameter: (&str, &str),
        format: impl Into<String>,
    ) -> Self {
        let (name, value) = parameter;
        Self {
            external_host: Some(client.into()),
            connection_type: Some("client".into()),
            transport_data: Some(format!("v({name}={value})")),
            ..Self::websocket(id, app, format)
        }
    }

    fn websocket(id: ChannelId, app: impl Into<String>, format: impl Into<String>) -> Self {
        Self {
            channel_id: Some(id),
            app: app.into(),
            encapsulation: Some("none".into()),
            transport: Some("websocket".into()),
            format: format.into(),
            ..Self::default()
        }
    }
}

words! {
    /// Which way audio goes, seen from the channel: in is what comes from the far end.
    Direction {
        /// Neither.
        None = "none",
        /// Both.
        Both = "both",
        /// From the far end.
        In = "in",
        /// To the far end.
        Out = "out",
    }

    /// What to do when a recording of that name exists.
    IfExists {
        /// Refuse (the default).
        Fail = "fail",
        /// Replace it.
        Overwrite = "overwrite",
        /// Add to it.
        Append = "append",
    }
}

operations! {
    /// Channels, which are the legs of calls.
    Channels;

    /// Lists them, those of other applications and of the dialplan too.
    GET "/channels" => list() -> Vec<Channel>;

    /// Calls somebody: makes a channel and dials it. It comes into the application when it is answered.
    POST "/channels" => originate(| parameters: &Originate) -> Channel;

    /// Makes a channel without dialling it; it is in the application at once. See [`dial`](Self::dial).
    POST "/channels/create" => create(| parameters: &CreateChannel) -> Channel;

    /// One of them.
    GET "/channels/{channelId}" => get(channel: &ChannelId) -> Channel;

    /// Calls somebody, with the id in the path; [`originate`](Self::originate) with `channel_id` does the same.
    POST "/channels/{channelId}" => originate_with_id(channel: &ChannelId | parameters: &Originate) -> Channel;

    /// Hangs up.
    DELETE "/channels/{channelId}" => hangup(channel: &ChannelId; reason: HangupReason = "reason") -> ();

    /// Sends the channel back into the dialplan.
    POST "/channels/{channelId}/continue" =>
        continue_in_dialplan(channel: &ChannelId | parameters: &Continue) -> ();

    /// Moves the channel to another application.
    POST "/channels/{channelId}/move" =>
        move_to(channel: &ChannelId; app: &str = "app", app_args: Option<&str> = "appArgs") -> ();

    /// Tells the far end to call somebody else instead (SIP 302, or REFER once it is answered).
    POST "/channels/{channelId}/redirect" => redirect(channel: &ChannelId; endpoint: &str = "endpoint") -> ();

    /// Answers.
    POST "/channels/{channelId}/answer" => answer(channel: &ChannelId) -> ();

    /// Lets the far end hear ringing.
    POST "/channels/{channelId}/ring" => ring(channel: &ChannelId) -> ();

    /// Stops it.
    DELETE "/channels/{channelId}/ring" => ring_stop(channel: &ChannelId) -> ();

    /// Opens the audio before the answer (20.16, 21.11, 22.6 and later).
    POST "/channels/{channelId}/progress" => progress(channel: &ChannelId) -> ();

    /// Sends keys.
    POST "/channels/{channelId}/dtmf" => dtmf(channel: &ChannelId | parameters: &Dtmf) -> ();

    /// Mutes a direction.
    POST "/channels/{channelId}/mute" => mute(channel: &ChannelId; direction: Direction = "direction") -> ();

    /// Ends that.
    DELETE "/channels/{channelId}/mute" => unmute(channel: &ChannelId; direction: Direction = "direction") -> ();

    /// Puts the far end on hold.
    POST "/channels/{channelId}/hold" => hold(channel: &ChannelId) -> ();

    /// Ends that.
    DELETE "/channels/{channelId}/hold" => unhold(channel: &ChannelId) -> ();

    /// Plays music on hold.
    POST "/channels/{channelId}/moh" => start_moh(channel: &ChannelId; class: Option<&str> = "mohClass") -> ();

    /// Stops it.
    DELETE "/channels/{channelId}/moh" => stop_moh(channel: &ChannelId) -> ();

    /// Plays silence, which keeps RTP flowing.
    POST "/channels/{channelId}/silence" => start_silence(channel: &ChannelId) -> ();

    /// Stops it.
    DELETE "/channels/{channelId}/silence" => stop_silence(channel: &ChannelId) -> ();

    /// Plays something with an id of Asterisk's choice.
    POST "/channels/{channelId}/play" => play_unnamed(channel: &ChannelId | parameters: &Play) -> Playback;

    /// Plays something with an id of ours.
    POST "/channels/{channelId}/play/{playbackId}" =>
        play(channel: &ChannelId, playback: &PlaybackId | parameters: &Play) -> Playback;

    /// Records what comes from the channel.
    POST "/channels/{channelId}/record" => record(channel: &ChannelId | parameters: &Record) -> LiveRecording;

    /// A variable or function of the channel.
    GET "/channels/{channelId}/variable" => var(channel: &ChannelId; variable: &str = "variable") -> Variable;

    /// Sets one, and says whether events show it with the channel from then on (22.10 and later). Asterisk queues it for
    /// the channel and may answer before it is set (seen on 16).
    POST "/channels/{channelId}/variable" => set_var_as(
        channel: &ChannelId; variable: &str = "variable", value: &str = "value", report: Option<bool> = "report_events"
    ) -> ();

    /// Several variables (20.20, 22.10 and later).
    GET "/channels/{channelId}/variables" => vars(channel: &ChannelId; variables: &[&str] = "variables") -> Variables;

    /// Sets several (20.20, 22.10 and later).
    POST "/channels/{channelId}/variables" =>
        set_vars(channel: &ChannelId; variables: &BTreeMap<String, String> = "variables") -> ();

    /// Makes a channel that listens to this one, with an id of Asterisk's choice.
    POST "/channels/{channelId}/snoop" => snoop_unnamed(channel: &ChannelId | parameters: &Snoop) -> Channel;

    /// The same with an id of ours.
    POST "/channels/{channelId}/snoop/{snoopId}" =>
        snoop(channel: &ChannelId, snoop: &ChannelId | parameters: &Snoop) -> Channel;

    /// Dials a channel that [`create`](Self::create) made; `timeout` in seconds.
    POST "/channels/{channelId}/dial" => dial(
        channel: &ChannelId; caller: Option<&ChannelId> = "caller", timeout: Option<u32> = "timeout"
    ) -> ();

    /// What RTP counted.
    GET "/channels/{channelId}/rtp_statistics" => rtp_statistics(channel: &ChannelId) -> RtpStatistics;

    /// Makes a channel whose audio comes to us and from us. The reply tells where Asterisk's RTP is
    /// ([`Channel::rtp_address`]); wait for its `StasisStart` before it goes into a bridge.
    POST "/channels/externalMedia" => external_media(| parameters: &ExternalMedia) -> Channel;

    /// Tells the phone that asked for a transfer how far it is: `channel_progress`, `channel_answered`, `channel_declined`,
    /// `channel_unavailable` (20.13, 21.8, 22.3 and later).
    POST "/channels/{channelId}/transfer_progress" =>
        transfer_progress(channel: &ChannelId; states: &str = "states") -> ();
}

impl Channels<'_> {
    /// Sets a variable; see [`set_var_as`](Self::set_var_as).
    ///
    /// # Errors
    ///
    /// Every [`AriError`]; its `advice()` says what to do.
    pub async fn set_var(self, channel: &ChannelId, variable: &str, value: &str) -> Result<(), AriError> {
        self.set_var_as(channel, variable, value, None).await
    }
}
