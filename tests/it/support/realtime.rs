//! Stand-ins for speech to speech services, written from their public documentation as of November 2026: OpenAI's "Realtime
//! conversations" with the references "Client events" and "Server events" of the platform's pages, and Google's "Live API - WebSockets API
//! reference" (ai.google.dev/api/live). Each answers every utterance with a tone, and has the awkward parts: fragments of any
//! size, errors in mid-stream, a first byte that comes late, sockets that close, 401 and 429.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::task::AbortOnDropHandle;

/// What a stand-in does.
#[derive(Clone, Default)]
pub struct Manner {
    /// Connections in a row that get this status first.
    pub refuses: Vec<u16>,
    /// How long the first audio of an answer takes.
    pub first: Duration,
    /// Which answer, from 0, breaks off with its connection after so many milliseconds of audio.
    pub breaks: Option<usize>,
    /// Which answer fails with an error instead.
    pub fails: Option<usize>,
    /// Which answer ends with a wish, as a function's name and arguments.
    pub wishes: Option<(usize, &'static str, &'static str)>,
    /// It never answers.
    pub silent: bool,
    /// How long an answer is, in milliseconds; two seconds where it is 0.
    pub answer_ms: usize,
}

/// A service that runs until it is dropped.
pub struct StandIn {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    headers: Arc<Mutex<Vec<(String, String)>>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OpenAi,
    Gemini,
}

struct Shared {
    kind: Kind,
    manner: Manner,
    answers: Mutex<usize>,
    connections: Mutex<usize>,
    seen: Arc<Mutex<Vec<Value>>>,
    headers: Arc<Mutex<Vec<(String, String)>>>,
}

impl StandIn {
    pub fn start(kind: Kind, manner: Manner) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("it is a socket");
        let address = listener.local_addr().expect("it is bound");
        let listener = TcpListener::from_std(listener).expect("inside a runtime");
        let (seen, headers) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let shared = Arc::new(Shared {
            kind,
            manner,
            answers: Mutex::default(),
            connections: Mutex::default(),
            seen: Arc::clone(&seen),
            headers: Arc::clone(&headers),
        });
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(serve(Arc::clone(&shared), stream));
            }
        });
        Self { address, seen, headers, _task: AbortOnDropHandle::new(task) }
    }

    /// The messages that came, in order, of this type or with this field.
    pub fn seen(&self, what: &str) -> Vec<Value> {
        let seen = self.seen.lock().expect("nobody panics with it");
        let is = |message: &&Value| {
            message.get("type").and_then(Value::as_str) == Some(what)
                || message.pointer(&format!("/{what}")).is_some()
        };
        seen.iter().filter(is).cloned().collect()
    }

    /// The header of that name on the last connection.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.lock().expect("nobody panics with it");
        headers.iter().rev().find(|(there, _)| there == name).map(|(_, value)| value.clone())
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let number = {
        let mut connections = shared.connections.lock().expect("nobody panics with it");
        *connections += 1;
        *connections - 1
    };
    let refuse = shared.manner.refuses.get(number).copied();
    let headers = Arc::clone(&shared.headers);
    #[expect(clippy::result_large_err, reason = "the library's form of an answer")]
    let look = |request: &Request, response: Response| {
        let mut all = headers.lock().expect("nobody panics with it");
        all.push(("path".into(), request.uri().to_string()));
        all.extend(
            request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())),
        );
        match refuse {
            None => Ok(response),
            Some(status) => {
                let mut answer = ErrorResponse::new(Some("{\"error\":{\"message\":\"not now\"}}".to_owned()));
                *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
                Err(answer)
            }
        }
    };
    let Ok(socket) = accept_hdr_async(stream, look).await else { return };
    let talk = Talk { shared, socket };
    // A far end that goes away ends it.
    let _ = talk.run().await;
}

struct Talk {
    shared: Arc<Shared>,
    socket: WebSocketStream<TcpStream>,
}

type Sent = Result<(), tokio_tungstenite::tungstenite::Error>;

impl Talk {
    async fn say(&mut self, message: Value) -> Sent {
        match self.shared.kind {
            Kind::OpenAi => self.socket.send(Message::text(message.to_string())).await,
            // As the real one does.
            Kind::Gemini => self.socket.send(Message::Binary(message.to_string().into())).await,
        }
    }

    async fn run(mut self) -> Sent {
        if self.shared.kind == Kind::OpenAi {
            self.say(json!({ "type": "session.created", "session": {} })).await?;
        }
        let mut interrupted = false;
        loop {
            let Some(message) = self.socket.next().await else { return Ok(()) };
            let Message::Text(text) = message? else { continue };
            let message: Value = serde_json::from_str(text.as_str()).expect("we send JSON");
            self.shared.seen.lock().expect("nobody panics with it").push(message.clone());
            match self.shared.kind {
                Kind::OpenAi => match message["type"].as_str().unwrap_or_default() {
                    "session.update" => self.say(json!({ "type": "session.updated", "session": {} })).await?,
                    "input_audio_buffer.commit" => {
                        self.say(json!({ "type": "input_audio_buffer.committed", "item_id": "c" })).await?;
                        let heard = "conversation.item.input_audio_transcription.completed";
                        self.say(
                            json!({ "type": heard, "item_id": "c", "transcript": "I have a question." }),
                        )
                        .await?;
                    }
                    "response.create" => self.answer_openai().await?,
                    _ => {}
                },
                Kind::Gemini => {
                    if message.get("setup").is_some() {
                        self.say(json!({ "setupComplete": {} })).await?;
                        self.say(json!({ "sessionResumptionUpdate": { "newHandle": "handle-1", "resumable": true } })).await?;
                    }
                    let text = message.pointer("/clientContent/turnComplete") == Some(&Value::Bool(true));
                    interrupted |= message.pointer("/realtimeInput/activityStart").is_some();
                    if message.pointer("/realtimeInput/activityEnd").is_some() || text {
                        if std::mem::take(&mut interrupted) {
                            self.say(json!({ "serverContent": { "inputTranscription": { "text": "I have a question." } } })).await?;
                        }
                        self.answer_gemini().await?;
                    }
                    if message.get("toolResponse").is_some() {
                        self.answer_gemini().await?;
                    }
                }
            }
        }
    }

