//! Requests over the events socket, and what happens to them when it dies; readers that sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offhook::asterisk::Advice;
use offhook::asterisk::ari::ops::{HangupReason, UserEvent};
use offhook::asterisk::ari::{Ari, AriConfig, AriError, ChannelId, Requests, Signal};
use offhook::asterisk::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{call_from_echo, connected, has, server, signal, wait_for_start};
use crate::support::asterisk::eventually;
use crate::support::{AsteriskUnderTest, Wanted};

/// A client whose requests go over WebSockets.
fn over_websocket(asterisk: &AsteriskUnderTest) -> AriConfig {
    AriConfig { requests: Requests::WebSocket, ..asterisk.ari_config() }
}

#[tokio::test]
async fn requests_of_every_kind_go_over_a_websocket() {
    let asterisk = server().await;
    if !has(&asterisk.ari(), (22, 4), "requests over WebSockets").await {
        return;
    }
    let ari = Ari::new(over_websocket(asterisk)).unwrap();
    // Before there are events a connection is made for requests alone.
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    let spare = async || {
        let apps = ari.applications().list().await.unwrap();
        apps.iter().any(|app| app.name.starts_with("offhook-requests-"))
    };
    assert!(spare().await);
    assert!(ari.asterisk().modules().await.unwrap().len() > 100, "large answers come");

    let app = "it-socket";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let leg = ChannelId::from("it-socket-leg");
    ari.channels().originate(&call_from_echo(app, &leg)).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    assert_eq!(ari.channels().var(&leg, "GREETING").await.unwrap().value, "häl lo & more");
    let strange = ChannelId::from("it-no-such/channel? #ü");
    let error = ari.channels().answer(&strange).await.unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("it-no-such/channel? #ü"), "{error:?}");
    let filter = serde_json::json!({"disallowed": [{"type": "ChannelVarset"}]});
    assert_eq!(ari.applications().filter(app, &filter).await.unwrap().events_disallowed.len(), 1);
    let subscribed =
        ari.applications().subscribe(app, &["deviceState:Stasis:a", "deviceState:Stasis:b"]).await;
    assert_eq!(subscribed.unwrap().device_names.len(), 2, "lists go as lists");
    let long = "x".repeat(70_000);
    let error = ari.asterisk().set_global_var("IT_LONG", &long).await.unwrap_err();
    assert!(matches!(error, AriError::TooLarge { .. }), "Asterisk would close the socket over it: {error:?}");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
    eventually(Duration::from_secs(20), "the other connection is closed", async || {
        (!spare().await).then_some(())
    })
    .await;
    assert_eq!(events.counts().malformed, 0);
}

#[tokio::test]
async fn a_wrong_password_is_told_by_the_first_request() {
    let asterisk = server().await;
    let mut config = over_websocket(asterisk);
    config.password = Secret::new("wrong-password");
    let error = Ari::new(config).unwrap().asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::Unauthorized { .. }), "{error:?}");
    let nobody = AriConfig { url: "http://127.0.0.1:9".into(), ..over_websocket(asterisk) };
    let error = Ari::new(nobody).unwrap().asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::Unreachable { .. }) && error.advice() == Advice::Retry, "{error:?}");
}

/// What stands between us and Asterisk: it can swallow what we send, and cut all connections.
struct Wire {
    address: std::net::SocketAddr,
    swallows: Arc<AtomicBool>,
    cut: Arc<Notify>,
}

impl Wire {
    async fn to(asterisk: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            swallows: Arc::default(),
            cut: Arc::new(Notify::new()),
        };
        let (swallows, cut) = (Arc::clone(&this.swallows), Arc::clone(&this.cut));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (swallows, cut) = (Arc::clone(&swallows), Arc::clone(&cut));
                tokio::spawn(async move {
                    let far = TcpStream::connect(asterisk).await.unwrap();
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let there = async {
                        let mut bytes = [0; 4_096];
                        while let Ok(length @ 1..) = near_in.read(&mut bytes).await {
                            if !swallows.load(Ordering::Relaxed) {
                                far_out.write_all(&bytes[..length]).await.unwrap();
                            }
                        }
                    };
                    tokio::select! {
                        () = there => {}
                        _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        this
    }
}

#[tokio::test]
async fn requests_that_wait_fail_with_the_socket_and_those_behind_them_take_the_next_one() {
    // Of its own: what it does to it, others would feel.
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    if !has(&asterisk.ari(), (22, 4), "requests over WebSockets").await {
        return;
    }
    let wire = Wire::to(asterisk.ari_addr).await;
    let url = format!("http://{}", wire.address);
    let config =
        AriConfig { url: url.clone(), timeout: Duration::from_secs(10), ..over_websocket(&asterisk) };
    let ari = Ari::new(config.clone()).unwrap();
    let mut events = ari.events("it-cut");
    connected(&mut events).await;
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    wire.swallows.store(true, Ordering::Relaxed);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let ari = ari.clone();
            tokio::spawn(async move { ari.asterisk().ping().await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.swallows.store(false, Ordering::Relaxed);
    wire.cut.notify_waiters();
    let (mut broken, mut fine) = (0, 0);
    for one in asked {
        match one.await.unwrap() {
            Ok(()) => fine += 1,
            Err(error @ (AriError::Broken { .. } | AriError::Unreachable { .. })) => {
                assert_eq!(error.advice(), Advice::Retry);
                broken += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("{broken} requests of 100 were on their way and failed, {fine} took the next socket");
    assert!(broken >= 64, "so many were on their way: {broken}");
    assert!(matches!(signal(&mut events).await, Signal::Event(_) | Signal::Disconnected { .. }));

    // A far end that says nothing.
    let hasty = AriConfig { timeout: Duration::from_millis(500), ..config };
    let ari = Ari::new(hasty).unwrap();
    ari.asterisk().ping().await.unwrap();
    wire.swallows.store(true, Ordering::Relaxed);
    let error = ari.asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::Timeout { .. }) && error.advice() == Advice::Retry, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_sleeps_through_thousands_of_events_loses_some_and_never_the_socket() {
    const EVENTS: u64 = 10_000;
    // Of its own: what it does to it, others would feel.
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    let ari = Ari::new(AriConfig { event_capacity: 100, ..asterisk.ari_config() }).unwrap();
    let app = "it-asleep";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let before = events.counts().events;
    let senders: Vec<_> = (0..10)
        .map(|_| {
            let ari = ari.clone();
            tokio::spawn(async move {
                let mine = UserEvent { application: app.into(), ..UserEvent::default() };
                for _ in 0..EVENTS / 10 {
                    ari.user_events().send("Much", &mine).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    eventually(Duration::from_secs(30), "all events have come", async || {
        (events.counts().events - before >= EVENTS).then_some(())
    })
    .await;
    // As long as it takes Asterisk to give up a reader, many times over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < events.counts().events {
        match signal(&mut events).await {
            Signal::Event(_) => seen += 1,
            Signal::Lost { count } => lost += count,
            other => panic!("the socket did not stay up: {other:?}"),
        }
    }
    println!(
        "{EVENTS} events while the reader slept: {seen} kept, {lost} said to be lost, {} connection",
        events.counts().connections
    );
    assert_eq!((seen, events.counts().connections), (100, 1));
}
