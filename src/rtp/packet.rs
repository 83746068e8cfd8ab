//! One RTP packet: RFC 3550, section 5.1.

use super::{PayloadType, Seq, Ssrc, Timestamp};

/// Length of a header without contributing sources and extension, the only kind that we send.
pub const HEADER_LEN: usize = 12;

/// The part of a header that means something to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The first packet after a silence, or of a telephone event.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// Its place in the order of packets.
    pub seq: Seq,
    /// When its first sample was taken.
    pub timestamp: Timestamp,
    /// Which stream it belongs to.
    pub ssrc: Ssrc,
}

/// Why a datagram is no RTP packet. [`Malformed::reason`] is fit for a log line: it carries no content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its header, with contributing sources and extension, must be.
    #[error("{len} bytes, where its header alone needs {need}")]
    TooShort {
        /// Bytes that arrived.
        len: usize,
        /// Bytes that the header asks for.
        need: usize,
    },
    /// Not version 2: STUN, ZRTP, or no RTP at all.
    #[error("version {0} where RTP has 2")]
    Version(u8),
    /// The padding claims more bytes than the payload has, or none.
    #[error("padding of {padding} bytes in a payload of {payload}")]
    Padding {
        /// What the last byte says.
        padding: usize,
        /// Bytes after the header.
        payload: usize,
    },
    /// RTCP that lost its way (RFC 5761: packet types 200 to 204 where RTP has marker and payload type).
    #[error("an RTCP packet of type {0}")]
    Rtcp(u8),
}

/// A packet, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload, without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Contributing sources and header extensions are stepped over, padding is cut off.
    ///
    /// # Errors
    /// Says what is wrong with it. Never panics, whatever the bytes.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let len = datagram.len();
        let Some((fixed, rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(Malformed::TooShort { len, need: HEADER_LEN });
        };
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(Malformed::Version(version));
        }
        if (200..=204).contains(&fixed[1]) {
            return Err(Malformed::Rtcp(fixed[1]));
        }
        let sources = usize::from(fixed[0] & 0x0f) * 4;
        let Some(mut payload) = rest.get(sources..) else {
            return Err(Malformed::TooShort { len, need: HEADER_LEN + sources });
        };
        if fixed[0] & 0x10 != 0 {
            let need = HEADER_LEN + sources + 4;
            let Some((head, rest)) = payload.split_first_chunk::<4>() else {
                return Err(Malformed::TooShort { len, need });
            };
            let extension = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            payload = rest.get(extension..).ok_or(Malformed::TooShort { len, need: need + extension })?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(payload.last().copied().unwrap_or(0));
            if padding == 0 || padding > payload.len() {
                return Err(Malformed::Padding { padding, payload: payload.len() });
            }
            payload = &payload[..payload.len() - padding];
        }
        let header = Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: PayloadType(fixed[1] & 0x7f),
            seq: Seq(u16::from_be_bytes([fixed[2], fixed[3]])),
            timestamp: Timestamp(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
        };
        Ok(Self { header, payload })
    }
}

impl Header {
    /// The header as it goes over the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type.number();
        bytes[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        bytes
    }

    /// Writes the header to the front of `buffer` and gives back what is left for the payload; [`None`] when
    /// `buffer` is shorter than [`HEADER_LEN`].
    pub fn write(self, buffer: &mut [u8]) -> Option<&mut [u8]> {
        let (head, payload) = buffer.split_first_chunk_mut::<HEADER_LEN>()?;
        *head = self.to_bytes();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: PayloadType::PCMA,
        seq: Seq(0xfffe),
        timestamp: Timestamp(0x0102_0304),
        ssrc: Ssrc(0xdead_beef),
    };

    fn datagram(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.to_bytes().to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn contributing_sources_and_an_extension_are_stepped_over() {
        let bytes = datagram(0x92, &[1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 9, 9, 9, 9, 5, 6]);
        assert_eq!(Packet::parse(&bytes), Ok(Packet { header: HEADER, payload: &[5, 6] }));
    }

    #[test]
    fn padding_is_cut_off_and_may_be_all_there_is() {
        assert_eq!(Packet::parse(&datagram(0xa0, &[5, 6, 0, 2])).map(|p| p.payload.to_vec()), Ok(vec![5, 6]));
        assert_eq!(Packet::parse(&datagram(0xa0, &[0, 0, 3])).map(|p| p.payload.len()), Ok(0));
    }

    #[test]
    fn what_is_no_rtp_says_why() {
        let cases: [(Vec<u8>, Malformed); 8] = [
            (vec![], Malformed::TooShort { len: 0, need: 12 }),
            (vec![0x80; 11], Malformed::TooShort { len: 11, need: 12 }),
            (datagram(0x00, &[]), Malformed::Version(0)),
            (datagram(0x81, &[0, 0, 0]), Malformed::TooShort { len: 15, need: 16 }),
            (datagram(0x90, &[0, 0]), Malformed::TooShort { len: 14, need: 16 }),
            (datagram(0x90, &[0, 0, 0, 2, 0, 0, 0, 0]), Malformed::TooShort { len: 20, need: 24 }),
            (datagram(0xa0, &[1, 3]), Malformed::Padding { padding: 3, payload: 2 }),
            (datagram(0xa0, &[1, 0]), Malformed::Padding { padding: 0, payload: 2 }),
        ];
        for (bytes, why) in cases {
            assert_eq!(Packet::parse(&bytes), Err(why));
        }
        let mut rtcp = datagram(0x80, &[]);
        rtcp[1] = 200;
        assert_eq!(Packet::parse(&rtcp), Err(Malformed::Rtcp(200)));
    }

    #[test]
    fn a_header_needs_twelve_bytes_of_room() {
        assert!(HEADER.write(&mut [0; 11]).is_none());
        assert_eq!(HEADER.write(&mut [0; 14]).map(|rest| rest.len()), Some(2));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), first in 0x80_u8..) {
            let _ = Packet::parse(&bytes);
            let mut likely = bytes;
            if let Some(byte) = likely.first_mut() {
                *byte = first & 0xbf;
            }
            if let Ok(packet) = Packet::parse(&likely) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= likely.len());
            }
        }

        #[test]
        fn what_we_write_reads_back(marker: bool, pt in 0_u8..72, seq: u16, ts: u32, ssrc: u32, payload: Vec<u8>) {
            let header = Header {
                marker,
                payload_type: PayloadType(pt),
                seq: Seq(seq),
                timestamp: Timestamp(ts),
                ssrc: Ssrc(ssrc),
            };
            let mut bytes = vec![0; HEADER_LEN];
            prop_assert!(header.write(&mut bytes).is_some_and(|rest| rest.is_empty()));
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(Packet::parse(&bytes), Ok(Packet { header, payload: &payload }));
        }
    }
}
