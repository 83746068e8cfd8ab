//! Captures: what went over the wire, in files; and networks that are bad on purpose.
//!
//! # Parts
//!
//! - `read`: [`Capture`] gives the UDP datagrams of a pcap or pcapng file one after another, in bounded memory.
//! - `link`: from the bytes of a captured packet to the datagram in it; what cannot be used is counted by reason.
//! - [`find`]: which RTP streams a file holds, without being told.
//! - `write`: [`Writer`] makes captures.
//! - [`recorder`]: keeps the packets of chosen calls while they are up; files are written by a thread of its own.
//! - [`netem`]: a network in virtual time: packets go in with times, packets come out with times.
//! - [`truth`]: what a test capture's sidecar tells about it.
//!
//! # What it never does
//!
//! It opens no socket and captures nothing itself: other programs do that, or the media threads hand their packets over.
//! It puts no fragments together: RTP that needs them is set up wrongly, and the count says so. No file makes it
//! panic or take memory without bound.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::time::WallTime;

pub mod find;
mod link;
pub mod netem;
mod read;
pub mod recorder;
pub mod truth;
mod write;

pub use find::{StreamSummary, Survey, streams, survey};
pub use read::Capture;
pub use write::Writer;

/// One UDP datagram of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Since the first packet of the file, of whatever kind; zero where a packet has an earlier stamp than that.
    pub at: Duration,
    /// When it was captured.
    pub wall: WallTime,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What UDP carried.
    pub payload: Bytes,
}

/// Packets of a file that were passed over, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Skipped {
    /// Parts of a larger packet. They are not put together.
    pub fragments: u64,
    /// Packets of which the capture kept only the beginning.
    pub truncated: u64,
    /// Packets whose own lengths or headers contradict one another.
    pub malformed: u64,
    /// IP, but not UDP.
    pub not_udp: u64,
    /// Not IP: ARP, for instance.
    pub not_ip: u64,
    /// Packets of a kind of interface that is not read.
    pub unknown_link: u64,
    /// The file ends in the middle of a packet, as after a crash or on a full disk.
    pub cut_off: bool,
}

impl Skipped {
    /// Nothing was passed over that might have been RTP.
    #[must_use]
    pub const fn nothing_of_use(&self) -> bool {
        self.fragments == 0
            && self.truncated == 0
            && self.malformed == 0
            && self.unknown_link == 0
            && !self.cut_off
    }
}

impl fmt::Display for Skipped {
    /// A clause for each reason that might have hidden RTP, with what to do about it; empty when there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (
                self.fragments,
                "fragments of larger packets, which are not put together: use a ptime that fits the MTU",
            ),
            (self.truncated, "packets cut short by the capture: capture whole packets (tcpdump -s 0)"),
            (self.malformed, "packets with contradicting lengths or headers"),
            (
                self.unknown_link,
                "packets of an interface type that is not read: capture on Ethernet, `any` or loopback",
            ),
        ];
        let mut separator = "";
        for (count, reason) in reasons.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {reason}")?;
            separator = "; ";
        }
        if self.cut_off {
            write!(f, "{separator}the file ends in the middle of a packet")?;
        }
        Ok(())
    }
}

/// Why a capture could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system refused to open, read or write it.
    #[error("{}: {source}; check the path and its permissions", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is neither pcap nor pcapng.
    #[error("{} is no capture: give a pcap or pcapng file as tcpdump, tshark or `[media] capture` write it",
            .path.display())]
    NotACapture {
        /// Which file.
        path: PathBuf,
    },
    /// It began as a capture and went on as something else.
    #[error("{} is damaged after {after_packets} packets; what came before can be used, make the capture again for \
             the rest", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Packets read before that, of whatever kind.
        after_packets: u64,
    },
    /// Every packet of the file is of a kind of interface that is not read.
    #[error("{} was captured on an interface of link type {link}, which is not read: capture on Ethernet, on `any` \
             or on loopback", .path.display())]
    UnknownLink {
        /// Which file.
        path: PathBuf,
        /// The number of the link type (tcpdump.org, LINKTYPE_).
        link: u32,
    },
}

impl CaptureError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
