use serde_json::json;

use super::*;

/// Half past eight on a morning in 2026.
const MORNING: WallTime = WallTime(1_795_249_800_000);

fn call(at: WallTime, bot: &str) -> CallRecord {
    let mut call = CallRecord::begun(CallId::new(at), at, Direction::In);
    call.server = "pbx".into();
    call.app = "offhook".into();
    call.bot = bot.into();
    call.caller = Some("+4930123456".into());
    call.called = Some("100".into());
    call.leg = "1700000000.12".into();
    call
}

fn turn(call: &CallRecord, index: u32) -> TurnRecord {
    TurnRecord {
        call: call.id,
        index,
        at: WallTime(call.started.0 + i64::from(index) * 5_000),
        step: Some("menu".into()),
        kind: TurnKind::Voice,
        heard: Heard {
            text: Some("the sales department please".into()),
            meaning: Some("sales".into()),
            confidence: Some(0.875),
            keys: None,
        },
        reply: Reply {
            text: Some("I put you through to sales.".into()),
            total_ms: Some(1_900),
            heard_ms: Some(640),
            interrupted: Some(Interruption::Voice),
        },
        latencies: Latencies {
            endpoint_ms: Some(300.0),
            final_ms: Some(310.5),
            reply_ms: Some(311.0),
            audio_ms: Some(325.0),
            sent_ms: Some(340.0 + f64::from(index)),
        },
    }
}

#[tokio::test]
async fn a_call_and_its_turns_read_back_as_they_were_put() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let mut call = call(MORNING, "reception");
    store.put_call(call.clone());
    store.put_turn(turn(&call, 0));
    store.put_turn(turn(&call, 1));
    call.ended = Some(WallTime(MORNING.0 + 61_000));
    call.disposition = Some(Disposition::CallerHungUp);
    call.cause = Some(16);
    call.media = Some(json!({ "lost": 3 }));
    store.put_call(call.clone());
    store.flush().await.unwrap();

    let latest = store.latest_calls(10).await.unwrap();
    assert_eq!(latest, [CallSummary { call: call.clone(), turns: 2 }]);
    assert_eq!(store.turns(call.id).await.unwrap(), [turn(&call, 0), turn(&call, 1)]);
    assert_eq!(store.find_call(call.id.as_str()).await.unwrap().unwrap().call, call);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_replaces_the_one_before_and_goes_when_the_call_does() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let id = CallId::new(MORNING);
    for step in 0..3 {
        store.put_snapshot(&Snapshot { call: id, at: MORNING, state: json!({ "step": step }) });
    }
    assert_eq!(store.waiting(), 1);
    store.flush().await.unwrap();
    assert_eq!(
        store.snapshots().await.unwrap(),
        [Snapshot { call: id, at: MORNING, state: json!({ "step": 2 }) }]
    );
    store.remove_snapshot(id);
    store.flush().await.unwrap();
    assert_eq!(store.snapshots().await.unwrap(), []);
}
