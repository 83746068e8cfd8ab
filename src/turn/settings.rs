//! How to listen, and how a prompt may be interrupted: every setting that a bot can make.

use std::time::Duration;

use super::evidence::Question;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How to listen for one utterance. All silences count from the end of the caller's last voiced frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// What was asked.
    pub question: Question,
    /// Whether somebody recognises and will tell [`Words`](super::evidence::Words).
    pub words: bool,
    /// Give up when nothing was said for this long after the bot fell silent.
    pub no_input: Duration,
    /// A silence of this length inside an utterance is worth preparing the reply for.
    pub early: Duration,
    /// A silence of this length ends an utterance of which no words are known; of it and of the next five: where all other
    /// witnesses say what they say at an average end. They make it shorter as often as longer.
    pub silence: Duration,
    /// The same where the words are a sentence to which nothing can be added.
    pub silence_whole: Duration,
    /// The same where the words are a sentence, and whatever may follow, it means the same: who waits for no "please" is
    /// answered sooner, and who says one after a pause is talked over.
    pub silence_settled: Duration,
    /// The same where the words are a sentence, and more may follow that changes it.
    pub silence_complete: Duration,
    /// The same where the words are only the beginning of a sentence, or end in "and", "the", "uh".
    pub silence_incomplete: Duration,
    /// The same where the words are none of the grammar.
    pub silence_foreign: Duration,
    /// No endpoint waits for a longer silence than this.
    pub limit: Duration,
    /// A hypothesis is believed from this confidence on, in percent: to interrupt the bot, and to end a turn in noise.
    pub sure_percent: u8,
    /// Whether doubts of the hypothesis are a witness.
    pub doubts: bool,
    /// Whether the contour of level and pitch at the end is a witness.
    pub contour: bool,
    /// Whether this caller's pauses so far are a witness.
    pub habits: bool,
    /// Voiced audio that makes a sound the beginning of an utterance.
    pub min_speech: Duration,
    /// An utterance that is longer than this is ended.
    pub max_speech: Duration,
}

impl Listening {
    /// For answers of a word or two that are wanted fast: a pause in mid-answer may cut the caller off. 12 % of the turns with
    /// a grammar on the tuning half of the benchmark's corpus, of voices that the weights were not found on; see `scripts/fit-turns`.
    pub const EAGER: Self = Self {
        silence: ms(650),
        silence_whole: ms(290),
        silence_settled: ms(130),
        silence_complete: ms(290),
        silence_incomplete: ms(640),
        silence_foreign: ms(530),
        limit: ms(1_000),
        ..Self::BALANCED
    };
    /// For menus and short numbers: 5 % of those turns are cut off.
    pub const BALANCED: Self = Self {
        question: Question::Open,
        words: false,
        no_input: ms(5_000),
        early: ms(100),
        silence: ms(730),
        silence_whole: ms(350),
        silence_settled: ms(610),
        silence_complete: ms(360),
        silence_incomplete: ms(760),
        silence_foreign: ms(590),
        limit: ms(1_500),
        sure_percent: 60,
        doubts: true,
        contour: true,
        habits: true,
        min_speech: ms(60),
        max_speech: ms(15_000),
    };
    /// For callers who think, or who read a long number aloud: 1.5 %.
    pub const PATIENT: Self = Self {
        silence: ms(1_090),
        silence_whole: ms(570),
        silence_settled: ms(770),
        silence_complete: ms(620),
        silence_incomplete: ms(1_060),
        silence_foreign: ms(790),
        limit: ms(2_000),
        no_input: ms(8_000),
        max_speech: ms(30_000),
        ..Self::BALANCED
    };

    /// A silence of this length ends the utterance, whatever any witness says.
    #[must_use]
    pub const fn fixed(silence: Duration) -> Self {
        Self {
            silence,
            silence_whole: silence,
            silence_settled: silence,
            silence_complete: silence,
            silence_incomplete: silence,
            silence_foreign: silence,
            limit: silence,
            doubts: false,
            contour: false,
            habits: false,
            ..Self::BALANCED
        }
    }
}

/// How what is being played may be interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BargeIn {
    /// The caller's voice interrupts.
    pub voice: bool,
    /// A key interrupts.
    pub keys: bool,
    /// This much from the beginning is played whatever the caller does.
    pub protect: Duration,
    /// The bot's voice goes down after this much likely speech of the caller.
    pub duck_after: Duration,
    /// By how many decibels it goes down; 0 for not at all.
    pub duck_db: u8,
    /// After this much of it, if it has a pitch as speech has, the bot's voice goes down by `hush_db`: the caller hears
    /// silence, though nothing is decided yet.
    pub hush_after: Duration,
    /// By how many decibels its voice goes down then, from its full level; 0 for no further than `duck_db`.
    pub hush_db: u8,
    /// So much speech is an interruption whatever was said, where somebody recognises: longer than an "uh-huh".
    pub min_speech: Duration,
    /// The same where the caller is loud and clear.
    pub min_clear_speech: Duration,
    /// The same where nobody recognises: longer than an "uh-huh" too. Never more than `min_speech`.
    pub min_speech_without_words: Duration,
    /// So much of it has a pitch, in percent; coughs and knocks have none.
    pub pitched_percent: u8,
    /// When the sound is over before that, its words are waited for for this long.
    pub words_within: Duration,
}

