use super::*;
use crate::store::TurnKind;
use crate::time::WallTime;

const START: Moment = Moment::from_millis(1_000_000);

fn at(ms: u64) -> Moment {
    START + Duration::from_millis(ms)
}

fn id() -> CallId {
    CallId::new(WallTime(1_795_249_800_000))
}

/// The two sides of a file.
fn sides(path: &Path) -> (Vec<i16>, Vec<i16>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 8_000, 16));
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    (samples.iter().copied().step_by(2).collect(), samples.iter().copied().skip(1).step_by(2).collect())
}

/// A recording without its thread.
fn recording(folder: &Path, call: CallId) -> (Tape, Timeline, Recording) {
    let shared = Arc::new(Shared {
        started: START,
        pairs: ArrayQueue::new(TAPE_PAIRS),
        events: ArrayQueue::new(TIMELINE_EVENTS),
        over: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        lost_pairs: AtomicU64::new(0),
        lost_events: AtomicU64::new(0),
    });
    let recording = Recording::begin(folder, call, Arc::clone(&shared)).unwrap();
    (Tape { shared: Arc::clone(&shared), lost: 0 }, Timeline { shared }, recording)
}

#[tokio::test]
async fn a_recording_has_the_caller_left_and_the_bot_right_and_a_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path().join("recordings")).unwrap();
    let call = id();
    let (mut tape, timeline) = recordings.start(call, START);
    for value in 0..75 {
        tape.push(&[value; FRAME], &[-value; FRAME]);
    }
    timeline.push(at(120), Event::Speech { ms: 640 });
    let turn = Event::Turn {
        index: 0,
        step: Some("menu".into()),
        kind: TurnKind::Voice,
        text: Some("sales".into()),
        meaning: None,
        confidence: Some(0.5),
    };
    timeline.push(at(1_060), turn.clone());
    drop((tape, timeline));
    recordings.close().await;

    let (caller, bot) = sides(&recordings.wav_path(call));
    assert_eq!((caller.len(), bot.len()), (75 * FRAME, 75 * FRAME));
    assert!(caller.iter().enumerate().all(|(i, s)| usize::from(s.cast_unsigned()) == i / FRAME));
    assert!(caller.iter().zip(&bot).all(|(left, right)| *left == -right));
    let file = TimelineFile::read(&recordings.timeline_path(call)).unwrap();
    let ended = Event::Ended { lost_ms: 0, lost_events: 0 };
    assert_eq!((file.call, file.rate_hz), (call, 8_000));
    assert_eq!(
        file.events,
        [
            Entry { at_ms: 120.0, event: Event::Speech { ms: 640 } },
            Entry { at_ms: 1_060.0, event: turn },
            Entry { at_ms: 1_500.0, event: ended },
        ]
    );
    assert_eq!(recordings.failures(), 0);

    recordings.remove(call).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("recordings")).unwrap().count(), 0);
    recordings.remove(call).unwrap();
}

#[test]
fn both_files_can_be_read_while_the_call_is_up_and_are_at_most_a_second_behind() {
    let folder = tempfile::tempdir().unwrap();
    let call = id();
    let (mut tape, timeline, mut recording) = recording(folder.path(), call);
    assert_eq!(sides(&wav_path(folder.path(), call)).0.len(), 0);
    for pass in 1..=20_u64 {
        for _ in 0..10 {
            tape.push(&[1; FRAME], &[2; FRAME]);
        }
        timeline.push(at(pass * 200), Event::Key { key: '5' });
        assert!(recording.pass(false).unwrap());
        let there = sides(&wav_path(folder.path(), call)).0.len() as u64 / 8;
        assert!(there <= pass * 200 && there + 1_000 > pass * 200, "{there} ms of {} ms", pass * 200);
        let events = TimelineFile::read(&timeline_path(folder.path(), call)).unwrap().events;
        assert_eq!(events.len() as u64, pass);
    }
}

