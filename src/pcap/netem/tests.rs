use super::*;

const PTIME: Duration = Duration::from_millis(20);

/// `count` packets of 214 bytes, one every 20 ms.
fn call(impairment: Impairment, seed: u64, count: u32) -> (Vec<Arrival<u32>>, NetemStats) {
    pass(impairment, seed, (0..count).map(|n| (Moment::ZERO + PTIME * n, 214, n)))
}

/// How long packet `number` took.
fn took(arrival: &Arrival<u32>) -> Duration {
    arrival.at.since(Moment::ZERO + PTIME * arrival.packet)
}

#[test]
fn a_perfect_network_changes_nothing() {
    let (arrived, stats) = call(Impairment::default(), 1, 100);
    assert_eq!(arrived.len(), 100);
    assert!(arrived.iter().all(|arrival| took(arrival).is_zero()));
    assert_eq!(stats, NetemStats { sent: 100, ..NetemStats::default() });
}

#[test]
fn the_same_seed_gives_the_same_network_and_another_gives_another() {
    let all = everything();
    let once = call(all, 7, 2_000);
    assert_eq!(once, call(all, 7, 2_000));
    assert_ne!(once.0, call(all, 8, 2_000).0);
}

/// All impairments at once.
fn everything() -> Impairment {
    Impairment {
        delay: Duration::from_millis(30),
        loss: Loss::bursts(0.05, 3.0),
        jitter: Some(Jitter { shape: Shape::Uniform { up_to: Duration::from_millis(60) }, keep_order: true }),
        spikes: Some(Spikes { every: Duration::from_secs(5), height: Duration::from_millis(200) }),
        reordering: Some(Reordering {
            share: 0.01,
            at_least: Duration::from_millis(10),
            at_most: Duration::from_millis(60),
        }),
        duplication: Some(Duplication { share: 0.01, after: Duration::from_millis(3) }),
        rate: Some(RateLimit { bits_per_second: 200_000, queue: Duration::from_millis(300) }),
        blackouts: Some(Blackouts {
            first: Duration::from_secs(10),
            every: Some(Duration::from_secs(20)),
            length: Duration::from_secs(1),
            held: false,
        }),
        drift_ppm: 200.0,
    }
}

