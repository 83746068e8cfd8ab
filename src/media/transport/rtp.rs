//! A call over RTP: the receive stream on one side, the sender on the other.

use crate::audio::codec::Format;
use crate::rtp::PayloadType;
use crate::rtp::carriage::Carriage;
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::sender::Sender;
use crate::rtp::stream::ReceiveStream;

/// What the format's payloads are like. Both laws are understood beside it: a far end may send what it likes better.
const fn carriage(format: Format) -> Carriage {
    match format {
        Format::Ulaw => Carriage::PCMU,
        Format::Alaw => Carriage::PCMA,
        Format::Slin => Carriage::SLIN,
        Format::Slin16 => Carriage::SLIN16,
        Format::G722 => Carriage::G722,
        Format::Opus => Carriage::OPUS,
    }
}

/// One call's RTP, without its socket.
pub(in crate::media) struct Rtp {
    pub(in crate::media) stream: ReceiveStream,
    sender: Sender,
    /// 20 ms in the RTP clock.
    step: u32,
}

impl Rtp {
    pub(in crate::media) fn new(format: Format, key_events: PayloadType) -> Self {
        let payload_type = PayloadType::new(format.payload_type()).unwrap_or(PayloadType::PCMU);
        Self {
            stream: ReceiveStream::carrying(&[Carriage::PCMU, Carriage::PCMA, carriage(format)], key_events),
            sender: Sender::new(payload_type),
            step: format.rtp_clock() / 50,
        }
    }

    /// The header of the next packet of 20 ms, after `skipped` ticks without one.
    pub(in crate::media) fn header(&mut self, skipped: u64) -> [u8; HEADER_LEN] {
        self.sender.skip(skipped, self.step);
        self.sender.next(self.step).to_bytes()
    }
}
