//! The server itself: version, modules, logs, variables, dynamic configuration, sounds, devices, mailboxes.

use std::time::Duration;

use offhook::asterisk::ari::AriError;
use serde_json::json;

use super::{connected, server, wait_for_type};
use crate::support::asterisk::eventually;

#[tokio::test]
async fn asterisk_tells_its_version_and_modules() {
    let ari = server().await.ari();
    assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
    let info = ari.asterisk().info(&["system"]).await.unwrap();
    assert!(info.version().is_some_and(|(major, _)| (16..=30).contains(&major)), "{info:?}");
    assert!(info.build.os.is_empty(), "only what was asked for");
    let modules = ari.asterisk().modules().await.unwrap();
    assert!(modules.iter().any(|m| m.name == "res_stasis.so" && m.status == "Running"));
    assert_eq!(ari.asterisk().module("res_stasis.so").await.unwrap().name, "res_stasis.so");
}

#[tokio::test]
async fn a_module_is_unloaded_and_loaded_and_reads_its_configuration_again() {
    let asterisk = server().await;
    let ari = asterisk.ari();
    let module = "app_morsecode.so";
    let runs = async || {
        let found = ari.asterisk().module(module).await;
        found.is_ok_and(|module| module.status == "Running")
    };
    assert!(runs().await);
    ari.asterisk().unload_module(module).await.unwrap();
    assert!(!runs().await, "it is unloaded");
    ari.asterisk().load_module(module).await.unwrap();
    assert!(runs().await, "it is loaded");

    let file = asterisk.dir.join("etc/features.conf");
    std::fs::write(&file, "[featuremap]\nblindxfer = #7\n").unwrap();
    ari.asterisk().reload_module("features").await.unwrap();
    let shown = asterisk.cli("features show").await;
    assert!(shown.contains("#7"), "{shown}");
}

#[tokio::test]
async fn a_log_is_started_begun_anew_and_stopped() {
    let asterisk = server().await;
    let ari = asterisk.ari();
    let logged =
        async || ari.asterisk().logs().await.unwrap().into_iter().any(|log| log.channel.contains("it-log"));
    ari.asterisk().add_log("it-log", "notice,warning,error").await.unwrap();
    assert!(logged().await);
    ari.asterisk().delete_log("it-log").await.unwrap();
    assert!(!logged().await);
    // Asterisk 22 forgets a log of this kind when it begins a new file.
    ari.asterisk().add_log("it-log-two", "notice,warning,error").await.unwrap();
    ari.asterisk().rotate_log("it-log-two").await.unwrap();
    let old = asterisk.dir.join("log/it-log-two.0");
    eventually(Duration::from_secs(20), "the old file has another name", async || old.exists().then_some(()))
        .await;
}

#[tokio::test]
async fn a_global_variable_is_set_and_read() {
    let ari = server().await.ari();
    ari.asterisk().set_global_var("OFFHOOK_IT", "ü 1").await.unwrap();
    assert_eq!(ari.asterisk().global_var("OFFHOOK_IT").await.unwrap().value, "ü 1");
}

#[tokio::test]
async fn an_object_of_dynamic_configuration_is_made_read_and_deleted() {
    let ari = server().await.ari();
    let (class, kind, id) = ("res_pjsip", "aor", "it-object");
    let fields = json!({"fields": [{"attribute": "max_contacts", "value": "7"}]});
    ari.asterisk().update_object(class, kind, id, &fields).await.unwrap();
    let read = ari.asterisk().get_object(class, kind, id).await.unwrap();
    assert!(read.iter().any(|t| t.attribute == "max_contacts" && t.value == "7"), "{read:?}");
    ari.asterisk().delete_object(class, kind, id).await.unwrap();
    let gone = ari.asterisk().get_object(class, kind, id).await.unwrap_err();
    assert!(gone.is_gone(), "{gone:?}");
}

#[tokio::test]
async fn sounds_are_listed_by_language_and_shown() {
    let ari = server().await.ari();
    let sounds = ari.sounds().list(Some("en"), None).await.unwrap();
    let hello = sounds.iter().find(|sound| sound.id == "hello-world").expect("it is always there");
    let shown = ari.sounds().get("hello-world").await.unwrap();
    assert_eq!(shown.id, hello.id);
    assert!(shown.formats.iter().any(|f| f.language == "en" && !f.format.is_empty()), "{shown:?}");
}

#[tokio::test]
async fn a_lamp_is_set_and_those_who_watch_are_told() {
    let ari = server().await.ari();
    let mut events = ari.events("it-lamp");
    connected(&mut events).await;
    ari.applications().subscribe("it-lamp", &["deviceState:Stasis:it-lamp"]).await.unwrap();
    ari.device_states().update("Stasis:it-lamp", "INUSE").await.unwrap();
    wait_for_type(&mut events, "DeviceStateChanged").await;
    assert_eq!(ari.device_states().get("Stasis:it-lamp").await.unwrap().state, "INUSE");
    assert!(ari.device_states().list().await.unwrap().iter().any(|d| d.name == "Stasis:it-lamp"));
    ari.device_states().delete("Stasis:it-lamp").await.unwrap();
    assert!(!ari.device_states().list().await.unwrap().iter().any(|d| d.name == "Stasis:it-lamp"));
}

/// Debian builds Asterisk without res_mwi_external, which excludes voicemail, and so without res_ari_mailboxes.
#[tokio::test]
async fn mailboxes_are_kept_where_their_module_is() {
    let ari = server().await.ari();
    let list = ari.mailboxes().list().await;
    if !ari.asterisk().modules().await.unwrap().iter().any(|m| m.name == "res_ari_mailboxes.so") {
        println!("left out: this Asterisk has no res_ari_mailboxes.so");
        let error = list.unwrap_err();
        assert!(matches!(error, AriError::Unsupported { .. }), "{error:?}");
        return;
    }
    ari.mailboxes().update("it@offhook", 2, 3).await.unwrap();
    let kept = ari.mailboxes().get("it@offhook").await.unwrap();
    assert_eq!((kept.old_messages, kept.new_messages), (2, 3));
    ari.mailboxes().delete("it@offhook").await.unwrap();
    assert!(!ari.mailboxes().list().await.unwrap().iter().any(|m| m.name == "it@offhook"));
}
