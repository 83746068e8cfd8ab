//! The phone against a real Asterisk.

use std::time::Duration;

use offhook::phone::agent::Side;
use offhook::phone::fleet::{self, FleetPlan};
use offhook::phone::script::{Line, Outcome, Script, Step};
use offhook::phone::sip::digest::Account;
use offhook::phone::{EarSettings, KeyTiming, Phone, PhoneCall, PhoneConfig, PhoneError, syllables};
use tokio::sync::OnceCell;

use crate::support::asterisk::eventually;
use crate::support::{AsteriskUnderTest, Wanted};

const SECOND: Duration = Duration::from_secs(1);

/// Numbers for what the shipped dialplan has no number for.
const DIALPLAN: &str = "
[offhook]
; Reads digits, remembers them, hangs up with a cause.
exten => 700,1,Answer()
 same => n,Read(digits,,4,,1,10)
 same => n,Set(DB(phone/digits)=${digits})
 same => n,Hangup(17)
; Rings and never answers.
exten => 701,1,Ringing()
 same => n,Wait(30)
; A small conversation: a word, a key, a word, goodbye.
exten => 702,1,Answer()
 same => n,Playback(hello-world)
 same => n,Read(key,,1,,1,10)
 same => n,Playback(vm-goodbye)
 same => n,Hangup()
; Early audio, then busy.
exten => 703,1,Progress()
 same => n,Wait(0.2)
 same => n,Busy(1)
; A long speech that a key stops.
exten => 704,1,Answer()
 same => n,Read(key,demo-congrats,1,,1,10)
 same => n,Wait(5)
 same => n,Hangup()
";

static ASTERISK: OnceCell<AsteriskUnderTest> = OnceCell::const_new();

async fn asterisk() -> &'static AsteriskUnderTest {
    let wanted = Wanted { extra: vec![("extensions.conf", DIALPLAN.to_owned())], ..Wanted::default() };
    ASTERISK.get_or_init(|| AsteriskUnderTest::start_own(wanted)).await
}

async fn phone() -> Phone {
    Phone::start(PhoneConfig::loopback("tester")).await.expect("a phone")
}

async fn call(phone: &Phone, number: &str) -> PhoneCall {
    let target = format!("sip:{number}@{}", asterisk().await.sip_addr);
    phone.call(&target).await.expect("a call")
}

async fn connected(phone: &Phone, number: &str) -> PhoneCall {
    let call = call(phone, number).await;
    call.wait_answered(5 * SECOND).await.expect("an answer");
    call
}

#[tokio::test]
async fn what_the_phone_says_comes_back_from_echo() -> Result<(), PhoneError> {
    let call = connected(&phone().await, "600").await;
    let spoken = call.say([syllables(SECOND), vec![0; 4_000]].concat()).await?;
    let onset = call.wait_onset_since(spoken.started, SECOND).await?;
    let there_and_back = onset.since(spoken.onset.expect("it was loud"));
    assert!(there_and_back < Duration::from_millis(200), "{there_and_back:?}");
    call.wait_bot_silent(Duration::from_millis(300), 2 * SECOND).await?;
    call.hang_up().await?;
    let ending = call.wait_hangup(SECOND).await?;
    assert_eq!((ending.by, ending.code), (Side::Phone, 200));
    let heard = call.heard();
    for track in [&heard.by_timestamp, &heard.by_arrival] {
        let loud = track.iter().filter(|s| s.unsigned_abs() > 1_500).count();
        assert!((2_000..8_000).contains(&loud), "{loud} loud samples of 8,000");
    }
    let stats = call.stats();
    assert!(stats.packets > 50 && stats.lost == 0, "{} packets, {} lost", stats.packets, stats.lost);
    Ok(())
}

#[tokio::test]
async fn digits_arrive_whole_and_the_cause_of_the_hang_up_comes_back() -> Result<(), PhoneError> {
    let call = connected(&phone().await, "700").await;
    let pressed = call.press("12", KeyTiming::default()).await?;
    assert_eq!((pressed.started.len(), pressed.ended.len()), (2, 2));
    // Read() ends at the #, and the call with it: who waits for the key's end is told of that.
    let last = call.start_pressing("#", KeyTiming { pause: SECOND, ..KeyTiming::default() })?;
    assert!(matches!(last.wait().await, Err(PhoneError::Ended(_))));
    let ending = call.wait_hangup(5 * SECOND).await?;
    assert_eq!((ending.by, ending.q850), (Side::Peer, Some(17)));
    let digits = asterisk().await.cli("database get phone digits").await;
    assert!(digits.contains("Value: 12"), "{digits}");
    assert!(matches!(call.say(vec![0; 160]).await, Err(PhoneError::Ended(_))));
    Ok(())
}

