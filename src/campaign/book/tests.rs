//! The book in SQLite, in virtual time. PostgreSQL has the same in `tests/it/book.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::campaign::import::ImportOptions;
use crate::campaign::report::{Format, What};
use crate::campaign::{CampaignError, Disposition};
use crate::id::CallId;

/// Wednesday, 18 November 2026, ten in the morning in Berlin.
pub(in crate::campaign) const TEN: WallTime = WallTime(1_794_992_400_000);

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub(in crate::campaign) const PLAN: &str = "bot = 'b'\ncountry = 'DE'\ncountries = ['US', 'GB']\nconcurrency = 1000\n\
    calls_per_second = 1000\nramp_up = '0s'\nmax_attempts = 3\ncalls_per_number_and_day = 3\nconversion = 'sold'\n\
    [[trunk]]\nname = 'one'\ncapacity = 100\n[hours]\nweekdays = ['09:00-18:00']\n[pause]\nbusy = '10m'\n";

/// A book in a folder that vanishes.
pub(in crate::campaign) struct Desk {
    pub(in crate::campaign) book: Book,
    pub(in crate::campaign) dir: tempfile::TempDir,
}

impl Desk {
    pub(in crate::campaign) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open_sqlite(&dir.path().join("store.sqlite"), Zones::of_system()).await.unwrap();
        Self { book, dir }
    }

    /// A campaign that runs.
    pub(in crate::campaign) async fn running(&self, name: &str, plan: &str, list: &str) -> Campaign {
        self.book.create(name, plan, TEN).await.unwrap();
        let campaign = self.book.campaign(name).await.unwrap();
        if !list.is_empty() {
            self.read(&campaign, list).await.unwrap();
        }
        self.book.start(name, TEN).await.unwrap();
        self.book.campaign(name).await.unwrap()
    }

    pub(in crate::campaign) async fn read(
        &self,
        campaign: &Campaign,
        list: &str,
    ) -> Result<crate::campaign::Imported, CampaignError> {
        let file = self.dir.path().join("list.csv");
        std::fs::write(&file, list).unwrap();
        let options = ImportOptions { file, faults: self.faults(), number_column: None, delimiter: None };
        self.book.import(campaign, &options, TEN, |_| {}).await
    }

    pub(in crate::campaign) fn faults(&self) -> PathBuf {
        self.dir.path().join("faults.csv")
    }

    async fn claim(&self, campaign: &Campaign, now: WallTime, most: usize) -> Vec<Claimed> {
        self.book.claim(campaign, &engine(), "one", now, most).await.unwrap()
    }

    async fn dial(&self, campaign: &Campaign, attempt: CallId, now: WallTime) -> Cleared {
        self.book.dialled(campaign, &engine(), attempt, "one", &|| now).await.unwrap()
    }

    async fn end(&self, campaign: &Campaign, attempt: CallId, is: Disposition, now: WallTime) {
        self.book.finish(campaign, attempt, &Closing::new(is), now).await.unwrap();
    }
}

fn engine() -> Engine {
    Engine("first".into())
}

/// Numbers of Berlin.
pub(in crate::campaign) fn berlin(count: usize) -> String {
    let mut list = "number,name\n".to_owned();
    for index in 0..count {
        list += &format!("+4930231{:05},Caller {index}\n", 10_000 + index);
    }
    list
}

fn later(now: WallTime, ms: i64) -> WallTime {
    WallTime(now.0 + ms)
}

