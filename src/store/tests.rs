use std::collections::BTreeMap;

use serde_json::json;

use super::*;

mod load;
mod processes;

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
        taking: Taking {
            witness: Some("whole".into()),
            ducked_ms: Some(60.0),
            stopped_ms: Some(300.0),
            stopped_by: Some("words".into()),
            saved_ms: Some(35.0),
            wasted: 1,
            ..Taking::default()
        },
    }
}

#[tokio::test]
async fn what_asterisk_says_of_a_call_is_found_by_its_channel_and_goes_with_it() {
    let store = Store::memory(Numbers::Masked).await.unwrap();
    let call = call(MORNING, "reception");
    store.put_call(call.clone());
    store.flush().await.unwrap();
    let found = store.calls_on(&["1700000000.11", "1700000000.12"], MORNING).await.unwrap();
    assert_eq!(found, [call.id]);
    assert!(store.calls_on(&["1700000000.12"], WallTime(MORNING.0 + 90_000_000)).await.unwrap().is_empty());
    let detail = Detail { source: Some("+4930123456".into()), billed_seconds: 61, ..Detail::default() };
    let record = ServerRecord {
        call: call.id,
        linkedid: "1700000000.12".into(),
        billed_seconds: Some(61),
        details: vec![detail],
        steps: vec![ServerStep { event: "ANSWER".into(), ..ServerStep::default() }],
        whole: true,
    };
    store.put_server_record(ServerRecord { billed_seconds: None, ..record.clone() });
    store.put_server_record(record.clone());
    store.flush().await.unwrap();
    let read = store.server_record(call.id).await.unwrap().unwrap();
    assert_eq!(read.details[0].source.as_deref(), Some("********456"));
    assert_eq!((read.billed_seconds, &read.steps), (Some(61), &record.steps));
    assert_eq!(store.latest_calls(1).await.unwrap()[0].billed_seconds, Some(61));
    store.purge(WallTime(MORNING.0 + 1)).await.unwrap();
    assert_eq!(store.server_record(call.id).await.unwrap(), None);
}

#[tokio::test]
async fn outages_are_told_the_newest_first_and_forgotten_after_three_months() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let outage = |day: i64, app: &str| Outage {
        server: "pbx:8088".into(),
        app: app.into(),
        from: WallTime(MORNING.0 + day * 86_400_000),
        to: WallTime(MORNING.0 + day * 86_400_000 + 800),
        restarted: Some(WallTime(MORNING.0)),
        why: "it broke".into(),
    };
    for day in [0, 1, 100] {
        store.put_outage(outage(day, "bot"));
        store.flush().await.unwrap();
    }
    store.put_outage(outage(99, "other"));
    store.flush().await.unwrap();
    assert_eq!(store.outages("bot", 10).await.unwrap(), [outage(100, "bot")]);
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
    call.outcome = Some(CallOutcome {
        machines: Some(Machines::Message("We call again.".into())),
        rang: true,
        answered_by: Some(AnsweredBy::Machine),
        opted_out: true,
        result: BTreeMap::from([("SOLD".into(), "yes".into())]),
    });
    store.put_call(call.clone());
    store.flush().await.unwrap();

    let latest = store.latest_calls(10).await.unwrap();
    assert_eq!(latest, [CallSummary { call: call.clone(), turns: 2, billed_seconds: None }]);
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

#[tokio::test]
async fn a_turn_that_is_put_again_replaces_itself_and_its_call_need_not_be_there_yet() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let call = call(MORNING, "reception");
    let mut first = turn(&call, 0);
    first.reply = Reply::default();
    store.put_turn(first);
    store.flush().await.unwrap();
    store.put_turn(turn(&call, 0));
    store.put_call(call.clone());
    store.flush().await.unwrap();
    assert_eq!(store.turns(call.id).await.unwrap(), [turn(&call, 0)]);
    assert_eq!(store.latest_calls(1).await.unwrap()[0].turns, 1);
}

#[tokio::test]
async fn the_latest_calls_come_newest_first_and_no_more_than_asked_for() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    for minute in 0..5 {
        store.put_call(call(WallTime(MORNING.0 + minute * 60_000), "reception"));
    }
    store.flush().await.unwrap();
    let latest = store.latest_calls(2).await.unwrap();
    let minutes: Vec<_> = latest.iter().map(|c| (c.call.started.0 - MORNING.0) / 60_000).collect();
    assert_eq!(minutes, [4, 3]);
}

