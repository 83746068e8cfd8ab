//! Recognition by sherpa-onnx's streaming server over its WebSocket.
//!
//! Source: `sherpa-onnx/csrc/online-websocket-server-impl.cc` and `python-api-examples/streaming_server.py` of
//! github.com/k2-fsa/sherpa-onnx, <https://k2-fsa.github.io/sherpa/onnx/websocket/online-websocket.html> (November 2026).
//! Samples go out as 32-bit floats from -1 to 1, `Done` behind the last. JSON comes with `text` of the `segment` under way
//! (a segment ends at the server's own endpoint), and after `Done` the server in C++ says `is_eof` and `Done!`, the one in
//! Python a last message before it closes. A connection is used for one utterance: both agree on that.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::Expected;
use super::network::link::{Socket, Wire};
use super::network::messages::read_json;
use super::network::{
    AtPause, CONNECT_MS, Connecting, Connection, Dialect, FINAL_MS, NetworkRecognizer, News, Patience, Plan,
    Said, Service,
};
use crate::audio::Rate;
use crate::service::{ServiceError, Web};

/// How far what it says runs behind what it was sent: it decodes 320 ms at a time.
const LAG: Duration = Duration::from_millis(640);

/// How a server is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SherpaConfig {
    /// Where it listens: `ws://HOST:PORT`.
    pub url: String,
    /// The sample rate that the server expects, 8000 or 16000 (`--input-sample-rate` or `--sample-rate` there).
    pub sample_rate: u32,
    /// Milliseconds that a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that the last word may take, once the caller is done.
    pub final_ms: u64,
}

impl Default for SherpaConfig {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:6006".to_owned(),
            sample_rate: 16_000,
            connect_ms: CONNECT_MS,
            final_ms: FINAL_MS,
        }
    }
}

/// A recogniser that asks sherpa-onnx's streaming server; `name` is the service's in the configuration. Makes no connection
/// yet.
#[must_use]
pub fn recognizer(name: &'static str, config: SherpaConfig, web: Web) -> NetworkRecognizer {
    let patience = Patience::of_ms(config.connect_ms, config.final_ms);
    NetworkRecognizer::new(Sherpa { name, config, web }, patience)
}

struct Sherpa {
    name: &'static str,
    config: SherpaConfig,
    web: Web,
}

impl Service for Sherpa {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, _rate: Rate) -> Plan {
        Plan {
            rate: if self.config.sample_rate == 8_000 { Rate::Hz8000 } else { Rate::Hz16000 },
            chunk: Duration::from_millis(100),
            lasts: false,
            at_pause: AtPause::Follow(LAG),
            keep_alive: None,
        }
    }

    fn connect(&self, _expected: &Expected, rate: Rate) -> Connecting {
        let (name, web, url) = (self.name, self.web.clone(), self.config.url.clone());
        let most = Duration::from_millis(self.config.connect_ms);
        Box::pin(async move {
            let stream = web.websocket(name, &url, &[], most).await?;
            let dialect =
                SherpaDialect { name, rate, sent: 0, segment: 0, ended: false, tells_the_end: false };
            Ok(Connection { link: Box::new(Socket::new(name, stream)), dialect: Box::new(dialect) })
        })
    }
}

/// One utterance.
struct SherpaDialect {
    name: &'static str,
    rate: Rate,
    sent: u64,
    /// The segment that is under way.
    segment: u64,
    ended: bool,
    /// It is the server in C++, which says when it has said all.
    tells_the_end: bool,
}

#[derive(Deserialize)]
struct Heard {
    text: String,
    #[serde(default)]
    segment: u64,
    /// The segment is over.
    #[serde(default)]
    is_final: bool,
    /// So is all. The server in Python does not say.
    is_eof: Option<bool>,
    /// Logarithms of how sure it is, piece by piece, of models that tell.
    #[serde(default)]
    ys_probs: Vec<f32>,
}

impl Dialect for SherpaDialect {
    fn begin(&mut self, _expected: &Expected, _out: &mut Vec<Wire>) {}

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        self.sent += samples.len() as u64;
        let floats: Bytes =
            samples.iter().flat_map(|sample| (f32::from(*sample) / 32_768.0).to_le_bytes()).collect();
        out.push(Wire::Bytes(floats));
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        self.ended = true;
        out.push(Wire::Text("Done".to_owned()));
        false
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        if matches!(&wire, Wire::Text(text) if text == "Done!") {
            news.push(News::Caught);
            return Ok(());
        }
        let heard: Heard = read_json(self.name, &wire)?;
        self.tells_the_end |= heard.is_eof.is_some();
        if heard.segment < self.segment {
            return Ok(());
        }
        let said =
            Said::new(heard.text, super::network::messages::mean_probability(heard.ys_probs.into_iter()));
        if heard.segment > self.segment {
            // The server in Python begins a segment without having called the last one final: its last words stand.
            news.push(News::Keep);
            self.segment = heard.segment;
        }
        if heard.is_final || heard.is_eof == Some(true) {
            self.segment += 1;
            news.push(News::Settled(said));
        } else {
            news.push(News::Tail(said));
        }
        news.push(News::Heard(self.rate.duration(self.sent)));
        if heard.is_eof == Some(true) {
            news.push(News::Caught);
        }
        Ok(())
    }

    /// The server in Python closes in good order behind its last message, which looks like those before it.
    fn closed(&mut self, how: &ServiceError, news: &mut Vec<News>) -> bool {
        let orderly = matches!(how, ServiceError::Closed { what, .. } if what.starts_with("1000") || what.starts_with("1005"));
        let said_all = self.ended && !self.tells_the_end && orderly;
        if said_all {
            news.extend([News::Keep, News::Caught]);
        }
        said_all
    }
}
