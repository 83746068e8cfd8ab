//! Bounded rings between a media thread and everybody else.
//!
//! Two of them per call: the *ear* carries what the caller says from the media thread to a recogniser, the *voice*
//! carries what the bot says to the media thread; a call that is recorded has a third, the *tape*, with both sides
//! of it. All are lock-free on the media thread's side and allocate nothing after they are made. A full ear or tape
//! drops its oldest item and counts it; a full voice makes its writer wait. Either end may be dropped at any time; the other end then sees [`None`] or [`Closed`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;

use super::g711::Law;
use super::{FRAME_SAMPLES, Frame, Rate};
use crate::prefetch::prefetch;
use crate::time::Moment;

/// What an ear carries. An utterance is `Onset`, then `Audio` (first the pre-roll that lies before the onset),
/// then `End`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "a slot of the ring is as large as its largest item anyway")]
pub enum EarItem {
    /// The caller began to speak.
    Onset {
        /// When speech began.
        at: Moment,
    },
    /// A frame of the utterance, in order.
    Audio(Frame),
    /// The caller may be done: a recogniser that can prepares its final now. More audio may follow.
    Pause {
        /// When speech ended, if it did.
        speech_end: Moment,
    },
    /// What was begun was no utterance after all (a cough, an "uh-huh"): it is forgotten, and the question stands.
    TakenBack,
    /// The caller is done: a recogniser gives its final.
    End {
        /// When speech ended.
        speech_end: Moment,
    },
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    reader: AtomicWaker,
    writer: AtomicWaker,
    closed: AtomicBool,
    /// Of a voice: items that are surely in the queue. Beside `closed`, so that the many ticks of a silent bot look at
    /// one line of the cache and not at four.
    there: AtomicUsize,
    dropped: AtomicU64,
}

impl<T> Shared<T> {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(capacity),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            there: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    /// Adds an item if there is room, and counts it.
    fn push(&self, item: T) -> bool {
        let pushed = self.queue.push(item).is_ok();
        if pushed {
            self.there.fetch_add(1, Ordering::Release);
        }
        pushed
    }

    /// Adds an item, in the place of the oldest one where there is no other; wakes the reader.
    fn force_push(&self, item: T) {
        if self.queue.force_push(item).is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.reader.wake();
    }

    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(item) = self.queue.pop() {
            return Poll::Ready(Some(item));
        }
        self.reader.register(cx.waker());
        // Looked at again after registering: an item or the end may have come in between.
        match self.queue.pop() {
            Some(item) => Poll::Ready(Some(item)),
            None if self.closed.load(Ordering::Acquire) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// Makes an ear that holds `capacity` items.
#[must_use]
pub fn ear(capacity: usize) -> (EarWriter, EarReader) {
    Ear::Linear(Shared::new(capacity)).ends()
}

/// Makes an ear for frames of 8 kHz that holds `capacity` items in half the memory: frames are kept in `law`. Nothing is
/// lost of audio that came in that law; of what was made up for lost packets no more than the law always takes.
#[must_use]
pub fn companded_ear(law: Law, capacity: usize) -> (EarWriter, EarReader) {
    Ear::Companded(law, Shared::new(capacity)).ends()
}

#[derive(Clone)]
enum Ear {
    Linear(Arc<Shared<EarItem>>),
    Companded(Law, Arc<Shared<Companded>>),
}

/// An [`EarItem`] in half the memory.
enum Companded {
    Audio([u8; FRAME_SAMPLES]),
    /// Anything but audio, which is small: moments.
    Onset(Moment),
    Pause(Moment),
    TakenBack,
    End(Moment),
}

impl Companded {
    /// A frame of 16 kHz has no place in such an ear.
    fn new(law: Law, item: &EarItem) -> Option<Self> {
        Some(match item {
            EarItem::Audio(frame) if frame.rate == Rate::Hz8000 => {
                let mut codes = [0; FRAME_SAMPLES];
                law.encode_into(&frame.samples, &mut codes);
                Self::Audio(codes)
            }
            EarItem::Audio(_) => return None,
            EarItem::Onset { at } => Self::Onset(*at),
            EarItem::Pause { speech_end } => Self::Pause(*speech_end),
            EarItem::TakenBack => Self::TakenBack,
            EarItem::End { speech_end } => Self::End(*speech_end),
        })
    }

    fn item(self, law: Law) -> EarItem {
        match self {
            Self::Audio(codes) => {
                let mut frame = Frame::silence(Rate::Hz8000);
                law.decode_into(&codes, &mut frame.samples);
                EarItem::Audio(frame)
            }
            Self::Onset(at) => EarItem::Onset { at },
            Self::Pause(speech_end) => EarItem::Pause { speech_end },
            Self::TakenBack => EarItem::TakenBack,
            Self::End(speech_end) => EarItem::End { speech_end },
        }
    }
}

impl Ear {
    fn ends(self) -> (EarWriter, EarReader) {
        (EarWriter(self.clone()), EarReader(self))
    }

    fn close(&self) {
        match self {
            Self::Linear(shared) => shared.close(),
            Self::Companded(_, shared) => shared.close(),
        }
    }
}

/// The media thread's end of an ear.
pub struct EarWriter(Ear);

impl EarWriter {
    /// Adds an item; when the ear is full its oldest item is dropped and counted, and so is a frame of 16 kHz in a
    /// companded ear. Never blocks, never allocates.
    pub fn push(&self, item: EarItem) {
        match &self.0 {
            Ear::Linear(shared) => shared.force_push(item),
            Ear::Companded(law, shared) => match Companded::new(*law, &item) {
                Some(item) => shared.force_push(item),
                None => {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            },
        }
    }

    /// Asks for the memory that the next [`push`](Self::push) needs.
    pub(crate) fn prefetch(&self) {
        match &self.0 {
            Ear::Linear(shared) => prefetch(&**shared),
            Ear::Companded(_, shared) => prefetch(&**shared),
        }
    }

    /// Items dropped because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.0 {
            Ear::Linear(shared) => shared.dropped.load(Ordering::Relaxed),
            Ear::Companded(_, shared) => shared.dropped.load(Ordering::Relaxed),
        }
    }

    /// Whether everything that was pushed has been taken.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        match &self.0 {
            Ear::Linear(shared) => shared.queue.is_empty(),
            Ear::Companded(_, shared) => shared.queue.is_empty(),
        }
    }
}

