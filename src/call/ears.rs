//! What a call hears of: its channels, its media, its recogniser, as one row of happenings.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::keys::KeyMatcher;
use super::track::Track;
use super::{CallError, Gone, LegEvent};
use crate::audio::ring::PlayId;
use crate::media::{Control, MediaEvent};
use crate::speech::grammar::Grammar;
use crate::speech::{Answer, Ask, AskId, RecognizerSession};
use crate::time::Moment;

/// What a call hears of.
pub(super) struct Ears {
    pub(super) events: mpsc::Receiver<MediaEvent>,
    pub(super) control: Control,
    pub(super) recognizer: Option<RecognizerSession>,
    pub(super) leg: mpsc::Receiver<LegEvent>,
    pub(super) next_ask: AskId,
    /// A key may be told by the stream and by ARI.
    pub(super) keys: KeyMatcher,
    /// Keys that came while what was playing could not be interrupted by them: typed ahead.
    pub(super) typed_ahead: Vec<(char, Moment)>,
    pub(super) gone: Option<Gone>,
    /// A play that was left before its end was told, and where its pieces are.
    pub(super) left: Option<(PlayId, Track)>,
}

pub(super) enum Happening {
    Media(MediaEvent),
    Answer(AskId, Answer),
    Key(char, Moment),
}

impl Ears {
    /// The next thing that happens. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Happening, CallError> {
        if let Some(gone) = self.gone {
            return Err(CallError::Gone(gone));
        }
        loop {
            let answer = async {
                match &mut self.recognizer {
                    Some(session) => session.answers.recv().await,
                    None => None,
                }
            };
            tokio::select! {
                biased;
                event = self.leg.recv() => match event {
                    Some(LegEvent::Key { key, at }) => {
                        if self.keys.is_new(key, false, at) {
                            return Ok(Happening::Key(key, at));
                        }
                    }
                    Some(LegEvent::Gone(gone)) => {
                        self.gone = Some(gone);
                        return Err(CallError::Gone(gone));
                    }
                    Some(LegEvent::MediaLost) => {
                        self.gone = Some(Gone::MediaLost);
                        return Err(CallError::Gone(Gone::MediaLost));
                    }
                    Some(LegEvent::MediaReady | LegEvent::Up) => {}
                    None => return Err(CallError::MediaEnded),
                },
                event = self.events.recv() => match event {
                    Some(MediaEvent::Digit { digit, at, .. }) if !self.keys.is_new(digit, true, at) => {}
                    event => return event.map(Happening::Media).ok_or(CallError::MediaEnded),
                },
                Some((id, answer)) = answer => return Ok(Happening::Answer(id, answer)),
            }
        }
    }

    /// Puts a question to the recogniser; `None` when the call has none.
    pub(super) async fn ask(&mut self, grammar: Option<&Arc<Grammar>>) -> Option<AskId> {
        let session = self.recognizer.as_mut()?;
        let Some(grammar) = grammar else {
            // A recogniser that is gone is told of at the next question.
            let _ = session.asks.send(None).await;
            return None;
        };
        self.next_ask.0 += 1;
        let ask = Ask { id: self.next_ask, grammar: Arc::clone(grammar) };
        session.asks.send(Some(ask)).await.is_ok().then_some(self.next_ask)
    }
}
