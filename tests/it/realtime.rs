//! Speech to speech models on calls through a real Asterisk: stand-ins of the services, and the services themselves where their
//! keys are in the environment.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use offhook::audio::g711::Law;
use offhook::bot::agent::standin::Pace;
use offhook::phone::script::Step;
use offhook::store::{Disposition, Interruption, TurnRecord};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::EngineUnderTest;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, connected, ended_by_bot, phone, play, say,
};
use crate::support::engine::Settings;
use crate::support::realtime::{Kind, Manner, StandIn};
use crate::support::remote::asterisk;

/// The files of bots, and the part of the configuration that names them.
struct Files(TempDir, String);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"), String::new())
    }

    /// A bot by the file's text, which begins in `[realtime]`.
    fn bot(&mut self, name: &str, text: &str) {
        let file = self.0.path().join(format!("{name}.toml"));
        std::fs::write(
            &file,
            format!("[realtime]\ninstructions = 'You are a clerk. Answer in one short sentence.'\n{text}"),
        )
        .expect("a file");
        self.1 += &format!("[bots.{name}]\nrealtime = '{}'\n", file.display());
    }

    fn openai(&mut self, name: &str, service: &StandIn, more: &str) {
        let url = format!("ws://{}/v1/realtime", service.address);
        self.bot(name, &format!("service = 'openai'\nurl = '{url}'\nkey = 'a key'\ntranscribe = 'a-model'\nreconnect_ms = 2000\n{more}"));
    }
}

/// The texts of a call's turns.
fn texts(turns: &[TurnRecord]) -> Vec<&str> {
    turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect()
}

/// Frames of 20 ms in which there is a voice.
fn loud(samples: &[i16]) -> usize {
    samples.chunks(160).filter(|frame| frame.iter().any(|sample| sample.unsigned_abs() > 1_000)).count()
}