impl BargeIn {
    /// By voice and by key: by an answer, or by seven tenths of a second of speech.
    pub const ALLOWED: Self = Self {
        voice: true,
        keys: true,
        protect: Duration::ZERO,
        duck_after: ms(40),
        duck_db: 18,
        hush_after: ms(180),
        hush_db: 50,
        min_speech: ms(700),
        min_clear_speech: ms(660),
        min_speech_without_words: ms(660),
        pitched_percent: 25,
        words_within: ms(300),
    };
    /// Heard to its end.
    pub const FORBIDDEN: Self = Self { voice: false, keys: false, ..Self::ALLOWED };
}

/// [`BargeIn`] in 22 bytes: what waits for its play, call by call. Times are rounded to whole milliseconds and end at 65 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedBargeIn {
    voice: bool,
    keys: bool,
    duck_db: u8,
    hush_db: u8,
    pitched_percent: u8,
    protect: u16,
    duck_after: u16,
    hush_after: u16,
    min_speech: u16,
    min_clear_speech: u16,
    min_speech_without_words: u16,
    words_within: u16,
}

impl From<BargeIn> for PackedBargeIn {
    fn from(how: BargeIn) -> Self {
        Self {
            voice: how.voice,
            keys: how.keys,
            duck_db: how.duck_db,
            hush_db: how.hush_db,
            pitched_percent: how.pitched_percent,
            protect: short(how.protect),
            duck_after: short(how.duck_after),
            hush_after: short(how.hush_after),
            min_speech: short(how.min_speech),
            min_clear_speech: short(how.min_clear_speech),
            min_speech_without_words: short(how.min_speech_without_words),
            words_within: short(how.words_within),
        }
    }
}

impl From<PackedBargeIn> for BargeIn {
    fn from(how: PackedBargeIn) -> Self {
        let ms = |millis: u16| ms(u64::from(millis));
        Self {
            voice: how.voice,
            keys: how.keys,
            protect: ms(how.protect),
            duck_after: ms(how.duck_after),
            duck_db: how.duck_db,
            hush_after: ms(how.hush_after),
            hush_db: how.hush_db,
            min_speech: ms(how.min_speech),
            min_clear_speech: ms(how.min_clear_speech),
            min_speech_without_words: ms(how.min_speech_without_words),
            pitched_percent: how.pitched_percent,
            words_within: ms(how.words_within),
        }
    }
}

/// [`Listening`] in 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PackedListening {
    no_input: u32,
    max_speech: u32,
    early: u16,
    silence: u16,
    silence_whole: u16,
    silence_settled: u16,
    silence_complete: u16,
    silence_incomplete: u16,
    silence_foreign: u16,
    limit: u16,
    min_speech: u16,
    question: Question,
    sure_percent: u8,
    words: bool,
    doubts: bool,
    contour: bool,
    habits: bool,
}

impl From<Listening> for PackedListening {
    fn from(how: Listening) -> Self {
        let long = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        Self {
            no_input: long(how.no_input),
            max_speech: long(how.max_speech),
            early: short(how.early),
            silence: short(how.silence),
            silence_whole: short(how.silence_whole),
            silence_settled: short(how.silence_settled),
            silence_complete: short(how.silence_complete),
            silence_incomplete: short(how.silence_incomplete),
            silence_foreign: short(how.silence_foreign),
            limit: short(how.limit),
            min_speech: short(how.min_speech),
            question: how.question,
            sure_percent: how.sure_percent,
            words: how.words,
            doubts: how.doubts,
            contour: how.contour,
            habits: how.habits,
        }
    }
}

impl From<PackedListening> for Listening {
    fn from(how: PackedListening) -> Self {
        let short = |millis: u16| ms(u64::from(millis));
        Self {
            question: how.question,
            words: how.words,
            no_input: ms(u64::from(how.no_input)),
            early: short(how.early),
            silence: short(how.silence),
            silence_whole: short(how.silence_whole),
            silence_settled: short(how.silence_settled),
            silence_complete: short(how.silence_complete),
            silence_incomplete: short(how.silence_incomplete),
            silence_foreign: short(how.silence_foreign),
            limit: short(how.limit),
            sure_percent: how.sure_percent,
            doubts: how.doubts,
            contour: how.contour,
            habits: how.habits,
            min_speech: short(how.min_speech),
            max_speech: ms(u64::from(how.max_speech)),
        }
    }
}

fn short(span: Duration) -> u16 {
    u16::try_from(span.as_millis()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_is_unpacked() {
        for how in [Listening::EAGER, Listening::BALANCED, Listening::PATIENT, Listening::fixed(ms(640))] {
            assert_eq!(Listening::from(PackedListening::from(how)), how);
        }
        for how in [BargeIn::ALLOWED, BargeIn::FORBIDDEN, BargeIn { protect: ms(800), ..BargeIn::ALLOWED }] {
            assert_eq!(BargeIn::from(PackedBargeIn::from(how)), how);
        }
        assert!(size_of::<PackedBargeIn>() <= 22 && size_of::<PackedListening>() <= 40);
    }
}
