//! TLS to the real server, and credentials that no log shows.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offhook::asterisk::ari::{Ari, AriConfig, AriError, Requests};
use offhook::asterisk::secret::Secret;

use super::engine::one_call;
use super::{connected, has};
use crate::support::asterisk::eventually;
use crate::support::engine::{DIALPLAN, Settings};
use crate::support::{AsteriskUnderTest, EngineUnderTest, Wanted, certificates};

const USER: &str = "\n[it-tls]\ntype = user\npassword = hunter2-of-the-test\n";

/// Everything that is logged on this thread, at the finest level.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An Asterisk that takes TLS, and its URL; the authority's certificate is `etc/ca.pem` in its folder.
async fn secured() -> (AsteriskUnderTest, String) {
    let extra = vec![("ari.conf", USER.to_owned()), ("extensions.conf", DIALPLAN.to_owned())];
    let asterisk = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
    let etc = asterisk.dir.join("etc");
    certificates(&etc);
    // Within the ports of this instance.
    let port = asterisk.ari_addr.port() + 4;
    let http = format!(
        "\n[general](+)\ntlsenable = yes\ntlsbindaddr = 127.0.0.1:{port}\ntlscertfile = {0}/server.pem\ntlsprivatekey = {0}/server.key\n",
        etc.display()
    );
    let file = std::fs::OpenOptions::new().append(true).open(etc.join("http.conf"));
    file.unwrap().write_all(http.as_bytes()).unwrap();
    asterisk.cli("module reload http").await;
    (asterisk, format!("https://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_requests_events_and_audio_by_tls() {
    let (asterisk, url) = secured().await;
    if !has(&asterisk.ari(), (22, 6), "media over WebSockets").await {
        return;
    }
    let authority = asterisk.dir.join("etc/ca.pem").display().to_string();
    let env = [
        ("OFFHOOK_ASTERISK_URL", url.as_str()),
        ("OFFHOOK_ASTERISK_CA_FILE", authority.as_str()),
        ("OFFHOOK_MEDIA_TRANSPORT", "websocket"),
    ];
    let engine = EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
    one_call(&asterisk, &engine, "5550404").await;
}

#[tokio::test]
async fn requests_and_events_come_by_tls_and_no_log_shows_the_password() {
    let (asterisk, url) = secured().await;
    let authority = asterisk.dir.join("etc/ca.pem");

    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let stranger = AriConfig::new(url.clone(), "it-tls", Secret::new("hunter2-of-the-test"));
    let refused = eventually(Duration::from_secs(10), "the port is open", async || {
        let error = Ari::new(stranger.clone()).unwrap().asterisk().ping().await.unwrap_err();
        (!error.to_string().contains("refused")).then_some(error)
    })
    .await;
    assert!(matches!(&refused, AriError::Unreachable { .. }), "nobody trusts that authority: {refused:?}");
    assert!(refused.to_string().to_lowercase().contains("certificate"), "{refused}");

    let both = has(&asterisk.ari(), (22, 4), "requests over WebSockets").await;
    let ways = [Requests::Http, Requests::WebSocket];
    for requests in ways.into_iter().take(if both { 2 } else { 1 }) {
        let config = AriConfig { ca_file: Some(authority.clone()), requests, ..stranger.clone() };
        let ari = Ari::new(config).unwrap();
        // Beside tests without a log, what nobody wanted when it was first told may be taken for unwanted by all.
        tracing::callsite::rebuild_interest_cache();
        let mut events = ari.events("it-tls-app");
        connected(&mut events).await;
        assert_eq!(ari.asterisk().ping().await.unwrap().ping, "pong");
        assert!(ari.applications().get("it-tls-app").await.is_ok());
        let _ = ari.channels().answer(&"it-nobody".into()).await;
    }
    let missing = AriConfig { ca_file: Some(asterisk.dir.join("no-such.pem")), ..stranger.clone() };
    let error = Ari::new(missing).unwrap_err();
    assert!(error.to_string().contains("no-such.pem"), "{error}");

    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("receiving events") && text.contains("GET /asterisk/ping"),
        "the log is there: {text}"
    );
    // `it-tls:hunter2-of-the-test` in base 64.
    for secret in ["hunter2", "aXQtdGxzOmh1bnRlcjI", "api_key"] {
        assert!(!text.contains(secret), "the log shows {secret}");
    }
}
