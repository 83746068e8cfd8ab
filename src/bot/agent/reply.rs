//! One reply: a model's words as clauses, its tools, and a sentence to fill the silence while either is slow.
//!
//! A reply is made by a task of its own, beside the call: it writes clauses, and stops as soon as nobody will hear them. What
//! it did is in its [`Log`], which may be read at any time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::task::AbortOnDropHandle;

use super::history::{Answer, History, Log, Round};
use super::model::chain::Chain;
use super::model::{Message, Piece, Request, ToolCall, Usage};
use super::text::Splitter;
use crate::bot::tools::verbs::Doing;
use crate::bot::tools::{Tools, Wanted};
use crate::call::{Clauses, Stream, clauses};
use crate::service::ServiceError;

/// A synthesiser's usual pace, to reckon how long a filler lasts.
const CHARS_PER_SECOND: u32 = 14;

/// What replies are made with. Shared by all calls of an agent.
pub(super) struct Maker {
    pub chain: Chain,
    pub tools: Tools,
    pub manners: Manners,
}

/// How a reply behaves.
pub(super) struct Manners {
    /// Said when there is nothing to say yet, one after the other.
    pub fillers: Vec<String>,
    /// After so much silence.
    pub filler_after: Duration,
    /// And again after so much.
    pub filler_again: Duration,
    /// Rounds of tools in one reply.
    pub rounds: usize,
    /// The longest that a tool may take, whatever it says itself.
    pub tool_timeout: Duration,
}

/// A reply on its way.
pub(super) struct Reply {
    /// What is said.
    pub stream: Stream,
    log: Arc<Mutex<Log>>,
    task: AbortOnDropHandle<Made>,
}

/// What became of a reply.
pub(super) struct Made {
    pub end: End,
    /// What it cost, with the price of a million tokens of each kind.
    pub usage: Vec<(Usage, (f64, f64))>,
    /// About what a model took that was stopped in the middle.
    pub unfinished: Option<Usage>,
}

/// How a reply ended.
pub(super) enum End {
    /// All was written: the caller's turn.
    Said,
    /// The call has something to do, in this order; each with the id of its tool call.
    Do(Vec<(String, Doing)>),
    /// Nobody heard it.
    Unheard,
    /// No model could answer.
    Failed(ServiceError),
}

impl Reply {
    /// Begins to make a reply to what `history` tells.
    pub fn begin(maker: &Arc<Maker>, system: &Arc<str>, history: &History) -> Self {
        let (writer, stream) = clauses();
        let log = Arc::new(Mutex::new(Log::default()));
        let making = Making {
            maker: Arc::clone(maker),
            request: Request {
                system: system.to_string(),
                messages: history.messages().to_vec(),
                tools: maker.tools.specs().to_vec(),
            },
            log: Arc::clone(&log),
            splitter: Splitter::default(),
            usage: Vec::new(),
            silence: Silence::new(&maker.manners),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(making.run(writer)));
        Self { stream, log, task }
    }

    /// The log, for those who look at it while the reply is said.
    pub fn shared_log(&self) -> Arc<Mutex<Log>> {
        Arc::clone(&self.log)
    }

    /// What became of it. Call it when the prompt is over or was dropped.
    pub async fn made(self) -> (Made, Log) {
        let Self { stream, log, task } = self;
        // Whoever did not say it will not: the writer is not to wait for him.
        drop(stream);
        let made = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a reply could not be made");
            let what = "the task that makes replies failed".to_owned();
            let end = End::Failed(ServiceError::Broken { service: "agent", what });
            Made { end, usage: Vec::new(), unfinished: None }
        });
        let log = lock(&log).clone();
        (made, log)
    }
}

/// About what it costs to ask for a reply: four characters make a token.
pub(super) fn estimate(system: &str, history: &History) -> Usage {
    Usage { input: tokens(system, history.messages()), output: 0 }
}

fn tokens(system: &str, messages: &[Message]) -> u64 {
    let of = |message: &Message| match message {
        Message::Caller { text } | Message::Bot { text, .. } | Message::Result { text, .. } => text.len(),
    };
    (system.len() + messages.iter().map(of).sum::<usize>()) as u64 / 4
}

