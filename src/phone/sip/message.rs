//! SIP messages as text (RFC 3261 sections 7, 20 and 25).
//!
//! Header values stay text; the few parts that a telephone needs (tags, branches, URIs) are picked out of them on
//! demand. Reading is bounded: a datagram, [`MAX_HEADERS`] headers.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// More header lines than this and a message is refused.
pub const MAX_HEADERS: usize = 128;

/// Why a datagram is no SIP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Not text where text is due.
    #[error("the head is not UTF-8")]
    NotText,
    /// Neither `METHOD uri SIP/2.0` nor `SIP/2.0 code reason`.
    #[error("the first line is neither a request nor a response")]
    StartLine,
    /// A header line without a colon, or too many of them.
    #[error("header line {0} is not one")]
    Header(usize),
    /// One of the headers that every message has.
    #[error("{0} is missing or unreadable")]
    Missing(&'static str),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request {
        /// `INVITE`, `ACK`, …
        method: String,
        /// Whom it is for.
        uri: String,
    },
    /// A response.
    Response {
        /// 100 to 699.
        code: u16,
        /// The words behind the code.
        reason: String,
    },
}

/// A message: first line, headers in order, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: Start,
    /// Header names in their long form, and their values.
    pub headers: Vec<(String, String)>,
    /// What follows the empty line, as far as Content-Length says.
    pub body: Vec<u8>,
}

/// Compact header names (RFC 3261 section 7.3.3 and later ones).
const COMPACT: &[(&str, &str)] = &[
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("e", "Content-Encoding"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("f", "From"),
    ("s", "Subject"),
    ("k", "Supported"),
    ("t", "To"),
    ("v", "Via"),
    ("x", "Session-Expires"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("u", "Allow-Events"),
];

impl Message {
    /// A request with no headers yet.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        let start = Start::Request { method: method.to_owned(), uri: uri.to_owned() };
        Self { start, headers: Vec::new(), body: Vec::new() }
    }

    /// The response `code` to `request`: Via, From, To, Call-ID and CSeq are the request's (section 8.2.6); To gets
    /// `tag` unless it has one or the response is 100.
    #[must_use]
    pub fn response(request: &Self, code: u16, reason: &str, tag: &str) -> Self {
        let start = Start::Response { code, reason: reason.to_owned() };
        let mut response = Self { start, headers: Vec::new(), body: Vec::new() };
        for (name, value) in &request.headers {
            let copied = match name.as_str() {
                "Via" | "From" | "Call-ID" | "CSeq" => value.clone(),
                "Record-Route" if (101..300).contains(&code) => value.clone(),
                "To" if code > 100 && param(value, "tag").is_none() => format!("{value};tag={tag}"),
                "To" => value.clone(),
                _ => continue,
            };
            response.headers.push((name.clone(), copied));
        }
        response
    }

    /// Adds a header at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        self.body = body.into();
        self
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`BadMessage`] says what is wrong; the right answer to it is to drop the datagram.
    pub fn parse(datagram: &[u8]) -> Result<Self, BadMessage> {
        let (head, body) = split_head(datagram);
        let head = std::str::from_utf8(head).map_err(|_| BadMessage::NotText)?;
        // Keep-alives of some peers begin with empty lines (section 7.5).
        let mut lines = head.trim_start_matches(['\r', '\n']).lines();
        let start = parse_start(lines.next().unwrap_or_default()).ok_or(BadMessage::StartLine)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for (index, line) in lines.enumerate() {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or(BadMessage::Header(index + 1))?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(BadMessage::Header(index + 1))?;
            if headers.len() == MAX_HEADERS || name.trim().is_empty() {
                return Err(BadMessage::Header(index + 1));
            }
            headers.push((long_name(name.trim()), value.trim().to_owned()));
        }
        let mut message = Self { start, headers, body: body.to_vec() };
        for name in ["Via", "From", "To", "Call-ID"] {
            message.header(name).ok_or(BadMessage::Missing(name))?;
        }
        message.cseq().ok_or(BadMessage::Missing("CSeq"))?;
        if let Some(length) = message.header("Content-Length") {
            let length = length.parse::<usize>().map_err(|_| BadMessage::Missing("Content-Length"))?;
            message.body.truncate(length);
        }
        message.headers.retain(|(name, _)| name != "Content-Length");
        Ok(message)
    }

    /// The message as it goes on the wire, with Content-Length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { code, reason } => format!("SIP/2.0 {code} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The first header of that name (long form, any case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All headers of that name (long form, any case).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Replaces the first header of that name.
    pub fn set(&mut self, name: &str, value: String) {
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    /// The method of a request; of a response, the one that its CSeq names.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().map_or("", |(_, method)| method),
        }
    }

    /// The code of a response.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match &self.start {
            Start::Response { code, .. } => Some(*code),
            Start::Request { .. } => None,
        }
    }

    /// Number and method of CSeq.
    #[must_use]
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once([' ', '\t'])?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The branch of the topmost Via: names the transaction.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        param(self.header("Via")?, "branch")
    }

    /// The tag of From or To.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        param(self.header(name)?, "tag")
    }

    /// The cause of Q.850 that a Reason header gives (RFC 3326).
    #[must_use]
    pub fn q850(&self) -> Option<u16> {
        let reason = self.all("Reason").find(|r| r.trim_start().to_ascii_lowercase().starts_with("q.850"))?;
        param(reason, "cause")?.parse().ok()
    }

    /// Notes in the topmost Via where the request really came from (section 18.2.1, RFC 3581), and gives the
    /// address that responses go to.
    pub fn note_source(&mut self, source: SocketAddr) -> SocketAddr {
        let Some(via) = self.header("Via") else { return source };
        // A Via may list several hops; only the first one is ours to mark.
        let (first, rest) = via.split_once(',').map_or((via, None), |(a, b)| (a, Some(b)));
        let wants_rport = params(first).any(|(name, _)| name.eq_ignore_ascii_case("rport"));
        let sent_by = first.split_whitespace().nth(1).and_then(|s| s.split(';').next()).unwrap_or_default();
        let to = if wants_rport {
            source
        } else {
            SocketAddr::new(source.ip(), split_host_port(sent_by).1.unwrap_or(5060))
        };
        let mut marked = first.split(';').next().unwrap_or_default().trim_end().to_owned();
        for (name, value) in params(first) {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("received") || is("rport") {
                continue;
            }
            let _ = match value {
                Some(value) => write!(marked, ";{name}={value}"),
                None => write!(marked, ";{name}"),
            };
        }
        let _ = write!(marked, ";received={}", source.ip());
        if wants_rport {
            let _ = write!(marked, ";rport={}", source.port());
        }
        if let Some(rest) = rest {
            let _ = write!(marked, ",{rest}");
        }
        self.set("Via", marked);
        to
    }
}

