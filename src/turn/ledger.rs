//! The ledger of a turn: which stage took how long between the caller's last word and the bot's first.

use crate::time::Moment;

/// When each stage of a turn was reached; [`None`] for one that the turn did not have (a key needs no endpoint, a
/// cached prompt no synthesis).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The caller's last voiced frame ended, or his last key was received.
    pub speech_end: Option<Moment>,
    /// It was decided that he is done.
    pub endpoint: Option<Moment>,
    /// The recogniser gave its final.
    pub r#final: Option<Moment>,
    /// The bot knew what to say next.
    pub reply: Option<Moment>,
    /// The first audio of the reply was there.
    pub first_audio: Option<Moment>,
    /// The first frame of the reply was sent to Asterisk.
    pub first_frame: Option<Moment>,
}

impl Ledger {
    /// The stages in their order, each with its name and its moment.
    #[must_use]
    pub fn stages(&self) -> [(&'static str, Option<Moment>); 5] {
        [
            ("endpoint", self.endpoint),
            ("final", self.r#final),
            ("reply", self.reply),
            ("first_audio", self.first_audio),
            ("first_frame", self.first_frame),
        ]
    }

    /// Milliseconds from the end of the caller's speech to `stage`.
    #[must_use]
    pub fn millis(&self, stage: Option<Moment>) -> Option<f64> {
        Some(stage?.millis_from(self.speech_end?))
    }
}
