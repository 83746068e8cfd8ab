//! A call, as a bot holds it.
//!
//! [`Call`] is one caller on the line, wherever the call came from: it answers, says, asks, collects digits and hangs
//! up. Behind it are three channels of Asterisk's (the caller's leg, our externalMedia channel, the bridge that
//! joins them: [`leg`]), a seat on a media thread, and the call's recogniser and synthesiser.
//!
//! - [`prompt`]: what can be said; [`listen`]: what can be listened for, and what was heard;
//! - [`keys`]: digits into numbers, without a clock of its own;
//! - [`speaker`]: text and files into the call's voice, by `pump`; [`mod@clauses`]: a prompt that is written while it is said;
//! - [`journal`]: what the call tells whoever keeps records, turn by turn; `book` makes the turns;
//! - [`snapshot`]: what another process needs to take the call up;
//! - `witness`: what is recognised, as evidence for the turn taker; `track`: where the words are in what is played;
//! - [`overhear`]: what a bot needs that decides elsewhere; [`given`]: audio of the bot's own, and ears of its own;
//! - [`transfer`]: the caller meets a person, and comes back when nobody takes him; [`beside`] is what happens there;
//! - `verbs`: variables, keys, sounds and recordings of Asterisk's, messages;
//! - [`early`]: a call that we make, before anybody answers it;
//! - `exchange`: the one loop that every verb runs, on what `ears` hears of.
//!
//! A method that waits ends at once, with [`CallError::Gone`], when the caller does. A `Call` knows nothing of other
//! calls and nothing of where its records go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::asterisk::ari::AriError;
use crate::asterisk::ari::ops::HangupReason;
use crate::audio::ring::{EarReader, PlayId};
use crate::id::CallId;
use crate::media::{Control, MediaEvent, MediaStats};
use crate::policy::{Policy, Refusal};
use crate::speech::{RecognizerSession, SpeechError, SpeechStream};
use crate::time::{Moment, WallTime};
use crate::turn::BargeIn;

pub mod beside;
mod book;
#[cfg(test)]
pub(crate) mod booth;
pub mod clauses;
pub mod early;
mod ears;
mod exchange;
pub mod given;
pub mod journal;
pub mod keys;
pub mod leg;
pub mod listen;
pub mod overhear;
pub mod prompt;
mod pump;
pub mod snapshot;
pub mod speaker;
#[cfg(test)]
mod tests;
mod track;
pub mod transfer;
mod verbs;
mod witness;

pub use clauses::{Clauses, Stream, clauses};
pub use early::Early;
pub use given::{OwnEars, Transcript};
pub use journal::{Journal, Note};
pub use leg::{Gone, Left, Leg, LegEvent, MediaPlan};
pub use listen::{Anticipate, Heard, KeyPlan, Listen};
pub use overhear::{Overheard, Stopper};
pub use prompt::{Part, Prompt};
pub use snapshot::Snapshot;
pub use speaker::{Speaker, Voices};
pub use transfer::{Transfer, Transferred};
pub(crate) use verbs::is_variable;

pub use crate::media::PlayEnd;

use book::TurnBook;
use ears::Ears;
use exchange::Exchange;
use pump::Prepared;
use snapshot::Unfinished;

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
    /// Nobody can speak to the caller, or nobody understands him: the call ends as is configured for that.
    #[error("nobody can talk to the caller: {0}")]
    Silent(SpeechError),
    /// It may not be done: no such destination, or a limit is reached.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The bot itself failed.
    #[error("the bot failed: {0}")]
    Bot(String),
    /// The bot stopped what the call was at, by its [`Stopper`].
    #[error("it was stopped")]
    Stopped,
    /// The media channel was created but did not come.
    #[error("the media channel did not enter the application within {0:?}")]
    MediaChannelLate(Duration),
}

impl CallError {
    /// Whether there is nothing left for a bot to do: the caller has left, the engine is ending, or it ends the call itself; as
    /// opposed to something having failed that the bot may go on from.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Gone(_) | Self::MediaEnded | Self::Silent(_))
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
    /// What is known beforehand of who is called, for the bot; empty in a call that another process has begun.
    pub variables: BTreeMap<String, String>,
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

/// What is done when nobody can speak to the caller, or nobody understands him.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastResort {
    /// A recording that is played to him.
    pub apology: Option<std::path::PathBuf>,
    /// Whether the call ends then ([`CallError::Silent`]), or the bot goes on.
    pub ends: bool,
}

