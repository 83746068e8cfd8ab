//! Callers and bots on a real Asterisk: what a conversation sounds like, and what is kept of it.

use std::time::Duration;

use offhook::phone::agent::Side;
use offhook::phone::fleet::{self, FleetPlan};
use offhook::phone::script::{Script, Step};
use offhook::phone::{KeyTiming, Phone, PhoneCall, PhoneConfig};
use offhook::store::{Disposition, Interruption, TurnKind, TurnRecord};

use crate::support::asterisk::eventually;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, ended_by_bot, greeting_latency,
    house, line, phone, play, press, say,
};
use crate::support::engine::ShowLog;

/// The steps and the kinds of input of a call's turns.
fn way(turns: &[TurnRecord]) -> Vec<(&str, TurnKind)> {
    turns.iter().map(|turn| (turn.step.as_deref().unwrap_or_default(), turn.kind)).collect()
}

fn texts(turns: &[TurnRecord]) -> Vec<&str> {
    turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect()
}

/// How long the bot was heard in its first utterance.
fn first_speech(call: &PhoneCall) -> Duration {
    let first = call.segments()[0];
    first.last_voiced.since(first.onset)
}

#[tokio::test]
async fn a_caller_asks_for_his_balance_by_voice() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550101").await;
    let call = connected(&phone, asterisk, "110").await;
    let running = engine.call_of("5550101").await;
    assert_eq!((running.disposition, running.bot.as_str()), (None, "frontdesk"));
    let kept = async || engine.has_snapshot(running.id).await.then_some(());
    eventually(PATIENCE, "another process could take it up", kept).await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        SILENT,
        say("account balance please").await,
        REPLIES,
        SILENT,
        say("one two three four").await,
        REPLIES,
        SILENT,
        say("yes").await,
        REPLIES,
        Step::BotSilent { quiet: Duration::from_millis(1_500), within: 15 * SECOND },
        say("goodbye").await,
        REPLIES,
        HANGS_UP,
    ];
    let report = play(&call, steps).await;
    assert!(ended_by_bot(&report));
    let greeting = greeting_latency(&call);
    println!("the greeting began {greeting:?} after the answer");
    assert!(greeting < SECOND, "{greeting:?}");
    let replies: Vec<_> = report.reply_latencies().collect();
    println!("replies after {replies:?}");
    assert!(replies.iter().all(|reply| *reply < 2 * SECOND), "{replies:?}");

    let (record, turns) = engine.ended_call_of("5550101").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert_eq!((record.called.as_deref(), record.answered.is_some()), (Some("110"), true));
    let voice = TurnKind::Voice;
    let expected = [
        ("greeting", TurnKind::Opening),
        ("account", voice),
        ("confirm_account", voice),
        ("say_balance", voice),
        ("bye", voice),
    ];
    let heard: Vec<_> =
        turns.iter().map(|turn| (&turn.heard.text, turn.heard.confidence, &turn.taking)).collect();
    assert_eq!(way(&turns), expected, "{heard:?}");
    let meanings: Vec<_> = turns.iter().filter_map(|turn| turn.heard.meaning.as_deref()).collect();
    assert_eq!(meanings, ["balance", "1234", "yes", "goodbye"]);
    assert_eq!(turns[2].heard.text.as_deref(), Some("one two three four"));
    assert!(
        turns[3].reply.text.as_deref().is_some_and(|t| t.contains("256 euros") || t.contains("two hundred"))
    );
    for turn in &turns {
        assert_eq!(turn.reply.interrupted, None);
        let (total, heard) = (turn.reply.total_ms.unwrap(), turn.reply.heard_ms.unwrap());
        assert!(heard >= total && heard < total + 60, "all was heard: {heard} of {total} ms");
    }
    for turn in &turns[1..] {
        let times = turn.latencies;
        let in_order = [times.endpoint_ms, times.final_ms, times.reply_ms, times.sent_ms].map(Option::unwrap);
        assert!(in_order.is_sorted() && in_order[0] > 0.0 && in_order[3] < 5_000.0, "{times:?}");
    }
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn a_caller_asks_for_his_balance_by_keys_alone() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550102").await;
    let call = connected(&phone, asterisk, "110").await;
    let mut steps = vec![Step::BotSpeaks { within: PATIENCE }];
    for keys in ["4", "1234", "1", "3", "0"] {
        steps.extend([SILENT, press(keys), REPLIES]);
    }
    steps.push(HANGS_UP);
    let report = play(&call, steps).await;
    assert!(ended_by_bot(&report));
    let (record, turns) = engine.ended_call_of("5550102").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let keys: Vec<_> = turns.iter().filter_map(|turn| turn.heard.keys.as_deref()).collect();
    assert_eq!(keys, ["4", "1234", "1", "3", "0"]);
    let steps: Vec<_> = way(&turns).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, ["greeting", "account", "confirm_account", "say_balance", "hours", "bye"]);
    assert!(turns[1..].iter().all(|turn| turn.kind == TurnKind::Keys));
    let replies: Vec<_> = report.reply_latencies().collect();
    println!("replies after {replies:?}");
    assert!(replies.iter().all(|reply| *reply < 2 * SECOND), "{replies:?}");
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn who_says_nothing_is_asked_three_times_and_taken_leave_of() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550103").await;
    let call = connected(&phone, asterisk, "111").await;
    let ending = call.wait_hangup(30 * SECOND).await.expect("the bot hangs up");
    assert_eq!(ending.by, Side::Peer);
    let (record, turns) = engine.ended_call_of("5550103").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let silences = turns.iter().filter(|turn| turn.kind == TurnKind::NoInput).count();
    assert_eq!((silences, turns.len()), (3, 4), "{:?}", way(&turns));
    let said = texts(&turns);
    assert!(
        said[1].starts_with("I did not hear you.") && said[2].starts_with("I still cannot hear you."),
        "{said:?}"
    );
    assert_eq!(said[3], "I hear nothing. Goodbye.");
    assert_eq!(turns[3].reply.heard_ms.map(|heard| heard >= turns[3].reply.total_ms.unwrap()), Some(true));
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn a_caller_hangs_up_in_the_middle_of_a_sentence() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550104").await;
    let call = connected(&phone, asterisk, "110").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, Step::Pause(SECOND), Step::HangUp]).await;
    let (record, turns) = engine.ended_call_of("5550104").await;
    assert_eq!((record.disposition, record.cause), (Some(Disposition::CallerHungUp), Some(16)));
    assert_eq!(turns.len(), 1);
    let (total, heard) = (turns[0].reply.total_ms.unwrap(), turns[0].reply.heard_ms.unwrap());
    println!("{heard} of {total} ms were heard");
    assert!((900..1_700).contains(&heard) && heard < total, "{heard} of {total} ms");
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn a_caller_interrupts_by_voice() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550105").await;
    let call = connected(&phone, asterisk, "110").await;
    let line = line("my account balance please").await;
    let within = 2 * SECOND;
    let report = play(
        &call,
        vec![
            Step::BotSpeaks { within: PATIENCE },
            Step::BargeIn { after: Duration::from_millis(1_200), line, within },
            REPLIES,
        ],
    )
    .await;
    let silent = report.barge_in_latencies().next().expect("one interruption");
    println!("the bot was silent {silent:?} after the caller's first sound");
    assert!(silent < Duration::from_millis(700), "{silent:?}");
    let spoken = first_speech(&call);
    call.hang_up().await.expect("it is up");
    let (record, turns) = engine.ended_call_of("5550105").await;
    assert_eq!(way(&turns)[..2], [("greeting", TurnKind::Opening), ("account", TurnKind::Voice)]);
    assert_eq!(turns[1].heard.meaning.as_deref(), Some("balance"));
    assert_heard_so_much(&turns[0], Interruption::Voice, spoken);
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn a_caller_interrupts_by_key() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550106").await;
    let call = connected(&phone, asterisk, "110").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, Step::Pause(SECOND)]).await;
    let pressed = call.press("4", KeyTiming::default()).await.expect("the call is up");
    let (record, turns) = {
        // The answer follows at once: the bot's next words are the proof that it was cut.
        let record = engine.call_of("5550106").await;
        let store = engine.store().await;
        let turns = eventually(PATIENCE, "the turn is over", async || {
            let turns = store.turns(record.id).await.expect("it can be read");
            (!turns.is_empty()).then_some(turns)
        })
        .await;
        (record, turns)
    };
    let onset = call.segments()[0].onset;
    let until_key = pressed.ended[0].since(onset);
    let heard = turns[0].reply.heard_ms.unwrap();
    println!("the key was released {until_key:?} after the first word; {heard} ms were heard");
    assert_heard_so_much(&turns[0], Interruption::Key, until_key);
    call.hang_up().await.expect("it is up");
    let (_, turns) = engine.ended_call_of("5550106").await;
    assert_eq!(way(&turns)[1], ("account", TurnKind::Keys));
    assert_gone(asterisk, engine, &record).await;
}

