//! How an attempt to call somebody ended, in words that a person understands.
//!
//! Asterisk tells it in three ways: the hang-up cause of the channel (Q.850, `hangup_cause_txt` and `ast_cause` in its
//! `causes.h`), `DIALSTATUS` where the dialplan dialled, and the far end's SIP status. Each has a table here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// A person answered, and the bot talked to him until one of them hung up.
    Completed,
    /// A person answered and was passed on to a person of ours.
    Transferred,
    /// A person answered, and nobody was there to talk to him: the call that the abandonment rate counts.
    Abandoned,
    /// An answering machine or voicemail answered.
    Machine,
    /// A fax or modem answered.
    Fax,
    /// The line was busy.
    Busy,
    /// It rang, and nobody answered.
    NoAnswer,
    /// The called party, or his telephone, refused the call.
    Rejected,
    /// The network or the trunk had no room.
    Congestion,
    /// The telephone is switched off, out of reach or not registered.
    Unreachable,
    /// The number does not exist, or has changed.
    BadNumber,
    /// It failed for another reason; the note says which.
    Failed,
    /// The engine died during the call, and nobody knows how it ended.
    Lost,
    /// The number came onto a do-not-call list; it was not dialled, or the called party asked for it.
    OptedOut,
    /// The campaign's last day passed before the contact was reached.
    Expired,
}

/// For which of the pauses of a campaign an outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Retry {
    /// It is settled: nobody is called again.
    Settled,
    /// After the pause of this kind.
    Busy,
    /// As above.
    NoAnswer,
    /// As above.
    Rejected,
    /// As above.
    Congestion,
    /// As above.
    Machine,
    /// As above.
    Failed,
}

impl Disposition {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 15] = [
        Self::Completed,
        Self::Transferred,
        Self::Abandoned,
        Self::Machine,
        Self::Fax,
        Self::Busy,
        Self::NoAnswer,
        Self::Rejected,
        Self::Congestion,
        Self::Unreachable,
        Self::BadNumber,
        Self::Failed,
        Self::Lost,
        Self::OptedOut,
        Self::Expired,
    ];

    /// The word in the book, in reports and in webhooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Transferred => "transferred",
            Self::Abandoned => "abandoned",
            Self::Machine => "machine",
            Self::Fax => "fax",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Rejected => "rejected",
            Self::Congestion => "congestion",
            Self::Unreachable => "unreachable",
            Self::BadNumber => "bad_number",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::OptedOut => "opted_out",
            Self::Expired => "expired",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Completed => "a person answered and talked to the bot",
            Self::Transferred => "a person answered and was passed on",
            Self::Abandoned => "a person answered, and nobody was free to talk to him",
            Self::Machine => "an answering machine answered",
            Self::Fax => "a fax or modem answered",
            Self::Busy => "the line was busy",
            Self::NoAnswer => "it rang, and nobody answered",
            Self::Rejected => "the call was refused",
            Self::Congestion => "the network or the trunk had no room",
            Self::Unreachable => "the telephone is switched off or out of reach",
            Self::BadNumber => "there is no such number",
            Self::Failed => "the call failed",
            Self::Lost => "the engine ended during the call, and how it went on is not known",
            Self::OptedOut => "the number must not be called",
            Self::Expired => "the campaign ended before anybody was reached",
        }
    }

    /// Whether somebody or something answered.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        self.is_person() || matches!(self, Self::Machine | Self::Fax)
    }

    /// Whether a person answered.
    #[must_use]
    pub const fn is_person(self) -> bool {
        matches!(self, Self::Completed | Self::Transferred | Self::Abandoned)
    }

    /// Whether the contact may be called again, and by which pause.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Busy => Retry::Busy,
            Self::NoAnswer => Retry::NoAnswer,
            Self::Rejected => Retry::Rejected,
            Self::Congestion => Retry::Congestion,
            Self::Machine => Retry::Machine,
            Self::Unreachable | Self::Failed | Self::Lost => Retry::Failed,
            // Who was called and heard nobody is not called again by a machine: the law of several countries has it so.
            Self::Completed
            | Self::Transferred
            | Self::Abandoned
            | Self::Fax
            | Self::BadNumber
            | Self::OptedOut
            | Self::Expired => Retry::Settled,
        }
    }

    /// Whether another trunk might have more luck at once.
    #[must_use]
    pub const fn may_take_another_trunk(self) -> bool {
        matches!(self, Self::Congestion)
    }

    /// What a hang-up cause of an unanswered call means. `rang` is whether it was ringing by then: a normal clearing (16) of
    /// a call that rang is ours, at the ring time-out, and of one that did not is a refusal by the network. SIP's 480, of a
    /// telephone that is off, comes as "no answer" (19) too, without ringing.
    #[must_use]
    pub fn of_cause(cause: u32, rang: bool) -> Self {
        if matches!(cause, 0 | 16 | 127) {
            return if rang { Self::NoAnswer } else { Self::Failed };
        }
        if cause == 19 && !rang {
            return Self::Unreachable;
        }
        CAUSES.iter().find(|(known, ..)| *known == cause).map_or(Self::Failed, |(_, is, _)| *is)
    }

    /// What Asterisk's `DIALSTATUS` means; [`None`] for a word that it does not have.
    #[must_use]
    pub fn of_dial_status(word: &str) -> Option<Self> {
        Some(match word {
            "ANSWER" => Self::Completed,
            "BUSY" => Self::Busy,
            "NOANSWER" | "CANCEL" => Self::NoAnswer,
            "CONGESTION" => Self::Congestion,
            "CHANUNAVAIL" => Self::Unreachable,
            "DONTCALL" | "TORTURE" => Self::Rejected,
            "INVALIDARGS" => Self::Failed,
            _ => return None,
        })
    }

    /// What a final SIP status other than success means.
    #[must_use]
    pub fn of_sip(status: u16) -> Self {
        let known = SIP.iter().find(|(known, _)| *known == status).map(|(_, is)| *is);
        known.unwrap_or(match status {
            200..300 => Self::Completed,
            300..400 => Self::BadNumber,
            500..600 => Self::Congestion,
            600.. => Self::Rejected,
            _ => Self::Failed,
        })
    }
}

