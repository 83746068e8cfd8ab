//! The campaign file as it is written, and how it becomes a [`Plan`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Machines, Pacing, Pauses, Plan, TrunkPlan, WebhookPlan};
use crate::campaign::hours::{Holiday, Hours, Span};
use crate::campaign::number::Numbering;
use crate::campaign::zones::SeveralZones;
use crate::time::WallTime;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    bot: String,
    country: Option<String>,
    #[serde(default)]
    countries: Vec<String>,
    #[serde(default)]
    trunk: Vec<TrunkPlan>,
    #[serde(default)]
    caller: Callers,
    #[serde(default = "ten_calls")]
    concurrency: u32,
    #[serde(default = "one_call")]
    calls_per_second: f64,
    #[serde(default = "a_minute")]
    ramp_up: HowLong,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    hours: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    holidays: Vec<String>,
    #[serde(default = "three")]
    max_attempts: u32,
    #[serde(default)]
    pause: PauseFile,
    expires: Option<String>,
    #[serde(default = "half_a_minute")]
    ring: HowLong,
    #[serde(default)]
    early_media: bool,
    #[serde(default = "two")]
    calls_per_number_and_day: u32,
    #[serde(default)]
    machines: MachinesWord,
    message: Option<String>,
    #[serde(default)]
    several_zones: SeveralZones,
    #[serde(default)]
    consent_required: bool,
    pacing: Option<PacingFile>,
    conversion: Option<String>,
    webhook: Option<WebhookFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "`caller` takes a number in quotation marks, or a list of them")]
