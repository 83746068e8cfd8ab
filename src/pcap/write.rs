//! Writing pcap with nanoseconds: raw IP, with the headers of UDP and IP made here.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::CaptureError;
use crate::time::WallTime;

/// `pcap` with nanoseconds in the byte order of the writer, here always the little end first.
const MAGIC: u32 = 0xa1b2_3c4d;

/// LINKTYPE_RAW: every packet begins with its IP header.
const LINK_RAW: u32 = 101;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const UDP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// UDP, in the protocol field of both versions of IP.
const UDP: u8 = 17;

/// Writes a capture. Blocking; not for media threads ([`super::recorder`] is).
pub struct Writer<W: Write = BufWriter<File>> {
    out: W,
    began: WallTime,
    written: u64,
}

impl Writer {
    /// A new file, which only its owner may read: it holds what people said. Times of [`write`](Self::write) count
    /// from `began`.
    ///
    /// # Errors
    /// When the file is there already or cannot be made.
    pub fn create(path: impl AsRef<Path>, began: WallTime) -> Result<Self, CaptureError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = path.as_ref();
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let made = file.and_then(|file| Self::new(BufWriter::new(file), began));
        made.map_err(|error| CaptureError::io(path, error))
    }
}

impl<W: Write> Writer<W> {
    /// A capture into anything that can be written to.
    ///
    /// # Errors
    /// What writing the header gives.
    pub fn new(mut out: W, began: WallTime) -> io::Result<Self> {
        let mut header = [0; FILE_HEADER];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..6].copy_from_slice(&2_u16.to_le_bytes());
        header[6..8].copy_from_slice(&4_u16.to_le_bytes());
        header[16..20].copy_from_slice(&(256_u32 << 10).to_le_bytes());
        header[20..].copy_from_slice(&LINK_RAW.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self { out, began, written: FILE_HEADER as u64 })
    }

    /// Bytes written so far, with all headers.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that a packet with `payload` bytes takes at most.
    #[must_use]
    pub const fn size_of(payload: usize) -> u64 {
        (RECORD_HEADER + IPV6_HEADER + UDP_HEADER + payload) as u64
    }

    /// Adds a datagram that went over the wire `at` after the capture began. Addresses of two families are written
    /// as IPv6, the other one mapped.
    ///
    /// # Errors
    /// What writing gives; a payload that UDP cannot carry is [`io::ErrorKind::InvalidInput`].
    pub fn write(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut head = [0; RECORD_HEADER + IPV6_HEADER + UDP_HEADER];
        let headers = ip_udp(from, to, payload, &mut head[RECORD_HEADER..]).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "more than a UDP datagram can carry")
        })?;
        let began = Duration::from_millis(self.began.0.max(0).cast_unsigned());
        let stamp = began.saturating_add(at);
        let seconds = u32::try_from(stamp.as_secs()).unwrap_or(u32::MAX);
        let len = u32::try_from(headers + payload.len()).expect("a UDP datagram is shorter than 64 KiB");
        head[..4].copy_from_slice(&seconds.to_le_bytes());
        head[4..8].copy_from_slice(&stamp.subsec_nanos().to_le_bytes());
        head[8..12].copy_from_slice(&len.to_le_bytes());
        head[12..16].copy_from_slice(&len.to_le_bytes());
        self.out.write_all(&head[..RECORD_HEADER + headers])?;
        self.out.write_all(payload)?;
        self.written += u64::from(len) + RECORD_HEADER as u64;
        Ok(())
    }

    /// Hands on what is buffered, so that other programs see it.
    ///
    /// # Errors
    /// What writing gives.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes and gives back what was written to.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes the headers of IP and UDP; how many bytes they have, or [`None`] when the payload is too long.
fn ip_udp(from: SocketAddr, to: SocketAddr, payload: &[u8], head: &mut [u8]) -> Option<usize> {
    let udp_len = u16::try_from(UDP_HEADER + payload.len()).ok()?;
    let mut pseudo = Sum::default();
    let ip_len = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = udp_len.checked_add(IPV4_HEADER as u16)?;
            let ip = &mut head[..IPV4_HEADER];
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            // Don't fragment, 64 hops.
            ip[6] = 0x40;
            ip[8] = 64;
            ip[9] = UDP;
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..].copy_from_slice(&to.octets());
            let checksum = Sum::default().add(ip).checksum();
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            pseudo = pseudo.add(&from.octets()).add(&to.octets());
            IPV4_HEADER
        }
        (from, to) => {
            let (from, to) = (v6(from), v6(to));
            let ip = &mut head[..IPV6_HEADER];
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
            ip[6] = UDP;
            ip[7] = 64;
            ip[8..24].copy_from_slice(&from);
            ip[24..].copy_from_slice(&to);
            pseudo = pseudo.add(&from).add(&to);
            IPV6_HEADER
        }
    };
    let udp = &mut head[ip_len..ip_len + UDP_HEADER];
    udp[..2].copy_from_slice(&from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let checksum = pseudo.add(&[0, UDP]).add(&udp_len.to_be_bytes()).add(udp).add(payload).checksum();
    // Zero would mean that there is none (RFC 768).
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    udp[6..].copy_from_slice(&checksum.to_be_bytes());
    Some(ip_len + UDP_HEADER)
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The Internet checksum (RFC 1071). Parts of odd length may come last only.
#[derive(Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    fn add(self, bytes: &[u8]) -> Self {
        let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        Self(self.0 + bytes.chunks(2).map(word).sum::<u64>())
    }

    fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the loop has folded it")]
        let folded = sum as u16;
        !folded
    }
}
