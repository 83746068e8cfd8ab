//! A report about turn taking as one page that needs nothing else: no script, no style sheet, no picture from elsewhere.

use std::fmt::Write as _;

use super::report::{Endpointing, Interruptions, Point, Report, Spread};
use crate::bench::html::escape;

const OURS: &str = "#0b6e99";
const FIXED: &str = "#d9730d";
const PRESETS: &str = "#0f7b6c";
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;

/// Lays the report out as an HTML page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>offhook bench turns</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}\
         table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
         td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}\
         .grid{stroke:#eee}.missed{color:#e03e3e}</style></head><body><h1>offhook bench turns</h1>",
    );
    let made = &report.corpus;
    let _ = write!(
        out,
        "<p>Offhook {}. {}. The {} half of the corpus, seed {}: {} turns with a grammar and {} of open speech in {} calls, {} \
         scenes of interruption.</p>",
        escape(&report.offhook),
        escape(&report.machine.to_string()),
        escape(&report.part),
        report.seed,
        made.turns_grammar,
        made.turns_open,
        made.calls,
        made.scenes
    );
    for missing in &report.left_out {
        let _ = write!(out, "<p>Left out: {}.</p>", escape(missing));
    }
    out.push_str("<h2>Must show</h2><table><tr><th></th><th>found</th><th>limit</th><th></th></tr>");
    for shown in &report.shown {
        let value = shown.value.map_or("–".to_owned(), |value| format!("{value:.1}"));
        let (class, verdict) = if shown.held { ("", "held") } else { ("missed", "missed") };
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{value} {}</td><td>≤ {} {}</td><td class=\"{class}\">{verdict}</td></tr>",
            escape(&shown.what),
            shown.unit,
            shown.limit,
            shown.unit
        );
    }
    out.push_str("</table>");
    for found in &report.endpointing {
        out.push_str(&endpointing(found));
    }
    for found in &report.barge_in {
        out.push_str(&interruptions(found));
    }
    out.push_str("<h2>Cost</h2><table><tr><th>detector</th><th>µs per frame</th></tr>");
    for cost in &report.cost {
        let _ = write!(out, "<tr><td>{}</td><td>{:.1}</td></tr>", escape(&cost.detector), cost.us_per_frame);
    }
    out.push_str("</table></body></html>\n");
    out
}

