//! A call, as a bot holds it.
//!
//! [`Call`] is one caller on the line, wherever the call came from: it answers, says, asks, collects digits and hangs
//! up. Behind it are three channels of Asterisk's (the caller's leg, our externalMedia channel, the bridge that
//! joins them: [`leg`]), a seat on a media thread, and the call's recogniser and synthesiser.
//!
//! - [`prompt`]: what can be said; [`listen`]: what can be listened for, and what was heard;
//! - [`keys`]: digits into numbers, without a clock of its own;
//! - [`speaker`]: text and files into the call's voice;
//! - [`journal`]: what the call tells whoever keeps records, turn by turn;
//! - [`snapshot`]: what another process needs to take the call up;
//! - `witness`: what is recognised, as evidence for the turn taker; `track`: where the words are in what is played;
//! - `exchange`: the one loop that every verb runs, on what `ears` hears of.
//!
//! A method that waits ends at once, with [`CallError::Gone`], when the caller does. A `Call` knows nothing of other
//! calls and nothing of where its records go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::asterisk::ari::AriError;
use crate::asterisk::ari::ops::HangupReason;
use crate::audio::ring::PlayId;
use crate::id::CallId;
use crate::media::{Control, MediaEvent, MediaStats, PlayEnd};
use crate::speech::{AskId, RecognizerSession, SpeechError};
use crate::time::{Moment, WallTime};
use crate::turn::BargeIn;

mod ears;
mod exchange;
pub mod journal;
pub mod keys;
pub mod leg;
pub mod listen;
pub mod prompt;
pub mod snapshot;
pub mod speaker;
mod track;
mod witness;

pub use journal::{Journal, Note};
pub use leg::{Gone, Left, Leg, LegEvent, MediaPlan};
pub use listen::{Anticipate, Heard, KeyPlan, Listen};
pub use prompt::{Part, Prompt};
pub use snapshot::Snapshot;
pub use speaker::{Speaker, Voices};

use ears::Ears;
use exchange::Exchange;
use journal::TurnBook;
use keys::KeyMatcher;
use snapshot::Unfinished;
use speaker::Prepared;

/// Why something on a call could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The caller is gone; a bot ends.
    #[error("the caller is gone ({0})")]
    Gone(Gone),
    /// The media thread has let the call go: the engine is ending.
    #[error("the call's audio has ended")]
    MediaEnded,
    /// Asterisk refused or did not answer.
    #[error("Asterisk: {0}")]
    Asterisk(#[from] AriError),
    /// Nothing could be said: the synthesiser or a prompt file failed.
    #[error("cannot speak: {0}")]
    Speech(#[from] SpeechError),
    /// The caller's audio could not be set up.
    #[error("cannot set up the call's audio: {0}")]
    Media(#[from] crate::media::MediaError),
    /// Asterisk did not say where the media channel's audio is.
    #[error(
        "Asterisk named no address for the media channel: is chan_rtp, or chan_websocket, loaded (modules.conf)?"
    )]
    NoMediaAddress,
    /// The bot itself failed.
    #[error("the bot failed: {0}")]
    Bot(String),
    /// The media channel was created but did not come.
    #[error("the media channel did not enter the application within {0:?}")]
    MediaChannelLate(Duration),
}

impl CallError {
    /// Whether the caller has left or the engine is ending, as opposed to something having failed.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Gone(_) | Self::MediaEnded)
    }
}

/// What is known of a call from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The call's id.
    pub id: CallId,
    /// Whether we called.
    pub outbound: bool,
    /// The caller's number as Asterisk shows it; empty when withheld. For an outbound call, the number called.
    pub caller: String,
    /// The number he dialled: the dialplan's extension.
    pub called: String,
    /// The Stasis arguments after the bot's name.
    pub args: Vec<String>,
    /// The bot that serves the call.
    pub bot: String,
}

/// However often a prompt would be resumed: a line that coughs all the time is to be asked again instead.
const MOST_RESUMES: u8 = 5;

