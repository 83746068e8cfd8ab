use std::net::SocketAddr;

use bytes::Bytes;

use super::*;
use crate::pcap::netem::{Impairment, Loss, Reordering, pass};
use crate::rtp::sender::Sender;
use crate::time::{Moment, WallTime};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn datagram(at: Duration, from: &str, to: &str, payload: Vec<u8>) -> Datagram {
    let (from, to) = (address(from), address(to));
    Datagram { at, wall: WallTime(0), from, to, payload: Bytes::from(payload) }
}

/// A stream of `count` packets, each `units` of its clock and `ptime` after the one before.
fn stream(payload_type: u8, ssrc: u32, count: u32, units: u32, ptime: Duration) -> Vec<Datagram> {
    let payload_type = PayloadType::new(payload_type).expect("below 128");
    let mut sender = Sender::starting_at(payload_type, Ssrc(ssrc), Seq(65_500), Timestamp(u32::MAX - 500));
    let packet = |n| {
        let payload = [&sender.next(units).to_bytes()[..], &[7; 160]].concat();
        datagram(ptime * n, "192.0.2.1:4000", "192.0.2.2:5000", payload)
    };
    (0..count).map(packet).collect()
}

fn find(datagrams: &[Datagram]) -> Vec<StreamSummary> {
    let mut finder = Finder::default();
    for datagram in datagrams {
        finder.datagram(datagram);
    }
    finder.finish().streams
}

const PTIME: Duration = Duration::from_millis(20);

#[test]
fn a_call_is_two_streams_that_answer_one_another() {
    let there = stream(0, 1, 100, 160, PTIME);
    let back =
        stream(0, 2, 100, 160, PTIME).into_iter().map(|it| Datagram { from: it.to, to: it.from, ..it });
    let mut both = there;
    both.extend(back);
    both.sort_by_key(|datagram| datagram.at);
    let streams = find(&both);
    assert_eq!(streams.len(), 2);
    assert!(streams[0].is_answered_by(&streams[1]));
    for stream in &streams {
        assert_eq!((stream.packets, stream.lost, stream.reordered, stream.duplicate), (100, 0, 0, 0));
        assert_eq!((stream.clock_hz, stream.ptime), (Some(8_000), Some(PTIME)));
        assert_eq!(stream.payload_type(), Some(PayloadType::PCMU));
        assert_eq!((stream.first_seq, stream.last), (Seq(65_500), PTIME * 99));
    }
    assert_eq!(both.iter().filter(|datagram| streams[0].has(datagram)).count(), 100);
}

#[test]
fn the_clock_of_a_dynamic_payload_type_is_told_from_its_timestamps() {
    for (units, ms, clock) in [(320, 20, 16_000), (960, 20, 48_000), (480, 60, 8_000), (480, 10, 48_000)] {
        let ptime = Duration::from_millis(ms);
        let streams = find(&stream(107, 9, 60, units, ptime));
        assert_eq!((streams[0].clock_hz, streams[0].ptime), (Some(clock), Some(ptime)));
    }
}

#[test]
fn other_datagrams_are_no_streams() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut others = Vec::new();
    for n in 0..3_000_u32 {
        let mut noise: Vec<u8> = (0..60).map(|_| rng.u8(..)).collect();
        let mut dns = vec![0x80 | rng.u8(..0x40), rng.u8(..), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        dns.extend(b"\x07example\x03org\0\0\x01\0\x01");
        // Even with the version and the source of a stream.
        noise[0] = 0x80;
        noise[8..12].copy_from_slice(&[0, 0, 0, 1]);
        let text = b"OPTIONS sip:a@192.0.2.2 SIP/2.0\r\n\r\n".to_vec();
        for payload in [noise, dns, text] {
            others.push(datagram(PTIME * n, "192.0.2.1:4000", "192.0.2.2:53", payload));
        }
    }
    assert_eq!(find(&others), []);
}

#[test]
fn a_stream_is_found_in_the_middle_of_many_candidates_and_memory_is_bounded() {
    let mut rng = fastrand::Rng::with_seed(6);
    let voice = stream(0, 1, 400, 160, PTIME);
    let mut finder = Finder::default();
    for packet in &voice {
        finder.datagram(packet);
        for _ in 0..60 {
            let mut noise: Vec<u8> = (0..20).map(|_| rng.u8(..)).collect();
            noise[0] = 0x80;
            finder.datagram(&datagram(packet.at, "192.0.2.3:9", "192.0.2.2:9", noise));
            assert!(finder.candidates.len() <= CANDIDATES);
        }
    }
    let streams = finder.finish().streams;
    assert_eq!(streams.iter().map(|stream| stream.packets).collect::<Vec<_>>(), [400]);
}

#[test]
fn loss_reordering_and_duplication_are_counted() {
    let impairment = Impairment {
        loss: Loss::Random { share: 0.05 },
        reordering: Some(Reordering {
            share: 0.02,
            at_least: Duration::from_millis(25),
            at_most: Duration::from_millis(60),
        }),
        ..Impairment::default()
    };
    let sent = stream(0, 1, 5_000, 160, PTIME);
    let (arrived, stats) = pass(impairment, 4, sent.iter().map(|it| (Moment::ZERO + it.at, 200, it.clone())));
    let mut received: Vec<Datagram> =
        arrived.into_iter().map(|it| Datagram { at: it.at.since(Moment::ZERO), ..it.packet }).collect();
    received.insert(10, received[9].clone());
    let streams = find(&received);
    assert_eq!((streams[0].lost, streams[0].duplicate), (stats.lost, 1));
    assert!(
        streams[0].reordered.abs_diff(stats.reordered) <= 6,
        "{} of {}",
        streams[0].reordered,
        stats.reordered
    );
}

#[test]
fn drift_is_estimated() {
    for ppm in [-200.0, 0.0, 150.0] {
        let impairment = Impairment { drift_ppm: ppm, ..Impairment::default() };
        let sent = stream(0, 1, 5_000, 160, PTIME);
        let (arrived, _) = pass(impairment, 4, sent.iter().map(|it| (Moment::ZERO + it.at, 200, it.clone())));
        let received: Vec<Datagram> =
            arrived.into_iter().map(|it| Datagram { at: it.at.since(Moment::ZERO), ..it.packet }).collect();
        let drift = find(&received)[0].drift_ppm.expect("100 s are enough");
        assert!((drift - ppm).abs() < 1.0, "{drift} where it is {ppm}");
    }
}

#[test]
fn events_and_noise_belong_to_the_stream_of_their_source() {
    let mut all = stream(8, 1, 100, 160, PTIME);
    for (n, payload_type) in [(20, 101), (21, 101), (50, 13)] {
        let mut packet = all[n].payload.to_vec();
        packet[1] = payload_type;
        all[n].payload = packet.into();
    }
    let streams = find(&all);
    let types: Vec<(u8, u64)> = streams[0].payload_types.iter().map(|(it, n)| (it.number(), *n)).collect();
    assert_eq!(types, [(8, 97), (101, 2), (13, 1)]);
}
