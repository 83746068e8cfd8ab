//! The ways by which Asterisk is asked to make a call: ARI, AMI, call files.
//!
//! Whatever the way, a call that is answered comes into our Stasis application, and its audio and its end are ARI's. What
//! differs is who is told before that, and by whom:
//!
//! | way | rings, and why nobody answered |
//! |---|---|
//! | ARI | by its events |
//! | AMI | by AMI's events (`Newstate`, `Hangup`), under the channel id that we choose |
//! | call file | the same where AMI is configured: the file sets OFFHOOK_CALL on the channel; else only what Asterisk writes into the file, that nobody answered |

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::EngineError;
use super::config::Config;
use super::server::Server;
use super::switchboard::Stage;
use crate::asterisk::ami::actions::Originate as AmiOriginate;
use crate::asterisk::ami::events::EventKind;
use crate::asterisk::ami::{Ami, Events, Signal};
use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::ops::{CreateChannel, Originate};
use crate::asterisk::callfile::{CallFile, Outcome, Spool, Then};
use crate::asterisk::number::Plain;
use crate::call::{Gone, LegEvent};
use crate::id::{CallId, OurId, Part};

/// The variable by which a channel that Asterisk has named itself says which call it is.
pub(super) const CALL: &str = "OFFHOOK_CALL";

/// How long an event that says why nobody answered may come behind the answer that nobody did.
const EVENT_LATE: Duration = Duration::from_millis(500);

/// How often a call file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long Asterisk may take to find a call file, and to make an end of it behind its ringing.
const FILE_LATE: Duration = Duration::from_secs(15);

/// Channels that are remembered by their ids until they are gone.
const REMEMBERED: usize = 10_000;

/// The way's name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By ARI.
    #[default]
    Ari,
    /// By AMI's `Originate`.
    Ami,
    /// By files in Asterisk's spool.
    CallFiles,
}

/// A call as Asterisk is asked for it.
pub(super) struct Order<'a> {
    pub id: CallId,
    /// Its channel's id, where we choose it.
    pub channel: &'a ChannelId,
    /// Whom, `PJSIP/NUMBER@TRUNK`.
    pub endpoint: &'a str,
    pub caller_id: Option<&'a str>,
    pub patience: Duration,
    pub variables: Vec<(String, String)>,
}

/// How calls of campaigns are made. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ways {
    way: Way,
    ami: Option<Ami>,
    spool: Spool,
    _watch: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Ways {
    /// Those that `config` asks for. `servers` are told what AMI says of their calls.
    ///
    /// # Errors
    /// When there can be no client of AMI.
    pub fn open(config: &Config, servers: &[Arc<Server>]) -> Result<Self, EngineError> {
        let section = &config.campaigns;
        let client = if section.by == Way::Ari { None } else { config.ami.client()? };
        let names = section.by == Way::CallFiles;
        let client = client.map(|mut client| {
            // Of the many events of a busy server these are all that is needed.
            client.filters = vec!["Event: Newstate".into(), "Event: Hangup".into()];
            if names {
                client.filters.push(format!("Variable: {CALL}"));
            }
            client
        });
        let ami = client.map(Ami::new).transpose().map_err(EngineError::Ami)?;
        let watch = ami.as_ref().map(|ami| {
            let events = ami.events(&["Newstate", "Hangup", "VarSet"]);
            Arc::new(AbortOnDropHandle::new(tokio::spawn(watch(events, servers.to_vec()))))
        });
        Ok(Self { way: section.by, ami, spool: Spool::new(&section.spool), _watch: watch })
    }

    /// Calls of one's own, by ARI.
    pub fn ari() -> Self {
        Self { way: Way::Ari, ami: None, spool: Spool::new(PathBuf::new()), _watch: None }
    }

    /// Whether a channel has an id of Asterisk's own.
    pub fn is_nameless(&self) -> bool {
        self.way == Way::CallFiles
    }

    /// Whether a channel can be had before it is dialled.
    pub fn hears_early(&self) -> bool {
        self.way == Way::Ari
    }

    /// Goes on watching a call that an earlier process asked for, and that may ring for so long at most.
    pub fn watch_again(&self, server: &Arc<Server>, id: CallId, patience: Duration) {
        let ours = OurId { app: server.app.clone(), call: id, part: Part::Leg }.to_string();
        if let Ok(name) = ours.parse::<Plain>()
            && server.switchboard.stage(id) == Some(Stage::Nameless)
        {
            let (spool, events) = (self.spool.clone(), self.ami.is_some());
            watch_file(spool, events, Arc::clone(server), id, name, patience);
        }
    }

    /// Asks `server` for a call. Comes back when it has taken it.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn make(&self, server: &Arc<Server>, order: Order<'_>) -> Result<(), EngineError> {
        match (self.way, &self.ami) {
            (Way::Ari, _) => by_ari(server, order).await,
            (Way::Ami, Some(ami)) => {
                by_ami(ami, server, &order);
                Ok(())
            }
            (Way::CallFiles, ami) => by_file(&self.spool, ami.is_some(), server, order).await,
            (Way::Ami, None) => Err(EngineError::NotAnswered("there is no AMI".into())),
        }
    }
}

