//! An IVR declared in TOML: read and checked when the engine starts, interpreted by a state machine without I/O.
//!
//! The file format is in `docs/flows.md`; `prompts/frontdesk.toml` is a whole flow. A flow is steps with names; a
//! step says, asks, collects digits, branches, sets variables, hangs up or goes on in the dialplan, and names the
//! step that follows.
//!
//! ```
//! use std::path::Path;
//!
//! use offhook::bot::flow::{Action, Flow, Input, SearchPaths, StartVars};
//!
//! let text = r#"
//!     [flow]
//!     name = "shortest"
//!     first = "ask"
//!     [step.ask]
//!     kind = "ask"
//!     say = "Yes or no?"
//!     choices = [{ say = "yes", key = "1" }, { say = "no", key = "2" }]
//!     goto = "bye"
//!     give_up = "bye"
//!     [step.bye]
//!     kind = "hang_up"
//!     say = "You said {meaning}. Goodbye."
//! "#;
//! let flow = Flow::parse(Path::new("shortest.toml"), text, &SearchPaths::default())?;
//! let mut state = flow.start(StartVars::default());
//! assert!(matches!(flow.action(&state), Action::Ask { .. }));
//! flow.advance(&mut state, Input::Keys("1".into()));
//! assert!(flow.action(&state).is_last());
//! # Ok::<(), offhook::bot::flow::FlowErrors>(())
//! ```
//!
//! # Parts
//!
//! - `read`, `read_prompt`, `read_question` and `table` read the file into `model`; `check` looks over what no part alone can tell.
//!   Every fault comes back at once, with line, column and what would be accepted: [`FlowErrors`].
//! - `template` fills variables into sentences, in the forms of [`spoken`](crate::speech::spoken).
//! - `state` is the interpreter: [`Flow::start`], [`Flow::action`], [`Flow::advance`] on a [`FlowState`], which is a
//!   plain value that another process continues from.
//! - `action` is what it asks of its driver, and what the driver answers.
//!
//! # What it never does
//!
//! It reads no clock, holds no timer, plays and hears nothing, and reads no file once it is loaded. It never panics
//! on an input or a state, and every input leads to an action.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::speech::grammar::Grammar;

mod action;
mod check;
mod deed;
mod driver;
mod error;
mod grammar;
mod model;
mod read;
mod read_deeds;
mod read_prompt;
mod read_question;
mod read_turns;
mod state;
mod table;
mod template;
#[cfg(test)]
mod tests;

pub use action::{
    Action, BargeInSpec, CollectSpec, DialplanPlace, Endpointing, HangUpCause, Input, ListenSpec, Part,
    Silences,
};
pub use deed::Deed;
pub use driver::FlowBot;
pub use error::{FlowError, FlowErrors, StateError};
pub use state::{FlowState, StartVars};

/// A flow that was read and checked. Immutable; shared by all its calls.
#[derive(Debug)]
pub struct Flow {
    name: String,
    description: Option<String>,
    language: String,
    voice: Option<String>,
    first: model::Target,
    goodbye: model::Prompt,
    given: Vec<model::At<String>>,
    max_turns: u16,
    on_failure: Option<model::Target>,
    steps: model::Steps,
    grammars: grammar::Grammars,
}

/// Where a flow's files are looked for, after the folder of the flow file itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPaths {
    /// Folders of grammars, such as `models/grammars`.
    pub grammars: Vec<PathBuf>,
}

