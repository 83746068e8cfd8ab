//! Recordings: for each call a stereo WAV file and a JSON timeline, named after the call and nothing else.
//!
//! `CALLID.wav` has the caller on the left and the bot on the right, 8 kHz, 16 bit. `CALLID.json` says what
//! happened when, in milliseconds from the start of the recording: speech, keys, turns, what was played and
//! how much of it was heard.
//!
//! # Parts
//!
//! - [`Recordings`]: the folder, and one thread that writes all recordings.
//! - [`Tape`]: the media thread's end: takes a pair of frames, never blocks, never allocates.
//! - [`Timeline`]: the call's end: takes [`Event`]s. [`TimelineFile`] reads them back.
//!
//! # What is promised
//!
//! - Both files can be read at any moment, however the process ends: the WAV header is brought up to date
//!   after every second of audio, and the timeline is closed JSON after every write. The next process goes on
//!   with the files of a call that it adopts.
//! - A disk that is full, gone or forbidden ends the recording with one warning and never disturbs the
//!   call. A disk that stalls for longer than [`Tape::SECONDS`] costs the audio that did not fit; silence
//!   takes its place, so that the timeline stays true.
//! - The folder is for its owner only (0700), the files too (0600).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::oneshot;

use self::timeline::TimelineWriter;
use self::wav::WavFile;
use super::error::StoreError;
use super::{make_folder, record};
use crate::id::CallId;
use crate::time::Moment;

pub use timeline::{Entry, Event, TimelineFile};

mod timeline;
mod wav;

/// Samples in one frame of one side: 20 ms at 8 kHz.
pub const FRAME: usize = 160;

/// The key of the folder in the configuration, for sentences.
const SETTING: &str = "store.recordings";

/// How often the thread writes what has come.
const PASS: Duration = Duration::from_millis(200);

/// Pairs that wait for the thread at most, see [`Tape::SECONDS`].
const TAPE_PAIRS: usize = Tape::SECONDS * 50;

/// Events that wait for the thread at most: nobody does that much in the time of a pass.
const TIMELINE_EVENTS: usize = 512;

/// A folder of recordings. Cheap to clone. When the last clone is gone, what is open is brought to its end.
#[derive(Clone)]
pub struct Recordings {
    folder: Arc<Path>,
    inbox: SyncSender<Command>,
    failures: Arc<AtomicU64>,
}

enum Command {
    Start(CallId, Arc<Shared>),
    Close(oneshot::Sender<()>),
}

/// What the two ends of a recording and the thread have in common.
struct Shared {
    started: Moment,
    pairs: ArrayQueue<Pair>,
    events: ArrayQueue<(Moment, Event)>,
    /// The recording has failed or its thread has ended: nothing more is taken.
    over: AtomicBool,
    /// It failed.
    failed: AtomicBool,
    lost_pairs: AtomicU64,
    lost_events: AtomicU64,
}

/// One frame of each side, and how many were lost before it.
struct Pair {
    lost_before: u32,
    caller: [i16; FRAME],
    bot: [i16; FRAME],
}

impl Recordings {
    /// Opens the folder, makes it when it is not there, and starts the thread that writes.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        make_folder(folder, SETTING)?;
        let cannot = |why| StoreError::Folder { folder: folder.to_owned(), setting: SETTING, why };
        // A permission that is missing shall be heard of now, with a sentence, and not at the first call.
        let probe = folder.join(".offhook-write-test");
        wav::open_private(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(cannot)?;
        let (inbox, commands) = sync_channel(1_024);
        let failures = Arc::new(AtomicU64::new(0));
        let folder: Arc<Path> = folder.into();
        let writer = Writer { folder: Arc::clone(&folder), failures: Arc::clone(&failures) };
        std::thread::Builder::new()
            .name("offhook-recorder".to_owned())
            .spawn(move || writer.run(commands))
            .map_err(cannot)?;
        Ok(Self { folder, inbox, failures })
    }

