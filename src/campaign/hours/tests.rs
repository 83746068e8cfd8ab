use super::*;

fn at(text: &str) -> WallTime {
    WallTime(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn hours(weekdays: &[&str], weekend: &[&str]) -> Hours {
    let read = |spans: &[&str]| spans.iter().map(|text| Span::read(text).unwrap()).collect::<Vec<_>>();
    let days = std::array::from_fn(|day| read(if day < 5 { weekdays } else { weekend }));
    Hours::new(days, vec![Holiday::read("12-25").unwrap(), Holiday::read("2026-10-03").unwrap()]).unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

#[test]
fn the_window_is_on_the_clock_of_the_called_party() {
    let hours = hours(&["09:00-18:00"], &[]);
    // A Wednesday.
    let noon = at("2026-11-18T12:00:00Z");
    assert!(hours.is_open(&zone("Europe/Berlin"), noon));
    assert!(!hours.is_open(&zone("America/Los_Angeles"), noon), "it is four in the morning there");
    assert_eq!(hours.next_open(&zone("America/Los_Angeles"), noon), Some(at("2026-11-18T17:00:00Z")));
    // Fourteen hours ahead of us: Thursday already, and then the weekend.
    let kiritimati = zone("Pacific/Kiritimati");
    assert_eq!(hours.next_open(&kiritimati, noon), Some(at("2026-11-18T19:00:00Z")));
    assert_eq!(hours.closes(&kiritimati, at("2026-11-18T19:00:00Z")), Some(at("2026-11-19T04:00:00Z")));
    assert_eq!(hours.next_open(&kiritimati, at("2026-11-20T05:00:00Z")), Some(at("2026-11-22T19:00:00Z")));
}

#[test]
fn ends_are_exact_to_the_millisecond() {
    let (hours, berlin) = (hours(&["09:00-18:00"], &[]), zone("Europe/Berlin"));
    assert!(!hours.is_open(&berlin, at("2026-11-18T07:59:59.999Z")));
    assert!(hours.is_open(&berlin, at("2026-11-18T08:00:00Z")));
    assert!(hours.is_open(&berlin, at("2026-11-18T16:59:59.999Z")));
    assert!(!hours.is_open(&berlin, at("2026-11-18T17:00:00Z")));
    assert_eq!(hours.next_open(&berlin, at("2026-11-18T17:00:00Z")), Some(at("2026-11-19T08:00:00Z")));
}

#[test]
fn nobody_is_called_on_a_holiday() {
    let (hours, berlin) = (hours(&["09:00-18:00"], &["09:00-18:00"]), zone("Europe/Berlin"));
    assert!(!hours.is_open(&berlin, at("2026-12-25T12:00:00Z")));
    assert!(!hours.is_open(&berlin, at("2026-10-03T12:00:00Z")));
    assert!(hours.is_open(&berlin, at("2027-10-03T12:00:00Z")));
    assert_eq!(hours.next_open(&berlin, at("2026-12-24T17:30:00Z")), Some(at("2026-12-26T08:00:00Z")));
}

#[test]
fn summer_time_moves_the_window_and_a_window_in_the_gap_begins_behind_it() {
    let berlin = zone("Europe/Berlin");
    // On 29 March 2026 two o'clock becomes three.
    let early = hours(&["02:30-04:00"], &["02:30-04:00"]);
    assert_eq!(early.next_open(&berlin, at("2026-03-29T00:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(early.closes(&berlin, at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T02:00:00Z")));
    // A window that the gap swallows is not there that day.
    let swallowed = hours(&["02:00-03:00"], &["02:00-03:00"]);
    assert_eq!(swallowed.next_open(&berlin, at("2026-03-29T00:00:00Z")), Some(at("2026-03-30T00:00:00Z")));
    // On 25 October three becomes two: the window is there twice, and closed in between where it ends before three.
    let twice = hours(&["02:00-02:30"], &["02:00-02:30"]);
    assert!(twice.is_open(&berlin, at("2026-10-25T00:15:00Z")));
    assert!(!twice.is_open(&berlin, at("2026-10-25T00:45:00Z")));
    assert!(twice.is_open(&berlin, at("2026-10-25T01:15:00Z")));
    assert_eq!(twice.next_open(&berlin, at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
}

#[test]
fn where_several_zones_are_possible_all_have_to_be_open() {
    let coasts = Zone::all(["America/New_York", "America/Los_Angeles"]).unwrap();
    let hours = hours(&["09:00-18:00"], &[]);
    assert_eq!(hours.next_open(&coasts, at("2026-11-18T00:00:00Z")), Some(at("2026-11-18T17:00:00Z")));
    assert_eq!(hours.closes(&coasts, at("2026-11-18T17:00:00Z")), Some(at("2026-11-18T23:00:00Z")));
    // A window that is nowhere open in both at once is never open.
    let early = super::tests::hours(&["09:00-10:00"], &["09:00-10:00"]);
    assert_eq!(early.next_open(&coasts, at("2026-11-18T00:00:00Z")), None);
}

#[test]
fn days_begin_where_the_called_party_is() {
    let berlin = zone("Europe/Berlin");
    assert_eq!(berlin.midnight(at("2026-11-18T22:59:59Z")), at("2026-11-17T23:00:00Z"));
    assert_eq!(berlin.midnight(at("2026-11-18T23:00:00Z")), at("2026-11-18T23:00:00Z"));
    assert_eq!(berlin.next_midnight(at("2026-11-18T22:59:59Z")), at("2026-11-18T23:00:00Z"));
    assert_eq!(berlin.hour(at("2026-11-18T22:59:59Z")), 23);
    // Samoa had no 30 December 2011.
    let apia = zone("Pacific/Apia");
    assert_eq!(apia.next_midnight(at("2011-12-30T09:00:00Z")), at("2011-12-30T10:00:00Z"));
}

#[test]
fn around_the_clock_never_closes_within_the_horizon() {
    let always = hours(&["00:00-24:00"], &["00:00-24:00"]);
    let now = at("2026-11-18T12:00:00Z");
    assert_eq!(always.next_open(&zone("Europe/Berlin"), now), Some(now));
    assert_eq!(always.closes(&zone("Europe/Berlin"), now), Some(at("2026-12-24T23:00:00Z")), "Christmas");
}
