//! One call as SIP sees it: dialog, transactions in flight, and what both directions share.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::agent::{CallKey, Datagram, Ending, Event, Output, Side};
use super::digest::{Account, Challenge};
use super::message::Message;
use super::sdp::Local;
use super::timers::{Fire, LIFE, Resend};
use crate::time::Moment;

/// The methods that the phone answers.
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO";

/// What a leg needs of the agent that holds it.
pub(super) struct Ctx<'a> {
    /// Our SIP address.
    pub local: SocketAddr,
    /// Our user, for Contact.
    pub user: &'a str,
    /// What to answer a challenge with.
    pub account: Option<&'a Account>,
    /// Where datagrams and events go.
    pub out: &'a mut VecDeque<Output>,
    /// For tags and branches.
    pub rng: &'a mut fastrand::Rng,
}

impl Ctx<'_> {
    /// A random token.
    pub fn token(&mut self) -> String {
        format!("{:016x}", self.rng.u64(..))
    }

    /// A Via header value with a branch of its own.
    pub fn via(&mut self) -> String {
        let branch = self.token();
        format!("SIP/2.0/UDP {};branch=z9hG4bK{branch};rport", self.local)
    }

    pub fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.user, self.local)
    }

    pub fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.out.push_back(Output::Datagram(Datagram { to, bytes }));
    }

    pub fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our INVITE is out, nobody has said anything.
    Calling,
    /// Our INVITE is being worked on.
    Proceeding,
    /// Somebody calls us.
    Ringing,
    /// We said 200 and wait for the ACK.
    Accepted,
    /// Both sides know that the call is up.
    Up,
    /// Over; kept a while for messages that come again.
    Over,
}

/// A request of ours that waits for its final response.
pub(super) struct Sent {
    pub message: Message,
    pub to: SocketAddr,
    pub timer: Resend,
    /// A challenge was answered once already: the next one is a refusal.
    pub authorized: bool,
}

impl Sent {
    /// Whether `response` answers this request: same branch, same number, same method.
    pub fn is_answered_by(&self, response: &Message) -> bool {
        self.message.branch() == response.branch() && self.message.cseq() == response.cseq()
    }
}

/// The INVITE that we answer, or answered.
pub(super) struct Served {
    pub request: Message,
    pub to: SocketAddr,
    /// The last response, for the INVITE that comes again.
    pub response: Vec<u8>,
    /// Runs from a final response to its ACK.
    pub timer: Option<Resend>,
}

pub(super) struct Leg {
    pub key: CallKey,
    pub phase: Phase,
    pub call_id: String,
    /// From of the requests that we send, with our tag.
    pub us: String,
    /// To of the requests that we send; without a tag until the other side has chosen one.
    pub them: String,
    pub our_tag: String,
    pub their_tag: Option<String>,
    /// The number of our last request.
    pub cseq: u32,
    /// Request-URI of requests inside the dialog.
    pub target: String,
    pub routes: Vec<String>,
    pub peer: SocketAddr,
    pub local: Option<Local>,
    pub invite: Option<Sent>,
    /// BYE and CANCEL in flight.
    pub requests: Vec<Sent>,
    pub served: Option<Served>,
    /// The last ACK, for the final response that comes again.
    pub ack: Option<(u32, SocketAddr, Vec<u8>)>,
    /// We want to hang up as soon as the protocol lets us.
    pub hang_up_wanted: bool,
    /// When an ended call may be forgotten.
    pub linger: Option<Moment>,
}

impl Leg {
    /// A request inside this dialog.
    pub fn request(&self, ctx: &mut Ctx<'_>, method: &str, cseq: u32) -> Message {
        let mut request = Message::request(method, &self.target)
            .with("Via", ctx.via())
            .with("Max-Forwards", "70")
            .with("From", self.us.clone())
            .with("To", self.them.clone())
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{cseq} {method}"));
        for route in &self.routes {
            request = request.with("Route", route.clone());
        }
        request.with("User-Agent", "offhook-phone")
    }

    /// Where requests inside the dialog go: the first route, else the target, else where the call came from.
    pub fn next_hop(&self) -> SocketAddr {
        let uri = self.routes.first().map_or(self.target.as_str(), |r| super::message::uri_of(r));
        super::message::address_of(uri).unwrap_or(self.peer)
    }

