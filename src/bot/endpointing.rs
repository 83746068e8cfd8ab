//! How soon a caller is believed to be done, in the words of files and messages.

use serde::{Deserialize, Serialize};

use crate::turn::Listening;

/// How soon the caller is believed to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Endpointing {
    /// Soon: for short answers.
    Eager,
    /// As it suits most.
    #[default]
    Balanced,
    /// Late: for people who think while they speak.
    Patient,
}

impl Endpointing {
    /// What it means for the turn taker.
    pub(super) const fn listening(self) -> Listening {
        match self {
            Self::Eager => Listening::EAGER,
            Self::Balanced => Listening::BALANCED,
            Self::Patient => Listening::PATIENT,
        }
    }
}
