//! `offhook calls`: the latest calls, or one call with its turns and where their time went.
//!
//! Everything is rendered into a `String` from plain data; only `run` reads the store and prints. Texts and
//! numbers come from callers: characters that would move the cursor or colour the terminal are shown as `·`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::ConfigArg;
use crate::id::CallId;
use crate::store::{
    BotLatencies, CallRecord, CallSummary, Direction, HISTOGRAM_STEP_MS, Interruption, Latencies,
    Percentiles, Reply, ServerRecord, Stage, Store, Taking, TurnKind, TurnRecord,
};
use crate::time::WallTime;
use crate::turn::Witness;

/// What is shown where nothing is known.
const NOTHING: &str = "–";

/// Characters of the bars of a waterfall.
const BAR: usize = 40;

/// The arguments of `offhook calls`.
#[derive(clap::Args, Debug, Clone)]
pub struct CallsArgs {
    /// Show this call with its turns: its id, or the beginning of it
    pub id: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// How many calls to list, the latest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Show how long the bots took over this many of their last turns, instead of calls
    #[arg(long, value_name = "TURNS", num_args = 0..=1, default_missing_value = "1000", conflicts_with = "id")]
    pub latencies: Option<u32>,

    #[command(flatten)]
    config: ConfigArg,
}

/// Prints what the arguments ask for.
///
/// # Errors
/// When the store cannot be read, no call or more than one has this id, or nobody reads the output.
pub(super) async fn run(args: CallsArgs) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let store = Store::open_to_read(&args.config.load()?.store.path).await?;
    let text = output(&args, &store).await?;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // `offhook calls | head` is no failure.
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot print")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One call with its turns, as `offhook calls ID` shows it.
///
/// # Errors
/// When the store cannot be read.
pub async fn one(store: &Store, id: CallId) -> anyhow::Result<String> {
    let call =
        store.find_call(id.as_str()).await?.with_context(|| format!("the call {id} is not in the store"))?;
    Ok(render_call(&call.call, &store.turns(id).await?, store.server_record(id).await?.as_ref()))
}

/// What `offhook calls` prints.
///
/// # Errors
/// When the store cannot be read, or no call or more than one has this id.
pub async fn output(args: &CallsArgs, store: &Store) -> anyhow::Result<String> {
    if let Some(turns) = args.latencies {
        let bots = store.latencies(turns).await?;
        return if args.json { json(&bots) } else { Ok(render_latencies(&bots)) };
    }
    let Some(prefix) = &args.id else {
        let calls = store.latest_calls(args.limit).await?;
        return if args.json { json(&calls) } else { Ok(render_list(&calls)) };
    };
    let Some(found) = store.find_call(prefix).await? else {
        bail!("no call has an id that begins with '{prefix}': `offhook calls` lists the latest");
    };
    let turns = store.turns(found.call.id).await?;
    let asterisk = store.server_record(found.call.id).await?;
    if args.json {
        json(&OneCall { call: &found.call, turns: &turns, asterisk: asterisk.as_ref() })
    } else {
        Ok(render_call(&found.call, &turns, asterisk.as_ref()))
    }
}

/// The table of the latest calls.
#[must_use]
pub fn render_list(calls: &[CallSummary]) -> String {
    if calls.is_empty() {
        return "No calls yet.\n".to_owned();
    }
    let head = ["ID", "WHEN (UTC)", "BOT", "DIR", "CALLER", "DURATION", "BILLED", "TURNS", "DISPOSITION"];
    let rows = calls.iter().map(|CallSummary { call, turns, billed_seconds }| {
        let other_side = match call.direction {
            Direction::In => &call.caller,
            Direction::Out => &call.called,
        };
        [
            call.id.to_string(),
            when(call.started),
            plain(&call.bot),
            call.direction.to_string(),
            other_side.as_deref().map_or_else(|| NOTHING.to_owned(), plain),
            duration(call).unwrap_or_else(|| NOTHING.to_owned()),
            billed_seconds.map_or_else(|| NOTHING.to_owned(), |seconds| clock_of(seconds.into())),
            turns.to_string(),
            disposition(call),
        ]
    });
    table(&head, rows.collect(), &[5, 6, 7])
}

