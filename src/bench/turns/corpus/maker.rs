//! Makes the calls and the scenes of the corpus.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::super::sound::{self, HZ, Noise};
use super::super::voices::{Maker as Who, Voice, Voices, flite};
use super::super::{Part, TurnsError};
use super::{
    ANSWERS, Asked, BACKCHANNELS, BOT_DBFS, CONCEALED, Call, Cast, Class, DICTATES, DIGITS_OF, Echo, FOUR,
    Heard, MENU, MONTHS, ONE_BY_ONE, OPEN, PAUSE_MS, PAUSES, PROMPTS, SEVEN, SOME, Scene, TAIL_MS, TURNS,
    Turn, YES_NO, lines, millis, samples,
};
use crate::audio::conceal::Concealer;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::speech::grammar::{DIGIT_WORDS, Grammar};
use crate::speech::witness::fingerprint;
use crate::turn::Question;

/// What all calls and scenes are made from.
pub(super) struct Maker<'a> {
    part: Part,
    seed: u64,
    voices: &'a Voices,
    cast: &'a Cast,
    /// Voices that babble.
    crowd: Vec<Vec<f32>>,
    pub(super) prompts: Vec<Arc<[i16]>>,
    menu: Arc<Grammar>,
    yes_no: Arc<Grammar>,
    months: Arc<Grammar>,
    digits: [Arc<Grammar>; 4],
    /// By language: the words of people's digits, and grammars of one, four and seven of them.
    spoken: BTreeMap<&'static str, ([&'static str; 10], [Arc<Grammar>; 3])>,
}

/// An utterance, clean and at a level of its own.
struct Said {
    asked: Asked,
    kind: &'static str,
    text: String,
    samples: Vec<f32>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(part: Part, seed: u64, voices: &'a Voices, cast: &'a Cast) -> Result<Self, TurnsError> {
        let Some(first) = cast.english.first().copied() else {
            return Err(TurnsError::NoVoices(voices.missing.join("; ")));
        };
        let read = |name: &str, text: &str| {
            Arc::new(Grammar::parse(name, text).expect("the shipped grammars are read in every test run"))
        };
        // Those who babble are of the same part, and say other things than the callers.
        let said: Vec<&str> = lines(ANSWERS, part)
            .filter(|(question, _)| *question == "foreign")
            .map(|(_, text)| text)
            .collect();
        let crowd =
            cast.english.iter().filter(|voice| voice.maker != Who::Recorded).flat_map(|voice| {
                said.iter().filter_map(|text| voices.say(*voice, text)).collect::<Vec<_>>()
            });
        let crowd = crowd.collect();
        // The bot's own voice, where it is there.
        let bot = Some(flite("slt")).filter(|bot| voices.has(*bot)).unwrap_or(first);
        let prompts = PROMPTS.lines().filter_map(|line| match (line.split_once(' ')?, part) {
            (("t", text), Part::Tuning) | (("r", text), Part::Reported) => Some(text),
            _ => None,
        });
        let mut prompts: Vec<Vec<f32>> = prompts.filter_map(|text| voices.say(bot, text)).collect();
        // And a person's, as bots have that play recordings.
        let language = if part == Part::Tuning { "it" } else { "fr" };
        for name in ["vm-onefor", "conf-adminmenu", "demo-instruct"] {
            prompts.extend(voices.play(language, name).filter(|sound| sound.len() > 3 * HZ));
        }
        let prompts = prompts.into_iter().map(|sound| {
            sound::at_level(sound, BOT_DBFS).into_iter().map(sound::to_i16).collect::<Arc<[i16]>>()
        });
        Ok(Self {
            part,
            seed,
            voices,
            cast,
            crowd,
            prompts: prompts.collect(),
            menu: read("menu", MENU),
            yes_no: read("yes_no", YES_NO),
            months: read("months", MONTHS),
            digits: [
                Grammar::digits(1).into(),
                Grammar::digits(4).into(),
                Grammar::digits(7).into(),
                Grammar::any_length_of_digits(2..=4).into(),
            ],
            spoken: DIGITS_OF
                .into_iter()
                .map(|(language, words)| {
                    let of = |count| Arc::new(digits_in(language, &words, count));
                    (language, (words, [1, 4, 7].map(of)))
                })
                .collect(),
        })
    }

    fn random(&self, what: &str, number: usize) -> Rng {
        let part = if self.part == Part::Tuning { "tuning" } else { "reported" };
        Rng::with_seed(self.seed ^ fingerprint(&format!("{part}|{what}|{number}")))
    }