pub(super) fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reply being made.
struct Making {
    maker: Arc<Maker>,
    request: Request,
    log: Arc<Mutex<Log>>,
    splitter: Splitter,
    usage: Vec<(Usage, (f64, f64))>,
    silence: Silence,
}

/// Nobody hears it any more.
struct Unheard;

impl Making {
    async fn run(mut self, writer: Clauses) -> Made {
        let end = tokio::select! {
            biased;
            () = writer.unheard() => End::Unheard,
            end = self.make(&writer) => end.unwrap_or(End::Unheard),
        };
        let end = self.with_words(end);
        let end = match end {
            End::Do(doings) => match writer.hand_back().await {
                Ok(()) => End::Do(doings),
                Err(_) => End::Unheard,
            },
            // A failure is told by the driver, in the same breath: he takes the call back.
            End::Failed(error) => {
                // If nobody hears it, there is nobody to tell.
                let _ = writer.hand_back().await;
                End::Failed(error)
            }
            other => other,
        };
        let mut log = lock(&self.log);
        log.complete = !matches!(end, End::Unheard);
        // The last round of one that was stopped has told nothing of what it took.
        let stopped = log.rounds.len() > self.usage.len();
        let written = log.clauses.iter().map(|(_, clause)| clause.len() as u64).sum::<u64>();
        let unfinished = stopped.then(|| Usage { input: self.asked(), output: written / 4 });
        drop(log);
        Made { end, usage: self.usage, unfinished }
    }

    /// A reply without a word leaves the caller in silence: that is a failure.
    fn with_words(&self, end: End) -> End {
        if matches!(end, End::Said) && lock(&self.log).clauses.is_empty() {
            return End::Failed(ServiceError::Broken {
                service: "agent",
                what: "its model said nothing".into(),
            });
        }
        end
    }

    /// About how many tokens the request has.
    fn asked(&self) -> u64 {
        tokens(&self.request.system, &self.request.messages)
    }

    async fn make(&mut self, writer: &Clauses) -> Result<End, Unheard> {
        for _ in 0..=self.maker.manners.rounds {
            let round = {
                let mut log = lock(&self.log);
                log.rounds.push(Round::default());
                log.rounds.len() - 1
            };
            let said = match self.listen(writer, round).await? {
                Ok(said) => said,
                Err(error) => return Ok(End::Failed(error)),
            };
            if said.calls.is_empty() {
                return Ok(End::Said);
            }
            lock(&self.log).rounds[round].calls.clone_from(&said.calls);
            let doings = self.carry_out(writer, round, &said.calls).await?;
            if !doings.is_empty() {
                return Ok(End::Do(doings));
            }
            self.go_on(round, said);
        }
        // A model that never stops using tools: what it has is what there is.
        let what = "too many rounds of tools".to_owned();
        Ok(End::Failed(ServiceError::Broken { service: "agent", what }))
    }

