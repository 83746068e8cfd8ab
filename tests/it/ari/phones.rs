//! A telephone of a few lines, that shows every SIP message: what an operation did is what it heard.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Ears;

pub struct Phone {
    socket: UdpSocket,
    asterisk: SocketAddr,
    call: String,
    sequence: u32,
    /// The `To` of the dialog, once it has a tag.
    to: String,
    pub ears: Ears,
}

static COUNT: AtomicU32 = AtomicU32::new(1);

impl Phone {
    pub async fn new(asterisk: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let call = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { socket, asterisk, call, sequence: 1, to: String::new(), ears: Ears::open() }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Calls a number without waiting for anything.
    pub async fn call(&mut self, number: &str) {
        self.to = format!("<sip:{number}@{}>", self.asterisk);
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
            self.ears.address().port()
        );
        self.request("INVITE", "Content-Type: application/sdp\r\n", &sdp).await;
    }

    /// Sends a request inside the call.
    pub async fn request(&mut self, method: &str, headers: &str, body: &str) {
        let uri = self.to.trim_start_matches('<').split('>').next().unwrap().to_owned();
        let me = self.address();
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{}-{};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:it@{me}>;tag=it\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContact: <sip:it@{me}>\r\n\
             {headers}Content-Length: {}\r\n\r\n{body}",
            self.call,
            self.sequence,
            self.to,
            self.call,
            self.sequence,
            body.len()
        );
        if method != "ACK" {
            self.sequence += 1;
        }
        self.socket.send_to(text.as_bytes(), self.asterisk).await.unwrap();
    }

    /// Waits for a message that begins with `start`, and answers the requests that come.
    pub async fn expect(&mut self, start: &str) -> String {
        loop {
            let text = self.message(start).await;
            if let Some(to) =
                header(&text, "To").filter(|to| text.starts_with("SIP/2.0") && to.contains(";tag="))
            {
                self.to = to;
            }
            if text.starts_with("SIP/2.0 200") && header(&text, "CSeq").is_some_and(|c| c.ends_with("INVITE"))
            {
                self.sequence -= 1;
                self.request("ACK", "", "").await;
                self.sequence += 1;
            }
            if !text.starts_with("SIP/2.0") && !text.starts_with("ACK") {
                self.agree(&text).await;
            }
            if text.starts_with(start) {
                return text;
            }
        }
    }

    async fn message(&self, wanted: &str) -> String {
        let mut packet = vec![0; 8_192];
        let received = tokio::time::timeout(Duration::from_secs(10), self.socket.recv(&mut packet)).await;
        let length = received.unwrap_or_else(|_| panic!("no {wanted} within 10 s")).unwrap();
        String::from_utf8_lossy(&packet[..length]).into_owned()
    }

    /// Answers a request with 200.
    async fn agree(&self, request: &str) {
        let kept = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|name| format!("{name}: {}\r\n", header(request, name).unwrap_or_default()));
        let answer = format!(
            "SIP/2.0 200 OK\r\n{}Contact: <sip:it@{}>\r\nContent-Length: 0\r\n\r\n",
            kept.concat(),
            self.address()
        );
        self.socket.send_to(answer.as_bytes(), self.asterisk).await.unwrap();
    }
}

/// The value of a header.
pub fn header(message: &str, name: &str) -> Option<String> {
    let lines = message.lines().take_while(|line| !line.is_empty());
    let mut found =
        lines.filter_map(|line| line.split_once(':')).filter(|(n, _)| n.trim().eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}
