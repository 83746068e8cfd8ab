//! How well and at what price the embedded recogniser hears telephone speech: `make accuracy`, or
//! `cargo bench --bench recognition`.
//!
//! Voices that had no part in training (see models/bandwidth/README.md) speak through a telephone (8 kHz, µ-law) into the
//! ear of a call, frame by frame, and the recogniser's finals are compared with what was said. Prints each figure with
//! its target and `ok` or `MISS`; exits with 1 only when it could not run.
//!
//! With `-- --cost` only what it costs; with OFFHOOK_BENCH_VOICES=1 also what was heard wrong, by voice.
//!
//! # Which voices count
//!
//! The same words are also heard as they were at 16 kHz, before the telephone, without the bandwidth extension and
//! without refusal: what PocketSphinx understands of a voice at best. A voice of which it gets fewer than nine in ten of the answers inside the
//! grammars exactly even then tells about that voice, not about the telephone: it has a row of its own and is not in the
//! sums that are held against the targets. Of the human there are recordings at 8 kHz only; he always counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use offhook::audio::ring::{EarItem, EarWriter, ear};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::id::CallId;
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::grammar::{DIGIT_WORDS, Grammar};
use offhook::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
use offhook::speech::{Answer, Ask, AskId, Expected, Hypothesis, Recognizer, RecognizerSession};
use offhook::time::{Moment, WallTime};

#[path = "../models/bandwidth/telephone.rs"]
#[allow(dead_code)]
mod telephone;

/// Voices that the extension was not trained on.
const ESPEAK: [&str; 7] =
    ["en-us", "en-us+m2", "en-us+f5", "en-us+m5", "en-us+m8", "en-us+Annie", "en-gb+m7"];
const FLITE: [&str; 1] = ["slt"];
const HUMAN: &str = "human";
/// A voice counts when PocketSphinx gets this share of its originals at 16 kHz right.
const UNDERSTOOD: f64 = 90.0;

/// Outside every grammar of this bench: sentences to be said, and files of the package asterisk-core-sounds-en-wav.
const OUTSIDE: &str = include_str!("../models/bandwidth/outside_said.txt");

const OUTSIDE_FILES: &str = include_str!("../models/bandwidth/outside_recorded.txt");

/// One thing that was said.
struct Clip {
    voice: String,
    /// What it means; [`None`] when it is outside the grammar.
    meaning: Option<String>,
    frames: Vec<Frame>,
    /// The same at 16 kHz, before the telephone, where there is such an original.
    original: Option<Vec<Frame>>,
}

/// One line of the table.
struct Case {
    name: &'static str,
    grammar: Arc<Grammar>,
    clips: Arc<[Clip]>,
    target: Option<f64>,
}

