//! Calibrates how sure the recogniser is: `cargo run --release --example train-refusal`.
//!
//! The voices that train the bandwidth extension say what is inside the shipped grammars and what is outside of them,
//! through a telephone. A logistic regression learns from the evidence how often a hypothesis is right. Writes
//! `models/refusal/weights.txt`. Hearing takes minutes, the regression none: OFFHOOK_ROWS names a file that what was heard
//! is kept in, and read from when it is there.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::grammar::{DIGIT_WORDS, Grammar};
use offhook::speech::pocketsphinx::{
    EVIDENCE, Evidence, Examiner, PocketSphinxConfig, PocketSphinxRecognizer,
};

#[path = "../bandwidth/telephone.rs"]
mod telephone;

const OUTSIDE: &str = include_str!("outside.txt");

struct Said {
    /// Its voice is left out with those of this group.
    group: usize,
    /// The grammar that it is in, and what it means there.
    inside: Option<(usize, String)>,
    frames: Vec<Frame>,
}

/// So many of them, in turn, say each sentence.
const SPEAKERS: usize = 6;
/// Pulls weights to nothing.
const RIDGE: f64 = 1.0;
/// This share of what is outside shall be refused, of every grammar: the recogniser's target.
const REFUSED: f64 = 0.9;
/// Voices are left out in so many groups when the threshold is chosen.
const GROUPS: usize = 4;

/// A hypothesis and what it rests on.
struct Row {
    group: usize,
    grammar: usize,
    inside: bool,
    right: bool,
    /// More than one word was heard.
    several: bool,
    /// A constant and the evidence; [`None`]: there was no hypothesis.
    values: Option<[f64; EVIDENCE + 1]>,
}

impl Row {
    fn line(&self) -> String {
        let values = self.values.iter().flatten().map(|value| format!(" {value}"));
        let Self { group, grammar, inside, right, several, .. } = self;
        format!("{group} {grammar} {inside} {right} {several}") + &values.collect::<String>()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (group, grammar) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let [inside, right, several] =
            [words.next()?, words.next()?, words.next()?].map(|word| word == "true");
        let values: Option<Vec<f64>> = words.map(|word| word.parse().ok()).collect();
        Some(Self { group, grammar, inside, right, several, values: values?.try_into().ok() })
    }
}

fn main() -> Result<()> {
    let names = ["yes_no", "digit", "four_digits", "frontdesk_menu", "months", "days"];
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let load = |name: &&str| Ok(Arc::new(Grammar::load(models.join(format!("grammars/{name}.jsgf")))?));
    let grammars: Vec<Arc<Grammar>> = names.iter().map(load).collect::<Result<_>>()?;
    let rows = match std::env::var_os("OFFHOOK_ROWS") {
        Some(file) if Path::new(&file).exists() => {
            std::fs::read_to_string(file)?.lines().filter_map(Row::parse).collect()
        }
        file => {
            let rows = rows(&grammars)?;
            if let Some(file) = file {
                std::fs::write(file, rows.iter().map(|row| row.line() + "\n").collect::<String>())?;
            }
            rows
        }
    };

    // How sure the regression is of voices that it was not made from.
    let mut left_out: Vec<(f64, &Row)> = Vec::new();
    for group in 0..GROUPS {
        let weights = regress(rows.iter().filter(|row| row.group != group));
        left_out
            .extend(rows.iter().filter(|row| row.group == group).map(|row| (confidence(&weights, row), row)));
    }
    // The share of the rows of a grammar of some kind that thresholds for one word and for more refuse.
    let share = |grammar: usize, below: [f64; 2], of: &dyn Fn(&Row) -> bool| {
        let these = left_out.iter().filter(|(_, row)| row.grammar == grammar && of(row));
        let (all, fewer) = these.fold((0, 0), |(all, fewer), (sure, row)| {
            (all + 1, fewer + u32::from(*sure < below[usize::from(row.several)]))
        });
        f64::from(fewer) / f64::from(all.max(1))
    };
    let outside = |row: &Row| !row.inside;
    let right = |row: &Row| row.right;
    let hundredths = || (1..100).map(|hundredth| f64::from(hundredth) / 100.0);
    let enough = |below: [f64; 2]| (0..4).all(|grammar| share(grammar, below, &outside) >= REFUSED);
    // The lowest for several words with one that refuses every word alone; then the lowest for one word.
    let several = hundredths().find(|several| enough([1.1, *several])).context("no threshold is enough")?;
    let one = hundredths().find(|one| enough([*one, several])).context("no threshold is enough")?;
    let below = [one, several];
    println!("refused below {one:.2}, of several words below {several:.2}; voices left out in turn:");
    for (grammar, name) in names.iter().enumerate() {
        println!(
            "  {name:<16} outside refused {:>5.1} %, right answers refused {:>4.1} %",
            100.0 * share(grammar, below, &outside),
            100.0 * share(grammar, below, &right)
        );
    }
    calibration(&left_out, balance(rows.iter()));
    let weights = regress(rows.iter());
    let mut text = "# When an answer is refused, and how sure it is; see README.md beside it.\n\
                    # Made by `cargo run --release --example train-refusal`.\n"
        .to_owned();
    below.iter().for_each(|threshold| text += &format!("{threshold:.2}\n"));
    weights.iter().for_each(|weight| text += &format!("{weight:.4}\n"));
    std::fs::write(models.join("refusal/weights.txt"), text).context("writing the weights")
}

