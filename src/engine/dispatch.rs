//! Events of Asterisk to the calls that they are for.
//!
//! One task reads them. It looks the call up and puts the event into its mailbox; whatever takes longer is a task of
//! its own. After a gap in the events (a reconnect, or an overflow) it compares what Asterisk has with what it knows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::admission::Refused;
use super::outages::Outages;
use super::server::{Server, ServerState};
use super::switchboard::Stage;
use super::{Phase, claims};
use crate::asterisk::PROBE;
use crate::asterisk::ari::model::{Bridge, Channel, ChannelState, Event, EventKind, Timestamp};
use crate::asterisk::ari::ops::{Continue, HangupReason};
use crate::asterisk::ari::{AriError, ChannelId, EventStream, Signal, Why};
use crate::call::beside::Beside;
use crate::call::{Facts, Gone, LegEvent};
use crate::id::{CallId, OurId, Part};
use crate::time::{Moment, WallTime};

/// After this long what was under way when the events came back has happened.
const SETTLED: Duration = Duration::from_millis(500);

/// Reads the events of a server until the engine ends.
pub(super) async fn run(server: Arc<Server>, mut events: EventStream) {
    let mut outages = Outages::default();
    loop {
        let signal = tokio::select! {
            signal = events.next() => signal,
            () = server.reclaim.notified() => {
                events.reclaim();
                continue;
            }
        };
        match signal {
            Signal::Event(event) => take(&server, *event),
            Signal::Connected { first } => {
                tracing::info!(asterisk = server.ari.peer(), app = server.app, first, "events connected");
                server.replaced.send_replace(false);
                server.registered.send_replace(true);
                // Until the calls of the engine before us are here, all that is in Asterisk would be nobody's.
                let mut inherited = server.shared.inherited.subscribe();
                // It lives as long as we do.
                let _ = inherited.wait_for(|inherited| *inherited).await;
                reconcile(&server).await;
                // First this one: who waits for the connection makes calls at once.
                server.is_now(ServerState::Up);
                server.connected.send_replace(true);
                outages.over(&server, WallTime::now());
            }
            Signal::Disconnected { why } => {
                tracing::warn!(asterisk = server.ari.peer(), %why, "events lost their connection; reconnecting");
                server.connected.send_replace(false);
                server.registered.send_replace(false);
                server.is_now(ServerState::Down { why: why.to_string() });
                outages.lost(WallTime::now(), &why);
                server.replaced.send_replace(why == Why::Replaced);
            }
            Signal::Lost { count } => {
                tracing::warn!(count, "events were lost; comparing with Asterisk");
                reconcile(&server).await;
            }
        }
    }
}

fn take(server: &Arc<Server>, event: Event) {
    let at = event.at;
    match event.kind {
        EventKind::StasisStart { channel, args, .. } => arrived(server, channel, args),
        EventKind::ChannelDtmfReceived { channel, digit, .. } => {
            let Some(key) = digit.chars().next() else { return };
            if let Some(id) = server.switchboard.call_on(&channel.id) {
                server.switchboard.tell(id, LegEvent::Key { key, at });
            } else if let Some(OurId { call, part: Part::Person, .. }) = OurId::parse(channel.id.as_str()) {
                server.switchboard.tell(call, LegEvent::PersonKey { key, at });
            }
        }
        EventKind::ChannelHangupRequest { channel, cause, .. } => {
            gone(server, &channel.id, Gone::HungUp { cause: cause.map_or(0, cause_code) });
        }
        EventKind::ChannelStateChange { channel } => {
            let Some(id) = server.switchboard.call_on(&channel.id) else { return };
            match channel.state {
                ChannelState::Ringing => server.switchboard.tell(id, LegEvent::Ringing),
                ChannelState::Up if server.switchboard.stage(id) == Some(Stage::Early) => {
                    server.switchboard.picked_up(id);
                }
                _ => {}
            }
        }
        EventKind::ChannelDestroyed { channel, cause, .. } => {
            gone(server, &channel.id, Gone::HungUp { cause: cause_code(cause) });
        }
        EventKind::PlaybackFinished { playback } => {
            let event = match OurId::parse(playback.id.as_str()) {
                Some(OurId { call, part: Part::Sound, .. }) => (call, Beside::Played),
                Some(OurId { call, part: Part::Hold, .. }) => (call, Beside::HoldEnded),
                _ => return,
            };
            server.switchboard.tell_beside(event.0, event.1);
        }
        EventKind::CallBroadcast { channel, .. } => server.claims.offered(&channel, at, event.timestamp),
        EventKind::CallClaimed { channel, .. } => server.claims.taken(channel.id),
        EventKind::StasisEnd { channel, .. } => {
            let call = server.switchboard.call_on(&channel.id);
            if call.and_then(|call| server.switchboard.stage(call)) != Some(Stage::Away) {
                gone(server, &channel.id, Gone::Left);
            }
        }
        EventKind::ApplicationReplaced { .. } => {
            tracing::warn!(
                app = server.app,
                "another program has our Stasis application now; unless it is `offhook run --takeover`, give each an `app` of its own under [asterisk]"
            );
        }
        _ => {}
    }
}

