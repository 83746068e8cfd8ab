//! ARI against a real Asterisk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::Duration;

use offhook::asterisk::Advice;
use offhook::asterisk::ari::model::{self, ChannelState, Event, EventKind};
use offhook::asterisk::ari::ops::{
    CreateBridge, CreateChannel, Direction, ExternalMedia, HangupReason, Originate, Play, PlaybackControl,
    Snoop, UserEvent,
};
use offhook::asterisk::ari::{
    Ari, AriConfig, AriError, BridgeId, ChannelId, EventStream, PlaybackId, Signal, Why,
};
use offhook::asterisk::secret::Secret;
use offhook::time::Moment;
use serde_json::Value;

use crate::support::asterisk::{eventually, processes_of};
use crate::support::{AsteriskUnderTest, Wanted, asterisk};

/// The next signal, which must come within five seconds.
async fn signal(events: &mut EventStream) -> Signal {
    tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("a signal within 5 s")
}

async fn connected(events: &mut EventStream) {
    assert_eq!(signal(events).await, Signal::Connected { first: true });
}

/// The next event that `wanted` makes something of.
async fn wait_for<T>(events: &mut EventStream, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        if let Signal::Event(event) = signal(events).await
            && let Some(found) = wanted(&event)
        {
            return found;
        }
    }
}

async fn wait_for_start(events: &mut EventStream, id: &ChannelId) {
    wait_for(events, |event| match &event.kind {
        EventKind::StasisStart { channel, .. } if channel.id == *id => Some(()),
        _ => None,
    })
    .await;
}

/// A call from the dialplan's echo (600) into `app`.
fn call_from_echo(app: &str, id: &ChannelId) -> Originate {
    Originate {
        endpoint: "Local/600@offhook/n".into(),
        app: Some(app.into()),
        app_args: Some("a,b".into()),
        // The same as the media channel's: nothing is recoded on the way.
        formats: Some("ulaw".into()),
        channel_id: Some(id.clone()),
        variables: BTreeMap::from([("GREETING".into(), "häl lo & more".into())]),
        ..Originate::default()
    }
}

#[tokio::test]
async fn asterisk_tells_its_version_and_modules() {
    let ari = asterisk().await.ari();
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    let info = ari.asterisk().info(&["system"]).await.unwrap();
    assert!(info.version().is_some_and(|(major, _)| (16..=30).contains(&major)), "{info:?}");
    assert!(info.build.os.is_empty(), "only what was asked for");
    let modules = ari.asterisk().modules().await.unwrap();
    assert!(modules.iter().any(|m| m.name == "res_stasis.so" && m.status == "Running"));
    assert_eq!(ari.asterisk().module("res_stasis.so").await.unwrap().name, "res_stasis.so");
    assert!(ari.endpoints().list().await.unwrap().iter().any(|e| e.resource == "alice"));
    assert_eq!(ari.endpoints().get("PJSIP", "alice").await.unwrap().technology, "PJSIP");
    assert!(!ari.sounds().list(Some("en"), None).await.unwrap().is_empty());
    ari.device_states().update("Stasis:it-lamp", "INUSE").await.unwrap();
    assert_eq!(ari.device_states().get("Stasis:it-lamp").await.unwrap().state, "INUSE");
    ari.device_states().delete("Stasis:it-lamp").await.unwrap();
    ari.asterisk().set_global_var("OFFHOOK_IT", "ü 1").await.unwrap();
    assert_eq!(ari.asterisk().global_var("OFFHOOK_IT").await.unwrap().value, "ü 1");
}