#[tokio::test]
async fn the_calls_that_an_engine_left_behind_are_those_without_an_end() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let (left, mut done) = (call(MORNING, "reception"), call(MORNING, "reception"));
    done.ended = Some(MORNING);
    store.put_call(left.clone());
    store.put_call(done);
    store.flush().await.unwrap();
    assert_eq!(store.unfinished_calls().await.unwrap(), [left]);
}

#[tokio::test]
async fn numbers_are_masked_or_left_out_before_they_are_stored() {
    for (numbers, caller, called) in
        [(Numbers::Masked, Some("********456"), Some("**0")), (Numbers::None, None, None)]
    {
        let store = Store::memory(numbers).await.unwrap();
        store.put_call(call(MORNING, "reception"));
        store.flush().await.unwrap();
        let stored = store.latest_calls(1).await.unwrap().remove(0).call;
        assert_eq!((stored.caller.as_deref(), stored.called.as_deref()), (caller, called));
    }
}

#[tokio::test]
async fn a_call_is_found_by_the_beginning_of_its_id_when_only_one_begins_so() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let (mut one, mut two) = (call(MORNING, "reception"), call(MORNING, "reception"));
    one.id = "01abc00000000000".parse().unwrap();
    two.id = "01abd00000000000".parse().unwrap();
    store.put_call(one.clone());
    store.put_call(two);
    store.flush().await.unwrap();

    assert_eq!(store.find_call("01ABC").await.unwrap().unwrap().call.id, one.id);
    assert_eq!(store.find_call("01abe").await.unwrap(), None);
    assert_eq!(store.find_call("01abc00000000000").await.unwrap().unwrap().call.id, one.id);
    let ambiguous = store.find_call("01ab").await.unwrap_err();
    assert!(matches!(&ambiguous, StoreError::Ambiguous { examples, .. } if examples.len() == 2));
    assert_eq!(
        ambiguous.to_string(),
        "'01ab' is the beginning of more than one call's id (01abc00000000000, 01abd00000000000): give more of it"
    );
    for bad in ["", "%", "01abc000000000000", "1' OR '1'='1"] {
        assert!(matches!(store.find_call(bad).await, Err(StoreError::BadPrefix(_))), "{bad}");
    }
}

#[tokio::test]
async fn latencies_are_counted_per_bot_over_its_last_turns() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let (one, two) = (call(MORNING, "reception"), call(MORNING, "survey"));
    store.put_call(one.clone());
    store.put_call(two.clone());
    // Sent after 340 to 439 ms; the last 50 of them after 390 to 439.
    for index in 0..100 {
        store.put_turn(turn(&one, index));
    }
    let mut quiet = turn(&two, 0);
    quiet.latencies = Latencies::default();
    store.put_turn(quiet);
    store.flush().await.unwrap();

    let bots = store.latencies(50).await.unwrap();
    assert_eq!(
        bots.iter().map(|b| (b.bot.as_str(), b.turns)).collect::<Vec<_>>(),
        [("reception", 50), ("survey", 0)]
    );
    let (stage, sent) = bots[0].stages.last().copied().unwrap();
    assert_eq!(stage, Stage::Sent);
    assert_eq!(sent, Percentiles { count: 50, p50: 414.0, p90: 434.0, p95: 437.0, p99: 439.0, max: 439.0 });
    assert_eq!(bots[0].histogram, [0, 0, 0, 10, 40]);
    assert_eq!((bots[0].wasted, bots[0].witnesses.as_slice()), (50, &[("whole".to_owned(), 50)][..]));
    assert_eq!(bots[0].ducked.map(|ducked| ducked.p95), Some(60.0));
    assert!(bots[1].stages.is_empty());
}

#[test]
fn percentiles_are_by_the_nearest_rank() {
    assert_eq!(Percentiles::of(vec![]), None);
    let one = Percentiles::of(vec![7.0]).unwrap();
    assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
    let hundred = Percentiles::of((1..=100).rev().map(f64::from).collect()).unwrap();
    assert_eq!((hundred.p50, hundred.p90, hundred.p95, hundred.p99), (50.0, 90.0, 95.0, 99.0));
}

