//! The doctor at the bed of a real Asterisk.

use std::time::Duration;

use offhook::asterisk::PROBE;
use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::{AriConfig, Signal};
use offhook::asterisk::secret::Secret;
use offhook::cli::doctor::{Check, Examination, Outcome, Step, examine};
use offhook::engine::Config;
use offhook::engine::config::Choice;
use offhook::media::TransportKind;

use crate::support::{AsteriskUnderTest, Wanted, asterisk};

/// What the engine beside `asterisk` would be set to.
fn settings(asterisk: &AsteriskUnderTest) -> Examination {
    Examination {
        ari: asterisk.ari_config(),
        app: "bot".into(),
        extension: "100".into(),
        context: "offhook".into(),
        bind: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        config: Config::default(),
    }
}

async fn diagnose(what: &Examination) -> (bool, Vec<Check>) {
    let mut checks = Vec::new();
    let healthy = examine(what, |check| {
        print!("{}", check.render(false));
        checks.push(check.clone());
    })
    .await;
    assert_eq!(healthy, !checks.iter().any(Check::failed));
    (healthy, checks)
}

/// The one failure, as `step: text; place: line; …`.
fn failure(checks: &[Check]) -> (Step, String) {
    let failed: Vec<_> = checks.iter().filter(|check| check.failed()).collect();
    assert_eq!(failed.len(), 1, "{checks:#?}");
    (failed[0].step, failed[0].render(false))
}

/// Whatever the doctor made is gone.
async fn assert_clean(asterisk: &AsteriskUnderTest) {
    let ari = asterisk.ari();
    let channels = ari.channels().list().await.unwrap();
    assert!(!channels.iter().any(|c| c.id.as_str().starts_with(PROBE)), "{channels:#?}");
    let bridges = ari.bridges().list().await.unwrap();
    assert!(!bridges.iter().any(|b| b.id.as_str().starts_with(PROBE)), "{bridges:#?}");
}

#[tokio::test]
async fn a_healthy_asterisk_passes_without_an_engine_and_with_one_that_keeps_its_application() {
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    let what = settings(&asterisk);
    let (healthy, checks) = diagnose(&what).await;
    assert!(healthy);
    assert_eq!(checks.len(), 13);
    assert!(checks.iter().all(|check| matches!(check.outcome, Outcome::Fine(_))), "{checks:#?}");
    let version = checks.iter().find(|check| check.step == Step::Version).unwrap();
    assert!(
        version.render(false).contains("Asterisk 22.") || version.render(false).contains("Asterisk 16."),
        "{version:?}"
    );
    assert_clean(&asterisk).await;

    let mut engine = asterisk.ari().events("bot");
    assert_eq!(engine.next().await, Signal::Connected { first: true });
    let (healthy, checks) = diagnose(&what).await;
    assert!(healthy);
    let application = checks.iter().find(|check| check.step == Step::Application).unwrap();
    assert!(application.render(false).contains("an engine has registered 'bot'"));
    assert_clean(&asterisk).await;
    let mut probes = 0;
    while let Ok(signal) = tokio::time::timeout(Duration::from_millis(300), engine.next()).await {
        let Signal::Event(event) = signal else { panic!("the engine keeps its application: {signal:?}") };
        assert_ne!(event.kind, EventKind::ApplicationReplaced {});
        if let EventKind::StasisStart { channel, .. } = event.kind {
            assert!(channel.id.as_str().starts_with(PROBE), "the engine can tell: {}", channel.id);
            probes += 1;
        }
    }
    assert!(probes <= 1);
}

