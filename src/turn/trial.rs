//! A voice over the bot's own: a burst of sound is tried until it is an interruption, or nothing.
//!
//! | the sound | becomes |
//! |---|---|
//! | [`duck_after`](BargeIn::duck_after) of likely speech | the bot's voice goes down |
//! | [`hush_after`](BargeIn::hush_after) of it, with a pitch | it goes down until it is as good as silent |
//! | words that are an answer | an interruption; of less than a word's length, if they are surer and the sound is a voice's |
//! | words that begin one, in half a second of sound, or several of them that are very sure | an interruption |
//! | the same, in less | nothing yet, and the voice stays down for longer |
//! | longer than an "uh-huh", and with a pitch | an interruption |
//! | loud and clear for a little less | an interruption |
//! | the second of a voice within 1.2 s, where no echo can be heard, and 0.4 s with the first | an interruption |
//! | over, and its words are an "uh-huh" | nothing: back to level |
//! | over for a third of a second, or for most of one if it was a voice's, and its words are no answer, or nobody has told any | nothing |

use std::time::Duration;

use super::evidence::{By, Calm, Completeness, Words};
use super::settings::{BargeIn, PackedBargeIn};
use crate::time::Moment;

/// Few words are shorter than this, and few knocks longer; and so much of a word has a pitch.
const WORD: Duration = Duration::from_millis(260);
const PITCHED_WORD: Duration = Duration::from_millis(120);

/// The beginning of an answer is believed of a sound of this length: a grammar begins in every cough and every "uh-huh", and how sure
/// a recogniser is of what is no sentence yet is not calibrated.
const BEGINNING: Duration = Duration::from_millis(500);

/// Words that interrupt are at least so likely to be right. Less than is asked of an answer: who is answered wrongly is worse
/// off than who is listened to in vain.
const SURE: f32 = 0.4;

/// A sound that is shorter than [`WORD`] is one all the same, "no" or "three", when its words are so likely to be right and so
/// much of it has a pitch, in percent; knocks are taken for "yes", and that must be surer, and more of a voice.
const SURE_OF_SHORT: f32 = 0.55;
const PITCHED_SHORT: u32 = 60;
const SURE_OF_YES: f32 = 0.75;
const PITCHED_YES: u32 = 75;

/// Of so many words that are so sure the beginning of an answer is believed of any sound that may be a word: a cough may pass for
/// one, and hardly ever for two.
const SEVERAL: u16 = 2;
const SURE_OF_SEVERAL: f32 = 0.85;

/// A voice that begins again so soon after a sound that was nothing is the same caller's: what he said before counts with
/// what he says now. "No, … thanks", of which neither is longer than an "uh-huh".
const AGAIN: Duration = Duration::from_millis(1_200);

/// Two sounds of a voice are an interruption from this length of both: shorter than what one alone needs, since hardly any "uh-huh"
/// is followed by another.
const TOGETHER: Duration = Duration::from_millis(400);

/// Of the sounds before the present one those count that have a syllable's length, and a pitch in most of it.
const SYLLABLE: Duration = Duration::from_millis(140);

/// Voiced frames in a row, with dips.
#[derive(Clone, Copy)]
pub(super) struct Burst {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    /// Speech, by the detector.
    pub(super) voiced: Duration,
    /// What of it counts began here.
    counts_from: Moment,
    /// Of that, what has a pitch; and what is loud too.
    pitched: Duration,
    clear: Duration,
}

impl Burst {
    pub(super) const fn new(began: Moment) -> Self {
        let none = Duration::ZERO;
        Self { began, ended: began, counts_from: began, voiced: none, pitched: none, clear: none }
    }

    /// Goes on to `now` by a frame of that `length`.
    pub(super) fn add(&mut self, now: Moment, length: Duration, pitched: bool, clear: bool) {
        self.ended = now;
        self.voiced += length;
        self.pitched += if pitched { length } else { Duration::ZERO };
        self.clear += if clear { length } else { Duration::ZERO };
    }

    /// Whether there may be a word in it: a knock is shorter, a cough has less pitch.
    fn may_be_word(&self, percent: u8) -> bool {
        self.voiced >= WORD && self.pitched >= PITCHED_WORD && self.is_pitched(percent)
    }

    fn is_pitched(&self, percent: u8) -> bool {
        self.pitched * 100 >= self.voiced * u32::from(percent)
    }

    /// Whether it may be a short word: so much of it has a pitch.
    fn may_be_short(&self, percent: u32) -> bool {
        self.pitched >= PITCHED_WORD && self.pitched * 100 >= self.voiced * percent
    }

