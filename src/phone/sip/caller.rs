//! The side that called: INVITE, its responses, CANCEL.

use std::time::Duration;

use super::agent::{Ending, Event, Side};
use super::leg::{Ctx, Leg, Phase, Sent};
use super::message::{Message, uri_of};
use super::sdp::Description;
use super::timers::{LIFE, Resend};
use crate::time::Moment;

/// How long a call may ring (timer C of RFC 3261 is over three minutes).
const RINGS: Duration = Duration::from_secs(200);

impl Leg {
    /// Sends the first INVITE.
    pub fn invite(&mut self, now: Moment, ctx: &mut Ctx<'_>, headers: &[(String, String)]) {
        let offer = self.local.map(|l| l.offer()).unwrap_or_default();
        let mut invite = self
            .request(ctx, "INVITE", self.cseq)
            .with("Contact", ctx.contact())
            .with("Allow", super::leg::ALLOW);
        for (name, value) in headers {
            invite = invite.with(name, value.clone());
        }
        let invite = invite.with_body("application/sdp", offer);
        ctx.send(self.peer, invite.to_bytes());
        self.invite =
            Some(Sent { message: invite, to: self.peer, timer: Resend::invite(now), authorized: false });
    }

    /// Any response to a request of ours.
    pub fn response(&mut self, now: Moment, ctx: &mut Ctx<'_>, response: &Message) {
        let Some(code) = response.code() else { return };
        if response.method() == "INVITE" {
            return self.invite_response(now, ctx, response, code);
        }
        let Some(index) = self.requests.iter().position(|sent| sent.is_answered_by(response)) else { return };
        if code < 200 {
            // Section 17.1.2.2: after a provisional response only every T2; the timer gets there by itself.
            return;
        }
        let sent = self.requests.swap_remove(index);
        if let Some(again) = self.authorize(ctx, &sent, response) {
            ctx.send(sent.to, again.to_bytes());
            let timer = Resend::other(now);
            self.requests.push(Sent { message: again, to: sent.to, timer, authorized: true });
        }
    }

    fn invite_response(&mut self, now: Moment, ctx: &mut Ctx<'_>, response: &Message, code: u16) {
        let ours = self.invite.as_ref().is_some_and(|invite| invite.is_answered_by(response));
        if !ours {
            // A final response that comes again: our ACK was lost.
            if code >= 200
                && let Some((cseq, to, ack)) = &self.ack
                && response.cseq() == Some((*cseq, "INVITE"))
            {
                ctx.send(*to, ack.clone());
            }
            return;
        }
        match code {
            100..200 => self.provisional(now, ctx, response, code),
            200..300 => self.answered(now, ctx, response),
            _ => self.refused(now, ctx, response, code),
        }
    }

    fn provisional(&mut self, now: Moment, ctx: &mut Ctx<'_>, response: &Message, code: u16) {
        if self.phase == Phase::Calling {
            self.phase = Phase::Proceeding;
            if let Some(invite) = &mut self.invite {
                invite.timer.quiet();
                invite.timer.give_up_at(now + RINGS);
            }
            if self.hang_up_wanted {
                self.cancel(now, ctx);
            }
        }
        if code > 100 && !self.hang_up_wanted {
            let remote = Description::parse(&response.body).and_then(|d| d.remote());
            ctx.tell(Event::Progress { key: self.key, code, remote });
        }
    }

    /// Gives up a call that nobody has answered yet. Needs a provisional response.
    pub fn cancel(&mut self, now: Moment, ctx: &mut Ctx<'_>) {
        self.hang_up_wanted = true;
        let Some(invite) = &mut self.invite else { return };
        // If neither the 487 nor anything else comes, the call ends all the same (section 9.1).
        invite.timer.give_up_at(now + LIFE);
        let to = invite.to;
        let mut cancel = Message::request("CANCEL", &self.target);
        for name in ["Via", "Max-Forwards", "From", "To", "Call-ID", "Route"] {
            for value in invite.message.all(name) {
                cancel = cancel.with(name, value);
            }
        }
        let number = invite.message.cseq().map_or(self.cseq, |(number, _)| number);
        let cancel = cancel.with("CSeq", format!("{number} CANCEL"));
        self.send_request(now, ctx, cancel, to);
    }