#[tokio::test]
async fn the_other_transports_of_a_server_that_has_them() {
    let asterisk = AsteriskUnderTest::start_own(Wanted { version: Some("22"), ..Wanted::default() }).await;
    let mut what = settings(&asterisk);
    for kind in [TransportKind::Audiosocket, TransportKind::Websocket] {
        what.config.media.transport = Choice::Named(kind);
        what.config.media.audiosocket_port = 0;
        let (healthy, checks) = diagnose(&what).await;
        assert!(healthy);
        let text = |step| checks.iter().find(|check| check.step == step).unwrap().render(false);
        assert!(text(Step::Transports).contains("it can do rtp, audiosocket, websocket, websocket-server"));
        assert!(text(Step::AudioFrom).contains(&format!("{kind}: audio arrives")));
        assert!(text(Step::AudioTo).contains("frames came back"));
    }
    // The section of websocket_client.conf leads elsewhere: nobody connects.
    what.config.media.transport = Choice::Named(TransportKind::WebsocketServer);
    what.config.media.websocket_port = 0;
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::AudioFrom);
    assert!(text.contains("websocket_client.conf [offhook]: uri = "), "{text}");

    asterisk.cli("module unload chan_websocket.so").await;
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::Transports);
    assert!(text.contains("chan_websocket.so") && text.contains("transport = \"auto\""), "{text}");
    assert_clean(&asterisk).await;
}

#[tokio::test]
async fn nobody_at_the_address() {
    let mut what = settings(asterisk().await);
    what.ari.url = "http://127.0.0.1:9".into();
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::Reachable);
    assert!(text.contains("http.conf [general]: bindport = 9"), "{text}");
    assert_eq!(checks.len(), 13, "everything else is skipped, and said so");
}

#[tokio::test]
async fn a_wrong_password() {
    let asterisk = asterisk().await;
    let mut what = settings(asterisk);
    what.ari = AriConfig::new(asterisk.ari_url.clone(), "offhook", Secret::new("not-this-one"));
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::Password);
    assert!(text.contains("ari.conf [offhook]: password = "), "{text}");
    assert!(!format!("{checks:?}").contains("not-this-one"));
}

#[tokio::test]
async fn a_user_who_may_only_look() {
    let viewer = "[viewer]\ntype = user\npassword = viewer\nread_only = yes\n".to_owned();
    let wanted = Wanted { extra: vec![("ari.conf", viewer)], ..Wanted::default() };
    let asterisk = AsteriskUnderTest::start_own(wanted).await;
    let mut what = settings(&asterisk);
    what.ari = AriConfig::new(asterisk.ari_url.clone(), "viewer", Secret::new("viewer"));
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::Write);
    assert!(text.contains("ari.conf [viewer]: read_only = no"), "{text}");
}

#[tokio::test]
async fn ari_switched_off_and_a_module_that_is_not_loaded() {
    let asterisk = AsteriskUnderTest::start_own(Wanted::default()).await;
    let what = settings(&asterisk);
    asterisk.cli("module unload codec_ulaw.so").await;
    let (_, checks) = diagnose(&what).await;
    let modules = checks.iter().find(|check| check.step == Step::Modules).unwrap();
    assert!(modules.render(false).contains("modules.conf [modules]: load = codec_ulaw.so"), "{modules:?}");
    asterisk.cli("module load codec_ulaw.so").await;

    let conf = asterisk.dir.join("etc/ari.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("enabled = yes", "enabled = no")).unwrap();
    asterisk.cli("module reload res_ari.so").await;
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::Ari);
    assert!(text.contains("ari.conf [general]: enabled = yes"), "{text}");
}

#[tokio::test]
async fn an_application_that_no_extension_leads_to() {
    let asterisk = &AsteriskUnderTest::start_own(Wanted::default()).await;
    let mut what = settings(asterisk);
    what.app = "concierge".into();
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::Dialplan);
    assert!(text.contains("extensions.conf [offhook]: exten => 100,1,Stasis(concierge)"), "{text}");
    assert!(text.contains("app = \"bot\""), "it leads to another one: {text}");

    what.extension = "999".into();
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::Dialplan);
    assert!(text.contains("there is no extension 999 in the context offhook"), "{text}");

    what.extension = "600".into();
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::Dialplan);
    assert!(text.contains("runs Answer, Echo"), "{text}");
    assert_clean(asterisk).await;
}