/// One call: its facts, what Asterisk itself says of it, then its turns, each with its [`waterfall`].
#[must_use]
pub fn render_call(call: &CallRecord, turns: &[TurnRecord], asterisk: Option<&ServerRecord>) -> String {
    let mut facts = vec![("call", call.id.to_string()), ("started", call.started.to_string())];
    facts.extend(call.answered.map(|at| ("answered", after(call, at))));
    facts.extend(call.ended.map(|at| ("ended", after(call, at))));
    facts.extend(duration(call).map(|text| ("duration", text)));
    facts
        .push(("bot", format!("{} (app {} on {})", plain(&call.bot), plain(&call.app), plain(&call.server))));
    let number = |number: &Option<String>| number.as_deref().map_or_else(|| NOTHING.to_owned(), plain);
    facts.push((call.direction.as_str(), format!("{} → {}", number(&call.caller), number(&call.called))));
    facts.push(("leg", plain(&call.leg)));
    let cause = call.cause.map(|cause| format!(", cause {cause}")).unwrap_or_default();
    facts.push(("outcome", format!("{}{cause}", disposition(call))));
    if let Some(outcome) = &call.outcome {
        facts.extend(outcome.answered_by.map(|by| ("answerer", by.to_string())));
        if outcome.opted_out {
            facts.push(("opted out", "nobody calls the other side again".to_owned()));
        }
        facts.extend(
            outcome.result.iter().map(|(name, value)| ("result", plain(&format!("{name} = {value}")))),
        );
    }
    facts.extend(call.note.as_deref().map(|note| ("note", plain(note))));
    facts.extend(call.recording.as_deref().map(|path| ("recording", plain(path))));
    facts.extend(call.media.as_ref().map(|media| ("media", plain(&media.to_string()))));

    let mut text = String::new();
    for (name, value) in facts {
        line(&mut text, &format!("{name:<10} {value}"));
    }
    if let Some(record) = asterisk {
        text.push('\n');
        text.push_str(&render_server_record(record));
    }
    if turns.is_empty() {
        text.push_str("\nNo turns.\n");
    }
    for turn in turns {
        text.push('\n');
        text.push_str(&render_turn(turn));
    }
    text
}

/// What Asterisk itself says of a call: its detail records, and the steps of its channels.
#[must_use]
pub fn render_server_record(record: &ServerRecord) -> String {
    let mut text = String::new();
    let billed = record.billed_seconds.map(|seconds| format!(", {} billed", clock_of(seconds.into())));
    let gaps = if record.whole { "" } else { " (AMI was away meanwhile: some of it may be missing)" };
    line(
        &mut text,
        &format!("Asterisk: call {}{}{gaps}", plain(&record.linkedid), billed.unwrap_or_default()),
    );
    for detail in &record.details {
        let number = |number: &Option<String>| number.as_deref().map_or_else(|| NOTHING.to_owned(), plain);
        let (from, to) = (number(&detail.source), number(&detail.destination));
        let account = if detail.account.is_empty() {
            String::new()
        } else {
            format!(", account {}", plain(&detail.account))
        };
        let peer =
            if detail.peer.is_empty() { String::new() } else { format!(" with {}", plain(&detail.peer)) };
        let (all, billed) =
            (clock_of(detail.duration_seconds.into()), clock_of(detail.billed_seconds.into()));
        let how = plain(&detail.disposition).to_lowercase();
        line(&mut text, &format!("  cdr  {from} → {to}, {how}, {all} in all, {billed} billed{account}"));
        line(
            &mut text,
            &format!("       {}{peer}, last {}", plain(&detail.channel), plain(&detail.application)),
        );
    }
    for step in &record.steps {
        let application = if step.application.is_empty() {
            String::new()
        } else {
            format!(" in {}", plain(&step.application))
        };
        line(
            &mut text,
            &format!(
                "  {}  {:<12} {}{application}",
                plain(&step.at),
                plain(&step.event),
                plain(&step.channel)
            ),
        );
    }
    text
}

