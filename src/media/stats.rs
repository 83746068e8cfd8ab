//! The numbers of one call, readable from any thread while the media thread counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::rtp::stream::StreamStats;

/// What happened on one call's media so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MediaStats {
    /// What came from the caller.
    pub stream: StreamStats,
    /// Packets of the other law than the one that was agreed; they were decoded all the same.
    pub other_law: u64,
    /// Payloads that are none of the call's format.
    pub undecodable: u64,
    /// Audio that was made up in place of what was lost, in milliseconds.
    pub concealed_ms: u64,
    /// Packets or messages of audio sent.
    pub sent: u64,
    /// Packets that the system refused to send; messages that a stalled peer had no room for.
    pub send_errors: u64,
    /// Ticks of 20 ms that passed without a packet because the thread woke too late.
    pub skipped_ticks: u64,
    /// Ticks of silence in the middle of something that was being said, because nothing was in the ring.
    pub underruns: u64,
    /// Items of the ear that were dropped because nobody read them.
    pub ear_dropped: u64,
    /// Items of the tape that were dropped because nobody read them.
    pub tape_dropped: u64,
    /// Events that were dropped because nobody read them.
    pub events_dropped: u64,
}

/// The same numbers in atomics: written by the media thread once a tick, read by anybody.
///
/// A reader may see some numbers of this tick and some of the last one; each by itself is true.
#[derive(Debug, Default)]
pub(super) struct SharedStats([AtomicU64; WORDS]);

macro_rules! counters {
    ($($($name:ident).+),+ $(,)?) => {
        const WORDS: usize = [$(stringify!($($name).+)),+].len() + 1;

        impl MediaStats {
            fn to_words(self) -> [u64; WORDS] {
                #[expect(clippy::cast_possible_truncation, reason = "a jitter is far below 500 years")]
                let jitter = self.stream.jitter.as_nanos() as u64;
                [$(self.$($name).+,)+ jitter]
            }

            fn from_words(words: [u64; WORDS]) -> Self {
                let mut stats = Self::default();
                let mut words = words.into_iter();
                $(stats.$($name).+ = words.next().unwrap_or_default();)+
                stats.stream.jitter = Duration::from_nanos(words.next().unwrap_or_default());
                stats
            }
        }
    };
}

counters!(
    stream.received,
    stream.lost,
    stream.keys,
    stream.late,
    stream.duplicate,
    stream.reordered,
    stream.stale,
    stream.noise,
    stream.ssrc_changes,
    stream.restarts,
    stream.leaps,
    stream.strays,
    stream.other_payload,
    stream.malformed,
    other_law,
    undecodable,
    concealed_ms,
    sent,
    send_errors,
    skipped_ticks,
    underruns,
    ear_dropped,
    tape_dropped,
    events_dropped,
);

impl SharedStats {
    pub(super) fn publish(&self, stats: &MediaStats) {
        for (slot, word) in self.0.iter().zip(stats.to_words()) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> MediaStats {
        MediaStats::from_words(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_as_it_was_published() {
        let words = std::array::from_fn(|i| i as u64 + 1);
        let stats = MediaStats::from_words(words);
        assert_eq!(stats.to_words(), words);
        let shared = SharedStats::default();
        shared.publish(&stats);
        assert_eq!(shared.read(), stats);
        assert_eq!(stats.stream.jitter, Duration::from_nanos(WORDS as u64));
    }
}