/// Q.850's cause in words, for notes; [`None`] for one that the table does not have.
#[must_use]
pub fn cause_in_words(cause: u32) -> Option<&'static str> {
    CAUSES.iter().find(|(known, ..)| *known == cause).map(|(_, _, words)| *words)
}

/// Q.850 (and Asterisk's own additions above 127 left out: it never reports them for a channel).
const CAUSES: &[(u32, Disposition, &str)] = &[
    (1, Disposition::BadNumber, "unallocated number"),
    (2, Disposition::Failed, "no route to the transit network"),
    (3, Disposition::Failed, "no route to the destination"),
    (4, Disposition::BadNumber, "special information tone: the number is out of service"),
    (5, Disposition::Failed, "misdialled trunk prefix"),
    (6, Disposition::Congestion, "channel unacceptable"),
    (7, Disposition::Failed, "call awarded on an established channel"),
    (8, Disposition::Failed, "pre-empted"),
    (14, Disposition::Failed, "the number has been ported"),
    (16, Disposition::NoAnswer, "normal clearing"),
    (17, Disposition::Busy, "user busy"),
    (18, Disposition::NoAnswer, "no user responding"),
    (19, Disposition::NoAnswer, "no answer, the telephone rang"),
    (20, Disposition::Unreachable, "subscriber absent"),
    (21, Disposition::Rejected, "call rejected"),
    (22, Disposition::BadNumber, "the number has changed"),
    (23, Disposition::Failed, "redirected to a new destination"),
    (25, Disposition::Failed, "routing error between exchanges"),
    (26, Disposition::NoAnswer, "answered elsewhere"),
    (27, Disposition::Unreachable, "destination out of order"),
    (28, Disposition::BadNumber, "the number is incomplete or has a wrong format"),
    (29, Disposition::Failed, "facility rejected"),
    (30, Disposition::Failed, "answer to a status enquiry"),
    (31, Disposition::Failed, "normal, unspecified"),
    (34, Disposition::Congestion, "no circuit available"),
    (38, Disposition::Congestion, "network out of order"),
    (41, Disposition::Congestion, "temporary failure"),
    (42, Disposition::Congestion, "switching equipment congestion"),
    (43, Disposition::Failed, "access information discarded"),
    (44, Disposition::Congestion, "requested circuit not available"),
    (47, Disposition::Congestion, "resource unavailable"),
    (50, Disposition::Failed, "facility not subscribed"),
    (52, Disposition::Rejected, "outgoing calls barred"),
    (54, Disposition::Rejected, "incoming calls barred"),
    (55, Disposition::Rejected, "incoming calls barred within the group"),
    (57, Disposition::Failed, "bearer capability not authorised"),
    (58, Disposition::Congestion, "bearer capability not available now"),
    (63, Disposition::Failed, "service not available"),
    (65, Disposition::Failed, "bearer capability not implemented"),
    (66, Disposition::Failed, "channel type not implemented"),
    (69, Disposition::Failed, "facility not implemented"),
    (79, Disposition::Failed, "service not implemented"),
    (81, Disposition::Failed, "invalid call reference"),
    (87, Disposition::Rejected, "the user is no member of the group"),
    (88, Disposition::Failed, "incompatible destination"),
    (95, Disposition::Failed, "invalid message"),
    (96, Disposition::Failed, "a mandatory element is missing"),
    (97, Disposition::Failed, "message type unknown"),
    (98, Disposition::Failed, "wrong message"),
    (99, Disposition::Failed, "element unknown"),
    (100, Disposition::Failed, "invalid element"),
    (101, Disposition::Failed, "wrong state of the call"),
    (102, Disposition::NoAnswer, "recovery on timer expiry"),
    (103, Disposition::Failed, "mandatory element of a wrong length"),
    (111, Disposition::Failed, "protocol error"),
    (127, Disposition::NoAnswer, "interworking"),
];

