//! A call from its first event to its last.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use offhook::asterisk::Advice;
use offhook::asterisk::ari::model::{ChannelState, EventKind};
use offhook::asterisk::ari::ops::{CreateBridge, CreateChannel, ExternalMedia, HangupReason};
use offhook::asterisk::ari::{AriError, BridgeId, ChannelId};

use super::{call_from_echo, connected, server, wait_for, wait_for_start};
use crate::support::asterisk::eventually;

#[tokio::test]
async fn a_call_is_answered_bridged_with_its_media_and_hung_up() {
    let ari = server().await.ari();
    let app = "it-call";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();

    let (leg, media) = (ChannelId::from("offhook-it-call-leg"), ChannelId::from("offhook-it-call-media"));
    let channel = ari.channels().originate(&call_from_echo(app, &leg)).await.unwrap();
    assert_eq!(channel.id, leg);
    let args = wait_for(&mut events, |event| match &event.kind {
        EventKind::StasisStart { channel, args, .. } if channel.id == leg => Some(args.clone()),
        _ => None,
    })
    .await;
    assert_eq!(args, ["a", "b"]);
    assert_eq!(ari.channels().get(&leg).await.unwrap().state, ChannelState::Up);
    assert_eq!(ari.channels().var(&leg, "GREETING").await.unwrap().value, "häl lo & more");
    ari.channels().set_var(&leg, "OTHER", "2").await.unwrap();
    // Setting is queued; Asterisk 16 answers before it is done.
    let other = eventually(Duration::from_secs(20), "the variable is set", async || {
        ari.channels().var(&leg, "OTHER").await.ok()
    })
    .await;
    assert_eq!(other.value, "2");
    ari.channels().answer(&leg).await.unwrap();

    let external = ExternalMedia::rtp(media.clone(), app, socket.local_addr().unwrap(), "ulaw");
    let made = ari.channels().external_media(&external).await.unwrap();
    let peer = made.rtp_address().expect("Asterisk says where its RTP is");
    wait_for_start(&mut events, &media).await;
    let bridge = BridgeId::from("offhook-it-call-bridge");
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().add_channel(&bridge, &leg).await.unwrap();
    ari.bridges().add_channel(&bridge, &media).await.unwrap();
    assert_eq!(ari.bridges().get(&bridge).await.unwrap().channels.len(), 2);

    // What is said into the media channel comes back from the echo, from the address that was told.
    let mut packet = vec![0x55; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9]);
    let mut heard = [0; 2048];
    let back = (1..100).any(|sequence: u32| {
        packet[3] = sequence as u8;
        packet[4..8].copy_from_slice(&(sequence * 160).to_be_bytes());
        socket.send_to(&packet, peer).unwrap();
        let (length, from) = socket.recv_from(&mut heard).unwrap();
        assert_eq!((length, from), (172, peer));
        heard[12..172] == packet[12..]
    });
    assert!(back, "the echo is heard");

    let app_now = ari.applications().get(app).await.unwrap();
    assert!(app_now.channel_ids.contains(&leg) && app_now.bridge_ids.contains(&bridge), "{app_now:?}");
    ari.bridges().remove_channel(&bridge, &media).await.unwrap();
    ari.bridges().destroy(&bridge).await.unwrap();
    ari.channels().hangup(&media, HangupReason::Normal).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Cause(17)).await.unwrap();
    let cause = wait_for(&mut events, |event| match &event.kind {
        EventKind::ChannelDestroyed { channel, cause, .. } if channel.id == leg => Some(*cause),
        _ => None,
    })
    .await;
    assert_eq!(cause, 17);
    let gone = ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap_err();
    assert!(gone.is_gone() && gone.advice() == Advice::Ignore, "{gone:?}");
    assert_eq!(events.counts().malformed, 0);
}

#[tokio::test]
async fn a_channel_is_made_first_and_dialled_later() {
    let ari = server().await.ari();
    let app = "it-dial";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let leg = ChannelId::from("it-dial-leg");
    let parameters = CreateChannel {
        endpoint: "Local/600@offhook/n".into(),
        app: app.into(),
        channel_id: Some(leg.clone()),
        variables: BTreeMap::from([("FOR".into(), "it".into())]),
        ..CreateChannel::default()
    };
    ari.channels().create(&parameters).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    let twice = ari.channels().create(&parameters).await.unwrap_err();
    assert!(matches!(twice, AriError::Conflict { .. }), "an id is taken once: {twice:?}");
    assert_eq!(ari.channels().var(&leg, "FOR").await.unwrap().value, "it");
    ari.channels().dial(&leg, None, Some(5)).await.unwrap();
    wait_for(&mut events, |event| match &event.kind {
        EventKind::Dial { peer, dialstatus, .. } if peer.id == leg && dialstatus == "ANSWER" => Some(()),
        _ => None,
    })
    .await;
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}