#[test]
fn one_impairment_does_not_change_the_dice_of_another() {
    let loss = Impairment { loss: Loss::Random { share: 0.1 }, ..Impairment::default() };
    let both = Impairment { jitter: everything().jitter, ..loss };
    let numbers = |impairment| -> Vec<u64> {
        let mut numbers: Vec<u64> = call(impairment, 3, 500).0.iter().map(|a| a.number).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(numbers(loss), numbers(both));
}

#[test]
fn random_loss_loses_its_share_and_bursts_have_their_length() {
    for share in [0.01, 0.05, 0.2] {
        for loss in [Loss::Random { share }, Loss::bursts(share, 3.0)] {
            let impairment = Impairment { loss, ..Impairment::default() };
            let (arrived, stats) = call(impairment, 11, 200_000);
            let lost = stats.lost as f64 / 200_000.0;
            assert!((lost - share).abs() < share * 0.1, "{loss:?}: {lost}");
            let bursts = arrived.windows(2).filter(|pair| pair[1].number != pair[0].number + 1).count();
            let length = stats.lost as f64 / bursts as f64;
            let expected = if matches!(loss, Loss::Random { .. }) { 1.0 / (1.0 - share) } else { 3.0 };
            assert!((length - expected).abs() < 0.15, "{loss:?}: bursts of {length}");
        }
    }
}

#[test]
fn jitter_behind_a_queue_keeps_the_order_and_other_jitter_does_not() {
    for (keep_order, ordered) in [(true, true), (false, false)] {
        let shape = Shape::Uniform { up_to: Duration::from_millis(60) };
        let impairment = Impairment { jitter: Some(Jitter { shape, keep_order }), ..Impairment::default() };
        let (arrived, _) = call(impairment, 5, 5_000);
        assert_eq!(arrived.is_sorted_by_key(|arrival| arrival.number), ordered);
        assert!(arrived.iter().all(|arrival| took(arrival) <= Duration::from_millis(60)));
        assert!(arrived.iter().any(|arrival| took(arrival) > Duration::from_millis(55)));
    }
}

#[test]
fn the_shapes_have_their_means() {
    let mean = Duration::from_millis(40);
    for (shape, expected) in [
        (Shape::Uniform { up_to: mean }, 20.0),
        (Shape::Normal { mean, deviation: Duration::from_millis(10) }, 40.0),
        (Shape::Exponential { mean }, 40.0),
    ] {
        let impairment =
            Impairment { jitter: Some(Jitter { shape, keep_order: false }), ..Impairment::default() };
        let (arrived, _) = call(impairment, 5, 20_000);
        let mean = arrived.iter().map(|a| took(a).as_secs_f64() * 1e3).sum::<f64>() / 20_000.0;
        assert!((mean - expected).abs() < 1.0, "{shape:?}: {mean} ms");
    }
}

#[test]
fn a_spike_lets_all_go_at_its_end() {
    let impairment = Impairment { spikes: everything().spikes, ..Impairment::default() };
    let (arrived, _) = call(impairment, 2, 5_000);
    assert!(arrived.is_sorted_by_key(|arrival| arrival.number));
    let longest = arrived.iter().map(took).max().expect("packets arrived");
    assert!((Duration::from_millis(180)..=Duration::from_millis(200)).contains(&longest), "{longest:?}");
    let delayed = arrived.iter().filter(|arrival| !took(arrival).is_zero()).count();
    assert!((100..350).contains(&delayed), "{delayed} packets in some twenty spikes");
}

#[test]
fn reordered_packets_are_overtaken_and_duplicates_come_later() {
    let impairment = Impairment {
        reordering: Some(Reordering {
            share: 0.02,
            at_least: Duration::from_millis(21),
            at_most: Duration::from_millis(60),
        }),
        duplication: Some(Duplication { share: 0.05, after: Duration::from_millis(5) }),
        ..Impairment::default()
    };
    let (arrived, stats) = call(impairment, 9, 10_000);
    assert_eq!(arrived.len() as u64, 10_000 + stats.duplicated);
    assert!((150..260).contains(&stats.reordered) && (430..570).contains(&stats.duplicated), "{stats:?}");
    let overtaken = arrived.windows(2).filter(|pair| pair[1].number < pair[0].number).count();
    assert!(overtaken > 120, "{overtaken}");
}

#[test]
fn a_bottleneck_delays_and_then_drops() {
    // 214 bytes every 20 ms are 85,600 bits a second.
    let rate = RateLimit { bits_per_second: 80_000, queue: Duration::from_millis(100) };
    let (arrived, stats) = call(Impairment { rate: Some(rate), ..Impairment::default() }, 1, 1_000);
    assert!((50..80).contains(&stats.overflowed), "{stats:?}");
    assert!(arrived.iter().map(took).max().expect("packets arrived") <= Duration::from_millis(122));
}

#[test]
fn a_blackout_loses_or_holds_what_is_sent_meanwhile() {
    for held in [false, true] {
        let blackouts = Blackouts {
            first: Duration::from_secs(2),
            every: Some(Duration::from_secs(10)),
            length: Duration::from_secs(1),
            held,
        };
        let (arrived, stats) =
            call(Impairment { blackouts: Some(blackouts), ..Impairment::default() }, 1, 1_000);
        assert_eq!(stats.blacked_out, if held { 0 } else { 100 });
        assert_eq!(arrived.len() as u64, 1_000 - stats.blacked_out);
        let waited = arrived.iter().map(took).max().expect("packets arrived");
        assert_eq!(waited, if held { Duration::from_secs(1) } else { Duration::ZERO });
    }
}

#[test]
fn a_slow_clock_makes_packets_come_later_and_later() {
    for (ppm, expected) in [(200.0, 120), (-200.0, -120)] {
        let impairment =
            Impairment { drift_ppm: ppm, delay: Duration::from_secs(1), ..Impairment::default() };
        let (arrived, _) = call(impairment, 1, 30_001);
        let last = arrived.last().expect("packets arrived");
        assert_eq!(took(last).as_millis() as i64 - 1_000, expected, "after ten minutes");
    }
}

#[test]
fn an_impairment_survives_being_written_and_read() {
    let text = serde_json::to_string_pretty(&everything()).expect("it can be written");
    assert_eq!(serde_json::from_str::<Impairment>(&text).expect("it can be read"), everything());
    assert_eq!(serde_json::from_str::<Impairment>("{}").expect("nothing is wrong"), Impairment::default());
    let odd = serde_json::from_str::<Impairment>(r#"{"delay_ms": -1}"#).expect_err("times are not negative");
    assert!(odd.to_string().contains("zero or more is accepted"), "{odd}");
}
