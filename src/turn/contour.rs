//! How the voice went of late: its pitch and its level, and what the two say about the end of a sentence.

use std::num::NonZeroI16;

use super::evidence::Ending;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Pitch is sought at 4 kHz, in 24 ms.
const WINDOW: usize = 96;

/// Periods from 400 Hz down to 70 Hz, in samples at 4 kHz.
const SHORTEST: usize = 10;
const LONGEST: usize = 57;

/// What is kept of the past, in samples at 4 kHz: a window and the longest period before it.
const KEPT: usize = WINDOW + LONGEST + 1;

/// Frames of 20 ms that are remembered: 320 ms.
const TRACK: usize = 16;

/// Periods as like as this are voice; noise and coughs stay below.
const VOICED: f32 = 0.6;

/// A shorter period that is nearly as like as the best is the true one, not its half.
const OCTAVE: f32 = 0.88;

/// What the ends of sentences are known by.
mod known {
    /// Frames of voice that are needed to tell anything.
    pub(super) const LEAST: usize = 4;
    /// The last frames that are looked at: 300 ms.
    pub(super) const LOOK: usize = 15;
    /// A rise, in cents between the halves of what is looked at.
    pub(super) const GLIDE: i32 = 130;
    /// An end so far above the utterance's mean, in cents.
    pub(super) const ABOVE: i32 = 200;
    /// An end so far below it; of the tuning corpus two of three sentences end lower than this, and one pause of seven.
    pub(super) const BELOW: i32 = 290;
    /// A dB by which the level falls between the halves counts as so many cents.
    pub(super) const CENTS_PER_DB: i32 = 10;
    /// A sound is held for so many frames,
    pub(super) const HELD: usize = 13;
    /// within so many cents,
    pub(super) const STEADY_CENTS: i32 = 80;
    /// and so many dB.
    pub(super) const STEADY_DB: i32 = 6;
    /// Between syllables the level falls by so many dB,
    pub(super) const DIP_DB: i8 = 4;
    /// and what has no pitch counts as so much softer.
    pub(super) const UNVOICED_DB: i8 = 8;
}

/// Follows pitch and level of one caller. Allocates nothing; 468 bytes; 1 µs a frame, and to be fed only frames of
/// speech and the short gaps between them.
#[derive(Clone, Debug)]
pub struct Contour {
    past: [i16; KEPT],
    /// Of the last frames, the newest last.
    track: [Point; TRACK],
    filled: u8,
    /// Half a frame of 16 kHz waits for its other half.
    half: bool,
    /// Cents of the voiced frames of the utterance, summed, and how many they are; and their levels.
    sum: i32,
    count: i32,
    levels: i32,
    /// Of the utterance and of the call.
    syllables: Syllables,
    /// Of the call.
    register: Register,
}

/// A frame of the track.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// Pitch in cents above 55 Hz; [`None`] without voice.
    cents: Option<NonZeroI16>,
    /// dBFS.
    level: i8,
}

/// How the voice ended, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Close {
    pub(crate) ending: Ending,
    /// By how much the pitch rose between the halves of what is looked at, in cents.
    pub(crate) glide: i16,
    /// How far the end lies above the utterance's mean, in cents.
    pub(crate) away: i16,
    /// By how many dB the level fell between the halves.
    pub(crate) fade: i16,
    /// How far the end lies above the bottom of this caller's voice on the call, in cents.
    pub(crate) above: i16,
    /// By how many dB the end is softer than the utterance's mean.
    pub(crate) softer: i16,
    /// How long the last syllable was, in milliseconds.
    pub(crate) last_ms: u16,
    /// Share of the last frames that had no pitch, in percent.
    pub(crate) rough: u8,
    /// Syllables of the utterance.
    pub(crate) syllables: u8,
    /// Those of them since his last pause.
    pub(crate) stretch_syllables: u8,
    /// What a syllable of this caller takes on the call so far, in milliseconds.
    pub(crate) pace_ms: u16,
}