impl Drop for EarWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The recogniser's end of an ear. Clones read from the same ear: one at a time, please.
#[derive(Clone)]
pub struct EarReader(Ear);

impl EarReader {
    /// Takes the next item if there is one. Any thread.
    #[must_use]
    pub fn try_pop(&self) -> Option<EarItem> {
        match &self.0 {
            Ear::Linear(shared) => shared.queue.pop(),
            Ear::Companded(law, shared) => shared.queue.pop().map(|item| item.item(*law)),
        }
    }

    /// How many items wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.0 {
            Ear::Linear(shared) => shared.queue.len(),
            Ear::Companded(_, shared) => shared.queue.len(),
        }
    }

    /// Whether the call has ended: nothing more will come once the ear is empty.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Ear::Linear(shared) => shared.closed.load(Ordering::Acquire),
            Ear::Companded(_, shared) => shared.closed.load(Ordering::Acquire),
        }
    }

    /// Waits for the next item; `None` when the call has ended and the ear is empty. One task or thread at a time.
    pub fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<EarItem>> {
        match &self.0 {
            Ear::Linear(shared) => shared.poll_pop(cx),
            Ear::Companded(law, shared) => shared.poll_pop(cx).map(|item| item.map(|item| item.item(*law))),
        }
    }

    /// [`poll_pop`](Self::poll_pop) as a future.
    pub async fn pop(&self) -> Option<EarItem> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    /// Throws away what is in the ear, as before a new question.
    pub fn clear(&self) {
        match &self.0 {
            Ear::Linear(shared) => while shared.queue.pop().is_some() {},
            Ear::Companded(_, shared) => while shared.queue.pop().is_some() {},
        }
    }
}

/// Numbers the things that a call plays, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PlayId(pub u32);

/// What a voice carries.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "a slot of the ring is as large as its largest item anyway")]
pub enum VoiceItem {
    /// A frame of something that is being said.
    Audio(PlayId, Frame),
    /// Nothing more comes of this one.
    End(PlayId),
}

/// Makes a voice that holds `capacity` items.
#[must_use]
pub fn voice(capacity: usize) -> (VoiceWriter, VoiceReader) {
    let shared = Shared::new(capacity);
    (VoiceWriter(Arc::clone(&shared)), VoiceReader(shared))
}

/// The call is over: nobody plays this any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the call's audio has ended")]
pub struct Closed;

/// The bot's end of a voice.
pub struct VoiceWriter(Arc<Shared<VoiceItem>>);

impl VoiceWriter {
    /// Adds an item, waiting for room. Errors with [`Closed`] when the call's media has ended.
    pub async fn push(&self, item: VoiceItem) -> Result<(), Closed> {
        std::future::poll_fn(|cx| {
            if self.0.closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(Closed));
            }
            if self.0.push(item) {
                return Poll::Ready(Ok(()));
            }
            self.0.writer.register(cx.waker());
            // Looked at again after registering: room may have appeared in between.
            if self.0.closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(Closed));
            }
            if self.0.push(item) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

impl Drop for VoiceWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The media thread's end of a voice.
pub struct VoiceReader(Arc<Shared<VoiceItem>>);

impl VoiceReader {
    /// Takes the next item if there is one; wakes a waiting writer when half the ring is free again. Never blocks.
    #[must_use]
    pub fn pop(&self) -> Option<VoiceItem> {
        if self.0.there.load(Ordering::Acquire) == 0 {
            return None;
        }
        let item = self.0.queue.pop()?;
        self.0.there.fetch_sub(1, Ordering::Relaxed);
        if self.0.queue.len() * 2 <= self.0.queue.capacity() {
            self.0.writer.wake();
        }
        Some(item)
    }

