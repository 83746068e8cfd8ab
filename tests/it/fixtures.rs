//! The captures of `tests/fixtures`: each agrees with its sidecar, and those that a command makes come out the same again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offhook::pcap::truth::Truth;
use offhook::pcap::{Capture, Datagram, Skipped, survey};
use offhook::rtp::PayloadType;
use offhook::rtp::carriage::Carriage;
use offhook::rtp::event::{Key, KeyReader};
use offhook::rtp::packet::Packet;
use offhook::rtp::stream::{Piece, ReceiveStream, StreamStats};
use offhook::time::Moment;

#[cfg(all(feature = "flite", feature = "opus"))]
#[path = "../fixtures/recipes.rs"]
mod recipes;

/// All of the folder together, so that a clone stays small.
const MOST_BYTES: u64 = 3 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn captures() -> Vec<PathBuf> {
    let files =
        std::fs::read_dir(folder()).expect("the fixtures are there").map(|entry| entry.unwrap().path());
    let mut captures: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "pcap")).collect();
    captures.sort();
    captures
}

fn datagrams(path: &Path) -> Vec<Datagram> {
    let mut capture = Capture::open(path).unwrap();
    let datagrams = (&mut capture).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(capture.skipped(), Skipped::default(), "{}", path.display());
    datagrams
}

fn carriage(format: &str) -> Carriage {
    match format {
        "ulaw" => Carriage::PCMU,
        "alaw" => Carriage::PCMA,
        "slin" => Carriage::SLIN,
        "slin16" => Carriage::SLIN16,
        "g722" => Carriage::G722,
        "opus" => Carriage::OPUS,
        other => panic!("`{other}` is no format of a fixture"),
    }
}

/// What a receive stream makes of a capture.
#[derive(Default)]
struct Heard {
    /// How much of the caller's time its pieces fill.
    length: Duration,
    silence: Duration,
    keys: Vec<(char, u128)>,
    noise: u64,
    stats: StreamStats,
}

fn hear(truth: &Truth, datagrams: &[Datagram]) -> Heard {
    let carriage = carriage(&truth.format);
    let mut stream = ReceiveStream::carrying(&[carriage], PayloadType::EVENTS);
    let mut keys = KeyReader::new(carriage.clock_hz);
    let (mut heard, mut pressed) = (Heard::default(), Vec::new());
    let mut piece = |now: Moment, piece: Piece<'_>| match piece {
        Piece::Audio { payload, .. } => heard.length += carriage.duration(carriage.units(payload).into()),
        Piece::Lost { samples } => heard.length += carriage.duration(samples.into()),
        Piece::Silence { samples } => {
            heard.length += carriage.duration(samples.into());
            heard.silence += carriage.duration(samples.into());
        }
        Piece::Noise { .. } => heard.noise += 1,
        Piece::Event { timestamp, payload, .. } => {
            keys.packet(now, timestamp, payload, &mut |key| pressed.push(key));
        }
    };
    let mut now = Moment::ZERO;
    for datagram in datagrams {
        let at = Moment::ZERO + datagram.at;
        while now < at {
            stream.poll(now, &mut |it| piece(now, it));
            now = now + Duration::from_millis(5);
        }
        stream.receive(at, &datagram.payload, &mut |it| piece(at, it));
    }
    stream.poll(now + Duration::from_secs(1), &mut |it| piece(now, it));
    let ups = pressed.iter().filter_map(|key| match key {
        Key::Up { digit, duration } => Some((*digit, duration.as_millis())),
        Key::Down { .. } => None,
    });
    heard.keys = ups.collect();
    heard.stats = stream.stats();
    heard
}

#[test]
fn the_fixtures_are_small_and_each_has_its_sidecar() {
    let captures = captures();
    assert!(captures.len() >= 20, "{} captures", captures.len());
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let bytes: u64 = files.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    for path in captures {
        Truth::of(&path).unwrap();
    }
}

