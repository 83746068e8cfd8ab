//! Which of what is heard is what was sent.

use crate::audio::{FRAME_SAMPLES, Frame, Rate};

mod sums;

use sums::{decimate, energy, keep, product, square, squares};

/// Both sides are compared at 1.6 kHz: a fifth of 8 kHz.
const STEP: usize = 5;

/// Samples of a frame of 8 kHz.
const FRESH: usize = FRAME_SAMPLES / STEP;

/// What is compared: 80 ms of what is heard.
const WINDOW: usize = 4 * FRESH;

/// The longest delay, in samples: 400 ms.
const LONGEST: usize = 640;

/// What is kept of what was sent.
const KEPT: usize = LONGEST + WINDOW;

/// Frames of nothing after which nothing of the past is kept any more: one more than is kept, since samples are differenced.
const STILL: u8 = (KEPT / FRESH) as u8 + 1;

/// Taps of the adaptive filter (10 ms), and how many of them lie before the delay that was found.
const TAPS: usize = 16;
const AHEAD: usize = 3;

/// Delays that are tried before one is believed.
const CANDIDATES: usize = 3;

/// Likenesses summed from which a delay is believed; each look adds at most one and forgets a twentieth. Within one vowel a
/// delay that is off by a period of its pitch is nearly as likely: it takes several.
const BELIEVED: f32 = 3.0;

/// A delay is believed when it is so much likelier than every other.
const LIKELIER: f32 = 1.4;

/// A filter that leaves more than this share of the echo has the wrong delay, perhaps.
const LEFT_TOO_MUCH: f32 = 0.35;

/// Likeness (normalised correlation) from which a look counts.
const ALIKE: f32 = 0.5;

/// The same before a delay is believed, to hold one frame back.
const VERY_ALIKE: f32 = 0.8;

/// Energies of a frame at 1.6 kHz, of sums of squares: what is fainter than about −55 dBFS needs no gate, and what is
/// sent more faintly than −45 dBFS has no echo.
const HEARD_LEAST: f32 = 32.0 * 20.0 * 20.0;
const SENT_LEAST: f32 = 32.0 * 60.0 * 60.0;

/// An echo is at least this much fainter than what was sent, as a ratio of energies: 5 dB.
const LOSS_LEAST: f32 = 0.32;

/// Frames heard as nothing, though an echo of whatever delay would have been heard in them, after which the line is known to
/// have none: 0.3 s, of some seconds of the bot's voice.
const CLEAR_AFTER: u8 = 15;

/// So many of them make it likely.
const LIKELY_CLEAR_AFTER: u8 = 4;

/// Frames: gaps in the bot's voice of up to 40 ms are bridged where it is asked whether anything must come back.
const DIPS: usize = 3;

/// One frame in so many is looked at,
const SELDOM: u32 = 4;

/// and on a line that is known to have no echo one in so many.
const RARELY: u32 = 12;

/// What was heard is kept in steps of 4, and clipped: an echo is faint.
const HEARD_STEP: i32 = 4;
const HEARD_SCALE: f32 = HEARD_STEP as f32;

/// What was sent is kept in steps of 96: voices as loud as telephones have them are not clipped, or the filter would leave
/// as much of their echo as was clipped.
const SENT_STEP: i32 = 96;
const SCALE: f32 = SENT_STEP as f32;

/// What is known about the way back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Path {
    /// Nothing yet.
    Unknown,
    /// The bot spoke, and nothing came back.
    Clear,
    /// It comes back.
    Echo {
        /// From the moment at which a frame left to the one at which it was heard again, in milliseconds.
        delay_ms: u16,
        /// How much fainter, in dB.
        loss_db: f32,
    },
}

/// Learns delay and loss of this call's echo from the correlation of what was sent with what is heard, predicts the echo by
/// a short adaptive filter (NLMS), and says of each frame whether the echo explains it. Needs no more than a kibibyte;
/// 2 µs a frame once it knows the path, 3 µs while it looks for one in what is heard over the bot's voice, nothing
/// while the bot is silent.
#[derive(Clone, Debug)]
pub struct EchoGate {
    /// What was sent at 1.6 kHz, differenced, in steps of [`SCALE`]; the newest last.
    sent: [i8; KEPT],
    /// What was heard, in steps of [`HEARD_SCALE`].
    heard: [i8; WINDOW],
    /// The last sample of either side before differencing.
    before: [i16; 2],
    /// Samples sent and heard, and how far the first count runs ahead: a delay is counted in samples, not by when frames
    /// come, so that jitter does not move it.
    sent_count: u32,
    heard_count: u32,
    ahead: i32,
    candidates: [Candidate; CANDIDATES],
    known: Option<Known>,
    taps: [f32; TAPS],
    clear: u8,
    unexplained: u8,
    /// What the last look said.
    looked: bool,
    /// Frames of nothing that were sent in a row; from [`STILL`] on there is nothing that could come back.
    still: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    delay: u16,
    score: f32,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    delay: u16,
    /// Energy heard for energy sent.
    gain: f32,
    /// Share of the energy that the filter leaves of a frame of echo.
    left: f32,
}

