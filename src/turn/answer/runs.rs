//! What rows of tones mean: a beep, ringback, "not in service", a fax machine.

use std::time::Duration;

use super::ears::Heard;
use super::settings::Limits;
use super::whistle::Pure;
use super::{FaxTone, Information};
use crate::time::Moment;

/// 20 ms.
const FRAME: Duration = Duration::from_millis(20);

/// So far from its mean a tone's frequency may lie, in Hz: a beep has one pitch, vowels glide.
const STEADY: f32 = 14.0;

/// So far apart the levels of a beep's inner frames may lie, in dB.
const EVEN: f32 = 5.0;

/// Frames inside a tone that may sound otherwise: a click, a lost packet.
const MISSES: u8 = 1;

/// Frequencies of beeps.
const BEEPS: std::ops::RangeInclusive<f32> = 380.0..=2_550.0;

/// Single tones of lines (ITU-T E.180): ringing and busy in most of the world.
const LINES: std::ops::RangeInclusive<f32> = 395.0..=465.0;

/// A beep of such a frequency, after a greeting, is no longer than this; ringing is 1 s long.
const LINE_BEEP: Duration = Duration::from_millis(700);

/// Pairs of lines are below this, in Hz.
const LINE_PAIR: f32 = 640.0;

/// Tones of lines are at least so long.
const RINGS: Duration = Duration::from_millis(240);

/// A fax machine that answers sends 2,100 Hz for 2.6 to 4 s (ITU-T T.30 and V.25), one that calls 1,100 Hz for half a second
/// every 3.5.
const CED: (f32, f32) = (2_100.0, 18.0);
const CED_LEAST: Duration = Duration::from_millis(900);
/// So much of the first one is enough where nobody said anything before it: no mailbox beeps without a word. In all, since a line
/// may break the tone, and who takes a call over hears just its rest.
const CED_UNGREETED: Duration = Duration::from_millis(300);
const CNG: (f32, f32) = (1_100.0, 38.0);
const CNG_LENGTH: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(400)..=Duration::from_millis(600);

/// The three tones of "not in service" (ITU-T E.180; ±50 Hz), how long each is, and how far they may lie apart.
const INFORMATION: [f32; 3] = [950.0, 1_400.0, 1_800.0];
const INFORMATION_WIDTH: f32 = 55.0;
const INFORMATION_LENGTH: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_millis(460);
const INFORMATION_GAP: Duration = Duration::from_millis(100);
const INFORMATION_LAST: Duration = Duration::from_millis(140);

/// Voice so near before a short low tone, or in so many frames behind it, makes a vowel of it; detectors hear voice for a
/// little longer than there is some.
const VOWEL_NEAR: Duration = Duration::from_millis(40);
const VOWEL_ROW: u8 = 3;
const VOWEL_BEHIND: u8 = 4;
const VOWEL_BELOW: f32 = 1_000.0;
const VOWEL_FRAMES: u16 = 15;

/// What a row of tones turned out to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Tune {
    Beep(Beep),
    Ringing,
    Fax(FaxTone),
    Information(Information),
}

/// A beep, or several without much between them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Beep {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) hz: f32,
}

/// A tone under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Moment,
    /// The end of its last frame.
    ended: Moment,
    /// Mean frequencies; the second is 0 of a single tone and of a pair of a line.
    hz: (f32, f32),
    frames: u16,
    /// Frames that were a pair of a line.
    pairs: u16,
    misses: u8,
    /// Levels of its inner frames: the least, the most, and the last one, which may be its edge.
    levels: (f32, f32, f32),
    /// Voice was heard right before it.
    after_voice: bool,
}

/// Follows the tones of one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    run: Option<Run>,
    /// How much was heard of a fax machine's answering tone before the one under way.
    ced: Duration,
    /// A beep that may be followed by another one.
    pending: Option<Pending>,
    /// When voice was heard last, of several frames in a row: a tone's first frame is not whole, and may sound like one.
    voiced: Option<Moment>,
    /// Frames of voice in a row.
    row: u8,
    /// How many of the three tones were heard, when the last one ended, and how high the first two were.
    information: (usize, Moment, [bool; 2]),
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    beep: Beep,
    /// It could be a vowel: voice behind it would make it one.
    doubtful: bool,
    /// Frames of voice behind it.
    voiced: u8,
}

