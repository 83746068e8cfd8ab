//! Ordered alternatives: when a recogniser or a synthesiser fails, is late, or breaks off, the next one goes on, and the caller
//! hears nothing of it but, perhaps, another voice.
//!
//! # Parts
//!
//! - [`Backend`]: one of them, with its [`Breaker`]: it is shared by all lists that have it, and so by all calls;
//! - [`SpeakingList`] (`speaking`): synthesisers in their order, one of which speaks a text;
//! - [`HearingList`] (`hearing`): recognisers in their order, one of which hears an utterance;
//! - `rest`: what is left of a text that broke off.
//!
//! # When the next one is asked
//!
//! | what happens | then |
//! |---|---|
//! | its breaker is open | it is passed over; when all are open, all are asked all the same: an answer is worth a try |
//! | it fails | the next one, at once |
//! | no first audio (no final) by its deadline | it is dropped, and the next one asked |
//! | with hedging, none after a shorter while | the next one is asked beside it; the first that answers stays, the others are dropped |
//! | it has told nothing of an utterance 100 ms after the caller paused | a local one hears along: its words tell whether he is done, and its final waits for the deadline of the first |
//! | it breaks off in the middle of a text, or stalls while what it gave has been played | the next one goes on from the beginning of the clause that broke |
//!
//! The voice never changes within a word of what the caller is still to hear twice: what was passed on stays, and the clause is
//! said again from its beginning. The last of a list has no deadline but its own: whatever it does is better than silence.
//!
//! # What it never does
//!
//! It asks nobody twice for one text or utterance, keeps no audio beyond the utterance under way, and decides nothing about what
//! to do when all of them fail: it says so, and the engine does what is configured.

mod hearing;
mod rest;
mod speaking;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Recognizer, SpeechError, Synthesizer};
use crate::service::{Breaker, BreakerConfig, ServiceError, Verdict};
use crate::time::Moment;

pub use hearing::HearingList;
pub use speaking::SpeakingList;

/// How patient a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one that has others behind it may take: to its first audio, to its final.
    pub deadline: Duration,
    /// After how long the next one is asked beside it, if at all.
    pub hedge: Option<Duration>,
}

impl Patience {
    /// 700 ms and no hedging. With 400 ms for recognisers, and what else a turn takes, the caller is in silence for no more than
    /// 1.5 s when neither the first recogniser nor the first synthesiser answers.
    pub const USUAL: Self = Self { deadline: Duration::from_millis(700), hedge: None };
}

/// A recogniser or a synthesiser, and whether it is worth asking.
pub struct Backend<T: ?Sized> {
    what: Arc<T>,
    name: &'static str,
    breaker: Mutex<Breaker>,
    /// Its own deadline where it is not the last of a list.
    deadline: Option<Duration>,
    /// Names of voices as others know them, and its own for them.
    voices: BTreeMap<String, String>,
    /// Whether a voice of that name is surely one of its own.
    has_voice: fn(&str) -> bool,
    /// What its audio is kept as.
    kept_as: String,
}

impl Backend<dyn Recognizer> {
    /// A recogniser that is taken to be well.
    #[must_use]
    pub fn recognizer(what: Arc<dyn Recognizer>) -> Self {
        Self::new(what.name(), what)
    }
}

impl Backend<dyn Synthesizer> {
    /// A synthesiser that is taken to be well.
    #[must_use]
    pub fn synthesizer(what: Arc<dyn Synthesizer>) -> Self {
        Self::new(what.name(), what)
    }

    /// Its voices by the names that others know them by: `anna` for whatever it calls her.
    #[must_use]
    pub fn voices(mut self, voices: BTreeMap<String, String>) -> Self {
        self.voices = voices;
        self
    }

    /// Which names are surely voices of its own.
    #[must_use]
    pub fn with_voices(mut self, has_voice: fn(&str) -> bool) -> Self {
        self.has_voice = has_voice;
        self
    }

    /// What its audio is kept as: all that changes how it sounds, but for the voice and the rate that are asked for.
    #[must_use]
    pub fn keep_as(mut self, kept_as: String) -> Self {
        self.kept_as = kept_as;
        self
    }

    /// As what its audio is kept; its name, where nothing else was said.
    #[must_use]
    pub fn kept_as(&self) -> &str {
        &self.kept_as
    }

    /// What it calls a voice of that name. As one of several behind the first, it speaks with its own voice where the name
    /// is none that it is told of: another service's voice is no voice of it.
    #[must_use]
    pub fn voice(&self, name: Option<&str>, is_first: bool) -> Option<String> {
        let name = name?;
        let known = self.voices.get(name).cloned();
        known.or_else(|| (is_first || (self.has_voice)(name)).then(|| name.to_owned()))
    }
}

impl<T: ?Sized> Backend<T> {
    fn new(name: &'static str, what: Arc<T>) -> Self {
        Self {
            what,
            name,
            breaker: Mutex::new(Breaker::new(BreakerConfig::default())),
            deadline: None,
            voices: BTreeMap::new(),
            has_voice: |_| false,
            kept_as: name.to_owned(),
        }
    }

    /// With a deadline of its own to its first audio, or to its final, where it is not the last of a list.
    #[must_use]
    pub fn within(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The backend itself.
    #[must_use]
    pub const fn inner(&self) -> &Arc<T> {
        &self.what
    }

    /// Whether it is left alone for now.
    #[must_use]
    pub fn is_open(&self, now: Moment) -> bool {
        self.breaker().is_open(now)
    }

    fn ask(&self, now: Moment) -> Verdict {
        self.breaker().ask(now)
    }

    fn succeeded(&self) {
        self.breaker().succeeded();
    }

    /// Notes a failure, and says so.
    fn failed(&self, now: Moment, error: &SpeechError) {
        tracing::warn!(service = self.name, %error, "a speech service did not answer as it should");
        if error.counts() {
            self.failed_itself(now, error);
        }
    }

    /// Notes a failure that says something about its health.
    fn failed_itself(&self, now: Moment, error: &SpeechError) {
        let mut breaker = self.breaker();
        let opened = match error {
            SpeechError::Service(ServiceError::Refused { .. }) => {
                breaker.trip(now, None);
                true
            }
            SpeechError::Service(error) if error.retry_after().is_some() => {
                breaker.trip(now, error.retry_after());
                true
            }
            _ => breaker.failed(now),
        };
        if opened {
            tracing::error!(service = self.name, "it is left alone for a while");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A breaker's state changes in one step.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of one that was too late.
fn late(service: &'static str, what: &'static str, after: Duration) -> SpeechError {
    SpeechError::Service(ServiceError::Timeout { service, what, after })
}

/// Waits until then; for ever where there is no such time.
async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
