//! What Asterisk plays, and its control.

use std::time::Duration;

use offhook::asterisk::ari::model::{EventKind, PlaybackState};
use offhook::asterisk::ari::ops::{HangupReason, Play, PlaybackControl};
use offhook::asterisk::ari::{Ari, ChannelId, EventStream, PlaybackId};
use offhook::time::Moment;

use super::{server, wait_for, wait_for_type, with_echo};
use crate::support::asterisk::eventually;

/// The longest sound that every installation has, in seconds; it is 16 long.
const MONKEYS: &str = "sound:tt-monkeys";

async fn start(ari: &Ari, events: &mut EventStream, leg: &ChannelId, name: &str, play: Play) -> PlaybackId {
    let playback = PlaybackId::from(name);
    ari.channels().play(leg, &playback, &play).await.unwrap();
    wait_for_type(events, "PlaybackStarted").await;
    playback
}

async fn finished(events: &mut EventStream) {
    wait_for_type(events, "PlaybackFinished").await;
}

#[tokio::test]
async fn a_prompt_is_played_held_and_stopped() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-play").await;
    let playback = PlaybackId::from("it-play-1");
    ari.channels().play(&leg, &playback, &Play::one(MONKEYS)).await.unwrap();
    let heard_by = wait_for(&mut events, |event| match &event.kind {
        EventKind::PlaybackStarted { playback: p } if p.id == playback => event.channel_id(),
        _ => None,
    })
    .await;
    assert_eq!(heard_by, leg);
    let shown = ari.playbacks().get(&playback).await.unwrap();
    assert_eq!((shown.id, shown.state), (playback.clone(), PlaybackState::Playing));
    ari.playbacks().stop(&playback).await.unwrap();
    finished(&mut events).await;
    eventually(Duration::from_secs(20), "the playback is gone", async || {
        ari.playbacks().get(&playback).await.is_err_and(|error| error.is_gone()).then_some(())
    })
    .await;
    let unnamed = ari.channels().play_unnamed(&leg, &Play::one("sound:hello-world")).await.unwrap();
    wait_for(&mut events, |event| match &event.kind {
        EventKind::PlaybackFinished { playback } if playback.id == unnamed.id => Some(()),
        _ => None,
    })
    .await;
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_prompt_that_is_held_ends_later_by_that_much() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-hold").await;
    // A second and a half.
    let playback = start(&ari, &mut events, &leg, "it-hold-1", Play::one("sound:hello-world")).await;
    let began = Moment::now();
    ari.playbacks().pause(&playback).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ari.playbacks().get(&playback).await.unwrap().id, playback, "it is still there");
    ari.playbacks().unpause(&playback).await.unwrap();
    finished(&mut events).await;
    assert!(Moment::now().since(began) > Duration::from_secs(3));
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_prompt_goes_forward_back_and_from_the_start() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-wind").await;
    let play = Play { skip_ms: Some(5_000), ..Play::one(MONKEYS) };
    let playback = start(&ari, &mut events, &leg, "it-wind-1", play.clone()).await;
    let began = Moment::now();
    // 16 seconds long: two steps forward leave six, one back makes it eleven, three more end it.
    for step in [PlaybackControl::Forward, PlaybackControl::Forward, PlaybackControl::Reverse] {
        // Asterisk tells that it has started a little before it can be wound.
        eventually(Duration::from_secs(20), "it is wound", async || {
            ari.playbacks().control(&playback, step.clone()).await.ok()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(ari.playbacks().get(&playback).await.unwrap().id, playback);
    ari.playbacks().restart(&playback).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    ari.playbacks().reverse(&playback).await.unwrap();
    for _ in 0..4 {
        // The last one is past its end.
        let _ = ari.playbacks().forward(&playback).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    finished(&mut events).await;
    assert!(Moment::now().since(began) < Duration::from_secs(10), "it was wound forward");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_list_is_played_one_after_the_other_from_the_place_that_is_named() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-list").await;
    let play = Play {
        media: vec![MONKEYS.into(), "digits:1".into()],
        offset_ms: Some(15_000),
        lang: Some("en".into()),
        ..Play::default()
    };
    let began = Moment::now();
    start(&ari, &mut events, &leg, "it-list-1", play).await;
    wait_for_type(&mut events, "PlaybackContinuing").await;
    finished(&mut events).await;
    assert!(Moment::now().since(began) < Duration::from_secs(10), "fifteen seconds are left out");
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}
