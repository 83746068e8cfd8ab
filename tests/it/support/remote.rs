//! A program as a bot, written as its users would: what it sends and gets is held to the schema of the documentation.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use jsonschema::Validator;
use offhook::bot::remote::audio;
use offhook::bot::remote::message::{CallStarted, Event, Outcome};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_hdr_async, connect_async};

use tokio::sync::OnceCell;

use super::asterisk::{AsteriskUnderTest, Wanted};
use super::caller::PATIENCE;
use super::engine::{DIALPLAN, EngineUnderTest, Settings};

/// The secret of all programs.
pub const TOKEN: &str = "a secret of tests";

/// Bots that are programs, by the numbers that lead to them.
pub const BOTS: [(&str, &str); 8] = [
    ("121", "talk"),
    ("122", "gone"),
    ("123", "flowing"),
    ("124", "still"),
    ("125", "sound"),
    ("126", "everything"),
    ("127", "worker"),
    ("128", "leaving"),
];

/// Numbers that lead to the bots, beside those that every engine has.
pub fn dialplan() -> String {
    let numbers = BOTS.map(|(number, bot)| {
        format!("exten => {number},1,Stasis(bot,{bot},first,second)\n same => n,Goto(after,s,1)\n")
    });
    format!("{DIALPLAN}\n[offhook]\n{}", numbers.concat())
}

/// An Asterisk that leads to programs.
pub async fn asterisk() -> AsteriskUnderTest {
    let extra = vec![("extensions.conf", dialplan())];
    AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await
}

/// An Asterisk, an engine, and the places where programs are awaited, for tests that leave them as they were.
pub struct House {
    pub asterisk: AsteriskUnderTest,
    pub engine: EngineUnderTest,
    places: HashMap<&'static str, StdListener>,
    /// Where programs register.
    pub workers: SocketAddr,
}

static SHARED: OnceCell<House> = OnceCell::const_new();

/// The house that the tests of this process share.
pub async fn house() -> &'static House {
    SHARED
        .get_or_init(|| async {
            let asterisk = asterisk().await;
            let mut places = HashMap::new();
            let mut url = |bot| {
                let listener = StdListener::bind("127.0.0.1:0").expect("a port is free");
                let address = listener.local_addr().expect("it is bound");
                places.insert(bot, listener);
                format!("ws://{address}/calls")
            };
            let more = format!(
                "[bots.talk]\nremote = {{ url = '{}', token = '{TOKEN}' }}\n\
                 [bots.leaving]\nremote = '{}'\n\
                 [bots.gone]\nremote = {{ url = 'ws://127.0.0.1:9/', connect_ms = 300 }}\n\
                 [bots.flowing]\nremote = {{ url = '{}', reconnect_ms = 500, fallback = {{ flow = 'quick.toml' }} }}\n\
                 [bots.still]\nremote = {{ url = '{}', reply_ms = 2500, filler_ms = 600, filler = 'One moment please.', fallback = {{ dialplan = true }} }}\n\
                 [bots.sound]\nremote = {{ url = '{}', audio = 'utterances' }}\n\
                 [bots.everything]\nremote = {{ url = '{}', audio = 'everything', encoding = 'slin', rate = 16000 }}\n",
                url("talk"),
                url("leaving"),
                url("flowing"),
                url("still"),
                url("sound"),
                url("everything"),
            );
            let free = StdListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
            let more = format!("{more}[bots.worker]\nremote = {{ listen = '{free}', token = '{TOKEN}', connect_ms = 1000, reply_ms = 5000 }}\n");
            let settings = Settings { ears: true, more: &more, ..Settings::default() };
            let engine = EngineUnderTest::start(&asterisk, settings).await;
            House { asterisk, engine, places, workers: free }
        })
        .await
}

impl House {
    /// The program of that bot, from now on.
    pub fn program(&self, bot: &str) -> Program {
        let listener = self.places[bot].try_clone().expect("it is a listener");
        Program::at(listener)
    }
}

fn validator() -> Arc<Validator> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/remote-protocol.schema.json");
    let schema = std::fs::read_to_string(file).expect("the schema is there");
    let schema = serde_json::from_str(&schema).expect("it is JSON");
    Arc::new(jsonschema::validator_for(&schema).expect("it is a schema"))
}

/// A program that listens.
pub struct Program {
    listener: TcpListener,
    validator: Arc<Validator>,
}

impl Program {
    /// One at a port of its own.
    pub fn start() -> (Self, SocketAddr) {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        (Self::at(listener), address)
    }

    /// One where the engine looks for it.
    pub fn at(listener: StdListener) -> Self {
        listener.set_nonblocking(true).expect("it is a socket");
        let listener = TcpListener::from_std(listener).expect("inside a runtime");
        Self { listener, validator: validator() }
    }

    /// The next connection, and the headers that it came with.
    pub async fn accept(&self) -> (Conversation, HashMap<String, String>) {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.expect("the engine connects");
        let (stream, _) = accepted.expect("a connection");
        stream.set_nodelay(true).expect("it is TCP");
        let mut headers = HashMap::new();
        #[expect(clippy::result_large_err, reason = "the library's form of an answer")]
        let look = |request: &Request, response: Response| {
            for (name, value) in request.headers() {
                headers.insert(name.to_string(), value.to_str().unwrap_or_default().to_owned());
            }
            Ok(response)
        };
        let socket = accept_hdr_async(MaybeTlsStream::Plain(stream), look).await.expect("a WebSocket");
        (Conversation::new(socket, Arc::clone(&self.validator)), headers)
    }

