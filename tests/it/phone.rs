//! The phone against a real Asterisk: its Echo() gives back what the phone says.

use std::f32::consts::TAU;
use std::time::Duration;

use offhook::phone::agent::Side;
use offhook::phone::{KeyTiming, Phone, PhoneConfig, PhoneError};

const SECOND: Duration = Duration::from_secs(1);

fn sip() -> String {
    std::env::var("OFFHOOK_TEST_SIP").unwrap_or_else(|_| "127.0.0.1:24000".into())
}

/// Bursts of tone with the rhythm of syllables.
fn babble(millis: usize) -> Vec<i16> {
    let samples = (0..millis * 8).map(|n| {
        let t = n as f32 / 8_000.0;
        let syllable = (TAU * 4.0 * t).sin().abs();
        (syllable * (TAU * 220.0 * t).sin() * 9_000.0) as i16
    });
    samples.collect()
}

#[tokio::test]
async fn what_the_phone_says_comes_back_from_echo() -> Result<(), PhoneError> {
    let phone = Phone::start(PhoneConfig::loopback("tester")).await?;
    let call = phone.call(&format!("sip:600@{}", sip())).await?;
    call.wait_answered(5 * SECOND).await?;
    let spoken = call.say([babble(1_000), vec![0; 4_000]].concat()).await?;
    let onset = call.wait_onset_since(spoken.started, SECOND).await?;
    let there_and_back = onset.since(spoken.onset.expect("it was loud"));
    println!("there and back: {there_and_back:?}");
    assert!(there_and_back < Duration::from_millis(60), "{there_and_back:?}");
    let last = call.wait_bot_silent(Duration::from_millis(200), 2 * SECOND).await?;
    println!("last: {:?}", last.since(spoken.last_voiced.expect("it was loud")));
    let pressed = call.press("12#", KeyTiming::default()).await?;
    assert_eq!(pressed.ended.len(), 3);
    call.hang_up().await?;
    let ending = call.wait_hangup(SECOND).await?;
    assert_eq!(ending.by, Side::Phone);
    let heard = call.heard();
    let loud = heard.by_timestamp.iter().filter(|s| s.unsigned_abs() > 2_000).count();
    println!("heard {} {} loud {loud}", heard.by_arrival.len(), heard.by_timestamp.len());
    let stats = call.stats();
    println!(
        "{} packets, {} lost, {} reordered, {} other, gaps p50 {} p99 {} max {}",
        stats.packets,
        stats.lost,
        stats.reordered,
        stats.other,
        stats.gaps.value_at_quantile(0.5),
        stats.gaps.value_at_quantile(0.99),
        stats.gaps.max()
    );
    assert!(loud > 3_000);
    Ok(())
}