impl Default for EchoGate {
    fn default() -> Self {
        Self {
            sent: [0; KEPT],
            heard: [0; WINDOW],
            before: [0; 2],
            sent_count: 0,
            heard_count: 0,
            ahead: i32::MAX,
            candidates: [Candidate::default(); CANDIDATES],
            known: None,
            taps: [0.0; TAPS],
            clear: 0,
            unexplained: 0,
            looked: false,
            still: STILL,
        }
    }
}

impl EchoGate {
    /// Hears what is sent: 20 ms at 8 kHz.
    pub fn sent(&mut self, frame: &Frame) {
        if frame.samples.iter().any(|sample| *sample != 0) {
            if self.still >= STILL {
                // Nothing was kept of what was heard meanwhile.
                self.heard.fill(0);
                self.before = [0; 2];
            }
            self.still = 0;
        } else if self.still < STILL {
            self.still += 1;
        } else {
            self.sent_count = self.sent_count.wrapping_add(FRESH as u32);
            return;
        }
        self.sent.copy_within(FRESH.., 0);
        let mut fresh = [0; FRESH];
        decimate(frame, &mut self.before[0], &mut fresh);
        keep::<SENT_STEP>(&mut self.sent[KEPT - FRESH..], &fresh);
        self.sent_count = self.sent_count.wrapping_add(FRESH as u32);
    }

    /// A frame was lost on its way here.
    pub fn missed(&mut self) {
        self.heard.copy_within(FRESH.., 0);
        self.heard[WINDOW - FRESH..].fill(0);
        self.heard_count = self.heard_count.wrapping_add(FRESH as u32);
    }

    /// Hears what is heard; whether it is an echo and nothing else. Frames of 16 kHz are never taken for one.
    pub fn heard(&mut self, frame: &Frame) -> bool {
        if frame.rate != Rate::Hz8000 {
            return false;
        }
        if self.still >= STILL {
            self.heard_count = self.heard_count.wrapping_add(FRESH as u32);
            self.looked = false;
            return false;
        }
        self.heard.copy_within(FRESH.., 0);
        let mut fresh = [0; FRESH];
        decimate(frame, &mut self.before[1], &mut fresh);
        keep::<HEARD_STEP>(&mut self.heard[WINDOW - FRESH..], &fresh);
        self.heard_count = self.heard_count.wrapping_add(FRESH as u32);
        let energy = energy(&fresh);
        let (loudest, steady) = self.loudness();
        if loudest < SENT_LEAST {
            self.looked = false;
            return false;
        }
        self.line_up();
        if energy < HEARD_LEAST {
            self.looked = false;
            self.silence_over(steady);
            return false;
        }
        if let Some(known) = self.known {
            let echo = self.judge(known, energy, &fresh);
            if echo {
                self.unexplained = 0;
                if known.left > LEFT_TOO_MUCH {
                    self.look(energy);
                }
                return true;
            }
            self.unexplained = self.unexplained.saturating_add(1);
            if self.unexplained > 10 {
                // The caller speaks, or the path is another one now.
                self.look(energy);
            }
            return false;
        }
        self.look(energy)
    }

    /// What is known about the way back.
    #[must_use]
    pub fn path(&self) -> Path {
        match self.known {
            Some(known) => Path::Echo {
                delay_ms: (u32::from(known.delay) * 1_000 / 1_600) as u16,
                loss_db: -10.0 * known.gain.max(1e-9).log10(),
            },
            None if self.clear >= CLEAR_AFTER => Path::Clear,
            None => Path::Unknown,
        }
    }

    /// Whether what is heard now is nobody's but the caller's: the bot has been as good as silent for longer than the longest
    /// delay, or nothing of its voice has come back so far, which is told some words earlier than [`Path::Clear`].
    pub(in crate::turn) fn is_caller_alone(&self) -> bool {
        let (loudest, _) = self.loudness();
        loudest < SENT_LEAST || (self.known.is_none() && self.clear >= LIKELY_CLEAR_AFTER)
    }

