//! Figures out of verdicts.

use std::collections::BTreeMap;
use std::fmt;

use super::corpus::{Call, Truth};
use super::peer::{Amd, Status};
use super::report::{Contestant, Half, Hearing, Other, Places, Shown, Slice, Wrong};
use crate::bench::turns::Part;
use crate::bench::turns::report::Spread;
use crate::time::Moment;
use crate::turn::answer::{AnswerSignal, Party, Quiet};

/// A beep was found when its end is told to this, in milliseconds.
const FOUND_MS: f64 = 150.0;

/// A verdict on one call: who, whether it was sure, when in milliseconds since the audio began, and who at the end.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    party: Party,
    sure: bool,
    at: f64,
    last: Party,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a call, and counts of calls")]
const fn f(value: u64) -> f64 {
    value as f64
}

fn ms(at: Moment) -> f64 {
    at.millis_from(Moment::ZERO)
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * f(part as u64) / f(whole.max(1) as u64)
}

fn ours(call: &Call, told: &[AnswerSignal]) -> Verdict {
    let mut verdicts = told.iter().filter_map(|signal| Some((signal, signal.verdict()?)));
    let Some((first, party)) = verdicts.next() else {
        // The corpus is longer than the limit; without a verdict it would be a person.
        let at = f(call.ticks.len() as u64 * 20);
        return Verdict { party: Party::Person, sure: false, at, last: Party::Person };
    };
    let sure = !matches!(first, AnswerSignal::Unsure { .. });
    let last = verdicts.next_back().map_or(party, |(_, party)| party);
    Verdict { party, sure, at: ms(first.at()), last }
}

fn peers(call: &Call, amd: &Amd) -> Verdict {
    let from = usize::try_from(call.answered / 20).unwrap_or(0).min(call.ticks.len());
    let (status, after) = amd.judge(&call.ticks[from..]);
    let party = if status == Status::Machine { Party::Machine } else { Party::Person };
    Verdict { party, sure: status != Status::NotSure, at: f(call.answered + after), last: party }
}

/// What thresholds are fitted by.
pub(super) struct Score {
    persons: f64,
    machines: f64,
    p50: f64,
    p95: f64,
}

impl Score {
    /// The shares of the goals, and four times what comes nearer to a goal than a tenth of it; every second of the slowest
    /// persons a tenth.
    pub(super) fn cost(&self) -> f64 {
        let shares = [self.persons / 3.0, self.machines / 8.0, self.p50 / 1_200.0];
        let over = shares.iter().map(|share| 4.0 * (share - 0.9).max(0.0)).sum::<f64>();
        shares.iter().sum::<f64>() + over + self.p95 / 10_000.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { persons, machines, p50, p95 } = self;
        write!(
            f,
            "{persons:.1} % of persons and {machines:.1} % of machines wrong, decided in {p50:.0} ms (p50), {p95:.0} (p95)"
        )
    }
}

pub(super) fn score(calls: &[Call], runs: &[Vec<AnswerSignal>]) -> Score {
    let verdicts: Vec<Verdict> = calls.iter().zip(runs).map(|(call, told)| ours(call, told)).collect();
    let found = contestant("offhook", calls, &verdicts);
    Score {
        persons: found.persons_taken_for_machines_percent,
        machines: found.machines_taken_for_persons_percent,
        p50: found.person_decided_ms.p50,
        p95: found.person_decided_ms.p95,
    }
}

/// All figures of a half.
pub(super) fn half(part: Part, calls: &[Call], runs: &[Vec<AnswerSignal>]) -> Half {
    let verdicts: Vec<Verdict> = calls.iter().zip(runs).map(|(call, told)| ours(call, told)).collect();
    let mut ours = contestant("Offhook", calls, &verdicts);
    ours.slices = slices(calls, &verdicts);
    let mut contestants = vec![ours];
    for words in [3, 2] {
        let amd = Amd::sample(words);
        let verdicts: Vec<Verdict> = calls.iter().map(|call| peers(call, &amd)).collect();
        contestants.push(contestant(&format!("AMD() as documented, {words} words"), calls, &verdicts));
    }
    let places = places(calls, runs);
    let shown = shown(&contestants[0], &places);
    Half {
        part: part.name().to_owned(),
        calls: calls.len(),
        seconds: calls.iter().map(|call| f(call.ticks.len() as u64) / 50.0).sum(),
        contestants,
        places,
        hearing: hearing(calls),
        others: others(calls, runs, &verdicts),
        shown,
        wrong: wrong(calls, runs, &verdicts),
    }
}

