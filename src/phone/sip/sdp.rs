//! Offer and answer about one audio stream (RFC 4566, RFC 3264): PCMU and telephone events.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The static payload type of PCMU.
pub const PCMU: u8 = 0;

/// The payload type that our offers use for telephone events.
pub const EVENTS: u8 = 101;

/// Which way audio flows, seen from who wrote the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer only sends: we are on hold.
    SendOnly,
    /// The writer only listens.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    /// The same seen from the other side (RFC 3264 section 6.1).
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What the other side's description means for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Where our audio goes. Port 0 or address 0.0.0.0: nowhere.
    pub address: SocketAddr,
    /// The payload type under which it takes telephone events, if it does.
    pub events: Option<u8>,
    /// As it wrote it.
    pub direction: Direction,
}

impl Remote {
    /// Whether audio may be sent there.
    #[must_use]
    pub fn wants_audio(&self) -> bool {
        let open = matches!(self.direction, Direction::SendRecv | Direction::RecvOnly);
        open && self.address.port() != 0 && !self.address.ip().is_unspecified()
    }
}

/// One `m=` line and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    /// The line itself without port: kind, protocol and formats, to refuse it in its place.
    kind: String,
    protocol: String,
    port: u16,
    formats: Vec<String>,
    address: Option<IpAddr>,
    events: Option<u8>,
    direction: Option<Direction>,
}

/// A session description as the other side sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    streams: Vec<Stream>,
    direction: Direction,
    address: Option<IpAddr>,
}

impl Description {
    /// Reads a description; [`None`] when it is not one. Unknown lines are skipped, as RFC 4566 asks.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut description = Self { streams: Vec::new(), direction: Direction::default(), address: None };
        if text.lines().next()?.trim() != "v=0" {
            return None;
        }
        for line in text.lines() {
            let Some((key, value)) = line.trim_end().split_once('=') else { continue };
            match key {
                "c" => {
                    let address = connection(value);
                    match description.streams.last_mut() {
                        Some(stream) => stream.address = address,
                        None => description.address = address,
                    }
                }
                "m" if description.streams.len() < 16 => description.streams.push(media_line(value)?),
                "a" => description.attribute(value),
                _ => {}
            }
        }
        Some(description)
    }

    fn attribute(&mut self, value: &str) {
        if let Some(direction) = Direction::parse(value) {
            match self.streams.last_mut() {
                Some(stream) => stream.direction = Some(direction),
                None => self.direction = direction,
            }
        }
        let Some(stream) = self.streams.last_mut() else { return };
        if let Some((payload, codec)) = value.strip_prefix("rtpmap:").and_then(|map| map.split_once(' '))
            && codec.trim().to_ascii_lowercase().starts_with("telephone-event/8000")
        {
            stream.events = payload.parse().ok();
        }
    }

    /// The first audio stream that can be PCMU; [`None`] when there is none.
    #[must_use]
    pub fn remote(&self) -> Option<Remote> {
        let stream = &self.streams[self.usable()?];
        let address = stream.address.or(self.address)?;
        Some(Remote {
            address: SocketAddr::new(address, stream.port),
            events: stream.events,
            direction: stream.direction.unwrap_or(self.direction),
        })
    }

    fn usable(&self) -> Option<usize> {
        let pcmu = PCMU.to_string();
        self.streams.iter().position(|s| {
            s.kind == "audio" && s.protocol == "RTP/AVP" && s.port != 0 && s.formats.contains(&pcmu)
        })
    }
}

fn connection(value: &str) -> Option<IpAddr> {
    value.split_whitespace().nth(2)?.split('/').next()?.parse().ok()
}

fn media_line(value: &str) -> Option<Stream> {
    let mut words = value.split_whitespace();
    Some(Stream {
        kind: words.next()?.to_owned(),
        port: words.next()?.split('/').next()?.parse().ok()?,
        protocol: words.next()?.to_owned(),
        formats: words.map(str::to_owned).collect(),
        address: None,
        events: None,
        direction: None,
    })
}

/// Our side of the session: writes offers and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Where we take RTP.
    pub address: SocketAddr,
    /// Names the session; any number.
    pub session: u64,
}

