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
//! - [`snapshot`]: what another process needs to take the call up.
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
use crate::speech::{Answer, Ask, AskId, Hypothesis, RecognizerSession, SpeechError};
use crate::time::Moment;
use crate::turn::{BargeIn, TurnSignal};

pub mod journal;
pub mod keys;
pub mod leg;
pub mod listen;
pub mod prompt;
pub mod snapshot;
pub mod speaker;

pub use journal::{Journal, Note};
pub use leg::{Gone, Leg, LegEvent};
pub use listen::{Heard, KeyPlan, Listen};
pub use prompt::{Part, Prompt};
pub use snapshot::Snapshot;
pub use speaker::{Speaker, Voices};

use journal::{Spoken, TurnBook};
use keys::Collector;
use speaker::Pump;

/// How long a recogniser may take for its final after the endpoint. A caller waits no longer than that in silence.
const FINAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long the media thread may take to say that a play has ended after its last frame was handed over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// How long the media thread may take to say how much was heard of a play that we cut: a few of its ticks.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

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
    /// Asterisk did not say where the media channel's RTP comes from.
    #[error("Asterisk named no RTP address for the media channel: is chan_rtp loaded?")]
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

/// How much of something said was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    /// Audio that went out.
    pub heard: Duration,
    /// Whether the caller cut it short.
    pub interrupted: bool,
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
}

/// What a call hears of.
struct Ears {
    events: mpsc::Receiver<MediaEvent>,
    control: Control,
    recognizer: Option<RecognizerSession>,
    leg: mpsc::Receiver<LegEvent>,
    next_ask: AskId,
    /// Keys that came while what was playing could not be interrupted by them: typed ahead.
    typed_ahead: Vec<(char, Moment)>,
    gone: Option<Gone>,
}

enum Happening {
    Media(MediaEvent),
    Answer(AskId, Answer),
    Key(char, Moment),
}

impl Ears {
    /// The next thing that happens. Cancel-safe.
    async fn next(&mut self) -> Result<Happening, CallError> {
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
                    Some(LegEvent::Key { key, at }) => return Ok(Happening::Key(key, at)),
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
                event = self.events.recv() => return event.map(Happening::Media).ok_or(CallError::MediaEnded),
                Some((id, answer)) = answer => return Ok(Happening::Answer(id, answer)),
            }
        }
    }

    /// Puts a question to the recogniser; `None` when the call has none.
    async fn ask(&mut self, grammar: Option<&Arc<crate::speech::grammar::Grammar>>) -> Option<AskId> {
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
            typed_ahead: Vec::new(),
            gone: None,
        };
        let book = TurnBook::new(facts.id, journal);
        Self { facts, leg, ears, speaker, book, answered: false, open_play: None }
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
        let mut said = None;
        self.converse(Some((prompt, barge_in)), None, &mut said).await?;
        Ok(said.unwrap_or(Said { heard: Duration::ZERO, interrupted: false }))
    }

    /// Listens without saying anything first.
    ///
    /// # Errors
    /// When the caller is gone.
    pub async fn listen(&mut self, listen: Listen) -> Result<Heard, CallError> {
        self.converse(None, Some(listen), &mut None).await.map(|heard| heard.unwrap_or(Heard::NoInput))
    }

    /// Says something and listens for the answer, which may interrupt it.
    ///
    /// # Errors
    /// When the caller is gone or nothing could be said.
    pub async fn ask(&mut self, prompt: impl Into<Prompt>, listen: Listen) -> Result<Heard, CallError> {
        let prompt = prompt.into();
        let barge_in = prompt.barge_in.unwrap_or(BargeIn::ALLOWED);
        let heard = self.converse(Some((prompt, barge_in)), Some(listen), &mut None).await?;
        Ok(heard.unwrap_or(Heard::NoInput))
    }

    /// Tells the journal where the bot is in its dialog: its step by name, and all that it needs to go on from there
    /// in another process.
    pub fn checkpoint(&mut self, step: &str, state: serde_json::Value) {
        self.book.step(step);
        let snapshot = Snapshot::new(&self.facts, &self.leg, self.answered, step, state);
        self.book.note(Note::Checkpoint(Box::new(snapshot)));
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

    /// Ends the book-keeping and gives the leg back, to be taken down.
    pub(crate) fn finish(mut self) -> Leg {
        self.book.close();
        self.leg
    }

    /// Says, listens, or both: the one loop that every verb runs.
    async fn converse(
        &mut self,
        prompt: Option<(Prompt, BargeIn)>,
        listen: Option<Listen>,
        said: &mut Option<Said>,
    ) -> Result<Option<Heard>, CallError> {
        self.book.reply_chosen(Moment::now());
        if let Some(play) = self.open_play.take() {
            self.ears.control.flush(play)?;
        }
        let Self { ears, speaker, book, open_play, .. } = self;
        let mut exchange =
            Exchange { ears, book, asked: None, collector: None, play: None, heard: None, final_by: None };
        if let Some(listen) = &listen {
            exchange.start_listening(listen).await?;
        }
        let mut pump = match prompt {
            Some((prompt, barge_in)) => {
                let pump = speaker.begin(&prompt);
                *open_play = Some(pump.play());
                exchange.begin_play(pump.play(), prompt.text(), barge_in)?;
                exchange.book.play_length(pump.play(), pump.length());
                Some(pump)
            }
            None => None,
        };
        let result = exchange.run(&mut pump, listen.as_ref()).await;
        if exchange.playing() {
            // Left in the middle, by an error or by an answer that needed no interruption: silence within a frame.
            exchange.flush();
            if result.is_err() {
                // Nothing more is said: nobody else will hear of its end.
                exchange.wait_for_the_cut().await;
            }
        }
        let (play, heard) = (exchange.play.take(), exchange.heard.take());
        drop(pump);
        *open_play = None;
        if listen.is_some() {
            // As with the flush.
            let _ = ears.control.deaf();
            ears.ask(None).await;
        }
        if let Some(play) = play {
            *said = Some(Said { heard: play.heard, interrupted: play.ended == Some(PlayEnd::BargedIn) });
        }
        result?;
        if let Some(heard) = &heard {
            self.book.heard(heard);
        }
        Ok(heard)
    }
}

