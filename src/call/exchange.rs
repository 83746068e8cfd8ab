//! One exchange of a call: something is said, something is listened for, or both. The one loop that every verb runs.

use std::cell::Cell;
use std::time::Duration;

use super::book::TurnBook;
use super::ears::{Ears, Happening};
use super::journal::Spoken;
use super::keys::{self, Collector};
use super::pump::{Maker, Prepared, Progress, Pump};
use super::track::Track;
use super::{CallError, Heard, Listen, Note, Said, witness};
use crate::audio::ring::PlayId;
use crate::media::{MediaEvent, PlayEnd};
use crate::speech::manners::Manners;
use crate::speech::{Answer, AskId, Expected, Hypothesis, SpeechError, witness as evidence};
use crate::time::Moment;
use crate::turn::{BargeIn, Calm, Question, TurnSignal, Words};

/// How long a recogniser may take for its final after the endpoint. Who has not answered by then is not going to.
const FINAL_PATIENCE: Duration = Duration::from_secs(2);

/// The same for one on this machine, which is late when the machine is busy: to hear the question again would take the
/// caller longer, and the machine too.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the media thread may take to say that a play has ended after its last frame was handed over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// How long the media thread may take to say how much was heard of a play that we cut: a few of its ticks.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

/// Speech of at most this length that stopped the bot and was refused was an "uh-huh" or a cough: who has something to say
/// says more.
const NO_ANSWER: Duration = Duration::from_millis(1_200);

/// A final is the provisional when the caller's speech ended no later than so long after it.
const SAME_END: Duration = Duration::from_millis(20);

/// One play under way.
pub(super) struct Play {
    pub(super) id: PlayId,
    barge_in: BargeIn,
    pub(super) heard: Duration,
    pub(super) ended: Option<PlayEnd>,
    /// Where its pieces are, once that is known.
    pub(super) track: Option<Track>,
    /// The words of it that were heard; known when it has ended.
    pub(super) words: String,
    /// Until when its end is awaited, once all of it has been handed over.
    drained_by: Option<Moment>,
    /// When its first frame went out.
    started: Option<Moment>,
    /// It is written while it is said.
    pub(super) streamed: bool,
}

impl Play {
    /// How much of it was heard.
    pub(super) fn said(&self) -> Said {
        let interrupted = self.ended == Some(PlayEnd::BargedIn);
        Said { heard: self.heard, interrupted, words: self.words.clone() }
    }
}