#[tokio::test]
async fn a_campaign_is_made_started_paused_and_stopped_and_nothing_else() {
    let desk = Desk::new().await;
    let book = &desk.book;
    book.create("renewals", PLAN, TEN).await.unwrap();
    assert!(matches!(book.create("renewals", PLAN, TEN).await, Err(CampaignError::Exists(_))));
    assert!(matches!(book.create("a b", PLAN, TEN).await, Err(CampaignError::Name(_))));
    assert!(matches!(book.create("other", "bot = 1", TEN).await, Err(CampaignError::Plan(_))));
    let error = book.pause("renewals", TEN).await.unwrap_err();
    assert!(error.to_string().contains("is created: `offhook campaign start`"), "{error}");
    let error = book.start("renewal", TEN).await.unwrap_err();
    assert!(error.to_string().contains("there are renewals"), "{error}");
    book.start("renewals", TEN).await.unwrap();
    book.pause("renewals", TEN).await.unwrap();
    book.resume("renewals", later(TEN, 5)).await.unwrap();
    assert_eq!(book.campaign("renewals").await.unwrap().started, Some(later(TEN, 5)));
    book.stop("renewals", TEN).await.unwrap();
    assert!(matches!(book.resume("renewals", TEN).await, Err(CampaignError::State { .. })));
    // Another process finds it all, and the store is still the engine's.
    let path = desk.dir.path().join("store.sqlite");
    let again = Book::open_sqlite(&path, Zones::of_system()).await.unwrap();
    assert_eq!(again.campaigns().await.unwrap().len(), 1);
    assert!(Store::open_to_read(&path).await.is_ok());
}

#[tokio::test]
async fn a_trunk_has_no_more_calls_than_its_capacity_however_many_are_claimed_before_one_is_dialled() {
    let desk = Desk::new().await;
    let small = PLAN.replace("capacity = 100\n", "capacity = 3\n[[trunk]]\nname = 'two'\ncapacity = 1\n");
    let campaign = desk.running("c", &small, &berlin(9)).await;
    let mut up = desk.claim(&campaign, TEN, 2).await;
    up.extend(desk.claim(&campaign, later(TEN, 2_000), 9).await);
    assert_eq!(up.len(), 3);
    // So for another campaign over the same trunk, and for one that had no luck at another.
    let other = desk.running("d", &small, &berlin(1).replace("10000", "20000")).await;
    assert!(desk.claim(&other, later(TEN, 4_000), 9).await.is_empty());
    let at = later(TEN, 4_000);
    for claimed in &up {
        assert_eq!(desk.dial(&campaign, claimed.attempt, at).await, Cleared::Dial);
    }
    let first = engine();
    let again = async |attempt| {
        desk.book.dialled_again(&campaign, &first, attempt, "two", &|| later(at, 2_000)).await
    };
    assert_eq!(again(up[0].attempt).await.unwrap(), Cleared::Dial);
    assert_eq!(again(up[1].attempt).await.unwrap(), Cleared::Full);
    // He has left the first one.
    assert_eq!(desk.claim(&other, later(at, 4_000), 9).await.len(), 1);
}

#[tokio::test]
async fn calls_a_second_are_counted_over_engines_and_campaigns_when_they_are_dialled() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(6)).await;
    let slow = PLAN.replace("calls_per_second = 1000", "calls_per_second = 2");
    let trunk = slow.replace("capacity = 100\n", "capacity = 100\ncalls_per_second = 3\n");
    let slow = desk.running("slow", &trunk, &berlin(9).replace("93023", "93024")).await;
    let claimed = desk.claim(&slow, TEN, 2).await;
    let at_other = Engine("second".into());
    let others = desk.book.claim(&slow, &at_other, "one", later(TEN, 1_050), 2).await.unwrap();
    let now = later(TEN, 2_000);
    // Claims were two a second; now all four would be dialled at once.
    assert_eq!(desk.dial(&slow, claimed[0].attempt, now).await, Cleared::Dial);
    let dial = async |one: &Claimed, at| {
        desk.book.dialled(&slow, &at_other, one.attempt, "one", &|| at).await.unwrap()
    };
    assert_eq!(dial(&others[0], later(now, 400)).await, Cleared::Dial);
    let full = Cleared::NotBefore(later(now, 1_050));
    assert_eq!(desk.dial(&slow, claimed[1].attempt, later(now, 410)).await, full);
    assert_eq!(dial(&others[1], later(now, 1_049)).await, full);
    assert_eq!(dial(&others[1], later(now, 1_051)).await, Cleared::Dial);
    // The trunk's rate counts those of other campaigns: three in this second.
    let fast = PLAN.replace("capacity = 100\n", "capacity = 100\ncalls_per_second = 3\n");
    let fast = Campaign { plan: crate::campaign::Plan::parse(&fast, "test").unwrap().into(), ..campaign };
    let at = later(now, 1_060);
    let more = desk.claim(&fast, at, 3).await;
    assert_eq!(desk.dial(&fast, more[0].attempt, at).await, Cleared::Dial);
    assert_eq!(desk.dial(&fast, more[1].attempt, at).await, Cleared::NotBefore(later(now, 400 + 1_050)));
}