impl Flow {
    /// A flow file may have this many bytes.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// Reads and checks a flow file, its grammars and the headers of its prompts. Blocking: for the start.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path, search: &SearchPaths) -> Result<Self, FlowErrors> {
        let alone = |problem: String| FlowErrors {
            errors: vec![FlowError { file: path.to_owned(), line: 0, column: 0, problem, hint: None }],
        };
        let size = std::fs::metadata(path).map_err(|e| alone(format!("the flow cannot be read: {e}")))?.len();
        if size > Self::MAX_BYTES as u64 {
            return Err(alone(format!("the flow has {size} bytes; expected at most {}", Self::MAX_BYTES)));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| alone(format!("the flow cannot be read: {e}")))?;
        Self::parse(path, &text, search)
    }

    /// Reads and checks the text of a flow file; `path` is where its grammars and prompts are relative to, and what
    /// errors call it. Blocking, as it reads those.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(path: &Path, text: &str, search: &SearchPaths) -> Result<Self, FlowErrors> {
        let mut faults = error::Faults::new(path, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            faults.push(error.span().map_or(0, |span| span.start), format!("not TOML: {}", error.message()));
        }
        if !faults.is_empty() {
            // The rest of the file can no longer be trusted to be where it was written.
            faults.finish()?;
        }
        let faults = error::Faults::new(path, text);
        let (read, mut faults) = read::document(path, root.get_ref(), search, faults);
        if let Some(read) = &read {
            check::check(read, &mut faults);
        }
        faults.finish()?;
        Ok(read.expect("a flow that could not be read has a fault").flow)
    }

    /// The flow's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The language that it speaks, as a tag such as `en`.
    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }

    /// The synthesiser's name of its voice; [`None`] for the default one.
    #[must_use]
    pub fn voice(&self) -> Option<&str> {
        self.voice.as_deref()
    }

    /// The grammars that it listens with, to be prepared before the first call; [`ListenSpec::grammar`] names them.
    pub fn grammars(&self) -> impl Iterator<Item = (&str, &Arc<Grammar>)> {
        self.grammars.iter().map(|(name, grammar)| (name.as_str(), grammar))
    }

    /// The grammar of that name.
    #[must_use]
    pub fn grammar(&self, name: &str) -> Option<&Arc<Grammar>> {
        self.grammars.get(name)
    }

    /// The destinations that it transfers calls or sends messages to, each once.
    #[must_use]
    pub fn destinations(&self) -> Vec<&str> {
        let mut found: Vec<(usize, &str)> = self
            .steps
            .values()
            .filter_map(|step| match &step.kind {
                model::Kind::Do { deed, .. } => deed.destination(),
                _ => None,
            })
            .map(|name| (name.at, name.value.as_str()))
            .collect();
        in_order(&mut found)
    }

    /// Whether it asks services over HTTP.
    #[must_use]
    pub fn looks_up(&self) -> bool {
        let asks = |step: &model::Step| {
            matches!(&step.kind, model::Kind::Do { deed: model::Deed::LookUp { .. }, .. })
        };
        self.steps.values().any(asks)
    }

    /// Every text that is said without a variable in it, each once, in the order of the file, to be synthesised ahead.
    #[must_use]
    pub fn fixed_sentences(&self) -> Vec<&str> {
        let mut found: Vec<(usize, &str)> = self
            .prompts()
            .flat_map(model::Prompt::texts)
            .filter_map(|text| Some((text.at, text.value.fixed()?)))
            .filter(|(_, text)| !text.trim().is_empty())
            .collect();
        in_order(&mut found)
    }

    /// Every WAV file that is played, each once.
    #[must_use]
    pub fn prompt_files(&self) -> Vec<&Path> {
        let mut found: Vec<(usize, &Path)> = self
            .prompts()
            .flat_map(model::Prompt::files)
            .map(|file| (file.at, file.value.as_path()))
            .collect();
        in_order(&mut found)
    }

    fn prompts(&self) -> impl Iterator<Item = &model::Prompt> {
        self.steps.values().flat_map(model::Step::prompts).chain([&self.goodbye])
    }
}

/// The things sorted by where they stand, each once.
fn in_order<T: Copy + Ord>(found: &mut [(usize, T)]) -> Vec<T> {
    found.sort_unstable();
    let mut seen = std::collections::BTreeSet::new();
    found.iter().map(|(_, thing)| *thing).filter(|thing| seen.insert(*thing)).collect()
}
