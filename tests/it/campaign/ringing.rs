//! Calls that ring while their engine goes, and another one comes.

use super::*;

/// Some that are answered after five seconds, and some that nobody answers.
const NUMBERS: [&str; 4] = ["+493023110001", "+493023110011", "+493023110003", "+493023110013"];

/// Calls [`NUMBERS`], lets `goes` put one engine in the other's place while all of them ring, and expects that nobody notices.
async fn ring_on(
    house: &House,
    env: &[(&str, &str)],
    more: &str,
    goes: impl AsyncFnOnce(&mut EngineUnderTest),
) {
    let mut engine = house.engine("bot", env).await;
    let list: String = NUMBERS.iter().map(|number| format!("{number},Caller\n")).collect();
    let more = format!("max_attempts = 1\n{more}");
    house.begin(&engine, &plan(&["farm"], &more), &format!("number,name\n{list}")).await;
    eventually(PATIENCE, "all telephones ring", async || {
        (house.farm.seen().len() == NUMBERS.len()).then_some(())
    })
    .await;
    eventually(PATIENCE, "another process knows of them", async || {
        let store = engine.store().await;
        let stored = store.snapshots().await.expect("it can be read").len();
        (stored == NUMBERS.len()).then_some(())
    })
    .await;
    goes(&mut engine).await;
    let log = ShowLog(&engine);
    settled(&engine, NUMBERS.len(), Duration::from_secs(60)).await;
    let attempts = attempts(&engine).await;
    assert_dispositions(&attempts, NUMBERS.len());
    assert_eq!(house.farm.seen().len(), NUMBERS.len(), "nobody was called again");
    for (number, attempt) in last_by_number(&attempts) {
        let is_answered = Callee::at(&number) == Callee::Late;
        assert_eq!(attempt["converted"], is_answered, "{attempt}");
        assert_eq!(attempt["answered"].is_string(), is_answered, "{attempt}");
    }
    let left = house.asterisk.cli("core show channels").await;
    assert!(left.contains("0 active channels"), "{left}");
    assert!(engine.store().await.snapshots().await.expect("it can be read").is_empty());
    drop(log);
}

async fn killed(engine: &mut EngineUnderTest) {
    engine.crash().await;
    engine.start_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_ring_on_when_the_engine_is_killed() {
    ring_on(&House::open().await, &[], "", killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_ring_on_when_the_engine_is_killed_that_hears_them_ring() {
    ring_on(&House::open().await, &[], "early_media = true\n", killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_that_ami_rings_ring_on_when_the_engine_is_killed() {
    let house = House::open().await;
    let ami = house.asterisk.ami_addr.to_string();
    let env = [
        ("OFFHOOK_AMI_ADDRESS", ami.as_str()),
        ("OFFHOOK_AMI_SECRET", house.asterisk.password),
        ("OFFHOOK_CAMPAIGNS_BY", "ami"),
    ];
    ring_on(&house, &env, "", killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_that_a_call_file_rings_ring_on_when_the_engine_is_killed() {
    let house = House::open().await;
    let (ami, spool) = (house.asterisk.ami_addr.to_string(), house.asterisk.dir.join("spool"));
    let spool = spool.display().to_string();
    let env = [
        ("OFFHOOK_AMI_ADDRESS", ami.as_str()),
        ("OFFHOOK_AMI_SECRET", house.asterisk.password),
        ("OFFHOOK_CAMPAIGNS_BY", "call_files"),
        ("OFFHOOK_CAMPAIGNS_SPOOL", spool.as_str()),
    ];
    ring_on(&house, &env, "", killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_ring_on_when_another_engine_takes_over() {
    ring_on(&House::open().await, &[], "", EngineUnderTest::take_over).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_ring_on_when_another_engine_takes_over_that_hears_them_ring() {
    ring_on(&House::open().await, &[], "early_media = true\n", EngineUnderTest::take_over).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephones_ring_on_whatever_their_audio_comes_by() {
    for transport in ["audiosocket", "websocket"] {
        let env = [("OFFHOOK_MEDIA_TRANSPORT", transport), ("OFFHOOK_MEDIA_AUDIOSOCKET_PORT", "0")];
        ring_on(&House::open().await, &env, "", killed).await;
    }
}
