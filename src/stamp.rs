//! When the kernel received a packet (`SO_TIMESTAMPNS`), on the axis of [`Moment`]: so a reader that looks late still
//! knows when it came. Any thread; no allocation.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::time::Moment;

/// Both clocks at one point in time: the kernel stamps with the wall clock, we count monotonically.
#[derive(Clone, Copy, Debug)]
pub struct ClockPair {
    monotonic: Moment,
    realtime: i128,
}

impl ClockPair {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let realtime = i128::from(wall.tv_sec) * 1_000_000_000 + i128::from(wall.tv_nsec);
        Self { monotonic: Moment::now(), realtime }
    }

    /// The moment of a stamp of the wall clock. Never later than `now`, and at most a second before this pair: a
    /// wall clock that was set meanwhile must not move packets by hours.
    fn moment(self, stamp: i128, now: Moment) -> Moment {
        let at = i128::from(self.monotonic.as_nanos()) + (stamp - self.realtime);
        let (earliest, latest) = (self.monotonic.as_nanos().saturating_sub(1_000_000_000), now.as_nanos());
        match u64::try_from(at) {
            Ok(at) if (earliest..=latest).contains(&at) => Moment::from_nanos(at),
            _ => now,
        }
    }
}

/// Room for the one control message that is asked for, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Asks the kernel to stamp what comes on this socket, of datagrams or of a stream.
///
/// # Errors
/// What the system says.
#[expect(unsafe_code, reason = "rustix knows no SO_TIMESTAMPNS")]
pub fn enable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("an int is small");
    // SAFETY: the descriptor is borrowed and open; the option value is a live int of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads one datagram without waiting; its length, and when it came.
///
/// # Errors
/// `WouldBlock` when there is none; whatever the socket reports (a closed port of the other side) otherwise.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], clock: ClockPair) -> io::Result<(usize, Moment)> {
    read(socket, buffer, clock, None)
}

/// The same, and who sent it.
///
/// # Errors
/// As [`receive`], and when the sender has no IP address.
#[expect(unsafe_code, reason = "the kernel writes the address into memory that is typed by what it says")]
pub fn receive_from(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    clock: ClockPair,
) -> io::Result<(usize, Moment, SocketAddr)> {
    // SAFETY: plain data for which all zeros is a valid value.
    let mut name: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    let (length, at) = read(socket, buffer, clock, Some(&mut name))?;
    let from = match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that it wrote this kind, for which the storage is large enough and aligned.
            let name = unsafe { &*(&raw const name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            SocketAddr::new(ip.into(), u16::from_be(name.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const name).cast::<libc::sockaddr_in6>() };
            SocketAddr::new(Ipv6Addr::from(name.sin6_addr.s6_addr).into(), u16::from_be(name.sin6_port))
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok((length, at, from))
}

#[expect(unsafe_code, reason = "rustix reads no timestamps from control messages")]
fn read(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    clock: ClockPair,
    name: Option<&mut libc::sockaddr_storage>,
) -> io::Result<(usize, Moment)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all zeros is a valid value (null pointers, zero lengths).
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    if let Some(name) = name {
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the descriptor is open; every pointer in the header is to a live buffer of the length beside it.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let now = Moment::now();
    // SAFETY: recvmsg filled the header; the control buffer that it points to is alive and aligned for cmsghdr.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    if first.is_null() {
        return Ok((length, now));
    }
    // SAFETY: not null, so the kernel wrote a whole cmsghdr there.
    let message = unsafe { &*first };
    if message.cmsg_level != libc::SOL_SOCKET || message.cmsg_type != libc::SCM_TIMESTAMPNS {
        return Ok((length, now));
    }
    // SAFETY: a message of this type carries a timespec; it is read without assuming its alignment.
    let stamp: libc::timespec = unsafe { libc::CMSG_DATA(first).cast::<libc::timespec>().read_unaligned() };
    let stamp = i128::from(stamp.tv_sec) * 1_000_000_000 + i128::from(stamp.tv_nsec);
    Ok((length, clock.moment(stamp, now)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_packet_carries_its_arrival_however_late_it_is_read() {
        let ear = UdpSocket::bind("127.0.0.1:0").expect("a port");
        enable(ear.as_fd()).expect("stamps");
        let mut buffer = [0; 16];
        let empty = receive(ear.as_fd(), &mut buffer, ClockPair::now()).expect_err("nothing came yet");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let before = Moment::now();
        let mouth = UdpSocket::bind("127.0.0.1:0").expect("a port");
        mouth.send_to(b"hello", ear.local_addr().expect("an address")).expect("sent");
        let sent = Moment::now();
        let (length, at) = receive(ear.as_fd(), &mut buffer, ClockPair::now()).expect("it came");
        assert_eq!(&buffer[..length], b"hello");
        mouth.send_to(b"again", ear.local_addr().expect("an address")).expect("sent");
        let (_, _, from) = receive_from(ear.as_fd(), &mut buffer, ClockPair::now()).expect("it came");
        assert_eq!(from, mouth.local_addr().expect("an address"));
        // The two clocks are read one behind the other: allow for what lies between.
        let slack = Duration::from_micros(200);
        assert!(at + slack >= before && at <= sent + slack, "{at:?} is not in {before:?} to {sent:?}");
    }

    #[test]
    fn a_wall_clock_that_was_set_does_not_move_packets() {
        let clock = ClockPair { monotonic: Moment::from_millis(10_000), realtime: 5_000_000_000 };
        let now = Moment::from_millis(10_010);
        assert_eq!(clock.moment(5_004_000_000, now), Moment::from_millis(10_004));
        assert_eq!(clock.moment(3_600_000_000_000, now), now);
        assert_eq!(clock.moment(0, now), now);
    }
}
