//! What a handler holds: the call's environment, and the commands it may give.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::environment::Environment;
use super::error::AgiError;
use super::wire::{Item, Limits, Parser, Reply};

/// One call under AGI's control. Commands run one at a time; clones share the call. When the last clone is dropped the
/// session ends and the dialplan goes on.
#[derive(Clone)]
pub struct Session {
    environment: Arc<Environment>,
    link: mpsc::Sender<Request>,
    gone: CancellationToken,
    /// Commands that Asterisk does for a dead channel are sent although the caller is gone.
    after_the_end: bool,
}

/// A command on its way.
pub(super) struct Request {
    pub command: Command,
    pub line: String,
    pub answer: oneshot::Sender<Result<Reply, AgiError>>,
}

impl Session {
    pub(super) fn new(environment: Environment, gone: CancellationToken) -> (Self, mpsc::Receiver<Request>) {
        let (link, requests) = mpsc::channel(1);
        (Self { environment: Arc::new(environment), link, gone, after_the_end: false }, requests)
    }

    /// What Asterisk said of the call.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether the caller hung up, or the session is over for another reason.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Ends when the caller hangs up: for a wait that is to be dropped then. Cancel safe.
    pub async fn over(&self) {
        self.gone.cancelled().await;
    }

    /// Does `work` as long as the caller is there.
    ///
    /// # Errors
    /// [`AgiError::HungUp`] when he goes first; the work is dropped then.
    pub async fn while_there<T>(&self, work: impl Future<Output = T>) -> Result<T, AgiError> {
        tokio::select! {
            biased;
            () = self.over() => Err(AgiError::HungUp),
            done = work => Ok(done),
        }
    }

    /// The same session for what is to be done after the caller hung up: variables, the database, the log.
    #[must_use]
    pub fn last_words(&self) -> Self {
        Self { after_the_end: true, ..self.clone() }
    }

    /// Sends any command and waits for what it is answered with. A hang-up ends the wait at once. Dropping the future loses
    /// the answer; the command goes on in Asterisk, and the next one waits for its end.
    ///
    /// # Errors
    /// [`AgiError::HungUp`], or what Asterisk answered instead of 200.
    pub async fn send(&self, command: Command) -> Result<Reply, AgiError> {
        let name = command.name();
        let line = command.line()?;
        let allowed = self.after_the_end && command.works_when_hung_up();
        if self.gone.is_cancelled() && !allowed {
            return Err(AgiError::HungUp);
        }
        let (answer, answered) = oneshot::channel();
        let over = || AgiError::Closed("Asterisk ended it".into());
        self.link.send(Request { command, line, answer }).await.map_err(|_| over())?;
        let reply = answered.await.map_err(|_| over())??;
        match reply.code {
            200 => Ok(reply),
            510 => Err(AgiError::Unknown { command: name }),
            511 => Err(AgiError::Dead { command: name }),
            520 => Err(AgiError::Usage { command: name, usage: reply.text }),
            _ => Err(AgiError::Failed { command: name }),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("script", &self.environment.script())
            .field("over", &self.is_over())
            .finish_non_exhaustive()
    }
}

/// How long a session's parts may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For Asterisk to say what the call is.
    pub environment: Duration,
    /// For Asterisk to take what we write.
    pub write: Duration,
    /// For a handler to end after the caller hung up; then it is dropped.
    pub after_hang_up: Duration,
}

impl Default for Patience {
    /// 5 s each.
    fn default() -> Self {
        let five = Duration::from_secs(5);
        Self { environment: five, write: five, after_hang_up: five }
    }
}

