//! `POST /v1/audio/speech`, from platform.openai.com/docs/api-reference/audio/createSpeech as of November 2026.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Seen, StandIn, Way, Ways, bytes, sound};

pub async fn start() -> StandIn {
    StandIn::start(serve).await
}

async fn serve(mut stream: TcpStream, ways: Ways, seen: Arc<Seen>) {
    loop {
        let Some((head, body)) = request(&mut stream).await else { return };
        assert!(head.starts_with("POST /v1/audio/speech "), "{head}");
        let key = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        *seen.key.lock().unwrap() = key.unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["response_format"], "pcm");
        let text = body["input"].as_str().expect("a text");
        seen.text(text);
        let way = ways.now();
        if answer(&mut stream, text, way).await.is_none() {
            if way != Way::Breaks && way != Way::Garbage {
                seen.stopped.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
    }
}

/// Answers; nothing when the connection is over.
async fn answer(stream: &mut TcpStream, text: &str, way: Way) -> Option<()> {
    match way {
        Way::Status(status) => {
            let said = r#"{"error":{"message":"not you"}}"#;
            let answer = format!(
                "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{said}",
                said.len()
            );
            return stream.write_all(answer.as_bytes()).await.ok();
        }
        Way::Garbage => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>")
                .await;
            return None;
        }
        Way::Hangs => {
            // Until who asked has gone.
            let _ = stream.read(&mut [0; 1]).await;
            return None;
        }
        Way::Slow(after) => tokio::time::sleep(after).await,
        _ => {}
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .ok()?;
    for (index, piece) in sound(text, 24_000).into_iter().enumerate() {
        if way == Way::Breaks && index == 3 {
            return None;
        }
        let piece = bytes(&piece);
        let small = if way == Way::Pieces { 333 } else { piece.len() };
        for part in piece.chunks(small) {
            stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.ok()?;
            stream.write_all(part).await.ok()?;
            stream.write_all(b"\r\n").await.ok()?;
        }
        if way == Way::Paced {
            // Who goes away in the middle is noticed at once.
            let mut byte = [0; 1];
            if tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_ok() {
                return None;
            }
        }
    }
    stream.write_all(b"0\r\n\r\n").await.ok()
}

/// The head, in lower case, and the body of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4_096];
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length.unwrap_or(0) {
        let mut piece = [0; 4_096];
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => body.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
    Some((head, body))
}