#[tokio::test]
async fn a_call_is_answered_bridged_with_its_media_and_hung_up() {
    let ari = asterisk().await.ari();
    let app = "it-call";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();

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
    let other = eventually(Duration::from_secs(2), "the variable is set", async || {
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
async fn a_prompt_is_played_held_and_stopped() {
    let ari = asterisk().await.ari();
    let app = "it-play";
    let mut events = ari.events(app);
    connected(&mut events).await;
    let (leg, playback) = (ChannelId::from("it-play-leg"), PlaybackId::from("it-play-1"));
    ari.channels().originate(&call_from_echo(app, &leg)).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    ari.channels().play(&leg, &playback, &Play::one("sound:tt-monkeys")).await.unwrap();
    let heard_by = wait_for(&mut events, |event| match &event.kind {
        EventKind::PlaybackStarted { playback: p } if p.id == playback => event.channel_id(),
        _ => None,
    })
    .await;
    assert_eq!(heard_by, leg);
    ari.playbacks().control(&playback, PlaybackControl::Pause).await.unwrap();
    ari.playbacks().control(&playback, PlaybackControl::Unpause).await.unwrap();
    assert_eq!(ari.playbacks().get(&playback).await.unwrap().id, playback);
    ari.playbacks().stop(&playback).await.unwrap();
    wait_for(&mut events, |event| matches!(event.kind, EventKind::PlaybackFinished { .. }).then_some(()))
        .await;
    for change in [true, false] {
        if change {
            ari.channels().mute(&leg, Direction::In).await.unwrap();
            ari.channels().hold(&leg).await.unwrap();
            ari.channels().ring(&leg).await.unwrap();
        } else {
            ari.channels().ring_stop(&leg).await.unwrap();
            ari.channels().unhold(&leg).await.unwrap();
            ari.channels().unmute(&leg, Direction::In).await.unwrap();
        }
    }
    let snoop = ChannelId::from("it-play-snoop");
    let listening = Snoop { spy: Some(Direction::Both), app: app.into(), ..Snoop::default() };
    ari.channels().snoop(&leg, &snoop, &listening).await.unwrap();
    wait_for_start(&mut events, &snoop).await;
    ari.channels().hangup(&snoop, HangupReason::Normal).await.unwrap();
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();
}

#[tokio::test]
async fn a_channel_is_made_first_and_dialled_later() {
    let ari = asterisk().await.ari();
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

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let asterisk = asterisk().await;
    let ari = asterisk.ari();
    let missing = ChannelId::from("it-no-such/channel?");
    let error = ari.channels().answer(&missing).await.unwrap_err();
    assert!(
        matches!(&error, AriError::NotFound { subject, .. } if subject == "it-no-such/channel?"),
        "{error:?}"
    );
    assert_eq!(error.advice(), Advice::HangUp);
    let error = ari.channels().originate(&Originate::default()).await.unwrap_err();
    assert!(matches!(error, AriError::Refused { status: 400, .. }), "{error:?}");

    let wrong = AriConfig::new(asterisk.ari_url.clone(), "offhook", Secret::new("wrong-password"));
    let stranger = Ari::new(wrong).unwrap();
    let error = stranger.asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::Unauthorized { .. }), "{error:?}");
    assert!(!format!("{error:?} {error} {stranger:?}").contains("wrong-password"));
    let mut events = stranger.events("it-stranger");
    assert_eq!(signal(&mut events).await, Signal::Disconnected { why: Why::Unauthorized });

    let elsewhere = format!("http://{}/not-here", asterisk.ari_addr);
    let lost = Ari::new(AriConfig::new(elsewhere, "offhook", Secret::new("offhook"))).unwrap();
    let error = lost.asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::NoAri { .. }), "{error:?}");
    let mut events = lost.events("it-lost");
    assert_eq!(signal(&mut events).await, Signal::Disconnected { why: Why::NoAri });

    let nobody = Ari::new(AriConfig::new("http://127.0.0.1:9", "offhook", Secret::new("offhook"))).unwrap();
    let error = nobody.asterisk().ping().await.unwrap_err();
    assert!(matches!(error, AriError::Unreachable { .. }) && error.advice() == Advice::Retry, "{error:?}");

    let mut config = asterisk.ari_config();
    config.largest_answer = 100;
    let error = Ari::new(config).unwrap().asterisk().modules().await.unwrap_err();
    assert!(matches!(error, AriError::TooLarge { limit: 100, .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_engine_takes_the_application_and_the_first_one_stays_away_until_told() {
    let ari = asterisk().await.ari();
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
    let asterisk = asterisk().await;
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
    eventually(Duration::from_secs(5), "ten events come", async || {
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

/// Asterisk's own description of its interface.
struct Description {
    /// `METHOD /path` and its parameters (those of the path left out).
    operations: BTreeMap<String, BTreeSet<String>>,
    /// Model and its fields.
    models: BTreeMap<String, BTreeSet<String>>,
}

async fn describe(asterisk: &AsteriskUnderTest) -> Description {
    let base = &asterisk.ari_url;
    offhook::asterisk::tls::install();
    let http = reqwest::Client::new();
    let page = async |path: &str| -> Value {
        let request = http.get(format!("{base}/api-docs/{path}")).basic_auth("offhook", Some("offhook"));
        request.send().await.unwrap().json().await.unwrap()
    };
    let mut description = Description { operations: BTreeMap::new(), models: BTreeMap::new() };
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for resource in listed(&page("resources.json").await["apis"]) {
        let path =
            resource["path"].as_str().unwrap().trim_start_matches("/api-docs/").replace("{format}", "json");
        let page = page(&path).await;
        for api in listed(&page["apis"]) {
            for operation in listed(&api["operations"]) {
                let name = format!(
                    "{} {}",
                    operation["httpMethod"].as_str().unwrap(),
                    api["path"].as_str().unwrap()
                );
                let parameters = listed(&operation["parameters"]);
                let sent = parameters.iter().filter(|p| p["paramType"] != "path");
                description
                    .operations
                    .insert(name, sent.map(|p| p["name"].as_str().unwrap().to_owned()).collect());
            }
        }
        for (name, model) in page["models"].as_object().into_iter().flatten() {
            let fields =
                model["properties"].as_object().into_iter().flatten().map(|(field, _)| field.clone());
            description.models.insert(name.clone(), fields.collect());
        }
    }
    description
}

/// What is known here.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    Ari::operations()
        .map(|operation| {
            let names = operation.parameters.iter().copied().flatten().map(|name| (*name).to_owned());
            (format!("{} {}", operation.method, operation.path), names.collect())
        })
        .collect()
}

#[tokio::test]
async fn every_operation_that_asterisk_describes_is_here_with_its_parameters() {
    let described = describe(asterisk().await).await.operations;
    let known = known();
    println!("{} operations described, {} known", described.len(), known.len());
    let mut wrong = Vec::new();
    for (name, parameters) in described {
        // The events socket is a stream, not a request.
        if name == "GET /events" {
            continue;
        }
        match known.get(&name) {
            None => wrong.push(format!("{name} is missing")),
            // What newer versions know may be more; less is a gap here.
            Some(ours) => {
                let missing: Vec<_> = parameters.difference(ours).filter(|p| !left_out(&name, p)).collect();
                if !missing.is_empty() {
                    wrong.push(format!("{name} lacks {missing:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Parameters that are known in another way: the reason's number goes with the reason, an id of ours with the operation that
/// has it in its path; whether setting a variable is reported is left to the server.
fn left_out(operation: &str, parameter: &str) -> bool {
    matches!(parameter, "reason_code" | "report_events")
        || matches!(
            (operation, parameter),
            ("POST /bridges", "bridgeId")
                | ("POST /bridges/{bridgeId}/play" | "POST /channels/{channelId}/play", "playbackId")
                | ("POST /channels/{channelId}/snoop", "snoopId")
        )
}

#[tokio::test]
async fn every_model_that_asterisk_describes_is_here_with_its_fields() {
    let described = describe(asterisk().await).await.models;
    let known: BTreeMap<&str, BTreeSet<&str>> =
        model::described().map(|(name, fields)| (name, fields.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    println!("{} models described, {} known", described.len(), known.len());
    for (name, fields) in described {
        let ours = match name.as_str() {
            // What all events have is `Event`; a request over the events socket is not made here; Dialed has no fields.
            "Message" | "Event" | "Dialed" | "RESTRequest" => continue,
            "CallerID" => "CallerId",
            "DialplanCEP" => "Dialplan",
            "RTPstat" => "RtpStatistics",
            "RESTHeader" => "RestHeader",
            "RESTQueryStringParameter" => "RestParameter",
            name => name,
        };
        let Some(ours) = known.get(ours) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        let field = |field: &&String| !ours.contains(if *field == "type" { "kind" } else { field.as_str() });
        let missing: Vec<_> = fields.iter().filter(field).collect();
        if !missing.is_empty() {
            wrong.push(format!("{name} lacks {missing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
