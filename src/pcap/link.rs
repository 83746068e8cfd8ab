//! From a captured packet to the UDP datagram in it.

use std::net::{IpAddr, SocketAddr};

use etherparse::err::packet::SliceError;
use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};

/// How the packets of an interface begin (tcpdump.org, LINKTYPE_).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Ethernet, with or without VLAN tags.
    Ethernet,
    /// Four bytes of address family, then IP: BSD's loopback in either byte order.
    Loopback,
    /// IP and nothing before it.
    Ip,
    /// Linux, interface `any`, until 2018: 16 bytes, the last two the EtherType.
    CookedV1,
    /// Linux, interface `any`, since: 20 bytes, the first two the EtherType.
    CookedV2,
    /// Something that is not read.
    Unknown(u32),
}

/// Why a packet gives no datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Fragment,
    Malformed,
    NotUdp,
    NotIp,
    UnknownLink,
}

/// A datagram where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Udp<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: &'a [u8],
}

impl Link {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Ethernet,
            0 | 108 => Self::Loopback,
            // 12 and 14: what systems call raw IP in files of their own.
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            113 => Self::CookedV1,
            276 => Self::CookedV2,
            other => Self::Unknown(other),
        }
    }

    /// The datagram of a packet that was captured whole.
    pub(super) fn datagram(self, packet: &[u8]) -> Result<Udp<'_>, Refusal> {
        let sliced = match self {
            Self::Ethernet => SlicedPacket::from_ethernet(packet).map_err(refusal)?,
            Self::Loopback => ip(packet.get(4..).ok_or(Refusal::Malformed)?)?,
            Self::Ip => ip(packet)?,
            Self::CookedV1 => {
                let (head, rest) = packet.split_first_chunk::<16>().ok_or(Refusal::Malformed)?;
                ether_type([head[14], head[15]], rest)?
            }
            Self::CookedV2 => {
                let (head, rest) = packet.split_first_chunk::<20>().ok_or(Refusal::Malformed)?;
                ether_type([head[0], head[1]], rest)?
            }
            Self::Unknown(_) => return Err(Refusal::UnknownLink),
        };
        udp(&sliced)
    }
}

fn ether_type(number: [u8; 2], rest: &[u8]) -> Result<SlicedPacket<'_>, Refusal> {
    SlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(number)), rest).map_err(refusal)
}

fn ip(packet: &[u8]) -> Result<SlicedPacket<'_>, Refusal> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4 | 6) => SlicedPacket::from_ip(packet).map_err(refusal),
        Some(_) => Err(Refusal::NotIp),
        None => Err(Refusal::Malformed),
    }
}

fn udp<'a>(sliced: &SlicedPacket<'a>) -> Result<Udp<'a>, Refusal> {
    let (from, to): (IpAddr, IpAddr) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        Some(NetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        _ => return Err(Refusal::NotIp),
    };
    if sliced.is_ip_payload_fragmented() {
        return Err(Refusal::Fragment);
    }
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { return Err(Refusal::NotUdp) };
    Ok(Udp {
        from: SocketAddr::new(from, udp.source_port()),
        to: SocketAddr::new(to, udp.destination_port()),
        payload: udp.payload(),
    })
}

/// Truncated captures are told by their lengths before they come here: what is left is wrong in itself.
fn refusal(_: SliceError) -> Refusal {
    Refusal::Malformed
}
