//! Keeps the packets of chosen calls, for `[media] capture`.
//!
//! A media thread hands each packet of such a call to its [`Tap`], which copies it into a ring; a thread of the recorder's
//! own writes the files. A full ring drops the packet and counts it: nothing on the media thread waits for a disk. One
//! file per call, named by the call's id; it ends at a limit, and so does the folder as a whole.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::{CaptureError, Writer};
use crate::id::CallId;
use crate::time::{Moment, WallTime};

#[cfg(test)]
mod tests;

/// Where captures go and how large they may become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecorderConfig {
    /// Made when it is not there, for its owner alone.
    pub folder: PathBuf,
    /// The most that one call's file may have. A minute of µ-law both ways takes 1.3 MB.
    pub call_limit_bytes: u64,
    /// The most that all captures of the folder may have together; what is there already counts.
    pub folder_limit_bytes: u64,
}

/// Why a call's packets cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder cannot be made or read.
    #[error("cannot keep captures in {}: {source}; give the user that runs Offhook the right to write there, or name \
             another folder", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder has reached its limit.
    #[error("the captures in {} have reached their limit of {limit_bytes} bytes: remove old ones or raise the limit",
            .folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// Its limit.
        limit_bytes: u64,
    },
    /// The call's file cannot be made.
    #[error(transparent)]
    File(#[from] CaptureError),
    /// Too many calls begin at once, or the recorder has ended.
    #[error("the recorder takes no more captures at the moment; the call goes on without one")]
    Busy,
}

/// What was kept so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecorderStats {
    /// Packets written.
    pub written: u64,
    /// Packets that found the ring full, or were larger than a packet of voice can be.
    pub dropped: u64,
    /// Packets left out because a file or the folder had reached its limit.
    pub cut: u64,
    /// Files that could not be written to their end.
    pub failed: u64,
}

/// Writes captures on a thread of its own. Dropping it writes what is waiting, closes the files and joins the thread.
pub struct Recorder {
    config: RecorderConfig,
    shared: Arc<Shared>,
    /// [`None`] only while it is being dropped.
    files: Option<SyncSender<OpenFile>>,
    next_key: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// One call's end of the recorder. Lives on the call's media thread; dropping it ends the file.
pub struct Tap {
    key: u64,
    shared: Arc<Shared>,
    ended: Arc<AtomicBool>,
}

struct Shared {
    ring: ArrayQueue<Slot>,
    /// Bytes of all captures in the folder.
    folder_bytes: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    cut: AtomicU64,
    failed: AtomicU64,
    /// Files that are not ended.
    open: AtomicU64,
}

/// A packet on its way to the writer.
struct Slot {
    key: u64,
    at: Moment,
    from: SocketAddr,
    to: SocketAddr,
    len: u16,
    payload: [u8; LARGEST],
}

struct OpenFile {
    key: u64,
    call: CallId,
    began: Moment,
    writer: Writer,
    ended: Arc<AtomicBool>,
    /// Something went wrong or the limit was reached: nothing more is written.
    closed: bool,
}

/// The largest payload that is kept: what fits into an Ethernet frame.
const LARGEST: usize = 1_472;

/// Packets that can wait for the writer: 1.5 MB, two seconds of ten calls.
const RING: usize = 1_024;

/// Calls that can begin while the writer is busy.
const BEGINNINGS: usize = 256;

/// The writer looks at the ring this often while a call is kept. It is not woken by the media threads: that would cost them
/// a system call a packet.
const LOOK: Duration = Duration::from_millis(20);

/// What was written is handed to the system this often, in looks.
const FLUSH_EVERY: u32 = 50;

impl Recorder {
    /// Makes the folder and starts the thread.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or no thread can be had.
    pub fn start(config: RecorderConfig) -> Result<Self, RecorderError> {
        let fault = |source| RecorderError::Folder { folder: config.folder.clone(), source };
        make_folder(&config.folder).map_err(fault)?;
        let shared = Arc::new(Shared {
            ring: ArrayQueue::new(RING),
            folder_bytes: AtomicU64::new(size_of_captures(&config.folder).map_err(fault)?),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            open: AtomicU64::new(0),
        });
        let (files, begun) = sync_channel(BEGINNINGS);
        let keeper = Keeper { config: config.clone(), shared: Arc::clone(&shared), open: HashMap::new() };
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || keeper.run(&begun))
            .map_err(fault)?;
        Ok(Self { config, shared, files: Some(files), next_key: AtomicU64::new(0), thread: Some(thread) })
    }