    /// Asks the models, and writes what they say.
    async fn listen(
        &mut self,
        writer: &Clauses,
        round: usize,
    ) -> Result<Result<Said, ServiceError>, Unheard> {
        let (maker, request) = (Arc::clone(&self.maker), self.request.clone());
        let begun = self.waiting(writer, maker.chain.ask(&request)).await?;
        let mut reply = match begun {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        let (mut said, mut usage) = (Said::default(), Usage::default());
        let mut first = std::mem::take(&mut reply.first).into_iter();
        loop {
            let piece = match first.next() {
                Some(piece) => Some(Ok(piece)),
                None => self.waiting(writer, reply.rest.next()).await?,
            };
            match piece {
                None => break,
                Some(Ok(Piece::Text(text))) => {
                    said.text.push_str(&text);
                    for clause in self.splitter.push(&text) {
                        self.write(writer, Some(round), clause).await?;
                    }
                }
                Some(Ok(Piece::Call(call))) => said.calls.push(call),
                Some(Ok(Piece::Usage(told))) => usage = told,
                Some(Ok(Piece::Cut)) => {
                    tracing::warn!(model = reply.model.name(), "a reply was cut at `max_tokens`")
                }
                Some(Err(error)) => {
                    maker.chain.broke_off(&reply.model, &error);
                    self.usage.push((self.reckon(usage, &said), reply.model.price()));
                    return Ok(Err(error));
                }
            }
        }
        self.usage.push((self.reckon(usage, &said), reply.model.price()));
        if let Some(clause) = self.splitter.finish() {
            self.write(writer, Some(round), clause).await?;
        }
        Ok(Ok(said))
    }

    /// What it cost, where the model does not tell: four characters make a token.
    fn reckon(&self, told: Usage, said: &Said) -> Usage {
        if told != Usage::default() {
            return told;
        }
        Usage { input: self.asked(), output: said.text.len() as u64 / 4 }
    }

    /// Carries out what can be done beside the call, all at once; what only the call can do comes back.
    async fn carry_out(
        &mut self,
        writer: &Clauses,
        round: usize,
        calls: &[ToolCall],
    ) -> Result<Vec<(String, Doing)>, Unheard> {
        let (mut doings, mut running) = (Vec::new(), FuturesUnordered::new());
        let timeout = self.maker.manners.tool_timeout;
        for call in calls {
            let id = call.id.clone();
            match self.maker.tools.check(call) {
                Ok(Wanted::Verb(doing)) => doings.push((id, doing)),
                Ok(Wanted::Elsewhere(tool)) => running.push(async move {
                    let (text, failed) = tool.answer(timeout).await;
                    Answer { call: id, text, failed }
                }),
                Err(error) => {
                    self.answered(round, Answer { call: id, text: error.to_string(), failed: true })
                }
            }
        }
        while !running.is_empty() {
            if let Some(answer) = self.waiting(writer, running.next()).await? {
                self.answered(round, answer);
            }
        }
        Ok(doings)
    }

    fn answered(&self, round: usize, answer: Answer) {
        lock(&self.log).rounds[round].results.push(answer);
    }

    /// The next round begins with the answers of this one.
    fn go_on(&mut self, round: usize, said: Said) {
        let results = lock(&self.log).rounds[round].results.clone();
        let messages = &mut self.request.messages;
        messages.push(Message::Bot { text: said.text, calls: said.calls });
        messages.extend(results.into_iter().map(|answer| Message::Result {
            call: answer.call,
            text: answer.text,
            failed: answer.failed,
        }));
    }

    /// Waits for something; says that it takes a moment when it does.
    async fn waiting<T>(&mut self, writer: &Clauses, what: impl Future<Output = T>) -> Result<T, Unheard> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                biased;
                done = &mut what => return Ok(done),
                () = tokio::time::sleep_until(self.silence.fill_at) => {
                    if let Some(filler) = self.silence.next_filler(&self.maker.manners) {
                        self.write(writer, None, filler).await?;
                    }
                }
            }
        }
    }

    async fn write(&mut self, writer: &Clauses, round: Option<usize>, clause: String) -> Result<(), Unheard> {
        self.silence.spoken(&clause, &self.maker.manners);
        lock(&self.log).clauses.push((round, clause.clone()));
        writer.say(clause).await.map_err(|_| Unheard)
    }
}

/// What a model said in a round.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
}

/// When the caller has heard nothing for too long, as far as that can be reckoned from here.
struct Silence {
    fill_at: tokio::time::Instant,
    /// Until when what was written is being heard.
    speaks_until: tokio::time::Instant,
    fillers: usize,
}

impl Silence {
    fn new(manners: &Manners) -> Self {
        let now = tokio::time::Instant::now();
        Self { fill_at: now + manners.filler_after, speaks_until: now, fillers: 0 }
    }

    fn spoken(&mut self, clause: &str, manners: &Manners) {
        let chars = u32::try_from(clause.chars().count()).unwrap_or(u32::MAX);
        let lasts = Duration::from_secs(1) * chars / CHARS_PER_SECOND;
        self.speaks_until = self.speaks_until.max(tokio::time::Instant::now()) + lasts;
        self.fill_at = self.speaks_until + manners.filler_again;
    }

    /// The next sentence; the last one stays. None where there are none.
    fn next_filler(&mut self, manners: &Manners) -> Option<String> {
        let filler = manners.fillers.get(self.fillers).or(manners.fillers.last()).cloned();
        self.fillers += 1;
        if filler.is_none() {
            self.fill_at += Duration::from_secs(3_600);
        }
        filler
    }
}
