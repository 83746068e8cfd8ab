//! The AMI client against a real Asterisk, 22 and 16.

use std::process::Command as Process;
use std::time::Duration;

use offhook::asterisk::Advice;
use offhook::asterisk::ami::actions::*;
use offhook::asterisk::ami::events::EventKind;
use offhook::asterisk::ami::{Action, Ami, AmiConfig, AmiError, Events, Login, Signal, Tls, Why};
use offhook::asterisk::secret::Secret;

use crate::support::{AsteriskUnderTest, Wanted, asterisk};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(server: &AsteriskUnderTest) -> AmiConfig {
    AmiConfig::new(server.ami_addr.to_string(), server.user, Secret::new(server.password))
}

async fn signed_in(config: AmiConfig) -> Ami {
    let ami = Ami::new(config).unwrap();
    ami.ready(PATIENCE).await.unwrap();
    ami
}

/// The next event that `wanted` picks something from.
async fn event<T>(events: &mut Events, mut wanted: impl FnMut(EventKind) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Signal::Event(event) = events.next().await
                && let Some(found) = wanted(event.kind())
            {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
}

const EXTRA: &str =
    "[doors]\nexten => wait,1,Answer()\n same => n,Wait(30)\nexten => short,1,Answer()\n same => n,Wait(1)\n";

async fn with(version: &'static str, extra: &[(&'static str, &str)]) -> AsteriskUnderTest {
    let mut all = vec![("extensions.conf", EXTRA.to_owned())];
    all.extend(extra.iter().map(|(file, text)| (*file, (*text).to_owned())));
    AsteriskUnderTest::start_own(Wanted { version: Some(version), extra: all, ..Wanted::default() }).await
}

/// Everything that asks for no configuration, on both versions.
async fn speaks_with(version: &'static str) {
    let server = with(version, &[("queues.conf", "[sales]\nstrategy = ringall\n")]).await;
    let ami = signed_in(config(&server)).await;
    println!("Asterisk {version}: AMI {}", ami.state().unwrap());
    ami.run(&Ping::default()).await.unwrap();
    let lines = ami.run(&Console { command: "core show version".into() }).await.unwrap();
    assert!(lines[0].contains(&format!("Asterisk {version}")), "{lines:?}");

    // A thousand entries of the database, written and read while others do other things.
    for index in 0..1_000 {
        let put = DbPut { family: "doors".into(), key: format!("k{index:04}"), value: format!("v{index}") };
        ami.run(&put).await.unwrap();
    }
    let tree = DbGetTree { family: Some("doors".into()), key: None };
    let (ping, channels) = (Ping::default(), CoreShowChannels::default());
    let (entries, pong, channels) = tokio::join!(ami.run(&tree), ami.run(&ping), ami.run(&channels));
    let entries = entries.unwrap();
    assert_eq!(entries.len(), 1_000);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(
            (entry.key.as_str(), entry.value.as_str()),
            (&*format!("/doors/k{index:04}"), &*format!("v{index}"))
        );
    }
    pong.unwrap();
    assert_eq!(channels.unwrap(), []);
    let one = DbGet { family: "doors".into(), key: "k0007".into() };
    assert_eq!(ami.run(&one).await.unwrap(), "v7");
    ami.run(&DbDelTree { family: "doors".into(), key: None }).await.unwrap();
    let gone = ami.run(&one).await.unwrap_err();
    assert!(gone.is_gone() && gone.advice() == Advice::Ignore, "{gone}");

    // Queues.
    let add = QueueAdd {
        queue: "sales".into(),
        interface: "PJSIP/alice".into(),
        member_name: Some("Alice".into()),
        penalty: Some(3),
        ..QueueAdd::default()
    };
    let mut members = ami.events(&["QueueMemberAdded", "QueueMemberPause"]);
    ami.run(&add).await.unwrap();
    let added = event(&mut members, |kind| match kind {
        EventKind::QueueMember(member) => Some(member),
        _ => None,
    });
    let added = added.await;
    assert_eq!((added.who(), added.what_rings(), added.penalty), ("Alice", "PJSIP/alice", 3));
    let pause = QueuePause { interface: "PJSIP/alice".into(), paused: true, ..QueuePause::default() };
    ami.run(&pause).await.unwrap();
    let status = ami.run(&QueueStatus::default()).await.unwrap();
    assert_eq!((status.queues[0].queue.as_str(), status.queues[0].strategy.as_str()), ("sales", "ringall"));
    assert!(status.members[0].paused && status.members[0].who() == "Alice");
    assert_eq!(ami.run(&QueueSummary::default()).await.unwrap()[0].queue, "sales");
    let remove = QueueRemove { queue: "sales".into(), interface: "PJSIP/alice".into() };
    ami.run(&remove).await.unwrap();
    assert!(ami.run(&remove).await.is_err());

    // Dialplan, variables, endpoints, fax, devices.
    let line = DialplanExtensionAdd {
        context: "doors-new".into(),
        extension: "1".into(),
        priority: "1".into(),
        application: "NoOp".into(),
        data: Some("a,b".into()),
        ..DialplanExtensionAdd::default()
    };
    ami.run(&line).await.unwrap();
    assert!(server.cli("dialplan show doors-new").await.contains("NoOp(a,b)"));
    let line = DialplanExtensionRemove {
        context: "doors-new".into(),
        extension: "1".into(),
        ..DialplanExtensionRemove::default()
    };
    ami.run(&line).await.unwrap();
    let variable = Setvar { variable: "DOORS".into(), value: "a: b, c".into(), ..Setvar::default() };
    ami.run(&variable).await.unwrap();
    let variable = Getvar { variable: "DOORS".into(), ..Getvar::default() };
    assert_eq!(ami.run(&variable).await.unwrap(), "a: b, c");
    let endpoints = ami.run(&PjsipShowEndpoints::default()).await.unwrap();
    assert!(endpoints.iter().any(|endpoint| endpoint.name == "alice"));
    assert_eq!(ami.run(&FaxStatistics::default()).await.unwrap().failed, 0);
    assert_eq!(ami.run(&FaxSessions::default()).await.unwrap(), []);
    ami.run(&DeviceStateList::default()).await.unwrap();
    let notify = PjsipNotify {
        uri: Some("sip:nobody@127.0.0.1:9".into()),
        variables: vec![("Event".into(), "check-sync".into())],
        ..PjsipNotify::default()
    };
    ami.run(&notify).await.unwrap();
    ami.run(&PjsipQualify { endpoint: "alice".into() }).await.unwrap();
    ami.run(&Reload { module: Some("app_queue.so".into()) }).await.unwrap();

    // Any other action, by name, and one that does not exist.
    assert!(ami.send(&Action::new("CoreStatus")).await.unwrap().response.get("CoreCurrentCalls").is_some());
    let nonsense = ami.send(&Action::new("Nonsense")).await.unwrap_err();
    assert!(matches!(nonsense, AmiError::Unsupported { .. }), "{nonsense}");
    calls(&ami).await;
}