impl Runs {
    /// Whether there is, or may be, a tone that means something.
    pub(super) fn undecided(&self) -> bool {
        self.pending.is_some() || self.run.is_some_and(|run| run.frames >= 3)
    }

    /// Whether a tone sounds.
    pub(super) fn sounds(&self) -> bool {
        self.run.is_some_and(|run| run.frames >= 2)
    }

    /// 20 ms that ended `now`. `greeted`: a voice was heard before.
    pub(super) fn hear(&mut self, now: Moment, heard: &Heard, greeted: bool, how: &Limits) -> Option<Tune> {
        let mut tune = None;
        match &mut self.run {
            Some(run) if run.goes_on(heard.tone) => {
                run.extend(now, heard);
                tune = self.sounding(greeted);
            }
            Some(run) if run.misses < MISSES && run.frames > 1 && heard.tone == Pure::No => run.misses += 1,
            Some(run) => {
                let run = *run;
                self.run = None;
                tune = self.over(run, greeted, how);
                self.begin(now, heard);
            }
            None => self.begin(now, heard),
        }
        self.row = if heard.voice { self.row.saturating_add(1) } else { 0 };
        if self.row >= VOWEL_ROW {
            self.voiced = Some(now);
        }
        tune.or_else(|| self.settled(now, heard, how))
    }

    fn begin(&mut self, now: Moment, heard: &Heard) {
        let hz = match heard.tone {
            Pure::No => return,
            Pure::One(hz) => (hz, 0.0),
            Pure::Two(low, high) => (low, high),
            Pure::Line => (440.0, 0.0),
        };
        let began = now - FRAME;
        self.run = Some(Run {
            began,
            ended: now,
            hz,
            frames: 1,
            pairs: u16::from(heard.tone == Pure::Line),
            misses: 0,
            levels: (f32::MAX, f32::MIN, heard.level),
            after_voice: self.voiced.is_some_and(|voiced| began.since(voiced) <= VOWEL_NEAR),
        });
    }

    /// What is known before the tone is over.
    fn sounding(&mut self, greeted: bool) -> Option<Tune> {
        let run = self.run.as_mut()?;
        let length = run.length();
        if run.is_near(CED) && (length >= CED_LEAST || !greeted && self.ced + length >= CED_UNGREETED) {
            self.pending = None;
            return Some(Tune::Fax(FaxTone::Answering));
        }
        if run.is_line() && length >= if greeted { LINE_BEEP } else { RINGS } {
            self.pending = None;
            return Some(Tune::Ringing);
        }
        let (known, ended, high) = self.information;
        let third = run.hz.1 == 0.0 && (run.hz.0 - INFORMATION[2]).abs() <= INFORMATION_WIDTH;
        if known == 2 && third && run.began.since(ended) <= INFORMATION_GAP && length >= INFORMATION_LAST {
            self.information.0 = 0;
            self.pending = None;
            return Some(Tune::Information(Information::of(high)));
        }
        None
    }

    /// What a tone was that is over.
    fn over(&mut self, run: Run, greeted: bool, how: &Limits) -> Option<Tune> {
        let length = run.length();
        if !greeted && run.is_near(CNG) && CNG_LENGTH.contains(&length) {
            return Some(Tune::Fax(FaxTone::Calling));
        }
        self.remember_information(&run);
        if !greeted && run.is_near(CED) {
            self.ced += length;
            return None;
        }
        // Its first and last frames are hardly ever whole.
        let long = length + FRAME >= how.beep_shortest && length <= how.beep_longest;
        let high = run.hz.1 == 0.0 || BEEPS.contains(&run.hz.1);
        let line = run.is_line() && (!greeted || run.is_pair());
        if !long || line || !high || !BEEPS.contains(&run.hz.0) || run.is_key() || !run.is_even() {
            return None;
        }
        let beep = Beep { began: run.began, ended: run.ended, hz: run.hz.0 };
        let doubtful = run.hz.0 < VOWEL_BELOW && run.frames < VOWEL_FRAMES;
        if doubtful && run.after_voice {
            return None;
        }
        let began = self.pending.map_or(beep.began, |pending| pending.beep.began);
        self.pending = Some(Pending { beep: Beep { began, ..beep }, doubtful, voiced: 0 });
        None
    }

