//! How an answered call is listened to: every setting, with its unit and what it was chosen by.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Party;
use crate::turn::vad::Kind;

/// Settings of the detector of persons and machines. All times in milliseconds; read from a table of TOML or an object of
/// JSON, where every key may be left out and an unknown one is an error.
///
/// The thresholds were fitted on the tuning half of the corpus of `offhook bench answers` (`--fit`, three seeds of it), and rounded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSettings {
    /// The detector of speech: `webrtc`, `level` or `neural`.
    #[serde(serialize_with = "write_kind", deserialize_with = "read_kind")]
    pub detector: Kind,
    /// Voice that is shorter than this is a click, or the edge of a tone.
    pub shortest_voice_ms: u32,
    /// A greeting with no more voice than this is short: "hello?", a name.
    pub short_greeting_ms: u32,
    /// After a short greeting, silence of this length means that a person waits for an answer.
    pub short_pause_ms: u32,
    /// A greeting with so much voice or more is long: "Good morning, Porter and Sons, how can I help you?"
    pub long_greeting_ms: u32,
    /// After a long greeting, silence of this length means a person; between a short greeting and a long one it grows in a
    /// straight line. Machines go on, or beep, within it.
    pub long_pause_ms: u32,
    /// So much less silence is asked for when the voice rose at the end, as in a question.
    pub rising_ms: u32,
    /// More voice than this, without such a silence in it, is a machine's.
    pub machine_greeting_ms: u32,
    /// So much voice without a pause of 120 ms in it is a machine's too.
    pub machine_stretch_ms: u32,
    /// A pause of this length in a greeting is one between sentences; commas are shorter.
    pub sentence_pause_ms: u32,
    /// More voice than this with such a pause in it is a machine's: persons do not say several sentences.
    pub machine_sentences_ms: u32,
    /// Silence of this length after the answer is told as [`Silence`](super::AnswerSignal::Silence); it is no verdict.
    pub initial_silence_ms: u32,
    /// So long after the answer, or after the last ringback in it, there is a verdict, whatever was heard.
    pub limit_ms: u32,
    /// Whom the verdict at the limit takes the other side for: `person` or `machine`.
    pub unsure: Party,
    /// The same where the ringback does not end.
    pub ringing_limit_ms: u32,
    /// A tone that is shorter than this is no beep.
    pub beep_shortest_ms: u32,
    /// A tone that is longer than this is none either.
    pub beep_longest_ms: u32,
    /// A beep is over when so much time has passed without another one.
    pub beep_settle_ms: u32,
    /// Silence of this length after a machine's greeting is taken for the place where a message begins.
    pub message_silence_ms: u32,
    /// So long after the verdict "machine" nobody waits for that place any more: a message may begin.
    pub message_limit_ms: u32,
    /// After the verdict "person", a beep or words that only machines say revise it for so long.
    pub revise_ms: u32,
    /// Whether a recogniser hears along where there is one: what is said tells who says it. English alone is heard.
    pub words: bool,
    /// After "hello?", "yes?" and the like, known by the words, silence of this length means a person.
    pub greeting_pause_ms: u32,
    /// After "you have reached" and the like, with which machines begin and receptionists, silence of this length does.
    pub opening_pause_ms: u32,
    /// Where the words heard are a person's, one with another, so much more voice than else makes a machine.
    pub words_patience_ms: u32,
    /// Where there is noise behind the voice, so much more of it than else makes a machine.
    pub noise_patience_ms: u32,
    /// Words make a machine of nobody who has said less than this: noise behind "hello?" is heard as anything.
    pub words_voice_ms: u32,
    /// Where the words heard are more a machine's than a person's, more voice than this is a machine's.
    pub likely_machine_ms: u32,
    /// What machines and persons say, by language; for the recogniser, where there is one. A language that is given replaces
    /// the list that is built in for it.
    pub phrases: BTreeMap<String, Phrases>,
}

