//! The interpreter: where a call is in its flow, what is to be done there, and where an input leads.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Flow;
use super::action::{Action, DialplanPlace, HangUpCause, Input, ListenSpec, Part};
use super::deed::Deed;
use super::error::StateError;
use super::model::{self, Assignments, At, Choice, Item, Kind, Prompt, Question, Step, Target};
use super::template::Template;
use crate::speech::Utterance;

/// What a flow knows of a call before its first step.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StartVars {
    /// The caller's number: `{caller}`. [`None`] when it is withheld.
    pub caller: Option<String>,
    /// The number that was called: `{called}`.
    pub called: Option<String>,
    /// The call's id: `{call_id}`.
    pub call_id: String,
    /// Hour of the local time at the start, 0 to 23: `{hour}`.
    pub hour: u8,
    /// Minute of the local time at the start, 0 to 59: `{minute}`.
    pub minute: u8,
    /// English name of the day in lower case, `monday` to `sunday`: `{weekday}`.
    pub weekday: String,
    /// Values of the variables that the flow lists under `given`; others are ignored.
    pub given: BTreeMap<String, String>,
}

/// Where a call is in its flow: all that another process needs to go on with it. A few hundred bytes as JSON.
///
/// Its `Debug` shows names only, never a number or what was said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowState {
    version: u16,
    flow: String,
    step: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    no_input: u8,
    #[serde(default, skip_serializing_if = "is_zero")]
    no_match: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_miss: Option<Miss>,
    turns: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<HangUpCause>,
    variables: BTreeMap<String, String>,
}

/// How a question went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Miss {
    NoInput,
    NoMatch,
}

/// Serde asks by reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

impl FlowState {
    /// The version of states that this build writes and continues.
    pub const VERSION: u16 = 1;

    /// A variable keeps this many characters of what is put into it.
    pub const MAX_VALUE_CHARS: usize = 500;

    /// The step that the call is in.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The flow that the call is in.
    #[must_use]
    pub fn flow(&self) -> &str {
        &self.flow
    }

    /// How many inputs the flow has taken.
    #[must_use]
    pub const fn turns(&self) -> u16 {
        self.turns
    }

    /// The value of a variable; [`None`] when it is not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn set(&mut self, name: &str, value: &str) {
        let value: String = value.chars().take(Self::MAX_VALUE_CHARS).collect();
        self.variables.insert(name.to_owned(), value);
    }
}

impl fmt::Debug for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowState")
            .field("flow", &self.flow)
            .field("step", &self.step)
            .field("no_input", &self.no_input)
            .field("no_match", &self.no_match)
            .field("turns", &self.turns)
            .field("failed", &self.failed)
            .field("over", &self.over)
            .field("variables", &self.variables.keys())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StartVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartVars").field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

impl Flow {
    /// The state of a call that begins. Any thread; no I/O.
    #[must_use]
    pub fn start(&self, vars: StartVars) -> FlowState {
        let mut state = FlowState {
            version: FlowState::VERSION,
            flow: self.name.clone(),
            step: String::new(),
            no_input: 0,
            no_match: 0,
            last_miss: None,
            turns: 0,
            failed: false,
            over: None,
            variables: BTreeMap::new(),
        };
        for name in &self.given {
            if let Some(value) = vars.given.get(&name.value) {
                state.set(&name.value, value);
            }
        }
        let built_in = [
            ("caller", vars.caller.unwrap_or_default()),
            ("called", vars.called.unwrap_or_default()),
            ("call_id", vars.call_id),
            ("language", self.language.clone()),
            ("hour", vars.hour.to_string()),
            ("minute", vars.minute.to_string()),
            ("weekday", vars.weekday),
        ];
        for (name, value) in built_in.iter().filter(|(_, value)| !value.is_empty()) {
            state.set(name, value);
        }
        self.enter(&mut state, &self.first);
        state
    }

    /// Whether a call in this state, written by another process, can go on with this flow.
    ///
    /// # Errors
    /// When the state is of another version or flow, or its step is gone. [`Flow::action`] and [`Flow::advance`]
    /// take such a state all the same and end the call politely.
    pub fn can_continue(&self, state: &FlowState) -> Result<(), StateError> {
        if state.version != FlowState::VERSION {
            return Err(StateError::Version { found: state.version, known: FlowState::VERSION });
        }
        if state.flow != self.name {
            return Err(StateError::OtherFlow { found: state.flow.clone(), here: self.name.clone() });
        }
        if state.over.is_none() && self.sounding_step(state).is_none() {
            return Err(StateError::StepGone { flow: self.name.clone(), step: state.step.clone() });
        }
        Ok(())
    }

