//! Recordings, live and stored.

use std::time::Duration;

use offhook::asterisk::ari::model::RecordingState;
use offhook::asterisk::ari::ops::{HangupReason, Originate, Record};
use offhook::asterisk::ari::{ChannelId, RecordingName};

use super::{call_from_echo, connected, server, wait_for_start, wait_for_type, with_echo};
use crate::support::asterisk::eventually;

fn as_wav(name: &RecordingName) -> Record {
    Record { name: name.to_string(), format: "wav".into(), ..Record::default() }
}

async fn hang_up(ari: &offhook::asterisk::ari::Ari, leg: &ChannelId) {
    ari.channels().hangup(leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_recording_is_held_muted_stored_copied_and_deleted() {
    let ari = server().await.ari();
    let mut events = ari.events("it-record");
    connected(&mut events).await;
    let leg = ChannelId::from("it-record-leg");
    let tone = Originate { endpoint: "Local/tone@offhook/n".into(), ..call_from_echo("it-record", &leg) };
    ari.channels().originate(&tone).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    let (name, copy) = (RecordingName::from("it/record-1"), RecordingName::from("it/record-2"));
    let made = ari.channels().record(&leg, &as_wav(&name)).await.unwrap();
    assert_eq!(made.name, name);
    wait_for_type(&mut events, "RecordingStarted").await;
    let state = async || ari.recordings().get_live(&name).await.unwrap().state;
    assert_eq!(state().await, RecordingState::Recording);
    ari.recordings().pause(&name).await.unwrap();
    assert_eq!(state().await, RecordingState::Paused);
    ari.recordings().unpause(&name).await.unwrap();
    assert_eq!(state().await, RecordingState::Recording);
    tokio::time::sleep(Duration::from_millis(700)).await;
    ari.recordings().mute(&name).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    ari.recordings().unmute(&name).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    ari.recordings().stop(&name).await.unwrap();
    wait_for_type(&mut events, "RecordingFinished").await;

    assert!(ari.recordings().stored().await.unwrap().iter().any(|r| r.name == name));
    assert_eq!(ari.recordings().get_stored(&name).await.unwrap().format, "wav");
    let file = ari.recordings().file(&name).await.unwrap();
    assert!(file.starts_with(b"RIFF"));
    let samples: Vec<i16> =
        file[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    let loud = |part: &[i16]| part.iter().any(|sample| sample.unsigned_abs() > 500);
    let frames: Vec<bool> = samples.chunks(160).map(loud).collect();
    let silent = frames.split(|loud| *loud).map(<[bool]>::len).max().unwrap_or(0);
    assert!(frames.iter().filter(|loud| **loud).count() > 20, "the tone is on it");
    assert!(silent > 20, "and half a second of silence where it was muted: {silent} frames");

    ari.recordings().copy(&name, &copy).await.unwrap();
    assert_eq!(ari.recordings().file(&copy).await.unwrap(), file);
    for one in [&name, &copy] {
        ari.recordings().delete_stored(one).await.unwrap();
        assert!(ari.recordings().get_stored(one).await.unwrap_err().is_gone());
    }
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn a_recording_that_is_thrown_away_leaves_nothing() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-cancel").await;
    let name = RecordingName::from("it-cancel-1");
    ari.channels().record(&leg, &as_wav(&name)).await.unwrap();
    wait_for_type(&mut events, "RecordingStarted").await;
    ari.recordings().cancel(&name).await.unwrap();
    // It is answered before it is done.
    eventually(Duration::from_secs(20), "the recording is gone", async || {
        ari.recordings().get_live(&name).await.is_err_and(|error| error.is_gone()).then_some(())
    })
    .await;
    assert!(ari.recordings().get_stored(&name).await.unwrap_err().is_gone());
    hang_up(&ari, &leg).await;
}
