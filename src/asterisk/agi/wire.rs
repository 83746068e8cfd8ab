//! Bytes in, items out: AGI's lines without any I/O. The same parser reads FastAGI, the standard input of a process, and
//! the results of Asynchronous AGI.

use std::collections::VecDeque;

use super::environment::Environment;

/// How much the parser holds of what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one line, and of a reply that is several lines. What is longer is cut.
    pub line: usize,
    /// Lines of the environment. More refuse the session.
    pub headers: usize,
    /// Bytes of the environment. More refuse the session.
    pub environment: usize,
    /// Items that wait to be taken. More are dropped: nobody asked for them.
    pub waiting: usize,
}

impl Default for Limits {
    /// Asterisk sends some twenty lines and at most 128 arguments, and values of at most 64 KiB.
    fn default() -> Self {
        Self { line: 64 << 10, headers: 200, environment: 64 << 10, waiting: 64 }
    }
}

/// What the parser finds.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// What Asterisk says of the call, before everything else.
    Environment(Environment),
    /// The answer to a command.
    Reply(Reply),
    /// The caller hung up.
    HangUp,
    /// The environment is larger than is taken, or none: nothing else will come.
    Refused(&'static str),
}

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// 200, or why not: 510 unknown, 511 not on a channel that is hung up, 520 used wrongly.
    pub code: u16,
    /// What stands after `result=`.
    pub result: String,
    /// What stands in parentheses after it.
    pub data: Option<String>,
    /// Further `NAME=VALUE` pairs, as `endpos=1600`.
    pub more: Vec<(String, String)>,
    /// For any code but 200: what was said, with the usage.
    pub text: String,
    /// Whether it is as it was sent: nothing was too long.
    pub whole: bool,
}

impl Reply {
    /// The result as a number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.result.trim().parse().ok()
    }

    /// One of the further pairs.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.more.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Environment,
    Commands,
    /// In the usage that a 520 explains.
    Usage,
    /// In a value that has line breaks.
    Open,
    Refused,
}

/// The parser of one session.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    place: Place,
    line: Vec<u8>,
    cut: bool,
    environment: Environment,
    size: usize,
    /// A reply that is not whole yet.
    open: String,
    open_whole: bool,
    done: VecDeque<Item>,
}

