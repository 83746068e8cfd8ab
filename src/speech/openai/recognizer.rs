//! Recognition by OpenAI and by what speaks like it: whole utterances over HTTP, or as they are spoken over the realtime
//! WebSocket.
//!
//! Sources (November 2026): <https://developers.openai.com/api/docs/guides/realtime-transcription>,
//! `/api/docs/guides/speech-to-text` and the reference of `audio/transcriptions` and of the realtime events there.

use std::time::Duration;

use serde::Deserialize;

use super::realtime::{self, RealtimeDialect};
use super::transcription::{self, TranscriptionDialect};
use crate::audio::Rate;
use crate::service::{Key, ServiceError, Web};
use crate::speech::Expected;
use crate::speech::network::link::{Link as _, Requests, Socket, Wire};
use crate::speech::network::{
    AtPause, CONNECT_MS, Connecting, Connection, FINAL_MS, NetworkRecognizer, Patience, Plan, Service,
    wording,
};

/// How a server is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecognizerConfig {
    /// The address up to the version.
    pub url: String,
    /// Which way: whole utterances over HTTP, or as they are spoken.
    pub realtime: bool,
    /// Which model; without, `gpt-4o-mini-transcribe` for whole utterances and `gpt-live-transcribe` for those that are
    /// spoken.
    pub model: Option<String>,
    /// The language that callers speak, as `en`; it finds out by itself without.
    pub language: Option<String>,
    /// What it should know of what callers say: names, words. The phrases of a question's grammar are added.
    pub prompt: Option<String>,
    /// Milliseconds that a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that the transcript may take, once the caller is done.
    pub final_ms: u64,
}

impl Default for RecognizerConfig {
    fn default() -> Self {
        Self {
            url: "https://api.openai.com/v1".to_owned(),
            realtime: false,
            model: None,
            language: None,
            prompt: None,
            connect_ms: CONNECT_MS,
            final_ms: FINAL_MS,
        }
    }
}

impl RecognizerConfig {
    pub(super) fn model(&self) -> &str {
        let usual = if self.realtime { "gpt-live-transcribe" } else { "gpt-4o-mini-transcribe" };
        self.model.as_deref().unwrap_or(usual)
    }

    /// What it is told to expect.
    pub(super) fn prompt(&self, expected: &Expected) -> Option<String> {
        let hints = wording::hints(expected);
        let hints = (!hints.is_empty()).then(|| format!("{}.", hints.join(", ")));
        match (&self.prompt, hints) {
            (Some(prompt), Some(hints)) => Some(format!("{prompt} {hints}")),
            (prompt, hints) => prompt.clone().or(hints),
        }
    }
}

/// A recogniser that asks OpenAI or what speaks like it; `name` is the service's in the configuration. Makes no connection
/// yet.
#[must_use]
pub fn recognizer(
    name: &'static str,
    config: RecognizerConfig,
    key: Option<Key>,
    web: Web,
) -> NetworkRecognizer {
    let patience = Patience::of_ms(config.connect_ms, config.final_ms);
    NetworkRecognizer::new(OpenAi { name, config, key, web }, patience)
}

struct OpenAi {
    name: &'static str,
    config: RecognizerConfig,
    key: Option<Key>,
    web: Web,
}

impl Service for OpenAi {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, rate: Rate) -> Plan {
        Plan {
            rate: if self.config.realtime { Rate::Hz8000 } else { rate },
            chunk: Duration::from_millis(100),
            lasts: self.config.realtime,
            at_pause: if self.config.realtime { AtPause::Flush } else { AtPause::End },
            keep_alive: None,
        }
    }

    fn connect(&self, expected: &Expected, rate: Rate) -> Connecting {
        let (name, web, config) = (self.name, self.web.clone(), self.config.clone());
        let key = self.key.as_ref().map(|key| key.header("Bearer"));
        let prompt = config.prompt(expected);
        Box::pin(async move {
            let wrong = |what: &str| ServiceError::Rejected { service: name, what: what.to_owned() };
            let key = key
                .map(|key| key.ok_or_else(|| wrong("its `key` has characters that no key has")))
                .transpose()?;
            if !config.realtime {
                let dialect = TranscriptionDialect::new(name, rate);
                let link = Requests::new(move |wire| {
                    transcription::post(name, &web, &config, key.as_ref(), prompt.as_deref(), &wire)
                });
                return Ok(Connection { link: Box::new(link), dialect: Box::new(dialect) });
            }
            let headers: Vec<_> = key.into_iter().map(|key| ("authorization", key)).collect();
            let address = format!("{}/realtime?intent=transcription", config.url.trim_end_matches('/'));
            let most = Duration::from_millis(config.connect_ms);
            let stream = web.websocket(name, &address, &headers, most).await?;
            let mut link = Socket::new(name, stream);
            link.send(Wire::Text(realtime::session(&config, prompt.as_deref())))?;
            Ok(Connection { link: Box::new(link), dialect: Box::new(RealtimeDialect::new(name, rate)) })
        })
    }

    fn fitted(&self, expected: &Expected) -> u64 {
        // A connection for whole utterances is none.
        let prompt = self.config.realtime.then(|| self.config.prompt(expected)).flatten();
        crate::speech::witness::fingerprint(prompt.as_deref().unwrap_or_default())
    }
}