    /// A call of one caller in one surrounding.
    pub(super) fn call(&self, voice: Voice, grammar: bool, number: usize) -> Option<Call> {
        let what = format!("{}|{}", voice.title(), if grammar { "grammar" } else { "open" });
        let mut random = self.random(&what, number);
        let mut said = Vec::new();
        // What cannot be said is left out; what can be said of nothing is no call.
        for attempt in 0..4 * TURNS {
            if said.len() == TURNS {
                break;
            }
            let one = match (grammar, voice.maker) {
                (true, Who::Recorded) => self.one_by_one(voice, &mut random),
                (true, _) => self.answer(voice, &mut random),
                (false, Who::Recorded) => {
                    self.recorded_sentence(voice, number * 4 * TURNS + attempt, &mut random)
                }
                (false, _) => self.sentence(voice, number * TURNS + attempt, &mut random),
            };
            said.extend(one);
        }
        (!said.is_empty()).then(|| self.lay_out(voice, grammar, said, &mut random))
    }

    /// Puts utterances behind one another, into a surrounding, through a network.
    fn lay_out(&self, voice: Voice, grammar: bool, said: Vec<Said>, random: &mut Rng) -> Call {
        let level = -30.0 + 14.0 * random.f32();
        let cut = [0.0, 150.0, 250.0, 300.0][random.usize(..4)];
        let mut line: Vec<f32> = Vec::new();
        let mut turns = Vec::new();
        for Said { asked, kind, text, samples: sound } in said {
            let listen = line.len().next_multiple_of(FRAME_SAMPLES);
            let begin = listen + samples(500 + random.usize(..1_000));
            let mut sound = sound::at_level(sound, level + 3.0 * (random.f32() - 0.5));
            let stretches = sound::spoken(&sound);
            let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else { continue };
            if cut > 0.0 {
                sound::high_pass(&mut sound, cut);
            }
            line.resize(begin + sound.len() + samples(TAIL_MS), 0.0);
            sound::add(&mut line, begin, &sound);
            turns.push(Turn {
                asked,
                kind,
                text,
                listen: millis(listen),
                onset: millis(begin + first.0),
                end: millis(begin + last.1),
                pauses: stretches
                    .windows(2)
                    .map(|pair| (millis(begin + pair[0].1), millis(begin + pair[1].0)))
                    .collect(),
                over: millis(line.len()),
            });
        }
        let noise = self.surround(&mut line, level, random);
        let lossy = random.f32() < 0.2;
        let share = if lossy { 0.01 + 0.04 * random.f32() } else { 0.0 };
        let frames = through_network(&sound::companded(&line), share, random);
        Call { voice: voice.title(), noise: noise.name(), grammar, frames, turns }
    }

    /// Adds what else is heard; in every other call that is next to nothing.
    fn surround(&self, line: &mut [f32], level: f32, random: &mut Rng) -> Noise {
        let loud = Noise::ALL[1 + random.usize(..4)];
        let noise = if random.bool() { Noise::Quiet } else { loud };
        let below = match noise {
            Noise::Quiet => 35.0 + 10.0 * random.f32(),
            _ => 5.0 + 15.0 * random.f32(),
        };
        self.behind(line, noise, level - below, random);
        noise
    }

    /// Adds noise at a level.
    fn behind(&self, line: &mut [f32], noise: Noise, level: f32, random: &mut Rng) {
        let by = sound::gain(level);
        let sound: Vec<f32> = noise.make(line.len(), &self.crowd, random).iter().map(|s| s * by).collect();
        sound::add(line, 0, &sound);
    }