/// Counts syllables: peaks of level with a pitch, between dips. 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Syllables {
    /// Of this utterance; and those of them before his last pause.
    count: u8,
    before: u8,
    /// The highest level since the last dip, or the lowest since the last peak, in dBFS.
    turn: i8,
    /// The level rises, or has not yet fallen from its peak.
    rising: bool,
    /// Frames with a pitch since the last dip, and all of them.
    pitched: u8,
    frames: u8,
    /// Frames and syllables of the call.
    call_frames: u16,
    call_count: u16,
}

impl Syllables {
    fn hear(&mut self, point: Point) {
        let pitched = u8::from(point.cents.is_some());
        // A consonant without a pitch lies between syllables, however loud it is.
        let level = if pitched > 0 { point.level } else { point.level.saturating_sub(known::UNVOICED_DB) };
        self.frames = self.frames.saturating_add(1);
        self.call_frames += 1;
        if self.call_frames >= 60_000 {
            // What was long ago counts half.
            self.call_frames /= 2;
            self.call_count /= 2;
        }
        if self.rising {
            self.pitched = self.pitched.saturating_add(pitched);
            self.turn = self.turn.max(level);
            if level < self.turn.saturating_sub(known::DIP_DB) {
                self.end();
                self.turn = level;
            }
        } else {
            self.turn = self.turn.min(level);
            if level > self.turn.saturating_add(known::DIP_DB) {
                self.rising = true;
                self.turn = level;
                self.pitched = pitched;
                self.frames = 1;
            }
        }
    }

    /// Whether the peak under way is one of a syllable.
    const fn under_way(&self) -> bool {
        self.rising && self.pitched >= 2
    }

    /// The peak under way is over.
    fn end(&mut self) {
        let one = u8::from(self.under_way());
        self.count = self.count.saturating_add(one);
        self.call_count += u16::from(one);
        self.rising = false;
    }

    fn pause(&mut self) {
        self.end();
        self.before = self.count;
        self.turn = i8::MIN + known::DIP_DB;
    }

    /// Those of this utterance.
    fn known(&self) -> u8 {
        self.count.saturating_add(u8::from(self.under_way()))
    }

    /// What one of them takes on this call, in milliseconds.
    fn pace_ms(&self) -> u16 {
        let count = u32::from(self.call_count) + u32::from(self.under_way());
        u16::try_from(u32::from(self.call_frames) * 20 / count.max(1)).map_or(2_000, |ms| ms.min(2_000))
    }
}

/// The bottom of a caller's voice on the call: one of ten frames with a pitch lies lower. A quantile by small steps, those of
/// the beginning larger.
#[derive(Clone, Copy, Debug, Default)]
struct Register {
    floor: f32,
    heard: u16,
}

impl Register {
    fn hear(&mut self, cents: i16) {
        let cents = f32::from(cents);
        if self.heard == 0 {
            self.floor = cents;
        }
        self.heard = self.heard.saturating_add(1);
        let step = (600.0 / f32::from(self.heard)).clamp(6.0, 60.0);
        self.floor += if cents < self.floor { -0.9 * step } else { 0.1 * step };
    }
}

impl Default for Contour {
    fn default() -> Self {
        Self {
            past: [0; KEPT],
            track: [Point::default(); TRACK],
            filled: 0,
            half: false,
            sum: 0,
            count: 0,
            levels: 0,
            syllables: Syllables::default(),
            register: Register::default(),
        }
    }
}

impl Contour {
    /// An utterance begins: what was before it tells nothing about its end.
    pub fn begin(&mut self) {
        self.filled = 0;
        self.half = false;
        self.sum = 0;
        self.count = 0;
        self.levels = 0;
        self.syllables.count = 0;
        self.syllables.before = 0;
    }

    /// The caller has been silent for longer than within a word.
    pub fn pause(&mut self) {
        self.syllables.pause();
    }

