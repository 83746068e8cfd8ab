//! `offhook replay`: what a bot would have heard of a captured call.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::audio::codec::Format;
use crate::audio::{Rate, wav};
use crate::bench::replay::{Happening, Replay, replay};
use crate::pcap::{self, StreamSummary};
use crate::rtp::PayloadType;
use crate::turn::Listening;

/// Options of `offhook replay`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A pcap or pcapng file, as tcpdump, tshark and `[media] capture` write it.
    capture: PathBuf,
    /// The stream to replay, by its number in the list; not needed where there is only one.
    #[arg(long, value_name = "N")]
    stream: Option<usize>,
    /// The format, where the stream's payload type does not say it: slin, slin16, opus.
    #[arg(long)]
    format: Option<Format>,
    /// The payload type of telephone events.
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u8).range(..128))]
    events: u8,
    /// How patiently to listen.
    #[arg(long, value_enum, default_value_t)]
    listening: Patience,
    /// Write what the bot heard.
    #[arg(long, value_name = "FILE.wav")]
    wav: Option<PathBuf>,
}

/// The presets of [`Listening`].
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Patience {
    /// For a word or two.
    Eager,
    /// For menus and short numbers.
    #[default]
    Balanced,
    /// For callers who think.
    Patient,
}

impl Patience {
    const fn listening(self) -> Listening {
        match self {
            Self::Eager => Listening::EAGER,
            Self::Balanced => Listening::BALANCED,
            Self::Patient => Listening::PATIENT,
        }
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let survey = pcap::survey(&options.capture)?;
    if survey.streams.is_empty() {
        bail!(
            "{} holds no RTP stream among its {} UDP datagrams: capture the audio of a call, as tcpdump -i any udp",
            options.capture.display(),
            survey.datagrams
        );
    }
    let skipped = survey.skipped.to_string();
    if !skipped.is_empty() {
        println!("Passed over: {skipped}.");
    }
    print!("{}", list(&survey.streams));
    let number = match (options.stream, survey.streams.len()) {
        (Some(number), _) => number,
        (None, 1) => 1,
        (None, count) => {
            println!("\nReplay one of them with --stream 1 to --stream {count}.");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let stream = number.checked_sub(1).and_then(|index| survey.streams.get(index));
    let stream = stream
        .with_context(|| format!("there is no stream {number}: they are 1 to {}", survey.streams.len()))?;
    let events = PayloadType::new(options.events).unwrap_or(PayloadType::EVENTS);
    let replay = replay(&options.capture, stream, options.format, events, options.listening.listening())?;
    print!("\n{}", render(&replay, stream));
    if let Some(file) = &options.wav {
        wav::write_mono(file, Rate::Hz8000, &replay.heard)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The streams of a file, a line each.
fn list(streams: &[StreamSummary]) -> String {
    let mut out = String::new();
    for (i, stream) in streams.iter().enumerate() {
        let seconds = stream.last.saturating_sub(stream.first).as_secs_f64();
        let types: Vec<_> =
            stream.payload_types.iter().map(|(number, _)| number.number().to_string()).collect();
        let _ = writeln!(
            out,
            "{:>3}  {} → {}  payload type {}, {seconds:.1} s, {} packets",
            i + 1,
            stream.from,
            stream.to,
            types.join(" "),
            stream.packets
        );
    }
    out
}

/// All that there is to tell of a replayed stream.
fn render(replay: &Replay, stream: &StreamSummary) -> String {
    let counts = &replay.stats.stream;
    let all = (counts.received + counts.lost).max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
    let share = 100.0 * counts.lost as f64 / all as f64;
    let mut out = String::new();
    let _ = writeln!(out, "format      {}", replay.format.name());
    let _ = writeln!(out, "packets     {} received, {} lost ({share:.2} %)", counts.received, counts.lost);
    let _ = writeln!(out, "            {} ms concealed", replay.stats.concealed_ms);
    let _ = writeln!(
        out,
        "            {} late, {} reordered, {} double, {} malformed, {} restarts, {} changes of source",
        counts.late,
        counts.reordered,
        counts.duplicate,
        counts.malformed,
        counts.restarts,
        counts.ssrc_changes
    );
    let _ = writeln!(out, "jitter      {:.1} ms (RFC 3550)", counts.jitter.as_secs_f64() * 1e3);
    if let Some(drift) = stream.drift_ppm {
        let _ = writeln!(out, "drift       {drift:.0} ppm slower than the clock of the capture");
    }
    if let Some((rating, opinion)) = replay.quality {
        let _ =
            writeln!(out, "quality     MOS {opinion:.2}, R {rating:.1} (E-model, G.107, from loss alone)");
    }
    let _ = writeln!(out, "\nThe caller, in seconds from his first packet:\n");
    for (at, happening) in &replay.happened {
        let at = at.as_secs_f64();
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        let _ = match happening {
            Happening::Utterance { onset, decided } => writeln!(
                out,
                "  {:8.2} – {at:.2}  speaks; found to be done {:.0} ms later",
                onset.as_secs_f64(),
                (decided.as_secs_f64() - at) * 1e3
            ),
            Happening::Key { digit, held } => {
                writeln!(out, "  {at:8.2}  key {digit}, {:.0} ms", millis(*held))
            }
            Happening::Quiet => writeln!(out, "  {at:8.2}  nothing comes any more"),
            Happening::Back => writeln!(out, "  {at:8.2}  packets come again"),
        };
    }
    if replay.happened.is_empty() {
        let _ = writeln!(out, "  nothing");
    }
    out
}