    /// An answer to a question that has a grammar.
    fn answer(&self, voice: Voice, random: &mut Rng) -> Option<Said> {
        if self.part == Part::Tuning && random.f32() < ONE_BY_ONE * 0.4 {
            // Four in ten are numbers.
            return self.one_by_one(voice, random);
        }
        let digits = |random: &mut Rng, groups: &[usize]| {
            let group = |count: &usize| {
                (0..*count).map(|_| DIGIT_WORDS[random.usize(..10)]).collect::<Vec<_>>().join(" ")
            };
            groups.iter().map(group).collect::<Vec<_>>().join(", ")
        };
        let pick = |question: &str, random: &mut Rng| {
            let all: Vec<&str> =
                lines(ANSWERS, self.part).filter(|(of, _)| *of == question).map(|(_, text)| text).collect();
            all[random.usize(..all.len())].to_owned()
        };
        let (kind, text, question, grammar) = match random.usize(..100) {
            0..20 => ("yes or no", pick("yes_no", random), Question::YesNo, &self.yes_no),
            20..27 => {
                ("one digit", digits(random, &[1]), Question::Digits { least: 1, most: 1 }, &self.digits[0])
            }
            27..47 => {
                let groups = FOUR[random.usize(..FOUR.len())];
                (
                    "four digits",
                    digits(random, groups),
                    Question::Digits { least: 4, most: 4 },
                    &self.digits[1],
                )
            }
            47..57 => {
                let groups = SEVEN[random.usize(..SEVEN.len())];
                (
                    "seven digits",
                    digits(random, groups),
                    Question::Digits { least: 7, most: 7 },
                    &self.digits[2],
                )
            }
            57..62 => {
                let groups = SOME[random.usize(..SOME.len())];
                (
                    "two to four digits",
                    digits(random, groups),
                    Question::Digits { least: 2, most: 4 },
                    &self.digits[3],
                )
            }
            62..86 => ("menu", pick("menu", random), Question::Menu, &self.menu),
            86..92 => {
                let all = self.months.sentences(12);
                ("month", all[random.usize(..all.len())].0.clone(), Question::Menu, &self.months)
            }
            _ => ("outside the grammar", pick("foreign", random), Question::Menu, &self.menu),
        };
        // Some think first, some in between, and a few end on a thought that is none.
        let text = match random.usize(..100) {
            0..6 => format!("um, {text}"),
            6..14 => text.replacen(',', ", um,", 1),
            14..18 => format!("{text} um"),
            _ => text,
        };
        let samples = stretched(&self.voices.say(voice, &text)?, &text, random);
        let asked = Asked { question, grammar: Some(Arc::clone(grammar)) };
        Some(Said { asked, kind, text, samples })
    }

    /// Digits one by one, each spoken by itself, as a person recorded them: one, four, or seven.
    fn one_by_one(&self, voice: Voice, random: &mut Rng) -> Option<Said> {
        let (words, grammars) = self.spoken.get(voice.language)?;
        let (kind, groups, question, grammar): (_, &[usize], _, _) = match random.usize(..4) {
            0 => ("one digit", &[1], Question::Digits { least: 1, most: 1 }, &grammars[0]),
            1 => ("seven digits", &[3, 4], Question::Digits { least: 7, most: 7 }, &grammars[2]),
            2 => ("four digits", &[4], Question::Digits { least: 4, most: 4 }, &grammars[1]),
            _ => ("four digits", &[2, 2], Question::Digits { least: 4, most: 4 }, &grammars[1]),
        };
        let (mut text, mut sound) = (String::new(), Vec::new());
        // Some wait after each, as if somebody wrote them down.
        let dictates = self.part == Part::Tuning && random.f32() < DICTATES;
        for (number, group) in groups.iter().enumerate() {
            if number > 0 {
                text.push(',');
                let pause = if random.f32() < PAUSES { pause_ms(random) } else { 120 };
                sound.resize(sound.len() + samples(pause), 0.0);
            }
            for _ in 0..*group {
                let digit = random.usize(..10);
                text = format!("{text} {}", words[digit]);
                let wait = if dictates { 100 + random.usize(..250) } else { 20 + random.usize(..50) };
                sound.resize(sound.len() + samples(wait), 0.0);
                sound.extend(match voice.maker {
                    Who::Recorded => self.voices.play_as(voice, &format!("digits/{digit}"))?,
                    _ => self.voices.say(voice, words[digit])?,
                });
            }
        }
        let asked = Asked { question, grammar: Some(Arc::clone(grammar)) };
        Some(Said { asked, kind, text: text.trim().to_owned(), samples: sound })
    }

    /// A sentence to an open question.
    fn sentence(&self, voice: Voice, number: usize, random: &mut Rng) -> Option<Said> {
        let all: Vec<&str> =
            lines(OPEN, self.part).filter(|(of, _)| *of == voice.language).map(|(_, text)| text).collect();
        // Each voice begins elsewhere, so that the small corpus has all sentences too.
        let from = fingerprint(&voice.title()) as usize % all.len().max(1);
        let text = *all.get((from + number) % all.len().max(1))?;
        let samples = stretched(&self.voices.say(voice, text)?, text, random);
        let asked = Asked { question: Question::Open, grammar: None };
        Some(Said { asked, kind: "open", text: text.to_owned(), samples })
    }

