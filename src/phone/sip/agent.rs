//! The user agent: all calls of one phone, without I/O.
//!
//! Datagrams, commands and the time go in; [`Agent::poll`] gives datagrams and events until it has none, and
//! [`Agent::due`] says when [`Agent::timeout`] wants to be called.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::digest::Account;
use super::leg::{ALLOW, Ctx, Leg, Phase};
use super::message::{Message, address_of, uri_of, user_of};
use super::sdp::{Local, Remote};
use crate::time::Moment;

/// Calls that one agent holds, ended ones that linger included; more are refused with 503.
pub const MAX_CALLS: usize = 20_000;

/// Names a call of one agent. Whoever dials chooses the number, below [`CallKey::INCOMING`]; calls to us are numbered
/// from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub u64);

impl CallKey {
    /// The first number of a call to us.
    pub const INCOMING: u64 = 1 << 63;
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// This phone.
    Phone,
    /// The other side: the server, and the bot behind it.
    Peer,
    /// Nobody: messages got no answer.
    Network,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Who ended it.
    pub by: Side,
    /// The SIP code: 200 for a call that was up, else why it never was.
    pub code: u16,
    /// The words to it.
    pub reason: String,
    /// The cause of Q.850, if the other side gave one: 16 is a normal hang-up.
    pub q850: Option<u16>,
    /// When the message that said so came or went.
    pub at: Moment,
}

impl Ending {
    pub(super) fn by_phone(at: Moment) -> Self {
        Self { by: Side::Phone, code: 200, reason: "BYE".to_owned(), q850: None, at }
    }
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody calls. Answer with [`Agent::accept`] or [`Agent::refuse`].
    Incoming {
        /// The new call.
        key: CallKey,
        /// The From header.
        from: String,
        /// The user of the request's URI.
        to_user: String,
        /// The offer, if there was one.
        remote: Option<Remote>,
    },
    /// It rings, or early audio comes.
    Progress {
        /// The call.
        key: CallKey,
        /// 180, 183, …
        code: u16,
        /// Where early audio goes.
        remote: Option<Remote>,
    },
    /// The call is up: the other side answered, or we did and know where its audio goes.
    Answered {
        /// The call.
        key: CallKey,
        /// Where audio goes.
        remote: Remote,
        /// When the 200 came or went.
        at: Moment,
    },
    /// Audio goes somewhere else now: a re-INVITE.
    Remote {
        /// The call.
        key: CallKey,
        /// Where audio goes.
        remote: Remote,
    },
    /// The call is over. The last event of a call.
    Ended {
        /// The call.
        key: CallKey,
        /// How.
        ending: Ending,
    },
}

/// What comes out of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To be sent.
    Datagram(Datagram),
    /// To be told.
    Event(Event),
}

/// All calls of one phone.
pub struct Agent {
    local: SocketAddr,
    user: String,
    account: Option<Account>,
    legs: HashMap<String, Leg>,
    names: HashMap<CallKey, String>,
    next_key: u64,
    out: VecDeque<Output>,
    rng: fastrand::Rng,
}

impl Agent {
    /// An agent that is reached at `local`. `seed` makes its tags; the same seed gives the same messages.
    #[must_use]
    pub fn new(local: SocketAddr, user: &str, account: Option<Account>, seed: u64) -> Self {
        Self {
            local,
            user: user.to_owned(),
            account,
            legs: HashMap::new(),
            names: HashMap::new(),
            next_key: CallKey::INCOMING,
            out: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Calls `uri` by way of `peer` under a `key` that was not used before. Events follow; the last one is [`Event::Ended`], also when nobody is there.
    pub fn dial(
        &mut self,
        now: Moment,
        key: CallKey,
        uri: &str,
        peer: SocketAddr,
        local: Local,
        headers: &[(String, String)],
    ) {
        let tag = self.token();
        let call_id = format!("{}@offhook-phone", self.token());
        let user = self.account.as_ref().map_or(self.user.as_str(), |account| account.user.as_str());
        let leg = Leg {
            key,
            phase: Phase::Calling,
            call_id: call_id.clone(),
            us: format!("<sip:{user}@{}>;tag={tag}", self.local.ip()),
            them: format!("<{uri}>"),
            our_tag: tag,
            their_tag: None,
            cseq: 1,
            target: uri.to_owned(),
            routes: Vec::new(),
            peer,
            local: Some(local),
            invite: None,
            requests: Vec::new(),
            served: None,
            ack: None,
            hang_up_wanted: false,
            linger: None,
        };
        self.names.insert(key, call_id.clone());
        self.legs.insert(call_id, leg);
        self.with(key, |leg, ctx| leg.invite(now, ctx, headers));
    }

    /// Says 180 to a call to us.
    pub fn ring(&mut self, key: CallKey) {
        self.with(key, |leg, ctx| leg.ring(ctx));
    }

    /// Says 183 to a call to us, and where its audio is.
    pub fn progress(&mut self, now: Moment, key: CallKey, local: Local) {
        self.with(key, |leg, ctx| leg.progress(now, ctx, local));
    }

    /// Answers a call to us; without `local` one whose audio has begun.
    pub fn accept(&mut self, now: Moment, key: CallKey, local: Option<Local>) {
        self.with(key, |leg, ctx| leg.accept(now, ctx, local));
    }

    /// Refuses a call to us with a code of 300 to 699.
    pub fn refuse(&mut self, now: Moment, key: CallKey, code: u16, reason: &str) {
        self.with(key, |leg, ctx| leg.refuse(now, ctx, code, reason, Side::Phone));
    }

    /// Ends a call in whatever way its state asks for. Nothing happens when it is over.
    pub fn hang_up(&mut self, now: Moment, key: CallKey) {
        self.with(key, |leg, ctx| leg.hang_up(now, ctx));
    }

    /// Takes what came from the network. What is not SIP is dropped.
    pub fn datagram(&mut self, now: Moment, source: SocketAddr, bytes: &[u8]) {
        // Keep-alives: empty lines or a single zero byte.
        if bytes.len() <= 4 {
            return;
        }
        let mut message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => return tracing::debug!(%error, "a datagram on the phone's SIP port is no SIP"),
        };
        let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
        if message.code().is_some() {
            return self.with_named(&call_id, |leg, ctx| leg.response(now, ctx, &message));
        }
        let to = message.note_source(source);
        if self.legs.contains_key(&call_id) {
            self.with_named(&call_id, |leg, ctx| leg.incoming(now, ctx, message, to));
        } else {
            self.stranger(source, message, to, call_id);
        }
    }

    /// Does what is due at `now`: sends again, gives up, forgets.
    pub fn timeout(&mut self, now: Moment) {
        let due: Vec<CallKey> =
            self.legs.values().filter(|l| l.due().is_some_and(|d| d <= now)).map(|l| l.key).collect();
        for key in due {
            let mut forget = false;
            self.with(key, |leg, ctx| forget = leg.timeout(now, ctx));
            if forget && let Some(name) = self.names.remove(&key) {
                self.legs.remove(&name);
            }
        }
    }

    /// When [`timeout`](Self::timeout) is to be called.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.legs.values().filter_map(Leg::due).min()
    }