/// Utterances in a row that nobody could recognise, after which nobody understands the caller.
const DEAF_AFTER: u8 = 2;

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
    /// Replies that were made ready while the caller might still go on, or was thinking.
    prepared: Vec<Prepared>,
    /// What was heard of the last thing that was said.
    said: Said,
    /// The state in which another process left the bot.
    taken_up: Option<serde_json::Value>,
    /// What is left to do of that step.
    unfinished: Option<Unfinished>,
    last_resort: LastResort,
    /// Utterances in a row that nobody could recognise.
    unheard: u8,
    /// The caller's audio, for a bot with ears of its own.
    ear: Option<EarReader>,
    /// Audio of the bot's own that is to be said.
    given: Option<SpeechStream>,
    /// Whether a verb waits until it is known what was heard of a prompt that an answer cut.
    minds_heard: bool,
    /// What it may do with the telephone.
    policy: Arc<Policy>,
    /// What happens beside the caller's channel.
    beside: beside::Mailbox,
    /// What Asterisk records for the bot.
    recordings: Vec<String>,
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
    /// The caller's audio, where the bot hears it itself and there is no recogniser.
    pub ear: Option<EarReader>,
    /// The call's voice.
    pub speaker: Speaker,
    /// Where its records go.
    pub journal: Arc<dyn Journal>,
    /// What it may do with the telephone.
    pub policy: Arc<Policy>,
    /// What happens beside the caller's channel.
    pub beside: beside::Mailbox,
}

