//! One call, from the first event to the last record.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::adopt::Predecessor;
use super::handover::Handed;
use super::records::Records;
use super::{Phase, Shared};
use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::ops::HangupReason;
use crate::audio::Rate;
use crate::audio::ring::TapeReader;
use crate::bot::{AnyBot, Outcome};
use crate::call::{
    Call, CallError, CallParts, Facts, Gone, Left, Leg, LegEvent, MediaPlan, Prompt, Snapshot, Speaker,
};
use crate::id::CallId;
use crate::media::{Attach, Lease, Link, MediaSession, Seat, TransportKind};
use crate::pcap::recorder::Tap;
use crate::store::recording::Tape;
use crate::store::{CallRecord, Disposition};
use crate::time::{Moment, WallTime};
use crate::turn::vad::WebRtcVad;

/// How a call ended.
struct End {
    disposition: Disposition,
    cause: Option<u16>,
    note: Option<String>,
}

impl End {
    fn new(disposition: Disposition) -> Self {
        Self { disposition, cause: None, note: None }
    }

    fn gone(gone: Gone) -> Self {
        match gone {
            Gone::HungUp { cause } => Self { cause: Some(cause), ..Self::new(Disposition::CallerHungUp) },
            Gone::Left => Self::new(Disposition::Transferred),
            Gone::ServerLost => Self::new(Disposition::Lost),
            Gone::MediaLost => Self::new(Disposition::MediaFailed),
        }
    }

    fn failed(disposition: Disposition, error: &CallError) -> Self {
        Self { note: Some(error.to_string()), ..Self::new(disposition) }
    }
}

/// How a bot came to the end of its call.
enum Talked {
    Ended(End),
    /// Another process goes on with it.
    HandedOver(Option<Box<Snapshot>>),
}

/// Serves a call to its end; leaves nothing of it in Asterisk.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    facts: Facts,
    channel: ChannelId,
    mut events: mpsc::Receiver<LegEvent>,
) {
    let id = facts.id;
    let _busy = shared.lamps.busy(&facts.bot);
    let watcher = shared.services.watcher.clone();
    let records =
        Records::begin(&shared.store, &facts, &shared.app, shared.ari.peer(), channel.as_str(), watcher);
    if facts.outbound
        && let Err(end) = answered(shared, &facts, &mut events).await
    {
        return records.end(end.disposition, end.cause, end.note, serde_json::Value::Null);
    }
    let plan = shared.transports.plan_of(&facts.bot).clone();
    let joined = async {
        let mut seat = shared.media.reserve_for(plan.transport, plan.format)?;
        let (leg, link) =
            Leg::join(&shared.ari, &shared.app, id, channel.clone(), &plan, &mut seat, &mut events).await?;
        Ok(Joined { leg, link, seat, plan })
    };
    let call = match joined.await {
        Ok(joined) => connect(shared, facts, joined, events, &records).await,
        Err(error) => Err(error),
    };
    let call = call.map(|(parts, lease)| {
        let mut call = Call::new(parts);
        // From here on another process could go on, with a bot that keeps no state too.
        call.checkpoint("", serde_json::Value::Null);
        (call, lease)
    });
    converse(shared, id, channel, call, &records).await;
}

/// Serves a call that an earlier process began, from the step where that one stopped.
pub(super) async fn take_up(
    shared: &Arc<Shared>,
    snapshot: Snapshot,
    row: CallRecord,
    from: Predecessor,
    mut events: mpsc::Receiver<LegEvent>,
) {
    let Predecessor { left, alive, attached } = from;
    let facts = snapshot.facts();
    let _busy = shared.lamps.busy(&facts.bot);
    let channel = ChannelId::from(snapshot.channel.as_str());
    let records = Records::go_on(&shared.store, &facts, row, shared.services.watcher.clone());
    tracing::info!(call = %facts.id, bot = facts.bot, step = snapshot.step, ?left, "a call is taken up");
    let joined = async {
        let wanted = shared.transports.plan_of(&facts.bot);
        // Over RTP the media channel that is there goes on, in its own format, if its port is ours.
        let same = (snapshot.transport == TransportKind::Rtp && left == Left::Whole)
            .then(|| Some((shared.media.reserve_at(snapshot.our_address)?, snapshot.format.parse().ok()?)))
            .flatten();
        let (mut seat, plan) = match same {
            Some((seat, format)) => {
                (seat, MediaPlan { transport: TransportKind::Rtp, format, ..wanted.clone() })
            }
            None => (shared.media.reserve_for(wanted.transport, wanted.format)?, wanted.clone()),
        };
        let (leg, link) = Leg::adopt(&shared.ari, &snapshot, left, &mut seat, &plan, &mut events).await?;
        Ok(Joined { leg, link, seat, plan })
    };
    let id = facts.id;
    let call = match joined.await {
        Ok(joined) => connect(shared, facts, joined, events, &records).await,
        Err(error) => Err(error),
    };
    let handed_over = attached.is_some();
    if let Some(attached) = attached {
        // Who waits for it may have lost its patience.
        let _ = attached.send(());
    }
    let call = call.map(|(parts, lease)| (Call::take_up(parts, &snapshot, alive, handed_over), lease));
    converse(shared, id, channel, call, &records).await;
}

