//! The called side, and requests inside a dialog of either side.

use std::net::SocketAddr;

use super::agent::{Ending, Event, Side};
use super::leg::{ALLOW, Ctx, Leg, Phase, Served};
use super::message::Message;
use super::sdp::{Description, Local};
use super::timers::Resend;
use crate::time::Moment;

impl Leg {
    /// The first INVITE of a call to us: 100 goes out at once.
    pub fn invited(&mut self, ctx: &mut Ctx<'_>, request: Message, to: SocketAddr, to_user: &str) {
        let response = Message::response(&request, 100, "Trying", &self.our_tag).to_bytes();
        ctx.send(to, response.clone());
        let remote = Description::parse(&request.body).and_then(|d| d.remote());
        let from = request.header("From").unwrap_or_default().to_owned();
        ctx.tell(Event::Incoming { key: self.key, from, to_user: to_user.to_owned(), remote });
        self.served = Some(Served { request, to, response, timer: None });
    }

    /// 180.
    pub fn ring(&mut self, ctx: &mut Ctx<'_>) {
        if self.phase == Phase::Ringing
            && let Some(served) = &mut self.served
        {
            served.response = Message::response(&served.request, 180, "Ringing", &self.our_tag)
                .with("Contact", ctx.contact())
                .to_bytes();
            ctx.send(served.to, served.response.clone());
        }
    }

    /// 183 with our answer, so that audio goes both ways before the call is answered (RFC 3960); 488 when its offer does
    /// not fit or it has none.
    pub fn progress(&mut self, now: Moment, ctx: &mut Ctx<'_>, local: Local) {
        if self.phase != Phase::Ringing {
            return;
        }
        self.local = Some(local);
        let described = self.served.as_mut().and_then(|served| {
            let offer = Description::parse(&served.request.body)?;
            let (sdp, remote) = (local.answer(&offer)?, offer.remote()?);
            served.response = Message::response(&served.request, 183, "Session Progress", &self.our_tag)
                .with("Contact", ctx.contact())
                .with_body("application/sdp", sdp)
                .to_bytes();
            ctx.send(served.to, served.response.clone());
            Some(remote)
        });
        match described {
            Some(remote) => ctx.tell(Event::Remote { key: self.key, remote }),
            None => self.refuse(now, ctx, 488, "Not Acceptable Here", Side::Phone),
        }
    }

    /// 200 with our answer, or our offer if the INVITE had none; 488 when its offer does not fit. Audio that has begun with
    /// [`progress`](Self::progress) goes on where it is, whatever `local` says.
    pub fn accept(&mut self, now: Moment, ctx: &mut Ctx<'_>, local: Option<Local>) {
        if self.phase != Phase::Ringing {
            return;
        }
        self.local = self.local.or(local);
        match self.answer_invite(now, ctx) {
            Some(remote) => {
                self.phase = Phase::Accepted;
                if let Some(remote) = remote {
                    ctx.tell(Event::Answered { key: self.key, remote, at: now });
                }
            }
            None => self.refuse(now, ctx, 488, "Not Acceptable Here", Side::Phone),
        }
    }

    /// Refuses a call to us.
    pub fn refuse(&mut self, now: Moment, ctx: &mut Ctx<'_>, code: u16, reason: &str, by: Side) {
        if self.phase == Phase::Ringing
            && let Some(served) = &mut self.served
        {
            served.response = Message::response(&served.request, code, reason, &self.our_tag).to_bytes();
            served.timer = Some(Resend::other(now));
            ctx.send(served.to, served.response.clone());
            self.over(now, ctx, Ending { by, code, reason: reason.to_owned(), q850: None, at: now });
        }
    }

    /// A request about this call; `to` is where responses go.
    pub fn incoming(&mut self, now: Moment, ctx: &mut Ctx<'_>, request: Message, to: SocketAddr) {
        let method = request.method().to_owned();
        if let Some(served) = &self.served
            && served.request.branch() == request.branch()
        {
            match method.as_str() {
                "INVITE" => return ctx.send(served.to, served.response.clone()),
                "CANCEL" => {
                    self.reply(ctx, &request, to, 200, "OK");
                    return self.refuse(now, ctx, 487, "Request Terminated", Side::Peer);
                }
                _ => {}
            }
        }
        if method == "ACK" {
            return self.acknowledged(now, ctx, &request);
        }
        if method == "CANCEL" || !self.is_in_dialog(&request) {
            return self.reply(ctx, &request, to, 481, "Call/Transaction Does Not Exist");
        }
        match method.as_str() {
            "BYE" => {
                self.reply(ctx, &request, to, 200, "OK");
                self.refuse(now, ctx, 487, "Request Terminated", Side::Peer);
                let ending =
                    Ending { by: Side::Peer, code: 200, reason: "BYE".into(), q850: request.q850(), at: now };
                if let Some(served) = self.served.as_mut().filter(|_| self.phase != Phase::Over) {
                    served.timer = None;
                }
                self.over(now, ctx, ending);
            }
            _ if self.phase == Phase::Over => {
                self.reply(ctx, &request, to, 481, "Call/Transaction Does Not Exist");
            }
            "INVITE" => self.reinvited(now, ctx, request, to),
            "OPTIONS" | "INFO" => self.reply(ctx, &request, to, 200, "OK"),
            _ => self.reply(ctx, &request, to, 405, "Method Not Allowed"),
        }
    }

