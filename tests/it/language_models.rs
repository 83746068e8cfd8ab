//! Callers and language models on a real Asterisk: the models are stand-ins, and some of them do not behave.

use std::path::PathBuf;
use std::time::Duration;

use offhook::asterisk::ami::events::EventKind;
use offhook::asterisk::ami::{Ami, AmiConfig, Signal};
use offhook::asterisk::secret::Secret;
use offhook::bot::agent::standin::{Given, Pace, StandIn};
use offhook::phone::script::{Outcome, Step};

use offhook::store::{Disposition, Interruption};
use offhook::time::Moment;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::asterisk::{AsteriskUnderTest, Wanted, eventually};
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, ended_by_bot, line, phone, play,
    press, say,
};
use crate::support::engine::{DIALPLAN, EngineUnderTest, Settings, ShowLog};
use crate::support::lasting;
use crate::support::llm::{FAULTS, Faulty};
use crate::support::python::python;

/// `9NAME` leads to the bot of that name.
const TO_BOTS: &str = "
[offhook]
exten => _9[a-z]!,1,Stasis(bot,${EXTEN:1})
 same => n,Goto(after,s,1)
exten => _8[a-z]!,1,Stasis(crm,${EXTEN:1})
 same => n,Goto(after,s,1)
";

/// An Asterisk, an engine with agents, and the models that they ask.
struct Office {
    asterisk: AsteriskUnderTest,
    engine: EngineUnderTest,
    model: StandIn,
    faulty: Faulty,
    _folder: TempDir,
}

static OFFICE: OnceCell<Office> = OnceCell::const_new();

/// The office that the tests share. What a test asks the model for, it tells apart by its caller's number.
async fn office() -> &'static Office {
    OFFICE.get_or_init(open).await
}

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/grammars")
}

/// An agent's file: `more` goes behind everything, `models` is what it asks.
fn agent(name: &str, models: &str, more: &str) -> String {
    let grammar = self::models().join("reception.jsgf");
    format!(
        "[agent]\nname = '{name}'\ninstructions = 'You talk with {{{{caller}}}}.'\ngreeting = 'Hello, this is the reception.'\n\
         models = [{models}]\nfailure = {{ say = 'I cannot help you just now. Goodbye.' }}\n\
         [listen]\nunderstands = '{}'\n{more}",
        grammar.display()
    )
}

fn service(name: &str, url: &str) -> String {
    format!(
        "[service.{name}]\nkind = 'openai'\nurl = '{url}'\nmodel = 'any'\nfirst_ms = 2000\nstall_ms = 1500\n"
    )
}

async fn open() -> Office {
    let folder = tempfile::tempdir().expect("a folder");
    // The runtime of the first test ends with it; the servers are for all.
    let servers = lasting().spawn(async { (StandIn::start(Pace::default()).await, Faulty::start().await) });
    let (model, faulty) = servers.await.expect("nothing panics in them");
    let model = model.expect("a port is free");
    let lookup = format!(
        "[lookup.account_balance]\ndescription = 'Tells a balance.'\nurl = '{}/accounts/{{account}}'\npointer = '/balance'\n\
         [lookup.account_balance.arguments.account]\ntype = 'digits'\nmax_chars = 4\n",
        model.base()
    );
    let main = service("main", &model.url());
    let mut files = vec![("reception".to_owned(), agent("reception", "'main'", &format!("{main}{lookup}")))];
    for fault in FAULTS {
        let both = format!("{}{main}", service("bad", &faulty.url(fault)));
        files.push((format!("{fault}spare"), agent(fault, "'bad', 'main'", &both)));
        files.push((fault.to_owned(), agent(fault, "'bad'", &service("bad", &faulty.url(fault)))));
    }
    let tools = "[tools]\nverbs = ['hang_up', 'transfer']\ndestinations = ['sales']\nrounds = 20\n";
    let hostile = service("bad", &faulty.url("hostile"));
    files.push(("hostile".to_owned(), agent("hostile", "'bad'", &format!("{tools}{hostile}"))));
    let mut bots = "[destination.sales]\nendpoint = 'sales'\n".to_owned();
    for (name, text) in &files {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("a file");
        bots += &format!("[bots.{name}]\nagent = '{}'\n", path.display());
    }
    let extra = vec![("extensions.conf", format!("{DIALPLAN}{TO_BOTS}"))];
    let asterisk = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
    let engine =
        EngineUnderTest::start(&asterisk, Settings { ears: true, more: &bots, ..Settings::default() }).await;
    Office { asterisk, engine, model, faulty, _folder: folder }
}

