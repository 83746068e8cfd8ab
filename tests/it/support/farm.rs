//! Telephones that campaigns call: every kind of callee, by the number that is called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offhook::audio::Rate;
use offhook::audio::tone::Tone;
use offhook::phone::{EarSettings, IncomingCall, KeyTiming, Phone, PhoneConfig, syllables};
use offhook::time::{Moment, WallTime};
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

/// What a callee does. The last digit of a number says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Callee {
    /// Answers at once, says hello, presses a key when the bot speaks: 1, or 9 where the number begins with +4940.
    AtOnce,
    /// The same after ringing for five seconds.
    Late,
    /// Busy: 486.
    Busy,
    /// Rings, and nobody comes.
    NoAnswer,
    /// Declines: 603.
    Rejects,
    /// No room: 503.
    Congestion,
    /// Switched off: 480.
    Unreachable,
    /// A fax machine.
    Fax,
    /// A mailbox: a long greeting, a beep, and then it records.
    Mailbox,
    /// Says hello and hangs up after the first words.
    HangsUp,
    /// Numbers that begin with +4969 and end in 0. Before any answer the network plays the three tones of a number that is not in
    /// service, and goes on for ever.
    Announced,
    /// All others that begin so: the network's ringback is heard, and then he answers as [`Callee::AtOnce`] does.
    RingsByEar,
}

impl Callee {
    pub const ALL: [Self; 10] = [
        Self::AtOnce,
        Self::Late,
        Self::Busy,
        Self::NoAnswer,
        Self::Rejects,
        Self::Congestion,
        Self::Unreachable,
        Self::Fax,
        Self::Mailbox,
        Self::HangsUp,
    ];

    pub fn at(number: &str) -> Self {
        if number.starts_with("+4969") {
            return if number.ends_with('0') { Self::Announced } else { Self::RingsByEar };
        }
        let last = number.chars().last().and_then(|digit| digit.to_digit(10)).unwrap_or(0);
        Self::ALL[last as usize]
    }

    /// How an attempt to call him ends.
    pub fn disposition(self) -> &'static str {
        match self {
            Self::AtOnce | Self::Late | Self::HangsUp | Self::RingsByEar => "completed",
            Self::Announced => "bad_number",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Rejects => "rejected",
            Self::Congestion => "congestion",
            Self::Unreachable => "unreachable",
            Self::Fax => "fax",
            Self::Mailbox => "machine",
        }
    }
}

/// A call as the farm saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub number: String,
    /// When the kernel received the INVITE: a farm that is held up counts as well as one that is not.
    pub began: Moment,
    /// The same by the clock of the wall, to be held against the book.
    pub at: WallTime,
    pub ended: Option<Moment>,
    /// How much of the bot a mailbox has recorded behind its beep.
    pub message: Option<Duration>,
}

/// The farm. It ends when this is dropped.
pub struct Farm {
    pub phone: Phone,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Farm {
    pub async fn open() -> Self {
        let ear = EarSettings::lean();
        let phone =
            Phone::start(PhoneConfig { ear, ..PhoneConfig::loopback("farm") }).await.expect("a phone");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (there, book) = (phone.clone(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let Ok(call) = there.expect_call(Duration::from_secs(3_600)).await else { continue };
                let place = {
                    let mut book = book.lock().expect("nothing panics while it holds it");
                    let number = call.to_user().to_owned();
                    let began = call.came();
                    let ago = i64::try_from(Moment::now().since(began).as_millis()).unwrap_or(0);
                    let at = WallTime(WallTime::now().0 - ago);
                    book.push(Seen { number, began, at, ended: None, message: None });
                    book.len() - 1
                };
                let book = Arc::clone(&book);
                tokio::spawn(async move {
                    let key = if call.to_user().starts_with("+4940") { "9" } else { "1" };
                    let message = take(Callee::at(call.to_user()), key, call).await;
                    let mut book = book.lock().expect("nothing panics while it holds it");
                    (book[place].ended, book[place].message) = (Some(Moment::now()), message);
                });
            }
        });
        Self { phone, seen, _task: AbortOnDropHandle::new(task) }
    }

    /// Asterisk's trunk to it.
    pub fn trunk(&self, name: &str) -> String {
        format!(
            "[{name}]\ntype = aor\ncontact = sip:{}\n[{name}](offhook-endpoint)\naors = {name}\n",
            self.phone.address()
        )
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nothing panics while it holds it").clone()
    }

    /// The calls to each number, in their order.
    pub fn by_number(&self) -> HashMap<String, Vec<Seen>> {
        let mut all: HashMap<String, Vec<Seen>> = HashMap::new();
        for seen in self.seen() {
            all.entry(seen.number.clone()).or_default().push(seen);
        }
        all
    }
}

/// The most calls that were up at a time, and the most that began within a second.
pub fn most(seen: &[Seen]) -> (usize, usize) {
    let mut edges: Vec<(Moment, i32)> = Vec::new();
    for call in seen {
        edges.push((call.began, 1));
        edges.extend(call.ended.map(|at| (at, -1)));
    }
    edges.sort_unstable();
    let (mut up, mut most_up) = (0, 0);
    for (_, change) in edges {
        up += change;
        most_up = most_up.max(up);
    }
    (usize::try_from(most_up).unwrap_or(0), busiest(seen).len())
}

