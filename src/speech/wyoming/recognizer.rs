//! Recognition by a server of the Wyoming protocol: faster-whisper, whisper.cpp, vosk, speech-to-phrase and others.
//!
//! Source: the README and `wyoming/asr.py` of github.com/OHF-Voice/wyoming (1.10, November 2026). A connection hears one
//! utterance: `transcribe`, `audio-start`, `audio-chunk`s, `audio-stop`; then comes `transcript`, or, of a server that
//! streams, `transcript-start`, `transcript-chunk`s and `transcript-stop` around it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::frames::{Frames, event};
use crate::audio::Rate;
use crate::service::{ServiceError, Web};
use crate::speech::Expected;
use crate::speech::network::link::{Tcp, Wire};
use crate::speech::network::messages::{little_endian, nonsense};
use crate::speech::network::{
    AtPause, CONNECT_MS, Connecting, Connection, Dialect, FINAL_MS, NetworkRecognizer, News, Patience, Plan,
    Said, Service, wording,
};

/// How a server is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecognizerConfig {
    /// Where it listens: `HOST:PORT`, also as `tcp://HOST:PORT`.
    pub url: String,
    /// Which of its models; the server's own choice without.
    pub model: Option<String>,
    /// The language that callers speak, as `en`; the server's own choice without.
    pub language: Option<String>,
    /// Words and names that it should know, for servers that take such.
    pub terms: Vec<String>,
    /// The sample rate that it is sent, 8000 or 16000. Most servers convert what they get; some want 16000.
    pub sample_rate: u32,
    /// Milliseconds that a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that the transcript may take, once the caller is done.
    pub final_ms: u64,
}

impl Default for RecognizerConfig {
    fn default() -> Self {
        Self {
            url: "127.0.0.1:10300".to_owned(),
            model: None,
            language: None,
            terms: Vec::new(),
            sample_rate: 16_000,
            connect_ms: CONNECT_MS,
            final_ms: FINAL_MS,
        }
    }
}

/// A recogniser that asks a server of the Wyoming protocol; `name` is the service's in the configuration. Makes no
/// connection yet.
#[must_use]
pub fn recognizer(name: &'static str, config: RecognizerConfig, web: Web) -> NetworkRecognizer {
    let patience = Patience::of_ms(config.connect_ms, config.final_ms);
    NetworkRecognizer::new(Wyoming { name, config, web }, patience)
}

struct Wyoming {
    name: &'static str,
    config: RecognizerConfig,
    web: Web,
}

impl Service for Wyoming {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, _rate: Rate) -> Plan {
        Plan {
            rate: if self.config.sample_rate == 8_000 { Rate::Hz8000 } else { Rate::Hz16000 },
            chunk: Duration::from_millis(100),
            lasts: false,
            at_pause: AtPause::End,
            keep_alive: None,
        }
    }

    fn connect(&self, _expected: &Expected, rate: Rate) -> Connecting {
        let (name, web, config) = (self.name, self.web.clone(), self.config.clone());
        Box::pin(async move {
            let address = config.url.trim_start_matches("tcp://").trim_end_matches('/');
            let stream = web.tcp(name, address, Duration::from_millis(config.connect_ms)).await?;
            let dialect =
                WyomingDialect { name, rate, config, frames: Frames::new(name), tail: String::new() };
            Ok(Connection { link: Box::new(Tcp::new(name, stream)), dialect: Box::new(dialect) })
        })
    }
}

/// One utterance.
struct WyomingDialect {
    name: &'static str,
    rate: Rate,
    config: RecognizerConfig,
    frames: Frames,
    /// What came of a transcript that streams.
    tail: String,
}

impl WyomingDialect {
    fn format(&self) -> Value {
        json!({ "rate": self.rate.hz(), "width": 2, "channels": 1 })
    }
}

impl Dialect for WyomingDialect {
    fn begin(&mut self, expected: &Expected, out: &mut Vec<Wire>) {
        let mut about = json!({});
        if let Some(model) = &self.config.model {
            about["name"] = json!(model);
        }
        if let Some(language) = &self.config.language {
            about["language"] = json!(language);
        }
        let terms: Vec<String> = self.config.terms.iter().cloned().chain(wording::hints(expected)).collect();
        if !terms.is_empty() {
            about["transcript_terms"] = json!(terms);
        }
        out.push(Wire::Bytes(event("transcribe", about, &[])));
        out.push(Wire::Bytes(event("audio-start", self.format(), &[])));
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        out.push(Wire::Bytes(event("audio-chunk", self.format(), &little_endian(samples))));
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        out.push(Wire::Bytes(event("audio-stop", json!({}), &[])));
        false
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let Wire::Bytes(bytes) = wire else {
            return Err(nonsense(self.name, "text where bytes are expected"));
        };
        self.frames.push(&bytes)?;
        while let Some(event) = self.frames.next()? {
            let text = || event.data.get("text").and_then(Value::as_str);
            match event.kind.as_str() {
                "transcript" => {
                    let text = text().ok_or_else(|| nonsense(self.name, "a transcript without text"))?;
                    self.tail.clear();
                    news.extend([News::Settled(Said::new(text, None)), News::Caught]);
                }
                "transcript-start" => self.tail.clear(),
                "transcript-chunk" => {
                    self.tail.push_str(text().unwrap_or_default());
                    if self.tail.len() > Frames::LONGEST {
                        return Err(nonsense(self.name, "a transcript that does not end"));
                    }
                    news.push(News::Tail(Said::new(self.tail.clone(), None)));
                }
                "transcript-stop" if !self.tail.is_empty() => {
                    let said = Said::new(std::mem::take(&mut self.tail), None);
                    news.extend([News::Settled(said), News::Caught]);
                }
                "error" => {
                    let what = crate::service::error::short(text().unwrap_or("it does not say why"));
                    return Err(ServiceError::Broken { service: self.name, what });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
