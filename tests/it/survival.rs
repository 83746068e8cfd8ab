//! Calls outlive the engine: crashes, hang-ups in the gap, and a server that is away.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use offhook::pcap::Capture;
use offhook::phone::{Phone, PhoneCall};
use offhook::rtp::Ssrc;
use offhook::rtp::packet::Packet;
use offhook::store::{Disposition, TurnRecord};
use offhook::time::Moment;

use crate::support::EngineUnderTest;
use crate::support::asterisk::{AsteriskUnderTest, eventually};
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_empty, connected, ids, listeners, own_asterisk,
    phone, play, press, way_on,
};
use crate::support::engine::Settings;
use crate::support::proxy::Proxy;

/// So many calls; `OFFHOOK_TEST_CALLS` says how many where it is asked for more. Fewer by themselves: a debug build beside other
/// tests has less time for each.
fn calls() -> u32 {
    std::env::var("OFFHOOK_TEST_CALLS").map_or(24, |count| count.parse().expect("a number"))
}

/// The numbers of `count` callers.
fn numbers(first: u32, count: u32) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}

async fn callers(
    asterisk: &AsteriskUnderTest,
    numbers: &[String],
    extension: &str,
) -> Vec<(Phone, PhoneCall)> {
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    listeners(asterisk, &numbers, extension).await
}

/// Waits until the states of these callers' calls are on the disk: a call that was killed before is lost, and rightly so.
async fn kept(engine: &EngineUnderTest, numbers: &[String]) {
    for number in numbers {
        let call = engine.call_of(number).await.id;
        eventually(PATIENCE, "its state is kept", async || engine.has_snapshot(call).await.then_some(()))
            .await;
    }
}

/// Callers of `quick` who have keyed the first two of their four digits.
async fn in_mid_number(asterisk: &AsteriskUnderTest, numbers: &[String]) -> Vec<(Phone, PhoneCall)> {
    join_all(numbers.iter().map(|number| async move {
        let phone = phone(number).await;
        let call = connected(&phone, asterisk, "111").await;
        play(&call, vec![SILENT, press("1"), REPLIES, SILENT, press("40")]).await;
        // Until Asterisk has told of the second key, and it is on the disk.
        tokio::time::sleep(Duration::from_millis(500)).await;
        (phone, call)
    }))
    .await
}

/// All keys of a caller who [was in mid-number](in_mid_number) and keyed the rest later, as two answers.
fn assert_keyed(turns: &[TurnRecord]) {
    let keys: Vec<&str> = turns.iter().filter_map(|turn| turn.heard.keys.as_deref()).collect();
    assert_eq!(keys, ["1", "4072"], "{turns:?}");
}

/// The longest time in which nothing came from the bot since `since`.
fn silence(call: &PhoneCall, since: Moment) -> Duration {
    call.with_ear(|ear| {
        let after = ear.recording().iter().map(|packet| packet.at).filter(|at| *at >= since);
        let mut last = since;
        after.map(|at| at.since(std::mem::replace(&mut last, at))).max().unwrap_or(Duration::MAX)
    })
}

/// The value below which 95 of 100 lie.
fn p95(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[(spans.len() * 95).div_ceil(100) - 1]
}