/// SIP's final statuses; those that are not here go by their class.
const SIP: &[(u16, Disposition)] = &[
    (401, Disposition::Failed),
    (402, Disposition::Congestion),
    (403, Disposition::Rejected),
    (404, Disposition::BadNumber),
    (407, Disposition::Failed),
    (408, Disposition::NoAnswer),
    (410, Disposition::BadNumber),
    (415, Disposition::Failed),
    (423, Disposition::Failed),
    (433, Disposition::Rejected),
    (436, Disposition::Failed),
    (480, Disposition::Unreachable),
    (484, Disposition::BadNumber),
    (485, Disposition::BadNumber),
    (486, Disposition::Busy),
    (487, Disposition::NoAnswer),
    (488, Disposition::Failed),
    (500, Disposition::Congestion),
    (501, Disposition::Failed),
    (502, Disposition::Congestion),
    (503, Disposition::Congestion),
    (504, Disposition::Congestion),
    (600, Disposition::Busy),
    (603, Disposition::Rejected),
    (604, Disposition::BadNumber),
    (606, Disposition::Failed),
    (607, Disposition::Rejected),
    (608, Disposition::Rejected),
];

/// A word that is no disposition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no disposition: `offhook campaign report --help` names them")]
pub struct UnknownDisposition(pub String);

impl FromStr for Disposition {
    type Err = UnknownDisposition;

    fn from_str(word: &str) -> Result<Self, UnknownDisposition> {
        let found = Self::ALL.into_iter().find(|is| is.as_str() == word);
        found.ok_or_else(|| UnknownDisposition(word.chars().take(40).collect()))
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_that_trunks_really_send_mean_what_they_mean() {
        let is = |cause, rang| Disposition::of_cause(cause, rang);
        assert_eq!(is(17, false), Disposition::Busy);
        assert_eq!(is(19, true), Disposition::NoAnswer);
        assert_eq!(is(16, true), Disposition::NoAnswer, "our own ring time-out");
        assert_eq!(is(19, false), Disposition::Unreachable);
        assert_eq!(is(16, false), Disposition::Failed);
        assert_eq!(is(0, false), Disposition::Failed);
        assert_eq!(is(21, true), Disposition::Rejected);
        assert_eq!(is(34, false), Disposition::Congestion);
        assert_eq!(is(1, false), Disposition::BadNumber);
        assert_eq!(is(20, false), Disposition::Unreachable);
        assert_eq!(is(9_999, false), Disposition::Failed);
    }

    #[test]
    fn every_cause_is_in_the_table_once_and_in_order() {
        assert!(CAUSES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(SIP.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(cause_in_words(17), Some("user busy"));
        assert_eq!(cause_in_words(9), None);
    }

    #[test]
    fn a_sip_status_that_nobody_knows_goes_by_its_class() {
        assert_eq!(Disposition::of_sip(486), Disposition::Busy);
        assert_eq!(Disposition::of_sip(404), Disposition::BadNumber);
        assert_eq!(Disposition::of_sip(599), Disposition::Congestion);
        assert_eq!(Disposition::of_sip(699), Disposition::Rejected);
        assert_eq!(Disposition::of_sip(499), Disposition::Failed);
        assert_eq!(Disposition::of_sip(302), Disposition::BadNumber);
    }

    #[test]
    fn dial_status_and_words_read_back() {
        assert_eq!(Disposition::of_dial_status("CHANUNAVAIL"), Some(Disposition::Unreachable));
        assert_eq!(Disposition::of_dial_status("what"), None);
        for is in Disposition::ALL {
            assert_eq!(is.to_string().parse(), Ok(is));
        }
        assert!("gone".parse::<Disposition>().is_err());
    }

    #[test]
    fn who_talked_or_was_abandoned_is_settled_and_who_was_busy_is_not() {
        assert_eq!(Disposition::Completed.retry(), Retry::Settled);
        assert_eq!(Disposition::Abandoned.retry(), Retry::Settled);
        assert_eq!(Disposition::Busy.retry(), Retry::Busy);
        assert_eq!(Disposition::Lost.retry(), Retry::Failed);
        assert!(Disposition::Machine.is_answered() && !Disposition::Machine.is_person());
        assert!(Disposition::Congestion.may_take_another_trunk());
    }
}
