//! Several Asterisk servers and one engine; who is let in; and how the engine is, over HTTP.

use std::time::Duration;

use futures_util::future::join_all;
use offhook::phone::script::Step;
use offhook::store::Disposition;
use offhook::time::Moment;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::asterisk::{AsteriskUnderTest, Wanted, eventually};
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_empty, connected, listeners, own_asterisk, phone,
    play, press, way_on,
};
use crate::support::engine::{DIALPLAN, EngineUnderTest, Settings};

/// A number that leads to the engine, and tells why it did not take a call.
const REASONS: &str = "
[offhook]
exten => 213,1,Stasis(bot,talker)
 same => n,Log(NOTICE,${CALLERID(num)} goes on: ${STASISSTATUS} ${OFFHOOK_STATUS} ${OFFHOOK_REFUSED})
 same => n,Hangup(34)
";

/// A port of this machine that is free now.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Status and body of a page of the health listener.
pub async fn page(port: u16, path: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n")?.1;
    Some((status, serde_json::from_str(body).ok()?))
}

/// What a server's state is.
async fn state(port: u16, name: &str) -> Option<String> {
    let (_, health) = page(port, "/health").await?;
    let servers = health["servers"].as_array()?.clone();
    let server = servers.into_iter().find(|server| server["name"] == name)?;
    Some(server["state"].as_str()?.to_owned())
}

async fn becomes(port: u16, name: &str, wanted: &str, within: Duration) {
    let is = async || (state(port, name).await? == wanted).then_some(());
    eventually(within, &format!("{name} is {wanted}"), is).await;
}

async fn asterisk(version: &'static str, keeps_its_ports: bool) -> AsteriskUnderTest {
    let extra = vec![("extensions.conf", DIALPLAN.to_owned() + REASONS)];
    AsteriskUnderTest::start_own(Wanted { version: Some(version), keeps_its_ports, extra }).await
}

