//! What a recogniser believes, as an answer to what was asked.

use super::Heard;
use crate::speech::Hypothesis;

/// The answer that a hypothesis is; [`None`] while it is no sentence.
pub(super) fn answer(heard: &Hypothesis) -> Option<Heard> {
    Some(Heard::Words {
        text: heard.text.clone(),
        meaning: heard.meaning.clone()?,
        confidence: heard.confidence,
    })
}