#[tokio::test]
async fn a_call_counts_when_the_server_has_taken_it() {
    let desk = Desk::new().await;
    let slow = PLAN.replace("calls_per_second = 1000", "calls_per_second = 2");
    let campaign = desk.running("c", &slow, &berlin(9)).await;
    let claimed = desk.claim(&campaign, TEN, 2).await;
    let others = desk.claim(&campaign, later(TEN, 1_050), 2).await;
    let now = later(TEN, 2_000);
    let first = claimed[0].attempt;
    for (one, at) in claimed.iter().zip([now, later(now, 200)]) {
        assert_eq!(desk.dial(&campaign, one.attempt, at).await, Cleared::Dial);
    }
    // Sooner than that is at once.
    desk.book.went_out(first, later(now, 20)).await.unwrap();
    let asked = later(now, 900);
    let until = |at| Cleared::NotBefore(later(now, at));
    assert_eq!(desk.dial(&campaign, others[0].attempt, asked).await, until(1_050));
    desk.book.went_out(first, later(now, 120)).await.unwrap();
    assert_eq!(desk.dial(&campaign, others[0].attempt, asked).await, until(120 + 1_050));
    // What is over stays as it was.
    let over = Closing::new(Disposition::Busy);
    desk.book.finish(&campaign, first, &over, asked).await.unwrap();
    desk.book.went_out(first, later(now, 500)).await.unwrap();
    assert_eq!(desk.dial(&campaign, others[0].attempt, asked).await, until(120 + 1_050));
}

#[tokio::test]
async fn who_waits_for_the_book_is_counted_when_he_dials() {
    let desk = Desk::new().await;
    let slow = PLAN.replace("calls_per_second = 1000", "calls_per_second = 1");
    let campaign = desk.running("c", &slow, &berlin(2)).await;
    let claimed =
        [desk.claim(&campaign, TEN, 1).await, desk.claim(&campaign, later(TEN, 1_050), 1).await].concat();
    // Somebody else writes, for three seconds of the clock.
    let clock = AtomicI64::new(later(TEN, 1_100).0);
    let other = desk.book.db.begin().await.unwrap();
    let first = engine();
    let now = || WallTime(clock.load(Ordering::SeqCst));
    let dial = desk.book.dialled(&campaign, &first, claimed[0].attempt, "one", &now);
    let write = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        clock.store(later(TEN, 4_100).0, Ordering::SeqCst);
        other.commit().await.unwrap();
    };
    let (dialled, ()) = tokio::join!(dial, write);
    assert_eq!(dialled.unwrap(), Cleared::Dial);
    let full = Cleared::NotBefore(later(TEN, 4_100 + 1_050));
    assert_eq!(desk.dial(&campaign, claimed[1].attempt, later(TEN, 4_200)).await, full);
}