    /// Begins a call's file: `now` and `wall` are the same point on both clocks. Opens the file; not for media threads.
    ///
    /// # Errors
    /// When the folder is full, the file cannot be made, or too many calls begin at once. The call is unharmed.
    pub fn tap(&self, call: CallId, now: Moment, wall: WallTime) -> Result<Tap, RecorderError> {
        let full = self.shared.folder_bytes.load(Ordering::Relaxed) >= self.config.folder_limit_bytes;
        if full {
            let (folder, limit_bytes) = (self.config.folder.clone(), self.config.folder_limit_bytes);
            return Err(RecorderError::Full { folder, limit_bytes });
        }
        let writer = create(&self.config.folder, call, wall)?;
        self.shared.folder_bytes.fetch_add(writer.written(), Ordering::Relaxed);
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::new(AtomicBool::new(false));
        let file = OpenFile { key, call, began: now, writer, ended: Arc::clone(&ended), closed: false };
        let files = self.files.as_ref().ok_or(RecorderError::Busy)?;
        files.try_send(file).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => RecorderError::Busy,
        })?;
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Ok(Tap { key, shared: Arc::clone(&self.shared), ended })
    }

    /// Whether the file of every call that has ended is whole. Any thread.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.open.load(Ordering::Acquire) == 0
    }

    /// What was kept so far. Any thread.
    #[must_use]
    pub fn stats(&self) -> RecorderStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RecorderStats {
            written: load(&self.shared.written),
            dropped: load(&self.shared.dropped),
            cut: load(&self.shared.cut),
            failed: load(&self.shared.failed),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.files = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture thread panicked: the captures of the last calls are not whole");
        }
    }
}

impl Tap {
    /// A packet went over the wire at `at`. Copies it; allocates nothing, waits for nobody.
    pub fn packet(&mut self, at: Moment, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let mut slot = Slot { key: self.key, at, from, to, len: 0, payload: [0; LARGEST] };
        let kept = match (slot.payload.get_mut(..payload.len()), u16::try_from(payload.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(payload);
                slot.len = len;
                self.shared.ring.push(slot).is_ok()
            }
            _ => false,
        };
        if !kept {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// The thread that writes.
struct Keeper {
    config: RecorderConfig,
    shared: Arc<Shared>,
    open: HashMap<u64, OpenFile>,
}

impl Keeper {
    fn run(mut self, begun: &Receiver<OpenFile>) {
        let mut looks = 0_u32;
        loop {
            let next = if self.open.is_empty() {
                begun.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                begun.recv_timeout(LOOK)
            };
            let last = match next {
                Ok(file) => {
                    self.open.insert(file.key, file);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            while let Ok(file) = begun.try_recv() {
                self.open.insert(file.key, file);
            }
            looks = looks.wrapping_add(1);
            self.look(looks.is_multiple_of(FLUSH_EVERY), last);
            if last {
                return;
            }
        }
    }

    fn look(&mut self, flush: bool, last: bool) {
        // Asked before the ring is emptied: what an ended call had to say is in the ring by then.
        let ended: Vec<u64> = self
            .open
            .values()
            .filter(|file| last || file.ended.load(Ordering::Acquire))
            .map(|file| file.key)
            .collect();
        while let Some(slot) = self.shared.ring.pop() {
            self.write(&slot);
        }
        if flush {
            for file in self.open.values_mut().filter(|file| !file.closed) {
                if let Err(error) = file.writer.flush() {
                    file.give_up(&self.shared, &error);
                }
            }
        }
        for file in ended.into_iter().filter_map(|key| self.open.remove(&key)) {
            let OpenFile { writer, closed, call, .. } = file;
            if let Err(error) = writer.finish()
                && !closed
            {
                complain(&self.shared, call, &error);
            }
            self.shared.open.fetch_sub(1, Ordering::Release);
        }
    }

    fn write(&mut self, slot: &Slot) {
        let Some(file) = self.open.get_mut(&slot.key) else { return };
        let payload = &slot.payload[..usize::from(slot.len)];
        let size = Writer::<io::Sink>::size_of(payload.len());
        let folder_bytes = self.shared.folder_bytes.load(Ordering::Relaxed);
        if file.closed
            || file.writer.written() + size > self.config.call_limit_bytes
            || folder_bytes + size > self.config.folder_limit_bytes
        {
            file.closed = true;
            self.shared.cut.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = file.writer.written();
        match file.writer.write(slot.at.since(file.began), slot.from, slot.to, payload) {
            Ok(()) => {
                self.shared.written.fetch_add(1, Ordering::Relaxed);
                self.shared.folder_bytes.fetch_add(file.writer.written() - before, Ordering::Relaxed);
            }
            Err(error) => file.give_up(&self.shared, &error),
        }
    }
}

impl OpenFile {
    fn give_up(&mut self, shared: &Shared, error: &io::Error) {
        self.closed = true;
        complain(shared, self.call, error);
    }
}

fn complain(shared: &Shared, call: CallId, error: &io::Error) {
    shared.failed.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(%call, %error, "the capture of a call ends here: check the disk");
}

/// The file of a call; a call that is kept a second time has a second one.
fn create(folder: &Path, call: CallId, began: WallTime) -> Result<Writer, CaptureError> {
    let mut path = folder.join(format!("{call}.pcap"));
    for again in 2..=9 {
        match Writer::create(&path, began) {
            Err(CaptureError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                path = folder.join(format!("{call}-{again}.pcap"));
            }
            made => return made,
        }
    }
    Writer::create(&path, began)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn size_of_captures(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "pcap") {
            // One that goes away meanwhile takes no room.
            bytes += entry.metadata().map_or(0, |facts| facts.len());
        }
    }
    Ok(bytes)
}