fn cause_code(cause: i64) -> u16 {
    u16::try_from(cause).unwrap_or(0)
}

/// A channel entered our application.
fn arrived(server: &Arc<Server>, channel: Channel, args: Vec<String>) {
    if channel.id.as_str().starts_with(PROBE) {
        // The doctor's; he hangs up himself.
        return;
    }
    match OurId::parse(channel.id.as_str()) {
        Some(OurId { call, part: Part::Media, .. }) => {
            if server.switchboard.has(call) {
                server.switchboard.tell(call, LegEvent::MediaReady);
            } else {
                hang_up(server, channel.id);
            }
        }
        Some(OurId { call, part: Part::Person, .. }) => {
            if server.switchboard.has(call) {
                server.switchboard.tell_beside(call, Beside::PersonUp);
            } else {
                hang_up(server, channel.id);
            }
        }
        Some(OurId { call, .. }) => match server.switchboard.stage(call) {
            Some(Stage::Early) => server.switchboard.tell(call, LegEvent::Made),
            Some(Stage::Here | Stage::Away | Stage::Nameless) => server.switchboard.picked_up(call),
            None => hang_up(server, channel.id),
        },
        None => match dialled(server, &args) {
            Some(call) => {
                server.switchboard.name(call, channel.id);
                server.switchboard.picked_up(call);
            }
            None => admit(server, channel, &args),
        },
    }
}

/// The call that we make whose channel Asterisk has named itself: it says so in its arguments. So does one that comes back from the
/// dialplan.
fn dialled(server: &Server, args: &[String]) -> Option<CallId> {
    let OurId { app, call, part } = OurId::parse(args.first()?)?;
    let waits = matches!(server.switchboard.stage(call), Some(Stage::Nameless | Stage::Away));
    (app == server.app && part == Part::Leg && waits).then_some(call)
}

/// A new caller: served, or left to the dialplan at once, before anything is made for him.
fn admit(server: &Arc<Server>, channel: Channel, args: &[String]) {
    let shared = &server.shared;
    if server.switchboard.call_on(&channel.id).is_some() {
        return;
    }
    if *shared.phase.borrow() == Phase::HandingOver {
        // The other engine finds him.
        return;
    }
    let wanted = args.first().map(String::as_str);
    let bot = shared.services.bot_for(wanted, shared.config.engine.bot.as_deref());
    let bot = match (ask(server, &channel.id), bot) {
        (Ok(()), Some(bot)) => bot,
        (Ok(()), None) => {
            shared.admission().leave();
            return refuse(server, channel.id, Refused::Bot);
        }
        (Err(why), _) => return refuse(server, channel.id, why),
    };
    let facts = Facts {
        id: CallId::new(WallTime::now()),
        outbound: false,
        caller: channel.caller.number.clone(),
        called: channel.dialplan.exten.clone(),
        args: args.iter().skip(1).cloned().collect(),
        bot: bot.to_owned(),
        variables: BTreeMap::new(),
    };
    tracing::info!(call = %facts.id, bot = facts.bot, channel = channel.id.as_str(), server = server.name, "a call");
    server.expect(facts, channel.id, None);
}

/// Asks whether one more call may come, and counts it. One that was claimed was asked for.
fn ask(server: &Server, channel: &ChannelId) -> Result<(), Refused> {
    if server.claims.comes(channel) {
        server.shared.admission().enter();
        return Ok(());
    }
    server.open()?;
    let now = Moment::now();
    let room = server.room(now);
    server.shared.admission().ask(now, room)
}

fn refuse(server: &Arc<Server>, channel: ChannelId, why: Refused) {
    // Admission has counted its own reasons.
    if !matches!(why, Refused::Capacity | Refused::Rate | Refused::Load) {
        server.shared.admission().refuse(why);
    }
    tracing::warn!(channel = channel.as_str(), server = server.name, "a call is left to the dialplan: {why}");
    let server = Arc::clone(server);
    tokio::spawn(async move { leave(&server, &channel, "REFUSED", Some(why)).await });
}

fn gone(server: &Arc<Server>, channel: &ChannelId, how: Gone) {
    if let Some(id) = server.switchboard.call_on(channel) {
        server.switchboard.tell(id, LegEvent::Gone(how));
        return;
    }
    match OurId::parse(channel.as_str()) {
        Some(OurId { call, part: Part::Media, .. }) => server.switchboard.tell(call, LegEvent::MediaLost),
        Some(OurId { call, part: Part::Person, .. }) => {
            let cause = if let Gone::HungUp { cause } = how { cause } else { 0 };
            server.switchboard.tell_beside(call, Beside::PersonGone { cause });
        }
        _ => {}
    }
}