#[tokio::test]
async fn a_second_trunk_is_tried_only_while_he_may_be_called() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(2)).await;
    let claimed = desk.claim(&campaign, TEN, 2).await;
    let again = async |one: &Claimed, at| {
        desk.book.dialled_again(&campaign, &engine(), one.attempt, "two", &|| at).await
    };
    assert!(
        matches!(again(&claimed[0], TEN).await, Err(CampaignError::NotOpen(_))),
        "it was not dialled yet"
    );
    for one in &claimed {
        assert_eq!(desk.dial(&campaign, one.attempt, TEN).await, Cleared::Dial);
    }
    assert_eq!(again(&claimed[0], TEN).await.unwrap(), Cleared::Dial);
    desk.book.never_call(&claimed[0].number, None, None, None, TEN).await.unwrap();
    assert_eq!(again(&claimed[0], TEN).await.unwrap(), Cleared::Withdrawn(Withdrawn::OptedOut));
    assert_eq!(
        again(&claimed[1], later(TEN, 9 * HOUR)).await.unwrap(),
        Cleared::Withdrawn(Withdrawn::Closed)
    );
    let open = desk.book.open_attempts(&engine()).await.unwrap();
    assert_eq!(open.len(), 2, "both are still to be ended");
    assert!(open.iter().any(|one| one.trunk.as_deref() == Some("two")));
}

#[tokio::test]
async fn a_contact_goes_through_busy_to_an_end_and_is_never_claimed_within_his_pause() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(1)).await;
    let first = desk.claim(&campaign, TEN, 10).await.remove(0);
    assert_eq!((first.number.as_str(), first.nth), ("+493023110000", 1));
    assert_eq!(first.variables["name"], "Caller 0");
    assert!(desk.claim(&campaign, TEN, 10).await.is_empty(), "he is being called");
    assert_eq!(desk.dial(&campaign, first.attempt, TEN).await, Cleared::Dial);
    desk.end(&campaign, first.attempt, Disposition::Busy, later(TEN, 2_000)).await;
    let due = later(TEN, 2_000 + 10 * MINUTE);
    assert!(desk.claim(&campaign, later(due, -1), 10).await.is_empty());
    assert_eq!(desk.book.next_due(&campaign, TEN).await.unwrap(), Some(due));
    let second = desk.claim(&campaign, due, 10).await.remove(0);
    assert_eq!(second.nth, 2);
    assert_eq!(desk.dial(&campaign, second.attempt, due).await, Cleared::Dial);
    desk.book.answered(second.attempt, later(due, 4_000)).await.unwrap();
    let mut end = Closing::new(Disposition::Completed);
    end.result.insert("sold".into(), "yes".into());
    desk.book.finish(&campaign, second.attempt, &end, later(due, 30_000)).await.unwrap();
    let again = desk.book.finish(&campaign, second.attempt, &end, due).await;
    assert!(matches!(again, Err(CampaignError::NotOpen(_))), "whoever came first counts");
    let counts = desk.book.counts(campaign.id).await.unwrap();
    assert_eq!((counts.contacts, counts.done, counts.attempts), (1, 1, 2));
    assert_eq!(counts.outcomes["completed"], 1);
    assert_eq!(desk.book.outcome(second.attempt).await.unwrap(), Some(Disposition::Completed));
    assert_eq!(desk.book.next_due(&campaign, due).await.unwrap(), None);
    reports(&desk, &campaign).await;
}

async fn reports(desk: &Desk, campaign: &Campaign) {
    let report = desk.book.report(campaign.id).await.unwrap();
    assert_eq!((report.all.attempts, report.all.answered, report.all.converted), (2, 1, 1));
    assert_eq!(report.by_disposition["busy"].attempts, 1);
    assert_eq!(report.by_hour[&10].attempts, 2);
    assert_eq!(report.by_attempt[&2].connect_ms, 4_000);
    assert_eq!(report.by_trunk["one"].talk_ms, 26_000);
    let mut csv = Vec::new();
    let rows = desk.book.export(campaign.id, What::Attempts, Format::Csv, &mut csv).await.unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!((rows, csv.lines().count()), (2, 3));
    assert!(csv.contains("completed") && csv.contains("2026-11-18T09:10:02.000Z"), "{csv}");
    let mut lines = Vec::new();
    desk.book.export(campaign.id, What::Contacts, Format::Json, &mut lines).await.unwrap();
    let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!((&line["outcome"], &line["variables"]["name"]), (&"completed".into(), &"Caller 0".into()));
}

