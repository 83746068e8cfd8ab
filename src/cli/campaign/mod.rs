//! `offhook campaign create|import|start|pause|resume|stop|status|report|export`: lists of numbers to call, and what came
//! of them.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::ConfigArg;
use crate::campaign::report::{Format, What};
use crate::campaign::{Book, ImportOptions, Imported, Plan, Zones};
use crate::engine::Config;
use crate::time::WallTime;

mod show;

/// Options of `offhook campaign`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a campaign of its file; it dials nobody before it is started.
    Create(Create),
    /// Read a list of contacts (CSV) into a campaign: all that can be called, or nothing.
    Import(Import),
    /// Let a campaign dial.
    Start(Name),
    /// Let a campaign dial nobody until it is resumed; calls that are up go on.
    Pause(Name),
    /// Let a paused campaign go on.
    Resume(Name),
    /// End a campaign for good; calls that are up go on.
    Stop(Name),
    /// Show how far campaigns are.
    Status(Status),
    /// Show what came of a campaign, by disposition, hour, attempt and trunk.
    Report(Report),
    /// Write every attempt or contact of a campaign as CSV or JSON lines.
    Export(Export),
}

#[derive(Debug, Args)]
struct Create {
    /// The campaign file (TOML).
    file: PathBuf,
    /// What it is called; the file's name where nothing is said.
    #[arg(long)]
    name: Option<String>,
    /// Only check the file.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct Import {
    /// The campaign.
    name: String,
    /// The list: CSV whose first line names the columns. `number` is needed; `zone` and `consent` are known; all others are
    /// variables of the bot.
    file: PathBuf,
    /// The column with the numbers, where it is called something unusual.
    #[arg(long, value_name = "COLUMN")]
    number_column: Option<String>,
    /// What stands between the columns, where it cannot be seen from the first line.
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Where lines go that cannot be called, with the reason for each; beside the list where nothing is said.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Name {
    /// The campaign.
    name: String,
}

#[derive(Debug, Args)]
struct Status {
    /// The campaign; all of them where none is named.
    name: Option<String>,
    /// Show it anew every two seconds, until Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// The campaign.
    name: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    Csv,
    Json,
}

#[derive(Debug, Args)]
struct Export {
    /// The campaign.
    name: String,
    /// Every contact instead of every attempt.
    #[arg(long)]
    contacts: bool,
    /// `csv`, or `json` for one object a line.
    #[arg(long, value_enum, default_value = "csv")]
    format: As,
    /// Where it goes; standard output where nothing is said.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Opens the book that the configuration names.
pub(super) async fn open(config: &Config) -> anyhow::Result<Book> {
    let url = config.store.url.as_ref().map(|url| url.reveal());
    Ok(Book::open(url, &config.store.path, Zones::of_system()).await?)
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    if let Command::Create(create) = &options.command {
        return make(create, &config).await;
    }
    let (book, now) = (open(&config).await?, WallTime::now());
    match options.command {
        Command::Create(_) => {}
        Command::Import(import) => read_list(&book, import).await?,
        Command::Start(Name { name }) => {
            book.start(&name, now).await?;
            println!("Campaign {name} runs.");
        }
        Command::Pause(Name { name }) => {
            book.pause(&name, now).await?;
            println!("Campaign {name} is paused: `offhook campaign resume {name}` lets it go on.");
        }
        Command::Resume(Name { name }) => {
            book.resume(&name, now).await?;
            println!("Campaign {name} goes on.");
        }
        Command::Stop(Name { name }) => {
            book.stop(&name, now).await?;
            println!("Campaign {name} has been stopped.");
        }
        Command::Status(status) => show_status(&book, &status).await?,
        Command::Report(Report { name, json }) => {
            let report = book.report(book.campaign(&name).await?.id).await?;
            let text =
                if json { serde_json::to_string_pretty(&report)? + "\n" } else { show::report(&report) };
            print(&text)?;
        }
        Command::Export(export) => write_out(&book, &export).await?,
    }
    book.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn make(create: &Create, config: &Config) -> anyhow::Result<ExitCode> {
    let file = &create.file;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read: check its path and permissions", file.display()))?;
    let plan = Plan::parse(&text, &file.display().to_string())?;
    if !config.bots.is_empty() && !config.bots.contains_key(&plan.bot) {
        let known: Vec<_> = config.bots.keys().map(String::as_str).collect();
        bail!(
            "{}: `bot` = `{}`: the configuration has no such bot, only {}",
            file.display(),
            plan.bot,
            known.join(", ")
        );
    }
    if create.check {
        println!("{} can be used.", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let of_file = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let name = create.name.clone().or(of_file).context("say what it is called: --name NAME")?;
    let book = open(config).await?;
    book.create(&name, &text, WallTime::now()).await?;
    book.close().await;
    println!(
        "Campaign {name} is there. `offhook campaign import {name} LIST.csv` gives it contacts, `offhook campaign start {name}` lets it dial."
    );
    Ok(ExitCode::SUCCESS)
}

async fn read_list(book: &Book, import: Import) -> anyhow::Result<()> {
    let campaign = book.campaign(&import.name).await?;
    let delimiter = import.delimiter.map(u8::try_from).transpose();
    let delimiter = delimiter.ok().context("--delimiter takes one plain character, as `;`")?;
    let faults = import.faults.unwrap_or_else(|| beside(&import.file));
    let size = std::fs::metadata(&import.file).map_or(0, |file| file.len());
    let bar = if io::stderr().is_terminal() { ProgressBar::new(size) } else { ProgressBar::hidden() };
    let style = "{bar:40} {percent} %  {msg} lines  {elapsed} gone, {eta} to go";
    bar.set_style(ProgressStyle::with_template(style).expect("a template that is one"));
    let options = ImportOptions {
        file: import.file,
        faults: faults.clone(),
        number_column: import.number_column,
        delimiter,
    };
    let imported = book
        .import(&campaign, &options, WallTime::now(), |progress| {
            bar.set_position(progress.bytes);
            bar.set_message(progress.lines.to_string());
        })
        .await;
    bar.finish_and_clear();
    print(&told(&imported?, &campaign.name, &faults))
}

/// What became of a list, for people.
fn told(imported: &Imported, name: &str, faults: &Path) -> String {
    let Imported { lines, taken, duplicates, bad, nowhere } = imported;
    let mut text = format!("{taken} of {lines} lines are contacts of {name} now.\n");
    if duplicates + bad > 0 {
        text += &format!(
            "{duplicates} were there already, {bad} cannot be called: {} says which and why.\n",
            faults.display()
        );
    }
    if *nowhere > 0 {
        text += &format!(
            "{nowhere} are not called, since their time zone is not known: give them one in a column `zone`, or set `several_zones = \"all\"` in the campaign.\n"
        );
    }
    text
}

fn beside(list: &Path) -> PathBuf {
    let mut name = list.file_stem().unwrap_or_default().to_owned();
    name.push(".faults.csv");
    list.with_file_name(name)
}

async fn show_status(book: &Book, status: &Status) -> anyhow::Result<()> {
    loop {
        let campaigns = match &status.name {
            Some(name) => vec![book.campaign(name).await?],
            None => book.campaigns().await?,
        };
        let mut all = Vec::with_capacity(campaigns.len());
        for campaign in campaigns {
            let counts = book.counts(campaign.id).await?;
            let next = book.next_due(&campaign, WallTime::now()).await?;
            let outbox = book.outbox(campaign.id).await?;
            all.push(show::Standing { campaign, counts, next, outbox });
        }
        if status.json {
            return print(&(serde_json::to_string_pretty(&show::as_json(&all))? + "\n"));
        }
        if !status.watch {
            return print(&show::status(&all, WallTime::now()));
        }
        // Home, and what stands below is wiped: no flicker.
        print(&format!("\x1b[H\x1b[J{}", show::status(&all, WallTime::now())))?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn write_out(book: &Book, export: &Export) -> anyhow::Result<()> {
    let campaign = book.campaign(&export.name).await?;
    let what = if export.contacts { What::Contacts } else { What::Attempts };
    let format = if export.format == As::Csv { Format::Csv } else { Format::Json };
    let Some(path) = &export.output else {
        let written = book.export(campaign.id, what, format, io::stdout()).await;
        return match written {
            // `offhook campaign export NAME | head` is no failure.
            Err(crate::campaign::CampaignError::Output(why)) if is_broken_pipe(&why) => Ok(()),
            written => Ok(written.map(drop)?),
        };
    };
    let file = std::fs::File::create(path)
        .with_context(|| format!("{} cannot be written: check its path and permissions", path.display()))?;
    let rows = book.export(campaign.id, what, format, file).await?;
    println!("{rows} rows are in {}.", path.display());
    Ok(())
}

fn is_broken_pipe(why: &io::Error) -> bool {
    // A CSV writer wraps what the system said.
    why.kind() == io::ErrorKind::BrokenPipe || why.to_string().to_lowercase().contains("broken pipe")
}

/// Prints; that nobody reads it is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot print"),
    }
}
