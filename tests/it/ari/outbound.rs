//! Asterisk connects to us.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::ops::HangupReason;
use offhook::asterisk::ari::{Ari, AriConfig, ChannelId, Listen, Requests, Signal};
use offhook::asterisk::secret::Secret;
use offhook::asterisk::tls::Identity;
use offhook::guard::Allow;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{DIALPLAN, call_from_echo, has, server, signal, wait_for, wait_for_start};
use crate::support::asterisk::eventually;
use crate::support::{AsteriskUnderTest, Wanted, certificates};

/// A port that nobody has.
fn free() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn listen(bind: SocketAddr, per_call: bool) -> Listen {
    let (user, password) = ("it-door".to_owned(), Secret::new("it-secret"));
    Listen {
        bind,
        user,
        password,
        per_call,
        apps: Vec::new(),
        connections: 16,
        allow: Allow::UNSAID,
        tls: None,
    }
}

/// An Asterisk that connects to `address`, for `it-persistent` once and for `it-percall` with each call; [`None`] on one that
/// is too old.
async fn calling(address: SocketAddr) -> Option<AsteriskUnderTest> {
    let client = |name: &str, kind: &str| {
        format!(
            "[{name}]\ntype = websocket_client\nconnection_type = {kind}\nuri = ws://{address}/ari\nprotocols = ari\n\
             username = it-door\npassword = it-secret\nreconnect_interval = 200\n"
        )
    };
    let ways = |name: &str, app: &str| {
        format!(
            "[{name}]\ntype = outbound_websocket\nwebsocket_client_id = {name}\napps = {app}\nlocal_ari_user = offhook\n"
        )
    };
    let extra = vec![
        ("extensions.conf", DIALPLAN.to_owned()),
        ("websocket_client.conf", client("it-one", "persistent") + &client("it-each", "per_call_config")),
        ("ari.conf", ways("it-one", "it-persistent") + &ways("it-each", "it-percall")),
    ];
    // An older one does not start ARI with a section of this kind.
    if !has(&server().await.ari(), (22, 5), "outbound WebSockets").await {
        return None;
    }
    Some(AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await)
}

/// A client that Asterisk connects to, and that reaches it in no other way.
fn waiting(bind: SocketAddr, per_call: bool) -> AriConfig {
    AriConfig {
        requests: Requests::WebSocket,
        listen: Some(listen(bind, per_call)),
        ..AriConfig::new("http://127.0.0.1:9", "offhook", Secret::new("offhook"))
    }
}

