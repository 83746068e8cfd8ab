//! Calls that we make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::server::{Made, Outgoing, Server, ServerState};
use super::switchboard::Stage;
use super::ways::{CALL, Order, Ways, create};
use super::{Engine, EngineError, Shared};
use crate::asterisk::ari::ChannelId;
use crate::call::{Facts, Gone, LegEvent};
use crate::id::{CallId, OurId, Part};
use crate::store::Machines;
use crate::time::{Moment, WallTime};

/// A call that is to be made.
#[derive(Debug, Clone)]
pub struct CallOut<'a> {
    /// Whom, as Asterisk writes it: `PJSIP/alice`.
    pub endpoint: &'a str,
    /// The bot that talks to who answers.
    pub bot: &'a str,
    /// The number that is shown to who is called.
    pub caller_id: Option<&'a str>,
    /// How long it may ring.
    pub patience: Duration,
    /// The server that makes it, by its name; [`None`]: the one with the largest share of its room free.
    pub server: Option<&'a str>,
}

impl Engine {
    /// Calls somebody and lets a bot talk to who answers. Comes back with the id when it is answered.
    ///
    /// # Errors
    /// When there is no such bot, no server can make the call, Asterisk refuses, or nobody answers in time.
    pub async fn call_out(&self, call: &CallOut<'_>) -> Result<CallId, EngineError> {
        call_out(&self.shared, &self.servers, call).await
    }

    /// The server of that name.
    pub(super) fn named(&self, name: &str) -> Result<&Arc<Server>, EngineError> {
        named(&self.servers, name)
    }
}

/// A call that is to be made on a certain server, under a certain id.
pub(super) struct Wanted<'a> {
    pub id: CallId,
    pub endpoint: &'a str,
    /// Who is called, for records.
    pub number: &'a str,
    pub bot: &'a str,
    pub caller_id: Option<&'a str>,
    pub patience: Duration,
    /// What the bot knows beforehand.
    pub known: BTreeMap<String, String>,
    /// Variables of its channel.
    pub variables: BTreeMap<String, String>,
    /// What becomes of it when a machine answers.
    pub machines: Machines,
    /// Whether it is heard before it is answered, where its way can do that.
    pub early: bool,
}

/// A call that rings.
pub(super) struct Begun {
    server: Arc<Server>,
    id: CallId,
    patience: Duration,
    told: oneshot::Receiver<Result<(), String>>,
}

/// Makes a call, and comes back when Asterisk has taken it.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    server: &Arc<Server>,
    ways: &Ways,
    call: Wanted<'_>,
) -> Result<Begun, EngineError> {
    shared.services.bot(call.bot)?;
    let id = call.id;
    let channel = ChannelId::from(&OurId { app: server.app.clone(), call: id, part: Part::Leg });
    let facts = Facts {
        id,
        outbound: true,
        caller: call.number.to_owned(),
        called: call.number.to_owned(),
        args: Vec::new(),
        bot: call.bot.to_owned(),
        variables: call.known,
    };
    let (answered, told) = oneshot::channel();
    shared.admission().enter();
    let stage = match call.early && ways.hears_early() {
        true => Stage::Early,
        false if ways.is_nameless() => Stage::Nameless,
        false => Stage::Here,
    };
    let patience = i64::try_from(call.patience.as_millis()).unwrap_or(i64::MAX);
    let until = WallTime(WallTime::now().0.saturating_add(patience));
    let made = Made { machines: call.machines, stage, until, row: None };
    server.expect(facts, channel.clone(), Some(Outgoing { answered: Some(answered), made }));
    let mut variables: Vec<_> = call.variables.into_iter().collect();
    variables.push((CALL.to_owned(), channel.to_string()));
    variables.push(("OFFHOOK_APP".to_owned(), server.app.clone()));
    let order = Order {
        id,
        channel: &channel,
        endpoint: call.endpoint,
        caller_id: call.caller_id,
        patience: call.patience,
        variables,
    };
    let made = match stage {
        Stage::Early => create(server, order).await,
        _ => ways.make(server, order).await,
    };
    if let Err(error) = made {
        server.switchboard.tell(id, LegEvent::Gone(Gone::HungUp { cause: 0 }));
        server.switchboard.remove(id);
        return Err(error);
    }
    Ok(Begun { server: Arc::clone(server), id, patience: call.patience, told })
}

impl Begun {
    /// Waits until it is answered; an error says in a sentence why it was not.
    pub async fn answered(self) -> Result<(), String> {
        let why = match tokio::time::timeout(self.patience + Duration::from_secs(5), self.told).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => "the engine is ending".to_owned(),
            Err(_) => format!("not within {} seconds", self.patience.as_secs()),
        };
        self.server.switchboard.remove(self.id);
        Err(why)
    }
}

/// As [`Engine::call_out`].
pub(super) async fn call_out(
    shared: &Arc<Shared>,
    servers: &[Arc<Server>],
    call: &CallOut<'_>,
) -> Result<CallId, EngineError> {
    let &CallOut { endpoint, bot, caller_id, patience, server } = call;
    shared.services.bot(bot)?;
    let id = CallId::new(WallTime::now());
    let wanted = Wanted {
        id,
        endpoint,
        number: endpoint,
        bot,
        caller_id,
        patience,
        known: BTreeMap::new(),
        variables: BTreeMap::new(),
        machines: Machines::Talk,
        early: false,
    };
    let begun = begin(shared, server_for(servers, server)?, &Ways::ari(), wanted).await?;
    begun.answered().await.map(|()| id).map_err(EngineError::NotAnswered)
}

/// The server of that name, or the least loaded one, if it can make a call.
pub(super) fn server_for<'a>(
    servers: &'a [Arc<Server>],
    name: Option<&str>,
) -> Result<&'a Arc<Server>, EngineError> {
    let able = |server: &&Arc<Server>| places(server) > 0;
    let Some(name) = name else {
        let load = |server: &&Arc<Server>| {
            let room = server.room(Moment::now());
            // In parts of a million: shares of different capacities compare.
            room.calls.saturating_mul(1_000_000) / room.capacity.max(1)
        };
        let told = || {
            let all = servers.iter().map(|server| format!("{} is {}", server.name, server.state()));
            EngineError::NoServer(all.collect::<Vec<_>>().join(", "))
        };
        return servers.iter().filter(able).min_by_key(load).ok_or_else(told);
    };
    let server = named(servers, name)?;
    if able(&server) {
        return Ok(server);
    }
    let status = server.status();
    Err(EngineError::NoServer(format!(
        "{name} is {}, with {} of {} calls",
        status.state, status.calls, status.capacity
    )))
}

/// How many calls a server could make now.
pub(super) fn places(server: &Server) -> usize {
    if server.open().is_err() || server.state() != ServerState::Up {
        return 0;
    }
    let room = server.room(Moment::now());
    room.capacity.saturating_sub(room.calls)
}

fn named<'a>(servers: &'a [Arc<Server>], name: &str) -> Result<&'a Arc<Server>, EngineError> {
    servers.iter().find(|server| server.name == name).ok_or_else(|| {
        let known: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
        EngineError::NoServer(format!("there is no server '{name}', only {}", known.join(", ")))
    })
}
