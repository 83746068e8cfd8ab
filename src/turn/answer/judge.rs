//! From what was heard to a verdict.

use std::time::Duration;

use super::ears::Heard;
use super::runs::{Runs, Tune};
use super::settings::Limits;
use super::whistle::Pure;
use super::{AnswerSignal, Party, Quiet, Told, Why, Witnesses};
use crate::time::Moment;

/// 20 ms.
const FRAME: Duration = Duration::from_millis(20);

/// A gap of this length between voiced frames is inside a stretch of voice.
const INSIDE: Duration = Duration::from_millis(120);

/// After a ringback tone another one is waited for so long: 4 s is the longest pause between two (ITU-T E.180).
const NEXT_RING: Duration = Duration::from_millis(5_000);

/// Words that may change decide when they have stood for so long.
const STANDS: Duration = Duration::from_millis(160);

/// And make a machine of a person when there was so much voice.
const REVISES: Duration = Duration::from_millis(1_500);

/// What is fainter than this is silence, in dBFS.
const FAINTEST: f32 = -90.0;

/// Where the faintest frame is not so far below the loudest, in dB, there is a noise behind the voice.
const NOISY: f32 = 26.0;

/// How far the decision is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nobody has answered: early media.
    Early,
    /// Listening to whoever answered.
    Deciding,
    /// A person, unless a beep tells otherwise.
    Person,
    /// A machine, and where a message begins is sought.
    Machine,
    /// Nothing more is listened to.
    Over,
}

/// The voice of whoever answered.
#[derive(Clone, Copy, Debug, Default)]
struct Voice {
    /// When it was first heard.
    first: Option<Moment>,
    /// The stretch under way, or the last one: its beginning, its last voiced frame's end, and how much of it was voiced.
    began: Moment,
    last: Moment,
    voiced: Duration,
    /// It is long enough to count.
    counts: bool,
    /// The end of the last stretch that counts.
    ended: Moment,
    /// Of the stretches that count and are over, from the beginning of each to its end.
    before: Duration,
    longest_pause: Duration,
    stretches: u16,
}

impl Voice {
    fn hear(&mut self, now: Moment, how: &Limits) {
        let began = now - FRAME;
        if self.voiced.is_zero() || began.since(self.last) > INSIDE {
            if self.counts {
                self.before += self.last.since(self.began);
            }
            self.began = began;
            self.voiced = Duration::ZERO;
            self.counts = false;
        }
        self.voiced += FRAME;
        self.last = now;
        if self.voiced < how.shortest_voice {
            return;
        }
        if !self.counts {
            self.counts = true;
            self.stretches = self.stretches.saturating_add(1);
            if self.first.is_none() {
                self.first = Some(self.began);
            } else {
                self.longest_pause = self.longest_pause.max(self.began.since(self.ended));
            }
        }
        self.ended = now;
    }

    /// All stretches, without the pauses between them.
    fn spoken(&self) -> Duration {
        self.before + self.stretch()
    }

    /// The stretch under way, or the last one.
    fn stretch(&self) -> Duration {
        if self.counts { self.last.since(self.began) } else { Duration::ZERO }
    }

    /// A stretch may be under way that does not count yet.
    fn begins(&self, now: Moment) -> bool {
        !self.counts && !self.voiced.is_zero() && now.since(self.last) <= FRAME
    }
}

/// Decides about one call. 200 bytes, no allocation.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    how: Limits,
    phase: Phase,
    /// When the call was answered, and since when the clocks run: then, or since it rang last.
    answered: Moment,
    from: Moment,
    rang: Option<Moment>,
    voice: Voice,
    runs: Runs,
    /// The voice rose at its end.
    rose: bool,
    /// The faintest frame since the answer, and the loudest, in dBFS.
    levels: (f32, f32),
    /// What the words tell, where somebody hears any.
    words: Option<Told>,
    /// Since when they tell what they tell.
    stood_since: Moment,
    told_silence: bool,
    verdict: Option<Party>,
    /// When that was.
    decided: Moment,
    /// When a machine was last heard, and whether its message's place was told.
    heard: Moment,
    told_place: bool,
}

impl Judge {
    pub(crate) fn new(how: Limits) -> Self {
        Self {
            how,
            phase: Phase::Early,
            answered: Moment::ZERO,
            from: Moment::ZERO,
            rang: None,
            voice: Voice::default(),
            runs: Runs::default(),
            rose: false,
            levels: (0.0, FAINTEST),
            words: None,
            stood_since: Moment::ZERO,
            told_silence: false,
            verdict: None,
            decided: Moment::ZERO,
            heard: Moment::ZERO,
            told_place: false,
        }
    }

    /// A machine answered: somebody else found that out.
    pub(crate) fn is_machine(&mut self, now: Moment) {
        self.answered(now);
        self.phase = Phase::Machine;
        self.verdict = Some(Party::Machine);
        self.decided = now;
        self.heard = now;
    }

