//! The commands besides `run`, as they are typed: what they print and how they exit.

use std::process::Output;

use offhook::phone::script::Step;
use offhook::store::{Direction, Disposition};

use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SILENT, assert_empty, assert_gone, connected, house, own_asterisk, phone,
    play, press,
};
use crate::support::engine::{Settings, ShowLog, offhook};
use crate::support::{AsteriskUnderTest, EngineUnderTest};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one sentence of a command that failed as it should.
fn sentence(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "one sentence: {text}");
    assert!(text.starts_with("offhook: ") && !text.contains("panicked") && !text.contains("stack"), "{text}");
    text
}

#[tokio::test]
async fn a_bot_calls_somebody() {
    let asterisk = own_asterisk(false).await;
    // It is called beside an engine that takes calls, whose store it shares.
    let engine = EngineUnderTest::start(&asterisk, Settings::default()).await;
    let _log = ShowLog(&engine);
    let phone = phone("5550301").await;
    let endpoint = format!("PJSIP/anonymous/sip:bob@{}", phone.address());
    let args = ["call", &endpoint, "--bot", "quick", "--ring", "10", "--caller-id", "5550300"];
    let talk = async {
        let incoming = phone.expect_call(PATIENCE).await.expect("it rings");
        assert_eq!(incoming.to_user(), "bob");
        assert!(incoming.from().contains("5550300"), "{}", incoming.from());
        incoming.ring().await.expect("the phone is on");
        let call = incoming.answer().await.expect("the phone is on");
        call.wait_answered(PATIENCE).await.expect("an answer");
        let steps =
            vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("1"), REPLIES, SILENT, press("2468")];
        play(&call, [steps, vec![REPLIES, HANGS_UP]].concat()).await;
    };
    let (output, ()) = tokio::join!(engine.offhook(&args), talk);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("completed") && text.contains("2468") && text.contains("Four digits."), "{text}");
    let calls = engine.store().await.latest_calls(10).await.expect("it can be read");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].call.direction, calls[0].call.disposition),
        (Direction::Out, Some(Disposition::Completed))
    );
    assert_gone(&asterisk, &engine, &calls[0].call).await;

    for (code, reason, disposition) in
        [(486, "Busy Here", Disposition::Busy), (603, "Decline", Disposition::NoAnswer)]
    {
        let refuse = async {
            phone
                .expect_call(PATIENCE)
                .await
                .expect("it rings")
                .refuse(code, reason)
                .await
                .expect("the phone is on");
        };
        let (output, ()) = tokio::join!(engine.offhook(&args), refuse);
        let text = sentence(&output);
        println!("{text}");
        assert!(text.contains("nobody answered"), "{text}");
        let latest = engine.store().await.latest_calls(1).await.expect("it can be read");
        assert_eq!(latest[0].call.disposition, Some(disposition), "{:?}", latest[0].call.cause);
    }

    // Nobody takes it up.
    let args = ["call", &endpoint, "--bot", "quick", "--ring", "1"];
    let text = sentence(&engine.offhook(&args).await);
    assert!(text.contains("nobody answered"), "{text}");
    let latest = engine.store().await.latest_calls(1).await.expect("it can be read");
    assert_eq!(latest[0].call.disposition, Some(Disposition::NoAnswer), "{:?}", latest[0].call.cause);
    drop(phone);
    let text = sentence(&engine.offhook(&["call", "PJSIP/nobody-there", "--bot", "quick"]).await);
    assert!(text.contains("pjsip show endpoints"), "{text}");
    let latest = engine.store().await.latest_calls(1).await.expect("it can be read");
    assert_eq!(latest[0].call.disposition, Some(Disposition::Failed));
    let text = sentence(&engine.offhook(&["call", &endpoint, "--bot", "concierge"]).await);
    assert!(text.contains("talker") && text.contains("quick"), "{text}");
    assert_empty(&asterisk).await;
}

