//! The bot that runs a flow on a call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::deed::{self, Came};
use super::{
    Action, BargeInSpec, CollectSpec, DialplanPlace, Endpointing, Flow, FlowState, HangUpCause, Input,
    ListenSpec, Part, StartVars,
};
use crate::asterisk::ari::ops::HangupReason;
use crate::bot::{Bot, Outcome};
use crate::call::{self, Call, CallError, Heard, KeyPlan, Listen, Prompt, leg};
use crate::service::Web;
use crate::speech::Expected;
use crate::time::WallTime;
use crate::turn::{BargeIn, Listening};

/// Runs a [`Flow`] on every call that it is given.
pub struct FlowBot {
    flow: Arc<Flow>,
    voice: Option<String>,
    web: Option<Web>,
}

impl FlowBot {
    /// A bot for `flow` that speaks with `voice`, or with the flow's own where that is [`None`].
    #[must_use]
    pub fn new(flow: Arc<Flow>, voice: Option<String>) -> Self {
        let voice = voice.or_else(|| flow.voice().map(str::to_owned));
        Self { flow, voice, web: None }
    }

    /// With a way to the services that the flow asks, if it [asks any](Flow::looks_up).
    #[must_use]
    pub fn with_web(mut self, web: Web) -> Self {
        self.web = Some(web);
        self
    }

    /// The voice that it speaks with; [`None`] for the engine's.
    #[must_use]
    pub fn voice(&self) -> Option<&str> {
        self.voice.as_deref()
    }

    /// What it says in the same words on every call.
    #[must_use]
    pub fn fixed_parts(&self) -> Vec<call::Part> {
        let texts = self.flow.fixed_sentences().into_iter().map(|text| call::Part::Text(text.to_owned()));
        let files = self.flow.prompt_files().into_iter().map(|file: &Path| call::Part::File(file.to_owned()));
        texts.chain(files).collect()
    }

    /// Where the call is in the flow: at its start, or where another process left it.
    fn state(&self, call: &Call) -> FlowState {
        let Some(left) = call.taken_up().filter(|left| !left.is_null()) else { return self.start(call) };
        let state = serde_json::from_value::<FlowState>(left.clone());
        let state =
            state.map_err(|error| error.to_string()).and_then(|state| match self.flow.can_continue(&state) {
                Ok(()) => Ok(state),
                Err(error) => Err(error.to_string()),
            });
        state.unwrap_or_else(|error| {
            tracing::warn!(call = %call.id(), %error, "the flow has changed: the call begins it anew");
            self.start(call)
        })
    }

    fn start(&self, call: &Call) -> FlowState {
        let (facts, now) = (call.facts(), WallTime::now().local());
        self.flow.start(StartVars {
            caller: Some(facts.caller.clone()).filter(|number| !number.is_empty()),
            called: Some(facts.called.clone()).filter(|number| !number.is_empty()),
            call_id: facts.id.to_string(),
            hour: now.hour,
            minute: now.minute,
            weekday: now.weekday.to_owned(),
            given: facts.args.iter().filter_map(|arg| named(arg)).chain(facts.variables.clone()).collect(),
        })
    }

    fn prompt(&self, parts: &[Part], barge_in: BargeInSpec) -> Prompt {
        prompt(self.voice.as_ref(), parts, barge_in)
    }

    /// Listens, and prepares the reply to what is being said: what the flow would say next, if that were the answer.
    fn listen(&self, spec: &ListenSpec, keys: KeyPlan, state: &FlowState) -> Listen {
        let replies = self.flow.foreseen(state).into_iter();
        let replies = replies.map(|parts| self.prompt(&parts, BargeInSpec::NEVER)).collect();
        let (flow, state, voice) = (Arc::clone(&self.flow), state.clone(), self.voice.clone());
        let listen = self.listen_for(spec, keys);
        let listen = listen.language(self.flow.language()).anticipate(move |heard| {
            let Heard::Words { text, meaning, confidence } = heard else { return None };
            let (text, meaning, confidence) = (text.clone(), meaning.clone(), *confidence);
            let parts = flow.reply(&state, Input::Heard { meaning, text, confidence })?;
            // How it is interrupted is looked at when it is said.
            Some(prompt(voice.as_ref(), &parts, BargeInSpec::NEVER))
        });
        listen.foresee(replies)
    }

