//! Bytes in, messages out: AMI's lines without any I/O.
//!
//! What comes is `Key: value` lines up to an empty one. The parser takes what servers from 1.4 on really send: line
//! breaks inside values, a byte order mark, keys that come again, `Response: Follows` with its raw text, and
//! lines that end with a bare LF throughout. Its memory has a limit whatever comes: what is too long is cut, what
//! is too many left out, and the message says so ([`Message::is_whole`]); the ones after it are not harmed.

use std::collections::VecDeque;

use super::message::Message;

/// How much the parser holds of what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one line, its line end not counted; also of a value that is several lines.
    pub line: usize,
    /// Lines of one message.
    pub headers: usize,
    /// Bytes of all lines of one message.
    pub message: usize,
    /// Messages that wait to be taken. More are dropped and counted.
    pub waiting: usize,
}

impl Default for Limits {
    /// 64 KiB for a line, 65,536 lines and 4 MiB for a message: the longest that is known, the output of `dialplan show`
    /// on a large server, stays below.
    fn default() -> Self {
        Self { line: 64 << 10, headers: 65_536, message: 4 << 20, waiting: 65_536 }
    }
}

/// How this server ends its lines, decided by its first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineEnds {
    Unknown,
    /// As AMI should: a bare LF is then part of a value.
    CrLf,
    /// Every LF ends a line.
    Lf,
}

/// Where in a message the parser is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before the first line of all, which is the greeting.
    Greeting,
    /// In the lines of a message, or before it.
    Headers,
    /// In the raw text after `Response: Follows`.
    Output,
}

/// The parser of one connection.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    ends: LineEnds,
    place: Place,
    /// The line that is being read.
    line: Vec<u8>,
    /// Something of the current line did not fit.
    line_cut: bool,
    /// The last byte that came of the current line, kept or not.
    last: u8,
    message: Message,
    /// Bytes in `message`.
    size: usize,
    /// `Response: Follows` was read and the raw text has not begun.
    follows: bool,
    greeting: Option<String>,
    done: VecDeque<Message>,
    dropped: u64,
}

/// Ends the raw text of old servers.
const END_COMMAND: &str = "--END COMMAND--";

