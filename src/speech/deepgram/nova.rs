//! What is said on a connection to `/v1/listen`.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::audio::Rate;
use crate::audio::g711::Law;
use crate::service::ServiceError;
use crate::speech::Expected;
use crate::speech::network::link::Wire;
use crate::speech::network::messages::{little_endian, read_json};
use crate::speech::network::{Dialect, News, Said};

/// Ends of audio that lie no further apart are the same.
const NEARLY: Duration = Duration::from_millis(100);

/// One connection; its time runs on from utterance to utterance.
pub(super) struct NovaDialect {
    name: &'static str,
    rate: Rate,
    /// Samples sent over the connection, and where the utterance under way began.
    sent: u64,
    began: u64,
    /// Up to where all is final.
    settled: Duration,
    /// How often it was asked to finish what it had and has not said so, and up to where it was asked last.
    finishing: u32,
    asked_to: Option<Duration>,
}

#[derive(Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    start: f64,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    from_finalize: bool,
    channel: Option<Channel>,
    /// Of an error.
    description: Option<String>,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    confidence: Option<f32>,
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    word: String,
    punctuated_word: Option<String>,
    #[serde(default)]
    start: f64,
}

impl NovaDialect {
    pub(super) fn new(name: &'static str, rate: Rate) -> Self {
        let (settled, asked_to) = (Duration::ZERO, None);
        Self { name, rate, sent: 0, began: 0, settled, finishing: 0, asked_to }
    }

    fn finish(&mut self, out: &mut Vec<Wire>) -> bool {
        let sent = self.rate.duration(self.sent);
        if self.settled + NEARLY >= sent {
            // There is nothing that it could finish, and it would not answer.
            return true;
        }
        self.finishing += 1;
        self.asked_to = Some(sent);
        out.push(Wire::Text("{\"type\":\"Finalize\"}".to_owned()));
        false
    }
}

impl Dialect for NovaDialect {
    fn begin(&mut self, _expected: &Expected, _out: &mut Vec<Wire>) {
        self.began = self.sent;
        self.asked_to = None;
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        self.sent += samples.len() as u64;
        out.push(Wire::Bytes(encoded(samples, self.rate)));
    }

    fn flush(&mut self, out: &mut Vec<Wire>) -> bool {
        self.finish(out)
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        self.finish(out)
    }

    fn abandon(&mut self, out: &mut Vec<Wire>) {
        // So that nothing of it is in what comes next.
        self.finish(out);
        self.began = self.sent;
        self.asked_to = None;
    }

    fn keep_alive(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("{\"type\":\"KeepAlive\"}".to_owned()));
    }

    fn leave(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("{\"type\":\"CloseStream\"}".to_owned()));
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let message: Message = read_json(self.name, &wire)?;
        match message.r#type.as_str() {
            "Results" => {}
            "Error" => {
                let what = crate::service::error::short(&message.description.unwrap_or_default());
                return Err(ServiceError::Broken { service: self.name, what });
            }
            _ => return Ok(()),
        }
        let (from, to) = (seconds(message.start), seconds(message.start + message.duration));
        if message.is_final {
            self.settled = self.settled.max(to);
        }
        if message.from_finalize {
            self.finishing = self.finishing.saturating_sub(1);
        }
        let began = self.rate.duration(self.began);
        let all = self.asked_to.is_some_and(|asked| {
            (message.from_finalize && self.finishing == 0) || (message.is_final && to + NEARLY >= asked)
        });
        if to > began + Duration::from_millis(20) {
            let best = message.channel.and_then(|channel| channel.alternatives.into_iter().next());
            let said = best.map(|best| since(best, from, began)).unwrap_or_default();
            news.push(if message.is_final { News::Settled(said) } else { News::Tail(said) });
            news.push(News::Heard(to.saturating_sub(began)));
        }
        if all {
            self.asked_to = None;
            self.finishing = 0;
            news.push(News::Caught);
        }
        Ok(())
    }
}

/// What was said since the utterance began, of a result that may reach further back.
fn since(best: Alternative, from: Duration, began: Duration) -> Said {
    if from + NEARLY >= began || best.words.is_empty() {
        return Said::new(best.transcript, best.confidence);
    }
    let own = best.words.into_iter().filter(|word| seconds(word.start) + NEARLY >= began);
    let text: Vec<String> = own.map(|word| word.punctuated_word.unwrap_or(word.word)).collect();
    Said::new(text.join(" "), best.confidence)
}

/// Seconds as a service writes them, of which none is above a day.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 86_400.0)).unwrap_or_default()
}

/// Samples as they were agreed on: µ-law of what comes from a telephone, linear of what has more.
pub(super) fn encoded(samples: &[i16], rate: Rate) -> Bytes {
    if rate == Rate::Hz16000 {
        return little_endian(samples);
    }
    let mut codes = vec![0; samples.len()];
    Law::Mu.encode_into(samples, &mut codes);
    codes.into()
}