impl Local {
    /// An offer of PCMU and telephone events, both ways.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut text = self.head();
        self.stream(&mut text, Some(EVENTS), Direction::SendRecv);
        text
    }

    /// The answer to an offer: PCMU, telephone events under the other side's number, other streams refused in
    /// their places. [`None`] when nothing in the offer fits (488 is due).
    #[must_use]
    pub fn answer(&self, offer: &Description) -> Option<String> {
        let usable = offer.usable()?;
        let remote = offer.remote()?;
        let mut text = self.head();
        for (index, stream) in offer.streams.iter().enumerate() {
            if index == usable {
                self.stream(&mut text, remote.events, remote.direction.reversed());
            } else {
                let formats = stream.formats.join(" ");
                let _ = write!(text, "m={} 0 {} {formats}\r\n", stream.kind, stream.protocol);
            }
        }
        Some(text)
    }

    fn head(&self) -> String {
        let (kind, ip) = (if self.address.is_ipv4() { "IP4" } else { "IP6" }, self.address.ip());
        let id = self.session;
        format!("v=0\r\no=- {id} {id} IN {kind} {ip}\r\ns=offhook\r\nc=IN {kind} {ip}\r\nt=0 0\r\n")
    }

    fn stream(&self, text: &mut String, events: Option<u8>, direction: Direction) {
        // Writing to a String cannot fail.
        let port = self.address.port();
        let _ = match events {
            Some(events) => write!(
                text,
                "m=audio {port} RTP/AVP {PCMU} {events}\r\na=rtpmap:{PCMU} PCMU/8000\r\n\
                 a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-16\r\n"
            ),
            None => write!(text, "m=audio {port} RTP/AVP {PCMU}\r\na=rtpmap:{PCMU} PCMU/8000\r\n"),
        };
        let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction.word());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local() -> Local {
        Local { address: SocketAddr::from(([127, 0, 0, 1], 24_500)), session: 7 }
    }

    #[test]
    fn our_offer_reads_back() {
        let offer = Description::parse(local().offer().as_bytes()).expect("a description");
        let remote = offer.remote().expect("a stream");
        assert_eq!(remote.address, local().address);
        assert_eq!(remote.events, Some(EVENTS));
        assert!(remote.wants_audio());
    }

    #[test]
    fn an_answer_takes_the_audio_and_refuses_the_video_in_its_place() {
        let offer = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\n\
            m=video 9000 RTP/AVP 31\nm=audio 9002 RTP/AVP 8 0 96\nc=IN IP4 10.0.0.2\n\
            a=rtpmap:96 telephone-event/8000\na=sendonly\n";
        let offer = Description::parse(offer.as_bytes()).expect("a description");
        let remote = offer.remote().expect("a stream");
        assert_eq!(remote.address.to_string(), "10.0.0.2:9002");
        assert!(!remote.wants_audio());
        let answer = local().answer(&offer).expect("an answer");
        assert!(answer.contains("m=video 0 RTP/AVP 31\r\nm=audio 24500 RTP/AVP 0 96\r\n"), "{answer}");
        assert!(answer.contains("a=recvonly"), "{answer}");
    }

    #[test]
    fn an_offer_without_pcmu_has_no_answer() {
        let offer = "v=0\nc=IN IP4 10.0.0.1\nm=audio 9002 RTP/AVP 8\n";
        assert_eq!(local().answer(&Description::parse(offer.as_bytes()).expect("a description")), None);
    }

    #[test]
    fn a_stream_held_the_old_way_gets_no_audio() {
        let held = "v=0\nc=IN IP4 0.0.0.0\nm=audio 9002 RTP/AVP 0\n";
        let held = Description::parse(held.as_bytes()).and_then(|d| d.remote()).expect("a stream");
        assert!(!held.wants_audio());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in "v=0\n([cma]=[ -~]{0,40}\n){0,8}") {
            if let Some(offer) = Description::parse(body.as_bytes()) {
                let _ = (offer.remote(), local().answer(&offer));
            }
        }
    }
}