    /// Nothing more is decided.
    pub(crate) const fn end(&mut self) {
        self.phase = Phase::Over;
    }

    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) const fn verdict(&self) -> Option<Party> {
        self.verdict
    }

    /// The call was answered: what was heard before was no greeting.
    pub(crate) fn answered(&mut self, now: Moment) {
        if self.phase == Phase::Early {
            self.phase = Phase::Deciding;
            self.answered = now;
            self.from = now;
            self.voice = Voice::default();
        }
    }

    /// 20 ms that ended `now`; [`None`] when they were lost.
    pub(crate) fn hear(&mut self, now: Moment, heard: Option<&Heard>, out: &mut dyn FnMut(AnswerSignal)) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(heard) = heard {
            self.rose = heard.rose;
            if self.phase == Phase::Deciding && heard.tone == Pure::No {
                let (faintest, loudest) = &mut self.levels;
                *faintest = faintest.min(heard.level.max(FAINTEST));
                *loudest = loudest.max(heard.level);
            }
            let greeted = self.voice.first.is_some();
            let tune = self.runs.hear(now, heard, greeted, &self.how);
            if heard.voice {
                self.voice.hear(now, &self.how);
            }
            if heard.voice || self.runs.sounds() {
                self.heard = now;
            }
            if let Some(tune) = tune {
                self.tune(now, tune, out);
            }
        }
        self.tick(now, out);
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Moment, out: &mut dyn FnMut(AnswerSignal)) {
        match self.phase {
            Phase::Early | Phase::Over => {}
            Phase::Deciding => self.decide(now, out),
            Phase::Person => {
                // What says little says nothing: noise behind "hello?" is no mailbox.
                if self.stands(now, Told::Machine) && self.voice.spoken() >= REVISES {
                    return self.machine(now, Why::Words, out);
                }
                if now.since(self.decided) >= self.how.revise {
                    self.phase = Phase::Over;
                }
            }
            Phase::Machine => self.find_place(now, out),
        }
    }

    /// What words tell that will not change any more.
    pub(crate) fn words(&mut self, now: Moment, told: Told, out: &mut dyn FnMut(AnswerSignal)) {
        self.hear_words(now, told);
        match (self.phase, told) {
            (Phase::Deciding, Told::Person) => self.person(now, Why::Words, out),
            (Phase::Deciding | Phase::Person, Told::Machine) => self.machine(now, Why::Words, out),
            _ => {}
        }
    }

    /// What all words so far tell, which may change: they decide once they have stood for a while.
    pub(crate) fn hear_words(&mut self, now: Moment, told: Told) {
        if self.words != Some(told) {
            self.words = Some(told);
            self.stood_since = now;
        }
    }

    /// Whether the words have told this for long enough.
    fn stands(&self, now: Moment, told: Told) -> bool {
        self.words == Some(told) && now.since(self.stood_since) >= STANDS
    }

    fn tune(&mut self, now: Moment, tune: Tune, out: &mut dyn FnMut(AnswerSignal)) {
        match tune {
            Tune::Ringing => {
                // One tone is told once, and its end is where the clocks begin.
                let rings = self.rang.is_some_and(|rang| now.since(rang) <= NEXT_RING);
                if !rings {
                    out(AnswerSignal::Ringing { at: now });
                }
                self.rang = Some(now);
                if self.phase == Phase::Deciding && self.voice.first.is_none() {
                    self.from = now;
                    self.told_silence = false;
                }
            }
            Tune::Fax(which) if self.phase != Phase::Person => {
                self.phase = Phase::Over;
                self.verdict = Some(Party::Machine);
                out(AnswerSignal::Fax { at: now, which });
            }
            Tune::Information(which) if self.phase != Phase::Person => {
                self.phase = Phase::Over;
                self.verdict = Some(Party::Machine);
                out(AnswerSignal::InformationTone { at: now, which });
            }
            Tune::Fax(_) | Tune::Information(_) => {}
            Tune::Beep(beep) => {
                if matches!(self.phase, Phase::Early) {
                    return;
                }
                if matches!(self.phase, Phase::Deciding | Phase::Person) {
                    self.machine(now, Why::Beep, out);
                }
                self.told_place = true;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "380 to 2,550")]
                let hz = beep.hz.round() as u16;
                out(AnswerSignal::Beep { began: beep.began, ended: beep.ended, at: now, hz });
            }
        }
    }

    fn decide(&mut self, now: Moment, out: &mut dyn FnMut(AnswerSignal)) {
        let how = self.how;
        let late = now.since(self.from) >= how.limit || now.since(self.answered) >= how.ringing_limit;
        let pause = now.since(self.voice.ended);
        // Words of nobody in particular change nothing: what nobody foresaw is heard as something else.
        let likely = matches!(self.words, Some(Told::LikelyPerson | Told::Greeting));
        let more = if likely { how.words_patience } else { Duration::ZERO }
            + if self.is_noisy() { how.noise_patience } else { Duration::ZERO };
        let enough = self.voice.spoken() >= how.words_voice;
        if self.stands(now, Told::Machine) && enough {
            return self.machine(now, Why::Words, out);
        }
        if self.stands(now, Told::Person) {
            return self.person(now, Why::Words, out);
        }
        if self.voice.first.is_none() {
            if !self.told_silence && now.since(self.from) >= how.initial_silence && !self.rings(now) {
                self.told_silence = true;
                out(AnswerSignal::Silence { since: self.from, at: now, place: Quiet::BeforeGreeting });
            }
        } else if self.stands(now, Told::LikelyMachine) && self.voice.spoken() >= how.likely_machine + more {
            return self.machine(now, Why::Words, out);
        } else if self.voice.spoken() >= how.machine_greeting + more
            || self.voice.stretch() >= how.machine_stretch + more
        {
            return self.machine(now, Why::LongGreeting, out);
        } else if self.voice.spoken() >= how.machine_sentences + more
            && self.voice.longest_pause >= how.sentence_pause
        {
            return self.machine(now, Why::Sentences, out);
        } else if pause >= self.asked_for() && !self.voice.begins(now) && !self.runs.undecided() {
            return self.person(now, Why::Pause, out);
        }
        if late && self.voice.first.is_some() && self.runs.undecided() {
            // A beep is under way.
            return self.machine(now, Why::Beep, out);
        }
        if late {
            self.verdict = Some(how.unsure);
            self.decided = now;
            self.phase = if how.unsure == Party::Machine { Phase::Machine } else { Phase::Person };
            self.heard = self.heard.max(self.answered);
            out(AnswerSignal::Unsure { at: now, take_for: how.unsure, heard: self.witnesses(now) });
        }
    }

    /// Whether there is a noise behind the voice: recordings mostly have none, and it is easily heard as voice and as words.
    fn is_noisy(&self) -> bool {
        let (faintest, loudest) = self.levels;
        loudest - faintest < NOISY
    }

    /// Whether the line rings, or rang so lately that it may again.
    fn rings(&self, now: Moment) -> bool {
        self.rang.is_some_and(|rang| now.since(rang) < NEXT_RING)
    }

    /// The silence behind what was said that makes a person of whoever said it.
    fn asked_for(&self) -> Duration {
        let how = &self.how;
        let over = self.voice.spoken().saturating_sub(how.short_greeting);
        let whole = how.long_greeting.saturating_sub(how.short_greeting).max(FRAME);
        let more = how.long_pause.saturating_sub(how.short_pause);
        let rising = if self.rose { how.rising } else { Duration::ZERO };
        let share = (over.as_secs_f32() / whole.as_secs_f32()).min(1.0);
        let pause = (how.short_pause + more.mul_f32(share)).saturating_sub(rising);
        let enough = self.voice.spoken() >= how.words_voice;
        match self.words {
            Some(Told::Machine | Told::LikelyMachine | Told::Opening) if enough => {
                pause.max(how.opening_pause)
            }
            Some(Told::Greeting) if over.is_zero() => pause.min(how.greeting_pause),
            _ => pause,
        }
    }

    fn person(&mut self, now: Moment, why: Why, out: &mut dyn FnMut(AnswerSignal)) {
        self.phase = Phase::Person;
        self.verdict = Some(Party::Person);
        self.decided = now;
        out(AnswerSignal::Person { at: now, why, heard: self.witnesses(now) });
    }

    fn machine(&mut self, now: Moment, why: Why, out: &mut dyn FnMut(AnswerSignal)) {
        let revised = self.verdict.is_some();
        self.phase = Phase::Machine;
        self.verdict = Some(Party::Machine);
        self.decided = now;
        out(AnswerSignal::Machine { at: now, why, revised, heard: self.witnesses(now) });
    }

    /// Behind a machine's greeting.
    fn find_place(&mut self, now: Moment, out: &mut dyn FnMut(AnswerSignal)) {
        let over = now.since(self.decided) >= self.how.message_limit;
        let quiet = now.since(self.heard) >= self.how.message_silence && !self.runs.undecided();
        if !self.told_place && (quiet || over) {
            self.told_place = true;
            out(AnswerSignal::Silence { since: self.heard, at: now, place: Quiet::AfterGreeting });
        }
        if over {
            self.phase = Phase::Over;
        }
    }

    fn witnesses(&self, now: Moment) -> Witnesses {
        let ms = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        let voice = &self.voice;
        Witnesses {
            first_sound_ms: voice.first.map(|first| ms(first.since(self.answered))),
            spoken_ms: ms(voice.spoken()),
            stretches: voice.stretches,
            longest_pause_ms: ms(voice.longest_pause),
            pause_ms: voice.first.map_or(0, |_| ms(now.since(voice.ended))),
            rose: self.rose,
            noisy: self.is_noisy(),
            asked_for_ms: ms(self.asked_for()),
        }
    }
}
