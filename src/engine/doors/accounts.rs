//! What Asterisk itself says of our calls (CDR and CEL, by AMI's events), into the store.
//!
//! A call of ours is found by the channel of its caller, among all channels that Asterisk counts to one call. Records are put
//! whenever they are more: a caller whom a bot has left to the dialplan is billed when he hangs up there, much later.

use tokio_util::task::AbortOnDropHandle;

use crate::asterisk::ami::events::EventKind;
use crate::asterisk::ami::{Ami, Events, Signal};
use crate::asterisk::cdr::{self, CallRecords};
use crate::id::CallId;
use crate::store::{Detail, ServerRecord, ServerStep, Store};
use crate::time::WallTime;

/// Calls of Asterisk's that are remembered: those that are up, and those whose last records may be on their way.
const REMEMBERED: usize = 4_000;

/// Reads events and puts records for as long as the handle lives.
pub(super) fn keep(ami: &Ami, store: Store) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(run(CallRecords::events(ami), store)))
}

async fn run(mut events: Events, store: Store) {
    let mut records = CallRecords::new(REMEMBERED);
    loop {
        let event = match events.next().await {
            Signal::Event(event) => event.kind(),
            Signal::Connected { .. } => continue,
            Signal::Disconnected { .. } | Signal::Lost { .. } => {
                records.missed();
                continue;
            }
        };
        records.event(&event);
        // What else comes of a call comes before one of these.
        let told = match &event {
            EventKind::Cdr(record) => &record.uniqueid,
            EventKind::Cel(step) if step.event == "LINKEDID_END" => &step.linkedid,
            _ => continue,
        };
        let Some(record) = records.get(told) else { continue };
        match store.calls_on(&record.channels(), WallTime::now()).await {
            Ok(calls) => calls.into_iter().for_each(|call| store.put_server_record(of(call, record))),
            Err(error) => tracing::error!(%error, "Asterisk's record of a call cannot be joined to it"),
        }
    }
}

fn of(call: CallId, record: &cdr::CallRecord) -> ServerRecord {
    let seconds = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let details = record.details.iter().map(|detail| Detail {
        channel: detail.channel.clone(),
        peer: detail.dest_channel.clone(),
        source: known(&detail.source),
        destination: known(&detail.destination),
        application: detail.last_application.clone(),
        account: detail.account.clone(),
        start: detail.start.clone(),
        answer: detail.answer.clone(),
        end: detail.end.clone(),
        duration_seconds: seconds(detail.duration),
        billed_seconds: seconds(detail.billsec),
        disposition: detail.disposition.clone(),
    });
    let steps = record.steps.iter().map(|step| ServerStep {
        at: step.time.clone(),
        event: step.event.clone(),
        channel: step.channel.clone(),
        application: step.application.clone(),
    });
    ServerRecord {
        call,
        linkedid: record.linkedid.clone(),
        billed_seconds: record.billsec().map(seconds),
        details: details.collect(),
        steps: steps.collect(),
        whole: record.is_whole(),
    }
}
