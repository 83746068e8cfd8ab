//! In virtual time, but for the breakers, which have the real clock: they are asked at once or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::audio::ring::{self, EarItem, EarReader};
use crate::audio::{Frame, Rate};
use crate::id::CallId;
use crate::speech::grammar::Grammar;
use crate::speech::words::WordTimes;
use crate::speech::{Answer, Ask, AskId, Expected, Hypothesis, RecognizerSession, SpeechStream, Utterance};
use crate::time::WallTime;

/// What a synthesiser of the tests does.
#[derive(Clone, Copy)]
enum Does {
    /// A word is 100 ms of this sample, and its time is told; after so long.
    Speaks(i16, u64),
    Hangs,
    Fails,
    Refuses,
    /// Says nothing at all.
    Mute,
    /// So many words, then an error.
    BreaksAfter(i16, usize),
    /// So many words, then nothing more.
    StallsAfter(i16, usize),
}

struct Mouth {
    name: &'static str,
    does: Does,
    asked: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

const WORD: usize = 800;

impl Synthesizer for Mouth {
    fn name(&self) -> &'static str {
        self.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (sender, chunks) = mpsc::channel(100);
        let times = WordTimes::default();
        let (told, words, does) = (times.clone(), utterance.text.split_whitespace().count(), self.does);
        let (name, dropped) = (self.name, Arc::clone(&self.dropped));
        tokio::spawn(async move {
            let failed = || Err(SpeechError::Failed { backend: name, what: "broken".into() });
            let word = |n: usize, sample| {
                told.extend([Rate::Hz8000.duration((n as u64 + 1) * WORD as u64)]);
                Ok(vec![sample; WORD])
            };
            match does {
                Does::Speaks(sample, after) => {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    for n in 0..words {
                        let _ = sender.send(word(n, sample)).await;
                    }
                }
                Does::Hangs => {}
                Does::Mute => return,
                Does::Fails => drop(sender.send(failed()).await),
                Does::Refuses => {
                    let refused = ServiceError::Refused { service: name, what: "401".into() };
                    let _ = sender.send(Err(refused.into())).await;
                }
                Does::BreaksAfter(sample, many) | Does::StallsAfter(sample, many) => {
                    for n in 0..many.min(words) {
                        let _ = sender.send(word(n, sample)).await;
                    }
                    if matches!(does, Does::BreaksAfter(..)) {
                        let _ = sender.send(failed()).await;
                    }
                }
            }
            if matches!(does, Does::Hangs | Does::StallsAfter(..)) {
                sender.closed().await;
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        SpeechStream { chunks, times }
    }
}

fn mouth(name: &'static str, does: Does) -> Arc<Mouth> {
    Arc::new(Mouth { name, does, asked: AtomicUsize::new(0), dropped: Arc::default() })
}

fn list(mouths: &[Arc<Mouth>], patience: Patience) -> SpeakingList {
    let backend =
        |mouth: &Arc<Mouth>| Arc::new(Backend::synthesizer(Arc::clone(mouth) as Arc<dyn Synthesizer>));
    SpeakingList::new(mouths.iter().map(backend).collect(), patience)
}

fn say(text: &str) -> Utterance {
    Utterance { text: text.to_owned(), voice: None, rate: Rate::Hz8000 }
}

/// What was heard: each sample with how many words of it in a row; the times of words; who spoke last; after how long the
/// first came.
struct Told {
    words: Vec<(i16, usize)>,
    times: Vec<Duration>,
    by: Option<&'static str>,
    first: Duration,
    error: Option<SpeechError>,
}

async fn told(list: &SpeakingList, text: &str) -> Told {
    let begun = tokio::time::Instant::now();
    let mut stream = list.synthesize(&say(text));
    let (mut words, mut first, mut error): (Vec<(i16, usize)>, _, _) = (Vec::new(), None, None);
    while let Some(item) = stream.chunks.recv().await {
        match item {
            Ok(chunk) => {
                first.get_or_insert(begun.elapsed());
                match words.last_mut() {
                    Some((sample, count)) if *sample == chunk[0] => *count += chunk.len() / WORD,
                    _ => words.push((chunk[0], chunk.len() / WORD)),
                }
            }
            Err(why) => error = Some(why),
        }
    }
    let (times, by) = (stream.times.known(), stream.times.maker());
    Told { words, times, by, first: first.unwrap_or_default(), error }
}

const TEXT: &str = "One two, three four, five six.";

#[tokio::test(start_paused = true)]
async fn the_first_speaks_and_the_second_is_not_asked() {
    let (a, b) = (mouth("a", Does::Speaks(1, 300)), mouth("b", Does::Speaks(2, 0)));
    let told = told(&list(&[a, Arc::clone(&b)], Patience::USUAL), TEXT).await;
    assert_eq!((told.words, told.by, told.times.len()), (vec![(1, 6)], Some("a"), 6));
    assert_eq!(b.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_refuses_hangs_or_is_mute_is_followed_by_the_next() {
    for (does, most) in [(Does::Fails, 20), (Does::Refuses, 20), (Does::Mute, 20), (Does::Hangs, 720)] {
        let (a, b) = (mouth("a", does), mouth("b", Does::Speaks(2, 10)));
        let told = told(&list(&[Arc::clone(&a), b], Patience::USUAL), TEXT).await;
        assert_eq!((told.words, told.by), (vec![(2, 6)], Some("b")));
        assert!(told.first <= Duration::from_millis(most), "{:?}", told.first);
        if matches!(does, Does::Hangs) {
            tokio::task::yield_now().await;
            assert_eq!(a.dropped.load(Ordering::Relaxed), 1, "the one that hangs is let go");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_again_and_again_is_not_waited_for_and_a_key_refused_once_is_enough() {
    let a = mouth("a", Does::Hangs);
    let voices = list(&[Arc::clone(&a), mouth("b", Does::Speaks(2, 0))], Patience::USUAL);
    for _ in 0..3 {
        assert!(told(&voices, TEXT).await.first >= Duration::from_millis(700));
    }
    assert_eq!(told(&voices, TEXT).await.first, Duration::ZERO);
    assert_eq!(a.asked.load(Ordering::Relaxed), 3);
    let refuses = mouth("c", Does::Refuses);
    let voices = list(&[Arc::clone(&refuses), mouth("d", Does::Speaks(2, 0))], Patience::USUAL);
    for _ in 0..3 {
        assert!(told(&voices, TEXT).await.error.is_none());
    }
    assert_eq!(refuses.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn with_hedging_the_first_to_answer_stays_and_the_other_is_let_go() {
    let hedged = Patience { hedge: Some(Duration::from_millis(200)), ..Patience::USUAL };
    let a = mouth("a", Does::Hangs);
    let told_of = told(&list(&[Arc::clone(&a), mouth("b", Does::Speaks(2, 50))], hedged), TEXT).await;
    assert_eq!((told_of.words, told_of.first.as_millis()), (vec![(2, 6)], 250));
    tokio::task::yield_now().await;
    assert_eq!(a.dropped.load(Ordering::Relaxed), 1);
    // The first is late, but still earlier than the second.
    let told_of =
        told(&list(&[mouth("a", Does::Speaks(1, 300)), mouth("b", Does::Speaks(2, 500))], hedged), TEXT)
            .await;
    assert_eq!((told_of.words, told_of.first.as_millis()), (vec![(1, 6)], 300));
}

#[tokio::test(start_paused = true)]
async fn a_text_that_breaks_off_goes_on_with_the_clause_that_broke() {
    for (does, most) in [(Does::BreaksAfter(1, 3), 0), (Does::StallsAfter(1, 3), 1_100)] {
        let begun = tokio::time::Instant::now();
        let told =
            told(&list(&[mouth("a", does), mouth("b", Does::Speaks(2, 0))], Patience::USUAL), TEXT).await;
        // "One two, three" by the first, "three four, five six." by the second.
        assert_eq!((told.words, told.by), (vec![(1, 3), (2, 4)], Some("b")));
        let ends = [100, 200, 400, 500, 600, 700].map(Duration::from_millis);
        assert_eq!(told.times, ends, "each word where it is heard last");
        assert!(
            told.error.is_none() && begun.elapsed() <= Duration::from_millis(most),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_error_is_told_and_those_left_alone_are_asked_all_the_same() {
    let (a, b) = (mouth("a", Does::Fails), mouth("b", Does::Fails));
    let voices = list(&[Arc::clone(&a), Arc::clone(&b)], Patience::USUAL);
    for n in 1..=5 {
        let told = told(&voices, TEXT).await;
        assert!(told.error.is_some_and(|error| error.to_string().contains("b failed")));
        assert_eq!((a.asked.load(Ordering::Relaxed), b.asked.load(Ordering::Relaxed)), (n, n));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_lets_go_of_all() {
    let (a, b) = (mouth("a", Does::Hangs), mouth("b", Does::Hangs));
    let hedged = Patience { hedge: Some(Duration::from_millis(100)), ..Patience::USUAL };
    let stream = list(&[Arc::clone(&a), Arc::clone(&b)], hedged).synthesize(&say(TEXT));
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((a.dropped.load(Ordering::Relaxed), b.dropped.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_voice_is_translated_and_anothers_voice_is_none_of_the_second() {
    let voices = [("anna".to_owned(), "x-123".to_owned())].into();
    let backend = Backend::synthesizer(mouth("a", Does::Mute) as Arc<dyn Synthesizer>)
        .voices(voices)
        .with_voices(|name| name == "slt");
    assert_eq!(backend.voice(Some("anna"), false).as_deref(), Some("x-123"));
    assert_eq!(backend.voice(Some("slt"), false).as_deref(), Some("slt"));
    assert_eq!(backend.voice(Some("bella"), false), None);
    assert_eq!(backend.voice(Some("bella"), true).as_deref(), Some("bella"));
    assert_eq!(backend.voice(None, true), None);
}

/// What a recogniser of the tests does with an utterance.
#[derive(Clone, Copy)]
enum Hears {
    /// Tells how many frames it heard, so long after its end.
    Counts(u64),
    Hangs,
    Fails,
    /// Its session ends in the middle of an utterance.
    Ends,
    /// Tells at a pause that there were words, and as [`Hears::Counts`] at the end.
    Tells(u64),
}

struct Ear {
    name: &'static str,
    hears: Hears,
    open: bool,
    local: bool,
    opened: AtomicUsize,
}

impl Recognizer for Ear {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn open(&self, _: CallId, ear: EarReader, _: Rate) -> Result<RecognizerSession, SpeechError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (asks, mut asked) = mpsc::channel::<Option<Ask>>(4);
        let (answer, answers) = mpsc::channel(32);
        let (name, hears) = (self.name, self.hears);
        tokio::spawn(async move {
            let (mut ask, mut frames) = (None, 0);
            loop {
                tokio::select! {
                    biased;
                    next = asked.recv() => match next {
                        Some(next) => ask = next,
                        None => return,
                    },
                    item = ear.pop() => match (item, hears) {
                        (None, _) => return,
                        (Some(EarItem::Onset { .. }), _) => frames = 0,
                        (Some(EarItem::Audio(_)), Hears::Ends) if frames == 5 => return,
                        (Some(EarItem::Audio(_)), _) => frames += 1,
                        (Some(EarItem::Pause { .. }), Hears::Tells(_)) => {
                            let Some(ask) = &ask else { continue };
                            let heard = Hypothesis { text: name.into(), meaning: None, confidence: 1.0, at: Moment::ZERO };
                            let _ = answer.send((ask.id, Answer::Provisional(Some(heard)))).await;
                        }
                        (Some(EarItem::End { .. }), hears) => {
                            let Some(ask) = ask.take() else { continue };
                            let heard = match hears {
                                Hears::Counts(after) | Hears::Tells(after) => {
                                    tokio::time::sleep(Duration::from_millis(after)).await;
                                    let text = format!("{name} {frames}");
                                    Answer::Final(Some(Hypothesis { text, meaning: None, confidence: 1.0, at: Moment::ZERO }))
                                }
                                Hears::Fails => Answer::Failed(SpeechError::Failed { backend: name, what: "broken".into() }),
                                Hears::Hangs | Hears::Ends => continue,
                            };
                            let _ = answer.send((ask.id, heard)).await;
                        }
                        _ => {}
                    }
                }
            }
        });
        Ok(RecognizerSession { asks, answers, is_local: self.is_local() })
    }

    fn prepare(&self, _: &Arc<Grammar>) -> Result<(), SpeechError> {
        Ok(())
    }
}

fn ear(name: &'static str, hears: Hears) -> Arc<Ear> {
    Arc::new(Ear { name, hears, open: true, local: false, opened: AtomicUsize::new(0) })
}

fn ears(ears: &[Arc<Ear>], patience: Patience) -> HearingList {
    let backend = |ear: &Arc<Ear>| Arc::new(Backend::recognizer(Arc::clone(ear) as Arc<dyn Recognizer>));
    HearingList::new(ears.iter().map(backend).collect(), patience)
}

/// A call that is listened to.
struct Caller {
    session: RecognizerSession,
    mouth: ring::EarWriter,
    asked: u32,
}

impl Caller {
    fn new(list: &HearingList) -> Self {
        let (mouth, reader) = ring::ear(3_000);
        let session = list.open(CallId::new(WallTime(1)), reader, Rate::Hz8000).expect("it opens");
        Self { session, mouth, asked: 0 }
    }

    /// Is asked something open and answers with so many frames; what was made of it, by whom, and after how long.
    async fn answers(&mut self, frames: usize) -> (Result<String, String>, Option<&'static str>, Duration) {
        self.asked += 1;
        let id = AskId(self.asked);
        self.session.asks.send(Some(Ask { id, expected: Expected::Open })).await.expect("it listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.mouth.push(EarItem::Onset { at: Moment::ZERO });
        for _ in 0..frames {
            self.mouth.push(EarItem::Audio(Frame::silence(Rate::Hz8000)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.mouth.push(EarItem::End { speech_end: Moment::ZERO });
        let (over, mut by) = (tokio::time::Instant::now(), None);
        loop {
            match tokio::time::timeout(Duration::from_secs(10), self.session.answers.recv()).await {
                Ok(Some((told, Answer::By(name)))) if told == id => by = Some(name),
                Ok(Some((told, Answer::Final(heard)))) if told == id => {
                    return (Ok(heard.map(|heard| heard.text).unwrap_or_default()), by, over.elapsed());
                }
                Ok(Some((told, Answer::Failed(error)))) if told == id => {
                    return (Err(error.to_string()), by, over.elapsed());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return (Err("no answer".into()), by, over.elapsed()),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_utterance_is_heard_again_by_the_next_when_the_first_fails() {
    for (hears, most) in [(Hears::Fails, 10), (Hears::Ends, 10), (Hears::Hangs, 710)] {
        let (a, b) = (ear("a", hears), ear("b", Hears::Counts(5)));
        let list = ears(&[a, b], Patience::USUAL);
        let mut caller = Caller::new(&list);
        for frames in [30, 7] {
            let (heard, by, after) = caller.answers(frames).await;
            assert_eq!((heard, by), (Ok(format!("b {frames}")), Some("b")));
            assert!(after <= Duration::from_millis(most), "{after:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_answers_and_the_second_is_not_opened() {
    let b = ear("b", Hears::Counts(0));
    let mut caller = Caller::new(&ears(&[ear("a", Hears::Counts(300)), Arc::clone(&b)], Patience::USUAL));
    for _ in 0..3 {
        let (heard, by, _) = caller.answers(10).await;
        assert_eq!((heard, by), (Ok("a 10".into()), Some("a")));
    }
    assert_eq!(b.opened.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_again_and_again_is_passed_over() {
    let mut caller =
        Caller::new(&ears(&[ear("a", Hears::Hangs), ear("b", Hears::Counts(0))], Patience::USUAL));
    let mut waited = Vec::new();
    for _ in 0..5 {
        waited.push(caller.answers(3).await.2.as_millis());
    }
    assert_eq!(waited[3..], [0, 0], "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn with_hedging_two_hear_the_same_and_the_first_answer_counts() {
    let hedged = Patience { hedge: Some(Duration::from_millis(100)), ..Patience::USUAL };
    let mut caller = Caller::new(&ears(&[ear("a", Hears::Hangs), ear("b", Hears::Counts(50))], hedged));
    let (heard, by, after) = caller.answers(10).await;
    assert_eq!((heard, by, after.as_millis()), (Ok("b 10".into()), Some("b"), 150));
    let mut caller =
        Caller::new(&ears(&[ear("a", Hears::Counts(120)), ear("b", Hears::Counts(500))], hedged));
    assert_eq!(caller.answers(10).await.1, Some("a"));
}

fn local(name: &'static str, hears: Hears) -> Arc<Ear> {
    Arc::new(Ear { local: true, ..Arc::into_inner(ear(name, hears)).expect("just made") })
}

#[tokio::test(start_paused = true)]
async fn a_local_one_hears_along_with_one_that_tells_nothing_and_answers_when_its_time_is_over() {
    let pauses = |caller: &Caller| caller.mouth.push(EarItem::Pause { speech_end: Moment::ZERO });
    // (the first, the partial that comes, whose final it is, when)
    for (hears, partial, by, after) in [
        (Hears::Hangs, Some("b"), "b", 700),
        (Hears::Fails, Some("b"), "b", 0),
        (Hears::Counts(300), Some("b"), "a", 300),
        (Hears::Tells(300), Some("a"), "a", 300),
    ] {
        let b = local("b", Hears::Tells(0));
        let mut caller = Caller::new(&ears(&[ear("a", hears), Arc::clone(&b)], Patience::USUAL));
        let id = AskId(7);
        let ask = Ask { id, expected: Expected::Open };
        caller.session.asks.send(Some(ask)).await.expect("it listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
        caller.mouth.push(EarItem::Onset { at: Moment::ZERO });
        caller.mouth.push(EarItem::Audio(Frame::silence(Rate::Hz8000)));
        pauses(&caller);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut partials = Vec::new();
        while let Ok((_, answer)) = caller.session.answers.try_recv() {
            match answer {
                Answer::Partial(words) | Answer::Provisional(Some(words)) => partials.push(words.text),
                _ => {}
            }
        }
        assert_eq!(partials.first().map(String::as_str), partial);
        assert_eq!(partials.len(), 1);
        assert_eq!(b.opened.load(Ordering::Relaxed), usize::from(partial == Some("b")));
        caller.mouth.push(EarItem::End { speech_end: Moment::ZERO });
        let over = tokio::time::Instant::now();
        let mut told = None;
        let heard = loop {
            match caller.session.answers.recv().await.expect("it answers").1 {
                Answer::By(name) => told = Some(name),
                Answer::Final(heard) => break heard.map(|heard| heard.text),
                _ => {}
            }
        };
        assert_eq!(heard, Some(format!("{by} 1")));
        assert!(told == Some(by) || partial == Some("a"), "{told:?}");
        assert_eq!(over.elapsed().as_millis(), after, "{by}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_question_goes_to_one_that_takes_it_and_when_all_fail_it_is_told() {
    let a = Arc::new(Ear { open: false, ..Arc::into_inner(ear("a", Hears::Counts(0))).expect("just made") });
    let mut caller = Caller::new(&ears(&[Arc::clone(&a), ear("b", Hears::Counts(0))], Patience::USUAL));
    assert_eq!(caller.answers(4).await.1, Some("b"));
    let mut alone = Caller::new(&ears(&[a], Patience::USUAL));
    assert!(alone.answers(4).await.0.unwrap_err().contains("open questions"));
    let mut failing = Caller::new(&ears(&[ear("a", Hears::Fails), ear("b", Hears::Fails)], Patience::USUAL));
    assert!(failing.answers(4).await.0.unwrap_err().contains("b failed"));
}