#[tokio::test]
async fn the_pause_of_the_last_attempt_settles_the_contact() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(1)).await;
    let mut now = TEN;
    for nth in 1..=3 {
        let claimed = desk.claim(&campaign, now, 1).await.remove(0);
        assert_eq!(claimed.nth, nth);
        desk.dial(&campaign, claimed.attempt, now).await;
        desk.end(&campaign, claimed.attempt, Disposition::Busy, now).await;
        now = later(now, 10 * MINUTE);
    }
    assert!(desk.claim(&campaign, later(now, 24 * HOUR), 1).await.is_empty());
    assert_eq!(desk.book.counts(campaign.id).await.unwrap().outcomes["busy"], 1);
}

#[tokio::test]
async fn in_no_second_and_at_no_time_are_there_more_calls_than_the_campaign_says() {
    let desk = Desk::new().await;
    let plan = PLAN.replace("concurrency = 1000", "concurrency = 7");
    let campaign = desk.running("c", &plan.replace("second = 1000", "second = 3"), &berlin(50)).await;
    assert_eq!(desk.claim(&campaign, TEN, 50).await.len(), 3);
    assert_eq!(desk.claim(&campaign, later(TEN, 1_049), 50).await.len(), 0);
    let mut up = desk.claim(&campaign, later(TEN, 1_050), 50).await;
    assert_eq!(up.len(), 3);
    assert_eq!(desk.claim(&campaign, later(TEN, 2_100), 50).await.len(), 1, "seven are up");
    assert_eq!(desk.claim(&campaign, later(TEN, 9_000), 50).await.len(), 0);
    desk.book.give_back(up.remove(0).attempt, later(TEN, 9_000)).await.unwrap();
    assert_eq!(desk.claim(&campaign, later(TEN, 9_000), 50).await.len(), 1);
    assert_eq!(desk.book.counts(campaign.id).await.unwrap().attempts, 7, "what was given back is no attempt");
}

#[tokio::test]
async fn a_campaign_that_does_not_run_claims_nobody_and_withdraws_what_is_not_dialled() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(3)).await;
    let claimed = desk.claim(&campaign, TEN, 1).await.remove(0);
    desk.book.pause("c", TEN).await.unwrap();
    assert!(desk.claim(&campaign, TEN, 1).await.is_empty());
    let cleared = desk.dial(&campaign, claimed.attempt, TEN).await;
    assert_eq!(cleared, Cleared::Withdrawn(Withdrawn::NotRunning));
    desk.book.resume("c", TEN).await.unwrap();
    assert_eq!(desk.claim(&campaign, TEN, 10).await.len(), 3, "nothing is lost");
}

#[tokio::test]
async fn only_where_the_window_is_open_somebody_is_called_and_where_it_closes_first_first() {
    let desk = Desk::new().await;
    let list = "number,zone\n+493023110000,\n+12024561111,America/New_York\n+442079460018,Europe/London\n\
        +12024561414,\n+12024561112,Asia/Tokyo\n";
    let campaign = desk.running("c", PLAN, list).await;
    let counts = desk.book.counts(campaign.id).await.unwrap();
    assert_eq!((counts.waiting, counts.nowhere), (4, 1), "a number of the US does not say where it is");
    let numbers = |claimed: Vec<Claimed>| claimed.into_iter().map(|one| one.number).collect::<Vec<_>>();
    // At ten in Berlin it is nine in London, and six in the evening in Tokyo.
    assert_eq!(numbers(desk.claim(&campaign, TEN, 1).await), ["+493023110000"]);
    assert_eq!(numbers(desk.claim(&campaign, TEN, 9).await), ["+442079460018"]);
    assert_eq!(desk.book.next_due(&campaign, TEN).await.unwrap(), Some(later(TEN, 5 * HOUR)));
    assert_eq!(numbers(desk.claim(&campaign, later(TEN, 5 * HOUR), 9).await), ["+12024561111"]);
}

