//! Endpoints: who they are, and what is sent to them outside calls.

use std::collections::BTreeMap;

use offhook::asterisk::ari::ops::{Message, Refer};
use serde_json::json;

use super::phones::{Phone, header};
use super::{has, server};

#[tokio::test]
async fn endpoints_are_listed_by_technology() {
    let ari = server().await.ari();
    assert!(ari.endpoints().list().await.unwrap().iter().any(|e| e.resource == "alice"));
    let sip = ari.endpoints().of("PJSIP").await.unwrap();
    assert!(sip.iter().any(|e| e.resource == "alice") && sip.iter().all(|e| e.technology == "PJSIP"));
    let alice = ari.endpoints().get("PJSIP", "alice").await.unwrap();
    assert_eq!((alice.technology.as_str(), alice.state.as_str()), ("PJSIP", "offline"));
}

#[tokio::test]
async fn texts_and_referrals_reach_an_address_and_an_endpoint() {
    let asterisk = server().await;
    let ari = asterisk.ari();
    let mut phone = Phone::new(asterisk.sip_addr).await;
    let to = format!("pjsip:anonymous/sip:it@{}", phone.address());
    let message = Message {
        from: "sip:desk@127.0.0.1".into(),
        body: Some("Grüße".into()),
        variables: BTreeMap::from([("X-Colour".into(), "green".into())]),
    };
    ari.endpoints().send_message_to(&to, &message).await.unwrap();
    let text = phone.expect("MESSAGE").await;
    assert!(text.ends_with("Grüße"), "{text}");
    assert_eq!(header(&text, "X-Colour").as_deref(), Some("green"));

    // An endpoint of its own, with that address.
    let object = async |kind: &str, fields: serde_json::Value| {
        let made =
            ari.asterisk().update_object("res_pjsip", kind, "it-texts", &json!({ "fields": fields })).await;
        made.unwrap();
    };
    let contact = format!("sip:it@{}", phone.address());
    object("aor", json!([{"attribute": "contact", "value": contact}])).await;
    object("endpoint", json!([{"attribute": "aors", "value": "it-texts"}, {"attribute": "context", "value": "offhook"}, {"attribute": "allow", "value": "ulaw"}]))
        .await;
    ari.endpoints().send_message("PJSIP", "it-texts", &message).await.unwrap();
    assert!(phone.expect("MESSAGE").await.ends_with("Grüße"));

    if has(&ari, (20, 0), "REFER outside calls").await {
        let refer = Refer {
            from: "sip:desk@127.0.0.1".into(),
            refer_to: "sip:600@127.0.0.1".into(),
            to_self: Some(false),
            ..Refer::default()
        };
        ari.endpoints().refer_uri(&to, &refer).await.unwrap();
        let text = phone.expect("REFER").await;
        assert!(header(&text, "Refer-To").is_some_and(|to| to.contains("600@")), "{text}");
        ari.endpoints().refer("PJSIP", "it-texts", &refer).await.unwrap();
        phone.expect("REFER").await;
    }
    for kind in ["endpoint", "aor"] {
        ari.asterisk().delete_object("res_pjsip", kind, "it-texts").await.unwrap();
    }
}