    /// With the gaps between its words.
    fn length(&self) -> Duration {
        self.ended.since(self.counts_from)
    }

    /// What of it counts beside another sound, in milliseconds.
    fn voice_ms(&self) -> u16 {
        let voice = self.voiced >= SYLLABLE && self.pitched * 100 >= self.voiced * PITCHED_SHORT;
        if voice { u16::try_from(self.length().as_millis()).unwrap_or(u16::MAX) } else { 0 }
    }

    /// What was said so far counts no more.
    const fn discount(&mut self) {
        self.counts_from = self.ended;
        self.voiced = Duration::ZERO;
        self.pitched = Duration::ZERO;
        self.clear = Duration::ZERO;
    }
}

/// Something that is played.
pub(super) struct Play {
    how: PackedBargeIn,
    began: Moment,
    interrupted: bool,
    trial: Option<Trial>,
    /// Whether there may be a word in what is on trial: none is believed of a cough.
    word: bool,
    /// Whether there may be the beginning of an answer in it.
    beginning: bool,
    /// Whether the last sound may be a word though it is short, and a "yes".
    short: bool,
    yes: bool,
    /// The beginning and the end of the last sound, what of it counts beside another, and what of those before it does.
    last: (Moment, Moment),
    voice_ms: u16,
    before_ms: u16,
}

/// The bot's voice is down.
pub(super) struct Trial {
    since: Moment,
    /// The last of the sound.
    heard: Moment,
    /// As good as silent.
    hushed: bool,
}

/// How a trial stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Wait,
    Nothing(Calm),
}

impl Trial {
    /// A silence of this length ends the sound on trial: longer than the gaps of "uh-huh" and "stop it".
    pub(super) const RELEASE: Duration = Duration::from_millis(160);

    /// The bot's voice stays down for so long after a sound that may be the beginning of more: "um, …".
    const REST: Duration = Duration::from_millis(320);

    /// And for so long after a voice, or after the beginning of an answer, which alone interrupt nothing. Who pauses after his first
    /// word does not hear the bot between it and the second; and once the bot has been silent for longer than the longest echo takes,
    /// what comes then is the caller for sure.
    const BEGUN: Duration = Duration::from_millis(900);
}

impl Play {
    pub(super) fn new(how: BargeIn, began: Moment) -> Self {
        Self {
            how: how.into(),
            began,
            interrupted: false,
            trial: None,
            word: false,
            beginning: false,
            short: false,
            yes: false,
            last: (began, began),
            voice_ms: 0,
            before_ms: 0,
        }
    }

    fn how(&self) -> BargeIn {
        self.how.into()
    }

    pub(super) const fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether the bot's voice is down.
    pub(super) const fn is_down(&self) -> bool {
        self.trial.is_some()
    }

    pub(super) fn open_to(&self, now: Moment, by: By) -> bool {
        let allowed = if by == By::Key { self.how().keys } else { self.how().voice };
        allowed && !self.interrupted && now.since(self.began) >= self.how().protect
    }

    /// Whether the bot's voice is to go down now.
    pub(super) fn duck(&mut self, now: Moment, burst: &Burst) -> bool {
        let how = self.how();
        self.count(burst);
        let word = burst.may_be_word(how.pitched_percent);
        let beginning = word && burst.length() >= BEGINNING;
        if let Some(trial) = &mut self.trial {
            trial.heard = now;
            self.word |= word;
            self.beginning |= beginning;
            return false;
        }
        (self.word, self.beginning) = (word, beginning);
        let likely = how.duck_db > 0 && burst.voiced >= how.duck_after;
        if likely {
            self.trial = Some(Trial { since: now, heard: now, hushed: false });
        }
        likely
    }

    /// Keeps what of a sound counts when there is another one, and whether it may be a short word.
    fn count(&mut self, burst: &Burst) {
        let (began, ended) = self.last;
        if burst.began != began {
            let again = burst.began.since(ended) <= AGAIN;
            self.before_ms = if again { self.before_ms.saturating_add(self.voice_ms) } else { 0 };
        }
        self.last = (burst.began, burst.ended);
        self.voice_ms = burst.voice_ms();
        self.short = burst.may_be_short(PITCHED_SHORT);
        self.yes = burst.may_be_short(PITCHED_YES);
    }

