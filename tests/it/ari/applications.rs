//! Applications: what they get events of, and which pass.

use std::collections::BTreeMap;
use std::time::Duration;

use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::ops::{HangupReason, Originate, UserEvent};
use offhook::asterisk::ari::{AriError, ChannelId, Signal};
use serde_json::json;

use super::{connected, has, server, wait_for, wait_for_start, wait_for_type, with_echo};

#[tokio::test]
async fn an_application_is_listed_while_it_is_connected() {
    let ari = server().await.ari();
    let (_events, leg) = with_echo(&ari, "it-listed").await;
    assert!(ari.applications().list().await.unwrap().iter().any(|app| app.name == "it-listed"));
    let app = ari.applications().get("it-listed").await.unwrap();
    assert!(app.channel_ids.contains(&leg), "{app:?}");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn events_of_a_source_come_from_subscribing_to_unsubscribing() {
    let ari = server().await.ari();
    let (app, source) = ("it-subscribed", "deviceState:Stasis:it-subscribed");
    let mut events = ari.events(app);
    connected(&mut events).await;
    let subscribed = ari.applications().subscribe(app, &[source, "endpoint:PJSIP/alice"]).await.unwrap();
    assert!(subscribed.device_names.iter().any(|name| name == "Stasis:it-subscribed"), "{subscribed:?}");
    assert!(subscribed.endpoint_ids.iter().any(|name| name == "PJSIP/alice"), "{subscribed:?}");
    ari.device_states().update("Stasis:it-subscribed", "INUSE").await.unwrap();
    wait_for_type(&mut events, "DeviceStateChanged").await;
    let left = ari.applications().unsubscribe(app, &[source]).await.unwrap();
    assert!(left.device_names.is_empty(), "{left:?}");
    ari.device_states().update("Stasis:it-subscribed", "BUSY").await.unwrap();
    ari.device_states().delete("Stasis:it-subscribed").await.unwrap();
    // What comes behind it would come after it.
    let mine = UserEvent { application: app.into(), ..UserEvent::default() };
    ari.user_events().send("Behind", &mine).await.unwrap();
    let next = wait_for(&mut events, |event| Some(event.kind.name().to_owned())).await;
    assert_eq!(next, "ChannelUserevent", "no event of the device comes any more");
    let error = ari.applications().subscribe(app, &["endpoint:PJSIP/nobody-of-that-name"]).await.unwrap_err();
    assert!(matches!(error, AriError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn events_that_a_filter_keeps_back_do_not_come() {
    let ari = server().await.ari();
    let app = "it-filtered";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let none = json!({"disallowed": [{"type": "ChannelUserevent"}]});
    let filtered = ari.applications().filter(app, &none).await.unwrap();
    assert_eq!(filtered.events_disallowed, [json!({"type": "ChannelUserevent"})]);
    let mine = UserEvent { application: app.into(), ..UserEvent::default() };
    ari.user_events().send("Kept", &mine).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), wait_for_type(&mut events, "ChannelUserevent"))
            .await
            .is_err(),
        "it is kept back"
    );
    let all = ari.applications().filter(app, &json!({"allowed": [], "disallowed": []})).await.unwrap();
    assert!(all.events_disallowed.is_empty() && all.events_allowed.is_empty(), "{all:?}");
    ari.user_events().send("Passes", &mine).await.unwrap();
    let passed = wait_for_type(&mut events, "ChannelUserevent").await;
    assert!(matches!(passed.kind, EventKind::ChannelUserevent { eventname, .. } if eventname == "Passes"));
}

#[tokio::test]
async fn an_event_of_our_own_is_about_what_it_names() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-userevent").await;
    let mine = UserEvent {
        application: "it-userevent".into(),
        source: vec![format!("channel:{leg}")],
        variables: BTreeMap::from([("colour".into(), "grün".into())]),
    };
    ari.user_events().send("Painted", &mine).await.unwrap();
    let event = wait_for_type(&mut events, "ChannelUserevent").await;
    assert_eq!(event.channel_id().as_ref(), Some(&leg));
    let EventKind::ChannelUserevent { userevent, .. } = event.kind else { unreachable!() };
    assert_eq!(userevent["colour"], "grün");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn an_offered_call_goes_to_who_claims_it_first() {
    let ari = server().await.ari();
    if !has(&ari, (22, 7), "StasisBroadcast").await {
        return;
    }
    let app = "it-claim";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let leg = ChannelId::from("it-claim-leg");
    let call = Originate {
        endpoint: "Local/600@offhook/n".into(),
        context: Some("offhook".into()),
        extension: Some("offer-it-claim".into()),
        channel_id: Some(leg.clone()),
        ..Originate::default()
    };
    ari.channels().originate(&call).await.unwrap();
    wait_for_type(&mut events, "CallBroadcast").await;
    ari.user_events().claim(&leg, app).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    let late = ari.user_events().claim(&leg, app).await.unwrap_err();
    assert!(matches!(late, AriError::Conflict { .. } | AriError::NotFound { .. }), "{late:?}");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn everything_that_happens_comes_to_who_asks_for_all_of_it() {
    let ari = server().await.ari();
    let mut all = ari.all_events("it-all");
    connected(&mut all).await;
    let (_other, leg) = with_echo(&ari, "it-all-other").await;
    wait_for(&mut all, |event| match &event.kind {
        EventKind::ChannelCreated { channel } if channel.id == leg => Some(()),
        _ => None,
    })
    .await;
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
    let Signal::Event(_) = super::signal(&mut all).await else { panic!("events go on") };
}