#[test]
fn another_process_goes_on_where_a_killed_one_left_off() {
    let folder = tempfile::tempdir().unwrap();
    let call = id();
    let (mut tape, timeline, mut killed) = recording(folder.path(), call);
    for _ in 0..70 {
        tape.push(&[1; FRAME], &[2; FRAME]);
    }
    timeline.push(at(100), Event::Key { key: '1' });
    killed.pass(false).unwrap();
    for _ in 0..10 {
        tape.push(&[1; FRAME], &[2; FRAME]);
    }
    killed.pass(false).unwrap();
    // The header is behind by the last ten frames, and the last write broke off in the middle of a sample and
    // of a line.
    assert_eq!(sides(&wav_path(folder.path(), call)).0.len(), 70 * FRAME);
    for (path, bytes) in
        [(wav_path(folder.path(), call), &[7_u8, 7, 7][..]), (timeline_path(folder.path(), call), b",{\"at")]
    {
        use std::io::Write;
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    }
    drop((tape, timeline, killed));

    let (mut tape, timeline, mut next) = recording(folder.path(), call);
    tape.push(&[3; FRAME], &[4; FRAME]);
    timeline.push(at(5), Event::Key { key: '2' });
    drop((tape, timeline));
    assert!(!next.pass(false).unwrap());
    let (caller, _) = sides(&wav_path(folder.path(), call));
    assert_eq!(caller.len(), 81 * FRAME);
    assert_eq!((caller[80 * FRAME - 1], caller[80 * FRAME]), (1, 3));
    let events = TimelineFile::read(&timeline_path(folder.path(), call)).unwrap().events;
    let times: Vec<_> = events.iter().map(|entry| entry.at_ms).collect();
    assert_eq!(times, [100.0, 1_600.0, 1_605.0, 1_620.0]);
    assert_eq!(events[1].event, Event::Resumed);
}

#[test]
fn a_timeline_that_broke_off_keeps_its_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let call = id();
    for broken in ["", "\n,{\"at_ms\":3.0,\"ev", "\n,{\"at_ms\":3.0,\"event\":\"key\",\"key\":\"3\"}", "\n]"]
    {
        let _ = std::fs::remove_file(&path);
        let mut writer = TimelineWriter::open(&path, call).unwrap();
        for key in ['1', '2'] {
            writer.push(&Entry { at_ms: 1.0, event: Event::Key { key } });
        }
        writer.write().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let kept = whole.strip_suffix("\n]}\n").unwrap();
        std::fs::write(&path, format!("{kept}{broken}")).unwrap();

        let mut writer = TimelineWriter::open(&path, call).unwrap();
        let found = TimelineFile::read(&path).unwrap().events.len();
        assert_eq!(found, if broken.ends_with("\"3\"}") { 3 } else { 2 }, "{broken}");
        writer.push(&Entry { at_ms: 4.0, event: Event::Key { key: '4' } });
        writer.write().unwrap();
        assert_eq!(TimelineFile::read(&path).unwrap().events.len(), found + 1);
    }
}

#[test]
fn audio_that_a_stalled_disk_cost_becomes_silence_of_the_same_length() {
    let folder = tempfile::tempdir().unwrap();
    let call = id();
    let (mut tape, timeline, mut recording) = recording(folder.path(), call);
    for _ in 0..TAPE_PAIRS + 50 {
        tape.push(&[1; FRAME], &[1; FRAME]);
    }
    assert!(recording.pass(false).unwrap());
    tape.push(&[2; FRAME], &[2; FRAME]);
    drop((tape, timeline));
    assert!(!recording.pass(false).unwrap());
    let (caller, _) = sides(&wav_path(folder.path(), call));
    assert_eq!(caller.len(), (TAPE_PAIRS + 51) * FRAME);
    let count = |value: i16| caller.iter().filter(|s| **s == value).count() / FRAME;
    assert_eq!((count(1), count(0), count(2)), (TAPE_PAIRS, 50, 1));
    let events = TimelineFile::read(&timeline_path(folder.path(), call)).unwrap().events;
    assert_eq!(events.last().unwrap().event, Event::Ended { lost_ms: 1_000, lost_events: 0 });
}