    /// Whether the bot's voice, which is down, is to go down to nothing now: told once in a trial.
    pub(super) fn hush(&mut self, burst: &Burst) -> bool {
        let how = self.how();
        let Some(trial) = &mut self.trial else { return false };
        let hushes = !trial.hushed
            && how.hush_db > how.duck_db
            && burst.voiced >= how.hush_after
            && burst.is_pitched(how.pitched_percent);
        trial.hushed |= hushes;
        hushes
    }

    /// What confirms the burst without words, if anything does. `words` where somebody recognises; `alone` where nothing of the
    /// bot's voice can be heard: an echo too comes again and again.
    pub(super) fn confirmed(&self, burst: &Burst, words: bool, alone: bool) -> Option<By> {
        let how = self.how();
        let least = if words { how.min_speech } else { how.min_speech.min(how.min_speech_without_words) };
        if !burst.is_pitched(how.pitched_percent) {
            return None;
        }
        // Gaps between words count, as long as most of it is speech.
        let length = burst.length();
        if burst.voiced * 2 < length {
            return None;
        }
        let again = alone && self.voice_ms > 0 && self.before_ms > 0;
        let both = length + Duration::from_millis(self.before_ms.into());
        if length >= least || (again && both >= TOGETHER) {
            return Some(By::Duration);
        }
        let clear = burst.clear * 5 >= burst.voiced * 3;
        (length >= how.min_clear_speech && clear).then_some(By::Level)
    }

    /// Whether the words may be the beginning of an answer.
    fn begins_answer(&self, words: &Words) -> bool {
        let sure = words.settled && self.word && words.confidence >= SURE;
        sure && words.count > 0 && words.completeness == Completeness::Incomplete
    }

    /// Whether words are believed of a sound that is shorter than most.
    fn is_sure_of_short(&self, words: &Words) -> bool {
        let (may_be, sure) =
            if words.backchannel { (self.yes, SURE_OF_YES) } else { (self.short, SURE_OF_SHORT) };
        words.settled && may_be && words.confidence >= sure
    }

    /// Hears words about the burst; whether they confirm it. After an "uh-huh" it must begin anew.
    pub(super) fn said(&mut self, words: &Words, burst: Option<&mut Burst>) -> bool {
        // A grammar finds itself in every cough: only what was judged at a pause counts.
        let sure = words.settled && self.word && words.confidence >= SURE;
        match words.completeness {
            Completeness::Whole | Completeness::Settled | Completeness::Complete => {
                sure || self.is_sure_of_short(words)
            }
            _ if words.backchannel => {
                (self.voice_ms, self.before_ms) = (0, 0);
                if let Some(burst) = burst {
                    burst.discount();
                }
                false
            }
            Completeness::Incomplete => {
                let several = words.count >= SEVERAL && words.confidence >= SURE_OF_SEVERAL;
                (self.beginning || several) && self.begins_answer(words)
            }
            // Of open speech one word may be anything.
            Completeness::Unknown => sure && words.count > 1,
            Completeness::Foreign => false,
        }
    }

    /// Whether what is on trial is over and was nothing. `since` is the end of the utterance's speech where there is an
    /// utterance, `expected` says that its words will be told, `told` that they were.
    pub(super) fn over(
        &self,
        now: Moment,
        since: Option<Moment>,
        expected: bool,
        told: Option<&Words>,
    ) -> Verdict {
        let Some(last) = self.trial.as_ref().map(|trial| trial.heard).max(since) else {
            return Verdict::Wait;
        };
        let silence = now.since(last);
        if silence < Trial::RELEASE {
            return Verdict::Wait;
        }
        match told {
            Some(words) if words.backchannel => Verdict::Nothing(Calm::Backchannel),
            _ if silence < Trial::REST => Verdict::Wait,
            _ if silence < Trial::BEGUN && self.voice_ms > 0 => Verdict::Wait,
            Some(words) if silence < Trial::BEGUN && self.begins_answer(words) => Verdict::Wait,
            Some(words) if words.completeness == Completeness::Foreign => Verdict::Nothing(Calm::Foreign),
            None if expected && silence < self.how().words_within => Verdict::Wait,
            _ => Verdict::Nothing(Calm::Short),
        }
    }

    /// The voice comes back; whether it was down.
    pub(super) const fn restore(&mut self) -> bool {
        self.trial.take().is_some()
    }

    /// It is interrupted; since when the voice was down.
    pub(super) fn interrupt(&mut self) -> Option<Moment> {
        self.interrupted = true;
        self.trial.take().map(|trial| trial.since)
    }
}
