//! The real recogniser, hearing Flite speak through the real ring.

use std::sync::Arc;
use std::time::Duration;

use super::{PocketSphinxConfig, PocketSphinxRecognizer};
use crate::audio::ring::{EarItem, EarWriter, ear};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::grammar::Grammar;
use crate::speech::{
    Answer, Ask, AskId, Expected, Hypothesis, Recognizer, RecognizerSession, SpeechError, Synthesizer,
    Utterance,
};
use crate::time::{Moment, WallTime};

fn recognizer(decoders: usize) -> PocketSphinxRecognizer {
    PocketSphinxRecognizer::new(PocketSphinxConfig { decoders, ..PocketSphinxConfig::default() })
        .expect("PocketSphinx and its model are there")
}

fn call(recognizer: &PocketSphinxRecognizer) -> (EarWriter, RecognizerSession) {
    let (writer, reader) = ear(2_000);
    let session = recognizer.open(CallId::new(WallTime(1)), reader, Rate::Hz8000).expect("there is room");
    (writer, session)
}

fn grammar(phrases: &[(&str, &str)]) -> Arc<Grammar> {
    Arc::new(Grammar::from_phrases("test", phrases.iter().copied()).expect("right"))
}

fn yes_no() -> Arc<Grammar> {
    grammar(&[("yes", "yes"), ("no", "no")])
}

/// `text` as frames at 8 kHz with 200 ms of silence before and 300 ms behind.
fn spoken(text: &str) -> Vec<Frame> {
    let flite = FliteSynthesizer::new(FliteConfig::default()).expect("Flite is there");
    let utterance = Utterance { text: text.to_owned(), voice: Some("slt".to_owned()), rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = vec![0; 1_600];
    while let Some(chunk) = stream.chunks.blocking_recv() {
        samples.extend(chunk.expect("it can be said"));
    }
    samples.extend([0; 2_400]);
    let frame = |chunk: &[i16]| {
        let mut frame = Frame::silence(Rate::Hz8000);
        frame.samples.copy_from_slice(chunk);
        frame
    };
    samples.chunks_exact(FRAME_SAMPLES).map(frame).collect()
}

fn ask(session: &RecognizerSession, id: u32, grammar: &Arc<Grammar>) {
    let ask = Ask { id: AskId(id), expected: Expected::Grammar(Arc::clone(grammar)) };
    session.asks.blocking_send(Some(ask)).expect("the session lives");
}

fn say(ear: &EarWriter, frames: &[Frame]) {
    ear.push(EarItem::Onset { at: Moment::ZERO });
    frames.iter().for_each(|frame| ear.push(EarItem::Audio(*frame)));
    ear.push(EarItem::Pause { speech_end: Moment::ZERO });
    ear.push(EarItem::End { speech_end: Moment::ZERO });
}

/// Waits for something that other threads are about to bring about, however long they are kept from it.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("waited a minute for nothing: {what}");
}

/// Everything said about question `id`, up to its end.
fn answers(session: &mut RecognizerSession, id: u32) -> Vec<Answer> {
    let mut found = Vec::new();
    loop {
        let (about, answer) = session.answers.blocking_recv().expect("an answer");
        assert_eq!(about, AskId(id));
        let last = matches!(answer, Answer::Final(_) | Answer::Failed(_));
        found.push(answer);
        if last {
            return found;
        }
    }
}

fn final_of(answers: Vec<Answer>) -> Option<Hypothesis> {
    match answers.into_iter().last() {
        Some(Answer::Final(heard)) => heard,
        other => panic!("not a final: {other:?}"),
    }
}

#[test]
fn an_answer_is_heard_while_it_is_spoken_and_again_at_its_end() {
    let recognizer = recognizer(1);
    let (ear, mut session) = call(&recognizer);
    ask(&session, 1, &yes_no());
    say(&ear, &spoken("yes"));
    let heard = answers(&mut session, 1);
    assert!(heard.iter().any(|a| matches!(a, Answer::Partial(h) if h.text == "yes")), "{heard:?}");
    assert!(heard.iter().any(|a| matches!(a, Answer::Provisional(Some(h)) if h.text == "yes")), "{heard:?}");
    let heard = final_of(heard).expect("yes is in the grammar");
    assert_eq!((heard.text.as_str(), heard.meaning.as_deref()), ("yes", Some("yes")));
    assert!((0.0..=1.0).contains(&heard.confidence));
}

