//! Events of Asterisk to the calls that they are for.
//!
//! One task reads them. It looks the call up and puts the event into its mailbox; whatever takes longer is a task of
//! its own. After a gap in the events (a reconnect, or an overflow) it compares what Asterisk has with what it knows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Phase, Shared, adopt};
use crate::asterisk::PROBE;
use crate::asterisk::ari::model::{Bridge, Channel, Event, EventKind, Timestamp};
use crate::asterisk::ari::ops::{Continue, HangupReason};
use crate::asterisk::ari::{AriError, ChannelId, EventStream, Signal, Why};
use crate::call::{Facts, Gone, LegEvent};
use crate::id::{CallId, OurId, Part};
use crate::time::WallTime;

/// After this long what was under way when the events came back has happened.
const SETTLED: Duration = Duration::from_millis(500);

/// Reads events until the engine ends.
pub(super) async fn run(shared: Arc<Shared>, mut events: EventStream) {
    loop {
        let signal = tokio::select! {
            signal = events.next() => signal,
            () = shared.reclaim.notified() => {
                events.reclaim();
                continue;
            }
        };
        match signal {
            Signal::Event(event) => take(&shared, *event),
            Signal::Connected { first } => {
                tracing::info!(asterisk = shared.ari.peer(), app = shared.app, first, "events connected");
                shared.replaced.send_replace(false);
                let takeover = shared.takeover.lock().expect("nothing panics while it holds it").take();
                if let Some(takeover) = takeover {
                    let estate = adopt::inherit(&shared, takeover).await;
                    *shared.estate.lock().expect("nothing panics while it holds the estate") = estate;
                }
                reconcile(&shared).await;
                shared.connected.send_replace(true);
            }
            Signal::Disconnected { why } => {
                tracing::warn!(asterisk = shared.ari.peer(), %why, "events lost their connection; reconnecting");
                shared.connected.send_replace(false);
                shared.replaced.send_replace(why == Why::Replaced);
            }
            Signal::Lost { count } => {
                tracing::warn!(count, "events were lost; comparing with Asterisk");
                reconcile(&shared).await;
            }
        }
    }
}

