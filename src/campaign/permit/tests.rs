//! Contacts over days of virtual time: no call that should not have been.

use super::*;
use crate::campaign::hours::Zone;

const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Tehran",
    "America/Santiago",
    "Europe/Dublin",
];

/// Around changes to summer time of both halves of the earth, new year, a leap day, and any time.
const DAYS: &[&str] = &[
    "2026-03-08T00:00:00Z",
    "2026-03-29T00:00:00Z",
    "2026-04-05T00:00:00Z",
    "2026-10-04T00:00:00Z",
    "2026-10-25T00:00:00Z",
    "2026-11-01T00:00:00Z",
    "2026-12-31T12:00:00Z",
    "2028-02-28T12:00:00Z",
];

const HOUR: i64 = 3_600_000;

struct World {
    plan: Plan,
    /// The same in numbers, for the referee: first and last minute by weekday from Monday.
    window: [Option<(i64, i64)>; 7],
    holiday: &'static str,
}

/// A few campaigns; reading one takes longer than deciding a case.
fn worlds(random: &mut fastrand::Rng) -> Vec<World> {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    (0..40)
        .map(|index| {
            let mut text = format!(
                "bot = 'b'\ncountry = 'DE'\nmax_attempts = 3\ncalls_per_number_and_day = {}\nconsent_required = {}\n",
                random.u32(1..4),
                index % 4 == 0,
            );
            let holiday = ["2026-03-29", "2026-10-25", "2026-11-02", "2027-01-01"][index % 4];
            text += &format!("holidays = ['{holiday}']\n[[trunk]]\nname = 't'\ncapacity = 1\n[pause]\nbusy = '10m'\n[hours]\n");
            let window = std::array::from_fn(|day| {
                // Monday is there in every one: a campaign without hours is refused.
                if day > 0 && random.u32(..4) == 0 {
                    return None;
                }
                let from = random.i64(0..47) * 30;
                let to = random.i64(from / 30 + 1..=48) * 30;
                text += &format!(
                    "{} = ['{:02}:{:02}-{:02}:{:02}']\n",
                    names[day], from / 60, from % 60, to / 60, to % 60
                );
                Some((from, to))
            });
            World { plan: Plan::parse(&text, "case").unwrap(), window, holiday }
        })
        .collect()
}

/// The clock there as the referee reads it: by printing it, which has nothing in common with how it is decided.
fn there(zone: &str, at: WallTime) -> (String, usize, i64) {
    let local = jiff::Timestamp::from_millisecond(at.0).unwrap().in_tz(zone).unwrap();
    let text = local.strftime("%Y-%m-%d %u %H %M").to_string();
    let mut parts = text.split(' ');
    let date = parts.next().unwrap().to_owned();
    let mut number = || parts.next().unwrap().parse::<i64>().unwrap();
    let (day, hour, minute) = (number(), number(), number());
    (date, usize::try_from(day - 1).unwrap(), hour * 60 + minute)
}

#[derive(Default)]
struct Contact {
    zone: Option<&'static str>,
    has_consent: bool,
    opts_out: Option<i64>,
    calls: Vec<WallTime>,
    pause_until: i64,
}

/// Plays the days of one contact; every call is looked at by the referee. Gives how many calls there were.
fn play(
    world: &World,
    contact: &mut Contact,
    zone: Option<&Zone>,
    start: i64,
    random: &mut fastrand::Rng,
) -> usize {
    let mut now = WallTime(start);
    // Twenty times somebody looks, now and then at the very moment that was named.
    for _ in 0..20 {
        let midnight = zone.map_or(0, |zone| zone.midnight(now).0);
        let facts = Facts {
            zone,
            is_on_list: contact.opts_out.is_some_and(|at| at <= now.0),
            calls_today: u32::try_from(contact.calls.iter().filter(|at| at.0 >= midnight).count()).unwrap(),
            calls_now: 0,
            attempts: u32::try_from(contact.calls.len()).unwrap(),
            not_before: WallTime(contact.pause_until),
            has_consent: contact.has_consent,
        };
        match decide(&world.plan, &facts, now) {
            Verdict::Dial => {
                referee(world, contact, now);
                contact.calls.push(now);
                contact.pause_until = now.0 + 600_000;
                now.0 += random.i64(1_000..HOUR);
            }
            Verdict::NotBefore(at) => {
                assert!(at > now, "to wait is to wait");
                now.0 = if random.bool() { at.0 } else { now.0 + random.i64(60_000..6 * HOUR) };
            }
            Verdict::Never(_) | Verdict::Nowhere => break,
        }
    }
    contact.calls.len()
}

