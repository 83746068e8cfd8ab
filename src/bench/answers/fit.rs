//! Thresholds, found on the tuning half alone.

use fastrand::Rng;

use super::corpus::{Along, Call, Corpus};
use super::tally::{self, Score};
use super::{AnswersError, Plan, listeners, run};
use crate::bench::Progress;
use crate::bench::turns::Part;
use crate::bench::turns::corpus::each;
use crate::time::Moment;
use crate::turn::answer::settings::Limits;
use crate::turn::answer::{AnswerSettings, Book, Told};

/// Rounds over all thresholds; the last ones change nothing.
const ROUNDS: usize = 4;

/// Then so many steps of a few thresholds at once: one after the other they get stuck where each alone makes things worse.
const STEPS: usize = 600;

/// A threshold: its name, the values that are tried, and how to set it.
type Knob = (&'static str, &'static [u32], fn(&mut AnswerSettings) -> &mut u32);

const KNOBS: [Knob; 16] = [
    ("short_pause_ms", &[420, 460, 500, 540, 580, 620, 660, 700, 740], |s| &mut s.short_pause_ms),
    ("short_greeting_ms", &[400, 500, 600, 700, 800, 900, 1_000], |s| &mut s.short_greeting_ms),
    ("long_greeting_ms", &[800, 1_000, 1_200, 1_400, 1_600, 2_000], |s| &mut s.long_greeting_ms),
    ("long_pause_ms", &[900, 1_000, 1_100, 1_200, 1_300, 1_400, 1_500, 1_700], |s| &mut s.long_pause_ms),
    ("machine_greeting_ms", &[2_800, 3_000, 3_200, 3_400, 3_600, 3_800, 4_000, 4_400], |s| {
        &mut s.machine_greeting_ms
    }),
    ("machine_stretch_ms", &[2_000, 2_300, 2_600, 2_800, 3_000, 3_300, 4_000], |s| &mut s.machine_stretch_ms),
    ("sentence_pause_ms", &[200, 240, 280, 320, 360, 400, 460], |s| &mut s.sentence_pause_ms),
    ("machine_sentences_ms", &[1_600, 1_800, 2_000, 2_200, 2_400, 2_600, 2_800, 3_200], |s| {
        &mut s.machine_sentences_ms
    }),
    ("greeting_pause_ms", &[200, 240, 280, 320, 360, 400, 460], |s| &mut s.greeting_pause_ms),
    ("opening_pause_ms", &[1_000, 1_400, 1_600, 1_800, 2_000, 2_400], |s| &mut s.opening_pause_ms),
    ("words_patience_ms", &[0, 200, 400, 600, 800, 1_000, 1_200, 1_600], |s| &mut s.words_patience_ms),
    ("noise_patience_ms", &[0, 200, 400, 600, 800, 1_000], |s| &mut s.noise_patience_ms),
    ("words_voice_ms", &[0, 300, 500, 700, 900, 1_200], |s| &mut s.words_voice_ms),
    ("likely_machine_ms", &[1_000, 1_200, 1_400, 1_600, 1_800, 2_000, 2_400, 2_800], |s| {
        &mut s.likely_machine_ms
    }),
    ("rising_ms", &[0, 40, 80, 120, 160], |s| &mut s.rising_ms),
    ("shortest_voice_ms", &[80, 100, 120, 140, 160], |s| &mut s.shortest_voice_ms),
];

/// Tries thresholds on the tuning half, beginning with those of the plan: one after the other, then a few at once, at random by
/// the plan's seed. Gives the best with what each change brought. Blocks for many minutes.
///
/// # Errors
/// As [`measure`](super::measure).
pub fn fit(plan: &Plan, progress: &Progress) -> Result<(AnswerSettings, Vec<String>), AnswersError> {
    plan.settings.check()?;
    let listeners = listeners(plan)?;
    let mut calls = Vec::new();
    for (seed, at) in (plan.seed..).zip([0.0, 0.15, 0.3]) {
        (progress.tell)(&format!("the tuning half, seed {seed}"), at);
        let made = Corpus::make(
            Part::Tuning,
            seed,
            plan.share(),
            &plan.settings,
            listeners.as_ref(),
            Along::ToTheLimit,
        )?;
        calls.extend(made.calls);
    }
    let mut best = plan.settings.clone();
    let book = Book::new(&plan.settings.phrases);
    let words: Vec<_> = calls.iter().map(|call| super::told(call, &book)).collect();
    let score = |settings: &AnswerSettings| score(&calls, &words, settings);
    let mut least = score(&best);
    let mut told = vec![format!("as given: {least}")];
    for round in 0..ROUNDS {
        let before = least.cost();
        for (name, values, knob) in KNOBS {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            (progress.tell)(name, 0.5 + 0.25 * round as f64 / ROUNDS as f64);
            for value in values {
                let mut other = best.clone();
                *knob(&mut other) = *value;
                if other.check().is_err() {
                    continue;
                }
                let found = score(&other);
                if found.cost() < least.cost() - 1e-6 {
                    told.push(format!("{name} = {value}: {found}"));
                    (best, least) = (other, found);
                }
            }
        }
        if least.cost() >= before {
            break;
        }
    }
    let mut random = Rng::with_seed(plan.seed);
    for step in 0..STEPS {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        (progress.tell)("several at once", 0.75 + 0.25 * step as f64 / STEPS as f64);
        let mut other = best.clone();
        let mut changed = Vec::new();
        for _ in 0..2 + random.usize(..3) {
            let (name, values, knob) = KNOBS[random.usize(..KNOBS.len())];
            let value = values[random.usize(..values.len())];
            *knob(&mut other) = value;
            changed.push(format!("{name} = {value}"));
        }
        if other.check().is_err() {
            continue;
        }
        let found = score(&other);
        if found.cost() < least.cost() - 1e-6 {
            told.push(format!("{}: {found}", changed.join(", ")));
            (best, least) = (other, found);
        }
    }
    Ok((best, told))
}

fn score(calls: &[Call], words: &[Vec<(Moment, Told)>], settings: &AnswerSettings) -> Score {
    let limits = Limits::from(settings);
    let runs = each(calls.len(), |n| run(&calls[n], limits, &words[n]));
    tally::score(calls, &runs)
}
