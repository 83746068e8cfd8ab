//! `offhook bench remote` and `offhook bench agent`: what the engine adds between a caller's key, his bot's program or language model,
//! and the first audio of the answer; for one call, and for many at once.
//!
//! Everything but Asterisk is real: media threads and sockets, calls, the bot, connections on loopback, and a program, or a model's
//! stand-in, that answers at once, on a thread of its own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::asterisk::ari::{Ari, AriConfig};
use crate::audio::Rate;
use crate::bench::distribution::Spans;
use crate::bench::machine;
use crate::bot::AnyBot;
use crate::bot::agent::standin::{Pace, StandIn};
use crate::bot::agent::{Agent, AgentBot, OtherModel, Overrides};
use crate::bot::remote::message::{Event, Heard};
use crate::bot::remote::{RemoteBot, RemoteSection};
use crate::call::speaker::Source;
use crate::call::{Call, CallParts, Facts, Journal, Leg, LegEvent, Note, Speaker, Voices};
use crate::id::CallId;
use crate::media::{Attach, Media, MediaConfig};
use crate::secret::Secret;
use crate::service::Web;
use crate::speech::words::WordTimes;
use crate::time::{Moment, WallTime};
use crate::turn::vad;

/// Options of `offhook bench remote` and `offhook bench agent`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Calls at once, beside the one that they are compared with.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    calls: u32,
    /// How long each of both is measured.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    seconds: u64,
}

/// Turns a second of all calls together: as many as people take who talk with a bot.
const TURNS_PER_CALL: Duration = Duration::from_millis(2_000);

/// And of the one call, for which there is nobody else to wait.
const TURNS_ALONE: Duration = Duration::from_millis(300);

/// With a program.
pub(super) async fn remote(options: Options) -> anyhow::Result<ExitCode> {
    let section = RemoteSection { url: Some(format!("ws://{}/", program()?)), ..RemoteSection::default() };
    run(options, AnyBot::new(RemoteBot::new("bench", section, None, None)?)).await
}

/// With a language model.
pub(super) async fn agent(options: Options) -> anyhow::Result<ExitCode> {
    let model = OtherModel { url: stand_in()?, model: "stand-in".into(), key: None };
    let overrides = Overrides { model: Some(model), ..Overrides::default() };
    let file = std::env::temp_dir().join(format!("offhook-bench-{}.toml", std::process::id()));
    std::fs::write(&file, AGENT)?;
    let agent = Agent::load(&file, &[], &[], &Web::new(None)?, &overrides).await;
    std::fs::remove_file(&file)?;
    let agent = agent?;
    run(options, AnyBot::new(AgentBot::new(Arc::new(agent), None))).await
}

/// An agent whose calls last for as long as they are measured.
const AGENT: &str = r#"
[agent]
name = "bench"
instructions = "You are the reception."
greeting = "Hello."
models = ["main"]
fillers = []

[service.main]
kind = "openai"
model = "stand-in"

[listen]
keys = "one"
no_input_ms = 60000

[limits]
turns = 100000
tokens = 1000000000
seconds = 86400
"#;

/// A model that answers at once, on a thread of its own; its address.
fn stand_in() -> anyhow::Result<String> {
    let (told, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let pace = Pace { first_token: Duration::ZERO, tokens_per_second: 10_000.0 };
            let stand_in = StandIn::start(pace).await?;
            // Who asked may have gone.
            let _ = told.send(stand_in.url());
            std::future::pending::<std::io::Result<()>>().await
        })
    });
    started.recv().context("the stand-in for a language model does not start")
}

async fn run(options: Options, bot: AnyBot) -> anyhow::Result<ExitCode> {
    machine::allow_many_files();
    let (one, _) = measure(&bot, 1, TURNS_ALONE, options.seconds).await?;
    let calls = options.calls;
    let (many, memory) = measure(&bot, calls, TURNS_PER_CALL, options.seconds).await?;
    let millis = |spans: &Spans, quantile: f64| spans.quantile(quantile).as_secs_f64() * 1e3;
    for (name, spans) in [("1 call".to_owned(), &one), (format!("{calls} calls"), &many)] {
        println!(
            "{name:>10}: key to first audio p50 {:6.1} ms, p95 {:6.1} ms, p99 {:6.1} ms ({} turns)",
            millis(spans, 0.5),
            millis(spans, 0.95),
            millis(spans, 0.99),
            spans.count()
        );
    }
    println!(
        "     ratio: p99 of {calls} calls is {:.2} times that of one",
        millis(&many, 0.99) / millis(&one, 0.99)
    );
    let [early, late] = memory.map(|bytes| bytes as f64 / 1e6);
    println!("    memory: {early:.0} MB after a third, {late:.0} MB at the end");
    Ok(ExitCode::SUCCESS)
}