/// One turn: what the caller did, what the bot said, and the [`waterfall`]. What `offhook demo` prints as it
/// happens.
#[must_use]
pub fn render_turn(turn: &TurnRecord) -> String {
    let mut text = String::new();
    let step = turn.step.as_deref().map(|step| format!(" · {}", plain(step))).unwrap_or_default();
    line(&mut text, &format!("turn {}{step} · {}", turn.index, clock(turn.at)));
    line(&mut text, &format!("  caller  {}", heard(turn)));
    if turn.reply != Reply::default() {
        line(&mut text, &format!("  bot     {}", said(&turn.reply)));
    }
    text.push_str(&taking(&turn.taking));
    text.push_str(&waterfall(turn));
    text
}

/// Who decided that the caller is done, how the bot was interrupted in its reply, what was done ahead.
fn taking(taking: &Taking) -> String {
    let mut text = String::new();
    if let Some(witness) = &taking.witness {
        // A witness of another version has a name and no sentence.
        let sentence = Witness::named(witness).map_or(witness.as_str(), |witness| witness.sentence());
        line(&mut text, &format!("  decided   {}", plain(sentence)));
    }
    if let (Some(needed), Some([base, ending, habit, doubt])) = (taking.needed_ms, taking.parts_ms) {
        let voice = taking.ending.as_deref().unwrap_or("unclear");
        let parts = format!(
            "{base} by words and question, {ending:+} voice ({}), {habit:+} habit, {doubt:+} doubt",
            plain(voice)
        );
        line(&mut text, &format!("            after {needed} ms of silence: {parts}"));
    }
    if let Some(stopped) = taking.stopped_ms {
        let ducked = taking.ducked_ms.map(|ms| format!("ducked after {ms:.0} ms, ")).unwrap_or_default();
        let by = taking.stopped_by.as_deref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
        let went_on = if taking.resumed { "; went on, it was nothing" } else { "" };
        line(&mut text, &format!("  barge-in  {ducked}stopped after {stopped:.0} ms{by}{went_on}"));
    }
    if taking.restored > 0 {
        let sounds = if taking.restored == 1 { "sound that was" } else { "sounds that were" };
        line(&mut text, &format!("            {} {sounds} nothing ducked it", taking.restored));
    }
    if taking.saved_ms.is_some() || taking.wasted > 0 {
        let saved = taking.saved_ms.map(|ms| format!("the reply, {ms:.0} ms saved"));
        let wasted = (taking.wasted > 0).then(|| format!("{} for nothing", taking.wasted));
        let all = saved.into_iter().chain(wasted).collect::<Vec<_>>().join("; ");
        line(&mut text, &format!("  prepared  {all}"));
    }
    let after =
        |ms: Option<f64>, what: &str| ms.map(|ms| format!(", {what} after {ms:.0} ms")).unwrap_or_default();
    if let Some(name) = &taking.recognizer {
        line(&mut text, &format!("  heard by  {}{}", plain(name), after(taking.recognizer_ms, "final")));
    }
    if let Some(name) = &taking.synthesizer {
        line(
            &mut text,
            &format!("  spoken by {}{}", plain(name), after(taking.synthesizer_ms, "first audio")),
        );
    }
    text
}

/// Where the time of a turn went, drawn as text: a bar for each stage, from where the stage before it ended
/// to where it ended itself, and its length; the total is what the caller waited. Empty when nothing was
/// measured.
///
/// ```text
///   endpoint      ██████████████████████████··············   300 ms
///   final         ··························█·············    10 ms
/// ```
///
/// A stage whose work was done ahead, before the one above it, is a `|` where it ended, with that moment
/// after an `@`.
#[must_use]
pub fn waterfall(turn: &TurnRecord) -> String {
    let took: Vec<(Stage, f64)> = Stage::ALL
        .iter()
        .filter_map(|stage| turn.latencies.get(*stage).map(|ms| (*stage, ms)))
        .filter(|(_, ms)| ms.is_finite())
        .collect();
    let Some(total) = took.iter().map(|(_, ms)| *ms).reduce(f64::max) else { return String::new() };
    let mut text = String::new();
    // What was ready before the caller was done is drawn at the left edge.
    let column = |ms: f64| if total > 0.0 { place(ms.max(0.0) / total, BAR) } else { 0 };
    let mut reached = 0.0_f64;
    for (stage, ms) in took {
        let (bar, cost) = if ms >= reached {
            let (from, to) = (column(reached).min(BAR - 1), column(ms));
            let filled = to.saturating_sub(from).max(1);
            (draw(from, filled, '█'), format!("{:>5.0} ms", ms - reached))
        } else {
            (draw(column(ms).min(BAR - 1), 1, '|'), format!("{:>8}", format!("@{ms:.0} ms")))
        };
        reached = reached.max(ms);
        line(&mut text, &format!("  {:<13} {bar} {cost}", stage.label()));
    }
    let _ = writeln!(text, "  {:<13} {:BAR$} {total:>5.0} ms", total_label(&turn.latencies), "");
    text
}