fn main() {
    if let Err(e) = run() {
        eprintln!("the bench could not run: {e:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let voices = Voices::new()?;
    let cases = cases(&voices)?;
    if std::env::args().any(|argument| argument == "--cost") {
        return cost(&cases);
    }
    let recognizers = Recognizers {
        original: PocketSphinxRecognizer::new(PocketSphinxConfig {
            extend_bandwidth: false,
            refuse: false,
            ..config(2)
        })?,
        plain: PocketSphinxRecognizer::new(PocketSphinxConfig { extend_bandwidth: false, ..config(2) })?,
        extended: PocketSphinxRecognizer::new(config(2))?,
    };
    let counted = inside(&recognizers, &cases)?;
    let mut sure = counted.sure;
    for case in &outside(&voices, &cases)? {
        let with = score(&recognizers.extended, case, Hearing::Telephone)?.only(&counted.voices);
        line(case.name, with.clips(), [None, None, Some(with.share())], case.target);
        with.mistakes();
        sure.extend(with.sure());
    }
    println!(
        "\nhow often a hypothesis is right, by its confidence (inside and outside the grammars together):"
    );
    for tenth in 0_u8..10 {
        let from = f32::from(tenth) / 10.0;
        let here: Vec<_> =
            sure.iter().filter(|(c, _)| *c >= from && (*c < from + 0.1 || tenth == 9)).collect();
        let right = here.iter().filter(|(_, right)| *right).count();
        let share = percent(right, here.len());
        println!("  {from:.1} to {:.1}: {:>4} hypotheses, {share:>5.1} % right", from + 0.1, here.len());
    }
    cost(&cases)
}

struct Recognizers {
    /// Refuses nothing: what it understands of a voice at best.
    original: PocketSphinxRecognizer,
    plain: PocketSphinxRecognizer,
    extended: PocketSphinxRecognizer,
}

/// What the scores inside the grammars say.
struct Counted {
    /// The voices that count.
    voices: BTreeSet<String>,
    /// How sure each hypothesis was, and whether it was right.
    sure: Vec<(f32, bool)>,
}

/// Scores what is inside the grammars: first the originals, which decide whom the sums are about, then the telephone.
fn inside(recognizers: &Recognizers, cases: &[Case]) -> Result<Counted> {
    let mut scores = Vec::new();
    for case in cases {
        scores.push([
            score(&recognizers.original, case, Hearing::Original)?,
            score(&recognizers.plain, case, Hearing::Telephone)?,
            score(&recognizers.extended, case, Hearing::Telephone)?,
        ]);
    }
    let all: BTreeSet<String> = cases.iter().flat_map(|c| c.clips.iter()).map(|c| c.voice.clone()).collect();
    // Of one voice, all answers together: of the original, the plain telephone, the extended one.
    let of = |voice: &String| -> [(usize, usize); 3] {
        std::array::from_fn(|column| {
            let parts = scores.iter().filter_map(|score| score[column].voices.get(voice));
            parts.fold((0, 0), |(right, clips), part| (right + part.right, clips + part.clips))
        })
    };
    let understood = |voice: &&String| {
        let (right, clips) = of(voice)[0];
        clips == 0 || percent(right, clips) >= UNDERSTOOD
    };
    let voices: BTreeSet<String> = all.iter().filter(understood).cloned().collect();
    let share = |(right, clips): (usize, usize)| (clips > 0).then(|| percent(right, clips));
    heading("exactly right, by voice");
    for voice in &all {
        line(voice, of(voice)[2].1, of(voice).map(share), None);
        if !voices.contains(voice) {
            println!("    not counted: PocketSphinx does not understand its originals at 16 kHz");
        }
    }
    let mut sure = Vec::new();
    heading("exactly right, by grammar");
    for (case, columns) in cases.iter().zip(scores) {
        let columns = columns.map(|score| score.only(&voices));
        let shares = [0, 1, 2].map(|column| Some(columns[column].share()));
        line(case.name, columns[2].clips(), shares, case.target);
        columns[2].mistakes();
        sure.extend(columns[2].sure());
    }
    Ok(Counted { voices, sure })
}

fn config(decoders: usize) -> PocketSphinxConfig {
    PocketSphinxConfig { decoders, ..PocketSphinxConfig::default() }
}

fn heading(name: &str) {
    println!(
        "\n{name:<34} {:>6} {:>15} {:>8} {:>9} {:>8}",
        "clips", "16 kHz original", "plain", "extended", "target"
    );
}

/// A row of the table: of the original, the plain telephone and the extended one.
fn line(name: &str, clips: usize, columns: [Option<f64>; 3], target: Option<f64>) {
    let [original, plain, extended] = columns.map(|c| c.map_or("–".to_owned(), |p| format!("{p:.1} %")));
    let verdict = match (target, columns[2]) {
        (Some(target), Some(value)) => {
            format!("{:>8} {}", format!("≥ {target} %"), if value >= target { "ok" } else { "MISS" })
        }
        _ => String::new(),
    };
    println!("{name:<34} {clips:>6} {original:>15} {plain:>8} {extended:>9} {verdict}");
}

#[expect(clippy::cast_precision_loss, reason = "counts of clips")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

// What is said.

struct Voices {
    flite: FliteSynthesizer,
    espeak: bool,
    sounds: Option<PathBuf>,
}

impl Voices {
    fn new() -> Result<Self> {
        let espeak = telephone::say_espeak(ESPEAK[0], "hello").is_ok();
        if !espeak {
            println!("espeak-ng is not installed: its voices are skipped");
        }
        let cache = std::env::var_os("OFFHOOK_CACHE")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/offhook")));
        let sounds = [
            std::env::var_os("OFFHOOK_SOUNDS").map(PathBuf::from),
            Some(PathBuf::from("/usr/share/asterisk/sounds/en")),
            cache.as_ref().map(|cache| cache.join("asterisk-22/usr/share/asterisk/sounds/en")),
            cache.as_ref().map(|cache| cache.join("asterisk-22/usr/share/asterisk/sounds/en_US_f_Allison")),
        ];
        let sounds = sounds.into_iter().flatten().find(|dir| dir.join("digits/1.wav").exists());
        match &sounds {
            Some(dir) => println!("human speech from {}", dir.display()),
            None => println!(
                "no human speech: install asterisk-core-sounds-en-wav, or name its folder in OFFHOOK_SOUNDS; skipped"
            ),
        }
        Ok(Self { flite: FliteSynthesizer::new(FliteConfig::default())?, espeak, sounds })
    }

    /// `text` by every voice that is made by a machine.
    fn say(&self, text: &str, meaning: Option<&str>, variant: usize) -> Result<Vec<Clip>> {
        let mut clips = Vec::new();
        let mut add = |voice: &str, wide: &[f32]| {
            let line = variant + clips.len();
            let narrow = telephone::telephone(wide, line);
            let peak = wide.iter().fold(1e-3_f32, |peak, s| peak.max(s.abs()));
            let level = telephone::LEVELS[line % telephone::LEVELS.len()] / peak;
            let as_loud: Vec<f32> = wide.iter().map(|s| s * level).collect();
            clips.push(Clip {
                voice: voice.to_owned(),
                meaning: meaning.map(str::to_owned),
                frames: frames(&narrow, Rate::Hz8000),
                original: Some(frames(&as_loud, Rate::Hz16000)),
            });
        };
        for voice in FLITE {
            add(voice, &telephone::say_flite(&self.flite, voice, text)?);
        }
        for voice in ESPEAK.iter().filter(|_| self.espeak) {
            add(voice, &telephone::say_espeak(voice, text)?);
        }
        Ok(clips)
    }

    /// Recordings played after each other with a breath between them.
    fn play(&self, files: &[String], meaning: Option<&str>) -> Result<Option<Clip>> {
        let Some(dir) = &self.sounds else { return Ok(None) };
        let mut samples: Vec<f32> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let path = dir.join(format!("{file}.wav"));
            let mut reader = hound::WavReader::open(&path).with_context(|| path.display().to_string())?;
            let sound: Vec<f32> =
                reader.samples::<i16>().map_while(Result::ok).map(|s| f32::from(s) / 32_768.0).collect();
            let loud = |s: &f32| s.abs() > 0.01;
            let start = sound.iter().position(loud).unwrap_or(0).saturating_sub(400);
            let end = sound.iter().rposition(loud).map_or(sound.len(), |end| (end + 400).min(sound.len()));
            if index > 0 {
                samples.extend(std::iter::repeat_n(0.0, 400 + 160 * (index * 7 % 5)));
            }
            samples.extend(sound[start..end].iter().map(|s| telephone::mu_law_and_back(*s)));
        }
        let meaning = meaning.map(str::to_owned);
        let frames = frames(&samples, Rate::Hz8000);
        Ok(Some(Clip { voice: HUMAN.to_owned(), meaning, frames, original: None }))
    }
}

/// As the turn detector cuts it: 240 ms before the onset, 360 ms behind the last sound; faint line noise throughout.
fn frames(samples: &[f32], rate: Rate) -> Vec<Frame> {
    let mut random = fastrand::Rng::with_seed(samples.len() as u64);
    let millisecond = rate.hz() as usize / 1_000;
    let mut all = vec![0.0; 240 * millisecond];
    all.extend_from_slice(samples);
    all.resize(all.len() + 360 * millisecond, 0.0);
    let noisy = all.iter().map(|s| s + 0.000_6 * (random.f32() - 0.5));
    let sent = noisy.map(|s| if rate == Rate::Hz8000 { telephone::mu_law_and_back(s) } else { s });
    #[expect(clippy::cast_possible_truncation, reason = "below full scale")]
    let samples: Vec<i16> = sent.map(|s| (s * 32_767.0) as i16).collect();
    let frame = |chunk: &[i16]| {
        let mut frame = Frame::silence(rate);
        frame.samples.copy_from_slice(chunk);
        frame
    };
    samples.chunks_exact(FRAME_SAMPLES).map(frame).collect()
}

fn cases(voices: &Voices) -> Result<Vec<Case>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/grammars");
    let load = |file: &str| Grammar::load(dir.join(file)).map(Arc::new);
    let mut random = fastrand::Rng::with_seed(4);

    let mut yes_no = Vec::new();
    for variant in 0..5 {
        for (text, meaning) in [("yes", "yes"), ("no", "no"), ("yes please", "yes"), ("no thank you", "no")] {
            yes_no.extend(voices.say(text, Some(meaning), variant)?);
        }
    }
    yes_no.extend(voices.play(&["vm-no".to_owned()], Some("no"))?);

    let mut digit = Vec::new();
    for (value, word) in DIGIT_WORDS.iter().enumerate() {
        for variant in 0..2 {
            digit.extend(voices.say(word, Some(&value.to_string()), value + variant)?);
        }
        digit.extend(voices.play(&[format!("digits/{value}")], Some(&value.to_string()))?);
    }

    let mut four = Vec::new();
    for variant in 0..20 {
        let digits: Vec<usize> = (0..4).map(|_| random.usize(..10)).collect();
        let meaning: String = digits.iter().map(ToString::to_string).collect();
        let text: Vec<&str> = digits.iter().map(|d| DIGIT_WORDS[*d]).collect();
        four.extend(voices.say(&text.join(", "), Some(&meaning), variant)?);
        let files: Vec<String> = digits.iter().map(|d| format!("digits/{d}")).collect();
        four.extend(voices.play(&files, Some(&meaning))?);
    }

    let desk = load("frontdesk_menu.jsgf")?;
    let mut menu = Vec::new();
    let said = [
        "sales",
        "the sales department please",
        "I would like to speak to sales",
        "connect me to sales",
        "I want to buy something",
        "support",
        "technical support please",
        "I need support",
        "I have a problem",
        "I need help",
        "opening hours",
        "what are your opening hours",
        "when are you open",
        "account balance",
        "my account balance",
        "what is my account balance",
        "how much money do I have",
        "repeat that please",
        "say that again",
        "I did not understand",
        "goodbye",
        "that is all thank you",
    ];
    for (variant, text) in said.iter().enumerate() {
        let meaning = desk.interpret(text).with_context(|| format!("'{text}' is not in the menu"))?;
        menu.extend(voices.say(text, Some(&meaning), variant)?);
    }
    for file in ["goodbye", "vm-goodbye"] {
        menu.extend(voices.play(&[file.to_owned()], Some("goodbye"))?);
    }

    let (months, days) = (load("months.jsgf")?, load("days.jsgf")?);
    let calendar = |grammar: &Grammar, file: &str, first: usize| -> Result<Vec<Clip>> {
        let mut clips = Vec::new();
        for (index, (word, meaning)) in grammar.sentences(20).iter().enumerate() {
            clips.extend(voices.say(word, Some(meaning), index)?);
            let number = (index + first) % if file == "day" { 7 } else { 12 };
            clips.extend(voices.play(&[format!("digits/{file}-{number}")], Some(meaning))?);
        }
        Ok(clips)
    };
    let (month_clips, day_clips) = (calendar(&months, "mon", 0)?, calendar(&days, "day", 1)?);
    let case = |name, grammar: &Arc<Grammar>, clips: Vec<Clip>, target| Case {
        name,
        grammar: Arc::clone(grammar),
        clips: clips.into(),
        target,
    };
    Ok(vec![
        case("yes, no", &load("yes_no.jsgf")?, yes_no, Some(95.0)),
        case("one digit", &load("digit.jsgf")?, digit, Some(90.0)),
        case("exactly four digits", &load("four_digits.jsgf")?, four, Some(85.0)),
        case("menu phrases", &desk, menu, Some(95.0)),
        case("months", &months, month_clips, None),
        case("days", &days, day_clips, None),
    ])
}