/// Prints how often hypotheses were right, by their confidence.
fn calibration(left_out: &[(f64, &Row)], balance: [f64; 2]) {
    println!("right, by confidence, voices left out in turn, half of the weight outside:");
    for tenth in 0..10 {
        let from = f64::from(tenth) / 10.0;
        let here = left_out.iter().filter(|(sure, row)| {
            row.values.is_some() && *sure >= from && (*sure < from + 0.1 || tenth == 9)
        });
        let (all, good) = here.fold((0.0, 0.0), |(all, good), (_, row)| {
            let weight = balance[usize::from(row.inside)];
            (all + weight, good + if row.right { weight } else { 0.0 })
        });
        println!("  {from:.1} to {:.1}: {:>5.1} %", from + 0.1, 100.0 * good / f64::max(all, 1e-9));
    }
}

/// Lets everything be heard.
fn rows(grammars: &[Arc<Grammar>]) -> Result<Vec<Row>> {
    let recognizer = PocketSphinxRecognizer::new(PocketSphinxConfig::default())?;
    let said = said(grammars)?;
    let rows: Vec<Vec<Row>> = std::thread::scope(|scope| {
        let halves = said.chunks(said.len().div_ceil(2));
        let work: Vec<_> =
            halves.map(|half| scope.spawn(|| hear(half, grammars, recognizer.examiner()?))).collect();
        work.into_iter().map(|work| work.join().expect("it does not panic")).collect::<Result<_>>()
    })?;
    let rows: Vec<Row> = rows.into_iter().flatten().collect();
    println!("{} clips, heard {} times", said.len(), rows.len());
    Ok(rows)
}

fn hear(said: &[Said], grammars: &[Arc<Grammar>], mut examiner: Examiner) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clip in said {
        for (index, grammar) in grammars.iter().enumerate() {
            let wanted = clip.inside.as_ref().filter(|(own, _)| *own == index).map(|(_, meaning)| meaning);
            // What is outside of all is heard against the first four; the rest also against one that it is outside of.
            let other = clip.inside.as_ref().is_none_or(|(own, _)| (own + 1) % 4 == index);
            if wanted.is_none() && (index > 3 || !other) {
                continue;
            }
            let heard = examiner.hear(grammar, &clip.frames)?;
            let right = wanted.is_some() && heard.as_ref().is_some_and(|(h, _)| h.meaning.as_ref() == wanted);
            let several = heard.as_ref().is_some_and(|(h, _)| h.text.contains(' '));
            let values = heard.map(|(_, Evidence(values))| {
                std::array::from_fn(|n| if n == 0 { 1.0 } else { f64::from(values[n - 1]) })
            });
            rows.push(Row {
                group: clip.group,
                grammar: index,
                inside: wanted.is_some(),
                right,
                several,
                values,
            });
        }
    }
    Ok(rows)
}

/// What a row outside and one inside weigh, so that each kind weighs half of all.
fn balance<'a>(rows: impl Iterator<Item = &'a Row>) -> [f64; 2] {
    let mut counts = [0.0; 2];
    rows.filter(|row| row.values.is_some()).for_each(|row| counts[usize::from(row.inside)] += 1.0);
    counts.map(|count: f64| (counts[0] + counts[1]) / (2.0 * count.max(1.0)))
}

