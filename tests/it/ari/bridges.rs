//! Bridges.

use std::collections::BTreeMap;
use std::time::Duration;

use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::ops::{
    AddChannel, BridgePlay, BridgeRecord, CreateBridge, ExternalMedia, HangupReason,
};
use offhook::asterisk::ari::{Ari, BridgeId, ChannelId, EventStream, PlaybackId, RecordingName};

use crate::support::asterisk::eventually;

use super::{Ears, has, server, wait_for, wait_for_start, wait_for_type, with_echo};

/// A bridge with a channel in it whose audio comes to us.
async fn listening(ari: &Ari, events: &mut EventStream, app: &str) -> (BridgeId, ChannelId, Ears) {
    let ears = Ears::open();
    let media = ChannelId::from(format!("{app}-media"));
    let wanted = ExternalMedia::rtp(media.clone(), app, ears.address(), "ulaw");
    ari.channels().external_media(&wanted).await.unwrap();
    wait_for_start(events, &media).await;
    let bridge = BridgeId::from(format!("{app}-bridge"));
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().add_channel(&bridge, &media).await.unwrap();
    (bridge, media, ears)
}

#[tokio::test]
async fn a_bridge_is_made_listed_joined_left_and_taken_down() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-bridge").await;
    let named = CreateBridge {
        name: Some("it name".into()),
        kind: Some("holding".into()),
        ..CreateBridge::default()
    };
    let bridge = ari.bridges().create_unnamed(&named).await.unwrap();
    assert_eq!((bridge.name.as_str(), bridge.bridge_type.as_str()), ("it name", "holding"));
    assert!(ari.bridges().list().await.unwrap().iter().any(|b| b.id == bridge.id));
    let role = AddChannel { role: Some("participant".into()), ..AddChannel::default() };
    ari.bridges().add_channel_as(&bridge.id, &leg, &role).await.unwrap();
    wait_for_type(&mut events, "ChannelEnteredBridge").await;
    assert_eq!(ari.bridges().get(&bridge.id).await.unwrap().channels, std::slice::from_ref(&leg));
    ari.bridges().remove_channel(&bridge.id, &leg).await.unwrap();
    wait_for_type(&mut events, "ChannelLeftBridge").await;
    ari.bridges().destroy(&bridge.id).await.unwrap();
    // It is answered before everybody in Asterisk knows.
    eventually(Duration::from_secs(20), "the bridge is gone", async || {
        ari.bridges().get(&bridge.id).await.is_err_and(|error| error.is_gone()).then_some(())
    })
    .await;
    let ours = BridgeId::from("it-bridge-ours");
    assert_eq!(ari.bridges().create(&ours, &CreateBridge::default()).await.unwrap().id, ours);
    ari.bridges().destroy(&ours).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn variables_of_a_bridge_are_set_and_read() {
    let ari = server().await.ari();
    if !has(&ari, (22, 10), "variables of bridges").await {
        return;
    }
    let bridge = BridgeId::from("it-bridge-variables");
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().set_var_as(&bridge, "ONE", "1", Some(true)).await.unwrap();
    assert_eq!(ari.bridges().var(&bridge, "ONE").await.unwrap().value, "1");
    let more = BTreeMap::from([("TWO".to_owned(), "2".to_owned()), ("THREE".to_owned(), "drei".to_owned())]);
    ari.bridges().set_vars(&bridge, &more).await.unwrap();
    assert_eq!(ari.bridges().vars(&bridge, &["TWO", "THREE"]).await.unwrap().variables, more);
    ari.bridges().destroy(&bridge).await.unwrap();
}

#[tokio::test]
async fn who_is_seen_is_chosen_and_left_to_asterisk_again() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-video").await;
    let bridge = BridgeId::from("it-video-bridge");
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().add_channel(&bridge, &leg).await.unwrap();
    wait_for_type(&mut events, "ChannelEnteredBridge").await;
    ari.bridges().set_video_source(&bridge, &leg).await.unwrap();
    let chosen = ari.bridges().get(&bridge).await.unwrap();
    assert_eq!((chosen.video_mode.as_str(), chosen.video_source_id.as_str()), ("single", leg.as_str()));
    ari.bridges().clear_video_source(&bridge).await.unwrap();
    // It shows with the next change of the bridge.
    let (_other_events, other) = with_echo(&ari, "it-video-other").await;
    ari.bridges().add_channel(&bridge, &other).await.unwrap();
    wait_for_type(&mut events, "ChannelEnteredBridge").await;
    assert_ne!(ari.bridges().get(&bridge).await.unwrap().video_mode, "single");
    ari.channels().hangup(&other, HangupReason::Normal).await.unwrap();
    ari.bridges().destroy(&bridge).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn everybody_in_a_bridge_hears_music_and_prompts() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-heard").await;
    let (bridge, media, ears) = listening(&ari, &mut events, "it-heard").await;
    ears.hear_nothing("an empty bridge").await;
    ari.bridges().start_moh(&bridge, Some("default")).await.unwrap();
    ears.hear("music").await;
    ari.bridges().stop_moh(&bridge).await.unwrap();
    ears.hear_nothing("music that was stopped").await;

    let play = BridgePlay { media: vec!["sound:hello-world".into()], ..BridgePlay::default() };
    let unnamed = ari.bridges().play_unnamed(&bridge, &play).await.unwrap();
    assert_eq!(unnamed.target_uri, format!("bridge:{bridge}"));
    let ours = PlaybackId::from("it-heard-1");
    assert_eq!(ari.bridges().play(&bridge, &ours, &play).await.unwrap().id, ours);
    for id in [&unnamed.id, &ours] {
        wait_for(&mut events, |event| match &event.kind {
            EventKind::PlaybackFinished { playback } if playback.id == *id => Some(()),
            _ => None,
        })
        .await;
    }
    ari.bridges().destroy(&bridge).await.unwrap();
    ari.channels().hangup(&media, HangupReason::Normal).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_bridge_is_recorded() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-tape").await;
    let (bridge, media, _ears) = listening(&ari, &mut events, "it-tape").await;
    let name = RecordingName::from("it-tape-1");
    let how = BridgeRecord { name: name.to_string(), format: "wav".into(), ..BridgeRecord::default() };
    assert_eq!(ari.bridges().record(&bridge, &how).await.unwrap().target_uri, format!("bridge:{bridge}"));
    wait_for_type(&mut events, "RecordingStarted").await;
    ari.recordings().stop(&name).await.unwrap();
    wait_for_type(&mut events, "RecordingFinished").await;
    assert!(ari.recordings().file(&name).await.unwrap().starts_with(b"RIFF"));
    ari.recordings().delete_stored(&name).await.unwrap();
    ari.bridges().destroy(&bridge).await.unwrap();
    ari.channels().hangup(&media, HangupReason::Normal).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}
