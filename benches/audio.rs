//! What the hot functions of the audio path cost, each for 20 ms of one call.
//!
//!     cargo bench --bench audio            # all; a word after `--` picks some
//!
//! Divide a time by 20 ms to have the share of a core that it is. To hold it against: `copy` moves the same samples and
//! does nothing with them.

use divan::{Bencher, black_box};
use offhook::audio::codec::{ByteOrder, Decoder, Encoder, Format};
use offhook::audio::conceal::Concealer;
use offhook::audio::level::rms_dbfs;
use offhook::audio::resample::{Down2, Down3, Up2};
use offhook::audio::tone::Tone;
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::time::Moment;
use offhook::turn::echo::canceller;
use offhook::turn::tones::Tones;
use offhook::turn::vad::{self, Kind};
use offhook::turn::{BargeIn, Listening, TurnTaker};

const RATES: [Rate; 2] = [Rate::Hz8000, Rate::Hz16000];

fn main() {
    divan::main();
}

/// A second that sounds a little like a voice: two tones under noise.
fn sound(rate: Rate) -> Vec<i16> {
    let mut samples = vec![0; rate.hz() as usize];
    Tone::dual(rate, [140.0, 710.0], -12.0).fill(&mut samples);
    fastrand::seed(1);
    samples.iter_mut().for_each(|sample| *sample += fastrand::i16(-500..500));
    samples
}

fn frame_of(rate: Rate) -> usize {
    rate.hz() as usize / 50
}

#[divan::bench(args = RATES)]
fn copy(bencher: Bencher, rate: Rate) {
    let (from, mut to) = (sound(rate), [0_i16; 320]);
    let length = frame_of(rate);
    bencher.bench_local(|| black_box(&mut to)[..length].copy_from_slice(&black_box(&from)[..length]));
}

#[divan::bench(args = Format::ALL)]
fn encode(bencher: Bencher, format: Format) {
    let samples = sound(format.rate());
    let mut encoder = Encoder::new(format, ByteOrder::Big).expect("it is built in");
    let mut frames = samples.chunks_exact(format.frame_samples()).cycle();
    let mut payload = [0; 640];
    bencher
        .bench_local(move || encoder.encode(frames.next().expect("it goes round"), black_box(&mut payload)));
}

#[divan::bench(args = Format::ALL)]
fn decode(bencher: Bencher, format: Format) {
    let mut encoder = Encoder::new(format, ByteOrder::Big).expect("it is built in");
    let payloads: Vec<Vec<u8>> = sound(format.rate())
        .chunks_exact(format.frame_samples())
        .map(|frame| {
            let mut payload = vec![0; 640];
            let bytes = encoder.encode(frame, &mut payload).expect("room enough");
            payload.truncate(bytes);
            payload
        })
        .collect();
    let mut decoder = Decoder::new(format, ByteOrder::Big).expect("it is built in");
    let mut payloads = payloads.iter().cycle();
    let mut samples = [0; 320];
    bencher.bench_local(move || {
        decoder.decode(payloads.next().expect("it goes round"), black_box(&mut samples))
    });
}

#[divan::bench]
fn resample_8_to_16(bencher: Bencher) {
    let (samples, mut up, mut output) = (sound(Rate::Hz8000), Up2::new(), [0; 320]);
    bencher.bench_local(move || up.process(&samples[..160], black_box(&mut output)));
}

#[divan::bench]
fn resample_16_to_8(bencher: Bencher) {
    let (samples, mut down, mut output) = (sound(Rate::Hz16000), Down2::new(), [0; 160]);
    bencher.bench_local(move || down.process(&samples[..320], black_box(&mut output)));
}

#[divan::bench]
fn resample_24_to_8(bencher: Bencher) {
    let (samples, mut down, mut output) = (sound(Rate::Hz16000), Down3::new(), [0; 160]);
    bencher.bench_local(move || down.process(&samples[..480], black_box(&mut output)));
}

/// While nothing is lost.
#[divan::bench(args = RATES)]
fn conceal_nothing(bencher: Bencher, rate: Rate) {
    let (mut samples, mut concealer) = (sound(rate), Concealer::new(rate));
    let length = frame_of(rate);
    bencher.bench_local(move || concealer.heard(black_box(&mut samples[..length])));
}

/// A frame that is lost, with nothing known of the next one.
#[divan::bench(args = RATES)]
fn conceal_one_sided(bencher: Bencher, rate: Rate) {
    conceal(bencher, rate, 1, |concealer, hole, _| concealer.missing(hole));
}

