//! Actions with types of their own: those that there is more to say of than a map of lines. Whatever is not here is sent
//! as an [`Action`].
//!
//! Every field is public and has a default; what is [`None`] is not sent.
//!
//! ```no_run
//! # async fn demo(ami: offhook::asterisk::ami::Ami) -> Result<(), offhook::asterisk::ami::AmiError> {
//! use offhook::asterisk::ami::actions::{QueueAdd, QueueStatus};
//!
//! let add = QueueAdd { queue: "sales".into(), interface: "PJSIP/alice".into(), ..QueueAdd::default() };
//! ami.run(&add).await?;
//! let state = ami.run(&QueueStatus::default()).await?;
//! # Ok(())
//! # }
//! ```

use super::AmiError;
use super::action::{Action, Reply};
use super::events::{OriginateResponse, QueueCaller, QueueMember};
use super::message::{Message, Record};
use super::records::{
    ChannelLine, ChannelStatus, DatabaseEntry, DeviceState, Endpoint, FaxSession, FaxStats, QueueParams,
    QueueTotals, Registration,
};

/// An action with a type of its own.
pub trait Command {
    /// What it is answered with.
    type Answer;

    /// The lines that are sent.
    fn action(&self) -> Action;

    /// Reads the answer.
    ///
    /// # Errors
    /// [`AmiError::Malformed`] when it has not the form that this action's answers have.
    fn read(&self, reply: Reply) -> Result<Self::Answer, AmiError>;
}

/// The name that Asterisk knows an action by.
macro_rules! wire_name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $wire:literal) => {
        $wire
    };
}

macro_rules! actions {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident $(($wire:literal))? $(ends with $last:literal)? -> $answer:ty = $read:expr, {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $kind:ty = $key:literal, )*
        }
    )+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $kind, )*
        }

        impl Command for $name {
            type Answer = $answer;

            fn action(&self) -> Action {
                #[allow(unused_mut, reason = "an action without fields adds no lines")]
                let mut action = Action::new(wire_name!($name $($wire)?))$(.ends_with_event($last))?;
                $( action.put($key, &self.$field); )*
                action
            }

            fn read(&self, reply: Reply) -> Result<$answer, AmiError> {
                let read: fn(Reply) -> Option<$answer> = $read;
                read(reply).ok_or_else(|| AmiError::Malformed {
                    action: stringify!($name).to_owned(),
                    what: "it lacks what such an answer has",
                })
            }
        }

        impl std::fmt::Debug for $name {
            /// Without the values: they are numbers, secrets and dialled endpoints.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.action().fmt(f)
            }
        }
    )+ };
}

/// Nothing but that it was done.
fn done(_: Reply) -> Option<()> {
    Some(())
}

/// All events of the list as records of one kind.
#[expect(clippy::unnecessary_wraps, reason = "it is one of the ways to read an answer")]
fn list<T: Record>(reply: Reply) -> Option<Vec<T>> {
    Some(reply.items.iter().map(T::read).collect())
}

/// Those events of the list that have this name.
fn named<T: Record>(items: &[Message], name: &str) -> Vec<T> {
    items.iter().filter(|item| item.event() == Some(name)).map(T::read).collect()
}

fn ended<T: Record>(reply: Reply) -> Option<T> {
    reply.last.as_ref().map(T::read)
}

/// A queue's parameters, its members and who waits in it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Queues {
    /// The queues.
    pub queues: Vec<QueueParams>,
    /// The members of all of them.
    pub members: Vec<QueueMember>,
    /// The callers in all of them.
    pub callers: Vec<QueueCaller>,
}

