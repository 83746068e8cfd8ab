//! One call, from the first event to the last record.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::adopt::{Predecessor, State};
use super::config::WhenSilent;
use super::machines;
use super::records::Records;
use super::ringing::{Prepared, Ringing, Waited};
use super::server::{Made, Server};
use super::switchboard::{Mail, Stage};
use super::{Phase, dispatch};
use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::ops::HangupReason;
use crate::audio::Rate;
use crate::audio::ring::TapeReader;
use crate::bot::{AnyBot, Outcome};
use crate::call::leg::{Whose, until};
use crate::call::{
    Call, CallError, CallParts, Early, Facts, Gone, Journal as _, LastResort, Left, Leg, LegEvent, MediaPlan,
    Note, OwnEars, Prompt, Snapshot, Speaker, Transfer, Transferred,
};
use crate::id::CallId;
use crate::media::{Attach, Lease, Link, MediaSession, Seat, TransportKind};
use crate::pcap::recorder::Tap;
use crate::store::recording::Tape;
use crate::store::{CallRecord, Disposition, Machines};
use crate::time::{Moment, WallTime};
use crate::turn::answer::{AnswerSignal, Answerer, Party};
use crate::turn::echo::canceller;
use crate::turn::vad;

/// How a call ended.
pub(super) struct End {
    disposition: Disposition,
    cause: Option<u16>,
    note: Option<String>,
}

