//! The corpus: answered calls, with the truth about who answered, since when he speaks, and when the beep was over. Made from
//! a seed, on the spot.

use fastrand::Rng;

use super::AnswersError;
use super::listeners::Listeners;
use crate::audio::g711::Law;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::bench::turns::Part;
use crate::bench::turns::corpus::each;
use crate::bench::turns::sound::{self, HZ, Noise};
use crate::bench::turns::voices::{Voice, Voices, espeak, flite};
use crate::speech::witness::fingerprint;
use crate::time::Moment;
use crate::turn::answer::ears::{Ears, Heard};
use crate::turn::answer::judge::Judge;
use crate::turn::answer::{AnswerSettings, Book};

const GREETINGS: &str = include_str!("../../../benches/answers/greetings.txt");

/// Calls of persons in a half, and as many of machines.
const fn parties(part: Part) -> usize {
    match part {
        Part::Tuning => 600,
        Part::Reported => 420,
    }
}

/// Of each other thing that may answer.
const OTHERS: usize = 24;

/// A call lasts so long after all that is said and beeped, and never less than [`SHORTEST`] after the answer: nobody decides
/// later.
const TAIL_MS: usize = 5_000;
const SHORTEST_MS: usize = 10_000;

/// Between sentences of a machine, and of a person who speaks slowly, in milliseconds. A recording was made by somebody who
/// knew what to say.
const MACHINE_PAUSE_MS: (usize, usize) = (150, 700);
const SLOW_PAUSE_MS: (usize, usize) = (250, 900);
const AGAIN_PAUSE_MS: (usize, usize) = (800, 2_000);

/// From the answer to the first sound, in milliseconds.
const PERSON_AFTER_MS: (usize, usize) = (0, 1_500);
const LATE_AFTER_MS: (usize, usize) = (2_000, 3_600);
const MACHINE_AFTER_MS: (usize, usize) = (0, 1_500);

/// From the end of a machine's greeting to its beep, in milliseconds, and how long that is.
const BEEP_AFTER_MS: (usize, usize) = (150, 1_200);
const BEEP_MS: (usize, usize) = (120, 1_200);

/// Ringback of Europe, North America and Britain: its tones, and how long it sounds and pauses, in milliseconds.
const RINGS: [([f32; 2], usize, usize); 3] =
    [([425.0, 0.0], 1_000, 4_000), ([440.0, 480.0], 2_000, 4_000), ([400.0, 450.0], 400, 200)];

/// Who or what answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Truth {
    Person,
    Machine,
    /// The three tones of a call that failed.
    Failed,
    Fax,
    /// Nobody says anything.
    Nobody,
    /// It rings on.
    Rings,
}

/// A beep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beep {
    /// Its end, in milliseconds since the call's audio began.
    pub(super) ended: u64,
    pub(super) hz: f32,
    pub(super) length: u64,
}

/// 20 ms of a call as each contestant hears it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    /// What our ears make of it; [`None`] when it was lost.
    pub(super) heard: Option<Heard>,
    /// The mean of its samples' magnitudes: what a detector by level alone knows.
    pub(super) magnitude: u16,
}

/// One call. Times in milliseconds since its audio began.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) truth: Truth,
    /// What sort of greeting it is.
    pub(super) sort: &'static str,
    pub(super) voice: String,
    pub(super) text: String,
    pub(super) noise: &'static str,
    /// When it rang: `no`, `before` the answer, `on` after it.
    pub(super) rang: &'static str,
    pub(super) answered: u64,
    /// First and last sound of the greeting.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) beep: Option<Beep>,
    /// Whoever answers speaks English.
    pub(super) english: bool,
    pub(super) ticks: Vec<Tick>,
    /// What a recogniser made of it, from the answer on.
    pub(super) words: Vec<Words>,
    /// What its decoder worked, and on how much audio, in seconds.
    pub(super) work: (f64, f64),
}

