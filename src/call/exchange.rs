//! One exchange of a call: something is said, something is listened for, or both. The one loop that every verb runs.

use std::time::Duration;

use super::ears::{Ears, Happening};
use super::journal::{Spoken, TurnBook};
use super::keys::{self, Collector};
use super::speaker::{self, Pump};
use super::{CallError, Heard, Listen, Note};
use crate::audio::ring::PlayId;
use crate::media::{MediaEvent, PlayEnd};
use crate::speech::{Answer, AskId, Hypothesis, SpeechError};
use crate::time::Moment;
use crate::turn::{BargeIn, TurnSignal};

/// How long a recogniser may take for its final after the endpoint. A caller waits no longer than that in silence.
const FINAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long the media thread may take to say that a play has ended after its last frame was handed over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// How long the media thread may take to say how much was heard of a play that we cut: a few of its ticks.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

/// One play under way.
pub(super) struct Play {
    id: PlayId,
    barge_in: BargeIn,
    pub(super) heard: Duration,
    pub(super) ended: Option<PlayEnd>,
    /// Until when its end is awaited, once all of it has been handed over.
    drained_by: Option<Moment>,
}

/// One run of [`Call::converse`](super::Call).
pub(super) struct Exchange<'a> {
    ears: &'a mut Ears,
    pub(super) book: &'a mut TurnBook,
    asked: Option<AskId>,
    collector: Option<Collector>,
    pub(super) play: Option<Play>,
    pub(super) heard: Option<Heard>,
    /// Until when the final is awaited, after the endpoint.
    final_by: Option<Moment>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(ears: &'a mut Ears, book: &'a mut TurnBook) -> Self {
        Self { ears, book, asked: None, collector: None, play: None, heard: None, final_by: None }
    }

    pub(super) async fn start_listening(&mut self, listen: &Listen) -> Result<(), CallError> {
        self.asked = self.ears.ask(listen.grammar.as_ref()).await;
        self.collector = Some(Collector::new(listen.keys.clone()));
        Ok(self.ears.control.listen(listen.how)?)
    }

    pub(super) fn begin_play(
        &mut self,
        id: PlayId,
        text: String,
        barge_in: BargeIn,
    ) -> Result<(), CallError> {
        self.ears.control.begin_play(id, barge_in)?;
        self.book.play_began(Spoken::new(id, text));
        self.play = Some(Play { id, barge_in, heard: Duration::ZERO, ended: None, drained_by: None });
        Ok(())
    }

    pub(super) fn playing(&self) -> bool {
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

    pub(super) async fn run(
        &mut self,
        pump: &mut Option<Pump<'_>>,
        listen: Option<&Listen>,
    ) -> Result<(), CallError> {
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

    pub(super) fn flush(&self) {
        if let Some(play) = &self.play {
            // A media thread that is gone plays nothing any more.
            let _ = self.ears.control.flush(play.id);
        }
    }

    /// Learns how much was heard of the play that was flushed.
    pub(super) async fn wait_for_the_cut(&mut self) {
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
