//! Callers with a voice, and the engine that they share.

use std::time::Duration;

use futures_util::future::join_all;
use offhook::audio::Rate;
use offhook::phone::script::{Line, Outcome, Script, ScriptReport, Step};
use offhook::phone::{KeyTiming, Phone, PhoneCall, PhoneConfig};
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::{Synthesizer, Utterance};
use offhook::store::CallRecord;
use offhook::time::Moment;
use tokio::sync::OnceCell;

use super::asterisk::{AsteriskUnderTest, Wanted, eventually};
use super::engine::{DIALPLAN, EngineUnderTest, Settings};

pub const SECOND: Duration = Duration::from_secs(1);

/// How long a bot may take for something that it does at once, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

static SHARED: OnceCell<(AsteriskUnderTest, EngineUnderTest)> = OnceCell::const_new();

/// An Asterisk and an engine for conversations that leave both as they were.
pub async fn house() -> (&'static AsteriskUnderTest, &'static EngineUnderTest) {
    let (asterisk, engine) = SHARED
        .get_or_init(|| async {
            let asterisk = own_asterisk(false).await;
            let settings = Settings { ears: true, recordings: true, ..Settings::default() };
            let engine = EngineUnderTest::start(&asterisk, settings).await;
            (asterisk, engine)
        })
        .await;
    (asterisk, engine)
}

/// An Asterisk with the numbers of [`DIALPLAN`], for a test that disturbs it or its engine.
pub async fn own_asterisk(keeps_its_ports: bool) -> AsteriskUnderTest {
    let extra = vec![("extensions.conf", DIALPLAN.to_owned())];
    AsteriskUnderTest::start_own(Wanted { extra, keeps_its_ports, ..Wanted::default() }).await
}

/// A phone whose number is `number`.
pub async fn phone(number: &str) -> Phone {
    Phone::start(PhoneConfig::loopback(number)).await.expect("a phone")
}

/// A call from `phone` to `extension` that has been answered.
pub async fn connected(phone: &Phone, asterisk: &AsteriskUnderTest, extension: &str) -> PhoneCall {
    let target = format!("sip:{extension}@{}", asterisk.sip_addr);
    let call = phone.call(&target).await.expect("a call");
    call.wait_answered(PATIENCE).await.expect("an answer");
    call
}

/// Callers with these numbers who hear the bot.
pub async fn listeners(
    asterisk: &AsteriskUnderTest,
    numbers: &[&str],
    extension: &str,
) -> Vec<(Phone, PhoneCall)> {
    join_all(numbers.iter().map(|number| async move {
        let phone = phone(number).await;
        let call = connected(&phone, asterisk, extension).await;
        call.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
        (phone, call)
    }))
    .await
}

/// Words in a voice that is not the bot's.
pub async fn line(words: &str) -> Line {
    let flite = FliteSynthesizer::new(FliteConfig::default()).expect("Flite is there");
    let utterance = Utterance { text: words.into(), voice: Some("rms".into()), rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = Vec::new();
    while let Some(chunk) = stream.chunks.recv().await {
        samples.extend(chunk.expect("Flite says it"));
    }
    Line { words: words.to_owned(), samples: samples.into() }
}

/// The caller says it.
pub async fn say(words: &str) -> Step {
    Step::Say(line(words).await)
}

/// The caller presses keys.
pub fn press(keys: &str) -> Step {
    Step::Press { keys: keys.into(), timing: KeyTiming::default() }
}

/// The bot answers what the caller did.
pub const REPLIES: Step = Step::BotReplies { within: PATIENCE };

/// The bot has ended what it said.
pub const SILENT: Step =
    Step::BotSilent { quiet: Duration::from_millis(700), within: Duration::from_secs(15) };

/// The bot ends the call.
pub const HANGS_UP: Step = Step::BotHangsUp { within: PATIENCE };

/// Plays a script; a step that fails fails the test.
pub async fn play(call: &PhoneCall, steps: Vec<Step>) -> ScriptReport {
    let played = Script::new(steps).run(call, &mut |step| println!("{step}")).await;
    played.unwrap_or_else(|error| panic!("{error}"))
}

/// From the answer to the bot's first word.
pub fn greeting_latency(call: &PhoneCall) -> Duration {
    let answered = call.answered_at().expect("it was answered");
    call.with_ear(|ear| ear.onset_since(answered)).expect("the bot spoke").since(answered)
}

/// The moment at which the last step of a report ended the call.
pub fn ended_by_bot(report: &ScriptReport) -> bool {
    matches!(report.steps.last().map(|s| &s.outcome), Some(Outcome::Ended(e)) if e.by == offhook::phone::agent::Side::Peer)
}

/// Nothing of this call is left: no channel, no bridge, no state for another process.
pub async fn assert_gone(asterisk: &AsteriskUnderTest, engine: &EngineUnderTest, call: &CallRecord) {
    eventually(5 * SECOND, "nothing of the call is left in Asterisk", async || {
        let there = ids(asterisk).await;
        let his = |id: &String| id.contains(call.id.as_str()) || **id == call.leg;
        (!there.iter().any(his)).then_some(())
    })
    .await;
    let kept = async || (!engine.has_snapshot(call.id).await).then_some(());
    eventually(SECOND, "its state is not kept", kept).await;
}

/// Nothing is in Asterisk at all.
pub async fn assert_empty(asterisk: &AsteriskUnderTest) {
    let mut left = Vec::new();
    let began = Moment::now();
    while Moment::now().since(began) < 5 * SECOND {
        left = ids(asterisk).await;
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("Asterisk still has {left:?}");
}

/// The ids of all channels and bridges.
pub async fn ids(asterisk: &AsteriskUnderTest) -> Vec<String> {
    let ari = asterisk.ari();
    let channels = ari.channels().list().await.expect("Asterisk answers");
    let bridges = ari.bridges().list().await.expect("Asterisk answers");
    let channels = channels.iter().map(|channel| channel.id.as_str().to_owned());
    channels.chain(bridges.iter().map(|bridge| bridge.id.as_str().to_owned())).collect()
}

/// Where the dialplan went on with a caller behind `Stasis()`: its status, and ours.
pub async fn way_on(asterisk: &AsteriskUnderTest, number: &str) -> String {
    let mark = format!(" {number} goes on: ");
    let answer = async || {
        let log = std::fs::read_to_string(asterisk.dir.join("log/messages.log")).ok()?;
        log.lines().find_map(|line| Some(line.split_once(&mark)?.1.trim().to_owned()))
    };
    eventually(5 * SECOND, "the caller is in the dialplan again", answer).await
}