    /// What is to be done now. Pure: the same state gives the same action, however often and in whatever process.
    #[must_use]
    pub fn action(&self, state: &FlowState) -> Action {
        let step = match state.over {
            Some(cause) => return Action::HangUp { parts: self.goodbye(state), cause },
            None => self.sounding_step(state),
        };
        let Some(step) = step else {
            return Action::HangUp { parts: self.goodbye(state), cause: HangUpCause::Failure };
        };
        match &step.kind {
            Kind::Say { prompt, barge_in, .. } => {
                Action::Say { parts: parts(prompt, state), barge_in: *barge_in }
            }
            Kind::Ask { question, choices, .. } => Action::Ask {
                parts: question_parts(question, state),
                barge_in: question.barge_in,
                listen: listen(question, choices),
                attempt: attempt(state),
            },
            Kind::Collect { question, keys, .. } => Action::Collect {
                parts: question_parts(question, state),
                barge_in: question.barge_in,
                listen: listen(question, &[]),
                keys: *keys,
                attempt: attempt(state),
            },
            Kind::Do { prompt, deed, .. } => {
                Action::Do { parts: parts(prompt, state), deed: filled(deed, state) }
            }
            Kind::HangUp { prompt, cause } => Action::HangUp { parts: parts(prompt, state), cause: *cause },
            Kind::Continue { prompt, place, variables } => {
                let fill = |text: &Template| text.fill(&state.variables);
                Action::Continue {
                    parts: parts(prompt, state),
                    place: DialplanPlace {
                        context: place.context.as_ref().map(|text| fill(&text.value)),
                        exten: place.exten.as_ref().map(|text| fill(&text.value)),
                        priority: place.priority,
                    },
                    variables: variables
                        .iter()
                        .map(|(name, text)| (name.clone(), fill(&text.value)))
                        .collect(),
                }
            }
            Kind::Branch { .. } | Kind::Set { .. } => unreachable!("these steps have no sound"),
        }
    }

    /// What would be said next, for each choice of the question that is open. Of other steps nothing is foreseen.
    #[must_use]
    pub fn foreseen(&self, state: &FlowState) -> Vec<Vec<Part>> {
        let choices = match self.sounding_step(state).map(|step| &step.kind) {
            Some(Kind::Ask { choices, .. }) if state.over.is_none() => choices.as_slice(),
            _ => &[],
        };
        let reply = |choice: &Choice| {
            let meaning = choice.meaning.as_ref()?.value.clone();
            self.reply(state, Input::Heard { text: meaning.clone(), meaning, confidence: 1.0 })
        };
        choices.iter().filter_map(reply).collect()
    }

    /// What would be said next if this were the input; [`None`] where that is nothing.
    #[must_use]
    pub fn reply(&self, state: &FlowState, input: Input) -> Option<Vec<Part>> {
        let mut next = state.clone();
        self.advance(&mut next, input);
        Some(self.action(&next).parts().to_vec()).filter(|parts| !parts.is_empty())
    }

    /// Takes an input in and moves on to the next step that has an action. After the last action, and for an input
    /// that says nothing ([`Input::Said`] while a question is open), nothing changes.
    pub fn advance(&self, state: &mut FlowState, input: Input) {
        let Some(step) = self.sounding_step(state).filter(|_| state.over.is_none()) else { return };
        let listens = step.listens();
        if matches!(step.kind, Kind::HangUp { .. } | Kind::Continue { .. })
            || (listens && matches!(input, Input::Said { .. }))
        {
            return;
        }
        state.turns = state.turns.saturating_add(1);
        if state.turns > self.max_turns {
            state.over = Some(HangUpCause::Normal);
            return;
        }
        match (&step.kind, input) {
            (Kind::Do { failed: Some(target), .. }, Input::Failed | Input::NotDone) => {
                self.enter(state, target)
            }
            (Kind::Do { done: Some(target), failed: None, .. }, Input::NotDone) => self.enter(state, target),
            (_, Input::Failed | Input::NotDone) => self.fail(state),
            (Kind::Do { done: Some(target), .. }, Input::Done { set }) => {
                set.iter().for_each(|(name, value)| state.set(name, value));
                self.enter(state, target);
            }
            (Kind::Say { goto, .. }, _) => self.enter(state, goto),
            (Kind::Ask { question, .. } | Kind::Collect { question, .. }, Input::NoInput) => {
                self.miss(state, question, Miss::NoInput);
            }
            (Kind::Ask { .. }, input) => self.answer(state, step, input),
            (Kind::Collect { .. }, input) => self.collect(state, step, input),
            _ => {}
        }
    }

