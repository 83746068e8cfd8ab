//! What serves one call: reads its ear, keeps a connection to the service, and answers each question once.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};

use super::link::{self, Link, Wire};
use super::utterance::{Transcript, Utterance};
use super::{AtPause, Connecting, Connection, Dialect, News, Patience, Plan, Service};
use crate::audio::ring::{EarItem, EarReader};
use crate::audio::{Frame, Rate};
use crate::service::ServiceError;
use crate::speech::{Answer, Ask, AskId, Expected};
use crate::time::Moment;

/// Partials leave this much room in the channel of answers for what must not be lost.
const ROOM_KEPT: usize = 4;
/// So many faults one after the other, without an answer between them, and the question has failed.
const ATTEMPTS: u32 = 3;
/// A connection that lasted so long was a good one: what happens to it is the first fault again.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// The waits between two attempts to connect: none, then this, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// An utterance is ended for a try at this many of its pauses, and while it is no longer than this: each try sends it whole.
const MOST_TRIES: u8 = 4;
const LONGEST_TRY: Duration = Duration::from_secs(15);
/// Two ends of speech are the same when they lie no further apart.
const SAME_END: Duration = Duration::from_millis(20);

/// One call.
pub(super) struct Session {
    service: Arc<dyn Service>,
    plan: Plan,
    patience: Patience,
    ear: EarReader,
    /// The call is over: nothing more is read of its ear.
    deaf: bool,
    asks: mpsc::Receiver<Option<Ask>>,
    answers: mpsc::Sender<(AskId, Answer)>,
    /// The question whose utterance is awaited.
    asked: Option<Ask>,
    utterance: Option<Utterance>,
    line: Line,
    /// Until when the utterance has to be answered, once it is over.
    answer_by: Option<Instant>,
    /// An answer for which there was no room yet.
    answer: Option<(AskId, Answer)>,
    /// Faults since the service last said all that it was asked for.
    faults: u32,
    /// What the last one was.
    fault: Option<ServiceError>,
    /// No connection is made before.
    retry_at: Instant,
    /// When the connection was made, when something was last sent, and when something was last asked.
    up_at: Instant,
    sent_at: Instant,
    used_at: Instant,
    out: Vec<Wire>,
    news: Vec<News>,
}

/// The connection.
enum Line {
    Down,
    Connecting { connecting: Connecting, fitted: u64 },
    Up { link: Box<dyn Link>, dialect: Box<dyn Dialect>, fitted: u64, take: Option<Take> },
}

/// What the service has of the utterance under way.
#[derive(Default)]
struct Take {
    /// How many of its samples.
    sent: usize,
    /// It was asked for all that it has, up to this end of speech.
    asked_for: Option<Moment>,
    /// It was told that there is no more.
    ended: bool,
}

/// What happens next.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are frames")]
enum Step {
    Ask(Option<Ask>),
    Ear(EarItem),
    CallOver,
    Connected(Result<Connection, ServiceError>),
    Came(Result<Wire, ServiceError>),
    /// There is room for the answer that waits.
    Room,
    Time,
    Over,
}