/// What the engine counted as heard is what the phone heard: but for silence before the first word and the pause that
/// the cut may have fallen into.
fn assert_heard_so_much(turn: &TurnRecord, by: Interruption, spoken: Duration) {
    assert_eq!(turn.reply.interrupted, Some(by));
    let heard = Duration::from_millis(turn.reply.heard_ms.unwrap().into());
    println!("the phone heard {spoken:?}, the engine counted {heard:?}");
    assert!(heard + Duration::from_millis(60) > spoken, "{heard:?} of {spoken:?}");
    assert!(heard < spoken + Duration::from_millis(400), "{heard:?} of {spoken:?}");
    assert!(turn.reply.heard_ms < turn.reply.total_ms);
}

#[tokio::test]
async fn words_that_fit_nothing_are_asked_for_again() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550107").await;
    let call = connected(&phone, asterisk, "111").await;
    let elephants = say("seventeen elephants").await;
    play(
        &call,
        vec![
            Step::BotSpeaks { within: PATIENCE },
            SILENT,
            elephants,
            REPLIES,
            SILENT,
            press("2"),
            REPLIES,
            HANGS_UP,
        ],
    )
    .await;
    let (record, turns) = engine.ended_call_of("5550107").await;
    assert_eq!(way(&turns)[1..], [("agree", TurnKind::NoMatch), ("bye", TurnKind::Keys)]);
    assert!(texts(&turns)[1].starts_with("I did not get that."), "{:?}", texts(&turns));
    assert_gone(asterisk, engine, &record).await;
}