/// The calls of the second in which most began, in their order.
fn busiest(seen: &[Seen]) -> Vec<&Seen> {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_unstable_by_key(|call| call.began);
    let within = |from: usize| {
        let behind = seen[from..]
            .iter()
            .take_while(|call| call.began.since(seen[from].began) < Duration::from_secs(1));
        from..from + behind.count()
    };
    let most = (0..seen.len()).map(within).max_by_key(ExactSizeIterator::len);
    most.map_or_else(Vec::new, |second| seen[second].to_vec())
}

/// The calls of the second in which most began, one a line: when the farm had it, when the book says it was dialled (both in
/// milliseconds of that second), and whom. `attempts` are as they are exported.
pub fn crowd(seen: &[Seen], attempts: &[Value]) -> String {
    let second = busiest(seen);
    let Some(first) = second.first() else { return String::new() };
    let zero = first.at.0;
    let dialled = |call: &Seen| {
        let of_number = attempts.iter().filter(|attempt| attempt["number"] == call.number.as_str());
        let at = of_number.filter_map(|attempt| attempt["dialled"].as_str()?.parse::<jiff::Timestamp>().ok());
        at.map(jiff::Timestamp::as_millisecond).filter(|at| *at <= call.at.0).max()
    };
    second
        .iter()
        .map(|call| {
            let dialled = dialled(call).map_or("?".to_owned(), |at| (at - zero).to_string());
            format!("{:>5} {dialled:>6} {:?}\n", call.at.0 - zero, Callee::at(&call.number))
        })
        .collect()
}

/// How long the campaigns of tests let it ring.
pub const RING: Duration = Duration::from_secs(8);

const LONG: Duration = Duration::from_secs(90);

/// Takes a call as `callee` does; says how long the message was that was left to it.
async fn take(callee: Callee, key: &str, call: IncomingCall) -> Option<Duration> {
    let sleep = |ms| tokio::time::sleep(Duration::from_millis(ms));
    match callee {
        Callee::Busy => call.refuse(486, "Busy Here").await.ok()?,
        Callee::Rejects => call.refuse(603, "Decline").await.ok()?,
        Callee::Congestion => call.refuse(503, "Service Unavailable").await.ok()?,
        Callee::Unreachable => call.refuse(480, "Temporarily Unavailable").await.ok()?,
        Callee::NoAnswer => {
            call.ring().await.ok()?;
            tokio::time::sleep(RING).await;
            // Cancelled by now, or about to be. To let it go would be to refuse it.
            tokio::spawn(async move {
                tokio::time::sleep(RING).await;
                drop(call);
            });
        }
        Callee::Announced => {
            let call = call.progress().await.ok()?;
            sleep(300).await;
            for (hz, ms) in [(913.8, 280), (1_370.6, 280), (1_776.7, 380)] {
                call.say(tone(hz, ms)).await.ok()?;
            }
            // Until he gives up.
            while call.say(vec![0; 8_000]).await.is_ok() {}
        }
        Callee::AtOnce | Callee::Late | Callee::HangsUp | Callee::RingsByEar => {
            if callee == Callee::Late {
                call.ring().await.ok()?;
                sleep(5_000).await;
            }
            let call = if callee == Callee::RingsByEar {
                let call = call.progress().await.ok()?;
                sleep(200).await;
                call.say(tone(425.0, 1_000)).await.ok()?;
                sleep(1_000).await;
                call.answer().await.ok()?
            } else {
                call.answer().await.ok()?
            };
            call.wait_answered(LONG).await.ok()?;
            sleep(300).await;
            call.say(syllables(Duration::from_millis(600))).await.ok()?;
            if call.wait_bot_speaks(LONG).await.is_ok() {
                sleep(700).await;
                if callee == Callee::HangsUp {
                    call.hang_up().await.ok()?;
                }
                // Who is asked again presses again.
                while callee != Callee::HangsUp && call.press(key, KeyTiming::default()).await.is_ok() {
                    if call.wait_hangup(Duration::from_secs(6)).await.is_ok() {
                        break;
                    }
                }
            }
            let _ = call.wait_hangup(LONG).await;
        }
        Callee::Fax => {
            let call = call.answer().await.ok()?;
            call.wait_answered(LONG).await.ok()?;
            sleep(500).await;
            drop(call.start_saying(tone(2_100.0, 3_000)));
            let _ = call.wait_hangup(LONG).await;
        }
        Callee::Mailbox => {
            let call = call.answer().await.ok()?;
            call.wait_answered(LONG).await.ok()?;
            sleep(400).await;
            call.say(syllables(Duration::from_millis(4_800))).await.ok()?;
            sleep(500).await;
            call.say(tone(1_000.0, 500)).await.ok()?;
            let beeped = Moment::now();
            let _ = call.wait_hangup(LONG).await;
            let behind = call.segments().into_iter().filter(|segment| segment.onset >= beeped);
            return Some(behind.map(|segment| segment.last_voiced.since(segment.onset)).sum());
        }
    }
    None
}

fn tone(hz: f64, ms: usize) -> Vec<i16> {
    let mut tone = Tone::sine(Rate::Hz8000, hz, -12.0);
    (0..ms / 20).flat_map(|_| tone.frame().samples.to_vec()).collect()
}