impl End {
    pub fn new(disposition: Disposition) -> Self {
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

    /// How a call ended that nobody answered, and why in a sentence.
    pub fn unanswered(gone: Gone, rang: bool) -> (Self, String) {
        let Gone::HungUp { cause } = gone else { return (Self::gone(gone), gone.to_string()) };
        let (disposition, why) = match cause {
            17 => (Disposition::Busy, "the line is busy".to_owned()),
            18 | 19 => (Disposition::NoAnswer, "it rang, and nobody answered".to_owned()),
            // Nothing special: our own time-out, among others.
            0 | 16 | 127 if rang => (Disposition::NoAnswer, "it rang, and nobody answered".to_owned()),
            21 => (Disposition::NoAnswer, "the call was refused".to_owned()),
            other => (Disposition::Failed, format!("the call could not be put through, cause {other}")),
        };
        (Self { cause: Some(cause), ..Self::new(disposition) }, why)
    }

    fn failed(disposition: Disposition, error: &CallError) -> Self {
        Self { note: Some(error.to_string()), ..Self::new(disposition) }
    }
}

/// How the bot stopped running.
enum Ran {
    /// It was done, failed or panicked.
    Ended(std::thread::Result<Result<Outcome, CallError>>),
    /// It was talking to a machine.
    Machine(AnswerSignal),
    /// The engine ends, or gives its calls away.
    Cut,
}

/// How a bot came to the end of its call.
enum Talked {
    Ended(End),
    /// Another process goes on with it.
    HandedOver(Option<Box<Snapshot>>),
}

/// Serves a call to its end; leaves nothing of it in Asterisk.
///
/// When we called, `made` says how.
pub(super) async fn serve(
    server: &Arc<Server>,
    facts: Facts,
    mut channel: ChannelId,
    mut mail: Mail,
    mut made: Option<Made>,
) {
    let id = facts.id;
    let _busy = server.shared.lamps.busy(&facts.bot);
    let office = (&*server.shared).into();
    let begun = made.as_mut().and_then(|made| made.row.take());
    let taken_up = begun.is_some();
    let records = match begun {
        Some(row) => Records::go_on(office, &facts, *row),
        None => Records::begin(office, &facts, &server.app, server.ari.peer(), channel.as_str()),
    };
    let machines = made.as_ref().map_or(Machines::Talk, |made| made.machines.clone());
    let (mut told, mut prepared) = (None, Prepared::default());
    if let Some(made) = made {
        let rings = Ringing::new(&facts, &channel, &made);
        if taken_up {
            if !rings.is_there(server).await {
                Leg::clear_rest(&server.ari, &server.app, id).await;
                let why = Some("it ended while no engine was there".to_owned());
                return records.end(Disposition::Lost, None, why, serde_json::Value::Null);
            }
        } else {
            if machines != Machines::Talk {
                records.judged(&machines);
            }
            records.rings_on(&rings);
        }
        if rings.stage == Stage::Early {
            return serve_early(server, facts, rings, taken_up, mail, machines, &records).await;
        }
        match rings.answered(server, &facts, taken_up, &mut mail.events, &records).await {
            Waited::Answered(ready) => prepared = ready,
            Waited::Ended(end) => {
                return records.end(end.disposition, end.cause, end.note, serde_json::Value::Null);
            }
            Waited::HandedOver => return server.shared.hand(State::Rings(rings), records.row(), None),
        }
        if let Some(named) = server.switchboard.channel(id).filter(|named| *named != channel) {
            // Asterisk has named it.
            records.change(|row| row.leg = named.to_string());
            channel = named;
        }
        match find_out(server, id, &channel, &machines, &mut mail.events).await {
            Ok(found) => told = found,
            Err(error) => {
                prepared.abandon().await;
                return converse(server, id, channel, Err(error), Begin::talking(machines), &records).await;
            }
        }
    }
    let joined = match prepared {
        Prepared::Ready(joined) => enter(*joined, &channel).await,
        Prepared::Nothing { again } => join(server, &facts, &channel, again, &mut mail.events).await,
        Prepared::Gone(gone) => Err(CallError::Gone(gone)),
    };
    let call = match joined {
        Ok(joined) => {
            let config = &server.shared.config;
            let ears = server.shared.services.answers(&facts.bot, config);
            let answerer = machines::answerer(id, config, &machines, told.as_ref(), ears);
            connect(server, facts, joined, mail, answerer, &records).await
        }
        Err(error) => Err(error),
    };
    let call = call.map(|(parts, lease)| (begin(parts), lease));
    if let Some(signal) = told {
        records.note(id, Note::Answerer(signal));
    }
    converse(server, id, channel, call, Begin::Talking { machines, told }, &records).await;
}

/// Lets Asterisk find out who answered, where that is configured and anything hangs on it.
async fn find_out(
    server: &Server,
    id: CallId,
    channel: &ChannelId,
    machines: &Machines,
    events: &mut mpsc::Receiver<LegEvent>,
) -> Result<Option<AnswerSignal>, CallError> {
    match &server.shared.config.campaigns.amd {
        Some(context) if *machines != Machines::Talk => {
            machines::amd(server, id, channel, context, events).await
        }
        _ => Ok(None),
    }
}

/// Serves a call that is heard before it is answered: its channel is joined with our media first, and dialled then.
async fn serve_early(
    server: &Arc<Server>,
    facts: Facts,
    rings: Ringing,
    taken_up: bool,
    mut mail: Mail,
    machines: Machines,
    records: &Arc<Records>,
) {
    let id = facts.id;
    let (channel, patience) = (ChannelId::from(rings.channel.as_str()), rings.patience());
    let refused = |error: &CallError| {
        server.switchboard.answered(id, Err(error.to_string()));
        records.end(Disposition::Failed, None, Some(error.to_string()), serde_json::Value::Null);
    };
    let joined = async {
        if !taken_up {
            until(&mut mail.events, LegEvent::Made).await?;
        }
        join(server, &facts, &channel, taken_up, &mut mail.events).await
    };
    let joined = match joined.await {
        Ok(joined) => joined,
        Err(error) => {
            dispatch::clear(server, &channel).await;
            return refused(&error);
        }
    };
    let answerer = Some(machines::early(&server.shared.config));
    let (mut call, lease) = match connect(server, facts, joined, mail, answerer, records).await {
        Ok((parts, lease)) => (Call::new(parts), lease),
        Err(error) => return refused(&error),
    };
    let mut rang = records.row().outcome.is_some_and(|outcome| outcome.rang);
    if taken_up {
        // Its answer may have come while it was joined.
        rings.is_there(server).await;
    }
    let waited = async {
        // Its own end of ringing Asterisk tells with a cause that is none (32, 22.10): it is for when we are gone.
        let seconds = u32::try_from((patience + Duration::from_secs(5)).as_secs()).ok();
        if !taken_up {
            server.ari.channels().dial(&channel, None, seconds).await?;
        }
        let answer = call.wait_for_answer(machines != Machines::Talk, || {
            rang = true;
            records.rings();
        });
        let too_long = || Err(CallError::Gone(Gone::HungUp { cause: 19 }));
        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| too_long())
    };
    let mut phase = server.shared.phase.subscribe();
    let waited = tokio::select! {
        waited = waited => Some(waited),
        _ = phase.wait_for(|phase| *phase >= Phase::Goodbye) => None,
    };
    if waited.is_none() && *server.shared.phase.borrow() == Phase::HandingOver {
        return server.shared.hand(State::Rings(rings), records.row(), Some(lease));
    }
    let (end, why) = match waited {
        Some(Ok(Early::Answered)) => {
            call.checkpoint("", serde_json::Value::Null);
            return converse(server, id, channel, Ok((call, lease)), Begin::talking(machines), records).await;
        }
        Some(Ok(Early::Failed(which))) => {
            (End::new(Disposition::Failed), format!("the network says by its tones: {}", which.name()))
        }
        Some(Err(CallError::Gone(gone))) => End::unanswered(gone, rang),
        Some(Err(error)) => (End::failed(Disposition::Failed, &error), error.to_string()),
        None => (End::new(Disposition::Drained), "the engine is ending".to_owned()),
    };
    hang_up(&mut call, HangupReason::Normal).await;
    call.finish().clear().await;
    let stats = lease.detach().await;
    server.switchboard.answered(id, Err(why));
    records.end(end.disposition, end.cause, end.note, serde_json::to_value(stats).unwrap_or_default());
}

