//! `offhook never-call add|remove|list|import`: numbers that no campaign calls.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ConfigArg;
use super::campaign::{open, print};
use crate::campaign::Book;
use crate::time::WallTime;

/// Options of `offhook never-call`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigArg,
    /// The list of this campaign alone, instead of that of all.
    #[arg(long, global = true, value_name = "NAME")]
    campaign: Option<String>,
    /// The country of numbers without a code, as DE; that of `[policy]` where nothing is said.
    #[arg(long, global = true, value_name = "COUNTRY")]
    country: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a number onto the list. Holds at once, in every engine.
    Add {
        /// The number, with + and the country's code.
        number: String,
        /// Why, for whoever looks later.
        #[arg(long)]
        why: Option<String>,
    },
    /// Take a number off the list.
    Remove {
        /// The number.
        number: String,
    },
    /// Show the lists.
    List {
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Put all numbers of a file onto the list: one a line, or the first column of a CSV.
    Import {
        /// The file.
        file: PathBuf,
    },
}

/// Numbers that are read at once.
const PAGE: u32 = 1_000;

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let (book, now) = (open(&config).await?, WallTime::now());
    let campaign = match &options.campaign {
        Some(name) => Some(book.campaign(name).await?),
        None => None,
    };
    let (campaign, home) =
        (campaign.as_ref(), options.country.as_deref().or(config.policy.country.as_deref()));
    match options.command {
        Command::Add { number, why } => {
            let is_new = book.never_call(&number, campaign, home, why.as_deref(), now).await?;
            println!("{}", if is_new { "It is not called any more." } else { "It was on the list already." });
        }
        Command::Remove { number } => {
            let was_there = book.may_call_again(&number, campaign, home).await?;
            println!("{}", if was_there { "It may be called again." } else { "It was not on the list." });
        }
        Command::List { json } => list(&book, options.campaign.as_deref(), json).await?,
        Command::Import { file } => {
            let listed = book.never_call_all(&file, campaign, home, now).await?;
            println!(
                "{} of {} lines are new on the list; {} are no telephone numbers.",
                listed.added, listed.lines, listed.bad
            );
        }
    }
    book.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn list(book: &Book, campaign: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let mut page = book.never_called(&after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        // A number may stand on several lists: its lines go together, on the next page.
        if let Some(cut) = page.last().filter(|_| !is_last).map(|last| last.number.clone())
            && page.first().is_some_and(|first| first.number != cut)
        {
            page.retain(|entry| entry.number != cut);
        }
        let mut text = String::new();
        for entry in page.iter().filter(|entry| campaign.is_none() || entry.campaign.as_deref() == campaign) {
            if json {
                let _ = writeln!(text, "{}", serde_json::to_string(entry)?);
                continue;
            }
            let of = entry.campaign.as_deref().unwrap_or("all campaigns");
            let why = entry.why.as_deref().unwrap_or_default();
            // What somebody typed may not move the cursor.
            let why: String = why.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
            let _ = writeln!(text, "{:<18} {:<24} {}  {why}", entry.number, of, entry.added);
        }
        print(&text)?;
        match page.last() {
            Some(last) if !is_last => after.clone_from(&last.number),
            _ => return Ok(()),
        }
    }
}
