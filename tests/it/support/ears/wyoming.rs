//! As a server of the Wyoming protocol: the README and `wyoming/asr.py` of github.com/OHF-Voice/wyoming, 21 November 2026.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Manner, Shared, StandIn, Stream, understand};

pub async fn start(streams: bool) -> StandIn {
    StandIn::start(move |stream, manner, shared| serve(stream, manner, shared, streams)).await
}

/// One connection: one utterance.
async fn serve(mut stream: Stream, manner: Manner, shared: Arc<Shared>, streams: bool) {
    let (mut rate, mut audio, mut said) = (16_000, Vec::new(), 0);
    let mut bytes = Vec::new();
    if let Manner::Slow(time) = manner {
        tokio::time::sleep(time).await;
    }
    while let Some((event, payload)) = event(&mut stream, &mut bytes).await {
        said += 1;
        let kind = event["type"].as_str().expect("a type");
        match manner {
            Manner::Hangs => continue,
            Manner::Closes(after) if said >= after => return,
            Manner::HalfCloses(after) if said >= after => {
                let _ = stream.shutdown().await;
                continue;
            }
            Manner::Garbage => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\xFF\xFE").await;
                continue;
            }
            Manner::Status(status) => {
                let _ = stream
                    .write_all(&line("error", &json!({ "text": "no", "code": status.to_string() })))
                    .await;
                return;
            }
            _ => {}
        }
        match kind {
            "transcribe" => shared.note(event.to_string()),
            "audio-start" => rate = event["data"]["rate"].as_u64().expect("a rate").try_into().unwrap(),
            "audio-chunk" => {
                audio.extend(payload.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)))
            }
            "audio-stop" => {
                let text = understand(&audio, rate).join(" ");
                let mut out = Vec::new();
                if streams {
                    out.extend(line("transcript-start", &json!({})));
                    for word in text.split_inclusive(' ') {
                        out.extend(line("transcript-chunk", &json!({ "text": word })));
                    }
                }
                // As the library writes it: the data behind the line.
                let data = json!({ "text": text }).to_string();
                out.extend(
                    format!("{{\"type\":\"transcript\",\"data_length\":{}}}\n{data}", data.len())
                        .into_bytes(),
                );
                if streams {
                    out.extend(line("transcript-stop", &json!({})));
                }
                let _ = stream.write_all(&out).await;
                return;
            }
            other => panic!("the server knows no {other}"),
        }
    }
}

fn line(kind: &str, data: &Value) -> Vec<u8> {
    format!("{}\n", json!({ "type": kind, "data": data })).into_bytes()
}

/// The next event and its payload.
async fn event(stream: &mut Stream, bytes: &mut Vec<u8>) -> Option<(Value, Vec<u8>)> {
    let end = loop {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => break end,
            None if stream.read_buf(bytes).await.ok()? == 0 => return None,
            None => {}
        }
    };
    let event: Value = serde_json::from_slice(&bytes[..end]).expect("an event");
    let length = usize::try_from(event["payload_length"].as_u64().unwrap_or(0)).unwrap();
    while bytes.len() < end + 1 + length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let payload = bytes[end + 1..end + 1 + length].to_vec();
    bytes.drain(..end + 1 + length);
    Some((event, payload))
}