/// What is said in one language by machines alone, and by persons alone: beginnings of words count, case and punctuation do
/// not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phrases {
    /// What machines say.
    pub machine: Vec<String>,
    /// What persons say.
    pub person: Vec<String>,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self {
            detector: Kind::Webrtc,
            shortest_voice_ms: 80,
            short_greeting_ms: 700,
            short_pause_ms: 520,
            long_greeting_ms: 1_000,
            long_pause_ms: 1_500,
            rising_ms: 120,
            machine_greeting_ms: 4_200,
            machine_stretch_ms: 2_100,
            sentence_pause_ms: 460,
            machine_sentences_ms: 2_400,
            initial_silence_ms: 4_000,
            limit_ms: 8_000,
            unsure: Party::Person,
            ringing_limit_ms: 60_000,
            beep_shortest_ms: 120,
            beep_longest_ms: 2_500,
            beep_settle_ms: 220,
            message_silence_ms: 2_400,
            message_limit_ms: 60_000,
            revise_ms: 20_000,
            words: true,
            greeting_pause_ms: 360,
            opening_pause_ms: 1_800,
            words_patience_ms: 600,
            noise_patience_ms: 600,
            words_voice_ms: 600,
            likely_machine_ms: 2_000,
            phrases: BTreeMap::new(),
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{key}` = {value} {what}: {instead}")]
pub struct BadSetting {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: u32,
    /// What is wrong with it.
    pub what: &'static str,
    /// What to do.
    pub instead: String,
}

impl AnswerSettings {
    /// Looks for settings that contradict each other.
    ///
    /// # Errors
    /// The first of them, with what would be accepted.
    pub fn check(&self) -> Result<(), BadSetting> {
        let pairs = [
            ("short_greeting_ms", self.short_greeting_ms, "long_greeting_ms", self.long_greeting_ms),
            (
                "machine_sentences_ms",
                self.machine_sentences_ms,
                "machine_greeting_ms",
                self.machine_greeting_ms,
            ),
            ("short_pause_ms", self.short_pause_ms, "long_pause_ms", self.long_pause_ms),
            ("rising_ms", self.rising_ms, "short_pause_ms", self.short_pause_ms),
            ("beep_shortest_ms", self.beep_shortest_ms, "beep_longest_ms", self.beep_longest_ms),
            ("initial_silence_ms", self.initial_silence_ms, "limit_ms", self.limit_ms),
        ];
        for (key, value, other, most) in pairs {
            if value > most {
                let instead = format!("give at most {most}, or raise {other}");
                return Err(BadSetting { key, value, what: "is too long", instead });
            }
        }
        let least = [
            ("shortest_voice_ms", self.shortest_voice_ms, 20),
            ("short_pause_ms", self.short_pause_ms, 100),
            ("greeting_pause_ms", self.greeting_pause_ms, 100),
            ("limit_ms", self.limit_ms, 500),
            // What is shorter happens in every vowel.
            ("beep_shortest_ms", self.beep_shortest_ms, 80),
        ];
        for (key, value, least) in least {
            if value < least {
                let instead = format!("give at least {least}");
                return Err(BadSetting { key, value, what: "is too short", instead });
            }
        }
        Ok(())
    }
}

fn write_kind<S: Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.name())
}

fn read_kind<'a, D: Deserializer<'a>>(from: D) -> Result<Kind, D::Error> {
    let name = String::deserialize(from)?;
    Kind::named(&name).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "no detector of speech is called {name}: give webrtc, level or neural"
        ))
    })
}

/// The numbers of the settings, as the judge wants them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) shortest_voice: Duration,
    pub(crate) short_greeting: Duration,
    pub(crate) short_pause: Duration,
    pub(crate) long_greeting: Duration,
    pub(crate) long_pause: Duration,
    pub(crate) rising: Duration,
    pub(crate) machine_greeting: Duration,
    pub(crate) machine_stretch: Duration,
    pub(crate) sentence_pause: Duration,
    pub(crate) machine_sentences: Duration,
    pub(crate) initial_silence: Duration,
    pub(crate) limit: Duration,
    pub(crate) unsure: Party,
    pub(crate) ringing_limit: Duration,
    pub(crate) beep_shortest: Duration,
    pub(crate) beep_longest: Duration,
    pub(crate) beep_settle: Duration,
    pub(crate) message_silence: Duration,
    pub(crate) message_limit: Duration,
    pub(crate) revise: Duration,
    pub(crate) greeting_pause: Duration,
    pub(crate) opening_pause: Duration,
    pub(crate) words_patience: Duration,
    pub(crate) noise_patience: Duration,
    pub(crate) words_voice: Duration,
    pub(crate) likely_machine: Duration,
}

impl From<&AnswerSettings> for Limits {
    fn from(from: &AnswerSettings) -> Self {
        let ms = |millis: u32| Duration::from_millis(millis.into());
        Self {
            shortest_voice: ms(from.shortest_voice_ms),
            short_greeting: ms(from.short_greeting_ms),
            short_pause: ms(from.short_pause_ms),
            long_greeting: ms(from.long_greeting_ms),
            long_pause: ms(from.long_pause_ms),
            rising: ms(from.rising_ms),
            machine_greeting: ms(from.machine_greeting_ms),
            machine_stretch: ms(from.machine_stretch_ms),
            sentence_pause: ms(from.sentence_pause_ms),
            machine_sentences: ms(from.machine_sentences_ms),
            initial_silence: ms(from.initial_silence_ms),
            limit: ms(from.limit_ms),
            unsure: from.unsure,
            ringing_limit: ms(from.ringing_limit_ms),
            beep_shortest: ms(from.beep_shortest_ms),
            beep_longest: ms(from.beep_longest_ms),
            beep_settle: ms(from.beep_settle_ms),
            message_silence: ms(from.message_silence_ms),
            message_limit: ms(from.message_limit_ms),
            revise: ms(from.revise_ms),
            greeting_pause: ms(from.greeting_pause_ms),
            opening_pause: ms(from.opening_pause_ms),
            words_patience: ms(from.words_patience_ms),
            noise_patience: ms(from.noise_patience_ms),
            words_voice: ms(from.words_voice_ms),
            likely_machine: ms(from.likely_machine_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_toml_and_an_unknown_key_is_an_error() {
        let some: AnswerSettings =
            toml::from_str("detector = \"neural\"\nunsure = \"machine\"\nlimit_ms = 5000").expect("settings");
        assert_eq!((some.detector, some.unsure, some.limit_ms), (Kind::Neural, Party::Machine, 5_000));
        assert_eq!(some.short_pause_ms, AnswerSettings::default().short_pause_ms);
        for wrong in ["limit = 5000", "detector = \"ears\"", "[phrases.en]\nrobot = []"] {
            assert!(toml::from_str::<AnswerSettings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_agree_with_each_other_and_contradictions_are_named() {
        assert_eq!(AnswerSettings::default().check(), Ok(()));
        let wrong = AnswerSettings { short_pause_ms: 2_000, ..AnswerSettings::default() };
        let error = wrong.check().expect_err("the short pause is longer than the long one");
        assert_eq!(error.key, "short_pause_ms");
        assert!(error.to_string().contains("raise long_pause_ms"), "{error}");
    }

    #[test]
    fn settings_survive_being_written() {
        let json = serde_json::to_string(&AnswerSettings::default()).expect("plain values");
        assert_eq!(
            serde_json::from_str::<AnswerSettings>(&json).expect("what was written"),
            AnswerSettings::default()
        );
    }
}
