//! The book of campaigns: shared by engines in PostgreSQL, through crashes, and from the command line.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use offhook::campaign::{
    Book, Campaign, Claimed, Cleared, Closing, Disposition, Engine, ImportOptions, Withdrawn, Zones,
};
use offhook::time::WallTime;

use crate::support::postgres::Postgres;

/// Wednesday, 18 November 2026, ten in the morning in Berlin.
const TEN: WallTime = WallTime(1_794_992_400_000);

const MINUTE: i64 = 60_000;

const PLAN: &str = "bot = 'b'\ncountry = 'DE'\nconcurrency = 10000\ncalls_per_second = 1000\nramp_up = '0s'\n\
    max_attempts = 2\ncalls_per_number_and_day = 3\n[[trunk]]\nname = 'one'\ncapacity = 1000\ncalls_per_second = 1000\n\
    [hours]\nweekdays = ['09:00-18:00']\n[pause]\nbusy = '10m'\n";

fn later(ms: i64) -> WallTime {
    WallTime(TEN.0 + ms)
}

fn berlin(count: usize) -> String {
    let numbers = (0..count).map(|index| format!("+4930231{:05},Caller {index}\n", 10_000 + index));
    std::iter::once("number,name\n".to_owned()).chain(numbers).collect()
}

async fn running(book: &Book, name: &str, plan: &str, list: &str, dir: &Path) -> Campaign {
    book.create(name, plan, TEN).await.unwrap();
    let campaign = book.campaign(name).await.unwrap();
    let file = dir.join(format!("{name}.csv"));
    std::fs::write(&file, list).unwrap();
    let faults = dir.join(format!("{name}.faults.csv"));
    let options = ImportOptions { file, faults, number_column: None, delimiter: None };
    book.import(&campaign, &options, TEN, |_| {}).await.unwrap();
    book.start(name, TEN).await.unwrap();
    book.campaign(name).await.unwrap()
}

async fn end(book: &Book, campaign: &Campaign, attempt: offhook::id::CallId, is: Disposition, now: WallTime) {
    book.finish(campaign, attempt, &Closing::new(is), now).await.unwrap();
}

