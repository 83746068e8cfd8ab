use serde_json::json;

use super::*;
use crate::id::CallId;
use crate::store::{AnsweredBy, CallOutcome, Detail, ServerStep};
use crate::store::{Disposition, Heard, Numbers};

const START: WallTime = WallTime(1_795_215_423_120);

fn call() -> CallRecord {
    let mut call = CallRecord::begun("01m7a2kq3v0000ab".parse().unwrap(), START, Direction::In);
    call.server = "pbx".into();
    call.app = "offhook".into();
    call.bot = "reception".into();
    call.caller = Some("********456".into());
    call.called = Some("100".into());
    call.leg = "1700000000.12".into();
    call
}

fn ended() -> CallRecord {
    let mut call = call();
    call.answered = Some(WallTime(START.0 + 40));
    call.ended = Some(WallTime(START.0 + 65_500));
    call.disposition = Some(Disposition::CallerHungUp);
    call.cause = Some(16);
    call.recording = Some("/var/lib/offhook/recordings/01m7a2kq3v0000ab.wav".into());
    call.media = Some(json!({ "lost": 3 }));
    call
}

fn turn(latencies: Latencies) -> TurnRecord {
    TurnRecord {
        call: call().id,
        index: 1,
        at: WallTime(START.0 + 12_000),
        step: Some("menu".into()),
        kind: TurnKind::Voice,
        heard: Heard {
            text: Some("the sales department".into()),
            meaning: Some("sales".into()),
            confidence: Some(0.9),
            keys: None,
        },
        reply: Reply {
            text: Some("I put you through.".into()),
            total_ms: Some(1_900),
            heard_ms: Some(640),
            interrupted: Some(Interruption::Voice),
        },
        latencies,
        taking: Taking::default(),
    }
}

fn usual() -> Latencies {
    Latencies {
        endpoint_ms: Some(300.0),
        final_ms: Some(310.0),
        reply_ms: Some(312.0),
        audio_ms: Some(326.0),
        sent_ms: Some(400.0),
    }
}

#[test]
fn the_list_has_a_line_for_each_call() {
    let other = CallRecord {
        id: "01m7a2kq3v0000cd".parse().unwrap(),
        direction: Direction::Out,
        called: Some("+4930123456".into()),
        ..call()
    };
    let text = render_list(&[
        CallSummary { call: ended(), turns: 12, billed_seconds: Some(64) },
        CallSummary { call: other, turns: 0, billed_seconds: None },
    ]);
    let expected = "\
ID                WHEN (UTC)           BOT        DIR  CALLER       DURATION  BILLED  TURNS  DISPOSITION
01m7a2kq3v0000ab  2026-11-20 22:57:03  reception  in   ********456      1:05    1:04     12  caller_hung_up
01m7a2kq3v0000cd  2026-11-20 22:57:03  reception  out  +4930123456         –       –      0  up
";
    assert_eq!(text, expected);
    assert_eq!(render_list(&[]), "No calls yet.\n");
}

#[test]
fn one_call_shows_its_facts_and_its_turns() {
    let expected = "\
call       01m7a2kq3v0000ab
started    2026-11-20T22:57:03.120Z
answered   2026-11-20T22:57:03.160Z (+0.040 s)
ended      2026-11-20T22:58:08.620Z (+65.500 s)
duration   1:05
bot        reception (app offhook on pbx)
in         ********456 → 100
leg        1700000000.12
outcome    caller_hung_up, cause 16
recording  /var/lib/offhook/recordings/01m7a2kq3v0000ab.wav
media      {\"lost\":3}

turn 1 · menu · 22:57:15.120
  caller  “the sales department” → sales (confidence 0.90)
  bot     “I put you through.” · 0.6 s of 1.9 s heard, interrupted by voice
  endpoint      ██████████████████████████████··········   300 ms
  final         ······························█·········    10 ms
  reply chosen  ·······························█········     2 ms
  first audio   ·······························██·······    14 ms
  first frame   ·································███████    74 ms
  caller waited                                            400 ms
";
    assert_eq!(render_call(&ended(), &[turn(usual())], None), expected);
    assert!(render_call(&call(), &[], None).ends_with("outcome    up\n\nNo turns.\n"));
}

#[test]
fn work_done_ahead_is_a_mark_before_the_stage_above_it() {
    let ahead = Latencies {
        endpoint_ms: Some(400.0),
        final_ms: Some(120.0),
        reply_ms: Some(-20.0),
        audio_ms: None,
        sent_ms: Some(410.0),
    };
    let expected = "  endpoint      ███████████████████████████████████████·   400 ms
  final         ············|···························  @120 ms
  reply chosen  |·······································  @-20 ms
  first frame   ·······································█    10 ms
  caller waited                                            410 ms
";
    assert_eq!(waterfall(&turn(ahead)), expected);
}

#[test]
fn a_turn_without_latencies_has_no_waterfall_and_odd_values_draw_nothing_odd() {
    assert_eq!(waterfall(&turn(Latencies::default())), "");
    assert_eq!(waterfall(&turn(Latencies { sent_ms: Some(f64::NAN), ..Latencies::default() })), "");
    for ms in [0.0, -5.0, 1e-9, 1e12] {
        let text =
            waterfall(&turn(Latencies { endpoint_ms: Some(ms), final_ms: Some(ms), ..Latencies::default() }));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines().take(2).all(|line| line.chars().filter(|c| "█·|".contains(*c)).count() == BAR),
            "{text}"
        );
        assert!(text.contains("until then"), "{text}");
    }
}

