//! When a service fails: what the caller hears of it, through the real Asterisk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use offhook::phone::PhoneCall;
use offhook::phone::script::Step;
use offhook::store::{Disposition, TurnKind};
use offhook::time::Moment;
use tokio::net::TcpListener;

use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, ended_by_bot, own_asterisk, phone,
    play, say, way_on,
};
use crate::support::engine::{EngineUnderTest, Settings};
use crate::support::mouths::{self, Way};

/// No caller is in silence for longer when a service fails, from the end of what was said to the beginning of what follows.
const LONGEST_SILENCE: Duration = Duration::from_millis(1_500);

/// How late the machine is: the worst of many short waits. What it cannot do in time is no fault of the engine's.
struct Lateness(Arc<AtomicU64>);

impl Lateness {
    fn watch() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let seen = Arc::downgrade(&worst);
        tokio::spawn(async move {
            while let Some(seen) = seen.upgrade() {
                let before = Moment::now();
                tokio::time::sleep(Duration::from_millis(20)).await;
                let late = Moment::now().since(before).saturating_sub(Duration::from_millis(20));
                seen.fetch_max(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self(worst)
    }

    /// A turn waits for the machine a handful of times.
    fn allowance(&self) -> Duration {
        let slow_build = if cfg!(debug_assertions) { SECOND } else { Duration::ZERO };
        slow_build + 5 * Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A recogniser that takes the connection and whatever comes over it, and never says a word.
async fn hanging_recogniser() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await {
                    while let Some(Ok(_)) = socket.next().await {}
                }
            });
        }
    });
    format!("ws://{address}")
}

/// From each end of the caller's words to the bot's next one.
fn silences(call: &PhoneCall, report: &offhook::phone::script::ScriptReport) -> Vec<Duration> {
    let answered = call.answered_at().expect("it was answered");
    let greeting = call.with_ear(|ear| ear.onset_since(answered)).expect("the bot spoke").since(answered);
    std::iter::once(greeting).chain(report.reply_latencies()).collect()
}

#[tokio::test]
async fn a_caller_is_never_left_in_silence_while_services_fail() {
    let asterisk = own_asterisk(false).await;
    let (mouth, ears) = (mouths::openai::start().await, hanging_recogniser().await);
    mouth.behaves(Way::Hangs);
    // What was said is heard again at once by the second recogniser, of which a debug build takes many times longer.
    let final_ms = if cfg!(debug_assertions) { 200 } else { 400 };
    let more = format!(
        "[speech]\nfinal_ms = {final_ms}\nsynthesizer = ['broken', 'flite']\nrecognizer = ['deaf', 'pocketsphinx']\nprompt_cache_mb = 0\n\
         [service.broken]\nkind = 'openai'\nurl = 'http://{}/v1'\n[service.deaf]\nkind = 'vosk'\nurl = '{ears}'\n",
        mouth.address
    );
    let engine =
        EngineUnderTest::start(&asterisk, Settings { ears: true, more: &more, ..Settings::default() }).await;
    for (number, way) in [("5550901", Way::Hangs), ("5550902", Way::Breaks), ("5550903", Way::Status(500))] {
        mouth.behaves(way);
        let lateness = Lateness::watch();
        let phone = phone(number).await;
        let call = connected(&phone, &asterisk, "111").await;
        let steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT, say("no").await, REPLIES, HANGS_UP];
        let report = play(&call, steps).await;
        assert!(ended_by_bot(&report));
        let silences = silences(&call, &report);
        let allowed = LONGEST_SILENCE + lateness.allowance();
        println!("{way:?}: silences of {silences:?}, {allowed:?} allowed on this machine now");
        let (record, turns) = engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(Disposition::Completed));
        assert_eq!(turns[1].heard.meaning.as_deref(), Some("no"), "{:?}", turns[1].kind);
        // Which one did it is in the ledger.
        assert_eq!(turns[1].taking.recognizer.as_deref(), Some("pocketsphinx"));
        assert_eq!(turns[0].taking.synthesizer.as_deref(), Some("flite"), "{:?}", turns[0].taking);
        assert!(turns[0].taking.synthesizer_ms.is_some());
        assert!(silences.iter().all(|silence| *silence <= allowed), "{silences:?}");
        assert_gone(&asterisk, &engine, &record).await;
    }
}

#[tokio::test]
async fn when_nobody_can_speak_the_apology_is_played_and_the_call_ends_as_configured() {
    let asterisk = own_asterisk(false).await;
    let mouth = mouths::openai::start().await;
    mouth.behaves(Way::Status(503));
    let folder = tempfile::tempdir().expect("a folder");
    let sorry = folder.path().join("sorry.wav");
    let tone: Vec<i16> = offhook::phone::syllables(Duration::from_millis(900));
    offhook::audio::wav::write_mono(&sorry, offhook::audio::Rate::Hz8000, &tone).expect("a file");
    let more = format!(
        "synthesizer = 'broken'\napology = '{}'\nwhen_silent = 'dialplan'\nprompt_cache_mb = 0\n\
         [service.broken]\nkind = 'openai'\nurl = 'http://{}/v1'\n",
        sorry.display(),
        mouth.address
    );
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let lateness = Lateness::watch();
    let phone = phone("5550904").await;
    let call = connected(&phone, &asterisk, "111").await;
    call.wait_bot_speaks(PATIENCE).await.expect("the apology");
    let answered = call.answered_at().expect("it was answered");
    let after = call.with_ear(|ear| ear.onset_since(answered)).expect("heard").since(answered);
    println!("the apology began {after:?} after the answer");
    assert!(after <= LONGEST_SILENCE + lateness.allowance(), "{after:?}");
    // The test's own time of waiting, for nothing that the engine does.
    let waited = Moment::now();
    assert_eq!(way_on(&asterisk, "5550904").await, "SUCCESS FAILED");
    assert!(Moment::now().since(waited) < 10 * SECOND);
    let (record, turns) = engine.ended_call_of("5550904").await;
    assert_eq!(record.disposition, Some(Disposition::BotFailed));
    assert!(record.note.as_deref().is_some_and(|note| note.contains("nobody can talk")), "{:?}", record.note);
    assert_eq!(turns[0].kind, TurnKind::Opening);
    let said = turns[0].reply.text.as_deref().unwrap_or_default();
    assert!(said.contains("[sorry.wav]"), "{said}");
    call.hang_up().await.expect("he hangs up");
    assert_gone(&asterisk, &engine, &record).await;
}

#[tokio::test]
async fn a_fixed_sentence_costs_nothing_after_a_restart() {
    let asterisk = own_asterisk(true).await;
    let mouth = mouths::openai::start().await;
    let more = format!(
        "synthesizer = 'cloud'\nprompt_cache = 'prompts'\n[service.cloud]\nkind = 'openai'\nurl = 'http://{}/v1'\n",
        mouth.address
    );
    let mut engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let paid = mouth.seen.texts.lock().unwrap().len();
    assert!(paid > 5, "the sentences of two flows: {paid}");
    engine.terminate();
    engine.ended(60 * SECOND).await;
    mouth.behaves(Way::Status(500));
    engine.start_again().await;
    let phone = phone("5550905").await;
    let call = connected(&phone, &asterisk, "111").await;
    call.wait_bot_speaks(PATIENCE).await.expect("the greeting");
    call.hang_up().await.expect("he hangs up");
    let (_, turns) = engine.ended_call_of("5550905").await;
    assert_eq!(turns[0].taking.synthesizer.as_deref(), Some("cloud"));
    assert_eq!(mouth.seen.texts.lock().unwrap().len(), paid, "nothing was asked for again");
}
