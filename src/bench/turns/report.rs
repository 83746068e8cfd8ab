//! What was found about turn taking: one plain value, written as JSON, printed as tables.
//!
//! The names of its fields are the keys of `offhook bench turns --json`; docs/turns-benchmark.md explains them. They do not
//! change without a line in the change log and a new [`SCHEMA`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::machine::Machine;

/// The number of this form of report.
pub const SCHEMA: u32 = 3;

/// What the tuning half picked for each of [`CUT_OFFS`]: our preset, and the fixed silence in milliseconds with a grammar and on
/// open speech. See `scripts/fit-turns`.
const CHOSEN: [(&str, f64, f64); 3] =
    [("patient", 1_080.0, 1_120.0), ("balanced", 920.0, 920.0), ("eager", 800.0, 840.0)];

/// Shares of cut-off turns at which delays are told, in percent.
pub const CUT_OFFS: [f64; 3] = [1.0, 5.0, 10.0];

/// Everything that one benchmark of turn taking found.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// The version of Offhook.
    pub offhook: String,
    /// Where it ran.
    pub machine: Machine,
    /// The part of the corpus: `tuning` or `reported`.
    pub part: String,
    /// What the corpus was made from.
    pub seed: u64,
    /// Whether only a sixth of it was run.
    pub quick: bool,
    /// What the corpus lacks on this machine, and what to install.
    pub left_out: Vec<String>,
    /// The corpus.
    pub corpus: Made,
    /// How ends of turns were found, by detector and kind of speech.
    pub endpointing: Vec<Endpointing>,
    /// How interruptions were taken, by detector.
    pub barge_in: Vec<Interruptions>,
    /// What it costs, by detector.
    pub cost: Vec<Cost>,
    /// What was promised, and whether it holds.
    pub shown: Vec<Shown>,
    /// The preset `balanced` with the default detector, by what was heard behind the caller, by sort of utterance and by voice.
    pub slices: Vec<Slice>,
    /// Every turn under the preset `balanced` with the default detector.
    pub turns: Vec<TurnLine>,
}

/// How large the corpus is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Made {
    /// Calls.
    pub calls: usize,
    /// Turns in them where a grammar is active.
    pub turns_grammar: usize,
    /// Turns of open speech.
    pub turns_open: usize,
    /// Turns with a pause of 200 ms or more in them.
    pub turns_with_pauses: usize,
    /// How long the calls last.
    pub seconds: f64,
    /// Scenes in which something is heard while the bot speaks.
    pub scenes: usize,
}

/// One setting, on all turns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    /// The setting in words.
    pub name: String,
    /// By how much longer the silences are, or the fixed silence; in milliseconds.
    pub setting: f64,
    /// Turns.
    pub turns: usize,
    /// Share of them that was taken to be over before it was.
    pub cut_off_percent: f64,
    /// From the end of the caller's speech to the decision, of turns that were not cut off; of those that nobody decided
    /// on the time that was waited.
    pub mean_ms: f64,
    /// Half of them were decided by then.
    pub p50_ms: f64,
    /// 95 in 100.
    pub p95_ms: f64,
    /// Turns that nobody decided on before the next one.
    pub never: usize,
    /// Ends that were found before anything was said: noise was taken for a turn.
    pub false_turns: usize,
    /// Who decided how many turns that were not cut off.
    pub witnesses: BTreeMap<String, usize>,
    /// Who cut off how many.
    pub cut_off_by: BTreeMap<String, usize>,
}

/// How ends of turns were found with one detector.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Endpointing {
    /// The detector of speech.
    pub detector: String,
    /// `grammar` where the recogniser listened, `open` where nobody did.
    pub speech: String,
    /// The preset `balanced`, with all its silences longer or shorter: the frontier.
    pub ours: Vec<Point>,
    /// The presets as they are.
    pub presets: Vec<Point>,
    /// The same detector with a fixed silence.
    pub fixed: Vec<Point>,
    /// The best of each at a share of cut-offs: both picked on what is reported.
    pub at: Vec<AtCutOffs>,
    /// What was picked for that share on the tuning half, as it does here.
    pub chosen: Vec<AtCutOffs>,
}

/// The best setting of ours and of the fixed ones that cuts off no more than a share of turns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AtCutOffs {
    /// At most this share of turns is cut off.
    pub percent: f64,
    /// Ours; none where none is so careful.
    pub ours: Option<Point>,
    /// The fixed one.
    pub fixed: Option<Point>,
    /// Mean delay of ours by that of the fixed one.
    pub ratio: Option<f64>,
}

