//! As Deepgram: <https://developers.deepgram.com/reference/speech-to-text/listen-streaming> with `/docs/finalize`, and
//! <https://developers.deepgram.com/reference/speech-to-text/listen-flux> with `/docs/flux/state` and
//! `/docs/flux/force-end-turn`, 21 November 2026.

use offhook::audio::g711::Law;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Listener, Protocol, StandIn};

pub async fn nova() -> StandIn {
    StandIn::socket(|| Box::new(Nova { ear: Listener::new(8_000), settled: 0, told: 0 })).await
}

pub async fn flux() -> StandIn {
    StandIn::socket(|| {
        Box::new(Flux { ear: Listener::new(8_000), began: 0, turn: 0, eager: false, told: 0, said: 0 })
    })
    .await
}

fn linear(bytes: &[u8]) -> Vec<i16> {
    let mut samples = vec![0; bytes.len()];
    Law::Mu.decode_into(bytes, &mut samples);
    samples
}

#[expect(clippy::cast_precision_loss, reason = "a few minutes")]
fn seconds(samples: usize) -> f64 {
    samples as f64 / 8_000.0
}

/// The connection's audio, up to where its results are final, and how many words of it they have.
struct Nova {
    ear: Listener,
    settled: usize,
    told: usize,
}

impl Nova {
    fn result(&self, last: bool) -> Message {
        let words = &self.ear.words[self.told..];
        let each: Vec<Value> = words
            .iter()
            .map(|word| {
                let start = seconds(self.settled) + 0.05;
                json!({ "word": word, "start": start, "end": start, "confidence": 0.95, "punctuated_word": word })
            })
            .collect();
        let best = json!({ "transcript": words.join(" "), "confidence": 0.95, "words": each });
        Message::text(
            json!({ "type": "Results", "channel_index": [0, 1], "start": seconds(self.settled),
                    "duration": seconds(self.ear.heard - self.settled), "is_final": last, "speech_final": false,
                    "from_finalize": last, "channel": { "alternatives": [best] } })
            .to_string(),
        )
    }
}

impl Protocol for Nova {
    fn hear(&mut self, message: Message) -> (Vec<Message>, bool) {
        match message {
            Message::Binary(bytes) => {
                self.ear.hear(&linear(&bytes));
                (vec![self.result(false)], false)
            }
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                match message["type"].as_str() {
                    Some("Finalize") => {
                        let result = self.result(true);
                        self.settled = self.ear.heard;
                        self.told = self.ear.words.len();
                        (vec![result], false)
                    }
                    Some("KeepAlive") => (Vec::new(), false),
                    Some("CloseStream") => {
                        (vec![Message::text("{\"type\":\"Metadata\",\"duration\":1.0}")], true)
                    }
                    other => panic!("Deepgram knows no {other:?}"),
                }
            }
            other => panic!("Deepgram knows no {other:?}"),
        }
    }
}

/// The connection's audio, and where the turn under way began: its samples, and its words.
struct Flux {
    ear: Listener,
    began: usize,
    told: usize,
    turn: u64,
    eager: bool,
    said: usize,
}

impl Flux {
    fn info(&self, event: &str, confidence: f64) -> Message {
        let words = &self.ear.words[self.told..];
        let each: Vec<Value> = words.iter().map(|word| json!({ "word": word, "confidence": 0.95 })).collect();
        Message::text(
            json!({ "type": "TurnInfo", "request_id": "x", "sequence_id": 1, "event": event, "turn_index": self.turn,
                    "audio_window_start": seconds(self.began), "audio_window_end": seconds(self.ear.heard),
                    "transcript": words.join(" "), "words": each, "end_of_turn_confidence": confidence })
            .to_string(),
        )
    }
}

impl Protocol for Flux {
    fn greet(&mut self) -> Vec<Message> {
        vec![Message::text("{\"type\":\"Connected\",\"request_id\":\"x\",\"sequence_id\":0}")]
    }

    fn hear(&mut self, message: Message) -> (Vec<Message>, bool) {
        match message {
            Message::Binary(bytes) => {
                self.ear.hear(&linear(&bytes));
                let words = self.ear.words.len() - self.told;
                // Half a second of silence behind words may be the end of a turn.
                let silent = self.ear.silent();
                let event = match () {
                    () if words > 0 && silent >= 4_000 && !self.eager => {
                        self.eager = true;
                        ("EagerEndOfTurn", 0.6)
                    }
                    () if self.eager && words > self.said => {
                        self.eager = false;
                        ("TurnResumed", 0.1)
                    }
                    () if words > 0 && self.said == 0 => ("StartOfTurn", 0.1),
                    () => ("Update", 0.1),
                };
                self.said = words;
                (vec![self.info(event.0, event.1)], false)
            }
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                match message["type"].as_str() {
                    Some("ForceEndTurn") => {
                        let info = self.info("EndOfTurn", 0.9);
                        self.turn += 1;
                        self.began = self.ear.heard;
                        self.told = self.ear.words.len();
                        (self.eager, self.said) = (false, 0);
                        (vec![info], false)
                    }
                    Some("CloseStream") => (Vec::new(), true),
                    other => panic!("Flux knows no {other:?}"),
                }
            }
            other => panic!("Flux knows no {other:?}"),
        }
    }
}