fn server(name: &str, url: &str, more: &str) -> String {
    format!("[[asterisk.server]]\nname = '{name}'\nurl = '{url}'\n{more}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_engine_serves_two_servers_and_goes_on_when_one_is_lost() {
    let (east, west) = tokio::join!(asterisk("22", false), asterisk("16", true));
    let health = free_port().await;
    let listen = format!("127.0.0.1:{health}");
    let more =
        server("east", &east.ari_url, "capacity = 50") + &server("west", &west.ari_url, "capacity = 20");
    let settings =
        Settings { env: &[("OFFHOOK_HEALTH_LISTEN", &listen)], more: &more, ..Settings::default() };
    let mut engine = EngineUnderTest::start(&east, settings).await;
    let (_, told) = page(health, "/health").await.expect("it answers");
    let versions: Vec<&str> =
        told["servers"].as_array().unwrap().iter().map(|s| s["version"].as_str().unwrap()).collect();
    assert!(versions[0].starts_with("22") && versions[1].starts_with("16"), "{told}");

    let (here, there) = (["5552001", "5552002", "5552003"], ["5552011", "5552012"]);
    let (here_calls, there_calls) =
        tokio::join!(listeners(&east, &here, "113"), listeners(&west, &there, "113"));
    let (_, told) = page(health, "/health").await.expect("it answers");
    assert_eq!(
        (told["servers"][0]["calls"].as_u64(), told["servers"][1]["calls"].as_u64()),
        (Some(3), Some(2))
    );
    assert_eq!((told["calls"].as_u64(), told["servers"][1]["capacity"].as_u64()), (Some(5), Some(20)));

    west.kill().await;
    let cut = Moment::now();
    becomes(health, "west", "down", 10 * SECOND).await;
    assert_eq!(page(health, "/ready").await.expect("it answers").0, 200, "one server is enough");
    for number in there {
        let lost = async || {
            let call = engine.call_of(number).await;
            call.ended.is_some().then_some(call.disposition)
        };
        assert_eq!(eventually(40 * SECOND, "the call is over", lost).await, Some(Disposition::Lost));
    }
    println!("the calls of the server that was lost are closed after {:?}", Moment::now().since(cut));
    for (_, call) in &here_calls {
        assert!(call.ending().is_none(), "nobody else was hung up");
        play(call, vec![press("2"), HANGS_UP]).await;
    }
    for number in here {
        assert_eq!(engine.ended_call_of(number).await.0.disposition, Some(Disposition::Completed));
    }
    drop(there_calls);

    west.start_again().await;
    let answers = Moment::now();
    becomes(health, "west", "up", 20 * SECOND).await;
    println!("the server is back {:?} after it answered", Moment::now().since(answers));
    let phone = phone("5552021").await;
    let call = connected(&phone, &west, "111").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP]).await;
    assert_eq!(engine.ended_call_of("5552021").await.0.disposition, Some(Disposition::Completed));

    // A crash with calls on both, and a successor.
    let (first, second) =
        tokio::join!(listeners(&east, &["5552031"], "113"), listeners(&west, &["5552032"], "113"));
    engine.crash().await;
    engine.start_again().await;
    engine.take_over().await;
    for (_, call) in first.iter().chain(&second) {
        play(call, vec![press("2"), HANGS_UP]).await;
    }
    for number in ["5552031", "5552032"] {
        assert_eq!(engine.ended_call_of(number).await.0.disposition, Some(Disposition::Completed));
    }
    assert_empty(&east).await;
    assert_empty(&west).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_keeps_nobody_waiting_and_one_alone_is_drained() {
    let west = asterisk("22", true).await;
    west.stop().await;
    let east = asterisk("22", false).await;
    let health = free_port().await;
    let listen = format!("127.0.0.1:{health}");
    let more = server("west", &west.ari_url, "") + &server("east", &east.ari_url, "");
    let settings =
        Settings { env: &[("OFFHOOK_HEALTH_LISTEN", &listen)], more: &more, ..Settings::default() };
    let engine = EngineUnderTest::start(&east, settings).await;
    becomes(health, "west", "down", 5 * SECOND).await;
    assert!(engine.log().contains("a server cannot be served yet"), "it is told at the start");

    let staying = listeners(&east, &["5552101"], "113").await;
    west.start_again().await;
    becomes(health, "west", "up", 20 * SECOND).await;
    let told = engine.offhook(&["servers", "--drain", "east"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("draining") && told.contains("west") && told.contains("Asterisk 22"), "{told}");
    // East takes no more; its call, and west, go on.
    let late = phone("5552102").await;
    let call = late.call(&format!("sip:213@{}", east.sip_addr)).await.expect("a call");
    assert_eq!(way_on(&east, "5552102").await, "SUCCESS REFUSED draining");
    drop(call);
    play(&staying[0].1, vec![press("2"), HANGS_UP]).await;
    let other = listeners(&west, &["5552103"], "113").await;
    play(&other[0].1, vec![press("2"), HANGS_UP]).await;
    let unknown = engine.offhook(&["servers", "--drain", "north"]).await;
    let unknown = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.contains("'north'") && unknown.contains("west, east"), "{unknown}");
    assert!(engine.offhook(&["servers", "--resume", "east"]).await.status.success());
    let again = listeners(&east, &["5552104"], "113").await;
    play(&again[0].1, vec![press("2"), HANGS_UP]).await;
    assert_empty(&east).await;
    assert_empty(&west).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_limits_are_refused_at_once_and_the_others_keep_their_figures() {
    let asterisk = asterisk("22", false).await;
    let health = free_port().await;
    let listen = format!("127.0.0.1:{health}");
    let env = [
        ("OFFHOOK_HEALTH_LISTEN", listen.as_str()),
        ("OFFHOOK_ENGINE_MAX_CALLS", "8"),
        ("OFFHOOK_ENGINE_MAX_CALLS_PER_SECOND", "0.5"),
        ("OFFHOOK_ENGINE_BURST", "6"),
    ];
    let mut engine = EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
    let up = listeners(&asterisk, &["5552201", "5552202", "5552203"], "213").await;
    // A storm: three of twenty fit in the burst, and as many more as seconds go by.
    let began = Moment::now();
    let storm: Vec<String> = (5_552_210..5_552_230).map(|number| number.to_string()).collect();
    let calls = join_all(storm.iter().map(|number| async {
        let phone = phone(number).await;
        let call = phone.call(&format!("sip:213@{}", asterisk.sip_addr)).await.expect("a call");
        (phone, call)
    }))
    .await;
    let refused = async || {
        let (_, told) = page(health, "/health").await?;
        let count = |why: &str| told["refused"][why].as_u64().unwrap_or(0);
        let (rate, capacity) = (count("rate"), count("capacity"));
        let all = rate + capacity + told["calls"].as_u64()? >= 23;
        all.then_some((rate, capacity, told["calls"].as_u64()?))
    };
    let (rate, capacity, taken) = eventually(20 * SECOND, "everybody has his answer", refused).await;
    println!(
        "{rate} refused by rate, {capacity} by capacity, {taken} calls up after {:?}",
        Moment::now().since(began)
    );
    assert!((6..=8).contains(&taken) && rate >= 10, "{rate} {capacity} {taken}");
    // It writes its log when it finds the time.
    eventually(20 * SECOND, "the dialplan is told why", async || {
        let log = std::fs::read_to_string(asterisk.dir.join("log/messages.log")).expect("it logs");
        log.contains("SUCCESS REFUSED rate").then_some(())
    })
    .await;
    for (_, call) in &up {
        assert!(call.ending().is_none(), "nobody who was up is hung up");
    }
    assert_eq!(page(health, "/ready").await.expect("it answers").0, 200);

    // The end: readiness goes at once, the process lives on for those who talk; a second signal ends it.
    engine.terminate();
    let not_ready = async || {
        let (status, told) = page(health, "/ready").await?;
        (status == 503 && told["why"] == "draining").then_some(())
    };
    eventually(5 * SECOND, "it is not ready", not_ready).await;
    assert_eq!(page(health, "/live").await.expect("it answers").0, 200);
    for (_, call) in &up {
        assert!(call.ending().is_none(), "who talks may go on");
    }
    engine.terminate();
    assert_eq!(engine.ended(20 * SECOND).await.code(), Some(0));
    drop(calls);
    for number in ["5552201", "5552202", "5552203"] {
        let (record, _) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Drained));
        let media = record.media.expect("its numbers are kept");
        println!(
            "skipped ticks {} of {}, underruns {}",
            media["skipped_ticks"], media["sent"], media["underruns"]
        );
    }
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn calls_out_go_by_the_server_that_is_named_or_has_room() {
    let asterisk = own_asterisk(false).await;
    // West is another door of the same house, so that one phone hears of both.
    let closed = format!("http://127.0.0.1:{}", free_port().await);
    let more = server("west", &closed, "") + &server("east", &asterisk.ari_url, "");
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let phone = phone("5552301").await;
    let endpoint = format!("PJSIP/anonymous/sip:bob@{}", phone.address());
    for named in [&["--server", "east"][..], &[]] {
        let args = [&["call", &endpoint, "--bot", "quick", "--ring", "10"], named].concat();
        let talk = async {
            let call = phone.expect_call(PATIENCE).await.expect("it rings").answer().await.expect("it is on");
            let steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP];
            play(&call, steps).await;
        };
        let (output, ()) = tokio::join!(engine.offhook(&args), talk);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (name, what) in [("west", "down"), ("north", "only west, east")] {
        let refused = engine.offhook(&["call", &endpoint, "--bot", "quick", "--server", name]).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(what), "{said}");
    }
    assert_empty(&asterisk).await;
}
