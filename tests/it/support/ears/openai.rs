//! As OpenAI: the reference of `POST /v1/audio/transcriptions`, and
//! <https://developers.openai.com/api/docs/guides/realtime-transcription> with the reference of its events, 21 November
//! 2026.

use std::sync::Arc;

use base64::Engine as _;
use offhook::audio::g711::Law;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{Listener, Manner, Protocol, Shared, StandIn, Stream, understand};

pub async fn transcriptions() -> StandIn {
    StandIn::start(serve).await
}

pub async fn realtime() -> StandIn {
    StandIn::socket(|| Box::new(Realtime { buffer: Listener::new(8_000), items: 0, told: 0 })).await
}

/// One connection: one request, so that each has a manner of its own.
async fn serve(mut stream: Stream, manner: Manner, shared: Arc<Shared>) {
    if let Some((head, body)) = request(&mut stream).await {
        shared.note(head.clone());
        let reply = |status: u16, body: &str| {
            format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let text = match manner {
            Manner::Hangs => std::future::pending().await,
            Manner::Closes(_) | Manner::HalfCloses(_) => {
                // In the middle of the answer.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"te").await;
                let _ = stream.shutdown().await;
                return;
            }
            Manner::Garbage => reply(200, "\u{0}<html>not found</html>"),
            Manner::Status(status) => reply(status, "{\"error\":{\"message\":\"no\"}}"),
            _ => {
                if let Manner::Slow(time) = manner {
                    tokio::time::sleep(time).await;
                }
                assert!(head.starts_with("POST /v1/audio/transcriptions HTTP/1.1"), "{head}");
                let wav = body.windows(4).position(|four| four == b"RIFF").expect("a WAV file");
                let rate = u32::from_le_bytes(body[wav + 24..wav + 28].try_into().unwrap());
                let size = u32::from_le_bytes(body[wav + 40..wav + 44].try_into().unwrap()) as usize;
                let audio = &body[wav + 44..wav + 44 + size];
                let samples: Vec<i16> =
                    audio.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
                let text = written(&understand(&samples, rate));
                reply(
                    200,
                    &json!({ "text": text, "logprobs": [{ "token": "x", "logprob": -0.05 }] }).to_string(),
                )
            }
        };
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// As people write it.
fn written(words: &[&str]) -> String {
    let mut text = words.join(" ");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
        text.push('.');
    }
    text
}

async fn request(stream: &mut Stream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            while bytes.len() < whole {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some((head, bytes[end + 4..whole].to_vec()));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

struct Realtime {
    buffer: Listener,
    items: usize,
    told: usize,
}

impl Realtime {
    fn item(&self) -> String {
        format!("item_{}", self.items)
    }
}

impl Protocol for Realtime {
    fn greet(&mut self) -> Vec<Message> {
        vec![Message::text("{\"type\":\"session.created\",\"session\":{}}")]
    }

    fn hear(&mut self, message: Message) -> (Vec<Message>, bool) {
        let Message::Text(text) = message else { panic!("it takes text alone") };
        let event: Value = serde_json::from_str(&text).expect("JSON");
        let say = |event: Value| Message::text(event.to_string());
        let kind = "conversation.item.input_audio_transcription";
        let mut out = Vec::new();
        match event["type"].as_str() {
            Some("session.update") => {
                assert_eq!(event["session"]["type"], "transcription");
                assert_eq!(event["session"]["audio"]["input"]["format"]["type"], "audio/pcmu");
                out.push(json!({ "type": "session.updated", "session": event["session"] }));
            }
            Some("input_audio_buffer.append") => {
                let audio = event["audio"].as_str().expect("audio");
                let codes = base64::engine::general_purpose::STANDARD.decode(audio).expect("base64");
                let mut samples = vec![0; codes.len()];
                Law::Mu.decode_into(&codes, &mut samples);
                self.buffer.hear(&samples);
                let words = &self.buffer.words;
                for word in words.iter().skip(self.told) {
                    let delta = format!("{word} ");
                    out.push(
                        json!({ "type": format!("{kind}.delta"), "item_id": self.item(), "delta": delta }),
                    );
                }
                self.told = words.len();
            }
            Some("input_audio_buffer.clear") => {
                self.buffer = Listener::new(8_000);
                (self.told, self.items) = (0, self.items + 1);
                out.push(json!({ "type": "input_audio_buffer.cleared" }));
            }
            Some("input_audio_buffer.commit") => {
                let id = self.item();
                let transcript = written(&self.buffer.words);
                out.push(json!({ "type": "input_audio_buffer.committed", "item_id": id }));
                out.push(
                    json!({ "type": format!("{kind}.completed"), "item_id": id, "transcript": transcript,
                                 "logprobs": [{ "token": "x", "logprob": -0.05 }] }),
                );
                self.buffer = Listener::new(8_000);
                (self.told, self.items) = (0, self.items + 1);
            }
            other => panic!("it knows no {other:?}"),
        }
        (out.into_iter().map(say).collect(), false)
    }
}