/// Asterisk has the callers' channels, and for each a media channel and a bridge; nothing else.
async fn assert_only(asterisk: &AsteriskUnderTest, calls: usize) {
    eventually(5 * SECOND, "Asterisk has what belongs to the living calls", async || {
        let there: HashSet<String> = ids(asterisk).await.into_iter().collect();
        let ours = |part: &str| there.iter().filter(|id| id.ends_with(part)).count();
        (ours("-media") == calls && ours("-bridge") == calls && there.len() == 3 * calls).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_outlive_an_engine_that_is_killed() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let count = calls();
    let (talked_to, keying) = (numbers(5_551_000, count / 2), numbers(5_551_100, count - count / 2));
    let (listeners, typists) =
        tokio::join!(callers(&asterisk, &talked_to, "113"), in_mid_number(&asterisk, &keying));

    let killed = Moment::now();
    engine.crash().await;
    engine.start_again().await;
    println!("ready again after {:?}", Moment::now().since(killed));
    assert_only(&asterisk, count as usize).await;

    // Who was keying a number completes it.
    join_all(typists.iter().map(|(_, call)| play(call, vec![press("72"), REPLIES, HANGS_UP]))).await;
    for number in &keying {
        let (record, turns) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Completed));
        assert_keyed(&turns);
        assert!(turns.iter().enumerate().all(|(i, turn)| turn.index as usize == i), "each turn once");
        assert!(!engine.has_snapshot(record.id).await);
    }
    // The others hear the sentence again that was cut, and can answer.
    for (_, call) in &listeners {
        assert!(call.ending().is_none(), "nobody was hung up");
        call.wait_onset_since(killed, PATIENCE).await.expect("the bot speaks again");
    }
    assert_only(&asterisk, talked_to.len()).await;
    let gaps: Vec<Duration> = listeners.iter().map(|(_, call)| silence(call, killed)).collect();
    println!("silence at the caller: p95 {:?}, longest {:?}", p95(gaps.clone()), gaps.iter().max());
    join_all(listeners.iter().map(|(_, call)| play(call, vec![press("2"), HANGS_UP]))).await;
    for number in &talked_to {
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Completed));
    }
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn who_hangs_up_while_no_engine_is_there_is_not_missed() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let numbers = numbers(5_551_200, 10);
    let mut listeners = callers(&asterisk, &numbers, "113").await;
    kept(&engine, &numbers).await;
    engine.crash().await;
    let staying = listeners.split_off(4);
    for (_, call) in &listeners {
        call.hang_up().await.expect("he hangs up");
    }
    engine.start_again().await;
    for number in &numbers[..4] {
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::CallerHungUp));
        assert!(!engine.has_snapshot(record.id).await);
    }
    assert_only(&asterisk, 6).await;
    join_all(staying.iter().map(|(_, call)| play(call, vec![press("2"), HANGS_UP]))).await;
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn an_engine_that_is_started_while_asterisk_does_not_answer_takes_its_calls_up_when_it_does() {
    let asterisk = own_asterisk(false).await;
    let door = Proxy::to(asterisk.ari_addr).await;
    let settings = Settings { env: &[("OFFHOOK_ASTERISK_URL", &door.url)], ..Settings::default() };
    let mut engine = EngineUnderTest::start(&asterisk, settings).await;
    let numbers = numbers(5_551_300, 5);
    let listeners = callers(&asterisk, &numbers, "113").await;
    kept(&engine, &numbers).await;
    engine.crash().await;
    let opened = async {
        door.shut_for(2 * SECOND).await;
    };
    tokio::join!(engine.start_again(), opened);
    assert_only(&asterisk, 5).await;
    join_all(listeners.iter().map(|(_, call)| play(call, vec![press("2"), HANGS_UP]))).await;
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn callers_of_a_bot_that_is_gone_go_on_in_the_dialplan() {
    let asterisk = own_asterisk(false).await;
    let mut engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let numbers = numbers(5_551_400, 2);
    let listeners = callers(&asterisk, &numbers, "113").await;
    kept(&engine, &numbers).await;
    engine.crash().await;
    engine.rename_bot("talker", "another");
    engine.start_again().await;
    for number in &numbers {
        assert_eq!(way_on(&asterisk, number).await, "SUCCESS FAILED");
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::BotFailed));
    }
    drop(listeners);
    assert_empty(&asterisk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_outlive_their_events() {
    let asterisk = own_asterisk(false).await;
    let door = Proxy::to(asterisk.ari_addr).await;
    let settings = Settings { env: &[("OFFHOOK_ASTERISK_URL", &door.url)], ..Settings::default() };
    let engine = EngineUnderTest::start(&asterisk, settings).await;
    let count = calls();
    let staying = count / 5 * 4;
    let numbers = numbers(5_551_500, count);
    let mut listeners = callers(&asterisk, &numbers, "113").await;
    let cut = Moment::now();
    let leaving = listeners.split_off(staying as usize);
    let hang_up = async {
        tokio::time::sleep(SECOND).await;
        join_all(leaving.iter().map(|(_, call)| call.hang_up())).await;
    };
    tokio::join!(door.shut_for(5 * SECOND), hang_up);
    let back = Moment::now();
    for number in &numbers[staying as usize..] {
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::CallerHungUp));
    }
    println!("all ended calls closed {:?} after the reconnect was possible", Moment::now().since(back));
    assert_only(&asterisk, staying as usize).await;
    let gaps: Vec<Duration> = listeners.iter().map(|(_, call)| silence(call, cut)).collect();
    println!("longest gap in the media meanwhile: {:?}", gaps.iter().max());
    assert!(gaps.iter().all(|gap| *gap < 3 * SECOND), "the media went on while events did not: {gaps:?}");
    drop(listeners);
    assert_empty(&asterisk).await;
}

