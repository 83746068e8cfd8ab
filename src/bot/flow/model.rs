//! A flow as it was read: what `read` fills in, `check` looks over and `state` interprets.
//!
//! Every `at` is the byte of the flow file where the thing stands, for the faults that `check` finds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::action::{BargeInSpec, CollectSpec, Endpointing, HangUpCause, Silences};
use super::template::Template;

/// A value and the byte where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// The name of a step to go to.
pub(super) type Target = At<String>;

#[derive(Debug)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// Nothing of what is said, heard and keyed in it is written down.
    pub(super) private: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Say {
        prompt: Prompt,
        barge_in: BargeInSpec,
        goto: Target,
    },
    Ask {
        question: Question,
        choices: Vec<Choice>,
        other: Option<Target>,
        into: Option<At<String>>,
    },
    Collect {
        question: Question,
        keys: Option<CollectSpec>,
        digits: (u8, u8),
        into: At<String>,
        goto: Target,
    },
    Branch {
        cases: Vec<Case>,
        otherwise: Target,
    },
    Set {
        set: Assignments,
        goto: Target,
    },
    Do {
        prompt: Prompt,
        deed: Deed,
        /// [`None`] where the flow is over when it is done.
        done: Option<Target>,
        failed: Option<Target>,
    },
    HangUp {
        prompt: Prompt,
        cause: HangUpCause,
    },
    Continue {
        prompt: Prompt,
        place: PlaceTemplate,
        variables: Vec<(String, At<Template>)>,
    },
}

/// [`super::Deed`] before its variables are filled in.
#[derive(Debug)]
pub(super) enum Deed {
    Transfer {
        to: At<String>,
        announce: Option<Prompt>,
    },
    LookUp {
        url: reqwest::Url,
        query: Vec<(String, At<Template>)>,
        into: Vec<(At<String>, String)>,
        timeout_ms: u32,
    },
    SetVariables(Vec<(String, At<Template>)>),
    SendKeys(At<Template>),
    PlaySound(At<Template>),
    Record {
        name: At<Template>,
        max_seconds: u32,
    },
    StopRecording,
    CallBack {
        minutes: u32,
    },
    OptOut,
    Message {
        to: At<String>,
        text: At<Template>,
    },
}

impl Deed {
    /// The destination that it needs.
    pub(super) fn destination(&self) -> Option<&At<String>> {
        match self {
            Self::Transfer { to, .. } | Self::Message { to, .. } => Some(to),
            _ => None,
        }
    }

    /// What is filled in, besides what is said.
    fn templates(&self) -> Vec<&At<Template>> {
        match self {
            Self::LookUp { query: texts, .. } | Self::SetVariables(texts) => {
                texts.iter().map(|(_, text)| text).collect()
            }
            Self::SendKeys(text)
            | Self::PlaySound(text)
            | Self::Record { name: text, .. }
            | Self::Message { text, .. } => vec![text],
            Self::Transfer { .. } | Self::StopRecording | Self::CallBack { .. } | Self::OptOut => Vec::new(),
        }
    }
}

/// What is said, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Prompt(pub(super) Vec<Item>);

#[derive(Debug, Clone)]
pub(super) enum Item {
    Text(At<Template>),
    File(At<PathBuf>),
}

/// What an ask and a collection have in common.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) prompt: Prompt,
    pub(super) again: Option<Prompt>,
    pub(super) barge_in: BargeInSpec,
    pub(super) grammar: Option<At<String>>,
    pub(super) endpointing: Endpointing,
    pub(super) silences: Silences,
    pub(super) no_input_ms: u32,
    pub(super) max_speech_ms: u32,
    pub(super) min_confidence: f32,
    pub(super) tries: u8,
    pub(super) no_input: Vec<Prompt>,
    pub(super) no_match: Vec<Prompt>,
    pub(super) give_up: GiveUp,
}

/// Where to go when a question has failed often enough.
#[derive(Debug, Clone)]
pub(super) struct GiveUp {
    pub(super) no_input: Target,
    pub(super) no_match: Target,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) meaning: Option<At<String>>,
    pub(super) key: Option<At<char>>,
    pub(super) set: Assignments,
    pub(super) goto: Target,
}

/// Variables to set, in the order of the file.
pub(super) type Assignments = Vec<(At<String>, At<Template>)>;

#[derive(Debug)]
pub(super) struct Case {
    pub(super) variable: At<String>,
    pub(super) tests: Vec<Test>,
    pub(super) set: Assignments,
    pub(super) goto: Target,
}

/// A condition on the value of a variable. The numeric ones fail on what is no number.
#[derive(Debug)]
pub(super) enum Test {
    Equals(String),
    Differs(String),
    OneOf(Vec<String>),
    IsSet(bool),
    AtLeast(f64),
    AtMost(f64),
    Above(f64),
    Below(f64),
}