/// What is outside every grammar, against the grammars.
fn outside(voices: &Voices, cases: &[Case]) -> Result<Vec<Case>> {
    let names = [
        "outside, refused: yes, no",
        "outside, refused: one digit",
        "outside, refused: four digits",
        "outside, refused: menu",
    ];
    let mut clips = Vec::new();
    for (variant, text) in OUTSIDE.lines().enumerate() {
        clips.extend(voices.say(text, None, variant)?);
    }
    for file in OUTSIDE_FILES.lines() {
        clips.extend(voices.play(&[file.to_owned()], None)?);
    }
    let clips: Arc<[Clip]> = clips.into();
    let case = |(name, case): (&'static str, &Case)| Case {
        name,
        grammar: Arc::clone(&case.grammar),
        clips: Arc::clone(&clips),
        target: Some(90.0),
    };
    Ok(names.into_iter().zip(cases).map(case).collect())
}

// What is heard.

/// What of a clip is heard.
#[derive(Clone, Copy, PartialEq)]
enum Hearing {
    Telephone,
    /// At 16 kHz; clips without such an original are left out.
    Original,
}

impl Hearing {
    fn frames(self, clip: &Clip) -> Option<(&[Frame], Rate)> {
        match self {
            Self::Telephone => Some((&clip.frames, Rate::Hz8000)),
            Self::Original => clip.original.as_deref().map(|frames| (frames, Rate::Hz16000)),
        }
    }
}

