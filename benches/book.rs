//! What it costs to import a list and to claim from it: `cargo bench --bench book`.
//!
//! A list of a million numbers (another count as argument) goes into a campaign, and contacts are claimed, dialled and
//! ended, in SQLite and, where `OFFHOOK_BENCH_POSTGRES` has the URL of an empty database, in PostgreSQL. Beside each figure
//! stands a floor of the same run: reading the file line by line, and a transaction that writes one row.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use offhook::campaign::{Book, Campaign, Claimed, Closing, Disposition, Engine, ImportOptions, Zones};
use offhook::time::{Moment, WallTime};

/// Wednesday, 18 November 2026, four in the afternoon in Berlin: ten in New York, midnight in Tokyo.
const START: WallTime = WallTime(1_795_014_000_000);

const PLAN: &str = "bot = 'b'\ncountry = 'DE'\ncountries = ['US']\nconcurrency = 10000\ncalls_per_second = 1000\n\
    ramp_up = '0s'\n[[trunk]]\nname = 'one'\ncapacity = 10000\n[hours]\nweekdays = ['09:00-18:00']\n";

const ZONES: [&str; 5] = ["", "", "", "America/New_York", "Asia/Tokyo"];

/// Claims of one contact, and as many of ten.
const CLAIMS: u32 = 1_000;

fn main() {
    let lines = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a folder");
    let list = dir.path().join("list.csv");
    write_list(&list, lines);
    let began = Moment::now();
    let read = BufReader::new(File::open(&list).expect("it is there")).lines().map_while(Result::ok).count();
    println!("{lines} lines; reading them alone ({read}) takes {:.2} s", seconds(began));
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let store = dir.path().join("store.sqlite");
    // On one of its threads, as the engine's dialler is: the one that waits for all of it would be woken by them each time.
    let all = runtime.spawn(async move {
        let zones = Zones::of_system();
        let book = Book::open_sqlite(&store, zones.clone()).await.expect("a file");
        measure("SQLite", &book, &list).await;
        book.close().await;
        match std::env::var("OFFHOOK_BENCH_POSTGRES") {
            Ok(url) => {
                let book = Book::open_postgres(&url, zones).await.expect("a database");
                measure("PostgreSQL", &book, &list).await;
            }
            Err(_) => println!("PostgreSQL: not measured; OFFHOOK_BENCH_POSTGRES names an empty database"),
        }
    });
    runtime.block_on(all).expect("measured");
}

fn write_list(path: &Path, lines: u32) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    writeln!(file, "number,zone,name,amount").expect("room");
    for index in 0..lines {
        let zone = ZONES[index as usize % ZONES.len()];
        // Mobile numbers: eight free digits, scattered as in a real list.
        let number = index.wrapping_mul(7_919) % 10_000_000;
        let prefix = 1510 + index / 10_000_000;
        writeln!(file, "+49{prefix}{number:07},{zone},Caller {index},{}.50", index % 900).expect("room");
    }
    file.flush().expect("room");
}

async fn measure(name: &str, book: &Book, list: &Path) {
    book.create("bench", PLAN, START).await.expect("a campaign");
    let campaign = book.campaign("bench").await.expect("a campaign");
    let options = ImportOptions {
        file: list.to_owned(),
        faults: list.with_extension("faults.csv"),
        number_column: None,
        delimiter: None,
    };
    let began = Moment::now();
    let imported = book.import(&campaign, &options, START, |_| {}).await.expect("a list");
    println!(
        "{name}: {} of {} lines imported in {:.1} s; the process has had {} MB at most",
        imported.taken,
        imported.lines,
        seconds(began),
        most_memory_mb()
    );
    book.start("bench", START).await.expect("it starts");
    claims(name, book, &campaign).await;
}

async fn claims(name: &str, book: &Book, campaign: &Campaign) {
    let engine = Engine("bench".into());
    // Up to a minute, in microseconds.
    let histogram = || Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("three digits");
    let (mut floor, mut one, mut ten) = (histogram(), histogram(), histogram());
    let (mut dial, mut finish) = (histogram(), histogram());
    let mut now = START;
    for round in 0..CLAIMS {
        now = WallTime(now.0 + 1_000);
        let began = Moment::now();
        let number = format!("+4930231{:05}", 10_000 + round);
        book.never_call(&number, None, None, None, now).await.expect("a row");
        record(&mut floor, began);
        let began = Moment::now();
        let mut claimed = book.claim(campaign, &engine, "one", now, 1).await.expect("a contact");
        record(&mut one, began);
        let began = Moment::now();
        claimed.extend(book.claim(campaign, &engine, "one", now, 10).await.expect("contacts"));
        record(&mut ten, began);
        assert_eq!(claimed.len(), 11, "the list has more");
        for Claimed { attempt, .. } in claimed {
            let began = Moment::now();
            book.dialled(campaign, &engine, attempt, "one", &|| now).await.expect("it may");
            record(&mut dial, began);
            let began = Moment::now();
            let end = Closing::new(if round % 2 == 0 { Disposition::Busy } else { Disposition::Completed });
            book.finish(campaign, attempt, &end, now).await.expect("an end");
            record(&mut finish, began);
        }
    }
    for (what, times) in [
        ("one row written (floor)", &floor),
        ("claim of one", &one),
        ("claim of ten", &ten),
        ("dialled", &dial),
        ("finished", &finish),
    ] {
        println!(
            "{name}: {what:<24} p50 {:>7.2} ms   p99 {:>7.2} ms   {:>5.1} times the floor's p50",
            ms(times.value_at_quantile(0.5)),
            ms(times.value_at_quantile(0.99)),
            ms(times.value_at_quantile(0.5)) / ms(floor.value_at_quantile(0.5)).max(1e-6)
        );
    }
}

fn record(into: &mut Histogram<u64>, began: Moment) {
    let took: Duration = Moment::now().since(began);
    into.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "microseconds")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

fn seconds(began: Moment) -> f64 {
    Moment::now().since(began).as_secs_f64()
}

/// The most memory that this process has had, as the kernel counts it.
fn most_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