impl Call {
    /// Puts a call together.
    #[must_use]
    pub fn new(parts: CallParts) -> Self {
        let CallParts { facts, leg, leg_events, media_events, control, recognizer, ear, speaker, .. } = parts;
        let CallParts { journal, policy, beside, .. } = parts;
        let ears = Ears::new(media_events, control, recognizer, leg_events);
        let book = TurnBook::new(facts.id, journal);
        Self {
            facts,
            leg,
            ears,
            speaker,
            book,
            answered: false,
            open_play: None,
            prepared: Vec::new(),
            said: Said::default(),
            taken_up: None,
            unfinished: None,
            last_resort: LastResort::default(),
            unheard: 0,
            ear,
            given: None,
            minds_heard: false,
            policy,
            beside,
            recordings: Vec::new(),
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
        if snapshot.with.is_some() {
            // No bot runs that would tell it.
            call.book.checkpoint(snapshot.clone());
        }
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

    /// Whether it has been answered; a call that we made is.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered || self.facts.outbound
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

    /// Says something that is being written, and listens for the answer, which may interrupt it. [`None`] when whoever writes
    /// it [gave the call back](Clauses::hand_back) and it was heard to its end. A caller who goes on speaking before any of it
    /// was heard hears nothing of it.
    ///
    /// # Errors
    /// When the caller is gone or nothing could be said.
    pub async fn ask_streamed(
        &mut self,
        prompt: impl Into<Prompt>,
        listen: Listen,
    ) -> Result<Option<Heard>, CallError> {
        let prompt = prompt.into();
        let barge_in = prompt.barge_in.unwrap_or(BargeIn::ALLOWED);
        self.converse(Some((prompt, barge_in)), Some(listen)).await
    }

    /// Tells the journal where the bot is in its dialog: its step by name, and all that it needs to go on from there
    /// in another process. A step is one thing to say or to ask; what is said first in it need not be heard twice.
    pub fn checkpoint(&mut self, step: &str, state: serde_json::Value) {
        let snapshot = Snapshot::new(&self.facts, &self.leg, self.answered, step, state);
        self.book.checkpoint(snapshot);
    }

    /// From now on, until told otherwise, nothing that is said, heard or keyed is written into records, time lines and logs:
    /// for secrets. The recording of the call's audio, where there is one, goes on.
    pub fn keep_private(&mut self, private: bool) {
        self.book.keep_private(private);
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
        self.leg.leave(place, variables).await?;
        for (name, value) in variables {
            self.book.note(Note::Result { name: name.clone(), value: Some(value.clone()) });
        }
        Ok(())
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

    /// What is done from now on when nobody can speak to the caller, or nobody understands him.
    pub(crate) fn at_last(&mut self, last_resort: LastResort) {
        self.last_resort = last_resort;
    }

    /// Ends the book-keeping and gives the leg back, to be taken down.
    pub(crate) fn finish(mut self) -> Leg {
        self.book.close();
        self.policy.forget(self.facts.id);
        self.leg
    }

    /// What is left to say of the prompt during which another process ended, and how much of its beginning to leave out. Keys
    /// that the caller had pressed count.
    async fn go_on(
        &mut self,
        mut prompt: Option<(Prompt, BargeIn)>,
        listens: bool,
        unfinished: Unfinished,
    ) -> (Option<(Prompt, BargeIn)>, Duration) {
        let now = Moment::now();
        if listens {
            self.ears.typed_ahead.extend(unfinished.progress.keys.chars().map(|key| (key, now)));
        }
        let heard = unfinished.heard();
        if let Some((prompt, barge_in)) = prompt.take_if(|(prompt, _)| prompt.is_streamed()) {
            // It is written anew, and differently.
            return (Some((prompt, barge_in)), Duration::ZERO);
        }
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

    /// Says, listens, or both. When nobody can do that for the call, the caller hears of it.
    async fn converse(
        &mut self,
        prompt: Option<(Prompt, BargeIn)>,
        listen: Option<Listen>,
    ) -> Result<Option<Heard>, CallError> {
        let error = match self.attempt(prompt, listen).await {
            Err(CallError::Speech(error)) => error,
            Ok(Some(Heard::Failed(error))) if self.last_resort.ends => {
                self.unheard += 1;
                if self.unheard < DEAF_AFTER {
                    return Ok(Some(Heard::Failed(error)));
                }
                error
            }
            other => {
                self.unheard = 0;
                return other;
            }
        };
        let LastResort { apology, ends } = self.last_resort.clone();
        if let Some(apology) = apology {
            match self.attempt(Some((apology.into(), BargeIn::FORBIDDEN)), None).await {
                Err(failed) if failed.is_end() => return Err(failed),
                Err(failed) => {
                    tracing::error!(call = %self.id(), error = %failed, "the apology could not be played")
                }
                Ok(_) => {}
            }
        }
        Err(if ends { CallError::Silent(error) } else { error.into() })
    }

    /// Says, listens, or both: the one loop that every verb runs.
    async fn attempt(
        &mut self,
        prompt: Option<(Prompt, BargeIn)>,
        listen: Option<Listen>,
    ) -> Result<Option<Heard>, CallError> {
        self.book.reply_chosen(Moment::now());
        if let Some(play) = self.open_play.take() {
            self.ears.control.flush(play)?;
        }
        self.said = Said::default();
        let mut given = self.given.take();
        let (prompt, mut skip) = match self.unfinished.take().filter(|_| given.is_none()) {
            Some(unfinished) => self.go_on(prompt, listen.is_some(), unfinished).await,
            None => (prompt, Duration::ZERO),
        };
        let Self { ears, speaker, book, open_play, prepared, said, minds_heard: minds, .. } = self;
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
                    let given = given.take();
                    let fits = |made: &Prepared| given.is_none() && made.prompt.sounds_like(&prompt);
                    let ready = prepared.iter().position(fits).map(|index| prepared.swap_remove(index));
                    prepared.drain(..).for_each(|_| exchange.book.wasted());
                    let mut pump = match (ready, given) {
                        (_, Some(given)) => speaker.begin_given(&prompt, given),
                        (Some(ready), None) => {
                            exchange.book.committed(ready.began, ready.ready);
                            speaker.begin_prepared(ready)
                        }
                        (None, None) => speaker.begin(&prompt),
                    };
                    pump.skip(std::mem::take(&mut skip));
                    *open_play = Some(pump.play());
                    exchange.begin_play(pump.play(), text, barge_in, prompt.is_streamed())?;
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
                if result.is_err() || *minds || exchange.play.as_ref().is_some_and(|play| play.streamed) {
                    // Nothing more is said, so that nobody else would hear of its end; or whoever wrote it wants to know how much
                    // of it was heard.
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
                    let whole = play.track.as_ref().filter(|track| !track.is_unfinished());
                    whole.map(|track| track.rest(play.heard)).unwrap_or_default()
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
        *prepared = exchange.made();
        *open_play = None;
        if listen.is_some() {
            // As with the flush.
            let _ = ears.control.deaf();
            ears.ask(None).await;
        }
        if let Some(play) = play {
            *said = play.said();
        }
        result?;
        if let Some(heard) = &heard {
            self.book.heard(heard);
        }
        Ok(heard)
    }
}