    /// Starts to record a call whose first frames are those of `started`, or goes on with its recording when
    /// there is one already. Returns at once; whether the files can be made is found out by the thread. Any
    /// thread but the media threads.
    #[must_use]
    pub fn start(&self, call: CallId, started: Moment) -> (Tape, Timeline) {
        let shared = Arc::new(Shared {
            started,
            pairs: ArrayQueue::new(TAPE_PAIRS),
            events: ArrayQueue::new(TIMELINE_EVENTS),
            over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            lost_pairs: AtomicU64::new(0),
            lost_events: AtomicU64::new(0),
        });
        if self.inbox.try_send(Command::Start(call, Arc::clone(&shared))).is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            shared.fail();
            tracing::warn!(%call, "the call is not recorded: the recorder is busy or has ended");
        }
        (Tape { shared: Arc::clone(&shared), lost: 0 }, Timeline { shared })
    }

    /// Where the audio of a call is, if it was recorded.
    #[must_use]
    pub fn wav_path(&self, call: CallId) -> PathBuf {
        wav_path(&self.folder, call)
    }

    /// Where the timeline of a call is, if it was recorded.
    #[must_use]
    pub fn timeline_path(&self, call: CallId) -> PathBuf {
        timeline_path(&self.folder, call)
    }

    /// Removes what was recorded of a call, as after [`Store::purge`](super::Store::purge). Blocks.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub fn remove(&self, call: CallId) -> io::Result<()> {
        for path in [self.wav_path(call), self.timeline_path(call)] {
            match std::fs::remove_file(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }

    /// How many recordings could not be made or ended early.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Writes what waits and ends the thread, and with it what is still being recorded. Waits for at most
    /// five seconds: a disk that hangs does not keep the engine.
    pub async fn close(&self) {
        let (done, is_done) = oneshot::channel();
        if self.inbox.try_send(Command::Close(done)).is_err() {
            return;
        }
        if tokio::time::timeout(Duration::from_secs(5), is_done).await.is_err() {
            tracing::warn!("the disk of the recordings hangs: their last seconds may be missing");
        }
    }
}

fn wav_path(folder: &Path, call: CallId) -> PathBuf {
    folder.join(format!("{call}.wav"))
}

