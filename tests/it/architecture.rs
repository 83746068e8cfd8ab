//! The house stays in order: a room uses only what its floor allows, and deciding rooms read no clock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may use. What stands in every list: `time` and `id`.
const ROOMS: &[(&str, &[&str])] = &[
    ("audio", &[]),
    ("rtp", &[]),
    ("pcap", &["rtp"]),
    ("service", &[]),
    ("turn", &["audio"]),
    ("speech", &["audio", "turn", "service"]),
    ("asterisk", &[]),
    ("media", &["audio", "rtp", "pcap", "turn"]),
    ("phone", &["audio", "rtp"]),
    ("bench", &["audio", "rtp", "pcap", "turn", "speech", "media"]),
    ("policy", &["asterisk"]),
    ("call", &["audio", "turn", "speech", "asterisk", "media", "policy"]),
    ("bot", &["audio", "service", "call", "speech", "turn", "asterisk", "policy"]),
    ("store", &[]),
    ("campaign", &["service", "store"]),
    (
        "engine",
        &[
            "audio", "pcap", "service", "turn", "speech", "asterisk", "media", "policy", "call", "bot",
            "store", "campaign",
        ],
    ),
    (
        "cli",
        &[
            "audio", "rtp", "pcap", "service", "turn", "speech", "asterisk", "media", "bench", "call", "bot",
            "store", "campaign", "engine", "phone",
        ],
    ),
];

/// Rooms that are given the time. `speech` and `media` own threads and so a clock.
const DECIDING: &[&str] = &["audio", "rtp", "pcap", "turn"];

#[test]
fn a_room_uses_only_what_its_floor_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        for (file, text) in sources(room) {
            for (line, used) in crate_uses(&text) {
                let fine = used == *room
                    || allowed.contains(&used.as_str())
                    || ["time", "id", "prefetch"].contains(&used.as_str());
                if !fine {
                    wrong.push(format!("{}:{line}: `{room}` may not use `{used}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_a_place_in_the_house() {
    let known: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    for entry in std::fs::read_dir("src").expect("the tests run in the repository").flatten() {
        let name = entry.file_name().into_string().expect("room names are ASCII");
        assert!(
            entry.path().is_file() || known.contains_key(name.as_str()),
            "`{name}` is in no floor's list"
        );
    }
}

#[test]
fn deciding_rooms_read_no_clock() {
    for room in DECIDING {
        for (file, text) in sources(room) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            assert!(!code.contains("Moment::now"), "{} reads the clock", file.display());
        }
    }
}

/// The files of a room with their texts.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new("src").join(room)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("every room is a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|extension| extension == "rs") => {
                    let text = std::fs::read_to_string(&path).expect("sources are text");
                    files.push((path, text));
                }
                _ => {}
            }
        }
    }
    files
}

/// The rooms that a file names by `crate::room`, each with its line; documentation is free to point anywhere.
fn crate_uses(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().enumerate();
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let mut uses = Vec::new();
    for (index, line) in code {
        for rest in line.split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if Path::new("src").join(&name).is_dir() {
                uses.push((index + 1, name));
            }
        }
    }
    uses
}
