//! Person or machine: who answered a call that we made, out of the first seconds of what is heard.
//!
//! An [`Answerer`] is fed every frame of the callee's audio from the first early media on, is told when the call was answered,
//! and gives [`AnswerSignal`]s: a verdict, and for machines the place where a message begins. It is deciding code like the
//! rest of the room: no I/O, no clock; nothing is allocated after it was made.
//!
//! # How it decides
//!
//! A person says something short and waits; a machine goes on, and beeps. So the witnesses are how much voice there was, the
//! silence behind it, and tones:
//!
//! - silence behind a greeting makes a person: the shorter the greeting the less of it, and less again where the pitch rose as
//!   in a question ([`AnswerSettings::short_pause_ms`], [`long_pause_ms`](AnswerSettings::long_pause_ms));
//! - more voice than persons greet with, without such a silence in it, makes a machine; several sentences do so sooner;
//! - a beep, of any pitch, single or double, makes a machine at any time, also when it was taken for a person before;
//! - words that only one of them says decide at once, where somebody recognises ([`Answerer::words`]); words that are more a
//!   machine's, or more a person's, one with another, move the thresholds;
//! - noise behind the voice makes a machine later: it is easily heard as voice;
//! - tones of "not in service" and of fax machines are told as what they are; ringback is no greeting, and the clocks wait
//!   until it is over;
//! - at the limit there is a verdict, [`AnswerSignal::Unsure`], which is taken for a person.
//!
//! After "machine" it looks for the place of a message: the end of the beep, or a long silence after the greeting.
//!
//! # Parts
//!
//! - this file: [`Answerer`], its signals and their reasons;
//! - [`settings`]: every threshold; `phrases`: what is said by whom, in five languages;
//! - `ears`: 20 ms of audio as voice, tone and level, with the detectors of the room; `whistle`: tones of any pitch;
//! - `listener`: the way to a recogniser that hears along, and back;
//! - `runs`: rows of tones as beeps, ringback, fax and information tones; `judge`: the verdict.
//!
//! # What it never does
//!
//! It stops nobody from speaking: a bot may greet while this decides, and should. It knows no numbers, no trunks and
//! no dialling, and hangs up on nobody.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audio::{Frame, Rate};
use crate::time::Moment;

pub(crate) mod ears;
pub(crate) mod judge;
pub(crate) mod listener;
mod phrases;
mod runs;
pub mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod whistle;

pub use settings::{AnswerSettings, BadSetting, Phrases};

use ears::Ears;
use judge::{Judge, Phase};
pub use listener::{Listener, Teller, listener};
pub use phrases::{Book, Told};

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Somebody who listens.
    #[default]
    Person,
    /// An answering machine, a mailbox, an announcement, a fax machine.
    Machine,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Person => "person",
            Self::Machine => "machine",
        })
    }
}

/// What decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Silence behind a greeting that was short enough.
    Pause,
    /// More voice than persons greet with.
    LongGreeting,
    /// Sentences with pauses between them, more than persons greet with.
    Sentences,
    /// A beep.
    Beep,
    /// Words that only such a party says.
    Words,
    /// Asterisk's `AMD()` said so.
    Amd,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pause => "waits for an answer",
            Self::LongGreeting => "goes on talking",
            Self::Sentences => "says several sentences",
            Self::Beep => "beeped",
            Self::Words => "is known by the words",
            Self::Amd => "is told by AMD()",
        })
    }
}

/// What was heard until a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Witnesses {
    /// From the answer to the first voice, in milliseconds; [`None`] when there was none.
    pub first_sound_ms: Option<u32>,
    /// Voice, without the pauses of 120 ms and more in it, in milliseconds.
    pub spoken_ms: u32,
    /// Stretches of voice between such pauses.
    pub stretches: u16,
    /// The longest pause in the greeting, in milliseconds.
    pub longest_pause_ms: u32,
    /// The silence behind it so far, in milliseconds.
    pub pause_ms: u32,
    /// The pitch rose at its end.
    pub rose: bool,
    /// There was noise behind it.
    pub noisy: bool,
    /// The silence that would make a person of it, in milliseconds.
    pub asked_for_ms: u32,
}

impl fmt::Display for Witnesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.first_sound_ms else { return f.write_str("nothing was said") };
        let Self { spoken_ms, stretches, pause_ms, asked_for_ms, .. } = self;
        let plural = if *stretches == 1 { "" } else { "es" };
        write!(
            f,
            "{spoken_ms} ms of voice in {stretches} stretch{plural}, from {first} ms after the answer on"
        )?;
        if self.longest_pause_ms > 0 {
            write!(f, ", pauses up to {} ms", self.longest_pause_ms)?;
        }
        write!(f, "{}", if self.rose { ", rising" } else { "" })?;
        write!(f, "{}", if self.noisy { ", in noise" } else { "" })?;
        write!(f, "; silent for {pause_ms} ms of {asked_for_ms}")
    }
}

/// Which tone of a fax machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaxTone {
    /// 2,100 Hz: one that answers (CED, ITU-T T.30).
    Answering,
    /// 1,100 Hz: one that calls (CNG).
    Calling,
}

