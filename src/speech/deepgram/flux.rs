//! What is said on a connection to `/v2/listen`.

use serde::Deserialize;

use super::nova::{encoded, seconds};
use crate::audio::Rate;
use crate::service::ServiceError;
use crate::speech::Expected;
use crate::speech::network::link::Wire;
use crate::speech::network::messages::{mean, read_json};
use crate::speech::network::{Dialect, News, Said};

/// Samples of the silence that keeps a connection: 80 ms at 8 kHz.
const BREATH: [i16; 640] = [0; 640];

/// One connection; its time and its turns run on from utterance to utterance.
pub(super) struct FluxDialect {
    name: &'static str,
    rate: Rate,
    sent: u64,
    began: u64,
    /// The turn under way, and the first one that belongs to the utterance.
    turn: u64,
    first: u64,
    /// Words were heard in the turn under way.
    open: bool,
    /// Up to where the service has heard.
    heard: u64,
    /// It was told that the utterance is over.
    ended: bool,
}

#[derive(Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    turn_index: u64,
    #[serde(default)]
    audio_window_end: f64,
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    words: Vec<Word>,
    #[serde(default)]
    end_of_turn_confidence: f32,
    /// Of an error.
    description: Option<String>,
}

#[derive(Deserialize)]
struct Word {
    confidence: Option<f32>,
}

impl FluxDialect {
    pub(super) const fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, sent: 0, began: 0, turn: 0, first: 0, open: false, heard: 0, ended: false }
    }
}

impl Dialect for FluxDialect {
    fn begin(&mut self, _expected: &Expected, _out: &mut Vec<Wire>) {
        self.began = self.sent;
        self.ended = false;
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        self.sent += samples.len() as u64;
        out.push(Wire::Bytes(encoded(samples, self.rate)));
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        if self.sent == self.began {
            // Nothing was said, and there is no turn that could be ended.
            return true;
        }
        // It has ended the turn by itself, and has heard all since: nothing but silence.
        let quarter = u64::from(self.rate.hz()) / 4;
        if !self.open && self.turn > self.first && self.heard + quarter >= self.sent {
            return true;
        }
        self.ended = true;
        out.push(Wire::Text("{\"type\":\"ForceEndTurn\"}".to_owned()));
        false
    }

    fn abandon(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("{\"type\":\"ForceEndTurn\"}".to_owned()));
        self.first = self.turn + u64::from(self.open);
        self.ended = false;
    }

    fn keep_alive(&mut self, out: &mut Vec<Wire>) {
        self.audio(&BREATH, out);
    }

    fn leave(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("{\"type\":\"CloseStream\"}".to_owned()));
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let message: Message = read_json(self.name, &wire)?;
        match message.r#type.as_str() {
            "TurnInfo" => {}
            "Error" => {
                let what = crate::service::error::short(&message.description.unwrap_or_default());
                return Err(ServiceError::Broken { service: self.name, what });
            }
            _ => return Ok(()),
        }
        let to = seconds(message.audio_window_end);
        self.heard = self.heard.max(self.rate.samples(to));
        let over = message.event == "EndOfTurn";
        let own = message.turn_index >= self.first && self.heard > self.began;
        self.turn = self.turn.max(message.turn_index + u64::from(over));
        self.open = !over && (self.open || !message.transcript.trim().is_empty());
        if !own {
            return Ok(());
        }
        let heard = to.saturating_sub(self.rate.duration(self.began));
        let said =
            Said::new(message.transcript, mean(message.words.iter().filter_map(|word| word.confidence)));
        news.push(if over { News::Settled(said) } else { News::Tail(said) });
        news.push(News::Heard(heard));
        match message.event.as_str() {
            "EndOfTurn" if self.ended => {
                // All of it is the next one's.
                self.first = self.turn;
                news.push(News::Caught);
            }
            "EagerEndOfTurn" | "EndOfTurn" => {
                news.push(News::Turn { heard, confidence: message.end_of_turn_confidence });
            }
            "TurnResumed" => news.push(News::Turn { heard, confidence: 0.0 }),
            _ => {}
        }
        Ok(())
    }
}
