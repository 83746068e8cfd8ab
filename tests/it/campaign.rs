//! Campaigns through the real engine and the real Asterisk, to a farm of telephones.
//!
//! With `OFFHOOK_TEST_CONTACTS=2000` the figures of docs/campaigns.md.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use offhook::phone::fleet::{self, FleetPlan};
use offhook::phone::script::{Script, Step};
use offhook::phone::{EarSettings, Phone, PhoneConfig};
use offhook::time::{Moment, WallTime};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::asterisk::eventually;
use crate::support::caller::{PATIENCE, REPLIES, SECOND, SILENT, greeting_latency, press};
use crate::support::engine::{DIALPLAN, EngineUnderTest, Settings, ShowLog};
use crate::support::farm::{Callee, Farm, Seen, crowd, most};
use crate::support::postgres::Postgres;
use crate::support::{AsteriskUnderTest, Wanted};

mod ringing;
mod ways;

/// Calls at once, and new ones a second.
const CONCURRENCY: usize = 50;
const PER_SECOND: usize = 20;

/// How long is waited until a contact whose call failed is called again, in seconds.
const PAUSE: u64 = 8;

/// A bot that asks one thing, notes the answer, and takes leave.
const SURVEY: &str = r#"
[flow]
name = "survey"
first = "ask"
given = ["name"]

[step.ask]
kind = "ask"
say = "Hello {name}. Press one if you are well, and nine if we shall never call again."
no_input_ms = 4000
tries = 2
no_input = ["Please press one."]
choices = [{ key = "1", goto = "well" }, { key = "9", goto = "never" }]
give_up = "bye"

[step.well]
kind = "set_variables"
variables = { WELL = "yes" }
goto = "bye"

[step.never]
kind = "opt_out"
goto = "bye"

[step.bye]
kind = "hang_up"
say = "Thank you."
"#;

fn contacts() -> usize {
    std::env::var("OFFHOOK_TEST_CONTACTS").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

/// Contacts of every kind, by turns.
fn list(count: usize) -> String {
    let lines = (0..count).map(|index| format!("+4930231{:05},Caller {index}\n", 10_000 + index));
    std::iter::once("number,name\n".to_owned()).chain(lines).collect()
}

fn plan(trunks: &[&str], more: &str) -> String {
    let trunks: String = trunks
        .iter()
        .map(|name| format!("[[trunk]]\nname = '{name}'\ncapacity = 200\ncalls_per_second = 100\n"))
        .collect();
    format!(
        "bot = 'survey'\ncountry = 'DE'\nconcurrency = {CONCURRENCY}\ncalls_per_second = {PER_SECOND}\nramp_up = '0s'\n\
         ring = '8s'\nmachines = 'message'\nmessage = 'This is the house of tests. We will call again tomorrow.'\n\
         caller = ['+493023125000', '+493023125001']\nconversion = 'WELL'\ncalls_per_number_and_day = 20\n{more}\
         [hours]\nweekdays = ['00:00-24:00']\nweekend = ['00:00-24:00']\n{trunks}"
    )
}

/// What there is for a campaign: telephones, an Asterisk with trunks to them, and where engines are.
struct House {
    farm: Farm,
    asterisk: AsteriskUnderTest,
    folder: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        Self::open_beside(String::new()).await
    }

    /// With more of `pjsip.conf`.
    async fn open_beside(trunks: String) -> Self {
        let farm = Farm::open().await;
        let extra = vec![
            ("extensions.conf", DIALPLAN.to_owned()),
            ("pjsip.conf", trunks + &farm.trunk("farm") + &farm.trunk("other")),
        ];
        let asterisk = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
        Self { farm, asterisk, folder: tempfile::tempdir().expect("a folder") }
    }

    async fn engine(&self, app: &str, env: &[(&str, &str)]) -> EngineUnderTest {
        let flow = self.folder.path().join("survey.toml");
        std::fs::write(&flow, SURVEY).expect("a file");
        let more = format!("[bots.survey]\nflow = '{}'\n", flow.display());
        let mut all = vec![("OFFHOOK_ASTERISK_APP", app), ("OFFHOOK_ENGINE_MAX_CALLS", "300")];
        all.extend_from_slice(env);
        EngineUnderTest::start(&self.asterisk, Settings { env: &all, more: &more, ..Settings::default() })
            .await
    }

    /// Makes a campaign of `plan` and the contacts of `list`, and starts it.
    async fn begin(&self, engine: &EngineUnderTest, plan: &str, list: &str) {
        let file = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let (plan, list) = (file("spring.toml", plan), file("list.csv", list));
        for args in [&["create", &plan][..], &["import", "spring", &list], &["start", "spring"]] {
            run(engine, args).await;
        }
    }
}

