//! One utterance, one request: a WAV file goes out, its text comes back.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use super::recognizer::RecognizerConfig;
use crate::audio::Rate;
use crate::service::{ServiceError, Web};
use crate::speech::Expected;
use crate::speech::network::link::{Reply, Wire};
use crate::speech::network::messages::{little_endian, mean_probability, read_json};
use crate::speech::network::{Dialect, News, Said};

/// No answer to an utterance is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// Whoever waits for the answer has a deadline of his own; this is for requests that he forgot.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The audio of an utterance, until it is over.
pub(super) struct TranscriptionDialect {
    name: &'static str,
    rate: Rate,
    audio: Vec<i16>,
}

#[derive(Deserialize)]
struct Transcript {
    text: String,
    /// Of the newer models, when they were asked for.
    #[serde(default)]
    logprobs: Option<Vec<Token>>,
    /// Of `verbose_json`.
    #[serde(default)]
    segments: Option<Vec<Segment>>,
}

#[derive(Deserialize)]
struct Token {
    logprob: f32,
}

#[derive(Deserialize)]
struct Segment {
    avg_logprob: Option<f32>,
}

impl TranscriptionDialect {
    pub(super) const fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, audio: Vec::new() }
    }
}

impl Dialect for TranscriptionDialect {
    fn begin(&mut self, _expected: &Expected, _out: &mut Vec<Wire>) {
        self.audio.clear();
    }

    fn audio(&mut self, samples: &[i16], _out: &mut Vec<Wire>) {
        // Whoever hands it over bounds it.
        self.audio.extend_from_slice(samples);
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        out.push(Wire::Bytes(wav(&self.audio, self.rate)));
        false
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let transcript: Transcript = read_json(self.name, &wire)?;
        let tokens = transcript.logprobs.unwrap_or_default();
        let segments = transcript.segments.unwrap_or_default();
        let told = tokens.iter().map(|token| token.logprob);
        let confidence =
            mean_probability(told.chain(segments.iter().filter_map(|segment| segment.avg_logprob)));
        news.extend([News::Settled(Said::new(transcript.text, confidence)), News::Caught]);
        Ok(())
    }
}

/// Sends a WAV file to be transcribed.
pub(super) fn post(
    service: &'static str,
    web: &Web,
    config: &RecognizerConfig,
    key: Option<&HeaderValue>,
    prompt: Option<&str>,
    wire: &Wire,
) -> Reply {
    let Wire::Bytes(wav) = wire else {
        let what = "text in the place of audio".to_owned();
        return Box::pin(async move { Err(ServiceError::Protocol { service, what }) });
    };
    let mut form = Form::new();
    form.field("model", config.model());
    // Whisper's own servers know nothing of log probabilities, and refuse what they do not know.
    if config.model().starts_with("gpt-") {
        form.field("response_format", "json");
        form.field("include[]", "logprobs");
    } else {
        form.field("response_format", "verbose_json");
    }
    if let Some(language) = &config.language {
        form.field("language", language);
    }
    if let Some(prompt) = prompt {
        form.field("prompt", prompt);
    }
    let (kind, body) = form.with_file(wav);
    let address = format!("{}/audio/transcriptions", config.url.trim_end_matches('/'));
    let mut request = web.http().post(address).header(CONTENT_TYPE, kind).body(body);
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, key.clone());
    }
    let web = web.clone();
    Box::pin(async move {
        let answer = web.send(service, request, LONGEST_WAIT).await?;
        Ok(Wire::Bytes(web.read(service, answer, LONGEST_ANSWER).await?.into()))
    })
}

/// A form of several parts (RFC 7578).
struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    fn new() -> Self {
        Self {
            boundary: format!("offhook-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            body: Vec::new(),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        let part = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n",
            self.boundary
        );
        self.body.extend_from_slice(part.as_bytes());
    }

    /// The whole, and its kind.
    fn with_file(mut self, wav: &[u8]) -> (String, Vec<u8>) {
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"utterance.wav\"\r\nContent-Type: audio/wav\r\n\r\n",
            self.boundary
        );
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(wav);
        self.body.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }
}

/// A WAV file in memory: 16 bits, mono.
fn wav(samples: &[i16], rate: Rate) -> Bytes {
    let size = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX - 36);
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(size + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&rate.hz().to_le_bytes());
    file.extend_from_slice(&(rate.hz() * 2).to_le_bytes());
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&little_endian(samples));
    file.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_that_others_read() {
        let samples: Vec<i16> = (0..800).collect();
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("utterance.wav");
        std::fs::write(&path, wav(&samples, Rate::Hz8000)).expect("there is room");
        let read = crate::audio::wav::read(&path).expect("a WAV file");
        assert_eq!((read.rate_hz, read.samples), (8_000, samples));
    }

    #[test]
    fn a_transcript_comes_in_several_shapes() {
        let mut dialect = TranscriptionDialect::new("cloud", Rate::Hz8000);
        for (body, sure) in [
            (r#"{"text":"Yes."}"#, None),
            (
                r#"{"text":"Yes.","logprobs":[{"token":"Yes","logprob":-0.1,"bytes":[]},{"token":".","logprob":-0.1}]}"#,
                Some(0.905),
            ),
            (r#"{"text":"Yes.","segments":[{"id":0,"avg_logprob":-0.6931472}]}"#, Some(0.5)),
        ] {
            let mut news = Vec::new();
            dialect.hear(Wire::Text(body.to_owned()), &mut news).expect("right");
            let [News::Settled(said), News::Caught] = &news[..] else { panic!("{news:?}") };
            assert_eq!(said.text, "Yes.");
            match (said.confidence, sure) {
                (Some(told), Some(sure)) => assert!((told - sure).abs() < 0.001_f32, "{told}"),
                (told, sure) => assert_eq!(told, sure),
            }
        }
        for body in ["", "null", "{}", "<html>", r#"{"text":5}"#] {
            assert!(dialect.hear(Wire::Text(body.to_owned()), &mut Vec::new()).is_err());
        }
    }
}
