use std::time::Duration;

use super::*;
use crate::audio::Rate;

fn command(arguments: &[&str]) -> CommandConfig {
    CommandConfig {
        name: "program",
        command: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        voice: "en".into(),
        sample_rate: 8_000,
        at_once: 2,
        deadlines: Deadlines { first: Duration::from_secs(20), ..Deadlines::USUAL },
    }
}

fn synthesizer(arguments: &[&str]) -> CommandSynthesizer {
    CommandSynthesizer::new(command(arguments)).expect("the program is there")
}

fn say(text: &str) -> Utterance {
    Utterance { text: text.to_owned(), voice: None, rate: Rate::Hz8000 }
}

async fn all(mut stream: SpeechStream) -> Result<Vec<i16>, SpeechError> {
    let mut samples = Vec::new();
    while let Some(chunk) = stream.chunks.recv().await {
        samples.extend(chunk?);
    }
    Ok(samples)
}

/// What a text is when its bytes are taken for samples.
fn as_samples(text: &str) -> Vec<i16> {
    text.as_bytes().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[tokio::test]
async fn the_text_comes_on_standard_input_or_as_an_argument() {
    assert_eq!(all(synthesizer(&["cat"]).synthesize(&say("abcde"))).await.unwrap(), as_samples("abcde\n"));
    let printf = synthesizer(&["printf", "%s", "{voice}:{text};"]);
    assert_eq!(
        all(printf.synthesize(&say("$(id)"))).await.unwrap(),
        as_samples("en:$(id);"),
        "no shell is involved"
    );
}

#[tokio::test]
async fn the_audio_may_come_as_a_file_which_is_gone_afterwards() {
    let script = "printf %s \"$1\" > \"$2\"; printf %s \"$2\" > \"$3\"";
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let by_file = synthesizer(&["sh", "-c", script, "-", "{text}", "{file}", told.to_str().unwrap()]);
    assert_eq!(all(by_file.synthesize(&say("abcd"))).await.unwrap(), as_samples("abcd"));
    let file = std::fs::read_to_string(told).unwrap();
    assert!(!std::path::Path::new(&file).exists() && !file.contains("abcd"), "{file}");
}

#[tokio::test]
async fn a_program_that_fails_is_told_of_with_its_last_words() {
    let failing = synthesizer(&["sh", "-c", "echo no such voice >&2; exit 3"]);
    let error = all(failing.synthesize(&say("hello"))).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("no such voice"), "{error}");
    let mute = all(synthesizer(&["true"]).synthesize(&say("hello"))).await.unwrap_err().to_string();
    assert!(mute.contains("made no audio"), "{mute}");
}

#[tokio::test]
async fn one_that_hangs_is_given_up_and_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = "sleep 1000 & echo $! > \"$1\"; wait";
    let mut config = command(&["sh", "-c", script, "-", pids.to_str().unwrap()]);
    config.deadlines.first = Duration::from_millis(700);
    let hanging = CommandSynthesizer::new(config).unwrap();
    let error = all(hanging.synthesize(&say("hello"))).await.unwrap_err().to_string();
    assert!(error.contains("no audio within 700 ms"), "{error}");
    gone(&pids).await;
}

#[tokio::test]
async fn dropping_the_stream_kills_the_program_in_the_middle_of_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    // A child of the shell's: its number is in the file before it says anything.
    let script = "sh -c 'echo $$ > \"$1\"; exec cat /dev/zero' - \"$1\"; :";
    let endless = synthesizer(&["sh", "-c", script, "-", pids.to_str().unwrap()]);
    let mut stream = endless.synthesize(&say("hello"));
    assert!(stream.chunks.recv().await.expect("audio").is_ok());
    drop(stream);
    gone(&pids).await;
}

#[tokio::test]
async fn at_most_so_many_run_at_once_and_the_next_waits() {
    let slow = synthesizer(&["sh", "-c", "sleep 0.2; cat"]);
    let begun = tokio::time::Instant::now();
    let all = futures_util::future::join_all((0..4).map(|_| all(slow.synthesize(&say("ab"))))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(begun.elapsed() >= Duration::from_millis(400), "two by two");
}

#[test]
fn a_program_that_is_not_there_is_told_of_at_the_start() {
    let missing = CommandSynthesizer::new(command(&["no-such-program"])).err().expect("missing").to_string();
    assert!(missing.contains("install it"), "{missing}");
    assert!(CommandSynthesizer::new(command(&[])).is_err());
}

/// Waits until the process whose number is in the file is gone.
async fn gone(pid: &std::path::Path) {
    let pid = std::fs::read_to_string(pid).unwrap();
    for _ in 0..400 {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // Nobody may reap an orphan in a container: a zombie is dead too.
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("process {pid} is still there");
}
