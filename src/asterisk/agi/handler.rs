//! Handlers: async functions by the name of their script.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::error::AgiError;
use super::session::{Request, Session};

/// What is done with a call. An async function that takes a [`Session`] is one.
pub trait Handler: Send + Sync + 'static {
    /// Deals with the call. When it returns, the dialplan goes on.
    ///
    /// # Errors
    /// Whatever ended it early; it is logged, and the dialplan goes on all the same.
    fn run(&self, session: Session) -> impl Future<Output = Result<(), AgiError>> + Send;
}

impl<F, Done> Handler for F
where
    F: Fn(Session) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<(), AgiError>> + Send,
{
    fn run(&self, session: Session) -> impl Future<Output = Result<(), AgiError>> + Send {
        self(session)
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), AgiError>> + Send + 'a>>;

trait Boxed: Send + Sync {
    fn run_boxed(&self, session: Session) -> Running<'_>;
}

impl<H: Handler> Boxed for H {
    fn run_boxed(&self, session: Session) -> Running<'_> {
        Box::pin(self.run(session))
    }
}

/// Handlers by script: the path of `agi://host/PATH`, or the first argument of `agi:async`. Cheap to clone.
#[derive(Clone, Default)]
pub struct Router {
    handlers: Arc<BTreeMap<String, Arc<dyn Boxed>>>,
}

impl Router {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a handler for `script`; in the place of one that was there.
    #[must_use]
    pub fn on(mut self, script: &str, handler: impl Handler) -> Self {
        let mut handlers = BTreeMap::clone(&self.handlers);
        handlers.insert(script.trim_matches('/').to_owned(), Arc::new(handler));
        self.handlers = Arc::new(handlers);
        self
    }

    /// The names that there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.handlers.keys().map(String::as_str)
    }

    /// Whether there is a handler for `script`.
    #[must_use]
    pub fn has(&self, script: &str) -> bool {
        self.handlers.contains_key(script)
    }

    /// A router that gives everything to the handler `name`.
    pub(super) fn only(&self, name: &str) -> Result<Only, AgiError> {
        match self.handlers.get(name) {
            Some(handler) => Ok(Only(handler.clone())),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, wanted: &str) -> AgiError {
        let known = self.names().collect::<Vec<_>>().join(", ");
        let wanted = wanted.chars().filter(|c| !c.is_control()).take(60).collect();
        AgiError::NoHandler { wanted, known }
    }

    /// Runs the handler that the environment asks for, up to its end or, when the caller hung up, as long as `patience`
    /// allows. Who asks for one that is not there is refused.
    pub(super) async fn attend(
        &self,
        session: Session,
        gone: &CancellationToken,
        patience: Duration,
    ) -> Result<(), AgiError> {
        let wanted = session.environment().script();
        let handler = self.only(wanted)?;
        handler.attend(session, gone, patience).await
    }
}

/// One handler.
pub(super) struct Only(Arc<dyn Boxed>);

impl Only {
    pub(super) async fn attend(
        &self,
        session: Session,
        gone: &CancellationToken,
        patience: Duration,
    ) -> Result<(), AgiError> {
        let late = async {
            gone.cancelled().await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            done = self.0.run_boxed(session) => done,
            () = late => Err(AgiError::Handler("the handler went on after the hang-up, and was dropped".into())),
        }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Says in the log how a session ended, where that is worth a line.
pub(super) fn tell(environment: &Environment, ended: &Result<(), AgiError>) {
    let (script, uniqueid) = (environment.script(), environment.uniqueid());
    match ended {
        Ok(()) => tracing::debug!(script, uniqueid, "AGI session done"),
        Err(error) if error.is_over() => tracing::debug!(script, uniqueid, %error, "AGI session over"),
        Err(error) => tracing::warn!(script, uniqueid, %error, "AGI session failed"),
    }
}

/// A session for handlers that are tested without Asterisk: what they send comes out of the receiver, which answers.
pub(super) fn session_of(
    environment: Environment,
    gone: &CancellationToken,
) -> (Session, mpsc::Receiver<Request>) {
    Session::new(environment, gone.clone())
}