actions! {
    /// Asks whether Asterisk is there. Keeping a connection up takes none: the client does that itself.
    Ping -> () = done, {}

    /// Runs a command of the console; the answer is the lines that it prints.
    Console ("Command") -> Vec<String> = |reply| Some(reply.output().map(str::to_owned).collect()), {
        /// The command, as it is typed.
        command: String = "Command",
    }

    /// Makes a call and connects it with the dialplan (context, extension, priority) or an application. Answered when
    /// it is known whether the call was answered; other actions go on meanwhile.
    Originate ends with "OriginateResponse" -> OriginateResponse = ended, {
        /// What to call, `PJSIP/alice`. Build it from parts that were checked.
        channel: String = "Channel",
        /// Context of the dialplan.
        context: Option<String> = "Context",
        /// Extension there.
        extension: Option<String> = "Exten",
        /// Priority there, or a label.
        priority: Option<String> = "Priority",
        /// In place of the dialplan: an application.
        application: Option<String> = "Application",
        /// And its arguments.
        data: Option<String> = "Data",
        /// How long it may ring, in milliseconds; 30,000 by default.
        timeout: Option<u64> = "Timeout",
        /// What is shown to who is called: `Name <number>`.
        caller_id: Option<String> = "CallerID",
        /// Variables of the channel.
        variables: Vec<(String, String)> = "Variable",
        /// Account code of the channel.
        account: Option<String> = "Account",
        /// Connect it before it is answered.
        early_media: Option<bool> = "EarlyMedia",
        /// Codecs, separated by commas.
        codecs: Option<String> = "Codecs",
        /// The uniqueid that the channel gets.
        channel_id: Option<String> = "ChannelId",
        /// The uniqueid that the second half of a Local channel gets.
        other_channel_id: Option<String> = "OtherChannelId",
        /// Always on: otherwise Asterisk reads nothing else from us until the call is answered.
        asynchronous: Always = "Async",
    }

    /// Hangs up.
    Hangup -> () = done, {
        /// The channel's name, or `/^REGEX$/` for several.
        channel: String = "Channel",
        /// Q.850 cause: 16 is normal clearing.
        cause: Option<u32> = "Cause",
    }

    /// Sends a channel to another place of the dialplan.
    Redirect -> () = done, {
        /// The channel's name.
        channel: String = "Channel",
        /// Context to go to.
        context: String = "Context",
        /// Extension there.
        extension: String = "Exten",
        /// Priority there.
        priority: String = "Priority",
        /// A second channel, for instance who it is bridged with.
        extra_channel: Option<String> = "ExtraChannel",
        /// Where that one goes.
        extra_context: Option<String> = "ExtraContext",
        /// Extension there.
        extra_extension: Option<String> = "ExtraExten",
        /// Priority there.
        extra_priority: Option<String> = "ExtraPriority",
    }

    /// Transfers who a channel is bridged with, without asking.
    BlindTransfer -> () = done, {
        /// The channel of who transfers.
        channel: String = "Channel",
        /// Context of the dialplan.
        context: String = "Context",
        /// Extension there.
        extension: String = "Exten",
    }

    /// Begins a transfer with a consultation.
    Atxfer -> () = done, {
        /// The channel of who transfers.
        channel: String = "Channel",
        /// Context of the dialplan.
        context: Option<String> = "Context",
        /// Extension there.
        extension: String = "Exten",
    }

    /// Sets a variable of a channel, or a global one.
    Setvar -> () = done, {
        /// The channel; global where there is none.
        channel: Option<String> = "Channel",
        /// The variable or function: `CDR(userfield)`.
        variable: String = "Variable",
        /// Its value.
        value: String = "Value",
    }

    /// Reads a variable of a channel, or a global one.
    Getvar -> String = |reply| reply.get("Value"), {
        /// The channel; global where there is none.
        channel: Option<String> = "Channel",
        /// The variable or function.
        variable: String = "Variable",
    }

    /// Adds a member to a queue.
    QueueAdd -> () = done, {
        /// The queue.
        queue: String = "Queue",
        /// What rings: `PJSIP/alice`.
        interface: String = "Interface",
        /// Members of lower penalty are called first.
        penalty: Option<u32> = "Penalty",
        /// Whether it begins with a pause.
        paused: Option<bool> = "Paused",
        /// The name of who sits there.
        member_name: Option<String> = "MemberName",
        /// The device whose state counts, where it is not the interface.
        state_interface: Option<String> = "StateInterface",
    }

    /// Takes a member out of a queue.
    QueueRemove -> () = done, {
        /// The queue.
        queue: String = "Queue",
        /// The member's interface.
        interface: String = "Interface",
    }

    /// Pauses a member, or ends its pause.
    QueuePause -> () = done, {
        /// The member's interface.
        interface: String = "Interface",
        /// Pause or not.
        paused: bool = "Paused",
        /// One queue; all where there is none.
        queue: Option<String> = "Queue",
        /// Why, for reports.
        reason: Option<String> = "Reason",
    }

    /// Queues with members and callers.
    QueueStatus -> Queues = |reply| {
        Some(Queues {
            queues: named(&reply.items, "QueueParams"),
            members: named(&reply.items, "QueueMember"),
            callers: named(&reply.items, "QueueEntry"),
        })
    }, {
        /// One queue; all where there is none.
        queue: Option<String> = "Queue",
        /// One member; all where there is none.
        member: Option<String> = "Member",
    }

    /// Queues in figures.
    QueueSummary -> Vec<QueueTotals> = list, {
        /// One queue; all where there is none.
        queue: Option<String> = "Queue",
    }

    /// The channels that are up.
    CoreShowChannels -> Vec<ChannelLine> = list, {}

    /// The channels that are up, with more of each.
    Status -> Vec<ChannelStatus> = list, {
        /// One channel; all where there is none.
        channel: Option<String> = "Channel",
        /// Variables to tell, separated by commas.
        variables: Option<String> = "Variables",
    }

    /// The PJSIP endpoints.
    PjsipShowEndpoints ("PJSIPShowEndpoints") -> Vec<Endpoint> = list, {}

    /// The registrations of ours with others, and the accounts that they are made with.
    PjsipShowRegistrationsOutbound ("PJSIPShowRegistrationsOutbound") -> Vec<Registration> = list, {}

    /// Sends a NOTIFY.
    PjsipNotify ("PJSIPNotify") -> () = done, {
        /// An endpoint's name, or:
        endpoint: Option<String> = "Endpoint",
        /// a SIP address.
        uri: Option<String> = "URI",
        /// Header lines and content: `("Event", "check-sync")`.
        variables: Vec<(String, String)> = "Variable",
    }

    /// Asks the contacts of an endpoint whether they are there.
    PjsipQualify ("PJSIPQualify") -> () = done, {
        /// The endpoint's name.
        endpoint: String = "Endpoint",
    }

    /// Adds a line to the dialplan, until the next reload.
    DialplanExtensionAdd -> () = done, {
        /// The context; made if need be.
        context: String = "Context",
        /// The extension, which may be a pattern.
        extension: String = "Extension",
        /// Its priority, or `hint`.
        priority: String = "Priority",
        /// The application.
        application: String = "Application",
        /// And its arguments.
        data: Option<String> = "ApplicationData",
        /// Whether a line that is there is replaced.
        replace: Option<bool> = "Replace",
    }

    /// Takes an extension out of the dialplan.
    DialplanExtensionRemove -> () = done, {
        /// The context.
        context: String = "Context",
        /// The extension.
        extension: String = "Extension",
        /// One priority of it; all where there is none.
        priority: Option<String> = "Priority",
    }

    /// Reads an entry of Asterisk's database.
    DbGet ("DBGet") -> String = |reply| reply.items.first()?.get("Val").map(str::to_owned), {
        /// The family.
        family: String = "Family",
        /// The key.
        key: String = "Key",
    }

    /// All entries of Asterisk's database below a key. Asterisk 16 and later.
    DbGetTree ("DBGetTree") -> Vec<DatabaseEntry> = list, {
        /// The family; all where there is none.
        family: Option<String> = "Family",
        /// The beginning of the keys.
        key: Option<String> = "Key",
    }

    /// Writes an entry of Asterisk's database.
    DbPut ("DBPut") -> () = done, {
        /// The family.
        family: String = "Family",
        /// The key.
        key: String = "Key",
        /// The value.
        value: String = "Val",
    }

    /// Deletes an entry of Asterisk's database.
    DbDel ("DBDel") -> () = done, {
        /// The family.
        family: String = "Family",
        /// The key.
        key: String = "Key",
    }

    /// Deletes a family of Asterisk's database, or what is below a key of it.
    DbDelTree ("DBDelTree") -> () = done, {
        /// The family.
        family: String = "Family",
        /// The beginning of the keys.
        key: Option<String> = "Key",
    }

    /// The states of all devices.
    DeviceStateList -> Vec<DeviceState> = list, {}

    /// What the fax machines of this server have done.
    FaxStatistics ("FAXStats") ends with "FAXStats" -> FaxStats = ended, {}

    /// The faxes that go on.
    FaxSessions ("FAXSessions") -> Vec<FaxSession> = list, {}

    /// Reads configuration files again.
    Reload -> () = done, {
        /// One module, `res_pjsip.so`; all where there is none.
        module: Option<String> = "Module",
    }

    /// Starts a recording of a channel.
    MixMonitor -> () = done, {
        /// The channel.
        channel: String = "Channel",
        /// The file.
        file: String = "File",
        /// Options of the application.
        options: Option<String> = "options",
    }

    /// Presses a key on a channel.
    PlayDtmf ("PlayDTMF") -> () = done, {
        /// The channel.
        channel: String = "Channel",
        /// The key.
        digit: String = "Digit",
        /// How long, in milliseconds.
        duration: Option<u32> = "Duration",
        /// Whether the channel hears it as if its own caller had pressed it.
        receive: Option<bool> = "Receive",
    }

    /// Sends an event of one's own to all who are signed in.
    UserEvent -> () = done, {
        /// Its name.
        name: String = "UserEvent",
        /// Its lines, each a value of the key `Field`.
        fields: Vec<String> = "Field",
    }

    /// Gives a command of Asynchronous AGI to a channel; what came of it is an [`AsyncAgiExec`](super::events::AsyncAgiExec) with the same id.
    Agi ("AGI") -> () = done, {
        /// The channel.
        channel: String = "Channel",
        /// The command's line.
        command: String = "Command",
        /// An id of one's own.
        command_id: String = "CommandID",
    }

    /// Which classes of events this connection gets: `on`, `off` or `call,cdr`.
    SetEvents ("Events") -> () = done, {
        /// The classes.
        mask: String = "EventMask",
    }
}

/// Says yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Always;

impl super::action::ToValue for Always {
    fn each(&self, put: &mut dyn FnMut(String)) {
        put("true".into());
    }
}
