//! A call over RTP: the receive stream on one side, the sender on the other.

use crate::audio::codec::Format;
use crate::rtp::PayloadType;
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::sender::Sender;
use crate::rtp::stream::ReceiveStream;

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
            stream: ReceiveStream::new(key_events),
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