    fn listen_for(&self, spec: &ListenSpec, keys: KeyPlan) -> Listen {
        let preset = match spec.endpointing {
            Endpointing::Eager => Listening::EAGER,
            Endpointing::Balanced => Listening::BALANCED,
            Endpointing::Patient => Listening::PATIENT,
            Endpointing::SilenceMs(silence) => Listening::fixed(Duration::from_millis(u64::from(silence))),
        };
        let how = Listening {
            no_input: Duration::from_millis(u64::from(spec.no_input_ms)),
            max_speech: Duration::from_millis(u64::from(spec.max_speech_ms)),
            ..spec.silences.lay_over(preset)
        };
        let grammar = spec.grammar.as_deref().and_then(|name| self.flow.grammar(name));
        let expected = grammar.map(|grammar| Expected::Grammar(Arc::clone(grammar)));
        Listen { expected, keys, how, ..Listen::keys(KeyPlan::Ignore) }
    }

    /// Says what comes before the end, which the end does not wait for if it fails.
    async fn last_words(&self, call: &mut Call, parts: &[Part]) -> Result<(), CallError> {
        if parts.is_empty() {
            return Ok(());
        }
        match call.say(self.prompt(parts, BargeInSpec::NEVER)).await {
            Err(error) if !error.is_end() => {
                tracing::error!(call = %call.id(), %error, "the last words could not be said");
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    /// Does what the flow wants and reports what came of it.
    async fn act(&self, call: &mut Call, action: &Action, state: &FlowState) -> Result<Input, CallError> {
        match action {
            Action::Say { parts, barge_in } => {
                let said = call.say(self.prompt(parts, *barge_in)).await?;
                let heard_ms = u32::try_from(said.heard.as_millis()).unwrap_or(u32::MAX);
                Ok(Input::Said { interrupted: said.interrupted, heard_ms })
            }
            Action::Ask { parts, barge_in, listen, .. } => {
                let keys = if listen.keys.is_empty() { KeyPlan::Ignore } else { KeyPlan::One };
                let heard = call.ask(self.prompt(parts, *barge_in), self.listen(listen, keys, state)).await?;
                Ok(input(heard, call))
            }
            Action::Collect { parts, barge_in, listen, keys, .. } => {
                let plan = keys.map_or(KeyPlan::Ignore, digits);
                let heard = call.ask(self.prompt(parts, *barge_in), self.listen(listen, plan, state)).await?;
                Ok(input(heard, call))
            }
            // The caller does not get here with these.
            Action::Do { .. } | Action::HangUp { .. } | Action::Continue { .. } => Ok(Input::Failed),
        }
    }
}

impl Bot for FlowBot {
    async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        let mut state = self.state(call);
        call.answer().await?;
        loop {
            let snapshot = serde_json::to_value(&state).map_err(|error| CallError::Bot(error.to_string()))?;
            call.checkpoint(state.step(), snapshot);
            call.keep_private(self.flow.is_private(&state));
            let input = match self.flow.action(&state) {
                Action::HangUp { parts, cause } => {
                    self.last_words(call, &parts).await?;
                    return Ok(Outcome::HangUpBecause(reason(cause)));
                }
                Action::Continue { parts, place, variables } => {
                    self.last_words(call, &parts).await?;
                    call.leave(Some(&dialplan(place)), &variables).await?;
                    return Ok(Outcome::Left);
                }
                Action::Do { parts, deed } => {
                    self.last_words(call, &parts).await?;
                    match deed::perform(call, &deed, self.voice.as_ref(), self.web.as_ref()).await? {
                        Came::Done(set) => Input::Done { set },
                        Came::NotDone => Input::NotDone,
                        Came::Left => return Ok(Outcome::Left),
                    }
                }
                action => match self.act(call, &action, &state).await {
                    Ok(input) => input,
                    Err(error) if error.is_end() => return Err(error),
                    Err(error) => {
                        tracing::error!(call = %call.id(), step = state.step(), %error, "a step failed");
                        Input::Failed
                    }
                },
            };
            self.flow.advance(&mut state, input);
        }
    }

    fn goodbye(&self) -> Option<Prompt> {
        let parts = self.flow.goodbye(&self.flow.start(StartVars::default()));
        (!parts.is_empty()).then(|| self.prompt(&parts, BargeInSpec::NEVER))
    }
}

fn prompt(voice: Option<&String>, parts: &[Part], barge_in: BargeInSpec) -> Prompt {
    Prompt {
        parts: call_parts(parts),
        voice: voice.cloned(),
        barge_in: Some(interruption(barge_in)),
        resume: barge_in.resume,
    }
}

/// The pieces as a call has them.
pub(super) fn call_parts(parts: &[Part]) -> Vec<call::Part> {
    let part = |part: &Part| match part {
        Part::Text(text) => call::Part::Text(text.clone()),
        Part::File(file) => call::Part::File(file.clone()),
    };
    parts.iter().map(part).collect()
}

/// How a prompt may be interrupted.
fn interruption(spec: BargeInSpec) -> BargeIn {
    let built_in = BargeIn::ALLOWED;
    let or = |own: Option<u16>, built_in: Duration| {
        own.map_or(built_in, |millis| Duration::from_millis(u64::from(millis)))
    };
    BargeIn {
        voice: spec.by_voice,
        keys: spec.by_key,
        protect: Duration::from_millis(u64::from(spec.protected_ms)),
        duck_after: or(spec.duck_after_ms, built_in.duck_after),
        duck_db: if spec.duck { spec.duck_db.unwrap_or(built_in.duck_db) } else { 0 },
        hush_after: or(spec.hush_after_ms, built_in.hush_after),
        hush_db: if spec.duck { spec.hush_db.unwrap_or(built_in.hush_db) } else { 0 },
        ..built_in
    }
}

fn digits(spec: CollectSpec) -> KeyPlan {
    KeyPlan::Digits {
        max: usize::from(spec.max),
        terminator: spec.terminator,
        inter_digit: Duration::from_millis(u64::from(spec.inter_digit_ms)),
    }
}

fn input(heard: Heard, call: &Call) -> Input {
    match heard {
        Heard::Words { text, meaning, confidence } => Input::Heard { meaning, text, confidence },
        Heard::Keys(keys) => Input::Keys(keys),
        Heard::NoInput => Input::NoInput,
        Heard::NoMatch => Input::NoMatch,
        Heard::Failed(error) => {
            // The caller spoke in vain, as with words that fit nothing: he is asked again.
            tracing::error!(call = %call.id(), %error, "an utterance was not recognised");
            Input::NoMatch
        }
    }
}

fn dialplan(place: DialplanPlace) -> leg::DialplanPlace {
    leg::DialplanPlace { context: place.context, extension: place.exten, priority: place.priority }
}

fn reason(cause: HangUpCause) -> HangupReason {
    match cause {
        HangUpCause::Normal => HangupReason::Normal,
        HangUpCause::Busy => HangupReason::Busy,
        HangUpCause::Congestion => HangupReason::Congestion,
        HangUpCause::NoAnswer => HangupReason::NoAnswer,
        HangUpCause::Rejected => HangupReason::Rejected,
        HangUpCause::Failure => HangupReason::Failure,
    }
}

/// An argument of `Stasis()` that is a variable: `name=Ada`.
fn named(arg: &str) -> Option<(String, String)> {
    let (name, value) = arg.split_once('=')?;
    Some((name.trim().to_owned(), value.to_owned()))
}
