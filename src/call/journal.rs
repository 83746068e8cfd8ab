//! What a call tells whoever keeps records: notes as they happen, and turns when they are complete.
//!
//! A turn is what the caller did (or nothing, at the greeting) and what the bot said to it, with the ledger of what
//! took how long in between. It is complete when the next one begins and everything said in it has been played or
//! cut.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Heard, Snapshot};
use crate::audio::ring::PlayId;
use crate::id::CallId;
use crate::media::PlayEnd;
use crate::time::{Moment, WallTime};
use crate::turn::answer::AnswerSignal;
use crate::turn::ledger::Ledger;
use crate::turn::{By, Reasons, TurnSignal, Witness};

/// Takes notes of calls. Called from the call's task; must not block, so whatever is slow goes through a queue.
pub trait Journal: Send + Sync {
    /// Something happened on `call`.
    fn note(&self, call: CallId, note: Note);
}

/// Something that happened on a call.
#[derive(Debug, Clone)]
pub enum Note {
    /// The call was answered.
    Answered {
        /// When Asterisk had confirmed it.
        at: Moment,
    },
    /// The bot began to say something; once for each clause of what is written while it is said.
    Saying {
        /// What.
        text: String,
        /// Which play it is.
        play: PlayId,
        /// When the bot handed it over.
        at: Moment,
    },
    /// The first frame of something went out.
    Started {
        /// Which play.
        play: PlayId,
        /// When.
        at: Moment,
    },
    /// Something was played to its end or cut.
    Played {
        /// Which play.
        play: PlayId,
        /// How much of it went out.
        heard: Duration,
        /// How it ended.
        end: PlayEnd,
        /// The words that were heard of it, where that is known.
        words: Option<String>,
        /// When it was over.
        at: Moment,
    },
    /// The turn taker decided something.
    Signal(TurnSignal),
    /// Something is known of who answered a call that we made.
    Answerer(AnswerSignal),
    /// What the recogniser believes so far.
    Partial {
        /// The words.
        text: String,
    },
    /// The caller pressed a key.
    Key {
        /// Which.
        key: char,
        /// When it was released.
        at: Moment,
    },
    /// The caller has given an answer, or none.
    Heard {
        /// What.
        input: Input,
        /// When it was known.
        at: Moment,
    },
    /// The bot entered a step.
    Step {
        /// Its name.
        name: String,
        /// When.
        at: Moment,
    },
    /// What stopped the bot was nothing: it goes on from the sentence that was cut.
    Resumed {
        /// When.
        at: Moment,
    },
    /// No audio comes from Asterisk.
    Quiet {
        /// Since when.
        since: Moment,
    },
    /// Audio comes again.
    Back {
        /// Since when.
        at: Moment,
    },
    /// The caller is being transferred.
    Transfer {
        /// The destination's name.
        to: String,
        /// How far it is: `ringing`, `taken`, `left to the dialplan`, or why nobody took him.
        how: String,
        /// When.
        at: Moment,
    },
    /// The caller was promised a call.
    CallBack {
        /// As Asterisk dials it.
        dial: String,
        /// The bot that is to talk to him.
        bot: String,
        /// When.
        due: WallTime,
    },
    /// The bot has set a variable of the caller's channel.
    Result {
        /// Its name.
        name: String,
        /// Its value; [`None`] of a bot that keeps private what is said.
        value: Option<String>,
    },
    /// The other side does not want to be called again.
    OptedOut,
    /// A turn is complete.
    Turn(Box<Turn>),
    /// What another process needs to take the call up from here.
    Checkpoint(Box<Snapshot>),
}

/// What the caller did in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// He said something that was understood.
    Words {
        /// The words.
        text: String,
        /// What the grammar makes of them.
        meaning: String,
        /// From 0 to 1.
        confidence: f32,
    },
    /// He pressed keys.
    Keys(String),
    /// He said something else.
    NoMatch,
    /// Nothing.
    NoInput,
    /// The recogniser failed.
    Failed(String),
}

impl From<&Heard> for Input {
    fn from(heard: &Heard) -> Self {
        match heard {
            Heard::Words { text, meaning, confidence } => {
                Self::Words { text: text.clone(), meaning: meaning.clone(), confidence: *confidence }
            }
            Heard::Keys(keys) => Self::Keys(keys.clone()),
            Heard::NoMatch => Self::NoMatch,
            Heard::NoInput => Self::NoInput,
            Heard::Failed(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Something the bot said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// Which play it was.
    pub play: PlayId,
    /// What.
    pub text: String,
    /// How long all of it is; [`None`] when it was cut before it was made.
    pub total: Option<Duration>,
    /// How much of it went out.
    pub heard: Duration,
    /// How it ended; [`None`] while it is played.
    pub end: Option<PlayEnd>,
    /// The words that were heard of it; [`None`] where that is not known.
    pub words: Option<String>,
}

impl Spoken {
    /// Something whose playing begins now.
    #[must_use]
    pub fn new(play: PlayId, text: String) -> Self {
        Self { play, text, total: None, heard: Duration::ZERO, end: None, words: None }
    }
}

/// How the caller interrupted the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// When his voice, or the key, began.
    pub onset: Moment,
    /// When the bot's voice went down for it, if it did.
    pub ducked: Option<Moment>,
    /// When it was taken for an interruption, and playout flushed.
    pub decided: Moment,
    /// When the play had stopped.
    pub stopped: Option<Moment>,
    /// What confirmed it.
    pub by: By,
}

impl Interruption {
    /// Whether a key did it.
    #[must_use]
    pub fn by_key(&self) -> bool {
        self.by == By::Key
    }
}

/// What was prepared before it was known to be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speculation {
    /// Replies that were prepared.
    pub prepared: u32,
    /// Those that were thrown away.
    pub wasted: u32,
    /// How much of its making was done when the reply was wanted: what the caller would have waited longer.
    pub saved: Option<Duration>,
}

/// How it was decided that the caller is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Who decided.
    pub witness: Witness,
    /// What every witness said.
    pub reasons: Reasons,
}

/// Who made the audio of what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The synthesiser's name in the configuration; [`None`] for a recording.
    pub by: Option<&'static str>,
    /// From the request to the first audio; zero for what was kept.
    pub after: Duration,
}

/// One turn of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Number within the call, from 0, which is the greeting.
    pub index: u32,
    /// The step in which the bot replied.
    pub step: String,
    /// What the caller did; [`None`] at the greeting.
    pub input: Option<Input>,
    /// What the bot said to it, in order.
    pub spoken: Vec<Spoken>,
    /// How the bot was interrupted, if it was.
    pub interruption: Option<Interruption>,
    /// How often the bot's voice went down for nothing.
    pub false_ducks: u32,
    /// How often it went on from a sentence that was cut for nothing.
    pub resumed: u32,
    /// How it was decided that the caller was done; [`None`] for keys and silence.
    pub decision: Option<Decision>,
    /// What was done ahead for the reply.
    pub speculation: Speculation,
    /// Which recogniser heard it, where several could have.
    pub recognizer: Option<&'static str>,
    /// Who made what the bot said first; [`None`] where it said nothing.
    pub made: Option<Made>,
    /// What took how long.
    pub ledger: Ledger,
}

impl Turn {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            step: String::new(),
            input: None,
            spoken: Vec::new(),
            interruption: None,
            false_ducks: 0,
            resumed: 0,
            decision: None,
            speculation: Speculation::default(),
            recognizer: None,
            made: None,
            ledger: Ledger::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.spoken.iter().all(|spoken| spoken.end.is_some())
    }
}
