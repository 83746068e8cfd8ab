//! Speech over the Wyoming protocol: piper, and whatever else has a server for it.
//!
//! Written from <https://github.com/OHF-Voice/wyoming> (its README) as of November 2026, and tried with version 1.8.0 of its package. A
//! server is asked once what it is (`describe`): one that speaks while it is still given text is given it as a stream
//! (`synthesize-start`, `-chunk`, `-stop`, its `synthesize-stopped` at the end) and speaks sentence by sentence; any other one gets
//! one `synthesize`, and `audio-stop` is the end. Each text has a connection of its own.
//!
//! Word times: none are sent. Cancelling: the connection is closed.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::frames::{Event, Frames, event};
use crate::service::{Deadlines, ServiceError, Web};
use crate::speech::pour::{Pour, pour};
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};

/// Bytes that are read at once.
const PIECE: usize = 8_192;

/// How to ask for speech.
#[derive(Debug, Clone)]
pub struct WyomingSpeechConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// Where the server is: `tcp://HOST:PORT`, or `HOST:PORT`.
    pub url: String,
    /// The voice where an utterance names none; without it the server's own.
    pub voice: Option<String>,
    /// The language, for servers that choose the voice by it.
    pub language: Option<String>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks over Wyoming. One for the whole engine.
pub struct WyomingSpeech {
    config: Arc<WyomingSpeechConfig>,
    web: Web,
    /// Whether it speaks while it is given text; known from the first connection on.
    streams: Arc<OnceCell<bool>>,
}

impl WyomingSpeech {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: WyomingSpeechConfig, web: Web) -> Self {
        Self { config: Arc::new(config), web, streams: Arc::default() }
    }
}

impl Synthesizer for WyomingSpeech {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (config, web, streams) = (Arc::clone(&self.config), self.web.clone(), Arc::clone(&self.streams));
        let wanted = utterance.clone();
        pour(self.config.name, utterance, async move |pour| {
            let name = config.name;
            let connect = config.deadlines.connect;
            let stream = web.tcp(name, address(&config.url), connect).await?;
            let mut talk = Talk { config: &config, stream, frames: Frames::new(name) };
            let streaming = *streams.get_or_try_init(|| talk.streams()).await?;
            talk.speak(&wanted, streaming, pour).await
        })
    }
}

/// What the address is to TCP.
fn address(url: &str) -> &str {
    url.trim_start_matches("tcp://").trim_end_matches('/')
}

/// One connection.
struct Talk<'a> {
    config: &'a WyomingSpeechConfig,
    stream: TcpStream,
    frames: Frames,
}