    /// Asks for the memory that the next [`pop`](Self::pop) needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&*self.0);
    }

    /// Whether the writer is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }
}

impl Drop for VoiceReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Both sides of the same 20 ms of a call, as the bot's side of the wire saw them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TapeItem {
    /// What the caller said.
    pub caller: Frame,
    /// What was sent to the caller.
    pub bot: Frame,
}

/// Makes a tape that holds `capacity` items.
#[must_use]
pub fn tape(capacity: usize) -> (TapeWriter, TapeReader) {
    let shared = Shared::new(capacity);
    (TapeWriter(Arc::clone(&shared)), TapeReader(shared))
}

/// The media thread's end of a tape.
pub struct TapeWriter(Arc<Shared<TapeItem>>);

impl TapeWriter {
    /// Adds an item; when the tape is full its oldest item is dropped and counted. Wakes the reader only when a
    /// quarter of the tape is there to be read: nobody waits for a recording. Never blocks, never allocates.
    pub fn push(&self, item: TapeItem) {
        if self.0.queue.force_push(item).is_some() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.0.queue.len() * 4 >= self.0.queue.capacity() {
            self.0.reader.wake();
        }
    }

    /// Items dropped because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for TapeWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The recorder's end of a tape.
pub struct TapeReader(Arc<Shared<TapeItem>>);

impl TapeReader {
    /// Takes the next item if there is one. Any thread.
    #[must_use]
    pub fn try_pop(&self) -> Option<TapeItem> {
        self.0.queue.pop()
    }

    /// Waits for the next item; [`None`] when the call has ended and the tape is empty.
    pub async fn pop(&self) -> Option<TapeItem> {
        std::future::poll_fn(|cx| self.0.poll_pop(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn frame(value: i16) -> Frame {
        Frame { rate: Rate::Hz8000, samples: [value; super::super::FRAME_SAMPLES] }
    }

    #[test]
    fn a_full_ear_drops_its_oldest_item_and_counts_it() {
        let (writer, reader) = ear(2);
        for value in 1..=3 {
            writer.push(EarItem::Audio(frame(value)));
        }
        assert_eq!(writer.dropped(), 1);
        assert_eq!(reader.try_pop(), Some(EarItem::Audio(frame(2))));
        assert_eq!(reader.try_pop(), Some(EarItem::Audio(frame(3))));
        assert_eq!(reader.try_pop(), None);
    }

    #[tokio::test]
    async fn a_full_voice_makes_its_writer_wait_and_a_closed_one_tells_him() {
        let (writer, reader) = voice(2);
        writer.push(VoiceItem::End(PlayId(1))).await.expect("room for the first");
        writer.push(VoiceItem::End(PlayId(2))).await.expect("room for the second");
        let third = tokio::spawn(async move {
            let pushed = writer.push(VoiceItem::End(PlayId(3))).await;
            (writer, pushed)
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        assert_eq!(reader.pop(), Some(VoiceItem::End(PlayId(1))));
        let (writer, pushed) = third.await.expect("the writer does not panic");
        assert_eq!(pushed, Ok(()));
        drop(reader);
        assert_eq!(writer.push(VoiceItem::End(PlayId(4))).await, Err(Closed));
    }

    #[tokio::test]
    async fn an_ear_ends_when_the_call_does_and_not_before_it_is_empty() {
        let (writer, reader) = ear(4);
        writer.push(EarItem::Onset { at: Moment::ZERO });
        drop(writer);
        assert_eq!(reader.pop().await, Some(EarItem::Onset { at: Moment::ZERO }));
        assert_eq!(reader.pop().await, None);
    }

    #[test]
    fn a_companded_ear_gives_back_what_came_over_the_telephone() {
        for law in [Law::Mu, Law::A] {
            let (writer, reader) = companded_ear(law, 8);
            let mut heard = Frame::silence(Rate::Hz8000);
            let codes: Vec<u8> = (0..FRAME_SAMPLES).map(|i| i as u8).collect();
            law.decode_into(&codes, &mut heard.samples);
            let at = Moment::from_millis(7);
            let items = [
                EarItem::Onset { at },
                EarItem::Audio(heard),
                EarItem::Pause { speech_end: at },
                EarItem::TakenBack,
                EarItem::End { speech_end: at },
            ];
            items.iter().for_each(|item| writer.push(*item));
            items.iter().for_each(|item| assert_eq!(reader.try_pop(), Some(*item)));
            writer.push(EarItem::Audio(Frame::silence(Rate::Hz16000)));
            assert_eq!((reader.try_pop(), writer.dropped()), (None, 1));
        }
        assert!(size_of::<Companded>() * 2 <= size_of::<EarItem>() + 16);
    }

    #[test]
    fn a_full_tape_drops_its_oldest_item_and_counts_it() {
        let (writer, reader) = tape(2);
        for value in 1..=3 {
            writer.push(TapeItem { caller: frame(value), bot: frame(-value) });
        }
        assert_eq!(writer.dropped(), 1);
        assert_eq!(reader.try_pop().map(|item| item.bot), Some(frame(-2)));
    }
}
