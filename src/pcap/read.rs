//! Reading pcap and pcapng.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapError};

use super::link::{Link, Refusal, Udp};
use super::{CaptureError, Datagram, Skipped};
use crate::time::WallTime;

#[cfg(test)]
mod tests;

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// No packet and no other block of a file may be larger: a file that claims one is damaged.
const LARGEST: usize = 8 << 20;

/// Interfaces of one pcapng section that are remembered.
const INTERFACES: usize = 1_024;

/// A capture being read: an iterator over its UDP datagrams, in the order of the file.
///
/// Holds one packet in memory, however large the file. Blocking; not for media threads.
///
/// ```no_run
/// # fn main() -> Result<(), offhook::pcap::CaptureError> {
/// for datagram in offhook::pcap::Capture::open("call.pcap")? {
///     let datagram = datagram?;
///     println!("{:?} {} -> {}", datagram.at, datagram.from, datagram.to);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Capture {
    path: PathBuf,
    reader: Box<dyn PcapReaderIterator + Send>,
    read_error: Arc<Mutex<Option<io::Error>>>,
    format: Format,
    /// The stamp of the first packet, in nanoseconds since 1970.
    began: Option<u64>,
    /// The latest stamp, for packets that have none.
    stamp: u64,
    packets: u64,
    skipped: Skipped,
    over: bool,
}

/// What must be known of the file to read a packet.
enum Format {
    /// One interface; a stamp's fraction counts this many nanoseconds.
    Pcap { link: Link, fraction: u64 },
    /// The interfaces of the section at hand.
    PcapNg { interfaces: VecDeque<Interface> },
}

#[derive(Clone, Copy)]
struct Interface {
    link: Link,
    /// `if_tsresol`: a power of ten, or with the highest bit of two, that a second is divided into.
    resolution: u8,
    /// Seconds added to every stamp.
    offset: i64,
    snap: u32,
}

/// A packet as the file has it.
struct Packet<'a> {
    /// Nanoseconds since 1970, where it has a stamp.
    stamp: Option<u64>,
    link: Link,
    data: &'a [u8],
    whole: bool,
}

impl Capture {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, is neither pcap nor pcapng, or is a pcap file of a link type that is not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| CaptureError::io(path, error))?;
        Self::new(path, file)
    }

    /// Reads a capture from anywhere; `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn new(name: impl AsRef<Path>, input: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let path = name.as_ref().to_owned();
        let read_error = Arc::new(Mutex::new(None));
        let input = Remembering { input, error: Arc::clone(&read_error) };
        let reader = pcap_parser::create_reader(BUFFER, input);
        if let Some(source) = take(&read_error) {
            return Err(CaptureError::Io { path, source });
        }
        let Ok(reader) = reader else { return Err(CaptureError::NotACapture { path }) };
        let mut capture = Self {
            path,
            reader,
            read_error,
            format: Format::PcapNg { interfaces: VecDeque::new() },
            began: None,
            stamp: 0,
            packets: 0,
            skipped: Skipped::default(),
            over: false,
        };
        capture.read_header()?;
        Ok(capture)
    }

    /// What was passed over so far.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Packets read so far, of whatever kind.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// A pcap file says once and for all what its packets are; a pcapng file says it block by block.
    fn read_header(&mut self) -> Result<(), CaptureError> {
        let Ok((len, PcapBlockOwned::LegacyHeader(header))) = self.reader.next() else { return Ok(()) };
        // The upper bits tell of checksums at the frames' ends.
        let link = Link::from_number(header.network.0.cast_unsigned() & 0xffff);
        let fraction = if header.is_nanosecond_precision() { 1 } else { 1_000 };
        self.format = Format::Pcap { link, fraction };
        self.reader.consume(len);
        match link {
            Link::Unknown(link) => Err(CaptureError::UnknownLink { path: self.path.clone(), link }),
            _ => Ok(()),
        }
    }

    /// The next packet's datagram, [`None`] for a packet or block that has none.
    fn step(&mut self) -> Result<Step, CaptureError> {
        let (len, found) = match self.reader.next() {
            Ok((len, block)) => {
                let found = match self.format.packet(&block) {
                    Some(packet) => {
                        self.packets += 1;
                        let stamp = packet.stamp.unwrap_or(self.stamp);
                        self.stamp = stamp;
                        let began = *self.began.get_or_insert(stamp);
                        let times = (stamp.saturating_sub(began), stamp);
                        self.skipped.judge(&packet).map(|udp| to_datagram(times, udp))
                    }
                    None => None,
                };
                (len, found)
            }
            Err(error) => {
                let fault = Fault::from(&error);
                drop(error);
                return self.recover(fault);
            }
        };
        self.reader.consume(len);
        Ok(found.map_or(Step::Nothing, Step::Found))
    }

    fn recover(&mut self, fault: Fault) -> Result<Step, CaptureError> {
        let damaged = CaptureError::Damaged { path: self.path.clone(), after_packets: self.packets };
        match fault {
            Fault::End => return Ok(Step::End),
            Fault::Incomplete => {}
            Fault::TooLarge => {
                let have = self.reader.data().len().max(BUFFER);
                if have >= LARGEST || !self.reader.grow((have * 2).min(LARGEST)) {
                    return Err(damaged);
                }
            }
            Fault::Damaged => return Err(damaged),
        }
        let before = self.reader.data().len();
        let refilled = self.reader.refill().is_ok();
        if let Some(source) = take(&self.read_error) {
            return Err(CaptureError::Io { path: self.path.clone(), source });
        }
        if !refilled {
            return Err(damaged);
        }
        if self.reader.data().len() == before && !self.reader.reader_exhausted() {
            // No room and no end: whatever the block claims, it cannot be had.
            return Err(damaged);
        }
        Ok(Step::Nothing)
    }
}