#[test]
fn every_sidecar_agrees_with_its_capture() {
    for path in captures() {
        let name = path.display();
        let truth = Truth::of(&path).unwrap();
        let datagrams = datagrams(&path);
        let streams = survey(&path).unwrap().streams;
        assert_eq!(streams.len(), truth.sources.len(), "{name}");
        for (stream, source) in streams.iter().zip(&truth.sources) {
            assert_eq!((stream.ssrc.0, stream.clock_hz), (source.ssrc, Some(truth.clock_hz)), "{name}");
            assert_eq!(stream.payload_type().map(PayloadType::number), Some(truth.payload_type), "{name}");
            let of_it = datagrams.iter().filter(|it| stream.has(it));
            let seqs: Vec<u16> = of_it.map(|it| Packet::parse(&it.payload).unwrap().header.seq.0).collect();
            // Read off the sidecar and not by the generator's own code.
            let sent: BTreeSet<u16> =
                (0..source.sent).map(|n| source.first_seq.wrapping_add(n as u16)).collect();
            let came: BTreeSet<u16> = seqs.iter().copied().collect();
            let missing: BTreeSet<u16> = source.missing.iter().copied().collect();
            assert_eq!(came, &sent - &missing, "{name}");
            assert_eq!(seqs.len(), came.len() + source.doubled.len(), "{name}");
            assert_eq!(stream.packets as usize, seqs.len(), "{name}");
            assert_eq!(stream.reordered as usize, source.overtaken.len(), "{name}");
            assert_eq!(stream.duplicate as usize, source.doubled.len(), "{name}");
        }
        for speech in &truth.speech {
            assert!(
                speech.begin_ms < speech.end_ms && speech.end_ms <= truth.length_ms,
                "{name}: {speech:?}"
            );
        }
    }
}

#[test]
fn the_receive_stream_hears_of_every_fixture_what_its_sidecar_says() {
    for path in captures() {
        let name = path.display();
        let truth = Truth::of(&path).unwrap();
        let heard = hear(&truth, &datagrams(&path));
        let ms = |span: Duration| span.as_millis() as i64;
        // What was lost or silent at the very end cannot be known.
        let short = i64::from(truth.length_ms) - ms(heard.length);
        let at_the_end = truth.suppressed.last().map_or(0, |it| i64::from(it.end_ms - it.begin_ms));
        assert!((0..=at_the_end + 200).contains(&short), "{name}: {short} ms are missing");
        let suppressed: i64 = truth.suppressed.iter().map(|it| i64::from(it.end_ms - it.begin_ms)).sum();
        let pressed: i64 = truth.keys.iter().map(|it| i64::from(it.duration_ms)).sum();
        let silent = suppressed + pressed - ms(heard.silence);
        assert!((0..=at_the_end).contains(&silent), "{name}: {silent} ms of silence are missing");
        let keys: Vec<(char, u128)> = truth.keys.iter().map(|it| (it.digit, it.duration_ms.into())).collect();
        assert_eq!(heard.keys, keys, "{name}");
        assert_eq!(heard.noise > 0, !truth.suppressed.is_empty(), "{name}");
        let count = |what: fn(&offhook::pcap::truth::Source) -> usize| -> u64 {
            truth.sources.iter().map(|source| what(source) as u64).sum()
        };
        let stats = heard.stats;
        assert_eq!(stats.duplicate, count(|it| it.doubled.len()), "{name}");
        assert_eq!(stats.reordered + stats.late, count(|it| it.overtaken.len()), "{name}: {stats:?}");
        let missing = count(|it| it.missing.len());
        // Those lost at the end are not noticed.
        assert!(
            (missing.saturating_sub(5)..=missing).contains(&(stats.lost - stats.late)),
            "{name}: {stats:?}"
        );
        assert_eq!(stats.ssrc_changes + 1, truth.sources.len() as u64, "{name}");
        assert_eq!(
            (stats.malformed, stats.other_payload, stats.stale, stats.restarts),
            (0, 0, 0, 0),
            "{name}"
        );
    }
}

#[test]
#[cfg(all(feature = "flite", feature = "opus"))]
fn making_the_fixtures_again_gives_the_same_bytes() {
    use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
    let flite = FliteSynthesizer::new(FliteConfig::default()).unwrap();
    for fixture in recipes::all(&flite).unwrap() {
        let path = folder().join(fixture.name).with_extension("pcap");
        let truth = Truth::of(&path).unwrap();
        assert_eq!(fixture.truth, truth, "{}", fixture.name);
        assert!(fixture.pcap == std::fs::read(&path).unwrap(), "{} has other bytes", fixture.name);
    }
}
