//! What goes wrong, and what is said of it.

use offhook::asterisk::Advice;
use offhook::asterisk::ari::ops::Originate;
use offhook::asterisk::ari::{Ari, AriConfig, AriError, ChannelId, Signal, Why};
use offhook::asterisk::secret::Secret;

use super::{server, signal};

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let asterisk = server().await;
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
