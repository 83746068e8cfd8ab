//! A report as one page that needs nothing else: no script, no style sheet, no picture from elsewhere.

use std::fmt::Write as _;

use super::distribution::Distribution;
use super::report::{Report, Run};

/// Colours of the curves; a run keeps its own through the page.
const COLOURS: [&str; 8] =
    ["#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72", "#6940a5", "#64473a", "#9b9a27", "#e03e3e"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;

/// Lays the report out as an HTML page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>offhook bench</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}\
         table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
         td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}\
         .axis{stroke:#999}.grid{stroke:#eee}</style></head><body><h1>offhook bench</h1>",
    );
    let _ =
        write!(out, "<p>Offhook {}. {}.</p>", escape(&report.offhook), escape(&report.machine.to_string()));
    out.push_str("<h2>Cost</h2>");
    out.push_str(&cost_table(report));
    out.push_str(&cost_chart(report));
    out.push_str("<h2>Where the time goes</h2><p>Medians; the thin line reaches to the 99th percentile.</p>");
    for (i, run) in report.runs.iter().enumerate() {
        out.push_str(&waterfall(run, COLOURS[i % COLOURS.len()]));
    }
    out.push_str("<h2>Distributions</h2>");
    let names = Run::default().distributions().map(|(name, _)| name);
    for (figure, name) in names.into_iter().enumerate() {
        let curves: Vec<_> = report
            .runs
            .iter()
            .enumerate()
            .filter_map(|(i, run)| Some((i, run.title(), run.distributions()[figure].1?)))
            .collect();
        if !curves.is_empty() {
            let _ = write!(out, "<h3>{name}</h3>");
            out.push_str(&curve_chart(&curves));
        }
    }
    out.push_str(
        "<h2>Pacing</h2><p>Share of the bot's packets by how far they were from even, in microseconds.</p>",
    );
    for (i, run) in report.runs.iter().enumerate() {
        if let Some(pacing) = &run.pacing_error_us {
            let _ = write!(out, "<h3>{}</h3>", escape(&run.title()));
            out.push_str(&histogram(pacing, COLOURS[i % COLOURS.len()]));
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn cost_table(report: &Report) -> String {
    let mut out = String::from(
        "<table><tr><th>run</th><th>CPU, µs per call-second</th><th>times the floor</th><th>KiB per call</th>\
         <th>lost in the engine</th><th>ticks skipped</th></tr>",
    );
    for run in &report.runs {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("–".into(), |v| format!("{v:.digits$}"));
        #[expect(clippy::cast_precision_loss, reason = "bytes of a call")]
        let kilobytes = run.bytes_per_call.map(|bytes| bytes as f64 / 1_024.0);
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&run.title()),
            number(run.cpu_us_per_call_second, 0),
            number(run.cpu_ratio_to_floor, 2),
            number(kilobytes, 1),
            run.lost_in_engine(),
            run.skipped_ticks,
        );
    }
    out + "</table>"
}

/// Processor time per call against the number of calls; nothing when there are fewer than two numbers of calls.
#[expect(clippy::cast_precision_loss, reason = "numbers of calls")]
fn cost_chart(report: &Report) -> String {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for run in &report.runs {
        let Some(cpu) = run.cpu_us_per_call_second else { continue };
        let name = format!("{} on {}", run.fixture, run.transport);
        let point = (run.calls as f64, cpu);
        match lines.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push(point),
            None => lines.push((name, vec![point])),
        }
    }
    let floor = report.floor.iter().map(|floor| (floor.calls as f64, floor.cpu_us_per_call_second));
    lines.push(("floor".into(), floor.collect()));
    lines.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    if lines.iter().all(|(_, points)| points.len() < 2) {
        return String::new();
    }
    let all = || lines.iter().flat_map(|(_, points)| points);
    let most = |pick: fn(&(f64, f64)) -> f64| all().map(pick).fold(1.0, f64::max) * 1.05;
    let (x, y) = (Axis::linear(most(|p| p.0)), Axis::linear(most(|p| p.1)));
    let mut chart = Chart::new(&x, &y, "calls", "µs per call-second");
    for (i, (name, points)) in lines.iter().enumerate() {
        chart.line(&x, &y, points.iter().copied(), COLOURS[i % COLOURS.len()], name);
    }
    chart.finish()
}

