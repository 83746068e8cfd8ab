//! One call and a service that is made of memory, in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::link::{Link, Wire};
use super::*;
use crate::audio::Frame;
use crate::audio::ring::{EarItem, EarWriter, ear};
use crate::speech::{Answer, Ask, AskId, Hypothesis};
use crate::time::{Moment, WallTime};

/// What a connection does with what it is told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Temper {
    /// Hears: a partial for each message, all of it at a flush or at the end.
    Hears,
    /// Takes everything and says nothing.
    Hangs,
    /// Closes when it gets audio.
    Closes,
    /// Cannot be reached.
    Gone,
    /// Does not know the key.
    Refuses,
    /// Says what is of no protocol.
    Babbles,
    /// Hears, and has no last word.
    Mute,
    /// Hears, and closes behind its last word.
    Leaves,
}

/// The service, as its tests see it.
#[derive(Default)]
struct Desk {
    /// What the connections to come are like, one after the other; the last one stays.
    tempers: VecDeque<Temper>,
    /// What was said on each connection.
    told: Vec<Vec<String>>,
}

#[derive(Clone)]
struct Fake {
    desk: Arc<Mutex<Desk>>,
    plan: Plan,
}

const PLAN: Plan = Plan {
    rate: Rate::Hz8000,
    chunk: Duration::from_millis(20),
    lasts: true,
    at_pause: AtPause::Flush,
    keep_alive: None,
};

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn plan(&self, _rate: Rate) -> Plan {
        self.plan
    }

    fn connect(&self, _expected: &Expected, _rate: Rate) -> Connecting {
        let desk = Arc::clone(&self.desk);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut inner = lock(&desk);
            let temper = if inner.tempers.len() > 1 {
                inner.tempers.pop_front()
            } else {
                inner.tempers.front().copied()
            };
            let temper = temper.unwrap_or(Temper::Hears);
            match temper {
                Temper::Gone => {
                    return Err(ServiceError::Unreachable { service: "fake", what: "refused".to_owned() });
                }
                Temper::Refuses => {
                    return Err(ServiceError::Refused { service: "fake", what: "401".to_owned() });
                }
                _ => {}
            }
            inner.told.push(Vec::new());
            let number = inner.told.len() - 1;
            drop(inner);
            let link = FakeLink { desk, number, temper, inbox: VecDeque::new() };
            Ok(Connection { link: Box::new(link), dialect: Box::new(FakeDialect) })
        })
    }
}

struct FakeLink {
    desk: Arc<Mutex<Desk>>,
    number: usize,
    temper: Temper,
    inbox: VecDeque<Result<Wire, ServiceError>>,
}

impl Link for FakeLink {
    fn send(&mut self, wire: Wire) -> Result<(), ServiceError> {
        let Wire::Text(text) = wire else { return Ok(()) };
        let mut desk = lock(&self.desk);
        let told = &mut desk.told[self.number];
        told.push(text.clone());
        let frames = told.iter().rev().take_while(|t| *t != "begin").filter(|t| *t == "audio").count();
        let answer = match (self.temper, text.as_str()) {
            (Temper::Hears | Temper::Mute | Temper::Leaves, "audio") => {
                Some(Ok(Wire::Text(format!("tail word{frames}"))))
            }
            (Temper::Hears | Temper::Leaves, "flush" | "end") => {
                Some(Ok(Wire::Text(format!("all word{frames}"))))
            }
            (Temper::Closes, "audio") => {
                Some(Err(ServiceError::Closed { service: "fake", what: "gone".to_owned() }))
            }
            (Temper::Babbles, "audio") => Some(Ok(Wire::Text("?".to_owned()))),
            _ => None,
        };
        self.inbox.extend(answer);
        if self.temper == Temper::Leaves && text == "end" {
            self.inbox.push_back(Err(ServiceError::Closed { service: "fake", what: "done".to_owned() }));
        }
        Ok(())
    }

    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>> {
        self.inbox.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

struct FakeDialect;

impl Dialect for FakeDialect {
    fn begin(&mut self, _expected: &Expected, out: &mut Vec<Wire>) {
        out.push(Wire::Text("begin".to_owned()));
    }

    fn audio(&mut self, samples: &[i16], out: &mut Vec<Wire>) {
        out.extend((0..samples.len() / 160).map(|_| Wire::Text("audio".to_owned())));
    }

    fn flush(&mut self, out: &mut Vec<Wire>) -> bool {
        out.push(Wire::Text("flush".to_owned()));
        false
    }

    fn end(&mut self, out: &mut Vec<Wire>) -> bool {
        out.push(Wire::Text("end".to_owned()));
        false
    }

    fn abandon(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("abandon".to_owned()));
    }

    fn keep_alive(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("still here".to_owned()));
    }