#[tokio::test]
async fn twenty_callers_at_once_are_all_served() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = Phone::start(PhoneConfig::loopback("5550108")).await.expect("a phone");
    let quiet = Step::BotSilent { quiet: Duration::from_millis(400), within: PATIENCE };
    let plan = FleetPlan {
        target: format!("sip:111@{}", asterisk.sip_addr),
        calls: 20,
        per_second: 40.0,
        script: Script::new(vec![
            Step::BotSpeaks { within: PATIENCE },
            quiet.clone(),
            press("1"),
            REPLIES,
            quiet,
            press("2468"),
            REPLIES,
            HANGS_UP,
        ]),
        answer_within: PATIENCE,
    };
    let report = fleet::run(&phone, &plan).await;
    println!("{report}");
    assert_eq!((report.completed, report.calls_lost()), (20, 0), "{report}");
    let store = engine.store().await;
    let calls = eventually(PATIENCE, "all calls are in the store", async || {
        let calls = store.latest_calls(1_000).await.expect("it can be read");
        let ours = calls
            .into_iter()
            .filter(|c| c.call.caller.as_deref() == Some("5550108") && c.call.ended.is_some());
        let ours: Vec<_> = ours.collect();
        (ours.len() == 20).then_some(ours)
    })
    .await;
    for call in calls {
        assert_eq!((call.call.disposition, call.turns), (Some(Disposition::Completed), 3));
        let turns = store.turns(call.call.id).await.expect("it can be read");
        assert_eq!(turns[2].heard.keys.as_deref(), Some("2468"));
        assert_gone(asterisk, engine, &call.call).await;
    }
}

#[tokio::test]
async fn a_call_for_a_bot_that_is_not_there_is_left_to_the_dialplan() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550109").await;
    let call = connected(&phone, asterisk, "112").await;
    assert_eq!(crate::support::caller::way_on(asterisk, "5550109").await, "SUCCESS REFUSED");
    call.wait_bot_speaks(PATIENCE).await.expect("the dialplan answers");
}
