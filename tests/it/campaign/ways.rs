//! How calls of campaigns are made and heard: early media, AMI, call files, AMD().

use super::*;
use crate::support::farm::RING;

/// Calls each of `numbers` once, by an engine with `env` and a plan with `more`, and gives how it ended.
async fn called(
    house: &House,
    numbers: &[&str],
    env: &[(&str, &str)],
    more: &str,
) -> BTreeMap<String, (String, Value)> {
    let engine = house.engine("bot", env).await;
    let _log = ShowLog(&engine);
    let list: String = numbers.iter().map(|number| format!("{number},Caller\n")).collect();
    let more = format!("max_attempts = 1\n{more}");
    house.begin(&engine, &plan(&["farm"], &more), &format!("number,name\n{list}")).await;
    settled(&engine, numbers.len(), Duration::from_secs(60)).await;
    let all = attempts(&engine).await;
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    all.iter().map(|one| (text(&one["number"]), (text(&one["disposition"]), one.clone()))).collect()
}

fn assert_right(ended: &BTreeMap<String, (String, Value)>, count: usize) {
    assert_eq!(ended.len(), count, "{ended:#?}");
    for (number, (disposition, attempt)) in ended {
        let shall = Callee::at(number).disposition();
        assert_eq!(disposition, shall, "{:?}: {attempt}", Callee::at(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_network_plays_before_an_answer_is_heard() {
    let house = House::open().await;
    let numbers = [
        "+496930110000",
        "+496930110001",
        "+493023110000",
        "+493023110002",
        "+493023110003",
        "+493023110004",
        "+493023110008",
    ];
    let ended = called(&house, &numbers, &[], "early_media = true\n").await;
    assert_right(&ended, numbers.len());
    let calls = house.farm.by_number();
    let announced = &calls["+496930110000"][0];
    let lasted = announced.ended.expect("it ended").since(announced.began);
    assert!(lasted < RING, "nobody waits until it has rung for long enough: {lasted:?}");
    assert!(calls["+493023110008"][0].message.is_some_and(|message| message > Duration::from_secs(2)));
    assert_eq!(ended["+496930110001"].1["converted"], true, "he was talked to");
    let left = house.asterisk.cli("core show channels").await;
    assert!(left.contains("0 active channels"), "{left}");
}

const KINDS: [&str; 8] = [
    "+493023110000",
    "+493023110002",
    "+493023110003",
    "+493023110004",
    "+493023110005",
    "+493023110006",
    "+493023110007",
    "+493023110008",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_by_ami_end_as_those_by_ari_do() {
    let house = House::open().await;
    let ami = house.asterisk.ami_addr.to_string();
    let env = [
        ("OFFHOOK_AMI_ADDRESS", ami.as_str()),
        ("OFFHOOK_AMI_SECRET", house.asterisk.password),
        ("OFFHOOK_CAMPAIGNS_BY", "ami"),
    ];
    assert_right(&called(&house, &KINDS, &env, "").await, KINDS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_by_call_files_end_as_those_by_ari_do_where_ami_tells_why() {
    let house = House::open().await;
    let (ami, spool) = (house.asterisk.ami_addr.to_string(), house.asterisk.dir.join("spool"));
    let spool = spool.display().to_string();
    let env = [
        ("OFFHOOK_AMI_ADDRESS", ami.as_str()),
        ("OFFHOOK_AMI_SECRET", house.asterisk.password),
        ("OFFHOOK_CAMPAIGNS_BY", "call_files"),
        ("OFFHOOK_CAMPAIGNS_SPOOL", spool.as_str()),
    ];
    assert_right(&called(&house, &KINDS, &env, "").await, KINDS.len());
    let left = std::fs::read_dir(house.asterisk.dir.join("spool/outgoing_done"));
    let left = left.map_or(0, Iterator::count);
    assert_eq!(left, 0, "no file with a number is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_file_alone_tells_who_answered_and_who_did_not() {
    let house = House::open().await;
    let spool = house.asterisk.dir.join("spool").display().to_string();
    let env = [("OFFHOOK_CAMPAIGNS_BY", "call_files"), ("OFFHOOK_CAMPAIGNS_SPOOL", spool.as_str())];
    let numbers = ["+493023110000", "+493023110002", "+493023110003"];
    let ended = called(&house, &numbers, &env, "").await;
    let how = numbers.map(|number| ended[number].0.as_str());
    assert_eq!(how, ["completed", "failed", "no_answer"], "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amd_finds_out_who_answered_in_place_of_our_detector() {
    let house = House::open().await;
    let env = [("OFFHOOK_CAMPAIGNS_AMD", "offhook-amd")];
    let numbers = ["+493023110000", "+493023110008", "+493023110002"];
    let ended = called(&house, &numbers, &env, "").await;
    assert_right(&ended, numbers.len());
    assert_eq!(ended["+493023110000"].1["converted"], true, "he was talked to");
    let message = house.farm.by_number()["+493023110008"][0].message;
    assert!(message.is_some_and(|message| message > Duration::from_secs(2)), "{message:?}");
    let left = house.asterisk.cli("core show channels").await;
    assert!(left.contains("0 active channels"), "{left}");
}