#[tokio::test]
async fn the_window_that_closes_between_claim_and_dialling_is_seen() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(1)).await;
    let last = later(TEN, 8 * HOUR - 1);
    let claimed = desk.claim(&campaign, last, 1).await.remove(0);
    let cleared = desk.dial(&campaign, claimed.attempt, later(last, 1)).await;
    assert_eq!(cleared, Cleared::Withdrawn(Withdrawn::Closed));
    assert_eq!(desk.claim(&campaign, later(TEN, 23 * HOUR), 1).await.remove(0).nth, 1);
}

#[tokio::test]
async fn who_asks_not_to_be_called_is_called_by_nobody_from_then_on() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(4)).await;
    let other = desk.running("d", PLAN, &berlin(4)).await;
    let book = &desk.book;
    // Before the claim, between claim and dialling, and during the call.
    assert!(book.never_call("030 23110000", None, Some("DE"), Some("by letter"), TEN).await.unwrap());
    assert!(!book.never_call("+49 30 23110000", None, None, None, TEN).await.unwrap());
    let claimed = desk.claim(&campaign, TEN, 10).await;
    assert_eq!(claimed.len(), 3);
    book.never_call(&claimed[0].number, None, None, None, TEN).await.unwrap();
    let cleared = desk.dial(&campaign, claimed[0].attempt, TEN).await;
    assert_eq!(cleared, Cleared::Withdrawn(Withdrawn::OptedOut));
    assert_eq!(desk.dial(&campaign, claimed[1].attempt, TEN).await, Cleared::Dial);
    let end = Closing { opted_out: true, ..Closing::new(Disposition::Completed) };
    book.finish(&campaign, claimed[1].attempt, &end, TEN).await.unwrap();
    // That of one campaign does not hold for the other.
    book.never_call(&claimed[2].number, Some(&campaign), None, None, TEN).await.unwrap();
    desk.end(&campaign, claimed[2].attempt, Disposition::Busy, TEN).await;
    assert!(desk.claim(&campaign, later(TEN, HOUR), 10).await.is_empty());
    let left = desk.claim(&other, later(TEN, HOUR), 10).await;
    assert_eq!(left.iter().map(|one| &one.number).collect::<Vec<_>>(), [&claimed[2].number]);
    assert_eq!(book.counts(other.id).await.unwrap().outcomes["opted_out"], 3);
    let all = book.never_called("", 10).await.unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(all.iter().filter(|entry| entry.campaign.is_some()).count(), 1);
    assert!(book.may_call_again("+493023110000", None, None).await.unwrap());
    assert!(!book.is_never_called("+493023110000", Some(&campaign)).await.unwrap());
}

#[tokio::test]
async fn a_list_of_those_who_are_never_called_is_read_from_a_file() {
    let desk = Desk::new().await;
    let file = desk.dir.path().join("never.csv");
    std::fs::write(&file, "phone\n030 23110000\nnonsense\n+493023110001,why\n030 23110000\n").unwrap();
    let listed = desk.book.never_call_all(&file, None, Some("DE"), TEN).await.unwrap();
    assert_eq!((listed.lines, listed.added, listed.bad), (5, 2, 1));
    assert!(desk.book.is_never_called("+493023110001", None).await.unwrap());
}