impl Parser {
    /// A parser for a session from its first byte on.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            place: Place::Environment,
            line: Vec::new(),
            cut: false,
            environment: Environment::default(),
            size: 0,
            open: String::new(),
            open_whole: true,
            done: VecDeque::new(),
        }
    }

    /// A parser for replies alone: there was an environment already, or it came by another way.
    #[must_use]
    pub fn of_replies(limits: Limits) -> Self {
        Self { place: Place::Commands, ..Self::new(limits) }
    }

    /// Bytes that are held, roughly.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.capacity() + self.size + self.open.capacity()
    }

    /// Takes what was received. Any split is fine.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while self.place != Place::Refused {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return self.add(bytes) };
            self.add(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            let cut = std::mem::take(&mut self.cut);
            {
                let text = String::from_utf8_lossy(&line);
                self.one_line(text.strip_suffix('\r').unwrap_or(&text), !cut);
            }
            line.clear();
            line.shrink_to(4_096);
            self.line = line;
        }
    }

    /// The next item, if one is whole.
    pub fn take(&mut self) -> Option<Item> {
        self.done.pop_front()
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.limits.line.saturating_sub(self.line.len());
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn one_line(&mut self, text: &str, whole: bool) {
        match self.place {
            Place::Environment => self.header(text, whole),
            // Between two lines of a reply, too.
            _ if text == "HANGUP" => {
                self.give(Item::HangUp);
                self.open.clear();
                self.place = Place::Commands;
            }
            Place::Commands => self.reply(text, whole),
            Place::Usage => {
                if !text.starts_with("520 ") {
                    self.more(text, whole);
                } else {
                    let reply = Reply {
                        code: 520,
                        whole: self.open_whole,
                        text: self.take_open(),
                        ..Reply::default()
                    };
                    self.give(Item::Reply(reply));
                }
            }
            Place::Open => {
                self.more(text, whole);
                if is_closed(text) {
                    let whole = self.open_whole;
                    let text = self.take_open();
                    self.give(Item::Reply(result(200, &text, whole)));
                }
            }
            Place::Refused => {}
        }
    }

    fn header(&mut self, text: &str, whole: bool) {
        if text.is_empty() {
            if self.environment.headers.is_empty() {
                return self.refuse("it began without saying what the call is");
            }
            self.place = Place::Commands;
            self.size = 0;
            let environment = std::mem::take(&mut self.environment);
            return self.give(Item::Environment(environment));
        }
        self.size += text.len();
        if !whole
            || self.size > self.limits.environment
            || self.environment.headers.len() >= self.limits.headers
        {
            return self.refuse("it says more of the call than is taken");
        }
        let Some((key, value)) = text.split_once(':') else {
            // A value with a line break: nothing that anybody could use.
            return;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.environment.headers.push((key.to_owned(), value.to_owned()));
    }

    fn refuse(&mut self, why: &'static str) {
        self.place = Place::Refused;
        self.environment = Environment::default();
        self.line = Vec::new();
        self.size = 0;
        self.done.clear();
        self.give(Item::Refused(why));
    }

    fn reply(&mut self, text: &str, whole: bool) {
        let Some(code) = text.get(..3).and_then(|code| code.parse::<u16>().ok()) else { return };
        let rest = text.get(4..).unwrap_or_default();
        match (code, text.as_bytes().get(3)) {
            // Something goes on: no answer yet.
            (100..=199, _) => {}
            (520, Some(b'-')) => self.begin(Place::Usage, rest, whole),
            (200, _) if !is_whole(rest) => self.begin(Place::Open, rest, whole),
            _ => self.give(Item::Reply(result(code, rest, whole))),
        }
    }

    fn begin(&mut self, place: Place, text: &str, whole: bool) {
        self.place = place;
        self.open = text.to_owned();
        self.open_whole = whole;
    }

    fn more(&mut self, text: &str, whole: bool) {
        self.open_whole &= whole;
        if self.open.len() + text.len() < self.limits.line {
            self.open.push('\n');
            self.open.push_str(text);
        } else {
            self.open_whole = false;
        }
    }

    fn take_open(&mut self) -> String {
        self.place = Place::Commands;
        std::mem::take(&mut self.open)
    }

    fn give(&mut self, item: Item) {
        if self.done.len() < self.limits.waiting {
            self.done.push_back(item);
        }
    }
}

/// Whether the parenthesis of a result is closed on its own line, if it has one.
fn is_whole(rest: &str) -> bool {
    match rest.split_once(" (") {
        Some((before, inside)) if before.starts_with("result=") => is_closed(inside),
        _ => true,
    }
}

fn is_closed(text: &str) -> bool {
    text.ends_with(')')
        || text
            .rsplit_once(") ")
            .is_some_and(|(_, more)| more.split(' ').next().is_some_and(|pair| pair.contains('=')))
}

/// `result=1 (value) endpos=1600`.
fn result(code: u16, rest: &str, whole: bool) -> Reply {
    let mut reply = Reply { code, whole, ..Reply::default() };
    let Some(rest) = rest.strip_prefix("result=") else {
        reply.text = rest.to_owned();
        return reply;
    };
    let (value, mut more) = match rest.split_once(' ') {
        Some((value, more)) => (value, more),
        None => (rest, ""),
    };
    reply.result = value.to_owned();
    if let Some(inside) = more.strip_prefix('(') {
        // A value may have parentheses of its own: the last one that pairs, or nothing, follow closes.
        let end = match inside.rsplit_once(") ") {
            Some((data, after))
                if !inside.ends_with(')') || after.split(' ').all(|pair| pair.contains('=')) =>
            {
                data.len()
            }
            _ => inside.strip_suffix(')').unwrap_or(inside).len(),
        };
        reply.data = Some(inside[..end].to_owned());
        more = inside.get(end + 1..).unwrap_or_default().trim_start();
    }
    reply.more = pairs(more);
    if code != 200 {
        reply.text = more.to_owned();
    }
    reply
}

/// `endpos=1600 text0="two words" score0=900`
fn pairs(mut text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        pairs.push((name.trim().to_owned(), value.to_owned()));
        text = after.trim_start();
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replies(text: &str) -> Vec<Item> {
        let mut parser = Parser::of_replies(Limits::default());
        parser.feed(text.as_bytes());
        std::iter::from_fn(|| parser.take()).collect()
    }

    fn reply(text: &str) -> Reply {
        match replies(text).as_slice() {
            [Item::Reply(reply)] => reply.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_environment_says_who_calls_and_what_is_wanted() {
        let mut parser = Parser::new(Limits::default());
        parser.feed(
            b"agi_network: yes\nagi_network_script: desk/route?lang=de&x=a%20b\nagi_request: agi://h:4573/desk/route?lang=de&x=a%20b\n\
              agi_channel: PJSIP/a-1\nagi_callerid: unknown\nagi_extension: 100\nagi_arg_1: one\nagi_arg_2: \n\n",
        );
        let Some(Item::Environment(env)) = parser.take() else { panic!() };
        assert_eq!((env.script(), env.channel(), env.extension()), ("desk/route", "PJSIP/a-1", "100"));
        assert_eq!(env.caller(), None);
        assert_eq!(env.query(), [("lang".into(), "de".into()), ("x".into(), "a b".into())]);
        assert_eq!(env.arguments(), ["one", ""]);
        let asynchronous = Environment::from_headers([("agi_request", "async"), ("agi_arg_1", "listen")]);
        assert_eq!(asynchronous.script(), "listen");
        let process = Environment::from_headers([("agi_request", "/usr/bin/listen")]);
        assert_eq!(process.script(), "listen");
    }

    #[test]
    fn results_have_a_number_a_remark_and_a_place() {
        assert_eq!(reply("200 result=0\n").number(), Some(0));
        let played = reply("200 result=49 endpos=1600\n");
        assert_eq!((played.number(), played.get("endpos")), (Some(49), Some("1600")));
        let data = reply("200 result=12# (timeout)\r\n");
        assert_eq!((data.result.as_str(), data.data.as_deref()), ("12#", Some("timeout")));
        let recorded = reply("200 result=-1 (hangup) endpos=8000\n");
        assert_eq!((recorded.data.as_deref(), recorded.get("endpos")), (Some("hangup"), Some("8000")));
        let empty = reply("200 result= (timeout)\n");
        assert_eq!((empty.result.as_str(), empty.data.as_deref()), ("", Some("timeout")));
        let heard =
            reply("200 result=1 (speech) endpos=0 results=1 score0=900 text0=\"two words\" grammar0=g\n");
        assert_eq!((heard.get("text0"), heard.get("grammar0")), (Some("two words"), Some("g")));
    }

    #[test]
    fn a_value_may_have_parentheses_and_line_breaks() {
        assert_eq!(reply("200 result=1 (a (b) c)\n").data.as_deref(), Some("a (b) c"));
        assert_eq!(reply("200 result=1 (a) b)\n").data.as_deref(), Some("a) b"));
        assert_eq!(reply("200 result=1 ()\n").data.as_deref(), Some(""));
        assert_eq!(reply("200 result=1 (one\ntwo\n\nthree)\n").data.as_deref(), Some("one\ntwo\n\nthree"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let unknown = reply("510 Invalid or unknown command\n");
        assert_eq!((unknown.code, unknown.text.as_str()), (510, "Invalid or unknown command"));
        assert_eq!(reply("511 Command Not Permitted on a dead channel or intercept routine\n").code, 511);
        let usage = reply(
            "520-Invalid command syntax.  Proper usage follows:\n Usage: ANSWER\n 200 result=0\n520 End of proper usage.\n",
        );
        assert_eq!(usage.code, 520);
        assert!(usage.text.contains("Usage: ANSWER"), "{}", usage.text);
        assert_eq!(replies("100 Trying...\nnoise\n"), []);
    }

    #[test]
    fn a_hang_up_is_seen_wherever_it_stands() {
        assert_eq!(replies("HANGUP\n"), [Item::HangUp]);
        let items = replies("HANGUP\n200 result=-1\n");
        assert!(matches!(items.as_slice(), [Item::HangUp, Item::Reply(_)]));
        let items = replies("520-Invalid\nHANGUP\n200 result=0\n");
        assert!(matches!(items.as_slice(), [Item::HangUp, Item::Reply(_)]), "{items:?}");
    }

    #[test]
    fn an_environment_without_end_is_refused() {
        let limits = Limits { headers: 3, environment: 50, ..Limits::default() };
        let read = |text: &str| {
            let mut parser = Parser::new(limits);
            parser.feed(text.as_bytes());
            parser.take()
        };
        assert!(matches!(read("a: 1\nb: 2\nc: 3\n\n"), Some(Item::Environment(_))));
        assert!(matches!(read("a: 1\nb: 2\nc: 3\nd: 4\n\n"), Some(Item::Refused(_))));
        assert!(matches!(read(&format!("a: {}\n\n", "x".repeat(60))), Some(Item::Refused(_))));
        assert!(matches!(read("\n"), Some(Item::Refused(_))));
    }

    proptest! {
        /// A split of the bytes makes no difference, and the memory has its limit.
        #[test]
        fn any_bytes_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), at in 0usize..2_000) {
            let limits = Limits { line: 100, headers: 10, environment: 300, waiting: 10 };
            for make in [Parser::new, Parser::of_replies] {
                let (mut whole, mut pieces) = (make(limits), make(limits));
                let at = at.min(bytes.len());
                whole.feed(&bytes);
                pieces.feed(&bytes[..at]);
                pieces.feed(&bytes[at..]);
                prop_assert!(whole.held() <= 8_192 + 300);
                loop {
                    let (a, b) = (whole.take(), pieces.take());
                    prop_assert_eq!(&a, &b);
                    if a.is_none() { break }
                }
            }
        }
    }
}
