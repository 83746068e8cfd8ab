//! Recognition by Deepgram: Nova over `/v1/listen`, and Flux, which has an ear for turns, over `/v2/listen`.
//!
//! Sources (November 2026): <https://developers.deepgram.com/reference/speech-to-text/listen-streaming>, `/docs/finalize`,
//! `/docs/audio-keep-alive`, `/docs/close-stream` and `/docs/keyterm` there; of Flux
//! <https://developers.deepgram.com/reference/speech-to-text/listen-flux>, `/docs/flux/state`, `/docs/flux/configuration` and
//! `/docs/flux/force-end-turn`. One connection serves the call. It goes on between two questions by `KeepAlive` (Flux: a
//! breath of silence); the words that the next question shall know belong to the address, so that it is made anew when they
//! change.

use std::time::Duration;

use serde::Deserialize;

use super::flux::FluxDialect;
use super::nova::NovaDialect;
use crate::audio::Rate;
use crate::service::{Key, ServiceError, Web};
use crate::speech::grammar::Expects;
use crate::speech::network::link::Socket;
use crate::speech::network::{
    AtPause, CONNECT_MS, Connecting, Connection, Dialect, FINAL_MS, NetworkRecognizer, Patience, Plan,
    Service, wording,
};
use crate::speech::{Expected, witness};

/// Deepgram takes 500 tokens of key terms: phrases of a menu.
const MOST_TERMS: usize = 50;

/// How often a connection that is not spoken over wants to hear of us; it is closed after 10 s.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// How Deepgram is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecognizerConfig {
    /// The address without a path.
    pub url: String,
    /// `nova-3` and others for `/v1/listen`; what begins with `flux` goes to `/v2/listen`.
    pub model: String,
    /// The language that callers speak, as `en` or `de`, or `multi`; [`None`] for the model's own. Flux: a hint to
    /// `flux-general-multi`.
    pub language: Option<String>,
    /// Names and words that it should know, beside those of a question's grammar. Nova-3 and Flux.
    pub keyterms: Vec<String>,
    /// Nova: with numerals, dates and the like as people write them. Good for language models, of no use to grammars.
    pub smart_format: bool,
    /// Nova: after so many milliseconds of silence it settles what it heard. It is asked at every pause anyway.
    pub endpointing_ms: u32,
    /// Flux: how sure it has to be that the caller is done to say so, 0.5 to 1.
    pub eot_threshold: f32,
    /// Flux: how sure it has to be to say that he may be done, 0.3 to 0.9; [`None`] to be told at the end only.
    pub eager_eot_threshold: Option<f32>,
    /// Flux: it ends a turn after so much silence, whatever it believes.
    pub eot_timeout_ms: u32,
    /// Keeps what is sent out of the training of their models; may cost more.
    pub mip_opt_out: bool,
    /// Milliseconds that a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that the last word may take, once the caller is done.
    pub final_ms: u64,
}

impl Default for RecognizerConfig {
    fn default() -> Self {
        Self {
            url: "wss://api.deepgram.com".to_owned(),
            model: "nova-3".to_owned(),
            language: None,
            keyterms: Vec::new(),
            smart_format: false,
            endpointing_ms: 300,
            eot_threshold: 0.7,
            eager_eot_threshold: Some(0.5),
            eot_timeout_ms: 5_000,
            mip_opt_out: false,
            connect_ms: CONNECT_MS,
            final_ms: FINAL_MS,
        }
    }
}

/// A recogniser that asks Deepgram; `name` is the service's in the configuration. Makes no connection yet.
#[must_use]
pub fn recognizer(
    name: &'static str,
    config: RecognizerConfig,
    key: Option<Key>,
    web: Web,
) -> NetworkRecognizer {
    let patience = Patience::of_ms(config.connect_ms, config.final_ms);
    NetworkRecognizer::new(Deepgram { name, config, key, web }, patience)
}

struct Deepgram {
    name: &'static str,
    config: RecognizerConfig,
    key: Option<Key>,
    web: Web,
}

