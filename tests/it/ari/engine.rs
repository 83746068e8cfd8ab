//! The engine on each way to talk to Asterisk, and its bots on lamps.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use offhook::phone::script::Step;
use offhook::store::Disposition;

use super::{has, server};
use crate::support::asterisk::eventually;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SILENT, assert_empty, connected, own_asterisk, phone, play, press,
};
use crate::support::engine::{DIALPLAN, Settings};
use crate::support::{AsteriskUnderTest, EngineUnderTest, Wanted};

/// A caller talks to the engine's bot to the end, and nothing is left behind.
pub(super) async fn one_call(asterisk: &AsteriskUnderTest, engine: &EngineUnderTest, number: &str) {
    let phone = phone(number).await;
    let call = connected(&phone, asterisk, "111").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP]).await;
    let (record, _) = engine.ended_call_of(number).await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert_empty(asterisk).await;
}

/// An Asterisk that connects to `address`: once for all calls, or for each of them.
async fn calling(address: SocketAddr, per_call: bool) -> AsteriskUnderTest {
    let client = |name: &str, kind: &str| {
        format!(
            "[{name}]\ntype = websocket_client\nconnection_type = {kind}\nuri = ws://{address}/ari\nprotocols = ari\n\
             username = offhook\npassword = offhook\nreconnect_interval = 200\n"
        )
    };
    let way = |client: &str, app: &str| {
        format!(
            "[{client}]\ntype = outbound_websocket\nwebsocket_client_id = {client}\napps = {app}\nlocal_ari_user = offhook\n"
        )
    };
    let (clients, ways) = if per_call {
        (
            client("it-each", "per_call_config") + &client("it-one", "persistent"),
            way("it-each", "bot") + &way("it-one", "bot-control"),
        )
    } else {
        (client("it-one", "persistent"), way("it-one", "bot"))
    };
    let extra = vec![
        ("extensions.conf", DIALPLAN.to_owned()),
        ("websocket_client.conf", clients),
        ("ari.conf", ways),
    ];
    AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_the_events_socket_and_a_lamp_for_the_bot() {
    let asterisk = own_asterisk(false).await;
    if !has(&asterisk.ari(), (22, 4), "requests over WebSockets").await {
        return;
    }
    let env = [
        ("OFFHOOK_ASTERISK_REQUESTS", "websocket"),
        ("OFFHOOK_BOTS_QUICK_DEVICE_STATE", "true"),
        ("OFFHOOK_LOG", "trace"),
    ];
    let mut engine = EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
    let ari = asterisk.ari();
    let shows = async |wanted: &str| {
        eventually(Duration::from_secs(10), wanted, async || {
            let state = ari.device_states().get("Stasis:quick").await.ok()?.state;
            (state == wanted).then_some(())
        })
        .await;
    };
    shows("NOT_INUSE").await;
    let caller = phone("5550401").await;
    let call = connected(&caller, &asterisk, "111").await;
    shows("INUSE").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP]).await;
    shows("NOT_INUSE").await;
    let (record, _) = engine.ended_call_of("5550401").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    engine.terminate();
    engine.ended(Duration::from_secs(20)).await;
    shows("UNAVAILABLE").await;
    // `offhook:offhook` in base 64: at its finest, too, the log keeps it to itself.
    let log = engine.log();
    assert!(log.contains("TRACE") && !log.contains("b2ZmaG9vazpvZmZob29r"), "the log shows the password");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asterisk_connects_to_the_engine() {
    if !has(&server().await.ari(), (22, 5), "outbound WebSockets").await {
        return;
    }
    for per_call in [false, true] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let asterisk = calling(address, per_call).await;
        let address = address.to_string();
        let env = [
            ("OFFHOOK_ASTERISK_EVENTS", if per_call { "listen-per-call" } else { "listen" }),
            ("OFFHOOK_ASTERISK_LISTEN", address.as_str()),
            // Nobody is there: all goes over the connections that come.
            ("OFFHOOK_ASTERISK_URL", "http://127.0.0.1:9"),
        ];
        let engine = EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
        one_call(&asterisk, &engine, if per_call { "5550403" } else { "5550402" }).await;
    }
}
