use proptest::prelude::*;

use super::*;

/// A far end that sends 20 ms packets on time, and what the stream made of them.
struct Line {
    stream: ReceiveStream,
    heard: Vec<String>,
    /// Of every packet of audio.
    ages: Vec<Duration>,
}

const SOURCE: u32 = 0x5eed;

fn datagram(ssrc: u32, payload_type: u8, seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type: PayloadType::new(payload_type).expect("a payload type below 128"),
        seq: Seq(seq),
        timestamp: Timestamp(timestamp),
        ssrc: Ssrc(ssrc),
    };
    [&header.to_bytes()[..], payload].concat()
}

impl Line {
    fn new() -> Self {
        Self { stream: ReceiveStream::new(PayloadType::EVENTS), heard: Vec::new(), ages: Vec::new() }
    }

    fn raw(&mut self, at_ms: u64, datagram: &[u8]) {
        let Self { stream, heard, ages } = self;
        stream.receive(Moment::from_millis(at_ms), datagram, &mut |piece| {
            heard.push(spell(&piece));
            if let Piece::Audio { age, .. } = piece {
                ages.push(age);
            }
        });
    }

    /// Packet number `n` of a call that began at sequence 65,534 and just before the timestamp's wrap.
    fn packet(&mut self, at_ms: u64, n: u8) {
        let timestamp = 0xffff_ff00_u32.wrapping_add(u32::from(n) * 160);
        self.raw(at_ms, &datagram(SOURCE, 0, 65_534_u16.wrapping_add(n.into()), timestamp, &[n; 160]));
    }

    fn poll(&mut self, at_ms: u64) {
        let heard = &mut self.heard;
        self.stream.poll(Moment::from_millis(at_ms), &mut |piece| heard.push(spell(&piece)));
    }

    fn heard(&mut self) -> String {
        std::mem::take(&mut self.heard).join(" ")
    }
}

fn spell(piece: &Piece<'_>) -> String {
    match piece {
        Piece::Audio { payload, .. } => payload.first().map_or("empty".into(), u8::to_string),
        Piece::Noise { level, .. } => format!("noise{level}"),
        Piece::Event { payload, .. } => format!("event{}", payload.first().copied().unwrap_or(255)),
        Piece::Lost { samples } => format!("lost{samples}"),
        Piece::Silence { samples } => format!("silence{samples}"),
    }
}

#[test]
fn packets_in_order_go_on_at_once_across_both_wraps() {
    let mut line = Line::new();
    for n in 0..5 {
        line.packet(u64::from(n) * 20, n);
        assert_eq!(line.heard(), n.to_string());
    }
    let stats = line.stream.stats();
    assert_eq!((stats.received, stats.lost, stats.jitter), (5, 0, Duration::ZERO));
}

#[test]
fn a_missing_packet_is_lost_at_once_on_a_call_that_never_reordered() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(40, 2);
    assert_eq!(line.heard(), "0 lost160 2");
    assert_eq!(line.stream.stats().lost, 1);
    assert_eq!(line.stream.due(Moment::from_millis(40)), None);
}

#[test]
fn a_late_packet_inside_the_wait_is_played_in_order() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(20, 2);
    line.packet(28, 1);
    assert_eq!(line.heard(), "0 lost160 2");
    assert_eq!(line.stream.stats().late, 1);
    assert_eq!(line.stream.wait_at(Moment::from_millis(40)), Duration::from_millis(15));
    // The call has shown what it does: from now on its packets are waited for.
    line.packet(60, 3);
    line.packet(80, 5);
    assert_eq!(line.heard(), "3");
    assert_eq!(line.stream.due(Moment::from_millis(80)), Some(Moment::from_millis(95)));
    line.packet(88, 4);
    assert_eq!(line.heard(), "4 5");
    assert_eq!((line.stream.stats().lost, line.stream.stats().reordered), (1, 1));
}

#[test]
fn the_wait_ends_and_is_forgotten_after_a_minute_of_order() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(20, 2);
    line.packet(25, 1);
    line.packet(60, 4);
    line.heard();
    line.poll(74);
    assert_eq!(line.heard(), "");
    line.poll(75);
    assert_eq!(line.heard(), "lost160 4");
    let timestamp = 0xffff_ff00_u32.wrapping_add(61_000 * 8);
    line.raw(61_000, &datagram(SOURCE, 0, 65_534_u16.wrapping_add(6), timestamp, &[6; 160]));
    assert_eq!(line.heard(), "lost160 silence487040 6");
}