/// How a case went, by voice.
#[derive(Default)]
struct Score {
    voices: BTreeMap<String, OfVoice>,
}

#[derive(Default)]
struct OfVoice {
    right: usize,
    clips: usize,
    /// How sure each hypothesis was, and whether it was right.
    sure: Vec<(f32, bool)>,
    wrong: Vec<String>,
}

impl Score {
    /// That of some of the voices.
    fn only(mut self, voices: &BTreeSet<String>) -> Self {
        self.voices.retain(|voice, _| voices.contains(voice));
        self
    }

    fn clips(&self) -> usize {
        self.voices.values().map(|voice| voice.clips).sum()
    }

    fn share(&self) -> f64 {
        percent(self.voices.values().map(|voice| voice.right).sum(), self.clips())
    }

    fn sure(&self) -> impl Iterator<Item = (f32, bool)> {
        self.voices.values().flat_map(|voice| voice.sure.iter().copied())
    }

    /// With OFFHOOK_BENCH_VOICES=1, the figures of each voice and what was heard wrong.
    fn mistakes(&self) {
        if std::env::var_os("OFFHOOK_BENCH_VOICES").is_none() {
            return;
        }
        for (voice, of) in &self.voices {
            println!("      {voice:<20} {:>6.1} %  {}", percent(of.right, of.clips), of.wrong.join(", "));
        }
    }

