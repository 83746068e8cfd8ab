use std::io::Cursor;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::pcap::Writer;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn open(bytes: impl Into<Vec<u8>>) -> Result<Capture, CaptureError> {
    Capture::new("test.pcap", Cursor::new(bytes.into()))
}

fn read(bytes: impl Into<Vec<u8>>) -> (Vec<Datagram>, Skipped) {
    let mut capture = open(bytes).expect("a capture");
    let datagrams = (&mut capture).map(|datagram| datagram.expect("it is whole")).collect();
    (datagrams, capture.skipped())
}

/// The IP packet that our writer makes of a datagram.
fn ip(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), WallTime(0)).expect("memory can be written");
    writer.write(Duration::ZERO, address(from), address(to), payload).expect("memory can be written");
    writer.finish().expect("memory can be written")[24 + 16..].to_vec()
}

fn v4(payload: &[u8]) -> Vec<u8> {
    ip("192.0.2.1:4000", "192.0.2.2:5000", payload)
}

fn v6(payload: &[u8]) -> Vec<u8> {
    ip("[2001:db8::1]:4000", "[2001:db8::2]:5000", payload)
}

/// A pcap file: byte order, nanoseconds, link type, and (seconds, fraction, packet, its length on the wire).
fn pcap(big: bool, nanos: bool, link: u32, packets: &[(u32, u32, &[u8], usize)]) -> Vec<u8> {
    let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let magic = if nanos { 0xa1b2_3c4d_u32 } else { 0xa1b2_c3d4 };
    let mut file = word(magic).to_vec();
    file.extend(if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
    file.extend([word(0), word(0), word(65_535), word(link)].concat());
    for (seconds, fraction, packet, on_wire) in packets {
        file.extend([*seconds, *fraction, packet.len() as u32, *on_wire as u32].map(word).concat());
        file.extend_from_slice(packet);
    }
    file
}

/// A block of a pcapng file.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = word(body.len() as u32 + 12);
    [&word(kind)[..], &len, &body, &len].concat()
}

/// A pcapng file with one interface and packets of it (ticks, packet).
fn pcapng(big: bool, link: u16, options: &[u8], packets: &[(u64, &[u8])]) -> Vec<u8> {
    let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let half = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let section = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
    let interface = [&half(link)[..], &half(0), &word(0), options].concat();
    let mut file = block(big, 0x0a0d_0d0a, &section);
    file.extend(block(big, 1, &interface));
    for (ticks, packet) in packets {
        let len = word(packet.len() as u32);
        let head = [word(0), word((ticks >> 32) as u32), word(*ticks as u32), len, len].concat();
        file.extend(block(big, 6, &[&head[..], packet].concat()));
    }
    file
}

#[test]
fn what_we_write_we_read() {
    let mut writer = Writer::new(Vec::new(), WallTime(1_795_000_000_123)).expect("memory can be written");
    let (v4, v6) = (address("192.0.2.1:4000"), address("[2001:db8::1]:4000"));
    let calls = [(0, v4, v4, &b"one"[..]), (20_000_001, v6, v6, b"two!"), (20_000_000, v4, v4, b"")];
    for (nanos, from, to, payload) in calls {
        writer.write(Duration::from_nanos(nanos), from, to, payload).expect("memory can be written");
    }
    let (datagrams, skipped) = read(writer.finish().expect("memory can be written"));
    assert_eq!(skipped, Skipped::default());
    for (datagram, (nanos, from, to, payload)) in datagrams.iter().zip(calls) {
        assert_eq!((datagram.from, datagram.to, &datagram.payload[..]), (from, to, payload));
        assert_eq!(datagram.at, Duration::from_nanos(nanos));
        assert_eq!(datagram.wall.0, 1_795_000_000_123 + nanos as i64 / 1_000_000);
    }
    assert_eq!(datagrams.len(), 3);
}

#[test]
fn both_byte_orders_and_both_precisions_of_pcap_are_read() {
    let packet = v4(b"hello");
    for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        let fraction = if nanos { 1_500_000 } else { 1_500 };
        let file = pcap(big, nanos, 101, &[(10, 0, &packet, 33), (12, fraction, &packet, 33)]);
        let (datagrams, _) = read(file);
        assert_eq!(datagrams[1].at, Duration::from_micros(2_001_500), "big {big}, nanoseconds {nanos}");
        assert_eq!(datagrams[1].payload, &b"hello"[..]);
    }
}