#[tokio::test]
async fn a_number_that_nobody_has_is_refused() {
    let call = call(&phone().await, "999").await;
    match call.wait_answered(5 * SECOND).await {
        Err(PhoneError::Ended(ending)) => assert_eq!((ending.by, ending.code), (Side::Peer, 404)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ringing_call_is_cancelled_on_both_sides() -> Result<(), PhoneError> {
    let phone = phone().await;
    let call = call(&phone, "701").await;
    assert!(matches!(call.wait_answered(SECOND / 2).await, Err(PhoneError::TimedOut { .. })));
    assert_eq!(call.ringing().map(|(code, _)| code), Some(180));
    call.hang_up().await?;
    let ending = call.wait_hangup(2 * SECOND).await?;
    assert_eq!((ending.by, ending.code), (Side::Phone, 487));
    eventually(2 * SECOND, "no channel rings", async || {
        let channels = asterisk().await.cli("core show channels concise").await;
        (!channels.contains("!701!")).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn early_audio_and_then_busy() {
    let call = call(&phone().await, "703").await;
    match call.wait_answered(5 * SECOND).await {
        // Asterisk says 17, or 0 when its answer overtakes the cause.
        Err(PhoneError::Ended(ending)) => {
            assert_eq!((ending.code, ending.q850.filter(|q| *q != 0).unwrap_or(17)), (486, 17))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(call.ringing().map(|(code, _)| code), Some(183));
}

#[tokio::test]
async fn an_account_is_asked_for_its_password() -> Result<(), PhoneError> {
    let asterisk = asterisk().await;
    for (password, code) in [(asterisk.password, None), ("wrong", Some(401))] {
        let account = Account { user: "alice".into(), password: password.into() };
        let config = PhoneConfig { account: Some(account), ..PhoneConfig::loopback("tester") };
        let phone = Phone::start(config).await?;
        let call = call(&phone, "600").await;
        match (call.wait_answered(5 * SECOND).await, code) {
            (Ok(_), None) => {
                let channels = asterisk.cli("core show channels concise").await;
                assert!(channels.contains("PJSIP/alice-"), "{channels}");
            }
            (Err(PhoneError::Ended(ending)), Some(code)) => assert_eq!(ending.code, code),
            (other, _) => panic!("{other:?} with {password}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn asterisk_calls_the_phone() -> Result<(), PhoneError> {
    let phone = phone().await;
    let originate = |user: &str, application: &'static str| {
        let dial = format!("PJSIP/anonymous/sip:{user}@{}", phone.address());
        async move { asterisk().await.cli(&format!("channel originate {dial} application {application}")).await }
    };
    originate("bob", "Echo").await;
    let incoming = phone.expect_call(5 * SECOND).await?;
    assert_eq!(incoming.to_user(), "bob");
    incoming.ring().await?;
    let call = incoming.answer().await?;
    let answered = call.wait_answered(SECOND).await?;
    call.say(syllables(SECOND / 2)).await?;
    call.wait_onset_since(answered, SECOND).await?;
    call.hang_up().await?;
    assert_eq!(call.wait_hangup(SECOND).await?.by, Side::Phone);

    originate("carol", "Wait 30").await;
    let call = phone.expect_call(5 * SECOND).await?.answer().await?;
    call.wait_answered(SECOND).await?;
    let channels = asterisk().await.cli("core show channels concise").await;
    // Callers of other tests are in Echo().
    let ours =
        channels.lines().find(|line| line.starts_with("PJSIP/anonymous") && line.contains("!Wait!30!"));
    let name = ours.and_then(|line| line.split('!').next()).expect("our channel is listed");
    asterisk().await.cli(&format!("channel request hangup {name}")).await;
    assert_eq!(call.wait_hangup(5 * SECOND).await?.by, Side::Peer);

    originate("dave", "Echo").await;
    phone.expect_call(5 * SECOND).await?.refuse(603, "Decline").await?;
    assert!(matches!(phone.expect_call(SECOND).await, Err(PhoneError::TimedOut { .. })));
    Ok(())
}

#[tokio::test]
async fn a_script_is_a_conversation_with_timings() {
    let call = connected(&phone().await, "702").await;
    let patience = 5 * SECOND;
    let script = Script::new(vec![
        Step::BotSpeaks { within: patience },
        Step::BotSilent { quiet: SECOND / 2, within: patience },
        Step::Press { keys: "5".into(), timing: KeyTiming::default() },
        Step::BotReplies { within: patience },
        Step::BotHangsUp { within: patience },
    ]);
    let mut seen = Vec::new();
    let report =
        script.run(&call, &mut |step| seen.push(step.to_string())).await.expect("it goes as written");
    assert_eq!(seen.len(), 5);
    let latency = report.reply_latencies().next().expect("one reply");
    assert!(latency < SECOND, "{latency:?}");
    assert!(matches!(report.steps[4].outcome, Outcome::Ended(ref ending) if ending.by == Side::Peer));
}

#[tokio::test]
async fn a_script_that_fails_says_where_and_what_was_heard() {
    let call = connected(&phone().await, "702").await;
    let script = Script::new(vec![
        Step::BotSpeaks { within: 5 * SECOND },
        Step::BotSilent { quiet: SECOND / 2, within: 5 * SECOND },
        Step::BotReplies { within: 5 * SECOND },
        Step::BotHangsUp { within: SECOND / 5 },
    ]);
    let error = script.run(&call, &mut |_| {}).await.expect_err("nobody hangs up so soon");
    assert_eq!((error.number, error.report.steps.len()), (4, 3));
    let text = error.to_string();
    assert!(text.contains("the bot hangs up") && text.contains("speech from 0."), "{text}");
}

#[tokio::test]
async fn who_interrupts_a_bot_that_takes_no_notice_is_told() {
    // Read() stops for keys alone: to a voice this bot is deaf.
    let call = connected(&phone().await, "704").await;
    let line = Line { words: "excuse me".into(), samples: syllables(SECOND / 2).into() };
    let script = Script::new(vec![
        Step::BargeIn { after: SECOND / 2, line: line.clone(), within: SECOND },
        Step::HangUp,
    ]);
    let error = script.run(&call, &mut |_| {}).await.expect_err("it goes on");
    assert!(error.to_string().contains("interruption"), "{error}");
    // A key stops it: the measure of a bot that does stop.
    let speaking = call.wait_bot_speaks(SECOND).await.expect("it still speaks");
    call.press("1", KeyTiming::default()).await.expect("a key");
    let last = call.wait_bot_silent(SECOND / 2, 2 * SECOND).await.expect("silence");
    assert!(last > speaking);
}

#[tokio::test]
async fn a_dropped_call_is_hung_up_and_so_are_the_calls_of_a_dropped_phone() {
    let phone = phone().await;
    let caller = "a-caller-of-its-own";
    let own = Phone::start(PhoneConfig::loopback(caller)).await.expect("a phone");
    let listed = async || asterisk().await.cli("core show channels concise").await.contains(caller);
    let first = connected(&own, "600").await;
    assert!(listed().await);
    drop(first);
    eventually(2 * SECOND, "the call is gone", async || (!listed().await).then_some(())).await;
    let second = connected(&own, "600").await;
    drop((second, own, phone));
    eventually(2 * SECOND, "the call is gone", async || (!listed().await).then_some(())).await;
}

#[tokio::test]
async fn a_fleet_adds_up_what_its_callers_heard() {
    let config = PhoneConfig { ear: EarSettings::lean(), ..PhoneConfig::loopback("fleet") };
    let phone = Phone::start(config).await.expect("a phone");
    let line = Line { words: "(syllables)".into(), samples: syllables(SECOND / 2).into() };
    let plan = FleetPlan {
        target: format!("sip:600@{}", asterisk().await.sip_addr),
        calls: 8,
        per_second: 20.0,
        script: Script::new(vec![Step::Say(line), Step::Pause(SECOND), Step::HangUp]),
        answer_within: 5 * SECOND,
    };
    let report = fleet::run(&phone, &plan).await;
    assert_eq!((report.calls, report.answered, report.calls_lost()), (8, 8, 0), "{report}");
    assert_eq!((report.to_first_audio.len(), report.lost), (8, 0), "{report}");
    assert!(report.packets > 8 * 60, "{report}");
    assert!((19_000..21_000).contains(&report.gaps.value_at_quantile(0.5)), "{report}");
    let nobody = FleetPlan { target: plan.target.replace("600", "999"), calls: 2, ..plan };
    let report = fleet::run(&phone, &nobody).await;
    assert_eq!((report.answered, report.calls_lost()), (0, 2));
    assert_eq!(report.failed.values().sum::<usize>(), 2, "{report}");
}