impl Parser {
    /// A parser for the bytes of a connection from its first one on.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ends: LineEnds::Unknown,
            place: Place::Greeting,
            line: Vec::new(),
            line_cut: false,
            last: 0,
            message: Message::default(),
            size: 0,
            follows: false,
            greeting: None,
            done: VecDeque::new(),
            dropped: 0,
        }
    }

    /// The server's first line, `Asterisk Call Manager/9.0.0`, once it is there.
    #[must_use]
    pub fn greeting(&self) -> Option<&str> {
        self.greeting.as_deref()
    }

    /// Messages that were dropped because nobody took the ones before them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes that are held, roughly: of the message that is being read, not of those that wait to be taken.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.capacity() + self.size
    }

    /// Takes what was received. Any split is fine.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.line_is_over();
        }
        self.add(bytes);
    }

    /// The next message, if one is whole.
    pub fn take(&mut self) -> Option<Message> {
        self.done.pop_front()
    }

    fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.last = *last;
        // One more than the limit: a line of just that length has its CR besides.
        let room = (self.limits.line + 1).saturating_sub(self.line.len());
        self.line_cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A LF came.
    fn line_is_over(&mut self) {
        let crlf = std::mem::take(&mut self.last) == b'\r';
        if self.ends == LineEnds::Unknown {
            self.ends = if crlf { LineEnds::CrLf } else { LineEnds::Lf };
        }
        let inside_value = self.ends == LineEnds::CrLf
            && !crlf
            && self.place == Place::Headers
            && !self.follows
            && !self.line.is_empty();
        if inside_value {
            self.add(b"\n");
            return;
        }
        if crlf && !self.line_cut {
            self.line.pop();
        }
        if self.line.len() > self.limits.line {
            self.line.truncate(self.limits.line);
            self.line_cut = true;
        }
        let bytes = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.line_cut);
        {
            let text = String::from_utf8_lossy(&bytes);
            // Some servers begin what they read from a UTF-8 file with the mark of that file.
            self.one_line(text.trim_start_matches('\u{feff}'), cut);
        }
        if bytes.capacity() <= 4_096 {
            // The buffer is good for the next line.
            self.line = bytes;
            self.line.clear();
        }
    }

    fn one_line(&mut self, text: &str, cut: bool) {
        self.message.whole &= !cut;
        match self.place {
            Place::Greeting => {
                self.place = Place::Headers;
                if text.contains(": ") && !text.contains("Call Manager") {
                    // No greeting: some proxies leave it out.
                    self.header(text);
                } else {
                    self.greeting = Some(text.trim().to_owned());
                    self.message = Message::default();
                }
            }
            Place::Headers if self.follows && !is_head_of_output(text) => {
                self.place = Place::Output;
                self.output(text);
            }
            Place::Headers => self.header(text),
            Place::Output => self.output(text),
        }
    }

    fn header(&mut self, text: &str) {
        if text.is_empty() {
            return self.message_is_over();
        }
        match split(text) {
            Some((key, value)) => {
                if self.message.is_empty()
                    && key.eq_ignore_ascii_case("Response")
                    && value.eq_ignore_ascii_case("Follows")
                {
                    self.follows = true;
                }
                self.push(key, value);
            }
            // The rest of a value that has a line break in it, from a server whose lines end with LF.
            None => self.push_more(text),
        }
    }

    fn output(&mut self, text: &str) {
        let text = text.trim_end_matches('\r');
        if let Some(rest) = text.strip_suffix(END_COMMAND) {
            if !rest.is_empty() {
                self.push("Output", rest);
            }
            self.place = Place::Headers;
            self.follows = false;
        } else {
            self.push("Output", text);
        }
    }

    fn push(&mut self, key: &str, value: &str) {
        let size = key.len() + value.len();
        if self.message.len() >= self.limits.headers || self.size + size > self.limits.message {
            self.message.whole = false;
            return;
        }
        self.size += size;
        self.message.push(key, value);
    }

    fn push_more(&mut self, text: &str) {
        let fits = self.size + text.len() < self.limits.message;
        match self.message.last_value_mut() {
            Some(value) if fits && value.len() + text.len() < self.limits.line => {
                value.push('\n');
                value.push_str(text);
                self.size += text.len() + 1;
            }
            Some(_) => self.message.whole = false,
            // A line before any key: noise.
            None => self.message.whole = false,
        }
    }

    fn message_is_over(&mut self) {
        self.follows = false;
        self.size = 0;
        let message = std::mem::take(&mut self.message);
        if message.is_empty() {
            return;
        }
        if self.done.len() >= self.limits.waiting {
            self.dropped += 1;
        } else {
            self.done.push_back(message);
        }
    }
}

/// Key and value of a line. A key has no spaces but in a few old names (`Ping Interval`), and is short.
fn split(text: &str) -> Option<(&str, &str)> {
    const LONGEST_KEY: usize = 128;
    let (key, value) = text.split_once(':')?;
    let fine = !key.is_empty()
        && key.len() <= LONGEST_KEY
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.()@/\\ ".contains(&byte))
        && !key.starts_with(' ');
    let value = value.strip_prefix(' ').unwrap_or(value).trim_start_matches('\u{feff}');
    fine.then(|| (key.trim_end(), value))
}