impl Iterator for Capture {
    type Item = Result<Datagram, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            match self.step() {
                Ok(Step::Found(datagram)) => return Some(Ok(datagram)),
                Ok(Step::Nothing) => {}
                Ok(Step::End) => {
                    self.over = true;
                    self.skipped.cut_off = !self.reader.data().is_empty();
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

enum Step {
    Found(Datagram),
    Nothing,
    End,
}

/// The reader's errors, as far as they make a difference here.
enum Fault {
    End,
    Incomplete,
    TooLarge,
    Damaged,
}

impl From<&PcapError<&[u8]>> for Fault {
    fn from(error: &PcapError<&[u8]>) -> Self {
        match error {
            PcapError::Eof | PcapError::UnexpectedEof => Self::End,
            PcapError::Incomplete(_) => Self::Incomplete,
            PcapError::BufferTooSmall => Self::TooLarge,
            _ => Self::Damaged,
        }
    }
}

impl Format {
    /// The packet in a block, if it has one.
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Option<Packet<'a>> {
        match (self, block) {
            (Self::Pcap { link, fraction }, PcapBlockOwned::Legacy(block)) => Some(Packet {
                stamp: Some(u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec) * *fraction),
                link: *link,
                data: block.data,
                whole: block.caplen >= block.origlen,
            }),
            (Self::PcapNg { interfaces }, PcapBlockOwned::NG(block)) => match block {
                Block::SectionHeader(_) => {
                    interfaces.clear();
                    None
                }
                Block::InterfaceDescription(block) => {
                    if interfaces.len() < INTERFACES {
                        interfaces.push_back(Interface {
                            link: Link::from_number(block.linktype.0.cast_unsigned()),
                            resolution: block.if_tsresol,
                            offset: block.if_tsoffset,
                            snap: block.snaplen,
                        });
                    }
                    None
                }
                Block::EnhancedPacket(block) => {
                    let interface = usize::try_from(block.if_id).ok().and_then(|at| interfaces.get(at));
                    Some(Packet {
                        stamp: interface.and_then(|it| it.nanos(block.ts_high, block.ts_low)),
                        link: interface.map_or(Link::Unknown(u32::MAX), |it| it.link),
                        data: block.packet_data(),
                        whole: block.caplen >= block.origlen,
                    })
                }
                Block::SimplePacket(block) => {
                    let interface = interfaces.front();
                    let data = block.packet_data();
                    let most = interface.map_or(0, |it| it.snap);
                    Some(Packet {
                        stamp: None,
                        link: interface.map_or(Link::Unknown(u32::MAX), |it| it.link),
                        data,
                        whole: data.len() >= block.origlen as usize && (most == 0 || block.origlen <= most),
                    })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Interface {
    /// A stamp in nanoseconds since 1970; [`None`] when the file's arithmetic leads elsewhere.
    fn nanos(self, high: u32, low: u32) -> Option<u64> {
        let ticks = u128::from(high) << 32 | u128::from(low);
        let exponent = u32::from(self.resolution & 0x7f);
        let per_second = if self.resolution & 0x80 == 0 {
            10_u128.checked_pow(exponent)
        } else {
            1_u128.checked_shl(exponent)
        };
        let nanos = (ticks * 1_000_000_000).checked_div(per_second?)?;
        let offset = i128::from(self.offset) * 1_000_000_000;
        u64::try_from(i128::try_from(nanos).ok()?.checked_add(offset)?).ok()
    }
}

impl Skipped {
    /// The datagram of a packet; counts why there is none.
    fn judge<'a>(&mut self, packet: &Packet<'a>) -> Option<Udp<'a>> {
        if !packet.whole {
            self.truncated += 1;
            return None;
        }
        let count = match packet.link.datagram(packet.data) {
            Ok(udp) => return Some(udp),
            Err(Refusal::Fragment) => &mut self.fragments,
            Err(Refusal::Malformed) => &mut self.malformed,
            Err(Refusal::NotUdp) => &mut self.not_udp,
            Err(Refusal::NotIp) => &mut self.not_ip,
            Err(Refusal::UnknownLink) => &mut self.unknown_link,
        };
        *count += 1;
        None
    }
}

fn to_datagram((at, stamp): (u64, u64), udp: Udp<'_>) -> Datagram {
    Datagram {
        at: Duration::from_nanos(at),
        wall: WallTime((stamp / 1_000_000).cast_signed()),
        from: udp.from,
        to: udp.to,
        payload: Bytes::copy_from_slice(udp.payload),
    }
}

/// The parser tells that reading failed, not why.
struct Remembering<R> {
    input: R,
    error: Arc<Mutex<Option<io::Error>>>,
}

impl<R: Read> Read for Remembering<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(kind.into());
                }
                read => return read,
            }
        }
    }
}

fn take(error: &Mutex<Option<io::Error>>) -> Option<io::Error> {
    error.lock().unwrap_or_else(PoisonError::into_inner).take()
}