/// The parameters behind a header value: what follows its address.
fn params(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    // Parameters inside <…> are the URI's, not the header's; a quoted name may hold anything.
    let tail = value.rfind('>').map_or(value, |end| &value[end + 1..]);
    tail.split(';').skip(1).map(|p| match p.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.split(',').next().unwrap_or_default().trim())),
        None => (p.split(',').next().unwrap_or_default().trim(), None),
    })
}

/// The value of a parameter of a header value, such as the tag of From.
#[must_use]
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    params(value).find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v)
}

/// The URI of a From, To, Contact or Route value: inside the angle brackets if there are any.
#[must_use]
pub fn uri_of(value: &str) -> &str {
    match value.rfind('<') {
        Some(open) => {
            let inner = &value[open + 1..];
            inner.find('>').map_or(inner, |close| &inner[..close])
        }
        None => value.split([';', ',']).next().unwrap_or_default().trim(),
    }
}

/// The user of a SIP URI, if it names one.
#[must_use]
pub fn user_of(uri: &str) -> Option<&str> {
    let rest = uri.split_once(':')?.1;
    rest.split_once('@').map(|(user, _)| user.split([';', ':']).next().unwrap_or_default())
}

/// Where requests to a SIP URI go, when its host is an IP address: port 5060 unless it says another one.
#[must_use]
pub fn address_of(uri: &str) -> Option<SocketAddr> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") {
        return None;
    }
    let host_port = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, port) = split_host_port(host_port.split([';', '?']).next().unwrap_or_default());
    let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, port.unwrap_or(5060)))
}

fn split_host_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, port.trim().parse().ok()),
        _ => (text, None),
    }
}

fn split_head(datagram: &[u8]) -> (&[u8], &[u8]) {
    // Leading empty lines are not the end of the head.
    let start = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(datagram.len());
    let rest = &datagram[start..];
    if let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") {
        return (&rest[..end], &rest[end + 4..]);
    }
    match rest.windows(2).position(|w| w == b"\n\n") {
        Some(end) => (&rest[..end], &rest[end + 2..]),
        None => (rest, &[]),
    }
}

fn parse_start(line: &str) -> Option<Start> {
    if let Some(status) = line.strip_prefix("SIP/2.0 ") {
        let (code, reason) = status.split_once(' ').unwrap_or((status, ""));
        let code = code.parse().ok().filter(|c| (100..700).contains(c))?;
        return Some(Start::Response { code, reason: reason.trim().to_owned() });
    }
    let mut words = line.split(' ');
    let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
    let is_token =
        !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b));
    let complete = words.next().is_none() && version == "SIP/2.0" && uri.contains(':');
    (is_token && complete).then(|| Start::Request { method: method.to_owned(), uri: uri.to_owned() })
}

