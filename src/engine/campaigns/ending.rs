//! What a call's record means for the campaign that made it.

use crate::campaign::plan::Pacing;
use crate::campaign::{Closing, Disposition, Plan};
use crate::store::{AnsweredBy, CallRecord, Disposition as Ended};

/// How an attempt ended, by the record of its call, which has ended.
pub(super) fn closing(record: &CallRecord, plan: &Plan) -> Closing {
    let outcome = record.outcome.clone().unwrap_or_default();
    let cause = record.cause.map(u32::from);
    let disposition = match outcome.answered_by {
        Some(AnsweredBy::Machine) => Disposition::Machine,
        Some(AnsweredBy::Fax) => Disposition::Fax,
        Some(AnsweredBy::NoSuchNumber) => Disposition::BadNumber,
        Some(AnsweredBy::NoCircuit) => Disposition::Congestion,
        Some(AnsweredBy::Person) | None => match record.disposition {
            Some(Ended::Transferred) => Disposition::Transferred,
            Some(Ended::Lost) | None => Disposition::Lost,
            Some(_) if record.answered.is_some() => answered(record, plan),
            Some(Ended::Busy | Ended::NoAnswer | Ended::Failed) => {
                let lasted = record.ended.map_or(0, |ended| ended.0 - record.started.0);
                // Where nobody says that it rings, waiting to the end says it.
                let waited = i64::try_from(plan.ring.as_millis()).is_ok_and(|ring| lasted >= ring - 500);
                let rang = outcome.rang || waited;
                cause.map_or(Disposition::Failed, |cause| Disposition::of_cause(cause, rang))
            }
            Some(_) => Disposition::Failed,
        },
    };
    let result = outcome.result.into_iter().map(|(name, value)| (name, value.into())).collect();
    Closing {
        cause,
        note: record.note.clone(),
        result,
        opted_out: outcome.opted_out,
        ..Closing::new(disposition)
    }
}

/// A person answered, or somebody of whom nobody knows better.
fn answered(record: &CallRecord, plan: &Plan) -> Disposition {
    match record.disposition {
        Some(Ended::BotFailed | Ended::MediaFailed) => Disposition::Failed,
        // Meant for people of ours, and not with one of them when it ended.
        Some(Ended::CallerHungUp) if matches!(plan.pacing, Pacing::Predictive { .. }) => {
            Disposition::Abandoned
        }
        _ => Disposition::Completed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallId;
    use crate::store::{CallOutcome, Direction};
    use crate::time::WallTime;

    fn ended(how: Ended, change: impl FnOnce(&mut CallRecord)) -> Disposition {
        let mut record = CallRecord::begun(CallId::new(WallTime(0)), WallTime(0), Direction::Out);
        (record.ended, record.disposition) = (Some(WallTime(1)), Some(how));
        change(&mut record);
        closing(&record, &plan("")).disposition
    }

    fn plan(more: &str) -> Plan {
        let file = "bot = \"a\"\ncountry = \"DE\"\n[[trunk]]\nname = \"t\"\ncapacity = 1\n[hours]\nweekdays = [\"09:00-17:00\"]\n";
        Plan::parse(&format!("{file}{more}"), "test").expect("it is right")
    }

    #[test]
    fn records_mean_what_happened() {
        let answered = |record: &mut CallRecord| record.answered = Some(WallTime(0));
        assert_eq!(ended(Ended::Completed, answered), Disposition::Completed);
        assert_eq!(ended(Ended::CallerHungUp, answered), Disposition::Completed);
        assert_eq!(ended(Ended::Transferred, answered), Disposition::Transferred);
        assert_eq!(ended(Ended::BotFailed, answered), Disposition::Failed);
        assert_eq!(ended(Ended::Lost, answered), Disposition::Lost);
        assert_eq!(ended(Ended::Busy, |record| record.cause = Some(17)), Disposition::Busy);
        let rang = |cause| {
            move |record: &mut CallRecord| {
                record.cause = Some(cause);
                record.outcome = Some(CallOutcome { rang: true, ..CallOutcome::default() });
            }
        };
        assert_eq!(ended(Ended::NoAnswer, rang(16)), Disposition::NoAnswer);
        assert_eq!(ended(Ended::NoAnswer, rang(19)), Disposition::NoAnswer);
        assert_eq!(ended(Ended::NoAnswer, |record| record.cause = Some(21)), Disposition::Rejected);
        assert_eq!(ended(Ended::Failed, |record| record.cause = Some(34)), Disposition::Congestion);
        assert_eq!(ended(Ended::NoAnswer, |record| record.cause = Some(19)), Disposition::Unreachable);
        let long = |record: &mut CallRecord| {
            (record.cause, record.ended) = (Some(19), Some(WallTime(30_000)));
        };
        assert_eq!(ended(Ended::NoAnswer, long), Disposition::NoAnswer);
        let machine = |record: &mut CallRecord| {
            record.answered = Some(WallTime(0));
            record.outcome =
                Some(CallOutcome { answered_by: Some(AnsweredBy::Machine), ..CallOutcome::default() });
        };
        assert_eq!(ended(Ended::CallerHungUp, machine), Disposition::Machine);
    }

    #[test]
    fn who_hangs_up_before_a_person_of_ours_was_there_was_abandoned() {
        let mut record = CallRecord::begun(CallId::new(WallTime(0)), WallTime(0), Direction::Out);
        record.answered = Some(WallTime(0));
        (record.ended, record.disposition) = (Some(WallTime(1)), Some(Ended::CallerHungUp));
        let closing = closing(&record, &plan("[pacing]\npeople = 5\n"));
        assert_eq!(closing.disposition, Disposition::Abandoned);
    }
}