#[test]
fn what_is_outside_the_grammar_is_refused_and_what_is_inside_is_surer() {
    let recognizer = recognizer(1);
    let (ear, mut session) = call(&recognizer);
    ask(&session, 1, &yes_no());
    say(&ear, &spoken("the train leaves in the morning"));
    assert_eq!(final_of(answers(&mut session, 1)), None);
    let mut examiner = recognizer.examiner().expect("a decoder more");
    let mut sure = |text: &str| {
        let heard = examiner.hear(&yes_no(), &spoken(text)).expect("it can decode");
        heard.map_or(0.0, |(hypothesis, _)| hypothesis.confidence)
    };
    assert!(sure("yes") > 0.5 && sure("no") > 0.5);
    assert!(sure("what is the weather like today") < 0.1);
}

#[test]
fn a_model_that_is_damaged_is_named_with_the_package_to_install() {
    let dir = tempfile::tempdir().expect("a folder");
    let shipped = PocketSphinxConfig::default().model_dir;
    std::fs::create_dir(dir.path().join("en-us")).expect("a folder");
    for file in ["means", "mdef", "sendump", "transition_matrices", "variances"] {
        let whole = std::fs::read(shipped.join("en-us").join(file)).expect("the model is there");
        let kept = if file == "sendump" { whole.len() / 2 } else { whole.len() };
        std::fs::write(dir.path().join("en-us").join(file), &whole[..kept]).expect("there is room");
    }
    std::fs::write(dir.path().join("cmudict-en-us.dict"), "yes Y EH S\n").expect("there is room");
    let config = PocketSphinxConfig { model_dir: dir.path().to_owned(), ..PocketSphinxConfig::default() };
    let error = PocketSphinxRecognizer::new(config).err().expect("half a file is missing").to_string();
    assert!(error.contains("sendump") && error.contains("pocketsphinx-en-us"), "{error}");
}

#[test]
fn what_nobody_asked_for_is_thrown_away_and_a_question_is_answered_once() {
    let recognizer = recognizer(1);
    let (ear, mut session) = call(&recognizer);
    say(&ear, &spoken("no"));
    wait_until("nobody asked: the utterance is thrown away", || ear.is_empty());
    ask(&session, 1, &yes_no());
    let yes = spoken("yes");
    say(&ear, &yes);
    say(&ear, &yes);
    assert_eq!(final_of(answers(&mut session, 1)).expect("heard").text, "yes");
    // At the end of the call all has been said that will be.
    drop(ear);
    assert!(session.answers.blocking_recv().is_none());
}

#[test]
fn a_new_question_ends_the_one_before_it_in_the_middle_of_a_word() {
    let recognizer = recognizer(1);
    let (ear, mut session) = call(&recognizer);
    ask(&session, 1, &yes_no());
    ear.push(EarItem::Onset { at: Moment::ZERO });
    spoken("no").iter().take(20).for_each(|frame| ear.push(EarItem::Audio(*frame)));
    wait_until("the first question's decoder hears", || recognizer.free_decoders() == 0 && ear.is_empty());
    ask(&session, 2, &grammar(&[("opening hours", ""), ("account balance", "")]));
    wait_until("it is given back", || recognizer.free_decoders() == 1);
    say(&ear, &spoken("account balance"));
    while let Some((id, answer)) = session.answers.blocking_recv() {
        match answer {
            Answer::Final(heard) => {
                assert_eq!((id, heard.expect("heard").text.as_str()), (AskId(2), "account balance"));
                return;
            }
            Answer::Failed(e) => panic!("{e}"),
            _ => {}
        }
    }
    panic!("the session ended");
}

