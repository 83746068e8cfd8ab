//! Recognition by a vosk-server over its WebSocket.
//!
//! Source: `websocket/asr_server.py` of github.com/alphacep/vosk-server (as of November 2026) and
//! <https://alphacephei.com/vosk/server>. A connection hears one utterance: a `config` first, then 16-bit samples, each message
//! of which is answered by one of `{"partial": …}` or `{"text": …, "result": […]}` (a sentence that the server's own endpoint
//! closed), then `{"eof" : 1}`, which is answered by the last `text`; then the server closes.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Expected;
use super::network::link::{Socket, Wire};
use super::network::messages::{little_endian, mean, nonsense, read_json};
use super::network::{
    AtPause, CONNECT_MS, Connecting, Connection, Dialect, FINAL_MS, NetworkRecognizer, News, Patience, Plan,
    Said, Service, wording,
};
use crate::audio::Rate;
use crate::service::{ServiceError, Web};

/// How far the server's partial hypotheses run behind the sound: models look ahead.
const LAG: Duration = Duration::from_millis(300);

/// Messages that may be without an answer; who owes more answers is not followed any more.
const MOST_OWED: usize = 4_096;

/// How a vosk-server is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoskConfig {
    /// Where it listens: `ws://HOST:PORT`.
    pub url: String,
    /// Whether it is told the sentences of a grammar, so that it hears nothing else. Models with a fixed graph (the large
    /// ones) take no notice.
    pub grammar: bool,
    /// Milliseconds that a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that the last word may take, once the caller is done.
    pub final_ms: u64,
}

impl Default for VoskConfig {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:2700".to_owned(),
            grammar: true,
            connect_ms: CONNECT_MS,
            final_ms: FINAL_MS,
        }
    }
}

/// A recogniser that asks a vosk-server; `name` is the service's in the configuration. Makes no connection yet.
#[must_use]
pub fn recognizer(name: &'static str, config: VoskConfig, web: Web) -> NetworkRecognizer {
    let patience = Patience::of_ms(config.connect_ms, config.final_ms);
    NetworkRecognizer::new(Vosk { name, config, web }, patience)
}

struct Vosk {
    name: &'static str,
    config: VoskConfig,
    web: Web,
}

impl Service for Vosk {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, rate: Rate) -> Plan {
        Plan {
            rate,
            chunk: Duration::from_millis(100),
            lasts: false,
            at_pause: AtPause::Follow(LAG),
            keep_alive: None,
        }
    }

    fn connect(&self, _expected: &Expected, rate: Rate) -> Connecting {
        let (name, web, url) = (self.name, self.web.clone(), self.config.url.clone());
        let (most, grammar) = (Duration::from_millis(self.config.connect_ms), self.config.grammar);
        Box::pin(async move {
            let stream = web.websocket(name, &url, &[], most).await?;
            let dialect = VoskDialect { name, rate, grammar, owed: VecDeque::new(), sent: 0, ended: false };
            Ok(Connection { link: Box::new(Socket::new(name, stream)), dialect: Box::new(dialect) })
        })
    }
}

/// One utterance.
struct VoskDialect {
    name: &'static str,
    rate: Rate,
    grammar: bool,
    /// For each message that is not answered yet, how many samples were sent with it and before.
    owed: VecDeque<u64>,
    sent: u64,
    ended: bool,
}

/// What the server says.
#[derive(Deserialize)]
struct Heard {
    partial: Option<String>,
    text: Option<String>,
    #[serde(default)]
    result: Vec<Word>,
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Word {
    conf: Option<f32>,
}

/// With `max_alternatives` set on the server; its confidences are no probabilities.
#[derive(Deserialize)]
struct Alternative {
    text: String,
}

impl Dialect for VoskDialect {
    fn begin(&mut self, expected: &Expected, out: &mut Vec<Wire>) {
        let mut config = json!({ "sample_rate": self.rate.hz(), "words": true });
        let mut phrases = wording::hints(expected);
        if self.grammar && !phrases.is_empty() {
            // The server's word for everything else.
            phrases.push("[unk]".to_owned());
            config["phrase_list"] = json!(phrases);
        }
        out.push(Wire::Text(json!({ "config": config }).to_string()));
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        self.sent += samples.len() as u64;
        if self.owed.len() < MOST_OWED {
            self.owed.push_back(self.sent);
        }
        out.push(Wire::Bytes(little_endian(samples)));
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        self.ended = true;
        // To the letter: the server compares the text.
        out.push(Wire::Text("{\"eof\" : 1}".to_owned()));
        false
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let heard: Heard = read_json(self.name, &wire)?;
        let answered = self.owed.pop_front();
        if let Some(samples) = answered {
            news.push(News::Heard(self.rate.duration(samples)));
        }
        if let Some(partial) = heard.partial {
            news.push(News::Tail(Said::new(known(&partial), None)));
        } else if let Some(text) =
            heard.text.or_else(|| heard.alternatives.into_iter().next().map(|best| best.text))
        {
            let confidence = mean(heard.result.iter().filter_map(|word| word.conf));
            news.push(News::Settled(Said::new(known(&text), confidence)));
        } else {
            return Err(nonsense(self.name, "neither `partial` nor `text` in a message"));
        }
        if self.ended && answered.is_none() {
            news.push(News::Caught);
        }
        Ok(())
    }
}

/// The text without the server's word for what it does not know.
fn known(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "[unk]").collect::<Vec<_>>().join(" ")
}