fn data(messages: &[Value], path: &str) -> Vec<u8> {
    let texts = messages.iter().filter_map(|message| message.pointer(path).and_then(Value::as_str));
    texts.flat_map(|text| STANDARD.decode(text).expect("base 64")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_hears_a_caller_is_interrupted_and_hangs_up_when_it_is_done() {
    let openai = StandIn::start(
        Kind::OpenAi,
        Manner { wishes: Some((2, "hang_up", "{}")), answer_ms: 6_000, ..Manner::default() },
    );
    let gemini = StandIn::start(
        Kind::Gemini,
        Manner { wishes: Some((2, "hang_up", "{}")), answer_ms: 6_000, ..Manner::default() },
    );
    let mut files = Files::new();
    files.openai("talk", &openai, "greeting = 'Say hello.'\nvoice = 'marin'\n");
    let url = format!("ws://{}/live", gemini.address);
    files.bot(
        "flowing",
        &format!("service = 'gemini'\nurl = '{url}'\nkey = 'a key'\ngreeting = 'Say hello.'\n"),
    );
    let asterisk = asterisk().await;
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &files.1, ..Settings::default() }).await;
    let question = crate::support::caller::line("I would like to know when you are open tomorrow").await;
    let conversation = async |number: &str, extension: &str| {
        let phone = phone(number).await;
        let call = connected(&phone, &asterisk, extension).await;
        let steps = vec![
            Step::BotSpeaks { within: PATIENCE },
            SILENT,
            Step::Say(question.clone()),
            REPLIES,
            Step::Pause(SECOND),
            // In the middle of the answer.
            Step::Say(question.clone()),
            SILENT,
            HANGS_UP,
        ];
        assert!(ended_by_bot(&play(&call, steps).await));
        engine.ended_call_of(number).await
    };
    let (first, second) = tokio::join!(conversation("5570101", "121"), conversation("5570102", "123"));

    let (record, turns) = first;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert_eq!(openai.header("authorization").as_deref(), Some("Bearer a key"));
    assert!(openai.header("path").is_some_and(|path| path.ends_with("/v1/realtime?model=gpt-realtime")));
    let session = &openai.seen("session.update")[0]["session"];
    assert_eq!(session.pointer("/audio/input/turn_detection"), Some(&Value::Null), "turns are taken here");
    assert_eq!(session.pointer("/audio/input/format/type"), Some(&"audio/pcmu".into()));
    assert_eq!(session.pointer("/tools/0/name"), Some(&"hang_up".into()));
    let heard: Vec<i16> = data(&openai.seen("input_audio_buffer.append"), "/audio")
        .iter()
        .map(|code| Law::Mu.decode(*code))
        .collect();
    assert!(
        loud(&heard) > loud(&question.samples),
        "twice what he said: {} {}",
        loud(&heard),
        loud(&question.samples)
    );
    assert_eq!(openai.seen("input_audio_buffer.commit").len(), 2);
    let cut = &openai.seen("conversation.item.truncate")[0];
    let at = cut["audio_end_ms"].as_u64().expect("milliseconds");
    assert!((500..5_000).contains(&at) && cut["item_id"] == "i1", "{cut}");
    let interrupted: Vec<_> =
        turns.iter().filter(|turn| turn.reply.interrupted == Some(Interruption::Voice)).collect();
    assert_eq!(interrupted.len(), 1);
    let played = interrupted[0].reply.heard_ms.expect("it is known");
    assert!(i64::try_from(at).unwrap().abs_diff(i64::from(played)) <= 20, "{at} of {played} ms");
    let whole = "This is an answer of the stand-in.";
    assert!(texts(&turns).iter().all(|text| whole.starts_with(text)), "{:?}", texts(&turns));
    assert!(interrupted[0].reply.text.as_deref().is_some_and(|text| text != whole), "he did not hear it all");
    assert!(
        turns[1].heard.text.as_deref().is_some_and(|text| text.contains("I have a question.")),
        "{:?}",
        turns[1].heard
    );

    let (record, turns) = second;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert_eq!(gemini.header("x-goog-api-key").as_deref(), Some("a key"));
    let setup = &gemini.seen("setup")[0]["setup"];
    assert_eq!(setup.pointer("/realtimeInputConfig/automaticActivityDetection/disabled"), Some(&true.into()));
    let heard = data(&gemini.seen("realtimeInput/audio"), "/realtimeInput/audio/data");
    let heard: Vec<i16> = heard.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    assert!(loud(&heard) > 2 * loud(&question.samples), "at 16 kHz, twice what he said");
    assert_eq!(gemini.seen("realtimeInput/activityStart").len(), 2);
    assert_eq!(gemini.seen("realtimeInput/activityEnd").len(), 2);
    assert!(turns.iter().any(|turn| turn.reply.interrupted == Some(Interruption::Voice)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_leaves_nobody_in_silence() {
    let refusing = StandIn::start(Kind::OpenAi, Manner { refuses: vec![401; 20], ..Manner::default() });
    let silent = StandIn::start(Kind::OpenAi, Manner { silent: true, ..Manner::default() });
    let busy =
        StandIn::start(Kind::OpenAi, Manner { refuses: vec![429, 503], first: SECOND, ..Manner::default() });
    let broken = StandIn::start(Kind::OpenAi, Manner { breaks: Some(0), ..Manner::default() });
    let failing = StandIn::start(Kind::OpenAi, Manner { fails: Some(0), ..Manner::default() });
    let mut files = Files::new();
    let greets = "greeting = 'Say hello.'\nfirst_ms = 4000\n";
    files.openai("gone", &refusing, greets);
    files.openai("still", &silent, greets);
    files.openai("sound", &busy, greets);
    files.openai("everything", &broken, greets);
    files.openai(
        "leaving",
        &failing,
        &format!("{greets}[limits]\nturns = 0\n[listen]\nno_input_ms = 1500\n"),
    );
    let asterisk = asterisk().await;
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &files.1, ..Settings::default() }).await;
    let apologises = async |number: &str, extension: &str| {
        let phone = phone(number).await;
        let call = connected(&phone, &asterisk, extension).await;
        assert!(ended_by_bot(&play(&call, vec![Step::BotSpeaks { within: PATIENCE }, HANGS_UP]).await));
        let (_, turns) = engine.ended_call_of(number).await;
        assert!(texts(&turns).last().is_some_and(|text| text.contains("I am sorry")), "{:?}", texts(&turns));
    };
    let answers = async |number: &str, extension: &str| {
        let phone = phone(number).await;
        let call = connected(&phone, &asterisk, extension).await;
        play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT]).await;
        call.hang_up().await.expect("he hangs up");
        let (_, turns) = engine.ended_call_of(number).await;
        assert!(texts(&turns).iter().any(|text| text.contains("answer")), "{:?}", texts(&turns));
    };
    tokio::join!(
        apologises("5570111", "122"),
        apologises("5570112", "124"),
        answers("5570113", "125"),
        answers("5570114", "126"),
        // An answer that failed is asked for again; then its limit is reached.
        apologises("5570115", "128"),
    );
    assert_eq!(refusing.seen("session.update").len(), 0, "a key that is refused is not tried again");
    assert_eq!(broken.seen("session.update").len(), 2, "connected again");
    assert_eq!(failing.seen("response.create").len(), 2, "asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_looks_something_up_and_goes_on_with_what_it_learnt() {
    let wish = Some((1, "account_balance", "{\"account\":\"1234\"}"));
    let manner = Manner { wishes: wish, answer_ms: 1_000, ..Manner::default() };
    let openai = StandIn::start(Kind::OpenAi, manner.clone());
    let gemini = StandIn::start(Kind::Gemini, manner);
    let accounts =
        offhook::bot::agent::standin::StandIn::start(Pace::default()).await.expect("a port is free");
    let lookup = format!(
        "[lookup.account_balance]\ndescription = 'Tells a balance.'\nurl = '{}/accounts/{{account}}'\npointer = '/balance'\n\
         [lookup.account_balance.arguments.account]\ntype = 'digits'\nmax_chars = 4\n",
        accounts.base()
    );
    let mut files = Files::new();
    files.openai("talk", &openai, &format!("greeting = 'Say hello.'\n{lookup}"));
    let url = format!("ws://{}/live", gemini.address);
    files.bot(
        "flowing",
        &format!("service = 'gemini'\nurl = '{url}'\nkey = 'a key'\ngreeting = 'Say hello.'\n{lookup}"),
    );
    let asterisk = asterisk().await;
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &files.1, ..Settings::default() }).await;
    let question = crate::support::caller::line("I would like to know what is on my account").await;
    let conversation = async |number: &str, extension: &str| {
        let phone = phone(number).await;
        let call = connected(&phone, &asterisk, extension).await;
        let quiet = Step::BotSilent { quiet: Duration::from_millis(1_500), within: 15 * SECOND };
        let steps =
            vec![Step::BotSpeaks { within: PATIENCE }, SILENT, Step::Say(question.clone()), REPLIES, quiet];
        play(&call, steps).await;
        call.hang_up().await.expect("he hangs up");
        engine.ended_call_of(number).await
    };
    tokio::join!(conversation("5570131", "121"), conversation("5570132", "123"));
    let results = openai.seen("conversation.item.create");
    let result = results.iter().find(|message| message["item"]["type"] == "function_call_output");
    assert_eq!(result.expect("it was told")["item"]["output"], "<data>256 euros and 40 cents</data>");
    assert_eq!(openai.seen("response.create").len(), 3, "the greeting, the answer, and what it learnt");
    let result = &gemini.seen("toolResponse")[0];
    let told = result.pointer("/toolResponse/functionResponses/0/response/result");
    assert_eq!(told, Some(&"<data>256 euros and 40 cents</data>".into()));
    let rules = gemini.seen("setup")[0].pointer("/setup/systemInstruction/parts/0/text").cloned();
    let rules = rules.as_ref().and_then(Value::as_str).expect("it is told what it is");
    assert!(
        rules.starts_with("You talk with a caller on the telephone") && rules.contains("You are a clerk.")
    );
}

