//! Call detail records and channel events (CDR and CEL) out of AMI's events, joined to calls by their ids.
//!
//! Deciding code: messages go in, records can be asked for. Bounded: the oldest calls are forgotten first.

use std::collections::{HashMap, VecDeque};

use super::ami::events::{Cdr, Cel, EventKind};
use super::ami::{Ami, Events, Signal};

/// How a call ended, as a call detail record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disposition {
    /// Answered.
    Answered,
    /// Not answered.
    #[default]
    NoAnswer,
    /// Busy.
    Busy,
    /// It could not be made.
    Failed,
    /// The network was full.
    Congestion,
}

impl Disposition {
    /// The word of a record, in its spellings.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Some(match word.replace('_', " ").to_ascii_uppercase().as_str() {
            "ANSWERED" | "ANSWER" => Self::Answered,
            "NO ANSWER" | "NOANSWER" => Self::NoAnswer,
            "BUSY" => Self::Busy,
            "FAILED" => Self::Failed,
            "CONGESTION" => Self::Congestion,
            _ => return None,
        })
    }
}

/// What is known of one call of Asterisk's, which may be several channels.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CallRecord {
    /// The id of the call: that of its first channel.
    pub linkedid: String,
    /// Its detail records, one for each pair of channels.
    pub details: Vec<Cdr>,
    /// The steps of its channels, in order.
    pub steps: Vec<Cel>,
    /// Steps that were left out because there were too many.
    pub steps_left_out: u64,
    /// Events were lost while it was up.
    pub missed: bool,
}

impl CallRecord {
    /// Seconds that are billed: the longest of its records.
    #[must_use]
    pub fn billsec(&self) -> Option<u64> {
        self.details.iter().map(|record| record.billsec).max()
    }

    /// Seconds from start to end: the longest of its records.
    #[must_use]
    pub fn duration(&self) -> Option<u64> {
        self.details.iter().map(|record| record.duration).max()
    }

    /// How it ended: answered, if one of its records is; else what the last one says.
    #[must_use]
    pub fn disposition(&self) -> Option<Disposition> {
        let all = || self.details.iter().filter_map(|record| Disposition::read(&record.disposition));
        all().find(|how| *how == Disposition::Answered).or_else(|| all().next_back())
    }

    /// The ids of its channels, as far as records or steps name them.
    #[must_use]
    pub fn channels(&self) -> Vec<&str> {
        let named = self.details.iter().map(|record| record.uniqueid.as_str());
        let mut all: Vec<&str> = named.chain(self.steps.iter().map(|step| step.uniqueid.as_str())).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether nothing is known to be missing: no event was lost, and its steps begin with the first one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let begins = self.steps.first().is_none_or(|step| step.event == "CHAN_START");
        begins && !self.missed && self.steps_left_out == 0
    }

    /// Whether its last channel is gone (CEL's LINKEDID_END).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.steps.iter().any(|step| step.event == "LINKEDID_END")
    }
}

/// The calls of late, by the ids of all their channels.
#[derive(Debug)]
pub struct CallRecords {
    most: usize,
    calls: HashMap<String, CallRecord>,
    /// In the order in which they were first heard of.
    order: VecDeque<String>,
    /// Which call a channel belongs to.
    channels: HashMap<String, String>,
}

/// The most steps that are kept of one call.
const MOST_STEPS: usize = 500;

