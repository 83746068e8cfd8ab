//! Channels: what can be done with the leg of a call, and what the far end notices of it.

use std::collections::BTreeMap;
use std::time::Duration;

use offhook::asterisk::ari::model::{ChannelState, EventKind};
use offhook::asterisk::ari::ops::{
    Continue, CreateBridge, Direction, Dtmf, ExternalMedia, HangupReason, Snoop,
};
use offhook::asterisk::ari::{Ari, BridgeId, ChannelId, EventStream};

use super::phones::{Phone, header};
use super::{
    Ears, call_from_echo, connected, has, server, wait_for, wait_for_start, wait_for_type, with_echo,
};
use crate::support::asterisk::eventually;

async fn hang_up(ari: &Ari, leg: &ChannelId) {
    ari.channels().hangup(leg, HangupReason::Normal).await.unwrap();
}

/// A telephone that has called `app`, and its channel there.
async fn phoned(ari: &Ari, app: &str) -> (Phone, EventStream, ChannelId) {
    let mut events = ari.events(app);
    connected(&mut events).await;
    let mut phone = Phone::new(server().await.sip_addr).await;
    phone.call(app).await;
    let leg = wait_for(&mut events, |event| match &event.kind {
        EventKind::StasisStart { channel, .. } => Some(channel.id.clone()),
        _ => None,
    })
    .await;
    (phone, events, leg)
}