/// The same with the real service: it greets, hears a question and answers it.
async fn real_service(text: &str) {
    let mut files = Files::new();
    files.bot("talk", &format!("{text}\ngreeting = 'Say hello.'\n"));
    let asterisk = asterisk().await;
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &files.1, ..Settings::default() }).await;
    let phone = phone("5570121").await;
    let call = connected(&phone, &asterisk, "121").await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        Step::BotSilent { quiet: 2 * SECOND, within: 30 * SECOND },
        say("what is two plus two").await,
        REPLIES,
        Step::BotSilent { quiet: 2 * SECOND, within: 30 * SECOND },
    ];
    let report = play(&call, steps).await;
    let replies: Vec<Duration> = report.reply_latencies().collect();
    println!("the service replied after {replies:?}");
    call.hang_up().await.expect("he hangs up");
    let (_, turns) = engine.ended_call_of("5570121").await;
    println!("{:?}", texts(&turns));
}

#[tokio::test]
async fn openai_itself_where_there_is_a_key() {
    match std::env::var_os("OPENAI_API_KEY") {
        None => println!("SKIPPED: OPENAI_API_KEY is not set"),
        Some(_) => real_service("service = 'openai'").await,
    }
}

#[tokio::test]
async fn gemini_itself_where_there_is_a_key() {
    match std::env::var_os("GEMINI_API_KEY") {
        None => println!("SKIPPED: GEMINI_API_KEY is not set"),
        Some(_) => real_service("service = 'gemini'").await,
    }
}