#[test]
fn every_kind_of_link_leads_to_the_datagram() {
    let ethernet = |kind: [u8; 2], tags: &[u8], ip: &[u8]| [&[2; 12], tags, &kind[..], ip].concat();
    let (v4, v6) = (v4(b"four"), v6(b"six"));
    let sll = |kind: [u8; 2], ip: &[u8]| [&[0; 14], &kind[..], ip].concat();
    let sll2 = |kind: [u8; 2], ip: &[u8]| [&kind[..], &[0; 18], ip].concat();
    let (ip4, ip6) = ([0x08, 0x00], [0x86, 0xdd]);
    let vlan = [0x81, 0x00, 0x00, 0x07];
    let two_tags = [0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x08];
    for (link, packet, payload) in [
        (1, ethernet(ip4, &[], &v4), "four"),
        (1, ethernet(ip6, &[], &v6), "six"),
        (1, ethernet(ip4, &vlan, &v4), "four"),
        (1, ethernet(ip6, &two_tags, &v6), "six"),
        // Ethernet fills short frames up.
        (1, [ethernet(ip4, &[], &v4), vec![0; 14]].concat(), "four"),
        (0, [&[2, 0, 0, 0], &v4[..]].concat(), "four"),
        (108, [&[0, 0, 0, 30], &v6[..]].concat(), "six"),
        (101, v4.clone(), "four"),
        (12, v6.clone(), "six"),
        (228, v4.clone(), "four"),
        (229, v6.clone(), "six"),
        (113, sll(ip4, &v4), "four"),
        (113, sll(ip6, &v6), "six"),
        (276, sll2(ip4, &v4), "four"),
        (276, sll2(ip6, &v6), "six"),
    ] {
        for file in [
            pcap(false, false, link, &[(0, 0, &packet, packet.len())]),
            pcapng(false, link as u16, &[], &[(0, &packet)]),
            pcapng(true, link as u16, &[], &[(0, &packet)]),
        ] {
            let (datagrams, skipped) = read(file);
            assert_eq!(skipped, Skipped::default(), "link {link}");
            assert_eq!(datagrams[0].payload, payload.as_bytes(), "link {link}");
            assert_eq!((datagrams[0].from.port(), datagrams[0].to.port()), (4_000, 5_000));
        }
    }
}