/// Reads the environment of a session that begins.
///
/// # Errors
/// When none comes in time, or it is too large.
pub(super) async fn environment<R: AsyncRead + Unpin>(
    reader: &mut R,
    parser: &mut Parser,
    patience: Duration,
) -> Result<Environment, AgiError> {
    let read = async {
        let mut buffer = [0; 4_096];
        loop {
            match parser.take() {
                Some(Item::Environment(environment)) => return Ok(environment),
                Some(Item::Refused(why)) => return Err(AgiError::Refused(why)),
                Some(_) => continue,
                None => {}
            }
            match reader.read(&mut buffer).await {
                Ok(0) => return Err(AgiError::Closed("it ended before it began".into())),
                Ok(length) => parser.feed(&buffer[..length]),
                Err(error) => return Err(AgiError::Closed(error.to_string())),
            }
        }
    };
    tokio::time::timeout(patience, read)
        .await
        .unwrap_or(Err(AgiError::Refused("it did not say in time what the call is")))
}

/// Carries a session's commands over a byte stream until the handler is done with it or the stream ends.
pub(super) async fn carry<R, W>(
    mut reader: R,
    mut writer: W,
    mut parser: Parser,
    mut requests: mpsc::Receiver<Request>,
    gone: &CancellationToken,
    patience: Duration,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut waiting = Waiting::default();
    let mut buffer = [0; 4_096];
    let mut input_open = true;
    let mut next: Option<Request> = None;
    loop {
        while let Some(item) = parser.take() {
            match item {
                Item::Reply(reply) => waiting.answered(reply),
                Item::HangUp => {
                    gone.cancel();
                    waiting.hung_up();
                }
                Item::Environment(_) | Item::Refused(_) => {}
            }
        }
        if waiting.current.is_none()
            && let Some(request) = next.take()
        {
            if !input_open || (gone.is_cancelled() && !request.command.works_when_hung_up()) {
                let _ = request.answer.send(Err(AgiError::HungUp));
                continue;
            }
            let bytes = request.line + "\n";
            waiting.current = Some((request.answer, gone.is_cancelled()));
            let written = tokio::time::timeout(patience, async {
                writer.write_all(bytes.as_bytes()).await?;
                writer.flush().await
            });
            if !matches!(written.await, Ok(Ok(()))) {
                gone.cancel();
                waiting.closed();
                return;
            }
        }
        tokio::select! {
            biased;
            // From outside: a signal to the process, or the end of the server.
            () = gone.cancelled(), if waiting.is_hearing_out_the_living() => waiting.hung_up(),
            read = reader.read(&mut buffer), if input_open => match read {
                Ok(length) if length > 0 => parser.feed(&buffer[..length]),
                _ => {
                    input_open = false;
                    gone.cancel();
                    waiting.closed();
                    requests.close();
                }
            },
            // One ahead, so that the end of the handler is seen while a command that it gave up still runs.
            request = requests.recv(), if next.is_none() => match request {
                Some(request) => next = Some(request),
                None => return,
            },
        }
    }
}

/// Who waits for a reply.
#[derive(Default)]
pub(super) struct Waiting {
    /// Who gave the command that runs, and whether it was given after the end.
    pub current: Option<(oneshot::Sender<Result<Reply, AgiError>>, bool)>,
    /// Replies that will still come and that nobody waits for.
    skip: usize,
}

impl Waiting {
    pub fn answered(&mut self, reply: Reply) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if let Some((who, _)) = self.current.take() {
            // Who asked may be gone.
            let _ = who.send(Ok(reply));
        }
    }

    /// Whether a command runs that a hang-up ends.
    pub fn is_hearing_out_the_living(&self) -> bool {
        self.current.as_ref().is_some_and(|(_, after_the_end)| !after_the_end)
    }

    pub fn hung_up(&mut self) {
        if self.is_hearing_out_the_living()
            && let Some((who, _)) = self.current.take()
        {
            self.skip += 1;
            let _ = who.send(Err(AgiError::HungUp));
        }
    }

    pub fn closed(&mut self) {
        if let Some((who, _)) = self.current.take() {
            let _ = who.send(Err(AgiError::Closed("the connection ended".into())));
        }
    }
}

/// A parser for the limits that sessions have.
pub(super) fn parser() -> Parser {
    Parser::new(Limits::default())
}