    /// The next thing to send or tell.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Whether every call is over and nothing of them waits for an answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.legs.values().all(|leg| leg.phase == Phase::Over && leg.requests.is_empty())
    }

    /// A call, for tests that write its messages by hand.
    #[cfg(test)]
    pub(super) fn leg_for_tests(&self, key: CallKey) -> &Leg {
        &self.legs[&self.names[&key]]
    }

    /// A request that belongs to no call of ours.
    fn stranger(&mut self, source: SocketAddr, request: Message, to: SocketAddr, call_id: String) {
        let (code, reason) = match request.method() {
            "ACK" => return,
            "OPTIONS" => (200, "OK"),
            "INVITE" if request.tag("To").is_none() => {
                if self.legs.len() < MAX_CALLS {
                    return self.invited(source, request, to, call_id);
                }
                (503, "Service Unavailable")
            }
            "INVITE" | "BYE" | "CANCEL" | "INFO" | "NOTIFY" => (481, "Call/Transaction Does Not Exist"),
            _ => (405, "Method Not Allowed"),
        };
        let tag = self.token();
        let mut response = Message::response(&request, code, reason, &tag).with("Allow", ALLOW);
        if request.method() == "OPTIONS" {
            response = response.with("Accept", "application/sdp");
        }
        self.out.push_back(Output::Datagram(Datagram { to, bytes: response.to_bytes() }));
    }

    fn invited(&mut self, source: SocketAddr, request: Message, to: SocketAddr, call_id: String) {
        let (key, tag) = (self.new_key(), self.token());
        let target = request.header("Contact").map_or("", uri_of).to_owned();
        let leg = Leg {
            key,
            phase: Phase::Ringing,
            call_id: call_id.clone(),
            us: format!("{};tag={tag}", request.header("To").unwrap_or_default()),
            them: request.header("From").unwrap_or_default().to_owned(),
            our_tag: tag,
            their_tag: request.tag("From").map(str::to_owned),
            cseq: 0,
            peer: address_of(&target).unwrap_or(source),
            target,
            routes: request.all("Record-Route").map(str::to_owned).collect(),
            local: None,
            invite: None,
            requests: Vec::new(),
            served: None,
            ack: None,
            hang_up_wanted: false,
            linger: None,
        };
        let super::message::Start::Request { uri, .. } = &request.start else { return };
        let to_user = user_of(uri).unwrap_or_default().to_owned();
        self.names.insert(key, call_id.clone());
        self.legs.insert(call_id, leg);
        self.with(key, |leg, ctx| leg.invited(ctx, request, to, &to_user));
    }

    fn new_key(&mut self) -> CallKey {
        self.next_key += 1;
        CallKey(self.next_key - 1)
    }

    fn token(&mut self) -> String {
        format!("{:016x}", self.rng.u64(..))
    }

    fn with(&mut self, key: CallKey, act: impl FnOnce(&mut Leg, &mut Ctx<'_>)) {
        if let Some(name) = self.names.get(&key).cloned() {
            self.with_named(&name, act);
        }
    }

    fn with_named(&mut self, name: &str, act: impl FnOnce(&mut Leg, &mut Ctx<'_>)) {
        if let Some(leg) = self.legs.get_mut(name) {
            let mut ctx = Ctx {
                local: self.local,
                user: &self.user,
                account: self.account.as_ref(),
                out: &mut self.out,
                rng: &mut self.rng,
            };
            act(leg, &mut ctx);
        }
    }
}