/// Runs `offhook campaign …`.
async fn run(engine: &EngineUnderTest, args: &[&str]) -> String {
    let args: Vec<_> = ["campaign"].into_iter().chain(args.iter().copied()).collect();
    let output = engine.offhook(&args).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// The attempts of the campaign, as they are exported.
async fn attempts(engine: &EngineUnderTest) -> Vec<Value> {
    let lines = run(engine, &["export", "spring", "--format", "json"]).await;
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until every contact is settled.
async fn settled(engine: &EngineUnderTest, count: usize, within: Duration) {
    let done = eventually(within, "every contact is settled", async || {
        let status = run(engine, &["status", "spring", "--json"]).await;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        (status[0]["counts"]["done"] == count).then(|| status[0].clone())
    })
    .await;
    assert_eq!(done["counts"]["contacts"], count);
}

/// How the last attempt of each number ended.
fn last_by_number(attempts: &[Value]) -> BTreeMap<String, &Value> {
    let text = |attempt: &Value| attempt["number"].as_str().expect("a number").to_owned();
    attempts.iter().map(|attempt| (text(attempt), attempt)).collect()
}

/// The most calls at once and in a second; a second of more than there may be is shown beside the book's times.
fn counted(seen: &[Seen], attempts: &[Value]) -> (usize, usize) {
    let (up, a_second) = most(seen);
    if a_second > PER_SECOND {
        println!("{}", crowd(seen, attempts));
    }
    (up, a_second)
}

/// What is wrong is told with the ids of its calls.
fn assert_dispositions(attempts: &[Value], count: usize) {
    let last = last_by_number(attempts);
    assert_eq!(last.len(), count, "each contact has an attempt");
    let mut wrong: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (number, attempt) in &last {
        let (is, shall) =
            (attempt["disposition"].as_str().unwrap_or("none"), Callee::at(number).disposition());
        if is != shall {
            wrong
                .entry(format!(
                    "{:?}: {is} and not {shall} ({} {})",
                    Callee::at(number),
                    attempt["cause"],
                    attempt["note"]
                ))
                .or_default()
                .push(attempt["id"].as_str().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_contact_ends_as_its_telephone_did_and_no_limit_is_passed() {
    let count = contacts();
    let house = House::open().await;
    let engine = house.engine("bot", &[]).await;
    let _log = ShowLog(&engine);
    let never = "max_attempts = 1\n";
    house.begin(&engine, &plan(&["farm"], never), &list(count)).await;
    let began = Moment::now();
    settled(&engine, count, Duration::from_secs(60 + count as u64)).await;
    let took = Moment::now().since(began);
    let attempts = attempts(&engine).await;
    assert_eq!(attempts.len(), count, "one attempt for each");
    let seen = house.farm.seen();
    let (up, a_second) = counted(&seen, &attempts);
    println!("{count} contacts in {took:.1?}: at most {up} at once and {a_second} a second");
    assert_dispositions(&attempts, count);
    assert_eq!(seen.len(), count, "each was called once");
    assert!(up <= CONCURRENCY, "{up} at once");
    assert!(a_second <= PER_SECOND, "{a_second} in a second");
    // What the bot found out is there.
    for (number, attempt) in last_by_number(&attempts) {
        let well = matches!(Callee::at(&number), Callee::AtOnce | Callee::Late);
        assert_eq!(attempt["converted"], well, "{attempt}");
    }
    // Mailboxes have the whole message, behind the beep.
    let messages: Vec<_> = seen.iter().filter_map(|call| call.message).collect();
    let whole = messages.iter().filter(|message| **message > Duration::from_secs(2)).count();
    println!("{whole} of {} mailboxes have a message: {:?}", messages.len(), messages.iter().min());
    assert_eq!(whole, messages.len());
    let report = run(&engine, &["report", "spring"]).await;
    println!("{report}");
}

/// No two calls to a number are nearer than the pause, from one's end to the next one's beginning.
fn assert_pauses(by_number: &HashMap<String, Vec<Seen>>, pause: Duration) {
    for (number, calls) in by_number {
        for pair in calls.windows(2) {
            let between = pair[1].began.since(pair[0].began);
            assert!(between >= pause, "{:?} was called again after {between:?}", Callee::at(number));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_survives_an_engine_that_is_killed_again_and_again() {
    let count = contacts();
    let house = House::open().await;
    let mut engine = house.engine("bot", &[]).await;
    let pauses = format!(
        "max_attempts = 10\n[pause]\nbusy = 'never'\nno_answer = 'never'\nrejected = 'never'\ncongestion = 'never'\nmachine = 'never'\nfailed = '{PAUSE}s'\n"
    );
    house.begin(&engine, &plan(&["farm"], &pauses), &list(count)).await;
    let kills = if count >= 1_000 { 10 } else { 3 };
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.u64(2_000..6_000))).await;
        engine.crash().await;
        engine.start_again().await;
    }
    // Who is unreachable stays so: those are called again until nobody wants to any more.
    eventually(Duration::from_secs(120 + count as u64), "all others are settled", async || {
        let attempts = attempts(&engine).await;
        let open = last_by_number(&attempts);
        let done = open.iter().filter(|(_, attempt)| {
            !matches!(attempt["disposition"].as_str(), None | Some("lost" | "failed"))
        });
        (done.count() == count).then_some(())
    })
    .await;
    let all = attempts(&engine).await;
    let mut lost: BTreeMap<Callee, usize> = BTreeMap::new();
    for attempt in all.iter().filter(|attempt| attempt["disposition"] == "lost") {
        *lost.entry(Callee::at(attempt["number"].as_str().unwrap_or_default())).or_default() += 1;
    }
    let (up, a_second) = counted(&house.farm.seen(), &all);
    println!(
        "{count} contacts, {kills} kills: {} attempts of {} lost {lost:?}; {up} at once, {a_second} a second",
        lost.values().sum::<usize>(),
        all.len()
    );
    // Of whom a killed engine had on the line the next one hears just the rest: a fax machine whose tone was over is none.
    let last: Vec<Value> = last_by_number(&all).into_values().cloned().collect();
    let (unheard, known): (Vec<_>, Vec<_>) = last.into_iter().partition(|last| {
        let callee = Callee::at(last["number"].as_str().unwrap_or_default());
        last["disposition"] == "completed" && matches!(callee, Callee::Fax | Callee::Mailbox)
    });
    assert_dispositions(&known, known.len());
    println!("{} machines were taken for people after a kill", unheard.len());
    let by_number = house.farm.by_number();
    assert_eq!(by_number.len(), count, "nobody was lost");
    assert_pauses(&by_number, Duration::from_secs(PAUSE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_and_a_database_that_is_killed_call_nobody_twice() {
    let Some(postgres) = Postgres::start().await else { return };
    let count = contacts();
    let house = House::open().await;
    let url = [("OFFHOOK_STORE_URL", postgres.url.as_str())];
    let (one, two) = tokio::join!(house.engine("one", &url), house.engine("two", &url));
    let _logs = (ShowLog(&one), ShowLog(&two));
    let once = "max_attempts = 1\n";
    house.begin(&one, &plan(&["farm"], once), &list(count)).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        postgres.crash().await;
    }
    settled(&one, count, Duration::from_secs(180 + count as u64)).await;
    let attempts = attempts(&one).await;
    let seen = house.farm.seen();
    let by_number = house.farm.by_number();
    assert!(by_number.values().all(|calls| calls.len() == 1), "nobody was called twice");
    let (up, a_second) = counted(&seen, &attempts);
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for attempt in &attempts {
        *by.entry(attempt["disposition"].as_str().unwrap_or("none")).or_default() += 1;
    }
    println!("{count} contacts, {} called; at most {up} at once and {a_second} a second; {by:?}", seen.len());
    assert_eq!(attempts.len(), count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_without_room_is_left_for_another_one() {
    let house = House::open().await;
    let engine = house.engine("bot", &[]).await;
    let _log = ShowLog(&engine);
    // The number of somebody who answers 503, over two trunks.
    let list = "number,name\n+493023110005,Congested\n";
    house.begin(&engine, &plan(&["farm", "other"], "max_attempts = 1\n"), list).await;
    settled(&engine, 1, Duration::from_secs(30)).await;
    let attempts = attempts(&engine).await;
    assert_eq!((attempts.len(), &attempts[0]["trunk"]), (1, &Value::from("other")), "{attempts:?}");
    assert_eq!(house.farm.seen().len(), 2, "each trunk was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_has_never_more_calls_than_its_capacity() {
    let house = House::open().await;
    let engine = house.engine("bot", &[]).await;
    let _log = ShowLog(&engine);
    let list: String = (0..12).map(|index| format!("+49302311{index:02}02,Busy\n")).collect();
    let list = list + "+493023119901,Late\n+493023119911,Late\n+493023119921,Late\n+493023119931,Late\n";
    let plan = plan(&["farm"], "max_attempts = 1\n").replace("capacity = 200", "capacity = 3");
    house.begin(&engine, &plan, &format!("number,name\n{list}")).await;
    settled(&engine, 16, Duration::from_secs(60)).await;
    let seen = house.farm.seen();
    assert_eq!((seen.len(), most(&seen).0), (16, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_by_a_key_not_to_be_called_is_called_by_no_campaign() {
    let house = House::open().await;
    let engine = house.engine("bot", &[]).await;
    let _log = ShowLog(&engine);
    let list = "number,name\n+494023110000,Ada\n";
    let plan = plan(&["farm"], "max_attempts = 1\n");
    house.begin(&engine, &plan, list).await;
    settled(&engine, 1, Duration::from_secs(30)).await;
    let listed = engine.offhook(&["never-call", "list"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("+494023110000"), "{listed}");
    assert!(!engine.log().contains("494023110000"), "no log has the number");
    // Another campaign has him on its list.
    let path = |name: &str| house.folder.path().join(name).display().to_string();
    std::fs::write(path("summer.toml"), plan).expect("a file");
    run(&engine, &["create", &path("summer.toml")]).await;
    let both = format!("{list}+493023110000,Grace\n");
    std::fs::write(path("both.csv"), both).expect("a file");
    run(&engine, &["import", "summer", &path("both.csv")]).await;
    run(&engine, &["start", "summer"]).await;
    eventually(Duration::from_secs(30), "the other one is called", async || {
        house
            .farm
            .seen()
            .iter()
            .any(|call| call.number == "+493023110000" && call.ended.is_some())
            .then_some(())
    })
    .await;
    assert_eq!(house.farm.by_number()["+494023110000"].len(), 1, "he is not called again");
}

/// Nearest rank, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let rank = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[rank - 1].as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_who_are_called_are_answered_as_soon_as_fifty_who_call() {
    const CALLS: usize = 50;
    let ear = EarSettings::lean();
    let people = Phone::start(PhoneConfig { ear, ..PhoneConfig::loopback("people") }).await.expect("a phone");
    let trunk = format!(
        "[people]\ntype = aor\ncontact = sip:{}\n[people](offhook-endpoint)\naors = people\n",
        people.address()
    );
    let house = House::open_beside(trunk).await;
    let engine = house.engine("bot", &[]).await;
    let _log = ShowLog(&engine);
    let script =
        Script::new(vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("1"), REPLIES, Step::HangUp]);

    let target = format!("sip:111@{}", house.asterisk.sip_addr);
    let plan_in = FleetPlan {
        target,
        calls: CALLS,
        per_second: PER_SECOND as f64,
        script: script.clone(),
        answer_within: PATIENCE,
    };
    let inbound = fleet::run(&people, &plan_in).await;
    assert_eq!(inbound.completed, CALLS, "{:?}", inbound.failed);

    // Now they are called. As people do, they let it ring first, unless it is asked for otherwise.
    let rings = std::env::var_os("OFFHOOK_TEST_AT_ONCE").is_none();
    let answering = tokio::spawn(async move {
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let call = people.expect_call(PATIENCE).await.expect("somebody calls");
            let script = script.clone();
            calls.spawn(async move {
                if rings {
                    call.ring().await.expect("it can ring");
                    tokio::time::sleep(SECOND).await;
                }
                let call = call.answer().await.expect("it can be answered");
                call.wait_answered(PATIENCE).await.expect("an acknowledgement");
                let report = script.run(&call, &mut |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
                (greeting_latency(&call), report.reply_latencies().collect::<Vec<_>>())
            });
        }
        calls.join_all().await
    });
    // With their media joined while they ring, where that is asked for.
    let early = std::env::var_os("OFFHOOK_TEST_EARLY_MEDIA").is_some();
    let plan = plan(&["people"], &format!("max_attempts = 1\nearly_media = {early}\n")).replace(
        "machines = 'message'\nmessage = 'This is the house of tests. We will call again tomorrow.'",
        "machines = 'talk'",
    );
    // The bot of few words says fixed sentences: none is spoken by the synthesiser while this is measured.
    let plan = plan.replace("bot = 'survey'", "bot = 'quick'");
    house.begin(&engine, &plan, &list(CALLS)).await;
    let (mut greetings, replies): (Vec<_>, Vec<_>) =
        answering.await.expect("everybody is answered").into_iter().unzip();
    let mut replies: Vec<Duration> = replies.into_iter().flatten().collect();
    settled(&engine, CALLS, Duration::from_secs(60)).await;
    assert_eq!((greetings.len(), replies.len()), (CALLS, CALLS));
    greetings.sort_unstable();
    replies.sort_unstable();
    for (what, of_callers, of_called) in [
        ("answer to first audio", &inbound.to_first_audio, &greetings),
        ("key to reply", &inbound.to_reply, &replies),
    ] {
        for share in [0.5, 0.95] {
            let (first, second) =
                (of_callers.value_at_quantile(share) as f64 / 1e3, percentile(of_called, share));
            println!(
                "{what}, p{:.0}: {first:.0} ms of callers, {second:.0} ms of called ({:.2})",
                share * 100.0,
                second / first
            );
        }
    }
}

#[test]
fn the_farm_counts_what_is_up() {
    let at = |ms: u64| Moment::from_millis(ms);
    let seen = |began, ended| Seen {
        number: "1".into(),
        began: at(began),
        at: WallTime(0),
        ended: Some(at(ended)),
        message: None,
    };
    assert_eq!(most(&[seen(0, 500), seen(400, 600), seen(1_200, 1_300)]), (2, 2));
}