/// How much of something said was heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// Audio that went out.
    pub heard: Duration,
    /// Whether the caller cut it short.
    pub interrupted: bool,
    /// The words that went out, up to the last one that was heard nearly whole; recordings by their file names, those that
    /// were heard to their ends. What belongs into a dialog's history.
    pub words: String,
}

/// One caller on the line. See the [room](self).
pub struct Call {
    facts: Facts,
    leg: Leg,
    ears: Ears,
    speaker: Speaker,
    book: TurnBook,
    answered: bool,
    /// What was being played when a bot was dropped in mid-sentence.
    open_play: Option<PlayId>,
    /// The reply that was made ready while the caller might still go on.
    prepared: Option<Prepared>,
    /// What was heard of the last thing that was said.
    said: Said,
    /// The state in which another process left the bot.
    taken_up: Option<serde_json::Value>,
    /// What is left to do of that step.
    unfinished: Option<Unfinished>,
}

/// The parts that the engine puts a call together from.
pub struct CallParts {
    /// What is known of the call.
    pub facts: Facts,
    /// Its channels in Asterisk.
    pub leg: Leg,
    /// What happens on them.
    pub leg_events: mpsc::Receiver<LegEvent>,
    /// What the media thread reports.
    pub media_events: mpsc::Receiver<MediaEvent>,
    /// How the media thread is told what to do.
    pub control: Control,
    /// The call's recogniser, if there is one.
    pub recognizer: Option<RecognizerSession>,
    /// The call's voice.
    pub speaker: Speaker,
    /// Where its records go.
    pub journal: Arc<dyn Journal>,
}

impl Call {
    /// Puts a call together.
    #[must_use]
    pub fn new(parts: CallParts) -> Self {
        let CallParts { facts, leg, leg_events, media_events, control, recognizer, speaker, journal } = parts;
        let ears = Ears {
            events: media_events,
            control,
            recognizer,
            leg: leg_events,
            next_ask: AskId::default(),
            keys: KeyMatcher::default(),
            typed_ahead: Vec::new(),
            gone: None,
            left: None,
        };
        let book = TurnBook::new(facts.id, journal);
        Self {
            facts,
            leg,
            ears,
            speaker,
            book,
            answered: false,
            open_play: None,
            prepared: None,
            said: Said::default(),
            taken_up: None,
            unfinished: None,
        }
    }

    /// Puts a call together that another process was heard of until `alive` to serve: what is said or asked first goes on
    /// from the sentence where that one stopped, or, if it has `handed_over` the call, within the word.
    #[must_use]
    pub fn take_up(parts: CallParts, snapshot: &Snapshot, alive: WallTime, handed_over: bool) -> Self {
        let mut call = Self::new(parts);
        call.answered = snapshot.answered;
        call.book.go_on(&snapshot.progress);
        let away = u64::try_from(WallTime::now().0 - alive.0).unwrap_or_default();
        let away = Duration::from_millis(away);
        call.unfinished = Some(Unfinished { progress: snapshot.progress.clone(), alive, away, handed_over });
        call.taken_up = Some(snapshot.state.clone());
        call
    }

    /// The state of the last [`checkpoint`](Self::checkpoint), if another process made it and this one took the call up. A bot
    /// goes on from there: it says and asks again what belongs to that step, and the call leaves out what was heard.
    #[must_use]
    pub fn taken_up(&self) -> Option<&serde_json::Value> {
        self.taken_up.as_ref()
    }