#[tokio::test]
async fn purging_takes_old_calls_with_their_turns_and_leaves_no_word_of_them_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let old: Vec<_> = (0..450).map(|i| call(WallTime(MORNING.0 + i), "reception")).collect();
    for call in &old {
        store.put_call(call.clone());
        store.put_turn(turn(call, 0));
    }
    let up = call(WallTime(MORNING.0 + 500), "reception");
    store.put_call(up.clone());
    store.put_snapshot(&Snapshot { call: up.id, at: MORNING, state: json!({}) });
    let new = call(WallTime(MORNING.0 + 1_000), "reception");
    store.put_call(new.clone());
    store.flush().await.unwrap();
    let holds = |needle: &[u8]| {
        let files =
            fs::read_dir(folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
    };
    assert!(holds(b"sales department"));

    let purged = store.purge(WallTime(MORNING.0 + 1_000)).await.unwrap();
    assert_eq!((purged.calls.len(), purged.turns), (450, 450));
    let (mut gone, mut expected) = (purged.calls, old.iter().map(|c| c.id).collect::<Vec<_>>());
    gone.sort_unstable();
    expected.sort_unstable();
    assert_eq!(gone, expected);
    let left: Vec<_> = store.latest_calls(10).await.unwrap().iter().map(|c| c.call.id).collect();
    assert_eq!(left, [new.id, up.id]);
    assert!(!holds(b"sales department"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_up_to_date_with_all_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.db");
    let call = call(MORNING, "reception");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    store.put_call(call.clone());
    store.put_turn(turn(&call, 0));
    store.flush().await.unwrap();
    drop(store);
    for later in [
        "ALTER TABLE turns DROP COLUMN taking",
        "DROP TABLE server_records",
        "DROP TABLE outages",
        "DROP TABLE call_backs",
        "ALTER TABLE calls DROP COLUMN outcome",
        "DROP INDEX calls_by_leg",
    ] {
        sql(&path, later).await;
    }
    sql(&path, "UPDATE offhook_schema SET version = 1").await;

    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let kept = TurnRecord { taking: Taking::default(), ..turn(&call, 0) };
    assert_eq!(store.turns(call.id).await.unwrap(), [kept]);
    store.put_turn(turn(&call, 1));
    store.flush().await.unwrap();
    assert_eq!(store.turns(call.id).await.unwrap()[1], turn(&call, 1));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    Store::open(&path, Numbers::Full).await.unwrap().close().await.unwrap();
    sql(&path, "UPDATE offhook_schema SET version = 99").await;
    for error in [
        Store::open(&path, Numbers::Full).await.err().unwrap(),
        Store::open_to_read(&path).await.err().unwrap(),
    ] {
        assert_eq!(
            error.to_string(),
            format!(
                "the store {} has schema version 99, and this Offhook knows up to {}: run the newer Offhook that \
                 made it, or set `store.path` to another file",
                path.display(),
                schema::LATEST
            )
        );
    }
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.sqlite");
    fs::write(&path, b"").unwrap();
    sql(&path, "CREATE TABLE theirs (x INTEGER)").await;
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path, Numbers::Full).await.err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::write(&path, "no database at all, just some text that is longer than a header ".repeat(30)).unwrap();
    let error = Store::open(&path, Numbers::Full).await.err().unwrap();
    assert!(error.to_string().contains("is no store of Offhook"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_with_what_to_do() {
    // Not even root can make a file in /sys, nor a folder below a file.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    for path in [PathBuf::from("/sys/calls.sqlite"), folder.path().join("file/below/calls.sqlite")] {
        let error = Store::open(&path, Numbers::Full).await.err().unwrap();
        assert!(matches!(error, StoreError::Folder { .. }), "{error}");
        let sentence = error.to_string();
        assert!(
            sentence.starts_with(&format!("cannot write in {}: ", path.parent().unwrap().display())),
            "{sentence}"
        );
        assert!(sentence.ends_with("or set `store.path` to another place"), "{sentence}");
    }
    let missing = Store::open_to_read(folder.path().join("none.sqlite")).await.err().unwrap();
    assert!(missing.to_string().contains("start the engine once with `offhook run`"), "{missing}");
}

#[tokio::test]
async fn the_folder_and_the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/lib/calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    store.put_call(call(MORNING, "reception"));
    store.flush().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and its index");
}

#[tokio::test]
async fn a_full_queue_refuses_what_is_new_and_counts_it() {
    let queue = Queue::new(2);
    let calls: Vec<_> = (0..3).map(|i| call(WallTime(MORNING.0 + i), "reception")).collect();
    for call in &calls {
        queue.put_call(call.clone());
        queue.put_snapshot(call.id, Some((MORNING, "{}".into())));
        queue.put_turn(turn(call, 0));
        queue.put_turn(turn(call, 1));
    }
    assert_eq!(queue.dropped(), Dropped { calls: 1, turns: 2, snapshots: 1, said: 0 });
    // What has its place already may still change.
    queue.put_call(calls[0].clone());
    queue.put_snapshot(calls[1].id, None);
    assert_eq!(queue.dropped().total(), 4);
    let batch = queue.take();
    assert_eq!((batch.rows(), batch.turns[0].call, batch.turns[3].index), (8, calls[0].id, 1));
}

#[tokio::test]
async fn a_batch_that_is_put_back_does_not_overwrite_what_is_newer() {
    let queue = Queue::new(10);
    let mut call = call(MORNING, "reception");
    queue.put_call(call.clone());
    queue.put_turn(turn(&call, 0));
    queue.put_snapshot(call.id, Some((MORNING, "old".into())));
    let failed = queue.take();
    call.ended = Some(MORNING);
    queue.put_call(call.clone());
    queue.put_turn(turn(&call, 1));
    queue.put_snapshot(call.id, None);
    queue.put_back(failed);
    let batch = queue.take();
    assert_eq!(batch.calls[&call.id], call);
    assert_eq!(batch.snapshots[&call.id], None);
    assert_eq!(batch.turns.iter().map(|t| t.index).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_snapshot_that_is_too_large_is_refused_and_one_at_the_limit_is_not() {
    let store = Store::memory(Numbers::Full).await.unwrap();
    let id = CallId::new(MORNING);
    let of = |bytes: usize| Snapshot { call: id, at: MORNING, state: json!("x".repeat(bytes - 2)) };
    store.put_snapshot(&of(MAX_SNAPSHOT_BYTES));
    assert_eq!(store.dropped().total(), 0);
    store.put_snapshot(&of(MAX_SNAPSHOT_BYTES + 1));
    assert_eq!(store.dropped(), Dropped { snapshots: 1, ..Dropped::default() });
}

// In real time: in virtual time the writer would try without a pause and nobody else would get at the file.
#[tokio::test]
async fn what_could_not_be_written_is_written_when_the_disk_is_well_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    sql(&path, "ALTER TABLE snapshots RENAME TO gone").await;
    let call = call(MORNING, "reception");
    store.put_call(call.clone());
    store.put_turn(turn(&call, 0));
    store.put_snapshot(&Snapshot { call: call.id, at: MORNING, state: json!({}) });
    let error = store.flush().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(store.waiting(), 3, "a batch is all there or not at all");
    assert_eq!(store.latest_calls(1).await.unwrap(), []);

    sql(&path, "ALTER TABLE gone RENAME TO snapshots").await;
    store.put_turn(turn(&call, 1));
    store.flush().await.unwrap();
    assert_eq!(store.turns(call.id).await.unwrap().len(), 2);
    assert_eq!(store.dropped().total(), 0);
    store.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_waits_and_gives_up_on_a_disk_that_does_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let call = call(MORNING, "reception");
    store.put_call(call.clone());
    store.close().await.unwrap();
    assert_eq!(store.latest_calls(1).await.unwrap().len(), 1);
    store.put_turn(turn(&call, 0));
    assert_eq!(store.dropped().turns, 1);
    assert!(matches!(store.flush().await, Err(StoreError::Closed)));
    assert!(matches!(store.close().await, Err(StoreError::Closed)));

    let store = Store::open(&path, Numbers::Full).await.unwrap();
    sql(&path, "ALTER TABLE turns RENAME TO gone").await;
    store.put_turn(turn(&call, 0));
    assert!(store.close().await.is_err());
    assert_eq!(store.waiting(), 1);
}

#[tokio::test]
async fn a_store_that_is_opened_to_be_read_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let engine = Store::open(&path, Numbers::Full).await.unwrap();
    engine.put_call(call(MORNING, "reception"));
    engine.flush().await.unwrap();
    let reading = Store::open_to_read(&path).await.unwrap();
    reading.put_call(call(MORNING, "reception"));
    assert_eq!(reading.dropped().calls, 1);
    assert_eq!(reading.latest_calls(10).await.unwrap().len(), 1);
    assert!(reading.purge(WallTime(i64::MAX)).await.is_err());
    reading.close().await.unwrap();
}

/// Runs SQL on a store from outside.
async fn sql(path: &Path, sql: &'static str) {
    let mut db = connect(&options().filename(path), path).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}
