//! What can be asked of an engine that runs, by who may read its files: the Unix socket beside its store, for its owner alone,
//! which also a successor uses (`handover`). A line is asked; the answer is a line of JSON.
//!
//! | line | what it does |
//! |---|---|
//! | `servers` | nothing |
//! | `drain NAME` | lets the server of that name have no more calls; those that are up go on |
//! | `resume NAME` | lets it have calls again |
//!
//! Each answers with the servers as they are then, or with `{"error": …}`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::config::Config;
use super::handover;
use super::server::Server;

/// The longest line that is read.
const LONGEST: usize = 200;

/// The longest answer.
const LONGEST_ANSWER: u64 = 1 << 20;

/// How long each side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the engine that runs with this configuration: one of the lines of the [module](self). Gives what it answers.
///
/// # Errors
/// A sentence, where no engine runs or it cannot do that.
pub async fn ask(config: &Config, request: &str) -> Result<serde_json::Value, String> {
    let socket = handover::socket(&config.store.path, &config.asterisk.app);
    let asked = async {
        let mut stream = UnixStream::connect(&socket).await?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut text = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut text).await?;
        Ok::<_, io::Error>(serde_json::from_slice(&text)?)
    };
    let answer: serde_json::Value = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(format!(
                "no engine answers at {} ({error}): start one with this configuration, `offhook run`",
                socket.display()
            ));
        }
        Err(_) => {
            return Err(format!("the engine at {} does not answer: look into its log", socket.display()));
        }
    };
    match answer.get("error").and_then(serde_json::Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(answer),
    }
}

/// Reads a line.
pub(super) async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = Vec::new();
    while text.len() < LONGEST {
        match stream.read_u8().await? {
            b'\n' => return String::from_utf8(text).map_err(io::Error::other),
            byte => text.push(byte),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Does what is asked, and answers.
pub(super) async fn answer(servers: Vec<Arc<Server>>, request: String, mut stream: UnixStream) {
    let answer = obey(&servers, &request);
    let told = async {
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
        stream.shutdown().await
    };
    // Who does not listen has asked all the same.
    let _ = tokio::time::timeout(PATIENCE, told).await;
}

fn obey(servers: &[Arc<Server>], request: &str) -> serde_json::Value {
    let draining = match request.split_once(' ') {
        None if request == "servers" => None,
        Some(("drain", name)) => Some((name, true)),
        Some(("resume", name)) => Some((name, false)),
        _ => return json!({ "error": "the engine is of another version than the one who asks" }),
    };
    if let Some((name, draining)) = draining {
        let Some(server) = servers.iter().find(|server| server.name == name) else {
            let known: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
            return json!({ "error": format!("the engine has no server '{name}', only {}", known.join(", ")) });
        };
        server.drain(draining);
    }
    json!({ "servers": servers.iter().map(|server| server.status()).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_ends_and_has_a_length() {
        assert_eq!(line(&mut &b"drain east\nand more"[..]).await.ok().as_deref(), Some("drain east"));
        assert!(line(&mut &b"drain ea"[..]).await.is_err());
        assert!(line(&mut &[b'x'; 1_000][..]).await.is_err());
        assert!(line(&mut &b"\xff\xfe\n"[..]).await.is_err());
    }
}
