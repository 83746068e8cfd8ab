//! As vosk-server: `websocket/asr_server.py` of github.com/alphacep/vosk-server, 21 November 2026.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Listener, Protocol, StandIn};

pub async fn start() -> StandIn {
    StandIn::socket(|| Box::new(Vosk { ear: Listener::new(8_000) })).await
}

struct Vosk {
    ear: Listener,
}

impl Protocol for Vosk {
    fn hear(&mut self, message: Message) -> (Vec<Message>, bool) {
        match message {
            Message::Text(text) if text.contains("config") => {
                let config: Value = serde_json::from_str(&text).expect("a configuration");
                let rate = config["config"]["sample_rate"].as_u64().expect("a rate");
                self.ear = Listener::new(rate.try_into().unwrap());
                (Vec::new(), false)
            }
            // To the letter.
            Message::Text(text) if text.as_str() == "{\"eof\" : 1}" => {
                let words = &self.ear.words;
                let each: Vec<Value> = words
                    .iter()
                    .map(|word| json!({ "word": word, "conf": 0.9, "start": 0.0, "end": 0.1 }))
                    .collect();
                let text = words.join(" ");
                let last = if each.is_empty() {
                    json!({ "text": "" })
                } else {
                    json!({ "result": each, "text": text })
                };
                (vec![Message::text(last.to_string())], true)
            }
            Message::Binary(bytes) => {
                let samples: Vec<i16> =
                    bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
                self.ear.hear(&samples);
                let text = self.ear.text();
                (vec![Message::text(json!({ "partial": text }).to_string())], false)
            }
            other => panic!("the server knows no {other:?}"),
        }
    }
}