fn hearing(calls: &[Call]) -> Hearing {
    let heard: Vec<(f64, f64)> = calls.iter().map(|call| call.work).filter(|work| work.1 > 0.0).collect();
    let (work, audio) = heard.iter().fold((0.0, 0.0), |sum, work| (sum.0 + work.0, sum.1 + work.1));
    Hearing {
        calls: heard.len(),
        seconds: audio / f(heard.len().max(1) as u64),
        core_percent: 100.0 * work / if audio > 0.0 { audio } else { 1.0 },
    }
}

fn right(call: &Call, verdict: &Verdict) -> bool {
    (call.truth == Truth::Person) == (verdict.party == Party::Person)
}

fn contestant(name: &str, calls: &[Call], verdicts: &[Verdict]) -> Contestant {
    let of = |truth: Truth| calls.iter().zip(verdicts).filter(move |(call, _)| call.truth == truth);
    let persons = of(Truth::Person).count();
    let machines = of(Truth::Machine).count();
    let known = || of(Truth::Person).filter(|(_, verdict)| verdict.party == Party::Person);
    let after_sound: Vec<f64> = known().map(|(call, verdict)| verdict.at - f(call.first)).collect();
    let after_answer = known().map(|(call, verdict)| verdict.at - f(call.answered)).collect();
    let within = after_sound.iter().filter(|after| **after <= 2_000.0).count();
    let machine = of(Truth::Machine).filter(|(_, verdict)| verdict.party == Party::Machine);
    Contestant {
        name: name.to_owned(),
        persons,
        persons_taken_for_machines_percent: percent(persons - known().count(), persons),
        persons_unsure_percent: percent(of(Truth::Person).filter(|(_, v)| !v.sure).count(), persons),
        persons_within_2s_percent: percent(within, persons),
        person_decided_ms: Spread::of(after_sound),
        person_decided_after_answer_ms: Spread::of(after_answer),
        machines,
        machines_taken_for_persons_percent: percent(
            of(Truth::Machine).filter(|(_, v)| v.party == Party::Person).count(),
            machines,
        ),
        machines_taken_for_persons_at_the_end_percent: percent(
            of(Truth::Machine).filter(|(_, v)| v.last == Party::Person).count(),
            machines,
        ),
        machine_decided_ms: Spread::of(machine.map(|(call, v)| v.at - f(call.first)).collect()),
        slices: Vec::new(),
    }
}

/// Calls with something in common: how many, how many of them wrong, and when the others were decided on.
#[derive(Default)]
struct Cut {
    calls: usize,
    wrong: usize,
    decided: Vec<f64>,
}

fn slices(calls: &[Call], verdicts: &[Verdict]) -> Vec<Slice> {
    let mut all: BTreeMap<(Truth, &str, &str), Cut> = BTreeMap::new();
    let both = calls.iter().zip(verdicts);
    for (call, verdict) in both.filter(|(call, _)| matches!(call.truth, Truth::Person | Truth::Machine)) {
        let what = [("sort", call.sort), ("noise", call.noise), ("rang", call.rang), ("voice", &call.voice)];
        for (by, name) in what {
            let cut = all.entry((call.truth, by, name)).or_default();
            cut.calls += 1;
            if right(call, verdict) {
                cut.decided.push(verdict.at - f(call.first));
            } else {
                cut.wrong += 1;
            }
        }
    }
    let slice = |((truth, by, name), cut): ((Truth, &str, &str), Cut)| Slice {
        truth: if truth == Truth::Person { "person" } else { "machine" }.to_owned(),
        by: by.to_owned(),
        name: name.to_owned(),
        calls: cut.calls,
        wrong_percent: percent(cut.wrong, cut.calls),
        decided_p50_ms: Spread::of(cut.decided).p50,
    };
    all.into_iter().map(slice).collect()
}

