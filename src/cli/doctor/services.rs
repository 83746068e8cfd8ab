//! The services of the configuration: each is there, and accepts its key. Nothing is said to it that costs money.

use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::report::{Check, Fix, OURS, Outcome, Step};
use crate::engine::Config;
use crate::engine::config::{Kind, ServiceSection};
use crate::service::{Key, ServiceError, Web, named};
use crate::speech::command;

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Asks every service of the configuration, and says of each in one sentence how it is. True when none failed.
pub(super) async fn examine(config: &Config, mut say: impl FnMut(&Check)) -> bool {
    if config.service.is_empty() {
        return true;
    }
    let web = match Web::new(None) {
        Ok(web) => web,
        Err(error) => {
            let outcome = Outcome::Failed { what: error.to_string(), fixes: Vec::new() };
            say(&Check { step: Step::Services, outcome });
            return false;
        }
    };
    let mut healthy = true;
    for (name, section) in &config.service {
        let outcome = match ask(name, section, &web).await {
            Ok(found) => Outcome::Fine(format!("{name}: {found}")),
            Err((what, fix)) => {
                healthy = false;
                let fixes =
                    fix.map(|line| Fix::new(format!("{OURS} [service.{name}]"), line)).into_iter().collect();
                Outcome::Failed { what: format!("{name}: {what}"), fixes }
            }
        };
        say(&Check { step: Step::Services, outcome });
    }
    healthy
}

/// What is wrong, and what to write.
type Fault = (String, Option<String>);

async fn ask(name: &str, section: &ServiceSection, web: &Web) -> Result<String, Fault> {
    let key =
        section.key().map_err(|error| (error.to_string(), Some("key_file = \"the file\"".to_owned())))?;
    let usual = Some(section.url()) == section.kind.usual_url();
    if key.is_none() && !section.kind.key_variables().is_empty() && usual {
        let variable = section.kind.key_variables()[0];
        return Err((
            format!("there is no key, and {variable} is not set"),
            Some("key_file = \"a file with the key\"".into()),
        ));
    }
    let lasting = named(name);
    let answer = match section.kind {
        Kind::Command => {
            let program = section.command.first().map(String::as_str).unwrap_or_default();
            let found = command::find(program).map(|path| format!("the program is {}", path.display()));
            return found.ok_or_else(|| {
                (format!("there is no program `{program}`"), Some("command = [\"its whole path\"]".into()))
            });
        }
        Kind::Wyoming => describe(lasting, section, web).await,
        Kind::Vosk | Kind::Sherpa => {
            let opened = web.websocket(lasting, section.url(), &[], PATIENCE).await;
            opened.map(|_| "it takes connections".to_owned())
        }
        _ => list(lasting, section, key.as_ref(), web).await,
    };
    answer.map_err(|error| {
        let fix = match &error {
            ServiceError::Refused { .. } => "key_file = \"a file with a key that is accepted\"",
            ServiceError::Unreachable { .. } | ServiceError::Timeout { .. } => "url = \"where it is\"",
            _ => return (error.to_string(), None),
        };
        (error.to_string(), Some(fix.to_owned()))
    })
}

/// Asks for a list that only who has a key gets.
async fn list(
    service: &'static str,
    section: &ServiceSection,
    key: Option<&Key>,
    web: &Web,
) -> Result<String, ServiceError> {
    let url = section.url().replacen("ws", "http", usize::from(section.url().starts_with("ws")));
    let get = |path: &str| web.http().get(format!("{url}{path}"));
    let with =
        |request: RequestBuilder, header: &str, scheme: &str| match key.and_then(|key| key.header(scheme)) {
            Some(key) => request.header(header, key),
            None => request,
        };
    let request = match section.kind {
        Kind::Elevenlabs => with(get("/v1/models"), "xi-api-key", ""),
        Kind::Cartesia => with(get("/voices?limit=1"), "authorization", "Bearer")
            .header("cartesia-version", HeaderValue::from_static("2026-03-01")),
        Kind::Deepgram => with(get("/v1/auth/token"), "authorization", "Token"),
        Kind::Anthropic => with(get("/v1/models?limit=1"), "x-api-key", "")
            .header("anthropic-version", HeaderValue::from_static("2023-06-01")),
        Kind::Gemini => with(get("/v1beta/models?pageSize=1"), "x-goog-api-key", ""),
        _ => with(get("/models"), "authorization", "Bearer"),
    };
    match web.send(service, request, PATIENCE).await {
        Ok(_) if key.is_some() => Ok("it accepts the key".to_owned()),
        Ok(_) => Ok("it is there, and asks for no key".to_owned()),
        // Not every server that speaks like OpenAI's has such a list.
        Err(ServiceError::Rejected { .. }) => {
            Ok("it is there; whether it accepts the key is seen at the first request".to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Asks a Wyoming server what it is.
async fn describe(
    service: &'static str,
    section: &ServiceSection,
    web: &Web,
) -> Result<String, ServiceError> {
    let address = section.url().trim_start_matches("tcp://");
    let mut stream = web.tcp(service, address, PATIENCE).await?;
    let closed = |error: std::io::Error| ServiceError::Closed { service, what: error.to_string() };
    let asking = async {
        stream.write_all(b"{\"type\":\"describe\",\"data\":{}}\n").await.map_err(closed)?;
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line).await.map_err(closed)?;
        let told: Result<serde_json::Value, _> = serde_json::from_str(&line);
        match told {
            Ok(told) if told["type"] == "info" => Ok("it says what it is".to_owned()),
            _ => Err(ServiceError::Protocol { service, what: "it does not speak Wyoming".into() }),
        }
    };
    let late = ServiceError::Timeout { service, what: "answer", after: PATIENCE };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(late))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says this to everybody.
    async fn saying(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn each_service_gets_one_sentence_and_no_key_is_shown() {
        let fine = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
        let refuses = saying("HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let wyoming = saying("{\"type\":\"info\",\"data\":{}}\n").await;
        let text = format!(
            "[service.a-fine]\nkind = 'openai'\nurl = 'http://{fine}/v1'\nkey = 'hunter2'\n\
             [service.b-refuses]\nkind = 'deepgram'\nurl = 'ws://{refuses}'\nkey = 'hunter2'\n\
             [service.c-rack]\nkind = 'wyoming'\nurl = 'tcp://{wyoming}'\n\
             [service.d-program]\nkind = 'command'\ncommand = ['no-such-program']\n\
             [service.e-gone]\nkind = 'vosk'\nurl = 'ws://127.0.0.1:1'\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        let mut lines = String::new();
        assert!(!examine(&config, |check| lines += &check.render(false)).await);
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines[0].starts_with("ok") && lines[0].ends_with("a-fine: it accepts the key"), "{lines:#?}");
        assert!(
            lines[1].starts_with("FAILED") && lines[1].contains("b-refuses does not accept the key"),
            "{lines:#?}"
        );
        assert!(lines[2].contains("[service.b-refuses]: key_file"), "{lines:#?}");
        assert!(lines[3].ends_with("c-rack: it says what it is"), "{lines:#?}");
        assert!(lines[4].contains("there is no program `no-such-program`"), "{lines:#?}");
        assert!(lines[6].contains("e-gone cannot be reached"), "{lines:#?}");
        assert!(!lines.concat().contains("hunter2"));
    }
}
