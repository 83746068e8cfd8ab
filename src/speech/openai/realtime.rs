//! What is said on a realtime connection that only transcribes.
//!
//! Audio goes out as base64 in `input_audio_buffer.append`; `input_audio_buffer.commit` at each pause makes an item of it,
//! whose text comes as `…transcription.delta` and, whole, as `…transcription.completed`. Items of one utterance are joined.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::recognizer::RecognizerConfig;
use crate::audio::Rate;
use crate::audio::g711::Law;
use crate::service::ServiceError;
use crate::service::error::short;
use crate::speech::Expected;
use crate::speech::network::link::Wire;
use crate::speech::network::messages::{mean, mean_probability, nonsense, read_json};
use crate::speech::network::{Dialect, News, Said};

/// What is shorter cannot be committed.
const LEAST: usize = 800;

/// Items that are remembered; what is told of older ones is of no interest.
const MOST_ITEMS: usize = 64;

/// The text of one item; what is longer is no utterance's.
const MOST_TEXT: usize = 16 * 1024;

/// One connection.
pub(super) struct RealtimeDialect {
    name: &'static str,
    /// Numbers the utterances.
    utterance: u64,
    /// Samples appended and not committed.
    appended: usize,
    /// Utterances whose commits are not confirmed yet.
    commits: VecDeque<u64>,
    /// How often the buffer was cleared without that being confirmed: what is told meanwhile of new items was said before.
    clearing: u32,
    items: VecDeque<Item>,
}

struct Item {
    id: String,
    utterance: u64,
    text: String,
    confidence: Option<f32>,
    done: bool,
}