    /// What is known of the call.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The call's id.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.facts.id
    }

    /// Answers an inbound call; does nothing on one that is answered.
    ///
    /// # Errors
    /// When the caller is gone or Asterisk refuses.
    pub async fn answer(&mut self) -> Result<(), CallError> {
        if !std::mem::replace(&mut self.answered, true) && !self.facts.outbound {
            self.leg.answer().await.map_err(|error| match error {
                // He hung up first, and the event that says so is on its way.
                gone if gone.is_gone() => CallError::Gone(Gone::HungUp { cause: 0 }),
                other => other.into(),
            })?;
        }
        self.book.note(Note::Answered { at: Moment::now() });
        Ok(())
    }

    /// Says something; comes back when it has been played to its end, or was interrupted. Not to be interrupted
    /// unless the prompt says so.
    ///
    /// # Errors
    /// When the caller is gone or nothing could be said.
    pub async fn say(&mut self, prompt: impl Into<Prompt>) -> Result<Said, CallError> {
        let prompt = prompt.into();
        let barge_in = prompt.barge_in.unwrap_or(BargeIn::FORBIDDEN);
        self.converse(Some((prompt, barge_in)), None).await?;
        Ok(self.said.clone())
    }

    /// How much was heard of what was said or asked last.
    #[must_use]
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// Listens without saying anything first.
    ///
    /// # Errors
    /// When the caller is gone.
    pub async fn listen(&mut self, listen: Listen) -> Result<Heard, CallError> {
        self.converse(None, Some(listen)).await.map(|heard| heard.unwrap_or(Heard::NoInput))
    }

    /// Says something and listens for the answer, which may interrupt it.
    ///
    /// # Errors
    /// When the caller is gone or nothing could be said.
    pub async fn ask(&mut self, prompt: impl Into<Prompt>, listen: Listen) -> Result<Heard, CallError> {
        let prompt = prompt.into();
        let barge_in = prompt.barge_in.unwrap_or(BargeIn::ALLOWED);
        let heard = self.converse(Some((prompt, barge_in)), Some(listen)).await?;
        Ok(heard.unwrap_or(Heard::NoInput))
    }

    /// Tells the journal where the bot is in its dialog: its step by name, and all that it needs to go on from there
    /// in another process. A step is one thing to say or to ask; what is said first in it need not be heard twice.
    pub fn checkpoint(&mut self, step: &str, state: serde_json::Value) {
        let snapshot = Snapshot::new(&self.facts, &self.leg, self.answered, step, state);
        self.book.checkpoint(snapshot);
    }

    /// Hangs up, and tells the caller's network why.
    ///
    /// # Errors
    /// When Asterisk does not answer; a caller who has left is no error.
    pub async fn hang_up(&mut self, reason: HangupReason) -> Result<(), CallError> {
        self.leg.hang_up(reason).await.map_err(Into::into)
    }

    /// Leaves the caller to the dialplan: at the place given, or behind the `Stasis()` that he came from.
    ///
    /// # Errors
    /// When the caller is gone or Asterisk refuses.
    pub async fn leave(
        &mut self,
        place: Option<&leg::DialplanPlace>,
        variables: &[(String, String)],
    ) -> Result<(), CallError> {
        self.leg.leave(place, variables).await.map_err(Into::into)
    }

    /// What the media thread counted on this call so far.
    #[must_use]
    pub fn media_stats(&self) -> MediaStats {
        self.ears.control.stats()
    }

    /// What another process needs to take the call up now; nothing of it is taken down.
    pub(crate) fn hand_over(self) -> Option<Box<Snapshot>> {
        self.book.hand_over()
    }

    /// Ends the book-keeping and gives the leg back, to be taken down.
    pub(crate) fn finish(mut self) -> Leg {
        self.book.close();
        self.leg
    }

    /// What is left to say of the prompt during which another process ended, and how much of its beginning to leave out. Keys
    /// that the caller had pressed count.
    async fn go_on(
        &mut self,
        prompt: Option<(Prompt, BargeIn)>,
        listens: bool,
        unfinished: Unfinished,
    ) -> (Option<(Prompt, BargeIn)>, Duration) {
        let now = Moment::now();
        if listens {
            self.ears.typed_ahead.extend(unfinished.progress.keys.chars().map(|key| (key, now)));
        }
        let heard = unfinished.heard();
        let Some((prompt, barge_in)) = prompt.filter(|_| !unfinished.is_said()) else {
            return (None, Duration::ZERO);
        };
        if heard.is_zero() || unfinished.handed_over {
            return (Some((prompt, barge_in)), heard);
        }
        let track = self.speaker.maker().measure(&prompt).await;
        let parts = match track.rest(heard) {
            rest if !rest.is_empty() => rest,
            // It was asked, and he may have answered while nobody heard him.
            _ if listens => track.last(),
            _ => return (None, Duration::ZERO),
        };
        (Some((Prompt { parts, ..prompt }, barge_in)), Duration::ZERO)
    }

    /// Says, listens, or both: the one loop that every verb runs.
    async fn converse(
        &mut self,
        prompt: Option<(Prompt, BargeIn)>,
        listen: Option<Listen>,
    ) -> Result<Option<Heard>, CallError> {
        self.book.reply_chosen(Moment::now());
        if let Some(play) = self.open_play.take() {
            self.ears.control.flush(play)?;
        }
        self.said = Said::default();
        let (prompt, mut skip) = match self.unfinished.take() {
            Some(unfinished) => self.go_on(prompt, listen.is_some(), unfinished).await,
            None => (prompt, Duration::ZERO),
        };
        let Self { ears, speaker, book, open_play, prepared, said, .. } = self;
        let mut exchange = Exchange::new(ears, book, speaker.maker(), listen.as_ref());
        if let Some(listen) = &listen {
            exchange.start_listening(listen).await?;
        }
        let mut resumes = prompt
            .as_ref()
            .map_or(0, |(prompt, _)| prompt.resume.unwrap_or(u8::from(listen.is_some())).min(MOST_RESUMES));
        let mut next = prompt;
        let result = loop {
            let mut pump = match next.take() {
                Some((prompt, barge_in)) => {
                    let text = prompt.text();
                    let mut pump = match prepared.take() {
                        Some(ready) if ready.prompt.sounds_like(&prompt) => {
                            exchange.book.committed(ready.began, ready.ready);
                            speaker.begin_prepared(ready)
                        }
                        other => {
                            other.inspect(|_| exchange.book.wasted());
                            speaker.begin(&prompt)
                        }
                    };
                    pump.skip(std::mem::take(&mut skip));
                    *open_play = Some(pump.play());
                    exchange.begin_play(pump.play(), text, barge_in)?;
                    exchange.book.play_length(pump.play(), pump.length());
                    next = Some((prompt, barge_in));
                    Some(pump)
                }
                None => None,
            };
            let result = exchange.run(&mut pump).await;
            if exchange.playing() {
                // Left in the middle, by an error or by an answer that needed no interruption: silence within a frame.
                exchange.flush();
                if result.is_err() {
                    // Nothing more is said: nobody else will hear of its end.
                    exchange.wait_for_the_cut(pump.as_ref()).await;
                }
            }
            if let Some(play) = exchange.play.as_mut()
                && play.ended.is_none()
            {
                let track = play.track.take().or_else(|| Some(pump.as_ref()?.track()));
                exchange.ears.left = track.map(|track| (play.id, track));
            }
            drop(pump);
            let rest = match (&result, &exchange.play) {
                (Ok(()), Some(play)) if resumes > 0 && exchange.stopped_for_nothing() => {
                    play.track.as_ref().map(|track| track.rest(play.heard)).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            let Some((cut, barge_in)) = next.take_if(|_| !rest.is_empty()) else { break result };
            resumes -= 1;
            exchange.book.resumed();
            exchange.listen_again().await?;
            next = Some((Prompt { parts: rest, ..cut }, barge_in));
        };
        let (play, heard) = (exchange.play.take(), exchange.heard.take());
        *prepared = exchange.prepared.take();
        *open_play = None;
        if listen.is_some() {
            // As with the flush.
            let _ = ears.control.deaf();
            ears.ask(None).await;
        }
        if let Some(play) = play {
            let interrupted = play.ended == Some(PlayEnd::BargedIn);
            *said = Said { heard: play.heard, interrupted, words: play.words };
        }
        result?;
        if let Some(heard) = &heard {
            self.book.heard(heard);
        }
        Ok(heard)
    }
}
