//! The store and other processes: one that is killed, one that reads, one that is listened to. A child is this test binary
//! again, told by a variable to run one function.

use std::io::{BufRead, BufReader, Read};

use serde_json::json;

use super::super::*;
use super::{MORNING, call, sql, turn};

/// Not a test: the engine that [`a_killed_process_loses_nothing_that_was_flushed`] kills.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os("OFFHOOK_TEST_KILLED_STORE") else { return };
    let store = Store::open(path, Numbers::Full).await.unwrap();
    let call = call(MORNING, "reception");
    store.put_call(call.clone());
    for index in 0.. {
        store.put_turn(turn(&call, index));
        store.put_snapshot(&Snapshot { call: call.id, at: MORNING, state: json!({ "turn": index }) });
        store.flush().await.unwrap();
        println!("\nflushed {index}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    for killed_after in [1, 20, 57] {
        fs::remove_dir_all(folder.path()).unwrap();
        let mut child = child("child_that_writes_until_it_is_killed", "OFFHOOK_TEST_KILLED_STORE", &path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let flushed = lines.filter(|line| line.starts_with("flushed")).nth(killed_after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let flushed: usize = flushed["flushed ".len()..].parse().unwrap();
        let store = Store::open(&path, Numbers::Full).await.unwrap();
        let found = store.latest_calls(1).await.unwrap().remove(0);
        let turns = store.turns(found.call.id).await.unwrap();
        assert!(turns.len() > flushed, "{} of {flushed}", turns.len());
        let snapshots = store.snapshots().await.unwrap();
        assert_eq!(
            snapshots[0].state,
            json!({ "turn": turns.len() - 1 }),
            "a batch is all there or not at all"
        );
        store.close().await.unwrap();
    }
}

/// Not a test: the `offhook calls` of [`another_process_reads_while_the_engine_writes`].
#[tokio::test]
async fn child_that_reads_while_another_writes() {
    let Some(path) = std::env::var_os("OFFHOOK_TEST_READ_STORE") else { return };
    let mut seen = 0;
    while seen < 20 {
        let store = Store::open_to_read(&path).await.unwrap();
        let calls = store.latest_calls(10_000).await.unwrap();
        assert!(calls.len() >= seen, "a call is gone");
        // A call and its turn were put together but for the lock between them: at most one has no turn yet.
        assert!(calls.iter().filter(|c| c.turns == 0).count() <= 1);
        seen = calls.len();
    }
    println!("\nsaw {seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_reads_while_the_engine_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let mut child = child("child_that_reads_while_another_writes", "OFFHOOK_TEST_READ_STORE", &path);
    let mut written = 0;
    let status = loop {
        let call = call(WallTime(MORNING.0 + written), "reception");
        store.put_call(call.clone());
        store.put_turn(turn(&call, 0));
        store.flush().await.unwrap();
        written += 1;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{said}");
    let seen: i64 = said.lines().find_map(|line| line.strip_prefix("saw ")).unwrap().parse().unwrap();
    assert!(seen >= 20 && seen <= written, "saw {seen} of {written}");
    assert_eq!(store.dropped().total(), 0);
    store.close().await.unwrap();
}

/// Not a test: the engine that [`no_log_line_carries_a_number_or_a_word_of_a_call`] listens to. In a process
/// of its own, so that every thread's log is heard and no other test's is.
#[tokio::test]
async fn child_that_logs_everything() {
    let Some(path) = std::env::var_os("OFFHOOK_TEST_LOGGED_STORE") else { return };
    let path = PathBuf::from(path);
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::stdout).init();
    let store = Store::open(&path, Numbers::Full).await.unwrap();
    let call = call(MORNING, "reception");
    store.put_call(call.clone());
    store.put_turn(turn(&call, 0));
    store.put_snapshot(&Snapshot { call: call.id, at: MORNING, state: json!({ "caller": "+4930123456" }) });
    store.flush().await.unwrap();
    store.latest_calls(1).await.unwrap();
    store.turns(call.id).await.unwrap();
    sql(&path, "ALTER TABLE turns RENAME TO gone").await;
    store.put_turn(turn(&call, 1));
    store.flush().await.unwrap_err();
    store.close().await.unwrap_err();
    store.put_turn(turn(&call, 2));
}

#[tokio::test]
async fn no_log_line_carries_a_number_or_a_word_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sqlite");
    let child = child("child_that_logs_everything", "OFFHOOK_TEST_LOGGED_STORE", &path);
    let log = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(log.contains("the store cannot be written"), "{log}");
    assert!(log.contains("a turn is not stored"), "{log}");
    for secret in ["4930123456", "sales"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Runs one function of this file in a process of its own.
fn child(name: &str, variable: &str, path: &Path) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::tests::processes::{name}"), "--nocapture", "--test-threads", "1"])
        .env(variable, path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}