    /// Whether nothing of what is said, heard and keyed now is to be written down.
    #[must_use]
    pub fn is_private(&self, state: &FlowState) -> bool {
        self.sounding_step(state).is_some_and(|step| step.private)
    }

    /// What is said to a caller whom the engine has to leave: `goodbye` of the flow; may be empty.
    #[must_use]
    pub fn goodbye(&self, state: &FlowState) -> Vec<Part> {
        parts(&self.goodbye, state)
    }

    fn sounding_step(&self, state: &FlowState) -> Option<&Step> {
        self.steps.get(&state.step).filter(|step| !step.is_silent())
    }

    fn answer(&self, state: &mut FlowState, step: &Step, input: Input) {
        let Kind::Ask { question, choices, other, into } = &step.kind else { return };
        let (meaning, text, choice) = match input {
            Input::Heard { meaning, text, confidence } if is_sure(confidence, question) => {
                let choice = choices.iter().find(|c| c.meaning.as_ref().is_some_and(|m| m.value == meaning));
                (meaning, text, choice)
            }
            Input::Keys(keys) if keys.is_empty() => return self.miss(state, question, Miss::NoInput),
            Input::Keys(keys) => {
                let choice =
                    choices.iter().find(|c| c.key.as_ref().is_some_and(|k| keys == k.value.to_string()));
                let Some(choice) = choice else { return self.miss(state, question, Miss::NoMatch) };
                let meaning = choice.meaning.as_ref().map_or_else(|| keys.clone(), |m| m.value.clone());
                (meaning, keys, Some(choice))
            }
            _ => return self.miss(state, question, Miss::NoMatch),
        };
        let Some(target) = choice.map(|c| &c.goto).or(other.as_ref()) else {
            return self.miss(state, question, Miss::NoMatch);
        };
        state.set("heard", &text);
        state.set("meaning", &meaning);
        if let Some(into) = into {
            state.set(&into.value, &meaning);
        }
        if let Some(choice) = choice {
            assign(state, &choice.set);
        }
        self.enter(state, target);
    }

    fn collect(&self, state: &mut FlowState, step: &Step, input: Input) {
        let Kind::Collect { question, keys, digits, into, goto } = &step.kind else { return };
        let (number, text) = match input {
            Input::Heard { meaning, text, confidence } if is_sure(confidence, question) => (meaning, text),
            Input::Keys(pressed) if pressed.is_empty() => return self.miss(state, question, Miss::NoInput),
            Input::Keys(pressed) if keys.is_some() => (pressed.clone(), pressed),
            _ => return self.miss(state, question, Miss::NoMatch),
        };
        let fits = (usize::from(digits.0)..=usize::from(digits.1)).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit());
        if !fits {
            return self.miss(state, question, Miss::NoMatch);
        }
        state.set("heard", &text);
        state.set("meaning", &number);
        state.set(&into.value, &number);
        self.enter(state, goto);
    }

    fn miss(&self, state: &mut FlowState, question: &Question, miss: Miss) {
        let (count, target) = match miss {
            Miss::NoInput => (&mut state.no_input, &question.give_up.no_input),
            Miss::NoMatch => (&mut state.no_match, &question.give_up.no_match),
        };
        *count = count.saturating_add(1);
        state.last_miss = Some(miss);
        if state.no_input.saturating_add(state.no_match) >= question.tries {
            self.enter(state, target);
        }
    }

    /// A second failure ends the call: what `on_failure` leads to cannot be done either.
    fn fail(&self, state: &mut FlowState) {
        match &self.on_failure {
            Some(target) if !state.failed => {
                state.failed = true;
                self.enter(state, target);
            }
            _ => state.over = Some(HangUpCause::Failure),
        }
    }

    /// Goes to a step, and on through the silent ones. `check` found that they go round nowhere; the count holds
    /// even so.
    fn enter(&self, state: &mut FlowState, target: &Target) {
        let mut target = target;
        for _ in 0..=self.steps.len() {
            state.step.clone_from(&target.value);
            (state.no_input, state.no_match, state.last_miss) = (0, 0, None);
            match self.steps.get(&target.value).map(|step| &step.kind) {
                Some(Kind::Set { set, goto }) => {
                    assign(state, set);
                    target = goto;
                }
                Some(Kind::Branch { cases, otherwise }) => {
                    let holds = |state: &FlowState, name: &str, tests: &[super::model::Test]| {
                        let value = state.variable(name).unwrap_or_default();
                        tests.iter().all(|test| test.holds(value))
                    };
                    let case = cases.iter().find(|case| holds(state, &case.variable.value, &case.tests));
                    if let Some(case) = case {
                        assign(state, &case.set);
                    }
                    target = case.map_or(otherwise, |case| &case.goto);
                }
                _ => return,
            }
        }
        state.over = Some(HangUpCause::Failure);
    }
}