    fn leave(&mut self, out: &mut Vec<Wire>) {
        out.push(Wire::Text("leave".to_owned()));
    }

    fn hear(&mut self, wire: Wire, news: &mut Vec<News>) -> Result<(), ServiceError> {
        let Wire::Text(text) = wire else { return Ok(()) };
        let (kind, words) = text.split_once(' ').ok_or_else(|| messages::nonsense("fake", "babble"))?;
        news.push(News::Tail(Said::new(words, Some(0.9))));
        if kind == "all" {
            news.push(News::Caught);
        }
        Ok(())
    }
}

/// A call with a service of these tempers.
struct Call {
    ear: EarWriter,
    session: RecognizerSession,
    desk: Arc<Mutex<Desk>>,
    recognizer: NetworkRecognizer,
}

fn call(plan: Plan, tempers: &[Temper]) -> Call {
    let desk = Arc::new(Mutex::new(Desk { tempers: tempers.iter().copied().collect(), ..Desk::default() }));
    let fake = Fake { desk: Arc::clone(&desk), plan };
    let recognizer = NetworkRecognizer::new(fake, Patience::default());
    let (ear, reader) = ear(4_000);
    let session =
        recognizer.open(CallId::new(WallTime(1)), reader, Rate::Hz8000).expect("there is a runtime");
    Call { ear, session, desk, recognizer }
}

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

impl Call {
    async fn ask(&self, id: u32, expected: Expected) {
        self.session.asks.send(Some(Ask { id: AskId(id), expected })).await.expect("it lives");
        settle().await;
    }

    async fn frames(&self, count: usize) {
        for _ in 0..count {
            self.ear.push(EarItem::Audio(Frame::silence(Rate::Hz8000)));
        }
        settle().await;
    }

    async fn say(&self, count: usize) {
        self.ear.push(EarItem::Onset { at: at(0) });
        self.frames(count).await;
    }

    fn end(&self, millis: u64) {
        self.ear.push(EarItem::End { speech_end: at(millis) });
    }

    fn told(&self, connection: usize) -> String {
        let desk = lock(&self.desk);
        desk.told.get(connection).map(|told| told.join(" ")).unwrap_or_default()
    }

    fn connections(&self) -> usize {
        lock(&self.desk).told.len()
    }

    /// The answer to this question, and how long it took.
    async fn answer(&mut self, id: u32) -> (Answer, Duration) {
        let began = tokio::time::Instant::now();
        loop {
            let (about, answer) = self.session.answers.recv().await.expect("an answer");
            if about == AskId(id) && matches!(answer, Answer::Final(_) | Answer::Failed(_)) {
                return (answer, began.elapsed());
            }
        }
    }

    async fn heard(&mut self, id: u32) -> Option<Hypothesis> {
        match self.answer(id).await.0 {
            Answer::Final(heard) => heard,
            other => panic!("not a final: {other:?}"),
        }
    }
}