impl AtCutOffs {
    fn new(percent: f64, ours: Option<Point>, fixed: Option<Point>) -> Self {
        let ratio =
            ours.as_ref().zip(fixed.as_ref()).map(|(ours, fixed)| ours.mean_ms / fixed.mean_ms.max(1.0));
        Self { percent, ours, fixed, ratio }
    }
}

impl Endpointing {
    /// With the best of each.
    pub(super) fn new(
        detector: &str,
        speech: &str,
        ours: Vec<Point>,
        presets: Vec<Point>,
        fixed: Vec<Point>,
    ) -> Self {
        let best = |points: &[Point], percent: f64| {
            let careful = points.iter().filter(|point| point.cut_off_percent <= percent);
            careful.min_by(|a, b| a.mean_ms.total_cmp(&b.mean_ms)).cloned()
        };
        let at = CUT_OFFS.map(|percent| {
            let all: Vec<Point> = ours.iter().chain(&presets).cloned().collect();
            AtCutOffs::new(percent, best(&all, percent), best(&fixed, percent))
        });
        let chosen = CUT_OFFS.iter().zip(CHOSEN).map(|(percent, (preset, with_grammar, open))| {
            let silence = if speech == "grammar" { with_grammar } else { open };
            let ours = presets.iter().find(|point| point.name == preset).cloned();
            // Of a quick run the nearest that there is.
            let off = |point: &&Point| (point.setting - silence).abs();
            let fixed = fixed.iter().min_by(|a, b| off(a).total_cmp(&off(b))).cloned();
            AtCutOffs::new(*percent, ours, fixed)
        });
        let chosen = chosen.collect();
        Self {
            detector: detector.to_owned(),
            speech: speech.to_owned(),
            ours,
            presets,
            fixed,
            at: at.to_vec(),
            chosen,
        }
    }

    fn at(&self, percent: f64) -> Option<&AtCutOffs> {
        self.at.iter().find(|at| (at.percent - percent).abs() < 1e-9)
    }
}

/// Some values, told by a few of them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Half are no larger.
    pub p50: f64,
    /// 95 in 100 are no larger.
    pub p95: f64,
}

impl Spread {
    /// Of these values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts"
        )]
        let at = |share: f64| {
            let place = ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
            values.get(place).copied().unwrap_or_default()
        };
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        Self { count: values.len(), mean, p50: at(0.5), p95: at(0.95) }
    }
}

/// How interruptions were taken with one detector.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Interruptions {
    /// The detector of speech.
    pub detector: String,
    /// Scenes in which the caller interrupts.
    pub interruptions: usize,
    /// Share of them that the bot spoke on in.
    pub missed_percent: f64,
    /// What he said in those.
    pub missed: Vec<String>,
    /// Share of them in which the bot had stopped before he spoke: a noise did it.
    pub stopped_before_percent: f64,
    /// From the first 10 ms of his voice to the decision that the bot's voice goes down.
    pub onset_to_duck_ms: Spread,
    /// The same from the first frame that the detector took for speech.
    pub likely_speech_to_duck_ms: Spread,
    /// From the first 10 ms of his voice to the last frame that the bot sent at full level.
    pub onset_to_last_full_frame_ms: Spread,
    /// To the last frame that was less than 40 dB below its full level: from then on the caller hears silence.
    pub onset_to_silence_ms: Spread,
    /// To the last frame that it sent at all: from then on it cannot come back.
    pub onset_to_stop_ms: Spread,
    /// What confirmed how many.
    pub by: BTreeMap<String, usize>,
    /// What should not have stopped the bot.
    pub classes: Vec<ClassFigures>,
    /// Its own echo, by level.
    pub echo: Vec<Echoed>,
}

/// Sounds of one class.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ClassFigures {
    /// `cough`, `click`, `backchannel`, `key_tone`.
    pub class: String,
    /// How many were heard.
    pub scenes: usize,
    /// How many stopped the bot.
    pub false_stops: usize,
    /// Their share.
    pub false_stops_percent: f64,
    /// Share of those for which its voice went down.
    pub ducks_percent: f64,
    /// Which stopped it, and what confirmed them.
    pub stopped_by: Vec<String>,
}

/// The bot and its echo.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Echoed {
    /// The echo's level against what was sent.
    pub db: f64,
    /// How long the bot spoke.
    pub hours: f64,
    /// How often it interrupted itself.
    pub false_stops: usize,
    /// The same per hour.
    pub false_stops_per_hour: f64,
    /// How often its voice went down, per hour.
    pub ducks_per_hour: f64,
}

