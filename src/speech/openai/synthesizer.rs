//! Speech over HTTP as OpenAI does it: `POST /v1/audio/speech`, the audio coming back in pieces while it is made.
//!
//! Written from <https://platform.openai.com/docs/api-reference/audio/createSpeech> as of November 2026: `response_format` `pcm`
//! is 24 kHz, 16 bits, low byte first, without a header. Other servers that speak like it (kokoro-fastapi, speaches, LocalAI,
//! vLLM) send that, or WAV, or bare samples of another rate, which the configuration says.
//!
//! Word times: none are sent. Cancelling: the connection is closed in the middle of the answer.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::service::{Deadlines, Key, ServiceError, Web};
use crate::speech::pour::{Pour, pour};
use crate::speech::unwrap::Unwrap;
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};

/// How to ask for speech.
#[derive(Debug, Clone)]
pub struct OpenAiSpeechConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// The address up to and with `/v1`.
    pub url: String,
    /// The key; servers of the house have none.
    pub key: Option<Key>,
    /// Which model.
    pub model: String,
    /// The voice where an utterance names none.
    pub voice: String,
    /// The rate of bare samples, in Hz.
    pub sample_rate: u32,
    /// Requests at once.
    pub at_once: usize,
    /// What else is sent: `instructions`, `speed`.
    pub options: Map<String, Value>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks over HTTP. One for the whole engine.
pub struct OpenAiSpeech {
    config: Arc<OpenAiSpeechConfig>,
    web: Web,
    places: Arc<Semaphore>,
}

impl OpenAiSpeech {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: OpenAiSpeechConfig, web: Web) -> Self {
        let places = Arc::new(Semaphore::new(config.at_once.clamp(1, 10_000)));
        Self { config: Arc::new(config), web, places }
    }
}

impl Synthesizer for OpenAiSpeech {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (config, web, places) = (Arc::clone(&self.config), self.web.clone(), Arc::clone(&self.places));
        let wanted = utterance.clone();
        pour(self.config.name, utterance, async move |pour| {
            speak(&config, &web, &places, &wanted, pour).await
        })
    }
}

async fn speak(
    config: &OpenAiSpeechConfig,
    web: &Web,
    places: &Semaphore,
    utterance: &Utterance,
    mut pour: Pour,
) -> Result<(), SpeechError> {
    let service = config.name;
    let Deadlines { first, stall, .. } = config.deadlines;
    let late = |what, after| ServiceError::Timeout { service, what, after };
    let Ok(Ok(_place)) = timeout(first, places.acquire()).await else {
        return Err(late("place among the requests at once", first).into());
    };
    let mut request = web.http().post(format!("{}/audio/speech", config.url)).json(&body(config, utterance));
    if let Some(key) = config.key.as_ref().and_then(|key| key.header("Bearer")) {
        request = request.header(reqwest::header::AUTHORIZATION, key);
    }
    let mut answer = web.send(service, request, first).await?;
    let kind = answer.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if let Some(kind) =
        kind.filter(|kind| ["application/json", "text/", "audio/mpeg"].iter().any(|no| kind.starts_with(no)))
    {
        let what = format!("{} where audio was asked for", crate::service::error::short(kind));
        return Err(ServiceError::Protocol { service, what }.into());
    }
    let mut unwrap = Unwrap::new(config.sample_rate);
    loop {
        let within = if pour.has_begun() { stall } else { first };
        let piece = match timeout(within, answer.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(ServiceError::of_http(service, error).into()),
            Err(_) => return Err(late("audio", within).into()),
        };
        let samples = unwrap.push(&piece).map_err(|what| ServiceError::Protocol { service, what })?;
        if let Some((samples, hz)) = samples {
            pour.samples(&samples, hz).await?;
        }
    }
    if !pour.has_begun() {
        return Err(ServiceError::Closed { service, what: "without any audio".into() }.into());
    }
    pour.finish().await
}

/// The request's body; what the configuration has goes before what we would say.
fn body(config: &OpenAiSpeechConfig, utterance: &Utterance) -> Value {
    let voice = utterance.voice.as_deref().unwrap_or(&config.voice);
    let mut body = json!({
        "model": config.model,
        "input": utterance.text,
        "voice": voice,
        "response_format": "pcm",
    });
    if let Value::Object(body) = &mut body {
        body.extend(config.options.clone());
    }
    body
}