    /// A sentence that a person recorded, with its own pauses; some of them made longer.
    fn recorded_sentence(&self, voice: Voice, number: usize, random: &mut Rng) -> Option<Said> {
        let all = self.voices.recordings(voice.language);
        let name = all.get((number * 7 + random.usize(..7)) % all.len().max(1))?;
        let sound = self.voices.play_as(voice, name)?;
        // Neither a lone word that was cut out of a sentence, nor a speech.
        if sound.len() < samples(700) || sound.len() > samples(7_000) {
            return None;
        }
        let gaps = sound::spoken(&sound).len().saturating_sub(1);
        let samples = stretched(&sound, &",".repeat(gaps), random);
        let asked = Asked { question: Question::Open, grammar: None };
        Some(Said { asked, kind: "open, recorded", text: name.clone(), samples })
    }

    /// What one scene is about: the class, and what is heard, at peak or speech level 0.
    fn event(&self, class: Class, number: usize, random: &mut Rng) -> Option<(String, Asked, Vec<f32>)> {
        let open = Asked { question: Question::Open, grammar: None };
        // Half of what is no speech comes while an answer is awaited.
        let asks = || match number % 4 {
            0 => Asked { question: Question::Menu, grammar: Some(Arc::clone(&self.menu)) },
            1 => Asked { question: Question::YesNo, grammar: Some(Arc::clone(&self.yes_no)) },
            _ => open.clone(),
        };
        let english = &self.cast.english;
        let speaks = english.iter().filter(|voice| voice.maker != Who::Recorded).collect::<Vec<_>>();
        let voice = **speaks.get(number % speaks.len().max(1))?;
        Some(match class {
            Class::Speech if number % 5 < 3 => {
                let said = self.answer(voice, random).filter(|said| said.kind != "outside the grammar")?;
                (said.text, said.asked, said.samples)
            }
            Class::Speech => {
                let all = [english.as_slice(), &self.cast.others].concat();
                let voice = all[number % all.len()];
                let said = match voice.maker {
                    Who::Recorded => {
                        (0..40).find_map(|n| self.recorded_sentence(voice, number * 40 + n, random))?
                    }
                    _ => self.sentence(voice, number, random)?,
                };
                (said.text, said.asked, said.samples)
            }
            Class::Cough => (format!("cough {}", number % 6), asks(), sound::cough(number, random)),
            Class::Click => (format!("click {}", number % 5), asks(), sound::click(number, random)),
            Class::Backchannel => {
                let all: Vec<_> = lines(BACKCHANNELS, self.part).collect();
                let (language, text) = all[number % all.len()];
                let others = &self.cast.others;
                let all: Vec<_> =
                    speaks.iter().copied().chain(others).filter(|v| v.language == language).collect();
                let voice = **all.get(random.usize(..all.len().max(1)))?;
                // "Yeah" in reply to "shall I?" is an answer: no backchannels while that is asked.
                let asked = match asks() {
                    asked if language == "en" && asked.question != Question::YesNo => asked,
                    _ => open,
                };
                (text.to_owned(), asked, self.voices.say(voice, text)?)
            }
            Class::Noise => (String::new(), asks(), vec![0.0; 2 * HZ]),
            Class::KeyTone => {
                let key = "0123456789*#".chars().nth(number % 12)?;
                let mut tone = crate::audio::tone::Tone::key(Rate::Hz8000, key)?;
                let mut samples = vec![0; samples(80 + random.usize(..150))];
                tone.fill(&mut samples);
                let sound = samples.into_iter().map(|s| f32::from(s) / 32_768.0).collect();
                (format!("key {key}"), asks(), sound)
            }
        })
    }

    pub(super) fn scene(&self, class: Class, number: usize) -> Option<Scene> {
        let mut random = self.random(class.name(), number);
        let (what, asked, sound) = self.event(class, number, &mut random)?;
        let level = -28.0 + 10.0 * random.f32();
        let sound = match class {
            Class::Speech | Class::Backchannel => sound::at_level(sound, level),
            // Peaks as those of speech: 14 dB above its level.
            _ => {
                let by = sound::gain(level + 8.0 + 8.0 * random.f32()).min(0.9);
                sound.into_iter().map(|s| s * by).collect()
            }
        };
        let long = self.prompts.iter().filter(|prompt| prompt.len() > 6 * HZ).collect::<Vec<_>>();
        let bot = Arc::clone(long.get(random.usize(..long.len().max(1)))?);
        let at = samples(1_200 + random.usize(..2_500));
        let stretches = sound::spoken(&sound);
        let (from, to) =
            (stretches.first().map_or(0, |s| s.0), stretches.last().map_or(sound.len(), |s| s.1));
        let mut near = vec![0.0; (at + sound.len() + samples(1_500)).next_multiple_of(FRAME_SAMPLES)];
        sound::add(&mut near, at, &sound);
        // Noise alone has scenes of its own, and other people's voices only there: what a scene tells is of its class.
        let (noise, below) = match class {
            Class::Noise => (Noise::ALL[1 + number % 4], 5.0 + 15.0 * random.f32()),
            _ if random.f32() < 0.7 => (Noise::Quiet, 35.0 + 10.0 * random.f32()),
            _ => ([Noise::Hum, Noise::Street, Noise::Music][random.usize(..3)], 10.0 + 10.0 * random.f32()),
        };
        let what = if class == Class::Noise { noise.name().to_owned() } else { what };
        self.behind(&mut near, noise, level - below, &mut random);
        let echo = (random.f32() < 0.5).then(|| random_echo(&mut random));
        Some(Scene {
            class,
            what,
            asked,
            bot,
            near: near.into_iter().map(sound::to_i16).collect(),
            echo,
            onset: millis(at + from),
            end: millis(at + to),
        })
    }
}