/// One play under way.
struct Play {
    id: PlayId,
    barge_in: BargeIn,
    heard: Duration,
    ended: Option<PlayEnd>,
    /// Until when its end is awaited, once all of it has been handed over.
    drained_by: Option<Moment>,
}

/// One run of [`Call::converse`].
struct Exchange<'a> {
    ears: &'a mut Ears,
    book: &'a mut TurnBook,
    asked: Option<AskId>,
    collector: Option<Collector>,
    play: Option<Play>,
    heard: Option<Heard>,
    /// Until when the final is awaited, after the endpoint.
    final_by: Option<Moment>,
}

impl Exchange<'_> {
    async fn start_listening(&mut self, listen: &Listen) -> Result<(), CallError> {
        self.asked = self.ears.ask(listen.grammar.as_ref()).await;
        self.collector = Some(Collector::new(listen.keys.clone()));
        Ok(self.ears.control.listen(listen.how)?)
    }

    fn begin_play(&mut self, id: PlayId, text: String, barge_in: BargeIn) -> Result<(), CallError> {
        self.ears.control.begin_play(id, barge_in)?;
        self.book.play_began(Spoken::new(id, text));
        self.play = Some(Play { id, barge_in, heard: Duration::ZERO, ended: None, drained_by: None });
        Ok(())
    }

    fn playing(&self) -> bool {
        self.play.as_ref().is_some_and(|play| play.ended.is_none())
    }

    /// Whether a key may do something now; not while something is said that must be heard.
    fn keys_count(&self) -> bool {
        !self.play.as_ref().is_some_and(|play| play.ended.is_none() && !play.barge_in.keys)
    }

    /// Whether there is nothing left to wait for.
    fn done(&self, listen: Option<&Listen>) -> bool {
        if listen.is_some() { self.heard.is_some() } else { !self.playing() }
    }

    async fn run(&mut self, pump: &mut Option<Pump<'_>>, listen: Option<&Listen>) -> Result<(), CallError> {
        self.take_typed_ahead().await?;
        while !self.done(listen) {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                happening = self.ears.next() => self.take(happening?).await?,
                pumped = pump_on(pump), if pump.is_some() => {
                    *pump = None;
                    self.pumped(pumped)?;
                }
                () = sleep_until(deadline) => self.expired(Moment::now()),
            }
            if self.play.as_ref().is_some_and(|play| play.ended.is_some()) {
                *pump = None;
                self.take_typed_ahead().await?;
            }
        }
        Ok(())
    }

    /// All of the prompt is in the ring, or could not be made.
    fn pumped(&mut self, pumped: Result<speaker::Pumped, CallError>) -> Result<(), CallError> {
        let pumped = pumped?;
        self.book.play_made(pumped.play, pumped.total, pumped.first_audio);
        if let Some(play) = &mut self.play {
            play.drained_by = Some(Moment::now() + pumped.total + DRAIN_PATIENCE);
        }
        Ok(())
    }

    fn flush(&self) {
        if let Some(play) = &self.play {
            // A media thread that is gone plays nothing any more.
            let _ = self.ears.control.flush(play.id);
        }
    }

    /// Learns how much was heard of the play that was flushed.
    async fn wait_for_the_cut(&mut self) {
        let ended = async {
            while self.playing() {
                match self.ears.events.recv().await {
                    Some(event) => self.media(event),
                    None => break,
                }
            }
        };
        if tokio::time::timeout(CUT_PATIENCE, ended).await.is_err() {
            tracing::warn!("the media thread did not say how much was heard of a play that was cut");
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let keys = self.collector.as_ref().and_then(Collector::deadline);
        let drained = self.play.as_ref().filter(|p| p.ended.is_none()).and_then(|p| p.drained_by);
        [keys, drained, self.final_by].into_iter().flatten().min()
    }

    fn expired(&mut self, now: Moment) {
        if self.final_by.is_some_and(|by| now >= by) {
            self.final_by = None;
            let silent = SpeechError::Failed { backend: "recogniser", what: "no final in time".into() };
            self.heard.get_or_insert(Heard::Failed(silent));
        }
        if let Some(collected) = self.collector.as_mut().and_then(|c| c.expire(now)) {
            self.heard.get_or_insert(Heard::Keys(collected));
        }
        if let Some(play) = self.play.as_mut().filter(|p| p.drained_by.is_some_and(|by| now >= by)) {
            tracing::warn!(play = play.id.0, "the media thread did not say that a play ended; going on");
            play.ended = Some(PlayEnd::Finished);
        }
    }

    async fn take(&mut self, happening: Happening) -> Result<(), CallError> {
        match happening {
            Happening::Media(MediaEvent::Digit { digit, at, .. }) | Happening::Key(digit, at) => {
                return self.key(digit, at).await;
            }
            Happening::Media(event) => self.media(event),
            Happening::Answer(id, answer) if self.asked == Some(id) => self.answer(answer),
            Happening::Answer(..) => {}
        }
        Ok(())
    }

    fn media(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::PlayStarted { play, at } => self.book.play_started(play, at),
            MediaEvent::PlayEnded { play, heard, end, .. } => {
                self.book.play_ended(play, heard, end);
                if let Some(current) = self.play.as_mut().filter(|current| current.id == play) {
                    current.heard = heard;
                    current.ended = Some(end);
                }
            }
            MediaEvent::Turn(signal) => self.turn(signal),
            MediaEvent::Digit { .. } => {}
            MediaEvent::Quiet { since } => self.book.note(Note::Quiet { since }),
            MediaEvent::Back { at } => self.book.note(Note::Back { at }),
        }
    }

    fn turn(&mut self, signal: TurnSignal) {
        self.book.signal(signal);
        let listening = self.collector.is_some() && self.heard.is_none();
        match signal {
            TurnSignal::Endpoint { .. } | TurnSignal::TooLong { .. } if listening => {
                if self.asked.is_some() {
                    self.final_by = Some(Moment::now() + FINAL_PATIENCE);
                } else {
                    // A voice where only keys are understood.
                    self.heard = Some(Heard::NoMatch);
                }
            }
            TurnSignal::NoInput { .. }
                if listening && self.collector.as_ref().is_some_and(Collector::is_empty) =>
            {
                self.heard = Some(Heard::NoInput);
            }
            _ => {}
        }
    }

    fn answer(&mut self, answer: Answer) {
        let now = Moment::now();
        match answer {
            Answer::Partial(hypothesis) => self.book.note(Note::Partial { text: hypothesis.text }),
            Answer::Provisional(_) => {}
            Answer::Final(hypothesis) => {
                self.book.r#final(now);
                self.heard.get_or_insert(match hypothesis {
                    Some(Hypothesis { text, meaning: Some(meaning), confidence }) => {
                        Heard::Words { text, meaning, confidence }
                    }
                    _ => Heard::NoMatch,
                });
                self.final_by = None;
            }
            Answer::Failed(error) => {
                self.heard.get_or_insert(Heard::Failed(error));
                self.final_by = None;
            }
        }
    }

    async fn key(&mut self, key: char, at: Moment) -> Result<(), CallError> {
        let counts = self.keys_count();
        if counts {
            self.ears.control.key(at)?;
        }
        let Some(collector) = self.collector.as_mut().filter(|_| counts) else {
            if self.ears.typed_ahead.len() < keys::MOST {
                self.ears.typed_ahead.push((key, at));
            }
            return Ok(());
        };
        if !collector.wants_keys() {
            return Ok(());
        }
        self.book.key(key, at);
        let collected = collector.push(Moment::now(), key);
        // Who presses keys is not listened to any more: what he says meanwhile is not his answer.
        if self.asked.take().is_some() {
            self.ears.ask(None).await;
        }
        self.ears.control.deaf()?;
        self.final_by = None;
        if let Some(collected) = collected {
            self.heard.get_or_insert(Heard::Keys(collected));
        }
        Ok(())
    }

    async fn take_typed_ahead(&mut self) -> Result<(), CallError> {
        let mut wanted = self.collector.is_some() && self.keys_count();
        while std::mem::take(&mut wanted) && !self.ears.typed_ahead.is_empty() {
            let (key, at) = self.ears.typed_ahead.remove(0);
            self.key(key, at).await?;
            wanted = self.heard.is_none();
        }
        Ok(())
    }
}

async fn pump_on(pump: &mut Option<Pump<'_>>) -> Result<speaker::Pumped, CallError> {
    match pump {
        Some(pump) => pump.run().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Moment>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(Moment::now())).await,
        None => std::future::pending().await,
    }
}