/// The turns of so many calls, and the memory after a third of the time and at its end.
async fn measure(
    bot: &AnyBot,
    calls: u32,
    every: Duration,
    seconds: u64,
) -> anyhow::Result<(Spans, [u64; 2])> {
    let media = Media::start(&MediaConfig::new([127, 0, 0, 1].into()))?;
    let drain = UdpSocket::bind("0.0.0.0:0")?;
    let port = drain.local_addr()?.port();
    drain.set_read_timeout(Some(Duration::from_millis(200)))?;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let drained = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let mut datagram = [0; 2_048];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // Nobody listens to what the calls say.
                let _ = drain.recv(&mut datagram);
            }
        })
    };
    let spans = Arc::new(Mutex::new(Spans::default()));
    let mut tasks = JoinSet::new();
    for index in 0..calls {
        #[expect(clippy::cast_possible_truncation, reason = "both are below 250")]
        let host = [127, 1, (index / 250) as u8, (index % 250 + 1) as u8];
        let turns = turns(&media, (host, port).into(), bot.clone(), Arc::clone(&spans), every, seconds);
        tasks.spawn(turns?);
    }
    tokio::time::sleep(Duration::from_secs(seconds / 3 + 1)).await;
    let early = machine::anonymous_bytes();
    tokio::time::sleep(Duration::from_secs(seconds * 2 / 3)).await;
    let late = machine::anonymous_bytes();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a call failed")?;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let _ = drained.join();
    let spans = spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((spans, [early, late]))
}

/// One call: a key now and then, until the time is over.
fn turns(
    media: &Media,
    peer: SocketAddr,
    bot: AnyBot,
    spans: Arc<Mutex<Spans>>,
    every: Duration,
    seconds: u64,
) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    let id = CallId::new(WallTime::now());
    let session =
        media.attach(media.reserve(), Attach::new(id, peer, vad::make(vad::Kind::Webrtc, Rate::Hz8000)))?;
    let ari = Ari::new(AriConfig::new("http://127.0.0.1:9", "nobody", Secret::new("x")))?;
    let (leg_in, leg_events) = mpsc::channel(16);
    let watch = Arc::new(Watch { pressed: Mutex::new(None), spans });
    let voices: Arc<dyn Voices> = Arc::new(Beep);
    let mut call = Call::new(CallParts {
        // One that we made need not be answered.
        facts: Facts {
            id,
            outbound: true,
            caller: "1".into(),
            called: "2".into(),
            args: Vec::new(),
            bot: "bench".into(),
            variables: BTreeMap::new(),
        },
        leg: Leg::nowhere(ari, id),
        leg_events,
        media_events: session.events,
        control: session.control,
        recognizer: None,
        ear: None,
        speaker: Speaker::new(session.voice, voices, Rate::Hz8000),
        journal: Arc::clone(&watch) as _,
        policy: Arc::default(),
        beside: mpsc::channel(1).1,
    });
    let lease = session.lease;
    Ok(async move {
        let presses = async {
            let over = Moment::now() + Duration::from_secs(seconds);
            // Not all at the same moment.
            tokio::time::sleep(Duration::from_millis(500) + every.mul_f64(fastrand::f64())).await;
            while Moment::now() < over {
                let at = Moment::now();
                *watch.pressed.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
                if leg_in.send(LegEvent::Key { key: '1', at }).await.is_err() {
                    break;
                }
                tokio::time::sleep(every.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            }
        };
        tokio::select! {
            () = presses => {}
            ended = bot.run(&mut call) => eprintln!("a call ended before its time: {ended:?}"),
        }
        drop(call);
        lease.detach().await;
    })
}

/// Sees when a key was pressed, and when the answer to it began to be heard.
struct Watch {
    pressed: Mutex<Option<Moment>>,
    spans: Arc<Mutex<Spans>>,
}

impl Journal for Watch {
    fn note(&self, _: CallId, note: Note) {
        let Note::Started { at, .. } = note else { return };
        if let Some(pressed) = self.pressed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.spans.lock().unwrap_or_else(PoisonError::into_inner).add(at.since(pressed));
        }
    }
}

/// Says everything in a tenth of a second, which is ready.
struct Beep;

impl Voices for Beep {
    fn speak(&self, _: &str, _: Option<&str>, rate: Rate) -> Source {
        Source::Ready(vec![1_000; rate.hz() as usize / 10].into(), WordTimes::default())
    }

    fn play(&self, _: &Path, rate: Rate) -> Source {
        self.speak("", None, rate)
    }
}

/// A program that asks again and again, on a thread of its own.
fn program() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                // Small messages should not wait for anything.
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer(stream));
            }
        });
    });
    Ok(address)
}

async fn answer(stream: tokio::net::TcpStream) {
    const ASK: &str =
        r#"{"verb":"ask","id":1,"text":"Press a key.","listen":{"key":true,"no_input_ms":600000}}"#;
    let Ok(mut socket) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let asks = match Event::read(text.as_str()) {
            Ok((_, Event::CallStarted(_))) => true,
            Ok((_, Event::Result(outcome))) => matches!(outcome.heard, Some(Heard::Keys { .. })),
            _ => false,
        };
        if asks && socket.send(Message::text(ASK)).await.is_err() {
            return;
        }
    }
}
