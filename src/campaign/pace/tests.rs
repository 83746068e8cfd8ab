use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

fn plan(extra: &str) -> Plan {
    let text =
        format!("bot = 'b'\ncountry = 'DE'\nramp_up = '0s'\n{extra}\n[hours]\nweekdays = ['00:00-24:00']\n");
    // The keys of `extra` come before its tables, and the hours after both.
    Plan::parse(&text, "test").unwrap()
}

const TRUNK: &str = "[[trunk]]\nname = 'one'\ncapacity = 1000\ncalls_per_second = 100\n";

fn wish(id: i64, plan: &Plan, ringing: u32) -> Wish<'_> {
    Wish {
        campaign: CampaignId(id),
        plan,
        since_start: Duration::from_secs(10_000),
        ringing,
        talking: 0,
        people: None,
    }
}

fn at(ms: u64) -> Moment {
    Moment::from_millis(1_000_000 + ms)
}

fn total(orders: &[Order]) -> u32 {
    orders.iter().map(|order| order.calls).sum()
}

#[test]
fn in_no_second_more_calls_begin_than_the_campaign_says() {
    let plan = plan(&format!("concurrency = 1000\ncalls_per_second = 7\n{TRUNK}"));
    let mut pace = Pace::new();
    let mut began = Vec::new();
    for ms in (0..20_000).step_by(10) {
        let orders = pace.next(at(ms), &[wish(1, &plan, 0)], &[], 1_000);
        began.extend(std::iter::repeat_n(ms, total(&orders) as usize));
    }
    assert_eq!(began.len(), 140);
    for (index, first) in began.iter().enumerate() {
        let in_second = began[index..].iter().take_while(|ms| **ms < first + 1_000).count();
        assert!(in_second <= 7, "{in_second} from {first} ms on");
    }
}

#[test]
fn a_slow_campaign_begins_one_call_in_several_seconds() {
    let plan = plan(&format!("concurrency = 10\ncalls_per_second = 0.2\n{TRUNK}"));
    let mut pace = Pace::new();
    let begun: u32 =
        (0..60).map(|second| total(&pace.next(at(second * 1_000), &[wish(1, &plan, 0)], &[], 10))).sum();
    assert_eq!(begun, 12);
}

#[test]
fn a_trunk_that_is_full_hands_over_to_the_next_one() {
    let plan = plan(
        "concurrency = 100\ncalls_per_second = 100\n[[trunk]]\nname = 'one'\ncapacity = 10\n\
         [[trunk]]\nname = 'two'\ncapacity = 5\n",
    );
    let mut pace = Pace::new();
    let orders = pace.next(at(0), &[wish(1, &plan, 0)], &[("one".into(), 7)], 100);
    let calls: Vec<_> = orders.iter().map(|order| (order.trunk.as_str(), order.calls)).collect();
    assert_eq!(calls, [("one", 3), ("two", 5)]);
}

#[test]
fn a_trunks_rate_holds_over_campaigns() {
    let text = "concurrency = 100\ncalls_per_second = 50\n[[trunk]]\nname = 'one'\ncapacity = 100\ncalls_per_second = 4\n";
    let (first, second) = (plan(text), plan(text));
    let mut pace = Pace::new();
    let wishes = [wish(1, &first, 0), wish(2, &second, 0)];
    let orders = pace.next(at(0), &wishes, &[], 100);
    assert_eq!(orders.iter().map(|order| order.calls).collect::<Vec<_>>(), [2, 2], "in turn");
    assert_eq!(total(&pace.next(at(999), &wishes, &[], 100)), 0);
    assert_eq!(total(&pace.next(at(1_000), &wishes, &[], 100)), 4);
}

#[test]
fn a_higher_priority_goes_first_and_the_others_get_the_rest() {
    let high = plan(&format!("priority = 5\nconcurrency = 6\ncalls_per_second = 50\n{TRUNK}"));
    let low = plan(&format!("concurrency = 50\ncalls_per_second = 50\n{TRUNK}"));
    let orders = Pace::new().next(at(0), &[wish(1, &low, 0), wish(2, &high, 2)], &[], 10);
    let calls = |id| {
        orders.iter().filter(|order| order.campaign == CampaignId(id)).map(|order| order.calls).sum::<u32>()
    };
    assert_eq!((calls(2), calls(1)), (4, 6));
}