impl Office {
    /// What the model was asked by the call of this number, oldest first.
    fn given(&self, caller: &str) -> Vec<Given> {
        let of_him = |given: &Given| {
            given.asked["messages"][0]["content"].as_str().is_some_and(|it| it.contains(caller))
        };
        self.model.given().into_iter().filter(of_him).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_talks_with_a_model_that_looks_up_his_balance_and_hangs_up() {
    let office = office().await;
    let _log = ShowLog(&office.engine);
    let phone = phone("5551001").await;
    let call = connected(&phone, &office.asterisk, "9reception").await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        SILENT,
        say("when are you open").await,
        REPLIES,
        SILENT,
        say("account balance please").await,
        REPLIES,
        SILENT,
        say("one two three four").await,
        REPLIES,
        Step::BotSilent { quiet: Duration::from_millis(1_500), within: 20 * SECOND },
        say("goodbye").await,
        REPLIES,
        HANGS_UP,
    ];
    let report = play(&call, steps).await;
    assert!(ended_by_bot(&report));
    println!("replies after {:?}", report.reply_latencies().collect::<Vec<_>>());
    let (record, turns) = office.engine.ended_call_of("5551001").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let texts: Vec<_> = turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect();
    assert!(texts[1].starts_with("We are open from Monday to Friday, 9 to 5."), "{texts:?}");
    assert!(texts[3].contains("Your balance is 256 euros and 40 cents."), "{texts:?}");
    assert!(texts[4].contains("Goodbye."), "{texts:?}");
    let given = office.given("5551001");
    let last = given.last().expect("it was asked").asked["messages"].as_array().expect("messages").clone();
    let said: Vec<_> = last.iter().filter_map(|message| message["content"].as_str()).collect();
    assert!(said.contains(&"<caller>when are you open</caller>"), "{said:?}");
    assert!(said.contains(&"<data>256 euros and 40 cents</data>"), "{said:?}");
    assert!(said[1].starts_with("Hello, this is the reception."), "what was said first is known: {said:?}");
    assert_gone(&office.asterisk, &office.engine, &record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_stops_the_model_and_the_history_ends_with_what_was_heard() {
    let office = office().await;
    let _log = ShowLog(&office.engine);
    let phone = phone("5551002").await;
    let call = connected(&phone, &office.asterisk, "9reception").await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        SILENT,
        say("tell me about the house").await,
        REPLIES,
        Step::BargeIn {
            after: Duration::from_millis(900),
            line: line("when are you open please").await,
            within: 2 * SECOND,
        },
        REPLIES,
        SILENT,
        Step::HangUp,
    ];
    let report = play(&call, steps).await;
    let (_, turns) = office.engine.ended_call_of("5551002").await;
    let told = turns.iter().find(|turn| turn.reply.interrupted == Some(Interruption::Voice));
    let told = told.expect("he interrupted the story");
    let given = office.given("5551002");
    let story = given.iter().find(|given| given.cut).expect("the model was stopped");
    let stopped = story.ended.expect("it has ended");
    let silent = report.steps.iter().find_map(|step| match step.outcome {
        Outcome::BargedIn { spoken, latency } => Some(spoken.onset? + latency),
        _ => None,
    });
    println!(
        "the model was stopped {:?} before the caller heard silence",
        silent.map(|silent| silent.since(stopped))
    );
    let last =
        given.last().expect("it was asked again").asked["messages"].as_array().expect("messages").clone();
    let cut = last
        .iter()
        .skip(1)
        .filter_map(|message| message["content"].as_str())
        .find(|text| text.contains("[interrupted"));
    let cut = cut.expect("the model is told that it was interrupted");
    let (heard, _) = cut.split_once(" — [interrupted by the caller]").expect("behind what was heard");
    assert!(
        "With pleasure, there is a lot to tell. This house was built in 1890".starts_with(heard),
        "{heard}"
    );
    assert!(told.reply.text.as_deref().is_some_and(|text| text.starts_with(heard)), "{told:?}");
}

/// The longest silence that the caller hears from his key to the bot's next words, and to the end. Keys need no recogniser, so
/// that what is measured is what a model's failure costs.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_leaves_nobody_in_silence() {
    let office = office().await;
    let _log = ShowLog(&office.engine);
    // Each fault once, in turns with a spare model and without; silence itself both ways.
    let faults =
        FAULTS.into_iter().enumerate().map(|(n, fault)| (fault, if n % 2 == 0 { "spare" } else { "" }));
    let all: Vec<_> = faults.chain([("hangs", "")]).enumerate().collect();
    let mut wrong = Vec::new();
    for some in all.chunks(3) {
        let calls = some.iter().map(|(n, (fault, with))| fails(office, *n, fault, with));
        wrong.extend(futures_util::future::join_all(calls).await.into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A call whose model has that fault; what was wrong.
async fn fails(office: &Office, n: usize, fault: &str, with: &str) -> Option<String> {
    let number = format!("55520{n:02}");
    let phone = phone(&number).await;
    let call = connected(&phone, &office.asterisk, &format!("9{fault}{with}")).await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        SILENT,
        press("1#"),
        REPLIES,
        Step::BotSilent { quiet: Duration::from_millis(2_500), within: 25 * SECOND },
        Step::HangUp,
    ];
    let report = play(&call, steps).await;
    let first = report.reply_latencies().next().expect("he got an answer");
    let spoken: Vec<Moment> = call.segments().iter().skip(1).flat_map(|s| [s.onset, s.last_voiced]).collect();
    let gaps = spoken.chunks(2).zip(spoken.chunks(2).skip(1)).map(|(a, b)| b[0].since(a[1]));
    let longest = gaps.chain([first]).max().unwrap_or_default();
    let (_, turns) = office.engine.ended_call_of(&number).await;
    let text = turns.last().and_then(|turn| turn.reply.text.clone()).unwrap_or_default();
    println!("{fault:>8} {with:<5}: first word after {first:?}, longest silence {longest:?}: {text}");
    let answered = match (fault, with) {
        // Its error comes with its words, or behind them.
        ("breaks", "spare") => text.contains("I know that") || text.contains("opening hours"),
        ("breaks", _) => text.contains("I know that") || text.contains("something went wrong"),
        ("stalls", _) => text.contains("I know that"),
        (_, "spare") => text.contains("opening hours"),
        _ => text.contains("something went wrong"),
    };
    // A debug build takes its time to speak.
    let most = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 1_500 });
    (longest > most || !answered).then(|| format!("{fault} {with}: {longest:?} {text}"))
}

/// Ten calls whose model tries all the time, and a server that tells of every channel that it makes.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_attempts_to_have_something_dialled_make_no_channel() {
    let office = office().await;
    let _log = ShowLog(&office.engine);
    let server = &office.asterisk;
    let ami =
        Ami::new(AmiConfig::new(server.ami_addr.to_string(), server.user, Secret::new(server.password)))
            .expect("it is an address");
    ami.ready(PATIENCE).await.expect("it is there");
    let mut events = ami.events(&["Newchannel"]);
    let calls = (0..10).map(async |n| {
        let phone = phone(&format!("55540{n:02}")).await;
        let call = connected(&phone, server, "9hostile").await;
        let apologises = Step::BotSilent { quiet: SECOND, within: 25 * SECOND };
        play(
            &call,
            vec![
                Step::BotSpeaks { within: PATIENCE },
                SILENT,
                press("1#"),
                REPLIES,
                apologises,
                Step::HangUp,
            ],
        )
        .await;
    });
    futures_util::future::join_all(calls).await;
    assert!(office.faulty.attempts() >= 200, "{}", office.faulty.attempts());
    let mut callers = 0;
    while let Ok(signal) = tokio::time::timeout(SECOND, events.next()).await {
        let Signal::Event(event) = signal else { continue };
        let EventKind::Newchannel(new) = event.kind() else { continue };
        let name = new.channel.clone();
        let ours = ["UnicastRTP/", "AudioSocket/", "WebSocket/"].iter().any(|kind| name.starts_with(kind));
        // Other tests call this server meanwhile: whoever calls comes from the phones' endpoint.
        callers += usize::from(name.starts_with("PJSIP/"));
        assert!(ours || name.starts_with("PJSIP/"), "{name}");
        assert!(!name.contains("sales") && !name.contains("trunk") && !name.starts_with("Local/"), "{name}");
    }
    assert!(callers >= 10, "all of them are told of: {callers}");
}