fn confidence(weights: &[f64], row: &Row) -> f64 {
    row.values.map_or(0.0, |values| {
        let sum: f64 = weights.iter().zip(values).map(|(w, x)| w * x).sum();
        1.0 / (1.0 + (-sum).exp())
    })
}

/// Logistic regression by Newton's method.
fn regress<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<f64> {
    const N: usize = EVIDENCE + 1;
    let balance = balance(rows.clone());
    let mut weights = vec![0.0; N];
    for _ in 0..25 {
        let (mut matrix, mut slope) = (vec![[0.0; N + 1]; N], [0.0; N]);
        for row in rows.clone() {
            let Some(values) = row.values else { continue };
            let sure = confidence(&weights, row);
            let weight = balance[usize::from(row.inside)];
            for i in 0..N {
                slope[i] += weight * (f64::from(u8::from(row.right)) - sure) * values[i];
                for j in 0..N {
                    matrix[i][j] += weight * (sure * (1.0 - sure)).max(1e-6) * values[i] * values[j];
                }
            }
        }
        for i in 0..N {
            // The constant is free.
            let ridge = if i == 0 { 1e-6 } else { RIDGE };
            matrix[i][i] += ridge;
            matrix[i][N] = slope[i] - if i == 0 { 0.0 } else { ridge * weights[i] };
        }
        for i in 0..N {
            // Positive definite: no exchange of rows is needed.
            let pivot = matrix[i];
            for (other, row) in matrix.iter_mut().enumerate().filter(|(other, _)| *other != i) {
                let factor = row[i] / pivot[i];
                debug_assert_ne!(other, i);
                row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            }
        }
        weights.iter_mut().enumerate().for_each(|(i, weight)| *weight += matrix[i][N] / matrix[i][i]);
    }
    weights
}

fn said(grammars: &[Arc<Grammar>]) -> Result<Vec<Said>> {
    let mut texts: Vec<(String, Option<(usize, String)>)> = Vec::new();
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..3 {
        for text in ["yes", "no", "yes please", "no thank you"] {
            texts.push((text.to_owned(), grammars[0].interpret(text).map(|m| (0, m))));
        }
    }
    for _ in 0..2 {
        for word in DIGIT_WORDS {
            texts.push((word.to_owned(), grammars[1].interpret(word).map(|m| (1, m))));
        }
    }
    for _ in 0..16 {
        let words: Vec<&str> = (0..4).map(|_| DIGIT_WORDS[random.usize(..10)]).collect();
        texts.push((words.join(", "), grammars[2].interpret(&words.join(" ")).map(|m| (2, m))));
    }
    for (index, limit) in [(3, 4_000), (4, 20), (5, 20)] {
        let mut all = grammars[index].sentences(limit);
        random.shuffle(&mut all);
        all.truncate(30);
        texts.extend(all.into_iter().map(|(text, meaning)| (text, Some((index, meaning)))));
    }
    texts.extend(OUTSIDE.lines().map(|text| (text.to_owned(), None)));
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    let mut said = Vec::new();
    let mut variant = 0;
    let voices: Vec<&str> = telephone::FLITE.into_iter().chain(telephone::ESPEAK).collect();
    for (index, (text, inside)) in texts.into_iter().enumerate() {
        for number in (0..SPEAKERS).map(|turn| (index * SPEAKERS + turn) % voices.len()) {
            let voice = voices[number];
            let wide = if telephone::FLITE.contains(&voice) {
                telephone::say_flite(&flite, voice, &text)?
            } else {
                telephone::say_espeak(voice, &text)?
            };
            let frames = frames(&telephone::telephone(&wide, variant));
            variant += 1;
            said.push(Said { group: number % GROUPS, inside: inside.clone(), frames });
        }
    }
    // Each half has something of everything.
    random.shuffle(&mut said);
    Ok(said)
}

/// A call's frames, as in benches/recognition.rs.
fn frames(samples: &[f32]) -> Vec<Frame> {
    let mut all = vec![0.0; 240 * 8];
    all.extend_from_slice(samples);
    all.resize(all.len() + 360 * 8, 0.0);
    let mut random = fastrand::Rng::with_seed(1);
    let samples: Vec<i16> = all
        .iter()
        .map(|s| (telephone::mu_law_and_back(s + 0.000_6 * (random.f32() - 0.5)) * 32_767.0) as i16)
        .collect();
    samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|chunk| {
            let mut frame = Frame::silence(Rate::Hz8000);
            frame.samples.copy_from_slice(chunk);
            frame
        })
        .collect()
}
