//! Sentences in a folder, a file each.
//!
//! A file is named by the SHA-256 of who said what how, so that neither texts nor voices stand in names. In it: a mark, the
//! number of words and when each ends, the samples, and the SHA-256 of all before. It is written under another name and then
//! renamed, so that it is whole or not there; one that is not whole after all is removed when it is read. The folder may be
//! shared by several engines.
//!
//! Blocking; not for threads of calls or media.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::speech::Utterance;
use crate::time::WallTime;

/// What a file begins with. Another version of the format has another one.
const MARK: &[u8; 8] = b"OHSPCH01";

/// How its name ends.
const ENDING: &str = "speech";

/// A file that somebody is writing; older ones were left.
const PART: &str = "part";
const PART_LEFT_AFTER: Duration = Duration::from_secs(3_600);

/// No sentence has more words.
const MOST_WORDS: usize = 10_000;

/// A folder of sentences, of a bounded size.
pub struct Disk {
    folder: PathBuf,
    most: u64,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    files: HashMap<String, File>,
    bytes: u64,
}

struct File {
    bytes: u64,
    /// Milliseconds since 1970, as the file has it.
    used: i64,
}

impl Disk {
    /// Looks through the folder, making it where it is not there; what was used longest ago goes until no more than `bytes`
    /// are left.
    ///
    /// # Errors
    /// When the folder can be neither made nor read.
    pub fn open(folder: &Path, bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut index = Index::default();
        for entry in fs::read_dir(folder)? {
            let Ok(entry) = entry else { continue };
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            let used = meta.modified().ok().map_or(0, millis);
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(PART) => {
                    let age = WallTime::now().0.saturating_sub(used);
                    if u128::from(age.unsigned_abs()) > PART_LEFT_AFTER.as_millis() {
                        // Another engine may have been faster.
                        let _ = fs::remove_file(&path);
                    }
                }
                Some(ENDING) => {
                    if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                        index.bytes += meta.len();
                        index.files.insert(name.to_owned(), File { bytes: meta.len(), used });
                    }
                }
                _ => {}
            }
        }
        let disk = Self { folder: folder.to_owned(), most: bytes, index: Mutex::new(index) };
        disk.make_room();
        Ok(disk)
    }

    /// Whether it is there, as far as is known. Does not look at the disk.
    #[must_use]
    pub fn has(&self, backend: &str, utterance: &Utterance) -> bool {
        self.lock().files.contains_key(&name_of(backend, utterance))
    }

    /// Reads a sentence: its samples, and when its words end. A file that is damaged is removed.
    #[must_use]
    pub fn read(&self, backend: &str, utterance: &Utterance) -> Option<(Vec<i16>, Vec<Duration>)> {
        let name = name_of(backend, utterance);
        let path = self.path(&name);
        let sentence = fs::read(&path).ok().and_then(|bytes| unpack(&bytes));
        let mut index = self.lock();
        if sentence.is_none() {
            if let Some(gone) = index.files.remove(&name) {
                index.bytes -= gone.bytes;
                tracing::warn!(file = name, "a kept sentence was damaged or gone: it is made anew");
            }
            // It may be gone.
            let _ = fs::remove_file(&path);
            return None;
        }
        let now = WallTime::now().0;
        if let Some(file) = index.files.get_mut(&name) {
            file.used = now;
        }
        drop(index);
        // For the next process, and for others with this folder; without it, it goes sooner than it should.
        let at = UNIX_EPOCH + Duration::from_millis(now.unsigned_abs());
        let _ = fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(at));
        sentence
    }

    /// Writes a sentence, and makes room for it. What cannot be written is told in the log.
    pub fn write(&self, backend: &str, utterance: &Utterance, samples: &[i16], ends: &[Duration]) {
        let bytes = pack(samples, ends);
        let size = bytes.len() as u64;
        if size > self.most {
            return;
        }
        let name = name_of(backend, utterance);
        let part = self.folder.join(format!("{name}.{:08x}.{PART}", fastrand::u32(..)));
        let written = fs::write(&part, &bytes).and_then(|()| fs::rename(&part, self.path(&name)));
        if let Err(error) = written {
            tracing::warn!(folder = %self.folder.display(), %error, "a sentence cannot be kept");
            let _ = fs::remove_file(&part);
            return;
        }
        let mut index = self.lock();
        index.bytes += size;
        if let Some(before) = index.files.insert(name, File { bytes: size, used: WallTime::now().0 }) {
            index.bytes -= before.bytes;
        }
        drop(index);
        self.make_room();
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn make_room(&self) {
        let mut index = self.lock();
        if index.bytes <= self.most {
            return;
        }
        let mut by_use: Vec<(i64, String)> =
            index.files.iter().map(|(name, file)| (file.used, name.clone())).collect();
        by_use.sort_unstable();
        for (_, name) in by_use {
            if index.bytes <= self.most {
                break;
            }
            if let Some(gone) = index.files.remove(&name) {
                index.bytes -= gone.bytes;
                // Another engine may have been faster.
                let _ = fs::remove_file(self.path(&name));
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // The map and its count change together, without a panic in between.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The name of the file of a sentence.
fn name_of(backend: &str, utterance: &Utterance) -> String {
    let Utterance { text, voice, rate } = utterance;
    let mut hash = Sha256::new();
    // Each with its length, so that no two of them run into each other.
    for part in [backend, voice.as_deref().unwrap_or_default(), text] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update([u8::from(voice.is_some())]);
    hash.update(rate.hz().to_le_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pack(samples: &[i16], ends: &[Duration]) -> Vec<u8> {
    let ends = &ends[..ends.len().min(MOST_WORDS)];
    let mut bytes = Vec::with_capacity(MARK.len() + 8 + 4 * ends.len() + 2 * samples.len() + 32);
    bytes.extend_from_slice(MARK);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(count(ends.len()));
    for end in ends {
        let micros = u32::try_from(end.as_micros()).unwrap_or(u32::MAX);
        bytes.extend(micros.to_le_bytes());
    }
    bytes.extend(count(samples.len()));
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    let seal = Sha256::digest(&bytes);
    bytes.extend_from_slice(&seal);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<(Vec<i16>, Vec<Duration>)> {
    let (rest, seal) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(rest)[..] != seal[..] {
        return None;
    }
    let rest = rest.strip_prefix(MARK)?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (ends, rest) = rest.split_at_checked(4 * u32::from_le_bytes(*count) as usize)?;
    let (count, samples) = rest.split_first_chunk::<4>()?;
    if samples.len() != 2 * u32::from_le_bytes(*count) as usize {
        return None;
    }
    let micros = |bytes: &[u8]| u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let ends = ends.chunks_exact(4).map(|end| Duration::from_micros(micros(end))).collect();
    let samples = samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    Some((samples, ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    fn text(text: &str) -> Utterance {
        Utterance { text: text.to_owned(), voice: Some("anna".into()), rate: Rate::Hz8000 }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect()
    }

    #[test]
    fn a_sentence_is_found_by_all_that_makes_it_and_no_name_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        let ends = [Duration::from_millis(210), Duration::from_micros(750_125)];
        disk.write("cloud", &text("Secret words."), &[1, -2, 3], &ends);
        assert_eq!(disk.read("cloud", &text("Secret words.")), Some((vec![1, -2, 3], ends.to_vec())));
        for (backend, other) in [
            ("other", text("Secret words.")),
            ("cloud", text("Secret words")),
            ("cloud", Utterance { voice: None, ..text("Secret words.") }),
            ("cloud", Utterance { rate: Rate::Hz16000, ..text("Secret words.") }),
        ] {
            assert!(!disk.has(backend, &other));
        }
        let [file] = &files(folder.path())[..] else { panic!("one file") };
        let all = [file.to_str().unwrap().as_bytes(), &fs::read(file).unwrap()].concat();
        assert!(!String::from_utf8_lossy(&all).contains("Secret"));
    }

    #[test]
    fn a_damaged_file_is_removed_and_a_half_written_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        for (index, damage) in [0, 9, 20, 40].into_iter().enumerate() {
            let said = text(&format!("sentence {index}"));
            disk.write("cloud", &said, &[7; 100], &[]);
            let [file] = &files(folder.path())[..] else { panic!("one file") };
            let mut bytes = fs::read(file).unwrap();
            match damage {
                0 => bytes.truncate(50),
                at => bytes[at] ^= 1,
            }
            fs::write(file, bytes).unwrap();
            assert_eq!(disk.read("cloud", &said), None);
            assert!(files(folder.path()).is_empty() && !disk.has("cloud", &said) && disk.bytes() == 0);
        }
        fs::write(folder.path().join("ab.0.part"), b"half").unwrap();
        fs::write(folder.path().join("notes.txt"), b"not ours").unwrap();
        assert_eq!(Disk::open(folder.path(), 1 << 20).unwrap().bytes(), 0);
        assert_eq!(files(folder.path()).len(), 2, "somebody may be writing, and what is not ours stays");
    }

    #[test]
    fn the_folder_stays_within_its_bound_and_what_was_used_last_stays() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 2_200).unwrap();
        let used = |disk: &Disk, said: &str, at: i64| {
            disk.lock().files.get_mut(&name_of("cloud", &text(said))).unwrap().used = at;
        };
        for (index, said) in ["a", "b"].into_iter().enumerate() {
            disk.write("cloud", &text(said), &[0; 500], &[]);
            used(&disk, said, index as i64);
        }
        assert!(disk.read("cloud", &text("a")).is_some());
        disk.write("cloud", &text("c"), &[0; 500], &[]);
        assert!(
            disk.has("cloud", &text("a")) && !disk.has("cloud", &text("b")) && disk.has("cloud", &text("c"))
        );
        disk.write("cloud", &text("much too long"), &[0; 5_000], &[]);
        assert_eq!(files(folder.path()).len(), 2);
        let smaller = Disk::open(folder.path(), 1_100).unwrap();
        assert_eq!((files(folder.path()).len(), smaller.bytes() <= 1_100), (1, true));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_in_a_file_it_does_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = unpack(&bytes);
            let mut sealed = [MARK.as_slice(), &bytes].concat();
            let seal = Sha256::digest(&sealed);
            sealed.extend_from_slice(&seal);
            let _ = unpack(&sealed);
        }
    }
}