async fn connected_again(events: &mut offhook::asterisk::ari::EventStream) -> bool {
    loop {
        if let Signal::Connected { first } = signal(events).await {
            return first;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asterisk_connects_once_and_calls_and_requests_come_that_way() {
    let address = free();
    let ari = Ari::new(waiting(address, false)).unwrap();
    assert_eq!(ari.listens_at(), Some(address));
    let app = "it-persistent";
    let mut events = ari.events(app);
    let Some(asterisk) = calling(address).await else { return };
    assert!(connected_again(&mut events).await);
    // It has started when it is said to be connected: no 503 any more.
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    let leg = ChannelId::from("it-persistent-leg");
    ari.channels().originate(&call_from_echo(app, &leg)).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
    wait_for(&mut events, |event| match &event.kind {
        EventKind::ChannelDestroyed { channel, .. } if channel.id == leg => Some(()),
        _ => None,
    })
    .await;
    // A stream that comes later is told that the connection is there.
    let mut late = ari.events(app);
    assert!(connected_again(&mut late).await);

    // We end, and another process of ours takes the place.
    drop((events, late, ari));
    let ari = eventually(Duration::from_secs(20), "the port is free", async || {
        Ari::new(waiting(address, false)).ok()
    })
    .await;
    let mut events = ari.events(app);
    assert!(connected_again(&mut events).await);
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    asterisk.stop().await;
    loop {
        if let Signal::Disconnected { .. } = signal(&mut events).await {
            break;
        }
    }
}

#[tokio::test]
async fn asterisk_connects_for_each_call() {
    let address = free();
    let ari = Ari::new(waiting(address, true)).unwrap();
    let app = "it-percall";
    let mut events = ari.events(app);
    assert!(connected_again(&mut events).await, "there is nothing to wait for");
    let Some(asterisk) = calling(address).await else { return };
    let mut legs = Vec::new();
    for _ in 0..3 {
        asterisk.cli("channel originate Local/600@offhook extension it-percall@offhook").await;
    }
    while legs.len() < 3 {
        let leg = wait_for(&mut events, |event| match &event.kind {
            EventKind::StasisStart { channel, .. } => Some(channel.id.clone()),
            _ => None,
        })
        .await;
        ari.channels().answer(&leg).await.unwrap();
        legs.push(leg);
    }
    for leg in &legs {
        ari.channels().hangup(leg, HangupReason::Normal).await.unwrap();
    }
    let mut ended = 0;
    while ended < 3 {
        match signal(&mut events).await {
            Signal::Event(event) => ended += usize::from(event.kind.name() == "StasisEnd"),
            other => panic!("the end of a call's own connection is no outage: {other:?}"),
        }
    }
}

/// Asterisk looks at our certificate, and says its password to nobody else.
#[tokio::test]
async fn asterisk_connects_by_tls() {
    if !has(&server().await.ari(), (22, 5), "outbound WebSockets").await {
        return;
    }
    let address = free();
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    let etc = asterisk.dir.join("etc");
    certificates(&etc);
    let identity = Identity { certificate: etc.join("server.pem"), key: etc.join("server.key") };
    let mut config = waiting(address, false);
    config.listen = config.listen.map(|listen| Listen { tls: Some(identity), ..listen });
    let ari = Ari::new(config).unwrap();
    let mut events = ari.events("it-encrypted");
    let client = format!(
        "[it-one]\ntype = websocket_client\nconnection_type = persistent\nuri = wss://localhost:{}/ari\n\
         protocols = ari\nusername = it-door\npassword = it-secret\nreconnect_interval = 200\ntls_enabled = yes\n\
         ca_list_file = {}/ca.pem\nverify_server_cert = yes\nverify_server_hostname = yes\n",
        address.port(),
        etc.display()
    );
    std::fs::write(etc.join("websocket_client.conf"), client).unwrap();
    let way = "\n[it-one]\ntype = outbound_websocket\nwebsocket_client_id = it-one\napps = it-encrypted\nlocal_ari_user = offhook\n";
    let ari_conf = std::fs::read_to_string(etc.join("ari.conf")).unwrap() + way;
    std::fs::write(etc.join("ari.conf"), ari_conf).unwrap();
    asterisk.cli("module reload res_websocket_client.so").await;
    asterisk.cli("module reload res_ari.so").await;
    assert!(connected_again(&mut events).await);
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    // Who speaks no TLS is none of Asterisk's.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /ari HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 64];
    let length = plain.read(&mut answer).await.unwrap_or(0);
    assert!(!answer[..length].starts_with(b"HTTP"), "an alert of TLS at most");
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_closed_unheard() {
    let mut config = waiting("127.0.0.1:0".parse().unwrap(), false);
    config.listen = config.listen.map(|listen| Listen { allow: "192.0.2.7".parse().unwrap(), ..listen });
    let ari = Ari::new(config).unwrap();
    let mut stranger = TcpStream::connect(ari.listens_at().unwrap()).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(10), stranger.read(&mut [0; 16])).await;
    assert_eq!(closed.expect("at once").unwrap_or(0), 0);
    // Off loopback a password in the clear takes a list.
    let open = Ari::new(waiting("0.0.0.0:0".parse().unwrap(), false)).unwrap_err().to_string();
    assert!(open.contains("allow") && open.contains("tls_cert"), "{open}");
}

/// What is answered to a request for a WebSocket.
async fn knock(address: SocketAddr, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /ari HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length =
        tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn strangers_are_not_let_in() {
    let ari = Ari::new(waiting("127.0.0.1:0".parse().unwrap(), false)).unwrap();
    let address = ari.listens_at().unwrap();
    // it-door:it-secret, and one letter off.
    let (right, wrong) = ("Basic aXQtZG9vcjppdC1zZWNyZXQ=", "Basic aXQtZG9vcjppdC1zZWNyZXU=");
    let protocol = "Sec-WebSocket-Protocol: ari\r\n";
    let with = |authorization: &str, protocol: &str| format!("Authorization: {authorization}\r\n{protocol}");
    assert!(knock(address, &with(right, protocol)).await.contains("101"));
    assert!(knock(address, &with(wrong, protocol)).await.contains("401"));
    assert!(knock(address, protocol).await.contains("401"));
    assert!(knock(address, &with(right, "")).await.contains("400"));
    assert!(knock(address, &with(right, "Sec-WebSocket-Protocol: media\r\n")).await.contains("400"));

    // Those who say nothing are given up, and do not keep others out for longer.
    let silent: Vec<_> = futures_util::future::join_all((0..40).map(|_| TcpStream::connect(address))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut late = TcpStream::connect(address).await.unwrap();
    assert_eq!(late.read(&mut [0; 16]).await.unwrap_or(0), 0, "one too many is closed at once");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(knock(address, &with(right, protocol)).await.contains("101"));
    drop(silent);

    let mut nobody = waiting("127.0.0.1:0".parse().unwrap(), false);
    nobody.listen =
        Some(Listen { password: Secret::new(""), ..listen("127.0.0.1:0".parse().unwrap(), false) });
    assert!(Ari::new(nobody).unwrap_err().to_string().contains("password"));
}
