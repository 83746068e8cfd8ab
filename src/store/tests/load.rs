//! The store under load.

use serde_json::json;

use super::super::*;
use super::{MORNING, call, turn};
use crate::time::Moment;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_at_once_with_ten_turns_each_are_all_stored() {
    const CALLS: i64 = 100;
    const TURNS: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("calls.sqlite"), Numbers::Full).await.unwrap();
    let begun = Moment::now();
    let tasks: Vec<_> = (0..CALLS)
        .map(|i| {
            let (store, mut call) = (store.clone(), call(WallTime(MORNING.0 + i), "reception"));
            tokio::spawn(async move {
                let mut longest = 0.0_f64;
                store.put_call(call.clone());
                for index in 0..TURNS {
                    let before = Moment::now();
                    store.put_turn(turn(&call, index));
                    store.put_snapshot(&Snapshot {
                        call: call.id,
                        at: call.started,
                        state: json!({ "step": index }),
                    });
                    longest = longest.max(Moment::now().millis_from(before));
                    tokio::task::yield_now().await;
                }
                call.disposition = Some(Disposition::Completed);
                call.ended = Some(call.started);
                store.put_call(call.clone());
                store.remove_snapshot(call.id);
                longest
            })
        })
        .collect();
    let mut longest = 0.0_f64;
    for task in tasks {
        longest = longest.max(task.await.unwrap());
    }
    let put = Moment::now().millis_from(begun);
    store.flush().await.unwrap();
    let stored = Moment::now().millis_from(begun);
    eprintln!(
        "1,000 turns of 100 calls: put in {put:.1} ms (longest put {longest:.3} ms), on disk after {stored:.1} ms"
    );

    let calls = store.latest_calls(1_000).await.unwrap();
    assert_eq!(calls.len(), 100);
    assert!(calls.iter().all(|c| c.turns == TURNS && c.call.disposition == Some(Disposition::Completed)));
    assert_eq!(store.snapshots().await.unwrap(), []);
    assert_eq!(store.dropped().total(), 0);
}

/// Prints what a large store costs: `cargo test --lib store:: -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures for half a minute"]
async fn measure_a_store_of_fifty_thousand_calls() {
    const CALLS: i64 = 50_000;
    const TURNS: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let since = |begun: Moment| Moment::now().millis_from(begun);
    let begun = Moment::now();
    for i in 0..CALLS {
        // One call in a thousand is the rare bot's.
        let call = call(WallTime(MORNING.0 + i * 1_000), if i % 1_000 == 0 { "rare" } else { "reception" });
        store.put_call(call.clone());
        for index in 0..TURNS {
            store.put_turn(turn(&call, index));
        }
        if i % 1_000 == 0 {
            store.flush().await.unwrap();
        }
    }
    store.flush().await.unwrap();
    let took = since(begun);
    let rows = f64::from(TURNS + 1) * 50_000.0;
    eprintln!("written: {:.0} rows a second, {:.0} µs each", rows / took * 1_000.0, took * 1_000.0 / rows);
    eprintln!("size: {} bytes a call", fs::metadata(&path).unwrap().len() / 50_000);

    let begun = Moment::now();
    let latest = store.latest_calls(20).await.unwrap();
    eprintln!("the latest 20: {:.1} ms", since(begun));
    let begun = Moment::now();
    store.find_call(latest[0].call.id.as_str()).await.unwrap().unwrap();
    store.turns(latest[0].call.id).await.unwrap();
    eprintln!("one call with its turns: {:.1} ms", since(begun));
    let begun = Moment::now();
    store.latencies(1_000).await.unwrap();
    eprintln!("latencies of the last 1,000 turns of two bots: {:.1} ms", since(begun));
    let begun = Moment::now();
    let purged = store.purge(WallTime(MORNING.0 + 10_000_000)).await.unwrap();
    eprintln!("purging {} calls and {} turns: {:.0} ms", purged.calls.len(), purged.turns, since(begun));
    assert_eq!(store.dropped().total(), 0);
}
