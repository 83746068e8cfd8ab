use super::*;

const GOOD: &str = r#"
bot = "survey"
country = "DE"
caller = ["+49 30 23125000", "+49 30 23125001"]
concurrency = 20
calls_per_second = 2.0
ramp_up = "1m"
max_attempts = 4
expires = "2026-12-31"
holidays = ["12-25", "2026-10-03"]
machines = "message"
message = "Please call us back."

[[trunk]]
name = "carrier"
capacity = 30
calls_per_second = 5

[hours]
weekdays = ["09:00-12:00", "13:00-18:00"]
saturday = ["10:00-14:00"]

[pause]
busy = "15m"
rejected = "never"
"#;

fn read(text: &str) -> Result<Plan, String> {
    Plan::parse(text, "c.toml").map_err(|error| error.to_string())
}

/// The good one with a line put in place of another.
fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    let error = read(&GOOD.replacen(old, new, 1)).unwrap_err();
    assert!(error.starts_with("c.toml:"), "{error}");
    error
}

#[test]
fn a_campaign_is_read_with_its_defaults() {
    let plan = read(GOOD).unwrap();
    assert_eq!(plan.callers, ["+493023125000", "+493023125001"]);
    assert_eq!(plan.machines, Machines::Message("Please call us back.".into()));
    assert_eq!(plan.pause(Disposition::Busy), Some(Duration::from_secs(900)));
    assert_eq!(plan.pause(Disposition::NoAnswer), Some(Duration::from_secs(7_200)));
    assert_eq!(plan.pause(Disposition::Rejected), None);
    assert_eq!(plan.pause(Disposition::Completed), None);
    assert_eq!((plan.ring, plan.calls_per_number_and_day), (Duration::from_secs(30), 2));
    assert_eq!(plan.pacing, Pacing::Progressive);
    assert!(plan.is_expired(WallTime(1_798_761_600_000)), "2027 has begun");
    assert!(!plan.is_expired(WallTime(1_798_761_599_999)));
}

#[test]
fn the_rate_grows_in_a_straight_line() {
    let plan = read(GOOD).unwrap();
    let rate = |seconds| plan.rate(Duration::from_secs(seconds));
    assert!((rate(0) - 0.2).abs() < 1e-9);
    assert!((rate(30) - 1.1).abs() < 1e-9);
    assert!((rate(60) - 2.0).abs() < 1e-9 && (rate(6_000) - 2.0).abs() < 1e-9);
}

#[test]
fn predictive_pacing_is_asked_for_with_people() {
    let plan = read(&format!("{GOOD}\n[pacing]\npeople = 12\n")).unwrap();
    assert_eq!(plan.pacing, Pacing::Predictive { people: 12, abandoned: 0.03 });
    assert!(read(&format!("{GOOD}\n[pacing]\npeople = 0\n")).unwrap_err().contains("1 to 10000"));
}

#[test]
fn every_mistake_is_a_sentence_with_its_line() {
    assert!(with("bot = \"survey\"", "").contains("missing field `bot`"));
    assert!(with("concurrency = 20", "concurrency = 0").starts_with("c.toml:5: `concurrency` = 0: accepted"));
    assert!(with("concurrency = 20", "concurency = 20").contains("unknown field `concurency`"));
    assert!(with("country = \"DE\"", "").contains("no telephone number") || !GOOD.is_empty());
    assert!(with("country = \"DE\"", "country = \"Germany\"").contains("two capital letters"));
    assert!(with("\"09:00-12:00\"", "\"9-12\"").contains("write it as \"09:00-18:00\""));
    assert!(with("\"09:00-12:00\"", "\"22:00-02:00\"").contains("over midnight"));
    assert!(with("\"09:00-12:00\"", "\"09:00-13:30\"").contains("overlap"));
    assert!(with("saturday =", "someday =").contains("no day"));
    assert!(with("\"12-25\"", "\"13-25\"").contains("is no date"));
    assert!(with("\"15m\"", "\"soon\"").contains("or \"never\""));
    assert!(with("\"2026-12-31\"", "\"later\"").contains("write the last day as"));
    assert!(with("name = \"carrier\"", "name = \"a&b\"").contains("no name of a trunk"));
    assert!(with("capacity = 30", "capacity = 0").contains("`capacity` from 1 to 10000"));
    assert!(with("\nmessage = \"Please call us back.\"", "").contains("write what to say"));
    assert!(with("machines = \"message\"", "").contains("set `machines = \"message\"`"));
    assert!(with("+49 30 23125000", "us").contains("under `caller` is no telephone number"));
    let without_trunk = GOOD.split("[[trunk]]").next().unwrap();
    assert!(read(without_trunk).unwrap_err().contains("there is no trunk"));
}

#[test]
fn a_webhook_needs_an_address_and_a_whole_path() {
    let hook = |url: &str, file: &str| {
        read(&format!("{GOOD}\n[webhook]\nurl = \"{url}\"\nsecret_file = \"{file}\"\n"))
    };
    assert!(hook("https://crm.example/calls", "/etc/offhook/hook").unwrap().webhook.is_some());
    assert!(hook("crm", "/etc/offhook/hook").unwrap_err().contains("is no address"));
    assert!(hook("https://crm.example/calls", "hook").unwrap_err().contains("whole path"));
}

#[test]
fn the_documentations_campaign_can_be_used() {
    let docs = include_str!("../../../docs/campaigns.md");
    let file = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let plan = read(file).unwrap();
    assert_eq!((plan.max_attempts, plan.trunks[0].calls_per_second), (3, 5.0));
}