/// Makes what the caller's channel is to be joined with; `again` where this may have been done before.
pub(super) async fn prepare(
    server: &Server,
    facts: &Facts,
    channel: &ChannelId,
    again: bool,
    events: &mut mpsc::Receiver<LegEvent>,
) -> Result<Joined, CallError> {
    let plan = plan(server, &facts.bot)?;
    let seat = server.shared.media.reserve_for(plan.transport, plan.format)?;
    let mut seat = seat.known_as(server.section.advertise);
    let (ari, app, call) = (&server.ari, server.app.as_str(), facts.id);
    let whose = Whose { ari, app, call, channel, plan: &plan, again };
    let (leg, link) = Leg::prepare(&whose, &mut seat, events).await?;
    Ok(Joined { leg, link, seat, plan })
}

/// Joins the caller's channel with ours.
async fn join(
    server: &Server,
    facts: &Facts,
    channel: &ChannelId,
    again: bool,
    events: &mut mpsc::Receiver<LegEvent>,
) -> Result<Joined, CallError> {
    enter(prepare(server, facts, channel, again, events).await?, channel).await
}

async fn enter(joined: Joined, channel: &ChannelId) -> Result<Joined, CallError> {
    let Joined { leg, link, seat, plan } = joined;
    Ok(Joined { leg: leg.enter(channel).await?, link, seat, plan })
}

/// A call that has just begun. From here on another process could go on, with a bot that keeps no state too.
fn begin(parts: CallParts) -> Call {
    let mut call = Call::new(parts);
    call.checkpoint("", serde_json::Value::Null);
    call
}

/// How a bot begins with a call.
enum Begin {
    /// It talks: from the beginning, or from where another process was.
    Talking {
        /// What a machine gets that answered.
        machines: Machines,
        /// Who answered, where that is known before anybody talks.
        told: Option<AnswerSignal>,
    },
    /// That process was done with it: the caller talks with a person.
    WithPerson,
}

impl Begin {
    const fn talking(machines: Machines) -> Self {
        Self::Talking { machines, told: None }
    }
}

