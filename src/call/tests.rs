//! Replies that are prepared ahead, prompts that go on, and prompts that are written while they are said, in virtual time.

use super::booth::*;
use super::*;
use crate::call::journal::Speculation;
use crate::media::PlayEnd;
use crate::speech::Answer;
use crate::speech::grammar::Grammar;
use crate::turn::{By, TurnSignal};

/// Which department, and what would be said to the answer.
fn which() -> Listen {
    let grammar = Grammar::from_phrases("which", [("sales", "sales"), ("support", "support")]);
    Listen::grammar(grammar.expect("right").into()).anticipate(|heard| match heard {
        Heard::Words { meaning, .. } => Some(format!("To {meaning}.").into()),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn the_reply_is_made_at_the_pause_and_said_at_the_endpoint() {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let heard = tokio::join!(call.ask("Sales or support?", which()), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let (onset, end) = (Moment::now(), Moment::now() + Duration::from_millis(400));
        script.turn(TurnSignal::Onset { at: onset }).await;
        script.turn(TurnSignal::Pause { speech_end: end }).await;
        script.answer(provisional("sales", end)).await;
        // Asked again in the same pause, it says the same.
        script.answer(provisional("sales", end)).await;
        script.turn(endpoint(end)).await;
    });
    let Ok(Heard::Words { meaning, .. }) = heard.0 else { panic!("{heard:?}") };
    assert_eq!(meaning, "sales", "the provisional is the final: nobody was asked for another");
    assert_eq!(booth.made("To sales."), 1, "made before it was wanted");
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (said, ()) = tokio::join!(call.say("To sales."), script.played(2, 1_000, PlayEnd::Finished));
    assert_eq!(said.expect("said").words, "To sales.");
    assert_eq!(booth.made("To sales."), 1, "and not made again");
    let turns = booth.turns();
    let speculation = turns.last().expect("the turn of the answer").speculation;
    assert_eq!((speculation.prepared, speculation.wasted), (1, 0));
    assert!(speculation.saved.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_half_a_sentence_is_thrown_away_when_the_caller_goes_on() {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let heard = tokio::join!(call.ask("Sales or support?", which()), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let now = Moment::now();
        script.turn(TurnSignal::Onset { at: now }).await;
        script.turn(TurnSignal::Pause { speech_end: now }).await;
        script.answer(provisional("sales", now)).await;
        script.turn(TurnSignal::Resumed { at: now }).await;
        let end = now + Duration::from_millis(900);
        script.turn(TurnSignal::Pause { speech_end: end }).await;
        script.answer(provisional("support", end)).await;
        script.turn(endpoint(end)).await;
    });
    let Ok(Heard::Words { meaning, .. }) = heard.0 else { panic!("{heard:?}") };
    assert_eq!(meaning, "support");
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (said, ()) = tokio::join!(call.say("To support."), script.played(2, 1_000, PlayEnd::Finished));
    said.expect("said");
    assert_eq!((booth.made("To sales."), booth.made("To support.")), (1, 1));
    let speculation = booth.turns().last().expect("the turn of the answer").speculation;
    assert_eq!((speculation.prepared, speculation.wasted), (2, 1));
    assert!(speculation.saved.is_some());
}

/// Asks something to which `replies` are foreseen, hears `key` or the word "sales", and says `reply`. All that was made.
async fn foreseen(replies: &[&str], key: Option<char>, reply: &str) -> (Vec<String>, Speculation) {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let asked = Listen {
        foreseen: replies.iter().map(|reply| (*reply).into()).collect(),
        ..which().or_keys(KeyPlan::One)
    };
    let asked = asked.anticipate(|_| Some("To sales!".into()));
    let heard = tokio::join!(call.ask("Sales or support?", asked), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let at = Moment::now();
        if let Some(digit) = key {
            return script.media(MediaEvent::Digit { digit, at, duration: Duration::ZERO }).await;
        }
        script.turn(TurnSignal::Onset { at }).await;
        script.turn(TurnSignal::Pause { speech_end: at }).await;
        script.answer(provisional("sales", at)).await;
        script.turn(TurnSignal::Resumed { at }).await;
        script.turn(TurnSignal::Pause { speech_end: at }).await;
        script.answer(provisional("sales", at)).await;
        script.turn(endpoint(at)).await;
    });
    heard.0.expect("an answer");
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (said, ()) = tokio::join!(call.say(reply), script.played(2, 1_000, PlayEnd::Finished));
    assert_eq!(said.expect("said").words, reply);
    let made = booth.mouth.0.lock().expect("nobody panics with it").clone();
    (made, booth.turns().last().expect("the turn of the answer").speculation)
}

#[tokio::test(start_paused = true)]
async fn the_one_reply_that_is_not_kept_is_made_while_the_caller_thinks_and_once() {
    let replies = ["This is kept.", "To sales!", "To sales!"];
    for key in [None, Some('1')] {
        let (made, speculation) = foreseen(&replies, key, "To sales!").await;
        assert_eq!(made, ["Sales or support?", "To sales!"], "{key:?}");
        assert_eq!((speculation.prepared, speculation.wasted), (1, 0), "{key:?}");
        assert!(speculation.saved.is_some(), "{key:?}");
    }
    let (made, speculation) = foreseen(&replies, Some('2'), "This is kept.").await;
    assert_eq!(made, ["Sales or support?", "To sales!", "This is kept."]);
    assert_eq!((speculation.prepared, speculation.wasted, speculation.saved), (1, 1, None));
    let (made, _) = foreseen(&["To sales!", "To support!"], Some('1'), "To sales!").await;
    assert_eq!(made, ["Sales or support?", "To sales!"], "of two, one would be made for nothing");
}

#[tokio::test(start_paused = true)]
async fn what_was_prepared_for_another_step_is_wasted() {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let heard = tokio::join!(call.ask("Sales or support?", which()), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let now = Moment::now();
        script.turn(TurnSignal::Onset { at: now }).await;
        script.turn(TurnSignal::Pause { speech_end: now }).await;
        script.answer(provisional("sales", now)).await;
        script.turn(endpoint(now)).await;
    });
    heard.0.expect("an answer");
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (said, ()) = tokio::join!(call.say("Nobody is there."), script.played(2, 1_000, PlayEnd::Finished));
    said.expect("said");
    let speculation = booth.turns().last().expect("the turn of the answer").speculation;
    assert_eq!((speculation.prepared, speculation.wasted, speculation.saved), (1, 1, None));
}

/// The bot is stopped in its second sentence by a sound that the recogniser makes `heard` of. What was said, and how often it
/// was resumed.
async fn stopped_by(heard: Option<&str>) -> (Vec<String>, u32) {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let asked = tokio::join!(call.ask("This is one. This is two. This is three.", which()), async {
        script.settle().await;
        let (play, onset) = (PlayId(1), Moment::now());
        let end = onset + Duration::from_millis(500);
        script.media(MediaEvent::PlayStarted { play, at: onset }).await;
        script.turn(TurnSignal::Duck { onset, at: onset }).await;
        script.turn(TurnSignal::Onset { at: onset }).await;
        script.turn(TurnSignal::Hush { onset, at: onset }).await;
        let by = By::Duration;
        script.turn(TurnSignal::BargeIn { onset, ducked: Some(onset), decided: onset, by }).await;
        script.played(1, 1_500, PlayEnd::BargedIn).await;
        script.turn(endpoint(end)).await;
        script.answer(Answer::Final(heard.map(|text| hypothesis(text, end)))).await;
        if heard.is_none() {
            // Now it goes on, and then he answers.
            script.played(2, 2_000, PlayEnd::Finished).await;
            let end = Moment::now();
            script.turn(TurnSignal::Onset { at: end }).await;
            script.turn(endpoint(end)).await;
            script.answer(Answer::Final(Some(hypothesis("sales", end)))).await;
        }
    });
    assert!(matches!(asked.0, Ok(Heard::Words { .. })), "{asked:?}");
    let said = booth.saying();
    (said, booth.turns()[0].resumed)
}

#[tokio::test(start_paused = true)]
async fn a_backchannel_that_stopped_the_bot_lets_it_go_on_from_the_sentence_that_was_cut() {
    let (said, resumed) = stopped_by(None).await;
    assert_eq!(said, ["This is one. This is two. This is three.", "This is two. This is three."]);
    assert_eq!(resumed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stopped_the_bot_is_the_answer() {
    let (said, resumed) = stopped_by(Some("sales")).await;
    assert_eq!((said.len(), resumed), (1, 0));
}

/// A story that is still being written when the caller answers.
async fn tell(writer: Clauses) -> bool {
    for sentence in ["Once there was a king.", "He had a daughter.", "She had a horse."] {
        if writer.say(sentence).await.is_err() {
            return false;
        }
    }
    writer.unheard().await;
    true
}

#[tokio::test(start_paused = true)]
async fn an_interruption_stops_whoever_writes_and_tells_the_words_that_were_heard() {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (writer, stream) = clauses();
    let telling = tokio::spawn(tell(writer));
    let (heard, ()) = tokio::join!(call.ask_streamed(stream, which()), async {
        script.settle().await;
        let (play, onset) = (PlayId(1), Moment::now());
        script.media(MediaEvent::PlayStarted { play, at: onset }).await;
        let by = By::Words;
        script.turn(TurnSignal::BargeIn { onset, ducked: None, decided: onset, by }).await;
        let heard = Duration::from_millis(2_050);
        script.media(MediaEvent::PlayEnded { play, at: onset, heard, end: PlayEnd::BargedIn }).await;
        let asked = Moment::now();
        assert!(telling.await.expect("it does not panic"), "he was told that nobody hears him");
        assert!(Moment::now().since(asked) < Duration::from_millis(50));
        script.turn(endpoint(onset)).await;
        script.answer(Answer::Final(Some(hypothesis("sales", onset)))).await;
    });
    assert!(matches!(heard, Ok(Some(Heard::Words { .. }))), "{heard:?}");
    let said = booth.call.said();
    assert_eq!((said.words.as_str(), said.interrupted), ("Once there was a king. He had a daughter.", true));
    let turns = booth.turns();
    assert!(turns[0].spoken[0].text.starts_with("Once there was a king. He had a daughter."));
}

#[tokio::test(start_paused = true)]
async fn who_hands_back_waits_for_no_answer_but_hears_an_interruption() {
    let mut booth = Booth::new();
    let (writer, stream) = clauses();
    writer.say("I connect you.").await.expect("heard");
    writer.hand_back().await.expect("heard");
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (heard, ()) = tokio::join!(call.ask_streamed(stream, which()), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
    });
    assert!(matches!(heard, Ok(None)), "{heard:?}");
    assert_eq!(booth.call.said().words, "I connect you.");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_on_before_he_heard_anything_is_not_talked_over() {
    let mut booth = Booth::new();
    let (writer, stream) = clauses();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (heard, ()) = tokio::join!(call.ask_streamed(stream, which()), async {
        script.settle().await;
        let onset = Moment::now();
        script.turn(TurnSignal::Onset { at: onset }).await;
        writer.say("You said half of it.").await.expect("there is room");
        script.settle().await;
        script.turn(endpoint(onset)).await;
        script.answer(Answer::Final(Some(hypothesis("support", onset)))).await;
    });
    assert!(matches!(heard, Ok(Some(Heard::Words { .. }))), "{heard:?}");
    assert_eq!(booth.made("You said half of it."), 0, "it was not even made");
    assert_eq!(booth.call.said().words, "");
}

#[tokio::test(start_paused = true)]
async fn a_cough_before_the_first_word_does_not_take_the_word_from_the_bot() {
    let mut booth = Booth::new();
    let (writer, stream) = clauses();
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (heard, ()) = tokio::join!(call.ask_streamed(stream, which()), async {
        script.settle().await;
        let onset = Moment::now();
        script.turn(TurnSignal::Onset { at: onset }).await;
        writer.say("Here I am.").await.expect("there is room");
        script.turn(endpoint(onset + Duration::from_millis(200))).await;
        script.answer(Answer::Final(None)).await;
        drop(writer);
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let end = Moment::now();
        script.turn(TurnSignal::Onset { at: end }).await;
        script.turn(endpoint(end)).await;
        script.answer(Answer::Final(Some(hypothesis("sales", end)))).await;
    });
    assert!(matches!(heard, Ok(Some(Heard::Words { .. }))), "{heard:?}");
    assert_eq!(booth.call.said().words, "Here I am.");
}

#[tokio::test(start_paused = true)]
async fn who_answered_is_told_while_the_bot_talks() {
    use crate::turn::answer::{AnswerSignal, Party, Why, Witnesses};
    let mut booth = Booth::new();
    assert_eq!(booth.call.party(), None);
    let mut overheard = booth.call.overhear();
    let at = Moment::now();
    let machine =
        AnswerSignal::Machine { at, why: Why::LongGreeting, revised: false, heard: Witnesses::default() };
    let (call, script) = (&mut booth.call, &mut booth.script);
    let (said, ()) = tokio::join!(call.say("This is Offhook."), async {
        script.settle().await;
        script.media(MediaEvent::Answer(machine)).await;
        script.played(1, 1_000, PlayEnd::Finished).await;
    });
    said.expect("nobody stopped it");
    assert_eq!(booth.call.party(), Some(Party::Machine));
    let told = std::iter::from_fn(|| overheard.try_next());
    let told: Vec<Note> = told.filter(|note| matches!(note, Note::Answerer(_))).collect();
    assert!(matches!(told[..], [Note::Answerer(signal)] if signal == machine), "{told:?}");
}

/// What is heard where the final comes `late` after the endpoint.
async fn heard_late(is_local: bool, late: Duration) -> Heard {
    let mut booth = Booth::new();
    let (call, script) = (&mut booth.call, &mut booth.script);
    call.ears.recognizer.as_mut().expect("there is one").is_local = is_local;
    let (heard, ()) = tokio::join!(call.ask("Sales or support?", which()), async {
        script.settle().await;
        script.played(1, 1_000, PlayEnd::Finished).await;
        let at = Moment::now();
        script.turn(TurnSignal::Onset { at }).await;
        script.turn(endpoint(at)).await;
        tokio::time::sleep(late).await;
        script.answer(Answer::Final(Some(hypothesis("support", at)))).await;
    });
    heard.expect("the call is up")
}

#[tokio::test(start_paused = true)]
async fn a_recogniser_that_is_late_on_this_machine_is_busy_and_waited_for() {
    for (is_local, late, is_heard) in [(true, 4, true), (true, 6, false), (false, 1, true), (false, 4, false)]
    {
        let heard = heard_late(is_local, Duration::from_secs(late)).await;
        assert_eq!(matches!(heard, Heard::Words { .. }), is_heard, "local {is_local}, {late} s: {heard:?}");
    }
}
