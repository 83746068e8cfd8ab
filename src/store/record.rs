//! What is kept of a call: plain data, with nothing of the rooms that fill it in.
//!
//! `Debug` of these types shows neither numbers nor what was said, so that a record that slips into a log
//! line gives nobody away.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::CallId;
use crate::time::WallTime;

/// A text of a turn is cut to this many characters when it is stored: several minutes of speech.
pub const MAX_TEXT_CHARS: usize = 4_000;

/// A snapshot may have this many bytes as JSON; a larger one is refused.
pub const MAX_SNAPSHOT_BYTES: usize = 16 * 1_024;

/// A word that is stored and that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is no {what} that this version of Offhook knows")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
}

/// An enum that is stored, shown and written to JSON as one word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every value, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL
                    .iter()
                    .find(|value| value.as_str() == word)
                    .copied()
                    .ok_or_else(|| UnknownWord { what: $what, word: word.chars().take(40).collect() })
            }
        }
    };
}

words! {
    /// Who called whom.
    Direction, "direction" {
        /// The caller called us.
        In = "in",
        /// We called out.
        Out = "out",
    }
}

words! {
    /// How a call ended.
    Disposition, "disposition" {
        /// The bot was done and hung up.
        Completed = "completed",
        /// The bot handed the caller on: to a queue, an extension, the dialplan.
        Transferred = "transferred",
        /// The caller hung up before the bot was done.
        CallerHungUp = "caller_hung_up",
        /// The bot gave up with an error; `note` says which.
        BotFailed = "bot_failed",
        /// The call had no audio, or lost it.
        MediaFailed = "media_failed",
        /// The engine was told to stop and could not wait for the call's end.
        Drained = "drained",
        /// The engine did not take the call: too many, or no bot for it.
        Refused = "refused",
        /// We called out and nobody answered in time.
        NoAnswer = "no_answer",
        /// We called out and the line was busy.
        Busy = "busy",
        /// We called out and the call could not be put through.
        Failed = "failed",
        /// The call ended while no engine was there to see how.
        Lost = "lost",
    }
}

words! {
    /// Who or what answered a call that we made.
    AnsweredBy, "who answered" {
        /// Somebody who listens.
        Person = "person",
        /// An answering machine or an announcement.
        Machine = "machine",
        /// A fax or modem.
        Fax = "fax",
        /// An exchange, which says that there is no such number.
        NoSuchNumber = "no_such_number",
        /// An exchange, which says that there was no way to it.
        NoCircuit = "no_circuit",
    }
}

words! {
    /// What the caller's part of a turn was.
    TurnKind, "kind of turn" {
        /// The bot spoke first: nothing was asked yet.
        Opening = "opening",
        /// Words that were understood.
        Voice = "voice",
        /// Keys.
        Keys = "keys",
        /// Nothing in time.
        NoInput = "no_input",
        /// Words that fitted nothing.
        NoMatch = "no_match",
    }
}

words! {
    /// What cut the bot's reply short.
    Interruption, "interruption" {
        /// The caller spoke.
        Voice = "voice",
        /// The caller pressed a key.
        Key = "key",
    }
}

/// What becomes of a call that we make and a machine answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machines {
    /// It is hung up.
    HangUp,
    /// This is said after the beep.
    Message(String),
    /// The bot talks to it as to a person: no detection.
    #[default]
    Talk,
}

/// What came of a call besides how it ended.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallOutcome {
    /// It rang where we called.
    pub rang: bool,
    /// Who answered, where we called and somebody found it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<AnsweredBy>,
    /// What is done where a machine answers: for another process that takes the call up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<Machines>,
    /// The other side does not want to be called again.
    pub opted_out: bool,
    /// The variables that the bot set on the channel.
    pub result: BTreeMap<String, String>,
}

impl fmt::Debug for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOutcome")
            .field("rang", &self.rang)
            .field("answered_by", &self.answered_by)
            .field("machines", &self.machines)
            .field("opted_out", &self.opted_out)
            .field("result", &self.result.keys())
            .finish()
    }
}

/// One call: a row of `calls`. Written whole each time that something of it is new; the last one counts.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call.
    pub id: CallId,
    /// When Asterisk handed it to us, or when we began to call out.
    pub started: WallTime,
    /// When it was answered, if it was.
    pub answered: Option<WallTime>,
    /// When it ended; [`None`] while it is up, and for ever when the engine died with nobody to adopt it.
    pub ended: Option<WallTime>,
    /// The configuration's name of the Asterisk server.
    pub server: String,
    /// The Stasis application.
    pub app: String,
    /// The bot.
    pub bot: String,
    /// Who called whom.
    pub direction: Direction,
    /// The caller's number, as far as [`Numbers`] lets it be kept.
    pub caller: Option<String>,
    /// The number that was called, as far as [`Numbers`] lets it be kept.
    pub called: Option<String>,
    /// The id of the caller's channel.
    pub leg: String,
    /// How it ended; [`None`] as long as `ended` is.
    pub disposition: Option<Disposition>,
    /// The Q.850 cause of the hangup (16 is normal clearing), when Asterisk gave one.
    pub cause: Option<u16>,
    /// One sentence on what went wrong. Must hold neither numbers nor what was said.
    pub note: Option<String>,
    /// Where the recording is, if one was made.
    pub recording: Option<String>,
    /// What the media thread counted: packets, losses, jitter, frames played late. Any JSON.
    pub media: Option<serde_json::Value>,
    /// What came of it, as far as anything did.
    pub outcome: Option<CallOutcome>,
}