#[test]
fn what_comes_later_than_any_permitted_wait_is_no_reason_to_wait() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(20, 2);
    line.packet(120, 1);
    assert_eq!(line.stream.stats().late, 1);
    assert_eq!(line.stream.wait_at(Moment::from_millis(120)), Duration::ZERO);
}

#[test]
fn a_packet_that_comes_twice_is_heard_once() {
    let mut line = Line::new();
    for (at, n) in [(0, 0), (1, 0), (20, 2), (25, 1), (26, 1), (60, 4), (61, 4), (62, 3), (63, 3)] {
        line.packet(at, n);
    }
    assert_eq!(line.heard(), "0 lost160 2 3 4");
    let stats = line.stream.stats();
    assert_eq!((stats.duplicate, stats.late, stats.reordered), (4, 1, 1));
}

#[test]
fn a_burst_of_loss_keeps_its_length() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(1_000, 50);
    assert_eq!(line.heard(), "0 lost7840 50");
    assert_eq!(line.stream.stats().lost, 49);
}

#[test]
fn a_key_press_leaves_a_gap_that_is_silence_and_not_loss() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(SOURCE, 101, 11, 1_160, &[5, 10, 0, 160]));
    line.raw(40, &datagram(SOURCE, 101, 12, 1_160, &[5, 0x8a, 1, 64]));
    line.raw(200, &datagram(SOURCE, 0, 13, 2_600, &[2; 160]));
    assert_eq!(line.heard(), "1 event5 event5 silence1440 2");
    assert_eq!(line.stream.stats().lost, 0);
}

#[test]
fn a_loss_inside_a_gap_is_as_long_as_one_packet() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(200, &datagram(SOURCE, 0, 12, 2_600, &[2; 160]));
    assert_eq!(line.heard(), "1 lost160 silence1280 2");
}

#[test]
fn a_new_source_takes_over_at_its_second_packet_and_stragglers_of_the_old_one_do_not_take_it_back() {
    let mut line = Line::new();
    line.raw(0, &datagram(1, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(2, 0, 60_000, 7, &[2; 160]));
    line.raw(21, &datagram(1, 0, 11, 1_160, &[3; 160]));
    line.raw(40, &datagram(2, 0, 60_001, 167, &[4; 160]));
    line.raw(41, &datagram(1, 0, 12, 1_320, &[5; 160]));
    line.raw(60, &datagram(2, 0, 60_002, 327, &[6; 160]));
    assert_eq!(line.heard(), "1 3 2 4 6");
    let stats = line.stream.stats();
    assert_eq!((stats.ssrc_changes, stats.late, stats.lost, stats.strays), (1, 1, 0, 0));
}

#[test]
fn a_new_source_whose_second_packet_is_lost_takes_over_at_its_third() {
    let mut line = Line::new();
    line.raw(0, &datagram(1, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(2, 0, 60_000, 7, &[2; 160]));
    line.raw(60, &datagram(2, 0, 60_002, 327, &[4; 160]));
    assert_eq!(line.heard(), "1 2 lost160 4");
}

#[test]
fn one_packet_of_another_source_does_not_turn_the_stream() {
    let mut line = Line::new();
    line.raw(0, &datagram(1, 0, 10, 1_000, &[1; 160]));
    line.raw(5, &datagram(2, 0, 60_000, 7, &[2; 160]));
    line.raw(20, &datagram(1, 0, 11, 1_160, &[3; 160]));
    line.raw(25, &datagram(3, 0, 7, 7, &[4; 160]));
    line.raw(40, &datagram(1, 0, 12, 1_320, &[5; 160]));
    assert_eq!(line.heard(), "1 3 5");
    assert_eq!((line.stream.stats().ssrc_changes, line.stream.stats().strays), (0, 1));
}

#[test]
fn a_source_that_restarts_far_away_is_followed_at_its_second_packet() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(SOURCE, 0, 40_000, 9, &[2; 160]));
    line.raw(40, &datagram(SOURCE, 0, 40_001, 169, &[3; 160]));
    line.raw(60, &datagram(SOURCE, 0, 40_002, 329, &[4; 160]));
    assert_eq!(line.heard(), "1 2 3 4");
    assert_eq!((line.stream.stats().restarts, line.stream.stats().strays), (1, 0));
}

