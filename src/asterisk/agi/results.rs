//! What commands are given and what they end with, where that is more than a word.

use std::time::Duration;

/// What a prompt that can be interrupted ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Played {
    /// The key that stopped it, of those that may.
    pub digit: Option<char>,
    /// Where it stopped, in samples, where Asterisk tells.
    pub endpos: Option<u64>,
}

/// Keys that were collected.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// The keys, without the `#` that ended them.
    pub digits: String,
    /// Whether the time ran out.
    pub timed_out: bool,
}

impl std::fmt::Debug for Keys {
    /// Without the keys: they may be a PIN.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("count", &self.digits.len()).field("timed_out", &self.timed_out).finish()
    }
}

/// What a channel does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelState {
    /// Down and available.
    Down,
    /// Down, but reserved.
    Reserved,
    /// Off hook.
    OffHook,
    /// Digits have been dialled.
    Dialing,
    /// The line is ringing.
    Ring,
    /// The far end is ringing.
    Ringing,
    /// Up.
    Up,
    /// Busy.
    Busy,
    /// Another of Asterisk's numbers.
    Other(i64),
}

/// How a recording ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The key that ended it.
    pub digit: Option<char>,
    /// `dtmf`, `timeout`, `hangup`, …, as Asterisk says it.
    pub why: String,
    /// Its length in samples.
    pub endpos: Option<u64>,
}

/// What a speech engine of Asterisk heard.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Heard {
    /// A key that was pressed instead.
    pub digit: Option<char>,
    /// The results, the best one first: score, words, grammar.
    pub results: Vec<(u32, String, String)>,
}

/// How a recording is to end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recording {
    /// The file without its extension.
    pub file: String,
    /// The format: `wav`.
    pub format: String,
    /// Keys that end it.
    pub escape: String,
    /// The longest; none is no limit.
    pub longest: Option<Duration>,
    /// Sample to begin at in a file that exists.
    pub offset: Option<u64>,
    /// Whether a beep is heard first.
    pub beep: bool,
    /// Silence that ends it, in seconds.
    pub silence: Option<u32>,
}

/// `TDD MODE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tdd {
    /// On.
    On,
    /// Off.
    Off,
    /// For the parties of a bridge.
    Mate,
}