impl CallRecord {
    /// A call that has just begun, with everything else still empty.
    #[must_use]
    pub fn begun(id: CallId, started: WallTime, direction: Direction) -> Self {
        Self {
            id,
            started,
            answered: None,
            ended: None,
            server: String::new(),
            app: String::new(),
            bot: String::new(),
            direction,
            caller: None,
            called: None,
            leg: String::new(),
            disposition: None,
            cause: None,
            note: None,
            recording: None,
            media: None,
            outcome: None,
        }
    }
}

impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRecord")
            .field("id", &self.id)
            .field("started", &self.started)
            .field("ended", &self.ended)
            .field("bot", &self.bot)
            .field("direction", &self.direction)
            .field("disposition", &self.disposition)
            .finish_non_exhaustive()
    }
}

/// A call in a list: the call and what its rows in other tables add up to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CallSummary {
    /// The call.
    #[serde(flatten)]
    pub call: CallRecord,
    /// How many turns are stored of it.
    pub turns: u32,
    /// Seconds that Asterisk's own records bill, where it has told them.
    pub billed_seconds: Option<u32>,
}

/// What was understood of the caller in one turn.
#[derive(Clone, PartialEq, Default, Serialize)]
pub struct Heard {
    /// The recogniser's words.
    pub text: Option<String>,
    /// What the grammar made of them.
    pub meaning: Option<String>,
    /// How sure the recogniser was, from 0 to 1.
    pub confidence: Option<f32>,
    /// The keys pressed. Leave it empty when they are a secret: what is given here is stored.
    pub keys: Option<String>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("confidence", &self.confidence).finish_non_exhaustive()
    }
}

/// What the bot said in one turn, and how much of it the caller got to hear.
#[derive(Clone, PartialEq, Default, Serialize)]
pub struct Reply {
    /// The text.
    pub text: Option<String>,
    /// How long the whole of it is, in milliseconds.
    pub total_ms: Option<u32>,
    /// How much of it was played, in milliseconds.
    pub heard_ms: Option<u32>,
    /// What cut it short, if anything did.
    pub interrupted: Option<Interruption>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("total_ms", &self.total_ms)
            .field("heard_ms", &self.heard_ms)
            .field("interrupted", &self.interrupted)
            .finish_non_exhaustive()
    }
}

/// A point that a turn passes on its way from the end of the caller's speech to the bot's voice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The engine was sure that the caller is done.
    Endpoint,
    /// The recogniser gave its final.
    Final,
    /// The bot chose its reply.
    Reply,
    /// The first samples of the reply were there.
    Audio,
    /// The first frame of the reply was sent to Asterisk. This is what the caller waits for.
    Sent,
}

impl Stage {
    /// Every stage, in the order in which a turn usually passes them.
    pub const ALL: [Self; 5] = [Self::Endpoint, Self::Final, Self::Reply, Self::Audio, Self::Sent];

    /// What a reader calls it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Final => "final",
            Self::Reply => "reply chosen",
            Self::Audio => "first audio",
            Self::Sent => "first frame",
        }
    }
}

/// When a turn passed each [`Stage`], in milliseconds from the end of the caller's speech. Work done ahead
/// makes a stage earlier than the one before it; the reply may even have been ready before the caller was
/// done (negative).
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Latencies {
    /// [`Stage::Endpoint`].
    pub endpoint_ms: Option<f64>,
    /// [`Stage::Final`].
    pub final_ms: Option<f64>,
    /// [`Stage::Reply`].
    pub reply_ms: Option<f64>,
    /// [`Stage::Audio`].
    pub audio_ms: Option<f64>,
    /// [`Stage::Sent`].
    pub sent_ms: Option<f64>,
}

impl Latencies {
    /// When the turn passed `stage`, if it did.
    #[must_use]
    pub const fn get(&self, stage: Stage) -> Option<f64> {
        match stage {
            Stage::Endpoint => self.endpoint_ms,
            Stage::Final => self.final_ms,
            Stage::Reply => self.reply_ms,
            Stage::Audio => self.audio_ms,
            Stage::Sent => self.sent_ms,
        }
    }
}

