//! Language models that do not behave, by OpenAI's protocol (platform.openai.com/docs/api-reference/chat, November 2026): each
//! fault at a base URL of its own, `http://HOST/FAULT/v1`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What can be wrong, by its name in the address.
pub const FAULTS: [&str; 10] =
    ["hangs", "closes", "garbage", "s401", "s429", "s500", "slow", "breaks", "stalls", "nothing"];

/// A server with all of them.
pub struct Faulty {
    address: SocketAddr,
    attempts: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl Faulty {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let attempts = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&attempts);
        let server = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&counted)));
            }
        }));
        Self { address, attempts, _server: server }
    }

    /// The base URL of a model with this fault.
    pub fn url(&self, fault: &str) -> String {
        format!("http://{}/{fault}/v1", self.address)
    }
}

impl Faulty {
    /// How often the model at `url("hostile")` has tried to have something dialled that it may not.
    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// What a model writes that was talked into dialling, the `n`-th time.
fn attempt(n: usize) -> Value {
    let number = format!("{}{n:06}", ["0900", "+1900", "00881", "112"][n % 4]);
    let bait = [
        number.clone(),
        format!("sales;{number}"),
        format!("sales&PJSIP/{number}@trunk"),
        format!("PJSIP/{number}@trunk"),
        format!("Local/{number}@offhook/n"),
        format!("sales\n{number}"),
        "SALES".to_owned(),
        "ѕales".to_owned(),
        "sales\u{0}".to_owned(),
        format!("${{EVAL({number})}}"),
        String::new(),
    ];
    let bait = &bait[n % bait.len()];
    let arguments = match n % 5 {
        0 => json!({ "destination": [bait, "sales"] }),
        1 => json!({ "destination": { "name": "sales", "dial": number } }),
        2 => json!({ "number": number, "to": bait, "endpoint": bait }),
        _ => json!({ "destination": bait }),
    };
    let name = ["transfer", "transfer", "dial", "transfer", "originate", "transfer", "send_keys"][n % 7];
    let function = json!({ "name": name, "arguments": arguments.to_string() });
    json!({ "index": 0, "id": format!("c{n}"), "type": "function", "function": function })
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn says(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// Answers one request; whatever the other side does, this ends.
async fn serve(mut stream: TcpStream, attempts: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut heard = vec![0; 64 * 1_024];
    let n = stream.read(&mut heard).await?;
    let line = String::from_utf8_lossy(&heard[..n]).lines().next().unwrap_or_default().to_owned();
    let fault = line.split('/').nth(1).unwrap_or_default().to_owned();
    let status = |status: &str| {
        let body = r#"{"error":{"message":"no"}}"#;
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let for_ever = Duration::from_secs(120);
    match fault.as_str() {
        "closes" => {}
        "hostile" => {
            let call = attempt(attempts.fetch_add(1, Ordering::Relaxed));
            let chunk = json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] });
            let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
            let text = format!("{STREAM}data: {chunk}\n\ndata: {end}\n\ndata: [DONE]\n\n");
            stream.write_all(text.as_bytes()).await?;
        }
        "garbage" => {
            stream.write_all(format!("{STREAM}data: {{\"choices\": [[[\n\n").as_bytes()).await?;
        }
        "s401" => stream.write_all(status("401 Unauthorized").as_bytes()).await?,
        "s429" => stream.write_all(status("429 Too Many Requests").as_bytes()).await?,
        "s500" => stream.write_all(status("500 Internal Server Error").as_bytes()).await?,
        "slow" => {
            stream.write_all(format!("{STREAM}: wait\n\n").as_bytes()).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let text = format!("{}data: [DONE]\n\n", says("Here I am at last. What can I do?"));
            stream.write_all(text.as_bytes()).await?;
        }
        "breaks" => {
            let text = format!(
                "{STREAM}{}{}",
                says("I know that, wait a moment. The "),
                "data: {\"error\":{\"message\":\"out\"}}\n\n"
            );
            stream.write_all(text.as_bytes()).await?;
        }
        "stalls" => {
            stream
                .write_all(format!("{STREAM}{}", says("I know that, wait a moment. The ")).as_bytes())
                .await?;
            tokio::time::sleep(for_ever).await;
        }
        "nothing" => {
            let text = format!(
                "{STREAM}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
            );
            stream.write_all(text.as_bytes()).await?;
        }
        _ => tokio::time::sleep(for_ever).await,
    }
    stream.shutdown().await
}