#[test]
fn what_was_sent_before_a_restart_and_comes_after_it_is_late() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(SOURCE, 0, 40_000, 900_009, &[2; 160]));
    line.raw(40, &datagram(SOURCE, 0, 40_001, 900_169, &[3; 160]));
    line.raw(41, &datagram(SOURCE, 0, 11, 1_160, &[4; 160]));
    line.raw(42, &datagram(SOURCE, 0, 12, 1_320, &[5; 160]));
    line.raw(60, &datagram(SOURCE, 0, 40_002, 900_329, &[6; 160]));
    assert_eq!(line.heard(), "1 2 3 6");
    assert_eq!((line.stream.stats().restarts, line.stream.stats().late), (1, 2));
}

#[test]
fn a_shuffled_backlog_from_before_a_restart_does_not_turn_the_stream_back() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 1_000, 1_000, &[1; 160]));
    line.raw(1_000, &datagram(SOURCE, 0, 40_000, 900_000, &[2; 160]));
    line.raw(1_000, &datagram(SOURCE, 0, 40_001, 900_160, &[3; 160]));
    for n in [1_090, 1_091, 1_004, 1_005] {
        line.raw(1_001, &datagram(SOURCE, 0, n, u32::from(n) * 160, &[4; 160]));
    }
    line.raw(1_020, &datagram(SOURCE, 0, 40_002, 900_320, &[5; 160]));
    assert_eq!(line.heard(), "1 2 3 5");
}

#[test]
fn one_stray_packet_does_not_turn_the_stream() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(SOURCE, 0, 40_000, 9, &[2; 160]));
    line.raw(21, &datagram(SOURCE, 0, 11, 1_160, &[3; 160]));
    line.raw(40, &datagram(SOURCE, 0, 40_001, 169, &[4; 160]));
    assert_eq!(line.heard(), "1 3");
    assert_eq!((line.stream.stats().restarts, line.stream.stats().strays), (0, 1));
}

#[test]
fn what_is_no_rtp_or_no_payload_of_ours_is_counted_and_dropped() {
    let mut line = Line::new();
    line.raw(0, b"\0\x01\0\0!\x12\xa4B............");
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 481]));
    line.raw(0, &datagram(SOURCE, 34, 10, 1_000, &[1]));
    line.raw(20, &datagram(SOURCE, 8, 11, 1_160, &[7; 160]));
    assert_eq!(line.heard(), "7");
    assert_eq!((line.stream.stats().malformed, line.stream.stats().other_payload), (2, 1));
}

#[test]
fn jitter_grows_towards_what_the_arrivals_show() {
    let mut line = Line::new();
    for n in 0..200_u8 {
        line.packet(u64::from(n) * 20 + u64::from(n % 2) * 8, n);
    }
    let jitter = line.stream.stats().jitter.as_secs_f64() * 1e3;
    assert!((7.0..8.1).contains(&jitter), "{jitter} ms");
}

#[test]
fn comfort_noise_tells_of_the_silence_that_follows_speech() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    line.raw(20, &datagram(SOURCE, 13, 11, 1_160, &[60, 3, 4]));
    line.raw(220, &datagram(SOURCE, 13, 12, 2_760, &[0x80 | 70]));
    line.raw(240, &datagram(SOURCE, 13, 13, 2_920, &[]));
    line.raw(400, &datagram(SOURCE, 0, 14, 4_200, &[2; 160]));
    assert_eq!(line.heard(), "1 noise60 silence1600 noise70 silence1440 2");
    assert_eq!((line.stream.stats().noise, line.stream.stats().lost), (3, 0));
}

#[test]
fn a_lost_packet_is_as_long_as_its_neighbours_though_they_differ() {
    let mut line = Line::new();
    line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
    // From 20 to 60 ms, and the first long one is lost.
    line.raw(140, &datagram(SOURCE, 0, 12, 1_640, &[2; 480]));
    line.raw(150, &datagram(SOURCE, 0, 13, 2_120, &[3; 80]));
    assert_eq!(line.heard(), "1 lost480 2 3");
}

#[test]
fn after_a_blackout_of_a_second_the_next_packet_is_heard_at_once() {
    let mut line = Line::new();
    // A call that has learnt to wait.
    line.packet(0, 0);
    line.packet(20, 2);
    line.packet(50, 1);
    line.heard();
    line.packet(1_060, 53);
    assert_eq!(line.heard(), "lost8000 53");
}

#[test]
fn a_backlog_is_heard_at_once_and_tells_its_age() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(20, 1);
    for n in 2..=52 {
        line.packet(1_040, n);
    }
    let heard: Vec<String> = (0..=52).map(|n| n.to_string()).collect();
    assert_eq!(line.heard(), heard.join(" "));
    assert_eq!(line.ages[2], Duration::from_secs(1));
    assert_eq!(line.ages[52], Duration::ZERO);
    line.packet(1_060, 53);
    assert_eq!(line.ages[53], Duration::ZERO);
}

