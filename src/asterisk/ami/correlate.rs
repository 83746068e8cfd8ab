//! Which answer belongs to which action; deciding code without I/O.

use std::collections::HashMap;

use super::action::{Ends, Reply};
use super::message::Message;

/// Where a message goes.
#[derive(Debug, PartialEq)]
pub(super) enum Routed<T> {
    /// It is the last part of the answer to the action that was registered with `T`.
    Answer(T, Result<Reply, Fault>),
    /// It is part of an answer that is not whole yet, or belongs to nobody.
    Kept,
    /// It is an event for everybody.
    Event(Message),
}

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum Fault {
    /// Asterisk refused, with this message.
    Refused(String),
    /// The list has more events, or bytes, than are kept.
    TooLarge,
}

/// Actions that wait for their answers, by ActionID.
#[derive(Debug)]
pub(super) struct Pending<T> {
    waiting: HashMap<String, Waiting<T>>,
    most: usize,
    most_items: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    /// [`None`] when nobody wants the answer any more.
    who: Option<T>,
    ends: Ends,
    response: Option<Message>,
    /// The response announced a list.
    list: bool,
    items: Vec<Message>,
    last: Option<Message>,
    too_large: bool,
}

impl<T> Pending<T> {
    /// At most `most` actions at once, and lists of at most `most_items`.
    pub fn new(most: usize, most_items: usize) -> Self {
        Self { waiting: HashMap::new(), most, most_items }
    }

    /// Adds an action; gives `who` back when too many wait.
    pub fn add(&mut self, id: String, ends: Ends, who: T) -> Result<(), T> {
        if self.waiting.len() >= self.most {
            // An answer that nobody wants and that never came may be forgotten.
            self.waiting.retain(|_, waiting| waiting.who.is_some());
        }
        if self.waiting.len() >= self.most {
            return Err(who);
        }
        let waiting = Waiting {
            who: Some(who),
            ends,
            response: None,
            list: false,
            items: Vec::new(),
            last: None,
            too_large: false,
        };
        self.waiting.insert(id, waiting);
        Ok(())
    }

    /// Nobody waits for this answer any more. What still comes of it is no event for everybody.
    pub fn abandon(&mut self, id: &str) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.who = None;
            waiting.items = Vec::new();
        }
    }

    /// How many events of the list have come: whoever waits sees that it goes on.
    pub fn progress(&self, id: &str) -> Option<usize> {
        let waiting = self.waiting.get(id)?;
        Some(waiting.items.len() + usize::from(waiting.response.is_some()))
    }

    /// Everybody who waits, when the connection is over.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        self.waiting.drain().filter_map(|(_, waiting)| waiting.who)
    }

    /// Takes a message that came.
    pub fn route(&mut self, message: Message) -> Routed<T> {
        let Some(id) = message.action_id().filter(|id| self.waiting.contains_key(*id)).map(str::to_owned)
        else {
            // A response that nobody waits for came too late.
            return if message.event().is_some() { Routed::Event(message) } else { Routed::Kept };
        };
        let Some(waiting) = self.waiting.get_mut(&id) else { return Routed::Kept };
        if message.response().is_some() {
            waiting.list = announces_list(&message);
            if !message.is_success() {
                let said = message.get("Message").unwrap_or("no reason given").to_owned();
                return self.answer(&id, |_| Err(Fault::Refused(said)));
            }
            waiting.response = Some(message);
        } else if let Ends::Event(name) = waiting.ends {
            if message.event() != Some(name) {
                return Routed::Event(message);
            }
            waiting.last = Some(message);
        } else if waiting.list {
            if ends_list(&message) {
                waiting.last = Some(message);
            } else if waiting.items.len() >= self.most_items {
                waiting.too_large = true;
            } else if waiting.who.is_some() {
                waiting.items.push(message);
            }
        } else {
            return Routed::Event(message);
        }
        let whole = waiting.response.is_some()
            && (waiting.last.is_some() || (waiting.ends == Ends::Response && !waiting.list));
        if !whole {
            return Routed::Kept;
        }
        self.answer(&id, |waiting| {
            if waiting.too_large {
                return Err(Fault::TooLarge);
            }
            let response = waiting.response.take().unwrap_or_default();
            Ok(Reply { response, items: std::mem::take(&mut waiting.items), last: waiting.last.take() })
        })
    }

    fn answer(&mut self, id: &str, how: impl FnOnce(&mut Waiting<T>) -> Result<Reply, Fault>) -> Routed<T> {
        let Some(mut waiting) = self.waiting.remove(id) else { return Routed::Kept };
        match waiting.who.take() {
            Some(who) => Routed::Answer(who, how(&mut waiting)),
            None => Routed::Kept,
        }
    }
}

/// Whether a response announces a list. Servers before 12 say so in words alone.
fn announces_list(response: &Message) -> bool {
    response.get("EventList").is_some_and(|is| is.eq_ignore_ascii_case("start"))
        || (response.get("EventList").is_none()
            && response.get("Message").is_some_and(|said| {
                ["will follow", "list will follow"].iter().any(|words| said.ends_with(words))
                    && !said.contains("event will follow")
            }))
}

