//! Deepgram's `GET /v1/speak` over a WebSocket, from developers.deepgram.com/reference/text-to-speech/speak-streaming and
//! docs/tts-ws-flush, tts-ws-clear, as of November 2026.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Poured, Seen, StandIn, Ways, accept, bytes, pour, query, sound};

pub async fn start() -> StandIn {
    StandIn::start(serve).await
}

async fn serve(stream: TcpStream, ways: Ways, seen: Arc<Seen>) {
    let Some((socket, path)) = accept(stream, ways.now(), &seen, "authorization").await else { return };
    assert!(path.starts_with("/v1/speak?"), "{path}");
    assert_eq!(query(&path, "encoding").as_deref(), Some("linear16"));
    let hz: u32 = query(&path, "sample_rate").and_then(|hz| hz.parse().ok()).expect("a rate");
    let (mut sink, mut stream) = socket.split();
    let mut text = String::new();
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(told) = message else { continue };
        let told: Value = serde_json::from_str(told.as_str()).expect("JSON");
        match told["type"].as_str().expect("a type") {
            "Speak" => text.push_str(told["text"].as_str().expect("a text")),
            "Flush" => {
                let way = ways.now();
                seen.text(&text);
                let _ = sink
                    .send(Message::text(json!({ "type": "Metadata", "model_name": "aura" }).to_string()))
                    .await;
                let pieces =
                    sound(&text, hz).into_iter().map(|piece| Message::binary(bytes(&piece))).collect();
                text.clear();
                match pour(&mut sink, &mut stream, pieces, way, is_clear).await {
                    Poured::All => {
                        let _ = sink
                            .send(Message::text(json!({ "type": "Flushed", "sequence_id": 0 }).to_string()))
                            .await;
                    }
                    Poured::Stopped => {
                        seen.stopped.fetch_add(1, Ordering::Relaxed);
                        // Some of it was on its way.
                        let _ = sink.send(Message::binary(vec![7; 320])).await;
                        let _ = sink
                            .send(Message::text(json!({ "type": "Cleared", "sequence_id": 0 }).to_string()))
                            .await;
                    }
                    Poured::Gone => return,
                }
            }
            _ => {}
        }
    }
}

fn is_clear(message: &Message) -> bool {
    matches!(message, Message::Text(text) if text.as_str().contains("\"Clear\""))
}