/// What the engine adds to a model's own time: `cargo test --test it language_models::the_model -- --nocapture` prints it, of five
/// calls where `OFFHOOK_TEST_PROGRAM` names a release build.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_s_own_first_clause_is_most_of_what_a_caller_waits_for() {
    let office = office().await;
    let _log = ShowLog(&office.engine);
    let mut added = Vec::new();
    let rounds = if std::env::var_os("OFFHOOK_TEST_PROGRAM").is_some() { 5 } else { 1 };
    for round in 0..rounds {
        let number = format!("555300{round}");
        let phone = phone(&number).await;
        let call = connected(&phone, &office.asterisk, "9reception").await;
        let mut steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT];
        for words in ["when are you open", "account balance please", "what are your opening hours"] {
            steps.extend([say(words).await, REPLIES, SILENT]);
        }
        steps.push(Step::HangUp);
        let report = play(&call, steps).await;
        let given = office.given(&number);
        let replies = report.steps.iter().filter_map(|step| match step.outcome {
            Outcome::BotSpoke { onset, latency: Some(latency) } => Some((onset, latency)),
            _ => None,
        });
        for (onset, latency) in replies {
            // The reply that was said is the last that had a clause before the bot spoke.
            let said = given.iter().rev().find(|given| given.first_clause.is_some_and(|at| at <= onset));
            let Some(own) = said.and_then(|given| Some(given.first_clause?.since(given.at))) else {
                continue;
            };
            added.push((latency.as_secs_f64() - own.as_secs_f64()) * 1e3);
            println!("first audio after {latency:?}, the model's own first clause {own:?}");
        }
    }
    added.sort_by(f64::total_cmp);
    let at = |share: f64| added[((added.len() - 1) as f64 * share) as usize];
    println!(
        "added to the model's first clause: p50 {:.0} ms, p90 {:.0} ms, of {} replies",
        at(0.5),
        at(0.9),
        added.len()
    );
    assert!(added.len() >= 2 * rounds, "{added:?}");
}

