//! Two agents, a network that loses what it is told to, and virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::agent::{Agent, CallKey, Ending, Event, Output, Side};
use super::digest::Account;
use super::message::Message;
use super::sdp::Local;
use crate::time::Moment;

const TRIP: Duration = Duration::from_millis(10);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn local(port: u16) -> Local {
    Local { address: address(port), session: 1 }
}

/// A datagram on its way.
struct Flight {
    arrives: Moment,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Decides what is lost from who sends, what the message is, and how many like it were sent before.
type Loss = Box<dyn FnMut(char, &str, usize) -> bool>;

/// Alice calls, Bob is called.
struct Pair {
    now: Moment,
    alice: Agent,
    bob: Agent,
    air: Vec<Flight>,
    sent: Vec<(Moment, char, String)>,
    told: Vec<(char, Event)>,
    lose: Loss,
}

const KEY: CallKey = CallKey(1);

impl Pair {
    fn new(lose: impl FnMut(char, &str, usize) -> bool + 'static) -> Self {
        Self {
            now: Moment::from_millis(1_000),
            alice: Agent::new(address(5_001), "alice", None, 1),
            bob: Agent::new(address(5_002), "bob", None, 2),
            air: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
            lose: Box::new(lose),
        }
    }

    fn perfect() -> Self {
        Self::new(|_, _, _| false)
    }

    fn dial(&mut self) {
        self.alice.dial(self.now, KEY, "sip:bob@127.0.0.1:5002", address(5_002), local(7_000), &[]);
        self.collect();
    }

    /// What a message is: its method, or its code and what that answers.
    fn words(bytes: &[u8]) -> String {
        let message = Message::parse(bytes).expect("agents send SIP");
        match message.code() {
            Some(code) => format!("{code} {}", message.method()),
            None => message.method().to_owned(),
        }
    }

    fn collect(&mut self) {
        for who in ['A', 'B'] {
            let (agent, from) = match who {
                'A' => (&mut self.alice, address(5_001)),
                _ => (&mut self.bob, address(5_002)),
            };
            while let Some(output) = agent.poll() {
                match output {
                    Output::Datagram(datagram) => {
                        let words = Self::words(&datagram.bytes);
                        let before = self.sent.iter().filter(|(_, w, s)| *w == who && *s == words).count();
                        self.sent.push((self.now, who, words.clone()));
                        if !(self.lose)(who, &words, before) {
                            let arrives = self.now + TRIP;
                            self.air.push(Flight { arrives, from, to: datagram.to, bytes: datagram.bytes });
                        }
                    }
                    Output::Event(event) => self.told.push((who, event)),
                }
            }
        }
    }

