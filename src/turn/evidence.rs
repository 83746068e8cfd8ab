//! What speaks for and against the end of a turn, and for an interruption: the witnesses' words.

use crate::time::Moment;

/// How far what was said so far is a sentence of what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Completeness {
    /// Nobody recognises, or nothing yet.
    #[default]
    Unknown,
    /// The beginning of a sentence of the grammar.
    Incomplete,
    /// A sentence, and more may follow that makes it mean something else: two digits of "two to four".
    Complete,
    /// A sentence, and whatever may follow, it means the same: "yes" of "yes \[please\]".
    Settled,
    /// A sentence, and nothing can follow.
    Whole,
    /// Speech, but nothing of the grammar: refused so far.
    Foreign,
}

impl Completeness {
    /// One word for records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Incomplete => "incomplete",
            Self::Complete => "complete",
            Self::Settled => "settled",
            Self::Whole => "whole",
            Self::Foreign => "foreign",
        }
    }

    /// Whether it is an answer to what was asked.
    #[must_use]
    pub const fn answers(self) -> bool {
        matches!(self, Self::Complete | Self::Settled | Self::Whole)
    }
}

/// What the recogniser believes now. Small, copied.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Words {
    /// Up to where audio was recognised: the moment at which the last frame that it has was heard.
    pub at: Moment,
    /// How far they are a sentence.
    pub completeness: Completeness,
    /// How sure the recogniser is, 0 to 1.
    pub confidence: f32,
    /// How many words.
    pub count: u16,
    /// A hash of the words, by any function: it tells whether they are still the same.
    pub text: u32,
    /// The last word never ends a sentence: "and", "the", "uh".
    pub ends_open: bool,
    /// All of it is on the language's list of backchannels: "uh-huh", "okay", "ja", "oui".
    pub backchannel: bool,
    /// The recogniser was asked at a pause, and has judged whether it was said at all: its refusal and its confidence are
    /// calibrated. What it says in between, while it listens on, is not: a grammar finds itself in everything.
    pub settled: bool,
    /// Of a recogniser with an ear for turns: how sure it is that the caller is done, in percent; 0 of any other.
    pub over_percent: u8,
}

impl Words {
    /// A confidence from 0 to 1 in percent.
    #[must_use]
    pub fn percent(confidence: f32) -> u8 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let percent = (confidence.clamp(0.0, 1.0) * 100.0) as u8;
        percent
    }
}

/// What was asked: answers of different kinds have pauses of different kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Question {
    /// Yes or no.
    YesNo,
    /// A number, digit by digit.
    Digits {
        /// The fewest that are one.
        least: u8,
        /// The most.
        most: u8,
    },
    /// One of some phrases.
    Menu,
    /// Anything.
    #[default]
    Open,
}

/// How the voice went at the end of what was said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ending {
    /// Too little voice to tell, or nothing that tells.
    #[default]
    Unclear,
    /// Pitch or level fell to the end, or the voice creaked: most sentences end so.
    Falls,
    /// The pitch stayed where it was: neither.
    Level,
    /// The pitch rose: a question, or a list that goes on.
    Rises,
    /// The last sound was held at one pitch and level: "uhm", or a lengthened vowel before the next word.
    Held,
}

impl Ending {
    /// One word for records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unclear => "unclear",
            Self::Falls => "falls",
            Self::Level => "level",
            Self::Rises => "rises",
            Self::Held => "held",
        }
    }
}

/// Who decided that the caller is done: the witness without whom it would have been later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Witness {
    /// The words are a sentence to which nothing can be added.
    Whole,
    /// The words are a sentence, though more could follow.
    Complete,
    /// The words are a sentence, and what could follow would not change what they mean.
    Settled,
    /// The recogniser, which has an ear for turns, says that the caller is done.
    Turn,
    /// How the voice ended.
    Prosody,
    /// Nothing but the silence.
    #[default]
    Silence,
    /// The silence after words that are none of the grammar.
    Foreign,
    /// The silence after words that are only the beginning of a sentence.
    Incomplete,
    /// The hard limit.
    Limit,
}