/// What the three tones before an announcement say of the call; by whether the first two are high or low, as North American
/// exchanges send them. Others send the plain tones of ITU-T E.180, 950, 1,400 and 1,800 Hz, which come out as any of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Information {
    /// The number is not in service (low, low).
    Intercept,
    /// The number is none (high, low).
    VacantCode,
    /// All circuits are busy (high, high).
    NoCircuit,
    /// The call did not go through (low, high).
    Reorder,
}

impl Information {
    const fn of(high: [bool; 2]) -> Self {
        match high {
            [false, false] => Self::Intercept,
            [true, false] => Self::VacantCode,
            [true, true] => Self::NoCircuit,
            [false, true] => Self::Reorder,
        }
    }

    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intercept => "intercept",
            Self::VacantCode => "vacant_code",
            Self::NoCircuit => "no_circuit",
            Self::Reorder => "reorder",
        }
    }
}

/// Where it is silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quiet {
    /// Nobody has said anything since the answer. No verdict: somebody may yet.
    BeforeGreeting,
    /// A machine's greeting is over, or was waited for long enough: here a message begins.
    AfterGreeting,
}

/// What an [`Answerer`] has found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum AnswerSignal {
    /// A person answered.
    Person {
        /// When that was decided.
        at: Moment,
        /// What decided.
        why: Why,
        /// What was heard.
        heard: Witnesses,
    },
    /// A machine answered.
    Machine {
        /// When that was decided.
        at: Moment,
        /// What decided.
        why: Why,
        /// It was taken for a person before.
        revised: bool,
        /// What was heard.
        heard: Witnesses,
    },
    /// It was not told until the limit.
    Unsure {
        /// When the limit was reached.
        at: Moment,
        /// Whom it is taken for, by the settings.
        take_for: Party,
        /// What was heard.
        heard: Witnesses,
    },
    /// A fax machine. Nothing follows.
    Fax {
        /// When that was decided.
        at: Moment,
        /// By which of its tones.
        which: FaxTone,
    },
    /// The three tones of a call that failed; an announcement follows. Nothing follows from here.
    InformationTone {
        /// When that was decided.
        at: Moment,
        /// What they say.
        which: Information,
    },
    /// The line rings, told once in a row of tones.
    Ringing {
        /// When that was known.
        at: Moment,
    },
    /// A beep is over. Behind the verdict "machine" a message begins here; another one may follow.
    Beep {
        /// When it began: of several without much between them, the first.
        began: Moment,
        /// When it ended: the last.
        ended: Moment,
        /// When that was known.
        at: Moment,
        /// Its pitch in Hz, of two tones at once the lower one.
        hz: u16,
    },
    /// Nobody says anything.
    Silence {
        /// Since when.
        since: Moment,
        /// When that was long enough to be told.
        at: Moment,
        /// Before a greeting, or after a machine's.
        place: Quiet,
    },
}

impl AnswerSignal {
    /// When it was decided.
    #[must_use]
    pub const fn at(&self) -> Moment {
        match self {
            Self::Person { at, .. }
            | Self::Machine { at, .. }
            | Self::Unsure { at, .. }
            | Self::Fax { at, .. }
            | Self::InformationTone { at, .. }
            | Self::Ringing { at }
            | Self::Beep { at, .. }
            | Self::Silence { at, .. } => *at,
        }
    }

    /// Whom it takes the other side for, where it is a verdict.
    #[must_use]
    pub const fn verdict(&self) -> Option<Party> {
        match self {
            Self::Person { .. } => Some(Party::Person),
            Self::Machine { .. } | Self::Fax { .. } | Self::InformationTone { .. } => Some(Party::Machine),
            Self::Unsure { take_for, .. } => Some(*take_for),
            Self::Ringing { .. } | Self::Beep { .. } | Self::Silence { .. } => None,
        }
    }

    /// Whether a message to a machine begins here. A machine may beep after a silence that was taken for this place: the
    /// message is then begun anew.
    #[must_use]
    pub const fn message_begins(&self) -> bool {
        matches!(self, Self::Beep { .. } | Self::Silence { place: Quiet::AfterGreeting, .. })
    }

    /// Its name in records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Person { .. } => "person",
            Self::Machine { .. } => "machine",
            Self::Unsure { .. } => "unsure",
            Self::Fax { .. } => "fax",
            Self::InformationTone { .. } => "information_tone",
            Self::Ringing { .. } => "ringing",
            Self::Beep { .. } => "beep",
            Self::Silence { .. } => "silence",
        }
    }
}