/// Gives a caller back to the dialplan, which sees `OFFHOOK_STATUS`, and `OFFHOOK_REFUSED` where he was not let in.
pub(super) async fn leave(server: &Server, channel: &ChannelId, status: &str, why: Option<Refused>) {
    let channels = server.ari.channels();
    let left = async {
        channels.set_var(channel, "OFFHOOK_STATUS", status).await?;
        if let Some(why) = why {
            channels.set_var(channel, "OFFHOOK_REFUSED", why.word()).await?;
        }
        channels.continue_in_dialplan(channel, &Continue::default()).await
    };
    report("leaving a caller to the dialplan", left.await);
}

fn hang_up(server: &Arc<Server>, channel: ChannelId) {
    let server = Arc::clone(server);
    tokio::spawn(async move { clear(&server, &channel).await });
}

/// Hangs up a channel of ours that no call has, or none that came to anything.
pub(super) async fn clear(server: &Server, channel: &ChannelId) {
    report("clearing a channel", server.ari.channels().hangup(channel, HangupReason::Normal).await);
}

fn report(what: &str, result: Result<(), AriError>) {
    match result {
        Err(error) if !error.is_gone() => tracing::warn!(%error, "{what} failed"),
        _ => {}
    }
}

/// Compares what Asterisk has with what we know: calls of an earlier process are taken up, calls whose caller is gone end,
/// channels and bridges of ours that belong to no call are removed, and callers whom nobody serves are served.
async fn reconcile(server: &Arc<Server>) {
    let known = server.switchboard.all();
    let There { channels, bridges, callers, started, version } = match there(server).await {
        Ok(there) => there,
        Err(error) => return tracing::warn!(%error, "cannot compare with Asterisk; the next reconnect will"),
    };
    if let Err(error) = server.examine(started, &version).await {
        tracing::error!(server = server.name, %error, "a server cannot be served: its calls are left to the dialplan");
    }
    let estate = server.estate.lock().expect("nothing panics while it holds the estate").take();
    if let Some(estate) = estate {
        estate.settle(server, &channels, &bridges, &callers);
    }
    let there: HashSet<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
    let before = server.started_before(started);
    // What an Asterisk that has restarted had is lost; from one that has not, who is missing has hung up.
    let how = match before == Some(started) {
        true => Gone::HungUp { cause: 0 },
        false => Gone::ServerLost,
    };
    for (id, channel) in known {
        if !there.contains(channel.as_str()) {
            server.switchboard.tell(id, LegEvent::Gone(how));
        } else if server.switchboard.is_with_person(id) {
            let person = OurId { app: server.app.clone(), call: id, part: Part::Person }.to_string();
            if !there.contains(person.as_str()) {
                server.switchboard.tell_beside(id, Beside::PersonGone { cause: 0 });
            }
        }
    }
    let orphan = |id: &str| match OurId::parse(id) {
        Some(ours) => ours.app == server.app && !server.switchboard.has(ours.call),
        None => false,
    };
    for bridge in bridges.iter().filter(|bridge| orphan(bridge.id.as_str())) {
        report("clearing a bridge", server.ari.bridges().destroy(&bridge.id).await);
    }
    for channel in channels.iter().filter(|channel| orphan(channel.id.as_str())) {
        report("clearing a channel", server.ari.channels().hangup(&channel.id, HangupReason::Normal).await);
    }
    let nobodys = |id: &ChannelId| {
        OurId::parse(id.as_str()).is_none()
            && server.switchboard.call_on(id).is_none()
            && there.contains(id.as_str())
    };
    for caller in callers.into_iter().filter(nobodys) {
        tokio::spawn(serve_late(Arc::clone(server), caller));
    }
}

/// Serves a caller whose arrival was not told: he came while nobody listened, or just before.
async fn serve_late(server: Arc<Server>, caller: ChannelId) {
    // He may be on his way out, or his arrival on its way here.
    tokio::time::sleep(SETTLED).await;
    let Ok(application) = server.ari.applications().get(&server.app).await else { return };
    let Ok(channel) = server.ari.channels().get(&caller).await else { return };
    if application.channel_ids.contains(&caller) && server.switchboard.call_on(&caller).is_none() {
        let args = claims::arguments(&channel);
        admit(&server, channel, &args);
    }
}

/// What Asterisk has.
struct There {
    channels: Vec<Channel>,
    bridges: Vec<Bridge>,
    /// The channels in our application.
    callers: Vec<ChannelId>,
    /// When it was started.
    started: Timestamp,
    /// What it says that it is.
    version: String,
}

async fn there(server: &Server) -> Result<There, AriError> {
    let (channels, bridges, applications) =
        (server.ari.channels(), server.ari.bridges(), server.ari.applications());
    // The application first: who enters it meanwhile is told by an event.
    let callers = applications.get(&server.app).await?.channel_ids;
    let info = server.ari.asterisk().info(&["status", "system"]).await?;
    let (started, version) = (info.status.startup_time, info.system.version);
    Ok(There { channels: channels.list().await?, bridges: bridges.list().await?, callers, started, version })
}