    /// The next call.
    pub async fn call(&self) -> (Conversation, CallStarted) {
        let (mut conversation, _) = self.accept().await;
        let started = conversation.started().await;
        (conversation, started)
    }
}

/// A connection, as the program sees it.
pub struct Conversation {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    validator: Arc<Validator>,
    ids: i64,
    /// The call that it is about, where several share it.
    call: Option<String>,
    /// What has come so far.
    pub events: Vec<(Option<String>, Event)>,
    /// The payloads of the caller's audio that have come so far.
    pub sound: Vec<Vec<u8>>,
}

impl Conversation {
    fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, validator: Arc<Validator>) -> Self {
        Self { socket, validator, ids: 0, call: None, events: Vec::new(), sound: Vec::new() }
    }

    /// A connection to where programs register, with or without the secret in its header.
    pub async fn connect(to: SocketAddr, token: Option<&str>) -> Result<Self, String> {
        let mut request = format!("ws://{to}/").into_client_request().expect("an address");
        if let Some(token) = token {
            request
                .headers_mut()
                .insert("Authorization", format!("Bearer {token}").parse().expect("a header"));
        }
        let (socket, _) = connect_async(request).await.map_err(|error| error.to_string())?;
        Ok(Self::new(socket, validator()))
    }

    /// Registers, and tells the answer.
    pub async fn register(&mut self, capacity: u32, token: Option<&str>) -> Event {
        let mut verb = json!({ "verb": "register", "version": 1, "name": "tests", "capacity": capacity });
        if let Some(token) = token {
            verb["token"] = token.into();
        }
        self.send(verb).await;
        self.next().await.1
    }

    /// Speaks of this call from now on.
    pub fn about(&mut self, call: &str) {
        self.call = Some(call.to_owned());
    }

    /// Sends a message that is right.
    pub async fn send(&mut self, mut verb: Value) {
        if let (Some(call), None) = (&self.call, verb.get("call")) {
            verb["call"] = call.clone().into();
        }
        let errors: Vec<_> = self.validator.iter_errors(&verb).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{verb} is no message: {errors:?}");
        self.send_anything(Message::text(verb.to_string())).await;
    }

    /// Sends what it likes.
    pub async fn send_anything(&mut self, message: Message) {
        self.socket.send(message).await.expect("the engine is there");
    }

    /// Sends audio.
    pub async fn sound(&mut self, stream: u16, payload: &[u8]) {
        self.send_anything(Message::Binary(audio::of_bot(stream, payload))).await;
    }

    /// The next event, held to the schema; audio is put aside.
    pub async fn next(&mut self) -> (Option<String>, Event) {
        self.try_next().await.expect("the connection goes on")
    }

    /// The next event; [`None`] when the connection has ended.
    pub async fn try_next(&mut self) -> Option<(Option<String>, Event)> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("the engine says something");
            match message? {
                Ok(Message::Text(text)) => {
                    let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
                    let errors: Vec<_> =
                        self.validator.iter_errors(&value).map(|error| error.to_string()).collect();
                    assert!(errors.is_empty(), "{value} is not of the schema: {errors:?}");
                    let event = Event::read(text.as_str()).expect("an event");
                    self.events.push(event.clone());
                    return Some(event);
                }
                Ok(Message::Binary(bytes)) => {
                    assert_eq!(bytes[..2], [1, 1], "of the caller");
                    self.sound.push(bytes[audio::HEADER..].to_vec());
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next event that is wanted; the others are put aside.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let (_, event) = self.next().await;
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// The facts of the call.
    pub async fn started(&mut self) -> CallStarted {
        let (call, event) = self.next().await;
        let Event::CallStarted(started) = event else { panic!("{event:?}") };
        assert!(call.is_some(), "it says which call");
        *started
    }

    /// Wants something, and waits for what came of it.
    pub async fn want(&mut self, verb: Value) -> Outcome {
        let id = self.begin(verb).await;
        self.result_of(id).await
    }

    /// Wants something.
    pub async fn begin(&mut self, mut verb: Value) -> i64 {
        self.ids += 1;
        verb["id"] = self.ids.into();
        self.send(verb).await;
        self.ids
    }

    /// What came of something.
    pub async fn result_of(&mut self, id: i64) -> Outcome {
        use offhook::bot::remote::message::RequestId;
        self.until(|event| match event {
            Event::Result(outcome) if outcome.id == RequestId::Number(id) => Some((**outcome).clone()),
            _ => None,
        })
        .await
    }

    /// Why the call ended for the program.
    pub async fn ended(&mut self) -> String {
        self.until(|event| match event {
            Event::CallEnded { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }
}

/// A Python with what the example needs; [`None`], with a sentence, where there is none and none can be had.
pub async fn python() -> Option<std::path::PathBuf> {
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/remote/python/requirements.txt");
    let wanted = std::fs::read_to_string(wanted).expect("it is there");
    super::python::python(&wanted.lines().collect::<Vec<_>>()).await
}

/// An example that runs, killed when it is dropped.
pub struct Example {
    _process: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Example {
    /// Starts it.
    pub fn start(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Self {
        use tokio::io::AsyncBufReadExt as _;
        let mut process = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let output = process.stdout.take().expect("it is piped");
        Self { _process: process, lines: tokio::io::BufReader::new(output).lines() }
    }

    /// Waits until it prints a line with that in it, and gives the line.
    pub async fn prints(&mut self, text: &str) -> String {
        let line = async {
            while let Some(line) = self.lines.next_line().await.expect("it can be read") {
                println!("example: {line}");
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the example ended without `{text}`");
        };
        timeout(PATIENCE, line).await.expect("the example says so")
    }
}
