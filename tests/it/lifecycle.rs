//! What becomes of callers when the engine ends, crashes, or loses Asterisk.

use std::time::Duration;

use offhook::phone::agent::Side;
use offhook::phone::script::Step;
use offhook::store::Disposition;
use offhook::time::Moment;

use crate::support::EngineUnderTest;
use crate::support::asterisk::eventually;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_empty, connected, listeners, own_asterisk, phone,
    play, press, way_on,
};
use crate::support::engine::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn asterisk_crashes_and_comes_back() {
    let asterisk = own_asterisk(true).await;
    let engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let callers = listeners(&asterisk, &["5550201"], "113").await;
    asterisk.kill().await;
    engine.logs("events lost their connection", 10 * SECOND).await;
    asterisk.start_again().await;
    let connections = async || (engine.log().matches("events connected").count() > 1).then_some(());
    eventually(30 * SECOND, "the engine has connected again", connections).await;
    let (lost, _) = engine.ended_call_of("5550201").await;
    assert_eq!(lost.disposition, Some(Disposition::Lost));
    assert!(!engine.has_snapshot(lost.id).await);
    drop(callers);
    let phone = phone("5550202").await;
    let call = connected(&phone, &asterisk, "111").await;
    let steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP];
    play(&call, steps).await;
    let (record, _) = engine.ended_call_of("5550202").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let outage = engine.store().await.outages(&record.app, 1).await.expect("they can be read").remove(0);
    let restarted = outage.restarted.expect("it was another Asterisk");
    println!("the engine was back {} ms after the start of Asterisk", outage.to.0 - restarted.0);
    let told = engine.offhook(&["doctor", "--extension", "111"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    println!("{told}");
    assert!(told.contains("Asterisk was restarted at"), "{told}");
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn an_engine_that_is_told_to_end_takes_leave_of_its_callers() {
    let asterisk = own_asterisk(false).await;
    let settings = Settings { env: &[("OFFHOOK_ENGINE_DRAIN_SECONDS", "2")], ..Settings::default() };
    let mut engine = EngineUnderTest::start(&asterisk, settings).await;
    let numbers = ["5550211", "5550212", "5550213", "5550214", "5550215"];
    let callers = listeners(&asterisk, &numbers, "113").await;
    let asked = Moment::now();
    engine.terminate();
    engine.logs("no more calls are taken", SECOND).await;

    let late = phone("5550219").await;
    let call = connected(&late, &asterisk, "113").await;
    assert_eq!(way_on(&asterisk, "5550219").await, "SUCCESS REFUSED");
    call.wait_bot_speaks(PATIENCE).await.expect("the dialplan answers");
    drop(call);

    for (_, call) in &callers {
        let ending = call.wait_hangup(15 * SECOND).await.expect("the bot hangs up");
        assert_eq!(ending.by, Side::Peer);
        let last = call.segments().last().copied().expect("it spoke");
        let goodbye = last.last_voiced.since(asked + 2 * SECOND);
        assert!(goodbye > SECOND, "the goodbye was heard: {:?}", call.segments());
    }
    let status = engine.ended(10 * SECOND).await;
    assert_eq!(status.code(), Some(0), "{status}");
    for number in numbers {
        let (record, turns) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Drained));
        assert!(!engine.has_snapshot(record.id).await);
        let last = turns.last().and_then(|turn| turn.reply.text.as_deref()).expect("a last sentence");
        assert!(last.ends_with("Please call again in a minute. Goodbye."), "{last}");
    }
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn an_engine_without_calls_ends_at_once() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    engine.terminate();
    assert_eq!(engine.ended(2 * SECOND).await.code(), Some(0));
    // Nobody is there: the dialplan says so.
    let phone = phone("5550221").await;
    let call = connected(&phone, &asterisk, "113").await;
    assert_eq!(way_on(&asterisk, "5550221").await, "FAILED");
    call.wait_bot_speaks(PATIENCE).await.expect("the dialplan answers");
}

#[tokio::test]
async fn calls_that_end_by_themselves_are_waited_for() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let callers = listeners(&asterisk, &["5550231"], "111").await;
    engine.terminate();
    engine.logs("no more calls are taken", SECOND).await;
    play(&callers[0].1, vec![SILENT, press("2"), REPLIES, HANGS_UP]).await;
    assert_eq!(engine.ended(2 * SECOND).await.code(), Some(0));
    let (record, _) = engine.ended_call_of("5550231").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let callers = listeners(&asterisk, &["5550251"], "113").await;
    engine.terminate();
    engine.logs("no more calls are taken", SECOND).await;
    let began = Moment::now();
    engine.terminate();
    let ending = callers[0].1.wait_hangup(10 * SECOND).await.expect("the bot hangs up");
    assert_eq!(ending.by, Side::Peer);
    assert_eq!(engine.ended(5 * SECOND).await.code(), Some(0));
    assert!(Moment::now().since(began) < 12 * SECOND, "not after the 30 seconds of the configuration");
    let (record, _) = engine.ended_call_of("5550251").await;
    assert_eq!(record.disposition, Some(Disposition::Drained));
    assert!(callers[0].1.segments().last().unwrap().last_voiced.since(began) > Duration::from_millis(500));
    assert_empty(&asterisk).await;
}
