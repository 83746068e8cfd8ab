//! `offhook demo`: a scripted caller on a real SIP phone talks to the front desk, or to an agent with a language model, and
//! everything is shown.
//!
//! The engine runs in this process, the caller's phone too, Asterisk is the one that the configuration names. The
//! caller's voice is another than the bot's. The demo succeeds when the conversation took the way of the script.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::ConfigArg;
use crate::audio::Rate;
use crate::bot::AnyBot;
use crate::bot::agent::standin::{Pace, StandIn};
use crate::bot::agent::{AgentBot, OtherModel, Overrides};
use crate::call::journal::{Input, Interruption};
use crate::call::{Journal, Note};
use crate::engine::{Config, Engine, Services};
use crate::id::CallId;
use crate::media::PlayEnd;
use crate::phone::script::{Line, Outcome, Script, ScriptReport, Step};
use crate::phone::{KeyTiming, Phone, PhoneConfig};
use crate::secret::Secret;
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::{Synthesizer, Utterance};
use crate::time::Moment;
use crate::turn::{By, TurnSignal};

/// The caller's voice; the bot has Flite's default.
const CALLERS_VOICE: &str = "rms";

/// The agent's file.
const AGENT: &str = "prompts/reception.toml";

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Who {
    /// The front desk: a flow.
    Flow,
    /// The reception: a language model, the stand-in of this process where no other is named.
    Agent,
}

/// The steps that the front desk goes through when it understands everything.
const WAY: [&str; 6] = ["greeting", "account", "confirm_account", "say_balance", "more", "bye"];

/// Options of `offhook demo`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where Asterisk takes SIP calls.
    #[arg(long, env = "OFFHOOK_ASTERISK_SIP", value_name = "IP:PORT", default_value = "127.0.0.1:5060")]
    sip: SocketAddr,
    /// The extension of the front desk.
    #[arg(long, default_value = "100")]
    extension: String,
    /// Who answers: the front desk, which is a flow, or the reception, which is a language model.
    #[arg(long, value_enum, default_value = "flow")]
    bot: Who,
    /// The base URL of a language model for the reception, as http://127.0.0.1:11434/v1; it speaks OpenAI's protocol. Its key is
    /// taken from OPENAI_API_KEY. Without it and without a key the stand-in of this process answers, by a few rules.
    #[arg(long, value_name = "URL")]
    model_url: Option<String>,
    /// The model's name there.
    #[arg(long, value_name = "NAME", default_value = "gpt-4o-mini")]
    model: String,
    /// How many conversations, one after the other; the figures at the end are of all of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    conversations: u32,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut arg = options.config.clone();
    arg.config.get_or_insert_with(|| PathBuf::from("examples/frontdesk.toml"));
    let mut config = arg.load()?;
    prepare(&mut config);
    let watcher = Arc::new(Watcher::default());
    let mut services = Services::assemble(&config, Some(Arc::clone(&watcher) as _)).await?;
    let script = match options.bot {
        Who::Flow => script().await?,
        Who::Agent => {
            reception(&options, &config, &mut services).await?;
            talk().await?
        }
    };
    let recordings = config.recording.folder.clone();
    println!("The engine connects to Asterisk at {}.", config.asterisk.url);
    let engine = Engine::start(config, services).await?;
    let mut figures = Figures::default();
    let mut outcome = Ok(());
    for _ in 0..options.conversations {
        outcome = converse(&options, &script, &watcher, &mut figures).await;
        if outcome.is_err() {
            break;
        }
    }
    let store = engine.store().clone();
    engine.idle().await;
    if let Err(error) = store.flush().await {
        eprintln!("offhook: {error}");
    }
    if let Some(call) = watcher.call() {
        println!("\nWhat took how long, turn by turn, from the end of the caller's speech:\n");
        for turn in store.turns(call).await? {
            println!("{}", super::calls::render_turn(&turn));
        }
        if let Some(folder) = recordings {
            println!("Recording: {}", folder.join(format!("{call}.wav")).display());
            println!("Time line: {}", folder.join(format!("{call}.json")).display());
        }
    }
    engine.drain(std::future::ready(())).await;
    figures.print();
    outcome?;
    println!("The conversation took the way of the script.");
    if options.bot == Who::Flow {
        println!("With a language model, and without a key: `scripts/demo --bot agent`.");
    }
    Ok(ExitCode::SUCCESS)
}