/// A frame that is lost, between two that are known.
#[divan::bench(args = RATES)]
fn conceal_both_sides(bencher: Bencher, rate: Rate) {
    conceal(bencher, rate, 1, |concealer, hole, next| concealer.between(hole, next));
}

/// Three frames in a row: the most that is made up in one piece, and so the dearest.
#[divan::bench(args = RATES)]
fn conceal_60_ms(bencher: Bencher, rate: Rate) {
    conceal(bencher, rate, 3, |concealer, hole, next| concealer.between(hole, next));
}

fn conceal(bencher: Bencher, rate: Rate, frames: usize, fill: impl Fn(&mut Concealer, &mut [i16], &[i16])) {
    let samples = sound(rate);
    let length = frame_of(rate);
    let heard = || {
        let mut concealer = Concealer::new(rate);
        concealer.heard(&mut samples[..6 * length].to_vec());
        (concealer, vec![0; frames * length])
    };
    let next = &samples[(6 + frames) * length..][..length];
    bencher.with_inputs(heard).bench_local_refs(|(concealer, hole)| fill(concealer, black_box(hole), next));
}

/// Two seconds of noise with a voice in its second half: what the detectors have to tell apart.
fn talk() -> Vec<Frame> {
    let mut samples = sound(Rate::Hz8000);
    samples.iter_mut().for_each(|sample| *sample /= 40);
    for (i, sample) in sound(Rate::Hz8000).into_iter().enumerate() {
        // Syllables of a fifth of a second.
        samples.push(if i / 1_600 % 2 == 0 { sample } else { sample / 40 });
    }
    samples.as_chunks().0.iter().map(|samples| Frame { rate: Rate::Hz8000, samples: *samples }).collect()
}

#[divan::bench(args = Kind::ALL)]
fn vad(bencher: Bencher, kind: Kind) {
    let (mut vad, frames) = (vad::make(kind, Rate::Hz8000), talk());
    let mut frames = frames.iter().cycle();
    bencher.bench_local(move || vad.is_speech(black_box(frames.next().expect("it goes round"))));
}

#[divan::bench]
fn tones(bencher: Bencher) {
    let (mut tones, frames) = (Tones::default(), talk());
    bencher.bench_local(move || tones.is_tone(black_box(&frames[60])));
}

/// All that is decided about 20 ms while the caller is listened to.
#[divan::bench(args = Kind::ALL)]
fn turn(bencher: Bencher, kind: Kind) {
    take_turns(bencher, kind, None);
}

/// The same while the bot speaks, and its echo is looked for in what is heard.
#[divan::bench(args = Kind::ALL)]
fn turn_over_a_prompt(bencher: Bencher, kind: Kind) {
    take_turns(
        bencher,
        kind,
        Some(BargeIn { protect: std::time::Duration::from_secs(1 << 20), ..BargeIn::ALLOWED }),
    );
}

fn take_turns(bencher: Bencher, kind: Kind, play: Option<BargeIn>) {
    let frames = talk();
    let sent = sound(Rate::Hz8000);
    let mut sent = sent.as_chunks().0.iter().cycle();
    let mut frames = frames.iter().cycle();
    let mut taker = TurnTaker::new(vad::make(kind, Rate::Hz8000));
    let mut now = Moment::from_millis(1_000);
    let mut signals = 0_u64;
    taker.listen(now, Listening::BALANCED);
    taker.playing(now, play);
    bencher.bench_local(move || {
        now = now + offhook::audio::PTIME;
        let mut out = |_| signals += 1;
        taker.frame(now, Some(black_box(frames.next().expect("it goes round"))), &mut out);
        let samples = if play.is_some() { *sent.next().expect("it goes round") } else { [0; FRAME_SAMPLES] };
        taker.sent(now, &Frame { rate: Rate::Hz8000, samples });
        taker.tick(now, &mut out);
        if signals > 2 {
            signals = 0;
            taker.listen(now, Listening::BALANCED);
        }
    });
}

/// The echo canceller, for 20 ms of both sides.
#[divan::bench]
fn cancel_echo(bencher: Bencher) {
    let frames = talk();
    let mut frames = frames.iter().cycle();
    let mut canceller = canceller(Rate::Hz8000);
    bencher.bench_local(move || {
        let mut heard = *frames.next().expect("it goes round");
        canceller.sent(black_box(&heard));
        canceller.heard(black_box(&mut heard));
        heard
    });
}

#[divan::bench]
fn level(bencher: Bencher) {
    let samples = sound(Rate::Hz8000);
    bencher.bench_local(|| rms_dbfs(black_box(&samples[..160])));
}