    fn add(&mut self, clip: &Clip, heard: Option<Hypothesis>) {
        let meaning = heard.as_ref().and_then(|h| h.meaning.clone());
        let voice = self.voices.entry(clip.voice.clone()).or_default();
        voice.clips += 1;
        if let Some(h) = &heard {
            voice.sure.push((h.confidence, meaning == clip.meaning));
        }
        if meaning == clip.meaning {
            voice.right += 1;
        } else {
            let heard = heard.map_or("-".to_owned(), |h| format!("{} ({:.2})", h.text, h.confidence));
            voice.wrong.push(format!("{} → {heard}", clip.meaning.as_deref().unwrap_or("-")));
        }
    }
}

/// Lets every clip of a case be heard, each in a call of its own: nothing is learnt from one about the next.
fn score(recognizer: &PocketSphinxRecognizer, case: &Case, hearing: Hearing) -> Result<Score> {
    let mut score = Score::default();
    // Two at a time, one for each decoder.
    for pair in case.clips.chunks(2) {
        let mut open = Vec::new();
        for clip in pair {
            if let Some((frames, rate)) = hearing.frames(clip) {
                let (ear, session) = call(recognizer, rate)?;
                say(&ear, &session, &case.grammar, frames)?;
                open.push((clip, ear, session));
            }
        }
        for (clip, _ear, mut session) in open {
            score.add(clip, heard(&mut session)?);
        }
    }
    Ok(score)
}