/// What a demo wants otherwise than an engine that stays.
fn prepare(config: &mut Config) {
    // Any port: an engine may be running beside it.
    config.media.port = 0;
    // A store of its own, too: what that engine keeps of its calls is not ours to take up.
    config.store.path = PathBuf::from("target/demo.sqlite");
    config.recording.folder.get_or_insert_with(|| PathBuf::from("target/demo-recordings"));
    config.engine.drain_seconds = 0;
}

/// One call from the greeting to the goodbye.
async fn converse(
    options: &Options,
    script: &Script,
    watcher: &Watcher,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    watcher.begin();
    let phone = Phone::start(PhoneConfig::loopback("5550123")).await?;
    let target = format!("sip:{}@{}", options.extension, options.sip);
    println!("A caller dials {target}.\n");
    let call = phone.call(&target).await?;
    let answered = call
        .wait_answered(Duration::from_secs(10))
        .await
        .context("nobody answered: `offhook doctor` tells whether Asterisk leads that extension to us")?;
    let report = script.run(&call, &mut |_| {}).await?;
    figures.add(answered, &report);
    let steps = watcher.steps();
    let mut rest = steps.iter();
    // A model finds its own way.
    for step in WAY.iter().filter(|_| options.bot == Who::Flow) {
        ensure!(
            rest.any(|visited| visited == step),
            "the conversation left the script's way: it went {}, and not through {step} in its turn",
            steps.join(" → ")
        );
    }
    if !watcher.saw_barge_in() {
        bail!("the bot was not interrupted in its greeting");
    }
    Ok(())
}

/// What the caller does: he interrupts the greeting, keys his account number, agrees, and takes his leave.
async fn script() -> anyhow::Result<Script> {
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    let within = Duration::from_secs(8);
    let say = async |words: &str| line(&flite, words).await;
    Ok(Script::new(vec![
        Step::BotSpeaks { within },
        Step::BargeIn {
            // In the middle of the first sentence: in the pause behind it there would be nothing to interrupt.
            after: Duration::from_millis(1_200),
            line: say("my account balance please").await?,
            within: Duration::from_secs(2),
        },
        Step::BotReplies { within },
        Step::BotSilent { quiet: Duration::from_millis(700), within },
        Step::Press { keys: "1234".into(), timing: KeyTiming::default() },
        Step::BotReplies { within },
        Step::BotSilent { quiet: Duration::from_millis(700), within },
        Step::Say(say("yes").await?),
        Step::BotReplies { within },
        Step::BotSilent { quiet: Duration::from_millis(1_200), within: Duration::from_secs(15) },
        Step::Say(say("goodbye").await?),
        Step::BotReplies { within },
        Step::BotHangsUp { within },
    ]))
}

/// Puts the reception in the place of the front desk.
async fn reception(options: &Options, config: &Config, services: &mut Services) -> anyhow::Result<()> {
    let key = Secret::from_env("OPENAI_API_KEY").ok();
    let url =
        options.model_url.clone().or_else(|| key.as_ref().map(|_| "https://api.openai.com/v1".to_owned()));
    let stand_in = StandIn::start(Pace::default()).await?;
    let mut overrides = Overrides { model: None, stand_in: Some(stand_in.base()) };
    match url {
        Some(url) => {
            println!("The model is {} at {url}.", options.model);
            overrides.model = Some(OtherModel { url, model: options.model.clone(), key });
        }
        None => {
            println!("The model is the stand-in of this process: --model-url and --model name a real one.")
        }
    }
    let agent = services.agent(config, Path::new(AGENT), &overrides).await?;
    if let (Some(recognizer), Some(grammar)) = (&services.recognizer, agent.grammar()) {
        recognizer.prepare(grammar)?;
    }
    let bot = AgentBot::new(Arc::new(agent), None).beside(stand_in);
    services.voices.warm(&bot.fixed_parts(), bot.voice(), Rate::Hz8000).await?;
    for other in services.bots.values_mut() {
        *other = AnyBot::new(bot.clone());
    }
    Ok(())
}

/// What the caller of the reception does: he asks for the hours, has a story told and interrupts it, asks for his balance, and
/// takes his leave.
async fn talk() -> anyhow::Result<Script> {
    let flite = FliteSynthesizer::new(FliteConfig::default())?;
    // A real model may take its time.
    let within = Duration::from_secs(15);
    let silent = Step::BotSilent { quiet: Duration::from_millis(1_200), within: Duration::from_secs(40) };
    let say = async |words: &str| line(&flite, words).await;
    Ok(Script::new(vec![
        Step::BotSpeaks { within },
        silent.clone(),
        Step::Say(say("when are you open").await?),
        Step::BotReplies { within },
        silent.clone(),
        Step::Say(say("tell me about the house").await?),
        Step::BotReplies { within },
        Step::BargeIn {
            after: Duration::from_millis(1_200),
            line: say("what is my account balance please").await?,
            within: Duration::from_secs(2),
        },
        Step::BotReplies { within },
        silent.clone(),
        Step::Say(say("one two three four").await?),
        Step::BotReplies { within },
        silent,
        Step::Say(say("goodbye").await?),
        Step::BotReplies { within },
        Step::BotHangsUp { within },
    ]))
}

