//! Why a channel is hung up.

use serde_json::Value;

use crate::asterisk::ari::operation::{Parameter, Request};

/// Why a channel is hung up: what the far end is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HangupReason {
    /// The call is over.
    #[default]
    Normal,
    /// The callee is busy.
    Busy,
    /// No circuit, or no capacity.
    Congestion,
    /// Nobody answered.
    NoAnswer,
    /// Nobody answered in time.
    Timeout,
    /// The call is not wanted.
    Rejected,
    /// There is no such number.
    Unallocated,
    /// The call is over, in a way that has no number.
    NormalUnspecified,
    /// The number is not complete.
    NumberIncomplete,
    /// No codec fits.
    CodecMismatch,
    /// Something between two networks.
    Interworking,
    /// Something failed here.
    Failure,
    /// Another phone answered.
    AnsweredElsewhere,
    /// A Q.850 cause by its number. Asterisk 16 knows only those that have a word above and takes others as normal.
    Cause(u8),
}

impl HangupReason {
    fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Normal => "normal",
            Self::Busy => "busy",
            Self::Congestion => "congestion",
            Self::NoAnswer => "no_answer",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Unallocated => "unallocated",
            Self::NormalUnspecified => "normal_unspecified",
            Self::NumberIncomplete => "number_incomplete",
            Self::CodecMismatch => "codec_mismatch",
            Self::Interworking => "interworking",
            Self::Failure => "failure",
            Self::AnsweredElsewhere => "answered_elsewhere",
            // Where there is a word, old servers understand it too.
            Self::Cause(cause) => return word_of_cause(cause),
        })
    }
}

/// The word that means a Q.850 cause.
fn word_of_cause(cause: u8) -> Option<&'static str> {
    Some(match cause {
        1 => "unallocated",
        16 => "normal",
        17 => "busy",
        18 => "timeout",
        19 => "no_answer",
        21 => "rejected",
        26 => "answered_elsewhere",
        28 => "number_incomplete",
        31 => "normal_unspecified",
        34 => "congestion",
        38 => "failure",
        58 => "codec_mismatch",
        127 => "interworking",
        _ => return None,
    })
}

impl Parameter for HangupReason {
    fn put(&self, name: &'static str, request: &mut Request) {
        match (self.word(), self) {
            // Asterisk takes the number as text.
            (None, Self::Cause(cause)) => {
                request.parameters.insert("reason_code".to_owned(), Value::from(cause.to_string()));
            }
            (word, _) => word.put(name, request),
        }
    }
}