#[tokio::test]
async fn the_days_cap_holds_over_campaigns_and_ends_at_midnight_there() {
    let desk = Desk::new().await;
    let plan = PLAN.replace("and_day = 3", "and_day = 1").replace("09:00-18:00", "00:00-24:00");
    let first = desk.running("c", &plan, &berlin(1)).await;
    let second = desk.running("d", &plan, &berlin(1)).await;
    let evening = later(TEN, 14 * HOUR - 5 * MINUTE);
    let claimed = desk.claim(&first, evening, 1).await.remove(0);
    assert!(desk.claim(&second, evening, 1).await.is_empty(), "he is on the telephone");
    desk.dial(&first, claimed.attempt, evening).await;
    desk.end(&first, claimed.attempt, Disposition::Completed, evening).await;
    let midnight = later(TEN, 14 * HOUR);
    assert!(desk.claim(&second, later(midnight, -1), 1).await.is_empty());
    assert_eq!(desk.claim(&second, midnight, 1).await.len(), 1);
}

#[tokio::test]
async fn what_a_dead_engine_left_is_found_by_its_lease_and_taken_over_once() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, &berlin(3)).await;
    let claimed = desk.claim(&campaign, TEN, 3).await;
    desk.dial(&campaign, claimed[0].attempt, TEN).await;
    let (book, other) = (&desk.book, Engine("second".into()));
    assert_eq!(book.open_attempts(&engine()).await.unwrap().len(), 3);
    assert!(book.open_attempts(&other).await.unwrap().is_empty());
    assert_eq!(book.renew(&engine(), later(TEN, 30_000)).await.unwrap(), 3);
    assert!(book.abandoned(later(TEN, 60_001)).await.unwrap().is_empty());
    let dead = later(TEN, 90_001);
    let left = book.abandoned(dead).await.unwrap();
    assert_eq!(left.len(), 3);
    let dialled = left.iter().find(|one| one.dialled.is_some()).unwrap();
    assert_eq!((dialled.attempt, dialled.trunk.as_deref()), (claimed[0].attempt, Some("one")));
    assert!(book.take_over(dialled, &other, dead).await.unwrap());
    assert!(!book.take_over(dialled, &Engine("third".into()), dead).await.unwrap());
    assert!(book.give_back(dialled.attempt, dead).await.is_err(), "it may have rung");
    desk.end(&campaign, dialled.attempt, Disposition::Lost, dead).await;
    for one in left.iter().filter(|one| one.dialled.is_none()) {
        assert!(book.take_over(one, &other, dead).await.unwrap());
        book.give_back(one.attempt, dead).await.unwrap();
    }
    let again = desk.claim(&campaign, dead, 10).await;
    assert_eq!(again.len(), 2, "those who were not dialled, and not the one whose pause has begun");
    assert!(again.iter().all(|one| one.nth == 1));
    assert_eq!(book.trunk_load().await.unwrap(), [("one".to_owned(), 2)], "who is claimed counts");
}

#[tokio::test]
async fn after_the_last_day_everybody_who_waits_is_settled() {
    let desk = Desk::new().await;
    let plan = format!("expires = '2026-11-18'\n{PLAN}");
    let campaign = desk.running("c", &plan, &berlin(5)).await;
    assert_eq!(desk.claim(&campaign, TEN, 1).await.len(), 1);
    assert!(desk.claim(&campaign, later(TEN, 24 * HOUR), 5).await.is_empty());
    let counts = desk.book.counts(campaign.id).await.unwrap();
    assert_eq!((counts.outcomes["expired"], counts.calling), (4, 1));
}

#[tokio::test]
async fn an_older_offhook_leaves_the_tables_of_a_newer_one_alone() {
    let desk = Desk::new().await;
    let mut tx = desk.book.db.begin().await.unwrap();
    sqlx::query("UPDATE campaign_schema SET version = 99").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let again = Book::open_sqlite(&desk.dir.path().join("store.sqlite"), Zones::of_system()).await;
    assert!(matches!(again, Err(CampaignError::Newer { found: 99, .. })));
    let error = Book::open_postgres("mysql://somewhere/x", Zones::of_system()).await.unwrap_err();
    assert!(error.to_string().contains("postgres://USER@HOST/DATABASE"));
}
