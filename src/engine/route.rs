//! Where a call goes before any bot has it: the rules under `[[route]]`, asked by `AGI(agi://engine/route)`.
//!
//! Deciding code: the time, the load and what the look-up said are arguments.

use serde::Deserialize;

use crate::asterisk::number::{Pattern, Plain};
use crate::time::WallTime;

mod times;

pub use times::{Days, Hours, Zone};

/// One rule: whom it is for, and where they go. The first that fits decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Written")]
pub struct Rule {
    /// Its name, told to the dialplan as OFFHOOK_RULE.
    pub name: Option<Plain>,
    when: When,
    /// Who is asked where the call goes, before `to` is taken.
    pub look_up: Option<LookUp>,
    /// Where it goes.
    pub to: Target,
    /// What is wrong with it as a whole. Told when the configuration is checked, which knows its line; no rule of a
    /// configuration that was taken has one.
    pub(in crate::engine) fault: Option<String>,
}

/// Whom a rule is for; what is not said fits everybody.
#[derive(Debug, Clone, Default)]
struct When {
    called: Vec<Pattern>,
    caller: Vec<Pattern>,
    anonymous: Option<bool>,
    days: Option<Days>,
    hours: Option<Hours>,
    zone: Zone,
    calls_below: Option<usize>,
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a bot.
    Bot(Plain),
    /// Into a queue.
    Queue(Plain),
    /// To an extension of the dialplan.
    Extension {
        /// The extension.
        extension: Plain,
        /// Its context.
        context: Plain,
    },
    /// Nowhere.
    Refuse(Refusal),
}

/// How a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// Busy here: Q.850 cause 17.
    Busy,
    /// No circuit: cause 34; another server may take it.
    Congestion,
    /// Rejected: cause 21.
    Reject,
}

impl Refusal {
    /// The word that the dialplan is told.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Congestion => "congestion",
            Self::Reject => "reject",
        }
    }
}

impl Target {
    /// The dialplan variables that tell it.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let (route, target, context) = match self {
            Self::Bot(name) => ("bot", name.to_string(), String::new()),
            Self::Queue(name) => ("queue", name.to_string(), String::new()),
            Self::Extension { extension, context } => {
                ("extension", extension.to_string(), context.to_string())
            }
            Self::Refuse(how) => ("refuse", how.word().to_owned(), String::new()),
        };
        [("OFFHOOK_ROUTE", route.to_owned()), ("OFFHOOK_TARGET", target), ("OFFHOOK_CONTEXT", context)]
    }
}

/// An HTTP server that knows where calls go.
#[derive(Debug, Clone)]
pub struct LookUp {
    /// Its address; `called`, `caller` and `uniqueid` are added as a query.
    pub url: reqwest::Url,
    /// How long it may take, in milliseconds; then the rule's own target is taken.
    pub timeout_ms: u64,
}

/// A call that is to be sent somewhere.
#[derive(Debug, Clone)]
pub struct Enquiry {
    /// The number that was called.
    pub called: Plain,
    /// Who calls, if that is known.
    pub caller: Option<Plain>,
    /// When.
    pub now: WallTime,
    /// Calls that are up.
    pub calls: usize,
    /// Whether the engine takes one more: a rule that leads to a bot is for nobody when it does not.
    pub room: bool,
}

/// Finds the first rule that fits.
#[must_use]
pub fn first<'a>(rules: &'a [Rule], call: &Enquiry) -> Option<&'a Rule> {
    rules.iter().find(|rule| (call.room || !matches!(rule.to, Target::Bot(_))) && rule.when.fits(call))
}

impl When {
    fn fits(&self, call: &Enquiry) -> bool {
        let called =
            self.called.is_empty() || self.called.iter().any(|pattern| pattern.matches(call.called.as_str()));
        let caller = self.caller.is_empty()
            || call
                .caller
                .as_ref()
                .is_some_and(|number| self.caller.iter().any(|pattern| pattern.matches(number.as_str())));
        let anonymous = self.anonymous.is_none_or(|wanted| wanted == call.caller.is_none());
        let load = self.calls_below.is_none_or(|limit| call.calls < limit);
        called && caller && anonymous && load && self.is_now(call.now)
    }

