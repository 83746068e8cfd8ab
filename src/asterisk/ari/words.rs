//! Words that Asterisk uses for states and choices, as enums that keep what they do not know.

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $wire:literal,)+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$word_doc])* $variant,)+
            /// A word that is not known here.
            Other(String),
        }

        impl $name {
            /// The words that are known here.
            pub const WORDS: &'static [&'static str] = &[$($wire),+];

            /// Asterisk's word for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $wire,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($wire => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(from)?.as_str()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl $crate::asterisk::ari::operation::Parameter for $name {
            fn put(&self, name: &'static str, request: &mut $crate::asterisk::ari::operation::Request) {
                self.as_str().put(name, request);
            }
        }
    )+ };
}

pub(super) use words;
