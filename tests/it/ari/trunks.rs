//! Trunks between two real servers.

use std::time::Duration;

use offhook::asterisk::ami::{Ami, AmiConfig};
use offhook::asterisk::ari::model::{ChannelState, EventKind};
use offhook::asterisk::ari::ops::{HangupReason, Originate};
use offhook::asterisk::ari::{AriError, ChannelId};
use offhook::asterisk::secret::Secret;
use offhook::asterisk::trunk::{self, Account, Name, Trunk, TrunkError};

use super::{connected, has, server, wait_for, wait_for_start};
use crate::support::asterisk::eventually;
use crate::support::{AsteriskUnderTest, Wanted};

/// What a call from the far end comes to: the user that registered.
const INWARD: &str = "
[offhook]
exten => alice,1,Stasis(it-trunk,${CHANNEL(accountcode)})
 same => n,Hangup()
";

#[tokio::test]
async fn calls_go_and_come_over_a_trunk_that_was_made_while_asterisk_runs() {
    let far = server().await;
    let extra = vec![("extensions.conf", INWARD.to_owned())];
    let near = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
    let ari = near.ari();
    if !has(&ari, (22, 0), "trunks (16 shows each object twice)").await {
        return;
    }
    assert!(trunk::list(&ari).await.unwrap().is_empty(), "alice is no trunk");
    let name: Name = "it-carrier".parse().unwrap();
    let account =
        Account { user: "alice".parse().unwrap(), password: Secret::new(far.password), register: true };
    let carrier = Trunk {
        name: name.clone(),
        host: far.sip_addr.to_string().parse().unwrap(),
        account: Some(account),
        from: Vec::new(),
        context: "offhook".parse().unwrap(),
        codecs: vec!["ulaw".parse().unwrap()],
    };
    carrier.add(&ari).await.unwrap();
    carrier.add(&ari).await.unwrap();
    let shown = eventually(Duration::from_secs(60), "the far end answers", async || {
        let trunks = trunk::list(&ari).await.unwrap();
        assert_eq!(trunks.len(), 1, "{trunks:?}");
        (trunks[0].state == "online").then(|| trunks[0].clone())
    })
    .await;
    println!("{shown:?}");
    assert_eq!((shown.name.as_str(), shown.registers), ("it-carrier", true));
    eventually(Duration::from_secs(20), "it is registered there", async || {
        let alice = far.ari().endpoints().get("PJSIP", "alice").await.unwrap();
        (alice.state == "online").then_some(())
    })
    .await;
    assert!(near.cli("pjsip show registrations").await.contains("Registered"));

    let ami =
        Ami::new(AmiConfig::new(near.ami_addr.to_string(), near.user, Secret::new(near.password))).unwrap();
    ami.ready(Duration::from_secs(20)).await.unwrap();
    let registered = trunk::registrations(&ami).await.unwrap();
    assert_eq!(registered.get("it-carrier").map(String::as_str), Some("Registered"), "{registered:?}");

    // There: the far end's echo answers.
    let mut events = ari.events("it-trunk");
    connected(&mut events).await;
    let leg = ChannelId::from("it-trunk-leg");
    let call = Originate {
        endpoint: name.dial(&"600".parse().unwrap()),
        app: Some("it-trunk".into()),
        channel_id: Some(leg.clone()),
        ..Originate::default()
    };
    ari.channels().originate(&call).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    assert_eq!(ari.channels().get(&leg).await.unwrap().state, ChannelState::Up);
    assert_eq!(trunk::list(&ari).await.unwrap()[0].channels, 1);
    eventually(Duration::from_secs(20), "the echo of the far end has it", async || {
        let there = far.ari().channels().list().await.unwrap();
        let echoed = |name: &str, app: &str| app == "Echo" && name.starts_with("PJSIP/");
        there.iter().any(|channel| echoed(&channel.name, &channel.dialplan.app_name)).then_some(())
    })
    .await;
    ari.channels().hangup(&leg, HangupReason::Normal).await.unwrap();

    // Back: it rings whoever registered as alice.
    let back = Originate {
        endpoint: "PJSIP/alice".into(),
        context: Some("offhook".into()),
        extension: Some("600".into()),
        ..Originate::default()
    };
    far.ari().channels().originate(&back).await.unwrap();
    let (caller, args) = wait_for(&mut events, |event| match &event.kind {
        EventKind::StasisStart { channel, args, .. } => Some((channel.id.clone(), args.clone())),
        _ => None,
    })
    .await;
    assert_eq!(args, ["it-carrier"], "it is known to come over the trunk");
    ari.channels().hangup(&caller, HangupReason::Normal).await.unwrap();

    trunk::remove(&ari, &name).await.unwrap();
    assert!(trunk::list(&ari).await.unwrap().is_empty());
    assert!(matches!(trunk::remove(&ari, &name).await, Err(TrunkError::Unknown(_))));
    let alice = Trunk { name: "alice".parse().unwrap(), ..carrier };
    assert!(matches!(alice.add(&ari).await, Err(TrunkError::Taken(_))), "it is somebody else's");
}

/// What `TrunkError::NotWritable` is made of: what the real server says of a kind of object that its sorcery.conf does not name.
#[tokio::test]
async fn an_asterisk_that_cannot_keep_an_object_says_so_in_these_words() {
    let ari = server().await.ari();
    let fields = serde_json::json!({"fields": [{"attribute": "domain", "value": "x"}]});
    let error =
        ari.asterisk().update_object("res_pjsip", "domain_alias", "it-bare", &fields).await.unwrap_err();
    assert!(
        matches!(&error, AriError::Forbidden { message, .. } if message.starts_with("Cannot create sorcery objects")),
        "{error:?}"
    );
}