impl Witness {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Whole,
        Self::Settled,
        Self::Complete,
        Self::Turn,
        Self::Prosody,
        Self::Silence,
        Self::Foreign,
        Self::Incomplete,
        Self::Limit,
    ];

    /// One word for records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Complete => "complete",
            Self::Settled => "settled",
            Self::Turn => "turn",
            Self::Prosody => "prosody",
            Self::Silence => "silence",
            Self::Foreign => "foreign",
            Self::Incomplete => "incomplete",
            Self::Limit => "limit",
        }
    }

    /// The witness of that [`name`](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|witness| witness.name() == name)
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Whole => "The answer was whole: nothing could follow it.",
            Self::Complete => "The answer was complete, and the caller said no more.",
            Self::Settled => "The answer was complete, and nothing that could follow would change it.",
            Self::Turn => "The recogniser heard by how the caller spoke that he was done.",
            Self::Prosody => "The caller's voice came to an end as sentences do.",
            Self::Silence => "The caller was silent for long enough.",
            Self::Foreign => "What the caller said was none of the answers, and he said no more.",
            Self::Incomplete => "The answer was only begun, and the caller said no more.",
            Self::Limit => "The caller was silent for as long as is ever waited.",
        }
    }
}

/// What confirmed that the caller interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// He pressed a key.
    Key,
    /// He spoke for longer than coughs and backchannels are.
    Duration,
    /// He spoke loudly and clearly, for a little less.
    Level,
    /// What he said is an answer, or the beginning of one.
    Words,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Key, Self::Duration, Self::Level, Self::Words];

    /// One word for records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Duration => "duration",
            Self::Level => "level",
            Self::Words => "words",
        }
    }

    /// That of this [`name`](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Key => "The caller pressed a key.",
            Self::Duration => "The caller spoke for longer than a cough or an \"uh-huh\" lasts.",
            Self::Level => "The caller spoke loudly and clearly.",
            Self::Words => "The caller said words that answer the question.",
        }
    }
}

/// Why the bot's voice came back to level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calm {
    /// The sound was over before it could be speech: a cough, a click.
    Short,
    /// It was an "uh-huh", or other words that ask for no stop.
    Backchannel,
    /// It was words that answer nothing, and they are over.
    Foreign,
    /// The bot's play ended, or another began, before it was decided.
    PlayOver,
}

impl Calm {
    /// One word for records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Backchannel => "backchannel",
            Self::Foreign => "foreign",
            Self::PlayOver => "play_over",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Short => "It was a sound too short for speech.",
            Self::Backchannel => "It was an \"uh-huh\": the caller listens on.",
            Self::Foreign => "It was no answer, and it is over.",
            Self::PlayOver => "The prompt was over first.",
        }
    }
}

/// What each witness said when the endpoint was decided: a sum. The caller's silence had to reach
/// `base + ending + habit + doubt` milliseconds, at least 100 and at most the limit of the
/// [`Listening`](super::Listening); small enough to be kept with every turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reasons {
    /// What the words were.
    pub completeness: Completeness,
    /// How sure the recogniser was, in percent; 0 without words.
    pub confidence_percent: u8,
    /// Whether the last word never ends a sentence.
    pub ends_open: bool,
    /// How the voice ended.
    pub ending: Ending,
    /// The silence that was asked for, in milliseconds.
    pub needed_ms: u16,
    /// What completeness and question alone ask for, in milliseconds.
    pub base_ms: i16,
    /// What the ending of the voice added, in milliseconds; negative for less.
    pub ending_ms: i16,
    /// What this caller's pauses so far added, and how much he has said, in milliseconds; negative for less.
    pub habit_ms: i16,
    /// What doubts of the hypothesis added (its confidence, whether it was judged, digits faster than people say them, noise),
    /// and what a recogniser with an ear for turns took off, in milliseconds; negative for less.
    pub doubt_ms: i16,
}