/// How long the bots took, stage by stage.
#[must_use]
pub fn render_latencies(bots: &[BotLatencies]) -> String {
    let head = ["BOT", "STAGE", "TURNS", "P50 ms", "P90 ms", "P95 ms", "P99 ms", "MAX ms"];
    let rows: Vec<_> = bots
        .iter()
        .flat_map(|bot| {
            bot.stages.iter().map(|(stage, took)| {
                let ms = |value: f64| format!("{value:.0}");
                [
                    plain(&bot.bot),
                    stage.label().to_owned(),
                    took.count.to_string(),
                    ms(took.p50),
                    ms(took.p90),
                    ms(took.p95),
                    ms(took.p99),
                    ms(took.max),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return "No turns with latencies yet.\n".to_owned();
    }
    let mut text = table(&head, rows, &[2, 3, 4, 5, 6, 7]);
    text.push_str("\nEach from the end of the caller's speech.\n");
    for bot in bots {
        text.push_str(&manners(bot));
    }
    text
}

/// What a bot's turns come to besides their stages, and how many callers waited for how long.
fn manners(bot: &BotLatencies) -> String {
    let mut text = format!("\n{}\n", plain(&bot.bot));
    let spread =
        |took: &Percentiles| format!("p50 {:.0}, p95 {:.0} ms of {}", took.p50, took.p95, took.count);
    let mut fact = |name: &str, value: String| line(&mut text, &format!("  {name:<13} {value}"));
    if !bot.witnesses.is_empty() {
        let all = bot.witnesses.iter().map(|(name, count)| format!("{} {count}", plain(name)));
        fact("decided by", all.collect::<Vec<_>>().join(", "));
    }
    if let Some(took) = &bot.ducked {
        fact("ducked", spread(took));
    }
    if let Some(took) = &bot.stopped {
        fact("stopped", spread(took));
    }
    if bot.restored + bot.resumed > 0 {
        fact("for nothing", format!("{} ducked, {} stopped and resumed", bot.restored, bot.resumed));
    }
    if bot.saved.is_some() || bot.wasted > 0 {
        let saved = bot.saved.as_ref().map_or_else(|| "nothing".to_owned(), spread);
        fact("prepared", format!("saved {saved}; {} for nothing", bot.wasted));
    }
    let most = bot.histogram.iter().copied().max().unwrap_or(0);
    let begin = bot.histogram.iter().take_while(|count| **count == 0).count();
    for (step, count) in bot.histogram.iter().enumerate().skip(begin) {
        #[expect(clippy::cast_precision_loss, reason = "turns")]
        let filled = place(*count as f64 / most.max(1) as f64, BAR).max(usize::from(*count > 0));
        let from = step * HISTOGRAM_STEP_MS as usize;
        fact(&format!("from {from} ms"), format!("{} {count}", "█".repeat(filled)).trim_start().to_owned());
    }
    text
}

#[derive(Serialize)]
struct OneCall<'a> {
    #[serde(flatten)]
    call: &'a CallRecord,
    turns: &'a [TurnRecord],
    /// What Asterisk itself says of it, where AMI told.
    asterisk: Option<&'a ServerRecord>,
}

fn json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n")
}

/// The caller's part of a turn, in a few words.
fn heard(turn: &TurnRecord) -> String {
    let heard = &turn.heard;
    let quoted = heard.text.as_deref().map(|text| format!("“{}”", plain(text)));
    let keys =
        heard.keys.as_deref().map_or_else(|| "keys".to_owned(), |keys| format!("keys {}", plain(keys)));
    let mut text = match turn.kind {
        TurnKind::Opening => "(the bot begins)".to_owned(),
        TurnKind::NoInput => "(nothing)".to_owned(),
        TurnKind::Keys => keys,
        TurnKind::Voice => quoted.unwrap_or_else(|| "(voice)".to_owned()),
        TurnKind::NoMatch => {
            quoted.map_or_else(|| "(not understood)".to_owned(), |q| format!("{q} (no match)"))
        }
    };
    if let Some(meaning) = &heard.meaning {
        let _ = write!(text, " → {}", plain(meaning));
    }
    if let Some(confidence) = heard.confidence {
        let _ = write!(text, " (confidence {confidence:.2})");
    }
    text
}

/// The bot's part of a turn, in a few words.
fn said(reply: &Reply) -> String {
    let mut text =
        reply.text.as_deref().map_or_else(|| "(audio)".to_owned(), |text| format!("“{}”", plain(text)));
    let seconds = |ms: u32| format!("{:.1} s", f64::from(ms) / 1_000.0);
    match (reply.heard_ms, reply.total_ms) {
        (Some(heard), Some(total)) if heard < total => {
            let _ = write!(text, " · {} of {} heard", seconds(heard), seconds(total));
        }
        (Some(ms), _) | (None, Some(ms)) => {
            let _ = write!(text, " · {}", seconds(ms));
        }
        (None, None) => {}
    }
    match reply.interrupted {
        Some(Interruption::Voice) => text.push_str(", interrupted by voice"),
        Some(Interruption::Key) => text.push_str(", interrupted by a key"),
        None => {}
    }
    text
}

fn total_label(took: &Latencies) -> &'static str {
    if took.sent_ms.is_some() { "caller waited" } else { "until then" }
}

/// A bar of [`BAR`] characters with `filled` of them from `from` on.
fn draw(from: usize, filled: usize, with: char) -> String {
    (0..BAR).map(|at| if (from..from + filled).contains(&at) { with } else { '·' }).collect()
}

/// The column of a share of the whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share from 0 to 1 of some dozen columns"
)]
fn place(share: f64, columns: usize) -> usize {
    (share.clamp(0.0, 1.0) * columns as f64).round() as usize
}