#[test]
fn a_turn_says_who_decided_and_how_it_was_interrupted() {
    let taking = Taking {
        witness: Some("whole".into()),
        needed_ms: Some(160),
        parts_ms: Some([180, -30, 10, 0]),
        completeness: Some("whole".into()),
        ending: Some("falls".into()),
        ducked_ms: Some(60.0),
        stopped_ms: Some(340.0),
        stopped_by: Some("words".into()),
        restored: 2,
        resumed: true,
        saved_ms: Some(45.0),
        wasted: 1,
        recognizer: Some("deepgram".into()),
        recognizer_ms: Some(231.4),
        synthesizer: Some("flite".into()),
        synthesizer_ms: Some(12.0),
    };
    let text = render_turn(&TurnRecord { taking, ..turn(usual()) });
    for line in [
        "  decided   The answer was whole: nothing could follow it.",
        "            after 160 ms of silence: 180 by words and question, -30 voice (falls), +10 habit, +0 doubt",
        "  barge-in  ducked after 60 ms, stopped after 340 ms by words; went on, it was nothing",
        "            2 sounds that were nothing ducked it",
        "  prepared  the reply, 45 ms saved; 1 for nothing",
        "  heard by  deepgram, final after 231 ms",
        "  spoken by flite, first audio after 12 ms",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn each_kind_of_turn_says_what_the_caller_did() {
    let of = |kind, text: Option<&str>, keys: Option<&str>| {
        let mut turn = turn(usual());
        turn.kind = kind;
        turn.heard = Heard { text: text.map(Into::into), keys: keys.map(Into::into), ..Heard::default() };
        heard(&turn)
    };
    assert_eq!(of(TurnKind::Opening, None, None), "(the bot begins)");
    assert_eq!(of(TurnKind::NoInput, None, None), "(nothing)");
    assert_eq!(of(TurnKind::Keys, None, Some("12#")), "keys 12#");
    assert_eq!(of(TurnKind::Keys, None, None), "keys");
    assert_eq!(of(TurnKind::NoMatch, Some("er"), None), "“er” (no match)");
    assert_eq!(of(TurnKind::NoMatch, None, None), "(not understood)");
    assert_eq!(
        said(&Reply { heard_ms: Some(1_900), total_ms: Some(1_900), ..Reply::default() }),
        "(audio) · 1.9 s"
    );
}

#[test]
fn a_caller_cannot_drive_the_terminal() {
    let mut call = call();
    call.caller = Some("\u{1b}[2J\u{202e}911\r\n".into());
    let mut turn = turn(usual());
    turn.heard.text = Some("\u{9b}31m".into());
    let text = render_list(&[CallSummary { call: call.clone(), turns: 1, billed_seconds: None }])
        + &render_call(&call, &[turn], None);
    assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{text:?}");
    assert!(text.contains("·[2J·911··"), "{text}");
}

#[tokio::test]
async fn the_command_reads_the_store() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    store.put_call(ended());
    store.put_turn(turn(usual()));
    store.flush().await.unwrap();
    let args = CallsArgs { id: None, json: false, limit: 20, latencies: None, config: ConfigArg::default() };
    assert_eq!(
        output(&args, &store).await.unwrap(),
        render_list(&[CallSummary { call: ended(), turns: 1, billed_seconds: None }])
    );
    let one = CallsArgs { id: Some("01M7".into()), ..args.clone() };
    assert_eq!(output(&one, &store).await.unwrap(), render_call(&ended(), &[turn(usual())], None));
    let none = CallsArgs { id: Some("02".into()), ..args.clone() };
    assert_eq!(
        output(&none, &store).await.unwrap_err().to_string(),
        "no call has an id that begins with '02': `offhook calls` lists the latest"
    );
    let took = CallsArgs { latencies: Some(100), ..args };
    let expected = "\
BOT        STAGE         TURNS  P50 ms  P90 ms  P95 ms  P99 ms  MAX ms
reception  endpoint          1     300     300     300     300     300
reception  final             1     310     310     310     310     310
reception  reply chosen      1     312     312     312     312     312
reception  first audio       1     326     326     326     326     326
reception  first frame       1     400     400     400     400     400

Each from the end of the caller's speech.

reception
  from 400 ms   ████████████████████████████████████████ 1
";
    assert_eq!(output(&took, &store).await.unwrap(), expected);
}

#[test]
fn what_asterisk_says_of_a_call_stands_between_its_facts_and_its_turns() {
    let record = ServerRecord {
        call: ended().id,
        linkedid: "1795.1".into(),
        billed_seconds: Some(64),
        details: vec![Detail {
            channel: "PJSIP/alice-1".into(),
            peer: "UnicastRTP/1".into(),
            source: Some("****456".into()),
            destination: None,
            application: "Stasis".into(),
            account: "carrier".into(),
            duration_seconds: 66,
            billed_seconds: 64,
            disposition: "ANSWERED".into(),
            ..Detail::default()
        }],
        steps: vec![ServerStep {
            at: "2026-11-20 22:57:03".into(),
            event: "ANSWER".into(),
            channel: "PJSIP/alice-1".into(),
            application: "Stasis".into(),
        }],
        whole: false,
    };
    let expected = "\
Asterisk: call 1795.1, 1:04 billed (AMI was away meanwhile: some of it may be missing)
  cdr  ****456 → –, answered, 1:06 in all, 1:04 billed, account carrier
       PJSIP/alice-1 with UnicastRTP/1, last Stasis
  2026-11-20 22:57:03  ANSWER       PJSIP/alice-1 in Stasis
";
    assert_eq!(render_server_record(&record), expected);
    assert!(render_call(&ended(), &[], Some(&record)).contains(expected));
}

#[tokio::test]
async fn json_carries_everything_under_the_names_of_the_store() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    store.put_call(ended());
    store.put_turn(turn(usual()));
    store.flush().await.unwrap();
    let read = async |id: Option<&str>| -> serde_json::Value {
        let args = CallsArgs {
            id: id.map(Into::into),
            json: true,
            limit: 1,
            latencies: None,
            config: ConfigArg::default(),
        };
        serde_json::from_str(&output(&args, &store).await.unwrap()).unwrap()
    };
    let list = read(None).await;
    assert_eq!(list[0]["id"], "01m7a2kq3v0000ab");
    assert_eq!(list[0]["turns"], 1);
    assert_eq!(list[0]["disposition"], "caller_hung_up");
    assert_eq!(list[0]["started"], START.0);
    let one = read(Some("01m7a2kq3v0000ab")).await;
    assert_eq!(one["media"]["lost"], 3);
    assert_eq!(one["turns"][0]["heard"]["meaning"], "sales");
    assert_eq!(one["turns"][0]["reply"]["interrupted"], "voice");
    assert_eq!(one["turns"][0]["latencies"]["sent_ms"], 400.0);
}

#[test]
fn what_came_of_a_call_is_shown() {
    let mut call = ended();
    call.outcome = Some(CallOutcome {
        machines: None,
        rang: false,
        answered_by: Some(AnsweredBy::Machine),
        opted_out: true,
        result: [("SOLD".to_owned(), "yes".to_owned())].into(),
    });
    let shown = render_call(&call, &[], None);
    for line in ["answerer   machine", "opted out  nobody calls", "result     SOLD = yes"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn the_arguments_are_read_as_documented() {
    use clap::Parser;
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        calls: CallsArgs,
    }
    let read = |args: &[&str]| Command::try_parse_from([&["calls"], args].concat()).map(|c| c.calls);
    let plain = read(&[]).unwrap();
    assert_eq!((plain.id, plain.json, plain.limit, plain.latencies), (None, false, 20, None));
    let id = CallId::new(START).to_string();
    assert_eq!(read(&[&id, "--json"]).unwrap().id, Some(id));
    assert_eq!(read(&["--latencies"]).unwrap().latencies, Some(1_000));
    assert_eq!(read(&["--latencies", "50"]).unwrap().latencies, Some(50));
    assert!(read(&["--limit", "0"]).is_err());
}