/// Whether an event ends the list that it is in. Some old lists end with their `…Complete` alone.
fn ends_list(event: &Message) -> bool {
    match event.get("EventList") {
        Some(is) => is.eq_ignore_ascii_case("complete") || is.eq_ignore_ascii_case("cancelled"),
        None => event.event().is_some_and(|name| name.ends_with("Complete")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::from_headers(text.split(", ").filter_map(|line| line.split_once(": ")))
    }

    fn route(pending: &mut Pending<u32>, text: &str) -> Routed<u32> {
        pending.route(message(text))
    }

    fn pending(ids: &[(&str, Ends)]) -> Pending<u32> {
        let mut pending = Pending::new(100, 2_000);
        for (index, (id, ends)) in ids.iter().enumerate() {
            pending.add((*id).to_owned(), *ends, u32::try_from(index).unwrap()).unwrap();
        }
        pending
    }

    #[test]
    fn a_list_of_a_thousand_is_gathered_while_other_answers_and_events_come_between() {
        let mut pending =
            pending(&[("list", Ends::Response), ("other", Ends::Response), ("ping", Ends::Response)]);
        assert_eq!(route(&mut pending, "Response: Success, ActionID: list, EventList: start"), Routed::Kept);
        let mut events = 0;
        for index in 0..1_000 {
            let item = format!("Event: Item, ActionID: list, Index: {index}");
            assert_eq!(route(&mut pending, &item), Routed::Kept);
            if index % 10 == 0 {
                let event = route(&mut pending, "Event: Newchannel, Channel: x");
                assert!(matches!(event, Routed::Event(_)));
                events += 1;
            }
            if index == 300 {
                let answer = route(&mut pending, "Response: Success, ActionID: other, Value: 1");
                assert!(matches!(answer, Routed::Answer(1, Ok(reply)) if reply.items.is_empty()));
            }
            if index == 700 {
                let answer = route(&mut pending, "Response: Error, ActionID: ping, Message: no");
                assert_eq!(answer, Routed::Answer(2, Err(Fault::Refused("no".into()))));
            }
        }
        assert_eq!(events, 100);
        let answer = route(&mut pending, "Event: ItemsComplete, ActionID: list, EventList: Complete");
        let Routed::Answer(0, Ok(reply)) = answer else { panic!("{answer:?}") };
        let indices: Vec<u32> =
            reply.items.iter().map(|item| item.get("Index").unwrap().parse().unwrap()).collect();
        assert_eq!(indices, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn two_lists_at_once_do_not_mix() {
        let mut pending = pending(&[("a", Ends::Response), ("b", Ends::Response)]);
        for id in ["a", "b"] {
            route(
                &mut pending,
                &format!("Response: Success, ActionID: {id}, Message: Queue status will follow"),
            );
        }
        for index in 0..10 {
            for id in ["a", "b"] {
                route(&mut pending, &format!("Event: I, ActionID: {id}, Of: {id}{index}"));
            }
        }
        for (who, id) in ["a", "b"].into_iter().enumerate() {
            let answer = route(&mut pending, &format!("Event: QueueStatusComplete, ActionID: {id}"));
            let Routed::Answer(whose, Ok(reply)) = answer else { panic!("{answer:?}") };
            assert_eq!(whose as usize, who);
            assert_eq!(reply.items.len(), 10);
            assert!(reply.items.iter().all(|item| item.get("Of").unwrap().starts_with(id)));
        }
    }

    #[test]
    fn the_event_that_ends_an_answer_may_come_before_the_response() {
        let mut pending = pending(&[("o", Ends::Event("OriginateResponse"))]);
        let event = "Event: OriginateResponse, ActionID: o, Response: Failure, Reason: 3";
        assert_eq!(route(&mut pending, event), Routed::Kept);
        let answer =
            route(&mut pending, "Response: Success, ActionID: o, Message: Originate successfully queued");
        let Routed::Answer(0, Ok(reply)) = answer else { panic!("{answer:?}") };
        assert_eq!(reply.last.unwrap().get("Reason"), Some("3"));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_no_event_for_everybody() {
        let mut pending = pending(&[("l", Ends::Response)]);
        route(&mut pending, "Response: Success, ActionID: l, EventList: Start");
        pending.abandon("l");
        assert_eq!(route(&mut pending, "Event: I, ActionID: l"), Routed::Kept);
        assert_eq!(route(&mut pending, "Event: C, ActionID: l, EventList: Complete"), Routed::Kept);
        assert_eq!(pending.progress("l"), None);
        assert_eq!(route(&mut pending, "Response: Success, ActionID: strange"), Routed::Kept);
        assert!(matches!(route(&mut pending, "Event: E, ActionID: strange"), Routed::Event(_)));
    }

    #[test]
    fn lists_and_their_number_are_bounded() {
        let mut pending: Pending<u32> = Pending::new(1, 2);
        pending.add("a".into(), Ends::Response, 1).unwrap();
        assert_eq!(pending.add("b".into(), Ends::Response, 2), Err(2));
        route(&mut pending, "Response: Success, ActionID: a, EventList: start");
        for _ in 0..3 {
            route(&mut pending, "Event: I, ActionID: a");
        }
        let answer = route(&mut pending, "Event: C, ActionID: a, EventList: Complete");
        assert_eq!(answer, Routed::Answer(1, Err(Fault::TooLarge)));
    }
}