async fn by_ari(server: &Server, order: Order<'_>) -> Result<(), EngineError> {
    let wanted = Originate {
        endpoint: order.endpoint.to_owned(),
        app: Some(server.app.clone()),
        channel_id: Some(order.channel.clone()),
        timeout: i32::try_from(order.patience.as_secs()).ok(),
        caller_id: order.caller_id.map(str::to_owned),
        variables: order.variables.into_iter().collect(),
        ..Originate::default()
    };
    server.ari.channels().originate(&wanted).await.map(drop).map_err(EngineError::CannotCall)
}

/// Makes a channel that is dialled later, when its audio is heard.
pub(super) async fn create(server: &Server, order: Order<'_>) -> Result<(), EngineError> {
    let mut variables: BTreeMap<_, _> = order.variables.into_iter().collect();
    if let Some(number) = order.caller_id {
        // What Originate has a parameter for.
        variables.insert("CALLERID(all)".into(), number.to_owned());
    }
    let wanted = CreateChannel {
        endpoint: order.endpoint.to_owned(),
        app: server.app.clone(),
        channel_id: Some(order.channel.clone()),
        variables,
        ..CreateChannel::default()
    };
    server.ari.channels().create(&wanted).await.map(drop).map_err(EngineError::CannotCall)
}

/// Asks by AMI. It is answered when the telephone is: a task waits for that.
fn by_ami(ami: &Ami, server: &Arc<Server>, order: &Order<'_>) {
    let wanted = AmiOriginate {
        channel: order.endpoint.to_owned(),
        application: Some("Stasis".into()),
        data: Some(server.app.clone()),
        timeout: u64::try_from(order.patience.as_millis()).ok(),
        caller_id: order.caller_id.map(str::to_owned),
        variables: order.variables.clone(),
        channel_id: Some(order.channel.to_string()),
        ..AmiOriginate::default()
    };
    let (ami, server, id) = (ami.clone(), Arc::clone(server), order.id);
    tokio::spawn(async move {
        let cause = match ami.run(&wanted).await {
            Ok(response) if response.is_answered() => return,
            Ok(response) => cause_of(response.reason),
            Err(error) => {
                tracing::warn!(call = %id, %error, "AMI did not make a call");
                server.switchboard.answered(id, Err(error.to_string()));
                0
            }
        };
        // The channel's own end says more.
        tokio::time::sleep(EVENT_LATE).await;
        server.switchboard.tell(id, LegEvent::Gone(Gone::HungUp { cause }));
    });
}

/// The Q.850 cause that is nearest to a reason of `OriginateResponse`.
const fn cause_of(reason: u32) -> u16 {
    match reason {
        1 | 3 => 19,
        5 => 17,
        8 => 34,
        _ => 0,
    }
}

/// Writes a call file, and watches what Asterisk makes of it.
async fn by_file(
    spool: &Spool,
    events: bool,
    server: &Arc<Server>,
    order: Order<'_>,
) -> Result<(), EngineError> {
    let ours = order.channel.to_string();
    let plain = |text: &str| text.parse::<Plain>().map_err(|why| EngineError::NotAnswered(why.to_string()));
    let then = Then::Application { name: plain("Stasis")?, data: format!("{},{ours}", server.app) };
    let mut file = CallFile::dial(order.endpoint, then).ring(order.patience).retries(0, LOOK);
    if let Some(number) = order.caller_id {
        file = file.caller_id(number);
    }
    for (name, value) in &order.variables {
        file = file.variable(&plain(name)?, value);
    }
    let name = plain(&ours)?;
    let submit = {
        let (spool, name) = (spool.clone(), name.clone());
        tokio::task::spawn_blocking(move || spool.submit(&name, &file))
    };
    submit
        .await
        .map_err(|_| EngineError::NotAnswered("a call file could not be written".into()))?
        .map_err(EngineError::CallFile)?;
    watch_file(spool.clone(), events, Arc::clone(server), order.id, name, order.patience);
    Ok(())
}