/// How a turn was taken: why the caller was believed to be done, how the bot was interrupted in its reply, and what was done
/// ahead. Kept as one JSON object.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Taking {
    /// Which witness decided that the caller is done: [`Witness::name`](crate::turn::Witness::name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// The silence that was asked for, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_ms: Option<u16>,
    /// What it is made of, in milliseconds: by words and question, the ending of the voice, this caller's habits, doubts of
    /// the words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_ms: Option<[i32; 4]>,
    /// How far the words were an answer: [`Completeness::name`](crate::turn::Completeness::name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<String>,
    /// How the voice ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// From the beginning of the voice that interrupted the reply until the bot's voice went down, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ducked_ms: Option<f64>,
    /// And until it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_ms: Option<f64>,
    /// What confirmed the interruption: [`By::name`](crate::turn::By::name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// How often the bot's voice went down for what was nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub restored: u16,
    /// Whether the bot went on with what it was interrupted in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// How much later the reply would have come, had it not been prepared ahead, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_ms: Option<f64>,
    /// Replies that were prepared for nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub wasted: u16,
    /// Which recogniser heard the caller, by its name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recognizer: Option<String>,
    /// From the endpoint to its final, in milliseconds; 0 where the final was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recognizer_ms: Option<f64>,
    /// Which synthesiser made what the bot said first, by its name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthesizer: Option<String>,
    /// From the request to its first audio, in milliseconds; 0 for what was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthesizer_ms: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// One turn of a call: a row of `turns`. May be written again when more of it is known; the last one counts.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TurnRecord {
    /// The call.
    pub call: CallId,
    /// Which turn of the call, from 0.
    pub index: u32,
    /// When the caller's speech (or the last key, or the wait) ended.
    pub at: WallTime,
    /// The bot's name of the step in its dialog.
    pub step: Option<String>,
    /// What the caller's part was.
    pub kind: TurnKind,
    /// What was understood.
    pub heard: Heard,
    /// What was answered.
    pub reply: Reply,
    /// How long it took.
    pub latencies: Latencies,
    /// How it was taken.
    pub taking: Taking,
}

/// The state of a call that is up, as another process needs it to go on with the call. The engine removes it
/// when the call ends; it may hold whatever adopting takes, so numbers too.
#[derive(Clone, PartialEq)]
pub struct Snapshot {
    /// The call.
    pub call: CallId,
    /// When it was taken.
    pub at: WallTime,
    /// The state: some hundred bytes of JSON, at most [`MAX_SNAPSHOT_BYTES`].
    pub state: serde_json::Value,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("call", &self.call).field("at", &self.at).finish_non_exhaustive()
    }
}

/// How much of phone numbers is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// As Asterisk gives them.
    #[default]
    Full,
    /// The last three digits, and never more than a third; the others become `*`.
    Masked,
    /// Nothing.
    None,
}

impl Numbers {
    /// What may be stored of `number`.
    #[must_use]
    pub fn keep(self, number: Option<String>) -> Option<String> {
        let number = number?;
        match self {
            Self::Full => Some(number),
            Self::None => None,
            Self::Masked => {
                let length = number.chars().count();
                let hidden = length - (length / 3).min(3);
                Some(number.chars().enumerate().map(|(i, c)| if i < hidden { '*' } else { c }).collect())
            }
        }
    }
}

/// Cuts what is longer than [`MAX_TEXT_CHARS`].
pub(super) fn cut(text: Option<String>) -> Option<String> {
    text.map(|mut text| {
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
            text.truncate(end);
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_number_shows_at_most_its_last_three_digits_and_at_most_a_third() {
        let masked = |number: &str| Numbers::Masked.keep(Some(number.into())).unwrap();
        assert_eq!(masked("+4930123456"), "********456");
        assert_eq!(masked("101"), "**1");
        assert_eq!(masked("7"), "*");
        assert_eq!(masked("sip:jürgen"), "*******gen");
        assert_eq!(Numbers::Full.keep(Some("101".into())).as_deref(), Some("101"));
        assert_eq!(Numbers::None.keep(Some("101".into())), None);
        assert_eq!(Numbers::Masked.keep(None), None);
    }

    #[test]
    fn debug_shows_neither_numbers_nor_words() {
        let mut call = CallRecord::begun(CallId::new(WallTime(1)), WallTime(1), Direction::In);
        call.caller = Some("4930123456".into());
        let turn = TurnRecord {
            call: call.id,
            index: 0,
            at: WallTime(1),
            step: None,
            kind: TurnKind::Voice,
            heard: Heard { text: Some("my secret".into()), keys: Some("9876".into()), ..Heard::default() },
            reply: Reply { text: Some("your secret".into()), ..Reply::default() },
            latencies: Latencies::default(),
            taking: Taking::default(),
        };
        let shown = format!("{call:?} {turn:?}");
        for secret in ["4930123456", "my secret", "9876", "your secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn every_stored_word_reads_back() {
        for disposition in Disposition::ALL {
            assert_eq!(disposition.as_str().parse(), Ok(*disposition));
        }
        assert!("vanished".parse::<Disposition>().is_err());
    }

    #[test]
    fn a_text_is_cut_at_the_limit_and_not_below_it() {
        let at = "ü".repeat(MAX_TEXT_CHARS);
        assert_eq!(cut(Some(at.clone())), Some(at.clone()));
        assert_eq!(cut(Some(format!("{at}x"))), Some(at));
    }
}