/// One run of [`Call::converse`](super::Call).
pub(super) struct Exchange<'a> {
    pub(super) ears: &'a mut Ears,
    pub(super) book: &'a mut TurnBook,
    /// What is listened for.
    listen: Option<&'a Listen>,
    asked: Option<AskId>,
    collector: Option<Collector>,
    pub(super) play: Option<Play>,
    pub(super) heard: Option<Heard>,
    /// Until when the final is awaited, after the endpoint.
    final_by: Option<Moment>,
    maker: Maker,
    /// What the turn taker was told last of what is recognised.
    told: Cell<Words>,
    /// What the caller said if he said no more: the last provisional, if it is an answer.
    provisional: Option<Hypothesis>,
    /// The reply to that, on its way.
    prepared: Option<Prepared>,
    /// The reply to what he may say, made while he thinks.
    foreseen: Option<Prepared>,
    /// When the utterance under way began, as far as is known.
    onset: Option<Moment>,
    /// When the speech that was last listened to ended; known at the endpoint.
    speech_end: Option<Moment>,
    /// Whoever wrote what is said waits for no answer.
    hands_back: bool,
    /// What was heard before the bot spoke was nothing.
    coughed: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        ears: &'a mut Ears,
        book: &'a mut TurnBook,
        maker: Maker,
        listen: Option<&'a Listen>,
    ) -> Self {
        Self {
            ears,
            book,
            listen,
            asked: None,
            collector: None,
            play: None,
            heard: None,
            final_by: None,
            maker,
            told: Cell::default(),
            provisional: None,
            prepared: None,
            foreseen: None,
            onset: None,
            speech_end: None,
            hands_back: false,
            coughed: false,
        }
    }

    pub(super) async fn start_listening(&mut self, listen: &Listen) -> Result<(), CallError> {
        self.asked = self.ears.ask(listen.expected.as_ref()).await;
        self.collector = Some(Collector::new(listen.keys.clone()));
        let mut how = listen.how;
        how.words = self.asked.is_some();
        if let Some(expected) = listen.expected.as_ref().filter(|_| how.question == Question::Open) {
            how.question = evidence::question(expected);
        }
        Ok(self.ears.control.listen(how)?)
    }

    /// Whether what stopped the prompt was no interruption after all: a short sound by voice, and nothing of what was asked.
    pub(super) fn stopped_for_nothing(&self) -> bool {
        let stopped = self.play.as_ref().is_some_and(|play| play.ended == Some(PlayEnd::BargedIn));
        let short = self.was_short();
        let understands = self.listen.is_some_and(|listen| listen.expected.is_some());
        stopped && short && understands && matches!(self.heard, Some(Heard::NoMatch))
    }

    /// Whether the utterance was too short to be an answer, if it was none.
    fn was_short(&self) -> bool {
        self.onset.zip(self.speech_end).is_some_and(|(from, to)| to.since(from) <= NO_ANSWER)
    }

    /// Forgets what was heard, and listens on.
    pub(super) async fn listen_again(&mut self) -> Result<(), CallError> {
        self.heard = None;
        self.final_by = None;
        self.onset = None;
        self.speech_end = None;
        self.drop_prepared();
        match self.listen {
            Some(listen) => self.start_listening(listen).await,
            None => Ok(()),
        }
    }

    pub(super) fn begin_play(
        &mut self,
        id: PlayId,
        text: String,
        barge_in: BargeIn,
        streamed: bool,
    ) -> Result<(), CallError> {
        self.ears.control.begin_play(id, barge_in)?;
        self.book.play_began(Spoken::new(id, text));
        self.play = Some(Play {
            id,
            barge_in,
            heard: Duration::ZERO,
            ended: None,
            track: None,
            words: String::new(),
            drained_by: None,
            started: None,
            streamed,
        });
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
    fn done(&self) -> bool {
        if self.listen.is_none() || self.handed_back() { !self.playing() } else { self.heard.is_some() }
    }

    /// Whether all was heard of something after which no answer is waited for. Who interrupted it is listened to.
    fn handed_back(&self) -> bool {
        let cut = self.play.as_ref().is_some_and(|play| play.ended == Some(PlayEnd::BargedIn));
        self.hands_back && !cut && self.heard.is_none()
    }

    /// Whether what is to be said is held back: the caller went on speaking before any of it was heard, and whoever writes it
    /// may have nothing to say to that. What is known in advance is said at once, and may be interrupted.
    fn held_back(&self) -> bool {
        let unheard = self.play.as_ref().is_some_and(|play| play.streamed && play.started.is_none());
        unheard && self.onset.is_some()
    }

    pub(super) async fn run(&mut self, pump: &mut Option<Pump<'_>>) -> Result<(), CallError> {
        self.take_typed_ahead().await?;
        while !self.done() {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                happening = self.ears.next() => self.take(happening?, pump.as_ref()).await?,
                progress = pump_on(pump), if pump.is_some() && !self.held_back() => {
                    self.pumped(progress?, pump);
                }
                () = prime(&mut self.prepared) => {}
                at = sleep_until(deadline) => self.expired(at, pump.as_ref()),
            }
            if std::mem::take(&mut self.coughed) {
                self.listen_again().await?;
            }
            if self.play.as_ref().is_some_and(|play| play.ended.is_some()) {
                self.cut(pump);
                self.take_typed_ahead().await?;
            }
        }
        Ok(())
    }

    /// The prompt got further, or all of it is in the ring.
    fn pumped(&mut self, progress: Progress, pump: &mut Option<Pump<'_>>) {
        let pumped = match (progress, &self.play) {
            (Progress::Clause(text), Some(play)) => return self.book.play_grew(play.id, &text),
            (Progress::Clause(_), None) => return,
            (Progress::Over(pumped), _) => pumped,
        };
        *pump = None;
        if let Some(made) = pumped.made {
            self.book.made_by(pumped.play, made);
        }
        self.book.play_made(pumped.play, pumped.total, pumped.first_audio);
        self.hands_back |= pumped.hands_back;
        if let Some(play) = &mut self.play {
            play.track = Some(pumped.track);
            play.drained_by = Some(Moment::now() + pumped.total + DRAIN_PATIENCE);
        }
        self.foresee();
    }

    /// All of the question is made: now what may be said to its answers is, where that is one reply. Of several all but one would
    /// be made for nothing.
    fn foresee(&mut self) {
        let Some(listen) = self.listen.filter(|_| self.foreseen.is_none() && self.prepared.is_none()) else {
            return;
        };
        let mut pays = listen.foreseen.iter().filter(|reply| self.maker.pays_ahead(reply));
        if let Some(reply) = pays.next()
            && pays.all(|other| other.sounds_like(reply))
        {
            self.book.prepared();
            self.foreseen = Some(self.maker.prepare(Moment::now(), reply.clone()));
        }
    }

    /// All that was made and not said yet; the most likely first.
    pub(super) fn made(&mut self) -> Vec<Prepared> {
        self.prepared.take().into_iter().chain(self.foreseen.take()).collect()
    }

    /// Nothing more of the play goes out: whoever makes and writes it stops.
    fn cut(&mut self, pump: &mut Option<Pump<'_>>) {
        let Some(mut pump) = pump.take() else { return };
        let track = pump.cut();
        self.hands_back |= pump.hands_back();
        if let Some(play) = &mut self.play {
            play.track = Some(track);
        }
    }

    pub(super) fn flush(&self) {
        if let Some(play) = &self.play {
            // A media thread that is gone plays nothing any more.
            let _ = self.ears.control.flush(play.id);
        }
    }

    /// Learns how much was heard of the play that was flushed.
    pub(super) async fn wait_for_the_cut(&mut self, pump: Option<&Pump<'_>>) {
        let ended = async {
            while self.playing() {
                match self.ears.events.recv().await {
                    Some(event) => self.media(event, pump),
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

    fn expired(&mut self, now: Moment, pump: Option<&Pump<'_>>) {
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
            if let Some(track) = play.track.clone().or_else(|| Some(pump?.track())) {
                play.words = track.words(Duration::MAX);
            }
        }
    }

    pub(super) async fn take(
        &mut self,
        happening: Happening,
        pump: Option<&Pump<'_>>,
    ) -> Result<(), CallError> {
        match happening {
            Happening::Media(MediaEvent::Digit { digit, at, .. }) | Happening::Key(digit, at) => {
                return self.key(digit, at).await;
            }
            Happening::Media(event) => self.media(event, pump),
            Happening::Answer(id, answer) if self.asked == Some(id) => self.answer(answer),
            Happening::Answer(..) => {}
        }
        Ok(())
    }

    fn media(&mut self, event: MediaEvent, pump: Option<&Pump<'_>>) {
        match event {
            MediaEvent::PlayStarted { play, at } => {
                if let Some(current) = self.play.as_mut().filter(|current| current.id == play) {
                    current.started = Some(at);
                }
                if let Some(made) = pump.filter(|pump| pump.play() == play).and_then(Pump::made) {
                    self.book.made_by(play, made);
                }
                self.book.play_started(play, at);
            }
            MediaEvent::PlayEnded { play, heard, end, at } => {
                let left = self.ears.left.take_if(|(left, _)| *left <= play);
                let mut words = None;
                if let Some(current) = self.play.as_mut().filter(|current| current.id == play) {
                    current.heard = heard;
                    current.ended = Some(end);
                    if current.track.is_none() {
                        current.track = pump.map(Pump::track);
                    }
                    current.words =
                        current.track.as_ref().map(|track| track.words(heard)).unwrap_or_default();
                    words = Some(current.words.clone());
                } else if let Some((_, track)) = left.filter(|(left, _)| *left == play) {
                    words = Some(track.words(heard));
                }
                self.book.play_ended(play, at, heard, end, words);
            }
            MediaEvent::Turn(signal) => self.turn(signal),
            MediaEvent::Answer(signal) => {
                self.ears.party = signal.verdict().or(self.ears.party);
                self.book.note(Note::Answerer(signal));
            }
            MediaEvent::Digit { .. } => {}
            MediaEvent::Quiet { since } => self.book.note(Note::Quiet { since }),
            MediaEvent::Back { at } => self.book.note(Note::Back { at }),
        }
    }

    fn turn(&mut self, signal: TurnSignal) {
        self.book.signal(signal);
        match signal {
            TurnSignal::Onset { at } => {
                self.told.take();
                self.onset = Some(at);
                self.provisional = None;
            }
            // He went on: what was prepared answers half a sentence.
            TurnSignal::Resumed { .. } => {
                self.provisional = None;
                self.drop_prepared();
            }
            TurnSignal::Restore { why, .. } if why != Calm::PlayOver => {
                self.onset = None;
                self.provisional = None;
                self.drop_prepared();
            }
            _ => {}
        }
        let listening = self.collector.is_some() && self.heard.is_none();
        match signal {
            TurnSignal::Endpoint { speech_end: at, .. } | TurnSignal::TooLong { at } if listening => {
                self.speech_end = Some(at);
                if self.asked.is_none() {
                    // A voice where only keys are understood.
                    self.heard = Some(Heard::NoMatch);
                } else {
                    let is_local = self.ears.recognizer.as_ref().is_some_and(|session| session.is_local);
                    let patience = if is_local { BUSY_PATIENCE } else { FINAL_PATIENCE };
                    self.final_by = Some(Moment::now() + patience);
                    self.take_provisional();
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

    /// After the endpoint: the provisional is the final when nothing was heard since it was given. The recogniser need not
    /// look at the same sound twice.
    fn take_provisional(&mut self) {
        let Some(end) = self.speech_end.filter(|_| self.final_by.is_some()) else { return };
        let same = |heard: &mut Hypothesis| end <= heard.at + SAME_END;
        if let Some(hypothesis) = self.provisional.take_if(same) {
            self.take_final(Some(hypothesis));
        }
    }

    fn take_final(&mut self, hypothesis: Option<Hypothesis>) {
        let answer = hypothesis.as_ref().and_then(witness::answer);
        if answer.is_none() && self.held_back() && self.was_short() {
            // A cough while the bot was about to speak: it speaks, and listens again.
            self.coughed = true;
            self.final_by = None;
            return;
        }
        self.book.r#final(Moment::now());
        self.heard.get_or_insert(answer.unwrap_or(Heard::NoMatch));
        self.final_by = None;
        // At most one final: what is still told of this question is of no use.
        self.asked = None;
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Partial(hypothesis) => {
                self.tell(|expected, manners| {
                    evidence::partial(hypothesis.at, &hypothesis, expected, manners)
                });
                self.book.note(Note::Partial { text: hypothesis.text });
            }
            Answer::Provisional(heard) => {
                let at = heard.as_ref().map_or_else(Moment::now, |heard| heard.at);
                self.tell(|expected, manners| evidence::settled(at, heard.as_ref(), expected, manners));
                self.provisional = heard.filter(|heard| heard.meaning.is_some());
                self.prepare();
                self.take_provisional();
            }
            Answer::Final(hypothesis) => self.take_final(hypothesis),
            Answer::EndOfTurn { at, confidence } => {
                // The same words, seen once more.
                let over_percent = Words::percent(confidence);
                self.tell(|_, _| Words { at, over_percent, ..self.told.get() });
            }
            Answer::Failed(error) => {
                self.heard.get_or_insert(Heard::Failed(error));
                self.final_by = None;
            }
            Answer::By(name) => self.book.heard_by(name),
        }
    }

    /// Tells the turn taker what is recognised.
    fn tell(&self, words: impl FnOnce(&Expected, &Manners) -> Words) {
        let Some(listen) = self.listen else { return };
        let Some(expected) = &listen.expected else { return };
        let words = words(expected, listen.manners);
        self.told.set(words);
        // A media thread that is gone takes no turns any more.
        let _ = self.ears.control.words(words);
    }

    /// Begins to make the reply to the provisional, if the bot knows it.
    fn prepare(&mut self) {
        let said = match &self.play {
            None => Some(Said::default()),
            Some(play) => play.ended.map(|_| play.said()),
        };
        let reply = self.listen.and_then(|listen| listen.anticipate.as_ref()).and_then(|anticipate| {
            anticipate.reply(&witness::answer(self.provisional.as_ref()?)?, said.as_ref())
        });
        match reply {
            Some(reply) if self.prepared.as_ref().is_some_and(|made| made.prompt.sounds_like(&reply)) => {}
            Some(reply) => {
                self.drop_prepared();
                let foreseen = self.foreseen.take_if(|made| made.prompt.sounds_like(&reply));
                self.prepared = Some(foreseen.unwrap_or_else(|| {
                    self.book.prepared();
                    self.maker.prepare(Moment::now(), reply)
                }));
            }
            None => self.drop_prepared(),
        }
    }

    /// What was prepared is not said now; what may be said yet is kept.
    fn drop_prepared(&mut self) {
        let Some(made) = self.prepared.take() else { return };
        let is_foreseen =
            |listen: &Listen| listen.foreseen.iter().any(|reply| made.prompt.sounds_like(reply));
        if self.foreseen.is_none() && self.listen.is_some_and(is_foreseen) {
            self.foreseen = Some(made);
        } else {
            self.book.wasted();
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

async fn pump_on(pump: &mut Option<Pump<'_>>) -> Result<Progress, CallError> {
    match pump {
        Some(pump) => pump.run().await,
        None => std::future::pending().await,
    }
}

async fn prime(prepared: &mut Option<Prepared>) {
    match prepared {
        Some(prepared) => prepared.prime().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a deadline, and gives it back.
async fn sleep_until(deadline: Option<Moment>) -> Moment {
    match deadline {
        Some(deadline) => {
            tokio::time::sleep(deadline.since(Moment::now())).await;
            deadline
        }
        None => std::future::pending().await,
    }
}