/// Lets the bot talk on a call that is connected, and ends its records.
async fn converse(
    shared: &Arc<Shared>,
    id: CallId,
    channel: ChannelId,
    call: Result<(Call, Lease), CallError>,
    records: &Records,
) {
    let (end, media) = match call {
        Ok((call, lease)) => match talk(shared, call).await {
            Talked::Ended(end) => {
                let stats = lease.detach().await;
                (end, serde_json::to_value(stats).unwrap_or_default())
            }
            Talked::HandedOver(snapshot) => {
                let handed = snapshot.map(|snapshot| Handed { snapshot, row: records.row(), _lease: lease });
                shared.handed.lock().expect("nothing panics while it holds the calls").extend(handed);
                return;
            }
        },
        Err(error) => {
            tracing::warn!(call = %id, %error, "a call could not be connected");
            super::dispatch::leave(Arc::clone(shared), channel, "FAILED").await;
            let end = match error {
                CallError::Gone(gone) => End::gone(gone),
                error => End::failed(Disposition::MediaFailed, &error),
            };
            (end, serde_json::Value::Null)
        }
    };
    tracing::info!(call = %id, disposition = %end.disposition, "the call has ended");
    records.end(end.disposition, end.cause, end.note, media);
}

/// Waits until who we called answers.
async fn answered(shared: &Shared, facts: &Facts, events: &mut mpsc::Receiver<LegEvent>) -> Result<(), End> {
    let mut phase = shared.phase.subscribe();
    loop {
        let event = tokio::select! {
            // How it went before, that the engine is ending too.
            biased;
            event = events.recv() => event,
            _ = phase.wait_for(|phase| *phase == Phase::Goodbye) => None,
        };
        let (end, why) = match event {
            Some(LegEvent::Up) => return Ok(()),
            Some(LegEvent::Gone(Gone::HungUp { cause })) => {
                let (disposition, why) = match cause {
                    17 => (Disposition::Busy, "the line is busy".to_owned()),
                    16 | 18 | 19 | 21 => (Disposition::NoAnswer, "it rang, and nobody answered".to_owned()),
                    other => {
                        (Disposition::Failed, format!("the call could not be put through, cause {other}"))
                    }
                };
                (End { cause: Some(cause), ..End::new(disposition) }, why)
            }
            Some(LegEvent::Gone(gone)) => (End::gone(gone), gone.to_string()),
            Some(_) => continue,
            None => (End::new(Disposition::Drained), "the engine is ending".to_owned()),
        };
        shared.switchboard.answered(facts.id, Err(why));
        return Err(end);
    }
}

/// Keeps the call's packets, where that is wanted; a call whose packets cannot be kept goes on without.
async fn capture(shared: &Shared, facts: &Facts) -> Option<Tap> {
    let wanted = shared.config.bots.get(&facts.bot).and_then(|bot| bot.capture).unwrap_or(true);
    let recorder = Arc::clone(shared.captures.as_ref().filter(|_| wanted)?);
    let id = facts.id;
    let opened = tokio::task::spawn_blocking(move || recorder.tap(id, Moment::now(), WallTime::now())).await;
    match opened.ok()? {
        Ok(tap) => Some(tap),
        Err(error) => {
            tracing::warn!(call = %id, %error, "the call is not captured");
            None
        }
    }
}

/// A call's channels, joined, and by what its audio comes.
struct Joined {
    leg: Leg,
    link: Link,
    seat: Seat,
    plan: MediaPlan,
}