/// Calls: made, seen, redirected, hung up; a list of many of them.
async fn calls(ami: &Ami) {
    let mut events = ami.events(&["Newchannel", "Hangup"]);
    let call = |extension: &str| Originate {
        channel: "Local/wait@doors".into(),
        context: Some("doors".into()),
        extension: Some(extension.into()),
        priority: Some("1".into()),
        variables: vec![("A".into(), "x=y".into())],
        ..Originate::default()
    };
    let (one, ping) = (call("wait"), Ping::default());
    let (answered, pong) = tokio::join!(ami.run(&one), ami.run(&ping));
    let answered = answered.unwrap();
    assert!(answered.is_answered(), "reason {}", answered.reason);
    pong.unwrap();
    let variable = Getvar { channel: Some(answered.channel.clone()), variable: "A".into() };
    assert_eq!(ami.run(&variable).await.unwrap(), "x=y");
    let redirect = Redirect {
        channel: answered.channel.clone(),
        context: "doors".into(),
        extension: "short".into(),
        priority: "1".into(),
        ..Redirect::default()
    };
    ami.run(&redirect).await.unwrap();
    let status = Status { channel: Some(answered.channel.clone()), ..Status::default() };
    assert_eq!(ami.run(&status).await.unwrap()[0].uniqueid, answered.uniqueid);
    ami.run(&Hangup { channel: answered.channel.clone(), cause: Some(16) }).await.unwrap();
    let hung_up = event(&mut events, |kind| match kind {
        EventKind::Hangup(hangup) if hangup.channel == answered.channel => Some(hangup),
        _ => None,
    });
    assert!(hung_up.await.is_normal());
    let nobody = ami.run(&Hangup { channel: "PJSIP/nobody".into(), cause: None }).await.unwrap_err();
    assert!(nobody.is_gone(), "{nobody}");
    let failed = Originate { channel: "Local/nothing@doors".into(), ..call("wait") };
    assert!(!ami.run(&failed).await.unwrap().is_answered());

    for _ in 0..20 {
        let action = call("wait");
        assert!(ami.run(&action).await.unwrap().is_answered());
    }
    let (list, status, ping) = (CoreShowChannels::default(), Status::default(), Ping::default());
    let (list, status, pong) = tokio::join!(ami.run(&list), ami.run(&status), ami.run(&ping));
    let (list, status) = (list.unwrap(), status.unwrap());
    pong.unwrap();
    assert!(
        list.len() >= 40 && list.iter().all(|channel| channel.channel.starts_with("Local/")),
        "{}",
        list.len()
    );
    assert_eq!(list.len(), status.len());
    ami.run(&Hangup { channel: "/^Local/.*$/".into(), cause: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_lists_and_events_on_22() {
    speaks_with("22").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_lists_and_events_on_16() {
    speaks_with("16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_sign_in_filters_and_a_wrong_secret() {
    let server = asterisk().await;
    let mut plain = config(server);
    plain.login = Login::Plain;
    plain.filters = vec!["Event: UserEvent".into()];
    let ami = signed_in(plain).await;
    let other = signed_in(config(server)).await;
    let mut events = ami.events(&[]);
    let said = UserEvent { name: "Doors".into(), fields: vec!["one".into()] };
    let variable = Setvar { variable: "DOORS_FILTER".into(), value: "1".into(), ..Setvar::default() };
    other.run(&variable).await.unwrap();
    other.run(&said).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    let Signal::Event(first) = first else { panic!("{first:?}") };
    assert_eq!(
        (first.name(), first.message.get("UserEvent"), first.message.get("Field")),
        ("UserEvent", Some("Doors"), Some("one"))
    );

    let mut wrong = config(server);
    wrong.secret = Secret::new("hunter2");
    let error = Ami::new(wrong).unwrap().ready(PATIENCE).await.unwrap_err();
    assert!(matches!(error, AmiError::Disconnected { why: Why::Unauthorized, .. }), "{error}");
    let mut elsewhere = config(server);
    elsewhere.address = server.sip_addr.to_string();
    let error = Ami::new(elsewhere).unwrap().ready(Duration::from_millis(500)).await.unwrap_err();
    assert!(error.to_string().contains("enabled = yes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_asterisk_is_told_and_survived() {
    let wanted = Wanted { keeps_its_ports: true, ..Wanted::default() };
    let server = AsteriskUnderTest::start_own(wanted).await;
    let ami = signed_in(config(&server)).await;
    let mut events = ami.events(&["Shutdown", "FullyBooted"]);
    server.stop().await;
    let mut shutdown = false;
    let why = loop {
        match tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
            Signal::Event(event) => shutdown |= matches!(event.kind(), EventKind::Shutdown(_)),
            Signal::Disconnected { why } => break why,
            _ => {}
        }
    };
    assert!(shutdown, "the end was announced");
    assert!(matches!(why, Why::Closed | Why::Broken(_)), "{why}");
    assert!(matches!(ami.run(&Ping::default()).await, Err(AmiError::Disconnected { .. })));
    server.start_again().await;
    loop {
        match tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
            Signal::Connected { first } => {
                assert!(!first);
                break;
            }
            signal => assert!(matches!(signal, Signal::Disconnected { .. }), "{signal:?}"),
        }
    }
    ami.run(&Ping::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_certificate_that_the_server_signed_itself() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ami.pem");
    let made = Process::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pbx.test"])
        .args(["-addext", "subjectAltName=DNS:pbx.test", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "-", "-out", "-"])
        .output()
        .expect("openssl makes a certificate");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(&pem, &made.stdout).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // The instance sees its own folder alone: the certificate goes there by way of the configuration's folder.
    let manager =
        format!("[general](+)\ntlsenable = yes\ntlsbindaddr = {address}\ntlscertfile = {{dir}}/ami.pem\n");
    let server = AsteriskUnderTest::start_own(Wanted::default()).await;
    std::fs::copy(&pem, server.dir.join("ami.pem")).unwrap();
    let manager = manager.replace("{dir}", &server.dir.display().to_string());
    let file = server.dir.join("etc/manager.conf");
    let text = std::fs::read_to_string(&file).unwrap() + &manager;
    std::fs::write(&file, text).unwrap();
    server.cli("manager reload").await;

    let mut tls = config(&server);
    tls.address = address.to_string();
    tls.tls = Some(Tls { ca_file: Some(pem), name: Some("pbx.test".into()) });
    let ami = signed_in(tls.clone()).await;
    ami.run(&Ping::default()).await.unwrap();
    // Another name than the certificate's, and a server that nobody vouches for.
    for untrusted in [
        Tls { name: Some("other.test".into()), ..tls.tls.clone().unwrap() },
        Tls { ca_file: None, ..tls.tls.clone().unwrap() },
    ] {
        let mut wrong = tls.clone();
        wrong.tls = Some(untrusted);
        let error = Ami::new(wrong).unwrap().ready(PATIENCE).await.unwrap_err();
        assert!(matches!(error, AmiError::Disconnected { why: Why::Tls(_), .. }), "{error}");
    }
}
