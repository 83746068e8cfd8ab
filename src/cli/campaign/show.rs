//! Campaigns as people read them: plain data in, text out.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::campaign::report::{Figures, Report};
use crate::campaign::webhook::Outbox;
use crate::campaign::{Campaign, Counts, Disposition, State};
use crate::time::WallTime;

/// How a campaign stands.
pub(super) struct Standing {
    pub(super) campaign: Campaign,
    pub(super) counts: Counts,
    /// When the next contact may be called.
    pub(super) next: Option<WallTime>,
    pub(super) outbox: Outbox,
}

pub(super) fn as_json(all: &[Standing]) -> Value {
    let one = |one: &Standing| {
        json!({
            "name": one.campaign.name,
            "state": one.campaign.state,
            "bot": one.campaign.plan.bot,
            "priority": one.campaign.plan.priority,
            "created": one.campaign.created.to_string(),
            "started": one.campaign.started.map(|at| at.to_string()),
            "ended": one.campaign.ended.map(|at| at.to_string()),
            "next": one.next.map(|at| at.to_string()),
            "counts": one.counts,
            "webhook": one.outbox,
        })
    };
    all.iter().map(one).collect()
}

pub(super) fn status(all: &[Standing], now: WallTime) -> String {
    if all.is_empty() {
        return "No campaigns. `offhook campaign create FILE` makes one.\n".into();
    }
    let mut text = format!(
        "{:<24} {:<8} {:>9} {:>9} {:>8} {:>9} {:>9}  NEXT\n",
        "CAMPAIGN", "STATE", "CONTACTS", "WAITING", "CALLING", "DONE", "ATTEMPTS"
    );
    for one in all {
        let (campaign, counts) = (&one.campaign, &one.counts);
        let next = match (campaign.state, one.next) {
            (State::Running, Some(at)) if at <= now => "now".into(),
            (State::Running, Some(at)) => at.to_string(),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:<24} {:<8} {:>9} {:>9} {:>8} {:>9} {:>9}  {next}",
            campaign.name,
            campaign.state.as_str(),
            counts.contacts,
            counts.waiting,
            counts.calling,
            counts.done,
            counts.attempts
        );
        for (outcome, count) in &counts.outcomes {
            let explained = outcome.parse::<Disposition>().map_or("", Disposition::explain);
            let _ = writeln!(text, "    {count:>9}  {outcome:<12} {explained}");
        }
        if counts.nowhere > 0 {
            let _ = writeln!(text, "    {:>9}  not called: their time zone is not known", counts.nowhere);
        }
        if one.outbox.waiting + one.outbox.given_up > 0 {
            let _ = writeln!(
                text,
                "    webhook: {} wait, {} were given up",
                one.outbox.waiting, one.outbox.given_up
            );
        }
    }
    text
}

pub(super) fn report(report: &Report) -> String {
    if report.all.attempts == 0 {
        return "Nobody has been called yet.\n".into();
    }
    let mut text = String::new();
    let head = |text: &mut String, name: &str| {
        let _ = writeln!(
            text,
            "{name:<14} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>7}",
            "ATTEMPTS", "ANSWERED", "RATE", "PEOPLE", "CONNECT", "TALK", "SUCCESS"
        );
    };
    head(&mut text, "");
    line(&mut text, "all", &report.all);
    head(&mut text, "\nDISPOSITION");
    // In the order of the dispositions, not of the alphabet.
    for known in Disposition::ALL {
        if let Some(figures) = report.by_disposition.get(known.as_str()) {
            line(&mut text, known.as_str(), figures);
        }
    }
    head(&mut text, "\nHOUR");
    report.by_hour.iter().for_each(|(hour, figures)| line(&mut text, &format!("{hour:02}:00"), figures));
    head(&mut text, "\nATTEMPT");
    report.by_attempt.iter().for_each(|(nth, figures)| line(&mut text, &nth.to_string(), figures));
    head(&mut text, "\nTRUNK");
    report.by_trunk.iter().for_each(|(trunk, figures)| line(&mut text, trunk, figures));
    text
}

fn line(text: &mut String, name: &str, figures: &Figures) {
    let _ = writeln!(
        text,
        "{name:<14} {:>9} {:>9} {:>5.1} % {:>9} {:>7.1} s {:>7.1} s {:>5.1} %",
        figures.attempts,
        figures.answered,
        figures.answer_rate() * 100.0,
        figures.people,
        figures.connect_seconds(),
        figures.talk_seconds(),
        figures.conversion() * 100.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_group() {
        let figures = Figures {
            attempts: 4,
            answered: 2,
            people: 2,
            converted: 1,
            connect_ms: 20_000,
            talk_ms: 61_000,
        };
        let mut made = Report { all: figures, ..Report::default() };
        made.by_disposition.insert("busy".into(), Figures { attempts: 2, ..Figures::default() });
        made.by_disposition.insert("completed".into(), figures);
        made.by_hour.insert(9, figures);
        let text = report(&made);
        assert!(text.contains("50.0 %") && text.contains("10.0 s") && text.contains("30.5 s"), "{text}");
        assert!(text.find("completed") < text.find("busy"), "{text}");
        assert!(text.contains("09:00"));
        assert!(report(&Report::default()).contains("Nobody"));
    }

    #[test]
    fn without_campaigns_it_says_how_to_make_one() {
        assert!(status(&[], WallTime(0)).contains("campaign create"));
    }
}
