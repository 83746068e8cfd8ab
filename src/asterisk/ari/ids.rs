//! The ids of things in Asterisk, each a type of its own so that a bridge is never hung up as a channel.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Parameter, Request, Segment};
use crate::id::OurId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&OurId> for $name {
            fn from(id: &OurId) -> Self {
                Self(id.to_string())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Segment for $name {
            fn text(&self) -> &str {
                &self.0
            }

            fn may_be_shown(&self) -> bool {
                true
            }
        }

        impl Parameter for $name {
            fn put(&self, name: &'static str, request: &mut Request) {
                if request.subject.is_empty() {
                    self.0.clone_into(&mut request.subject);
                }
                request.parameters.insert(name.to_owned(), Value::from(self.as_str()));
            }
        }
    )+ };
}

ids! {
    /// The id of a channel; ours are [`OurId`]s as text.
    ChannelId
    /// The id of a bridge.
    BridgeId
    /// The id of a playback.
    PlaybackId
    /// The name of a recording, live or stored: its path under Asterisk's recording folder, without suffix.
    RecordingName
}