impl CallRecords {
    /// At most `most` calls are kept.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (calls, order, channels) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Self { most: most.max(1), calls, order, channels }
    }

    /// The record of the call that a channel or linked id belongs to.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&CallRecord> {
        let linkedid = self.channels.get(id).map_or(id, String::as_str);
        self.calls.get(linkedid)
    }

    /// Takes the record of a call out, for whoever stores it.
    pub fn take(&mut self, id: &str) -> Option<CallRecord> {
        let linkedid = self.channels.get(id).map_or(id, String::as_str).to_owned();
        let record = self.calls.remove(&linkedid)?;
        self.order.retain(|known| *known != linkedid);
        self.channels.retain(|_, call| *call != linkedid);
        Some(record)
    }

    /// How many calls are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes an event that came.
    pub fn event(&mut self, event: &EventKind) {
        match event {
            EventKind::Cel(step) => self.step(step),
            EventKind::Cdr(record) => {
                let linkedid = self.channels.get(&record.uniqueid).cloned();
                let linkedid = linkedid.unwrap_or_else(|| record.uniqueid.clone());
                self.call(&linkedid, &record.uniqueid).details.push((**record).clone());
            }
            // Without CEL these tell which channels are one call.
            EventKind::Newchannel(new) => self.belongs(&new.uniqueid, &new.linkedid),
            EventKind::Hangup(end) => self.belongs(&end.uniqueid, &end.linkedid),
            _ => {}
        }
    }

    /// Events were lost: nothing that is known of the calls that are up is whole.
    pub fn missed(&mut self) {
        self.calls.values_mut().filter(|call| !call.is_over()).for_each(|call| call.missed = true);
    }

    /// Follows the events of a client for as long as `done` says no.
    pub async fn follow(&mut self, events: &mut Events, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            if let Signal::Event(event) = events.next().await {
                self.event(&event.kind());
            }
        }
    }

    /// The events that are needed.
    #[must_use]
    pub fn events(ami: &Ami) -> Events {
        ami.events(&["CEL", "Cdr", "Newchannel", "Hangup"])
    }

    fn step(&mut self, step: &Cel) {
        let linkedid = if step.linkedid.is_empty() { &step.uniqueid } else { &step.linkedid };
        let call = self.call(linkedid, &step.uniqueid);
        if call.steps.len() < MOST_STEPS {
            call.steps.push(step.clone());
        } else {
            call.steps_left_out += 1;
        }
    }

    fn belongs(&mut self, uniqueid: &str, linkedid: &str) {
        if !uniqueid.is_empty() && !linkedid.is_empty() {
            self.call(linkedid, uniqueid);
        }
    }

    /// The call of that id; one of its channels is `uniqueid`.
    fn call(&mut self, linkedid: &str, uniqueid: &str) -> &mut CallRecord {
        if !self.calls.contains_key(linkedid) {
            if self.order.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.calls.remove(&oldest);
                self.channels.retain(|_, call| *call != oldest);
            }
            self.order.push_back(linkedid.to_owned());
        }
        let before = self.channels.insert(uniqueid.to_owned(), linkedid.to_owned());
        // A bridge joins two calls into one: what was known of the channel's call before goes along.
        let joined = before.filter(|before| before != linkedid && before == uniqueid);
        let joined = joined.and_then(|before| {
            self.order.retain(|known| *known != before);
            self.calls.remove(&before)
        });
        let call = self
            .calls
            .entry(linkedid.to_owned())
            .or_insert_with(|| CallRecord { linkedid: linkedid.to_owned(), ..CallRecord::default() });
        if let Some(joined) = joined {
            call.missed |= joined.missed;
            call.details.extend(joined.details);
            call.steps.extend(joined.steps);
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ami::Message;

    fn tell(records: &mut CallRecords, text: &str) {
        let lines = text.split(", ").filter_map(|line| line.split_once(": "));
        records.event(&EventKind::read(&Message::from_headers(lines)));
    }

    #[test]
    fn records_and_steps_of_all_channels_of_a_call_come_together() {
        let mut records = CallRecords::new(10);
        tell(&mut records, "Event: CEL, EventName: CHAN_START, UniqueID: 1.1, LinkedID: 1.1");
        tell(&mut records, "Event: CEL, EventName: CHAN_START, UniqueID: 1.2, LinkedID: 1.1");
        tell(
            &mut records,
            "Event: Cdr, UniqueID: 1.2, BillableSeconds: 3, Duration: 9, Disposition: NO ANSWER",
        );
        tell(
            &mut records,
            "Event: Cdr, UniqueID: 1.1, BillableSeconds: 5, Duration: 7, Disposition: ANSWERED",
        );
        assert!(!records.get("1.2").unwrap().is_over());
        tell(&mut records, "Event: CEL, EventName: LINKEDID_END, UniqueID: 1.1, LinkedID: 1.1");
        let call = records.take("1.2").unwrap();
        assert_eq!(
            (call.billsec(), call.duration(), call.disposition()),
            (Some(5), Some(9), Some(Disposition::Answered))
        );
        assert_eq!((call.details.len(), call.steps.len()), (2, 3));
        assert!(call.is_over() && records.is_empty());
        assert_eq!(call.channels(), ["1.1", "1.2"]);
        assert!(call.is_whole());
    }

    #[test]
    fn a_call_of_which_something_is_missing_says_so() {
        let mut records = CallRecords::new(10);
        tell(&mut records, "Event: CEL, EventName: CHAN_START, UniqueID: 1.1, LinkedID: 1.1");
        tell(&mut records, "Event: CEL, EventName: HANGUP, UniqueID: 2.1, LinkedID: 2.1");
        assert!(records.get("1.1").unwrap().is_whole());
        assert!(!records.get("2.1").unwrap().is_whole(), "it had begun before we listened");
        records.missed();
        tell(&mut records, "Event: CEL, EventName: CHAN_START, UniqueID: 3.1, LinkedID: 3.1");
        assert!(!records.get("1.1").unwrap().is_whole() && records.get("3.1").unwrap().is_whole());
    }

    #[test]
    fn without_cel_the_channels_themselves_tell_which_call_they_are() {
        let mut records = CallRecords::new(10);
        tell(&mut records, "Event: Newchannel, Uniqueid: 1.1, Linkedid: 1.1");
        tell(&mut records, "Event: Newchannel, Uniqueid: 1.2, Linkedid: 1.1");
        tell(&mut records, "Event: Cdr, UniqueID: 1.2, Disposition: BUSY");
        assert_eq!(records.get("1.1").unwrap().disposition(), Some(Disposition::Busy));
        assert_eq!(records.get("9.9"), None);
    }

    #[test]
    fn the_oldest_call_is_forgotten_first() {
        let mut records = CallRecords::new(2);
        for id in ["1", "2", "3"] {
            tell(
                &mut records,
                &format!("Event: CEL, EventName: CHAN_START, UniqueID: {id}.2, LinkedID: {id}.1"),
            );
        }
        assert_eq!(records.len(), 2);
        assert!(records.get("1.2").is_none() && records.get("2.2").is_some() && records.get("3.1").is_some());
        for _ in 0..MOST_STEPS + 5 {
            tell(&mut records, "Event: CEL, UniqueID: 3.2, LinkedID: 3.1");
        }
        assert_eq!(records.get("3.1").unwrap().steps_left_out, 6);
    }
}