#[test]
fn pcapng_counts_time_in_whatever_unit_the_interface_says() {
    let packet = v4(b"x");
    let stamps = |options: &[u8], second: u64| {
        let file =
            pcapng(false, 101, options, &[(1_000 * second, &packet), (1_003 * second / 2 * 2, &packet)]);
        let (datagrams, _) = read(file);
        (datagrams[0].wall.0, datagrams[1].at)
    };
    let resolution = |value: u8| [9, 0, 1, 0, value, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(stamps(&[], 1_000_000), (1_000_000, Duration::from_secs(3)));
    assert_eq!(stamps(&resolution(9), 1_000_000_000), (1_000_000, Duration::from_secs(3)));
    assert_eq!(stamps(&resolution(3), 1_000), (1_000_000, Duration::from_secs(3)));
    assert_eq!(stamps(&resolution(0x80 | 10), 1_024), (1_000_000, Duration::from_secs(3)));
    // if_tsoffset: a hundred seconds more.
    let offset = [&[14, 0, 8, 0][..], &100_u64.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(stamps(&offset, 1_000_000).0, 1_100_000);
}

#[test]
fn a_second_section_has_its_own_interfaces_and_blocks_that_say_nothing_to_us_are_stepped_over() {
    let (four, six) = (v4(b"four"), v6(b"six"));
    let mut file = pcapng(false, 101, &[], &[(1_000_000, &four)]);
    file.extend(block(false, 5, &[0; 12]));
    file.extend(block(false, 0x0bad, &[7; 333]));
    file.extend(pcapng(true, 113, &[], &[(2_000_000, &[&[0; 14][..], &[0x86, 0xdd], &six].concat())]));
    // A simple packet has no time of its own.
    let simple = [&(six.len() as u32 + 16).to_be_bytes()[..], &[0; 14], &[0x86, 0xdd], &six].concat();
    file.extend(block(true, 3, &simple));
    let (datagrams, skipped) = read(file);
    let payloads: Vec<&[u8]> = datagrams.iter().map(|datagram| &datagram.payload[..]).collect();
    assert_eq!(payloads, [&b"four"[..], b"six", b"six"]);
    assert_eq!(datagrams[2].at, Duration::from_secs(1));
    assert_eq!(skipped, Skipped::default());
}

#[test]
fn what_cannot_be_used_is_counted_by_its_reason() {
    let whole = v4(b"whole");
    let mut fragment = whole.clone();
    fragment[6] = 0x20;
    let mut last_fragment = whole.clone();
    last_fragment[7] = 3;
    let mut tcp = v4(&[0x50; 32]);
    tcp[9] = 6;
    let mut longer_than_itself = whole.clone();
    longer_than_itself[3] = 200;
    let arp = [&[2; 12][..], &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
    let ethernet = |ip: &[u8]| [&[2; 12][..], &[0x08, 0x00], ip].concat();
    let frames = [&whole, &fragment, &last_fragment, &tcp, &longer_than_itself].map(|ip| ethernet(ip));
    let mut packets: Vec<(u32, u32, &[u8], usize)> =
        frames.iter().map(|frame| (0, 0, &frame[..], frame.len())).collect();
    packets.push((0, 0, &arp, arp.len()));
    packets.push((0, 0, &frames[0][..40], frames[0].len()));
    let (datagrams, skipped) = read(pcap(false, false, 1, &packets));
    assert_eq!(datagrams.len(), 1);
    let expected =
        Skipped { fragments: 2, truncated: 1, malformed: 1, not_udp: 1, not_ip: 1, ..Skipped::default() };
    assert_eq!(skipped, expected);
    let words = skipped.to_string();
    assert!(words.starts_with("2 fragments of larger packets") && words.contains("tcpdump -s 0"), "{words}");
}

#[test]
fn a_fragment_of_ipv6_is_told_as_one() {
    let mut packet = v6(b"whole");
    // A fragment header between IP and UDP (RFC 8200, 4.5): offset 0, more to come.
    let udp = packet.split_off(40);
    packet[6] = 44;
    packet[5] += 8;
    packet.extend([17, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend(udp);
    let (datagrams, skipped) = read(pcap(false, false, 101, &[(0, 0, &packet, packet.len())]));
    assert_eq!((datagrams.len(), skipped.fragments), (0, 1));
}

#[test]
fn a_file_that_ends_too_early_gives_what_it_has() {
    let packet = v4(b"hello");
    let file = pcap(false, false, 101, &[(0, 0, &packet, 33), (0, 1, &packet, 33)]);
    let (datagrams, skipped) = read(&file[..file.len() - 3]);
    assert_eq!((datagrams.len(), skipped.cut_off), (1, true));
    let file = pcapng(false, 101, &[], &[(0, &packet), (1, &packet)]);
    let (datagrams, skipped) = read(&file[..file.len() - 3]);
    assert_eq!((datagrams.len(), skipped.cut_off), (1, true));
}

#[test]
fn what_is_no_capture_is_refused_with_a_sentence() {
    for bytes in [&b""[..], b"RIFF", b"%PDF-1.7 and so on and so on and so on", &[0; 100]] {
        let error = open(bytes).err().expect("no capture").to_string();
        assert!(error.contains("test.pcap is no capture: give a pcap or pcapng file"), "{error}");
    }
    let error = open(pcap(false, false, 127, &[])).err().expect("wireless frames are not read").to_string();
    assert!(error.contains("link type 127") && error.contains("capture on Ethernet"), "{error}");
    let error = Capture::open("/nowhere/at/all.pcap").err().expect("no file").to_string();
    assert!(error.contains("/nowhere/at/all.pcap") && error.contains("check the path"), "{error}");
}

#[test]
fn a_file_that_claims_a_packet_of_a_gigabyte_is_damaged_and_takes_no_memory() {
    let packet = v4(b"hello");
    let mut file = pcap(false, false, 101, &[(0, 0, &packet, 33)]);
    file.extend([0_u32, 0, 1 << 30, 1 << 30].map(u32::to_le_bytes).concat());
    file.resize(file.len() + LARGEST + BUFFER, 7);
    let mut capture = open(file).expect("it begins well");
    assert!(capture.next().expect("one packet").is_ok());
    let error = capture.next().expect("an error").expect_err("damaged").to_string();
    assert!(error.contains("damaged after 1 packets"), "{error}");
    assert!(capture.next().is_none());
}

#[test]
fn a_block_larger_than_the_buffer_is_read_all_the_same() {
    let packet = v4(b"hello");
    let mut file = pcapng(false, 101, &[], &[(0, &packet)]);
    file.extend(block(false, 0x0bad, &vec![7; BUFFER * 3]));
    file.extend(pcapng(false, 101, &[], &[(0, &packet)]));
    assert_eq!(read(file).0.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_it_panic_or_go_on_for_ever(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        start in 0_usize..5,
    ) {
        let starts = [
            Vec::new(),
            pcap(false, false, 1, &[]),
            pcap(true, true, 101, &[]),
            pcapng(false, 276, &[], &[]),
            pcapng(true, 113, &[], &[]),
        ];
        if let Ok(capture) = open([starts[start].clone(), bytes].concat()) {
            prop_assert!(capture.take(1_000).count() < 1_000);
        }
    }

    #[test]
    fn a_changed_byte_makes_no_panic(at in any::<prop::sample::Index>(), byte: u8, kind in 0_usize..4) {
        let (four, six) = (v4(b"four"), v6(b"six"));
        let frame = [&[2; 12][..], &[0x81, 0, 0, 7, 0x86, 0xdd], &six].concat();
        let mut file = match kind {
            0 => pcap(false, true, 1, &[(1, 1, &frame, frame.len()), (2, 2, &frame, frame.len())]),
            1 => pcap(true, false, 101, &[(1, 1, &four, four.len()), (2, 2, &six, six.len())]),
            2 => pcapng(false, 101, &[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0], &[(1, &four), (2, &six)]),
            _ => pcapng(true, 1, &[], &[(1, &frame), (2, &frame)]),
        };
        let at = at.index(file.len());
        file[at] = byte;
        if let Ok(capture) = open(file) {
            prop_assert!(capture.take(1_000).count() < 1_000);
        }
    }
}
