//! A call's notes into the store, the recording's time line and whoever watches.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use super::campaigns::OptOuts;
use super::ringing::Ringing;
use super::{Shared, privacy};
use crate::audio::ring::PlayId;
use crate::call::journal::{Input, Spoken, Turn};
use crate::call::{Facts, Journal, Note};
use crate::id::CallId;
use crate::media::PlayEnd;
use crate::policy::redact::Redactor;
use crate::store::recording::{Event, Timeline};
use crate::store::{
    AnsweredBy, CallBack, CallOutcome, CallRecord, Direction, Disposition, Heard, Interruption, Latencies,
    Machines, Reply, Snapshot, Store, Taking, TurnKind, TurnRecord,
};
use crate::time::{Moment, WallTime};
use crate::turn::answer::{AnswerSignal, Information, Party};
use crate::turn::{By, Reasons, TurnSignal};

/// The most variables of a call that are kept, and of each value the first characters.
const MOST_RESULTS: usize = 100;
const MOST_VALUE: usize = 1_000;

/// Keeps the records of one call.
pub(super) struct Records {
    store: Store,
    watcher: Option<Arc<dyn Journal>>,
    row: Mutex<CallRecord>,
    began: (Moment, WallTime),
    answered: Mutex<Option<Moment>>,
    timeline: OnceLock<Timeline>,
    /// What is being played: play, text and when its first frame went out.
    playing: Mutex<Option<(PlayId, String, Option<Moment>)>>,
    /// What is never written down.
    redactor: Redactor,
    /// What the caller last interrupted with.
    interruption: Mutex<Option<Interruption>>,
    /// Who recognises, where nobody else says that he did.
    recognizer: OnceLock<&'static str>,
    /// Who writes down whom nobody is to call again.
    opt_outs: OptOuts,
}

/// What every call's records need of the engine.
pub(super) struct Office<'a> {
    pub store: &'a Store,
    pub watcher: Option<Arc<dyn Journal>>,
    pub redactor: Redactor,
    pub opt_outs: &'a OptOuts,
}

impl<'a> From<&'a Shared> for Office<'a> {
    fn from(shared: &'a Shared) -> Self {
        Self {
            store: &shared.store,
            watcher: shared.services.watcher.clone(),
            redactor: shared.config.privacy,
            opt_outs: &shared.opt_outs,
        }
    }
}

impl Records {
    /// Begins the row of a call.
    pub fn begin(office: Office<'_>, facts: &Facts, app: &str, server: &str, channel: &str) -> Arc<Self> {
        let began = (Moment::now(), WallTime::now());
        let direction = if facts.outbound { Direction::Out } else { Direction::In };
        let row = CallRecord {
            server: server.to_owned(),
            app: app.to_owned(),
            bot: facts.bot.clone(),
            caller: Some(facts.caller.clone()).filter(|number| !number.is_empty()),
            called: Some(facts.called.clone()).filter(|number| !number.is_empty()),
            leg: channel.to_owned(),
            ..CallRecord::begun(facts.id, began.1, direction)
        };
        office.store.put_call(row.clone());
        Self::of(office, row, began, None)
    }

    /// Goes on with the row of a call that another process began.
    pub fn go_on(office: Office<'_>, facts: &Facts, row: CallRecord) -> Arc<Self> {
        let now = (Moment::now(), WallTime::now());
        // The store may have kept less of the numbers than the call's state has.
        let known = |number: &String| Some(number.clone()).filter(|number| !number.is_empty());
        let row = CallRecord { caller: known(&facts.caller), called: known(&facts.called), ..row };
        let answered = row.answered.map(|_| now.0);
        Self::of(office, row, now, answered)
    }

    fn of(
        office: Office<'_>,
        row: CallRecord,
        began: (Moment, WallTime),
        answered: Option<Moment>,
    ) -> Arc<Self> {
        let Office { store, watcher, redactor, opt_outs } = office;
        Arc::new(Self {
            store: store.clone(),
            opt_outs: opt_outs.clone(),
            watcher,
            row: Mutex::new(row),
            began,
            answered: Mutex::new(answered),
            timeline: OnceLock::new(),
            playing: Mutex::new(None),
            redactor,
            interruption: Mutex::new(None),
            recognizer: OnceLock::new(),
        })
    }