/// The sequence numbers by source, in a capture of a call.
fn sequences(capture: &Path) -> HashMap<Ssrc, Vec<u16>> {
    let mut capture = Capture::open(capture).expect("it is a capture");
    let mut sequences: HashMap<Ssrc, Vec<u16>> = HashMap::new();
    for datagram in &mut capture {
        let datagram = datagram.expect("it can be read");
        let header = Packet::parse(&datagram.payload).expect("it is RTP").header;
        sequences.entry(header.ssrc).or_default().push(header.seq.0);
    }
    sequences
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_takes_calls_over_without_a_gap() {
    let asterisk = own_asterisk(false).await;
    // FastAGI's port goes over too, though not with the calls.
    let agi =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let agi = agi.to_string();
    let settings = Settings { recordings: true, env: &[("OFFHOOK_AGI_BIND", &agi)], ..Settings::default() };
    let mut engine = EngineUnderTest::start(&asterisk, settings).await;
    let count = calls();
    let typing = count / 6;
    let (talked_to, keying) = (numbers(5_551_600, count - typing), numbers(5_551_700, typing));
    let (listeners, typists) =
        tokio::join!(callers(&asterisk, &talked_to, "113"), in_mid_number(&asterisk, &keying));
    tokio::time::sleep(SECOND).await;

    let began = Moment::now();
    engine.take_over().await;
    tokio::time::sleep(SECOND).await;
    tokio::net::TcpStream::connect(&agi).await.expect("the new engine answers AGI");
    assert_only(&asterisk, count as usize).await;
    let all = || listeners.iter().chain(&typists);
    assert!(all().all(|(_, call)| call.ending().is_none()), "nobody was hung up");
    let mut gaps: Vec<Duration> = all().map(|(_, call)| silence(call, began)).collect();
    gaps.sort_unstable();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!("gap between bot packets at the caller: median {median:?}, longest of {count} {longest:?}");

    join_all(typists.iter().map(|(_, call)| play(call, vec![press("72"), REPLIES, HANGS_UP]))).await;
    for number in &keying {
        let (record, turns) = engine.ended_call_of(number).await;
        assert_keyed(&turns);
        // Of these bots alone, so that the recorder keeps up.
        let (first, mut second) =
            (sequences(&engine.capture(record.id)), sequences(&engine.second_capture(record.id)));
        // The caller's source is in both; each engine sends as one of its own.
        let (mut seqs, rest) = first
            .into_iter()
            .find_map(|(ssrc, seqs)| Some((seqs, second.remove(&ssrc)?)))
            .expect("his source");
        assert!(seqs.len() > 50 && rest.len() > 50, "both have heard him");
        assert_eq!(rest[0], seqs.last().expect("some").wrapping_add(1), "no packet is lost in between");
        seqs.extend(rest);
        let holes = seqs.windows(2).filter(|pair| pair[1] != pair[0].wrapping_add(1)).count();
        assert_eq!(holes, "14072".len(), "each key leaves one, since Asterisk keeps it for itself");
    }
    join_all(listeners.iter().map(|(_, call)| play(call, vec![press("2"), HANGS_UP]))).await;
    for number in &talked_to {
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Completed));
    }
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn a_second_engine_is_told_how_to_take_over() {
    let asterisk = own_asterisk(false).await;
    let engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let refused = engine.offhook(&["run"]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("offhook run --takeover"), "{said}");
    let listeners = callers(&asterisk, &numbers(5_551_800, 1), "113").await;
    play(&listeners[0].1, vec![press("2"), HANGS_UP]).await;
    assert_empty(&asterisk).await;
}