/// Stages one after the other, as one turn goes through them.
fn waterfall(run: &Run, colour: &str) -> String {
    let millis = |values: &Option<Distribution>, by: f64| values.as_ref().map(|v| (v.p50 / by, v.p99 / by));
    let stages = [
        ("packet → frame", millis(&run.arrival_to_frame_us, 1e3)),
        ("packet → VAD", millis(&run.arrival_to_vad_us, 1e3)),
        ("end of speech → endpoint", millis(&run.speech_end_to_endpoint_ms, 1.0)),
        ("reply → first frame", millis(&run.reply_to_first_frame_us, 1e3)),
        ("interruption → silent", millis(&run.barge_in_to_last_frame_ms, 1.0)),
    ];
    let stages: Vec<_> = stages.into_iter().filter_map(|(name, times)| Some((name, times?))).collect();
    if stages.is_empty() {
        return String::new();
    }
    let most = stages.iter().map(|(_, (_, p99))| *p99).fold(1.0, f64::max);
    let (left, row) = (170.0, 22.0);
    let scale = (WIDTH - left - 90.0) / most;
    #[expect(clippy::cast_precision_loss, reason = "five rows at most")]
    let height = row * (stages.len() as f64 + 1.0);
    let mut out =
        format!("<h3>{}</h3><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">", escape(&run.title()));
    for (i, (name, (p50, p99))) in stages.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "five rows at most")]
        let y = row * i as f64 + 4.0;
        let (bar, line, middle) = (p50 * scale, p99 * scale, y + 7.0);
        let text = left + line + 6.0;
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{:.1}\">{name}</text>\
             <rect x=\"{left}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <line x1=\"{left}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"{colour}\"/>\
             <text x=\"{text:.1}\" y=\"{:.1}\">{p50:.2} / {p99:.2} ms</text>",
            y + 11.0,
            left + line,
            y + 11.0,
        );
    }
    out + "</svg>"
}

/// Share of values up to each value, over a logarithmic axis.
fn curve_chart(curves: &[(usize, String, &Distribution)]) -> String {
    let values = || curves.iter().flat_map(|(_, _, values)| values.curve.iter().map(|(_, value)| *value));
    let least = values().filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
    let x = Axis::logarithmic(least.clamp(1e-3, 1e9), values().fold(1e-2, f64::max));
    let y = Axis::linear(1.0);
    let mut chart = Chart::new(&x, &y, "", "share");
    for (i, name, values) in curves {
        let points = values.curve.iter().map(|(share, value)| (*value, *share));
        chart.line(&x, &y, points, COLOURS[i % COLOURS.len()], name);
    }
    chart.finish()
}

/// The curve's slope as bars: the share of values between each two quantiles' values.
fn histogram(values: &Distribution, colour: &str) -> String {
    let most = values.p999.max(1.0);
    const BARS: usize = 40;
    let share_at = |value: f64| {
        let above = values.curve.iter().position(|(_, v)| *v > value).unwrap_or(values.curve.len());
        let Some((q1, v1)) = above.checked_sub(1).map(|i| values.curve[i]) else { return 0.0 };
        let Some((q2, v2)) = values.curve.get(above).copied() else { return 1.0 };
        q1 + (q2 - q1) * ((value - v1) / (v2 - v1).max(1e-9)).clamp(0.0, 1.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "forty bars")]
    let edge = |i: usize| most * i as f64 / BARS as f64;
    let bars: Vec<f64> = (0..BARS).map(|i| share_at(edge(i + 1)) - share_at(edge(i))).collect();
    let (x, y) = (Axis::linear(most), Axis::linear(bars.iter().copied().fold(0.01, f64::max)));
    let mut chart = Chart::new(&x, &y, "µs", "share");
    for (i, share) in bars.iter().enumerate() {
        let (left, right, top) = (x.across(edge(i)), x.across(edge(i + 1)), y.up(*share));
        let _ = write!(
            chart.out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            right - left - 1.0,
            y.up(0.0) - top,
        );
    }
    chart.finish()
}

