//! Recognisers in their order, one of which hears an utterance.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Backend, Patience, late, sleep_until};
use crate::audio::Rate;
use crate::audio::ring::{self, EarItem, EarReader, EarWriter};
use crate::id::CallId;
use crate::speech::grammar::Grammar;
use crate::speech::{Answer, Ask, AskId, Expected, Hypothesis, Recognizer, RecognizerSession, SpeechError};
use crate::time::Moment;

/// Items of an utterance that are kept for the next one: 30 s and its marks. Of a longer one its beginning is kept.
const KEPT: usize = 1_520;

/// Items that an ear of a backend holds: an utterance that is heard again comes all at once, and goes on meanwhile.
const EAR: usize = KEPT + 180;

/// So long after the caller has paused a recogniser may not have told a word of what he said. Then a local one hears along.
const ALONG_AFTER: Duration = Duration::from_millis(100);

/// Questions and answers that a call may have under way.
const QUESTIONS: usize = 4;
const ANSWERS: usize = 32;

/// Recognisers in their order. What the caller says goes to the first that is well, and is kept until it has answered: if it
/// fails, the next one hears the same. While it tells nothing, one that is [local](Recognizer::is_local) hears along: what that
/// one makes of it helps to know whether the caller is done, and is his answer if the other has none in time.
#[derive(Clone)]
pub struct HearingList {
    backends: Vec<Arc<Backend<dyn Recognizer>>>,
    patience: Patience,
}

impl HearingList {
    /// A list of at least one.
    #[must_use]
    pub fn new(backends: Vec<Arc<Backend<dyn Recognizer>>>, patience: Patience) -> Self {
        Self { backends, patience }
    }
}

impl Recognizer for HearingList {
    /// The name of the first.
    fn name(&self) -> &'static str {
        self.backends.first().map_or("none", |first| first.name())
    }

    fn is_open(&self) -> bool {
        self.backends.iter().any(|backend| backend.what.is_open())
    }

    /// Starts to read the ear. Called inside tokio's runtime.
    fn open(&self, call: CallId, ear: EarReader, rate: Rate) -> Result<RecognizerSession, SpeechError> {
        let (asks, asked) = mpsc::channel(QUESTIONS);
        let (answers, answered) = mpsc::channel(ANSWERS);
        let slots = self.backends.iter().map(|_| None).collect();
        let session = Session {
            list: self.clone(),
            call,
            rate,
            ear,
            asks: asked,
            answers,
            slots,
            question: None,
            kept: Vec::new(),
            utterance: false,
        };
        tokio::spawn(session.run());
        let is_local = self.backends.last().is_some_and(|last| last.what.is_local());
        Ok(RecognizerSession { asks, answers: answered, is_local })
    }

    fn prepare(&self, grammar: &Arc<Grammar>) -> Result<(), SpeechError> {
        self.backends.iter().try_for_each(|backend| backend.what.prepare(grammar))
    }

    fn waiting(&self) -> usize {
        self.backends.iter().map(|backend| backend.what.waiting()).sum()
    }
}

/// A backend that has been opened for the call.
struct Slot {
    session: RecognizerSession,
    ear: EarWriter,
}

/// The question that stands.
struct Question {
    ask: Ask,
    /// Who has been asked, in that order. The last is the one whose partials count.
    asked: Vec<usize>,
    /// When the utterance was over.
    ended: Option<Instant>,
    /// Whose answers were passed on last: it is told before the first of them.
    told: Option<usize>,
    /// Who hears along, for as long as those who were asked tell nothing.
    along: Option<usize>,
    said: Said,
}

/// What is known of the utterance under way.
#[derive(Default)]
struct Said {
    /// When the caller paused first.
    paused: Option<Instant>,
    /// Something was told of it by one who was asked.
    told: bool,
    /// The final of the one who hears along.
    held: Option<Option<Hypothesis>>,
}

/// One call.
struct Session {
    list: HearingList,
    call: CallId,
    rate: Rate,
    ear: EarReader,
    asks: mpsc::Receiver<Option<Ask>>,
    answers: mpsc::Sender<(AskId, Answer)>,
    slots: Vec<Option<Slot>>,
    question: Option<Question>,
    /// The utterance under way, from its onset on.
    kept: Vec<EarItem>,
    utterance: bool,
}

