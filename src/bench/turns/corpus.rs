//! The corpus: calls with turns whose ends and pauses are known to 10 ms, and scenes in which something is heard while the
//! bot speaks. Made from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sound::{HZ, STEP};
use super::voices::{Voice, Voices, espeak, flite, recorded};
use super::{Part, TurnsError};
use crate::audio::{FRAME_SAMPLES, Frame};
use crate::speech::grammar::Grammar;
use crate::turn::Question;

mod maker;

use maker::Maker;

const OPEN: &str = include_str!("../../../benches/turns/open.txt");
const ANSWERS: &str = include_str!("../../../benches/turns/answers.txt");
const BACKCHANNELS: &str = include_str!("../../../benches/turns/backchannels.txt");
const PROMPTS: &str = include_str!("../../../benches/turns/prompts.txt");
const MENU: &str = include_str!("../../../models/grammars/frontdesk_menu.jsgf");
const YES_NO: &str = include_str!("../../../models/grammars/yes_no.jsgf");
const MONTHS: &str = include_str!("../../../models/grammars/months.jsgf");

/// Turns of a call.
const TURNS: usize = 8;

/// After an utterance nothing is said for so long: nobody waits longer for an answer.
const TAIL_MS: usize = 2_600;

/// A pause inside an utterance, in milliseconds.
const PAUSE_MS: (usize, usize) = (200, 900);

/// At a place where people pause, this share of callers does.
const PAUSES: f32 = 0.6;

/// What the bot says is so loud, in dBFS.
const BOT_DBFS: f32 = -20.0;

/// At most so many lost packets in a row are concealed, as the engine does it.
const CONCEALED: usize = 5;

/// This share of numbers is read digit by digit, each as if it were the last: as from a card, and as recordings are.
const ONE_BY_ONE: f32 = 0.3;

/// Of numbers that are read digit by digit this share of the tuning half has a pause of 100 to 350 ms before each.
const DICTATES: f32 = 0.25;

/// The digits of people, as words of the grammar that listens to them: Italian and Russian in the phones of an English model
/// (models/pronunciations.dict).
const DIGITS_OF: [(&str, [&str; 10]); 3] = [
    ("en", crate::speech::grammar::DIGIT_WORDS),
    (
        "it",
        [
            "it_zero",
            "it_uno",
            "it_due",
            "it_tre",
            "it_quattro",
            "it_cinque",
            "it_sei",
            "it_sette",
            "it_otto",
            "it_nove",
        ],
    ),
    (
        "ru",
        [
            "ru_nol",
            "ru_odin",
            "ru_dva",
            "ru_tri",
            "ru_chetyre",
            "ru_pyat",
            "ru_shest",
            "ru_sem",
            "ru_vosem",
            "ru_devyat",
        ],
    ),
];

/// How people group four digits, seven, and two to four.
const FOUR: [&[usize]; 5] = [&[4], &[2, 2], &[1, 3], &[3, 1], &[1, 1, 1, 1]];
const SEVEN: [&[usize]; 3] = [&[3, 4], &[3, 2, 2], &[7]];
const SOME: [&[usize]; 3] = [&[2], &[3], &[2, 2]];

/// A length or a place in milliseconds, as samples.
const fn samples(millis: usize) -> usize {
    millis * HZ / 1_000
}

/// Samples as milliseconds.
fn millis(samples: usize) -> u64 {
    (samples * 1_000 / HZ) as u64
}

/// What answers are expected.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// [`None`] for an open question: nobody recognises.
    pub(super) grammar: Option<Arc<Grammar>>,
}

/// One utterance of a call. Times in milliseconds since the call began.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) asked: Asked,
    /// What sort of utterance it is, for the tables.
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// When the bot begins to listen.
    pub(super) listen: u64,
    pub(super) onset: u64,
    pub(super) end: u64,
    /// Silences inside it: from, to.
    pub(super) pauses: Vec<(u64, u64)>,
    /// When the next turn begins.
    pub(super) over: u64,
}

/// What comes of 20 ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) frame: Frame,
    /// The packet was lost, and this is made up.
    pub(super) lost: bool,
}

/// A caller who answers some questions.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) voice: String,
    pub(super) noise: &'static str,
    /// Whether a grammar is active.
    pub(super) grammar: bool,
    pub(super) frames: Vec<Heard>,
    pub(super) turns: Vec<Turn>,
}

/// What happens while the bot speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// The caller interrupts.
    Speech,
    /// He coughs, sneezes, clears his throat.
    Cough,
    /// Something clicks or knocks.
    Click,
    /// He says that he listens.
    Backchannel,
    /// Tones of a key, inside the audio.
    KeyTone,
    /// Nothing but what is behind him: hum, other people, a street, music.
    Noise,
}

impl Class {
    pub(super) const ALL: [Self; 6] =
        [Self::Speech, Self::Cough, Self::Click, Self::Backchannel, Self::KeyTone, Self::Noise];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Cough => "cough",
            Self::Click => "click",
            Self::Backchannel => "backchannel",
            Self::KeyTone => "key_tone",
            Self::Noise => "noise",
        }
    }

    /// How many of them are in a corpus.
    const fn count(self) -> usize {
        match self {
            Self::Speech => 200,
            Self::Cough | Self::Click => 72,
            Self::Backchannel => 96,
            Self::KeyTone => 24,
            Self::Noise => 48,
        }
    }
}

/// The bot's voice as it comes back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Echo {
    /// Its level against what was sent.
    pub(super) db: f32,
    pub(super) delay_ms: usize,
}