fn timeline_path(folder: &Path, call: CallId) -> PathBuf {
    folder.join(format!("{call}.json"))
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The media thread's end of a recording. The recording ends when this and every clone of its [`Timeline`]
/// are gone.
pub struct Tape {
    shared: Arc<Shared>,
    /// Pairs lost since the last that was taken.
    lost: u32,
}

impl Tape {
    /// How long the disk may stall before audio is lost.
    pub const SECONDS: usize = 5;

    /// Takes 20 ms of both sides at 8 kHz; silence where a side had nothing. Call it every 20 ms. Never
    /// blocks, never allocates; one that does not fit is counted and becomes silence.
    pub fn push(&mut self, caller: &[i16; FRAME], bot: &[i16; FRAME]) {
        if self.shared.is_over() {
            return;
        }
        let pair = Pair { lost_before: self.lost, caller: *caller, bot: *bot };
        if self.shared.pairs.push(pair).is_ok() {
            self.lost = 0;
        } else {
            self.lost = self.lost.saturating_add(1);
            self.shared.lost_pairs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The call's end of a recording.
#[derive(Clone)]
pub struct Timeline {
    shared: Arc<Shared>,
}

impl Timeline {
    /// Writes down what happened at `at`, which should not be before the start of the recording. Never
    /// blocks. Any thread.
    pub fn push(&self, at: Moment, event: Event) {
        if !self.shared.is_over() && self.shared.events.push((at, event)).is_err() {
            self.shared.lost_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the recording has failed: there may be nothing to refer to.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

/// The thread.
struct Writer {
    folder: Arc<Path>,
    failures: Arc<AtomicU64>,
}

impl Writer {
    fn run(&self, commands: Receiver<Command>) {
        let mut open = Vec::new();
        loop {
            let mut done = None;
            match commands.recv_timeout(PASS) {
                Ok(Command::Start(call, shared)) => open.extend(self.begin(call, shared)),
                Ok(Command::Close(told)) => done = Some(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if open.is_empty() => return,
                // Nobody can start another one, but calls that are up go on being recorded.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PASS),
            }
            let closing = done.is_some();
            open.retain_mut(|recording: &mut Recording| match recording.pass(closing) {
                Ok(goes_on) => goes_on,
                Err(why) => {
                    self.give_up(recording.call, &recording.shared, &why);
                    false
                }
            });
            if let Some(told) = done {
                // Whoever starts a recording from here on is told so at once; who was waiting, now.
                for command in commands.try_iter() {
                    if let Command::Start(call, shared) = command {
                        self.give_up(call, &shared, &io::Error::other("the engine is stopping"));
                    }
                }
                drop(commands);
                let _ = told.send(());
                return;
            }
        }
    }

    fn begin(&self, call: CallId, shared: Arc<Shared>) -> Option<Recording> {
        match Recording::begin(&self.folder, call, Arc::clone(&shared)) {
            Ok(recording) => Some(recording),
            Err(why) => {
                self.give_up(call, &shared, &why);
                None
            }
        }
    }

    fn give_up(&self, call: CallId, shared: &Shared, why: &io::Error) {
        shared.fail();
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%call, %why, folder = %self.folder.display(),
            "the recording of the call ends here: check the disk and the rights of the folder; the call goes on");
    }
}

/// One call that is being recorded, as the thread sees it.
struct Recording {
    call: CallId,
    shared: Arc<Shared>,
    wav: WavFile,
    timeline: TimelineWriter,
    /// How much was in the file when this process began.
    base_ms: f64,
}

impl Recording {
    fn begin(folder: &Path, call: CallId, shared: Arc<Shared>) -> io::Result<Self> {
        let wav = WavFile::open(&wav_path(folder, call))?;
        let mut timeline = TimelineWriter::open(&timeline_path(folder, call), call)?;
        let base_ms = wav.milliseconds();
        if base_ms > 0.0 {
            timeline.push(&Entry { at_ms: base_ms, event: Event::Resumed });
            timeline.write()?;
        }
        Ok(Self { call, shared, wav, timeline, base_ms })
    }

    /// Writes what has come. False when the recording has come to its end.
    fn pass(&mut self, closing: bool) -> io::Result<bool> {
        // Asked before the queues are emptied: what came before the last end was dropped is then in them.
        let last = Arc::get_mut(&mut self.shared).is_some() || closing;
        if closing {
            self.shared.over.store(true, Ordering::Relaxed);
        }
        while let Some(pair) = self.shared.pairs.pop() {
            self.wav.skip(pair.lost_before)?;
            self.wav.push(&pair.caller, &pair.bot);
        }
        self.wav.write(last)?;
        while let Some((at, event)) = self.shared.events.pop() {
            let at_ms = self.base_ms + at.millis_from(self.shared.started);
            self.timeline.push(&Entry { at_ms, event });
        }
        if last {
            let lost_ms = self.shared.lost_pairs.load(Ordering::Relaxed) * 20;
            let lost_events = self.shared.lost_events.load(Ordering::Relaxed) + self.timeline.refused();
            if lost_ms + lost_events > 0 {
                tracing::warn!(call = %self.call, lost_ms, lost_events, "the recording has holes: the disk stalled");
            }
            let ended =
                Entry { at_ms: self.wav.milliseconds(), event: Event::Ended { lost_ms, lost_events } };
            self.timeline.push_last(&ended);
        }
        self.timeline.write()?;
        Ok(!last)
    }
}

#[cfg(test)]
mod tests;
