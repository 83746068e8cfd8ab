//! A caller of a benchmark over WebSocket: does what Asterisk's chan_websocket.c does with what it gets.
//!
//! It queues what comes and plays a frame every 20 ms by its own clock, tells when playout reaches a mark, and throws its
//! queue away when it is told to. What it had nothing to play for counts as lost.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};

use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::peers::Target;
use crate::audio::PTIME;
use crate::audio::codec::Format;
use crate::media::link::SECRET;
use crate::rtp::packet::{Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::Moment;

/// The subprotocol of Asterisk's media.
const PROTOCOL: HeaderValue = HeaderValue::from_static("media");

/// A connection, and what is queued behind it.
pub(super) struct Player {
    socket: WebSocket<TcpStream>,
    queue: VecDeque<Queued>,
    /// When the next frame is due, once there was one.
    due: Option<Moment>,
    /// Frames that were due.
    count: u32,
    samples: u32,
}

enum Queued {
    Audio(Vec<u8>),
    Mark(String),
}

impl Player {
    /// Connects to the engine, as Asterisk does by its websocket_client.conf.
    pub(super) fn dial(target: &Target, format: Format) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        let secret = target.secret.as_deref().unwrap_or_default();
        let uri = format!("ws://{}/media?{SECRET}={secret}", target.address);
        let mut request =
            tungstenite::client::IntoClientRequest::into_client_request(uri).map_err(io::Error::other)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        let (socket, _) = tungstenite::client(request, stream).map_err(io::Error::other)?;
        Self::new(socket, format)
    }

    /// Awaits the engine, as Asterisk's web server does.
    pub(super) fn accept(listener: &TcpListener, format: Format) -> io::Result<Self> {
        let (stream, _) = listener.accept()?;
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let answer = |_: &Request, mut response: Response| {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, answer).map_err(io::Error::other)?;
        Self::new(socket, format)
    }

    fn new(mut socket: WebSocket<TcpStream>, format: Format) -> io::Result<Self> {
        socket.get_ref().set_nodelay(true)?;
        let start = format!(
            "MEDIA_START connection_id:c channel:WebSocket/bench channel_id:bench format:{} optimal_frame_size:{} ptime:20",
            format.name(),
            format.frame_bytes().unwrap_or(0),
        );
        socket.send(Message::text(start)).map_err(io::Error::other)?;
        socket.get_ref().set_nonblocking(true)?;
        let samples = format.rtp_clock() / 50;
        Ok(Self { socket, queue: VecDeque::with_capacity(64), due: None, count: 0, samples })
    }

    /// Sends what this RTP packet carries; whether it left.
    pub(super) fn send(&mut self, datagram: &[u8]) -> bool {
        let Ok(packet) = Packet::parse(datagram) else { return false };
        // In one go, or the engine has stalled and this is told by what it did not receive.
        self.socket.send(Message::binary(packet.payload.to_vec())).is_ok()
    }

    /// Takes what has come and plays what is due, as packets whose numbers are their count.
    pub(super) fn play(&mut self, now: Moment, out: &mut dyn FnMut(Moment, &Packet<'_>)) {
        while let Some(message) = self.next() {
            match message {
                Message::Binary(audio) => {
                    self.due.get_or_insert(now + PTIME);
                    self.queue.push_back(Queued::Audio(audio.to_vec()));
                }
                Message::Text(command) => self.command(&command),
                _ => {}
            }
        }
        while let Some(due) = self.due.filter(|due| *due <= now) {
            self.due = Some(due + PTIME);
            self.play_one(due, out);
        }
        // What cannot leave now leaves with what is sent next.
        let _ = self.socket.flush();
    }

    fn next(&mut self) -> Option<Message> {
        match self.socket.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => self.next(),
            // Nothing more has come, or it has ended, which is told by what does not come.
            message => message.ok(),
        }
    }

    fn play_one(&mut self, at: Moment, out: &mut dyn FnMut(Moment, &Packet<'_>)) {
        let number = self.count;
        self.count += 1;
        while let Some(queued) = self.queue.pop_front() {
            match queued {
                Queued::Mark(id) => self.tell(&format!("MEDIA_MARK_PROCESSED {id}")),
                Queued::Audio(payload) => {
                    #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
                    let seq = Seq(number as u16);
                    let timestamp = Timestamp(number.wrapping_mul(self.samples));
                    let (payload_type, ssrc) = (PayloadType::PCMU, Ssrc(0));
                    let header = Header { marker: false, payload_type, seq, timestamp, ssrc };
                    out(at, &Packet { header, payload: &payload });
                    return;
                }
            }
        }
    }

    fn command(&mut self, command: &str) {
        match command.split_once(' ') {
            Some(("MARK_MEDIA", id)) => self.queue.push_back(Queued::Mark(id.to_owned())),
            None if command == "FLUSH_MEDIA" => self.queue.clear(),
            _ => {}
        }
    }

    fn tell(&mut self, text: &str) {
        // A connection that takes nothing any more is told by what does not come on it.
        let _ = self.socket.write(Message::text(text));
    }
}