fn call(recognizer: &PocketSphinxRecognizer, rate: Rate) -> Result<(EarWriter, RecognizerSession)> {
    let (writer, reader) = ear(4_000);
    let session = recognizer.open(CallId::new(WallTime(1)), reader, rate)?;
    Ok((writer, session))
}

fn say(ear: &EarWriter, session: &RecognizerSession, grammar: &Arc<Grammar>, frames: &[Frame]) -> Result<()> {
    session
        .asks
        .blocking_send(Some(Ask { id: AskId(1), expected: Expected::Grammar(Arc::clone(grammar)) }))?;
    ear.push(EarItem::Onset { at: Moment::ZERO });
    for (index, frame) in frames.iter().enumerate() {
        if index == pause(frames) {
            ear.push(EarItem::Pause { speech_end: Moment::ZERO });
        }
        ear.push(EarItem::Audio(*frame));
    }
    ear.push(EarItem::End { speech_end: Moment::ZERO });
    Ok(())
}

/// The frame before which the turn detector tells of a pause: 100 ms after the last sound.
fn pause(frames: &[Frame]) -> usize {
    let each = frames.first().map_or(20, |frame| frame.duration().as_millis() as usize);
    frames.len().saturating_sub(260 / each)
}

fn heard(session: &mut RecognizerSession) -> Result<Option<Hypothesis>> {
    loop {
        match session.answers.blocking_recv().context("the session ended")?.1 {
            Answer::Final(heard) => return Ok(heard),
            Answer::Failed(e) => return Err(e.into()),
            Answer::Partial(_) | Answer::Provisional(_) | Answer::EndOfTurn { .. } | Answer::By(_) => {}
        }
    }
}

// What it costs.

/// Callers at once.
const STREAMS: usize = 8;
/// How long the bot speaks after each answer of a dialogue, in frames of 20 ms.
const REPLY: u32 = 150;

/// A caller who answers one question after the other without a breath between.
struct Talker<'a> {
    ear: EarWriter,
    session: RecognizerSession,
    grammar: &'a Arc<Grammar>,
    /// What is still to be said, the next last.
    todo: Vec<&'a Clip>,
    /// What is being said, and the frame that comes next; [`None`] between two questions.
    now: Option<(&'a Clip, usize)>,
    /// For so many ticks more the bot speaks.
    listens: u32,
    /// For so many ticks the bot speaks after each answer.
    reply: u32,
}

impl<'a> Talker<'a> {
    /// 20 ms of the call: the frames that were fed, 0 or 1; [`None`] when all is said and answered.
    fn tick(&mut self) -> Result<Option<u32>> {
        let Some((clip, index)) = &mut self.now else {
            if self.listens > 0 {
                self.listens -= 1;
                return Ok(Some(0));
            }
            let Some(clip) = self.todo.pop() else { return Ok(None) };
            self.session.asks.blocking_send(Some(Ask {
                id: AskId(1),
                expected: Expected::Grammar(Arc::clone(self.grammar)),
            }))?;
            self.ear.push(EarItem::Onset { at: Moment::ZERO });
            self.now = Some((clip, 0));
            return Ok(Some(0));
        };
        if let Some(frame) = clip.frames.get(*index) {
            if *index == pause(&clip.frames) {
                self.ear.push(EarItem::Pause { speech_end: Moment::ZERO });
            }
            self.ear.push(EarItem::Audio(*frame));
            *index += 1;
            if *index == clip.frames.len() {
                self.ear.push(EarItem::End { speech_end: Moment::ZERO });
            }
            return Ok(Some(1));
        }
        while let Ok((_, answer)) = self.session.answers.try_recv() {
            match answer {
                Answer::Final(_) => {
                    self.now = None;
                    self.listens = self.reply;
                }
                Answer::Failed(e) => return Err(e.into()),
                Answer::Partial(_) | Answer::Provisional(_) | Answer::EndOfTurn { .. } | Answer::By(_) => {}
            }
        }
        Ok(Some(0))
    }
}

