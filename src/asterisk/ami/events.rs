//! Events, with types where there is more than a map to say.

use super::message::{Message, Record as _};
use super::records::records;
use crate::time::Moment;

/// An event as it came.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When it was read.
    pub at: Moment,
    /// Its lines.
    pub message: Message,
}

impl Event {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.message.event().unwrap_or_default()
    }

    /// What it says, where it is of a kind that has a type.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        EventKind::read(&self.message)
    }
}

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident ($($wire:literal)|+) {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $kind:ty = $key:literal, )*
        }
    )+) => {
        records! { $(
            $(#[doc = $doc])+
            $name { $( $(#[doc = $field_doc])+ $field: $kind = $key, )* }
        )+ }

        /// An event by its kind.
        #[derive(Clone, PartialEq, Debug)]
        pub enum EventKind {
            $( $(#[doc = $doc])+ $name(Box<$name>), )+
            /// One that has no type here: its lines say it all.
            Other,
        }

        impl EventKind {
            /// The kind that a message's name says.
            #[must_use]
            pub fn read(message: &Message) -> Self {
                match message.event().unwrap_or_default() {
                    $( $($wire)|+ => Self::$name(Box::new($name::read(message))), )+
                    _ => Self::Other,
                }
            }
        }
    };
}

events! {
    /// Asterisk is wholly started; the first event after signing in, or the moment when its start ends.
    FullyBooted ("FullyBooted") {
        /// Seconds since the start.
        uptime: Option<u64> = "Uptime",
        /// Seconds since the last reload.
        last_reload: Option<u64> = "LastReload",
    }

    /// Asterisk ends, and this connection with it.
    Shutdown ("Shutdown") {
        /// `Cleanly` or `Uncleanly`.
        how: String = "Shutdown",
        /// Whether it starts again.
        restart: bool = "Restart",
    }

    /// A channel was made.
    Newchannel ("Newchannel") {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The id of the call that it belongs to.
        linkedid: String = "Linkedid",
        /// `Down`, `Ring`…
        state: String = "ChannelStateDesc",
        /// The caller's number.
        caller: String = "CallerIDNum",
        /// Context of the dialplan.
        context: String = "Context",
        /// The called number.
        extension: String = "Exten",
    }

    /// A channel has another state.
    Newstate ("Newstate") {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// `Up`, `Ringing`…
        state: String = "ChannelStateDesc",
    }

    /// A channel is gone.
    Hangup ("Hangup") {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The id of the call that it belongs to.
        linkedid: String = "Linkedid",
        /// Q.850 cause.
        cause: u32 = "Cause",
        /// In words.
        cause_text: String = "Cause-txt",
    }

    /// A channel calls another one.
    DialBegin ("DialBegin") {
        /// Who calls, if anybody.
        channel: Option<String> = "Channel",
        /// Its id.
        uniqueid: Option<String> = "Uniqueid",
        /// Who is called.
        dest_channel: String = "DestChannel",
        /// Its id.
        dest_uniqueid: String = "DestUniqueid",
        /// The id of its call.
        dest_linkedid: String = "DestLinkedid",
        /// What was dialled.
        dial_string: String = "DialString",
    }

    /// The end of that.
    DialEnd ("DialEnd") {
        /// Who called, if anybody.
        channel: Option<String> = "Channel",
        /// Who was called.
        dest_channel: String = "DestChannel",
        /// Its id.
        dest_uniqueid: String = "DestUniqueid",
        /// `ANSWER`, `BUSY`, `NOANSWER`, `CANCEL`, `CHANUNAVAIL`, `CONGESTION`.
        status: String = "DialStatus",
    }

    /// What became of an Originate.
    OriginateResponse ("OriginateResponse") {
        /// `Success` or `Failure`.
        response: String = "Response",
        /// The channel, when it was answered.
        channel: String = "Channel",
        /// Its id, or `<null>`.
        uniqueid: String = "Uniqueid",
        /// Why not: 0 no such thing, 1 no answer, 3 ringing timed out, 4 answered, 5 busy, 8 congestion.
        reason: u32 = "Reason",
    }

    /// A step of a call, as cel.conf asks for them.
    Cel ("CEL") {
        /// `CHAN_START`, `ANSWER`, `HANGUP`, `CHAN_END`, `LINKEDID_END`, …
        event: String = "EventName",
        /// When, in the server's time zone or as seconds since 1970, by its configuration.
        time: String = "EventTime",
        /// The channel.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "UniqueID",
        /// The id of the call that it belongs to.
        linkedid: String = "LinkedID",
        /// The caller's number.
        caller: String = "CallerIDnum",
        /// The called number.
        extension: String = "Exten",
        /// Context of the dialplan.
        context: String = "Context",
        /// The application that runs.
        application: String = "Application",
        /// And its arguments.
        data: String = "AppData",
        /// The peer, for bridges.
        peer: String = "Peer",
        /// The account code.
        account: String = "AccountCode",
        /// What the event has besides, as JSON.
        extra: String = "Extra",
    }

    /// A call detail record, as cdr_manager.conf asks for them.
    Cdr ("Cdr") {
        /// The account code.
        account: String = "AccountCode",
        /// The caller's number.
        source: String = "Source",
        /// The called number.
        destination: String = "Destination",
        /// Its context.
        context: String = "DestinationContext",
        /// The caller's name and number.
        caller_id: String = "CallerID",
        /// The caller's channel.
        channel: String = "Channel",
        /// The channel that it was connected with.
        dest_channel: String = "DestinationChannel",
        /// The last application.
        last_application: String = "LastApplication",
        /// And its arguments.
        last_data: String = "LastData",
        /// When the call began, `YYYY-MM-DD HH:MM:SS` in the server's time zone.
        start: String = "StartTime",
        /// When it was answered, empty if it was not.
        answer: String = "AnswerTime",
        /// When it ended.
        end: String = "EndTime",
        /// Seconds from start to end.
        duration: u64 = "Duration",
        /// Seconds from answer to end.
        billsec: u64 = "BillableSeconds",
        /// `ANSWERED`, `NO ANSWER`, `BUSY`, `FAILED`, `CONGESTION`.
        disposition: String = "Disposition",
        /// `DOCUMENTATION`, `BILLING`, `OMIT`.
        ama_flags: String = "AMAFlags",
        /// The channel's id.
        uniqueid: String = "UniqueID",
        /// What the dialplan put there.
        user_field: String = "UserField",
    }

    /// A member of a queue, or what changed about one.
    QueueMember ("QueueMember" | "QueueMemberAdded" | "QueueMemberRemoved" | "QueueMemberStatus" | "QueueMemberPause"
        | "QueueMemberPenalty" | "QueueMemberRinginuse") {
        /// The queue.
        queue: String = "Queue",
        /// The name of who sits there (`MemberName` of the events; lists call it `Name`).
        member_name: String = "MemberName",
        /// The same in lists.
        name: String = "Name",
        /// What rings (`Interface` of the events; lists call it `Location`).
        interface: String = "Interface",
        /// The same in lists.
        location: String = "Location",
        /// `dynamic`, `static`, `realtime`.
        membership: String = "Membership",
        /// Members of lower penalty are called first.
        penalty: u32 = "Penalty",
        /// Calls taken since it was added.
        calls_taken: u32 = "CallsTaken",
        /// When the last one ended, in seconds since 1970.
        last_call: u64 = "LastCall",
        /// Whether it talks to a caller of the queue.
        in_call: bool = "InCall",
        /// The state of its device: 1 free, 2 in use, 3 busy, 5 unavailable, 6 ringing.
        status: u32 = "Status",
        /// Whether it has a pause.
        paused: bool = "Paused",
        /// Why.
        paused_reason: String = "PausedReason",
    }

    /// Who waits in a queue: comes, goes, gives up.
    QueueCaller ("QueueCallerJoin" | "QueueCallerLeave" | "QueueCallerAbandon" | "QueueEntry") {
        /// The queue.
        queue: String = "Queue",
        /// The channel.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The caller's number.
        caller: String = "CallerIDNum",
        /// Place in the queue, from 1.
        position: u32 = "Position",
        /// How many wait.
        count: u32 = "Count",
        /// For how long, in seconds.
        hold_time: u64 = "HoldTime",
        /// The same in lists.
        wait: u64 = "Wait",
    }

    /// A channel waits for commands of Asynchronous AGI.
    AsyncAgiStart ("AsyncAGIStart") {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The AGI variables, URL-encoded lines.
        env: String = "Env",
    }

    /// The result of a command of Asynchronous AGI.
    AsyncAgiExec ("AsyncAGIExec") {
        /// The channel's name.
        channel: String = "Channel",
        /// The channel's id.
        uniqueid: String = "Uniqueid",
        /// The id that the command came with.
        command_id: String = "CommandID",
        /// The result line, URL-encoded.
        result: String = "Result",
    }

    /// A channel waits for commands no longer.
    AsyncAgiEnd ("AsyncAGIEnd") {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
    }

    /// A device has another state.
    DeviceStateChange ("DeviceStateChange") {
        /// The device.
        device: String = "Device",
        /// `NOT_INUSE`, `INUSE`, `RINGING`…
        state: String = "State",
    }

    /// A report of the far end's RTP that came, or one that Asterisk sent.
    Rtcp ("RTCPReceived" | "RTCPSent") {
        /// The channel.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// Our source.
        ssrc: String = "SSRC",
        /// `200(SR)` or `201(RR)`.
        kind: String = "PT",
        /// Round trip in seconds, where it is known.
        rtt: Option<f64> = "RTT",
        /// Packets sent so far.
        sent_packets: Option<u64> = "SentPackets",
        /// Lost ones of the first report, so far.
        lost: Option<i64> = "Report0CumulativeLost",
        /// Of 256, since the report before.
        fraction_lost: Option<u32> = "Report0FractionLost",
        /// In timestamp units.
        jitter: Option<u64> = "Report0IAJitter",
    }

    /// What a fax does at the moment.
    FaxStatus ("FAXStatus") {
        /// The channel.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// `send` or `receive`.
        operation: String = "Operation",
        /// In words.
        status: String = "Status",
        /// Our station.
        local_station: String = "LocalStationID",
    }

    /// A variable of a channel, or a global one, was set.
    VarSet ("VarSet") {
        /// The channel; empty for a global one.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The variable.
        variable: String = "Variable",
        /// Its value; old servers send its line breaks as they are.
        value: String = "Value",
    }
}

impl Hangup {
    /// Whether the call ended as calls do (normal clearing, or no cause told).
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self.cause, 0 | 16)
    }
}

impl OriginateResponse {
    /// Whether the call was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.response == "Success"
    }
}

impl QueueMember {
    /// Who it is, from an event or from a list.
    #[must_use]
    pub fn who(&self) -> &str {
        if self.member_name.is_empty() { &self.name } else { &self.member_name }
    }

    /// What rings, from an event or from a list.
    #[must_use]
    pub fn what_rings(&self) -> &str {
        if self.interface.is_empty() { &self.location } else { &self.interface }
    }
}
