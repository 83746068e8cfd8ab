//! As sherpa-onnx's streaming server: `sherpa-onnx/csrc/online-websocket-server-impl.cc` (and, where it differs,
//! `python-api-examples/streaming_server.py`) of github.com/k2-fsa/sherpa-onnx, 21 November 2026.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Listener, Protocol, StandIn};

pub async fn start(python: bool) -> StandIn {
    StandIn::socket(move || Box::new(Sherpa { python, ear: Listener::new(16_000) })).await
}

struct Sherpa {
    python: bool,
    ear: Listener,
}

impl Sherpa {
    fn result(&self, eof: bool) -> Message {
        let text = self.ear.text();
        Message::text(if self.python {
            json!({ "text": text, "segment": 0 }).to_string()
        } else {
            json!({ "text": text, "tokens": [], "timestamps": [], "ys_probs": [-0.1, -0.1], "segment": 0,
                    "start_time": 0.0, "is_final": eof, "is_eof": eof })
            .to_string()
        })
    }
}

impl Protocol for Sherpa {
    fn hear(&mut self, message: Message) -> (Vec<Message>, bool) {
        match message {
            Message::Binary(bytes) => {
                let floats = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
                #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
                let samples: Vec<i16> = floats.map(|float| (float * 32_768.0) as i16).collect();
                self.ear.hear(&samples);
                (vec![self.result(false)], false)
            }
            Message::Text(text) if text.as_str() == "Done" && self.python => (vec![self.result(false)], true),
            Message::Text(text) if text.as_str() == "Done" => {
                (vec![self.result(true), Message::text("Done!")], false)
            }
            other => panic!("the server knows no {other:?}"),
        }
    }
}
