//! A model over HTTP: one protocol, one address, a deadline for everything.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream;
use tokio::time::timeout;

use super::sse::{Event, Parser};
use super::{Fault, How, Model, Piece, Pieces, Protocol, Reader, Request};
use crate::service::{Deadlines, Key, ServiceError, Web};
use crate::time::Moment;

/// A model over HTTP.
pub struct HttpModel {
    config: HttpModelConfig,
    web: Web,
}

/// What [`HttpModel`] is made of.
pub struct HttpModelConfig {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The base URL, as `https://api.openai.com/v1`.
    pub url: String,
    /// The key, where one is needed.
    pub key: Option<Key>,
    /// The protocol.
    pub protocol: Arc<dyn Protocol>,
    /// How it is asked.
    pub how: How,
    /// How long it may take: to its first piece of text or tool, between two of them, for the whole reply.
    pub deadlines: Deadlines,
    /// What a million tokens of requests and of replies cost.
    pub price: (f64, f64),
}

impl HttpModel {
    /// A model at that address.
    #[must_use]
    pub fn new(config: HttpModelConfig, web: Web) -> Self {
        Self { config, web }
    }

    fn request(&self, request: &Request) -> reqwest::RequestBuilder {
        let HttpModelConfig { url, protocol, how, key, .. } = &self.config;
        let url = format!("{}{}", url.trim_end_matches('/'), protocol.path());
        let builder = self.web.http().post(url).header("accept", "text/event-stream");
        let headers = protocol.headers(key.as_ref()).into_iter();
        headers
            .fold(builder, |builder, (name, value)| builder.header(name, value))
            .json(&protocol.body(request, how))
    }
}

impl Model for HttpModel {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn ask(&self, request: &Request) -> Pieces {
        let asking = Asking {
            model: self.config.name,
            deadlines: self.config.deadlines,
            began: Moment::now(),
            web: self.web.clone(),
            state: State::Asks(Box::new(self.request(request))),
            parser: Parser::default(),
            reader: self.config.protocol.reader(),
            ready: VecDeque::new(),
            any: false,
        };
        Box::pin(stream::unfold(asking, |mut asking| async move {
            let item = asking.next().await?;
            if item.is_err() {
                asking.state = State::Over;
            }
            Some((item, asking))
        }))
    }

    fn price(&self) -> (f64, f64) {
        self.config.price
    }
}

/// One reply on its way.
struct Asking {
    model: &'static str,
    deadlines: Deadlines,
    began: Moment,
    web: Web,
    state: State,
    parser: Parser,
    reader: Box<dyn Reader>,
    ready: VecDeque<Piece>,
    /// Whether something that can be said or done has come.
    any: bool,
}

enum State {
    Asks(Box<reqwest::RequestBuilder>),
    Reads(Box<reqwest::Response>),
    Over,
}

impl Asking {
    async fn next(&mut self) -> Option<Result<Piece, ServiceError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.any |= matches!(piece, Piece::Text(_) | Piece::Call(_));
                return Some(Ok(piece));
            }
            if matches!(self.state, State::Over) {
                return None;
            }
            let gone_by = Moment::now().since(self.began);
            let Deadlines { first, stall, whole, .. } = self.deadlines;
            let (what, limit, left) = match self.any {
                false => ("first words", first, first.saturating_sub(gone_by)),
                true if whole.saturating_sub(gone_by) < stall => {
                    ("end of its reply", whole, whole.saturating_sub(gone_by))
                }
                true => ("next words", stall, stall),
            };
            let service = self.model;
            let late = ServiceError::Timeout { service, what, after: limit };
            if let Err(error) = timeout(left, self.step()).await.unwrap_or(Err(late)) {
                return Some(Err(error));
            }
        }
    }

    async fn step(&mut self) -> Result<(), ServiceError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Ok(()),
            State::Asks(request) => {
                let answer = self.web.send(self.model, *request, self.deadlines.first).await?;
                self.state = State::Reads(Box::new(answer));
                Ok(())
            }
            State::Reads(mut answer) => {
                let bytes = answer.chunk().await.map_err(|error| ServiceError::of_http(self.model, error))?;
                match bytes {
                    Some(bytes) => {
                        self.state = State::Reads(answer);
                        self.read(&bytes)
                    }
                    None => self.end(),
                }
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        let mut events = Vec::new();
        self.parser
            .push(bytes, &mut events)
            .map_err(|error| ServiceError::Protocol { service: self.model, what: error.to_string() })?;
        self.take(&events)
    }

    fn take(&mut self, events: &[Event]) -> Result<(), ServiceError> {
        for event in events {
            let pieces = self.reader.event(event).map_err(|fault| self.fault(fault))?;
            self.ready.extend(pieces);
            if self.reader.is_over() {
                self.state = State::Over;
                break;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ServiceError> {
        let mut events = Vec::new();
        self.parser.finish(&mut events);
        self.take(&events)?;
        let pieces = self.reader.end().map_err(|fault| self.fault(fault))?;
        self.ready.extend(pieces);
        Ok(())
    }

    fn fault(&self, fault: Fault) -> ServiceError {
        let service = self.model;
        match fault {
            Fault::Garbled(what) => ServiceError::Protocol { service, what },
            Fault::Told(what) => ServiceError::Broken { service, what },
            Fault::Ended => ServiceError::Closed { service, what: "in the middle of a reply".into() },
        }
    }
}