#[test]
fn of_a_very_old_backlog_only_the_end_is_heard() {
    let mut line = Line::new();
    line.packet(0, 0);
    for n in 1..=200 {
        line.packet(4_000, n);
    }
    // What was spoken up to 2.5 s is not heard; packet 125 was.
    let heard: Vec<String> = (125..=200).map(|n| n.to_string()).collect();
    assert_eq!(line.heard(), format!("0 lost19840 {}", heard.join(" ")));
    assert_eq!((line.stream.stats().stale, line.stream.stats().lost), (124, 0));
}

#[test]
fn a_path_that_has_become_longer_is_no_backlog() {
    let mut line = Line::new();
    line.packet(0, 0);
    for n in 1..=10 {
        line.packet(3_000 + u64::from(n) * 20, n);
    }
    assert_eq!(line.heard(), "0 lost160 2 3 4 5 6 7 8 9 10");
    assert_eq!(line.ages.last(), Some(&Duration::ZERO));
}

#[test]
fn timestamps_that_leap_are_followed_and_silence_is_by_our_own_clock() {
    for timestamp in [1_160 + 0x4000_0000, 1_160_u32.wrapping_sub(0x1000_0000)] {
        let mut line = Line::new();
        line.raw(0, &datagram(SOURCE, 0, 10, 1_000, &[1; 160]));
        line.raw(120, &datagram(SOURCE, 0, 11, timestamp, &[2; 160]));
        line.raw(140, &datagram(SOURCE, 0, 12, timestamp.wrapping_add(160), &[3; 160]));
        assert_eq!(line.heard(), "1 silence800 2 3");
        assert_eq!((line.stream.stats().leaps, line.stream.stats().stale), (1, 0));
    }
}

#[test]
fn two_packets_of_a_minute_ago_do_not_turn_the_stream_back() {
    let mut line = Line::new();
    for n in 0..=250 {
        line.packet(u64::from(n) * 20, n);
    }
    line.heard();
    for n in [3, 4, 5] {
        line.packet(5_010, n);
    }
    line.packet(5_020, 251);
    assert_eq!(line.heard(), "251");
    assert_eq!((line.stream.stats().restarts, line.stream.stats().late), (0, 3));
}

#[test]
fn every_format_is_put_in_order_with_lengths_by_its_own_clock() {
    for (carriage, bytes, units) in [
        (Carriage::PCMA, 160, 160),
        (Carriage::G722, 160, 160),
        (Carriage::SLIN, 320, 160),
        (Carriage::SLIN16, 640, 320),
        (Carriage::OPUS, 40, 960),
    ] {
        let mut line =
            Line { stream: ReceiveStream::carrying(&[carriage], PayloadType::EVENTS), ..Line::new() };
        let kind = carriage.payload_type.number();
        // The first byte of Opus says that it is one frame of 20 ms of wideband speech.
        let payload = |n: u8| [&[9 << 3, n][..], &vec![0; bytes - 2]].concat();
        for (at, n) in [(0, 0_u8), (40, 2), (45, 1), (80, 4), (82, 3)] {
            let datagram = datagram(SOURCE, kind, n.into(), u32::from(n) * units, &payload(n));
            line.raw(at, &datagram);
        }
        assert_eq!(line.heard(), format!("72 lost{units} 72 72 72"), "{kind}");
        assert_eq!(line.stream.stats().jitter.as_millis(), 1, "{kind}");
        let limit = usize::from(carriage.largest);
        line.raw(100, &datagram(SOURCE, kind, 5, 5 * units, &vec![0; limit]));
        line.raw(120, &datagram(SOURCE, kind, 6, 8 * units, &vec![0; limit + 1]));
        assert_eq!((line.stream.stats().received, line.stream.stats().malformed), (6, 1), "{kind}");
    }
}

#[test]
fn a_far_end_that_changes_its_format_is_followed() {
    let formats = [Carriage::SLIN16, Carriage::PCMU];
    let mut line = Line { stream: ReceiveStream::carrying(&formats, PayloadType::EVENTS), ..Line::new() };
    line.raw(0, &datagram(SOURCE, 118, 1, 5_000, &[1; 640]));
    line.raw(20, &datagram(SOURCE, 0, 2, 900_000, &[2; 160]));
    line.raw(40, &datagram(SOURCE, 0, 3, 900_160, &[3; 160]));
    assert_eq!(line.heard(), "1 2 3");
    assert_eq!(line.stream.stats().lost, 0);
}

