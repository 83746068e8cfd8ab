//! Figures out of outcomes.

use std::collections::BTreeMap;

use super::corpus::{Class, Scene};
use super::report::{ClassFigures, Echoed, Interruptions, Point, Spread};
use super::stage::{Answers, Outcome, Reaction};

/// An interruption must have been acted on so many milliseconds after the caller's last sound: words come late.
const IN_TIME_MS: f64 = 500.0;

/// Counts outcomes.
#[derive(Default)]
pub(super) struct Tally {
    delays: Vec<f64>,
    turns: usize,
    cut_offs: usize,
    never: usize,
    false_turns: usize,
    witnesses: BTreeMap<String, usize>,
    cut_off_by: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn add(&mut self, answers: &Answers) {
        self.false_turns += answers.false_turns;
        for outcome in &answers.outcomes {
            self.turns += 1;
            match outcome {
                Outcome::Answered { delay_ms, witness } => {
                    self.delays.push(*delay_ms);
                    *self.witnesses.entry(witness.name().to_owned()).or_default() += 1;
                }
                Outcome::CutOff { witness, .. } => {
                    self.cut_offs += 1;
                    *self.cut_off_by.entry(witness.name().to_owned()).or_default() += 1;
                }
                Outcome::Never { waited_ms } => {
                    self.never += 1;
                    self.delays.push(*waited_ms);
                }
            }
        }
    }

    pub(super) fn point(self, name: &str, setting: f64) -> Point {
        let spread = Spread::of(self.delays);
        Point {
            name: name.to_owned(),
            setting,
            turns: self.turns,
            cut_off_percent: percent(self.cut_offs, self.turns),
            mean_ms: spread.mean,
            p50_ms: spread.p50,
            p95_ms: spread.p95,
            never: self.never,
            false_turns: self.false_turns,
            witnesses: self.witnesses,
            cut_off_by: self.cut_off_by,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of turns")]
pub(super) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

pub(super) fn interruptions(
    detector: &str,
    scenes: &[Scene],
    reactions: &[Reaction],
    echo: Vec<Echoed>,
) -> Interruptions {
    let all = || scenes.iter().zip(reactions);
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    let (mut missed, mut false_before, mut speech) = (Vec::new(), 0, 0);
    let [mut duck, mut likely, mut full, mut silent, mut stopped] = [const { Vec::new() }; 5];
    for (scene, reaction) in all().filter(|(scene, _)| scene.class == Class::Speech) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a scene")]
        let (onset, end) = (scene.onset as f64, scene.end as f64);
        speech += 1;
        if reaction.stopped.is_some_and(|stopped| stopped <= onset) {
            // The noise did it: nothing is known of what the voice would have done.
            false_before += 1;
            continue;
        }
        if reaction.stopped.is_none_or(|stopped| stopped > end + IN_TIME_MS) {
            missed.push(scene.what.clone());
            continue;
        }
        if let Some(reason) = reaction.by {
            *by.entry(reason.name().to_owned()).or_default() += 1;
        }
        duck.extend(reaction.ducked.map(|ducked| ducked - onset));
        likely.extend(reaction.ducked.zip(reaction.noticed).map(|(ducked, noticed)| ducked - noticed));
        full.push((reaction.full_until - onset).max(0.0));
        silent.push((reaction.loud_until - onset).max(0.0));
        stopped.extend(reaction.silent_from.map(|from| from - onset));
    }
    let classes = Class::ALL.into_iter().filter(|class| *class != Class::Speech).map(|class| {
        // What made the bot stop before it was heard is another matter.
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a scene")]
        let before = |(scene, reaction): &(&Scene, &Reaction)| {
            class != Class::Noise && reaction.stopped.is_some_and(|stopped| stopped <= scene.onset as f64)
        };
        let of_class: Vec<_> =
            all().filter(|(scene, _)| scene.class == class).filter(|both| !before(both)).collect();
        let count =
            |what: fn(&Reaction) -> bool| of_class.iter().filter(|(_, reaction)| what(reaction)).count();
        ClassFigures {
            class: class.name().to_owned(),
            scenes: of_class.len(),
            false_stops: count(|reaction| reaction.stopped.is_some()),
            false_stops_percent: percent(count(|reaction| reaction.stopped.is_some()), of_class.len()),
            ducks_percent: percent(
                count(|reaction| reaction.restored > 0 || reaction.ducked.is_some()),
                of_class.len(),
            ),
            stopped_by: of_class
                .iter()
                .filter(|(_, reaction)| reaction.stopped.is_some())
                .map(|(scene, reaction)| {
                    format!("{} ({})", scene.what, reaction.by.map_or("?", crate::turn::By::name))
                })
                .collect(),
        }
    });
    Interruptions {
        detector: detector.to_owned(),
        interruptions: speech,
        missed_percent: percent(missed.len(), speech),
        missed,
        stopped_before_percent: percent(false_before, speech),
        onset_to_duck_ms: Spread::of(duck),
        likely_speech_to_duck_ms: Spread::of(likely),
        onset_to_last_full_frame_ms: Spread::of(full),
        onset_to_silence_ms: Spread::of(silent),
        onset_to_stop_ms: Spread::of(stopped),
        by,
        classes: classes.collect(),
        echo,
    }
}
