//! How long packets wait and how long they take: for benchmarks, at the price of two looks at the clock per packet.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::stamp::ClockPair;
use crate::time::Moment;

/// Times are counted in nanoseconds, to three significant digits, up to this many: a minute.
const LARGEST: u64 = 60_000_000_000;

/// What a media thread measured of its packets. Allocates when it is made, never after.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Nanoseconds from a packet's arrival at the kernel to the beginning of its handling.
    pub arrival_to_frame: Histogram<u64>,
    /// Nanoseconds from the same to its having been heard: ordered, decoded, and found to be speech or not.
    pub arrival_to_vad: Histogram<u64>,
    arrived: Moment,
}

impl Probe {
    pub(super) fn new() -> Self {
        let empty = Histogram::new_with_max(LARGEST, 3).expect("three digits of a minute are a valid range");
        Self { arrival_to_frame: empty.clone(), arrival_to_vad: empty, arrived: Moment::ZERO }
    }

    /// For a batch of packets: read for each anew, since the clocks drift apart.
    pub(super) fn clock() -> ClockPair {
        ClockPair::now()
    }

    pub(super) fn begins(&mut self, arrived: Moment) {
        self.arrived = arrived;
        self.arrival_to_frame.saturating_record(nanos(Moment::now().since(arrived)));
    }

    pub(super) fn ends(&mut self) {
        self.arrival_to_vad.saturating_record(nanos(Moment::now().since(self.arrived)));
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(LARGEST)
}