/// The only lines that stand between `Response: Follows` and the raw text.
fn is_head_of_output(text: &str) -> bool {
    split(text).is_some_and(|(key, _)| ["Privilege", "ActionID", "Message"].contains(&key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<Message> {
        let mut parser = Parser::new(Limits::default());
        parser.feed(text.as_bytes());
        std::iter::from_fn(|| parser.take()).collect()
    }

    const HELLO: &str = "Asterisk Call Manager/9.0.0\r\n";

    #[test]
    fn a_message_is_its_lines_up_to_an_empty_one() {
        let mut parser = Parser::new(Limits::default());
        parser.feed(format!("{HELLO}Response: Success\r\nActionID: 1\r\nMess").as_bytes());
        assert_eq!(parser.greeting(), Some("Asterisk Call Manager/9.0.0"));
        assert_eq!(parser.take(), None);
        parser.feed(b"age: Pong: really\r\n\r\nEvent: X\r\n\r\n");
        let first = parser.take().unwrap();
        assert_eq!(first.get("message"), Some("Pong: really"));
        assert_eq!(parser.take().unwrap().event(), Some("X"));
    }

    #[test]
    fn a_server_that_ends_its_lines_with_lf_is_understood() {
        let messages = parse("Asterisk Call Manager/1.0\nEvent: A\nK: v\n\nEvent: B\nAppData: one\n two\n\n");
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].get("K"), Some("v"));
        assert_eq!(messages[1].get("AppData"), Some("one\n two"));
    }

    #[test]
    fn line_breaks_inside_a_value_end_neither_it_nor_the_message() {
        let messages = parse(&format!(
            "{HELLO}Event: VarSet\r\nValue: one\nResponse: two\n\nthree\r\nUniqueid: 1.1\r\n\r\nEvent: B\r\n\r\n"
        ));
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0].get("Value"), Some("one\nResponse: two\n\nthree"));
        assert_eq!(messages[0].get("Uniqueid"), Some("1.1"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_key_or_a_value() {
        let messages = parse(&format!("\u{feff}{HELLO}\u{feff}Event: A\r\nName: \u{feff}Zoë\r\n\r\n"));
        assert_eq!(messages[0].event(), Some("A"));
        assert_eq!(messages[0].get("Name"), Some("Zoë"));
    }

    #[test]
    fn keys_that_come_again_are_all_kept_in_order() {
        let messages = parse(&format!(
            "{HELLO}Event: A\r\nChanVariable: a=1\r\nChanVariable: b=x=y\r\nVariable: z\r\n\r\n"
        ));
        assert_eq!(messages[0].all("ChanVariable").collect::<Vec<_>>(), ["a=1", "b=x=y"]);
        assert_eq!(messages[0].variables().collect::<Vec<_>>(), [("a", "1"), ("b", "x=y")]);
    }

    #[test]
    fn the_output_of_a_command_is_the_same_from_old_and_new_servers() {
        let old = "Response: Follows\r\nPrivilege: Command\r\nActionID: 7\r\nUser: a\n\nlast: b\n--END COMMAND--\r\n\r\nEvent: N\r\n\r\n";
        let new = "Response: Success\r\nActionID: 7\r\nMessage: Command output follows\r\nOutput: User: a\r\nOutput: \r\nOutput: last: b\r\n\r\nEvent: N\r\n\r\n";
        for text in [old, new] {
            let messages = parse(&format!("{HELLO}{text}"));
            assert_eq!(messages.len(), 2, "{messages:?}");
            assert_eq!(messages[0].all("Output").collect::<Vec<_>>(), ["User: a", "", "last: b"]);
            assert_eq!(messages[0].action_id(), Some("7"));
            assert!(messages[0].is_success());
        }
        let joined = parse(&format!(
            "{HELLO}Response: Follows\r\nPrivilege: Command\r\nno end--END COMMAND--\r\n\r\n"
        ));
        assert_eq!(joined[0].all("Output").collect::<Vec<_>>(), ["no end"]);
    }

    #[test]
    fn what_is_at_a_limit_passes_and_one_more_is_cut_and_told() {
        let limits = Limits { line: 20, headers: 3, message: 40, waiting: 2 };
        let read = |text: &str| {
            let mut parser = Parser::new(limits);
            parser.feed(b"AMI\r\n");
            parser.feed(text.as_bytes());
            let messages: Vec<Message> = std::iter::from_fn(|| parser.take()).collect();
            (messages, parser.dropped())
        };
        let (messages, _) = read("Event: 123456789012\r\n\r\n");
        assert!(messages[0].is_whole() && messages[0].event() == Some("123456789012"));
        let (messages, _) = read("Event: 12345678901234567\r\n\r\nEvent: B\r\n\r\n");
        assert!(!messages[0].is_whole());
        assert!(messages[1].is_whole() && messages[1].event() == Some("B"));
        let (messages, _) = read("A: 1\r\nB: 2\r\nC: 3\r\n\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n");
        assert!(messages[0].is_whole() && !messages[1].is_whole());
        assert_eq!(messages[1].len(), 3);
        let (messages, dropped) = read("A: 1\r\n\r\nA: 1\r\n\r\nA: 1\r\n\r\n");
        assert_eq!((messages.len(), dropped), (2, 1));
    }

    proptest! {
        /// A split of the bytes makes no difference, and the memory has its limit.
        #[test]
        fn any_bytes_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), at in 0usize..2_000) {
            let limits = Limits { line: 100, headers: 10, message: 300, waiting: 10 };
            let (mut whole, mut pieces) = (Parser::new(limits), Parser::new(limits));
            let at = at.min(bytes.len());
            whole.feed(&bytes);
            pieces.feed(&bytes[..at]);
            pieces.feed(&bytes[at..]);
            prop_assert!(whole.held() <= 4_096 + 300);
            loop {
                let (a, b) = (whole.take(), pieces.take());
                prop_assert_eq!(&a, &b);
                if a.is_none() { break }
            }
        }
    }
}