/// The bot speaks, and something is heard.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) class: Class,
    pub(super) what: String,
    pub(super) asked: Asked,
    /// What the bot says: 8 kHz.
    pub(super) bot: Arc<[i16]>,
    /// What is heard at the caller's end, without the echo: as long as the scene.
    pub(super) near: Vec<i16>,
    pub(super) echo: Option<Echo>,
    /// From the first 10 ms to the last, in milliseconds since the bot began.
    pub(super) onset: u64,
    pub(super) end: u64,
}

/// All of it.
pub(super) struct Corpus {
    pub(super) calls: Vec<Call>,
    pub(super) scenes: Vec<Scene>,
    /// What the bot says to an empty line: a minute or so.
    pub(super) speech: Vec<Arc<[i16]>>,
}

/// Voices of each part.
struct Cast {
    /// They answer questions with a grammar, and open ones: people with digits, in their language.
    english: Vec<Voice>,
    /// They answer open ones alone.
    others: Vec<Voice>,
}

impl Cast {
    fn of(part: Part, voices: &Voices) -> Self {
        let (mut english, mut others) = match part {
            Part::Tuning => (
                vec![
                    flite("rms"),
                    flite("kal16"),
                    espeak("en-us+f2", "en"),
                    espeak("en-us+m3", "en"),
                    espeak("en-gb+f4", "en"),
                    espeak("en-us+m6", "en"),
                    recorded("it"),
                    recorded("ru"),
                    // The same slower and faster, and more of them: everybody has a pace of his own.
                    flite("rms").at(135),
                    flite("kal16").at(80),
                    espeak("en-us+f2", "en").at(145),
                    espeak("en-gb+f4", "en").at(125),
                    espeak("en-us+f1", "en"),
                    espeak("en-us+m1", "en").at(80),
                    espeak("en-us+m7", "en").at(120),
                    recorded("it").at(130),
                    recorded("it").at(165),
                    recorded("ru").at(140),
                ],
                vec![
                    espeak("es", "es"),
                    espeak("es+f2", "es"),
                    espeak("it", "it"),
                    espeak("it+f4", "it"),
                    espeak("nl", "nl"),
                    espeak("nl+f2", "nl").at(125),
                    espeak("pl", "pl"),
                    espeak("pl+f4", "pl").at(85),
                    espeak("pt", "pt"),
                    espeak("pt+f2", "pt").at(115),
                    espeak("sv", "sv"),
                    espeak("sv+f4", "sv"),
                ],
            ),
            Part::Reported => (
                vec![
                    flite("slt"),
                    flite("awb"),
                    espeak("en-us", "en"),
                    espeak("en-us+m2", "en"),
                    espeak("en-us+f5", "en"),
                    espeak("en-us+m5", "en"),
                    recorded("en"),
                ],
                vec![
                    espeak("de", "de"),
                    espeak("de+f2", "de"),
                    espeak("fr-fr", "fr"),
                    espeak("fr-fr+f4", "fr"),
                    espeak("ru", "ru"),
                    recorded("es"),
                    recorded("fr"),
                ],
            ),
        };
        english.retain(|voice| voices.has(*voice));
        others.retain(|voice| voices.has(*voice));
        Self { english, others }
    }
}

/// A line of the sentences that belongs to the part: its second word and the rest.
fn lines(file: &'static str, part: Part) -> impl Iterator<Item = (&'static str, &'static str)> {
    let letter = match part {
        Part::Tuning => "t",
        Part::Reported => "r",
    };
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter_map(|line| line.split_once(' '));
    lines
        .filter(move |(whose, _)| *whose == letter || *whose == "b")
        .filter_map(|(_, rest)| rest.split_once(' '))
}

/// Does `work` for each number below `count` on as many threads as there are cores; in the order of the numbers.
pub(in crate::bench) fn each<R: Send>(count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let next = AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let run = move || {
            let mut mine = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return mine;
                }
                mine.push((number, work(number)));
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

impl Corpus {
    /// Makes a part of it. `share` of its calls and scenes, 0 to 1.
    pub(super) fn make(part: Part, seed: u64, share: f64, voices: &Voices) -> Result<Self, TurnsError> {
        let cast = Cast::of(part, voices);
        let maker = Maker::new(part, seed, voices, &cast)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "hundreds"
        )]
        let some = |count: usize| ((count as f64 * share).ceil() as usize).max(1);
        let mut orders: Vec<(Voice, bool, usize)> = Vec::new();
        for voice in &cast.english {
            orders.extend((0..some(9)).map(|n| (*voice, true, n)));
            orders.extend((0..some(4)).map(|n| (*voice, false, n)));
        }
        for voice in &cast.others {
            orders.extend((0..some(3)).map(|n| (*voice, false, n)));
        }
        let calls = each(orders.len(), |n| maker.call(orders[n].0, orders[n].1, orders[n].2));
        let calls = calls.into_iter().flatten().collect();
        let scenes: Vec<(Class, usize)> =
            Class::ALL.iter().flat_map(|class| (0..some(class.count())).map(|n| (*class, n))).collect();
        let scenes = each(scenes.len(), |n| maker.scene(scenes[n].0, scenes[n].1));
        let scenes = scenes.into_iter().flatten().collect();
        Ok(Self { calls, scenes, speech: maker.prompts.clone() })
    }

    /// Milliseconds that callers are listened to.
    pub(super) fn millis(&self) -> u64 {
        self.calls.iter().map(|call| call.frames.len() as u64 * 20).sum()
    }
}

/// So long is what truth is told in.
const _: () = assert!(STEP * 2 == FRAME_SAMPLES);