impl Echoed {
    #[expect(clippy::cast_precision_loss, reason = "counts of stops")]
    pub(super) fn new(db: f32, hours: f64, stops: usize, ducks: usize) -> Self {
        Self {
            db: f64::from(db),
            hours,
            false_stops: stops,
            false_stops_per_hour: stops as f64 / hours.max(1e-9),
            ducks_per_hour: ducks as f64 / hours.max(1e-9),
        }
    }
}

/// What the turn taker costs with one detector.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// The detector of speech.
    pub detector: String,
    /// Processor time per frame of 20 ms, all witnesses but the recogniser.
    pub us_per_frame: f64,
    /// Share of frames on which a neural detector ran, 0 to 1; none where there is none.
    pub neural_share: Option<f64>,
    /// It was measured in a build that is not optimised: then it says nothing.
    pub debug_build: bool,
}

/// A promise.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Shown {
    /// What of.
    pub what: String,
    /// What was found; none when it could not be.
    pub value: Option<f64>,
    /// It may be this at most.
    pub limit: f64,
    /// Of both.
    pub unit: String,
    /// Whether it holds.
    pub held: bool,
}

/// Some of the turns under the preset `balanced`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// What they have in common: `noise`, `kind` or `voice`.
    pub by: String,
    /// Which.
    pub name: String,
    /// How many.
    pub turns: usize,
    /// Share of them that was taken to be over before it was.
    pub cut_off_percent: f64,
    /// As [`Point::mean_ms`].
    pub mean_ms: f64,
    /// Turns that nobody decided on before the next one.
    pub never: usize,
}

impl Slice {
    /// The turns by everything that they can have in common.
    pub(super) fn all(turns: &[TurnLine]) -> Vec<Self> {
        type Pick = fn(&TurnLine) -> &str;
        let by: [(&str, Pick); 3] =
            [("noise", |turn| &turn.noise), ("kind", |turn| &turn.kind), ("voice", |turn| &turn.voice)];
        let mut all = Vec::new();
        for (by, pick) in by {
            let names: std::collections::BTreeSet<&str> = turns.iter().map(pick).collect();
            for name in names {
                let of: Vec<_> = turns.iter().filter(|turn| pick(turn) == name).collect();
                let count = |outcome: &str| of.iter().filter(|turn| turn.outcome == outcome).count();
                let delays = of.iter().filter(|turn| turn.outcome != "cut_off").map(|turn| turn.ms);
                all.push(Self {
                    by: by.to_owned(),
                    name: name.to_owned(),
                    turns: of.len(),
                    cut_off_percent: super::tally::percent(count("cut_off"), of.len()),
                    mean_ms: Spread::of(delays.collect()).mean,
                    never: count("never"),
                });
            }
        }
        all
    }
}

/// One turn under the preset `balanced`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TurnLine {
    /// Who spoke.
    pub voice: String,
    /// What was heard behind him.
    pub noise: String,
    /// What sort of utterance.
    pub kind: String,
    /// What he said; of a recording its name.
    pub text: String,
    /// From its first sound to its last.
    pub length_ms: u64,
    /// Its inner silences.
    pub pauses_ms: Vec<u64>,
    /// `answered`, `cut_off`, `never`.
    pub outcome: String,
    /// From the end of speech to the decision; of a cut-off from the decision to the end of speech.
    pub ms: f64,
    /// Who decided.
    pub witness: Option<String>,
}