fn places(calls: &[Call], runs: &[Vec<AnswerSignal>]) -> Places {
    let mut places = Places::default();
    let (mut found, mut early, mut silent) = (Vec::new(), 0, Vec::new());
    for (call, told) in calls.iter().zip(runs) {
        if !matches!(call.truth, Truth::Person | Truth::Machine) {
            continue;
        }
        let beeps = told.iter().filter_map(|signal| match signal {
            AnswerSignal::Beep { ended, at, .. } => Some((ms(*ended), ms(*at))),
            _ => None,
        });
        let beeps: Vec<(f64, f64)> = beeps.collect();
        let silence = told.iter().find_map(|signal| match signal {
            AnswerSignal::Silence { at, place: Quiet::AfterGreeting, .. } => Some(ms(*at)),
            _ => None,
        });
        let is_true = |ended: f64| call.beep.is_some_and(|beep| (ended - f(beep.ended)).abs() <= FOUND_MS);
        let false_beeps = beeps.iter().filter(|(ended, _)| !is_true(*ended)).count();
        places.false_beeps += false_beeps;
        if call.truth == Truth::Person {
            places.false_beeps_of_persons += false_beeps;
        }
        let Some(beep) = call.beep else {
            let machine = told.iter().any(|signal| signal.verdict() == Some(Party::Machine));
            if call.truth == Truth::Machine && machine {
                places.without_beep += 1;
                // In a pause of the greeting is no place.
                silent.extend(silence.filter(|at| *at >= f(call.last)).map(|at| at - f(call.last)));
            }
            continue;
        };
        places.beeps += 1;
        early += usize::from(silence.is_some_and(|at| at < f(beep.ended)));
        match beeps.iter().find(|(ended, _)| is_true(*ended)) {
            Some((_, at)) => found.push(at - f(beep.ended)),
            None => places.missed.push(format!(
                "{:.0} Hz, {} ms, {}, {}, rang {}",
                beep.hz, beep.length, call.sort, call.noise, call.rang
            )),
        }
    }
    places.found_percent = percent(found.len(), places.beeps);
    places.after_beep_most_ms = found.iter().copied().fold(0.0, f64::max);
    places.after_beep_ms = Spread::of(found);
    places.too_early_percent = percent(early, places.beeps);
    places.silence_found_percent = percent(silent.len(), places.without_beep);
    places.after_greeting_ms = Spread::of(silent);
    places
}

fn others(calls: &[Call], runs: &[Vec<AnswerSignal>], verdicts: &[Verdict]) -> Vec<Other> {
    let mut all: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for ((call, told), verdict) in calls.iter().zip(runs).zip(verdicts) {
        let has = |wanted: fn(&AnswerSignal) -> bool| told.iter().any(wanted);
        let (expected, found) = match call.truth {
            Truth::Person | Truth::Machine => continue,
            Truth::Failed => {
                ("information tones", has(|s| matches!(s, AnswerSignal::InformationTone { .. })))
            }
            Truth::Fax => ("fax", has(|s| matches!(s, AnswerSignal::Fax { .. }))),
            Truth::Nobody => {
                let silence =
                    has(|s| matches!(s, AnswerSignal::Silence { place: Quiet::BeforeGreeting, .. }));
                ("silence, then unsure", silence && !verdict.sure)
            }
            Truth::Rings => (
                "ringing, and no verdict but unsure",
                has(|s| matches!(s, AnswerSignal::Ringing { .. })) && !verdict.sure,
            ),
        };
        let count = all.entry((call.sort, expected)).or_default();
        count.0 += 1;
        count.1 += usize::from(found);
    }
    let other = |((what, expected), (calls, found)): ((&str, &str), (usize, usize))| Other {
        what: what.to_owned(),
        calls,
        expected: expected.to_owned(),
        found_percent: percent(found, calls),
    };
    all.into_iter().map(other).collect()
}

fn shown(ours: &Contestant, places: &Places) -> Vec<Shown> {
    let most = |what: &str, value: f64, limit: f64, unit: &str| Shown {
        what: what.to_owned(),
        value,
        bound: "≤".to_owned(),
        limit,
        unit: unit.to_owned(),
        held: value <= limit,
    };
    vec![
        most("persons taken for machines", ours.persons_taken_for_machines_percent, 3.0, "%"),
        most("machines taken for persons", ours.machines_taken_for_persons_percent, 8.0, "%"),
        most("persons decided on after their first sound, p50", ours.person_decided_ms.p50, 1_200.0, "ms"),
        Shown {
            what: "beeps found".to_owned(),
            value: places.found_percent,
            bound: "≥".to_owned(),
            limit: 95.0,
            unit: "%".to_owned(),
            held: places.found_percent >= 95.0,
        },
        most("a message begins after the beep, at most", places.after_beep_most_ms, 400.0, "ms"),
    ]
}

fn wrong(calls: &[Call], runs: &[Vec<AnswerSignal>], verdicts: &[Verdict]) -> Vec<Wrong> {
    let mut all = Vec::new();
    for ((call, told), verdict) in calls.iter().zip(runs).zip(verdicts) {
        if !matches!(call.truth, Truth::Person | Truth::Machine) || right(call, verdict) {
            continue;
        }
        let first = told.iter().find(|signal| signal.verdict().is_some());
        all.push(Wrong {
            truth: if call.truth == Truth::Person { "person" } else { "machine" }.to_owned(),
            sort: call.sort.to_owned(),
            voice: call.voice.clone(),
            text: call.text.clone(),
            noise: call.noise.to_owned(),
            verdict: first.map_or_else(|| "none".to_owned(), ToString::to_string),
        });
    }
    all
}