/// Engines that share one book claim all there is, each as fast as it can: nobody twice.
async fn engines_share(books: Vec<Book>, campaigns: &[Campaign], contacts: usize) {
    let mut engines = Vec::new();
    for (index, book) in books.into_iter().enumerate() {
        let campaigns = campaigns.to_vec();
        engines.push(tokio::spawn(async move {
            let engine = Engine(format!("engine {index}"));
            let (mut mine, mut now, mut empty) = (Vec::new(), TEN, 0);
            while empty < 20 {
                now = WallTime(now.0 + 200);
                let mut got = 0;
                for campaign in &campaigns {
                    for one in book.claim(campaign, &engine, "one", now, 7).await.unwrap() {
                        let cleared =
                            book.dialled(campaign, &engine, one.attempt, "one", &|| now).await.unwrap();
                        assert_eq!(cleared, Cleared::Dial);
                        mine.push(one.number);
                        end(&book, campaign, one.attempt, Disposition::Completed, now).await;
                        got += 1;
                    }
                }
                empty = if got == 0 { empty + 1 } else { 0 };
            }
            mine
        }));
    }
    let mut by_number: HashMap<String, usize> = HashMap::new();
    let mut by_engine = Vec::new();
    for engine in engines {
        let mine = engine.await.unwrap();
        by_engine.push(mine.len());
        mine.into_iter().for_each(|number| *by_number.entry(number).or_default() += 1);
    }
    assert_eq!(by_number.len(), contacts);
    assert!(by_number.values().all(|count| *count == 1), "somebody was called twice");
    assert!(by_engine.iter().all(|count| *count > 0), "each engine had some: {by_engine:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_engines_on_one_campaign_never_call_the_same_contact() {
    let Some(postgres) = Postgres::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    // Both start at once on an empty database: one of them makes the tables.
    let open = || Book::open_postgres(&postgres.url, Zones::of_system());
    let (first, second) = tokio::join!(open(), open());
    let books = vec![first.unwrap(), second.unwrap()];
    let plan = PLAN.replace("and_day = 3", "and_day = 1");
    // Two campaigns with the same numbers, which one call a day is allowed to.
    let one = running(&books[0], "c", &plan, &berlin(400), dir.path()).await;
    let two = running(&books[1], "d", &plan, &berlin(400), dir.path()).await;
    engines_share(books.clone(), &[one.clone(), two.clone()], 400).await;
    let mut done = 0;
    for campaign in [&one, &two] {
        let counts = books[0].counts(campaign.id).await.unwrap();
        assert_eq!((counts.contacts, counts.waiting + counts.done), (400, 400), "{counts:?}");
        done += counts.done;
    }
    assert_eq!(done, 400, "each number in one of the two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_file_never_call_the_same_contact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let open = || Book::open_sqlite(&path, Zones::of_system());
    let books = vec![open().await.unwrap(), open().await.unwrap()];
    let campaign = running(&books[0], "c", PLAN, &berlin(150), dir.path()).await;
    engines_share(books, &[campaign], 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shared_book_keeps_every_promise_that_a_file_keeps() {
    let Some(postgres) = Postgres::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open_postgres(&postgres.url, Zones::of_system()).await.unwrap();
    let list = format!("{}+493023110000,again\n12,bad\n+442079460018,abroad\n", berlin(6));
    let campaign = running(&book, "c", PLAN, &list, dir.path()).await;
    let faults = std::fs::read_to_string(dir.path().join("c.faults.csv")).unwrap();
    assert_eq!(faults.lines().count(), 4, "{faults}");
    let (engine, other) = (Engine("first".into()), Engine("second".into()));
    // Opted out before the claim, between claim and dialling, and during the call.
    assert!(book.never_call("+493023110000", None, None, Some("by letter"), TEN).await.unwrap());
    let claimed = book.claim(&campaign, &engine, "one", TEN, 10).await.unwrap();
    assert_eq!(claimed.len(), 5);
    assert_eq!(claimed[0].variables["name"], "Caller 1");
    book.never_call(&claimed[0].number, Some(&campaign), None, None, TEN).await.unwrap();
    let dial = async |index: usize, now| {
        book.dialled(&campaign, &engine, claimed[index].attempt, "one", &|| now).await
    };
    assert_eq!(dial(0, TEN).await.unwrap(), Cleared::Withdrawn(Withdrawn::OptedOut));
    for index in 1..5 {
        assert_eq!(dial(index, TEN).await.unwrap(), Cleared::Dial);
    }
    book.answered(claimed[1].attempt, later(4_000)).await.unwrap();
    let asked = Closing { opted_out: true, ..Closing::new(Disposition::Completed) };
    book.finish(&campaign, claimed[1].attempt, &asked, later(9_000)).await.unwrap();
    end(&book, &campaign, claimed[2].attempt, Disposition::Busy, TEN).await;
    assert!(book.claim(&campaign, &engine, "one", later(10 * MINUTE - 1), 10).await.unwrap().is_empty());
    // What the first engine left open is found, and one other resolves it.
    let dead = later(10 * MINUTE);
    let left = book.abandoned(dead).await.unwrap();
    assert_eq!(left.len(), 2);
    for one in &left {
        assert!(book.take_over(one, &other, dead).await.unwrap());
        assert!(!book.take_over(one, &Engine("third".into()), dead).await.unwrap());
        end(&book, &campaign, one.attempt, Disposition::Lost, dead).await;
    }
    let second = book.claim(&campaign, &other, "one", dead, 10).await.unwrap();
    assert_eq!(
        second.iter().map(|one| (&one.number, one.nth)).collect::<Vec<_>>(),
        [(&claimed[2].number, 2)]
    );
    assert_eq!(book.renew(&other, dead).await.unwrap(), 1);
    let again = book.dialled(&campaign, &other, second[0].attempt, "one", &|| dead).await.unwrap();
    assert_eq!(again, Cleared::Dial);
    end(&book, &campaign, second[0].attempt, Disposition::Busy, dead).await;
    let counts = book.counts(campaign.id).await.unwrap();
    assert_eq!((counts.contacts, counts.waiting, counts.done, counts.calling), (6, 2, 4, 0), "{counts:?}");
    assert_eq!((counts.outcomes["opted_out"], counts.outcomes["busy"], counts.attempts), (2, 1, 5));
    let report = book.report(campaign.id).await.unwrap();
    assert_eq!((report.all.attempts, report.all.answered, report.by_hour[&10].talk_ms), (5, 1, 5_000));
    let mut lines = Vec::new();
    let (what, format) = (offhook::campaign::report::What::Attempts, offhook::campaign::report::Format::Json);
    assert_eq!(book.export(campaign.id, what, format, &mut lines).await.unwrap(), 5);
    assert!(book.next_due(&campaign, dead).await.unwrap() > Some(dead));
    book.stop("c", dead).await.unwrap();
    assert_eq!(book.campaigns().await.unwrap().len(), 1);
}

/// The database dies in the middle of the work, three times. A claim that it loses then was never dialled, and is claimed anew; what
/// an engine was told it may dial is in the book, and nobody is dialled twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_contact_is_lost_or_called_twice_when_the_database_is_killed() {
    let Some(postgres) = Postgres::start().await else { return };
    let postgres = Arc::new(postgres);
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open_postgres(&postgres.url, Zones::of_system()).await.unwrap();
    let campaign = running(&book, "c", PLAN, &berlin(300), dir.path()).await;
    let (working, of_work) = (book.clone(), campaign.clone());
    let work = tokio::spawn(async move {
        let (engine, mut dialled, mut now, mut failures) = (Engine("first".into()), Vec::new(), TEN, 0_u32);
        while failures < 2_000 {
            now = WallTime(now.0 + 1_000);
            let claimed = match working.claim(&of_work, &engine, "one", now, 3).await {
                Ok(claimed) if claimed.is_empty() => break,
                Ok(claimed) => claimed,
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            };
            for one in claimed {
                // An answer that was lost with the connection is no leave to dial: the mark, if it is there, says so to the next look.
                if let Ok(cleared) = working.dialled(&of_work, &engine, one.attempt, "one", &|| now).await {
                    assert_eq!(cleared, Cleared::Dial);
                    dialled.push(one);
                }
            }
        }
        dialled
    });
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        postgres.crash().await;
    }
    let dialled = work.await.unwrap();
    let open = book.open_attempts(&Engine("first".into())).await.unwrap();
    let mut numbers: Vec<_> = open.iter().map(|one| one.number.as_str()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((open.len(), numbers.len()), (300, 300), "everybody is claimed, once");
    let marked =
        |one: &Claimed| open.iter().any(|other| other.attempt == one.attempt && other.dialled.is_some());
    assert!(dialled.iter().all(marked), "what was dialled is in the book");
    assert!(dialled.len() > 200, "{}", dialled.len());
    let counts = book.counts(campaign.id).await.unwrap();
    assert_eq!((counts.calling, counts.attempts), (300, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_how_the_database_is() {
    let Some(postgres) = Postgres::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let look = |url: &str| {
        let config =
            format!("[asterisk]\nurl = 'http://127.0.0.1:9/ari'\npassword = 'p'\n[store]\nurl = '{url}'\n");
        std::fs::write(dir.path().join("offhook.toml"), config).unwrap();
        let (_, said, _) = offhook(dir.path(), &["doctor"]);
        said.lines().skip_while(|line| !line.contains("book")).collect::<Vec<_>>().join("\n")
    };
    let well = look(&postgres.url);
    assert!(well.contains("lets us in and may have our tables"), "{well}");
    let nobody = look("postgres://nobody:secret@127.0.0.1:9/none");
    assert!(nobody.contains("url = \"postgres://") && !nobody.contains("secret"), "{nobody}");
}

/// Runs a command with a configuration in `dir`; what it printed, and what it complained of.
fn offhook(dir: &Path, args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_offhook"))
        .args(args)
        .current_dir(dir)
        .env_remove("OFFHOOK_CONFIG")
        .output()
        .expect("the program is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_campaign_goes_through_its_commands() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    std::fs::write(here.join("offhook.toml"), "[policy]\ncountry = 'DE'\n").unwrap();
    std::fs::write(here.join("spring.toml"), PLAN).unwrap();
    std::fs::write(here.join("list.csv"), berlin(20) + "12,nobody\n").unwrap();
    let good = |args: &[&str]| {
        let (is_good, out, wrong) = offhook(here, args);
        assert!(is_good, "{args:?}: {wrong}");
        out
    };
    let bad = |args: &[&str]| {
        let (is_good, out, wrong) = offhook(here, args);
        assert!(!is_good && wrong.lines().count() == 1, "{args:?}: {out}{wrong}");
        wrong
    };
    assert!(good(&["campaign", "create", "--check", "spring.toml"]).contains("can be used"));
    good(&["campaign", "create", "spring.toml"]);
    assert!(bad(&["campaign", "create", "spring.toml"]).contains("there is a campaign `spring` already"));
    assert!(bad(&["campaign", "start", "summer"]).contains("there are spring"));
    let told = good(&["campaign", "import", "spring", "list.csv"]);
    assert!(told.contains("20 of 21 lines") && told.contains("list.faults.csv"), "{told}");
    assert!(here.join("list.faults.csv").exists());
    good(&["campaign", "start", "spring"]);
    good(&["campaign", "pause", "spring"]);
    good(&["campaign", "resume", "spring"]);
    let status: serde_json::Value = serde_json::from_str(&good(&["campaign", "status", "--json"])).unwrap();
    assert_eq!((&status[0]["state"], &status[0]["counts"]["waiting"]), (&"running".into(), &20.into()));
    assert!(good(&["campaign", "status"]).contains("spring"));
    assert!(good(&["campaign", "report", "spring"]).contains("Nobody has been called"));
    assert_eq!(good(&["campaign", "export", "spring", "--contacts"]).lines().count(), 21);
    assert!(
        good(&["never-call", "add", "030 23110000", "--why", "by letter"]).contains("not called any more")
    );
    assert!(good(&["never-call", "list"]).contains("+493023110000"));
    std::fs::write(here.join("never.txt"), "+493023110000\n+493023110001\n").unwrap();
    assert!(good(&["never-call", "import", "never.txt"]).contains("1 of 2 lines are new"));
    assert!(good(&["never-call", "remove", "+493023110000"]).contains("may be called again"));
    assert!(bad(&["never-call", "add", "soon"]).contains("no telephone number"));
    assert!(good(&["campaign", "stop", "spring"]).contains("stopped"));
    assert!(bad(&["campaign", "import", "spring", "list.csv"]).contains("is stopped"));
}
