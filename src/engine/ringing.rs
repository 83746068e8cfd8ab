//! Calls that we make and that nobody has answered, from one process to the next.
//!
//! Asterisk goes on ringing when the engine goes. What is stored when such a call begins is enough to wait on for its answer:
//! it is let go by a process that hands its calls over, and found in the store behind one that was killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Phase;
use super::records::Records;
use super::serve::{self, End, Joined};
use super::server::{Made, Outgoing, Server};
use super::switchboard::Stage;
use crate::asterisk::ari::model::ChannelState;
use crate::asterisk::ari::{AriError, ChannelId};
use crate::call::{CallError, Facts, Gone, LegEvent};
use crate::id::CallId;
use crate::store::{CallRecord, Disposition};
use crate::time::WallTime;

/// So much longer than it may ring is waited for word of a call that another process made: Asterisk takes that long to find
/// a call file, and to make an end of it.
const LATE: Duration = Duration::from_secs(20);

/// Events that may wait for what is being prepared: its media channel is there, and gone.
const MEDIA_EVENTS: usize = 4;

/// What is stored of a call that rings. What becomes of it when a machine answers is in its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ringing {
    /// Layout of this value.
    pub ringing: u32,
    pub call: CallId,
    /// The id of its channel, or the one that Asterisk was told where it chooses its own.
    pub channel: String,
    pub stage: Stage,
    /// Until when it may ring.
    pub until: WallTime,
    /// Who is called, for records.
    pub number: String,
    pub bot: String,
    /// What the bot knows beforehand.
    pub known: BTreeMap<String, String>,
}

impl Ringing {
    /// The layout that this version of Offhook writes.
    pub const VERSION: u32 = 1;

    pub fn new(facts: &Facts, channel: &ChannelId, made: &Made) -> Self {
        Self {
            ringing: Self::VERSION,
            call: facts.id,
            channel: channel.to_string(),
            stage: made.stage,
            until: made.until,
            number: facts.called.clone(),
            bot: facts.bot.clone(),
            known: facts.variables.clone(),
        }
    }

    /// Waits on for its answer, on the server that it was made on.
    pub fn go_on(self, server: &Arc<Server>, row: CallRecord) {
        let Self { ringing: _, call: id, channel, stage, until, number, bot, known: variables } = self;
        let (caller, called) = (number.clone(), number);
        let facts = Facts { id, outbound: true, caller, called, args: Vec::new(), bot, variables };
        let machines = row.outcome.as_ref().and_then(|outcome| outcome.machines.clone()).unwrap_or_default();
        tracing::info!(call = %id, bot = facts.bot, server = server.name, "a call that rings is taken up");
        server.shared.admission().enter();
        let made = Made { machines, stage, until, row: Some(Box::new(row)) };
        server.expect(facts, ChannelId::from(channel.as_str()), Some(Outgoing { answered: None, made }));
    }

    /// How long it may ring from now on.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.until.0 - WallTime::now().0).unwrap_or_default())
    }

    /// Whether a call that an earlier process made is still there. Tells the call where it is answered already.
    pub async fn is_there(&self, server: &Server) -> bool {
        if self.stage == Stage::Nameless {
            // Its arrival tells, or nothing does.
            return true;
        }
        let (channels, applications) = (server.ari.channels(), server.ari.applications());
        let there = async {
            // What we see below may change before its events come to us.
            applications.subscribe(&server.app, &[&format!("channel:{}", self.channel)]).await?;
            let channel = channels.get(&ChannelId::from(self.channel.as_str())).await?;
            let is_up = channel.state == ChannelState::Up
                && (self.stage == Stage::Early
                    || applications.get(&server.app).await?.channel_ids.contains(&channel.id));
            Ok::<_, AriError>(is_up)
        };
        match there.await {
            Ok(is_up) => {
                if is_up {
                    server.switchboard.picked_up(self.call);
                }
                true
            }
            // A source of events that does not exist is refused as unprocessable.
            Err(error) if error.is_gone() || matches!(error, AriError::Refused { status: 422, .. }) => {
                tracing::info!(call = %self.call, "a call that rang is not there any more");
                false
            }
            Err(error) => {
                tracing::warn!(call = %self.call, %error, "Asterisk does not say how a call stands that rang; waiting on");
                true
            }
        }
    }

    /// Waits until somebody answers. From the first ringing on what he will be joined with is made: it is there when he says
    /// hello.
    pub async fn answered(
        &self,
        server: &Arc<Server>,
        facts: &Facts,
        taken_up: bool,
        events: &mut mpsc::Receiver<LegEvent>,
        records: &Records,
    ) -> Waited {
        let mut phase = server.shared.phase.subscribe();
        let mut rang = records.row().outcome.is_some_and(|outcome| outcome.rang);
        // An earlier process may have left something.
        let mut prepared = taken_up.then(|| Preparing::begin(server, facts, &self.channel, true));
        let too_long = async {
            match taken_up {
                true => tokio::time::sleep(self.patience() + LATE).await,
                // Who asked for it watches.
                false => std::future::pending().await,
            }
        };
        tokio::pin!(too_long);
        let event = loop {
            let event = tokio::select! {
                // How it went before, that the engine is ending too.
                biased;
                event = events.recv() => event,
                _ = phase.wait_for(|phase| *phase >= Phase::Goodbye) => None,
                () = &mut too_long => Some(LegEvent::Gone(Gone::HungUp { cause: 0 })),
            };
            match event {
                Some(LegEvent::Up) => {
                    return Waited::Answered(match prepared {
                        Some(preparing) => preparing.finish(server, events).await,
                        None => Prepared::default(),
                    });
                }
                Some(LegEvent::Ringing) => {
                    records.rings();
                    rang = true;
                    prepared.get_or_insert_with(|| Preparing::begin(server, facts, &self.channel, false));
                }
                Some(LegEvent::Gone(gone)) => break Some(gone),
                Some(event) => {
                    if let Some(preparing) = &prepared {
                        preparing.tell(event);
                    }
                }
                None => break None,
            }
        };
        if event.is_none() && *server.shared.phase.borrow() == Phase::HandingOver {
            // What was prepared is left to the other process.
            return Waited::HandedOver;
        }
        if let Some(preparing) = prepared {
            preparing.forget(server);
        }
        let (end, why) = match event {
            Some(gone) => End::unanswered(gone, rang),
            None => (End::new(Disposition::Drained), "the engine is ending".to_owned()),
        };
        server.switchboard.answered(self.call, Err(why));
        Waited::Ended(end)
    }
}