/// Watches what Asterisk makes of a call file.
fn watch_file(spool: Spool, events: bool, server: Arc<Server>, id: CallId, name: Plain, patience: Duration) {
    tokio::spawn(async move {
        let given_up = Instant::now() + patience + FILE_LATE;
        let why = loop {
            tokio::time::sleep(LOOK).await;
            if !server.switchboard.has(id) {
                break None;
            }
            match look(&spool, &name).await {
                Some(Outcome::Waiting) if Instant::now() < given_up => {}
                Some(Outcome::Waiting) if server.switchboard.stage(id) != Some(Stage::Nameless) => {}
                Some(Outcome::Waiting) => {
                    break Some(
                        "Asterisk did not make an end of the call file in time: does it load pbx_spool?",
                    );
                }
                Some(Outcome::Completed) => {}
                _ => break Some("nobody answered; a call file does not say why, [ami] would"),
            }
        };
        if let Some(why) = why {
            tokio::time::sleep(if events { EVENT_LATE } else { Duration::ZERO }).await;
            server.switchboard.answered(id, Err(why.to_owned()));
            server.switchboard.tell(id, LegEvent::Gone(Gone::HungUp { cause: 0 }));
        }
        // It has a number in it.
        let _ = tokio::task::spawn_blocking(move || spool.withdraw(&name)).await;
    });
}

async fn look(spool: &Spool, name: &Plain) -> Option<Outcome> {
    let (spool, name) = (spool.clone(), name.clone());
    tokio::task::spawn_blocking(move || spool.outcome(&name)).await.ok()?.ok()
}

/// Tells calls what AMI says of their channels.
async fn watch(mut events: Events, servers: Vec<Arc<Server>>) {
    let mut named: HashMap<String, CallId> = HashMap::new();
    loop {
        let Signal::Event(event) = events.next().await else { continue };
        match event.kind() {
            EventKind::VarSet(set) if set.variable == CALL => {
                if let Some(ours) = OurId::parse(&set.value).filter(|ours| ours.part == Part::Leg)
                    && named.len() < REMEMBERED
                {
                    named.insert(set.uniqueid, ours.call);
                }
            }
            EventKind::Newstate(state) if state.state == "Ringing" => {
                tell(&servers, call_on(&named, &state.uniqueid), LegEvent::Ringing);
            }
            EventKind::Hangup(hangup) => {
                let call = call_on(&named, &hangup.uniqueid);
                named.remove(&hangup.uniqueid);
                let cause = u16::try_from(hangup.cause).unwrap_or(0);
                tell(&servers, call, LegEvent::Gone(Gone::HungUp { cause }));
            }
            _ => {}
        }
    }
}

fn call_on(named: &HashMap<String, CallId>, uniqueid: &str) -> Option<CallId> {
    let ours = || OurId::parse(uniqueid).filter(|ours| ours.part == Part::Leg).map(|ours| ours.call);
    named.get(uniqueid).copied().or_else(ours)
}

/// Tells the call, on whichever server it is.
fn tell(servers: &[Arc<Server>], call: Option<CallId>, event: LegEvent) {
    for server in servers {
        if let Some(call) = call {
            server.switchboard.tell(call, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_ami_are_causes() {
        assert_eq!([3, 5, 8, 0, 77].map(cause_of), [19, 17, 34, 0, 0]);
    }

    #[test]
    fn a_channel_is_known_by_its_id_or_by_the_variable_that_it_was_given() {
        let id = CallId::new(crate::time::WallTime(1));
        let part = |part| OurId { app: "bot".into(), call: id, part }.to_string();
        let named = HashMap::from([("1700000000.1".to_owned(), id)]);
        assert_eq!(call_on(&named, "1700000000.1"), Some(id));
        assert_eq!(call_on(&named, &part(Part::Leg)), Some(id));
        assert_eq!(call_on(&named, &part(Part::Media)), None, "that is no end of the call");
        assert_eq!(call_on(&named, "1700000000.2"), None);
    }
}
