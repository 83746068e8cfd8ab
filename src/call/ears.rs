//! What a call hears of: its channels, its media, its recogniser, as one row of happenings.

use tokio::sync::{mpsc, watch};

use super::keys::KeyMatcher;
use super::overhear::stopped;
use super::track::Track;
use super::{CallError, Gone, LegEvent};
use crate::audio::ring::PlayId;
use crate::media::{Control, MediaEvent};
use crate::speech::{Answer, Ask, AskId, Expected, RecognizerSession};
use crate::time::Moment;
use crate::turn::answer::Party;

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
    /// Whose keys count: those of who was called for the caller, while the bot speaks with him.
    person_speaks: bool,
    /// A play that was left before its end was told, and where its pieces are.
    pub(super) left: Option<(PlayId, Track)>,
    /// By which the bot stops what is under way.
    pub(super) stop: Option<watch::Receiver<u64>>,
    /// Who answered, where somebody finds that out.
    pub(super) party: Option<Party>,
}

pub(super) enum Happening {
    Media(MediaEvent),
    Answer(AskId, Answer),
    Key(char, Moment),
}

impl Ears {
    /// Ears of a caller.
    pub(super) fn new(
        events: mpsc::Receiver<MediaEvent>,
        control: Control,
        recognizer: Option<RecognizerSession>,
        leg: mpsc::Receiver<LegEvent>,
    ) -> Self {
        Self {
            events,
            control,
            recognizer,
            leg,
            next_ask: AskId::default(),
            keys: KeyMatcher::default(),
            typed_ahead: Vec::new(),
            gone: None,
            person_speaks: false,
            left: None,
            stop: None,
            party: None,
        }
    }

    /// The bot speaks with who was called for the caller, or with the caller again. What was pressed before is forgotten.
    pub(super) fn turn_to_person(&mut self, person: bool) {
        self.person_speaks = person;
        self.typed_ahead.clear();
    }

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
                    Some(LegEvent::Key { .. }) if self.person_speaks => {}
                    Some(LegEvent::PersonKey { .. }) if !self.person_speaks => {}
                    Some(LegEvent::Key { key, at } | LegEvent::PersonKey { key, at }) => {
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
                    Some(LegEvent::MediaReady | LegEvent::Made | LegEvent::Ringing | LegEvent::Up) => {}
                    None => return Err(CallError::MediaEnded),
                },
                () = stopped(&mut self.stop) => return Err(CallError::Stopped),
                event = self.events.recv() => match event {
                    Some(MediaEvent::Digit { digit, at, .. }) if !self.keys.is_new(digit, true, at) => {}
                    event => return event.map(Happening::Media).ok_or(CallError::MediaEnded),
                },
                Some((id, answer)) = answer => return Ok(Happening::Answer(id, answer)),
            }
        }
    }

    /// Puts a question to the recogniser; `None` when the call has none.
    pub(super) async fn ask(&mut self, expected: Option<&Expected>) -> Option<AskId> {
        let session = self.recognizer.as_mut()?;
        let Some(expected) = expected else {
            // A recogniser that is gone is told of at the next question.
            let _ = session.asks.send(None).await;
            return None;
        };
        self.next_ask.0 += 1;
        let ask = Ask { id: self.next_ask, expected: expected.clone() };
        session.asks.send(Some(ask)).await.is_ok().then_some(self.next_ask)
    }
}