    /// The call is being recorded: its time line is kept beside the audio.
    pub fn recorded(&self, file: PathBuf, timeline: Timeline) {
        self.change(|row| row.recording = Some(file.display().to_string()));
        // Begun once per call.
        let _ = self.timeline.set(timeline);
    }

    /// Who recognises on the call, where nobody else says that he did.
    pub fn heard_by(&self, name: &'static str) {
        // Opened once per call.
        let _ = self.recognizer.set(name);
    }

    /// Notes the row's changes and stores it.
    pub fn change(&self, change: impl FnOnce(&mut CallRecord)) {
        let mut row = lock(&self.row);
        change(&mut row);
        self.store.put_call(row.clone());
    }

    fn outcome(&self, change: impl FnOnce(&mut CallOutcome)) {
        self.change(|row| change(row.outcome.get_or_insert_default()));
    }

    /// What is done where a machine answers.
    pub fn judged(&self, machines: &Machines) {
        self.outcome(|outcome| outcome.machines = Some(machines.clone()));
    }

    /// What another process needs to wait on for the answer to a call that we make.
    pub fn rings_on(&self, ringing: &Ringing) {
        let call = ringing.call;
        match serde_json::to_value(ringing) {
            Ok(state) => self.store.put_snapshot(&Snapshot { call, at: WallTime::now(), state }),
            Err(error) => tracing::error!(%call, %error, "a call that rings cannot be written as JSON"),
        }
    }

    /// It rings where we call.
    pub fn rings(&self) {
        self.outcome(|outcome| outcome.rang = true);
    }

    /// The row as it is.
    pub fn row(&self) -> CallRecord {
        lock(&self.row).clone()
    }

    /// Ends the row.
    pub fn end(
        &self,
        disposition: Disposition,
        cause: Option<u16>,
        note: Option<String>,
        media: serde_json::Value,
    ) {
        self.change(|row| {
            row.ended = Some(self.wall(Moment::now()));
            row.disposition = Some(disposition);
            row.cause = cause;
            row.note = note.or(row.note.take());
            row.media = Some(media);
        });
        let call = lock(&self.row).id;
        self.store.remove_snapshot(call);
    }

    /// The wall time of a moment of this call, on one axis for the whole call.
    fn wall(&self, at: Moment) -> WallTime {
        WallTime(self.began.1.0 + at.millis_from(self.began.0).round() as i64)
    }

    /// Puts a note on the recording's time line.
    fn draw(&self, timeline: &Timeline, note: &Note) {
        let mark = |at: Moment, name: &str, detail: Option<String>| {
            timeline.push(at, Event::Mark { name: name.to_owned(), detail });
        };
        match note {
            Note::Answered { at } => mark(*at, "answered", None),
            Note::Step { name, at } => mark(*at, "step", Some(name.clone())),
            Note::Transfer { to, how, at } => mark(*at, "transfer", Some(format!("{to}: {how}"))),
            Note::Key { key, at } => timeline.push(*at, Event::Key { key: *key }),
            Note::Signal(TurnSignal::Onset { at }) => mark(*at, "speech begins", None),
            Note::Signal(TurnSignal::Endpoint { speech_end, .. }) => mark(*speech_end, "speech ends", None),
            Note::Signal(TurnSignal::BargeIn { onset, by: how, .. }) => {
                *lock(&self.interruption) = Some(by(*how == By::Key));
                mark(*onset, "barge-in", None);
            }
            Note::Resumed { at } => mark(*at, "resumed", None),
            Note::Signal(TurnSignal::Duck { at, .. }) => mark(*at, "ducked", None),
            Note::Signal(TurnSignal::Restore { at, why }) => {
                mark(*at, "restored", Some(why.name().to_owned()));
            }
            Note::Heard { input, at } => {
                let Heard { text, meaning, confidence, .. } = heard(Some(input));
                let kind = kind(Some(input));
                timeline.push(*at, Event::Turn { index: 0, step: None, kind, text, meaning, confidence });
            }
            Note::Saying { text, play, .. } => {
                let mut playing = lock(&self.playing);
                match playing.as_mut().filter(|(playing, ..)| playing == play) {
                    // A clause more of the same.
                    Some((_, so_far, _)) => *so_far = format!("{so_far} {text}"),
                    None => *playing = Some((*play, text.clone(), None)),
                }
            }
            Note::Started { play, at } => {
                if let Some((_, _, began)) =
                    lock(&self.playing).as_mut().filter(|(playing, ..)| playing == play)
                {
                    *began = Some(*at);
                }
            }
            Note::Played { play, heard, end, .. } => {
                let ended = lock(&self.playing).take_if(|(playing, ..)| playing == play);
                if let Some((_, text, Some(began))) = ended {
                    let interrupted = lock(&self.interruption).take().filter(|_| *end == PlayEnd::BargedIn);
                    let heard_ms = millis(*heard);
                    timeline
                        .push(began, Event::Play { text: Some(text), total_ms: None, heard_ms, interrupted });
                }
            }
            _ => {}
        }
    }

