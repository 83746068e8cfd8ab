//! Tests of the room: in virtual time, and over real sockets.

use crate::audio::g711::Law;
use crate::audio::{FRAME_SAMPLES, Frame};
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

/// 20 ms of a caller who sounds like nothing that the bot says, in µ-law.
fn unlike_the_bot(seed: u64) -> [u8; FRAME_SAMPLES] {
    let mut random = fastrand::Rng::with_seed(seed);
    std::array::from_fn(|_| Law::Mu.encode(random.i16(-12_000..12_000)))
}