#[test]
fn full_room_gives_up_the_first_gap_and_keeps_the_rest() {
    let mut line =
        Line { stream: ReceiveStream::carrying(&[Carriage::SLIN16], PayloadType::EVENTS), ..Line::new() };
    let packet = |n: u16| datagram(SOURCE, 118, n, u32::from(n) * 960, &[n as u8; 1_920]);
    // It has learnt to wait for 50 ms.
    for (at, n) in [(0, 0), (60, 2), (105, 1), (110, 3)] {
        line.raw(at, &packet(n));
    }
    line.heard();
    // Held back are 5, 7, 8, 9, 10: more than there is room for.
    for n in [5, 7, 8, 9, 10] {
        line.raw(300, &packet(n));
    }
    assert_eq!(line.heard(), "lost960 5");
    line.raw(301, &packet(6));
    assert_eq!(line.heard(), "6 7 8 9 10");
}

#[test]
fn a_packet_whose_place_had_to_be_given_up_for_want_of_room_is_late() {
    let mut line =
        Line { stream: ReceiveStream::carrying(&[Carriage::SLIN16], PayloadType::EVENTS), ..Line::new() };
    let packet = |n: u16| datagram(SOURCE, 118, n, u32::from(n) * 960, &[n as u8; 1_920]);
    for (at, n) in [(0, 0), (60, 2), (105, 1), (110, 3)] {
        line.raw(at, &packet(n));
    }
    line.heard();
    for n in [6, 7, 8, 9] {
        line.raw(300, &packet(n));
    }
    // One more: 4 and 5 are given up, and 5 is what came.
    line.raw(301, &packet(5));
    assert_eq!(line.heard(), "lost1920 6 7 8 9");
    line.poll(1_000);
    assert_eq!((line.heard(), line.stream.stats().late), (String::new(), 2));
    line.raw(1_001, &packet(10));
    assert_eq!(line.heard(), "10");
}

#[test]
fn a_stream_takes_little_memory() {
    for (carriage, most) in [(Carriage::PCMU, 5_632), (Carriage::SLIN16, 13_312), (Carriage::OPUS, 7_168)] {
        let stream = ReceiveStream::carrying(&[carriage], PayloadType::EVENTS);
        assert!(stream.memory() <= most, "{carriage:?}: {}", stream.memory());
    }
}

proptest! {
    #[test]
    fn every_packet_comes_out_at_most_once_and_in_order(
        arrivals in proptest::collection::vec((0_u8..60, 0_u64..30), 0..200)
    ) {
        let mut line = Line::new();
        let mut now = 0;
        line.packet(0, 0);
        for (n, pause) in arrivals {
            now += pause;
            line.packet(now, n);
        }
        line.poll(now + 100);
        let numbers: Vec<u32> = line.heard().split(' ').filter_map(|word| word.parse().ok()).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    #[test]
    fn no_datagrams_make_it_panic(
        datagrams in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 12..24), 0_u64..50), 0..100)
    ) {
        let mut line = Line::new();
        let mut now = 0;
        for (mut bytes, pause) in datagrams {
            now += pause;
            bytes[0] = 0x80;
            // Few sources and near numbers, so that the states behind the first checks are reached.
            bytes[1] &= 0x65;
            bytes[2] &= 0xc0;
            let source = bytes[11] & 1;
            bytes[8..12].copy_from_slice(&[0, 0, 0, source]);
            line.raw(now, &bytes);
            line.poll(now + pause / 2);
        }
    }
}

#[test]
fn a_hole_where_the_caller_pressed_a_key_is_no_loss() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.packet(200, 10);
    assert_eq!(line.stream.stats().lost, 9);
    line.stream.key_reported(Moment::from_millis(205));
    assert_eq!((line.stream.stats().lost, line.stream.stats().keys), (0, 9));
    // The report may also come first.
    line.stream.key_reported(Moment::from_millis(395));
    line.packet(400, 20);
    assert_eq!((line.stream.stats().lost, line.stream.stats().keys), (0, 18));
    line.packet(600, 30);
    assert_eq!(line.stream.stats().lost, 9, "one key explains one hole");
    line.stream.key_reported(Moment::from_millis(1_200));
    line.packet(1_800, 40);
    assert_eq!(line.stream.stats().lost, 18, "a key explains nothing that came much later");
}