/// Lets everything happen that can happen now, and what takes a few milliseconds.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn text(heard: Option<Hypothesis>) -> String {
    heard.map(|heard| heard.text).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn an_utterance_is_heard_while_it_is_spoken_at_its_pause_and_at_its_end() {
    let mut call = call(PLAN, &[]);
    call.ask(1, Expected::Open).await;
    call.say(3).await;
    call.ear.push(EarItem::Pause { speech_end: at(60) });
    settle().await;
    call.end(60);
    let (mut partial, mut provisional) = (false, false);
    loop {
        match call.session.answers.recv().await.expect("an answer").1 {
            Answer::Partial(heard) => partial |= heard.text == "word2",
            Answer::Provisional(heard) => {
                provisional = true;
                assert_eq!(heard.map(|heard| (heard.text, heard.at)), Some(("word3".to_owned(), at(60))));
            }
            Answer::Final(heard) => {
                let heard = heard.expect("words");
                assert_eq!((heard.text.as_str(), heard.meaning.as_deref()), ("word3", Some("word3")));
                assert!((heard.confidence - 0.9).abs() < 1e-6);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(partial && provisional);
    assert_eq!(
        call.told(0),
        "begin audio audio audio flush",
        "the end brings nothing that the pause did not"
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_is_thrown_away_and_a_question_is_answered_once() {
    let mut call = call(PLAN, &[]);
    call.say(3).await;
    call.end(60);
    settle().await;
    assert_eq!(call.connections(), 0, "nobody asked: there is no connection");
    call.ask(1, Expected::Open).await;
    call.say(2).await;
    call.end(40);
    settle().await;
    call.say(5).await;
    call.end(100);
    assert_eq!(text(call.heard(1).await), "word2");
    call.ask(2, Expected::Open).await;
    call.say(4).await;
    call.end(80);
    assert_eq!(text(call.heard(2).await), "word4");
    assert_eq!(call.connections(), 1, "it serves the whole call");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_again_and_gets_the_utterance_from_its_beginning() {
    for tempers in [&[Temper::Closes, Temper::Hears][..], &[Temper::Babbles, Temper::Gone, Temper::Hears]] {
        let mut call = call(PLAN, tempers);
        call.ask(1, Expected::Open).await;
        call.say(3).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        call.frames(2).await;
        call.end(100);
        let (answer, took) = call.answer(1).await;
        let Answer::Final(heard) = answer else { panic!("{answer:?}") };
        assert_eq!(text(heard), "word5", "{tempers:?}");
        assert!(took < Duration::from_millis(300));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_service_does_the_answer_is_there_in_time_and_the_next_question_works() {
    for (temper, most) in [
        (Temper::Hangs, 1_300),
        (Temper::Closes, 1_300),
        (Temper::Gone, 1_300),
        (Temper::Babbles, 1_300),
        (Temper::Refuses, 100),
    ] {
        let mut call = call(PLAN, &[temper]);
        call.ask(1, Expected::Open).await;
        call.say(10).await;
        call.end(200);
        let (answer, took) = call.answer(1).await;
        assert!(matches!(answer, Answer::Failed(_)), "{temper:?}: {answer:?}");
        assert!(took <= Duration::from_millis(most), "{temper:?}: {took:?}");
        tokio::time::sleep(Duration::from_secs(20)).await;
        lock(&call.desk).tempers = [Temper::Hears].into();
        call.ask(2, Expected::Open).await;
        let refused = temper == Temper::Refuses;
        if !refused {
            tokio::time::sleep(Duration::from_secs(6)).await;
            call.say(2).await;
            call.end(40);
        }
        let (answer, took) = call.answer(2).await;
        assert_eq!(
            matches!(&answer, Answer::Failed(SpeechError::Service(error)) if error.is_lasting()),
            refused,
            "{answer:?}"
        );
        assert_eq!(matches!(answer, Answer::Final(Some(_))), !refused, "{answer:?}");
        assert!(took < Duration::from_millis(100), "{temper:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_word_that_does_not_come_is_what_was_heard_behind_the_end() {
    let mut call = call(PLAN, &[Temper::Mute]);
    call.ask(1, Expected::Open).await;
    call.say(3).await;
    call.end(60);
    let (answer, took) = call.answer(1).await;
    assert!(matches!(answer, Answer::Failed(_)), "nothing came behind the end: {answer:?}");
    assert_eq!(took.as_millis() / 100, 12);
    // With the audio still on its way at the end, what comes of it counts.
    let chunk = Duration::from_millis(100);
    let mut call = super::tests::call(Plan { chunk, ..PLAN }, &[Temper::Mute]);
    call.ask(1, Expected::Open).await;
    call.say(7).await;
    call.end(140);
    assert_eq!(text(call.heard(1).await), "word7");
}

#[tokio::test(start_paused = true)]
async fn a_new_question_ends_the_one_before_it_in_the_middle_of_a_word() {
    for lasts in [true, false] {
        let mut call = call(Plan { lasts, ..PLAN }, &[]);
        call.ask(1, Expected::Open).await;
        call.say(3).await;
        call.ask(2, Expected::Open).await;
        call.frames(4).await;
        call.end(140);
        call.say(2).await;
        call.end(40);
        assert_eq!(text(call.heard(2).await), "word2");
        assert!(call.told(0).contains(if lasts { "abandon begin" } else { "leave" }), "{}", call.told(0));
        call.session.asks.send(None).await.expect("it lives");
        settle().await;
        assert!(call.session.answers.try_recv().is_err(), "nothing of the first one");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_was_none_and_the_question_stands() {
    let mut call = call(PLAN, &[]);
    call.ask(1, Expected::Open).await;
    call.say(3).await;
    call.ear.push(EarItem::TakenBack);
    call.say(2).await;
    call.end(40);
    assert_eq!(text(call.heard(1).await), "word2");
}

#[tokio::test(start_paused = true)]
async fn of_a_service_for_whole_utterances_the_pause_is_a_try() {
    let plan = Plan { lasts: false, at_pause: AtPause::End, ..PLAN };
    for temper in [Temper::Hears, Temper::Leaves] {
        // He was done at the pause.
        let mut call = call(plan, &[temper]);
        call.ask(1, Expected::Open).await;
        call.say(3).await;
        call.ear.push(EarItem::Pause { speech_end: at(60) });
        call.frames(10).await;
        call.ear.push(EarItem::Pause { speech_end: at(60) });
        settle().await;
        call.end(60);
        let (answer, took) = call.answer(1).await;
        let Answer::Final(heard) = answer else { panic!("{answer:?}") };
        assert_eq!((text(heard), took), ("word3".to_owned(), Duration::ZERO), "it was there already");
        assert_eq!(call.connections(), 1);
        // He went on.
        call.ask(2, Expected::Open).await;
        call.say(3).await;
        call.ear.push(EarItem::Pause { speech_end: at(60) });
        call.frames(10).await;
        call.end(260);
        assert_eq!(text(call.heard(2).await), "word13");
        assert_eq!(call.connections(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grammar_says_what_is_an_answer() {
    let grammar = |phrases: &[(&str, &str)]| {
        Expected::Grammar(Arc::new(Grammar::from_phrases("test", phrases.iter().copied()).expect("right")))
    };
    let mut call = call(PLAN, &[]);
    call.ask(1, grammar(&[("word3", "three")])).await;
    call.say(3).await;
    call.end(60);
    assert_eq!(call.heard(1).await.and_then(|heard| heard.meaning).as_deref(), Some("three"));
    call.ask(2, grammar(&[("word3", "three")])).await;
    call.say(4).await;
    call.end(80);
    assert_eq!(call.heard(2).await, None, "speech, but none of the grammar");
}

#[tokio::test(start_paused = true)]
async fn from_one_frame_to_a_minute_everything_is_an_utterance_and_nothing_is_longer() {
    for count in [0, 1, 50, 3_000] {
        let mut call = call(PLAN, &[]);
        call.ask(1, Expected::Open).await;
        call.say(count).await;
        call.end(20 * count as u64);
        let heard = text(call.heard(1).await);
        let expected = if count == 0 { "word0".to_owned() } else { format!("word{count}") };
        assert_eq!(heard, expected);
    }
    let mut call = call(PLAN, &[]);
    call.ask(1, Expected::Open).await;
    call.say(3_200).await;
    assert!(matches!(call.answer(1).await.0, Answer::Final(_)), "it ends without an end");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_alive_and_left_when_nobody_needs_it() {
    let mut call = call(Plan { keep_alive: Some(Duration::from_secs(4)), ..PLAN }, &[]);
    call.ask(1, Expected::Open).await;
    call.say(1).await;
    call.end(20);
    call.heard(1).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(call.told(0).matches("still here").count(), 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(call.told(0).ends_with("leave"));
    assert_eq!(call.recognizer.name(), "fake");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_takes_its_task_with_it() {
    let mut first = call(PLAN, &[]);
    first.ask(1, Expected::Open).await;
    first.say(2).await;
    // Hung up at the end of the last word: it is still answered.
    first.end(40);
    drop(first.ear);
    let last = first.session.answers.recv().await;
    assert!(last.is_some());
    while first.session.answers.recv().await.is_some() {}
    let second = call(PLAN, &[]);
    second.ask(1, Expected::Open).await;
    let desk = Arc::clone(&second.desk);
    drop(second.session);
    settle().await;
    assert!(lock(&desk).told[0].ends_with(&["leave".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_answers_stops_nothing() {
    let call = call(PLAN, &[]);
    for id in 1..100 {
        call.ask(id, Expected::Open).await;
        call.say(5).await;
        call.end(100);
        settle().await;
    }
    assert!(call.connections() == 1);
}