fn is_sure(confidence: f32, question: &Question) -> bool {
    confidence >= question.min_confidence
}

fn assign(state: &mut FlowState, set: &Assignments) {
    for (name, value) in set {
        let value = value.value.fill(&state.variables);
        state.set(&name.value, &value);
    }
}

fn attempt(state: &FlowState) -> u8 {
    1_u8.saturating_add(state.no_input).saturating_add(state.no_match)
}

fn listen(question: &Question, choices: &[Choice]) -> ListenSpec {
    ListenSpec {
        grammar: question.grammar.as_ref().map(|name| name.value.clone()),
        keys: choices.iter().filter_map(|choice| choice.key.as_ref()).map(|key| key.value).collect(),
        endpointing: question.endpointing,
        silences: question.silences,
        no_input_ms: question.no_input_ms,
        max_speech_ms: question.max_speech_ms,
    }
}

/// The sentence about the last miss, the second about the second miss of its kind and so on, then the question.
fn question_parts(question: &Question, state: &FlowState) -> Vec<Part> {
    let (sentences, count) = match state.last_miss {
        None => return parts(&question.prompt, state),
        Some(Miss::NoInput) => (&question.no_input, state.no_input),
        Some(Miss::NoMatch) => (&question.no_match, state.no_match),
    };
    let nth = usize::from(count).min(sentences.len());
    let mut all = nth.checked_sub(1).map(|n| parts(&sentences[n], state)).unwrap_or_default();
    all.extend(parts(question.again.as_ref().unwrap_or(&question.prompt), state));
    all
}

/// What is to be done, with its variables filled in.
fn filled(deed: &model::Deed, state: &FlowState) -> Deed {
    let fill = |text: &At<Template>| text.value.fill(&state.variables);
    let texts = |texts: &[(String, At<Template>)]| -> Vec<(String, String)> {
        texts.iter().map(|(name, text)| (name.clone(), fill(text))).collect()
    };
    match deed {
        model::Deed::Transfer { to, announce } => Deed::Transfer {
            to: to.value.clone(),
            announce: announce.as_ref().map(|prompt| parts(prompt, state)),
        },
        model::Deed::LookUp { url, query, into, timeout_ms } => Deed::LookUp {
            url: url.clone(),
            query: texts(query),
            into: into.iter().map(|(name, pointer)| (name.value.clone(), pointer.clone())).collect(),
            timeout: Duration::from_millis(u64::from(*timeout_ms)),
        },
        model::Deed::SetVariables(variables) => Deed::SetVariables(texts(variables)),
        model::Deed::SendKeys(keys) => Deed::SendKeys(fill(keys)),
        model::Deed::PlaySound(sound) => Deed::PlaySound(fill(sound)),
        model::Deed::Record { name, max_seconds } => {
            Deed::Record { name: fill(name), max_seconds: *max_seconds }
        }
        model::Deed::StopRecording => Deed::StopRecording,
        model::Deed::OptOut => Deed::OptOut,
        model::Deed::CallBack { minutes } => Deed::CallBack(Duration::from_secs(u64::from(*minutes) * 60)),
        model::Deed::Message { to, text } => Deed::Message { to: to.value.clone(), text: fill(text) },
    }
}

fn parts(prompt: &Prompt, state: &FlowState) -> Vec<Part> {
    let part = |item: &Item| match item {
        Item::File(file) => Some(Part::File(file.value.clone())),
        Item::Text(text) => {
            let text = text.value.fill(&state.variables);
            let text: String = text.chars().take(Utterance::MAX_CHARS).collect();
            (!text.trim().is_empty()).then_some(Part::Text(text))
        }
    };
    prompt.0.iter().filter_map(part).collect()
}
