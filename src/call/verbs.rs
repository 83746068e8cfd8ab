//! What else a bot can do with a call: variables, keys, sounds and recordings of Asterisk's, text messages.

use std::time::Duration;

use super::beside::Beside;
use super::{Call, CallError, Note};
use crate::asterisk::ari::ops::{BridgePlay, BridgeRecord, Dtmf, Message};
use crate::asterisk::ari::{AriError, PlaybackId};
use crate::asterisk::number::Plain;
use crate::id::Part;
use crate::policy::{Refusal, is_sound};
use crate::time::WallTime;

/// The longest that something of Asterisk's is played.
const LONGEST_SOUND: Duration = Duration::from_secs(600);

/// The longest text of a message, in characters.
const LONGEST_MESSAGE: usize = 1_000;

/// The most keys that are sent at once.
const MOST_KEYS: usize = 80;

impl Call {
    /// A variable or function of the caller's channel; [`None`] when it is not set.
    ///
    /// # Errors
    /// When the caller is gone or Asterisk refuses.
    pub async fn variable(&mut self, name: &str) -> Result<Option<String>, CallError> {
        let (ari, channel) = self.leg.caller();
        match ari.channels().var(channel, name).await {
            Ok(variable) => Ok(Some(variable.value).filter(|value| !value.is_empty())),
            // Asterisk says the same of a variable that is not set and of a channel that is not there.
            Err(error) if error.is_gone() && self.ears.gone.is_none() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets a variable of the caller's channel.
    ///
    /// # Errors
    /// [`CallError::Bot`] when it is no name of a variable: functions of the dialplan can do more than hold a value. When the
    /// caller is gone or Asterisk refuses.
    pub async fn set_variable(&mut self, name: &str, value: &str) -> Result<(), CallError> {
        if !is_variable(name) {
            return Err(CallError::Bot(format!(
                "`{name}` is no name of a variable: letters, digits and _ are accepted"
            )));
        }
        let (ari, channel) = self.leg.caller();
        ari.channels().set_var(channel, name, value).await?;
        self.book.note(Note::Result { name: name.to_owned(), value: Some(value.to_owned()) });
        Ok(())
    }

    /// The other side does not want to be called again: no campaign calls the number from now on.
    pub fn opt_out(&mut self) {
        self.book.note(Note::OptedOut);
    }

    /// Presses keys at the far end: digits, `*`, `#`, A to D. Comes back when they are on their way, not when they have been
    /// pressed.
    ///
    /// # Errors
    /// [`CallError::Bot`] when there is something else among them. When the caller is gone or Asterisk refuses.
    pub async fn send_keys(&mut self, keys: &str) -> Result<(), CallError> {
        let fine = |c: char| c.is_ascii_digit() || "*#ABCD".contains(c);
        if keys.is_empty() || keys.len() > MOST_KEYS || !keys.chars().all(fine) {
            return Err(CallError::Bot(format!("keys are 1 to {MOST_KEYS} of 0 to 9, *, #, and A to D")));
        }
        let (ari, channel) = self.leg.caller();
        let dtmf = Dtmf { dtmf: keys.to_owned(), ..Dtmf::default() };
        ari.channels().dtmf(channel, &dtmf).await.map_err(Into::into)
    }

    /// Plays something that Asterisk has, and waits for its end: the name of a sound as `hello-world`, or `recording:NAME`,
    /// `number:42`, `digits:42`, `characters:ab`. Nothing interrupts it.
    ///
    /// # Errors
    /// [`CallError::Bot`] when it is none of these. When the caller is gone or Asterisk refuses.
    pub async fn play_sound(&mut self, sound: &str) -> Result<(), CallError> {
        let (kind, name) = sound.split_once(':').unwrap_or(("sound", sound));
        let fine = match kind {
            "sound" | "recording" => is_sound(name),
            "number" | "digits" | "characters" => name.parse::<Plain>().is_ok(),
            _ => false,
        };
        if !fine {
            return Err(CallError::Bot(format!(
                "`{sound}` cannot be played: accepted are names of sounds, and recording:, number:, digits: and characters:"
            )));
        }
        while self.beside.try_recv().is_ok() {}
        let (ari, _) = self.leg.caller();
        let playback = PlaybackId::from(&self.leg.id(Part::Sound));
        let bridge = self.leg.main_bridge();
        let play = BridgePlay { media: vec![format!("{kind}:{name}")], ..BridgePlay::default() };
        ari.bridges().play(&bridge, &playback, &play).await?;
        let ended = async {
            loop {
                match self.beside().await? {
                    Some(Beside::Played) => return Ok(()),
                    Some(_) => {}
                    None => return Err(CallError::MediaEnded),
                }
            }
        };
        tokio::time::timeout(LONGEST_SOUND, ended).await.unwrap_or(Ok(()))
    }

    /// Lets Asterisk record what is said on the call from now on, both sides, as a WAV file of this name among its
    /// recordings; `max_seconds` of 0 is without a limit.
    ///
    /// # Errors
    /// [`CallError::Bot`] when the name is none. When Asterisk refuses: the name is taken, for instance.
    pub async fn start_recording(&mut self, name: &str, max_seconds: u32) -> Result<(), CallError> {
        if !is_sound(name) {
            return Err(CallError::Bot(format!(
                "`{name}` is no name of a recording: letters, digits and _ - . / are accepted"
            )));
        }
        let (ari, _) = self.leg.caller();
        let bridge = self.leg.main_bridge();
        let record = BridgeRecord {
            name: name.to_owned(),
            format: "wav".into(),
            max_duration_seconds: Some(max_seconds),
            ..BridgeRecord::default()
        };
        ari.bridges().record(&bridge, &record).await?;
        self.recordings.push(name.to_owned());
        Ok(())
    }

    /// Ends the recordings that this bot has begun on the call, and keeps them. What still records when the call ends is kept
    /// too.
    ///
    /// # Errors
    /// When Asterisk does not answer.
    pub async fn stop_recording(&mut self) -> Result<(), CallError> {
        for name in std::mem::take(&mut self.recordings) {
            let (ari, _) = self.leg.caller();
            match ari.recordings().stop(&name.as_str().into()).await {
                Err(error) if error.is_gone() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Promises to call the caller back, at the number that he calls from, `after` so long. The engine keeps it, also after a
    /// restart; it tries once. A second promise in a call takes the place of the first.
    ///
    /// # Errors
    /// [`CallError::Refused`] when his number is not among those that may be called back.
    pub fn call_back(&mut self, after: Duration) -> Result<(), CallError> {
        let dial = self.policy.call_back(&self.facts.caller, after)?;
        let bot = self.policy.call_back_bot().unwrap_or(&self.facts.bot).to_owned();
        let due = WallTime(WallTime::now().0 + i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2));
        self.book.note(Note::CallBack { dial, bot, due });
        Ok(())
    }

    /// Sends a text message (SIP MESSAGE) to a destination of the configuration.
    ///
    /// # Errors
    /// [`CallError::Refused`] when there is no such destination or it takes none; when Asterisk refuses.
    pub async fn message(&mut self, to: &str, text: &str) -> Result<(), CallError> {
        let destination = self.policy.find(to)?;
        let address = destination.message.as_deref().ok_or(Refusal::NoMessages)?;
        let text: String =
            text.chars().filter(|c| !c.is_control() || *c == '\n').take(LONGEST_MESSAGE).collect();
        let from = format!("sip:{}", self.leg.app());
        let message = Message { from, body: Some(text), ..Message::default() };
        let (ari, _) = self.leg.caller();
        let sent: Result<(), AriError> = ari.endpoints().send_message_to(address, &message).await;
        sent.map_err(Into::into)
    }
}

/// Whether it may be the name of a variable of a channel: no function of the dialplan.
pub(crate) fn is_variable(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.len() <= 80 && name.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_no_variable() {
        assert!(is_variable("CUSTOMER_1") && is_variable("__INHERITED"));
        for name in ["", "SHELL(rm)", "a b", "CDR(x)", "${A}", "a=b"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
