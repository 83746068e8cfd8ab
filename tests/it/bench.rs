//! `offhook bench` and `offhook replay`, on the captures of the repository.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const FIXTURES: &str = "tests/fixtures";

fn offhook(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offhook")).args(args).output().expect("the program is built")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a benchmark and reads its report.
fn report(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let output = offhook(&[args, &["--json", file.to_str().expect("a path")]].concat());
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&std::fs::read(file).expect("it was written")).expect("it is JSON")
}

#[test]
fn every_packet_of_a_benchmark_reaches_the_engine_on_each_transport() {
    let all = "rtp,audiosocket,websocket,websocket-server";
    let report = report(&["bench", "clean-ulaw", "--calls", "3", "--seconds", "2", "--transport", all]);
    assert_eq!(report["floor"].as_array().map(Vec::len), Some(1));
    let runs = report["runs"].as_array().expect("a list");
    let transports: Vec<_> = runs.iter().map(|run| run["transport"].as_str().expect("a name")).collect();
    assert_eq!(transports, ["rtp", "audiosocket", "websocket", "websocket-server"]);
    for run in runs {
        let sent = run["caller_packets_sent"].as_u64().expect("a number");
        assert!(sent >= 300, "{run}");
        assert_eq!(run["caller_packets_received"].as_u64(), Some(sent));
        assert!(run["cpu_ratio_to_floor"].as_f64() > Some(0.0) && run["bytes_per_call"].as_u64() > Some(0));
    }
    for run in &runs[..2] {
        assert!(run["bot_packets_received"].as_u64() >= Some(300), "{run}");
        assert_eq!(run["bot_packets_lost"].as_u64(), Some(0));
        assert!(run["pacing_error_us"]["p99"].as_f64() > Some(0.0), "{run}");
    }
    for run in &runs[2..] {
        // Asterisk paces it, and what it is late with it leaves out.
        assert!(run["bot_packets_received"].as_u64() >= Some(150), "{run}");
        assert!(run["pacing_error_us"].is_null(), "Asterisk's own clock plays what it has");
    }
    assert!(runs[0]["arrival_to_vad_us"]["count"].as_u64() >= Some(300), "{}", runs[0]);
    every_key_is_documented(&report);
}

/// Keys of a report, of one floor, of one run and of one distribution.
fn every_key_is_documented(report: &Value) {
    let page = std::fs::read_to_string("docs/benchmark.md").expect("it is there");
    let parts = [report, &report["machine"], &report["floor"][0], &report["runs"][0]];
    let parts = parts.into_iter().chain([&report["runs"][0]["pacing_error_us"]]);
    for key in parts.flat_map(|part| part.as_object().expect("an object").keys()) {
        assert!(page.contains(&format!("`{key}`")), "docs/benchmark.md does not tell what `{key}` is");
    }
}

#[test]
fn in_virtual_time_every_capture_gives_the_same_figures_twice() {
    let (first, second) = (report(&["bench", "--virtual"]), report(&["bench", "--virtual"]));
    assert_eq!(first["runs"], second["runs"]);
    let captures = std::fs::read_dir(FIXTURES).expect("they are there").flatten();
    let captures = captures.filter(|entry| entry.path().extension().is_some_and(|end| end == "pcap"));
    let runs = first["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), captures.count());
    for run in runs {
        let name = run["fixture"].as_str().expect("a name");
        assert_eq!(run["caller_packets_sent"], run["caller_packets_received"], "{name}");
        if name.starts_with("clean") {
            assert_eq!(
                (&run["utterances"], &run["cut_offs"]),
                (&run["endpoints"], &Value::from(0)),
                "{name}"
            );
            assert!(run["speech_end_to_endpoint_ms"]["max"].as_f64() < Some(600.0), "{name}");
            assert!(run["barge_in_to_last_frame_ms"]["max"].as_f64() < Some(250.0), "{name}");
        }
    }
}

#[test]
fn a_report_that_is_worse_than_an_older_one_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (old, page) = (file("old.json"), file("page.html"));
    let run = ["bench", "clean-ulaw", "--virtual"];
    let made = offhook(&[&run[..], &["--json", &old, "--html", &page]].concat());
    assert!(made.status.success(), "{}", text(&made));
    assert!(std::fs::read_to_string(&page).is_ok_and(|page| page.contains("clean-ulaw")));
    let same = offhook(&[&run[..], &["--compare", &old]].concat());
    assert!(same.status.success(), "{}", text(&same));
    let mut report: Value = serde_json::from_slice(&std::fs::read(&old).expect("read")).expect("JSON");
    report["runs"][0]["barge_in_to_last_frame_ms"]["p50"] = 10.0.into();
    std::fs::write(&old, report.to_string()).expect("written");
    let worse = offhook(&[&run[..], &["--compare", &old]].concat());
    assert_eq!(worse.status.code(), Some(1));
    assert!(text(&worse).contains("barge_in_to_last_frame_ms p50") && text(&worse).contains("WORSE"));
}

#[test]
fn a_captured_call_is_replayed_with_its_speech_its_keys_and_its_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let wav = folder.path().join("heard.wav");
    let wav = wav.to_str().expect("a path");
    let replayed = offhook(&["replay", &format!("{FIXTURES}/keys.pcap"), "--wav", wav]);
    let told = text(&replayed);
    assert!(replayed.status.success(), "{told}");
    let truth = std::fs::read(format!("{FIXTURES}/keys.json")).expect("its sidecar");
    let truth: Value = serde_json::from_slice(&truth).expect("JSON");
    let keys = truth["keys"].as_array().expect("keys were pressed");
    for key in keys {
        assert!(told.contains(&format!("key {}", key["digit"].as_str().expect("a digit"))), "{told}");
    }
    let spoken = truth["speech"].as_array().map_or(0, Vec::len);
    // Two sentences with less between them than is waited for are one utterance.
    assert!((1..=spoken).contains(&told.matches("speaks;").count()), "{told}");
    assert!(Path::new(wav).metadata().is_ok_and(|file| file.len() > 16_000));
}

#[test]
fn what_cannot_be_played_ends_in_a_sentence() {
    for (args, wanted) in [
        (["bench", "no-such"], "no capture no-such"),
        (["replay", "Cargo.toml"], "Cargo.toml is no capture"),
        (["replay", "no-such.pcap"], "check the path"),
    ] {
        let output = offhook(&args);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(wanted) && !told.contains("panicked"), "{told}");
    }
}