    /// Lets virtual time pass.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let flights = self.air.iter().map(|f| f.arrives);
            let next = flights.chain(self.alice.due()).chain(self.bob.due()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let (landed, flying) =
                std::mem::take(&mut self.air).into_iter().partition(|f| f.arrives <= self.now);
            self.air = flying;
            let landed: Vec<Flight> = landed;
            for flight in landed {
                let agent = if flight.to == address(5_001) { &mut self.alice } else { &mut self.bob };
                agent.datagram(self.now, flight.from, &flight.bytes);
            }
            self.alice.timeout(self.now);
            self.bob.timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn incoming(&self) -> CallKey {
        let key = self.told.iter().find_map(|(_, event)| match event {
            Event::Incoming { key, .. } => Some(*key),
            _ => None,
        });
        key.expect("bob was called")
    }

    fn bob_accepts(&mut self) {
        let key = self.incoming();
        self.bob.accept(self.now, key, Some(local(7_002)));
        self.collect();
    }

    fn connected() -> Self {
        let mut pair = Self::perfect();
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        self.dial();
        self.run(Duration::from_millis(100));
        self.bob_accepts();
        self.run(Duration::from_millis(100));
    }

    fn answered(&self, who: char) -> bool {
        self.told.iter().any(|(w, e)| *w == who && matches!(e, Event::Answered { .. }))
    }

    fn endings(&self, who: char) -> Vec<&Ending> {
        let endings = self.told.iter().filter_map(|(w, e)| match e {
            Event::Ended { ending, .. } if *w == who => Some(ending),
            _ => None,
        });
        endings.collect()
    }

    fn ending(&self, who: char) -> &Ending {
        let endings = self.endings(who);
        assert_eq!(endings.len(), 1, "{who} was told of {} endings", endings.len());
        endings[0]
    }

    fn count(&self, who: char, words: &str) -> usize {
        self.sent.iter().filter(|(_, w, s)| *w == who && s == words).count()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_call_is_answered_and_ended_by_who_called() {
    let mut pair = Pair::connected();
    assert!(pair.answered('A') && pair.answered('B'));
    pair.alice.hang_up(pair.now, KEY);
    pair.collect();
    pair.run(MINUTE);
    assert_eq!(pair.ending('A').by, Side::Phone);
    assert_eq!((pair.ending('B').by, pair.ending('B').q850), (Side::Peer, Some(16)));
    let words: Vec<_> = pair.sent.iter().map(|(_, who, words)| format!("{who} {words}")).collect();
    assert_eq!(words, ["A INVITE", "B 100 INVITE", "B 200 INVITE", "A ACK", "A BYE", "B 200 BYE"]);
    assert!(pair.alice.due().is_none() && pair.bob.due().is_none(), "nothing of the call is left");
}

#[test]
fn a_call_is_ended_by_who_was_called() {
    let mut pair = Pair::connected();
    let key = pair.incoming();
    pair.bob.hang_up(pair.now, key);
    pair.collect();
    pair.run(MINUTE);
    assert_eq!((pair.ending('A').by, pair.ending('B').by), (Side::Peer, Side::Phone));
}

#[test]
fn every_message_may_be_lost_once() {
    let mut pair = Pair::new(|_, _, before| before == 0);
    pair.dial();
    pair.run(Duration::from_secs(2));
    pair.bob_accepts();
    pair.run(Duration::from_secs(4));
    assert!(pair.answered('A') && pair.answered('B'));
    pair.alice.hang_up(pair.now, KEY);
    pair.collect();
    pair.run(MINUTE);
    assert_eq!((pair.ending('A').by, pair.ending('B').by), (Side::Phone, Side::Peer));
    assert_eq!(pair.count('A', "BYE"), 3, "the first was lost, then its 200");
}

#[test]
fn nobody_there_is_told_after_32_seconds_and_seven_invites() {
    let mut pair = Pair::new(|who, _, _| who == 'A');
    pair.dial();
    pair.run(MINUTE);
    assert_eq!(pair.count('A', "INVITE"), 7);
    assert_eq!((pair.ending('A').by, pair.ending('A').code), (Side::Network, 408));
    assert_eq!(pair.ending('A').at, Moment::from_millis(33_000));
}

#[test]
fn a_busy_called_side_is_acknowledged_and_told() {
    let mut pair = Pair::new(|who, words, before| who == 'A' && words == "ACK" && before == 0);
    pair.dial();
    pair.run(Duration::from_millis(100));
    let key = pair.incoming();
    pair.bob.refuse(pair.now, key, 486, "Busy Here");
    pair.collect();
    pair.run(MINUTE);
    assert_eq!((pair.ending('A').by, pair.ending('A').code), (Side::Peer, 486));
    assert_eq!((pair.count('B', "486 INVITE"), pair.count('A', "ACK")), (2, 2));
}

#[test]
fn a_ringing_call_is_cancelled() {
    let mut pair = Pair::perfect();
    pair.dial();
    pair.run(Duration::from_millis(100));
    let key = pair.incoming();
    pair.bob.ring(key);
    pair.collect();
    pair.run(Duration::from_millis(100));
    assert!(pair.told.iter().any(|(w, e)| *w == 'A' && matches!(e, Event::Progress { code: 180, .. })));
    pair.alice.hang_up(pair.now, KEY);
    pair.collect();
    pair.run(MINUTE);
    assert_eq!((pair.ending('A').by, pair.ending('A').code), (Side::Phone, 487));
    assert_eq!((pair.ending('B').by, pair.ending('B').code), (Side::Peer, 487));
    assert_eq!(pair.count('A', "ACK"), 1);
}

#[test]
fn a_cancel_waits_for_the_first_sign_of_life() {
    let mut pair = Pair::new(|who, words, before| who == 'A' && words == "INVITE" && before == 0);
    pair.dial();
    pair.alice.hang_up(pair.now, KEY);
    pair.collect();
    pair.run(Duration::from_millis(400));
    assert_eq!(pair.count('A', "CANCEL"), 0);
    pair.run(MINUTE);
    assert_eq!((pair.count('A', "CANCEL"), pair.ending('A').by), (1, Side::Phone));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_ended_by_bye() {
    let mut pair = Pair::perfect();
    pair.dial();
    pair.run(Duration::from_millis(100));
    pair.bob_accepts();
    pair.alice.hang_up(pair.now, KEY);
    pair.collect();
    pair.run(MINUTE);
    assert_eq!(pair.ending('A').by, Side::Phone);
    assert_eq!(pair.ending('B').by, Side::Peer);
    assert_eq!(pair.count('A', "BYE"), 1);
}

#[test]
fn the_called_side_hangs_up_only_after_the_ack() {
    let mut pair = Pair::new(|who, words, before| who == 'A' && words == "ACK" && before == 0);
    pair.dial();
    pair.run(Duration::from_millis(100));
    pair.bob_accepts();
    let key = pair.incoming();
    pair.bob.hang_up(pair.now, key);
    pair.collect();
    pair.run(Duration::from_millis(300));
    assert_eq!(pair.count('B', "BYE"), 0);
    pair.run(MINUTE);
    assert_eq!((pair.count('B', "BYE"), pair.ending('B').by), (1, Side::Phone));
}

#[test]
fn a_200_without_any_ack_ends_the_call() {
    let mut pair = Pair::new(|who, words, _| who == 'A' && words == "ACK");
    pair.connect();
    pair.run(MINUTE);
    assert_eq!((pair.ending('B').by, pair.ending('B').code), (Side::Network, 408));
    assert_eq!(pair.ending('A').by, Side::Peer);
}

/// Bob's side of a dialog written by hand, to send what our agents never send.
fn in_dialog(pair: &Pair, method: &str, number: u32, body: &str) -> Vec<u8> {
    let ok = pair.sent.iter().any(|(_, _, words)| words == "200 INVITE");
    assert!(ok, "there is a dialog");
    let leg = pair.alice.leg_for_tests(KEY);
    let mut request = Message::request(method, "sip:alice@127.0.0.1:5001")
        .with("Via", format!("SIP/2.0/UDP 127.0.0.1:5002;branch=z9hG4bKhand{number}{method}"))
        .with("From", leg.them.clone())
        .with("To", leg.us.clone())
        .with("Call-ID", leg.call_id.clone())
        .with("CSeq", format!("{number} {method}"));
    if !body.is_empty() {
        request = request.with_body("application/sdp", body);
    }
    request.to_bytes()
}

fn reply_of(pair: &mut Pair, request: &[u8]) -> Message {
    pair.alice.datagram(pair.now, address(5_002), request);
    loop {
        match pair.alice.poll() {
            Some(Output::Datagram(datagram)) => return Message::parse(&datagram.bytes).expect("SIP"),
            Some(Output::Event(event)) => pair.told.push(('A', event)),
            None => panic!("no reply"),
        }
    }
}

#[test]
fn a_reinvite_gets_the_same_stream_and_moves_the_audio() {
    let mut pair = Pair::connected();
    let offer = local(9_000).offer().replace("sendrecv", "sendonly");
    let request = in_dialog(&pair, "INVITE", 50, &offer);
    let ok = reply_of(&mut pair, &request);
    assert_eq!(ok.code(), Some(200));
    let body = String::from_utf8(ok.body.clone()).expect("text");
    assert!(body.contains("m=audio 7000 ") && body.contains("a=recvonly"), "{body}");
    pair.collect();
    let moved = pair.told.iter().find_map(|(_, e)| match e {
        Event::Remote { remote, .. } => Some(*remote),
        _ => None,
    });
    let moved = moved.expect("the audio moved");
    assert!(moved.address == address(9_000) && !moved.wants_audio());
    let again = reply_of(&mut pair, &request);
    assert_eq!(again, ok, "the INVITE that comes again gets the same answer");
    let second = in_dialog(&pair, "INVITE", 51, &offer);
    assert_eq!(reply_of(&mut pair, &second).code(), Some(500), "one at a time");
    let ack = in_dialog(&pair, "ACK", 50, "");
    pair.alice.datagram(pair.now, address(5_002), &ack);
    let third = in_dialog(&pair, "INVITE", 52, "");
    let ok = reply_of(&mut pair, &third);
    assert!(
        String::from_utf8_lossy(&ok.body).contains("m=audio 7000 RTP/AVP 0 101"),
        "no offer: we make one"
    );
}

#[test]
fn options_are_answered_in_and_out_of_a_call_and_strangers_are_told_so() {
    let mut pair = Pair::connected();
    let inside = in_dialog(&pair, "OPTIONS", 60, "");
    assert_eq!(reply_of(&mut pair, &inside).code(), Some(200));
    let unknown = in_dialog(&pair, "REFER", 61, "");
    assert_eq!(reply_of(&mut pair, &unknown).code(), Some(405));
    let text = String::from_utf8(inside).expect("text").replace("Call-ID: ", "Call-ID: other");
    let outside = reply_of(&mut pair, text.as_bytes());
    assert_eq!((outside.code(), outside.header("Accept")), (Some(200), Some("application/sdp")));
    let stranger = text.replace("OPTIONS", "BYE");
    assert_eq!(reply_of(&mut pair, stranger.as_bytes()).code(), Some(481));
    let forged = String::from_utf8(in_dialog(&pair, "BYE", 62, "")).expect("text").replace("tag=", "tag=x");
    assert_eq!(reply_of(&mut pair, forged.as_bytes()).code(), Some(481));
    assert!(pair.endings('A').is_empty());
}

#[test]
fn a_challenge_is_answered_once() {
    let account = Account { user: "alice".into(), password: "offhook".into() };
    let mut alice = Agent::new(address(5_001), "alice", Some(account), 1);
    alice.dial(Moment::ZERO, KEY, "sip:bob@127.0.0.1:5002", address(5_002), local(7_000), &[]);
    let mut numbers = Vec::new();
    for round in 0..2 {
        let Some(Output::Datagram(invite)) = alice.poll() else { panic!("an INVITE") };
        let invite = Message::parse(&invite.bytes).expect("SIP");
        assert_eq!(invite.header("Authorization").is_some(), round == 1);
        numbers.push(invite.cseq().expect("CSeq").0);
        let asks = Message::response(&invite, 401, "Unauthorized", "bob")
            .with("WWW-Authenticate", format!("Digest realm=\"r\", nonce=\"n{round}\", qop=\"auth\""));
        alice.datagram(Moment::ZERO, address(5_002), &asks.to_bytes());
        let Some(Output::Datagram(ack)) = alice.poll() else { panic!("an ACK") };
        let ack = Message::parse(&ack.bytes).expect("SIP");
        assert_eq!((ack.method(), ack.branch()), ("ACK", invite.branch()));
    }
    assert_eq!(numbers, [1, 2]);
    let Some(Output::Event(Event::Ended { ending, .. })) = alice.poll() else { panic!("the end") };
    assert_eq!(ending.code, 401);
}

proptest::proptest! {
    /// Whatever the network loses, both sides come to an end and hold nothing of the call afterwards.
    #[test]
    fn any_losses_end_in_silence(seed in 0_u64..2_000, loss in 0_u8..80, hang_up_after in 0_u64..4_000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::new(move |_, _, _| rng.u8(..100) < loss);
        pair.dial();
        pair.run(Duration::from_millis(seed % 1_500));
        if pair.told.iter().any(|(_, e)| matches!(e, Event::Incoming { .. })) {
            pair.bob_accepts();
        }
        pair.run(Duration::from_millis(hang_up_after));
        pair.alice.hang_up(pair.now, KEY);
        pair.collect();
        pair.run(Duration::from_secs(40));
        let callee = pair.told.iter().find_map(|(_, e)| match e {
            Event::Incoming { key, .. } => Some(*key),
            _ => None,
        });
        if let Some(key) = callee {
            // A BYE that never came through is the one thing that the called side cannot know.
            pair.bob.hang_up(pair.now, key);
            pair.collect();
        }
        pair.run(Duration::from_secs(600));
        proptest::prop_assert_eq!(pair.endings('A').len(), 1);
        proptest::prop_assert!(pair.endings('B').len() <= 1);
        proptest::prop_assert!(pair.alice.due().is_none() && pair.bob.due().is_none());
    }
}
