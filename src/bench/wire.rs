//! How a caller of a benchmark reaches the engine: as Asterisk would.

use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd as _;

use super::peers::Target;
use super::player::Player;
use crate::audio::codec::Format;
use crate::rtp::packet::{Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::stamp::{self, ClockPair};
use crate::time::Moment;

/// Kinds of AudioSocket messages that are used here.
const KIND_UUID: u8 = 0x01;
const KIND_AUDIO: u8 = 0x10;

/// Bytes before the payload of a message.
const HEADER: usize = 3;

/// One caller's way to the engine.
pub(super) enum Wire {
    /// None, for as long as it is in use.
    None,
    /// Datagrams.
    Rtp(UdpSocket),
    /// AudioSocket: a connection that the caller opened.
    AudioSocket(Messages),
    /// WebSocket, and who plays what comes on it.
    WebSocket(Box<Player>),
}

/// An AudioSocket connection.
pub(super) struct Messages {
    stream: TcpStream,
    /// What came of a message that is not complete.
    partial: Vec<u8>,
    /// Audio messages that came.
    count: u32,
    /// Bytes of one: read one at a time, so that each has its own arrival.
    message: usize,
}

impl Wire {
    /// Sends what this RTP packet carries; whether it left.
    pub(super) fn send(&mut self, datagram: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Rtp(socket) => socket.send(datagram).is_ok(),
            Self::AudioSocket(messages) => messages.send(datagram),
            Self::WebSocket(player) => player.send(datagram),
        }
    }

    /// Reads all that has come, as RTP packets, each with its arrival.
    pub(super) fn read(&mut self, clock: ClockPair, out: &mut dyn FnMut(Moment, &Packet<'_>)) {
        let mut buffer = [0; 4_096];
        match self {
            Self::None => {}
            Self::Rtp(socket) => loop {
                match stamp::receive(socket.as_fd(), &mut buffer, clock) {
                    Ok((len, at)) => {
                        if let Ok(packet) = Packet::parse(&buffer[..len]) {
                            out(at, &packet);
                        }
                    }
                    // A port that was closed for a moment is no reason to stop.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    Err(_) => return,
                }
            },
            Self::AudioSocket(messages) => {
                let buffer = &mut buffer[..messages.message];
                while let Ok((len, at)) = stamp::receive(messages.stream.as_fd(), buffer, clock) {
                    if len == 0 {
                        return;
                    }
                    messages.partial.extend_from_slice(&buffer[..len]);
                    messages.take(at, out);
                }
            }
            Self::WebSocket(player) => player.play(Moment::now(), out),
        }
    }
}

impl Messages {
    /// Opens a connection and says which call it is for.
    pub(super) fn dial(target: &Target, format: Format) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stamp::enable(stream.as_fd())?;
        let digits: String =
            target.secret.iter().flat_map(|uuid| uuid.chars()).filter(|c| *c != '-').collect();
        let uuid = u128::from_str_radix(&digits, 16).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut message = vec![KIND_UUID, 0, 16];
        message.extend_from_slice(&uuid.to_be_bytes());
        stream.write_all(&message)?;
        stream.set_nonblocking(true)?;
        let message = HEADER + format.frame_bytes().ok_or(ErrorKind::InvalidInput)?;
        Ok(Self { stream, partial: Vec::with_capacity(4_096), count: 0, message })
    }

    fn send(&mut self, datagram: &[u8]) -> bool {
        let Ok(packet) = Packet::parse(datagram) else { return false };
        let Ok(len) = u16::try_from(packet.payload.len()) else { return false };
        let mut message = Vec::with_capacity(HEADER + packet.payload.len());
        message.push(KIND_AUDIO);
        message.extend_from_slice(&len.to_be_bytes());
        message.extend_from_slice(packet.payload);
        // In one go, or the engine has stalled and this is told by what it did not receive.
        self.stream.write(&message).is_ok_and(|written| written == message.len())
    }

    /// Whole messages as packets whose numbers are their count.
    fn take(&mut self, at: Moment, out: &mut dyn FnMut(Moment, &Packet<'_>)) {
        let mut rest = &self.partial[..];
        while let Some(head) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
            let Some(payload) = rest.get(HEADER..HEADER + len) else { break };
            if head[0] == KIND_AUDIO {
                #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
                let seq = Seq(self.count as u16);
                let timestamp = Timestamp(self.count.wrapping_mul(160));
                let (payload_type, ssrc) = (PayloadType::PCMU, Ssrc(0));
                let header = Header { marker: false, payload_type, seq, timestamp, ssrc };
                out(at, &Packet { header, payload });
                self.count += 1;
            }
            rest = &rest[HEADER + len..];
        }
        let left = rest.len();
        let taken = self.partial.len() - left;
        self.partial.drain(..taken);
    }
}