    /// Energy of the loudest frame that may come back now; and of the one that comes back at least, after whatever delay: of
    /// frames that follow each other the louder counts, since speech has gaps.
    fn loudness(&self) -> (f32, f32) {
        let (mut loudest, mut steady) = (0, i32::MAX);
        let mut last = [0; DIPS];
        for (number, frame) in self.sent.as_chunks::<FRESH>().0.iter().enumerate() {
            last[number % DIPS] = squares(frame);
            let most = last.iter().copied().max().unwrap_or(0);
            loudest = loudest.max(most);
            if number + 1 >= DIPS {
                steady = steady.min(most);
            }
        }
        (loudest as f32 * SCALE * SCALE, steady as f32 * SCALE * SCALE)
    }

    /// Keeps the two counts in step: frames come in bunches, but more than 80 ms are no jitter any more.
    fn line_up(&mut self) {
        let ahead = self.sent_count.wrapping_sub(self.heard_count).cast_signed();
        if self.ahead == i32::MAX || (ahead - self.ahead).unsigned_abs() > 4 * FRESH as u32 {
            self.ahead = ahead;
        }
    }

    /// Where in `sent` what is heard now begins if it comes back after `delay` samples; `window` samples long.
    fn place(&self, delay: usize, window: usize) -> Option<usize> {
        let from = self.end() - window as i32 - delay as i32;
        usize::try_from(from).ok().filter(|from| from + window <= KEPT)
    }

    /// Where in `sent` what is heard now would end if it took no time to come back: at its end, but for jitter.
    fn end(&self) -> i32 {
        let jitter = self.sent_count.wrapping_sub(self.heard_count).cast_signed() - self.ahead;
        KEPT as i32 - jitter
    }

    /// The bot speaks, and nothing is heard.
    fn silence_over(&mut self, steady: f32) {
        // Loud enough that an echo 25 dB fainter would have been heard.
        if steady > 300.0 * HEARD_LEAST {
            self.clear = self.clear.saturating_add(1).min(2 * CLEAR_AFTER);
        }
        if let Some(known) = &mut self.known {
            known.gain *= 0.998;
            if self.clear >= 2 * CLEAR_AFTER {
                self.known = None;
            }
        }
    }

    /// Whether the echo explains the frame, by what is known of it.
    fn judge(&mut self, known: Known, energy: f32, fresh: &[i16; FRESH]) -> bool {
        let Some(from) = self.place(usize::from(known.delay), FRESH) else { return false };
        // The tail of a room's echo comes up to 25 ms later; what was sent a little later comes with jitter.
        let (early, late) = (from.saturating_sub(40), (from + 8).min(KEPT - FRESH));
        let around =
            (early..=late).step_by(8).map(|at| squares(&self.sent[at..at + FRESH])).max().unwrap_or(0);
        let expected = around as f32 * SCALE * SCALE * known.gain;
        let left = self.filter(from, fresh, false);
        let share = left / energy;
        // A filter that has learned tells a faint caller under the echo; one that has not leaves the level to decide.
        let likely = if known.left > LEFT_TOO_MUCH { 6.0 } else { 3.5 };
        let echo = share < 0.3
            || (energy < likely * expected && share < (3.0 * known.left).clamp(0.35, 1.5))
            || energy < 0.7 * expected;
        if echo {
            self.filter(from, fresh, true);
            self.clear = 0;
            if let Some(known) = &mut self.known {
                let sent = squares(&self.sent[from..from + FRESH]) as f32 * SCALE * SCALE;
                if sent > SENT_LEAST {
                    known.gain += 0.05 * ((energy / sent).min(LOSS_LEAST) - known.gain);
                    known.left += 0.05 * (share.min(1.0) - known.left);
                }
            }
        }
        echo
    }

    /// Predicts the echo; the energy that is left. Learns if it is told to.
    fn filter(&mut self, from: usize, fresh: &[i16; FRESH], learn: bool) -> f32 {
        let mut left = 0.0;
        for (i, sample) in fresh.iter().enumerate() {
            let mut sent = [0.0; TAPS];
            let newest = from + i + AHEAD;
            for (k, sent) in sent.iter_mut().enumerate() {
                let at = newest.checked_sub(k).filter(|at| *at < KEPT);
                *sent = at.map_or(0.0, |at| f32::from(self.sent[at]) * SCALE);
            }
            let predicted: f32 = sent.iter().zip(&self.taps).map(|(sent, tap)| sent * tap).sum();
            let error = f32::from(*sample) - predicted;
            left += error * error;
            if learn {
                let power: f32 = sent.iter().map(|sent| sent * sent).sum::<f32>() + 4.0 * SCALE * SCALE;
                let step = 0.3 * error / power;
                self.taps.iter_mut().zip(&sent).for_each(|(tap, sent)| *tap += step * sent);
            }
        }
        left
    }

