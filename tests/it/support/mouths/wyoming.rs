//! A Wyoming server that speaks, from github.com/OHF-Voice/wyoming as of November 2026. A second kind of it streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Seen, StandIn, Way, Ways, bytes, sound};

pub async fn start(streams: bool) -> StandIn {
    StandIn::start(move |stream, ways, seen| serve(stream, ways, seen, streams)).await
}

async fn serve(stream: TcpStream, ways: Ways, seen: Arc<Seen>, streams: bool) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut text = String::new();
    while let Some(told) = next(&mut read).await {
        let data = &told["data"];
        let whole = match told["type"].as_str().expect("a type") {
            "describe" => {
                // With its data behind the line, as the Python package sends it.
                let info = json!({ "tts": [{ "name": "tone", "supports_synthesize_streaming": streams }] })
                    .to_string();
                let line = format!(
                    "{{\"type\":\"info\",\"version\":\"1.8.0\",\"data_length\":{}}}\n{info}",
                    info.len()
                );
                let _ = write.write_all(line.as_bytes()).await;
                false
            }
            "synthesize" => {
                assert!(!streams, "it is given a stream");
                data["text"].as_str().expect("a text").clone_into(&mut text);
                true
            }
            "synthesize-chunk" => {
                text.push_str(data["text"].as_str().expect("a text"));
                false
            }
            "synthesize-stop" => true,
            _ => false,
        };
        if whole {
            seen.text(&text);
            let way = ways.now();
            if speak(&mut read, &mut write, &text, way, streams).await.is_none() {
                if way != Way::Breaks && way != Way::Garbage {
                    seen.stopped.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            text.clear();
        }
    }
}

async fn speak(
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    text: &str,
    way: Way,
    streams: bool,
) -> Option<()> {
    match way {
        Way::Garbage => {
            let _ = write.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return None;
        }
        // There are no statuses: it says that it cannot.
        Way::Status(status) => {
            let error = json!({ "type": "error", "data": { "text": format!("status {status}") } });
            let _ = write.write_all(format!("{error}\n").as_bytes()).await;
            return Some(());
        }
        Way::Hangs => {
            let _ = read.read(&mut [0; 1]).await;
            return None;
        }
        Way::Slow(after) => tokio::time::sleep(after).await,
        _ => {}
    }
    let format = json!({ "rate": 22_050, "width": 2, "channels": 1 });
    write
        .write_all(format!("{}\n", json!({ "type": "audio-start", "data": format })).as_bytes())
        .await
        .ok()?;
    for (index, piece) in sound(text, 22_050).into_iter().enumerate() {
        if way == Way::Breaks && index == 3 {
            return None;
        }
        let payload = bytes(&piece);
        let line = json!({ "type": "audio-chunk", "data": format, "payload_length": payload.len() });
        let whole = [format!("{line}\n").into_bytes(), payload].concat();
        let small = if way == Way::Pieces { 97 } else { whole.len() };
        for part in whole.chunks(small) {
            write.write_all(part).await.ok()?;
            write.flush().await.ok()?;
        }
        if way == Way::Paced {
            let mut byte = [0; 1];
            if tokio::time::timeout(Duration::from_millis(100), read.read(&mut byte)).await.is_ok() {
                return None;
            }
        }
    }
    write.write_all(b"{\"type\":\"audio-stop\",\"data\":{}}\n").await.ok()?;
    if streams {
        write.write_all(b"{\"type\":\"synthesize-stopped\"}\n").await.ok()?;
    }
    Some(())
}

/// The next event, without a payload: clients send none here.
async fn next(read: &mut BufReader<OwnedReadHalf>) -> Option<Value> {
    let mut line = String::new();
    if read.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut told: Value = serde_json::from_str(&line).expect("JSON");
    if let Some(length) = told["data_length"].as_u64() {
        let mut data = vec![0; length as usize];
        read.read_exact(&mut data).await.ok()?;
        told["data"] = serde_json::from_slice(&data).expect("JSON");
    }
    Some(told)
}
