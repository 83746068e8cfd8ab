//! The events socket: taken over, slow readers, restarts of Asterisk.

use std::time::Duration;

use offhook::asterisk::Advice;
use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::ops::UserEvent;
use offhook::asterisk::ari::{Ari, Signal, Why};
use offhook::time::Moment;

use super::{connected, server, signal, wait_for};
use crate::support::asterisk::{eventually, processes_of};
use crate::support::{AsteriskUnderTest, Wanted};

#[tokio::test]
async fn a_second_engine_takes_the_application_and_the_first_one_stays_away_until_told() {
    let ari = server().await.ari();
    let mut first = ari.events("it-taken");
    connected(&mut first).await;
    let mut second = ari.events("it-taken");
    connected(&mut second).await;
    wait_for(&mut first, |event| matches!(event.kind, EventKind::ApplicationReplaced {}).then_some(())).await;
    assert_eq!(signal(&mut first).await, Signal::Disconnected { why: Why::Replaced });
    let mine = UserEvent { application: "it-taken".into(), ..UserEvent::default() };
    ari.user_events().send("Hello", &mine).await.unwrap();
    wait_for(&mut second, |event| (event.kind.name() == "ChannelUserevent").then_some(())).await;
    first.reclaim();
    loop {
        if let Signal::Connected { first } = signal(&mut first).await {
            assert!(!first);
            break;
        }
    }
}

#[tokio::test]
async fn events_that_nobody_takes_are_counted() {
    let asterisk = server().await;
    let mut config = asterisk.ari_config();
    config.event_capacity = 3;
    let ari = Ari::new(config).unwrap();
    let mut events = ari.events("it-slow");
    connected(&mut events).await;
    let mine = UserEvent { application: "it-slow".into(), ..UserEvent::default() };
    let before = events.counts().events;
    for _ in 0..10 {
        ari.user_events().send("Hello", &mine).await.unwrap();
    }
    eventually(Duration::from_secs(20), "ten events come", async || {
        (events.counts().events - before >= 10).then_some(())
    })
    .await;
    let mut seen = 0;
    let lost = loop {
        match signal(&mut events).await {
            Signal::Event(_) => seen += 1,
            Signal::Lost { count } => break count,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((seen, lost), (3, events.counts().events - 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_asterisk_is_signalled_and_the_client_is_back_within_two_seconds() {
    let wanted = Wanted { keeps_its_ports: true, ..Wanted::default() };
    let asterisk = AsteriskUnderTest::start_own(wanted).await;
    let ari = asterisk.ari();
    let mut events = ari.events("it-restart");
    connected(&mut events).await;
    asterisk.kill().await;
    loop {
        if let Signal::Disconnected { .. } = signal(&mut events).await {
            break;
        }
    }
    let error = ari.asterisk().ping().await.unwrap_err();
    assert_eq!(error.advice(), Advice::Retry, "{error:?}");
    // Long enough for the waits to have grown.
    tokio::time::sleep(Duration::from_secs(4)).await;
    asterisk.start_again().await;
    let back = Moment::now();
    loop {
        if let Signal::Connected { first } = signal(&mut events).await {
            assert!(!first);
            break;
        }
    }
    let took = Moment::now().since(back);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ari.applications().get("it-restart").await.unwrap().name, "it-restart");
}

#[tokio::test]
async fn an_asterisk_of_a_test_ends_with_it() {
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    let dir = asterisk.dir.clone();
    assert_eq!(processes_of(&dir).len(), 1);
    tokio::task::spawn_blocking(move || drop(asterisk)).await.unwrap();
    assert!(processes_of(&dir).is_empty());
    assert!(!dir.exists());
}