/// Exactly so many digits in a language.
fn digits_in(language: &str, words: &[&str; 10], count: usize) -> Grammar {
    if language == "en" {
        return Grammar::digits(count);
    }
    let digits: Vec<String> =
        words.iter().enumerate().map(|(digit, word)| format!("{word} {{{digit}}}")).collect();
    let text = format!(
        "#JSGF V1.0; grammar {language}_{count}; public <n> = {}; <d> = {};",
        "<d> ".repeat(count),
        digits.join(" | ")
    );
    Grammar::parse(language, &text).expect("words and digits make a grammar")
}

/// Echoes in scenes are between −20 and −40 dB.
fn random_echo(random: &mut Rng) -> Echo {
    Echo { db: -20.0 - 20.0 * random.f32(), delay_ms: 20 + random.usize(..380) }
}

fn pause_ms(random: &mut Rng) -> usize {
    random.usize(PAUSE_MS.0..=PAUSE_MS.1)
}

/// Makes the silences at the commas of `text` as long as a thinking caller's, or leaves them. The sentence was spoken
/// whole, so its contour is the voice's own.
fn stretched(sound: &[f32], text: &str, random: &mut Rng) -> Vec<f32> {
    let commas = text.matches(',').count();
    let stretches = sound::spoken(sound);
    let mut gaps: Vec<(usize, usize)> = stretches.windows(2).map(|pair| (pair[0].1, pair[1].0)).collect();
    gaps.sort_by_key(|(from, to)| (usize::MAX - (to - from), *from));
    gaps.truncate(commas);
    gaps.sort_unstable();
    let (mut out, mut done) = (Vec::with_capacity(sound.len()), 0);
    for (from, to) in gaps {
        if random.f32() >= PAUSES {
            continue;
        }
        // In the middle, where it is quietest.
        let middle = usize::midpoint(from, to);
        out.extend_from_slice(&sound[done..middle]);
        let more = samples(pause_ms(random)).saturating_sub(to - from);
        out.resize(out.len() + more, 0.0);
        done = middle;
    }
    out.extend_from_slice(&sound[done..]);
    out
}

/// Frames as they come out of a network that loses a share of them, with what was lost made up.
fn through_network(samples: &[i16], share: f32, random: &mut Rng) -> Vec<Heard> {
    let mut frames: Vec<Heard> = samples
        .as_chunks::<FRAME_SAMPLES>()
        .0
        .iter()
        .map(|samples| Heard { frame: Frame { rate: Rate::Hz8000, samples: *samples }, lost: false })
        .collect();
    if share == 0.0 {
        return frames;
    }
    let mut bad = false;
    for heard in &mut frames {
        // Bursts of 1.5 packets on average.
        bad = random.f32() < if bad { 1.0 / 3.0 } else { share * 0.67 };
        heard.lost = bad;
    }
    let mut concealer = Concealer::new(Rate::Hz8000);
    let mut at = 0;
    while at < frames.len() {
        let lost = frames[at..].iter().take_while(|heard| heard.lost).count();
        if lost == 0 {
            concealer.heard(&mut frames[at].frame.samples);
            at += 1;
            continue;
        }
        let next = frames.get(at + lost).map(|heard| heard.frame.samples);
        let mut hole = vec![0; lost.min(CONCEALED) * FRAME_SAMPLES];
        concealer.between(&mut hole, next.as_ref().map_or(&[], |next| next.as_slice()));
        hole.resize(lost * FRAME_SAMPLES, 0);
        for (heard, made_up) in frames[at..at + lost].iter_mut().zip(hole.as_chunks::<FRAME_SAMPLES>().0) {
            heard.frame.samples = *made_up;
        }
        at += lost;
    }
    frames
}
