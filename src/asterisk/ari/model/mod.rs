//! What Asterisk answers and reports.
//!
//! Every field that Asterisk may leave out, or that older servers do not know, has a default; `null` counts as left out; what
//! is unknown is ignored. Required is only what a thing cannot be without (the id of a channel).

mod about;
mod call;
mod event;
mod events;
mod kind;
mod parts;
mod server;
mod time;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use call::{
    Bridge, CallerId, Channel, ChannelState, Dialplan, LiveRecording, Playback, PlaybackState,
    RecordingState, RtpStatistics, StoredRecording, Variable, Variables,
};
pub use event::{Event, NotAnEvent};
pub use kind::EventKind;
pub use parts::{
    AdditionalParam, ContactInfo, Peer, ReferTo, ReferredBy, RequiredDestination, RestHeader, RestParameter,
    TextMessage,
};
pub use server::{
    Application, AsteriskInfo, AsteriskPing, BuildInfo, ConfigInfo, ConfigTuple, DeviceState, Endpoint,
    FormatLangPair, LogChannel, Mailbox, Module, SetId, Sound, StatusInfo, SystemInfo,
};
pub use time::Timestamp;

/// What can be the answer to a request. Implemented by the models, and lists of them.
pub trait Model {}

impl<T: Model> Model for Vec<T> {}

/// Declares models. `needs` cannot be left out, `has` can.
macro_rules! models {
    ($($(#[$doc:meta])* $name:ident {
        $(needs { $($(#[$need_doc:meta])* $need:ident: $need_type:ty,)+ })?
        $(has { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })?
    })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Debug, serde::Deserialize)]
            pub struct $name {
                $($($(#[$need_doc])* pub $need: $need_type,)+)?
                $($($(#[$field_doc])* #[serde(default)] pub $field: $type,)+)?
            }

            impl $crate::asterisk::ari::model::Model for $name {}
        )+

        /// The models of this file with their fields, to be compared with a server's own description.
        pub(super) const MODELS: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$($(stringify!($need),)+)? $($(stringify!($field),)+)?]),)+];
    };
}
use models;

/// Every model and event that is known here, by Asterisk's name for it where that is the same, with the names of its
/// fields: what a test compares with a running server's own description.
pub fn described() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    [call::MODELS, server::MODELS, parts::MODELS, kind::EVENTS, super::lines::DESCRIBED]
        .into_iter()
        .flatten()
        .copied()
}

/// Reads a model from the body of an answer. Never panics, whatever the bytes.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Takes the members that are null out of every object: they mean what leaving them out means.
///
/// The depth is bounded: `serde_json` refuses more than 128 levels.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any JSON of a few levels, with member names that the models know.
    fn any_json() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec![
            "type",
            "channel",
            "bridge",
            "id",
            "state",
            "args",
            "caller",
            "timestamp",
            "application",
            "channelvars",
            "duration_ms",
            "digit",
            "playback",
            "cause",
            "creationtime",
            "peer",
            "events_allowed",
            "name",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            prop::sample::select(EventKind::TYPES).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| Value::Object(
                    members.into_iter().map(|(k, v)| (k.into(), v)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn arbitrary_json_never_panics(value in any_json()) {
            let text = value.to_string();
            let _ = Event::read(text.as_bytes(), crate::time::Moment::ZERO);
            let _ = read::<Channel>(text.as_bytes());
            let _ = read::<Vec<Application>>(text.as_bytes());
            let _ = read::<AsteriskInfo>(text.as_bytes());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::read(&bytes, crate::time::Moment::ZERO);
            let _ = read::<Bridge>(&bytes);
        }
    }

    #[test]
    fn a_model_needs_only_what_it_cannot_be_without() {
        let channel: Channel = read(br#"{"id":"1.2","name":null,"new_in_24":{"a":[null]}}"#).unwrap();
        assert_eq!((channel.id.as_str(), channel.name.as_str()), ("1.2", ""));
        assert!(read::<Channel>(br#"{"name":"PJSIP/alice-1"}"#).is_err());
        let deep = "[".repeat(100_000);
        assert!(read::<Channel>(deep.as_bytes()).is_err());
    }
}