fn endpointing(found: &Endpointing) -> String {
    let mut out = format!(
        "<h2>Ends of turns, {}, {}</h2><p>Each point is a setting: how many turns it cuts off, and how long the others wait on \
         average. Further down and to the left is better.</p>",
        escape(&found.speech),
        escape(&found.detector)
    );
    out.push_str(&frontier(found));
    out.push_str(
        "<table><tr><th>at most cut off</th><th>ours, mean</th><th>p95</th><th>fixed silence, mean</th><th>p95</th>\
         <th>ours of fixed</th></tr>",
    );
    for at in &found.at {
        let told = |point: &Option<Point>| {
            point.as_ref().map_or("<td>–</td><td>–</td>".to_owned(), |point| {
                format!("<td>{:.0} ms</td><td>{:.0} ms</td>", point.mean_ms, point.p95_ms)
            })
        };
        let ratio = at.ratio.map_or("–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
        let _ = write!(
            out,
            "<tr><td>{} %</td>{}{}<td>{ratio}</td></tr>",
            at.percent,
            told(&at.ours),
            told(&at.fixed)
        );
    }
    out + "</table>"
}

/// Cut-offs across, mean delay up.
fn frontier(found: &Endpointing) -> String {
    let points = || found.ours.iter().chain(&found.presets).chain(&found.fixed);
    let most = |pick: fn(&Point) -> f64| points().map(pick).fold(1.0, f64::max) * 1.05;
    let (widest, highest) = (most(|point| point.cut_off_percent), most(|point| point.mean_ms));
    let across = |percent: f64| MARGIN + percent / widest * (WIDTH - 2.0 * MARGIN);
    let up = |millis: f64| HEIGHT - MARGIN + 12.0 - millis / highest * (HEIGHT - MARGIN - 12.0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for mark in 0..=5 {
        let share = f64::from(mark) / 5.0;
        let (x, y) = (across(share * widest), up(share * highest));
        let (bottom, right) = (HEIGHT - MARGIN + 12.0, WIDTH - MARGIN);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"12\" y2=\"{bottom:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} %</text>\
             <line class=\"grid\" x1=\"{MARGIN}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
            bottom + 14.0,
            share * widest,
            MARGIN - 4.0,
            y + 4.0,
            share * highest
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">turns cut off</text><text x=\"2\" y=\"9\">mean delay, ms</text>",
        WIDTH - 4.0,
        HEIGHT - 4.0
    );
    for (points, colour, joined) in
        [(&found.fixed, FIXED, true), (&found.ours, OURS, true), (&found.presets, PRESETS, false)]
    {
        if joined {
            let line =
                points.iter().map(|p| format!("{:.1},{:.1}", across(p.cut_off_percent), up(p.mean_ms)));
            let line = line.collect::<Vec<_>>().join(" ");
            let _ = write!(
                out,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
        }
        for point in points {
            let (x, y) = (across(point.cut_off_percent), up(point.mean_ms));
            let radius = if joined { 2.5 } else { 5.0 };
            let _ = write!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"><title>{}: {:.1} %, {:.0} ms</title></circle>",
                escape(&point.name),
                point.cut_off_percent,
                point.mean_ms
            );
        }
    }
    let legend = [(OURS, "balanced, more or less patient"), (PRESETS, "presets"), (FIXED, "fixed silences")];
    out.push_str("</svg><p>");
    for (colour, name) in legend {
        let _ = write!(out, "<span style=\"color:{colour}\">■</span> {name} &nbsp; ");
    }
    out + "</p>"
}

fn interruptions(found: &Interruptions) -> String {
    let mut out = format!(
        "<h2>Interruptions, {}</h2><table><tr><th></th><th>p50</th><th>p95</th><th>of</th></tr>",
        escape(&found.detector)
    );
    let mut row = |name: &str, spread: &Spread| {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{:.0} ms</td><td>{:.0} ms</td><td>{}</td></tr>",
            spread.p50, spread.p95, spread.count
        );
    };
    row("onset → duck", &found.onset_to_duck_ms);
    row("likely speech → duck", &found.likely_speech_to_duck_ms);
    row("onset → last frame at full level", &found.onset_to_last_full_frame_ms);
    row("onset → silence (40 dB down)", &found.onset_to_silence_ms);
    row("onset → stopped", &found.onset_to_stop_ms);
    let _ = write!(
        out,
        "</table><p>Missed: {:.1} %.</p><table><tr><th>sound</th><th>heard</th><th>stopped the bot</th><th>its voice went down</th></tr>",
        found.missed_percent
    );
    for class in &found.classes {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{:.1} %</td><td>{:.1} %</td></tr>",
            escape(&class.class),
            class.scenes,
            class.false_stops_percent,
            class.ducks_percent
        );
    }
    out.push_str("</table><table><tr><th>echo</th><th>false stops per hour of bot speech</th><th>voice down per hour</th></tr>");
    for echo in &found.echo {
        let _ = write!(
            out,
            "<tr><td>{} dB</td><td>{:.1}</td><td>{:.1}</td></tr>",
            echo.db, echo.false_stops_per_hour, echo.ducks_per_hour
        );
    }
    out + "</table>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::turns::report::{Cost, Echoed};

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_lets_no_name_break_it() {
        let point = |setting: f64| Point {
            name: "<b>".into(),
            setting,
            cut_off_percent: 20.0 / setting,
            mean_ms: 300.0 * setting,
            ..Point::default()
        };
        let points = || (1..5_u8).map(|n| point(f64::from(n))).collect::<Vec<_>>();
        let mut report = Report {
            endpointing: vec![Endpointing::new("<script>", "grammar", points(), vec![point(1.0)], points())],
            barge_in: vec![Interruptions {
                echo: vec![Echoed::new(-20.0, 0.5, 1, 2)],
                ..Interruptions::default()
            }],
            cost: vec![Cost { detector: "webrtc".into(), us_per_frame: 3.0, ..Cost::default() }],
            ..Report::default()
        };
        report.shown = report.judged();
        let page = page(&report);
        for word in ["<script>", "<b>", "http:", "https:", "NaN", "inf"] {
            assert!(!page.contains(word), "{word}");
        }
        for part in ["<svg", "polyline", "Must show", "&lt;script&gt;", "held", "missed"] {
            assert!(page.contains(part), "{part}");
        }
    }
}