impl fmt::Display for AnswerSignal {
    /// One line with the reasons; it has no words of the call in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { why, heard, .. } => write!(f, "a person, who {why}: {heard}"),
            Self::Machine { why, heard, revised, .. } => {
                write!(f, "a machine{}, which {why}: {heard}", if *revised { " after all" } else { "" })
            }
            Self::Unsure { take_for, heard, .. } => write!(f, "taken for a {take_for} at the limit: {heard}"),
            Self::Fax { which: FaxTone::Answering, .. } => {
                f.write_str("a fax machine that answers (2,100 Hz)")
            }
            Self::Fax { which: FaxTone::Calling, .. } => f.write_str("a fax machine that calls (1,100 Hz)"),
            Self::InformationTone { which, .. } => write!(f, "information tones: {}", which.name()),
            Self::Ringing { .. } => f.write_str("it rings"),
            Self::Beep { began, ended, hz, .. } => {
                write!(f, "a beep of {hz} Hz, {} ms long", ended.since(*began).as_millis())
            }
            Self::Silence { since, at, place } => {
                let place = if *place == Quiet::BeforeGreeting { "before" } else { "after" };
                write!(f, "silence {place} the greeting, for {} ms", at.since(*since).as_millis())
            }
        }
    }
}

/// Finds out who answered one call. See the [module](self).
///
/// To be owned by whoever hears the callee: a media thread beside the [`TurnTaker`](super::TurnTaker), or a call's task that
/// reads its ear. Made where allocation is allowed: a detector of speech, 10 KiB with the neural one. Fed frame by frame:
///
/// - [`frame`](Self::frame) with all audio of the callee, early media too, in order; [`None`] for what was lost;
/// - [`sent`](Self::sent) with what goes out to him, if the line may have an echo and nothing cancels it;
/// - [`answered`](Self::answered) once, when the call is answered;
/// - [`tick`](Self::tick) every 20 ms or so while no audio comes;
/// - until it [`is_over`](Self::is_over).
pub struct Answerer {
    ears: Ears,
    judge: Judge,
    book: Book,
    listener: Option<Box<Listener>>,
}

impl Answerer {
    /// One that hears frames at `rate`. Allocates, and computes tables the first time: not for the media thread.
    #[must_use]
    pub fn new(settings: &AnswerSettings, rate: Rate) -> Self {
        Self {
            ears: Ears::new(settings.detector, rate),
            judge: Judge::new(settings.into()),
            book: Book::new(&settings.phrases),
            listener: None,
        }
    }

    /// Lets a recogniser hear along from the answer on, for 10 s, or until a machine is found out or for 2 s a person. Not for the media thread.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = Some(Box::new(listener));
    }

    /// The call was answered; calls after the first are ignored. What was heard before is early media: tones of it count,
    /// voices do not.
    pub fn answered(&mut self, now: Moment) {
        if self.judge.phase() == Phase::Early {
            self.ears.answered();
            self.judge.answered(now);
        }
    }

    /// A frame of the callee's audio that ended `now`, 20 ms at 8 kHz or 10 at 16; [`None`] when it was lost. Allocates
    /// nothing, and does next to nothing once there is nothing more to decide.
    pub fn frame(&mut self, now: Moment, frame: Option<&Frame>, out: &mut dyn FnMut(AnswerSignal)) {
        if self.judge.phase() == Phase::Over {
            return;
        }
        while let Some(told) = self.listener.as_ref().and_then(|listener| listener.told()) {
            self.judge.hear_words(now, told);
        }
        match frame {
            None => {
                self.ears.missed();
                self.judge.hear(now, None, out);
            }
            Some(frame) => {
                if let Some(heard) = self.ears.hear(frame) {
                    self.judge.hear(now, Some(&heard), out);
                }
            }
        }
        self.let_hear(now, frame);
    }

    /// Hands a frame to whoever hears along: silence for what was lost, and for what is an echo of the bot.
    fn let_hear(&mut self, now: Moment, frame: Option<&Frame>) {
        let Some(listener) = &mut self.listener else { return };
        match self.judge.phase() {
            Phase::Early => {}
            phase @ (Phase::Deciding | Phase::Person) => {
                let person = phase == Phase::Person;
                match frame {
                    Some(frame) if !self.ears.echoes() => listener.hear(now, frame, person),
                    _ => listener.hear(now, &Frame::silence(self.ears.rate()), person),
                }
            }
            Phase::Machine | Phase::Over => listener.stop(now),
        }
    }

    /// What was sent to the callee in the 20 ms that end now, at 8 kHz: an echo of it is not taken for his voice.
    pub fn sent(&mut self, frame: &Frame) {
        if self.judge.phase() != Phase::Over {
            self.ears.sent(frame);
        }
    }

    /// Time passed without audio.
    pub fn tick(&mut self, now: Moment, out: &mut dyn FnMut(AnswerSignal)) {
        self.judge.tick(now, out);
    }

    /// What a recogniser has understood of the callee for good, in any language of the lists. The text is kept nowhere.
    pub fn words(&mut self, now: Moment, text: &str, out: &mut dyn FnMut(AnswerSignal)) {
        self.judge.words(now, self.book.tell(text), out);
    }

    /// Somebody else has found out that a machine answered: from now on just the place of a message is looked for.
    pub fn is_machine(&mut self, now: Moment) {
        self.judge.is_machine(now);
    }

    /// Nobody wants to know any more: nothing is told from now on.
    pub const fn end(&mut self) {
        self.judge.end();
    }

    /// Who answered, as far as that is known: the last verdict.
    #[must_use]
    pub const fn verdict(&self) -> Option<Party> {
        self.judge.verdict()
    }

    /// Whether nothing more will be told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.judge.phase() == Phase::Over
    }
}
