//! Messages of ARI's events socket.

use std::process::ExitCode;

use offhook::asterisk::ari::model::{Event, EventKind};
use offhook::time::Moment;

const WORDS: &[&[u8]] = &[
    b"null", b"true", b"{}", b"[]", b"\"\"", b"[[[[[[[[[[[[[[[[", b"{\"a\":", b"\\u0000", b"\\ud800", b"\xff\xfe",
    b"\"type\":", b"\"channel\":", b"\"bridge\":", b"\"playback\":", b"\"recording\":", b"\"id\":", b"\"target_uri\":",
    b"\"channel:\"", b"\"timestamp\":\"2026-02-30T25:61:61.9+9999\"", b"\"creationtime\":", b"\"channelvars\":{\"A\":1}",
    b"\"status_code\":", b"\"refer_to\":", b"\"referred_by\":", b"\"peer\":", b"\"endpoint\":", b"\"device_state\":",
];

fn main() -> ExitCode {
    // Every type that is known here, once each, so that chance puts them into other events.
    let types: Vec<Vec<u8>> = EventKind::TYPES.iter().map(|name| format!("\"type\":\"{name}\"").into_bytes()).collect();
    let words: Vec<&[u8]> = WORDS.iter().copied().chain(types.iter().map(Vec::as_slice)).collect();
    offhook_fuzz::main("ari", &words, |input| {
        let Ok((event, whole)) = Event::read(input, Moment::ZERO) else { return false };
        // What the engine asks of every event.
        let _ = (event.channel_id(), event.kind.channel(), event.kind.bridge(), event.kind.name().len());
        if let EventKind::Other { name, .. } = &event.kind {
            assert!(whole || EventKind::TYPES.contains(&name.as_str()), "what is not of its form is of a known type");
        }
        whole
    })
}
