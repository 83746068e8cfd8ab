//! The way to a service, again and again.

use std::pin::Pin;
use std::time::Duration;

use super::RealtimeBot;
use super::link::Link;
use crate::service::ServiceError;
use crate::time::Moment;

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(250);

type Connecting<'b> = Pin<Box<dyn Future<Output = Result<Link, ServiceError>> + Send + 'b>>;

/// The way to a service: a connection, or one that is being made.
pub(super) enum Way<'b> {
    Connecting(Connecting<'b>),
    /// Set up, not confirmed yet.
    Opening(Link),
    Up(Link),
}

/// What happened on it.
pub(super) enum Happened {
    Connected(Link),
    Failed(String),
    Came(String),
    Lost(String),
}

impl<'b> Way<'b> {
    /// One that is being made.
    pub fn to(bot: &'b RealtimeBot, patience: Duration) -> Self {
        Self::Connecting(Box::pin(connect(bot, patience)))
    }

    /// What happens next. Cancel-safe.
    pub async fn next(&mut self) -> Happened {
        match self {
            Self::Connecting(connecting) => match connecting.await {
                Ok(link) => Happened::Connected(link),
                Err(error) => Happened::Failed(error.to_string()),
            },
            Self::Opening(link) | Self::Up(link) => match link.next().await {
                Ok(text) => Happened::Came(text),
                Err(why) => Happened::Lost(why),
            },
        }
    }
}

/// Connects, again and again for so long, but for what will not change.
async fn connect(bot: &RealtimeBot, patience: Duration) -> Result<Link, ServiceError> {
    let until = Moment::now() + patience;
    loop {
        let error = match Link::connect(bot, until.since(Moment::now())).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let wait = error.retry_after().unwrap_or(AGAIN);
        if error.is_lasting() || Moment::now() + wait >= until {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}
