//! `offhook trunk add|list|remove`: SIP trunks, made while Asterisk runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::ConfigArg;
use crate::asterisk::ami::Ami;
use crate::asterisk::ari::Ari;
use crate::asterisk::secret::Secret;
use crate::asterisk::trunk::{self, Account, Codec, Context, Host, Name, Source, Trunk, User};

/// How long signing in to AMI may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Options of `offhook trunk`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The server that it is on, where the configuration has several.
    #[arg(long, global = true, value_name = "NAME")]
    server: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a trunk, or change the one of this name.
    Add(Add),
    /// Show the trunks and whether their far ends answer.
    List(Plain),
    /// Remove a trunk; calls over it go on.
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Plain {
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct Remove {
    /// Its name.
    name: Name,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct Add {
    /// Its name: PJSIP/NUMBER@NAME calls over it.
    name: Name,
    /// The far end: sip.example.com, or 192.0.2.1:5080.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Host,
    /// Who we are there, where it asks for a password.
    #[arg(long, requires = "password_file")]
    user: Option<User>,
    /// A file whose first line is the password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Tell the far end where we are, so that it sends us calls.
    #[arg(long, requires = "user")]
    register: bool,
    /// Where its calls come from, where that is not the host: an address or a network. Can be given several times.
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    from: Vec<Source>,
    /// Where calls that come by it begin in the dialplan.
    #[arg(long, default_value = "offhook")]
    context: Context,
    /// Its codecs, the best first.
    #[arg(long, value_delimiter = ',', default_value = "ulaw,alaw")]
    codecs: Vec<Codec>,
    #[command(flatten)]
    config: ConfigArg,
}

fn client(config: &ConfigArg, server: Option<&str>) -> anyhow::Result<Ari> {
    Ok(Ari::new(config.load()?.asterisk.one(server)?.ari_by_http()?)?)
}

/// How the registrations go, which only AMI tells; or why that is not known, and what to do.
async fn registrations(config: &ConfigArg) -> anyhow::Result<HashMap<String, String>> {
    let Some(client) = config.load()?.ami.client()? else {
        bail!("AMI tells, and ARI does not. Set `address` and a secret under [ami]");
    };
    let ami = Ami::new(client)?;
    ami.ready(PATIENCE).await?;
    Ok(trunk::registrations(&ami).await?)
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let server = options.server.as_deref();
    match options.command {
        Command::Add(add) => {
            let ari = client(&add.config, server)?;
            let password = add.password_file.as_deref().map(Secret::from_file).transpose()?;
            let account = add.user.zip(password).map(|(user, password)| Account {
                user,
                password,
                register: add.register,
            });
            let trunk = Trunk {
                name: add.name,
                host: add.host,
                account,
                from: add.from,
                context: add.context,
                codecs: add.codecs,
            };
            trunk.add(&ari).await?;
            println!(
                "Trunk {} leads to {}: PJSIP/NUMBER@{} calls over it.",
                trunk.name, trunk.host, trunk.name
            );
        }
        Command::List(plain) => {
            let trunks =
                trunk::list(&client(&plain.config, server)?).await.context("the trunks cannot be listed")?;
            if trunks.is_empty() {
                println!("No trunks. `offhook trunk add NAME --host HOST` makes one.");
                return Ok(ExitCode::SUCCESS);
            }
            let told = registrations(&plain.config).await;
            println!("{:<20} {:<32} {:<8} {:<12} {:>5}", "TRUNK", "FAR END", "STATE", "REGISTERS", "CALLS");
            for one in &trunks {
                let state = told.as_ref().ok().and_then(|told| told.get(&one.name)).map(String::as_str);
                let registers = if one.registers { state.unwrap_or("yes") } else { "no" };
                println!(
                    "{:<20} {:<32} {:<8} {:<12} {:>5}",
                    one.name, one.contact, one.state, registers, one.channels
                );
            }
            if let (Err(why), true) = (told, trunks.iter().any(|one| one.registers)) {
                println!("\nHow the registrations go is not known: {why}");
            }
        }
        Command::Remove(remove) => {
            trunk::remove(&client(&remove.config, server)?, &remove.name).await?;
            println!("Trunk {} is gone.", remove.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}