enum Callers {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MachinesWord {
    #[default]
    HangUp,
    Message,
    Talk,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PacingFile {
    /// How many people take calls.
    people: u32,
    #[serde(default = "three_percent")]
    abandoned_percent: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookFile {
    url: String,
    secret_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PauseFile {
    busy: PauseWord,
    no_answer: PauseWord,
    rejected: PauseWord,
    congestion: PauseWord,
    machine: PauseWord,
    failed: PauseWord,
}

impl Default for PauseFile {
    fn default() -> Self {
        let minutes = |minutes: u64| PauseWord(Some(Duration::from_secs(minutes * 60)));
        Self {
            busy: minutes(10),
            no_answer: minutes(120),
            rejected: PauseWord(None),
            congestion: minutes(5),
            machine: minutes(240),
            failed: minutes(60),
        }
    }
}

/// `10m`, or `never`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct PauseWord(Option<Duration>);

impl TryFrom<String> for PauseWord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let span = duration(&text).ok_or_else(|| {
            format!("`{text}` is no pause: write \"30s\", \"10m\", \"2h\", \"1d\" or \"never\"")
        })?;
        if span < Duration::from_secs(1) || span > Duration::from_secs(90 * 86_400) {
            return Err(format!("`{text}` is no pause between calls: accepted are 1s to 90d"));
        }
        Ok(Self(Some(span)))
    }
}

/// `30s`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct HowLong(Duration);

impl TryFrom<String> for HowLong {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let span = duration(&text).filter(|span| *span <= Duration::from_secs(86_400));
        span.map(Self)
            .ok_or_else(|| format!("`{text}` is no span of time: write \"30s\" or \"2m\", a day at most"))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let count: u64 = digits.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// What is wrong, and the key that it is about.
pub(super) type Wrong = (&'static str, String);

impl File {
    /// The plan that it means.
    pub(super) fn check(self) -> Result<Plan, Wrong> {
        self.check_numbers()?;
        let (trunks, hours) = (self.read_trunks()?, self.read_hours()?);
        let numbering = Numbering::new(self.country.as_deref(), &self.countries)
            .map_err(|what| (if self.countries.is_empty() { "country" } else { "countries" }, what))?;
        let callers = self.read_callers()?;
        let expires =
            self.expires.as_deref().map(read_expiry).transpose().map_err(|what| ("expires", what))?;
        let machines = match (self.machines, self.message) {
            (MachinesWord::HangUp, None) => Machines::HangUp,
            (MachinesWord::Talk, None) => Machines::Talk,
            (MachinesWord::Message, Some(text)) if !text.trim().is_empty() => Machines::Message(text),
            (MachinesWord::Message, _) => {
                let what = "`machines = \"message\"` says nothing: write what to say as `message = \"…\"`";
                return Err(("machines", what.into()));
            }
            (_, Some(_)) => {
                let what =
                    "`message` is said to machines alone: set `machines = \"message\"`, or take it out";
                return Err(("message", what.into()));
            }
        };
        let pacing = match self.pacing {
            None => Pacing::Progressive,
            Some(file) => file.check().map_err(|what| ("[pacing]", what))?,
        };
        let webhook = self.webhook.map(WebhookFile::check).transpose().map_err(|what| ("[webhook]", what))?;
        let pause = self.pause;
        let pauses = Pauses {
            busy: pause.busy.0,
            no_answer: pause.no_answer.0,
            rejected: pause.rejected.0,
            congestion: pause.congestion.0,
            machine: pause.machine.0,
            failed: pause.failed.0,
        };
        Ok(Plan {
            bot: self.bot,
            trunks,
            callers,
            concurrency: self.concurrency,
            calls_per_second: self.calls_per_second,
            ramp_up: self.ramp_up.0,
            priority: self.priority,
            hours,
            max_attempts: self.max_attempts,
            pauses,
            expires,
            ring: self.ring.0,
            early_media: self.early_media,
            calls_per_number_and_day: self.calls_per_number_and_day,
            machines,
            numbering,
            several_zones: self.several_zones,
            consent_required: self.consent_required,
            pacing,
            conversion: self.conversion,
            webhook,
        })
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        let within = |key: &'static str, value: u32, range: std::ops::RangeInclusive<u32>| {
            if range.contains(&value) {
                return Ok(());
            }
            Err((key, format!("`{key}` = {value}: accepted are {} to {}", range.start(), range.end())))
        };
        if self.bot.trim().is_empty() {
            return Err(("bot", "`bot` is empty: write the name of a bot of the configuration".into()));
        }
        within("concurrency", self.concurrency, 1..=10_000)?;
        within("max_attempts", self.max_attempts, 1..=50)?;
        within("calls_per_number_and_day", self.calls_per_number_and_day, 1..=20)?;
        if !(0.01..=1_000.0).contains(&self.calls_per_second) {
            let what = format!("`calls_per_second` = {}: accepted are 0.01 to 1000", self.calls_per_second);
            return Err(("calls_per_second", what));
        }
        if !(5..=180).contains(&self.ring.0.as_secs()) {
            return Err(("ring", "`ring` is how long it may ring: accepted are \"5s\" to \"3m\"".into()));
        }
        Ok(())
    }

    fn read_trunks(&self) -> Result<Vec<TrunkPlan>, Wrong> {
        if self.trunk.is_empty() {
            let what = "there is no trunk: write [[trunk]] with `name` and `capacity` (`offhook trunk list` names yours)";
            return Err(("[[trunk]]", what.into()));
        }
        for (index, trunk) in self.trunk.iter().enumerate() {
            let name = &trunk.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
                let what = format!("`{name}` is no name of a trunk: letters, digits, - and _ alone");
                return Err(("[[trunk]]", what));
            }
            if self.trunk[..index].iter().any(|other| other.name == *name) {
                return Err(("[[trunk]]", format!("the trunk `{name}` is there twice: write it once")));
            }
            if !(1..=10_000).contains(&trunk.capacity) || !(0.01..=1_000.0).contains(&trunk.calls_per_second)
            {
                let what = format!(
                    "the trunk `{name}` has to have a `capacity` from 1 to 10000 and `calls_per_second` from 0.01 to 1000"
                );
                return Err(("[[trunk]]", what));
            }
        }
        Ok(self.trunk.clone())
    }

