//! The way from a detector on a media thread to a recogniser that hears along, and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::phrases::{Book, Told};
use super::settings::Phrases;
use crate::audio::Frame;
use crate::audio::ring::{EarItem, EarReader, EarWriter, ear};
use crate::time::Moment;

/// A recogniser hears along for so long after the answer.
pub(crate) const HEARS: Duration = Duration::from_secs(10);

/// And for so long after a person was found out: a machine may have passed for one.
pub(crate) const GOES_ON: Duration = Duration::from_secs(2);

/// Frames that may wait for the recogniser: more than half a second. It falls behind at its peril: the oldest are lost.
const WAITING: usize = 64;

/// What may wait for the detector.
const ANSWERS: usize = 16;

/// The detector's end: to be given to [`Answerer::listen`](super::Answerer::listen).
pub struct Listener {
    ear: EarWriter,
    told: Arc<ArrayQueue<Told>>,
    /// When it heard the first frame; and that it has heard the last.
    since: Option<Moment>,
    /// When a person was found out.
    person: Option<Moment>,
    over: bool,
}

/// The recogniser's end. Any thread but a media thread's.
pub struct Teller {
    book: Book,
    told: Arc<ArrayQueue<Told>>,
}

/// Makes the way: what goes into the [`Answerer`](super::Answerer), an ear with one utterance for a recogniser, and whom to
/// tell what that understands. `phrases` are those of the settings. Allocates.
#[must_use]
pub fn listener(phrases: &BTreeMap<String, Phrases>) -> (Listener, EarReader, Teller) {
    let (ear, reader) = ear(WAITING);
    let told = Arc::new(ArrayQueue::new(ANSWERS));
    let teller = Teller { book: Book::new(phrases), told: Arc::clone(&told) };
    (Listener { ear, told, since: None, person: None, over: false }, reader, teller)
}

impl Teller {
    /// All that was understood so far. The text is kept nowhere.
    pub fn tell(&self, text: &str) {
        // Nobody may be listening any more; what is newer counts.
        self.told.force_push(self.book.tell(text));
    }
}

impl Listener {
    /// The next of what was told. Allocates nothing, waits for nothing.
    pub(super) fn told(&self) -> Option<Told> {
        self.told.pop()
    }

    /// A frame that ended `now`, and whether whoever is heard is known for a person. Allocates nothing, waits for nothing.
    pub(super) fn hear(&mut self, now: Moment, frame: &Frame, person: bool) {
        if self.over {
            return;
        }
        if person {
            self.person.get_or_insert(now);
        }
        let since = *self.since.get_or_insert_with(|| {
            self.ear.push(EarItem::Onset { at: now });
            now
        });
        self.ear.push(EarItem::Audio(*frame));
        if now.since(since) >= HEARS || self.person.is_some_and(|person| now.since(person) >= GOES_ON) {
            self.stop(now);
        }
    }

    /// Nobody needs to know more.
    pub(super) fn stop(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.over, true) && self.since.is_some() {
            self.ear.push(EarItem::End { speech_end: now });
        }
    }
}
