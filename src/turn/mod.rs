//! Turn taking: who speaks, when the caller is done, when the bot is interrupted.
//!
//! Deciding code only: it is fed frames and moments, answers with [`TurnSignal`]s, reads no clock, does no I/O and
//! allocates nothing per frame. A media thread runs one [`TurnTaker`] per call; a test runs an hour of it in a
//! blink.
//!
//! - [`settings`]: how to listen, and how a prompt may be interrupted;
//! - [`evidence`]: what the witnesses say, and who decided;
//! - [`vad`]: is there speech in this frame;
//! - [`loudness`]: the level of this call's noise and of its caller; [`tones`]: keys, ringback and fax, which are no speech;
//! - [`echo`]: the bot's own voice coming back; [`contour`]: pitch and level, and how a sentence ended; [`habits`]: how this
//!   caller pauses;
//! - `endpoint`: the silence that all these ask for, as a sum; `trial`: what becomes of a voice over the bot's;
//! - [`taker`]: onset, pause, endpoint, no input and barge-in out of a row of frames;
//! - [`answer`]: who answered a call that we made, a person or a machine;
//! - [`ledger`]: what one turn took, stage by stage.
//!
//! It never touches audio that goes out, and recognises nothing: it is told what recognisers believe.

use crate::time::Moment;

pub mod answer;
pub mod contour;
pub mod echo;
pub(crate) mod endpoint;
pub mod evidence;
pub mod habits;
pub mod ledger;
pub mod loudness;
pub mod settings;
#[cfg(test)]
pub(crate) mod sounds;
pub mod taker;
pub mod tones;
mod trial;
pub mod vad;
mod weights;

pub use evidence::{By, Calm, Completeness, Question, Reasons, Witness, Words};
pub use settings::{BargeIn, Listening, PackedBargeIn};
pub use taker::TurnTaker;
pub use vad::Vad;

/// What a [`TurnTaker`] has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnSignal {
    /// The caller began to speak.
    Onset {
        /// When the first voiced frame began.
        at: Moment,
    },
    /// The caller may be done.
    Pause {
        /// When the last voiced frame ended.
        speech_end: Moment,
    },
    /// He went on after a [`TurnSignal::Pause`].
    Resumed {
        /// When.
        at: Moment,
    },
    /// The caller is done. The taker is deaf until it is told to listen again.
    Endpoint {
        /// When the last voiced frame ended.
        speech_end: Moment,
        /// When that was decided.
        decided: Moment,
        /// Who decided.
        witness: Witness,
        /// What every witness said.
        reasons: Reasons,
    },
    /// He spoke for longer than is listened to; deaf as after [`TurnSignal::Endpoint`].
    TooLong {
        /// When the limit was reached.
        at: Moment,
    },
    /// Nothing was said; deaf as after [`TurnSignal::Endpoint`].
    NoInput {
        /// When the limit was reached.
        at: Moment,
    },
    /// Likely speech over what is being played: the bot's voice goes down now.
    Duck {
        /// When the voice began.
        onset: Moment,
        /// When that was decided.
        at: Moment,
    },
    /// The likely speech goes on: the bot's voice goes down until it is as good as silent, and can still come back.
    Hush {
        /// When the voice began.
        onset: Moment,
        /// When that was decided.
        at: Moment,
    },
    /// It was nothing: the bot's voice comes back to level. An utterance that began with it is taken back.
    Restore {
        /// When that was decided.
        at: Moment,
        /// What it was.
        why: Calm,
    },
    /// What is being played is to stop.
    BargeIn {
        /// When the voice, or the key, began.
        onset: Moment,
        /// When the bot's voice went down for it, if it did.
        ducked: Option<Moment>,
        /// When that was decided.
        decided: Moment,
        /// What confirmed it.
        by: By,
    },
}