/// The first message: what the session is for.
pub(super) fn session(config: &RecognizerConfig, prompt: Option<&str>) -> String {
    let mut transcription = json!({ "model": config.model() });
    if let Some(language) = &config.language {
        transcription["language"] = json!(language);
    }
    if let Some(prompt) = prompt {
        transcription["prompt"] = json!(prompt);
    }
    let input = json!({
        "format": { "type": "audio/pcmu" },
        "transcription": transcription,
        "turn_detection": null,
    });
    let include = ["item.input_audio_transcription.logprobs"];
    json!({
        "type": "session.update",
        "session": { "type": "transcription", "audio": { "input": input }, "include": include },
    })
    .to_string()
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    item_id: Option<String>,
    delta: Option<String>,
    transcript: Option<String>,
    logprobs: Option<Vec<Token>>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Token {
    logprob: f32,
}

#[derive(Deserialize)]
struct Complaint {
    r#type: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

impl RealtimeDialect {
    pub(super) fn new(name: &'static str, rate: Rate) -> Self {
        debug_assert_eq!(rate, Rate::Hz8000, "as the plan says");
        Self {
            name,
            utterance: 0,
            appended: 0,
            commits: VecDeque::new(),
            clearing: 0,
            items: VecDeque::new(),
        }
    }

    fn commit(&mut self, out: &mut Vec<Wire>) -> bool {
        if self.appended >= LEAST {
            self.appended = 0;
            self.commits.push_back(self.utterance);
            out.push(Wire::Text("{\"type\":\"input_audio_buffer.commit\"}".to_owned()));
        }
        self.has_said_all()
    }

    fn has_said_all(&self) -> bool {
        !self.commits.contains(&self.utterance)
            && self.items.iter().all(|item| item.done || item.utterance != self.utterance)
    }

    /// The utterance that a new item is of; 0 for one that is over.
    const fn speaker(&self) -> u64 {
        if self.clearing > 0 { 0 } else { self.utterance }
    }

    /// The item of that name, a new one of the utterance where it is not known.
    fn item(&mut self, id: &str, utterance: u64) -> Option<&mut Item> {
        if let Some(at) = self.items.iter().position(|item| item.id == id) {
            return self.items.get_mut(at);
        }
        if self.items.len() == MOST_ITEMS {
            self.items.pop_front();
        }
        let (text, confidence, done) = (String::new(), None, false);
        self.items.push_back(Item { id: id.to_owned(), utterance, text, confidence, done });
        self.items.back_mut()
    }

    fn tell(&self, news: &mut Vec<News>) {
        let own = || self.items.iter().filter(|item| item.utterance == self.utterance);
        let text: Vec<&str> = own().map(|item| item.text.trim()).filter(|text| !text.is_empty()).collect();
        let sure = mean(own().filter_map(|item| item.confidence));
        news.push(News::Tail(Said::new(text.join(" "), sure)));
        if self.has_said_all() {
            news.push(News::Caught);
        }
    }
}

impl Dialect for RealtimeDialect {
    fn begin(&mut self, _expected: &Expected, _out: &mut Vec<Wire>) {
        self.utterance += 1;
        self.appended = 0;
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        self.appended += samples.len();
        let mut codes = vec![0; samples.len()];
        Law::Mu.encode_into(samples, &mut codes);
        let audio = STANDARD.encode(codes);
        out.push(Wire::Text(json!({ "type": "input_audio_buffer.append", "audio": audio }).to_string()));
    }

    fn flush(&mut self, out: &mut Vec<Wire>) -> bool {
        self.commit(out)
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        if self.appended < LEAST {
            // Its last syllable is in it all the same, with silence behind it.
            self.audio(&[0; LEAST], out);
        }
        self.commit(out)
    }

    fn abandon(&mut self, out: &mut Vec<Wire>) {
        self.utterance += 1;
        self.appended = 0;
        self.clearing += 1;
        out.push(Wire::Text("{\"type\":\"input_audio_buffer.clear\"}".to_owned()));
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let event: Event = read_json(self.name, &wire)?;
        let name = self.name;
        let id = || event.item_id.as_deref().ok_or_else(|| nonsense(name, "an event of no item"));
        match event.r#type.as_str() {
            "input_audio_buffer.committed" => {
                let utterance = self.commits.pop_front().unwrap_or(self.utterance);
                if let Some(item) = self.item(id()?, utterance) {
                    item.utterance = utterance;
                }
            }
            "input_audio_buffer.cleared" => self.clearing = self.clearing.saturating_sub(1),
            "conversation.item.input_audio_transcription.delta" => {
                let (utterance, delta) = (self.speaker(), event.delta.as_deref().unwrap_or_default());
                if let Some(item) = self.item(id()?, utterance)
                    && !item.done
                    && item.text.len() + delta.len() <= MOST_TEXT
                {
                    item.text.push_str(delta);
                }
                self.tell(news);
            }
            "conversation.item.input_audio_transcription.completed" => {
                let (utterance, transcript) = (self.speaker(), event.transcript.clone().unwrap_or_default());
                let tokens = event.logprobs.as_deref().unwrap_or_default();
                let confidence = mean_probability(tokens.iter().map(|token| token.logprob));
                if let Some(item) = self.item(id()?, utterance) {
                    (item.text, item.confidence, item.done) = (transcript, confidence, true);
                }
                self.tell(news);
            }
            "conversation.item.input_audio_transcription.failed" | "error" => {
                let complaint = event.error.as_ref();
                let code = complaint.and_then(|c| c.code.as_deref()).unwrap_or_default();
                if code == "input_audio_buffer_commit_empty" {
                    self.commits.pop_front();
                    self.tell(news);
                    return Ok(());
                }
                let what =
                    short(complaint.and_then(|c| c.message.as_deref()).unwrap_or("it does not say why"));
                let kind = complaint.and_then(|c| c.r#type.as_deref()).unwrap_or_default();
                return Err(match (kind, code) {
                    (_, "invalid_api_key") => ServiceError::Refused { service: name, what },
                    (_, "rate_limit_exceeded" | "insufficient_quota") => {
                        ServiceError::TooMany { service: name, what, retry_after: None }
                    }
                    ("invalid_request_error", _) => ServiceError::Rejected { service: name, what },
                    _ => ServiceError::Broken { service: name, what },
                });
            }
            _ => {}
        }
        Ok(())
    }
}