    fn is_now(&self, now: WallTime) -> bool {
        if self.days.is_none() && self.hours.is_none() {
            return true;
        }
        let (day, minute) = self.zone.at(now);
        match (&self.days, &self.hours) {
            // A night that began on one of the days goes on after midnight.
            (Some(days), Some(hours)) if hours.is_overnight() && minute < hours.until() => {
                days.contains(day.yesterday()) && hours.contains(minute)
            }
            (days, hours) => {
                days.as_ref().is_none_or(|days| days.contains(day))
                    && hours.as_ref().is_none_or(|hours| hours.contains(minute))
            }
        }
    }
}

/// What a look-up answers: one of the targets as a rule writes them; nothing leaves it to the rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    bot: Option<Plain>,
    queue: Option<Plain>,
    extension: Option<Plain>,
    context: Option<Plain>,
    refuse: Option<Refusal>,
}

impl Answer {
    /// The one target; [`None`] when it names none.
    ///
    /// # Errors
    /// A sentence when it names several.
    pub fn target(self) -> Result<Option<Target>, String> {
        let mut targets = Vec::new();
        targets.extend(self.bot.map(Target::Bot));
        targets.extend(self.queue.map(Target::Queue));
        targets.extend(self.refuse.map(Target::Refuse));
        match (self.extension, self.context) {
            (Some(extension), Some(context)) => targets.push(Target::Extension { extension, context }),
            (None, None) => {}
            _ => return Err("an `extension` takes a `context`, and a `context` an `extension`".into()),
        }
        match targets.len() {
            0 | 1 => Ok(targets.pop()),
            _ => Err("one call has one target: write one of `bot`, `queue`, `extension` and `refuse`".into()),
        }
    }
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<Plain>,
    #[serde(default)]
    called: Several,
    #[serde(default)]
    caller: Several,
    anonymous: Option<bool>,
    days: Option<Days>,
    hours: Option<Hours>,
    #[serde(default)]
    zone: Zone,
    calls_below: Option<usize>,
    lookup: Option<String>,
    lookup_timeout_ms: Option<u64>,
    bot: Option<Plain>,
    queue: Option<Plain>,
    extension: Option<Plain>,
    context: Option<Plain>,
    refuse: Option<Refusal>,
}

/// One pattern or a list of them.
#[derive(Default)]
struct Several(Vec<Pattern>);

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Several;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, a pattern as \"_49X.\", or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Several, E> {
                let pattern = Pattern::try_from(text.to_owned()).map_err(E::custom)?;
                Ok(Several(vec![pattern]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Several, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = list.next_element()? {
                    patterns.push(pattern);
                }
                Ok(Several(patterns))
            }
        }

        from.deserialize_any(Visitor)
    }
}

impl From<Written> for Rule {
    fn from(mut rule: Written) -> Self {
        let name = rule.name.take();
        let when = When {
            called: std::mem::take(&mut rule.called).0,
            caller: std::mem::take(&mut rule.caller).0,
            anonymous: rule.anonymous,
            days: rule.days,
            hours: rule.hours,
            zone: std::mem::take(&mut rule.zone),
            calls_below: rule.calls_below,
        };
        match rule.ends() {
            Ok((look_up, to)) => Self { name, when, look_up, to, fault: None },
            Err(fault) => Self {
                name,
                when,
                look_up: None,
                to: Target::Refuse(Refusal::Congestion),
                fault: Some(fault),
            },
        }
    }
}