    fn read_callers(&self) -> Result<Vec<String>, Wrong> {
        let callers = match &self.caller {
            Callers::None => Vec::new(),
            Callers::One(number) => vec![number.clone()],
            Callers::Many(numbers) => numbers.clone(),
        };
        let numbers = callers.iter().map(|text| {
            Numbering::read_any(self.country.as_deref(), text)
                .map_err(|_| ("caller", format!("`{text}` under `caller` is no telephone number: write it with + and the country's code")))
        });
        numbers.collect()
    }

    fn read_hours(&self) -> Result<Hours, Wrong> {
        const DAYS: [&str; 7] =
            ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let wrong = |what: String| ("[hours]", what);
        let mut days: [Vec<Span>; 7] = Default::default();
        for (name, spans) in &self.hours {
            let of = match name.as_str() {
                "weekdays" => 0..5,
                "weekend" => 5..7,
                day => match DAYS.iter().position(|known| *known == day) {
                    Some(index) => index..index + 1,
                    None => {
                        return Err(wrong(format!(
                            "`{day}` under [hours] is no day: accepted are weekdays, weekend and {}",
                            DAYS.join(", ")
                        )));
                    }
                },
            };
            for text in spans {
                let span = Span::read(text).map_err(wrong)?;
                days[of.clone()].iter_mut().for_each(|day| day.push(span));
            }
        }
        let holidays = self.holidays.iter().map(|text| Holiday::read(text)).collect::<Result<_, _>>();
        Hours::new(days, holidays.map_err(|what| ("holidays", what))?).map_err(wrong)
    }
}

impl PacingFile {
    fn check(self) -> Result<Pacing, String> {
        if !(1..=10_000).contains(&self.people) {
            return Err(format!("`people` = {}: accepted are 1 to 10000", self.people));
        }
        if !(0.0..=20.0).contains(&self.abandoned_percent) {
            return Err(format!("`abandoned_percent` = {}: accepted are 0 to 20", self.abandoned_percent));
        }
        Ok(Pacing::Predictive { people: self.people, abandoned: self.abandoned_percent / 100.0 })
    }
}

impl WebhookFile {
    fn check(self) -> Result<WebhookPlan, String> {
        let url = reqwest::Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        if url.is_none() {
            return Err(format!("`{}` under [webhook] is no address: write \"https://HOST/PATH\"", self.url));
        }
        if !self.secret_file.is_absolute() {
            return Err(
                "`secret_file` under [webhook] has to be a whole path, as \"/etc/offhook/webhook-secret\": several engines may read it"
                    .into(),
            );
        }
        Ok(WebhookPlan { url: self.url, secret_file: self.secret_file })
    }
}

/// Midnight of a date is when it begins in UTC; a date and time says its offset.
fn read_expiry(text: &str) -> Result<WallTime, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(WallTime(at.as_millisecond()));
    }
    let date = text.parse::<jiff::civil::Date>().ok();
    let end = date.and_then(|date| date.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok());
    end.map(|end| WallTime(end.timestamp().as_millisecond())).ok_or_else(|| {
        format!("`{text}` is no time: write the last day as \"2026-12-31\", or a time as \"2026-12-31T18:00:00+01:00\"")
    })
}

/// The line on which a key or header stands; 1 when it is not there.
pub(super) fn line_of(text: &str, key: &str) -> usize {
    let lines = text.lines().enumerate();
    let is = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix(key).is_some_and(|rest| key.starts_with('[') || rest.trim_start().starts_with('='))
    };
    lines.filter(|(_, line)| is(line)).map(|(index, _)| index + 1).next().unwrap_or(1)
}

pub(super) const fn ten() -> f64 {
    10.0
}

const fn ten_calls() -> u32 {
    10
}

const fn one_call() -> f64 {
    1.0
}

const fn two() -> u32 {
    2
}

const fn three() -> u32 {
    3
}

const fn three_percent() -> f64 {
    3.0
}

const fn a_minute() -> HowLong {
    HowLong(Duration::from_secs(60))
}

const fn half_a_minute() -> HowLong {
    HowLong(Duration::from_secs(30))
}
