//! The queue between the reader of the events socket and whoever handles the events.

use super::model::Event;
use super::stream::Why;
use crate::asterisk::queue;

/// What an [`EventStream`](super::EventStream) yields. After [`Connected`](queue::Signal::Connected) the application is
/// registered; ask `applications().get` and `channels().list` what there is.
pub type Signal = queue::Signal<Box<Event>, Why>;

/// The queue of one stream.
pub(super) type Queue = queue::Queue<Box<Event>, Why>;