fn long_name(name: &str) -> String {
    if let Some((_, long)) = COMPACT.iter().find(|(short, _)| name.eq_ignore_ascii_case(short)) {
        return (*long).to_owned();
    }
    // The names that the code compares exactly, whatever the peer's case.
    const KNOWN: &[&str] =
        &["Via", "From", "To", "Call-ID", "CSeq", "Record-Route", "Content-Length", "Contact"];
    KNOWN
        .iter()
        .find(|known| name.eq_ignore_ascii_case(known))
        .map_or_else(|| name.to_owned(), |k| (*k).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INVITE: &str = "INVITE sip:x@127.0.0.1:24900 SIP/2.0\r\n\
        v: SIP/2.0/UDP 127.0.0.1:24000;rport;branch=z9hG4bKPj1\r\n\
        f: \"A; B <c>\" <sip:100@127.0.0.1;p=1>;tag=abc\r\n\
        t: <sip:x@127.0.0.1>\r\n\
        i: 1@here\r\n\
        CSEQ: 7 INVITE\r\n\
        Subject: folded\r\n  twice\r\n\
        l: 4\r\n\r\nv=0\nrubbish";

    #[test]
    fn compact_folded_and_oddly_cased_headers_are_read() {
        let invite = Message::parse(INVITE.as_bytes()).expect("a message");
        assert_eq!(invite.method(), "INVITE");
        assert_eq!(invite.cseq(), Some((7, "INVITE")));
        assert_eq!(invite.branch(), Some("z9hG4bKPj1"));
        assert_eq!(invite.tag("From"), Some("abc"));
        assert_eq!(invite.tag("To"), None);
        assert_eq!(uri_of(invite.header("from").expect("From")), "sip:100@127.0.0.1;p=1");
        assert_eq!(invite.header("subject"), Some("folded twice"));
        assert_eq!(invite.body, b"v=0\n");
        assert_eq!(Message::parse(&invite.to_bytes()), Ok(invite));
    }

    #[test]
    fn a_response_carries_what_the_request_says_and_our_tag() {
        let invite = Message::parse(INVITE.as_bytes()).expect("a message");
        let trying = Message::response(&invite, 100, "Trying", "me");
        assert_eq!(trying.tag("To"), None);
        let ok = Message::response(&invite, 200, "OK", "me");
        assert_eq!(ok.tag("To"), Some("me"));
        assert_eq!(ok.cseq(), Some((7, "INVITE")));
        assert_eq!(ok.branch(), invite.branch());
    }

    #[test]
    fn responses_go_where_the_request_came_from_when_asked_by_rport() {
        let source = "127.0.0.1:4444".parse().expect("an address");
        let mut invite = Message::parse(INVITE.as_bytes()).expect("a message");
        assert_eq!(invite.note_source(source), source);
        assert_eq!(invite.branch(), Some("z9hG4bKPj1"));
        assert_eq!(param(invite.header("Via").expect("Via"), "rport"), Some("4444"));
        let mut old = Message::parse(INVITE.replace(";rport", "").as_bytes()).expect("a message");
        assert_eq!(old.note_source(source).port(), 24_000);
    }

    #[test]
    fn addresses_are_read_from_uris() {
        let of = |uri| address_of(uri).map(|a| a.to_string());
        assert_eq!(of("sip:100@127.0.0.1:24000;transport=udp"), Some("127.0.0.1:24000".into()));
        assert_eq!(of("sip:127.0.0.1"), Some("127.0.0.1:5060".into()));
        assert_eq!(of("sip:a@[::1]:6000"), Some("[::1]:6000".into()));
        assert_eq!(of("sip:a@[::1]"), Some("[::1]:5060".into()));
        assert_eq!(of("sips:a@127.0.0.1"), None);
        assert_eq!(of("sip:a@example.org"), None);
        assert_eq!(user_of("sip:100;x=1@127.0.0.1"), Some("100"));
        assert_eq!(user_of("sip:127.0.0.1"), None);
    }

    #[test]
    fn q850_causes_are_read() {
        let bye = Message::request("BYE", "sip:x").with("Reason", "Q.850;cause=16;text=\"Normal\"");
        assert_eq!(bye.q850(), Some(16));
    }

    fn exercise(bytes: &[u8]) {
        if let Ok(mut message) = Message::parse(bytes) {
            let _ = (message.branch(), message.tag("To"), message.q850(), message.method().len());
            let _ = message.header("Contact").map(|c| (address_of(uri_of(c)), user_of(uri_of(c))));
            let _ = message.note_source(SocketAddr::from(([127, 0, 0, 1], 1)));
            let _ = Message::response(&message, 200, "OK", "tag").to_bytes();
            let _ = Message::parse(&message.to_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            exercise(&bytes);
        }

        #[test]
        fn damaged_messages_are_read_or_refused(
            cuts in proptest::collection::vec((0..INVITE.len(), any::<u8>()), 0..12),
            length in 0..INVITE.len(),
        ) {
            let mut bytes = INVITE.as_bytes().to_vec();
            for (at, byte) in cuts {
                bytes[at] = byte;
            }
            bytes.truncate(length.max(1));
            exercise(&bytes);
        }
    }
}