#[tokio::test]
async fn calls_are_listed_and_shown_while_the_engine_runs() {
    let (asterisk, engine) = house().await;
    let phone = phone("5550311").await;
    let call = connected(&phone, asterisk, "111").await;
    let id = engine.call_of("5550311").await.id;
    let listed = async || out(&engine.offhook(&["calls", "--limit", "100"]).await);
    let row = |text: &str| text.lines().find(|line| line.starts_with(id.as_str())).map(str::to_owned);
    let running = row(&listed().await).expect("a call that is up is listed");
    assert!(running.contains("5550311") && running.contains("quick"), "{running}");
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        SILENT,
        press("1"),
        REPLIES,
        SILENT,
        press("9876"),
        REPLIES,
    ];
    play(&call, [steps, vec![HANGS_UP]].concat()).await;
    let (record, _) = engine.ended_call_of("5550311").await;
    let over = row(&listed().await).expect("it is listed");
    assert!(over.contains("completed") && over.contains(" 3 "), "{over}");

    let shown = out(&engine.offhook(&["calls", id.as_str()]).await);
    for part in [
        "5550311 → 111",
        "completed",
        "turn 0 · agree",
        "turn 2 · bye",
        "9876",
        "Four digits.",
        "first frame",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let json = engine.offhook(&["calls", id.as_str(), "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert_eq!(json["id"], id.as_str(), "{json}");
    assert_eq!(json["turns"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["turns"][2]["heard"]["keys"], "9876");
    let json = engine.offhook(&["calls", "--json", "--limit", "100"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert!(
        json.as_array().is_some_and(|calls| calls.iter().any(|call| call["id"] == id.as_str())),
        "{json}"
    );
    let latencies = out(&engine.offhook(&["calls", "--latencies"]).await);
    assert!(latencies.contains("quick"), "{latencies}");
    let text = sentence(&engine.offhook(&["calls", "zzzz"]).await);
    assert!(text.contains("'zzzz'") && text.contains("offhook calls"), "{text}");
    assert_gone(asterisk, engine, &record).await;
}

/// The environment of an engine beside this Asterisk.
fn beside(asterisk: &AsteriskUnderTest, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [
        ("OFFHOOK_ASTERISK_URL", asterisk.ari_url.as_str()),
        ("OFFHOOK_ASTERISK_PASSWORD", asterisk.password),
        ("OFFHOOK_MEDIA_PORT", "0"),
    ];
    own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_doctor_tells_five_faults_apart() {
    let asterisk = &own_asterisk(false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("offhook.toml");
    std::fs::write(&config, "").expect("a file");
    let doctor = async |more: &[(&str, &str)]| offhook(&["doctor"], &config, &beside(asterisk, more)).await;
    let healthy = doctor(&[]).await;
    assert_eq!(healthy.status.code(), Some(0), "{}", out(&healthy));
    let faults: [&[(&str, &str)]; 4] = [
        &[("OFFHOOK_ASTERISK_URL", "http://127.0.0.1:9")],
        &[("OFFHOOK_ASTERISK_PASSWORD", "not-this-one")],
        &[("OFFHOOK_ASTERISK_APP", "concierge")],
        &[("OFFHOOK_MEDIA_ADVERTISE", "127.0.0.2")],
    ];
    let mut answers = Vec::new();
    for fault in faults {
        answers.push(doctor(fault).await);
    }
    let conf = asterisk.dir.join("etc/ari.conf");
    let text = std::fs::read_to_string(&conf).expect("it is there");
    std::fs::write(&conf, text.replace("enabled = yes", "enabled = no")).expect("it can be written");
    asterisk.cli("module reload res_ari.so").await;
    answers.push(doctor(&[]).await);
    let mut told: Vec<String> = Vec::new();
    for answer in &answers {
        assert_eq!(answer.status.code(), Some(1), "{}", out(answer));
        assert!(answer.stderr.is_empty(), "{}", String::from_utf8_lossy(&answer.stderr));
        let text = out(answer);
        assert!(
            text.contains(".conf [") || text.contains("[media]: "),
            "it says what to write where: {text}"
        );
        assert!(!text.contains("not-this-one"));
        assert!(!told.contains(&text), "another fault had the same answer: {text}");
        told.push(text);
    }
    let expected = ["bindport = 9", "password = ", "Stasis(concierge)", "advertise = ", "enabled = yes"];
    for (text, part) in told.iter().zip(expected) {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn an_engine_without_its_asterisk_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("offhook.toml");
    let flow = concat!(env!("CARGO_MANIFEST_DIR"), "/prompts/frontdesk.toml");
    let store = folder.path().join("calls.sqlite");
    let text = format!("[store]\npath = '{}'\n[bots.desk]\nflow = '{flow}'\n", store.display());
    std::fs::write(&config, text).expect("a file");
    let (asterisk, _) = house().await;
    let mut told = Vec::new();
    for more in [[("OFFHOOK_ASTERISK_URL", "http://127.0.0.1:9")], [("OFFHOOK_ASTERISK_PASSWORD", "wrong")]] {
        let text = sentence(&offhook(&["run", "--log", "error"], &config, &beside(asterisk, &more)).await);
        println!("{text}");
        assert!(!told.contains(&text) && !text.contains("wrong"), "{text}");
        told.push(text);
    }
    assert!(!store.exists(), "what cannot work leaves nothing behind");
}

#[tokio::test]
async fn a_fault_in_configuration_or_flow_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("a file");
    let run = async |text: &str| {
        write("offhook.toml", text);
        let env = [("OFFHOOK_ASTERISK_PASSWORD".to_owned(), "x".to_owned())];
        sentence(&offhook(&["run", "--log", "error"], &path("offhook.toml"), &env).await)
    };
    let text = run("[media]\n\nprot = 1\n").await;
    assert!(
        text.contains("offhook.toml:3: ") && text.contains("`prot`") && text.contains("`port`"),
        "{text}"
    );
    let text = run("[media\n").await;
    assert!(text.contains("offhook.toml:1: "), "{text}");
    let text = run("[bots.desk]\nflow = 'missing.toml'\n").await;
    assert!(text.contains("missing.toml"), "{text}");
    write(
        "desk.toml",
        "[flow]\nname = 'desk'\nfirst = 'hello'\n\n[step.hello]\nkind = 'say'\nsay = 'Hello.'\ngoto = 'bey'\n",
    );
    let text = run("[bots.desk]\nflow = 'desk.toml'\n").await;
    assert!(text.contains("desk.toml:8") && text.contains("bey"), "{text}");
    let nowhere = offhook(&["run"], &path("nowhere.toml"), &[]).await;
    assert!(sentence(&nowhere).contains("nowhere.toml"));
    let strange =
        offhook(&["run"], &path("offhook.toml"), &[("OFFHOOK_MEDAI_PORT".to_owned(), "1".to_owned())]).await;
    assert!(sentence(&strange).contains("OFFHOOK_MEDAI_PORT"));
    let mistyped = offhook(&["rnu"], &path("offhook.toml"), &[]).await;
    assert_eq!(mistyped.status.code(), Some(2));
}
