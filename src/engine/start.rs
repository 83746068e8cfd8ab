//! Before the first call: which servers answer, what they can do, and the sockets for audio.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::adopt::Estate;
use super::config::{AsteriskSection, Choice, Config, RtpPorts};
use super::server::Candidate;
use super::transports::{Abilities, Transports};
use super::{ConfigError, EngineError, START_PATIENCE};
use crate::asterisk::ari::{Ari, AriError};
use crate::asterisk::{Advice, tls};
use crate::media::{MediaConfig, TransportKind};
use crate::pcap::recorder::{Recorder, RecorderConfig, RecorderError};
use crate::store::Store;
use crate::time::Moment;

/// How soon Asterisk servers of which none answers at the start are asked again.
const PING_AGAIN: Duration = Duration::from_millis(100);

/// A server of the configuration, and whether it answers.
pub(super) struct Asked {
    pub section: AsteriskSection,
    pub ari: Ari,
    fault: Option<AriError>,
}

impl Asked {
    async fn ping(&mut self) {
        self.fault = self.ari.asterisk().ping().await.err();
    }
}

/// Asks every server whether it is there.
///
/// # Errors
/// When the configuration of one cannot be used, or none answers and there is no reason to wait: callers of an earlier process
/// may be on an Asterisk that does not answer yet, where there is a store of such a process.
pub(super) async fn ask(config: &Config) -> Result<Vec<Asked>, EngineError> {
    let mut servers = Vec::new();
    for section in config.asterisk.servers() {
        let most = section.capacity.unwrap_or(config.engine.max_calls);
        let ari = Ari::new(section.ari(most)?)?;
        servers.push(Asked { section, ari, fault: None });
    }
    join_all(servers.iter_mut().map(Asked::ping)).await;
    let worth_waiting = |error: &AriError| error.advice() == Advice::Retry && config.store.path.exists();
    match servers.iter().all(|server| server.fault.as_ref().is_some_and(|error| !worth_waiting(error))) {
        true => Err(first_fault(servers)),
        false => Ok(servers),
    }
}

fn first_fault(servers: Vec<Asked>) -> EngineError {
    let fault = servers.into_iter().find_map(|server| server.fault);
    fault.expect("a configuration has a server, and it did not answer").into()
}

/// Reads what was left of each server's calls, and finds out what those that answer can do. Where callers of an earlier process
/// wait and no server answers, they are asked again for a while.
///
/// # Errors
/// When none answers, or none can do what the bots need; and those of the store.
pub(super) async fn candidates(
    config: &Config,
    store: &Store,
    mut servers: Vec<Asked>,
    fresh: bool,
) -> Result<Vec<Candidate>, EngineError> {
    let mut estates = Vec::new();
    for Asked { section, ari, .. } in &servers {
        estates.push(match fresh {
            true => Estate::default(),
            false => Estate::read(store, &config.asterisk.app, &section.app, ari.peer()).await?,
        });
    }
    let wait = !estates.iter().all(Estate::is_empty);
    let patience = Moment::now() + if wait { START_PATIENCE } else { Duration::ZERO };
    while servers.iter().all(|server| server.fault.is_some()) {
        if Moment::now() >= patience {
            return Err(first_fault(servers));
        }
        tracing::warn!("callers of an earlier process wait, and no Asterisk answers; asking again");
        tokio::time::sleep(PING_AGAIN).await;
        join_all(servers.iter_mut().map(Asked::ping)).await;
    }
    let mut first = None;
    let mut candidates = Vec::new();
    for (server, estate) in servers.into_iter().zip(estates) {
        let Asked { section, ari, fault } = server;
        let able = match fault {
            Some(fault) => Err(fault.into()),
            None => transports(config, &ari).await,
        };
        let able = able.map_err(|error: EngineError| {
            tracing::error!(server = section.name(), asterisk = ari.peer(), %error, "a server cannot be served yet");
            first.get_or_insert(error);
        });
        candidates.push(Candidate { section, ari, estate, transports: able.ok() });
    }
    match first {
        Some(fault) if candidates.iter().all(|server| server.transports.is_none()) => Err(fault),
        _ => Ok(candidates),
    }
}

async fn transports(config: &Config, ari: &Ari) -> Result<Transports, EngineError> {
    Transports::choose(config, &Abilities::of(ari).await?)
}

/// The sockets and threads that the transports take.
pub(super) fn media(config: &Config, servers: &[Candidate]) -> Result<MediaConfig, ConfigError> {
    let media = &config.media;
    let named = |kind| {
        let bots = config.bots.values().filter_map(|bot| bot.transport);
        bots.chain([media.transport]).any(|choice| choice == Choice::Named(kind))
    };
    // Also where no server has said yet that it can.
    let uses = |kind| named(kind) || servers.iter().flat_map(|s| &s.transports).any(|t| t.uses(kind));
    let listener = |kind, port| uses(kind).then_some(port);
    let mut again: Vec<u16> = servers.iter().flat_map(|server| server.estate.ports()).collect();
    again.sort_unstable();
    again.dedup();
    let tls = config.media_identity().map(|identity| tls::server(&identity)).transpose();
    Ok(MediaConfig {
        threads: match media.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        },
        bind: media.bind,
        port: media.port,
        again,
        advertise: Some(advertised(config)),
        rtp_ports: (media.rtp == RtpPorts::Ports).then_some(media.ports.first..=media.ports.last),
        audiosocket: listener(TransportKind::Audiosocket, media.audiosocket_port),
        websocket: listener(TransportKind::WebsocketServer, media.websocket_port),
        allow: media.allow.clone(),
        tls: tls.map_err(|why| ConfigError::new(why.to_string()))?,
        probe: false,
    })
}

/// The address by which servers know our sockets that have none of their own for it.
pub(super) fn advertised(config: &Config) -> IpAddr {
    let media = &config.media;
    let of_servers = || config.asterisk.servers().iter().find_map(|server| server.advertise);
    let bound = (!media.bind.is_unspecified()).then_some(media.bind);
    media.advertise.or(bound).or_else(of_servers).unwrap_or(media.bind)
}

/// The recorder of packets, where a folder is named for it.
pub(super) fn captures(config: &Config) -> Result<Option<Arc<Recorder>>, RecorderError> {
    const MB: u64 = 1_000_000;
    let media = &config.media;
    let Some(folder) = media.capture.clone() else { return Ok(None) };
    let recorder = Recorder::start(RecorderConfig {
        folder,
        call_limit_bytes: media.capture_call_mb.saturating_mul(MB),
        folder_limit_bytes: media.capture_folder_mb.saturating_mul(MB),
    });
    recorder.map(|recorder| Some(Arc::new(recorder)))
}
