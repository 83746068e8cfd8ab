//! How the events are written down: each with what it carries.

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

pub(super) use events;
