//! Several engines on one Asterisk: calls are shared as their capacities are, and one that dies is missed by nobody.
//!
//! `OFFHOOK_TEST_CALLS=200 cargo test --test it sharing:: -- --nocapture --test-threads 1` is the full figure.

use std::collections::HashMap;
use std::time::Duration;

use offhook::phone::{Phone, PhoneCall};
use offhook::store::Disposition;
use offhook::time::Moment;

use super::servers::free_port;
use crate::support::asterisk::{AsteriskUnderTest, Wanted, eventually};
use crate::support::caller::{HANGS_UP, PATIENCE, SECOND, assert_empty, ids, phone, play, press};
use crate::support::engine::{DIALPLAN, EngineUnderTest, Settings};

/// A call comes every so often.
const EVERY: Duration = Duration::from_millis(100);

fn dialplan(ports: [u16; 2]) -> String {
    format!(
        "
[offhook]
exten => 301,1,StasisBroadcast(3000,^bot-,talker)
 same => n,Log(NOTICE,${{CALLERID(num)}} goes on: ${{STASISSTATUS}} ${{OFFHOOK_STATUS}})
 same => n,Hangup(34)
exten => 302,1,Set(OFFHOOK_BEST=1001)
 same => n,Set(OFFHOOK_BEST_APP=)
 same => n,Gosub(offhook-ask,s,1(127.0.0.1:{}))
 same => n,Gosub(offhook-ask,s,1(127.0.0.1:{}))
 same => n,GotoIf($[\"${{OFFHOOK_BEST_APP}}\" = \"\"]?none)
 same => n,Stasis(${{OFFHOOK_BEST_APP}},talker)
 same => n,Hangup()
 same => n(none),Hangup(34)
",
        ports[0], ports[1]
    )
}

/// An engine with so many calls at most, and an application of its own.
async fn engine(asterisk: &AsteriskUnderTest, app: &str, most: usize, agi: u16) -> EngineUnderTest {
    let (most, agi) = (most.to_string(), format!("127.0.0.1:{agi}"));
    let env = [
        ("OFFHOOK_ASTERISK_APP", app),
        ("OFFHOOK_ASTERISK_CLAIMS", "true"),
        ("OFFHOOK_ENGINE_MAX_CALLS", most.as_str()),
        ("OFFHOOK_AGI_BIND", agi.as_str()),
    ];
    EngineUnderTest::start(asterisk, Settings { env: &env, ..Settings::default() }).await
}

/// Callers with these numbers, one after the other, who hear the bot.
async fn arrive(
    asterisk: &AsteriskUnderTest,
    numbers: std::ops::Range<u32>,
    to: &str,
) -> Vec<(Phone, PhoneCall)> {
    let began = tokio::time::Instant::now();
    let calls = numbers.enumerate().map(|(index, number)| async move {
        let phone = phone(&number.to_string()).await;
        tokio::time::sleep_until(began + EVERY * u32::try_from(index).unwrap()).await;
        let call = phone.call(&format!("sip:{to}@{}", asterisk.sip_addr)).await.expect("a call");
        call.wait_answered(PATIENCE).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        call.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
        (phone, call)
    });
    futures_util::future::join_all(calls).await
}

/// How many calls each application has.
async fn shares(asterisk: &AsteriskUnderTest) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for id in ids(asterisk).await {
        if let Some(ours) = offhook::id::OurId::parse(&id)
            && id.ends_with("-media")
        {
            *shares.entry(ours.app).or_default() += 1;
        }
    }
    shares
}

async fn two_engines(extension: &str, first_number: u32) {
    let count: u32 = std::env::var("OFFHOOK_TEST_CALLS").map_or(24, |count| count.parse().expect("a number"));
    let all = count as usize;
    let ports = [free_port().await, free_port().await];
    let extra = vec![("extensions.conf", DIALPLAN.to_owned() + &dialplan(ports))];
    let asterisk =
        AsteriskUnderTest::start_own(Wanted { version: Some("22"), extra, ..Wanted::default() }).await;
    // Twice the room on one of them, and enough on the other for those who come while that one is dead.
    let mut large = engine(&asterisk, "bot-a", all * 4 / 3, ports[0]).await;
    let small = engine(&asterisk, "bot-b", all * 2 / 3, ports[1]).await;

    let mut calls = arrive(&asterisk, first_number..first_number + count, extension).await;
    let shared = shares(&asterisk).await;
    let (a, b) = (shared["bot-a"], shared["bot-b"]);
    println!("{all} calls are shared {a} to {b}, where the capacities are 2 to 1");
    assert_eq!(a + b, all);
    let fair = all as f64 / 3.0;
    let off = (b as f64 - fair).abs();
    assert!(off <= (fair * 0.1).max(1.0), "{a} to {b}");

    large.crash().await;
    let killed = Moment::now();
    let few = (count / 8).max(2);
    let late = first_number + count;
    calls.extend(arrive(&asterisk, late..late + few, extension).await);
    let shared = shares(&asterisk).await;
    assert_eq!((shared["bot-a"], shared["bot-b"]), (a, b + few as usize), "all new ones go to who is alive");
    large.start_again().await;
    println!("{a} calls are adopted; they were alone for {:?}", Moment::now().since(killed));
    large.logs(&format!("adopted={a} over=0"), 10 * SECOND).await;
    for (_, call) in &calls {
        assert!(call.ending().is_none(), "nobody was hung up");
    }
    let all = all + few as usize;
    let whole = async || (ids(&asterisk).await.len() == 3 * all).then_some(());
    eventually(10 * SECOND, "Asterisk has the calls and nothing else", whole).await;
    futures_util::future::join_all(calls.iter().map(|(_, call)| play(call, vec![press("2"), HANGS_UP])))
        .await;
    let completed = async || {
        let mut completed = 0;
        for engine in [&large, &small] {
            let calls = engine.store().await.latest_calls(1_000).await.expect("it can be read");
            completed += calls.iter().filter(|c| c.call.disposition == Some(Disposition::Completed)).count();
        }
        (completed == all).then_some(())
    };
    eventually(20 * SECOND, "every call is completed", completed).await;
    assert_empty(&asterisk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_share_calls_that_are_offered_to_both() {
    two_engines("301", 5_553_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_share_calls_of_an_older_asterisk_by_agi() {
    two_engines("302", 5_554_000).await;
}