/// Words in the caller's voice.
async fn line(flite: &FliteSynthesizer, words: &str) -> anyhow::Result<Line> {
    let utterance =
        Utterance { text: words.to_owned(), voice: Some(CALLERS_VOICE.to_owned()), rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = Vec::new();
    while let Some(chunk) = stream.chunks.recv().await {
        samples.extend(chunk?);
    }
    Ok(Line { words: words.to_owned(), samples: samples.into() })
}

/// What was measured at the caller's ear.
#[derive(Default)]
struct Figures {
    greetings: Vec<f64>,
    replies: Vec<f64>,
    barge_ins: Vec<f64>,
}

impl Figures {
    fn add(&mut self, answered: Moment, report: &ScriptReport) {
        let greeting = report.steps.iter().find_map(|step| match step.outcome {
            Outcome::BotSpoke { onset, .. } => Some(onset.millis_from(answered)),
            _ => None,
        });
        self.greetings.extend(greeting);
        self.replies.extend(report.reply_latencies().map(|latency| latency.as_secs_f64() * 1e3));
        self.barge_ins.extend(report.barge_in_latencies().map(|latency| latency.as_secs_f64() * 1e3));
    }

    fn print(&mut self) {
        println!("\nAt the caller's ear, through Asterisk:");
        let rows = [
            ("answer → greeting", &mut self.greetings),
            ("end of his speech or last key → reply", &mut self.replies),
            ("his voice → the bot is silent", &mut self.barge_ins),
        ];
        for (name, values) in rows {
            values.sort_by(f64::total_cmp);
            if let (Some(middle), Some(most)) = (values.get(values.len() / 2), values.last()) {
                println!("  {name:<38}  median {middle:4.0} ms, worst {most:4.0} ms, of {}", values.len());
            }
        }
        println!();
    }
}

/// Prints the conversation as it happens, and remembers its way.
#[derive(Default)]
struct Watcher(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    call: Option<CallId>,
    answered: Option<Moment>,
    steps: Vec<String>,
    barge_in: Option<Interruption>,
}

impl Watcher {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nothing panics while it holds what was seen")
    }

    fn begin(&self) {
        *self.seen() = Seen::default();
    }

    fn call(&self) -> Option<CallId> {
        self.seen().call
    }

    fn steps(&self) -> Vec<String> {
        self.seen().steps.clone()
    }

    fn saw_barge_in(&self) -> bool {
        self.seen().barge_in.is_some()
    }
}

impl Journal for Watcher {
    fn note(&self, call: CallId, note: Note) {
        let mut seen = self.seen();
        seen.call = Some(call);
        let say = |seen: &Seen, at: Moment, who: &str, what: &str| {
            let since = seen.answered.map_or(0.0, |answered| at.millis_from(answered) / 1e3);
            println!("{since:7.2} s  {who:<7} {what}");
        };
        match note {
            Note::Answered { at } => {
                seen.answered.get_or_insert(at);
            }
            Note::Step { name, .. } => seen.steps.push(name),
            Note::Saying { text, at, .. } => say(&seen, at, "bot", &text),
            Note::Played { end: PlayEnd::BargedIn, heard, at, .. } => {
                say(&seen, at, "", &format!("(falls silent, {} ms of it were heard)", heard.as_millis()));
            }
            Note::Signal(TurnSignal::BargeIn { onset, ducked, decided, by }) => {
                let by_key = by == By::Key;
                seen.barge_in.get_or_insert(Interruption { onset, ducked, decided, stopped: None, by });
                say(&seen, decided, "caller", if by_key { "(interrupts by key)" } else { "(interrupts)" });
            }
            Note::Heard { input, at } => {
                let what = match input {
                    Input::Words { text, meaning, confidence } => {
                        format!("\"{text}\"  understood as {meaning}, {:.0} % sure", confidence * 100.0)
                    }
                    Input::Keys(keys) => format!("presses {keys}"),
                    Input::NoMatch => "(says something that was not asked for)".into(),
                    Input::NoInput => "(says nothing)".into(),
                    Input::Failed(why) => format!("(was not understood: {why})"),
                };
                say(&seen, at, "caller", &what);
            }
            _ => {}
        }
    }
}
