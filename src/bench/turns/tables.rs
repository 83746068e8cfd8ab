//! The report as tables for a terminal.

use std::fmt;

use super::report::{Endpointing, Interruptions, Made, Point, Report};

/// The tables for a terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        let Made { calls, turns_grammar, turns_open, turns_with_pauses, seconds, scenes } = &self.corpus;
        writeln!(
            f,
            "the {} half, seed {}{}: {calls} calls of {:.0} min, {turns_grammar} turns with a grammar and {turns_open} of open \
             speech, {turns_with_pauses} of them with pauses of 200 ms or more; {scenes} scenes",
            self.part,
            self.seed,
            if self.quick { " (a sixth of it)" } else { "" },
            seconds / 60.0,
        )?;
        for missing in &self.left_out {
            writeln!(f, "left out: {missing}")?;
        }
        self.endpointing.iter().try_for_each(|found| write!(f, "{found}"))?;
        writeln!(f, "\nthe preset balanced, by what the turns have in common")?;
        for slice in &self.slices {
            writeln!(
                f,
                "  {:<6}{:<24}{:>6} turns{:>8.1} % cut off{:>7.0} ms mean{:>5} never",
                slice.by, slice.name, slice.turns, slice.cut_off_percent, slice.mean_ms, slice.never
            )?;
        }
        self.barge_in.iter().try_for_each(|found| write!(f, "{found}"))?;
        writeln!(f, "\ncost of the turn taker")?;
        for cost in &self.cost {
            write!(f, "  {:<12}{:>8.1} µs per frame", cost.detector, cost.us_per_frame)?;
            if let Some(share) = cost.neural_share {
                write!(f, ", the neural detector on {:.1} % of frames", share * 100.0)?;
            }
            writeln!(f, "{}", if cost.debug_build { " (not an optimised build: says nothing)" } else { "" })?;
        }
        writeln!(f, "\nmust show")?;
        for shown in &self.shown {
            let unit = &shown.unit;
            let value = shown.value.map_or("–".to_owned(), |value| format!("{value:.1} {unit}"));
            let verdict = if shown.held { "held" } else { "MISSED" };
            let limit = format!("≤ {} {unit}", shown.limit);
            writeln!(f, "  {:<64}{value:>12}{:>12}  {verdict}", shown.what, limit.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Endpointing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = self.ours.first().map_or(0, |point| point.turns);
        writeln!(f, "\nends of turns, {}, {} ({turns} turns)", self.speech, self.detector)?;
        writeln!(
            f,
            "  {:<24}{:>10}{:>9}{:>9}{:>9}{:>7}{:>7}  decided by",
            "", "cut off", "mean", "p50", "p95", "never", "false"
        )?;
        for point in self.ours.iter().chain(&self.presets).chain(&self.fixed) {
            let names = point.witnesses.iter().map(|(name, count)| format!("{name} {count}"));
            let decided =
                if point.witnesses.len() > 1 { names.collect::<Vec<_>>().join(", ") } else { String::new() };
            writeln!(
                f,
                "  {:<24}{:>8.1} %{:>9.0}{:>9.0}{:>9.0}{:>7}{:>7}  {decided}",
                point.name,
                point.cut_off_percent,
                point.mean_ms,
                point.p50_ms,
                point.p95_ms,
                point.never,
                point.false_turns
            )?;
        }
        let all = self.at.iter().map(|at| (at, "picked here"));
        let all = all.chain(self.chosen.iter().map(|at| (at, "picked on the tuning half")));
        for (at, picked) in all {
            let told = |point: &Option<Point>| {
                point.as_ref().map_or("none is so careful".to_owned(), |point| {
                    let Point { name, cut_off_percent, mean_ms, p95_ms, .. } = point;
                    format!(
                        "{mean_ms:.0} ms mean, {p95_ms:.0} ms p95, {cut_off_percent:.1} % cut off ({name})"
                    )
                })
            };
            write!(f, "  at {} %, {picked}: {}; fixed: {}", at.percent, told(&at.ours), told(&at.fixed))?;
            writeln!(f, "{}", at.ratio.map_or(String::new(), |ratio| format!("; {:.0} %", ratio * 100.0)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Interruptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ninterruptions, {} ({})", self.detector, self.interruptions)?;
        for (name, spread) in [
            ("onset → duck", &self.onset_to_duck_ms),
            ("likely speech → duck", &self.likely_speech_to_duck_ms),
            ("onset → last frame at full level", &self.onset_to_last_full_frame_ms),
            ("onset → silence (40 dB down)", &self.onset_to_silence_ms),
            ("onset → stopped", &self.onset_to_stop_ms),
        ] {
            writeln!(
                f,
                "  {name:<34} p50 {:>5.0} ms, p95 {:>5.0} ms, of {}",
                spread.p50, spread.p95, spread.count
            )?;
        }
        let by = self.by.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ");
        writeln!(
            f,
            "  missed {:.1} %, stopped before by noise {:.1} %; confirmed by {by}",
            self.missed_percent, self.stopped_before_percent
        )?;
        for class in &self.classes {
            writeln!(
                f,
                "  {:<12}{:>4} heard, {:>5.1} % stopped the bot, for {:>5.1} % its voice went down",
                class.class, class.scenes, class.false_stops_percent, class.ducks_percent
            )?;
        }
        for echo in &self.echo {
            writeln!(
                f,
                "  echo at {:>3} dB: {:>7.1} false stops per hour of bot speech ({} in {:.0} min), voice down {:.1} times",
                echo.db,
                echo.false_stops_per_hour,
                echo.false_stops,
                echo.hours * 60.0,
                echo.ducks_per_hour
            )?;
        }
        Ok(())
    }
}