#[tokio::test]
async fn a_full_disk_ends_one_recording_and_disturbs_neither_its_call_nor_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path()).unwrap();
    let (full, well) = (id(), id());
    // Every write to /dev/full says that the disk is full.
    std::os::unix::fs::symlink("/dev/full", recordings.wav_path(full)).unwrap();
    let (mut full_tape, full_timeline) = recordings.start(full, START);
    let (mut tape, timeline) = recordings.start(well, START);
    for _ in 0..50 {
        full_tape.push(&[1; FRAME], &[1; FRAME]);
        tape.push(&[1; FRAME], &[1; FRAME]);
        full_timeline.push(at(1), Event::Key { key: '1' });
    }
    recordings.close().await;
    assert!(full_timeline.has_failed());
    assert!(!timeline.has_failed());
    assert_eq!(recordings.failures(), 1);
    assert_eq!(sides(&recordings.wav_path(well)).0.len(), 50 * FRAME);
    // Closed: nothing is taken, nothing panics.
    tape.push(&[1; FRAME], &[1; FRAME]);
    let (_, late) = recordings.start(id(), START);
    assert!(late.has_failed());
    recordings.close().await;
}

#[tokio::test]
async fn a_folder_that_is_gone_or_forbidden_is_told_and_disturbs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Recordings::open(folder.path().join("r")).unwrap();
    std::fs::remove_dir(folder.path().join("r")).unwrap();
    let (mut tape, timeline) = recordings.start(id(), START);
    tape.push(&[1; FRAME], &[1; FRAME]);
    recordings.close().await;
    assert!(timeline.has_failed());
    let error = Recordings::open("/sys").err().unwrap();
    assert!(error.to_string().starts_with("cannot write in /sys: "), "{error}");
}

#[test]
fn the_folder_and_the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("recordings");
    let _recordings = Recordings::open(&inside).unwrap();
    let call = id();
    let _recording = recording(&inside, call);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    assert_eq!((mode(&wav_path(&inside, call)), mode(&timeline_path(&inside, call))), (0o600, 0o600));
}

#[test]
fn a_timeline_has_an_end_and_says_how_much_it_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let mut writer = TimelineWriter::open(&path, id()).unwrap();
    for _ in 0..20_003 {
        writer.push(&Entry { at_ms: 1.0, event: Event::Key { key: '1' } });
    }
    writer.push_last(&Entry { at_ms: 2.0, event: Event::Resumed });
    writer.write().unwrap();
    assert_eq!(writer.refused(), 3);
    assert_eq!(TimelineFile::read(&path).unwrap().events.len(), 20_001);
}

/// Prints what recording costs: `cargo test --lib store:: -- --ignored --nocapture`.
#[test]
#[ignore = "measures for some seconds"]
fn measure_a_hundred_recordings() {
    // The processor's time of this thread, so that a busy machine measures the same as an idle one.
    let spent = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let mut calls: Vec<_> = (0..100).map(|_| recording(folder.path(), id())).collect();
    let (mut pushing, mut passing) = (Duration::ZERO, Duration::ZERO);
    for second in 0..20 {
        for _ in 0..5 {
            let begun = spent();
            for (tape, ..) in &mut calls {
                for _ in 0..10 {
                    tape.push(&[second; FRAME], &[second; FRAME]);
                }
            }
            let pushed = spent();
            for (.., recording) in &mut calls {
                recording.pass(false).unwrap();
            }
            pushing += pushed - begun;
            passing += spent() - pushed;
        }
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / (100.0 * 50.0 * 20.0);
    eprintln!("a pair of frames: {:.2} µs to push, {:.2} µs to write", each(pushing), each(passing));
    eprintln!("the recorder of 100 calls: {:.2} % of a core", passing.as_secs_f64() / 20.0 * 100.0);
}