#[tokio::test]
async fn rtp_that_does_not_arrive() {
    let asterisk = &AsteriskUnderTest::start_own(Wanted::default()).await;
    let mut what = settings(asterisk);
    // An address of this machine where nobody listens: as behind a firewall that drops.
    what.advertise = Some([127, 0, 0, 2].into());
    let (_, checks) = diagnose(&what).await;
    let (step, text) = failure(&checks);
    assert_eq!(step, Step::AudioFrom);
    assert!(text.contains("[media]: advertise = ") && text.contains("[media]: bind = "), "{text}");
    assert!(text.contains("firewall here"), "{text}");

    what.advertise = None;
    what.bind = ([0, 0, 0, 0], 0).into();
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::AudioFrom);
    assert!(text.contains("advertise = \"127.0.0.1\""), "{text}");

    what.bind = ([192, 0, 2, 1], 4000).into();
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::AudioFrom);
    assert!(text.contains("cannot listen on 192.0.2.1:4000"), "{text}");
    assert_clean(asterisk).await;
}

#[tokio::test]
async fn ami_is_tried_where_it_is_configured() {
    let asterisk = asterisk().await;
    let mut what = settings(asterisk);
    what.config.ami.address = Some(asterisk.ami_addr.to_string());
    what.config.ami.secret = Some(Secret::new("hunter2"));
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::Ami);
    assert!(text.contains("[ami]: secret = ") && text.contains("manager.conf"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    what.config.ami.secret = Some(Secret::new(asterisk.password));
    what.config.agi.over_ami = true;
    let (healthy, checks) = diagnose(&what).await;
    assert!(healthy);
    let ami = checks.iter().find(|check| check.step == Step::Ami).unwrap().render(false);
    assert!(ami.contains("is signed in") && ami.contains("may give AGI commands"), "{ami}");
}

#[tokio::test]
async fn the_ways_to_ari_that_the_configuration_takes_are_tried() {
    let asterisk = &AsteriskUnderTest::start_own(Wanted::default()).await;
    let version = asterisk.ari().asterisk().info(&["system"]).await.unwrap().version();
    if version < Some((22, 5)) {
        return println!("left out on {version:?}");
    }
    let mut what = settings(asterisk);
    let mut section = |text: &str| {
        what.config.asterisk = toml::from_str(text).expect("a section");
        what.config.asterisk.url.clone_from(&asterisk.ari_url);
        what.config.asterisk.password = Some(Secret::new(asterisk.password));
        what.clone()
    };
    let (healthy, checks) = diagnose(&section("requests = 'websocket'")).await;
    assert!(healthy);
    assert!(checks.iter().any(|check| check.step == Step::Requests && !check.failed()), "{checks:#?}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let what = section(&format!("events = 'listen'\nlisten = '{free}'\napp = 'it-doctor'"));
    let (step, text) = failure(&diagnose(&what).await.1);
    assert_eq!(step, Step::Outbound);
    assert!(
        text.contains("websocket_client.conf") && text.contains(&format!("uri = ws://{free}/ari")),
        "{text}"
    );

    let etc = asterisk.dir.join("etc");
    let client = format!(
        "[it-doctor]\ntype = websocket_client\nconnection_type = persistent\nuri = ws://{free}/ari\nprotocols = ari\n\
         username = offhook\npassword = offhook\nreconnect_interval = 200\n"
    );
    std::fs::write(etc.join("websocket_client.conf"), client).unwrap();
    let way = "\n[it-doctor]\ntype = outbound_websocket\nwebsocket_client_id = it-doctor\napps = it-doctor\nlocal_ari_user = offhook\n";
    let ari_conf = std::fs::read_to_string(etc.join("ari.conf")).unwrap() + way;
    std::fs::write(etc.join("ari.conf"), ari_conf).unwrap();
    asterisk.cli("module reload res_websocket_client.so").await;
    asterisk.cli("module reload res_ari.so").await;
    let (healthy, checks) = diagnose(&what).await;
    assert!(healthy);
    let outbound = checks.iter().find(|check| check.step == Step::Outbound).expect("it was tried");
    assert!(outbound.render(false).contains("Asterisk connects to"), "{checks:#?}");
    let doors = checks.iter().find(|check| check.step == Step::Doors).expect("there is one");
    assert!(doors.render(false).contains("this machine alone"), "{checks:#?}");
}