impl Session {
    /// Serves the call until it ends or nobody wants to know.
    async fn run(mut self) {
        loop {
            let wake = self.wake();
            let answer = std::future::poll_fn(|cx| {
                for (index, slot) in self.slots.iter_mut().enumerate() {
                    if let Some(slot) = slot
                        && let Poll::Ready(answer) = slot.session.answers.poll_recv(cx)
                    {
                        return Poll::Ready((index, answer));
                    }
                }
                Poll::Pending
            });
            let alive = tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.ask(ask).await,
                    None => false,
                },
                (index, answer) = answer => self.answer(index, answer).await,
                item = self.ear.pop() => match item {
                    Some(item) => {
                        self.hear(item);
                        true
                    }
                    None => false,
                },
                () = sleep_until(wake) => self.late().await,
            };
            if !alive {
                return;
            }
        }
    }

    /// Puts a new question, or ends the one that stands.
    async fn ask(&mut self, ask: Option<Ask>) -> bool {
        self.end_question();
        self.forget();
        let Some(ask) = ask else { return true };
        self.question = Some(Question {
            ask,
            asked: Vec::new(),
            ended: None,
            told: None,
            along: None,
            said: Said::default(),
        });
        match self.ask_next(None) {
            Ok(()) => true,
            Err(error) => self.give_up(error).await,
        }
    }

    /// Keeps what is heard, and passes it on to those who were asked.
    fn hear(&mut self, item: EarItem) {
        match item {
            EarItem::Onset { .. } => {
                self.forget();
                self.utterance = true;
            }
            EarItem::TakenBack => self.forget(),
            EarItem::Pause { .. } => {
                if let Some(question) = &mut self.question {
                    question.said.paused.get_or_insert_with(Instant::now);
                }
            }
            _ => {}
        }
        if self.utterance && self.kept.len() < KEPT {
            self.kept.push(item);
        }
        if let EarItem::End { .. } = item {
            if self.kept.last() != Some(&item) {
                // It was too long to be kept whole.
                self.kept.push(item);
            }
            self.utterance = false;
            if let Some(question) = &mut self.question {
                question.ended = Some(Instant::now());
                question.said.paused.get_or_insert_with(Instant::now);
            }
        }
        for index in self.question.iter().flat_map(|question| question.asked.iter().chain(&question.along)) {
            if let Some(slot) = &self.slots[*index] {
                slot.ear.push(item);
            }
        }
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.utterance = false;
        if let Some(question) = &mut self.question {
            question.ended = None;
            question.said = Said::default();
        }
    }

    /// What one of them says.
    async fn answer(&mut self, index: usize, answer: Option<(AskId, Answer)>) -> bool {
        let Some((id, answer)) = answer else {
            self.slots[index] = None;
            if let Some(question) = &mut self.question {
                question.along.take_if(|along| *along == index);
            }
            let name = self.list.backends[index].name();
            let closed = SpeechError::Failed { backend: name, what: "it ended".into() };
            return self.failed(index, closed).await;
        };
        let Some(question) = self.question.as_mut().filter(|question| question.ask.id == id) else {
            return true;
        };
        if question.along == Some(index) {
            return self.answer_along(id, answer).await;
        }
        match answer {
            Answer::Failed(error) => self.failed(index, error).await,
            Answer::Final(hypothesis) => {
                let backend = &self.list.backends[index];
                backend.succeeded();
                let name = backend.name();
                self.end_question();
                self.tell(id, Answer::By(name)).await && self.tell(id, Answer::Final(hypothesis)).await
            }
            // Of two that hear the same, the partials of one: the turn taker would hear words go and come.
            other if question.asked.last() == Some(&index) => {
                let first = question.told.replace(index) != Some(index);
                question.said.told = true;
                // A provisional may be taken for the final.
                let told = !first || self.tell(id, Answer::By(self.list.backends[index].name())).await;
                told && self.tell(id, other).await
            }
            _ => true,
        }
    }

    /// What the one says who hears along: words for the turn taker, and a final that is kept.
    async fn answer_along(&mut self, id: AskId, answer: Answer) -> bool {
        let Some(question) = &mut self.question else { return true };
        match answer {
            Answer::Partial(words) | Answer::Provisional(Some(words)) if !question.said.told => {
                self.tell(id, Answer::Partial(words)).await
            }
            Answer::Final(heard) => {
                question.said.held = Some(heard);
                true
            }
            Answer::Failed(error) => {
                if let Some(index) = question.along.take() {
                    self.list.backends[index].unheard(&error);
                }
                true
            }
            _ => true,
        }
    }

    /// What was heard along is the answer, now that its turn has come.
    async fn answer_held(&mut self) -> bool {
        let Some(question) = &mut self.question else { return true };
        let (Some(&last), None) = (question.asked.last(), question.along) else { return true };
        let id = question.ask.id;
        let Some(heard) = question.said.held.take() else { return true };
        self.answer(last, Some((id, Answer::Final(heard)))).await
    }

    /// One of them did not do it: the next one is asked, unless another is at it.
    async fn failed(&mut self, index: usize, error: SpeechError) -> bool {
        let Some(question) = &mut self.question else { return true };
        let Some(at) = question.asked.iter().position(|asked| *asked == index) else { return true };
        self.list.backends[index].unheard(&error);
        question.asked.remove(at);
        if !question.asked.is_empty() {
            return true;
        }
        match self.ask_next(Some((index, error))) {
            Ok(()) => Box::pin(self.answer_held()).await,
            Err(error) => self.give_up(error).await,
        }
    }

    /// None is left who could answer.
    async fn give_up(&mut self, error: SpeechError) -> bool {
        let Some(question) = self.question.take() else { return true };
        self.tell(question.ask.id, Answer::Failed(error)).await
    }

    /// When somebody has been waited for long enough.
    fn wake(&self) -> Option<Instant> {
        self.late_at().into_iter().chain(self.along_at().map(|(at, _)| at)).min()
    }

    /// When which one shall hear along.
    fn along_at(&self) -> Option<(Instant, usize)> {
        let question = self.question.as_ref()?;
        let (paused, last) = (question.said.paused?, *question.asked.last()?);
        let alone = question.asked.len() == 1 && question.along.is_none() && !question.said.told;
        let next = self.next_behind(last, &question.ask.expected).filter(|_| alone)?;
        self.list.backends[next].what.is_local().then_some((paused + ALONG_AFTER, next))
    }

    /// When who was asked last is late.
    fn late_at(&self) -> Option<Instant> {
        let question = self.question.as_ref()?;
        let (ended, last) = (question.ended?, *question.asked.last()?);
        self.next_behind(last, &question.ask.expected)?;
        Some(ended + self.list.patience.hedge.unwrap_or_else(|| self.deadline(last)))
    }

    fn deadline(&self, index: usize) -> Duration {
        self.list.backends[index].deadline.unwrap_or(self.list.patience.deadline)
    }

    /// It took too long after the end of the utterance.
    async fn late(&mut self) -> bool {
        if let Some((_, next)) = self.along_at().filter(|(at, _)| *at <= Instant::now()) {
            self.hear_along(next);
            return true;
        }
        let Some(question) = &mut self.question else { return true };
        let Some(last) = question.asked.last().copied() else { return true };
        // The next one has its time from now on.
        question.ended = Some(Instant::now());
        if self.list.patience.hedge.is_some() {
            // Beside it. Whether there is one was looked at before.
            return match self
                .ask_next(Some((last, late(self.list.backends[last].name(), "final", self.deadline(last)))))
            {
                Ok(()) => Box::pin(self.answer_held()).await,
                Err(_) => true,
            };
        }
        let error = late(self.list.backends[last].name(), "final", self.deadline(last));
        self.stop(last);
        self.failed(last, error).await
    }

    /// The next behind `last` that takes such a question and is well: one that is left alone is no reason to drop another.
    fn next_behind(&self, last: usize, expected: &Expected) -> Option<usize> {
        let now = Moment::now();
        self.candidates(last + 1, expected).find(|index| !self.list.backends[*index].is_open(now))
    }

    fn candidates<'a>(&'a self, from: usize, expected: &'a Expected) -> impl Iterator<Item = usize> + 'a {
        let takes = move |index: &usize| {
            matches!(expected, Expected::Grammar(_)) || self.list.backends[*index].what.is_open()
        };
        (from..self.list.backends.len()).filter(takes)
    }

    /// Asks the next one behind the one that failed, or the first.
    fn ask_next(&mut self, behind: Option<(usize, SpeechError)>) -> Result<(), SpeechError> {
        let (mut from, mut error) = match behind {
            Some((index, error)) => (index + 1, Some(error)),
            None => (0, None),
        };
        let now = Moment::now();
        loop {
            let Some(question) = &self.question else { return Ok(()) };
            let expected = question.ask.expected.clone();
            let candidates: Vec<usize> = self.candidates(from, &expected).collect();
            // One that is left alone is asked when there is nobody behind it.
            let Some((&last, before)) = candidates.split_last() else {
                return Err(error.unwrap_or_else(nobody));
            };
            let index = before
                .iter()
                .copied()
                .find(|index| self.list.backends[*index].ask(now).is_yes())
                .unwrap_or(last);
            match self.put(index) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    self.list.backends[index].unheard(&why);
                    (from, error) = (index + 1, Some(why));
                }
            }
        }
    }

    /// Lets one hear what those who were asked tell nothing of.
    fn hear_along(&mut self, index: usize) {
        let heard = self.open(index);
        let Some(question) = &mut self.question else { return };
        match heard {
            Ok(()) => question.along = Some(index),
            Err(error) => {
                question.said.paused = None;
                self.list.backends[index].unheard(&error);
            }
        }
    }

    /// Puts the question to one of them, and lets it hear what was said so far, if it has not.
    fn put(&mut self, index: usize) -> Result<(), SpeechError> {
        let along =
            self.question.as_mut().and_then(|question| question.along.take_if(|along| *along == index));
        if along.is_none() {
            self.open(index)?;
        }
        if let Some(question) = &mut self.question {
            question.asked.push(index);
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<(), SpeechError> {
        let backend = &self.list.backends[index];
        let ended =
            || SpeechError::Failed { backend: backend.name(), what: "it takes no more questions".into() };
        if self.slots[index].is_none() {
            let (ear, reader) = ring::ear(EAR);
            let session = backend.what.open(self.call, reader, self.rate)?;
            self.slots[index] = Some(Slot { session, ear });
        }
        let Some(question) = &self.question else { return Ok(()) };
        let Some(slot) = &self.slots[index] else { return Err(ended()) };
        if slot.session.asks.try_send(Some(question.ask.clone())).is_err() {
            self.slots[index] = None;
            return Err(ended());
        }
        for item in &self.kept {
            slot.ear.push(*item);
        }
        Ok(())
    }

    /// Nobody listens for this any more.
    fn end_question(&mut self) {
        let Some(question) = self.question.take() else { return };
        for index in question.asked.into_iter().chain(question.along) {
            self.stop(index);
        }
    }

    fn stop(&mut self, index: usize) {
        let stopped = self.slots[index].as_ref().is_none_or(|slot| slot.session.asks.try_send(None).is_ok());
        if !stopped {
            // It does not even take questions back: it is opened anew when it is wanted again.
            self.slots[index] = None;
        }
    }

    async fn tell(&self, id: AskId, answer: Answer) -> bool {
        self.answers.send((id, answer)).await.is_ok()
    }
}

impl Backend<dyn Recognizer> {
    /// Notes a failure. What callers say is no request that could be at fault: a refusal is one of the recogniser.
    fn unheard(&self, error: &SpeechError) {
        tracing::warn!(service = self.name(), %error, "a recogniser did not answer as it should");
        self.failed_itself(Moment::now(), error);
    }
}

fn nobody() -> SpeechError {
    SpeechError::Unavailable(
        "no recogniser of the list takes open questions: add one that does to `recognizer` under [speech]"
            .into(),
    )
}
