//! Asynchronous AGI: the commands go through AMI, and Asterisk needs to reach nobody. `AGI(agi:async,NAME)` in the dialplan.
//!
//! Asterisk ends the session with the first command that fails (16 and 22): a file that is not there, for instance. The
//! command's error is then [`AgiError::HungUp`], for the two look the same from here, and the dialplan goes on.
//!
//! Every client that is signed in hears of every such channel. Those whose script has no handler here are left alone; one
//! script is for one client, for two of them would both give commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::environment::{Environment, percent_decoded};
use super::error::AgiError;
use super::handler::{Router, session_of, tell};
use super::session::{Patience, Request, Waiting};
use super::wire::{Item, Limits, Parser};
use crate::asterisk::ami::actions::{Agi, CoreShowChannels};
use crate::asterisk::ami::events::EventKind;
use crate::asterisk::ami::{Ami, AmiError, Signal};

/// Serves Asynchronous AGI over an AMI client, as long as it lives.
#[derive(Debug)]
pub struct AsyncAgi {
    counters: Arc<Counters>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    sessions: AtomicU64,
    turned_away: AtomicU64,
}

impl AsyncAgi {
    /// Takes every channel that waits for commands of a script of `router` from now on, `most` at once. Call it inside a Tokio runtime.
    #[must_use]
    pub fn start(ami: Ami, router: Router, most: usize, patience: Patience) -> Self {
        let counters = Arc::<Counters>::default();
        let desk = Desk {
            ami,
            router,
            most,
            patience,
            counters: counters.clone(),
            lines: HashMap::new(),
            tasks: TaskTracker::new(),
        };
        Self { counters, _task: AbortOnDropHandle::new(tokio::spawn(desk.run())) }
    }

    /// Sessions that began.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.counters.sessions.load(Ordering::Relaxed)
    }

    /// Channels that were sent on at once, because too many were up.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.counters.turned_away.load(Ordering::Relaxed)
    }
}

struct Desk {
    ami: Ami,
    router: Router,
    most: usize,
    patience: Patience,
    counters: Arc<Counters>,
    /// The sessions that are up, by the ids of their channels.
    lines: HashMap<String, Line>,
    tasks: TaskTracker,
}

struct Line {
    /// Results on their way to the session: the command's id and the text.
    results: mpsc::Sender<(String, String)>,
    gone: CancellationToken,
}

/// Results that wait for a session: one command runs at a time.
const RESULTS: usize = 8;

impl Desk {
    async fn run(mut self) {
        let mut events = self.ami.events(&["AsyncAGIStart", "AsyncAGIExec", "AsyncAGIEnd"]);
        loop {
            match events.next().await {
                Signal::Event(event) => match event.kind() {
                    EventKind::AsyncAgiStart(start) => self.begin(start.uniqueid, start.channel, &start.env),
                    EventKind::AsyncAgiExec(done) => {
                        if let Some(line) = self.lines.get(&done.uniqueid) {
                            // A session that takes no results has ended.
                            let _ = line.results.try_send((done.command_id, done.result));
                        }
                    }
                    EventKind::AsyncAgiEnd(end) => {
                        if let Some(line) = self.lines.remove(&end.uniqueid) {
                            line.gone.cancel();
                        }
                    }
                    _ => {}
                },
                // Results of the gap are lost: these calls go on in the dialplan when we can reach them again.
                Signal::Disconnected { .. } => self.give_up(),
                Signal::Connected { first } if !first => self.send_on_those_left().await,
                Signal::Connected { .. } => {}
                Signal::Lost { count } => {
                    tracing::warn!(
                        count,
                        "lost AMI events: the calls in Asynchronous AGI go on in the dialplan"
                    );
                    self.give_up();
                    self.send_on_those_left().await;
                }
            }
        }
    }

    /// Ends all sessions.
    fn give_up(&mut self) {
        self.lines.drain().for_each(|(_, line)| line.gone.cancel());
    }

    /// Lets the dialplan go on for every channel that waits for one of our scripts and has no session: nobody heard that it
    /// began, or its session was given up.
    async fn send_on_those_left(&self) {
        match self.ami.run(&CoreShowChannels::default()).await {
            Ok(channels) => {
                let waits = |data: &str| {
                    let script = data.strip_prefix("agi:async,")?.split(',').next()?;
                    self.router.has(script).then_some(())
                };
                let left = channels.into_iter().filter(|channel| {
                    waits(&channel.data).is_some() && !self.lines.contains_key(&channel.uniqueid)
                });
                left.for_each(|channel| self.send_on(channel.channel));
            }
            Err(error) => tracing::warn!(%error, "cannot look for calls that wait in Asynchronous AGI"),
        }
    }