#[test]
fn what_nobody_is_there_for_is_not_dialled() {
    let plan = plan(&format!("concurrency = 50\ncalls_per_second = 50\n{TRUNK}[pacing]\npeople = 5\n"));
    assert_eq!(total(&Pace::new().next(at(0), &[wish(1, &plan, 0)], &[], 100)), 0);
}

/// A queue of people and a population, in virtual time: gives the share of abandoned calls and how busy the people were.
fn simulate(seed: u64, people: u32, answer_rate: f64, handling: f64, hours: u64) -> (f64, f64, f64) {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum What {
        Rang { since: u64, by_person: bool },
        Free { talked: u64 },
    }
    let plan =
        plan(&format!("concurrency = 500\ncalls_per_second = 100\n{TRUNK}[pacing]\npeople = {people}\n"));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pace = Pace::new();
    let mut events: BinaryHeap<Reverse<(u64, u64, What)>> = BinaryHeap::new();
    let (mut free, mut ringing, mut count) = (people, 0_u32, 0_u64);
    let (mut answered, mut lost, mut talked_ms) = (0_u64, 0_u64, 0_u64);
    let id = CampaignId(1);
    let end = hours * 3_600_000;
    for now in (0..end).step_by(250) {
        while events.peek().is_some_and(|Reverse((when, ..))| *when <= now) {
            let Reverse((when, _, what)) = events.pop().unwrap();
            match what {
                What::Rang { since, by_person } => {
                    ringing -= 1;
                    pace.ended_ringing(id, Duration::from_millis(when - since), by_person);
                    if by_person {
                        answered += 1;
                        if free > 0 {
                            free -= 1;
                            // Handling times are spread as an exponential one.
                            #[expect(
                                clippy::cast_possible_truncation,
                                clippy::cast_sign_loss,
                                reason = "positive"
                            )]
                            let talk = (-handling * 1_000.0 * (1.0 - random.f64()).ln()) as u64;
                            count += 1;
                            events.push(Reverse((when + talk, count, What::Free { talked: talk })));
                        } else {
                            lost += 1;
                            pace.handled(id, None);
                        }
                    }
                }
                What::Free { talked } => {
                    free += 1;
                    talked_ms += talked;
                    pace.handled(id, Some(Duration::from_millis(talked)));
                }
            }
        }
        let wish = Wish {
            people: Some(People { free, busy: people - free }),
            talking: people - free,
            ..wish(1, &plan, ringing)
        };
        for _ in 0..total(&pace.next(at(now), &[wish], &[], 500)) {
            ringing += 1;
            count += 1;
            let by_person = random.f64() < answer_rate;
            let rings = if by_person { random.u64(3_000..20_000) } else { random.u64(5_000..30_000) };
            events.push(Reverse((now + rings, count, What::Rang { since: now, by_person })));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let share = (lost as f64 / answered.max(1) as f64, talked_ms as f64 / (end as f64 * f64::from(people)));
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let a_person_an_hour = answered as f64 / f64::from(people) / hours as f64;
    (share.0, share.1, a_person_an_hour)
}

#[test]
fn predicted_calls_keep_people_busy_and_the_abandonment_under_its_limit() {
    for (seed, people, answer_rate, handling) in
        [(1, 10, 0.3, 90.0), (2, 30, 0.25, 120.0), (3, 50, 0.5, 60.0), (4, 5, 0.2, 180.0), (5, 20, 0.1, 45.0)]
    {
        let (lost, busy, _) = simulate(seed, people, answer_rate, handling, 4);
        assert!(lost <= 0.03, "{people} people, {answer_rate} answer: {lost:.4} are lost");
        assert!(busy > 0.45, "{people} people, {answer_rate} answer: busy {busy:.2}");
    }
}