/// What was understood so far.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// When it was told.
    pub(super) at: Moment,
    pub(super) text: String,
}

/// A line of the greetings.
#[derive(Clone, Copy, Debug)]
struct Greeting {
    who: &'static str,
    sort: &'static str,
    language: &'static str,
    text: &'static str,
}

fn greetings(part: Part) -> Vec<Greeting> {
    let letter = if part == Part::Tuning { "t" } else { "r" };
    let lines = GREETINGS.lines().filter(|line| !line.starts_with('#'));
    let words = lines.filter_map(move |line| {
        let mut words = line.splitn(5, ' ');
        let mine = words.next()? == letter;
        let all = Greeting {
            who: words.next()?,
            sort: words.next()?,
            language: words.next()?,
            text: words.next()?,
        };
        mine.then_some(all)
    });
    words.collect()
}

fn voices(part: Part) -> Vec<Voice> {
    match part {
        Part::Tuning => vec![
            flite("rms"),
            flite("kal16"),
            espeak("en-us+f2", "en"),
            espeak("en-us+m3", "en"),
            espeak("en-gb+f4", "en"),
            espeak("en-us+m6", "en"),
            // The same slower and faster, and more of them: everybody has a pace of his own.
            flite("rms").at(125),
            flite("kal16").at(85),
            espeak("en-us+f1", "en"),
            espeak("en-us+m1", "en").at(115),
            espeak("en-us+m7", "en"),
            espeak("en-gb-scotland", "en"),
            espeak("es", "es"),
            espeak("es+f2", "es"),
            espeak("it", "it"),
            espeak("it+f4", "it"),
            espeak("nl", "nl"),
            espeak("nl+f2", "nl").at(120),
            espeak("pl", "pl"),
            espeak("pl+f4", "pl"),
            espeak("pt", "pt"),
            espeak("pt+f2", "pt").at(115),
            espeak("sv", "sv"),
            espeak("sv+f4", "sv"),
        ],
        Part::Reported => vec![
            flite("slt"),
            flite("awb"),
            espeak("en-us", "en"),
            espeak("en-us+m2", "en"),
            espeak("en-us+f5", "en"),
            espeak("en-us+m5", "en"),
            espeak("de", "de"),
            espeak("de+f2", "de"),
            espeak("fr-fr", "fr"),
            espeak("fr-fr+f4", "fr"),
        ],
    }
}

/// Pitches of beeps, single and double, in Hz.
const fn pitches(part: Part) -> (&'static [f32], [f32; 2]) {
    match part {
        Part::Tuning => (&[440.0, 660.0, 800.0, 1_000.0, 1_250.0, 1_400.0, 2_200.0], [850.0, 1_400.0]),
        Part::Reported => {
            (&[425.0, 520.0, 620.0, 950.0, 1_100.0, 1_330.0, 1_750.0, 2_400.0], [770.0, 1_020.0])
        }
    }
}

/// The three tones, as North American exchanges send them, and as ITU-T E.180 has them: Hz and milliseconds.
const FAILED: [[(f32, usize); 3]; 5] = [
    [(913.8, 274), (1_370.6, 274), (1_776.7, 380)],
    [(985.2, 380), (1_370.6, 274), (1_776.7, 380)],
    [(985.2, 380), (1_428.5, 380), (1_776.7, 380)],
    [(913.8, 274), (1_428.5, 380), (1_776.7, 380)],
    [(950.0, 330), (1_400.0, 330), (1_800.0, 330)],
];

const fn samples(millis: usize) -> usize {
    millis * HZ / 1_000
}

const fn millis(samples: usize) -> u64 {
    (samples * 1_000 / HZ) as u64
}

fn between(random: &mut Rng, (least, most): (usize, usize)) -> usize {
    random.usize(least..=most)
}