fn referee(world: &World, contact: &Contact, now: WallTime) {
    let zone = contact.zone.expect("who is nowhere is not called");
    let (date, day, minute) = there(zone, now);
    let (from, to) = world.window[day].unwrap_or_else(|| panic!("{zone}: called on a closed day, {date}"));
    assert!((from..to).contains(&minute), "{zone}: called at minute {minute} of {date}, open {from} to {to}");
    assert_ne!(date, world.holiday, "{zone}: called on a holiday");
    assert!(contact.opts_out.is_none_or(|at| at > now.0), "called after he asked not to be");
    assert!(!world.plan.consent_required || contact.has_consent, "called without consent");
    assert!(contact.pause_until <= now.0, "called within the pause");
    let today = contact.calls.iter().filter(|at| there(zone, **at).0 == date).count();
    assert!(
        u32::try_from(today).unwrap() < world.plan.calls_per_number_and_day,
        "called too often on {date}"
    );
    assert!(contact.calls.len() < 3, "called more often than `max_attempts`");
}

#[test]
fn in_a_hundred_thousand_cases_nobody_is_called_who_should_not_be() {
    let mut random = fastrand::Rng::with_seed(7);
    let worlds = worlds(&mut random);
    let zones: Vec<Zone> = ZONES.iter().map(|name| Zone::named(name).expect("tzdata is installed")).collect();
    let days: Vec<i64> =
        DAYS.iter().map(|day| day.parse::<jiff::Timestamp>().unwrap().as_millisecond()).collect();
    let (mut cases, mut calls, mut reached) = (0, 0, 0);
    while cases < 100_000 {
        let world = &worlds[random.usize(..worlds.len())];
        let start = days[random.usize(..days.len())] + random.i64(-30 * HOUR..30 * HOUR);
        let at = random.usize(..=zones.len());
        let mut contact = Contact {
            zone: ZONES.get(at).copied(),
            has_consent: random.u32(..10) > 0,
            // Some ask while it rings, some at any other time.
            opts_out: (random.u32(..5) == 0).then(|| start + random.i64(0..48 * HOUR)),
            ..Contact::default()
        };
        let called = play(world, &mut contact, zones.get(at), start, &mut random);
        (cases, calls, reached) = (cases + 1, calls + called, reached + usize::from(called > 0));
    }
    assert!(calls > 100_000 && reached > 60_000, "{calls} calls to {reached}: that proves little");
}

#[test]
fn who_waits_for_a_moment_may_be_called_at_that_moment_and_not_before_it() {
    let mut random = fastrand::Rng::with_seed(11);
    let worlds = worlds(&mut random);
    let zones: Vec<Zone> = ZONES.iter().map(|name| Zone::named(name).unwrap()).collect();
    for _ in 0..5_000 {
        let (world, zone) = (&worlds[random.usize(..worlds.len())], &zones[random.usize(..zones.len())]);
        let day = DAYS[random.usize(..DAYS.len())].parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let now = WallTime(day + random.i64(-50 * HOUR..50 * HOUR));
        let next = world.plan.hours.next_open(zone, now).expect("every one has a Monday");
        assert!(world.plan.hours.is_open(zone, next));
        if next > now {
            for _ in 0..5 {
                let before = WallTime(random.i64(now.0..next.0));
                assert!(!world.plan.hours.is_open(zone, before), "it was open before {next}");
            }
            assert!(!world.plan.hours.is_open(zone, WallTime(next.0 - 1)));
        }
        let closes = world.plan.hours.closes(zone, next).unwrap();
        assert!(closes > next && world.plan.hours.is_open(zone, WallTime(closes.0 - 1)));
        assert!(!world.plan.hours.is_open(zone, closes));
    }
}