impl Talk<'_> {
    /// Whether it speaks while it is given text.
    async fn streams(&mut self) -> Result<bool, ServiceError> {
        self.send(&event("describe", json!({}), &[])).await?;
        let by = Instant::now() + self.config.deadlines.first;
        loop {
            let told = self.next(by, "answer to `describe`").await?;
            if told.kind == "info" {
                let programs = told.data.get("tts").and_then(Value::as_array).into_iter().flatten();
                return Ok(programs
                    .into_iter()
                    .any(|program| program["supports_synthesize_streaming"] == true));
            }
        }
    }

    async fn speak(
        &mut self,
        utterance: &Utterance,
        streaming: bool,
        mut pour: Pour,
    ) -> Result<(), SpeechError> {
        let service = self.config.name;
        self.send(&request(self.config, utterance, streaming)).await?;
        let deadlines = self.config.deadlines;
        let first_by = Instant::now() + deadlines.first;
        loop {
            let (by, what) = match pour.has_begun() {
                true => (Instant::now() + deadlines.stall, "more audio"),
                false => (first_by, "audio"),
            };
            let told = self.next(by, what).await?;
            match told.kind.as_str() {
                "audio-chunk" => {
                    let number = |name: &str| told.data.get(name).and_then(Value::as_u64);
                    let hz = number("rate").and_then(|hz| u32::try_from(hz).ok()).unwrap_or_default();
                    if (number("width"), number("channels")) != (Some(2), Some(1)) {
                        let what = "audio that is not 16 bits and one channel".to_owned();
                        return Err(ServiceError::Protocol { service, what }.into());
                    }
                    pour.linear(&told.payload, hz).await?;
                }
                "error" => {
                    let what = told.data.get("text").and_then(Value::as_str).unwrap_or("no reason given");
                    let what = crate::service::error::short(what);
                    return Err(ServiceError::Broken { service, what }.into());
                }
                "synthesize-stopped" => break,
                "audio-stop" if !streaming => break,
                _ => {}
            }
        }
        if !pour.has_begun() {
            let what = "it is done, and there was no audio".to_owned();
            return Err(ServiceError::Broken { service, what }.into());
        }
        pour.finish().await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        let by = Instant::now() + self.config.deadlines.connect;
        let service = self.config.name;
        match timeout_at(by, self.stream.write_all(bytes)).await {
            Ok(written) => written.map_err(|error| ServiceError::Closed { service, what: error.to_string() }),
            Err(_) => Err(self.late("room for the text")),
        }
    }

    /// The next event.
    async fn next(&mut self, by: Instant, what: &'static str) -> Result<Event, ServiceError> {
        let service = self.config.name;
        let mut piece = vec![0; PIECE];
        loop {
            if let Some(event) = self.frames.next()? {
                return Ok(event);
            }
            match timeout_at(by, self.stream.read(&mut piece)).await {
                Ok(Ok(0)) => return Err(ServiceError::Closed { service, what: "without a word".into() }),
                Ok(Ok(count)) => self.frames.push(&piece[..count])?,
                Ok(Err(error)) => return Err(ServiceError::Closed { service, what: error.to_string() }),
                Err(_) => return Err(self.late(what)),
            }
        }
    }

    fn late(&self, what: &'static str) -> ServiceError {
        let Deadlines { first, stall, .. } = self.config.deadlines;
        let after = if what == "more audio" { stall } else { first };
        ServiceError::Timeout { service: self.config.name, what, after }
    }
}

/// What is sent for a text.
fn request(config: &WyomingSpeechConfig, utterance: &Utterance, streaming: bool) -> Vec<u8> {
    let voice = utterance.voice.as_ref().or(config.voice.as_ref());
    let voice = json!({ "name": voice, "language": config.language });
    let wanted: serde_json::Map<String, Value> = voice
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let with_voice = |mut data: Value| {
        if !wanted.is_empty() {
            data["voice"] = Value::Object(wanted.clone());
        }
        data
    };
    let text = json!({ "text": utterance.text });
    if !streaming {
        return event("synthesize", with_voice(text), &[]).to_vec();
    }
    let parts = [
        event("synthesize-start", with_voice(json!({})), &[]),
        event("synthesize-chunk", text, &[]),
        event("synthesize-stop", json!({}), &[]),
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    #[test]
    fn a_text_is_asked_for_whole_or_as_a_stream() {
        let config = WyomingSpeechConfig {
            name: "piper",
            url: "tcp://127.0.0.1:10200".into(),
            voice: Some("amy".into()),
            language: None,
            deadlines: Deadlines::USUAL,
        };
        assert_eq!(address(&config.url), "127.0.0.1:10200");
        let utterance = Utterance { text: "Hi.".into(), voice: None, rate: Rate::Hz8000 };
        let kinds = |streaming| {
            let mut frames = Frames::new("piper");
            frames.push(&request(&config, &utterance, streaming)).unwrap();
            std::iter::from_fn(|| frames.next().unwrap())
                .map(|event| (event.kind, Value::Object(event.data)))
                .collect::<Vec<_>>()
        };
        let whole = json!({ "text": "Hi.", "voice": { "name": "amy" } });
        assert_eq!(kinds(false), [("synthesize".to_owned(), whole)]);
        let stream = kinds(true);
        assert_eq!(stream[0], ("synthesize-start".to_owned(), json!({ "voice": { "name": "amy" } })));
        assert_eq!(stream[1], ("synthesize-chunk".to_owned(), json!({ "text": "Hi." })));
        assert_eq!(stream[2].0, "synthesize-stop");
    }
}