/// A tone, or two, with edges of 3 ms; each of peak 1.
fn tone(hz: [f32; 2], length_ms: usize) -> Vec<f32> {
    let length = samples(length_ms);
    #[expect(clippy::cast_precision_loss, reason = "sample numbers")]
    (0..length)
        .map(|i| {
            let t = i as f32 / HZ as f32;
            let edge = (i.min(length - 1 - i) as f32 / samples(3) as f32).min(1.0);
            let sines = hz.iter().filter(|hz| **hz > 0.0).map(|hz| (std::f32::consts::TAU * hz * t).sin());
            edge * sines.sum::<f32>()
        })
        .collect()
}

/// What is being made of a call.
struct Line {
    samples: Vec<f32>,
    /// The level of voices, in dBFS.
    level: f32,
    random: Rng,
}

impl Line {
    fn wait(&mut self, millis: usize) {
        self.samples.resize(self.samples.len() + samples(millis), 0.0);
    }

    fn push(&mut self, sound: &[f32], gain: f32) {
        self.samples.extend(sound.iter().map(|s| s * gain));
    }

    fn now(&self) -> u64 {
        millis(self.samples.len())
    }
}

/// All calls of a half.
pub(super) struct Corpus {
    pub(super) calls: Vec<Call>,
    pub(super) missing: Vec<String>,
}

struct Maker<'a> {
    part: Part,
    seed: u64,
    settings: &'a AnswerSettings,
    voices: &'a Voices,
    cast: Vec<Voice>,
    greetings: Vec<Greeting>,
    crowd: Vec<Vec<f32>>,
    listeners: Option<&'a Listeners>,
    along: Along,
}

/// For how long a recogniser hears along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Along {
    /// As in a call: until the detector, with the settings of the plan, does not want to know more.
    AsInCalls,
    /// As long as it may, whatever is decided: other settings decide later.
    ToTheLimit,
}

impl Corpus {
    /// Makes a half of it; `share` of its calls, 0 to 1. Blocks.
    pub(super) fn make(
        part: Part,
        seed: u64,
        share: f64,
        settings: &AnswerSettings,
        listeners: Option<&Listeners>,
        along: Along,
    ) -> Result<Self, AnswersError> {
        let voices = Voices::find();
        let mut cast = voices_here(part, &voices);
        cast.sort_unstable();
        if cast.is_empty() {
            return Err(AnswersError::NoVoices(voices.missing.join("; ")));
        }
        let greetings = greetings(part);
        let crowd = cast.iter().take(6).flat_map(|voice| {
            let mine = greetings.iter().filter(|greeting| greeting.language == voice.language);
            mine.filter_map(|greeting| voices.say(*voice, &greeting.text.replace('|', "")))
                .take(3)
                .collect::<Vec<_>>()
        });
        let crowd = crowd.collect();
        let maker = Maker { part, seed, settings, voices: &voices, cast, greetings, crowd, listeners, along };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "hundreds"
        )]
        let some = |count: usize| ((count as f64 * share).ceil() as usize).max(1);
        let sorts = [
            (Truth::Person, some(parties(part))),
            (Truth::Machine, some(parties(part))),
            (Truth::Failed, some(OTHERS)),
            (Truth::Fax, some(OTHERS)),
            (Truth::Nobody, some(OTHERS)),
            (Truth::Rings, some(OTHERS)),
        ];
        let orders: Vec<(Truth, usize)> =
            sorts.into_iter().flat_map(|(truth, count)| (0..count).map(move |n| (truth, n))).collect();
        let calls = each(orders.len(), |n| maker.call(orders[n].0, orders[n].1));
        // What people's recordings would be missing is of no matter here.
        let missing =
            voices.missing.iter().filter(|missing| !missing.starts_with("people")).cloned().collect();
        Ok(Self { calls: calls.into_iter().flatten().collect(), missing })
    }
}

fn voices_here(part: Part, all: &Voices) -> Vec<Voice> {
    voices(part).into_iter().filter(|voice| all.has(*voice)).collect()
}