/// What came of ringing.
pub(super) enum Waited {
    /// Somebody answered.
    Answered(Prepared),
    /// Nobody did.
    Ended(End),
    /// Another process waits on.
    HandedOver,
}

/// What somebody who answers will be joined with.
pub(super) enum Prepared {
    /// It is there.
    Ready(Box<Joined>),
    /// It is to be made when he has answered, `again` where that was tried before.
    Nothing { again: bool },
    /// He has gone meanwhile.
    Gone(Gone),
}

impl Default for Prepared {
    fn default() -> Self {
        Self::Nothing { again: false }
    }
}

impl Prepared {
    /// Takes it down.
    pub async fn abandon(self) {
        if let Self::Ready(joined) = self {
            joined.leg.abandon().await;
        }
    }
}

/// Media channel and bridge of a call that rings, while they are made and while they wait.
struct Preparing {
    task: JoinHandle<Result<Waiting, CallError>>,
    /// Tells the task what happens on the media channel.
    events: mpsc::Sender<LegEvent>,
}

/// What was made, and what happened on the media channel since.
type Waiting = (Joined, mpsc::Receiver<LegEvent>);

impl Preparing {
    fn begin(server: &Arc<Server>, facts: &Facts, channel: &str, again: bool) -> Self {
        let (events, mut told) = mpsc::channel(MEDIA_EVENTS);
        let (to, facts, channel) = (Arc::clone(server), facts.clone(), ChannelId::from(channel));
        let task = server.shared.tasks.spawn(async move {
            let joined = serve::prepare(&to, &facts, &channel, again, &mut told).await?;
            Ok((joined, told))
        });
        Self { task, events }
    }

    fn tell(&self, event: LegEvent) {
        if matches!(event, LegEvent::MediaReady | LegEvent::MediaLost) {
            let _ = self.events.try_send(event);
        }
    }

    /// Waits until it is made.
    async fn finish(mut self, server: &Arc<Server>, events: &mut mpsc::Receiver<LegEvent>) -> Prepared {
        let made = loop {
            let event = tokio::select! {
                biased;
                made = &mut self.task => break made,
                event = events.recv() => event,
            };
            match event {
                Some(LegEvent::Gone(gone)) => {
                    self.forget(server);
                    return Prepared::Gone(gone);
                }
                Some(event) => self.tell(event),
                None => {
                    self.forget(server);
                    return Prepared::default();
                }
            }
        };
        match made {
            Ok(Ok((joined, mut since))) => {
                if since.try_recv() != Ok(LegEvent::MediaLost) {
                    return Prepared::Ready(Box::new(joined));
                }
                joined.leg.abandon().await;
                Prepared::Nothing { again: true }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a call's audio could not be set up while it rang; trying again");
                Prepared::Nothing { again: true }
            }
            Err(_) => Prepared::Nothing { again: true },
        }
    }

    /// Takes down what was made, or is being made.
    fn forget(self, server: &Arc<Server>) {
        server.shared.tasks.spawn(async move {
            // It fails then, where it is not made yet, and takes its own down.
            drop(self.events);
            if let Ok(Ok((joined, _))) = self.task.await {
                joined.leg.abandon().await;
            }
        });
    }
}