impl Report {
    /// Holds what was found against what was promised.
    pub(super) fn judged(&self) -> Vec<Shown> {
        let mut all = Vec::new();
        let mut promise = |what: &str, value: Option<f64>, limit: f64, unit: &str| {
            let held = value.is_some_and(|value| value <= limit);
            all.push(Shown { what: what.to_owned(), value, limit, unit: unit.to_owned(), held });
        };
        // The default detector is the first.
        let of = |speech: &str| self.endpointing.iter().find(|found| found.speech == speech);
        let grammar = |percent: f64| of("grammar").and_then(|found| found.at(percent));
        let ratio = |at: Option<&AtCutOffs>| at.and_then(|at| at.ratio).map(|ratio| ratio * 100.0);
        promise(
            "grammar, 5 % cut off: mean delay, of the best fixed silence's",
            ratio(grammar(5.0)),
            50.0,
            "%",
        );
        let mean = grammar(5.0).and_then(|at| Some(at.ours.as_ref()?.mean_ms));
        promise("grammar, 5 % cut off: mean delay", mean, 350.0, "ms");
        promise(
            "grammar, 1 % cut off: mean delay, of the best fixed silence's",
            ratio(grammar(1.0)),
            60.0,
            "%",
        );
        let open = of("open").and_then(|found| found.at(5.0));
        promise("open speech, 5 % cut off: mean delay, of the best fixed silence's", ratio(open), 75.0, "%");
        let barge_in = self.barge_in.first();
        let spread =
            |pick: fn(&Interruptions) -> Spread| barge_in.map(pick).filter(|spread| spread.count > 0);
        let full = spread(|found| found.onset_to_last_full_frame_ms);
        promise("interruption: onset to the last frame at full level, p50", full.map(|s| s.p50), 120.0, "ms");
        promise("interruption: onset to the last frame at full level, p95", full.map(|s| s.p95), 200.0, "ms");
        let likely = spread(|found| found.likely_speech_to_duck_ms);
        promise("interruption: likely speech to ducking, p95", likely.map(|s| s.p95), 80.0, "ms");
        for class in ["cough", "click", "backchannel"] {
            let found = barge_in.and_then(|found| found.classes.iter().find(|of| of.class == class));
            promise(&format!("false stops, {class}"), found.map(|found| found.false_stops_percent), 5.0, "%");
        }
        promise("interruptions missed", barge_in.map(|found| found.missed_percent), 3.0, "%");
        let echo = barge_in.and_then(|found| found.echo.iter().find(|echo| (echo.db + 20.0).abs() < 0.1));
        promise(
            "false stops by echo at −20 dB, in 10 minutes",
            echo.map(|e| e.false_stops_per_hour / 6.0),
            1.0,
            "",
        );
        for cost in &self.cost {
            if let Some(share) = cost.neural_share {
                promise("share of frames on which the neural detector ran", Some(share * 100.0), 30.0, "%");
            } else {
                let value = (!cost.debug_build).then_some(cost.us_per_frame);
                promise(&format!("cost per frame, {}", cost.detector), value, 15.0, "µs");
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(cut_off_percent: f64, mean_ms: f64) -> Point {
        Point { cut_off_percent, mean_ms, ..Point::default() }
    }

    #[test]
    fn the_best_setting_is_the_fastest_that_is_careful_enough() {
        let ours = vec![point(12.0, 150.0), point(4.0, 300.0), point(2.0, 280.0)];
        let found = Endpointing::new("webrtc", "grammar", ours, Vec::new(), vec![point(5.0, 700.0)]);
        let five = found.at(5.0).expect("told at 5 %");
        assert_eq!(five.ours.as_ref().map(|point| point.mean_ms), Some(280.0));
        assert_eq!(five.ratio, Some(0.4));
        let one = found.at(1.0).expect("told at 1 %");
        assert_eq!((one.ours.is_none(), one.ratio), (true, None), "none is so careful");
    }

    #[test]
    fn half_of_the_values_are_no_larger_than_their_median() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.count, spread.p50, spread.p95), (100, 50.0, 95.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    /// The keys that docs/turns-benchmark.md explains: who changes one changes [`SCHEMA`] and the change log too.
    #[test]
    fn the_keys_of_a_report_are_those_that_are_documented() {
        let point = || vec![point(1.0, 1.0)];
        let report = Report {
            endpointing: vec![Endpointing::new("webrtc", "open", point(), point(), point())],
            barge_in: vec![Interruptions {
                classes: vec![ClassFigures::default()],
                echo: vec![Echoed::default()],
                ..Interruptions::default()
            }],
            cost: vec![Cost::default()],
            shown: vec![Shown::default()],
            slices: vec![Slice::default()],
            turns: vec![TurnLine::default()],
            ..Report::default()
        };
        let document = include_str!("../../../docs/turns-benchmark.md");
        let mut keys = std::collections::BTreeSet::new();
        keys_of(&serde_json::to_value(&report).expect("plain data"), &mut keys);
        let missing: Vec<_> = keys.iter().filter(|key| !document.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "docs/turns-benchmark.md does not tell of {missing:?}");
        let text = serde_json::to_string(&report).expect("plain data");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("what we write we read"), report);
    }

    fn keys_of(value: &serde_json::Value, keys: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    keys.insert(key.clone());
                    keys_of(value, keys);
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| keys_of(value, keys)),
            _ => {}
        }
    }
}