    /// Hears a frame of `level` dBFS; the pitch in Hz if it is voice.
    pub fn hear(&mut self, frame: &Frame, level: f32) -> Option<f32> {
        match frame.rate {
            Rate::Hz8000 => self.keep::<2>(&frame.samples),
            Rate::Hz16000 => self.keep::<4>(&frame.samples),
        }
        let pitch = pitch(&self.past);
        self.half = frame.rate == Rate::Hz16000 && !self.half;
        if !self.half {
            self.remember(pitch, level);
        }
        pitch
    }

    /// How the voice ended, as of the last frame that was heard.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.close().ending
    }

    /// The same with the numbers that it was told from.
    #[must_use]
    pub(super) fn close(&self) -> Close {
        let unclear = Close {
            last_ms: u16::from(self.syllables.frames) * 20,
            syllables: self.syllables.known(),
            stretch_syllables: self.syllables.known().saturating_sub(self.syllables.before),
            pace_ms: self.syllables.pace_ms(),
            ..Close::default()
        };
        let track = &self.track[TRACK - usize::from(self.filled)..];
        // What follows the last voiced frame is a consonant, or the detector's hangover.
        let Some(end) = track.iter().rposition(|point| point.cents.is_some()) else { return unclear };
        let looked = &track[(end + 1).saturating_sub(known::LOOK)..=end];
        let voiced: usize = looked.iter().filter(|point| point.cents.is_some()).count();
        if voiced < known::LEAST || self.count == 0 {
            return unclear;
        }
        let (early, late) = halves(looked, voiced);
        let glide = late.0 - early.0;
        let away = late.0 - self.sum / self.count;
        let fade = early.1 - late.1;
        let ending = if is_held(looked) {
            Ending::Held
        } else if known::CENTS_PER_DB * fade - away >= known::BELOW {
            Ending::Falls
        } else if glide >= known::GLIDE && away > 0 || away >= known::ABOVE && glide > -known::GLIDE {
            Ending::Rises
        } else {
            Ending::Level
        };
        let small = |value: i32| value.clamp(-9_999, 9_999) as i16;
        let rough = (looked.len() - voiced) * 100 / looked.len();
        Close {
            ending,
            glide: small(glide),
            away: small(away),
            fade: small(fade),
            above: small(late.0 - self.register.floor as i32),
            softer: small(self.levels / self.count - late.1),
            rough: rough as u8,
            ..unclear
        }
    }

    /// Keeps the mean of every `STEP` samples.
    fn keep<const STEP: usize>(&mut self, samples: &[i16; FRAME_SAMPLES]) {
        let fresh = FRAME_SAMPLES / STEP;
        self.past.copy_within(fresh.., 0);
        for (to, from) in self.past[KEPT - fresh..].iter_mut().zip(samples.as_chunks::<STEP>().0) {
            let sum: i32 = from.iter().map(|sample| i32::from(*sample)).sum();
            #[expect(clippy::cast_possible_truncation, reason = "a mean of samples is a sample")]
            {
                *to = (sum >> STEP.ilog2()) as i16;
            }
        }
    }

    fn remember(&mut self, pitch: Option<f32>, level: f32) {
        #[expect(clippy::cast_possible_truncation, reason = "between 400 and 3,500 cents, and −100 to 0 dB")]
        let point = Point {
            cents: pitch.and_then(|hz| NonZeroI16::new((1_200.0 * (hz / 55.0).log2()) as i16)),
            level: level as i8,
        };
        if let Some(cents) = point.cents {
            self.sum += i32::from(cents.get());
            self.count += 1;
            self.levels += i32::from(point.level);
            self.register.hear(cents.get());
        }
        self.syllables.hear(point);
        self.track.rotate_left(1);
        self.track[TRACK - 1] = point;
        self.filled = (self.filled + 1).min(TRACK as u8);
    }
}

