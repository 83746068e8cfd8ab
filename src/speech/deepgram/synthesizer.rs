//! Speech over Deepgram's WebSocket, `GET /v1/speak`.
//!
//! Written from <https://developers.deepgram.com/reference/text-to-speech/speak-streaming>, `docs/tts-ws-flush`, `docs/tts-ws-clear`
//! and `docs/tts-ws-close` as of November 2026. `Speak` and `Flush` go out together; audio comes as binary messages without a
//! header, and `Flushed` behind the last of it. The voice is the model (`aura-2-thalia-en`).
//!
//! Word times: none are sent. Cancelling: `Clear`, after whose `Cleared` the socket takes the next text.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::audio::Rate;
use crate::service::{Deadlines, Key, ServiceError, Web};
use crate::speech::duplex::{self, Duplex, Piece, Place, Tongue};
use crate::speech::{SpeechStream, Synthesizer, Utterance};

/// How to ask for speech.
#[derive(Debug, Clone)]
pub struct DeepgramSpeechConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// The address, without `/v1/speak`.
    pub url: String,
    /// The key.
    pub key: Key,
    /// The voice where an utterance names none: a model, `aura-2-thalia-en`.
    pub voice: String,
    /// Requests at once.
    pub at_once: usize,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks over Deepgram. One for the whole engine.
pub struct DeepgramSpeech {
    config: DeepgramSpeechConfig,
    duplex: Duplex,
}

impl DeepgramSpeech {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: DeepgramSpeechConfig, web: Web) -> Self {
        let duplex = Duplex::new(config.name, web, config.deadlines, config.at_once);
        Self { config, duplex }
    }
}

impl Synthesizer for DeepgramSpeech {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (service, rate) = (self.config.name, utterance.rate);
        let model = utterance.voice.as_deref().unwrap_or(&self.config.voice);
        let query = [("model", model), ("encoding", "linear16"), ("sample_rate", sample_rate(rate))];
        let place = Place {
            url: duplex::address(&self.config.url, "/v1/speak", &query),
            headers: self.config.key.header("Token").map(|key| ("authorization", key)).into_iter().collect(),
        };
        let text = utterance.text.clone();
        self.duplex.speak(utterance, place, move || Speaking { service, text: text.clone(), rate })
    }
}

const fn sample_rate(rate: Rate) -> &'static str {
    match rate {
        Rate::Hz8000 => "8000",
        Rate::Hz16000 => "16000",
    }
}

/// One text.
struct Speaking {
    service: &'static str,
    text: String,
    rate: Rate,
}

impl Tongue for Speaking {
    fn open(&mut self) -> Vec<Message> {
        let speak = json!({ "type": "Speak", "text": self.text });
        [speak, json!({ "type": "Flush" })].map(|message| Message::text(message.to_string())).into()
    }

    fn hear(&mut self, message: &Message) -> Result<Vec<Piece>, ServiceError> {
        if let Message::Binary(audio) = message {
            return Ok(vec![Piece::Linear(audio.to_vec(), self.rate.hz())]);
        }
        let Some(json) = duplex::json(self.service, message)? else { return Ok(Vec::new()) };
        let said = || duplex::said(&json, &["description", "err_msg", "message", "code"]);
        match json["type"].as_str() {
            Some("Flushed") => Ok(vec![Piece::Done]),
            Some("Error") => Err(ServiceError::Broken { service: self.service, what: said() }),
            // Too many flushes: the text would never be said.
            Some("Warning") => {
                Err(ServiceError::TooMany { service: self.service, what: said(), retry_after: None })
            }
            _ => Ok(Vec::new()),
        }
    }

    fn stop(&mut self) -> Option<Message> {
        Some(Message::text(json!({ "type": "Clear" }).to_string()))
    }

    fn is_stopped(&mut self, message: Option<&Message>) -> bool {
        let json = message.and_then(|message| duplex::json(self.service, message).ok().flatten());
        json.is_some_and(|json| json["type"] == "Cleared")
    }

    fn is_reusable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_messages_are_understood() {
        let mut speaking = Speaking { service: "deepgram", text: "Hi \"you\".".into(), rate: Rate::Hz8000 };
        let sent: Vec<String> =
            speaking.open().into_iter().map(|message| message.into_text().unwrap().to_string()).collect();
        assert_eq!(sent, [r#"{"text":"Hi \"you\".","type":"Speak"}"#, r#"{"type":"Flush"}"#]);
        let mut hear = |text: &str| speaking.hear(&Message::text(text));
        assert_eq!(hear(r#"{"type":"Metadata","request_id":"x"}"#).unwrap(), []);
        assert_eq!(hear(r#"{"type":"Flushed","sequence_id":0}"#).unwrap(), [Piece::Done]);
        let error = hear(r#"{"type":"Error","description":"no such model","code":"DATA-0000"}"#).unwrap_err();
        assert!(error.to_string().contains("no such model"));
        assert!(matches!(hear("nonsense"), Err(ServiceError::Protocol { .. })));
        assert!(!speaking.is_stopped(None));
        assert!(speaking.is_stopped(Some(&Message::text(r#"{"type":"Cleared","sequence_id":0}"#))));
    }
}