#[test]
fn a_hundred_open_calls_share_two_decoders_and_a_silent_one_holds_none() {
    let recognizer = recognizer(2);
    let grammar = yes_no();
    let mut calls: Vec<_> = (0..100).map(|_| call(&recognizer)).collect();
    calls.iter().for_each(|(_, session)| ask(session, 7, &grammar));
    let yes = spoken("yes");
    // Two at a time, so that no caller waits for longer than the recogniser lets him, however slow this machine is.
    for pair in calls.chunks_mut(2).take(3) {
        pair.iter().for_each(|(ear, _)| say(ear, &yes));
        for (_, session) in pair {
            assert_eq!(final_of(answers(session, 7)).expect("heard").text, "yes");
        }
    }
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(Result::ok);
    let named = threads.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
    assert!(named.filter(|name| name.trim() == "offhook-ears").count() < 100);
}

#[test]
fn a_caller_who_finds_every_decoder_taken_for_long_is_told() {
    let recognizer = recognizer(1);
    let (holder, held) = call(&recognizer);
    ask(&held, 1, &yes_no());
    let (ear, mut session) = call(&recognizer);
    ask(&session, 1, &yes_no());
    holder.push(EarItem::Onset { at: Moment::ZERO });
    wait_until("the only decoder is taken", || recognizer.free_decoders() == 0);
    say(&ear, &spoken("yes"));
    assert!(matches!(answers(&mut session, 1).last(), Some(Answer::Failed(SpeechError::Busy))));
    // Hanging up in the middle of an utterance gives the decoder back.
    drop((holder, held));
    wait_until("it is given back", || recognizer.free_decoders() == 1);
    ask(&session, 2, &yes_no());
    say(&ear, &spoken("no"));
    assert_eq!(final_of(answers(&mut session, 2)).expect("heard").text, "no");
}

#[test]
fn a_word_without_a_pronunciation_is_named_with_where_to_put_one() {
    let recognizer = recognizer(1);
    let error = recognizer.prepare(&grammar(&[("xylofrobnicate", "")])).expect_err("no dictionary has it");
    assert!(
        error.to_string().contains("'xylofrobnicate'")
            && error.to_string().contains("models/pronunciations.dict")
    );
    recognizer.prepare(&grammar(&[("offhook", "")])).expect("it is in our own list");
    recognizer.prepare(&grammar(&[("check-in", "")])).expect("its parts are in the dictionary");
    let (dir, missing) = (tempfile::tempdir().expect("a folder"), "pocketsphinx-en-us");
    let config = PocketSphinxConfig { model_dir: dir.path().to_owned(), ..PocketSphinxConfig::default() };
    assert!(PocketSphinxRecognizer::new(config).err().expect("no model").to_string().contains(missing));
    let path = dir.path().join("more.dict");
    std::fs::write(&path, "xylofrobnicate Z AY L OW F R AA B N IH K EY T\n").expect("writable");
    let config = PocketSphinxConfig { pronunciations: Some(path.clone()), ..PocketSphinxConfig::default() };
    let recognizer = PocketSphinxRecognizer::new(config).expect("there");
    recognizer.prepare(&grammar(&[("xylofrobnicate", "")])).expect("the user added it");
    let error = recognizer.prepare(&grammar(&[("quuxly", "")])).expect_err("unknown");
    assert!(error.to_string().contains(&path.display().to_string()));
}

#[test]
fn what_mailboxes_and_receptionists_say_is_understood_without_a_grammar() {
    let recognizer =
        PocketSphinxRecognizer::of_answers(PocketSphinxConfig::default()).expect("the model is there");
    let mut decoder = recognizer.dictation().expect("it takes open questions");
    for (text, wanted) in [
        ("Please leave a message after the tone.", "leave a message"),
        ("No one is available to take your call.", "take your call"),
        ("Good morning, how can I help you?", "can i help"),
    ] {
        decoder.begin_open(None).expect("a decoder");
        let mut said = String::new();
        for frame in spoken(text) {
            if let Some(heard) = decoder.feed(&frame).expect("it hears") {
                said = heard.text;
            }
        }
        assert!(said.contains(wanted), "{text}: {said}");
    }
}