    /// Ends the call the way that its phase asks for: BYE, CANCEL, 486; later if the protocol makes us wait.
    pub fn hang_up(&mut self, now: Moment, ctx: &mut Ctx<'_>) {
        match self.phase {
            // A CANCEL may only follow a provisional response (section 9.1), a BYE of the called side only the ACK
            // (section 15).
            Phase::Calling | Phase::Accepted => self.hang_up_wanted = true,
            Phase::Proceeding => self.cancel(now, ctx),
            Phase::Ringing => self.refuse(now, ctx, 486, "Busy Here", Side::Phone),
            Phase::Up => self.bye(now, ctx, Ending::by_phone(now)),
            Phase::Over => {}
        }
    }

    pub fn bye(&mut self, now: Moment, ctx: &mut Ctx<'_>, ending: Ending) {
        self.cseq += 1;
        let bye = self.request(ctx, "BYE", self.cseq).with("Reason", "Q.850;cause=16");
        self.send_request(now, ctx, bye, self.next_hop());
        self.over(now, ctx, ending);
    }

    pub fn send_request(&mut self, now: Moment, ctx: &mut Ctx<'_>, message: Message, to: SocketAddr) {
        ctx.send(to, message.to_bytes());
        self.requests.push(Sent { message, to, timer: Resend::other(now), authorized: false });
    }

    /// The call is over, and everybody is told once.
    pub fn over(&mut self, now: Moment, ctx: &mut Ctx<'_>, ending: Ending) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.linger = Some(now + LIFE);
            ctx.tell(Event::Ended { key: self.key, ending });
        }
    }

    /// When [`timeout`](Self::timeout) has something to do next.
    pub fn due(&self) -> Option<Moment> {
        let sent = self.invite.iter().chain(&self.requests).map(|s| s.timer.due());
        let served = self.served.iter().filter_map(|s| s.timer.as_ref()).map(Resend::due);
        sent.chain(served).chain(self.linger).min()
    }

    /// Sends again what is due and gives up what is too old. True when the leg may be forgotten.
    pub fn timeout(&mut self, now: Moment, ctx: &mut Ctx<'_>) -> bool {
        if self.linger.is_some_and(|linger| now >= linger) {
            return true;
        }
        if let Some(invite) = &mut self.invite {
            match invite.timer.poll(now) {
                Fire::Again => ctx.send(invite.to, invite.message.to_bytes()),
                Fire::GiveUp => self.invite_timed_out(now, ctx),
                Fire::Nothing => {}
            }
        }
        self.requests.retain_mut(|sent| match sent.timer.poll(now) {
            Fire::Again => {
                ctx.send(sent.to, sent.message.to_bytes());
                true
            }
            Fire::GiveUp => false,
            Fire::Nothing => true,
        });
        if let Some(served) = &mut self.served
            && let Some(timer) = &mut served.timer
        {
            match timer.poll(now) {
                Fire::Again => ctx.send(served.to, served.response.clone()),
                Fire::GiveUp => {
                    served.timer = None;
                    self.never_acknowledged(now, ctx);
                }
                Fire::Nothing => {}
            }
        }
        false
    }

    /// Answers a challenge to `sent` by the same request with credentials; false when there is nothing to answer
    /// it with.
    pub fn authorize(&mut self, ctx: &mut Ctx<'_>, sent: &Sent, response: &Message) -> Option<Message> {
        let (asks, gives) = match response.code()? {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return None,
        };
        let account = ctx.account.filter(|_| !sent.authorized)?;
        let challenge = response.all(asks).find_map(Challenge::parse)?;
        let method = sent.message.method().to_owned();
        let super::message::Start::Request { uri, .. } = &sent.message.start else { return None };
        let cnonce = format!("{:016x}", ctx.rng.u64(..));
        let credentials = challenge.answer(account, &method, uri, &cnonce);
        self.cseq += 1;
        let mut again = sent.message.clone();
        again.set("Via", ctx.via());
        again.set("CSeq", format!("{} {method}", self.cseq));
        again.set(gives, credentials);
        Some(again)
    }
}
