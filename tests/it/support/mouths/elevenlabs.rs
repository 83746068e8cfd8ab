//! ElevenLabs' `stream-input`, from elevenlabs.io/docs/api-reference/websocket as of November 2026.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt as _, StreamExt as _};
use offhook::audio::g711::Law;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Poured, Seen, StandIn, Ways, accept, base64, bytes, pour, query, sound};

pub async fn start() -> StandIn {
    StandIn::start(serve).await
}

async fn serve(stream: TcpStream, ways: Ways, seen: Arc<Seen>) {
    let Some((socket, path)) = accept(stream, ways.now(), &seen, "xi-api-key").await else { return };
    assert!(path.starts_with("/v1/text-to-speech/") && path.contains("/stream-input?"), "{path}");
    let format = query(&path, "output_format").expect("a format");
    let (mut sink, mut stream) = socket.split();
    let (mut text, mut opened) = (String::new(), false);
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(told) = message else { continue };
        let told: Value = serde_json::from_str(told.as_str()).expect("JSON");
        match told["text"].as_str().expect("a text") {
            " " if !opened => opened = true,
            "" => break,
            more => text.push_str(more),
        }
    }
    assert!(opened && text.ends_with(' '), "a blank first, and one behind the last word");
    let said = text.trim_end().to_owned();
    seen.text(&said);
    let way = ways.now();
    let hz = if format == "ulaw_8000" { 8_000 } else { 16_000 };
    let chars: Vec<char> = said.chars().collect();
    let mut at = 0;
    let piece = |samples: Vec<i16>| {
        let audio = match format.as_str() {
            "ulaw_8000" => {
                let mut codes = vec![0; samples.len()];
                Law::Mu.encode_into(&samples, &mut codes);
                base64(&codes)
            }
            _ => base64(&bytes(&samples)),
        };
        // The characters that end within this piece, each 60 ms long, counted from its beginning.
        let begun = at;
        at += samples.len() * 1_000 / hz;
        let here: Vec<usize> = (0..chars.len()).filter(|n| (begun..at).contains(&(60 * n))).collect();
        let alignment = json!({
            "chars": here.iter().map(|n| chars[*n].to_string()).collect::<Vec<_>>(),
            "charStartTimesMs": here.iter().map(|n| 60 * n - begun).collect::<Vec<_>>(),
            "charDurationsMs": here.iter().map(|_| 60).collect::<Vec<_>>(),
        });
        Message::text(json!({ "audio": audio, "isFinal": null, "alignment": alignment }).to_string())
    };
    let pieces = sound(&said, hz as u32).into_iter().map(piece).collect();
    match pour(&mut sink, &mut stream, pieces, way, |_| false).await {
        Poured::All => {
            let _ = sink.send(Message::text(json!({ "audio": null, "isFinal": true }).to_string())).await;
            let _ = sink.close().await;
        }
        Poured::Stopped => {
            seen.stopped.fetch_add(1, Ordering::Relaxed);
        }
        Poured::Gone => {}
    }
}