/// Serves a call that an earlier process began, from the step where that one stopped.
pub(super) async fn take_up(
    server: &Arc<Server>,
    snapshot: Snapshot,
    row: CallRecord,
    from: Predecessor,
    mut mail: Mail,
) {
    let Predecessor { left, alive, attached } = from;
    let facts = snapshot.facts();
    let _busy = server.shared.lamps.busy(&facts.bot);
    let channel = ChannelId::from(snapshot.channel.as_str());
    let records = Records::go_on((&*server.shared).into(), &facts, row);
    tracing::info!(call = %facts.id, bot = facts.bot, step = snapshot.step, ?left, "a call is taken up");
    let with_person = left == Left::Talking;
    let joined = async {
        let (wanted, media) = (plan(server, &facts.bot)?, &server.shared.media);
        let here = server.section.advertise;
        // Over RTP the media channel that is there goes on, in its own format, if its port is ours.
        let same = (snapshot.transport == TransportKind::Rtp && left != Left::Broken)
            .then(|| {
                let seat = media.reserve_at(server.our_socket(snapshot.our_address))?;
                Some((seat.known_as(here), snapshot.format.parse().ok()?))
            })
            .flatten();
        let (mut seat, plan) = match same {
            Some((seat, format)) => {
                (seat, MediaPlan { transport: TransportKind::Rtp, format, ..wanted.clone() })
            }
            None => (media.reserve_for(wanted.transport, wanted.format)?.known_as(here), wanted.clone()),
        };
        let (leg, link) =
            Leg::adopt(&server.ari, &snapshot, left, &mut seat, &plan, &mut mail.events).await?;
        Ok(Joined { leg, link, seat, plan })
    };
    let id = facts.id;
    // A process that ends while it finds out who answered leaves that to us, with what is still to be heard of him.
    let outcome = records.row().outcome.unwrap_or_default();
    let machines = outcome.machines.filter(|_| !with_person).unwrap_or_default();
    let told = outcome.answered_by.map(|by| machines::known(by, Moment::now()));
    let call = match joined.await {
        Ok(joined) => {
            let config = &server.shared.config;
            let ears = server.shared.services.answers(&facts.bot, config);
            let answerer = machines::answerer(id, config, &machines, told.as_ref(), ears);
            connect(server, facts, joined, mail, answerer, &records).await
        }
        Err(error) => Err(error),
    };
    let handed_over = attached.is_some();
    if let Some(attached) = attached {
        // Who waits for it may have lost its patience.
        let _ = attached.send(());
    }
    let call = call.map(|(parts, lease)| (Call::take_up(parts, &snapshot, alive, handed_over), lease));
    let begin = if with_person { Begin::WithPerson } else { Begin::Talking { machines, told } };
    converse(server, id, channel, call, begin, &records).await;
}

/// How the calls of a bot get their audio on this server.
fn plan(server: &Server, bot: &str) -> Result<MediaPlan, CallError> {
    server.plan_of(bot).ok_or(CallError::MediaEnded)
}

