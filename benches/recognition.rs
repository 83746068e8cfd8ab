//! How well and at what price the embedded recogniser hears telephone speech: `cargo bench --bench recognition`.
//!
//! Voices that had no part in training (see models/bandwidth/README.md) speak through a telephone (8 kHz, µ-law) into the
//! ear of a call, frame by frame, and the recogniser's finals are compared with what was said. Prints each figure with
//! its target and `ok` or `MISS`; exits with 1 when it could not run.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use offhook::audio::ring::{EarItem, EarWriter, ear};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::id::CallId;
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::grammar::{DIGIT_WORDS, Grammar};
use offhook::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
use offhook::speech::{Answer, Ask, AskId, Hypothesis, Recognizer, RecognizerSession};
use offhook::time::{Moment, WallTime};

#[path = "../models/bandwidth/telephone.rs"]
#[allow(dead_code)]
mod telephone;

/// Voices that the extension was not trained on.
const ESPEAK: [&str; 3] = ["en-us+f5", "en-gb+m7", "en-us+m2"];
const FLITE: [&str; 1] = ["slt"];
const HUMAN: &str = "human";

/// Said outside every grammar of this bench.
const OUTSIDE: [&str; 40] = [
    "what is the weather like today",
    "I don't know",
    "who is there",
    "could you speak a little louder",
    "hello",
    "my dog ate the newspaper",
    "can you hear me",
    "wait a moment",
    "banana",
    "good morning",
    "I am not sure about it",
    "let me think",
    "the train leaves in the morning",
    "where am I",
    "is this a computer",
    "hold on",
    "what did he say",
    "you are breaking up",
    "the kids are at school",
    "pizza with extra cheese",
    "football",
    "it was a long winter",
    "turn the radio down",
    "I will call my brother",
    "umbrella",
    "take the second street on the left",
    "elephant",
    "mother is in the kitchen",
    "very well",
    "sorry",
    "a cup of tea",
    "let us go to the beach",
    "congratulations",
    "the battery is almost empty",
    "perhaps",
    "information",
    "she was here yesterday",
    "green apples",
    "music",
    "what",
];

/// Files of the package asterisk-core-sounds-en-wav that are outside every grammar.
const OUTSIDE_FILES: [&str; 40] = [
    "phonetic/a_p",
    "phonetic/b_p",
    "phonetic/c_p",
    "phonetic/d_p",
    "phonetic/e_p",
    "phonetic/f_p",
    "phonetic/g_p",
    "phonetic/h_p",
    "phonetic/i_p",
    "phonetic/j_p",
    "phonetic/k_p",
    "phonetic/l_p",
    "phonetic/p_p",
    "phonetic/r_p",
    "phonetic/s_p",
    "phonetic/t_p",
    "phonetic/u_p",
    "phonetic/v_p",
    "phonetic/w_p",
    "phonetic/y_p",
    "activated",
    "hello-world",
    "cancelled",
    "is-in-use",
    "location",
    "minutes",
    "number",
    "please-try-again",
    "removed",
    "seconds",
    "telephone-number",
    "transfer",
    "vm-password",
    "vm-received",
    "vm-sorry",
    "vm-undelete",
    "vm-INBOX",
    "vm-Family",
    "vm-Friends",
    "pbx-invalid",
];

/// The turn detector tells of a pause this many frames before the end: 100 ms after the last sound.
const PAUSE_FRAMES: usize = 13;

/// One thing that was said.
struct Clip {
    voice: String,
    /// What it means; [`None`] when it is outside the grammar.
    meaning: Option<String>,
    frames: Vec<Frame>,
}

/// One line of the table.
struct Case {
    name: &'static str,
    grammar: Arc<Grammar>,
    clips: Rc<[Clip]>,
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
    let outside = outside(&voices, &cases)?;
    println!(
        "{:<34} {:>6} {:>8} {:>10} {:>8}",
        "exactly right, by meaning", "clips", "plain", "extended", "target"
    );
    let plain = PocketSphinxRecognizer::new(PocketSphinxConfig { extend_bandwidth: false, ..config(2) })?;
    let extended = PocketSphinxRecognizer::new(config(2))?;
    let mut inside = Vec::new();
    for case in &cases {
        let without = score(&plain, case)?;
        let with = score(&extended, case)?;
        line(case.name, case.clips.len(), Some(without.share()), with.share(), case.target);
        with.by_voice();
        inside.extend(&with.sure);
    }
    let mut sure: Vec<(f32, bool)> = inside;
    let (mut refused, mut all) = (0, 0);
    for case in &outside {
        let with = score(&extended, case)?;
        line(case.name, case.clips.len(), None, with.share(), None);
        with.by_voice();
        sure.extend(&with.sure);
        refused += with.right;
        all += case.clips.len();
    }
    line("outside the grammar, refused", all, None, percent(refused, all), Some(90.0));
    println!("how often a hypothesis is right, by its confidence (inside and outside the grammar together):");
    for tenth in 0_u8..10 {
        let from = f32::from(tenth) / 10.0;
        let here: Vec<_> =
            sure.iter().filter(|(c, _)| *c >= from && (*c < from + 0.1 || tenth == 9)).collect();
        let right = here.iter().filter(|(_, right)| *right).count();
        println!(
            "  {from:.1} to {:.1}: {:>4} hypotheses, {:>5.1} % right",
            from + 0.1,
            here.len(),
            percent(right, here.len())
        );
    }
    cost(&cases)
}