/// `2026-11-20 22:57:03`.
fn when(at: WallTime) -> String {
    let iso = at.to_string();
    iso.split('.').next().unwrap_or(&iso).replace('T', " ")
}

/// `22:57:03.120`.
fn clock(at: WallTime) -> String {
    let iso = at.to_string();
    iso.split_once('T').map_or(iso.as_str(), |(_, time)| time).trim_end_matches('Z').to_owned()
}

fn after(call: &CallRecord, at: WallTime) -> String {
    let ms = at.0.saturating_sub(call.started.0);
    let sign = if ms < 0 { '-' } else { '+' };
    format!("{at} ({sign}{}.{:03} s)", ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000)
}

/// From the answer (or the start, when nobody answered) to the end: `1:05`, `1:01:05`.
fn duration(call: &CallRecord) -> Option<String> {
    let seconds = call.ended?.0.saturating_sub(call.answered.unwrap_or(call.started).0).max(0) / 1_000;
    Some(clock_of(seconds))
}

/// `1:05`, `1:01:05`.
fn clock_of(seconds: i64) -> String {
    let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

fn disposition(call: &CallRecord) -> String {
    match (call.disposition, call.ended) {
        (Some(disposition), _) => disposition.to_string(),
        (None, Some(_)) => "ended".to_owned(),
        (None, None) => "up".to_owned(),
    }
}

/// Text that cannot do anything to a terminal: callers choose what stands in it. Control characters, and
/// those that turn the direction of writing or have no width, become a dot.
fn plain(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if harmful(c) { '·' } else { c }).collect()
}

/// Columns as wide as their widest cell; those in `right` are aligned to the right.
fn table<const N: usize>(head: &[&str; N], rows: Vec<[String; N]>, right: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut put = |cells: [&str; N]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        line(&mut text, &padded.collect::<Vec<_>>().join("  "));
    };
    put(*head);
    for row in &rows {
        put(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// Adds a line without blanks at its end.
fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests;