/// Lets the bot talk on a call that is connected, and ends its records.
async fn converse(
    server: &Arc<Server>,
    id: CallId,
    channel: ChannelId,
    call: Result<(Call, Lease), CallError>,
    begin: Begin,
    records: &Records,
) {
    let (end, media) = match call {
        Ok((call, lease)) => match talk(server, call, begin).await {
            Talked::Ended(end) => {
                let stats = lease.detach().await;
                (end, serde_json::to_value(stats).unwrap_or_default())
            }
            Talked::HandedOver(snapshot) => {
                if let Some(snapshot) = snapshot {
                    server.shared.hand(State::Up(snapshot), records.row(), Some(lease));
                }
                return;
            }
        },
        Err(error) => {
            tracing::warn!(call = %id, %error, "a call could not be connected");
            dispatch::leave(server, &channel, "FAILED", None).await;
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

/// Keeps the call's packets, where that is wanted; a call whose packets cannot be kept goes on without.
async fn capture(server: &Server, facts: &Facts) -> Option<Tap> {
    let wanted = server.shared.config.bots.get(&facts.bot).and_then(|bot| bot.capture).unwrap_or(true);
    let recorder = Arc::clone(server.shared.captures.as_ref().filter(|_| wanted)?);
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

/// A call's channels, joined or about to be, and by what its audio comes.
pub(super) struct Joined {
    pub leg: Leg,
    link: Link,
    seat: Seat,
    plan: MediaPlan,
}

/// Gives a call that is joined a media thread, a recogniser and a voice.
async fn connect(
    server: &Arc<Server>,
    facts: Facts,
    joined: Joined,
    mail: Mail,
    answerer: Option<Box<Answerer>>,
    records: &Arc<Records>,
) -> Result<(CallParts, Lease), CallError> {
    let id = facts.id;
    let Joined { leg, link, seat, plan } = joined;
    let mut attach = Attach::new(id, link, vad::make(server.shared.config.vad(&facts.bot), Rate::Hz8000));
    attach.canceller = server.shared.config.cancels_echo(&facts.bot).then(|| canceller(Rate::Hz8000));
    attach.format = plan.format;
    attach.answerer = answerer;
    let own_ears = server.shared.services.bot(&facts.bot).map(AnyBot::own_ears).unwrap_or_default();
    attach.ear_rate = own_ears.rate();
    attach.ear_always = matches!(own_ears, OwnEars::Everything(_));
    attach.tape = server.shared.recordings.is_some();
    attach.capture = capture(server, &facts).await;
    let MediaSession { events: media_events, ear, voice, control, tape, lease } =
        match server.shared.media.attach(seat, attach) {
            Ok(session) => session,
            Err(error) => {
                leg.abandon().await;
                return Err(error.into());
            }
        };
    if let (Some(recordings), Some(reader)) = (&server.shared.recordings, tape) {
        let (tape, timeline) = recordings.start(id, Moment::now());
        records.recorded(recordings.wav_path(id), timeline);
        server.shared.tasks.spawn(record(reader, tape));
    }
    let recognizer = server.shared.services.recognizer(&facts.bot).filter(|_| !own_ears.is_own());
    let recognizer = recognizer.and_then(|recognizer| {
        records.heard_by(recognizer.name());
        let opened = recognizer.open(id, ear.clone(), Rate::Hz8000);
        opened.inspect_err(|error| tracing::error!(call = %id, %error, "the call has no recogniser")).ok()
    });
    server.shared.pulse.feel(id, control.clone());
    let rate = plan.format.rate();
    let voices: Arc<dyn crate::call::Voices> = Arc::clone(server.shared.services.voices(&facts.bot)) as _;
    let parts = CallParts {
        facts,
        leg,
        leg_events: mail.events,
        media_events,
        control,
        recognizer,
        ear: own_ears.is_own().then_some(ear),
        speaker: Speaker::new(voice, voices, rate),
        journal: Arc::clone(records) as _,
        policy: Arc::clone(&server.shared.services.policy),
        beside: mail.beside,
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
async fn talk(server: &Arc<Server>, mut call: Call, begin: Begin) -> Talked {
    let id = call.id();
    let bot = match server.shared.services.bot(&call.facts().bot) {
        Ok(bot) => bot.clone(),
        Err(error) => {
            tracing::error!(call = %id, %error, "no bot for the call; the caller is left to the dialplan");
            give_up(&mut call).await;
            call.finish().clear().await;
            return Talked::Ended(End { note: Some(error.to_string()), ..End::new(Disposition::BotFailed) });
        }
    };
    let (apology, then) = server.shared.config.when_silent(&call.facts().bot);
    let (apology, then) = (apology.map(Path::to_path_buf), then.clone());
    call.at_last(LastResort { apology, ends: then != WhenSilent::Bot });
    let mut phase = server.shared.phase.subscribe();
    let mut notes = match &begin {
        Begin::Talking { machines: Machines::HangUp | Machines::Message(_), .. } => Some(call.overhear()),
        _ => None,
    };
    let running = async {
        if matches!(begin, Begin::WithPerson) {
            // The bot was done with the call before this process began.
            return call.until_one_leaves().await.map(|()| Outcome::Left);
        }
        announce(server, &mut call).await?;
        bot.run(&mut call).await
    };
    let known = match &begin {
        Begin::Talking { told: Some(signal), .. } if signal.verdict() == Some(Party::Machine) => {
            Some(*signal)
        }
        _ => None,
    };
    let found = async {
        match known {
            Some(signal) => signal,
            None => machines::found(&mut notes).await,
        }
    };
    let outcome = tokio::select! {
        biased;
        signal = found => Ran::Machine(signal),
        outcome = AssertUnwindSafe(running).catch_unwind() => Ran::Ended(outcome),
        _ = phase.wait_for(|phase| *phase >= Phase::Goodbye) => Ran::Cut,
    };
    if matches!(outcome, Ran::Cut) && *server.shared.phase.borrow() == Phase::HandingOver {
        return Talked::HandedOver(call.hand_over());
    }
    let end = match outcome {
        Ran::Cut => {
            say_goodbye(server, &bot, &mut call).await;
            hang_up(&mut call, HangupReason::Normal).await;
            End::new(Disposition::Drained)
        }
        Ran::Machine(signal) => {
            if let (Begin::Talking { machines: Machines::Message(words), .. }, Some(notes)) =
                (&begin, &mut notes)
                && matches!(signal, AnswerSignal::Machine { .. } | AnswerSignal::Unsure { .. })
            {
                let config = &server.shared.config;
                tokio::select! {
                    left = machines::leave_message(&mut call, notes, words, config) => {
                        left.unwrap_or_else(|error| {
                            tracing::info!(call = %id, %error, "the machine did not get the whole message");
                        });
                    }
                    _ = phase.wait_for(|phase| *phase >= Phase::Goodbye) => {}
                }
            }
            hang_up(&mut call, HangupReason::Normal).await;
            End::new(Disposition::Completed)
        }
        Ran::Ended(Ok(Ok(Outcome::HangUp))) => {
            hang_up(&mut call, HangupReason::Normal).await;
            End::new(Disposition::Completed)
        }
        Ran::Ended(Ok(Ok(Outcome::HangUpBecause(reason)))) => {
            hang_up(&mut call, reason).await;
            End::new(Disposition::Completed)
        }
        Ran::Ended(Ok(Ok(Outcome::Left))) => End::new(Disposition::Transferred),
        Ran::Ended(Ok(Err(CallError::Gone(gone)))) => End::gone(gone),
        Ran::Ended(Ok(Err(error @ CallError::Silent(_)))) => {
            tracing::error!(call = %id, %error, "the call ends as `when_silent` says");
            let disposition = match then {
                WhenSilent::HangUp => {
                    hang_up(&mut call, HangupReason::Failure).await;
                    Disposition::BotFailed
                }
                WhenSilent::Bot | WhenSilent::Dialplan => {
                    give_up(&mut call).await;
                    Disposition::BotFailed
                }
                WhenSilent::Transfer(to) => pass_on(&mut call, &to).await,
            };
            End::failed(disposition, &error)
        }
        Ran::Ended(Ok(Err(error))) => {
            tracing::error!(call = %id, %error, "the bot failed; the caller is left to the dialplan");
            give_up(&mut call).await;
            End::failed(Disposition::BotFailed, &error)
        }
        Ran::Ended(Err(_panic)) => {
            tracing::error!(call = %id, "the bot panicked; the caller is left to the dialplan");
            give_up(&mut call).await;
            End { note: Some("the bot panicked".into()), ..End::new(Disposition::BotFailed) }
        }
    };
    call.finish().clear().await;
    Talked::Ended(end)
}

/// Says that the call is recorded, where that is configured, before anything else of a call that has just begun.
async fn announce(server: &Server, call: &mut Call) -> Result<(), CallError> {
    let section = &server.shared.config.recording;
    let Some(words) = section.announce.as_ref().filter(|_| section.folder.is_some()) else { return Ok(()) };
    if call.taken_up().is_none() {
        call.answer().await?;
        call.say(words.clone()).await?;
    }
    Ok(())
}

async fn say_goodbye(server: &Server, bot: &AnyBot, call: &mut Call) {
    let goodbye = bot.goodbye().unwrap_or_else(|| Prompt::from(server.shared.config.engine.goodbye.clone()));
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

/// The caller is put through to somebody who can talk, or left to the dialplan where nobody takes him.
async fn pass_on(call: &mut Call, to: &str) -> Disposition {
    let why = match call.transfer(to, Transfer::Blind).await {
        Ok(Transferred::Done) => return Disposition::Transferred,
        Ok(Transferred::NotTaken(why)) => why,
        Err(error) => error.to_string(),
    };
    tracing::error!(call = %call.id(), to, why, "nobody took the caller");
    give_up(call).await;
    Disposition::BotFailed
}

/// The bot cannot go on: the dialplan behind `Stasis()` may.
async fn give_up(call: &mut Call) {
    let status = [("OFFHOOK_STATUS".to_owned(), "FAILED".to_owned())];
    if call.leave(None, &status).await.is_err() {
        hang_up(call, HangupReason::Failure).await;
    }
}
