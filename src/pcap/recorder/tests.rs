use super::*;
use crate::pcap::Capture;

fn addresses() -> (SocketAddr, SocketAddr) {
    ("127.0.0.1:4000".parse().expect("an address"), "127.0.0.1:5000".parse().expect("an address"))
}

fn config(folder: &Path) -> RecorderConfig {
    RecorderConfig { folder: folder.join("captures"), call_limit_bytes: 1 << 20, folder_limit_bytes: 1 << 30 }
}

fn read(path: &Path) -> Vec<super::super::Datagram> {
    Capture::open(path).expect("a capture").map(|datagram| datagram.expect("it is whole")).collect()
}

#[test]
fn the_packets_of_a_call_are_in_its_file_with_their_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(config(folder.path())).expect("it starts");
    let (call, other) = (CallId::new(WallTime(5)), CallId::new(WallTime(6)));
    let (from, to) = addresses();
    let began = Moment::from_millis(70_000);
    let mut tap = recorder.tap(call, began, WallTime(1_000)).expect("room");
    let mut second = recorder.tap(other, began, WallTime(1_000)).expect("room");
    for n in 0..100_u64 {
        tap.packet(began + Duration::from_millis(n * 20), from, to, &[n as u8; 172]);
        second.packet(began, to, from, &[7; 12]);
    }
    drop((tap, second));
    drop(recorder);
    let packets = read(&config(folder.path()).folder.join(format!("{call}.pcap")));
    assert_eq!(packets.len(), 100);
    assert!(packets.iter().enumerate().all(|(n, it)| it.at == Duration::from_millis(n as u64 * 20)
        && (it.from, it.to) == (from, to)
        && it.payload[..] == [n as u8; 172]));
    assert_eq!(packets[0].wall, WallTime(1_000));
    assert_eq!(read(&config(folder.path()).folder.join(format!("{other}.pcap"))).len(), 100);
}

#[test]
fn a_file_ends_at_its_limit_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(RecorderConfig { call_limit_bytes: 2_000, ..config(folder.path()) });
    let recorder = recorder.expect("it starts");
    let (from, to) = addresses();
    let call = CallId::new(WallTime(5));
    let mut tap = recorder.tap(call, Moment::ZERO, WallTime(0)).expect("room");
    for _ in 0..20 {
        tap.packet(Moment::ZERO, from, to, &[0; 172]);
    }
    drop(tap);
    let shared = Arc::clone(&recorder.shared);
    drop(recorder);
    let path = config(folder.path()).folder.join(format!("{call}.pcap"));
    assert!(fs::metadata(&path).expect("a file").len() <= 2_000);
    let kept = read(&path).len() as u64;
    assert!(kept >= 7 && kept + shared.cut.load(Ordering::Relaxed) == 20, "{kept}");
}

#[test]
fn a_full_folder_takes_no_further_call_and_what_lies_there_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = RecorderConfig { folder_limit_bytes: 10_000, ..config(folder.path()) };
    fs::create_dir(&limits.folder).expect("a folder");
    fs::write(limits.folder.join("old.pcap"), vec![0; 9_990]).expect("a file");
    fs::write(limits.folder.join("notes.txt"), vec![0; 90_000]).expect("a file");
    let recorder = Recorder::start(limits).expect("it starts");
    let _tap = recorder.tap(CallId::new(WallTime(1)), Moment::ZERO, WallTime(0)).expect("a little room");
    let error = recorder.tap(CallId::new(WallTime(2)), Moment::ZERO, WallTime(0)).err().expect("full");
    assert!(error.to_string().contains("limit of 10000 bytes: remove old ones"), "{error}");
}

#[test]
fn a_call_that_is_kept_again_has_a_second_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(config(folder.path())).expect("it starts");
    let call = CallId::new(WallTime(1));
    for _ in 0..2 {
        drop(recorder.tap(call, Moment::ZERO, WallTime(0)).expect("room"));
    }
    drop(recorder);
    for name in [format!("{call}.pcap"), format!("{call}-2.pcap")] {
        assert_eq!(read(&config(folder.path()).folder.join(name)).len(), 0);
    }
}

#[test]
fn a_packet_that_is_no_packet_of_voice_is_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(config(folder.path())).expect("it starts");
    let (from, to) = addresses();
    let mut tap = recorder.tap(CallId::new(WallTime(1)), Moment::ZERO, WallTime(0)).expect("room");
    tap.packet(Moment::ZERO, from, to, &[0; LARGEST + 1]);
    assert_eq!(recorder.stats().dropped, 1);
}

#[test]
fn a_capture_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::start(config(folder.path())).expect("it starts");
    let call = CallId::new(WallTime(1));
    let _tap = recorder.tap(call, Moment::ZERO, WallTime(0)).expect("room");
    let path = config(folder.path()).folder.join(format!("{call}.pcap"));
    assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
}