#[derive(Debug)]
pub(super) struct PlaceTemplate {
    pub(super) context: Option<At<Template>>,
    pub(super) exten: Option<At<Template>>,
    pub(super) priority: Option<u32>,
}

impl Test {
    /// True when the value (`""` for a variable that is not set) passes.
    pub(super) fn holds(&self, value: &str) -> bool {
        let number = || value.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        match self {
            Self::Equals(wanted) => value == wanted,
            Self::Differs(wanted) => value != wanted,
            Self::OneOf(wanted) => wanted.iter().any(|w| w == value),
            Self::IsSet(wanted) => value.is_empty() != *wanted,
            Self::AtLeast(bound) => number().is_some_and(|n| n >= *bound),
            Self::AtMost(bound) => number().is_some_and(|n| n <= *bound),
            Self::Above(bound) => number().is_some_and(|n| n > *bound),
            Self::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl Step {
    /// True when the caller is waited for in this step, so that a circle through it cannot spin.
    pub(super) fn listens(&self) -> bool {
        matches!(self.kind, Kind::Ask { .. } | Kind::Collect { .. })
    }

    /// True when nothing is heard or said in this step.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.kind, Kind::Branch { .. } | Kind::Set { .. })
    }

    /// Where the flow may go from here.
    pub(super) fn targets(&self) -> Vec<&Target> {
        match &self.kind {
            Kind::Say { goto, .. } | Kind::Set { goto, .. } => vec![goto],
            Kind::Ask { question, choices, other, .. } => {
                choices.iter().map(|c| &c.goto).chain(other).chain(question.give_up.targets()).collect()
            }
            Kind::Collect { question, goto, .. } => {
                std::iter::once(goto).chain(question.give_up.targets()).collect()
            }
            Kind::Branch { cases, otherwise } => cases.iter().map(|c| &c.goto).chain([otherwise]).collect(),
            Kind::Do { done, failed, .. } => done.iter().chain(failed).collect(),
            Kind::HangUp { .. } | Kind::Continue { .. } => Vec::new(),
        }
    }

    /// Everything that may be said in this step.
    pub(super) fn prompts(&self) -> Vec<&Prompt> {
        match &self.kind {
            Kind::Say { prompt, .. } | Kind::HangUp { prompt, .. } | Kind::Continue { prompt, .. } => {
                vec![prompt]
            }
            Kind::Ask { question: q, .. } | Kind::Collect { question: q, .. } => {
                [&q.prompt].into_iter().chain(&q.again).chain(&q.no_input).chain(&q.no_match).collect()
            }
            Kind::Do { prompt, deed: Deed::Transfer { announce, .. }, .. } => {
                [prompt].into_iter().chain(announce).collect()
            }
            Kind::Do { prompt, .. } => vec![prompt],
            Kind::Branch { .. } | Kind::Set { .. } => Vec::new(),
        }
    }

    /// Every template of this step, spoken or not.
    pub(super) fn templates(&self) -> Vec<&At<Template>> {
        let mut all: Vec<&At<Template>> = self.prompts().into_iter().flat_map(Prompt::texts).collect();
        match &self.kind {
            Kind::Continue { place, variables, .. } => {
                all.extend(place.context.iter().chain(&place.exten));
                all.extend(variables.iter().map(|(_, value)| value));
            }
            Kind::Ask { choices, .. } => all.extend(choices.iter().flat_map(|c| &c.set).map(|(_, v)| v)),
            Kind::Branch { cases, .. } => all.extend(cases.iter().flat_map(|c| &c.set).map(|(_, v)| v)),
            Kind::Set { set, .. } => all.extend(set.iter().map(|(_, v)| v)),
            Kind::Do { deed, .. } => all.extend(deed.templates()),
            Kind::Say { .. } | Kind::Collect { .. } | Kind::HangUp { .. } => {}
        }
        all
    }
}

impl Prompt {
    /// Its texts, without the files.
    pub(super) fn texts(&self) -> impl Iterator<Item = &At<Template>> {
        self.0.iter().filter_map(|item| match item {
            Item::Text(text) => Some(text),
            Item::File(_) => None,
        })
    }

    /// Its files, without the texts.
    pub(super) fn files(&self) -> impl Iterator<Item = &At<PathBuf>> {
        self.0.iter().filter_map(|item| match item {
            Item::Text(_) => None,
            Item::File(file) => Some(file),
        })
    }
}

impl GiveUp {
    fn targets(&self) -> [&Target; 2] {
        [&self.no_input, &self.no_match]
    }
}

/// The steps of a flow by name.
pub(super) type Steps = BTreeMap<String, Step>;
