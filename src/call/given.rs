//! Audio that comes from the bot itself, and ears that it has itself: for speech to speech, and for programs that bring their
//! own recogniser and synthesiser.
//!
//! Turns are taken as ever: the caller interrupts, is listened to and is done when the turn taker says so. Nobody of ours
//! recognises or speaks.

use std::sync::{Arc, Mutex, PoisonError};

use super::journal::{Input, Turn};
use super::{Call, CallError, Heard, Listen, Prompt, Said};
use crate::audio::Rate;
use crate::audio::ring::EarReader;
use crate::speech::SpeechStream;
use crate::speech::words::{first_words, heard_words};
use crate::turn::BargeIn;

/// What a bot hears with ears of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnEars {
    /// Nothing: the engine's recogniser listens.
    #[default]
    None,
    /// What the caller says while he is listened to, from shortly before he begins to the end of his turn.
    Utterances(Rate),
    /// Everything, silence too. The marks of utterances are in between.
    Everything(Rate),
}

impl OwnEars {
    /// Whether the engine's recogniser is not wanted.
    #[must_use]
    pub fn is_own(self) -> bool {
        self != Self::None
    }

    /// The sample rate that is wanted, where the call's format has that much.
    #[must_use]
    pub fn rate(self) -> Rate {
        match self {
            Self::None => Rate::Hz8000,
            Self::Utterances(rate) | Self::Everything(rate) => rate,
        }
    }
}

/// What was said, as far as somebody else knows it: filled in while a turn goes on, and put into its record. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    caller: String,
    bot: String,
}

/// No transcript of one turn is longer, in bytes: what goes beyond is left out.
const LONGEST: usize = 8_192;

impl Transcript {
    /// The caller has said this, too.
    pub fn caller(&self, text: &str) {
        append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).caller, text);
    }

    /// The bot is saying this, too.
    pub fn bot(&self, text: &str) {
        append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).bot, text);
    }

    /// What the bot has been saying so far.
    #[must_use]
    pub fn of_bot(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bot.clone()
    }

    /// Nobody is to know it.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Written::default();
    }

    /// Completes the record of the turn, and is empty for the next.
    pub(super) fn fill(&self, turn: &mut Turn) {
        let Written { caller, bot } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !caller.trim().is_empty() && matches!(turn.input, Some(Input::NoMatch)) {
            let text = caller.trim().to_owned();
            turn.input = Some(Input::Words { meaning: text.clone(), text, confidence: 1.0 });
        }
        if let Some(spoken) = turn.spoken.last_mut().filter(|_| !bot.trim().is_empty()) {
            let text = bot.trim();
            let heard = heard_words(text, &[], spoken.heard, spoken.total);
            spoken.words = Some(first_words(text, heard).to_owned());
            text.clone_into(&mut spoken.text);
        }
    }
}

fn append(to: &mut String, text: &str) {
    let room = LONGEST.saturating_sub(to.len());
    let end = (0..=text.len().min(room)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    to.push_str(&text[..end]);
}

impl Call {
    /// The caller's audio, for a bot that asked for [ears of its own](OwnEars). One reader at a time.
    #[must_use]
    pub fn ear(&self) -> Option<EarReader> {
        self.ear.clone()
    }

    /// The sample rate of what is [given](Self::say_given) to this call.
    #[must_use]
    pub fn voice_rate(&self) -> Rate {
        self.speaker.rate()
    }

    /// From now on a question that is answered by a key in the middle of its prompt ends when it is known how much of the
    /// prompt was heard, a few milliseconds later: for bots that tell somebody else.
    pub fn mind_what_is_heard(&mut self) {
        self.minds_heard = true;
    }

    /// Where the words belong that others know of this call's turns.
    pub fn transcript(&mut self) -> Transcript {
        self.book.transcript()
    }

    /// Says what comes through `sound`, at [`voice_rate`](Self::voice_rate), as [`say`](Self::say) does. `name` is what records call it.
    ///
    /// # Errors
    /// As [`say`](Self::say); an error in the stream is one of speech.
    pub async fn say_given(
        &mut self,
        name: &str,
        sound: SpeechStream,
        how: BargeIn,
    ) -> Result<Said, CallError> {
        self.given = Some(sound);
        self.converse(Some((given_prompt(name), how)), None).await?;
        Ok(self.said.clone())
    }

    /// Says what comes through `sound` and listens, as [`ask`](Self::ask) does. A stream in which nothing comes is a silence that may be
    /// answered.
    ///
    /// # Errors
    /// As [`say_given`](Self::say_given).
    pub async fn ask_given(
        &mut self,
        name: &str,
        sound: SpeechStream,
        how: BargeIn,
        listen: Listen,
    ) -> Result<Heard, CallError> {
        self.given = Some(sound);
        let heard = self.converse(Some((given_prompt(name), how)), Some(listen)).await?;
        Ok(heard.unwrap_or(Heard::NoInput))
    }
}

/// What cannot be made again is not resumed.
fn given_prompt(name: &str) -> Prompt {
    Prompt::from(name).resumed(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::journal::Spoken;
    use super::*;
    use crate::audio::ring::PlayId;

    #[test]
    fn a_turn_gets_the_words_that_somebody_else_knows_up_to_what_was_heard() {
        let transcript = Transcript::default();
        transcript.caller("sales please");
        transcript.bot("Of course. ");
        transcript.bot("I am connecting you.");
        let mut turn = Turn::new(1);
        turn.input = Some(Input::NoMatch);
        let mut spoken = Spoken::new(PlayId(1), "[model]".into());
        (spoken.total, spoken.heard) = (Some(Duration::from_secs(3)), Duration::from_millis(1_100));
        turn.spoken.push(spoken);
        transcript.fill(&mut turn);
        assert!(matches!(&turn.input, Some(Input::Words { text, .. }) if text == "sales please"));
        assert_eq!(turn.spoken[0].text, "Of course. I am connecting you.");
        assert_eq!(turn.spoken[0].words.as_deref(), Some("Of course."));
        assert_eq!(transcript.of_bot(), "", "the next turn begins with nothing");
    }

    #[test]
    fn a_transcript_does_not_grow_without_end() {
        let transcript = Transcript::default();
        (0..10_000).for_each(|_| transcript.bot("äöü "));
        assert!(transcript.of_bot().len() <= LONGEST);
    }
}