/// Whether the last sound was held: one pitch, one level, longer than a syllable.
fn is_held(looked: &[Point]) -> bool {
    let Some(last) = looked.len().checked_sub(known::HELD).map(|from| &looked[from..]) else { return false };
    let mut cents = (i32::MAX, i32::MIN);
    let mut level = (i32::MAX, i32::MIN);
    for point in last {
        let Some(pitch) = point.cents else { return false };
        let pitch = i32::from(pitch.get());
        cents = (cents.0.min(pitch), cents.1.max(pitch));
        level = (level.0.min(i32::from(point.level)), level.1.max(i32::from(point.level)));
    }
    cents.1 - cents.0 <= known::STEADY_CENTS && level.1 - level.0 <= known::STEADY_DB
}

/// Mean cents and level of the first and of the last half of the voiced frames.
fn halves(looked: &[Point], voiced: usize) -> ((i32, i32), (i32, i32)) {
    let mut sums = [(0, 0, 0); 2];
    let pitched = looked.iter().filter_map(|point| point.cents.map(|cents| (cents, point.level)));
    for (i, (cents, level)) in pitched.enumerate() {
        let half = &mut sums[usize::from(i >= voiced / 2)];
        half.0 += i32::from(cents.get());
        half.1 += i32::from(level);
        half.2 += 1;
    }
    let [early, late] = sums.map(|(cents, level, count)| (cents / count.max(1), level / count.max(1)));
    (early, late)
}

/// The pitch of the newest 24 ms by normalised cross-correlation (as in RAPT, Talkin 1995, without its dynamic
/// programming); [`None`] where there is none.
fn pitch(past: &[i16; KEPT]) -> Option<f32> {
    let most = past.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    if most < 60 {
        return None;
    }
    // Twelve bits, so that sums of products of a window stay in 32.
    let shift = (16 - most.leading_zeros()).saturating_sub(11);
    let samples = past.map(|sample| sample >> shift);
    let before = |period: usize| &samples[KEPT - WINDOW - period..][..WINDOW];
    let now = before(0);
    let whole = product(now, now) as f32;
    // Squares of the likeness, with its sign: a root for each period would cost as much as all products.
    let mut likeness = [0.0_f32; LONGEST + 2];
    let mut power = product(before(SHORTEST - 2), before(SHORTEST - 2));
    for (period, likeness) in likeness.iter_mut().enumerate().skip(SHORTEST - 1) {
        let from = KEPT - WINDOW - period;
        power += square(samples[from]) - square(samples[from + WINDOW]);
        let both = product(now, before(period)) as f32;
        *likeness = both * both.abs() / (whole * power as f32).max(1.0);
    }
    let best = likeness[SHORTEST..=LONGEST].iter().fold(0.0_f32, |best, likeness| best.max(*likeness));
    if best < VOICED * VOICED {
        return None;
    }
    let peak = |period: &usize| {
        let here = likeness[*period];
        here >= OCTAVE * OCTAVE * best && here >= likeness[period - 1] && here >= likeness[period + 1]
    };
    let period = (SHORTEST..=LONGEST).find(peak)?;
    let [before, here, after] = [period - 1, period, period + 1].map(|at| likeness[at].max(0.0).sqrt());
    let bend = before - 2.0 * here + after;
    let shift = if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    Some(4_000.0 / (period as f32 + shift))
}

