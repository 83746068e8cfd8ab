//! Speech over ElevenLabs' WebSocket, `/v1/text-to-speech/VOICE/stream-input`.
//!
//! Written from <https://elevenlabs.io/docs/api-reference/websocket> as of November 2026. A first message with a blank opens the
//! stream, the text follows, and an empty text ends it; audio comes as base64, `ulaw_8000` for telephone calls and `pcm_16000` for
//! wide ones, each piece with the times of its characters, counted from the piece's beginning. The service closes the socket
//! after a text, so each has its own.
//!
//! Cancelling: the socket is closed, which is what the service asks for.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::duplex::{self, Duplex, Piece, Place, Tongue};
use super::{SpeechStream, Synthesizer, Utterance};
use crate::audio::Rate;
use crate::service::{Deadlines, Key, ServiceError, Web};

/// How to ask for speech.
#[derive(Debug, Clone)]
pub struct ElevenLabsConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// The address, without `/v1`.
    pub url: String,
    /// The key.
    pub key: Key,
    /// Which model, `eleven_flash_v2_5`.
    pub model: String,
    /// The id of the voice where an utterance names none.
    pub voice: String,
    /// The language, `en`, for models that take one.
    pub language: Option<String>,
    /// Requests at once.
    pub at_once: usize,
    /// What else is sent with the first message: `voice_settings`.
    pub options: Map<String, Value>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks over ElevenLabs. One for the whole engine.
pub struct ElevenLabsSynthesizer {
    config: ElevenLabsConfig,
    duplex: Duplex,
}

impl ElevenLabsSynthesizer {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: ElevenLabsConfig, web: Web) -> Self {
        let duplex = Duplex::new(config.name, web, config.deadlines, config.at_once);
        Self { config, duplex }
    }
}

impl Synthesizer for ElevenLabsSynthesizer {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let config = &self.config;
        let (service, rate) = (config.name, utterance.rate);
        let voice = utterance.voice.as_deref().unwrap_or(&config.voice);
        let format = if rate == Rate::Hz8000 { "ulaw_8000" } else { "pcm_16000" };
        // The whole text is there: no schedule of chunks is waited for (`auto_mode`), and times are sent with the audio.
        let mut query = vec![
            ("model_id", &*config.model),
            ("output_format", format),
            ("auto_mode", "true"),
            ("sync_alignment", "true"),
        ];
        query.extend(config.language.as_deref().map(|language| ("language_code", language)));
        let path = format!("/v1/text-to-speech/{}/stream-input", duplex::escaped(voice));
        let place = Place {
            url: duplex::address(&config.url, &path, &query),
            headers: config.key.header("").map(|key| ("xi-api-key", key)).into_iter().collect(),
        };
        let (text, options) = (utterance.text.clone(), config.options.clone());
        self.duplex.speak(utterance, place, move || Speaking {
            service,
            text: text.clone(),
            options: options.clone(),
            rate,
            word: None,
        })
    }
}

/// One text.
struct Speaking {
    service: &'static str,
    text: String,
    options: Map<String, Value>,
    rate: Rate,
    /// When the last character of the word under way ends, counted from the piece that it is in.
    word: Option<Duration>,
}

impl Tongue for Speaking {
    fn open(&mut self) -> Vec<Message> {
        let mut first = self.options.clone();
        first.insert("text".to_owned(), json!(" "));
        // It wants a blank behind the last word.
        let text = json!({ "text": format!("{} ", self.text.trim_end()), "flush": true });
        [Value::Object(first), text, json!({ "text": "" })]
            .map(|message| Message::text(message.to_string()))
            .into()
    }

    fn hear(&mut self, message: &Message) -> Result<Vec<Piece>, ServiceError> {
        let Some(json) = duplex::json(self.service, message)? else { return Ok(Vec::new()) };
        if json.get("error").or_else(|| json.get("code")).is_some_and(|error| !error.is_null()) {
            return Err(self.error(&json));
        }
        let mut pieces = Vec::new();
        let ends = self.ends(&json["alignment"]);
        if !ends.is_empty() {
            pieces.push(Piece::EndsHere(ends));
        }
        if let Some(audio) = json["audio"].as_str().filter(|audio| !audio.is_empty()) {
            let audio = duplex::base64(self.service, audio)?;
            pieces.push(match self.rate {
                Rate::Hz8000 => Piece::Ulaw(audio),
                Rate::Hz16000 => Piece::Linear(audio, 16_000),
            });
        }
        if json["isFinal"] == true || json["is_final"] == true {
            // The last word has no blank behind it.
            if self.word.take().is_some() {
                pieces.push(Piece::EndsHere(vec![Duration::ZERO]));
            }
            pieces.push(Piece::Done);
        }
        Ok(pieces)
    }