fn cost(cases: &[Case]) -> Result<()> {
    let recognizer = PocketSphinxRecognizer::new(config(STREAMS))?;
    cases.iter().try_for_each(|case| recognizer.prepare(&case.grammar))?;
    // One decoder first: what is paid once is not counted.
    talk(&recognizer, cases, 1, 1, 0)?;
    let before = resident()?;
    // The grammars are compiled in every decoder, and its memory is taken.
    talk(&recognizer, cases, STREAMS, 1, 0)?;
    let megabytes = (resident()?.saturating_sub(before)) as f64 / 1_024.0 / (STREAMS - 1) as f64;
    let first = talk(&recognizer, cases, STREAMS, 1, 0)?;
    let whole = talk(&recognizer, cases, STREAMS, 6, 0)?;
    let dialogue = talk(&recognizer, cases, STREAMS, 6, REPLY)?;
    let verdict = |value: f64, most: f64| if value <= most { "ok" } else { "MISS" };
    println!(
        "\n{STREAMS} callers at once who speak all the time, at the pace of a call; time of the decoding threads:"
    );
    println!(
        "one stream: {:.2} % of a core (≤ 3 %) {}; over its first answer {:.2} %",
        whole.of_speech,
        verdict(whole.of_speech, 3.0),
        first.of_speech
    );
    println!(
        "one stream of a dialogue, {:.1} s of bot after each answer, the caller's utterances {:.0} % of the time: {:.2} % of a core",
        f64::from(REPLY) / 50.0,
        dialogue.spoken,
        dialogue.of_call
    );
    println!("one stream: {megabytes:.1} MB (≤ 12 MB) {}", verdict(megabytes, 12.0));
    Ok(())
}

/// What decoding took of a core, in percent.
struct Cost {
    /// Of the time that callers spoke.
    of_speech: f64,
    /// Of the time that calls lasted.
    of_call: f64,
    /// The share of the calls' time that callers spoke.
    spoken: f64,
}

/// Callers who give several answers each, after each of which the bot speaks for `reply` ticks of 20 ms.
fn talk(
    recognizer: &PocketSphinxRecognizer,
    cases: &[Case],
    streams: usize,
    answers: usize,
    reply: u32,
) -> Result<Cost> {
    let mut talkers = Vec::new();
    for stream in 0..streams {
        let case = &cases[stream % 4];
        let voice = if stream < 4 { FLITE[0] } else { ESPEAK[0] };
        let of_voice: Vec<&Clip> = case.clips.iter().filter(|clip| clip.voice == voice).collect();
        let all = if of_voice.is_empty() { case.clips.iter().collect() } else { of_voice };
        let todo = all.into_iter().cycle().skip(stream).take(answers).collect();
        let (ear, session) = call(recognizer, Rate::Hz8000)?;
        talkers.push(Talker { ear, session, grammar: &case.grammar, todo, now: None, listens: 0, reply });
    }
    let before = ears_cpu()?;
    let (mut frames, mut ticks) = (0, 0);
    loop {
        let mut talking = false;
        for talker in &mut talkers {
            if let Some(fed) = talker.tick()? {
                frames += fed;
                ticks += 1;
                talking = true;
            }
        }
        if !talking {
            break;
        }
        // The pace of a call, so that partials and wake-ups cost what they cost live.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    let spent = (ears_cpu()? - before) as f64;
    let share = |ticks: u32| 100.0 * spent / (f64::from(ticks) * 20e6);
    Ok(Cost {
        of_speech: share(frames),
        of_call: share(ticks),
        spoken: 100.0 * f64::from(frames) / f64::from(ticks),
    })
}

/// Resident memory of this process in kB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
}

/// Nanoseconds that the decoder threads have had of a core.
fn ears_cpu() -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")?.filter_map(Result::ok) {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == "offhook-ears" {
            let stat = std::fs::read_to_string(task.path().join("schedstat"))?;
            sum += stat.split_whitespace().next().context("no figure")?.parse::<u64>()?;
        }
    }
    Ok(sum)
}