fn take(shared: &Arc<Shared>, event: Event) {
    let at = event.at;
    match event.kind {
        EventKind::StasisStart { channel, args, .. } => arrived(shared, channel, args),
        EventKind::ChannelDtmfReceived { channel, digit, .. } => {
            if let (Some(id), Some(key)) = (shared.switchboard.call_on(&channel.id), digit.chars().next()) {
                shared.switchboard.tell(id, LegEvent::Key { key, at });
            }
        }
        EventKind::ChannelHangupRequest { channel, cause, .. } => {
            gone(shared, &channel.id, Gone::HungUp { cause: cause.map_or(0, cause_code) });
        }
        EventKind::ChannelDestroyed { channel, cause, .. } => {
            gone(shared, &channel.id, Gone::HungUp { cause: cause_code(cause) });
        }
        EventKind::StasisEnd { channel, .. } => gone(shared, &channel.id, Gone::Left),
        EventKind::ApplicationReplaced { .. } => {
            tracing::warn!(
                app = shared.app,
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
fn arrived(shared: &Arc<Shared>, channel: Channel, args: Vec<String>) {
    if channel.id.as_str().starts_with(PROBE) {
        // The doctor's; he hangs up himself.
        return;
    }
    match OurId::parse(channel.id.as_str()) {
        Some(OurId { call, part: Part::Media, .. }) => {
            if shared.switchboard.has(call) {
                shared.switchboard.tell(call, LegEvent::MediaReady);
            } else {
                hang_up(shared, channel.id);
            }
        }
        Some(OurId { call, .. }) => {
            if shared.switchboard.has(call) {
                shared.switchboard.answered(call, Ok(()));
                shared.switchboard.tell(call, LegEvent::Up);
            } else {
                hang_up(shared, channel.id);
            }
        }
        None => admit(shared, channel, &args),
    }
}

/// A new caller: served, or left to the dialplan at once.
fn admit(shared: &Arc<Shared>, channel: Channel, args: &[String]) {
    if shared.switchboard.call_on(&channel.id).is_some() {
        return;
    }
    let refuse = |why: &str| {
        tracing::warn!(channel = channel.id.as_str(), "a call is left to the dialplan: {why}");
        tokio::spawn(leave(Arc::clone(shared), channel.id.clone(), "REFUSED"));
    };
    if *shared.phase.borrow() == Phase::HandingOver {
        // The other engine finds him.
        return;
    }
    if *shared.phase.borrow() != Phase::Running {
        return refuse("the engine is ending");
    }
    if shared.switchboard.len() >= shared.config.engine.max_calls {
        return refuse("as many calls are up as `max_calls` under [engine] allows");
    }
    let wanted = args.first().map(String::as_str);
    let Some(bot) = shared.services.bot_for(wanted, shared.config.engine.bot.as_deref()) else {
        return refuse(
            "its Stasis() names no bot of the configuration, and there is no default under [engine]",
        );
    };
    let facts = Facts {
        id: CallId::new(WallTime::now()),
        outbound: false,
        caller: channel.caller.number.clone(),
        called: channel.dialplan.exten.clone(),
        args: args.iter().skip(1).cloned().collect(),
        bot: bot.to_owned(),
    };
    tracing::info!(call = %facts.id, bot = facts.bot, channel = channel.id.as_str(), "a call");
    shared.expect(facts, channel.id, None);
}

fn gone(shared: &Arc<Shared>, channel: &ChannelId, how: Gone) {
    if let Some(id) = shared.switchboard.call_on(channel) {
        shared.switchboard.tell(id, LegEvent::Gone(how));
    } else if let Some(OurId { call, part: Part::Media, .. }) = OurId::parse(channel.as_str()) {
        shared.switchboard.tell(call, LegEvent::MediaLost);
    }
}

/// Gives a caller back to the dialplan, which sees `OFFHOOK_STATUS`.
pub(super) async fn leave(shared: Arc<Shared>, channel: ChannelId, status: &str) {
    let channels = shared.ari.channels();
    let set = channels.set_var(&channel, "OFFHOOK_STATUS", status).await;
    let left = match set {
        Ok(()) => channels.continue_in_dialplan(&channel, &Continue::default()).await,
        Err(error) => Err(error),
    };
    report("leaving a caller to the dialplan", left);
}

fn hang_up(shared: &Arc<Shared>, channel: ChannelId) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        report("clearing a channel", shared.ari.channels().hangup(&channel, HangupReason::Normal).await);
    });
}

fn report(what: &str, result: Result<(), AriError>) {
    match result {
        Err(error) if !error.is_gone() => tracing::warn!(%error, "{what} failed"),
        _ => {}
    }
}

/// Compares what Asterisk has with what we know: calls of an earlier process are taken up, calls whose caller is gone end,
/// channels and bridges of ours that belong to no call are removed, and callers whom nobody serves are served.
async fn reconcile(shared: &Arc<Shared>) {
    let known = shared.switchboard.all();
    let There { channels, bridges, callers, started } = match there(shared).await {
        Ok(there) => there,
        Err(error) => return tracing::warn!(%error, "cannot compare with Asterisk; the next reconnect will"),
    };
    let estate = shared.estate.lock().expect("nothing panics while it holds the estate").take();
    if let Some(estate) = estate {
        estate.settle(shared, &channels, &bridges, &callers);
    }
    let there: HashSet<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
    let before =
        shared.asterisk_started.lock().expect("nothing panics while it holds the time").replace(started);
    // What an Asterisk that has restarted had is lost; from one that has not, who is missing has hung up.
    let how = match before == Some(started) {
        true => Gone::HungUp { cause: 0 },
        false => Gone::ServerLost,
    };
    for (id, channel) in known {
        if !there.contains(channel.as_str()) {
            shared.switchboard.tell(id, LegEvent::Gone(how));
        }
    }
    let orphan = |id: &str| match OurId::parse(id) {
        Some(ours) => ours.app == shared.app && !shared.switchboard.has(ours.call),
        None => false,
    };
    for bridge in bridges.iter().filter(|bridge| orphan(bridge.id.as_str())) {
        report("clearing a bridge", shared.ari.bridges().destroy(&bridge.id).await);
    }
    for channel in channels.iter().filter(|channel| orphan(channel.id.as_str())) {
        report("clearing a channel", shared.ari.channels().hangup(&channel.id, HangupReason::Normal).await);
    }
    let nobodys = |id: &ChannelId| {
        OurId::parse(id.as_str()).is_none()
            && shared.switchboard.call_on(id).is_none()
            && there.contains(id.as_str())
    };
    for caller in callers.into_iter().filter(nobodys) {
        tokio::spawn(serve_late(Arc::clone(shared), caller));
    }
}

/// Serves a caller whose arrival was not told: he came while nobody listened, or just before.
async fn serve_late(shared: Arc<Shared>, caller: ChannelId) {
    // He may be on his way out, or his arrival on its way here.
    tokio::time::sleep(SETTLED).await;
    let Ok(application) = shared.ari.applications().get(&shared.app).await else { return };
    let Ok(channel) = shared.ari.channels().get(&caller).await else { return };
    if application.channel_ids.contains(&caller) && shared.switchboard.call_on(&caller).is_none() {
        let mut args = channel.dialplan.app_data.split(',').map(str::to_owned);
        // The first one is the application.
        let args: Vec<String> = args.by_ref().skip(1).collect();
        admit(&shared, channel, &args);
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
}

async fn there(shared: &Shared) -> Result<There, AriError> {
    let (channels, bridges, applications) =
        (shared.ari.channels(), shared.ari.bridges(), shared.ari.applications());
    // The application first: who enters it meanwhile is told by an event.
    let callers = applications.get(&shared.app).await?.channel_ids;
    let started = shared.ari.asterisk().info(&["status"]).await?.status.startup_time;
    Ok(There { channels: channels.list().await?, bridges: bridges.list().await?, callers, started })
}
