//! `offhook agi NAME`: an AGI program that Asterisk starts. Standard input and output are Asterisk's; what there is to tell
//! a person goes to standard error, which Asterisk shows on its console.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use super::ConfigArg;
use crate::asterisk::agi::{AgiError, Router, Session, process};
use crate::engine::eagi::{self, Frames, Heard};
use crate::engine::{Config, recognizer};
use crate::speech::Recognizer;
use crate::speech::grammar::Grammar;
use crate::turn::Listening;

/// Options of `offhook agi`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    handler: Handler,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Subcommand)]
enum Handler {
    /// Listen to the caller and set channel variables to what he said. Takes EAGI(offhook,agi,listen,…) in the dialplan.
    Listen(Listen),
    /// Set OFFHOOK_ROUTE and OFFHOOK_TARGET by the rules under [[route]], as AGI(agi://engine/route) does.
    Route,
}

/// Options of `offhook agi listen`.
#[derive(Debug, Clone, Args)]
struct Listen {
    /// What may be said: a grammar's file or name, or `digits:4`.
    #[arg(long)]
    grammar: String,
    /// The variable that gets the meaning; NAME_TEXT gets the words, NAME_CONFIDENCE 0 to 100, NAME_STATUS MATCH, NOMATCH or
    /// NOINPUT.
    #[arg(long, default_value = "OFFHOOK_HEARD")]
    variable: String,
    /// A sound file that is played first.
    #[arg(long)]
    prompt: Option<String>,
    /// How long the caller may be silent.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let hung_up = async move {
        hang_up.recv().await;
    };
    let (name, router) = match options.handler {
        Handler::Listen(listen) => ("listen", Router::new().on("listen", listener(&config, listen)?)),
        Handler::Route => ("route", crate::engine::Doors::router(&config, || 0)?),
    };
    let file = |end: std::os::fd::BorrowedFd<'_>| {
        end.try_clone_to_owned().map(|end| tokio::fs::File::from_std(std::fs::File::from(end)))
    };
    let (input, output) = (file(std::io::stdin().as_fd())?, file(std::io::stdout().as_fd())?);
    let ended = process::serve(input, output, &router, name, hung_up).await;
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is_over() => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

fn listener(
    config: &Config,
    options: Listen,
) -> anyhow::Result<impl Fn(Session) -> BoxFuture<'static, Result<(), AgiError>> + use<>> {
    let recognizer: Arc<dyn Recognizer> =
        recognizer(config)?.context("there is no recogniser: set `recognizer` under [speech]")?;
    let grammar = Arc::new(grammar(config, &options.grammar)?);
    recognizer.prepare(&grammar)?;
    Ok(move |session: Session| {
        let (recognizer, grammar, options) = (recognizer.clone(), grammar.clone(), options.clone());
        let work: BoxFuture<'static, _> =
            Box::pin(async move { listen(session, &*recognizer, grammar, &options).await });
        work
    })
}

/// `digits:4`, a file, or a name looked for as flows do.
fn grammar(config: &Config, wanted: &str) -> anyhow::Result<Grammar> {
    if let Some(count) = wanted.strip_prefix("digits:") {
        let count: usize = count
            .parse()
            .ok()
            .filter(|count| (1..=20).contains(count))
            .context("--grammar digits:COUNT wants a number from 1 to 20, as digits:4")?;
        return Ok(Grammar::digits(count));
    }
    let mut places = vec![PathBuf::from(wanted)];
    for folder in crate::engine::models_folders(config) {
        places.push(folder.join("grammars").join(wanted));
        places.push(folder.join("grammars").join(format!("{wanted}.jsgf")));
    }
    let file = places.iter().find(|place| place.is_file()).with_context(|| {
        format!(
            "there is no grammar '{wanted}': give a file, the name of one under models/grammars, or digits:4"
        )
    })?;
    Ok(Grammar::load(file)?)
}

async fn listen(
    session: Session,
    recognizer: &dyn Recognizer,
    grammar: Arc<Grammar>,
    options: &Listen,
) -> Result<(), AgiError> {
    let told = |what: String| AgiError::Handler(what);
    if session.environment().get("enhanced") != Some("1.0") {
        return Err(told(
            "listening takes the audio: write EAGI(…) in the dialplan in place of AGI(…)".into(),
        ));
    }
    let audio = tokio::fs::File::open("/dev/fd/3")
        .await
        .map_err(|why| told(format!("no audio on descriptor 3 ({why}): write EAGI(…) in the dialplan")))?;
    session.answer().await?;
    if let Some(prompt) = &options.prompt {
        session.stream_file(prompt, "", None).await?;
    }
    let how = Listening { no_input: Duration::from_secs(options.wait), ..Listening::BALANCED };
    let heard = session
        .while_there(eagi::listen(Frames::new(audio), recognizer, grammar, how))
        .await?
        .map_err(|why| told(why.to_string()))?;
    let set = async |suffix: &str, value: &str| {
        session.set_variable(&format!("{}{suffix}", options.variable), value).await
    };
    match heard {
        Heard::Understood(heard) => {
            set("", heard.meaning.as_deref().unwrap_or(&heard.text)).await?;
            set("_TEXT", &heard.text).await?;
            set("_CONFIDENCE", &format!("{:.0}", heard.confidence * 100.0)).await?;
            set("_STATUS", "MATCH").await
        }
        Heard::NoMatch => set("_STATUS", "NOMATCH").await,
        Heard::NoInput => set("_STATUS", "NOINPUT").await,
        Heard::Gone => Err(AgiError::HungUp),
    }
}