fn product(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn square(sample: i16) -> i32 {
    i32::from(sample).pow(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::rms_dbfs;
    use crate::turn::sounds::Sounds;

    fn ending(frames: &[Frame]) -> Ending {
        let mut contour = Contour::default();
        contour.begin();
        for frame in frames {
            contour.hear(frame, rms_dbfs(&frame.samples));
        }
        contour.ending()
    }

    fn spoken(last: (f64, f64), level: (f64, f64), millis: u64, seed: u64) -> Vec<Frame> {
        let mut sounds = Sounds::new(Rate::Hz8000, seed);
        let mut frames = sounds.sentence(700);
        frames.extend(sounds.vowel(millis, last, level));
        frames
    }

    #[test]
    fn the_pitch_of_a_vowel_is_found_at_both_rates() {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            for hz in [75.0, 95.0, 130.0, 180.0, 240.0, 330.0] {
                let mut contour = Contour::default();
                let frames = Sounds::new(rate, 1).vowel(400, (hz, hz), (8_000.0, 8_000.0));
                let found: Vec<f32> =
                    frames.iter().skip(6).filter_map(|f| contour.hear(f, rms_dbfs(&f.samples))).collect();
                let right = found.iter().filter(|found| (f64::from(**found) / hz - 1.0).abs() < 0.03).count();
                assert!(right * 10 >= (frames.len() - 10) * 9, "{hz} Hz at {rate:?}: {found:?}");
            }
        }
    }

    #[test]
    fn noise_and_coughs_have_none() {
        let mut sounds = Sounds::new(Rate::Hz8000, 4);
        let mut contour = Contour::default();
        for frames in [sounds.noise(8_000, 2_000), sounds.cough(400)] {
            let voiced = frames.iter().filter(|f| contour.hear(f, rms_dbfs(&f.samples)).is_some()).count();
            assert!(voiced * 20 <= frames.len(), "{voiced} of {}", frames.len());
        }
    }

    #[test]
    fn endings_are_told_apart() {
        let even = (6_000.0, 6_000.0);
        for seed in 0..8 {
            assert_eq!(ending(&spoken((115.0, 76.0), even, 320, seed)), Ending::Falls, "{seed}");
            assert_eq!(ending(&spoken((120.0, 165.0), even, 260, seed)), Ending::Rises, "{seed}");
            assert_eq!(ending(&spoken((118.0, 118.0), even, 420, seed)), Ending::Held, "{seed}");
        }
        assert_eq!(ending(&Sounds::new(Rate::Hz8000, 2).cough(300)), Ending::Unclear);
        assert_eq!(ending(&[]), Ending::Unclear);
    }

    #[test]
    fn syllables_are_counted_and_timed() {
        let mut contour = Contour::default();
        contour.pause();
        contour.begin();
        let mut sounds = Sounds::new(Rate::Hz8000, 3);
        for number in 1..=5_u8 {
            for frame in sounds.vowel(200, (120.0, 110.0), (8_000.0, 8_000.0)) {
                contour.hear(&frame, rms_dbfs(&frame.samples));
            }
            for frame in sounds.noise(300, 60) {
                contour.hear(&frame, rms_dbfs(&frame.samples));
            }
            assert_eq!(contour.close().syllables, number);
        }
        let close = contour.close();
        assert!((220..=320).contains(&close.pace_ms), "{close:?}");
        contour.pause();
        contour.begin();
        let close = contour.close();
        assert_eq!((close.syllables, close.stretch_syllables), (0, 0));
        assert!(close.pace_ms >= 220, "his pace is one of the call: {close:?}");
    }

    #[test]
    fn a_voice_at_its_bottom_is_told_from_one_in_its_middle() {
        let mut contour = Contour::default();
        let mut above = |pitch| {
            contour.begin();
            for frame in spoken(pitch, (6_000.0, 6_000.0), 320, 5) {
                contour.hear(&frame, rms_dbfs(&frame.samples));
            }
            contour.close().above
        };
        (0..4).for_each(|_| _ = above((115.0, 80.0)));
        let (low, middle) = (above((115.0, 80.0)), above((125.0, 125.0)));
        assert!(low + 300 < middle, "{low} and {middle} cents");
    }

    #[test]
    fn a_new_utterance_knows_nothing_of_the_last() {
        let mut contour = Contour::default();
        for frame in spoken((130.0, 90.0), (6_000.0, 6_000.0), 260, 1) {
            contour.hear(&frame, -20.0);
        }
        contour.begin();
        assert_eq!(contour.ending(), Ending::Unclear);
    }
}