fn config(decoders: usize) -> PocketSphinxConfig {
    PocketSphinxConfig { decoders, ..PocketSphinxConfig::default() }
}

fn line(name: &str, clips: usize, plain: Option<f64>, value: f64, target: Option<f64>) {
    let plain = plain.map_or(String::new(), |p| format!("{p:.1} %"));
    let (target, verdict) = match target {
        Some(target) => (format!("≥ {target} %"), if value >= target { "ok" } else { "MISS" }),
        None => (String::new(), ""),
    };
    println!("{name:<34} {clips:>6} {plain:>8} {:>10} {target:>8} {verdict}", format!("{value:.1} %"));
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
            let narrow = telephone::telephone(wide, variant + clips.len());
            let meaning = meaning.map(str::to_owned);
            clips.push(Clip { voice: voice.to_owned(), meaning, frames: frames(&narrow) });
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
        Ok(Some(Clip { voice: HUMAN.to_owned(), meaning, frames: frames(&samples) }))
    }
}

/// As the turn detector cuts it: 240 ms before the onset, 360 ms behind the last sound; faint line noise throughout.
fn frames(samples: &[f32]) -> Vec<Frame> {
    let mut random = fastrand::Rng::with_seed(samples.len() as u64);
    let mut all = vec![0.0; 8 * 240];
    all.extend_from_slice(samples);
    all.extend([0.0; 8 * 360]);
    let noisy = all.iter().map(|s| telephone::mu_law_and_back(s + 0.000_6 * (random.f32() - 0.5)));
    #[expect(clippy::cast_possible_truncation, reason = "clamped by µ-law")]
    let samples: Vec<i16> = noisy.map(|s| (s * 32_768.0) as i16).collect();
    let frame = |chunk: &[i16]| {
        let mut frame = Frame::silence(Rate::Hz8000);
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
    let names = ["  … yes, no", "  … one digit", "  … four digits", "  … menu"];
    let mut clips = Vec::new();
    for (variant, text) in OUTSIDE.iter().enumerate() {
        clips.extend(voices.say(text, None, variant)?);
    }
    for file in OUTSIDE_FILES {
        clips.extend(voices.play(&[file.to_owned()], None)?);
    }
    let clips: Rc<[Clip]> = clips.into();
    let case = |(name, case): (&'static str, &Case)| Case {
        name,
        grammar: Arc::clone(&case.grammar),
        clips: Rc::clone(&clips),
        target: None,
    };
    Ok(names.into_iter().zip(cases).map(case).collect())
}

// What is heard.

struct Score {
    right: usize,
    clips: usize,
    /// How sure each hypothesis was, and whether it was right.
    sure: Vec<(f32, bool)>,
    voices: std::collections::BTreeMap<String, (usize, usize, Vec<String>)>,
}

impl Score {
    fn share(&self) -> f64 {
        percent(self.right, self.clips)
    }

    /// With OFFHOOK_BENCH_VOICES=1, the figures of each voice and what was heard wrong.
    fn by_voice(&self) {
        if std::env::var_os("OFFHOOK_BENCH_VOICES").is_none() {
            return;
        }
        for (voice, (right, clips, wrong)) in &self.voices {
            println!("      {voice:<20} {:>6.1} %  {}", percent(*right, *clips), wrong.join(", "));
        }
    }
}

fn score(recognizer: &PocketSphinxRecognizer, case: &Case) -> Result<Score> {
    let mut score = Score { right: 0, clips: case.clips.len(), sure: Vec::new(), voices: Default::default() };
    for clip in case.clips.iter() {
        // A call for each clip: nothing is learnt from one about the next.
        let (ear, mut session) = call(recognizer)?;
        say(&ear, &session, &case.grammar, clip)?;
        let heard = heard(&mut session)?;
        let meaning = heard.as_ref().and_then(|h| h.meaning.clone());
        let voice = score.voices.entry(clip.voice.clone()).or_default();
        voice.1 += 1;
        if let Some(h) = &heard {
            score.sure.push((h.confidence, meaning == clip.meaning));
        }
        if meaning == clip.meaning {
            score.right += 1;
            voice.0 += 1;
        } else {
            let heard = heard.map_or("-".to_owned(), |h| format!("{} ({:.2})", h.text, h.confidence));
            voice.2.push(format!("{} → {heard}", clip.meaning.as_deref().unwrap_or("-")));
        }
    }
    Ok(score)
}

fn call(recognizer: &PocketSphinxRecognizer) -> Result<(EarWriter, RecognizerSession)> {
    let (writer, reader) = ear(4_000);
    let session = recognizer.open(CallId::new(WallTime(1)), reader, Rate::Hz8000)?;
    Ok((writer, session))
}

fn say(ear: &EarWriter, session: &RecognizerSession, grammar: &Arc<Grammar>, clip: &Clip) -> Result<()> {
    session.asks.blocking_send(Some(Ask { id: AskId(1), grammar: Arc::clone(grammar) }))?;
    ear.push(EarItem::Onset { at: Moment::ZERO });
    let pause = clip.frames.len() - PAUSE_FRAMES;
    for (index, frame) in clip.frames.iter().enumerate() {
        if index == pause {
            ear.push(EarItem::Pause { speech_end: Moment::ZERO });
        }
        ear.push(EarItem::Audio(*frame));
    }
    ear.push(EarItem::End { speech_end: Moment::ZERO });
    Ok(())
}

fn heard(session: &mut RecognizerSession) -> Result<Option<Hypothesis>> {
    loop {
        match session.answers.blocking_recv().context("the session ended")?.1 {
            Answer::Final(heard) => return Ok(heard),
            Answer::Failed(e) => return Err(e.into()),
            Answer::Partial(_) | Answer::Provisional(_) => {}
        }
    }
}

// What it costs.

fn cost(cases: &[Case]) -> Result<()> {
    const STREAMS: usize = 8;
    let recognizer = PocketSphinxRecognizer::new(config(STREAMS + 1))?;
    cases.iter().try_for_each(|case| recognizer.prepare(&case.grammar))?;
    // One stream first: what is paid once is not counted.
    let clip = &cases[2].clips[0];
    let (ear, mut first) = call(&recognizer)?;
    say(&ear, &first, &cases[2].grammar, clip)?;
    heard(&mut first)?;
    let (before_rss, before_cpu) = (resident()?, ears_cpu()?);
    let mut open = Vec::new();
    for stream in 0..STREAMS {
        let (ear, session) = call(&recognizer)?;
        let case = &cases[stream % 4];
        session.asks.blocking_send(Some(Ask { id: AskId(1), grammar: Arc::clone(&case.grammar) }))?;
        ear.push(EarItem::Onset { at: Moment::ZERO });
        open.push((ear, session, case));
    }
    let mut frames = 0;
    for index in 0.. {
        let mut spoken = false;
        for (ear, _, case) in &open {
            let clip = &case.clips[1];
            if let Some(frame) = clip.frames.get(index) {
                if index == clip.frames.len() - PAUSE_FRAMES {
                    ear.push(EarItem::Pause { speech_end: Moment::ZERO });
                }
                ear.push(EarItem::Audio(*frame));
                spoken = true;
                frames += 1;
            }
        }
        if !spoken {
            break;
        }
        // The pace of a call, so that partials and wake-ups cost what they cost live.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let after_rss = resident()?;
    for (ear, session, _) in &mut open {
        ear.push(EarItem::End { speech_end: Moment::ZERO });
        heard(session)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    let share = 100.0 * (ears_cpu()? - before_cpu) as f64 / (f64::from(frames) * 20e6);
    #[expect(clippy::cast_precision_loss, reason = "kilobytes")]
    let megabytes = after_rss.saturating_sub(before_rss) as f64 / 1_024.0 / STREAMS as f64;
    let verdict = |value: f64, most: f64| if value <= most { "ok" } else { "MISS" };
    println!("one stream: {share:.2} % of a core (≤ 3 %) {}", verdict(share, 3.0));
    println!("one stream: {megabytes:.1} MB (≤ 12 MB) {}", verdict(megabytes, 12.0));
    Ok(())
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