    fn turn(&self, call: CallId, turn: &Turn) -> TurnRecord {
        let ledger = &turn.ledger;
        let at = ledger.speech_end.or(ledger.reply).unwrap_or(self.began.0);
        TurnRecord {
            call,
            index: turn.index,
            at: self.wall(at),
            step: Some(turn.step.clone()).filter(|step| !step.is_empty()),
            kind: kind(turn.input.as_ref()),
            heard: heard(turn.input.as_ref()),
            reply: reply(turn),
            latencies: Latencies {
                endpoint_ms: ledger.millis(ledger.endpoint),
                final_ms: ledger.millis(ledger.r#final),
                reply_ms: ledger.millis(ledger.reply),
                audio_ms: ledger.millis(ledger.first_audio),
                sent_ms: ledger.millis(ledger.first_frame),
            },
            taking: taking(turn, self.recognizer.get().copied()),
        }
    }
}

impl Journal for Records {
    fn note(&self, call: CallId, note: Note) {
        let note = privacy::redacted(&self.redactor, note);
        if let Some(watcher) = &self.watcher {
            watcher.note(call, note.clone());
        }
        if let Some(timeline) = self.timeline.get() {
            self.draw(timeline, &note);
        }
        match note {
            Note::Answered { at } => {
                let mut answered = lock(&self.answered);
                if answered.is_none() {
                    *answered = Some(at);
                    self.change(|row| row.answered = Some(self.wall(at)));
                }
            }
            Note::Transfer { to, how, .. } => {
                tracing::info!(%call, to, how, "a transfer");
                self.change(|row| row.note = Some(format!("transferred to {to}: {how}")));
            }
            Note::CallBack { dial, bot, due } => {
                let promised = CallBack { call, app: lock(&self.row).app.clone(), due, dial, bot };
                let store = self.store.clone();
                tokio::spawn(async move {
                    if let Err(error) = store.promise_call_back(&promised).await {
                        tracing::error!(%call, %error, "a promise to call back could not be stored");
                    }
                });
            }
            Note::Answerer(signal) => {
                if let Some(by) = answered_by(&signal) {
                    tracing::info!(%call, "{signal}");
                    self.outcome(|outcome| outcome.answered_by = Some(by));
                }
            }
            Note::Result { name, value } => {
                let value = value.unwrap_or_else(|| "[private]".to_owned());
                self.outcome(|outcome| {
                    if outcome.result.len() < MOST_RESULTS || outcome.result.contains_key(&name) {
                        outcome.result.insert(name, value.chars().take(MOST_VALUE).collect());
                    }
                });
            }
            Note::OptedOut => {
                self.outcome(|outcome| outcome.opted_out = true);
                let row = lock(&self.row);
                let number = if row.direction == Direction::Out { &row.called } else { &row.caller };
                self.opt_outs.add(call, number.as_deref().unwrap_or_default());
            }
            Note::Turn(turn) => self.store.put_turn(self.turn(call, &turn)),
            Note::Checkpoint(snapshot) => match serde_json::to_value(&*snapshot) {
                Ok(state) => self.store.put_snapshot(&Snapshot { call, at: WallTime::now(), state }),
                Err(error) => tracing::error!(%call, %error, "a snapshot cannot be written as JSON"),
            },
            _ => {}
        }
    }
}

/// Who answered, by what was found out.
fn answered_by(signal: &AnswerSignal) -> Option<AnsweredBy> {
    Some(match signal {
        AnswerSignal::Fax { .. } => AnsweredBy::Fax,
        AnswerSignal::InformationTone { which, .. } => match which {
            Information::Intercept | Information::VacantCode => AnsweredBy::NoSuchNumber,
            Information::NoCircuit | Information::Reorder => AnsweredBy::NoCircuit,
        },
        other => match other.verdict()? {
            Party::Person => AnsweredBy::Person,
            Party::Machine => AnsweredBy::Machine,
        },
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the records")
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

fn by(key: bool) -> Interruption {
    if key { Interruption::Key } else { Interruption::Voice }
}

fn kind(input: Option<&Input>) -> TurnKind {
    match input {
        None => TurnKind::Opening,
        Some(Input::Words { .. }) => TurnKind::Voice,
        Some(Input::Keys(_)) => TurnKind::Keys,
        Some(Input::NoInput) => TurnKind::NoInput,
        Some(Input::NoMatch | Input::Failed(_)) => TurnKind::NoMatch,
    }
}

fn heard(input: Option<&Input>) -> Heard {
    match input {
        Some(Input::Words { text, meaning, confidence }) => Heard {
            text: Some(text.clone()),
            meaning: Some(meaning.clone()),
            confidence: Some(*confidence),
            keys: None,
        },
        Some(Input::Keys(keys)) => Heard { keys: Some(keys.clone()), ..Heard::default() },
        _ => Heard::default(),
    }
}

fn taking(turn: &Turn, recognizer: Option<&'static str>) -> Taking {
    let spoken = matches!(turn.input, Some(Input::Words { .. } | Input::NoMatch));
    let recognizer = turn.recognizer.or(recognizer.filter(|_| spoken && turn.ledger.r#final.is_some()));
    let made = turn.made.as_ref().filter(|made| made.by.is_some());
    let decision = turn.decision.as_ref();
    let reasons = decision.map(|decision| decision.reasons);
    let interruption = turn.interruption.as_ref();
    let small = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    Taking {
        witness: decision.map(|decision| decision.witness.name().to_owned()),
        needed_ms: reasons.map(|reasons| reasons.needed_ms),
        parts_ms: reasons.map(|reasons| {
            let Reasons { base_ms, ending_ms, habit_ms, doubt_ms, .. } = reasons;
            [i32::from(base_ms), ending_ms.into(), habit_ms.into(), doubt_ms.into()]
        }),
        completeness: reasons.map(|reasons| reasons.completeness.name().to_owned()),
        ending: reasons.map(|reasons| reasons.ending.name().to_owned()),
        ducked_ms: interruption.and_then(|i| Some(i.ducked?.millis_from(i.onset))),
        stopped_ms: interruption.map(|i| i.stopped.unwrap_or(i.decided).millis_from(i.onset)),
        stopped_by: interruption.map(|i| i.by.name().to_owned()),
        restored: small(turn.false_ducks),
        resumed: turn.resumed > 0,
        saved_ms: turn.speculation.saved.map(|saved| saved.as_secs_f64() * 1e3),
        wasted: small(turn.speculation.wasted),
        recognizer: recognizer.map(str::to_owned),
        recognizer_ms: recognizer.and_then(|_| {
            let (said, heard) = (turn.ledger.endpoint?, turn.ledger.r#final?);
            Some(heard.millis_from(said).max(0.0))
        }),
        synthesizer: made.and_then(|made| made.by).map(str::to_owned),
        synthesizer_ms: made.map(|made| made.after.as_secs_f64() * 1e3),
    }
}

fn reply(turn: &Turn) -> Reply {
    if turn.spoken.is_empty() {
        return Reply::default();
    }
    // Of what was cut just the words that were heard.
    let said = |spoken: &'_ Spoken| match (&spoken.words, spoken.end) {
        (Some(words), Some(end)) if end != PlayEnd::Finished => words.clone(),
        _ => spoken.text.clone(),
    };
    let said: Vec<String> = turn.spoken.iter().map(said).filter(|text| !text.is_empty()).collect();
    let text = said.join(" ");
    let total = turn.spoken.iter().map(|spoken| spoken.total.map(millis)).sum();
    let cut = turn.spoken.iter().any(|spoken| spoken.end == Some(PlayEnd::BargedIn));
    let by_key = turn.interruption.is_some_and(|interruption| interruption.by_key());
    Reply {
        text: Some(text),
        total_ms: total,
        heard_ms: Some(turn.spoken.iter().map(|spoken| millis(spoken.heard)).sum()),
        interrupted: cut.then_some(by(by_key)),
    }
}