    fn is_in_dialog(&self, request: &Message) -> bool {
        request.tag("To") == Some(&self.our_tag) && request.tag("From") == self.their_tag.as_deref()
    }

    fn reply(&self, ctx: &mut Ctx<'_>, request: &Message, to: SocketAddr, code: u16, reason: &str) {
        let response = Message::response(request, code, reason, &self.our_tag).with("Allow", ALLOW);
        ctx.send(to, response.to_bytes());
    }

    fn reinvited(&mut self, now: Moment, ctx: &mut Ctx<'_>, request: Message, to: SocketAddr) {
        let busy = self.served.as_ref().is_some_and(|s| s.timer.is_some() || self.phase == Phase::Ringing);
        if self.invite.is_some() {
            return self.reply(ctx, &request, to, 491, "Request Pending");
        }
        if busy {
            // Section 14.2: one at a time; the other side comes back later.
            let response = Message::response(&request, 500, "Server Internal Error", &self.our_tag);
            return ctx.send(to, response.with("Retry-After", "1").to_bytes());
        }
        self.served = Some(Served { request, to, response: Vec::new(), timer: None });
        match self.answer_invite(now, ctx) {
            Some(Some(remote)) => ctx.tell(Event::Remote { key: self.key, remote }),
            Some(None) => {}
            None => {
                if let Some(served) = &mut self.served {
                    served.response =
                        Message::response(&served.request, 488, "Not Acceptable Here", &self.our_tag)
                            .to_bytes();
                    served.timer = Some(Resend::other(now));
                    ctx.send(served.to, served.response.clone());
                }
            }
        }
    }

    /// Sends the 200 to the INVITE that is being served. The outer [`None`]: its offer does not fit.
    fn answer_invite(&mut self, now: Moment, ctx: &mut Ctx<'_>) -> Option<Option<super::sdp::Remote>> {
        let (served, local) = (self.served.as_mut()?, self.local?);
        let (sdp, remote) = if served.request.body.is_empty() {
            (local.offer(), None)
        } else {
            let offer = Description::parse(&served.request.body)?;
            (local.answer(&offer)?, Some(offer.remote()?))
        };
        served.response = Message::response(&served.request, 200, "OK", &self.our_tag)
            .with("Contact", ctx.contact())
            .with("Allow", ALLOW)
            .with_body("application/sdp", sdp)
            .to_bytes();
        served.timer = Some(Resend::other(now));
        ctx.send(served.to, served.response.clone());
        Some(remote)
    }

    fn acknowledged(&mut self, now: Moment, ctx: &mut Ctx<'_>, ack: &Message) {
        let Some(served) = &mut self.served else { return };
        if served.request.cseq().map(|(n, _)| n) != ack.cseq().map(|(n, _)| n)
            || served.timer.take().is_none()
        {
            return;
        }
        if let Some(remote) = Description::parse(&ack.body).and_then(|d| d.remote()) {
            let event = match self.phase {
                Phase::Accepted => Event::Answered { key: self.key, remote, at: now },
                _ => Event::Remote { key: self.key, remote },
            };
            ctx.tell(event);
        }
        if self.phase == Phase::Accepted {
            self.phase = Phase::Up;
            if self.hang_up_wanted {
                self.bye(now, ctx, Ending::by_phone(now));
            }
        }
    }

    /// No ACK came for our final response. A call that is up on one side only is ended (section 13.3.1.4).
    pub fn never_acknowledged(&mut self, now: Moment, ctx: &mut Ctx<'_>) {
        if matches!(self.phase, Phase::Accepted | Phase::Up) {
            let reason = "no ACK came for our 200".to_owned();
            self.bye(now, ctx, Ending { by: Side::Network, code: 408, reason, q850: None, at: now });
        }
    }
}