impl Session {
    pub(super) fn new(
        service: Arc<dyn Service>,
        patience: Patience,
        ear: EarReader,
        rate: Rate,
        asks: mpsc::Receiver<Option<Ask>>,
        answers: mpsc::Sender<(AskId, Answer)>,
    ) -> Self {
        let (plan, now) = (service.plan(rate), Instant::now());
        Self {
            service,
            plan,
            patience,
            ear,
            deaf: false,
            asks,
            answers,
            asked: None,
            utterance: None,
            line: Line::Down,
            answer_by: None,
            answer: None,
            faults: 0,
            fault: None,
            retry_at: now,
            up_at: now,
            sent_at: now,
            used_at: now,
            out: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Serves the call until it ends or nobody wants to know.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Step::Ask(ask) => self.ask(ask),
                Step::Ear(item) => self.hear(item),
                Step::CallOver => self.deaf = true,
                Step::Connected(Ok(Connection { link, dialect })) => {
                    let Line::Connecting { fitted, .. } = self.line else { continue };
                    self.line = Line::Up { link, dialect, fitted, take: None };
                    (self.up_at, self.sent_at) = (Instant::now(), Instant::now());
                    self.begin();
                }
                Step::Connected(Err(error)) => self.broke(error),
                Step::Came(Err(error)) => self.closed(error),
                Step::Came(Ok(wire)) => self.came(wire),
                Step::Room => {
                    if let Some((id, answer)) = self.answer.take() {
                        self.send(id, answer);
                    }
                }
                Step::Time => self.time(Instant::now()),
                Step::Over => break,
            }
            // Behind the call's end, what was said to its end is still answered.
            if self.deaf && self.answer.is_none() && !self.utterance.as_ref().is_some_and(|u| u.over) {
                break;
            }
        }
        self.leave();
    }

    async fn next(&mut self) -> Step {
        let wake = self.wakes_at();
        let Self { asks, ear, deaf, line, answers, answer, .. } = self;
        tokio::select! {
            biased;
            ask = asks.recv() => ask.map_or(Step::Over, Step::Ask),
            item = ear.pop(), if !*deaf => item.map_or(Step::CallOver, Step::Ear),
            step = std::future::poll_fn(|context| match line {
                Line::Down => Poll::Pending,
                Line::Connecting { connecting, .. } => connecting.as_mut().poll(context).map(Step::Connected),
                Line::Up { link, .. } => link.poll(context).map(Step::Came),
            }) => step,
            room = answers.reserve(), if answer.is_some() => if room.is_ok() { Step::Room } else { Step::Over },
            () = wait_until(wake) => Step::Time,
        }
    }

    /// A question is put, or taken back.
    fn ask(&mut self, ask: Option<Ask>) {
        self.abandon();
        self.answer = None;
        self.asked = ask;
        let Some(asked) = &self.asked else { return };
        self.used_at = Instant::now();
        if let Some(error) = self.fault.as_ref().filter(|fault| fault.is_lasting()) {
            let error = error.clone();
            return self.finish(Answer::Failed(error.into()));
        }
        let wanted = self.service.fitted(&asked.expected);
        if let Line::Up { fitted, .. } | Line::Connecting { fitted, .. } = &self.line
            && *fitted != wanted
        {
            self.leave();
        }
        self.connect();
    }

    fn hear(&mut self, item: EarItem) {
        match item {
            EarItem::Onset { .. } => self.onset(),
            EarItem::Audio(frame) => self.audio(&frame),
            EarItem::Pause { speech_end } => self.pause(speech_end),
            EarItem::TakenBack => {
                if let Some(ask) = self.utterance.as_ref().filter(|u| !u.over).map(|u| u.ask.clone()) {
                    self.abandon();
                    self.asked = Some(ask);
                    self.connect();
                }
            }
            EarItem::End { speech_end } => self.end(speech_end),
        }
    }

    fn onset(&mut self) {
        if self.utterance.is_some() {
            return;
        }
        let Some(ask) = self.asked.take() else { return };
        self.used_at = Instant::now();
        self.utterance = Some(Utterance::new(ask, self.plan.rate, Moment::now()));
        if self.faults >= ATTEMPTS && !matches!(self.line, Line::Up { .. }) {
            return self.give_up();
        }
        self.connect();
        self.begin();
    }

    fn audio(&mut self, frame: &Frame) {
        let Some(utterance) = self.utterance.as_mut().filter(|u| !u.over) else { return };
        let behind = frame.duration() * u32::try_from(self.ear.waiting()).unwrap_or(0);
        let now = Moment::now() - behind;
        let room = utterance.add(frame, now);
        self.push_audio(false);
        self.deliver();
        if !room {
            self.end(now);
        }
    }

    /// The caller may be done.
    fn pause(&mut self, speech_end: Moment) {
        let Some(utterance) = self.utterance.as_mut().filter(|u| !u.over) else { return };
        utterance.speech_end = Some(speech_end);
        match self.plan.at_pause {
            AtPause::Flush => {
                self.push_audio(true);
                if let Line::Up { dialect, take: Some(take), .. } = &mut self.line
                    && !take.has(speech_end)
                    && let Some(utterance) = &mut self.utterance
                {
                    take.asked_for = Some(speech_end);
                    utterance.transcript.asked();
                    utterance.transcript.caught = dialect.flush(&mut self.out);
                }
                self.judge();
            }
            AtPause::End if utterance.tries < MOST_TRIES && utterance.length() <= LONGEST_TRY => {
                self.end_take(speech_end);
            }
            AtPause::End => {}
            AtPause::Follow(_) => self.follow(),
        }
        self.deliver();
    }

    /// The caller is done.
    fn end(&mut self, speech_end: Moment) {
        let Some(utterance) = self.utterance.as_mut().filter(|u| !u.over) else { return };
        utterance.over = true;
        utterance.speech_end = Some(speech_end);
        self.answer_by = Some(Instant::now() + self.patience.last);
        if let Line::Up { take: Some(take), .. } = &self.line
            && take.has(speech_end)
        {
            // It was asked at the pause, and there was only silence since.
            self.judge();
            return;
        }
        self.end_take(speech_end);
        self.deliver();
        self.judge();
        self.judge_hopeless();
    }

    /// Tells the service that there is no more of the utterance, up to this end of speech. One that was told so before, and
    /// was told too soon, gets it all again.
    fn end_take(&mut self, speech_end: Moment) {
        let spent = match &self.line {
            Line::Up { take: Some(take), .. } if take.has(speech_end) => return,
            Line::Up { take: Some(take), .. } => take.ended,
            _ => false,
        };
        if spent {
            self.leave();
            self.connect();
        }
        self.push_audio(true);
        let Some(utterance) = &mut self.utterance else { return };
        utterance.tries = utterance.tries.saturating_add(1);
        if let Line::Up { dialect, take: Some(take), .. } = &mut self.line {
            take.asked_for = Some(speech_end);
            take.ended = true;
            utterance.transcript.asked();
            utterance.transcript.caught = dialect.end(&mut self.out);
        }
    }

    /// Begins to send the utterance under way over a connection that stands.
    fn begin(&mut self) {
        let (Some(utterance), Line::Up { dialect, take: take @ None, .. }) =
            (&mut self.utterance, &mut self.line)
        else {
            return;
        };
        *take = Some(Take::default());
        utterance.transcript = Transcript::default();
        dialect.begin(&utterance.ask.expected, &mut self.out);
        let (over, speech_end) = (utterance.over, utterance.speech_end);
        let tried = self.plan.at_pause == AtPause::End && utterance.tries > 0;
        match speech_end {
            Some(speech_end) if over || tried => self.end_take(speech_end),
            _ => self.push_audio(false),
        }
        self.deliver();
    }

    /// Hands the dialect what it has not got, in pieces; `all` of it or what makes whole ones.
    fn push_audio(&mut self, all: bool) {
        let (Some(utterance), Line::Up { dialect, take: Some(take), .. }) = (&self.utterance, &mut self.line)
        else {
            return;
        };
        if take.ended {
            return;
        }
        let samples = |span: Duration| usize::try_from(self.plan.rate.samples(span)).unwrap_or(1).max(1);
        let (chunk, most) = (samples(self.plan.chunk), samples(Duration::from_millis(500)));
        while let rest @ [_, ..] = &utterance.audio()[take.sent..] {
            if rest.len() < chunk && !all {
                break;
            }
            // What has gathered goes in larger pieces.
            let count = if rest.len() > 4 * chunk { most.max(chunk) } else { chunk };
            let piece = &rest[..count.min(rest.len())];
            dialect.audio(piece, &mut self.out);
            take.sent += piece.len();
        }
    }

    /// Puts on the line what the dialect wrote.
    fn deliver(&mut self) {
        if self.out.is_empty() {
            return;
        }
        self.sent_at = Instant::now();
        let mut sent = Ok(());
        if let Line::Up { link, .. } = &mut self.line {
            sent = self.out.drain(..).try_for_each(|wire| link.send(wire));
        }
        self.out.clear();
        if let Err(error) = sent {
            self.broke(error);
        }
    }

    /// Something came.
    fn came(&mut self, wire: Wire) {
        let Line::Up { dialect, .. } = &mut self.line else { return };
        self.news.clear();
        match dialect.hear(wire, &mut self.news) {
            Ok(()) => self.take_news(),
            Err(error) => self.broke(error),
        }
    }

    /// The service went.
    fn closed(&mut self, error: ServiceError) {
        self.news.clear();
        let caught = self.utterance.as_ref().is_some_and(|utterance| utterance.transcript.caught);
        let said_all = match &mut self.line {
            Line::Up { link, take: Some(take), .. } if take.ended && caught && !self.plan.lasts => {
                // It has said all, as is the way of services for one utterance. What it said stands as long as he says no more.
                *link = Box::new(link::Gone);
                return;
            }
            Line::Up { dialect, take: Some(_), .. } => dialect.closed(&error, &mut self.news),
            _ => false,
        };
        if said_all {
            self.take_news();
        }
        // Of a service that was done there is nothing under way any more.
        if !said_all || self.utterance.is_some() {
            self.broke(error);
        }
    }

    fn take_news(&mut self) {
        if self.news.is_empty() {
            return;
        }
        if self.news.contains(&News::Caught) {
            self.faults = 0;
            self.fault = None;
        }
        let mut changed = false;
        let Some(utterance) = &mut self.utterance else { return };
        let id = utterance.ask.id;
        for news in self.news.drain(..) {
            if let News::Turn { heard, confidence } = &news {
                let (at, confidence) = (utterance.moment(*heard), confidence.clamp(0.0, 1.0));
                // Late or lost, the turn is taken without it.
                let _ = self.answers.try_send((id, Answer::EndOfTurn { at, confidence }));
            }
            changed |= utterance.transcript.take(news);
        }
        if changed && !utterance.over {
            self.partial();
        }
        self.judge();
        self.follow();
    }

    /// Tells what is heard so far, when it has changed.
    fn partial(&mut self) {
        let lag = match self.plan.at_pause {
            AtPause::Follow(lag) => lag,
            _ => Duration::ZERO,
        };
        let Some(utterance) = &mut self.utterance else { return };
        let heard = utterance.transcript.heard.unwrap_or_else(|| utterance.length().saturating_sub(lag));
        let Some(hypothesis) = utterance.hypothesis(utterance.moment(heard)) else { return };
        if hypothesis.text == utterance.told || self.answers.capacity() <= ROOM_KEPT {
            return;
        }
        utterance.told.clone_from(&hypothesis.text);
        let _ = self.answers.try_send((utterance.ask.id, Answer::Partial(hypothesis)));
    }

    /// Whether the service has said all that it was asked for.
    fn judge(&mut self) {
        let (Some(utterance), Line::Up { take: Some(take), .. }) = (&mut self.utterance, &self.line) else {
            return;
        };
        let Some(speech_end) = take.asked_for.filter(|_| utterance.transcript.caught) else { return };
        if utterance.over {
            let answer = utterance.answer(utterance.speech_end.unwrap_or(speech_end));
            return self.finish(Answer::Final(answer));
        }
        if utterance.judged.replace(speech_end) != Some(speech_end) {
            let provisional = (utterance.ask.id, Answer::Provisional(utterance.hypothesis(speech_end)));
            // If the channel is full, the final comes all the same.
            let _ = self.answers.try_send(provisional);
        }
    }

    /// Of a service that is only followed: whether it has come past the pause.
    fn follow(&mut self) {
        let (AtPause::Follow(lag), Some(utterance)) = (self.plan.at_pause, &mut self.utterance) else {
            return;
        };
        let Some(speech_end) = utterance.speech_end.filter(|_| !utterance.over) else { return };
        let past = utterance
            .transcript
            .heard
            .is_some_and(|heard| utterance.moment(heard.saturating_sub(lag)) >= speech_end);
        if past && utterance.judged != Some(speech_end) {
            utterance.judged = Some(speech_end);
            let provisional = (utterance.ask.id, Answer::Provisional(utterance.hypothesis(speech_end)));
            let _ = self.answers.try_send(provisional);
        }
    }

    /// The connection could not be made, or broke.
    fn broke(&mut self, error: ServiceError) {
        let in_use = self.asked.is_some() || self.utterance.is_some();
        let was_up = matches!(self.line, Line::Up { .. });
        let was_idle = matches!(self.line, Line::Up { take: None, .. });
        self.line = Line::Down;
        self.out.clear();
        if was_idle && !in_use {
            // Services close what is not used: it is made again when it is needed.
            return;
        }
        tracing::debug!(service = self.service.name(), %error, "the connection to a recogniser failed");
        if was_up && self.up_at.elapsed() >= GOOD_AFTER {
            self.faults = 0;
        }
        self.faults += 1;
        let wait = match self.faults {
            1 => Duration::ZERO,
            n => FIRST_WAIT.saturating_mul(1 << (n - 2).min(8)).min(LONGEST_WAIT),
        };
        // Calls that lost the same server do not come back at the same moment.
        let wait = wait.mul_f64(0.75 + 0.5 * fastrand::f64());
        self.retry_at = Instant::now() + wait.max(error.retry_after().unwrap_or_default());
        let lasting = error.is_lasting();
        self.fault = Some(error);
        if lasting || (self.faults >= ATTEMPTS && self.utterance.is_some()) {
            return self.give_up();
        }
        self.connect();
        self.judge_hopeless();
    }

    /// Makes a connection if one is wanted and there is none.
    fn connect(&mut self) {
        let question = self.utterance.as_ref().map(|u| &u.ask).or(self.asked.as_ref());
        let (Line::Down, Some(question)) = (&self.line, question) else { return };
        if Instant::now() < self.retry_at {
            return;
        }
        let expected: &Expected = &question.expected;
        let fitted = self.service.fitted(expected);
        let connecting = self.service.connect(expected, self.plan.rate);
        self.line = Line::Connecting { connecting, fitted };
    }

    /// Nobody is kept waiting for a connection that will not be tried before it is too late.
    fn judge_hopeless(&mut self) {
        let down = matches!(self.line, Line::Down);
        if down && self.answer_by.is_some_and(|by| self.retry_at >= by) {
            self.give_up();
        }
    }

    /// The question has failed, for the reason that was seen last.
    fn give_up(&mut self) {
        if self.asked.is_none() && self.utterance.is_none() {
            return;
        }
        let late = || ServiceError::Timeout {
            service: self.service.name(),
            what: "last word",
            after: self.patience.last,
        };
        let error = self.fault.clone().unwrap_or_else(late);
        self.finish(Answer::Failed(error.into()));
    }

    fn time(&mut self, now: Instant) {
        if self.answer_by.is_some_and(|by| now >= by) {
            return self.late();
        }
        if let Line::Up { dialect, take, .. } = &mut self.line {
            if take.is_none() && now >= self.used_at + self.patience.idle && self.asked.is_none() {
                return self.leave();
            }
            if self.plan.keep_alive.is_some_and(|every| now >= self.sent_at + every) {
                dialect.keep_alive(&mut self.out);
                self.sent_at = now;
                self.deliver();
            }
        }
        self.connect();
    }

    /// The answer should be there: what was heard last stands if it was heard behind the end of speech.
    fn late(&mut self) {
        let Some(utterance) = &self.utterance else { return };
        let connected = matches!(self.line, Line::Up { .. });
        let Some(speech_end) = utterance.speech_end else { return };
        let transcript = &utterance.transcript;
        let holds = transcript.heard.map_or(transcript.fresh, |heard| utterance.moment(heard) >= speech_end);
        let said = utterance.answer(speech_end).filter(|_| holds);
        // What hangs once is not trusted with the next question.
        self.line = Line::Down;
        self.out.clear();
        match said {
            Some(heard) => self.finish(Answer::Final(Some(heard))),
            None => {
                self.faults += 1;
                if connected {
                    self.fault = None;
                }
                self.give_up();
            }
        }
    }

    /// Answers the question under way.
    fn finish(&mut self, answer: Answer) {
        let ask = self.utterance.take().map(|u| u.ask).or_else(|| self.asked.take());
        self.answer_by = None;
        self.used_at = Instant::now();
        if self.plan.lasts {
            if let Line::Up { take, .. } = &mut self.line {
                *take = None;
            }
        } else if matches!(self.line, Line::Up { take: Some(_), .. }) {
            self.leave();
        }
        if let Some(ask) = ask {
            self.send(ask.id, answer);
        }
    }

    fn send(&mut self, id: AskId, answer: Answer) {
        if let Err(TrySendError::Full(answer)) = self.answers.try_send((id, answer)) {
            self.answer = Some(answer);
        }
    }

    /// Gives up the utterance under way.
    fn abandon(&mut self) {
        if self.utterance.take().is_none() {
            return;
        }
        self.answer_by = None;
        match &mut self.line {
            Line::Up { dialect, take, .. } if self.plan.lasts && take.is_some() => {
                *take = None;
                dialect.abandon(&mut self.out);
                self.deliver();
            }
            Line::Up { .. } if self.plan.lasts => {}
            Line::Up { take: Some(_), .. } => self.leave(),
            _ => {}
        }
    }

    /// Leaves the connection, with a word where the service wants one. Nobody waits for it to be read.
    fn leave(&mut self) {
        self.out.clear();
        if let Line::Up { link, dialect, .. } = &mut self.line {
            dialect.leave(&mut self.out);
            let _ = self.out.drain(..).try_for_each(|wire| link.send(wire));
            let _ = link.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        }
        self.line = Line::Down;
    }

    /// When there is something to do though nothing happens.
    fn wakes_at(&self) -> Option<Instant> {
        let wanted = self.asked.is_some() || self.utterance.is_some();
        let retry = (matches!(self.line, Line::Down) && wanted).then_some(self.retry_at);
        let (mut keep, mut idle) = (None, None);
        if let Line::Up { take, .. } = &self.line {
            keep = self.plan.keep_alive.map(|every| self.sent_at + every);
            idle = (take.is_none() && self.asked.is_none()).then(|| self.used_at + self.patience.idle);
        }
        [self.answer_by, retry, keep, idle].into_iter().flatten().min()
    }
}

impl Take {
    /// Whether it was asked for all up to this end of speech.
    fn has(&self, speech_end: Moment) -> bool {
        self.asked_for.is_some_and(|asked| asked.since(speech_end).max(speech_end.since(asked)) <= SAME_END)
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