/// Gives a call that is joined a media thread, a recogniser and a voice.
async fn connect(
    shared: &Arc<Shared>,
    facts: Facts,
    joined: Joined,
    events: mpsc::Receiver<LegEvent>,
    records: &Arc<Records>,
) -> Result<(CallParts, Lease), CallError> {
    let id = facts.id;
    let Joined { leg, link, seat, plan } = joined;
    let mut attach = Attach::new(id, link, Box::new(WebRtcVad::new(Rate::Hz8000)));
    attach.format = plan.format;
    attach.tape = shared.recordings.is_some();
    attach.capture = capture(shared, &facts).await;
    let MediaSession { events: media_events, ear, voice, control, tape, lease } =
        match shared.media.attach(seat, attach) {
            Ok(session) => session,
            Err(error) => {
                leg.abandon().await;
                return Err(error.into());
            }
        };
    if let (Some(recordings), Some(reader)) = (&shared.recordings, tape) {
        let (tape, timeline) = recordings.start(id, Moment::now());
        records.recorded(recordings.wav_path(id), timeline);
        shared.tasks.spawn(record(reader, tape));
    }
    let recognizer = shared.services.recognizer.as_ref().and_then(|recognizer| {
        let opened = recognizer.open(id, ear.clone(), Rate::Hz8000);
        opened.inspect_err(|error| tracing::error!(call = %id, %error, "the call has no recogniser")).ok()
    });
    let rate = plan.format.rate();
    let voices: Arc<dyn crate::call::Voices> = Arc::clone(&shared.services.voices) as _;
    let parts = CallParts {
        facts,
        leg,
        leg_events: events,
        media_events,
        control,
        recognizer,
        speaker: Speaker::new(voice, voices, rate),
        journal: Arc::clone(records) as _,
    };
    Ok((parts, lease))
}

/// Hands what the media thread puts on tape to whoever writes it, until the call is off its thread.
async fn record(reader: TapeReader, mut tape: Tape) {
    while let Some(pair) = reader.pop().await {
        tape.push(&pair.caller.samples, &pair.bot.samples);
    }
}

/// Lets the bot talk, and ends the call as it wants, or as the engine must.
async fn talk(shared: &Arc<Shared>, mut call: Call) -> Talked {
    let id = call.id();
    let bot = match shared.bot(&call.facts().bot) {
        Ok(bot) => bot.clone(),
        Err(error) => {
            tracing::error!(call = %id, %error, "no bot for the call; the caller is left to the dialplan");
            give_up(&mut call).await;
            call.finish().clear().await;
            return Talked::Ended(End { note: Some(error.to_string()), ..End::new(Disposition::BotFailed) });
        }
    };
    let mut phase = shared.phase.subscribe();
    let outcome = tokio::select! {
        outcome = AssertUnwindSafe(bot.run(&mut call)).catch_unwind() => Some(outcome),
        _ = phase.wait_for(|phase| *phase >= Phase::Goodbye) => None,
    };
    if outcome.is_none() && *shared.phase.borrow() == Phase::HandingOver {
        return Talked::HandedOver(call.hand_over());
    }
    let end = match outcome {
        None => {
            say_goodbye(shared, &bot, &mut call).await;
            hang_up(&mut call, HangupReason::Normal).await;
            End::new(Disposition::Drained)
        }
        Some(Ok(Ok(Outcome::HangUp))) => {
            hang_up(&mut call, HangupReason::Normal).await;
            End::new(Disposition::Completed)
        }
        Some(Ok(Ok(Outcome::HangUpBecause(reason)))) => {
            hang_up(&mut call, reason).await;
            End::new(Disposition::Completed)
        }
        Some(Ok(Ok(Outcome::Left))) => End::new(Disposition::Transferred),
        Some(Ok(Err(CallError::Gone(gone)))) => End::gone(gone),
        Some(Ok(Err(error))) => {
            tracing::error!(call = %id, %error, "the bot failed; the caller is left to the dialplan");
            give_up(&mut call).await;
            End::failed(Disposition::BotFailed, &error)
        }
        Some(Err(_panic)) => {
            tracing::error!(call = %id, "the bot panicked; the caller is left to the dialplan");
            give_up(&mut call).await;
            End { note: Some("the bot panicked".into()), ..End::new(Disposition::BotFailed) }
        }
    };
    call.finish().clear().await;
    Talked::Ended(end)
}

async fn say_goodbye(shared: &Shared, bot: &AnyBot, call: &mut Call) {
    let goodbye = bot.goodbye().unwrap_or_else(|| Prompt::from(shared.config.engine.goodbye.clone()));
    if let Err(error) = call.say(goodbye).await
        && !error.is_end()
    {
        tracing::warn!(call = %call.id(), %error, "no goodbye could be said");
    }
}

async fn hang_up(call: &mut Call, reason: HangupReason) {
    if let Err(error) = call.hang_up(reason).await {
        tracing::warn!(call = %call.id(), %error, "hanging up failed");
    }
}

/// The bot cannot go on: the dialplan behind `Stasis()` may.
async fn give_up(call: &mut Call) {
    let status = [("OFFHOOK_STATUS".to_owned(), "FAILED".to_owned())];
    if call.leave(None, &status).await.is_err() {
        hang_up(call, HangupReason::Failure).await;
    }
}
