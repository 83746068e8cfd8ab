//! Tests of the room: in virtual time, and over real sockets.

use crate::audio::Frame;
use crate::turn::vad::Vad;

mod allocations;
mod loopback;
mod queued;
mod streams;
mod virtual_time;

/// Takes everything that is not very quiet for speech.
struct Loud;

impl Vad for Loud {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        frame.samples.iter().any(|sample| sample.unsigned_abs() > 1_000)
    }
}