/// From values to places in the picture.
struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    const fn linear(to: f64) -> Self {
        Self { from: 0.0, to, logarithmic: false }
    }

    /// Both above zero.
    fn logarithmic(from: f64, to: f64) -> Self {
        Self { from: from.log10().floor(), to: to.max(from * 10.0).log10().ceil(), logarithmic: true }
    }

    fn share(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1e-9).log10() } else { value };
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    fn across(&self, value: f64) -> f64 {
        MARGIN + self.share(value) * (WIDTH - 2.0 * MARGIN)
    }

    fn up(&self, value: f64) -> f64 {
        HEIGHT - MARGIN + 12.0 - self.share(value) * (HEIGHT - MARGIN - 12.0)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "powers of ten between a nanosecond and a minute"
            )]
            let powers = self.from as i32..=self.to as i32;
            return powers.map(|power| 10_f64.powi(power)).map(|value| (value, format!("{value}"))).collect();
        }
        let step = self.to / 5.0;
        let digits = if self.to < 5.0 { 2 } else { 0 };
        (0..=5).map(|i| step * f64::from(i)).map(|value| (value, format!("{value:.digits$}"))).collect()
    }
}

struct Chart {
    out: String,
    legend: Vec<(String, String)>,
}

impl Chart {
    fn new(x: &Axis, y: &Axis, below: &str, beside: &str) -> Self {
        let mut out = String::new();
        for (value, mark) in x.marks() {
            let at = x.across(value);
            let (top, bottom) = (12.0, HEIGHT - MARGIN + 12.0);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
                bottom + 14.0
            );
        }
        for (value, mark) in y.marks() {
            let at = y.up(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                WIDTH - MARGIN,
                MARGIN - 4.0,
                at + 4.0
            );
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{below}</text><text x=\"2\" y=\"9\">{beside}</text>",
            WIDTH - 4.0,
            HEIGHT - MARGIN + 38.0
        );
        Self { out, legend: Vec::new() }
    }

    fn line(
        &mut self,
        x: &Axis,
        y: &Axis,
        points: impl Iterator<Item = (f64, f64)>,
        colour: &str,
        name: &str,
    ) {
        let points: Vec<_> = points.map(|(a, b)| format!("{:.1},{:.1}", x.across(a), y.up(b))).collect();
        let points = points.join(" ");
        let _ = write!(
            self.out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        self.legend.push((name.to_owned(), colour.to_owned()));
    }

    fn finish(self) -> String {
        let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">{}</svg>", self.out);
        if !self.legend.is_empty() {
            out.push_str("<p>");
            for (name, colour) in &self.legend {
                let _ = write!(out, "<span style=\"color:{colour}\">■</span> {} &nbsp; ", escape(name));
            }
            out.push_str("</p>");
        }
        out
    }
}

/// Text that cannot break the page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::distribution::{Spans, Unit};
    use crate::bench::machine::Machine;
    use crate::bench::report::{Floor, SCHEMA};

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_lets_no_name_break_it() {
        let mut spans = Spans::default();
        (1..500).for_each(|micros| spans.add(Duration::from_micros(micros)));
        let run = |calls| Run {
            fixture: "<script>".into(),
            transport: "rtp".into(),
            format: "ulaw".into(),
            calls,
            pacing_error_us: spans.distribution(Unit::Micros),
            arrival_to_vad_us: spans.distribution(Unit::Micros),
            cpu_us_per_call_second: Some(200.0),
            ..Run::default()
        };
        let floor = Floor {
            calls: 1,
            seconds: 1.0,
            cpu_us_per_call_second: 100.0,
            arrival_to_read_us: None,
            pacing_error_us: None,
        };
        let machine = Machine::default();
        let runs = vec![run(1), run(100)];
        let page = page(&Report { schema: SCHEMA, offhook: "0".into(), machine, floor: vec![floor], runs });
        for word in ["<script>", "http:", "https:", "NaN", "inf"] {
            assert!(!page.contains(word), "{word}");
        }
        for part in ["<svg", "pacing_error_us", "arrival_to_vad_us", "µs per call-second", "&lt;script&gt;"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