#[tokio::test]
async fn a_call_is_made_with_the_id_in_the_path_and_listed() {
    let ari = server().await.ari();
    let mut events = ari.events("it-path");
    connected(&mut events).await;
    let leg = ChannelId::from("it-path-leg");
    let mut wanted = call_from_echo("it-path", &leg);
    wanted.channel_id = None;
    assert_eq!(ari.channels().originate_with_id(&leg, &wanted).await.unwrap().id, leg);
    wait_for_start(&mut events, &leg).await;
    assert!(ari.channels().list().await.unwrap().iter().any(|channel| channel.id == leg));
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn a_channel_goes_to_another_application_and_into_the_dialplan() {
    let ari = server().await.ari();
    let (mut here, leg) = with_echo(&ari, "it-move").await;
    let mut there = ari.events("it-move-there");
    connected(&mut there).await;
    ari.channels().move_to(&leg, "it-move-there", Some("x,y")).await.unwrap();
    let args = wait_for(&mut there, |event| match &event.kind {
        EventKind::StasisStart { channel, args, .. } if channel.id == leg => Some(args.clone()),
        _ => None,
    })
    .await;
    assert_eq!(args, ["x", "y"]);
    wait_for_type(&mut here, "StasisEnd").await;
    let after = Continue {
        context: Some("it-after".into()),
        extension: Some("s".into()),
        priority: Some(1),
        ..Continue::default()
    };
    ari.channels().continue_in_dialplan(&leg, &after).await.unwrap();
    wait_for_type(&mut there, "StasisEnd").await;
    eventually(Duration::from_secs(20), "it is in the dialplan", async || {
        let dialplan = ari.channels().get(&leg).await.unwrap().dialplan;
        (dialplan.context == "it-after" && dialplan.app_name == "Wait").then_some(())
    })
    .await;
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn variables_of_a_channel_are_set_and_read() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-variables").await;
    ari.channels().set_var(&leg, "ONE", "1").await.unwrap();
    wait_for(&mut events, |event| match &event.kind {
        EventKind::ChannelVarset { variable, value, .. } if variable == "ONE" && value == "1" => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(ari.channels().var(&leg, "ONE").await.unwrap().value, "1");
    if has(&ari, (22, 10), "several variables at once").await {
        let more =
            BTreeMap::from([("TWO".to_owned(), "2".to_owned()), ("THREE".to_owned(), "drei".to_owned())]);
        ari.channels().set_vars(&leg, &more).await.unwrap();
        assert_eq!(ari.channels().vars(&leg, &["TWO", "THREE"]).await.unwrap().variables, more);
        // One that is to be reported is shown with the channel from then on.
        ari.channels().set_var_as(&leg, "SHOWN", "yes", Some(true)).await.unwrap();
        eventually(Duration::from_secs(20), "the variable is shown", async || {
            let shown = ari.channels().get(&leg).await.unwrap().channelvars;
            (shown.get("SHOWN").map(String::as_str) == Some("yes")).then_some(())
        })
        .await;
    }
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn keys_are_sent_and_come_back_from_the_echo() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-keys").await;
    let keys = Dtmf { dtmf: "4*".into(), duration: Some(120), between: Some(60), ..Dtmf::default() };
    ari.channels().dtmf(&leg, &keys).await.unwrap();
    for wanted in ["4", "*"] {
        let duration = wait_for(&mut events, |event| match &event.kind {
            EventKind::ChannelDtmfReceived { digit, duration_ms, channel }
                if digit == wanted && channel.id == leg =>
            {
                Some(*duration_ms)
            }
            _ => None,
        })
        .await;
        // 120 ms as they were sent; the echo's way there and back counts in packets.
        assert!(duration >= 60, "{duration}");
    }
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn who_is_muted_is_not_heard() {
    let ari = server().await.ari();
    let app = "it-mute";
    let (mut events, leg) = with_echo(&ari, app).await;
    let (ears, media) = (Ears::open(), ChannelId::from("it-mute-media"));
    let wanted = ExternalMedia::rtp(media.clone(), app, ears.address(), "ulaw");
    let peer = ari.channels().external_media(&wanted).await.unwrap().rtp_address().unwrap();
    wait_for_start(&mut events, &media).await;
    let bridge = BridgeId::from("it-mute-bridge");
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().add_channel(&bridge, &leg).await.unwrap();
    ari.bridges().add_channel(&bridge, &media).await.unwrap();
    assert!(ears.echo(peer).await > 20, "the echo is heard");
    ari.channels().mute(&leg, Direction::In).await.unwrap();
    assert!(ears.echo(peer).await < 5, "the echo is muted");
    ari.channels().unmute(&leg, Direction::In).await.unwrap();
    assert!(ears.echo(peer).await > 20, "the echo is heard again");
    ari.bridges().destroy(&bridge).await.unwrap();
    hang_up(&ari, &media).await;
    hang_up(&ari, &leg).await;
}

#[tokio::test]
async fn two_who_listen_in_are_channels_of_their_own() {
    let ari = server().await.ari();
    let (mut events, leg) = with_echo(&ari, "it-snoop").await;
    let listening = Snoop { spy: Some(Direction::Both), app: "it-snoop".into(), ..Snoop::default() };
    let ours = ChannelId::from("it-snoop-ours");
    assert_eq!(ari.channels().snoop(&leg, &ours, &listening).await.unwrap().id, ours);
    wait_for_start(&mut events, &ours).await;
    let unnamed = ari.channels().snoop_unnamed(&leg, &listening).await.unwrap();
    assert!(unnamed.name.starts_with("Snoop/"), "{unnamed:?}");
    wait_for_start(&mut events, &unnamed.id).await;
    for channel in [&ours, &unnamed.id, &leg] {
        hang_up(&ari, channel).await;
    }
}

#[tokio::test]
async fn a_caller_hears_ringing_early_audio_the_answer_music_and_silence() {
    let ari = server().await.ari();
    let (mut phone, _events, leg) = phoned(&ari, "it-caller").await;
    phone.expect("SIP/2.0 100").await;
    ari.channels().ring(&leg).await.unwrap();
    phone.expect("SIP/2.0 180").await;
    if has(&ari, (22, 6), "early audio").await {
        ari.channels().progress(&leg).await.unwrap();
        phone.expect("SIP/2.0 183").await;
    }
    ari.channels().answer(&leg).await.unwrap();
    phone.expect("SIP/2.0 200").await;
    assert_eq!(ari.channels().get(&leg).await.unwrap().state, ChannelState::Up);

    // Behind the answer ringing is a tone.
    ari.channels().ring_stop(&leg).await.unwrap();
    phone.ears.hear_nothing("an answered call").await;
    ari.channels().ring(&leg).await.unwrap();
    phone.ears.hear("ringing").await;
    ari.channels().ring_stop(&leg).await.unwrap();
    phone.ears.hear_nothing("ringing that was stopped").await;
    ari.channels().start_silence(&leg).await.unwrap();
    phone.ears.hear("silence").await;
    ari.channels().stop_silence(&leg).await.unwrap();
    phone.ears.hear_nothing("silence that was stopped").await;
    ari.channels().start_moh(&leg, Some("default")).await.unwrap();
    phone.ears.hear("music").await;
    ari.channels().stop_moh(&leg).await.unwrap();
    phone.ears.hear_nothing("music that was stopped").await;
    ari.channels().hold(&leg).await.unwrap();
    phone.ears.hear("music on hold").await;
    ari.channels().unhold(&leg).await.unwrap();
    phone.ears.hear_nothing("hold that is over").await;
    let counted = ari.channels().rtp_statistics(&leg).await.unwrap();
    assert!(counted.txcount > 0, "{counted:?}");
    hang_up(&ari, &leg).await;
    phone.expect("BYE").await;
}

#[tokio::test]
async fn a_caller_is_sent_elsewhere_before_the_answer() {
    let ari = server().await.ari();
    let (mut phone, mut events, leg) = phoned(&ari, "it-redirect").await;
    ari.channels().redirect(&leg, "PJSIP/sip:4711@127.0.0.1").await.unwrap();
    let answer = phone.expect("SIP/2.0 302").await;
    assert!(header(&answer, "Contact").is_some_and(|to| to.contains("4711@127.0.0.1")), "{answer}");
    wait_for_type(&mut events, "StasisEnd").await;
}

#[tokio::test]
async fn a_transfer_that_a_phone_asks_for_is_carried_out_by_us() {
    let ari = server().await.ari();
    if !has(&ari, (22, 4), "transfers by the application").await {
        return;
    }
    let (mut phone, mut events, leg) = phoned(&ari, "it-transfer").await;
    ari.channels().set_var(&leg, "PJSIP_TRANSFER_HANDLING()", "ari-only").await.unwrap();
    ari.channels().answer(&leg).await.unwrap();
    phone.expect("SIP/2.0 200").await;
    phone.request("REFER", "Refer-To: <sip:4711@127.0.0.1>\r\nReferred-By: <sip:it@127.0.0.1>\r\n", "").await;
    phone.expect("SIP/2.0 202").await;
    let event = wait_for_type(&mut events, "ChannelTransfer").await;
    let EventKind::ChannelTransfer { refer_to, .. } = &event.kind else { unreachable!() };
    assert_eq!(refer_to.requested_destination.destination, "4711");
    assert_eq!(event.channel_id().as_ref(), Some(&leg));
    ari.channels().transfer_progress(&leg, "channel_answered").await.unwrap();
    loop {
        let told = phone.expect("NOTIFY").await;
        if told.contains("SIP/2.0 200") {
            break;
        }
    }
    hang_up(&ari, &leg).await;
}