impl Written {
    /// Who is asked, and where the call goes.
    fn ends(self) -> Result<(Option<LookUp>, Target), String> {
        let rule = self;
        let answer = Answer {
            bot: rule.bot,
            queue: rule.queue,
            extension: rule.extension,
            context: rule.context,
            refuse: rule.refuse,
        };
        let to = answer.target()?.ok_or(
            "a route needs a target: write one of `bot`, `queue`, `extension` with `context`, and `refuse`",
        )?;
        let look_up = match (rule.lookup, rule.lookup_timeout_ms) {
            (None, None) => None,
            (None, Some(_)) => return Err("`lookup_timeout_ms` takes a `lookup`".into()),
            (Some(url), timeout) => Some(LookUp::new(&url, timeout.unwrap_or(LookUp::TIMEOUT_MS))?),
        };
        Ok((look_up, to))
    }
}

impl LookUp {
    /// A caller hears nothing meanwhile.
    const TIMEOUT_MS: u64 = 500;
    /// The longest that may be asked for.
    const LONGEST_MS: u64 = 10_000;

    fn new(url: &str, timeout_ms: u64) -> Result<Self, String> {
        let refuse = |why: &str| {
            format!("`lookup` cannot be used: {why}; write an address as \"http://127.0.0.1:8000/route\"")
        };
        let url = reqwest::Url::parse(url).map_err(|why| refuse(&why.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refuse("it is no http or https address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("an address with a password would be logged by every proxy"));
        }
        if !(1..=Self::LONGEST_MS).contains(&timeout_ms) {
            return Err(format!(
                "`lookup_timeout_ms` = {timeout_ms}: accepted are 1 to {}",
                Self::LONGEST_MS
            ));
        }
        Ok(Self { url, timeout_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        route: Vec<Rule>,
    }

    fn rules(text: &str) -> Vec<Rule> {
        toml::from_str::<File>(text).expect("the rules are right").route
    }

    fn refused(text: &str) -> String {
        match toml::from_str::<File>(&format!("[[route]]\n{text}\n")) {
            Ok(mut file) => file.route.remove(0).fault.expect(text),
            Err(error) => error.to_string(),
        }
    }

    /// 2026-11-21, a Saturday, at noon in UTC.
    const SATURDAY: i64 = 1_795_262_400_000;
    const HOUR: i64 = 3_600_000;

    fn call(called: &str, caller: Option<&str>, now: i64, calls: usize) -> Enquiry {
        let caller = caller.map(|number| number.parse().unwrap());
        Enquiry { called: called.parse().unwrap(), caller, now: WallTime(now), calls, room: true }
    }

    fn route(rules: &[Rule], call: &Enquiry) -> Option<[String; 3]> {
        Some(first(rules, call)?.to.variables().map(|(_, value)| value))
    }

    fn is(values: [&str; 3]) -> Option<[String; 3]> {
        Some(values.map(str::to_owned))
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(
            "[[route]]\ncaller = '_0900.'\nrefuse = 'reject'\n\
             [[route]]\ncalled = ['100', '_2XX']\ncalls_below = 10\nbot = 'frontdesk'\n\
             [[route]]\ncalled = '100'\nqueue = 'sales'\n\
             [[route]]\nanonymous = true\nextension = 's'\ncontext = 'voicemail'\n",
        );
        assert_eq!(route(&rules, &call("100", Some("0900123"), 0, 0)), is(["refuse", "reject", ""]));
        assert_eq!(route(&rules, &call("299", Some("123"), 0, 9)), is(["bot", "frontdesk", ""]));
        assert_eq!(route(&rules, &call("100", Some("123"), 0, 10)), is(["queue", "sales", ""]));
        assert_eq!(route(&rules, &call("299", None, 0, 10)), is(["extension", "s", "voicemail"]));
        assert_eq!(route(&rules, &call("299", Some("1"), 0, 10)), None);
    }

    #[test]
    fn a_full_engine_gets_no_more_calls_for_its_bots() {
        let rules = rules("[[route]]\nbot = 'frontdesk'\n[[route]]\nqueue = 'sales'\n");
        let full = Enquiry { room: false, ..call("100", None, 0, 500) };
        assert_eq!(route(&rules, &full), is(["queue", "sales", ""]));
        assert_eq!(route(&rules, &Enquiry { room: true, ..full }), is(["bot", "frontdesk", ""]));
    }

    #[test]
    fn office_hours_are_those_of_their_time_zone() {
        let rules = rules(
            "[[route]]\ndays = 'mon-sat'\nhours = '08:00-14:00'\nzone = 'Europe/Berlin'\nbot = 'day'\n",
        );
        // 12:59 and 14:00 in Berlin in winter.
        assert!(first(&rules, &call("1", None, SATURDAY - 1, 0)).is_some());
        assert!(first(&rules, &call("1", None, SATURDAY + HOUR, 0)).is_none());
        // The same wall-clock hour in summer is another one in UTC: 2026-07-18, a Saturday, 11:59 and 12:00 UTC.
        let summer = 1_784_376_000_000;
        assert!(first(&rules, &call("1", None, summer - 1, 0)).is_some());
        assert!(first(&rules, &call("1", None, summer, 0)).is_none());
        // A Sunday.
        assert!(first(&rules, &call("1", None, SATURDAY + 22 * HOUR, 0)).is_none());
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_began() {
        let rules = rules("[[route]]\ndays = 'sat'\nhours = '22:00-06:00'\nzone = 'UTC'\nbot = 'night'\n");
        let at = |hours: i64| first(&rules, &call("1", None, SATURDAY + hours * HOUR, 0)).is_some();
        assert!(at(10) && at(17), "Saturday 22:00 and Sunday 05:00");
        assert!(!at(18) && !at(9), "Sunday 06:00 and Saturday 21:00");
        assert!(!at(-7), "Saturday 05:00 belongs to Friday");
    }

    #[test]
    fn a_rule_that_cannot_be_says_what_is_accepted() {
        for (text, accepted) in [
            ("called = '100'", "needs a target"),
            ("bot = 'a'\nqueue = 'b'", "one call has one target"),
            ("extension = '1'", "takes a `context`"),
            ("bot = 'a&b'", "may not stand in it"),
            ("extension = '${EXTEN}'\ncontext = 'x'", "may not stand in it"),
            ("called = 'PJSIP/1'\nbot = 'a'", "no number or pattern"),
            ("called = 7\nbot = 'a'", "a number, a pattern"),
            ("days = 'someday'\nbot = 'a'", "mon-fri"),
            ("hours = '25:00-26:00'\nbot = 'a'", "08:00-18:00"),
            ("zone = 'Europe/Nowhere'\nbot = 'a'", "Europe/Berlin"),
            ("refuse = 'no'", "busy"),
            ("lookup = 'ftp://x'\nbot = 'a'", "http://"),
            ("lookup = 'http://u:hunter2@x'\nbot = 'a'", "password"),
            ("lookup = 'http://x'\nlookup_timeout_ms = 0\nbot = 'a'", "1 to 10000"),
            ("lookup_timeout_ms = 5\nbot = 'a'", "takes a `lookup`"),
            ("bto = 'a'", "bot"),
        ] {
            let error = refused(text);
            assert!(error.contains(accepted), "{text}: {error}");
            assert!(
                !error.contains("cannot be used") || !error.contains("hunter2") || error.contains("lookup =")
            );
        }
    }

    #[test]
    fn what_a_look_up_answers_is_held_to_the_same() {
        let read = |text: &str| {
            serde_json::from_str::<Answer>(text).map_err(|e| e.to_string()).and_then(Answer::target)
        };
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"bot":"x","reason":"vip"}"#), Ok(Some(Target::Bot("x".parse().unwrap()))));
        assert!(read(r#"{"extension":"1&2","context":"a"}"#).is_err());
        assert!(read(r#"{"bot":"x","queue":"y"}"#).is_err());
        assert!(read("7").is_err());
    }
}
