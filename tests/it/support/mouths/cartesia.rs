//! Cartesia's WebSocket, from docs.cartesia.ai/2026-03-01/api-reference/tts/websocket as of November 2026.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Poured, Seen, StandIn, Ways, accept, base64, bytes, pour, sound};

pub async fn start() -> StandIn {
    StandIn::start(serve).await
}

async fn serve(stream: TcpStream, ways: Ways, seen: Arc<Seen>) {
    let Some((socket, path)) = accept(stream, ways.now(), &seen, "authorization").await else { return };
    assert!(path.starts_with("/tts/websocket?cartesia_version=2026-"), "{path}");
    let (mut sink, mut stream) = socket.split();
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(told) = message else { continue };
        let told: Value = serde_json::from_str(told.as_str()).expect("JSON");
        let context = told["context_id"].as_str().expect("a context").to_owned();
        if told["cancel"] == true {
            continue;
        }
        let text = told["transcript"].as_str().expect("a text").to_owned();
        seen.text(&text);
        let way = ways.now();
        assert_eq!(told["output_format"]["encoding"], "pcm_s16le");
        assert!(told["voice"]["id"].is_string() && told["model_id"].is_string());
        let hz = told["output_format"]["sample_rate"].as_u64().expect("a rate") as u32;
        let with = |mut json: Value| {
            json["context_id"] = context.clone().into();
            Message::text(json.to_string())
        };
        let mut pieces: Vec<Message> = sound(&text, hz)
            .into_iter()
            .map(|piece| with(json!({ "type": "chunk", "data": base64(&bytes(&piece)), "done": false, "status_code": 206 })))
            .collect();
        // Each word by its share of the characters.
        let mut so_far = 0;
        let words: Vec<&str> = text.split_whitespace().collect();
        let end: Vec<f64> = words
            .iter()
            .map(|word| {
                so_far += word.chars().count() + 1;
                (so_far as f64 - 1.0) * 0.06
            })
            .collect();
        pieces.insert(
            pieces.len().min(1),
            with(json!({ "type": "timestamps", "word_timestamps": { "words": words, "end": end } })),
        );
        let own = context.clone();
        let is_cancel = move |message: &Message| matches!(message, Message::Text(text) if text.as_str().contains("cancel") && text.as_str().contains(&own));
        match pour(&mut sink, &mut stream, pieces, way, is_cancel).await {
            Poured::All => {
                let _ = sink.send(with(json!({ "type": "done", "done": true, "status_code": 206 }))).await;
            }
            Poured::Stopped => {
                seen.stopped.fetch_add(1, Ordering::Relaxed);
                // What was made already still comes.
                let late = with(json!({ "type": "chunk", "data": base64(&[7; 320]), "done": false }));
                let _ = sink.send(late).await;
                let _ = sink.send(with(json!({ "type": "done", "done": true }))).await;
            }
            Poured::Gone => return,
        }
    }
}
