//! Speech over Cartesia's WebSocket.
//!
//! Written from <https://docs.cartesia.ai/api-reference/tts/websocket> and `use-the-api/tts-websocket/contexts` as of November 2026
//! (API version 2026-03-01, whose errors have `title` and `message`; older ones have `error`). Each text is a context of its
//! own; audio comes as base64 in `chunk` messages, the ends of words in `timestamps`, counted from the context's beginning.
//!
//! Cancelling: `cancel` for the context. What is still on its way for it is told by its id and left alone, so the socket takes
//! the next text at once.

use reqwest::header::HeaderValue;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::duplex::{self, Duplex, Piece, Place, Tongue};
use super::{SpeechStream, Synthesizer, Utterance};
use crate::audio::Rate;
use crate::service::{Deadlines, Key, ServiceError, Web};

/// The version of the API that this file is written for.
const VERSION: &str = "2026-03-01";

/// How to ask for speech.
#[derive(Debug, Clone)]
pub struct CartesiaConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// The address, without `/tts/websocket`.
    pub url: String,
    /// The key.
    pub key: Key,
    /// Which model, `sonic-3.5`.
    pub model: String,
    /// The id of the voice where an utterance names none.
    pub voice: String,
    /// The language, `en`.
    pub language: Option<String>,
    /// Requests at once.
    pub at_once: usize,
    /// What else is sent with a text: `generation_config`, `pronunciation_dict_id`.
    pub options: Map<String, Value>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks over Cartesia. One for the whole engine.
pub struct CartesiaSynthesizer {
    config: CartesiaConfig,
    duplex: Duplex,
}

impl CartesiaSynthesizer {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: CartesiaConfig, web: Web) -> Self {
        let duplex = Duplex::new(config.name, web, config.deadlines, config.at_once);
        Self { config, duplex }
    }

    fn request(&self, utterance: &Utterance) -> Map<String, Value> {
        let config = &self.config;
        let voice = utterance.voice.as_deref().unwrap_or(&config.voice);
        let mut request = Map::from_iter([
            ("model_id".to_owned(), json!(config.model)),
            ("transcript".to_owned(), json!(utterance.text)),
            ("voice".to_owned(), json!({ "mode": "id", "id": voice })),
            (
                "output_format".to_owned(),
                json!({ "container": "raw", "encoding": "pcm_s16le", "sample_rate": utterance.rate.hz() }),
            ),
            ("add_timestamps".to_owned(), json!(true)),
            ("continue".to_owned(), json!(false)),
        ]);
        if let Some(language) = &config.language {
            request.insert("language".to_owned(), json!(language));
        }
        request.extend(config.options.clone());
        request
    }
}

impl Synthesizer for CartesiaSynthesizer {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (service, rate, request) = (self.config.name, utterance.rate, self.request(utterance));
        let key = self.config.key.header("Bearer").map(|key| ("authorization", key));
        let place = Place {
            url: duplex::address(&self.config.url, "/tts/websocket", &[("cartesia_version", VERSION)]),
            headers: key
                .into_iter()
                .chain([("cartesia-version", HeaderValue::from_static(VERSION))])
                .collect(),
        };
        self.duplex.speak(utterance, place, move || {
            let context = format!("offhook-{:016x}", fastrand::u64(..));
            Speaking { service, request: request.clone(), context, rate }
        })
    }
}

/// One text.
struct Speaking {
    service: &'static str,
    request: Map<String, Value>,
    context: String,
    rate: Rate,
}

impl Tongue for Speaking {
    fn open(&mut self) -> Vec<Message> {
        let mut request = self.request.clone();
        request.insert("context_id".to_owned(), json!(self.context));
        vec![Message::text(Value::Object(request).to_string())]
    }

    fn hear(&mut self, message: &Message) -> Result<Vec<Piece>, ServiceError> {
        let Some(json) = duplex::json(self.service, message)? else { return Ok(Vec::new()) };
        // Of a text before this one, that was given up.
        if json["context_id"].as_str().is_some_and(|context| context != self.context) {
            return Ok(Vec::new());
        }
        match json["type"].as_str() {
            Some("chunk") => {
                let audio = duplex::base64(self.service, json["data"].as_str().unwrap_or_default())?;
                Ok(vec![Piece::Linear(audio, self.rate.hz())])
            }
            Some("timestamps") => {
                let ends = json["word_timestamps"]["end"].as_array().into_iter().flatten();
                Ok(vec![Piece::Ends(ends.filter_map(|end| duplex::span(end, 1.0)).collect())])
            }
            Some("done") => Ok(vec![Piece::Done]),
            Some("error") => Err(self.error(&json)),
            _ => Ok(Vec::new()),
        }
    }

    fn stop(&mut self) -> Option<Message> {
        Some(Message::text(json!({ "context_id": self.context, "cancel": true }).to_string()))
    }

    fn is_stopped(&mut self, _: Option<&Message>) -> bool {
        true
    }

    fn is_reusable(&self) -> bool {
        true
    }
}

impl Speaking {
    /// Errors have a status as over HTTP.
    fn error(&self, json: &Value) -> ServiceError {
        let what = duplex::said(json, &["message", "error", "title"]);
        let service = self.service;
        match json["status_code"].as_u64() {
            Some(401 | 403) => ServiceError::Refused { service, what },
            Some(402 | 429) => ServiceError::TooMany { service, what, retry_after: None },
            Some(400..500) => ServiceError::Rejected { service, what },
            _ => ServiceError::Broken { service, what },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn its_messages_are_understood() {
        let mut speaking =
            Speaking { service: "cartesia", request: Map::new(), context: "a".into(), rate: Rate::Hz16000 };
        let mut hear = |text: &str| speaking.hear(&Message::text(text));
        let chunk = r#"{"type":"chunk","data":"AQACAA==","done":false,"context_id":"a"}"#;
        assert_eq!(hear(chunk).unwrap(), [Piece::Linear(vec![1, 0, 2, 0], 16_000)]);
        assert_eq!(hear(&chunk.replace("\"a\"", "\"b\"")).unwrap(), [], "of another text");
        let times = r#"{"type":"timestamps","context_id":"a","word_timestamps":{"words":["Hi","you"],"start":[0,0.5],"end":[0.4,0.9]}}"#;
        let ends = [400, 900].map(Duration::from_millis).to_vec();
        assert_eq!(hear(times).unwrap(), [Piece::Ends(ends)]);
        assert_eq!(hear(r#"{"type":"done","done":true,"context_id":"a"}"#).unwrap(), [Piece::Done]);
        let error = hear(
            r#"{"type":"error","title":"Invalid model","message":"The model is not valid.","status_code":400,"context_id":"a"}"#,
        );
        assert!(
            matches!(error, Err(ServiceError::Rejected { what, .. }) if what == "The model is not valid.")
        );
        let old = hear(r#"{"type":"error","error":"slow down","status_code":429}"#);
        assert!(matches!(old, Err(ServiceError::TooMany { .. })));
        assert!(hear(r#"{"type":"chunk","data":"???","context_id":"a"}"#).is_err());
    }
}