    fn stop(&mut self) -> Option<Message> {
        None
    }

    fn is_stopped(&mut self, _: Option<&Message>) -> bool {
        false
    }

    fn is_reusable(&self) -> bool {
        false
    }
}

impl Speaking {
    /// When words end in a piece, by the times of its characters.
    fn ends(&mut self, alignment: &Value) -> Vec<Duration> {
        let array = |names: &[&str]| names.iter().find_map(|name| alignment[*name].as_array());
        let (Some(chars), Some(starts), Some(lengths)) = (
            array(&["chars"]),
            array(&["charStartTimesMs", "char_start_times_ms"]),
            array(&["charDurationsMs", "charsDurationsMs", "char_durations_ms"]),
        ) else {
            return Vec::new();
        };
        // A word that began in the piece before ends no earlier than this one begins.
        if self.word.is_some() {
            self.word = Some(Duration::ZERO);
        }
        let mut ends = Vec::new();
        for ((char, start), length) in chars.iter().zip(starts).zip(lengths) {
            let blank = char.as_str().is_none_or(|char| char.trim().is_empty());
            match (blank, duplex::span(start, 1e-3), duplex::span(length, 1e-3)) {
                (true, ..) => ends.extend(self.word.take()),
                (false, Some(start), Some(length)) => self.word = Some(start + length),
                _ => {}
            }
        }
        ends
    }

    fn error(&self, json: &Value) -> ServiceError {
        let what = duplex::said(json, &["message", "error"]);
        let service = self.service;
        let kind = json["error"].as_str().unwrap_or_default();
        if ["invalid_api_key", "unauthorized", "missing_permissions"]
            .iter()
            .any(|refused| kind.contains(refused))
        {
            ServiceError::Refused { service, what }
        } else if ["quota_exceeded", "too_many", "rate_limit", "max_concurrent"]
            .iter()
            .any(|much| kind.contains(much))
        {
            ServiceError::TooMany { service, what, retry_after: None }
        } else if json["code"] == 1008 {
            ServiceError::Rejected { service, what }
        } else {
            ServiceError::Broken { service, what }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaking(rate: Rate) -> Speaking {
        Speaking { service: "eleven", text: "Hi there.".into(), options: Map::new(), rate, word: None }
    }

    #[test]
    fn the_times_of_characters_become_those_of_words() {
        let mut speaking = speaking(Rate::Hz8000);
        let mut hear = |text: &str| speaking.hear(&Message::text(text)).unwrap();
        let ms = |millis: &[u64]| millis.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        let first = r#"{"audio":"////","isFinal":null,"alignment":{"chars":["H","i"," ","t"],"charStartTimesMs":[0,50,120,150],"charDurationsMs":[50,70,30,40]}}"#;
        assert_eq!(hear(first), [Piece::EndsHere(ms(&[120])), Piece::Ulaw(vec![255; 3])]);
        let rest = r#"{"audio":"////","alignment":{"chars":["h","e","r","e","."," "],"charStartTimesMs":[0,10,20,30,40,50],"charsDurationsMs":[10,10,10,10,9,5]}}"#;
        assert_eq!(hear(rest), [Piece::EndsHere(ms(&[49])), Piece::Ulaw(vec![255; 3])]);
        assert_eq!(hear(r#"{"audio":null,"isFinal":true}"#), [Piece::Done]);
    }

    #[test]
    fn a_text_is_opened_said_and_ended_and_errors_are_told_by_kind() {
        let mut speaking = speaking(Rate::Hz16000);
        let sent: Vec<String> =
            speaking.open().into_iter().map(|message| message.into_text().unwrap().to_string()).collect();
        assert_eq!(sent, [r#"{"text":" "}"#, r#"{"flush":true,"text":"Hi there. "}"#, r#"{"text":""}"#]);
        let mut error = |text: &str| speaking.hear(&Message::text(text)).unwrap_err();
        assert!(matches!(
            error(r#"{"message":"Bad key","error":"invalid_api_key","code":1008}"#),
            ServiceError::Refused { .. }
        ));
        assert!(matches!(
            error(r#"{"message":"None left","error":"quota_exceeded","code":1008}"#),
            ServiceError::TooMany { .. }
        ));
        assert!(matches!(
            error(r#"{"message":"No voice","error":"voice_id_does_not_exist","code":1008}"#),
            ServiceError::Rejected { .. }
        ));
    }
}