    fn answered(&mut self, now: Moment, ctx: &mut Ctx<'_>, response: &Message) {
        let Some(invite) = self.invite.take() else { return };
        if let Some(to) = response.header("To") {
            self.them = to.to_owned();
        }
        self.their_tag = response.tag("To").map(str::to_owned);
        if let Some(contact) = response.header("Contact") {
            self.target = uri_of(contact).to_owned();
        }
        self.routes = response.all("Record-Route").map(str::to_owned).collect();
        self.routes.reverse();
        self.phase = Phase::Up;
        let number = invite.message.cseq().map_or(self.cseq, |(number, _)| number);
        let ack = self.request(ctx, "ACK", number).to_bytes();
        let to = self.next_hop();
        ctx.send(to, ack.clone());
        self.ack = Some((number, to, ack));
        if self.hang_up_wanted {
            // The answer crossed our CANCEL.
            return self.bye(now, ctx, Ending::by_phone(now));
        }
        match Description::parse(&response.body).and_then(|d| d.remote()) {
            Some(remote) => ctx.tell(Event::Answered { key: self.key, remote, at: now }),
            None => {
                let reason = "the answer holds no PCMU stream".to_owned();
                self.bye(now, ctx, Ending { by: Side::Phone, code: 488, reason, q850: None, at: now });
            }
        }
    }

    fn refused(&mut self, now: Moment, ctx: &mut Ctx<'_>, response: &Message, code: u16) {
        let Some(invite) = self.invite.take() else { return };
        let number = invite.message.cseq().map_or(self.cseq, |(number, _)| number);
        // This ACK belongs to the INVITE's transaction: same branch, same URI (section 17.1.1.3).
        let super::message::Start::Request { uri, .. } = &invite.message.start else { return };
        let mut ack = Message::request("ACK", uri);
        for name in ["Via", "Max-Forwards", "From", "Call-ID", "Route"] {
            for value in invite.message.all(name) {
                ack = ack.with(name, value);
            }
        }
        let to = response.header("To").unwrap_or_default();
        let ack = ack.with("To", to).with("CSeq", format!("{number} ACK")).to_bytes();
        ctx.send(invite.to, ack.clone());
        self.ack = Some((number, invite.to, ack));
        if !self.hang_up_wanted
            && let Some(again) = self.authorize(ctx, &invite, response)
        {
            self.phase = Phase::Calling;
            ctx.send(invite.to, again.to_bytes());
            let timer = Resend::invite(now);
            self.invite = Some(Sent { message: again, to: invite.to, timer, authorized: true });
            return;
        }
        let by = if self.hang_up_wanted { Side::Phone } else { Side::Peer };
        let reason = match &response.start {
            super::message::Start::Response { reason, .. } => reason.clone(),
            super::message::Start::Request { .. } => String::new(),
        };
        self.over(now, ctx, Ending { by, code, reason, q850: response.q850(), at: now });
    }

    pub fn invite_timed_out(&mut self, now: Moment, ctx: &mut Ctx<'_>) {
        if self.phase == Phase::Proceeding && !self.hang_up_wanted {
            self.cancel(now, ctx);
        }
        self.invite = None;
        let (by, reason) = match (self.hang_up_wanted, self.phase) {
            (true, Phase::Calling) | (false, Phase::Calling) => {
                (Side::Network, "nobody answers at that address")
            }
            (true, _) => (Side::Phone, "cancelled"),
            (false, _) => (Side::Network, "it rang too long"),
        };
        self.over(now, ctx, Ending { by, code: 408, reason: reason.to_owned(), q850: None, at: now });
    }
}
