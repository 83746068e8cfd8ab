//! What lists and single answers are read as. Fields that a server leaves out have their defaults.

use super::message::{Field, Message, Record};

/// Records by the keys of their lines.
macro_rules! records {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $kind:ty = $key:literal, )*
        }
    )+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Default)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $kind, )*
        }

        impl $crate::asterisk::ami::message::Record for $name {
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn read(message: &$crate::asterisk::ami::message::Message) -> Self {
                Self { $( $field: $crate::asterisk::ami::message::Field::read(message, $key), )* }
            }
        }

        impl std::fmt::Debug for $name {
            /// Without the values: they are numbers of callers.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+ };
}
pub(super) use records;

records! {
    /// A channel, in short.
    ChannelLine {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The id of the call that it belongs to.
        linkedid: String = "Linkedid",
        /// `Up`, `Ring`, `Ringing`, `Down`…
        state: String = "ChannelStateDesc",
        /// The caller's number.
        caller: String = "CallerIDNum",
        /// Context of the dialplan.
        context: String = "Context",
        /// Extension there.
        extension: String = "Exten",
        /// The application that runs.
        application: String = "Application",
        /// And its arguments.
        data: String = "ApplicationData",
        /// How long it is up, `HH:MM:SS`.
        duration: String = "Duration",
        /// The bridge that it is in.
        bridge: Option<String> = "BridgeId",
    }

    /// A channel.
    ChannelStatus {
        /// Its name.
        channel: String = "Channel",
        /// Its id.
        uniqueid: String = "Uniqueid",
        /// The id of the call that it belongs to.
        linkedid: String = "Linkedid",
        /// `Up`, `Ring`…
        state: String = "ChannelStateDesc",
        /// The caller's number.
        caller: String = "CallerIDNum",
        /// Since when, in seconds.
        seconds: Option<u64> = "Seconds",
        /// The bridge that it is in.
        bridge: Option<String> = "BridgeID",
        /// The codec that it is read in.
        read_format: String = "Readformat",
        /// And written in.
        write_format: String = "Writeformat",
    }

    /// A PJSIP endpoint.
    Endpoint {
        /// Its name.
        name: String = "ObjectName",
        /// Its AORs, separated by commas.
        aors: String = "Aor",
        /// Its contacts, separated by commas.
        contacts: String = "Contacts",
        /// `Not in use`, `Unavailable`…
        device_state: String = "DeviceState",
        /// `;`-separated channels, or their number, by version.
        active_channels: String = "ActiveChannels",
    }

    /// A registration of ours with somebody else; an account, of which the list has some too, has no `status`.
    Registration {
        /// Its name.
        name: String = "ObjectName",
        /// `Registered`, `Unregistered`, `Rejected`…
        status: String = "Status",
        /// Where it is made.
        server: String = "ServerUri",
        /// Seconds until it is made again.
        next: Option<u64> = "NextReg",
    }

    /// An entry of Asterisk's database.
    DatabaseEntry {
        /// `/family/key`.
        key: String = "Key",
        /// Its value.
        value: String = "Val",
    }

    /// The state of a device.
    DeviceState {
        /// The device.
        device: String = "Device",
        /// `NOT_INUSE`, `INUSE`, `RINGING`…
        state: String = "State",
    }

    /// A queue's parameters and figures.
    QueueParams {
        /// The queue.
        queue: String = "Queue",
        /// How members are chosen.
        strategy: String = "Strategy",
        /// The most callers; 0 is no limit.
        max: u32 = "Max",
        /// Callers who wait.
        calls: u32 = "Calls",
        /// Mean wait of late, in seconds.
        hold_time: u32 = "Holdtime",
        /// Mean talk of late, in seconds.
        talk_time: u32 = "TalkTime",
        /// Calls that were answered.
        completed: u32 = "Completed",
        /// Callers who gave up.
        abandoned: u32 = "Abandoned",
        /// Seconds within which a call should be answered.
        service_level: u32 = "ServiceLevel",
        /// Percentage that was.
        service_level_performance: f64 = "ServicelevelPerf",
    }

    /// A queue in figures.
    QueueTotals {
        /// The queue.
        queue: String = "Queue",
        /// Members who are signed in.
        logged_in: u32 = "LoggedIn",
        /// Members who could take a call now.
        available: u32 = "Available",
        /// Callers who wait.
        callers: u32 = "Callers",
        /// Mean wait of late, in seconds.
        hold_time: u32 = "HoldTime",
        /// The longest of those who wait now, in seconds.
        longest_hold_time: u32 = "LongestHoldTime",
    }

    /// What the fax machines of a server have done.
    FaxStats {
        /// Faxes that go on.
        current: u32 = "CurrentSessions",
        /// Reserved ones.
        reserved: u32 = "ReservedSessions",
        /// Attempts to send.
        transmit_attempts: u32 = "TransmitAttempts",
        /// Attempts to receive.
        receive_attempts: u32 = "ReceiveAttempts",
        /// Faxes that were completed.
        completed: u32 = "CompletedFAXes",
        /// And that failed.
        failed: u32 = "FailedFAXes",
    }

    /// A fax that goes on.
    FaxSession {
        /// The channel.
        channel: String = "Channel",
        /// `G.711` or `T.38`.
        technology: String = "Technology",
        /// The number of the session.
        session: String = "SessionNumber",
        /// `send` or `receive`.
        operation: String = "Operation",
        /// Its state.
        state: String = "State",
        /// Its files.
        files: String = "Files",
    }
}

/// Reads a record from any message, for events and answers that have no type here.
pub fn field<T: Field>(message: &Message, key: &str) -> T {
    T::read(message, key)
}

/// Reads all of `messages` as records.
pub fn all<'a, T: Record>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<T> {
    messages.into_iter().map(T::read).collect()
}
