//! The media thread allocates nothing per frame: counted by the allocator of this test binary, thread by thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::virtual_time::Booth;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that is ending has no counter any more, and nothing to count.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is handed to the system's allocator unchanged; counting allocates nothing, since the
// thread-local is initialised in a constant and has no destructor.
#[expect(unsafe_code, reason = "an allocator cannot be written otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// How often this thread allocated or released memory meanwhile.
pub(super) fn asked(work: impl FnOnce()) -> u64 {
    let before = ASKED.with(Cell::get);
    work();
    ASKED.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(asked(|| drop(std::hint::black_box(vec![1_u8; 100]))), 2);
}

#[test]
fn ten_seconds_of_a_call_allocate_nothing() {
    let mut booth = Booth::new();
    booth.listen();
    booth.play(1, 45);
    booth.tick();
    let loud = Booth::payload(9_000);
    let quiet = Booth::payload(10);
    let asked = asked(|| {
        for i in 0..500_usize {
            // Loss, reordering and a digit in between: the ways that are not the usual one.
            // Not so often that the events, which nobody reads here, need a second block of their channel.
            match i % 100 {
                10 => booth.skip_packet(),
                20 => booth.swap_packets(&loud),
                30 => booth.packet(101, &[5, 10, 0, 160]),
                n => booth.packet(0, if n < 25 { &loud } else { &quiet }),
            }
            booth.tick_raw();
        }
    });
    assert_eq!(asked, 0, "allocations and releases in 500 ticks");
}

#[test]
fn codecs_and_concealment_allocate_nothing_per_frame() {
    use crate::audio::codec::{ByteOrder, Decoder, Encoder, Format};
    use crate::audio::conceal::Concealer;

    let usable = Format::ALL.into_iter().filter(|format| cfg!(feature = "opus") || *format != Format::Opus);
    for format in usable {
        let mut encoder = Encoder::new(format, ByteOrder::Big).expect("it is built in");
        let mut decoder = Decoder::new(format, ByteOrder::Big).expect("it is built in");
        let mut concealer = Concealer::new(format.rate());
        let (mut samples, mut payload) = ([0; 320], [0; 640]);
        let samples = &mut samples[..format.frame_samples()];
        let asked = asked(|| {
            for i in 0..100 {
                samples.iter_mut().zip(0..).for_each(|(sample, at)| *sample = (at * 700 % 9_000) as i16);
                let bytes = encoder.encode(samples, &mut payload).expect("room enough");
                if i % 10 == 5 {
                    let mut next = [0; 320];
                    next[..samples.len()].copy_from_slice(samples);
                    decoder.lost(Some(&payload[..bytes]), samples).expect("20 ms");
                    concealer.between(samples, &next[..samples.len()]);
                }
                decoder.decode(&payload[..bytes], samples).expect("our own payload");
                concealer.heard(samples);
            }
        });
        assert_eq!(asked, 0, "{format}: allocations and releases in 100 frames");
    }
}

#[test]
fn turns_are_taken_without_an_allocation() {
    use std::time::Duration;

    use crate::audio::{Frame, Rate};
    use crate::time::Moment;
    use crate::turn::sounds::Sounds;
    use crate::turn::vad::{self, Kind};
    use crate::turn::{BargeIn, Listening, TurnTaker};

    for kind in Kind::ALL {
        let mut sounds = Sounds::new(Rate::Hz8000, 1);
        let mut frames = sounds.silence(1_000);
        frames.extend(sounds.sentence(2_000));
        frames.extend(sounds.noise(4_000, 2_000));
        frames.extend(sounds.silence(1_000));
        let mut taker = TurnTaker::new(vad::make(kind, Rate::Hz8000));
        let mut now = Moment::from_millis(1_000);
        let mut signals = 0;
        let mut pass = |frame: &Frame, sent: &Frame| {
            now = now + Duration::from_millis(20);
            taker.frame(now, Some(frame), &mut |_| signals += 1);
            taker.sent(now, sent);
            taker.tick(now, &mut |_| signals += 1);
            if signals > 4 {
                signals = 0;
                taker.listen(now, Listening::BALANCED);
                taker.playing(now, Some(BargeIn::ALLOWED));
            }
        };
        let asked =
            asked(|| frames.iter().zip(frames.iter().rev()).for_each(|(frame, sent)| pass(frame, sent)));
        assert_eq!(asked, 0, "{kind}: allocations and releases in {} frames", frames.len());
    }
}

#[test]
fn finding_out_who_answered_allocates_nothing_per_frame() {
    use crate::audio::tone::Tone;
    use crate::audio::{Frame, Rate};
    use crate::time::Moment;
    use crate::turn::answer::{AnswerSettings, Answerer};

    let mut answerer = Answerer::new(&AnswerSettings::default(), Rate::Hz8000);
    answerer.answered(Moment::ZERO);
    let (mut beep, silence) = (Tone::sine(Rate::Hz8000, 1_000.0, -12.0), Frame::silence(Rate::Hz8000));
    let (mut told, mut now) = (0, Moment::ZERO);
    let asked = asked(|| {
        for i in 0..1_000_usize {
            now = now + crate::audio::PTIME;
            let mut frame = if i % 100 < 20 { beep.frame() } else { silence };
            if i % 100 > 60 {
                frame.samples.iter_mut().zip(0_i16..).for_each(|(s, at)| *s = at.wrapping_mul(7_001) >> 2);
            }
            answerer.sent(&silence);
            answerer.frame(now, (i % 30 != 0).then_some(&frame), &mut |_| told += 1);
            answerer.words(now, "Leave a message", &mut |_| told += 1);
        }
    });
    assert!(told > 1, "beeps are told");
    assert_eq!(asked, 0, "allocations and releases in 1,000 frames");
}