impl Deepgram {
    fn is_flux(&self) -> bool {
        self.config.model.starts_with("flux")
    }

    /// What it should know: of a menu its phrases; digits, yes and no it knows.
    fn terms(&self, expected: &Expected) -> Vec<String> {
        if !self.is_flux() && !self.config.model.starts_with("nova-3") {
            return Vec::new();
        }
        let menu = expected.grammar().is_some_and(|grammar| grammar.expects() == Expects::Menu);
        let hints = if menu { wording::hints(expected) } else { Vec::new() };
        self.config.keyterms.iter().cloned().chain(hints).take(MOST_TERMS).collect()
    }

    fn address(&self, expected: &Expected, rate: Rate) -> Option<String> {
        let config = &self.config;
        let path = if self.is_flux() { "/v2/listen" } else { "/v1/listen" };
        let mut url = reqwest::Url::parse(&format!("{}{path}", config.url.trim_end_matches('/'))).ok()?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("model", &config.model);
            let encoding = if rate == Rate::Hz8000 { "mulaw" } else { "linear16" };
            query.append_pair("encoding", encoding).append_pair("sample_rate", &rate.hz().to_string());
            if self.is_flux() {
                query.append_pair("eot_threshold", &config.eot_threshold.to_string());
                if let Some(eager) = config.eager_eot_threshold {
                    query.append_pair("eager_eot_threshold", &eager.to_string());
                }
                query.append_pair("eot_timeout_ms", &config.eot_timeout_ms.to_string());
                if let Some(language) = &config.language {
                    query.append_pair("language_hint", language);
                }
            } else {
                query.append_pair("channels", "1").append_pair("interim_results", "true");
                query.append_pair("punctuate", "true");
                query.append_pair("endpointing", &config.endpointing_ms.to_string());
                if config.smart_format {
                    query.append_pair("smart_format", "true");
                }
                if let Some(language) = &config.language {
                    query.append_pair("language", language);
                }
            }
            if config.mip_opt_out {
                query.append_pair("mip_opt_out", "true");
            }
            for term in self.terms(expected) {
                query.append_pair("keyterm", &term);
            }
        }
        Some(url.into())
    }
}

impl Service for Deepgram {
    fn name(&self) -> &'static str {
        self.name
    }

    fn plan(&self, rate: Rate) -> Plan {
        Plan {
            rate,
            // Flux wants 80 ms at a time.
            chunk: Duration::from_millis(if self.is_flux() { 80 } else { 60 }),
            lasts: true,
            at_pause: if self.is_flux() { AtPause::Follow(Duration::ZERO) } else { AtPause::Flush },
            keep_alive: Some(KEEP_ALIVE),
        }
    }

    fn connect(&self, expected: &Expected, rate: Rate) -> Connecting {
        let (name, web, address) = (self.name, self.web.clone(), self.address(expected, rate));
        let key = self.key.as_ref().map(|key| key.header("Token"));
        let (most, is_flux) = (Duration::from_millis(self.config.connect_ms), self.is_flux());
        Box::pin(async move {
            let wrong = |what: &str| ServiceError::Rejected { service: name, what: what.to_owned() };
            let address = address.ok_or_else(|| wrong("its `url` is no address"))?;
            let mut headers = Vec::new();
            if let Some(key) = key {
                let key = key.ok_or_else(|| wrong("its `key` has characters that no key has"))?;
                headers.push(("authorization", key));
            }
            let stream = web.websocket(name, &address, &headers, most).await?;
            let dialect: Box<dyn Dialect> = if is_flux {
                Box::new(FluxDialect::new(name, rate))
            } else {
                Box::new(NovaDialect::new(name, rate))
            };
            Ok(Connection { link: Box::new(Socket::new(name, stream)), dialect })
        })
    }

    fn fitted(&self, expected: &Expected) -> u64 {
        witness::fingerprint(&self.terms(expected).join("\n"))
    }
}