    /// Looks for what is heard in what was sent; whether it is so like that it is held back at once.
    fn look(&mut self, energy: f32) -> bool {
        // Windows overlap: between two looks the last one's answer stands.
        let every = if self.clear >= CLEAR_AFTER { RARELY } else { SELDOM };
        if !(self.heard_count / FRESH as u32).is_multiple_of(every) {
            return self.looked;
        }
        self.looked = self.look_now(energy);
        self.looked
    }

    fn look_now(&mut self, energy: f32) -> bool {
        let (alike, delay) = self.most_alike();
        for candidate in &mut self.candidates {
            candidate.score *= 0.95;
        }
        if alike < ALIKE {
            return false;
        }
        let score = self.believe(alike, delay);
        let other = self.likeliest_but(delay);
        // What is known takes more to be given up.
        let (new, enough) = match self.known {
            Some(known) => (usize::from(known.delay).abs_diff(delay) > 3, 2.0 * BELIEVED),
            None => (true, BELIEVED),
        };
        if new && score >= enough && score > LIKELIER * other {
            let gain = (energy / self.energy_at(delay)).clamp(1e-5, LOSS_LEAST);
            self.known = Some(Known { delay: delay as u16, gain, left: 1.0 });
            self.taps = [0.0; TAPS];
            self.clear = 0;
            self.unexplained = 0;
        }
        let cautious = self.clear < CLEAR_AFTER;
        score >= BELIEVED || (alike >= VERY_ALIKE && (cautious || score > 1.0))
    }

    /// The delay after which what was sent is most like what is heard, and how like: 0 to 1. An echo is fainter than what was
    /// sent; its sign may be turned.
    fn most_alike(&self) -> (f32, usize) {
        // Widened once: the products of sixteen bits are what processors add up fastest.
        let (heard, sent) = (self.heard.map(i16::from), self.sent.map(i16::from));
        let own = product(&heard, &heard);
        let least = own as f32 * (HEARD_SCALE * HEARD_SCALE) / (SCALE * SCALE * LOSS_LEAST);
        // The square of the likeness, of a window of `sent` of this power.
        let likeness = |window: &[i16; WINDOW], power: i32| {
            if (power as f32) < least {
                return 0.0;
            }
            let both = product(&heard, window) as f32;
            both * both / (power as f32 * own as f32).max(1.0)
        };
        let behind = |delay: usize| {
            let from = usize::try_from(self.end() - WINDOW as i32 - delay as i32).ok()?;
            sent.get(from..)?.split_first_chunk::<WINDOW>()
        };
        let mut best = (0.0_f32, 0_usize);
        let mut power = None;
        for delay in (0..LONGEST).step_by(2) {
            let Some((window, after)) = behind(delay) else { continue };
            let whole = match (power, after) {
                // The window went back by two samples.
                (Some(power), &[a, b, ..]) => {
                    power + square(window[0]) + square(window[1]) - square(a) - square(b)
                }
                _ => product(window, window),
            };
            power = Some(whole);
            let alike = likeness(window, whole);
            if alike > best.0 {
                best = (alike, delay);
            }
        }
        for delay in [best.1.saturating_sub(1), best.1 + 1] {
            let alike = behind(delay).map_or(0.0, |(window, _)| likeness(window, product(window, window)));
            if alike > best.0 {
                best = (alike, delay);
            }
        }
        (best.0.sqrt(), best.1)
    }

    /// The score of the likeliest delay that is not this one.
    fn likeliest_but(&self, delay: usize) -> f32 {
        let others = self.candidates.iter().filter(|other| usize::from(other.delay).abs_diff(delay) > 2);
        others.map(|other| other.score).fold(0.0, f32::max)
    }

    fn energy_at(&self, delay: usize) -> f32 {
        let from = self.place(delay, FRESH).unwrap_or(0);
        (squares(&self.sent[from..from + FRESH]) as f32 * SCALE * SCALE).max(SENT_LEAST)
    }

    /// Counts a look for a delay; how far that delay is believed.
    fn believe(&mut self, alike: f32, delay: usize) -> f32 {
        let known = self.candidates.iter().position(|candidate| {
            candidate.score > 0.05 && usize::from(candidate.delay).abs_diff(delay) <= 2
        });
        let at = known.unwrap_or_else(|| {
            let least = (0..CANDIDATES)
                .min_by(|a, b| self.candidates[*a].score.total_cmp(&self.candidates[*b].score))
                .unwrap_or(0);
            self.candidates[least].score = 0.0;
            least
        });
        let candidate = &mut self.candidates[at];
        candidate.delay = delay as u16;
        // Likeness by chance is near one half.
        candidate.score += 2.0 * (alike - ALIKE);
        candidate.score
    }
}

#[cfg(test)]
mod tests;