    /// Which answer it is.
    fn next_answer(&self) -> usize {
        let mut answers = self.shared.answers.lock().expect("nobody panics with it");
        *answers += 1;
        *answers - 1
    }

    fn length(&self) -> usize {
        if self.shared.manner.answer_ms == 0 { 2_000 } else { self.shared.manner.answer_ms }
    }

    async fn answer_openai(&mut self) -> Sent {
        let (index, manner) = (self.next_answer(), self.shared.manner.clone());
        if manner.silent {
            return Ok(());
        }
        self.say(json!({ "type": "response.created", "response": { "id": format!("r{index}") } })).await?;
        sleep(manner.first).await;
        if manner.fails == Some(index) {
            let details = json!({ "error": { "message": "the model is overloaded" } });
            return self.say(json!({ "type": "response.done", "response": { "status": "failed", "status_details": details } })).await;
        }
        let tone: Vec<u8> =
            tone(8_000, self.length()).into_iter().map(|s| offhook::audio::g711::Law::Mu.encode(s)).collect();
        let words = ["This ", "is ", "an ", "answer ", "of ", "the ", "stand-in. "];
        // In pieces of no useful size.
        for (number, piece) in tone.chunks(777).enumerate() {
            if let Some(word) = words.get(number) {
                self.say(json!({ "type": "response.output_audio_transcript.delta", "item_id": format!("i{index}"), "delta": word })).await?;
            }
            let delta = json!({ "type": "response.output_audio.delta", "response_id": format!("r{index}"), "item_id": format!("i{index}"), "output_index": 0, "content_index": 0, "delta": STANDARD.encode(piece) });
            self.say(delta).await?;
            if manner.breaks == Some(index) && number == 3 {
                // The socket is dropped without a word.
                return Err(tokio_tungstenite::tungstenite::Error::ConnectionClosed);
            }
        }
        if let Some((_, name, arguments)) = manner.wishes.filter(|(at, ..)| *at == index) {
            self.say(json!({ "type": "response.function_call_arguments.done", "call_id": "call_1", "name": name, "arguments": arguments })).await?;
        }
        self.say(json!({ "type": "response.done", "response": { "id": format!("r{index}"), "status": "completed", "usage": { "total_tokens": 100 } } })).await
    }

    async fn answer_gemini(&mut self) -> Sent {
        let (index, manner) = (self.next_answer(), self.shared.manner.clone());
        if manner.silent {
            return Ok(());
        }
        sleep(manner.first).await;
        let tone: Vec<u8> = tone(24_000, self.length()).into_iter().flat_map(i16::to_le_bytes).collect();
        for (number, piece) in tone.chunks(4_801).enumerate() {
            let part = json!({ "inlineData": { "mimeType": "audio/pcm;rate=24000", "data": STANDARD.encode(piece) } });
            self.say(json!({ "serverContent": { "modelTurn": { "role": "model", "parts": [part] } } }))
                .await?;
            if manner.breaks == Some(index) && number == 1 {
                return Err(tokio_tungstenite::tungstenite::Error::ConnectionClosed);
            }
        }
        self.say(json!({ "serverContent": { "outputTranscription": { "text": "This is an answer of the stand-in." } } })).await?;
        if let Some((_, name, arguments)) = manner.wishes.filter(|(at, ..)| *at == index) {
            let args: Value = serde_json::from_str(arguments).expect("JSON");
            self.say(
                json!({ "toolCall": { "functionCalls": [{ "id": "call_1", "name": name, "args": args }] } }),
            )
            .await?;
        }
        self.say(json!({ "serverContent": { "generationComplete": true } })).await?;
        self.say(
            json!({ "serverContent": { "turnComplete": true }, "usageMetadata": { "totalTokenCount": 100 } }),
        )
        .await
    }
}

/// A voice-like tone.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is within")]
fn tone(rate: u32, millis: usize) -> Vec<i16> {
    let count = rate as usize * millis / 1_000;
    let step = std::f64::consts::TAU / f64::from(rate);
    let sample = |n: usize| {
        let t = n as f64 * step;
        let swell = 0.85 + 0.15 * (t * 4.0).sin();
        (swell * ((t * 180.0).sin() + (t * 540.0).sin() + (t * 1_100.0).sin()) * 4_000.0) as i16
    };
    (0..count).map(sample).collect()
}