    /// A beep behind which nothing came.
    fn settled(&mut self, now: Moment, heard: &Heard, how: &Limits) -> Option<Tune> {
        let pending = self.pending.as_mut()?;
        pending.voiced += u8::from(heard.voice);
        let since = now.since(pending.beep.ended);
        if pending.doubtful && pending.voiced >= VOWEL_BEHIND {
            self.pending = None;
            return None;
        }
        let beep = pending.beep;
        // Another one may be under way.
        if since < how.beep_settle || self.sounds() {
            return None;
        }
        self.pending = None;
        Some(Tune::Beep(beep))
    }

    fn remember_information(&mut self, run: &Run) {
        let (known, ended, high) = &mut self.information;
        if *known > 0 && run.began.since(*ended) > INFORMATION_GAP {
            *known = 0;
        }
        let is = |number: usize| {
            run.hz.1 == 0.0
                && (run.hz.0 - INFORMATION[number]).abs() <= INFORMATION_WIDTH
                && INFORMATION_LENGTH.contains(&run.length())
        };
        if *known < 2 && is(*known) {
            high[*known] = run.hz.0 > INFORMATION[*known];
            *known += 1;
        } else if is(0) {
            high[0] = run.hz.0 > INFORMATION[0];
            *known = 1;
        } else {
            *known = 0;
        }
        *ended = run.ended;
    }
}

impl Run {
    fn length(&self) -> Duration {
        self.ended.since(self.began)
    }

    fn goes_on(&self, tone: Pure) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() <= STEADY;
        let low = self.hz.1 == 0.0 && self.hz.0 < LINE_PAIR;
        match tone {
            Pure::No => false,
            // Two near tones beat: for a frame they may look like one.
            Pure::One(hz) => {
                self.hz.1 == 0.0 && near(hz, self.hz.0) || low && self.pairs > 0 && hz < LINE_PAIR
            }
            Pure::Line => low,
            Pure::Two(low, high) => self.hz.1 > 0.0 && near(low, self.hz.0) && near(high, self.hz.1),
        }
    }

    fn extend(&mut self, now: Moment, heard: &Heard) {
        self.frames = self.frames.saturating_add(1);
        self.ended = now;
        self.misses = 0;
        let count = f32::from(self.frames.min(50));
        match heard.tone {
            Pure::One(hz) if self.pairs == 0 => self.hz.0 += (hz - self.hz.0) / count,
            Pure::One(_) | Pure::No => {}
            Pure::Line => self.pairs = self.pairs.saturating_add(1),
            Pure::Two(low, high) => {
                self.hz.0 += (low - self.hz.0) / count;
                self.hz.1 += (high - self.hz.1) / count;
            }
        }
        // The first and the last frame are the edges; the last one is not known to be until another comes.
        if self.frames > 2 {
            let (least, most, last) = self.levels;
            self.levels = (least.min(last), most.max(last), heard.level);
        } else {
            self.levels.2 = heard.level;
        }
    }

    fn is_near(&self, (hz, width): (f32, f32)) -> bool {
        self.hz.1 == 0.0 && (self.hz.0 - hz).abs() <= width
    }

    fn is_line(&self) -> bool {
        self.is_pair() || self.hz.1 == 0.0 && LINES.contains(&self.hz.0)
    }

    /// Whether it is a pair of a line; a beep's edge may look like one for a frame.
    fn is_pair(&self) -> bool {
        self.pairs * 3 >= self.frames
    }

    fn is_even(&self) -> bool {
        self.levels.0 > self.levels.1 || self.levels.1 - self.levels.0 <= EVEN
    }

    /// Whether it is a key of a telephone (ITU-T Q.23).
    fn is_key(&self) -> bool {
        let near = |hz: f32, all: [f32; 4]| all.iter().any(|tone| (hz / tone - 1.0).abs() < 0.018);
        near(self.hz.0, [697.0, 770.0, 852.0, 941.0]) && near(self.hz.1, [1_209.0, 1_336.0, 1_477.0, 1_633.0])
    }
}