    /// Lets the dialplan of a channel go on.
    fn send_on(&self, channel: String) {
        let ami = self.ami.clone();
        self.tasks.spawn(async move {
            let command = Agi { channel, command: "ASYNCAGI BREAK".into(), command_id: String::new() };
            // It may be gone.
            let _ = ami.run(&command).await;
        });
    }

    fn begin(&mut self, uniqueid: String, channel: String, env: &str) {
        let mut parser = Parser::new(Limits::default());
        parser.feed(percent_decoded(env).as_bytes());
        parser.feed(b"\n");
        let environment = match parser.take() {
            // Other programs may serve other names: their channels are theirs.
            Some(Item::Environment(environment)) if !self.router.has(environment.script()) => return,
            Some(Item::Environment(environment)) => environment,
            _ => return,
        };
        self.lines.retain(|_, line| !line.results.is_closed());
        if self.lines.len() >= self.most {
            self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            return self.send_on(channel);
        }
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        let (results, incoming) = mpsc::channel(RESULTS);
        let gone = CancellationToken::new();
        self.lines.insert(uniqueid, Line { results, gone: gone.clone() });
        let task = Call { ami: self.ami.clone(), channel, gone, patience: self.patience };
        self.tasks.spawn(task.serve(self.router.clone(), environment, incoming));
    }
}

/// One session.
struct Call {
    ami: Ami,
    channel: String,
    gone: CancellationToken,
    patience: Patience,
}

impl Call {
    async fn serve(
        self,
        router: Router,
        environment: Environment,
        results: mpsc::Receiver<(String, String)>,
    ) {
        let (session, requests) = session_of(environment.clone(), &self.gone);
        let attended = router.attend(session, &self.gone, self.patience.after_hang_up);
        let ((), ended) = tokio::join!(self.carry(requests, results), attended);
        tell(&environment, &ended);
        if !self.gone.is_cancelled() {
            let command = Agi {
                channel: self.channel.clone(),
                command: "ASYNCAGI BREAK".into(),
                command_id: String::new(),
            };
            if let Err(error) = self.ami.run(&command).await {
                tracing::debug!(%error, "a channel of Asynchronous AGI is gone already");
            }
        }
    }

    async fn carry(
        &self,
        mut requests: mpsc::Receiver<Request>,
        mut results: mpsc::Receiver<(String, String)>,
    ) {
        let mut waiting = Waiting::default();
        // Results go to every client that is signed in: the ids are nobody else's.
        let (nonce, mut running, mut count) = (fastrand::u64(..), String::new(), 0_u64);
        let mut next: Option<Request> = None;
        loop {
            tokio::select! {
                biased;
                result = results.recv() => match result {
                    Some((id, text)) if id == running => {
                        running.clear();
                        waiting.answered(reply(&text));
                    }
                    Some(_) => {}
                    None => {
                        waiting.closed();
                        return;
                    }
                },
                () = self.gone.cancelled() => {
                    waiting.hung_up();
                    return;
                }
                request = requests.recv(), if next.is_none() => match request {
                    Some(request) => next = Some(request),
                    None => return,
                },
            }
            if waiting.current.is_none()
                && let Some(request) = next.take()
            {
                count += 1;
                running = format!("{nonce:x}-{count}");
                let command =
                    Agi { channel: self.channel.clone(), command: request.line, command_id: running.clone() };
                match self.ami.run(&command).await {
                    Ok(()) => waiting.current = Some((request.answer, false)),
                    Err(error) => {
                        let error = self.unsent(request.command.name(), &error);
                        let _ = request.answer.send(Err(error));
                    }
                }
            }
        }
    }

    fn unsent(&self, command: &'static str, error: &AmiError) -> AgiError {
        match error {
            AmiError::Unsendable { .. } => {
                AgiError::Unsendable { command, what: "it is longer than AMI takes (1,022 bytes)" }
            }
            error if error.is_gone() => {
                self.gone.cancel();
                AgiError::HungUp
            }
            error => AgiError::Closed(error.to_string()),
        }
    }
}

/// Reads a result as Asterisk puts it into an event.
fn reply(text: &str) -> super::wire::Reply {
    let mut parser = Parser::of_replies(Limits::default());
    parser.feed(percent_decoded(text).as_bytes());
    parser.feed(b"\n");
    match parser.take() {
        Some(Item::Reply(reply)) => reply,
        _ => super::wire::Reply::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_as_over_every_other_way() {
        let read = reply("200%20result%3D1%20(a%20b)%0A");
        assert_eq!((read.code, read.data.as_deref()), (200, Some("a b")));
        assert_eq!(reply("520-Invalid%0AUsage%0A520%20End%20of%20proper%20usage.%0A").code, 520);
        assert_eq!(reply("").code, 0);
    }
}