/// A server from PyPI, over its pipes and over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn tools_of_mcp_servers_answer_and_a_server_that_dies_is_started_again() {
    let Some(python) = python(&["mcp==1.27.0"]).await else { return };
    let office = office().await;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/crm.py");
    let port =
        std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("bound").port();
    let _server = tokio::process::Command::new(&python)
        .arg(&script)
        .arg(port.to_string())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    eventually(PATIENCE, "the server listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let main = service("main", &office.model.url());
    let allow = "allow = ['account_balance']\nstart_ms = 30000\n";
    let pipes = format!("[mcp.crm]\ncommand = ['{}', '{}']\n{allow}", python.display(), script.display());
    let web = format!("[mcp.crm]\nurl = 'http://127.0.0.1:{port}/mcp'\n{allow}");
    let mut bots = String::new();
    for (name, mcp) in [("pipes", pipes), ("web", web)] {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, agent(name, "'main'", &format!("{main}{mcp}"))).expect("a file");
        bots += &format!("[bots.{name}]\nagent = '{}'\n", path.display());
    }
    let settings =
        Settings { ears: true, more: &bots, env: &[("OFFHOOK_ASTERISK_APP", "crm")], ..Settings::default() };
    let engine = EngineUnderTest::start(&office.asterisk, settings).await;
    let _log = ShowLog(&engine);
    for (bot, number) in [("pipes", "5554001"), ("web", "5554002")] {
        let phone = phone(number).await;
        let call = connected(&phone, &office.asterisk, &format!("8{bot}")).await;
        let quiet = Step::BotSilent { quiet: Duration::from_millis(1_500), within: 20 * SECOND };
        let mut steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT];
        if bot == "pipes" {
            steps.extend([press("0000#"), REPLIES, quiet.clone()]);
        }
        steps.extend([press("1234#"), REPLIES, quiet, Step::HangUp]);
        play(&call, steps).await;
        let (_, turns) = engine.ended_call_of(number).await;
        let said: Vec<_> = turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect();
        assert!(said.last().is_some_and(|text| text.contains("77 euros on account 1234.")), "{said:?}");
        let asked = office.given(number).last().expect("it was asked").asked.clone();
        let names: Vec<_> =
            asked["tools"].as_array().expect("tools").iter().map(|tool| &tool["function"]["name"]).collect();
        assert_eq!(names, ["hang_up", "account_balance"], "what is not allowed is not there");
        let told =
            asked["messages"].as_array().and_then(|all| all.last()).expect("messages")["content"].clone();
        assert!(told.as_str().is_some_and(|text| text.contains("‹call›Transfer")), "it is data: {told}");
        if bot == "pipes" {
            assert!(said.iter().any(|text| text.contains("that did not work")), "{said:?}");
        }
    }
}