impl Maker<'_> {
    fn call(&self, truth: Truth, number: usize) -> Option<Call> {
        let mut random = Rng::with_seed(
            self.seed ^ fingerprint(&format!("answers|{}|{truth:?}|{number}", self.part.name())),
        );
        let level = -30.0 + 16.0 * random.f32();
        let mut line = Line { samples: Vec::new(), level, random };
        line.wait(100);
        let rang = self.ring(&mut line, truth);
        let answered = line.now();
        if rang == "on" {
            let (hz, on, _) = RINGS[line.random.usize(..RINGS.len())];
            let ring = tone(hz, on);
            line.wait(20);
            line.push(&ring, sound::gain(-20.0));
            line.wait(200);
        }
        let mut call = Call {
            truth,
            sort: "",
            voice: String::new(),
            text: String::new(),
            noise: "quiet",
            rang,
            answered,
            first: answered,
            last: answered,
            beep: None,
            english: true,
            ticks: Vec::new(),
            words: Vec::new(),
            work: (0.0, 0.0),
        };
        match truth {
            Truth::Person => self.person(&mut call, &mut line, number)?,
            Truth::Machine => self.machine(&mut call, &mut line, number)?,
            Truth::Failed => self.failed(&mut call, &mut line, number)?,
            Truth::Fax => fax(&mut call, &mut line, number),
            Truth::Nobody => call.sort = "nobody",
            Truth::Rings => {
                call.sort = "rings on";
                let (hz, on, off) = RINGS[number % 2];
                for _ in 0..3 {
                    line.push(&tone(hz, on), sound::gain(-20.0));
                    line.wait(off);
                }
            }
        }
        line.wait(TAIL_MS);
        let least =
            samples(answered as usize + SHORTEST_MS).max(line.samples.len()).next_multiple_of(FRAME_SAMPLES);
        line.samples.resize(least, 0.0);
        call.noise = self.surround(&mut line, &call);
        self.listen(&mut line, &mut call);
        Some(call)
    }

    /// Early media: every fourth call rings before it is answered, every tenth rings on for a while after.
    fn ring(&self, line: &mut Line, truth: Truth) -> &'static str {
        match line.random.usize(..20) {
            0..5 => {
                let (hz, on, off) = RINGS[line.random.usize(..RINGS.len())];
                for _ in 0..1 + line.random.usize(..2) {
                    line.push(&tone(hz, on), sound::gain(-20.0));
                    line.wait(off.min(1_500));
                }
                "before"
            }
            5..7 if matches!(truth, Truth::Person | Truth::Machine) => "on",
            _ => "no",
        }
    }

    fn say(
        &self,
        call: &mut Call,
        line: &mut Line,
        voice: Voice,
        text: &str,
        pause: (usize, usize),
    ) -> Option<()> {
        for (number, sentence) in text.split('|').enumerate() {
            if number > 0 {
                let pause = between(&mut line.random, pause);
                line.wait(pause);
            }
            let mut said = sound::at_level(self.voices.say(voice, sentence.trim())?, line.level);
            if line.level > -24.0 && number == 0 && line.random.bool() {
                sound::high_pass(&mut said, 250.0);
            }
            let spoken = sound::spoken(&said);
            let at = line.samples.len();
            if number == 0 {
                call.first = millis(at + spoken.first().map_or(0, |s| s.0));
            }
            call.last = millis(at + spoken.last().map_or(said.len(), |s| s.1));
            line.push(&said, 1.0);
        }
        call.voice = voice.title();
        call.english = voice.language == "en";
        text.clone_into(&mut call.text);
        Some(())
    }

    /// A voice and a greeting that it can say: each voice in turn, each greeting of its language in turn. In the tuning half
    /// another seed brings other pairs.
    fn pick(&self, number: usize, fits: impl Fn(&Greeting) -> bool) -> Option<(Voice, Greeting)> {
        let voice = self.cast[number % self.cast.len()];
        let all: Vec<Greeting> =
            self.greetings.iter().filter(|g| g.language == voice.language && fits(g)).copied().collect();
        let shift = if self.part == Part::Tuning { usize::try_from(self.seed % 1_000).ok()? * 31 } else { 0 };
        Some((voice, *all.get((number / self.cast.len() + number + shift) % all.len().max(1))?))
    }

    fn person(&self, call: &mut Call, line: &mut Line, number: usize) -> Option<()> {
        // As people answer at home and at work: most say a word or their name. A choice, not a measurement.
        let sorts: &[&str] = match line.random.usize(..100) {
            0..45 => &["hello"],
            45..53 => &["again"],
            53..75 => &["name"],
            75..90 => &["company"],
            90..95 => &["slow"],
            _ => &["talks"],
        };
        let (voice, greeting) = self
            .pick(number, |g| g.who == "p" && sorts.contains(&g.sort))
            .or_else(|| self.pick(number, |g| g.who == "p" && g.sort == "hello"))?;
        let late = greeting.sort == "hello" && line.random.usize(..8) == 0;
        let wait = between(&mut line.random, if late { LATE_AFTER_MS } else { PERSON_AFTER_MS });
        line.wait(wait);
        let pause = if greeting.sort == "again" { AGAIN_PAUSE_MS } else { SLOW_PAUSE_MS };
        self.say(call, line, voice, greeting.text, pause)?;
        call.sort = if late { "late" } else { greeting.sort };
        // Nobody answers him: half of them ask again.
        if line.random.bool() {
            let (first, last) = (call.first, call.last);
            line.wait(3_500);
            let again = self.greetings.iter().find(|g| g.language == voice.language && g.who == "p")?.text;
            self.say(call, line, voice, again, pause)?;
            (call.first, call.last, call.text) = (first, last, greeting.text.to_owned());
        }
        Some(())
    }

    fn machine(&self, call: &mut Call, line: &mut Line, number: usize) -> Option<()> {
        let (voice, greeting) = self.pick(number, |g| g.who == "m")?;
        let wait = between(&mut line.random, MACHINE_AFTER_MS);
        line.wait(wait);
        self.say(call, line, voice, greeting.text, MACHINE_PAUSE_MS)?;
        call.sort = greeting.sort;
        // A menu and an announcement have none; of mailboxes one in seven.
        if matches!(greeting.sort, "menu" | "announcement") || line.random.usize(..7) == 0 {
            return Some(());
        }
        let wait = between(&mut line.random, BEEP_AFTER_MS);
        line.wait(wait);
        let (pitches, pair) = pitches(self.part);
        let length = between(&mut line.random, BEEP_MS);
        let gain = sound::gain((line.level + 4.0 + 8.0 * line.random.f32()).min(-6.0));
        let (hz, sound) = match line.random.usize(..10) {
            0 => (pair[0], tone(pair, length)),
            kind => {
                let hz = pitches[line.random.usize(..pitches.len())];
                let mut sound = tone([hz, 0.0], length.min(if kind == 1 { 300 } else { 1_200 }));
                if kind == 1 {
                    // Two beeps, one after the other.
                    let one = sound.clone();
                    sound.resize(sound.len() + samples(60 + line.random.usize(..110)), 0.0);
                    sound.extend(one);
                }
                (hz, sound)
            }
        };
        line.push(&sound, gain);
        call.beep = Some(Beep { ended: line.now(), hz, length: millis(sound.len()) });
        Some(())
    }

    fn failed(&self, call: &mut Call, line: &mut Line, number: usize) -> Option<()> {
        let wait = between(&mut line.random, (100, 800));
        line.wait(wait);
        let gain = sound::gain(-24.0 + 10.0 * line.random.f32());
        for (hz, length) in FAILED[number % FAILED.len()] {
            line.push(&tone([hz, 0.0], length), gain);
            let gap = line.random.usize(..30);
            line.wait(gap);
        }
        line.wait(300);
        let (voice, greeting) = self.pick(number, |g| g.who == "a")?;
        self.say(call, line, voice, greeting.text, MACHINE_PAUSE_MS)?;
        call.sort = "failed";
        Some(())
    }

    /// What else is heard from the answer on: behind every other person a noise, behind every fourth machine.
    fn surround(&self, line: &mut Line, call: &Call) -> &'static str {
        let random = &mut line.random;
        let loud = match call.truth {
            Truth::Person => random.bool(),
            Truth::Machine => random.usize(..4) == 0,
            _ => false,
        };
        let (noise, below) = if loud {
            (Noise::ALL[1 + random.usize(..4)], 6.0 + 14.0 * random.f32())
        } else {
            (Noise::Quiet, 35.0 + 10.0 * random.f32())
        };
        let from = samples(call.answered as usize);
        let by = sound::gain(line.level - below);
        let made = noise.make(line.samples.len() - from, &self.crowd, random);
        sound::add(&mut line.samples, from, &made.iter().map(|s| s * by).collect::<Vec<_>>());
        noise.name()
    }

    /// Through the network and our ears.
    fn listen(&self, line: &mut Line, call: &mut Call) {
        let answered = call.answered;
        let law = if line.random.bool() { Law::Mu } else { Law::A };
        let share = if line.random.usize(..6) == 0 { 0.01 + 0.03 * line.random.f32() } else { 0.0 };
        let mut ears = Ears::new(self.settings.detector, Rate::Hz8000);
        let frames = line.samples.as_chunks::<FRAME_SAMPLES>().0;
        let random = &mut line.random;
        let mut heard = Vec::with_capacity(frames.len());
        let tick = |(number, chunk): (usize, &[f32; FRAME_SAMPLES])| {
            if number as u64 == answered / 20 {
                ears.answered();
            }
            let samples = chunk.map(|s| law.decode(law.encode(sound::to_i16(s))));
            let sum: u32 = samples.iter().map(|s| u32::from(s.unsigned_abs())).sum();
            let magnitude = u16::try_from(sum / FRAME_SAMPLES as u32).unwrap_or(u16::MAX);
            if random.f32() < share {
                ears.missed();
                heard.push(Frame::silence(Rate::Hz8000));
                return Tick { heard: None, magnitude: 0 };
            }
            let frame = Frame { rate: Rate::Hz8000, samples };
            heard.push(frame);
            Tick { heard: ears.hear(&frame), magnitude }
        };
        call.ticks = frames.iter().enumerate().map(tick).collect();
        // A call in another language is one of a bot that this recogniser does not hear.
        if let Some(listeners) = self.listeners.filter(|all| all.abroad || call.english) {
            let first = usize::try_from(answered / 20).unwrap_or(0).min(heard.len());
            let judge = (self.along == Along::AsInCalls).then(|| {
                let mut judge = Judge::new(self.settings.into());
                judge.answered(Moment::from_millis(answered));
                judge
            });
            let book = Book::new(&self.settings.phrases);
            (call.words, call.work) = listeners.hear(first, &heard, &call.ticks, judge, &book);
        }
    }
}

fn fax(call: &mut Call, line: &mut Line, number: usize) {
    let wait = between(&mut line.random, (200, 2_000));
    line.wait(wait);
    let gain = sound::gain(-22.0 + 12.0 * line.random.f32());
    if number.is_multiple_of(3) {
        call.sort = "fax that calls";
        for _ in 0..2 {
            line.push(&tone([1_100.0, 0.0], 500), gain);
            line.wait(3_000);
        }
        return;
    }
    call.sort = "fax that answers";
    let mut answer = tone([2_100.0, 0.0], 3_000);
    if number.is_multiple_of(2) {
        // Modems turn its phase round every 450 ms (ITU-T V.8).
        for (i, s) in answer.iter_mut().enumerate() {
            if i / samples(450) % 2 == 1 {
                *s = -*s;
            }
        }
    }
    line.push(&answer, gain);
}
